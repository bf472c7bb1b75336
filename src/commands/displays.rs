//! Drivers that look for a display where there is none.

/// Keeps Mesa's layer that chooses a GPU from asking for a display, which it complains about on standard error where there is none (`error:
/// XDG_RUNTIME_DIR is invalid or not set in the environment`). It is left alone where there may be a display, and where the environment tells it
/// which GPU to choose.
///
/// The layer reads the environment alone, and a process cannot change its own safely. So the program takes its own place, once, with the
/// variable set. Where that fails it goes on without.
#[cfg(target_os = "linux")]
pub fn expect_none() {
    use std::env::{args_os, current_exe, var_os};
    use std::os::unix::process::CommandExt;
    use std::path::Path;
    use std::process::Command;

    const TOLD: [&str; 5] = ["XDG_RUNTIME_DIR", "DISPLAY", "DRI_PRIME", "MESA_VK_DEVICE_SELECT", "NODEVICE_SELECT"];
    if TOLD.iter().any(|name| var_os(name).is_some()) {
        return;
    }
    let mut arguments = args_os();
    let (Some(name), Ok(program)) = (arguments.next(), current_exe()) else { return };
    // A loader that was started with the program as its argument has another name.
    if Path::new(&name).file_name() == program.file_name() {
        let _ = Command::new(program).arg0(name).args(arguments).env("NODEVICE_SELECT", "1").exec();
    }
}

/// There is no such layer elsewhere.
#[cfg(not(target_os = "linux"))]
pub fn expect_none() {}
