//! The file of choices of one adapter, driver, interface and version of this crate, with the same shaders.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::backend::Device;

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    adapter: String,
    driver: String,
    version: String,
    api: String,
    /// A hash of all shaders' texts: others have to be checked and timed again.
    shaders: String,
    /// Of each shape the variant's name. One without run-time checks is there only if it had passed its check.
    choices: BTreeMap<String, String>,
    /// Whether workgroups that wait for each other did so in vain.
    #[serde(default)]
    waited_in_vain: bool,
}

/// The file of an adapter, driver and version: readable, and another for each.
pub(super) fn file_name(device: &Device) -> PathBuf {
    let (adapter, driver) = (&device.adapter.name, &device.adapter.driver);
    let all = format!("{adapter} {driver} {}", env!("CARGO_PKG_VERSION"));
    let word = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
    let name: String = all.chars().map(word).collect();
    let words: Vec<&str> = name.split('-').filter(|word| !word.is_empty()).collect();
    format!("{}.json", words.join("-").chars().take(150).collect::<String>()).into()
}

fn shaders() -> String {
    let mut hasher = DefaultHasher::new();
    for kernel in crate::registry::kernels() {
        for variant in kernel.variants {
            (kernel.name, variant.name).hash(&mut hasher);
            variant.shaders.iter().for_each(|shader| shader.source.hash(&mut hasher));
        }
    }
    format!("{:016x}", hasher.finish())
}

/// The choices in a file; none where it is not there, damaged or of something else.
pub(super) fn read(path: &Path, device: &Device, notes: &mut Vec<String>) -> BTreeMap<String, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return BTreeMap::new(),
        Err(error) => {
            notes.push(format!("tuning: {} is not used: {error}", path.display()));
            return BTreeMap::new();
        }
    };
    match serde_json::from_str::<Kept>(&text) {
        Ok(kept) if kept.adapter == device.adapter.name && kept.driver == device.adapter.driver => {
            if kept.version == env!("CARGO_PKG_VERSION") && kept.api == device.adapter.api && kept.shaders == shaders() {
                if kept.waited_in_vain {
                    device.refuse_waiting();
                }
                return kept.choices;
            }
            let what = format!("it is of version {} on {} with shaders {}", kept.version, kept.api, kept.shaders);
            notes.push(format!("tuning: {} is not used: {what}", path.display()));
        }
        Ok(kept) => notes.push(format!("tuning: {} is not used: it is of {} ({})", path.display(), kept.adapter, kept.driver)),
        Err(error) => notes.push(format!("tuning: {} is not used: it is damaged: {error}", path.display())),
    }
    BTreeMap::new()
}

/// Writes that no workgroup is to wait for another on this adapter, and the choices that do without.
pub(super) fn refuse_waiting(path: &Path, device: &Device) -> std::io::Result<()> {
    device.refuse_waiting();
    let waiting = crate::registry::kernels().into_iter().flat_map(|kernel| kernel.variants).filter(|variant| variant.waits);
    let names: BTreeSet<&str> = waiting.map(|variant| variant.name).collect();
    let mut choices = read(path, device, &mut Vec::new());
    choices.retain(|_, name| !names.contains(name.as_str()));
    write(path, device, choices)
}

/// Writes the choices, whole or not at all.
pub(super) fn write(path: &Path, device: &Device, choices: BTreeMap<String, String>) -> std::io::Result<()> {
    let adapter = &device.adapter;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let (name, driver, api) = (adapter.name.clone(), adapter.driver.clone(), adapter.api.clone());
    let kept =
        Kept { adapter: name, driver, version, api, shaders: shaders(), choices, waited_in_vain: device.has_waited_in_vain() };
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let text = serde_json::to_string_pretty(&kept).expect("strings and maps of them");
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}
