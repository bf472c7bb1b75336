//! The losses of values and their gradients beside PyTorch's own, which `scripts/pytorch_losses.py` prints; and losses of one's own.

use ndarray::{Array3, s};
use retrospect::backend::Compute;
use retrospect::batch::{Batch, Input, Inputs, Loss, Sequences, Targets};
use retrospect::cells::Cell;
use retrospect::kernels::softmax_loss::softmax_loss;
use retrospect::kernels::value_loss::{Penalty, value_loss};
use retrospect::model::{Config, RecurrentInit};
use retrospect::network::Network;
use retrospect::program::Program;

use super::device::{backend, device};

/// The example.
#[expect(dead_code, reason = "its `main` is not called here")]
#[path = "../../examples/amplifier.rs"]
mod amplifier;

const OUTPUTS: [[f32; 3]; 2] = [[0.7, -1.2, 0.3], [2.5, 0.45, -0.8]];
const VALUES: [[f32; 3]; 2] = [[0.2, 0.9, 0.25], [1.0, 0.0, 0.6]];

/// A penalty, the numbers of its columns, and PyTorch's loss and gradient.
struct Case {
    penalty: Penalty,
    constants: [f32; 3],
    loss: f64,
    gradient: [[f64; 3]; 2],
}

const CASES: [Case; 5] = [
    Case {
        penalty: Penalty::Squared,
        constants: [0.0; 3],
        loss: 1.5125,
        gradient: [[0.166666667, -0.7, 0.0166666667], [0.5, 0.15, -0.466666667]],
    },
    Case {
        penalty: Penalty::Absolute,
        constants: [0.0; 3],
        loss: 1.0,
        gradient: [[0.166666667, -0.166666667, 0.166666667], [0.166666667, 0.166666667, -0.166666667]],
    },
    Case {
        penalty: Penalty::Huber,
        constants: [0.4; 3],
        loss: 0.330208333,
        gradient: [[0.0666666667, -0.0666666667, 0.00833333333], [0.0666666667, 0.0666666667, -0.0666666667]],
    },
    Case {
        penalty: Penalty::Binary,
        constants: [0.0; 3],
        loss: 0.826510518,
        gradient: [[0.0780312954, -0.111420797, 0.0540737528], [-0.01264303, 0.101773206, -0.0483290802]],
    },
    Case {
        penalty: Penalty::Pinball,
        constants: [0.1, 0.5, 0.9],
        loss: 0.723333333,
        gradient: [[0.15, -0.0833333333, 0.0166666667], [0.15, 0.0833333333, -0.15]],
    },
];

#[test]
fn losses_and_gradients_are_pytorchs() {
    for Case { penalty, constants, loss, gradient } in CASES {
        for on in ["CPU", "tiled"] {
            let mut program = Program::new();
            let [outputs, values, d_outputs] = ["outputs", "values", "d_outputs"].map(|name| program.matrix(name, 2, 3));
            let [weights, losses] = ["weights", "losses"].map(|name| program.matrix(name, 2, 1));
            let columns = program.matrix("constants", 1, 3);
            value_loss(&mut program, penalty, [outputs, values, weights, columns], d_outputs, losses);
            let mut backend = backend(&program, device(), on);
            for (window, numbers) in
                [(outputs, &OUTPUTS.concat()[..]), (values, &VALUES.concat()), (weights, &[0.5; 2]), (columns, &constants)]
            {
                backend.write(window, numbers).unwrap();
            }
            backend.run(0..1).unwrap();
            let found: f64 = backend.read(losses).unwrap().into_iter().map(f64::from).sum();
            assert!((found - loss).abs() < 1e-6, "{penalty:?} on {on}: a loss of {found}, and PyTorch has {loss}");
            for (found, expected) in backend.read(d_outputs).unwrap().into_iter().zip(gradient.concat()) {
                let off = (f64::from(found) - expected).abs();
                assert!(off < 1e-6, "{penalty:?} on {on}: a gradient of {found}, and PyTorch has {expected}");
            }
        }
    }
}

/// The gradient of `cross_entropy` of classes 2 and 0 with a label smoothing of 0.2, and the loss without it.
#[test]
fn the_gradient_of_smoothed_labels_is_pytorchs() {
    const LOSS: f64 = 0.576013403;
    const GRADIENT: [[f64; 3]; 2] = [[0.241408748, 0.00775946044, -0.249168209], [-0.00437635982, 0.0218884013, -0.0175120415]];
    for on in ["CPU", "tiled"] {
        let mut program = Program::new();
        let [outputs, d_outputs] = ["outputs", "d_outputs"].map(|name| program.matrix(name, 2, 3));
        let [weights, losses] = ["weights", "losses"].map(|name| program.matrix(name, 2, 1));
        let classes = program.indices("classes", 1, 2);
        softmax_loss(&mut program, outputs, classes, weights, d_outputs, losses, 0.2);
        let mut backend = backend(&program, device(), on);
        backend.write(outputs, &OUTPUTS.concat()).unwrap();
        backend.write(weights, &[0.5; 2]).unwrap();
        backend.write_indices(classes, &[2, 0]).unwrap();
        backend.run(0..1).unwrap();
        let loss: f64 = backend.read(losses).unwrap().into_iter().map(f64::from).sum();
        assert!((loss - LOSS).abs() < 1e-6, "{on}: {loss}");
        for (found, expected) in backend.read(d_outputs).unwrap().into_iter().zip(GRADIENT.concat()) {
            assert!((f64::from(found) - expected).abs() < 1e-6, "{on}: {found}, and PyTorch has {expected}");
        }
    }
}

/// Values for a batch of 5 sequences of up to 9 time steps.
fn numbers(scale: f32) -> Array3<f32> {
    Array3::from_shape_fn((9, 5, 2), |(t, b, i)| scale * (1.3 * t as f32 + 0.7 * b as f32 + 2.1 * i as f32).sin())
}

const LENGTHS: [usize; 5] = [9, 1, 4, 7, 9];

/// The squared error and its gradient, with numbers behind the ends of sequences that must not matter.
fn squared(outputs: &Array3<f32>, targets: &Array3<f32>) -> (f32, Array3<f32>) {
    let count = LENGTHS.iter().sum::<usize>() as f32 * 2.0;
    let mut error = outputs - targets;
    for (b, &length) in LENGTHS.iter().enumerate() {
        error.slice_mut(s![length.., b, ..]).fill(0.0);
    }
    let loss = error.iter().map(|e| e * e).sum::<f32>() / count;
    let mut gradient = error.mapv(|e| 2.0 * e / count);
    for (b, &length) in LENGTHS.iter().enumerate() {
        gradient.slice_mut(s![length.., b, ..]).fill(f32::NAN);
    }
    (loss, gradient)
}

/// A squared error of one's own trains as the network's: gradients and weights after some training steps with dropout.
#[test]
fn a_loss_of_one_s_own_trains_as_the_network_s() {
    for compute in [Compute::Cpu(Some(2)), Compute::Gpu(device().clone())] {
        for name in ["elman", "lstm"] {
            let config = Config {
                cell: Cell::named(name).unwrap(),
                layers: 2,
                lengths: true,
                dropout: 0.3,
                output_dropout: 0.2,
                clip: Some(0.5),
                ..Config::new(Input::Vectors(2), 7, 2, Loss::SquaredError, 5, 9)
            };
            let lengths = Some(LENGTHS.to_vec());
            let sequences = Sequences { lengths: lengths.clone(), ..Sequences::new(Inputs::Vectors(numbers(1.0))) };
            let batch = Batch { lengths, ..Batch::new(Inputs::Vectors(numbers(1.0)), Targets::Values(numbers(0.5))) };
            let targets = numbers(0.5);
            let [mut own, mut usual] = [0; 2].map(|_| {
                let mut network = Network::new(&config, &compute).unwrap();
                network.initialise(3, RecurrentInit::Uniform).unwrap();
                network
            });
            let found = own.gradient_by(sequences.clone(), |outputs| squared(outputs, &targets)).unwrap();
            let expected = usual.gradient(&batch).unwrap();
            assert!((found.loss - expected.loss).abs() < 1e-6 * expected.loss, "{} {}", found.loss, expected.loss);
            for (name, expected) in &expected.parameters {
                let size = expected.fold(0.0_f32, |a, b| a.max(b.abs()));
                let off = (&found.parameters[name] - expected).fold(0.0_f32, |a, b| a.max(b.abs()));
                assert!(off < 1e-5 * size, "{name}: off by {off} of {size}");
            }
            for _ in 0..3 {
                own.train_step_by(sequences.clone(), 0.1, |outputs| squared(outputs, &targets)).unwrap();
                usual.train_step(&batch, 0.1).unwrap();
            }
            let [found, expected] = [&mut own, &mut usual].map(|network| network.parameters().unwrap());
            for (name, expected) in &expected {
                let off = (&found[name] - expected).fold(0.0_f32, |a, b| a.max(b.abs()));
                assert!(off < 1e-4, "{name}: off by {off}");
            }
            let wrong = own.train_step_by(sequences, 0.1, |_| (0.0, Array3::zeros((9, 5, 1)))).unwrap_err().to_string();
            assert!(wrong.contains("expected shape [9, 5, 2], got [9, 5, 1]"), "{wrong}");
        }
    }
}

#[test]
fn the_example_learns_the_amplifier() {
    let [input, network] = amplifier::learn().unwrap();
    assert!(network < 0.01 && input > 0.2, "{network} and {input}");
}
