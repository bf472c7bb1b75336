//! `retrospect runs`: which runs there are, and what each has come to.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;
use retrospect::train::{Best, BestBy, Header, Overview};
use retrospect::{Error, Result};
use serde_json::{Value, json};

use super::terminal::{note, print, print_json, significant, table, thousands};

/// The folder in which runs lie where nothing else is said.
const USUAL: &str = "runs";

/// Lists the runs in a folder: data, network, steps, best validation, time and device
#[derive(Args)]
pub struct Runs {
    /// The folder with the folders of runs
    #[arg(value_name = "DIR", default_value = USUAL)]
    folder: PathBuf,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A run, by the name of its folder.
struct FoundRun {
    name: String,
    path: PathBuf,
    run: Overview,
}

impl Runs {
    pub fn run(&self) -> Result<()> {
        let runs = self.find()?;
        if self.json {
            return print_json(&runs.iter().map(FoundRun::describe).collect::<Vec<_>>());
        }
        if runs.is_empty() {
            note(format_args!("There are no runs in {}.", self.folder.display()));
            return Ok(());
        }
        let heading = ["run", "data", "network", "steps", "loss", "best validation", "time", "device"];
        let rows = std::iter::once(heading.map(String::from).to_vec()).chain(runs.iter().map(FoundRun::row));
        print(&table(&rows.collect::<Vec<_>>()))
    }

    /// The folder itself, if it is that of a run, or the runs in it, by their names.
    fn find(&self) -> Result<Vec<FoundRun>> {
        let failed = |e| Error::BadInput { what: self.folder.display().to_string(), problem: format!("cannot be read: {e}") };
        let mut paths = vec![self.folder.clone()];
        if !Overview::is_run(&self.folder) {
            let entries = match std::fs::read_dir(&self.folder) {
                // Where no folder is named, none is needed.
                Err(e) if e.kind() == ErrorKind::NotFound && self.folder == Path::new(USUAL) => return Ok(Vec::new()),
                entries => entries.map_err(failed)?,
            };
            paths = entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect::<Result<_>>()?;
            paths.retain(|path| Overview::is_run(path));
            paths.sort();
        }
        let read = |path: PathBuf| match Overview::read(&path) {
            Ok(run) => {
                run.metrics.as_ref().err().iter().for_each(note);
                Some(FoundRun { name: name_of(&path), path, run })
            }
            Err(error) => {
                note(format_args!("{error}; left out."));
                None
            }
        };
        Ok(paths.into_iter().filter_map(read).collect())
    }
}

/// The name of a folder; of `.` its place.
pub fn name_of(path: &Path) -> String {
    let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    without_control(&name)
}

/// A text without control characters, for tables and figures.
pub fn without_control(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

impl FoundRun {
    /// Its data, in a word.
    fn data(&self) -> String {
        let data = &self.run.header.settings.data;
        data.path().map_or_else(|| data.name().to_owned(), name_of)
    }

    /// Its network, in a few characters.
    fn network(&self) -> String {
        let network = &self.run.header.settings.network;
        let layers = if network.layers == 1 { String::new() } else { format!("{} × ", network.layers) };
        let both = if network.bidirectional { ", both ways" } else { "" };
        format!("{} {layers}{}{both}", network.cell, network.hidden)
    }

    fn row(&self) -> Vec<String> {
        let Header { settings, step, validations, device, .. } = &self.run.header;
        let sign = |best: &Best| if best.metric == BestBy::Accuracy { "accuracy " } else { "" };
        let best = validations.best.map(|best| format!("{}{} at {}", sign(&best), significant(best.value), thousands(best.step)));
        let steps = if *step < settings.steps {
            let end = if validations.have_lost(settings.patience) { ", stopped early" } else { "" };
            format!("{} of {}{end}", thousands(*step), thousands(settings.steps))
        } else {
            thousands(*step)
        };
        vec![
            self.name.clone(),
            self.data(),
            self.network(),
            steps,
            self.run.loss().map_or(String::new(), significant),
            best.unwrap_or_default(),
            self.run.seconds().map_or(String::new(), duration),
            device.adapter.clone(),
        ]
    }

    fn describe(&self) -> Value {
        let Header { settings, step, validations, device, .. } = &self.run.header;
        json!({
            "run": self.path.display().to_string(),
            "data": self.data(),
            "cell": settings.network.cell,
            "layers": settings.network.layers,
            "hidden": settings.network.hidden,
            "bidirectional": settings.network.bidirectional,
            "parameters": settings.network.parameters(),
            "step": step,
            "steps": settings.steps,
            "loss": self.run.loss(),
            "best": validations.best,
            "seconds": self.run.seconds(),
            "backend": device.backend,
            "adapter": device.adapter,
        })
    }
}

/// Seconds, or minutes or hours with them.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 59.95 => format!("{s:.1} s"),
        s if s < 3599.5 => format!("{:.0} min {:02.0} s", (s.round() / 60.0).floor(), s.round() % 60.0),
        s => format!("{:.0} h {:02.0} min", (s.round() / 3600.0).floor(), (s.round() % 3600.0 / 60.0).floor()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        let all = [0.04, 59.94, 59.96, 125.9, 3599.0, 3599.7, 90_061.0].map(duration);
        assert_eq!(all, ["0.0 s", "59.9 s", "1 min 00 s", "2 min 06 s", "59 min 59 s", "1 h 00 min", "25 h 01 min"]);
    }
}
