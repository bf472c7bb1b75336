//! Columns of a table that go beside predictions: dates, names.

use crate::Result;
use crate::data::tables::Grouped;
use crate::table::{Table, Values, Wanted, Words, place};

/// Columns of a table that are written beside predictions, for each row of each sequence.
pub struct Kept {
    names: Vec<String>,
    columns: Vec<Values>,
    rows: Vec<Vec<usize>>,
}

impl Kept {
    /// Asks for columns of a header as words, but for those that are asked for already.
    ///
    /// # Errors
    /// [`crate::Error::BadInput`] for names that are not there.
    pub(super) fn want(names: &[String], what: &str, header: &[String], wanted: &mut [Wanted]) -> Result<()> {
        for name in names {
            let place = place(what, header, name)?;
            if wanted[place] == Wanted::Nothing {
                wanted[place] = Wanted::Words;
            }
        }
        Ok(())
    }

    /// The columns of these names.
    ///
    /// # Errors
    /// [`crate::Error::BadInput`] for names that are not there.
    pub(super) fn new(names: &[String], table: &Table, grouped: &Grouped) -> Result<Kept> {
        let columns = names.iter().map(|name| Ok(table.columns[table.place(name)?].clone())).collect::<Result<_>>()?;
        Ok(Kept { names: names.to_vec(), columns, rows: grouped.rows.clone() })
    }

    /// The names of the columns.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The fields at a time step of a sequence; empty where they are missing, and behind the end of the sequence.
    #[must_use]
    pub fn fields(&self, sequence: usize, step: usize) -> Vec<String> {
        let row = self.rows.get(sequence).and_then(|rows| rows.get(step));
        self.columns.iter().map(|column| row.map_or_else(String::new, |&row| field(column, row))).collect()
    }
}

fn field(column: &Values, row: usize) -> String {
    match column {
        Values::Numbers(numbers) if !numbers[row].is_nan() => numbers[row].to_string(),
        Values::Words(words) if words.ids[row] != Words::MISSING => words.names[words.ids[row] as usize].clone(),
        _ => String::new(),
    }
}
