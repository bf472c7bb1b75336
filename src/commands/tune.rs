//! `retrospect tune`, and what the other commands say of tuning.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use retrospect::backend::{Compute, Device};
use retrospect::model::{Config, Model};
use retrospect::program::Program;
use retrospect::tune::{Measured, Mode, Outcome, refuse_waiting, tune};
use retrospect::{Error, Result};
use serde_json::json;

use super::program::ProgramArgs;
use super::terminal::{note, print, print_json, table};

#[derive(Args)]
#[command(next_help_heading = "Where to run")]
pub struct TuneArgs {
    /// Measure which variants of the kernels are the fastest [default: auto]
    #[arg(long)]
    tune: Option<Mode>,
}

impl TuneArgs {
    /// The same flag for another process.
    pub fn again(&self) -> Vec<OsString> {
        let value = self.tune.and_then(|mode| mode.to_possible_value());
        value.map_or(Vec::new(), |value| vec!["--tune".into(), value.get_name().into()])
    }

    /// [`TuneArgs::prepare`] for the program of a network.
    pub fn prepare_network(&self, compute: &mut Compute, config: &Config) -> Result<()> {
        if matches!(compute, Compute::Gpu(_)) { self.prepare(compute, Model::new(config)?.program()) } else { Ok(()) }
    }

    /// Chooses the variants for a program on a device, and says what was found.
    pub fn prepare(&self, compute: &mut Compute, program: &Program) -> Result<()> {
        let Compute::Gpu(device) = compute else { return Ok(()) };
        // On a software adapter, which is there for tests, the choice is a fixed one.
        let mode = match self.tune.unwrap_or_default() {
            Mode::Auto if device.adapter.is_software() => Mode::Off,
            mode => mode,
        };
        remember_waiting_in_vain(device);
        let outcome = tune(device, program, mode, folder().as_deref())?;
        outcome.notes.iter().for_each(note);
        outcome.not_kept.iter().for_each(|problem| note(format_args!("tuning: {problem}")));
        if !outcome.measured.is_empty() {
            note(format_args!("Measured which variants are the fastest for {} shapes of steps.", outcome.measured.len()));
        }
        Ok(())
    }
}

/// Says so when workgroups wait for each other in vain, and keeps it for later runs.
fn remember_waiting_in_vain(device: &Device) {
    device.on_waiting_in_vain(|device, what| {
        note(format_args!(
            "{what}. The steps are repeated in variants that do not wait, and this adapter uses no others from now on."
        ));
        if let Some(Err(error)) = folder().map(|folder| refuse_waiting(device, &folder)) {
            note(format_args!("tuning: this cannot be saved for later runs: {error}"));
        }
    });
}

/// The user's folder for what can be found out again.
fn folder() -> Option<PathBuf> {
    dirs::cache_dir().map(|folder| folder.join("retrospect"))
}

/// Measures which variants of the kernels are the fastest for a model, and keeps that for later runs
#[derive(Args)]
pub struct Tune {
    #[command(flatten)]
    program: ProgramArgs,
}

impl Tune {
    pub fn run(&self) -> Result<()> {
        let settings = self.program.settings()?;
        let model = Model::new(&settings.network)?;
        let Compute::Gpu(mut device) = self.program.choose_gpu()? else {
            return Err(Error::Usage("the CPU has no variants to choose from; --backend gpu".into()));
        };
        let outcome = tune(&mut device, model.program(), Mode::Full, folder().as_deref())?;
        outcome.notes.iter().for_each(note);
        if self.program.json {
            let adapter = &device.adapter;
            print_json(&json!({ "adapter": adapter.name, "driver": adapter.driver, "measured": outcome.measured }))?;
        } else {
            print(&show(&outcome))?;
        }
        // To keep it is what the command is for.
        match outcome.not_kept {
            Some(problem) => Err(Error::Io { path: folder().unwrap_or_default(), source: std::io::Error::other(problem) }),
            None => Ok(()),
        }
    }
}

fn show(outcome: &Outcome) -> String {
    let mut rows = vec![["kernel and windows", "share", "variant", "ms", ""].map(String::from).to_vec()];
    for Measured { shape, share, candidates, chosen } in &outcome.measured {
        for (i, candidate) in candidates.iter().enumerate() {
            let [shape, share] =
                if i == 0 { [shape.clone(), format!("{:.1} %", 1e2 * share)] } else { [String::new(), String::new()] };
            let ms = candidate.ms.map_or(String::new(), |ms| format!("{ms:.3}"));
            let what = match &candidate.problem {
                Some(problem) => format!("left out: {problem}"),
                None if candidate.variant == *chosen => "chosen".into(),
                None => String::new(),
            };
            rows.push(vec![shape, share, candidate.variant.into(), ms, what]);
        }
    }
    table(&rows)
}
