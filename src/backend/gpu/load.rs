//! Loading a program: buffers, pipelines, and a bind group for each piece of each step.

use std::collections::hash_map::Entry;
use std::sync::PoisonError;

use wgpu::{
    BindGroupDescriptor, BindGroupEntry, BindGroupLayoutDescriptor, BindGroupLayoutEntry, BindingResource, BindingType,
    BufferBinding, BufferBindingType, BufferUsages, PipelineLayoutDescriptor, ShaderStages,
};

use super::Device;
use crate::program::{Access, Buf, Lowered, Mat, Piece, Program, Shader, Step, Times, Variant};
use crate::{Error, Result};

/// A step ready to run.
pub(super) struct Loaded {
    pub variant: &'static str,
    pub phases: Vec<LoadedPhase>,
    /// Operations of one time step of a phase, for the pace.
    pub work: f64,
}

/// A phase ready to run.
pub(super) struct LoadedPhase {
    pub times: Times,
    pub pieces: Vec<LoadedPiece>,
}

/// A dispatch ready to run.
pub(super) struct LoadedPiece {
    pub pipeline: wgpu::ComputePipeline,
    pub bind_group: wgpu::BindGroup,
    pub grid: [u32; 3],
}

pub(super) type Compiled = (wgpu::ComputePipeline, wgpu::BindGroupLayout);

/// Makes all that a program needs on a device.
pub(super) fn load(
    device: &Device,
    program: &Program,
    choose: &dyn Fn(&Step) -> Option<&'static Variant>,
) -> Result<(Vec<wgpu::Buffer>, Vec<Loaded>)> {
    let lowered: Vec<(&'static Variant, Lowered)> = program
        .steps()
        .iter()
        .map(|step| {
            let variant = choose(step).unwrap_or_else(|| device.variant(step));
            (variant, (variant.lower)(step, &device.cuts))
        })
        .collect();
    let buffers = allocate(device, program, &lowered)?;
    let layout = Layout::of(device, program, &lowered)?;
    let uniforms = device.checked("the windows of a program", || {
        let uniforms = buffer(device, "windows", layout.bytes.len() as u64, BufferUsages::UNIFORM);
        device.queue.write_buffer(&uniforms, 0, &layout.bytes);
        uniforms
    })?;
    let mut compiled = device.compiled.lock().unwrap_or_else(PoisonError::into_inner);
    let mut slots = layout.slots.into_iter();
    let mut steps = Vec::new();
    for (step, (variant, lowered)) in program.steps().iter().zip(lowered) {
        let work = (step.kernel.flops)(step).max(step.bytes() / 4) as f64;
        let repeats: u64 = lowered.phases.iter().map(|p| u64::from(p.times.count)).sum();
        let mut phases = Vec::new();
        for phase in lowered.phases {
            let mut pieces = Vec::new();
            for piece in phase.pieces {
                let shader: &'static Shader = &variant.shaders[piece.shader];
                let (pipeline, group_layout) = match compiled.entry(std::ptr::from_ref(shader).addr()) {
                    Entry::Occupied(made) => made.into_mut(),
                    Entry::Vacant(place) => {
                        let label = format!("{}/{}/{}", step.kernel.name, variant.name, shader.entry);
                        place.insert(device.checked(&label, || compile(device, &label, shader))?)
                    }
                };
                let slot = slots.next().expect("a slot for each piece");
                let what = format!("{}/{}", step.kernel.name, variant.name);
                let bind_group = device.checked(&what, || bind(device, group_layout, &uniforms, &slot, &piece, &buffers))?;
                pieces.push(LoadedPiece { pipeline: pipeline.clone(), bind_group, grid: piece.grid });
            }
            phases.push(LoadedPhase { times: phase.times, pieces });
        }
        steps.push(Loaded { variant: variant.name, phases, work: work / repeats.max(1) as f64 });
    }
    Ok((buffers, steps))
}

/// The program's buffers, then the scratch buffers.
fn allocate(device: &Device, program: &Program, lowered: &[(&'static Variant, Lowered)]) -> Result<Vec<wgpu::Buffer>> {
    let scratch = [0, 1].map(|i| lowered.iter().map(|(_, l)| l.scratch[i]).max().unwrap_or(0).max(4));
    let mut wanted: Vec<(&str, u64)> = program.buffers().iter().map(|b| (b.name.as_str(), b.len * 4)).collect();
    wanted.extend([("scratch", scratch[0] * 4), ("second scratch", scratch[1] * 4)]);
    let largest = device.device.limits().max_buffer_size;
    if let Some((name, bytes)) = wanted.iter().find(|(_, bytes)| *bytes > largest) {
        return Err(Error::DoesNotFit {
            what: format!("the buffer \"{name}\""),
            needed: *bytes,
            available: largest,
            advice: format!("{} has no larger ones", device.adapter.name),
        });
    }
    if device.adapter.is_software() {
        super::super::check_memory("the program", wanted.iter().map(|(_, bytes)| bytes).sum())?;
    }
    wanted
        .iter()
        .map(|(name, bytes)| {
            let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC;
            device.checked(&format!("the buffer \"{name}\" of {bytes} bytes"), || buffer(device, name, *bytes, usage))
        })
        .collect()
}

fn buffer(device: &Device, name: &str, bytes: u64, usage: BufferUsages) -> wgpu::Buffer {
    device.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(name),
        size: bytes.next_multiple_of(16).max(16),
        usage: usage | BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

/// The uniform of each piece, one after the other.
struct Layout {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
}

/// Where a piece's uniform lies, and the range of each of its windows' buffers that is bound.
struct Slot {
    offset: u64,
    size: u64,
    ranges: Vec<(usize, u64, u64)>,
}

impl Layout {
    fn of(device: &Device, program: &Program, lowered: &[(&'static Variant, Lowered)]) -> Result<Layout> {
        let limits = device.device.limits();
        let mut layout = Layout { bytes: Vec::new(), slots: Vec::new() };
        for (step, (variant, lowered)) in program.steps().iter().zip(lowered) {
            for piece in lowered.phases.iter().flat_map(|p| &p.pieces) {
                let name = || format!("{}/{}", step.kernel.name, variant.name);
                if piece.iterations > device.cuts.iterations {
                    let message = format!("loops of {} iterations, {} are safe", piece.iterations, device.cuts.iterations);
                    return Err(Error::Device { what: name(), message });
                }
                if let Some(most) = piece.grid.iter().find(|&&n| n > limits.max_compute_workgroups_per_dimension) {
                    let message =
                        format!("{most} workgroups in a dimension, {} are allowed", limits.max_compute_workgroups_per_dimension);
                    return Err(Error::Device { what: name(), message });
                }
                layout.push(piece, program, &limits, name)?;
            }
        }
        Ok(layout)
    }

    /// Appends a piece's uniform: {offset, rows, cols, stride} of each window, counted from the start of its binding,
    /// and the scalars.
    fn push(&mut self, piece: &Piece, program: &Program, limits: &wgpu::Limits, name: impl Fn() -> String) -> Result<()> {
        let alignment = u64::from(limits.min_storage_buffer_offset_alignment) / 4;
        let uniform_alignment = limits.min_uniform_buffer_offset_alignment as usize;
        self.bytes.resize(self.bytes.len().next_multiple_of(uniform_alignment), 0);
        let start = self.bytes.len();
        let mut ranges = Vec::new();
        for window in &piece.windows {
            let base = window.offset / alignment * alignment;
            let size = (window.end() - base) * 4;
            if size > limits.max_storage_buffer_binding_size {
                return Err(Error::DoesNotFit {
                    what: format!("a binding of \"{}\" in {}", program.name(*window), name()),
                    needed: size,
                    available: limits.max_storage_buffer_binding_size,
                    advice: "it cannot be cut further; a smaller hidden size, batch or window would fit".into(),
                });
            }
            let words = [(window.offset - base) as u32, window.rows, window.cols, window.stride];
            self.bytes.extend_from_slice(bytemuck::cast_slice(&words));
            ranges.push((index(window, program), base * 4, size.next_multiple_of(16)));
        }
        self.bytes.extend_from_slice(&piece.scalars);
        self.bytes.resize(self.bytes.len().next_multiple_of(16), 0);
        self.slots.push(Slot { offset: start as u64, size: (self.bytes.len() - start) as u64, ranges });
        Ok(())
    }
}

/// The position of a window's buffer in the list that [`allocate`] makes.
fn index(window: &Mat, program: &Program) -> usize {
    match Buf::SCRATCH.iter().position(|buf| *buf == window.buf) {
        Some(scratch) => program.buffers().len() + scratch,
        None => window.buf.0 as usize,
    }
}

fn compile(device: &Device, label: &str, shader: &Shader) -> Compiled {
    let entry = |binding, ty| BindGroupLayoutEntry {
        binding,
        visibility: ShaderStages::COMPUTE,
        ty: BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    };
    let storage = |access| BufferBindingType::Storage { read_only: access == Access::Read };
    let mut entries = vec![entry(0, BufferBindingType::Uniform)];
    entries.extend((1..).zip(shader.bindings).map(|(i, b)| entry(i, storage(b.access))));
    let layout = device.device.create_bind_group_layout(&BindGroupLayoutDescriptor { label: Some(label), entries: &entries });
    let module = device.device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(label),
        source: wgpu::ShaderSource::Wgsl(shader.wgsl().into()),
    });
    let pipeline_layout = device.device.create_pipeline_layout(&PipelineLayoutDescriptor {
        label: Some(label),
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 4,
    });
    let pipeline = device.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(label),
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some(shader.entry),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    (pipeline, layout)
}

fn bind(
    device: &Device,
    layout: &wgpu::BindGroupLayout,
    uniforms: &wgpu::Buffer,
    slot: &Slot,
    piece: &Piece,
    buffers: &[wgpu::Buffer],
) -> wgpu::BindGroup {
    let range =
        |buffer, offset, size| BindingResource::Buffer(BufferBinding { buffer, offset, size: std::num::NonZero::new(size) });
    let mut entries = vec![BindGroupEntry { binding: 0, resource: range(uniforms, slot.offset, slot.size) }];
    assert_eq!(piece.windows.len(), slot.ranges.len(), "a range for each window");
    for (binding, (buffer, offset, size)) in (1..).zip(&slot.ranges) {
        entries.push(BindGroupEntry { binding, resource: range(&buffers[*buffer], *offset, *size) });
    }
    device.device.create_bind_group(&BindGroupDescriptor { label: None, layout, entries: &entries })
}
