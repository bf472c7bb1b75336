//! What a machine can do at most, measured: multiplications and additions, bytes copied, and how long one dispatch waits for
//! the one before. Rows of a benchmark are given as shares of these.

use std::time::Instant;

use bytemuck::{Pod, Zeroable};
use num_traits::Float;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use serde::Serialize;

use crate::Result;
use crate::backend::Backend;
use crate::backend::Compute;
use crate::kernels::fill;
use crate::program::{
    Binding, Cuts, Kernel, Lowered, Mat, Piece, Program, Shader, Step, Variant, View, all_windows, little, scalars, whole,
};
use crate::simd::arch;

/// The most that a backend did.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Ceilings {
    /// Multiplications and additions, in 10⁹ operations a second.
    pub gflops: f64,
    /// Bytes read and written by a copy that no cache holds, in 10⁹ a second.
    pub gb_per_s: f64,
    /// Microseconds from one dispatch to the next that depends on it; of the CPU none.
    pub dispatch_us: Option<f64>,
}

impl Ceilings {
    /// Measures them, in about a second.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn measure(compute: &Compute) -> Result<Ceilings> {
        let mut program = Program::new();
        let x = program.matrix("x", ROWS, COLS);
        multiply_add(&mut program, kernel(compute), x, ROUNDS);
        let flops = (MULTIPLY_ADD.flops)(&program.steps()[0]) as f64;
        let gflops = flops / fastest(&mut *compute.load(&program)?, 1)? / 1e9;

        let mut program = Program::new();
        let (x, out) = (program.matrix("x", COPIED, 4096), program.matrix("out", COPIED, 4096));
        program.push(&STREAM, &[x, out], NoScalars);
        let bytes = program.steps()[0].bytes() as f64;
        let gb_per_s = bytes / fastest(&mut *compute.load(&program)?, 1)? / 1e9;

        let dispatch_us = match compute {
            Compute::Cpu(_) => None,
            Compute::Gpu(_) => {
                let mut program = Program::new();
                let (x, out) = (program.matrix("x", 1, 4), program.matrix("out", 1, 4));
                for _ in 0..DISPATCHES / 2 {
                    fill::copy(&mut program, x, out);
                    fill::copy(&mut program, out, x);
                }
                Some(fastest(&mut *compute.load(&program)?, program.len())? / f64::from(DISPATCHES) * 1e6)
            }
        };
        Ok(Ceilings { gflops, gb_per_s, dispatch_us })
    }

    /// The least seconds that so many operations and bytes take.
    #[must_use]
    pub fn seconds(&self, flops: u64, bytes: u64) -> f64 {
        (flops as f64 / self.gflops).max(bytes as f64 / self.gb_per_s) / 1e9
    }
}

/// 8 Mi elements, 256 rounds: 4.3·10⁹ operations.
const ROWS: u32 = 64;
const COLS: u32 = 1 << 17;
const ROUNDS: u32 = 256;
/// Rows of 16 KiB: two buffers of 128 MiB are beyond the caches.
const COPIED: u32 = 8192;
const DISPATCHES: u32 = 1000;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct NoScalars;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Rounds {
    rounds: u32,
    a: f32,
    b: f32,
}

/// The least seconds that a program's steps took, after a run that is not counted; several runs in a row where one is short.
fn fastest(backend: &mut dyn Backend, steps: usize) -> Result<f64> {
    let mut timed = |times: usize| -> Result<f64> {
        let start = Instant::now();
        (0..times).try_for_each(|_| backend.run(0..steps))?;
        backend.wait()?;
        Ok(start.elapsed().as_secs_f64() / times as f64)
    };
    // A GPU that was idle is slow at first, so that more than one run does not count.
    let begun = Instant::now();
    timed(1)?;
    while begun.elapsed().as_secs_f64() < 0.1 {
        timed(1)?;
    }
    let once = timed(1)?;
    let times = (0.03 / once).clamp(1.0, 1000.0) as usize;
    (0..5).try_fold(once, |best, _| Ok(timed(times)?.min(best)))
}

/// What is timed on a backend.
fn kernel(compute: &Compute) -> &'static Kernel {
    match compute {
        Compute::Cpu(_) => &ACCUMULATE,
        Compute::Gpu(_) => &MULTIPLY_ADD,
    }
}

/// Records one of the two kernels, `rounds` times, with a and b that keep x·a + b near 1.
fn multiply_add(program: &mut Program, kernel: &'static Kernel, x: Mat, rounds: u32) {
    assert!(x.cols().is_multiple_of(32), "chains of 8 vectors of four: {x:?}");
    program.push(kernel, &[x], Rounds { rounds, a: 0.75, b: 0.25 });
}

/// x ← x·a + b.
static MULTIPLY_ADD: Kernel = Kernel {
    name: "multiply_add",
    bindings: &[Binding::update("x")],
    scalars: &["rounds", "a", "b"],
    definition: |views, bytes| define(views, bytes, |x, a, b| x * a + b),
    bound: |_, _| unreachable!("it is not checked"),
    parts: whole,
    is_exact: |_| false,
    cpu: |views, bytes| define(views, bytes, |x, a, b| x * a + b),
    variants: &[Variant {
        name: "chains",
        shaders: &[Shader::new(
            &[include_str!("../../shaders/shared/window.wgsl"), include_str!("../../shaders/ceilings.wgsl")],
            "multiply_add",
            &[Binding::update("x")],
            &["rounds", "a", "b"],
        )],
        lower,
        ..Variant::PLAIN
    }],
    bytes: all_windows,
    working: little,
    runs_beside: |_| true,
    flops: |step| 2 * step.windows[0].len() as u64 * u64::from(step.scalars::<Rounds>().rounds),
    sample: |program, [rows, cols, rounds]| {
        let x = program.matrix("x", rows, cols.next_multiple_of(32));
        multiply_add(program, &MULTIPLY_ADD, x, rounds);
        vec![]
    },
};

/// x ← x + a·b, as the sums of a product are made. The CPU's, since ARM's instruction adds to what is in its place: x·a + b would take a
/// copy of b each time.
static ACCUMULATE: Kernel = Kernel {
    name: "accumulate",
    definition: |views, bytes| define(views, bytes, |x, a, b| x + a * b),
    cpu: run,
    variants: &[],
    ..MULTIPLY_ADD
};

/// [`fill::COPY`], on all threads.
static STREAM: Kernel = Kernel {
    name: "stream",
    cpu: |views, _| {
        let [x, out] = views else { unreachable!("two windows") };
        let len = out.data().len().div_ceil(rayon::current_num_threads());
        out.data_mut().par_chunks_mut(len).zip(x.data().par_chunks(len)).for_each(|(to, from)| to.copy_from_slice(from));
    },
    ..fill::COPY
};

fn define<T: Float>(views: &mut [View<T>], bytes: &[u8], next: impl Fn(T, T, T) -> T) {
    let [x] = views else { unreachable!("one window") };
    let Rounds { rounds, a, b } = scalars(bytes);
    let [a, b] = [a, b].map(|v| T::from(v).expect("a float"));
    for x in x.data_mut() {
        *x = (0..rounds).fold(*x, |x, _| next(x, a, b));
    }
}

/// On all threads, in as many chains of vectors as fit the registers: fused where the processor has that.
fn run(views: &mut [View<f32>], bytes: &[u8]) {
    let [x] = views else { unreachable!("one window") };
    let rounds = scalars(bytes);
    x.data_mut().par_chunks_mut(PART).for_each(|part| arch().dispatch(Chains { part, rounds }));
}

/// Numbers that a thread takes at a time: whole chains of 24 or 12 vectors of up to 16 numbers.
const PART: usize = 24 * 16 * 64;

struct Chains<'a> {
    part: &'a mut [f32],
    rounds: Rounds,
}

impl WithSimd for Chains<'_> {
    type Output = ();

    /// A processor starts two to four of these operations at a time, and each waits four times as long for the one before in its
    /// chain: that asks for 16 chains at most. All of them, a and b must have registers.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::REGISTER_COUNT >= 32 { chains::<S, 24>(simd, self) } else { chains::<S, 12>(simd, self) }
    }
}

#[inline(always)]
fn chains<S: Simd, const N: usize>(simd: S, Chains { part, rounds: Rounds { rounds, a, b } }: Chains) {
    let (a_vector, b_vector) = (simd.splat_f32s(a), simd.splat_f32s(b));
    let (vectors, rest) = S::as_mut_simd_f32s(part);
    let (groups, others) = vectors.as_chunks_mut::<N>();
    for group in groups {
        let mut v = *group;
        for _ in 0..rounds {
            for v in &mut v {
                *v = simd.mul_add_f32s(a_vector, b_vector, *v);
            }
        }
        *group = v;
    }
    others.iter_mut().for_each(|v| (0..rounds).for_each(|_| *v = simd.mul_add_f32s(a_vector, b_vector, *v)));
    rest.iter_mut().for_each(|v| (0..rounds).for_each(|_| *v = a.mul_add(b, *v)));
}

fn lower(step: &Step, _: &Cuts) -> Lowered {
    let x = step.windows[0];
    let iterations = step.scalars::<Rounds>().rounds;
    let grid = [x.cols.div_ceil(32 * 64), x.rows, 1];
    Lowered::once(vec![Piece { shader: 0, windows: vec![x], scalars: step.scalars.clone(), grid, iterations }])
}

#[cfg(test)]
mod tests {
    use pollster::block_on;

    use super::*;
    use crate::backend::{Adapter, Device};

    /// What is counted is also computed: on both backends the result of all rounds is there.
    #[test]
    fn the_operations_that_are_timed_are_done() {
        let device = block_on(Device::open(&block_on(Adapter::find(None)).expect("the tests need an adapter"))).unwrap();
        for compute in [Compute::Cpu(Some(2)), Compute::Gpu(device)] {
            let mut program = Program::new();
            let x = program.matrix("x", 3, 96);
            multiply_add(&mut program, kernel(&compute), x, 5);
            let mut backend = compute.load(&program).unwrap();
            let values: Vec<f32> = (0..288).map(|i| i as f32 / 7.0).collect();
            backend.write(x, &values).unwrap();
            backend.run(0..1).unwrap();
            for (got, x) in backend.read(x).unwrap().into_iter().zip(values) {
                let expected = match compute {
                    Compute::Cpu(_) => f64::from(x) + 5.0 * 0.75 * 0.25,
                    Compute::Gpu(_) => (0..5).fold(f64::from(x), |v, _| v * 0.75 + 0.25),
                };
                approx::assert_relative_eq!(f64::from(got), expected, max_relative = 1e-6);
            }
        }
    }

    #[test]
    fn the_roofline_is_the_slower_of_the_two() {
        let ceilings = Ceilings { gflops: 100.0, gb_per_s: 10.0, dispatch_us: None };
        approx::assert_relative_eq!(ceilings.seconds(1_000_000, 1_000), 1e-5, max_relative = 1e-12);
        approx::assert_relative_eq!(ceilings.seconds(1_000, 1_000_000), 1e-4, max_relative = 1e-12);
    }
}
