//! All that a run follows from, besides the device: written into its folder and its checkpoints.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::schedule::{Place, Schedule};
use super::validations::{BestBy, Validations};
use crate::batch::TargetKind;
use crate::data::{Choice, Known, OpenedData, Options, Part, Reading};
use crate::model::{Config, RecurrentInit};
use crate::{Error, Result};

/// What a run does when its loss, a gradient or a weight is no longer finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum OnDivergence {
    /// It ends, with the last checkpoint named.
    #[default]
    Stop,
    /// It goes on from its best checkpoint, or without validations its last one, with half the learning rate, three times at most.
    Rollback,
}

/// What is trained, on what, and for how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The training steps of the whole run.
    pub steps: u64,
    /// The learning rate. The schedule multiplies it by a factor at each training step.
    pub lr: f64,
    /// How the learning rate changes.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub schedule: Schedule,
    /// Training steps over which the learning rate rises to [`Settings::lr`].
    #[serde(default, skip_serializing_if = "is_usual")]
    pub warmup: u64,
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
    /// Which validation is the best one, whose network is kept.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub best_by: BestBy,
    /// After so many validations in a row without an improvement the run ends. `None`: it ends after its last step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
    /// By how much more a validation must be better to count as an improvement.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub min_delta: f64,
    /// What happens when it diverges.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub on_divergence: OnDivergence,
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

fn is_usual<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Settings {
    /// 3,000 training steps at a constant rate of 2e-3, with a line of metrics every 10 and a checkpoint every 500, on data that are read as
    /// they usually are, of which windows are as long as the network's.
    #[must_use]
    pub fn new(data: Choice, network: Config) -> Settings {
        Settings {
            steps: 3000,
            lr: 2e-3,
            schedule: Schedule::Constant,
            warmup: 0,
            seed: 1,
            recurrent_init: RecurrentInit::Uniform,
            window: network.window,
            loss_every: 10,
            evaluate_every: None,
            best_by: BestBy::Loss,
            patience: None,
            min_delta: 0.0,
            on_divergence: OnDivergence::Stop,
            checkpoint_every: 500,
            trace_gradients: None,
            init: None,
            data,
            reading: Reading::default(),
            network,
        }
    }

    /// The learning rate of a training step, counted from 1, of a run with these validations behind it.
    #[must_use]
    pub fn rate(&self, step: u64, validations: &Validations) -> f64 {
        let plateau = validations.plateau.map_or(1.0, |plateau| plateau.factor);
        self.lr * self.schedule.factor(Place { step, steps: self.steps, warmup: self.warmup, plateau })
    }

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
            ("patience", self.patience),
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
        self.schedule.check()?;
        if self.warmup > 0 && self.schedule == Schedule::OneCycle {
            return Err(Error::Usage("schedule onecycle has a warm-up of its own; leave --warmup out".into()));
        }
        if self.warmup > self.steps {
            let (warmup, steps) = (self.warmup, self.steps);
            return Err(Error::Usage(format!("--warmup {warmup}: it does not end, since the run has {steps} training steps")));
        }
        if self.min_delta > 0.0 && self.patience.is_none() {
            return Err(Error::Usage("--min-delta is for runs with --patience".into()));
        }
        if !(self.min_delta.is_finite() && self.min_delta >= 0.0) {
            return Err(Error::Usage(format!("min-delta is {}; it must be finite and not negative", self.min_delta)));
        }
        if self.best_by == BestBy::Accuracy && self.network.loss.target_kind() != TargetKind::Classes {
            return Err(Error::Usage("--best accuracy: it is of classes, and this network predicts values".into()));
        }
        self.network.check()?;
        if self.network.bidirectional && matches!(self.data, Choice::Text(_)) {
            let problem = "--bidirectional cannot be used with a text: the state is carried from window to window, and the reverse \
                           direction would have to begin at the end of the text";
            return Err(Error::Usage(problem.into()));
        }
        // Of weights that are given it does not count.
        if self.init.is_none() { crate::model::check_start(&self.network, self.recurrent_init) } else { Ok(()) }
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
    pub fn open(&self, part: Part, known: Known) -> Result<OpenedData> {
        self.data.open(&self.options(), &self.reading, part, known)
    }

    /// The sizes of its batches.
    #[must_use]
    pub fn options(&self) -> Options {
        Options { seed: self.seed, batch: self.network.batch, window: self.window }
    }
}
