//! The proof on one's own adapter: everything that is computed, held to something that it was not computed from.
//!
//! | what | held to |
//! |---|---|
//! | every kernel, in every variant, over a table of sizes and values | its definition: plain loops in f64 |
//! | the activations, a thousand values at a time | the host's twins of them |
//! | every step of whole training steps | the definitions again, each from what the device left of the step before |
//! | the same training steps, many in a submission and nothing read in between | the bits that came of them one by one |
//! | the gradient of a network before and after them, on the adapter and on the CPU | [`reference`](mod@crate::reference), which shares nothing with the programs |
//! | the reference | finite differences of its own loss |
//! | what is run again | the bits of the first run |
//! | the adapter | a list of traps that give wrong numbers in silence |
//!
//! On small integers sums, products and lookups have one right answer in any order, and it must be met in every bit. On all other
//! numbers each kernel has a bound beside its contract ([`Kernel::bound`](crate::program::Kernel::bound)): how far an evaluation in f32, in any order, may be
//! from its definition at each single element, derived from the number of roundings and the size of what is rounded. So a value that
//! is nearer to zero than its neighbours is held to no less. Whole gradients have a wider fence ([`networks::bound`]), the means of
//! the activations one that is chosen, and so have finite differences.

pub mod activations;
mod deviation;
mod differences;
mod exact;
pub mod kernels;
mod lockstep;
pub mod networks;
mod pairs;
mod part;
mod ranks;
mod report;
mod samples;
mod traps;

use crate::backend::Compute;
use crate::backend::{Backend, Cpu, Device, Gpu};
use crate::model::Model;
use crate::program::{Program, Step, Variant};
use crate::registry;
use crate::{Error, Result};

pub use deviation::Deviation;
pub use exact::Exact;
pub use lockstep::{Deviations, Lockstep};
use part::Part;
pub use ranks::run_on_ranks;
pub use report::{Outcome, Report};

/// What a [`run`] is at.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Parts that are done.
    pub done: usize,
    /// All parts.
    pub of: usize,
    /// The next.
    pub next: &'a str,
}

/// How much of it is run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scope<'a> {
    /// Without the long sums and with a seventh of the networks.
    pub quick: bool,
    /// With the variants that are made for another kind of adapter, which never run here otherwise; these without the long sums.
    pub all_variants: bool,
    /// What has this text in its name alone, or, of training steps, in the network's.
    pub only: Option<&'a str>,
}

/// Checks everything on a device, or on the CPU: a few minutes at most on a software adapter, `quick` in seconds. What is wrong is in the
/// report.
///
/// # Errors
/// [`Error::Usage`] when nothing has the name that is asked for; what keeps it from going on: a lost device, memory that is too small. A kernel that the adapter refuses is a failure in the report.
pub fn run(compute: &Compute, scope: Scope, progress: &mut dyn FnMut(Progress)) -> Result<Report> {
    let parts = chosen(parts(compute, scope), scope.only)?;
    Ok(Report::new(compute, part::run_all(parts, workers(compute), progress)?))
}

/// The parts with a text in their names, and what has to pass before them.
fn chosen<'a>(mut parts: Vec<Part<'a>>, only: Option<&str>) -> Result<Vec<Part<'a>>> {
    let Some(text) = only else { return Ok(parts) };
    let is_named = |part: &Part| part.name.contains(text) || part.about.contains(text);
    let named = parts.iter().filter(|part| is_named(part));
    let needed: Vec<String> = named.filter_map(|part| Some(format!("{}/{}", part.kernel(), part.checked?))).collect();
    parts.retain(|part| is_named(part) || needed.contains(&part.name));
    if parts.is_empty() { Err(Error::Usage(format!("nothing in the check is named {text:?}"))) } else { Ok(parts) }
}

/// Parts that run at the same time: most of a part's time a GPU waits for the host, or the host for a GPU. The CPU has its own threads.
fn workers(compute: &Compute) -> usize {
    match compute {
        Compute::Cpu(_) => 1,
        Compute::Gpu(_) => std::thread::available_parallelism().map_or(1, usize::from).min(8),
    }
}

fn parts<'a>(compute: &'a Compute, scope: Scope) -> Vec<Part<'a>> {
    let quick = scope.quick;
    let mut parts = Vec::new();
    match compute {
        Compute::Cpu(threads) => {
            for kernel in registry::kernels() {
                parts.push(Part::new(kernel.name, "cpu", move || {
                    kernels::on_cpu(kernel, &kernels::sizes_of(kernel, quick), *threads)
                }));
            }
        }
        Compute::Gpu(device) => {
            parts.push(Part::new("traps", "builtin", move || traps::check(device)));
            for kernel in registry::kernels() {
                let mut variants: Vec<&'static Variant> = kernel.variants.iter().filter(|v| is_meant(device, v, scope)).collect();
                // Those without run-time checks come last, and without the long sums: they are the same text.
                variants.sort_by_key(|variant| variant.checked.is_some());
                for variant in variants {
                    let name = format!("{}/{}", kernel.name, variant.name);
                    let mut sizes = kernels::sizes_of(kernel, quick || variant.checked.is_some() || !device.suits(variant));
                    if variant.checked.is_some() && !device.suits(variant) {
                        // It never runs here: that it compiles and computes something is enough.
                        sizes = sizes.into_iter().step_by(3).collect();
                    }
                    // Where a variant without run-time checks never runs, the pairs of the one with them tell as much.
                    let has_pairs = variant.checked.is_none() || device.suits(variant);
                    let run = move || {
                        let mut outcomes = kernels::on_gpu(kernel, variant, &sizes, device)?;
                        if has_pairs && outcomes.iter().all(|outcome| outcome.passed) {
                            outcomes.extend(kernels::pairs_on_gpu(kernel, variant, &sizes, device)?);
                        }
                        Ok(outcomes)
                    };
                    parts.push(Part { checked: variant.checked, ..Part::new(name, variant.name, run) });
                }
            }
            for variant in crate::kernels::map::ACTIVATE.variants {
                parts.push(Part::new("activations", variant.name, move || activations::check(device, variant)));
            }
        }
    }
    let (cases, sets) = (networks::cases(), sets(compute, scope));
    for (i, case) in cases.iter().enumerate().step_by(if quick { 7 } else { 1 }) {
        // One set of variants a network: each has the whole table's sizes, activations, losses and depths.
        let set = sets[i / 11 % sets.len()];
        let (case, about) = (case.clone(), case.name());
        let run = move || {
            let mut outcomes =
                networks::in_lockstep(&case, Model::new(&case.config)?, set, &mut |program| load(compute, set, program))?;
            if set.is_some() {
                let mut cpu = |program: &Program| -> Result<Box<dyn Backend>> { Ok(Box::new(Cpu::new(program, None)?)) };
                outcomes.push(networks::gradients(&case, Model::new(&case.config)?, None, &mut cpu)?);
            }
            Ok(outcomes)
        };
        parts.push(Part { about, ..Part::new("training steps", set.unwrap_or("cpu"), run) });
    }
    parts.push(Part::new("reference", "cpu", move || differences::check(quick)));
    parts
}

/// Whether a variant is part of a check on a device. One whose workgroups wait for each other is not where nothing tells that they run at the same time.
fn is_meant(device: &Device, variant: &Variant, scope: Scope) -> bool {
    device.has(variant.needs) && (scope.all_variants && !variant.waits || device.suits(variant))
}

/// The names of the variants, with run-time checks, of those kernels that have several: with each a network is run.
fn sets(compute: &Compute, scope: Scope) -> Vec<Option<&'static str>> {
    let Compute::Gpu(device) = compute else { return vec![None] };
    let several = registry::kernels().into_iter().filter(|kernel| kernel.variants.len() > 1);
    let mut names: Vec<Option<&str>> = Vec::new();
    let usable = |variant: &&Variant| is_meant(device, variant, scope) && variant.checked.is_none();
    for variant in several.flat_map(|kernel| kernel.variants).filter(usable) {
        if !names.contains(&Some(variant.name)) {
            names.push(Some(variant.name));
        }
    }
    names
}

fn load(compute: &Compute, set: Option<&'static str>, program: &Program) -> Result<Box<dyn Backend>> {
    Ok(match compute {
        Compute::Cpu(threads) => Box::new(Cpu::new(program, *threads)?),
        Compute::Gpu(device) => Box::new(gpu(device, program, set)?),
    })
}

/// A GPU that runs the variants of this name, where a kernel has one.
///
/// # Errors
/// As [`Gpu::new`].
pub fn gpu(device: &Device, program: &Program, variant: Option<&'static str>) -> Result<Gpu> {
    let cuts = device.cuts(program);
    let usable = |v: &&'static Variant, step: &Step| Some(v.name) == variant && device.is_able(v, step, &cuts);
    Gpu::with_variants(device, program, &|step| step.kernel.variants.iter().find(|v| usable(v, step)))
}
