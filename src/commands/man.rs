//! `retrospect man`: a manual page of each command, made from its help.

use std::fs;
use std::path::{Path, PathBuf};

use clap::builder::Resettable;
use clap::{Args, Command};
use clap_mangen::roff::{Roff, roman};
use retrospect::{Error, Result};

use super::terminal::note;

/// The date of this version, as in CHANGELOG.md. A page has it at its foot.
const DATE: &str = "2026-11-27";

/// Writes manual pages of all commands
#[derive(Args)]
pub struct Man {
    /// The folder for the pages; it is made if it is not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Man {
    pub fn run(&self, program: Command) -> Result<()> {
        if self.folder.exists() && !self.folder.is_dir() {
            return Err(Error::Usage(format!("{} is not a folder; expected one for the pages", self.folder.display())));
        }
        fs::create_dir_all(&self.folder).map_err(|source| Error::Io { path: self.folder.clone(), source })?;
        let pages = pages(program);
        for (name, text) in &pages {
            write(&self.folder.join(name), text)?;
        }
        note(format_args!("Wrote {} pages into {}.", pages.len(), self.folder.display()));
        Ok(())
    }
}

fn write(path: &Path, text: &[u8]) -> Result<()> {
    fs::write(path, text).map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// The pages by the names of their files: the program's, and one of each command.
fn pages(program: Command) -> Vec<(String, Vec<u8>)> {
    let source = format!("retrospect {}", env!("CARGO_PKG_VERSION"));
    // A page of the command `help` would say nothing.
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    add(&program, &source, &mut pages);
    pages
}

fn add(command: &Command, source: &str, pages: &mut Vec<(String, Vec<u8>)>) {
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    // The examples would become one paragraph with the heading EXTRA.
    let page = clap_mangen::Man::new(command.clone().after_help(Resettable::Reset));
    let page = page.date(DATE).source(source).manual("Retrospect");
    let mut text = Vec::new();
    page.render(&mut text).and_then(|()| as_they_are(&examples).to_writer(&mut text)).expect("memory takes all");
    pages.push((page.get_filename(), text));
    command.get_subcommands().for_each(|command| add(command, source, pages));
}

/// The section of the examples, in lines as they are.
fn as_they_are(examples: &str) -> Roff {
    let mut section = Roff::new();
    section.control("SH", ["EXAMPLES"]).control("nf", []);
    for line in examples.lines().filter_map(|line| line.strip_prefix("  ")) {
        section.text([roman(line)]);
    }
    section.control("fi", []);
    section
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::{Cli, examples};
    use clap::CommandFactory;

    fn program() -> Command {
        examples::with_examples(Cli::command())
    }

    /// The page without roff's escapes.
    fn plain(text: &str) -> String {
        ["\\fB", "\\fI", "\\fR", "\\&"].iter().fold(text.replace("\\-", "-"), |text, escape| text.replace(escape, ""))
    }

    /// Each command has a page, and that has its options and examples.
    #[test]
    fn every_command_has_a_page_with_its_options() {
        fn expect(command: &Command, name: &str, folder: &Path) -> usize {
            let text = plain(&fs::read_to_string(folder.join(format!("{name}.1"))).expect(name));
            let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
            let options: Vec<&str> = shown.filter_map(clap::Arg::get_long).collect();
            assert!(options.contains(&"color") && options.contains(&"help"), "{name}: {options:?}");
            for option in options {
                assert!(text.contains(&format!("--{option}")), "{name}: --{option}");
            }
            assert!(text.contains(".SH EXAMPLES\n.nf\nretrospect "), "{name}: {text}");
            let below = command.get_subcommands().filter(|command| command.get_name() != "help");
            1 + below.map(|command| expect(command, &format!("{name}-{}", command.get_name()), folder)).sum::<usize>()
        }
        let folder = tempfile::tempdir().unwrap();
        let pages = folder.path().join("new/pages");
        Man { folder: pages.clone() }.run(program()).unwrap();
        let mut program = program();
        program.build();
        let commands = expect(&program, "retrospect", &pages);
        assert!(commands >= 20, "{commands}");
        assert_eq!(fs::read_dir(&pages).unwrap().count(), commands);
    }

    #[test]
    fn the_pages_have_version_and_date_of_the_changelog() {
        let version = env!("CARGO_PKG_VERSION");
        for (name, text) in pages(program()) {
            let title = format!(".TH {} 1 {DATE} \"retrospect {version}\" Retrospect\n", name.trim_end_matches(".1"));
            assert!(String::from_utf8(text).unwrap().contains(&title), "{name}: {title}");
        }
        let changelog = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("CHANGELOG.md")).unwrap();
        let heading = changelog.lines().find(|line| line.starts_with("## ")).unwrap();
        assert_eq!(heading, format!("## {version} - {DATE}"), "CHANGELOG.md begins with another version or date");
    }

    /// No line of a help text is taken for a macro, which would swallow it.
    #[test]
    fn only_macros_begin_with_a_dot() {
        let known = ["TH", "SH", "TP", "RS", "RE", "br", "nf", "fi", "ie", "el", "PP", "sp", "IP"];
        for (name, text) in pages(program()) {
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains("\n.SH OPTIONS\n"), "{name}: {text}");
            for line in text.lines().filter(|line| line.starts_with(['.', '\''])) {
                let first = line.trim_start_matches(['.', '\'']).split_whitespace().next().unwrap_or_default();
                assert!(known.contains(&first), "{name}: {line}");
            }
        }
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Man { folder: file.path().to_owned() }.run(program()).unwrap_err();
        assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
    }
}
