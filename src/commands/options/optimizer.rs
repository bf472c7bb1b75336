//! The flags of the optimiser.

use clap::{Args, ValueEnum};
use retrospect::data::Defaults;
use retrospect::kernels::update::Adam as AdamConstants;
use retrospect::model::{Config, Optimizer};
use retrospect::{Error, Result};

use super::values::{Clip, bound, clip, decay, size, small};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OptimizerChoice {
    Adam,
    /// Adam with --weight-decay
    Adamw,
    Sgd,
    Momentum,
    /// Nesterov's momentum
    Nesterov,
    Rmsprop,
    Adagrad,
}

impl OptimizerChoice {
    /// A task's own.
    pub fn usual_for(defaults: &Defaults) -> OptimizerChoice {
        defaults.optimizer.and_then(|name| OptimizerChoice::from_str(name, true).ok()).unwrap_or(OptimizerChoice::Adam)
    }

    /// The optimiser with its usual constants.
    pub fn usual(self) -> Optimizer {
        OptimizerArgs::default().choose(self).expect("no constant is asked for")
    }

    /// Whether it scales updates by the size of past gradients, so that a usual rate is small.
    pub fn scales(self) -> bool {
        !matches!(self, OptimizerChoice::Sgd | OptimizerChoice::Momentum | OptimizerChoice::Nesterov)
    }

    fn name(self) -> String {
        self.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
    }
}

/// The optimiser and its constants.
#[derive(Args, Default)]
#[group(id = "OptimizerArgs", multiple = true)]
pub(super) struct OptimizerArgs {
    /// How gradients become updates [default: adam]
    #[arg(long, value_name = "NAME", help_heading = "Optimiser")]
    pub optimizer: Option<OptimizerChoice>,

    /// Make each training step of the gradients of N batches, by their mean [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = size(), help_heading = "Optimiser")]
    pub accumulate: Option<usize>,

    /// μ of --optimizer momentum or nesterov [default: 0.9]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = decay, help_heading = "Optimiser")]
    momentum: Option<f32>,

    /// β₁ of --optimizer adam or adamw [default: 0.9]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = decay, help_heading = "Optimiser")]
    beta1: Option<f32>,

    /// β₂ of --optimizer adam or adamw [default: 0.999], or the β of rmsprop, which PyTorch calls
    /// alpha [default: 0.95, as char-rnn; PyTorch's is 0.99]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = decay, help_heading = "Optimiser")]
    beta2: Option<f32>,

    /// ε of --optimizer adam, adamw or rmsprop [default: 1e-8], or adagrad [default: 1e-10]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = bound, help_heading = "Optimiser")]
    epsilon: Option<f32>,

    /// Weight decay of --optimizer adamw: w ← w − rate·X·w before each update, biases excepted [default: 0.01]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = small, help_heading = "Optimiser")]
    weight_decay: Option<f32>,
}

impl OptimizerArgs {
    /// The optimiser that is asked for, or the usual one, with the constants that are asked for, or else the usual ones.
    ///
    /// # Errors
    /// [`Error::Usage`] for a constant that it does not have.
    pub fn choose(&self, usual: OptimizerChoice) -> Result<Optimizer> {
        use OptimizerChoice::{Adagrad, Adam, Adamw, Momentum, Nesterov, Rmsprop, Sgd};
        let OptimizerArgs { optimizer, momentum, beta1, beta2, epsilon, weight_decay, accumulate: _ } = *self;
        let chosen = optimizer.unwrap_or(usual);
        let flags: [(&str, bool, &[OptimizerChoice]); 5] = [
            ("momentum", momentum.is_some(), &[Momentum, Nesterov]),
            ("beta1", beta1.is_some(), &[Adam, Adamw]),
            ("beta2", beta2.is_some(), &[Adam, Adamw, Rmsprop]),
            ("epsilon", epsilon.is_some(), &[Adam, Adamw, Rmsprop, Adagrad]),
            ("weight-decay", weight_decay.is_some(), &[Adamw]),
        ];
        if let Some((flag, _, having)) = flags.iter().find(|(_, is_given, having)| *is_given && !having.contains(&chosen)) {
            let names: Vec<String> = having.iter().map(|choice| choice.name()).collect();
            let (names, name) = (names.join(" or "), chosen.name());
            return Err(Error::Usage(format!("--{flag} needs --optimizer {names}; this run has {name}")));
        }
        let usual = AdamConstants::USUAL;
        let adam = AdamConstants {
            beta1: beta1.unwrap_or(usual.beta1),
            beta2: beta2.unwrap_or(usual.beta2),
            epsilon: epsilon.unwrap_or(usual.epsilon),
        };
        let momentum = momentum.unwrap_or(0.9);
        Ok(match chosen {
            Adam => Optimizer::Adam(adam),
            Adamw => Optimizer::AdamW { adam, decay: weight_decay.unwrap_or(0.01) },
            Sgd => Optimizer::Sgd,
            Momentum => Optimizer::Momentum { momentum },
            Nesterov => Optimizer::Nesterov { momentum },
            Rmsprop => Optimizer::RmsProp { beta: beta2.unwrap_or(0.95), epsilon: epsilon.unwrap_or(1e-8) },
            Adagrad => Optimizer::AdaGrad { epsilon: epsilon.unwrap_or(1e-10) },
        })
    }
}

/// How gradients are clipped. Unlike the rest of a model it may change when a run goes on.
#[derive(Args)]
#[group(id = "ClipArgs", multiple = true)]
pub(super) struct ClipArgs {
    /// Clip the gradient's norm to this, or none [default: the task's, or none]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = clip, help_heading = "Optimiser")]
    pub clip: Option<Clip>,

    /// Clip each element of the gradient to ±X, after its norm, or none [default: none]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = clip, help_heading = "Optimiser")]
    clip_value: Option<Clip>,
}

impl ClipArgs {
    /// A network that is clipped as was asked for, and otherwise as before.
    pub fn change(&self, network: Config) -> Config {
        let changed = |asked: Option<Clip>, before: Option<f32>| asked.map_or(before, |Clip(clip)| clip);
        let (clip, clip_value) = (changed(self.clip, network.clip), changed(self.clip_value, network.clip_value));
        Config { clip, clip_value, ..network }
    }
}
