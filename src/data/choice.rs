//! Which data a run reads: what a command line and a checkpoint say of it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::split::Part;
use super::{Fingerprints, Known, OpenedData, Options, Reading, Task, Text, own};
use crate::Result;

/// A named task, a text, or one's own sequences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// A task of [`super::ALL`].
    Task(String),
    /// A file of text, token by token.
    Text(PathBuf),
    /// Sequences or a series: a table, or tensors as [`crate::tensors::read_batch`] reads them.
    Data(PathBuf),
}

impl Choice {
    /// A word for it: the task's name, `text` or `data`.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Choice::Task(name) => name,
            Choice::Text(_) => "text",
            Choice::Data(_) => "data",
        }
    }

    /// What messages call it: the file, or the task.
    #[must_use]
    pub fn what(&self) -> String {
        self.path().map_or_else(|| self.name().to_owned(), |path| path.display().to_string())
    }

    /// The file, if it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Choice::Task(_) => None,
            Choice::Text(path) | Choice::Data(path) => Some(path),
        }
    }

    /// Opens it for training, or to measure its test part. What is `known` is not taken from the data.
    ///
    /// # Errors
    /// What the source reports: files that cannot be read or are too small, sizes without sequences.
    pub fn open(&self, options: &Options, reading: &Reading, part: Part, known: Known) -> Result<OpenedData> {
        reading.check()?;
        match self {
            Choice::Task(name) => {
                let source = (Task::named(name)?.source)(options)?;
                Ok(OpenedData {
                    source,
                    vocabulary: None,
                    columns: None,
                    class_weights: None,
                    notes: Vec::new(),
                    measured_ids: Vec::new(),
                    fingerprints: Fingerprints::default(),
                })
            }
            Choice::Text(path) => Text::open(path, options, reading, part, known.vocabulary),
            Choice::Data(path) => own::open(path, options, reading, part, known.columns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Vocabulary;

    #[test]
    fn choices_open_and_read_back_from_their_serialised_form() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("t");
        std::fs::write(&text, "abcab".repeat(20)).unwrap();
        let options = Options { seed: 1, batch: 2, window: 5 };
        for (choice, characters) in [(Choice::Task("adding".into()), None), (Choice::Text(text), Some("abc"))] {
            let written = serde_json::to_string(&choice).unwrap();
            assert_eq!(serde_json::from_str::<Choice>(&written).unwrap(), choice);
            let opened = choice.open(&options, &Reading::default(), Part::Validation, Known::default()).unwrap();
            assert_eq!(opened.source.window(), (5, 2));
            assert_eq!(opened.vocabulary, characters.map(Vocabulary::from_text));
            assert_eq!(opened.fingerprints.data.is_some(), choice.path().is_some());
        }
        let error = |choice: Choice| {
            choice.open(&options, &Reading::default(), Part::Validation, Known::default()).err().unwrap().exit_code()
        };
        assert_eq!([error(Choice::Task("x".into())), error(Choice::Data("/none".into()))], [2, 7]);
    }
}
