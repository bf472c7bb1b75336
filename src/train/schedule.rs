//! The learning rate of each training step, by PyTorch's formulas with a training step for each of its scheduler's steps.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::validations::Plateau;
use crate::{Error, Result};

/// How the learning rate changes. Each variant says its factor at step k, counted from 0, of the n training steps after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Schedule {
    /// 1.
    #[default]
    Constant,
    /// 1 − k/n.
    Linear,
    /// (1 + cos(π·k/n)) / 2 (Loshchilov & Hutter 2017).
    Cosine,
    /// γ for every `every` steps that have passed.
    Step {
        /// Training steps.
        every: u64,
        /// γ, above 0 and at most 1.
        factor: f64,
    },
    /// γᵏ.
    Exponential {
        /// γ, above 0 and at most 1.
        factor: f64,
    },
    /// γ for each time that more than `patience` validations in a row do not lower the best loss by 0.01 %.
    Plateau {
        /// Validations.
        patience: u64,
        /// γ, above 0 and at most 1.
        factor: f64,
    },
    /// From 1/25 up to 1 for three tenths of the steps and down to 4e-6, each along half a cosine (Smith & Topin 2019); momentum does not
    /// change.
    OneCycle,
}

/// All forms, for messages and help.
pub const FORMS: &str = "constant, linear, cosine, step:N:γ, exponential:γ, plateau:N:γ or onecycle";

/// Where a run stands when it asks for the rate of a training step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The training step, from 1.
    pub step: u64,
    /// The steps of the whole run.
    pub steps: u64,
    /// The steps of its warm-up.
    pub warmup: u64,
    /// What the plateaus so far have made of the rate.
    pub plateau: f64,
}

impl Schedule {
    /// What the learning rate is multiplied by: step/warmup in the warm-up, and then as the schedule says.
    pub(super) fn factor(self, at: Place) -> f64 {
        let Place { step, steps, warmup, plateau } = at;
        if step < warmup {
            return step as f64 / warmup as f64;
        }
        // The last step of the warm-up has the whole rate, and so has the first one behind it.
        let (k, n) = (step.saturating_sub(warmup + 1), steps.saturating_sub(warmup).max(1));
        let share = k as f64 / n as f64;
        match self {
            _ if step == warmup => 1.0,
            Schedule::Constant => 1.0,
            Schedule::Linear => 1.0 - share,
            Schedule::Cosine => half_cosine(1.0, 0.0, share),
            Schedule::Step { every, factor } => factor.powf((k / every) as f64),
            Schedule::Exponential { factor } => factor.powf(k as f64),
            Schedule::Plateau { .. } => plateau,
            Schedule::OneCycle => one_cycle(k as f64, n as f64),
        }
    }

    /// Checks that its constants are in range.
    ///
    /// # Errors
    /// [`Error::Usage`] with the constant.
    pub(super) fn check(self) -> Result<()> {
        let factor = match self {
            Schedule::Step { factor, .. } | Schedule::Exponential { factor } | Schedule::Plateau { factor, .. } => factor,
            _ => 1.0,
        };
        if !(factor > 0.0 && factor <= 1.0) {
            return Err(Error::Usage(format!("the factor of schedule {self} must be above 0 and at most 1")));
        }
        match self {
            Schedule::Step { every: 0, .. } => Err(Error::Usage(format!("the steps of schedule {self} must be at least 1"))),
            _ => Ok(()),
        }
    }

    /// What a run of this schedule knows of its plateaus before it starts.
    pub(super) fn plateau(self) -> Option<Plateau> {
        match self {
            Schedule::Plateau { .. } => Some(Plateau::default()),
            _ => None,
        }
    }
}

/// From one number to another along half a cosine, of which a share has passed.
fn half_cosine(from: f64, to: f64, share: f64) -> f64 {
    to + (from - to) / 2.0 * (1.0 + (PI * share).cos())
}

/// Step k of n of PyTorch's OneCycleLR, with its usual constants.
fn one_cycle(k: f64, n: f64) -> f64 {
    let (first, last) = (1.0 / 25.0, 1.0 / 25.0 / 1e4);
    // The last of its steps has the last rate.
    let (top, end) = (0.3 * n - 1.0, n - 1.0);
    if k <= top { half_cosine(first, 1.0, k / top) } else { half_cosine(1.0, last, (k - top) / (end - top).max(1.0)) }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schedule::Constant => f.write_str("constant"),
            Schedule::Linear => f.write_str("linear"),
            Schedule::Cosine => f.write_str("cosine"),
            Schedule::Step { every, factor } => write!(f, "step:{every}:{factor}"),
            Schedule::Exponential { factor } => write!(f, "exponential:{factor}"),
            Schedule::Plateau { patience, factor } => write!(f, "plateau:{patience}:{factor}"),
            Schedule::OneCycle => f.write_str("onecycle"),
        }
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Schedule, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let count = |text: &str| text.parse::<u64>().map_err(|e| format!("{text:?}: {e}"));
        let factor = |text: &str| text.parse::<f64>().map_err(|e| format!("{text:?}: {e}"));
        let schedule = match parts[..] {
            ["constant"] => Schedule::Constant,
            ["linear"] => Schedule::Linear,
            ["cosine"] => Schedule::Cosine,
            ["onecycle"] => Schedule::OneCycle,
            ["step", every, by] => Schedule::Step { every: count(every)?, factor: factor(by)? },
            ["exponential", by] => Schedule::Exponential { factor: factor(by)? },
            ["plateau", patience, by] => Schedule::Plateau { patience: count(patience)?, factor: factor(by)? },
            _ => return Err(format!("expected {FORMS}")),
        };
        schedule.check().map_err(|e| e.to_string())?;
        Ok(schedule)
    }
}

impl TryFrom<String> for Schedule {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Schedule, String> {
        text.parse()
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> String {
        schedule.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: u64 = 20;

    fn rates(schedule: &str, warmup: u64) -> Vec<f64> {
        let schedule: Schedule = schedule.parse().unwrap();
        let place = |step| Place { step, steps: STEPS, warmup, plateau: 1.0 };
        (1..=STEPS).map(|step| 0.1 * schedule.factor(place(step))).collect()
    }

    #[track_caller]
    fn near(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (step, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!((found - expected).abs() < 1e-9, "step {}: {found}, and PyTorch has {expected}", step + 1);
        }
    }

    /// PyTorch's rates, which `scripts/pytorch_optimizers.py` prints.
    #[test]
    fn rates_are_pytorch_s() {
        near(&rates("constant", 0), &[0.1; 20]);
        near(&rates("linear", 0), &std::array::from_fn::<f64, 20, _>(|k| 0.1 - 0.005 * k as f64));
        near(
            &rates("cosine", 0),
            &[
                0.1,
                0.099384417,
                0.0975528258,
                0.0945503262,
                0.0904508497,
                0.0853553391,
                0.0793892626,
                0.072699525,
                0.0654508497,
                0.0578217233,
                0.05,
                0.0421782767,
                0.0345491503,
                0.027300475,
                0.0206107374,
                0.0146446609,
                0.00954915028,
                0.00544967379,
                0.00244717419,
                0.00061558297,
            ],
        );
        near(
            &rates("step:6:0.5", 0),
            &[[0.1; 6], [0.05; 6], [0.025; 6]].concat().into_iter().chain([0.0125; 2]).collect::<Vec<_>>(),
        );
        near(&rates("exponential:0.9", 0)[..4], &[0.1, 0.09, 0.081, 0.0729]);
        assert!((rates("exponential:0.9", 0)[19] - 0.0135085172).abs() < 1e-9);
        near(
            &rates("onecycle", 0),
            &[
                0.004,
                0.0131671843,
                0.0371671843,
                0.0668328157,
                0.0908328157,
                0.1,
                0.0987464006,
                0.0950484632,
                0.0890916178,
                0.0811745654,
                0.0716943002,
                0.0611262022,
                0.0500002,
                0.0388741978,
                0.0283060998,
                0.0188258346,
                0.0109087822,
                0.0049519368,
                0.00125399938,
                4e-07,
            ],
        );
        near(
            &rates("cosine", 5),
            &[
                0.02,
                0.04,
                0.06,
                0.08,
                0.1,
                0.1,
                0.09890738,
                0.0956772729,
                0.0904508497,
                0.0834565303,
                0.075,
                0.0654508497,
                0.0552264232,
                0.0447735768,
                0.0345491503,
                0.025,
                0.0165434697,
                0.00954915028,
                0.00432272712,
                0.00109261996,
            ],
        );
    }

    /// However few steps there are, a rate is a number.
    #[test]
    fn short_runs_have_rates() {
        for schedule in ["constant", "linear", "cosine", "step:1:0.5", "exponential:0.5", "plateau:0:0.5", "onecycle"] {
            let schedule: Schedule = schedule.parse().unwrap();
            for steps in 1..6 {
                for warmup in 0..8 {
                    for step in 1..=steps {
                        let factor = schedule.factor(Place { step, steps, warmup, plateau: 1.0 });
                        assert!((0.0..=1.0).contains(&factor), "{schedule}, {step} of {steps}, {warmup}: {factor}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_the_rest_is_refused() {
        for text in ["constant", "linear", "cosine", "step:6:0.5", "exponential:0.9", "plateau:2:0.5", "onecycle"] {
            assert_eq!(text.parse::<Schedule>().unwrap().to_string(), text);
        }
        for text in
            ["", "cosines", "step", "step:0:0.5", "step:6:0", "step:6:1.5", "step:6:nan", "exponential:-1", "plateau:x:0.5"]
        {
            assert!(text.parse::<Schedule>().is_err(), "{text}");
        }
    }
}
