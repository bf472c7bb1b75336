//! Comparing what is computed with what should be: the definitions in f64 as a backend of their own, and lockstep.
//!
//! Errors are measured against the size of the tensor, and bounds come from the arithmetic: a sum of K products in f32
//! in any order is within about 4·u·√K·Σ|x·w| of the exact one, u = 2⁻²⁴.

mod exact;
mod lockstep;

pub use exact::Exact;
pub use lockstep::{Mismatch, compare_step, lockstep};
