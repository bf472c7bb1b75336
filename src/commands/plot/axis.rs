//! Linear axes with ticks at round numbers, and labels with as many digits as it takes to tell those apart.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::{TEXT, width};
use crate::commands::terminal::thousands;

/// A label is a power of ten where, written in full, it is longer than `SHORT` characters, and longer than the power by more than `SAVED`.
const SAVED: usize = 3;
const SHORT: usize = 7;

/// What an axis shows, and its ticks with their labels.
#[derive(Debug, Clone)]
pub struct Axis {
    range: Range<f64>,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// An axis of values between two, with some room around them: a constant is in the middle. At most `most` ticks.
    pub fn around([low, high]: [f64; 2], most: usize) -> Axis {
        let size = low.abs().max(high.abs());
        // A smaller span is rounding.
        let room = if high - low > size * 1e-12 { (high - low) * 0.05 } else { size * 0.05 };
        let room = if room > 0.0 { room } else { 0.05 };
        // Beyond this, a power of ten is no f64.
        Axis::new(low - room..high + room, most, -300)
    }

    /// An axis of things of which there are no halves, from the first to the last. A single one is in the middle.
    pub fn of_wholes([first, last]: [f64; 2], most: usize) -> Axis {
        let room = if last > first { 0.0 } else { 0.5 };
        Axis::new(first - room..last + room, most, 0)
    }

    /// Ticks that are at least `10^least` apart.
    fn new(range: Range<f64>, most: usize, least: i32) -> Axis {
        let decade = ((range.end - range.start) / most as f64).log10().floor() as i32;
        let distances = (decade.max(least)..).flat_map(|exponent| [1, 2, 5].map(|factor| (factor, exponent)));
        let of = |(factor, exponent): (i128, i32)| -> Vec<(i128, i32)> {
            let [first, last] = [range.start, range.end].map(|end| unscaled(end, exponent) / factor as f64);
            // What is off by rounding alone is inside.
            let (first, last) = ((first - 1e-6).ceil() as i128, (last + 1e-6).floor() as i128);
            (first..=last).take(most + 1).map(|i| (i * factor, exponent)).collect()
        };
        let ticks = distances.map(of).find(|ticks| ticks.len() <= most).unwrap_or_default();
        let [plain, powers] = [plain, power].map(|write| ticks.iter().map(write).collect::<Vec<String>>());
        let longest = |labels: &[String]| labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
        let is_short = least >= 0 || longest(&plain) <= SHORT.max(longest(&powers) + SAVED);
        let labels = if is_short { plain } else { powers };
        let value = |&(digits, exponent): &(i128, i32)| format!("{digits}e{exponent}").parse().unwrap_or(f64::NAN);
        let ticks = ticks.iter().map(value).zip(labels).collect();
        Axis { range, ticks }
    }

    /// The label of a tick.
    pub fn label(&self, at: &f64) -> String {
        self.ticks.iter().find(|(tick, _)| tick == at).map_or(String::new(), |(_, label)| label.clone())
    }

    /// About how many pixels the labels are wide.
    pub fn width(&self) -> i32 {
        self.ticks.iter().map(|(_, label)| width(label, TEXT)).max().unwrap_or(0)
    }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(self.range.clone()).map(value, limit)
    }

    fn key_points<H: KeyPointHint>(&self, _: H) -> Vec<f64> {
        self.ticks.iter().map(|(tick, _)| *tick).collect()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

/// `x / 10^exponent`.
fn unscaled(x: f64, exponent: i32) -> f64 {
    // The powers of ten up to 22 are exact, and a hundredth is not.
    if exponent < 0 { x * 10_f64.powi(-exponent) } else { x / 10_f64.powi(exponent) }
}

fn with_sign(digits: i128, size: String) -> String {
    if digits < 0 { format!("−{size}") } else { size }
}

/// `digits · 10^exponent` in full.
fn plain(&(digits, exponent): &(i128, i32)) -> String {
    let size = digits.unsigned_abs();
    // What is longer than this is a power of ten in any case.
    let power = 10_u128.pow(exponent.unsigned_abs().min(18));
    let (whole, part) = if exponent < 0 { (size / power, size % power) } else { (size.saturating_mul(power), 0) };
    let decimals = exponent.min(0).unsigned_abs() as usize;
    let part = format!("{part:0decimals$}");
    let part = part.trim_end_matches('0');
    let point = if part.is_empty() { "" } else { "." };
    with_sign(digits, format!("{}{point}{part}", thousands(u64::try_from(whole).unwrap_or(u64::MAX))))
}

/// `digits · 10^exponent` as a power of ten.
fn power(&(digits, exponent): &(i128, i32)) -> String {
    if digits == 0 {
        return "0".into();
    }
    let all = digits.unsigned_abs().to_string();
    let (first, others) = all.split_at(1);
    let exponent = exponent + others.len() as i32;
    let others = others.trim_end_matches('0');
    let point = if others.is_empty() { "" } else { "." };
    with_sign(digits, format!("{first}{point}{others}e{exponent}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn labels_are_short_and_those_of_round_numbers() {
        let cases: [([f64; 2], &[&str]); 7] = [
            ([-1.0, 1.0], &["−1", "−0.5", "0", "0.5", "1"]),
            ([1e9 - 2.0, 1e9 + 2.0], &["999,999,998", "999,999,999", "1,000,000,000", "1,000,000,001", "1,000,000,002"]),
            ([2.8e9, 3.2e9], &["2.8e9", "2.9e9", "3e9", "3.1e9", "3.2e9"]),
            ([-1.5e-7, -0.5e-7], &["−1.4e-7", "−1.2e-7", "−1e-7", "−8e-8", "−6e-8"]),
            ([5.0, 5.0], &["4.8", "4.9", "5", "5.1", "5.2"]),
            ([0.0, 0.0], &["−0.04", "−0.02", "0", "0.02", "0.04"]),
            ([0.0, 6000.0], &["0", "2,000", "4,000", "6,000"]),
        ];
        for (ends, expected) in cases {
            assert_eq!(labels(&Axis::around(ends, 6)), expected, "{ends:?}");
        }
    }

    #[test]
    fn labels_tell_ticks_apart_on_any_axis() {
        for size in (-150..150).map(|exponent| 1.234_567_890_123 * 10_f64.powi(exponent)) {
            for part in [1e-15, 1e-13, 1e-11, 1e-8, 1e-3, 0.3, 1.0, 2.0] {
                for ends in [[size * (1.0 - part), size], [-size, -size * (1.0 - part)]] {
                    let axis = Axis::around(ends, 6);
                    let all = labels(&axis);
                    assert!((2..=6).contains(&all.len()), "{axis:?}");
                    assert!(axis.ticks.iter().all(|(tick, _)| axis.range.contains(tick)), "{axis:?}");
                    assert!(all.windows(2).all(|two| two[0] != two[1]), "{axis:?}");
                    for (tick, label) in &axis.ticks {
                        let value: f64 = label.replace(',', "").replace('−', "-").parse().unwrap();
                        assert_eq!(value, *tick, "{axis:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn time_steps_are_wholes() {
        for (ends, expected) in [
            ([0.0, 0.0], &["0"] as &[_]),
            ([7.0, 7.0], &["7"]),
            ([0.0, 1.0], &["0", "1"]),
            ([0.0, 2.0], &["0", "1", "2"]),
            ([1500.0, 1999.0], &["1,500", "1,600", "1,700", "1,800", "1,900"]),
        ] {
            assert_eq!(labels(&Axis::of_wholes(ends, 6)), expected, "{ends:?}");
        }
    }
}
