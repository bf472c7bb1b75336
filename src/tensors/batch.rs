//! A batch as a file, and the other way round.

use std::path::Path;

use ndarray::{Array, Array1, Array2, ArrayD, Dimension};

use super::{Data, Tensors};
use crate::batch::{Batch, InitialState, Inputs, States, Targets};
use crate::data::Shape;
use crate::{Error, Result};

/// The states that a file of a batch may hold, each with a 0 behind its name.
const STATES: [&str; 2] = ["h", "c"];

/// Reads a batch: `inputs` F32 `[T, B, I]` or `tokens` I64 `[T, B]`; `classes` I64 `[T, B]` or `values` F32 `[T, B, O]`;
/// optional `lengths` I64 `[B]`, `mask` F32 `[T, B]`, `h0` and, for an LSTM, `c0` F32 `[layers·directions, B, H]`. What lies behind
/// a sequence's length may be anything. Other tensors are left alone.
///
/// # Errors
/// [`Error::BadInput`] with the file, the tensor, the position and what was expected.
pub fn read_batch(path: impl AsRef<Path>) -> Result<Batch> {
    Tensors::read(path)?.batch()
}

impl Tensors {
    /// The batch that these tensors are, as [`read_batch`] describes; checked as far as it can be without a network.
    ///
    /// # Errors
    /// [`Error::BadInput`] with the tensor, the position and what was expected.
    pub fn batch(&self) -> Result<Batch> {
        let lengths = self.contains("lengths").then(|| self.lengths()).transpose()?;
        let is_read = |t: usize, b: usize| lengths.as_ref().and_then(|lengths| lengths.get(b)).is_none_or(|&length| t < length);
        let inputs = match self.one_of("inputs", "tokens")? {
            "inputs" => Inputs::Vectors(self.vectors("inputs", "[T, B, I]")?),
            tokens => Inputs::Tokens(self.ids(tokens, is_read)?),
        };
        let targets = match self.one_of("values", "classes")? {
            "values" => Targets::Values(self.vectors("values", "[T, B, O]")?),
            classes => Targets::Classes(self.ids(classes, is_read)?),
        };
        let mut batch = Batch { lengths, ..Batch::new(inputs, targets) };
        if self.contains("mask") {
            batch.mask = Some(self.ranked("mask", "[T, B]", self.mask()?)?);
        }
        let mut states = States::new();
        for name in STATES {
            let file = format!("{name}0");
            if self.contains(&file) {
                states.insert(name.to_owned(), self.vectors(&file, "[layers·directions, B, H]")?);
            }
        }
        if !states.is_empty() {
            batch.initial_state = InitialState::Given(states);
        }

        let shape = Shape::of(&batch);
        batch.check_alone(shape.input, shape.outputs).map_err(|error| match error {
            Error::BadInput { what, problem } => self.bad(&what, problem),
            other => other,
        })?;
        Ok(batch)
    }

    /// The tensors of a batch, under the names that [`read_batch`] reads. A carried state has none.
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

    fn one_of(&self, a: &'static str, b: &'static str) -> Result<&'static str> {
        match (self.contains(a), self.contains(b)) {
            (true, false) => Ok(a),
            (false, true) => Ok(b),
            (true, true) => Err(self.bad(a, format!("expected one of `{a}` and `{b}`; both are there"))),
            (false, false) => Err(self.bad(a, format!("expected one of `{a}` and `{b}`; there {}", super::list(self.names())))),
        }
    }

    /// Token or class ids `[T, B]`; where it does not matter any number, which becomes 0 where it is no id.
    fn ids(&self, name: &str, matters: impl Fn(usize, usize) -> bool) -> Result<Array2<u32>> {
        let ids: Array2<i64> = self.ranked(name, "[T, B]", self.i64(name)?)?;
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
            Some((b, length)) => Err(self.bad("lengths", format!("[{b}] is {length}; expected a number from 1 on"))),
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

    fn ranked<T, D: Dimension>(&self, name: &str, axes: &str, array: ArrayD<T>) -> Result<Array<T, D>> {
        let shape = array.shape().to_vec();
        array.into_dimensionality().map_err(|_| self.bad(name, format!("expected {axes}, got {shape:?}")))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, array};

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
            assert_eq!(read_batch(&path).unwrap(), batch);
        }
    }

    #[test]
    fn behind_a_sequences_end_there_may_be_anything() {
        let mut tensors = Tensors::new();
        tensors.insert("tokens", array![[3_i64, 1], [-5, 2], [1 << 40, 0]]);
        tensors.insert("values", array![[[0.5_f32], [1.0]], [[f32::NAN], [2.0]], [[f32::INFINITY], [f32::NAN]]]);
        tensors.insert("lengths", array![1_i64, 2]);
        tensors.insert("mask", array![[1.0_f32, 1.0], [1.0, 0.0], [1.0, 1.0]]);
        let batch = tensors.batch().unwrap();
        assert_eq!(batch.inputs, Inputs::Tokens(array![[3, 1], [0, 2], [0, 0]]));
        assert_eq!((batch.counted(), batch.weights()), (2, vec![0.5, 0.5, 0.0, 0.0, 0.0, 0.0]));
        assert_eq!([0, 1].map(|b| batch.last_counted(b)), [Some(0), Some(0)]);
        let last = Batch { mask: None, ..batch }.of_last_step();
        assert_eq!(last.mask, Some(array![[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]));
    }

    #[test]
    fn errors_name_the_tensor_and_the_numbers() {
        type Change = fn(&mut Tensors);
        fn replace(tensors: &mut Tensors, name: &str, tensor: impl Into<Tensor>) {
            tensors.insert(name, tensor);
        }
        let cases: [(Batch, Change, &str); 23] = [
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
            (tokens(), |t| drop(t.tensors.remove("classes")), "values: expected one of `values` and `classes`; there are tokens"),
            (
                tokens(),
                |t| replace(t, "tokens", array![[1_i64, 2], [3, -4]]),
                "tokens: [1, 1] is -4; expected a number from 0 to 4294967295",
            ),
            (
                tokens(),
                |t| replace(t, "classes", array![[1_i64 << 32]]),
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
            (vectors(), |t| replace(t, "lengths", array![3_i64, -1]), "lengths: [1] is -1; expected a number from 1 on"),
            (vectors(), |t| replace(t, "lengths", array![3_i64]), "lengths: expected shape [2], got [1]"),
            (vectors(), |t| replace(t, "lengths", array![[3_i64, 2]]), "lengths: expected [B], got [1, 2]"),
            (vectors(), |t| replace(t, "lengths", array![3.0_f32, 2.0]), "lengths: is of type F32; expected I64 or I32"),
            (
                vectors(),
                |t| replace(t, "inputs", Array3::from_shape_fn((3, 2, 4), |(t, ..)| if t == 1 { f32::NAN } else { 0.0 })),
                "inputs: [1, 0, 0] is NaN; expected a finite number",
            ),
            (vectors(), |t| replace(t, "h0", Array3::<f32>::zeros((1, 3, 5))), "h0: expected shape [1, 2, 5], got [1, 3, 5]"),
            (vectors(), |t| replace(t, "c0", Array3::<f32>::zeros((2, 2, 5))), "h0: expected shape [2, 2, 5], got [1, 2, 5]"),
        ];
        for (batch, change, expected) in cases {
            let mut tensors = Tensors::from_batch(&batch);
            change(&mut tensors);
            let error = tensors.batch().unwrap_err();
            assert_eq!((error.to_string().as_str(), error.exit_code()), (expected, 7));
        }
    }
}
