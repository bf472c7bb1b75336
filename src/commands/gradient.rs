//! `retrospect gradient`: the bridge to PyTorch and NumPy.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ndarray::{ArrayD, Ix1, Ix2};
use retrospect::batch::{Batch, Input, Inputs, Loss, Reduction, Targets};
use retrospect::model::{Config, Optimizer, sizes};
use retrospect::network::Network;
use retrospect::reference::{self, LayerWeights, Weights};
use retrospect::tensors::{TensorFile, Tensors, read_batch};
use retrospect::train::{Checkpoint, Settings};
use retrospect::{Activation, Error, Result};

use super::compute::{Choice, DeviceArgs};
use super::terminal::{note, pairs, print};

/// Computes loss and gradient for given weights and one batch, as files
#[derive(Args)]
pub struct Gradient {
    /// The weights, by PyTorch's names; a checkpoint or a run's folder is fine
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,

    /// The batch: `inputs` or `tokens`, `classes` or `values`; optionally `mask`, `h0`
    #[arg(long, value_name = "FILE")]
    batch: PathBuf,

    /// Where the gradient goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// φ [default: the checkpoint's, or tanh]
    #[arg(long, value_parser = super::options::activation)]
    activation: Option<Activation>,

    /// Keep the hidden states of every N-th time step only, and compute the others again [default: off]
    #[arg(long, value_name = "auto|off|N", value_parser = super::options::recompute)]
    recompute: Option<super::options::Recompute>,

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
        let same = |path: &PathBuf| path.canonicalize().ok().is_some_and(|p| self.out.canonicalize().ok() == Some(p));
        if let Some(path) = [&self.weights, &self.batch].into_iter().find(|path| same(path)) {
            return Err(Error::Usage(format!("--out would overwrite {}", path.display())));
        }
        let tensors = TensorFile::open(Checkpoint::path(&self.weights))?;
        let reduction = match self.reduction {
            ReductionChoice::Mean => Reduction::Mean,
            ReductionChoice::Sum => Reduction::Sum,
        };
        let batch = Batch { reduction, ..read_batch(&self.batch)? };
        let config = self.config(&tensors, &batch)?;
        batch.check(config.input, config.outputs, config.layers, config.hidden).map_err(|e| self.in_batch(e))?;

        let loss = match choice {
            None => self.by_reference(&config, &tensors, &batch)?.to_string(),
            Some(choice) => {
                let mut network = Network::new(&config, &self.device.choose(Some(choice))?)?;
                network.load_parameters(&tensors)?;
                f64::from(network.write_gradient(&batch, &self.out)?).to_string()
            }
        };
        print(&pairs(&[("loss", loss), ("out", self.out.display().to_string())]))
    }

    /// By the equations in f64; gives the loss.
    fn by_reference(&self, config: &Config, weights: &TensorFile, batch: &Batch) -> Result<f64> {
        note("Evaluating the equations in f64.");
        let gradient = reference::gradient(&reference_weights(config, weights)?, config.activation.name(), batch)?;
        let mut out = Tensors::new();
        for (name, array) in gradient.weights.tensors() {
            if name.contains("bias_ih") {
                out.insert(name.replace("bias_ih", "bias_hh"), array.to_owned());
            }
            out.insert(name, array.to_owned());
        }
        out.insert("loss", ndarray::arr1(&[gradient.loss]));
        out.insert("outputs", gradient.outputs);
        out.insert("h0", gradient.initial_state);
        if let Some(name) = out.not_finite() {
            return Err(Error::NotFinite { tensor: name.to_owned() });
        }
        out.write(&self.out)?;
        Ok(gradient.loss)
    }

    /// The network that the weights and the batch describe.
    fn config(&self, tensors: &TensorFile, batch: &Batch) -> Result<Config> {
        let (inputs, hidden, layers, outputs) = sizes(tensors)?;
        let input = match batch.inputs {
            Inputs::Tokens(_) => Input::Tokens(inputs),
            Inputs::Vectors(_) => Input::Vectors(inputs),
        };
        let loss = match batch.targets {
            Targets::Classes(_) => Loss::CrossEntropy,
            Targets::Values(_) => Loss::SquaredError,
        };
        let trained = tensors.metadata.get("configuration").and_then(|json| serde_json::from_str::<Settings>(json).ok());
        let (window, size) = batch.shape();
        Ok(Config {
            activation: self.activation.or(trained.map(|s| s.network.activation)).unwrap_or(Activation::Tanh),
            layers,
            optimizer: Optimizer::Sgd,
            recompute: self.recompute.and_then(|choice| choice.of(window)),
            ..Config::new(input, hidden, outputs, loss, size, window)
        })
    }

    /// Names the file as well as the tensor.
    fn in_batch(&self, error: Error) -> Error {
        match error {
            Error::BadInput { what, problem } => Error::BadInput { what: format!("{}: {what}", self.batch.display()), problem },
            other => other,
        }
    }
}

/// The weights in f64, as the file has them.
fn reference_weights(config: &Config, tensors: &TensorFile) -> Result<Weights> {
    let read = |name: &str, shape: &[usize]| -> Result<ArrayD<f64>> {
        tensors.expect_shape(name, shape)?;
        tensors.f64(name)
    };
    let matrix = |name: &str, rows, cols| -> Result<_> {
        Ok(read(name, &[rows, cols])?.into_dimensionality::<Ix2>().expect("the shape was checked"))
    };
    let vector =
        |name: &str, size| -> Result<_> { Ok(read(name, &[size])?.into_dimensionality::<Ix1>().expect("the shape was checked")) };
    let Config { hidden, outputs, .. } = *config;
    let layer = |k: usize| -> Result<LayerWeights> {
        let mut bias = vector(&format!("rnn.bias_ih_l{k}"), hidden)?;
        let second = format!("rnn.bias_hh_l{k}");
        if tensors.contains(&second) {
            bias += &vector(&second, hidden)?;
        }
        Ok(LayerWeights {
            input: matrix(&format!("rnn.weight_ih_l{k}"), hidden, if k == 0 { config.input.size() } else { hidden })?,
            recurrent: matrix(&format!("rnn.weight_hh_l{k}"), hidden, hidden)?,
            bias,
        })
    };
    Ok(Weights {
        layers: (0..config.layers).map(layer).collect::<Result<_>>()?,
        decoder: matrix("decoder.weight", outputs, hidden)?,
        decoder_bias: vector("decoder.bias", outputs)?,
    })
}
