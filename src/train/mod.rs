//! Training: a network on a backend, and a run: the loop over steps, what it logs, and its checkpoints.

mod checkpoint;
mod evaluation;
mod folder;
mod network;
mod settings;
mod training;

pub use checkpoint::{Checkpoint, Ran};
pub use evaluation::{Evaluation, evaluate};
pub use folder::{Folder, Metrics};
pub use network::{Compute, Gradient, Network, Report};
pub use settings::Settings;
pub use training::{Event, Summary, Training};
