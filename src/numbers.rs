//! What a cell's pointwise part is written over: numbers in f32, one or a vector of them at a time, in f64, and with the error that f32
//! makes of them. So a cell is written once, and its CPU function, its definition and its bound follow.

use std::ops::{Add, Div, Mul, Sub};

use pulp::Simd;

use crate::Activation;
use crate::rounding::{TINY, Terms, U, flushed};

/// A number of a pointwise part.
pub(crate) trait Number: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> {
    /// A constant, of the kind of this number.
    fn constant(self, value: f32) -> Self;

    /// φ of it.
    fn activate(self, activation: Activation) -> Self;

    /// φ′ from it, which is a value of φ.
    fn derivative(self, activation: Activation) -> Self;
}

/// A number in f32, or several that are computed alike.
pub(crate) trait Real: Number + Div<Output = Self> {
    /// self · factor + summand, each rounded, or both at once.
    fn times_plus(self, factor: Self, summand: Self) -> Self;
    fn abs(self) -> Self;
    /// `then` where it is less than another, else `other`: also where one is NaN.
    fn if_less(self, than: Self, then: Self, other: Self) -> Self;
    /// 2ⁿ, n being in the low bits of its mantissa.
    fn two_to_the_low_bits(self) -> Self;
}

macro_rules! number_of_a_real {
    () => {
        #[inline(always)]
        fn activate(self, activation: Activation) -> Self {
            activation.fast(self)
        }
        #[inline(always)]
        fn derivative(self, activation: Activation) -> Self {
            activation.fast_derivative(self)
        }
    };
}

impl Number for f32 {
    #[inline(always)]
    fn constant(self, value: f32) -> f32 {
        value
    }
    number_of_a_real!();
}

impl Real for f32 {
    #[inline(always)]
    fn times_plus(self, factor: f32, summand: f32) -> f32 {
        self * factor + summand
    }
    #[inline(always)]
    fn abs(self) -> f32 {
        self.abs()
    }
    #[inline(always)]
    fn if_less(self, than: f32, then: f32, other: f32) -> f32 {
        if self < than { then } else { other }
    }
    #[inline(always)]
    fn two_to_the_low_bits(self) -> f32 {
        f32::from_bits((self.to_bits() << 23).wrapping_add(127 << 23))
    }
}

macro_rules! operators {
    ([$($generics:tt)*] $type:ty, $a:ident, $b:ident, $add:expr, $sub:expr, $mul:expr) => {
        impl<$($generics)*> Add for $type {
            type Output = Self;
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                let ($a, $b) = (self, other);
                $add
            }
        }
        impl<$($generics)*> Sub for $type {
            type Output = Self;
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                let ($a, $b) = (self, other);
                $sub
            }
        }
        impl<$($generics)*> Mul for $type {
            type Output = Self;
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                let ($a, $b) = (self, other);
                $mul
            }
        }
    };
}

/// A number in f32 on a device that fuses a product and a sum.
#[derive(Clone, Copy)]
pub(crate) struct Fused(pub f32);

operators!([] Fused, a, b, Fused(a.0 + b.0), Fused(a.0 - b.0), Fused(a.0 * b.0));

impl Div for Fused {
    type Output = Fused;
    fn div(self, other: Fused) -> Fused {
        Fused(self.0 / other.0)
    }
}

impl Number for Fused {
    fn constant(self, value: f32) -> Fused {
        Fused(value)
    }
    number_of_a_real!();
}

impl Real for Fused {
    fn times_plus(self, factor: Fused, summand: Fused) -> Fused {
        Fused(self.0.mul_add(factor.0, summand.0))
    }
    fn abs(self) -> Fused {
        Fused(self.0.abs())
    }
    fn if_less(self, than: Fused, then: Fused, other: Fused) -> Fused {
        if self.0 < than.0 { then } else { other }
    }
    fn two_to_the_low_bits(self) -> Fused {
        Fused(self.0.two_to_the_low_bits())
    }
}

/// A vector of the processor. Each of its numbers has the bits that it would have alone.
#[derive(Clone, Copy)]
pub(crate) struct Vector<S: Simd> {
    pub simd: S,
    pub values: S::f32s,
    /// Whether [`Real::times_plus`] rounds once and not twice: a constant where the cell is known.
    pub fuses: bool,
}

impl<S: Simd> Vector<S> {
    #[inline(always)]
    fn with(self, values: S::f32s) -> Self {
        Vector { values, ..self }
    }
}

operators!(
    [S: Simd] Vector<S>, a, b,
    a.with(a.simd.add_f32s(a.values, b.values)),
    a.with(a.simd.sub_f32s(a.values, b.values)),
    a.with(a.simd.mul_f32s(a.values, b.values))
);

impl<S: Simd> Div for Vector<S> {
    type Output = Self;
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.with(self.simd.div_f32s(self.values, other.values))
    }
}

impl<S: Simd> Number for Vector<S> {
    #[inline(always)]
    fn constant(self, value: f32) -> Self {
        self.with(self.simd.splat_f32s(value))
    }
    number_of_a_real!();
}

impl<S: Simd> Real for Vector<S> {
    #[inline(always)]
    fn times_plus(self, factor: Self, summand: Self) -> Self {
        if self.fuses {
            self.with(self.simd.mul_add_f32s(self.values, factor.values, summand.values))
        } else {
            self * factor + summand
        }
    }
    #[inline(always)]
    fn abs(self) -> Self {
        self.with(self.simd.abs_f32s(self.values))
    }
    #[inline(always)]
    fn if_less(self, than: Self, then: Self, other: Self) -> Self {
        let mask = self.simd.less_than_f32s(self.values, than.values);
        self.with(self.simd.select_f32s(mask, then.values, other.values))
    }
    #[inline(always)]
    fn two_to_the_low_bits(self) -> Self {
        let simd = self.simd;
        let bits = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(self.values), simd.splat_u32s(23));
        self.with(simd.transmute_f32s_u32s(simd.add_u32s(bits, simd.splat_u32s(127 << 23))))
    }
}

/// A number of a definition or a bound.
pub(crate) trait Exact: Number {
    /// What a window holds.
    fn given(value: f64) -> Self;
    /// A sum of products.
    fn sum(value: f64, terms: Terms) -> Self;
    /// What goes into a window that is written.
    fn result(self) -> f64;
}

impl Number for f64 {
    fn constant(self, value: f32) -> f64 {
        f64::from(value)
    }
    fn activate(self, activation: Activation) -> f64 {
        activation.value(self)
    }
    fn derivative(self, activation: Activation) -> f64 {
        Activation::derivative(activation, self)
    }
}

impl Exact for f64 {
    fn given(value: f64) -> f64 {
        value
    }
    fn sum(value: f64, _: Terms) -> f64 {
        value
    }
    fn result(self) -> f64 {
        self
    }
}

/// A number, and how far its evaluation in f32 may be from it. What is not finite is so in any order, and so is not off.
#[derive(Clone, Copy)]
pub(crate) struct Near {
    value: f64,
    off: f64,
}

impl Near {
    fn new(value: f64, off: f64) -> Near {
        Near { value, off: if value.is_finite() { off } else { 0.0 } }
    }

    /// The result of an operation whose operands put it off by so much: it is rounded once.
    fn rounded(value: f64, off: f64) -> Near {
        Near::new(value, off + U * (value.abs() + off) + flushed(value))
    }

    fn lost(self) -> f64 {
        self.off + flushed(self.value)
    }
}

operators!(
    [] Near, a, b,
    Near::rounded(a.value + b.value, a.lost() + b.lost()),
    Near::rounded(a.value - b.value, a.lost() + b.lost()),
    {
        let off = a.value.abs() * b.lost() + b.value.abs() * a.lost() + a.lost() * b.lost();
        Near::rounded(a.value * b.value, off + TINY)
    }
);

impl Number for Near {
    fn constant(self, value: f32) -> Near {
        Near::new(f64::from(value), 0.0)
    }

    fn activate(self, activation: Activation) -> Near {
        let value = activation.value(self.value);
        Near::new(value, activation.slope(self.value, self.off) * self.off + activation.error(value))
    }

    fn derivative(self, activation: Activation) -> Near {
        let (value, off) = (Activation::derivative(activation, self.value), self.off);
        let carried = activation.bend(self.value).abs() * off + off * off + activation.jump(self.value, off);
        Near::new(value, carried + activation.derivative_error(self.value))
    }
}

impl Exact for Near {
    fn given(value: f64) -> Near {
        Near::new(value, 0.0)
    }
    fn sum(value: f64, terms: Terms) -> Near {
        Near::new(value, terms.of_products())
    }
    fn result(self) -> f64 {
        self.off
    }
}
