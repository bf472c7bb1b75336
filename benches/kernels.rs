//! Each kernel alone, on the CPU and on the first adapter in every variant that it offers: `cargo bench`, with a part of a name
//! to choose (`cargo bench -- gemm_nn/cpu`), or `cargo bench -- --test` to run each once.
//!
//! What is timed is right: a kernel is first held to its definition at small sizes, and at the size that is timed an adapter's
//! numbers to the CPU's. The time is that of the call and of waiting for its end, for a GPU the submission included. Where a
//! kernel computes something, the throughput counts its operations and the name has its bytes; otherwise it counts bytes.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use pollster::block_on;
use retrospect::backend::{Adapter, Backend, Cpu, Device, Gpu};
use retrospect::check::kernels::{on_cpu, on_gpu};
use retrospect::kernels::gemm::{NN, NT, NT_BIAS, TN};
use retrospect::program::{Access, Content, Contents, Kernel, Mat, Program, Step, Variant};
use retrospect::random::Random;
use retrospect::{cells, registry};

/// m, n and k: small; odd; the inputs of all time steps at once; a gradient of weights; one sequence and eight at a time.
const PRODUCTS: &[[u32; 3]] = &[[32, 32, 32], [67, 129, 257], [2048, 256, 256], [256, 256, 2048], [1, 512, 512], [8, 512, 512]];
/// Batch, hidden size and time steps: small; odd; large; one sequence and eight.
const RECURRENCES: &[[u32; 3]] = &[[4, 32, 8], [7, 65, 13], [32, 256, 64], [1, 256, 64], [8, 256, 64]];
/// Half a million numbers, or a few times as many.
const OTHERS: &[[u32; 3]] = &[[2048, 256, 8]];
/// Where kernels are held to their definitions: among them sizes for every variant.
const SMALL: &[[u32; 3]] = &[[5, 3, 2], [1, 64, 5], [8, 100, 8], [19, 37, 65], [64, 65, 64]];
/// How far an adapter's numbers may be from the CPU's, over the largest of a window.
const CLOSE: f32 = 1e-4;
/// Some kernels scale their numbers in place: after so many runs these are what they were in the beginning again, before they are
/// subnormal, which would take a processor longer.
const RUNS: u64 = 16;

fn main() {
    let criterion = Criterion::default().sample_size(10);
    let times = criterion.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let mut criterion = times.configure_from_args();
    let device = block_on(Adapter::find(None)).and_then(|adapter| block_on(Device::open(&adapter)));
    match &device {
        Ok(device) => eprintln!("gpu: {} ({})", device.adapter.name, device.adapter.driver),
        Err(error) => eprintln!("The CPU alone: {error}"),
    }
    let recurrences: Vec<&Kernel> = cells::ALL.iter().flat_map(|cell| [cell.forward, cell.backward]).collect();
    for kernel in registry::kernels() {
        let is_in = |list: &[&Kernel]| list.iter().any(|other| other.name == kernel.name);
        let sizes = if is_in(&[&NN, &NT, &TN, &NT_BIAS]) {
            PRODUCTS
        } else if is_in(&recurrences) {
            RECURRENCES
        } else {
            OTHERS
        };
        bench(&mut criterion, kernel, sizes, device.as_ref().ok());
    }
    criterion.final_summary();
}

fn bench(criterion: &mut Criterion, kernel: &'static Kernel, sizes: &[[u32; 3]], device: Option<&Device>) {
    let mut group = criterion.benchmark_group(kernel.name);
    let mut held = HashSet::new();
    for &size in sizes {
        let mut program = Program::new();
        let contents = (kernel.sample)(&mut program, size);
        let step = &program.steps()[0];
        let windows = fill(step, &contents);
        let [m, n, k] = size;
        let (flops, bytes) = ((kernel.flops)(step), step.bytes());
        let parameter = if flops > 0 { format!("{m}x{n}x{k}, {bytes} bytes") } else { format!("{m}x{n}x{k}") };
        group.throughput(if flops > 0 { Throughput::Elements(flops) } else { Throughput::Bytes(bytes) });
        let offered =
            device.into_iter().flat_map(|device| offered(device, step).into_iter().map(move |variant| Some((device, variant))));
        for place in [None].into_iter().chain(offered) {
            let name = place.map_or("cpu".into(), |(_, variant)| format!("gpu/{}", variant.name));
            let mut backend = None;
            // What the command line leaves out is neither checked nor loaded.
            group.bench_function(BenchmarkId::new(&name, &parameter), |bencher| {
                let backend = backend.get_or_insert_with(|| {
                    if held.insert(name.clone()) {
                        hold_to_definition(kernel, place);
                    }
                    loaded(&program, &windows, place)
                });
                bencher.iter_custom(|runs| time(&mut **backend, &windows, runs));
            });
        }
    }
    group.finish();
}

/// The variants that an adapter has for a step.
fn offered(device: &Device, step: &Step) -> Vec<&'static Variant> {
    device.candidates(step, &device.cuts(&Program::new())).collect()
}

/// What a step's window holds before it runs.
struct Filled {
    window: Mat,
    values: Values,
    access: Access,
}

enum Values {
    Numbers(Vec<f32>),
    Indices(Vec<u32>),
}

/// Random numbers in (-1, 1) for each window that is read, and what the kernel's sample asks for.
fn fill(step: &Step, contents: &Contents) -> Vec<Filled> {
    let mut random = Random::new(1, 3);
    let mut all = Vec::new();
    for (&window, binding) in step.windows.iter().zip(step.kernel.bindings) {
        let content = contents.iter().find(|(other, _)| *other == window).map(|(_, content)| content);
        let scale = if let Some(Content::Recurrent(_)) = content { 1.0 / (window.rows() as f32).sqrt() } else { 1.0 };
        let low = if let Some(Content::NotNegative) = content { 0.0 } else { -scale };
        let values = match content {
            Some(Content::Indices(indices)) => Values::Indices(indices.clone()),
            Some(Content::Numbers(numbers)) => Values::Numbers(numbers.clone()),
            _ => Values::Numbers((0..window.len()).map(|_| random.uniform_in(low, scale)).collect()),
        };
        all.push(Filled { window, values, access: binding.access });
    }
    all
}

/// The CPU, or a variant on a device.
type Place<'a> = Option<(&'a Device, &'static Variant)>;

fn hold_to_definition(kernel: &'static Kernel, place: Place) {
    let outcomes = match place {
        None => on_cpu(kernel, SMALL, None),
        Some((device, variant)) => on_gpu(kernel, variant, SMALL, device),
    };
    let outcomes = outcomes.unwrap_or_else(|error| panic!("{kernel:?}: {error}"));
    assert!(!outcomes.is_empty(), "{kernel:?}: none of the small sizes can be computed");
    for outcome in outcomes {
        let what = format!("{}/{} ({})", outcome.name, outcome.variant, outcome.shape);
        assert!(outcome.passed, "{what}: {}", outcome.note.unwrap_or_default());
    }
}

/// A backend on which the program has run once; of a GPU compared with the CPU.
fn loaded(program: &Program, windows: &[Filled], place: Place) -> Box<dyn Backend> {
    let run = |mut backend: Box<dyn Backend>| {
        write(&mut *backend, windows, |_| true);
        run_and_wait(&mut *backend);
        backend
    };
    let mut cpu = run(Box::new(Cpu::new(program, None).unwrap()));
    let Some((device, variant)) = place else { return cpu };
    let mut gpu = run(Box::new(Gpu::with_variants(device, program, &|_| Some(variant)).unwrap()));
    for Filled { window, .. } in windows.iter().filter(|filled| filled.access != Access::Read) {
        let [expected, got] = [cpu.read(*window).unwrap(), gpu.read(*window).unwrap()];
        let largest = expected.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
        for (at, (expected, got)) in expected.into_iter().zip(got).enumerate() {
            let is_close = (got - expected).abs() <= CLOSE * largest;
            let name = program.name(*window);
            assert!(is_close, "{}: element {at} of {name} is {got:e}, and {expected:e} on the CPU", variant.name);
        }
    }
    gpu
}

fn write(backend: &mut dyn Backend, windows: &[Filled], which: impl Fn(&Filled) -> bool) {
    for filled in windows.iter().filter(|filled| which(filled)) {
        match &filled.values {
            Values::Numbers(numbers) => backend.write(filled.window, numbers).unwrap(),
            Values::Indices(indices) => backend.write_indices(filled.window, indices).unwrap(),
        }
    }
}

fn run_and_wait(backend: &mut dyn Backend) {
    backend.run(0..1).unwrap();
    backend.wait().unwrap();
}

/// The time of so many runs.
fn time(backend: &mut dyn Backend, windows: &[Filled], runs: u64) -> Duration {
    let mut total = Duration::ZERO;
    for first in (0..runs).step_by(RUNS as usize) {
        write(backend, windows, |filled| filled.access == Access::ReadWrite);
        // A GPU takes what was written with the next submission.
        run_and_wait(backend);
        let begun = Instant::now();
        (first..runs.min(first + RUNS)).for_each(|_| run_and_wait(backend));
        total += begun.elapsed();
    }
    total
}
