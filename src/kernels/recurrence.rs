//! The loop over time, forward and backward, around a cell's pointwise part.
//!
//! Forward, for t = 0 … T−1: block t+1 of hidden = unit_forward(input_t, block t of hidden · weight), block 0 being the
//! initial state and weight = Wᵀ. Backward, for t = T−1 … 0: block t of d_sum = unit_backward(d_hidden_t, block t+1 of
//! d_sum · W, hidden_t), block T being what comes from a later segment, else zero. A block is a batch of rows.
//!
//! On GPUs each time step is a dispatch with the product and the cell fused, or, where the product is large, one for its parts and one
//! that adds them up and calls the cell; `time` is an immediate, so that any number of steps takes the same memory.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use num_traits::Float;

use crate::Activation;
use crate::activation::with_known;
use crate::program::{Binding, Content, Contents, Kernel, Mat, Program, Step, Variant, View, all_windows, scalars};
use crate::rounding::Terms;
use crate::simd::arch;

mod barrier;
mod cpu;
mod lower;
mod variants;
use cpu::over_time;
pub(crate) use lower::{
    BY_LANES, BY_SEQUENCE, BY_SLICES, BY_SUBGROUP, COPY, LARGE_PRODUCT, NARROW, PARTS_SCALARS, PIECE_SCALARS, TILED,
    WIDE_PRODUCT, Way, has_room, has_units, is_large, is_middling, is_skinny, lower_backward, lower_forward,
};
pub(crate) use variants::{backward_variants, forward_variants, fused, in_parts, text, variants};

/// A cell's pointwise part.
pub(crate) trait Unit {
    /// The kernels it makes, forward and backward.
    const KERNELS: [&'static Kernel; 2];

    /// h from the input's part and the recurrent sum.
    fn forward(activation: Activation, input: f64, recurrent: f64) -> f64;

    /// How far h may be off in f32, from the terms of the recurrent sum.
    fn forward_bound(activation: Activation, input: f64, recurrent: f64, terms: Terms) -> f64;

    /// The gradient of the sum from ∂L/∂h, what comes back through the recurrence, and h.
    fn backward<T: Float>(activation: Activation, d_hidden: T, recurrent: T, hidden: T) -> T;

    /// How far that may be off in f32, from the terms of what comes back.
    fn backward_bound(activation: Activation, d_hidden: f64, recurrent: f64, hidden: f64, terms: Terms) -> f64;

    /// [`Unit::forward`] in f32 for a row: state holds the recurrent sums and becomes h.
    fn forward_row(activation: Activation, input: &[f32], state: &mut [f32]);
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Shape {
    batch: u32,
    activation: u32,
}

const SCALARS: &[&str] = &["batch", "activation"];
pub(crate) const FORWARD_BINDINGS: &[Binding] = &[Binding::read("input"), Binding::read("weight"), Binding::update("hidden")];
pub(crate) const BACKWARD_BINDINGS: &[Binding] =
    &[Binding::read("d_hidden"), Binding::read("weight"), Binding::read("hidden"), Binding::update("d_sum")];

pub(crate) const FORWARD_PARTS: &[Binding] = &[Binding::read("parts"), Binding::read("input"), Binding::update("hidden")];
pub(crate) const BACKWARD_PARTS: &[Binding] =
    &[Binding::read("parts"), Binding::read("d_hidden"), Binding::read("hidden"), Binding::update("d_sum")];

/// Records the recurrence over all time steps of input: input `[T·B, H]`, weight = Wᵀ `[H, H]`, hidden `[(T+1)·B, H]`
/// with the initial state in its first `batch` rows.
///
/// # Panics
/// When the shapes do not fit.
pub fn forward(
    program: &mut Program,
    kernel: &'static Kernel,
    activation: Activation,
    batch: u32,
    input: Mat,
    weight: Mat,
    hidden: Mat,
) {
    check(batch, weight, &[input], hidden);
    program.push(kernel, &[input, weight, hidden], Shape { batch, activation: activation.code() });
}

/// Records the recurrence backward: d_hidden `[T·B, H]`, weight = W `[H, H]`, hidden `[T·B, H]` the states after each
/// step, d_sum `[(T+1)·B, H]` with what comes from later in its last `batch` rows.
///
/// # Panics
/// When the shapes do not fit.
#[expect(clippy::too_many_arguments, reason = "each is a window of the contract")]
pub fn backward(
    program: &mut Program,
    kernel: &'static Kernel,
    activation: Activation,
    batch: u32,
    d_hidden: Mat,
    weight: Mat,
    hidden: Mat,
    d_sum: Mat,
) {
    check(batch, weight, &[d_hidden, hidden], d_sum);
    program.push(kernel, &[d_hidden, weight, hidden, d_sum], Shape { batch, activation: activation.code() });
}

fn check(batch: u32, weight: Mat, steps: &[Mat], states: Mat) {
    let fits = |m: &Mat| m.rows + batch == states.rows && m.cols == states.cols;
    assert!(
        batch > 0
            && states.rows.is_multiple_of(batch)
            && steps.iter().all(fits)
            && (weight.rows, weight.cols) == (states.cols, states.cols),
        "recurrence: batch {batch}, weight {weight:?}, {steps:?}, states {states:?}"
    );
}

/// The forward kernel of a cell.
pub(crate) const fn forward_kernel<U: Unit>(name: &'static str, variants: &'static [Variant]) -> Kernel {
    Kernel {
        name,
        bindings: FORWARD_BINDINGS,
        scalars: SCALARS,
        definition: define_forward::<U>,
        bound: bound_forward::<U>,
        parts: forward_steps,
        is_exact: keeps_integers,
        cpu: run_forward::<U>,
        variants,
        bytes: all_windows,
        working,
        flops,
        sample: |program, size| sample(program, U::KERNELS[0], true, size),
    }
}

/// The backward kernel of a cell.
pub(crate) const fn backward_kernel<U: Unit>(name: &'static str, variants: &'static [Variant]) -> Kernel {
    Kernel {
        name,
        bindings: BACKWARD_BINDINGS,
        scalars: SCALARS,
        definition: define_backward::<U>,
        bound: bound_backward::<U>,
        parts: backward_steps,
        is_exact: keeps_integers,
        cpu: run_backward::<U>,
        variants,
        bytes: all_windows,
        working,
        flops,
        sample: |program, size| sample(program, U::KERNELS[1], false, size),
    }
}

/// [m, n, k] as batch, hidden size and steps.
fn sample(program: &mut Program, kernel: &'static Kernel, is_forward: bool, [batch, size, steps]: [u32; 3]) -> Contents {
    let activation = Activation::ALL[steps as usize % Activation::ALL.len()];
    let mut matrix = |name: &str, rows: u32| program.matrix(name, rows, size);
    let (input, weight) = (matrix("input", steps * batch), matrix("weight", size));
    let states = matrix("states", (steps + 1) * batch);
    let mut contents = vec![(weight, Content::Recurrent)];
    if is_forward {
        forward(program, kernel, activation, batch, input, weight, states);
    } else {
        let hidden = matrix("hidden", steps * batch);
        backward(program, kernel, activation, batch, input, weight, hidden, states);
        contents.push((hidden, Content::State));
    }
    contents
}

fn flops(step: &Step) -> u64 {
    2 * step.windows[0].len() as u64 * u64::from(step.windows[1].rows)
}

/// The weight in panels.
fn working(step: &Step) -> u64 {
    let weight = step.windows[1];
    u64::from(weight.rows) * u64::from(weight.stride) * 4
}

/// Σₖ state\[row, k\]·weight\[k, c\], and the same as its bound sees it.
fn recurrent_sum(state: &View<f64>, row: usize, weight: &View<f64>, c: usize) -> (f64, Terms) {
    let (mut sum, mut terms) = (0.0, Terms::default());
    for (k, &x) in state.row(row).iter().enumerate() {
        let w = weight.at(k, c);
        sum += x * w;
        terms.product(x, w);
    }
    (sum, terms)
}

fn define_forward<U: Unit>(views: &mut [View<f64>], bytes: &[u8]) {
    let [input, weight, hidden] = views else { unreachable!("three windows") };
    let Shape { batch, activation } = scalars(bytes);
    let activation = Activation::coded(activation);
    for row in 0..input.rows {
        for c in 0..hidden.cols {
            let (sum, _) = recurrent_sum(hidden, row, weight, c);
            hidden.set(row + batch as usize, c, U::forward(activation, input.at(row, c), sum));
        }
    }
}

/// Of one time step: block 0 of hidden stays, block 1 is computed from it.
fn bound_forward<U: Unit>(views: &mut [View<f64>], bytes: &[u8]) {
    let [input, weight, hidden] = views else { unreachable!("three windows") };
    let Shape { batch, activation } = scalars(bytes);
    let activation = Activation::coded(activation);
    for row in 0..batch as usize {
        for c in 0..hidden.cols {
            let (sum, terms) = recurrent_sum(hidden, row, weight, c);
            hidden.set(row + batch as usize, c, U::forward_bound(activation, input.at(row, c), sum, terms));
        }
        hidden.row_mut(row).fill(0.0);
    }
}

fn define_backward<U: Unit>(views: &mut [View<f64>], bytes: &[u8]) {
    let [d_hidden, weight, hidden, d_sum] = views else { unreachable!("four windows") };
    let Shape { batch, activation } = scalars(bytes);
    let activation = Activation::coded(activation);
    for row in (0..d_hidden.rows).rev() {
        for c in 0..d_sum.cols {
            let (sum, _) = recurrent_sum(d_sum, row + batch as usize, weight, c);
            d_sum.set(row, c, U::backward(activation, d_hidden.at(row, c), sum, hidden.at(row, c)));
        }
    }
}

/// Of one time step: block 1 of d_sum stays, block 0 is computed from it.
fn bound_backward<U: Unit>(views: &mut [View<f64>], bytes: &[u8]) {
    let [d_hidden, weight, hidden, d_sum] = views else { unreachable!("four windows") };
    let Shape { batch, activation } = scalars(bytes);
    let activation = Activation::coded(activation);
    for row in 0..batch as usize {
        let later = row + batch as usize;
        for c in 0..d_sum.cols {
            let (sum, terms) = recurrent_sum(d_sum, later, weight, c);
            d_sum.set(row, c, U::backward_bound(activation, d_hidden.at(row, c), sum, hidden.at(row, c), terms));
        }
        d_sum.row_mut(later).fill(0.0);
    }
}

/// ReLU and the identity of sums of integers are integers, and so are their derivatives.
fn keeps_integers(step: &Step) -> bool {
    matches!(Activation::coded(step.scalars::<Shape>().activation), Activation::Relu | Activation::Identity)
}

/// The rows of time step t, and those of the states before and after it.
fn time_steps(step: &Step) -> impl DoubleEndedIterator<Item = [Range<u32>; 2]> {
    let batch = step.scalars::<Shape>().batch;
    (0..step.windows[0].rows / batch).map(move |t| [t * batch..(t + 1) * batch, t * batch..(t + 2) * batch])
}

fn forward_steps(step: &Step) -> Vec<Step> {
    let [input, weight, hidden] = step.windows[..] else { unreachable!("three windows") };
    let part = |[now, states]: [Range<u32>; 2]| Step {
        windows: vec![input.slice_rows(now), weight, hidden.slice_rows(states)],
        ..step.clone()
    };
    time_steps(step).map(part).collect()
}

fn backward_steps(step: &Step) -> Vec<Step> {
    let [d_hidden, weight, hidden, d_sum] = step.windows[..] else { unreachable!("four windows") };
    let part = |[now, states]: [Range<u32>; 2]| Step {
        windows: vec![d_hidden.slice_rows(now.clone()), weight, hidden.slice_rows(now), d_sum.slice_rows(states)],
        ..step.clone()
    };
    time_steps(step).rev().map(part).collect()
}

fn run_forward<U: Unit>(views: &mut [View<f32>], bytes: &[u8]) {
    let [input, weight, hidden] = views else { unreachable!("three windows") };
    let Shape { batch, activation } = scalars(bytes);
    let activation = Activation::coded(activation);
    over_time(hidden, weight, batch as usize, false, |row, cols, state| {
        U::forward_row(activation, &input.row(row)[cols], state);
    });
}

fn run_backward<U: Unit>(views: &mut [View<f32>], bytes: &[u8]) {
    let [d_hidden, weight, hidden, d_sum] = views else { unreachable!("four windows") };
    let Shape { batch, activation } = scalars(bytes);
    let activation = Activation::coded(activation);
    over_time(d_sum, weight, batch as usize, true, |row, cols, d| {
        let row = d.iter_mut().zip(&d_hidden.row(row)[cols.clone()]).zip(&hidden.row(row)[cols]);
        with_known!(activation, KNOWN => {
            arch().dispatch(|| row.for_each(|((d, &d_hidden), &h)| *d = U::backward(KNOWN, d_hidden, *d, h)));
        });
    });
}
