//! The Elman cell (Elman 1990): h = φ(p + r), with p = U·x + b the input's part and r = W·h₋₁ the recurrent one; the
//! gradient of its pre-activation is (∂L/∂h) ⊙ φ′, with φ′ from h itself.

use super::{Cell, Side};
use crate::Activation;
use crate::kernels::recurrence::{self, After, Before, Behind, Dims, Gradients, Pointwise};
use crate::kernels::single;
use crate::numbers::Number;
use crate::program::Kernel;

/// The cell.
pub static ELMAN: Cell = Cell {
    name: "elman",
    gates: DIMS.gates as u32,
    states: &["h"],
    saved: DIMS.saved as u32,
    recurrent_bias: &[],
    forget_gate: None,
    has_leak: false,
    has_activation: true,
    kept: &[(Side::After, 0)],
    direct: &[],
    distinct: DIMS.distinct,
    through_h: None,
    forward: &FORWARD,
    backward: &BACKWARD,
    step: single::step::<Elman>,
};

struct Elman;

impl Pointwise for Elman {
    const DIMS: Dims = Dims { kept: 1, ..Dims::ONE };
    const IS_ACTIVATED: bool = true;
    const KERNELS: [&'static Kernel; 2] = [&FORWARD, &BACKWARD];

    #[inline(always)]
    fn forward<N: Number>(activation: Activation, at: &Before<N>) -> After<N> {
        let h = (at.input[0] + at.recurrent[0]).activate(activation);
        After { states: [h; 4], saved: [h; 4] }
    }

    #[inline(always)]
    fn backward<N: Number>(activation: Activation, at: &Behind<N>) -> Gradients<N> {
        let d_sum = (at.d_hidden + at.recurrent) * at.kept[0].derivative(activation);
        Gradients { recurrent: [d_sum; 4], input: [d_sum; 4], direct: [d_sum; 4] }
    }

    fn keeps_integers(activation: Activation) -> bool {
        activation.keeps_integers()
    }
}

recurrence::kernels!(Elman, include_str!("../../shaders/cells/elman.wgsl"), ["elman_forward", "elman_backward"]);
