//! Products on the CPU: faer where both sides are matrices, loops of our own where one is a vector, since there faer's
//! sums depend on the number of threads.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::Form;
use crate::program::View;

/// Below this many multiplications a product is not worth a second thread.
const PARALLEL: usize = 1 << 19;

/// out = a·b in the given form, or out + a·b, if `threads` on those of the current rayon pool; the same bits for any
/// number of them.
pub(crate) fn product(form: Form, a: &View<f32>, b: &View<f32>, out: &mut View<f32>, accumulate: bool, threads: bool) {
    let depth = if form == Form::TN { a.rows } else { a.cols };
    if out.rows == 1 || out.cols == 1 {
        return with_vector(form, a, b, out, accumulate, depth);
    }
    let parallel = threads && out.rows * out.cols * depth >= PARALLEL;
    let accum = if accumulate { Accum::Add } else { Accum::Replace };
    let par = if parallel { Par::rayon(0) } else { Par::Seq };
    let (a, b) = (matrix(a), matrix(b));
    let (rows, cols, stride) = (out.rows, out.cols, out.stride);
    // A transposed column-major matrix: faer 0.24's from_row_major_slice_with_stride_mut takes its strides the wrong way
    // round and writes out of bounds.
    let out = MatMut::from_column_major_slice_with_stride_mut(out.data_mut(), cols, rows, stride).transpose_mut();
    match form {
        Form::NN => matmul(out, accum, a, b, 1.0, par),
        Form::NT => matmul(out, accum, a, b.transpose(), 1.0, par),
        Form::TN => matmul(out, accum, a.transpose(), b, 1.0, par),
    }
}

fn matrix<'a>(view: &'a View<f32>) -> MatRef<'a, f32> {
    MatRef::from_row_major_slice_with_stride(view.data(), view.rows, view.cols, view.stride)
}

/// One of the operands is a single row or column, and so is out.
fn with_vector(form: Form, a: &View<f32>, b: &View<f32>, out: &mut View<f32>, accumulate: bool, depth: usize) {
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
        let base = if accumulate { out.at(row, col) } else { 0.0 };
        out.set(row, col, base + sum);
    }
}

/// Each row of the matrix times the vector.
fn rows_dot(matrix: &View<f32>, vector: &[f32]) -> Vec<f32> {
    let mut sums = vec![0.0; matrix.rows];
    let work = |(i, sum): (usize, &mut f32)| *sum = dot(matrix.row(i), vector);
    if matrix.rows * matrix.cols >= PARALLEL {
        sums.par_iter_mut().enumerate().with_min_len(16).for_each(work);
    } else {
        sums.iter_mut().enumerate().for_each(work);
    }
    sums
}

/// x·y in 32 running sums, in blocks, so that rounding errors stay small and the order is fixed.
fn dot(x: &[f32], y: &[f32]) -> f32 {
    pulp::Arch::new().dispatch(|| {
        let block = |(x, y): (&[f32], &[f32])| {
            let mut sums = [0.0f32; 32];
            for (x, y) in x.chunks(32).zip(y.chunks(32)) {
                for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
                    *sum += x * y;
                }
            }
            sums.iter().sum::<f32>()
        };
        x.chunks(4096).zip(y.chunks(4096)).map(block).sum()
    })
}

/// Σₖ vector\[k\] · row k of the matrix, in blocks of rows, so that rounding errors stay small and the order is fixed.
fn weighted_rows(matrix: &View<f32>, vector: &[f32]) -> Vec<f32> {
    const COLS: usize = 256;
    let mut sums = vec![0.0; matrix.cols];
    let work = |(i, sums): (usize, &mut [f32])| {
        pulp::Arch::new().dispatch(|| {
            let mut block = [0.0f32; COLS];
            for first in (0..matrix.rows).step_by(256) {
                let block = &mut block[..sums.len()];
                block.fill(0.0);
                for (k, weight) in (first..matrix.rows).zip(&vector[first..]).take(256) {
                    for (sum, x) in block.iter_mut().zip(&matrix.row(k)[i * COLS..]) {
                        *sum += weight * x;
                    }
                }
                sums.iter_mut().zip(&*block).for_each(|(sum, block)| *sum += block);
            }
        });
    };
    if matrix.rows * matrix.cols >= PARALLEL {
        sums.par_chunks_mut(COLS).enumerate().for_each(work);
    } else {
        sums.chunks_mut(COLS).enumerate().for_each(work);
    }
    sums
}
