//! The LSTM (Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000), as PyTorch has it: i, f and o = σ(p + r), g = tanh(p + r),
//! c = f ⊙ c₋₁ + i ⊙ g and h = o ⊙ tanh(c). The gates are saved.

use super::{Cell, Side};
use crate::Activation;
use crate::kernels::recurrence::{self, After, Before, Behind, Dims, Gradients, Pointwise};
use crate::kernels::single;
use crate::numbers::Number;
use crate::program::Kernel;

/// The cell.
pub static LSTM: Cell = Cell {
    name: "lstm",
    gates: DIMS.gates as u32,
    states: &["h", "c"],
    saved: DIMS.saved as u32,
    recurrent_bias: &[],
    forget_gate: Some(1),
    has_leak: false,
    has_activation: false,
    kept: &[(Side::Before, 1), (Side::After, 1)],
    direct: &[1],
    distinct: DIMS.distinct,
    through_h: Some(|saved, c| saved[3] * (1.0 - c.tanh().powi(2))),
    forward: &FORWARD,
    backward: &BACKWARD,
    step: single::step::<Lstm>,
};

struct Lstm;

impl Pointwise for Lstm {
    const DIMS: Dims = Dims { gates: 4, states: 2, saved: 4, kept: 2, direct: 1, ..Dims::ONE };
    const FUSES: bool = true;
    const KERNELS: [&'static Kernel; 2] = [&FORWARD, &BACKWARD];

    #[inline(always)]
    fn forward<N: Number>(_: Activation, at: &Before<N>) -> After<N> {
        let i = (at.input[0] + at.recurrent[0]).activate(Activation::Sigmoid);
        let f = (at.input[1] + at.recurrent[1]).activate(Activation::Sigmoid);
        let g = (at.input[2] + at.recurrent[2]).activate(Activation::Tanh);
        let o = (at.input[3] + at.recurrent[3]).activate(Activation::Sigmoid);
        let c = f * at.states[1] + i * g;
        let h = o * c.activate(Activation::Tanh);
        After { states: [h, c, c, c], saved: [i, f, g, o] }
    }

    #[inline(always)]
    fn backward<N: Number>(_: Activation, at: &Behind<N>) -> Gradients<N> {
        let [i, f, g, o] = at.saved;
        let [c_before, c, ..] = at.kept;
        let tanh_c = c.activate(Activation::Tanh);
        let d_h = at.d_hidden + at.recurrent;
        let d_c = at.direct[0] + d_h * o * tanh_c.derivative(Activation::Tanh);
        let d_i = d_c * g * i.derivative(Activation::Sigmoid);
        let d_f = d_c * c_before * f.derivative(Activation::Sigmoid);
        let d_g = d_c * i * g.derivative(Activation::Tanh);
        let d_o = d_h * tanh_c * o.derivative(Activation::Sigmoid);
        let recurrent = [d_i, d_f, d_g, d_o];
        Gradients { recurrent, input: recurrent, direct: [d_c * f; 4] }
    }
}

recurrence::kernels!(Lstm, include_str!("../../shaders/cells/lstm.wgsl"), ["lstm_forward", "lstm_backward"]);
