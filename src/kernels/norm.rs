//! The norm of a gradient arena, right from 1e-30 to 1e30, with the position of the first value that is not finite; and
//! clipping to a norm.

use bytemuck::{Pod, Zeroable};
use num_traits::Float;
use rayon::prelude::*;

use super::in_lanes;
use super::{Nothing, WINDOW, bytes};
use crate::program::{
    Along, Binding, Buf, Content, Cuts, Kernel, Lowered, Mat, Piece, Program, ROW_ALIGNMENT, Shader, Step, Variant, View,
    all_windows, little, scalars, whole,
};
use crate::rounding::{DIVISION, SQUARE_ROOT, TINY, U, flushed, roundings};
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

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Limit {
    limit: f32,
}

const NORM_BINDINGS: &[Binding] = &[Binding::read("x"), Binding::write("out")];
const CLIP_BINDINGS: &[Binding] = &[Binding::update("x"), Binding::read("norm")];

/// out = (‖x‖, high, low, 0): x `[1, n]`, out `[1, 4]`. The first value that is not finite is number high·4096 + low, and
/// high is −1 where all are.
pub static NORM: Kernel = Kernel {
    name: "norm",
    bindings: NORM_BINDINGS,
    scalars: &[],
    definition: define_norm,
    bound: bound_norm,
    parts: whole,
    is_exact: |_| false,
    cpu: run_norm,
    variants: &[Variant {
        name: "partials",
        shaders: &[
            Shader {
                source: &[WINDOW, include_str!("../../shaders/norm.wgsl")],
                entry: "main",
                bindings: NORM_BINDINGS,
                scalars: &["first"],
            },
            Shader {
                source: &[WINDOW, include_str!("../../shaders/norm_total.wgsl")],
                entry: "main",
                bindings: NORM_BINDINGS,
                scalars: &["run", "last"],
            },
        ],
        lower: lower_norm,
        ..Variant::PLAIN
    }],
    bytes: all_windows,
    working: little,
    flops: |step| 4 * step.windows[0].len() as u64,
    sample: |program, [m, n, k]| {
        let (x, out) = (program.matrix("x", 1, m * n * k), program.matrix("out", 1, 4));
        norm(program, x, out);
        vec![]
    },
};

/// x ← x·min(1, limit / (norm + 1e-6)), as PyTorch's `clip_grad_norm_`: x `[1, n]`, norm `[1, 4]` from [`NORM`]. With a norm of NaN
/// x stays as it is: nothing is updated from it, and its padding must not become NaN.
pub static CLIP: Kernel = Kernel {
    name: "clip",
    bindings: CLIP_BINDINGS,
    scalars: &["limit"],
    definition: run_clip,
    bound: bound_clip,
    parts: whole,
    is_exact: |_| false,
    cpu: run_clip,
    variants: &[Variant {
        name: "vectors",
        shaders: &[Shader {
            source: &[WINDOW, include_str!("../../shaders/clip.wgsl")],
            entry: "main",
            bindings: CLIP_BINDINGS,
            scalars: &["limit"],
        }],
        lower: |step, cuts| over_values(&step.windows, &step.scalars, cuts),
        ..Variant::PLAIN
    }],
    bytes: all_windows,
    working: little,
    flops: |step| step.windows[0].len() as u64,
    sample: |program, [m, n, k]| {
        let (x, norm) = (program.matrix("x", 1, m * n), program.matrix("norm", 1, 4));
        // The second is so small that the 1e-6 beside a small norm counts.
        clip(program, x, norm, if k.is_multiple_of(2) { 0.25 } else { 1e-13 });
        vec![(norm, Content::NotNegative)]
    },
};

/// Records out = the norm of x.
///
/// # Panics
/// When the shapes do not fit.
pub fn norm(program: &mut Program, x: Mat, out: Mat) {
    assert!((x.rows, out.rows, out.cols) == (1, 1, 4), "norm: x {x:?}, out {out:?}");
    program.push(&NORM, &[x, out], Nothing);
}

/// Records the clipping of x to a norm of `limit`.
///
/// # Panics
/// When the shapes do not fit.
pub fn clip(program: &mut Program, x: Mat, norm: Mat, limit: f32) {
    assert!((x.rows, norm.rows, norm.cols) == (1, 1, 4), "clip: x {x:?}, norm {norm:?}");
    program.push(&CLIP, &[x, norm], Limit { limit });
}

/// (norm, high, low, 0) from the largest value, the scaled sum of squares and the first bad position.
fn result<T: Float>(largest: T, sum: T, bad: Option<usize>, out: &mut View<T>) {
    let number = |v: usize| T::from(v).expect("a float");
    out.row_mut(0).copy_from_slice(&match bad {
        Some(at) => [T::nan(), number(at / 4096), number(at % 4096), T::zero()],
        None => [largest * sum.sqrt(), -T::one(), T::zero(), T::zero()],
    });
}

fn define_norm<T: Float>(views: &mut [View<T>], _: &[u8]) {
    let [x, out] = views else { unreachable!("two windows") };
    let largest = x.row(0).iter().fold(T::zero(), |m, x| if x.abs() > m { x.abs() } else { m });
    let scale = if largest > T::zero() { largest } else { T::one() };
    let sum = x.row(0).iter().fold(T::zero(), |sum, &x| sum + (x / scale) * (x / scale));
    result(largest, sum, x.row(0).iter().position(|x| !x.is_finite()), out);
}

/// m·√Σ(x/m)²: n squares of quotients; a quotient twice and two products where a partial result meets a larger maximum, of
/// which there are as many levels as runs of 1,024 (a run's first has none); half of all that by the root; the root's own and a product.
fn bound_norm(views: &mut [View<f64>], _: &[u8]) {
    let [x, out] = views else { unreachable!("two windows") };
    let norm = x.row(0).iter().map(|x| x * x).sum::<f64>().sqrt();
    let levels = (x.cols as f64).log(1024.0).floor().max(1.0);
    let sum = roundings(x.cols - 1) + (2.0 * DIVISION + U) + levels * (2.0 * DIVISION + 2.0 * U);
    // A quotient below the normal numbers may count as zero, and so may all of x.
    let lost = (x.cols as f64).sqrt() * TINY;
    out.row_mut(0).copy_from_slice(&[norm * (sum / 2.0 + SQUARE_ROOT + U) + lost, 0.0, 0.0, 0.0]);
}

/// In blocks of a fixed size, for the same bits on any number of threads.
fn run_norm(views: &mut [View<f32>], _: &[u8]) {
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

fn run_clip<T: Float>(views: &mut [View<T>], bytes: &[u8]) {
    let [x, norm] = views else { unreachable!("two windows") };
    let number = |v: f64| T::from(v).expect("a float");
    let scale = number(f64::from(scalars::<Limit>(bytes).limit)) / (norm.at(0, 0) + number(1e-6));
    if scale < T::one() {
        x.row_mut(0).iter_mut().for_each(|x| *x = *x * scale);
    }
}

/// A sum, a quotient, a product and the f32 constant 1e-6; exact where nothing is clipped.
fn bound_clip(views: &mut [View<f64>], bytes: &[u8]) {
    let [x, norm] = views else { unreachable!("two windows") };
    let scale = f64::from(scalars::<Limit>(bytes).limit) / (norm.at(0, 0) + 1e-6);
    let off = DIVISION + 3.0 * U;
    for x in x.row_mut(0) {
        *x = match scale <= 1.0 + off {
            true => off * (*x * scale).abs() + flushed(*x) * scale + x.abs() * flushed(scale) + TINY,
            false => flushed(*x),
        };
    }
}

/// Partial results of 1,024 values each, then of runs of 1,024 of those until there is one.
fn lower_norm(step: &Step, cuts: &Cuts) -> Lowered {
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

/// A dispatch for each block of values that fits, the same of every window as wide as the first; the others whole.
/// An invocation has 4 values.
pub(super) fn over_values(windows: &[Mat], scalars: &[u8], cuts: &Cuts) -> Lowered {
    let along: Vec<Along> = windows.iter().filter(|w| w.cols == windows[0].cols).copied().map(Along::Cols).collect();
    let piece = |c: std::ops::Range<u32>| Piece {
        shader: 0,
        windows: windows.iter().map(|w| if w.cols == windows[0].cols { w.slice_cols(c.clone()) } else { *w }).collect(),
        scalars: scalars.to_vec(),
        grid: [(c.end - c.start).div_ceil(256), 1, 1],
        iterations: 1,
    };
    Lowered::once(cuts.runs(windows[0].cols, &along, [4, 4], u64::from(cuts.workgroups) * 256).map(piece).collect())
}
