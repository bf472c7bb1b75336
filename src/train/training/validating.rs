//! Validations of a run, and the best network so far.

use std::ops::ControlFlow;

use super::ranks::share_validations;
use super::{Event, Training};
use crate::batch::Loss;
use crate::train::evaluation::evaluate_unless;
use crate::train::{Checkpoint, Folder, Measures, Metrics, Schedule, Settings, Validations};
use crate::{Error, Result};

impl Training {
    /// What the run remembers of its validations when it goes on from a checkpoint. A better network that was kept after the checkpoint stays
    /// the best.
    pub(super) fn validations_after(&mut self, checkpoint: &Checkpoint) -> Result<Validations> {
        let is_same = checkpoint.origin.fingerprints.validate_alike(&self.origin.fingerprints);
        let known = if is_same { checkpoint.validations } else { Validations::default() };
        let best = self.folder.best(&self.origin.fingerprints);
        share_validations(&mut self.network, known.going_on(&self.origin.settings, best))
    }

    /// Whether a validation was due after the last training step and was not made.
    pub(super) fn owes_validation(&self) -> bool {
        self.validations.owe(&self.origin.settings, self.network.steps()) && self.batches.held_out_batches() > 0
    }

    pub(super) fn has_lost_patience(&self) -> bool {
        self.validations.have_lost(self.origin.settings.patience)
    }

    /// Measures the held-out data; returns the loss, and whether it is the best validation; `None` when `watch` asked to stop before it was
    /// known.
    pub(super) fn evaluate(&mut self, watch: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<Option<(f64, bool)>> {
        let step = self.network.steps();
        self.write_profile()?;
        let batches = &self.batches;
        let is_classes = self.origin.settings.network.loss == Loss::CrossEntropy;
        // Of values without units the loss says it all.
        let with_measures = is_classes || self.origin.columns.is_some();
        let mut is_asked = |k| watch(Event::Evaluating(k)).is_break();
        let count = batches.held_out_batches();
        let found = evaluate_unless(&mut self.network, count, Some(&mut is_asked), |k| batches.held_out(k), with_measures)?;
        // The profile is of training.
        self.network.backend().spans()?;
        let Some(found) = found else { return Ok(None) };
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
    pub(super) fn validate(&mut self, watch: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<Option<f64>> {
        if self.batches.held_out_batches() == 0 {
            return Ok(None);
        }
        let found = self.evaluate(watch)?;
        if let Some((_, true)) = found {
            self.save_best(watch)?;
        }
        Ok(found.map(|(loss, _)| loss))
    }

    pub(super) fn save_best(&mut self, watch: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<()> {
        self.gather_for_checkpoint()?;
        let saved = self.written_or_again(watch, Folder::save_best);
        self.agree_on_written(saved)
    }
}
