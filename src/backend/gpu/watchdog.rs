//! A watchdog for drivers that never answer. Waits for the device end by themselves; a call of wgpu that does not return cannot be ended, so
//! somebody is told of it, who ends the process.
//!
//! The time of a call is what the watchdog sees pass: it looks often, and from one look to the next a short time counts at most. So a process
//! that was stopped, or whose machine slept, has not waited. A software adapter computes inside this process: there, time in which the process
//! uses the processor counts a tenth, since it may be the work itself.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// How long the device may take to answer, where nothing else is asked for.
pub const DEVICE_TIMEOUT: Duration = Duration::from_secs(120);

/// Milliseconds that the device may take to answer.
static LIMIT: AtomicU64 = AtomicU64::new(DEVICE_TIMEOUT.as_millis() as u64);

/// Whether somebody watches.
static IS_WATCHED: AtomicBool = AtomicBool::new(false);

/// The calls of wgpu that are under way.
static CALLS: Mutex<Calls> = Mutex::new(Calls { next: 0, under_way: BTreeMap::new() });

thread_local! {
    /// The innermost call of this thread.
    static INNERMOST: Cell<Option<u64>> = const { Cell::new(None) };
}

#[derive(Default)]
struct Calls {
    next: u64,
    under_way: BTreeMap<u64, Call>,
}

/// A call that is under way.
struct Call {
    what: String,
    is_software: bool,
    /// Whether it is inside another call now, which is the one that takes its time.
    is_outer: bool,
    spent: Duration,
}

fn calls() -> MutexGuard<'static, Calls> {
    CALLS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long the device may take to answer.
pub(super) fn limit() -> Duration {
    Duration::from_millis(LIMIT.load(Ordering::Relaxed))
}

/// The time between two looks.
fn interval(limit: Duration) -> Duration {
    (limit / 20).clamp(Duration::from_millis(5), Duration::from_secs(1))
}

/// Sets how long the device may take to answer, and watches all calls of wgpu from here on: `tell` is called, on a thread of its own, with what
/// was asked of the driver and has not come back in that time. The thread that called cannot be helped, so `tell` should end the process,
/// without dropping anything of wgpu. Waits end with [`Error::DeviceLost`] after that time without it. Only the first `tell` counts.
///
/// # Errors
/// [`Error::Io`] when there is no thread for it. The time counts all the same.
pub fn watch(limit: Duration, tell: impl Fn(&str) + Send + 'static) -> Result<()> {
    LIMIT.store(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
    if IS_WATCHED.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let thread = std::thread::Builder::new().name("watchdog".into()).spawn(move || {
        let mut clock = Clock::new();
        loop {
            std::thread::sleep(interval(self::limit()));
            if let Some(what) = look(&mut clock) {
                tell(&what);
            }
        }
    });
    thread.map(drop).map_err(|source| {
        IS_WATCHED.store(false, Ordering::Relaxed);
        Error::io("the watchdog of the device", source)
    })
}

/// Counts the time since the last look; a call that took too long, if there is one, which counts anew from here on.
fn look(clock: &mut Clock) -> Option<String> {
    let limit = limit();
    let passed = clock.pass(2 * interval(limit));
    let mut calls = calls();
    let waiting = calls.under_way.values_mut().filter(|call| !call.is_outer);
    let mut late = None;
    for call in waiting {
        call.spent += passed.counted(call.is_software);
        // A wait that ends by itself is to end first.
        if call.spent > limit + 2 * interval(limit) {
            call.spent = Duration::ZERO;
            late = Some(call.what.clone());
        }
    }
    late
}

/// What passed between two looks.
#[derive(Debug, Clone, Copy)]
struct Passed {
    time: Duration,
    /// Whether the process used the processor for half of it.
    is_busy: bool,
}

impl Passed {
    /// What counts of it.
    fn counted(self, is_software: bool) -> Duration {
        if is_software && self.is_busy { self.time / 10 } else { self.time }
    }
}

/// Time and work of this process.
struct Clock {
    looked: Instant,
    worked: Option<Duration>,
}

impl Clock {
    fn new() -> Clock {
        Clock { looked: Instant::now(), worked: processor_time() }
    }

    /// What passed since the last look, or the making; of the time at most so much.
    fn pass(&mut self, most: Duration) -> Passed {
        let now = Clock::new();
        let time = now.looked.duration_since(self.looked).min(most);
        let worked = now.worked.zip(self.worked).map(|(now, before)| now.saturating_sub(before));
        *self = now;
        Passed { time, is_busy: worked.is_some_and(|worked| worked >= time / 2) }
    }
}

/// The processor time of all threads of this process, where the system tells.
fn processor_time() -> Option<Duration> {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
    }
    #[cfg(not(unix))]
    None
}

/// The time that a wait has taken.
pub(super) struct Patience {
    clock: Clock,
    is_software: bool,
    spent: Duration,
}

impl Patience {
    pub fn new(is_software: bool) -> Patience {
        Patience { clock: Clock::new(), is_software, spent: Duration::ZERO }
    }

    /// How long to wait before the next look.
    pub fn slice() -> Duration {
        interval(limit())
    }

    /// Counts the time since the last look; whether it is too much.
    pub fn is_at_end(&mut self) -> bool {
        self.spent += self.clock.pass(2 * Patience::slice()).counted(self.is_software);
        self.spent >= limit()
    }
}

/// A call of wgpu, under the watchdog's eyes for as long as this is there.
pub(super) struct Watched {
    number: u64,
    outer: Option<u64>,
}

impl Watched {
    /// What is asked of the driver, in words that follow "no answer for 120 s to …".
    pub fn begin(what: &str, is_software: bool) -> Watched {
        let mut calls = calls();
        let number = calls.next;
        calls.next += 1;
        calls.under_way.insert(number, Call { what: what.into(), is_software, is_outer: false, spent: Duration::ZERO });
        let outer = INNERMOST.replace(Some(number));
        if let Some(outer) = outer.and_then(|outer| calls.under_way.get_mut(&outer)) {
            outer.is_outer = true;
        }
        Watched { number, outer }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        INNERMOST.set(self.outer);
        let mut calls = calls();
        calls.under_way.remove(&self.number);
        if let Some(outer) = self.outer.and_then(|outer| calls.under_way.get_mut(&outer)) {
            (outer.is_outer, outer.spent) = (false, Duration::ZERO);
        }
    }
}

/// Notes that the driver has answered a part of what this thread asks of it now.
pub(super) fn answered() {
    let Some(number) = INNERMOST.get() else { return };
    if let Some(call) = calls().under_way.get_mut(&number) {
        call.spent = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_millis(40);

    #[test]
    fn a_process_that_was_stopped_has_not_waited() {
        let mut clock = Clock::new();
        std::thread::sleep(3 * MOST);
        assert_eq!(clock.pass(MOST).time, MOST);
        assert!(clock.pass(MOST).time < MOST);
    }

    #[test]
    fn work_on_a_software_adapter_counts_a_tenth() {
        let passed = |is_busy| Passed { time: MOST, is_busy };
        assert_eq!([true, false].map(|software| passed(true).counted(software)), [MOST / 10, MOST]);
        assert_eq!([true, false].map(|software| passed(false).counted(software)), [MOST, MOST]);
    }

    #[cfg(unix)]
    #[test]
    fn work_of_this_process_is_seen() {
        let mut clock = Clock::new();
        let begun = Instant::now();
        let mut sum = 0_u64;
        // As long as it takes to have worked so much, on a machine that does other things too.
        while processor_time().unwrap() < clock.worked.unwrap() + MOST {
            sum = std::hint::black_box(sum + 1);
        }
        let most = begun.elapsed().min(2 * MOST);
        assert!(clock.pass(most).is_busy && sum > 0);
    }

    /// The innermost call is the one that takes the time, and those around it have had an answer once it is back.
    #[test]
    fn of_nested_calls_the_innermost_counts() {
        let outer = Watched::begin("outer", false);
        let state = |watched: &Watched| {
            let calls = calls();
            let call = &calls.under_way[&watched.number];
            (call.what.clone(), call.is_outer, call.spent)
        };
        let wait = |watched: &Watched| calls().under_way.get_mut(&watched.number).unwrap().spent = MOST;
        wait(&outer);
        let inner = Watched::begin("inner", false);
        assert_eq!([state(&outer), state(&inner)], [("outer".into(), true, MOST), ("inner".into(), false, Duration::ZERO)]);
        wait(&inner);
        answered();
        assert_eq!(state(&inner).2, Duration::ZERO);
        drop(inner);
        assert_eq!(state(&outer), ("outer".into(), false, Duration::ZERO));
        let number = outer.number;
        drop(outer);
        assert!(!calls().under_way.contains_key(&number) && INNERMOST.get().is_none());
    }
}
