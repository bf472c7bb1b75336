//! Temporal order: which of two symbols came first, told at the end.
//!
//! Hochreiter and Schmidhuber 1997, experiment 6a ("Long short-term memory", section 5.6): among symbols that mean nothing an X or a Y comes
//! in the second tenth of a sequence and again in the sixth. Guessing scores ln 4.

use ndarray::Array2;

use super::{Defaults, Drawn, Options, Shape, Task};
use crate::batch::{Batch, Input, Inputs, TargetKind, Targets};
use crate::random::Random;
use crate::{Error, Result};

/// Symbols that mean nothing: 0 … 3.
const OTHERS: u32 = 4;
/// X; Y is the next.
const X: u32 = 4;
const BEGIN: u32 = 6;
const END: u32 = 7;
/// The shortest sequence in which both tenths have a step.
const SHORTEST: usize = 10;

pub(super) const TASK: Task = Task {
    name: "temporal-order",
    about: "tell at the end in which order two symbols came; guessing scores ln 4",
    defaults: Defaults {
        window: 100,
        hidden: 64,
        activation: "relu",
        recurrent_init: "identity",
        optimizer: Some("adam"),
        lr: Some(5e-4),
        clip: Some(1.0),
        steps: Some(3000),
    },
    guess: |_| 4f64.ln(),
    source: |options| Ok(Box::new(TemporalOrder::new(*options)?)),
};

/// Sequences of temporal order.
///
/// `tokens` `[T, B]` of 8: a begin, symbols of four that mean nothing, an end; at a step of the second tenth and at one of the sixth an X or a Y.
/// `classes` `[T, B]` of 4: XX, XY, YX or YY at the last step, which is the only one that counts.
#[derive(Debug, Clone)]
pub struct TemporalOrder {
    options: Options,
}

impl TemporalOrder {
    /// Sequences of `options.window` ≥ 10 steps.
    ///
    /// # Errors
    /// [`Error::Usage`] for shorter ones, a batch of 0, or more than 2³² − 1 steps in a batch.
    pub fn new(options: Options) -> Result<TemporalOrder> {
        options.check(Some(options.window))?;
        if options.window < SHORTEST {
            return Err(Error::Usage(format!("temporal order: its window is at least {SHORTEST}, not {}", options.window)));
        }
        Ok(TemporalOrder { options })
    }
}

impl Drawn for TemporalOrder {
    fn options(&self) -> &Options {
        &self.options
    }

    fn window(&self) -> (usize, usize) {
        (self.options.window, self.options.batch)
    }

    fn shape(&self) -> Shape {
        Shape { input: Input::Tokens(END as usize + 1), targets: 4, kind: TargetKind::Classes }
    }

    fn draw(&self, stream: u64) -> Batch {
        let Options { seed, batch, window } = self.options;
        let mut random = Random::new(seed, stream);
        let mut tokens = Array2::from_shape_simple_fn((window, batch), || random.below(OTHERS));
        tokens.row_mut(0).fill(BEGIN);
        tokens.row_mut(window - 1).fill(END);
        let mut classes = Array2::zeros((window, batch));
        for b in 0..batch {
            for tenth in [1, 5] {
                let (first, end) = (tenth * window / 10, (tenth + 1) * window / 10);
                let symbol = random.below(2);
                tokens[[first + random.below((end - first) as u32) as usize, b]] = X + symbol;
                classes[[window - 1, b]] = 2 * classes[[window - 1, b]] + symbol;
            }
        }
        Batch::new(Inputs::Tokens(tokens), Targets::Classes(classes)).of_last_step()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::*;

    fn columns(batch: Batch) -> (Array2<u32>, Array2<u32>, Array2<f32>) {
        match batch {
            Batch { inputs: Inputs::Tokens(x), targets: Targets::Classes(y), mask: Some(mask), .. } => (x, y, mask),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_class_is_the_order_of_the_two_symbols() {
        for window in [10, 11, 37, 100] {
            let (x, y, mask) = columns(TemporalOrder::new(Options { seed: 9, batch: 50, window }).unwrap().batch(2));
            for (b, column) in x.columns().into_iter().enumerate() {
                let column = column.to_vec();
                let found: Vec<(usize, u32)> =
                    column.iter().enumerate().filter(|(_, v)| (4..6).contains(*v)).map(|(t, &v)| (t, v - 4)).collect();
                let [(first, a), (second, c)] = found[..] else { panic!("{found:?} in {column:?}") };
                assert!((window / 10..2 * window / 10).contains(&first) && (window / 2..6 * window / 10).contains(&second));
                assert_eq!((column[0], column[window - 1], y[[window - 1, b]]), (6, 7, 2 * a + c));
                assert!(column[1..window - 1].iter().all(|&v| v < 6));
            }
            assert!(mask.indexed_iter().all(|((t, _), &m)| m == f32::from(u8::from(t == window - 1))));
        }
    }

    #[test]
    fn every_order_is_as_likely() {
        let (_, y, _) = columns(TemporalOrder::new(Options { seed: 4, batch: 8000, window: 10 }).unwrap().held_out(1));
        for class in 0..4 {
            let count = y.row(9).iter().filter(|&&v| v == class).count();
            assert!(count.abs_diff(2000) < 200, "{class}: {count}");
        }
    }

    #[test]
    fn a_seed_means_the_same_sequences_for_ever() {
        let (x, ..) = columns(TemporalOrder::new(Options { seed: 42, batch: 1, window: 12 }).unwrap().batch(3));
        assert_eq!(x.column(0).to_vec(), [6, 4, 0, 1, 2, 0, 5, 2, 3, 1, 3, 7]);
    }
}
