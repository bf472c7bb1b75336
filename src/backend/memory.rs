//! How much memory the machine has left, before an allocation fails, or worse, succeeds.

use sysinfo::{MemoryRefreshKind, System};

/// Bytes of memory available, where the system tells; in a container with a limit what is left of that.
pub(super) fn available() -> Option<u64> {
    let mut system = System::new();
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    // Without the page cache, which the limit counts and the system gives back.
    let group = system.cgroup_limits().map(|limits| limits.total_memory.saturating_sub(limits.rss));
    let machine = Some(system.available_memory()).filter(|&bytes| bytes > 0);
    [machine, group].into_iter().flatten().min()
}
