//! Backends: they hold a program's buffers and run any range of its steps. There are two, [`Cpu`] and [`Gpu`], and
//! neither knows a kernel by name.

mod compute;
mod cpu;
pub mod gpu;

use std::ops::Range;
use std::time::Duration;

pub use crate::simd::InstructionSet;
pub use compute::Compute;
pub use cpu::Cpu;
pub use gpu::{Adapter, Device, Gpu};

pub(crate) use crate::memory::check_memory;
use crate::program::{Mat, Program};
use crate::{Error, Result};

/// A read that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(pub(crate) u64);

/// What takes time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A step of the program.
    Step(usize),
    /// The host recording dispatches.
    Recording,
    /// The host handing them to the driver; a software adapter may do some of the work meanwhile.
    Submitting,
}

/// A stretch of time in which something ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// What it was.
    pub work: Work,
    /// When it began, counted from where recording did. A device has a clock of its own: its spans are set beside the
    /// host's by the first of them, no better than that.
    pub start: Duration,
    /// How long it took.
    pub length: Duration,
}

/// Holds the buffers of one program and runs its steps.
pub trait Backend: Send {
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

    /// Whether it can [`Backend::extend`] what it has loaded.
    fn is_extensible(&self) -> bool {
        false
    }

    /// Loads the steps that its program has gained since it was loaded, over the same buffers.
    ///
    /// # Errors
    /// [`Error::Usage`] when this backend is not extensible; when the device is lost or refuses.
    fn extend(&mut self, program: &Program) -> Result<()> {
        let _ = program;
        Err(Error::Usage(format!("{} loads one program alone", self.description())))
    }

    /// Runs a range of the program's steps, without waiting for the end.
    ///
    /// # Errors
    /// When the device is lost or refuses.
    fn run(&mut self, steps: Range<usize>) -> Result<()>;

    /// Asks for the values of a window as they are after all that was run so far, all at once: [`Backend::read`] is for large ones.
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

    /// The values of a window: requests, each of at most 4 MiB or four rows, and waiting for them. So what is on its way takes no more
    /// memory than that.
    ///
    /// # Errors
    /// When the device is lost or does not answer in time.
    fn read(&mut self, window: Mat) -> Result<Vec<f32>> {
        let mut values = Vec::with_capacity(window.len());
        for block in window.blocks() {
            let ticket = self.request(block)?;
            let got = loop {
                match self.take(ticket)? {
                    Some(got) => break got,
                    None => self.wait()?,
                }
            };
            if block.len() == window.len() {
                return Ok(got);
            }
            values.extend(got);
        }
        Ok(values)
    }

    /// From now on notes when each step runs, or no longer; what was noted before is forgotten. On a GPU each step becomes a
    /// compute pass with timestamps of the device; where it has none, each step is waited for, by the host's clock. Two steps that run at the
    /// same time have one span, that of the first.
    ///
    /// # Errors
    /// When the device is lost or refuses.
    fn record(&mut self, _on: bool) -> Result<()> {
        Ok(())
    }

    /// The spans noted since the last time, after waiting for the last of them. A step that was cut over submissions has
    /// several. A backend that cannot record has none.
    ///
    /// # Errors
    /// When the device is lost or does not answer in time.
    fn spans(&mut self) -> Result<Vec<Span>> {
        Ok(Vec::new())
    }

    /// The host's time for recording dispatches so far, without handing them to the driver; the CPU records none.
    fn recording_time(&self) -> Duration {
        Duration::ZERO
    }

    /// The vector instructions that it runs with, if it runs on the host.
    fn instructions(&self) -> Option<InstructionSet> {
        None
    }

    /// The memory of a window of floats from its first number on, if it runs on the host; rows lie in it as [`Mat`] says.
    fn host_memory(&mut self, _window: Mat) -> Option<&mut [f32]> {
        None
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

/// What does not fit where it is a whole program.
pub(crate) const PROGRAM: &str = "the program";
