//! The files of a command line: named in errors, and not overwritten while they are read.

use std::path::Path;

use retrospect::{Error, Result};

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
