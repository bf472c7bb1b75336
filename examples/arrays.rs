//! Training from arrays: `cargo run --release --example arrays`.
//!
//! An LSTM reads numbers and says, at each time step, whether their sum so far is positive.

use ndarray::{Array2, Array3};
use retrospect::Result;
use retrospect::backend::Compute;
use retrospect::batch::{Batch, Input, Inputs, Loss, Targets};
use retrospect::cells::Cell;
use retrospect::model::{Config, RecurrentInit};
use retrospect::network::Network;

/// 8 sequences of 20 time steps, other ones for each number.
fn batch(number: usize) -> Batch {
    let x = Array3::from_shape_fn((20, 8, 1), |(t, b, _)| ((number * 13 + t * 7 + b * 5 + t * b) % 11) as f32 / 5.0 - 1.0);
    let is_positive = |(t, b): (usize, usize)| u32::from((0..=t).map(|s| x[[s, b, 0]]).sum::<f32>() > 0.0);
    let y = Array2::from_shape_fn((20, 8), is_positive);
    Batch::new(Inputs::Vectors(x), Targets::Classes(y))
}

/// The losses before and after training, of a batch that it was not trained on.
pub fn learn() -> Result<[f32; 2]> {
    let config = Config {
        cell: Cell::named("lstm").expect("an LSTM"),
        clip: Some(1.0),
        ..Config::new(Input::Vectors(1), 32, 2, Loss::CrossEntropy, 8, 20)
    };
    // On a GPU: Compute::Gpu(Device::open(&adapter)).
    let mut network = Network::new(&config, &Compute::Cpu(None))?;
    network.initialise(1, RecurrentInit::Uniform)?;
    let before = network.loss(&batch(1000))?;
    for step in 0..300 {
        network.train_step(&batch(step), 0.01)?;
    }
    Ok([before, network.loss(&batch(1000))?])
}

fn main() -> Result<()> {
    let [before, after] = learn()?;
    println!("loss {before:.3} before training, {after:.3} after it; a guess scores {:.3}", 2f32.ln());
    Ok(())
}
