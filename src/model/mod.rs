//! The model: a configuration, its named parameters, and the program that it records: forward, backward and update.

mod accumulation;
mod both;
mod config;
mod dropout;
mod embedding;
mod gradient_parts;
mod head;
mod layer;
mod optimizer;
pub(crate) mod parameters;
mod passes;
mod recurrent;
pub(crate) mod segment;
mod update;

pub(crate) use crate::kernels::dropout::schedule_of as dropout_schedule;
pub(crate) use crate::kernels::embedding::order as token_order;
pub(crate) use accumulation::Accumulation;
pub use config::{Biases, Config, RecurrentInit, Share, USUAL_LEAK};
pub(crate) use gradient_parts::GradientPart;
pub(crate) use head::{constants as loss_constants, penalty as loss_penalty};
pub(crate) use layer::{Layer, TracedState, TracedWindows};
pub use optimizer::Optimizer;
pub(crate) use parameters::check_start;
pub use parameters::{
    NamedArrays, Sizes, cell, from_file, has_recurrent_masks, holds_masks_alone, initial, is_bidirectional, left_out, sizes,
    sizes_of_masks,
};
pub use recurrent::Model;
pub(crate) use recurrent::{InputWindows, TokenWindows};
pub(crate) use update::HISTORY;
