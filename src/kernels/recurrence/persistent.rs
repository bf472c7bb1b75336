//! Many time steps in one dispatch, over workgroups that wait for each other: the shaders and the dispatches of a variant of that kind. Where the device does not run several workgroups at the same time, which is what waiting needs, each time step
//! is a dispatch of its own, in which nothing waits.

use bytemuck::{Pod, Zeroable};

use super::Shape;
use super::held::Held;
use super::lower::{Lowering, Slices};
use crate::kernels::fill::pieces_by_rows;
use crate::kernels::{WINDOW, bytes};
use crate::program::{Binding, Buf, Element, Mat, Phase, Piece, Shader, Times};

/// Looks at words that are not written yet, of a thread in a dispatch, and for each round of it: on a GPU, where a look takes most of a
/// microsecond, 0.1 s, and ten times as long as a round should take. That is 0.6 s at most.
const PATIENCE: [u32; 2] = [1 << 16, 256];
/// The most rounds of a dispatch: at some microseconds each, about 50 ms on a slow GPU.
const MOST_ROUNDS: u32 = 4096;
/// A NaN that no cell leaves: a state that is not written yet.
const UNWRITTEN: u32 = 0xffff_ffff;

/// The scalars of the shader that computes.
pub(crate) const SCALARS: &[&str] = &["batch", "activation", "steps", "chunk", "sequences", "at_once", "patience"];

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
    /// Those of them that are computed at a time.
    at_once: u32,
    patience: u32,
}

/// The second shader of such a variant fills states with what is not written yet, and with NaN where a workgroup has given up.
pub(crate) const FLAGS: Shader = Shader::new(
    &[WINDOW, include_str!("../../../shaders/recurrence_flags.wgsl")],
    "main",
    &[Binding { element: Element::U32, ..Binding::write("out") }, Binding { element: Element::U32, ..Binding::read("given_up") }],
    &["word", "always"],
)
.in_bounds();
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
        let at_once = held.at_once(sequences);
        let most = MOST_ROUNDS / sequences.div_ceil(at_once);
        let most = most.min(self.cuts.iterations / held.iterations(sequences));
        let waits = groups > 1;
        let chunk = if waits && self.cuts.resident.is_none() { 1 } else { most.clamp(1, steps) };
        let Shape { activation, .. } = self.shape;
        let patience = PATIENCE[0] + PATIENCE[1] * chunk * sequences.div_ceil(at_once);
        let scalars = bytes(&Scalars { batch, activation, steps, chunk, sequences, at_once, patience });
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
        let part = |r: std::ops::Range<u32>| {
            let windows = vec![made.slice_rows(r), given_up()];
            (windows, bytes(&FlagScalars { word, always: u32::from(always) }))
        };
        pieces_by_rows(&[made], FILLING, self.cuts, part)
    }
}

/// The shaders of a variant of this kind.
macro_rules! waiting {
    ([$unit:expr, $bind:expr, $step:expr], $bindings:expr, $held:expr) => {{
        const SOURCE: &[&str] = recurrence::source!([$unit, $bind, $step], text::FLAGS, [$held.text, text::HELD]);
        const SHADERS: &[$crate::program::Shader] = &[
            $crate::program::Shader::new(SOURCE, "main", $bindings, recurrence::HELD_SCALARS).in_bounds(),
            recurrence::COPY,
            recurrence::FLAGS,
        ];
        SHADERS
    }};
}

pub(crate) use waiting;
