//! A file of one's own, and the sequences that a trained network reads of it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::Kept;
use crate::batch::{Batch, Sequences, Targets};
use crate::data::opened::fingerprint;
use crate::data::{Column, Columns, Grouped, Kind, Reading};
use crate::table::{LOOK, Table, is_table, name_of, read_bytes};
use crate::tensors::Tensors;
use crate::{Error, Result};

/// A file of one's own.
pub enum DataFile {
    /// The bytes of a table.
    Table(Vec<u8>),
    /// Tensors; those of a pipe with the fingerprint of its bytes, which cannot be read again.
    Tensors(Tensors, Option<String>),
}

impl DataFile {
    /// Reads a file, once: it can be a pipe, or `-` for standard input.
    ///
    /// # Errors
    /// [`Error::BadInput`] when it cannot be read, or is no file of tensors; [`Error::DoesNotFit`] when it is larger than the memory.
    pub fn read(path: &Path) -> Result<DataFile> {
        if !path.is_file() && !path.is_dir() {
            let bytes = read_bytes(path)?;
            if is_table(path, &bytes) {
                return Ok(DataFile::Table(bytes));
            }
            let sum = fingerprint(&bytes[..]).ok();
            return Ok(DataFile::Tensors(Tensors::from_bytes(&name_of(path), bytes)?, sum));
        }
        let unread = |e| Error::input(path.display(), format!("cannot be read: {e}"));
        let mut first = Vec::new();
        File::open(path).and_then(|file| file.take(LOOK as u64).read_to_end(&mut first)).map_err(unread)?;
        if is_table(path, &first) {
            return Ok(DataFile::Table(read_bytes(path)?));
        }
        let is_named =
            path.extension().is_some_and(|e| ["safetensors", "npz", "npy"].iter().any(|known| e.eq_ignore_ascii_case(known)));
        let tensors = Tensors::read(path).map_err(|error| match error {
            Error::BadInput { what, problem } if !is_named && !path.is_dir() => {
                Error::BadInput { what, problem: format!("{problem}; data are a table (.csv, .tsv), .npz or .safetensors") }
            }
            other => other,
        })?;
        Ok(DataFile::Tensors(tensors, None))
    }

    /// The sequences of a file as a trained network reads them, and what a table's column calls each; with the truth, as far as it is there,
    /// where that is asked for, and with the columns of a table that are `kept`.
    ///
    /// # Errors
    /// [`Error::BadInput`] for what the network cannot read; [`Error::Usage`] for columns of what is no table.
    pub fn sequences(
        self,
        path: &Path,
        reading: &Reading,
        columns: Option<&Columns>,
        with_truth: bool,
        kept: &[String],
    ) -> Result<ReadSequences> {
        let what = name_of(path);
        let (bytes, columns) = match (self, columns) {
            (DataFile::Table(bytes), Some(columns)) if !reading.table.targets.is_empty() => (bytes, columns),
            (DataFile::Table(_), _) => return Err(not_of_table(&what)),
            (DataFile::Tensors(_, _), Some(_)) if !reading.table.targets.is_empty() => {
                return Err(Error::input(what, "holds tensors, and this network was trained on a table"));
            }
            (DataFile::Tensors(tensors, _), columns) => {
                let tensors = tensors.with_all_axes(reading.layout);
                let tensors = match columns {
                    Some(columns) => columns.scaled(tensors)?,
                    None => tensors,
                };
                let sequences = tensors.sequences(reading.layout)?;
                let has_truth = with_truth && (tensors.contains("values") || tensors.contains("classes"));
                let batch = has_truth.then(|| tensors.batch(reading.layout)).transpose()?;
                let targets = columns.map(|columns| columns.targets.clone()).unwrap_or_default();
                let truth = batch.map(|read| Truth::Batch(Box::new(read.batch), targets));
                if !kept.is_empty() {
                    return Err(Error::Usage(format!("{what} has no columns to keep; it holds tensors")));
                }
                return Ok(ReadSequences { sequences, ids: Vec::new(), truth, kept: None });
            }
        };
        let mut has_truth = false;
        let table = Table::read(&what, &bytes, |names| {
            let there = |column: &Column| names.contains(&column.name);
            has_truth = with_truth && columns.targets.iter().all(there);
            let mut wanted = reading.table.wanted_again(&what, names, columns, has_truth)?;
            Kept::want(kept, &what, names, &mut wanted)?;
            Ok(wanted)
        })?;
        drop(bytes);
        let grouped = reading.table.group(&table)?;
        let sequences = grouped.sequences(&table, columns, reading.table.fill)?;
        let ids = grouped.ids.clone();
        let kept = (!kept.is_empty()).then(|| Kept::new(kept, &table, &grouped)).transpose()?;
        let truth = has_truth.then(|| Truth::Table(table, grouped, columns.targets.clone()));
        Ok(ReadSequences { sequences, ids, truth, kept })
    }
}

/// Sequences to predict from.
pub struct ReadSequences {
    /// As the network reads them.
    pub sequences: Sequences,
    /// What a table's column calls each; empty for tensors and for a single series.
    pub ids: Vec<String>,
    /// What is to be predicted, where the file tells.
    pub truth: Option<Truth>,
    /// The columns of a table that go beside predictions.
    pub kept: Option<Kept>,
}

/// What is to be predicted.
pub enum Truth {
    /// Of a table, the rows of its sequences and the columns to predict.
    Table(Table, Grouped, Vec<Column>),
    /// Of tensors, as the network reads them, and their columns, if they are scaled.
    Batch(Box<Batch>, Vec<Column>),
}

impl Truth {
    /// The value of target `o` at a time step of a sequence, in its own unit, if it is known.
    #[must_use]
    pub fn value(&self, sequence: usize, step: usize, o: usize) -> Option<f64> {
        let value = match self {
            Truth::Table(table, grouped, targets) => {
                let row = *grouped.rows.get(sequence)?.get(step)?;
                *table.numbers(&targets.get(o)?.name).ok()?.get(row)?
            }
            Truth::Batch(batch, columns) => match &batch.targets {
                Targets::Values(values) if step < batch.shape().0 && batch.counts(step, sequence) => {
                    let value = *values.get([step, sequence, o])?;
                    columns.get(o).map_or(f64::from(value), |column| column.scaling().undo(value))
                }
                _ => return None,
            },
        };
        Some(value).filter(|v| !v.is_nan())
    }

    /// The class at a time step of a sequence, if it is known.
    #[must_use]
    pub fn class(&self, sequence: usize, step: usize) -> Option<usize> {
        match self {
            Truth::Table(table, grouped, targets) => {
                let row = *grouped.rows.get(sequence)?.get(step)?;
                let column = targets.first()?;
                let Kind::Categories(known) = &column.kind else { return None };
                let words = table.words(&column.name).ok()?;
                let word = words.names.get(*words.ids.get(row)? as usize)?;
                known.iter().position(|other| other == word)
            }
            Truth::Batch(batch, _) => match &batch.targets {
                Targets::Classes(classes) if step < batch.shape().0 && batch.counts(step, sequence) => {
                    classes.get([step, sequence]).map(|&class| class as usize)
                }
                _ => None,
            },
        }
    }
}

pub(super) fn not_of_table(what: &str) -> Error {
    Error::input(what, "is a table, and this network was not trained on one; expected safetensors or .npz")
}
