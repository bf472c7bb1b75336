//! What guessing scores: the loss that a network must beat to have learnt anything.

use std::collections::BTreeMap;

use super::Source;
use crate::batch::Targets;

/// The loss over the held-out part of always giving the same output, the best one: the share of each class, or the mean of each value.
/// `None` where nothing is held out.
pub fn guess(source: &mut dyn Source) -> Option<f64> {
    let mut counts = Counts::default();
    for index in 0..source.held_out_batches() {
        let batch = source.held_out(index);
        for (t, b) in batch.counted_places() {
            match &batch.targets {
                Targets::Classes(classes) => counts.class(classes[[t, b]]),
                Targets::Values(values) => counts.values(values.slice(ndarray::s![t, b, ..]).iter().map(|&v| f64::from(v))),
            }
        }
    }
    counts.loss()
}

/// How often each class came; or the number of values, with the mean of each column and the sum of squared distances from it.
#[derive(Default)]
struct Counts {
    classes: BTreeMap<u32, u64>,
    values: u64,
    columns: Vec<(f64, f64)>,
}

impl Counts {
    fn class(&mut self, class: u32) {
        *self.classes.entry(class).or_default() += 1;
    }

    fn values(&mut self, values: impl Iterator<Item = f64>) {
        self.values += 1;
        for (o, value) in values.enumerate() {
            if self.columns.len() <= o {
                self.columns.push((0.0, 0.0));
            }
            let (mean, spread) = &mut self.columns[o];
            let off = value - *mean;
            *mean += off / self.values as f64;
            *spread += off * (value - *mean);
        }
    }

    fn loss(&self) -> Option<f64> {
        let all: u64 = self.classes.values().sum();
        if all > 0 {
            let share = |&n: &u64| n as f64 / all as f64;
            return Some(self.classes.values().map(|n| share(n) * share(n).recip().ln()).sum());
        }
        let spread: f64 = self.columns.iter().map(|(_, spread)| spread).sum();
        (self.values > 0).then(|| spread / (self.values as f64 * self.columns.len() as f64))
    }
}

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
        approx::assert_relative_eq!(guess(&mut source).unwrap(), expected, max_relative = 1e-12);
        // Columns 1, 2, 3, 6 around 3 and 0, 0, 0, 4 around 1: (14 + 12) / 8.
        let column = |b: usize, o: usize| [[1.0, 2.0, 3.0, 6.0], [0.0, 0.0, 0.0, 4.0]][o][b];
        let values = Targets::Values(Array3::from_shape_fn((1, 4, 2), |(_, b, o)| column(b, o)));
        let mut source = Arrays::held_out_only("d", Batch::new(inputs(), values), 3).unwrap();
        approx::assert_relative_eq!(guess(&mut source).unwrap(), 26.0 / 8.0, max_relative = 1e-12);
    }
}
