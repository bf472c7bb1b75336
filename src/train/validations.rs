//! What a run remembers of its validations: the best one, for how long there was no better, and what plateaus have made of the rate.

use serde::{Deserialize, Serialize};

use super::{Evaluation, Settings};

/// Which number of a validation tells the better network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum BestBy {
    /// The lowest loss.
    #[default]
    Loss,
    /// The highest accuracy.
    Accuracy,
}

impl BestBy {
    /// Its name in sentences.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            BestBy::Loss => "validation loss",
            BestBy::Accuracy => "validation accuracy",
        }
    }

    /// The number of a validation; `None` where it has none: values have no accuracy.
    fn value(self, evaluation: &Evaluation) -> Option<f64> {
        match self {
            BestBy::Loss => Some(evaluation.loss),
            BestBy::Accuracy => evaluation.measures.as_ref().and_then(|measures| measures.accuracy()),
        }
    }

    /// By how much a number is better than another.
    fn gain(self, value: f64, than: f64) -> f64 {
        match self {
            BestBy::Loss => than - value,
            BestBy::Accuracy => value - than,
        }
    }
}

/// The best validation of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// After how many training steps it was.
    pub step: u64,
    /// Its loss or accuracy.
    pub value: f64,
    /// Which of them.
    pub metric: BestBy,
}

/// What a run remembers of its validations.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Validations {
    /// After how many training steps the last one was.
    pub(super) last_step: Option<u64>,
    /// The best one.
    pub best: Option<Best>,
    /// The value at the last improvement.
    improved_to: Option<f64>,
    /// The validations since then.
    pub without_improvement: u64,
    /// Of a schedule that looks for plateaus.
    pub(super) plateau: Option<Plateau>,
}

impl Validations {
    /// Those of a run that has made none.
    pub(super) fn new(plateau: Option<Plateau>) -> Validations {
        Validations { plateau, ..Validations::default() }
    }

    /// The same of a run that goes on: by the plateaus and the measure of its own settings, with the best that is kept, and as patient as at
    /// the start if it has ended early before.
    pub(super) fn going_on(self, settings: &Settings, kept: Option<Best>) -> Validations {
        let plateau = settings.schedule.plateau().map(|new| self.plateau.unwrap_or(new));
        let has_ended = self.have_lost(settings.patience);
        let is_by = |best: &Best| best.metric == settings.best_by;
        let better = |a: Best, b: Best| if settings.best_by.gain(b.value, a.value) > 0.0 { b } else { a };
        let best = self.best.into_iter().chain(kept).filter(is_by).reduce(better);
        // Losses and accuracies are not compared.
        let is_measured_alike = self.best.is_none_or(|best| is_by(&best));
        Validations {
            plateau,
            best,
            improved_to: self.improved_to.filter(|_| is_measured_alike),
            without_improvement: if has_ended || !is_measured_alike { 0 } else { self.without_improvement },
            ..self
        }
    }

    /// Whether the validation after so many training steps is due and was not made, in a run that holds something out.
    #[must_use]
    pub fn owe(&self, settings: &Settings, step: u64) -> bool {
        let is_due = settings.evaluate_every.is_some_and(|every| step.is_multiple_of(every)) || step == settings.steps;
        step > 0 && is_due && self.last_step < Some(step)
    }

    /// Whether so many in a row, if a number is set, brought no improvement that a run ends.
    #[must_use]
    pub fn have_lost(&self, patience: Option<u64>) -> bool {
        patience.is_some_and(|most| self.without_improvement >= most)
    }

    /// Takes a validation after `step` training steps into account; returns whether it is the best. An improvement is one by more than
    /// `min_delta`.
    pub(super) fn add(&mut self, step: u64, evaluation: &Evaluation, by: BestBy, min_delta: f64) -> bool {
        self.last_step = Some(step);
        let Some(value) = by.value(evaluation) else { return false };
        let is_best = self.best.is_none_or(|best| by.gain(value, best.value) > 0.0);
        if is_best {
            self.best = Some(Best { step, value, metric: by });
        }
        if self.improved_to.is_none_or(|before| by.gain(value, before) > min_delta) {
            (self.improved_to, self.without_improvement) = (Some(value), 0);
        } else {
            self.without_improvement += 1;
        }
        is_best
    }
}

/// How far a schedule is that lowers the rate on plateaus of the validation loss, as PyTorch's ReduceLROnPlateau with its usual threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    best: Option<f64>,
    without_improvement: u64,
    /// What the rate is multiplied by.
    pub(super) factor: f64,
}

impl Default for Plateau {
    fn default() -> Plateau {
        Plateau { best: None, without_improvement: 0, factor: 1.0 }
    }
}

impl Plateau {
    /// Takes a validation loss into account.
    pub(super) fn add(&mut self, loss: f64, patience: u64, factor: f64) {
        if self.best.is_none_or(|best| loss < best * (1.0 - 1e-4)) {
            (self.best, self.without_improvement) = (Some(loss), 0);
            return;
        }
        self.without_improvement += 1;
        if self.without_improvement > patience {
            self.factor *= factor;
            self.without_improvement = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The losses and rates of `scripts/pytorch_optimizers.py`.
    #[test]
    fn plateaus_are_pytorch_s() {
        let losses = [3.0, 2.0, 2.1, 1.99995, 2.2, 2.3, 1.5, 1.6, 1.6, 1.6, 1.6, 1.6, 1.6, 1.4, 1.39999, 1.5, 1.5, 1.5, 1.5, 1.0];
        let rates = [
            0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.05, 0.025, 0.025, 0.025, 0.0125, 0.0125, 0.0125, 0.0125, 0.00625,
            0.00625, 0.00625, 0.00625,
        ];
        let mut plateau = Plateau::default();
        for (loss, rate) in losses.into_iter().zip(rates) {
            plateau.add(loss, 2, 0.5);
            assert_eq!(0.1 * plateau.factor, rate, "after {loss}");
        }
    }

    #[test]
    fn the_best_stays_and_what_is_hardly_better_is_no_improvement() {
        let evaluation = |loss| Evaluation { loss, counted: 1, measures: None, sequences: BTreeMap::new() };
        let mut all = Validations::new(None);
        let mut add = |step, loss| all.add(step, &evaluation(loss), BestBy::Loss, 0.1);
        assert!(add(10, 2.0) && !add(20, 2.5) && add(30, 1.95) && !add(40, 1.95) && add(50, 1.88));
        assert_eq!((all.best, all.without_improvement), (Some(Best { step: 50, value: 1.88, metric: BestBy::Loss }), 0));
        assert!(!all.add(60, &evaluation(1.9), BestBy::Loss, 0.1) && all.without_improvement == 1);
        // Values have no accuracy.
        assert!(!all.add(70, &evaluation(0.1), BestBy::Accuracy, 0.0) && all.without_improvement == 1);
    }
}
