//! What the kernels' bounds are made of: how far an evaluation in f32, in any order, may be from the exact value.
//!
//! Additions, subtractions and multiplications, fused or not, are rounded to the nearest number, each by at most u of its result.
//! (WGSL leaves open to which of the two neighbours. A device that does not take the nearest would be told of by `check`, which
//! looks at that first.) The other operations are as accurate as WGSL asks (W3C, *WebGPU Shading Language*, "Floating point
//! accuracy"), which is no more than what CPUs give. Subnormal numbers may count as zero, in operands and in results.

/// u = 2⁻²⁴: what rounding to f32 changes at most, relative to the result. A unit of the last place (ULP) is at most 2·u.
pub(crate) const U: f64 = 1.0 / (1u64 << 24) as f64;

/// The smallest normal number, 2⁻¹²⁶: what may be lost where subnormal numbers count as zero.
pub(crate) const TINY: f64 = f32::MIN_POSITIVE as f64;

/// A quotient, relative: 2.5 ULP in WGSL.
pub(crate) const DIVISION: f64 = 5.0 * U;

/// A square root, relative: in WGSL that of 1 / inverseSqrt(x), 2 ULP and those of a quotient.
pub(crate) const SQUARE_ROOT: f64 = 9.0 * U;

/// A natural logarithm of x, absolute: 2⁻²¹ for x in [0.5, 2], else 3 ULP, in WGSL.
pub(crate) fn logarithm(x: f64) -> f64 {
    // A little wider: x itself may be off.
    if (0.499..=2.001).contains(&x) { 1.0 / f64::from(1 << 21) } else { 6.0 * U * x.ln().abs() }
}

/// n roundings that add up, relative to Σ|terms|: n·u at worst (Higham, *Accuracy and Stability of Numerical Algorithms*, 3.1),
/// and, as roundings go either way, within 8·√n·u but for a chance below 2n·e⁻³² (Higham & Mary, *A New Approach to
/// Probabilistic Rounding Error Analysis*, 2019, theorem 2.4 with λ = 8). So the worst case up to 64.
pub(crate) fn roundings(n: usize) -> f64 {
    let n = n as f64;
    n.min(8.0 * n.sqrt()) * U
}

/// What of an operand is lost where subnormal numbers count as zero.
pub(crate) fn flushed(x: f64) -> f64 {
    if x.abs() < TINY { x.abs() } else { 0.0 }
}

/// A sum of products or numbers, as its bound sees it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Terms {
    count: usize,
    /// Σ|terms|.
    magnitude: f64,
    /// What subnormal numbers add.
    lost: f64,
}

impl Terms {
    /// Adds x·w.
    pub fn product(&mut self, x: f64, w: f64) {
        self.count += 1;
        self.magnitude += (x * w).abs();
        self.lost += 2.0 * TINY;
        let (lost_x, lost_w) = (flushed(x), flushed(w));
        if lost_x + lost_w > 0.0 {
            self.lost += lost_x * w.abs() + x.abs() * lost_w;
        }
    }

    /// Adds x.
    pub fn number(&mut self, x: f64) {
        self.count += 1;
        self.magnitude += x.abs();
        self.lost += flushed(x);
    }

    /// How far the sum in f32 may be off where each term is rounded once and each addition once: n for n products.
    pub fn of_products(self) -> f64 {
        roundings(self.count) * self.magnitude + self.lost
    }

    /// The same where only the n − 1 additions round.
    pub fn of_numbers(self) -> f64 {
        roundings(self.count.saturating_sub(1)) * self.magnitude + self.lost
    }
}
