//! Reads the bytes of a table. Numbers are read in a first pass; words, in the columns that have some, in a second.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder};

use super::{Table, Values, Wanted, Words, place};
use crate::memory::{check_memory_or, read_whole};
use crate::{Error, Result};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// What stands for a missing field, besides nothing.
const MISSING: [&[u8]; 10] = [b"NA", b"N/A", b"n/a", b"#N/A", b"<NA>", b"NaN", b"nan", b"null", b"NULL", b"None"];
/// The number of bytes that are looked at to tell text from other formats.
pub(crate) const LOOK: usize = 4096;

/// The whole file, or what comes from a pipe, or from standard input where the name is `-`.
///
/// # Errors
/// [`Error::BadInput`] when it cannot be read; [`Error::DoesNotFit`] when it is larger than the memory.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    if path == Path::new("-") {
        let unread = |e| Error::input(name_of(path), format!("cannot be read: {e}"));
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map_err(unread)?;
        if bytes.is_empty() {
            return Err(Error::input(
                name_of(path),
                "is empty; what was read from it before cannot be read again, --data FILE can",
            ));
        }
        return Ok(bytes);
    }
    read_whole(path, "a file of fewer rows or columns would fit")
}

/// A file's name in messages.
#[must_use]
pub fn name_of(path: &Path) -> String {
    if path == Path::new("-") { "standard input".into() } else { path.display().to_string() }
}

/// Whether a file is a table: by its name, and where that does not tell by its first bytes, which are of text.
#[must_use]
pub fn is_table(path: &Path, bytes: &[u8]) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    match extension.as_deref() {
        Some("csv" | "tsv") => true,
        Some("safetensors" | "npz" | "npy") => false,
        _ => {
            let first = &bytes[..bytes.len().min(LOOK)];
            // Safetensors begin with the size of a header, of which some of 8 bytes are 0.
            !first.is_empty() && !first.iter().any(|&b| b < b' ' && !matches!(b, b'\t' | b'\n' | b'\r'))
        }
    }
}

/// [`Table::read`].
pub(super) fn read(what: &str, bytes: &[u8], wanted: impl FnOnce(&[String]) -> Result<Vec<Wanted>>) -> Result<Table> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let names = header(what, bytes)?;
    let asked = wanted(&names)?;
    let mut wanted = asked.clone();
    let lines = 1 + bytes.iter().filter(|&&b| b == b'\n').count();
    let kept = wanted.iter().filter(|wanted| **wanted != Wanted::Nothing).count();
    // A number takes 8 bytes here, and 4 in what is made of it.
    check_memory_or("the table", (lines * kept * 12) as u64, |_| "fewer rows or columns would fit".into())?;
    let (mut columns, rows) = numbers(what, bytes, &names, &mut wanted)?;
    let words = words(what, bytes, &names, &wanted)?;
    words.iter().filter(|(place, _)| asked[*place] == Wanted::Either).try_for_each(|(place, words)| {
        check_words(&words.names).map_err(|problem| Error::input(what, format!("column {}: {problem}", names[*place])))
    })?;
    for (place, words) in words {
        columns[place] = Values::Words(words);
    }
    if rows == 0 {
        return Err(Error::input(what, "there is no row below the header"));
    }
    Ok(Table { what: what.to_owned(), names, columns, rows })
}

/// Refuses numbers with a decimal comma or a percent sign, which would be taken for words.
fn check_words(words: &[String]) -> std::result::Result<(), String> {
    let is_number = |text: &str| text.parse::<f64>().is_ok();
    for (written, plain, advice) in [("a decimal comma", ',', "write a point"), ("a percent sign", '%', "leave it out")] {
        let replaced = |word: &String| is_number(&word.replace(plain, if plain == ',' { "." } else { "" }));
        if words.iter().any(|word| word.contains(plain)) && words.iter().all(replaced) {
            return Err(format!("numbers with {written} (\"{}\") are no numbers here; {advice}", words[0]));
        }
    }
    Ok(())
}

fn reader(bytes: &[u8]) -> Reader<&[u8]> {
    let mut quoted = false;
    // What is between quotes separates nothing.
    let outside = bytes.iter().filter(|&&b| {
        quoted ^= b == b'"';
        !quoted
    });
    let line: Vec<u8> = outside.take_while(|&&b| b != b'\n' && b != b'\r').copied().collect();
    let count = |separator: u8| line.iter().filter(|&&b| b == separator).count();
    // The first of those that are as frequent.
    let separator = *[b'\t', b';', b','].iter().max_by_key(|&&separator| count(separator)).expect("there are three");
    ReaderBuilder::new().delimiter(separator).from_reader(bytes)
}

fn header(what: &str, bytes: &[u8]) -> Result<Vec<String>> {
    let mut reader = reader(bytes);
    let header = reader.headers().map_err(|e| bad(what, e))?;
    let names: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
    if names.iter().all(String::is_empty) {
        return Err(Error::input(what, "is empty; expected a header with the names of the columns"));
    }
    if names.iter().all(|name| name.parse::<f64>().is_ok()) {
        let first = names.join(", ");
        return Err(Error::input(what, format!("the first line has numbers alone ({first}); expected the names of the columns")));
    }
    let twice = |(at, name): &(usize, &String)| !name.is_empty() && names[..*at].contains(name);
    if let Some((at, name)) = names.iter().enumerate().find(twice) {
        let first = 1 + place(what, &names, name)?;
        return Err(Error::input(what, format!("columns {first} and {} are both called {name}", at + 1)));
    }
    Ok(names)
}

/// Turns an error of the CSV reader into one that names the file and the line.
fn bad(what: &str, error: csv::Error) -> Error {
    let line = error.position().map_or(0, csv::Position::line);
    let problem = match error.into_kind() {
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            let fields = if len == 1 { "1 field".into() } else { format!("{len} fields") };
            format!("line {line} has {fields}; expected {expected_len}, as the header has")
        }
        ErrorKind::Utf8 { err, .. } => format!("line {line}, field {}: is not UTF-8", err.field() + 1),
        other => format!("line {line}: {other:?}"),
    };
    Error::input(what, problem)
}

/// Trims a field; `None` if it is missing.
fn field(bytes: &[u8]) -> Option<&[u8]> {
    let field = bytes.trim_ascii();
    (!field.is_empty() && !MISSING.contains(&field)).then_some(field)
}

/// Parses a finite number.
fn number(field: &[u8]) -> Option<f64> {
    std::str::from_utf8(field).ok()?.parse().ok().filter(|v: &f64| v.is_finite())
}

/// A column while it is read.
#[derive(Default)]
struct Column {
    values: Vec<f64>,
    /// The fields that are numbers, and those that are not.
    numbers: u64,
    others: u64,
    /// The first that is not, and its row.
    first_other: Option<(usize, String)>,
}

impl Column {
    fn push(&mut self, row: usize, bytes: &[u8]) {
        let Some(field) = field(bytes) else {
            self.values.push(f64::NAN);
            return;
        };
        match number(field) {
            Some(number) => {
                self.numbers += 1;
                self.values.push(number);
            }
            None => {
                self.others += 1;
                self.first_other.get_or_insert_with(|| (row, String::from_utf8_lossy(field).into_owned()));
                self.values.push(f64::NAN);
            }
        }
    }
}

/// The columns of numbers, and the number of rows. `wanted` then says of each other column that it is of words.
fn numbers(what: &str, bytes: &[u8], names: &[String], wanted: &mut [Wanted]) -> Result<(Vec<Values>, usize)> {
    let is_number = |wanted: Wanted| matches!(wanted, Wanted::Numbers | Wanted::Either);
    let places: Vec<usize> = (0..names.len()).filter(|&place| is_number(wanted[place])).collect();
    let mut columns: Vec<Column> = places.iter().map(|_| Column::default()).collect();
    let (mut reader, mut record, mut rows) = (reader(bytes), ByteRecord::new(), 0);
    while reader.read_byte_record(&mut record).map_err(|e| bad(what, e))? {
        for (column, &place) in columns.iter_mut().zip(&places) {
            column.push(rows, &record[place]);
        }
        rows += 1;
    }
    let mut all: Vec<Values> = names.iter().map(|_| Values::Unread).collect();
    for (column, place) in columns.into_iter().zip(places) {
        match column.first_other {
            None => all[place] = Values::Numbers(column.values),
            // Numbers with a slip of the pen among them are no words.
            Some((row, other)) if wanted[place] == Wanted::Numbers || column.numbers >= column.others => {
                let (name, numbers) = (&names[place], column.numbers);
                let there = numbers + column.others;
                return Err(Error::input(
                    what,
                    format!(
                        "row {} (the header aside), column {name}: {other:?} is no finite number; {numbers} of the {there} fields there are",
                        row + 1
                    ),
                ));
            }
            Some(_) => wanted[place] = Wanted::Words,
        }
    }
    Ok((all, rows))
}

/// The columns of words, with their places.
fn words(what: &str, bytes: &[u8], names: &[String], wanted: &[Wanted]) -> Result<Vec<(usize, Words)>> {
    let places: Vec<usize> = (0..names.len()).filter(|&place| wanted[place] == Wanted::Words).collect();
    let mut columns: Vec<(Words, HashMap<Vec<u8>, u32>)> = places.iter().map(|_| Default::default()).collect();
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let (mut reader, mut record, mut row) = (reader(bytes), ByteRecord::new(), 0);
    while reader.read_byte_record(&mut record).map_err(|e| bad(what, e))? {
        row += 1;
        for ((words, ids), &place) in columns.iter_mut().zip(&places) {
            let Some(field) = field(&record[place]) else {
                words.ids.push(Words::MISSING);
                continue;
            };
            let id = match ids.get(field) {
                Some(&id) => id,
                None => {
                    let Ok(name) = std::str::from_utf8(field) else {
                        let problem = format!("row {row} (the header aside), column {}: is not UTF-8", names[place]);
                        return Err(Error::input(what, problem));
                    };
                    words.names.push(name.to_owned());
                    let id = (words.names.len() - 1) as u32;
                    ids.insert(field.to_vec(), id);
                    id
                }
            };
            words.ids.push(id);
        }
    }
    Ok(places.into_iter().zip(columns.into_iter().map(|(words, _)| words)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str, wanted: Wanted) -> Result<Table> {
        Table::read("t.csv", text.as_bytes(), |names| Ok(vec![wanted; names.len()]))
    }

    fn words(ids: &[u32], names: &[&str]) -> Values {
        Values::Words(Words { ids: ids.to_vec(), names: names.iter().map(|&name| name.to_owned()).collect() })
    }

    #[test]
    fn columns_are_numbers_or_words() {
        for text in [
            "x,name ,y\n1,a,-2e3\n\"2.5\", b ,\n NA ,a,4\n",
            "\u{feff}x;name;y\r\n1;a;-2e3\r\n2.5;b;null\r\n;a;4",
            "x\tname\ty\n1\ta\t-2e3\n2.5\t\"b\"\tNaN\n\ta\t4\n\n",
        ] {
            let table = table(text, Wanted::Either).unwrap();
            assert_eq!((table.names.join(" "), table.rows), ("x name y".into(), 3));
            let Values::Numbers(x) = &table.columns[0] else { panic!("{table:?}") };
            assert!(x[..2] == [1.0, 2.5] && x[2].is_nan());
            assert_eq!(table.columns[1], words(&[0, 1, 0], &["a", "b"]));
            let y = table.numbers("y").unwrap();
            assert!(y[0] == -2000.0 && y[1].is_nan() && y[2] == 4.0);
        }
        for text in ["\"a (m, s, kg, A)\";b;y\n1;2;3\n", "\"t;u;v;w\",b,y\n1,2,3\n", "\"t\n,,,,\"\tb\ty\n1\t2\t3\n"] {
            assert_eq!(table(text, Wanted::Either).unwrap().names[1..], ["b", "y"], "{text}");
        }
        let table = table("x,z\n01,\n1,b\n", Wanted::Words).unwrap();
        assert_eq!(table.columns, [words(&[0, 1], &["01", "1"]), words(&[Words::MISSING, 0], &["b"])]);
        let one = Table::read("t", b"x,y\n1,q\n", |_| Ok(vec![Wanted::Numbers, Wanted::Nothing])).unwrap();
        assert_eq!(one.columns, [Values::Numbers(vec![1.0]), Values::Unread]);
    }

    #[test]
    fn what_is_no_table_is_said_with_its_place() {
        for (text, expected) in [
            ("", "t.csv: is empty; expected a header with the names of the columns"),
            ("x,y\n", "t.csv: there is no row below the header"),
            ("1,2\n3,4\n", "t.csv: the first line has numbers alone (1, 2); expected the names of the columns"),
            ("x,y,x\n3,4,5\n", "t.csv: columns 1 and 3 are both called x"),
            ("x,y\n3,4\n5\n", "t.csv: line 3 has 1 field; expected 2, as the header has"),
            ("x\n3\n4\n5,6\n", "t.csv: line 4 has 2 fields; expected 1, as the header has"),
            (
                "x\n3\n1o\n5\n",
                "t.csv: row 2 (the header aside), column x: \"1o\" is no finite number; 2 of the 3 fields there are",
            ),
            (
                "x\n3\n1e999\n",
                "t.csv: row 2 (the header aside), column x: \"1e999\" is no finite number; 1 of the 2 fields there are",
            ),
        ] {
            let error = table(text, Wanted::Either).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.exit_code()), (expected, 7), "{text}");
        }
        let error = Table::read("t", b"x\n\xff\n", |_| Ok(vec![Wanted::Words])).unwrap_err();
        assert_eq!(error.to_string(), "t: row 1 (the header aside), column x: is not UTF-8");
        let error = table("x;y\n1,5;2\n-2,5;3\n", Wanted::Either).unwrap_err();
        assert_eq!(
            error.to_string(),
            "t.csv: column x: numbers with a decimal comma (\"1,5\") are no numbers here; write a point"
        );
        let error = table("x\n5%\n7%\n", Wanted::Either).unwrap_err();
        assert!(error.to_string().contains("a percent sign"), "{error}");
        let error = table("x\na\nb\n", Wanted::Numbers).unwrap_err();
        assert!(error.to_string().contains("\"a\" is no finite number; 0 of the 2"), "{error}");
        let error = table("x\n1\n", Wanted::Numbers).unwrap().numbers("y").unwrap_err();
        assert_eq!(error.to_string(), "t: there is no column y; there are x".replace("t:", "t.csv:"));
    }

    #[test]
    fn a_table_is_known_by_its_name_or_its_text() {
        for (name, bytes, expected) in [
            ("a.csv", &b"\x00"[..], true),
            ("a.TSV", b"", true),
            ("a.npz", b"x,y", false),
            ("a.safetensors", b"x,y", false),
            ("-", b"x,y\n1,2\n", true),
            ("a.txt", b"x\ty\r\n1\t2", true),
            ("a", b"\x40\x00\x00\x00\x00\x00\x00\x00{", false),
            ("a", b"PK\x03\x04", false),
            ("a", b"\x93NUMPY\x01\x00", false),
            ("a", b"", false),
        ] {
            assert_eq!(is_table(Path::new(name), bytes), expected, "{name}");
        }
    }
}
