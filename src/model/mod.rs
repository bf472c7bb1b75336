//! The model: a configuration, its named parameters, and the program that it records: forward, backward and update.

mod config;
mod dropout;
mod head;
mod layer;
pub(crate) mod parameters;
mod passes;
mod recurrent;
mod update;

pub(crate) use crate::kernels::embedding::order as token_order;
pub use config::{Biases, Config, Optimizer, RecurrentInit, USUAL_LEAK};
pub(crate) use layer::Layer;
pub(crate) use parameters::check_start;
pub use parameters::{Named, cell, from_file, initial, sizes};
pub(crate) use recurrent::InputWindows;
pub use recurrent::Model;
pub(crate) use update::HISTORY;
