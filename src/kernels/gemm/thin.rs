//! Products of which one side is thin: over few k, or with a vector.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::Form;
use super::cpu::{PARALLEL, add_in_order};
use super::tile::Base;
use crate::program::View;
use crate::simd::arch;

/// So many k are few.
pub(super) const FEW: usize = 4;
/// Rows of out that a thread takes at a time.
const ROWS: usize = 128;

/// out = base + a·b or base + a·bᵀ over few k. Each sum is one chain, as in a tile.
pub(super) fn over_few(form: Form, a: &View<f32>, b: &View<f32>, out: &mut View<f32>, base: Base, threads: bool) {
    let (cols, stride, depth) = (out.cols, out.stride, a.cols);
    let b: Vec<f32> = match form {
        Form::NT => (0..depth).flat_map(|k| (0..cols).map(move |n| b.at(n, k))).collect(),
        _ => (0..depth).flat_map(|k| b.row(k).iter().copied()).collect(),
    };
    let run = |(i, out): (usize, &mut [f32])| arch().dispatch(OverFew { a, first: i * ROWS, b: &b, out, cols, stride, base });
    let chunks = ROWS * stride;
    if threads {
        out.data_mut().par_chunks_mut(chunks).enumerate().for_each(run);
    } else {
        out.data_mut().chunks_mut(chunks).enumerate().for_each(run);
    }
}

/// Some rows of a product over few k.
struct OverFew<'a> {
    a: &'a View<'a, f32>,
    first: usize,
    /// For each k a row.
    b: &'a [f32],
    out: &'a mut [f32],
    cols: usize,
    stride: usize,
    base: Base<'a>,
}

impl WithSimd for OverFew<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let OverFew { a, first, b, out, cols, stride, base } = self;
        for (r, row) in out.chunks_mut(stride).enumerate() {
            let a = a.row(first + r);
            let (whole, rest) = S::as_mut_simd_f32s(&mut row[..cols]);
            for (i, to) in whole.iter_mut().enumerate() {
                let at = i * S::F32_LANES;
                let mut sum = simd.splat_f32s(0.0);
                for (x, b) in a.iter().zip(b.chunks_exact(cols)) {
                    sum = simd.mul_add_f32s(simd.splat_f32s(*x), S::as_simd_f32s(&b[at..at + S::F32_LANES]).0[0], sum);
                }
                *to = match base {
                    Base::Nothing => sum,
                    Base::Out => simd.add_f32s(*to, sum),
                    Base::Row(base) => simd.add_f32s(S::as_simd_f32s(&base[at..at + S::F32_LANES]).0[0], sum),
                };
            }
            if !rest.is_empty() {
                let at = cols - rest.len();
                let mut sum = simd.splat_f32s(0.0);
                for (x, b) in a.iter().zip(b.chunks_exact(cols)) {
                    sum = simd.mul_add_f32s(simd.splat_f32s(*x), simd.partial_load_f32s(&b[at..]), sum);
                }
                let sum = match base {
                    Base::Nothing => sum,
                    Base::Out => simd.add_f32s(simd.partial_load_f32s(rest), sum),
                    Base::Row(base) => simd.add_f32s(simd.partial_load_f32s(&base[at..cols]), sum),
                };
                simd.partial_store_f32s(rest, sum);
            }
        }
    }
}

/// One of the operands is a single row or column, and so is out.
pub(super) fn with_vector(form: Form, a: &View<f32>, b: &View<f32>, out: &mut View<f32>, base: Base, depth: usize) {
    let single_row = out.rows == 1;
    // The vector, and the matrix it meets: out = Σ over the matrix' columns (dots) or over its rows (sums).
    let (vector, matrix, dots): (Vec<f32>, &View<f32>, bool) = match (form, single_row) {
        (Form::NN, true) => (a.row(0).to_vec(), b, false),
        (Form::NT, true) => (a.row(0).to_vec(), b, true),
        (Form::TN, true) => ((0..depth).map(|k| a.at(k, 0)).collect(), b, false),
        (Form::NN, false) => ((0..depth).map(|k| b.at(k, 0)).collect(), a, true),
        (Form::NT, false) => (b.row(0).to_vec(), a, true),
        (Form::TN, false) => ((0..depth).map(|k| b.at(k, 0)).collect(), a, false),
    };
    let sums = if dots { rows_dot(matrix, &vector) } else { weighted_rows(matrix, &vector) };
    for (i, sum) in sums.into_iter().enumerate() {
        let (row, col) = if single_row { (0, i) } else { (i, 0) };
        let base = match base {
            Base::Nothing => 0.0,
            Base::Out => out.at(row, col),
            Base::Row(base) => base[col],
        };
        out.set(row, col, base + sum);
    }
}

/// Each row of the matrix times the vector.
fn rows_dot(matrix: &View<f32>, vector: &[f32]) -> Vec<f32> {
    let mut sums = vec![0.0; matrix.rows];
    let run = |(i, sums): (usize, &mut [f32])| arch().dispatch(Dots { matrix, first: i * ROWS, vector, sums });
    if matrix.rows * matrix.cols >= PARALLEL {
        sums.par_chunks_mut(ROWS).enumerate().for_each(run);
    } else {
        sums.chunks_mut(ROWS).enumerate().for_each(run);
    }
    sums
}

/// Some rows of a matrix times a vector.
struct Dots<'a> {
    matrix: &'a View<'a, f32>,
    first: usize,
    vector: &'a [f32],
    sums: &'a mut [f32],
}

impl WithSimd for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (r, sum) in self.sums.iter_mut().enumerate() {
            *sum = dot(self.matrix.row(self.first + r), self.vector);
        }
    }
}

/// x·y in 32 running sums, in blocks, so that rounding errors stay small and the order is fixed.
#[inline(always)]
fn dot(x: &[f32], y: &[f32]) -> f32 {
    // One number for each sum: these in their order, without the memory that they lie in.
    if x.len() <= 32 {
        return x.iter().zip(y).fold(0.0, |sum, (x, y)| sum + x * y);
    }
    // As the sum of no numbers is.
    let mut total = -0.0;
    for (x, y) in x.chunks(4096).zip(y.chunks(4096)) {
        let mut sums = [0.0f32; 32];
        let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<32>(), y.as_chunks::<32>());
        for (x, y) in x.iter().zip(y) {
            for i in 0..32 {
                sums[i] += x[i] * y[i];
            }
        }
        for ((sum, x), y) in sums.iter_mut().zip(x_rest).zip(y_rest) {
            *sum += x * y;
        }
        total += sums.iter().sum::<f32>();
    }
    total
}

/// Σₖ vector\[k\] · row k of the matrix, in blocks of rows, so that rounding errors stay small and the order is fixed.
fn weighted_rows(matrix: &View<f32>, vector: &[f32]) -> Vec<f32> {
    const BLOCK: usize = 256;
    let threads = matrix.rows * matrix.cols >= PARALLEL;
    let at_once = if threads { 16 * rayon::current_num_threads() } else { 1 };
    let mut sums = vec![0.0; matrix.cols];
    let part = |i: usize, sums: &mut [f32]| arch().dispatch(Weighted { matrix, first: i * BLOCK, vector, sums });
    add_in_order(matrix.rows.div_ceil(BLOCK), matrix.cols, at_once, part, |_, block| {
        sums.iter_mut().zip(block).for_each(|(sum, block)| *sum += block);
    });
    sums
}

/// A block of rows from the first on, each times its number.
struct Weighted<'a> {
    matrix: &'a View<'a, f32>,
    first: usize,
    vector: &'a [f32],
    sums: &'a mut [f32],
}

impl WithSimd for Weighted<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Weighted { matrix, first, vector, sums } = self;
        sums.fill(0.0);
        for (k, weight) in (first..matrix.rows).zip(&vector[first..]).take(256) {
            sums.iter_mut().zip(matrix.row(k)).for_each(|(sum, x)| *sum += weight * x);
        }
    }
}
