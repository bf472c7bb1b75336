//! A loss that is finite and absurd: it is said, and the checkpoint from before it stays until the run ends well.

use std::ops::ControlFlow;
use std::path::PathBuf;

use super::{Event, Training};
use crate::Result;
use crate::network::Report;

/// A loss of so many times the first one has exploded.
const EXPLODED: f32 = 100.0;

/// What a run knows of exploded losses.
#[derive(Debug, Default)]
pub(super) struct Explosion {
    /// The loss of the run's first training step, as far as it is known.
    pub first: Option<f32>,
    /// Whether the loss has exploded, and has not come back to the first one since.
    is_now: bool,
}

impl Training {
    /// Looks at the loss of a training step. Where it explodes the last checkpoint is kept, which is from before: none is written until all
    /// losses before it were looked at.
    pub(super) fn look_for_explosion(&mut self, report: &Report, watch: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<()> {
        let first = *self.explosion.first.get_or_insert(report.loss);
        let was = self.explosion.is_now;
        self.explosion.is_now = first > 0.0 && report.loss > if was { first } else { EXPLODED * first };
        if self.explosion.is_now && !was {
            self.folder.keep_before_explosion()?;
            let _ = watch(Event::Exploded { step: report.step, loss: report.loss, first, kept: &self.folder.before_explosion() });
        }
        Ok(())
    }

    /// At the end of a run: removes the checkpoint from before where the loss has come back to the first one, and returns its place where it has
    /// not.
    pub(super) fn end_explosion(&mut self) -> Result<Option<PathBuf>> {
        if self.explosion.is_now {
            return Ok(Some(self.folder.before_explosion()));
        }
        self.folder.remove_before_explosion().map(|()| None)
    }
}
