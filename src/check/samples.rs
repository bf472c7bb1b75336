//! What kernels are run on for a check: a table of sizes and of values, in buffers that are poisoned around the windows.

use crate::Result;
use crate::backend::Backend;
use crate::program::{Access, Content, Contents, Declaration, Element, Kernel, Mat, Program, ROW_ALIGNMENT};
use crate::random::Random;

/// 1, primes, around 64, around the tiles of 16, 32 and 64. What the three numbers are is a kernel's own affair.
pub(super) const SIZES: &[[u32; 3]] = &[
    [1, 1, 1],
    [19, 37, 65],
    [5, 3, 2],
    [64, 65, 64],
    [1, 65, 7],
    [7, 1, 19],
    [63, 64, 63],
    [66, 130, 33],
    [17, 31, 32],
    [15, 33, 16],
    [9, 257, 127],
    [1, 300, 2],
    // One sequence of a small network.
    [1, 62, 9],
    // Sums that are cut into pieces and blocks, along each of the three.
    [3, 4100, 2],
    [5, 3, 4100],
    [4100, 5, 3],
];

/// Sums past the 65,535 loop iterations after which lavapipe stops without an error, along each of the three.
pub(super) const LONG: &[[u32; 3]] = &[
    [3, 2, 70_001],
    [70_001, 3, 2],
    [2, 70_001, 3],
    // A recurrence whose sums are cut.
    [1, 4100, 1],
];

/// Of a recurrence of another cell than the first.
pub(super) const OF_OTHER_CELLS: &[[u32; 3]] =
    &[[1, 1, 1], [5, 3, 2], [7, 1, 19], [15, 33, 16], [9, 66, 5], [66, 130, 2], [3, 37, 9], [17, 64, 3]];

/// A size whose sample is larger is left out: the matrix of a recurrence of 70,001 units.
const MOST_BYTES: u64 = 1 << 24;
/// The same of the long ones.
const MOST_LONG_BYTES: u64 = 1 << 27;

/// What the windows hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// -1, 0 and 1.
    Integers,
    /// In (-1, 1).
    Reals,
    /// About 1e-11: their squares are still normal numbers.
    Small,
    /// About 1e11.
    Large,
    /// From 1e-8 to 1e8.
    Mixed,
    /// Below the normal numbers, among others that are not.
    Subnormal,
    /// Some are NaN.
    NaN,
    /// Some are infinite.
    Infinite,
}

impl Values {
    pub const ALL: [Values; 8] = [
        // First, so that what they leave in scratch memory is what the others find there.
        Values::NaN,
        Values::Infinite,
        Values::Integers,
        Values::Reals,
        Values::Small,
        Values::Large,
        Values::Mixed,
        Values::Subnormal,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Values::Integers => "integers",
            Values::Reals => "in (-1, 1)",
            Values::Small => "about 1e-11",
            Values::Large => "about 1e11",
            Values::Mixed => "1e-8 to 1e8",
            Values::Subnormal => "subnormal",
            Values::NaN => "with NaN",
            Values::Infinite => "with infinity",
        }
    }

    fn draw(self, random: &mut Random) -> f32 {
        let x = random.uniform_in(-1.0, 1.0);
        match self {
            Values::Integers => (3.0 * x.abs()).floor().min(2.0) - 1.0,
            Values::Reals | Values::NaN | Values::Infinite => x,
            Values::Small => x * 1e-11,
            Values::Large => x * 1e11,
            Values::Mixed => x.signum() * 10f32.powf(random.uniform_in(-8.0, 8.0)),
            Values::Subnormal if random.below(2) == 0 => x * 1e-38,
            Values::Subnormal => x,
        }
    }
}

/// A NaN that no computation makes, another one in each window and at each place: what is copied to a wrong place shows.
fn poison(window: usize, at: usize) -> f32 {
    f32::from_bits(0x7fa0_0000 | (window as u32 + 1) << 16 | (at as u32 & 0xffff))
}

/// Rows of poison before and after each window.
const GUARD: u32 = 3;

/// A kernel's step, recorded at a size, its windows surrounded by poison.
#[derive(Debug)]
pub(super) struct Sample {
    pub index: usize,
    pub size: [u32; 3],
    contents: Contents,
}

/// Records a kernel at each size that is not too large, each with buffers of its own.
pub(super) fn record(kernel: &Kernel, sizes: &[[u32; 3]]) -> (Program, Vec<Sample>) {
    let mut program = Program::new();
    let mut samples = Vec::new();
    for &size in sizes {
        // A first look at how large it is, by sizes alone.
        let mut alone = Program::new();
        let contents = (kernel.sample)(&mut alone, size);
        if alone.bytes() > if LONG.contains(&size) { MOST_LONG_BYTES } else { MOST_BYTES } {
            continue;
        }
        assert_eq!(alone.len(), 1, "{kernel:?} records one step");
        let index = program.len();
        let contents = append(&mut program, alone, contents, index % 2 == 1);
        samples.push(Sample { index, size, contents });
    }
    (program, samples)
}

/// Appends a program of one step whose windows are whole buffers, each with guard rows before and after; `wide` puts the rows
/// further apart than they are long.
fn append(program: &mut Program, alone: Program, mut contents: Contents, wide: bool) -> Contents {
    let base = program.buffers.len() as u32;
    let moved = |window: Mat| {
        let stride = window.stride + if wide && window.rows > 1 { ROW_ALIGNMENT } else { 0 };
        let offset = u64::from(GUARD) * u64::from(stride);
        Mat { buf: crate::program::Buf(window.buf.0 + base), stride, offset, ..window }
    };
    let mut steps = alone.steps;
    let mut buffers = alone.buffers;
    for window in &mut steps[0].windows {
        *window = moved(*window);
        let len = u64::from(window.rows + 2 * GUARD) * u64::from(window.stride);
        let buffer = &mut buffers[(window.buf.0 - base) as usize];
        *buffer = Declaration { len, ..buffer.clone() };
    }
    contents.iter_mut().for_each(|(window, _)| *window = moved(*window));
    program.buffers.extend(buffers);
    program.steps.extend(steps);
    contents
}

/// What a buffer of a sample holds before the step, poison and padding included.
pub(super) struct Filled {
    /// The buffer as one row.
    pub whole: Mat,
    pub window: Mat,
    pub written: bool,
    pub values: Vec<f32>,
}

impl Sample {
    /// The windows into which what is not finite is put, one after the other: all floats that are read and may hold any number.
    pub fn targets(&self, program: &Program, values: Values) -> Vec<usize> {
        let step = &program.steps()[self.index];
        let given = |window: &Mat| self.contents.iter().any(|(w, c)| w == window && matches!(c, Content::Numbers(_)));
        let is_target = |&place: &usize| {
            let binding = &step.kernel.bindings[place];
            binding.element == Element::F32 && binding.access != Access::Write && !given(&step.windows[place])
        };
        match values {
            Values::NaN | Values::Infinite => (0..step.windows.len()).filter(is_target).collect(),
            // Into none.
            _ => vec![usize::MAX],
        }
    }

    /// Writes all buffers of the sample, the same values to each backend, and gives what the floats hold. What is not finite goes into
    /// the window `target`.
    pub fn fill(
        &self,
        program: &Program,
        values: Values,
        target: usize,
        backends: &mut [&mut dyn Backend],
    ) -> Result<Vec<Filled>> {
        let step = &program.steps()[self.index];
        let mut all = Vec::new();
        for (place, (&window, binding)) in step.windows.iter().zip(step.kernel.bindings).enumerate() {
            let content = self.contents.iter().find(|(w, _)| *w == window).map(|(_, content)| content);
            let len = program.buffers()[window.buf.0 as usize].len as u32;
            let whole = Mat { offset: 0, rows: 1, cols: len, stride: len, ..window };
            let mut random = Random::new(self.index as u64, 1000 + 100 * values as u64 + place as u64);
            if binding.element == Element::U32 {
                let Some(Content::Indices(indices)) = content else { panic!("{}: no indices", program.name(window)) };
                let mut buffer = vec![u32::MAX; len as usize];
                buffer[window.offset as usize..window.end() as usize].fill(0);
                buffer[window.offset as usize..][..indices.len()].copy_from_slice(indices);
                backends.iter_mut().try_for_each(|backend| backend.write_indices(whole, &buffer))?;
                continue;
            }
            let contents = match binding.access {
                // What a kernel overwrites must not matter.
                Access::Write => (0..window.len()).map(|at| poison(place, at)).collect(),
                _ => draw(values, content, window, place == target, &mut random),
            };
            let mut buffer: Vec<f32> = (0..len as usize).map(|at| poison(place, at)).collect();
            let width = window.cols.next_multiple_of(ROW_ALIGNMENT) as usize;
            for (r, row) in contents.chunks(window.cols as usize).enumerate() {
                let at = window.offset as usize + r * window.stride as usize;
                buffer[at..at + width].fill(0.0);
                buffer[at..at + row.len()].copy_from_slice(row);
            }
            backends.iter_mut().try_for_each(|backend| backend.write(whole, &buffer))?;
            all.push(Filled { whole, window, written: binding.access != Access::Read, values: buffer });
        }
        Ok(all)
    }
}

/// Records a kernel at a size twice, as a pair: the windows of the second step lie behind those of the first one, in buffers of twice the
/// length.
pub(super) fn record_pair(kernel: &Kernel, size: [u32; 3]) -> (Program, Contents) {
    let mut program = Program::new();
    let contents = (kernel.sample)(&mut program, size);
    let lens: Vec<u64> = program.buffers.iter().map(|buffer| buffer.len).collect();
    program.buffers.iter_mut().for_each(|buffer| buffer.len *= 2);
    let behind = |window: &Mat| Mat { offset: window.offset + lens[window.buf.0 as usize], ..*window };
    let mut second = program.steps[0].clone();
    second.windows = second.windows.iter().map(behind).collect();
    program.steps.push(second);
    program.interleave(0, 1);
    let contents_behind: Contents = contents.iter().map(|(window, content)| (behind(window), content.clone())).collect();
    (program, [contents, contents_behind].concat())
}

/// Fills what a step reads with numbers in (-1, 1), or what its contents say, the same on each backend.
pub(super) fn fill(program: &Program, index: usize, contents: &Contents, backends: &mut [&mut dyn Backend]) -> Result<()> {
    let step = &program.steps()[index];
    for (place, (&window, binding)) in step.windows.iter().zip(step.kernel.bindings).enumerate() {
        let content = contents.iter().find(|(known, _)| *known == window).map(|(_, content)| content);
        let mut random = Random::new(index as u64, place as u64);
        if let Some(Content::Indices(indices)) = content {
            backends.iter_mut().try_for_each(|backend| backend.write_indices(window, indices))?;
        } else if binding.access != Access::Write {
            let values = draw(Values::Reals, content, window, false, &mut random);
            backends.iter_mut().try_for_each(|backend| backend.write(window, &values))?;
        }
    }
    Ok(())
}

/// A window's values.
fn draw(values: Values, content: Option<&Content>, window: Mat, is_target: bool, random: &mut Random) -> Vec<f32> {
    let mut all: Vec<f32> = match content {
        Some(Content::Numbers(numbers)) => return numbers.clone(),
        Some(Content::Indices(_)) => unreachable!("a window of floats"),
        Some(Content::Recurrent(units)) if values == Values::Integers => permutations(window, *units, random),
        Some(Content::Recurrent(_)) => {
            let scale = 1.0 / (window.rows as f32).sqrt();
            // Neither overflow nor vanish over the time steps.
            let values = if matches!(values, Values::Large | Values::Mixed) { Values::Reals } else { values };
            (0..window.len()).map(|_| values.draw(random) * scale).collect()
        }
        Some(Content::State | Content::GateStates(_)) if values != Values::Integers => {
            (0..window.len()).map(|_| Values::Reals.draw(random)).collect()
        }
        Some(Content::NotNegative) => (0..window.len()).map(|_| values.draw(random).abs()).collect(),
        _ => (0..window.len()).map(|_| values.draw(random)).collect(),
    };
    let is_pad = |at: usize| lies_between(content, window, at);
    (0..all.len()).filter(|&at| is_pad(at)).for_each(|at| all[at] = 0.0);
    if is_target {
        // Of four numbers in a row the first is the one that counts.
        let at = |random: &mut Random| {
            let at = if window.len() == 4 { 0 } else { random.below(window.len() as u32) as usize };
            if is_pad(at) { 0 } else { at }
        };
        match values {
            Values::NaN => all[at(random)] = f32::NAN,
            Values::Infinite => {
                all[at(random)] = f32::NEG_INFINITY;
                all[at(random)] = f32::INFINITY;
            }
            _ => {}
        }
    }
    all
}

/// Whether a place lies between the parts of a window that is made of such.
fn lies_between(content: Option<&Content>, window: Mat, at: usize) -> bool {
    let (row, col) = (at as u32 / window.cols, at as u32 % window.cols);
    let between = |at: u32, units: u32| at % units.next_multiple_of(ROW_ALIGNMENT) >= units;
    match content {
        Some(Content::Gates(units) | Content::GateStates(units)) => between(col, *units),
        Some(Content::Recurrent(units)) => between(col, *units) || between(row, *units),
        _ => false,
    }
}

/// Of square matrices side by side, or one below the other, one 1 or -1 in each row and column: what one is multiplied with stays as large as
/// it was.
fn permutations(window: Mat, units: u32, random: &mut Random) -> Vec<f32> {
    let mut values = vec![0.0; window.len()];
    let stride = units.next_multiple_of(ROW_ALIGNMENT);
    for first_row in (0..window.rows).step_by(stride as usize) {
        for first_col in (0..window.cols).step_by(stride as usize) {
            for (row, col) in random.permutation(units).into_iter().enumerate() {
                let at = (first_row + row as u32) as usize * window.cols as usize + (first_col + col) as usize;
                values[at] = if random.below(2) == 0 { 1.0 } else { -1.0 };
            }
        }
    }
    values
}
