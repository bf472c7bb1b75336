//! Numbers on their way to the device and back.

use std::sync::mpsc::{Receiver, TryRecvError, channel};

use wgpu::{BufferUsages, CommandEncoderDescriptor, MapMode};

use super::replay::Replay;
use super::{Gpu, memory};
use crate::blocks::BLOCK;
use crate::program::{Element, Mat, ROW_ALIGNMENT};
use crate::{Error, Result};

/// A window's values on their way to the host.
pub(super) struct Read {
    /// The window's parts, each of a section, and where they are brought to.
    parts: Vec<(Mat, wgpu::Buffer)>,
    /// Whether a workgroup had waited in vain by then, and the number of the operation.
    given_up: Option<(wgpu::Buffer, u64)>,
    mapped: Receiver<std::result::Result<(), wgpu::BufferAsyncError>>,
    /// The parts that have not come.
    open: usize,
}

impl Read {
    /// Whether all of it has come.
    pub fn has_come(&mut self) -> Result<bool> {
        while self.open > 0 {
            match self.mapped.try_recv() {
                Err(TryRecvError::Empty) => return Ok(false),
                Err(TryRecvError::Disconnected) => return Err(failed("it was dropped")),
                Ok(Err(error)) => return Err(failed(error)),
                Ok(Ok(())) => self.open -= 1,
            }
        }
        Ok(true)
    }

    /// Whether a workgroup had waited in vain by then, and the number of the operation; `None` where none waits.
    pub fn given_up(&self) -> Result<Option<(bool, u64)>> {
        let Some((staging, number)) = &self.given_up else { return Ok(None) };
        let view = staging.get_mapped_range(..).map_err(failed)?;
        Ok(Some((bytemuck::pod_read_unaligned::<u32>(&view[..4]) != 0, *number)))
    }

    /// The values, row by row, once they have come.
    pub fn values(&self) -> Result<Vec<f32>> {
        let mut values = Vec::with_capacity(self.parts.iter().map(|(part, _)| part.len()).sum());
        for (part, staging) in &self.parts {
            let view = staging.get_mapped_range(..).map_err(failed)?;
            let data: &[f32] = bytemuck::cast_slice(&view);
            data.chunks(part.stride as usize).for_each(|row| values.extend_from_slice(&row[..part.cols as usize]));
        }
        Ok(values)
    }
}

fn failed(message: impl ToString) -> Error {
    Error::Device { what: "a read".into(), message: message.to_string() }
}

impl Gpu {
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
    pub(super) fn write_part(&mut self, part: Mat, buffer: &wgpu::Buffer, offset: u64, values: &[f32]) {
        let queue = self.device.queue.clone();
        let cols = part.cols as usize;
        let width = cols.next_multiple_of(ROW_ALIGNMENT as usize);
        let stride = if part.rows == 1 { width } else { part.stride as usize };
        if cols == stride {
            for (at, values) in (0u64..).step_by(BLOCK).zip(values.chunks(BLOCK)) {
                queue.write_buffer(buffer, (offset + at) * Element::SIZE, bytemuck::cast_slice(values));
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
            queue.write_buffer(buffer, (offset + at) * Element::SIZE, bytemuck::cast_slice(data));
            self.hand_over(data.len());
        }
    }

    /// Brings a window's values to where the host can read them.
    pub(super) fn bring(&self, window: Mat) -> Result<Read> {
        let (sender, mapped) = channel();
        let (device, memory) = (&self.device, &self.memory);
        let word = self.waits().then(|| (&memory.given_up, self.replay.as_ref().map_or(0, Replay::next)));
        let (parts, given_up) = device.checked("a read", || {
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
                let size = copies.iter().map(|(_, numbers)| numbers * Element::SIZE).sum();
                let staging = device.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("read"),
                    size,
                    usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                });
                let mut to = 0;
                for (from, numbers) in copies {
                    encoder.copy_buffer_to_buffer(buffer, from * Element::SIZE, &staging, to, numbers * Element::SIZE);
                    to += numbers * Element::SIZE;
                }
                (part, staging)
            };
            let parts: Vec<(Mat, wgpu::Buffer)> = memory.parts(window).map(part).collect();
            let given_up = word.map(|(word, number)| {
                let staging = memory::buffer(device, "read", 16, BufferUsages::MAP_READ);
                encoder.copy_buffer_to_buffer(word, 0, &staging, 0, 16);
                (staging, number)
            });
            device.queue.submit([encoder.finish()]);
            for staging in parts.iter().map(|(_, staging)| staging).chain(given_up.iter().map(|(staging, _)| staging)) {
                let sender = sender.clone();
                // The other end is gone when the ticket was dropped, which is no fault.
                staging.map_async(MapMode::Read, .., move |result| drop(sender.send(result)));
            }
            (parts, given_up)
        })?;
        Ok(Read { open: parts.len() + usize::from(given_up.is_some()), parts, given_up, mapped })
    }
}
