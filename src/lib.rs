//! Retrospect.
#![deny(unsafe_code, missing_docs)]
pub mod activation;
pub mod backend;
pub mod batch;
pub mod cells;
pub mod check;
pub mod data;
mod error;
pub mod kernels;
pub mod model;
pub mod program;
pub mod random;
pub mod reference;
pub mod tensors;
pub mod train;
pub use activation::Activation;
pub use error::{Error, Result};
