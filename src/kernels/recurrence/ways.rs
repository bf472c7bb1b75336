//! The ways in which a variant computes a time step, and how it lays its workgroups.

use super::held::Held;
use crate::kernels::gemm;

/// How a variant computes a time step.
pub(crate) enum Way {
    /// In one dispatch a piece of the sum over k, of which the last calls the cell.
    Fused(Tile),
    /// The sum over k in parts, and then their sum and the cell.
    Parts(gemm::Tile),
    /// The same from the states turned, which is a dispatch before them.
    Turned(gemm::Tile),
    /// Many time steps in a dispatch, of workgroups that wait for each other.
    Held(&'static Held),
}

impl Way {
    /// The sequences of a workgroup.
    pub fn rows(&self) -> u32 {
        match self {
            Way::Fused(tile) => tile.rows,
            Way::Parts(tile) | Way::Turned(tile) => tile.rows,
            Way::Held(held) => held.sequences,
        }
    }
}

/// How a variant lays its workgroups over sequences and units, its iterations for so many k and sums of a unit, and the time steps of a
/// dispatch.
pub(crate) struct Tile {
    pub rows: u32,
    pub cols: u32,
    pub iterations: fn(u32, u32) -> u32,
    /// 1, or the most of a dispatch that does several, and then the iterations are those of one.
    pub steps: u32,
}

pub(crate) const BY_LANES: Tile = Tile { rows: 8, cols: 32, iterations: |k, _| k.div_ceil(4) * 9 + 8, steps: 1 };
pub(crate) const BY_SLICES: Tile = Tile { rows: 8, cols: 32, iterations: |k, sums| k.div_ceil(64) + 16 * sums, steps: 1 };
pub(crate) const NARROW: Tile = Tile { rows: 4, cols: 16, iterations: |k, sums| k.div_ceil(256) + 16 * sums, steps: 1 };
pub(crate) const TILED: Tile = Tile { rows: 16, cols: 32, iterations: |k, sums| k.div_ceil(32) * (1 + 10 * sums), steps: 1 };

/// Of so many sums of a unit: where they are several, a lane has fewer sequences.
pub(crate) const fn by_subgroup(sums: usize) -> Tile {
    Tile { rows: if sums > 1 { 8 } else { 16 }, cols: 32, iterations: |k, _| k.div_ceil(4), steps: 1 }
}

/// For a whole layer; as many steps as a submission may last where it is slow.
pub(crate) const fn by_sequence(held: &Held) -> Tile {
    Tile { rows: held.sequences, cols: held.units, iterations: |_, _| 8, steps: 1024 }
}
