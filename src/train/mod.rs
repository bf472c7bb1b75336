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
pub use folder::{ColumnError, Folder, Metrics};
pub use measures::{Confusion, Deviation, Measures};
pub use settings::Settings;
pub use tracing::LayerFlow;
pub use training::{Event, Summary, Training};
