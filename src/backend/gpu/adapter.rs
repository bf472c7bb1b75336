//! Which adapters there are, and which one is meant.

use wgpu::{Backends, DeviceType, Instance, InstanceDescriptor, PowerPreference};

use super::calls::guarded;
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
        let find = || {
            let descriptor = InstanceDescriptor { backends, ..InstanceDescriptor::new_without_display_handle_from_env() };
            // They are there at once, and blocking is the only way to catch a panic.
            let found = pollster::block_on(Instance::new(descriptor).enumerate_adapters(backends));
            found.into_iter().map(Adapter::new).collect::<Vec<Adapter>>()
        };
        // Of a driver that gives up there are none.
        let mut adapters = guarded("the question which adapters there are", false, find).unwrap_or_default();
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

    /// The one of [`Adapter::all`] that is `wanted`: digits are an index into it, and anything else is a part of its name, in any case.
    /// Without it `WGPU_ADAPTER_NAME` counts, and without that the first is taken.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] with the names of those that are there when it is none of them, or more than one.
    pub async fn find(wanted: Option<&str>) -> Result<Adapter> {
        let named = std::env::var("WGPU_ADAPTER_NAME").ok().filter(|name| !name.is_empty());
        let wanted = wanted.map(str::to_owned).or(named);
        let mut adapters = Adapter::all().await;
        let names: Vec<&str> = adapters.iter().map(|adapter| adapter.name.as_str()).collect();
        match choose(wanted.as_deref(), &names) {
            Some(index) => Ok(adapters.swap_remove(index)),
            None => Err(Error::NoAdapter { wanted, found: numbered(&names) }),
        }
    }

    /// The adapter that a run was trained on, by its name and driver, and how many there are that cannot be told from it.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] when none has its name.
    pub async fn find_again(name: &str, driver: &str) -> Result<(Adapter, usize)> {
        let mut adapters = Adapter::all().await;
        let with =
            |has: &dyn Fn(&Adapter) -> bool| -> Vec<usize> { (0..adapters.len()).filter(|&i| has(&adapters[i])).collect() };
        let same = with(&|adapter| adapter.name == name && adapter.driver == driver);
        let named = with(&|adapter| adapter.name == name);
        let found = if same.is_empty() { named } else { same };
        match found.first() {
            Some(&first) => Ok((adapters.swap_remove(first), found.len())),
            None => {
                let names: Vec<&str> = adapters.iter().map(|adapter| adapter.name.as_str()).collect();
                Err(Error::NoAdapter { wanted: Some(name.into()), found: numbered(&names) })
            }
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

/// The place of the adapter that is wanted, if it is one and no more.
fn choose(wanted: Option<&str>, names: &[&str]) -> Option<usize> {
    let Some(wanted) = wanted else { return (!names.is_empty()).then_some(0) };
    if wanted.bytes().all(|byte| byte.is_ascii_digit()) {
        return wanted.parse().ok().filter(|&index| index < names.len());
    }
    let wanted = wanted.to_lowercase();
    let mut fitting = (0..names.len()).filter(|&i| names[i].to_lowercase().contains(&wanted));
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

/// Names with their indices, for a message.
fn numbered(names: &[&str]) -> Vec<String> {
    names.iter().enumerate().map(|(index, name)| format!("{index}: {name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_an_index_and_a_name_is_of_one_adapter() {
        let names = ["RTX 5090", "Arc A770", "RTX 5090", "llvmpipe (LLVM 15.0.6, 256 bits)"];
        for (wanted, expected) in [
            (None, Some(0)),
            (Some("2"), Some(2)),
            (Some("4"), None),
            (Some("5"), None),
            (Some("256"), None),
            (Some("99999999999999999999999"), None),
            (Some("arc"), Some(1)),
            (Some("LLVM 15"), Some(3)),
            (Some("rtx"), None),
            (Some("radeon"), None),
        ] {
            assert_eq!(choose(wanted, &names), expected, "{wanted:?}");
        }
        assert_eq!(choose(None, &[]), None);
    }
}
