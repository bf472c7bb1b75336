//! Backends: they hold a program's buffers and run any range of its steps. There are two, [`Cpu`] and [`Gpu`], and
//! neither knows a kernel by name.

mod cpu;
pub mod gpu;
mod memory;

use std::ops::Range;

pub use cpu::Cpu;
pub use gpu::{Adapter, Device, Gpu};

use crate::program::Mat;
use crate::{Error, Result};

/// A read that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(pub(crate) u64);

/// Holds the buffers of one program and runs its steps.
pub trait Backend {
    /// Overwrites a window with `rows · cols` values, row by row. It takes effect before the next [`Backend::run`].
    ///
    /// # Errors
    /// When the device is lost.
    ///
    /// # Panics
    /// When the number of values is another.
    fn write(&mut self, window: Mat, values: &[f32]) -> Result<()>;

    /// Overwrites a row of indices.
    ///
    /// # Errors
    /// When the device is lost.
    ///
    /// # Panics
    /// When their number is another.
    fn write_indices(&mut self, window: Mat, values: &[u32]) -> Result<()>;

    /// Runs a range of the program's steps, without waiting for the end.
    ///
    /// # Errors
    /// When the device is lost or refuses.
    fn run(&mut self, steps: Range<usize>) -> Result<()>;

    /// Asks for the values of a window as they are after all that was run so far.
    ///
    /// # Errors
    /// When the device is lost or refuses.
    fn request(&mut self, window: Mat) -> Result<Ticket>;

    /// The values asked for, row by row, or `None` while the device is still at it. A ticket is good for one answer.
    ///
    /// # Errors
    /// When the device is lost.
    fn take(&mut self, ticket: Ticket) -> Result<Option<Vec<f32>>>;

    /// Waits until all that was run and asked for is done.
    ///
    /// # Errors
    /// When the device is lost or does not answer in time.
    fn wait(&mut self) -> Result<()>;

    /// The values of a window: a request, and waiting for it.
    ///
    /// # Errors
    /// When the device is lost or does not answer in time.
    fn read(&mut self, window: Mat) -> Result<Vec<f32>> {
        let ticket = self.request(window)?;
        loop {
            if let Some(values) = self.take(ticket)? {
                return Ok(values);
            }
            self.wait()?;
        }
    }

    /// What it runs on, for people.
    fn description(&self) -> String;

    /// The variant of each step's kernel that it runs, for reports; the CPU has none.
    fn variant(&self, _step: usize) -> Option<&'static str> {
        None
    }

    /// The dispatches of a step; the CPU has none.
    fn dispatches(&self, _step: usize) -> u64 {
        0
    }
}

fn check_memory(what: &str, needed: u64) -> Result<()> {
    match memory::available() {
        Some(available) if needed > available => Err(Error::DoesNotFit {
            what: what.into(),
            needed,
            available,
            advice: "a smaller hidden size, batch or window would fit".into(),
        }),
        _ => Ok(()),
    }
}
