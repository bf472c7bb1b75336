//! What a run was trained on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::backend::Compute;
use crate::network::Network;

/// The device that a run was trained on, and its variants of the kernels: the same again give the same bits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// `gpu` or `cpu`.
    pub backend: String,
    /// The adapter's name, or `CPU`.
    pub adapter: String,
    /// Its driver, with version.
    pub driver: String,
    /// The variant of each step, by its kernel and the shapes of its windows; empty on the CPU.
    pub variants: BTreeMap<String, String>,
}

impl DeviceRecord {
    /// What a network runs on.
    pub(super) fn new(compute: &Compute, network: &Network) -> DeviceRecord {
        match compute {
            Compute::Cpu(_) => DeviceRecord { backend: "cpu".into(), adapter: "CPU".into(), ..DeviceRecord::default() },
            Compute::Gpu(device) => DeviceRecord {
                backend: "gpu".into(),
                adapter: device.adapter.name.clone(),
                driver: device.adapter.driver.clone(),
                variants: network.variants(),
            },
        }
    }
}
