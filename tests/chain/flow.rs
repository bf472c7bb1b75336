//! How gradients flow back through time, as it is studied and as a training run traces it, on the CPU and on the GPU: the norms against
//! the f64 reference, far below where squares of f32 are zero; and a traced run against one that is not.

use std::path::Path;

use super::device::device;
use ndarray::{Array2, Array3, ArrayD, s};
use retrospect::Activation;
use retrospect::backend::Compute;
use retrospect::batch::{Batch, Input, Inputs, Loss, Targets};
use retrospect::check::networks::in_f64;
use retrospect::data::{Choice, Known, Options, Part, Reading, Task};
use retrospect::model::{Config, NamedArrays, Optimizer, RecurrentInit, initial};
use retrospect::random::Random;
use retrospect::reference;
use retrospect::study::gradients_of;
use retrospect::train::{Checkpoint, Folder, Metrics, Settings, Training};

fn everywhere() -> [Compute; 2] {
    [Compute::Cpu(Some(2)), Compute::Gpu(device().clone())]
}

/// Of each layer and each sequence the norms from its last output that counts back, by the reference.
fn norms(weights: &NamedArrays, layers: usize, activation: Activation, batch: &Batch) -> Vec<Vec<Vec<f64>>> {
    let (steps, sequences) = batch.shape();
    let counts = |t: usize, b: usize| batch.mask.as_ref().is_none_or(|mask| mask[[t, b]] != 0.0);
    let ends: Vec<Option<usize>> = (0..sequences).map(|b| (0..steps).rev().find(|&t| counts(t, b))).collect();
    let last = Array2::from_shape_fn((steps, sequences), |(t, b)| if ends[b] == Some(t) { 1.0 } else { 0.0 });
    let batch = Batch { mask: Some(last), ..batch.clone() };
    let cell = reference::Cell::named("elman", activation.name()).unwrap();
    let expected = reference::gradient(&in_f64(&cell, weights), &cell, &batch).unwrap();
    let norm = |layer: usize, t: usize, b: usize| {
        let row = expected.d_states[layer]["h"].slice(s![t, b, ..]).to_owned();
        row.mapv(|d| d * d).sum().sqrt()
    };
    let curve = |layer: usize, b: usize| Some((0..=ends[b]?).rev().map(|t| norm(layer, t, b)).collect());
    (0..layers).map(|layer| (0..sequences).filter_map(|b| curve(layer, b)).collect()).collect()
}

/// What there is of sequences at a step back: the mean at the end times that of what is left, and the smallest and the largest.
fn sizes(curves: &[Vec<f64>], back: usize) -> [f64; 3] {
    let here: Vec<f64> = curves.iter().filter_map(|curve| curve.get(back).copied()).collect();
    let left: Vec<f64> = curves.iter().filter_map(|curve| Some(curve.get(back)? / curve[0])).collect();
    let begun: Vec<f64> = curves.iter().map(|curve| curve[0]).collect();
    let [low, high] = [f64::min, f64::max].map(|of| here.iter().copied().reduce(of).unwrap());
    [geometric_mean(&begun) * geometric_mean(&left), low, high]
}

fn geometric_mean(all: &[f64]) -> f64 {
    (all.iter().map(|norm| norm.ln()).sum::<f64>() / all.len() as f64).exp()
}

#[test]
fn the_norms_are_the_reference_s_to_the_end_of_f32() {
    let (mut ran_out, mut imprecise) = (0, 0);
    for (i, (activation, gain, layers, recompute, bias)) in [
        (Activation::Tanh, 1.0, 1, None, 0.0),
        (Activation::Sigmoid, 1.0, 1, None, 0.0),
        (Activation::Relu, 1.4, 1, None, 0.0),
        (Activation::Identity, 0.6, 1, Some(7), 0.0),
        (Activation::Sigmoid, 1.5, 2, Some(9), 0.0),
        (Activation::Tanh, 1.2, 3, None, 0.0),
        // Saturated units: less and less of the derivative is left of f32's places.
        (Activation::Tanh, 1.0, 1, None, 3.0),
        (Activation::Tanh, 1.0, 1, None, 5.0),
        (Activation::Tanh, 1.0, 2, None, 7.0),
        (Activation::Tanh, 1.0, 2, None, 9.0),
        (Activation::Sigmoid, 1.0, 1, None, 8.0),
        (Activation::Sigmoid, 2.0, 2, None, 12.0),
        // Gradients explode, and so do the roundings of the states.
        (Activation::Tanh, 2.5, 1, None, 0.0),
        (Activation::Tanh, 3.0, 2, None, 0.0),
    ]
    .into_iter()
    .enumerate()
    {
        let (steps, sequences, hidden) = (90, 3, 19);
        let base = Config::new(Input::Vectors(8), hidden, 2, Loss::SquaredError, sequences, steps);
        let config = Config { activation, layers, recompute, ..base };
        let mut weights = initial(&config, 1 + i as u64, RecurrentInit::Orthogonal).unwrap();
        let recurrent = |name: &str| name.starts_with("rnn.weight_hh");
        weights.iter_mut().filter(|(name, _)| recurrent(name)).for_each(|(_, w)| w.mapv_inplace(|w| w * gain));
        let mut random = Random::new(9, i as u64);
        for (_, b) in weights.iter_mut().filter(|(name, _)| name.starts_with("rnn.bias_ih")) {
            b.mapv_inplace(|b| if random.below(2) == 0 { b + bias } else { b - bias });
        }
        let mut normal = |cols: usize| Array3::from_shape_simple_fn((steps, sequences, cols), || random.normal() as f32);
        let plain = Batch::new(Inputs::Vectors(normal(8)), Targets::Values(normal(2)));
        // In every other case the sequences end at different steps.
        let mask = Array2::from_shape_fn((steps, sequences), |(t, b)| if t + 17 * b < steps { 1.0 } else { 0.0 });
        let batch = Batch { mask: (i % 2 == 1).then_some(mask), ..plain };
        let expected = norms(&weights, layers, activation, &batch);
        for compute in everywhere() {
            let got = gradients_of(&compute, &config, &weights, &batch).unwrap();
            for (layer, (got, expected)) in got.iter().zip(&expected).enumerate() {
                let is_precise = |back: usize| got.flow.imprecise_after.is_none_or(|end| back < end);
                let largest = expected.iter().flatten().copied().fold(0.0, f64::max);
                assert_eq!(got.flow.norms.len(), expected.iter().map(Vec::len).max().unwrap());
                let mut compared = 0;
                // Without a bias and with a smaller weight neither is so.
                let is_plain = bias == 0.0 && gain < 2.0;
                assert!(!is_plain || got.flow.imprecise_after.is_none(), "{activation}: {:?}", got.flow.imprecise_after);
                for (back, norm) in got.flow.norms.iter().enumerate() {
                    let [mean, low, high] = sizes(expected, back);
                    let is_known = got.flow.out_of_range.is_none_or(|end| back < end);
                    // What is far from the end of f32 must be known, what is beyond it must not be.
                    assert!(is_known || low < 1e-34, "{activation}, layer {layer}, {back} steps back: {low:e} is not known");
                    assert!(!is_known || low > 1e-36, "{activation}, layer {layer}, {back} steps back: {low:e} is known");
                    if low > 1e-30 * largest {
                        for (got, right) in [(norm.mean, mean), (norm.low, low), (norm.high, high)] {
                            let error = (got / right - 1.0).abs();
                            let at = format!("{activation}, bias {bias}, layer {layer}, {back} back");
                            assert!(error < 1e-4 || !is_precise(back), "{compute:?}: {at}: {got:e}, not {right:e}");
                            imprecise += usize::from(error > 1e-4);
                        }
                        compared += 1;
                    }
                }
                assert!(compared > 30 || !is_plain, "{activation}, layer {layer}: only {compared} steps");
                ran_out += usize::from(got.flow.out_of_range.is_some());
                let last = got.singular_values.len() - 1;
                assert!(
                    (got.gain - f64::from(gain)).abs() < 1e-5 && got.singular_values[last] == got.smallest && last == hidden - 1
                );
            }
        }
    }
    assert!(imprecise > 50, "only {imprecise} norms were off by more than 1e-4, of which each was said to be");
    assert!(ran_out >= 6, "f32 ran out in {ran_out} layers only");
}

/// A run of a small network on a task, traced or not: its metrics, the tensors of its last checkpoint, and the initial weights.
fn trained(
    compute: &Compute,
    task: &str,
    steps: u64,
    trace: Option<u64>,
    folder: &Path,
) -> (Vec<Metrics>, NamedArrays, Settings) {
    let data = Choice::Task(task.into());
    let (seed, window, batch) = (3, 12, 5);
    let opened = data.open(&Options { seed, batch, window }, &Reading::default(), Part::Validation, Known::default()).unwrap();
    let (shape, (length, _)) = (opened.source.shape(), opened.source.window());
    let base = Config::new(shape.input, 9, shape.targets, shape.kind.usual_loss(), batch, length);
    let network = Config { layers: 2, optimizer: Optimizer::ADAM, clip: Some(1.0), ..base };
    let settings = Settings {
        steps,
        lr: 0.01,
        seed,
        recurrent_init: RecurrentInit::Orthogonal,
        window,
        loss_every: 1,
        evaluate_every: Some(3),
        trace_gradients: trace,
        ..Settings::new(data, network)
    };
    let mut training = Training::new(settings.clone(), opened, compute, || Folder::create(folder)).unwrap();
    training.run(|_| std::ops::ControlFlow::Continue(())).unwrap();
    let parameters = Checkpoint::read(&Checkpoint::path(folder)).unwrap().parameters().unwrap();
    (Folder::metrics(folder).unwrap(), parameters, settings)
}

#[test]
fn tracing_shows_a_run_and_changes_nothing_of_it() {
    for compute in everywhere() {
        for task in ["adding", "temporal-order"] {
            let folder = tempfile::tempdir().unwrap();
            let run = |name: &str, steps, trace| trained(&compute, task, steps, trace, &folder.path().join(name));
            let (metrics, weights, _) = run("traced", 7, Some(3));
            let (plain, untraced, _) = run("plain", 7, None);
            assert_eq!(weights, untraced, "{task}");
            let is_trace = |m: &&Metrics| matches!(m, Metrics::Trace { .. });
            let at: Vec<u64> = metrics.iter().filter(is_trace).map(Metrics::step).collect();
            assert_eq!(at, [1, 3, 6]);
            assert!(!plain.iter().any(|m| is_trace(&m)));
            let losses = |all: &[Metrics]| -> Vec<f64> {
                let of = |m: &Metrics| match *m {
                    Metrics::Step { loss, .. } => Some(f64::from(loss)),
                    Metrics::Evaluation { validation_loss, .. } => Some(validation_loss),
                    Metrics::Trace { .. } => None,
                };
                all.iter().filter_map(of).collect()
            };
            assert_eq!(losses(&metrics), losses(&plain));
            assert!(metrics.iter().map(Metrics::step).is_sorted(), "a resumed run keeps lines up to its checkpoint");

            // The first step's: of the initial weights, on the first batch, and the update that one step makes.
            let (_, after, settings) = run("one", 1, Some(1));
            let before = initial(&settings.network, settings.seed, settings.recurrent_init).unwrap();
            let options = Options { seed: settings.seed, batch: settings.network.batch, window: settings.window };
            let batch = (Task::named(task).unwrap().source)(&options).unwrap().batch(0);
            let expected = norms(&before, 2, settings.network.activation, &batch);
            let Some(Metrics::Trace { gradients, update_to_weight, .. }) = metrics.iter().find(is_trace) else {
                panic!("there is a traced step")
            };
            for (got, expected) in gradients.iter().zip(&expected) {
                assert_eq!(got.norms.len(), expected[0].len());
                for (back, got) in got.norms.iter().enumerate() {
                    let (got, [right, ..]) = (f64::from(got.unwrap()), sizes(expected, back));
                    assert!((got / right - 1.0).abs() < 1e-4, "{task}: {got:e}, not {right:e}");
                }
            }
            let length = |array: &ArrayD<f64>| array.mapv(|x| x * x).sum().sqrt();
            let wide = |array: &ArrayD<f32>| array.mapv(f64::from);
            assert_eq!(update_to_weight.len(), before.len());
            for (name, ratio) in update_to_weight {
                let right = length(&(wide(&after[name]) - wide(&before[name]))) / length(&wide(&before[name]));
                assert!((ratio.unwrap() / right - 1.0).abs() < 1e-9, "{task}, {name}: {ratio:?}, not {right}");
            }
        }
    }
}
