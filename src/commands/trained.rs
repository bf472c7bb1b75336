//! The checkpoint of a run that a command reads.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use retrospect::train::{Checkpoint, Header, Settings};
use retrospect::{Error, Result};

use super::sweep::Record;
use super::terminal::{note, note_left_out, significant};

/// Which checkpoint of a run is read.
#[derive(Args)]
pub struct WhichArgs {
    /// Take the network of the best validation, or the last one [default: best, if the run was validated]
    #[arg(long, value_name = "WHICH")]
    checkpoint: Option<Which>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    Best,
    Last,
}

impl WhichArgs {
    /// Whether the flag is given.
    pub fn is_given(&self) -> bool {
        self.checkpoint.is_some()
    }

    /// Refuses the flag where there is no run: weights alone have no checkpoints.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub fn expect_none(&self, weights: &Path) -> Result<()> {
        match self.checkpoint {
            Some(_) => Err(Error::Usage(format!("--checkpoint is for runs, and {} are weights alone", weights.display()))),
            None => Ok(()),
        }
    }

    /// Reads a checkpoint of the run in a folder, or the file that is named; says which one it is if there is another.
    ///
    /// # Errors
    /// [`Error::Usage`] for the flag beside a file; [`Error::BadInput`] when it cannot be read, or when there is no best one.
    pub fn load(&self, run: &Path) -> Result<(Checkpoint, PathBuf)> {
        let best = Checkpoint::best_path(run);
        match self.checkpoint {
            Some(_) if run.exists() && !run.is_dir() => {
                Err(Error::Usage(format!("--checkpoint is for the folder of a run, and {} is a file", run.display())))
            }
            Some(Which::Best) if run.is_dir() && !best.exists() => {
                let problem = "has no best checkpoint: nothing was validated; --checkpoint last takes the last one";
                Err(Error::BadInput { what: run.display().to_string(), problem: problem.into() })
            }
            Some(Which::Last) => load_last(run),
            _ if !best.exists() => load_last(run),
            asked => load_best(run, &best, asked.is_some()),
        }
    }
}

/// The best checkpoint; the last one where that is of the same training step, or where the best one cannot be read and was not asked for.
fn load_best(run: &Path, path: &Path, is_asked: bool) -> Result<(Checkpoint, PathBuf)> {
    let last = Header::open(&Checkpoint::path(run)).ok();
    let step = last.as_ref().map(|last| last.step);
    if step.is_some() && Header::open(path).ok().map(|best| best.step) == step {
        return load_last(run);
    }
    let mut checkpoint = match Checkpoint::read(path) {
        Err(error) if !is_asked => {
            note(format_args!("{error}; taking the last checkpoint instead."));
            return load_last(run);
        }
        read => read?,
    };
    // The data may have moved since.
    if let Some(last) = last.filter(|last| last.fingerprints.data == checkpoint.origin.fingerprints.data) {
        checkpoint.origin.settings = Settings { network: checkpoint.origin.settings.network, ..last.settings };
        checkpoint.origin.fingerprints = last.fingerprints;
    }
    let value = checkpoint
        .validations
        .best
        .map_or(String::new(), |best| format!(", with the best {} ({})", best.metric.name(), significant(best.value)));
    let last = step.map_or("the last one".into(), |step| format!("step {step}"));
    note(format_args!("Taking step {}{value}; --checkpoint last takes {last}.", checkpoint.step));
    note_left_out(path, &checkpoint.left_out()?);
    Ok((checkpoint, path.into()))
}

/// The last checkpoint of a run, with a note when it is the one before.
///
/// # Errors
/// As [`Checkpoint::of_run`].
pub fn load_last(run: &Path) -> Result<(Checkpoint, PathBuf)> {
    if Record::path(run).is_file() && !Checkpoint::path(run).exists() {
        let problem = "is the folder of a sweep; name one of the runs in it";
        return Err(Error::BadInput { what: run.display().to_string(), problem: problem.into() });
    }
    let (checkpoint, path, damaged) = Checkpoint::of_run(run)?;
    if let Some(error) = damaged {
        note(format_args!("{error}; taking the checkpoint before it, of step {}.", checkpoint.step));
    }
    if !checkpoint.has_checksum {
        note(format_args!("{} is of an early version and has no checksum: damage to it is not seen.", path.display()));
    }
    if checkpoint.step == 0 {
        note(format_args!("{} has not been trained: its weights are the initial ones.", run.display()));
    }
    note_left_out(&path, &checkpoint.left_out()?);
    Ok((checkpoint, path))
}
