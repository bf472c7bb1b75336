//! Many time steps in one dispatch, over workgroups that wait for each other: how a shader of that kind shares out a recurrence, where it can
//! be used, and its dispatches. Where the device does not run several workgroups at the same time, which is what waiting needs, each time step
//! is a dispatch of its own, in which nothing waits.

use bytemuck::{Pod, Zeroable};

use super::Shape;
use super::lower::{Lowering, Slices};
use crate::kernels::{WINDOW, bytes};
use crate::program::{Along, Binding, Buf, Cuts, Element, Mat, Needs, Phase, Piece, Shader, Step, Times};

/// Invocations of a workgroup.
const THREADS: u32 = 256;
/// Values of k of a block, of which a thread has several.
const BLOCK: u32 = 16;
/// Looks at words that are not written yet, of a thread in a dispatch, and for each round of it: on a GPU, where a look takes most of a
/// microsecond, 0.1 s, and ten times as long as a round should take. That is 0.6 s at most.
const PATIENCE: [u32; 2] = [1 << 16, 256];
/// The most rounds of a dispatch: at some microseconds each, about 50 ms on a slow GPU.
const MOST_ROUNDS: u32 = 4096;
/// A NaN that no cell leaves: a state that is not written yet.
const UNWRITTEN: u32 = 0xffff_ffff;

/// How the workgroups of a shader share out a recurrence.
#[derive(Debug)]
pub(crate) struct Held {
    /// Units of a workgroup.
    pub units: u32,
    /// Blocks of 16 values of k that a thread has at most.
    blocks: u32,
    /// Sequences that are computed at a time.
    pub sequences: u32,
    /// The same as constants of the shader.
    pub text: &'static str,
}

macro_rules! held {
    ($units:literal, $blocks:literal, $sequences:literal, $words:literal) => {
        Held {
            units: $units,
            blocks: $blocks,
            sequences: $sequences,
            text: concat!(
                "const UNITS: u32 = ",
                $units,
                "u;\nconst BLOCKS: u32 = ",
                $blocks,
                "u;\nconst SEQUENCES: u32 = ",
                $sequences,
                "u;\nconst WORDS: u32 = ",
                $words,
                "u; // of a sequence's state that a thread brings\n"
            ),
        }
    };
}

/// 64 units a workgroup, by the sums of a unit: up to 256 values of k of one sum, or 64 of several.
pub(crate) const fn held_64(sums: usize) -> Held {
    if sums == 1 { held!(64, 4, 2, 1) } else { held!(64, 1, 2, 1) }
}

/// 16 units: up to 2,048 values of k of one sum, 768 of three, 512 of four.
pub(crate) const fn held_16(sums: usize) -> Held {
    match sums {
        1 => held!(16, 8, 2, 8),
        3 => held!(16, 3, 2, 3),
        _ => held!(16, 2, 2, 2),
    }
}

/// 8 units: up to 4,096 values of k of one sum, 1,536 of three, 1,024 of four.
pub(crate) const fn held_8(sums: usize) -> Held {
    match sums {
        1 => held!(8, 8, 1, 16),
        3 => held!(8, 3, 1, 6),
        _ => held!(8, 2, 1, 4),
    }
}

impl Held {
    /// Threads that share a unit.
    const fn slices(&self) -> u32 {
        THREADS / self.units
    }

    /// The most values of k.
    const fn depth(&self) -> u32 {
        self.slices() * self.blocks * BLOCK
    }

    /// Bytes of workgroup memory.
    const fn memory(&self, sums: usize) -> u32 {
        4 * (self.sequences * (self.depth() + sums as u32 * THREADS) + 1)
    }

    /// Workgroups that share a sequence, and so wait for each other.
    fn groups(&self, units: u32) -> u32 {
        units.div_ceil(self.units)
    }

    /// The sequences of a workgroup, so that no more run than may wait for each other. Those of other sequences do not.
    fn share(&self, batch: u32, groups: u32, cuts: &Cuts) -> u32 {
        let most = match cuts.resident {
            Some(most) if groups > 1 => most / groups,
            _ => cuts.workgroups,
        };
        batch.div_ceil(most.clamp(1, cuts.workgroups)).next_multiple_of(self.sequences)
    }

    /// Loop iterations of a time step of so many sequences: a round for those at a time, in which the slices' sums are added up.
    fn iterations(&self, sequences: u32) -> u32 {
        sequences / self.sequences * (self.slices() + 1)
    }
}

/// What a variant needs whose units have so many sums.
pub(crate) const fn needs(held: &Held, sums: usize, bindings: &[Binding]) -> Needs {
    Needs { memory: held.memory(sums), buffers: bindings.len() as u32, ..Needs::NOTHING }
}

/// Whether the registers of the workgroups hold the weight, and the device runs as many workgroups at the same time as wait for each other, or
/// nothing is known of it and nothing waits.
pub(crate) fn can_hold(step: &Step, cuts: &Cuts, held: &Held) -> bool {
    let weight = step.windows[1];
    let groups = held.groups(super::lower::units(step));
    let is_room = groups <= cuts.workgroups && (groups == 1 || cuts.resident.is_none_or(|most| groups <= most));
    let iterations = || held.iterations(held.share(step.scalars::<Shape>().batch, groups, cuts));
    weight.rows <= held.depth() && cuts.fits(&weight) && is_room && iterations() <= cuts.iterations
}

/// The scalars of the shader that computes.
pub(crate) const SCALARS: &[&str] = &["batch", "activation", "steps", "chunk", "sequences", "blocks", "patience"];

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Scalars {
    batch: u32,
    activation: u32,
    steps: u32,
    /// Time steps of a dispatch.
    chunk: u32,
    /// Sequences of a workgroup.
    sequences: u32,
    /// Blocks of values of k of a thread.
    blocks: u32,
    patience: u32,
}

/// The second shader of such a variant fills states with what is not written yet, and with NaN where a workgroup has given up.
pub(crate) const FLAGS: Shader = Shader {
    source: &[WINDOW, include_str!("../../../shaders/recurrence_flags.wgsl")],
    entry: "main",
    bindings: &[
        Binding { element: Element::U32, ..Binding::write("out") },
        Binding { element: Element::U32, ..Binding::read("given_up") },
    ],
    scalars: &["word", "always"],
};
const FILLING: usize = 2;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct FlagScalars {
    word: u32,
    always: u32,
}

/// The word that tells that a workgroup has given up.
fn given_up() -> Mat {
    Mat { buf: Buf::GIVEN_UP, element: Element::U32, offset: 0, rows: 1, cols: 4, stride: 4 }
}

/// The bindings of the shader that computes: those of the recurrence, and the word behind them.
pub(crate) const fn with_word<const N: usize>(all: &[Binding]) -> [Binding; N] {
    let mut with = [Binding { element: Element::U32, ..Binding::update("given_up") }; N];
    let mut i = 0;
    while i < all.len() {
        with[i] = all[i];
        i += 1;
    }
    with
}

impl Lowering<'_> {
    /// The time steps of some windows, of `batch` sequences: the states are filled, computed, and looked at once more.
    pub(super) fn held(&self, slices: &Slices, batch: u32, held: &Held) -> Vec<Phase> {
        let steps = slices.first.rows / batch;
        let groups = held.groups(self.units);
        let sequences = held.share(batch, groups, self.cuts);
        let most = MOST_ROUNDS * held.sequences / sequences;
        let most = most.min(self.cuts.iterations / held.iterations(sequences));
        let waits = groups > 1;
        let chunk = if waits && self.cuts.resident.is_none() { 1 } else { most.clamp(1, steps) };
        let blocks = self.weight().rows.div_ceil(held.slices() * BLOCK);
        let Shape { activation, .. } = self.shape;
        let patience = PATIENCE[0] + PATIENCE[1] * chunk * (sequences / held.sequences);
        let scalars = bytes(&Scalars { batch, activation, steps, chunk, sequences, blocks, patience });
        let mut windows = self.windows([slices.first, self.weight()], slices);
        windows.push(given_up());
        let grid = [groups, batch.div_ceil(sequences), 1];
        let main = Piece { shader: 0, windows, scalars, grid, iterations: chunk * held.iterations(sequences) };
        let times = Times { first: 0, count: steps.div_ceil(chunk), backward: false };
        let fill = |word: u32, always: bool| Phase { times: Times::once(), pieces: self.fill(slices, batch, word, always) };
        vec![fill(UNWRITTEN, true), Phase { times, pieces: vec![main] }, fill(f32::NAN.to_bits(), false)]
    }

    /// Dispatches that fill the states that some time steps make: always, or where a workgroup has given up.
    fn fill(&self, slices: &Slices, batch: u32, word: u32, always: bool) -> Vec<Piece> {
        let states = slices.states[0];
        let made = if self.backward { states.slice_rows(0..states.rows - batch) } else { states.slice_rows(batch..states.rows) };
        let piece = |r: std::ops::Range<u32>| Piece {
            shader: FILLING,
            windows: vec![made.slice_rows(r.clone()), given_up()],
            scalars: bytes(&FlagScalars { word, always: u32::from(always) }),
            grid: [made.cols.div_ceil(32), (r.end - r.start).div_ceil(8), 1],
            iterations: 1,
        };
        self.cuts.runs(made.rows, &[Along::Rows(made)], [1, 1], u64::from(self.cuts.workgroups) * 8).map(piece).collect()
    }
}

/// The shaders of a variant of this kind.
macro_rules! persistent {
    ([$unit:expr, $bind:expr, $step:expr], $bindings:expr, $held:expr) => {{
        const SHADERS: &[$crate::program::Shader] = &[
            $crate::program::Shader {
                source: &[
                    text::WINDOW,
                    text::TIME,
                    text::EXP,
                    text::ACTIVATION,
                    $unit,
                    text::CELL,
                    text::FLAGS,
                    $bind,
                    $step,
                    $held.text,
                    text::PERSISTENT,
                ],
                entry: "main",
                bindings: $bindings,
                scalars: recurrence::HELD_SCALARS,
            },
            recurrence::COPY,
            recurrence::FLAGS,
        ];
        SHADERS
    }};
}

pub(crate) use persistent;
