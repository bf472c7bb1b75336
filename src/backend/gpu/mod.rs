//! The GPU backend: a program's steps, lowered to dispatches, on any adapter that wgpu reaches.
//!
//! Pipelines, bind groups and the windows that shaders see are made once, when a program is loaded; running a step
//! sets them and dispatches. It knows no kernel: the chosen variant of each says how its step becomes dispatches.

mod adapter;
mod device;
mod load;
mod pace;

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

pub use adapter::Adapter;
pub use device::{Device, is_polling};
use load::Loaded;
use pace::Pace;
use wgpu::{BufferUsages, CommandEncoderDescriptor, ComputePassDescriptor, MapMode};

use super::{Backend, Ticket};
use crate::program::{Mat, Program, Variant};
use crate::{Error, Result};

/// Calls of [`Backend::run`] that may be under way at once: enough that the device never waits for the host, few enough
/// that what the host has written ahead stays small.
const IN_FLIGHT: usize = 3;

/// Runs programs on a GPU.
pub struct Gpu {
    device: Device,
    buffers: Vec<wgpu::Buffer>,
    steps: Vec<Loaded>,
    pace: Pace,
    /// The submissions of each call of `run`, the oldest first.
    in_flight: VecDeque<Vec<wgpu::SubmissionIndex>>,
    reads: HashMap<Ticket, Read>,
    tickets: u64,
}

struct Read {
    staging: wgpu::Buffer,
    window: Mat,
    mapped: Receiver<std::result::Result<(), wgpu::BufferAsyncError>>,
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

    /// [`Gpu::new`], with the variant of some kernels chosen by name; `None` leaves the choice.
    ///
    /// # Errors
    /// As [`Gpu::new`].
    pub fn with_variants(device: &Device, program: &Program, choose: &dyn Fn(&str) -> Option<&'static Variant>) -> Result<Gpu> {
        let (buffers, steps) = load::load(device, program, choose)?;
        Ok(Gpu {
            pace: Pace::new(device.adapter.is_hardware()),
            device: device.clone(),
            buffers,
            steps,
            in_flight: VecDeque::new(),
            reads: HashMap::new(),
            tickets: 0,
        })
    }

    /// Encodes and submits the steps, in as many submissions as keep each below the pace's budget.
    fn submit(&mut self, steps: Range<usize>) -> Vec<wgpu::SubmissionIndex> {
        let queue = &self.device.queue;
        let mut submissions = Vec::new();
        let mut position = Position { step: steps.start, phase: 0, time: 0, piece: 0 };
        while position.step < steps.end {
            let mut encoder = self.device.device.create_command_encoder(&CommandEncoderDescriptor::default());
            let work;
            {
                let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
                (position, work) = encode(&mut pass, &self.steps, position, steps.end, self.pace.budget());
            }
            submissions.push(queue.submit([encoder.finish()]));
            self.pace.submitted(queue, work);
        }
        submissions
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

/// Encodes from a position on until the end or until the budget of work is spent; gives where it stopped and the work.
fn encode(pass: &mut wgpu::ComputePass, steps: &[Loaded], from: Position, end: usize, budget: f64) -> (Position, f64) {
    const MOST_DISPATCHES: u32 = 8192;
    let Position { mut step, mut phase, mut time, mut piece } = from;
    let (mut work, mut dispatches) = (0.0, 0);
    while step < end {
        let loaded = &steps[step];
        while phase < loaded.phases.len() {
            let now = &loaded.phases[phase];
            let share = loaded.work / now.pieces.len() as f64;
            while time < now.times.count {
                while piece < now.pieces.len() {
                    if work > 0.0 && (work + share > budget || dispatches >= MOST_DISPATCHES) {
                        return (Position { step, phase, time, piece }, work);
                    }
                    let dispatch = &now.pieces[piece];
                    // A repeated phase of one piece sets its pipeline and bindings once.
                    if time == 0 || now.pieces.len() > 1 || dispatches == 0 {
                        pass.set_pipeline(&dispatch.pipeline);
                        pass.set_bind_group(0, &dispatch.bind_group, &[]);
                    }
                    pass.set_immediates(0, bytemuck::bytes_of(&now.times.at(time)));
                    pass.dispatch_workgroups(dispatch.grid[0], dispatch.grid[1], dispatch.grid[2]);
                    dispatches += 1;
                    work += share;
                    piece += 1;
                }
                (time, piece) = (time + 1, 0);
            }
            (phase, time) = (phase + 1, 0);
        }
        (step, phase) = (step + 1, 0);
    }
    (Position { step, phase, time, piece }, work)
}

impl Backend for Gpu {
    fn write(&mut self, window: Mat, values: &[f32]) -> Result<()> {
        assert_eq!(values.len(), window.len(), "values for {window:?}");
        let mut padded = Vec::new();
        let whole = window.cols == window.stride;
        if !whole {
            padded = vec![0.0; (window.end() - window.offset) as usize];
            for (row, values) in padded.chunks_mut(window.stride as usize).zip(values.chunks(window.cols as usize)) {
                row[..values.len()].copy_from_slice(values);
            }
        }
        let buffer = &self.buffers[window.buf.0 as usize];
        let data = if whole { values } else { &padded };
        let width = window.cols.next_multiple_of(crate::program::ROW_ALIGNMENT) as usize;
        self.device.checked("a write", || {
            // A window of some columns shares its rows with others: each row is written alone.
            if window.stride as usize > width {
                for (r, row) in (0u64..).zip(data.chunks(window.stride as usize)) {
                    let at = (window.offset + r * u64::from(window.stride)) * 4;
                    self.device.queue.write_buffer(buffer, at, bytemuck::cast_slice(&row[..width]));
                }
            } else {
                self.device.queue.write_buffer(buffer, window.offset * 4, bytemuck::cast_slice(data));
            }
        })
    }

    fn write_indices(&mut self, window: Mat, values: &[u32]) -> Result<()> {
        assert_eq!(values.len(), window.len(), "values for {window:?}");
        let buffer = &self.buffers[window.buf.0 as usize];
        self.device.checked("a write", || self.device.queue.write_buffer(buffer, window.offset * 4, bytemuck::cast_slice(values)))
    }

    fn run(&mut self, steps: Range<usize>) -> Result<()> {
        if self.in_flight.len() >= IN_FLIGHT {
            let first = self.in_flight.pop_front().unwrap_or_default();
            self.finish(first)?;
        }
        self.device.poll()?;
        let device = self.device.clone();
        let submissions = device.checked("a submission", || self.submit(steps))?;
        self.in_flight.push_back(submissions);
        Ok(())
    }

    fn request(&mut self, window: Mat) -> Result<Ticket> {
        let (start, size) = (window.offset * 4, (window.end() - window.offset) * 4);
        let (sender, mapped) = channel();
        let staging = self.device.checked("a read", || {
            let staging = self.device.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("read"),
                size,
                usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            let mut encoder = self.device.device.create_command_encoder(&CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(&self.buffers[window.buf.0 as usize], start, &staging, 0, size);
            self.device.queue.submit([encoder.finish()]);
            // The other end is gone when the ticket was dropped, which is no fault.
            staging.map_async(MapMode::Read, .., move |result| drop(sender.send(result)));
            staging
        })?;
        self.tickets += 1;
        self.reads.insert(Ticket(self.tickets), Read { staging, window, mapped });
        Ok(Ticket(self.tickets))
    }

    fn take(&mut self, ticket: Ticket) -> Result<Option<Vec<f32>>> {
        self.device.poll()?;
        let Some(read) = self.reads.get(&ticket) else { return Ok(None) };
        let failed = |message: String| Error::Device { what: "a read".into(), message };
        match read.mapped.try_recv() {
            Err(TryRecvError::Empty) => return Ok(None),
            Err(TryRecvError::Disconnected) => return Err(failed("it was dropped".into())),
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Ok(Ok(())) => {}
        }
        let view = read.staging.get_mapped_range(..).map_err(|e| failed(e.to_string()))?;
        let data: &[f32] = bytemuck::cast_slice(&view);
        let (cols, stride) = (read.window.cols as usize, read.window.stride as usize);
        let values = data.chunks(stride).flat_map(|row| &row[..cols]).copied().collect();
        drop(view);
        self.reads.remove(&ticket);
        Ok(Some(values))
    }

    fn wait(&mut self) -> Result<()> {
        while let Some(submissions) = self.in_flight.pop_front() {
            self.finish(submissions)?;
        }
        self.device.wait_for(None)
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
