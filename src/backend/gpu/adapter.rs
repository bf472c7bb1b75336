//! Which adapters there are, and which one is meant.

use wgpu::{Backends, DeviceType, Instance, InstanceDescriptor, PowerPreference};

use crate::{Error, Result};

/// An adapter and what it says of itself.
#[derive(Debug, Clone)]
pub struct Adapter {
    pub(super) adapter: wgpu::Adapter,
    /// Its name.
    pub name: String,
    /// Its driver, with version.
    pub driver: String,
    /// Discrete, integrated, virtual, software or other.
    pub kind: &'static str,
    /// Vulkan, Metal, DX12 or GL.
    pub api: String,
}

impl Adapter {
    /// All adapters, hardware first (discrete, integrated, virtual), by the interfaces that `WGPU_BACKEND` names;
    /// without it Vulkan, Metal and DX12.
    pub async fn all() -> Vec<Adapter> {
        let backends = Backends::from_env().unwrap_or(Backends::VULKAN | Backends::METAL | Backends::DX12);
        let instance =
            Instance::new(InstanceDescriptor { backends, ..InstanceDescriptor::new_without_display_handle_from_env() });
        let mut adapters: Vec<Adapter> = instance.enumerate_adapters(backends).await.into_iter().map(Adapter::new).collect();
        let low_power = PowerPreference::from_env() == Some(PowerPreference::LowPower);
        adapters.sort_by_key(|a| match a.adapter.get_info().device_type {
            DeviceType::DiscreteGpu => u8::from(low_power),
            DeviceType::IntegratedGpu => u8::from(!low_power),
            DeviceType::VirtualGpu => 2,
            DeviceType::Other => 3,
            DeviceType::Cpu => 4,
        });
        adapters
    }

    /// The first of [`Adapter::all`] that matches: `wanted` is an index into it or a part of a name, in any case. Without
    /// it `WGPU_ADAPTER_NAME` counts, and without that the first is taken.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] with the names of those that are there.
    pub async fn find(wanted: Option<&str>) -> Result<Adapter> {
        let named = std::env::var("WGPU_ADAPTER_NAME").ok().filter(|name| !name.is_empty());
        let wanted = wanted.map(str::to_owned).or(named);
        let mut adapters = Adapter::all().await;
        let matches = |wanted: &str, adapters: &[Adapter]| match wanted.parse::<usize>() {
            Ok(index) if index < adapters.len() => Some(index),
            _ => adapters.iter().position(|a| a.name.to_lowercase().contains(&wanted.to_lowercase())),
        };
        let index = match &wanted {
            Some(wanted) => matches(wanted, &adapters),
            None => (!adapters.is_empty()).then_some(0),
        };
        match index {
            Some(index) => Ok(adapters.swap_remove(index)),
            None => Err(Error::NoAdapter { wanted, found: adapters.into_iter().map(|a| a.name).collect() }),
        }
    }

    fn new(adapter: wgpu::Adapter) -> Adapter {
        let info = adapter.get_info();
        let kind = match info.device_type {
            DeviceType::DiscreteGpu => "discrete",
            DeviceType::IntegratedGpu => "integrated",
            DeviceType::VirtualGpu => "virtual",
            DeviceType::Cpu => "software",
            DeviceType::Other => "other",
        };
        let driver = format!("{} {}", info.driver, info.driver_info).trim().to_owned();
        Adapter { adapter, name: info.name, driver, kind, api: info.backend.to_string() }
    }

    /// Whether it is really the CPU.
    #[must_use]
    pub fn is_software(&self) -> bool {
        self.kind == "software"
    }

    /// Whether it is a GPU: discrete, integrated or virtual.
    #[must_use]
    pub fn is_hardware(&self) -> bool {
        matches!(self.kind, "discrete" | "integrated" | "virtual")
    }

    /// Its limits.
    #[must_use]
    pub fn limits(&self) -> wgpu::Limits {
        self.adapter.limits()
    }

    /// Its features.
    #[must_use]
    pub fn features(&self) -> wgpu::Features {
        self.adapter.features()
    }
}
