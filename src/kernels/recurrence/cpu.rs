//! The loop over time on the CPU: the weight is packed once for all steps, and the threads share out sequences or columns.

use std::ops::Range;
use std::sync::{Mutex, PoisonError, RwLock};

use rayon::prelude::*;

use super::barrier::Barrier;
use crate::kernels::gemm::{Base, Group, PARALLEL, Panels, Source, pack_rows, split};
use crate::program::View;

/// Weights of at most so many numbers stay in a core's own cache: then each thread takes some sequences through all of time.
/// Larger ones are shared out by columns, each thread keeping its own, and the threads meet after each time step.
const CACHED: usize = 3 << 17;

/// Runs h ← finish(state before · weight) over time. `finish(row, columns, sums)` makes of the sums of some columns what the state
/// is there; row counts over all time steps. The same bits however the work is shared: each sum is one chain over k.
pub(super) fn over_time(
    states: &mut View<f32>,
    weight: &View<f32>,
    batch: usize,
    backward: bool,
    finish: impl Fn(usize, Range<usize>, &mut [f32]) + Sync,
) {
    let (cols, stride) = (states.cols, states.stride);
    let (count, step) = (states.rows / batch - 1, batch * cols * cols);
    let threads = if count * step < PARALLEL { 1 } else { rayon::current_num_threads() };
    let mut panels = Panels::new(cols, cols);
    panels.fill(Source::Rows(weight.data(), weight.stride), 0..cols, threads > 1);
    // Blocks in the order in which they are computed.
    let mut blocks: Vec<&mut [f32]> = states.data_mut().chunks_mut(batch * stride).collect();
    if backward {
        blocks.reverse();
    }
    let finish = |n: usize, r: usize, columns: Range<usize>, sums: &mut [f32]| {
        finish(if backward { count - 1 - n } else { n } * batch + r, columns, sums);
    };
    // Sharing out the columns takes a meeting for each step, which must be worth it.
    let is_enough = batch.div_ceil(panels.tile_rows()) >= threads && cols * cols <= CACHED;
    if threads == 1 || is_enough || step < PARALLEL {
        by_rows(blocks, &panels, [batch, cols, stride], threads, finish);
    } else {
        by_columns(blocks, &panels, [batch, cols, stride], threads, finish);
    }
}

/// Each thread takes some sequences through all of time.
fn by_rows(
    blocks: Vec<&mut [f32]>,
    panels: &Panels,
    [batch, cols, stride]: [usize; 3],
    threads: usize,
    finish: impl Fn(usize, usize, Range<usize>, &mut [f32]) + Sync,
) {
    let rows = batch.div_ceil(threads);
    let mut slices: Vec<Vec<&mut [f32]>> = (0..batch.div_ceil(rows)).map(|_| Vec::with_capacity(blocks.len())).collect();
    for block in blocks {
        block.chunks_mut(rows * stride).zip(&mut slices).for_each(|(part, slice)| slice.push(part));
    }
    slices.into_par_iter().enumerate().for_each(|(i, slice)| {
        let rows_here = slice[0].len().div_ceil(stride);
        let groups = panels.groups(rows_here);
        let mut before = vec![0.0; rows_here * cols];
        let pack = |block: &[f32], to: &mut [f32]| pack_rows(|r| &block[r * stride..][..cols], groups.clone(), to);
        let mut blocks = slice.into_iter();
        pack(blocks.next().expect("the state before the first step"), &mut before);
        for (n, after) in blocks.enumerate() {
            let left: Vec<&[f32]> = groups.clone().map(|group| &before[group.start * cols..group.end * cols]).collect();
            let mut out = after.chunks_mut(stride).map(|row| &mut row[..cols]);
            let each = groups.clone().zip(left.chunks(1));
            let mut tiles: Vec<Group> = each.map(|(group, a)| Group::new(a, out.by_ref().take(group.len()))).collect();
            panels.multiply(0..panels.count(), &mut tiles, Base::Nothing);
            for (r, row) in after.chunks_mut(stride).enumerate() {
                finish(n, i * rows + r, 0..cols, &mut row[..cols]);
            }
            pack(after, &mut before);
        }
    });
}

/// Each thread takes some columns, and they meet after each time step.
fn by_columns(
    blocks: Vec<&mut [f32]>,
    panels: &Panels,
    [batch, cols, stride]: [usize; 3],
    threads: usize,
    finish: impl Fn(usize, usize, Range<usize>, &mut [f32]) + Sync,
) {
    let groups = panels.groups(batch);
    let chunks = panels.shares(threads);
    // A state as it is read, packed, each chunk of its columns by itself; and the one that is being written.
    let packed = [0, 1].map(|_| -> Vec<RwLock<Vec<f32>>> {
        chunks.iter().map(|chunk| RwLock::new(vec![0.0; batch * panels.columns(chunk).len()])).collect()
    });
    let pack = |rows: &[&mut [f32]], chunk: usize, parity: usize| {
        let mut to = packed[parity][chunk].write().unwrap_or_else(PoisonError::into_inner);
        pack_rows(|r| &*rows[r], groups.clone(), &mut to);
    };
    // Of each chunk of columns, for each time step, the rows of the state.
    type Rows<'a> = Vec<&'a mut [f32]>;
    let mut parts: Vec<Vec<Rows>> = chunks.iter().map(|_| Vec::with_capacity(blocks.len())).collect();
    for block in blocks {
        parts.iter_mut().for_each(|steps| steps.push(Vec::with_capacity(batch)));
        for row in block.chunks_mut(stride) {
            let pieces = split(&mut row[..cols], panels, &chunks);
            pieces.zip(&mut parts).for_each(|(piece, steps)| steps.last_mut().expect("a step").push(piece));
        }
    }
    let parts: Vec<Mutex<Vec<Rows>>> = parts.into_iter().map(Mutex::new).collect();
    let barrier = Barrier::new(chunks.len());
    rayon::broadcast(|thread| {
        let chunk = thread.index();
        let Some(part) = parts.get(chunk) else { return };
        let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
        let _guard = barrier.guard();
        for (n, rows) in part.iter_mut().enumerate() {
            // The first is the state before the first step.
            if n > 0 {
                let before: Vec<_> =
                    packed[(n - 1) % 2].iter().map(|chunk| chunk.read().unwrap_or_else(PoisonError::into_inner)).collect();
                let piece = |rows: &Range<usize>, all: &'_ [f32]| all.len() / batch * rows.start..all.len() / batch * rows.end;
                let left = groups.clone().map(|group| before.iter().map(|all| &all[piece(&group, all)]).collect());
                let left: Vec<Vec<&[f32]>> = left.collect();
                let mut out = rows.iter_mut().map(|row| &mut **row);
                let each = groups.clone().zip(&left);
                let mut tiles: Vec<Group> = each.map(|(group, a)| Group::new(a, out.by_ref().take(group.len()))).collect();
                panels.multiply(chunks[chunk].clone(), &mut tiles, Base::Nothing);
                for (r, row) in rows.iter_mut().enumerate() {
                    finish(n - 1, r, panels.columns(&chunks[chunk]), row);
                }
            }
            pack(rows, chunk, n % 2);
            barrier.wait();
        }
    });
}
