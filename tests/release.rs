//! What makes releases agrees with each other: the workflow, the script that packs archives, and where `cargo binstall` looks for them.

use std::fs;
use std::path::Path;

const SYSTEMS: [&str; 5] = [
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "x86_64-apple-darwin",
    "aarch64-apple-darwin",
    "x86_64-pc-windows-msvc",
];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What is between `start` and `end` the first time in a text.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let rest = text.split_once(start).unwrap_or_else(|| panic!("there is no {start}")).1;
    rest.split_once(end).unwrap().0
}

/// The names of the archives of a version, by the script that makes them.
fn archives(script: &str, version: &str) -> Vec<String> {
    let name = between(script, "\nname=", "\n");
    let extension =
        |windows: &str, other: &str, system: &str| if system.contains("windows") { windows } else { other }.to_owned();
    assert!(script.contains("\"$name.zip\"") && script.contains("\"$name.tar.gz\""), "{script}");
    let named =
        |system: &str| name.replace("$version", version).replace("$target", system) + &extension(".zip", ".tar.gz", system);
    SYSTEMS.map(named).to_vec()
}

/// The names that `cargo binstall` asks for.
fn asked_for(manifest: &str, version: &str) -> Vec<String> {
    let section = manifest.split_once("[package.metadata.binstall]").unwrap().1;
    let windows = section.split_once("[package.metadata.binstall.overrides.x86_64-pc-windows-msvc]").unwrap().1;
    let named = |system: &str| {
        let of_system = if system == "x86_64-pc-windows-msvc" { windows } else { section };
        let place = between(of_system, "pkg-url = \"{ repo }/releases/download/v{ version }/", "\"");
        place.replace("{ version }", version).replace("{ target }", system)
    };
    SYSTEMS.map(named).to_vec()
}

#[test]
fn archives_are_where_they_are_looked_for() {
    let (script, manifest) = (read("scripts/package"), read("Cargo.toml"));
    assert_eq!(archives(&script, "1.2.3"), asked_for(&manifest, "1.2.3"));
    let folder = between(&manifest, "bin-dir = \"", "/").replace("{ version }", "$version").replace("{ target }", "$target");
    assert_eq!(between(&script, "\nname=", "\n"), folder);
    // A script that names them otherwise is found.
    let other = script.replace("name=retrospect-$version", "name=retrospect_$version");
    assert_ne!(archives(&other, "1.2.3"), asked_for(&manifest, "1.2.3"));
}

#[test]
fn the_workflow_builds_for_every_system() {
    let workflow = read(".github/workflows/release.yml");
    let built: Vec<&str> = workflow.split("{ target: ").skip(1).map(|rest| rest.split(',').next().unwrap()).collect();
    assert_eq!(built, SYSTEMS);
}

/// The workflow of a release refuses a version without a section in the changelog.
#[test]
fn the_changelog_has_this_version() {
    let heading = format!("\n## {} - ", env!("CARGO_PKG_VERSION"));
    assert!(read("CHANGELOG.md").contains(&heading), "{heading}");
}

/// What goes to the builder of the image is there, and is what `Cargo.toml` and the build read.
#[test]
fn the_image_is_built_of_files_that_exist() {
    let list = read(".dockerignore");
    let sent: Vec<&str> = list.lines().filter_map(|line| line.strip_prefix('!')).collect();
    for path in &sent {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists(), "{path}");
    }
    for needed in ["Cargo.toml", "Cargo.lock", "src", "shaders", "benches", "tests", "LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(sent.contains(&needed), "{needed}");
    }
}
