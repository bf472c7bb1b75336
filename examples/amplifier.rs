//! A loss of one's own: `cargo run --release --example amplifier`.
//!
//! An LSTM learns an amplifier that clips more after loud sounds. The loss is what models of amplifiers are usually trained by: the
//! error-to-signal ratio behind a filter that raises high tones, y_t − 0.95·y_{t−1}.

use ndarray::{Array3, s};
use retrospect::Result;
use retrospect::backend::Compute;
use retrospect::batch::{Input, Inputs, Loss, Sequences};
use retrospect::cells;
use retrospect::model::{Config, RecurrentInit};
use retrospect::network::Network;

const BATCH: usize = 16;
const WINDOW: usize = 256;
const STEPS: usize = 2000;
const FILTER: f32 = 0.95;

/// Plucked tones, `[T, B, 1]`.
fn sound(step: usize) -> Array3<f32> {
    let tone = |t: usize, b: usize| {
        let n = (step * BATCH + b) as f32;
        let pitch = 0.05 + 0.25 * (n * 0.618).fract();
        (0.2 + 0.8 * (n * 0.414).fract()) * (pitch * t as f32).sin() * (-(t as f32) / 150.0).exp()
    };
    Array3::from_shape_fn((WINDOW, BATCH, 1), |(t, b, _)| tone(t, b))
}

/// What the amplifier makes of a sound: its gain sinks with the loudness so far.
fn amplified(sound: &Array3<f32>) -> Array3<f32> {
    let mut out = Array3::zeros(sound.dim());
    for b in 0..BATCH {
        let mut loudness = 0.0;
        for t in 0..WINDOW {
            loudness = 0.99 * loudness + 0.01 * sound[[t, b, 0]].abs();
            out[[t, b, 0]] = (4.0 * sound[[t, b, 0]] / (1.0 + 10.0 * loudness)).tanh();
        }
    }
    out
}

/// Raises high tones.
fn filtered(signal: &Array3<f32>) -> Array3<f32> {
    let mut out = signal.clone();
    let before = signal.slice(s![..WINDOW - 1, .., ..]).mapv(|v| FILTER * v);
    let mut after = out.slice_mut(s![1.., .., ..]);
    after -= &before;
    out
}

/// Σ(filtered error)² / Σ(filtered target)², and its gradient by the outputs: the filter turned round, of the filtered error.
fn loss(outputs: &Array3<f32>, target: &Array3<f32>) -> (f32, Array3<f32>) {
    let error = filtered(&(outputs - target));
    let energy = filtered(target).mapv(|v| v * v).sum();
    let mut gradient = error.mapv(|e| 2.0 * e / energy);
    let from_after = gradient.slice(s![1.., .., ..]).mapv(|d| FILTER * d);
    let mut before = gradient.slice_mut(s![..WINDOW - 1, .., ..]);
    before -= &from_after;
    (error.mapv(|e| e * e).sum() / energy, gradient)
}

/// The losses of sounds that were not trained on: of what goes in, and of the trained network.
pub fn learn() -> Result<[f32; 2]> {
    let config = Config {
        cell: cells::Cell::named("lstm").unwrap_or_else(cells::Cell::usual),
        clip: Some(1.0),
        ..Config::new(Input::Vectors(1), 16, 1, Loss::ErrorToSignal, BATCH, WINDOW)
    };
    let mut network = Network::new(&config, &Compute::Cpu(None))?;
    network.initialise(1, RecurrentInit::Uniform)?;
    for step in 0..STEPS {
        let (sound, rate) = (sound(step), 0.01 * (1.0 - step as f64 / STEPS as f64));
        let target = amplified(&sound);
        network.train_step_by(Sequences::new(Inputs::Vectors(sound)), rate, |outputs| loss(outputs, &target))?;
    }
    let sound = sound(STEPS);
    let target = amplified(&sound);
    let found = network.predict(&Sequences::new(Inputs::Vectors(sound.clone())))?;
    Ok([loss(&sound, &target).0, loss(&found.outputs, &target).0])
}

fn main() -> Result<()> {
    let [input, network] = learn()?;
    println!("error-to-signal ratio behind the filter: {network:.4}; of the sound that goes in: {input:.4}");
    Ok(())
}
