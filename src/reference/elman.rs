//! Elman's cell (*Finding structure in time*, 1990), which PyTorch calls RNN.
//!
//! # Forward
//!
//! With the two sums `u = U·x_t + b_ih` and `w = W·h_{t-1} + b_hh`
//!
//! ```text
//! h_t = φ(u + w)
//! ```
//!
//! # Backward
//!
//! Both sums go into φ alone, so that with `a = u + w`
//!
//! ```text
//! ∂L/∂u = ∂L/∂w = ∂L/∂h_t · φ′(a),    and φ′(a) follows from h_t = φ(a)
//! ```
//!
//! A unit reads its own state before only through `w`: nothing goes straight to `h_{t-1}`.

use super::activation::Activation;
use super::cell::{Cell, Unit, UnitGradient};

/// `h_t = φ(U·x_t + b_ih + W·h_{t-1} + b_hh)`.
pub const CELL: Cell =
    Cell { name: "elman", gates: 1, states: &["h"], has_leak: false, activation: Some(Activation::Tanh), forward, backward };

fn forward(unit: &Unit, after: &mut [f64]) {
    after[0] = unit.activation.value(unit.input[0] + unit.recurrent[0]);
}

fn backward(unit: &Unit, after: &[f64], d: &mut UnitGradient) {
    let d_sum = d.after[0] * unit.activation.derivative(after[0]);
    d.input[0] = d_sum;
    d.recurrent[0] = d_sum;
    d.before[0] = 0.0;
}
