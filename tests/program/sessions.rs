//! The sessions in `docs/your-data.md`: each command is run as it is printed, and what it prints is compared with the text. With
//! `RETROSPECT_UPDATE=1` in the environment the text is written anew instead, and its figures: look at what has changed.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use ndarray::Array3;
use retrospect::tensors::Tensors;

use super::{command, finished};

/// Numbers of the text and of this machine differ so much at most: the CPU's functions give the same bits everywhere, and only the mean of
/// many losses and the logarithm of another system may not.
const TOLERANCE: f64 = 1e-3;

/// A command, as it is printed and as it is run, and the lines that it prints.
struct Shown {
    printed: Vec<String>,
    line: String,
    output: Vec<String>,
}

impl Shown {
    /// What the document has of it.
    fn text(&self) -> String {
        self.printed.iter().chain(&self.output).map(|line| format!("{line}\n")).collect()
    }
}

/// The commands of the blocks of a document.
fn commands(document: &str) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    let mut inside = false;
    for line in document.lines() {
        match line.strip_prefix("$ ") {
            _ if line.starts_with("```") => inside = line == "```console",
            _ if !inside => {}
            Some(command) => {
                let printed = vec![line.to_owned()];
                all.push(Shown { printed, line: command.to_owned(), output: Vec::new() });
            }
            None => {
                let shown = all.last_mut().expect("a command comes first");
                // A long command goes on in the next line, as in a shell.
                match shown.line.strip_suffix('\\') {
                    Some(start) => {
                        shown.line = format!("{start}{}", line.trim_start());
                        shown.printed.push(line.to_owned());
                    }
                    None => shown.output.push(line.to_owned()),
                }
            }
        }
    }
    all
}

/// What a command prints: its notes, then its results.
fn output_of(folder: &Path, line: &str) -> Vec<String> {
    let output = match line.strip_prefix("retrospect ") {
        Some(arguments) => command(folder, arguments).output().unwrap(),
        None => Command::new("sh").args(["-c", line]).current_dir(folder).stdin(Stdio::null()).output().unwrap(),
    };
    let (code, out, err) = finished(line, output);
    assert_eq!(code, 0, "{line}: {err}");
    // A slow machine says now and then how far it is.
    err.lines()
        .filter(|line| !line.ends_with("tokens/s"))
        .chain(out.lines())
        .map(|line| line.replace(&format!("{}/", folder.display()), ""))
        .collect()
}

/// Whether two lines say the same: words alike, and numbers about.
fn is_alike(expected: &str, found: &str) -> bool {
    let is_machine = |line: &str| ["time ", "Running on"].iter().any(|start| line.starts_with(start));
    if is_machine(expected) {
        return found.split_whitespace().next() == expected.split_whitespace().next();
    }
    let separators = |c: char| c.is_whitespace() || c == ',';
    let words = |line: &str| line.split(separators).filter(|word| !word.is_empty()).map(String::from).collect::<Vec<_>>();
    let (expected, found) = (words(expected), words(found));
    let same = |(a, b): (&String, &String)| match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()),
        _ => a == b,
    };
    expected.len() == found.len() && expected.iter().zip(&found).all(same)
}

/// The arrays of the session with NumPy, by the formula that its script has.
fn write_arrays(folder: &Path) {
    let value = |t: usize, s: usize| (t as f64 / 2.0 + 1.7 * s as f64).sin() + 0.5 * (t as f64 / 5.0 + 2.9 * s as f64).sin();
    let array = |times: std::ops::Range<usize>, series: std::ops::Range<usize>| {
        Array3::from_shape_fn((times.len(), series.len(), 1), |(t, s, _)| value(times.start + t, series.start + s) as f32)
    };
    let write = |name: &str, tensors: Vec<(&str, Array3<f32>)>| {
        let mut file = Tensors::new();
        tensors.into_iter().for_each(|(name, tensor)| file.insert(name, tensor));
        file.write_npz(folder.join(name)).unwrap();
    };
    write("waves.npz", vec![("inputs", array(0..96, 0..180)), ("values", array(1..97, 0..180))]);
    write("new.npz", vec![("inputs", array(0..121, 180..200))]);
}

/// A command with what it printed now, of which as much is left out as before.
fn anew(shown: &Shown, mut output: Vec<String>) -> Shown {
    if shown.output.last().is_some_and(|last| last == "…") {
        output.truncate(shown.output.len() - 1);
        output.push("…".into());
    }
    Shown { printed: shown.printed.clone(), line: shown.line.clone(), output }
}

#[test]
fn the_sessions_run_as_they_are_printed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for file in ["examples/river.csv", "examples/movements.csv", "LICENSE-APACHE"] {
        fs::copy(root.join(file), at.join(Path::new(file).file_name().unwrap())).unwrap();
    }
    write_arrays(at);
    let path = root.join("docs/your-data.md");
    let document = fs::read_to_string(&path).unwrap();
    let all = commands(&document);
    assert!(all.len() >= 12, "{} commands", all.len());
    let is_updated = std::env::var_os("RETROSPECT_UPDATE").is_some();
    let mut updated = document.clone();
    for shown in all {
        let found = output_of(at, &shown.line);
        if is_updated {
            updated = updated.replacen(&shown.text(), &anew(&shown, found).text(), 1);
            continue;
        }
        let Shown { line, output, .. } = shown;
        for (place, expected) in output.iter().enumerate() {
            // What follows is left out in the text.
            if expected == "…" {
                break;
            }
            let there = found.get(place).map_or("nothing", String::as_str);
            assert!(
                is_alike(expected, there),
                "{line}\nprinted in the text: {expected}\nfound:               {there}\n{}",
                found.join("\n")
            );
        }
        let is_whole = output.last().is_none_or(|last| last != "…");
        assert!(!is_whole || found.len() == output.len(), "{line}: {}", found.join("\n"));
    }
    for figure in ["river.svg", "movements.svg", "waves.svg"] {
        assert!(fs::read_to_string(at.join(figure)).unwrap().starts_with("<svg"), "{figure}");
        if is_updated {
            fs::copy(at.join(figure), root.join("docs").join(figure)).unwrap();
        }
    }
    if is_updated {
        fs::write(&path, updated).unwrap();
    }
    // The forecast of 24 steps is as good as the text says.
    let forecast = Tensors::read(at.join("forecast.npz")).unwrap();
    let outputs = forecast.f32("outputs").unwrap();
    let value = |t: usize, s: usize| (t as f64 / 2.0 + 1.7 * s as f64).sin() + 0.5 * (t as f64 / 5.0 + 2.9 * s as f64).sin();
    let mut squares = 0.0;
    for (t, s) in (121..145).flat_map(|t| (0..20).map(move |s| (t, s))) {
        squares += (f64::from(outputs[[t - 1, s, 0]]) - value(t, 180 + s)).powi(2);
    }
    let error = (squares / (24.0 * 20.0)).sqrt();
    let marker = "Their root mean squared error is";
    let said = document.split(marker).nth(1).unwrap().split_whitespace().next().unwrap().trim_end_matches('.');
    assert!((error - said.parse::<f64>().unwrap()).abs() < 0.001, "{error} {said}");
}
