//! The rows of a table as sequences: scaled, one-hot and padded.

use std::collections::HashMap;

use ndarray::{Array2, Array3};

use super::{Fill, TableOptions};
use crate::batch::{Batch, Inputs, Sequences, Targets};
use crate::data::{Column, Columns, Kind, Scaling};
use crate::memory::check_memory_or;
use crate::table::{Table, Values, Words};
use crate::{Error, Result};

/// The rows of each sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Grouped {
    /// What the sequence's column calls each; empty for a single series.
    pub ids: Vec<String>,
    /// The rows of each, in the order of the file.
    pub rows: Vec<Vec<usize>>,
}

impl Grouped {
    /// The lengths of the sequences, where they differ.
    fn lengths(&self) -> Option<Vec<usize>> {
        let lengths: Vec<usize> = self.rows.iter().map(Vec::len).collect();
        lengths.iter().any(|&length| length != lengths[0]).then_some(lengths)
    }

    fn longest(&self) -> usize {
        self.rows.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Without the sequences in which no target is there.
    #[must_use]
    pub fn with_targets(self, table: &Table, options: &TableOptions) -> Grouped {
        if self.ids.is_empty() {
            return self;
        }
        let known = known_targets(table, &options.targets);
        let kept = |rows: &Vec<usize>| rows.iter().skip(options.ahead).any(|&row| known(row));
        let pairs = self.ids.into_iter().zip(self.rows).filter(|(_, rows)| kept(rows));
        let (ids, rows) = pairs.unzip();
        Grouped { ids, rows }
    }

    /// The sequences as a network of these columns reads them.
    ///
    /// # Errors
    /// [`Error::BadInput`] with the row and the column of what is missing or not known, [`Error::DoesNotFit`] when it is larger than the
    /// memory.
    pub fn sequences(&self, table: &Table, columns: &Columns, fill: Option<Fill>) -> Result<Sequences> {
        let (steps, count, width) = (self.longest(), self.rows.len(), columns.input_width());
        let needed = [steps, count, width, 4].into_iter().fold(1, |product: u64, n| product.saturating_mul(n as u64));
        check_memory_or("the sequences", needed, |_| "fewer rows, columns or categories would fit".into())?;
        let mut inputs = Array3::zeros((steps, count, width));
        let mut first = 0;
        for column in &columns.inputs {
            match &column.kind {
                Kind::Number(scaling) => self.numbers(table, column, scaling, fill, |t, b, v| inputs[[t, b, first]] = v)?,
                Kind::Categories(words) => {
                    self.categories(table, column, words, fill, |t, b, class| inputs[[t, b, first + class]] = 1.0)?;
                }
            }
            first += column.width();
        }
        Ok(Sequences { lengths: self.lengths(), ..Sequences::new(Inputs::Vectors(inputs)) })
    }

    fn numbers(
        &self,
        table: &Table,
        column: &Column,
        scaling: &Scaling,
        fill: Option<Fill>,
        mut write: impl FnMut(usize, usize, f32),
    ) -> Result<()> {
        let numbers = table.numbers(&column.name)?;
        for (b, rows) in self.rows.iter().enumerate() {
            let mut last = f64::NAN;
            for (t, &row) in rows.iter().enumerate() {
                let mut v = numbers[row];
                if v.is_nan() {
                    v = match fill {
                        Some(Fill::Last) => last,
                        Some(Fill::Zero) => 0.0,
                        Some(Fill::Mean) => scaling.mean,
                        None => f64::NAN,
                    };
                }
                if v.is_nan() {
                    return Err(missing(table, row, &column.name, fill));
                }
                last = v;
                write(t, b, scaled(table, row, column, v)?);
            }
        }
        Ok(())
    }

    fn categories(
        &self,
        table: &Table,
        column: &Column,
        known: &[String],
        fill: Option<Fill>,
        mut write: impl FnMut(usize, usize, usize),
    ) -> Result<()> {
        let words = table.words(&column.name)?;
        let class_of = classes(words, known);
        for (b, rows) in self.rows.iter().enumerate() {
            let mut last = None;
            for (t, &row) in rows.iter().enumerate() {
                let id = words.ids[row];
                let class = match (class_of.get(id as usize), fill) {
                    (Some(Some(class)), _) => Some(*class),
                    (Some(None), _) => return Err(unknown(table, row, column, &words.names[id as usize], known)),
                    (None, Some(Fill::Last)) if last.is_some() => last,
                    (None, Some(Fill::Zero | Fill::Mean)) => None,
                    (None, _) => return Err(missing(table, row, &column.name, fill)),
                };
                last = class;
                class.into_iter().for_each(|class| write(t, b, class));
            }
        }
        Ok(())
    }

    /// The sequences with their targets; a target that is missing does not count.
    ///
    /// # Errors
    /// As [`Grouped::sequences`].
    pub fn batch(&self, table: &Table, columns: &Columns, options: &TableOptions) -> Result<Batch> {
        let Sequences { inputs, lengths, .. } = self.sequences(table, columns, options.fill)?;
        let (steps, count) = inputs.shape();
        let mut mask = Array2::zeros((steps, count));
        let known = known_targets(table, &options.targets);
        // The row whose target is that of another row, so many later.
        let places = || {
            let of_sequence = |(b, rows): (usize, &Vec<usize>)| {
                let later: Vec<usize> = rows.iter().skip(options.ahead).copied().collect();
                later.into_iter().enumerate().map(move |(t, row)| (t, b, row))
            };
            self.rows.iter().enumerate().flat_map(of_sequence).filter(|&(.., row)| known(row))
        };
        places().for_each(|(t, b, _)| mask[[t, b]] = 1.0);
        let targets = match columns.classes() {
            Some(classes_known) => {
                let column = &columns.targets[0];
                let words = table.words(&column.name)?;
                let class_of = classes(words, classes_known);
                let mut classes = Array2::zeros((steps, count));
                for (t, b, row) in places() {
                    let id = words.ids[row] as usize;
                    let problem = || unknown(table, row, column, &words.names[id], classes_known);
                    classes[[t, b]] = class_of[id].ok_or_else(problem)? as u32;
                }
                Targets::Classes(classes)
            }
            None => {
                let mut values = Array3::zeros((steps, count, columns.targets.len()));
                for (o, column) in columns.targets.iter().enumerate() {
                    let numbers = table.numbers(&column.name)?;
                    for (t, b, row) in places() {
                        values[[t, b, o]] = scaled(table, row, column, numbers[row])?;
                    }
                }
                Targets::Values(values)
            }
        };
        let padding = (0..count).map(|b| steps - self.rows[b].len()).sum::<usize>();
        let all = mask.sum() as usize + padding == steps * count;
        Ok(Batch { mask: (!all).then_some(mask), lengths, ..Batch::new(inputs, targets) })
    }
}

/// A number as the network reads it.
fn scaled(table: &Table, row: usize, column: &Column, value: f64) -> Result<f32> {
    let scaled = column.scaling().apply(value);
    let problem = || table.bad_field(row, &column.name, &format!("{value:e} is beyond f32"));
    if scaled.is_finite() { Ok(scaled) } else { Err(problem()) }
}

/// Whether a row has all targets.
fn known_targets<'a>(table: &'a Table, targets: &[String]) -> impl Fn(usize) -> bool + use<'a> {
    let values: Vec<&Values> = targets.iter().filter_map(|name| Some(&table.columns[table.place(name).ok()?])).collect();
    move |row| {
        values.iter().all(|values| match values {
            Values::Numbers(numbers) => !numbers[row].is_nan(),
            Values::Words(words) => words.ids[row] != Words::MISSING,
            Values::Unread => false,
        })
    }
}

/// The class of each word of a column; `None` for a word that training did not have.
fn classes(words: &Words, known: &[String]) -> Vec<Option<usize>> {
    let places: HashMap<&String, usize> = known.iter().enumerate().map(|(place, word)| (word, place)).collect();
    words.names.iter().map(|word| places.get(word).copied()).collect()
}

fn missing(table: &Table, row: usize, column: &str, fill: Option<Fill>) -> Error {
    let problem = match fill {
        Some(Fill::Last) => "is missing, and there is none before it in its sequence; --fill zero or mean would do",
        _ => "is missing; --fill last, zero or mean says what to read instead",
    };
    table.bad_field(row, column, problem)
}

fn unknown(table: &Table, row: usize, column: &Column, word: &str, known: &[String]) -> Error {
    let known: Vec<&str> = known.iter().take(20).map(String::as_str).collect();
    table.bad_field(row, &column.name, &format!("\"{word}\" did not come in training, which had {}", known.join(", ")))
}
