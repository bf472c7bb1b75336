//! Batches made ahead of the device, so that neither waits for the other.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::{Shape, Source};
use crate::batch::Batch;

type Shared = Arc<Mutex<Box<dyn Source>>>;

/// A source whose training batches are made on a thread of their own, a few ahead of the one asked for; where the system has no thread for
/// them, when they are asked for.
pub struct Prefetch {
    source: Shared,
    shape: Shape,
    ahead: usize,
    /// The next batch, where there is no thread.
    next: u64,
    /// Both are there until the thread is joined.
    batches: Option<Receiver<Batch>>,
    thread: Option<JoinHandle<()>>,
}

impl Prefetch {
    /// Starts to make the batches of `first`, `first + 1`, …, and keeps up to `ahead` of them (and the one in hand) waiting.
    #[must_use]
    pub fn new(source: Box<dyn Source>, first: u64, ahead: usize) -> Prefetch {
        let shape = source.shape();
        let source = Arc::new(Mutex::new(source));
        let mut prefetch = Prefetch { source, shape, ahead, next: first, batches: None, thread: None };
        prefetch.start(first);
        prefetch
    }

    /// Starts the thread. Where there can be none, batches are made when they are asked for.
    fn start(&mut self, first: u64) {
        let (sender, batches) = sync_channel(self.ahead);
        let source: Shared = Arc::clone(&self.source);
        let thread = std::thread::Builder::new().name("batches".into()).spawn(move || {
            for step in first.. {
                let batch = lock(&source, |s| s.batch(step));
                if sender.send(batch).is_err() {
                    break;
                }
            }
        });
        self.thread = thread.ok();
        self.batches = self.thread.is_some().then_some(batches);
        self.next = first;
    }

    /// Goes on with the batches of `first`, `first + 1`, …
    pub fn restart(&mut self, first: u64) {
        self.end();
        self.start(first);
    }

    /// The source, when no more batches are made of it.
    ///
    /// # Panics
    /// When the source panicked.
    #[must_use]
    pub fn into_source(mut self) -> Box<dyn Source> {
        self.end();
        let source = Arc::clone(&self.source);
        drop(self);
        let alone = Arc::into_inner(source).expect("the thread that shared it has ended");
        alone.into_inner().expect("a source that did not panic")
    }

    fn end(&mut self) {
        // Without a receiver the thread's next send fails, and it ends.
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// What the source feeds a network.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The next training batch.
    ///
    /// # Panics
    /// If the source panicked, with its message.
    pub fn next_batch(&mut self) -> Batch {
        match self.batches.as_ref().map(Receiver::recv) {
            Some(Ok(batch)) => batch,
            None => {
                let step = self.next;
                self.next += 1;
                lock(&self.source, |source| source.batch(step))
            }
            Some(Err(_)) => match self.thread.take().map(JoinHandle::join) {
                Some(Err(panic)) => resume_unwind(panic),
                _ => panic!("the source of the batches has panicked before"),
            },
        }
    }

    /// [`Source::held_out_batches`].
    #[must_use]
    pub fn held_out_batches(&self) -> u64 {
        lock(&self.source, |s| s.held_out_batches())
    }

    /// [`Source::held_out`]; waits while a training batch is being made.
    #[must_use]
    pub fn held_out(&self, index: u64) -> Batch {
        lock(&self.source, |s| s.held_out(index))
    }
}

/// A source that panicked says so through the thread; the lock need not say it again.
fn lock<T>(source: &Mutex<Box<dyn Source>>, use_it: impl FnOnce(&mut dyn Source) -> T) -> T {
    use_it(&mut **source.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use ndarray::Array2;

    use super::*;
    use crate::batch::{Input, Inputs, TargetKind, Targets};

    /// Batches of one token, their step; panics at step 13. Counts the batches made.
    struct Steps(Arc<AtomicU64>);

    fn numbered(step: u64) -> Batch {
        Batch::new(Inputs::Tokens(Array2::from_elem((1, 1), step as u32)), Targets::Classes(Array2::zeros((1, 1))))
    }

    impl Source for Steps {
        fn shape(&self) -> Shape {
            Shape { input: Input::Tokens(100), targets: 1, kind: TargetKind::Classes }
        }
        fn window(&self) -> (usize, usize) {
            (1, 1)
        }
        fn batch(&mut self, step: u64) -> Batch {
            assert_ne!(step, 13, "step {step} is unlucky");
            self.0.fetch_add(1, Ordering::SeqCst);
            numbered(step)
        }
        fn held_out_batches(&self) -> u64 {
            5
        }
        fn held_out(&mut self, index: u64) -> Batch {
            numbered(50 + index)
        }
    }

    #[test]
    fn batches_come_in_order_from_the_first_and_held_out_ones_between() {
        let mut prefetch = Prefetch::new(Box::new(Steps(Arc::default())), 3, 2);
        assert_eq!(prefetch.shape().input, Input::Tokens(100));
        for step in 3..13 {
            assert_eq!(prefetch.next_batch(), numbered(step));
            assert_eq!(prefetch.held_out(step % 5), numbered(50 + step % 5));
        }
        assert_eq!(prefetch.held_out_batches(), 5);
    }

    #[test]
    fn a_panic_arrives_with_its_message_after_the_batches_before_it() {
        let mut prefetch = Prefetch::new(Box::new(Steps(Arc::default())), 11, 4);
        assert_eq!([prefetch.next_batch(), prefetch.next_batch()], [numbered(11), numbered(12)]);
        for expected in ["step 13 is unlucky", "the source of the batches has panicked before"] {
            let panic = catch_unwind(AssertUnwindSafe(|| prefetch.next_batch())).unwrap_err();
            let message =
                panic.downcast_ref::<String>().cloned().or(panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap();
            assert!(message.contains(expected), "{message}");
        }
        assert_eq!(prefetch.held_out(1), numbered(51));
    }

    #[test]
    fn it_stays_ahead_by_as_many_as_asked_and_ends_when_dropped() {
        for ahead in [0, 1, 3] {
            let made = Arc::new(AtomicU64::new(0));
            let mut prefetch = Prefetch::new(Box::new(Steps(Arc::clone(&made))), 20, ahead);
            prefetch.next_batch();
            let expected = ahead as u64 + 2; // the one taken, those waiting, the one in hand
            for _ in 0..10_000 {
                std::thread::sleep(Duration::from_millis(1));
                if made.load(Ordering::SeqCst) == expected {
                    break;
                }
            }
            std::thread::sleep(Duration::from_millis(5));
            assert_eq!(made.load(Ordering::SeqCst), expected);
            drop(prefetch);
            assert_eq!(Arc::strong_count(&made), 1, "the source is gone");
        }
    }
}
