//! Long short-term memory (Hochreiter and Schmidhuber, 1997) with the forget gate of Gers and others (2000), as PyTorch has it.
//!
//! # Forward
//!
//! With the sums `a = U·x_t + b_ih + W·h_{t-1} + b_hh`, one for each of the gates i, f, g and o in this order
//!
//! ```text
//! i   = σ(a_i)                  how much of the new value is written
//! f   = σ(a_f)                  how much of the old one stays
//! g   = tanh(a_g)               the new value
//! o   = σ(a_o)                  how much is shown
//! c_t = f·c_{t-1} + i·g
//! h_t = o·tanh(c_t)
//! ```
//!
//! # Backward
//!
//! From the last line upwards, with `s = tanh(c_t)`, whose derivative is 1 − s²:
//!
//! ```text
//! ∂L/∂o   = ∂L/∂h_t·s
//! ∂L/∂c_t = (what the next step sends back) + ∂L/∂h_t·o·(1 − s²)
//! ```
//!
//! `c_t` is a sum of two products:
//!
//! ```text
//! ∂L/∂f       = ∂L/∂c_t·c_{t-1}
//! ∂L/∂i       = ∂L/∂c_t·g
//! ∂L/∂g       = ∂L/∂c_t·i
//! ∂L/∂c_{t-1} = ∂L/∂c_t·f
//! ```
//!
//! And each gate has one sum, with σ′ = σ·(1 − σ) and tanh′ = 1 − tanh²:
//!
//! ```text
//! ∂L/∂a_i = ∂L/∂i·i·(1 − i)    ∂L/∂a_f = ∂L/∂f·f·(1 − f)    ∂L/∂a_g = ∂L/∂g·(1 − g²)    ∂L/∂a_o = ∂L/∂o·o·(1 − o)
//! ```
//!
//! A unit reads its own `h_{t-1}` only through W: nothing goes straight to it.

use super::activation::Activation::{Sigmoid, Tanh};
use super::cell::{Cell, Unit, UnitGradient};

/// `c_t = f ⊙ c_{t-1} + i ⊙ g`, `h_t = o ⊙ tanh(c_t)` with the gates i, f, g and o.
pub const CELL: Cell = Cell { name: "lstm", gates: 4, states: &["h", "c"], has_leak: false, activation: None, forward, backward };

/// i, f, g and o.
fn gates(unit: &Unit) -> (f64, f64, f64, f64) {
    let sum = |gate: usize| unit.input[gate] + unit.recurrent[gate];
    (Sigmoid.value(sum(0)), Sigmoid.value(sum(1)), sum(2).tanh(), Sigmoid.value(sum(3)))
}

fn forward(unit: &Unit, after: &mut [f64]) {
    let (i, f, g, o) = gates(unit);
    let c = f * unit.before[1] + i * g;
    after[0] = o * c.tanh();
    after[1] = c;
}

fn backward(unit: &Unit, after: &[f64], d: &mut UnitGradient) {
    let (i, f, g, o) = gates(unit);
    let shown = after[1].tanh();
    let d_h = d.after[0];
    let d_o = d_h * shown;
    d.after[1] += d_h * o * Tanh.derivative(shown);

    let d_c = d.after[1];
    let d_f = d_c * unit.before[1];
    let d_i = d_c * g;
    let d_g = d_c * i;

    let d_sums =
        [d_i * Sigmoid.derivative(i), d_f * Sigmoid.derivative(f), d_g * Tanh.derivative(g), d_o * Sigmoid.derivative(o)];
    d.input.copy_from_slice(&d_sums);
    d.recurrent.copy_from_slice(&d_sums);
    d.before.copy_from_slice(&[0.0, d_c * f]);
}
