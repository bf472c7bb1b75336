//! Which sequences train and which are held out.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::random::{Random, stream};

/// What is held out of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HeldOut {
    /// This share, from 0 to below 1: of sequences at random by the seed, of a series or a text the end.
    Share(f64),
    /// Another file of the same kind.
    File(PathBuf),
}

/// Which held-out part is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Part {
    /// What is measured while training goes on.
    Validation,
    /// What is measured once it has ended.
    Test,
}

/// How many of `count` things a share is: rounded down, and at least one unless it is 0.
fn share_of(share: f64, count: usize) -> usize {
    let least = usize::from(share > 0.0);
    // A little more, so that a product that should be whole is.
    ((share * count as f64 + 1e-6) as usize).max(least).min(count)
}

/// `count` sequences in the order in which the first ones train and the others are held out; it follows from the seed.
pub(super) fn places(seed: u64, count: usize) -> Vec<u32> {
    // More than 2³² sequences would be more than 16 GiB of a single number each.
    Random::new(seed, stream::SPLIT).permutation(u32::try_from(count).unwrap_or(u32::MAX))
}

/// `count` sequences in the order in which they are.
pub(super) fn in_order(count: usize) -> Vec<u32> {
    (0..u32::try_from(count).unwrap_or(u32::MAX)).collect()
}

/// What trains and what is measured, as places in an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Division {
    /// The number of things that train; they come first.
    pub training: usize,
    /// What is measured.
    pub held_out: std::ops::Range<usize>,
}

impl Division {
    /// Divides `count` things in order: those that train, then the share for validation, then the share for the test.
    #[must_use]
    pub fn new(count: usize, [validation, test]: [f64; 2], part: Part) -> Division {
        let test = share_of(test, count);
        let validation = share_of(validation, count).min(count - test);
        let training = count - validation - test;
        let held_out = match part {
            Part::Validation => training..training + validation,
            Part::Test => training + validation..count,
        };
        Division { training, held_out }
    }

    /// Measures all `count` things and trains on none.
    #[must_use]
    pub fn all_held_out(count: usize) -> Division {
        Division { training: 0, held_out: 0..count }
    }
}
