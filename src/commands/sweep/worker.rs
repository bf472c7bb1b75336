//! What trains runs of a sweep, one after the other; several may work at once.

use std::ops::ControlFlow;
use std::path::Path;

use retrospect::backend::Compute;
use retrospect::train::{Checkpoint, Event, Folder, Header, Overview, Training};
use retrospect::{Error, Result};

use super::record::Failure;
use super::{UnderWay, locked};
use crate::commands::options::DataCache;
use crate::commands::tensorboard::Events;
use crate::commands::terminal::{note, significant, thousands};
use crate::commands::train::{draw, write_run_file};
use crate::commands::trained::load_last;

/// A place to compute, and the data of the run before.
pub struct Worker<'a> {
    sweep: &'a UnderWay<'a>,
    compute: Compute,
    data: DataCache,
}

impl<'a> Worker<'a> {
    /// One of those that work at once is enough to say what the data are.
    pub fn new(sweep: &'a UnderWay<'a>, compute: Compute, is_quiet: bool) -> Worker<'a> {
        Worker { sweep, compute, data: DataCache::new(is_quiet) }
    }

    /// Trains a run to its goal. What is wrong with one alone is kept in the record.
    pub fn advance(&mut self, place: usize, rung: u32) -> Result<()> {
        if self.sweep.record().runs[place].failed.is_some() {
            return Ok(());
        }
        match self.train(place, rung) {
            Ok(()) => Ok(()),
            // Alone it may fit.
            Err(Error::DoesNotFit { what, needed, available, .. }) if self.sweep.jobs > 1 => {
                let advice = format!("{} runs train at once; --jobs 1 trains one at a time", self.sweep.jobs);
                Err(Error::DoesNotFit { what, needed, available, advice })
            }
            Err(error @ (Error::Usage(_) | Error::BadInput { .. })) if Overview::is_run(&self.sweep.path(place)) => Err(error),
            Err(
                error @ (Error::Usage(_)
                | Error::BadInput { .. }
                | Error::Diverged { .. }
                | Error::NotFinite { .. }
                | Error::DoesNotFit { .. }),
            ) => {
                let mut record = self.sweep.record();
                note(format_args!("{}: {error}", record.runs[place].name));
                let is_lasting = !matches!(error, Error::Usage(_) | Error::BadInput { .. });
                record.runs[place].failed = Some(Failure { why: error.to_string(), is_lasting });
                *locked(&self.sweep.last_failure) = Some(error);
                record.write(self.sweep.folder)
            }
            Err(error) => Err(error),
        }
    }

    fn train(&mut self, place: usize, rung: u32) -> Result<()> {
        let path = self.sweep.path(place);
        let known = Overview::is_run(&path).then(|| Overview::read(&path)).transpose()?;
        if let Some(run) = &known {
            let Header { settings, step, validations, .. } = &run.header;
            let is_there = *step >= UnderWay::goal(settings, rung)? && !validations.owe(settings, *step);
            if is_there || validations.have_lost(settings.patience) {
                return Ok(());
            }
        }
        let mut training = if known.is_some() { self.go_on(place, &path)? } else { self.begin(place, &path)? };
        let settings = training.settings().clone();
        let goal = UnderWay::goal(&settings, rung)?;
        let interrupt = &self.sweep.interrupt;
        let mut events = Events::wanted(self.sweep.all[place].options.tensorboard, &training)?;
        let mut is_paused = false;
        let outcome = training.run(|event| {
            events.hear(event);
            match event {
                Event::Step(step) if step >= goal && step < settings.steps => {
                    is_paused = true;
                    ControlFlow::Break(())
                }
                _ if interrupt.is_asked() => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        });
        self.data.keep(&settings, training.into_data());
        match outcome {
            // It waits for the others.
            Err(Error::Interrupted { .. }) if is_paused => {}
            outcome => outcome.map(|_| ())?,
        }
        if let Err(error) = draw(&path) {
            note(format_args!("There is no figure or table of the metrics: {error}"));
        }
        self.tell(place, &path)
    }

    /// A new run.
    fn begin(&mut self, place: usize, path: &Path) -> Result<Training> {
        let (settings, opened) = self.sweep.all[place].options.settings(&mut self.data)?;
        self.sweep.all[place].tune.prepare_network(&mut self.compute, &settings.network)?;
        let training = Training::new(settings, opened, &self.compute, || Folder::create(path))?;
        write_run_file(&training)?;
        Ok(training)
    }

    /// A run that was left before its goal.
    fn go_on(&mut self, place: usize, path: &Path) -> Result<Training> {
        let folder = Folder::of_run(path)?;
        let (mut checkpoint, read) = load_last(path)?;
        let settings = checkpoint.origin.settings.clone();
        let from = (&settings.data, settings.options(), &settings.reading, settings.init.clone());
        let opened = self.data.open(from, || checkpoint.reopen(None, false))?;
        self.sweep.all[place].tune.prepare_network(&mut self.compute, &settings.network)?;
        Training::resume(&checkpoint, opened, &self.compute, || {
            if read == Checkpoint::previous_path(path) {
                folder.restore_previous()?;
            }
            folder.drop_metrics_after(checkpoint.step)?;
            Ok(folder)
        })
    }

    /// Says what a run has come to.
    fn tell(&self, place: usize, path: &Path) -> Result<()> {
        let run = Overview::read(path)?;
        let found = match run.header.validations.best {
            Some(best) => format!("best validation {} at step {}", significant(best.value), thousands(best.step)),
            None => run.loss().map_or("no loss".into(), |loss| format!("loss {}", significant(loss))),
        };
        let (step, steps) = (thousands(run.header.step), thousands(run.header.settings.steps));
        note(format_args!("{}: step {step} of {steps}, {found}", self.sweep.record().runs[place].name));
        Ok(())
    }
}
