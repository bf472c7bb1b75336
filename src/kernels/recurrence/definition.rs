//! The definition of a recurrence and its bound: the same loops, over numbers in f64 and over numbers with their errors.

use std::ops::Range;

use super::pointwise::{After, Before, Behind, Gradients, Numbers, Pointwise, gate_stride};
use super::{Shape, windows_of};
use crate::Activation;
use crate::numbers::{Exact, Near};
use crate::program::{Step, View, scalars};
use crate::rounding::Terms;

/// Σₖ state\[row, k\]·weight\[k, c\].
fn recurrent_sum<N: Exact>(state: &View<f64>, row: usize, weight: &View<f64>, c: usize) -> N {
    let (mut sum, mut terms) = (0.0, Terms::default());
    for (k, &x) in state.row(row).iter().enumerate() {
        let w = weight.at(k, c);
        sum += x * w;
        terms.product(x, w);
    }
    N::sum(sum, terms)
}

/// As many numbers as there are of a kind.
fn numbers<N: Exact>(count: usize, number: impl Fn(usize) -> N) -> Numbers<N> {
    std::array::from_fn(|i| if i < count { number(i) } else { N::given(0.0) })
}

/// The numbers of a unit in a row of a window, of which each has a part of the columns.
fn parts<N: Exact>(count: usize, view: &View<f64>, row: usize, unit: usize, stride: usize) -> Numbers<N> {
    numbers(count, |part| N::given(view.at(row, part * stride + unit)))
}

/// Writes them; what lies between the parts becomes zero.
fn set_parts<N: Exact>(count: usize, view: &mut View<f64>, [row, unit, units, stride]: [usize; 4], values: &Numbers<N>) {
    for (part, value) in values.iter().enumerate().take(count) {
        view.set(row, part * stride + unit, value.result());
        if unit + 1 == units && part + 1 < count {
            (units..stride).for_each(|pad| view.set(row, part * stride + pad, 0.0));
        }
    }
}

/// The time steps of a window's rows, from the `row`-th: a state's block before it has the same row, and the one behind that plus a batch.
fn step_forward<P: Pointwise, N: Exact>(views: &mut [View<f64>], activation: Activation, batch: usize, row: usize) {
    let dims = P::DIMS;
    let [place, _] = dims.windows();
    let (first, units) = (place.first_state(), views[place.first_state()].cols);
    let stride = gate_stride(units as u32) as usize;
    for unit in 0..units {
        let at = Before {
            input: parts(dims.gates, &views[0], row, unit, stride),
            recurrent: numbers(dims.gates, |gate| recurrent_sum(&views[first], row, &views[1], gate * stride + unit)),
            constants: numbers(dims.constants, |c| N::given(views[2 + c].at(0, unit))),
            states: numbers(dims.states, |s| N::given(views[first + s].at(row, unit))),
        };
        let After { states, saved } = P::forward(activation, &at);
        for (s, state) in states.iter().enumerate().take(dims.states) {
            views[first + s].set(row + batch, unit, state.result());
        }
        if place.outputs > 0 {
            set_parts(dims.saved, &mut views[place.first_output()], [row, unit, units, stride], &saved);
        }
    }
}

fn step_backward<P: Pointwise, N: Exact>(views: &mut [View<f64>], activation: Activation, batch: usize, row: usize) {
    let dims = P::DIMS;
    let [_, place] = dims.windows();
    let (reads, first, units) = (place.first_read(), place.first_state(), views[0].cols);
    let stride = gate_stride(units as u32) as usize;
    for unit in 0..units {
        let at = Behind {
            d_hidden: N::given(views[0].at(row, unit)),
            recurrent: recurrent_sum(&views[first], row + batch, &views[1], unit),
            direct: numbers(dims.direct, |d| N::given(views[first + 1 + d].at(row + batch, unit))),
            constants: numbers(dims.constants, |c| N::given(views[2 + c].at(0, unit))),
            kept: numbers(dims.kept, |k| N::given(views[reads + k].at(row, unit))),
            saved: parts(dims.saved, &views[first - 1], row, unit, stride),
        };
        let Gradients { recurrent, input, direct } = P::backward(activation, &at);
        set_parts(dims.gates, &mut views[first], [row, unit, units, stride], &recurrent);
        for (d, direct) in direct.iter().enumerate().take(dims.direct) {
            views[first + 1 + d].set(row, unit, direct.result());
        }
        if place.outputs > 0 {
            set_parts(dims.gates, &mut views[place.first_output()], [row, unit, units, stride], &input);
        }
    }
}

pub(super) fn define_forward<P: Pointwise>(views: &mut [View<f64>], bytes: &[u8]) {
    let Shape { batch, activation } = scalars(bytes);
    (0..views[0].rows).for_each(|row| step_forward::<P, f64>(views, Activation::coded(activation), batch as usize, row));
}

pub(super) fn define_backward<P: Pointwise>(views: &mut [View<f64>], bytes: &[u8]) {
    let Shape { batch, activation } = scalars(bytes);
    let rows = views[0].rows;
    (0..rows).rev().for_each(|row| step_backward::<P, f64>(views, Activation::coded(activation), batch as usize, row));
}

/// Of one time step: the first block of each state stays, the second is computed from it.
pub(super) fn bound_forward<P: Pointwise>(views: &mut [View<f64>], bytes: &[u8]) {
    let Shape { batch, activation } = scalars(bytes);
    let [place, _] = P::DIMS.windows();
    for row in 0..batch as usize {
        step_forward::<P, Near>(views, Activation::coded(activation), batch as usize, row);
        (0..place.states).for_each(|s| views[place.first_state() + s].row_mut(row).fill(0.0));
    }
}

/// Of one time step: the second block of each state stays, the first is computed from it.
pub(super) fn bound_backward<P: Pointwise>(views: &mut [View<f64>], bytes: &[u8]) {
    let Shape { batch, activation } = scalars(bytes);
    let [_, place] = P::DIMS.windows();
    for row in 0..batch as usize {
        step_backward::<P, Near>(views, Activation::coded(activation), batch as usize, row);
        (0..place.states).for_each(|s| views[place.first_state() + s].row_mut(row + batch as usize).fill(0.0));
    }
}

/// A step for each time step, in order.
pub(super) fn steps_of<P: Pointwise>(step: &Step, backward: bool) -> Vec<Step> {
    let batch = step.scalars::<Shape>().batch;
    let place = windows_of::<P>(backward);
    let part = |t: u32| {
        let (now, states): (Range<u32>, Range<u32>) = (t * batch..(t + 1) * batch, t * batch..(t + 2) * batch);
        let slice = |(i, window): (usize, &crate::program::Mat)| match i {
            0 => window.slice_rows(now.clone()),
            i if i < place.first_read() => *window,
            i if (place.first_state()..place.first_output()).contains(&i) => window.slice_rows(states.clone()),
            _ => window.slice_rows(now.clone()),
        };
        Step { windows: step.windows.iter().enumerate().map(slice).collect(), ..step.clone() }
    };
    let mut all: Vec<Step> = (0..step.windows[0].rows / batch).map(part).collect();
    if backward {
        all.reverse();
    }
    all
}
