//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// A file whose place holds the old contents until it is complete, whatever interrupts: it is written beside it, flushed to the disk and
/// renamed. What is never completed is removed.
///
/// A link is followed. What is not a plain file (`/dev/null`, a pipe) is written directly: renaming would replace it.
#[derive(Debug)]
pub struct WholeFile {
    /// As it was named, for messages.
    path: PathBuf,
    target: PathBuf,
    /// Where it is written, unless directly.
    beside: Option<PathBuf>,
    file: BufWriter<File>,
}

impl WholeFile {
    /// Begins a file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(path: &Path) -> Result<WholeFile> {
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        let beside = (!target.exists() || target.is_file()).then(|| {
            let mut name = target.file_name().unwrap_or_default().to_os_string();
            name.push(format!(".{}.part", std::process::id()));
            target.with_file_name(name)
        });
        let file = File::create(beside.as_ref().unwrap_or(&target)).map_err(|e| Error::io(path, e))?;
        Ok(WholeFile { path: path.into(), target, beside, file: BufWriter::with_capacity(1 << 18, file) })
    }

    /// Puts it in its place.
    ///
    /// # Errors
    /// [`Error::Io`]; nothing is left behind.
    pub fn complete(mut self) -> Result<()> {
        self.put().map_err(|e| Error::io(&self.path, e))
    }

    fn put(&mut self) -> io::Result<()> {
        self.file.flush()?;
        if let Some(beside) = &self.beside {
            self.file.get_ref().sync_all()?;
            fs::rename(beside, &self.target)?;
            self.beside = None;
        }
        Ok(())
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            let _ = fs::remove_file(beside);
        }
    }
}

/// Writes a [`WholeFile`].
///
/// # Errors
/// [`Error::Io`]; nothing is left behind.
pub(crate) fn write_whole(path: &Path, contents: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let mut file = WholeFile::create(path)?;
    contents(&mut file).map_err(|e| Error::io(path, e))?;
    file.complete()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        write_whole(&path, |f| f.write_all(b"old")).unwrap();
        let error = write_whole(&path, |f| f.write_all(b"ne").and_then(|()| Err(io::Error::other("no space")))).unwrap_err();
        assert_eq!((error.to_string(), error.exit_code()), (format!("{}: no space", path.display()), 1));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

        for no_file in [folder.path().into(), folder.path().join("missing/x"), folder.path().join("x/y")] {
            assert_eq!(write_whole(&no_file, |f| f.write_all(b"new")).unwrap_err().exit_code(), 1, "{}", no_file.display());
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_devices_kept() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link, null] = ["file", "link", "null"].map(|name| folder.path().join(name));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        std::os::unix::fs::symlink("/dev/null", &null).unwrap();
        write_whole(&link, |f| f.write_all(b"new")).unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
        write_whole(&null, |f| f.write_all(b"gone")).unwrap();
        assert!(null.is_symlink());
        assert!(!Path::new("/dev/null").is_file());
    }
}
