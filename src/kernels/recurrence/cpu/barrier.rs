//! Where the threads of a recurrence meet after each time step: they spin for a while, since the others are a few microseconds
//! behind, and then give way, so that more threads than cores still come through.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

pub(crate) struct Barrier {
    threads: usize,
    arrived: AtomicUsize,
    rounds: AtomicUsize,
    broken: AtomicBool,
}

/// Tells the others when its thread panics, which would never arrive.
pub(crate) struct Guard<'a>(&'a Barrier);

impl Barrier {
    const SPINS: usize = 10_000;

    pub fn new(threads: usize) -> Barrier {
        Barrier { threads, arrived: AtomicUsize::new(0), rounds: AtomicUsize::new(0), broken: AtomicBool::new(false) }
    }

    pub fn guard(&self) -> Guard<'_> {
        Guard(self)
    }

    /// Waits until all threads are here.
    ///
    /// # Panics
    /// When another thread did.
    pub fn wait(&self) {
        let round = self.rounds.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.threads {
            self.arrived.store(0, Ordering::Relaxed);
            self.rounds.store(round + 1, Ordering::Release);
            return;
        }
        let mut spins = 0;
        while self.rounds.load(Ordering::Acquire) == round {
            assert!(!self.broken.load(Ordering::Relaxed), "another thread of a recurrence panicked");
            spins += 1;
            if spins < Barrier::SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.broken.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More threads than cores: nobody is in a round before all have left the one before.
    #[test]
    fn nobody_runs_ahead() {
        const THREADS: usize = 7;
        let (barrier, count) = (Barrier::new(THREADS), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for round in 1..200 {
                        count.fetch_add(1, Ordering::Relaxed);
                        barrier.wait();
                        assert_eq!(count.load(Ordering::Relaxed), round * THREADS);
                        barrier.wait();
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_does_not_leave_the_others_waiting() {
        let barrier = Barrier::new(2);
        std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                let _guard = barrier.guard();
                panic!("on purpose");
            });
            let second = scope.spawn(|| barrier.wait());
            assert!(first.join().is_err() && second.join().is_err());
        });
    }
}
