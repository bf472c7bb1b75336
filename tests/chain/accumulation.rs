//! Training steps on several batches: the same as on one batch of all their sequences.

use ndarray::{Array2, Array3, Axis, concatenate};
use retrospect::backend::Compute;
use retrospect::batch::{Batch, InitialState, Input, Inputs, Loss, Targets};
use retrospect::cells::Cell;
use retrospect::model::{Config, NamedArrays, Optimizer, RecurrentInit};
use retrospect::network::{Network, Report};

use super::device::device;

const STEPS: usize = 7;
const EACH: usize = 2;
const PARTS: usize = 3;

/// The batch of a training step of which a part has `EACH` sequences; each part has as many outputs that count.
fn batch(step: usize) -> (Array3<f32>, Array3<f32>, Array2<f32>) {
    let shape = (STEPS, EACH * PARTS, 2);
    let number = |(t, b, i): (usize, usize, usize)| (1.7 * t as f32 + 0.9 * b as f32 + 2.3 * i as f32 + 0.4 * step as f32).sin();
    let mask = Array2::from_shape_fn((STEPS, EACH * PARTS), |(t, b)| f32::from(u8::from(!(t + b % EACH).is_multiple_of(3))));
    (Array3::from_shape_fn(shape, number), Array3::from_shape_fn(shape, |at| 0.6 * number(at).cos()), mask)
}

fn batch_of((inputs, values, mask): (Array3<f32>, Array3<f32>, Array2<f32>), start: InitialState) -> Batch {
    Batch { mask: Some(mask), initial_state: start, ..Batch::new(Inputs::Vectors(inputs), Targets::Values(values)) }
}

/// The parameters after three training steps, and what came of each step.
fn train(config: &Config, compute: &Compute, batches: impl Fn(usize) -> Vec<Batch>) -> (NamedArrays, Vec<Report>) {
    let mut network = Network::new(config, compute).unwrap();
    network.initialise(5, RecurrentInit::Uniform).unwrap();
    for step in 0..3 {
        network.train_step_on(&batches(step), 0.02).unwrap();
    }
    network.fetch().unwrap();
    let reports = network.reports(true).unwrap();
    (network.parameters().unwrap(), reports)
}

#[test]
fn parts_train_as_the_whole() {
    for compute in [Compute::Cpu(Some(2)), Compute::Gpu(device().clone())] {
        for (name, optimizer, loss) in [
            ("elman", Optimizer::Sgd, Loss::SquaredError),
            ("lstm", Optimizer::ADAM, Loss::AbsoluteError),
            ("gru", Optimizer::Momentum { momentum: 0.9 }, Loss::SquaredError),
        ] {
            let cell = Cell::named(name).unwrap();
            let base = Config::new(Input::Vectors(2), 9, 2, loss, EACH * PARTS, STEPS);
            let whole = Config { cell, optimizer, layers: 2, clip: Some(0.05), ..base };
            let parts = Config { batch: EACH, accumulate: PARTS, ..whole.clone() };
            let (expected, all) = train(&whole, &compute, |step| vec![batch_of(batch(step), InitialState::Zero)]);
            let (found, reports) = train(&parts, &compute, |step| {
                let (inputs, values, mask) = batch(step);
                let part = |k: usize| {
                    let places: Vec<usize> = (k * EACH..(k + 1) * EACH).collect();
                    let part = (inputs.select(Axis(1), &places), values.select(Axis(1), &places), mask.select(Axis(1), &places));
                    batch_of(part, InitialState::Zero)
                };
                (0..PARTS).map(part).collect()
            });
            for (name, expected) in &expected {
                let off = (&found[name] - expected).fold(0.0_f32, |a, b| a.max(b.abs()));
                assert!(off < 2e-5, "{cell}: {name} is off by {off}");
            }
            for (found, expected) in reports.iter().zip(&all) {
                for (found, expected) in [(found.loss, expected.loss), (found.gradient_norm, expected.gradient_norm)] {
                    assert!((found - expected).abs() < 1e-5 * expected.abs(), "{cell}: {found} and {expected}");
                }
            }
        }
    }
}

/// A state is carried from one batch of a training step to the next, and a step knows how many batches it is on.
#[test]
fn states_are_carried_within_a_training_step() {
    let config = Config { accumulate: 2, ..Config::new(Input::Vectors(2), 5, 2, Loss::SquaredError, EACH * PARTS, STEPS) };
    let mut network = Network::new(&config, &Compute::Cpu(Some(1))).unwrap();
    network.initialise(5, RecurrentInit::Uniform).unwrap();
    let [first, second] = [0, 1].map(|step| batch_of(batch(step), InitialState::Carried));
    let before = network.parameters().unwrap();
    network.train_step_on(&[first, second], 0.0).unwrap();
    assert_eq!(network.parameters().unwrap(), before, "a rate of 0");
    let state = network.state().unwrap();
    let inputs = concatenate(Axis(0), &[batch(0).0.view(), batch(1).0.view()]).unwrap();
    let sequences = retrospect::batch::Sequences::new(Inputs::Vectors(inputs));
    let expected = network.predict(&sequences).unwrap().states;
    let off = (&state["h"] - &expected["h"]).fold(0.0_f32, |a, b| a.max(b.abs()));
    assert!(off < 1e-6, "{off}");
    // A batch that does not fit leaves nothing of the ones before it behind.
    let good = || batch_of(batch(0), InitialState::Zero);
    let mut bad = good();
    bad.mask = Some(Array2::zeros((STEPS, EACH * PARTS)));
    assert!(network.train_step_on(&[good(), bad], 0.1).is_err());
    let mut other = Network::new(&config, &Compute::Cpu(Some(1))).unwrap();
    other.set_parameters(&network.parameters().unwrap()).unwrap();
    other.set_steps(network.steps());
    for network in [&mut network, &mut other] {
        network.train_step_on(&[good(), good()], 0.0).unwrap();
        network.fetch().unwrap();
    }
    let norms = [&mut network, &mut other].map(|network| network.reports(true).unwrap().last().unwrap().gradient_norm);
    assert_eq!(norms[0], norms[1]);
    assert!(network.train_again(0.1).unwrap_err().to_string().contains("several batches"));
    let error = network.train_step(&batch_of(batch(0), InitialState::Zero), 0.1).unwrap_err().to_string();
    assert_eq!(error, "a training step of this network is on 2 batches; got 1");
}
