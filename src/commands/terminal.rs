//! Writing to the terminal: names and texts command it nothing, a pipe gets them as they are, and one that is closed is no panic.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use clap::ColorChoice;
use clap::builder::styling::{AnsiColor, Style};
use retrospect::{Error, Result};
use serde::Serialize;
use serde_json::Value;

const BOLD: Style = Style::new().bold();
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

/// The number of this process among those of a run, where there are several.
static RANK: OnceLock<usize> = OnceLock::new();

/// From now on this process speaks as one of several: the first one as ever, and the others only of errors.
#[cfg(feature = "mpi")]
pub fn speak_as(rank: usize, of: usize) {
    if of > 1 {
        let _ = RANK.set(rank);
    }
}

/// Whether what is not an error is left to another process to say.
pub fn is_quiet() -> bool {
    RANK.get().is_some_and(|&rank| rank > 0)
}

/// Writes to stdout what holds no text of others, or where [`escaped`] or [`bold`] has made it fit to be shown.
///
/// # Errors
/// [`Error::Io`].
pub fn print(text: &str) -> Result<()> {
    if is_quiet() {
        return Ok(());
    }
    let out = io::stdout();
    let written = match out.is_terminal() {
        true => anstream::stdout().lock().write_all(text.as_bytes()),
        false => out.lock().write_all(text.as_bytes()),
    };
    written.and_then(|()| out.lock().flush()).map_err(|source| Error::Io { path: "stdout".into(), source })
}

/// Writes one JSON document to stdout. No text in it can command a terminal, and it is valid JSON all the same.
///
/// # Errors
/// [`Error::Io`].
pub fn print_json(document: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(document).expect("numbers, names and lists of them");
    print(&(without_controls(&text) + "\n"))
}

/// [`print_json`] in one line, for those who read the last line of what a program writes.
///
/// # Errors
/// [`Error::Io`].
pub fn print_json_line(document: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(document).expect("numbers, names and lists of them");
    print(&(without_controls(&text) + "\n"))
}

/// JSON with the control characters that JSON itself allows (U+007F to U+009F) as its own escapes.
fn without_controls(json: &str) -> String {
    let escape = |c: char| if matches!(c, '\u{7f}'..='\u{9f}') { format!("\\u{:04x}", c as u32) } else { c.to_string() };
    json.chars().map(escape).collect()
}

/// Writes bytes, of a text or not, to stdout: exactly as they are, but on a terminal, which control characters would command, these as
/// escapes.
///
/// # Errors
/// [`Error::Io`].
pub fn print_content(content: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    let shown = match std::str::from_utf8(content) {
        Ok(text) if out.is_terminal() => Cow::Owned(without_commands(text).into_owned().into_bytes()),
        // A part of a character, too, stays as it is.
        _ => content.into(),
    };
    out.write_all(&shown).and_then(|()| out.flush()).map_err(|source| Error::Io { path: "stdout".into(), source })
}

/// A text as stdout may have it: with escapes for control characters on a terminal.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if io::stdout().is_terminal() { without_commands(text) } else { text.into() }
}

/// With control characters as escapes, but for line ends and tabs.
fn without_commands(text: &str) -> Cow<'_, str> {
    let is_command = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(is_command) {
        return text.into();
    }
    text.chars().map(|c| if is_command(c) { c.escape_default().to_string() } else { c.to_string() }).collect::<String>().into()
}

/// A text in bold, where stdout has styles.
fn bold(text: &str) -> String {
    match anstream::AutoStream::choice(&io::stdout()) {
        anstream::ColorChoice::Never => text.into(),
        _ => format!("{BOLD}{text}{BOLD:#}"),
    }
}

/// Writes a line to stderr. Whether someone reads it makes no difference.
pub fn note(text: impl Display) {
    if !is_quiet() {
        write_note("", &text.to_string());
    }
}

/// Writes an error to stderr. What ends all processes of a run at the same training step is left to the first one.
pub fn error(error: &Error) {
    let is_shared = matches!(error, Error::Interrupted { .. } | Error::Diverged { .. });
    if is_shared && is_quiet() {
        return;
    }
    let rank = RANK.get().map_or(String::new(), |rank| format!("rank {rank}: "));
    let styled = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
    let prefix = if styled { format!("{RED}error:{RED:#} ") } else { "error: ".into() };
    write_note(&(prefix + &rank), &error.to_string());
}

fn write_note(prefix: &str, text: &str) {
    let mut err = io::stderr();
    let _ = match err.is_terminal() {
        true => writeln!(anstream::stderr(), "{prefix}{}", without_commands(text)),
        false => writeln!(err, "{prefix}{text}"),
    };
}

/// Says which tensors of a file a network does not read, if there are any.
pub fn note_left_out(path: &Path, names: &[&str]) {
    if !names.is_empty() {
        note(format_args!("{}: left out {}, which this network does not have.", path.display(), names.join(", ")));
    }
}

/// The columns of the terminal; as many as it takes where stdout is none.
fn columns() -> usize {
    let size = if io::stdout().is_terminal() { terminal_size::terminal_size() } else { None };
    size.map_or(usize::MAX, |(width, _)| usize::from(width.0).max(NARROWEST))
}

/// The fewest columns that are minded.
const NARROWEST: usize = 40;

/// A text whose lines are no longer than the terminal, broken at spaces.
pub fn wrapped(text: &str) -> String {
    wrapped_to(text, columns())
}

fn wrapped_to(text: &str, width: usize) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut length = 0;
        for word in line.split(' ') {
            let size = word.chars().count();
            if length > 0 && length + 1 + size > width {
                out.push('\n');
                length = 0;
            } else if length > 0 {
                out.push(' ');
                length += 1;
            }
            out += word;
            length += size;
        }
        out.push('\n');
    }
    out
}

/// A table: the first row is the heading; columns of numbers are set to the right. One that is wider than the terminal is shown in parts,
/// each with the first column.
pub fn table(rows: &[Vec<String>]) -> String {
    table_with(rows, 1)
}

/// [`table`] whose first columns, so many, say what a row is.
pub fn table_with(rows: &[Vec<String>], names: usize) -> String {
    let part = |columns: &[usize]| {
        let of_row = |row: &Vec<String>| columns.iter().map(|&column| row[column].clone()).collect();
        whole_table(&rows.iter().map(of_row).collect::<Vec<_>>())
    };
    parts(&widths(rows), names, columns()).iter().map(|columns| part(columns)).collect::<Vec<_>>().join("\n")
}

/// The width of each column.
fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.first().map_or(0, Vec::len);
    (0..columns).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect()
}

/// The columns of each part of a table of columns of these widths, two apart, that is as wide as the terminal at most: each part has the first
/// ones, and one more at least.
fn parts(widths: &[usize], names: usize, most: usize) -> Vec<Vec<usize>> {
    let names: Vec<usize> = (0..names.min(widths.len())).collect();
    let mut parts = vec![names.clone()];
    let mut used: usize = names.iter().map(|&column| widths[column] + 2).sum();
    let start = used;
    for (column, width) in widths.iter().enumerate().skip(names.len()) {
        let last = parts.last_mut().expect("one part at least");
        if last.len() > names.len() && used + width > most {
            parts.push([&names[..], &[column]].concat());
            used = start;
        } else {
            last.push(column);
        }
        used += width + 2;
    }
    parts
}

/// A table as wide as it is.
fn whole_table(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<Cow<str>>> = rows.iter().map(|row| row.iter().map(|cell| escaped(cell)).collect()).collect();
    let columns = rows.first().map_or(0, Vec::len);
    let numeric = |c: usize| {
        rows[1..]
            .iter()
            .all(|r| matches!(&r[c][..], "" | "–") || r[c].trim_start_matches('-').starts_with(|x: char| x.is_ascii_digit()))
    };
    let layout: Vec<(usize, bool)> = (0..columns)
        .map(|c| (rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0), rows.len() > 1 && numeric(c)))
        .collect();
    let line = |(number, row): (usize, &Vec<Cow<str>>)| {
        let cells = row.iter().zip(&layout).map(|(cell, &(width, right))| {
            let space = " ".repeat(width - cell.chars().count());
            if right { format!("{space}{cell}") } else { format!("{cell}{space}") }
        });
        let cells = cells.collect::<Vec<_>>().join("  ");
        let cells = cells.trim_end();
        if number == 0 { bold(cells) + "\n" } else { format!("{cells}\n") }
    };
    rows.iter().enumerate().map(line).collect()
}

/// Names, and what each is.
pub fn pairs(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{}  {}\n", bold(&format!("{name:width$}")), escaped(value))).collect()
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

/// A loss or another measured number with 5 significant digits, whatever its size.
pub fn significant(x: f64) -> String {
    const DIGITS: usize = 5;
    let scientific = format!("{x:.*e}", DIGITS - 1);
    let Some((_, exponent)) = scientific.split_once('e') else { return x.to_string() };
    match exponent.parse::<i32>() {
        Ok(exponent @ -3..=4) => format!("{x:.*}", (DIGITS as i32 - 1 - exponent) as usize),
        _ => scientific,
    }
}

/// A measured number in JSON, which has no number for what is beyond f64: that is the string "infinity".
pub fn json_number(x: f64) -> Value {
    if x == f64::INFINITY { "infinity".into() } else { x.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_size_have_five_digits() {
        let cases = [
            (1.760_114, "1.7601"),
            (0.005_889_31, "0.0058893"),
            (8.4e-5, "8.4000e-5"),
            (12_345.67, "12346"),
            (99_999.6, "1.0000e5"),
            (0.000_999_999_9, "0.0010000"),
            (37.0, "37.000"),
            (-2.890_001_881e36, "-2.8900e36"),
            (0.0, "0.0000"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "NaN"),
        ];
        cases.iter().for_each(|&(x, text)| assert_eq!(significant(x), text));
    }

    #[test]
    fn what_is_shown_commands_nothing() {
        for (text, expected) in [
            ("plain é\n\t", "plain é\n\t"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("\r\u{7}\u{9b}2J\u{7f}", "\\r\\u{7}\\u{9b}2J\\u{7f}"),
        ] {
            assert_eq!(without_commands(text), expected);
        }
    }

    /// What JSON allows raw and a terminal obeys is escaped, and read back it is the same.
    #[test]
    fn json_commands_nothing() {
        let names = ["\u{9b}2J\u{7f}", "\u{1b}]0;é", "plain é\n"];
        let json = serde_json::to_string(&names).unwrap();
        assert!(json.contains('\u{9b}'));
        let safe = without_controls(&json);
        assert!(!safe.contains(char::is_control), "{safe}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&safe).unwrap(), names);
    }

    #[test]
    fn wide_tables_are_shown_in_parts_with_their_names() {
        assert_eq!(parts(&[4, 10, 10, 10], 1, 40), [vec![0, 1, 2, 3]]);
        assert_eq!(parts(&[4, 10, 10, 10], 1, 39), [vec![0, 1, 2], vec![0, 3]]);
        assert_eq!(parts(&[4, 10, 10, 10], 2, 20), [vec![0, 1, 2], vec![0, 1, 3]], "one at least");
        assert_eq!(parts(&[4, 300, 10], 1, 80), [vec![0, 1], vec![0, 2]]);
        assert_eq!(parts(&[4], 1, 80), [vec![0]]);
        assert_eq!(parts(&[4, 10], 1, usize::MAX), [vec![0, 1]]);
    }

    #[test]
    fn long_lines_are_broken_at_spaces() {
        assert_eq!(wrapped_to("one two three\nfour\n\nfive", 8), "one two\nthree\nfour\n\nfive\n");
        assert_eq!(wrapped_to("a-word-that-is-long x", 8), "a-word-that-is-long\nx\n");
        assert_eq!(wrapped_to("as long as it is", usize::MAX), "as long as it is\n");
    }

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
