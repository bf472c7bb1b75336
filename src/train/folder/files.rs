//! The files in a run's folder: their names, those that are unfinished, and the checkpoint before the last.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::whole_file::{WholeFile, expect_plain, is_part_of};
use crate::{Error, Result};

pub(super) const METRICS: &str = "metrics.jsonl";
pub(super) const CHECKPOINT: &str = "checkpoint.safetensors";
/// The last checkpoint from before a loss exploded.
pub(super) const BEFORE_EXPLOSION: &str = "checkpoint.before.safetensors";
/// What early versions wrote before they renamed it.
pub(super) const UNFINISHED: &str = "checkpoint.new.safetensors";
/// Where a traced step keeps large weights.
pub(in crate::train) const SPILLED: &str = "traced.part";
/// What a run writes in its folder.
pub(super) const FILES: [&str; 12] = [
    METRICS,
    UNFINISHED,
    SPILLED,
    "run.toml",
    CHECKPOINT,
    BEFORE_EXPLOSION,
    "checkpoint.previous.safetensors",
    "best.safetensors",
    "best.previous.safetensors",
    "metrics.csv",
    "loss.svg",
    "gradients.svg",
];

/// Removes the files that some process began in a folder and did not finish. Whoever has the lock knows that it is dead.
pub(super) fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let is_unfinished = FILES.iter().any(|file| is_part_of(name, file)) || [UNFINISHED, SPILLED].contains(&name);
        if is_unfinished {
            // What cannot be removed is in nobody's way.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// Keeps the last checkpoint, if there is one, as the one before: as a second name of the file, or as a copy where there are no hard links.
pub(super) fn keep(last: &Path, previous: &Path) -> Result<()> {
    if !last.exists() {
        return Ok(());
    }
    expect_plain(previous)?;
    match fs::remove_file(previous) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::io(previous, e)),
        _ => {}
    }
    if fs::hard_link(last, previous).is_ok() {
        return Ok(());
    }
    let mut copy = WholeFile::create_plain(previous)?;
    File::open(last).and_then(|mut last| io::copy(&mut last, &mut copy)).map_err(|e| Error::io(previous, e))?;
    copy.complete()
}
