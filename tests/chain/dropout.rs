//! Dropout in whole networks, itself checked: that it is gone where nothing is trained, and that masks of another training step, another
//! scale and an evaluation that drops units are seen.

use super::device::{device, load};
use retrospect::batch::{Input, Loss, Reduction};
use retrospect::check::networks::{self, Case, MASKS, bound, gradient, in_f64};
use retrospect::kernels::dropout::schedule_of;
use retrospect::model::{Config, Model};
use retrospect::network::{Masks, Network};
use retrospect::program::Step;

/// Five steps of seven sequences, 19 units in three layers.
fn case(dropout: f64, output_dropout: f64) -> Case {
    let shape = Config::new(Input::Vectors(6), 19, 5, Loss::CrossEntropy, 7, 5);
    let config = Config { layers: 3, dropout, output_dropout, ..shape };
    Case { config, masked: true, reduction: Reduction::Mean }
}

fn network(case: &Case, model: Model, on: &'static str) -> Network {
    let mut network = load(model, device(), on);
    network.set_parameters(&case.weights()).unwrap();
    network
}

/// What of a network's gradient is not what the reference has, by the names of the tensors.
fn wrong(network: &mut Network, case: &Case) -> Vec<String> {
    let (config, batch) = (&case.config, case.batch(1));
    let weights = in_f64(&networks::cell(config), &case.weights());
    let expected = networks::expected(config, &weights, &batch).unwrap();
    expected.mismatches(&gradient(network, &batch).unwrap(), bound(config))
}

/// A fault in a recorded program: what is changed of a step of dropout, by its place among them (three forward, three backward), whether
/// its schedule is one of the fault's own, and where it has to be seen or must not be.
struct Fault {
    name: &'static str,
    /// What changes in the scalars of a step.
    scalars: fn(usize, &mut [u8]),
    /// The seed and training step of the steps from this place on, instead of the network's.
    schedule: Option<(usize, [u32; 4])>,
    seen: &'static [&'static str],
    right: &'static [&'static str],
}

fn faults() -> Vec<Fault> {
    /// The last scalar of a step.
    fn scaled(scalars: &mut [u8], by: fn(f32) -> f32) {
        let scale = f32::from_le_bytes(scalars[32..36].try_into().unwrap());
        scalars[32..36].copy_from_slice(&by(scale).to_le_bytes());
    }
    let next = schedule_of(MASKS.seed, MASKS.step + 1);
    let backward = ["rnn.weight_hh_l0", "rnn.weight_ih_l1", "rnn.bias_ih_l2", "h0"].as_slice();
    vec![
        Fault {
            name: "a mask of another training step on the way back",
            scalars: |_, _| (),
            schedule: Some((3, next)),
            seen: backward,
            right: &["loss", "outputs", "hidden_l0", "hidden_l2", "decoder.weight", "evaluated loss"],
        },
        Fault {
            name: "no mask on the way back",
            scalars: |place, scalars| {
                if place >= 3 {
                    // Nothing is below it.
                    scalars[28..32].fill(0);
                }
            },
            schedule: None,
            seen: backward,
            right: &["loss", "outputs", "decoder.weight", "evaluated loss"],
        },
        Fault {
            name: "the mask of another layer on the way back",
            scalars: |place, scalars| {
                if place == 5 {
                    scalars[0] += 1;
                }
            },
            schedule: None,
            seen: &["rnn.weight_hh_l0", "rnn.weight_ih_l0"],
            right: &["loss", "outputs", "rnn.weight_hh_l1", "rnn.weight_ih_l2", "decoder.weight"],
        },
        Fault {
            name: "scaled by 1 − P",
            scalars: |_, scalars| scaled(scalars, |scale| 1.0 / scale),
            schedule: None,
            seen: &["loss", "outputs", "hidden_l2", "rnn.weight_ih_l1"],
            right: &["hidden_l0", "evaluated loss"],
        },
        Fault {
            name: "scaled by 1e-4 too much on the way back",
            scalars: |place, scalars| {
                if place >= 3 {
                    scaled(scalars, |scale| 1.0001 * scale);
                }
            },
            schedule: None,
            seen: backward,
            right: &["loss", "outputs", "decoder.weight", "evaluated loss"],
        },
        Fault {
            name: "dropout in evaluation",
            scalars: |_, _| (),
            schedule: Some((0, schedule_of(MASKS.seed, MASKS.step))),
            seen: &["evaluated loss"],
            right: &["loss", "outputs", "hidden_l2", "rnn.weight_hh_l0", "decoder.weight", "h0"],
        },
    ]
}

#[test]
fn planted_faults_of_dropout_are_caught() {
    let case = case(0.4, 0.3);
    for on in ["CPU", "tiled"] {
        let found = wrong(&mut network(&case, Model::new(&case.config).unwrap(), on), &case);
        assert!(found.is_empty(), "{on}: {found:?}");
        for Fault { name, scalars, schedule, seen, right } in faults() {
            let mut model = Model::new(&case.config).unwrap();
            let program = model.program_mut();
            let planted = program.indices("planted", 1, 4);
            let steps: Vec<&mut Step> = program.steps_mut().iter_mut().filter(|step| step.kernel.name == "dropout").collect();
            assert_eq!(steps.len(), 6);
            for (place, step) in steps.into_iter().enumerate() {
                scalars(place, &mut step.scalars);
                if schedule.is_some_and(|(first, _)| place >= first) {
                    step.windows[1] = planted;
                }
            }
            let mut network = network(&case, model, on);
            if let Some((_, values)) = schedule {
                network.backend().write_indices(planted, &values).unwrap();
            }
            let found = wrong(&mut network, &case);
            let named = |tensor: &&&str| found.iter().any(|f| f.starts_with(&format!("{tensor}[")));
            assert!(seen.iter().all(|tensor| named(&tensor)), "{name} on {on} gives {found:?}");
            let elsewhere: Vec<_> = right.iter().filter(named).collect();
            assert!(elsewhere.is_empty(), "{name} on {on} is seen in {elsewhere:?}");
        }
    }
}

/// What is evaluated or traced has the bits of the same network without dropout, whatever was trained before; and a network without
/// dropout has no step of it.
#[test]
fn nothing_is_dropped_but_in_training() {
    let (with, without) = (case(0.4, 0.3), case(0.0, 0.0));
    for on in ["CPU", "tiled", "software"] {
        let traced = |case: &Case| Model::new(&Config { trace: true, ..case.config.clone() }).unwrap();
        assert!(traced(&without).program().steps().iter().all(|step| step.kernel.name != "dropout"));
        let mut networks = [&with, &without].map(|case| network(case, traced(case), on));
        let batch = with.batch(1);
        let [first, second] = &mut networks;
        // A rate of 0 leaves the weights as they are.
        first.train_step(&batch, 0.0).unwrap();
        first.gradient_with(&batch, Some(MASKS)).unwrap();
        let mut outputs = Vec::new();
        for network in [&mut *first, &mut *second] {
            let loss = network.loss(&batch).unwrap();
            let (evaluated, plain) = (network.outputs().unwrap(), network.gradient(&batch).unwrap());
            let traced = network.trace(&batch).unwrap();
            let traced: Vec<_> = traced.into_iter().map(|layer| (layer.hidden, layer.d_hidden)).collect();
            outputs.push((loss, evaluated, plain.loss, plain.parameters, plain.initial_states, traced));
        }
        assert!(outputs[0] == outputs[1], "{on}");
        assert_ne!(first.gradient_with(&batch, Some(MASKS)).unwrap().loss, outputs[0].0, "{on}");
    }
}

/// A training step drops what the gradient drops with its number, whether the window is computed whole or in segments; and a network that
/// goes on from that step the same.
#[test]
fn a_training_step_drops_by_its_number() {
    let whole = case(0.4, 0.3);
    let mut losses = Vec::new();
    for recompute in [None, Some(2), Some(3)] {
        let case = Case { config: Config { recompute, ..whole.config.clone() }, ..whole.clone() };
        for on in ["CPU", "tiled"] {
            let mut network = network(&case, Model::new(&case.config).unwrap(), on);
            network.set_seed(1 << 35 | 9);
            network.set_steps((1 << 33) - 2);
            let batch = case.batch(1);
            let expected = (1..4).map(|k| Masks { seed: 1 << 35 | 9, step: (1 << 33) - 2 + k });
            let expected: Vec<f32> = expected.map(|masks| network.gradient_with(&batch, Some(masks)).unwrap().loss).collect();
            for _ in 0..3 {
                network.train_step(&batch, 0.0).unwrap();
            }
            network.fetch().unwrap();
            let trained: Vec<f32> = network.reports(true).unwrap().iter().map(|report| report.loss).collect();
            assert_eq!(trained, expected, "{on}, {recompute:?}");
            assert!(trained[0] != trained[1] && trained[1] != trained[2]);
            losses.push(trained);
        }
    }
    let far = |a: &[f32], b: &[f32]| a.iter().zip(b).any(|(a, b)| (a - b).abs() > 1e-5 * a);
    assert!(losses.iter().all(|other| !far(other, &losses[0])), "{losses:?}");
}
