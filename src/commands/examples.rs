//! The examples at the end of each command's help. A test parses every one of them.

use clap::Command;

/// A command by its words, and examples of it.
type Examples = (&'static [&'static str], &'static [&'static str]);

const ALL: &[Examples] = &[
    (
        &[],
        &[
            "retrospect train                            # learns to add, in seconds",
            "retrospect check                            # compares your GPU with definitions",
            "retrospect train --text book.txt --out runs/book",
            "retrospect sample runs/book --prompt \"The \"",
        ],
    ),
    (
        &["train"],
        &[
            "retrospect train --text book.txt --cell lstm --clip 1 --patience 5 --out runs/book",
            "retrospect train --data flow.csv --target flow --ahead 1 --cell gru --out runs/flow",
            "retrospect train --data gestures.csv --target gesture --sequence id --bidirectional",
            "retrospect train --resume runs/book --steps 6000 --schedule cosine",
        ],
    ),
    (
        &["sample"],
        &[
            "retrospect sample runs/book --prompt \"The \" --length 500 --temperature 0.8",
            "retrospect sample runs/book --top-k 5 --stop .",
        ],
    ),
    (&["evaluate"], &["retrospect evaluate runs/book", "retrospect evaluate runs/flow --data new.csv --json"]),
    (
        &["predict"],
        &[
            "retrospect predict runs/flow --data new.csv --out predicted.csv --plot predicted.svg",
            "retrospect predict runs/flow --data new.csv --steps 24 --out next.csv",
            "retrospect predict runs/book --text page.txt | head",
        ],
    ),
    (
        &["sweep"],
        &[
            "retrospect sweep --vary lr=1e-3,3e-3,1e-2 --vary hidden=32,128 --text book.txt --out sweeps/book",
            "retrospect sweep --vary lr=1e-4..1e-1 --random 16 --halving --out sweeps/adding",
            "retrospect sweep --resume sweeps/book",
        ],
    ),
    (&["runs"], &["retrospect runs", "retrospect runs experiments --json"]),
    (&["plot"], &["retrospect plot runs/book runs/flow --out losses.svg", "retrospect plot runs/book --out losses.png"]),
    (
        &["gradient"],
        &[
            "retrospect gradient --weights w.safetensors --batch b.safetensors --out g.safetensors",
            "retrospect gradient --weights runs/book --batch b.npz --out g.safetensors --backend reference",
        ],
    ),
    (&["check"], &["retrospect check --quick", "retrospect check --only lstm --all-variants"]),
    (
        &["bench"],
        &["retrospect bench --plot bench.svg", "retrospect bench --cell lstm --hidden 128,512 --batch 32 --window 64 --json"],
    ),
    (&["adapters"], &["retrospect adapters", "retrospect adapters --json"]),
    (
        &["steps"],
        &["retrospect steps --task adding --hidden 64", "retrospect steps --text book.txt --hidden 1024 --window 4096 --memory"],
    ),
    (&["tune"], &["retrospect tune --hidden 1024 --batch 64", "retrospect tune --resume runs/book"]),
    (&["study"], &["retrospect study gradients --plot gradients.svg", "retrospect study tasks --task adding --cell lstm,gru"]),
    (
        &["study", "activations"],
        &["retrospect study activations --plot curves.svg", "retrospect study activations --range 3 --csv curves.csv"],
    ),
    (
        &["study", "gradients"],
        &[
            "retrospect study gradients --activation tanh,relu --gain 0.9,1,1.1 --plot gradients.svg",
            "retrospect study gradients --cell elman,lstm --activation tanh --forget-bias 1",
            "retrospect study gradients --run runs/book",
        ],
    ),
    (
        &["study", "rates"],
        &["retrospect study rates --task adding --plot rates.svg", "retrospect study rates --from 1e-4 --to 1"],
    ),
    (
        &["study", "tasks"],
        &["retrospect study tasks --plot tasks.svg", "retrospect study tasks --task adding --window 25,50,100 --cell elman,lstm"],
    ),
    (
        &["completions"],
        &["retrospect completions bash > /etc/bash_completion.d/retrospect", "retrospect completions zsh > _retrospect"],
    ),
    (&["man"], &["retrospect man ~/.local/share/man/man1", "retrospect man pages && man -l pages/retrospect-train.1"]),
];

/// Adds the examples to the help of a program's commands.
pub fn with_examples(program: Command) -> Command {
    ALL.iter().fold(program, |program, (words, lines)| {
        let text = format!("Examples:\n{}", lines.iter().map(|line| format!("  {line}\n")).collect::<String>());
        at(program, words, text.trim_end())
    })
}

fn at(command: Command, words: &[&'static str], text: &str) -> Command {
    match words {
        [] => command.after_help(text.to_owned()),
        [first, rest @ ..] => command.mut_subcommand(first, |command| at(command, rest, text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn program() -> Command {
        with_examples(crate::commands::Cli::command())
    }

    /// The words of a line of a shell, up to a pipe or a comment.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut is_quoted = false;
        for c in line.chars() {
            match c {
                '"' => is_quoted = !is_quoted,
                '#' | '|' | '>' | '&' if !is_quoted => break,
                ' ' if !is_quoted => words.push(String::new()),
                c => words.last_mut().unwrap().push(c),
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }

    #[test]
    fn every_example_is_accepted() {
        for line in ALL.iter().flat_map(|(_, lines)| *lines) {
            let found = program().try_get_matches_from(words(line));
            assert!(found.is_ok(), "{line}: {}", found.unwrap_err());
            assert!(line.chars().count() <= 100, "{line}");
        }
    }

    #[test]
    fn every_command_has_examples() {
        fn expect(command: &Command) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.matches("\n  retrospect ").count() >= 2, "{}: {help}", command.get_name());
            command.get_subcommands().filter(|command| command.get_name() != "help").for_each(expect);
        }
        expect(&program());
    }
}
