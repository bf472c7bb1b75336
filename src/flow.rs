//! What becomes of a gradient on its way back through time: ‖∂L/∂h_t‖ of a loss at the last step alone, for each step, from one
//! backward pass.
//!
//! Each step back multiplies by Wᵀ·diag(φ′), so that after k of them ‖∂L/∂h‖ is at most (γ·‖W‖)ᵏ of what it was, with γ the largest
//! derivative: ¼ for the sigmoid, else 1 (Pascanu, Mikolov & Bengio 2013, *On the difficulty of training recurrent neural networks*).

use ndarray::{Array2, ArrayView1, s};
use serde::Serialize;

use crate::Activation;
use crate::batch::Batch;
use crate::network::Traced;

/// Derivatives below this pass on next to nothing: the unit is saturated, or dead.
pub const FLAT: f64 = 0.01;

/// Whether a unit of value h passes on next to nothing.
#[must_use]
pub fn is_flat(activation: Activation, h: f32) -> bool {
    activation.derivative(f64::from(h)) < FLAT
}

/// A batch of which the last output that counts of each sequence counts alone.
#[must_use]
pub fn of_last_step(batch: &Batch) -> Batch {
    let (steps, sequences) = batch.shape();
    let mut mask = Array2::zeros((steps, sequences));
    for b in 0..sequences {
        if let Some(t) = last(batch, b) {
            mask[[t, b]] = 1.0;
        }
    }
    Batch { mask: Some(mask), ..batch.clone() }
}

/// The last step of a sequence whose output counts.
fn last(batch: &Batch, sequence: usize) -> Option<usize> {
    (0..batch.shape().0).rev().find(|&t| batch.mask.as_ref().is_none_or(|mask| mask[[t, sequence]] != 0.0))
}

/// A norm over all sequences that were seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Size {
    /// The geometric mean of those that are not zero; zero where all are.
    pub mean: f64,
    /// The smallest.
    pub low: f64,
    /// The largest.
    pub high: f64,
}

impl Size {
    fn of(all: &[f64]) -> Size {
        let logarithms: Vec<f64> = all.iter().filter(|n| **n > 0.0).map(|n| n.ln()).collect();
        let mean = if logarithms.is_empty() { 0.0 } else { (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp() };
        let high = all.iter().copied().fold(0.0, f64::max);
        Size { mean, low: all.iter().copied().fold(high, f64::min), high }
    }
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

impl Trend {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Trend::Vanishing => "vanishing",
            Trend::Stable => "stable",
            Trend::Exploding => "exploding",
        }
    }
}

/// How a gradient flows through a layer.
#[derive(Debug, Clone, Serialize)]
pub struct Flow {
    /// ‖∂L/∂h‖ at the last step, one step before, and so on back to the first.
    pub norms: Vec<Size>,
    /// The factor of a step: e to the slope of a line through the logarithms of the norms. `None` with fewer than two that are not zero.
    pub rate: Option<f64>,
    /// What that is.
    pub trend: Option<Trend>,
    /// Steps back until a thousandth is left.
    pub vanished_after: Option<usize>,
    /// Steps back until it is a thousand times as large.
    pub exploded_after: Option<usize>,
    /// Steps back from which on f32 ran out for some sequence, and nothing is known: a norm is below 1e-35 or not finite. That it is
    /// zero where all ReLU units are dead is known.
    pub out_of_range: Option<usize>,
    /// The share of units with a derivative below 0.01 at the last step, one before, and so on.
    pub saturated: Vec<f64>,
    /// The share of units that are so at every step of every sequence: dead.
    pub dead: f64,
}

impl Flow {
    /// The norms before f32 ran out.
    #[must_use]
    pub fn known(&self) -> &[Size] {
        &self.norms[..self.out_of_range.unwrap_or(self.norms.len())]
    }

    /// [`Flow::saturated`] over all steps.
    #[must_use]
    pub fn mean_saturated(&self) -> f64 {
        self.saturated.iter().sum::<f64>() / self.saturated.len().max(1) as f64
    }
}

/// Norms below this have parts that f32 has fewer digits for, or none.
const LEAST: f64 = 1e-35;
/// No single step takes a gradient from here to nothing, but for units without any derivative.
const FAR_FROM_LEAST: f64 = 1e-30;

/// Gathers the flow through a layer, from batches and networks.
#[derive(Debug)]
pub struct Seen {
    activation: Activation,
    /// Of each sequence, the norms from its last step back.
    curves: Vec<Vec<f64>>,
    /// Of each step, the last first, flat units, of all.
    flat: Vec<[usize; 2]>,
    /// Units that were flat throughout, of all.
    dead: [usize; 2],
}

impl Seen {
    /// Nothing yet.
    #[must_use]
    pub fn new(activation: Activation) -> Seen {
        Seen { activation, curves: Vec::new(), flat: Vec::new(), dead: [0, 0] }
    }

    /// Adds what came of a batch of [`of_last_step`].
    pub fn see(&mut self, traced: &Traced, batch: &Batch) {
        let mut dead = vec![true; traced.hidden.dim().2];
        for b in 0..batch.shape().1 {
            let Some(end) = last(batch, b) else { continue };
            let norm = |t: usize| length(traced.d_hidden.slice(s![t, b, ..]));
            self.curves.push((0..=end).rev().map(norm).collect());
            if self.flat.len() <= end {
                self.flat.resize(end + 1, [0, 0]);
            }
            for t in 0..=end {
                let [flat, all] = &mut self.flat[end - t];
                for (dead, &h) in dead.iter_mut().zip(traced.hidden.slice(s![t, b, ..])) {
                    let is_flat = is_flat(self.activation, h);
                    *dead &= is_flat;
                    *flat += usize::from(is_flat);
                }
                *all += dead.len();
            }
        }
        self.dead[0] += dead.iter().filter(|dead| **dead).count();
        self.dead[1] += dead.len();
    }

    /// What that comes to.
    #[must_use]
    pub fn flow(&self) -> Flow {
        // Where there is no gradient to begin with, none is lost.
        let curves: Vec<&Vec<f64>> = self.curves.iter().filter(|curve| curve[0] != 0.0).collect();
        let at = |back: usize| curves.iter().filter_map(move |curve| curve.get(back)).copied().collect::<Vec<f64>>();
        let norms: Vec<Size> = (0..self.flat.len()).map(|back| Size::of(&at(back))).collect();
        let out_of_range = curves.iter().filter_map(|curve| self.ran_out(curve)).min();
        let known = &norms[..out_of_range.unwrap_or(norms.len())];
        let rate = rate(known);
        let first = known.first().map_or(0.0, |n| n.mean);
        let reached = |is: &dyn Fn(f64) -> bool| known.iter().position(|n| first > 0.0 && is(n.mean / first));
        let share = |[some, all]: [usize; 2]| some as f64 / all.max(1) as f64;
        Flow {
            rate,
            trend: rate.map(|rate| match rate {
                rate if rate < 0.99 => Trend::Vanishing,
                rate if rate <= 1.01 => Trend::Stable,
                _ => Trend::Exploding,
            }),
            vanished_after: reached(&|left| left <= 1e-3),
            exploded_after: reached(&|left| left >= 1e3),
            out_of_range,
            saturated: self.flat.iter().map(|&flat| share(flat)).collect(),
            dead: share(self.dead),
            norms,
        }
    }

    /// From where on nothing is known of a sequence.
    fn ran_out(&self, curve: &[f64]) -> Option<usize> {
        let mut before = f64::INFINITY;
        curve.iter().position(|&norm| {
            let is_nothing = norm == 0.0 && self.activation == Activation::Relu && (before == 0.0 || before > FAR_FROM_LEAST);
            before = norm;
            !(is_nothing || norm > LEAST && norm.is_finite())
        })
    }
}

/// ‖x‖, its squares in f64: those of small numbers are nothing in f32.
fn length(x: ArrayView1<f32>) -> f64 {
    x.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
}

/// e to the slope of the least-squares line through the logarithms of the means that are not zero.
fn rate(norms: &[Size]) -> Option<f64> {
    let points: Vec<(f64, f64)> =
        (0..).zip(norms).filter(|(_, n)| n.mean > 0.0).map(|(k, n)| (f64::from(k), n.mean.ln())).collect();
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / points.len() as f64;
    let (middle, level) = (mean(|p| p.0), mean(|p| p.1));
    let above: f64 = points.iter().map(|(k, y)| (k - middle) * (y - level)).sum();
    let below: f64 = points.iter().map(|(k, _)| (k - middle) * (k - middle)).sum();
    (points.len() > 1).then(|| (above / below).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array3;

    use crate::batch::{Inputs, Targets};

    /// A batch of `[T, B, 1]` with a mask, and the gradients and states `[T, B, 1]` that came of it.
    fn see(activation: Activation, mask: Option<Array2<f32>>, d_hidden: Array3<f32>, hidden: Array3<f32>) -> Flow {
        let zero = Array3::zeros(hidden.dim());
        let batch = Batch { mask, ..Batch::new(Inputs::Vectors(zero.clone()), Targets::Values(zero)) };
        let mut seen = Seen::new(activation);
        seen.see(&Traced { hidden, d_hidden }, &of_last_step(&batch));
        seen.flow()
    }

    /// Sequences of other lengths are counted from their own ends, and what is behind those counts for nothing.
    #[test]
    fn each_sequence_begins_where_it_ends() {
        let mask = ndarray::arr2(&[[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]);
        let values = [[5.0, 2.0, 9.0], [8.0, 4.0, 9.0], [9.0, 16.0, 9.0], [9.0, 9.0, 9.0]];
        let values = Array3::from_shape_fn((4, 3, 1), |(t, b, _)| values[t][b]);
        let flow = see(Activation::Relu, Some(mask), values.clone(), values.mapv(|v| if v > 8.5 && v < 10.0 { 0.0 } else { v }));
        let near = |got: f64, expected: f64| assert!((got / expected - 1.0).abs() < 1e-12, "{got} and {expected}");
        assert_eq!(flow.norms.len(), 3);
        near(flow.norms[0].mean, (8.0f64 * 16.0).sqrt());
        near(flow.norms[1].mean, (5.0f64 * 4.0).sqrt());
        near(flow.norms[2].mean, 2.0);
        assert_eq!((flow.norms[0].low, flow.norms[0].high), (8.0, 16.0));
        assert_eq!((flow.saturated, flow.dead), (vec![0.0; 3], 0.0));
    }

    /// Zero is what dead ReLU units leave; elsewhere, and where the norms before were small, f32 ran out.
    #[test]
    fn nothing_is_told_from_too_little() {
        let of = |activation, norms: &[f32]| {
            let d_hidden = Array3::from_shape_fn((norms.len(), 1, 1), |(t, ..)| norms[norms.len() - 1 - t]);
            let hidden = Array3::from_elem((norms.len(), 1, 1), 0.5);
            see(activation, None, d_hidden, hidden)
        };
        let dead = of(Activation::Relu, &[1.0, 0.5, 0.0, 0.0]);
        assert_eq!((dead.out_of_range, dead.vanished_after, dead.rate.unwrap()), (None, Some(2), 0.5));
        assert_eq!(of(Activation::Tanh, &[1.0, 0.5, 0.0, 0.0]).out_of_range, Some(2));
        assert_eq!(of(Activation::Relu, &[1.0, 1e-33, 0.0]).out_of_range, Some(2));
        assert_eq!(of(Activation::Relu, &[1.0, 1e-36, 0.0]).out_of_range, Some(1));
        let beyond = of(Activation::Identity, &[1.0, 1e20, f32::INFINITY]);
        assert_eq!((beyond.out_of_range, beyond.exploded_after, beyond.trend), (Some(2), Some(1), Some(Trend::Exploding)));
        // No gradient to begin with, and a single step.
        assert_eq!((of(Activation::Tanh, &[0.0, 0.0]).rate, of(Activation::Tanh, &[1.0]).trend), (None, None));
    }
}
