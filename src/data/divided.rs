//! Training on one file, and measuring on another.

use super::{Shape, Source};
use crate::batch::Batch;
use crate::{Error, Result};

/// A source that trains on one file and is measured on another.
pub(super) struct Divided {
    training: Box<dyn Source>,
    held_out: Box<dyn Source>,
    shape: Shape,
}

impl Divided {
    /// # Errors
    /// [`Error::BadInput`] when the second, `what`, is of another shape.
    pub(super) fn new(what: &str, training: Box<dyn Source>, held_out: Box<dyn Source>) -> Result<Divided> {
        let [shape, other] = [training.shape(), held_out.shape()];
        Ok(Divided { shape: shape.with(other).map_err(|problem| Error::input(what, problem))?, training, held_out })
    }
}

impl Source for Divided {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn has_lengths(&self) -> bool {
        self.training.has_lengths() || self.held_out.has_lengths()
    }

    fn carries(&self) -> bool {
        self.training.carries() || self.held_out.carries()
    }

    fn batch(&mut self, step: u64) -> Batch {
        self.training.batch(step)
    }

    fn batches_in_pass(&self) -> Option<u64> {
        self.training.batches_in_pass()
    }

    fn held_out_batches(&self) -> u64 {
        self.held_out.held_out_batches()
    }

    fn held_out(&mut self, index: u64) -> Batch {
        self.held_out.held_out(index)
    }

    fn held_out_sequences(&self, index: u64) -> Vec<Option<usize>> {
        self.held_out.held_out_sequences(index)
    }

    fn window(&self) -> (usize, usize) {
        let ((steps, batch), (other, _)) = (self.training.window(), self.held_out.window());
        (steps.max(other), batch)
    }
}
