//! Every kernel, on the CPU and in every variant on the GPU, against its definition in f64: on small integers, where any
//! order of summation is exact, the same bits; on real values within a bound from the arithmetic. Buffers are poisoned
//! before, and what lies around the windows is looked at after.

use std::cell::Cell;
use std::rc::Rc;

use super::device::device;
use super::pair::{Fault, Faulty, written};
use retrospect::backend::{Backend, Cpu, Device, Gpu};
use retrospect::check::{Exact, compare_step};
use retrospect::kernels;
use retrospect::program::{Access, Element, Kernel, Mat, Program, Step, Variant};

const SIZES: [[u32; 3]; 10] = [
    [1, 1, 1],
    [1, 65, 7],
    [7, 1, 19],
    [5, 3, 2],
    [19, 37, 65],
    [63, 64, 63],
    [64, 65, 64],
    [66, 130, 33],
    [9, 257, 128],
    [1, 300, 1],
];

/// Values for a window, the same for every backend: small integers, or reals in (-1, 1).
fn values(window: Mat, seed: u32, integers: bool) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    (0..window.len())
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if integers { ((state >> 16) % 3) as f32 - 1.0 } else { (state >> 8) as f32 / (1 << 23) as f32 - 1.0 }
        })
        .collect()
}

/// A kernel's sample at a size, with its windows' contents.
struct Case {
    program: Program,
    indices: Vec<(Mat, Vec<u32>)>,
}

impl Case {
    fn new(kernel: &Kernel, size: [u32; 3]) -> Case {
        let mut program = Program::new();
        let indices = (kernel.sample)(&mut program, size);
        assert_eq!(program.len(), 1, "{kernel:?} records one step");
        assert_eq!(program.steps()[0].kernel.name, kernel.name);
        Case { program, indices }
    }

    fn step(&self) -> &Step {
        &self.program.steps()[0]
    }

    fn fill(&self, backend: &mut dyn Backend, integers: bool) {
        for (window, indices) in &self.indices {
            backend.write_indices(*window, indices).unwrap();
        }
        for (seed, (&window, binding)) in (1..).zip(self.step().windows.iter().zip(self.step().kernel.bindings)) {
            let contents = match (binding.element, binding.access) {
                (Element::U32, _) => continue,
                // What a kernel overwrites must not matter.
                (_, Access::Write) => vec![f32::NAN; window.len()],
                // Adam's squares are not negative, and its status says that training goes on.
                _ if binding.name == "v" => values(window, seed, integers).iter().map(|v| v.abs()).collect(),
                _ if binding.name == "status" => vec![0.0; window.len()],
                // A recurrent weight that neither vanishes nor explodes over the steps.
                _ if binding.name == "weight" && !integers && window.rows() == window.cols() => {
                    let scale = 1.0 / (window.cols() as f32).sqrt();
                    values(window, seed, integers).iter().map(|v| v * scale).collect()
                }
                _ => values(window, seed, integers),
            };
            backend.write(window, &contents).unwrap();
        }
    }

    /// What differs between the definition and a backend.
    fn compare(&self, backend: &mut dyn Backend, integers: bool, bound: &dyn Fn(&Step) -> f64) -> Vec<String> {
        let mut exact = Exact::new(&self.program);
        self.fill(&mut exact, integers);
        self.fill(backend, integers);
        let found = compare_step(&self.program, 0, &mut exact, backend, bound).unwrap();
        found.iter().map(ToString::to_string).collect()
    }
}

/// Kernels whose every result on small integers is an integer below 2²⁴.
fn is_exact_on_integers(kernel: &Kernel) -> bool {
    ["gemm", "column_sum", "embedding", "transpose", "fill", "copy", "carry", "sgd"].iter().any(|n| kernel.name.starts_with(n))
}

/// How far f32 may be from the definition, relative to the largest value: for sums of K products 4·u·√K·Σ|x·w|, and
/// Σ|x·w| is at most about √K times the largest sum, so 4·u·K; a recurrence makes such an error at each time step and
/// carries the earlier ones along, at most once each where φ contracts; activations and losses add some units of the
/// last place.
fn bound(step: &Step) -> f64 {
    let u = 2f64.powi(-24);
    let out = step.windows.iter().zip(step.kernel.bindings).filter(|(_, b)| b.access != Access::Read).map(|(w, _)| w.len());
    let terms = (step.kernel.flops)(step) as f64 / 2.0 / out.max().unwrap_or(1) as f64;
    match step.kernel.name {
        "elman_forward" | "elman_backward" => {
            let steps = f64::from(step.windows[0].rows()) / f64::from(step.scalars::<[u32; 2]>()[0]);
            u * (4.0 * terms + 16.0) * steps.max(1.0)
        }
        // In blocks, and nothing cancels: some units of the last place whatever its length.
        "norm" => 2e-6,
        _ => u * (4.0 * terms + 16.0),
    }
}

fn gpu(device: &Device, case: &Case, variant: &'static Variant) -> Gpu {
    Gpu::with_variants(device, &case.program, &|_| Some(variant)).unwrap()
}

#[test]
fn on_integers_every_variant_gives_the_definition_s_bits() {
    for kernel in kernels::all().into_iter().filter(|k| is_exact_on_integers(k)) {
        for size in SIZES {
            let case = Case::new(kernel, size);
            let found = case.compare(&mut Cpu::new(&case.program, None).unwrap(), true, &|_| 0.0);
            assert!(found.is_empty(), "{kernel:?} on the CPU at {size:?}: {found:?}");
            for variant in kernel.variants {
                let found = case.compare(&mut gpu(device(), &case, variant), true, &|_| 0.0);
                assert!(found.is_empty(), "{kernel:?}/{} at {size:?}: {found:?}", variant.name);
            }
        }
    }
}

#[test]
fn on_reals_every_variant_is_within_its_bound() {
    for kernel in kernels::all() {
        for size in SIZES {
            let case = Case::new(kernel, size);
            let found = case.compare(&mut Cpu::new(&case.program, None).unwrap(), false, &bound);
            assert!(found.is_empty(), "{kernel:?} on the CPU at {size:?}: {found:?}");
            for variant in kernel.variants {
                let found = case.compare(&mut gpu(device(), &case, variant), false, &bound);
                assert!(found.is_empty(), "{kernel:?}/{} at {size:?}: {found:?}", variant.name);
            }
        }
    }
}

/// Sums past the 65,535 loop iterations after which lavapipe stops without an error.
#[test]
fn long_sums_lose_no_term() {
    let long = |name: &str| match name {
        "gemm_nn" | "gemm_nt" | "gemm_tn" | "gemm_nt_bias" => [3, 5, 70_001],
        "column_sum" => [70_001, 5, 1],
        "embedding_gradient" => [70_001, 5, 2],
        "norm" => [70_001, 19, 3],
        _ => [0, 0, 0],
    };
    for kernel in kernels::all().into_iter().filter(|k| long(k.name)[0] > 0) {
        let case = Case::new(kernel, long(kernel.name));
        let (integers, bound): (bool, &dyn Fn(&Step) -> f64) =
            if kernel.name == "norm" { (false, &|_| 2e-6) } else { (true, &|_| 0.0) };
        let found = case.compare(&mut Cpu::new(&case.program, None).unwrap(), integers, bound);
        assert!(found.is_empty(), "{kernel:?} on the CPU: {found:?}");
        for variant in kernel.variants {
            let found = case.compare(&mut gpu(device(), &case, variant), integers, bound);
            assert!(found.is_empty(), "{kernel:?}/{}: {found:?}", variant.name);
        }
    }
}

/// What tells of a diverged tensor by its name: the first place in the arena that is not finite.
#[test]
fn the_norm_tells_the_first_place_that_is_not_finite() {
    let case = Case::new(&kernels::norm::NORM, [70_001, 1, 1]);
    let (x, out) = (case.step().windows[0], case.step().windows[1]);
    let gpus = kernels::norm::NORM.variants.iter().map(|v| Box::new(gpu(device(), &case, v)) as Box<dyn Backend>);
    for mut backend in gpus.chain([Box::new(Cpu::new(&case.program, None).unwrap()) as Box<dyn Backend>]) {
        for at in [0, 1, 1023, 1024, 4095, 4096, 65_536, 70_000] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut contents = values(x, 1, false);
                contents[at] = bad;
                // Later ones do not matter.
                contents[70_000] = if at == 70_000 { bad } else { f32::NAN };
                backend.write(x, &contents).unwrap();
                backend.run(0..1).unwrap();
                let found = backend.read(out).unwrap();
                assert!(!found[0].is_finite(), "{bad} at {at}: norm {}", found[0]);
                assert_eq!(found[1] * 4096.0 + found[2], at as f32, "{bad} at {at} on {}", backend.description());
            }
        }
        backend.write(x, &values(x, 1, false)).unwrap();
        backend.run(0..1).unwrap();
        assert_eq!(backend.read(out).unwrap()[1], -1.0);
    }
}

/// The comparison sees a step that did not run, and a value off by a ten-thousandth.
#[test]
fn planted_faults_are_seen() {
    for kernel in kernels::all() {
        let case = Case::new(kernel, [19, 37, 5]);
        let out = written(case.step()).last().expect("a step writes something");
        for fault in [Fault::Dropped(0), Fault::Perturbed(0, out, 1e-4)] {
            let inner = Box::new(Cpu::new(&case.program, None).unwrap());
            let mut faulty = Faulty { inner, fault: Rc::new(Cell::new(Some(fault))) };
            let found = case.compare(&mut faulty, false, &bound);
            assert!(!found.is_empty(), "{kernel:?}: {fault:?} was not seen");
        }
    }
}

/// With bindings of a few KiB and few workgroups, every step that can be cut is cut into many pieces, and the results
/// are the same.
#[test]
fn cut_into_many_pieces_every_variant_gives_the_same() {
    let adapter = &device().adapter;
    let limits = wgpu::Limits {
        max_storage_buffer_binding_size: 8192,
        max_compute_workgroups_per_dimension: 40,
        min_storage_buffer_offset_alignment: 256,
        ..adapter.limits()
    };
    let device = pollster::block_on(Device::open_with_limits(adapter, limits)).unwrap();
    for kernel in kernels::all() {
        let integers = is_exact_on_integers(kernel);
        let bound: &dyn Fn(&Step) -> f64 = if integers { &|_| 0.0 } else { &bound };
        // The state of a batch before and after a time step must fit a binding: a recurrence is long instead of wide.
        let recurrence = kernel.name.starts_with("elman");
        let sizes = if recurrence { [[5, 3, 2], [3, 65, 19], [5, 60, 300]] } else { [[19, 37, 65], [9, 257, 128], [300, 70, 5]] };
        for size in sizes {
            let case = Case::new(kernel, size);
            let pieces = |cuts| (kernel.variants[0].lower)(case.step(), cuts).dispatches();
            if size == sizes[2] && !["carry", "journal"].contains(&kernel.name) {
                assert!(pieces(&device.cuts()) > pieces(&self::device().cuts()), "{kernel:?} is not cut");
            }
            for variant in kernel.variants {
                let found = case.compare(&mut gpu(&device, &case, variant), integers, bound);
                assert!(found.is_empty(), "{kernel:?}/{} at {size:?}: {found:?}", variant.name);
            }
        }
    }
}
