//! What activations do, in numbers: their curves as a backend computes them, and what becomes of a gradient on its way back through time.

mod activations;
mod gradients;

pub use activations::{Curve, curve};
pub use gradients::{Flow, Setup, Size, Trend, flow, flow_of};
