//! One's own sequences, from a file or from arrays: minibatches along `B`, in another order each pass.
//!
//! The first sequences train, the last tenth (rounded down, at least one) are held out. A pass takes each training sequence at
//! most once; those that do not fill a last minibatch wait for the next pass, which has another order.

use std::path::Path;

use ndarray::{Array2, Array3, Axis};

use super::{Shape, Source};
use crate::batch::{Batch, InitialState, Inputs, Targets};
use crate::random::{Random, stream};
use crate::tensors::read_batch;
use crate::{Error, Result};

/// Sequences in memory, as minibatches of `batch` of them.
#[derive(Debug, Clone)]
pub struct Arrays {
    data: Batch,
    shape: Shape,
    batch: usize,
    seed: u64,
    /// How many train; the rest are held out.
    training: usize,
    /// The pass whose order is `order`.
    pass: Option<u64>,
    order: Vec<u32>,
}

impl Arrays {
    /// The sequences of a file as [`read_batch`] reads it.
    ///
    /// # Errors
    /// As [`read_batch`] and [`Arrays::new`].
    pub fn load(path: impl AsRef<Path>, batch: usize, seed: u64) -> Result<Arrays> {
        Arrays::new(path.as_ref().display(), read_batch(&path)?, batch, seed)
    }

    /// The sequences of `data` to train on; `what` it is (its file) goes into messages.
    ///
    /// # Errors
    /// [`Error::BadInput`] for values that no network could read, for a sequence in which no output counts, and for too few sequences to
    /// fill a minibatch and hold one out. [`Error::Usage`] for a batch of 0.
    pub fn new(what: impl ToString, data: Batch, batch: usize, seed: u64) -> Result<Arrays> {
        let sequences = data.shape().1;
        let training = sequences - (sequences / 10).max(1).min(sequences);
        if training < batch {
            let held_out = sequences - training;
            let problem = format!(
                "batch {batch} needs as many sequences to train; of {sequences} there, {held_out} held out, {training} are left"
            );
            return Err(Error::input(what, problem));
        }
        Arrays::split(what, data, batch, seed, training)
    }

    /// The sequences of `data` to evaluate a network on: all are held out, and the training batches are the same.
    ///
    /// # Errors
    /// As [`Arrays::new`], but there can be as few as one sequence.
    pub fn held_out_only(what: impl ToString, data: Batch, batch: usize) -> Result<Arrays> {
        Arrays::split(what, data, batch, 0, 0)
    }

    fn split(what: impl ToString, data: Batch, batch: usize, seed: u64, training: usize) -> Result<Arrays> {
        if batch == 0 {
            return Err(Error::Usage("a batch of 0 sequences".into()));
        }
        let shape = Shape::of(&data);
        data.check_alone(shape.input, shape.outputs)?;
        match (0..data.shape().1).find(|&b| data.last_counted(b).is_none()) {
            Some(b) => Err(Error::input(what, format!("mask: no output of sequence {b} counts; leave it out"))),
            None => Ok(Arrays { data, shape, batch, seed, training, pass: None, order: Vec::new() }),
        }
    }

    /// How many sequences train and how many are held out.
    #[must_use]
    pub fn sequences(&self) -> (usize, usize) {
        (self.training, self.data.shape().1 - self.training)
    }

    /// The sequences of these indices; those from the `counted`-th on are masked.
    fn select(&self, indices: &[usize], counted: usize) -> Batch {
        let data = &self.data;
        let mut mask = data.mask.as_ref().map(|m| m.select(Axis(1), indices));
        if counted < indices.len() {
            let all = || Array2::ones((data.shape().0, indices.len()));
            mask.get_or_insert_with(all).slice_mut(ndarray::s![.., counted..]).fill(0.0);
        }
        Batch {
            inputs: match &data.inputs {
                Inputs::Tokens(x) => Inputs::Tokens(x.select(Axis(1), indices)),
                Inputs::Vectors(x) => Inputs::Vectors(x.select(Axis(1), indices)),
            },
            targets: match &data.targets {
                Targets::Classes(y) => Targets::Classes(y.select(Axis(1), indices)),
                Targets::Values(y) => Targets::Values(y.select(Axis(1), indices)),
            },
            mask,
            lengths: data.lengths.as_ref().map(|lengths| indices.iter().map(|&b| lengths[b]).collect()),
            reduction: data.reduction,
            initial_state: match &data.initial_state {
                InitialState::Given(states) => {
                    let select = |(name, state): (&String, &Array3<f32>)| (name.clone(), state.select(Axis(1), indices));
                    InitialState::Given(states.iter().map(select).collect())
                }
                // Sequences have no window before them.
                InitialState::Zero | InitialState::Carried => InitialState::Zero,
            },
        }
    }
}

impl Source for Arrays {
    fn window(&self) -> (usize, usize) {
        (self.data.shape().0, self.batch)
    }

    fn shape(&self) -> Shape {
        self.shape
    }

    fn has_lengths(&self) -> bool {
        self.data.lengths.is_some()
    }

    fn batch(&mut self, step: u64) -> Batch {
        if self.training == 0 {
            return self.held_out(step % self.held_out_batches());
        }
        let batches = (self.training / self.batch) as u64;
        let (pass, k) = (step / batches, (step % batches) as usize);
        if self.pass != Some(pass) {
            // More than 2³² sequences would be more than 16 GiB of a single number each.
            let n = u32::try_from(self.training).unwrap_or(u32::MAX);
            self.order = Random::new(self.seed, stream::SHUFFLE + pass).permutation(n);
            self.pass = Some(pass);
        }
        let indices = self.order[k * self.batch..][..self.batch].iter().map(|&i| i as usize).collect::<Vec<_>>();
        self.select(&indices, self.batch)
    }

    fn held_out_batches(&self) -> u64 {
        self.sequences().1.div_ceil(self.batch) as u64
    }

    fn held_out(&mut self, index: u64) -> Batch {
        let sequences = self.data.shape().1;
        let first = self.training + index as usize * self.batch;
        let counted = self.batch.min(sequences - first);
        // What fills the batch up is masked, so it may be any sequence.
        let indices = (first..first + self.batch).map(|i| i.min(sequences - 1)).collect::<Vec<_>>();
        self.select(&indices, counted)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    /// `n` sequences of 3 steps whose every number tells the sequence.
    fn data(n: usize) -> Batch {
        Batch {
            mask: Some(Array2::from_shape_fn((3, n), |(t, b)| if t == b % 3 { 1.0 } else { 0.0 })),
            initial_state: InitialState::Given([("h".into(), Array3::from_shape_fn((2, n, 4), |(_, b, _)| b as f32))].into()),
            ..Batch::new(
                Inputs::Vectors(Array3::from_shape_fn((3, n, 2), |(t, b, i)| (10 * b) as f32 + (2 * t + i) as f32)),
                Targets::Classes(Array2::from_shape_fn((3, n), |(t, b)| (3 * b + t) as u32)),
            )
        }
    }

    /// The sequence in each place of a batch, after checking that all its tensors are of that one.
    fn members(batch: &Batch, n: usize) -> Vec<usize> {
        let (Inputs::Vectors(x), InitialState::Given(states)) = (&batch.inputs, &batch.initial_state) else {
            panic!("{batch:?}")
        };
        let (Targets::Classes(y), Some(mask)) = (&batch.targets, &batch.mask) else { panic!("{batch:?}") };
        (0..batch.shape().1)
            .map(|b| {
                let id = (x[[0, b, 0]] / 10.0) as usize;
                let masked = mask.column(b).sum() == 0.0;
                assert!(
                    id < n
                        && y[[2, b]] == 3 * id as u32 + 2
                        && x[[2, b, 1]] == (10 * id + 5) as f32
                        && states["h"][[1, b, 3]] == id as f32
                );
                assert!(masked || mask[[id % 3, b]] == 1.0);
                if masked { usize::MAX } else { id }
            })
            .collect()
    }

    #[test]
    fn a_pass_takes_each_training_sequence_at_most_once_and_the_next_has_another_order() {
        let mut source = Arrays::new("d", data(47), 5, 3).unwrap();
        assert_eq!((source.sequences(), source.window()), ((43, 4), (3, 5)));
        let mut pass = |p: u64| (8 * p..8 * p + 8).flat_map(|k| members(&source.batch(k), 47)).collect::<Vec<_>>();
        let (first, second) = (pass(0), pass(1));
        for order in [&first, &second] {
            let distinct = order.iter().collect::<std::collections::BTreeSet<_>>();
            assert_eq!(distinct.len(), 40);
            assert!(order.iter().all(|&i| i < 43));
        }
        assert_ne!(first, second);
        assert_eq!(pass(0), first, "a function of the step alone");
        let mut other = Arrays::new("d", data(47), 5, 4).unwrap();
        assert_ne!(members(&other.batch(0), 47), first[..5]);
    }

    #[test]
    fn held_out_sequences_come_in_order_and_the_last_batch_is_filled_up() {
        let none = usize::MAX;
        for (mut source, expected) in [
            (Arrays::new("d", data(47), 3, 0).unwrap(), vec![vec![43, 44, 45], vec![46, none, none]]),
            (Arrays::new("d", data(2), 1, 0).unwrap(), vec![vec![1]]),
            (Arrays::new("d", data(9), 8, 0).unwrap(), vec![vec![8, none, none, none, none, none, none, none]]),
            (Arrays::held_out_only("d", data(3), 2).unwrap(), vec![vec![0, 1], vec![2, none]]),
        ] {
            let got = (0..source.held_out_batches()).map(|k| members(&source.held_out(k), 47)).collect::<Vec<_>>();
            assert_eq!(got, expected);
        }
        let mut source = Arrays::held_out_only("d", data(3), 2).unwrap();
        assert_eq!(source.batch(3), source.held_out(1));

        // Without a mask there is one only where it is needed.
        let plain = Batch::new(Inputs::Tokens(array![[1, 2, 3]]), Targets::Values(Array3::zeros((1, 3, 2))));
        let mut source = Arrays::held_out_only("d", plain, 2).unwrap();
        assert_eq!((source.held_out(0).mask, source.held_out(1).mask), (None, Some(array![[1.0, 0.0]])));
        assert_eq!(source.shape().input, crate::batch::Input::Tokens(4));
    }

    #[test]
    fn what_cannot_be_split_is_an_error_with_the_numbers() {
        let masked = Batch { mask: Some(array![[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]), ..data(2) };
        for (result, expected) in [
            (
                Arrays::new("d", data(33), 32, 0),
                "d: batch 32 needs as many sequences to train; of 33 there, 3 held out, 30 are left",
            ),
            (Arrays::new("d", data(1), 1, 0), "d: batch 1 needs as many sequences to train; of 1 there, 1 held out, 0 are left"),
            (Arrays::new("d", masked, 1, 0), "d: mask: no output of sequence 1 counts; leave it out"),
        ] {
            let error = result.unwrap_err();
            assert_eq!((error.to_string().as_str(), error.exit_code()), (expected, 7));
        }
        assert_eq!(Arrays::new("d", data(5), 0, 0).unwrap_err().exit_code(), 2);
        assert_eq!(Arrays::load("no/such/file", 1, 0).unwrap_err().exit_code(), 7);
    }
}
