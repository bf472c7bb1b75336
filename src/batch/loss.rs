//! How outputs are measured: the losses, their names, what each output weighs and what a mean divides by.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use ndarray::s;
use serde::{Deserialize, Serialize};

use super::{Batch, Reduction, Targets};

/// What the loss of an error-to-signal ratio adds to the mean square of the targets, so that silence divides by more than 0.
const SILENCE: f64 = 1e-5;

/// What the loss of Nash & Sutcliffe adds to a deviation, so that a sequence that hardly varies does not outweigh all others (Kratzert et
/// al., *Towards learning universal, regional, and local hydrological behaviors via machine learning applied to large-sample datasets*,
/// 2019, has 0.1).
const LEAST_DEVIATION: f64 = 0.1;

/// The threshold of Huber's loss where none is given, as PyTorch's.
const USUAL_THRESHOLD: f32 = 1.0;

/// What a network is measured by. The loss of a window is the weighted sum over its outputs; that of a vector is the mean over its
/// components. With e = output − target:
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Loss {
    /// Softmax cross-entropy with a class a step, in nats.
    CrossEntropy,
    /// e².
    SquaredError,
    /// |e|.
    AbsoluteError,
    /// e²/2 up to |e| = δ, which is given, and δ·(|e| − δ/2) beyond, as PyTorch's `HuberLoss`.
    Huber(f32),
    /// The cross-entropy of several labels, each in \[0, 1\]; an output is the logit of its label, as of PyTorch's `BCEWithLogitsLoss`.
    BinaryCrossEntropy,
    /// The pinball loss max(−q·e, (1 − q)·e) of each of these quantiles q, in (0, 1): the outputs of a target are one behind the other.
    Quantile(Vec<f32>),
    /// Σe² over Σ target², of all outputs of a batch that count; 1e-5 is added to the mean of target².
    ErrorToSignal,
    /// e² over (s + 0.1)², where s is the standard deviation of the targets of a sequence: [`Batch::deviations`].
    NashSutcliffe,
}

/// The kind of targets that a loss measures against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// [`Targets::Classes`].
    Classes,
    /// [`Targets::Values`].
    Values,
}

impl TargetKind {
    /// The loss that targets of this kind are measured by where nothing else is said.
    #[must_use]
    pub fn usual_loss(self) -> Loss {
        match self {
            TargetKind::Classes => Loss::CrossEntropy,
            TargetKind::Values => Loss::SquaredError,
        }
    }

    /// What they are called in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TargetKind::Classes => "classes",
            TargetKind::Values => "values",
        }
    }
}

impl Targets {
    /// Their kind.
    #[must_use]
    pub fn kind(&self) -> TargetKind {
        match self {
            Targets::Classes(_) => TargetKind::Classes,
            Targets::Values(_) => TargetKind::Values,
        }
    }
}

impl Loss {
    /// The names of all losses, each with its short form: what [`Loss::from_str`] takes, and `huber:δ` besides. The quantiles of the pinball
    /// loss have no name of their own.
    pub const NAMES: [[&str; 2]; 7] = [
        ["cross-entropy", "ce"],
        ["squared-error", "mse"],
        ["absolute-error", "mae"],
        ["huber", "huber:X"],
        ["binary-cross-entropy", "bce"],
        ["error-to-signal", "esr"],
        ["nash-sutcliffe", "nse"],
    ];

    /// The kind of targets that it measures against.
    #[must_use]
    pub fn target_kind(&self) -> TargetKind {
        if *self == Loss::CrossEntropy { TargetKind::Classes } else { TargetKind::Values }
    }

    /// The number of outputs for each component of a target.
    #[must_use]
    pub fn outputs_per_target(&self) -> usize {
        match self {
            Loss::Quantile(levels) => levels.len().max(1),
            _ => 1,
        }
    }

    /// The component of the target that an output is measured against, and the quantile that it is.
    #[must_use]
    pub fn target_of(&self, output: usize) -> (usize, Option<f32>) {
        match self {
            Loss::Quantile(levels) if !levels.is_empty() => (output / levels.len(), Some(levels[output % levels.len()])),
            _ => (output, None),
        }
    }

    /// The name of an output: that of the component of the target that it is measured against, with the quantile if it is one.
    #[must_use]
    pub fn output_name(&self, target: &str, output: usize) -> String {
        self.target_of(output).1.map_or(target.to_owned(), |level| format!("{target} q{level}"))
    }

    /// What an output predicts: of a logit of a label its probability, else the output itself.
    #[must_use]
    pub fn prediction(&self, output: f32) -> f32 {
        if *self == Loss::BinaryCrossEntropy { 1.0 / (1.0 + (-output).exp()) } else { output }
    }

    /// Checks its numbers.
    pub(crate) fn problem(&self) -> Option<String> {
        match self {
            Loss::Huber(threshold) if !(*threshold > 0.0 && threshold.is_finite()) => {
                Some(format!("the threshold of the Huber loss is {threshold}; it must be positive and finite"))
            }
            Loss::Quantile(levels) if levels.is_empty() => Some("the quantile loss has no quantile".into()),
            Loss::Quantile(levels) => {
                let wrong = levels.iter().find(|level| !(**level > 0.0 && **level < 1.0));
                wrong.map(|level| format!("the quantile {level} is not in (0, 1)"))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Loss::CrossEntropy => f.write_str("cross-entropy"),
            Loss::SquaredError => f.write_str("squared error"),
            Loss::AbsoluteError => f.write_str("absolute error"),
            Loss::Huber(threshold) => write!(f, "Huber loss of {threshold}"),
            Loss::BinaryCrossEntropy => f.write_str("binary cross-entropy"),
            Loss::Quantile(levels) => {
                let levels: Vec<String> = levels.iter().map(f32::to_string).collect();
                write!(f, "quantiles {}", levels.join(", "))
            }
            Loss::ErrorToSignal => f.write_str("error-to-signal ratio"),
            Loss::NashSutcliffe => f.write_str("Nash-Sutcliffe loss"),
        }
    }
}

impl FromStr for Loss {
    type Err = String;

    fn from_str(text: &str) -> Result<Loss, String> {
        let loss = match text {
            "cross-entropy" | "ce" => Loss::CrossEntropy,
            "squared-error" | "mse" => Loss::SquaredError,
            "absolute-error" | "mae" => Loss::AbsoluteError,
            "huber" => Loss::Huber(USUAL_THRESHOLD),
            "binary-cross-entropy" | "bce" => Loss::BinaryCrossEntropy,
            "error-to-signal" | "esr" => Loss::ErrorToSignal,
            "nash-sutcliffe" | "nse" => Loss::NashSutcliffe,
            _ => match text.strip_prefix("huber:").map(f32::from_str) {
                Some(Ok(threshold)) => Loss::Huber(threshold),
                _ => {
                    let names = Loss::NAMES.map(|[name, short]| format!("{name} ({short})"));
                    return Err(format!("there is no loss of this name; there are {}", names.join(", ")));
                }
            },
        };
        loss.problem().map_or(Ok(loss), Err)
    }
}

impl Batch {
    /// The weight of each output in a loss, `[T·B]`, row `t·B + b`: 0 where it does not count; divided by [`Batch::total_weight`] for a mean.
    /// That of an output that counts is the weight of its class, for Nash & Sutcliffe 1 over the squared deviation of its sequence, and
    /// else 1.
    #[must_use]
    pub fn weights(&self, loss: &Loss) -> Vec<f32> {
        let of_sequences = self.sequence_weights(loss);
        let weight = |(t, b)| if self.counts(t, b) { self.class_weight(t, b) * of_sequences[b] } else { 0.0 };
        let scale = match self.reduction {
            // Where all that counts has the weight 0 there is nothing to learn, and the loss is 0.
            Reduction::Mean => match self.total_weight(loss) {
                0.0 => 0.0,
                total => 1.0 / total,
            },
            Reduction::Sum => 1.0,
        };
        self.places().map(|at| (weight(at) * scale) as f32).collect()
    }

    /// What a mean divides by: the sum of the weights of the classes that count; for the error-to-signal ratio the squares of the targets,
    /// each the mean over its components; and else the number of outputs that count.
    #[must_use]
    pub fn total_weight(&self, loss: &Loss) -> f64 {
        match (&self.targets, loss) {
            (Targets::Values(values), Loss::ErrorToSignal) => {
                let square = |(t, b)| {
                    let values = values.slice(s![t, b, ..]);
                    values.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>() / values.len() as f64
                };
                self.counted_places().map(|at| SILENCE + square(at)).sum()
            }
            (Targets::Classes(_), _) => self.counted_places().map(|(t, b)| self.class_weight(t, b)).sum(),
            _ => self.counted() as f64,
        }
    }

    /// What each sequence weighs.
    fn sequence_weights(&self, loss: &Loss) -> Vec<f64> {
        let of = |b: usize| match (loss, &self.deviations) {
            (Loss::NashSutcliffe, Some(deviations)) => (f64::from(deviations[b]) + LEAST_DEVIATION).powi(-2),
            (Loss::NashSutcliffe, None) => (self.deviation(b, 0..self.shape().0) + LEAST_DEVIATION).powi(-2),
            _ => 1.0,
        };
        (0..self.shape().1).map(of).collect()
    }

    /// The standard deviation of the targets of a sequence that count in some time steps, over all of their components; 0 where there are
    /// none.
    pub(crate) fn deviation(&self, sequence: usize, steps: Range<usize>) -> f64 {
        let Targets::Values(values) = &self.targets else { return 0.0 };
        let steps = steps.filter(|&t| self.counts(t, sequence));
        let (mut count, mut mean, mut spread) = (0.0, 0.0, 0.0);
        for value in steps.flat_map(|t| values.slice(s![t, sequence, ..])).map(|&v| f64::from(v)) {
            // Welford's, which keeps the digits of values far from 0.
            count += 1.0;
            let off = value - mean;
            mean += off / count;
            spread += off * (value - mean);
        }
        if count > 0.0 { (spread / count).sqrt() } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array3, array};

    use super::*;
    use crate::batch::Inputs;

    #[test]
    fn every_name_is_a_loss_and_no_other_text_is() {
        for [name, short] in Loss::NAMES {
            let loss = Loss::from_str(name).unwrap();
            assert_eq!(Loss::from_str(&short.replace('X', "1")).unwrap(), loss, "{name}");
            assert!(loss.problem().is_none());
        }
        assert_eq!(Loss::from_str("huber:0.25").unwrap(), Loss::Huber(0.25));
        for wrong in ["", "mean", "huber:", "huber:0", "huber:-1", "huber:inf", "huber:x"] {
            assert!(Loss::from_str(wrong).is_err(), "{wrong}");
        }
        assert!(Loss::Quantile(vec![]).problem().is_some() && Loss::Quantile(vec![0.5, 1.0]).problem().is_some());
    }

    /// Two sequences of values 1, 3 and 4, 4, of which the last does not count.
    fn batch() -> Batch {
        let values = Array3::from_shape_fn((2, 2, 1), |(t, b, _)| [[1.0, 4.0], [3.0, 4.0]][t][b]);
        let mut batch = Batch::new(Inputs::Tokens(Array2::zeros((2, 2))), Targets::Values(values));
        batch.mask = Some(array![[1.0, 1.0], [1.0, 0.0]]);
        batch
    }

    #[test]
    fn the_error_to_signal_ratio_divides_by_the_squares_of_what_counts() {
        let total = 1.0 + 9.0 + 16.0 + 3e-5;
        approx::assert_relative_eq!(batch().total_weight(&Loss::ErrorToSignal), total, max_relative = 1e-12);
        let weight = (1.0 / total) as f32;
        assert_eq!(batch().weights(&Loss::ErrorToSignal), [weight, weight, weight, 0.0]);
    }

    #[test]
    fn a_sequence_weighs_by_its_deviation() {
        // The targets of the first are 1 from their mean, the second has one that counts.
        let [first, second] = [1.0 / 1.1_f64.powi(2), 1.0 / 0.1_f64.powi(2)].map(|w| (w / 3.0) as f32);
        assert_eq!(batch().weights(&Loss::NashSutcliffe), [first, second, first, 0.0]);
        let given = Batch { deviations: Some(vec![0.4, 0.9]), ..batch() };
        let [first, second] = [0.5_f64, 1.0].map(|s| (1.0 / (s * s) / 3.0) as f32);
        for (got, expected) in given.weights(&Loss::NashSutcliffe).into_iter().zip([first, second, first, 0.0]) {
            approx::assert_relative_eq!(got, expected, max_relative = 1e-6);
        }
    }
}
