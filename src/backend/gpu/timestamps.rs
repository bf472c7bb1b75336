//! When each step ran, by the device's own clock: a compute pass for each step, or for two that run at the same time, with a timestamp at its beginning and its end.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use wgpu::{BufferUsages, CommandEncoder, ComputePassTimestampWrites, MapMode, QuerySet};

use super::Device;
use super::watchdog;
use crate::backend::{Span, Work};
use crate::{Error, Result};

/// Timestamps of a submission: two for each pass, as many as a query set may hold.
const QUERIES: u32 = wgpu::QUERY_SET_MAX_QUERIES;
const BYTES: u64 = 8;

/// Notes spans while it is there.
pub(super) struct Recorder {
    began: Instant,
    /// Nanoseconds of a tick; `None`: the device has no timestamps.
    period: Option<f64>,
    spans: Vec<Span>,
    pending: Vec<Pending>,
    /// The first timestamp, and the host's time when its submission was begun.
    origin: Option<(u64, Duration)>,
}

/// Timestamps on their way back.
struct Pending {
    staging: wgpu::Buffer,
    steps: Vec<usize>,
    submitted: Duration,
    mapped: Receiver<std::result::Result<(), wgpu::BufferAsyncError>>,
}

/// The timestamps of a submission that is being encoded.
pub(super) struct Queries {
    set: QuerySet,
    steps: Vec<usize>,
    begun: Duration,
}

impl Recorder {
    pub fn new(device: &Device) -> Recorder {
        let has = device.device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        let period = has.then(|| f64::from(device.queue.get_timestamp_period()));
        Recorder { began: Instant::now(), period, spans: Vec::new(), pending: Vec::new(), origin: None }
    }

    pub fn has_timestamps(&self) -> bool {
        self.period.is_some()
    }

    /// Notes what took from `start` until now by the host's clock.
    pub fn note(&mut self, work: Work, start: Instant) {
        self.note_between(work, start, Instant::now());
    }

    /// Notes what took from `start` until `end`.
    pub fn note_between(&mut self, work: Work, start: Instant, end: Instant) {
        self.spans.push(Span { work, start: start - self.began, length: end - start });
    }

    pub fn queries(&self, device: &Device) -> Queries {
        let descriptor = wgpu::QuerySetDescriptor { label: Some("timestamps"), ty: wgpu::QueryType::Timestamp, count: QUERIES };
        Queries { set: device.device.create_query_set(&descriptor), steps: Vec::new(), begun: self.began.elapsed() }
    }

    /// Encodes that the timestamps are brought back; to be mapped by [`Recorder::submitted`].
    pub fn resolve(&self, device: &Device, queries: &Queries, encoder: &mut CommandEncoder) -> wgpu::Buffer {
        let count = 2 * queries.steps.len() as u32;
        let buffer = |label, usage| {
            let size = u64::from(count) * BYTES;
            device.device.create_buffer(&wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false })
        };
        let resolved = buffer("timestamps", BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC);
        let staging = buffer("timestamps read", BufferUsages::MAP_READ | BufferUsages::COPY_DST);
        encoder.resolve_query_set(&queries.set, 0..count, &resolved, 0);
        encoder.copy_buffer_to_buffer(&resolved, 0, &staging, 0, u64::from(count) * BYTES);
        staging
    }

    pub fn submitted(&mut self, queries: Queries, staging: wgpu::Buffer) {
        let (sender, mapped) = channel();
        // The other end is gone when recording was ended, which is no fault.
        staging.map_async(MapMode::Read, .., move |result| drop(sender.send(result)));
        self.pending.push(Pending { staging, steps: queries.steps, submitted: queries.begun, mapped });
    }

    /// What was noted, once the device has been waited for.
    pub fn take(&mut self) -> Result<Vec<Span>> {
        let failed = |message: String| Error::Device { what: "timestamps".into(), message };
        let period = self.period.unwrap_or(1.0);
        for Pending { staging, steps, submitted, mapped } in self.pending.drain(..) {
            // The device is done, but whoever polled it last calls back: another thread, it may be, that has yet to.
            mapped.recv_timeout(watchdog::limit()).map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))?;
            let view = staging.get_mapped_range(..).map_err(|e| failed(e.to_string()))?;
            let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&view);
            for (step, pair) in steps.into_iter().zip(ticks.chunks(2)) {
                let (first, at) = *self.origin.get_or_insert((pair[0], submitted));
                let after = |from: u64, to: u64| Duration::from_nanos((to.saturating_sub(from) as f64 * period) as u64);
                self.spans.push(Span {
                    work: Work::Step(step),
                    start: at + after(first, pair[0]),
                    length: after(pair[0], pair[1]),
                });
            }
        }
        Ok(std::mem::take(&mut self.spans))
    }
}

impl Queries {
    pub fn has_room(&self) -> bool {
        2 * (self.steps.len() as u32) < QUERIES
    }

    /// What a pass of this step writes.
    pub fn writes_for(&mut self, step: usize) -> ComputePassTimestampWrites<'_> {
        let first = 2 * self.steps.len() as u32;
        self.steps.push(step);
        ComputePassTimestampWrites {
            query_set: &self.set,
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        }
    }
}
