//! What to do where the file of a run's data is not where it was.

use retrospect::Error;
use retrospect::data::Choice;

/// Adds advice to an error, if it is that the file of a run's data cannot be found; `{flag}` in it becomes the flag for such a file.
pub fn advise(error: Error, data: &Choice, advice: &str) -> Error {
    match (data.path(), error) {
        (Some(path), Error::BadInput { what, problem }) if !path.exists() => {
            let advice = advice.replace("{flag}", &format!("--{}", data.name()));
            Error::BadInput { what, problem: format!("{problem}; {advice}") }
        }
        (_, error) => error,
    }
}
