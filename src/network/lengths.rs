//! Writes the lengths of sequences; a batch's inputs and targets without what does not count.

use ndarray::{Array2, Array3, s};

use super::Network;
use crate::Result;
use crate::batch::Batch;
use crate::model::segment::{Ends, turned};

impl Network {
    /// Writes the lengths of a batch's sequences and what follows from them, where the program has a use for it and they are not those of the
    /// batch before.
    pub(super) fn write_lengths(&mut self, batch: &Batch, window: usize) -> Result<()> {
        let lengths: Vec<usize> = (0..batch.shape().1).map(|b| batch.length(b)).collect();
        if self.lengths.0 == window && self.lengths.1 == lengths {
            return Ok(());
        }
        if let Some(ends) = self.model.ends {
            let ids: Vec<u32> = lengths.iter().map(|&length| length as u32).collect();
            self.backend.write_indices(ends.lengths, &ids)?;
            for (row, times) in (0..).zip(self.model.config.segments()) {
                let rows = Ends::rows_of(&lengths, &times);
                self.backend.write_indices(ends.rows.start_of_row(row, rows.len()), &rows)?;
            }
        }
        if let Some(window_of_rows) = self.model.both.as_ref().map(|both| both.turned) {
            let rows = turned(&lengths, window);
            for (row, rows) in (0..).zip(rows.chunks(window_of_rows.cols() as usize)) {
                self.backend.write_indices(window_of_rows.start_of_row(row, rows.len()), rows)?;
            }
        }
        self.lengths = (window, lengths);
        Ok(())
    }
}

/// The ids of the first time steps of a batch in the order of rows, 0 in the padding.
pub(super) fn ids(batch: &Batch, steps: usize, ids: &Array2<u32>) -> Vec<u32> {
    some_ids(steps, ids, |t, b| batch.is_read(t, b))
}

/// The same of each sequence backward within its length.
pub(super) fn turned_ids(batch: &Batch, steps: usize, ids: &Array2<u32>) -> Vec<u32> {
    let id = |(t, b)| if batch.is_read(t, b) { ids[[batch.length(b) - 1 - t, b]] } else { 0 };
    ndarray::indices((steps, ids.ncols())).into_iter().map(id).collect()
}

/// Classes of the first time steps in the order of rows, 0 where the output does not count.
pub(super) fn counted_ids(batch: &Batch, steps: usize, ids: &Array2<u32>) -> Vec<u32> {
    some_ids(steps, ids, |t, b| batch.counts(t, b))
}

/// Target vectors of the first time steps in the order of rows, 0 where the output does not count: a shader may multiply them by a weight of 0,
/// and of NaN that is NaN.
pub(super) fn counted_vectors(batch: &Batch, steps: usize, vectors: &Array3<f32>) -> Vec<f32> {
    let all = batch.mask.is_none() && batch.lengths.is_none();
    some_rows(steps, vectors, all, |t, b| batch.counts(t, b))
}

/// The vectors of the first time steps in the order of rows, 0 in the padding, whatever it holds.
pub(super) fn vectors(batch: &Batch, steps: usize, vectors: &Array3<f32>) -> Vec<f32> {
    some_rows(steps, vectors, batch.lengths.is_none(), |t, b| batch.is_read(t, b))
}

fn some_ids(steps: usize, ids: &Array2<u32>, matters: impl Fn(usize, usize) -> bool) -> Vec<u32> {
    let first = ids.slice(s![..steps, ..]);
    first.indexed_iter().map(|((t, b), &id)| if matters(t, b) { id } else { 0 }).collect()
}

fn some_rows(steps: usize, vectors: &Array3<f32>, all: bool, matters: impl Fn(usize, usize) -> bool) -> Vec<f32> {
    let first = vectors.slice(s![..steps, .., ..]);
    if all {
        return first.iter().copied().collect();
    }
    let mut values = Vec::with_capacity(first.len());
    for ((t, b), row) in ndarray::indices((steps, first.dim().1)).into_iter().zip(first.rows()) {
        if matters(t, b) {
            values.extend(row);
        } else {
            values.resize(values.len() + row.len(), 0.0);
        }
    }
    values
}
