//! Norm, sums of columns and updates: what the tables of the check do not say of them. Places and sizes of numbers, how many dispatches they
//! take, and that clipping on the way is clipping.

use super::device::device;
use retrospect::backend::{Backend, Cpu, Gpu};
use retrospect::batch::{Input, Loss};
use retrospect::kernels::update::{self, Control};
use retrospect::kernels::{column_sum, gemm::Epilogue, norm};
use retrospect::model::{Config, Model, Optimizer};
use retrospect::program::{Class, Cuts, Lowered, Mat, Program, Step};

/// The norm of n numbers, on the CPU and in every variant.
fn norms(n: u32) -> (Mat, Mat, Vec<Box<dyn Backend>>) {
    let mut program = Program::new();
    let (x, out) = (program.matrix("x", 1, n), program.matrix("out", 1, 4));
    norm::norm(&mut program, x, out);
    let mut backends: Vec<Box<dyn Backend>> = vec![Box::new(Cpu::new(&program, None).unwrap())];
    for variant in norm::NORM.variants {
        backends.push(Box::new(Gpu::with_variants(device(), &program, &|_| Some(variant)).unwrap()));
    }
    (x, out, backends)
}

/// What tells of a diverged tensor by its name: the first place in the arena that is not finite, also among more partial results than a
/// workgroup has invocations.
#[test]
fn the_norm_tells_the_first_place_that_is_not_finite() {
    const LAST: usize = 1_100_002;
    let (x, out, backends) = norms(LAST as u32 + 1);
    for mut backend in backends {
        for at in [0, 1, 1023, 1024, 4095, 4096, 65_537, 70_002, 256 * 4096 - 1, 256 * 4096, LAST] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut contents = vec![0.5; x.len()];
                contents[at] = bad;
                // Later ones do not matter, of which every invocation has some.
                contents[at + 1..].fill(f32::NAN);
                backend.write(x, &contents).unwrap();
                backend.run(0..1).unwrap();
                let found = backend.read(out).unwrap();
                let on = backend.variant(0);
                assert!(!found[0].is_finite(), "{bad} at {at}: norm {} on {on:?}", found[0]);
                assert_eq!(found[1] * 4096.0 + found[2], at as f32, "{bad} at {at} on {on:?}");
            }
        }
    }
}

/// The norm is right wherever there are numbers, where squares vanish or overflow, and of large, usual and small ones together.
#[test]
fn the_norm_of_very_small_and_very_large_values_is_right() {
    let (x, out, backends) = norms(5003);
    for mut backend in backends {
        let mut hold = |values: &[f32], what: &str| {
            let exact = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
            backend.write(x, values).unwrap();
            backend.run(0..1).unwrap();
            let found = backend.read(out).unwrap();
            let off = (f64::from(found[0]) / exact - 1.0).abs();
            assert!(off < 1e-6 && found[1] == -1.0, "{what}: {found:?} and {exact:e} on {:?}", backend.variant(0));
        };
        for scale in [1e-36f32, 1e-30, 1e-20, 1e-6, 1.0, 1e6, 1e20, 1e30, 1e35] {
            let values: Vec<f32> = (0..5003).map(|i| scale * (1.0 + (i % 7) as f32 / 6.0)).collect();
            hold(&values, &format!("about {scale:e}"));
            // Around it, so that the parts of the sum count.
            let values: Vec<f32> = (0..5003).map(|i| scale * [0.9, -1.0, 1.1, 0.01, 30.0][i % 5]).collect();
            hold(&values, &format!("around {scale:e}"));
        }
        let mut one = vec![0.0; 5003];
        for value in [f32::MAX, -1e-37, 1.0] {
            one[4999] = value;
            hold(&one, &format!("{value:e} alone"));
        }
        backend.write(x, &vec![0.0; 5003]).unwrap();
        backend.run(0..1).unwrap();
        assert_eq!(backend.read(out).unwrap(), [0.0, -1.0, 0.0, 0.0], "{:?}", backend.variant(0));
    }
}

/// On the CPU a clipped update has the bits of one from gradients that were clipped before, whatever the optimiser: with a factor below 1, and with
/// one that clips nothing.
#[test]
fn clipping_on_the_way_gives_the_bits_of_clipping_first() {
    const N: usize = 40_003;
    let values = |seed: usize| (0..N).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect::<Vec<f32>>();
    let step = |optimizer: Optimizer, clip: Option<f32>, gradient: &[f32], norm: f32| {
        let mut program = Program::new();
        let [w, g, m, v] = ["w", "g", "m", "v"].map(|name| program.matrix(name, 1, N as u32));
        let [schedule, status, total] = ["schedule", "status", "norm"].map(|name| program.matrix(name, 1, 4));
        let control = Control { schedule, status, norm: total, clip, clip_value: None };
        match optimizer {
            Optimizer::Sgd => update::sgd(&mut program, w, g, control),
            Optimizer::Momentum { momentum } => update::momentum(&mut program, w, g, m, control, momentum, false),
            Optimizer::RmsProp { beta, epsilon } => {
                update::rmsprop(&mut program, w, g, v, control, [beta, 1.0 - beta], epsilon);
            }
            Optimizer::Adam(adam) => update::adam(&mut program, w, g, m, v, control, adam, 0.0),
            other => unreachable!("{other:?} is not among them"),
        }
        let mut cpu = Cpu::new(&program, None).unwrap();
        let squares: Vec<f32> = values(4).iter().map(|v| v.abs()).collect();
        for (window, values) in [(w, &values(1)[..]), (g, gradient), (m, &values(3)), (v, &squares)] {
            cpu.write(window, values).unwrap();
        }
        cpu.write(schedule, &[0.01, 1.0 / 0.271, 1.0 / 0.003, 0.0]).unwrap();
        cpu.write(total, &[norm, -1.0, 0.0, 0.0]).unwrap();
        cpu.run(0..1).unwrap();
        assert_eq!(cpu.read(g).unwrap(), gradient, "the gradients stay as they are");
        [w, m, v].map(|window| cpu.read(window).unwrap().into_iter().map(f32::to_bits).collect::<Vec<u32>>())
    };
    let gradient = values(2);
    for optimizer in OPTIMIZERS {
        for (limit, norm) in [(0.7, 115.3), (0.7, 0.70001), (0.7, 0.3), (1e-9, 3e-7)] {
            let scale = limit / (norm + 1e-6f32);
            let before: Vec<f32> = gradient.iter().map(|g| if scale < 1.0 { g * scale } else { *g }).collect();
            let (on_the_way, first) = (step(optimizer, Some(limit), &gradient, norm), step(optimizer, None, &before, norm));
            assert!(on_the_way == first, "{optimizer:?}, {limit} and {norm}");
            let unclipped = step(optimizer, None, &gradient, norm);
            assert_eq!(on_the_way == unclipped, scale >= 1.0, "{optimizer:?}, {limit} and {norm}");
        }
        assert!(step(optimizer, Some(0.7), &gradient, f32::NAN) == step(optimizer, None, &gradient, f32::NAN), "{optimizer:?}");
    }
}

const OPTIMIZERS: [Optimizer; 4] =
    [Optimizer::Sgd, Optimizer::Momentum { momentum: 0.9 }, Optimizer::RmsProp { beta: 0.95, epsilon: 1e-8 }, Optimizer::ADAM];

/// A step as a GPU's usual choice lowers it.
fn on_hardware(step: &Step, cuts: &Cuts) -> Lowered {
    let usual = step
        .kernel
        .variants
        .iter()
        .find(|v| v.class != Class::Software && v.needs.subgroup == 0 && (v.can)(step, cuts) && (v.likely)(step));
    (usual.expect("a variant for GPUs").lower)(step, cuts)
}

/// On a GPU a norm and sums of columns take two dispatches at most, and with an update they take four, at any size that its bindings hold.
#[test]
fn reductions_and_updates_take_few_dispatches_on_a_gpu() {
    // WebGPU's least limits, and those of a large GPU.
    for (binding, hidden) in [(1 << 25, 1024), ((1 << 29) - 64, 16_384)] {
        let limits = Cuts::new(binding, u64::MAX, 65_535, 30_000);
        for optimizer in OPTIMIZERS {
            let config = Config::new(Input::Vectors(64), hidden, 64, Loss::SquaredError, 64, 32);
            let model = Model::new(&Config { optimizer, clip: Some(1.0), ..config }).unwrap();
            let cuts = limits.for_program(model.program());
            let steps = &model.program().steps()[model.update.clone()];
            let of_update = steps.iter().filter(|step| step.kernel.name != "transpose");
            assert_eq!(of_update.map(|step| on_hardware(step, &cuts).dispatches()).sum::<u64>(), 4, "H = {hidden}");
            let sums = model.program().steps().iter().filter(|step| step.kernel.name == "column_sum");
            assert!(sums.map(|step| on_hardware(step, &cuts).dispatches()).all(|n| n <= 2), "H = {hidden}");
        }
    }
}

/// Long sums are shared out to enough workgroups to keep a large GPU busy, whether they are many or few; short ones take one dispatch.
#[test]
fn sums_of_columns_are_shared_out() {
    for (rows, cols, dispatches, workgroups) in [
        (16_384, 512, 2, 512),
        (32_000, 128, 2, 500),
        (16_384, 1, 2, 16),
        (1_000_000, 1, 2, 489),
        (2048, 65_536, 1, 512),
        (2048, 1, 1, 1),
        (64, 512, 1, 8),
        (1, 70_001, 1, 69),
    ] {
        let mut program = Program::new();
        let (x, out) = (program.matrix("x", rows, cols), program.matrix("out", 1, cols));
        column_sum::column_sum(&mut program, x, out, Epilogue::Store);
        let lowered = on_hardware(&program.steps()[0], &Cuts::new(1 << 29, u64::MAX, 65_535, 30_000));
        let first: u32 = lowered.phases[0].pieces[0].grid.iter().product();
        assert_eq!((lowered.dispatches(), first), (dispatches, workgroups), "{rows} × {cols}");
    }
}
