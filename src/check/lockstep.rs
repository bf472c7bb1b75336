//! Lockstep: a step run on two backends, what it wrote compared at once, the expected values copied over the actual
//! ones, and on to the next: so a difference is found at the step that made it.

use std::ops::Range;

use crate::Result;
use crate::backend::Backend;
use crate::program::{Access, Mat, Program, ROW_ALIGNMENT, Step};

/// A window in which two backends differ.
#[derive(Debug, Clone)]
pub struct Mismatch {
    /// The step's index in the program.
    pub step: usize,
    /// Its kernel.
    pub kernel: &'static str,
    /// The variant that the second backend ran.
    pub variant: Option<&'static str>,
    /// The buffer.
    pub buffer: String,
    /// The row and column of the largest difference.
    pub at: (usize, usize),
    /// The value expected there.
    pub expected: f32,
    /// The value found there.
    pub actual: f32,
    /// The largest difference over the tensor's largest value.
    pub error: f64,
    /// How large it may be.
    pub bound: f64,
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Mismatch { step, kernel, buffer, at, expected, actual, error, bound, .. } = self;
        let variant = self.variant.map_or(String::new(), |v| format!("/{v}"));
        write!(
            f,
            "step {step}, {kernel}{variant}: {buffer}[{}, {}] is {actual:e}, expected {expected:e}; error {error:.1e} of {bound:.1e}",
            at.0, at.1
        )
    }
}

/// Runs one step on both backends and compares what it wrote, relative to the largest value of each window; then copies
/// the expected values over the actual ones.
///
/// # Errors
/// What the backends report.
pub fn compare_step(
    program: &Program,
    index: usize,
    expected: &mut dyn Backend,
    actual: &mut dyn Backend,
    bound: &dyn Fn(&Step) -> f64,
) -> Result<Vec<Mismatch>> {
    let step = &program.steps()[index];
    expected.run(index..index + 1)?;
    actual.run(index..index + 1)?;
    let mut mismatches = Vec::new();
    for (&window, binding) in step.windows.iter().zip(step.kernel.bindings) {
        if binding.access == Access::Read {
            continue;
        }
        let (want, got) = (expected.read(window)?, actual.read(window)?);
        let bound = bound(step);
        let variant = actual.variant(index);
        let mut mismatch = |at: (usize, usize), expected, actual, error| {
            mismatches.push(Mismatch {
                step: index,
                kernel: step.kernel.name,
                variant,
                buffer: program.name(window).to_owned(),
                at,
                expected,
                actual,
                error,
                bound,
            });
        };
        if let Some((at, error)) = differs(&want, &got, bound) {
            mismatch(place(window, at), want[at], got[at], error);
        }
        // Kernels read rows four at a time and rely on zeros in the padding. Looked at before the copy, which mends it.
        let padded = Mat { cols: window.cols.next_multiple_of(ROW_ALIGNMENT), ..window };
        let dirty =
            |(at, value): (usize, &f32)| (place(padded, at).1 >= window.cols as usize && *value != 0.0).then_some((at, *value));
        if let Some((at, value)) = actual.read(padded)?.iter().enumerate().find_map(dirty) {
            mismatch(place(padded, at), 0.0, value, f64::INFINITY);
        }
        actual.write(window, &want)?;
    }
    Ok(mismatches)
}

/// [`compare_step`] for a range of steps.
///
/// # Errors
/// What the backends report.
pub fn lockstep(
    program: &Program,
    steps: Range<usize>,
    expected: &mut dyn Backend,
    actual: &mut dyn Backend,
    bound: &dyn Fn(&Step) -> f64,
) -> Result<Vec<Mismatch>> {
    let mut mismatches = Vec::new();
    for index in steps {
        mismatches.extend(compare_step(program, index, expected, actual, bound)?);
    }
    Ok(mismatches)
}

fn place(window: Mat, at: usize) -> (usize, usize) {
    (at / window.cols as usize, at % window.cols as usize)
}

/// Where two windows differ most, if by more than `bound` of the largest value expected. Values that are not finite
/// must be so in both: NaN where NaN is expected, the same infinity where one is.
fn differs(want: &[f32], got: &[f32], bound: f64) -> Option<(usize, f64)> {
    let largest =
        want.iter().filter(|v| v.is_finite()).fold(0.0f64, |m, v| m.max(f64::from(v.abs()))).max(f64::from(f32::MIN_POSITIVE));
    let error = |(&want, &got): (&f32, &f32)| match (want.is_finite(), got.is_finite()) {
        (true, true) => (f64::from(want) - f64::from(got)).abs() / largest,
        (false, false) if want == got || (want.is_nan() && got.is_nan()) => 0.0,
        _ => f64::INFINITY,
    };
    let errors = want.iter().zip(got).map(error).enumerate();
    errors.max_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, error)| *error > bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Cpu;
    use crate::kernels::fill::copy;

    #[test]
    fn padding_that_is_not_zero_is_found() {
        let mut program = Program::new();
        let (x, out) = (program.matrix("x", 3, 5), program.matrix("out", 3, 5));
        copy(&mut program, x, out);
        let backends = || [(); 2].map(|()| Cpu::new(&program, Some(1)).unwrap());
        let [mut expected, mut actual] = backends();
        assert!(compare_step(&program, 0, &mut expected, &mut actual, &|_| 0.0).unwrap().is_empty());
        // The copy writes its columns only, so what is planted beside them stays.
        let padded = Mat { cols: 8, ..out };
        let mut planted = vec![0.0; 24];
        planted[8 + 6] = 7.0;
        actual.write(padded, &planted).unwrap();
        let found = compare_step(&program, 0, &mut expected, &mut actual, &|_| 0.0).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].at, found[0].actual, &*found[0].buffer), ((1, 6), 7.0, "out"));
    }
}
