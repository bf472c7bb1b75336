//! The checksum of a file: the CRC-32 of all of its bytes as 8 hexadecimal digits in its metadata, where these count as zeros.
//!
//! So the file stays one that every reader of safetensors reads. One flipped bit, or as many as lie within 32 of each other, always change the
//! checksum; other damage goes unseen once in 2^32 times.

use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;

use crc32fast::Hasher;

/// Its key in the metadata.
pub(crate) const KEY: &str = "retrospect.checksum";
/// What stands for it before the file is written.
pub(crate) const UNKNOWN: &str = "00000000";

/// Where the digits of a checksum are in the header, if they are there once.
pub(super) fn place(header: &[u8], digits: &str) -> Option<Range<usize>> {
    // A quotation mark within a string has a backslash before it, so this is found in no string.
    let before = format!("\"{KEY}\":\"");
    let entry = format!("{before}{digits}\"");
    let mut places = header.windows(entry.len()).enumerate().filter(|(_, bytes)| *bytes == entry.as_bytes());
    match (places.next(), places.next()) {
        (Some((at, _)), None) => Some(at + before.len()..at + entry.len() - 1),
        _ => None,
    }
}

/// The digits of a checksum.
pub(super) fn digits(sum: Hasher) -> String {
    format!("{:08x}", sum.finalize())
}

/// Puts the checksum of a file that was written in its place in the header, if there is one.
pub(super) fn put(file: &mut (impl Write + Seek), header: &[u8], sum: Hasher) -> io::Result<()> {
    let Some(place) = place(header, UNKNOWN) else { return Ok(()) };
    file.seek(SeekFrom::Start(place.start as u64))?;
    file.write_all(digits(sum).as_bytes())
}

/// Passes bytes on, and sums them up.
pub(super) struct Summing<'a> {
    pub(super) out: &'a mut dyn Write,
    pub(super) sum: Hasher,
}

impl Write for Summing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_are_found_where_they_are_a_value_and_nowhere_else() {
        let place_of = |header: &str| place(header.as_bytes(), "0a1b2c3d").map(|place| header[place].to_owned());
        let once = r#"{"__metadata__":{"retrospect.checksum":"0a1b2c3d","text":"\"retrospect.checksum\":\"0a1b2c3d\""}}"#;
        assert_eq!(place_of(once).as_deref(), Some("0a1b2c3d"));
        assert_eq!(place_of(r#"{"__metadata__":{"retrospect.checksum":"0a1b2c3e"}}"#), None);
        assert_eq!(place_of(r#"{"__metadata__":{"retrospect.checksum":"0a1b2c3d","retrospect.checksum":"0a1b2c3d"}}"#), None);
    }

    #[test]
    fn sums_are_those_of_crc_32() {
        let (mut bytes, text) = (Vec::new(), b"123456789");
        let mut summing = Summing { out: &mut bytes, sum: Hasher::new() };
        summing.write_all(&text[..4]).and_then(|()| summing.write_all(&text[4..])).unwrap();
        // The check value of CRC-32/ISO-HDLC.
        assert_eq!(digits(summing.sum), "cbf43926");
        assert_eq!(bytes, text);
    }
}
