//! The flags of the network.

use std::path::PathBuf;

use clap::Args;
use retrospect::batch::{Loss, TargetKind};
use retrospect::model::RecurrentInit;
use retrospect::{Activation, Error, Result};

use super::values::{Recompute, activation, not_negative, probability, recompute, size};
use crate::commands::cell::about_activation;

/// The network, but for its cell and biases.
#[derive(Args)]
#[group(id = "NetworkArgs", multiple = true)]
pub(super) struct NetworkArgs {
    /// Keep the hidden states of every N-th time step only and compute the others again for the backward pass: the memory of 4·√T steps
    /// with `auto`, where N is about √T, for a third more time; `off` keeps all [default: off]
    #[arg(long, value_name = "auto|off|N", value_parser = recompute, help_heading = "Network")]
    pub recompute: Option<Recompute>,

    /// Embed tokens as vectors of N numbers, which are trained too (`encoder.weight`) [default: those of --init, or none]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = size(), help_heading = "Network")]
    pub embedding: Option<usize>,

    /// Units of a layer [default: the task's or those of --init, or 256]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = size(), help_heading = "Network")]
    pub hidden: Option<usize>,

    /// Stacked layers [default: those of --init, or 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = size(), help_heading = "Network")]
    pub layers: Option<usize>,

    #[arg(long, value_name = "NAME", value_parser = activation, help = about_activation("the task's, or tanh"), help_heading = "Network")]
    pub activation: Option<Activation>,

    /// What the recurrent weights start as [default: the task's, or uniform]
    #[arg(long, value_name = "NAME", help_heading = "Network")]
    pub recurrent_init: Option<RecurrentInit>,

    /// Start from these weights (safetensors, PyTorch's names), a checkpoint or a run's folder; a text is read with the vocabulary of the run.
    /// Tensors `rnn.mask_hh_l{k}` of zeros and ones, beside the weights or alone, say which recurrent connections exist
    #[arg(long, value_name = "FILE", conflicts_with = "recurrent_init", help_heading = "Network")]
    pub init: Option<PathBuf>,

    /// Drop each output of every layer but the last with this probability while training, as PyTorch's `dropout` [default: 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = probability, help_heading = "Network")]
    pub dropout: Option<f64>,

    /// Drop each input of the output layer with this probability while training [default: 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = probability, help_heading = "Network")]
    pub output_dropout: Option<f64>,

    /// Smooth the labels of classes: train towards a probability of 1 - E + E/n for the right one of n classes and E/n for each other one. The losses
    /// that are shown do not include it [default: 0]
    #[arg(long, value_name = "E", allow_negative_numbers = true, value_parser = probability, help_heading = "Network")]
    pub label_smoothing: Option<f64>,

    /// Add random noise of this standard deviation to the input of each unit's activation while training (elman and leaky) [default: 0]
    #[arg(long, value_name = "S", allow_negative_numbers = true, value_parser = not_negative, help_heading = "Network")]
    pub state_noise: Option<f64>,

    /// Train on the loss plus L times the mean square of each layer's states. The losses that are shown do not include it [default: 0]
    #[arg(long, value_name = "L", allow_negative_numbers = true, value_parser = not_negative, help_heading = "Network")]
    pub activity_l2: Option<f64>,

    /// Make this share of a layer's units excitatory (the first ones) and the others inhibitory: recurrent weights from an excitatory unit are
    /// never negative, and those from an inhibitory unit never positive (Dale's principle; elman and leaky)
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true, value_parser = probability, help_heading = "Network")]
    pub dale: Option<f64>,
}

/// What outputs are measured by.
#[derive(Args)]
#[group(id = "LossArgs", multiple = true)]
pub struct LossArgs {
    #[arg(long, value_name = "NAME", help = about_losses(), conflicts_with = "quantile", help_heading = "Network")]
    loss: Option<Loss>,

    /// Predict these quantiles of each target, such as 0.1,0.5,0.9, by the pinball loss
    #[arg(long, value_name = "LIST", value_delimiter = ',', allow_negative_numbers = true, value_parser = quantile, help_heading = "Network")]
    quantile: Vec<f32>,
}

/// A quantile, which f32 tells from 0 and 1.
fn quantile(text: &str) -> std::result::Result<f32, String> {
    let is_inside = |level: &f32| *level > 0.0 && *level < 1.0;
    text.parse().ok().filter(is_inside).ok_or_else(|| "a quantile is above 0 and below 1".into())
}

fn about_losses() -> String {
    let names = Loss::NAMES.map(|[name, short]| format!("{name} ({short})")).join(", ");
    format!(
        "What the outputs are measured by: {names} [default: that of the weights, or cross-entropy of classes and squared error of values]"
    )
}

impl LossArgs {
    /// Whether targets are labels from 0 to 1.
    pub fn is_of_labels(&self) -> bool {
        self.loss == Some(Loss::BinaryCrossEntropy)
    }

    /// The loss that is asked for, or else `usual`, of targets of a kind.
    ///
    /// # Errors
    /// [`Error::Usage`] for a loss of the other kind, and for quantiles that are none.
    pub fn choose(&self, kind: TargetKind, usual: Option<Loss>) -> Result<Loss> {
        let (flag, asked) = match &self.loss {
            Some(loss) => ("loss", loss.clone()),
            None if self.quantile.is_empty() => {
                return Ok(usual.filter(|loss| loss.target_kind() == kind).unwrap_or(kind.usual_loss()));
            }
            None => ("quantile", Loss::Quantile(self.quantile.clone())),
        };
        if let Some(level) = self.quantile.iter().enumerate().find_map(|(i, q)| self.quantile[..i].contains(q).then_some(q)) {
            return Err(Error::Usage(format!("--quantile {level}: it is there twice")));
        }
        if asked.target_kind() != kind {
            let (wanted, found) = (asked.target_kind().name(), kind.name());
            return Err(Error::Usage(format!("--{flag}: the {asked} is of {wanted}, and the targets are {found}")));
        }
        Ok(asked)
    }
}
