//! What makes it safe that workgroups wait for each other: all that was asked of a backend since a state that is known to be whole, and a copy
//! of that state on the device. Should a workgroup wait in vain, everything since is repeated by variants that do not wait, and nobody
//! who reads a result sees anything else than what those compute.
//!
//! The copy is made by a shader that does nothing once a workgroup has given up, so that it is always whole, and the host need not wait for
//! anything to make it.

use std::collections::VecDeque;
use std::ops::{Range, RangeInclusive};

use wgpu::{BindGroupEntry, BufferUsages, CommandEncoderDescriptor, ComputePassDescriptor};

use super::Device;
use super::load::own_pipeline;
use super::memory::{Memory, buffer};
use crate::Result;
use crate::backend::Ticket;
use crate::program::{Element, Mat, Plan, Program};

/// Bytes of what was written, after which the copy is made anew, and the calls of `run`.
const OFTEN: (usize, usize) = (1 << 24, 64);

/// Bytes of what was written that are kept without waiting to see what is not needed.
const MOST_BYTES: usize = 1 << 28;

/// What was asked of a backend.
#[derive(Debug, Clone)]
pub(super) enum Operation {
    Write(Mat, Vec<f32>),
    WriteIndices(Mat, Vec<u32>),
    Run(Range<usize>),
    Request(Ticket, Mat),
}

impl Operation {
    fn bytes(&self) -> usize {
        match self {
            Operation::Write(_, values) => 4 * values.len(),
            Operation::WriteIndices(_, values) => 4 * values.len(),
            Operation::Run(_) | Operation::Request(..) => 0,
        }
    }
}

/// What is repeated, and from where.
pub(super) struct Replay {
    pub program: Program,
    /// The steps that it had when it was loaded; those that it has gained since go over the same buffers.
    pub loaded: usize,
    operations: VecDeque<Operation>,
    /// The number of the first of them.
    first: u64,
    /// The numbers before which the copy was made anew, or was to be.
    copies: VecDeque<u64>,
    /// Bytes and runs since the last.
    since: (usize, usize),
    /// Bytes of all operations.
    bytes: usize,
    /// Of each buffer that the copy leaves out, since it may be lost, the first and the last step that use it.
    lives: Vec<RangeInclusive<usize>>,
    /// Whether a run went on from what the copy has not.
    is_broken: bool,
    copy: Copy,
}

impl Replay {
    /// For a program that is loaded, all of whose buffers are zero.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`](crate::Error::DoesNotFit) where there is no room for a copy.
    pub fn new(device: &Device, program: &Program, memory: &Memory) -> Result<Replay> {
        Ok(Replay {
            program: program.clone(),
            loaded: program.len(),
            operations: VecDeque::new(),
            first: 0,
            copies: VecDeque::from([0]),
            since: (0, 0),
            bytes: 0,
            lives: program.plan().lives().cloned().collect(),
            is_broken: false,
            copy: Copy::new(device, program, memory)?,
        })
    }

    /// Notes that the program has gained steps.
    pub fn extend(&mut self, program: &Program, gained: Range<usize>) {
        self.lives.extend(program.lives(gained.clone()).into_iter().flatten());
        self.program.extend_from(&program.steps()[gained]);
    }

    /// The number of the next operation.
    pub fn next(&self) -> u64 {
        self.first + self.operations.len() as u64
    }

    pub fn note(&mut self, operation: Operation) {
        if let Operation::Run(steps) = &operation {
            // What it goes on from must have been made since the copy.
            let made = |step: usize| self.since_copy().any(|o| matches!(o, Operation::Run(steps) if steps.contains(&step)));
            self.is_broken |= needed(&self.lives, steps.start).any(|life| !made(*life.start()));
        }
        self.since.0 += operation.bytes();
        self.bytes += operation.bytes();
        self.since.1 += usize::from(matches!(operation, Operation::Run(_)));
        self.operations.push_back(operation);
    }

    fn since_copy(&self) -> impl Iterator<Item = &Operation> {
        let last = self.copies.back().map_or(0, |&copy| copy.saturating_sub(self.first));
        self.operations.iter().skip(last as usize)
    }

    /// Whether the copy is to be made anew before a run from this step on: only where nothing is needed that it leaves out.
    pub fn is_due(&self, step: usize) -> bool {
        (self.since.0 >= OFTEN.0 || self.since.1 >= OFTEN.1) && needed(&self.lives, step).next().is_none()
    }

    /// Whether so much is kept that it is time to find out what is not needed any more.
    pub fn is_large(&self) -> bool {
        self.bytes > MOST_BYTES
    }

    /// Whether it can be repeated.
    pub fn is_whole(&self) -> bool {
        !self.is_broken
    }

    /// Makes the copy anew, of what is there after all that was asked for so far.
    pub fn copy(&mut self, device: &Device, memory: &Memory) -> Result<()> {
        let number = self.next();
        self.copy.make(device, memory, number)?;
        self.copies.push_back(number);
        self.since = (0, 0);
        Ok(())
    }

    /// Notes that all was well up to an operation: what lies before the last copy until then is not needed any more.
    pub fn confirm(&mut self, number: u64) {
        let last = self.copies.iter().rposition(|&copy| copy <= number).unwrap_or(0);
        self.copies.drain(..last);
        let old = self.copies[0].saturating_sub(self.first) as usize;
        let old = self.operations.drain(..old.min(self.operations.len()));
        self.bytes -= old.map(|operation| operation.bytes()).sum::<usize>();
        self.first = self.first.max(self.copies[0]);
    }

    /// Brings the copy into memory, that of the same program, and returns what has to be repeated from it on.
    pub fn restore(self, device: &Device, memory: &Memory) -> Result<Vec<Operation>> {
        let number = self.copy.restore(device, memory)?;
        Ok(self.operations.into_iter().skip((number - self.first) as usize).collect())
    }
}

/// Those that are needed at a step from before.
fn needed(lives: &[RangeInclusive<usize>], step: usize) -> impl Iterator<Item = &RangeInclusive<usize>> {
    lives.iter().filter(move |life| *life.start() < step && step <= *life.end())
}

/// Whether a place has a buffer that may not be lost.
fn stays(plan: &Plan, place: usize) -> bool {
    plan.buffers(place).any(|buffer| plan.life(buffer).is_none())
}

/// Bytes of a copy.
pub(super) fn copied(program: &Program) -> u64 {
    let plan = program.plan();
    (0..plan.sizes().len()).filter(|&place| stays(&plan, place)).map(|place| plan.sizes()[place] * Element::SIZE).sum()
}

/// A copy, on the device, of all buffers of a program that may not be lost.
struct Copy {
    pipeline: wgpu::ComputePipeline,
    /// Of each of them the section's place, the copy and the bytes.
    kept: Vec<([usize; 2], wgpu::Buffer, u64)>,
    /// The number of the next operation, now and in the copy.
    number: [wgpu::Buffer; 2],
}

impl Copy {
    fn new(device: &Device, program: &Program, memory: &Memory) -> Result<Copy> {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC;
        let plan = program.plan();
        let sections = memory.sections().filter(|([place, _], _)| stays(&plan, *place));
        let kept = sections.map(|(at, original)| {
            let bytes = original.size();
            Ok((at, device.checked("a copy of the program's buffers", || buffer(device, "kept", bytes, usage))?, bytes))
        });
        let kept = kept.collect::<Result<_>>()?;
        let number = device.checked("the number of an operation", || [(), ()].map(|()| buffer(device, "number", 16, usage)))?;
        let pipeline = own_pipeline(device, "keep", include_str!("../../../shaders/keep.wgsl"))?;
        Ok(Copy { pipeline, kept, number })
    }

    /// Copies what is there, unless a workgroup has given up.
    fn make(&self, device: &Device, memory: &Memory, number: u64) -> Result<()> {
        device.checked("a copy of the program's buffers", || {
            let words = [number as u32, (number >> 32) as u32, 0, 0];
            device.queue.write_buffer(&self.number[0], 0, bytemuck::cast_slice(&words));
            let mut encoder = device.device.create_command_encoder(&CommandEncoderDescriptor::default());
            {
                let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
                pass.set_pipeline(&self.pipeline);
                self.dispatch(device, &mut pass, memory, &self.number[0], &self.number[1], 16);
                for (at, kept, bytes) in &self.kept {
                    self.dispatch(device, &mut pass, memory, memory.section(*at), kept, *bytes);
                }
            }
            device.queue.submit([encoder.finish()]);
        })
    }

    /// A dispatch for as many bytes as a binding may have.
    fn dispatch(
        &self,
        device: &Device,
        pass: &mut wgpu::ComputePass,
        memory: &Memory,
        from: &wgpu::Buffer,
        to: &wgpu::Buffer,
        bytes: u64,
    ) {
        let limits = device.device.limits();
        let most = limits.max_storage_buffer_binding_size / 256 * 256;
        for offset in (0..bytes).step_by(most as usize) {
            let size = (bytes - offset).min(most);
            let part = |binding, buffer, offset, size| BindGroupEntry {
                binding,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer,
                    offset,
                    size: std::num::NonZero::new(size),
                }),
            };
            let entries = [part(0, &memory.given_up, 0, 16), part(1, from, offset, size), part(2, to, offset, size)];
            let layout = self.pipeline.get_bind_group_layout(0);
            let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries };
            pass.set_bind_group(0, &device.device.create_bind_group(&descriptor), &[]);
            let groups = (size / 16).div_ceil(256).min(u64::from(limits.max_compute_workgroups_per_dimension));
            pass.dispatch_workgroups(groups as u32, 1, 1);
        }
    }

    /// Copies it back, and returns the number of the operation that comes next.
    fn restore(&self, device: &Device, memory: &Memory) -> Result<u64> {
        let staging = device.checked("the number of an operation", || {
            let staging = buffer(device, "number", 16, BufferUsages::MAP_READ);
            let mut encoder = device.device.create_command_encoder(&CommandEncoderDescriptor::default());
            for (at, kept, bytes) in &self.kept {
                encoder.copy_buffer_to_buffer(kept, 0, memory.section(*at), 0, *bytes);
            }
            encoder.copy_buffer_to_buffer(&self.number[1], 0, &staging, 0, 16);
            device.queue.submit([encoder.finish()]);
            staging
        })?;
        let words = device.words(&staging)?;
        Ok(u64::from(words[0]) | u64::from(words[1]) << 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::fill::copy;

    /// A buffer that may be lost is needed from the step behind its first to its last.
    #[test]
    fn where_nothing_that_may_be_lost_is_needed_a_program_can_go_on() {
        let mut program = Program::new();
        let (x, y) = (program.matrix("x", 2, 3), program.matrix("y", 2, 3));
        let (a, b) = (program.transient("a", 2, 3), program.transient("b", 2, 3));
        for (from, to) in [(x, y), (x, a), (a, y), (a, b), (b, y), (x, y)] {
            copy(&mut program, from, to);
        }
        let lives: Vec<RangeInclusive<usize>> = program.plan().lives().cloned().collect();
        let free: Vec<bool> = (0..6).map(|step| needed(&lives, step).next().is_none()).collect();
        assert_eq!(free, [true, true, false, false, false, true]);
    }
}
