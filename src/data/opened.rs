//! Data that are opened: their batches, and what was found out in opening them.

use std::io::Read;
use std::path::Path;

use super::{Columns, Source, Vocabulary};
use crate::{Error, Result};

/// An opened [`super::Choice`].
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
