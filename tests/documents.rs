//! README.md, CONTRIBUTING.md and the pages in docs/: lines that fit, links that lead somewhere, a summary that
//! lists every page, and a page that lists every record of a measurement.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The most columns of a line.
const COLUMNS: usize = 120;
/// The most lines of README.md.
const README_LINES: usize = 200;
const README: &str = "README.md";
const SUMMARY: &str = "docs/SUMMARY.md";
/// The page that lists the files in the folder of records.
const RECORDS: &str = "docs/records.md";
/// The page that says why each dependency is there.
const DEPENDENCIES: &str = "docs/dependencies.md";
const RECORDS_FOLDER: &str = "benches/records";

/// The text of each page, by its path from the root of the repository.
type Pages = BTreeMap<String, String>;

/// The lines that are too long.
fn long_lines(pages: &Pages) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in pages {
        for (number, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > COLUMNS {
                found.push(format!("{path}:{}: {columns} columns, at most {COLUMNS}", number + 1));
            }
        }
    }
    found
}

/// The text without code, in which brackets are not links.
fn without_code(text: &str) -> String {
    let mut prose = String::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            // Every second part between backticks is code.
            line.split('`').step_by(2).for_each(|part| prose.push_str(part));
            prose.push('\n');
        }
    }
    prose
}

/// Where the links and pictures of a text lead: `[…](target)` and `[name]: target`.
fn targets(text: &str) -> Vec<String> {
    let prose = without_code(text);
    let mut found: Vec<String> = Vec::new();
    for rest in prose.split("](").skip(1) {
        found.extend(rest.split_once(')').map(|(target, _)| target.to_owned()));
    }
    for line in prose.lines().filter(|line| line.starts_with('[')) {
        found.extend(line.split_once("]: ").map(|(_, target)| target.to_owned()));
    }
    found
}

/// The anchors of a text's headings, as code hosts and mdBook make them.
fn anchors(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
        } else if !is_code && line.starts_with('#') {
            let title = line.trim_start_matches('#').trim();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            found.push(kept.collect::<String>().to_lowercase().replace(' ', "-"));
        }
    }
    found
}

/// The path that a page names, from the root of the repository; `None` if it leads out of the repository.
fn resolved(page: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The relative links and pictures whose file or heading does not exist. `exists` knows the files that are not pages.
fn broken_links(pages: &Pages, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (page, text) in pages {
        for target in targets(text) {
            if target.starts_with("http://") || target.starts_with("https://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target.as_str(), ""));
            let path = if file.is_empty() { Some(page.clone()) } else { resolved(page, file) };
            let Some(path) = path.filter(|path| pages.contains_key(path) || exists(path)) else {
                found.push(format!("{page}: {target} does not exist"));
                continue;
            };
            let headings = pages.get(&path).map(|text| anchors(text)).unwrap_or_default();
            if !anchor.is_empty() && !headings.iter().any(|heading| heading == anchor) {
                found.push(format!("{page}: {target}: {path} has no such heading"));
            }
        }
    }
    found
}

/// The pages in docs/ that the summary does not list.
fn unlisted(pages: &Pages) -> Vec<String> {
    let summary = targets(&pages[SUMMARY]);
    let listed: Vec<String> = summary.iter().filter_map(|target| resolved(SUMMARY, target)).collect();
    let is_unlisted = |page: &String| page.starts_with("docs/") && page != SUMMARY && !listed.contains(page);
    pages.keys().filter(|page| is_unlisted(page)).map(|page| format!("{page} is not in {SUMMARY}")).collect()
}

/// The records, by their paths from the root of the repository, to which the page of records has no link.
fn unlisted_records(pages: &Pages, records: &[String]) -> Vec<String> {
    let listed: Vec<String> = targets(&pages[RECORDS]).iter().filter_map(|target| resolved(RECORDS, target)).collect();
    records.iter().filter(|record| !listed.contains(record)).map(|record| format!("{record} is not in {RECORDS}")).collect()
}

/// The crates that `Cargo.toml` names as dependencies.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let manifest: toml::Table = manifest.parse().unwrap();
    let systems = manifest["target"].as_table().unwrap().values().filter_map(toml::Value::as_table);
    let sections = systems.chain([&manifest]).flat_map(|table| {
        ["dependencies", "dev-dependencies", "build-dependencies"].into_iter().filter_map(|name| table.get(name)?.as_table())
    });
    sections.flat_map(|section| section.keys().cloned()).collect()
}

/// The crates that have a row in a page's tables.
fn crates_in_tables(page: &str) -> BTreeSet<String> {
    let first_cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    first_cells.flat_map(|cell| cell.split('`').step_by(2)).map(String::from).filter(|name| !name.is_empty()).collect()
}

/// The paths of all files in a folder of the repository and below it.
fn files_below(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().into_string().unwrap());
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files_below(&path)),
            false => found.push(path),
        }
    }
    found
}

/// Names that do not say what they name.
const EMPTY_NAMES: [&str; 8] = ["of", "give", "seen", "Seen", "Ran", "Opened", "Nothing", "Named"];

/// The functions and types of a source that have such a name.
fn empty_names(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            if ["fn", "struct", "enum", "trait", "type"].contains(&pair[0])
                && EMPTY_NAMES.contains(&pair[1])
                && !line.trim_start().starts_with("//")
            {
                found.push(format!("{path}:{}: {} {} does not say what it is", number + 1, pair[0], pair[1]));
            }
        }
    }
    found
}

/// Whether README.md is too long.
fn long_readme(pages: &Pages) -> Vec<String> {
    let lines = pages[README].lines().count();
    if lines < README_LINES {
        Vec::new()
    } else {
        vec![format!("{README} has {lines} lines; it must have fewer than {README_LINES}")]
    }
}

fn pages() -> Pages {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = vec![README.to_owned(), "CONTRIBUTING.md".to_owned()];
    for entry in fs::read_dir(root.join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            paths.push(format!("docs/{name}"));
        }
    }
    let read = |path: String| {
        let text = fs::read_to_string(root.join(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

fn expect_none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn lines_are_short() {
    expect_none(&long_lines(&pages()));
}

#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    expect_none(&broken_links(&pages(), |path| root.join(path).exists()));
}

#[test]
fn the_summary_lists_every_page() {
    expect_none(&unlisted(&pages()));
}

#[test]
fn the_page_of_dependencies_has_a_reason_for_each() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let named = dependencies(&manifest);
    assert!(named.len() > 30 && named.contains("rustix") && named.contains("proptest"), "{named:?}");
    assert_eq!(crates_in_tables(&pages()[DEPENDENCIES]), named, "{DEPENDENCIES} and Cargo.toml name different crates");
}

#[test]
fn the_page_of_records_lists_every_record() {
    let records = files_below(RECORDS_FOLDER);
    assert!(records.len() >= 30, "{records:?}");
    expect_none(&unlisted_records(&pages(), &records));
}

#[test]
fn readme_is_short() {
    expect_none(&long_readme(&pages()));
}

#[test]
fn names_say_what_they_name() {
    let sources: Vec<String> = ["src", "tests", "examples", "benches"].into_iter().flat_map(files_below).collect();
    let sources: Vec<&String> = sources.iter().filter(|path| path.ends_with(".rs") && *path != "tests/documents.rs").collect();
    assert!(sources.len() > 300, "{}", sources.len());
    let read = |path: &&String| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    expect_none(&sources.iter().flat_map(|path| empty_names(path, &read(path))).collect::<Vec<_>>());
}

/// Each checker finds what is planted for it, and nothing else.
#[test]
fn planted_faults_are_found() {
    assert_eq!(empty_names("x.rs", "// fn of\nlet of = 1;\nfn of_one(seen: u32) {}\nstruct Opened2;\n"), Vec::<String>::new());
    for line in ["    pub(crate) fn of(x: u32) {", "struct Seen {", "pub enum Nothing {}", "fn give<T>() {}"] {
        assert_eq!(empty_names("x.rs", line).len(), 1, "{line}");
    }
    let good = [
        (README, "# Title\n\n[one](docs/one.md#a-heading-of-one), [itself](#title), [out](https://example.org/none)\n"),
        (SUMMARY, "# Summary\n\n- [One](one.md)\n- [Two](two.md)\n- [Records](records.md)\n"),
        (RECORDS, "[a](../benches/records/a.json) and [b]\n\n[b]: ../benches/records/b/b.json\n"),
        (
            "docs/one.md",
            "## A heading, of `one`!\n\n![picture](there.svg)\n`[no](link)`\n```text\n[no](link)\n# no heading\n```\n",
        ),
        ("docs/two.md", "[up](../README.md) and [by name][name]\n\n[name]: one.md\n"),
    ];
    let good: Pages = good.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
    let records = ["benches/records/a.json".to_owned(), "benches/records/b/b.json".to_owned()];
    let exists = |path: &str| path == "docs/there.svg" || records.iter().any(|record| record == path);
    let problems = |pages: &Pages| {
        [long_lines(pages), broken_links(pages, exists), unlisted(pages), long_readme(pages)].map(|found| found.len())
    };
    assert_eq!(problems(&good), [0; 4]);
    assert_eq!(unlisted_records(&good, &records).len(), 0);
    for more in ["benches/records/c.json", "benches/records/b", "benches/records/b/a.json"] {
        let found = unlisted_records(&good, &[records.to_vec(), vec![more.to_owned()]].concat());
        assert_eq!(found, [format!("{more} is not in {RECORDS}")]);
    }
    let columns = |count: usize| "é".repeat(count) + "\n";
    for (page, added, expected) in [
        ("docs/one.md", columns(COLUMNS), [0, 0, 0, 0]),
        ("docs/one.md", columns(COLUMNS + 1), [1, 0, 0, 0]),
        ("docs/one.md", format!("```text\n{}```\n", columns(COLUMNS + 1)), [1, 0, 0, 0]),
        ("docs/one.md", "[none](none.md)\n".into(), [0, 1, 0, 0]),
        ("docs/one.md", "![none](none.svg)\n".into(), [0, 1, 0, 0]),
        ("docs/one.md", "[out](../../README.md)\n".into(), [0, 1, 0, 0]),
        ("docs/one.md", "[none](#no-heading)\n".into(), [0, 1, 0, 0]),
        ("docs/two.md", "[none](one.md#none)\n".into(), [0, 1, 0, 0]),
        ("docs/two.md", "[picture](there.svg#none)\n".into(), [0, 1, 0, 0]),
        ("docs/two.md", "[none]: none.md\n".into(), [0, 1, 0, 0]),
        ("docs/three.md", "[one](one.md)\n".into(), [0, 0, 1, 0]),
        (README, "\n".repeat(README_LINES), [0, 0, 0, 1]),
    ] {
        let mut planted = good.clone();
        planted.entry(page.to_owned()).or_default().push_str(&added);
        assert_eq!(problems(&planted), expected, "{page}: {added}");
    }
}
