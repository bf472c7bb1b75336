//! Which data a run reads: what a command line and a checkpoint say of it.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::columns::Columns;
use super::split::Part;
use super::{Known, Options, Reading, Source, Task, Text, Vocabulary, own};
use crate::{Error, Result};

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

/// An opened [`Choice`].
pub struct Opened {
    /// Its batches.
    pub source: Box<dyn Source>,
    /// The tokens of a text.
    pub vocabulary: Option<Vocabulary>,
    /// The columns of a table, or of tensors that are scaled.
    pub columns: Option<Columns>,
    /// What classes count for in the loss of training.
    pub class_weights: Option<Vec<f32>>,
    /// What should be told of it.
    pub notes: Vec<String>,
    /// The sum of a file's bytes, by which a resumed run knows it again.
    pub fingerprint: Option<String>,
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
    pub fn open(&self, options: &Options, reading: &Reading, part: Part, known: Known) -> Result<Opened> {
        reading.check()?;
        match self {
            Choice::Task(name) => {
                let source = (Task::named(name)?.source)(options)?;
                Ok(Opened { source, vocabulary: None, columns: None, class_weights: None, notes: Vec::new(), fingerprint: None })
            }
            Choice::Text(path) => Text::open(path, options, reading, part, known.vocabulary),
            Choice::Data(path) => own::open(path, options, reading, part, known.columns),
        }
    }
}

/// FNV-1a over bytes, 64 bits, in hexadecimal: tells changed files from unchanged ones, not forged ones.
pub(super) fn fingerprint(mut bytes: impl Read) -> std::io::Result<String> {
    let (mut sum, mut buffer) = (0xcbf2_9ce4_8422_2325_u64, vec![0; 1 << 16]);
    loop {
        match bytes.read(&mut buffer)? {
            0 => return Ok(format!("{sum:016x}")),
            read => buffer[..read].iter().for_each(|b| sum = (sum ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3)),
        }
    }
}

/// The fingerprint of a file.
pub(super) fn fingerprint_of(path: &Path) -> Result<String> {
    let sum = std::fs::File::open(path).and_then(fingerprint);
    sum.map_err(|e| Error::input(path.display(), format!("cannot be read: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_those_of_fnv_and_change_with_a_byte() {
        // The test vectors of draft-eastlake-fnv, section 8.
        for (text, sum) in [("", "cbf29ce484222325"), ("a", "af63dc4c8601ec8c"), ("foobar", "85944171f73967e8")] {
            assert_eq!(fingerprint(text.as_bytes()).unwrap(), sum);
        }
    }

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
            assert_eq!(opened.fingerprint.is_some(), choice.path().is_some());
        }
        let error = |choice: Choice| {
            choice.open(&options, &Reading::default(), Part::Validation, Known::default()).err().unwrap().exit_code()
        };
        assert_eq!([error(Choice::Task("x".into())), error(Choice::Data("/none".into()))], [2, 7]);
    }
}
