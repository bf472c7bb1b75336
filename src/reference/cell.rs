//! What a cell is: the equations of one unit at one time step, forward and backward. Each cell has a file of its own.

use std::fmt;

use super::CELLS;
use super::activation::Activation;
use crate::{Error, Result};

/// A cell: how the states of a unit after a time step follow from its sums and its states before.
#[derive(Clone, Copy)]
pub struct Cell {
    /// Its name: elman, leaky, gru or lstm.
    pub name: &'static str,
    /// Sums a unit has: the rows of `U` and `W` over the number of units. Row `g·H + j` is gate `g` of unit `j`.
    pub gates: usize,
    /// The names of the states of a unit. The first is `h`, which the layer above and the recurrent weight read.
    pub states: &'static [&'static str],
    /// Whether its units have an α each.
    pub has_leak: bool,
    /// φ; `None` where the gates' functions are the cell's own.
    pub activation: Option<Activation>,
    /// Writes the states after the step.
    pub forward: fn(unit: &Unit, after: &mut [f64]),
    /// Writes the derivative of the loss by everything that the unit reads.
    pub backward: fn(unit: &Unit, after: &[f64], d: &mut UnitGradient),
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let activation = self.activation.map_or(String::new(), |phi| format!(" of {}", phi.name()));
        write!(f, "{}{activation}", self.name)
    }
}

/// What the equations of one unit read at one time step.
#[derive(Debug, Clone, Copy)]
pub struct Unit<'a> {
    /// `U·x_t + b_ih`, a number for each gate.
    pub input: &'a [f64],
    /// `W·h_{t-1} + b_hh`, a number for each gate.
    pub recurrent: &'a [f64],
    /// The unit's own states before the step, in the order of [`Cell::states`].
    pub before: &'a [f64],
    /// α, where the cell has one.
    pub leak: f64,
    /// φ, where the cell has one.
    pub activation: Activation,
}

/// The derivative of the loss by the numbers of a unit at one time step.
#[derive(Debug)]
pub struct UnitGradient<'a> {
    /// By the states after the step. It comes with what the layer above and the next step send back; the cell adds what one of its
    /// states sends to another, as `h_t = o ⊙ tanh(c_t)` does to `c_t`.
    pub after: &'a mut [f64],
    /// By [`Unit::input`].
    pub input: &'a mut [f64],
    /// By [`Unit::recurrent`].
    pub recurrent: &'a mut [f64],
    /// By [`Unit::before`], where it does not go through [`Unit::recurrent`].
    pub before: &'a mut [f64],
}

impl Cell {
    /// The cell of this name; `activation` is φ, where the cell has one.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is no such cell or no such activation.
    pub fn named(name: &str, activation: &str) -> Result<Cell> {
        let names = CELLS.map(|cell| cell.name).join(", ");
        let missing = || Error::Usage(format!("there is no cell \"{name}\"; there are {names}"));
        let cell = CELLS.into_iter().find(|cell| cell.name == name).ok_or_else(missing)?;
        let activation = Activation::named(activation)?;
        Ok(Cell { activation: cell.activation.and(Some(activation)), ..cell })
    }
}
