//! Gradients of several batches that make one training step: each but the last is added to what is kept, and the last one takes that up.

use std::ops::Range;

use crate::kernels::fill::{add, fill};
use crate::program::{Mat, Program};

/// What is kept between the batches of a training step.
#[derive(Debug, Clone)]
pub(crate) struct Accumulation {
    /// The gradients and the loss of the last batch, and the sums of those before.
    pairs: [(Mat, Mat); 2],
    /// After a batch that is not the last: its gradients and its loss are added to the sums.
    pub keep: Range<usize>,
    /// After the last one: the sums are added to its gradients and its loss, and begin anew.
    pub finish: Range<usize>,
}

impl Accumulation {
    pub fn new(program: &mut Program, gradients: Mat, loss: Mat) -> Accumulation {
        let kept = program.matrix("kept gradients", gradients.rows(), gradients.cols());
        let kept_loss = program.matrix("kept loss", 1, 1);
        Accumulation { pairs: [(gradients, kept), (loss, kept_loss)], keep: 0..0, finish: 0..0 }
    }

    pub fn record(&mut self, program: &mut Program) {
        let start = program.len();
        self.pairs.iter().for_each(|(last, kept)| add(program, 1.0, *last, *kept));
        self.keep = start..program.len();
        for (last, kept) in self.pairs {
            add(program, 1.0, kept, last);
            fill(program, kept, 0.0);
        }
        self.finish = self.keep.end..program.len();
    }

    /// Counts the steps from another place on.
    pub fn shift(&mut self, by: usize) {
        for range in [&mut self.keep, &mut self.finish] {
            *range = by + range.start..by + range.end;
        }
    }
}
