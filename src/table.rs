//! A table of numbers and words: a file of rows with a header, separated by commas, semicolons or tabs.
//!
//! A file is read once, so that it can be a pipe. Of its columns those that are asked for are kept.

mod read;

pub(crate) use read::LOOK;
pub use read::{is_table, name_of, read_bytes};

use crate::{Error, Result};

/// What a column is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Not at all.
    Nothing,
    /// Numbers; a word is an error.
    Numbers,
    /// Words, numbers too.
    Words,
    /// Numbers where all fields are, else words.
    Either,
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// It was not asked for.
    Unread,
    /// A number for each row, NaN where the field is missing.
    Numbers(Vec<f64>),
    /// A word for each row.
    Words(Words),
}

/// The words of a column, each kept once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Words {
    /// The place in `names` of each row's word; [`Words::MISSING`] where the field is missing.
    pub ids: Vec<u32>,
    /// The different words in the order in which they first come.
    pub names: Vec<String>,
}

impl Words {
    /// The id of a missing field.
    pub const MISSING: u32 = u32::MAX;
}

/// Columns of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The file, for messages.
    pub what: String,
    /// The names in the header.
    pub names: Vec<String>,
    /// A column for each name.
    pub columns: Vec<Values>,
    /// The number of rows below the header.
    pub rows: usize,
}

impl Table {
    /// Reads a table; `wanted` says by the names in the header what each column is read as.
    ///
    /// An empty field is missing, and one of `NA`, `N/A`, `n/a`, `#N/A`, `<NA>`, `NaN`, `nan`, `null`, `NULL` and `None`. A byte order mark, quotes and spaces around a field are dropped.
    /// The separator is the one of comma, semicolon and tab that the header has most of.
    ///
    /// # Errors
    /// [`Error::BadInput`] with the row and the column for what is no table or not what was asked for, [`Error::DoesNotFit`] when it is
    /// larger than the memory, and what `wanted` reports.
    pub fn read(what: &str, bytes: &[u8], wanted: impl FnOnce(&[String]) -> Result<Vec<Wanted>>) -> Result<Table> {
        read::read(what, bytes, wanted)
    }

    /// The place of a column by its name.
    ///
    /// # Errors
    /// [`Error::BadInput`] with the names that there are.
    pub fn place(&self, name: &str) -> Result<usize> {
        place(&self.what, &self.names, name)
    }

    /// The numbers of a column.
    ///
    /// # Errors
    /// [`Error::BadInput`] when there is no such column, or it was read as words.
    pub fn numbers(&self, name: &str) -> Result<&[f64]> {
        match &self.columns[self.place(name)?] {
            Values::Numbers(numbers) => Ok(numbers),
            _ => Err(self.bad(format!("column {name} has words; expected numbers"))),
        }
    }

    /// The words of a column.
    ///
    /// # Errors
    /// [`Error::BadInput`] when there is no such column, or it was read as numbers.
    pub fn words(&self, name: &str) -> Result<&Words> {
        match &self.columns[self.place(name)?] {
            Values::Words(words) => Ok(words),
            _ => Err(self.bad(format!("column {name} has numbers; expected words"))),
        }
    }

    /// An error that names this file.
    #[must_use]
    pub fn bad(&self, problem: String) -> Error {
        Error::input(&self.what, problem)
    }

    /// An error that names a field. `row` counts from 0; the message counts from 1.
    #[must_use]
    pub fn bad_field(&self, row: usize, column: &str, problem: &str) -> Error {
        self.bad(format!("row {} (the header aside), column {column}: {problem}", row + 1))
    }
}

/// The place of a name in a header.
///
/// # Errors
/// [`Error::BadInput`] with the names that there are.
pub fn place(what: &str, names: &[String], name: &str) -> Result<usize> {
    names.iter().position(|other| other == name).ok_or_else(|| {
        let all = names.join(", ");
        Error::input(what, format!("there is no column {name}; there are {all}"))
    })
}
