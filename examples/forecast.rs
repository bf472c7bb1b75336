//! A forecast, step by step: `cargo run --release --example forecast`.
//!
//! An LSTM learns to say the next value of a series. Then it goes on by itself: each prediction is its next input.

use ndarray::Array3;
use retrospect::Result;
use retrospect::backend::Compute;
use retrospect::batch::{Batch, Input, Inputs, Loss, Targets};
use retrospect::cells;
use retrospect::model::{Config, RecurrentInit};
use retrospect::network::Network;

/// Values that are known, and values that are to be told.
const KNOWN: usize = 600;
const TOLD: usize = 48;
/// Sequences in a batch, and their time steps.
const BATCH: usize = 16;
const WINDOW: usize = 64;

/// Two waves, of 12 and 31 steps.
fn series(t: usize) -> f32 {
    let wave = |period: f32| (t as f32 * std::f32::consts::TAU / period).sin();
    wave(12.0) + 0.5 * wave(31.0)
}

/// The windows of a training step, of which each next value is the target.
fn batch(step: usize) -> Batch {
    let first = |b: usize| (step * 37 + b * 101) % (KNOWN - WINDOW);
    let window = |ahead: usize| Array3::from_shape_fn((WINDOW, BATCH, 1), |(t, b, _)| series(first(b) + t + ahead));
    Batch::new(Inputs::Vectors(window(0)), Targets::Values(window(1)))
}

/// The root of the mean squared error of what was told.
fn error(told: impl Fn(usize) -> f32) -> f32 {
    let squares = (KNOWN..KNOWN + TOLD).map(|t| (told(t) - series(t)).powi(2));
    (squares.sum::<f32>() / TOLD as f32).sqrt()
}

/// The errors of the network's forecast, and of a naive one.
pub fn forecast() -> Result<[f32; 2]> {
    let config = Config {
        cell: cells::Cell::named("lstm").unwrap_or_else(cells::Cell::usual),
        clip: Some(1.0),
        ..Config::new(Input::Vectors(1), 32, 1, Loss::SquaredError, BATCH, WINDOW)
    };
    let mut network = Network::new(&config, &Compute::Cpu(None))?;
    network.initialise(1, RecurrentInit::Uniform)?;
    for step in 0..1000 {
        network.train_step(&batch(step), 0.01)?;
    }

    // One sequence, from its start: first what is known, and then what was predicted.
    network.reset_state(1)?;
    let mut next = [0.0];
    for t in 0..KNOWN {
        network.step(&[series(t)], &mut next)?;
    }
    let mut told = Vec::with_capacity(TOLD);
    for _ in 0..TOLD {
        told.push(next[0]);
        let last = next;
        network.step(&last, &mut next)?;
    }
    // The value of as many whole short waves before as it takes to be known.
    let naive = |t: usize| series(t - 12 * ((t - KNOWN) / 12 + 1));
    Ok([error(|t| told[t - KNOWN]), error(naive)])
}

fn main() -> Result<()> {
    let [network, naive] = forecast()?;
    println!("root mean squared error of {TOLD} steps: {network:.3}; of the values a short wave before: {naive:.3}");
    Ok(())
}
