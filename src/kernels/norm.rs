//! The norm of a gradient arena, right from 1e-30 to 1e30, with the position of the first value that is not finite.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use num_traits::Float;
use rayon::prelude::*;

use super::{NoScalars, THREADS, UNROLLED, WINDOW, WORKGROUPS, bytes, in_lanes};
use crate::program::{
    Along, Binding, Buf, Class, Cuts, Kernel, Lowered, Mat, Piece, Program, ROW_ALIGNMENT, Shader, Step, Variant, View,
    all_windows, little, whole,
};
use crate::rounding::{DIVISION, SQUARE_ROOT, TINY, U, roundings};
use crate::simd::arch;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct First {
    first: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Run {
    run: u32,
    last: u32,
}

const BINDINGS: &[Binding] = &[Binding::read("x"), Binding::write("out")];

const fn tree(entry: &'static str) -> Shader {
    Shader::new(&[WINDOW, include_str!("../../shaders/norm_tree.wgsl")], entry, BINDINGS, &["first"])
}

/// out = (‖x‖, high, low, 0): x `[1, n]`, out `[1, 4]`. The first value that is not finite is number high·4096 + low, and
/// high is −1 where all are.
pub static NORM: Kernel = Kernel {
    name: "norm",
    bindings: BINDINGS,
    scalars: &[],
    definition: define,
    bound,
    parts: whole,
    is_exact: |_| false,
    cpu: run,
    variants: &[
        Variant { name: "tree", class: Class::Gpu, shaders: &[tree("main"), tree("total")], lower: lower_tree, ..Variant::PLAIN },
        Variant {
            name: "software",
            class: Class::Software,
            shaders: &[
                Shader::new(&[WINDOW, include_str!("../../shaders/norm_software.wgsl")], "main", BINDINGS, &["first"]),
                Shader::new(
                    &[WINDOW, include_str!("../../shaders/norm_software_total.wgsl")],
                    "main",
                    BINDINGS,
                    &["run", "last"],
                ),
            ],
            lower: lower_software,
            ..Variant::PLAIN
        },
    ],
    bytes: all_windows,
    working: little,
    runs_beside: |_| true,
    flops: |step| 4 * step.windows[0].len() as u64,
    sample: |program, [m, n, k]| {
        // In the longest an invocation reads more than once, and there are more partial results than invocations of a workgroup.
        let more = if m > 65_535 { 8 } else { 1 };
        let (x, out) = (program.matrix("x", 1, more * m * n * k), program.matrix("out", 1, 4));
        norm(program, x, out);
        vec![]
    },
};

/// Records out = the norm of x.
///
/// # Panics
/// When the shapes do not fit.
pub fn norm(program: &mut Program, x: Mat, out: Mat) {
    assert!((x.rows, out.rows, out.cols) == (1, 1, 4), "norm: x {x:?}, out {out:?}");
    program.push(&NORM, &[x, out], NoScalars);
}

/// (norm, high, low, 0) from the largest value, the scaled sum of squares and the first bad position.
fn result<T: Float>(largest: T, sum: T, bad: Option<usize>, out: &mut View<T>) {
    let number = |v: usize| T::from(v).expect("a float");
    out.row_mut(0).copy_from_slice(&match bad {
        Some(at) => [T::nan(), number(at / 4096), number(at % 4096), T::zero()],
        None => [largest * sum.sqrt(), -T::one(), T::zero(), T::zero()],
    });
}

fn define<T: Float>(views: &mut [View<T>], _: &[u8]) {
    let [x, out] = views else { unreachable!("two windows") };
    let largest = x.row(0).iter().fold(T::zero(), |m, x| if x.abs() > m { x.abs() } else { m });
    let scale = if largest > T::zero() { largest } else { T::one() };
    let sum = x.row(0).iter().fold(T::zero(), |sum, &x| sum + (x / scale) * (x / scale));
    result(largest, sum, x.row(0).iter().position(|x| !x.is_finite()), out);
}

/// m·√Σ(x/m)², as the CPU and `software` have it: n squares of quotients; a quotient twice and two products where a partial result meets
/// a larger maximum, of which there are as many levels as runs of 1,024 (a run's first has none); half of all that by the root; the
/// root's own and a product. `tree` rounds less: n squares, as many sums less one, and two sums of the three kinds; its scaling is by
/// powers of two.
fn bound(views: &mut [View<f64>], _: &[u8]) {
    let [x, out] = views else { unreachable!("two windows") };
    let norm = x.row(0).iter().map(|x| x * x).sum::<f64>().sqrt();
    let levels = (x.cols as f64).log(1024.0).floor().max(1.0);
    let sum = roundings(x.cols - 1) + (2.0 * DIVISION + U) + levels * (2.0 * DIVISION + 2.0 * U);
    // A quotient below the normal numbers may count as zero, and so may all of x.
    let lost = (x.cols as f64).sqrt() * TINY;
    out.row_mut(0).copy_from_slice(&[norm * (sum / 2.0 + SQUARE_ROOT + U) + lost, 0.0, 0.0, 0.0]);
}

/// In blocks of a fixed size, for the same bits on any number of threads.
fn run(views: &mut [View<f32>], _: &[u8]) {
    let [x, out] = views else { unreachable!("two windows") };
    const BLOCK: usize = 1 << 14;
    let arch = arch();
    let blocks = || x.row(0).par_chunks(BLOCK);
    // NaN compares false with everything and would be lost here: `bad` tells of it.
    let largest = |block: &[f32]| arch.dispatch(|| in_lanes(block, 0.0, f32::abs, |m, x| if x > m { x } else { m }));
    let largest = blocks().map(largest).collect::<Vec<f32>>().into_iter().fold(0.0, f32::max);
    let scale = if largest > 0.0 { largest } else { 1.0 };
    let squares = |block: &[f32]| arch.dispatch(|| in_lanes(block, 0.0, |x| (x / scale) * (x / scale), |sum, x| sum + x));
    let sums: Vec<f32> = blocks().map(squares).collect();
    let sum = sums.iter().map(|&sum| f64::from(sum)).sum::<f64>() as f32;
    let bad = || x.row(0).iter().position(|x| !x.is_finite());
    // Anything that is not finite makes the sum so: infinity over itself is NaN.
    result(largest, sum, if sum.is_finite() { None } else { bad() }, out);
}

/// The numbers of a partial result of the tree.
const PARTIAL: u32 = 8;

/// A partial result for each workgroup, whatever number of dispatches they take, and all of them added up.
fn lower_tree(step: &Step, cuts: &Cuts) -> Lowered {
    let (x, out) = (step.windows[0], step.windows[1]);
    // The vectors of a workgroup, by the shape alone.
    let share = x.cols.div_ceil(4).div_ceil(WORKGROUPS).max(THREADS * UNROLLED);
    let runs = cuts.runs(x.cols, &[Along::Cols(x)], [4, 4], u64::from(cuts.workgroups) * u64::from(4 * share));
    let parts = |run: &Range<u32>| (run.end - run.start).div_ceil(4 * share);
    let partials = Mat {
        buf: Buf::SCRATCH[0],
        offset: 0,
        rows: runs.clone().map(|run| parts(&run)).sum(),
        cols: PARTIAL,
        stride: PARTIAL,
        ..out
    };
    let mut first = 0;
    let mut pieces: Vec<Piece> = runs
        .map(|run| {
            let rows = first..first + parts(&run);
            first = rows.end;
            Piece {
                shader: 0,
                grid: [rows.end - rows.start, 1, 1],
                windows: vec![x.slice_cols(run.clone()), partials.slice_rows(rows)],
                scalars: bytes(&First { first: run.start }),
                iterations: share.div_ceil(THREADS * UNROLLED) + 32,
            }
        })
        .collect();
    pieces.push(Piece {
        shader: 1,
        windows: vec![partials, out],
        scalars: bytes(&First { first: 0 }),
        grid: [1, 1, 1],
        iterations: partials.rows.div_ceil(THREADS) + 32,
    });
    Lowered::once(pieces)
}

/// Partial results of 1,024 values each, then of runs of 1,024 of those until there is one.
fn lower_software(step: &Step, cuts: &Cuts) -> Lowered {
    const RUN: u32 = 1024;
    let (x, out) = (step.windows[0], step.windows[1]);
    let blocks = cuts.runs(x.cols, &[Along::Cols(x)], [u64::from(RUN), 4], u64::from(cuts.workgroups) * 64 * u64::from(RUN));
    let partials = |buf: Buf, rows: u32| Mat { buf, offset: 0, rows, cols: 4, stride: ROW_ALIGNMENT, ..out };
    let mut pieces = Vec::new();
    let mut level = partials(Buf::SCRATCH[0], blocks.clone().map(|block| (block.end - block.start).div_ceil(RUN)).sum());
    let mut first = 0;
    for block in blocks {
        let rows = (block.end - block.start).div_ceil(RUN);
        pieces.push(Piece {
            shader: 0,
            windows: vec![x.slice_cols(block.clone()), level.slice_rows(first..first + rows)],
            scalars: bytes(&First { first: block.start }),
            grid: [rows.div_ceil(64), 1, 1],
            iterations: RUN / 2,
        });
        first += rows;
    }
    // Levels go back and forth between two scratch buffers: none is both read and written in a dispatch.
    loop {
        let rows = level.rows.div_ceil(RUN);
        let to = usize::from(level.buf == Buf::SCRATCH[0]);
        let next = if rows == 1 { out } else { partials(Buf::SCRATCH[to], rows) };
        pieces.push(Piece {
            shader: 1,
            windows: vec![level, next],
            scalars: bytes(&Run { run: RUN, last: u32::from(rows == 1) }),
            grid: [rows.div_ceil(64), 1, 1],
            iterations: 2 * level.rows.min(RUN),
        });
        if rows == 1 {
            return Lowered::once(pieces);
        }
        level = next;
    }
}
