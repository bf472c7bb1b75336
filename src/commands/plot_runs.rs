//! `retrospect plot`: several runs in one figure.

use std::path::{Path, PathBuf};

use clap::Args;
use retrospect::train::Overview;
use retrospect::{Error, Result};

use super::files::refuse_overwrite;
use super::plot;
use super::runs::{name_of, without_control};
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
            let metrics = Overview::read(path)?.metrics?;
            match metrics.is_empty() {
                true => Err(Error::BadInput { what: path.display().to_string(), problem: "has no metrics to draw".into() }),
                false => Ok((self.name(path), metrics)),
            }
        };
        let runs = self.runs.iter().map(read).collect::<Result<Vec<_>>>()?;
        plot::runs(&self.out, &runs)?;
        note(format_args!("{}", self.out.display()));
        Ok(())
    }

    /// The name of a run's folder, or all of its path where others have the same name.
    fn name(&self, run: &Path) -> String {
        let name = name_of(run);
        let is_alone = self.runs.iter().filter(|other| name_of(other) == name).count() == 1;
        if is_alone { name } else { without_control(&run.display().to_string()) }
    }
}
