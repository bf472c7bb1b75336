//! Two backends that run each step in lockstep, as one: so that whatever a network does is compared step by step. And a
//! backend that does one step wrong.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

use retrospect::Result;
use retrospect::backend::{Backend, Ticket};
use retrospect::check::{Exact, Mismatch, lockstep};
use retrospect::program::{Access, Element, Mat, Program, Step};

/// How far a step may be off, from the step and from how much its sums cancel.
pub type Bound = fn(&Step, f64) -> f64;

/// Writes to both, runs in lockstep, reads from the first.
pub struct Pair {
    program: Program,
    expected: Box<dyn Backend>,
    actual: Box<dyn Backend>,
    /// Where sums are looked at.
    sums: Exact,
    bound: Bound,
    found: Rc<RefCell<Vec<Mismatch>>>,
}

impl Pair {
    /// The pair, and where it leaves the mismatches.
    pub fn new(
        program: &Program,
        expected: Box<dyn Backend>,
        actual: Box<dyn Backend>,
        bound: Bound,
    ) -> (Pair, Rc<RefCell<Vec<Mismatch>>>) {
        let found = Rc::default();
        let (program, sums) = (program.clone(), Exact::new(program));
        (Pair { program, expected, actual, sums, bound, found: Rc::clone(&found) }, found)
    }

    /// max Σ|x·w| / max |Σ x·w| over what a step of plain sums is about to write: its definition on the magnitudes of what
    /// it reads, over that on the values themselves. Such a step is linear in each of its windows.
    fn cancellation(&mut self, index: usize) -> Result<f64> {
        let step = &self.program.steps()[index];
        if !["gemm", "column_sum", "embedding_gradient"].iter().any(|sum| step.kernel.name.starts_with(sum)) {
            return Ok(1.0);
        }
        let mut largest = [0.0f64; 2];
        for (magnitudes, largest) in [true, false].into_iter().zip(&mut largest) {
            for (&window, binding) in step.windows.iter().zip(step.kernel.bindings) {
                if binding.element == Element::F32 && binding.access == Access::Read {
                    let values = self.expected.read(window)?;
                    let values = if magnitudes { values.iter().map(|v| v.abs()).collect() } else { values };
                    self.sums.write(window, &values)?;
                }
            }
            self.sums.run(index..index + 1)?;
            let sums = written(step).flat_map(|window| self.sums.values(window));
            *largest = sums.fold(0.0, |m, v| m.max(v.abs()));
        }
        Ok(if largest[1] > 0.0 { largest[0] / largest[1] } else { 1.0 })
    }
}

impl Backend for Pair {
    fn write(&mut self, window: Mat, values: &[f32]) -> Result<()> {
        self.expected.write(window, values)?;
        self.actual.write(window, values)
    }

    fn write_indices(&mut self, window: Mat, values: &[u32]) -> Result<()> {
        self.sums.write_indices(window, values)?;
        self.expected.write_indices(window, values)?;
        self.actual.write_indices(window, values)
    }

    fn run(&mut self, steps: Range<usize>) -> Result<()> {
        for index in steps {
            let cancellation = self.cancellation(index)?;
            let bound = |step: &Step| (self.bound)(step, cancellation);
            let found = lockstep(&self.program, index..index + 1, &mut *self.expected, &mut *self.actual, &bound)?;
            self.found.borrow_mut().extend(found);
        }
        Ok(())
    }

    fn request(&mut self, window: Mat) -> Result<Ticket> {
        self.expected.request(window)
    }

    fn take(&mut self, ticket: Ticket) -> Result<Option<Vec<f32>>> {
        self.expected.take(ticket)
    }

    fn wait(&mut self) -> Result<()> {
        self.expected.wait()?;
        self.actual.wait()
    }

    fn description(&self) -> String {
        format!("{} and {}", self.expected.description(), self.actual.description())
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// A step does not run.
    Dropped(usize),
    /// The largest value of a step's window is off by so much of itself.
    Perturbed(usize, Mat, f32),
}

/// A backend that does as told, but for one fault, which can be changed from outside.
pub struct Faulty {
    pub inner: Box<dyn Backend>,
    pub fault: Rc<Cell<Option<Fault>>>,
}

impl Backend for Faulty {
    fn write(&mut self, window: Mat, values: &[f32]) -> Result<()> {
        self.inner.write(window, values)
    }

    fn write_indices(&mut self, window: Mat, values: &[u32]) -> Result<()> {
        self.inner.write_indices(window, values)
    }

    fn run(&mut self, steps: Range<usize>) -> Result<()> {
        for index in steps {
            let fault = self.fault.get();
            if fault != Some(Fault::Dropped(index)) {
                self.inner.run(index..index + 1)?;
            }
            if let Some(Fault::Perturbed(step, window, by)) = fault
                && step == index
            {
                let mut values = self.inner.read(window)?;
                let largest = values.iter_mut().max_by(|a, b| a.abs().total_cmp(&b.abs())).expect("a window has values");
                *largest *= 1.0 + by;
                self.inner.write(window, &values)?;
            }
        }
        Ok(())
    }

    fn request(&mut self, window: Mat) -> Result<Ticket> {
        self.inner.request(window)
    }

    fn take(&mut self, ticket: Ticket) -> Result<Option<Vec<f32>>> {
        self.inner.take(ticket)
    }

    fn wait(&mut self) -> Result<()> {
        self.inner.wait()
    }

    fn description(&self) -> String {
        self.inner.description()
    }

    fn variant(&self, step: usize) -> Option<&'static str> {
        self.inner.variant(step)
    }
}

/// The windows that a step writes.
pub fn written(step: &Step) -> impl Iterator<Item = Mat> {
    step.windows.iter().zip(step.kernel.bindings).filter(|(_, b)| b.access != Access::Read).map(|(w, _)| *w)
}
