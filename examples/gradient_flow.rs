//! How far gradients reach back in time: `cargo run --release --example gradient_flow`.
//!
//! The loss of the last of 60 time steps alone, for three activations with the same recurrent weight: an orthogonal one, which keeps the
//! norm of a vector.

use ndarray::{Array2, Array3};
use retrospect::backend::Compute;
use retrospect::batch::{Batch, Input, Inputs, Loss, Targets};
use retrospect::flow::FlowMeter;
use retrospect::model::{Config, RecurrentInit};
use retrospect::network::Network;
use retrospect::{Activation, Result};

const STEPS: usize = 60;

/// ‖∂L/∂h‖ at the first time step, where it is 1 at the last.
pub fn reach(activation: Activation) -> Result<f64> {
    let config = Config { activation, trace: true, ..Config::new(Input::Vectors(2), 32, 3, Loss::CrossEntropy, 4, STEPS) };
    let mut network = Network::new(&config, &Compute::Cpu(None))?;
    network.initialise(1, RecurrentInit::Orthogonal)?;
    let x = Array3::from_shape_fn((STEPS, 4, 2), |(t, b, i)| ((t * 5 + b * 3 + i * 7) % 9) as f32 / 8.0 - 0.5);
    let y = Array2::from_shape_fn((STEPS, 4), |(t, b)| ((t + b) % 3) as u32);

    let mut meter = FlowMeter::new(config.cell, activation);
    meter.measure(&mut network, &Batch::new(Inputs::Vectors(x), Targets::Classes(y)))?;
    let norms = &meter.flows()[0].flow.norms;
    Ok(norms.last().map_or(0.0, |first| first.mean / norms[0].mean))
}

fn main() -> Result<()> {
    for activation in [Activation::Tanh, Activation::Sigmoid, Activation::Relu] {
        let left = reach(activation)?;
        println!("{:8} leaves {left:.1e} of a gradient after {} time steps", activation.name(), STEPS - 1);
    }
    Ok(())
}
