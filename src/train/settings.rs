//! All that a run follows from, besides the device: written into its folder and its checkpoints.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data::{Choice, Known, Opened, Options, Part, Reading};
use crate::model::{Config, RecurrentInit};
use crate::{Error, Result};

/// What is trained, on what, and for how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The training steps of the whole run.
    pub steps: u64,
    /// The learning rate.
    pub lr: f64,
    /// Random seed.
    pub seed: u64,
    /// What the recurrent weights start as.
    pub recurrent_init: RecurrentInit,
    /// The window asked for, from which a task makes its number of time steps.
    pub window: usize,
    /// A line of metrics every so many steps.
    pub loss_every: u64,
    /// An evaluation every so many steps, besides the one at the end.
    pub evaluate_every: Option<u64>,
    /// A checkpoint every so many steps, besides the one at the end.
    pub checkpoint_every: u64,
    /// How gradients flow, every so many steps and at the first: [`crate::train::Metrics::Trace`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_gradients: Option<u64>,
    /// Weights to start from.
    pub init: Option<PathBuf>,
    /// The data.
    pub data: Choice,
    /// How a file is read, divided and made into batches.
    #[serde(default, skip_serializing_if = "Reading::is_default")]
    pub reading: Reading,
    /// The network and its training step.
    pub network: Config,
}

impl Settings {
    /// Checks what [`Config::check`] does not: counts of at least 1, and the rate.
    ///
    /// # Errors
    /// [`Error::Usage`] with the name and the number.
    pub fn check(&self) -> Result<()> {
        let counts = [
            ("steps", Some(self.steps)),
            ("loss-every", Some(self.loss_every)),
            ("evaluate-every", self.evaluate_every),
            ("checkpoint-every", Some(self.checkpoint_every)),
            ("trace-gradients", self.trace_gradients),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == Some(0)) {
            return Err(Error::Usage(format!("{name} is 0; it must be at least 1")));
        }
        self.reading.check()?;
        if !(self.lr.is_finite() && self.lr >= 0.0) {
            return Err(Error::Usage(format!("the learning rate is {}; it must be finite and not negative", self.lr)));
        }
        if (self.lr as f32).is_infinite() || (self.lr > 0.0 && self.lr as f32 == 0.0) {
            return Err(Error::Usage(format!("the learning rate is {:e}, beyond f32", self.lr)));
        }
        self.network.check()?;
        if self.network.bidirectional && matches!(self.data, Choice::Text(_)) {
            let problem = "--bidirectional cannot be used with a text: the state is carried from window to window, and the reverse \
                           direction would have to begin at the end of the text";
            return Err(Error::Usage(problem.into()));
        }
        // Of weights that are given it does not count.
        if self.init.is_none() { crate::model::check_start(self.network.cell, self.recurrent_init) } else { Ok(()) }
    }

    /// The configuration of what runs: the network's, and whether it can be traced.
    #[must_use]
    pub fn config(&self) -> Config {
        Config { trace: self.trace_gradients.is_some(), ..self.network.clone() }
    }

    /// Opens the data to train, or to measure their test part; what is `known` is not taken from them.
    ///
    /// # Errors
    /// What the source reports.
    pub fn open(&self, part: Part, known: Known) -> Result<Opened> {
        self.data.open(&self.options(), &self.reading, part, known)
    }

    /// The sizes of its batches.
    #[must_use]
    pub fn options(&self) -> Options {
        Options { seed: self.seed, batch: self.network.batch, window: self.window }
    }
}
