//! Every kernel, in every variant that a backend has, against its definition.

use super::networks::Load;
use super::samples::{Filled, LONG, OF_OTHER_CELLS, SIZES, Sample, Values, record};
use super::{Exact, Outcome, pairs};
use crate::Result;
use crate::backend::{Backend, Cpu, Device, Gpu};
use crate::cells::Cell;
use crate::program::{Kernel, Mat, Program, ROW_ALIGNMENT, Variant};

/// Runs one kernel over sizes and a table of values on a backend that `load` makes, and holds everything that it writes to the
/// definition: the same bits on small integers, where it may be no other number; within its bound on all others; finite exactly
/// where the definition is. What lies around its windows, and what it only reads, must stay as it was; and what is run again
/// must give the same bits.
///
/// # Errors
/// What the backend reports.
pub fn check(kernel: &'static Kernel, variant: Option<&'static Variant>, sizes: &[[u32; 3]], load: Load) -> Result<Vec<Outcome>> {
    let (program, samples) = record(kernel, sizes);
    let mut backend = load(&program)?;
    let mut exact = Exact::new(&program);
    let mut outcomes = Vec::new();
    let variant = variant.map(|v| v.name);
    for values in Values::ALL {
        for sample in &samples {
            let step = &program.steps()[sample.index];
            let bits = values == Values::Integers;
            if (bits && !(kernel.is_exact)(step)) || !is_tried(kernel, values, sample.size) {
                continue;
            }
            let mut targets = sample.targets(&program, values);
            if !is_small(kernel, sample.size) {
                // One alone, so that what is not finite lies in scratch memory before finite values are tried.
                targets = targets.into_iter().cycle().skip(sample.index).take(1).collect();
            }
            for target in targets {
                let filled = sample.fill(&program, values, target, &mut [&mut exact, &mut *backend])?;
                let left = run(&mut *backend, sample, &filled)?;
                let deviations = exact.compare(sample.index, bits, variant, |window| Ok(cut(window, &left)))?;
                let [m, n, k] = sample.size;
                let place = kernel.bindings.get(target).map_or(String::new(), |binding| format!(" in {}", binding.name));
                let shape = format!("{m}×{n}×{k}, {}{place}", values.name());
                let oracle = if bits { "definition, bits" } else { "definition" };
                let mut outcome = Outcome::from_deviations(kernel.name, variant, shape.clone(), oracle, deviations);
                outcome.note_failure(around(&filled, &left, &program));
                outcomes.push(outcome);
                if values == Values::Reals {
                    sample.fill(&program, values, target, &mut [&mut *backend])?;
                    let again = run(&mut *backend, sample, &filled)?;
                    outcomes.push(Outcome::again(kernel.name, variant, shape, other_bits(&left, &again, &program)));
                }
            }
        }
    }
    Ok(outcomes)
}

/// Every kind of values is tried on small sizes; on others those near 1, and NaN where a recurrence may leave it in scratch memory.
fn is_tried(kernel: &Kernel, values: Values, size: [u32; 3]) -> bool {
    match values {
        Values::Integers | Values::Reals => true,
        Values::NaN => elements(size) < MOST_ELEMENTS,
        _ => is_small(kernel, size),
    }
}

/// Whether a size is small. Less is small for a recurrence: each time step of it is computed alike, and in each variant that takes long.
fn is_small(kernel: &Kernel, size: [u32; 3]) -> bool {
    elements(size) < if is_recurrence(kernel) { MOST_ELEMENTS / 10 } else { MOST_ELEMENTS }
}

/// The product of a size's numbers below which everything is tried.
const MOST_ELEMENTS: u64 = 40_000;

fn elements(size: [u32; 3]) -> u64 {
    if LONG.contains(&size) { u64::MAX } else { size.iter().map(|&n| u64::from(n)).product() }
}

fn is_recurrence(kernel: &Kernel) -> bool {
    crate::cells::ALL.iter().any(|cell| [cell.forward.name, cell.backward.name].contains(&kernel.name))
}

/// The table of sizes; `quick` leaves out the long sums.
#[must_use]
pub fn sizes(quick: bool) -> Vec<[u32; 3]> {
    SIZES.iter().chain(if quick { &[] } else { LONG }).copied().collect()
}

/// The table of sizes of a kernel. Of the other cells' recurrences, whose texts and loops are those of the first cell's, those alone at
/// which a cell's own part can go wrong: parts that begin at a multiple of four and not, more units and sequences than a tile has, many
/// time steps.
#[must_use]
pub fn sizes_of(kernel: &Kernel, quick: bool) -> Vec<[u32; 3]> {
    let of = |cell: &&Cell| [cell.forward.name, cell.backward.name].contains(&kernel.name);
    match crate::cells::ALL.iter().find(|cell| of(cell)) {
        Some(&cell) if cell != Cell::usual() => OF_OTHER_CELLS.to_vec(),
        // Past 33 time steps there is nothing new, until their number is large.
        Some(_) => sizes(quick).into_iter().map(|[m, n, k]| [m, n, if k < 1000 { k.min(33) } else { k }]).collect(),
        None => sizes(quick),
    }
}

/// [`check`] for the CPU's functions, and pairs of recurrences, which the threads compute at the same time.
///
/// # Errors
/// What the backend reports.
pub fn on_cpu(kernel: &'static Kernel, sizes: &[[u32; 3]], threads: Option<usize>) -> Result<Vec<Outcome>> {
    let mut load = |program: &Program| -> Result<Box<dyn Backend>> { Ok(Box::new(Cpu::new(program, threads)?)) };
    let mut outcomes = check(kernel, None, sizes, &mut load)?;
    if is_recurrence(kernel) {
        outcomes.extend(pairs::check(kernel, None, &pairs::sizes(sizes), &mut load)?);
    }
    Ok(outcomes)
}

/// Sequences times time steps, at most, of a variant whose workgroups wait for each other, on an adapter that it is not made for: each of its
/// barriers takes long there, or each time step reads the weight anew.
const MOST_WAITING: u32 = 700;

/// [`check`] for a variant on a device, over the sizes that it can compute there; of one whose workgroups wait for each other without the longest
/// where it never runs.
///
/// # Errors
/// What the backend reports.
pub fn on_gpu(kernel: &'static Kernel, variant: &'static Variant, sizes: &[[u32; 3]], device: &Device) -> Result<Vec<Outcome>> {
    let sizes = able_sizes(kernel, variant, sizes, device);
    check(kernel, Some(variant), &sizes, &mut |program| on_device(program, variant, device))
}

/// The sizes at which a variant is tried on a device.
fn able_sizes(kernel: &Kernel, variant: &Variant, sizes: &[[u32; 3]], device: &Device) -> Vec<[u32; 3]> {
    let is_able = |&&size: &&[u32; 3]| {
        let mut program = Program::new();
        (kernel.sample)(&mut program, size);
        let [sequences, _, steps] = size;
        let is_quick = !variant.waits || device.suits(variant) || sequences * steps <= MOST_WAITING;
        is_quick && device.is_able(variant, &program.steps()[0], &device.cuts(&program))
    };
    sizes.iter().filter(is_able).copied().collect()
}

/// Holds pairs of steps that a variant computes at the same time to the definition, each with numbers of its own, at the largest of some sizes
/// that are not too large. Without pairs there is nothing to hold.
///
/// # Errors
/// What the backend reports.
pub fn pairs_on_gpu(
    kernel: &'static Kernel,
    variant: &'static Variant,
    sizes: &[[u32; 3]],
    device: &Device,
) -> Result<Vec<Outcome>> {
    let sizes = if variant.pairs { able_sizes(kernel, variant, sizes, device) } else { Vec::new() };
    pairs::check(kernel, Some(variant), &pairs::sizes(&sizes), &mut |program| on_device(program, variant, device))
}

fn on_device(program: &Program, variant: &'static Variant, device: &Device) -> Result<Box<dyn Backend>> {
    Ok(Box::new(Gpu::with_variants(device, program, &|_| Some(variant))?))
}

/// Runs a step and gives each float buffer of its sample, whole.
fn run(backend: &mut dyn Backend, sample: &Sample, filled: &[Filled]) -> Result<Vec<(Mat, Vec<f32>)>> {
    backend.run(sample.index..sample.index + 1)?;
    filled.iter().map(|f| Ok((f.whole, backend.read(f.whole)?))).collect()
}

/// The first value that is not the same in two runs, in words.
fn other_bits(first: &[(Mat, Vec<f32>)], second: &[(Mat, Vec<f32>)], program: &Program) -> Option<String> {
    first.iter().zip(second).find_map(|((whole, a), (_, b))| {
        let at = a.iter().zip(b).position(|(a, b)| a.to_bits() != b.to_bits())?;
        Some(format!("element {at} of {}'s buffer was {:e} and then {:e}", program.name(*whole), a[at], b[at]))
    })
}

/// A window's values, row by row, out of its buffer.
fn cut(window: Mat, left: &[(Mat, Vec<f32>)]) -> Vec<f32> {
    let (_, buffer) = left.iter().find(|(whole, _)| whole.buf == window.buf).expect("a window of the sample");
    let row = |r| &buffer[window.offset as usize + r * window.stride as usize..][..window.cols as usize];
    (0..window.rows as usize).flat_map(row).copied().collect()
}

/// What changed outside of the windows that are written, if anything did.
fn around(filled: &[Filled], left: &[(Mat, Vec<f32>)], program: &Program) -> Option<String> {
    for (Filled { window, written, values, .. }, (_, left)) in filled.iter().zip(left) {
        let inside = |at: usize| {
            let at = at as u64;
            let width = u64::from(window.cols.next_multiple_of(ROW_ALIGNMENT));
            at >= window.offset && at < window.end() && (at - window.offset) % u64::from(window.stride) < width
        };
        let changed = |&at: &usize| values[at].to_bits() != left[at].to_bits() && !(*written && inside(at));
        if let Some(at) = (0..values.len()).find(changed) {
            let place = at as i64 - window.offset as i64;
            let (row, col) = (place.div_euclid(i64::from(window.stride)), place.rem_euclid(i64::from(window.stride)));
            let what = if *written { "outside of its window" } else { "which is only read" };
            let name = program.name(*window);
            let bits = |x: f32| if x.is_nan() { format!("NaN {:#x}", x.to_bits()) } else { format!("{x:e}") };
            return Some(format!("{name}[{row}, {col}], {what}, is {} and was {}", bits(left[at]), bits(values[at])));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::backend::Ticket;
    use crate::kernels::fill::COPY;

    /// A CPU that, after each step, writes a value of its own somewhere.
    struct Smudging {
        inner: Cpu,
        place: Mat,
        value: f32,
    }

    impl Backend for Smudging {
        fn write(&mut self, window: Mat, values: &[f32]) -> Result<()> {
            self.inner.write(window, values)
        }

        fn write_indices(&mut self, window: Mat, values: &[u32]) -> Result<()> {
            self.inner.write_indices(window, values)
        }

        fn run(&mut self, steps: Range<usize>) -> Result<()> {
            self.inner.run(steps)?;
            self.inner.write(self.place, &[self.value])
        }

        fn request(&mut self, window: Mat) -> Result<Ticket> {
            self.inner.request(window)
        }

        fn take(&mut self, ticket: Ticket) -> Result<Option<Vec<f32>>> {
            self.inner.take(ticket)
        }

        fn wait(&mut self) -> Result<()> {
            self.inner.wait()
        }

        fn description(&self) -> String {
            self.inner.description()
        }
    }

    /// Before and behind a window, beside its columns, in its padding, in what is only read: each is looked at.
    #[test]
    fn what_lies_around_the_windows_is_looked_at() {
        // Which window, and the row and column in it, of 7 × 5.
        for (place, at, said) in [
            (1, (7, 0), "out[7, 0], outside of its window"),
            (1, (-1, 4), "out[-1, 4], outside of its window"),
            (1, (3, 6), "out[3, 6] is 1e0, expected 0e0"),
            (0, (2, 2), "x[2, 2], which is only read"),
            (0, (6, 7), "x[6, 7], which is only read"),
        ] {
            let mut load = |program: &Program| -> Result<Box<dyn Backend>> {
                let window = program.steps()[0].windows[place];
                let offset = window.offset as i64 + at.0 * i64::from(window.stride) + at.1;
                let place = Mat { offset: offset as u64, rows: 1, cols: 1, ..window };
                Ok(Box::new(Smudging { inner: Cpu::new(program, Some(1))?, place, value: 1.0 }))
            };
            let outcomes = check(&COPY, None, &[[7, 5, 1]], &mut load).unwrap();
            assert!(outcomes.iter().all(|o| !o.passed || o.oracle == "second run"));
            let notes: Vec<&str> = outcomes.iter().filter_map(|o| o.note.as_deref()).collect();
            assert!(notes.iter().all(|note| note.contains(said)), "{said}: {notes:?}");
        }
    }
}
