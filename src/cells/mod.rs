//! The cells: one file each. A cell is its pointwise part, forward and backward, on the host and in WGSL; the recurrence
//! around it, with all its variants, is `kernels::recurrence`. To add one: a file here, its shader, two lines below, a file with its
//! equations in `reference`, and two lines in `reference.rs`.

pub mod elman;
pub mod gru;
pub mod leaky;
pub mod lstm;

use crate::kernels::single::CellStep;
use crate::program::Kernel;
use crate::simd::InstructionSet;

/// A recurrent cell: how many numbers its units have of each kind, and the two kernels that its pointwise part makes.
#[derive(Debug)]
pub struct Cell {
    /// Its name.
    pub name: &'static str,
    /// Rows of both weights for each unit, in PyTorch's order of gates.
    pub gates: u32,
    /// The states that go from time step to time step, h first.
    pub states: &'static [&'static str],
    /// Numbers kept of a unit and time step for the backward pass, besides the states.
    pub saved: u32,
    /// The gates whose recurrent bias is not added to the input's.
    pub recurrent_bias: &'static [u32],
    /// The gate that a forget bias is added to.
    pub forget_gate: Option<u32>,
    /// Whether it has a leak for each unit.
    pub has_leak: bool,
    /// Whether its activation can be chosen.
    pub has_activation: bool,
    /// The states, by their number, that the backward recurrence reads: those before a time step, or those after it.
    pub(crate) kept: &'static [(Side, usize)],
    /// The states whose gradient goes to the time step before on a path of its own.
    pub(crate) direct: &'static [usize],
    /// Whether the gradient of the input's parts is another than that of the recurrent sums.
    pub(crate) distinct: bool,
    /// ∂h/∂s of a unit at one time step, by its saved numbers and s, of a cell whose h follows from its second state s.
    pub(crate) through_h: Option<fn(&[f64], f64) -> f64>,
    /// The recurrence forward in time.
    pub forward: &'static Kernel,
    /// The recurrence backward in time.
    pub backward: &'static Kernel,
    /// A single time step on the calling thread.
    pub(crate) step: fn(InstructionSet, CellStep),
}

/// A side of a time step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
}

/// All cells.
pub static ALL: &[&Cell] = &[&elman::ELMAN, &leaky::LEAKY, &gru::GRU, &lstm::LSTM];

impl Cell {
    /// The cell that is chosen where nothing else is said.
    #[must_use]
    pub fn usual() -> &'static Cell {
        &elman::ELMAN
    }

    /// The names of all of them.
    #[must_use]
    pub fn names() -> String {
        ALL.iter().map(|cell| cell.name).collect::<Vec<_>>().join(", ")
    }

    /// The names of those that have something, for sentences.
    #[must_use]
    pub fn names_with(has: fn(&Cell) -> bool) -> String {
        ALL.iter().filter(|cell| has(cell)).map(|cell| cell.name).collect::<Vec<_>>().join(" and ")
    }

    /// The cell of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Cell> {
        ALL.iter().copied().find(|cell| cell.name == name)
    }
}

impl serde::Serialize for Cell {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'de> serde::Deserialize<'de> for &'static Cell {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<&'static Cell, D::Error> {
        let name = String::deserialize(deserializer)?;
        Cell::named(&name).ok_or_else(|| serde::de::Error::custom(format!("there is no cell {name:?}")))
    }
}

impl PartialEq for Cell {
    fn eq(&self, other: &Cell) -> bool {
        self.name == other.name
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a cell says of its windows is what its kernels have.
    #[test]
    fn cells_are_what_their_kernels_are() {
        for cell in ALL {
            let names = |kernel: &Kernel, prefix: &str| kernel.bindings.iter().filter(|b| b.name.starts_with(prefix)).count();
            let constants = cell.recurrent_bias.len() + usize::from(cell.has_leak);
            let states = names(cell.forward, "hidden") + names(cell.forward, "state");
            assert_eq!((states, names(cell.forward, "constant")), (cell.states.len(), constants), "{cell}");
            let of_backward = ["kept", "d_state", "d_input"].map(|prefix| names(cell.backward, prefix));
            assert_eq!(of_backward, [cell.kept.len(), cell.direct.len(), usize::from(cell.distinct)], "{cell}");
            assert!(std::ptr::eq(Cell::named(cell.name).unwrap(), *cell));
            // States other than h, which the product reads, have a path of their own, and the sums over some of k a place to lie.
            assert!((1..cell.states.len()).all(|state| cell.direct.contains(&state)), "{cell}");
            assert!(cell.saved >= cell.gates || (cell.saved, cell.gates) == (0, 1), "{cell}");
        }
    }
}
