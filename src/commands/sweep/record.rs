//! `sweep.json`: what a sweep follows from, and which of its runs failed.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use retrospect::train::{BestBy, Metrics, Overview};
use retrospect::{Error, Result, WholeFile};
use serde::{Deserialize, Serialize};

const NAME: &str = "sweep.json";

/// The longest name of a run's folder.
const LONGEST: usize = 100;

/// What a sweep follows from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The version of the crate that began it.
    pub version: String,
    /// The flags of `train` that are the same for all runs.
    pub arguments: Vec<String>,
    /// The flags that are varied.
    pub flags: Vec<String>,
    /// Whether the worse half of the runs ends early, again and again.
    pub halving: bool,
    pub runs: Vec<Run>,
}

/// A run of a sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The name of its folder.
    pub name: String,
    /// A value for each flag that is varied.
    pub values: Vec<String>,
    /// Why it could not go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

impl Run {
    /// A run by its number from 1 and the values of the flags.
    pub fn new(number: usize, all: usize, flags: &[String], values: Vec<String>) -> Run {
        let digits = all.to_string().len();
        let pairs: Vec<String> = flags.iter().zip(&values).map(|(flag, value)| format!("{flag}={value}")).collect();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "=.,-+_".contains(c);
        let name = format!("{number:0digits$}-{}", pairs.join(","));
        let name = name.chars().map(|c| if is_plain(c) { c } else { '_' }).take(LONGEST).collect();
        Run { name, values, failed: None }
    }
}

impl Record {
    pub fn path(folder: &Path) -> PathBuf {
        folder.join(NAME)
    }

    /// Reads the record in a folder.
    ///
    /// # Errors
    /// [`Error::BadInput`] where there is none, or when it is no record.
    pub fn read(folder: &Path) -> Result<Record> {
        let path = Record::path(folder);
        let bad = |problem: String| Error::BadInput { what: path.display().to_string(), problem };
        let text = fs::read_to_string(&path).map_err(|e| bad(format!("cannot be read: {e}")))?;
        let record: Record = serde_json::from_str(&text).map_err(|e| bad(format!("is not the record of a sweep: {e}")))?;
        // Names become folders below this one.
        let is_name = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']);
        match record.runs.iter().find(|run| !is_name(&run.name) || run.values.len() != record.flags.len()) {
            Some(run) => Err(bad(format!("run {:?} is none: a name of a folder and {} values", run.name, record.flags.len()))),
            None => Ok(record),
        }
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = Record::path(folder);
        let mut file = WholeFile::create_plain(&path)?;
        let text = serde_json::to_string_pretty(self).expect("texts and lists of them") + "\n";
        file.write_all(text.as_bytes()).map_err(|source| Error::Io { path, source })?;
        file.complete()
    }
}

/// What a run has come to up to a training step: the lower, the better. The best validation, or without any the last loss of training.
pub fn score(run: &Overview, step: u64) -> Option<f64> {
    let lines = || run.metrics.iter().flatten().filter(move |line| line.step() <= step);
    let by = run.header.settings.best_by;
    let validation = |line: &Metrics| match line {
        Metrics::Evaluation { validation_loss, .. } if by == BestBy::Loss => Some(*validation_loss),
        Metrics::Evaluation { accuracy, .. } => accuracy.map(|accuracy| -accuracy),
        _ => None,
    };
    let loss = |line: &Metrics| match line {
        Metrics::Step { loss, .. } => Some(f64::from(*loss)),
        _ => None,
    };
    let best = lines().filter_map(validation).min_by(f64::total_cmp);
    best.or_else(|| lines().filter_map(loss).next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_folders() {
        let flags = ["lr", "schedule", "text"].map(String::from);
        let values = ["0.1", "step:6:0.5", "../é a"].map(String::from).to_vec();
        assert_eq!(Run::new(7, 16, &flags, values).name, "07-lr=0.1,schedule=step_6_0.5,text=..___a");
        let long = Run::new(1, 2, &flags[..1], vec!["9".repeat(300)]);
        assert_eq!(long.name.len(), LONGEST);
    }

    #[test]
    fn records_come_back_and_others_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let run = Run::new(1, 1, &["lr".to_owned()], vec!["0.1".to_owned()]);
        let arguments = vec!["--hidden".to_owned(), "4".to_owned()];
        let record = Record { version: "1".into(), arguments, flags: vec!["lr".into()], halving: true, runs: vec![run] };
        record.write(folder.path()).unwrap();
        assert_eq!(Record::read(folder.path()).unwrap(), record);
        for name in ["..", "a/b", "", ".x"] {
            let mut wrong = record.clone();
            wrong.runs[0].name = name.into();
            wrong.write(folder.path()).unwrap();
            assert!(Record::read(folder.path()).unwrap_err().to_string().contains("is none"), "{name}");
        }
        fs::write(Record::path(folder.path()), "{}").unwrap();
        assert!(Record::read(folder.path()).is_err());
    }
}
