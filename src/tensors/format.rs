//! Safetensors files as they are written: the header's length (8 bytes, little-endian), the header (JSON), the tensors' bytes.

use std::collections::BTreeMap;

use std::io::{self, Write};
use std::ops::Range;

use crc32fast::Hasher;
use serde_json::{Map, Value, json};

use super::checksum::{self, Summing};
use super::{Data, Tensor, Tensors};
use crate::blocks::{blocks, matrix};
use crate::whole_file::WholeFile;
use crate::{Error, Result};

/// Writes all tensors; a checksum in the metadata becomes that of what is written.
pub(super) fn write(tensors: &Tensors, file: &mut WholeFile) -> io::Result<()> {
    // Wide elements first, so that every tensor is aligned to its elements.
    let mut ordered = tensors.tensors.iter().collect::<Vec<_>>();
    ordered.sort_by_key(|(_, tensor)| matches!(tensor.data, Data::F32(_)));

    let entries = ordered.iter().map(|(name, Tensor { shape, data })| {
        let bytes = match data {
            Data::F32(values) => size_of_val(&**values),
            Data::F64(values) => size_of_val(&**values),
            Data::I64(values) => size_of_val(&**values),
        };
        (name.as_str(), data.name(), shape.as_slice(), bytes)
    });
    let mut metadata = tensors.metadata.clone();
    metadata.entry(checksum::KEY.into()).and_modify(|sum| *sum = checksum::UNKNOWN.into());
    let header = header(&metadata, entries);
    let mut out = Summing { out: file, sum: Hasher::new() };
    out.write_all(&header)?;
    for (_, tensor) in ordered {
        match &tensor.data {
            Data::F32(values) => write_values(values, f32::to_le_bytes, &mut out)?,
            Data::F64(values) => write_values(values, f64::to_le_bytes, &mut out)?,
            Data::I64(values) => write_values(values, i64::to_le_bytes, &mut out)?,
        }
    }
    let sum = out.sum;
    checksum::put(file, &header, sum)
}

/// Writes numbers, many at once.
fn write_values<T: Copy, const N: usize>(values: &[T], bytes: fn(T) -> [u8; N], out: &mut impl Write) -> io::Result<()> {
    let mut written = Vec::new();
    for values in values.chunks(1 << 16) {
        written.clear();
        values.iter().for_each(|&value| written.extend_from_slice(&bytes(value)));
        out.write_all(&written)?;
    }
    Ok(())
}

/// What comes before the tensors' bytes: of each its name, type, shape and the number of its bytes, in their order.
fn header<'a>(
    metadata: &BTreeMap<String, String>,
    tensors: impl Iterator<Item = (&'a str, &'a str, &'a [usize], usize)>,
) -> Vec<u8> {
    let mut header = Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".into(), json!(metadata));
    }
    let mut offset = 0;
    for (name, element, shape, bytes) in tensors {
        header.insert(name.into(), json!({"dtype": element, "shape": shape, "data_offsets": [offset, offset + bytes]}));
        offset += bytes;
    }
    let mut header = Value::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat()
}

/// Writes a file of F32 tensors as [`Tensors::write`] does, asking for the values of one after the other, by its number, and of that for
/// [`blocks`] of its rows: so not even one of them need be in memory. A checksum that is [`checksum::UNKNOWN`] in the metadata becomes that of
/// the file.
///
/// # Errors
/// What `values` reports, and then nothing is written; [`Error::Io`].
pub(crate) fn write_in_blocks(
    file: &mut WholeFile,
    metadata: &BTreeMap<String, String>,
    tensors: &[(String, Vec<usize>)],
    values: &mut dyn FnMut(usize, Range<usize>) -> Result<Vec<f32>>,
) -> Result<()> {
    let path = file.path().to_owned();
    let failed = |e| Error::io(&path, e);
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by_key(|&i| &tensors[i].0);
    let entry = |&i: &usize| {
        let (name, shape) = &tensors[i];
        (name.as_str(), "F32", shape.as_slice(), shape.iter().product::<usize>() * 4)
    };
    let header = header(metadata, order.iter().map(entry));
    let mut out = Summing { out: file, sum: Hasher::new() };
    out.write_all(&header).map_err(failed)?;
    for &i in &order {
        let (rows, cols) = matrix(&tensors[i].1);
        for block in blocks(rows, cols) {
            let values = values(i, block.clone())?;
            assert_eq!(values.len(), block.len() * cols, "values of {}", tensors[i].0);
            write_values(&values, f32::to_le_bytes, &mut out).map_err(failed)?;
        }
    }
    let sum = out.sum;
    checksum::put(file, &header, sum).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ndarray::array;

    use super::*;
    use crate::tensors::TensorFile;

    fn example() -> Tensors {
        let mut tensors = Tensors::new();
        tensors.insert("b", array![[1.0_f32, -2.5, 3.0]]);
        tensors.insert("c", array![7_i64]);
        tensors.insert("a", array![0.1_f64]);
        tensors.insert("none", ndarray::Array2::<f32>::zeros((0, 4)));
        tensors.metadata = ["z", "\"é\n", "step"].map(|k| (k.to_string(), format!("{k}!"))).into();
        tensors
    }

    #[test]
    fn what_is_written_is_read_again_and_equal_contents_are_equal_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        for _ in 0..2 {
            example().write(&path).unwrap(); // over the first, too
            let read = Tensors::read(&path).unwrap();
            assert_eq!(read, Tensors { what: path.display().to_string(), ..example() });
        }
        let bytes = fs::read(&path).unwrap();
        let header = std::str::from_utf8(&bytes[8..8 + bytes[0] as usize + 256 * bytes[1] as usize]).unwrap();
        assert_eq!(header.len() % 8, 0);
        // Numbers as serde_json's map orders its keys (by name); the metadata's too.
        assert_eq!(
            header.trim_end(),
            r#"{"__metadata__":{"\"é\n":"\"é\n!","step":"step!","z":"z!"},"a":{"data_offsets":[0,8],"dtype":"F64","shape":[1]},"b":{"data_offsets":[16,28],"dtype":"F32","shape":[1,3]},"c":{"data_offsets":[8,16],"dtype":"I64","shape":[1]},"none":{"data_offsets":[28,28],"dtype":"F32","shape":[0,4]}}"#
        );
        assert_eq!(bytes[bytes.len() - 4..], 3.0_f32.to_le_bytes());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn in_blocks_it_is_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["whole", "in blocks"].map(|name| folder.path().join(name));
        let mut tensors = Tensors::new();
        let large = (0..2050 * 2049).map(|i| i as f32).collect();
        let values = [vec![1.0, -2.5, 3.0, 4.0, 5.0, f32::MIN_POSITIVE], vec![7.0], vec![], large];
        let shapes = [("b", vec![2, 3]), ("a", vec![1]), ("none", vec![0, 4]), ("large", vec![41, 50, 2049])]
            .map(|(name, shape)| (name.to_owned(), shape));
        for ((name, shape), values) in shapes.iter().zip(&values) {
            tensors.insert(name.clone(), ndarray::ArrayD::from_shape_vec(shape.clone(), values.clone()).unwrap());
        }
        tensors.metadata.insert("step".into(), "17".into());
        tensors.metadata.insert(checksum::KEY.into(), checksum::UNKNOWN.into());
        tensors.write(&paths[0]).unwrap();
        assert!(TensorFile::open(&paths[0]).unwrap().verify_checksum().unwrap());
        // Of more than a block, too.
        let rows_of = |i: usize, rows: Range<usize>| {
            let (_, cols) = matrix(&shapes[i].1);
            values[i][rows.start * cols..rows.end * cols].to_vec()
        };
        let mut file = WholeFile::create(&paths[1]).unwrap();
        write_in_blocks(&mut file, &tensors.metadata, &shapes, &mut |i, rows| Ok(rows_of(i, rows))).unwrap();
        file.complete().unwrap();
        assert_eq!(fs::read(&paths[0]).unwrap(), fs::read(&paths[1]).unwrap());

        // What fails on the way is what is reported, and the old file stays.
        let mut file = WholeFile::create(&paths[1]).unwrap();
        let error = write_in_blocks(&mut file, &tensors.metadata, &shapes, &mut |i, rows| match i {
            0 => Err(Error::NotFinite { tensor: "b".into() }),
            i => Ok(rows_of(i, rows)),
        });
        assert_eq!(error.unwrap_err().exit_code(), 6);
        drop(file);
        assert_eq!(fs::read(&paths[0]).unwrap(), fs::read(&paths[1]).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    /// A file of one tensor `x` with these bytes.
    fn file(dtype: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!(r#"{{"x":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{}]}}}}"#, data.len());
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    #[test]
    fn every_type_is_widened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        for (dtype, data, expected) in [
            ("F64", &0.1_f64.to_le_bytes()[..], Some(Data::F64(vec![0.1]))),
            ("F32", &0.1_f32.to_le_bytes(), Some(Data::F32(vec![0.1]))),
            ("BF16", &[0xc0, 0xbf], Some(Data::F32(vec![-1.5]))),
            ("F16", &[0x00, 0xbe], Some(Data::F32(vec![-1.5]))),
            ("F16", &[0x01, 0x00], Some(Data::F32(vec![2.0_f32.powi(-24)]))),
            ("F16", &[0xff, 0x7b], Some(Data::F32(vec![65504.0]))),
            ("F16", &[0x00, 0xfc], Some(Data::F32(vec![f32::NEG_INFINITY]))),
            ("I64", &(-5_i64).to_le_bytes(), Some(Data::I64(vec![-5]))),
            ("U64", &7_u64.to_le_bytes(), Some(Data::I64(vec![7]))),
            ("U64", &u64::MAX.to_le_bytes(), Some(Data::I64(vec![i64::MAX]))),
            ("I32", &(-5_i32).to_le_bytes(), Some(Data::I64(vec![-5]))),
            ("U32", &u32::MAX.to_le_bytes(), Some(Data::I64(vec![0xffff_ffff]))),
            ("I16", &(-5_i16).to_le_bytes(), Some(Data::I64(vec![-5]))),
            ("U16", &u16::MAX.to_le_bytes(), Some(Data::I64(vec![0xffff]))),
            ("I8", &[0xff], Some(Data::I64(vec![-1]))),
            ("U8", &[0xff], Some(Data::I64(vec![255]))),
            ("BOOL", &[1], Some(Data::I64(vec![1]))),
            ("C64", &[0; 8], None),
        ] {
            fs::write(&path, file(dtype, "[1]", data)).unwrap();
            let tensors = Tensors::read(&path).unwrap();
            assert!(tensors.contains("x"));
            assert_eq!(tensors.get("x").ok().map(|t| t.data().clone()), expected, "{dtype}");
        }
    }

    #[test]
    fn what_is_no_whole_file_is_bad_input() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let good = file("F32", "[1]", &[0; 4]);
        let huge = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
        fs::write(&path, []).unwrap();
        assert_eq!(Tensors::read(&path).unwrap_err().to_string(), format!("{}: is empty", path.display()));
        for bytes in [
            &b"\x89PNG, a picture of some kind"[..],
            &huge,
            &good[..7],
            &good[..20],
            &good[..good.len() - 1],
            &[&good[..], &[0]].concat(),
        ] {
            fs::write(&path, bytes).unwrap();
            let error = Tensors::read(&path).unwrap_err();
            assert_eq!(error.exit_code(), 7);
            let start = format!("{}: is not a whole safetensors file ({} bytes): ", path.display(), bytes.len());
            assert!(error.to_string().starts_with(&start), "{error}");
        }
        for shape in ["[2]", "[18446744073709551615, 2]", "[-1]"] {
            fs::write(&path, file("F32", shape, &[0; 4])).unwrap();
            assert_eq!(Tensors::read(&path).unwrap_err().exit_code(), 7, "{shape}");
        }
        // Accepted by the format: the product is zero.
        fs::write(&path, file("F32", "[0, 18446744073709551615]", &[])).unwrap();
        assert_eq!(Tensors::read(&path).and_then(|t| t.f32("x")).unwrap_err().exit_code(), 7);

        let error = Tensors::read(folder.path().join("missing")).unwrap_err();
        assert_eq!(error.exit_code(), 7);
        assert!(error.to_string().contains("missing: cannot be read: "), "{error}");
        assert_eq!(Tensors::read(folder.path()).unwrap_err().exit_code(), 7);
    }
}
