//! Lockstep: a backend whose every step is held at once to the definition, from what it really started from, so that a
//! difference is found at the step that made it.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Deviation, Exact};
use crate::Result;
use crate::backend::{Backend, Ticket};
use crate::program::{Mat, Program};

/// How far each window that was written was off.
#[derive(Debug, Clone, Default)]
pub struct Deviations(Arc<Mutex<Vec<Deviation>>>);

impl Deviations {
    /// Those found since the last time.
    #[must_use]
    pub fn take(&self) -> Vec<Deviation> {
        std::mem::take(&mut self.all())
    }

    fn all(&self) -> MutexGuard<'_, Vec<Deviation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs what it is given on a backend, step by step, or pair by pair. A network on it trains as on the backend, and leaves a [`Deviation`] for
/// each window of each step.
///
/// What a step writes outside of its windows is found as well: the next step that reads it starts, by the definitions, from what
/// was there before.
pub struct Lockstep {
    exact: Exact,
    actual: Box<dyn Backend>,
    found: Deviations,
}

impl Lockstep {
    /// A backend that has loaded the program, and where the deviations go.
    #[must_use]
    pub fn new(program: &Program, actual: Box<dyn Backend>) -> (Lockstep, Deviations) {
        let found = Deviations::default();
        (Lockstep { exact: Exact::new(program), actual, found: found.clone() }, found)
    }
}

impl Backend for Lockstep {
    fn write(&mut self, window: Mat, values: &[f32]) -> Result<()> {
        self.exact.write(window, values)?;
        self.actual.write(window, values)
    }

    fn write_indices(&mut self, window: Mat, values: &[u32]) -> Result<()> {
        self.exact.write_indices(window, values)?;
        self.actual.write_indices(window, values)
    }

    fn is_extensible(&self) -> bool {
        self.actual.is_extensible()
    }

    fn extend(&mut self, program: &Program) -> Result<()> {
        self.exact.extend(program)?;
        self.actual.extend(program)
    }

    fn run(&mut self, steps: Range<usize>) -> Result<()> {
        let mut first = steps.start;
        while first < steps.end {
            // The two steps of a pair run at the same time, as they do in training.
            let end = if first + 1 < steps.end && self.exact.is_second(first + 1) { first + 2 } else { first + 1 };
            self.actual.run(first..end)?;
            for index in first..end {
                let variant = self.actual.variant(index);
                let actual = &mut self.actual;
                let found = self.exact.compare(index, false, variant, |window| actual.read(window))?;
                self.found.all().extend(found);
            }
            first = end;
        }
        Ok(())
    }

    fn request(&mut self, window: Mat) -> Result<Ticket> {
        self.actual.request(window)
    }

    fn take(&mut self, ticket: Ticket) -> Result<Option<Vec<f32>>> {
        self.actual.take(ticket)
    }

    fn wait(&mut self) -> Result<()> {
        self.actual.wait()
    }

    fn description(&self) -> String {
        format!("{}, in lockstep", self.actual.description())
    }

    fn variant(&self, step: usize) -> Option<&'static str> {
        self.actual.variant(step)
    }
}
