//! What becomes of a gradient on its way back through time: ‖∂L/∂h_t‖ of a loss at the last step alone, for each step, from one
//! backward pass; for an LSTM ‖∂L/∂c_t‖ as well.
//!
//! Each step back multiplies by Wᵀ·diag(φ′), so that after k of them ‖∂L/∂h‖ of the top layer is at most (γ·‖W‖)ᵏ of what it was, with γ
//! the largest derivative: ¼ for the sigmoid, else 1 (Pascanu, Mikolov & Bengio 2013, *On the difficulty of training recurrent neural
//! networks*). What reaches a layer below at a step comes from later steps of both.

mod meter;

pub use meter::{FlowMeter, StateFlow};
use serde::Serialize;

use crate::Activation;

/// Units with a derivative below this pass on next to nothing: they are saturated, or, of ReLU, off.
pub const SATURATED: f64 = 0.01;

/// Whether a unit of value h passes on next to nothing.
#[must_use]
pub fn is_saturated(activation: Activation, h: f32) -> bool {
    activation.derivative(f64::from(h)) < SATURATED
}

/// A norm over all sequences that were seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Size {
    /// The geometric mean at the last step, times that of what is left of the sequences of which something is: so sequences that fall
    /// to nothing, or begin later, make no jump. Zero where nothing is left of any.
    pub mean: f64,
    /// The smallest.
    pub low: f64,
    /// The largest; infinite where one is not finite.
    pub high: f64,
    /// The share of those that are zero.
    pub zero: f64,
}

/// What a gradient does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Trend {
    /// At the first step a thousandth of it is left, or nothing of most sequences; or it loses more than a hundredth a step.
    Vanishing,
    /// None of the others.
    Stable,
    /// At the first step it is a thousand times as large, or it gains more than a hundredth a step.
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
    /// ‖∂L/∂h‖ at the last step, one step before, and so on back to the first; of the sequences that have a gradient at the last step.
    pub norms: Vec<Size>,
    /// The factor of a step: e to the slope of a line through the logarithms of a sequence's norms that are not zero, the geometric mean
    /// over the sequences. `None` where none has two.
    pub rate: Option<f64>,
    /// What becomes of it. `None` where nothing is known.
    pub trend: Option<Trend>,
    /// Steps back until a thousandth is left, or nothing of most sequences.
    pub vanished_after: Option<usize>,
    /// Steps back until it is a thousand times as large.
    pub exploded_after: Option<usize>,
    /// Steps back from which on f32 ran out for some sequence, and nothing is known: a norm is below 1e-35 or not finite. That it is
    /// zero where all ReLU units are dead is known.
    pub out_of_range: Option<usize>,
    /// Steps back from which on a norm may be off by more than 1e-4 of itself, by an estimate: derivatives are computed from φ, whose last
    /// place is a large part of them where units are saturated; and where gradients explode, the states' own roundings do.
    pub imprecise_after: Option<usize>,
    /// The share of units with a derivative below 0.01 at the last step, one before, and so on; empty for cells whose h is not φ of a sum.
    pub saturated: Vec<f64>,
    /// The share of units that are so at every step of every sequence: dead. 0 for cells whose h is not φ of a sum.
    pub dead: f64,
}

impl Flow {
    /// The norms before f32 ran out.
    #[must_use]
    pub fn known(&self) -> &[Size] {
        &self.norms[..self.out_of_range.unwrap_or(self.norms.len())]
    }

    /// [`Flow::saturated`] over all steps; `None` where it is empty.
    #[must_use]
    pub fn mean_saturated(&self) -> Option<f64> {
        (!self.saturated.is_empty()).then(|| self.saturated.iter().sum::<f64>() / self.saturated.len() as f64)
    }
}
