//! What becomes of a gradient on its way back through time: ‖∂L/∂h_t‖ of a loss at the last step alone, for each step, from one
//! backward pass.
//!
//! Each step back multiplies by Wᵀ·diag(φ′), so that after k of them ‖∂L/∂h‖ is at most (γ·‖W‖)ᵏ of what it was, with γ the largest
//! derivative: ¼ for the sigmoid, else 1 (Pascanu, Mikolov & Bengio 2013, *On the difficulty of training recurrent neural networks*).

use ndarray::{Array2, Array3, Axis};
use serde::Serialize;

use super::activations::{dead_units, is_flat};
use crate::batch::{Batch, Input, Inputs, Loss, Targets};
use crate::model::{Config, Named, Optimizer, RecurrentInit, initial};
use crate::network::{Compute, Network};
use crate::random::Random;
use crate::{Activation, Error, Result};

/// Untrained networks of one layer, and the sequences they read: standard normal vectors.
#[derive(Debug, Clone)]
pub struct Setup {
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

/// A norm over all sequences and networks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Size {
    /// The geometric mean of those that are not zero; zero where all are.
    pub mean: f64,
    /// The smallest.
    pub low: f64,
    /// The largest.
    pub high: f64,
}

/// What a gradient does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Trend {
    /// It loses more than a hundredth a step.
    Vanishing,
    /// It stays within a hundredth a step.
    Stable,
    /// It gains more than a hundredth a step.
    Exploding,
}

/// How a gradient flows through a network.
#[derive(Debug, Clone, Serialize)]
pub struct Flow {
    /// φ.
    pub activation: Activation,
    /// ‖W‖, the largest singular value of the recurrent weight.
    pub gain: f64,
    /// Its smallest.
    pub smallest: f64,
    /// ‖∂L/∂h‖ at the last step, one step before, and so on back to the first.
    pub norms: Vec<Size>,
    /// The factor of a step: e to the slope of a line through the logarithms of the norms.
    pub rate: f64,
    /// What it can be at most: γ·‖W‖.
    pub bound: f64,
    /// Steps back until a thousandth is left.
    pub vanished_after: Option<usize>,
    /// Steps back until it is a thousand times as large.
    pub exploded_after: Option<usize>,
    /// Steps back from which on a norm is below 1e-35 or not finite: f32 ran out, and nothing is known beyond.
    pub out_of_range: Option<usize>,
    /// The share of units with a derivative below 0.01 at the last step, one before, and so on.
    pub saturated: Vec<f64>,
    /// The share of units that are so at every step of every sequence: dead.
    pub dead: f64,
    /// What that is.
    pub trend: Trend,
}

/// The flow through untrained networks whose recurrent weights are scaled to the largest singular value `gain`.
///
/// # Errors
/// [`Error::Usage`] when a size is zero or the gain is not positive; what the backend reports.
pub fn flow(compute: &Compute, setup: &Setup, activation: Activation, gain: f64) -> Result<Flow> {
    if !(gain.is_finite() && gain > 0.0) || setup.seeds == 0 {
        let message = format!("a gain of {gain} and {} seeds; both must be positive", setup.seeds);
        return Err(Error::Usage(message));
    }
    let Setup { hidden, input, window, batch, .. } = *setup;
    let base = Config::new(Input::Vectors(input), hidden, 1, Loss::SquaredError, batch, window);
    let config = Config { activation, optimizer: Optimizer::Sgd, trace: true, ..base };
    let mut network = Network::new(&config, compute)?;
    let mut seen = Seen::default();
    for seed in 1..=setup.seeds {
        let mut weights = initial(&config, seed, setup.init)?;
        scale(&mut weights, gain);
        let mut random = Random::new(seed, 1000);
        let inputs = Array3::from_shape_simple_fn((window, batch, input), || random.normal() as f32);
        let values = Array3::from_shape_simple_fn((window, batch, 1), || random.normal() as f32);
        network.set_parameters(&weights)?;
        seen.see(&mut network, &Batch::new(Inputs::Vectors(inputs), Targets::Values(values)))?;
    }
    Ok(seen.into_flow(activation))
}

/// The flow through the top layer of given weights, on a batch, of which the last step's outputs alone count.
///
/// # Errors
/// [`Error::BadInput`] when weights or batch do not fit; what the backend reports.
pub fn flow_of(compute: &Compute, config: &Config, weights: &Named, batch: &Batch) -> Result<Flow> {
    let config = Config { optimizer: Optimizer::Sgd, recompute: None, trace: true, ..config.clone() };
    let mut network = Network::new(&config, compute)?;
    network.set_parameters(weights)?;
    let mut seen = Seen::default();
    seen.see(&mut network, batch)?;
    Ok(seen.into_flow(config.activation))
}

/// Scales the first recurrent weight to a largest singular value.
fn scale(weights: &mut Named, gain: f64) {
    let weight = weights.get_mut("rnn.weight_hh_l0").expect("a recurrent weight");
    let factor = gain / extremes(weight)[0];
    weight.mapv_inplace(|w| (f64::from(w) * factor) as f32);
}

/// The largest and the smallest singular value of a matrix.
fn extremes(weight: &ndarray::ArrayD<f32>) -> [f64; 2] {
    let (rows, cols) = (weight.shape()[0], weight.shape()[1]);
    let matrix = faer::Mat::from_fn(rows, cols, |i, j| f64::from(weight[[i, j]]));
    let values = matrix.singular_values().unwrap_or_default();
    [values.iter().copied().fold(0.0, f64::max), values.iter().copied().fold(f64::INFINITY, f64::min)]
}

/// Norms below this have parts that f32 has fewer digits for, or none.
const LEAST: f64 = 1e-35;

/// What was seen of networks and sequences.
#[derive(Default)]
struct Seen {
    /// Of each step, the last first, the norms of all sequences.
    norms: Vec<Vec<f64>>,
    /// Of each step, the last first, flat units, of all.
    flat: Vec<[usize; 2]>,
    /// Units that were flat throughout, of all.
    dead: [usize; 2],
    singular: [f64; 2],
}

impl Seen {
    fn see(&mut self, network: &mut Network, batch: &Batch) -> Result<()> {
        let Config { window, activation, layers, .. } = *network.model().config();
        let top = layers - 1;
        let last = |(t, _): (usize, usize)| if t + 1 == window { 1.0 } else { 0.0 };
        let batch = Batch { mask: Some(Array2::from_shape_fn(batch.shape(), last)), ..batch.clone() };
        network.gradient(&batch)?;
        self.singular = extremes(&network.parameters()?[&format!("rnn.weight_hh_l{top}")]);
        let (d_hidden, hidden) = (network.hidden_gradient(top)?, network.hidden(top)?);
        self.norms.resize(window, Vec::new());
        self.flat.resize(window, [0, 0]);
        for back in 0..window {
            let t = window - 1 - back;
            for row in d_hidden.index_axis(Axis(0), t).rows() {
                // Squares in f64: those of small numbers are nothing in f32.
                self.norms[back].push(row.iter().map(|&d| f64::from(d) * f64::from(d)).sum::<f64>().sqrt());
            }
            let now = hidden.index_axis(Axis(0), t);
            self.flat[back][0] += now.iter().filter(|h| is_flat(activation, **h)).count();
            self.flat[back][1] += now.len();
        }
        self.dead[0] += dead_units(activation, &hidden);
        self.dead[1] += hidden.dim().2;
        Ok(())
    }

    fn into_flow(self, activation: Activation) -> Flow {
        let norms: Vec<Size> = self.norms.iter().map(|all| size(all)).collect();
        let out_of_range = norms.iter().position(|n| !(n.low > LEAST && n.high.is_finite()));
        let known = &norms[..out_of_range.unwrap_or(norms.len())];
        let rate = rate(known);
        let first = known.first().map_or(0.0, |n| n.mean);
        let share = |[some, all]: [usize; 2]| some as f64 / all.max(1) as f64;
        Flow {
            activation,
            gain: self.singular[0],
            smallest: self.singular[1],
            rate,
            bound: activation.steepest() * self.singular[0],
            vanished_after: known.iter().position(|n| n.mean <= first * 1e-3),
            exploded_after: known.iter().position(|n| n.mean >= first * 1e3),
            out_of_range,
            saturated: self.flat.into_iter().map(share).collect(),
            dead: share(self.dead),
            trend: match rate {
                rate if rate < 0.99 => Trend::Vanishing,
                rate if rate <= 1.01 => Trend::Stable,
                _ => Trend::Exploding,
            },
            norms,
        }
    }
}

fn size(all: &[f64]) -> Size {
    let logarithms: Vec<f64> = all.iter().filter(|n| **n > 0.0).map(|n| n.ln()).collect();
    let mean = if logarithms.is_empty() { 0.0 } else { (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp() };
    Size { mean, low: all.iter().copied().fold(f64::INFINITY, f64::min), high: all.iter().copied().fold(0.0, f64::max) }
}

/// e to the slope of the least-squares line through the logarithms of the means.
fn rate(norms: &[Size]) -> f64 {
    let n = norms.len() as f64;
    let middle = (n - 1.0) / 2.0;
    let logarithms: Vec<f64> = norms.iter().map(|n| n.mean.ln()).collect();
    let mean = logarithms.iter().sum::<f64>() / n;
    let (mut above, mut below) = (0.0, 0.0);
    for (k, y) in logarithms.iter().enumerate() {
        let x = k as f64 - middle;
        above += x * (y - mean);
        below += x * x;
    }
    if below > 0.0 { (above / below).exp() } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::networks::in_f64;
    use crate::reference;

    fn setup(hidden: usize, window: usize, batch: usize, seeds: u64) -> Setup {
        Setup { hidden, input: 8, window, batch, seeds, init: RecurrentInit::Orthogonal }
    }

    /// The equations, at the size that people look at: an identity network with an orthogonal weight loses and gains nothing, tanh loses, and
    /// the sigmoid loses at least three quarters a step; none gains more than its bound.
    #[test]
    fn rates_are_those_of_the_equations() {
        let of = |activation, gain| flow(&Compute::Cpu(None), &setup(128, 100, 4, 2), activation, gain).unwrap();
        let identity = of(Activation::Identity, 1.0);
        assert!((identity.rate - 1.0).abs() < 1e-3 && identity.trend == Trend::Stable, "{}", identity.rate);
        assert!((identity.gain - 1.0).abs() < 1e-5 && (identity.smallest - 1.0).abs() < 1e-5);
        let tanh = of(Activation::Tanh, 1.0);
        assert!(tanh.rate < 0.99 && tanh.rate > 0.5 && tanh.trend == Trend::Vanishing, "{}", tanh.rate);
        for gain in [0.8, 1.0, 2.0] {
            let sigmoid = of(Activation::Sigmoid, gain);
            assert!(sigmoid.rate <= 0.25 * gain && sigmoid.rate > 0.15 * gain, "{gain}: {}", sigmoid.rate);
            assert!((sigmoid.bound - 0.25 * gain).abs() < 1e-5);
        }
        let exploding = of(Activation::Identity, 1.2);
        assert!((exploding.rate - 1.2).abs() < 1e-3 && exploding.trend == Trend::Exploding);
        // 1.2³⁷ is 850 and 1.2³⁸ is 1,020; 0.8³⁰ is 0.0012 and 0.8³¹ 0.00099.
        assert_eq!((exploding.exploded_after, of(Activation::Identity, 0.8).vanished_after), (Some(38), Some(31)));
        let relu = of(Activation::Relu, 1.0);
        assert!(relu.saturated.iter().all(|share| (0.3..0.7).contains(share)), "about half of the units are flat at a time");
    }

    /// The norms are those of the f64 reference, down to 1e-30 of the largest; and where f32 ran out that is said and not called vanished.
    #[test]
    fn norms_are_the_reference_s() {
        for (activation, gain) in
            [(Activation::Tanh, 1.0), (Activation::Sigmoid, 1.0), (Activation::Relu, 1.3), (Activation::Identity, 0.7)]
        {
            let setup = setup(19, 90, 3, 1);
            let got = flow(&Compute::Cpu(Some(1)), &setup, activation, gain).unwrap();
            let base = Config::new(Input::Vectors(8), 19, 1, Loss::SquaredError, 3, 90);
            let config = Config { activation, ..base };
            let mut weights = initial(&config, 1, RecurrentInit::Orthogonal).unwrap();
            scale(&mut weights, gain);
            let mut random = Random::new(1, 1000);
            let inputs = Array3::from_shape_simple_fn((90, 3, 8), || random.normal() as f32);
            let values = Array3::from_shape_simple_fn((90, 3, 1), || random.normal() as f32);
            let mask = Array2::from_shape_fn((90, 3), |(t, _)| f32::from(u8::from(t == 89)));
            let batch = Batch { mask: Some(mask), ..Batch::new(Inputs::Vectors(inputs), Targets::Values(values)) };
            let expected = reference::gradient(&in_f64(&weights, 1), activation.name(), &batch).unwrap();
            let (mut compared, mut largest) = (0, 0.0f64);
            for (back, norm) in got.norms.iter().enumerate() {
                let all: Vec<f64> = expected.d_hidden[0]
                    .index_axis(Axis(0), 89 - back)
                    .rows()
                    .into_iter()
                    .map(|row| row.iter().map(|d| d * d).sum::<f64>().sqrt())
                    .collect();
                let right = size(&all);
                largest = largest.max(right.high);
                if right.low < 1e-30 * largest {
                    continue;
                }
                for (got, right) in [(norm.mean, right.mean), (norm.low, right.low), (norm.high, right.high)] {
                    assert!((got / right - 1.0).abs() < 1e-4, "{activation}, {back} steps back: {got:e} and {right:e}");
                }
                compared += 1;
            }
            assert!(compared > 40, "{activation}: only {compared} steps");
            let runs_out = activation == Activation::Sigmoid;
            assert_eq!(got.out_of_range.is_some(), runs_out, "{activation}: {:?}", got.out_of_range);
            assert!(!runs_out || got.out_of_range > got.vanished_after);
        }
    }

    #[test]
    fn what_makes_no_sense_is_an_error() {
        for gain in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(flow(&Compute::Cpu(Some(1)), &setup(3, 3, 1, 1), Activation::Tanh, gain).unwrap_err().exit_code(), 2);
        }
        let zero = Setup { hidden: 0, ..setup(3, 3, 1, 1) };
        assert_eq!(flow(&Compute::Cpu(Some(1)), &zero, Activation::Tanh, 1.0).unwrap_err().exit_code(), 2);
    }
}
