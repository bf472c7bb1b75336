//! One's own sequences, from a file or from arrays: minibatches along `B`, in another order each pass.
//!
//! Shares of them, chosen at random by the seed, are kept for validation and for a test (each rounded down, at least one unless it is 0); the
//! others train. A pass takes each training
//! sequence at most once; those that do not fill a last minibatch wait for the next pass, which has another order.
//!
//! A minibatch is computed as far as its longest sequence, and what is behind the ends of the others is padding. So where lengths vary
//! minibatches are made of sequences of similar length: the order of a pass is cut into pools, each is sorted by length and cut into
//! minibatches, and these are shuffled.

use ndarray::{Array2, Array3, Axis};

use super::split::{Division, Part, in_order, places};
use super::{Shape, Source, order};
use crate::batch::{Batch, InitialState, Inputs, Targets, rounded_up};
use crate::{Error, Result};

/// Sequences in memory, as minibatches of `batch` of them.
#[derive(Debug, Clone)]
pub struct Arrays {
    data: Batch,
    shape: Shape,
    batch: usize,
    seed: u64,
    /// Whether minibatches are of similar length.
    bucket: bool,
    /// The sequences in the order in which the first train and others are held out.
    places: Vec<u32>,
    division: Division,
    /// The pass whose order is `order`.
    pass: Option<u64>,
    order: Vec<u32>,
}

impl Arrays {
    /// The sequences of `data` to train on, of which the share `validation`, at least 0 and below 1, is held out; `what` it is (its file)
    /// goes into messages.
    ///
    /// # Errors
    /// [`Error::BadInput`] for values that no network could read, for a sequence in which no output counts, and for too few sequences to
    /// fill a minibatch and hold one out. [`Error::Usage`] for a batch of 0.
    pub fn new(what: impl ToString, data: Batch, batch: usize, seed: u64, validation: f64) -> Result<Arrays> {
        let count = data.shape().1;
        let division = Division::new(count, [validation, 0.0], Part::Validation);
        let what = what.to_string();
        check_enough(&what, count, &division, batch)?;
        Arrays::divided(what, data, batch, seed, (places(seed, count), division))
    }

    /// The sequences of `data` to evaluate a network on: all are held out, and the training batches are the same.
    ///
    /// # Errors
    /// As [`Arrays::new`], but there can be as few as one sequence.
    pub fn held_out_only(what: impl ToString, data: Batch, batch: usize) -> Result<Arrays> {
        let count = data.shape().1;
        Arrays::divided(what, data, batch, 0, (in_order(count), Division::all_held_out(count)))
    }

    /// The sequences of `data`, which `division` divides in the order `places`.
    ///
    /// # Errors
    /// As [`Arrays::new`], but there can be too few to train on.
    pub(super) fn divided(
        what: impl ToString,
        data: Batch,
        batch: usize,
        seed: u64,
        (places, division): (Vec<u32>, Division),
    ) -> Result<Arrays> {
        if batch == 0 {
            return Err(Error::Usage("a batch of 0 sequences".into()));
        }
        let shape = Shape::from_batch(&data);
        data.check_alone(shape.input, shape.targets)?;
        match (0..data.shape().1).find(|&b| data.last_counted(b).is_none()) {
            Some(b) => Err(Error::input(what, format!("no output of sequence {b} counts; leave it out"))),
            None => Ok(Arrays { data, shape, batch, seed, bucket: true, places, division, pass: None, order: Vec::new() }),
        }
    }

    /// The same sequences, in minibatches of similar length or at random. Where all have one length it makes no difference.
    #[must_use]
    pub fn with_bucket(self, bucket: bool) -> Arrays {
        Arrays { bucket, pass: None, ..self }
    }

    /// What was read, for people.
    #[must_use]
    pub fn note(&self) -> String {
        let ((training, held_out), steps) = (self.sequences(), self.data.shape().0);
        let sequences = counts(training, held_out, self.places.len());
        let Some((shortest, longest)) = self.extremes() else { return format!("{sequences}, of {steps} time steps") };
        let shares = [self.bucket, !self.bucket].map(|bucket| {
            let name = if bucket { "of similar length" } else { "at random" };
            (100.0 * self.padding(bucket), name)
        });
        let [(share, now), (other_share, other)] = shares;
        format!(
            "{sequences}, of {shortest} to {longest} time steps.\nPadding is {share:.1} % of the computed time steps in batches {now}; \
             it would be {other_share:.1} % in batches {other}"
        )
    }

    /// The share of the time steps of the first pass that is padding, where each minibatch is computed about as far as its longest sequence: with
    /// minibatches of similar length, or at random.
    #[must_use]
    pub fn padding(&self, bucket: bool) -> f64 {
        let order = self.order_of(0, bucket);
        let lengths = |batch: &[u32]| batch.iter().map(|&i| self.data.length(i as usize)).collect::<Vec<usize>>();
        let (mut read, mut computed) = (0, 0);
        for lengths in order.chunks_exact(self.batch).map(lengths) {
            read += lengths.iter().sum::<usize>();
            let longest = *lengths.iter().max().expect("a minibatch has a sequence");
            computed += self.batch * rounded_up(longest, self.data.shape().0);
        }
        if computed == 0 { 0.0 } else { 1.0 - read as f64 / computed as f64 }
    }

    /// The shortest and the longest sequence, where they differ.
    fn extremes(&self) -> Option<(usize, usize)> {
        let lengths = self.data.lengths.as_ref()?;
        let (shortest, longest) = (*lengths.iter().min()?, *lengths.iter().max()?);
        (shortest < longest).then_some((shortest, longest))
    }

    /// The training sequences of a pass, in the order in which minibatches take them.
    fn order_of(&self, pass: u64, bucket: bool) -> Vec<u32> {
        let length = |place: u32| self.data.length(place as usize);
        let by_length = bucket && self.extremes().is_some();
        let training = self.places[..self.division.training].to_vec();
        order::of_pass(training, self.batch, (self.seed, pass), by_length.then_some(&length))
    }

    /// How many sequences train and how many are held out.
    #[must_use]
    pub fn sequences(&self) -> (usize, usize) {
        (self.division.training, self.division.held_out.len())
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
            class_weights: data.class_weights.clone(),
            deviations: data.deviations.as_ref().map(|all| indices.iter().map(|&b| all[b]).collect()),
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

/// Checks that enough of `count` sequences train to fill a minibatch.
pub(super) fn check_enough(what: impl ToString, count: usize, division: &Division, batch: usize) -> Result<()> {
    let training = division.training;
    if training >= batch {
        return Ok(());
    }
    let advice = if count >= batch { "; --validation 0 holds none out" } else { "" };
    let problem = format!(
        "batch {batch} needs as many sequences to train; of {count} there, {} held out, {training} are left{advice}",
        count - training
    );
    Err(Error::input(what, problem))
}

/// How sequences are divided, for people; those that neither train nor are measured now are kept for a test.
pub(super) fn counts(training: usize, held_out: usize, all: usize) -> String {
    let sequences = if training == 1 { "1 sequence".to_owned() } else { format!("{training} sequences") };
    match all - training - held_out {
        0 if held_out == 0 => format!("{sequences} to train"),
        0 => format!("{sequences} to train and {held_out} held out"),
        test => format!("{sequences} to train, {held_out} held out and {test} for a test"),
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

    fn batches_in_pass(&self) -> Option<u64> {
        Some((self.division.training / self.batch) as u64)
    }

    fn batch(&mut self, step: u64) -> Batch {
        if self.division.training == 0 {
            return self.held_out(step % self.held_out_batches());
        }
        let batches = (self.division.training / self.batch) as u64;
        let (pass, k) = (step / batches, (step % batches) as usize);
        if self.pass != Some(pass) {
            self.order = self.order_of(pass, self.bucket);
            self.pass = Some(pass);
        }
        let indices = self.order[k * self.batch..][..self.batch].iter().map(|&i| i as usize).collect::<Vec<_>>();
        self.select(&indices, self.batch)
    }

    fn held_out_batches(&self) -> u64 {
        self.sequences().1.div_ceil(self.batch) as u64
    }

    fn held_out(&mut self, index: u64) -> Batch {
        let end = self.division.held_out.end;
        let first = self.division.held_out.start + index as usize * self.batch;
        let counted = self.batch.min(end - first);
        // What fills the batch up is masked, so it may be any sequence.
        let indices = (first..first + self.batch).map(|i| self.places[i.min(end - 1)] as usize).collect::<Vec<_>>();
        // Weights are for training alone.
        Batch { class_weights: None, ..self.select(&indices, counted) }
    }

    fn held_out_sequences(&self, index: u64) -> Vec<Option<usize>> {
        let held_out = &self.places[self.division.held_out.clone()];
        let first = index as usize * self.batch;
        (first..first + self.batch).map(|i| held_out.get(i).map(|&place| place as usize)).collect()
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
        let mut source = Arrays::new("d", data(47), 5, 3, 0.1).unwrap();
        assert_eq!((source.sequences(), source.window()), ((43, 4), (3, 5)));
        let held_out = members(&source.held_out(0), 47)[..4].to_vec();
        let mut pass = |p: u64| (8 * p..8 * p + 8).flat_map(|k| members(&source.batch(k), 47)).collect::<Vec<_>>();
        let (first, second) = (pass(0), pass(1));
        for order in [&first, &second] {
            let distinct = order.iter().collect::<std::collections::BTreeSet<_>>();
            assert_eq!(distinct.len(), 40);
            assert!(order.iter().all(|&i| !held_out.contains(&i)));
        }
        assert_ne!(first, second);
        assert_eq!(pass(0), first, "a function of the step alone");
        let mut other = Arrays::new("d", data(47), 5, 4, 0.1).unwrap();
        assert_ne!(members(&other.batch(0), 47), first[..5]);
        assert_ne!(members(&other.held_out(0), 47)[..4], held_out, "they are chosen by the seed");
    }

    /// Every minibatch of similar length, each sequence at most once a pass, and all from the seed and the pass.
    #[test]
    fn minibatches_are_of_similar_length() {
        let lengths = |n: usize| (0..n).map(|b| 1 + (7 * b + b * b / 5) % 3).collect::<Vec<usize>>();
        let varied = || Batch { lengths: Some(lengths(203)), mask: None, ..data(203) };
        let mut source = Arrays::new("d", varied(), 4, 3, 0.1).unwrap();
        let pass = |source: &mut Arrays, p: u64| (45 * p..45 * p + 45).map(|k| source.batch(k)).collect::<Vec<_>>();
        let mut orders = Vec::new();
        let held_out: Vec<usize> = (0..5).flat_map(|k| sequences(&source.held_out(k))).collect();
        for p in [0, 1] {
            let batches = pass(&mut source, p);
            let spread = |batch: &Batch| {
                let lengths = batch.lengths.as_ref().unwrap();
                lengths.iter().max().unwrap() - lengths.iter().min().unwrap()
            };
            // Of three pools each has at most two batches on the border of two lengths.
            assert!(batches.iter().filter(|batch| spread(batch) > 0).count() <= 6);
            let order: Vec<usize> = batches.iter().flat_map(sequences).collect();
            let distinct: std::collections::BTreeSet<_> = order.iter().collect();
            assert!(distinct.len() == 180 && distinct.iter().all(|i| !held_out.contains(i)));
            for batch in &batches {
                assert_eq!(batch.lengths, Some(sequences(batch).into_iter().map(|i| lengths(203)[i]).collect()));
            }
            // Long and short ones in turn.
            let firsts: Vec<usize> = batches.iter().map(|batch| batch.length(0)).collect();
            assert!(firsts.windows(2).filter(|pair| pair[0] != pair[1]).count() > 15, "{firsts:?}");
            orders.push(order);
        }
        assert_ne!(orders[0], orders[1]);
        let mut again = Arrays::new("d", varied(), 4, 3, 0.1).unwrap();
        assert_eq!(again.batch(50), source.batch(50));
        let [similar, random] = [true, false].map(|bucket| source.padding(bucket));
        assert!(similar < random / 3.0 && random > 0.2, "{similar} {random}");
        // One time step is computed as two.
        let lengths: Vec<Vec<usize>> = pass(&mut source, 0).into_iter().filter_map(|batch| batch.lengths).collect();
        let read: usize = lengths.iter().flatten().sum();
        let computed: usize = lengths.iter().map(|lengths| 4 * lengths.iter().max().unwrap().max(&2)).sum();
        assert_eq!(similar, 1.0 - read as f64 / computed as f64);
        let note = source.note();
        assert!(note.starts_with("183 sequences to train and 20 held out, of 1 to 3 time steps.\nPadding is 6."), "{note}");

        // Of one length, or without lengths, it is the order at random.
        for lengths in [None, Some(vec![3; 47])] {
            let data = || Batch { lengths: lengths.clone(), ..data(47) };
            let [mut a, mut b] = [true, false].map(|bucket| Arrays::new("d", data(), 5, 3, 0.1).unwrap().with_bucket(bucket));
            assert_eq!((0..9).map(|k| a.batch(k)).collect::<Vec<_>>(), (0..9).map(|k| b.batch(k)).collect::<Vec<_>>());
            assert_eq!(a.note(), "43 sequences to train and 4 held out, of 3 time steps");
        }
    }

    /// The sequence in each place.
    fn sequences(batch: &Batch) -> Vec<usize> {
        let Inputs::Vectors(x) = &batch.inputs else { panic!("{batch:?}") };
        (0..batch.shape().1).map(|b| (x[[0, b, 0]] / 10.0) as usize).collect()
    }

    #[test]
    fn held_out_sequences_come_in_order_and_the_last_batch_is_filled_up() {
        let none = usize::MAX;
        let mut held_out_only = Arrays::held_out_only("d", data(3), 2).unwrap();
        assert_eq!([0, 1].map(|k| members(&held_out_only.held_out(k), 3)), [vec![0, 1], vec![2, none]]);
        for (sequences, batch, share, expected) in [
            (47, 3, 0.1, 4),
            (2, 1, 0.1, 1),
            (9, 8, 0.1, 1),
            (47, 3, 0.5, 23),
            (100, 3, 0.29, 29),
            (47, 3, 0.99, 46),
            (47, 3, 0.0, 0),
            (1, 1, 0.0, 0),
        ] {
            let new = |batch: usize| Arrays::new("d", data(sequences), batch, 5, share);
            let mut source = new(batch).or_else(|_| new(1)).unwrap();
            let (training, held_out) = source.sequences();
            assert_eq!((training, held_out), (sequences - expected, expected));
            let size = source.window().1;
            let found: Vec<usize> =
                (0..source.held_out_batches()).flat_map(|k| members(&source.held_out(k), sequences)).collect();
            assert_eq!(found.len(), expected.next_multiple_of(size));
            // What fills up the last batch does not count.
            let (counted, filled) = found.split_at(expected);
            assert!(filled.iter().all(|&i| i == none));
            // A number of passes meets each other sequence, and none of these.
            let steps = (20 * (training / size)) as u64;
            let trained: Vec<usize> = (0..steps).flat_map(|k| members(&source.batch(k), sequences)).collect();
            let all: std::collections::BTreeSet<usize> = counted.iter().chain(&trained).copied().collect();
            assert!(counted.iter().all(|i| !trained.contains(i)), "{counted:?}");
            assert_eq!(all, (0..sequences).collect());
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
                Arrays::new("d", data(33), 32, 0, 0.1),
                "d: batch 32 needs as many sequences to train; of 33 there, 3 held out, 30 are left; --validation 0 holds none out",
            ),
            (
                Arrays::new("d", data(1), 1, 0, 0.1),
                "d: batch 1 needs as many sequences to train; of 1 there, 1 held out, 0 are left; --validation 0 holds none out",
            ),
            (Arrays::new("d", masked, 1, 0, 0.1), "d: no output of sequence 1 counts; leave it out"),
        ] {
            let error = result.unwrap_err();
            assert_eq!((error.to_string().as_str(), error.exit_code()), (expected, 7));
        }
        assert_eq!(Arrays::new("d", data(5), 0, 0, 0.1).unwrap_err().exit_code(), 2);
    }
}
