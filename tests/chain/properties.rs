//! What must hold for any network and batch, on networks and batches drawn at random: the same ones in each run.

use super::device::{device, load};
use ndarray::{Array2, Array3, ArrayView, Axis, Dimension, s};
use proptest::prelude::*;
use proptest::test_runner::{Config as Proptest, RngSeed};
use retrospect::Activation;
use retrospect::batch::{Batch, InitialState, Input, Inputs, Loss, Reduction, Targets};
use retrospect::cells;
use retrospect::check::networks::{self, Case, Expected, Tensors, bound, in_f64, mismatches};
use retrospect::model::{Biases, Config, Model};
use retrospect::network::{Gradient, Network};
use retrospect::random::Random;

const ON: [&str; 3] = ["CPU", "tiled", "software"];

/// Losses of values whose mean is over the outputs that count.
fn losses_of_values() -> [Loss; 6] {
    let quantiles = Loss::Quantile(vec![0.2, 0.9]);
    [Loss::SquaredError, Loss::AbsoluteError, Loss::Huber(0.3), Loss::BinaryCrossEntropy, quantiles, Loss::NashSutcliffe]
}

/// Any network with small sizes, where it runs, and a seed for its batch.
fn any_case() -> impl Strategy<Value = (Case, &'static str, u64)> {
    let sizes = [1..=9usize, 1..=9, 1..=35, 1..=19, 1..=9, 1..=3];
    let kinds = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let places = (0..Activation::ALL.len(), 0..cells::ALL.len(), 0..losses_of_values().len());
    (sizes, kinds, places, proptest::option::of(1..=9usize), 0..ON.len(), any::<u64>()).prop_map(
        |(sizes, (tokens, classes, masked, sum, two), (activation, cell, loss), recompute, on, seed)| {
            let [window, batch, hidden, size, outputs, layers] = sizes;
            let input = if tokens { Input::Tokens(size) } else { Input::Vectors(size) };
            let loss = if classes { Loss::CrossEntropy } else { losses_of_values()[loss].clone() };
            let outputs = if loss == Loss::NashSutcliffe { 1 } else { outputs * loss.outputs_per_target() };
            let cell = cells::ALL[cell];
            let activation = if cell.has_activation { Activation::ALL[activation] } else { Activation::Tanh };
            let biases = if two { Biases::Two } else { Biases::One };
            let shape = Config::new(input, hidden, outputs, loss, batch, window);
            let config = Config { cell, layers, activation, biases, recompute, ..shape };
            (Case { config, masked, reduction: if sum { Reduction::Sum } else { Reduction::Mean } }, ON[on], seed)
        },
    )
}

fn settings() -> Proptest {
    Proptest { cases: 200, rng_seed: RngSeed::Fixed(20_261_124), failure_persistence: None, ..Proptest::default() }
}

fn network(case: &Case, on: &'static str) -> Network {
    let mut network = load(Model::new(&case.config).unwrap(), device(), on);
    network.set_parameters(&case.weights()).unwrap();
    network
}

fn gradient(case: &Case, on: &'static str, batch: &Batch) -> Gradient {
    network(case, on).gradient(batch).unwrap()
}

fn tensors(case: &Case, on: &'static str, batch: &Batch) -> Tensors {
    networks::gradient(&mut network(case, on), batch).unwrap()
}

/// What the reference says.
fn expected(case: &Case, batch: &Batch) -> Expected {
    networks::expected(&case.config, &in_f64(&networks::cell(&case.config), &case.weights()), batch).unwrap()
}

/// Both sides round.
fn twice(case: &Case) -> f64 {
    2.0 * bound(&case.config)
}

/// The bits of the loss and of every gradient, each times a power of two. A sum of zeros may be -0 or 0, by the signs of what they were
/// multiplied with.
fn bits(gradient: &Gradient, times: f32) -> Vec<u32> {
    let all = gradient.parameters.values().flatten().chain(gradient.initial_states.values().flatten());
    all.chain([&gradient.loss]).map(|v| (v * times + 0.0).to_bits()).collect()
}

/// The places along one axis of an array, in another order.
fn picked<T: Clone, D: Dimension + ndarray::RemoveAxis>(
    array: ArrayView<T, D>,
    axis: usize,
    order: &[usize],
) -> ndarray::Array<T, D> {
    array.select(Axis(axis), order)
}

/// The same batch with its sequences in another order.
fn permuted(batch: &Batch, order: &[usize]) -> Batch {
    let InitialState::Given(states) = &batch.initial_state else { panic!("a state is given") };
    Batch {
        inputs: match &batch.inputs {
            Inputs::Tokens(x) => Inputs::Tokens(picked(x.view(), 1, order)),
            Inputs::Vectors(x) => Inputs::Vectors(picked(x.view(), 1, order)),
        },
        targets: match &batch.targets {
            Targets::Classes(y) => Targets::Classes(picked(y.view(), 1, order)),
            Targets::Values(y) => Targets::Values(picked(y.view(), 1, order)),
        },
        mask: batch.mask.as_ref().map(|mask| picked(mask.view(), 1, order)),
        lengths: batch.lengths.as_ref().map(|lengths| order.iter().map(|&b| lengths[b]).collect()),
        reduction: batch.reduction,
        class_weights: batch.class_weights.clone(),
        deviations: batch.deviations.as_ref().map(|all| order.iter().map(|&b| all[b]).collect()),
        initial_state: InitialState::Given(
            states.iter().map(|(name, state)| (name.clone(), picked(state.view(), 1, order))).collect(),
        ),
    }
}

/// Steps `first..end` of a batch.
fn part(batch: &Batch, first: usize, end: usize, initial_state: InitialState) -> Batch {
    Batch {
        inputs: match &batch.inputs {
            Inputs::Tokens(x) => Inputs::Tokens(x.slice(s![first..end, ..]).to_owned()),
            Inputs::Vectors(x) => Inputs::Vectors(x.slice(s![first..end, .., ..]).to_owned()),
        },
        targets: match &batch.targets {
            Targets::Classes(y) => Targets::Classes(y.slice(s![first..end, ..]).to_owned()),
            Targets::Values(y) => Targets::Values(y.slice(s![first..end, .., ..]).to_owned()),
        },
        mask: None,
        lengths: None,
        reduction: batch.reduction,
        class_weights: batch.class_weights.clone(),
        deviations: batch.deviations.clone(),
        initial_state,
    }
}

/// A mask of this shape in which `count` places count.
fn mask_of(shape: (usize, usize), count: usize, seed: u64) -> Array2<f32> {
    let order = Random::new(seed, 7).permutation((shape.0 * shape.1) as u32);
    let counts: Vec<f32> = order.into_iter().map(|place| if (place as usize) < count { 1.0 } else { 0.0 }).collect();
    Array2::from_shape_vec(shape, counts).expect("a place for each")
}

/// Outputs, hidden states of each layer, and the last state, of windows one after the other.
fn forward(case: &Case, on: &'static str, window: usize, batches: &[Batch]) -> Vec<Array3<f32>> {
    let case = Case { config: Config { window, ..case.config.clone() }, ..case.clone() };
    let mut network = network(&case, on);
    let mut all = vec![Vec::new(); 1 + case.config.layers];
    for batch in batches {
        network.loss(batch).unwrap();
        all[0].push(network.outputs().unwrap());
        // Of several segments not all states are kept.
        if case.config.recompute.is_none() {
            (0..case.config.layers).for_each(|l| all[1 + l].push(network.hidden(l).unwrap()));
        }
    }
    all.retain(|parts| !parts.is_empty());
    let join = |parts: &Vec<Array3<f32>>| {
        ndarray::concatenate(Axis(0), &parts.iter().map(|p| p.view()).collect::<Vec<_>>()).expect("windows of one network")
    };
    let mut joined: Vec<_> = all.iter().map(join).collect();
    joined.extend(network.state().unwrap().into_values());
    joined
}

fn named(all: Vec<Array3<f32>>) -> Tensors {
    all.into_iter().enumerate().map(|(i, t)| (format!("tensor {i}"), t.mapv(f64::from).into_dyn())).collect()
}

proptest! {
    #![proptest_config(settings())]

    /// CPU and GPU agree with each other and with the reference, which shares nothing with them.
    #[test]
    fn gpu_cpu_and_reference_are_one((case, on, seed) in any_case()) {
        let batch = case.batch(seed);
        let (cpu, other) = (tensors(&case, "CPU", &batch), tensors(&case, on, &batch));
        let expected = expected(&case, &batch);
        let found = [expected.mismatches(&other, bound(&case.config)), expected.with(cpu).mismatches(&other, twice(&case))].concat();
        prop_assert!(found.is_empty(), "{}", found.join("\n"));
    }

    /// With its sequences in another order, a batch gives the same outputs in that order and the same gradients.
    #[test]
    fn the_order_of_sequences_does_not_matter((case, on, seed) in any_case()) {
        let batch = case.batch(seed);
        let order: Vec<usize> =
            Random::new(seed, 3).permutation(case.config.batch as u32).into_iter().map(|i| i as usize).collect();
        let mut right = tensors(&case, on, &batch);
        for (name, tensor) in &mut right {
            if ["outputs", "h0", "c0"].contains(&name.as_str()) || name.starts_with("hidden") {
                *tensor = tensor.select(Axis(1), &order);
            }
        }
        let found = expected(&case, &batch).with(right).mismatches(&tensors(&case, on, &permuted(&batch, &order)), twice(&case));
        prop_assert!(found.is_empty(), "{}", found.join("\n"));
    }

    /// Windows one after the other, the state carried, are one long window.
    #[test]
    fn where_a_sequence_is_cut_does_not_matter((case, on, seed) in any_case(), windows in 2..=4usize) {
        let each = case.config.window;
        let long = Case { config: Config { window: each * windows, ..case.config.clone() }, masked: false, ..case.clone() };
        let batch = long.batch(seed);
        let whole = forward(&case, on, each * windows, std::slice::from_ref(&batch));
        let parts: Vec<Batch> = (0..windows)
            .map(|i| {
                let state = if i == 0 { batch.initial_state.clone() } else { InitialState::Carried };
                part(&batch, i * each, (i + 1) * each, state)
            })
            .collect();
        let found = mismatches(&named(forward(&case, on, each, &parts)), &named(whole), twice(&case));
        prop_assert!(found.is_empty(), "{}", found.join("\n"));
    }

    /// What an output that does not count is measured against makes no difference to any bit, nor does what is read after the last that
    /// counts.
    #[test]
    fn what_does_not_count_contributes_nothing((case, on, seed) in any_case(), last in 0..9usize) {
        let Config { window, batch: size, outputs, .. } = case.config;
        let mut batch = case.batch(seed);
        let last = last.min(window - 1);
        let mut mask = mask_of((window, size), (window * size).div_ceil(2), seed);
        mask[[last, 0]] = 1.0;
        mask.slice_mut(s![last + 1.., ..]).fill(0.0);
        batch.mask = Some(mask.clone());
        let before = gradient(&case, on, &batch);
        let mut random = Random::new(seed, 5);
        match &mut batch.targets {
            Targets::Classes(y) => y.zip_mut_with(&mask, |y, &m| *y = if m == 0.0 { random.below(outputs as u32) } else { *y }),
            Targets::Values(y) => {
                for (mut y, &m) in y.lanes_mut(Axis(2)).into_iter().zip(&mask) {
                    y.mapv_inplace(|y| if m == 0.0 { random.uniform_in(-9.0, 9.0) } else { y });
                }
            }
        }
        match &mut batch.inputs {
            Inputs::Tokens(x) => x.slice_mut(s![last + 1.., ..]).fill(0),
            Inputs::Vectors(x) => x.slice_mut(s![last + 1.., .., ..]).mapv_inplace(|x| 3.0 - x),
        }
        let after = gradient(&case, on, &batch);
        // Of a table of tokens the order of a sum depends on which tokens are where.
        let mut found = [before, after];
        if matches!(case.config.input, Input::Tokens(_)) {
            found.iter_mut().for_each(|g| { g.parameters.remove("rnn.weight_ih_l0"); });
        }
        prop_assert_eq!(bits(&found[0], 1.0), bits(&found[1], 1.0));
    }

    /// The sum over 2ⁿ outputs is 2ⁿ times their mean, and so is its gradient, in every bit.
    #[test]
    fn the_loss_s_weight_scales_the_gradient((case, on, seed) in any_case(), n in 0..6u32) {
        let shape = (case.config.window, case.config.batch);
        let count = 1usize << n.min((shape.0 * shape.1).ilog2());
        let of = |reduction| {
            let mask = Some(mask_of(shape, count, seed));
            let batch = Batch { reduction, mask, class_weights: None, ..case.batch(seed) };
            gradient(&case, on, &batch)
        };
        prop_assert_eq!(bits(&of(Reduction::Sum), 1.0), bits(&of(Reduction::Mean), count as f32));
    }
}

/// The comparisons see what they are there for.
#[test]
fn a_sequence_out_of_order_an_output_more_and_a_state_not_carried_are_seen() {
    let config = Config::new(Input::Vectors(3), 7, 4, Loss::CrossEntropy, 5, 6);
    let case = Case { config, masked: true, reduction: Reduction::Sum };
    let batch = case.batch(1);
    let right = tensors(&case, "CPU", &batch);
    let found = mismatches(&tensors(&case, "CPU", &permuted(&batch, &[1, 0, 2, 3, 4])), &right, twice(&case));
    assert!(["outputs", "h0", "hidden_l0"].iter().all(|name| found.iter().any(|f| f.starts_with(name))), "{found:?}");
    assert!(!found.iter().any(|f| f.starts_with("loss") || f.starts_with("rnn")), "{found:?}");
    let mut more = batch.clone();
    *more.mask.as_mut().unwrap().iter_mut().find(|m| **m == 0.0).unwrap() = 1.0;
    assert_ne!(bits(&gradient(&case, "CPU", &batch), 1.0), bits(&gradient(&case, "CPU", &more), 1.0));
    // Two windows, the state of the second not carried.
    let long = Case { config: Config { window: 12, ..case.config.clone() }, masked: false, ..case.clone() };
    let batch = long.batch(1);
    let whole = forward(&case, "CPU", 12, std::slice::from_ref(&batch));
    let parts = [0, 6].map(|first| part(&batch, first, first + 6, batch.initial_state.clone()));
    let found = mismatches(&named(forward(&case, "CPU", 6, &parts)), &named(whole), twice(&case));
    assert_eq!(found.len(), 3, "{found:?}");
}
