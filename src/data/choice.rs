//! Which data a run reads: what a command line and a checkpoint say of it.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Arrays, Options, Source, Task, Text, Vocabulary};
use crate::tensors::{Layout, read_batch};
use crate::{Error, Result};

/// A named task, a text, or one's own sequences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// A task of [`super::ALL`].
    Task(String),
    /// A file of UTF-8, character by character.
    Text(PathBuf),
    /// A safetensors file, as [`crate::tensors::read_batch`] reads it.
    Data(PathBuf),
}

/// How a file of sequences or a text is read, divided and made into minibatches.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reading {
    /// Which axis of its tensors comes first.
    pub layout: Layout,
    /// Whether minibatches are of sequences of similar length, where lengths vary.
    pub bucket: bool,
    /// The share that is held out, from 0 to below 1: of sequences at random by the seed, of a text the end.
    pub validation: f64,
}

impl Default for Reading {
    fn default() -> Reading {
        Reading { layout: Layout::TimeFirst, bucket: true, validation: 0.1 }
    }
}

impl Reading {
    pub(crate) fn is_default(&self) -> bool {
        *self == Reading::default()
    }
}

/// An opened [`Choice`].
pub struct Opened {
    /// Its batches.
    pub source: Box<dyn Source>,
    /// The characters of a text.
    pub vocabulary: Option<Vocabulary>,
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

    /// Opens it for training.
    ///
    /// # Errors
    /// What the source reports: files that cannot be read or are too small, sizes without sequences.
    pub fn open(&self, options: &Options, reading: Reading) -> Result<Opened> {
        let Options { seed, batch, window } = *options;
        let (mut vocabulary, mut notes) = (None, Vec::new());
        let source: Box<dyn Source> = match self {
            Choice::Task(name) => (Task::named(name)?.source)(options)?,
            Choice::Text(path) => {
                let text = Text::load(path, batch, window, reading.validation)?;
                vocabulary = Some(text.vocabulary().clone());
                Box::new(text)
            }
            Choice::Data(path) => {
                let read = read_batch(path, reading.layout)?;
                notes.extend(read.note());
                let arrays =
                    Arrays::new(path.display(), read.batch, batch, seed, reading.validation)?.with_bucket(reading.bucket);
                notes.push(arrays.note());
                notes.iter_mut().for_each(|note| *note = format!("{}: {note}.", path.display()));
                Box::new(arrays)
            }
        };
        Ok(Opened { source, vocabulary, notes, fingerprint: self.path().map(fingerprint).transpose()? })
    }
}

/// FNV-1a over a file's bytes, 64 bits, in hexadecimal: tells changed files from unchanged ones, not forged ones.
pub(super) fn fingerprint(path: &Path) -> Result<String> {
    let unread = |e| Error::input(path.display(), format!("cannot be read: {e}"));
    let mut file = std::fs::File::open(path).map_err(unread)?;
    let (mut sum, mut buffer) = (0xcbf2_9ce4_8422_2325_u64, vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer).map_err(unread)? {
            0 => return Ok(format!("{sum:016x}")),
            read => buffer[..read].iter().for_each(|b| sum = (sum ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_those_of_fnv_and_change_with_a_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        // The test vectors of draft-eastlake-fnv, section 8.
        for (text, sum) in [("", "cbf29ce484222325"), ("a", "af63dc4c8601ec8c"), ("foobar", "85944171f73967e8")] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(fingerprint(&path).unwrap(), sum);
        }
        assert_eq!(fingerprint(folder.path().join("y").as_path()).unwrap_err().exit_code(), 7);
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
            let opened = choice.open(&options, Reading::default()).unwrap();
            assert_eq!(opened.source.window(), (5, 2));
            assert_eq!(opened.vocabulary.map(|v| v.to_string()).as_deref(), characters);
            assert_eq!(opened.fingerprint.is_some(), choice.path().is_some());
        }
        assert_eq!(Choice::Task("x".into()).open(&options, Reading::default()).err().unwrap().exit_code(), 2);
        assert_eq!(Choice::Data("/none".into()).open(&options, Reading::default()).err().unwrap().exit_code(), 7);
    }
}
