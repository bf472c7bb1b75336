//! The gated recurrent unit (Cho and others, 2014), as PyTorch has it: the reset gate is on the recurrent sum and not on `h_{t-1}`.
//!
//! # Forward
//!
//! With the sums `u = U·x_t + b_ih` and `w = W·h_{t-1} + b_hh`, a number of each for the gates r, z and n in this order
//!
//! ```text
//! r   = σ(u_r + w_r)            how much of the recurrent sum the new value reads
//! z   = σ(u_z + w_z)            how much of the old state stays
//! n   = tanh(u_n + r·w_n)       the new value
//! h_t = (1 − z)·n + z·h_{t-1}
//! ```
//!
//! r scales the bias within `w_n` too, so that the two biases of n cannot be added to one.
//!
//! # Backward
//!
//! From the last line upwards. `h_t` is linear in n, in z and in `h_{t-1}`:
//!
//! ```text
//! ∂L/∂n       = ∂L/∂h_t·(1 − z)
//! ∂L/∂z       = ∂L/∂h_t·(h_{t-1} − n)
//! ∂L/∂h_{t-1} = ∂L/∂h_t·z                       (and more through w)
//! ```
//!
//! With `a = u_n + r·w_n`, the sum in the tanh, whose derivative is 1 − n²:
//!
//! ```text
//! ∂L/∂a   = ∂L/∂n·(1 − n²)
//! ∂L/∂u_n = ∂L/∂a
//! ∂L/∂w_n = ∂L/∂a·r
//! ∂L/∂r   = ∂L/∂a·w_n
//! ```
//!
//! And σ′ = σ·(1 − σ) for both gates, each of which has one sum of u and w:
//!
//! ```text
//! ∂L/∂u_r = ∂L/∂w_r = ∂L/∂r·r·(1 − r)
//! ∂L/∂u_z = ∂L/∂w_z = ∂L/∂z·z·(1 − z)
//! ```

use super::activation::Activation::{Sigmoid, Tanh};
use super::cell::{Cell, Unit, UnitGradient};

/// `h_t = (1 − z) ⊙ n + z ⊙ h_{t-1}` with the gates r, z and n.
pub const CELL: Cell = Cell { name: "gru", gates: 3, states: &["h"], has_leak: false, activation: None, forward, backward };

/// r, z and n.
fn gates(unit: &Unit) -> (f64, f64, f64) {
    let (u, w) = (unit.input, unit.recurrent);
    let r = Sigmoid.value(u[0] + w[0]);
    let z = Sigmoid.value(u[1] + w[1]);
    let n = (u[2] + r * w[2]).tanh();
    (r, z, n)
}

fn forward(unit: &Unit, after: &mut [f64]) {
    let (_, z, n) = gates(unit);
    after[0] = (1.0 - z) * n + z * unit.before[0];
}

fn backward(unit: &Unit, _after: &[f64], d: &mut UnitGradient) {
    let (r, z, n) = gates(unit);
    let d_h = d.after[0];
    let d_n = d_h * (1.0 - z);
    let d_z = d_h * (unit.before[0] - n);

    let d_n_sum = d_n * Tanh.derivative(n);
    let d_r = d_n_sum * unit.recurrent[2];

    let d_r_sum = d_r * Sigmoid.derivative(r);
    let d_z_sum = d_z * Sigmoid.derivative(z);

    d.input.copy_from_slice(&[d_r_sum, d_z_sum, d_n_sum]);
    d.recurrent.copy_from_slice(&[d_r_sum, d_z_sum, d_n_sum * r]);
    d.before[0] = d_h * z;
}
