//! `retrospect gradient`: the bridge to PyTorch and NumPy.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use retrospect::batch::{Batch, Input, Inputs, Reduction};
use retrospect::model::{Config, Optimizer, Sizes, has_recurrent_masks, left_out, sizes};
use retrospect::network::{Masks, Network};
use retrospect::reference::{self, Cell, Regularization, Weights};
use retrospect::tensors::{TensorFile, Tensors, read_batch};
use retrospect::train::Checkpoint;
use retrospect::{Activation, Error, Result};

use super::cell::{CellArgs, about_activation, trained};
use super::compute::{Choice, DeviceArgs};
use super::files::{in_file, refuse_overwrite};
use super::options::LossArgs;
use super::terminal::{note, note_left_out, pairs, print};

/// Computes loss and gradient for given weights and one batch, as files
#[derive(Args)]
pub struct Gradient {
    /// The weights, by PyTorch's names; a checkpoint or a run's folder is fine
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,

    /// The batch: `inputs` or `tokens`, `classes` or `values`; optionally `lengths`, `mask`, `class_weights`, `h0`, `c0`
    #[arg(long, value_name = "FILE")]
    batch: PathBuf,

    /// Read the batch as [B, T, …] instead of [T, B, …]; outputs are written time first
    #[arg(long)]
    batch_first: bool,

    /// Where the gradient goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    #[command(flatten)]
    cell: CellArgs,

    #[arg(long, value_parser = super::options::activation, help = about_activation("the checkpoint's, or tanh"))]
    activation: Option<Activation>,

    /// Keep the hidden states of every N-th time step only, and compute the others again [default: off]
    #[arg(long, value_name = "auto|off|N", value_parser = super::options::recompute)]
    recompute: Option<super::options::Recompute>,

    #[command(flatten)]
    loss: LossArgs,

    /// Drop each output of every layer but the last with this probability, as training does [default: 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = super::options::probability, default_value_t = 0.0, hide_default_value = true)]
    dropout: f64,

    /// Drop each input of the output layer with this probability, as training does [default: 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = super::options::probability, default_value_t = 0.0, hide_default_value = true)]
    output_dropout: f64,

    /// Add random noise of this standard deviation to the input of each unit's activation, as training does [default: 0]
    #[arg(long, value_name = "S", allow_negative_numbers = true, value_parser = super::options::not_negative, default_value_t = 0.0, hide_default_value = true)]
    state_noise: f64,

    /// Add the gradient of L times the mean square of each layer's states, as training does [default: 0]
    #[arg(long, value_name = "L", allow_negative_numbers = true, value_parser = super::options::not_negative, default_value_t = 0.0, hide_default_value = true)]
    activity_l2: f64,

    /// Smooth the labels of classes by E, as training does [default: 0]
    #[arg(long, value_name = "E", allow_negative_numbers = true, value_parser = super::options::probability, default_value_t = 0.0, hide_default_value = true)]
    label_smoothing: f64,

    /// Random seed of dropout and noise
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 57)]
    seed: u64,

    /// Training step of dropout and noise, counted from 1
    #[arg(long, value_name = "K", allow_negative_numbers = true, default_value_t = 1, value_parser = super::options::count())]
    step: u64,

    /// Mean or sum over the outputs that count
    #[arg(long, default_value = "mean")]
    reduction: ReductionChoice,

    /// Where to compute it; `reference` evaluates the equations in f64 [default: auto]
    #[arg(long, help_heading = "Where to run")]
    backend: Option<Backend>,

    #[command(flatten)]
    device: DeviceArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum ReductionChoice {
    Mean,
    Sum,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Backend {
    Auto,
    Gpu,
    Cpu,
    Reference,
}

impl Gradient {
    pub fn run(&self) -> Result<()> {
        let choice = match self.backend {
            None | Some(Backend::Auto) => Some(Choice::Auto),
            Some(Backend::Gpu) => Some(Choice::Gpu),
            Some(Backend::Cpu) => Some(Choice::Cpu),
            Some(Backend::Reference) => None,
        };
        if choice.is_none() && self.device.adapter.is_some() {
            return Err(Error::Usage("--adapter names a GPU, and --backend reference runs on none".into()));
        }
        if choice.is_none() && self.recompute.is_some() {
            return Err(Error::Usage("--recompute is for networks on a device, and --backend reference keeps all states".into()));
        }
        refuse_overwrite("--out", &self.out, [self.weights.as_path(), &self.batch])?;
        let tensors = TensorFile::open(Checkpoint::path(&self.weights))?;
        tensors.verify_checksum()?;
        let reduction = match self.reduction {
            ReductionChoice::Mean => Reduction::Mean,
            ReductionChoice::Sum => Reduction::Sum,
        };
        let read = read_batch(&self.batch, super::options::layout(self.batch_first))?;
        read.note().iter().for_each(|said| note(format_args!("{}: {said}.", self.batch.display())));
        let batch = Batch { reduction, ..read.batch };
        let config = self.config(&tensors, &batch)?;
        note_left_out(&self.weights, &left_out(&config, &tensors)?);
        let loss = match choice {
            None => self.by_reference(&tensors, &batch, &config)?.to_string(),
            Some(choice) => {
                config.check_batch(&batch).map_err(|e| in_file(&self.batch, e))?;
                let mut network = Network::new(&config, &self.device.choose(Some(choice))?)?;
                network.load_parameters(&tensors)?;
                f64::from(network.write_gradient(&batch, Some(self.masks()), &self.out)?).to_string()
            }
        };
        print(&pairs(&[("loss", loss), ("out", self.out.display().to_string())]))
    }

    /// By the equations in f64, for any cell; returns the loss.
    fn by_reference(&self, file: &TensorFile, batch: &Batch, config: &Config) -> Result<f64> {
        note("Evaluating the equations in f64.");
        let cell = self.cell.choose(Some(file), self.asked_activation())?;
        let cell = Cell::named(cell.name, self.activation_of(file).name())?;
        let tensor = |name: &str| match (name.starts_with("rnn.leak"), self.cell.leak) {
            (true, Some(leak)) => Ok(Some(ndarray::arr1(&[leak]).into_dyn())),
            _ if file.contains(name) => file.f64(name).map(Some),
            (true, None) => Ok(Some(ndarray::arr1(&[self.cell.leak_or_usual()]).into_dyn())),
            (false, _) => Ok(None),
        };
        let weights = Weights::new(&cell, tensor).and_then(|weights| weights.check(&cell).map(|_| weights));
        let weights = weights.map_err(|e| in_file(&self.weights, e))?;
        config.check_batch(batch).map_err(|e| in_file(&self.batch, e))?;
        let Masks { seed, step } = self.masks();
        let Config { dropout, output_dropout, state_noise, activity_l2, label_smoothing, .. } = *config;
        let regularization = Regularization { dropout, output_dropout, state_noise, activity_l2, label_smoothing, seed, step };
        let start = reference::initial(&weights, &cell, batch);
        let gradient = reference::gradient_with(&weights, &cell, batch, &start, &config.loss, &regularization);
        let gradient = gradient.map_err(|e| in_file(&self.batch, e))?;
        let mut out = Tensors::new();
        for (name, array) in gradient.weights.tensors() {
            out.insert(name, array.to_owned());
        }
        for (name, array) in gradient.initial_states {
            out.insert(format!("{name}0"), array);
        }
        out.insert("loss", ndarray::arr1(&[gradient.loss]));
        out.insert("outputs", gradient.outputs);
        if let Some(name) = out.not_finite() {
            return Err(Error::NotFinite { tensor: name.to_owned() });
        }
        out.write(&self.out)?;
        Ok(gradient.loss)
    }

    /// What dropout follows from.
    fn masks(&self) -> Masks {
        Masks { seed: self.seed, step: self.step }
    }

    /// φ, if it is asked for and another than tanh, which scripts may name for any cell.
    fn asked_activation(&self) -> Option<Activation> {
        self.activation.filter(|activation| *activation != Activation::Tanh)
    }

    /// φ: the one asked for, or that of a checkpoint.
    fn activation_of(&self, weights: &TensorFile) -> Activation {
        self.activation.or(trained(weights).map(|network| network.activation)).unwrap_or(Activation::Tanh)
    }

    /// The network that the weights and the batch describe.
    fn config(&self, tensors: &TensorFile, batch: &Batch) -> Result<Config> {
        let cell = self.cell.choose(Some(tensors), self.asked_activation())?;
        let sizes = sizes(tensors, cell)?;
        let Sizes { inputs, embedding, hidden, layers, outputs } = sizes;
        let input = match batch.inputs {
            Inputs::Tokens(_) => Input::Tokens(inputs),
            Inputs::Vectors(_) => Input::Vectors(inputs),
        };
        let input = sizes.expect_input(input).map_err(|e| in_file(&self.batch, e))?;
        let loss = self.loss.choose(batch.targets.kind(), trained(tensors).map(|network| network.loss))?;
        let (window, size) = batch.shape();
        super::options::note_dropout(self.dropout, layers);
        Ok(Config {
            cell,
            bidirectional: self.cell.is_bidirectional(Some(tensors)),
            lengths: batch.lengths.is_some(),
            activation: self.activation_of(tensors),
            leak: self.cell.leak.map(|leak| leak as f32),
            layers,
            embedding,
            optimizer: Optimizer::Sgd,
            dropout: self.dropout,
            output_dropout: self.output_dropout,
            state_noise: self.state_noise,
            activity_l2: self.activity_l2,
            label_smoothing: self.label_smoothing,
            recurrent_mask: has_recurrent_masks(tensors),
            recompute: self.recompute.and_then(|choice| choice.for_window(window)),
            ..Config::new(input, hidden, outputs, loss, size, window)
        })
    }
}
