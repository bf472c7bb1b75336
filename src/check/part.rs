//! The parts of a check, several at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;

use super::{Outcome, Progress};
use crate::{Error, Result};

/// A part of a check.
pub(super) struct Part<'a> {
    pub name: String,
    /// What it is about, if the name does not say it.
    pub about: String,
    pub variant: &'static str,
    /// The variant with run-time checks that has to pass first.
    pub checked: Option<&'static str>,
    pub run: Box<dyn FnOnce() -> Result<Vec<Outcome>> + Send + 'a>,
}

impl<'a> Part<'a> {
    pub fn new(
        name: impl Into<String>,
        variant: &'static str,
        run: impl FnOnce() -> Result<Vec<Outcome>> + Send + 'a,
    ) -> Part<'a> {
        Part { name: name.into(), about: String::new(), variant, checked: None, run: Box::new(run) }
    }

    /// The name without the variant.
    pub fn kernel(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }

    /// That the part was not run, as a failure.
    fn refused(kernel: &str, variant: &'static str, reason: String) -> Outcome {
        Outcome::new(kernel, Some(variant), String::new(), "loading", 0.0, 0.0, f64::INFINITY, vec![reason])
    }
}

/// Runs parts, so many at a time, and returns what came of them, in their order. One that the adapter refuses, or that has to wait for one
/// that failed, is a failure.
///
/// # Errors
/// The first that keeps the check from going on.
pub(super) fn run_all(parts: Vec<Part>, workers: usize, progress: &mut dyn FnMut(Progress)) -> Result<Vec<Outcome>> {
    let of = parts.len();
    let mut found: Vec<Vec<Outcome>> = (0..of).map(|_| Vec::new()).collect();
    let (free, waiting): (Vec<_>, Vec<_>) = parts.into_iter().enumerate().partition(|(_, part)| part.checked.is_none());
    let mut begun = 0;
    let mut begin = |name: &str| {
        progress(Progress { done: begun, of, next: name });
        begun += 1;
    };
    run_at_once(free, workers, &mut begin, &mut found)?;
    let mut able = Vec::new();
    for (i, part) in waiting {
        match part.checked.and_then(|checked| failure(&found, part.kernel(), checked)) {
            Some(reason) => found[i] = vec![Part::refused(part.kernel(), part.variant, reason)],
            None => able.push((i, part)),
        }
    }
    run_at_once(able, workers, &mut begin, &mut found)?;
    Ok(found.into_iter().flatten().collect())
}

/// Why what is compiled without run-time checks is not run: the same with them has failed.
fn failure(found: &[Vec<Outcome>], kernel: &str, checked: &str) -> Option<String> {
    let failed = found.iter().flatten().any(|o| !o.passed && o.name == kernel && o.variant == checked);
    failed.then(|| format!("not run, since {kernel}/{checked} failed"))
}

/// What a worker tells.
enum Event {
    Begun(String),
    Ended(usize, Result<Vec<Outcome>>),
}

/// Runs numbered parts on so many threads. After an error no further one begins.
fn run_at_once(parts: Vec<(usize, Part)>, workers: usize, begin: &mut dyn FnMut(&str), found: &mut [Vec<Outcome>]) -> Result<()> {
    let queue = Mutex::new(parts.into_iter());
    let next = || queue.lock().expect("no part runs under the lock").next();
    let (sender, events) = mpsc::channel();
    let failed = AtomicBool::new(false);
    let (mut first_error, mut refused, mut started) = (None, None, 0);
    thread::scope(|scope| {
        for _ in 0..workers {
            let (sender, next, failed) = (sender.clone(), &next, &failed);
            let work = move || {
                while !failed.load(Ordering::Relaxed)
                    && let Some((i, part)) = next()
                {
                    let (kernel, variant) = (part.kernel().to_owned(), part.variant);
                    sender.send(Event::Begun(part.name)).expect("the events are taken until all have ended");
                    let outcomes = match (part.run)() {
                        Err(Error::Device { what, message }) => {
                            Ok(vec![Part::refused(&kernel, variant, format!("the adapter refuses {what}: {message}"))])
                        }
                        outcomes => outcomes,
                    };
                    failed.fetch_or(outcomes.is_err(), Ordering::Relaxed);
                    sender.send(Event::Ended(i, outcomes)).expect("the events are taken until all have ended");
                }
            };
            // Where the system has no thread for it, fewer do the work.
            match thread::Builder::new().spawn_scoped(scope, work) {
                Err(e) => refused = Some(Error::io("the threads of the check", e)),
                Ok(_) => started += 1,
            }
        }
        if started == 0 {
            first_error = refused;
        }
        drop(sender);
        for event in events {
            match event {
                Event::Begun(name) => begin(&name),
                Event::Ended(i, Ok(outcomes)) => found[i] = outcomes,
                Event::Ended(_, Err(error)) => first_error = first_error.take().or(Some(error)),
            }
        }
    });
    first_error.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn outcome(variant: &'static str, shape: &str, off: f64) -> Outcome {
        Outcome::new("gemm_nn", Some(variant), shape.to_owned(), "definition", 0.0, 0.0, off, Vec::new())
    }

    /// What is the same without run-time checks does not run where the one with them failed or was refused, and that is a failure too.
    #[test]
    fn without_checks_nothing_runs_after_a_failure_with_them() {
        let refused = || Err(Error::Device { what: "gemm_nn/large".into(), message: "no".into() });
        for (with_checks, runs) in
            [(Ok(outcome("large", "1×1×1", 0.5)), true), (Ok(outcome("large", "1×1×1", 2.0)), false), (refused(), false)]
        {
            let ran = AtomicBool::new(false);
            let with_checks = Part::new("gemm_nn/large", "large", || with_checks.map(|outcome| vec![outcome]));
            let without = Part::new("gemm_nn/large_unchecked", "large_unchecked", || {
                ran.store(true, Ordering::Relaxed);
                Ok(Vec::new())
            });
            let parts = vec![with_checks, Part { checked: Some("large"), ..without }];
            let results = run_all(parts, 2, &mut |_| {}).unwrap();
            let ran = ran.load(Ordering::Relaxed);
            assert_eq!((ran, results.iter().all(|outcome| outcome.passed)), (runs, runs), "{results:?}");
            assert_eq!(results.len(), if runs { 1 } else { 2 });
        }
    }

    /// The order of the outcomes is that of the parts, whoever ends first; and every part is told once.
    #[test]
    fn any_number_of_workers_gives_the_same_outcomes() {
        for workers in [1, 2, 5] {
            let parts = (0..20).map(|i| {
                let run = move || {
                    thread::sleep(std::time::Duration::from_millis(u64::from(i % 3 == 0)));
                    Ok(vec![outcome("v", &i.to_string(), 0.0); 2])
                };
                Part::new(format!("gemm_nn/{i}"), "v", run)
            });
            let mut told = Vec::new();
            let found = run_all(parts.collect(), workers, &mut |p| told.push((p.done, p.of))).unwrap();
            let shapes: Vec<String> = found.into_iter().map(|o| o.shape).collect();
            assert_eq!(shapes, (0..40).map(|i| (i / 2).to_string()).collect::<Vec<_>>(), "{workers} workers");
            assert_eq!(told, (0..20).map(|i| (i, 20)).collect::<Vec<_>>(), "{workers} workers");
        }
    }

    /// After an error no further part begins.
    #[test]
    fn an_error_ends_it() {
        let ran = AtomicUsize::new(0);
        let part = |i: usize| {
            let ran = &ran;
            Part::new(format!("gemm_nn/{i}"), "v", move || {
                ran.fetch_add(1, Ordering::Relaxed);
                if i == 3 { Err(Error::Usage("too large".into())) } else { Ok(Vec::new()) }
            })
        };
        let error = run_all((0..1000).map(part).collect(), 1, &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("too large"), "{error}");
        assert_eq!(ran.load(Ordering::Relaxed), 4);
    }
}
