//! Pairs of steps: what each of two leaves that run at the same time, against the definition.

use super::networks::Load;
use super::samples::{fill, record_pair};
use super::{Exact, Outcome};
use crate::Result;
use crate::program::{Kernel, Variant};

/// The product of a size's numbers up to which it is tried.
const MOST_ELEMENTS: u64 = 40_000;
/// So many of the sizes are tried, the largest ones.
const MOST_SIZES: usize = 3;

/// Those of some sizes at which pairs are tried.
pub(super) fn sizes(all: &[[u32; 3]]) -> Vec<[u32; 3]> {
    let elements = |size: &[u32; 3]| size.iter().map(|&n| u64::from(n)).product::<u64>();
    let mut sizes: Vec<[u32; 3]> = all.iter().filter(|size| elements(size) <= MOST_ELEMENTS).copied().collect();
    sizes.sort_by_key(|size| std::cmp::Reverse(elements(size)));
    sizes.truncate(MOST_SIZES);
    sizes
}

/// Runs a kernel at each of some sizes as a pair of steps, each with numbers of its own, on a backend that `load` makes. Sizes at which the
/// backend runs them one after the other are left out.
///
/// # Errors
/// What the backend reports.
pub(super) fn check(
    kernel: &'static Kernel,
    variant: Option<&'static Variant>,
    sizes: &[[u32; 3]],
    load: Load,
) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for &[m, n, k] in sizes {
        let (program, contents) = record_pair(kernel, [m, n, k]);
        let mut backend = load(&program)?;
        if variant.is_some() && backend.dispatches(1) > 0 {
            continue;
        }
        let mut exact = Exact::new(&program);
        (0..2).try_for_each(|index| fill(&program, index, &contents, &mut [&mut exact, &mut *backend]))?;
        backend.run(0..2)?;
        let name = variant.map(|v| v.name);
        let mut deviations = Vec::new();
        for index in 0..2 {
            deviations.extend(exact.compare(index, false, name, |window| backend.read(window))?);
        }
        let shape = format!("{m}×{n}×{k}, a pair");
        outcomes.push(Outcome::from_deviations(kernel.name, name, shape, "definition", deviations));
    }
    Ok(outcomes)
}
