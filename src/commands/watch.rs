//! What becomes of the program when a driver does not answer, or has failed: it ends without a call to it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use retrospect::Error;
use retrospect::backend::gpu;

use super::terminal::{error, note};

/// The last checkpoint of the run, if there is one.
static CHECKPOINT: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Watches from here on that the driver answers in time, and ends the program where it does not.
pub fn begin(limit: Duration) {
    let watched = gpu::watch(limit, |what| {
        let checkpoint = CHECKPOINT.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let silence = Error::DeviceLost { reason: gpu::unanswered(what), checkpoint };
        error(&silence);
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

/// Ends the program at once. What a driver does at a usual end may crash, or take for ever, where it has failed before.
pub fn leave(code: u8) -> ! {
    #[cfg(unix)]
    signal_hook::low_level::exit(code.into());
    #[cfg(not(unix))]
    std::process::exit(code.into())
}
