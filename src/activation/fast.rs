//! The f32 functions of activations and losses, as `shaders/shared/activation.wgsl` and `exp.wgsl` have them.

use crate::numbers::Real;
use crate::rounding::U;

/// The largest relative errors of the functions below: over all f32 they were 7.85, 2.99 and 1.36 u, and a fused multiplication and
/// addition, which a device may use, changes them by less than the rest. The tests go through millions of values.
pub(super) const TANH_ERROR: f64 = 9.0 * U;
pub(super) const SIGMOID_ERROR: f64 = 4.0 * U;
pub(crate) const EXP_ERROR: f64 = 2.0 * U;

/// tanh(x) as an odd polynomial of degree 13 over an even one of degree 6, saturated at |x| = 7.905, x itself near zero.
/// The coefficients are those of Eigen's `generic_fast_tanh_float`.
#[inline(always)]
pub(super) fn tanh<R: Real>(x: R) -> R {
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
pub(super) fn sigmoid<R: Real>(x: R) -> R {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Activation;
    use crate::rounding::TINY;

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
    }
}
