//! Batches of other shapes than a network was made for: it takes them over the same buffers, and computes what a network of that very shape does.

use std::collections::BTreeSet;

use super::device::{device, load};
use ndarray::ArrayD;
use retrospect::batch::{Batch, InitialState, Input, Loss, Reduction};
use retrospect::cells::Cell;
use retrospect::check::networks::{Case, bound, cell, expected, gradient, in_f64};
use retrospect::model::{Biases, Config, Model, NamedArrays, Optimizer};
use retrospect::network::{Masks, Network};

/// Largest shapes `[T, B]`, and networks for them.
fn cases() -> Vec<Config> {
    let named = |name| Cell::named(name).expect("a cell");
    let tokens = Config::new(Input::Tokens(11), 19, 11, Loss::CrossEntropy, 7, 23);
    let vectors = Config::new(Input::Vectors(3), 33, 2, Loss::SquaredError, 5, 17);
    vec![
        Config { layers: 3, clip: Some(0.1), ..tokens.clone() },
        Config { cell: named("lstm"), layers: 2, recompute: Some(5), biases: Biases::Two, ..tokens },
        Config { cell: named("gru"), layers: 2, ..vectors.clone() },
        Config { cell: named("leaky"), recompute: Some(4), ..vectors },
    ]
}

/// Shapes of batches for a network, in an order in which larger ones leave something behind for smaller ones.
fn shapes(config: &Config) -> Vec<[usize; 2]> {
    let (window, batch) = (config.window, config.batch);
    let least = if config.recompute.is_some() { 2 } else { 1 };
    vec![
        [window, batch],
        [window - 4, batch],
        [least, batch],
        [13, batch],
        [window, batch],
        [9, batch - 2],
        [window, 1],
        [least, 1],
        [window - 4, batch],
    ]
}

fn shaped(config: &Config, [window, batch]: [usize; 2]) -> Config {
    // As many segments as the large network has at least two of.
    let recompute = config.recompute.map(|steps| steps.min(window.div_ceil(2)));
    Config { window, batch, recompute, ..config.clone() }
}

fn batch(config: &Config, seed: u64) -> Batch {
    Case { config: config.clone(), masked: seed.is_multiple_of(2), reduction: Reduction::Mean }.batch(seed)
}

fn weights(config: &Config) -> NamedArrays {
    Case { config: config.clone(), masked: false, reduction: Reduction::Mean }.weights()
}

#[test]
fn gradients_are_those_of_a_network_of_that_shape() {
    for config in cases() {
        let weights = weights(&config);
        for on in ["CPU", "tiled", "software"] {
            let mut network = load(Model::new(&config).unwrap(), device(), on);
            network.set_parameters(&weights).unwrap();
            for (seed, shape) in (1..).zip(shapes(&config)) {
                let config = shaped(&config, shape);
                let batch = batch(&config, seed);
                let got = gradient(&mut network, &batch).unwrap();
                let expected = expected(&config, &in_f64(&cell(&config), &weights), &batch).unwrap();
                let found = expected.mismatches(&got, bound(&config));
                assert!(found.is_empty(), "{on}, {config:?}:\n{}", found.join("\n"));
                if on == "CPU" {
                    let mut own = load(Model::new(&config).unwrap(), device(), on);
                    own.set_parameters(&weights).unwrap();
                    let own = gradient(&mut own, &batch).unwrap();
                    let names: Vec<&String> =
                        got.iter().filter(|(name, array)| own[*name] != **array).map(|(name, _)| name).collect();
                    assert!(names.is_empty(), "{config:?}: {names:?}");
                }
            }
        }
    }
}

/// Everything that a training step changes.
fn state(network: &mut Network) -> Vec<(&'static str, NamedArrays)> {
    let mut all = network.optimizer_states().unwrap();
    all.insert(0, ("parameters", network.parameters().unwrap()));
    all
}

/// The names of the tensors that are not the same bits in both.
fn differences(first: &[(&'static str, NamedArrays)], second: &[(&'static str, NamedArrays)]) -> Vec<String> {
    let differ = |(a, b): (&(&'static str, NamedArrays), &(&'static str, NamedArrays))| {
        let names = a.1.iter().filter(|(name, array)| b.1[*name] != **array).map(|(name, _)| format!("{} {name}", a.0));
        names.collect::<Vec<_>>()
    };
    first.iter().zip(second).flat_map(differ).collect()
}

#[test]
fn training_goes_on_from_shape_to_shape() {
    for config in cases() {
        let mut network = load(Model::new(&config).unwrap(), device(), "CPU");
        network.set_parameters(&weights(&config)).unwrap();
        for (step, shape) in (0..).zip(shapes(&config)) {
            let config = shaped(&config, shape);
            let mut own = load(Model::new(&config).unwrap(), device(), "CPU");
            own.set_parameters(&network.parameters().unwrap()).unwrap();
            for (name, named) in network.optimizer_states().unwrap() {
                own.set_optimizer_state(name, &named).unwrap();
            }
            own.set_steps(step);
            let mut batch = batch(&config, step + 1);
            if network.model().config().batch == config.batch {
                own.set_state(&network.state().unwrap()).unwrap();
                batch.initial_state = InitialState::Carried;
            }
            own.train_step(&batch, 0.01).unwrap();
            network.train_step(&batch, 0.01).unwrap();
            let found = differences(&state(&mut own), &state(&mut network));
            assert!(found.is_empty(), "{config:?}: {found:?}");
            assert!(own.state().unwrap() == network.state().unwrap(), "{config:?}");
            let report = |network: &mut Network| {
                network.fetch().unwrap();
                network.reports(true).unwrap().pop().map(|report| (report.step, report.loss, report.gradient_norm))
            };
            assert_eq!(report(&mut own), report(&mut network));
        }
    }
}

/// A training step computes no further than the longest sequence, but for a part of a sixteenth of the window, and takes the gradient's step.
#[test]
fn a_batch_of_short_sequences_is_computed_to_its_end() {
    let tokens = Config::new(Input::Tokens(7), 9, 4, Loss::CrossEntropy, 3, 50);
    let vectors = Config::new(Input::Vectors(3), 9, 4, Loss::SquaredError, 3, 50);
    let lstm = Cell::named("lstm").expect("a cell");
    for config in [
        Config { recompute: Some(7), ..tokens.clone() },
        Config { bidirectional: true, layers: 2, ..tokens },
        Config { bidirectional: true, cell: lstm, layers: 2, ..vectors.clone() },
        Config { cell: lstm, dropout: 0.3, layers: 2, ..vectors },
    ] {
        let config = Config { lengths: true, optimizer: Optimizer::Sgd, ..config };
        for on in ["CPU", "software"] {
            let mut network = load(Model::new(&config).unwrap(), device(), on);
            let mut whole = load(Model::new(&config).unwrap(), device(), on);
            network.set_parameters(&weights(&config)).unwrap();
            let mut windows = BTreeSet::new();
            for (step, most) in (1..).zip([50, 9, 1, 9, 40, 13]) {
                let mut batch = batch(&config, step);
                batch.mask = None;
                // What lies behind the lengths that it has could not be read.
                let lengths: Vec<usize> = (0..3).map(|b| batch.length(b).min(most)).collect();
                let computed = lengths.iter().max().expect("three").max(&2).next_multiple_of(4).min(50);
                batch.lengths = Some(lengths);
                windows.insert(computed);
                let before = network.parameters().unwrap();
                whole.set_parameters(&before).unwrap();
                network.train_step(&batch, 0.5).unwrap();
                assert_eq!(network.model().config().window, computed);
                let masks = (config.dropout > 0.0).then_some(Masks { seed: 0, step });
                let gradient = whole.gradient_with(&batch, masks).unwrap().parameters;
                let largest = |array: &ArrayD<f32>| array.iter().fold(0.0f32, |most, v| most.max(v.abs()));
                for (name, after) in network.parameters().unwrap() {
                    let expected = &before[&name] - &(&gradient[&name] * 0.5);
                    let most = 1e-5 * largest(&gradient[&name]) + 1e-7 * largest(&before[&name]);
                    let off = largest(&(&after - &expected));
                    assert!(off <= most, "{on}, {config:?}, {name}: {off:e} of {most:e}");
                    assert!(largest(&(&after - &before[&name])) > 100.0 * most, "{name} does not move");
                }
            }
            assert!(windows.len() >= 4, "{windows:?}");
        }
    }
}

#[test]
fn what_is_too_large_or_cannot_carry_on_is_refused() {
    let config = &cases()[3];
    let mut network = load(Model::new(config).unwrap(), device(), "CPU");
    let mut refused = |shape, state: InitialState| {
        let batch = Batch { initial_state: state, ..batch(&shaped(config, shape), 1) };
        let error = network.loss(&batch).expect_err("it is refused");
        assert_eq!(error.exit_code(), 7);
        error.to_string()
    };
    let zero = || InitialState::Zero;
    assert_eq!(refused([18, 5], zero()), "batch: [T, B] is [18, 5]; this network takes at most [17, 5]");
    assert_eq!(refused([17, 6], zero()), "batch: [T, B] is [17, 6]; this network takes at most [17, 5]");
    let carried = "batch: 3 sequences cannot carry on the states of the 5 before them";
    assert_eq!(refused([17, 3], InitialState::Carried), carried);
    let one = "batch: a window of 1 time step is too short for recomputation, which needs at least 2";
    assert_eq!(refused([1, 5], zero()), one);
}

/// The hidden states of a batch of another shape, and the gradients by them, have that batch's shape.
#[test]
fn a_trace_has_the_shape_of_its_batch() {
    let vectors = Config::new(Input::Vectors(3), 9, 4, Loss::SquaredError, 3, 12);
    let config = Config { trace: true, layers: 2, lengths: true, ..vectors };
    let small = shaped(&config, [7, 2]);
    let batch = batch(&small, 3);
    let trace = |config: &Config| {
        let mut network = load(Model::new(config).unwrap(), device(), "CPU");
        network.set_parameters(&weights(config)).unwrap();
        network.trace(&batch).unwrap()
    };
    let (found, expected) = (trace(&config), trace(&small));
    assert!(found.len() == 2 && expected.len() == 2);
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found.hidden.dim(), (7, 2, 9));
        assert_eq!(found.hidden, expected.hidden);
        assert_eq!(found.d_hidden, expected.d_hidden);
    }
}

/// States that were read after a batch of one size are set again after a batch of another.
#[test]
fn states_of_another_batch_size_are_set_for_batches_of_that_size() {
    let config = &cases()[1];
    let mut network = load(Model::new(config).unwrap(), device(), "CPU");
    network.set_parameters(&weights(config)).unwrap();
    network.loss(&batch(config, 1)).unwrap();
    let states = network.state().unwrap();
    network.loss(&batch(&shaped(config, [9, 3]), 2)).unwrap();
    assert_eq!(network.state().unwrap()["c"].dim().1, 3);
    network.set_state(&states).unwrap();
    assert!(network.state().unwrap() == states);
}
