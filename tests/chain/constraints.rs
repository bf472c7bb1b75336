//! Noise, a penalty of activity, sparse connections and fixed signs in whole networks: a simulation in f64, what training keeps, and faults that
//! are planted and seen.

use super::device::{device, load};
use retrospect::batch::{Batch, Input, Loss, Reduction};
use retrospect::cells::Cell;
use retrospect::check::networks::{self, Case, MASKS, bound, gradient, in_f64};
use retrospect::kernels::dropout::schedule_of;
use retrospect::model::{Config, Model, NamedArrays, Optimizer, RecurrentInit, initial};
use retrospect::network::{Masks, Network};
use retrospect::program::Step;
use retrospect::reference::{self, Regularization};

/// Six steps of five sequences, 19 leaky units in two layers, of which 13 are excitatory.
fn case() -> Case {
    let shape = Config::new(Input::Vectors(6), 19, 5, Loss::SquaredError, 5, 6);
    let constraints = Config { state_noise: 0.4, activity_l2: 0.5, recurrent_mask: true, dale: Some(0.7), ..shape };
    let config = Config { layers: 2, cell: Cell::named("leaky").unwrap(), optimizer: Optimizer::Sgd, ..constraints };
    Case { config, masked: true, reduction: Reduction::Mean }
}

fn network(case: &Case, model: Model, on: &'static str) -> Network {
    let mut network = load(model, device(), on);
    network.set_parameters(&case.weights()).unwrap();
    network
}

/// The elements of recurrent weights that are not 0 where there is no connection, or have the wrong sign; and how many are neither.
fn broken(config: &Config, weights: &NamedArrays) -> (usize, usize) {
    let (mut broken, mut others) = (0, 0);
    for layer in 0..config.layers {
        let weight = &weights[&format!("rnn.weight_hh_l{layer}")];
        let mask = weights.get(&format!("rnn.mask_hh_l{layer}"));
        for (at, &w) in weight.indexed_iter() {
            let is_cut = mask.is_some_and(|mask| mask[&at] == 0.0);
            let excites = (at[1] as f64) < config.dale.map_or(f64::INFINITY, |share| (share * config.hidden as f64).round());
            let has_wrong_sign = config.dale.is_some() && (if excites { w < 0.0 } else { w > 0.0 });
            broken += usize::from((is_cut && w != 0.0) || has_wrong_sign);
            others += usize::from(!is_cut && w != 0.0);
        }
    }
    (broken, others)
}

/// Thirty steps of gradient descent with noise and a penalty follow those of the reference in f64, of which the signs are put right after each.
#[test]
fn training_follows_a_simulation() {
    const RATE: f64 = 0.5;
    let case = case();
    let (config, cell) = (&case.config, networks::cell(&case.config));
    let batches: Vec<Batch> = (0..30).map(|seed| case.batch(seed)).collect();
    let start = case.weights();
    let mut weights = in_f64(&cell, &start);
    let before = weights.clone();
    let mut losses = Vec::new();
    for (step, batch) in (1..).zip(&batches) {
        let Config { state_noise, activity_l2, .. } = *config;
        let regularization = Regularization { state_noise, activity_l2, seed: 9, step, ..Regularization::NONE };
        let states = reference::initial(&weights, &cell, batch);
        let got = reference::gradient_with(&weights, &cell, batch, &states, &config.loss, &regularization).unwrap();
        losses.push(got.loss);
        // Of two biases the network has one.
        let trained =
            weights.tensors_mut().into_iter().zip(got.weights.tensors()).filter(|((name, _), _)| start.contains_key(name));
        trained.for_each(|((_, mut weight), (_, d))| weight.scaled_add(-RATE, &d));
        for layer in &mut weights.layers {
            layer.recurrent.indexed_iter_mut().filter(|((_, j), w)| (*j < 13) == (**w < 0.0)).for_each(|(_, w)| *w = 0.0);
        }
    }
    let moved = (&weights.layers[0].recurrent - &before.layers[0].recurrent).mapv(f64::abs).sum();
    assert!(moved > 1.0, "{moved}");
    for on in ["CPU", "tiled", "software"] {
        let mut network = network(&case, Model::new(config).unwrap(), on);
        network.set_seed(9);
        batches.iter().for_each(|batch| network.train_step(batch, RATE).unwrap());
        network.fetch().unwrap();
        let got: Vec<f64> = network.reports(true).unwrap().iter().map(|report| f64::from(report.loss)).collect();
        let off = got.iter().zip(&losses).map(|(a, b)| (a - b).abs() / b).fold(0.0, f64::max);
        // Seen: 2.5e-7.
        assert!(got.len() == losses.len() && off < 1e-5, "{on}: {off}");
        let trained = network.parameters().unwrap();
        for (name, expected) in weights.tensors().iter().filter(|(name, _)| trained.contains_key(name)) {
            let off = trained[name].iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            assert!(off < 1e-4, "{on}: {name} is off by {off}");
        }
    }
}

/// Whatever the optimiser, what has no connection stays 0 and no weight gets a wrong sign; and the weights do change.
#[test]
fn training_keeps_connections_and_signs() {
    let case = case();
    let decaying = Optimizer::AdamW { adam: retrospect::kernels::update::Adam::USUAL, decay: 0.1 };
    let all =
        [Optimizer::Sgd, Optimizer::Momentum { momentum: 0.9 }, Optimizer::ADAM, decaying, Optimizer::AdaGrad { epsilon: 1e-10 }];
    for (i, optimizer) in all.into_iter().enumerate() {
        for (dale, recurrent_mask) in [(Some(0.7), true), (None, true), (Some(0.7), false)] {
            let config = Config { optimizer, dale, recurrent_mask, ..case.config.clone() };
            let case = Case { config, ..case.clone() };
            let mut network = network(&case, Model::new(&case.config).unwrap(), ["CPU", "tiled"][i % 2]);
            let before = network.parameters().unwrap();
            (0..12).for_each(|seed| network.train_step(&case.batch(seed), 0.05).unwrap());
            let after = network.parameters().unwrap();
            let ((broken, others), changed) =
                (broken(&case.config, &after), before["rnn.weight_hh_l1"] != after["rnn.weight_hh_l1"]);
            assert!(broken == 0 && others > 100 && changed, "{optimizer:?}, {dale:?}, {recurrent_mask}: {broken}, {others}");
            let masks = |weights: &NamedArrays| weights.get("rnn.mask_hh_l0").cloned();
            assert_eq!(masks(&before), masks(&after));
        }
    }
}

/// Weights that are set where there is no connection, or with a wrong sign, become 0.
#[test]
fn weights_that_are_set_are_constrained() {
    let case = case();
    let mut weights = case.weights();
    weights.get_mut("rnn.weight_hh_l0").unwrap().fill(1.0);
    let mut network = load(Model::new(&case.config).unwrap(), device(), "CPU");
    network.set_parameters(&weights).unwrap();
    let set = network.parameters().unwrap();
    assert_eq!(broken(&case.config, &set).0, 0);
    assert_eq!(set["rnn.weight_hh_l0"].iter().filter(|w| **w == 1.0).count(), {
        let connected = weights["rnn.mask_hh_l0"].indexed_iter().filter(|(at, mask)| **mask == 1.0 && at[1] < 13);
        connected.count()
    });
}

/// What excites a unit and what inhibits it begin alike on average, and with the variance of a network without signs.
#[test]
fn signs_begin_in_balance() {
    let shape = Config::new(Input::Vectors(6), 300, 5, Loss::SquaredError, 5, 6);
    for share in [0.8, 0.5, 0.31] {
        let config = Config { dale: Some(share), ..shape.clone() };
        for init in [RecurrentInit::Uniform, RecurrentInit::Orthogonal] {
            let weights = initial(&config, 3, init).unwrap();
            assert_eq!(broken(&config, &weights), (0, 300 * 300));
            let weight = weights["rnn.weight_hh_l0"].mapv(f64::from);
            let square = weight.mapv(|w| w * w).sum() / 300.0;
            let expected = if init == RecurrentInit::Uniform { 1.0 / 3.0 } else { 1.0 };
            assert!((square / expected - 1.0).abs() < 0.02, "{share} {init:?}: {square}");
            assert!((weight.sum() / weight.mapv(f64::abs).sum()).abs() < 0.01, "{share} {init:?}: {}", weight.sum());
        }
    }
}

/// What is evaluated or traced has the bits of the same network without noise and penalty, whatever was trained before.
#[test]
fn nothing_is_added_but_in_training() {
    let with = case();
    let without = Case { config: Config { state_noise: 0.0, activity_l2: 0.0, ..with.config.clone() }, ..with.clone() };
    for on in ["CPU", "tiled"] {
        let traced = |case: &Case| Model::new(&Config { trace: true, ..case.config.clone() }).unwrap();
        let mut networks = [&with, &without].map(|case| network(case, traced(case), on));
        let batch = with.batch(1);
        let [first, second] = &mut networks;
        first.train_step(&batch, 0.0).unwrap();
        let noisy = first.gradient_with(&batch, Some(MASKS)).unwrap().loss;
        let evaluated = [first, second].map(|network| {
            let loss = network.loss(&batch).unwrap();
            let traced = network.trace(&batch).unwrap();
            (loss, network.outputs().unwrap(), traced.into_iter().map(|layer| (layer.hidden, layer.d_hidden)).collect::<Vec<_>>())
        });
        assert!(evaluated[0] == evaluated[1] && noisy != evaluated[0].0, "{on}");
    }
}

/// A training step adds what the gradient adds with its number, whether the window is computed whole or in segments.
#[test]
fn a_training_step_adds_noise_by_its_number() {
    let whole = case();
    for recompute in [None, Some(2), Some(4)] {
        let case = Case { config: Config { recompute, ..whole.config.clone() }, ..whole.clone() };
        let mut network = network(&case, Model::new(&case.config).unwrap(), "CPU");
        network.set_seed(1 << 35 | 9);
        network.set_steps((1 << 33) - 2);
        let batch = case.batch(1);
        let masks = (1..4).map(|k| Masks { seed: 1 << 35 | 9, step: (1 << 33) - 2 + k });
        let expected: Vec<f32> = masks.map(|masks| network.gradient_with(&batch, Some(masks)).unwrap().loss).collect();
        (0..3).for_each(|_| network.train_step(&batch, 0.0).unwrap());
        network.fetch().unwrap();
        let trained: Vec<f32> = network.reports(true).unwrap().iter().map(|report| report.loss).collect();
        assert!(trained == expected && trained[0] != trained[1], "{recompute:?}: {trained:?} {expected:?}");
    }
}

/// A fault in a recorded program: what is changed of the steps of a kernel, by their place among those, and where it has to be seen or must not be.
struct Fault {
    name: &'static str,
    kernel: &'static str,
    change: fn(usize, &mut Step),
    seen: &'static [&'static str],
    right: &'static [&'static str],
}

/// Multiplies the f32 at a place of a step's scalars.
fn scale(step: &mut Step, at: usize, by: f32) {
    let value = f32::from_le_bytes(step.scalars[at..at + 4].try_into().unwrap());
    step.scalars[at..at + 4].copy_from_slice(&(value * by).to_le_bytes());
}

/// Lets a step work on the first row alone.
fn cut_to_first_row(step: &mut Step) {
    step.windows.iter_mut().for_each(|window| *window = window.slice_rows(0..1));
}

const FAULTS: &[Fault] = &[
    Fault {
        name: "noise 1e-3 too large",
        kernel: "noise",
        change: |_, step| scale(step, 20, 1.001),
        seen: &["loss", "hidden_l0", "rnn.weight_hh_l1"],
        right: &["evaluated loss"],
    },
    Fault {
        name: "both layers with one noise",
        kernel: "noise",
        change: |_, step| step.scalars[0] = 0,
        seen: &["loss", "hidden_l1"],
        right: &["hidden_l0", "evaluated loss"],
    },
    Fault {
        name: "a penalty of half the size",
        kernel: "add",
        change: |_, step| scale(step, 0, 0.5),
        seen: &["rnn.weight_hh_l0", "rnn.bias_ih_l1"],
        right: &["loss", "outputs", "decoder.weight", "evaluated loss"],
    },
    Fault {
        name: "the gradient of a connection that there is not",
        kernel: "connections",
        // The first two make weights zero, the others gradients, from the last layer on.
        change: |place, step| {
            if place == 2 {
                cut_to_first_row(step);
            }
        },
        seen: &["rnn.weight_hh_l1"],
        right: &["loss", "rnn.weight_hh_l0", "rnn.weight_ih_l1", "evaluated loss"],
    },
    Fault {
        name: "weights where there is no connection",
        kernel: "connections",
        change: |place, step| {
            if place == 0 {
                cut_to_first_row(step);
            }
        },
        seen: &["loss", "hidden_l0", "evaluated loss"],
        right: &[],
    },
];

#[test]
fn planted_faults_of_constraints_are_caught() {
    let case = case();
    let wrong = |network: &mut Network| {
        let batch = case.batch(1);
        let expected = networks::expected(&case.config, &in_f64(&networks::cell(&case.config), &case.weights()), &batch).unwrap();
        expected.mismatches(&gradient(network, &batch).unwrap(), bound(&case.config))
    };
    for on in ["CPU", "tiled"] {
        let found = wrong(&mut network(&case, Model::new(&case.config).unwrap(), on));
        assert!(found.is_empty(), "{on}: {found:?}");
        for Fault { name, kernel, change, seen, right } in FAULTS {
            let mut model = Model::new(&case.config).unwrap();
            let steps = model.program_mut().steps_mut().iter_mut().filter(|step| step.kernel.name == *kernel);
            steps.enumerate().for_each(|(place, step)| change(place, step));
            let found = wrong(&mut network(&case, model, on));
            let named = |tensor: &&&str| found.iter().any(|f| f.starts_with(&format!("{tensor}[")));
            assert!(seen.iter().all(|tensor| named(&tensor)), "{name} on {on} gives {found:?}");
            let elsewhere: Vec<_> = right.iter().filter(named).collect();
            assert!(elsewhere.is_empty(), "{name} on {on} is seen in {elsewhere:?}");
        }
        // Noise in evaluation, too.
        let mut model = Model::new(&case.config).unwrap();
        let planted = model.program_mut().indices("planted", 1, 4);
        let steps = model.program_mut().steps_mut().iter_mut().filter(|step| step.kernel.name == "noise");
        steps.for_each(|step| step.windows[0] = planted);
        let mut network = network(&case, model, on);
        network.backend().write_indices(planted, &schedule_of(MASKS.seed, MASKS.step)).unwrap();
        let found = wrong(&mut network);
        assert!(found.len() == 1 && found[0].starts_with("evaluated loss"), "{on}: {found:?}");
    }
}
