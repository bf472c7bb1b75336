//! The reference of commands in `docs/commands.md`, which is made from their help.

use std::fmt::Write;

use clap::Command;

const HEAD: &str = "# Commands\n\nThis page is the help of every command, as `retrospect COMMAND --help` prints it. It is made from the \
                    program.\nA test compares the two, and writes the page anew with `RETROSPECT_UPDATE=1` in the environment.\n";

/// The page.
fn page(mut program: Command) -> String {
    program.build();
    let mut page = HEAD.to_owned();
    section(&program, "retrospect", &mut page);
    page
}

fn section(command: &Command, name: &str, page: &mut String) {
    let mut shown = command.clone().color(clap::ColorChoice::Never).term_width(100);
    let help = shown.render_long_help().to_string();
    let lines: String = help.trim_end().lines().map(|line| format!("{}\n", line.trim_end())).collect();
    write!(page, "\n## {name}\n\n```text\n{lines}```\n").expect("a string takes all");
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        section(command, &format!("{name} {}", command.get_name()), page);
    }
}

#[test]
fn the_page_is_the_help_of_the_commands() {
    use clap::CommandFactory;
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/commands.md");
    let made = page(super::examples::with_examples(super::Cli::command()));
    if std::env::var_os("RETROSPECT_UPDATE").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap();
    let differs = made.lines().zip(there.lines()).find(|(made, there)| made != there);
    assert!(made == there, "{}: {differs:?}; with RETROSPECT_UPDATE=1 it is written anew", path.display());
}
