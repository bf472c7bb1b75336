//! A backend that does one step wrong.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use retrospect::Result;
use retrospect::backend::{Backend, Ticket};
use retrospect::program::{Access, Mat, Step};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// A step does not run.
    Dropped(usize),
    /// The largest value of a step's window is off by so much of itself, or, where all are zero, by so much.
    Perturbed(usize, Mat, f32),
    /// After a step a value far from what it writes changes.
    Stray(usize, Mat),
}

/// A backend that does as told, but for one fault, which can be changed from outside.
pub struct Faulty {
    pub inner: Box<dyn Backend>,
    pub fault: Arc<Mutex<Option<Fault>>>,
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
            let fault = *self.fault.lock().unwrap();
            if fault != Some(Fault::Dropped(index)) {
                self.inner.run(index..index + 1)?;
            }
            match fault {
                Some(Fault::Perturbed(step, window, by)) if step == index => {
                    let mut values = self.inner.read(window)?;
                    let largest = values.iter_mut().max_by(|a, b| a.abs().total_cmp(&b.abs())).expect("a window has values");
                    *largest = if *largest == 0.0 { by } else { *largest * (1.0 + by) };
                    self.inner.write(window, &values)?;
                }
                Some(Fault::Stray(step, window)) if step == index => {
                    let mut values = self.inner.read(window)?;
                    *values.last_mut().expect("a window has values") += 1.0;
                    self.inner.write(window, &values)?;
                }
                _ => {}
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
