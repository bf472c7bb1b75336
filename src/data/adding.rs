//! The adding problem: of `T` random numbers, add the two that are marked.
//!
//! Hochreiter and Schmidhuber 1997, experiment 4, in the form of Le, Jaitly and Hinton 2015 ("A simple way to initialize recurrent
//! networks of rectified linear units"). Answering 1, the mean, scores 1/6: less means that something was carried over half the sequence or more.

use ndarray::Array3;

use super::{Defaults, Drawn, Options, Shape, Task};
use crate::batch::{Batch, Input, Inputs, TargetKind, Targets};
use crate::random::Random;
use crate::{Error, Result};

pub(super) const TASK: Task = Task {
    name: "adding",
    about: "add the two numbers that are marked in a sequence; guessing scores 1/6",
    defaults: Defaults {
        window: 100,
        hidden: 64,
        activation: "relu",
        recurrent_init: "identity",
        optimizer: Some("adam"),
        // An identity network's gradients explode at first: without clipping it does not learn. At this rate 16 of 16 seeds end
        // below 0.005 on fresh sequences; at twice the rate and half the steps a spike at the end leaves one above 0.01.
        lr: Some(5e-4),
        clip: Some(1.0),
        steps: Some(6000),
    },
    guess: |_| 1.0 / 6.0,
    source: |options| Ok(Box::new(Adding::new(*options)?)),
};

/// Sequences of the adding problem.
///
/// `inputs` `[T, B, 2]`: a value uniform in [0, 1), and a marker that is 1 at one step of the first ⌊T/2⌋ and at one of the others, else 0.
/// `values` `[T, B, 1]`: the sum of the two marked values at the last step, which is the only one that counts.
#[derive(Debug, Clone)]
pub struct Adding {
    options: Options,
}

impl Adding {
    /// Sequences of `options.window` ≥ 2 steps.
    ///
    /// # Errors
    /// [`Error::Usage`] for shorter ones, a batch of 0, or more than 2³² − 1 steps in a batch.
    pub fn new(options: Options) -> Result<Adding> {
        options.check(Some(options.window))?;
        match options.window {
            0 | 1 => Err(Error::Usage("the adding problem adds two numbers: its window is at least 2, not 1".into())),
            _ => Ok(Adding { options }),
        }
    }
}

impl Drawn for Adding {
    fn options(&self) -> &Options {
        &self.options
    }

    fn window(&self) -> (usize, usize) {
        (self.options.window, self.options.batch)
    }

    fn shape(&self) -> Shape {
        Shape { input: Input::Vectors(2), targets: 1, kind: TargetKind::Values }
    }

    fn draw(&self, stream: u64) -> Batch {
        let Options { seed, batch, window } = self.options;
        let mut random = Random::new(seed, stream);
        let mut inputs = Array3::zeros((window, batch, 2));
        let mut values = Array3::zeros((window, batch, 1));
        let half = window / 2;
        for b in 0..batch {
            inputs.slice_mut(ndarray::s![.., b, 0]).mapv_inplace(|_: f32| random.uniform());
            // Both fit: `check` bounds the window by 2³² − 1.
            let marked = [random.below(half as u32) as usize, half + random.below((window - half) as u32) as usize];
            for t in marked {
                inputs[[t, b, 1]] = 1.0;
                values[[window - 1, b, 0]] += inputs[[t, b, 0]];
            }
        }
        Batch::new(Inputs::Vectors(inputs), Targets::Values(values)).of_last_step()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::super::Source;
    use super::*;

    fn arrays(batch: Batch) -> (Array3<f32>, Array3<f32>, Array2<f32>) {
        match batch {
            Batch { inputs: Inputs::Vectors(x), targets: Targets::Values(y), mask: Some(mask), .. } => (x, y, mask),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_target_is_the_sum_of_one_value_of_each_half() {
        for window in [2, 3, 7, 64, 101] {
            let mut source = Adding::new(Options { seed: 1, batch: 19, window }).unwrap();
            let (x, y, mask) = arrays(source.batch(5));
            for b in 0..19 {
                let marked = (0..window).filter(|&t| x[[t, b, 1]] == 1.0).collect::<Vec<_>>();
                assert_eq!(marked.len(), 2);
                assert!(marked[0] < window / 2 && marked[1] >= window / 2, "{marked:?} of {window}");
                assert_eq!(y[[window - 1, b, 0]], x[[marked[0], b, 0]] + x[[marked[1], b, 0]]);
                assert_eq!(mask.column(b).sum(), 1.0);
                assert_eq!(mask[[window - 1, b]], 1.0);
            }
            assert!(x.iter().all(|v| (0.0..=1.0).contains(v)));
            assert_eq!(x.slice(ndarray::s![.., .., 1]).sum(), 38.0);
            assert_eq!(y.iter().filter(|&&v| v != 0.0).count(), 19);
        }
    }

    #[test]
    fn answering_the_mean_scores_a_sixth() {
        let mut source = Adding::new(Options { seed: 3, batch: 20_000, window: 4 }).unwrap();
        let (_, y, _) = arrays(source.held_out(0));
        let score = y.slice(ndarray::s![3, .., 0]).mapv(|v| (v - 1.0).powi(2)).mean().unwrap();
        assert!((score - 1.0 / 6.0).abs() < 0.005, "{score}");
    }

    #[test]
    fn a_seed_means_the_same_sequences_for_ever() {
        let (x, y, _) = arrays(Adding::new(Options { seed: 42, batch: 1, window: 3 }).unwrap().batch(3));
        assert_eq!(
            (x.into_raw_vec_and_offset().0, y[[2, 0, 0]]),
            (vec![0.098_806_68, 1.0, 0.981_070_2, 0.0, 0.105_637_13, 1.0], 0.204_443_81)
        );
    }
}
