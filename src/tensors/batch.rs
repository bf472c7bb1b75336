//! A batch as a file, and the other way round.

use std::path::Path;

use ndarray::{Array, Array1, Array2, Array3, ArrayD, Dimension};
use serde::{Deserialize, Serialize};

use super::{Data, Tensors};
use crate::batch::{Batch, InitialState, Inputs, Sequences, States, Targets};
use crate::data::Shape;
use crate::{Error, Result};

/// The states that a file of a batch may hold, each with a 0 behind its name.
const STATES: [&str; 2] = ["h", "c"];
/// The class of an output that does not count: PyTorch's `ignore_index`.
const IGNORED: i64 = -100;

/// Which axis of a file's tensors comes first, as PyTorch's `batch_first`. That of the states is always the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// `[T, B, …]`.
    #[default]
    TimeFirst,
    /// `[B, T, …]`.
    BatchFirst,
}

/// A batch as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadBatch {
    /// The batch.
    pub batch: Batch,
    /// How many outputs do not count because their class is −100, and for no other reason.
    pub ignored: usize,
}

/// Reads a batch: `inputs` F32 `[T, B, I]` or `tokens` I64 `[T, B]`; `classes` I64 `[T, B]` or `values` F32 `[T, B, O]`, or `[B]` and
/// `[B, O]`, the targets of each sequence's last output that counts; optional `lengths` I64 `[B]`, `mask` F32 `[T, B]`, `h0` and, for an
/// LSTM, `c0` F32 `[layers·directions, B, H]`. What lies behind a sequence's length may be anything, and so may the targets of outputs that
/// do not count; one whose class is −100 does not. Of a single sequence `inputs` or `tokens` may be `[T]`, and then targets and mask too. Optional `class_weights` F32 `[O]`: what each class counts for in the loss. Other tensors
/// are left alone.
///
/// # Errors
/// [`Error::BadInput`] with the file, the tensor, the position and what was expected.
pub fn read_batch(path: impl AsRef<Path>, layout: Layout) -> Result<ReadBatch> {
    Tensors::read(path)?.with_all_axes(layout).batch(layout)
}

impl ReadBatch {
    /// What should be told of it.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let of = self.ignored + self.batch.counted();
        (self.ignored > 0).then(|| format!("classes: {} of {of} are {IGNORED} and do not count", self.ignored))
    }
}

impl Layout {
    /// Time first, whatever it was.
    fn turn<T: Clone, D: Dimension>(self, mut array: Array<T, D>) -> Array<T, D> {
        if self == Layout::TimeFirst {
            return array;
        }
        array.swap_axes(0, 1);
        array.as_standard_layout().into_owned()
    }

    /// The axes of a tensor with so many more than time and sequences, for people.
    pub(crate) fn axes(self, last: &str) -> String {
        let (first, second) = if self == Layout::TimeFirst { ("T", "B") } else { ("B", "T") };
        format!("[{first}, {second}{last}]")
    }
}

impl Tensors {
    /// The batch that these tensors are, as [`read_batch`] describes; checked as far as it can be without a network.
    ///
    /// # Errors
    /// [`Error::BadInput`] with the tensor, the position and what was expected.
    pub fn batch(&self, layout: Layout) -> Result<ReadBatch> {
        let Sequences { inputs, lengths, initial_state } = self.sequences_alone(layout)?;
        // What counts is known before the targets are read, of which the others may be anything.
        let mut batch = Batch { lengths, initial_state, ..Batch::new(inputs, Targets::Values(Array3::zeros((0, 0, 0)))) };
        if self.contains("mask") {
            let mask: Array2<f32> = layout.turn(self.ranked("mask", &layout.axes(""), self.mask()?)?);
            let (steps, sequences) = batch.shape();
            if mask.dim() != (steps, sequences) {
                return Err(self.bad("mask", format!("expected shape {:?}, got {:?}", [steps, sequences], mask.shape())));
            }
            batch.mask = Some(mask);
        }
        if !self.contains("values") && !self.contains("classes") {
            let there = super::list(self.names());
            let problem = format!("expected one of `values` and `classes`; there {there}; only `predict` needs neither");
            return Err(self.bad("values", problem));
        }
        let (mut batch, ignored) = match self.one_of("values", "classes")? {
            "values" => (self.values(batch, layout)?, 0),
            _ => self.classes(batch, layout)?,
        };
        let classes = Shape::from_batch(&batch).targets;
        if self.contains("class_weights") {
            let weights: Array1<f32> = self.ranked("class_weights", "[O]", self.any_f32("class_weights")?)?;
            batch.class_weights = Some(weights.to_vec());
        }

        let shape = Shape::from_batch(&batch);
        batch.check_alone(shape.input, shape.targets).map_err(|error| self.in_file(error))?;
        if let Some(weights) = batch.class_weights.as_ref().filter(|weights| weights.len() < classes) {
            let problem = format!("expected one for each of at least {classes} classes, got {}", weights.len());
            return Err(self.bad("class_weights", problem));
        }
        Ok(ReadBatch { batch, ignored })
    }

    /// The sequences that these tensors are, to predict from: what [`read_batch`] reads but for targets and `mask`, which are left alone; checked
    /// as far as it can be without a network.
    ///
    /// # Errors
    /// [`Error::BadInput`] with the tensor, the position and what was expected.
    pub fn sequences(&self, layout: Layout) -> Result<Sequences> {
        let sequences = self.sequences_alone(layout)?;
        sequences.check_alone().map_err(|error| self.in_file(error))?;
        Ok(sequences)
    }

    /// The same with all axes, where what is read is one sequence of numbers or ids, `[T]`: its targets and its mask are `[T]` as well.
    #[must_use]
    pub(crate) fn with_all_axes(mut self, layout: Layout) -> Tensors {
        let is_alone = |name: &&str| self.tensors.get(*name).is_some_and(|tensor| tensor.shape.len() == 1);
        let Some(&read) = ["inputs", "tokens"].iter().find(|name| is_alone(name)) else { return self };
        let steps = self.tensors[read].shape[0];
        for (name, rank) in [("inputs", 3), ("values", 3), ("tokens", 2), ("classes", 2), ("mask", 2)] {
            if let Some(tensor) = self.tensors.get_mut(name).filter(|tensor| tensor.shape == [steps]) {
                tensor.shape = vec![1; rank];
                tensor.shape[usize::from(layout == Layout::BatchFirst)] = steps;
            }
        }
        self
    }

    /// The sequences, unchecked.
    fn sequences_alone(&self, layout: Layout) -> Result<Sequences> {
        let inputs = self.one_of("inputs", "tokens")?;
        self.check_layout(inputs, layout)?;
        let lengths = self.contains("lengths").then(|| self.lengths()).transpose()?;
        let is_read = |t: usize, b: usize| lengths.as_ref().and_then(|lengths| lengths.get(b)).is_none_or(|&length| t < length);
        let inputs = match inputs {
            "inputs" => Inputs::Vectors(layout.turn(self.vectors("inputs", &layout.axes(", I"))?)),
            tokens => Inputs::Tokens(self.ids(tokens, &layout.turn(self.matrix(tokens, layout)?), is_read)?),
        };
        let mut states = States::new();
        for name in STATES {
            let file = format!("{name}0");
            if self.contains(&file) {
                states.insert(name.to_owned(), self.vectors(&file, "[layers·directions, B, H]")?);
            }
        }
        let initial_state = if states.is_empty() { InitialState::Zero } else { InitialState::Given(states) };
        Ok(Sequences { inputs, lengths, initial_state })
    }

    /// The error of a tensor, with the file's name.
    fn in_file(&self, error: Error) -> Error {
        match error {
            Error::BadInput { what, problem } => self.bad(&what, problem),
            other => other,
        }
    }

    /// The tensors of a batch, under the names that [`read_batch`] reads, time first. A carried state has none.
    #[must_use]
    pub fn from_batch(batch: &Batch) -> Tensors {
        let mut tensors = Tensors::new();
        match &batch.inputs {
            Inputs::Tokens(ids) => tensors.insert("tokens", ids.mapv(i64::from)),
            Inputs::Vectors(x) => tensors.insert("inputs", x.clone()),
        }
        match &batch.targets {
            Targets::Classes(ids) => tensors.insert("classes", ids.mapv(i64::from)),
            Targets::Values(y) => tensors.insert("values", y.clone()),
        }
        if let Some(mask) = &batch.mask {
            tensors.insert("mask", mask.clone());
        }
        if let Some(weights) = &batch.class_weights {
            tensors.insert("class_weights", Array1::from(weights.clone()));
        }
        if let Some(lengths) = &batch.lengths {
            tensors.insert("lengths", lengths.iter().map(|&length| length as i64).collect::<Array1<i64>>());
        }
        if let InitialState::Given(states) = &batch.initial_state {
            for (name, state) in states {
                tensors.insert(format!("{name}0"), state.clone());
            }
        }
        tensors
    }

    /// Refuses what is as long as the other axis than that of the sequences, though there is one for each sequence.
    fn check_layout(&self, inputs: &str, layout: Layout) -> Result<()> {
        let shape = self.get(inputs)?.shape();
        let &[first, second, ..] = shape else { return Ok(()) };
        let (steps, sequences, advice) = match layout {
            Layout::TimeFirst => (first, second, "where the sequences come first, --batch-first reads them"),
            Layout::BatchFirst => (second, first, "where time comes first, leave --batch-first out"),
        };
        for (name, rank) in [("lengths", 1), ("classes", 1), ("values", 2)] {
            let Some(&count) = self.get(name).ok().filter(|t| t.shape().len() == rank).and_then(|t| t.shape().first()) else {
                continue;
            };
            if layout == Layout::TimeFirst
                && name == "values"
                && self.get(name)?.shape() == [steps, sequences]
                && steps != sequences
            {
                let problem = format!(
                    "[{steps}, {sequences}] lacks an axis: a number for each time step and sequence is [T, B, 1], or [B, T, 1] with \
                     --batch-first; [B, O] is one target for each of {sequences} sequences"
                );
                return Err(self.bad(name, problem));
            }
            if count != sequences && count == steps {
                let axes = layout.axes(", …");
                return Err(self.bad(
                    name,
                    format!(
                        "expected one for each of {sequences} sequences, got {count}: `{inputs}` {axes} is {shape:?}, {steps} steps of \
                         {sequences} sequences; {advice}"
                    ),
                ));
            }
        }
        Ok(())
    }

    fn one_of(&self, a: &'static str, b: &'static str) -> Result<&'static str> {
        match (self.contains(a), self.contains(b)) {
            (true, false) => Ok(a),
            (false, true) => Ok(b),
            (true, true) => Err(self.bad(a, format!("expected one of `{a}` and `{b}`; both are there"))),
            (false, false) => Err(self.bad(a, format!("expected one of `{a}` and `{b}`; there {}", super::list(self.names())))),
        }
    }

    /// A batch with its classes, and how many outputs count no more since theirs is −100.
    fn classes(&self, mut batch: Batch, layout: Layout) -> Result<(Batch, usize)> {
        let (steps, sequences) = batch.shape();
        let classes: Array2<i64> = if self.get("classes")?.shape().len() == 1 {
            let labels: Array1<i64> = self.labels("classes", &[sequences], self.i64("classes")?)?;
            batch = batch.of_last_step();
            Array2::from_shape_fn((steps, sequences), |(_, b)| labels[b])
        } else {
            layout.turn(self.matrix("classes", layout)?)
        };
        // Another shape is the batch's to refuse.
        let is_whole = classes.dim() == (steps, sequences);
        let is_ignored = |&((t, b), &class): &((usize, usize), &i64)| is_whole && class == IGNORED && batch.counts(t, b);
        let ignored: Vec<(usize, usize)> = classes.indexed_iter().filter(is_ignored).map(|(at, _)| at).collect();
        if !ignored.is_empty() && ignored.len() == batch.counted() {
            return Err(self.bad("classes", format!("all {} that could count are {IGNORED}, so there is no loss", ignored.len())));
        }
        if !ignored.is_empty() {
            let mask = batch.mask.get_or_insert_with(|| Array2::ones((steps, sequences)));
            ignored.iter().for_each(|&at| mask[at] = 0.0);
        }
        let ids = self.ids("classes", &classes, |t, b| is_whole && batch.counts(t, b))?;
        Ok((Batch { targets: Targets::Classes(ids), ..batch }, ignored.len()))
    }

    /// A batch with its values.
    fn values(&self, mut batch: Batch, layout: Layout) -> Result<Batch> {
        let (steps, sequences) = batch.shape();
        let shape = self.get("values")?.shape();
        let values = if let &[_, outputs] = shape {
            let targets: Array2<f32> = self.labels("values", &[sequences, outputs], self.any_f32("values")?)?;
            batch = batch.of_last_step();
            Array3::from_shape_fn((steps, sequences, outputs), |(_, b, o)| targets[[b, o]])
        } else {
            layout.turn(self.vectors("values", &layout.axes(", O"))?)
        };
        Ok(Batch { targets: Targets::Values(values), ..batch })
    }

    /// The targets of whole sequences.
    fn labels<T, D: Dimension>(&self, name: &str, expected: &[usize], array: ArrayD<T>) -> Result<Array<T, D>> {
        match array.shape() == expected {
            true => self.ranked(name, "", array),
            false => Err(self.bad(name, format!("expected shape {expected:?}, got {:?}", array.shape()))),
        }
    }

    /// Integers of time and sequences.
    fn matrix(&self, name: &str, layout: Layout) -> Result<Array2<i64>> {
        self.ranked(name, &layout.axes(""), self.i64(name)?)
    }

    /// Token or class ids `[T, B]`; where it does not matter any number, which becomes 0 where it is no id.
    fn ids(&self, name: &str, ids: &Array2<i64>, matters: impl Fn(usize, usize) -> bool) -> Result<Array2<u32>> {
        match ids.indexed_iter().find(|&((t, b), &v)| u32::try_from(v).is_err() && matters(t, b)) {
            Some(((t, b), v)) => Err(self.bad(name, format!("[{t}, {b}] is {v}; expected a number from 0 to {}", u32::MAX))),
            None => Ok(ids.mapv(|v| u32::try_from(v).unwrap_or_default())),
        }
    }

    /// The steps of each sequence, `[B]`.
    fn lengths(&self) -> Result<Vec<usize>> {
        let lengths: Array1<i64> = self.ranked("lengths", "[B]", self.i64("lengths")?)?;
        // What is not above 0 is the batch's to refuse, once it is known how many steps there are.
        match lengths.iter().enumerate().find(|(_, length)| **length < 0) {
            Some((b, length)) => Err(self.bad("lengths", format!("[{b}] is {length}; expected at least 1"))),
            None => Ok(lengths.iter().map(|&length| usize::try_from(length).unwrap_or(usize::MAX)).collect()),
        }
    }

    /// Floats of three axes, the last not empty. Whether they are finite is the batch's to check: not all matter.
    fn vectors(&self, name: &str, axes: &str) -> Result<ndarray::Array3<f32>> {
        let array: ndarray::Array3<f32> = self.ranked(name, axes, self.any_f32(name)?)?;
        if array.is_empty() {
            return Err(self.bad(name, format!("expected {axes}, got {:?}, which has no element", array.shape())));
        }
        Ok(array)
    }

    /// As floats, whatever it is: PyTorch's masks are of type bool.
    fn mask(&self) -> Result<ArrayD<f32>> {
        match self.get("mask")?.data() {
            Data::I64(_) => Ok(self.i64("mask")?.mapv(|v| v as f32)),
            Data::F32(_) | Data::F64(_) => self.f32("mask"),
        }
    }

    /// An array of as many axes as it should have.
    fn ranked<T, D: Dimension>(&self, name: &str, axes: &str, array: ArrayD<T>) -> Result<Array<T, D>> {
        let shape = array.shape().to_vec();
        array.into_dimensionality().map_err(|_| self.bad(name, format!("expected {axes}, got {shape:?}")))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::tensors::Tensor;

    fn vectors() -> Batch {
        Batch {
            mask: Some(array![[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]),
            initial_state: InitialState::Given([("h".into(), Array3::from_elem((1, 2, 5), 0.5))].into()),
            ..Batch::new(
                Inputs::Vectors(Array3::from_shape_fn((3, 2, 4), |(t, b, i)| (100 * t + 10 * b + i) as f32)),
                Targets::Values(Array3::from_shape_fn((3, 2, 1), |(t, b, _)| t as f32 - b as f32)),
            )
        }
    }

    fn tokens() -> Batch {
        Batch::new(Inputs::Tokens(array![[0, 7], [3, 1]]), Targets::Classes(array![[1, 2], [0, 0]]))
    }

    #[test]
    fn a_batch_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("batch.safetensors");
        let mut two_states = vectors();
        if let InitialState::Given(states) = &mut two_states.initial_state {
            states.insert("c".into(), Array3::from_elem((1, 2, 5), -0.25));
        }
        let of_lengths = Batch { lengths: Some(vec![1, 3]), ..vectors() };
        for batch in [vectors(), two_states, tokens(), of_lengths] {
            Tensors::from_batch(&batch).write(&path).unwrap();
            assert_eq!(read_batch(&path, Layout::TimeFirst).unwrap(), ReadBatch { batch, ignored: 0 });
        }
    }

    #[test]
    fn behind_a_sequences_end_there_may_be_anything() {
        let mut tensors = Tensors::new();
        tensors.insert("tokens", array![[3_i64, 1], [-5, 2], [1 << 40, 0]]);
        tensors.insert("values", array![[[0.5_f32], [1.0]], [[f32::NAN], [2.0]], [[f32::INFINITY], [f32::NAN]]]);
        tensors.insert("lengths", array![1_i64, 2]);
        tensors.insert("mask", array![[1.0_f32, 1.0], [1.0, 0.0], [1.0, 1.0]]);
        let batch = tensors.batch(Layout::TimeFirst).unwrap().batch;
        assert_eq!(batch.inputs, Inputs::Tokens(array![[3, 1], [0, 2], [0, 0]]));
        assert_eq!((batch.counted(), batch.weights(&batch.targets.kind().usual_loss())), (2, vec![0.5, 0.5, 0.0, 0.0, 0.0, 0.0]));
        assert_eq!([0, 1].map(|b| batch.last_counted(b)), [Some(0), Some(0)]);
        let last = Batch { mask: None, ..batch }.of_last_step();
        assert_eq!(last.mask, Some(array![[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]));
    }

    /// Classes of any number where the mask or the length leaves them out, and −100 anywhere.
    #[test]
    fn targets_that_do_not_count_may_be_anything() {
        let mut tensors = Tensors::new();
        tensors.insert("tokens", array![[3_i64, 1, 0], [2, 2, 0], [1, 0, 0]]);
        tensors.insert("classes", array![[255_i64, 1, 0], [-100, 2, 255], [-7, -100, -100]]);
        tensors.insert("mask", array![[0_i64, 1, 1], [1, 1, 0], [0, 1, 1]]);
        tensors.insert("lengths", array![3_i64, 3, 2]);
        let read = tensors.batch(Layout::TimeFirst).unwrap();
        assert_eq!((read.ignored, Shape::from_batch(&read.batch).targets, read.batch.counted()), (2, 3, 3));
        assert_eq!(read.note().unwrap(), "classes: 2 of 5 are -100 and do not count");
        let mask = array![[0.0, 1.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        assert_eq!(read.batch.mask, Some(mask));
        // Without a mask there is one then.
        tensors.tensors.remove("mask");
        tensors.insert("classes", array![[0_i64, 1, 0], [-100, 2, 1], [0, 0, -3]]);
        let read = tensors.batch(Layout::TimeFirst).unwrap();
        assert_eq!((read.ignored, read.batch.mask.map(|m| m[[1, 0]])), (1, Some(0.0)));
        tensors.insert("classes", Array2::from_elem((3, 3), -100_i64));
        let error = tensors.batch(Layout::TimeFirst).unwrap_err().to_string();
        assert_eq!(error, "classes: all 8 that could count are -100, so there is no loss");
    }

    /// One class, or one vector, for each sequence: at its last output that counts.
    #[test]
    fn a_sequence_may_have_one_target() {
        let mut tensors = Tensors::new();
        tensors.insert("tokens", array![[3_i64, 1, 0], [2, 2, 0], [1, 0, 0], [0, 0, 0]]);
        tensors.insert("classes", array![4_i64, -100, 2]);
        tensors.insert("lengths", array![2_i64, 4, 4]);
        tensors.insert("mask", array![[1_i64, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 0]]);
        let read = tensors.batch(Layout::TimeFirst).unwrap();
        let Targets::Classes(classes) = &read.batch.targets else { panic!("{read:?}") };
        assert_eq!((read.ignored, classes[[1, 0]], classes[[2, 2]]), (1, 4, 2));
        let counted = |batch: &Batch| (0..3).map(|b| (0..4).filter(|&t| batch.counts(t, b)).collect()).collect::<Vec<Vec<_>>>();
        assert_eq!(counted(&read.batch), [vec![1], vec![], vec![2]]);
        tensors.tensors.remove("classes");
        tensors.insert("values", array![[1.0_f32, 2.0], [3.0, 4.0], [5.0, 6.0]]);
        let read = tensors.batch(Layout::TimeFirst).unwrap();
        let Targets::Values(values) = &read.batch.targets else { panic!("{read:?}") };
        assert_eq!((values[[1, 0, 1]], values[[3, 1, 0]], values[[2, 2, 1]]), (2.0, 3.0, 6.0));
        assert_eq!(counted(&read.batch), [vec![1], vec![3], vec![2]]);
    }

    /// A single series has no other axes to name: numbers with numbers, and ids with classes.
    #[test]
    fn one_sequence_may_be_a_vector() {
        for layout in [Layout::TimeFirst, Layout::BatchFirst] {
            let mut tensors = Tensors::new();
            tensors.insert("inputs", array![0.5_f32, 1.5, 2.5]);
            tensors.insert("values", array![1.0_f32, 2.0, 3.0]);
            tensors.insert("mask", array![1_i64, 0, 1]);
            let batch = tensors.with_all_axes(layout).batch(layout).unwrap().batch;
            assert_eq!(batch.inputs, Inputs::Vectors(array![[[0.5]], [[1.5]], [[2.5]]]));
            assert_eq!(batch.targets, Targets::Values(array![[[1.0]], [[2.0]], [[3.0]]]));
            assert_eq!((batch.shape(), batch.counted()), ((3, 1), 2));
            let mut tensors = Tensors::new();
            tensors.insert("tokens", array![4_i64, 0, 2]);
            tensors.insert("classes", array![0_i64, 2, 1]);
            let batch = tensors.with_all_axes(layout).batch(layout).unwrap().batch;
            assert_eq!(batch.targets, Targets::Classes(array![[0], [2], [1]]));
        }
        // What has all axes stays, and what does not fit is refused.
        let whole = Tensors::from_batch(&vectors());
        assert_eq!(whole.with_all_axes(Layout::TimeFirst).batch(Layout::TimeFirst).unwrap().batch, vectors());
        let mut tensors = Tensors::new();
        tensors.insert("inputs", array![0.5_f32, 1.5, 2.5]);
        tensors.insert("values", array![1.0_f32, 2.0]);
        let error = tensors.with_all_axes(Layout::TimeFirst).batch(Layout::TimeFirst).unwrap_err().to_string();
        assert_eq!(error, "values: expected [T, B, O], got [2]");
    }

    #[test]
    fn sequences_may_come_first() {
        let (batch, mut turned) = (Batch { lengths: Some(vec![1, 3]), ..vectors() }, Tensors::new());
        let file = Tensors::from_batch(&batch);
        let turn = |array: ArrayD<f32>| Layout::BatchFirst.turn(array);
        ["inputs", "values", "mask"].into_iter().for_each(|name| turned.insert(name, turn(file.f32(name).unwrap())));
        ["lengths", "h0"].into_iter().for_each(|name| turned.insert(name, file.get(name).unwrap().clone()));
        assert_eq!(turned.get("inputs").unwrap().shape(), [2, 3, 4]);
        assert_eq!(turned.batch(Layout::BatchFirst).unwrap().batch, batch);
        let mut file = Tensors::from_batch(&tokens());
        file.insert("tokens", array![[0_i64, 3, 5], [7, 1, 2]]);
        file.insert("classes", array![[1_i64, 0, 1], [2, 0, 1]]);
        let Inputs::Tokens(ids) = file.batch(Layout::BatchFirst).unwrap().batch.inputs else { panic!("tokens") };
        assert_eq!(ids, array![[0, 7], [3, 1], [5, 2]]);
        // What is told by the number of labels or lengths.
        file.insert("classes", array![1_i64, 0]);
        let read = |file: &Tensors, layout| file.batch(layout).map(|read| read.batch.shape()).map_err(|e| e.to_string());
        assert_eq!(read(&file, Layout::BatchFirst).unwrap(), (3, 2));
        assert_eq!(
            read(&file, Layout::TimeFirst).unwrap_err(),
            "classes: expected one for each of 3 sequences, got 2: `tokens` [T, B, …] is [2, 3], 2 steps of 3 sequences; where the \
             sequences come first, --batch-first reads them"
        );
        file.insert("classes", array![1_i64, 0, 1]);
        assert_eq!(read(&file, Layout::TimeFirst).unwrap(), (2, 3));
        assert!(read(&file, Layout::BatchFirst).unwrap_err().ends_with("where time comes first, leave --batch-first out"));
        file.insert("classes", array![1_i64, 0, 1, 0]);
        assert_eq!(read(&file, Layout::TimeFirst).unwrap_err(), "classes: expected shape [3], got [4]");
    }

    #[test]
    fn errors_name_the_tensor_and_the_numbers() {
        type Change = fn(&mut Tensors);
        fn replace(tensors: &mut Tensors, name: &str, tensor: impl Into<Tensor>) {
            tensors.insert(name, tensor);
        }
        let cases: [(Batch, Change, &str); 25] = [
            (
                vectors(),
                |t| replace(t, "tokens", array![[1_i64]]),
                "inputs: expected one of `inputs` and `tokens`; both are there",
            ),
            (
                tokens(),
                |t| replace(t, "values", array![1.0_f32]),
                "values: expected one of `values` and `classes`; both are there",
            ),
            (tokens(), |t| *t = Tensors::new(), "inputs: expected one of `inputs` and `tokens`; there is none"),
            (
                tokens(),
                |t| drop(t.tensors.remove("classes")),
                "values: expected one of `values` and `classes`; there are tokens; only `predict` needs neither",
            ),
            (
                tokens(),
                |t| replace(t, "tokens", array![[1_i64, 2], [3, -4]]),
                "tokens: [1, 1] is -4; expected a number from 0 to 4294967295",
            ),
            (
                tokens(),
                |t| replace(t, "classes", array![[1_i64 << 32, 0], [0, 0]]),
                "classes: [0, 0] is 4294967296; expected a number from 0 to 4294967295",
            ),
            (tokens(), |t| replace(t, "tokens", array![1_i64]), "tokens: expected [T, B], got [1]"),
            (tokens(), |t| replace(t, "tokens", array![[1.0_f32]]), "tokens: is of type F32; expected I64 or I32"),
            (tokens(), |t| replace(t, "classes", array![[1_i64, 2]]), "classes: expected shape [2, 2], got [1, 2]"),
            (tokens(), |t| replace(t, "tokens", Array2::<i64>::zeros((0, 2))), "inputs: [0, 2, …] has no element"),
            (vectors(), |t| replace(t, "inputs", Array2::<f32>::zeros((3, 2))), "inputs: expected [T, B, I], got [3, 2]"),
            (
                vectors(),
                |t| replace(t, "inputs", Array3::<f32>::zeros((3, 2, 0))),
                "inputs: expected [T, B, I], got [3, 2, 0], which has no element",
            ),
            (vectors(), |t| replace(t, "mask", Array2::<f32>::zeros((3, 2))), "mask: all 6 entries are 0, so there is no loss"),
            (
                vectors(),
                |t| replace(t, "mask", array![[1.0_f32, 0.5], [0.0, 0.0], [0.0, 0.0]]),
                "mask: [0, 1] is 0.5; expected 0 or 1",
            ),
            (vectors(), |t| replace(t, "lengths", array![3_i64, 4]), "lengths: [1] is 4; expected a number from 1 to 3"),
            (vectors(), |t| replace(t, "lengths", array![0_i64, 3]), "lengths: [0] is 0; expected a number from 1 to 3"),
            (vectors(), |t| replace(t, "lengths", array![3_i64, -1]), "lengths: [1] is -1; expected at least 1"),
            (vectors(), |t| replace(t, "lengths", array![3_i64]), "lengths: expected shape [2], got [1]"),
            (vectors(), |t| replace(t, "lengths", array![[3_i64, 2]]), "lengths: expected [B], got [1, 2]"),
            (vectors(), |t| replace(t, "lengths", array![3.0_f32, 2.0]), "lengths: is of type F32; expected I64 or I32"),
            (
                vectors(),
                |t| replace(t, "inputs", Array3::from_shape_fn((3, 2, 4), |(t, ..)| if t == 1 { f32::NAN } else { 0.0 })),
                "inputs: [1, 0, 0] is NaN; expected a finite number",
            ),
            (
                vectors(),
                |t| replace(t, "values", Array2::<f32>::zeros((3, 2))),
                "values: [3, 2] lacks an axis: a number for each time step and sequence is [T, B, 1], or [B, T, 1] with --batch-first; \
                 [B, O] is one target for each of 2 sequences",
            ),
            (
                vectors(),
                |t| {
                    t.tensors.remove("values");
                    replace(t, "classes", Array2::<i64>::from_elem((2, 2), -100));
                },
                "classes: expected shape [3, 2], got [2, 2]",
            ),
            (vectors(), |t| replace(t, "h0", Array3::<f32>::zeros((1, 3, 5))), "h0: expected shape [1, 2, 5], got [1, 3, 5]"),
            (vectors(), |t| replace(t, "c0", Array3::<f32>::zeros((2, 2, 5))), "h0: expected shape [2, 2, 5], got [1, 2, 5]"),
        ];
        for (batch, change, expected) in cases {
            let mut tensors = Tensors::from_batch(&batch);
            change(&mut tensors);
            let error = tensors.batch(Layout::TimeFirst).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.exit_code()), (expected, 7));
        }
    }
}
