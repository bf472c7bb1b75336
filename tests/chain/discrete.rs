//! What a hardware GPU would run, on any adapter: one that counts as discrete chooses the variants that are made for GPUs, measured or not, and
//! those without run-time checks only where those with them have passed.

use std::collections::BTreeSet;

use super::device::{device, discrete_device};
use super::fixtures::with_text;
use retrospect::backend::Compute;
use retrospect::backend::{Backend, Device, Gpu};
use retrospect::batch::{Input, Loss, Reduction};
use retrospect::check::networks::{Case, gradients, in_lockstep};
use retrospect::model::{Config, Model};
use retrospect::network::Network;
use retrospect::program::{Class, Kernel, Program, Step, Variant};
use retrospect::registry;
use retrospect::tune::{Mode, tune};

/// T, B, H, inputs and outputs of networks that together run every variant that a GPU takes unmeasured.
const SIZES: [[usize; 5]; 8] = [
    [3, 2, 19, 5, 7],
    [2, 33, 300, 9, 70],
    [2, 70, 290, 70, 66],
    [1100, 1, 70, 5, 3],
    [18, 65, 70, 67, 5],
    [3, 5, 1029, 3, 2],
    [2, 17, 1030, 3, 2],
    [2, 65, 130, 3, 2],
];

fn case([window, batch, hidden, inputs, outputs]: [usize; 5]) -> Case {
    let config = Config::new(Input::Vectors(inputs), hidden, outputs, Loss::SquaredError, batch, window);
    Case { config: Config { clip: Some(0.05), ..config }, masked: true, reduction: Reduction::Mean }
}

fn variant<'a>(kernel: &'a Kernel, name: &str) -> &'a Variant {
    kernel.variants.iter().find(|v| v.name == name).expect("a variant of that name")
}

/// Every step as it is defined, and the whole gradient that of the reference.
#[test]
fn what_a_gpu_chooses_unmeasured_is_right() {
    let discrete = discrete_device();
    let mut used = BTreeSet::new();
    for size in SIZES {
        let case = case(size);
        let mut load = |program: &Program| -> retrospect::Result<Box<dyn Backend>> {
            let gpu = Gpu::new(&discrete, program)?;
            let run = program.steps().iter().enumerate();
            used.extend(run.map(|(i, step)| (step.kernel.name, gpu.variant(i).expect("a GPU's step has one"))));
            Ok(Box::new(gpu))
        };
        // Where the definitions' plain loops would take long the gradient alone is compared.
        if size[0] * size[1] * size[2] * size[2] < 3_000_000 {
            for outcome in in_lockstep(&case, Model::new(&case.config).unwrap(), None, &mut load).unwrap() {
                assert!(outcome.passed, "{size:?}: {outcome:?}");
            }
        }
        let outcome = gradients(&case, Model::new(&case.config).unwrap(), None, &mut load).unwrap();
        assert!(outcome.passed, "{size:?}: {outcome:?}");
    }
    for (kernel, name) in &used {
        let kernel = registry::kernels().into_iter().find(|k| k.name == *kernel).unwrap();
        let variant = variant(kernel, name);
        assert!(variant.class != Class::Software && variant.checked.is_none(), "{kernel:?}/{name}");
    }
    let products: BTreeSet<&str> = used.iter().filter(|(kernel, _)| kernel.starts_with("gemm")).map(|(_, name)| *name).collect();
    let recurrences: BTreeSet<&str> =
        used.iter().filter(|(kernel, _)| kernel.starts_with("elman")).map(|(_, name)| *name).collect();
    assert_eq!(products, BTreeSet::from(["large", "skinny", "small", "tall", "tiled", "wide"]));
    assert_eq!(recurrences, BTreeSet::from(["large", "narrow", "sequence_128", "sequence_64", "skinny", "tiled", "wide"]));
}

/// Measured choices train to the same losses as the CPU, and twice to the same bits.
#[test]
fn what_a_gpu_measures_trains_like_the_cpu() {
    let folder = tempfile::tempdir().unwrap();
    let case = case([5, 33, 130, 9, 70]);
    let model = Model::new(&case.config).unwrap();
    let mut tuned = discrete_device();
    let outcome = tune(&mut tuned, model.program(), Mode::Full, Some(folder.path())).unwrap();
    assert!(!outcome.measured.is_empty(), "{outcome:?}");
    let shares: Vec<f64> = outcome.measured.iter().map(|m| m.share).collect();
    assert!(shares.is_sorted_by(|a, b| a >= b) && shares.iter().sum::<f64>() < 1.0 + 1e-9, "{shares:?}");
    // Variants without run-time checks came into question, and agreed.
    let candidates = || outcome.measured.iter().flat_map(|m| &m.candidates);
    assert!(candidates().any(|c| c.variant.ends_with("_unchecked")) && candidates().all(|c| c.ms.is_some()), "{outcome:?}");

    let losses = |compute: &Compute| -> Vec<f32> {
        let mut network = Network::new(&case.config, compute).unwrap();
        network.set_parameters(&case.weights()).unwrap();
        for step in 0..5 {
            network.train_step(&case.batch(step), 0.01).unwrap();
        }
        network.fetch().unwrap();
        network.reports(true).unwrap().iter().map(|report| report.loss).collect()
    };
    let on_gpu = losses(&Compute::Gpu(tuned.clone()));
    assert_eq!(on_gpu, losses(&Compute::Gpu(tuned.clone())));
    for (gpu, cpu) in on_gpu.iter().zip(losses(&Compute::Cpu(None))) {
        assert!((gpu - cpu).abs() < 1e-5 * cpu.abs(), "{gpu} and {cpu}");
    }
    // And a device that finds the choices in the file runs the same.
    let mut again = discrete_device();
    assert!(tune(&mut again, model.program(), Mode::Auto, Some(folder.path())).unwrap().measured.is_empty());
    assert_eq!(on_gpu, losses(&Compute::Gpu(again)));
}

/// A product that is one shape for every test below.
fn product(kernel: &'static Kernel) -> Program {
    let mut program = Program::new();
    (kernel.sample)(&mut program, [130, 129, 65]);
    program.steps_mut()[0].kernel = kernel;
    program
}

fn runs(device: &Device, step: &Step) -> &'static str {
    device.variant(step, &device.cuts(&Program::new())).name
}

/// Without run-time checks nothing runs that was not trusted, also where a run asks for it; and it becomes trusted by passing the check.
#[test]
fn a_variant_without_checks_runs_only_where_it_is_trusted() {
    let kernel = registry::kernels().into_iter().find(|k| k.name == "gemm_nn").unwrap();
    let program = product(kernel);
    let step = &program.steps()[0];
    let mut device = discrete_device();
    let choice = [(step.shape(), "large_unchecked".to_owned())].into();
    assert!(!runs(&device, step).ends_with("_unchecked"));
    device.choose(&registry::kernels(), &choice).unwrap();
    assert_eq!(runs(&device, step), "large");
    // A run that goes on with this choice has it checked first.
    let outcome = tune(&mut device, &program, Mode::Off, None).unwrap();
    assert_eq!((runs(&device, step), outcome.notes.len()), ("large_unchecked", 0));

    // Of another shape it is not.
    let mut other = Program::new();
    (kernel.sample)(&mut other, [130, 129, 66]);
    assert!(!runs(&device, &other.steps()[0]).ends_with("_unchecked"));
}

/// Where the variant with checks is wrong, at all sizes or only at the step's own, the one without is neither chosen nor run, though its own
/// text is right.
#[test]
fn a_variant_without_checks_is_no_better_than_the_one_with_them() {
    for end in ["begin + params.chunk - 1u)", "begin + params.chunk - select(0u, 1u, params.k == 65u))"] {
        its_twin_is_wrong(end);
    }
}

fn its_twin_is_wrong(end: &str) {
    let right = registry::kernels().into_iter().find(|k| k.name == "gemm_nn").unwrap();
    let large = variant(right, "large");
    let text: &'static str = large.shaders[0].wgsl().replace("begin + params.chunk)", end).leak();
    let shaders = vec![with_text(&large.shaders[0], text), with_text(&large.shaders[1], large.shaders[1].wgsl().leak())].leak();
    let variants: Vec<Variant> = right
        .variants
        .iter()
        .filter(|v| ["large", "large_unchecked", "tiled"].contains(&v.name))
        .map(|v| if v.name == "large" { Variant { shaders, ..*v } } else { Variant { ..*v } })
        .collect();
    let kernel: &'static Kernel = Box::leak(Box::new(Kernel { variants: variants.leak(), ..*right }));
    let program = product(kernel);
    let mut device = discrete_device();
    let outcome = tune(&mut device, &program, Mode::Full, None).unwrap();
    let measured = &outcome.measured[0];
    assert_eq!((measured.chosen, runs(&device, &program.steps()[0])), ("tiled", "tiled"));
    // A run that asks for it is told, and runs with checks.
    let mut again = discrete_device();
    again.choose(&registry::kernels(), &[(program.steps()[0].shape(), "large_unchecked".to_owned())].into()).unwrap();
    let notes = tune(&mut again, &program, Mode::Off, None).unwrap().notes;
    assert!(notes.len() == 1 && notes[0].contains("large_unchecked failed"), "{notes:?}");
    assert_eq!(runs(&again, &program.steps()[0]), "large");
    for name in ["large", "large_unchecked"] {
        let candidate = measured.candidates.iter().find(|c| c.variant == name).unwrap();
        assert!(candidate.ms.is_none() && candidate.problem.is_some(), "{candidate:?}");
    }
}

/// Both are the same text, compiled with and without run-time checks: the same results on this adapter.
#[test]
fn variants_with_and_without_checks_are_the_same() {
    let mut pairs = 0;
    for kernel in registry::kernels() {
        // Those whose workgroups wait for each other take long to compile: of them one in two kernels.
        let is_one =
            |v: &Variant| v.name.starts_with("persistent_16") && ["elman_forward", "lstm_backward"].contains(&kernel.name);
        for unchecked in kernel.variants.iter().filter(|v| v.checked.is_some() && (!v.waits || is_one(v))) {
            let checked = variant(kernel, unchecked.checked.unwrap());
            assert!(
                std::ptr::eq(checked.shaders, unchecked.shaders) && checked.checked.is_none(),
                "{kernel:?}/{}",
                unchecked.name
            );
            let mut program = Program::new();
            // The weight must fit the registers of those that hold it there.
            let is_held = unchecked.waits || unchecked.name.starts_with("sequence");
            (kernel.sample)(&mut program, if is_held { [9, 60, 5] } else { [66, 150, 35] });
            let results = |variant: &'static Variant| {
                let mut gpu = Gpu::with_variants(device(), &program, &|_| Some(variant)).unwrap();
                let windows = program.steps()[0].windows.clone();
                for (stream, window) in windows.iter().enumerate() {
                    let values: Vec<f32> =
                        (0..window.len()).map(|i| ((i * 7 + stream) % 23) as f32 / 23.0 - 0.5).map(|v| v / 8.0).collect();
                    gpu.write(*window, &values).unwrap();
                }
                gpu.run(0..1).unwrap();
                gpu.read(*windows.last().unwrap()).unwrap()
            };
            let (with, without) = (results(checked), results(unchecked));
            let off = with.iter().zip(&without).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(with.iter().any(|v| *v != 0.0) && off < 1e-5, "{kernel:?}/{}: off by {off:e}", unchecked.name);
            pairs += 1;
        }
    }
    assert!(pairs >= 18, "only {pairs}");
}
