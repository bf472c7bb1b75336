//! What the numbers that a network reads and predicts mean: the names of columns, their units, the words of categories.
//!
//! They follow from the training data, are kept with the weights, and hold for whatever the network reads later.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::tensors::TensorFile;

/// How columns of numbers are scaled before a network reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// To a mean of 0 and a standard deviation of 1.
    Standard,
    /// To the range from 0 to 1.
    Minmax,
    /// Not at all.
    None,
}

/// The line between a column's own unit and what a network reads: `scaled = (value − shift) / scale`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// The value that becomes 0.
    pub shift: f64,
    /// The difference that becomes 1; not 0.
    pub scale: f64,
    /// The mean of the training data.
    pub mean: f64,
}

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Numbers.
    Number(Scaling),
    /// One of these words; each is a number of 0 or 1 to read, and a class to predict.
    Categories(Vec<String>),
}

/// A column that a network reads or predicts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Its name in the header of a table; of tensors `input_0`, `output_0` and so on.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
}

/// The columns that a network reads, and those that it predicts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Columns {
    /// Read, in the order of the inputs.
    pub inputs: Vec<Column>,
    /// Predicted: numbers, or one column of categories.
    pub targets: Vec<Column>,
}

impl Scaling {
    /// The one that changes nothing.
    pub const IDENTITY: Scaling = Scaling { shift: 0.0, scale: 1.0, mean: 0.0 };

    /// Whether scaled values are other numbers than those of the column.
    #[must_use]
    pub fn changes_values(&self) -> bool {
        self.shift != 0.0 || self.scale != 1.0
    }

    /// The scaling of a column by the numbers that it has for training; NaN does not count. Of no number or a constant one the scale is 1.
    #[must_use]
    pub fn fit(scale: Scale, numbers: impl Iterator<Item = f64> + Clone) -> Scaling {
        let numbers = numbers.filter(|v| !v.is_nan());
        let (mut count, mut sum) = (0_u64, 0.0);
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        // The distance from the first number keeps the digits of large ones.
        let first = numbers.clone().next().unwrap_or(0.0);
        for v in numbers.clone() {
            count += 1;
            sum += v - first;
            (least, most) = (least.min(v), most.max(v));
        }
        if count == 0 {
            return Scaling::IDENTITY;
        }
        let mean = first + sum / count as f64;
        let usable = |scale: f64| if scale.is_finite() && scale > 0.0 { scale } else { 1.0 };
        match scale {
            Scale::None => Scaling { mean, ..Scaling::IDENTITY },
            Scale::Minmax => Scaling { shift: least, scale: usable(most - least), mean },
            Scale::Standard => {
                // Relative to the range no square is beyond f64. What is left of a constant is the rounding of its mean.
                let range = most - least;
                let relative = |v: f64| (v - mean) / range;
                let squares = numbers.map(|v| relative(v) * relative(v)).sum::<f64>();
                let deviation = if range > 0.0 { range * (squares / count as f64).sqrt() } else { 0.0 };
                Scaling { shift: mean, scale: usable(deviation), mean }
            }
        }
    }

    /// A value as a network reads it.
    #[must_use]
    pub fn apply(&self, value: f64) -> f32 {
        ((value - self.shift) / self.scale) as f32
    }

    /// A network's number in the column's own unit.
    #[must_use]
    pub fn undo(&self, scaled: f32) -> f64 {
        f64::from(scaled) * self.scale + self.shift
    }
}

/// What to tell of a column whose numbers are all one where it trains; NaN does not count.
pub(super) fn constant_note(name: &str, numbers: impl Iterator<Item = f64>) -> Option<String> {
    let mut numbers = numbers.filter(|v| !v.is_nan());
    let first = numbers.next()?;
    let note = || format!("column {name} is {first} wherever it trains, and is not divided by its deviation of 0");
    numbers.all(|v| v == first).then(note)
}

impl Column {
    /// The numbers that a network reads of it.
    #[must_use]
    pub fn width(&self) -> usize {
        match &self.kind {
            Kind::Number(_) => 1,
            Kind::Categories(words) => words.len(),
        }
    }

    /// How its numbers are scaled; categories are not.
    #[must_use]
    pub fn scaling(&self) -> Scaling {
        match &self.kind {
            Kind::Number(scaling) => *scaling,
            Kind::Categories(_) => Scaling::IDENTITY,
        }
    }
}

impl Columns {
    /// Those that weights were trained on, if their file tells.
    ///
    /// # Errors
    /// [`crate::Error::BadInput`] when they cannot be read.
    pub fn from_metadata(weights: &TensorFile) -> Result<Option<Columns>> {
        let columns = weights.metadata.get("columns").map(|json| serde_json::from_str(json)).transpose();
        columns.map_err(|e| weights.bad("metadata columns", e.to_string()))
    }

    /// The number of inputs.
    #[must_use]
    pub fn input_width(&self) -> usize {
        self.inputs.iter().map(Column::width).sum()
    }

    /// The names of the classes, where classes are predicted.
    #[must_use]
    pub fn classes(&self) -> Option<&[String]> {
        match self.targets.first().map(|column| &column.kind) {
            Some(Kind::Categories(words)) => Some(words),
            _ => None,
        }
    }

    /// The place among the targets of each input column: what a network needs to go on with what it predicted.
    ///
    /// # Errors
    /// The name of an input that is not predicted.
    pub fn feedback(&self) -> std::result::Result<Vec<usize>, &str> {
        let place = |input: &Column| self.targets.iter().position(|target| target.name == input.name);
        self.inputs.iter().map(|input| place(input).ok_or(input.name.as_str())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_whose_squares_no_number_holds_are_scaled() {
        for size in [1e-200, 1e200] {
            let scaling = Scaling::fit(Scale::Standard, [size, 3.0 * size].into_iter());
            assert_eq!([size, 3.0 * size].map(|v| scaling.apply(v)), [-1.0, 1.0]);
        }
    }

    #[test]
    fn scalings_have_the_moments_they_promise_and_come_back() {
        // Far from zero, where f32 would have lost them.
        let numbers = [1e9, 1e9 + 1.0, f64::NAN, 1e9 + 2.0, 1e9 + 5.0];
        let standard = Scaling::fit(Scale::Standard, numbers.into_iter());
        // Mean 2, squares 4 + 1 + 0 + 9 over 4.
        assert_eq!((standard.shift, standard.mean), (1e9 + 2.0, 1e9 + 2.0));
        approx::assert_relative_eq!(standard.scale, 3.5_f64.sqrt(), max_relative = 1e-12);
        let scaled: Vec<f32> = numbers.iter().filter(|v| !v.is_nan()).map(|&v| standard.apply(v)).collect();
        approx::assert_abs_diff_eq!(scaled.iter().sum::<f32>(), 0.0, epsilon = 1e-6);
        approx::assert_abs_diff_eq!(standard.undo(scaled[3]), 1e9 + 5.0, epsilon = 1e-6);

        let minmax = Scaling::fit(Scale::Minmax, numbers.into_iter());
        assert_eq!((minmax.apply(1e9), minmax.apply(1e9 + 5.0), minmax.undo(1.0)), (0.0, 1.0, 1e9 + 5.0));
        let none = Scaling::fit(Scale::None, numbers.into_iter());
        assert_eq!((none.apply(3.5), none.undo(3.5), none.mean), (3.5, 3.5, 1e9 + 2.0));
        for scale in [Scale::Standard, Scale::Minmax] {
            let constant = Scaling::fit(scale, [0.1, 0.1, 0.1].into_iter());
            assert_eq!((constant.apply(0.1), constant.scale), (0.0, 1.0), "a constant is not divided by zero");
            assert_eq!(Scaling::fit(scale, [f64::NAN].into_iter()), Scaling::IDENTITY);
        }
    }
}
