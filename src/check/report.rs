//! What a check found, as rows of a table.

use serde::Serialize;

use super::Deviation;
use crate::backend::Compute;

/// The most failures that a note names.
const MOST: usize = 12;

/// One thing that was checked.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The kernel, or what else was checked.
    pub name: String,
    /// The variant; `cpu` for the CPU's functions.
    pub variant: String,
    /// Sizes and values.
    pub shape: String,
    /// How far off it was where it was furthest off in terms of the bound, over the largest value of that tensor.
    pub error: Option<f64>,
    /// How far off it may be there, over the same.
    pub bound: Option<f64>,
    /// Whether it is right.
    pub passed: bool,
    /// What it was compared with.
    pub oracle: &'static str,
    /// What was wrong, in words: step, kernel, variant, buffer, index, expected and actual value. Or what was found, of a trap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The error over the bound.
    #[serde(skip)]
    pub ratio: f64,
}

impl Outcome {
    /// From how far off each tensor was.
    pub(crate) fn from_deviations(
        name: impl Into<String>,
        variant: Option<&'static str>,
        shape: String,
        oracle: &'static str,
        deviations: Vec<Deviation>,
    ) -> Outcome {
        let worst = deviations.iter().max_by(|a, b| a.ratio().total_cmp(&b.ratio()));
        let ratio = worst.map_or(0.0, Deviation::ratio);
        let (error, bound) = worst.map_or((0.0, 0.0), Deviation::relative);
        let failures: Vec<String> = deviations.iter().filter(|d| !d.is_within()).map(ToString::to_string).collect();
        Outcome::new(name, variant, shape, oracle, error, bound, ratio, failures)
    }

    #[expect(clippy::too_many_arguments, reason = "the columns of a row")]
    pub(crate) fn new(
        name: impl Into<String>,
        variant: Option<&'static str>,
        shape: String,
        oracle: &'static str,
        error: f64,
        bound: f64,
        ratio: f64,
        mut failures: Vec<String>,
    ) -> Outcome {
        // What is not a number is as wrong as can be.
        let ratio = if ratio.is_nan() { f64::INFINITY } else { ratio };
        if failures.len() > MOST {
            let more = format!("and {} more", failures.len() - MOST);
            failures.truncate(MOST);
            failures.push(more);
        }
        Outcome {
            name: name.into(),
            variant: variant.unwrap_or("cpu").into(),
            shape,
            error: error.is_finite().then_some(error),
            bound: bound.is_finite().then_some(bound),
            passed: ratio <= 1.0 && failures.is_empty(),
            oracle,
            note: (!failures.is_empty()).then(|| failures.join("; ")),
            ratio,
        }
    }

    /// Of a run that was done twice, and what differed in the bits, if anything did.
    pub(crate) fn again(
        name: impl Into<String>,
        variant: Option<&'static str>,
        shape: String,
        differs: Option<String>,
    ) -> Outcome {
        let ratio = if differs.is_some() { f64::INFINITY } else { 0.0 };
        Outcome::new(name, variant, shape, "second run", 0.0, 0.0, ratio, differs.into_iter().collect())
    }

    /// Adds something that is wrong.
    pub(crate) fn note_failure(&mut self, failure: Option<String>) {
        if let Some(failure) = failure {
            self.passed = false;
            self.ratio = f64::INFINITY;
            self.note = Some(self.note.take().map_or(failure.clone(), |note| format!("{note}; {failure}")));
        }
    }
}

/// All that a check found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The adapter's name, or `CPU`.
    pub adapter: String,
    /// Its driver, with version.
    pub driver: String,
    /// Discrete, integrated, virtual, software, other or cpu.
    pub device_type: String,
    /// Whether everything is right.
    pub passed: bool,
    /// What was checked.
    pub results: Vec<Outcome>,
}

impl Report {
    pub(super) fn new(compute: &Compute, results: Vec<Outcome>) -> Report {
        let (adapter, driver, kind) = match compute {
            Compute::Cpu(_) => ("CPU", "", "cpu"),
            Compute::Gpu(device) => (&*device.adapter.name, &*device.adapter.driver, device.adapter.kind),
        };
        let passed = !results.is_empty() && results.iter().all(|outcome| outcome.passed);
        Report { adapter: adapter.into(), driver: driver.into(), device_type: kind.into(), passed, results }
    }

    /// The failures, and how many results there are.
    #[must_use]
    pub fn failures(&self) -> Vec<&Outcome> {
        self.results.iter().filter(|outcome| !outcome.passed).collect()
    }
}
