//! One layer over all time steps, forward and backward, around the equations of its cell.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, Array3, ArrayView2, ArrayView3, Axis, s};

use super::activation::Activation;
use super::cell::{Cell, Unit, UnitGradient};
use super::input::LayerInput;
use super::weights::LayerWeights;
use crate::batch::Batch;

/// The order in which a layer goes through the time steps, and where sequences end. Behind an end nothing is computed: the states stay what
/// they are, in whatever direction time runs.
#[derive(Clone, Copy)]
pub(super) struct Order<'a> {
    /// From the last time step to the first.
    pub reverse: bool,
    /// The batch.
    pub batch: &'a Batch,
}

impl Order<'_> {
    /// The time step that is computed as the `n`-th, counted from 0.
    fn time(&self, n: usize) -> usize {
        if self.reverse { self.batch.shape().0 - 1 - n } else { n }
    }
}

/// What a layer computes at all steps.
pub(super) struct Trajectory {
    /// `U·x_t + b_ih`, `[T, B, G·H]`.
    pub input_sums: Array3<f64>,
    /// `W·h_{t-1} + b_hh`, `[T, B, G·H]`.
    pub recurrent_sums: Array3<f64>,
    /// Each state of the cell, `[T+1, B, H]`, in the order of computation; slot 0 is before the first step.
    pub states: Vec<Array3<f64>>,
    /// h after each time step, `[T, B, H]`, by time, and zero behind a sequence's end: what is read of it.
    pub outputs: Array3<f64>,
}

/// The derivative of the loss by what a layer computes.
pub(super) struct Derivatives {
    /// By `U·x_t + b_ih`, `[T, B, G·H]`.
    pub input_sums: Array3<f64>,
    /// By `W·h_{t-1} + b_hh`, `[T, B, G·H]`.
    pub recurrent_sums: Array3<f64>,
    /// By each state after each step, `[T, B, H]`, slot `t-1` for the `t`-th in the order of computation.
    pub states: Vec<Array3<f64>>,
    /// By each state before the first step, `[B, H]`.
    pub initial_states: Vec<Array2<f64>>,
}

/// The sums and states of a layer at all steps, from the states before the first, `[B, H]` each. `noise` is in the order of computation.
pub(super) fn forward(
    cell: &Cell,
    weights: &LayerWeights,
    input: &LayerInput,
    initial: &[ArrayView2<f64>],
    noise: Option<Array3<f64>>,
    order: Order,
) -> Trajectory {
    let (sequences, hidden) = initial[0].dim();
    let mut input_sums = in_steps(input.times(&weights.input) + &weights.input_bias, sequences);
    let steps = input_sums.dim().0;
    for (n, noise) in noise.iter().flat_map(|noise| noise.axis_iter(Axis(0)).enumerate()) {
        let mut sums = input_sums.index_axis_mut(Axis(0), order.time(n));
        sums += &noise;
    }
    let mut states = vec![Array3::zeros((steps + 1, sequences, hidden)); initial.len()];
    for (state, initial) in states.iter_mut().zip(initial) {
        state.index_axis_mut(Axis(0), 0).assign(initial);
    }
    let outputs = Array3::zeros((steps, sequences, hidden));
    let mut all = Trajectory { recurrent_sums: Array3::zeros(input_sums.dim()), input_sums, states, outputs };
    let (mut numbers, mut after) = (Numbers::new(cell), vec![0.0; initial.len()]);
    for n in 0..steps {
        let t = order.time(n);
        let mut sums = all.recurrent_sums.index_axis_mut(Axis(0), t);
        sums.assign(&weights.recurrent_bias);
        general_mat_mul(1.0, &all.states[0].index_axis(Axis(0), n), &weights.recurrent.t(), 1.0, &mut sums);
        for b in 0..sequences {
            for j in 0..hidden {
                numbers.read(&all, [n, t, b, j]);
                if !order.batch.is_read(t, b) {
                    for (state, &before) in all.states.iter_mut().zip(&numbers.before) {
                        state[[n + 1, b, j]] = before;
                    }
                    continue;
                }
                (cell.forward)(&numbers.unit(cell, weights, j), &mut after);
                for (state, &after) in all.states.iter_mut().zip(&after) {
                    state[[n + 1, b, j]] = after;
                }
                all.outputs[[t, b, j]] = after[0];
            }
        }
    }
    all
}

/// The derivatives from the step computed last to the first, from what the layer above sends to each `h_t`, `[T, B, H]`, by time.
///
/// `from_next` is what step `t+1` sends to the states after step `t`: straight, and to `h_t` also through the recurrent weight,
/// `Wᵀ·∂L/∂(W·h_t)`. Before the first step, where `t+1 = 1`, it is the derivative by the initial states. Where a sequence has ended it goes
/// on as it is, as the states did.
pub(super) fn backward(
    cell: &Cell,
    weights: &LayerWeights,
    computed: &Trajectory,
    from_above: ArrayView3<f64>,
    order: Order,
) -> Derivatives {
    let (steps, sequences, hidden) = from_above.dim();
    let states = cell.states.len();
    let mut d = Derivatives {
        input_sums: Array3::zeros(computed.input_sums.dim()),
        recurrent_sums: Array3::zeros(computed.recurrent_sums.dim()),
        states: vec![Array3::zeros(from_above.dim()); states],
        initial_states: Vec::new(),
    };
    let mut from_next = vec![Array2::<f64>::zeros((sequences, hidden)); states];
    let mut numbers = Numbers::new(cell);
    let (mut d_input, mut d_recurrent) = (vec![0.0; cell.gates], vec![0.0; cell.gates]);
    let (mut after, mut d_after, mut d_before) = (vec![0.0; states], vec![0.0; states], vec![0.0; states]);
    for n in (0..steps).rev() {
        let t = order.time(n);
        for b in 0..sequences {
            for j in 0..hidden {
                if !order.batch.is_read(t, b) {
                    (0..states).for_each(|s| d.states[s][[n, b, j]] = from_next[s][[b, j]]);
                    continue;
                }
                numbers.read(computed, [n, t, b, j]);
                for s in 0..states {
                    after[s] = computed.states[s][[n + 1, b, j]];
                    d_after[s] = from_next[s][[b, j]];
                }
                d_after[0] += from_above[[t, b, j]];
                let mut d_unit =
                    UnitGradient { after: &mut d_after, input: &mut d_input, recurrent: &mut d_recurrent, before: &mut d_before };
                (cell.backward)(&numbers.unit(cell, weights, j), &after, &mut d_unit);
                for g in 0..cell.gates {
                    d.input_sums[[t, b, g * hidden + j]] = d_input[g];
                    d.recurrent_sums[[t, b, g * hidden + j]] = d_recurrent[g];
                }
                for s in 0..states {
                    d.states[s][[n, b, j]] = d_after[s];
                    from_next[s][[b, j]] = d_before[s];
                }
            }
        }
        general_mat_mul(1.0, &d.recurrent_sums.index_axis(Axis(0), t), &weights.recurrent, 1.0, &mut from_next[0]);
    }
    d.initial_states = from_next;
    d
}

/// The gradient by a layer's weights, and the same sums of absolute values.
pub(super) fn d_weights(
    weights: &LayerWeights,
    input: &LayerInput,
    computed: &Trajectory,
    d: &Derivatives,
    order: Order,
) -> (LayerWeights, LayerWeights) {
    let (d_input, d_recurrent) = (rows(d.input_sums.view()).to_owned(), rows(d.recurrent_sums.view()).to_owned());
    let mut before = computed.states[0].slice(s![..-1, .., ..]);
    if order.reverse {
        before.invert_axis(Axis(0));
    }
    let before = rows(before.as_standard_layout().view()).to_owned();
    let sums = |d_input: &Array2<f64>, d_recurrent: &Array2<f64>, input: &LayerInput, before: &Array2<f64>| LayerWeights {
        input: input.d_weight(d_input, weights.input.ncols()),
        recurrent: match &weights.mask {
            Some(mask) => d_recurrent.t().dot(before) * mask,
            None => d_recurrent.t().dot(before),
        },
        mask: None,
        input_bias: d_input.sum_axis(Axis(0)),
        recurrent_bias: d_recurrent.sum_axis(Axis(0)),
        leak: Array1::zeros(weights.leak.len()),
    };
    let size = |array: &Array2<f64>| array.mapv(f64::abs);
    let magnitudes = sums(&size(&d_input), &size(&d_recurrent), &input.magnitudes(), &size(&before));
    (sums(&d_input, &d_recurrent, input, &before), magnitudes)
}

/// The numbers of one unit at one step, taken out of the arrays.
struct Numbers {
    input: Vec<f64>,
    recurrent: Vec<f64>,
    before: Vec<f64>,
}

impl Numbers {
    fn new(cell: &Cell) -> Numbers {
        let gates = vec![0.0; cell.gates];
        Numbers { input: gates.clone(), recurrent: gates, before: vec![0.0; cell.states.len()] }
    }

    /// Those of unit `j` of sequence `b` at time step `t` from the states of slot `n` on. Gate `g` is row `g·H + j`.
    fn read(&mut self, all: &Trajectory, [n, t, b, j]: [usize; 4]) {
        let hidden = all.states[0].dim().2;
        for g in 0..self.input.len() {
            self.input[g] = all.input_sums[[t, b, g * hidden + j]];
            self.recurrent[g] = all.recurrent_sums[[t, b, g * hidden + j]];
        }
        for (before, state) in self.before.iter_mut().zip(&all.states) {
            *before = state[[n, b, j]];
        }
    }

    fn unit<'a>(&'a self, cell: &Cell, weights: &LayerWeights, j: usize) -> Unit<'a> {
        let leak = &weights.leak;
        Unit {
            input: &self.input,
            recurrent: &self.recurrent,
            before: &self.before,
            leak: if leak.is_empty() { 1.0 } else { leak[j % leak.len()] },
            activation: cell.activation.unwrap_or(Activation::Identity),
        }
    }
}

/// `[T, B, ·]` as `[T·B, ·]`.
pub(super) fn rows(steps: ArrayView3<'_, f64>) -> ArrayView2<'_, f64> {
    let (count, sequences, size) = steps.dim();
    steps.into_shape_with_order((count * sequences, size)).expect("whole steps are contiguous")
}

/// `[T·B, ·]` as `[T, B, ·]`.
pub(super) fn in_steps(rows: Array2<f64>, sequences: usize) -> Array3<f64> {
    let shape = (rows.nrows() / sequences, sequences, rows.ncols());
    // A product of two matrices with one column or row may come out column-major.
    let rows = rows.as_standard_layout().into_owned();
    rows.into_shape_with_order(shape).expect("the rows are whole steps")
}
