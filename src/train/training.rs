//! The loop over training steps. It stays ahead of the device: losses come back when they are there, and only an evaluation or
//! a checkpoint waits for them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::evaluation::evaluate_unless;
use super::tracing::{Before, flows};
use super::{
    Best, BestBy, Checkpoint, DeviceRecord, Folder, Measures, Metrics, OnDivergence, Origin, Schedule, Settings, Validations,
};
use crate::backend::Compute;
use crate::batch::{Batch, Loss};
use crate::data::{Choice, ClassWeights, Opened, Prefetch, Source};
use crate::model::HISTORY;
use crate::network::{Network, Report};
use crate::tensors::TensorFile;
use crate::trace::Trace;
use crate::{Error, Result};

/// Batches made ahead of the one in use.
const AHEAD: usize = 4;
/// The longest time between two looks at what the device has finished.
const LOOK: Duration = Duration::from_millis(50);

/// How often a run that diverges goes on from its last checkpoint.
const MOST_ROLLBACKS: usize = 3;

/// What happens in a run.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// So many steps were given to the device.
    Step(u64),
    /// A line was added to the metrics.
    Logged(&'a Metrics),
    /// This batch of the held-out data comes next.
    Evaluating(u64),
    /// A checkpoint was written.
    Saved(&'a Path),
    /// The run has diverged, and goes on from an earlier checkpoint.
    RolledBack {
        /// The step that was not finite.
        from: u64,
        /// The step of the checkpoint.
        to: u64,
        /// The learning rate from now on.
        lr: f64,
    },
    /// A checkpoint could not be written. It is tried once more.
    NotSaved(&'a Error),
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The steps taken in all.
    pub steps: u64,
    /// The loss of the last one.
    pub loss: f32,
    /// The mean over the held-out data, if there is any.
    pub validation_loss: Option<f64>,
    /// The best validation, if there was any.
    pub best: Option<Best>,
    /// Whether the run ended before its last step because nothing improved any more.
    pub stopped_early: bool,
    /// The median over the lines of metrics.
    pub ms_per_step: f64,
    /// The last checkpoint.
    pub checkpoint: PathBuf,
}

/// The time steps of sequences that a training step reads, padding aside.
#[derive(Default)]
struct Tokens {
    /// Since the last line of metrics, and by how many training steps.
    read: u64,
    steps: u64,
    mean: f64,
}

impl Tokens {
    fn begin(&mut self) {
        (self.read, self.steps) = (0, 0);
    }

    fn add(&mut self, batches: &[Batch]) {
        let read = |batch: &Batch| (0..batch.shape().1).map(|b| batch.length(b) as u64).sum::<u64>();
        self.read += batches.iter().map(read).sum::<u64>();
        self.steps += 1;
        self.mean = self.read as f64 / self.steps as f64;
    }
}

/// A run under way.
pub struct Training {
    network: Network,
    origin: Origin,
    batches: Prefetch,
    folder: Folder,
    validations: Validations,
    saved: Option<PathBuf>,
    last: Option<Report>,
    /// When the last line of metrics was due, and its step.
    mark: (Instant, u64),
    tokens: Tokens,
    paces: Vec<f64>,
    profile: Option<Trace>,
}

/// Checkpoints name the files of a run in JSON.
fn check_names(settings: &Settings) -> Result<()> {
    let problem = |e| Error::Usage(format!("a checkpoint names the files that its run reads, with their folders, as UTF-8: {e}"));
    serde_json::to_string(settings).map(|_| ()).map_err(problem)
}

/// Both directions read whole sequences.
fn check_direction(settings: &Settings, source: &dyn Source) -> Result<()> {
    if !settings.network.bidirectional || !source.carries() {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "--bidirectional reads whole sequences, and these are cut into windows of {} time steps; --sequence tells the sequences of a table \
         apart, and --window of the longest one reads them whole (a single one with --validation 0)",
        source.window().0
    )))
}

/// What follows from validations needs some.
fn check_validation(settings: &Settings, source: &dyn Source) -> Result<()> {
    let is_validated = source.held_out_batches() > 0;
    let needs = match (settings.patience, settings.schedule, settings.best_by) {
        (Some(_), _, _) => "--patience",
        (None, Schedule::Plateau { .. }, _) => "--schedule plateau",
        // One at the end is enough.
        (None, _, BestBy::Accuracy) if !is_validated => "--best accuracy",
        _ => return Ok(()),
    };
    if is_validated && settings.evaluate_every.is_some() {
        return Ok(());
    }
    let problem = if is_validated { "--evaluate-every is off" } else { "nothing is held out of the data (--validation)" };
    Err(Error::Usage(format!("{needs} needs validations, and {problem}")))
}

impl Training {
    /// A new run: initial weights by the seed, or from the file that the settings name.
    ///
    /// # Errors
    /// What the configuration's check, the file and the backend report.
    pub fn new(settings: Settings, data: Opened, compute: &Compute, folder: impl FnOnce() -> Result<Folder>) -> Result<Training> {
        let init = settings.init.as_ref().map(TensorFile::open).transpose()?;
        init.as_ref().map(TensorFile::verify_checksum).transpose()?;
        let mut network = Network::new(&settings.config(), compute)?;
        match &init {
            Some(weights) => network.load_parameters(weights)?,
            None => network.initialise(settings.seed, settings.recurrent_init)?,
        }
        let validations = Validations::new(settings.schedule.plateau());
        Training::start(network, (settings, validations), data, compute, folder)
    }

    /// A run that goes on from a checkpoint.
    ///
    /// # Errors
    /// [`Error::BadInput`] when the data are no longer those of the checkpoint; what the backend reports.
    pub fn resume(
        checkpoint: &Checkpoint,
        data: Opened,
        compute: &Compute,
        folder: impl FnOnce() -> Result<Folder>,
    ) -> Result<Training> {
        checkpoint.expect_same(&data)?;
        let mut network = Network::new(&checkpoint.origin.settings.config(), compute)?;
        checkpoint.restore(&mut network)?;
        let settings = checkpoint.origin.settings.clone();
        let mut training = Training::start(network, (settings, Validations::default()), data, compute, folder)?;
        training.folder.set_other_best_aside(training.origin.fingerprint.as_ref())?;
        training.validations = training.validations_after(checkpoint);
        training.saved = Some(Checkpoint::path(training.folder()));
        Ok(training)
    }

    /// What the run remembers of its validations when it goes on from a checkpoint. A better network that was kept after the checkpoint stays
    /// the best.
    fn validations_after(&self, checkpoint: &Checkpoint) -> Validations {
        let is_same = checkpoint.origin.fingerprint == self.origin.fingerprint;
        let known = if is_same { checkpoint.validations } else { Validations::default() };
        known.going_on(&self.origin.settings, self.folder.best(self.origin.fingerprint.as_ref()))
    }

    /// The folder comes last: what cannot start leaves none behind.
    fn start(
        mut network: Network,
        (settings, validations): (Settings, Validations),
        mut data: Opened,
        compute: &Compute,
        folder: impl FnOnce() -> Result<Folder>,
    ) -> Result<Training> {
        settings.check()?;
        check_names(&settings)?;
        check_direction(&settings, &*data.source)?;
        check_validation(&settings, &*data.source)?;
        network.set_seed(settings.seed);
        let (step, each) = (network.steps(), settings.network.accumulate as u64);
        if let Choice::Data(path) = &settings.data {
            settings.network.check_batch(&data.source.batch(step * each)).map_err(|error| match error {
                Error::BadInput { what, problem } => Error::input(format!("{}: {what} of a batch", path.display()), problem),
                other => other,
            })?;
        }
        let device = DeviceRecord::new(compute, &network);
        Ok(Training {
            folder: folder()?,
            network,
            batches: Prefetch::new(data.source, step * each, AHEAD),
            origin: Origin {
                settings,
                vocabulary: data.vocabulary,
                columns: data.columns,
                fingerprint: data.fingerprint,
                device,
            },
            validations,
            saved: None,
            last: None,
            mark: (Instant::now(), step),
            tokens: Tokens::default(),
            paces: Vec::new(),
            profile: None,
        })
    }

    /// Writes when each step of the training steps ran to a profile, from here on.
    ///
    /// # Errors
    /// [`Error::Io`]; what the backend reports.
    pub fn profile(&mut self, mut profile: Trace) -> Result<()> {
        profile.process(&self.network.backend().description())?;
        self.network.backend().record(true)?;
        self.profile = Some(profile);
        Ok(())
    }

    /// Hands what was recorded to the profile; waits for the device.
    fn write_profile(&mut self) -> Result<()> {
        let Some(profile) = &mut self.profile else { return Ok(()) };
        let spans = self.network.backend().spans()?;
        profile.write(&spans, self.network.model().program(), &self.network.variant_of())
    }

    /// What the run follows from.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.origin.settings
    }

    /// The data that it read, for a run that reads the same.
    ///
    /// # Panics
    /// When the source of its batches panicked.
    #[must_use]
    pub fn into_data(self) -> Opened {
        let Origin { settings, vocabulary, columns, fingerprint, .. } = self.origin;
        let class_weights = match settings.reading.class_weights {
            Some(ClassWeights::Given(weights)) => Some(weights),
            _ => None,
        };
        Opened { source: self.batches.into_source(), vocabulary, columns, class_weights, notes: Vec::new(), fingerprint }
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The device that it runs on.
    #[must_use]
    pub fn device(&self) -> &DeviceRecord {
        &self.origin.device
    }

    /// Trains to the last step, evaluating and saving on the way and at the end. `watch` hears of all that happens; after
    /// each step, and before each batch of an evaluation, it may ask to stop, and then a checkpoint is written.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when `watch` asked to stop; [`Error::Diverged`] at the first loss, gradient or weight that is not
    /// finite, which is not saved; [`Error::DeviceLost`]; [`Error::NotWritten`]. They name the last checkpoint.
    pub fn run(&mut self, mut watch: impl FnMut(Event) -> ControlFlow<()>) -> Result<Summary> {
        let outcome = self.go_and_roll_back(&mut watch).and_then(|summary| self.write_profile().map(|()| summary));
        let closed = self.profile.take().map_or(Ok(()), Trace::finish);
        outcome.and_then(|summary| closed.map(|()| summary)).map_err(|error| match error {
            Error::Diverged { step, tensor, last_finite, checkpoint } => Error::Diverged {
                step,
                tensor,
                last_finite: last_finite.or(self.last.map(|report| (report.step, report.loss))),
                checkpoint: checkpoint.or_else(|| self.saved.clone()),
            },
            Error::DeviceLost { reason, .. } => Error::DeviceLost { reason, checkpoint: self.saved.clone() },
            Error::Io { path, source } => Error::NotWritten { path, source, checkpoint: self.saved.clone() },
            other => other,
        })
    }

    /// [`Training::go`], and again from an earlier checkpoint when it diverges, where that is asked for.
    fn go_and_roll_back(&mut self, watch: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<Summary> {
        for _ in 0..MOST_ROLLBACKS {
            match (self.go(watch), self.saved.clone()) {
                (Err(Error::Diverged { step, .. }), Some(saved)) if self.can_roll_back() => {
                    let to = self.roll_back(&saved)?;
                    // With the new rate, which is kept even if the program ends now.
                    self.save(watch)?;
                    let _ = watch(Event::RolledBack { from: step, to, lr: self.origin.settings.lr });
                }
                (outcome, _) => return outcome,
            }
        }
        self.go(watch)
    }

    /// Whether it is asked for, and half the learning rate is still a rate in f32.
    fn can_roll_back(&self) -> bool {
        let Settings { on_divergence, lr, .. } = self.origin.settings;
        on_divergence == OnDivergence::Rollback && (lr * 0.5) as f32 > 0.0
    }

    /// Puts the run where its best checkpoint was, or without validations its last one, with half the learning rate; returns the step. The last
    /// one before a divergence may be finite and absurd.
    fn roll_back(&mut self, saved: &Path) -> Result<u64> {
        let best = Checkpoint::best_path(self.folder.path());
        let checkpoint = Checkpoint::read(&best).or_else(|_| Checkpoint::read(saved))?;
        self.network.backend().wait()?;
        checkpoint.restore(&mut self.network)?;
        self.origin.settings.lr *= 0.5;
        self.validations = self.validations_after(&checkpoint);
        self.batches.restart(checkpoint.step * self.origin.settings.network.accumulate as u64);
        self.folder.drop_metrics_after(checkpoint.step)?;
        (self.last, self.mark) = (None, (Instant::now(), checkpoint.step));
        self.tokens.begin();
        Ok(checkpoint.step)
    }

    fn go(&mut self, watch: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<Summary> {
        let Settings { steps, loss_every, evaluate_every, checkpoint_every, trace_gradients, .. } = self.origin.settings;
        let (mut validation_loss, mut stopped_early) = (None, false);
        // From the start there is a checkpoint, so that whatever ends the run leaves one.
        if self.network.steps() == 0 {
            self.save(watch)?;
        }
        // A validation that was interrupted comes first: what follows from validations must not depend on when a run stops.
        if self.owes_validation() {
            validation_loss = self.validate(watch)?;
            let step = self.network.steps();
            if validation_loss.is_none() {
                return Err(Error::Interrupted { step, checkpoint: self.saved.clone() });
            }
            stopped_early = step < steps && self.has_lost_patience();
            // Its line of metrics is written, so that it must not be measured again.
            self.save(watch)?;
        }
        self.mark.0 = Instant::now();
        let mut looked = Instant::now();
        while self.network.steps() < steps && !stopped_early {
            let batches: Vec<Batch> = (0..self.origin.settings.network.accumulate).map(|_| self.batches.next_batch()).collect();
            let next = self.network.steps() + 1;
            let rate = self.origin.settings.rate(next, &self.validations);
            if trace_gradients.is_some_and(|every| next == 1 || next.is_multiple_of(every)) {
                self.traced_step(&batches, rate, watch)?;
            } else {
                self.network.train_step_on(&batches, rate)?;
            }
            self.tokens.add(&batches);
            let step = self.network.steps();
            let due = |every: u64| step.is_multiple_of(every) || step == steps;
            let (evaluating, saving) = (evaluate_every.is_some_and(due) || step == steps, due(checkpoint_every));
            // The ring on the device holds so many steps; what is older is lost.
            let full = step.is_multiple_of(u64::from(HISTORY) / 2);
            if due(loss_every) || full || looked.elapsed() > LOOK {
                self.network.fetch()?;
                self.write_profile()?;
                looked = Instant::now();
            }
            self.collect(evaluating || saving, watch)?;
            let pause = Instant::now();
            let mut is_cut_off = false;
            if evaluating && self.batches.held_out_batches() > 0 {
                validation_loss = self.validate(watch)?;
                is_cut_off = validation_loss.is_none();
            }
            stopped_early = evaluating && step < steps && self.has_lost_patience();
            if stopped_early {
                self.log_last(pause, watch)?;
            }
            if saving || stopped_early {
                self.save(watch)?;
            }
            self.mark.0 += pause.elapsed();
            let stop = watch(Event::Step(step)).is_break() && step < steps && !stopped_early;
            if stop || is_cut_off {
                if !(saving || stopped_early) {
                    self.collect(true, watch)?;
                    self.save(watch)?;
                }
                return Err(Error::Interrupted { step, checkpoint: self.saved.clone() });
            }
        }
        self.paces.sort_by(f64::total_cmp);
        Ok(Summary {
            steps: self.network.steps(),
            loss: self.last.map_or(f32::NAN, |report| report.loss),
            validation_loss,
            best: self.validations.best,
            stopped_early,
            ms_per_step: self.paces.get(self.paces.len() / 2).copied().unwrap_or(f64::NAN),
            checkpoint: self.saved.clone().unwrap_or_default(),
        })
    }

    /// Whether a validation was due after the last training step and was not made.
    fn owes_validation(&self) -> bool {
        self.validations.owe(&self.origin.settings, self.network.steps()) && self.batches.held_out_batches() > 0
    }

    fn has_lost_patience(&self) -> bool {
        self.validations.have_lost(self.origin.settings.patience)
    }

    /// Looks at what came back. With `wait` at all that is under way.
    fn collect(&mut self, wait: bool, watch: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<()> {
        if wait {
            self.network.fetch()?;
        }
        let reports = self.network.reports(wait)?;
        // Reports of several steps may come together: then each has their mean time.
        let (since, from) = self.mark;
        let seconds = reports.last().map_or(0.0, |last| since.elapsed().as_secs_f64() / (last.step - from).max(1) as f64);
        for report in reports {
            if let Some(tensor) = self.network.diverged(&report) {
                return Err(Error::Diverged { step: report.step, tensor, last_finite: None, checkpoint: None });
            }
            self.last = Some(report);
            if report.step.is_multiple_of(self.origin.settings.loss_every) || report.step == self.origin.settings.steps {
                self.log(&report, seconds, watch)?;
                self.tokens.begin();
                self.mark = (Instant::now(), report.step);
            }
        }
        Ok(())
    }

    /// Logs the last training step, when the run ends at one that has no line yet; `now` is when it was done.
    fn log_last(&mut self, now: Instant, watch: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<()> {
        let (since, from) = self.mark;
        match self.last.filter(|report| report.step > from) {
            Some(report) => {
                let seconds = now.duration_since(since).as_secs_f64() / (report.step - from) as f64;
                self.log(&report, seconds, watch)
            }
            None => Ok(()),
        }
    }

    fn log(&mut self, report: &Report, seconds: f64, watch: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<()> {
        self.paces.push(seconds * 1e3);
        let metrics = Metrics::Step {
            step: report.step,
            loss: report.loss,
            grad_norm: report.gradient_norm,
            lr: self.origin.settings.rate(report.step, &self.validations),
            tokens_per_s: self.tokens.mean / seconds,
            ms_per_step: seconds * 1e3,
        };
        self.folder.log(&metrics)?;
        let _ = watch(Event::Logged(&metrics));
        Ok(())
    }

    /// A training step, the same as without, and how gradients of its first batch flow before it. Counts for no more time than the step takes.
    fn traced_step(&mut self, batches: &[Batch], rate: f64, watch: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<()> {
        self.collect(true, watch)?;
        self.write_profile()?;
        let pause = Instant::now();
        let gradients = flows(&mut self.network, &batches[0])?;
        let before = Before::new(&mut self.network, self.folder.path())?;
        // The profile is of training.
        self.network.backend().spans()?;
        self.mark.0 += pause.elapsed();
        self.network.train_step_on(batches, rate)?;
        self.network.backend().wait()?;
        let pause = Instant::now();
        let update_to_weight = before.ratios(&mut self.network)?;
        let metrics = Metrics::Trace { step: self.network.steps(), gradients, update_to_weight };
        self.folder.log(&metrics)?;
        let _ = watch(Event::Logged(&metrics));
        self.mark.0 += pause.elapsed();
        Ok(())
    }

    /// Measures the held-out data; returns the loss, and whether it is the best validation; `None` when `watch` asked to stop before it was
    /// known.
    fn evaluate(&mut self, watch: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<Option<(f64, bool)>> {
        let step = self.network.steps();
        self.write_profile()?;
        let batches = &self.batches;
        let is_classes = self.origin.settings.network.loss == Loss::CrossEntropy;
        // Of values without units the loss says it all.
        let with_measures = is_classes || self.origin.columns.is_some();
        let batch = |k| match watch(Event::Evaluating(k)) {
            ControlFlow::Continue(()) => ControlFlow::Continue(batches.held_out(k)),
            ControlFlow::Break(()) => ControlFlow::Break(()),
        };
        let found = evaluate_unless(&mut self.network, batches.held_out_batches(), batch, with_measures)?;
        // The profile is of training.
        self.network.backend().spans()?;
        let ControlFlow::Continue(found) = found else { return Ok(None) };
        let loss = found.loss;
        if !loss.is_finite() {
            return Err(Error::Diverged { step, tensor: "the validation loss".into(), last_finite: None, checkpoint: None });
        }
        let metrics = Metrics::Evaluation {
            step,
            validation_loss: loss,
            // JSON has no infinity.
            perplexity: is_classes.then(|| loss.exp()).filter(|perplexity| perplexity.is_finite()),
            accuracy: found.measures.as_ref().and_then(Measures::accuracy),
            columns: found
                .measures
                .iter()
                .flat_map(|found| found.columns(self.origin.columns.as_ref(), &self.origin.settings.network.loss))
                .map(Into::into)
                .collect(),
        };
        self.folder.log(&metrics)?;
        let _ = watch(Event::Logged(&metrics));
        let Settings { best_by, min_delta, schedule, .. } = self.origin.settings;
        if let (Schedule::Plateau { patience, factor }, Some(plateau)) = (schedule, &mut self.validations.plateau) {
            plateau.add(loss, patience, factor);
        }
        Ok(Some((loss, self.validations.add(step, &found, best_by, min_delta))))
    }

    /// Measures the held-out data, if there are any, and keeps the network if none was better; returns the loss.
    fn validate(&mut self, watch: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<Option<f64>> {
        if self.batches.held_out_batches() == 0 {
            return Ok(None);
        }
        let found = self.evaluate(watch)?;
        if let Some((_, true)) = found {
            self.save_best(watch)?;
        }
        Ok(found.map(|(loss, _)| loss))
    }

    fn save_best(&mut self, watch: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<()> {
        match self.folder.save_best(&self.origin, &self.validations, &mut self.network) {
            Err(error @ Error::Io { .. }) => {
                let _ = watch(Event::NotSaved(&error));
                self.folder.save_best(&self.origin, &self.validations, &mut self.network)
            }
            saved => saved,
        }
    }

    fn save(&mut self, watch: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<()> {
        let path = match self.folder.save(&self.origin, &self.validations, &mut self.network) {
            Err(error @ Error::Io { .. }) => {
                let _ = watch(Event::NotSaved(&error));
                self.folder.save(&self.origin, &self.validations, &mut self.network)?
            }
            saved => saved?,
        };
        let _ = watch(Event::Saved(&path));
        self.saved = Some(path);
        Ok(())
    }
}
