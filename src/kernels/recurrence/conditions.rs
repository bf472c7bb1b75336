//! Where a variant of a recurrence can run, and where it is likely to be fast: by the sizes of the step and the limits of the adapter.

use std::ops::Range;

use super::Shape;
use crate::kernels::gemm;
use crate::program::{Along, Cuts, Mat, ROW_ALIGNMENT, Step};

/// The units of a layer: of its weight each gate has as many rows or columns.
pub(super) fn units(step: &Step) -> u32 {
    step.windows[1].rows.min(step.windows[1].cols)
}

/// Whether the sequences are so few that reading the weight is what takes the time.
pub(crate) fn is_skinny(step: &Step) -> bool {
    step.scalars::<Shape>().batch <= 16 || is_middling(step)
}

/// Whether a time step takes about as long as a dispatch does: then more workgroups count for more than larger tiles.
pub(crate) fn is_middling(step: &Step) -> bool {
    units(step) <= 1024 && step.scalars::<Shape>().batch <= 64
}

/// Whether a time step is a product worth its tiles, of at most so many sequences.
pub(crate) fn is_large(step: &Step, most: u32) -> bool {
    let batch = step.scalars::<Shape>().batch;
    batch > 16 && batch <= most && units(step) > 256
}

/// Whether a time step's product takes much longer than a dispatch.
pub(crate) fn is_worth_turning(step: &Step) -> bool {
    let weight = step.windows[1];
    u64::from(weight.rows) * u64::from(weight.cols) >= 1 << 22
}

/// Whether the parts of at least one sequence fit the second scratch memory.
pub(crate) fn has_room(step: &Step, cuts: &Cuts) -> bool {
    let weight = step.windows[1];
    let runs = runs(weight, cuts, gemm::PIECE_TERMS).count() as u64;
    runs <= cuts.scratch_rows(weight.cols.next_multiple_of(ROW_ALIGNMENT))
}

/// And, besides, those of the states of a time step, turned, in the fourth.
pub(crate) fn has_room_turned(step: &Step, cuts: &Cuts) -> bool {
    let (rows, batch) = (step.windows[1].rows, step.scalars::<Shape>().batch);
    has_room(step, cuts) && u64::from(rows) <= cuts.scratch_rows(batch.next_multiple_of(ROW_ALIGNMENT))
}

/// The runs of k of a weight, of at most so many, that are one binding each: all about as long, where nothing else cuts them.
pub(super) fn runs(weight: Mat, cuts: &Cuts, most: u32) -> impl ExactSizeIterator<Item = Range<u32>> + Clone {
    let of = |most: u32| cuts.runs(weight.rows, &[Along::Rows(weight)], [4, 4], u64::from(most));
    let count = of(most).len() as u32;
    let even = of(weight.rows.div_ceil(count).next_multiple_of(4).min(most));
    if even.len() as u32 == count { even } else { of(most) }
}
