//! How much memory the machine has left, before an allocation fails, or worse, succeeds.

mod groups;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sysinfo::{MemoryRefreshKind, System};

use crate::{Error, Result};

/// Bytes of memory available, where the system tells; with limits of control groups, such as a container's, what is left of the lowest, and
/// under a limit of the process (`ulimit -v`) what is left of that.
fn available() -> Option<u64> {
    let mut system = System::new();
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let machine = Some(system.available_memory()).filter(|&bytes| bytes > 0);
    [machine, groups::available(Path::new("/")), addresses()].into_iter().flatten().min()
}

/// Bytes of addresses that the C library takes for each thread that asks it for memory, if they are there.
#[cfg(unix)]
const ARENA: u64 = 64 << 20;
/// Bytes that a run takes besides what is asked for here: its code, stacks, blocks of tensors on their way.
#[cfg(unix)]
const BESIDES: u64 = 32 << 20;

/// Bytes that may be asked for under the process's own limit, if it has one: what is left with room for threads and all else, and where that
/// is nothing a quarter, since small networks run with little.
#[cfg(unix)]
fn addresses() -> Option<u64> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::As).current?;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let size =
        status.lines().find_map(|line| line.strip_prefix("VmSize:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    let left = limit.saturating_sub(size.unwrap_or(0) * 1024);
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64 + 2;
    Some(left.saturating_sub(threads * ARENA + BESIDES).max(left / 4))
}

#[cfg(not(unix))]
fn addresses() -> Option<u64> {
    None
}

/// Reads a file to its end, with room for its bytes that is asked for and not taken for granted; of a pipe, whose end is not known, as it
/// comes.
///
/// # Errors
/// [`Error::DoesNotFit`] when there is not so much memory; [`Error::BadInput`] when it cannot be read.
pub(crate) fn read_whole(path: &Path, advice: &str) -> Result<Vec<u8>> {
    let what = path.display().to_string();
    let unread = |e| Error::input(&what, format!("cannot be read: {e}"));
    let mut file = File::open(path).map_err(unread)?;
    let about = file.metadata().map_err(unread)?;
    let size = if about.is_file() { about.len() } else { 0 };
    check_memory_or(&what, size, |_| advice.into())?;
    let mut bytes = with_room(&what, size, advice)?;
    file.read_to_end(&mut bytes).map_err(unread)?;
    Ok(bytes)
}

/// A list with room for so many elements, which the system may refuse.
///
/// # Errors
/// [`Error::DoesNotFit`].
pub(crate) fn with_room<T>(what: &str, count: u64, advice: &str) -> Result<Vec<T>> {
    let mut list = Vec::new();
    let room = usize::try_from(count).ok().and_then(|count| list.try_reserve_exact(count).ok());
    room.map(|()| list).ok_or_else(|| Error::DoesNotFit {
        what: what.into(),
        needed: count.saturating_mul(size_of::<T>() as u64),
        available: available().unwrap_or(0),
        advice: advice.into(),
    })
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
