//! One operand of a product in panels, so that a tile of the product meets it in order, and the rows of the other in groups.

use std::ops::Range;

use pulp::Arch;
use rayon::prelude::*;

use super::pack::{copy, transpose_into};
use super::scratch::Scratch;
use super::tile::{Base, Group, Multiply, TileSize};
use crate::simd::arch;

/// A matrix b `[k, n]` as panels of some columns each: a panel is its columns' values for the first k, for the second, and so
/// on, zero past the last column.
pub(crate) struct Panels {
    values: Scratch,
    depth: usize,
    cols: usize,
    arch: Arch,
    tile: TileSize,
}

/// How the values of a matrix that becomes panels lie.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// `[k, n]`, a row of n every `stride` numbers.
    Rows(&'a [f32], usize),
    /// `[n, k]`, a row of k every `stride` numbers.
    Cols(&'a [f32], usize),
}

impl Panels {
    /// Room for matrices of at most so many rows and of so many columns.
    pub fn new(depth: usize, cols: usize) -> Panels {
        let tile = TileSize::new();
        Panels { values: Scratch::new(depth * cols.next_multiple_of(tile.lanes)), depth: 0, cols, arch: arch(), tile }
    }

    /// Columns of a panel; the last may have fewer.
    pub fn width(&self) -> usize {
        self.tile.vectors * self.tile.lanes
    }

    /// The number of panels.
    pub fn count(&self) -> usize {
        self.cols.div_ceil(self.width())
    }

    /// The panels in at most so many shares, each but the last as large as the others.
    pub fn shares(&self, most: usize) -> Vec<Range<usize>> {
        let share = self.count().div_ceil(most);
        (0..self.count()).step_by(share).map(|p| p..(p + share).min(self.count())).collect()
    }

    /// The columns of some panels.
    pub fn columns(&self, panels: &Range<usize>) -> Range<usize> {
        panels.start * self.width()..(panels.end * self.width()).min(self.cols)
    }

    /// The size of a product's tiles.
    pub fn tile(&self) -> TileSize {
        self.tile
    }

    /// The k of the panels.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// The values of a panel, and the same with all that follow it.
    pub(super) fn values(&self, panel: usize) -> (&[f32], &[f32]) {
        let padded = self.cols.next_multiple_of(self.tile.lanes);
        let (first, end) = (panel * self.width(), padded.min((panel + 1) * self.width()));
        let all = &self.values.numbers()[first * self.depth..padded * self.depth];
        (&all[..(end - first) * self.depth], all)
    }

    /// Takes over rows `k` of a matrix.
    pub fn fill(&mut self, source: Source, k: Range<usize>, threads: bool) {
        let (width, lanes, cols, depth) = (self.width(), self.tile.lanes, self.cols, k.len());
        self.depth = depth;
        let len = depth * cols.next_multiple_of(lanes);
        let values = &mut self.values.numbers_mut()[..len];
        let fill = |(panel, values): (usize, &mut [f32])| {
            let first = panel * width;
            let count = width.min(cols - first);
            let padded = values.len() / depth;
            match source {
                Source::Rows(b, stride) => {
                    for (row, k) in values.chunks_mut(padded).zip(k.clone()) {
                        copy(&mut row[..count], &b[k * stride + first..][..count]);
                        if count < padded {
                            row[count..].fill(0.0);
                        }
                    }
                }
                Source::Cols(b, stride) => {
                    let rows = |n: usize| &b[(first + n) * stride..][k.clone()];
                    transpose_into(values, padded, count, depth, rows);
                    if count < padded {
                        values.chunks_mut(padded).for_each(|row| row[count..].fill(0.0));
                    }
                }
            }
        };
        if threads {
            values.par_chunks_mut(depth * width).enumerate().for_each(fill);
        } else {
            values.chunks_mut(depth * width).enumerate().for_each(fill);
        }
    }

    /// out = base + a·b for groups of rows and some panels; a panel meets all groups before the next one comes, so that it is read from
    /// far away once. Each row of out holds the columns of the panels.
    pub fn multiply(&self, panels: Range<usize>, groups: &mut [Group], base: Base) {
        self.arch.dispatch(Multiply { b: self, panels, groups, base });
    }
}
