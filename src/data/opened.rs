//! Data that are opened: their batches, and what was found out in opening them.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use super::split::{HeldOut, Part};
use super::{Columns, Reading, Source, Vocabulary};
use crate::{Error, Result};

/// An opened [`super::Choice`].
pub struct OpenedData {
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
    /// What a table's column calls the sequences of the file that is measured, in its order; empty where they have no names.
    pub measured_ids: Vec<String>,
    /// The sums by which a run that goes on recognises its files.
    pub fingerprints: Fingerprints,
}

/// The sums of the bytes of files; `None` where there is no file, or where it cannot be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprints {
    /// Of the file that trains.
    pub data: Option<String>,
    /// Of the file of `--validation`.
    pub validation: Option<String>,
    /// Of the file of `--test`.
    pub test: Option<String>,
}

impl Fingerprints {
    /// The key of each in the metadata of a checkpoint.
    const KEYS: [&str; 3] = ["fingerprint", "fingerprint.validation", "fingerprint.test"];

    /// Those of the file that trains and of the file of the held-out part that was read, if there is one. A test file that was not read is read
    /// for its sum, unless it is a pipe.
    pub(super) fn new(data: Option<String>, held_out: Option<String>, reading: &Reading, part: Part) -> Fingerprints {
        let (validation, test) = match (part, reading.held_out(Part::Test)) {
            (Part::Test, _) => (None, held_out),
            (Part::Validation, HeldOut::File(path)) if path.is_file() => (held_out, fingerprint_of(path).ok()),
            (Part::Validation, _) => (held_out, None),
        };
        Fingerprints { data, validation, test }
    }

    /// Those in the metadata of a checkpoint.
    pub(crate) fn from_metadata(metadata: &BTreeMap<String, String>) -> Fingerprints {
        let [data, validation, test] = Fingerprints::KEYS.map(|key| metadata.get(key).cloned());
        Fingerprints { data, validation, test }
    }

    /// As metadata of a checkpoint.
    pub(crate) fn to_metadata(&self) -> impl Iterator<Item = (String, String)> {
        let all = [&self.data, &self.validation, &self.test].into_iter().zip(Fingerprints::KEYS);
        all.filter_map(|(sum, key)| Some((key.to_owned(), sum.clone()?)))
    }

    /// That of the file of a held-out part.
    #[must_use]
    pub fn held_out(&self, part: Part) -> Option<&String> {
        match part {
            Part::Validation => self.validation.as_ref(),
            Part::Test => self.test.as_ref(),
        }
    }

    /// Whether the files of a held-out part differ. Where one of the sums is not known, they do not.
    #[must_use]
    pub fn differ_in(&self, other: &Fingerprints, part: Part) -> bool {
        matches!((self.held_out(part), other.held_out(part)), (Some(a), Some(b)) if a != b)
    }

    /// Whether what validates is the same, so that validations can be compared: the same file, or the same part of the data that train.
    #[must_use]
    pub fn validate_alike(&self, other: &Fingerprints) -> bool {
        match (&self.validation, &other.validation) {
            (Some(a), Some(b)) => a == b,
            _ => self.data == other.data,
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
}
