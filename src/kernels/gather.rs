//! Rows picked by an index, of which some are none: what turns a sequence around within its length.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::{NoScalars, WINDOW, bytes, exactly};
use crate::program::{
    Along, Binding, Content, Cuts, Kernel, Lowered, Mat, Piece, Program, Shader, Step, Variant, View, all_windows, little, whole,
};

/// The index that is no row: zeros.
pub const NO_ROW: u32 = u32::MAX;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct First {
    first: u32,
}

const BINDINGS: &[Binding] = &[Binding::indices("rows"), Binding::read("x"), Binding::write("out")];

/// out\[r, :\] = x\[rows\[r\], :\], or zero where rows\[r\] is [`NO_ROW`]: rows `[1, n]`, x `[m, cols]`, out `[n, cols]`.
pub static GATHER: Kernel = Kernel {
    name: "gather",
    bindings: BINDINGS,
    scalars: &[],
    definition: run,
    bound: exactly,
    parts: whole,
    is_exact: |_| true,
    cpu: run_fast,
    variants: &[Variant {
        name: "rows",
        shaders: &[Shader::new(&[WINDOW, include_str!("../../shaders/gather.wgsl")], "main", BINDINGS, &["first"])],
        lower,
        ..Variant::PLAIN
    }],
    bytes: all_windows,
    working: little,
    runs_beside: |_| true,
    flops: |_| 0,
    sample: |program, [m, n, k]| {
        let (rows, x, out) = (program.indices("rows", 1, m), program.matrix("x", k, n), program.matrix("out", m, n));
        gather(program, rows, x, out);
        // Each fifth is none; of the others some come several times, and in no order.
        let index = |r: u32| if r % 5 == 2 { NO_ROW } else { r.wrapping_mul(r).wrapping_mul(7) / 3 % k };
        vec![(rows, Content::Indices((0..m).map(index).collect()))]
    },
};

/// Records out = the rows of x.
///
/// # Panics
/// When the shapes do not fit.
pub fn gather(program: &mut Program, rows: Mat, x: Mat, out: Mat) {
    assert!((rows.rows, rows.cols) == (1, out.rows) && x.cols == out.cols, "gather: rows {rows:?}, x {x:?}, out {out:?}");
    program.push(&GATHER, &[rows, x, out], NoScalars);
}

fn run(views: &mut [View<f64>], _: &[u8]) {
    let [rows, x, out] = views else { unreachable!("three windows") };
    for r in 0..out.rows {
        for c in 0..out.cols {
            let value = if rows.index(r) == NO_ROW as usize { 0.0 } else { x.at(rows.index(r), c) };
            out.set(r, c, value);
        }
    }
}

fn run_fast(views: &mut [View<f32>], _: &[u8]) {
    let [rows, x, out] = views else { unreachable!("three windows") };
    let (stride, cols) = (out.stride, out.cols);
    // Rows that a thread takes: enough that it is worth its while.
    let share = (1usize << 14).div_ceil(stride);
    out.data_mut().par_chunks_mut(share * stride).enumerate().for_each(|(i, part)| {
        for (r, out) in (i * share..).zip(part.chunks_mut(stride)) {
            match rows.index(r) {
                row if row == NO_ROW as usize => out[..cols].fill(0.0),
                row => out[..cols].copy_from_slice(x.row(row)),
            }
        }
    });
}

fn lower(step: &Step, cuts: &Cuts) -> Lowered {
    let [rows, x, out] = step.windows[..] else { unreachable!("three windows") };
    let runs = cuts.runs(out.rows, &[Along::Rows(out), Along::Cols(rows)], [4, 1], u64::from(cuts.workgroups) * 8);
    let parts = cuts.runs(x.rows, &[Along::Rows(x)], [1, 1], u64::MAX);
    let pieces = runs.flat_map(|r| parts.clone().map(move |p| (r.clone(), p)));
    Lowered::once(
        pieces
            .map(|(r, p)| Piece {
                shader: 0,
                windows: vec![rows.slice_cols(r.clone()), x.slice_rows(p.clone()), out.slice_rows(r.clone())],
                scalars: bytes(&First { first: p.start }),
                grid: [out.cols.div_ceil(32), (r.end - r.start).div_ceil(8), 1],
                iterations: 1,
            })
            .collect(),
    )
}
