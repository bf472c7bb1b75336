//! Three hundred training steps on text, on the CPU and on the GPU, beside the simulation in f64: roundings grow from step to step, and
//! anything else shows.

use retrospect::batch::{Batch, InitialState, Input, Loss};
use retrospect::check::networks::parameters;
use retrospect::model::{Config, Model, Named};

use super::device::{device, load};
use super::simulation::{self, Biases, Losses, Run, off};

/// How far a loss or a norm may be off. The worst seen is 6e-7 in a loss; PyTorch's own float32 is off by 5e-7.
const BOUND: f64 = 1e-5;

fn config(run: &Run) -> Config {
    let (symbols, hidden) = run.weights.decoder.dim();
    let shape = Config::new(Input::Tokens(symbols), hidden, symbols, Loss::CrossEntropy, run.batch, run.window);
    Config { layers: run.weights.layers.len(), clip: Some(run.clip as f32), ..shape }
}

/// What a network reports of as many steps on these batches.
fn train(run: &Run, on: &'static str, batches: impl Iterator<Item = Batch>) -> Losses {
    let mut network = load(Model::new(&config(run)).unwrap(), device(), on);
    let weights: Named = parameters(&run.start(Biases::One)).into_iter().map(|(name, t)| (name, t.mapv(|v| v as f32))).collect();
    network.set_parameters(&weights).unwrap();
    let mut got = Losses { losses: Vec::new(), grad_norms: Vec::new() };
    for batch in batches {
        network.train_step(&batch, run.rate).unwrap();
        network.fetch().unwrap();
        for report in network.reports(true).unwrap() {
            got.losses.push(f64::from(report.loss));
            got.grad_norms.push(f64::from(report.gradient_norm));
        }
    }
    got
}

#[test]
fn three_hundred_steps_follow_the_simulation() {
    let run = simulation::load("elman");
    let expected = run.simulate(Biases::One, 300);
    for on in ["CPU", "tiled", "software"] {
        let got = train(&run, on, run.batches().take(300));
        assert_eq!(got.losses.len(), 300);
        let found = [off(&got.losses, &expected.losses), off(&got.grad_norms, &expected.grad_norms)];
        assert!(found.iter().all(|off| *off < BOUND), "{on}: the losses and the norms are off by {found:?}");
    }
}

#[test]
fn a_state_that_is_not_carried_is_seen() {
    let run = simulation::load("elman");
    let expected = run.simulate(Biases::One, 100);
    let forgetful = run.batches().take(100).map(|batch| Batch { initial_state: InitialState::Zero, ..batch });
    let off = off(&train(&run, "CPU", forgetful).losses, &expected.losses);
    assert!(off > 10.0 * BOUND, "only {off:.1e} off");
}
