//! What a component of an output costs: the definition of each penalty, its slope, and how far f32 may be from both.

use crate::activation::EXP_ERROR;
use crate::rounding::{DIVISION, TINY, U, flushed, logarithm};

/// The penalty of an output o against a target v, with e = o − v and the number that it needs of its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Penalty {
    /// e².
    Squared,
    /// |e|.
    Absolute,
    /// e²/2 up to |e| = δ, and δ·(|e| − δ/2) beyond; δ is the column's number.
    Huber,
    /// −v·ln σ(o) − (1 − v)·ln(1 − σ(o)).
    Binary,
    /// (1 − q)·e for e > 0, else −q·e; q is the column's number.
    Pinball,
}

impl Penalty {
    /// All of them, by their codes.
    pub const ALL: [Penalty; 5] = [Penalty::Squared, Penalty::Absolute, Penalty::Huber, Penalty::Binary, Penalty::Pinball];

    pub(super) fn coded(code: u32) -> Penalty {
        Penalty::ALL[code as usize]
    }

    /// The penalty itself. NaN makes it NaN, which `max` would lose.
    #[must_use]
    pub fn value(self, o: f64, v: f64, constant: f64) -> f64 {
        let e = o - v;
        match self {
            Penalty::Squared => e * e,
            Penalty::Absolute => e.abs(),
            Penalty::Huber if e.abs() > constant => constant * (e.abs() - constant / 2.0),
            Penalty::Huber => e * e / 2.0,
            // ln(1 + eᵒ) − o·v, without an exponential that overflows.
            Penalty::Binary => (if o > 0.0 { o } else { 0.0 }) - o * v + (-o.abs()).exp().ln_1p(),
            Penalty::Pinball if e > 0.0 => (1.0 - constant) * e,
            Penalty::Pinball => -constant * e,
        }
    }

    /// Its derivative by o; 0 at a corner.
    #[must_use]
    pub fn slope(self, o: f64, v: f64, constant: f64) -> f64 {
        let e = o - v;
        let of_sides = |below: f64, above: f64| {
            if e > 0.0 {
                above
            } else if e < 0.0 {
                below
            } else {
                e
            }
        };
        match self {
            Penalty::Squared => 2.0 * e,
            Penalty::Absolute => of_sides(-1.0, 1.0),
            Penalty::Huber if e.abs() > constant => of_sides(-constant, constant),
            Penalty::Huber => e,
            Penalty::Binary => {
                let t = (-o.abs()).exp();
                (if o > 0.0 { 1.0 } else { t }) / (1.0 + t) - v
            }
            Penalty::Pinball => of_sides(-constant, 1.0 - constant),
        }
    }

    /// How far the penalty and its slope in f32 may be off. e rounds once; where that, or what is lost of small numbers, may change its side,
    /// the slope may be that of the other side, or of the corner.
    pub(super) fn errors(self, o: f64, v: f64, constant: f64) -> [f64; 2] {
        let e = o - v;
        let small = flushed(o) + flushed(v) + flushed(e);
        let off = U * e.abs() + small;
        let value = self.value(o, v, constant).abs();
        // e rounds to 0 or to the other side only where something small is lost.
        let jump = |height: f64| if e.abs() <= small { height } else { 0.0 };
        match self {
            Penalty::Squared => [2.0 * e.abs() * off + off * off + U * value + 2.0 * TINY, 2.0 * off],
            Penalty::Absolute => [off, jump(2.0)],
            Penalty::Huber => {
                let steepest = constant.min(e.abs() + off);
                [steepest * off + off * off + 3.0 * U * value + 3.0 * TINY, off + TINY]
            }
            Penalty::Binary => {
                // With t = e^−|o|: its own error, below −87 all of it; the sum with 1; the logarithm; o·v; and two sums.
                let t = (-o.abs()).exp();
                let t_off = EXP_ERROR * t + 2.0 * TINY;
                let log = t_off + U + logarithm(1.0 + t);
                let sizes = o.abs() + (o * v).abs() + 1.0;
                let lost = flushed(o) * (1.0 + v.abs()) + flushed(v) * o.abs() + 3.0 * TINY;
                let sigmoid = t_off + (2.0 * U + DIVISION) + TINY;
                let slope = self.slope(o, v, constant).abs();
                [log + 3.0 * U * sizes + lost, sigmoid + U * slope + flushed(o) + flushed(v) + TINY]
            }
            Penalty::Pinball => [off + 2.0 * U * value + 2.0 * TINY, U + jump(1.0)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every slope is the difference of its penalty, on both sides of every corner.
    #[test]
    fn slopes_are_differences() {
        for penalty in Penalty::ALL {
            for (o, v) in [(1.7, 0.3), (-2.2, 0.9), (0.4, 0.45), (0.1, 0.8), (30.0, 1.0), (-30.0, 1.0)] {
                let value = |o: f64| penalty.value(o, v, 0.6);
                let step = 1e-5;
                let difference = (value(o + step) - value(o - step)) / (2.0 * step);
                approx::assert_abs_diff_eq!(penalty.slope(o, v, 0.6), difference, epsilon = 1e-8);
            }
        }
    }
}
