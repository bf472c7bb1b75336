//! What adding something costs: the patches in `tests/adding` add an activation and a cell, and touch those files alone that the table of
//! `docs/adding.md` names. Here they are held to the table and to the code as it is; `scripts/try-adding` builds what they make and checks it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What a patch does to a file.
struct Change {
    path: String,
    is_new: bool,
    hunks: Vec<Hunk>,
}

/// Lines that are there, from about the line `at` on, and those that come in their place.
#[derive(Default)]
struct Hunk {
    at: usize,
    before: Vec<String>,
    after: Vec<String>,
}

fn read(path: &str) -> String {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(whole).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The changes of a patch as `git diff` writes it.
fn changes(patch: &str) -> Vec<Change> {
    let mut all: Vec<Change> = Vec::new();
    for line in patch.lines() {
        if let Some(paths) = line.strip_prefix("diff --git a/") {
            let (path, _) = paths.split_once(" b/").expect("two paths");
            all.push(Change { path: path.into(), is_new: false, hunks: Vec::new() });
            continue;
        }
        let change = all.last_mut().expect("a patch begins with a file");
        change.is_new |= line.starts_with("new file");
        if let Some(places) = line.strip_prefix("@@ -") {
            let at = places.split([',', ' ']).next().and_then(|at| at.parse().ok()).expect("a line number");
            change.hunks.push(Hunk { at, ..Hunk::default() });
        } else if let Some(hunk) = change.hunks.last_mut() {
            let text = line.get(1..).unwrap_or_default().to_owned();
            match line.as_bytes().first() {
                Some(b'+') => hunk.after.push(text),
                Some(b'-') => hunk.before.push(text),
                Some(b' ') => {
                    hunk.before.push(text.clone());
                    hunk.after.push(text);
                }
                other => panic!("{other:?} begins {line:?}"),
            }
        }
    }
    all
}

/// The text with a change made, as `git apply` makes it: where its lines are, nearest to where they were.
fn apply(text: &str, change: &Change) -> Result<String, String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for hunk in change.hunks.iter().rev() {
        let there = lines.windows(hunk.before.len().max(1)).enumerate().filter(|(_, lines)| *lines == hunk.before);
        let nearest = there.map(|(place, _)| place).min_by_key(|place| place.abs_diff(hunk.at.saturating_sub(1)));
        let Some(place) = nearest else {
            return Err(format!("{}: what line {} of the patch's file was is not there", change.path, hunk.at));
        };
        lines.splice(place..place + hunk.before.len(), hunk.after.iter().cloned());
    }
    Ok(lines.join("\n") + "\n")
}

/// The files that the table of `docs/adding.md` names for adding something, with the name of what is added.
fn table(kind: &str, name: &str) -> BTreeSet<String> {
    let page = read("docs/adding.md");
    let head = format!("| {kind} | ");
    let row = page.lines().find_map(|line| line.strip_prefix(&head)).expect("a row of the table");
    let paths = row.split('`').skip(1).step_by(2);
    paths.map(|path| path.replace("/x.", &format!("/{name}."))).collect()
}

fn paths(changes: &[Change]) -> BTreeSet<String> {
    changes.iter().map(|change| change.path.clone()).collect()
}

const ADDED: [(&str, &str, usize); 2] = [("an activation", "softsign", 3), ("a cell", "ugrnn", 5)];

fn patch(name: &str) -> String {
    read(&format!("tests/adding/{name}.patch"))
}

/// The table is true and no row of it has grown.
#[test]
fn what_is_added_touches_the_files_of_the_table() {
    for (kind, name, files) in ADDED {
        let changes = changes(&patch(name));
        assert_eq!(paths(&changes), table(kind, name), "{name}");
        assert_eq!(changes.len(), files, "{name}");
    }
    // A file more is seen.
    let more = patch("softsign") + "diff --git a/README.md b/README.md\n";
    assert_ne!(paths(&changes(&more)), table("an activation", "softsign"));
}

#[test]
fn what_is_added_fits_the_code_as_it_is() {
    for (_, name, _) in ADDED {
        for change in changes(&patch(name)) {
            if change.is_new {
                assert!(!Path::new(env!("CARGO_MANIFEST_DIR")).join(&change.path).exists(), "{} is there", change.path);
                continue;
            }
            let text = read(&change.path);
            let added = apply(&text, &change).unwrap_or_else(|problem| panic!("{problem}: make tests/adding/{name}.patch anew"));
            assert!(added.to_lowercase().matches(name).count() >= 2, "{} does not name {name}", change.path);
            // Where a line that the patch stands on has changed, it does not apply.
            let stands_on = change.hunks[0].before.iter().find(|line| line.trim().len() > 3).expect("a line");
            assert!(apply(&text.replace(stands_on.as_str(), "another"), &change).is_err(), "{}", change.path);
        }
    }
}
