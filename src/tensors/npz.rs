//! NumPy's `.npz` files, which are zip archives of `.npy` files, and these: a header in text, then the elements.
//!
//! An array's header is read here: `ndarray-npy` takes memory for whatever size a damaged one names, and ends the program where there is
//! none.

use std::io::{self, Read, Seek, Write};

use ndarray::{ArrayD, IxDyn};
use safetensors::Dtype;
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::file::bytes_of;
use super::{Data, Tensor, Tensors};
use crate::{Error, Result};

/// What an archive begins with, one with arrays and one without.
const ARCHIVES: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];
/// What an array begins with.
const ARRAY: &[u8] = b"\x93NUMPY";
/// What an array alone is called: a network's inputs.
const ALONE: [&str; 2] = ["inputs", "tokens"];

/// Whether a file that begins so is one of NumPy's.
pub(super) fn is_numpy(beginning: &[u8]) -> bool {
    beginning.starts_with(ARRAY) || is_archive(beginning)
}

fn is_archive(beginning: &[u8]) -> bool {
    ARCHIVES.iter().any(|archive| beginning.starts_with(archive))
}

/// Reads an archive, or an array, which becomes `inputs` if it holds floats and `tokens` if it holds integers.
///
/// # Errors
/// [`Error::BadInput`] if it is cut off or damaged.
pub(super) fn read(what: &str, mut source: impl Read + Seek) -> Result<Tensors> {
    let mut beginning = [0; 6];
    let invalid = |e: &dyn std::fmt::Display| Error::input(what, format!("is not a whole NumPy file (.npz or .npy): {e}"));
    source.read_exact(&mut beginning).and_then(|()| source.rewind()).map_err(|e| invalid(&e))?;
    let mut tensors = Tensors { what: what.to_owned(), ..Tensors::default() };
    if !is_archive(&beginning) {
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes).map_err(|e| invalid(&e))?;
        match array(&bytes).map_err(|problem| invalid(&problem))? {
            Array::Read(tensor) => {
                let name = ALONE[usize::from(matches!(tensor.data, Data::I64(_)))];
                tensors.tensors.insert(name.to_owned(), tensor);
            }
            Array::Unread(element) => drop(tensors.unread.insert(ALONE[0].to_owned(), element)),
        }
        return Ok(tensors);
    }
    let mut archive = ZipArchive::new(source).map_err(|e| invalid(&e))?;
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).map_err(|e| invalid(&e))?;
        let name = file.name().map_err(|e| invalid(&e))?.into_owned();
        // What else there is in an archive is none of NumPy's.
        let Some(name) = name.strip_suffix(".npy").map(str::to_owned) else { continue };
        let mut bytes = Vec::new();
        // It is held against its checksum.
        file.read_to_end(&mut bytes).map_err(|e| invalid(&format!("{name}: {e}")))?;
        match array(&bytes).map_err(|problem| invalid(&format!("{name}: {problem}")))? {
            Array::Read(tensor) => drop(tensors.tensors.insert(name, tensor)),
            Array::Unread(element) => drop(tensors.unread.insert(name, element)),
        }
    }
    Ok(tensors)
}

/// Writes an archive, uncompressed; equal contents give equal bytes.
pub(super) fn write(tensors: &Tensors, file: &mut dyn Write) -> io::Result<()> {
    let mut archive = ZipWriter::new_stream(file);
    let options = SimpleFileOptions::DEFAULT.compression_method(CompressionMethod::Stored).large_file(true);
    let failed = |e: ZipError| match e {
        ZipError::Io(e) => e,
        e => io::Error::other(e),
    };
    for (name, Tensor { shape, data }) in &tensors.tensors {
        archive.start_file(format!("{name}.npy"), options).map_err(failed)?;
        let element = match data {
            Data::F32(_) => "<f4",
            Data::F64(_) => "<f8",
            Data::I64(_) => "<i8",
        };
        let extents: String = shape.iter().map(|extent| format!("{extent}, ")).collect();
        let header = format!("{{'descr': '{element}', 'fortran_order': False, 'shape': ({}), }}", extents.trim_end_matches(' '));
        // The elements begin at a multiple of 64 bytes, behind the end of a line.
        let room = (10 + header.len() + 1).next_multiple_of(64) - 10;
        archive.write_all(ARRAY)?;
        archive.write_all(&[1, 0])?;
        archive.write_all(&(room as u16).to_le_bytes())?;
        archive.write_all(format!("{header:<0$}\n", room - 1).as_bytes())?;
        match data {
            Data::F32(values) => values.iter().try_for_each(|v| archive.write_all(&v.to_le_bytes()))?,
            Data::F64(values) => values.iter().try_for_each(|v| archive.write_all(&v.to_le_bytes()))?,
            Data::I64(values) => values.iter().try_for_each(|v| archive.write_all(&v.to_le_bytes()))?,
        }
    }
    archive.finish().map(drop).map_err(failed)
}

enum Array {
    Read(Tensor),
    /// Of a type that is not read.
    Unread(String),
}

/// An array from the bytes of its file.
fn array(bytes: &[u8]) -> std::result::Result<Array, String> {
    let (header, elements) = divide(bytes).ok_or("it does not begin as an array does")?;
    let header = std::str::from_utf8(header).map_err(|e| e.to_string())?;
    let field = |name: &str| {
        let problem = || format!("there is no {name} in its header {header:?}");
        header.split_once(&format!("'{name}':")).map(|(_, rest)| rest.trim_start()).ok_or_else(problem)
    };
    let descr = field("descr")?;
    let element = descr.strip_prefix('\'').and_then(|rest| rest.split_once('\'')).map_or(descr, |(element, _)| element);
    let Some(dtype) = element_type(element) else { return Ok(Array::Unread(element.to_owned())) };
    let shape = field("shape")?;
    let inner = shape.strip_prefix('(').and_then(|rest| rest.split_once(')')).map(|(inner, _)| inner);
    let extents = inner.ok_or_else(|| format!("its shape is not one: {header:?}"))?.split(',').map(str::trim);
    let shape: Vec<usize> = extents
        .filter(|extent| !extent.is_empty())
        .map(|extent| extent.parse().map_err(|_| format!("an extent of its shape is {extent}")))
        .collect::<std::result::Result<_, String>>()?;
    let size = bytes_of(dtype).expect("a type that is read");
    let expected = shape.iter().try_fold(size, |product, &extent| product.checked_mul(extent));
    if expected != Some(elements.len()) {
        return Err(format!("shape {shape:?} of {element} is not {} bytes", elements.len()));
    }
    let mut data = Data::with_room(dtype, elements.len() / size);
    data.decode(dtype, elements);
    let is_fortran = field("fortran_order")?.starts_with("True");
    Ok(Array::Read(if is_fortran { turned(&shape, data)? } else { Tensor { shape, data } }))
}

/// The header and the elements.
fn divide(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_prefix(ARRAY)?;
    let (version, rest) = rest.split_at_checked(2)?;
    // Since version 2 its length has four bytes.
    let width = if version[0] == 1 { 2 } else { 4 };
    let (length, rest) = rest.split_at_checked(width)?;
    let length = length.iter().rev().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
    rest.split_at_checked(length)
}

/// Little-endian, or of one byte.
fn element_type(descr: &str) -> Option<Dtype> {
    Some(match descr {
        "<f8" => Dtype::F64,
        "<f4" => Dtype::F32,
        "<f2" => Dtype::F16,
        "<i8" => Dtype::I64,
        "<u8" => Dtype::U64,
        "<i4" => Dtype::I32,
        "<u4" => Dtype::U32,
        "<i2" => Dtype::I16,
        "<u2" => Dtype::U16,
        "|i1" => Dtype::I8,
        "|u1" => Dtype::U8,
        "|b1" => Dtype::BOOL,
        _ => return None,
    })
}

/// A tensor in row-major order, of elements whose first index runs fastest.
fn turned(shape: &[usize], data: Data) -> std::result::Result<Tensor, String> {
    fn turn<T: Clone>(shape: &[usize], values: Vec<T>) -> std::result::Result<Vec<T>, String> {
        let backward: Vec<usize> = shape.iter().rev().copied().collect();
        // An extent of 0 may stand beside others that are beyond everything.
        let array = ArrayD::from_shape_vec(IxDyn(&backward), values).map_err(|e| format!("shape {shape:?}: {e}"))?;
        Ok(array.reversed_axes().iter().cloned().collect())
    }
    let data = match data {
        Data::F32(values) => Data::F32(turn(shape, values)?),
        Data::F64(values) => Data::F64(turn(shape, values)?),
        Data::I64(values) => Data::I64(turn(shape, values)?),
    };
    Ok(Tensor { shape: shape.to_vec(), data })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use ndarray::{Array0, array};

    use super::*;

    fn written(tensors: &Tensors) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(tensors, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_is_written_is_read() {
        let mut tensors = Tensors::new();
        tensors.insert("outputs", array![[[1.0_f32, f32::NAN], [-2.5, 3.0]]]);
        tensors.insert("classes", array![[-100_i64, 1 << 40]]);
        tensors.insert("h", array![0.1_f64]);
        tensors.insert("loss", Array0::from_elem((), 2.0_f32));
        let bytes = written(&tensors);
        assert_eq!(bytes, written(&tensors));
        let read = read("file", Cursor::new(&bytes)).unwrap();
        assert!(read.names().eq(["classes", "h", "loss", "outputs"]));
        for name in ["classes", "h", "loss"] {
            assert_eq!(read.get(name).unwrap(), tensors.get(name).unwrap());
        }
        assert_eq!(format!("{:?}", read.get("outputs")), format!("{:?}", tensors.get("outputs")));
    }

    /// An array as NumPy writes it, with a header of one's own.
    fn npy(version: u8, header: &str, elements: &[u8]) -> Vec<u8> {
        let length = (header.len() as u32).to_le_bytes();
        let length = if version == 1 { &length[..2] } else { &length[..] };
        [ARRAY, &[version, 0], length, header.as_bytes(), elements].concat()
    }

    #[test]
    fn arrays_are_read_in_either_order_and_of_each_type() {
        let fortran = "{'descr': '<i2', 'fortran_order': True, 'shape': (2, 3), }\n";
        let elements: Vec<u8> = [1_i16, 4, 2, 5, 3, 6].iter().flat_map(|v| v.to_le_bytes()).collect();
        for version in [1, 2, 3] {
            let tensors = read("file", Cursor::new(npy(version, fortran, &elements))).unwrap();
            assert_eq!(tensors.i64("tokens").unwrap(), array![[1_i64, 2, 3], [4, 5, 6]].into_dyn());
        }
        let half = npy(1, "{'descr': '<f2', 'fortran_order': False, 'shape': (2,), }\n", &[0, 0x3c, 0, 0xc0]);
        assert_eq!(read("file", Cursor::new(half)).unwrap().f32("inputs").unwrap(), array![1.0_f32, -2.0].into_dyn());
        let big = npy(1, "{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }\n", &[0; 4]);
        let error = read("file", Cursor::new(big)).unwrap().f32("inputs").unwrap_err().to_string();
        assert_eq!(error, "file: inputs: is of type >f4; expected F32 or F64, or I64 or I32");
    }

    /// No file, however damaged, is read as something else or ends the program.
    #[test]
    fn damaged_files_are_refused() {
        let mut tensors = Tensors::new();
        tensors.insert("inputs", array![[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]]);
        let whole = written(&tensors);
        let same = |bytes: &[u8]| read("file", Cursor::new(bytes)).is_ok_and(|read| read.tensors == tensors.tensors);
        assert!(same(&whole));
        assert!((6..whole.len()).all(|length| !same(&whole[..length])), "a part is not the whole");
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                let Ok(read) = read("file", Cursor::new(&damaged)) else { continue };
                // The archive's own fields, such as the time of a file, may differ; an array that is there is right.
                assert!(read.tensors.values().all(|tensor| *tensor == tensors.tensors["inputs"]), "byte {at}, bit {bit}");
            }
        }
        let empty = npy(1, "{'descr': '<f4', 'fortran_order': True, 'shape': (0, 9223372036854775807, 9), }\n", &[]);
        assert!(read("file", Cursor::new(empty)).unwrap_err().to_string().contains("9223372036854775807"));
        let large = npy(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999, 99999999999), }\n", &[0; 8]);
        let error = read("file", Cursor::new(large)).unwrap_err().to_string();
        assert!(error.contains("shape [99999999999, 99999999999] of <f8 is not 8 bytes"), "{error}");
    }
}
