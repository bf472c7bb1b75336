//! How files of one's own are read: what a command line says of it, and a checkpoint keeps.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::class_weights::ClassWeights;
use super::columns::Scale;
use super::series::Windows;
use super::split::{HeldOut, Part};
use super::tables::TableOptions;
use super::vocabulary::Tokens;
use crate::tensors::Layout;
use crate::{Error, Result};

/// How a file of sequences, a series or a text is read, divided and made into minibatches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reading {
    /// Which axis of its tensors comes first.
    pub layout: Layout,
    /// Whether minibatches are of sequences of similar length, where lengths vary.
    pub bucket: bool,
    /// What is measured while training goes on.
    pub validation: HeldOut,
    /// What is measured once it has ended.
    pub test: HeldOut,
    /// The seed by which sequences are held out. `None`: that of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split_seed: Option<u64>,
    /// Which columns of a table are read and predicted.
    pub table: TableOptions,
    /// How numbers are scaled. `None`: those of a table to standard deviations, and tensors not at all.
    pub scale: Option<Scale>,
    /// Whether targets are labels from 0 to 1, which are never scaled.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub labels: bool,
    /// How long sequences become windows. `None`: a single series with the state carried on, and several sequences whole.
    pub windows: Option<Windows>,
    /// The time steps at the start of a random window that do not count.
    pub warmup: usize,
    /// What classes count for in the loss of training. `None`: all for 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<ClassWeights>,
    /// Whether sequences that are longer than the window are cut, and not read whole.
    pub cut: bool,
    /// Whether a batch that is too large for a series is made smaller, and not refused.
    pub shrink: bool,
    /// What the tokens of a text are.
    pub tokens: Tokens,
    /// The most words that are kept of a text, the most frequent.
    pub most_words: usize,
}

impl Default for Reading {
    fn default() -> Reading {
        Reading {
            layout: Layout::TimeFirst,
            bucket: true,
            validation: HeldOut::Share(0.1),
            test: HeldOut::Share(0.0),
            split_seed: None,
            table: TableOptions::default(),
            scale: None,
            labels: false,
            windows: None,
            warmup: 0,
            class_weights: None,
            cut: false,
            shrink: false,
            tokens: Tokens::Chars,
            most_words: 10_000,
        }
    }
}

impl Reading {
    pub(crate) fn is_default(&self) -> bool {
        *self == Reading::default()
    }

    /// How inputs and targets are scaled where inputs are scaled so.
    pub(super) fn scales(&self, scale: Scale) -> [Scale; 2] {
        [scale, if self.labels { Scale::None } else { scale }]
    }

    /// The shares that are held out of the file that trains.
    pub(super) fn shares(&self) -> [f64; 2] {
        [&self.validation, &self.test].map(|part| match part {
            HeldOut::Share(share) => *share,
            HeldOut::File(_) => 0.0,
        })
    }

    /// What is held out to measure a part.
    pub(crate) fn held_out(&self, part: Part) -> &HeldOut {
        match part {
            Part::Validation => &self.validation,
            Part::Test => &self.test,
        }
    }

    /// The file that is held out to measure a part, where it is one.
    #[must_use]
    pub fn file_of(&self, part: Part) -> Option<&Path> {
        match self.held_out(part) {
            HeldOut::File(path) => Some(path),
            HeldOut::Share(_) => None,
        }
    }

    /// Checks that the shares leave something to train.
    ///
    /// # Errors
    /// [`Error::Usage`] with the numbers.
    pub fn check(&self) -> Result<()> {
        let shares = self.shares();
        for (name, share) in ["validation", "test"].into_iter().zip(shares) {
            if !(0.0..1.0).contains(&share) {
                return Err(Error::Usage(format!("{name} is {share}; it must be at least 0 and below 1")));
            }
        }
        if shares[0] + shares[1] >= 1.0 {
            let [validation, test] = shares;
            return Err(Error::Usage(format!("validation {validation} and test {test} leave nothing to train")));
        }
        if self.warmup > 0 && self.windows != Some(Windows::Random) {
            return Err(Error::Usage("warm-up steps are for windows at random places (--windows random)".into()));
        }
        Ok(())
    }
}
