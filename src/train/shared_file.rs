//! A file of rank 0 where the others have none.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::Checkpoint;
use crate::{Error, Result};

/// Bytes that are sent at a time.
const BLOCK: u64 = 1 << 26;

/// A file that rank 0 has: there itself, and elsewhere a copy in the folder for temporary files, which goes with this.
#[derive(Debug)]
pub struct SharedFile {
    path: PathBuf,
    is_copy: bool,
}

impl SharedFile {
    /// Sends the file of rank 0, or receives it: all ranks call this. `broadcast` is that of their [`crate::ranks::Collective`].
    ///
    /// # Errors
    /// [`Error::Io`]; what `broadcast` reports.
    fn new(path: &Path, is_first: bool, mut broadcast: impl FnMut(Vec<u8>) -> Result<Vec<u8>>) -> Result<SharedFile> {
        if !is_first {
            return SharedFile::receive(&mut broadcast);
        }
        let failed = |e| Error::io(path, e);
        let mut file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        broadcast(len.to_le_bytes().to_vec())?;
        for start in (0..len).step_by(BLOCK as usize) {
            let mut block = vec![0; BLOCK.min(len - start) as usize];
            file.read_exact(&mut block).map_err(failed)?;
            broadcast(block)?;
        }
        Ok(SharedFile { path: path.into(), is_copy: false })
    }

    fn receive(broadcast: &mut dyn FnMut(Vec<u8>) -> Result<Vec<u8>>) -> Result<SharedFile> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("retrospect-{}-{number}.safetensors", std::process::id()));
        let failed = |e| Error::io(&path, e);
        let len: [u8; 8] = broadcast(Vec::new())?.try_into().expect("a length");
        let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(failed)?;
        let copy = SharedFile { path: path.clone(), is_copy: true };
        for _ in (0..u64::from_le_bytes(len)).step_by(BLOCK as usize) {
            file.write_all(&broadcast(Vec::new())?).map_err(failed)?;
        }
        Ok(copy)
    }

    /// Where it is.
    #[must_use]
    fn path(&self) -> &Path {
        &self.path
    }
}

/// The checkpoint that rank 0 has read from a path, for all of so many ranks; `own` is `None` on the others, and `broadcast` that of their
/// [`crate::ranks::Collective`]. Where it is a copy, it is there as long as what comes with it.
///
/// # Errors
/// Those of [`Checkpoint::read`], of writing the copy, and of `broadcast`.
pub fn share_checkpoint(
    own: Option<(Checkpoint, PathBuf)>,
    ranks: usize,
    broadcast: impl FnMut(Vec<u8>) -> Result<Vec<u8>>,
) -> Result<(Checkpoint, Option<SharedFile>)> {
    match own {
        Some((checkpoint, _)) if ranks == 1 => Ok((checkpoint, None)),
        Some((checkpoint, path)) => Ok((checkpoint, Some(SharedFile::new(&path, true, broadcast)?))),
        None => {
            let file = SharedFile::new(Path::new(""), false, broadcast)?;
            Ok((Checkpoint::read(file.path())?, Some(file)))
        }
    }
}

impl Drop for SharedFile {
    fn drop(&mut self) {
        if self.is_copy {
            let _ = fs::remove_file(&self.path);
        }
    }
}
