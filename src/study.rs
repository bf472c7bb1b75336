//! What activations do, in numbers: their curves as a backend computes them, what becomes of a gradient on its way back through time, and
//! what comes of short trainings with them.

mod activations;
mod gradients;
mod training;

pub use activations::{Curve, curve};
pub use gradients::{Gradients, Setup, gradients, gradients_of};
pub use training::{Advice, Budget, Trained, Trainer, advice, rates};
