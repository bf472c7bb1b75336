//! What the metadata of a checkpoint say of its run, without its tensors.

use std::path::Path;

use super::{DeviceRecord, Settings, Validations};
use crate::Result;
use crate::data::Fingerprints;
use crate::tensors::TensorFile;

/// The metadata of a checkpoint.
#[derive(Debug, Clone)]
pub struct Header {
    /// What the run follows from.
    pub settings: Settings,
    /// The training steps taken.
    pub step: u64,
    /// What the run remembers of its validations.
    pub validations: Validations,
    /// The fingerprints of its data.
    pub fingerprints: Fingerprints,
    /// The device that it ran on.
    pub device: DeviceRecord,
}

impl Header {
    /// Reads the metadata of a file.
    ///
    /// # Errors
    /// As [`TensorFile::open`] and [`Header::read`].
    pub fn open(path: &Path) -> Result<Header> {
        Header::read(&TensorFile::open(path)?)
    }

    /// Parses the metadata of an opened file.
    ///
    /// # Errors
    /// [`crate::Error::BadInput`] with the key that is missing or cannot be read.
    pub fn read(file: &TensorFile) -> Result<Header> {
        let bad = |key: &str, e: &dyn std::fmt::Display| file.bad(&format!("metadata {key}"), e.to_string());
        let settings: Settings = serde_json::from_str(file.metadata("configuration")?).map_err(|e| bad("configuration", &e))?;
        settings.check().map_err(|e| bad("configuration", &e))?;
        let validations = file.metadata.get("validations");
        let validations = validations.map_or(Ok(Validations::default()), |text| serde_json::from_str(text));
        Ok(Header {
            settings,
            step: file.metadata("step")?.parse().map_err(|e| bad("step", &e))?,
            validations: validations.map_err(|e| bad("validations", &e))?,
            fingerprints: Fingerprints::from_metadata(&file.metadata),
            device: serde_json::from_str(file.metadata("device")?).map_err(|e| bad("device", &e))?,
        })
    }
}
