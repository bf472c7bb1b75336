//! The loop over training steps. It stays ahead of the device: losses come back when they are there, and only an evaluation or
//! a checkpoint waits for them.

mod again;
mod checks;
mod explosion;
mod logging;
mod ranks;
mod validating;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use self::checks::{check_direction, check_names, check_validation};
use self::explosion::Explosion;
use self::logging::Tokens;
use super::{Best, Checkpoint, DeviceRecord, Folder, Metrics, OnDivergence, Origin, Settings, Validations};
use crate::backend::Compute;
use crate::batch::Batch;
use crate::data::{Choice, ClassWeights, Fingerprints, OpenedData, Part, Prefetch};
use crate::model::holds_masks_alone;
use crate::network::{Network, Report};
use crate::ranks::{Alone, Collective};
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
    /// The loss has become more than a hundred times that of the first training step.
    Exploded {
        /// The training step.
        step: u64,
        /// Its loss.
        loss: f32,
        /// That of the first one.
        first: f32,
        /// Where the checkpoint from before stays until the run ends well.
        kept: &'a Path,
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
    /// Where the loss was more than a hundred times the first one and has not come back to it, the last checkpoint from before.
    pub before_explosion: Option<PathBuf>,
}

/// A run under way.
pub struct Training {
    network: Network,
    origin: Origin,
    batches: Prefetch,
    folder: Folder,
    validations: Validations,
    /// Whether the ranks that train it have different devices.
    is_mixed: bool,
    saved: Option<PathBuf>,
    explosion: Explosion,
    last: Option<Report>,
    /// When the last line of metrics was due, and its step.
    mark: (Instant, u64),
    tokens: Tokens,
    paces: Vec<f64>,
    profile: Option<Trace>,
}

impl Training {
    /// A new run: initial weights by the seed, or from the file that the settings name, which may also have masks alone.
    ///
    /// # Errors
    /// What the configuration's check, the file and the backend report.
    pub fn new(
        settings: Settings,
        data: OpenedData,
        compute: &Compute,
        folder: impl FnOnce() -> Result<Folder>,
    ) -> Result<Training> {
        Training::new_together(settings, data, compute, Box::new(Alone::default()), folder)
    }

    /// The same for a rank of several that train it together, of which the first one alone opens the folder and writes. All ranks are given the
    /// same settings and data.
    ///
    /// # Errors
    /// As [`Training::new`]; [`Error::Usage`] when settings or data are not the same everywhere; [`Error::RankLost`].
    pub fn new_together(
        settings: Settings,
        data: OpenedData,
        compute: &Compute,
        collective: Box<dyn Collective>,
        folder: impl FnOnce() -> Result<Folder>,
    ) -> Result<Training> {
        let init = settings.init.as_ref().map(TensorFile::open).transpose()?;
        init.as_ref().map(TensorFile::verify_checksum).transpose()?;
        let mut network = Network::with_ranks(&settings.config(), compute, collective)?;
        match &init {
            Some(weights) if !holds_masks_alone(weights) => network.load_parameters(weights)?,
            Some(masks) => {
                network.initialise(settings.seed, settings.recurrent_init)?;
                network.load_masks(masks)?;
            }
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
        data: OpenedData,
        compute: &Compute,
        folder: impl FnOnce() -> Result<Folder>,
    ) -> Result<Training> {
        Training::resume_together(checkpoint, data, compute, Box::new(Alone::default()), folder)
    }

    /// The same for a rank of several that train it together: they may be others than before. All are given the same checkpoint.
    ///
    /// # Errors
    /// As [`Training::resume`] and [`Training::new_together`].
    pub fn resume_together(
        checkpoint: &Checkpoint,
        data: OpenedData,
        compute: &Compute,
        collective: Box<dyn Collective>,
        folder: impl FnOnce() -> Result<Folder>,
    ) -> Result<Training> {
        checkpoint.expect_same(&data, Part::Validation)?;
        let test = checkpoint.origin.fingerprints.test.clone().or(data.fingerprints.test);
        let data = OpenedData { fingerprints: Fingerprints { test, ..data.fingerprints }, ..data };
        let mut network = Network::with_ranks(&checkpoint.origin.settings.config(), compute, collective)?;
        checkpoint.restore(&mut network)?;
        let settings = checkpoint.origin.settings.clone();
        let mut training = Training::start(network, (settings, Validations::default()), data, compute, folder)?;
        training.folder.set_other_best_aside(&training.origin.fingerprints)?;
        training.validations = training.validations_after(checkpoint)?;
        training.saved = Some(Checkpoint::path(training.folder()));
        training.explosion.first = training.folder.first_loss();
        Ok(training)
    }

    /// The folder comes last: what cannot start leaves none behind.
    fn start(
        mut network: Network,
        (settings, validations): (Settings, Validations),
        mut data: OpenedData,
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
        let is_mixed = ranks::agree(&mut network, &settings, &data.fingerprints, &device)?;
        Ok(Training {
            folder: ranks::open_folder(&mut network, folder)?,
            network,
            is_mixed,
            batches: Prefetch::new(data.source, step * each, AHEAD),
            origin: Origin {
                settings,
                vocabulary: data.vocabulary,
                columns: data.columns,
                fingerprints: data.fingerprints,
                device,
            },
            validations,
            saved: None,
            explosion: Explosion::default(),
            last: None,
            mark: (Instant::now(), step),
            tokens: Tokens::default(),
            paces: Vec::new(),
            profile: None,
        })
    }

    /// Ends in order with the other ranks, after a run that has ended or was interrupted; of a run of one process it is nothing. Whoever
    /// ends without it counts as lost for the others.
    ///
    /// # Errors
    /// [`Error::RankLost`].
    pub fn finish(&mut self) -> Result<()> {
        self.network.finish()
    }

    /// Tells the other ranks that this one ends without them, where its network cannot be dropped.
    pub fn leave_ranks(&mut self) {
        self.network.leave_ranks();
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
    pub fn into_data(self) -> OpenedData {
        let Origin { settings, vocabulary, columns, fingerprints, .. } = self.origin;
        let class_weights = match settings.reading.class_weights {
            Some(ClassWeights::Given(weights)) => Some(weights),
            _ => None,
        };
        OpenedData {
            source: self.batches.into_source(),
            vocabulary,
            columns,
            class_weights,
            notes: Vec::new(),
            measured_ids: Vec::new(),
            fingerprints,
        }
    }

    /// The training steps taken.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.network.steps()
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
            other => self.with_checkpoint(other),
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
        self.network.backend().wait()?;
        let checkpoint = self.restore_from_first(|| match Checkpoint::read(&best) {
            Ok(checkpoint) => Ok((checkpoint, best)),
            Err(_) => Checkpoint::read(saved).map(|checkpoint| (checkpoint, saved.to_owned())),
        })?;
        self.origin.settings.lr *= 0.5;
        self.validations = self.validations_after(&checkpoint)?;
        self.batches.restart(checkpoint.step * self.origin.settings.network.accumulate as u64);
        self.folder.drop_metrics_after(checkpoint.step)?;
        (self.last, self.mark) = (None, (Instant::now(), checkpoint.step));
        self.tokens.begin();
        Ok(checkpoint.step)
    }

    fn go(&mut self, watch: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<Summary> {
        let Settings { steps, evaluate_every, checkpoint_every, trace_gradients, .. } = self.origin.settings;
        let mut validation_loss = self.begin(watch)?;
        let mut stopped_early = validation_loss.is_some() && self.network.steps() < steps && self.has_lost_patience();
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
            let looking = self.is_look_due(step, looked.elapsed() > LOOK);
            if looking {
                self.network.fetch()?;
                self.write_profile()?;
                looked = Instant::now();
            }
            self.collect(evaluating || saving || (looking && self.network.rank().1 > 1), watch)?;
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
            let is_asked = watch(Event::Step(step)).is_break();
            let stop = self.network.agree_to_stop(is_asked) && step < steps && !stopped_early;
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
            before_explosion: self.end_explosion()?,
        })
    }

    /// What comes before the first training step: a checkpoint of a new run, so that whatever ends it leaves one; and a validation that was
    /// interrupted, since what follows from validations must not depend on when a run stops. Returns its loss.
    fn begin(&mut self, watch: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<Option<f64>> {
        if self.network.steps() == 0 {
            self.save(watch)?;
        }
        if !self.owes_validation() {
            return Ok(None);
        }
        let Some(loss) = self.validate(watch)? else {
            return Err(Error::Interrupted { step: self.network.steps(), checkpoint: self.saved.clone() });
        };
        // Its line of metrics is written, so that it must not be measured again.
        self.save(watch)?;
        Ok(Some(loss))
    }

    fn save(&mut self, watch: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<()> {
        self.gather_for_checkpoint()?;
        let saved = self.written_or_again(watch, Folder::save);
        self.agree_on_written(saved)?;
        let path = self.folder.checkpoint();
        let _ = watch(Event::Saved(&path));
        self.saved = Some(path);
        Ok(())
    }

    /// What came of writing a checkpoint, which is tried once more where a file cannot be written.
    fn written_or_again(
        &mut self,
        watch: &mut dyn FnMut(Event) -> ControlFlow<()>,
        write: fn(&Folder, &Origin, &Validations, &mut Network) -> Result<()>,
    ) -> Result<()> {
        match write(&self.folder, &self.origin, &self.validations, &mut self.network) {
            Err(error @ Error::Io { .. }) => {
                let _ = watch(Event::NotSaved(&error));
                write(&self.folder, &self.origin, &self.validations, &mut self.network)
            }
            written => written,
        }
    }
}
