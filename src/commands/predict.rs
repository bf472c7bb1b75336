//! `retrospect predict`.

mod output;

use std::path::{Path, PathBuf};

use clap::Args;
use ndarray::{Array2, Array3, ArrayView1, Axis, s};
use retrospect::batch::{InitialState, Input, Inputs, Loss, Sequences, States};
use retrospect::data::{Vocabulary, read_text};
use retrospect::model::{Config, Optimizer};
use retrospect::network::Network;
use retrospect::random::Random;
use retrospect::tensors::read_sequences;
use retrospect::train::Checkpoint;
use retrospect::{Error, Result};

use self::output::{Output, Part};
use super::compute::ComputeArgs;
use super::evaluate::load;
use super::gradient::in_file;
use super::sample::draw;

/// The windows of a part that is written before the next is computed.
const PART: usize = 64;
/// The time steps after a sequence that are written before the next are computed.
const FURTHER: usize = 1024;

/// Predicts from new inputs with a trained network
///
/// For a run trained on classes, the outputs are probabilities; for one trained on values, the values. Sequences and steps count from 0.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    retrospect predict runs/lstm --data new.npz --out predictions.csv\n  \
    retrospect predict runs/lstm --data new.safetensors --steps 24 --out forecast.npz")]
pub struct Predict {
    /// The run's folder, or a checkpoint
    run: PathBuf,

    /// Sequences: `inputs` or `tokens`, optionally `lengths`, `h0`, `c0` (.safetensors or .npz; or a .npy of the inputs)
    #[arg(long, value_name = "FILE", required_unless_present = "text", conflicts_with = "text")]
    data: Option<PathBuf>,

    /// A text, of which each next character is predicted
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,

    /// Read --data as [B, T, …] instead of [T, B, …]; tensors are written time first
    #[arg(long, requires = "data")]
    batch_first: bool,

    /// Where the predictions go: .csv, .npz or .safetensors [default: a table on stdout, or CSV in a pipe]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Write the last time step of each sequence only
    #[arg(long, conflicts_with = "steps")]
    last: bool,

    /// Go on for N time steps after each sequence, each reading the prediction of the one before; that of the last given time step is the
    /// first
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 0, hide_default_value = true)]
    steps: u32,

    /// Draw the classes from the end of each sequence on from the probabilities; 0 takes the most probable
    #[arg(long, value_name = "X", allow_negative_numbers = true, default_value_t = 0.0, requires = "steps", value_parser = super::options::not_negative)]
    temperature: f64,

    /// Random seed of --temperature
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 1)]
    seed: u64,

    #[command(flatten)]
    compute: ComputeArgs,
}

impl Predict {
    pub fn run(&self) -> Result<()> {
        let (checkpoint, _) = load(&self.run)?;
        let trained = &checkpoint.origin.settings.network;
        let (sequences, path) = self.sequences(&checkpoint)?;
        if self.steps > 0 {
            check_feedback(trained)?;
        }
        if self.temperature > 0.0 && trained.loss != Loss::CrossEntropy {
            return Err(Error::Usage("--temperature draws classes, and this run predicts values".into()));
        }
        self.check_out(path)?;
        let (steps, count) = sequences.shape();
        let (layers, _, hidden) = trained.state_shape();
        sequences.check(trained.input, layers, hidden, trained.cell.states).map_err(|e| in_file(path, e))?;
        let vocabulary = checkpoint.origin.vocabulary.as_ref();
        let mut output = Output::open(self.out.as_deref(), trained, vocabulary, [steps + self.steps as usize, count], self.last)?;
        // A window of training is one that fits.
        let window = if trained.bidirectional { steps } else { steps.min(trained.window.max(64)) };
        let config = Config {
            window,
            batch: count.min(trained.batch),
            lengths: sequences.lengths.is_some(),
            optimizer: Optimizer::Sgd,
            recompute: None,
            trace: false,
            ..trained.clone()
        };
        let mut network = Network::new(&config, &self.compute.choose()?)?;
        checkpoint.load_parameters(&mut network)?;
        let mut random = Random::for_sampling(self.seed);
        // A long text or series in parts: what has been written needs no memory.
        let span = if trained.bidirectional || sequences.lengths.is_some() { steps } else { window * PART };
        for first in (0..count).step_by(config.batch) {
            let group = first..count.min(first + config.batch);
            let mut states = None;
            for start in (0..steps).step_by(span) {
                let mut part = sequences.part(group.clone(), start..steps.min(start + span));
                if let Some(states) = states.take() {
                    part.initial_state = InitialState::Given(states);
                }
                let found = network.predict(&part).map_err(|e| in_file(path, e))?;
                let lengths: Vec<usize> = (0..group.len()).map(|b| part.length(b)).collect();
                let mut end =
                    End { network: &mut network, states: found.states, temperature: self.temperature, random: &mut random };
                let is_end = start + span >= steps;
                let drawn = if is_end && self.steps > 0 { end.draw_last(&found.outputs, &lengths) } else { Vec::new() };
                let starts = vec![start; group.len()];
                output.write(&Part { first, starts, outputs: &found.outputs, lengths: &lengths, drawn: &drawn })?;
                if is_end {
                    let starts = lengths.iter().map(|length| start + length).collect();
                    end.go_on(self.steps as usize, &found.outputs, (starts, &lengths), drawn, first, &mut output)?;
                    output.end(end.states)?;
                } else {
                    states = Some(end.states);
                }
            }
        }
        output.finish()
    }

    /// What is predicted from, and its file.
    fn sequences(&self, checkpoint: &Checkpoint) -> Result<(Sequences, &PathBuf)> {
        if let Some(path) = &self.data {
            let sequences = read_sequences(path, super::options::layout(self.batch_first))?;
            return Ok((sequences, path));
        }
        let path = self.text.as_ref().expect("one of both is required");
        let Some(vocabulary) = &checkpoint.origin.vocabulary else {
            let name = checkpoint.origin.settings.data.name();
            return Err(Error::Usage(format!("--text needs a run that was trained on text; this one was trained on {name}")));
        };
        let tokens = vocabulary.encode(path.display(), &read_text(path)?)?;
        if tokens.is_empty() {
            return Err(Error::BadInput {
                what: path.display().to_string(),
                problem: "is empty; expected at least one character".into(),
            });
        }
        let tokens = Array2::from_shape_vec((tokens.len(), 1), tokens).expect("a row for each token");
        Ok((Sequences::new(Inputs::Tokens(tokens)), path))
    }

    /// Refuses to overwrite what is read.
    fn check_out(&self, input: &Path) -> Result<()> {
        let files = [input, &self.run, &Checkpoint::path(&self.run), &Checkpoint::previous_path(&self.run)].map(Path::to_owned);
        let out = self.out.as_ref().and_then(|out| out.canonicalize().ok());
        match files.iter().find(|path| out.is_some() && path.canonicalize().ok() == out) {
            Some(path) => Err(Error::Usage(format!("--out would overwrite {}", path.display()))),
            None => Ok(()),
        }
    }
}

/// The end of a group of sequences, from which it goes on.
struct End<'a> {
    network: &'a mut Network,
    states: States,
    temperature: f64,
    random: &'a mut Random,
}

impl End<'_> {
    /// The class that follows each sequence; nothing for values.
    fn draw_last(&mut self, outputs: &Array3<f32>, lengths: &[usize]) -> Vec<Vec<u32>> {
        if self.network.model().config().loss != Loss::CrossEntropy {
            return Vec::new();
        }
        let last = |(place, length): (usize, &usize)| vec![self.draw(outputs.slice(s![length - 1, place, ..]))];
        lengths.iter().enumerate().map(last).collect()
    }

    fn draw(&mut self, logits: ArrayView1<f32>) -> u32 {
        draw(&logits.to_vec(), self.temperature, self.random.uniform())
    }

    /// Writes what follows each sequence, a time step at a time: what was predicted or drawn last is read next.
    fn go_on(
        &mut self,
        steps: usize,
        outputs: &Array3<f32>,
        (mut starts, lengths): (Vec<usize>, &[usize]),
        mut drawn: Vec<Vec<u32>>,
        first: usize,
        output: &mut Output,
    ) -> Result<()> {
        let (_, count, width) = outputs.dim();
        let mut last: Array2<f32> = Array2::from_shape_fn((count, width), |(b, o)| outputs[[lengths[b] - 1, b, o]]);
        for done in (0..steps).step_by(FURTHER) {
            let more = FURTHER.min(steps - done);
            let mut outputs = Array3::zeros((more, count, width));
            let mut classes = vec![Vec::new(); drawn.len()];
            for t in 0..more {
                let inputs = if drawn.is_empty() {
                    Inputs::Vectors(last.insert_axis(Axis(0)))
                } else {
                    Inputs::Tokens(Array2::from_shape_fn((1, count), |(_, b)| drawn[b][drawn[b].len() - 1]))
                };
                let initial_state = InitialState::Given(std::mem::take(&mut self.states));
                let step = self.network.predict(&Sequences { initial_state, ..Sequences::new(inputs) })?;
                self.states = step.states;
                last = step.outputs.index_axis_move(Axis(0), 0);
                outputs.index_axis_mut(Axis(0), t).assign(&last);
                for (place, drawn) in drawn.iter_mut().enumerate() {
                    *drawn = vec![self.draw(last.row(place))];
                    classes[place].extend(drawn.iter());
                }
            }
            let part = Part { first, starts: starts.clone(), outputs: &outputs, lengths: &vec![more; count], drawn: &classes };
            output.write(&part)?;
            starts.iter_mut().for_each(|start| *start += more);
        }
        Ok(())
    }
}

/// Whether what a network predicts is what it reads.
fn check_feedback(config: &Config) -> Result<()> {
    let problem = match (config.input, config.loss) {
        _ if config.bidirectional => "this network is bidirectional, and its reverse direction reads what comes after".into(),
        (Input::Tokens(inputs), Loss::CrossEntropy) | (Input::Vectors(inputs), Loss::SquaredError)
            if inputs == config.outputs =>
        {
            return Ok(());
        }
        (Input::Tokens(inputs), Loss::CrossEntropy) => {
            format!("it reads {inputs} tokens and predicts {} classes", config.outputs)
        }
        (Input::Vectors(inputs), Loss::SquaredError) => format!("it reads {inputs} numbers and predicts {}", config.outputs),
        (Input::Tokens(_), Loss::SquaredError) => "it reads tokens and predicts values".into(),
        (Input::Vectors(_), Loss::CrossEntropy) => "it reads vectors and predicts classes".into(),
    };
    Err(Error::Usage(format!("--steps reads what the network predicts: {problem}")))
}

/// Names of classes, as far as there are any.
fn class_name(vocabulary: Option<&Vocabulary>, class: usize) -> String {
    match vocabulary.and_then(|vocabulary| vocabulary.characters().get(class)) {
        Some(character) if character.is_control() => character.escape_default().to_string(),
        Some(character) => character.to_string(),
        None => class.to_string(),
    }
}
