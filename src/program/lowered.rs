//! Steps as dispatches.

use super::{Buf, Cuts, Mat};

/// A step as dispatches: its phases one after another.
#[derive(Debug, Default)]
pub struct Lowered {
    /// In order.
    pub phases: Vec<Phase>,
}

impl Lowered {
    /// A step that is one dispatch after another, each once.
    #[must_use]
    pub fn once(pieces: Vec<Piece>) -> Lowered {
        Lowered { phases: vec![Phase { times: Times::once(), pieces }] }
    }

    /// Merges the dispatches of the two steps of a pair. Two dispatches of the first shader become one, if their windows are near enough to each
    /// other to be one binding. All others follow each other. `None` if no two become one, or if a step needs scratch memory, which both would
    /// write.
    pub(crate) fn together(self, second: Lowered, cuts: &Cuts) -> Option<Lowered> {
        let windows = || self.phases.iter().flat_map(|phase| &phase.pieces).flat_map(|piece| &piece.windows);
        let is_alike = |(a, b): (&Phase, &Phase)| a.times == b.times && a.pieces.len() == b.pieces.len();
        let are_alike = self.phases.len() == second.phases.len() && self.phases.iter().zip(&second.phases).all(is_alike);
        if !are_alike || windows().any(|window| Buf::SCRATCH.contains(&window.buf)) {
            return None;
        }
        let mut are_merged = false;
        let mut merge = |(piece, other): (Piece, Piece)| {
            if !piece.pairs_with(&other, cuts) {
                return vec![piece, other];
            }
            are_merged = true;
            let [x, y, _] = piece.grid;
            vec![Piece { windows: [piece.windows, other.windows].concat(), grid: [x, y, 2], ..piece }]
        };
        let phases = self.phases.into_iter().zip(second.phases).map(|(phase, other)| Phase {
            times: phase.times,
            pieces: phase.pieces.into_iter().zip(other.pieces).flat_map(&mut merge).collect(),
        });
        let phases = phases.collect();
        are_merged.then_some(Lowered { phases })
    }

    /// The number of dispatches.
    #[must_use]
    pub fn dispatches(&self) -> u64 {
        self.phases.iter().map(|p| u64::from(p.times.count) * p.pieces.len() as u64).sum()
    }
}

/// Pieces that are dispatched in order for each time step: constant memory for any number of them.
#[derive(Debug)]
pub struct Phase {
    /// The time steps.
    pub times: Times,
    /// The dispatches of a time step.
    pub pieces: Vec<Piece>,
}

/// `count` time steps `first, first ± 1, …`, each handed to the shader as the immediate `time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The first.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// Whether they go down.
    pub backward: bool,
}

impl Times {
    /// A single time step.
    #[must_use]
    pub fn once() -> Times {
        Times { first: 0, count: 1, backward: false }
    }

    /// The `i`-th.
    #[must_use]
    pub fn at(&self, i: u32) -> u32 {
        if self.backward { self.first - i } else { self.first + i }
    }
}

/// One dispatch.
#[derive(Debug)]
pub struct Piece {
    /// Which of the variant's shaders.
    pub shader: usize,
    /// The windows, in the order of the shader's bindings. Of a dispatch for a pair of steps, those of the second step follow.
    pub windows: Vec<Mat>,
    /// The shader's scalars, 4 bytes each.
    pub scalars: Vec<u8>,
    /// Workgroups.
    pub grid: [u32; 3],
    /// An upper bound of the loop iterations of an invocation, asserted against [`Cuts::iterations`](super::Cuts::iterations).
    pub iterations: u32,
}

impl Piece {
    /// Whether it and a piece of another step can be one dispatch.
    fn pairs_with(&self, other: &Piece, cuts: &Cuts) -> bool {
        let is_alike = (self.shader, self.grid, &self.scalars) == (other.shader, other.grid, &other.scalars);
        let is_one_binding = |(a, b): (&Mat, &Mat)| {
            let (section, range) = cuts.section(a);
            let (begin, end) = (a.offset.min(b.offset), a.end().max(b.end()));
            a.buf == b.buf && cuts.section(b).0 == section && end <= range.end && end - begin <= cuts.binding
        };
        self.shader == 0 && self.grid[2] == 1 && is_alike && self.windows.iter().zip(&other.windows).all(is_one_binding)
    }
}
