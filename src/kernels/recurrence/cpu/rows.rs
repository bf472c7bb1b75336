//! A time step's pointwise part for a thread's units of all sequences.

use std::marker::PhantomData;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::super::pointwise::{MOST, Pointwise};
use super::row::{BackwardRow, ForwardRow, backward_row, forward_row};
use crate::Activation;
use crate::activation::with_known;
use crate::kernels::gemm::prefetch;
use crate::program::View;

/// The pointwise part of a time step, in one function for the processor's instructions.
pub(super) struct ForwardStep<'a, 'v, P> {
    pub activation: Activation,
    pub input: &'a View<'a, f32>,
    pub constants: [&'a [f32]; MOST],
    pub units: Range<usize>,
    pub rows: Rows<'a, 'v>,
    pub cell: PhantomData<P>,
}

impl<P: Pointwise> WithSimd for ForwardStep<'_, '_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let ForwardStep { input, constants, units, mut rows, .. } = self;
        let activation = if P::IS_ACTIVATED { self.activation } else { Activation::Tanh };
        let stride = rows.stride;
        with_known!(activation, KNOWN => {
            while let Some((row, parts)) = rows.next() {
                let Parts { sums, first_before, others_before, first, others, output } = parts;
                let [h_before, ..] = first_before;
                let [h, ..] = first;
                let range = (units.start, sums[0].len());
                fetch_next(input, row, P::DIMS.gates, stride, range);
                let input = gate_parts(input, row, P::DIMS.gates, stride, range);
                let before = in_front(h_before, others_before);
                let row = ForwardRow { input, recurrent: sums, constants, before, states: in_front(h, others), saved: output };
                forward_row::<P, S>(simd, KNOWN, row);
            }
        });
    }
}

/// The same back in time.
pub(super) struct BackwardStep<'a, 'v, P> {
    pub activation: Activation,
    pub d_hidden: &'a View<'a, f32>,
    pub constants: [&'a [f32]; MOST],
    pub kept: &'a [View<'a, f32>],
    pub saved: &'a View<'a, f32>,
    pub units: Range<usize>,
    pub rows: Rows<'a, 'v>,
    pub cell: PhantomData<P>,
}

impl<P: Pointwise> WithSimd for BackwardStep<'_, '_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let BackwardStep { d_hidden, constants, kept, saved, units, mut rows, .. } = self;
        let activation = if P::IS_ACTIVATED { self.activation } else { Activation::Tanh };
        let stride = rows.stride;
        with_known!(activation, KNOWN => {
            while let Some((row, parts)) = rows.next() {
                let Parts { sums: [recurrent, ..], others_before, first, others, output, .. } = parts;
                let range = (units.start, recurrent.len());
                fetch_next(d_hidden, row, 1, stride, range);
                fetch_next(saved, row, P::DIMS.saved, stride, range);
                let [above, ..] = gate_parts(d_hidden, row, 1, stride, range);
                let row = BackwardRow {
                    d_hidden: [above, recurrent, &[], &[]],
                    direct: others_before,
                    constants,
                    kept: rows_of(kept, row, range),
                    saved: gate_parts(saved, row, P::DIMS.saved, stride, range),
                    written: [first, others, output],
                };
                backward_row::<P, S>(simd, KNOWN, row);
            }
        });
    }
}

/// The numbers of some parts of a row, so many from the first unit on.
fn gate_parts<'a>(view: &'a View<f32>, row: usize, count: usize, step: usize, units: (usize, usize)) -> [&'a [f32]; MOST] {
    let (first, len) = units;
    let mut parts: [&[f32]; MOST] = [&[]; MOST];
    for (part, to) in parts.iter_mut().enumerate().take(count) {
        *to = &view.data()[row * view.stride + part * step + first..][..len];
    }
    parts
}

/// Asks for the numbers of the row behind one: its parts are too short for the processor to foresee them.
#[inline(always)]
fn fetch_next(view: &View<f32>, row: usize, count: usize, step: usize, units: (usize, usize)) {
    if row + 1 < view.rows {
        for part in &gate_parts(view, row + 1, count, step, units)[..count] {
            part.chunks(16).for_each(|line| prefetch(&line[0]));
        }
    }
}

/// The numbers of a row of each window, so many from the first unit on.
fn rows_of<'a>(windows: &'a [View<f32>], row: usize, (first, len): (usize, usize)) -> [&'a [f32]; MOST] {
    let mut parts: [&[f32]; MOST] = [&[]; MOST];
    parts.iter_mut().zip(windows).for_each(|(part, view)| *part = &view.data()[row * view.stride + first..][..len]);
    parts
}

/// The first of some, and those behind it.
fn in_front<T>(first: T, others: [T; MOST]) -> [T; MOST] {
    let [a, b, c, _] = others;
    [first, a, b, c]
}

/// Some units of a row of a time step.
struct Parts<'a> {
    /// The recurrent sums of each gate forward; backward the one that comes back to h.
    sums: [&'a [f32]; MOST],
    /// The state that the product reads, before the time step.
    first_before: [&'a [f32]; MOST],
    /// The other states before it, each in a part.
    others_before: [&'a [f32]; MOST],
    first: [&'a mut [f32]; MOST],
    others: [&'a mut [f32]; MOST],
    output: [&'a mut [f32]; MOST],
}

/// The rows of a time step that a thread has, one after the other.
pub(super) struct Rows<'a, 'v> {
    /// Of each state, the block before the time step and the one after it; the product reads the first.
    pub first: (&'a Block<'v>, &'a mut Block<'v>),
    pub others: Vec<(&'a Block<'v>, &'a mut Block<'v>)>,
    pub output: Option<&'a mut Block<'v>>,
    /// The sums of each gate, or the one of h, one below the other.
    pub sums: &'a [f32],
    pub sides: usize,
    pub width: usize,
    /// Columns from one gate to the next.
    pub stride: usize,
    /// How many, the next, and the first's place among the rows of all time steps.
    pub count: usize,
    pub next: usize,
    pub place: usize,
}

impl Rows<'_, '_> {
    /// The next row's place among those of all time steps, and its parts.
    fn next(&mut self) -> Option<(usize, Parts<'_>)> {
        let (r, width) = (self.next, self.width);
        if r == self.count {
            return None;
        }
        self.next += 1;
        let mut sums: [&[f32]; MOST] = [&[]; MOST];
        for (side, to) in sums.iter_mut().enumerate().take(self.sides) {
            *to = &self.sums[(side * self.count + r) * width..][..width];
        }
        let mut others_before: [&[f32]; MOST] = [&[]; MOST];
        let mut others: [&mut [f32]; MOST] = Default::default();
        for (i, (before, after)) in self.others.iter_mut().enumerate() {
            [others_before[i], ..] = before.row(r);
            [others[i], ..] = after.row_mut(r);
        }
        let parts = Parts {
            sums,
            first_before: self.first.0.row(r),
            others_before,
            first: self.first.1.row_mut(r),
            others,
            output: self.output.as_mut().map(|block| block.row_mut(r)).unwrap_or_default(),
        };
        Some((self.place + r, parts))
    }
}

/// Some units of a block of a window: the parts of each row, one after the other. What lies between them was made zero.
pub(super) struct Block<'a> {
    pub pieces: Vec<&'a mut [f32]>,
    pub parts: usize,
}

impl Block<'_> {
    /// The parts of a row.
    pub fn row(&self, r: usize) -> [&[f32]; MOST] {
        let mut row: [&[f32]; MOST] = [&[]; MOST];
        row.iter_mut().zip(&self.pieces[r * self.parts..][..self.parts]).for_each(|(to, piece)| *to = piece);
        row
    }

    fn row_mut(&mut self, r: usize) -> [&mut [f32]; MOST] {
        let mut row: [&mut [f32]; MOST] = Default::default();
        row.iter_mut().zip(&mut self.pieces[r * self.parts..][..self.parts]).for_each(|(to, piece)| *to = piece);
        row
    }
}
