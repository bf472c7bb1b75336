//! `retrospect evaluate`.

mod report;
mod sequences;

use std::path::{Path, PathBuf};

use clap::Args;
use retrospect::batch::{Input, TargetKind};
use retrospect::data::{HeldOut, Part, Reading, Source, Text, Vocabulary, open_to_measure, read_content};
use retrospect::model::Config;
use retrospect::train::{Checkpoint, evaluate, evaluate_sequences};
use retrospect::{Error, Result};

use self::report::Report;
use self::sequences::Sequences;
use super::compute::ComputeArgs;
use super::files::{expect_utf8, refuse_overwrite};
use super::missing::advise;
use super::options::FillArg;
use super::terminal::note;
use super::trained::WhichArgs;

/// Measures a trained network on held-out data
#[derive(Args)]
pub struct Evaluate {
    /// The run's folder, or a checkpoint
    run: PathBuf,

    /// Measure on this text instead of the run's held-out data
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    text: Option<PathBuf>,

    /// Measure on these sequences or this series instead (a table, .safetensors or .npz, as for `train`)
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,

    /// Read tensors of --data as [B, T, …] instead of [T, B, …]
    #[arg(long, requires = "data", conflicts_with = "text")]
    batch_first: bool,

    #[command(flatten)]
    fill: FillArg,

    /// The held-out part of the run's own data [default: test, if the run has one]
    #[arg(long, value_name = "PART", conflicts_with_all = ["text", "data"])]
    part: Option<Part>,

    /// Write what is measured of each sequence to this table (.csv), and print the least, the median and the largest
    #[arg(long, value_name = "FILE", value_parser = sequences::file, conflicts_with_all = ["text", "json"])]
    sequences: Option<PathBuf>,

    #[command(flatten)]
    which: WhichArgs,

    /// Print JSON; a perplexity beyond f64 is "infinity"
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    compute: ComputeArgs,
}

impl Evaluate {
    pub fn run(&self) -> Result<()> {
        if self.json {
            expect_utf8(&self.run)?;
        }
        let (checkpoint, path) = self.which.load(&self.run)?;
        let (mut source, what, ids) = self.source(&checkpoint)?;
        self.check_sequences(&checkpoint, &*source, &what)?;
        if source.held_out_batches() == 0 {
            return Err(Error::BadInput {
                what,
                problem: "nothing is held out of it, or too little for one prediction; --text or --data measures on another file"
                    .into(),
            });
        }
        let trained = &checkpoint.origin.settings.network;
        let shape = source.shape();
        let wrong = |tensor: &str, wanted: usize, found: usize| Error::BadInput {
            what: what.clone(),
            problem: format!("{tensor}: expected {wanted} numbers a step, as the run was trained on, got {found}"),
        };
        match (trained.input, shape.input) {
            (Input::Vectors(wanted), Input::Vectors(found)) if wanted != found => return Err(wrong("inputs", wanted, found)),
            _ => {}
        }
        if shape.kind == TargetKind::Values && trained.loss.target_kind() == shape.kind && trained.targets() != shape.targets {
            return Err(wrong("values", trained.targets(), shape.targets));
        }
        let (window, batch) = source.window();
        let lengths = source.has_lengths();
        let config = Config { window, batch, lengths, ..trained.clone() };
        let mut network = checkpoint.network(config, &self.compute.choose()?)?;
        let batches = source.held_out_batches();
        let named = |error| match error {
            Error::BadInput { what: tensor, problem } => Error::BadInput { what: format!("{what}: {tensor}"), problem },
            other => other,
        };
        let found = match &self.sequences {
            Some(_) => evaluate_sequences(&mut network, &mut *source),
            None => evaluate(&mut network, batches, |k| source.held_out(k), true),
        };
        let found = found.map_err(named)?;
        if !found.loss.is_finite() {
            return Err(Error::NotFinite { tensor: "loss".into() });
        }
        let report = Report { checkpoint: &checkpoint, found: &found };
        if let Some(path) = &self.sequences {
            let each = Sequences::new(&checkpoint, &found.sequences, &ids);
            report.print()?;
            each.print()?;
            return each.write(path);
        }
        if self.json { report.print_json(&self.run, &path) } else { report.print() }
    }

    /// Checks that there are sequences to tell apart, and that the table does not take the place of what is read.
    fn check_sequences(&self, checkpoint: &Checkpoint, source: &dyn Source, what: &str) -> Result<()> {
        let Some(path) = &self.sequences else { return Ok(()) };
        if source.held_out_batches() > 0 && source.held_out_sequences(0).is_empty() {
            return Err(Error::Usage(format!("--sequences: {what} has no sequences to tell apart")));
        }
        let settings = &checkpoint.origin.settings;
        let mut read = Checkpoint::files(&self.run);
        read.push(self.run.clone());
        read.extend(self.data.clone().or_else(|| settings.data.path().map(Path::to_owned)));
        for part in [Part::Validation, Part::Test] {
            read.extend(settings.reading.file_of(part).map(Path::to_owned));
        }
        refuse_overwrite("--sequences", path, read.iter().map(PathBuf::as_path))
    }

    /// The held-out data, what they are called in messages, and what their sequences are called.
    fn source(&self, checkpoint: &Checkpoint) -> Result<(Box<dyn Source>, String, Vec<String>)> {
        let (settings, columns) = (&checkpoint.origin.settings, checkpoint.origin.columns.as_ref());
        let Config { batch, window, .. } = settings.network;
        match (&self.text, &self.data) {
            (Some(path), _) => {
                let vocabulary = vocabulary_of(checkpoint)?;
                let what = path.display().to_string();
                let text = Text::with_vocabulary(&what, read_content(path)?, vocabulary.clone(), batch, window)?;
                text.note_unknown(&what).iter().for_each(note);
                Ok((Box::new(text), what, Vec::new()))
            }
            (None, Some(path)) => {
                let reading = self.fill.change(settings.reading.clone())?;
                let reading = Reading { layout: super::options::layout(self.batch_first), ..reading };
                let opened = open_to_measure(path, &settings.options(), &reading, columns)?;
                opened.notes.iter().for_each(note);
                Ok((opened.source, path.display().to_string(), opened.measured_ids))
            }
            (None, None) => {
                let has_test = settings.reading.test != HeldOut::Share(0.0);
                if self.part == Some(Part::Test) && !has_test {
                    return Err(Error::Usage("this run has no test part; `train --test` keeps one".into()));
                }
                let part = self.part.unwrap_or(if has_test { Part::Test } else { Part::Validation });
                let opened = checkpoint.origin.open(part).map_err(|error| {
                    advise(error, &settings.data, "{flag} FILE measures on a file at another place, on all of it")
                })?;
                checkpoint.expect_measured(&opened, part)?;
                note(format_args!("Measured on the {} part.", if part == Part::Test { "test" } else { "validation" }));
                let what = settings.data.what();
                Ok((opened.source, what, opened.measured_ids))
            }
        }
    }
}

/// The vocabulary of a run on a text, which --text is read with.
///
/// # Errors
/// [`Error::Usage`] when it was trained on something else.
pub fn vocabulary_of(checkpoint: &Checkpoint) -> Result<&Vocabulary> {
    let name = checkpoint.origin.settings.data.name();
    let problem = || Error::Usage(format!("--text needs a run that was trained on text; this one was trained on {name}"));
    checkpoint.origin.vocabulary.as_ref().ok_or_else(problem)
}
