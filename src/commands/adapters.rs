//! `retrospect adapters`.

use clap::Args;
use pollster::block_on;
use retrospect::backend::Adapter;
use retrospect::backend::gpu::DEVICE_TIMEOUT;
use retrospect::{Error, Result};
use serde_json::json;

use super::terminal::{print, print_json, table, thousands};
use super::watch;

/// Lists adapters with driver, limits and features
#[derive(Args)]
pub struct Adapters {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Adapters {
    pub fn run(&self) -> Result<()> {
        watch::begin(DEVICE_TIMEOUT);
        let adapters = block_on(Adapter::all());
        if adapters.is_empty() {
            return Err(Error::NoAdapter { wanted: None, found: vec![] });
        }
        if self.json {
            let all: Vec<_> = adapters.iter().enumerate().map(|(index, adapter)| describe(index, adapter)).collect();
            return print_json(&all);
        }
        let mut rows =
            vec![["", "name", "kind", "api", "driver", "largest binding, bytes", "workgroup memory"].map(String::from).to_vec()];
        for (index, adapter) in adapters.iter().enumerate() {
            let limits = adapter.limits();
            rows.push(vec![
                index.to_string(),
                adapter.name.clone(),
                adapter.kind.into(),
                adapter.api.clone(),
                adapter.driver.clone(),
                thousands(limits.max_storage_buffer_binding_size.min(limits.max_buffer_size)),
                thousands(limits.max_compute_workgroup_storage_size.into()),
            ]);
        }
        print(&table(&rows))
    }
}

fn describe(index: usize, adapter: &Adapter) -> serde_json::Value {
    let limits = adapter.limits();
    let features: Vec<&str> = adapter.features().iter_names().map(|(name, _)| name).collect();
    json!({
        "index": index,
        "name": adapter.name,
        "kind": adapter.kind,
        "api": adapter.api,
        "driver": adapter.driver,
        "limits": {
            "max_buffer_size": limits.max_buffer_size,
            "max_storage_buffer_binding_size": limits.max_storage_buffer_binding_size,
            "min_storage_buffer_offset_alignment": limits.min_storage_buffer_offset_alignment,
            "max_storage_buffers_per_shader_stage": limits.max_storage_buffers_per_shader_stage,
            "max_compute_workgroup_storage_size": limits.max_compute_workgroup_storage_size,
            "max_compute_invocations_per_workgroup": limits.max_compute_invocations_per_workgroup,
            "max_compute_workgroups_per_dimension": limits.max_compute_workgroups_per_dimension,
        },
        "features": features,
    })
}
