//! The loop over time where the weight is small: a thread takes some sequences through the whole window and waits for nobody. Of a few rows and
//! a panel of the weight it makes the sums, and of these at once the states, while they are near.

use std::marker::PhantomData;
use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::super::pointwise::{After, Before, Behind, Gradients, MOST, Pointwise};
use super::panels::{Pack, Panel, Product, ROWS, Sums, Weight};
use super::sequences::{Row, Share, shares};
use super::units::{Units, fetch};
use super::{Size, constant_parts};
use crate::Activation;
use crate::activation::with_known;
use crate::numbers::Vector;
use crate::program::View;
use crate::simd::arch;

pub(super) fn forward<P: Pointwise>(size: &Size, threads: usize, inputs: &[View<f32>], written: &mut [View<f32>]) {
    let constants = constant_parts(&inputs[2..2 + P::DIMS.constants], &(0..size.units));
    each(size, threads, &inputs[1], written, |weight, share| {
        arch().dispatch(Forward::<P> { size, weight, input: &inputs[0], constants, share, cell: PhantomData });
    });
}

pub(super) fn backward<P: Pointwise>(size: &Size, threads: usize, inputs: &[View<f32>], written: &mut [View<f32>]) {
    let dims = P::DIMS;
    let (constants, reads) = inputs[2..].split_at(dims.constants);
    let constants = constant_parts(constants, &(0..size.units));
    let (kept, saved) = (&reads[..dims.kept], inputs.last().expect("the windows that are read"));
    each(size, threads, &inputs[1], written, |weight, share| {
        arch().dispatch(Backward::<P> { size, weight, d_hidden: &inputs[0], constants, kept, saved, share, cell: PhantomData });
    });
}

/// Calls `run` for the sequences of each thread.
fn each(size: &Size, threads: usize, weight: &View<f32>, written: &mut [View<f32>], run: impl Fn(&Weight, Share) + Sync) {
    let weight = arch().dispatch(Pack { size, weight });
    let shares = shares(size, written, size.batch.div_ceil(threads));
    if let [_] = &shares[..] {
        shares.into_iter().for_each(|share| run(&weight, share));
    } else {
        shares.into_par_iter().for_each(|share| run(&weight, share));
    }
}

/// Rows of a product with a panel, all about as many.
fn groups(rows: usize, panel: &Panel) -> impl Iterator<Item = Range<usize>> + use<> {
    let count = rows.div_ceil(panel.rows);
    (0..count).map(move |i| rows * i / count..rows * (i + 1) / count)
}

struct Forward<'a, 'v, P> {
    size: &'a Size,
    weight: &'a Weight,
    input: &'a View<'a, f32>,
    constants: [&'a [f32]; MOST],
    share: Share<'v>,
    cell: PhantomData<P>,
}

impl<P: Pointwise> WithSimd for Forward<'_, '_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if P::IS_ACTIVATED {
            with_known!(self.size.activation, KNOWN => self.run(simd, KNOWN));
        } else {
            self.run(simd, Activation::Tanh);
        }
    }
}

impl<P: Pointwise> Forward<'_, '_, P> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S, activation: Activation) {
        let Forward { size, weight, input, constants, mut share, .. } = self;
        let (gates, strides) = (P::DIMS.gates, share.strides());
        let (first, rows) = (share.first, share.rows);
        let mut sums: Sums<S> = [[simd.splat_f32s(0.0); MOST]; ROWS];
        for n in 0..size.steps {
            let (first, mut blocks) = (size.first_row(n) + first, share.at(n));
            for panel in &weight.panels {
                for group in groups(rows, panel) {
                    let mut left: [&[f32]; ROWS] = [&[]; ROWS];
                    for (r, left) in group.clone().zip(&mut left) {
                        *left = &blocks.before[0][r * strides.states[0]..][..size.units];
                        fetch(size, panel, row_of(input, first + r), gates);
                        fetch(size, panel, &blocks.output[r * strides.output..], P::DIMS.saved);
                    }
                    let rows = group.len();
                    simd.vectorize(Product { simd, weight, panel, left, rows, part: 0, sums: &mut sums });
                    for (r, sums) in group.zip(&sums) {
                        let input = row_of(input, first + r);
                        let mut row = blocks.row(&strides, r);
                        for vector in 0..panel.vectors {
                            let units = Units::new::<P>(simd, size, panel, vector);
                            let sums = &sums[vector * gates..][..gates];
                            if units.is_whole() {
                                step_forward::<P, S, true>(activation, units, input, sums, &constants, &mut row);
                            } else {
                                step_forward::<P, S, false>(activation, units, input, sums, &constants, &mut row);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The states of some units of a row.
#[inline(always)]
fn step_forward<P: Pointwise, S: Simd, const WHOLE: bool>(
    activation: Activation,
    units: Units<S>,
    input: &[f32],
    sums: &[S::f32s],
    constants: &[&[f32]; MOST],
    row: &mut Row,
) {
    let dims = P::DIMS;
    let at = Before {
        input: units.load_parts::<WHOLE>(dims.gates, input),
        recurrent: units.vectors(dims.gates, sums),
        constants: units.load_rows::<WHOLE>(dims.constants, constants),
        states: units.load_rows::<WHOLE>(dims.states, &row.before),
    };
    let after: After<Vector<S>> = P::forward(activation, &at);
    for state in 0..dims.states {
        units.store::<WHOLE>(row.after[state], after.states[state]);
    }
    units.store_parts::<WHOLE>(dims.saved, row.output, after.saved);
}

struct Backward<'a, 'v, P> {
    size: &'a Size,
    weight: &'a Weight,
    d_hidden: &'a View<'a, f32>,
    constants: [&'a [f32]; MOST],
    kept: &'a [View<'a, f32>],
    saved: &'a View<'a, f32>,
    share: Share<'v>,
    cell: PhantomData<P>,
}

impl<P: Pointwise> WithSimd for Backward<'_, '_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if P::IS_ACTIVATED {
            with_known!(self.size.activation, KNOWN => self.run(simd, KNOWN));
        } else {
            self.run(simd, Activation::Tanh);
        }
    }
}

impl<P: Pointwise> Backward<'_, '_, P> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S, activation: Activation) {
        let Backward { size, weight, d_hidden, constants, kept, saved, mut share, .. } = self;
        let (dims, stride, strides) = (P::DIMS, size.gate_stride(), share.strides());
        let (first, rows) = (share.first, share.rows);
        let mut sums: Sums<S> = [[simd.splat_f32s(0.0); MOST]; ROWS];
        for n in 0..size.steps {
            let (first, mut blocks) = (size.first_row(n) + first, share.at(n));
            for panel in &weight.panels {
                for group in groups(rows, panel) {
                    for r in group.clone() {
                        fetch(size, panel, row_of(d_hidden, first + r), 1);
                        fetch(size, panel, row_of(saved, first + r), dims.saved);
                        fetch(size, panel, &blocks.after[0][r * strides.states[0]..], dims.gates);
                    }
                    for part in 0..dims.gates {
                        let mut left: [&[f32]; ROWS] = [&[]; ROWS];
                        for (r, left) in group.clone().zip(&mut left) {
                            *left = &blocks.before[0][r * strides.states[0] + part * stride..][..size.units];
                        }
                        let rows = group.len();
                        simd.vectorize(Product { simd, weight, panel, left, rows, part, sums: &mut sums });
                    }
                    for (r, sums) in group.zip(&sums) {
                        let mut rows: [&[f32]; MOST] = [&[]; MOST];
                        kept.iter().zip(&mut rows).for_each(|(kept, row)| *row = row_of(kept, first + r));
                        let read = Read { d_hidden: row_of(d_hidden, first + r), kept: rows, saved: row_of(saved, first + r) };
                        let mut row = blocks.row(&strides, r);
                        for (vector, &sum) in sums[..panel.vectors].iter().enumerate() {
                            let units = Units::new::<P>(simd, size, panel, vector);
                            if units.is_whole() {
                                step_backward::<P, S, true>(activation, units, &read, sum, &constants, &mut row);
                            } else {
                                step_backward::<P, S, false>(activation, units, &read, sum, &constants, &mut row);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What a row of the way back reads, besides the gradients of the time step behind.
struct Read<'a> {
    d_hidden: &'a [f32],
    kept: [&'a [f32]; MOST],
    saved: &'a [f32],
}

#[inline(always)]
fn row_of<'a>(view: &'a View<f32>, row: usize) -> &'a [f32] {
    &view.data()[row * view.stride..]
}

/// The gradients of some units of a row.
#[inline(always)]
fn step_backward<P: Pointwise, S: Simd, const WHOLE: bool>(
    activation: Activation,
    units: Units<S>,
    read: &Read,
    sum: S::f32s,
    constants: &[&[f32]; MOST],
    row: &mut Row,
) {
    let dims = P::DIMS;
    let [_, d1, d2, d3] = row.before;
    let at = Behind {
        d_hidden: units.load::<WHOLE>(read.d_hidden),
        recurrent: units.vector(sum),
        direct: units.load_rows::<WHOLE>(dims.direct, &[d1, d2, d3, &[]]),
        constants: units.load_rows::<WHOLE>(dims.constants, constants),
        kept: units.load_rows::<WHOLE>(dims.kept, &read.kept),
        saved: units.load_parts::<WHOLE>(dims.saved, read.saved),
    };
    let gradients: Gradients<Vector<S>> = P::backward(activation, &at);
    units.store_parts::<WHOLE>(dims.gates, row.after[0], gradients.recurrent);
    for state in 0..dims.direct {
        units.store::<WHOLE>(row.after[1 + state], gradients.direct[state]);
    }
    if dims.distinct {
        units.store_parts::<WHOLE>(dims.gates, row.output, gradients.input);
    }
}
