//! The Elman cell (Elman 1990): h = φ(p + r), with p = U·x + b the input's part and r = W·h₋₁ the recurrent one; the
//! gradient of its pre-activation is (∂L/∂h) ⊙ φ′, with φ′ from h itself.

use num_traits::Float;

use super::Cell;
use crate::Activation;
use crate::kernels::recurrence::{self, Unit};
use crate::program::Kernel;

/// The cell.
pub const ELMAN: Cell = Cell { name: "elman", forward: &FORWARD, backward: &BACKWARD };

const UNIT: &str = include_str!("../../shaders/elman.wgsl");

struct Elman;

impl Unit for Elman {
    const KERNELS: [&'static Kernel; 2] = [&FORWARD, &BACKWARD];

    fn forward<T: Float>(activation: Activation, input: T, recurrent: T) -> T {
        activation.value(input + recurrent)
    }

    #[inline(always)]
    fn backward<T: Float>(activation: Activation, d_hidden: T, recurrent: T, hidden: T) -> T {
        (d_hidden + recurrent) * activation.derivative(hidden)
    }

    fn forward_row(activation: Activation, input: &[f32], state: &mut [f32]) {
        pulp::Arch::new().dispatch(|| state.iter_mut().zip(input).for_each(|(h, p)| *h += p));
        activation.apply(state);
    }
}

/// h_t = φ(p_t + h_{t−1}·Wᵀ).
pub static FORWARD: Kernel = recurrence::forward_kernel::<Elman>("elman_forward", recurrence::forward_variants!(UNIT));

/// d_t = (∂L/∂h_t + d_{t+1}·W) ⊙ φ′(h_t).
pub static BACKWARD: Kernel = recurrence::backward_kernel::<Elman>("elman_backward", recurrence::backward_variants!(UNIT));
