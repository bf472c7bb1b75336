//! A vector of units of a row, in which their numbers of a kind lie in parts.

use pulp::Simd;

use super::super::pointwise::{MOST, Numbers, Pointwise};
use super::Size;
use super::panels::Panel;
use crate::kernels::gemm::prefetch;
use crate::numbers::Vector;

/// A vector of units of a row, or the last of them, which are fewer.
#[derive(Clone, Copy)]
pub(super) struct Units<S> {
    simd: S,
    first: usize,
    len: usize,
    /// All units of the layer, and the columns from one part of a row to the next.
    all: usize,
    stride: usize,
    fuses: bool,
}

impl<S: Simd> Units<S> {
    /// A panel's vector of this number.
    #[inline(always)]
    pub(super) fn new<P: Pointwise>(simd: S, size: &Size, panel: &Panel, vector: usize) -> Units<S> {
        let first = panel.units.start + vector * S::F32_LANES;
        let len = S::F32_LANES.min(panel.units.end - first);
        Units { simd, first, len, all: size.units, stride: size.gate_stride(), fuses: P::FUSES }
    }

    #[inline(always)]
    pub(super) fn is_whole(&self) -> bool {
        self.len == S::F32_LANES
    }

    #[inline(always)]
    pub(super) fn load<const WHOLE: bool>(self, row: &[f32]) -> Vector<S> {
        let simd = self.simd;
        let values = if WHOLE {
            S::as_simd_f32s(&row[self.first..self.first + S::F32_LANES]).0[0]
        } else {
            simd.partial_load_f32s(&row[self.first..self.first + self.len])
        };
        self.vector(values)
    }

    /// Of so many parts of a row.
    #[inline(always)]
    pub(super) fn load_parts<const WHOLE: bool>(self, count: usize, row: &[f32]) -> Numbers<Vector<S>> {
        let mut all = [self.zero(); MOST];
        for part in 0..count {
            all[part] = self.load::<WHOLE>(&row[part * self.stride..]);
        }
        all
    }

    /// Of a row of each of so many windows.
    #[inline(always)]
    pub(super) fn load_rows<const WHOLE: bool>(self, count: usize, rows: &[&[f32]; MOST]) -> Numbers<Vector<S>> {
        let mut all = [self.zero(); MOST];
        for n in 0..count {
            all[n] = self.load::<WHOLE>(rows[n]);
        }
        all
    }

    #[inline(always)]
    pub(super) fn store<const WHOLE: bool>(self, row: &mut [f32], vector: Vector<S>) {
        if WHOLE {
            S::as_mut_simd_f32s(&mut row[self.first..self.first + S::F32_LANES]).0[0] = vector.values;
        } else {
            self.simd.partial_store_f32s(&mut row[self.first..self.first + self.len], vector.values);
        }
    }

    /// Of so many parts of a row; what lies between them becomes zero.
    #[inline(always)]
    pub(super) fn store_parts<const WHOLE: bool>(self, count: usize, row: &mut [f32], parts: Numbers<Vector<S>>) {
        let gap = if self.first + self.len == self.all { self.stride - self.all } else { 0 };
        for part in 0..count {
            let row = &mut row[part * self.stride..];
            self.store::<WHOLE>(row, parts[part]);
            if part + 1 < count && gap > 0 {
                row[self.all..self.stride].fill(0.0);
            }
        }
    }

    #[inline(always)]
    pub(super) fn vector(self, values: S::f32s) -> Vector<S> {
        Vector { simd: self.simd, values, fuses: self.fuses }
    }

    /// So many vectors.
    #[inline(always)]
    pub(super) fn vectors(self, count: usize, from: &[S::f32s]) -> Numbers<Vector<S>> {
        let mut all = [self.zero(); MOST];
        for n in 0..count {
            all[n].values = from[n];
        }
        all
    }

    #[inline(always)]
    fn zero(self) -> Vector<S> {
        self.vector(self.simd.splat_f32s(0.0))
    }
}

/// Asks for the parts of a row that a panel's units are in. Of many units they lie so far apart that the processor does not foresee them.
#[inline(always)]
pub(super) fn fetch(size: &Size, panel: &Panel, row: &[f32], parts: usize) {
    const MANY: usize = 64;
    if size.units >= MANY {
        for part in 0..parts {
            row[part * size.gate_stride()..][panel.units.clone()].chunks(16).for_each(|line| prefetch(&line[0]));
        }
    }
}
