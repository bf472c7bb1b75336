//! The inner loops of products on the CPU: a tile of the product stays in registers.
//!
//! **Every sum over the k of the panels is one chain of fused multiplications and additions, k ascending**, whatever tile it is in. So
//! the bits of a product depend neither on how its rows and columns are shared among threads nor on the width of the processor's
//! vectors; where a product takes several blocks of k, those follow from its shape.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::panels::Panels;
use super::prefetch::prefetch;
use super::scratch::Scratch;
use crate::simd::arch;

/// The most rows that a tile has on any processor.
pub(super) const MOST_ROWS: usize = 8;
/// The numbers of a panel that are near at a time, 96 KiB, which all groups of rows then find in a core's own caches. Each tile's sums are
/// kept in memory from one stretch to the next: with 24 KiB, half of the first-level cache, products of 512 k took 1.08 times as long as with
/// 64 KiB (AVX-512; AVX2 alike).
const NEAR: usize = 24576;
/// The k whose products are added between two looks at what to fetch. With a look at each k, and 64 KiB near, products of 1,024 took 1.08 times as
/// long (AVX-512).
const UNROLLED: usize = 4;

/// How large tiles are, which depends on the processor's registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TileSize {
    /// Rows at most.
    pub rows: usize,
    /// Vectors of columns, which are those of a panel.
    pub vectors: usize,
    /// Numbers in a vector.
    pub lanes: usize,
}

impl TileSize {
    /// With the instructions of this processor.
    pub fn new() -> TileSize {
        arch().dispatch(AskSize)
    }

    /// Rows of a product in groups of at most as many as a tile has, all about as large: few rows leave registers idle.
    pub fn groups(self, rows: usize) -> impl Iterator<Item = Range<usize>> + Clone + use<> {
        let count = rows.div_ceil(self.rows);
        (0..count).map(move |i| rows * i / count..rows * (i + 1) / count)
    }
}

/// The size of tiles with some vector instructions.
trait Tiles: Simd {
    /// The sums of a tile, a row's vectors of b and a value of a must all have registers: a sum that lives in memory is stored and loaded
    /// for each k. 24 + 3 + 1 of 32, or 12 + 2 + 1 of 16.
    const SIZE: TileSize = if Self::REGISTER_COUNT >= 32 {
        TileSize { rows: MOST_ROWS, vectors: 3, lanes: Self::F32_LANES }
    } else {
        TileSize { rows: 6, vectors: 2, lanes: Self::F32_LANES }
    };
}

impl<S: Simd> Tiles for S {}

/// Asks for the size of tiles.
struct AskSize;

impl WithSimd for AskSize {
    type Output = TileSize;

    fn with_simd<S: Simd>(self, _: S) -> TileSize {
        S::SIZE
    }
}

/// Some rows of a product, as many as a tile has at most.
pub(crate) struct Group<'a> {
    /// The values of the rows of a, for each k together, in pieces along k.
    a: &'a [&'a [f32]],
    /// Numbers from those of one k to those of the next, where they are not packed.
    stride: Option<usize>,
    out: [&'a mut [f32]; MOST_ROWS],
    rows: usize,
}

impl<'a> Group<'a> {
    /// Of the rows of out, at most as many as a tile has.
    pub fn new(a: &'a [&'a [f32]], mut out: impl Iterator<Item = &'a mut [f32]>) -> Group<'a> {
        let mut rows = 0;
        let out = std::array::from_fn(|_| match out.next() {
            Some(row) => {
                rows += 1;
                row
            }
            None => Default::default(),
        });
        Group { a, stride: None, out, rows }
    }

    /// The same where the values of a k lie so many numbers behind those of the one before.
    pub fn with_stride(self, stride: usize) -> Group<'a> {
        Group { stride: Some(stride), ..self }
    }
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

/// out = base + a·b for groups of rows and some panels; a panel meets all groups before the next one comes, so that it is read from
/// far away once. Each row of out holds the columns of the panels.
pub(super) struct Multiply<'a, 'b> {
    pub b: &'a Panels,
    pub panels: Range<usize>,
    pub groups: &'a mut [Group<'b>],
    pub base: Base<'a>,
}

impl WithSimd for Multiply<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Multiply { b, panels, groups, base } = self;
        let first = panels.start * b.width();
        let near = NEAR / b.width();
        let mut scratch = Scratch::new(groups.len() * MOST_ROWS * b.width());
        let (scratch, _) = S::as_mut_simd_f32s(scratch.numbers_mut());
        for panel in panels {
            let col = panel * b.width();
            let (values, behind) = b.values(panel);
            let vectors = values.len() / (b.depth() * S::F32_LANES);
            let width = vectors * S::F32_LANES;
            for start in (0..b.depth()).step_by(near) {
                let k = start..b.depth().min(start + near);
                // What comes next, of this panel or the one behind it: each group fetches a share of it.
                let next = &behind[k.end * width..behind.len().min((k.end + near) * width)];
                let (next, _) = next.as_chunks::<16>();
                let mut shares = next.chunks(next.len().div_ceil(groups.len()).max(1));
                let (now, _) = S::as_simd_f32s(&values[k.start * width..k.end * width]);
                for (group, sums) in groups.iter_mut().zip(scratch.chunks_mut(MOST_ROWS * S::SIZE.vectors)) {
                    let right = Right { now, next: shares.next().unwrap_or_default() };
                    let place = Place { first: col - first, col, base, is_last: k.end == b.depth() };
                    tiles(simd, group, k.clone(), right, vectors, sums, place);
                }
            }
        }
    }
}

/// Some k of a panel, and what to fetch meanwhile.
struct Right<'a, V> {
    now: &'a [V],
    next: &'a [[f32; 16]],
}

/// Where a tile lies in the rows of out and among b's columns, and whether its sums end here.
#[derive(Clone, Copy)]
struct Place<'a> {
    first: usize,
    col: usize,
    base: Base<'a>,
    is_last: bool,
}

/// [`tile`] of as many rows and vectors as there are.
#[inline(always)]
fn tiles<S: Simd>(
    simd: S,
    group: &mut Group,
    k: Range<usize>,
    b: Right<S::f32s>,
    vectors: usize,
    sums: &mut [S::f32s],
    place: Place,
) {
    macro_rules! of_rows {
        ($($m:literal)*) => {
            match (group.rows, vectors) {
                $(($m, 1) if $m <= S::SIZE.rows => tile::<S, $m, 1>(simd, group, k, b, sums, place),
                ($m, 2) if $m <= S::SIZE.rows => tile::<S, $m, 2>(simd, group, k, b, sums, place),
                ($m, 3) if $m <= S::SIZE.rows && S::SIZE.vectors == 3 => tile::<S, $m, 3>(simd, group, k, b, sums, place),)*
                other => unreachable!("a tile of {other:?}"),
            }
        };
    }
    of_rows!(1 2 3 4 5 6 7 8);
}

#[inline(always)]
fn tile<S: Simd, const M: usize, const N: usize>(
    simd: S,
    group: &mut Group,
    k: Range<usize>,
    Right { now, next }: Right<S::f32s>,
    kept: &mut [S::f32s],
    place: Place,
) {
    let (mut now, _) = now.as_chunks::<N>();
    let kept = kept.as_chunks_mut::<N>().0.first_chunk_mut::<M>().expect("room for a tile");
    // Where the sums go next is far away too. With few registers tiles are many, and this cost more than it gained.
    if place.is_last && S::REGISTER_COUNT >= 32 {
        for row in &group.out[..M] {
            row[place.first..].chunks(16).take((N * S::F32_LANES).div_ceil(16)).for_each(|line| prefetch(&line[0]));
        }
    }
    let mut sums = [[simd.splat_f32s(0.0); N]; M];
    if k.start > 0 {
        sums.iter_mut().zip(&*kept).for_each(|(sum, kept)| *sum = *kept);
    }
    let (next, _) = next.as_chunks::<UNROLLED>();
    let mut next = next.iter();
    if let Some(stride) = group.stride {
        let piece = &group.a[0][k.start * stride..];
        for (i, b) in now.iter().enumerate() {
            if i.is_multiple_of(UNROLLED) {
                fetch(next.next());
            }
            let a = piece[i * stride..].first_chunk().expect("a value of each row");
            add_products::<S, M, N>(simd, a, b, &mut sums);
        }
    } else {
        let mut begin = 0;
        for piece in group.a {
            let (piece, _) = piece.as_chunks::<M>();
            let end = begin + piece.len();
            let (here, later) = now.split_at(end.min(k.end).saturating_sub(begin.max(k.start)));
            now = later;
            let (a, a_rest) = piece[k.start.clamp(begin, end) - begin..][..here.len()].as_chunks::<UNROLLED>();
            let (b, b_rest) = here.as_chunks::<UNROLLED>();
            for (a, b) in a.iter().zip(b) {
                fetch(next.next());
                for i in 0..UNROLLED {
                    add_products::<S, M, N>(simd, &a[i], &b[i], &mut sums);
                }
            }
            a_rest.iter().zip(b_rest).for_each(|(a, b)| add_products::<S, M, N>(simd, a, b, &mut sums));
            begin = end;
        }
    }
    // Taken apart row by row, as values: were a sum asked for by a number, all of them would be in memory from the start.
    if place.is_last {
        for (row, sums) in group.out.iter_mut().zip(sums) {
            finish(simd, &sums, &mut row[place.first..], place);
        }
    } else {
        kept.iter_mut().zip(sums).for_each(|(kept, sum)| *kept = sum);
    }
}

/// Asks for what is needed next.
#[inline(always)]
fn fetch(lines: Option<&[[f32; 16]; UNROLLED]>) {
    if let Some(lines) = lines {
        lines.iter().for_each(prefetch);
    }
}

/// Adds the products of one k.
#[inline(always)]
fn add_products<S: Simd, const M: usize, const N: usize>(simd: S, a: &[f32; M], b: &[S::f32s; N], sums: &mut [[S::f32s; N]; M]) {
    for r in 0..M {
        let x = simd.splat_f32s(a[r]);
        for c in 0..N {
            sums[r][c] = simd.mul_add_f32s(x, b[c], sums[r][c]);
        }
    }
}

/// Writes a row of a tile's sums to out, with what they are added to.
#[inline(always)]
fn finish<S: Simd, const N: usize>(simd: S, sums: &[S::f32s; N], row: &mut [f32], Place { col, base, .. }: Place) {
    let len = row.len().min(N * S::F32_LANES);
    let row = &mut row[..len];
    if let Base::Row(base) = base {
        row.copy_from_slice(&base[col..][..len]);
    }
    let adds = !matches!(base, Base::Nothing);
    let (full, rest) = S::as_mut_simd_f32s(row);
    for (to, &sum) in full.iter_mut().zip(sums) {
        *to = if adds { simd.add_f32s(*to, sum) } else { sum };
    }
    if !rest.is_empty() {
        let sum = sums[full.len()];
        let sum = if adds { simd.add_f32s(simd.partial_load_f32s(rest), sum) } else { sum };
        simd.partial_store_f32s(rest, sum);
    }
}
