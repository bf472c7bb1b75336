//! The activations φ of a recurrent cell, each with its derivative **from its value**: σ′ = h(1−h), tanh′ = 1−h²,
//! ReLU′ = \[h > 0\], so that the backward pass needs no pre-activation.
//!
//! There are two of each: [`Activation::value`], the definition, and [`Activation::apply`], the f32 function that
//! training runs, the same formula as `shaders/shared/activation.wgsl` has. To add one: a variant and its arms here,
//! its arms there, and its equation in `reference.rs`.

use num_traits::Float;

use crate::numbers::{Fused, Real};
use crate::rounding::{DIVISION, TINY, U, flushed};
use crate::simd::arch;

/// Runs `$run` with the activation as a constant, `$known`: a loop over values has no branch in it then, and runs in vectors.
macro_rules! with_known {
    ($activation:expr, $known:ident => $run:expr) => {
        with_known!($activation, $known => $run, Tanh Sigmoid Relu Identity)
    };
    ($activation:expr, $known:ident => $run:expr, $($name:ident)*) => {
        match $activation {
            $($crate::Activation::$name => {
                const $known: $crate::Activation = $crate::Activation::$name;
                $run
            })*
        }
    };
}
pub(crate) use with_known;

/// The activation φ of h = φ(a).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// tanh(a), derivative 1 − h².
    Tanh,
    /// 1 / (1 + e⁻ᵃ), derivative h(1 − h).
    Sigmoid,
    /// max(a, 0), derivative 1 where h > 0 and else 0.
    Relu,
    /// a, derivative 1.
    Identity,
}

impl Activation {
    /// All of them; an activation's position is its code in the shaders.
    pub const ALL: [Activation; 4] = [Activation::Tanh, Activation::Sigmoid, Activation::Relu, Activation::Identity];

    /// Its name on the command line.
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
    #[must_use]
    pub fn named(name: &str) -> Option<Activation> {
        Activation::ALL.into_iter().find(|a| a.name() == name)
    }

    /// γ, its largest derivative.
    #[must_use]
    pub fn steepest(self) -> f64 {
        match self {
            Activation::Sigmoid => 0.25,
            Activation::Tanh | Activation::Relu | Activation::Identity => 1.0,
        }
    }

    /// dφ′/dφ at a value of φ: how an error of the value becomes one of the derivative, which is computed from it.
    #[must_use]
    pub fn bend(self, value: f64) -> f64 {
        match self {
            Activation::Sigmoid => 1.0 - 2.0 * value,
            Activation::Tanh => -2.0 * value,
            Activation::Relu | Activation::Identity => 0.0,
        }
    }

    /// Its code in the shaders.
    #[must_use]
    pub fn code(self) -> u32 {
        self as u32
    }

    /// The activation of this code.
    ///
    /// # Panics
    /// When no activation has it.
    #[must_use]
    pub fn coded(code: u32) -> Activation {
        Activation::ALL[code as usize]
    }

    /// φ(a), by the library's own functions.
    #[must_use]
    pub fn value<T: Float>(self, a: T) -> T {
        match self {
            Activation::Tanh => a.tanh(),
            Activation::Sigmoid => T::one() / (T::one() + (-a).exp()),
            Activation::Relu if a < T::zero() => T::zero(), // NaN stays NaN
            Activation::Relu | Activation::Identity => a,
        }
    }

    /// φ′(a) from h = φ(a).
    #[must_use]
    #[inline(always)]
    pub fn derivative<T: Float>(self, h: T) -> T {
        match self {
            Activation::Tanh => T::one() - h * h,
            Activation::Sigmoid => h * (T::one() - h),
            Activation::Relu if h > T::zero() => T::one(),
            Activation::Relu => T::zero(),
            Activation::Identity => T::one(),
        }
    }

    /// How far the f32 value may be from h = φ(a), as written here and in the shaders: that of the formula, in which a quotient
    /// is rounded correctly, and what a device may add to that. eˣ counts as zero below −87, where it is 1.4·2⁻¹²⁶.
    #[must_use]
    pub(crate) fn error(self, h: f64) -> f64 {
        let written = match self {
            Activation::Tanh => TANH_ERROR,
            Activation::Sigmoid => SIGMOID_ERROR,
            // A negative number that counts as zero is not below it.
            Activation::Relu => return TINY,
            Activation::Identity => return flushed(h),
        };
        (written + DIVISION - U) * h.abs() + 2.0 * TINY
    }

    /// The largest φ′ within `off` of a: how much of an error of a gets into φ(a).
    #[must_use]
    pub(crate) fn slope(self, a: f64, off: f64) -> f64 {
        let flattest: f64 = (a.abs() - off).max(0.0);
        match self {
            // Both are even; on the negative side no digits of the sigmoid's are lost.
            Activation::Tanh | Activation::Sigmoid => self.derivative(self.value(-flattest)),
            Activation::Relu => f64::from(a + off > 0.0),
            Activation::Identity => 1.0,
        }
    }

    /// How far the f32 derivative may be from φ′, from h: 1 − h² rounds twice, h(1 − h) twice, and the others not at all.
    #[must_use]
    pub(crate) fn derivative_error(self, h: f64) -> f64 {
        match self {
            Activation::Tanh => U * (h * h + (1.0 - h * h).abs()) + TINY,
            Activation::Sigmoid => 2.0 * U * (h * (1.0 - h)).abs() + flushed(h) + TINY,
            Activation::Relu if h > 0.0 && h < TINY => 1.0,
            Activation::Relu | Activation::Identity => 0.0,
        }
    }

    /// φ(a) as a device computes it that rounds each product and each sum, and as one does that fuses them.
    pub(crate) fn twins(self, a: f32) -> [f32; 2] {
        match self {
            Activation::Relu | Activation::Identity => [self.value(a); 2],
            _ => [self.fast(a), self.fast(Fused(a)).0],
        }
    }

    /// Replaces each a by φ(a), in f32.
    pub fn apply(self, values: &mut [f32]) {
        // A dispatch for each: only a small closure is inlined into what is compiled for the processor's features.
        let arch = arch();
        match self {
            Activation::Tanh => arch.dispatch(|| values.iter_mut().for_each(|v| *v = tanh(*v))),
            Activation::Sigmoid => arch.dispatch(|| values.iter_mut().for_each(|v| *v = sigmoid(*v))),
            Activation::Relu => arch.dispatch(|| values.iter_mut().for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v })),
            Activation::Identity => {}
        }
    }
}

impl std::fmt::Display for Activation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The largest relative errors of the functions below: over all f32 they were 7.85, 2.99 and 1.36 u, and a fused multiplication and
/// addition, which a device may use, changes them by less than the rest. The tests go through millions of values.
const TANH_ERROR: f64 = 9.0 * U;
const SIGMOID_ERROR: f64 = 4.0 * U;
pub(crate) const EXP_ERROR: f64 = 2.0 * U;

/// tanh(x) as an odd polynomial of degree 13 over an even one of degree 6, saturated at |x| = 7.905, x itself near zero.
/// The coefficients are those of Eigen's `generic_fast_tanh_float`.
#[inline(always)]
pub(crate) fn tanh<R: Real>(x: R) -> R {
    // Comparisons and not min and max, so that NaN stays NaN.
    let (low, high) = (x.constant(-7.905_311), x.constant(7.905_311));
    let c = high.if_less(x, high, x);
    let c = c.if_less(low, low, c);
    let s = c * c;
    let p = s.times_plus(s.constant(-2.760_768_5e-16), s.constant(2.000_188e-13));
    let p = s.times_plus(p, s.constant(-8.604_672e-11));
    let p = s.times_plus(p, s.constant(5.122_297e-8));
    let p = s.times_plus(p, s.constant(1.485_722_4e-5));
    let p = s.times_plus(p, s.constant(6.372_619_4e-4));
    let p = s.times_plus(p, s.constant(4.893_524_5e-3));
    let q = s.times_plus(s.constant(1.198_258_4e-6), s.constant(1.185_347_1e-4));
    let q = s.times_plus(q, s.constant(2.268_434_6e-3));
    let q = s.times_plus(q, s.constant(4.893_525e-3));
    x.abs().if_less(x.constant(4e-4), x, c * p / q)
}

/// 1 / (1 + e⁻ˣ), through e^−|x| so that nothing overflows and small values keep their digits.
#[inline(always)]
pub(crate) fn sigmoid<R: Real>(x: R) -> R {
    let one = x.constant(1.0);
    let e = exp_nonpositive(x.constant(0.0) - x.abs());
    x.if_less(x.constant(0.0), e, one) / (one + e)
}

/// eˣ for x ≤ 0: x = n·ln 2 + r, a polynomial in r, times 2ⁿ; zero below −87. The coefficients are those of Cephes' `expf`.
#[inline(always)]
pub(crate) fn exp_nonpositive<R: Real>(x: R) -> R {
    let least = x.constant(-87.0);
    let c = x.if_less(least, least, x);
    // Adding 1.5·2²³ rounds to the nearest integer and leaves it in the low bits.
    let shifted = c.times_plus(c.constant(std::f32::consts::LOG2_E), c.constant(12_582_912.0));
    let n = shifted - c.constant(12_582_912.0);
    let r = n.times_plus(c.constant(-0.693_359_4), c);
    let r = n.times_plus(c.constant(2.121_944_4e-4), r);
    let p = r.times_plus(c.constant(1.987_569_1e-4), c.constant(1.398_199_9e-3));
    let p = r.times_plus(p, c.constant(8.333_452e-3));
    let p = r.times_plus(p, c.constant(4.166_579_6e-2));
    let p = r.times_plus(p, c.constant(0.166_666_65));
    let p = r.times_plus(p, c.constant(0.5));
    let p = (r * r).times_plus(p, r) + c.constant(1.0);
    x.if_less(least, x.constant(0.0), p * shifted.two_to_the_low_bits())
}

/// φ(a) in f32, or the φ′ of a value.
impl Activation {
    #[inline(always)]
    pub(crate) fn fast<R: Real>(self, a: R) -> R {
        match self {
            Activation::Tanh => tanh(a),
            Activation::Sigmoid => sigmoid(a),
            Activation::Relu => a.if_less(a.constant(0.0), a.constant(0.0), a),
            Activation::Identity => a,
        }
    }

    #[inline(always)]
    pub(crate) fn fast_derivative<R: Real>(self, h: R) -> R {
        let one = h.constant(1.0);
        match self {
            Activation::Tanh => one - h * h,
            Activation::Sigmoid => h * (one - h),
            Activation::Relu => h.constant(0.0).if_less(h, one, h.constant(0.0)),
            Activation::Identity => one,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest relative error in a range; what is below the normal numbers counts as one of those.
    fn worst(range: std::ops::RangeInclusive<f32>, got: fn(f32) -> f32, exact: fn(f64) -> f64) -> f64 {
        let (low, high) = (f64::from(*range.start()), f64::from(*range.end()));
        (0..=2_000_000)
            .map(|i| (low + (high - low) * f64::from(i) / 2e6) as f32)
            .map(|x| (f64::from(got(x)), exact(f64::from(x))))
            .map(|(got, exact)| (got - exact).abs() / exact.abs().max(TINY))
            .fold(0.0, f64::max)
    }

    #[test]
    fn the_fast_functions_are_as_near_as_they_say() {
        let cases = [
            ("tanh", worst(-12.0..=12.0, tanh, f64::tanh), TANH_ERROR),
            ("fused tanh", worst(-12.0..=12.0, |x| Activation::Tanh.twins(x)[1], f64::tanh), TANH_ERROR),
            (
                "fused sigmoid",
                worst(-80.0..=40.0, |x| Activation::Sigmoid.twins(x)[1], |x| 1.0 / (1.0 + (-x).exp())),
                SIGMOID_ERROR,
            ),
            ("tanh near zero", worst(-3.9e-4..=3.9e-4, tanh, f64::tanh), U),
            ("sigmoid", worst(-80.0..=40.0, sigmoid, |x| 1.0 / (1.0 + (-x).exp())), SIGMOID_ERROR),
            ("exp", worst(-86.9..=0.0, exp_nonpositive, f64::exp), EXP_ERROR),
        ];
        for (name, worst, bound) in cases {
            assert!(worst < bound && worst > bound / 3.0, "{name}: {} u of {} u", worst / U, bound / U);
        }
    }

    /// Their bits: a coefficient that is off by less than the error is seen here.
    #[test]
    fn the_fast_functions_are_what_they_were() {
        let sum = |f: fn(f32) -> f32| {
            let values = (0..1 << 16).map(|i| f(-12.0 + i as f32 * 24.0 / 65_536.0).to_bits());
            values.fold(0u64, |sum, bits| sum.wrapping_mul(0x100_0000_01b3) ^ u64::from(bits))
        };
        assert_eq!(
            [sum(tanh), sum(sigmoid), sum(|x| exp_nonpositive(-8.0 * x.abs()))],
            [4_776_054_859_880_654_368, 13_713_392_480_245_172_476, 4_018_008_601_537_170_056]
        );
    }

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
    fn extreme_values_saturate_and_nan_stays_nan() {
        for (x, t, s) in [
            (f32::INFINITY, 1.0, 1.0),
            (f32::NEG_INFINITY, -1.0, 0.0),
            (3e38, 1.0, 1.0),
            (-3e38, -1.0, 0.0),
            (0.0, 0.0, 0.5),
            (1e-30, 1e-30, 0.5),
        ] {
            assert_eq!((tanh(x), sigmoid(x)), (t, s), "{x}");
        }
        for activation in Activation::ALL {
            let mut values = [f32::NAN, 1.0];
            activation.apply(&mut values);
            assert!(values[0].is_nan(), "{activation} hides NaN");
            assert!(activation.value(f64::NAN).is_nan(), "the definition of {activation} hides NaN");
        }
    }

    #[test]
    fn derivatives_are_those_of_the_values() {
        for activation in Activation::ALL {
            assert_eq!(Activation::named(activation.name()), Some(activation));
            assert_eq!(Activation::coded(activation.code()), activation);
            for i in -40..40 {
                let a = f64::from(i) / 8.0 + 0.03;
                let slope = (activation.value(a + 1e-5) - activation.value(a - 1e-5)) / 2e-5;
                approx::assert_relative_eq!(
                    activation.derivative(activation.value(a)),
                    slope,
                    epsilon = 1e-9,
                    max_relative = 1e-6
                );
            }
        }
    }
}
