//! Softmax cross-entropy and its gradient: ℓ = −ln softmax(z)\_c = ln Σ exp(z − max z) + max z − z\_c, in log space with
//! the maximum subtracted; ∂ℓ/∂z = softmax(z) − onehot(c). With label smoothing (Szegedy et al., *Rethinking the Inception Architecture for
//! Computer Vision*, 2016) the gradient is that towards (1 − ε)·onehot(c) + ε/n, and the loss stays that of the class.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::in_lanes;
use super::{EXP, WINDOW};
use crate::activation::{EXP_ERROR, exp_nonpositive};
use crate::program::{
    Along, Binding, Buf, Content, Cuts, Kernel, Lowered, Mat, Piece, Program, Shader, Step, Variant, View, all_windows, little,
    scalars, whole,
};
use crate::rounding::{DIVISION, TINY, U, flushed, logarithm, roundings};
use crate::simd::arch;

const CHUNK: u32 = 1024;

/// The probabilities that the gradient leads to: of the class, and of each other one.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Aims {
    class: f32,
    others: f32,
}

const SCALARS: &[&str] = &["aim", "others"];

const BINDINGS: &[Binding] = &[
    Binding::read("logits"),
    Binding::indices("classes"),
    Binding::read("weights"),
    Binding::write("d_logits"),
    Binding::write("losses"),
];

const SHADER_BINDINGS: &[Binding] = &[
    Binding::read("logits"),
    Binding::indices("classes"),
    Binding::read("weights"),
    Binding::update("d_logits"),
    Binding::update("losses"),
    Binding::update("statistics"),
];

const fn shader(entry: &'static str) -> Shader {
    Shader::new(&[WINDOW, EXP, include_str!("../../shaders/softmax_loss.wgsl")], entry, SHADER_BINDINGS, SCALARS)
}

/// losses\[r\] = w·ℓ(logits\[r\], classes\[r\]) and d_logits = its gradient, or that with label smoothing, with w = weights\[r\]: logits and
/// d_logits `[rows, classes]`, classes `[1, rows]`, weights and losses `[rows, 1]`. A row of weight zero gives exactly zero.
pub static SOFTMAX_LOSS: Kernel = Kernel {
    name: "softmax_loss",
    bindings: BINDINGS,
    scalars: SCALARS,
    definition: define,
    bound,
    parts: whole,
    is_exact: |_| false,
    cpu: run,
    variants: &[Variant {
        name: "chunks",
        shaders: &[shader("chunk"), shader("row"), shader("gradient")],
        lower,
        ..Variant::PLAIN
    }],
    bytes: all_windows,
    working: little,
    runs_beside: |_| true,
    flops: |step| 5 * step.windows[0].len() as u64,
    sample: |program, [m, n, k]| {
        let (logits, classes) = (program.matrix("logits", m, n), program.indices("classes", 1, m));
        let (weights, losses) = (program.matrix("weights", m, 1), program.matrix("losses", m, 1));
        let d_logits = program.matrix("d_logits", m, n);
        softmax_loss(program, logits, classes, weights, d_logits, losses, [0.0, 0.1, 0.75][k as usize % 3]);
        vec![(classes, Content::Indices((0..m).map(|r| (r * k + r / 3) % n).collect())), (weights, super::sample_weights(m))]
    },
};

/// Records the weighted loss of each row and the gradient of the logits, with label smoothing ε: at least 0 and below 1.
///
/// # Panics
/// When the shapes do not fit, or ε is out of range.
pub fn softmax_loss(program: &mut Program, logits: Mat, classes: Mat, weights: Mat, d_logits: Mat, losses: Mat, smoothing: f64) {
    let rows = logits.rows;
    assert!(
        (classes.rows, classes.cols) == (1, rows)
            && [weights, losses].iter().all(|m| (m.rows, m.cols) == (rows, 1))
            && (d_logits.rows, d_logits.cols) == (rows, logits.cols),
        "softmax loss: logits {logits:?}, classes {classes:?}, weights {weights:?}, d_logits {d_logits:?}, losses {losses:?}"
    );
    assert!((0.0..1.0).contains(&smoothing), "softmax loss: label smoothing of {smoothing}");
    let others = smoothing / f64::from(logits.cols);
    let aims = Aims { class: (1.0 - smoothing + others) as f32, others: others as f32 };
    program.push(&SOFTMAX_LOSS, &[logits, classes, weights, d_logits, losses], aims);
}

fn define(views: &mut [View<f64>], bytes: &[u8]) {
    let aims: Aims = scalars(bytes);
    let [logits, classes, weights, d_logits, losses] = views else { unreachable!("five windows") };
    for r in 0..logits.rows {
        let (z, class, weight) = (logits.row(r), classes.index(r), weights.at(r, 0));
        if weight == 0.0 {
            losses.set(r, 0, 0.0);
            d_logits.row_mut(r).fill(0.0);
            continue;
        }
        let highest = z.iter().fold(f64::NEG_INFINITY, |m, &z| if z > m { z } else { m });
        let sum = z.iter().fold(0.0, |sum, &z| sum + (z - highest).exp());
        losses.set(r, 0, weight * (sum.ln() + highest - z[class]));
        for (c, d) in d_logits.row_mut(r).iter_mut().enumerate() {
            let aim = f64::from(if c == class { aims.class } else { aims.others });
            *d = weight * ((z[c] - highest).exp() / sum - aim);
        }
    }
}

/// With M the maximum, x = z − M rounds by u·|x|, which e^x takes for a relative error; the exponential's own comes twice and two
/// products where a chunk's maximum is below the row's. S = Σ e^x sums n of them, p = e^x / S is a quotient, p − t a sum and w a
/// factor, maybe of each of the two alone; ln S is off by the relative error of S and by its own. Below −87 e^x counts as zero, where it is 1.4·2⁻¹²⁶.
fn bound(views: &mut [View<f64>], bytes: &[u8]) {
    let aims: Aims = scalars(bytes);
    let [logits, classes, weights, d_logits, losses] = views else { unreachable!("five windows") };
    const CUT: f64 = 2.0 * TINY;
    for r in 0..logits.rows {
        let (z, class, weight) = (logits.row(r), classes.index(r), weights.at(r, 0).abs());
        if weight == 0.0 {
            losses.set(r, 0, 0.0);
            d_logits.row_mut(r).fill(0.0);
            continue;
        }
        let highest = z.iter().fold(f64::NEG_INFINITY, |m, &z| if z > m { z } else { m });
        let off = |x: f64| U * x.abs() + 2.0 * EXP_ERROR + 3.0 * U;
        let (mut sum, mut sum_off) = (0.0, 0.0);
        for x in z.iter().map(|z| z - highest).filter(|x| x.is_finite()) {
            sum += x.exp();
            sum_off += x.exp() * off(x) + CUT;
        }
        let relative = sum_off / sum + roundings(z.len());
        for (c, d) in d_logits.row_mut(r).iter_mut().enumerate() {
            let x = z[c] - highest;
            let p = x.exp() / sum;
            let p_off = if x.is_finite() { p * (off(x) + relative + DIVISION + U) } else { 0.0 };
            let aim = f64::from(if c == class { aims.class } else { aims.others });
            let value = (p - aim).abs();
            let apart = if aims.others > 0.0 { p + 2.0 * aim } else { 0.0 };
            *d = weight * (p_off + U * (2.0 * value + apart) + 2.0 * CUT) + flushed(weight) * value + TINY;
        }
        let (log, below) = (sum.ln(), highest - z[class]);
        let rounded = relative + logarithm(sum) + U * below.abs() + 2.0 * U * (log + below).abs();
        losses.set(r, 0, weight * (rounded + 3.0 * TINY) + flushed(weight) * (log + below).abs() + TINY);
    }
}

fn run(views: &mut [View<f32>], bytes: &[u8]) {
    let aims: Aims = scalars(bytes);
    let [logits, classes, weights, d_logits, losses] = views else { unreachable!("five windows") };
    let (d_stride, l_stride, cols) = (d_logits.stride, losses.stride, logits.cols);
    let rows = d_logits.data_mut().par_chunks_mut(d_stride).zip(losses.data_mut().par_chunks_mut(l_stride));
    rows.enumerate().with_min_len(64).for_each(|(r, (d, loss))| {
        let (z, class, weight, d) = (logits.row(r), classes.index(r), weights.at(r, 0), &mut d[..cols]);
        if weight == 0.0 {
            loss[0] = 0.0;
            d.fill(0.0);
            return;
        }
        let arch = arch();
        let highest = arch.dispatch(|| in_lanes(z, f32::NEG_INFINITY, |z| z, |m, z| if z > m { z } else { m }));
        arch.dispatch(|| d.iter_mut().zip(z).for_each(|(d, z)| *d = exp_nonpositive(z - highest)));
        let sum = arch.dispatch(|| in_lanes(d, 0.0, |d| d, |sum, d| sum + d));
        loss[0] = weight * (sum.ln() + (highest - z[class]));
        let scale = weight / sum;
        arch.dispatch(|| d.iter_mut().for_each(|d| *d *= scale));
        if aims.others > 0.0 {
            let other = weight * aims.others;
            let of_class = d[class] - weight * aims.class;
            arch.dispatch(|| d.iter_mut().for_each(|d| *d -= other));
            d[class] = of_class;
        } else {
            d[class] -= weight;
        }
    });
}

fn lower(step: &Step, cuts: &Cuts) -> Lowered {
    let logits = step.windows[0];
    let chunks = logits.cols.div_ceil(CHUNK);
    let cols = 4 * (chunks + 1);
    let statistics = Mat { buf: Buf::SCRATCH[0], offset: 0, rows: logits.rows, cols, stride: cols, ..logits };
    let along = [0, 2, 3, 4].map(|i| Along::Rows(step.windows[i]));
    let along = [&along[..], &[Along::Cols(step.windows[1]), Along::Rows(statistics)]].concat();
    let mut pieces = Vec::new();
    for r in cuts.runs(logits.rows, &along, [4, 1], u64::from(cuts.workgroups) * 8) {
        let mut windows: Vec<Mat> =
            step.windows.iter().map(|w| w.slice_rows(if w.rows == 1 { 0..1 } else { r.clone() })).collect();
        windows[1] = step.windows[1].slice_cols(r.clone());
        windows.push(statistics.slice_rows(r.clone()));
        let rows = r.end - r.start;
        let grids = [[rows.div_ceil(64), chunks, 1], [rows.div_ceil(64), 1, 1], [logits.cols.div_ceil(32), rows.div_ceil(8), 1]];
        let iterations = [CHUNK / 2, if chunks == 1 { CHUNK / 2 } else { 2 * chunks }, 1];
        for (shader, (grid, iterations)) in grids.into_iter().zip(iterations).enumerate().skip(usize::from(chunks == 1)) {
            pieces.push(Piece { shader, windows: windows.clone(), scalars: step.scalars.clone(), grid, iterations });
        }
    }
    Lowered::once(pieces)
}
