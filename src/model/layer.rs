//! A layer: its windows by role, its states and its buffers, and what it records forward and backward.
//!
//! Forward: P = X·Uᵀ + b for all time steps at once, then the cell's recurrence over P and Wᵀ. Backward: the cell's recurrence back in time
//! makes of ∂L/∂h from above the gradients D of the recurrent sums and D' of the input's parts, which for most cells are the same; then
//! ∂L/∂W = Σ_t d_t·h_{t−1}ᵀ, ∂L/∂U = Σ_t d'_t·x_tᵀ and ∂L/∂b = Σ_t d'_t, each one product or sum over all time steps, and what reaches the layer
//! below is D'·U. `Wᵀ` is kept beside `W` and refreshed after each update, and so is the sum of two biases.
//!
//! A layer of two directions is two of these, and the reverse one is given its rows in the order in which it computes them. So padding
//! comes last in either. What is computed there is made zero before anything reads it, since a state that runs on without bounds is no
//! number at last; from then on only zeros meet it, on the way back too.

mod backward;
mod windows;

use std::ops::Range;

use self::windows::Borders;
pub(crate) use self::windows::{Buffers, Shared, TracedState, TracedWindows, Weights};
use super::config::Config;
use super::segment::{Ends, Segment};
use crate::Activation;
use crate::cells::{Cell, Side};
use crate::kernels::gather::gather;
use crate::kernels::gemm::{Epilogue, linear};
use crate::kernels::padding::clear_padding;
use crate::kernels::recurrence::{gate_cols, gate_stride};
use crate::kernels::rows::Rows;
use crate::kernels::{column_sum, constraint, embedding, fill, noise, recurrence, transpose};
use crate::program::{Mat, Program};

/// What a layer reads.
#[derive(Clone, Copy)]
pub(crate) enum Reads {
    /// Ids, and for their gradient their rows by token.
    Tokens { tokens: Mat, order: Mat, starts: Mat },
    /// Vectors, and where the gradient by them goes, if anything is below.
    Vectors { vectors: Mat, gradient: Option<Mat> },
}

/// What a layer does besides, in training or after each update.
#[derive(Debug, Clone, Copy)]
struct Regularization {
    /// The layer's number in noise, its deviation, and what it follows from.
    noise: Option<(u32, f64, Mat)>,
    /// The rows of all time steps.
    rows: Rows,
    /// What h is multiplied by in the gradient of its mean square.
    activity: f32,
    /// The excitatory units.
    excitatory: Option<u32>,
}

/// A layer's windows into the arenas and its buffers; N is the length of a segment.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    cell: &'static Cell,
    activation: Activation,
    batch: u32,
    weights: Weights,
    d_weights: Weights,
    regularization: Regularization,
    /// The mask of the recurrent weight beside the arena of the parameters.
    mask_copy: Option<Mat>,
    /// Wᵀ.
    recurrent_t: Mat,
    /// The sum of two biases that are both trained.
    bias_sum: Option<Mat>,
    /// P, `[N·B, G·H]`.
    input: Mat,
    /// The states, `[(N+1)·B, H]` each, the initial one first: of the last segment computed.
    pub states: Vec<Mat>,
    /// What the cell saves, `[N·B, ·]`.
    saved: Option<Mat>,
    /// D, `[(N+1)·B, G·H]`, zero in its last B rows or what comes from the segment behind, and the gradients of states that have paths of
    /// their own, alike.
    gradients: Vec<Mat>,
    d_input: Option<Mat>,
    borders: Option<Borders>,
    /// Where sequences end, if they may before the window does, and the states there, `[B, H]` each.
    ends: Option<(Ends, Vec<Mat>)>,
    /// What is kept of all time steps where gradients are traced.
    pub traced: Option<TracedWindows>,
    /// The gradients by the initial states, `[B, H]` each.
    pub d_initial: Vec<Mat>,
}

/// What a single time step reads of a layer.
pub(crate) struct SingleWindows {
    /// U, of tokens transposed.
    pub input: Mat,
    /// Wᵀ.
    pub recurrent_t: Mat,
    /// The bias of the input's part.
    pub bias: Mat,
    /// What the cell has that is the same at all time steps.
    pub constants: Vec<Mat>,
}

impl Layer {
    /// Declares the buffers of a layer in a direction that are its alone, beside those that it is given.
    pub fn new(
        program: &mut Program,
        config: &Config,
        place: usize,
        [weights, d_weights]: [Weights; 2],
        Buffers { recurrent_t, input, states, saved }: Buffers,
        shared: &Shared,
    ) -> Layer {
        let cell = config.cell;
        let [batch, window, hidden] = [config.batch, config.window, config.hidden].map(|n| n as u32);
        let segments = config.segments().len() as u32;
        let gates = gate_cols(hidden, cell.gates as usize);
        let (number, reverse) = (place / config.directions(), place % config.directions() == 1);
        let name = |what: &str| format!("{what}, layer {number}{}", if reverse { " in reverse" } else { "" });
        let of_state = |what: &str, state: &str| match state {
            "h" => name(what),
            state => name(&format!("{what} {state}")),
        };
        let gradients = shared.gradients(place as u32);
        let each = |program: &mut Program, what: &str, rows: u32| -> Vec<Mat> {
            cell.states.iter().map(|state| program.matrix(of_state(what, state), rows, hidden)).collect()
        };
        let borders = (segments > 1).then(|| Borders {
            states: each(program, "states between segments", (segments + 1) * batch),
            gradients: gradients
                .iter()
                .map(|window| program.matrix(name("gradient of sums behind a segment"), batch, window.cols))
                .collect(),
        });
        let both = weights.recurrent_bias.filter(|second| second.cols == weights.bias.cols);
        Layer {
            cell,
            activation: config.activation,
            batch,
            weights,
            d_weights,
            regularization: Regularization {
                noise: shared
                    .seed_and_step
                    .filter(|_| config.state_noise > 0.0)
                    .map(|schedule| (place as u32, config.state_noise, schedule)),
                rows: config.rows(),
                activity: (2.0 * config.activity_l2 / (config.window * config.whole_batch() * config.hidden) as f64) as f32,
                excitatory: config.excitatory().map(|count| count as u32),
            },
            mask_copy: weights.mask.map(|mask| program.matrix(name("mask of the recurrent weight"), mask.rows, mask.cols)),
            recurrent_t,
            bias_sum: both.map(|_| program.matrix(name("sum of biases"), 1, gates)),
            input,
            states,
            saved,
            gradients,
            d_input: shared.d_input(place as u32),
            borders,
            ends: shared.ends.map(|ends| {
                let last = |state| program.transient(of_state("last states", state), batch, hidden);
                (ends, if segments > 1 { Vec::new() } else { cell.states.iter().copied().map(last).collect() })
            }),
            traced: config.trace.then(|| {
                let mut matrix = |what: &str, cols: u32| program.matrix(name(what), window * batch, cols);
                TracedWindows {
                    hidden: matrix("traced hidden", hidden),
                    d_hidden: matrix("gradient of traced hidden", hidden),
                    second: cell.through_h.map(|_| TracedState {
                        values: matrix("second traced state", hidden),
                        direct: matrix("gradient of second traced state on its own path", hidden),
                        saved: matrix("traced saved numbers", gate_cols(hidden, cell.saved as usize)),
                    }),
                }
            }),
            d_initial: each(program, "gradient of initial state", batch),
        }
    }

    /// The states, of which the first B rows are the initial ones: those before each segment, where there are several.
    pub fn kept(&self) -> &[Mat] {
        self.borders.as_ref().map_or(&self.states, |borders| &borders.states)
    }

    /// h after each step of a segment.
    pub fn outputs(&self, segment: &Segment) -> Mat {
        self.side(Side::After, 0, segment)
    }

    /// A state before each step of a segment, or after it.
    fn side(&self, side: Side, state: usize, segment: &Segment) -> Mat {
        let first = if side == Side::After { self.batch } else { 0 };
        self.states[state].slice_rows(first..first + segment.len())
    }

    /// Records that the weights become zero where there is no connection, once they were written. Training keeps them so.
    pub fn remove_connections(&self, program: &mut Program) {
        if let (Some(mask), Some(copy)) = (self.weights.mask, self.mask_copy) {
            // A step cannot read one window of a buffer and write another.
            fill::copy(program, mask, copy);
            constraint::connections(program, copy, self.weights.recurrent);
        }
    }

    /// Records what follows from the weights.
    pub fn prepare(&self, program: &mut Program) {
        if let Some(excitatory) = self.regularization.excitatory {
            constraint::signs(program, self.weights.recurrent, excitatory);
        }
        transpose::transpose(program, self.weights.recurrent, self.recurrent_t);
        let (Some(sum), Some(second)) = (self.bias_sum, self.weights.recurrent_bias) else { return };
        column_sum::column_sum(program, self.weights.bias, sum, Epilogue::Store);
        for gates in self.runs_of_merged_gates() {
            column_sum::column_sum(program, gates(second), gates(sum), Epilogue::Add);
        }
    }

    /// The columns of the gates whose two biases are added, as many in a row as there are.
    fn runs_of_merged_gates(&self) -> Vec<impl Fn(Mat) -> Mat + use<>> {
        let hidden = self.states[0].cols;
        let mut runs: Vec<Range<u32>> = Vec::new();
        for gate in (0..self.cell.gates).filter(|gate| !self.cell.recurrent_bias.contains(gate)) {
            match runs.last_mut() {
                Some(run) if run.end == gate => run.end += 1,
                _ => runs.push(gate..gate + 1),
            }
        }
        let stride = gate_stride(hidden);
        runs.into_iter()
            .map(|run| move |window: Mat| window.slice_cols(run.start * stride..window.cols.min(run.end * stride)))
            .collect()
    }

    /// What the cell has that is the same at all time steps.
    fn constants(&self) -> Vec<Mat> {
        let bias = self.weights.recurrent_bias.filter(|_| !self.cell.recurrent_bias.is_empty());
        bias.map(|bias| self.apart(bias)).into_iter().chain(self.weights.leak).collect()
    }

    /// What a single time step reads.
    pub fn single(&self) -> SingleWindows {
        SingleWindows {
            input: self.weights.input,
            recurrent_t: self.recurrent_t,
            bias: self.bias_sum.unwrap_or(self.weights.bias),
            constants: self.constants(),
        }
    }

    /// Of a row with all gates, or with that one alone, the gate whose recurrent bias is apart.
    fn apart(&self, row: Mat) -> Mat {
        let hidden = self.states[0].cols;
        match self.cell.recurrent_bias {
            &[gate] if row.cols > hidden => row.slice_cols(gate * gate_stride(hidden)..gate * gate_stride(hidden) + hidden),
            _ => row,
        }
    }

    /// Records a segment from the states before it to those after it.
    pub fn forward(&self, program: &mut Program, reads: Reads, segment: &Segment) {
        let (batch, count) = (self.batch, segment.len());
        let block = |mat: Mat, i: u32| mat.slice_rows(i * batch..(i + 1) * batch);
        let (input, bias) = (segment.within(self.input), self.bias_sum.unwrap_or(self.weights.bias));
        match reads {
            Reads::Tokens { tokens, .. } => embedding::lookup(program, tokens, self.weights.input, bias, input),
            Reads::Vectors { vectors, .. } => linear(program, vectors, self.weights.input, bias, input),
        }
        if let Some((number, deviation, schedule)) = self.regularization.noise {
            let rows = Rows { first: segment.rows.start, ..self.regularization.rows };
            noise::noise(program, schedule, input, number, rows, deviation);
        }
        let states = self.states.iter().map(|state| state.slice_rows(0..count + batch));
        for (state, between) in self.states.iter().zip(self.borders.iter().flat_map(|borders| &borders.states)) {
            fill::copy(program, block(*between, segment.number), block(*state, 0));
        }
        let windows = [input, self.recurrent_t].into_iter().chain(self.constants()).chain(states);
        let windows: Vec<Mat> = windows.chain(self.saved.map(|saved| segment.within(saved))).collect();
        recurrence::record(program, self.cell.forward, self.activation, batch, &windows);
        self.clear_padding(program, segment);
        for (state, between) in self.states.iter().zip(self.borders.iter().flat_map(|borders| &borders.states)) {
            let behind = block(*between, segment.number + 1);
            match &self.ends {
                Some((ends, _)) => gather(program, ends.for_segment(segment), state.slice_rows(0..count + batch), behind),
                None => fill::copy(program, state.slice_rows(count..count + batch), behind),
            }
        }
    }

    /// Makes zero what was computed behind the ends of sequences.
    fn clear_padding(&self, program: &mut Program, segment: &Segment) {
        let Some((ends, _)) = &self.ends else { return };
        let states = (0..self.states.len()).map(|state| self.side(Side::After, state, segment));
        for window in states.chain(self.saved.map(|saved| segment.within(saved))) {
            clear_padding(program, ends.lengths, window, segment.rows.start);
        }
    }

    /// Records that the last states become the next window's initial ones.
    pub fn carry(&self, program: &mut Program) {
        match &self.ends {
            // Between segments there are the last states of the sequences that have ended.
            Some((ends, last)) if self.borders.is_none() => {
                for (states, &last) in self.states.iter().zip(last) {
                    gather(program, ends.rows, *states, last);
                    fill::copy(program, last, states.slice_rows(0..self.batch));
                }
            }
            _ => self.kept().iter().for_each(|states| fill::carry(program, *states, self.batch)),
        }
    }
}
