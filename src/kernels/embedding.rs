//! The product with one-hot inputs, as a lookup of rows and an ordered sum: the token path of the first layer.
//! Its `U` is kept transposed, `[I, H]`, so that a token's column of `U` is a row.

use bytemuck::{Pod, Zeroable};
use num_traits::Float;
use rayon::prelude::*;

use super::gemm::Epilogue;
use super::{NoScalars, WINDOW, bytes};
use crate::program::{
    Along, Binding, Content, Cuts, Kernel, Lowered, Mat, Piece, Program, Shader, Step, Variant, View, all_windows, little,
    scalars, whole,
};
use crate::rounding::Terms;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct LookupPiece {
    first: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct GradientPiece {
    first_row: u32,
    first_token: u32,
    accumulate: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Accumulate {
    accumulate: u32,
}

const LOOKUP_BINDINGS: &[Binding] =
    &[Binding::indices("tokens"), Binding::read("table"), Binding::read("bias"), Binding::write("out")];

/// out\[r, :\] = table\[tokens\[r\], :\] + bias: tokens `[1, rows]`, table `[tokens, cols]`, bias `[1, cols]`, out
/// `[rows, cols]`, overwritten.
pub static LOOKUP: Kernel = Kernel {
    name: "embedding_lookup",
    bindings: LOOKUP_BINDINGS,
    scalars: &[],
    definition: look_up,
    bound: bound_look_up,
    parts: whole,
    is_exact: |_| true,
    cpu: look_up,
    variants: &[Variant {
        name: "rows",
        shaders: &[Shader::new(
            &[WINDOW, include_str!("../../shaders/embedding_lookup.wgsl")],
            "main",
            LOOKUP_BINDINGS,
            &["first"],
        )],
        lower: lower_lookup,
        ..Variant::PLAIN
    }],
    bytes: all_windows,
    working: little,
    runs_beside: |_| true,
    flops: |step| step.windows[3].len() as u64,
    sample: |program, [m, n, k]| {
        let (tokens, table) = (program.indices("tokens", 1, m), program.matrix("table", k, n));
        let (bias, out) = (program.matrix("bias", 1, n), program.matrix("out", m, n));
        lookup(program, tokens, table, bias, out);
        vec![(tokens, Content::Indices(sample_tokens(m, k)))]
    },
};

const GRADIENT_BINDINGS: &[Binding] =
    &[Binding::indices("order"), Binding::indices("starts"), Binding::read("d"), Binding::update("d_table")];

/// d_table\[v, :\] = Σ d\[r, :\] over the rows r whose token is v, ascending, or d_table and that: order `[1, rows]` and starts
/// `[1, tokens + 1]` from [`order`], d `[rows, cols]`, d_table `[tokens, cols]`.
pub static GRADIENT: Kernel = Kernel {
    name: "embedding_gradient",
    bindings: GRADIENT_BINDINGS,
    scalars: &["accumulate"],
    definition: define_gradient,
    bound: bound_gradient,
    parts: whole,
    is_exact: |_| true,
    cpu: run_gradient,
    variants: &[Variant {
        name: "ordered",
        shaders: &[Shader::new(
            &[WINDOW, include_str!("../../shaders/embedding_gradient.wgsl")],
            "main",
            GRADIENT_BINDINGS,
            &["first_row", "first_token", "accumulate"],
        )],
        lower: lower_gradient,
        ..Variant::PLAIN
    }],
    bytes: all_windows,
    working: little,
    runs_beside: |_| true,
    flops: |step| step.windows[2].len() as u64,
    sample: |program, [m, n, k]| {
        let (positions, starts) = (program.indices("order", 1, m), program.indices("starts", 1, k + 1));
        let (d, d_table) = (program.matrix("d", m, n), program.matrix("d_table", k, n));
        gradient(program, positions, starts, d, d_table, if n.is_multiple_of(2) { Epilogue::Add } else { Epilogue::Store });
        let (by_token, begins) = order(&sample_tokens(m, k), k);
        vec![(positions, Content::Indices(by_token)), (starts, Content::Indices(begins))]
    },
};

/// Records out = table\[tokens\] + bias.
///
/// # Panics
/// When the shapes do not fit.
pub fn lookup(program: &mut Program, tokens: Mat, table: Mat, bias: Mat, out: Mat) {
    assert!(
        tokens.cols == out.rows && table.cols == out.cols && bias.cols == out.cols && (bias.rows, tokens.rows) == (1, 1),
        "lookup: tokens {tokens:?}, table {table:?}, bias {bias:?}, out {out:?}"
    );
    program.push(&LOOKUP, &[tokens, table, bias, out], NoScalars);
}

/// Records d_table\[v\] = Σ of the rows of d whose token is v, or d_table\[v\] + that.
///
/// # Panics
/// When the shapes do not fit.
pub fn gradient(program: &mut Program, order: Mat, starts: Mat, d: Mat, d_table: Mat, epilogue: Epilogue) {
    assert!(
        order.cols == d.rows && starts.cols == d_table.rows + 1 && d.cols == d_table.cols && (order.rows, starts.rows) == (1, 1),
        "embedding gradient: order {order:?}, starts {starts:?}, d {d:?}, d_table {d_table:?}"
    );
    let accumulate = u32::from(epilogue == Epilogue::Add);
    program.push(&GRADIENT, &[order, starts, d, d_table], Accumulate { accumulate });
}

/// The rows by token, ascending within each, and where each token's begin: `[rows]` and `[tokens + 1]`.
///
/// # Panics
/// When a token is not below their number.
#[must_use]
pub fn order(tokens: &[u32], vocabulary: u32) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0; vocabulary as usize + 1];
    for &token in tokens {
        starts[token as usize + 1] += 1;
    }
    for v in 0..vocabulary as usize {
        starts[v + 1] += starts[v];
    }
    let mut next = starts.clone();
    let mut order = vec![0; tokens.len()];
    for (row, &token) in (0..).zip(tokens) {
        let at = &mut next[token as usize];
        order[*at as usize] = row;
        *at += 1;
    }
    (order, starts)
}

/// Tokens that leave out some of the vocabulary and come in no order.
fn sample_tokens(rows: u32, vocabulary: u32) -> Vec<u32> {
    (0..rows).map(|r| r.wrapping_mul(r).wrapping_mul(7) / 3 % vocabulary).collect()
}

fn look_up<T: Float>(views: &mut [View<T>], _: &[u8]) {
    let [tokens, table, bias, out] = views else { unreachable!("four windows") };
    for r in 0..out.rows {
        let (row, bias) = (table.row(tokens.index(r)), bias.row(0));
        for ((out, &x), &b) in out.row_mut(r).iter_mut().zip(row).zip(bias) {
            *out = x + b;
        }
    }
}

/// One addition.
fn bound_look_up(views: &mut [View<f64>], _: &[u8]) {
    let [tokens, table, bias, out] = views else { unreachable!("four windows") };
    for r in 0..out.rows {
        for c in 0..out.cols {
            let mut terms = Terms::default();
            terms.number(table.at(tokens.index(r), c));
            terms.number(bias.at(0, c));
            out.set(r, c, terms.of_numbers());
        }
    }
}

fn define_gradient(views: &mut [View<f64>], bytes: &[u8]) {
    let [order, starts, d, d_table] = views else { unreachable!("four windows") };
    let add = scalars::<Accumulate>(bytes).accumulate != 0;
    for v in 0..d_table.rows {
        for c in 0..d_table.cols {
            let rows = starts.index(v)..starts.index(v + 1);
            let base = if add { d_table.at(v, c) } else { 0.0 };
            d_table.set(v, c, rows.fold(base, |sum, i| sum + d.at(order.index(i), c)));
        }
    }
}

fn bound_gradient(views: &mut [View<f64>], bytes: &[u8]) {
    let [order, starts, d, d_table] = views else { unreachable!("four windows") };
    let add = scalars::<Accumulate>(bytes).accumulate != 0;
    for v in 0..d_table.rows {
        for c in 0..d_table.cols {
            let mut terms = Terms::default();
            (starts.index(v)..starts.index(v + 1)).for_each(|i| terms.number(d.at(order.index(i), c)));
            if add {
                terms.number(d_table.at(v, c));
            }
            d_table.set(v, c, terms.of_numbers());
        }
    }
}

fn run_gradient(views: &mut [View<f32>], bytes: &[u8]) {
    let [order, starts, d, d_table] = views else { unreachable!("four windows") };
    let add = scalars::<Accumulate>(bytes).accumulate != 0;
    let (cols, stride) = (d_table.cols, d_table.stride);
    d_table.data_mut().par_chunks_mut(stride).enumerate().for_each(|(v, out)| {
        let out = &mut out[..cols];
        let mut block = vec![0.0f32; cols];
        if !add {
            out.fill(0.0);
        }
        let rows: Vec<usize> = (starts.index(v)..starts.index(v + 1)).map(|i| order.index(i)).collect();
        for rows in rows.chunks(64) {
            block.fill(0.0);
            for &row in rows {
                block.iter_mut().zip(d.row(row)).for_each(|(sum, x)| *sum += x);
            }
            out.iter_mut().zip(&block).for_each(|(sum, block)| *sum += block);
        }
    });
}

fn lower_lookup(step: &Step, cuts: &Cuts) -> Lowered {
    let [tokens, table, bias, out] = step.windows[..] else { unreachable!("four windows") };
    let rows = cuts.runs(out.rows, &[Along::Rows(out), Along::Cols(tokens)], [4, 1], u64::from(cuts.workgroups) * 8);
    let parts = cuts.runs(table.rows, &[Along::Rows(table)], [1, 1], u64::MAX);
    let pieces = rows.flat_map(|r| parts.clone().map(move |t| (r.clone(), t)));
    Lowered::once(
        pieces
            .map(|(r, t)| Piece {
                shader: 0,
                windows: vec![tokens.slice_cols(r.clone()), table.slice_rows(t.clone()), bias, out.slice_rows(r.clone())],
                scalars: bytes(&LookupPiece { first: t.start }),
                grid: [out.cols.div_ceil(32), (r.end - r.start).div_ceil(8), 1],
                iterations: 1,
            })
            .collect(),
    )
}

/// Pieces of at most 16,384 rows of d, so that no token's loop is longer than that, each for all tokens.
fn lower_gradient(step: &Step, cuts: &Cuts) -> Lowered {
    let [order, starts, d, d_table] = step.windows[..] else { unreachable!("four windows") };
    let accumulate = step.scalars::<Accumulate>().accumulate;
    let rows = cuts.runs(d.rows, &[Along::Rows(d)], [1, 1], 16_384);
    let parts = cuts.runs(d_table.rows, &[Along::Rows(d_table)], [1, 1], u64::from(cuts.workgroups) * 8);
    let pieces = rows.flat_map(|r| parts.clone().map(move |t| (r.clone(), t)));
    Lowered::once(
        pieces
            .map(|(r, t)| Piece {
                shader: 0,
                windows: vec![order, starts, d.slice_rows(r.clone()), d_table.slice_rows(t.clone())],
                scalars: bytes(&GradientPiece {
                    first_row: r.start,
                    first_token: t.start,
                    accumulate: u32::from(r.start > 0) | accumulate,
                }),
                grid: [d_table.cols.div_ceil(32), (t.end - t.start).div_ceil(8), 1],
                iterations: r.end - r.start + 32,
            })
            .collect(),
    )
}
