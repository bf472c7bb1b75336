//! The leaky cell of rate units: its state is a running mean of what Elman's would be.
//!
//! # Forward
//!
//! With `u = U·x_t + b_ih`, `w = W·h_{t-1} + b_hh` and a constant `0 < α ≤ 1` for each unit
//!
//! ```text
//! v   = φ(u + w)
//! h_t = (1 − α)·h_{t-1} + α·v
//! ```
//!
//! It is Euler's method for `τ·dh/dt = −h + φ(…)` with `α = Δt/τ`; with α = 1 it is Elman's cell.
//!
//! # Backward
//!
//! `h_t` is a sum of two terms. The first goes straight to the state before:
//!
//! ```text
//! ∂L/∂h_{t-1} = (1 − α)·∂L/∂h_t    (and more through w)
//! ```
//!
//! The second goes through φ, as in Elman's cell:
//!
//! ```text
//! ∂L/∂v = α·∂L/∂h_t
//! ∂L/∂u = ∂L/∂w = ∂L/∂v · φ′(u + w),    and φ′ follows from v
//! ```
//!
//! α is given and not trained, so that it has no derivative.

use super::activation::Activation;
use super::cell::{Cell, Unit, UnitGradient};

/// `h_t = (1 − α)·h_{t-1} + α·φ(U·x_t + b_ih + W·h_{t-1} + b_hh)`.
pub const CELL: Cell =
    Cell { name: "leaky", gates: 1, states: &["h"], has_leak: true, activation: Some(Activation::Tanh), forward, backward };

fn forward(unit: &Unit, after: &mut [f64]) {
    let value = unit.activation.value(unit.input[0] + unit.recurrent[0]);
    after[0] = (1.0 - unit.leak) * unit.before[0] + unit.leak * value;
}

fn backward(unit: &Unit, _after: &[f64], d: &mut UnitGradient) {
    let value = unit.activation.value(unit.input[0] + unit.recurrent[0]);
    let d_value = unit.leak * d.after[0];
    let d_sum = d_value * unit.activation.derivative(value);
    d.input[0] = d_sum;
    d.recurrent[0] = d_sum;
    d.before[0] = (1.0 - unit.leak) * d.after[0];
}
