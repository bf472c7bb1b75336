//! What a run's folder says of it at a glance, without its weights.

use std::path::Path;

use super::{Checkpoint, Folder, Header, Metrics};
use crate::Result;

/// A run, read from its last checkpoint's header and its metrics.
#[derive(Debug)]
pub struct Overview {
    /// The header of its last checkpoint, or of the one before it.
    pub header: Header,
    /// All lines of its metrics.
    pub metrics: Result<Vec<Metrics>>,
}

impl Overview {
    /// Reads a run's folder.
    ///
    /// # Errors
    /// [`crate::Error::BadInput`] when neither checkpoint has a header of this crate.
    pub fn read(run: &Path) -> Result<Overview> {
        let last = Header::open(&Checkpoint::path(run));
        let header = last.or_else(|error| Header::open(&Checkpoint::previous_path(run)).map_err(|_| error))?;
        Ok(Overview { header, metrics: Folder::metrics(run) })
    }

    /// Whether a folder is that of a run with a checkpoint.
    #[must_use]
    pub fn is_run(folder: &Path) -> bool {
        folder.is_dir() && Checkpoint::is_in(folder)
    }

    /// The seconds that its training steps took, by the mean of each line of metrics; `None` without any.
    #[must_use]
    pub fn seconds(&self) -> Option<f64> {
        let (mut before, mut total) = (0, None);
        for line in self.metrics.iter().flatten() {
            if let Metrics::Step { step, ms_per_step, .. } = line {
                *total.get_or_insert(0.0) += ms_per_step * 1e-3 * step.saturating_sub(before) as f64;
                before = *step;
            }
        }
        total
    }

    /// The loss of the last training step that was logged.
    #[must_use]
    pub fn loss(&self) -> Option<f64> {
        self.metrics.iter().flatten().rev().find_map(|line| match line {
            Metrics::Step { loss, .. } => Some(f64::from(*loss)),
            _ => None,
        })
    }
}
