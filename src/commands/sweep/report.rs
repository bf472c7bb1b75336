//! What a sweep has come to: a table of its runs, the best first, and a figure.

use std::path::{Path, PathBuf};

use retrospect::train::{Best, BestBy, Overview};
use retrospect::{Error, Result, WholeFile};
use serde_json::{Map, Value, json};

use super::MEASURES;
use super::record::{Record, Run, validation_up_to};
use crate::commands::plot;
use crate::commands::runs::duration;
use crate::commands::terminal::{note, print, print_json, significant, table, thousands};

/// Runs in the figure, at most: the best ones.
const DRAWN: usize = 8;

/// The runs of a sweep, the best first and those that failed last.
pub struct Report<'a> {
    folder: &'a Path,
    flags: &'a [String],
    rows: Vec<Row<'a>>,
    /// Whether the runs are measured by the same.
    is_ranked: bool,
}

struct Row<'a> {
    run: &'a Run,
    path: PathBuf,
    /// Of a run that has begun.
    overview: Option<Overview>,
    score: Option<f64>,
}

impl<'a> Report<'a> {
    /// Reads what there is of each run.
    ///
    /// # Errors
    /// [`Error::BadInput`] for a folder of a run that cannot be read.
    pub fn new(folder: &'a Path, record: &'a Record) -> Result<Report<'a>> {
        let row = |run: &'a Run| {
            let path = folder.join(&run.name);
            let overview = if Overview::is_run(&path) { Some(Overview::read(&path)?) } else { None };
            if let Some(Err(error)) = overview.as_ref().map(|overview| &overview.metrics) {
                note(error);
            }
            let score = overview.as_ref().filter(|_| run.failed.is_none()).and_then(score);
            Ok(Row { run, path, overview, score })
        };
        let mut rows = record.runs.iter().map(row).collect::<Result<Vec<Row>>>()?;
        let unequal = record.flags.iter().find(|flag| MEASURES.contains(&flag.as_str()));
        // Losses of training are no measure beside validations.
        let is_validated = rows.iter().all(|row| row.run.failed.is_some() || row.is_validated());
        let is_without = rows.iter().all(|row| !row.is_validated());
        let is_ranked = unequal.is_none() && (is_validated || is_without);
        if is_ranked {
            rows.sort_by(|a, b| a.score.unwrap_or(f64::INFINITY).total_cmp(&b.score.unwrap_or(f64::INFINITY)));
        } else {
            let why =
                unequal.map_or("some have no validation".into(), |flag| format!("--{flag} changes what they are measured by"));
            note(format_args!("None of the runs is the best: {why}."));
        }
        Ok(Report { folder, flags: &record.flags, rows, is_ranked })
    }

    /// The folder of the best run.
    pub fn best(&self) -> Option<&Path> {
        self.rows.first().filter(|row| self.is_ranked && row.score.is_some()).map(|row| &*row.path)
    }

    /// Writes the table as `sweep.csv`, and draws `sweep.svg`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self) -> Result<()> {
        let path = self.folder.join("sweep.csv");
        let failed = |source: std::io::Error| Error::Io { path: path.clone(), source };
        let mut writer = csv::Writer::from_writer(WholeFile::create_plain(&path)?);
        let heading = ["run"].into_iter().chain(self.flags.iter().map(String::as_str));
        let heading: Vec<&str> =
            heading.chain(["step", "best_value", "best_step", "training_loss", "seconds", "failed"]).collect();
        writer.write_record(heading).map_err(|e| failed(e.into()))?;
        for row in &self.rows {
            let number = |x: Option<f64>| x.map_or(String::new(), |x| x.to_string());
            let header = row.overview.as_ref().map(|overview| &overview.header);
            let best = header.and_then(|header| header.validations.best);
            let numbers = [
                header.map_or(String::new(), |header| header.step.to_string()),
                number(best.map(|best| best.value)),
                best.map_or(String::new(), |best| best.step.to_string()),
                number(row.overview.as_ref().and_then(Overview::loss)),
                number(row.overview.as_ref().and_then(Overview::seconds)),
                row.run.failed.as_ref().map_or(String::new(), |failed| failed.why.clone()),
            ];
            let cells = std::iter::once(row.run.name.clone()).chain(row.run.values.clone()).chain(numbers);
            writer.write_record(cells).map_err(|e| failed(e.into()))?;
        }
        writer.into_inner().map_err(|e| failed(e.into_error()))?.complete()?;
        self.draw()
    }

    fn draw(&self) -> Result<()> {
        let of = |row: &Row| {
            let metrics = row.overview.as_ref()?.metrics.as_ref().ok()?.clone();
            (row.score.is_some() && !metrics.is_empty()).then(|| (row.run.name.clone(), metrics))
        };
        let runs: Vec<_> = self.rows.iter().filter_map(of).collect();
        if runs.is_empty() {
            return Ok(());
        }
        let path = self.folder.join("sweep.svg");
        plot::runs(&path, &runs[..runs.len().min(DRAWN)])?;
        let which = if runs.len() > DRAWN { format!(" (the best {DRAWN} of {})", runs.len()) } else { String::new() };
        note(format_args!("{}{which}", path.display()));
        Ok(())
    }

    pub fn print(&self) -> Result<()> {
        let flags = self.flags.iter().map(String::as_str);
        let best: Vec<Best> = self.rows.iter().filter_map(Row::best).collect();
        let is_accuracy = !best.is_empty() && best.iter().all(|best| best.metric == BestBy::Accuracy);
        let measure = if is_accuracy { "best accuracy" } else { "best validation" };
        let heading: Vec<String> = ["run"].into_iter().chain(flags).chain(["steps", measure, "time"]).map(String::from).collect();
        let rows = std::iter::once(heading).chain(self.rows.iter().map(Row::cells)).collect::<Vec<_>>();
        print(&table(&rows))?;
        if self.flags == ["seed"] && self.is_ranked && best.len() > 1 {
            let values: Vec<f64> = best.iter().map(|best| best.value).collect();
            let (mean, deviation) = mean_and_deviation(&values);
            let spread = format!("{} ± {}", significant(mean), significant(deviation));
            print(&format!("\nThe {measure} over {} seeds, mean ± standard deviation: {spread}\n", values.len()))?;
        }
        match self.best() {
            Some(best) => print(&format!("\nBest: {}\n", best.display())),
            None => Ok(()),
        }
    }

    pub fn print_json(&self) -> Result<()> {
        let describe = |row: &Row| {
            let values: Map<String, Value> =
                self.flags.iter().zip(&row.run.values).map(|(flag, value)| (flag.clone(), json!(value))).collect();
            let header = row.overview.as_ref().map(|overview| &overview.header);
            json!({
                "run": row.path.display().to_string(),
                "values": values,
                "step": header.map(|header| header.step),
                "steps": header.map(|header| header.settings.steps),
                "best": header.and_then(|header| header.validations.best),
                "loss": row.overview.as_ref().and_then(Overview::loss),
                "seconds": row.overview.as_ref().and_then(Overview::seconds),
                "failed": row.run.failed.as_ref().map(|failed| &failed.why),
            })
        };
        let best = self.best().map(|path| path.display().to_string());
        print_json(&json!({ "best": best, "runs": self.rows.iter().map(describe).collect::<Vec<_>>() }))
    }
}

/// The mean of some numbers, at least two, and the standard deviation of what they were drawn from (over n − 1).
fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (mean, (squares / (values.len() - 1) as f64).sqrt())
}

/// What a run has come to, the lower, the better: its best validation, or without any its last loss of training.
fn score(run: &Overview) -> Option<f64> {
    let validations = &run.header.validations;
    let known = validations.best.map(|best| if best.metric == BestBy::Accuracy { -best.value } else { best.value });
    let found = run.metrics.as_ref().ok().and_then(|lines| validation_up_to(lines, run.header.settings.best_by, u64::MAX));
    known.or(found).or_else(|| run.loss())
}

impl Row<'_> {
    /// Its best validation, of a run that did not fail.
    fn best(&self) -> Option<Best> {
        self.overview.as_ref().filter(|_| self.run.failed.is_none())?.header.validations.best
    }

    fn is_validated(&self) -> bool {
        self.overview.as_ref().is_some_and(|overview| overview.header.validations.best.is_some())
    }

    /// The cells of the table.
    fn cells(&self) -> Vec<String> {
        let number = self.run.name.split('-').next().unwrap_or_default().to_owned();
        let header = self.overview.as_ref().map(|overview| &overview.header);
        let best = header.and_then(|header| header.validations.best);
        let seconds = self.overview.as_ref().and_then(Overview::seconds);
        let found = match &self.run.failed {
            Some(_) => "failed".into(),
            None => best.map_or(String::new(), |best| format!("{} at {}", significant(best.value), thousands(best.step))),
        };
        let step = header.map_or(String::new(), |header| thousands(header.step));
        let rest = [step, found, seconds.map_or(String::new(), duration)];
        std::iter::once(number).chain(self.run.values.clone()).chain(rest).collect()
    }
}
