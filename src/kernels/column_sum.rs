//! Sums of columns: the gradient of a bias, and the loss of a window from those of its outputs.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::{Nothing, WINDOW, blocks, bytes, rows_that_fit};
use crate::program::{Binding, Cuts, Kernel, Lowered, Mat, Piece, Program, Shader, Step, Variant, View, whole};
use crate::rounding::Terms;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct PieceScalars {
    accumulate: u32,
}

const BINDINGS: &[Binding] = &[Binding::read("x"), Binding::write("out")];
const SHADER: Shader = Shader {
    source: &[WINDOW, include_str!("../../shaders/column_sum.wgsl")],
    entry: "main",
    bindings: &[Binding::read("x"), Binding::update("out")],
    scalars: &["accumulate"],
};

/// out\[c\] = Σᵣ x\[r, c\]: x `[rows, cols]`, out `[1, cols]`, overwritten.
pub static COLUMN_SUM: Kernel = Kernel {
    name: "column_sum",
    bindings: BINDINGS,
    scalars: &[],
    definition: define,
    bound,
    parts: whole,
    is_exact: |_| true,
    cpu: run,
    variants: &[Variant { name: "columns", shaders: &[SHADER], lower, ..Variant::PLAIN }],
    flops: |step| step.windows[0].len() as u64,
    sample: |program, [m, n, _]| {
        let (x, out) = (program.matrix("x", m, n), program.matrix("out", 1, n));
        column_sum(program, x, out);
        vec![]
    },
};

/// Records out = the sum of x's rows.
///
/// # Panics
/// When the shapes do not fit.
pub fn column_sum(program: &mut Program, x: Mat, out: Mat) {
    assert!(out.rows == 1 && x.cols == out.cols, "column sum: x {x:?}, out {out:?}");
    program.push(&COLUMN_SUM, &[x, out], Nothing);
}

fn define(views: &mut [View<f64>], _: &[u8]) {
    let [x, out] = views else { unreachable!("two windows") };
    for c in 0..x.cols {
        out.set(0, c, (0..x.rows).fold(0.0, |sum, r| sum + x.at(r, c)));
    }
}

fn bound(views: &mut [View<f64>], _: &[u8]) {
    let [x, out] = views else { unreachable!("two windows") };
    for c in 0..x.cols {
        let mut terms = Terms::default();
        (0..x.rows).for_each(|r| terms.number(x.at(r, c)));
        out.set(0, c, terms.of_numbers());
    }
}

/// Rows summed in blocks of about √rows, and the sums of the blocks, so that rounding errors stay small.
fn run(views: &mut [View<f32>], _: &[u8]) {
    let [x, out] = views else { unreachable!("two windows") };
    let arch = pulp::Arch::new();
    let add = |sums: &mut [f32], values: &[f32]| arch.dispatch(|| sums.iter_mut().zip(values).for_each(|(sum, v)| *sum += v));
    // Columns that a thread takes: all of what is small.
    let share = if x.rows * x.cols < 1 << 16 { x.cols } else { 64 };
    out.row_mut(0).par_chunks_mut(share).enumerate().for_each(|(i, out)| {
        let cols = i * share..i * share + out.len();
        let mut block = vec![0.0; out.len()];
        out.fill(0.0);
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
    let rows = rows_that_fit(&x, cuts, 1).min(u64::from(cuts.iterations / 2 * THREADS));
    let pieces = blocks(x.rows, rows).flat_map(|r| {
        let x = x.slice_rows(r.clone());
        blocks(x.cols, u64::from(cuts.workgroups) * 32).map(move |c| Piece {
            shader: 0,
            windows: vec![x.slice_cols(c.clone()), out.slice_cols(c.clone())],
            scalars: bytes(&PieceScalars { accumulate: u32::from(r.start > 0) }),
            grid: [(c.end - c.start).div_ceil(32), 1, 1],
            iterations: (r.end - r.start).div_ceil(THREADS) + THREADS,
        })
    });
    Lowered::once(pieces.collect())
}
