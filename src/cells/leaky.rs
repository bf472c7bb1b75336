//! The leaky cell, of rate models of neurons: h = (1 − α)·h₋₁ + α·a with a = φ(p + r), p = U·x + b the input's part and r = W·h₋₁ the
//! recurrent one. With α = 1 it is the Elman cell. a is saved: from h it could not be found again.

use super::Cell;
use crate::Activation;
use crate::kernels::recurrence::{self, After, Before, Behind, Dims, Gradients, Pointwise};
use crate::kernels::single;
use crate::numbers::Number;
use crate::program::{Content, Kernel};

/// The cell.
pub static LEAKY: Cell = Cell {
    name: "leaky",
    gates: DIMS.gates as u32,
    states: &["h"],
    saved: DIMS.saved as u32,
    recurrent_bias: &[],
    forget_gate: None,
    has_leak: true,
    has_activation: true,
    kept: &[],
    direct: &[0],
    distinct: DIMS.distinct,
    through_h: None,
    forward: &FORWARD,
    backward: &BACKWARD,
    step: single::step::<Leaky>,
};

struct Leaky;

impl Pointwise for Leaky {
    const DIMS: Dims = Dims { saved: 1, constants: 1, direct: 1, ..Dims::ONE };
    const IS_ACTIVATED: bool = true;
    const KERNELS: [&'static Kernel; 2] = [&FORWARD, &BACKWARD];

    #[inline(always)]
    fn forward<N: Number>(activation: Activation, at: &Before<N>) -> After<N> {
        let (leak, one) = (at.constants[0], at.constants[0].constant(1.0));
        let a = (at.input[0] + at.recurrent[0]).activate(activation);
        After { states: [(one - leak) * at.states[0] + leak * a; 4], saved: [a; 4] }
    }

    #[inline(always)]
    fn backward<N: Number>(activation: Activation, at: &Behind<N>) -> Gradients<N> {
        let (leak, one) = (at.constants[0], at.constants[0].constant(1.0));
        let d_h = at.d_hidden + at.recurrent + at.direct[0];
        let d_sum = leak * d_h * at.saved[0].derivative(activation);
        Gradients { recurrent: [d_sum; 4], input: [d_sum; 4], direct: [(one - leak) * d_h; 4] }
    }

    /// Leaks, in (0, 1].
    fn constants(units: u32) -> Option<Content> {
        Some(Content::Numbers((1..=units).map(|u| (u % 10) as f32 / 10.0 + 0.1).collect()))
    }
}

recurrence::kernels!(Leaky, include_str!("../../shaders/cells/leaky.wgsl"), ["leaky_forward", "leaky_backward"]);
