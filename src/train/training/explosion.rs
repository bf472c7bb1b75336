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
    /// Whether the last loss had exploded.
    is_now: bool,
}

impl Training {
    /// Looks at the loss of a training step. Where it explodes the last checkpoint is kept, which is from before: none is written until all
    /// losses before it were looked at.
    pub(super) fn look_for_explosion(&mut self, report: &Report, watch: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<()> {
        let first = *self.explosion.first.get_or_insert(report.loss);
        let was = std::mem::replace(&mut self.explosion.is_now, first > 0.0 && report.loss > EXPLODED * first);
        if self.explosion.is_now && !was {
            self.folder.keep_before_explosion()?;
            let _ = watch(Event::Exploded { step: report.step, loss: report.loss, first, kept: &self.folder.before_explosion() });
        }
        Ok(())
    }

    /// At the end of a run: removes the checkpoint from before where the loss is as it should be, and returns its place where it is not.
    pub(super) fn end_explosion(&mut self) -> Result<Option<PathBuf>> {
        if self.explosion.is_now {
            return Ok(Some(self.folder.before_explosion()));
        }
        self.folder.remove_before_explosion().map(|()| None)
    }
}
