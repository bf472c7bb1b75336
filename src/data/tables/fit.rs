//! The columns that a network reads and predicts, found in a table: scaled by the rows that train, or with their categories.

use super::TableOptions;
use crate::data::columns::{Column, Columns, Kind, Scale, Scaling, constant_note};
use crate::table::{Table, Values};
use crate::{Error, Result};

/// A column that was not named is read if it has at most so many different words.
const MOST_WORDS: usize = 100;

impl TableOptions {
    /// The columns of a table as a network reads and predicts them: numbers of inputs and of targets scaled by the rows that train, categories with the words of all
    /// rows. And what should be told of columns that are left out or constant.
    ///
    /// # Errors
    /// [`Error::BadInput`] for columns that cannot be read or predicted; [`Error::Usage`] when none is left to read.
    pub fn fit<'a>(
        &self,
        table: &Table,
        [of_inputs, of_targets]: [Scale; 2],
        training: impl Iterator<Item = &'a usize> + Clone,
    ) -> Result<(Columns, Vec<String>)> {
        let mut notes = Vec::new();
        let mut fit = |name: &String, scale: Scale| -> Result<Column> {
            let kind = match &table.columns[table.place(name)?] {
                Values::Words(words) => Kind::Categories(sorted(&words.names)),
                Values::Numbers(numbers) => {
                    let scaling = Scaling::fit(scale, training.clone().map(|&row| numbers[row]));
                    if scale != Scale::None {
                        notes.extend(constant_note(name, training.clone().map(|&row| numbers[row])));
                    }
                    Kind::Number(scaling)
                }
                Values::Unread => return Err(table.bad(format!("column {name} was not read"))),
            };
            Ok(Column { name: name.clone(), kind })
        };
        let targets: Vec<Column> = self.targets.iter().map(|name| fit(name, of_targets)).collect::<Result<_>>()?;
        let inputs: Vec<Column> = match self.inputs.is_empty() {
            false => self.inputs.iter().map(|name| fit(name, of_inputs)).collect::<Result<_>>()?,
            true => self.others(table).map(|name| fit(name, of_inputs)).collect::<Result<_>>()?,
        };
        let (inputs, left_out) = self.usable(table, inputs);
        if inputs.is_empty() {
            let why = if left_out.is_empty() { String::new() } else { format!(" ({})", left_out.join("; ")) };
            return Err(Error::Usage(format!("{} has no column to read; --input COLUMN names one{why}", table.what)));
        }
        notes.extend(left_out);
        notes.sort();
        notes.dedup();
        let words = targets.iter().find(|column| matches!(column.kind, Kind::Categories(_)));
        if let (Some(column), true) = (words, targets.len() > 1) {
            let name = &column.name;
            return Err(Error::Usage(format!(
                "column {name} has classes, which are predicted alone; --target names {}. Several labels of 0 and 1 are numbers, for \
                 --loss binary-cross-entropy",
                targets.len()
            )));
        }
        Ok((Columns { inputs, targets }, notes))
    }

    /// The columns that are read where none is named.
    fn others<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = &'a String> {
        let is_read = |name: &&String| {
            let is_target = self.targets.contains(name) && self.ahead == 0;
            !name.is_empty() && !is_target && self.sequence.as_ref() != Some(*name)
        };
        table.names.iter().filter(is_read)
    }

    /// Leaves out inputs that were not named and cannot help, and says which.
    fn usable(&self, table: &Table, inputs: Vec<Column>) -> (Vec<Column>, Vec<String>) {
        let mut notes = Vec::new();
        if self.inputs.is_empty() && table.names.iter().any(String::is_empty) {
            notes.push("a column without a name is left out".to_owned());
        }
        let is_usable = |column: &Column| {
            let name = &column.name;
            let place = table.names.iter().position(|other| other == name);
            let is_named = [&self.inputs, &self.targets, &self.categories].iter().any(|list| list.contains(name));
            let problem = match (&column.kind, place.map(|place| &table.columns[place])) {
                // Where about every row has another word, it is a date or a name, of which new rows have new ones.
                (Kind::Categories(words), _) if words.len() > MOST_WORDS.min(table.rows.max(4) / 2) => {
                    format!("has {} different words", words.len())
                }
                (_, Some(Values::Numbers(numbers))) if numbers.iter().all(|v| v.is_nan()) => "is empty".into(),
                _ => return true,
            };
            if !is_named {
                notes.push(format!("column {name} {problem} and is left out; --input reads it all the same"));
            }
            is_named
        };
        let inputs = inputs.into_iter().filter(is_usable).collect();
        (inputs, notes)
    }
}

/// Sorts classes: as numbers where all are numbers, else as words.
fn sorted(words: &[String]) -> Vec<String> {
    let mut words = words.to_vec();
    let number = |word: &String| word.parse::<f64>().ok();
    if words.iter().all(|word| number(word).is_some()) {
        words.sort_by(|a, b| number(a).unwrap_or_default().total_cmp(&number(b).unwrap_or_default()));
    } else {
        words.sort();
    }
    words
}
