//! The gated recurrent unit (Cho et al. 2014), as PyTorch and cuDNN have it: r and z = σ(p + q) with p the input's part and q the recurrent
//! sum, n = tanh(p + r ⊙ s) with s = q + b, h = (1 − z) ⊙ n + z ⊙ h₋₁. The reset gate scales the recurrent sum with its own bias, and not h₋₁,
//! so that for n the gradient of the recurrent sum is another than that of the input's part. r, z, n and s are saved.

use super::{Cell, Side};
use crate::Activation;
use crate::kernels::recurrence::{self, After, Before, Behind, Dims, Gradients, Pointwise};
use crate::kernels::single;
use crate::numbers::Number;
use crate::program::Kernel;

/// The cell.
pub static GRU: Cell = Cell {
    name: "gru",
    gates: DIMS.gates as u32,
    states: &["h"],
    saved: DIMS.saved as u32,
    recurrent_bias: &[2],
    forget_gate: None,
    has_leak: false,
    has_activation: false,
    kept: &[(Side::Before, 0)],
    direct: &[0],
    distinct: DIMS.distinct,
    through_h: None,
    forward: &FORWARD,
    backward: &BACKWARD,
    step: single::step::<Gru>,
};

struct Gru;

impl Pointwise for Gru {
    const DIMS: Dims = Dims { gates: 3, states: 1, saved: 4, constants: 1, kept: 1, direct: 1, distinct: true };
    const FUSES: bool = true;
    const KERNELS: [&'static Kernel; 2] = [&FORWARD, &BACKWARD];

    #[inline(always)]
    fn forward<N: Number>(_: Activation, at: &Before<N>) -> After<N> {
        let r = (at.input[0] + at.recurrent[0]).activate(Activation::Sigmoid);
        let z = (at.input[1] + at.recurrent[1]).activate(Activation::Sigmoid);
        let s = at.recurrent[2] + at.constants[0];
        let n = (at.input[2] + r * s).activate(Activation::Tanh);
        let h = (z.constant(1.0) - z) * n + z * at.states[0];
        After { states: [h; 4], saved: [r, z, n, s] }
    }

    #[inline(always)]
    fn backward<N: Number>(_: Activation, at: &Behind<N>) -> Gradients<N> {
        let [r, z, n, s] = at.saved;
        let d_h = at.d_hidden + at.recurrent + at.direct[0];
        let d_n = d_h * (z.constant(1.0) - z) * n.derivative(Activation::Tanh);
        let d_z = d_h * (at.kept[0] - n) * z.derivative(Activation::Sigmoid);
        let d_r = d_n * s * r.derivative(Activation::Sigmoid);
        Gradients { recurrent: [d_r, d_z, d_n * r, d_n], input: [d_r, d_z, d_n, d_n], direct: [d_h * z; 4] }
    }
}

recurrence::kernels!(Gru, include_str!("../../shaders/cells/gru.wgsl"), ["gru_forward", "gru_backward"]);
