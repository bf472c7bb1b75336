//! The model: a configuration, its named parameters, and the program that it records: forward, backward and update.

mod config;
pub(crate) mod parameters;
mod passes;
mod recurrent;

pub(crate) use crate::kernels::embedding::order as token_order;
pub use config::{Config, Optimizer, RecurrentInit};
pub use parameters::{Named, from_file, initial, sizes};
pub use recurrent::Model;
pub(crate) use recurrent::{HISTORY, InputWindows};
