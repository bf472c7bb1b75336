//! Writing to the terminal: a pipe closed at the other end is no panic.

use std::fmt::Display;
use std::io::Write;
use std::ops::Range;

use clap::ColorChoice;
use clap::builder::styling::{AnsiColor, Style};
use retrospect::{Error, Result};

pub const BOLD: Style = Style::new().bold();
const RED: Style = AnsiColor::Red.on_default().bold();

/// Sets when to use colours; `NO_COLOR` counts where nothing was asked for.
pub fn colors(choice: ColorChoice) {
    match choice {
        ColorChoice::Auto => anstream::ColorChoice::Auto,
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
    }
    .write_global();
}

/// Writes to stdout.
///
/// # Errors
/// [`Error::Io`].
pub fn print(text: &str) -> Result<()> {
    let mut out = anstream::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|source| Error::Io { path: "stdout".into(), source })
}

/// Writes a line to stderr. Whether someone reads it makes no difference.
pub fn note(text: impl Display) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Writes an error to stderr.
pub fn error(error: &Error) {
    note(format_args!("{RED}error:{RED:#} {error}"));
}

/// A table: the first row is the heading; columns of numbers are set to the right.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let numeric = |c: usize| rows[1..].iter().all(|r| r[c].is_empty() || r[c].starts_with(|x: char| x.is_ascii_digit()));
    let layout: Vec<(usize, bool)> = (0..columns)
        .map(|c| (rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0), rows.len() > 1 && numeric(c)))
        .collect();
    let line = |(number, row): (usize, &Vec<String>)| {
        let cells = row.iter().zip(&layout).map(|(cell, &(width, right))| {
            let space = " ".repeat(width - cell.chars().count());
            if right { format!("{space}{cell}") } else { format!("{cell}{space}") }
        });
        let cells = cells.collect::<Vec<_>>().join("  ");
        let cells = cells.trim_end();
        if number == 0 { format!("{BOLD}{cells}{BOLD:#}\n") } else { format!("{cells}\n") }
    };
    rows.iter().enumerate().map(line).collect()
}

/// Names, and what each is.
pub fn pairs(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{BOLD}{name:width$}{BOLD:#}  {value}\n")).collect()
}

/// A whole number with its thousands apart.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned());
    groups.collect::<Vec<_>>().join(",")
}

/// A number with so many digits at most, as a power of ten unless it is in `plain`.
pub fn rounded(x: f64, digits: usize, plain: Range<f64>) -> String {
    // Rounded first, so that what is almost a power of ten is written as one.
    let x: f64 = format!("{x:.*e}", digits - 1).parse().unwrap_or(x);
    if x == 0.0 || plain.contains(&x) { x.to_string() } else { format!("{x:e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned_and_thousands_set_apart() {
        let row = |cells: [&str; 3]| cells.map(String::from).to_vec();
        let text = table(&[row(["name", "n", "note"]), row(["a", "12,345", "é"]), row(["long", "7", ""])]);
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(plain, "name       n  note\na     12,345  é\nlong       7\n");
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (u64::MAX, "18,446,744,073,709,551,615")];
        assert!(cases.iter().all(|&(n, text)| thousands(n) == text));
        let cases = [(0.0, "0"), (0.999_96, "1"), (1.736_1, "1.736"), (0.25, "0.25"), (12_345.0, "1.234e4"), (1e-36, "1e-36")];
        cases.iter().for_each(|&(x, text)| assert_eq!(rounded(x, 4, 1e-3..1e4), text));
    }
}
