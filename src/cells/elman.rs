//! The Elman cell (Elman 1990): h = φ(p + r), with p = U·x + b the input's part and r = W·h₋₁ the recurrent one; the
//! gradient of its pre-activation is (∂L/∂h) ⊙ φ′, with φ′ from h itself.

use num_traits::Float;

use super::Cell;
use crate::Activation;
use crate::kernels::recurrence::{self, Unit};
use crate::program::Kernel;
use crate::rounding::{TINY, Terms, U};
use crate::simd::arch;

/// The cell.
pub const ELMAN: Cell = Cell { name: "elman", forward: &FORWARD, backward: &BACKWARD };

const UNIT: &str = include_str!("../../shaders/elman.wgsl");

struct Elman;

impl Unit for Elman {
    const KERNELS: [&'static Kernel; 2] = [&FORWARD, &BACKWARD];

    fn forward(activation: Activation, input: f64, recurrent: f64) -> f64 {
        activation.value(input + recurrent)
    }

    /// The sum's own error, as far as φ hands it on, and φ's.
    fn forward_bound(activation: Activation, input: f64, recurrent: f64, mut terms: Terms) -> f64 {
        terms.number(input);
        let sum = input + recurrent;
        // An infinite sum is that in any order.
        let off = if sum.is_finite() { terms.of_products() } else { 0.0 };
        activation.slope(sum, off) * off + activation.error(activation.value(sum))
    }

    #[inline(always)]
    fn backward<T: Float>(activation: Activation, d_hidden: T, recurrent: T, hidden: T) -> T {
        (d_hidden + recurrent) * activation.derivative(hidden)
    }

    /// The sum's own error times φ′, that of φ′ times the sum, and the product's rounding.
    fn backward_bound(activation: Activation, d_hidden: f64, recurrent: f64, hidden: f64, mut terms: Terms) -> f64 {
        terms.number(d_hidden);
        let (sum, off) = (d_hidden + recurrent, terms.of_products());
        let (slope, slope_off) = (activation.derivative(hidden).abs(), activation.derivative_error(hidden));
        slope * off + (sum.abs() + off) * slope_off + U * (slope * sum).abs() + TINY
    }

    fn forward_row(activation: Activation, input: &[f32], state: &mut [f32]) {
        arch().dispatch(|| state.iter_mut().zip(input).for_each(|(h, p)| *h += p));
        activation.apply(state);
    }
}

/// h_t = φ(p_t + h_{t−1}·Wᵀ).
pub static FORWARD: Kernel = recurrence::forward_kernel::<Elman>("elman_forward", recurrence::forward_variants!(UNIT));

/// d_t = (∂L/∂h_t + d_{t+1}·W) ⊙ φ′(h_t).
pub static BACKWARD: Kernel = recurrence::backward_kernel::<Elman>("elman_backward", recurrence::backward_variants!(UNIT));
