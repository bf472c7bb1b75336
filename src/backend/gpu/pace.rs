//! How much work a submission may hold: about 60 ms of it, by the times that finished ones took. Windows resets a GPU
//! after 2 s in one submission, and a display hangs long before.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const AIM: Duration = Duration::from_millis(60);

/// Measures what a device does in a second, in units of work (operations), from submissions as they finish. It decides
/// where submissions are cut and nothing else: results do not depend on it.
pub(super) struct Pace {
    state: Arc<Mutex<State>>,
}

struct State {
    per_second: f64,
    finished: Instant,
}

impl Pace {
    /// A guess to start from, on the slow side.
    pub(super) fn new(hardware: bool) -> Pace {
        let per_second = if hardware { 5e10 } else { 5e9 };
        Pace { state: Arc::new(Mutex::new(State { per_second, finished: Instant::now() })) }
    }

    /// The work that a submission may hold.
    pub(super) fn budget(&self) -> f64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).per_second * AIM.as_secs_f64()
    }

    /// Notes that work was submitted, and learns from when it is done. What is seen late looks slow, and one that is
    /// seen together with others looks fast, so the estimate moves at most by half.
    pub(super) fn submitted(&self, queue: &wgpu::Queue, work: f64) {
        let (state, start) = (Arc::clone(&self.state), Instant::now());
        queue.on_submitted_work_done(move || {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let seconds = start.max(state.finished).elapsed().as_secs_f64();
            state.finished = Instant::now();
            if seconds > 1e-4 {
                let seen = work / seconds;
                state.per_second = seen.clamp(state.per_second * 0.67, state.per_second * 1.5).max(1e9);
            }
        });
    }
}
