//! The cells: one file each. A cell is its pointwise part, forward and backward, on the host and in WGSL; the recurrence
//! around it, with all its variants, is `kernels::recurrence`. To add one: a file here, its shader, a line in [`ALL`]
//! and its equations in `reference.rs`.

pub mod elman;

use crate::program::Kernel;

/// A recurrent cell: the two kernels that its pointwise part makes.
#[derive(Debug)]
pub struct Cell {
    /// Its name.
    pub name: &'static str,
    /// The recurrence forward in time.
    pub forward: &'static Kernel,
    /// The recurrence backward in time.
    pub backward: &'static Kernel,
}

/// All cells.
pub static ALL: &[Cell] = &[elman::ELMAN];
