//! Optimiser steps over whole arenas or parts of them: SGD, momentum, Adam, and RMSprop, as PyTorch computes them.
//!
//! Gradients may be clipped on their way, as by PyTorch's `clip_grad_norm_`: a gradient g counts as g·min(1, limit / (norm + 1e-6)), norm
//! `[1, 4]` from [`NORM`](super::norm::NORM), and then as at least −bound and at most bound, as by `clip_grad_value_`. In their arena they
//! stay as they are. With a norm of NaN nothing is scaled: nothing is updated from it, as the status tells.
//!
//! `schedule` `[1, 4]` holds what changes each step: learning rate, Adam's corrections 1/(1−β₁ᵗ) and 1/(1−β₂ᵗ), both
//! computed on the host in f64, and the row of the journal. `status` `[1, 4]` is not zero once training has diverged:
//! then nothing changes any more, so that the weights stay those of the last good step.

mod bounds;
mod definition;

use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};

use self::bounds::{bound_adam, bound_momentum, bound_rmsprop, bound_sgd};
use self::definition::{run_adam, run_momentum, run_rmsprop, run_sgd};
use super::WINDOW;
use crate::program::{
    Along, Binding, Content, Contents, Cuts, Kernel, Lowered, Mat, Piece, Program, Shader, Step, Variant, all_windows, little,
    whole,
};

/// What an update follows besides gradients and states.
#[derive(Debug, Clone, Copy)]
pub struct Control {
    /// `[1, 4]`: what changes each step.
    pub schedule: Mat,
    /// `[1, 4]`: whether training has diverged.
    pub status: Mat,
    /// `[1, 4]`: the norm of the gradient.
    pub norm: Mat,
    /// The norm that the gradient is clipped to, if it is: more than zero.
    pub clip: Option<f32>,
    /// The bound that its elements are clipped to, if they are: more than zero.
    pub clip_value: Option<f32>,
}

impl Control {
    /// The scalars that shaders have: zero where nothing is clipped.
    fn clipping(&self) -> Clipping {
        Clipping { limit: self.clip.unwrap_or(0.0), bound: self.clip_value.unwrap_or(0.0) }
    }
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Clipping {
    limit: f32,
    bound: f32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct MomentumScalars {
    momentum: f32,
    clipping: Clipping,
    /// 1 for Nesterov's, else 0.
    nesterov: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct AdamScalars {
    constants: Adam,
    clipping: Clipping,
    /// AdamW's, else 0.
    decay: f32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct RmsPropScalars {
    kept: f32,
    added: f32,
    epsilon: f32,
    clipping: Clipping,
}

/// Adam's constants.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable, Serialize, Deserialize)]
#[repr(C)]
pub struct Adam {
    /// The decay of the mean of the gradient.
    pub beta1: f32,
    /// The decay of the mean of its square.
    pub beta2: f32,
    /// Added to the root of the square.
    pub epsilon: f32,
}

impl Adam {
    /// β 0.9 and 0.999, ε 1e-8, as PyTorch's.
    pub const USUAL: Adam = Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
}

const SHARED: &str = include_str!("../../shaders/update.wgsl");

macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident, $label:literal, $file:literal, $bindings:expr, $scalars:expr, $run:ident, $bound:ident, $flops:literal, $sample:expr) => {
        $(#[$doc])*
        pub static $name: Kernel = Kernel {
            name: $label,
            bindings: $bindings,
            scalars: $scalars,
            definition: $run,
            bound: $bound,
            parts: whole,
            is_exact: |_| false,
            cpu: $run,
            variants: &[Variant {
                name: "vectors",
                shaders: &[Shader::new(&[WINDOW, SHARED, include_str!($file)], "main", $bindings, $scalars)],
                lower, ..Variant::PLAIN }],
            bytes: all_windows,
            working: little,
            runs_beside: |_| true,
            flops: |step| $flops * step.windows[0].len() as u64,
            sample: $sample,
        };
    };
}

kernel!(
    /// w ← w − rate·g: weight and gradient `[1, n]`, g clipped.
    SGD, "sgd", "../../shaders/sgd.wgsl",
    &[Binding::update("weight"), Binding::read("gradient"), Binding::read("schedule"), Binding::read("status"), Binding::read("norm")],
    &["limit", "bound"], run_sgd, bound_sgd, 3,
    |program, size| {
        let ([weight, gradient, _, _], control, contents) = sample(program, size);
        sgd(program, weight, gradient, control);
        contents
    }
);
kernel!(
    /// m ← μ·m + g, w ← w − rate·m, or Nesterov's w ← w − rate·(g + μ·m): weight, gradient and m `[1, n]`, g clipped.
    MOMENTUM, "momentum", "../../shaders/momentum.wgsl",
    &[Binding::update("weight"), Binding::read("gradient"), Binding::update("m"), Binding::read("schedule"), Binding::read("status"), Binding::read("norm")],
    &["momentum", "limit", "bound", "nesterov"], run_momentum, bound_momentum, 5,
    |program, size| {
        let ([weight, gradient, m, _], control, contents) = sample(program, size);
        momentum(program, weight, gradient, m, control, 0.875, size[1] % 2 == 0);
        contents
    }
);
kernel!(
    /// m ← β₁·m + (1−β₁)·g, v ← β₂·v + (1−β₂)·g², w ← (1 − rate·decay)·w − rate·c₁·m / (√(c₂·v) + ε): weight, gradient, m and v
    /// `[1, n]`, g clipped.
    ADAM, "adam", "../../shaders/adam.wgsl",
    &[
        Binding::update("weight"), Binding::read("gradient"), Binding::update("m"), Binding::update("v"), Binding::read("schedule"),
        Binding::read("status"), Binding::read("norm"),
    ],
    &["beta1", "beta2", "epsilon", "limit", "bound", "decay"], run_adam, bound_adam, 15,
    |program, size| {
        let ([weight, gradient, m, v], control, contents) = sample(program, size);
        adam(program, weight, gradient, m, v, control, Adam::USUAL, [0.0, 0.5][size[1] as usize % 2]);
        contents
    }
);
kernel!(
    /// v ← kept·v + added·g², w ← w − rate·g / (√v + ε): weight, gradient and v `[1, n]`, g clipped. RMSprop keeps β and adds 1 − β, Adagrad
    /// keeps and adds all.
    RMSPROP, "rmsprop", "../../shaders/rmsprop.wgsl",
    &[Binding::update("weight"), Binding::read("gradient"), Binding::update("v"), Binding::read("schedule"), Binding::read("status"), Binding::read("norm")],
    &["kept", "added", "epsilon", "limit", "bound"], run_rmsprop, bound_rmsprop, 9,
    |program, size| {
        let ([weight, gradient, _, v], control, contents) = sample(program, size);
        let shares = [[0.95, 0.05], [1.0, 1.0]][size[1] as usize % 2];
        rmsprop(program, weight, gradient, v, control, shares, 1e-8);
        contents
    }
);

fn sample(program: &mut Program, [m, n, k]: [u32; 3]) -> ([Mat; 4], Control, Contents) {
    let values = ["weight", "gradient", "m", "v"].map(|name| program.matrix(name, 1, m * n));
    let [schedule, status, norm] = ["schedule", "status", "norm"].map(|name| program.matrix(name, 1, 4));
    // The first is so small that the 1e-6 beside a small norm counts.
    let clip = [Some(5e-7), None, Some(0.25), Some(0.25)][k as usize % 4];
    let clip_value = [None, Some(0.125), None, Some(0.01)][k as usize % 4];
    // A rate of 0.1, and Adam's corrections of the third step.
    let rates = Content::Numbers(vec![0.1, 3.69, 333.7, 0.0]);
    let contents =
        vec![(values[3], Content::NotNegative), (schedule, rates), (status, sample_status(k)), (norm, Content::NotNegative)];
    (values, Control { schedule, status, norm, clip, clip_value }, contents)
}

/// The status of a sample: in one of three training has diverged.
pub(super) fn sample_status(k: u32) -> Content {
    Content::Numbers(vec![f32::from(u8::from(k % 3 == 1)), 0.0, 0.0, 0.0])
}

fn check(same: &[Mat], control: &Control) {
    let row = |m: &Mat| m.rows == 1 && m.cols == same[0].cols;
    let small = |m: Mat| (m.rows, m.cols) == (1, 4);
    assert!(
        same.iter().all(row) && [control.schedule, control.status, control.norm].into_iter().all(small),
        "update: {same:?}, {control:?}"
    );
    assert!([control.clip, control.clip_value].into_iter().flatten().all(|limit| limit > 0.0), "update: {control:?}");
}

/// Records a step of gradient descent.
///
/// # Panics
/// When the shapes do not fit.
pub fn sgd(program: &mut Program, weight: Mat, gradient: Mat, control: Control) {
    check(&[weight, gradient], &control);
    let Control { schedule, status, norm, .. } = control;
    program.push(&SGD, &[weight, gradient, schedule, status, norm], control.clipping());
}

/// Records a step of gradient descent with momentum, or with Nesterov's.
///
/// # Panics
/// When the shapes do not fit.
pub fn momentum(program: &mut Program, weight: Mat, gradient: Mat, m: Mat, control: Control, momentum: f32, nesterov: bool) {
    check(&[weight, gradient, m], &control);
    let Control { schedule, status, norm, .. } = control;
    let scalars = MomentumScalars { momentum, clipping: control.clipping(), nesterov: nesterov.into() };
    program.push(&MOMENTUM, &[weight, gradient, m, schedule, status, norm], scalars);
}

/// Records a step of Adam, or with a decay of AdamW.
///
/// # Panics
/// When the shapes do not fit.
#[expect(clippy::too_many_arguments, reason = "the windows of the kernel and its constants")]
pub fn adam(program: &mut Program, weight: Mat, gradient: Mat, m: Mat, v: Mat, control: Control, constants: Adam, decay: f32) {
    check(&[weight, gradient, m, v], &control);
    let Control { schedule, status, norm, .. } = control;
    let scalars = AdamScalars { constants, clipping: control.clipping(), decay };
    program.push(&ADAM, &[weight, gradient, m, v, schedule, status, norm], scalars);
}

/// Records a step of RMSprop or of Adagrad: `shares` are what is kept of v and what is added of g².
///
/// # Panics
/// When the shapes do not fit.
pub fn rmsprop(
    program: &mut Program,
    weight: Mat,
    gradient: Mat,
    v: Mat,
    control: Control,
    [kept, added]: [f32; 2],
    epsilon: f32,
) {
    check(&[weight, gradient, v], &control);
    let Control { schedule, status, norm, .. } = control;
    let scalars = RmsPropScalars { kept, added, epsilon, clipping: control.clipping() };
    program.push(&RMSPROP, &[weight, gradient, v, schedule, status, norm], scalars);
}

/// A dispatch for each block of values that fits, however long: its workgroups, of 64 invocations with 4 values each, lie in rows.
fn lower(step: &Step, cuts: &Cuts) -> Lowered {
    const VALUES: u32 = 256;
    let row = cuts.workgroups.min(64);
    let is_long = |w: &Mat| w.cols == step.windows[0].cols;
    let along: Vec<Along> = step.windows.iter().filter(|w| is_long(w)).copied().map(Along::Cols).collect();
    let piece = |c: std::ops::Range<u32>| {
        let groups = (c.end - c.start).div_ceil(VALUES);
        Piece {
            shader: 0,
            windows: step.windows.iter().map(|w| if is_long(w) { w.slice_cols(c.clone()) } else { *w }).collect(),
            scalars: step.scalars.clone(),
            grid: [groups.min(row), groups.div_ceil(row), 1],
            iterations: 1,
        }
    };
    let most = u64::from(row) * u64::from(cuts.workgroups) * u64::from(VALUES);
    Lowered::once(cuts.runs(step.windows[0].cols, &along, [4, 4], most).map(piece).collect())
}
