//! `sweep.json`: what a sweep follows from, and which of its runs failed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use retrospect::train::{BestBy, Metrics};
use retrospect::{Error, Result, WholeFile};
use serde::{Deserialize, Serialize};

use super::vary::{Vary, combinations};

const NAME: &str = "sweep.json";

/// The longest name of a run's folder.
const LONGEST: usize = 100;

/// What a sweep follows from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The version of the crate that began it.
    pub version: String,
    /// The directory that it began in, from which its flags name files.
    pub directory: String,
    /// The flags of `train` that are the same for all runs.
    pub arguments: Vec<String>,
    /// The flags that are varied.
    pub flags: Vec<String>,
    /// Whether the worse half of the runs ends early, again and again.
    pub halving: bool,
    /// Of each halving that has been, the places of the runs that stayed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub survivors: Vec<Vec<usize>>,
    pub runs: Vec<Run>,
}

/// Why a run could not go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub why: String,
    /// Whether it would fail again, whatever changes around it.
    pub is_lasting: bool,
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
    pub failed: Option<Failure>,
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

/// Locks a sweep for as long as the file is open.
///
/// # Errors
/// [`Error::Usage`] when another process trains its runs; [`Error::Io`].
pub fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("sweep.lock");
    if path.is_symlink() {
        return Err(Error::BadInput { what: path.display().to_string(), problem: "is a symbolic link".into() });
    }
    let file = OpenOptions::new().create(true).append(true).open(&path).map_err(|source| Error::Io { path, source })?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            Err(Error::Usage(format!("{}: another process trains the runs of this sweep", folder.display())))
        }
        // Not every file system has locks.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

impl Record {
    /// A new sweep in the current directory.
    ///
    /// # Errors
    /// What [`combinations`] reports; [`Error::Usage`] where the directory is not UTF-8.
    pub fn new(vary: &[Vary], random: Option<usize>, arguments: Vec<String>, halving: bool) -> Result<Record> {
        let flags: Vec<String> = vary.iter().map(|vary| vary.flag.clone()).collect();
        let values = combinations(vary, random)?;
        let count = values.len();
        let runs = (1..).zip(values).map(|(number, values)| Run::new(number, count, &flags, values)).collect();
        let directory = std::env::current_dir().map_err(|source| Error::Io { path: ".".into(), source })?;
        let problem = |path: PathBuf| Error::Usage(format!("{}: a sweep keeps its directory as UTF-8", path.display()));
        let directory = directory.into_os_string().into_string().map_err(|path| problem(path.into()))?;
        Ok(Record {
            version: env!("CARGO_PKG_VERSION").into(),
            directory,
            arguments,
            flags,
            halving,
            survivors: Vec::new(),
            runs,
        })
    }

    /// Lets runs be tried once more whose failure may have passed, such as a file that was not there.
    pub fn forget_passing_failures(&mut self) {
        self.runs.iter_mut().for_each(|run| run.failed = run.failed.take().filter(|failure| failure.is_lasting));
    }

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
        if record.runs.is_empty() || record.survivors.iter().flatten().any(|place| *place >= record.runs.len()) {
            return Err(bad(format!("has {} runs, and names others", record.runs.len())));
        }
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

/// The best validation up to a training step, the lower, the better: of accuracies with the sign changed.
pub fn validation_up_to(metrics: &[Metrics], by: BestBy, step: u64) -> Option<f64> {
    let validation = |line: &Metrics| match line {
        Metrics::Evaluation { validation_loss, .. } if by == BestBy::Loss => Some(*validation_loss),
        Metrics::Evaluation { accuracy, .. } => accuracy.map(|accuracy| -accuracy),
        _ => None,
    };
    metrics.iter().filter(|line| line.step() <= step).filter_map(validation).min_by(f64::total_cmp)
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
        let mut record = Record::new(&["lr=0.1".parse().unwrap()], None, arguments, true).unwrap();
        assert_eq!(record.runs, [run]);
        record.survivors = vec![vec![0]];
        record.write(folder.path()).unwrap();
        assert_eq!(Record::read(folder.path()).unwrap(), record);
        for name in ["..", "a/b", "", ".x"] {
            let mut wrong = record.clone();
            wrong.runs[0].name = name.into();
            wrong.write(folder.path()).unwrap();
            assert!(Record::read(folder.path()).unwrap_err().to_string().contains("is none"), "{name}");
        }
        let mut wrong = record.clone();
        wrong.survivors = vec![vec![1]];
        wrong.write(folder.path()).unwrap();
        assert!(Record::read(folder.path()).unwrap_err().to_string().contains("has 1 runs"));
        let none = Record { runs: Vec::new(), survivors: Vec::new(), ..record };
        none.write(folder.path()).unwrap();
        assert!(Record::read(folder.path()).unwrap_err().to_string().contains("has 0 runs"));
        fs::write(Record::path(folder.path()), "{}").unwrap();
        assert!(Record::read(folder.path()).is_err());
    }
}
