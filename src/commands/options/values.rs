//! The values of options, and how they are read.

use std::time::Duration;

use retrospect::Activation;
use retrospect::model::Config;
use retrospect::train::Schedule;

/// What gradients are clipped to, if they are.
#[derive(Clone, Copy)]
pub struct Clip(pub Option<f32>);

/// How often something happens, if it does: every so many training steps.
#[derive(Clone, Copy)]
pub(super) struct Every(pub Option<u64>);

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

/// A time that is not zero.
pub fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let seconds = number(text)?;
    let time = Duration::try_from_secs_f64(seconds).ok().filter(|&time| time >= Duration::from_millis(1));
    time.ok_or_else(|| format!("{text} is not a time of a millisecond or more"))
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

pub(super) fn decay(text: &str) -> std::result::Result<f32, String> {
    number(text).and_then(|x| if (0.0..1.0).contains(&x) { Ok(x as f32) } else { Err(format!("{x} is not in [0, 1)")) })
}

pub(super) fn small(text: &str) -> std::result::Result<f32, String> {
    not_negative(text).map(|x| x as f32)
}

pub(super) fn bound(text: &str) -> std::result::Result<f32, String> {
    match number(text)? as f32 {
        x if x > 0.0 && x.is_finite() => Ok(x),
        _ => Err(format!("{text} is not positive and finite in f32")),
    }
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

pub(super) fn schedule(text: &str) -> std::result::Result<Schedule, String> {
    text.parse()
}

pub(super) fn every(text: &str) -> std::result::Result<Every, String> {
    match text {
        "off" => Ok(Every(None)),
        number => match number.parse::<u64>() {
            Ok(0) => Err("0 is not in 1..; `off` is never".into()),
            Ok(every) => Ok(Every(Some(every))),
            Err(error) => Err(format!("{error}; expected off or a whole number")),
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
