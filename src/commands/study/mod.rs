//! `retrospect study`: what activations do, as tables and pictures.

mod activations;
mod gradients;
mod rates;
mod tasks;
mod training;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use retrospect::{Error, Result, WholeFile};

use super::plot;
use super::terminal::{note, print, print_json};

/// Shows what activations are, and what they do to gradients on their way back through time
#[derive(Args)]
pub struct Study {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Activations(activations::Activations),
    Gradients(gradients::Gradients),
    Rates(rates::Rates),
    Tasks(tasks::Tasks),
}

impl Study {
    pub fn run(&self) -> Result<()> {
        match &self.what {
            What::Activations(study) => study.run(),
            What::Gradients(study) => study.run(),
            What::Rates(study) => study.run(),
            What::Tasks(study) => study.run(),
        }
    }
}

#[derive(Args)]
struct Output {
    /// Draw it, as SVG or PNG
    #[arg(long, value_name = "FILE.svg|png", value_parser = plot::file)]
    plot: Option<PathBuf>,

    /// Write the curves as CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,

    /// Print all numbers as JSON
    #[arg(long)]
    json: bool,
}

impl Output {
    /// Draws where that was asked for.
    fn plot(&self, draw: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let Some(path) = &self.plot else { return Ok(()) };
        draw(path)?;
        note(format_args!("Plot: {}", path.display()));
        Ok(())
    }

    /// Writes numbers where that was asked for.
    fn csv(&self, heading: &str, rows: impl Iterator<Item = String>) -> Result<()> {
        let Some(path) = &self.csv else { return Ok(()) };
        let text = std::iter::once(heading.to_owned()).chain(rows).collect::<Vec<_>>().join("\n") + "\n";
        let mut file = WholeFile::create(path)?;
        file.write_all(text.as_bytes()).map_err(|source| Error::Io { path: path.into(), source })?;
        file.complete()?;
        note(format_args!("Numbers: {}", path.display()));
        Ok(())
    }

    /// Prints the numbers as JSON if that was asked for, or else what `text` makes of them; and then says what came of the files, so that
    /// one that could not be written does not lose what took minutes to train.
    fn print(&self, numbers: &impl serde::Serialize, text: impl FnOnce() -> String, files: [Result<()>; 2]) -> Result<()> {
        if self.json {
            print_json(numbers)?
        } else {
            print(&text())?
        }
        files.into_iter().collect()
    }
}

/// A size of inputs or weights: what is further from 1 neither f32 nor a figure has room for.
fn moderate(text: &str) -> std::result::Result<f64, String> {
    const ENDS: std::ops::RangeInclusive<f64> = 1e-6..=1e6;
    positive(text).and_then(|x| if ENDS.contains(&x) { Ok(x) } else { Err(format!("{x} is not from 1e-6 to 1e6")) })
}

fn positive(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x.is_finite() && x > 0.0 => Ok(x),
        Ok(x) => Err(format!("{x} is not a positive number")),
        Err(error) => Err(error.to_string()),
    }
}
