//! Which variant of a kernel is the fastest for a step of some shape on an adapter: measured once, and kept in a file.
//!
//! A candidate is timed only after it has agreed with the definition of its kernel, and its results at the step's own shape with
//! those of the CPU. One without run-time checks comes into question only where the one with them has passed the same. What is chosen
//! decides the order of summation, so it belongs to a run: see [`Device::choose`].

mod kept;
mod measure;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use rayon::prelude::*;
use serde::Serialize;

use crate::backend::Device;
use crate::check;
use crate::program::{Kernel, Program, Step, Variant};
use crate::{Error, Result};
pub(crate) use measure::median;
use measure::{Alone, QUICK, difference, profile};

/// How much is measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Mode {
    /// Nothing: the usual choice
    Off,
    /// What was not measured before; the program does so on hardware GPUs alone
    #[default]
    Auto,
    /// Everything anew, on a software adapter too
    Full,
}

/// What was measured of steps of one shape.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// [`Step::shape`].
    pub shape: String,
    /// The share of a program's time that steps of this shape took before, in the usual variant.
    pub share: f64,
    /// The variants that came into question, and how long each took.
    pub candidates: Vec<Candidate>,
    /// The variant that is used.
    pub chosen: &'static str,
}

/// A variant that came into question.
#[derive(Debug, Clone, Serialize)]
pub struct Candidate {
    /// The variant.
    pub variant: &'static str,
    /// Milliseconds, the median of a few runs in turn with the others, unless it was not timed.
    pub ms: Option<f64>,
    /// Why it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What a tuning came to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcome {
    /// What was measured now, what takes the most time first.
    pub measured: Vec<Measured>,
    /// Shapes whose choice was in the file.
    pub known: usize,
    /// What people should know: a file that was not used, shapes for which there was no time.
    pub notes: Vec<String>,
    /// Why what was measured could not be kept.
    pub not_kept: Option<String>,
}

/// The time that the measurements of a program may take once all is compiled; shapes that come later keep the usual choice.
const BUDGET: Duration = Duration::from_secs(4);
/// Sizes at which a variant is held to its definition; and those that are added where the CPU takes too long at the step's own size: several
/// of the largest tiles and two parts of a long sum; several dispatches of many time steps.
const HELD_AT: ([[u32; 3]; 3], [[u32; 3]; 2]) = ([[5, 37, 33], [8, 64, 16], [1, 9, 7]], [[130, 129, 260], [2, 20, 1030]]);
/// The operations of the largest of these.
const MOST_HELD: u64 = 10_000_000;

/// A shape that has to be measured.
struct Open<'a> {
    step: &'a Step,
    shape: String,
    candidates: Vec<&'static Variant>,
    /// Seconds of all steps of this shape, in the usual variant.
    seconds: f64,
}

/// Chooses for the steps of a program, on a device that is to load it: from the file in the folder `cache` or by measuring, and then
/// keeps what was measured there. Shapes that are chosen already stay so; where the choice has no run-time checks it is checked here.
///
/// # Errors
/// What the backend reports. A file that cannot be read is no error, but a note, and so is one that cannot be written.
pub fn tune(device: &mut Device, program: &Program, mode: Mode, cache: Option<&Path>) -> Result<Outcome> {
    within(BUDGET, device, program, mode, cache)
}

fn within(budget: Duration, device: &mut Device, program: &Program, mode: Mode, cache: Option<&Path>) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let path = cache.map(|folder| folder.join(kept::file_name(device)));
    let (mut agreed, cuts) = (Agreed::new(program), device.cuts(program));
    let mut kept = path.as_deref().map_or(BTreeMap::new(), |path| kept::read(path, device, &mut outcome.notes));
    confirm(device, program, &kept, &mut agreed, &mut outcome.notes)?;
    if mode == Mode::Off {
        return Ok(outcome);
    }
    let mut open: Vec<Open> = Vec::new();
    for step in program.steps() {
        let shape = step.shape();
        if device.chosen(step).is_some() || open.iter().any(|open| open.shape == shape) {
            continue;
        }
        let candidates: Vec<&'static Variant> = device.candidates(step, &cuts).collect();
        let known = kept.get(&shape).and_then(|name| candidates.iter().find(|v| v.name == *name));
        match known {
            _ if candidates.len() < 2 => {}
            Some(known) if mode == Mode::Auto => {
                device.trust(step, known);
                device.choose(&[step.kernel], &BTreeMap::from([(shape, known.name.to_owned())]))?;
                outcome.known += 1;
            }
            _ => open.push(Open { step, shape, candidates: in_question(step, candidates, mode), seconds: 0.0 }),
        }
    }
    if open.is_empty() {
        return Ok(outcome);
    }
    let budget = if mode == Mode::Auto { budget } else { Duration::MAX };
    let choices = measure_all(device, program, open, budget, &mut agreed, &mut outcome)?;
    let kernels: Vec<&'static Kernel> = program.steps().iter().map(|step| step.kernel).collect();
    device.choose(&kernels, &choices)?;
    if let Some(path) = path.filter(|_| !outcome.measured.is_empty()) {
        kept.extend(choices);
        if let Err(error) = kept::write(&path, device, kept) {
            outcome.not_kept = Some(format!("{} cannot be written: {error}", path.display()));
        }
    }
    Ok(outcome)
}

/// Those of the candidates that are measured: all of them, or, where that has to be quick, those that are likely to be fast and the
/// plainest, which is the last.
fn in_question(step: &Step, candidates: Vec<&'static Variant>, mode: Mode) -> Vec<&'static Variant> {
    let last = candidates.len() - 1;
    let is_meant = |&(i, v): &(usize, &Variant)| mode != Mode::Auto || i == last || (v.likely)(step);
    candidates.into_iter().enumerate().filter(|(i, v)| is_meant(&(*i, v))).map(|(_, v)| v).collect()
}

/// Notes, for later runs on this adapter and driver, that workgroups waited for each other in vain: from then on none does.
///
/// # Errors
/// When the file in the folder cannot be written.
pub fn refuse_waiting(device: &Device, cache: &Path) -> std::io::Result<()> {
    kept::refuse_waiting(&cache.join(kept::file_name(device)), device)
}

/// Measures shapes, those that take the most time first, and returns the variant of each.
fn measure_all(
    device: &mut Device,
    program: &Program,
    mut open: Vec<Open>,
    budget: Duration,
    agreed: &mut Agreed,
    outcome: &mut Outcome,
) -> Result<BTreeMap<String, String>> {
    // All that is needed at the same time, on all threads: what runs unmeasured, and the candidates.
    let cuts = device.cuts(program);
    let usual = program.steps().iter().map(|step| (step.kernel.name, device.variant(step, &cuts)));
    let candidates = open.iter().flat_map(|open| open.candidates.iter().map(|v| (open.step.kernel.name, *v)));
    let all: Vec<(&'static str, &'static Variant)> = usual.chain(candidates).collect();
    // A refusal is that of one variant, which says so when it is its turn.
    let _ = device.compile(&all, agreed.has_pairs);
    let begun = Instant::now();
    let seconds = match profile(device, program) {
        Ok(seconds) => seconds,
        // Who loads it next will say so, with what would fit.
        Err(Error::DoesNotFit { .. }) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    for open in &mut open {
        open.seconds = program.steps().iter().zip(&seconds).filter(|(s, _)| s.shape() == open.shape).map(|(_, s)| s).sum();
    }
    open.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let total: f64 = seconds.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let (mut choices, mut left) = (BTreeMap::new(), Vec::new());
    for open in open {
        let share = open.seconds / total;
        if begun.elapsed() > budget {
            left.push(share);
            continue;
        }
        match measure(device, &open, share, agreed) {
            Ok(measured) => {
                choices.insert(open.shape, measured.chosen.to_owned());
                outcome.measured.push(measured);
            }
            Err(error @ Error::DoesNotFit { .. }) => {
                let shape = open.shape;
                outcome.notes.push(format!("tuning: {shape} was not measured and keeps the usual variant: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    if !left.is_empty() {
        outcome.notes.push(format!(
            "tuning: there was no time for {} shapes, {:.1} % of a step's time, which keep the usual variants; `retrospect tune` takes it",
            left.len(),
            1e2 * left.iter().sum::<f64>()
        ));
    }
    Ok(choices)
}

/// The candidates of a step, each timed. Those without run-time checks that agree are trusted.
fn measure(device: &mut Device, open: &Open, share: f64, agreed: &mut Agreed) -> Result<Measured> {
    let (mut alone, mut candidates) = compare(device, open.step, &open.candidates, agreed)?;
    let is_right =
        |candidates: &[Candidate]| (0..candidates.len()).filter(|&i| candidates[i].problem.is_none()).collect::<Vec<_>>();
    let mut right = is_right(&candidates);
    let times = match alone.times(&right) {
        // Workgroups that waited in vain, though they had not before: without them.
        Err(Error::Device { message, .. }) if right.iter().any(|&i| open.candidates[i].waits) => {
            right.iter().filter(|&&i| open.candidates[i].waits).for_each(|&i| candidates[i].problem = Some(message.clone()));
            right = is_right(&candidates);
            alone.times(&right)?
        }
        times => times?,
    };
    for (&i, seconds) in right.iter().zip(times) {
        candidates[i].ms = Some(seconds * 1e3);
        device.trust(open.step, open.candidates[i]);
    }
    let fastest = candidates.iter().filter_map(|c| Some((c.variant, c.ms?))).min_by(|a, b| a.1.total_cmp(&b.1));
    match fastest {
        Some((chosen, _)) => Ok(Measured { shape: open.shape.clone(), share, candidates, chosen }),
        None => {
            let problems: Vec<&str> = candidates.iter().filter_map(|c| c.problem.as_deref()).collect();
            Err(Error::Device { what: format!("every variant of {}", open.shape), message: problems.join("; ") })
        }
    }
}

/// What each of some variants has against it: by its check on small sizes, and by its results at the step's own. One without run-time checks
/// has all against it that the one with them has.
fn compare(device: &Device, step: &Step, variants: &[&'static Variant], agreed: &mut Agreed) -> Result<(Alone, Vec<Candidate>)> {
    agreed.learn(device, step, variants)?;
    let mut candidates = Vec::new();
    for variant in variants {
        candidates.push(Candidate { variant: variant.name, ms: None, problem: agreed.problem(device, step, variant)? });
    }
    let is_right = |i: &usize| candidates[*i].problem.is_none();
    let mut alone = Alone::new(device, step, variants, &(0..variants.len()).filter(is_right).collect::<Vec<_>>())?;
    let mut expected = alone.expected()?;
    // The plainest first, which has the fewest things to go wrong: it is what the others are compared with where the CPU takes too long.
    // It is the last, and one with run-time checks comes behind the one without.
    for i in (0..variants.len()).rev() {
        if candidates[i].problem.is_some() {
            continue;
        }
        if let Some(checked) = variants[i].checked {
            let twin = candidates.iter().find(|candidate| candidate.variant == checked);
            let problem = twin.map_or(Some("it is not compared"), |twin| twin.problem.as_deref());
            if let Some(problem) = problem {
                candidates[i].problem = Some(format!("{checked}: {problem}"));
                continue;
            }
        }
        let got = match alone.results(i) {
            Err(Error::Device { message, .. }) if variants[i].waits => {
                candidates[i].problem = Some(message);
                continue;
            }
            got => got?,
        };
        candidates[i].problem = expected.as_ref().and_then(|expected| difference(expected, &got));
        if candidates[i].problem.is_none() {
            expected.get_or_insert(got);
        }
    }
    Ok((alone, candidates))
}

/// Trusts the variants without run-time checks, and those whose workgroups wait for each other, that were chosen before, by a run that goes
/// on: from the file, or by comparing them with those with checks and with the plainest.
fn confirm(
    device: &mut Device,
    program: &Program,
    kept: &BTreeMap<String, String>,
    agreed: &mut Agreed,
    notes: &mut Vec<String>,
) -> Result<()> {
    let mut failed = BTreeSet::new();
    let cuts = device.cuts(program);
    for step in program.steps() {
        let Some(variant) = device.chosen(step).filter(|v| !device.is_trusted(step, v)) else { continue };
        let shape = step.shape();
        if kept.get(&shape).is_some_and(|name| name == variant.name) {
            device.trust(step, variant);
            continue;
        }
        if failed.contains(&shape) || !device.is_able(variant, step, &cuts) {
            continue;
        }
        let checked = step.kernel.variants.iter().find(|v| Some(v.name) == variant.checked);
        let plainest = if variant.waits { device.candidates(step, &cuts).filter(|v| !v.waits).last() } else { None };
        let all: Vec<&'static Variant> = [Some(variant), checked, plainest].into_iter().flatten().collect();
        let problem = match compare(device, step, &all, agreed) {
            Ok((_, candidates)) => candidates[0].problem.clone(),
            Err(error @ (Error::DoesNotFit { .. } | Error::Device { .. })) => Some(error.to_string()),
            Err(error) => return Err(error),
        };
        match problem {
            None => device.trust(step, variant),
            Some(problem) => {
                let instead = if variant.waits { "in another variant" } else { "with run-time checks" };
                notes.push(format!("{shape} runs {instead}, since {} failed: {problem}", variant.name));
                failed.insert(shape);
            }
        }
    }
    Ok(())
}

/// What is known of variants: whether each agrees with its definition, and at how many sizes that was tried.
struct Agreed {
    known: BTreeMap<(&'static str, &'static str, bool), Option<String>>,
    /// Whether steps run in pairs, and are tried so.
    has_pairs: bool,
}

impl Agreed {
    /// Nothing is known yet of the variants of a program.
    fn new(program: &Program) -> Agreed {
        Agreed { known: BTreeMap::new(), has_pairs: program.steps().iter().any(|step| step.is_second) }
    }

    fn key(step: &Step, variant: &Variant) -> (&'static str, &'static str, bool) {
        (step.kernel.name, variant.name, (step.kernel.flops)(step) <= QUICK)
    }

    /// Finds out what some variants have against them, all at the same time, since each waits for the device most of its time. Those without
    /// run-time checks come after the ones with them, and only where these agree.
    fn learn(&mut self, device: &Device, step: &Step, variants: &[&'static Variant]) -> Result<()> {
        for without_checks in [false, true] {
            let agrees = |checked: &str| {
                variants.iter().any(|v| v.name == checked && self.known.get(&Agreed::key(step, v)) == Some(&None))
            };
            let is_next = |variant: &&&'static Variant| {
                variant.checked.is_some() == without_checks
                    && variant.checked.is_none_or(agrees)
                    && !self.known.contains_key(&Agreed::key(step, variant))
            };
            let unknown: Vec<&'static Variant> = variants.iter().filter(is_next).copied().collect();
            let found: Result<Vec<_>> = unknown
                .into_par_iter()
                .map(|v| Ok((Agreed::key(step, v), disagreement(device, step, v, self.has_pairs)?)))
                .collect();
            self.known.extend(found?);
        }
        Ok(())
    }

    /// What a variant has against it. Of one without run-time checks the one with them comes first.
    fn problem(&mut self, device: &Device, step: &Step, variant: &'static Variant) -> Result<Option<String>> {
        let with_checks = variant.checked.and_then(|name| step.kernel.variants.iter().find(|v| v.name == name));
        if let Some(checked) = with_checks
            && let Some(problem) = self.problem(device, step, checked)?
        {
            return Ok(Some(format!("{}: {problem}", checked.name)));
        }
        let by = Agreed::key(step, variant);
        if let Some(known) = self.known.get(&by) {
            return Ok(known.clone());
        }
        let problem = disagreement(device, step, variant, self.has_pairs)?;
        self.known.insert(by, problem.clone());
        Ok(problem)
    }
}

/// What a variant has against its definition, on a few small sizes.
fn disagreement(device: &Device, step: &Step, variant: &'static Variant, has_pairs: bool) -> Result<Option<String>> {
    let mut sizes = HELD_AT.0.to_vec();
    if (step.kernel.flops)(step) > QUICK {
        let is_small = |size: &[u32; 3]| {
            let mut sample = Program::new();
            (step.kernel.sample)(&mut sample, *size);
            (step.kernel.flops)(&sample.steps()[0]) <= MOST_HELD
        };
        sizes.extend(HELD_AT.1.into_iter().filter(is_small));
    }
    let check = || {
        let mut outcomes = check::kernels::on_gpu(step.kernel, variant, &sizes, device)?;
        if has_pairs {
            outcomes.extend(check::kernels::pairs_on_gpu(step.kernel, variant, &sizes, device)?);
        }
        Ok(outcomes)
    };
    let outcomes = match check() {
        Err(Error::Device { what, message }) => return Ok(Some(format!("the adapter refuses {what}: {message}"))),
        outcomes => outcomes?,
    };
    Ok(outcomes.iter().find(|o| !o.passed).map(|o| o.note.clone().unwrap_or_else(|| o.shape.clone())))
}

#[cfg(test)]
mod tests {
    use pollster::block_on;

    use super::*;
    use crate::backend::Adapter;
    use crate::batch::{Input, Loss};
    use crate::model::{Config, Model};

    /// Where there is no time, the share of the step's time that keeps the usual variants is said, and nothing is chosen.
    #[test]
    fn what_is_left_out_is_said_with_its_share_of_the_time() {
        let adapter = block_on(Adapter::find(None)).expect("the tests need an adapter");
        let mut device = block_on(Device::open(&adapter)).unwrap();
        let model = Model::new(&Config::new(Input::Vectors(5), 19, 3, Loss::SquaredError, 7, 4)).unwrap();
        let outcome = within(Duration::ZERO, &mut device, model.program(), Mode::Auto, None).unwrap();
        assert!(outcome.measured.is_empty() && outcome.notes.len() == 1, "{outcome:?}");
        let (note, cuts) = (&outcome.notes[0], device.cuts(model.program()));
        let share = note.split(" shapes, ").nth(1).and_then(|rest| rest.split(" %").next()).map(|share| share.parse::<f64>());
        assert!(matches!(share, Some(Ok(share)) if share > 0.0 && share <= 100.0), "{note}");
        let several = |step: &&Step| device.candidates(step, &cuts).count() > 1;
        let shapes: BTreeSet<String> = model.program().steps().iter().filter(several).map(Step::shape).collect();
        assert!(note.contains(&format!("no time for {} shapes", shapes.len())), "{note}");
        assert!(model.program().steps().iter().all(|step| device.chosen(step).is_none()));
    }
}
