//! Drivers that look for a display where there is none.

/// Keeps Mesa's layer that chooses a GPU from asking for a display, which it complains about on standard error where there is none (`error:
/// XDG_RUNTIME_DIR is invalid or not set in the environment`). It is left alone where there may be a display, and where the environment tells it
/// which GPU to choose.
///
/// To be called before there is a second thread.
#[cfg(target_os = "linux")]
pub fn expect_none() {
    const TOLD: [&str; 5] = ["XDG_RUNTIME_DIR", "DISPLAY", "DRI_PRIME", "MESA_VK_DEVICE_SELECT", "NODEVICE_SELECT"];
    if TOLD.iter().any(|name| std::env::var_os(name).is_some()) {
        return;
    }
    // SAFETY: no other thread reads the environment, since there is none yet.
    #[expect(unsafe_code, reason = "the Vulkan loader reads this setting from nowhere else")]
    unsafe {
        std::env::set_var("NODEVICE_SELECT", "1");
    }
}

/// There is no such layer elsewhere.
#[cfg(not(target_os = "linux"))]
pub fn expect_none() {}
