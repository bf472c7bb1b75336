//! The activations φ of a recurrent cell, each with its derivative **from its value**: σ′ = h(1−h), tanh′ = 1−h²,
//! ReLU′ = \[h > 0\], so that the backward pass needs no pre-activation.
//!
//! There are two of each: [`Activation::value`], the definition, and [`Activation::apply`], the f32 function that
//! training runs, the same formula as `shaders/shared/activation.wgsl` has. To add one: a variant and its arms here,
//! its arms there, and its equation in `reference.rs`.

use num_traits::Float;

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

    /// Replaces each a by φ(a), in f32.
    pub fn apply(self, values: &mut [f32]) {
        // A dispatch for each: only a small closure is inlined into what is compiled for the processor's features.
        let arch = pulp::Arch::new();
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

/// tanh(x) as an odd polynomial of degree 13 over an even one of degree 6, saturated at |x| = 7.905, within 8 units of the last place, x itself near zero.
/// The coefficients are those of Eigen's `generic_fast_tanh_float`.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    // Comparisons and not min and max, so that NaN stays NaN.
    let c = if x > 7.905_311 { 7.905_311 } else { x };
    let c = if c < -7.905_311 { -7.905_311 } else { c };
    let s = c * c;
    let p = s * -2.760_768_5e-16 + 2.000_188e-13;
    let p = s * p - 8.604_672e-11;
    let p = s * p + 5.122_297e-8;
    let p = s * p + 1.485_722_4e-5;
    let p = s * p + 6.372_619_4e-4;
    let p = s * p + 4.893_524_5e-3;
    let q = s * 1.198_258_4e-6 + 1.185_347_1e-4;
    let q = s * q + 2.268_434_6e-3;
    let q = s * q + 4.893_525e-3;
    let r = c * p / q;
    if x.abs() < 4e-4 { x } else { r }
}

/// 1 / (1 + e⁻ˣ), through e^−|x| so that nothing overflows and small values keep their digits.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    let e = exp_nonpositive(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

/// eˣ for x ≤ 0: x = n·ln 2 + r, a polynomial in r, times 2ⁿ; zero below −87. The coefficients are those of Cephes' `expf`.
#[inline(always)]
pub(crate) fn exp_nonpositive(x: f32) -> f32 {
    let c = if x < -87.0 { -87.0 } else { x };
    // Adding 1.5·2²³ rounds to the nearest integer and leaves it in the low bits.
    let shifted = c * std::f32::consts::LOG2_E + 12_582_912.0;
    let n = shifted - 12_582_912.0;
    let r = n * -0.693_359_4 + c;
    let r = n * 2.121_944_4e-4 + r;
    let p = r * 1.987_569_1e-4 + 1.398_199_9e-3;
    let p = r * p + 8.333_452e-3;
    let p = r * p + 4.166_579_6e-2;
    let p = r * p + 0.166_666_65;
    let p = r * p + 0.5;
    let p = (r * r) * p + r + 1.0;
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if x < -87.0 { 0.0 } else { p * scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The distance in units of the last place of the f32 nearest to `exact`.
    fn ulps(got: f32, exact: f64) -> f64 {
        let nearest = (exact as f32).abs().max(f32::MIN_POSITIVE);
        let ulp = f64::from(f32::from_bits(nearest.to_bits() + 1)) - f64::from(nearest);
        (f64::from(got) - exact).abs() / ulp
    }

    fn worst(range: std::ops::RangeInclusive<f32>, got: fn(f32) -> f32, exact: fn(f64) -> f64) -> f64 {
        let (low, high) = (f64::from(*range.start()), f64::from(*range.end()));
        (0..=2_000_000)
            .map(|i| (low + (high - low) * f64::from(i) / 2e6) as f32)
            .map(|x| ulps(got(x), exact(f64::from(x))))
            .fold(0.0, f64::max)
    }

    #[test]
    fn the_fast_functions_are_within_a_few_units_of_the_last_place() {
        let cases = [
            ("tanh", worst(-12.0..=12.0, tanh, f64::tanh), 8.0),
            ("tanh near zero", worst(-3.9e-4..=3.9e-4, tanh, f64::tanh), 1.0),
            ("sigmoid", worst(-80.0..=40.0, sigmoid, |x| 1.0 / (1.0 + (-x).exp())), 4.0),
            ("exp", worst(-86.9..=0.0, exp_nonpositive, f64::exp), 2.0),
        ];
        for (name, worst, bound) in cases {
            assert!(worst < bound, "{name}: {worst} units of the last place");
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
