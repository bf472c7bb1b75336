//! What guessing scores: the loss that a network must beat to have learnt anything.

use std::collections::BTreeMap;

use ndarray::s;

use super::Source;
use crate::batch::{Batch, Loss, Reduction, Targets};
use crate::model::{loss_constants, loss_penalty};

/// The loss over the held-out part of always giving the same output, the best one: the share of each class, or of each value the mean, or
/// the median, or what else the loss is least at. `None` where nothing is held out.
pub fn guess(source: &mut dyn Source, loss: &Loss) -> Option<f64> {
    let mut seen = Held::default();
    for index in 0..source.held_out_batches() {
        seen.add(source.held_out(index), loss);
    }
    seen.score(loss)
}

/// How often each class came; or each column of values with the weights of its rows.
#[derive(Default)]
struct Held {
    classes: BTreeMap<u32, u64>,
    columns: Vec<Vec<f32>>,
    weights: Vec<f32>,
    /// What a mean divides by.
    total: f64,
}

impl Held {
    fn add(&mut self, batch: Batch, loss: &Loss) {
        let batch = Batch { reduction: Reduction::Sum, ..batch };
        let (weights, sequences) = (batch.weights(loss), batch.shape().1);
        self.total += batch.total_weight(loss);
        for (t, b) in batch.counted_places() {
            match &batch.targets {
                Targets::Classes(classes) => *self.classes.entry(classes[[t, b]]).or_default() += 1,
                Targets::Values(values) => {
                    let row = values.slice(s![t, b, ..]);
                    self.columns.resize(row.len(), Vec::new());
                    self.columns.iter_mut().zip(row).for_each(|(column, &v)| column.push(v));
                    self.weights.push(weights[t * sequences + b]);
                }
            }
        }
    }

    fn score(&self, loss: &Loss) -> Option<f64> {
        let all: u64 = self.classes.values().sum();
        if all > 0 {
            let share = |&n: &u64| n as f64 / all as f64;
            return Some(self.classes.values().map(|n| share(n) * share(n).recip().ln()).sum());
        }
        let outputs = self.columns.len() * loss.outputs_per_target();
        let sum: f64 = (0..outputs).map(|output| self.least(loss, output, outputs)).sum();
        (self.total > 0.0).then(|| sum / (self.total * outputs as f64))
    }

    /// The least weighted sum of the penalties of one output that is always the same.
    fn least(&self, loss: &Loss, output: usize, outputs: usize) -> f64 {
        let Some(penalty) = loss_penalty(loss) else { return 0.0 };
        let constant = loss_constants(loss, outputs).map_or(0.0, |constants| f64::from(constants[output]));
        let column = &self.columns[loss.target_of(output).0];
        let pairs = || column.iter().zip(&self.weights).map(|(&v, &w)| (f64::from(v), f64::from(w)));
        let sum_of = |of: &dyn Fn(f64) -> f64| pairs().map(|(v, w)| w * of(v)).sum::<f64>();
        // Labels and squares have their least at the mean, of a label as a logit; the others by halving where the slope changes its sign,
        // since every penalty is convex.
        let mean = sum_of(&|v| v) / sum_of(&|_| 1.0);
        let best = match loss {
            Loss::BinaryCrossEntropy => (mean / (1.0 - mean)).ln().clamp(-40.0, 40.0),
            Loss::SquaredError | Loss::ErrorToSignal | Loss::NashSutcliffe => mean,
            _ => {
                let (mut low, mut high) =
                    pairs().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (v, _)| (low.min(v), high.max(v)));
                for _ in 0..HALVINGS {
                    let middle = f64::midpoint(low, high);
                    if sum_of(&|v| penalty.slope(middle, v, constant)) < 0.0 { low = middle } else { high = middle }
                }
                high
            }
        };
        sum_of(&|v| penalty.value(best, v, constant))
    }
}

/// More would not change an f32.
const HALVINGS: usize = 40;

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array3};

    use super::*;
    use crate::batch::{Batch, Inputs};
    use crate::data::Arrays;

    #[test]
    fn guessing_scores_the_entropy_of_classes_and_the_variance_of_values() {
        let inputs = || Inputs::Tokens(Array2::zeros((1, 4)));
        let classes = Targets::Classes(Array2::from_shape_fn((1, 4), |(_, b)| u32::from(b == 0)));
        let mut source = Arrays::held_out_only("d", Batch::new(inputs(), classes), 3).unwrap();
        let expected = -(0.25_f64 * 0.25_f64.ln() + 0.75 * 0.75_f64.ln());
        approx::assert_relative_eq!(guess(&mut source, &Loss::CrossEntropy).unwrap(), expected, max_relative = 1e-12);
        // Columns 1, 2, 3, 6 around 3 and 0, 0, 0, 4 around 1: (14 + 12) / 8.
        let column = |b: usize, o: usize| [[1.0, 2.0, 3.0, 6.0], [0.0, 0.0, 0.0, 4.0]][o][b];
        let values = Targets::Values(Array3::from_shape_fn((1, 4, 2), |(_, b, o)| column(b, o)));
        let mut source = Arrays::held_out_only("d", Batch::new(inputs(), values), 3).unwrap();
        approx::assert_relative_eq!(guess(&mut source, &Loss::SquaredError).unwrap(), 26.0 / 8.0, max_relative = 1e-12);
    }

    /// Values 0, 1, 2, 3, 10: by hand.
    #[test]
    fn guesses_are_the_best_of_each_loss() {
        let score = |values: [f32; 5], loss: Loss| {
            let targets = Targets::Values(Array3::from_shape_fn((1, 5, 1), |(_, b, _)| values[b]));
            let inputs = Inputs::Tokens(Array2::zeros((1, 5)));
            guess(&mut Arrays::held_out_only("d", Batch::new(inputs, targets), 3).unwrap(), &loss).unwrap()
        };
        let values = [0.0, 1.0, 2.0, 3.0, 10.0];
        let mean = 16.0 / 5.0;
        let spread: f64 = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum();
        let entropy = -(0.4_f64 * 0.4_f64.ln() + 0.6 * 0.6_f64.ln());
        for (values, loss, expected) in [
            // The median is 2.
            (values, Loss::AbsoluteError, (2.0 + 1.0 + 0.0 + 1.0 + 8.0) / 5.0),
            // Of four fifths the quantile is 3: below it 0.2 of each distance, above it 0.8.
            (values, Loss::Quantile(vec![0.7]), (0.3 * (3.0 + 2.0 + 1.0) + 0.7 * 7.0) / 5.0),
            (values, Loss::ErrorToSignal, spread / (114.0 + 5e-5)),
            ([0.0, 0.0, 0.0, 1.0, 1.0], Loss::BinaryCrossEntropy, entropy),
            // At 1.5 the slopes -1, -0.5, 0.5, 1 and 1 less than 0 by 1: at 2 they are -1, -1, 0, 1, 1.
            (values, Loss::Huber(1.0), (1.5 + 0.5 + 0.0 + 0.5 + 7.5) / 5.0),
        ] {
            approx::assert_relative_eq!(score(values, loss), expected, max_relative = 1e-6);
        }
    }
}
