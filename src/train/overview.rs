//! What a run's folder says of it at a glance, without its weights.

use std::path::Path;

use super::{Checkpoint, DeviceRecord, Folder, Metrics, Settings, Validations};
use crate::tensors::TensorFile;
use crate::{Error, Result};

/// A run as its last checkpoint and its metrics tell of it.
#[derive(Debug, Clone)]
pub struct Overview {
    /// What it follows from.
    pub settings: Settings,
    /// The training steps taken when the last checkpoint was written.
    pub step: u64,
    /// What it remembers of its validations.
    pub validations: Validations,
    /// The device that it ran on.
    pub device: DeviceRecord,
    /// All lines of its metrics; empty where they cannot be read.
    pub metrics: Vec<Metrics>,
}

impl Overview {
    /// Reads the header of the last checkpoint in a folder, or of the one before it, and the metrics.
    ///
    /// # Errors
    /// [`Error::BadInput`] when neither has a header of this crate.
    pub fn read(run: &Path) -> Result<Overview> {
        let header = |path: &Path| -> Result<Overview> {
            let file = TensorFile::open(path)?;
            let bad = |key: &str, e: &dyn std::fmt::Display| Error::input(path.display(), format!("metadata {key}: {e}"));
            let validations = file.metadata.get("validations");
            Ok(Overview {
                settings: serde_json::from_str(file.metadata("configuration")?).map_err(|e| bad("configuration", &e))?,
                step: file.metadata("step")?.parse().map_err(|e| bad("step", &e))?,
                validations: validations
                    .map_or(Ok(Validations::default()), |text| serde_json::from_str(text))
                    .map_err(|e| bad("validations", &e))?,
                device: serde_json::from_str(file.metadata("device")?).map_err(|e| bad("device", &e))?,
                metrics: Folder::metrics(run).unwrap_or_default(),
            })
        };
        header(&Checkpoint::path(run)).or_else(|error| header(&Checkpoint::previous_path(run)).map_err(|_| error))
    }

    /// Whether a folder is that of a run with a checkpoint.
    #[must_use]
    pub fn is_run(folder: &Path) -> bool {
        folder.is_dir() && [Checkpoint::path(folder), Checkpoint::previous_path(folder)].iter().any(|path| path.exists())
    }

    /// The seconds that its training steps took, by the mean of each line of metrics; `None` without any.
    #[must_use]
    pub fn seconds(&self) -> Option<f64> {
        let (mut before, mut total) = (0, None);
        for line in &self.metrics {
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
        self.metrics.iter().rev().find_map(|line| match line {
            Metrics::Step { loss, .. } => Some(f64::from(*loss)),
            _ => None,
        })
    }
}
