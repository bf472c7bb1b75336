//! A safetensors file that stays on the disk: its header is read, and of its tensors what is asked for.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crc32fast::Hasher;
use ndarray::{ArrayD, IxDyn};
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensorError};

use super::{Data, Tensor, Tensors, checksum, list, named, not_finite, npz};
use crate::blocks::BLOCK;
use crate::memory::check_memory_or;
use crate::{Error, Result};

/// An open safetensors file. What of its tensors is in memory is what was asked for, however large they are.
#[derive(Debug)]
pub struct TensorFile {
    /// Its place, for messages.
    what: String,
    source: Source,
    /// Where the tensors' bytes begin.
    start: u64,
    /// The bytes of the file.
    len: u64,
    tensors: BTreeMap<String, TensorInfo>,
    /// The strings of the header.
    pub metadata: BTreeMap<String, String>,
}

#[derive(Debug)]
enum Source {
    File(Mutex<File>),
    /// Of a pipe, which can be read once.
    Bytes(Vec<u8>),
}

impl Source {
    fn open(path: &Path) -> io::Result<(Source, u64)> {
        let mut file = File::open(path)?;
        let about = file.metadata()?;
        if about.is_file() {
            return Ok((Source::File(Mutex::new(file)), about.len()));
        }
        let mut bytes = Vec::new();
        let len = file.read_to_end(&mut bytes)?;
        Ok((Source::Bytes(bytes), len as u64))
    }

    /// So many bytes from a place on.
    fn read(&self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        match self {
            Source::File(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                let mut bytes = vec![0; len];
                file.seek(SeekFrom::Start(at))?;
                file.read_exact(&mut bytes)?;
                Ok(bytes)
            }
            Source::Bytes(bytes) => {
                let part = usize::try_from(at).ok().and_then(|at| bytes.get(at..)?.get(..len));
                part.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
        }
    }
}

/// The tensors of a file, safetensors or NumPy's: [`Tensors::read`].
pub(super) fn read(path: &Path) -> Result<Tensors> {
    let what = path.display().to_string();
    let unread = |e: io::Error| Error::input(&what, format!("cannot be read: {e}"));
    let (source, len) = Source::open(path).map_err(unread)?;
    from_source(&what, source, len)
}

/// The tensors of a file's bytes.
pub(super) fn from_bytes(what: &str, bytes: Vec<u8>) -> Result<Tensors> {
    let len = bytes.len() as u64;
    from_source(what, Source::Bytes(bytes), len)
}

fn from_source(what: &str, source: Source, len: u64) -> Result<Tensors> {
    let unread = |e: io::Error| Error::input(what, format!("cannot be read: {e}"));
    if len < 6 || !npz::is_numpy(&source.read(0, 6).map_err(unread)?) {
        let file = TensorFile::from_source(what.to_owned(), source, len)?;
        file.verify_checksum()?;
        return file.read();
    }
    match source {
        Source::File(file) => {
            let mut file = file.into_inner().unwrap_or_else(PoisonError::into_inner);
            file.rewind().map_err(unread)?;
            npz::read(what, io::BufReader::new(file))
        }
        Source::Bytes(bytes) => npz::read(what, io::Cursor::new(bytes)),
    }
}

/// The header's bytes at most: what the format allows.
const LARGEST_HEADER: u64 = 100_000_000;
/// The bytes that are read at once for the checksum.
const SUMMED: usize = 1 << 20;

impl TensorFile {
    /// Opens a file and reads its header. It is held against the file's length, so that every tensor is there.
    ///
    /// # Errors
    /// [`Error::BadInput`] if the file cannot be read, is cut off or is not safetensors.
    pub fn open(path: impl AsRef<Path>) -> Result<TensorFile> {
        let what = path.as_ref().display().to_string();
        let (source, len) = Source::open(path.as_ref()).map_err(|e| Error::input(&what, format!("cannot be read: {e}")))?;
        TensorFile::from_source(what, source, len)
    }

    fn from_source(what: String, source: Source, len: u64) -> Result<TensorFile> {
        let unread = |e: io::Error| Error::input(&what, format!("cannot be read: {e}"));
        let invalid = |e: SafeTensorError| Error::input(&what, format!("is not a whole safetensors file ({len} bytes): {e}"));
        if len == 0 {
            return Err(Error::input(&what, "is empty"));
        }
        if len < 8 {
            return Err(invalid(SafeTensorError::HeaderTooSmall));
        }
        let bytes = source.read(0, 8).map_err(unread)?;
        let size = u64::from_le_bytes(bytes.try_into().expect("eight were read"));
        if size > LARGEST_HEADER {
            return Err(invalid(SafeTensorError::HeaderTooLarge));
        }
        let start = size + 8;
        if start > len {
            return Err(invalid(SafeTensorError::InvalidHeaderLength));
        }
        let header = source.read(8, size as usize).map_err(unread)?;
        let header = std::str::from_utf8(&header).map_err(|e| invalid(SafeTensorError::InvalidHeader(e)))?;
        // It checks that the tensors lie one behind the other, each as long as its shape says.
        let header: Metadata =
            serde_json::from_str(header).map_err(|e| invalid(SafeTensorError::InvalidHeaderDeserialization(e)))?;
        if start.checked_add(header.data_len() as u64) != Some(len) {
            return Err(invalid(SafeTensorError::MetadataIncompleteBuffer));
        }
        let tensors = header.tensors().into_iter().map(|(name, info)| (name, info.clone())).collect();
        let metadata = header.metadata().clone().into_iter().flatten().collect();
        Ok(TensorFile { what, source, start, len, tensors, metadata })
    }

    /// Holds all of the file against its checksum, and tells whether it has one; only then it is read. Checkpoints have one.
    ///
    /// # Errors
    /// [`Error::BadInput`] if the checksum is another: the file is damaged, or was edited.
    pub fn verify_checksum(&self) -> Result<bool> {
        let Some(expected) = self.metadata.get(checksum::KEY) else { return Ok(false) };
        let read =
            |at: u64, len: usize| self.source.read(at, len).map_err(|e| Error::input(&self.what, format!("cannot be read: {e}")));
        let wrong = |found: &str| {
            self.bad(
                checksum::KEY,
                format!("is {expected}, and that of the contents is {found}: the file is damaged, or was edited"),
            )
        };
        let mut header = read(0, self.start as usize)?;
        let place = checksum::place(&header, expected).ok_or_else(|| wrong("not to be found"))?;
        header[place].fill(b'0');
        let mut sum = Hasher::new();
        sum.update(&header);
        for at in (self.start..self.len).step_by(SUMMED) {
            sum.update(&read(at, (self.len - at).min(SUMMED as u64) as usize)?);
        }
        let found = checksum::digits(sum);
        if found == *expected { Ok(true) } else { Err(wrong(&found)) }
    }

    /// The names of the tensors of types that are read, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().filter(|(_, info)| bytes_of(info.dtype).is_some()).map(|(name, _)| name.as_str())
    }

    /// The names of all tensors, of whatever type, in order.
    pub(crate) fn all_names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether there is a tensor of that name, of whatever type.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A tensor's shape.
    ///
    /// # Errors
    /// [`Error::BadInput`] if there is none, with those there are, or if its type is not read.
    pub fn shape(&self, name: &str) -> Result<&[usize]> {
        Ok(&self.info(name)?.shape)
    }

    /// Checks a tensor's shape.
    ///
    /// # Errors
    /// As [`Tensors::expect_shape`].
    pub fn expect_shape(&self, name: &str, expected: &[usize]) -> Result<()> {
        let got = self.shape(name)?;
        if got == expected { Ok(()) } else { Err(self.bad(name, format!("expected shape {expected:?}, got {got:?}"))) }
    }

    /// A string of the metadata.
    ///
    /// # Errors
    /// As [`Tensors::metadata`].
    pub fn metadata(&self, key: &str) -> Result<&str> {
        let keys = || list(self.metadata.keys().map(String::as_str));
        let missing = || self.bad(key, format!("there is no such metadata; there {}", keys()));
        self.metadata.get(key).map(String::as_str).ok_or_else(missing)
    }

    /// Some elements of a tensor of finite F64 or F32, counted row by row, in f64.
    ///
    /// # Errors
    /// As [`Tensors::f64`]; and if the file has become shorter.
    ///
    /// # Panics
    /// When the elements are not in the tensor.
    pub fn f64_range(&self, name: &str, elements: Range<usize>) -> Result<Vec<f64>> {
        let first = elements.start;
        let values: Vec<f64> = match self.data(name, elements)? {
            Data::F32(values) => values.into_iter().map(f64::from).collect(),
            Data::F64(values) => values,
            Data::I64(_) => return Err(self.bad(name, "holds integers; expected F32 or F64")),
        };
        match values.iter().position(|v| !v.is_finite()) {
            Some(i) => Err(self.bad(name, not_finite(first + i, self.shape(name)?, values[i]))),
            None => Ok(values),
        }
    }

    /// A tensor of finite F64 or F32, in f64.
    ///
    /// # Errors
    /// As [`TensorFile::f64_range`].
    pub fn f64(&self, name: &str) -> Result<ArrayD<f64>> {
        let shape = self.shape(name)?;
        let values = self.f64_range(name, 0..shape.iter().product())?;
        ArrayD::from_shape_vec(IxDyn(shape), values).map_err(|e| self.bad(name, format!("shape {shape:?}: {e}")))
    }

    /// All tensors.
    ///
    /// # Errors
    /// [`Error::BadInput`] if the file has become shorter; [`Error::DoesNotFit`] when they are larger than the memory.
    pub fn read(&self) -> Result<Tensors> {
        let widened = |info: &TensorInfo| match info.dtype {
            Dtype::F32 | Dtype::F16 | Dtype::BF16 => 4,
            _ => 8,
        };
        let bytes = |info: &TensorInfo| info.shape.iter().fold(widened(info), |bytes: u64, &n| bytes.saturating_mul(n as u64));
        let read = self.tensors.values().filter(|info| bytes_of(info.dtype).is_some());
        let needed = read.map(bytes).fold(0, u64::saturating_add);
        check_memory_or(&self.what, needed, |_| "fewer or smaller tensors would fit".into())?;
        let mut all = Tensors { what: self.what.clone(), metadata: self.metadata.clone(), ..Tensors::default() };
        for (name, info) in &self.tensors {
            if bytes_of(info.dtype).is_some() {
                let data = self.data(name, 0..info.shape.iter().product())?;
                all.tensors.insert(name.clone(), Tensor { shape: info.shape.clone(), data });
            } else {
                all.unread.insert(name.clone(), info.dtype.to_string());
            }
        }
        Ok(all)
    }

    fn info(&self, name: &str) -> Result<&TensorInfo> {
        match self.tensors.get(name) {
            Some(info) if bytes_of(info.dtype).is_some() => Ok(info),
            Some(info) => Err(self.bad(name, super::unread(&info.dtype.to_string()))),
            None => Err(self.bad(name, super::missing(self.names()))),
        }
    }

    /// Some elements, widened, a block at a time.
    fn data(&self, name: &str, elements: Range<usize>) -> Result<Data> {
        let info = self.info(name)?;
        let count: usize = info.shape.iter().product();
        assert!(elements.start <= elements.end && elements.end <= count, "{elements:?} of {count} elements of {name}");
        let size = bytes_of(info.dtype).expect("a type that is read");
        let start = self.start + info.data_offsets.0 as u64;
        let failed = |e: io::Error| self.bad(name, format!("cannot be read: {e}"));
        let mut data = Data::with_room(info.dtype, elements.len());
        for first in elements.clone().step_by(BLOCK) {
            let end = elements.end.min(first + BLOCK);
            let bytes = self.source.read(start + (first * size) as u64, (end - first) * size).map_err(failed)?;
            data.decode(info.dtype, &bytes);
        }
        Ok(data)
    }

    /// [`Error::BadInput`] that names the file and one of its tensors.
    pub(crate) fn bad(&self, name: &str, problem: impl Into<String>) -> Error {
        named(&self.what, name, problem)
    }
}

/// The bytes of an element of a type that is read.
pub(super) fn bytes_of(dtype: Dtype) -> Option<usize> {
    Some(match dtype {
        Dtype::F64 | Dtype::I64 | Dtype::U64 => 8,
        Dtype::F32 | Dtype::I32 | Dtype::U32 => 4,
        Dtype::F16 | Dtype::BF16 | Dtype::I16 | Dtype::U16 => 2,
        Dtype::I8 | Dtype::U8 | Dtype::BOOL => 1,
        _ => return None,
    })
}

impl Data {
    /// None yet, with room for so many of a type that is read.
    pub(super) fn with_room(dtype: Dtype, room: usize) -> Data {
        match dtype {
            Dtype::F64 => Data::F64(Vec::with_capacity(room)),
            Dtype::F32 | Dtype::F16 | Dtype::BF16 => Data::F32(Vec::with_capacity(room)),
            _ => Data::I64(Vec::with_capacity(room)),
        }
    }

    /// Appends elements of the type that it was made for.
    pub(super) fn decode(&mut self, dtype: Dtype, bytes: &[u8]) {
        fn push<const N: usize, T>(values: &mut Vec<T>, bytes: &[u8], element: impl Fn([u8; N]) -> T) {
            values.extend(bytes.as_chunks().0.iter().map(|&bytes| element(bytes)));
        }
        match (self, dtype) {
            (Data::F64(values), _) => push(values, bytes, f64::from_le_bytes),
            (Data::F32(values), Dtype::F32) => push(values, bytes, f32::from_le_bytes),
            (Data::F32(values), Dtype::F16) => push(values, bytes, |b| f32_of_f16(u16::from_le_bytes(b))),
            (Data::F32(values), _) => push(values, bytes, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)),
            (Data::I64(values), Dtype::I64) => push(values, bytes, i64::from_le_bytes),
            // What is beyond i64 is beyond every range that is asked for.
            (Data::I64(values), Dtype::U64) => push(values, bytes, |b| i64::try_from(u64::from_le_bytes(b)).unwrap_or(i64::MAX)),
            (Data::I64(values), Dtype::I32) => push(values, bytes, |b| i32::from_le_bytes(b).into()),
            (Data::I64(values), Dtype::U32) => push(values, bytes, |b| u32::from_le_bytes(b).into()),
            (Data::I64(values), Dtype::I16) => push(values, bytes, |b| i16::from_le_bytes(b).into()),
            (Data::I64(values), Dtype::U16) => push(values, bytes, |b| u16::from_le_bytes(b).into()),
            (Data::I64(values), Dtype::I8) => push(values, bytes, |b| i8::from_le_bytes(b).into()),
            (Data::I64(values), _) => push(values, bytes, |[b]: [u8; 1]| b.into()),
        }
    }
}

/// IEEE 754 binary16 to binary32, exactly.
fn f32_of_f16(bits: u16) -> f32 {
    let [sign, exponent, fraction] = [bits >> 15, (bits >> 10) & 0x1f, bits & 0x3ff].map(u32::from);
    let magnitude = match exponent {
        0 => fraction as f32 / (1 << 24) as f32,
        31 => f32::from_bits(0x7f80_0000 | fraction << 13),
        _ => f32::from_bits((exponent + 112) << 23 | fraction << 13),
    };
    f32::from_bits(magnitude.to_bits() | sign << 31)
}
