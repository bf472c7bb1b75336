//! Copy memory: repeat ten symbols after a delay of `T` steps.
//!
//! Hochreiter and Schmidhuber 1997, in the form of Arjovsky, Shah and Bengio 2016 ("Unitary evolution recurrent neural networks", section 4.1).
//! A network without memory does best by answering blanks and then guessing, which costs 10·ln 8/(T + 20) nats a step.

use ndarray::Array2;

use super::{Defaults, Drawn, Options, Shape, Task};
use crate::Result;
use crate::batch::{Batch, Input, Inputs, TargetKind, Targets};
use crate::random::Random;

/// How many symbols are to be remembered.
const RECALL: usize = 10;
/// The symbols are 0 … 7.
const SYMBOLS: u32 = 8;
const BLANK: u32 = 8;
const DELIMITER: u32 = 9;

pub(super) const TASK: Task = Task {
    name: "copy-memory",
    about: "repeat ten symbols after --window steps; guessing scores 10·ln 8/(window + 20)",
    defaults: Defaults {
        window: 20,
        hidden: 128,
        // A linear network with an orthogonal W keeps what it read: 4 of 4 seeds end below 0.0002. A tanh network stays at the
        // guess for as long.
        activation: "identity",
        recurrent_init: "orthogonal",
        optimizer: Some("adam"),
        lr: Some(1e-3),
        clip: Some(1.0),
        steps: Some(3000),
    },
    guess: |window| RECALL as f64 * f64::from(SYMBOLS).ln() / (window + 2 * RECALL) as f64,
    source: |options| Ok(Box::new(CopyMemory::new(*options)?)),
};

/// Sequences of copy memory with a delay of `T` steps; each has `T + 20`.
///
/// `tokens` `[T + 20, B]` of 10: ten symbols of eight, `T − 1` blanks, the delimiter, ten blanks.
/// `classes` `[T + 20, B]` of 9, the delimiter never being an answer: `T + 10` blanks, then the ten symbols. All count.
#[derive(Debug, Clone)]
pub struct CopyMemory {
    options: Options,
}

impl CopyMemory {
    /// Sequences with a delay of `options.window` ≥ 1 steps.
    ///
    /// # Errors
    /// [`Error::Usage`](crate::Error::Usage) for a delay or a batch of 0, or more than 2³² − 1 steps in a batch.
    pub fn new(options: Options) -> Result<CopyMemory> {
        options.check(options.window.checked_add(2 * RECALL))?;
        Ok(CopyMemory { options })
    }
}

impl Drawn for CopyMemory {
    fn options(&self) -> &Options {
        &self.options
    }

    fn window(&self) -> (usize, usize) {
        (self.options.window + 2 * RECALL, self.options.batch)
    }

    fn shape(&self) -> Shape {
        Shape { input: Input::Tokens(DELIMITER as usize + 1), targets: BLANK as usize + 1, kind: TargetKind::Classes }
    }

    fn draw(&self, stream: u64) -> Batch {
        let Options { seed, batch, window } = self.options;
        let mut random = Random::new(seed, stream);
        let length = window + 2 * RECALL;
        let mut tokens = Array2::from_elem((length, batch), BLANK);
        let mut classes = tokens.clone();
        tokens.row_mut(RECALL + window - 1).fill(DELIMITER);
        for b in 0..batch {
            for i in 0..RECALL {
                let symbol = random.below(SYMBOLS);
                tokens[[i, b]] = symbol;
                classes[[length - RECALL + i, b]] = symbol;
            }
        }
        Batch::new(Inputs::Tokens(tokens), Targets::Classes(classes))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::*;

    fn columns(batch: Batch) -> (Array2<u32>, Array2<u32>) {
        match batch {
            Batch { inputs: Inputs::Tokens(x), targets: Targets::Classes(y), mask: None, .. } => (x, y),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn symbols_come_back_after_the_delimiter() {
        for window in [1, 2, 19, 100] {
            let (x, y) = columns(CopyMemory::new(Options { seed: 9, batch: 7, window }).unwrap().batch(2));
            assert_eq!((x.dim(), y.dim()), ((window + 20, 7), (window + 20, 7)));
            for (x, y) in x.columns().into_iter().zip(y.columns()) {
                let (x, y) = (x.to_vec(), y.to_vec());
                assert!(x[..10].iter().all(|&v| v < 8));
                let rest = [vec![8; window - 1], vec![9], vec![8; 10]].concat();
                assert_eq!((&x[10..], &y[window + 10..]), (&rest[..], &x[..10]));
                assert_eq!(y[..window + 10], vec![8; window + 10]);
            }
        }
    }

    #[test]
    fn a_seed_means_the_same_sequences_for_ever() {
        let (x, _) = columns(CopyMemory::new(Options { seed: 42, batch: 1, window: 1 }).unwrap().batch(3));
        assert_eq!(x.column(0).to_vec()[..10], [0, 7, 0, 3, 5, 1, 7, 4, 6, 3]);
    }

    #[test]
    fn every_symbol_is_as_likely() {
        let (x, _) = columns(CopyMemory::new(Options { seed: 4, batch: 8000, window: 1 }).unwrap().held_out(1));
        for symbol in 0..8 {
            let count = x.iter().filter(|&&v| v == symbol).count();
            assert!(count.abs_diff(10_000) < 500, "{symbol}: {count}");
        }
    }
}
