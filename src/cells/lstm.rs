//! The LSTM (Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000), as PyTorch has it: i, f and o = σ(p + r), g = tanh(p + r),
//! c = f ⊙ c₋₁ + i ⊙ g and h = o ⊙ tanh(c). The gates are saved.

use super::{Cell, Side};
use crate::Activation;
use crate::kernels::recurrence::{self, After, Before, Behind, Dims, Gradients, Pointwise};
use crate::numbers::Number;
use crate::program::Kernel;

/// The cell.
pub static LSTM: Cell = Cell {
    name: "lstm",
    gates: 4,
    states: &["h", "c"],
    saved: 4,
    recurrent_bias: &[],
    forget_gate: Some(1),
    has_leak: false,
    has_activation: false,
    kept: &[(Side::Before, 1), (Side::After, 1)],
    direct: &[1],
    distinct: false,
    forward: &FORWARD,
    backward: &BACKWARD,
};

struct Lstm;

impl Pointwise for Lstm {
    const DIMS: Dims = Dims { gates: 4, states: 2, saved: 4, kept: 2, direct: 1, ..Dims::ONE };
    const KERNELS: [&'static Kernel; 2] = [&FORWARD, &BACKWARD];

    #[inline(always)]
    fn forward<N: Number>(_: Activation, at: &Before<N>) -> After<N> {
        let sum = |gate: usize| at.input[gate] + at.recurrent[gate];
        let [i, f, o] = [0, 1, 3].map(|gate| sum(gate).activate(Activation::Sigmoid));
        let g = sum(2).activate(Activation::Tanh);
        let c = f * at.states[1] + i * g;
        let h = o * c.activate(Activation::Tanh);
        After { states: [h, c, c, c], saved: [i, f, g, o] }
    }

    #[inline(always)]
    fn backward<N: Number>(_: Activation, at: &Behind<N>) -> Gradients<N> {
        let [i, f, g, o] = at.saved;
        let [c_before, c, ..] = at.kept;
        let slope = |gate: N, activation: Activation| gate.derivative(activation);
        let tanh_c = c.activate(Activation::Tanh);
        let d_h = at.d_hidden + at.recurrent;
        let d_c = at.direct[0] + d_h * o * slope(tanh_c, Activation::Tanh);
        let d_i = d_c * g * slope(i, Activation::Sigmoid);
        let d_f = d_c * c_before * slope(f, Activation::Sigmoid);
        let d_g = d_c * i * slope(g, Activation::Tanh);
        let d_o = d_h * tanh_c * slope(o, Activation::Sigmoid);
        let recurrent = [d_i, d_f, d_g, d_o];
        Gradients { recurrent, input: recurrent, direct: [d_c * f; 4] }
    }
}

recurrence::kernels!(Lstm, include_str!("../../shaders/cells/lstm.wgsl"), ["lstm_forward", "lstm_backward"]);
