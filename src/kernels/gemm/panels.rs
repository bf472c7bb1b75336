//! The inner loops of products on the CPU: one operand in panels, so that a tile of the product stays in registers.
//!
//! **Every sum over the k of the panels is one chain of fused multiplications and additions, k ascending**, whatever tile it is in. So
//! the bits of a product depend neither on how its rows and columns are shared among threads nor on the width of the processor's
//! vectors; where a product takes several blocks of k, those follow from its shape.

use std::cell::RefCell;
use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::prefetch::prefetch;

/// Rows of a tile: with three vectors of columns its sums take 24 of 32 registers; of 16 registers 4 rows take 12.
pub(crate) const ROWS: usize = 8;
/// Vectors of columns in a panel.
const VECTORS: usize = 3;
/// The k of a panel that are near at a time: with vectors of 16 numbers 24 KiB of it, which all groups of rows then find in the
/// first-level cache.
const NEAR: usize = 128;

/// A cache line: vectors that begin with one never lie across two.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Memory for numbers that are packed anew for each product. A thread keeps what it no longer needs for its next one: to have it
/// mapped and zeroed each time would take as long as a tenth of a small product. What it holds at first is anything.
pub(crate) struct Scratch(Vec<Line>);

/// What a thread keeps at most: so many pieces of at most so many lines, 16 MiB.
const SPARE: (usize, usize) = (4, 1 << 18);

thread_local! {
    static SPARES: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

impl Scratch {
    /// Of at least so many numbers.
    pub fn new(len: usize) -> Scratch {
        let mut lines = SPARES.with_borrow_mut(Vec::pop).unwrap_or_default();
        lines.resize(lines.len().max(len.div_ceil(16)), Line::zeroed());
        Scratch(lines)
    }

    pub fn numbers(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }

    pub fn columns(&mut self) -> &mut [Column] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.0);
        SPARES.with_borrow_mut(|spares| {
            if spares.len() < SPARE.0 && lines.len() <= SPARE.1 {
                spares.push(lines);
            }
        });
    }
}

/// A matrix b `[k, n]` as panels of some columns each: a panel is its columns' values for the first k, for the second, and so
/// on, zero past the last column.
pub(crate) struct Panels {
    values: Scratch,
    depth: usize,
    cols: usize,
    /// Numbers in a vector of this processor.
    lanes: usize,
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
        let lanes = pulp::Arch::new().dispatch(Lanes);
        Panels { values: Scratch::new(depth * cols.next_multiple_of(lanes)), depth: 0, cols, lanes }
    }

    /// Columns of a panel; the last may have fewer.
    pub fn width(&self) -> usize {
        VECTORS * self.lanes
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

    /// Takes over rows `k` of a matrix.
    pub fn fill(&mut self, source: Source, k: Range<usize>, threads: bool) {
        let (width, lanes, cols, depth) = (self.width(), self.lanes, self.cols, k.len());
        self.depth = depth;
        let len = depth * cols.next_multiple_of(lanes);
        let values = &mut self.values.numbers()[..len];
        let fill = |(panel, values): (usize, &mut [f32])| {
            let first = panel * width;
            let count = width.min(cols - first);
            let padded = values.len() / depth;
            match source {
                Source::Rows(b, stride) => {
                    for (row, k) in values.chunks_mut(padded).zip(k.clone()) {
                        copy(&mut row[..count], &b[k * stride + first..][..count]);
                        row[count..].fill(0.0);
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
        pulp::Arch::new().dispatch(Multiply { b: self, panels, groups, base });
    }
}

/// Copies a few numbers: a call of the library's function takes longer than that.
#[inline(always)]
fn copy(to: &mut [f32], from: &[f32]) {
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

/// Up to [`ROWS`] rows of a product.
pub(crate) struct Group<'a> {
    /// The values of the rows of a, for each k together, in pieces along k.
    a: &'a [&'a [Column]],
    out: [&'a mut [f32]; ROWS],
    rows: usize,
}

/// One k of [`ROWS`] rows.
pub(crate) type Column = [f32; ROWS];

impl<'a> Group<'a> {
    /// Of at most [`ROWS`] rows of out.
    pub fn new(a: &'a [&'a [Column]], mut out: impl Iterator<Item = &'a mut [f32]>) -> Group<'a> {
        let mut rows = 0;
        let out = std::array::from_fn(|_| match out.next() {
            Some(row) => {
                rows += 1;
                row
            }
            None => Default::default(),
        });
        Group { a, out, rows }
    }
}

/// Packs columns of at most [`ROWS`] rows of a matrix, all of one length.
pub(crate) fn pack_rows<'a>(rows: impl Iterator<Item = &'a [f32]>, to: &mut [Column]) {
    let mut all: [&[f32]; ROWS] = Default::default();
    let count = all.iter_mut().zip(rows).map(|(place, row)| *place = row).count();
    if count < ROWS {
        for (k, to) in to.iter_mut().enumerate() {
            (0..count).for_each(|r| to[r] = all[r][k]);
        }
        return;
    }
    pulp::Arch::new().dispatch(|| {
        let (blocks, rest) = to.as_chunks_mut::<ROWS>();
        let rows = all.map(|row| row.as_chunks::<ROWS>());
        for (i, block) in blocks.iter_mut().enumerate() {
            let from: [[f32; ROWS]; ROWS] = std::array::from_fn(|r| rows[r].0[i]);
            for k in 0..ROWS {
                for r in 0..ROWS {
                    block[k][r] = from[r][k];
                }
            }
        }
        for (k, to) in rest.iter_mut().enumerate() {
            (0..ROWS).for_each(|r| to[r] = rows[r].1[k]);
        }
    });
}

/// Packs columns of a matrix, in rows `k`: groups of [`ROWS`] columns one after the other.
pub(crate) fn pack_columns(a: &[f32], stride: usize, columns: Range<usize>, k: Range<usize>, to: &mut [Column]) {
    let depth = k.len();
    for (i, k) in k.enumerate() {
        let (groups, rest) = a[k * stride..][columns.clone()].as_chunks::<ROWS>();
        for (group, values) in groups.iter().enumerate() {
            to[group * depth + i] = *values;
        }
        if !rest.is_empty() {
            to[groups.len() * depth + i][..rest.len()].copy_from_slice(rest);
        }
    }
}

struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

struct Multiply<'a, 'b> {
    b: &'a Panels,
    panels: Range<usize>,
    groups: &'a mut [Group<'b>],
    base: Base<'a>,
}

impl WithSimd for Multiply<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Multiply { b, panels, groups, base } = self;
        let values: &[f32] = bytemuck::cast_slice(&b.values.0);
        let first = panels.start * b.width();
        // Of 16 registers tiles of 8 rows would not leave one for anything else.
        let step = if S::REGISTER_COUNT >= 32 { ROWS } else { ROWS / 2 };
        let mut scratch = Scratch::new(groups.len() * ROWS * b.width());
        let (scratch, _) = S::as_mut_simd_f32s(scratch.numbers());
        for panel in panels {
            let col = panel * b.width();
            let width = b.width().min(b.cols - col).next_multiple_of(b.lanes);
            let vectors = width / b.lanes;
            let (panel, _) = S::as_simd_f32s(&values[col * b.depth..][..width * b.depth]);
            let (all, _) = S::as_simd_f32s(&values[col * b.depth..b.depth * b.cols.next_multiple_of(b.lanes)]);
            for start in (0..b.depth).step_by(NEAR) {
                let end = b.depth.min(start + NEAR);
                let near = &panel[start * vectors..end * vectors];
                // What comes next, of this panel or the one behind it: each group fetches a share of it.
                let next = &all[end * vectors..all.len().min((end + NEAR) * vectors)];
                let mut shares = next.chunks(next.len().div_ceil(groups.len()).max(1));
                for (group, sums) in groups.iter_mut().zip(scratch.chunks_mut(ROWS * VECTORS)) {
                    let ahead = shares.next().unwrap_or_default();
                    for (from, sums) in (0..group.rows).step_by(step).zip(sums.chunks_mut(step * VECTORS)) {
                        let rows = step.min(group.rows - from);
                        let out = &mut group.out[from..from + rows];
                        let left = Left { pieces: group.a, k: start..end, from };
                        let place = Place { first: col - first, col, base, is_first: start == 0, is_last: end == b.depth };
                        tiles(simd, left, Right { near, ahead }, vectors, sums, out, place);
                    }
                }
            }
        }
    }
}

/// Some k of the rows of a from `from` on.
struct Left<'a> {
    pieces: &'a [&'a [Column]],
    k: Range<usize>,
    from: usize,
}

/// Some k of a panel, and what to fetch meanwhile.
struct Right<'a, V> {
    near: &'a [V],
    ahead: &'a [V],
}

/// What a product is added to.
#[derive(Clone, Copy)]
pub(crate) enum Base<'a> {
    Nothing,
    /// What is there.
    Out,
    /// A row, of all columns of b.
    Row(&'a [f32]),
}

/// Where a tile lies in the rows of out and among b's columns, and whether its sums begin and end here.
#[derive(Clone, Copy)]
struct Place<'a> {
    first: usize,
    col: usize,
    base: Base<'a>,
    is_first: bool,
    is_last: bool,
}

/// [`tile`] of as many rows and vectors as there are.
#[inline(always)]
fn tiles<S: Simd>(
    simd: S,
    a: Left,
    b: Right<S::f32s>,
    vectors: usize,
    sums: &mut [S::f32s],
    out: &mut [&mut [f32]],
    place: Place,
) {
    macro_rules! of_rows {
        ($($m:literal)*) => {
            match (out.len(), vectors) {
                $(($m, 1) => tile::<S, $m, 1>(simd, a, b, sums, out, place),
                ($m, 2) => tile::<S, $m, 2>(simd, a, b, sums, out, place),
                ($m, 3) => tile::<S, $m, 3>(simd, a, b, sums, out, place),)*
                other => unreachable!("a tile of {other:?}"),
            }
        };
    }
    of_rows!(1 2 3 4 5 6 7 8);
}

#[inline(always)]
fn tile<S: Simd, const M: usize, const N: usize>(
    simd: S,
    Left { pieces, k, from }: Left,
    Right { near, ahead }: Right<S::f32s>,
    kept: &mut [S::f32s],
    out: &mut [&mut [f32]],
    Place { first, col, base, is_first, is_last }: Place,
) {
    let (mut near, _) = near.as_chunks::<N>();
    let (kept, _) = kept.as_chunks_mut::<N>();
    // A tile of more than half of the rows has them all, from the first on; said so that the places of its values are known.
    let from = if M > ROWS / 2 { 0 } else { from };
    let mut sums = [[simd.splat_f32s(0.0); N]; M];
    if !is_first {
        sums.iter_mut().zip(&*kept).for_each(|(sum, kept)| *sum = *kept);
    }
    let mut begin = 0;
    let mut ahead = ahead.iter();
    for piece in pieces {
        let end = begin + piece.len();
        let (now, later) = near.split_at(end.min(k.end).saturating_sub(begin.max(k.start)));
        near = later;
        for (a, b) in piece[k.start.clamp(begin, end) - begin..].iter().zip(now) {
            if let Some(next) = ahead.next() {
                prefetch(next);
            }
            for r in 0..M {
                let x = simd.splat_f32s(a[(from + r) % ROWS]);
                for c in 0..N {
                    sums[r][c] = simd.mul_add_f32s(x, b[c], sums[r][c]);
                }
            }
        }
        begin = end;
    }
    if !is_last {
        kept.iter_mut().zip(sums).for_each(|(kept, sum)| *kept = sum);
        return;
    }
    for (row, sums) in out.iter_mut().zip(sums) {
        let row = &mut row[first..];
        let len = row.len().min(N * S::F32_LANES);
        let row = &mut row[..len];
        if let Base::Row(base) = base {
            row.copy_from_slice(&base[col..col + len]);
        }
        let adds = !matches!(base, Base::Nothing);
        let (full, rest) = S::as_mut_simd_f32s(row);
        for (to, &sum) in full.iter_mut().zip(&sums) {
            *to = if adds { simd.add_f32s(*to, sum) } else { sum };
        }
        if !rest.is_empty() {
            let sum = sums[full.len()];
            let sum = if adds { simd.add_f32s(simd.partial_load_f32s(rest), sum) } else { sum };
            simd.partial_store_f32s(rest, sum);
        }
    }
}
