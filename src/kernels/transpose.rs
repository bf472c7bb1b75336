//! out = aᵀ.

use rayon::prelude::*;

use super::gemm::transpose_into;
use super::{NoScalars, WINDOW, exactly};
use crate::program::{
    Along, Binding, Cuts, Kernel, Lowered, Mat, Piece, Program, Shader, Variant, View, all_windows, little, whole,
};

const BINDINGS: &[Binding] = &[Binding::read("a"), Binding::write("out")];

pub(super) const SHADER: Shader =
    Shader::new(&[WINDOW, include_str!("../../shaders/transpose.wgsl")], "main", BINDINGS, &[]).in_bounds();

/// out\[c, r\] = a\[r, c\]: a `[rows, cols]`, out `[cols, rows]`.
pub static TRANSPOSE: Kernel = Kernel {
    name: "transpose",
    bindings: BINDINGS,
    scalars: &[],
    definition: run,
    bound: exactly,
    parts: whole,
    is_exact: |_| true,
    cpu: run_fast,
    variants: &[Variant {
        name: "blocks",
        shaders: &[SHADER],
        lower: |step, cuts| Lowered::once(pieces(step.windows[0], step.windows[1], 0, cuts)),
        ..Variant::PLAIN
    }],
    bytes: all_windows,
    working: little,
    runs_beside: |_| true,
    flops: |_| 0,
    sample: |program, [m, n, _]| {
        let (a, out) = (program.matrix("a", m, n), program.matrix("out", n, m));
        transpose(program, a, out);
        vec![]
    },
};

/// Records out = aᵀ.
///
/// # Panics
/// When the shapes do not fit.
pub fn transpose(program: &mut Program, a: Mat, out: Mat) {
    assert!(a.rows == out.cols && a.cols == out.rows, "transpose: a {a:?}, out {out:?}");
    program.push(&TRANSPOSE, &[a, out], NoScalars);
}

fn run(views: &mut [View<f64>], _: &[u8]) {
    let [a, out] = views else { unreachable!("two windows") };
    for r in 0..a.rows {
        for c in 0..a.cols {
            out.set(c, r, a.at(r, c));
        }
    }
}

fn run_fast(views: &mut [View<f32>], _: &[u8]) {
    let [a, out] = views else { unreachable!("two windows") };
    let (stride, rows, cols) = (out.stride, out.cols, out.rows);
    // Columns that a thread takes: enough that those of a row are several cache lines.
    let share = if rows * cols < 1 << 14 { cols } else { 64 };
    out.data_mut().par_chunks_mut(share * stride).enumerate().for_each(|(i, part)| {
        let cols = i * share..(i * share + share).min(cols);
        transpose_into(part, stride, rows, cols.len(), |r| &a.row(r)[cols.clone()]);
    });
}

/// The dispatches of a transposition by a variant's shader number `shader`.
pub(super) fn pieces(a: Mat, out: Mat, shader: usize, cuts: &Cuts) -> Vec<Piece> {
    const TILE: u32 = 32;
    let most = u64::from(cuts.workgroups) * u64::from(TILE);
    let rows = cuts.runs(a.rows, &[Along::Rows(a)], [4, 4], most);
    let cols = cuts.runs(a.cols, &[Along::Rows(out)], [4, 4], most);
    rows.flat_map(|r| cols.clone().map(move |c| (r.clone(), c)))
        .map(|(r, c)| Piece {
            shader,
            windows: vec![a.slice_rows(r.clone()).slice_cols(c.clone()), out.slice_rows(c.clone()).slice_cols(r.clone())],
            scalars: vec![],
            grid: [(c.end - c.start).div_ceil(TILE), (r.end - r.start).div_ceil(TILE), 1],
            iterations: 8,
        })
        .collect()
}
