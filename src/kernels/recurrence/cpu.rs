//! The loop over time on the CPU, in one of two ways. Where the weight fits a core's own cache each thread takes some sequences through the
//! whole window, [`alone`]; else each thread has some units and their part of the weight, and they go [`together`], meeting after each
//! time step. The same bits either way: each sum is one chain over k, back in time one for each gate.

use std::ops::Range;

use super::pointwise::{MOST, Pointwise, gate_stride};
use super::{Shape, windows_of};
use crate::Activation;
use crate::kernels::gemm::PARALLEL;
use crate::program::{Step, View, scalars};

mod alone;
mod barrier;
mod panels;
mod row;
mod rows;
mod sequences;
mod together;
mod units;

/// Weights of at most so many numbers stay in a core's own cache.
const CACHED: usize = 3 << 17;
/// The same where a product makes the sums of several gates: it reads more of the weight for each of its operations. An LSTM's forward pass
/// of 256 units took 1.18 times as long alone, one of 128 units 0.9 times.
const CACHED_GATES: usize = 1 << 17;

pub(super) fn run_forward<P: Pointwise>(views: &mut [View<f32>], bytes: &[u8]) {
    let place = windows_of::<P>(false);
    let (inputs, written) = views.split_at_mut(place.first_state());
    let size = Size::new::<P>(written[0].cols, written[0].rows, scalars(bytes), false);
    match size.threads() {
        Threads::Alone(count) => alone::forward::<P>(&size, count, inputs, written),
        Threads::Together(count) => together::forward::<P>(&size, count, inputs, written),
    }
}

pub(super) fn run_backward<P: Pointwise>(views: &mut [View<f32>], bytes: &[u8]) {
    let place = windows_of::<P>(true);
    let (inputs, written) = views.split_at_mut(place.first_state());
    let size = Size::new::<P>(inputs[0].cols, written[0].rows, scalars(bytes), true);
    match size.threads() {
        Threads::Alone(count) => alone::backward::<P>(&size, count, inputs, written),
        Threads::Together(count) => together::backward::<P>(&size, count, inputs, written),
    }
}

/// Whether no thread waits for another. A loop of units is run by certain threads of the pool, also where it is one.
pub(super) fn runs_beside<P: Pointwise>(step: &Step) -> bool {
    let backward = std::ptr::eq(step.kernel, P::KERNELS[1]);
    let states = step.windows[windows_of::<P>(backward).first_state()];
    let units = if backward { step.windows[0].cols } else { states.cols };
    let size = Size::new::<P>(units as usize, states.rows as usize, step.scalars(), backward);
    matches!(size.threads(), Threads::Alone(_))
}

/// A loop over time: what it has how many of.
#[derive(Clone, Copy)]
struct Size {
    activation: Activation,
    batch: usize,
    units: usize,
    gates: usize,
    /// Time steps.
    steps: usize,
    /// The windows that are states, the first of those that are written.
    states: usize,
    /// The parts of the first state, and of the output.
    parts: [usize; 2],
    backward: bool,
}

/// How many threads there are, and how they share the work.
enum Threads {
    Alone(usize),
    Together(usize),
}

impl Size {
    /// Of so many units, and rows of the states.
    fn new<P: Pointwise>(units: usize, rows: usize, Shape { batch, activation }: Shape, backward: bool) -> Size {
        let (dims, batch) = (P::DIMS, batch as usize);
        Size {
            activation: Activation::coded(activation),
            batch,
            units,
            gates: dims.gates,
            steps: rows / batch - 1,
            states: windows_of::<P>(backward).states,
            parts: if backward { [dims.gates; 2] } else { [1, dims.saved] },
            backward,
        }
    }

    /// The columns from one gate to the next.
    fn gate_stride(&self) -> usize {
        gate_stride(self.units as u32) as usize
    }

    fn threads(&self) -> Threads {
        let weight = self.units * self.units * self.gates;
        let step = self.batch * weight;
        let threads = if self.steps * step < PARALLEL { 1 } else { rayon::current_num_threads() };
        // To go together takes a meeting for each step, which must be worth it.
        let meeting = if step < PARALLEL { 1 } else { threads };
        let cached = if step >= PARALLEL && self.sides()[1] > 1 { CACHED_GATES } else { CACHED };
        if weight <= cached && self.batch >= meeting { Threads::Alone(threads) } else { Threads::Together(meeting) }
    }

    /// The parts of the state that the product reads, and of its sums.
    fn sides(&self) -> [usize; 2] {
        if self.backward { [self.gates, 1] } else { [1, self.gates] }
    }

    /// The parts of a window that is written: of the first state, of another one, of an output.
    fn parts_of(&self, number: usize) -> usize {
        match number {
            0 => self.parts[0],
            number if number < self.states => 1,
            _ => self.parts[1],
        }
    }

    /// The first row of the n-th time step in the order of computation, in a window of a block for each.
    fn first_row(&self, n: usize) -> usize {
        (if self.backward { self.steps - 1 - n } else { n }) * self.batch
    }

    /// The blocks of a window that is written, in the order of computation.
    fn blocks<'v>(&self, view: &'v mut View<f32>) -> Vec<&'v mut [f32]> {
        let length = self.batch * view.stride;
        let mut blocks: Vec<&mut [f32]> = view.data_mut().chunks_mut(length).collect();
        if self.backward {
            blocks.reverse();
        }
        blocks
    }
}

/// The numbers of the only row of each window, of some units.
fn constant_parts<'a>(constants: &'a [View<f32>], units: &Range<usize>) -> [&'a [f32]; MOST] {
    let mut parts: [&[f32]; MOST] = [&[]; MOST];
    parts.iter_mut().zip(constants).for_each(|(part, view)| *part = &view.data()[units.clone()]);
    parts
}
