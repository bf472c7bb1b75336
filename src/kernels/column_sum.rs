//! Sums of columns: the gradient of a bias, and the loss of a window from those of its outputs.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::gemm::Epilogue;
use super::{WINDOW, blocks, bytes};
use crate::program::{
    Along, Binding, Cuts, Kernel, Lowered, Mat, Piece, Program, Shader, Step, Variant, View, all_windows, little, scalars, whole,
};
use crate::rounding::Terms;
use crate::simd::arch;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Accumulate {
    accumulate: u32,
}

const BINDINGS: &[Binding] = &[Binding::read("x"), Binding::update("out")];
const SCALARS: &[&str] = &["accumulate"];
const SHADER: Shader = Shader {
    source: &[WINDOW, include_str!("../../shaders/column_sum.wgsl")],
    entry: "main",
    bindings: BINDINGS,
    scalars: SCALARS,
};

/// out\[c\] = Σᵣ x\[r, c\], or that and out: x `[rows, cols]`, out `[1, cols]`.
pub static COLUMN_SUM: Kernel = Kernel {
    name: "column_sum",
    bindings: BINDINGS,
    scalars: SCALARS,
    definition: define,
    bound,
    parts: whole,
    is_exact: |_| true,
    cpu: run,
    variants: &[Variant { name: "columns", shaders: &[SHADER], lower, ..Variant::PLAIN }],
    bytes: all_windows,
    working: little,
    flops: |step| step.windows[0].len() as u64,
    sample: |program, [m, n, k]| {
        let (x, out) = (program.matrix("x", m, n), program.matrix("out", 1, n));
        column_sum(program, x, out, if k.is_multiple_of(2) { Epilogue::Add } else { Epilogue::Store });
        vec![]
    },
};

/// Records out = the sum of x's rows, or out + that.
///
/// # Panics
/// When the shapes do not fit.
pub fn column_sum(program: &mut Program, x: Mat, out: Mat, epilogue: Epilogue) {
    assert!(out.rows == 1 && x.cols == out.cols, "column sum: x {x:?}, out {out:?}");
    program.push(&COLUMN_SUM, &[x, out], Accumulate { accumulate: u32::from(epilogue == Epilogue::Add) });
}

fn define(views: &mut [View<f64>], bytes: &[u8]) {
    let [x, out] = views else { unreachable!("two windows") };
    let add = scalars::<Accumulate>(bytes).accumulate != 0;
    for c in 0..x.cols {
        let base = if add { out.at(0, c) } else { 0.0 };
        out.set(0, c, (0..x.rows).fold(base, |sum, r| sum + x.at(r, c)));
    }
}

fn bound(views: &mut [View<f64>], bytes: &[u8]) {
    let [x, out] = views else { unreachable!("two windows") };
    let add = scalars::<Accumulate>(bytes).accumulate != 0;
    for c in 0..x.cols {
        let mut terms = Terms::default();
        (0..x.rows).for_each(|r| terms.number(x.at(r, c)));
        if add {
            terms.number(out.at(0, c));
        }
        out.set(0, c, terms.of_numbers());
    }
}

/// Rows summed in blocks of about √rows, and the sums of the blocks, so that rounding errors stay small.
fn run(views: &mut [View<f32>], bytes: &[u8]) {
    let [x, out] = views else { unreachable!("two windows") };
    let accumulates = scalars::<Accumulate>(bytes).accumulate != 0;
    let arch = arch();
    let add = |sums: &mut [f32], values: &[f32]| arch.dispatch(|| sums.iter_mut().zip(values).for_each(|(sum, v)| *sum += v));
    // Columns that a thread takes: all of what is small.
    let share = if x.rows * x.cols < 1 << 16 { x.cols } else { 64 };
    out.row_mut(0).par_chunks_mut(share).enumerate().for_each(|(i, out)| {
        let cols = i * share..i * share + out.len();
        let mut block = vec![0.0; out.len()];
        if !accumulates {
            out.fill(0.0);
        }
        for rows in blocks(x.rows as u32, block_size(x.rows as u32)) {
            block.fill(0.0);
            rows.for_each(|r| add(&mut block, &x.row(r as usize)[cols.clone()]));
            add(out, &block);
        }
    });
}

fn block_size(rows: u32) -> u64 {
    u64::from(rows).isqrt().max(64)
}

/// Rows of threads in a workgroup.
const THREADS: u32 = 32;

/// Cut by rows that fit, adding.
fn lower(step: &Step, cuts: &Cuts) -> Lowered {
    let (x, out) = (step.windows[0], step.windows[1]);
    let most = u64::from(cuts.iterations / 2 * THREADS);
    let accumulate = step.scalars::<Accumulate>().accumulate;
    let pieces = cuts.runs(x.rows, &[Along::Rows(x)], [1, 1], most).flat_map(|r| {
        let x = x.slice_rows(r.clone());
        blocks(x.cols, u64::from(cuts.workgroups) * 32).map(move |c| Piece {
            shader: 0,
            windows: vec![x.slice_cols(c.clone()), out.slice_cols(c.clone())],
            scalars: bytes(&Accumulate { accumulate: u32::from(r.start > 0) | accumulate }),
            grid: [(c.end - c.start).div_ceil(32), 1, 1],
            iterations: (r.end - r.start).div_ceil(THREADS) + THREADS,
        })
    });
    Lowered::once(pieces.collect())
}
