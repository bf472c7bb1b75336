//! The activations φ of a recurrent cell, each with its derivative **from its value**: σ′ = h(1−h), tanh′ = 1−h²,
//! ReLU′ = \[h > 0\], so that the backward pass needs no pre-activation.
//!
//! Each is one `Definition`, and the program knows no more of it: help texts, `check`, `study` and the tests go through the list
//! and ask. It has two functions of each kind: `value`, the definition, and `fast`, the f32
//! function that training runs, the same formula as `shaders/shared/activation.wgsl` has. To add one: a line in the list and its
//! definition here, its cases there, and its equation in `reference/activation.rs`.

mod definition;
mod fast;

use num_traits::Float;

use crate::numbers::Real;
use crate::rounding::{DIVISION, TINY, U, flushed};
use definition::Definition;
pub(crate) use fast::{EXP_ERROR, exp_nonpositive};
use fast::{SIGMOID_ERROR, TANH_ERROR, sigmoid, tanh};

/// Makes [`Activation`] of the list, and two macros: `defined!` asks the definition of one, and `with_known!` runs `$run` with the
/// activation as a constant, `$known`, so that a loop over values has no branch in it and runs in vectors. `$d` is a dollar sign.
macro_rules! activations {
    ($d:tt $($(#[$doc:meta])* $name:ident,)*) => {
        /// The activation φ of h = φ(a).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum Activation {
            $($(#[$doc])* $name,)*
        }

        impl Activation {
            /// All of them; an activation's position is its code in the shaders.
            pub const ALL: [Activation; [$(Activation::$name),*].len()] = [$(Activation::$name),*];
        }

        $(struct $name;)*

        macro_rules! defined {
            ($d activation:expr, $d definition:ident => $d asked:expr) => {
                match $d activation {
                    $(Activation::$name => {
                        type $d definition = $crate::activation::$name;
                        $d asked
                    })*
                }
            };
        }

        macro_rules! with_known {
            ($d activation:expr, $d known:ident => $d run:expr) => {
                match $d activation {
                    $($crate::Activation::$name => {
                        const $d known: $crate::Activation = $crate::Activation::$name;
                        $d run
                    })*
                }
            };
        }
        pub(crate) use {defined, with_known};
    };
}

activations! { $
    /// tanh(a), derivative 1 − h².
    Tanh,
    /// 1 / (1 + e⁻ᵃ), derivative h(1 − h).
    Sigmoid,
    /// max(a, 0), derivative 1 where h > 0 and else 0.
    Relu,
    /// a, derivative 1.
    Identity,
}

impl Definition for Tanh {
    const NAME: &'static str = "tanh";
    const STEEPEST: f64 = 1.0;
    const ROUNDS: Option<[f32; 2]> = Some([-7.9, 7.9]);

    fn value<T: Float>(a: T) -> T {
        a.tanh()
    }

    #[inline(always)]
    fn derivative<T: Float>(h: T) -> T {
        T::one() - h * h
    }

    #[inline(always)]
    fn fast<R: Real>(a: R) -> R {
        tanh(a)
    }

    #[inline(always)]
    fn fast_derivative<R: Real>(h: R) -> R {
        h.constant(1.0) - h * h
    }

    fn bend(h: f64) -> f64 {
        -2.0 * h
    }

    fn error(h: f64) -> f64 {
        of_formula(TANH_ERROR, h)
    }

    /// Two roundings.
    fn derivative_error(h: f64) -> f64 {
        U * (h * h + (1.0 - h * h).abs()) + TINY
    }
}

impl Definition for Sigmoid {
    const NAME: &'static str = "sigmoid";
    const STEEPEST: f64 = 0.25;
    const ROUNDS: Option<[f32; 2]> = Some([-86.0, 16.0]);

    fn value<T: Float>(a: T) -> T {
        T::one() / (T::one() + (-a).exp())
    }

    #[inline(always)]
    fn derivative<T: Float>(h: T) -> T {
        h * (T::one() - h)
    }

    #[inline(always)]
    fn fast<R: Real>(a: R) -> R {
        sigmoid(a)
    }

    #[inline(always)]
    fn fast_derivative<R: Real>(h: R) -> R {
        h * (h.constant(1.0) - h)
    }

    fn bend(h: f64) -> f64 {
        1.0 - 2.0 * h
    }

    fn error(h: f64) -> f64 {
        of_formula(SIGMOID_ERROR, h)
    }

    /// Two roundings.
    fn derivative_error(h: f64) -> f64 {
        2.0 * U * (h * (1.0 - h)).abs() + flushed(h) + TINY
    }
}

impl Definition for Relu {
    const NAME: &'static str = "relu";
    const STEEPEST: f64 = 1.0;
    const IS_STRAIGHT: bool = true;
    const KEEPS_INTEGERS: bool = true;
    const HAS_DEAD_SIDE: bool = true;
    const JUMPS: &'static [(f64, f64)] = &[(0.0, 1.0)];

    /// NaN stays NaN.
    fn value<T: Float>(a: T) -> T {
        if a < T::zero() { T::zero() } else { a }
    }

    #[inline(always)]
    fn derivative<T: Float>(h: T) -> T {
        if h > T::zero() { T::one() } else { T::zero() }
    }

    #[inline(always)]
    fn fast<R: Real>(a: R) -> R {
        a.if_less(a.constant(0.0), a.constant(0.0), a)
    }

    #[inline(always)]
    fn fast_derivative<R: Real>(h: R) -> R {
        h.constant(0.0).if_less(h, h.constant(1.0), h.constant(0.0))
    }

    fn bend(_: f64) -> f64 {
        0.0
    }

    /// A negative number that counts as zero is not below it.
    fn error(_: f64) -> f64 {
        TINY
    }

    fn derivative_error(h: f64) -> f64 {
        if h > 0.0 && h < TINY { 1.0 } else { 0.0 }
    }

    fn slope(a: f64, off: f64) -> f64 {
        f64::from(a + off > 0.0)
    }
}

impl Definition for Identity {
    const NAME: &'static str = "identity";
    const STEEPEST: f64 = 1.0;
    const IS_STRAIGHT: bool = true;
    const KEEPS_INTEGERS: bool = true;

    fn value<T: Float>(a: T) -> T {
        a
    }

    #[inline(always)]
    fn derivative<T: Float>(_: T) -> T {
        T::one()
    }

    #[inline(always)]
    fn fast<R: Real>(a: R) -> R {
        a
    }

    #[inline(always)]
    fn fast_derivative<R: Real>(h: R) -> R {
        h.constant(1.0)
    }

    fn bend(_: f64) -> f64 {
        0.0
    }

    fn error(h: f64) -> f64 {
        flushed(h)
    }

    fn derivative_error(_: f64) -> f64 {
        0.0
    }

    fn slope(_: f64, _: f64) -> f64 {
        1.0
    }
}

/// How far h may be off by a formula with so large a relative error, in which a quotient is rounded correctly, and by what a device may add
/// to that. eˣ counts as zero below −87, where it is 1.4·2⁻¹²⁶.
fn of_formula(written: f64, h: f64) -> f64 {
    (written + DIVISION - U) * h.abs() + 2.0 * TINY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_the_largest_nearby() {
        for activation in Activation::ALL {
            for i in -30..=30 {
                // The derivative from a value near 1 has few digits left.
                let (a, off) = (f64::from(i) / 5.0, 0.3);
                let near = (-100..=100).map(|j| a + off * f64::from(j) / 100.0);
                let largest = near.map(|a| activation.derivative(activation.value(a))).fold(0.0, f64::max);
                let slope = activation.slope(a, off);
                assert!(
                    slope >= largest * (1.0 - 1e-12) && slope <= largest * 1.01 + 1e-9,
                    "{activation} at {a}: {slope}, {largest}"
                );
            }
        }
    }

    #[test]
    fn nan_stays_nan() {
        for activation in Activation::ALL {
            let mut values = [f32::NAN, 1.0];
            activation.apply(&mut values);
            assert!(values[0].is_nan(), "{activation} hides NaN");
            assert!(activation.value(f64::NAN).is_nan(), "the definition of {activation} hides NaN");
        }
    }

    #[test]
    fn names_and_codes_find_them() {
        for activation in Activation::ALL {
            assert_eq!(Activation::named(activation.name()), Some(activation));
            assert_eq!(Activation::coded(activation.code()), activation);
            assert_eq!(serde_json::to_string(&activation).unwrap(), format!("\"{activation}\""), "its name in files");
        }
    }

    /// Arguments around a kink at zero, and values there.
    fn around() -> impl Iterator<Item = f64> {
        (-40..40).map(|i| f64::from(i) / 8.0 + 0.03)
    }

    #[test]
    fn derivatives_are_those_of_the_values() {
        for activation in Activation::ALL {
            for a in around() {
                let slope = (activation.value(a + 1e-5) - activation.value(a - 1e-5)) / 2e-5;
                let derivative = activation.derivative(activation.value(a));
                approx::assert_relative_eq!(derivative, slope, epsilon = 1e-9, max_relative = 1e-6);
            }
        }
    }

    /// What a definition says of its functions, from the functions.
    #[test]
    fn facts_are_true() {
        for activation in Activation::ALL {
            let derivative = |h: f64| activation.derivative(h);
            let of_argument = |a: f64| derivative(activation.value(a));
            for h in around().map(|a| activation.value(a)).filter(|&h| activation.jump(h, 1e-6) == 0.0) {
                let bend = (derivative(h + 1e-7) - derivative(h - 1e-7)) / 2e-7;
                approx::assert_abs_diff_eq!(activation.bend(h), bend, epsilon = 1e-6);
                assert!(!activation.is_straight() || bend == 0.0, "{activation} bends at {h}");
            }
            let largest = around().chain([0.0, 1e-9]).map(of_argument).fold(0.0, f64::max);
            approx::assert_abs_diff_eq!(largest, activation.steepest(), epsilon = 1e-6);
            for zero in [activation.value(0.0), activation.value(1e-300)] {
                let jump = (derivative(zero + 1e-9) - derivative(zero - 1e-9)).abs();
                approx::assert_abs_diff_eq!(activation.jump(zero, 1e-9), jump, epsilon = 1e-6);
                assert_eq!(activation.jump(zero + 2e-9, 1e-9), 0.0, "{activation} jumps elsewhere");
            }
            let is_whole = |x: i32| activation.value(f64::from(x)).fract() == 0.0 && of_argument(f64::from(x)).fract() == 0.0;
            assert_eq!((-4..=4).all(is_whole), activation.keeps_integers(), "{activation}");
            // tanh′ is 8e-9 there.
            assert_eq!([-10.0, 10.0].map(of_argument).contains(&0.0), activation.has_dead_side(), "{activation}");
        }
    }

    /// The f32 functions against the definitions: rounded and fused ones, and what rounds nothing has the same bits.
    #[test]
    fn f32_is_as_near_as_the_definitions_say() {
        for activation in Activation::ALL {
            let [low, high] = activation.rounds().unwrap_or([-100.0, 100.0]);
            for x in (-1000..=11_000).map(|i| low + (high - low) * i as f32 / 1e4) {
                let exact: f64 = activation.value(f64::from(x));
                for got in activation.twins(x) {
                    let off = (f64::from(got) - exact).abs();
                    assert!(off <= activation.error(exact), "{activation} of {x}: off by {off:e}");
                    assert!(activation.rounds().is_some() || off == 0.0, "{activation} of {x} rounds");
                    let off = (f64::from(activation.fast_derivative(got)) - activation.derivative(f64::from(got))).abs();
                    assert!(off <= activation.derivative_error(f64::from(got)), "{activation}′ of {got}: off by {off:e}");
                }
            }
        }
    }
}
