//! Steps as dispatches.

use super::Mat;

/// A step as dispatches: its phases one after another.
#[derive(Debug, Default)]
pub struct Lowered {
    /// In order.
    pub phases: Vec<Phase>,
}

impl Lowered {
    /// A step that is one dispatch after another, each once.
    pub(crate) fn once(pieces: Vec<Piece>) -> Lowered {
        Lowered { phases: vec![Phase { times: Times::once(), pieces }] }
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
    pub(crate) fn once() -> Times {
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
    /// The windows, in the order of the shader's bindings.
    pub windows: Vec<Mat>,
    /// The shader's scalars, 4 bytes each.
    pub scalars: Vec<u8>,
    /// Workgroups.
    pub grid: [u32; 3],
    /// An upper bound of the loop iterations of an invocation, asserted against [`Cuts::iterations`](super::Cuts::iterations).
    pub iterations: u32,
}
