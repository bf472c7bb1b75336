//! The losses of values, each the mean of a penalty over the components of an output, and their gradients:
//! ℓ = 1/n·Σᵢ p(oᵢ, vᵢ), ∂ℓ/∂oᵢ = 1/n·∂p/∂oᵢ.

mod penalty;

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

pub use penalty::Penalty;

use super::{EXP, WINDOW, blocks, bytes, in_lanes};
use crate::activation::exp_nonpositive;
use crate::program::{
    Along, Binding, Content, Cuts, Kernel, Lowered, Mat, Piece, Program, Shader, Step, Variant, View, all_windows, little,
    scalars, whole,
};
use crate::rounding::{DIVISION, TINY, U, flushed, roundings};
use crate::simd::arch;

/// Which penalty it is.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Code {
    penalty: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct PieceScalars {
    penalty: u32,
    components: u32,
    accumulate: u32,
}

const BINDINGS: &[Binding] = &[
    Binding::read("outputs"),
    Binding::read("values"),
    Binding::read("weights"),
    Binding::read("constants"),
    Binding::write("d_outputs"),
    Binding::write("losses"),
];

const SHADER_BINDINGS: &[Binding] = &[
    Binding::read("outputs"),
    Binding::read("values"),
    Binding::read("weights"),
    Binding::read("constants"),
    Binding::update("d_outputs"),
    Binding::update("losses"),
];

const SHADER: Shader = Shader::new(
    &[WINDOW, EXP, include_str!("../../shaders/value_loss.wgsl")],
    "main",
    SHADER_BINDINGS,
    &["penalty", "components", "accumulate"],
);

/// losses\[r\] = w·ℓ(outputs\[r\], values\[r\]) and d_outputs = its gradient, with w = weights\[r\]: outputs, values and
/// d_outputs `[rows, n]`, weights and losses `[rows, 1]`; constants `[1, n]` has the number that the penalty needs of each column. A row of
/// weight zero gives exactly zero.
pub static VALUE_LOSS: Kernel = Kernel {
    name: "value_loss",
    bindings: BINDINGS,
    scalars: &["penalty"],
    definition: define,
    bound,
    parts: whole,
    is_exact: |_| false,
    cpu: run,
    variants: &[Variant { name: "rows", shaders: &[SHADER], lower, ..Variant::PLAIN }],
    bytes: all_windows,
    working: little,
    runs_beside: |_| true,
    flops: |step| 5 * step.windows[0].len() as u64,
    sample: |program, [m, n, k]| {
        let (outputs, values) = (program.matrix("outputs", m, n), program.matrix("values", m, n));
        let (weights, losses) = (program.matrix("weights", m, 1), program.matrix("losses", m, 1));
        let (d_outputs, constants) = (program.matrix("d_outputs", m, n), program.matrix("constants", 1, n));
        let penalty = Penalty::ALL[k as usize % Penalty::ALL.len()];
        value_loss(program, penalty, [outputs, values, weights, constants], d_outputs, losses);
        let between = Content::Numbers((0..n).map(|c| (1 + c % 7) as f32 / 8.0).collect());
        vec![(weights, super::sample_weights(m)), (constants, between)]
    },
};

/// Records the weighted loss of each row and the gradient of the outputs, of `[outputs, values, weights, constants]`.
///
/// # Panics
/// When the shapes do not fit.
pub fn value_loss(program: &mut Program, penalty: Penalty, from: [Mat; 4], d_outputs: Mat, losses: Mat) {
    let [outputs, values, weights, constants] = from;
    let (rows, cols) = (outputs.rows, outputs.cols);
    assert!(
        [values, d_outputs].iter().all(|m| (m.rows, m.cols) == (rows, cols))
            && [weights, losses].iter().all(|m| (m.rows, m.cols) == (rows, 1))
            && (constants.rows, constants.cols) == (1, cols),
        "value loss: outputs {outputs:?}, values {values:?}, weights {weights:?}, constants {constants:?}, \
         d_outputs {d_outputs:?}, losses {losses:?}"
    );
    let windows = [outputs, values, weights, constants, d_outputs, losses];
    program.push(&VALUE_LOSS, &windows, Code { penalty: penalty as u32 });
}

fn define(views: &mut [View<f64>], bytes: &[u8]) {
    let penalty = Penalty::coded(scalars::<Code>(bytes).penalty);
    let [outputs, values, weights, constants, d_outputs, losses] = views else { unreachable!("six windows") };
    let components = outputs.cols as f64;
    for r in 0..outputs.rows {
        let weight = weights.at(r, 0);
        let mut sum = 0.0;
        for c in 0..outputs.cols {
            let (o, v, constant) = (outputs.at(r, c), values.at(r, c), constants.at(0, c));
            sum += penalty.value(o, v, constant);
            let slope = penalty.slope(o, v, constant);
            d_outputs.set(r, c, if weight == 0.0 { 0.0 } else { weight / components * slope });
        }
        losses.set(r, 0, if weight == 0.0 { 0.0 } else { weight * sum / components });
    }
}

fn run(views: &mut [View<f32>], bytes: &[u8]) {
    let e = |o: f32, v: f32| o - v;
    let t = |o: f32| exp_nonpositive(-o.abs());
    // What a penalty computes in f32, by the order of operations of the shader.
    match Penalty::coded(scalars::<Code>(bytes).penalty) {
        Penalty::Squared => rows(views, |o, v, _| e(o, v) * e(o, v), |o, v, _| 2.0 * e(o, v)),
        Penalty::Absolute => rows(views, |o, v, _| e(o, v).abs(), |o, v, _| sign(e(o, v))),
        Penalty::Huber => rows(
            views,
            |o, v, d| if e(o, v).abs() > d { d * (e(o, v).abs() - 0.5 * d) } else { 0.5 * e(o, v) * e(o, v) },
            |o, v, d| if e(o, v).abs() > d { d * sign(e(o, v)) } else { e(o, v) },
        ),
        Penalty::Binary => rows(
            views,
            |o, v, _| (if o > 0.0 { o } else { 0.0 }) - o * v + t(o).ln_1p(),
            |o, v, _| (if o > 0.0 { 1.0 } else { t(o) }) / (1.0 + t(o)) - v,
        ),
        Penalty::Pinball => rows(
            views,
            |o, v, q| if e(o, v) > 0.0 { (1.0 - q) * e(o, v) } else { -q * e(o, v) },
            |o, v, q| {
                let e = e(o, v);
                if e > 0.0 {
                    1.0 - q
                } else if e < 0.0 {
                    -q
                } else {
                    e
                }
            },
        ),
    }
}

/// −1, 0 or 1; NaN of NaN.
#[inline(always)]
fn sign(e: f32) -> f32 {
    if e > 0.0 {
        1.0
    } else if e < 0.0 {
        -1.0
    } else {
        e
    }
}

/// Rows that a thread takes at a time.
const ROWS: usize = 64;

/// Computes all rows from a penalty's value and slope at an output, a target and the column's constant.
#[inline(always)]
fn rows(views: &mut [View<f32>], value: impl Fn(f32, f32, f32) -> f32 + Sync, slope: impl Fn(f32, f32, f32) -> f32 + Sync) {
    let [outputs, values, weights, constants, d_outputs, losses] = views else { unreachable!("six windows") };
    let (cols, d_stride, stride) = (outputs.cols, d_outputs.stride, losses.stride);
    let constants = constants.row(0);
    let d_rows = d_outputs.data_mut().par_chunks_mut(ROWS * d_stride);
    d_rows.zip(losses.data_mut().par_chunks_mut(ROWS * stride)).enumerate().for_each(|(i, (d_rows, losses))| {
        let each = d_rows.chunks_mut(d_stride).zip(losses.chunks_mut(stride));
        for (r, (d_row, loss)) in (i * ROWS..).zip(each) {
            let weight = weights.at(r, 0);
            let from = || outputs.row(r).iter().zip(values.row(r)).zip(constants);
            let d_row = &mut d_row[..cols];
            if weight == 0.0 {
                d_row.fill(0.0);
                loss[0] = 0.0;
                continue;
            }
            let scale = weight / cols as f32;
            // The penalties first, where their slopes will be.
            let sum = arch().dispatch(|| {
                d_row.iter_mut().zip(from()).for_each(|(d, ((&o, &v), &constant))| *d = value(o, v, constant));
                in_lanes(d_row, 0.0, |p| p, |sum, p| sum + p)
            });
            arch().dispatch(|| {
                d_row.iter_mut().zip(from()).for_each(|(d, ((&o, &v), &constant))| *d = scale * slope(o, v, constant));
            });
            loss[0] = weight * sum / cols as f32;
        }
    });
}

/// n penalties, each off by its own error, are added up; w and n come once more each. w/n·p′: a quotient and two factors.
fn bound(views: &mut [View<f64>], bytes: &[u8]) {
    let penalty = Penalty::coded(scalars::<Code>(bytes).penalty);
    let [outputs, values, weights, constants, d_outputs, losses] = views else { unreachable!("six windows") };
    let n = outputs.cols as f64;
    for r in 0..outputs.rows {
        let weight = weights.at(r, 0);
        if weight == 0.0 {
            losses.set(r, 0, 0.0);
            d_outputs.row_mut(r).fill(0.0);
            continue;
        }
        let (mut sum, mut lost) = (0.0, 0.0);
        for c in 0..outputs.cols {
            let (o, v, constant) = (outputs.at(r, c), values.at(r, c), constants.at(0, c));
            let [value, slope] = [penalty.value(o, v, constant), penalty.slope(o, v, constant)];
            let [value_error, slope_error] = penalty.errors(o, v, constant);
            sum += value.abs();
            lost += value_error;
            let scale = (weight / n).abs();
            let rounded = scale * (slope_error + (DIVISION + 2.0 * U) * slope.abs());
            d_outputs.set(r, c, rounded + (flushed(scale) + TINY) * slope.abs() + TINY);
        }
        let relative = roundings(outputs.cols) + 2.0 * U + DIVISION;
        losses.set(r, 0, weight.abs() / n * (relative * sum + lost) + TINY * (1.0 + sum));
    }
}

/// Cut by rows that fit, and the sums of a row by 4,096 columns.
fn lower(step: &Step, cuts: &Cuts) -> Lowered {
    let (outputs, Code { penalty }) = (step.windows[0], step.scalars());
    let along = [0, 1, 2, 4, 5].map(|i| Along::Rows(step.windows[i]));
    let mut pieces = Vec::new();
    for r in cuts.runs(outputs.rows, &along, [1, 1], u64::from(cuts.workgroups) * 8) {
        let rows = |i: usize| if i == 3 { step.windows[i] } else { step.windows[i].slice_rows(r.clone()) };
        let rows: Vec<Mat> = (0..step.windows.len()).map(rows).collect();
        for c in blocks(outputs.cols, 4096) {
            let mut windows = rows.clone();
            for i in [0, 1, 3, 4] {
                windows[i] = windows[i].slice_cols(c.clone());
            }
            let scalars = bytes(&PieceScalars { penalty, components: outputs.cols, accumulate: u32::from(c.start > 0) });
            let (rows, cols) = (r.end - r.start, c.end - c.start);
            let grid = [cols.div_ceil(32), rows.div_ceil(8), 1];
            pieces.push(Piece { shader: 0, windows, scalars, grid, iterations: cols.div_ceil(4) });
        }
    }
    Lowered::once(pieces)
}
