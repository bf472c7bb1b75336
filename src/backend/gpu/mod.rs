//! The GPU backend: a program's steps, lowered to dispatches, on any adapter that wgpu reaches.
//!
//! Pipelines, bind groups and the windows that shaders see are made once, when a program is loaded; running a step
//! sets them and dispatches. It knows no kernel: the chosen variant of each says how its step becomes dispatches.

mod adapter;
mod device;
mod load;
mod memory;
mod pace;
mod timestamps;
mod unchecked;

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

pub use adapter::Adapter;
pub use device::{Device, is_polling};
use load::Loaded;
use memory::Memory;
use pace::Pace;
use timestamps::Recorder;
use wgpu::{BufferUsages, CommandEncoder, CommandEncoderDescriptor, ComputePassDescriptor, MapMode};

use super::{Backend, Span, Ticket, Work};
use crate::blocks::BLOCK;
use crate::program::{Mat, Program, ROW_ALIGNMENT, Step, Variant};
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
    recorder: Option<Recorder>,
    recording: Duration,
}

struct Read {
    /// The window's parts, each of a section, and where they are brought to.
    parts: Vec<(Mat, wgpu::Buffer)>,
    mapped: Receiver<std::result::Result<(), wgpu::BufferAsyncError>>,
    /// The parts that have not come.
    open: usize,
}

impl Gpu {
    /// Loads a program: allocates its buffers, zero, compiles the shaders of its steps and binds their windows. Which
    /// variant of a kernel runs is chosen by the kind of adapter.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] when a buffer or the whole is too large; [`Error::Device`] when wgpu refuses.
    pub fn new(device: &Device, program: &Program) -> Result<Gpu> {
        Gpu::with_variants(device, program, &|_| None)
    }

    /// [`Gpu::new`], with the variant of some steps chosen; `None` leaves the choice. A variant without run-time checks that is named here
    /// runs whether it is trusted or not: this is how it is checked.
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
        }
        submissions
    }

    /// Submits each step alone and waits for it: for a device without timestamps.
    fn submit_timed(&mut self, steps: Range<usize>) -> Result<()> {
        for step in steps {
            let begun = Instant::now();
            let device = self.device.clone();
            let submissions = device.checked("a submission", || self.submit(step..step + 1))?;
            self.finish(submissions)?;
            if let Some(recorder) = &mut self.recorder {
                recorder.note(Work::Step(step), begun);
            }
        }
        Ok(())
    }

    /// After a part of a write: once there are many, waits until the device has them, so that its copies do not add up.
    fn hand_over(&mut self, numbers: usize) {
        self.written += numbers;
        if self.written >= BLOCK {
            let submitted = self.device.queue.submit([]);
            // What goes wrong is reported by the next call.
            let _ = self.device.wait_for(Some(submitted));
            self.written = 0;
        }
    }

    /// Writes the values of a part of a window, which lies in a section, row by row.
    fn write_part(&mut self, part: Mat, buffer: &wgpu::Buffer, offset: u64, values: &[f32]) {
        let queue = self.device.queue.clone();
        let cols = part.cols as usize;
        let width = cols.next_multiple_of(ROW_ALIGNMENT as usize);
        let stride = if part.rows == 1 { width } else { part.stride as usize };
        if cols == stride {
            for (at, values) in (0u64..).step_by(BLOCK).zip(values.chunks(BLOCK)) {
                queue.write_buffer(buffer, (offset + at) * 4, bytemuck::cast_slice(values));
                self.hand_over(values.len());
            }
            return;
        }
        // A window of some columns shares its rows with others: each row is written alone. Else as many as a write may hold.
        let rows = if stride > width { 1 } else { (BLOCK / stride).clamp(1, part.rows as usize) };
        let mut padded = vec![0.0; rows * stride];
        for (at, values) in (0u64..).step_by(rows * stride).zip(values.chunks(rows * cols)) {
            let count = values.len() / cols;
            padded.chunks_mut(stride).zip(values.chunks(cols)).for_each(|(row, values)| row[..cols].copy_from_slice(values));
            let data = &padded[..(count - 1) * stride + width];
            queue.write_buffer(buffer, (offset + at) * 4, bytemuck::cast_slice(data));
            self.hand_over(data.len());
        }
    }

    /// Waits for the submissions of a call, one after the other: each has the device's patience to itself.
    fn finish(&self, submissions: Vec<wgpu::SubmissionIndex>) -> Result<()> {
        submissions.into_iter().try_for_each(|submission| self.device.wait_for(Some(submission)))
    }
}

/// Where encoding has come to: a step, a phase of it, a time step of that and a piece of that.
struct Position {
    step: usize,
    phase: usize,
    time: u32,
    piece: usize,
}

/// What a submission holds so far, and may hold.
struct Load {
    budget: f64,
    work: f64,
    dispatches: u32,
}

impl Load {
    const MOST_DISPATCHES: u32 = 8192;

    /// Whether so much more is too much. The first piece always goes.
    fn is_full(&self, more: f64) -> bool {
        self.dispatches > 0 && (self.work + more > self.budget || self.dispatches >= Load::MOST_DISPATCHES)
    }
}

/// [`encode`] with a pass a step, each with timestamps.
fn encode_recorded(
    encoder: &mut CommandEncoder,
    queries: &mut timestamps::Queries,
    steps: &[Loaded],
    mut position: Position,
    end: usize,
    load: &mut Load,
) -> Position {
    while position.step < end && queries.has_room() {
        let step = position.step;
        let descriptor = ComputePassDescriptor { label: None, timestamp_writes: Some(queries.writes_for(step)) };
        let mut pass = encoder.begin_compute_pass(&descriptor);
        position = encode(&mut pass, steps, position, step + 1, load);
        if position.step == step {
            break;
        }
    }
    position
}

/// Encodes from a position on until the end or until the submission is full; gives where it stopped.
fn encode(pass: &mut wgpu::ComputePass, steps: &[Loaded], from: Position, end: usize, load: &mut Load) -> Position {
    let Position { mut step, mut phase, mut time, mut piece } = from;
    let mut is_set = false;
    while step < end {
        let loaded = &steps[step];
        while phase < loaded.phases.len() {
            let now = &loaded.phases[phase];
            let share = loaded.work / now.pieces.len() as f64;
            while time < now.times.count {
                while piece < now.pieces.len() {
                    if load.is_full(share) {
                        return Position { step, phase, time, piece };
                    }
                    let dispatch = &now.pieces[piece];
                    // A repeated phase of one piece sets its pipeline and bindings once.
                    if !is_set || now.pieces.len() > 1 {
                        pass.set_pipeline(&dispatch.pipeline);
                        pass.set_bind_group(0, &dispatch.bind_group, &[]);
                        is_set = true;
                    }
                    pass.set_immediates(0, bytemuck::bytes_of(&now.times.at(time)));
                    pass.dispatch_workgroups(dispatch.grid[0], dispatch.grid[1], dispatch.grid[2]);
                    load.dispatches += 1;
                    load.work += share;
                    piece += 1;
                }
                (time, piece) = (time + 1, 0);
            }
            (phase, time, is_set) = (phase + 1, 0, false);
        }
        (step, phase) = (step + 1, 0);
    }
    Position { step, phase, time, piece }
}

impl Backend for Gpu {
    fn write(&mut self, window: Mat, values: &[f32]) -> Result<()> {
        assert_eq!(values.len(), window.len(), "values for {window:?}");
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
        let mut rest = values;
        for (part, buffer, offset) in self.memory.parts(window) {
            let values;
            (values, rest) = rest.split_at(part.len());
            self.device.checked("a write", || {
                self.device.queue.write_buffer(buffer, offset * 4, bytemuck::cast_slice(values));
            })?;
        }
        Ok(())
    }

    fn is_extensible(&self) -> bool {
        self.memory.is_extensible()
    }

    fn extend(&mut self, program: &Program) -> Result<()> {
        load::extend(&self.device, program, &mut self.memory, &mut self.steps)
    }

    fn run(&mut self, steps: Range<usize>) -> Result<()> {
        if self.in_flight.len() >= IN_FLIGHT {
            let first = self.in_flight.pop_front().unwrap_or_default();
            self.finish(first)?;
        }
        self.device.poll()?;
        if self.recorder.as_ref().is_some_and(|recorder| !recorder.has_timestamps()) {
            return self.submit_timed(steps);
        }
        let device = self.device.clone();
        let submissions = device.checked("a submission", || self.submit(steps))?;
        self.in_flight.push_back(submissions);
        Ok(())
    }

    fn request(&mut self, window: Mat) -> Result<Ticket> {
        let (sender, mapped) = channel();
        let (device, memory) = (&self.device, &self.memory);
        let parts = device.checked("a read", || {
            let mut encoder = device.device.create_command_encoder(&CommandEncoderDescriptor::default());
            let part = |(mut part, buffer, offset): (Mat, &wgpu::Buffer, u64)| {
                let width = part.cols.next_multiple_of(ROW_ALIGNMENT);
                let copies: Vec<(u64, u64)> = if part.rows > 1 && part.stride > width {
                    // Some columns: row by row, without what lies between them.
                    let (rows, stride) = (0..u64::from(part.rows), u64::from(part.stride));
                    part.stride = width;
                    rows.map(|r| (offset + r * stride, u64::from(width))).collect()
                } else {
                    vec![(offset, part.end() - part.offset)]
                };
                let size = copies.iter().map(|(_, numbers)| numbers * 4).sum();
                let staging = device.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("read"),
                    size,
                    usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                });
                let mut to = 0;
                for (from, numbers) in copies {
                    encoder.copy_buffer_to_buffer(buffer, from * 4, &staging, to, numbers * 4);
                    to += numbers * 4;
                }
                (part, staging)
            };
            let parts: Vec<(Mat, wgpu::Buffer)> = memory.parts(window).map(part).collect();
            device.queue.submit([encoder.finish()]);
            for (_, staging) in &parts {
                let sender = sender.clone();
                // The other end is gone when the ticket was dropped, which is no fault.
                staging.map_async(MapMode::Read, .., move |result| drop(sender.send(result)));
            }
            parts
        })?;
        self.tickets += 1;
        self.reads.insert(Ticket(self.tickets), Read { open: parts.len(), parts, mapped });
        Ok(Ticket(self.tickets))
    }

    fn take(&mut self, ticket: Ticket) -> Result<Option<Vec<f32>>> {
        self.device.poll()?;
        let Some(read) = self.reads.get_mut(&ticket) else { return Ok(None) };
        let failed = |message: String| Error::Device { what: "a read".into(), message };
        while read.open > 0 {
            match read.mapped.try_recv() {
                Err(TryRecvError::Empty) => return Ok(None),
                Err(TryRecvError::Disconnected) => return Err(failed("it was dropped".into())),
                Ok(Err(error)) => return Err(failed(error.to_string())),
                Ok(Ok(())) => read.open -= 1,
            }
        }
        let mut values = Vec::with_capacity(read.parts.iter().map(|(part, _)| part.len()).sum());
        for (part, staging) in &read.parts {
            let view = staging.get_mapped_range(..).map_err(|e| failed(e.to_string()))?;
            let data: &[f32] = bytemuck::cast_slice(&view);
            data.chunks(part.stride as usize).for_each(|row| values.extend_from_slice(&row[..part.cols as usize]));
        }
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
        self.steps[step].phases.iter().map(|p| u64::from(p.times.count) * p.pieces.len() as u64).sum()
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
            device.device.destroy();
            let error = use_it(&mut gpu, out).expect_err(name);
            assert_eq!(error.exit_code(), 5, "{name}: {error}");
        }
    }
}
