//! φ of the elman and leaky cells, and φ′ as a function of φ's value.

use crate::{Error, Result};

/// An activation φ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// tanh(a).
    Tanh,
    /// σ(a) = 1 / (1 + e⁻ᵃ).
    Sigmoid,
    /// max(a, 0).
    Relu,
    /// a.
    Identity,
}

impl Activation {
    /// All of them.
    pub const ALL: [Activation; 4] = [Activation::Tanh, Activation::Sigmoid, Activation::Relu, Activation::Identity];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Activation::Tanh => "tanh",
            Activation::Sigmoid => "sigmoid",
            Activation::Relu => "relu",
            Activation::Identity => "identity",
        }
    }

    /// The activation of this name.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is none.
    pub fn named(name: &str) -> Result<Activation> {
        let names = Activation::ALL.map(Activation::name).join(", ");
        let missing = || Error::Usage(format!("there is no activation \"{name}\"; there are {names}"));
        Activation::ALL.into_iter().find(|activation| activation.name() == name).ok_or_else(missing)
    }

    /// φ(a).
    #[must_use]
    pub fn value(self, a: f64) -> f64 {
        match self {
            Activation::Tanh => a.tanh(),
            Activation::Sigmoid => 1.0 / (1.0 + (-a).exp()),
            // Not `a.max(0.0)`, which would turn NaN into 0.
            Activation::Relu if a <= 0.0 => 0.0,
            Activation::Relu | Activation::Identity => a,
        }
    }

    /// φ′(a), from h = φ(a).
    #[must_use]
    pub fn derivative(self, h: f64) -> f64 {
        match self {
            Activation::Tanh => (1.0 - h) * (1.0 + h),
            Activation::Sigmoid => h * (1.0 - h),
            Activation::Relu => f64::from(h > 0.0),
            Activation::Identity => 1.0,
        }
    }

    /// Where φ or one of its first two derivatives jumps. Finite differences across such a point are not the derivative.
    #[must_use]
    pub fn kinks(self) -> &'static [f64] {
        match self {
            Activation::Relu => &[0.0],
            Activation::Tanh | Activation::Sigmoid | Activation::Identity => &[],
        }
    }
}
