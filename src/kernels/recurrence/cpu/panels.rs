//! The weight of a recurrence in panels for one thread, and the product of a few rows with one: the rows are read where they are, and
//! the sums go to where the cell takes them.
//!
//! A sum is one chain of fused multiplications and additions, k ascending, as in the products of matrices.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::super::pointwise::MOST;
use super::Size;
use crate::kernels::gemm::Scratch;
use crate::program::View;

/// The most rows of a product.
pub(super) const ROWS: usize = 8;

/// The sums of a few rows: of each those of a panel's vectors.
pub(super) type Sums<S> = [[<S as Simd>::f32s; MOST]; ROWS];

/// The most rows whose sums have registers, beside a row of the panel and a value of the state.
const fn rows_with(registers: usize, vectors: usize) -> usize {
    let rows = (registers - 2 - vectors) / vectors;
    if rows < ROWS { rows } else { ROWS }
}

/// Some units, and of each gate that is summed for them the weight's columns: for each k of each part of the state that is read, a vector of each
/// gate for some units, the same for those behind them, and so on.
pub(super) struct Panel {
    pub units: Range<usize>,
    /// Vectors of units.
    pub vectors: usize,
    /// Vectors of sums.
    sums: usize,
    /// Its numbers.
    place: Range<usize>,
    /// The most rows of a product.
    pub rows: usize,
}

/// A recurrent weight, zero past its last column.
pub(super) struct Weight {
    values: Scratch,
    pub panels: Vec<Panel>,
    units: usize,
}

/// Makes panels of a weight.
pub(super) struct Pack<'a> {
    pub size: &'a Size,
    pub weight: &'a View<'a, f32>,
}

impl WithSimd for Pack<'_> {
    type Output = Weight;

    fn with_simd<S: Simd>(self, _: S) -> Weight {
        let Pack { size, weight } = self;
        let (units, stride, [parts, sides]) = (size.units, size.gate_stride(), size.sides());
        let vectors = units.div_ceil(S::F32_LANES);
        let most = if sides > 1 {
            1
        } else if S::REGISTER_COUNT >= 32 {
            3
        } else {
            2
        };
        let count = vectors.div_ceil(most);
        let mut values = Scratch::new(parts * sides * units * vectors * S::F32_LANES);
        let mut place = 0;
        let panel = |i: usize| {
            let some = vectors * i / count..vectors * (i + 1) / count;
            let (first, sums) = (some.start * S::F32_LANES, some.len() * sides);
            let begin = place;
            for k in (0..parts).flat_map(|part| (0..units).map(move |k| part * stride + k)) {
                for vector in some.clone() {
                    let from = vector * S::F32_LANES;
                    let len = S::F32_LANES.min(units - from);
                    for side in 0..sides {
                        let to = &mut values.numbers_mut()[place..place + S::F32_LANES];
                        to[..len].copy_from_slice(&weight.data()[k * weight.stride + side * stride + from..][..len]);
                        to[len..].fill(0.0);
                        place += S::F32_LANES;
                    }
                }
            }
            Panel {
                units: first..units.min(some.end * S::F32_LANES),
                vectors: some.len(),
                sums,
                place: begin..place,
                rows: rows_with(S::REGISTER_COUNT, sums),
            }
        };
        let panels = (0..count).map(panel).collect();
        Weight { values, panels, units }
    }
}

/// The sums of a few rows and a panel over the k of one part of the state, or those added to what is there.
pub(super) struct Product<'a, S: Simd> {
    pub simd: S,
    pub weight: &'a Weight,
    pub panel: &'a Panel,
    /// The rows of the part.
    pub left: [&'a [f32]; ROWS],
    pub rows: usize,
    pub part: usize,
    pub sums: &'a mut Sums<S>,
}

impl<S: Simd> pulp::NullaryFnOnce for Product<'_, S> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        macro_rules! of_rows {
            ($($m:literal)*) => {
                match (self.rows, self.panel.sums) {
                    $(($m, 1) if $m <= rows_with(S::REGISTER_COUNT, 1) => self.tile::<$m, 1>(),
                    ($m, 2) if $m <= rows_with(S::REGISTER_COUNT, 2) => self.tile::<$m, 2>(),
                    ($m, 3) if $m <= rows_with(S::REGISTER_COUNT, 3) => self.tile::<$m, 3>(),
                    ($m, 4) if $m <= rows_with(S::REGISTER_COUNT, 4) => self.tile::<$m, 4>(),)*
                    other => unreachable!("a tile of {other:?}"),
                }
            };
        }
        of_rows!(1 2 3 4 5 6 7 8);
    }
}

impl<S: Simd> Product<'_, S> {
    #[inline(always)]
    fn tile<const M: usize, const N: usize>(self) {
        let Product { simd, weight, panel, left, part, sums, .. } = self;
        let depth = weight.units;
        let (all, _) = S::as_simd_f32s(&weight.values.numbers()[panel.place.clone()]);
        let (all, _) = all.as_chunks::<N>();
        let columns = &all[part * depth..][..depth];
        let mut rows: [&[f32]; M] = [&[]; M];
        for r in 0..M {
            rows[r] = &left[r][..depth];
        }
        let mut tile = [[simd.splat_f32s(0.0); N]; M];
        for k in 0..depth {
            for r in 0..M {
                let x = simd.splat_f32s(rows[r][k]);
                for c in 0..N {
                    tile[r][c] = simd.mul_add_f32s(x, columns[k][c], tile[r][c]);
                }
            }
        }
        // Taken apart row by row, as values: were a sum asked for by a number, all of them would be in memory from the start.
        for (to, row) in sums.iter_mut().zip(tile) {
            for (to, sum) in to.iter_mut().zip(row) {
                *to = if part > 0 { simd.add_f32s(*to, sum) } else { sum };
            }
        }
    }
}
