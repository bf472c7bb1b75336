//! Training runs: the loop over steps, what it logs, and its checkpoints.

mod checkpoint;
mod device;
mod evaluation;
mod folder;
mod header;
mod measures;
mod overview;
mod reopen;
mod schedule;
mod settings;
mod shared_file;
mod tracing;
mod training;
mod validations;

pub use checkpoint::{Checkpoint, Origin};
pub use device::DeviceRecord;
pub use evaluation::{Evaluation, evaluate, evaluate_sequences};
pub use folder::{Folder, Metrics};
pub use header::Header;
pub use measures::{ColumnError, Confusion, Deviation, Measures, likeliest};
pub use overview::Overview;
pub use schedule::{FORMS, Schedule};
pub use settings::{OnDivergence, Settings};
pub use shared_file::{SharedFile, share_checkpoint};
pub use tracing::LayerFlow;
pub use training::{Event, Summary, Training};
pub use validations::{Best, BestBy, Plateau, Validations};
