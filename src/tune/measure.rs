//! Steps by themselves, in each of several variants: whether these agree, and how long each takes.

use std::time::{Duration, Instant};

use crate::backend::gpu::warm;
use crate::backend::{Backend, Cpu, Device, Gpu, Work};
use crate::program::{Element, Mat, Program, ROW_ALIGNMENT, Step, Variant, all_windows};
use crate::random::Random;
use crate::{Error, Result};

/// Operations that the CPU does in a moment: results of larger steps are compared with those of the plainest variant.
pub(super) const QUICK: u64 = 4_000_000_000;
/// The bytes of a step's windows up to which the CPU computes it as well.
const SMALL: u64 = 1 << 28;
/// The time for the rounds of a step, of which there are at least three.
const PATIENCE: Duration = Duration::from_millis(150);
const MOST_ROUNDS: usize = 25;
/// What takes so many times as long as the fastest in the first round is not run again.
const HOPELESS: f64 = 3.0;

/// A step once for each of some variants, over the same windows.
pub(super) struct Alone {
    program: Program,
    gpu: Gpu,
    contents: Vec<Vec<f32>>,
}

impl Alone {
    /// Loads a step in each of some variants, of which those of the numbers `right` are run, with any numbers in its windows.
    pub fn new(device: &Device, step: &Step, variants: &[&'static Variant], right: &[usize]) -> Result<Alone> {
        let program = repeated(step, variants.len());
        // The others do not run, and are not compiled: their places have one that is right.
        let number = std::cell::Cell::new(0);
        let in_turn = |_: &Step| {
            let i = number.replace(number.get() + 1);
            right.contains(&i).then_some(variants[i]).or_else(|| right.first().map(|&i| variants[i]))
        };
        let mut gpu = Gpu::with_variants(device, &program, &in_turn)?;
        let contents = contents(&program.steps()[0]);
        fill(&mut gpu, &program.steps()[0], &contents)?;
        Ok(Alone { program, gpu, contents })
    }

    /// What the CPU makes of the step, where that is quick and the host has room.
    pub fn expected(&self) -> Result<Option<Vec<Vec<f32>>>> {
        let step = &self.program.steps()[0];
        if (step.kernel.flops)(step) > QUICK || all_windows(step) > SMALL {
            return Ok(None);
        }
        let mut cpu = match Cpu::new(&repeated(step, 1), None) {
            Err(Error::DoesNotFit { .. }) => return Ok(None),
            cpu => cpu?,
        };
        fill(&mut cpu, step, &self.contents)?;
        results(&mut cpu, step, 0).map(Some)
    }

    /// What the variant of a number makes of it. What another left where it is compared is overwritten first.
    pub fn results(&mut self, number: usize) -> Result<Vec<Vec<f32>>> {
        let step = &self.program.steps()[0];
        for (i, window) in step.written().filter(|(i, _)| !self.contents[*i].is_empty()) {
            compared(window)
                .into_iter()
                .try_for_each(|block| self.gpu.write(block, &values(step, window, block, &self.contents[i])))?;
        }
        results(&mut self.gpu, step, number)
    }

    /// The median of the seconds that each of some variants took: in turn, on a GPU that is warm. Of one that is far behind it is the
    /// time of its only run.
    pub fn times(&mut self, numbers: &[usize]) -> Result<Vec<f64>> {
        if numbers.is_empty() {
            return Ok(Vec::new());
        }
        let adapter = self.gpu.adapter().clone();
        warm(&adapter, || {
            numbers.iter().try_for_each(|&number| self.gpu.run(number..number + 1))?;
            self.gpu.wait()
        })?;
        self.gpu.record(true)?;
        let first = self.round(numbers)?;
        let fastest = first.iter().copied().fold(f64::INFINITY, f64::min);
        let near: Vec<usize> = (0..numbers.len()).filter(|&i| first[i] <= HOPELESS * fastest).collect();
        let mut seconds: Vec<Vec<f64>> = first.iter().map(|&time| vec![time]).collect();
        let (begun, again) = (Instant::now(), near.iter().map(|&i| numbers[i]).collect::<Vec<_>>());
        for round in 0..MOST_ROUNDS {
            if round >= 3 && begun.elapsed() > PATIENCE {
                break;
            }
            for (&i, time) in near.iter().zip(self.round(&again)?) {
                // The first round was to find out who is far behind.
                if round == 0 {
                    seconds[i].clear();
                }
                seconds[i].push(time);
            }
        }
        self.gpu.record(false)?;
        Ok(seconds.into_iter().map(median).collect())
    }

    /// The seconds of one run of each, by the device's timestamps where it has them.
    fn round(&mut self, numbers: &[usize]) -> Result<Vec<f64>> {
        numbers.iter().try_for_each(|&number| self.gpu.run(number..number + 1))?;
        let spans = self.gpu.spans()?;
        let of = |number: usize| spans.iter().filter(move |s| s.work == Work::Step(number)).map(|s| s.length.as_secs_f64()).sum();
        Ok(numbers.iter().map(|&number| of(number)).collect())
    }
}

/// The seconds that the steps of a program take, each in the variant that is usual.
pub(super) fn profile(device: &Device, program: &Program) -> Result<Vec<f64>> {
    let mut gpu = Gpu::new(device, program)?;
    // Once for the compiler and the clock.
    gpu.run(0..program.len())?;
    gpu.record(true)?;
    gpu.run(0..program.len())?;
    let mut seconds = vec![0.0; program.len()];
    for span in gpu.spans()? {
        if let Work::Step(step) = span.work {
            seconds[step] += span.length.as_secs_f64();
        }
    }
    Ok(seconds)
}

/// Where two results are further apart than rounding takes them, in words.
pub(super) fn difference(expected: &[Vec<f32>], got: &[Vec<f32>]) -> Option<String> {
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

/// A program of one step, so many times.
fn repeated(step: &Step, times: usize) -> Program {
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
    program.repeat(&Step { windows, ..step.clone() }, times);
    program
}

/// Random numbers for a block of each window of floats of a step, the same each time, about as large as they are after a product.
fn contents(step: &Step) -> Vec<Vec<f32>> {
    let random_block = |(stream, window): (u64, &Mat)| {
        let mut random = Random::new(1, stream);
        let scale = 1.0 / (window.cols as f32).sqrt();
        let most = if window.element == Element::F32 { window.blocks().map(|block| block.len()).max() } else { None };
        (0..most.unwrap_or(0)).map(|_| random.uniform_in(-scale, scale)).collect()
    };
    (0..).zip(&step.windows).map(random_block).collect()
}

/// Fills the windows of floats of a step, each block of one with the same contents.
fn fill(backend: &mut dyn Backend, step: &Step, contents: &[Vec<f32>]) -> Result<()> {
    for (window, contents) in step.windows.iter().zip(contents).filter(|(_, contents)| !contents.is_empty()) {
        window.blocks().try_for_each(|block| backend.write(block, &values(step, window, block, contents)))?;
    }
    Ok(())
}

/// What a block of a window holds: its contents, with zeros between the gates. Kernels may rely on these, and a step does not say where its gates
/// are. So each number of rows or columns that can be that of several gates is taken for one, where the units are the fewest columns of a window.
fn values(step: &Step, window: &Mat, block: Mat, contents: &[f32]) -> Vec<f32> {
    let units = step.windows.iter().filter(|w| w.element == Element::F32).map(|w| w.cols).min().unwrap_or(1);
    let stride = units.next_multiple_of(ROW_ALIGNMENT);
    let is_between = |at: u32, count: u32| count > units && (count - units).is_multiple_of(stride) && at % stride >= units;
    let begin = block.offset - window.offset;
    let (first_row, first_col) = (begin / u64::from(window.stride), begin % u64::from(window.stride));
    let value = |(at, &value): (usize, &f32)| {
        let (row, col) = (first_row as u32 + at as u32 / block.cols, first_col as u32 + at as u32 % block.cols);
        if is_between(row, window.rows) || is_between(col, window.cols) { 0.0 } else { value }
    };
    contents[..block.len()].iter().enumerate().map(value).collect()
}

/// The blocks of a window that are compared, so that the host holds no more of it: the first and the last.
fn compared(window: &Mat) -> Vec<Mat> {
    let blocks: Vec<Mat> = window.blocks().collect();
    let last = blocks[1..].last().copied();
    blocks.first().copied().into_iter().chain(last).collect()
}

/// Runs a step and reads what it wrote, as far as that is compared.
fn results(backend: &mut dyn Backend, step: &Step, number: usize) -> Result<Vec<Vec<f32>>> {
    backend.run(number..number + 1)?;
    step.written().flat_map(|(_, window)| compared(window)).map(|block| backend.read(block)).collect()
}

/// The middle of some values, or the mean of the two in the middle.
///
/// # Panics
/// When there are none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { (values[middle - 1] + values[middle]) / 2.0 } else { values[middle] }
}
