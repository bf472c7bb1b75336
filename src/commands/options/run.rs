//! The flags of a run: a model, and how it is trained.

use clap::Args;
use retrospect::data::{Choice, OpenedData, Source, Tokens};
use retrospect::train::{BestBy, OnDivergence, Schedule, Settings};
use retrospect::{Error, Result};

use super::data::FileArgs;
use super::values::{Every, count, every, not_negative, schedule};
use super::{DataCache, ModelArgs};

/// What a run follows from: a model, and how it is trained.
#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// Training steps of the whole run [default: the task's, or 3000]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count())]
    steps: Option<u64>,

    /// Train for as many steps as N passes over the training data take, in whole batches
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count(), conflicts_with_all = ["steps", "task"])]
    epochs: Option<u64>,

    /// Learning rate [default: the task's, or 2e-3]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = not_negative)]
    lr: Option<f64>,

    /// Log the loss every N steps [default: 10]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count())]
    loss_every: Option<u64>,

    /// How the learning rate changes after the warm-up: constant, linear, cosine, step:N:γ, exponential:γ, plateau:N:γ (times γ after
    /// more than N validations that do not lower the best loss by 0.01 %) or onecycle; PyTorch's formulas, with training steps for its epochs [default: constant]
    #[arg(long, value_name = "SCHEDULE", value_parser = schedule)]
    schedule: Option<Schedule>,

    /// Raise the learning rate in equal steps to --lr over the first N training steps [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    warmup: Option<u64>,

    /// Measure on the held-out data every N steps, besides at the end, or at the end alone [default: a tenth of the steps]
    #[arg(long, value_name = "N|off", allow_negative_numbers = true, value_parser = every)]
    evaluate_every: Option<Every>,

    /// Which measure decides the best network, kept as best.safetensors: the lowest loss or the highest accuracy [default: loss]
    #[arg(long, value_name = "METRIC")]
    best: Option<BestBy>,

    /// End the run after N validations in a row without an improvement [default: off]
    #[arg(long, value_name = "N|off", allow_negative_numbers = true, value_parser = every)]
    patience: Option<Every>,

    /// By how much more a validation must be better to count as an improvement [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = not_negative)]
    min_delta: Option<f64>,

    /// When the loss is no longer finite: stop, or go on from the best checkpoint (or the last one) with half the learning rate, three times at
    /// most [default: stop]
    #[arg(long, value_name = "WHAT")]
    on_divergence: Option<OnDivergence>,

    /// Write a checkpoint every N steps, besides at the end [default: 500]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count())]
    checkpoint_every: Option<u64>,

    /// Write the metrics for TensorBoard too: an event file in the run's folder
    #[arg(long)]
    pub tensorboard: bool,

    /// Measure ‖∂L/∂h_t‖ at every time step, the shares of saturated and dead units and the size of updates at the first step and every N:
    /// lines of metrics.jsonl and, at the end, gradients.svg. Takes memory for all states and their gradients [default: off]
    #[arg(long, value_name = "N|off", allow_negative_numbers = true, value_parser = every)]
    trace_gradients: Option<Every>,
}

impl RunArgs {
    /// What a new run follows from, and its data; says which of a task's defaults count.
    pub fn settings(&self, data: &mut DataCache) -> Result<(Settings, OpenedData)> {
        let given: Vec<&str> = [("lr", self.lr.is_some()), ("steps", self.steps.is_some() || self.epochs.is_some())]
            .into_iter()
            .filter(|(_, given)| *given)
            .map(|(flag, _)| flag)
            .collect();
        let (settings, opened) = self.model.settings(&given, data)?;
        let settings = self.changed(Settings { steps: self.steps_of(&settings, &*opened.source)?, ..settings })?;
        // By default a run is validated ten times.
        let evaluate_every = self.evaluate_every.map_or(Some((settings.steps / 10).max(1)), |Every(every)| every);
        Ok((Settings { evaluate_every, ..settings }, opened))
    }

    /// The training steps of the run: those of so many passes over the data, if that is asked for.
    ///
    /// # Errors
    /// [`Error::Usage`] of data that are drawn without end.
    pub fn steps_of(&self, settings: &Settings, source: &dyn Source) -> Result<u64> {
        match (self.epochs, source.batches_in_pass()) {
            (None, _) => Ok(settings.steps),
            (Some(epochs), Some(batches)) => Ok((epochs.saturating_mul(batches) / settings.network.accumulate as u64).max(1)),
            (Some(_), None) => {
                let name = settings.data.name();
                Err(Error::Usage(format!(
                    "--epochs needs data of a fixed size, and the sequences of {name} are drawn without end; use --steps"
                )))
            }
        }
    }

    /// Whether the run is validated while it trains, where something is held out.
    pub fn is_validated(&self) -> bool {
        self.evaluate_every.is_none_or(|Every(every)| every.is_some())
    }

    /// The file that is named, if one is.
    pub fn file(&self) -> Option<Choice> {
        self.model.files.choice()
    }

    /// The seed of the run, and the one that its sequences are held out by where that is another.
    pub fn seeds(&self) -> (u64, Option<u64>) {
        (self.model.seed.seed, self.model.data.split_seed)
    }

    /// The files that are named anew.
    pub fn files(&self) -> &FileArgs {
        &self.model.files
    }

    /// What the tokens of a text are, if that is said.
    pub fn tokens(&self) -> Option<Tokens> {
        self.model.files.tokens
    }

    /// With the options that may also change when a run goes on.
    pub fn changed(&self, settings: Settings) -> Result<Settings> {
        let patience = self.patience.map_or(settings.patience, |Every(most)| most);
        // Without patience no improvement is asked for.
        let min_delta_before = if patience.is_some() { settings.min_delta } else { 0.0 };
        let settings = Settings {
            steps: self.steps.unwrap_or(settings.steps),
            lr: self.lr.unwrap_or(settings.lr),
            loss_every: self.loss_every.unwrap_or(settings.loss_every),
            schedule: self.schedule.unwrap_or(settings.schedule),
            warmup: self.warmup.unwrap_or(settings.warmup),
            evaluate_every: self.evaluate_every.map_or(settings.evaluate_every, |Every(every)| every),
            best_by: self.best.unwrap_or(settings.best_by),
            patience,
            min_delta: self.min_delta.unwrap_or(min_delta_before),
            on_divergence: self.on_divergence.unwrap_or(settings.on_divergence),
            checkpoint_every: self.checkpoint_every.unwrap_or(settings.checkpoint_every),
            trace_gradients: self.trace_gradients.map_or(settings.trace_gradients, |Every(every)| every),
            network: self.model.clip.change(settings.network),
            ..settings
        };
        settings.check()?;
        Ok(settings)
    }
}
