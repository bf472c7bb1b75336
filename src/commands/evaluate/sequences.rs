//! What `evaluate --sequences` tells of each sequence.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use retrospect::train::{Checkpoint, Measures};
use retrospect::{Error, Result, WholeFile};

use super::report::{measure_of_the_loss, shown};
use crate::commands::terminal::{print, table, thousands};

/// What is measured of each sequence.
pub struct Sequences {
    /// The names of the numbers.
    heading: Vec<String>,
    /// The name of each sequence, how many of its outputs counted, and the numbers; NaN where there is nothing to measure.
    rows: Vec<(String, u64, Vec<f64>)>,
}

impl Sequences {
    /// By the place of each in its file; `ids` are their names, where they have some.
    pub fn new(checkpoint: &Checkpoint, found: &BTreeMap<usize, Measures>, ids: &[String]) -> Sequences {
        let (columns, loss) = (checkpoint.origin.columns.as_ref(), &checkpoint.origin.settings.network.loss);
        let mut heading: Vec<String> = Vec::new();
        let mut rows = Vec::new();
        for (&place, measures) in found {
            let mut numbers: Vec<(String, f64)> =
                measures.accuracy().map(|share| ("accuracy".to_owned(), share)).into_iter().collect();
            for (name, deviation) in measures.columns(columns, loss) {
                let own = measure_of_the_loss(loss, &deviation).map(|(_, measure, value)| (measure, value));
                let usual =
                    [("rmse", deviation.root_mean_squared()), ("mae", deviation.mean_absolute()), ("r2", deviation.explained())];
                numbers.extend(usual.into_iter().chain(own).map(|(measure, value)| (format!("{measure}({name})"), value)));
            }
            if heading.is_empty() {
                heading = numbers.iter().map(|(name, _)| name.clone()).collect();
            }
            let name = ids.get(place).cloned().unwrap_or_else(|| place.to_string());
            rows.push((name, measures.counted(), numbers.into_iter().map(|(_, value)| value).collect()));
        }
        Sequences { heading, rows }
    }

    /// Writes a line for each sequence, in the order of the file.
    pub fn write(&self, path: &Path) -> Result<()> {
        let failed = |source: std::io::Error| Error::Io { path: path.to_owned(), source };
        let mut writer = csv::Writer::from_writer(WholeFile::create_plain(path)?);
        let first = ["sequence", "counted"].map(String::from).into_iter();
        writer.write_record(first.chain(self.heading.iter().cloned())).map_err(|e| failed(e.into()))?;
        for (name, counted, numbers) in &self.rows {
            let numbers = numbers.iter().map(|v| if v.is_nan() { String::new() } else { v.to_string() });
            let cells = [name.clone(), counted.to_string()].into_iter().chain(numbers);
            writer.write_record(cells).map_err(|e| failed(e.into()))?;
        }
        writer.into_inner().map_err(|e| failed(e.into_error()))?.complete()
    }

    /// Prints the least, the median and the largest of each number.
    pub fn print(&self) -> Result<()> {
        let of = format!("of {} sequences", thousands(self.rows.len() as u64));
        let mut lines = vec![vec![of, "least".into(), "median".into(), "largest".into()]];
        for (place, name) in self.heading.iter().enumerate() {
            let mut known: Vec<f64> = self.rows.iter().map(|(_, _, numbers)| numbers[place]).filter(|v| !v.is_nan()).collect();
            known.sort_by(f64::total_cmp);
            let numbers = match known[..] {
                [] => [f64::NAN; 3],
                [first, ..] => [first, median(&known), known[known.len() - 1]],
            };
            lines.push([name.clone()].into_iter().chain(numbers.map(shown)).collect());
        }
        print(&format!("\n{}", table(&lines)))
    }
}

/// The median of sorted numbers.
fn median(sorted: &[f64]) -> f64 {
    (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0
}

/// A table to write.
pub fn file(text: &str) -> std::result::Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension() {
        Some(extension) if extension.eq_ignore_ascii_case("csv") => Ok(path),
        _ => Err("expected the name of a .csv file".into()),
    }
}
