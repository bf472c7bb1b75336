//! What becomes of the program when a driver does not answer, or has failed: it ends without a call to it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use retrospect::Error;
use retrospect::backend::gpu;

use super::terminal::{error, note};

/// The last checkpoint of the run, if there is one.
static CHECKPOINT: Mutex<Option<PathBuf>> = Mutex::new(None);

/// How the program is started again to go on with its run, if that is asked for.
static AGAIN: Mutex<Option<Vec<OsString>>> = Mutex::new(None);

/// Watches from here on that the driver answers in time, and ends the program where it does not.
pub fn begin(limit: Duration) {
    let watched = gpu::watch(limit, |what| {
        let checkpoint = CHECKPOINT.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let silence = Error::DeviceLost { reason: gpu::unanswered(what), checkpoint };
        error(&silence);
        if matches!(silence, Error::DeviceLost { checkpoint: Some(_), .. }) {
            start_again();
        }
        leave(silence.exit_code());
    });
    if let Err(error) = watched {
        note(format_args!("A driver that does not answer will not be noticed everywhere: {error}"));
    }
}

/// Notes the last checkpoint, which a message about the driver names.
pub fn saved(checkpoint: &Path) {
    *CHECKPOINT.lock().unwrap_or_else(PoisonError::into_inner) = Some(checkpoint.to_owned());
}

/// Sets the arguments with which the program is started again after a call that did not come back; `None`: it is not.
pub fn arm(arguments: Option<Vec<OsString>>) {
    *AGAIN.lock().unwrap_or_else(PoisonError::into_inner) = arguments;
}

/// Puts the program, with the arguments that it was armed with, in the place of this process, whose thread in the driver cannot be ended
/// otherwise.
#[cfg(unix)]
fn start_again() {
    use std::os::unix::process::CommandExt;

    let Some(arguments) = AGAIN.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    note("The program is started again to go on with the run.");
    let failed = std::env::current_exe().map(|program| std::process::Command::new(program).args(arguments).exec());
    note(format_args!("It cannot be started: {}", failed.unwrap_or_else(|error| error)));
}

/// Only Unix puts a program in the place of another.
#[cfg(not(unix))]
fn start_again() {}

/// Ends the program at once. What a driver does at a usual end may crash, or take for ever, where it has failed before.
pub fn leave(code: u8) -> ! {
    #[cfg(unix)]
    signal_hook::low_level::exit(code.into());
    #[cfg(not(unix))]
    std::process::exit(code.into())
}
