//! What a GPU does about workgroups that waited for each other in vain: it looks before a result is handed out, and repeats.

use wgpu::{BufferUsages, CommandEncoderDescriptor};

use super::replay::Operation;
use super::{Gpu, load, memory};
use crate::backend::Backend;
use crate::{Error, Result};

impl Gpu {
    /// Whether workgroups of a step wait for each other.
    pub(super) fn waits(&self) -> bool {
        self.steps.iter().any(|step| step.waits)
    }

    /// After a workgroup has waited for another in vain: repeats what may be wrong, in variants that do not wait.
    pub(super) fn repeat(&mut self) -> Result<()> {
        let mut names: Vec<&str> = self.steps.iter().filter(|step| step.waits).map(|step| step.variant).collect();
        names.sort_unstable();
        names.dedup();
        let (what, message) = (names.join(", "), "workgroups timed out waiting for each other");
        self.in_flight.clear();
        self.device.wait_for(None)?;
        let Some(replay) = self.replay.take() else {
            self.device.queue.write_buffer(&self.memory.given_up, 0, &[0; 16]);
            return Err(Error::Device { what, message: message.into() });
        };
        self.device.waited_in_vain(&format!("{what}: {message}"));
        if !replay.is_whole() {
            let reason = format!(
                "{what}: {message}, and the steps since then cannot be repeated; RETROSPECT_PERSISTENT=off turns such variants off"
            );
            return Err(Error::DeviceLost { reason, checkpoint: None });
        }
        let (program, loaded) = (replay.program.clone(), replay.loaded);
        // Its memory is free before the other's is taken.
        self.steps.clear();
        self.memory.free();
        let mut first = program.clone();
        first.truncate(loaded);
        (self.memory, self.steps) = load::load(&self.device, &first, &|_| None)?;
        load::extend(&self.device, &program, &mut self.memory, &mut self.steps)?;
        for operation in replay.restore(&self.device, &self.memory)? {
            match operation {
                Operation::Write(window, values) => self.write(window, &values)?,
                Operation::WriteIndices(window, values) => self.write_indices(window, &values)?,
                Operation::Run(steps) => self.run(steps)?,
                Operation::Request(ticket, window) if self.reads.contains_key(&ticket) => {
                    let read = self.bring(window)?;
                    self.reads.insert(ticket, read);
                }
                Operation::Request(..) => {}
            }
        }
        Ok(())
    }

    #[doc(hidden)]
    /// What makes it seem that a workgroup has waited for another in vain: to see what comes of it.
    pub fn pretend_waiting_in_vain(&self) -> impl Fn() + 'static {
        let (queue, word) = (self.device.queue.clone(), self.memory.given_up.clone());
        move || queue.write_buffer(&word, 0, &[1; 16])
    }

    /// Looks, once all is done, whether a workgroup has waited in vain, and then repeats it.
    pub(super) fn look(&mut self) -> Result<()> {
        if !self.waits() {
            return Ok(());
        }
        let staging = self.device.checked("a read", || {
            let staging = memory::buffer(&self.device, "read", 16, BufferUsages::MAP_READ);
            let mut encoder = self.device.device.create_command_encoder(&CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(&self.memory.given_up, 0, &staging, 0, 16);
            self.device.queue.submit([encoder.finish()]);
            staging
        })?;
        if self.device.words(&staging)?[0] != 0 {
            return self.repeat();
        }
        if let Some(replay) = &mut self.replay {
            let next = replay.next();
            replay.confirm(next);
        }
        Ok(())
    }
}
