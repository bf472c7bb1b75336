//! `retrospect plot`: several runs in one figure.

use std::path::{Path, PathBuf};

use clap::Args;
use retrospect::train::{Checkpoint, Overview};
use retrospect::{Error, Result};

use super::files::refuse_overwrite;
use super::plot;
use super::runs::{name_of, without_control};
use super::sweep::Record;
use super::terminal::note;

/// Draws losses, validation, learning rate and gradient norm of several runs in one figure
#[derive(Args)]
pub struct Plot {
    /// The folders of the runs, or of sweeps
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,

    /// Where the figure goes, by its name as SVG or PNG
    #[arg(long, value_name = "FILE", value_parser = plot::file)]
    out: PathBuf,
}

impl Plot {
    pub fn run(&self) -> Result<()> {
        let mut paths = Vec::new();
        for path in &self.runs {
            paths.extend(runs_of(path)?);
        }
        let files: Vec<PathBuf> = paths.iter().flat_map(|run| Checkpoint::files(run)).chain(self.runs.clone()).collect();
        refuse_overwrite("--out", &self.out, files.iter().map(PathBuf::as_path))?;
        let mut runs = Vec::new();
        for path in &paths {
            match Overview::read(path)?.metrics? {
                metrics if metrics.is_empty() => note(format_args!("{} has no metrics and is left out.", path.display())),
                metrics => runs.push((name(path, &paths), metrics)),
            }
        }
        if runs.is_empty() {
            let all: Vec<String> = self.runs.iter().map(|run| run.display().to_string()).collect();
            return Err(Error::BadInput { what: all.join(", "), problem: "has no metrics to draw".into() });
        }
        plot::runs(&self.out, &runs)?;
        note(format_args!("{}", self.out.display()));
        Ok(())
    }
}

/// The folder of a run itself; of a sweep's folder those of its runs; and nothing of a plain file, such as a pattern of the shell may name.
fn runs_of(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        note(format_args!("{} is not the folder of a run and is left out.", path.display()));
        return Ok(Vec::new());
    }
    if Overview::is_run(path) || !Record::path(path).exists() {
        return Ok(vec![path.to_owned()]);
    }
    let runs = Record::read(path)?.runs.into_iter().map(|run| path.join(run.name));
    Ok(runs.filter(|run| Overview::is_run(run)).collect())
}

/// The name of a run's folder, or all of its path where others have the same name.
fn name(run: &Path, all: &[PathBuf]) -> String {
    let name = name_of(run);
    let is_alone = all.iter().filter(|other| name_of(other) == name).count() == 1;
    if is_alone { name } else { without_control(&run.display().to_string()) }
}
