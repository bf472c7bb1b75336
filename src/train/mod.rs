//! Training runs: the loop over steps, what it logs, and its checkpoints.

mod checkpoint;
mod evaluation;
mod folder;
mod measures;
mod reopen;
mod settings;
mod tracing;
mod training;

pub use checkpoint::{Checkpoint, DeviceRecord, Origin};
pub use evaluation::{Evaluation, evaluate};
pub use folder::{Folder, Metrics};
pub use measures::{ColumnError, Confusion, Deviation, Measures, likeliest};
pub use settings::Settings;
pub use tracing::LayerFlow;
pub use training::{Event, Summary, Training};
