//! out = aᵀ.

use num_traits::Float;

use super::{Nothing, WINDOW, blocks, exactly, rows_that_fit};
use crate::program::{Binding, Class, Cuts, Kernel, Lowered, Mat, Piece, Program, Shader, Variant, View, whole};

const BINDINGS: &[Binding] = &[Binding::read("a"), Binding::write("out")];

pub(super) const SHADER: Shader =
    Shader { source: &[WINDOW, include_str!("../../shaders/transpose.wgsl")], entry: "main", bindings: BINDINGS, scalars: &[] };

/// out\[c, r\] = a\[r, c\]: a `[rows, cols]`, out `[cols, rows]`.
pub static TRANSPOSE: Kernel = Kernel {
    name: "transpose",
    bindings: BINDINGS,
    scalars: &[],
    definition: run,
    bound: exactly,
    parts: whole,
    is_exact: |_| true,
    cpu: run,
    variants: &[Variant {
        name: "blocks",
        class: Class::Any,
        shaders: &[SHADER],
        lower: |step, cuts| Lowered::once(pieces(step.windows[0], step.windows[1], 0, cuts)),
    }],
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
    program.push(&TRANSPOSE, &[a, out], Nothing);
}

fn run<T: Float>(views: &mut [View<T>], _: &[u8]) {
    let [a, out] = views else { unreachable!("two windows") };
    // In blocks, so that neither side is read or written a cache line for each element.
    for first in (0..a.rows).step_by(16) {
        for c in 0..a.cols {
            for r in first..(first + 16).min(a.rows) {
                out.set(c, r, a.at(r, c));
            }
        }
    }
}

/// The dispatches of a transposition by a variant's shader number `shader`.
pub(super) fn pieces(a: Mat, out: Mat, shader: usize, cuts: &Cuts) -> Vec<Piece> {
    const TILE: u32 = 32;
    let most = u64::from(cuts.workgroups) * u64::from(TILE);
    let rows = blocks(a.rows, rows_that_fit(&a, cuts, 4).min(most));
    let cols = blocks(a.cols, rows_that_fit(&out, cuts, 4).min(most));
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
