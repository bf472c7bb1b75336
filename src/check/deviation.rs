//! How far a tensor is from what it should be, where it is furthest in terms of how far it may be.

/// The worst place of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Deviation {
    /// The step's index in the program.
    pub step: usize,
    /// Its kernel.
    pub kernel: &'static str,
    /// The variant that ran; the CPU has none.
    pub variant: Option<&'static str>,
    /// The buffer.
    pub buffer: String,
    /// Row and column, in the window that the step writes.
    pub at: (usize, usize),
    /// The value expected there.
    pub expected: f64,
    /// The value found there.
    pub actual: f32,
    /// How far the one is from the other; infinite where one is not finite and the other is.
    pub error: f64,
    /// How far it may be.
    pub bound: f64,
    /// The largest value that was expected.
    largest: f64,
}

impl Deviation {
    /// Of a tensor of which nothing was seen yet.
    pub(crate) fn none(step: usize, kernel: &'static str, variant: Option<&'static str>, buffer: &str) -> Deviation {
        let buffer = buffer.to_owned();
        Deviation { step, kernel, variant, buffer, at: (0, 0), expected: 0.0, actual: 0.0, error: 0.0, bound: 0.0, largest: 0.0 }
    }

    /// Takes an element into account.
    pub(crate) fn see(&mut self, at: (usize, usize), expected: f64, actual: f32, bound: f64) {
        let error = difference(expected, actual, bound);
        // What is not finite is not measured.
        let bound = if expected.is_finite() { bound } else { 0.0 };
        if expected.is_finite() {
            self.largest = self.largest.max(expected.abs());
        }
        if ratio(error, bound) > self.ratio() || (self.ratio() == 0.0 && bound >= self.bound) {
            *self = Deviation { at, expected, actual, error, bound, ..std::mem::replace(self, Deviation::none(0, "", None, "")) };
        }
    }

    /// The error over its bound: more than 1 is wrong. 0 where there is no error, whatever the bound.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        ratio(self.error, self.bound)
    }

    /// Whether it is as near as it has to be.
    #[must_use]
    pub fn is_within(&self) -> bool {
        self.ratio() <= 1.0
    }

    /// The error and its bound over the tensor's largest value.
    #[must_use]
    pub fn relative(&self) -> (f64, f64) {
        let largest = if self.largest > 0.0 { self.largest } else { 1.0 };
        (self.error / largest, self.bound / largest)
    }
}

fn ratio(error: f64, bound: f64) -> f64 {
    // A bound that is not a number bounds nothing.
    match bound.is_nan() {
        true => f64::INFINITY,
        false if error == 0.0 => 0.0,
        false => error / bound,
    }
}

/// |actual − expected|. What is not finite must be so in both, and the very same where nothing may be off; what may or may not be beyond
/// f32 may be infinite.
fn difference(expected: f64, actual: f32, bound: f64) -> f64 {
    const MOST: f64 = f32::MAX as f64;
    let may_overflow = expected.abs() + bound > MOST;
    match (expected.is_finite(), actual.is_finite()) {
        (true, true) => (f64::from(actual) - expected).abs(),
        (false, false) if bound == 0.0 && (expected.is_nan() != actual.is_nan() || expected * f64::from(actual) < 0.0) => {
            f64::INFINITY
        }
        (false, false) => 0.0,
        (true, false) if may_overflow && actual.is_infinite() && (actual > 0.0) == (expected > 0.0) => 0.0,
        _ => f64::INFINITY,
    }
}

impl std::fmt::Display for Deviation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Deviation { step, kernel, buffer, at, expected, actual, error, bound, .. } = self;
        let variant = self.variant.map_or(String::new(), |v| format!("/{v}"));
        write!(
            f,
            "step {step}, {kernel}{variant}: {buffer}[{}, {}] is {actual:e}, expected {expected:e}: off by {error:.2e}, at most {bound:.2e}",
            at.0, at.1
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(elements: &[(f64, f32, f64)]) -> Deviation {
        let mut deviation = Deviation::none(3, "kernel", Some("variant"), "buffer");
        elements.iter().enumerate().for_each(|(i, &(expected, actual, bound))| deviation.see((0, i), expected, actual, bound));
        deviation
    }

    #[test]
    fn the_worst_is_that_with_the_largest_share_of_its_bound() {
        let found = worst(&[(1.0, 1.5, 1.0), (8.0, 8.25, 0.25), (2.0, 3.0, 4.0)]);
        assert_eq!((found.at, found.error, found.bound, found.ratio()), ((0, 1), 0.25, 0.25, 1.0));
        assert!(found.is_within());
        assert_eq!(found.relative(), (0.03125, 0.03125));
        assert!(!worst(&[(1.0, 1.0001, 5e-5)]).is_within());
        let text = worst(&[(1.0, 2.0, 0.5)]).to_string();
        assert_eq!(text, "step 3, kernel/variant: buffer[0, 0] is 2e0, expected 1e0: off by 1.00e0, at most 5.00e-1");
    }

    #[test]
    fn what_is_not_finite_must_be_so_in_both() {
        let within = |expected, actual| worst(&[(expected, actual, 1e-3)]).is_within();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(within(f64::from(bad), bad) && !within(1.0, bad) && !within(f64::from(bad), 1.0), "{bad}");
        }
        // Where everything is expected to be exact as well.
        assert!(!worst(&[(0.0, f32::NAN, 0.0)]).is_within());
        assert!(!worst(&[(1.0, 1.0, f64::NAN)]).is_within());
        let same = |expected: f32, actual| worst(&[(f64::from(expected), actual, 0.0)]).is_within();
        assert!(same(f32::NAN, f32::NAN) && same(f32::INFINITY, f32::INFINITY));
        assert!(!same(f32::INFINITY, f32::NEG_INFINITY) && !same(f32::NAN, f32::INFINITY) && !same(f32::INFINITY, f32::NAN));
        assert!(within(1e39, f32::INFINITY) && !within(1e39, f32::NEG_INFINITY) && !within(1e39, f32::NAN));
    }
}
