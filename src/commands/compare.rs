//! `retrospect plot`: several runs in one figure.

use std::path::PathBuf;

use clap::Args;
use retrospect::train::Overview;
use retrospect::{Error, Result};

use super::files::refuse_overwrite;
use super::plot;
use super::runs::name_of;
use super::terminal::note;

/// Draws losses, validation, learning rate and gradient norm of several runs in one figure
#[derive(Args)]
pub struct Plot {
    /// The folders of the runs
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,

    /// Where the figure goes, by its name as SVG or PNG
    #[arg(long, value_name = "FILE", value_parser = plot::file)]
    out: PathBuf,
}

impl Plot {
    pub fn run(&self) -> Result<()> {
        refuse_overwrite("--out", &self.out, self.runs.iter().map(PathBuf::as_path))?;
        let read = |path: &PathBuf| {
            let run = Overview::read(path)?;
            match run.metrics.is_empty() {
                true => Err(Error::BadInput { what: path.display().to_string(), problem: "has no metrics to draw".into() }),
                false => Ok((name_of(path), run.metrics)),
            }
        };
        let runs = self.runs.iter().map(read).collect::<Result<Vec<_>>>()?;
        plot::runs(&self.out, &runs)?;
        note(format_args!("{}", self.out.display()));
        Ok(())
    }
}
