//! The command line: one file a subcommand. Results go to stdout, everything else to stderr.

mod adapters;
mod bare;
mod bench;
mod cell;
mod check;
mod compute;
mod displays;
mod drawing;
mod evaluate;
mod examples;
mod files;
mod gradient;
#[cfg(test)]
mod help_page;
mod interrupt;
mod man;
mod missing;
mod options;
mod plot;
mod plot_runs;
mod predict;
mod program;
mod progress;
mod ranks;
mod retry;
mod runs;
mod sample;
mod sketch;
mod spreadsheet;
mod steps;
mod study;
mod sweep;
mod tensorboard;
mod terminal;
mod train;
mod trained;
mod tune;
mod watch;

use std::process::ExitCode;

use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};
use retrospect::{Error, Result};

/// Trains recurrent neural networks on any GPU through wgpu, or on the CPU.
#[derive(Parser)]
#[command(name = "retrospect", version, max_term_width = 100)]
struct Cli {
    /// When to use colours.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: ColorChoice,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(Box<train::Train>),
    Sample(sample::Sample),
    Evaluate(evaluate::Evaluate),
    Predict(predict::Predict),
    Sweep(Box<sweep::Sweep>),
    Runs(runs::Runs),
    Plot(plot_runs::Plot),
    Gradient(gradient::Gradient),
    Check(check::Check),
    Bench(bench::Bench),
    Adapters(adapters::Adapters),
    Steps(Box<steps::Steps>),
    Study(Box<study::Study>),
    Tune(Box<tune::Tune>),
    /// Writes completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    Man(man::Man),
}

impl Command {
    /// Whether several processes may run it together.
    fn is_for_ranks(&self) -> bool {
        match self {
            Command::Train(_) => true,
            Command::Check(check) => check.ranks,
            Command::Bench(bench) => bench.ranks,
            _ => false,
        }
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    quiet_panics();
    let matches = examples::with_examples(Cli::command()).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    // After the command line is read: help needs no driver.
    displays::expect_none();
    terminal::colors(cli.color);
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the results wants no more of them.
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            terminal::error(&error);
            match error {
                Error::DeviceLost { .. } | Error::Device { .. } | Error::DoesNotFit { .. } => watch::leave(error.exit_code()),
                _ => ExitCode::from(error.exit_code()),
            }
        }
    }
}

fn run(command: Command) -> Result<()> {
    if !command.is_for_ranks() {
        ranks::expect_alone("only train, check --ranks and bench --ranks are for several")?;
    }
    match command {
        Command::Train(train) => train.run(),
        Command::Sample(sample) => sample.run(),
        Command::Evaluate(evaluate) => evaluate.run(),
        Command::Predict(predict) => predict.run(),
        Command::Sweep(sweep) => sweep.run(),
        Command::Runs(runs) => runs.run(),
        Command::Plot(plot) => plot.run(),
        Command::Gradient(gradient) => gradient.run(),
        Command::Check(check) => check.run(),
        Command::Bench(bench) => bench.run(),
        Command::Adapters(adapters) => adapters.run(),
        Command::Steps(steps) => steps.run(),
        Command::Study(study) => study.run(),
        Command::Tune(tune) => tune.run(),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "retrospect", &mut script);
            terminal::print(&String::from_utf8_lossy(&script))
        }
        Command::Man(man) => man.run(examples::with_examples(Cli::command())),
    }
}

/// wgpu panics when a device is lost; that becomes an error, which says it better.
fn quiet_panics() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !retrospect::backend::gpu::catches_panics() {
            hook(info);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a run that goes on does not change: each flag is named, so that an error names that one alone.
    #[test]
    fn all_fixed_flags_are_known() {
        let cli = Cli::command();
        let train = cli.find_subcommand("train").unwrap();
        let groups = ["NetworkArgs", "LossArgs", "OptimizerArgs", "SeedArgs", "DataArgs", "TableArgs", "CellArgs", "BiasArgs"];
        let of_groups = train.get_groups().filter(|group| groups.contains(&group.get_id().as_str()));
        let mut flags: Vec<&str> = of_groups.flat_map(|group| group.get_args()).map(|id| id.as_str()).collect();
        let mut fixed = options::FIXED.to_vec();
        flags.sort_unstable();
        fixed.sort_unstable();
        assert_eq!(flags, fixed);
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
