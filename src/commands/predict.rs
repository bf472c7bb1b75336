//! `retrospect predict`.

mod output;

use std::path::PathBuf;

use clap::Args;
use ndarray::{Array2, Array3, ArrayView1, Axis, concatenate, s};
use retrospect::batch::{InitialState, Input, Inputs, Loss, Sequences, States};
use retrospect::data::{Vocabulary, read_text};
use retrospect::model::{Config, Optimizer};
use retrospect::network::{Network, Prediction};
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

    /// Go on for N time steps after each sequence, each reading the prediction of the one before
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 0, hide_default_value = true)]
    steps: u32,

    /// Draw the classes that --steps reads from the probabilities; 0 takes the most probable
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
        let inputs: [Option<&PathBuf>; 2] = [Some(path), Some(&self.run)];
        let same = |path: &PathBuf| self.out.as_ref().is_some_and(|out| out.canonicalize().ok() == path.canonicalize().ok());
        if let Some(path) = inputs.into_iter().flatten().find(|path| path.exists() && same(path)) {
            return Err(Error::Usage(format!("--out would overwrite {}", path.display())));
        }
        let vocabulary = checkpoint.origin.vocabulary.as_ref();
        let mut output = Output::open(self.out.as_deref(), trained, vocabulary, self.last)?;

        let (steps, count) = sequences.shape();
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
                let mut found = network.predict(&part).map_err(|e| in_file(path, e))?;
                let mut lengths: Vec<usize> = (0..group.len()).map(|b| part.length(b)).collect();
                let is_end = start + span >= steps;
                if is_end && self.steps > 0 {
                    self.go_on(&mut network, &mut found, &mut lengths, &mut random)?;
                }
                output.write(Part { first, start, lengths, is_end, prediction: &found })?;
                states = Some(found.states);
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

    /// Appends what follows each sequence, a time step at a time: what was predicted last is read next.
    fn go_on(&self, network: &mut Network, found: &mut Prediction, lengths: &mut [usize], random: &mut Random) -> Result<()> {
        let (loss, is_tokens) = (network.model().config().loss, matches!(network.model().config().input, Input::Tokens(_)));
        let (_, count, width) = found.outputs.dim();
        let more = self.steps as usize;
        let empty = Array3::from_elem((more, count, width), f32::NAN);
        found.outputs = concatenate(Axis(0), &[found.outputs.view(), empty.view()]).expect("the same sequences");
        let mut last: Array2<f32> = Array2::from_shape_fn((count, width), |(b, o)| found.outputs[[lengths[b] - 1, b, o]]);
        let mut states: States = found.states.clone();
        for _ in 0..more {
            let inputs = if loss == Loss::CrossEntropy && is_tokens {
                let mut next = |logits: ArrayView1<f32>| draw(&logits.to_vec(), self.temperature, random.uniform());
                Inputs::Tokens(Array2::from_shape_fn((1, count), |(_, b)| next(last.row(b))))
            } else {
                Inputs::Vectors(last.insert_axis(Axis(0)))
            };
            let sequences = Sequences { initial_state: InitialState::Given(states), ..Sequences::new(inputs) };
            let step = network.predict(&sequences)?;
            for (b, length) in lengths.iter_mut().enumerate() {
                found.outputs.slice_mut(s![*length, b, ..]).assign(&step.outputs.slice(s![0, b, ..]));
                *length += 1;
            }
            last = step.outputs.index_axis_move(Axis(0), 0);
            states = step.states;
        }
        found.states = states;
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
        Some(character) => character.escape_debug().to_string(),
        None => class.to_string(),
    }
}
