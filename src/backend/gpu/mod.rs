//! The GPU backend: a program's steps, lowered to dispatches, on any adapter that wgpu reaches.
//!
//! Pipelines, bind groups and the windows that shaders see are made once, when a program is loaded; running a step
//! sets them and dispatches. It knows no kernel: the chosen variant of each says how its step becomes dispatches.

mod adapter;
mod calls;
mod device;
mod encode;
mod load;
mod memory;
mod pace;
mod repeat;
mod replay;
mod resident;
mod timestamps;
mod transfer;
mod unchecked;
mod watchdog;

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::time::{Duration, Instant};

pub use adapter::Adapter;
pub use calls::{catches_panics, unanswered};
pub use device::Device;
use encode::{Load, Position, encode, encode_recorded};
use load::Loaded;
use memory::Memory;
use pace::Pace;
use replay::{Operation, Replay};
use timestamps::Recorder;
use transfer::Read;
pub use watchdog::{DEVICE_TIMEOUT, watch};
use wgpu::{CommandEncoderDescriptor, ComputePassDescriptor};

use super::{Backend, Span, Ticket, Work};
use crate::program::{Element, Mat, Program, Step, Variant};
use crate::{Error, Result};

/// Calls of [`Backend::run`] that may be under way at once: enough that the device never waits for the host, few enough
/// that what the host has written ahead stays small.
const IN_FLIGHT: usize = 3;

/// How long a GPU is kept busy before anything is timed: an idle one runs at a fraction of its clock, and takes some 100 ms to come out of
/// it.
const WARM: Duration = Duration::from_millis(100);

/// Repeats some work, which waits for the device, until a hardware GPU runs at its full clock. A software adapter has none of its own.
///
/// # Errors
/// What the work reports.
pub(crate) fn warm(adapter: &Adapter, mut work: impl FnMut() -> Result<()>) -> Result<()> {
    let begun = Instant::now();
    while !adapter.is_software() && begun.elapsed() < WARM {
        work()?;
    }
    Ok(())
}

/// Runs programs on a GPU.
pub struct Gpu {
    device: Device,
    memory: Memory,
    steps: Vec<Loaded>,
    pace: Pace,
    /// The submissions of each call of `run`, the oldest first.
    in_flight: VecDeque<Vec<wgpu::SubmissionIndex>>,
    reads: HashMap<Ticket, Read>,
    tickets: u64,
    /// Numbers written since the last submission: the device keeps a copy of them until then.
    written: usize,
    /// What is repeated where a workgroup has waited for another in vain; `None` where none waits, or where that is an error.
    replay: Option<Replay>,
    recorder: Option<Recorder>,
    recording: Duration,
}

impl Gpu {
    /// Loads a program: allocates its buffers, zero, compiles the shaders of its steps and binds their windows. Which
    /// variant of a kernel runs is chosen by the kind of adapter.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] when a buffer or the whole is too large; [`Error::Device`] when wgpu refuses.
    pub fn new(device: &Device, program: &Program) -> Result<Gpu> {
        let mut gpu = Gpu::with_variants(device, program, &|_| None)?;
        if gpu.waits() {
            gpu.replay = match Replay::new(device, program, &gpu.memory) {
                Ok(replay) => Some(replay),
                Err(Error::DoesNotFit { .. }) => {
                    // Without room for a copy nothing could be repeated, so none may wait.
                    device.forbid_waiting();
                    drop(gpu);
                    return Gpu::with_variants(device, program, &|_| None);
                }
                Err(error) => return Err(error),
            };
        }
        Ok(gpu)
    }

    /// [`Gpu::new`], with the variant of some steps chosen; `None` leaves the choice. A variant without run-time checks that is named here
    /// runs whether it is trusted or not: this is how it is checked. That workgroups waited for each other in vain is an error here, where
    /// [`Gpu::new`] repeats what was asked for in other variants.
    ///
    /// # Errors
    /// As [`Gpu::new`].
    pub fn with_variants(device: &Device, program: &Program, choose: &dyn Fn(&Step) -> Option<&'static Variant>) -> Result<Gpu> {
        let (memory, steps) = load::load(device, program, choose)?;
        Ok(Gpu {
            pace: Pace::new(device.adapter.is_hardware()),
            device: device.clone(),
            memory,
            steps,
            in_flight: VecDeque::new(),
            reads: HashMap::new(),
            tickets: 0,
            written: 0,
            replay: None,
            recorder: None,
            recording: Duration::ZERO,
        })
    }

    /// The adapter that it runs on.
    pub(crate) fn adapter(&self) -> &Adapter {
        &self.device.adapter
    }

    /// Encodes and submits the steps, in as many submissions as keep each below the pace's budget.
    fn submit(&mut self, steps: Range<usize>) -> Vec<wgpu::SubmissionIndex> {
        let mut submissions = Vec::new();
        let mut position = Position { step: steps.start, phase: 0, time: 0, piece: 0 };
        while position.step < steps.end {
            let begun = Instant::now();
            let mut encoder = self.device.device.create_command_encoder(&CommandEncoderDescriptor::default());
            let mut load = Load { budget: self.pace.budget(), work: 0.0, dispatches: 0 };
            let recorded = match &self.recorder {
                Some(recorder) if recorder.has_timestamps() => {
                    let mut queries = recorder.queries(&self.device);
                    position = encode_recorded(&mut encoder, &mut queries, &self.steps, position, steps.end, &mut load);
                    let staging = recorder.resolve(&self.device, &queries, &mut encoder);
                    Some((queries, staging))
                }
                _ => {
                    let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
                    position = encode(&mut pass, &self.steps, position, steps.end, &mut load);
                    None
                }
            };
            let commands = encoder.finish();
            let recorded_at = Instant::now();
            self.recording += recorded_at - begun;
            submissions.push(self.device.queue.submit([commands]));
            self.written = 0;
            if let (Some(recorder), Some((queries, staging))) = (&mut self.recorder, recorded) {
                recorder.note_between(Work::Recording, begun, recorded_at);
                recorder.note(Work::Submitting, recorded_at);
                recorder.submitted(queries, staging);
            }
            self.pace.submitted(&self.device.queue, load.work);
            watchdog::answered();
        }
        submissions
    }

    /// Submits each step, or two that run at the same time, and waits for it: for a device without timestamps.
    fn submit_timed(&mut self, steps: Range<usize>) -> Result<()> {
        let mut step = steps.start;
        while step < steps.end {
            let (_, count) = encode::phases(&self.steps, step, steps.end);
            let begun = Instant::now();
            let device = self.device.clone();
            let submissions = device.checked("a submission", || self.submit(step..step + count))?;
            self.finish(submissions)?;
            if let Some(recorder) = &mut self.recorder {
                recorder.note(Work::Step(step), begun);
            }
            step += count;
        }
        Ok(())
    }

    /// Waits for the submissions of a call, one after the other: each has the device's patience to itself.
    fn finish(&self, submissions: Vec<wgpu::SubmissionIndex>) -> Result<()> {
        submissions.into_iter().try_for_each(|submission| self.device.wait_for(Some(submission)))
    }
}

impl Backend for Gpu {
    fn write(&mut self, window: Mat, values: &[f32]) -> Result<()> {
        assert_eq!(values.len(), window.len(), "values for {window:?}");
        if let Some(replay) = &mut self.replay {
            replay.note(Operation::Write(window, values.to_vec()));
        }
        let parts: Vec<(Mat, wgpu::Buffer, u64)> =
            self.memory.parts(window).map(|(part, buffer, offset)| (part, buffer.clone(), offset)).collect();
        let (device, mut rest) = (self.device.clone(), values);
        for (part, buffer, offset) in parts {
            let values;
            (values, rest) = rest.split_at(part.len());
            device.checked("a write", || self.write_part(part, &buffer, offset, values))?;
        }
        Ok(())
    }

    fn write_indices(&mut self, window: Mat, values: &[u32]) -> Result<()> {
        assert_eq!(values.len(), window.len(), "values for {window:?}");
        if let Some(replay) = &mut self.replay {
            replay.note(Operation::WriteIndices(window, values.to_vec()));
        }
        let mut rest = values;
        for (part, buffer, offset) in self.memory.parts(window) {
            let values;
            (values, rest) = rest.split_at(part.len());
            self.device.checked("a write", || {
                self.device.queue.write_buffer(buffer, offset * Element::SIZE, bytemuck::cast_slice(values));
            })?;
        }
        Ok(())
    }

    fn is_extensible(&self) -> bool {
        self.memory.is_extensible()
    }

    fn extend(&mut self, program: &Program) -> Result<()> {
        let loaded = self.steps.len();
        load::extend(&self.device, program, &mut self.memory, &mut self.steps)?;
        if let Some(replay) = &mut self.replay {
            replay.extend(program, loaded..program.len());
        }
        Ok(())
    }

    fn run(&mut self, steps: Range<usize>) -> Result<()> {
        if self.in_flight.len() >= IN_FLIGHT {
            let first = self.in_flight.pop_front().unwrap_or_default();
            self.finish(first)?;
        }
        self.device.poll()?;
        if self.replay.as_ref().is_some_and(Replay::is_large) {
            self.look()?;
        }
        if let Some(replay) = &mut self.replay {
            if replay.is_due(steps.start) {
                replay.copy(&self.device, &self.memory)?;
            }
            replay.note(Operation::Run(steps.clone()));
        }
        if self.recorder.as_ref().is_some_and(|recorder| !recorder.has_timestamps()) {
            return self.submit_timed(steps);
        }
        let device = self.device.clone();
        let submissions = device.checked("a submission", || self.submit(steps))?;
        self.in_flight.push_back(submissions);
        Ok(())
    }

    fn request(&mut self, window: Mat) -> Result<Ticket> {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        if let Some(replay) = &mut self.replay {
            replay.note(Operation::Request(ticket, window));
        }
        let read = self.bring(window)?;
        self.reads.insert(ticket, read);
        Ok(ticket)
    }

    fn take(&mut self, ticket: Ticket) -> Result<Option<Vec<f32>>> {
        self.device.poll()?;
        let Some(read) = self.reads.get_mut(&ticket) else { return Ok(None) };
        if !read.has_come()? {
            return Ok(None);
        }
        match (read.given_up()?, &mut self.replay) {
            (Some((true, _)), _) => return self.repeat().map(|()| None),
            (Some((false, number)), Some(replay)) => replay.confirm(number),
            _ => {}
        }
        let values = read.values()?;
        self.reads.remove(&ticket);
        Ok(Some(values))
    }

    fn wait(&mut self) -> Result<()> {
        while let Some(submissions) = self.in_flight.pop_front() {
            self.finish(submissions)?;
        }
        self.device.wait_for(None)
    }

    fn record(&mut self, on: bool) -> Result<()> {
        self.recorder = on.then(|| Recorder::new(&self.device));
        Ok(())
    }

    fn spans(&mut self) -> Result<Vec<Span>> {
        self.wait()?;
        // What was timed after a workgroup had given up is worth nothing.
        self.look()?;
        self.recorder.as_mut().map_or(Ok(Vec::new()), Recorder::take)
    }

    fn recording_time(&self) -> Duration {
        self.recording
    }

    fn description(&self) -> String {
        let adapter = &self.device.adapter;
        format!("{} ({}, {}, {})", adapter.name, adapter.kind, adapter.api, adapter.driver)
    }

    fn variant(&self, step: usize) -> Option<&'static str> {
        Some(self.steps[step].variant)
    }

    fn dispatches(&self, step: usize) -> u64 {
        if step.checked_sub(1).is_some_and(|first| self.steps[first].together.is_some()) {
            return 0;
        }
        let phases = self.steps[step].together.as_ref().unwrap_or(&self.steps[step].phases);
        phases.iter().map(|p| u64::from(p.times.count) * p.pieces.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::fill::copy;

    #[test]
    fn a_lost_device_is_an_error_wherever_it_is_noticed() {
        let adapter = pollster::block_on(Adapter::find(None)).expect("the tests need an adapter");
        let mut program = Program::new();
        let (x, out) = (program.matrix("x", 3, 5), program.matrix("out", 3, 5));
        copy(&mut program, x, out);
        type Use = fn(&mut Gpu, Mat) -> Result<()>;
        let uses: [(&str, Use); 4] = [
            ("run", |gpu, _| (0..4).try_for_each(|_| gpu.run(0..1))),
            ("read", |gpu, out| gpu.read(out).map(drop)),
            ("wait", |gpu, _| gpu.wait()),
            ("write", |gpu, out| (0..2).try_for_each(|_| gpu.write(out, &[0.0; 15]).and_then(|()| gpu.wait()))),
        ];
        for (name, use_it) in uses {
            let device = pollster::block_on(Device::open(&adapter)).unwrap();
            let mut gpu = Gpu::new(&device, &program).unwrap();
            gpu.write(x, &[1.0; 15]).unwrap();
            gpu.run(0..1).unwrap();
            assert_eq!(gpu.read(out).unwrap(), [1.0; 15]);
            // A call that fails leaves the device as it is, whether wgpu gives an error or panics.
            let planted = device.checked("a planted fault", || assert!(name.is_empty(), "planted"));
            assert!(planted.is_err_and(|error| error.exit_code() == 5 && error.to_string().contains("planted")));
            assert_eq!(gpu.read(out).unwrap(), [1.0; 15]);
            device.device.destroy();
            let error = use_it(&mut gpu, out).expect_err(name);
            assert_eq!(error.exit_code(), 5, "{name}: {error}");
        }
    }
}
