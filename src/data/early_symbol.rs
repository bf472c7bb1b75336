//! Early symbol: sequences of different lengths, and which of two symbols comes near their beginning, told at the first step and at the
//! last.
//!
//! At the first step only a network that also reads backward in time can know it. At the last one a network has to keep it for as long as
//! the sequence is: short ones teach an LSTM that before long ones need it, if their padding is not read. So it takes both directions and
//! lengths; `early-symbol-padded` has the same sequences without lengths. Guessing scores ln 2, and to know one of the two answers half.

use ndarray::Array2;

use super::{Defaults, Drawn, Options, Shape, Task};
use crate::batch::{Batch, Input, Inputs, TargetKind, Targets};
use crate::random::Random;
use crate::{Error, Result};

/// Symbols that mean nothing: 0 … 3.
const OTHERS: u32 = 4;
/// The first of the two that count.
const X: u32 = 4;
/// What lies behind the end.
const PADDING: u32 = 6;
/// The steps at which one of the two may come: neither the first nor the last of the shortest sequence.
const EARLY: std::ops::Range<u32> = 1..4;
const SHORTEST: usize = 5;

const DEFAULTS: Defaults = Defaults {
    window: 200,
    hidden: 32,
    activation: "relu",
    recurrent_init: "identity",
    optimizer: Some("adam"),
    lr: Some(1e-3),
    clip: Some(1.0),
    steps: Some(3000),
};

pub(super) const TASK: Task = Task {
    name: "early-symbol",
    about: "tell at the first and the last of 5 to --window steps which symbol comes near the beginning; guessing scores ln 2",
    defaults: DEFAULTS,
    guess: |_| 2f64.ln(),
    source: |options| Ok(Box::new(EarlySymbol::new(*options)?)),
};

pub(super) const PADDED: Task = Task {
    name: "early-symbol-padded",
    about: "the same without lengths: padding is read, and asked at its end",
    source: |options| Ok(Box::new(EarlySymbol { padded: true, ..EarlySymbol::new(*options)? })),
    ..TASK
};

/// Sequences of early symbol.
///
/// `tokens` `[T, B]` of 7: symbols of four that mean nothing, and at the second, third or fourth step an X or a Y. `lengths` from 5 to T,
/// and behind them padding. `classes` `[T, B]` of 2: X or Y, which count at the first step and at the last one.
#[derive(Debug, Clone)]
pub struct EarlySymbol {
    options: Options,
    /// Whether lengths are kept back, and the last step is that of the padding.
    padded: bool,
}

impl EarlySymbol {
    /// Sequences of 5 to `options.window` steps.
    ///
    /// # Errors
    /// [`Error::Usage`] for shorter windows, a batch of 0, or more than 2³² − 1 steps in a batch.
    pub fn new(options: Options) -> Result<EarlySymbol> {
        options.check(Some(options.window))?;
        if options.window < SHORTEST {
            return Err(Error::Usage(format!(
                "early-symbol: its window is at least {SHORTEST} time steps, not {}",
                options.window
            )));
        }
        Ok(EarlySymbol { options, padded: false })
    }
}

impl Drawn for EarlySymbol {
    fn options(&self) -> &Options {
        &self.options
    }

    fn window(&self) -> (usize, usize) {
        (self.options.window, self.options.batch)
    }

    fn shape(&self) -> Shape {
        Shape { input: Input::Tokens(PADDING as usize + 1), targets: 2, kind: TargetKind::Classes }
    }

    fn has_lengths(&self) -> bool {
        !self.padded
    }

    fn draw(&self, stream: u64) -> Batch {
        let Options { seed, batch, window } = self.options;
        let mut random = Random::new(seed, stream);
        let mut tokens = Array2::from_shape_simple_fn((window, batch), || random.below(OTHERS));
        let (mut classes, mut mask) = (Array2::zeros((window, batch)), Array2::zeros((window, batch)));
        let mut lengths = Vec::new();
        for b in 0..batch {
            let length = SHORTEST + random.below((window - SHORTEST + 1) as u32) as usize;
            let (class, place) = (random.below(2), EARLY.start + random.below(EARLY.end - EARLY.start));
            tokens[[place as usize, b]] = X + class;
            (length..window).for_each(|t| tokens[[t, b]] = PADDING);
            classes.column_mut(b).fill(class);
            for t in [0, if self.padded { window } else { length } - 1] {
                mask[[t, b]] = 1.0;
            }
            lengths.push(length);
        }
        let lengths = (!self.padded).then_some(lengths);
        Batch { mask: Some(mask), lengths, ..Batch::new(Inputs::Tokens(tokens), Targets::Classes(classes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::*;

    fn columns(batch: &Batch) -> (&Array2<u32>, &Array2<u32>) {
        match batch {
            Batch { inputs: Inputs::Tokens(x), targets: Targets::Classes(y), .. } => (x, y),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_class_is_the_early_symbol_and_counts_at_both_ends() {
        for window in [5, 6, 37, 200] {
            let options = Options { seed: 9, batch: 300, window };
            let with = EarlySymbol::new(options).unwrap().batch(2);
            let without = (PADDED.source)(&options).unwrap().batch(2);
            let ((x, y), lengths) = (columns(&with), with.lengths.as_ref().unwrap());
            assert_eq!(columns(&without), (x, y));
            for (b, &length) in lengths.iter().enumerate() {
                let symbols: Vec<u32> = x.column(b).to_vec();
                let found: Vec<usize> = (0..window).filter(|&t| (4..6).contains(&symbols[t])).collect();
                assert!(found.len() == 1 && (1..4).contains(&found[0]), "{symbols:?}");
                assert!(symbols.iter().enumerate().all(|(t, &v)| (v == 6) == (t >= length)));
                assert_eq!(symbols[found[0]] - 4, y[[0, b]]);
                let counted = |batch: &Batch| (0..window).filter(|&t| batch.counts(t, b)).collect::<Vec<_>>();
                assert_eq!((counted(&with), counted(&without)), (vec![0, length - 1], vec![0, window - 1]));
            }
            let (shortest, longest) = (lengths.iter().min(), lengths.iter().max());
            assert!(window > 40 || (shortest, longest) == (Some(&5), Some(&window)), "{lengths:?}");
            assert_eq!((without.lengths, with.lengths.map(|l| l.len())), (None, Some(300)));
        }
    }

    #[test]
    fn both_symbols_are_as_likely() {
        let batch = EarlySymbol::new(Options { seed: 4, batch: 8000, window: 5 }).unwrap().held_out(1);
        let count = columns(&batch).1.row(0).iter().filter(|&&class| class == 1).count();
        assert!(count.abs_diff(4000) < 200, "{count}");
    }

    #[test]
    fn a_seed_means_the_same_sequences_for_ever() {
        let batch = EarlySymbol::new(Options { seed: 42, batch: 1, window: 12 }).unwrap().batch(3);
        assert_eq!(columns(&batch).0.column(0).to_vec(), [0, 3, 0, 4, 2, 0, 3, 2, 6, 6, 6, 6]);
    }
}
