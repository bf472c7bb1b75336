//! The flow of gradients through untrained networks of any cell, and through given ones.

use ndarray::{Array3, ArrayD, ArrayViewD, Axis};
use serde::Serialize;

use crate::backend::Compute;
use crate::batch::{Batch, Input, Inputs, Loss, Targets};
use crate::cells::Cell;
use crate::flow::{Flow, FlowMeter, StateFlow};
use crate::model::{Config, NamedArrays, Optimizer, RecurrentInit, initial};
use crate::network::Network;
use crate::random::Random;
use crate::{Activation, Error, Result};

/// Untrained networks of one layer, and the sequences they read: standard normal vectors.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The cell.
    pub cell: &'static Cell,
    /// α of a leaky cell; `None`: the usual one.
    pub leak: Option<f32>,
    /// Added to the bias of an LSTM's forget gate.
    pub forget_bias: f32,
    /// Units.
    pub hidden: usize,
    /// The size of an input vector.
    pub input: usize,
    /// Time steps.
    pub window: usize,
    /// Sequences.
    pub batch: usize,
    /// Networks with weights of their own.
    pub seeds: u64,
    /// What the recurrent weight is made from.
    pub init: RecurrentInit,
}

/// How gradients flow through networks, next to what bounds it.
#[derive(Debug, Clone, Serialize)]
pub struct Gradients {
    /// The cell.
    pub cell: &'static Cell,
    /// The state whose gradient it is.
    pub state: &'static str,
    /// φ, of a cell that has one.
    pub activation: Option<Activation>,
    /// The layer, counted from 0.
    pub layer: usize,
    /// ‖W‖, the largest singular value of the recurrent weight; of a cell with gates the mean over their blocks, and so are the others.
    pub gain: f64,
    /// Its smallest.
    pub smallest: f64,
    /// All of them, the largest first; of several networks the means of each.
    pub singular_values: Vec<f64>,
    /// What a step back can change the norm by at most: γ·‖W‖, and of a leaky network 1 − α + α·γ·‖W‖. `None` below the top layer, where
    /// gradients arrive from above as well, and of cells with gates.
    pub bound: Option<f64>,
    /// What was seen.
    #[serde(flatten)]
    pub flow: Flow,
}

/// The flow through untrained networks whose recurrent weights, or the blocks of their gates, are scaled to the largest singular value
/// `gain`; for each traced state, h first.
///
/// # Errors
/// [`Error::Usage`] when a size is zero or the gain is not positive; what the backend reports.
pub fn gradients(compute: &Compute, setup: &Setup, activation: Activation, gain: f64) -> Result<Vec<Gradients>> {
    if !(gain.is_finite() && gain > 0.0) || setup.seeds == 0 {
        let message = format!("a gain of {gain} and {} seeds; both must be positive", setup.seeds);
        return Err(Error::Usage(message));
    }
    let Setup { cell, leak, forget_bias, hidden, input, window, batch, .. } = *setup;
    let base = Config::new(Input::Vectors(input), hidden, 1, Loss::SquaredError, batch, window);
    let config = Config { cell, leak, forget_bias, activation, optimizer: Optimizer::Sgd, trace: true, ..base };
    let mut network = Network::new(&config, compute)?;
    let mut meter = FlowMeter::new(cell, activation);
    let mut values = vec![0.0; hidden];
    let mut leaks = None;
    for seed in 1..=setup.seeds {
        let mut weights = initial(&config, seed, setup.init)?;
        let all = scale(&mut weights, gain, cell);
        values.iter_mut().zip(all).for_each(|(mean, value)| *mean += value / setup.seeds as f64);
        network.set_parameters(&weights)?;
        meter.measure(&mut network, &normal(setup, seed))?;
        leaks = weights.remove("rnn.leak_l0");
    }
    Ok(meter.flows().into_iter().map(|flow| Gradients::new(&config, leaks.as_ref(), values.clone(), flow)).collect())
}

/// Standard normal vectors, and values of the kind to be told from them.
fn normal(setup: &Setup, seed: u64) -> Batch {
    let Setup { input, window, batch, .. } = *setup;
    let mut random = Random::new(seed, 1000);
    let mut of = |size: usize| Array3::from_shape_simple_fn((window, batch, size), || random.normal() as f32);
    let inputs = of(input);
    Batch::new(Inputs::Vectors(inputs), Targets::Values(of(1)))
}

/// The flow through each state of each layer of given weights, the first layer first, on a batch, of which the last output of each sequence
/// that counts counts alone.
///
/// # Errors
/// [`Error::BadInput`] when weights or batch do not fit; what the backend reports.
pub fn gradients_of(compute: &Compute, config: &Config, weights: &NamedArrays, batch: &Batch) -> Result<Vec<Gradients>> {
    let config = Config { optimizer: Optimizer::Sgd, trace: true, ..config.clone() };
    let mut network = Network::new(&config, compute)?;
    network.set_parameters(weights)?;
    let mut meter = FlowMeter::new(config.cell, config.activation);
    meter.measure(&mut network, batch)?;
    let of = |flow: StateFlow| {
        let values = singular_values(&weights[&format!("rnn.weight_hh_l{}", flow.layer)], config.cell);
        let leaks = weights.get(&format!("rnn.leak_l{}", flow.layer));
        Gradients::new(&config, leaks, values, flow)
    };
    Ok(meter.flows().into_iter().map(of).collect())
}

impl Gradients {
    fn new(config: &Config, leaks: Option<&ArrayD<f32>>, singular_values: Vec<f64>, flow: StateFlow) -> Gradients {
        let StateFlow { layer, state, flow } = flow;
        let cell = config.cell;
        let gain = singular_values.first().copied().unwrap_or(0.0);
        let smallest = singular_values.last().copied().unwrap_or(0.0);
        // The units that keep the most, and those that take the most of what comes through W.
        let [least, most] = [f32::min as fn(f32, f32) -> f32, f32::max]
            .map(|of| leaks.map_or(1.0, |leaks| leaks.iter().copied().reduce(of).map_or(1.0, f64::from)));
        let is_top = layer + 1 == config.layers && cell.gates == 1;
        let bound = is_top.then(|| 1.0 - least + most * config.activation.steepest() * gain);
        let activation = cell.has_activation.then_some(config.activation);
        Gradients { cell, state, activation, layer, gain, smallest, singular_values, bound, flow }
    }
}

/// Scales each gate's block of the first recurrent weight to a largest singular value; gives all that they then have.
fn scale(weights: &mut NamedArrays, gain: f64, cell: &Cell) -> Vec<f64> {
    let weight = weights.get_mut("rnn.weight_hh_l0").expect("a recurrent weight");
    let hidden = weight.shape()[1];
    for gate in 0..cell.gates as usize {
        let mut block = weight.slice_axis_mut(Axis(0), (gate * hidden..(gate + 1) * hidden).into());
        let factor = gain / of_block(block.view())[0];
        block.mapv_inplace(|w| (f64::from(w) * factor) as f32);
    }
    singular_values(weight, cell)
}

/// The singular values of a recurrent weight, the largest first: of several gates the means over their blocks.
fn singular_values(weight: &ArrayD<f32>, cell: &Cell) -> Vec<f64> {
    let (gates, hidden) = (cell.gates as usize, weight.shape()[1]);
    let mut means = vec![0.0; hidden];
    for gate in 0..gates {
        let block = weight.slice_axis(Axis(0), (gate * hidden..(gate + 1) * hidden).into());
        means.iter_mut().zip(of_block(block)).for_each(|(mean, value)| *mean += value / gates as f64);
    }
    means
}

/// The singular values of a matrix, the largest first.
fn of_block(block: ArrayViewD<f32>) -> Vec<f64> {
    let (rows, cols) = (block.shape()[0], block.shape()[1]);
    let matrix = faer::Mat::from_fn(rows, cols, |i, j| f64::from(block[[i, j]]));
    let mut values = matrix.singular_values().unwrap_or_default();
    values.sort_by(|a, b| b.total_cmp(a));
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Trend;

    fn setup(hidden: usize, window: usize, batch: usize, seeds: u64) -> Setup {
        let cell = Cell::usual();
        let (leak, forget_bias, init) = (None, 0.0, RecurrentInit::Orthogonal);
        Setup { cell, leak, forget_bias, hidden, input: 8, window, batch, seeds, init }
    }

    /// The equations, at the size that people look at: an identity network with an orthogonal weight loses and gains nothing, tanh loses, and
    /// the sigmoid loses at least three quarters a step; none gains more than its bound.
    #[test]
    fn rates_are_those_of_the_equations() {
        let of = |activation, gain| gradients(&Compute::Cpu(None), &setup(128, 100, 4, 2), activation, gain).unwrap().remove(0);
        let identity = of(Activation::Identity, 1.0);
        assert!(
            (identity.flow.rate.unwrap() - 1.0).abs() < 1e-3 && identity.flow.trend == Some(Trend::Stable),
            "{}",
            identity.flow.rate.unwrap()
        );
        assert!((identity.gain - 1.0).abs() < 1e-5 && (identity.smallest - 1.0).abs() < 1e-5);
        let tanh = of(Activation::Tanh, 1.0);
        assert!(
            tanh.flow.rate.unwrap() < 0.99 && tanh.flow.rate.unwrap() > 0.5 && tanh.flow.trend == Some(Trend::Vanishing),
            "{}",
            tanh.flow.rate.unwrap()
        );
        for gain in [0.8, 1.0, 2.0] {
            let sigmoid = of(Activation::Sigmoid, gain);
            assert!(
                sigmoid.flow.rate.unwrap() <= 0.25 * gain && sigmoid.flow.rate.unwrap() > 0.15 * gain,
                "{gain}: {}",
                sigmoid.flow.rate.unwrap()
            );
            assert!((sigmoid.bound.unwrap() - 0.25 * gain).abs() < 1e-5);
        }
        let exploding = of(Activation::Identity, 1.2);
        assert!((exploding.flow.rate.unwrap() - 1.2).abs() < 1e-3 && exploding.flow.trend == Some(Trend::Exploding));
        // 1.2³⁷ is 850 and 1.2³⁸ is 1,020; 0.8³⁰ is 0.0012 and 0.8³¹ 0.00099.
        assert_eq!((exploding.flow.exploded_after, of(Activation::Identity, 0.8).flow.vanished_after), (Some(38), Some(31)));
        let relu = of(Activation::Relu, 1.0);
        assert!(relu.flow.saturated.iter().all(|share| (0.3..0.7).contains(share)), "about half of the units are flat at a time");
    }

    fn of_cell(cell: &str, leak: Option<f32>, forget_bias: f32, gain: f64) -> Vec<Gradients> {
        let cell = Cell::named(cell).unwrap();
        let setup = Setup { cell, leak, forget_bias, ..setup(64, 80, 4, 2) };
        gradients(&Compute::Cpu(None), &setup, Activation::Tanh, gain).unwrap()
    }

    /// What the equations say of cells that keep their state: an LSTM whose forget gate is open loses less and less of ∂L/∂c, a leaky unit
    /// at most α of the gradient a step, and with α = 1 it is an Elman network.
    #[test]
    fn cells_forget_as_their_equations_say() {
        let rate = |flows: &[Gradients], state: &str| flows.iter().find(|g| g.state == state).unwrap().flow.rate.unwrap();
        let closed = of_cell("lstm", None, 0.0, 1.0);
        assert_eq!(closed.iter().map(|g| g.state).collect::<Vec<_>>(), ["h", "c"]);
        assert!(closed.iter().all(|g| g.activation.is_none() && g.bound.is_none() && g.flow.saturated.is_empty()));
        assert!((closed[0].gain - 1.0).abs() < 1e-5 && (closed[0].smallest - 1.0).abs() < 1e-5);
        let open = of_cell("lstm", None, 4.0, 1.0);
        // On its own path c keeps σ(0) = 0.5 and σ(4) = 0.982 of its gradient; more comes by h.
        let [closed, open] = [closed, open].map(|flows| rate(&flows, "c"));
        assert!((0.5..0.75).contains(&closed) && (0.982..1.1).contains(&open), "{closed} and {open}");
        for leak in [0.1, 0.5] {
            let flows = of_cell("leaky", Some(leak), 0.0, 0.5);
            let (least, bound) = (1.0 - f64::from(leak), flows[0].bound.unwrap());
            assert!((bound - (least + f64::from(leak) * 0.5)).abs() < 1e-5, "{bound}");
            assert!((least * 0.9..=bound).contains(&rate(&flows, "h")), "{leak}: {}", rate(&flows, "h"));
        }
        let elman = of_cell("elman", None, 0.0, 1.0);
        let leaky = of_cell("leaky", Some(1.0), 0.0, 1.0);
        // Of other output weights, which are drawn behind the leaks.
        let [elman, leaky] = [elman, leaky].map(|flows| rate(&flows, "h"));
        assert!((elman - leaky).abs() < 0.01, "{elman} and {leaky}");
    }

    #[test]
    fn what_makes_no_sense_is_an_error() {
        for gain in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(gradients(&Compute::Cpu(Some(1)), &setup(3, 3, 1, 1), Activation::Tanh, gain).unwrap_err().exit_code(), 2);
        }
        let zero = Setup { hidden: 0, ..setup(3, 3, 1, 1) };
        assert_eq!(gradients(&Compute::Cpu(Some(1)), &zero, Activation::Tanh, 1.0).unwrap_err().exit_code(), 2);
    }
}
