//! What a run logs: a line for each step that is due, for what was traced, and a profile.

use std::ops::ControlFlow;
use std::time::Instant;

use super::{Event, Training};
use crate::batch::Batch;
use crate::network::Report;
use crate::trace::Trace;
use crate::train::Metrics;
use crate::train::tracing::{Before, flows};
use crate::{Error, Result};

/// The time steps of sequences that a training step reads, padding aside.
#[derive(Default)]
pub(super) struct Tokens {
    /// Since the last line of metrics, and by how many training steps.
    read: u64,
    steps: u64,
    pub(super) mean: f64,
}

impl Tokens {
    pub(super) fn begin(&mut self) {
        (self.read, self.steps) = (0, 0);
    }

    pub(super) fn add(&mut self, batches: &[Batch]) {
        let read = |batch: &Batch| (0..batch.shape().1).map(|b| batch.length(b) as u64).sum::<u64>();
        self.read += batches.iter().map(read).sum::<u64>();
        self.steps += 1;
        self.mean = self.read as f64 / self.steps as f64;
    }
}

impl Training {
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
    pub(super) fn write_profile(&mut self) -> Result<()> {
        let Some(profile) = &mut self.profile else { return Ok(()) };
        let spans = self.network.backend().spans()?;
        profile.write(&spans, self.network.model().program(), &self.network.variant_of())
    }

    /// Looks at what came back. With `wait` at all that is under way.
    pub(super) fn collect(&mut self, wait: bool, watch: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<()> {
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
            self.look_for_explosion(&report, watch)?;
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
    pub(super) fn log_last(&mut self, now: Instant, watch: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<()> {
        let (since, from) = self.mark;
        match self.last.filter(|report| report.step > from) {
            Some(report) => {
                let seconds = now.duration_since(since).as_secs_f64() / (report.step - from) as f64;
                self.log(&report, seconds, watch)
            }
            None => Ok(()),
        }
    }

    pub(super) fn log(&mut self, report: &Report, seconds: f64, watch: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<()> {
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
    pub(super) fn traced_step(
        &mut self,
        batches: &[Batch],
        rate: f64,
        watch: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<()> {
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
}
