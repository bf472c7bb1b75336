//! Squared error and its gradient: ℓ = 1/n·Σᵢ (oᵢ − vᵢ)², ∂ℓ/∂o = 2/n·(o − v).

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::{Nothing, WINDOW, blocks, bytes, in_lanes};
use crate::program::{
    Along, Binding, Cuts, Kernel, Lowered, Mat, Piece, Program, Shader, Step, Variant, View, all_windows, little, whole,
};
use crate::rounding::{DIVISION, TINY, U, flushed, roundings};
use crate::simd::arch;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct PieceScalars {
    components: u32,
    accumulate: u32,
}

const BINDINGS: &[Binding] = &[
    Binding::read("outputs"),
    Binding::read("values"),
    Binding::read("weights"),
    Binding::write("d_outputs"),
    Binding::write("losses"),
];

const SHADER_BINDINGS: &[Binding] = &[
    Binding::read("outputs"),
    Binding::read("values"),
    Binding::read("weights"),
    Binding::update("d_outputs"),
    Binding::update("losses"),
];

const SHADER: Shader = Shader {
    source: &[WINDOW, include_str!("../../shaders/squared_loss.wgsl")],
    entry: "main",
    bindings: SHADER_BINDINGS,
    scalars: &["components", "accumulate"],
};

/// losses\[r\] = w·ℓ(outputs\[r\], values\[r\]) and d_outputs = its gradient, with w = weights\[r\]: outputs, values and
/// d_outputs `[rows, n]`, weights and losses `[rows, 1]`. A row of weight zero gives exactly zero.
pub static SQUARED_LOSS: Kernel = Kernel {
    name: "squared_loss",
    bindings: BINDINGS,
    scalars: &[],
    definition: define,
    bound,
    parts: whole,
    is_exact: |_| false,
    cpu: run,
    variants: &[Variant { name: "rows", shaders: &[SHADER], lower, ..Variant::PLAIN }],
    bytes: all_windows,
    working: little,
    flops: |step| 5 * step.windows[0].len() as u64,
    sample: |program, [m, n, _]| {
        let (outputs, values) = (program.matrix("outputs", m, n), program.matrix("values", m, n));
        let (weights, losses) = (program.matrix("weights", m, 1), program.matrix("losses", m, 1));
        let d_outputs = program.matrix("d_outputs", m, n);
        squared_loss(program, outputs, values, weights, d_outputs, losses);
        vec![(weights, super::sample_weights(m))]
    },
};

/// Records the weighted loss of each row and the gradient of the outputs.
///
/// # Panics
/// When the shapes do not fit.
pub fn squared_loss(program: &mut Program, outputs: Mat, values: Mat, weights: Mat, d_outputs: Mat, losses: Mat) {
    let (rows, cols) = (outputs.rows, outputs.cols);
    assert!(
        [values, d_outputs].iter().all(|m| (m.rows, m.cols) == (rows, cols))
            && [weights, losses].iter().all(|m| (m.rows, m.cols) == (rows, 1)),
        "squared loss: outputs {outputs:?}, values {values:?}, weights {weights:?}, d_outputs {d_outputs:?}, losses {losses:?}"
    );
    program.push(&SQUARED_LOSS, &[outputs, values, weights, d_outputs, losses], Nothing);
}

fn define(views: &mut [View<f64>], _: &[u8]) {
    let [outputs, values, weights, d_outputs, losses] = views else { unreachable!("five windows") };
    let components = outputs.cols as f64;
    for r in 0..outputs.rows {
        let weight = weights.at(r, 0);
        let mut sum = 0.0;
        for c in 0..outputs.cols {
            let error = outputs.at(r, c) - values.at(r, c);
            sum += error * error;
            d_outputs.set(r, c, if weight == 0.0 { 0.0 } else { 2.0 * weight / components * error });
        }
        losses.set(r, 0, if weight == 0.0 { 0.0 } else { weight * sum / components });
    }
}

/// Rows that a thread takes at a time.
const ROWS: usize = 64;

fn run(views: &mut [View<f32>], _: &[u8]) {
    let [outputs, values, weights, d_outputs, losses] = views else { unreachable!("five windows") };
    let (cols, d_stride, stride) = (outputs.cols, d_outputs.stride, losses.stride);
    let d_rows = d_outputs.data_mut().par_chunks_mut(ROWS * d_stride);
    d_rows.zip(losses.data_mut().par_chunks_mut(ROWS * stride)).enumerate().for_each(|(i, (d_rows, losses))| {
        let each = d_rows.chunks_mut(d_stride).zip(losses.chunks_mut(stride));
        for (r, (d_row, loss)) in (i * ROWS..).zip(each) {
            let weight = weights.at(r, 0);
            let (output, value) = (outputs.row(r), values.row(r));
            let d_row = &mut d_row[..cols];
            if weight == 0.0 {
                d_row.fill(0.0);
                loss[0] = 0.0;
                continue;
            }
            let scale = 2.0 * weight / cols as f32;
            // The errors first, and their squares from there.
            let sum = arch().dispatch(|| {
                d_row.iter_mut().zip(output).zip(value).for_each(|((d, o), v)| *d = o - v);
                in_lanes(d_row, 0.0, |e| e * e, |sum, square| sum + square)
            });
            arch().dispatch(|| d_row.iter_mut().for_each(|d| *d *= scale));
            loss[0] = weight * sum / cols as f32;
        }
    });
}

/// e = o − v rounds once, so e² thrice with its own; n of them; w and n once more each. 2w/n·e: three factors and e.
fn bound(views: &mut [View<f64>], _: &[u8]) {
    let [outputs, values, weights, d_outputs, losses] = views else { unreachable!("five windows") };
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
            let (o, v) = (outputs.at(r, c), values.at(r, c));
            let (error, small) = (o - v, flushed(o) + flushed(v) + flushed(o - v));
            sum += error * error;
            lost += 2.0 * TINY + small * (2.0 * error.abs() + small);
            let relative = DIVISION + 4.0 * U;
            let d = 2.0 * weight / n;
            d_outputs.set(r, c, d.abs() * (relative * error.abs() + small) + (flushed(d) + TINY) * error.abs() + TINY);
        }
        let relative = roundings(outputs.cols) + 3.0 * U + DIVISION + 2.0 * U;
        losses.set(r, 0, weight.abs() / n * (relative * sum + lost) + TINY * (1.0 + sum));
    }
}

/// Cut by rows that fit, and the sums of a row by 4,096 columns.
fn lower(step: &Step, cuts: &Cuts) -> Lowered {
    let outputs = step.windows[0];
    let along: Vec<Along> = step.windows.iter().copied().map(Along::Rows).collect();
    let mut pieces = Vec::new();
    for r in cuts.runs(outputs.rows, &along, [1, 1], u64::from(cuts.workgroups) * 8) {
        let rows: Vec<Mat> = step.windows.iter().map(|w| w.slice_rows(r.clone())).collect();
        for c in blocks(outputs.cols, 4096) {
            let mut windows = rows.clone();
            for i in [0, 1, 3] {
                windows[i] = windows[i].slice_cols(c.clone());
            }
            let scalars = bytes(&PieceScalars { components: outputs.cols, accumulate: u32::from(c.start > 0) });
            let (rows, cols) = (r.end - r.start, c.end - c.start);
            let grid = [cols.div_ceil(32), rows.div_ceil(8), 1];
            pieces.push(Piece { shader: 0, windows, scalars, grid, iterations: cols.div_ceil(4) });
        }
    }
    Lowered::once(pieces)
}
