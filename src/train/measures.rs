//! What is measured of outputs besides their loss: which classes are mistaken for which, and how far values are off.

use ndarray::{Array2, Array3, Axis};
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, Loss, Targets};
use crate::data::{Columns, Scaling};

/// The most classes that are told apart in [`Confusion`].
const MOST_CLASSES: usize = 1000;

/// How often each class was predicted for each true class.
#[derive(Debug, Clone, PartialEq)]
pub struct Confusion {
    /// How many outputs whose class is the row had their largest logit at the column; `None` where there are more than 1000 classes.
    pub counts: Option<Array2<u64>>,
    /// How many were right.
    pub right: u64,
    /// How many there were.
    pub counted: u64,
}

/// How far the values of a column are off.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Deviation {
    counted: u64,
    /// How many targets were no larger than the prediction.
    covered: u64,
    /// How many targets were on the same side of 1/2 as the prediction.
    agreed: u64,
    squares: f64,
    distances: f64,
    /// Of the targets: their mean and the sum of their squared distances from it.
    mean: f64,
    spread: f64,
}

/// How far the predictions of a column are off, as a line of metrics has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnError {
    /// The column.
    pub name: String,
    /// In the unit of the column; `None` beyond f64.
    pub root_mean_squared_error: Option<f64>,
}

/// What is measured of outputs.
#[derive(Debug, Clone, PartialEq)]
pub enum Measures {
    /// Of classes.
    Classes(Confusion),
    /// Of each column of values.
    Values(Vec<Deviation>),
}

impl From<(String, Deviation)> for ColumnError {
    fn from((name, found): (String, Deviation)) -> ColumnError {
        let root = found.root_mean_squared();
        ColumnError { name, root_mean_squared_error: Some(root).filter(|root| root.is_finite()) }
    }
}

impl Confusion {
    fn new(classes: usize) -> Confusion {
        let counts = (classes <= MOST_CLASSES).then(|| Array2::zeros((classes, classes)));
        Confusion { counts, right: 0, counted: 0 }
    }

    fn add(&mut self, class: usize, predicted: usize) {
        self.counted += 1;
        self.right += u64::from(class == predicted);
        if let Some(counts) = &mut self.counts {
            counts[[class, predicted]] += 1;
        }
    }

    /// The share that was right.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        self.right as f64 / self.counted as f64
    }

    /// Of each class the precision, the recall, their harmonic mean F1 and how many outputs are of it. NaN where there is none to divide by.
    #[must_use]
    pub fn of_classes(&self) -> Vec<[f64; 4]> {
        let Some(counts) = &self.counts else { return Vec::new() };
        let (there, predicted) = (counts.sum_axis(Axis(1)), counts.sum_axis(Axis(0)));
        let share = |n: u64, of: u64| n as f64 / of as f64;
        let measures = |k: usize| {
            let right = counts[[k, k]];
            // F1 is 2·precision·recall/(precision + recall), written so that it is 0 where both are.
            let f1 = share(2 * right, there[k] + predicted[k]);
            [share(right, predicted[k]), share(right, there[k]), f1, there[k] as f64]
        };
        (0..counts.nrows()).map(measures).collect()
    }
}

impl Deviation {
    fn add(&mut self, target: f64, output: f64) {
        let off = output - target;
        self.counted += 1;
        self.covered += u64::from(target <= output);
        self.agreed += u64::from((target >= 0.5) == (output >= 0.5));
        self.squares += off * off;
        self.distances += off.abs();
        // Welford's: the spread of targets far from zero keeps its digits.
        let from_mean = target - self.mean;
        self.mean += from_mean / self.counted as f64;
        self.spread += from_mean * (target - self.mean);
    }

    /// The same in the unit of a column that was scaled.
    #[must_use]
    pub fn in_units(self, scaling: &Scaling) -> Deviation {
        let scale = scaling.scale.abs();
        Deviation {
            squares: self.squares * scale * scale,
            distances: self.distances * scale,
            mean: self.mean * scaling.scale + scaling.shift,
            spread: self.spread * scale * scale,
            ..self
        }
    }

    /// The root of the mean squared error.
    #[must_use]
    pub fn root_mean_squared(&self) -> f64 {
        (self.squares / self.counted as f64).sqrt()
    }

    /// The mean absolute error.
    #[must_use]
    pub fn mean_absolute(&self) -> f64 {
        self.distances / self.counted as f64
    }

    /// The share of targets that were no larger than the prediction: of a quantile this should be its level.
    #[must_use]
    pub fn coverage(&self) -> f64 {
        self.covered as f64 / self.counted as f64
    }

    /// The share of labels, which are at least 1/2 or less, whose predicted probability is on the same side.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        self.agreed as f64 / self.counted as f64
    }

    /// The error-to-signal ratio: the squared error over the squared targets; NaN where all targets are 0.
    #[must_use]
    pub fn error_to_signal(&self) -> f64 {
        let signal = self.spread + self.counted as f64 * self.mean * self.mean;
        if signal > 0.0 { self.squares / signal } else { f64::NAN }
    }

    /// R², which hydrologists call the Nash-Sutcliffe efficiency: 1 − the squared error over that of the targets' own mean; NaN where the targets do not vary.
    #[must_use]
    pub fn explained(&self) -> f64 {
        if self.spread > 0.0 { 1.0 - self.squares / self.spread } else { f64::NAN }
    }
}

impl Measures {
    /// Starts with nothing measured, for a network of `outputs` outputs.
    pub(super) fn new(targets: &Targets, outputs: usize) -> Measures {
        match targets {
            Targets::Classes(_) => Measures::Classes(Confusion::new(outputs)),
            Targets::Values(_) => Measures::Values(vec![Deviation::default(); outputs]),
        }
    }

    /// The same for one of many parts, which has no table of classes.
    pub(super) fn without_table(targets: &Targets, outputs: usize) -> Measures {
        match targets {
            Targets::Classes(_) => Measures::Classes(Confusion { counts: None, right: 0, counted: 0 }),
            Targets::Values(_) => Measures::new(targets, outputs),
        }
    }

    /// Adds the outputs `[T, B, O]` of a batch that count, of a network that has this loss.
    pub(super) fn add(&mut self, batch: &Batch, outputs: &Array3<f32>, loss: &Loss) {
        self.add_places(batch, outputs, loss, batch.counted_places());
    }

    /// The same of one sequence of the batch.
    pub(super) fn add_sequence(&mut self, batch: &Batch, outputs: &Array3<f32>, loss: &Loss, b: usize) {
        let places = (0..batch.shape().0).filter(|&t| batch.counts(t, b)).map(|t| (t, b));
        self.add_places(batch, outputs, loss, places);
    }

    fn add_places(&mut self, batch: &Batch, outputs: &Array3<f32>, loss: &Loss, places: impl Iterator<Item = (usize, usize)>) {
        // Of a batch that ends earlier there are outputs of its longest sequence only.
        for (t, b) in places.filter(|&(t, _)| t < outputs.dim().0) {
            let row = outputs.slice(ndarray::s![t, b, ..]);
            match (&mut *self, &batch.targets) {
                (Measures::Classes(confusion), Targets::Classes(classes)) => {
                    confusion.add(classes[[t, b]] as usize, row.as_slice().map_or_else(|| likeliest(&row.to_vec()), likeliest))
                }
                (Measures::Values(columns), Targets::Values(values)) => {
                    for (o, (column, &output)) in columns.iter_mut().zip(row).enumerate() {
                        let target = values[[t, b, loss.target_of(o).0]];
                        column.add(target.into(), loss.prediction(output).into());
                    }
                }
                _ => {}
            }
        }
    }

    /// How far each column of values is off, in its own unit, with its name, which has the quantile where there are several; without columns
    /// as the network has it.
    #[must_use]
    pub fn columns(&self, columns: Option<&Columns>, loss: &Loss) -> Vec<(String, Deviation)> {
        let Measures::Values(found) = self else { return Vec::new() };
        let named = |(o, found): (usize, &Deviation)| {
            let (target, _) = loss.target_of(o);
            let (name, found) = match columns.and_then(|columns| columns.targets.get(target)) {
                Some(column) => (column.name.clone(), found.in_units(&column.scaling())),
                None => (format!("output_{target}"), *found),
            };
            (loss.output_name(&name, o), found)
        };
        found.iter().enumerate().map(named).collect()
    }

    /// How many outputs were measured.
    #[must_use]
    pub fn counted(&self) -> u64 {
        match self {
            Measures::Classes(confusion) => confusion.counted,
            Measures::Values(columns) => columns.first().map_or(0, |column| column.counted),
        }
    }

    /// The share of right classes.
    #[must_use]
    pub fn accuracy(&self) -> Option<f64> {
        match self {
            Measures::Classes(confusion) => Some(confusion.accuracy()),
            Measures::Values(_) => None,
        }
    }
}

/// The class of the largest number; the first of equal ones, as NumPy and PyTorch have it.
pub fn likeliest<T: PartialOrd>(numbers: &[T]) -> usize {
    (1..numbers.len()).fold(0, |best, k| if numbers[k] > numbers[best] { k } else { best })
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::batch::Inputs;

    /// Against scikit-learn's definitions, worked out by hand.
    #[test]
    fn classes_are_measured_as_usual() {
        let classes = array![[0, 1, 1, 2, 2, 2, 0]];
        let predicted = [0, 1, 0, 2, 2, 1, 3];
        let logits = Array3::from_shape_fn((1, 7, 4), |(_, b, k)| f32::from(u8::from(predicted[b] == k)));
        let inputs = Inputs::Tokens(Array2::zeros((1, 7)));
        let mut batch = Batch::new(inputs, Targets::Classes(classes));
        batch.mask = Some(array![[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]]);
        let mut measures = Measures::new(&batch.targets, 4);
        measures.add(&batch, &logits, &Loss::CrossEntropy);
        let Measures::Classes(confusion) = measures else { panic!("{measures:?}") };
        assert_eq!(confusion.counts, Some(array![[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 2, 0], [0, 0, 0, 0]]));
        assert_eq!((confusion.right, confusion.counted, confusion.accuracy()), (4, 6, 4.0 / 6.0));
        let of_classes = confusion.of_classes();
        let two_thirds = 2.0 / 3.0;
        assert_eq!(of_classes[..3], [[0.5, 1.0, two_thirds, 1.0], [0.5, 0.5, 0.5, 2.0], [1.0, two_thirds, 0.8, 3.0]]);
        assert!(of_classes[3][..3].iter().all(|v| v.is_nan()), "there is none of it");
        let many = Measures::new(&batch.targets, 1001);
        assert!(matches!(many, Measures::Classes(Confusion { counts: None, .. })));
    }

    #[test]
    fn values_are_measured_in_their_own_units() {
        // Targets far from 0 after scaling back: 1e6 + 10·(1, 2, 4), off by 10·(0.5, −0.5, 1).
        let targets = Array3::from_shape_fn((3, 1, 1), |(t, ..)| [1.0, 2.0, 4.0][t]);
        let outputs = Array3::from_shape_fn((3, 1, 1), |(t, ..)| [1.5, 1.5, 5.0][t]);
        let batch = Batch::new(Inputs::Tokens(Array2::zeros((3, 1))), Targets::Values(targets));
        let mut measures = Measures::new(&batch.targets, 1);
        measures.add(&batch, &outputs, &Loss::SquaredError);
        let Measures::Values(columns) = measures else { panic!("{measures:?}") };
        let found = columns[0].in_units(&Scaling { shift: 1e6, scale: 10.0, mean: 1e6 });
        approx::assert_relative_eq!(found.root_mean_squared(), 50.0_f64.sqrt(), max_relative = 1e-12);
        approx::assert_relative_eq!(found.mean_absolute(), 20.0 / 3.0, max_relative = 1e-12);
        // Squares 1.5 against a spread of 14/3 around the mean 7/3.
        approx::assert_relative_eq!(found.explained(), 1.0 - 1.5 / (14.0 / 3.0), max_relative = 1e-12);
        assert!(Deviation::default().explained().is_nan());
    }
}
