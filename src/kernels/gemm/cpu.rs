//! Products on the CPU: tiles of registers where both sides are matrices, simpler loops where one is a vector. The same bits
//! for any number of threads.

use std::ops::Range;

use rayon::prelude::*;

use super::Form;
use super::pack::{pack_columns, pack_rows};
use super::panels::{Panels, Source};
use super::scratch::Scratch;
use super::tile::{Base, Group};
use crate::program::View;
use crate::simd::arch;

/// Below this many multiplications a product is not worth a second thread.
pub(crate) const PARALLEL: usize = 1 << 19;
/// The most k at a time: a panel of so many, and the rows of a task, stay in a core's cache.
pub(super) const DEPTH: usize = 1024;
/// The most rows of out that are one task.
const TASK_ROWS: usize = 128;

/// out = base + a·b in the given form.
pub(crate) fn product(form: Form, a: &View<f32>, b: &View<f32>, out: &mut View<f32>, base: Base) {
    let depth = if form == Form::TN { a.rows } else { a.cols };
    if out.rows == 1 || out.cols == 1 {
        return with_vector(form, a, b, out, base, depth);
    }
    let threads = out.rows * out.cols * depth >= PARALLEL && rayon::current_num_threads() > 1;
    // As many blocks as it takes, all about as long.
    let block = depth.div_ceil(depth.div_ceil(DEPTH));
    let mut panels = Panels::new(block, out.cols);
    for first in (0..depth).step_by(block) {
        let k = first..(first + block).min(depth);
        let source = if form == Form::NT { Source::Cols(b.data(), b.stride) } else { Source::Rows(b.data(), b.stride) };
        panels.fill(source, k.clone(), threads);
        let base = if first > 0 { Base::Out } else { base };
        let run = |Task { rows, panels: chunk, out }: Task| {
            let groups = panels.groups(rows.len());
            let mut packed = Scratch::new(rows.len() * k.len());
            let packed = &mut packed.numbers_mut()[..rows.len() * k.len()];
            match form {
                Form::TN => pack_columns(&a.data()[rows.start..], a.stride, k.clone(), groups.clone(), packed),
                _ => pack_rows(|r| &a.row(rows.start + r)[k.clone()], groups.clone(), packed),
            }
            let left: Vec<&[f32]> = groups.clone().map(|group| &packed[group.start * k.len()..group.end * k.len()]).collect();
            let mut out = out.into_iter();
            let groups = groups.zip(left.chunks(1));
            let mut groups: Vec<Group> = groups.map(|(group, a)| Group::new(a, out.by_ref().take(group.len()))).collect();
            panels.multiply(chunk, &mut groups, base);
        };
        let tasks = tasks(out, &panels, threads);
        if threads {
            tasks.into_par_iter().for_each(run);
        } else {
            tasks.into_iter().for_each(run);
        }
    }
}

/// Some rows and panels of a product.
struct Task<'a> {
    rows: Range<usize>,
    panels: Range<usize>,
    /// Of each row the columns of the panels.
    out: Vec<&'a mut [f32]>,
}

/// All panels for some rows; where those are too few to share out, some panels.
fn tasks<'a>(out: &'a mut View<f32>, panels: &Panels, threads: bool) -> Vec<Task<'a>> {
    let (rows, cols, stride) = (out.rows, out.cols, out.stride);
    // Two for each thread, if it can be, since one may be late.
    let tasks = if threads { 2 * rayon::current_num_threads() } else { 1 };
    let height = rows.div_ceil((rows / panels.tile_rows()).clamp(1, tasks)).min(TASK_ROWS);
    let wanted = tasks.div_ceil(rows.div_ceil(height));
    let chunks = panels.shares(wanted);
    let mut all = Vec::new();
    for (block, part) in out.data_mut().chunks_mut(height * stride).enumerate() {
        let rows = block * height..rows.min((block + 1) * height);
        let task = |panels: &Range<usize>| Task { rows: rows.clone(), panels: panels.clone(), out: Vec::with_capacity(height) };
        let mut tasks: Vec<Task> = chunks.iter().map(task).collect();
        for row in part.chunks_mut(stride) {
            split(&mut row[..cols], panels, &chunks).zip(&mut tasks).for_each(|(part, task)| task.out.push(part));
        }
        all.append(&mut tasks);
    }
    all
}

/// A row's parts, of some panels each.
pub(crate) fn split<'a, T>(row: &'a mut [T], panels: &Panels, chunks: &[Range<usize>]) -> impl Iterator<Item = &'a mut [T]> {
    let mut rest = row;
    chunks.iter().map(|chunk| panels.columns(chunk).len()).collect::<Vec<_>>().into_iter().map(move |len| {
        let (part, after) = std::mem::take(&mut rest).split_at_mut(len);
        rest = after;
        part
    })
}

/// One of the operands is a single row or column, and so is out.
fn with_vector(form: Form, a: &View<f32>, b: &View<f32>, out: &mut View<f32>, base: Base, depth: usize) {
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
    arch().dispatch(|| {
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
        arch().dispatch(|| {
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
