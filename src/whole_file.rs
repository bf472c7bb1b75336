//! Files that appear whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// A file whose place holds the old contents until it is complete, whatever interrupts: it is written beside it, flushed to the disk and
/// renamed. What is never completed is removed.
///
/// What is not a plain file (`/dev/null`, a pipe) is written directly: renaming would replace it.
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
    /// Begins a file at a place that the user named. A link is followed.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(path: &Path) -> Result<WholeFile> {
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        let beside = (!target.exists() || target.is_file()).then(|| beside(&target));
        WholeFile::begin(path, target, beside)
    }

    /// Begins a file in a folder that others may have filled: a link there could lead to any file, and is not followed.
    ///
    /// # Errors
    /// [`Error::BadInput`] if something is there that is not a plain file; [`Error::Io`].
    pub fn create_plain(path: &Path) -> Result<WholeFile> {
        expect_plain(path)?;
        WholeFile::begin(path, path.into(), Some(beside(path)))
    }

    fn begin(path: &Path, target: PathBuf, beside: Option<PathBuf>) -> Result<WholeFile> {
        let file = match &beside {
            // What a dead process of the same number left there goes, be it a link; a new file follows none.
            Some(beside) => match OpenOptions::new().write(true).create_new(true).open(beside) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                    fs::remove_file(beside).and_then(|()| OpenOptions::new().write(true).create_new(true).open(beside))
                }
                opened => opened,
            },
            None => File::create(&target),
        };
        let file = file.map_err(|e| Error::io(path, e))?;
        Ok(WholeFile { path: path.into(), target, beside, file: BufWriter::with_capacity(1 << 18, file) })
    }

    /// Its place, as it was named.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it in its place.
    ///
    /// # Errors
    /// [`Error::Io`]; nothing is left behind.
    pub fn complete(self) -> Result<()> {
        self.complete_after(|| Ok(()))
    }

    /// The same, and does something else when all of it is on the disk, before it replaces the old file.
    ///
    /// # Errors
    /// What `before` reports; [`Error::Io`]; nothing is left behind.
    pub(crate) fn complete_after(mut self, before: impl FnOnce() -> Result<()>) -> Result<()> {
        let written = self.file.flush().and_then(|()| match self.beside {
            Some(_) => self.file.get_ref().sync_all(),
            None => Ok(()),
        });
        written.map_err(|e| Error::io(&self.path, e))?;
        before()?;
        if let Some(beside) = &self.beside {
            fs::rename(beside, &self.target).map_err(|e| Error::io(&self.path, e))?;
            self.beside = None;
            sync_folder_of(&self.target).map_err(|e| Error::io(&self.path, e))?;
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

impl Seek for WholeFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            let _ = fs::remove_file(beside);
        }
    }
}

/// Where a file is written before it is complete.
fn beside(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}{PART}", std::process::id()));
    target.with_file_name(name)
}

const PART: &str = ".part";

/// Whether a name is that under which some process began to write the file of another name.
pub(crate) fn is_part_of(name: &str, file: &str) -> bool {
    let process = name.strip_prefix(file).and_then(|rest| rest.strip_prefix('.')?.strip_suffix(PART));
    process.is_some_and(|process| !process.is_empty() && process.bytes().all(|b| b.is_ascii_digit()))
}

/// Refuses what is no plain file, links to one included; nothing at all is right.
///
/// # Errors
/// [`Error::BadInput`]; [`Error::Io`].
pub(crate) fn expect_plain(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(about) if about.is_file() => Ok(()),
        Ok(about) if about.is_symlink() => {
            Err(Error::input(path.display(), "is a symbolic link; none in a run's folder is followed when a run is written"))
        }
        Ok(_) => Err(Error::input(path.display(), "is not a plain file, and a run writes there")),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io(path, e)),
    }
}

/// Flushes the names in the folder of a file to the disk, where the system can: then a rename outlasts a loss of power.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Some file systems do not know this, and some folders cannot be read.
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(e) if !matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::PermissionDenied) => Err(e),
        _ => Ok(()),
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

    /// Neither at the place itself nor where it is written first.
    #[cfg(unix)]
    #[test]
    fn in_a_foreign_folder_no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let [file, other, link] = ["file", "other", "link"].map(|name| folder.path().join(name));
        fs::write(&other, "mine").unwrap();
        std::os::unix::fs::symlink(&other, &link).unwrap();
        std::os::unix::fs::symlink(&other, beside(&file)).unwrap();
        let error = WholeFile::create_plain(&link).unwrap_err();
        assert!(error.exit_code() == 7 && error.to_string().contains("link: is a symbolic link"), "{error}");
        assert_eq!(WholeFile::create_plain(folder.path()).unwrap_err().exit_code(), 7);

        let mut whole = WholeFile::create_plain(&file).unwrap();
        whole.write_all(b"new").unwrap();
        whole.complete().unwrap();
        assert_eq!([&file, &other].map(|path| fs::read_to_string(path).unwrap()), ["new", "mine"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn names_of_unfinished_files() {
        let cases = [
            ("x.svg.17.part", true),
            ("x.svg.part", false),
            ("x.svg..part", false),
            ("x.svg.a.part", false),
            ("x.svg", false),
            ("y.svg.17.part", false),
        ];
        cases.iter().for_each(|&(name, expected)| assert_eq!(is_part_of(name, "x.svg"), expected, "{name}"));
    }
}
