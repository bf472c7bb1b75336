//! The sessions in README.md and in pages of `docs/`: each command is run as it is printed, and what it prints is compared with the text.
//! With `RETROSPECT_UPDATE=1` in the environment the text is written anew instead, and its figures: look at what has changed.
//!
//! In blocks of `console` a line that begins with `$` is a command, and the other lines are what it prints. A line `…` stands for any
//! lines, and `…` at the end of a line for any words. The commands `retrospect …` in blocks of `sh` are run too, and must succeed.

use std::fs;
use std::path::Path;

use ndarray::Array3;
use retrospect::tensors::Tensors;

use super::{finished, script};

/// Numbers of the text and of this machine differ so much at most: the CPU's functions give the same bits everywhere, and only the mean of
/// many losses and the logarithm of another system may not.
const TOLERANCE: f64 = 1e-3;

/// What a line, or the end of a line, has in place of what is left out.
const LEFT_OUT: &str = "…";

/// A command, as it is printed and as it is run, and the lines that it prints.
struct Shown {
    printed: Vec<String>,
    line: String,
    /// `None` in a block of `sh`, which shows no output.
    output: Option<Vec<String>>,
}

impl Shown {
    /// What the document has of it.
    fn text(&self) -> String {
        self.printed.iter().chain(self.output.iter().flatten()).map(|line| format!("{line}\n")).collect()
    }
}

/// The commands of the blocks of a document.
fn commands(document: &str) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    let mut block = "";
    for line in document.lines() {
        if let Some(language) = line.strip_prefix("```") {
            block = language;
            continue;
        }
        let (command, output) = match block {
            "console" => (line.strip_prefix("$ "), Some(Vec::new())),
            "sh" => (Some(line).filter(|line| line.starts_with("retrospect ")), None),
            _ => continue,
        };
        if let Some(command) = command {
            all.push(Shown { printed: vec![line.to_owned()], line: command.to_owned(), output });
        } else if let Some(shown) = all.last_mut() {
            // A long command goes on in the next line, as in a shell.
            if let Some(start) = shown.line.strip_suffix('\\') {
                shown.line = format!("{start}{}", line.trim_start());
                shown.printed.push(line.to_owned());
            } else if block == "console" {
                shown.output.as_mut().expect("a command comes first").push(line.to_owned());
            }
        }
    }
    all
}

/// What a command prints: its notes, then its results.
fn output_of(folder: &Path, line: &str) -> Vec<String> {
    let (code, out, err) = finished(line, script(folder, line).output().unwrap());
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
    let (mut expected, mut found) = (words(expected), words(found));
    if expected.last().is_some_and(|last| last == LEFT_OUT) {
        expected.pop();
        found.truncate(expected.len());
    }
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

/// The lines of `output` before the line that stands for any lines, and those after it.
fn parts(output: &[String]) -> (&[String], Option<&[String]>) {
    match output.iter().position(|line| line == LEFT_OUT) {
        Some(place) => (&output[..place], Some(&output[place + 1..])),
        None => (output, None),
    }
}

/// Where the lines of `shown` are in what was found: of its start and, if lines are left out, of its end.
fn places(shown: &[String], found: usize) -> Vec<Option<usize>> {
    let (start, end) = parts(shown);
    let end = end.unwrap_or_default();
    (0..start.len()).map(Some).chain((0..end.len()).map(|place| (found + place).checked_sub(end.len()))).collect()
}

/// What a command printed now, of which as much is left out as before. Lines that say the same stay: times differ each time.
fn anew(shown: &[String], found: &[String]) -> Vec<String> {
    let (start, end) = parts(shown);
    let Some(end) = end else {
        return found.iter().enumerate().map(|(place, line)| renewed(shown.get(place), line)).collect();
    };
    assert!(start.len() + end.len() <= found.len(), "fewer lines than are shown:\n{}", found.join("\n"));
    let mut lines: Vec<String> = start.iter().zip(found).map(|(shown, line)| renewed(Some(shown), line)).collect();
    lines.push(LEFT_OUT.into());
    lines.extend(end.iter().zip(&found[found.len() - end.len()..]).map(|(shown, line)| renewed(Some(shown), line)));
    lines
}

/// The line that is shown if it says the same, and otherwise the one that was found, cut after as many words as are shown.
fn renewed(shown: Option<&String>, line: &str) -> String {
    let Some(shown) = shown else { return line.to_owned() };
    if is_alike(shown, line) {
        return shown.clone();
    }
    match shown.strip_suffix(LEFT_OUT) {
        Some(kept) => {
            let words: Vec<&str> = line.split_whitespace().take(kept.split_whitespace().count()).collect();
            format!("{} {LEFT_OUT}", words.join(" "))
        }
        None => line.to_owned(),
    }
}

/// Fails where the output in the text is not what was found.
fn expect_alike(line: &str, shown: &[String], found: &[String]) {
    let whole = found.join("\n");
    let expected = shown.iter().filter(|line| *line != LEFT_OUT);
    for (expected, place) in expected.zip(places(shown, found.len())) {
        let there = place.and_then(|place| found.get(place)).map_or("nothing", String::as_str);
        assert!(is_alike(expected, there), "{line}\nprinted in the text: {expected}\nfound:               {there}\n{whole}");
    }
    let (start, end) = parts(shown);
    assert!(end.is_some() || start.len() == found.len(), "{line}: {whole}");
    assert!(start.len() + end.map_or(0, <[String]>::len) <= found.len(), "{line}: {whole}");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page whose commands are run.
struct Page {
    path: &'static str,
    /// How many commands it has at least, so that none is lost by the way it is written.
    commands: usize,
    /// The figures that its commands draw, in the folder where they run, and their copies in the repository.
    figures: &'static [(&'static str, &'static str)],
}

/// Runs the commands of the page in `folder`, compares or updates, and gives back the page's text.
fn expect_as_printed(page: &Page, folder: &Path) -> String {
    let path = root().join(page.path);
    let document = fs::read_to_string(&path).unwrap();
    let all = commands(&document);
    assert!(all.len() >= page.commands, "{}: {} commands", page.path, all.len());
    let is_updated = std::env::var_os("RETROSPECT_UPDATE").is_some();
    let mut updated = document.clone();
    for shown in all {
        let found = output_of(folder, &shown.line);
        match &shown.output {
            Some(output) if is_updated => {
                let now = Shown { output: Some(anew(output, &found)), printed: shown.printed.clone(), line: String::new() };
                updated = updated.replacen(&shown.text(), &now.text(), 1);
            }
            Some(output) => expect_alike(&shown.line, output, &found),
            None => {}
        }
    }
    for (drawn, kept) in page.figures {
        assert!(fs::read_to_string(folder.join(drawn)).unwrap().starts_with("<svg"), "{drawn}");
        if is_updated {
            fs::copy(folder.join(drawn), root().join(kept)).unwrap();
        }
    }
    if is_updated {
        fs::write(&path, updated).unwrap();
    }
    document
}

/// A folder with the examples, as a clone of the repository has them.
fn clone_with_examples() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("examples")).unwrap();
    for file in ["examples/river.csv", "examples/movements.csv", "examples/sonnets.txt", "LICENSE-APACHE"] {
        fs::copy(root().join(file), folder.path().join(file)).unwrap();
    }
    folder
}

#[test]
fn the_session_of_the_readme_runs_as_it_is_printed() {
    let folder = clone_with_examples();
    expect_as_printed(&Page { path: "README.md", commands: 4, figures: &[] }, folder.path());
}

#[test]
fn the_tutorial_runs_as_it_is_printed() {
    let folder = clone_with_examples();
    let figures = &[("runs/sonnets/loss.svg", "docs/loss.svg")];
    expect_as_printed(&Page { path: "docs/tutorial.md", commands: 12, figures }, folder.path());
}

#[test]
fn the_sessions_of_your_data_run_as_they_are_printed() {
    let folder = clone_with_examples();
    let at = folder.path();
    write_arrays(at);
    let figures = &[("river.svg", "docs/river.svg"), ("movements.svg", "docs/movements.svg"), ("waves.svg", "docs/waves.svg")];
    let document = expect_as_printed(&Page { path: "docs/your-data.md", commands: 12, figures }, at);
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

/// What is planted in a session is found, and what is left out is not compared.
#[test]
fn a_session_that_differs_is_found() {
    let lines = |text: &str| text.lines().map(String::from).collect::<Vec<_>>();
    let found = lines("Running on X.\nloss 1.5 of many\nmiddle\ntime 2 s\nend 3");
    let same = |shown: &str| std::panic::catch_unwind(|| expect_alike("", &lines(shown), &found)).is_ok();
    let good = ["loss 1.5 of many\nmiddle", "loss 1.5001 of many\nmiddle", "loss …\nmiddle"];
    for middle in good {
        assert!(same(&format!("Running on Y.\n{middle}\ntime 9 s\nend 3")), "{middle}");
    }
    for shown in ["Running on Y.\n…", "…\nend 3", "Running on Y.\n…\ntime 1 s\nend 3"] {
        assert!(same(shown), "{shown}");
        assert!(same(&anew(&lines(shown), &found).join("\n")), "{shown}");
    }
    for shown in [
        "Running on Y.\nloss 1.5 of many\nmiddle\ntime 9 s",
        "Running on Y.\nloss 1.6 of many\nmiddle\ntime 9 s\nend 3",
        "Running on Y.\ngain …\nmiddle\ntime 9 s\nend 3",
        "…\nend 4",
        "Running on Y.\nloss 1.5 of many\nmiddle\ntime 9 s\n…\ntime 9 s\nend 3",
    ] {
        assert!(!same(shown), "{shown}");
    }
    assert_eq!(anew(&lines("Running on Y.\nloss 1 …\n…\nend 9"), &found), lines("Running on Y.\nloss 1.5 …\n…\nend 3"));
}
