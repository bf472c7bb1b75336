//! The adapter that the tests run on: the best there is, or `WGPU_ADAPTER_NAME`. None is a failure, never a skip.

use std::sync::OnceLock;

use retrospect::backend::{Adapter, Backend, Cpu, Device};
use retrospect::check;
use retrospect::model::Model;
use retrospect::network::Network;
use retrospect::program::Program;

/// One device for all tests of a file.
pub fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| {
        let adapter = pollster::block_on(Adapter::find(None)).expect("the tests need an adapter");
        pollster::block_on(Device::open(&adapter)).expect("the adapter opens")
    })
}

/// The same adapter, opened with WebGPU's default limits, but bindings and buffers of so many bytes and few workgroups: there tensors
/// are several buffers, and steps are cut into many pieces.
pub fn small_device(binding: u64, buffer: u64) -> Device {
    let adapter = &device().adapter;
    let limits = wgpu::Limits {
        max_storage_buffer_binding_size: binding,
        max_buffer_size: buffer,
        max_compute_workgroups_per_dimension: 40,
        min_storage_buffer_offset_alignment: 256,
        max_immediate_size: adapter.limits().max_immediate_size,
        ..wgpu::Limits::default()
    };
    pollster::block_on(Device::open_with_limits(adapter, limits)).expect("the adapter opens")
}

/// A network on the CPU, or on the GPU in a variant.
pub fn load(model: Model, device: &Device, on: &'static str) -> Network {
    let backend = backend(model.program(), device, on);
    Network::on(model, backend)
}

/// A backend for a program: the CPU, or the GPU in a variant.
pub fn backend(program: &Program, device: &Device, on: &'static str) -> Box<dyn Backend> {
    match on {
        "CPU" => Box::new(Cpu::new(program, None).expect("the program fits")),
        variant => Box::new(check::gpu(device, program, Some(variant)).expect("the program loads")),
    }
}
