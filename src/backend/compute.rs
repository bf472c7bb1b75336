//! Where a program runs.

use super::cpu::working;
use super::{Backend, Cpu, Device, Gpu};
use crate::Result;
use crate::program::Program;

/// Where a program runs: what is chosen before there is a backend.
#[derive(Debug, Clone)]
pub enum Compute {
    /// On the CPU, with so many threads; `None`: all.
    Cpu(Option<usize>),
    /// On an opened adapter.
    Gpu(Device),
}

impl Compute {
    /// Bytes that a program takes: the places of its plan, and what its steps take besides while they run.
    #[must_use]
    pub fn memory(&self, program: &Program) -> [u64; 2] {
        let besides = match self {
            Compute::Cpu(_) => working(program),
            Compute::Gpu(device) => device.scratch(program),
        };
        [program.plan().bytes(), besides]
    }

    /// A program on the CPU, or on the adapter in the variants chosen for it.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn load(&self, program: &Program) -> Result<Box<dyn Backend>> {
        Ok(match self {
            Compute::Cpu(threads) => Box::new(Cpu::new(program, *threads)?),
            Compute::Gpu(device) => Box::new(Gpu::new(device, program)?),
        })
    }
}
