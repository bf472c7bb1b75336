//! What a run does where several ranks train it: they agree on what they train before it begins, and the first one alone writes.

use std::path::PathBuf;

use super::Training;
use crate::data::Fingerprints;
use crate::model::HISTORY;
use crate::network::Network;
use crate::train::{Checkpoint, DeviceRecord, Folder, Settings, Validations, share_checkpoint};
use crate::{Error, Result};

/// Sees that all ranks train the same on the same data, and gives all the first one's weights. Returns whether they run on different devices,
/// whose weights differ by more and more rounding.
///
/// # Errors
/// [`Error::Usage`] when they do not; [`Error::RankLost`]; what the backend reports.
pub(super) fn agree(
    network: &mut Network,
    settings: &Settings,
    fingerprints: &Fingerprints,
    device: &DeviceRecord,
) -> Result<bool> {
    if network.rank().1 == 1 {
        return Ok(false);
    }
    let same = |network: &mut Network, what: &str, own: String| {
        let all = network.gather_from_ranks(own.into_bytes())?;
        match all.iter().position(|other| *other != all[0]) {
            Some(rank) => Err(Error::Usage(format!("rank {rank} {what} than rank 0"))),
            None => Ok(()),
        }
    };
    same(network, "has another version of this program", env!("CARGO_PKG_VERSION").into())?;
    same(network, "has other settings", serde_json::to_string(settings).expect("settings that were checked"))?;
    same(network, "has other data", fingerprints.data.clone().unwrap_or_default())?;
    same(network, "has other validation data", fingerprints.validation.clone().unwrap_or_default())?;
    same(network, "is at another training step", network.steps().to_string())?;
    network.synchronise()?;
    let devices = network.gather_from_ranks(serde_json::to_vec(device).expect("strings and maps of them"))?;
    Ok(devices.iter().any(|other| *other != devices[0]))
}

/// The folder, which the first rank opens; the others hear where it is.
pub(super) fn open_folder(network: &mut Network, folder: impl FnOnce() -> Result<Folder>) -> Result<Folder> {
    if network.rank().0 == 0 {
        let folder = folder()?;
        let path = folder.path().to_string_lossy().into_owned();
        return network.broadcast_to_ranks(path.into_bytes()).map(|_| folder);
    }
    let path = network.broadcast_to_ranks(Vec::new())?;
    Ok(Folder::elsewhere(String::from_utf8_lossy(&path).into_owned().into()))
}

/// What the first rank remembers of its validations: it alone looks into the folder.
pub(super) fn share_validations(network: &mut Network, own: Validations) -> Result<Validations> {
    if network.rank().1 == 1 {
        return Ok(own);
    }
    let text = serde_json::to_vec(&own).expect("numbers");
    let first = network.broadcast_to_ranks(text)?;
    serde_json::from_slice(&first).map_err(|e| Error::input("the validations of rank 0", e.to_string()))
}

impl Training {
    /// What the first rank writes into a checkpoint: the states of all, and where devices differ its weights become those of all.
    pub(super) fn gather_for_checkpoint(&mut self) -> Result<()> {
        if self.is_mixed {
            self.network.synchronise()?;
        }
        self.network.gather_states()
    }

    /// What came of the first rank's writing, for all: that it has diverged, where a number that it writes is not finite. After another error it
    /// ends alone, and the others miss it.
    pub(super) fn agree_on_written(&mut self, outcome: Result<()>) -> Result<()> {
        self.network.forget_states();
        let (rank, ranks) = self.network.rank();
        if ranks == 1 {
            return outcome;
        }
        let diverged = match &outcome {
            Err(Error::Diverged { step, tensor, .. }) => Some((*step, tensor.clone())),
            Ok(()) => None,
            Err(_) => return outcome,
        };
        let text = serde_json::to_vec(&diverged).expect("a number and a name");
        let first = self.network.broadcast_to_ranks(text)?;
        if rank == 0 {
            return outcome;
        }
        let first: Option<(u64, String)> =
            serde_json::from_slice(&first).map_err(|e| Error::input("what rank 0 has written", e.to_string()))?;
        match first {
            Some((step, tensor)) => Err(Error::Diverged { step, tensor, last_finite: None, checkpoint: None }),
            None => Ok(()),
        }
    }

    /// Restores all ranks from the checkpoint that the first one reads, by its path.
    pub(super) fn restore_from_first(&mut self, read: impl FnOnce() -> Result<(Checkpoint, PathBuf)>) -> Result<Checkpoint> {
        let (rank, ranks) = self.network.rank();
        let own = if rank == 0 { Some(read()?) } else { None };
        let (checkpoint, _file) = share_checkpoint(own, ranks, |bytes| self.network.broadcast_to_ranks(bytes))?;
        checkpoint.restore_in(&mut self.network, &self.origin)?;
        Ok(checkpoint)
    }

    /// Whether it is looked now at what the device has finished: by the clock where the run is alone, and where it is not by the step alone, so
    /// that all ranks see a loss that is not finite at the same time.
    pub(super) fn is_look_due(&self, step: u64, is_long_ago: bool) -> bool {
        let Settings { loss_every, steps, .. } = self.origin.settings;
        let is_due = step.is_multiple_of(loss_every) || step == steps;
        // The ring on the device holds so many steps; what is older is lost.
        is_due || step.is_multiple_of(u64::from(HISTORY) / 2) || (is_long_ago && self.network.rank().1 == 1)
    }
}
