//! Which variant of a kernel is the fastest for a step of some shape on an adapter: measured once, and kept in a file.
//!
//! A candidate is timed only after it has agreed with the definition of its kernel, and its results at the step's own shape with
//! those of the CPU. What is chosen decides the order of summation, so it belongs to a run: see [`Device::choose`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::backend::{Backend, Cpu, Device, Gpu, Work, check_memory};
use crate::check;
use crate::program::{Access, Element, Mat, Program, Step, Variant, all_windows};
use crate::random::Random;
use crate::{Error, Result};

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
    /// Milliseconds of the fastest of a few runs, unless it was not timed.
    pub ms: Option<f64>,
    /// Why it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What a tuning came to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcome {
    /// What was measured now.
    pub measured: Vec<Measured>,
    /// Shapes whose choice was in the file.
    pub known: usize,
    /// What people should know: a file that was not used, shapes for which there was no time.
    pub notes: Vec<String>,
    /// Why what was measured could not be kept.
    pub not_kept: Option<String>,
}

/// The time that the measurements of a program may take; shapes that come later keep the usual choice.
const BUDGET: Duration = Duration::from_secs(4);
/// The time for the runs of a candidate, of which there are at least two.
const PATIENCE: Duration = Duration::from_millis(150);
/// Operations that the CPU does in a moment: results of larger steps are compared with those of the plainest variant.
const QUICK: u64 = 20_000_000_000;
/// Sizes at which a variant is held to its definition; and those that are added where the CPU takes too long at the step's own size: several
/// of the largest tiles and two parts of a long sum; several dispatches of many time steps.
const HELD_AT: ([[u32; 3]; 3], [[u32; 3]; 2]) = ([[5, 37, 33], [8, 64, 16], [1, 9, 7]], [[130, 129, 260], [2, 20, 1030]]);
/// The operations of the largest of these.
const MOST_HELD: u64 = 10_000_000;

/// The file of choices: of one adapter, driver and version of this crate.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    adapter: String,
    driver: String,
    version: String,
    choices: BTreeMap<String, String>,
}

/// Chooses for the steps of a program, on a device that is to load it: from the file in the folder `cache` or by measuring, and then
/// keeps what was measured there. Shapes that are chosen already stay so.
///
/// # Errors
/// What the backend reports. A file that cannot be read is no error, but a note, and so is one that cannot be written.
pub fn tune(device: &mut Device, program: &Program, mode: Mode, cache: Option<&Path>) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    if mode == Mode::Off {
        return Ok(outcome);
    }
    let (mut shapes, cuts) = (BTreeSet::new(), device.cuts(program));
    let open: Vec<&Step> = program
        .steps()
        .iter()
        .filter(|step| device.candidates(step, &cuts).nth(1).is_some() && !device.is_chosen(step) && shapes.insert(step.shape()))
        .collect();
    if open.is_empty() {
        return Ok(outcome);
    }
    let path = cache.map(|folder| folder.join(file_name(device)));
    let mut kept = path.as_deref().map_or(BTreeMap::new(), |path| read(path, device, &mut outcome.notes));
    let mut choices = BTreeMap::new();
    let (start, mut agreed, mut left) = (Instant::now(), BTreeMap::new(), 0);
    for step in open {
        let shape = step.shape();
        let known = kept.get(&shape).filter(|name| device.candidates(step, &cuts).any(|v| v.name == **name));
        if let (Mode::Auto, Some(known)) = (mode, known) {
            choices.insert(shape, known.clone());
            outcome.known += 1;
        } else if start.elapsed() > BUDGET && mode == Mode::Auto {
            left += 1;
        } else if let Some(measured) = measure(device, step, &mut agreed)? {
            choices.insert(shape, measured.chosen.to_owned());
            outcome.measured.push(measured);
        } else {
            outcome.notes.push(format!(
                "tuning: there is no memory to measure {shape} beside what it is part of; it keeps the usual variant"
            ));
        }
    }
    if left > 0 {
        outcome.notes.push(format!(
            "tuning: there was no time for {left} shapes, which keep the usual variants; `retrospect tune` takes it"
        ));
    }
    device.choose(&choices)?;
    if let Some(path) = path.filter(|_| !outcome.measured.is_empty()) {
        kept.extend(choices);
        if let Err(error) = write(&path, device, kept) {
            outcome.not_kept = Some(format!("{} cannot be written: {error}", path.display()));
        }
    }
    Ok(outcome)
}

/// The candidates of a step, each timed; `None` when there is no memory for another of its kind. `agreed` says of which variants it is
/// known whether they agree with their definitions.
fn measure(
    device: &Device,
    step: &Step,
    agreed: &mut BTreeMap<(&'static str, &'static str, bool), Option<String>>,
) -> Result<Option<Measured>> {
    // What it holds, what is expected of it and what came of it, in the machine's memory.
    if check_memory("tuning", 4 * all_windows(step)).is_err() {
        return Ok(None);
    }
    let (program, values) = alone(step);
    let (step, cuts) = (&program.steps()[0], device.cuts(&program));
    let is_quick = (step.kernel.flops)(step) <= QUICK;
    let mut expected = if is_quick { Some(results(&mut Cpu::new(&program, None)?, &program, &values)?) } else { None };
    let mut variants: Vec<&'static Variant> = device.candidates(step, &cuts).collect();
    // The plainest first, which has the fewest things to go wrong: it is what the others are compared with where the CPU takes too long.
    variants.reverse();
    let mut candidates = Vec::new();
    for variant in variants {
        let by = (step.kernel.name, variant.name, is_quick);
        let problem = match agreed.get(&by) {
            Some(known) => known.clone(),
            None => {
                let problem = disagreement(device, step, variant)?;
                agreed.insert(by, problem.clone());
                problem
            }
        };
        if problem.is_some() {
            candidates.push(Candidate { variant: variant.name, ms: None, problem });
            continue;
        }
        let mut gpu = match Gpu::with_variants(device, &program, &|_| Some(variant)) {
            Ok(gpu) => gpu,
            Err(Error::DoesNotFit { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let got = results(&mut gpu, &program, &values)?;
        let off = expected.as_ref().and_then(|expected| difference(expected, &got));
        if off.is_some() {
            candidates.push(Candidate { variant: variant.name, ms: None, problem: off });
            continue;
        }
        expected.get_or_insert(got);
        candidates.push(Candidate { variant: variant.name, ms: Some(time(&mut gpu)?), problem: None });
    }
    let fastest = candidates.iter().filter_map(|c| Some((c.variant, c.ms?))).min_by(|a, b| a.1.total_cmp(&b.1));
    let Some((chosen, _)) = fastest else {
        let problems: Vec<&str> = candidates.iter().filter_map(|c| c.problem.as_deref()).collect();
        return Err(Error::Device { what: format!("every variant of {}", step.shape()), message: problems.join("; ") });
    };
    Ok(Some(Measured { shape: step.shape(), candidates, chosen }))
}

/// A step by itself, and what its floats hold.
fn alone(step: &Step) -> (Program, Vec<Vec<f32>>) {
    let mut program = Program::new();
    let windows: Vec<Mat> = step
        .windows
        .iter()
        .zip(step.kernel.bindings)
        .map(|(window, binding)| match window.element {
            Element::F32 => program.matrix(binding.name, window.rows, window.cols),
            Element::U32 => program.indices(binding.name, 1, window.cols),
        })
        .collect();
    let values = windows.iter().zip(0..).map(|(window, stream)| {
        let mut random = Random::new(1, stream);
        // About as large as they were after a product.
        let scale = 1.0 / (window.cols as f32).sqrt();
        (0..window.len()).map(|_| random.uniform_in(-scale, scale)).collect()
    });
    let values = values.collect();
    program.steps.push(Step { windows, ..step.clone() });
    (program, values)
}

/// What a step leaves in the windows that it writes.
fn results(backend: &mut dyn Backend, program: &Program, values: &[Vec<f32>]) -> Result<Vec<Vec<f32>>> {
    let step = &program.steps()[0];
    for (window, values) in step.windows.iter().zip(values).filter(|(window, _)| window.element == Element::F32) {
        backend.write(*window, values)?;
    }
    backend.run(0..1)?;
    let written = step.windows.iter().zip(step.kernel.bindings).filter(|(_, binding)| binding.access != Access::Read);
    written.map(|(window, _)| backend.read(*window)).collect()
}

/// Where two results are further apart than rounding takes them, in words.
fn difference(expected: &[Vec<f32>], got: &[Vec<f32>]) -> Option<String> {
    for (expected, got) in expected.iter().zip(got) {
        let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let is_near = |e: f32, g: f32| (e - g).abs() <= 1e-4 * largest;
        let off = |(_, (e, g)): &(usize, (&f32, &f32))| !is_near(**e, **g);
        if let Some((at, (e, g))) = expected.iter().zip(got).enumerate().find(off) {
            return Some(format!("element {at} is {g:e}, expected {e:e}"));
        }
    }
    None
}

/// What a variant has against its definition, on a few small sizes.
fn disagreement(device: &Device, step: &Step, variant: &'static Variant) -> Result<Option<String>> {
    let mut sizes = HELD_AT.0.to_vec();
    if (step.kernel.flops)(step) > QUICK {
        let is_small = |size: &[u32; 3]| {
            let mut sample = Program::new();
            (step.kernel.sample)(&mut sample, *size);
            (step.kernel.flops)(&sample.steps()[0]) <= MOST_HELD
        };
        sizes.extend(HELD_AT.1.into_iter().filter(is_small));
    }
    let outcomes = check::kernels::on_gpu(step.kernel, variant, &sizes, device)?;
    Ok(outcomes.iter().find(|o| !o.passed).map(|o| o.note.clone().unwrap_or_else(|| o.shape.clone())))
}

/// The milliseconds of the fastest of a few runs, by the device's timestamps where it has them.
fn time(gpu: &mut Gpu) -> Result<f64> {
    gpu.record(true)?;
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    for run in 0.. {
        if run >= 2 && (run >= 10 || start.elapsed() > PATIENCE) {
            break;
        }
        gpu.run(0..1)?;
        let spans = gpu.spans()?;
        best = best.min(spans.iter().filter(|s| matches!(s.work, Work::Step(_))).map(|s| s.length.as_secs_f64()).sum());
    }
    gpu.record(false)?;
    Ok(best * 1e3)
}

/// The file of an adapter, driver and version: readable, and another for each.
fn file_name(device: &Device) -> PathBuf {
    let (adapter, driver) = (&device.adapter.name, &device.adapter.driver);
    let all = format!("{adapter} {driver} {}", env!("CARGO_PKG_VERSION"));
    let word = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
    let name: String = all.chars().map(word).collect();
    let words: Vec<&str> = name.split('-').filter(|word| !word.is_empty()).collect();
    format!("{}.json", words.join("-").chars().take(150).collect::<String>()).into()
}

/// The choices in a file; none where it is not there, damaged or of something else.
fn read(path: &Path, device: &Device, notes: &mut Vec<String>) -> BTreeMap<String, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return BTreeMap::new(),
        Err(error) => {
            notes.push(format!("tuning: {} is not used: {error}", path.display()));
            return BTreeMap::new();
        }
    };
    match serde_json::from_str::<Kept>(&text) {
        Ok(kept) if kept.adapter == device.adapter.name && kept.driver == device.adapter.driver => {
            if kept.version == env!("CARGO_PKG_VERSION") {
                return kept.choices;
            }
            notes.push(format!("tuning: {} is not used: it is of version {}", path.display(), kept.version));
        }
        Ok(kept) => notes.push(format!("tuning: {} is not used: it is of {} ({})", path.display(), kept.adapter, kept.driver)),
        Err(error) => notes.push(format!("tuning: {} is not used: it is damaged: {error}", path.display())),
    }
    BTreeMap::new()
}

/// Writes the choices, whole or not at all.
fn write(path: &Path, device: &Device, choices: BTreeMap<String, String>) -> std::io::Result<()> {
    let adapter = &device.adapter;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let kept = Kept { adapter: adapter.name.clone(), driver: adapter.driver.clone(), version, choices };
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let text = serde_json::to_string_pretty(&kept).expect("strings and maps of them");
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}
