//! The command line of a sweep and those of its runs.

use clap::{Args, FromArgMatches};
use retrospect::{Error, Result};

use super::record::Run;
use crate::commands::train::Train;

/// Flags of this command that `train` does not have, and whether each has a value.
const OWN: [(&str, bool); 8] = [
    ("--vary", true),
    ("--random", true),
    ("--halving", false),
    ("--jobs", true),
    ("--out", true),
    ("--resume", true),
    ("--json", false),
    ("--color", true),
];

/// Flags of `train` that may be given again when a sweep goes on; each has a value.
const AGAIN: [&str; 5] = ["--backend", "--adapter", "--threads", "--tune", "--device-timeout"];

/// The arguments of this program that are those of every run: what `train` takes.
///
/// # Errors
/// [`Error::Usage`] for an argument that is not UTF-8, which the record of a sweep is.
pub fn same_for_all() -> Result<Vec<String>> {
    let arguments = std::env::args_os().skip(1).map(|argument| {
        let problem =
            |text: std::ffi::OsString| Error::Usage(format!("{}: a sweep keeps its arguments as UTF-8", text.display()));
        argument.into_string().map_err(problem)
    });
    Ok(those_of_train(arguments.collect::<Result<Vec<String>>>()?))
}

fn those_of_train(arguments: Vec<String>) -> Vec<String> {
    let mut arguments = arguments.into_iter().skip_while(|text| text != "sweep").skip(1);
    let mut same = Vec::new();
    while let Some(text) = arguments.next() {
        match OWN.iter().find(|(own, _)| *own == flag_of(&text)) {
            Some((_, has_value)) => {
                if *has_value && !text.contains('=') {
                    arguments.next();
                }
            }
            None => same.push(text),
        }
    }
    same
}

/// The flag of an argument, without its value.
fn flag_of(argument: &str) -> &str {
    argument.split('=').next().unwrap_or_default()
}

/// The arguments that a sweep began with, with those in place of which others are given when it goes on.
///
/// # Errors
/// [`Error::Usage`] for a flag that stays as it was.
pub fn changed(before: &[String], given: Vec<String>) -> Result<Vec<String>> {
    if let Some(flag) = given.iter().map(|text| flag_of(text)).find(|flag| flag.starts_with("--") && !AGAIN.contains(flag)) {
        return Err(Error::Usage(format!("{flag}: a sweep goes on with the flags that it began with")));
    }
    let is_given = |flag: &str| given.iter().any(|text| flag_of(text) == flag);
    let mut all = Vec::new();
    let mut rest = before.iter();
    while let Some(text) = rest.next() {
        if !(AGAIN.contains(&flag_of(text)) && is_given(flag_of(text))) {
            all.push(text.clone());
        } else if !text.contains('=') {
            rest.next();
        }
    }
    all.extend(given);
    Ok(all)
}

/// The flags of a run as `train` reads them. A flag without a value is switched by `on` and `off`.
///
/// # Errors
/// [`Error::Usage`] with the run and what `train` says of its flags.
pub fn parse(arguments: &[String], flags: &[String], run: &Run) -> Result<Train> {
    let command = Train::augment_args(clap::Command::new("train").disable_help_flag(true));
    let mut line = vec!["train".to_owned()];
    line.extend_from_slice(arguments);
    for (flag, value) in flags.iter().zip(&run.values) {
        let argument = command.get_arguments().find(|argument| argument.get_long() == Some(flag));
        match (argument.is_none_or(|argument| argument.get_action().takes_values()), value.as_str()) {
            (true, _) => line.push(format!("--{flag}={value}")),
            (false, "on") => line.push(format!("--{flag}")),
            (false, "off") => {}
            (false, other) => return Err(Error::Usage(format!("--vary {flag}: {other:?} is neither on nor off"))),
        }
    }
    let parsed = command.try_get_matches_from(line).and_then(|matches| Train::from_arg_matches(&matches));
    parsed.map_err(|error| {
        // The first paragraph says what is wrong, and the others are about `train`.
        let text = error.to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        Error::Usage(format!("run {}: {}", run.name, text.split("\n\n").next().unwrap_or(text).trim_end()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        line.split_whitespace().map(String::from).collect()
    }

    #[test]
    fn what_is_the_same_for_all_is_what_train_takes() {
        let line = "--color never sweep --vary lr=1,2 --hidden 4 --vary=seed=1,2 --color never --out x --json --clip=1 --halving --jobs 3";
        assert_eq!(those_of_train(texts(line)), texts("--hidden 4 --clip=1"));
    }

    #[test]
    fn where_it_runs_may_change_and_nothing_else() {
        let before = texts("--hidden 4 --threads 2 --backend=cpu --lr=1");
        assert_eq!(changed(&before, texts("--threads 1")).unwrap(), texts("--hidden 4 --backend=cpu --lr=1 --threads 1"));
        assert_eq!(changed(&before, texts("--backend=gpu")).unwrap(), texts("--hidden 4 --threads 2 --lr=1 --backend=gpu"));
        assert!(changed(&before, texts("--hidden 5")).unwrap_err().to_string().starts_with("--hidden: "));
    }
}
