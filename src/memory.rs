//! How much memory the machine has left, before an allocation fails, or worse, succeeds.

use sysinfo::{MemoryRefreshKind, System};

use crate::{Error, Result};

/// Bytes of memory available, where the system tells; in a container with a limit what is left of that.
fn available() -> Option<u64> {
    let mut system = System::new();
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    // Without the page cache, which the limit counts and the system gives back.
    let group = system.cgroup_limits().map(|limits| limits.total_memory.saturating_sub(limits.rss));
    let machine = Some(system.available_memory()).filter(|&bytes| bytes > 0);
    [machine, group].into_iter().flatten().min()
}

/// Whether there are so many bytes of memory for something.
///
/// # Errors
/// [`Error::DoesNotFit`] when there are not.
pub(crate) fn check_memory(what: &str, needed: u64) -> Result<()> {
    check_memory_or(what, needed, |_| "a smaller hidden size, batch or window would fit".into())
}

/// The same, with advice that follows from what there is.
///
/// # Errors
/// [`Error::DoesNotFit`] when there are not.
pub fn check_memory_or(what: &str, needed: u64, advice: impl FnOnce(u64) -> String) -> Result<()> {
    match available() {
        Some(available) if needed > available => {
            Err(Error::DoesNotFit { what: what.into(), needed, available, advice: advice(available) })
        }
        _ => Ok(()),
    }
}
