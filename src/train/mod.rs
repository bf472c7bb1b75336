//! Training: a network on a backend.

mod network;

pub use network::{Compute, Gradient, Network, Report};
