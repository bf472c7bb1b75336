//! What a network is told of where the sequences of a batch end, and what it is fed there.

use ndarray::Array3;

use super::Network;
use super::feeding::indices;
use crate::batch::Batch;
use crate::model::segment::{Ends, turned};
use crate::{Error, Result};

impl Network {
    /// Writes the lengths of a batch's sequences and what follows from them, where the program has a use for it and they are not those of the
    /// batch before.
    pub(super) fn write_lengths(&mut self, batch: &Batch) -> Result<()> {
        let (window, sequences) = batch.shape();
        let lengths: Vec<usize> = (0..sequences).map(|b| batch.length(b)).collect();
        if self.model.ends.is_none()
            && let Some((b, length)) = lengths.iter().enumerate().find(|(_, length)| **length < window)
        {
            let problem = format!(
                "sequence {b} ends after {length} of {window} steps, and this network was made for sequences that all have as many \
                 (Config::lengths)"
            );
            return Err(Error::Usage(problem));
        }
        if self.lengths.0 == window && self.lengths.1 == lengths {
            return Ok(());
        }
        if let Some(ends) = self.model.ends {
            let ids: Vec<u32> = lengths.iter().map(|&length| length as u32).collect();
            self.backend.write_indices(ends.lengths, &ids)?;
            for (row, times) in (0..).zip(self.model.config.segments()) {
                let rows = Ends::rows_of(&lengths, &times);
                self.backend.write_indices(indices(ends.rows, row, &rows), &rows)?;
            }
        }
        if let Some(window_of_rows) = self.model.both.as_ref().map(|both| both.turned) {
            let rows = turned(&lengths, window);
            for (row, rows) in (0..).zip(rows.chunks(window_of_rows.cols() as usize)) {
                self.backend.write_indices(indices(window_of_rows, row, rows), rows)?;
            }
        }
        self.lengths = (window, lengths);
        Ok(())
    }
}

/// The ids of a batch in the order of rows, 0 in the padding.
pub(super) fn ids(batch: &Batch, ids: &ndarray::Array2<u32>) -> Vec<u32> {
    ids.indexed_iter().map(|((t, b), &id)| if batch.is_read(t, b) { id } else { 0 }).collect()
}

/// The same of each sequence backward within its length.
pub(super) fn turned_ids(batch: &Batch, ids: &ndarray::Array2<u32>) -> Vec<u32> {
    let id = |(t, b)| if batch.is_read(t, b) { ids[[batch.length(b) - 1 - t, b]] } else { 0 };
    ndarray::indices(ids.dim()).into_iter().map(id).collect()
}

/// Classes in the order of rows, 0 where the output does not count.
pub(super) fn counted_ids(batch: &Batch, ids: &ndarray::Array2<u32>) -> Vec<u32> {
    ids.indexed_iter().map(|((t, b), &id)| if batch.counts(t, b) { id } else { 0 }).collect()
}

/// Target vectors in the order of rows, 0 where the output does not count: a shader may multiply them by a weight of 0, and of NaN that is NaN.
pub(super) fn counted_vectors(batch: &Batch, vectors: &Array3<f32>) -> Vec<f32> {
    vectors.indexed_iter().map(|((t, b, _), &v)| if batch.counts(t, b) { v } else { 0.0 }).collect()
}

/// The vectors of a batch in the order of rows, 0 in the padding, whatever it holds.
pub(super) fn vectors(batch: &Batch, vectors: &Array3<f32>) -> Vec<f32> {
    match batch.lengths {
        None => vectors.iter().copied().collect(),
        Some(_) => vectors.indexed_iter().map(|((t, b, _), &v)| if batch.is_read(t, b) { v } else { 0.0 }).collect(),
    }
}
