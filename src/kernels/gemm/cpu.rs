//! Products on the CPU: tiles of registers where both sides are matrices, simpler loops where one is a vector. The same bits
//! for any number of threads.

use std::ops::Range;

use rayon::prelude::*;

use super::Form;
use super::pack::{pack_columns, pack_rows};
use super::panels::{Panels, Source};
use super::scratch::Scratch;
use super::thin::{FEW, over_few, with_vector};
use super::tile::{Base, Group};
use crate::program::View;

/// Below this many multiplications a product is not worth a second thread.
pub(crate) const PARALLEL: usize = 1 << 19;
/// The most k at a time: a panel of so many, and the rows of a task, stay in a core's cache.
pub(super) const DEPTH: usize = 1024;
/// The most rows of out that are one task.
const TASK_ROWS: usize = 128;
/// Sums that are few: a thread has room for all of them.
const SMALL: usize = 1 << 14;
/// The numbers from row to row of a matrix whose columns are read where they are.
const NARROW: usize = 256;

/// out = base + a·b in the given form.
pub(crate) fn product(form: Form, a: &View<f32>, b: &View<f32>, out: &mut View<f32>, base: Base) {
    let depth = if form == Form::TN { a.rows } else { a.cols };
    if out.rows == 1 || out.cols == 1 {
        return with_vector(form, a, b, out, base, depth);
    }
    let threads = out.rows * out.cols * depth >= PARALLEL && rayon::current_num_threads() > 1;
    if form != Form::TN && depth <= FEW {
        return over_few(form, a, b, out, base, threads);
    }
    // As many blocks as it takes, all about as long.
    let block = depth.div_ceil(depth.div_ceil(DEPTH));
    let blocks = (0..depth).step_by(block).map(|first| first..(first + block).min(depth));
    if threads && depth > block && out.rows * out.cols <= SMALL {
        let blocks: Vec<Range<usize>> = blocks.collect();
        return by_blocks(form, a, b, out, base, &blocks);
    }
    let mut panels = Panels::new(block, out.cols);
    for k in blocks {
        panels.fill(source(form, b), k.clone(), threads);
        let base = if k.start > 0 { Base::Out } else { base };
        let run = |task: Task| task.run(form, a, &k, &panels, base);
        let tasks = tasks(out, &panels, threads);
        if threads {
            tasks.into_par_iter().for_each(run);
        } else {
            tasks.into_iter().for_each(run);
        }
    }
}

fn source<'a>(form: Form, b: &'a View<f32>) -> Source<'a> {
    if form == Form::NT { Source::Cols(b.data(), b.stride) } else { Source::Rows(b.data(), b.stride) }
}

/// A product of few sums over many k: each thread takes some blocks of k, and what they come to is added in their order.
fn by_blocks(form: Form, a: &View<f32>, b: &View<f32>, out: &mut View<f32>, base: Base, blocks: &[Range<usize>]) {
    let (rows, cols) = (out.rows, out.cols);
    let part = |i: usize, sums: &mut [f32]| {
        let k = &blocks[i];
        let mut panels = Panels::new(k.len(), cols);
        panels.fill(source(form, b), k.clone(), false);
        let task = Task { rows: 0..rows, panels: 0..panels.count(), out: sums.chunks_mut(cols).collect() };
        task.run(form, a, k, &panels, Base::Nothing);
    };
    add_in_order(blocks.len(), rows * cols, 2 * rayon::current_num_threads(), part, |i, sums| {
        for (r, sums) in sums.chunks(cols).enumerate() {
            let out = out.row_mut(r);
            match base {
                Base::Nothing if i == 0 => out.copy_from_slice(sums),
                Base::Row(base) if i == 0 => {
                    out.iter_mut().zip(base).zip(sums).for_each(|((out, base), sum)| *out = base + sum);
                }
                _ => out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum),
            }
        }
    });
}

/// Calls `part` for each of so many parts, some of them at once, and `add` with what each comes to, one after the other in their order: so the
/// bits do not depend on the number of threads. A part is so many numbers, of which it writes all.
pub(crate) fn add_in_order(
    count: usize,
    len: usize,
    at_once: usize,
    part: impl Fn(usize, &mut [f32]) + Sync,
    mut add: impl FnMut(usize, &[f32]),
) {
    let mut sums = vec![0.0; at_once.min(count) * len];
    for first in (0..count).step_by(at_once) {
        let some = &mut sums[..at_once.min(count - first) * len];
        if at_once == 1 {
            part(first, some);
        } else {
            some.par_chunks_mut(len).enumerate().for_each(|(i, sums)| part(first + i, sums));
        }
        some.chunks(len).enumerate().for_each(|(i, sums)| add(first + i, sums));
    }
}

/// Some rows and panels of a product.
struct Task<'a> {
    rows: Range<usize>,
    panels: Range<usize>,
    /// Of each row the columns of the panels.
    out: Vec<&'a mut [f32]>,
}

impl Task<'_> {
    /// Its part of the product over some k, of which the panels are.
    fn run(self, form: Form, a: &View<f32>, k: &Range<usize>, panels: &Panels, base: Base) {
        let Task { rows, panels: chunk, out } = self;
        let groups = panels.tile().groups(rows.len());
        // Where they lie the rows of aᵀ have their values of a k together, and to pack what is read once or twice is not worth it.
        let is_direct = form == Form::TN && panels.count() <= 2 && a.stride <= NARROW;
        let mut packed = Scratch::new(if is_direct { 0 } else { rows.len() * k.len() });
        let mut left: Vec<&[f32]> = Vec::with_capacity(rows.len());
        if is_direct {
            let first = k.start * a.stride + rows.start;
            left.extend(groups.clone().map(|group| &a.data()[first + group.start..]));
        } else {
            let packed = &mut packed.numbers_mut()[..rows.len() * k.len()];
            match form {
                Form::TN => pack_columns(&a.data()[rows.start..], a.stride, k.clone(), groups.clone(), packed),
                _ => pack_rows(|r| &a.row(rows.start + r)[k.clone()], groups.clone(), packed),
            }
            left.extend(groups.clone().map(|group| &packed[group.start * k.len()..group.end * k.len()]));
        }
        let mut out = out.into_iter();
        let group = |(group, a): (Range<usize>, _)| Group::new(a, out.by_ref().take(group.len()));
        let groups = groups.zip(left.chunks(1)).map(group);
        let mut groups: Vec<Group> = groups.map(|group| if is_direct { group.with_stride(a.stride) } else { group }).collect();
        panels.multiply(chunk, &mut groups, base);
    }
}

/// All panels for some rows; where those are too few to share out, some panels.
fn tasks<'a>(out: &'a mut View<f32>, panels: &Panels, threads: bool) -> Vec<Task<'a>> {
    let (rows, cols, stride) = (out.rows, out.cols, out.stride);
    // Two for each thread, if it can be, since one may be late.
    let tasks = if threads { 2 * rayon::current_num_threads() } else { 1 };
    let height = rows.div_ceil((rows / panels.tile().rows).clamp(1, tasks)).min(TASK_ROWS);
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
