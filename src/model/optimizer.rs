//! How gradients become updates.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::kernels::update::Adam;
use crate::{Error, Result};

/// How gradients become updates, by PyTorch's formulas. `rate` is the learning rate of the training step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", remote = "Self")]
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

impl Serialize for Optimizer {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        Optimizer::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Optimizer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Optimizer, D::Error> {
        /// As runs were written before Adam's constants could be chosen.
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Early {
            Adam,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Early(Early),
            #[serde(deserialize_with = "Optimizer::deserialize")]
            Now(Optimizer),
        }
        match <Written as Deserialize>::deserialize(deserializer)? {
            Written::Early(Early::Adam) => Ok(Optimizer::ADAM),
            Written::Now(optimizer) => Ok(optimizer),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_so_is_adam_as_it_was() {
        let adam = Adam { beta1: 0.8, beta2: 0.99, epsilon: 1e-6 };
        for optimizer in [
            Optimizer::Sgd,
            Optimizer::Momentum { momentum: 0.9 },
            Optimizer::Nesterov { momentum: 0.9 },
            Optimizer::Adam(adam),
            Optimizer::AdamW { adam, decay: 0.1 },
            Optimizer::RmsProp { beta: 0.95, epsilon: 1e-8 },
            Optimizer::AdaGrad { epsilon: 1e-10 },
        ] {
            let text = serde_json::to_string(&optimizer).unwrap();
            assert_eq!(serde_json::from_str::<Optimizer>(&text).unwrap(), optimizer, "{text}");
        }
        let early = |text| serde_json::from_str::<Optimizer>(text).ok();
        assert_eq!(early(r#""adam""#), Some(Optimizer::ADAM));
        assert_eq!(early(r#"{"momentum":{"momentum":0.5}}"#), Some(Optimizer::Momentum { momentum: 0.5 }));
        assert_eq!((early(r#""sgd""#), early(r#""adamax""#)), (Some(Optimizer::Sgd), None));
    }
}
