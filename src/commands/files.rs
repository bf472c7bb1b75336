//! The files of a command line: named in errors, and not overwritten while they are read.

use std::path::Path;

use retrospect::{Error, Result};

use super::terminal::note;

/// Names the file as well as the tensor, where the error does not yet.
pub fn in_file(path: &Path, error: Error) -> Error {
    let file = path.display().to_string();
    match error {
        Error::BadInput { what, problem } if !what.starts_with(&file) => {
            Error::BadInput { what: format!("{file}: {what}"), problem }
        }
        other => other,
    }
}

/// Refuses a pipe where it would be read a second time and waited for without end.
///
/// # Errors
/// [`Error::BadInput`].
pub fn expect_no_pipe(path: &Path, why: &str) -> Result<()> {
    if !path.exists() || path.is_file() || path.is_dir() {
        return Ok(());
    }
    Err(Error::BadInput { what: path.display().to_string(), problem: format!("is not a plain file, and {why}") })
}

/// Refuses a name that JSON, which is to be printed, cannot hold.
///
/// # Errors
/// [`Error::Usage`].
pub fn expect_utf8(path: &Path) -> Result<()> {
    match path.to_str() {
        Some(_) => Ok(()),
        None => Err(Error::Usage(format!("{}: --json prints this name, and names in JSON are UTF-8", path.display()))),
    }
}

/// Says that a pipe is read: that waits for who writes it.
pub fn note_pipe(path: &Path) {
    if path.exists() && !path.is_file() && !path.is_dir() {
        note(format_args!("Reading {}, which is not a plain file, until it ends.", path.display()));
    }
}

/// Refuses to write a file that is one of those that are read, by whatever name.
///
/// # Errors
/// [`Error::Usage`] with the flag that names it.
pub fn refuse_overwrite<'a>(flag: &str, out: &Path, inputs: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    let Ok(out) = out.canonicalize() else { return Ok(()) };
    match inputs.into_iter().find(|path| path.canonicalize().is_ok_and(|path| path == out)) {
        Some(path) => Err(Error::Usage(format!("{flag} would overwrite {}", path.display()))),
        None => Ok(()),
    }
}
