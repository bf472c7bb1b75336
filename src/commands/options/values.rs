//! The values of options, and how they are read.

use clap::ValueEnum;
use retrospect::Activation;
use retrospect::data::Defaults;
use retrospect::model::{Config, Optimizer};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OptimizerChoice {
    Adam,
    Sgd,
    Momentum,
}

impl OptimizerChoice {
    /// A task's own.
    pub fn usual_for(defaults: &Defaults) -> OptimizerChoice {
        defaults.optimizer.and_then(|name| OptimizerChoice::from_str(name, true).ok()).unwrap_or(OptimizerChoice::Adam)
    }

    /// The optimiser, with μ for the one that has it.
    pub fn with(self, momentum: f32) -> Optimizer {
        match self {
            OptimizerChoice::Adam => Optimizer::Adam,
            OptimizerChoice::Sgd => Optimizer::Sgd,
            OptimizerChoice::Momentum => Optimizer::Momentum { momentum },
        }
    }
}

/// What gradients are clipped to, if they are.
#[derive(Clone, Copy)]
pub struct Clip(pub Option<f32>);

/// How often gradients are traced, if they are.
#[derive(Clone, Copy)]
pub(super) struct Tracing(pub Option<u64>);

/// Which hidden states are kept.
#[derive(Clone, Copy)]
pub enum Recompute {
    Auto,
    Off,
    Every(usize),
}

impl Recompute {
    /// For windows of so many time steps: [`Config::recompute`].
    pub fn for_window(self, window: usize) -> Option<usize> {
        match self {
            Recompute::Auto => Some(Config::recompute_of(window)),
            Recompute::Off => None,
            Recompute::Every(steps) => Some(steps),
        }
    }
}

pub fn count() -> clap::builder::RangedU64ValueParser<u64> {
    clap::builder::RangedU64ValueParser::new().range(1..)
}

pub fn size() -> impl clap::builder::TypedValueParser<Value = usize> {
    use clap::builder::TypedValueParser;
    clap::builder::RangedU64ValueParser::<u64>::new().range(1..=u64::from(u32::MAX)).map(|n| n as usize)
}

/// Words that are kept: one alone would tell nothing.
pub fn words() -> impl clap::builder::TypedValueParser<Value = usize> {
    use clap::builder::TypedValueParser;
    clap::builder::RangedU64ValueParser::<u64>::new().range(2..=1 << 24).map(|n| n as usize)
}

fn number(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x.is_finite() => Ok(x),
        Ok(x) => Err(format!("{x} is not a finite number")),
        Err(error) => Err(error.to_string()),
    }
}

pub fn not_negative(text: &str) -> std::result::Result<f64, String> {
    number(text).and_then(|x| if x >= 0.0 { Ok(x) } else { Err(format!("{x} is negative")) })
}

/// The probability of a unit to be dropped.
pub fn probability(text: &str) -> std::result::Result<f64, String> {
    number(text).and_then(|x| if (0.0..1.0).contains(&x) { Ok(x) } else { Err(format!("{x} is not in [0, 1)")) })
}

/// A part of a whole, but not nothing of it.
pub fn share(text: &str) -> std::result::Result<f64, String> {
    number(text).and_then(|x| if x > 0.0 && x <= 1.0 { Ok(x) } else { Err(format!("{x} is not in (0, 1]")) })
}

pub(super) fn momentum(text: &str) -> std::result::Result<f32, String> {
    number(text).and_then(|x| if (0.0..1.0).contains(&x) { Ok(x as f32) } else { Err(format!("{x} is not in [0, 1)")) })
}

pub fn clip(text: &str) -> std::result::Result<Clip, String> {
    if text == "none" {
        return Ok(Clip(None));
    }
    let x = number(text)? as f32;
    match x {
        x if x.is_infinite() => Err(format!("{text} is beyond f32")),
        x if x <= 0.0 => Err(format!("{text} is not positive in f32; `none` does not clip")),
        x => Ok(Clip(Some(x))),
    }
}

pub(super) fn tracing(text: &str) -> std::result::Result<Tracing, String> {
    match text {
        "off" => Ok(Tracing(None)),
        number => match number.parse::<u64>() {
            Ok(0) => Err("0 is not in 1..".into()),
            Ok(every) => Ok(Tracing(Some(every))),
            Err(error) => Err(format!("{error}; expected off or a number of training steps")),
        },
    }
}

pub fn recompute(text: &str) -> std::result::Result<Recompute, String> {
    match text {
        "auto" => Ok(Recompute::Auto),
        "off" => Ok(Recompute::Off),
        number => match number.parse::<u32>() {
            Ok(0) => Err("0 is not in 1..=4294967295".into()),
            Ok(steps) => Ok(Recompute::Every(steps as usize)),
            Err(error) => Err(format!("{error}; expected auto, off or a number of time steps")),
        },
    }
}

pub fn activation(text: &str) -> std::result::Result<Activation, String> {
    Activation::named(text).ok_or_else(|| {
        let names: Vec<&str> = Activation::ALL.iter().map(|a| a.name()).collect();
        format!("there are {}", names.join(", "))
    })
}
