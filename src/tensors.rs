//! Files of tensors, as PyTorch and NumPy read and write them: safetensors for weights, gradients, checkpoints and batches; NumPy's `.npz` for
//! batches and predictions.
//!
//! Safetensors are written here and not by the `safetensors` crate, which orders the metadata at random: the same tensors give the same bytes.
//! A file appears whole or not at all.

mod batch;
pub(crate) mod checksum;
mod file;
mod format;
mod npz;

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::{Array, ArrayD, Dimension, IxDyn};

pub use batch::{Layout, ReadBatch, read_batch};
pub use file::TensorFile;
pub(crate) use format::write_in_blocks;

use crate::whole_file::{WholeFile, write_whole};
use crate::{Error, Result};

/// The elements of a tensor in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// 32-bit floats; F16 and BF16 are widened to these when read.
    F32(Vec<f32>),
    /// 64-bit floats.
    F64(Vec<f64>),
    /// Integers; narrower ones are widened when read.
    I64(Vec<i64>),
}

impl Data {
    /// The name of the type in a file.
    fn name(&self) -> &'static str {
        match self {
            Data::F32(_) => "F32",
            Data::F64(_) => "F64",
            Data::I64(_) => "I64",
        }
    }
}

/// A tensor of a file; made from an array with `into()`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Data,
}

impl Tensor {
    /// Its extents.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its elements.
    #[must_use]
    pub fn data(&self) -> &Data {
        &self.data
    }
}

macro_rules! tensor_from_array {
    ($($element:ty => $variant:ident),*) => {$(
        impl<D: Dimension> From<Array<$element, D>> for Tensor {
            fn from(array: Array<$element, D>) -> Tensor {
                Tensor { shape: array.shape().to_vec(), data: Data::$variant(array.into_iter().collect()) }
            }
        }
    )*};
}
tensor_from_array!(f32 => F32, f64 => F64, i64 => I64);

/// Named tensors and strings, as in a safetensors file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tensors {
    /// Where they come from, for messages; empty if they were made here.
    what: String,
    tensors: BTreeMap<String, Tensor>,
    /// Tensors of types not read: name and type.
    unread: BTreeMap<String, String>,
    /// The strings of the header.
    pub metadata: BTreeMap<String, String>,
}

impl Tensors {
    /// No tensors and no metadata.
    #[must_use]
    pub fn new() -> Tensors {
        Tensors::default()
    }

    /// Reads a file: F64, F32, F16, BF16 and integers of up to 64 bits. A tensor of another type is an error only when asked for. What the
    /// file begins with tells whether it is safetensors, NumPy's `.npz`, or `.npy`, whose array becomes `inputs` or, if it holds integers,
    /// `tokens`.
    ///
    /// # Errors
    /// [`Error::BadInput`] if the file cannot be read, is cut off, does not have the checksum that it says or is none of these.
    pub fn read(path: impl AsRef<Path>) -> Result<Tensors> {
        file::read(path.as_ref())
    }

    /// Reads the bytes of a file, as [`Tensors::read`] does; `what` they are goes into messages.
    ///
    /// # Errors
    /// [`Error::BadInput`] if they are cut off or none of these.
    pub fn from_bytes(what: &str, bytes: Vec<u8>) -> Result<Tensors> {
        file::from_bytes(what, bytes)
    }

    /// Writes a safetensors file: the tensors ordered by size of element and by name, the metadata by key, so equal contents are equal bytes.
    ///
    /// It is written beside `path`, flushed to the disk and renamed, so `path` is never half-written. If the metadata have a checksum, it becomes
    /// that of the file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut file = WholeFile::create(path.as_ref())?;
        format::write(self, &mut file).map_err(|e| Error::io(path.as_ref(), e))?;
        file.complete()
    }

    /// Writes NumPy's `.npz`, uncompressed and without the metadata, in the same way.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_npz(&self, path: impl AsRef<Path>) -> Result<()> {
        write_whole(path.as_ref(), |file| npz::write(self, file))
    }

    /// Adds a tensor, or replaces the one of that name.
    pub fn insert(&mut self, name: impl Into<String>, tensor: impl Into<Tensor>) {
        self.tensors.insert(name.into(), tensor.into());
    }

    /// The names of the tensors, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The first tensor with a value that is not finite.
    #[must_use]
    pub fn not_finite(&self) -> Option<&str> {
        let bad = |tensor: &Tensor| match &tensor.data {
            Data::F32(values) => values.iter().any(|v| !v.is_finite()),
            Data::F64(values) => values.iter().any(|v| !v.is_finite()),
            Data::I64(_) => false,
        };
        self.tensors.iter().find(|(_, tensor)| bad(tensor)).map(|(name, _)| name.as_str())
    }

    /// Whether there is a tensor of that name, of whatever type.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name) || self.unread.contains_key(name)
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// [`Error::BadInput`] if there is none, with those there are, or if its type is not read.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        self.tensors.get(name).ok_or_else(|| match self.unread.get(name) {
            Some(element) => self.bad(name, unread(element)),
            None => self.bad(name, missing(self.names())),
        })
    }

    /// Checks a tensor's shape.
    ///
    /// # Errors
    /// [`Error::BadInput`] if there is no such tensor, or with both shapes.
    pub fn expect_shape(&self, name: &str, expected: &[usize]) -> Result<()> {
        let got = self.get(name)?.shape();
        if got == expected { Ok(()) } else { Err(self.bad(name, format!("expected shape {expected:?}, got {got:?}"))) }
    }

    /// A tensor of finite F64 or F32, in f64.
    ///
    /// # Errors
    /// [`Error::BadInput`] if there is none, if it holds integers, or with the position and value of the first element that is not finite.
    pub fn f64(&self, name: &str) -> Result<ArrayD<f64>> {
        self.floats(name, f64::from, |v| v)
    }

    /// A tensor of finite F32 or F64, in f32.
    ///
    /// # Errors
    /// As [`Tensors::f64`]; and for a value beyond the largest f32.
    pub fn f32(&self, name: &str) -> Result<ArrayD<f32>> {
        self.floats(name, |v| v, |v| v as f32)
    }

    /// A tensor of F32 or F64, in f32, whatever the numbers are.
    ///
    /// # Errors
    /// [`Error::BadInput`] if there is none, or if it holds integers.
    pub(crate) fn any_f32(&self, name: &str) -> Result<ArrayD<f32>> {
        self.converted(name, |v| v, |v| v as f32)
    }

    /// A tensor of floats in f64, finite or not.
    pub(crate) fn any_f64(&self, name: &str) -> Result<ArrayD<f64>> {
        self.converted(name, f64::from, |v| v)
    }

    /// A tensor of integers.
    ///
    /// # Errors
    /// [`Error::BadInput`] if there is none, or if it holds floats.
    pub fn i64(&self, name: &str) -> Result<ArrayD<i64>> {
        match self.get(name)? {
            Tensor { shape, data: Data::I64(values) } => self.array(name, shape, values.clone()),
            Tensor { data, .. } => Err(self.bad(name, format!("is of type {}; expected I64 or I32", data.name()))),
        }
    }

    /// A string of the metadata.
    ///
    /// # Errors
    /// [`Error::BadInput`] if there is none, with those there are.
    pub fn metadata(&self, key: &str) -> Result<&str> {
        let missing =
            || self.bad(key, format!("there is no such metadata; there {}", list(self.metadata.keys().map(String::as_str))));
        self.metadata.get(key).map(String::as_str).ok_or_else(missing)
    }

    /// A tensor of finite floats.
    fn floats<T: Copy + Into<f64>>(&self, name: &str, single: fn(f32) -> T, double: fn(f64) -> T) -> Result<ArrayD<T>> {
        let array = self.converted(name, single, double)?;
        if let Some(i) = array.iter().position(|&v| !v.into().is_finite()) {
            let Tensor { shape, data } = self.get(name)?;
            let value = match data {
                Data::F64(values) => values[i],
                _ => array.iter().nth(i).map_or(f64::NAN, |&v| v.into()),
            };
            return Err(self.bad(name, not_finite(i, shape, value)));
        }
        Ok(array)
    }

    /// A tensor of floats of either size, whatever the numbers are.
    fn converted<T>(&self, name: &str, single: fn(f32) -> T, double: fn(f64) -> T) -> Result<ArrayD<T>> {
        let Tensor { shape, data } = self.get(name)?;
        let values: Vec<T> = match data {
            Data::F32(values) => values.iter().map(|&v| single(v)).collect(),
            Data::F64(values) => values.iter().map(|&v| double(v)).collect(),
            Data::I64(_) => return Err(self.bad(name, "holds integers; expected F32 or F64")),
        };
        self.array(name, shape, values)
    }

    /// The file's own checks make the length right; extents that overflow beside a zero are left to refuse.
    fn array<T>(&self, name: &str, shape: &[usize], values: Vec<T>) -> Result<ArrayD<T>> {
        ArrayD::from_shape_vec(IxDyn(shape), values).map_err(|e| self.bad(name, format!("shape {shape:?}: {e}")))
    }

    /// [`Error::BadInput`] that names the file and one of its tensors.
    pub(crate) fn bad(&self, name: &str, problem: impl Into<String>) -> Error {
        named(&self.what, name, problem)
    }
}

/// [`Error::BadInput`] that names a file, if it is one, and one of its tensors.
fn named(what: &str, name: &str, problem: impl Into<String>) -> Error {
    Error::input(if what.is_empty() { name.to_string() } else { format!("{what}: {name}") }, problem)
}

/// The problem with a tensor of another type.
fn unread(element: &str) -> String {
    format!("is of type {element}; expected F32 or F64, or I64 or I32")
}

/// The problem with a name that none of these is.
fn missing<'a>(names: impl Iterator<Item = &'a str>) -> String {
    format!("there is no such tensor; there {}", list(names))
}

/// The problem with the `i`-th element of a shape, which is not finite, or not as an f32.
fn not_finite(i: usize, shape: &[usize], value: f64) -> String {
    let beyond = if value.is_finite() { format!("{value:e}, beyond the largest f32") } else { value.to_string() };
    format!("{:?} is {beyond}; expected a finite number", position(i, shape))
}

/// "is none" or "are a, b, c".
fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    match names.collect::<Vec<_>>() {
        names if names.is_empty() => "is none".into(),
        names => format!("are {}", names.join(", ")),
    }
}

/// The index of the `i`-th element in row-major order.
fn position(mut i: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (at, extent) in index.iter_mut().zip(shape).rev() {
        (*at, i) = (i % extent, i / extent);
    }
    index
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn example() -> Tensors {
        let mut tensors = Tensors::new();
        tensors.insert("w", array![[1.5_f32, -2.0, 3.0], [4.0, 5.0, f32::MIN_POSITIVE]]);
        tensors.insert("double", array![0.1_f64, 1e300]);
        tensors.insert("ids", array![[3_i64, -1]]);
        tensors.insert("bad", array![[[0.0_f32, 1.0], [2.0, f32::NAN]]]);
        tensors.insert("worse", array![0.0, f64::NEG_INFINITY]);
        tensors.insert("none", Array::<f32, _>::zeros((0, 4)));
        tensors.metadata.insert("step".into(), "17".into());
        tensors
    }

    #[test]
    fn getters_convert() {
        let tensors = example();
        assert_eq!(tensors.f32("w").unwrap(), array![[1.5, -2.0, 3.0], [4.0, 5.0, f32::MIN_POSITIVE]].into_dyn());
        assert_eq!(tensors.f64("w").unwrap()[[0, 1]], -2.0);
        assert_eq!(tensors.f64("double").unwrap(), array![0.1, 1e300].into_dyn());
        assert_eq!(tensors.i64("ids").unwrap(), array![[3, -1]].into_dyn());
        assert_eq!(tensors.f32("none").unwrap().shape(), [0, 4]);
        assert_eq!(tensors.metadata("step").unwrap(), "17");
        assert_eq!(tensors.names().collect::<Vec<_>>(), ["bad", "double", "ids", "none", "w", "worse"]);
        assert!(tensors.expect_shape("w", &[2, 3]).is_ok());
    }

    #[test]
    fn arrays_of_any_layout_are_stored_row_by_row() {
        let tensor = Tensor::from(array![[1.0_f32, 2.0], [3.0, 4.0]].reversed_axes());
        assert_eq!(tensor, Tensor { shape: vec![2, 2], data: Data::F32(vec![1.0, 3.0, 2.0, 4.0]) });
    }

    #[test]
    fn errors_name_tensor_position_and_value() {
        let mut tensors = example();
        tensors.what = "f.safetensors".into();
        tensors.unread.insert("flags".into(), "BOOL".into());
        for (error, expected) in [
            (tensors.f32("u").unwrap_err(), "u: there is no such tensor; there are bad, double, ids, none, w, worse"),
            (tensors.f32("flags").unwrap_err(), "flags: is of type BOOL; expected F32 or F64, or I64 or I32"),
            (tensors.f32("ids").unwrap_err(), "ids: holds integers; expected F32 or F64"),
            (tensors.i64("w").unwrap_err(), "w: is of type F32; expected I64 or I32"),
            (tensors.f32("bad").unwrap_err(), "bad: [0, 1, 1] is NaN; expected a finite number"),
            (tensors.f64("worse").unwrap_err(), "worse: [1] is -inf; expected a finite number"),
            (tensors.f32("double").unwrap_err(), "double: [1] is 1e300, beyond the largest f32; expected a finite number"),
            (tensors.expect_shape("w", &[3, 2]).unwrap_err(), "w: expected shape [3, 2], got [2, 3]"),
            (tensors.metadata("stop").unwrap_err(), "stop: there is no such metadata; there are step"),
        ] {
            assert_eq!(error.to_string(), format!("f.safetensors: {expected}"));
            assert_eq!(error.exit_code(), 7);
        }
        assert_eq!(Tensors::new().f32("w").unwrap_err().to_string(), "w: there is no such tensor; there is none");
    }
}
