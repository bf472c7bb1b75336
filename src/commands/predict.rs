//! `retrospect predict`.

mod feedback;
mod forecast;
mod labels;
mod output;
mod shown;

use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use ndarray::Array2;
use retrospect::batch::{InitialState, Input, Inputs, Loss, Sequences, TargetKind};
use retrospect::data::{DataFile, ReadSequences, Reading, note_unknown, read_content};
use retrospect::model::Config;
use retrospect::network::Network;
use retrospect::random::Random;
use retrospect::train::Checkpoint;
use retrospect::{Error, Result};

use self::feedback::Feedback;
use self::forecast::{Choice, Forecast};
use self::labels::Labels;
use self::output::{Output, Part};
use self::shown::Shown;
use super::bare::BareArgs;
use super::compute::ComputeArgs;
use super::evaluate::vocabulary_of;
use super::files::{in_file, refuse_overwrite};
use super::options::{FillArg, Names};
use super::terminal::note;
use super::trained::WhichArgs;

/// The windows of a part that is written before the next is computed.
const PART: usize = 64;
/// The time steps after a sequence that are written before the next are computed.
const FURTHER: usize = 1024;

/// Predicts from new inputs with a trained network
///
/// For a run trained on classes, the outputs are probabilities; for one trained on values, the values. Sequences and steps count from 0.
#[derive(Args)]
#[command(group = ArgGroup::new("source").required(true))]
pub struct Predict {
    /// The run's folder, a checkpoint, or weights alone (PyTorch's names), of which the head's own numbers are written
    run: PathBuf,

    /// Sequences: a table with the columns that the run reads (.csv or .tsv, or - for standard input), or `inputs` or `tokens`, optionally
    /// `lengths`, `h0`, `c0` (.safetensors or .npz; or a .npy of the inputs)
    #[arg(long, value_name = "FILE", group = "source")]
    data: Option<PathBuf>,

    /// A text, of which each next token is predicted: character, byte or word, as the run was trained
    #[arg(long, value_name = "FILE", group = "source")]
    text: Option<PathBuf>,

    /// Read --data as [B, T, …] instead of [T, B, …]; tensors are written time first
    #[arg(long, requires = "data")]
    batch_first: bool,

    /// Where the predictions go: .csv, .npz or .safetensors [default: a table on stdout, or CSV in a pipe]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Draw the predictions, with the truth where --data has it, or the confusion matrix of classes (.svg or .png)
    #[arg(long, value_name = "FILE", conflicts_with = "text", value_parser = super::plot::file)]
    plot: Option<PathBuf>,

    /// Columns of the table to write beside the predictions, such as dates: their values in the row that is predicted. A name with a comma in it goes in double quotes
    #[arg(long, value_name = "COLUMN,…", requires = "data", conflicts_with = "text", value_parser = super::options::names)]
    keep: Vec<Names>,

    #[command(flatten)]
    fill: FillArg,

    /// Write the last time step of each sequence only
    #[arg(long, conflicts_with = "steps")]
    last: bool,

    /// Go on for N time steps after each sequence; each reads the prediction of the one before, the first that of the last given time step
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 0, hide_default_value = true)]
    steps: u32,

    /// After the end of each sequence, draw classes at this temperature; 0 takes the most probable
    #[arg(long, value_name = "X", allow_negative_numbers = true, default_value_t = 0.0, requires = "steps", value_parser = super::options::not_negative)]
    temperature: f64,

    /// Random seed of --temperature
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 1)]
    seed: u64,

    #[command(flatten)]
    which: WhichArgs,

    #[command(flatten)]
    bare: BareArgs,

    #[command(flatten)]
    compute: ComputeArgs,
}

impl Predict {
    pub fn run(&self) -> Result<()> {
        let (checkpoint, ReadSequences { sequences, ids, truth, kept }, path) = self.open()?;
        let trained = &checkpoint.origin.settings.network;
        let feedback = if self.steps > 0 { Feedback::new(&checkpoint.origin)? } else { Feedback::default() };
        if self.temperature > 0.0 && trained.loss.target_kind() != TargetKind::Classes {
            return Err(Error::Usage("--temperature draws classes, and this run predicts values".into()));
        }
        self.check_out(path)?;
        let (steps, count) = sequences.shape();
        let (layers, _, hidden) = trained.state_shape();
        sequences.check(trained.input, layers, hidden, trained.cell.states).map_err(|e| in_file(path, e))?;
        let lengths = (0..count).map(|b| sequences.length(b)).collect();
        let shown = self.plot.as_ref().map(|_| Shown::new(trained, truth, lengths)).transpose()?;
        let labels = Labels::new(&checkpoint.origin, ids);
        let mut output = Output::open(self.out.as_deref(), trained, labels, [steps + self.steps as usize, count], self.last)?;
        output.keep(kept)?;
        output.show(shown);

        let config = Config {
            // A window of training is one that fits.
            window: if trained.bidirectional { steps } else { steps.min(trained.window.max(64)) },
            batch: count.min(trained.batch),
            lengths: sequences.lengths.is_some(),
            recompute: None,
            trace: false,
            ..trained.clone()
        };
        let batch = config.batch;
        let mut network = checkpoint.network(config, &self.compute.choose()?)?;
        let mut forecaster = (Choice { temperature: self.temperature, random: Random::for_sampling(self.seed) }, feedback);
        for first in (0..count).step_by(batch) {
            let group = first..count.min(first + batch);
            self.write_group(&mut network, &sequences, group, &mut forecaster, &mut output).map_err(|e| in_file(path, e))?;
        }
        let drawn = match (&self.plot, output.shown()) {
            (Some(path), Some((shown, labels))) => shown.draw(path, labels),
            _ => Ok(()),
        };
        output.finish().and(drawn)
    }

    /// Writes what is predicted of a group of sequences, and what follows them.
    fn write_group(
        &self,
        network: &mut Network,
        sequences: &Sequences,
        group: Range<usize>,
        (choice, feedback): &mut (Choice, Feedback),
        output: &mut Output,
    ) -> Result<()> {
        let (first, steps) = (group.start, sequences.shape().0);
        let config = network.model().config();
        // A long text or series in parts: what has been written needs no memory.
        let span = if config.bidirectional || config.lengths { steps } else { steps.min(config.window) * PART };
        let last = (steps - 1) / span * span;
        let mut part = sequences.part(group.clone(), 0..steps.min(span));
        for start in (0..last).step_by(span) {
            let found = network.predict(&part)?;
            output.write(&Part::new(first, vec![start; group.len()], &found.outputs))?;
            let next = start + span;
            part = sequences.part(group.clone(), next..steps.min(next + span));
            part.initial_state = InitialState::Given(found.states);
        }
        let found = network.predict(&part)?;
        let outputs = found.outputs.clone();
        let lengths: Vec<usize> = (0..group.len()).map(|b| part.length(b)).collect();
        let rows = Part { lengths: lengths.clone(), ..Part::new(first, vec![last; group.len()], &outputs) };
        if self.steps == 0 {
            output.write(&rows)?;
            return output.end(found.states);
        }
        let mut forecast = Forecast::new(network, choice, feedback, found, &lengths);
        output.write(&Part { chosen: forecast.classes.as_ref(), ..rows })?;
        for done in (0..self.steps as usize).step_by(FURTHER) {
            let (outputs, classes) = forecast.advance(FURTHER.min(self.steps as usize - done))?;
            let starts = lengths.iter().map(|length| last + length + done).collect();
            output.write(&Part { chosen: classes.as_ref(), ..Part::new(first, starts, &outputs) })?;
        }
        output.end(forecast.states)
    }

    /// The network, what is predicted from, and its file.
    fn open(&self) -> Result<(Checkpoint, ReadSequences, &PathBuf)> {
        let Some(file) = self.bare.open(&self.run)? else {
            let (checkpoint, _) = self.which.load(&self.run)?;
            let (read, path) = self.sequences(&checkpoint)?;
            return Ok((checkpoint, read, path));
        };
        self.which.expect_none(&self.run)?;
        let Some(path) = &self.data else {
            return Err(Error::Usage("--text needs a run that was trained on text; these are weights alone".into()));
        };
        let reading = Reading { layout: super::options::layout(self.batch_first), ..self.fill.change(Reading::default())? };
        let read = DataFile::read(path)?.sequences(path, &reading, None, self.plot.is_some(), &self.kept())?;
        let input = match &read.sequences.inputs {
            Inputs::Tokens(_) => Input::Tokens,
            Inputs::Vectors(_) => Input::Vectors,
        };
        // What is written of values is the head's own numbers.
        let checkpoint = self.bare.checkpoint(&self.run, file, input, (Loss::SquaredError, None))?;
        Ok((checkpoint, read, path))
    }

    /// What is predicted from, and its file.
    fn sequences(&self, checkpoint: &Checkpoint) -> Result<(ReadSequences, &PathBuf)> {
        if let Some(path) = &self.data {
            let reading = self.fill.change(checkpoint.origin.settings.reading.clone())?;
            let reading = Reading { layout: super::options::layout(self.batch_first), ..reading };
            let columns = checkpoint.origin.columns.as_ref();
            return Ok((DataFile::read(path)?.sequences(path, &reading, columns, self.plot.is_some(), &self.kept())?, path));
        }
        let path = self.text.as_ref().expect("one of both is required");
        let vocabulary = vocabulary_of(checkpoint)?;
        let tokens = vocabulary.encode(path.display(), read_content(path)?)?;
        if tokens.is_empty() {
            let problem = format!("is empty; expected at least one {}", vocabulary.tokens().noun());
            return Err(Error::BadInput { what: path.display().to_string(), problem });
        }
        note_unknown(path.display(), vocabulary, &tokens).iter().for_each(note);
        let tokens = Array2::from_shape_vec((tokens.len(), 1), tokens).expect("a row for each token");
        let sequences = Sequences::new(Inputs::Tokens(tokens));
        Ok((ReadSequences { sequences, ids: Vec::new(), truth: None, kept: None }, path))
    }

    /// The columns that are written beside the predictions.
    fn kept(&self) -> Vec<String> {
        self.keep.iter().flat_map(|Names(names)| names.iter().cloned()).collect()
    }

    /// Refuses to overwrite what is read.
    fn check_out(&self, input: &Path) -> Result<()> {
        let of_run = Checkpoint::files(&self.run);
        let files = || [input, self.run.as_path()].into_iter().chain(of_run.iter().map(PathBuf::as_path));
        self.out.iter().try_for_each(|out| refuse_overwrite("--out", out, files()))?;
        self.plot.iter().try_for_each(|plot| refuse_overwrite("--plot", plot, files()))
    }
}
