//! Training steps in a row, on the CPU and on the GPU, against the textbook's formulas in f64 on the gradients of the
//! reference: parameters, the optimiser's states, and the loss and gradient norm that are reported.

use std::collections::BTreeMap;

use super::device::{device, load};
use ndarray::{ArrayD, Zip};
use retrospect::Activation;
use retrospect::batch::{Batch, InitialState, Input, Loss, Reduction};
use retrospect::check::networks::{Case, bound, cell, in_f64, parameters};
use retrospect::kernels::update::Adam;
use retrospect::model::{Config, Model, NamedArrays, Optimizer};
use retrospect::program::{Program, Step};
use retrospect::reference::{self, Regularization};

type Tensors = BTreeMap<String, ArrayD<f64>>;

/// u, what a rounding to f32 may change relative to the value.
const U: f64 = 1.0 / (1u64 << 24) as f64;

const RATES: [f64; 3] = [0.01, 0.03, 0.02];

/// The rates of an optimiser. The first steps of RMSprop and Adagrad are some rates long, however small a gradient is: what a weight with next
/// to none is off by must not show in the gradients of the steps after it.
fn rates(optimizer: Optimizer) -> [f64; 3] {
    match optimizer {
        Optimizer::RmsProp { .. } | Optimizer::AdaGrad { .. } => RATES.map(|rate| 0.1 * rate),
        _ => RATES,
    }
}

const MOMENTUM: f32 = 0.9;
/// Of dropout.
const SEED: u64 = 0x1234_5678_9abc_def0;

/// Parameters and the optimiser's two states.
#[derive(Clone)]
struct Trained {
    w: Tensors,
    m: Tensors,
    v: Tensors,
}

impl Trained {
    /// One step by the textbooks, `t` from 1, each as its authors have it: AdamW's decay is of matrices alone.
    fn step(&mut self, optimizer: Optimizer, t: i32, rate: f64, gradient: &Tensors) {
        for (name, g) in gradient {
            let [w, m, v] = [&mut self.w, &mut self.m, &mut self.v].map(|set| set.get_mut(name).expect("the same names"));
            let is_matrix = w.ndim() == 2;
            Zip::from(w).and(m).and(v).and(g).for_each(|w, m, v, &g| match optimizer {
                Optimizer::Sgd => *w -= rate * g,
                Optimizer::Momentum { momentum } => {
                    *m = f64::from(momentum) * *m + g;
                    *w -= rate * *m;
                }
                Optimizer::Nesterov { momentum } => {
                    *m = f64::from(momentum) * *m + g;
                    *w -= rate * (g + f64::from(momentum) * *m);
                }
                Optimizer::Adam(_) => {
                    *m = 0.9 * *m + 0.1 * g;
                    *v = 0.999 * *v + 0.001 * g * g;
                    let (mean, square) = (*m / (1.0 - 0.9f64.powi(t)), *v / (1.0 - 0.999f64.powi(t)));
                    *w -= rate * mean / (square.sqrt() + 1e-8);
                }
                Optimizer::AdamW { .. } => {
                    *w *= if is_matrix { 1.0 - rate * 0.5 } else { 1.0 };
                    *m = 0.8 * *m + 0.2 * g;
                    *v = 0.99 * *v + 0.01 * g * g;
                    let (mean, square) = (*m / (1.0 - 0.8f64.powi(t)), *v / (1.0 - 0.99f64.powi(t)));
                    *w -= rate * mean / (square.sqrt() + 1e-6);
                }
                Optimizer::RmsProp { .. } => {
                    *v = 0.95 * *v + 0.05 * g * g;
                    *w -= rate * g / (v.sqrt() + 1e-8);
                }
                Optimizer::AdaGrad { .. } => {
                    *v += g * g;
                    *w -= rate * g / (v.sqrt() + 1e-10);
                }
            });
        }
    }

    /// All values by name.
    fn all(&self) -> Tensors {
        let named = |label: &'static str, set: &Tensors| {
            set.iter().map(|(name, t)| (format!("{label}{name}"), t.clone())).collect::<Vec<_>>()
        };
        [named("", &self.w), named("m of ", &self.m), named("v of ", &self.v)].into_iter().flatten().collect()
    }
}

/// What three steps should leave, and how far each value may be from it.
struct Expected {
    values: Tensors,
    spread: Tensors,
}

fn scalar(value: f64) -> ArrayD<f64> {
    ndarray::arr0(value).into_dyn()
}

fn largest(tensor: &ArrayD<f64>) -> f64 {
    tensor.fold(0.0, |m: f64, v| m.max(v.abs()))
}

/// Three steps in f64. Each gradient of the network may be off by [`bound`] of its tensor's largest value, either way and each
/// time anew: the formulas are followed for all eight ways, and the spread of what they give, and some roundings, is how far
/// f32 may be. So where Adam divides two small numbers the bound is as wide as that makes it and nowhere else.
/// The worst seen is 0.49 of the spread (Adam's v, by its 1 − β₂), 0.17 without Adam.
fn expected(config: &Config, weights: &NamedArrays, batches: &[Batch; 3]) -> Expected {
    let bound = bound(config);
    let w: Tensors = weights.iter().map(|(name, t)| (name.clone(), t.mapv(f64::from))).collect();
    let zero: Tensors = w.iter().map(|(name, t)| (name.clone(), ArrayD::zeros(t.raw_dim()))).collect();
    let mut exact = Trained { w, m: zero.clone(), v: zero };
    let mut off = vec![exact.clone()];
    let mut reports = Tensors::new();
    let cell = cell(config);
    let mut weights = in_f64(&cell, weights);
    let mut carried = None;
    for (t, batch) in (1..).zip(batches) {
        let start = carried.unwrap_or_else(|| reference::initial(&weights, &cell, batch));
        let (dropout, output_dropout) = (config.dropout, config.output_dropout);
        let regularization = Regularization { dropout, output_dropout, seed: SEED, step: t as u64, ..Regularization::NONE };
        let got = reference::gradient_with(&weights, &cell, batch, &start, &config.loss, &regularization).unwrap();
        carried = Some(reference::last(&got.states));

        let mut gradient = parameters(config, &got.weights);
        let norm = gradient.values().flatten().map(|g| g * g).sum::<f64>().sqrt();
        reports.insert(format!("loss of step {t}"), scalar(got.loss));
        reports.insert(format!("gradient norm of step {t}"), scalar(norm));
        if let Some(clip) = config.clip {
            let scale = (f64::from(clip) / (norm + 1e-6)).min(1.0);
            gradient.values_mut().for_each(|g| *g *= scale);
        }
        if let Some(bound) = config.clip_value.map(f64::from) {
            gradient.values_mut().for_each(|g| g.mapv_inplace(|g| g.clamp(-bound, bound)));
        }
        let rate = rates(config.optimizer)[t as usize - 1];
        exact.step(config.optimizer, t, rate, &gradient);
        off = [-1.0, 1.0]
            .into_iter()
            .flat_map(|sign| {
                let moved = |g: &ArrayD<f64>| g + sign * bound * largest(g);
                let moved: Tensors = gradient.iter().map(|(name, g)| (name.clone(), moved(g))).collect();
                let step = |mut trained: Trained| {
                    trained.step(config.optimizer, t, rate, &moved);
                    trained
                };
                off.iter().cloned().map(step).collect::<Vec<_>>()
            })
            .collect();
        for (name, mut tensor) in weights.tensors_mut() {
            // What the network does not train stays zero.
            if let Some(value) = exact.w.get(&name) {
                tensor.assign(value);
            }
        }
    }
    let mut values = exact.all();
    // Three roundings a step; and 1 − β in f32, by which the states are scaled and which Adam's corrections take out again.
    let rounding = |name: &str, t: &ArrayD<f64>| {
        let beta = |exact: f64, rest: f64| ((1.0 - f64::from(exact as f32)) / rest - 1.0).abs();
        let scaled = match (name.get(..4), config.optimizer) {
            (Some("m of"), Optimizer::Adam(_)) => beta(0.9, 0.1),
            (Some("v of"), Optimizer::Adam(_)) => beta(0.999, 0.001),
            (Some("m of"), Optimizer::AdamW { .. }) => beta(0.8, 0.2),
            (Some("v of"), Optimizer::AdamW { .. }) => beta(0.99, 0.01),
            (Some("v of"), Optimizer::RmsProp { .. }) => beta(0.95, 0.05),
            _ => 0.0,
        };
        (9.0 * U + scaled) * largest(t)
    };
    let mut spread: Tensors = values.iter().map(|(n, t)| (n.clone(), ArrayD::zeros(t.raw_dim()))).collect();
    for (name, tensor) in off.iter().flat_map(Trained::all) {
        let spread = spread.get_mut(&name).expect("the same names");
        Zip::from(spread).and(&tensor).and(&values[&name]).for_each(|s, a, b| *s = s.max((a - b).abs()));
    }
    spread.iter_mut().for_each(|(name, spread)| *spread += rounding(name, &values[name]));
    spread.extend(reports.iter().map(|(name, t)| (name.clone(), t.mapv(|v| v.abs() * bound))));
    values.extend(reports);
    Expected { values, spread }
}

/// What three steps of a network leave.
fn trained(model: Model, on: &'static str, weights: &NamedArrays, batches: &[Batch; 3]) -> Tensors {
    let mut network = load(model, device(), on);
    network.set_parameters(weights).unwrap();
    network.set_seed(SEED);
    let rates = rates(network.model().config().optimizer);
    for (batch, rate) in batches.iter().zip(rates) {
        network.train_step(batch, rate).unwrap();
    }
    network.fetch().unwrap();
    let mut all = Tensors::new();
    for report in network.reports(true).unwrap() {
        all.insert(format!("loss of step {}", report.step), scalar(f64::from(report.loss)));
        all.insert(format!("gradient norm of step {}", report.step), scalar(f64::from(report.gradient_norm)));
    }
    let mut put = |label: String, named: NamedArrays| {
        all.extend(named.into_iter().map(|(name, t)| (format!("{label}{name}"), t.mapv(f64::from))));
    };
    put(String::new(), network.parameters().unwrap());
    network.optimizer_states().unwrap().into_iter().for_each(|(state, named)| put(format!("{state} of "), named));
    all
}

/// The one comparison of this file: the names of what is farther from its expected value than it may be, or not there.
fn outside(got: &Tensors, expected: &Expected, optimizer: Optimizer) -> Vec<String> {
    let states = match optimizer {
        Optimizer::Sgd => ["m of", "v of"].as_slice(),
        Optimizer::Momentum { .. } | Optimizer::Nesterov { .. } => &["v of"],
        Optimizer::Adam(_) | Optimizer::AdamW { .. } => &[],
        Optimizer::RmsProp { .. } | Optimizer::AdaGrad { .. } => &["m of"],
    };
    let wanted = expected.values.iter().filter(|(name, _)| !states.iter().any(|state| name.starts_with(state)));
    let mut found = Vec::new();
    for (name, value) in wanted {
        let Some(got) = got.get(name).filter(|got| got.shape() == value.shape()) else {
            found.push(format!("{name}: missing"));
            continue;
        };
        // Written so that NaN, which compares false with everything, is outside.
        let inside = |((g, e), s): &((&f64, &f64), &f64)| (*g - *e).abs() <= **s;
        if let Some(((g, e), s)) = got.iter().zip(value).zip(&expected.spread[name]).find(|at| !inside(at)) {
            found.push(format!("{name}: {g:e}, expected {e:e} within {s:e}"));
        }
    }
    found
}

/// Nothing, more than the gradient's norm, and less.
const CLIPS: [Option<f32>; 3] = [None, Some(1000.0), Some(0.02)];
const OPTIMIZERS: [Optimizer; 7] = [
    Optimizer::Sgd,
    Optimizer::Momentum { momentum: MOMENTUM },
    Optimizer::ADAM,
    Optimizer::Nesterov { momentum: MOMENTUM },
    Optimizer::AdamW { adam: Adam { beta1: 0.8, beta2: 0.99, epsilon: 1e-6 }, decay: 0.5 },
    Optimizer::RmsProp { beta: 0.95, epsilon: 1e-8 },
    Optimizer::AdaGrad { epsilon: 1e-10 },
];

fn case(tokens: bool, optimizer: Optimizer, clip: Option<f32>) -> Case {
    let (input, loss) = match tokens {
        true => (Input::Tokens(19), Loss::CrossEntropy),
        false => (Input::Vectors(7), Loss::SquaredError),
    };
    let shape = Config::new(input, 19, 5, loss, 7, 5);
    let (layers, activation) = if tokens { (2, Activation::Tanh) } else { (1, Activation::Sigmoid) };
    // With tokens and clipping, which is one in three.
    let (dropout, output_dropout) = if tokens && clip == CLIPS[2] { (0.3, 0.2) } else { (0.0, 0.0) };
    // Beside a norm that clips nothing.
    let clip_value = (clip == CLIPS[1]).then_some(0.01);
    let config = Config { layers, activation, optimizer, clip, clip_value, dropout, output_dropout, ..shape };
    Case { config, masked: tokens, reduction: Reduction::Mean }
}

/// The first batch with a state that is given, the others from where the one before ended.
fn batches(case: &Case) -> [Batch; 3] {
    let carried = |batch: Batch| Batch { initial_state: InitialState::Carried, ..batch };
    [case.batch(1), carried(case.batch(2)), carried(case.batch(3))]
}

#[test]
fn three_steps_are_those_of_the_textbook() {
    for (tokens, optimizer, clip) in
        [true, false].into_iter().flat_map(|t| OPTIMIZERS.map(|o| CLIPS.map(|c| (t, o, c)))).flatten()
    {
        let case = case(tokens, optimizer, clip);
        let (weights, batches) = (case.weights(), batches(&case));
        let expected = expected(&case.config, &weights, &batches);
        for on in ["CPU", "tiled", "software"] {
            let got = trained(Model::new(&case.config).unwrap(), on, &weights, &batches);
            let found = outside(&got, &expected, optimizer);
            assert!(found.is_empty(), "{on}, {case:?}:\n{}", found.join("\n"));
        }
    }
}

fn all_steps<'a>(program: &'a mut Program, kernel: &'a str) -> impl Iterator<Item = &'a mut Step> {
    program.steps_mut().iter_mut().filter(move |s| s.kernel.name == kernel)
}

/// Changes the n-th scalar of a kernel's steps.
fn change(program: &mut Program, kernel: &str, n: usize, from: f32, to: f32) {
    for step in all_steps(program, kernel) {
        let bytes = &mut step.scalars[4 * n..4 * n + 4];
        assert_eq!(bytes, from.to_le_bytes(), "{kernel}");
        bytes.copy_from_slice(&to.to_le_bytes());
    }
}

/// The same of an integer.
fn change_bits(program: &mut Program, kernel: &str, n: usize, from: u32, to: u32) {
    change(program, kernel, n, f32::from_bits(from), f32::from_bits(to));
}

/// The same of those steps of the kernel that have such a scalar, which are some.
fn change_some(program: &mut Program, kernel: &str, n: usize, from: f32, to: f32) {
    let has = |step: &&mut Step| step.scalars[4 * n..4 * n + 4] == from.to_le_bytes();
    let changed =
        all_steps(program, kernel).filter(has).map(|step| step.scalars[4 * n..4 * n + 4].copy_from_slice(&to.to_le_bytes()));
    assert!(changed.count() > 0, "{kernel}");
}

/// Gives a window that a kernel's steps write a place where nobody looks.
fn divert(program: &mut Program, kernel: &str, window: usize, except: usize) {
    let found: Vec<_> = program.steps().iter().enumerate().filter(|(_, s)| s.kernel.name == kernel).map(|(i, _)| i).collect();
    for index in found.into_iter().skip(except) {
        let mat = program.steps()[index].windows[window];
        let elsewhere = program.matrix("planted", mat.rows(), mat.cols());
        program.steps_mut()[index].windows[window] = elsewhere;
    }
}

#[test]
fn planted_faults_of_training_are_caught() {
    let [sgd, momentum, adam, nesterov, adamw, rmsprop, adagrad] = OPTIMIZERS;
    type Plant = fn(&mut Program);
    let faults: [(&str, Optimizer, Option<f32>, Plant, &str); 16] = [
        ("β₁ off by 1e-4", adam, None, |p| change(p, "adam", 0, 0.9, 0.90009), "m of rnn.weight_hh_l1"),
        ("β₂ off by 1e-4", adam, None, |p| change(p, "adam", 1, 0.999, 0.9991), "v of decoder.weight"),
        ("ε of 1e-4", adam, None, |p| change(p, "adam", 2, 1e-8, 1e-4), "decoder.weight"),
        ("μ off by 1e-4", momentum, None, |p| change(p, "momentum", 0, 0.9, 0.90009), "m of decoder.bias"),
        ("clipped to a norm off by 1e-3", sgd, Some(0.02), |p| change(p, "sgd", 0, 0.02, 0.02002), "decoder.bias"),
        ("clipped to a norm off by 1e-4", adam, Some(0.02), |p| change(p, "adam", 3, 0.02, 0.020002), "m of decoder.bias"),
        ("not clipped", adam, Some(0.02), |p| change(p, "adam", 3, 0.02, 0.0), "m of rnn.weight_ih_l0"),
        ("momentum in place of Nesterov's", nesterov, None, |p| change_bits(p, "momentum", 3, 1, 0), "decoder.weight"),
        ("decay off by 1e-2", adamw, None, |p| change_some(p, "adam", 5, 0.5, 0.505), "rnn.weight_hh_l0"),
        ("biases decay", adamw, None, |p| change_some(p, "adam", 5, 0.0, 0.5), "rnn.bias_ih_l0"),
        ("β off by 1e-3", rmsprop, None, |p| change(p, "rmsprop", 0, 0.95, 0.951), "v of decoder.weight"),
        ("a share of squares alone", adagrad, None, |p| change(p, "rmsprop", 1, 1.0, 0.99), "v of decoder.weight"),
        ("elements not clipped", sgd, Some(1000.0), |p| change(p, "sgd", 1, 0.01, 0.0), "decoder.bias"),
        ("no state carried on", sgd, None, |p| divert(p, "carry", 0, 0), "loss of step 2"),
        // The first two of them prepare.
        ("Wᵀ not refreshed", sgd, None, |p| divert(p, "transpose", 1, 2), "loss of step 2"),
        ("momentum's mean forgotten", momentum, None, |p| divert(p, "momentum", 2, 0), "m of decoder.weight"),
    ];
    for (name, optimizer, clip, plant, seen) in faults {
        let case = case(true, optimizer, clip);
        let (weights, batches) = (case.weights(), batches(&case));
        let expected = expected(&case.config, &weights, &batches);
        for on in ["CPU", "tiled"] {
            let mut model = Model::new(&case.config).unwrap();
            plant(model.program_mut());
            let found = outside(&trained(model, on, &weights, &batches), &expected, optimizer);
            assert!(found.iter().any(|f| f.starts_with(seen)), "{name} on {on} gives {found:?}");
        }
    }
}

/// A tensor's states off by 1e-4 of themselves, its update off by 1e-3 of itself (parameters themselves round at 1e-5 of it), a
/// number that is none, and a tensor that is not there.
#[test]
fn a_tensor_that_is_a_little_off_is_caught() {
    for optimizer in OPTIMIZERS {
        let case = case(true, optimizer, None);
        let (weights, batches) = (case.weights(), batches(&case));
        let expected = expected(&case.config, &weights, &batches);
        let got = trained(Model::new(&case.config).unwrap(), "CPU", &weights, &batches);
        for name in got.keys().filter(|name| !name.contains(" step ")) {
            let mut moved = got.clone();
            let tensor = moved.get_mut(name).expect("a tensor");
            let before = weights.get(name).map_or_else(|| ArrayD::zeros(tensor.raw_dim()), |w| w.mapv(f64::from));
            let by = if weights.contains_key(name) { 1e-3 } else { 1e-4 };
            *tensor += &((&*tensor - &before) * by);
            let found = outside(&moved, &expected, optimizer);
            assert!(found.len() == 1 && found[0].starts_with(name), "{name}: {found:?}");
        }
        for name in got.keys() {
            let mut undefined = got.clone();
            *undefined.get_mut(name).expect("a tensor").first_mut().expect("a value") = f64::NAN;
            let mut missing = got.clone();
            missing.remove(name);
            for faulty in [undefined, missing] {
                let found = outside(&faulty, &expected, optimizer);
                assert!(found.len() == 1 && found[0].starts_with(name), "{name}: {found:?}");
            }
        }
    }
}
