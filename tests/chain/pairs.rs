//! Pairs of steps: that both directions of a layer are computed in the same dispatches, that each is right there, and that a fault which
//! only a pair can have is caught.

use retrospect::backend::{Backend, Cpu, Device, Gpu};
use retrospect::batch::{Input, Loss, Reduction};
use retrospect::cells;
use retrospect::check::kernels as checked;
use retrospect::check::networks::Case;
use retrospect::model::{Config, Model};
use retrospect::network::{Gradient, Network};
use retrospect::program::{Program, Variant};

use super::device::{device, device_for, small_device};
use super::fixtures::with_text;

/// A network of two layers of both directions.
fn case(hidden: usize) -> Case {
    let mut config = Config::new(Input::Vectors(5), hidden, 3, Loss::SquaredError, 6, 9);
    config.bidirectional = true;
    config.layers = 2;
    Case { config, masked: true, reduction: Reduction::Mean }
}

fn gradient(case: &Case, backend: Box<dyn Backend>) -> Gradient {
    let mut network = Network::on(Model::new(&case.config).unwrap(), backend);
    network.set_parameters(&case.weights()).unwrap();
    network.gradient(&case.batch(1)).unwrap()
}

/// The recurrences that are the second of a pair.
fn seconds(program: &Program) -> Vec<usize> {
    let is_recurrence = |name: &str| cells::ALL.iter().any(|cell| [cell.forward.name, cell.backward.name].contains(&name));
    let steps = program.steps().iter().enumerate();
    steps.filter(|(_, step)| step.is_second && is_recurrence(step.kernel.name)).map(|(i, _)| i).collect()
}

#[test]
fn both_directions_run_in_the_same_dispatches() {
    for cell in cells::ALL {
        let model = Model::new(&Config { cell, ..case(20).config }).unwrap();
        let program = model.program();
        let seconds = seconds(program);
        // Of each layer forward and backward.
        assert_eq!(seconds.len(), 4, "{}", cell.name);
        let gpu = Gpu::new(device(), program).unwrap();
        for second in seconds {
            assert_eq!(gpu.dispatches(second), 0, "{}, {}", cell.name, program.steps()[second].shape());
            assert!(gpu.dispatches(second - 1) > 0);
        }
    }
}

/// Each variant that is said to compute pairs does, at some size, and is right; and is not with a
/// text that takes other sequences for the second step.
#[test]
fn every_variant_that_computes_pairs_is_right() {
    const SIZE: [u32; 3] = [5, 37, 33];
    let mut tried = 0;
    let cell = cells::ALL.iter().find(|cell| cell.name == "lstm").expect("an LSTM");
    for kernel in [cell.forward, cell.backward] {
        for variant in kernel.variants.iter().filter(|v| v.pairs && v.checked.is_none()) {
            let Some(device) = device_for(variant) else { continue };
            let of_pairs =
                |variant: &'static Variant, device: &Device| checked::pairs_on_gpu(kernel, variant, &[SIZE], device).unwrap();
            let right = of_pairs(variant, device);
            assert!(right.len() == 1 && right[0].passed, "{kernel:?}/{}: {right:?}", variant.name);
            tried += 1;
            // One of each way is enough: each takes long to compile.
            if ["narrow", "subgroup", "sequence_64", "tiled"].contains(&variant.name) {
                let wrong = of_pairs(other_sequences(variant), device);
                assert!(wrong.len() == 1 && !wrong[0].passed, "{kernel:?}/{}: {wrong:?}", variant.name);
            }
        }
    }
    assert!(tried >= 14, "only {tried}");
}

/// The variant with a text that is right for one step, and of a pair takes other sequences for the second one.
fn other_sequences(right: &'static Variant) -> &'static Variant {
    let shaders = right.shaders.iter().map(|shader| {
        let text: &'static str = shader.wgsl().replace("group.y", "(group.y + group.z)").leak();
        with_text(shader, text)
    });
    Box::leak(Box::new(Variant { shaders: shaders.collect::<Vec<_>>().leak(), ..*right }))
}

/// Steps whose windows are too far from each other for one binding run one after the other, to the same end as on the CPU.
#[test]
fn what_cannot_be_one_dispatch_is_several() {
    let case = case(20);
    let model = Model::new(&case.config).unwrap();
    let far = small_device(6 << 10, 9 << 10);
    let gpu = Gpu::new(&far, model.program()).unwrap();
    let second = seconds(model.program())[0];
    let counts = [second - 1, second].map(|step| gpu.dispatches(step));
    assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
    let here = gradient(&case, Box::new(gpu)).loss;
    let there = gradient(&case, Box::new(Cpu::new(model.program(), None).unwrap())).loss;
    assert!((here - there).abs() < 1e-5 * there, "{here} and {there}");
}

/// The same bits, whether two threads compute the directions of a layer or one does.
#[test]
fn one_thread_and_several_leave_the_same_bits() {
    for cell in cells::ALL {
        let mut case = case(16);
        case.config.cell = cell;
        let model = Model::new(&case.config).unwrap();
        let bits = |threads: usize| -> Vec<u32> {
            let gradient = gradient(&case, Box::new(Cpu::new(model.program(), Some(threads)).unwrap()));
            gradient.parameters.values().flat_map(|tensor| tensor.iter().map(|v| v.to_bits())).collect()
        };
        let one = bits(1);
        assert!([2, 3, 5].into_iter().all(|threads| bits(threads) == one), "{}", cell.name);
    }
}
