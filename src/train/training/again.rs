//! A run whose device was lost goes on with another, from its last checkpoint.

use std::time::Instant;

use super::Training;
use crate::backend::Compute;
use crate::error::saved;
use crate::network::Network;
use crate::train::{Checkpoint, DeviceRecord};
use crate::{Error, Result};

impl Training {
    /// Puts the run where its last checkpoint is, on a device that was opened after the one before was lost; returns the step. On the same
    /// adapter, with the same variants, it comes to the same bits as if nothing had been lost. What the lost device held is never freed, since
    /// a driver that has failed may crash in that.
    ///
    /// # Errors
    /// [`Error::BadInput`] when no checkpoint can be read; what the backend reports.
    pub fn go_on_with(&mut self, compute: &Compute) -> Result<u64> {
        let (checkpoint, path, _) = Checkpoint::of_run(self.folder.path())?;
        let settings = &self.origin.settings;
        let mut network = Network::new(&settings.config(), compute)?;
        checkpoint.restore_in(&mut network, &self.origin)?;
        network.set_seed(settings.seed);
        if self.profile.is_some() {
            network.backend().record(true)?;
        }
        if path == Checkpoint::previous_path(self.folder.path()) {
            self.folder.restore_previous()?;
        }
        self.batches.restart(checkpoint.step * settings.network.accumulate as u64);
        self.folder.drop_metrics_after(checkpoint.step)?;
        std::mem::forget(std::mem::replace(&mut self.network, network));
        self.origin.device = DeviceRecord::new(compute, &self.network);
        self.validations = self.validations_after(&checkpoint)?;
        self.saved = Some(Checkpoint::path(self.folder.path()));
        (self.last, self.mark) = (None, (Instant::now(), checkpoint.step));
        self.tokens.begin();
        Ok(checkpoint.step)
    }

    /// Whether there is a checkpoint to go on from.
    #[must_use]
    pub fn has_checkpoint(&self) -> bool {
        self.saved.is_some()
    }

    /// An error of the run, with its last checkpoint named.
    #[must_use]
    pub fn with_checkpoint(&self, error: Error) -> Error {
        let last = || saved(self.saved.as_ref());
        match error {
            Error::RankLost { who, why, .. } => Error::RankLost { who, why, checkpoint: self.saved.clone() },
            Error::DeviceLost { reason, .. } => Error::DeviceLost { reason, checkpoint: self.saved.clone() },
            Error::Device { what, message } => Error::Device { what, message: message + &last() },
            Error::DoesNotFit { what, needed, available, advice } => {
                Error::DoesNotFit { what, needed, available, advice: advice + &last() }
            }
            Error::Io { path, source } => Error::NotWritten { path, source, checkpoint: self.saved.clone() },
            other => other,
        }
    }
}
