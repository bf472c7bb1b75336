//! Copies of matrices in another order.

use std::ops::Range;

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
    const BLOCK: usize = MOST_ROWS;
    let mut all: [&[f32]; MOST_ROWS] = Default::default();
    let count = all.iter_mut().zip(rows).map(|(place, row)| *place = row).count();
    // Whole columns are written, and of fewer rows the next column goes over what is too much of one: in the places of rows that are
    // not there is another.
    let first = all[0];
    all[count..].fill(first);
    let whole = (to.len() + count).saturating_sub(MOST_ROWS) / count / BLOCK;
    arch().dispatch(|| {
        let rows = all.map(|row| row.as_chunks::<BLOCK>().0);
        for i in 0..whole {
            let from: [[f32; BLOCK]; MOST_ROWS] = std::array::from_fn(|r| rows[r][i]);
            let to = &mut to[i * BLOCK * count..];
            for k in 0..BLOCK {
                let column: [f32; MOST_ROWS] = std::array::from_fn(|r| from[r][k]);
                to[k * count..][..MOST_ROWS].copy_from_slice(&column);
            }
        }
    });
    for (k, to) in to.chunks_mut(count).enumerate().skip(whole * BLOCK) {
        (0..count).for_each(|r| to[r] = all[r][k]);
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
    let mut rest = to;
    for columns in groups {
        for k in k.clone() {
            let from = &a[k * stride + columns.start..];
            // As in `pack_rows` what is next goes over what is too much.
            match (from.first_chunk::<MOST_ROWS>(), rest.first_chunk_mut::<MOST_ROWS>()) {
                (Some(from), Some(to)) => *to = *from,
                _ => rest.iter_mut().zip(&from[..columns.len()]).for_each(|(to, from)| *to = *from),
            }
            rest = &mut rest[columns.len()..];
        }
    }
}
