//! Embedded tokens: a network of them is the one that reads a row of E·Uᵀ for each token, its program is seen to be wrong where something is
//! planted in it, and single time steps are those of a window. PyTorch's numbers are among the fixtures.

use ndarray::{Array2, Ix2, s};
use retrospect::backend::Compute;
use retrospect::batch::{Batch, InitialState, Input, Inputs, Loss, Reduction};
use retrospect::cells::Cell;
use retrospect::check::networks::Case;
use retrospect::kernels::fill;
use retrospect::model::{Config, Model, NamedArrays};
use retrospect::network::Network;
use retrospect::program::{Program, Step};

use super::device::{device, load};
use super::network::{network, step, wrong};

/// Five steps of seven sequences, 63 units in each direction of two layers, 11 tokens as vectors of 5 numbers, two steps a segment.
fn case(bidirectional: bool) -> Case {
    let shape = Config::new(Input::Tokens(11), 63, 7, Loss::CrossEntropy, 7, 5);
    let cell = Cell::named("gru").unwrap();
    let config = Config { embedding: Some(5), cell, layers: 2, bidirectional, recompute: Some(2), ..shape };
    Case { config, masked: true, reduction: Reduction::Mean }
}

fn matrix(weights: &NamedArrays, name: &str) -> Array2<f32> {
    weights[name].clone().into_dimensionality::<Ix2>().unwrap()
}

/// Without an embedding the first layer's U' is U·Eᵀ, a column for each token. Its gradient tells both others: ∂L/∂E = ∂L/∂U'ᵀ·U and
/// ∂L/∂U = ∂L/∂U'·E.
#[test]
fn it_is_the_network_that_reads_one_column_for_each_token() {
    for bidirectional in [false, true] {
        let case = case(bidirectional);
        let (weights, batch) = (case.weights(), case.batch(1));
        let embedding = matrix(&weights, "encoder.weight");
        let names = ["rnn.weight_ih_l0", "rnn.weight_ih_l0_reverse"].into_iter().filter(|name| weights.contains_key(*name));
        let names: Vec<&str> = names.collect();
        let mut merged = weights.clone();
        merged.remove("encoder.weight");
        for name in &names {
            merged.insert((*name).into(), matrix(&weights, name).dot(&embedding.t()).into_dyn());
        }
        let config = Config { embedding: None, ..case.config.clone() };
        for on in ["CPU", "tiled", "software"] {
            let mut plain = network(&config, on);
            plain.set_parameters(&merged).unwrap();
            let expected = plain.gradient(&batch).unwrap();
            let mut embedded = network(&case.config, on);
            embedded.set_parameters(&weights).unwrap();
            let found = embedded.gradient(&batch).unwrap();
            let near = |what: &str, found: &Array2<f32>, expected: &Array2<f32>| {
                let size = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
                let off = (found - expected).iter().fold(0.0f32, |most, x| most.max(x.abs()));
                assert!(size > 0.0 && off < 1e-5 * size, "{what} on {on}, {case:?}: off by {off} of {size}");
            };
            assert!((found.loss - expected.loss).abs() < 1e-6, "{} and {}", found.loss, expected.loss);
            let mut d_embedding = Array2::zeros(embedding.dim());
            for name in &names {
                let d_merged = matrix(&expected.parameters, name);
                d_embedding += &d_merged.t().dot(&matrix(&weights, name));
                near(name, &matrix(&found.parameters, name), &d_merged.dot(&embedding));
            }
            near("encoder.weight", &matrix(&found.parameters, "encoder.weight"), &d_embedding);
        }
    }
}

/// A change of a recorded program, in one direction or in two.
type Fault = (&'static str, bool, fn(&mut Program));

fn nothing(of: &Step, window: usize) -> Step {
    Step { kernel: &fill::FILL, windows: vec![of.windows[window]], scalars: vec![0; 4], is_second: false }
}

const FAULTS: [Fault; 3] = [
    ("the gradient of the first segment is not added", false, |program| {
        let all = program.steps_mut().iter_mut().filter(|step| step.kernel.name == "embedding_gradient");
        all.last().expect("a gradient").scalars.fill(0);
    }),
    ("the gradient of the first segment alone", false, |program| {
        let first = step(program, "embedding_gradient", "gradient of embedded tokens");
        *first = nothing(first, 3);
    }),
    ("the gradient of the reverse direction is lost", true, |program| {
        for segment in 0..3 {
            let turned = |step: &Step, program: &Program| {
                let names: Vec<&str> = step.windows.iter().map(|window| program.name(*window)).collect();
                step.kernel.name == "add" && names.contains(&"gradient of embedded tokens")
            };
            let at = program.steps().iter().position(|step| turned(step, program));
            let at = at.unwrap_or_else(|| panic!("segment {segment} is turned"));
            program.steps_mut()[at] = nothing(&program.steps()[at], 0);
        }
    }),
];

#[test]
fn planted_faults_of_a_program_are_caught() {
    for (name, bidirectional, plant) in FAULTS {
        let case = case(bidirectional);
        for on in ["CPU", "tiled"] {
            let found = |plant: &dyn Fn(&mut Program)| {
                let mut model = Model::new(&case.config).unwrap();
                plant(model.program_mut());
                wrong(&mut load(model, device(), on), &case.weights(), &case.batch(1))
            };
            assert_eq!(found(&|_| {}), [""; 0], "{name} on {on}, not planted");
            let found = found(&plant);
            assert!(!found.is_empty() && found.iter().all(|f| f.starts_with("encoder.weight")), "{name} on {on} gives {found:?}");
        }
    }
}

#[test]
fn single_time_steps_are_those_of_a_window() {
    let case = case(false);
    let mut network = Network::new(&case.config, &Compute::Cpu(Some(1))).unwrap();
    network.set_parameters(&case.weights()).unwrap();
    let batch = Batch { initial_state: InitialState::Zero, ..case.batch(1) };
    let Inputs::Tokens(tokens) = &batch.inputs else { unreachable!("an embedding is of tokens") };
    network.loss(&batch).unwrap();
    let expected = network.outputs().unwrap();
    network.reset_state(7).unwrap();
    let mut outputs = [0.0; 7 * 7];
    for (t, tokens) in tokens.outer_iter().enumerate() {
        network.step(&tokens.to_vec(), &mut outputs).unwrap();
        let expected = expected.slice(s![t, .., ..]);
        let off = outputs.iter().zip(expected).fold(0.0f32, |most, (found, expected)| most.max((found - expected).abs()));
        assert!(off < 1e-5, "time step {t} is off by {off}");
    }
}
