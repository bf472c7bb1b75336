//! Copies of matrices in another order.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::tile::MOST_ROWS;
use crate::simd::arch;

/// Copies a few numbers: a call of the library's function takes longer than that.
#[inline(always)]
pub(super) fn copy(to: &mut [f32], from: &[f32]) {
    let ((to, to_rest), (from, from_rest)) = (to.as_chunks_mut::<8>(), from.as_chunks::<8>());
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    to_rest.iter_mut().zip(from_rest).for_each(|(to, from)| *to = *from);
}

/// to\[c, r\] = row r\[c\], in blocks, so that neither side is touched a cache line for each number.
pub(crate) fn transpose_into<'a>(to: &mut [f32], stride: usize, rows: usize, cols: usize, row: impl Fn(usize) -> &'a [f32]) {
    const BLOCK: usize = 16;
    for first in (0..rows).step_by(BLOCK) {
        let count = BLOCK.min(rows - first);
        let block: [&[f32]; BLOCK] = std::array::from_fn(|r| if r < count { &row(first + r)[..cols] } else { &[] });
        if count == BLOCK {
            for c in 0..cols {
                let values: [f32; BLOCK] = std::array::from_fn(|r| block[r][c]);
                to[c * stride + first..][..BLOCK].copy_from_slice(&values);
            }
        } else {
            for c in 0..cols {
                (0..count).for_each(|r| to[c * stride + first + r] = block[r][c]);
            }
        }
    }
}

/// Packs rows of a matrix, all of one length, as groups one after the other: of each group for each k its rows' values together.
pub(crate) fn pack_rows<'a>(row: impl Fn(usize) -> &'a [f32], groups: impl Iterator<Item = Range<usize>>, to: &mut [f32]) {
    let mut rest = to;
    for group in groups {
        let (to, after) = std::mem::take(&mut rest).split_at_mut(group.len() * row(group.start).len());
        pack_group(group.map(&row), to);
        rest = after;
    }
}

fn pack_group<'a>(rows: impl Iterator<Item = &'a [f32]>, to: &mut [f32]) {
    let mut all: [&[f32]; MOST_ROWS] = Default::default();
    let count = all.iter_mut().zip(rows).map(|(place, row)| *place = row).count();
    // Whole columns are written, and of fewer rows the next column goes over what is too much of one: in the places of rows that are
    // not there is another.
    let first = all[0];
    all[count..].fill(first);
    let whole = (to.len() + count).saturating_sub(MOST_ROWS) / count / BLOCK;
    arch().dispatch(Blocks { rows: all.map(|row| &row.as_chunks().0[..whole]), count, to });
    for (k, to) in to.chunks_mut(count).enumerate().skip(whole * BLOCK) {
        (0..count).for_each(|r| to[r] = all[r][k]);
    }
}

/// The k that are packed at a time.
const BLOCK: usize = 8;

/// Packs blocks of rows, of which the first `count` are wanted. Not a closure: one as large as this would not be compiled for the
/// instructions that it is dispatched to.
struct Blocks<'a> {
    rows: [&'a [[f32; BLOCK]]; MOST_ROWS],
    count: usize,
    to: &'a mut [f32],
}

impl WithSimd for Blocks<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Blocks { rows, count, to } = self;
        let [r0, r1, r2, r3, r4, r5, r6, r7] = rows;
        for i in 0..r0.len() {
            let from = [&r0[i], &r1[i], &r2[i], &r3[i], &r4[i], &r5[i], &r6[i], &r7[i]];
            let mut columns = [[0.0; MOST_ROWS]; BLOCK];
            for k in 0..BLOCK {
                for r in 0..MOST_ROWS {
                    columns[k][r] = from[r][k];
                }
            }
            let to = &mut to[i * BLOCK * count..];
            for k in 0..BLOCK {
                to[k * count..][..MOST_ROWS].copy_from_slice(&columns[k]);
            }
        }
    }
}

/// Packs columns of a matrix, in rows `k`, as groups of columns one after the other: of each group for each k its values together.
pub(crate) fn pack_columns(
    a: &[f32],
    stride: usize,
    k: Range<usize>,
    groups: impl Iterator<Item = Range<usize>>,
    to: &mut [f32],
) {
    /// Rows at a time, of which all columns are read: rows that lie a power of two apart share few places of a cache.
    const ROWS: usize = 32;
    let groups: Vec<Range<usize>> = groups.collect();
    for first in k.clone().step_by(ROWS) {
        let rows = first..k.end.min(first + ROWS);
        for columns in &groups {
            let (count, from) = (columns.len(), &a[first * stride + columns.start..]);
            let to = &mut to[columns.start * k.len() + (first - k.start) * count..];
            if count == MOST_ROWS {
                let (to, _) = to.as_chunks_mut::<MOST_ROWS>();
                for (i, to) in to[..rows.len()].iter_mut().enumerate() {
                    *to = *from[i * stride..].first_chunk().expect("a group's columns");
                }
                continue;
            }
            for i in 0..rows.len() {
                let (from, to) = (&from[i * stride..], &mut to[i * count..]);
                // As in `pack_rows` what is next goes over what is too much, but not at the group's end.
                let is_inside = (k.end - first - i) * count >= MOST_ROWS;
                match (from.first_chunk::<MOST_ROWS>(), to.first_chunk_mut::<MOST_ROWS>()) {
                    (Some(from), Some(to)) if is_inside => *to = *from,
                    _ => to[..count].copy_from_slice(&from[..count]),
                }
            }
        }
    }
}
