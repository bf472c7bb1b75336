//! Signals that ask a training run to end: it ends after its step, with a checkpoint.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::terminal::note;

/// Whether the run was asked to end.
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from here on: to Ctrl-C, and on Unix to SIGTERM and SIGHUP too, but for signals that were ignored when the program began.
    pub fn listen() -> Interrupt {
        Interrupt::listen_for(Arc::default())
    }

    /// The same, which sets `asked`.
    pub fn listen_for(asked: Arc<AtomicBool>) -> Interrupt {
        if let Err(error) = listen(Arc::clone(&asked)) {
            note(format_args!("A signal will end this run without a checkpoint: {error}"));
        }
        Interrupt(asked)
    }

    /// Whether it was asked to end.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether somebody sits at a terminal and can press Ctrl-C again.
fn is_at_terminal() -> bool {
    io::stdin().is_terminal() || io::stderr().is_terminal()
}

/// Asks. The second Ctrl-C ends the program at once; other signals, which a system sends twice, do not.
fn ask(asked: &AtomicBool, is_ctrl_c: bool, end: fn() -> !) {
    let is_second = asked.swap(true, Ordering::Relaxed);
    match (is_second, is_at_terminal()) {
        (true, true) if is_ctrl_c => end(),
        (true, _) => {}
        (false, true) => note("\nStopping after this step, with a checkpoint. Ctrl-C again stops at once."),
        (false, false) => note("\nStopping after this step, with a checkpoint."),
    }
}

#[cfg(unix)]
fn listen(asked: Arc<AtomicBool>) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    let ignored = ignored();
    let heard: Vec<i32> = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0).collect();
    let mut signals = Signals::new(&heard)?;
    let flag = Arc::clone(&asked);
    let thread = std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in &mut signals {
            ask(&flag, signal == SIGINT, || signal_hook::low_level::exit(130));
        }
    });
    if thread.is_err() {
        // Without a thread nothing is said and nothing ends at once, but the run still ends with a checkpoint.
        heard.iter().try_for_each(|&signal| signal_hook::flag::register(signal, Arc::clone(&asked)).map(|_| ()))?;
    }
    Ok(())
}

/// The signals that are ignored, a bit each: `nohup` does so with SIGHUP, and a shell without job control with SIGINT in the background.
/// Other systems than Linux do not tell without calls that Rust does not know to be safe; there it is none.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(not(unix))]
fn listen(asked: Arc<AtomicBool>) -> io::Result<()> {
    ctrlc::set_handler(move || ask(&asked, true, || std::process::exit(130))).map_err(io::Error::other)
}
