//! How many workgroups a device runs at the same time: found by having many count themselves in and wait for the others.

use wgpu::{BufferUsages, CommandEncoderDescriptor, ComputePassDescriptor};

use super::Device;
use super::load::own_pipeline;
use super::memory::buffer;
use crate::Result;
use crate::program::unroll;

/// Workgroups that count themselves in: more than any GPU runs at the same time with so many registers.
const MOST: u32 = 1024;
/// Each is tried so many times, of which the least counts.
const TRIES: usize = 3;

/// Invocations of a workgroup, bytes of its memory, and vectors of an invocation: about as much as the largest of those that wait for each other
/// take, if the device has as much.
const THREADS: u32 = 512;
const MEMORY: u32 = 26 << 10;
const NUMBERS: u32 = 24;

/// The workgroups with the registers and the memory of those that wait for each other that run at the same time.
///
/// # Errors
/// What the device reports.
pub(super) fn find(device: &Device) -> Result<u32> {
    let limits = device.device.limits();
    let threads = THREADS.min(limits.max_compute_invocations_per_workgroup).min(limits.max_compute_workgroup_size_x);
    let memory = MEMORY.min(limits.max_compute_workgroup_storage_size) / 16;
    let constants =
        format!("const THREADS: u32 = {threads}u;\nconst MEMORY: u32 = {memory}u;\nconst NUMBERS: u32 = {NUMBERS}u;\n");
    let text = constants + include_str!("../../../shaders/resident.wgsl");
    let pipeline = own_pipeline(device, "resident", &unroll(&text))?;
    let mut least = MOST;
    for _ in 0..TRIES {
        least = least.min(count(device, &pipeline)?);
    }
    Ok(least)
}

/// The most workgroups that one of them saw, in one try.
fn count(device: &Device, pipeline: &wgpu::ComputePipeline) -> Result<u32> {
    let staging = device.checked("resident", || {
        let make = |name, bytes, usage| buffer(device, name, bytes, usage);
        let seen = make("seen", 16, BufferUsages::STORAGE | BufferUsages::COPY_SRC);
        let numbers = make("numbers", 16 * 512 * 16, BufferUsages::STORAGE);
        let staging = make("read", 16, BufferUsages::MAP_READ);
        let group = device.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: seen.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 1, resource: numbers.as_entire_binding() },
            ],
        });
        let mut encoder = device.device.create_command_encoder(&CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups(MOST, 1, 1);
        }
        encoder.copy_buffer_to_buffer(&seen, 0, &staging, 0, 16);
        device.queue.submit([encoder.finish()]);
        staging
    })?;
    Ok(device.words(&staging)?[1])
}
