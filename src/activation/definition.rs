//! What an activation's definition has, and what can be asked of an [`Activation`].

use num_traits::Float;

use super::{Activation, defined};
use crate::numbers::{Fused, Real};
use crate::simd::arch;

/// What an activation is.
pub(super) trait Definition {
    /// Its name on the command line and in files.
    const NAME: &'static str;
    /// γ, its largest derivative.
    const STEEPEST: f64;
    /// The arguments for which `fast` is neither zero nor constant, where it rounds at all.
    const ROUNDS: Option<[f32; 2]> = None;
    /// Whether φ is made of straight lines, so that errors of its values do not change φ′.
    const IS_STRAIGHT: bool = false;
    /// Whether φ and φ′ of integers are integers.
    const KEEPS_INTEGERS: bool = false;
    /// Whether φ′ is zero, and not only small, for all arguments beyond some: such units are dead.
    const HAS_DEAD_SIDE: bool = false;
    /// The values of φ at which φ′ jumps, and by how much.
    const JUMPS: &'static [(f64, f64)] = &[];

    /// φ(a), by the library's own functions.
    fn value<T: Float>(a: T) -> T;

    /// φ′(a) from h = φ(a).
    fn derivative<T: Float>(h: T) -> T;

    /// φ(a) in f32.
    fn fast<R: Real>(a: R) -> R;

    /// φ′ from h = φ(a) in f32.
    fn fast_derivative<R: Real>(h: R) -> R;

    /// dφ′/dφ at a value of φ.
    fn bend(h: f64) -> f64;

    /// How far the f32 value may be from h = φ(a).
    fn error(h: f64) -> f64;

    /// How far the f32 derivative from h may be from φ′.
    fn derivative_error(h: f64) -> f64;

    /// The largest φ′ within `off` of a: of a φ′ that is even and falls on both sides, at the argument nearest to zero. On the negative
    /// side no digits of the sigmoid's are lost.
    fn slope(a: f64, off: f64) -> f64 {
        let flattest: f64 = (a.abs() - off).max(0.0);
        Self::derivative(Self::value(-flattest))
    }
}

impl Activation {
    /// Its name on the command line and in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        defined!(self, D => D::NAME)
    }

    /// The names of all of them.
    #[must_use]
    pub fn names() -> String {
        Activation::ALL.map(Activation::name).join(", ")
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

    /// γ, its largest derivative.
    #[must_use]
    pub fn steepest(self) -> f64 {
        defined!(self, D => D::STEEPEST)
    }

    /// Whether it is made of straight lines, so that errors of its values do not change its derivative.
    #[must_use]
    pub fn is_straight(self) -> bool {
        defined!(self, D => D::IS_STRAIGHT)
    }

    /// Whether its derivative is zero, and not only small, for all arguments beyond some: such units are dead.
    #[must_use]
    pub fn has_dead_side(self) -> bool {
        defined!(self, D => D::HAS_DEAD_SIDE)
    }

    /// Whether its values and derivatives of integers are integers.
    pub(crate) fn keeps_integers(self) -> bool {
        defined!(self, D => D::KEEPS_INTEGERS)
    }

    /// The arguments for which the f32 function is neither zero nor constant; `None` if it rounds nothing.
    pub(crate) fn rounds(self) -> Option<[f32; 2]> {
        defined!(self, D => D::ROUNDS)
    }

    /// φ(a), by the library's own functions.
    #[must_use]
    pub fn value<T: Float>(self, a: T) -> T {
        defined!(self, D => D::value(a))
    }

    /// φ′(a) from h = φ(a).
    #[must_use]
    #[inline(always)]
    pub fn derivative<T: Float>(self, h: T) -> T {
        defined!(self, D => D::derivative(h))
    }

    /// dφ′/dφ at a value of φ: how an error of the value becomes one of the derivative, which is computed from it.
    #[must_use]
    pub fn bend(self, value: f64) -> f64 {
        defined!(self, D => D::bend(value))
    }

    /// By how much φ′ may jump within `off` of a value of φ.
    pub(crate) fn jump(self, value: f64, off: f64) -> f64 {
        let near = |&&(at, _): &&(f64, f64)| off > 0.0 && (value - at).abs() <= off;
        defined!(self, D => D::JUMPS).iter().filter(near).map(|(_, jump)| jump).sum()
    }

    /// How far the f32 value may be from h = φ(a), as written here and in the shaders.
    #[must_use]
    pub(crate) fn error(self, h: f64) -> f64 {
        defined!(self, D => D::error(h))
    }

    /// The largest φ′ within `off` of a: how much of an error of a gets into φ(a).
    #[must_use]
    pub(crate) fn slope(self, a: f64, off: f64) -> f64 {
        defined!(self, D => D::slope(a, off))
    }

    /// How far the f32 derivative may be from φ′, from h.
    #[must_use]
    pub(crate) fn derivative_error(self, h: f64) -> f64 {
        defined!(self, D => D::derivative_error(h))
    }

    /// φ(a) in f32.
    #[inline(always)]
    pub(crate) fn fast<R: Real>(self, a: R) -> R {
        defined!(self, D => D::fast(a))
    }

    /// φ′ from h = φ(a) in f32.
    #[inline(always)]
    pub(crate) fn fast_derivative<R: Real>(self, h: R) -> R {
        defined!(self, D => D::fast_derivative(h))
    }

    /// φ(a) as a device computes it that rounds each product and each sum, and as one does that fuses them.
    pub(crate) fn twins(self, a: f32) -> [f32; 2] {
        [self.fast(a), self.fast(Fused(a)).0]
    }

    /// Replaces each a by φ(a), in f32.
    pub fn apply(self, values: &mut [f32]) {
        // A dispatch for each: only a small closure is inlined into what is compiled for the processor's features.
        let arch = arch();
        defined!(self, D => arch.dispatch(|| values.iter_mut().for_each(|v| *v = D::fast(*v))));
    }
}

impl std::fmt::Display for Activation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
