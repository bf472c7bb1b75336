//! The adapter that the tests run on: the best there is, or `WGPU_ADAPTER_NAME`. None is a failure, never a skip. What needs another kind of
//! adapter runs on one of that kind where the machine has one beside the first, and says so where it has none.

use std::sync::OnceLock;

use retrospect::backend::{Adapter, Backend, Cpu, Device};
use retrospect::check;
use retrospect::model::Model;
use retrospect::network::Network;
use retrospect::program::{Class, Program, Variant};

/// One device for all tests of a file.
pub fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| {
        let adapter = pollster::block_on(Adapter::find(None)).expect("the tests need an adapter");
        pollster::block_on(Device::open(&adapter)).expect("the adapter opens")
    })
}

/// An adapter of this machine that has what a variant needs: for one that is made for software adapters such a one, else the first.
/// `None`, with a note, where there is none.
pub fn device_for(variant: &Variant) -> Option<&'static Device> {
    static ALL: OnceLock<Vec<Device>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let others = pollster::block_on(Adapter::all());
        let open = |adapter: Adapter| pollster::block_on(Device::open(&adapter)).ok();
        [device().clone()].into_iter().chain(others.into_iter().filter_map(open)).collect()
    });
    let wants_software = variant.class == Class::Software;
    let able = || all.iter().filter(|device| device.has(variant.needs));
    let found = able().find(|device| device.adapter.is_software() == wants_software).or_else(|| able().next());
    if found.is_none() {
        eprintln!("{} is not tried: no adapter here has what it needs, {:?}", variant.name, variant.needs);
    }
    found
}

/// The adapter of the tests as if it were a discrete GPU: with the variants that are made for those.
pub fn discrete_device() -> Device {
    let mut adapter = device().adapter.clone();
    adapter.kind = "discrete";
    pollster::block_on(Device::open(&adapter)).expect("the adapter opens")
}

/// The same adapter, opened with WebGPU's default limits, but bindings and buffers of so many bytes and few workgroups: there tensors
/// are several buffers, and steps are cut into many pieces.
pub fn small_device(binding: u64, buffer: u64) -> Device {
    small(device(), binding, buffer)
}

/// The same of a device's adapter.
pub fn small(device: &Device, binding: u64, buffer: u64) -> Device {
    let adapter = &device.adapter;
    let limits = wgpu::Limits {
        max_storage_buffer_binding_size: binding,
        max_buffer_size: buffer,
        max_compute_workgroups_per_dimension: 40,
        min_storage_buffer_offset_alignment: 256,
        // Which some variants need, and say so.
        max_compute_workgroup_storage_size: adapter.limits().max_compute_workgroup_storage_size,
        max_compute_invocations_per_workgroup: adapter.limits().max_compute_invocations_per_workgroup,
        max_compute_workgroup_size_x: adapter.limits().max_compute_workgroup_size_x,
        max_storage_buffers_per_shader_stage: adapter.limits().max_storage_buffers_per_shader_stage,
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
