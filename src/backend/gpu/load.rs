//! Loading a program: buffers, pipelines, and a bind group for each piece of each step.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::PoisonError;

use rayon::prelude::*;
use wgpu::{
    BindGroupDescriptor, BindGroupEntry, BindGroupLayoutDescriptor, BindGroupLayoutEntry, BindingResource, BindingType,
    BufferBinding, BufferBindingType, BufferUsages, PipelineLayoutDescriptor, ShaderStages,
};

use super::memory::{Memory, buffer};
use super::watchdog::Watched;
use super::{Device, unchecked};
use crate::backend::{PROGRAM, check_memory};
use crate::program::{Access, Cuts, Element, Lowered, Mat, Piece, Program, Shader, Step, Times, Variant};
use crate::{Error, Result};

/// A step ready to run.
pub(super) struct Loaded {
    pub variant: &'static str,
    /// Whether its workgroups wait for each other.
    pub waits: bool,
    pub phases: Vec<LoadedPhase>,
    /// The same of it and the second step of its pair together, where it is the first of one.
    pub together: Option<Vec<LoadedPhase>>,
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

/// What is compiled once for all programs: a shader, by its address, with or without run-time checks, for one step or for a pair.
pub(super) type Key = (usize, bool, bool);

/// A step as dispatches.
struct LoweredStep {
    variant: &'static Variant,
    alone: Lowered,
    /// With the second step of its pair.
    together: Option<Lowered>,
}

impl LoweredStep {
    /// The dispatches of both forms.
    fn pieces(&self) -> impl Iterator<Item = &Piece> {
        let both = [&self.alone].into_iter().chain(&self.together);
        both.flat_map(|lowered| &lowered.phases).flat_map(|phase| &phase.pieces)
    }
}

fn lower(steps: &[Step], cuts: &Cuts, choose: &dyn Fn(usize, &Step) -> &'static Variant) -> Vec<LoweredStep> {
    let lower = |(number, step): (usize, &Step)| {
        let variant = choose(number, step);
        let second = steps.get(number + 1).filter(|second| second.is_second);
        let second = second.filter(|second| std::ptr::eq(choose(number + 1, second), variant));
        let together = second.and_then(|second| together(variant, [step, second], cuts));
        LoweredStep { variant, alone: (variant.lower)(step, cuts), together }
    };
    steps.iter().enumerate().map(lower).collect()
}

/// A pair of steps as the same dispatches, where a variant can compute it so.
fn together(variant: &Variant, [step, second]: [&Step; 2], cuts: &Cuts) -> Option<Lowered> {
    let lower = |step| (variant.lower)(step, cuts);
    if variant.pairs { lower(step).together(lower(second), cuts) } else { None }
}

/// The dispatches of each step of a program in the variants that are usual or chosen; of two that run in the same ones, the second has none.
pub(super) fn dispatches(device: &Device, program: &Program) -> Vec<u64> {
    let cuts = device.cuts(program);
    let steps = lower(program.steps(), &cuts, &|_, step| device.variant(step, &cuts));
    let mut counts = Vec::new();
    let mut is_done = false;
    for step in &steps {
        counts.push(if is_done { 0 } else { step.together.as_ref().unwrap_or(&step.alone).dispatches() });
        is_done = step.together.is_some();
    }
    counts
}

/// Makes all that a program needs on a device.
pub(super) fn load(
    device: &Device,
    program: &Program,
    choose: &dyn Fn(&Step) -> Option<&'static Variant>,
) -> Result<(Memory, Vec<Loaded>)> {
    if device.adapter.is_software() {
        // What is much too large would take long to lower.
        check_memory(PROGRAM, program.plan().bytes())?;
    }
    let cuts = device.cuts(program);
    let choose = |_, step: &Step| choose(step).unwrap_or_else(|| device.variant(step, &cuts));
    let lowered = lower(program.steps(), &cuts, &choose);
    let memory = Memory::allocate(device, program, cuts.clone(), lowered.iter().flat_map(LoweredStep::pieces))?;
    let steps = load_steps(device, program, program.steps(), lowered, &memory)?;
    Ok((memory, steps))
}

/// Makes what the steps need that a loaded program has gained, which are much like the first of those that it had: each is run by the
/// variant of the one in its place, where that can be.
pub(super) fn extend(device: &Device, program: &Program, memory: &mut Memory, loaded: &mut Vec<Loaded>) -> Result<()> {
    let gained = &program.steps()[loaded.len()..];
    assert!(memory.is_extensible() && memory.suits(program, loaded.len()..program.len()), "the new steps need other places");
    // What repeats a program, should a workgroup wait for another in vain, is there where some did from the beginning.
    let mut cuts = memory.cuts.clone();
    let waits = loaded.iter().any(|step| step.waits);
    if !waits {
        cuts.resident = Some(0);
    }
    let choose = |number: usize, step: &Step| {
        let like = loaded.get(number).filter(|_| std::ptr::eq(program.steps()[number].kernel, step.kernel));
        let wanted = like.and_then(|like| step.kernel.variants.iter().find(|variant| variant.name == like.variant));
        wanted.and_then(|wanted| device.usable(step, wanted, &cuts)).unwrap_or_else(|| device.variant(step, &cuts))
    };
    let lowered = lower(gained, &cuts, &choose);
    memory.enlarge_scratch(device, lowered.iter().flat_map(LoweredStep::pieces))?;
    loaded.extend(load_steps(device, program, gained, lowered, memory)?);
    Ok(())
}

/// Compiles and binds the lowered steps of a program.
fn load_steps(
    device: &Device,
    program: &Program,
    steps: &[Step],
    lowered: Vec<LoweredStep>,
    memory: &Memory,
) -> Result<Vec<Loaded>> {
    let layout = Layout::new(device, program, memory, steps, &lowered)?;
    let upload = |bytes: &Vec<u8>| {
        device.checked("the windows of a program", || {
            let uniforms = buffer(device, "windows", bytes.len() as u64, BufferUsages::UNIFORM);
            device.queue.write_buffer(&uniforms, 0, bytes);
            uniforms
        })
    };
    let uniforms: Vec<wgpu::Buffer> = layout.uniforms.iter().map(upload).collect::<Result<_>>()?;
    let mut slots = layout.slots.into_iter();
    let mut all = Vec::new();
    for (step, LoweredStep { variant, alone, together }) in steps.iter().zip(lowered) {
        let work = (step.kernel.flops)(step).max(step.bytes() / Element::SIZE) as f64;
        let repeats: u64 = alone.phases.iter().map(|p| u64::from(p.times.count)).sum();
        let mut load = |lowered| load_phases(device, step, variant, lowered, &uniforms, &mut slots);
        let phases = load(alone)?;
        let together = together.map(load).transpose()?;
        all.push(Loaded { variant: variant.name, waits: variant.waits, phases, together, work: work / repeats.max(1) as f64 });
    }
    Ok(all)
}

/// Compiles and binds the dispatches of a step, or of a pair of steps.
fn load_phases<'a>(
    device: &Device,
    step: &Step,
    variant: &Variant,
    lowered: Lowered,
    uniforms: &[wgpu::Buffer],
    slots: &mut impl Iterator<Item = Slot<'a>>,
) -> Result<Vec<LoadedPhase>> {
    let mut compiled = device.compiled.lock().unwrap_or_else(PoisonError::into_inner);
    let mut phases = Vec::new();
    for phase in lowered.phases {
        let mut pieces = Vec::new();
        for piece in phase.pieces {
            let shader: &'static Shader = &variant.shaders[piece.shader];
            let is_pair = piece.windows.len() > shader.bindings.len();
            let (pipeline, group_layout) = match compiled.entry(key(variant, shader, is_pair)) {
                Entry::Occupied(made) => made.into_mut(),
                Entry::Vacant(place) => place.insert(compile(device, step.kernel.name, variant, shader, is_pair)?),
            };
            let slot = slots.next().expect("a slot for each piece");
            let what = format!("the bind group of {}/{}", step.kernel.name, variant.name);
            let bind_group = device.checked(&what, || bind(device, group_layout, &uniforms[slot.buffer], &slot))?;
            pieces.push(LoadedPiece { pipeline: pipeline.clone(), bind_group, grid: piece.grid });
        }
        phases.push(LoadedPhase { times: phase.times, pieces });
    }
    Ok(phases)
}

/// The uniform of each piece, one after the other, in as many buffers as it takes.
struct Layout<'a> {
    uniforms: Vec<Vec<u8>>,
    slots: Vec<Slot<'a>>,
}

/// Where a piece's uniform lies, and the range of each of its windows' buffers that is bound.
struct Slot<'a> {
    buffer: usize,
    offset: u64,
    size: u64,
    ranges: Vec<(&'a wgpu::Buffer, u64, u64)>,
}

impl<'a> Layout<'a> {
    fn new(
        device: &Device,
        program: &Program,
        memory: &'a Memory,
        steps: &[Step],
        lowered: &[LoweredStep],
    ) -> Result<Layout<'a>> {
        let limits = device.device.limits();
        let mut layout = Layout { uniforms: vec![Vec::new()], slots: Vec::new() };
        for (step, lowered) in steps.iter().zip(lowered) {
            let variant = lowered.variant;
            for piece in lowered.pieces() {
                let name = || format!("{}/{}", step.kernel.name, variant.name);
                if piece.iterations > memory.cuts.iterations {
                    let message = format!("loops of {} iterations, {} are safe", piece.iterations, memory.cuts.iterations);
                    return Err(Error::Device { what: name(), message });
                }
                let allowed = limits.max_compute_workgroups_per_dimension;
                if let Some(most) = piece.grid.iter().find(|&&n| n > allowed) {
                    let message = format!("{most} workgroups in a dimension, {allowed} are allowed");
                    return Err(Error::Device { what: name(), message });
                }
                layout.push(piece, variant.shaders[piece.shader].bindings.len(), program, memory, &limits, name)?;
            }
        }
        Ok(layout)
    }

    /// Appends a piece's uniform: {offset, rows, cols, stride} of each window, counted from the start of its binding,
    /// and the scalars; of a pair of steps those of both.
    fn push(
        &mut self,
        piece: &Piece,
        bindings: usize,
        program: &Program,
        memory: &'a Memory,
        limits: &wgpu::Limits,
        name: impl Fn() -> String,
    ) -> Result<()> {
        let alignment = u64::from(limits.min_storage_buffer_offset_alignment) / Element::SIZE;
        let uniform_alignment = limits.min_uniform_buffer_offset_alignment as usize;
        let steps: Vec<&[Mat]> = piece.windows.chunks(bindings).collect();
        let (mut bases, mut ranges) = (Vec::new(), Vec::new());
        for binding in 0..bindings {
            let window = steps[0][binding];
            let (buffer, _) = memory.find(&window);
            let offsets = steps.iter().map(|windows| memory.find(&windows[binding]).1);
            let base = offsets.clone().min().unwrap_or(0) / alignment * alignment;
            let ends =
                steps.iter().zip(offsets).map(|(windows, offset)| offset + windows[binding].end() - windows[binding].offset);
            let size = (ends.max().unwrap_or(base) - base) * Element::SIZE;
            if size > limits.max_storage_buffer_binding_size {
                return Err(Error::DoesNotFit {
                    what: format!("a binding of \"{}\" in {}", program.name(window), name()),
                    needed: size,
                    available: limits.max_storage_buffer_binding_size,
                    advice: "it cannot be cut further; a smaller hidden size, batch or window would fit, or segments of the window (--recompute)".into(),
                });
            }
            bases.push(base);
            ranges.push((buffer, base * Element::SIZE, size.next_multiple_of(16)));
        }
        let mut bytes = Vec::new();
        for windows in steps {
            for (window, base) in windows.iter().zip(&bases) {
                let words = [(memory.find(window).1 - base) as u32, window.rows, window.cols, window.stride];
                bytes.extend_from_slice(bytemuck::cast_slice(&words));
            }
            bytes.extend_from_slice(&piece.scalars);
            bytes.resize(bytes.len().next_multiple_of(16), 0);
        }
        let mut offset = self.uniforms[self.uniforms.len() - 1].len().next_multiple_of(uniform_alignment);
        if (offset + bytes.len()) as u64 > limits.max_buffer_size {
            self.uniforms.push(Vec::new());
            offset = 0;
        }
        let buffer = self.uniforms.len() - 1;
        self.slots.push(Slot { buffer, offset: offset as u64, size: bytes.len() as u64, ranges });
        self.uniforms[buffer].resize(offset, 0);
        self.uniforms[buffer].append(&mut bytes);
        Ok(())
    }
}

fn key(variant: &Variant, shader: &'static Shader, is_pair: bool) -> Key {
    let address = std::ptr::from_ref(shader).addr();
    (address, variant.checked.is_some() && shader.stays_in_bounds, is_pair)
}

/// Compiles the shaders of some variants of kernels that are not compiled yet, on all threads; with pairs those for two steps too.
pub(super) fn compile_all(device: &Device, variants: &[(&'static str, &'static Variant)], has_pairs: bool) -> Result<()> {
    let mut wanted: HashMap<Key, (&str, &Variant, &'static Shader, bool)> = HashMap::new();
    {
        let compiled = device.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        for (kernel, variant) in variants {
            let for_pairs = variant.shaders.iter().take(usize::from(has_pairs && variant.pairs)).map(|shader| (shader, true));
            for (shader, is_pair) in variant.shaders.iter().map(|shader| (shader, false)).chain(for_pairs) {
                let key = key(variant, shader, is_pair);
                if !compiled.contains_key(&key) {
                    wanted.insert(key, (kernel, variant, shader, is_pair));
                }
            }
        }
    }
    let made: Vec<(Key, Result<Compiled>)> = wanted
        .into_par_iter()
        .map(|(key, (kernel, variant, shader, is_pair))| (key, compile(device, kernel, variant, shader, is_pair)))
        .collect();
    let mut all = device.compiled.lock().unwrap_or_else(PoisonError::into_inner);
    let mut refused = Ok(());
    for (key, made) in made {
        match made {
            Ok(made) => drop(all.insert(key, made)),
            Err(error) => refused = refused.and(Err(error)),
        }
    }
    refused
}

fn compile(device: &Device, kernel: &str, variant: &Variant, shader: &'static Shader, is_pair: bool) -> Result<Compiled> {
    let label = format!("{kernel}/{}/{}{}", variant.name, shader.entry, if is_pair { " for a pair" } else { "" });
    let key = key(variant, shader, is_pair);
    device.checked(&label, || pipeline(device, &label, shader, key))
}

fn pipeline(device: &Device, label: &str, shader: &Shader, (_, unchecked, is_pair): Key) -> Compiled {
    let _watched = Watched::begin(&format!("the compilation of {label}"), device.adapter.is_software());
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
    let text = if is_pair { shader.wgsl_for_pair() } else { shader.wgsl() };
    let descriptor = wgpu::ShaderModuleDescriptor { label: Some(label), source: wgpu::ShaderSource::Wgsl(text.into()) };
    let module = match unchecked {
        true => unchecked::create_module(&device.device, descriptor),
        false => device.device.create_shader_module(descriptor),
    };
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

/// The pipeline of a shader of the backend's own, whose layout follows from its text.
pub(super) fn own_pipeline(device: &Device, label: &'static str, text: &str) -> Result<wgpu::ComputePipeline> {
    device.checked(label, || {
        let _watched = Watched::begin(&format!("the compilation of {label}"), device.adapter.is_software());
        let source = wgpu::ShaderSource::Wgsl(text.into());
        let module = device.device.create_shader_module(wgpu::ShaderModuleDescriptor { label: Some(label), source });
        device.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(label),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        })
    })
}

fn bind(device: &Device, layout: &wgpu::BindGroupLayout, uniforms: &wgpu::Buffer, slot: &Slot) -> wgpu::BindGroup {
    let range =
        |buffer, offset, size| BindingResource::Buffer(BufferBinding { buffer, offset, size: std::num::NonZero::new(size) });
    let mut entries = vec![BindGroupEntry { binding: 0, resource: range(uniforms, slot.offset, slot.size) }];
    for (binding, (buffer, offset, size)) in (1..).zip(&slot.ranges) {
        entries.push(BindGroupEntry { binding, resource: range(buffer, *offset, *size) });
    }
    device.device.create_bind_group(&BindGroupDescriptor { label: None, layout, entries: &entries })
}
