//! How gradients become updates.

use serde::{Deserialize, Serialize};

use crate::kernels::update::Adam;
use crate::{Error, Result};

/// How gradients become updates, by PyTorch's formulas. `rate` is the learning rate of the training step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// w ← w − rate·g.
    Sgd,
    /// m ← μ·m + g, w ← w − rate·m.
    Momentum {
        /// μ, at least 0 and below 1.
        momentum: f32,
    },
    /// m ← μ·m + g, w ← w − rate·(g + μ·m) (Nesterov 1983; Sutskever et al. 2013).
    Nesterov {
        /// μ, at least 0 and below 1.
        momentum: f32,
    },
    /// Adam (Kingma & Ba 2015), bias-corrected.
    Adam(Adam),
    /// Adam whose weights shrink by rate·decay of themselves before each update, biases excepted (Loshchilov & Hutter 2019).
    AdamW {
        /// Adam's constants.
        adam: Adam,
        /// The share of a weight that is taken away at a rate of 1, at least 0.
        decay: f32,
    },
    /// v ← β·v + (1 − β)·g², w ← w − rate·g / (√v + ε) (Tieleman & Hinton 2012).
    RmsProp {
        /// β, PyTorch's `alpha`, at least 0 and below 1.
        beta: f32,
        /// ε, above 0.
        epsilon: f32,
    },
    /// v ← v + g², w ← w − rate·g / (√v + ε) (Duchi, Hazan & Singer 2011).
    AdaGrad {
        /// ε, above 0.
        epsilon: f32,
    },
}

impl Optimizer {
    /// Adam with β 0.9 and 0.999, ε 1e-8.
    pub const ADAM: Optimizer = Optimizer::Adam(Adam::USUAL);

    /// The names of its states, arenas of the parameters' layout: a mean of gradients `m`, a mean or sum of their squares `v`.
    pub(crate) fn states(self) -> &'static [&'static str] {
        match self {
            Optimizer::Sgd => &[],
            Optimizer::Momentum { .. } | Optimizer::Nesterov { .. } => &["m"],
            Optimizer::Adam(_) | Optimizer::AdamW { .. } => &["m", "v"],
            Optimizer::RmsProp { .. } | Optimizer::AdaGrad { .. } => &["v"],
        }
    }

    /// Adam's constants, if it has them.
    pub(crate) fn adam(self) -> Option<Adam> {
        match self {
            Optimizer::Adam(adam) | Optimizer::AdamW { adam, .. } => Some(adam),
            _ => None,
        }
    }

    /// Checks that its constants are in range.
    ///
    /// # Errors
    /// [`Error::Usage`] with the constant.
    pub(super) fn check(self) -> Result<()> {
        let share = |name: &str, x: f32| match (0.0..1.0).contains(&x) {
            true => Ok(()),
            false => Err(Error::Usage(format!("{name} is {x}; it must be at least 0 and below 1"))),
        };
        // Without it what has no gradient, as the zeros between rows, would become 0 / 0.
        let positive = |name: &str, x: f32| match x >= f32::MIN_POSITIVE && x.is_finite() {
            true => Ok(()),
            false => Err(Error::Usage(format!("{name} is {x}; it must be finite and at least {:e}", f32::MIN_POSITIVE))),
        };
        if let Some(Adam { beta1, beta2, epsilon }) = self.adam() {
            share("beta1", beta1).and_then(|()| share("beta2", beta2)).and_then(|()| positive("epsilon", epsilon))?;
        }
        match self {
            Optimizer::Sgd | Optimizer::Adam(_) => Ok(()),
            Optimizer::Momentum { momentum } | Optimizer::Nesterov { momentum } => share("momentum", momentum),
            Optimizer::AdamW { decay, .. } if decay >= 0.0 && decay.is_finite() => Ok(()),
            Optimizer::AdamW { decay, .. } => {
                Err(Error::Usage(format!("weight decay is {decay}; it must be finite and at least 0")))
            }
            Optimizer::RmsProp { beta, epsilon } => share("beta2", beta).and_then(|()| positive("epsilon", epsilon)),
            Optimizer::AdaGrad { epsilon } => positive("epsilon", epsilon),
        }
    }
}
