//! Optimiser steps over whole arenas: SGD, momentum, and Adam (Kingma & Ba 2015), as PyTorch computes them.
//!
//! `schedule` `[1, 4]` holds what changes each step: learning rate, Adam's corrections 1/(1−β₁ᵗ) and 1/(1−β₂ᵗ), both
//! computed on the host in f64, and the row of the journal. `status` `[1, 4]` is not zero once training has diverged:
//! then nothing changes any more, so that the weights stay those of the last good step.

use bytemuck::{Pod, Zeroable};
use num_traits::Float;
use rayon::prelude::*;

use super::{Nothing, WINDOW, norm::over_values};
use crate::program::{
    Binding, Content, Contents, Kernel, Mat, Program, Shader, Variant, View, all_windows, little, scalars, whole,
};
use crate::rounding::{DIVISION, SQUARE_ROOT, TINY, Terms, U};
use crate::simd::arch;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Momentum {
    momentum: f32,
}

/// Adam's constants.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
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
                shaders: &[Shader { source: &[WINDOW, SHARED, include_str!($file)], entry: "main", bindings: $bindings, scalars: $scalars }],
                lower: |step, cuts| over_values(&step.windows, &step.scalars, cuts), ..Variant::PLAIN }],
            bytes: all_windows,
            working: little,
            flops: |step| $flops * step.windows[0].len() as u64,
            sample: $sample,
        };
    };
}

kernel!(
    /// w ← w − rate·g: weight and gradient `[1, n]`.
    SGD, "sgd", "../../shaders/sgd.wgsl",
    &[Binding::update("weight"), Binding::read("gradient"), Binding::read("schedule"), Binding::read("status")],
    &[], run_sgd, bound_sgd, 2,
    |program, size| {
        let ([weight, gradient, _, _, schedule, status], contents) = sample(program, size);
        sgd(program, weight, gradient, schedule, status);
        contents
    }
);
kernel!(
    /// m ← μ·m + g, w ← w − rate·m: weight, gradient and m `[1, n]`.
    MOMENTUM, "momentum", "../../shaders/momentum.wgsl",
    &[Binding::update("weight"), Binding::read("gradient"), Binding::update("m"), Binding::read("schedule"), Binding::read("status")],
    &["momentum"], run_momentum, bound_momentum, 4,
    |program, size| {
        let ([weight, gradient, m, _, schedule, status], contents) = sample(program, size);
        momentum(program, weight, gradient, m, schedule, status, 0.875);
        contents
    }
);
kernel!(
    /// m ← β₁·m + (1−β₁)·g, v ← β₂·v + (1−β₂)·g², w ← w − rate·c₁·m / (√(c₂·v) + ε): weight, gradient, m and v `[1, n]`.
    ADAM, "adam", "../../shaders/adam.wgsl",
    &[
        Binding::update("weight"), Binding::read("gradient"), Binding::update("m"), Binding::update("v"), Binding::read("schedule"),
        Binding::read("status"),
    ],
    &["beta1", "beta2", "epsilon"], run_adam, bound_adam, 12,
    |program, size| {
        let ([weight, gradient, m, v, schedule, status], contents) = sample(program, size);
        adam(program, weight, gradient, m, v, schedule, status, Adam::USUAL);
        contents
    }
);

fn sample(program: &mut Program, [m, n, k]: [u32; 3]) -> ([Mat; 6], Contents) {
    let mut row = |name: &str| program.matrix(name, 1, m * n);
    let [weight, gradient, mean, square] = ["weight", "gradient", "m", "v"].map(&mut row);
    let (schedule, status) = (program.matrix("schedule", 1, 4), program.matrix("status", 1, 4));
    // A rate of 0.1, and Adam's corrections of the third step.
    let rates = Content::Numbers(vec![0.1, 3.69, 333.7, 0.0]);
    let contents = vec![(square, Content::NotNegative), (schedule, rates), (status, sample_status(k))];
    ([weight, gradient, mean, square, schedule, status], contents)
}

/// The status of a sample: in one of three training has diverged.
pub(super) fn sample_status(k: u32) -> Content {
    Content::Numbers(vec![f32::from(u8::from(k % 3 == 1)), 0.0, 0.0, 0.0])
}

fn check(same: &[Mat], schedule: Mat, status: Mat) {
    let row = |m: &Mat| m.rows == 1 && m.cols == same[0].cols;
    let small = |m: Mat| (m.rows, m.cols) == (1, 4);
    assert!(
        same.iter().all(row) && small(schedule) && small(status),
        "update: {same:?}, schedule {schedule:?}, status {status:?}"
    );
}

/// Records a step of gradient descent.
///
/// # Panics
/// When the shapes do not fit.
pub fn sgd(program: &mut Program, weight: Mat, gradient: Mat, schedule: Mat, status: Mat) {
    check(&[weight, gradient], schedule, status);
    program.push(&SGD, &[weight, gradient, schedule, status], Nothing);
}

/// Records a step of gradient descent with momentum.
///
/// # Panics
/// When the shapes do not fit.
pub fn momentum(program: &mut Program, weight: Mat, gradient: Mat, m: Mat, schedule: Mat, status: Mat, momentum: f32) {
    check(&[weight, gradient, m], schedule, status);
    program.push(&MOMENTUM, &[weight, gradient, m, schedule, status], Momentum { momentum });
}

/// Records a step of Adam.
///
/// # Panics
/// When the shapes do not fit.
#[expect(clippy::too_many_arguments, reason = "each is a window of the contract")]
pub fn adam(program: &mut Program, weight: Mat, gradient: Mat, m: Mat, v: Mat, schedule: Mat, status: Mat, constants: Adam) {
    check(&[weight, gradient, m, v], schedule, status);
    program.push(&ADAM, &[weight, gradient, m, v, schedule, status], constants);
}

fn number<T: Float>(value: f32) -> T {
    T::from(value).expect("a float")
}

/// The values of a row in blocks of a fixed size, in parallel.
fn par_blocks<T: Send>(view: &mut [T]) -> impl IndexedParallelIterator<Item = &mut [T]> {
    view.par_chunks_mut(BLOCK)
}

const BLOCK: usize = 1 << 14;

fn run_sgd<T: Float + Send + Sync>(views: &mut [View<T>], _: &[u8]) {
    let [weight, gradient, schedule, status] = views else { unreachable!("four windows") };
    if status.at(0, 0) != T::zero() {
        return;
    }
    let rate = schedule.at(0, 0);
    par_blocks(weight.row_mut(0)).zip(gradient.row(0).par_chunks(BLOCK)).for_each(|(w, g)| {
        w.iter_mut().zip(g).for_each(|(w, &g)| *w = *w - rate * g);
    });
}

fn run_momentum<T: Float + Send + Sync>(views: &mut [View<T>], bytes: &[u8]) {
    let [weight, gradient, m, schedule, status] = views else { unreachable!("five windows") };
    if status.at(0, 0) != T::zero() {
        return;
    }
    let (rate, mu) = (schedule.at(0, 0), number::<T>(scalars::<Momentum>(bytes).momentum));
    par_blocks(weight.row_mut(0)).zip(par_blocks(m.row_mut(0))).zip(gradient.row(0).par_chunks(BLOCK)).for_each(|((w, m), g)| {
        for ((w, m), &g) in w.iter_mut().zip(m).zip(g) {
            *m = mu * *m + g;
            *w = *w - rate * *m;
        }
    });
}

fn run_adam<T: Float + Send + Sync>(views: &mut [View<T>], bytes: &[u8]) {
    let [weight, gradient, m, v, schedule, status] = views else { unreachable!("six windows") };
    if status.at(0, 0) != T::zero() {
        return;
    }
    let constants: Adam = scalars(bytes);
    let (b1, b2, epsilon) = (number::<T>(constants.beta1), number::<T>(constants.beta2), number::<T>(constants.epsilon));
    let (a1, a2) = (T::one() - b1, T::one() - b2);
    let (rate, correct) = (schedule.at(0, 0) * schedule.at(0, 1), schedule.at(0, 2));
    let moments = par_blocks(m.row_mut(0)).zip(par_blocks(v.row_mut(0)));
    par_blocks(weight.row_mut(0)).zip(moments).zip(gradient.row(0).par_chunks(BLOCK)).for_each(|((w, (m, v)), g)| {
        arch().dispatch(|| {
            for (((w, m), v), &g) in w.iter_mut().zip(&mut *m).zip(&mut *v).zip(g) {
                *m = b1 * *m + a1 * g;
                *v = b2 * *v + a2 * g * g;
                *w = *w - rate * *m / ((correct * *v).sqrt() + epsilon);
            }
        });
    });
}

/// Whether nothing changes: then everything is exact.
fn is_halted(status: f64, written: &mut [&mut View<f64>]) -> bool {
    if status != 0.0 {
        written.iter_mut().for_each(|view| view.row_mut(0).fill(0.0));
    }
    status != 0.0
}

/// w − rate·g: a product and a sum.
fn bound_sgd(views: &mut [View<f64>], _: &[u8]) {
    let [weight, gradient, schedule, status] = views else { unreachable!("four windows") };
    if is_halted(status.at(0, 0), &mut [weight]) {
        return;
    }
    let rate = schedule.at(0, 0);
    for (w, &g) in weight.row_mut(0).iter_mut().zip(gradient.row(0)) {
        *w = stepped(*w, rate, g, 0.0);
    }
}

/// How far w − rate·x is off, of an x that is itself off by `off`.
fn stepped(w: f64, rate: f64, x: f64, off: f64) -> f64 {
    let mut terms = Terms::default();
    terms.number(w);
    terms.product(rate, x);
    terms.of_products() + (1.0 + 2.0 * U) * rate.abs() * off
}

/// The mean's product and sum, and what they do to w.
fn bound_momentum(views: &mut [View<f64>], bytes: &[u8]) {
    let [weight, gradient, m, schedule, status] = views else { unreachable!("five windows") };
    if is_halted(status.at(0, 0), &mut [weight, m]) {
        return;
    }
    let (rate, mu) = (schedule.at(0, 0), f64::from(scalars::<Momentum>(bytes).momentum));
    for ((w, m), &g) in weight.row_mut(0).iter_mut().zip(m.row_mut(0)).zip(gradient.row(0)) {
        let mut terms = Terms::default();
        terms.product(mu, *m);
        terms.number(g);
        let off = terms.of_products();
        (*w, *m) = (stepped(*w, rate, mu * *m + g, off), off);
    }
}

/// The moments' sums of products, of which g² has one more; then a quotient of two products by a root and ε: relative errors add up.
fn bound_adam(views: &mut [View<f64>], bytes: &[u8]) {
    let [weight, gradient, m, v, schedule, status] = views else { unreachable!("six windows") };
    if is_halted(status.at(0, 0), &mut [weight, m, v]) {
        return;
    }
    let constants: Adam = scalars(bytes);
    let [b1, b2, epsilon] = [constants.beta1, constants.beta2, constants.epsilon].map(f64::from);
    let (rate, correct) = (schedule.at(0, 0) * schedule.at(0, 1), schedule.at(0, 2));
    let moments = m.row_mut(0).iter_mut().zip(v.row_mut(0));
    for ((w, (m, v)), &g) in weight.row_mut(0).iter_mut().zip(moments).zip(gradient.row(0)) {
        let (mut mean, mut square) = (Terms::default(), Terms::default());
        mean.product(b1, *m);
        mean.product(1.0 - b1, g);
        square.product(b2, *v);
        square.product((1.0 - b2) * g, g);
        let (mean_off, square_off) = (mean.of_products(), square.of_products() + U * (1.0 - b2) * g * g);
        let (mean, square) = (b1 * *m + (1.0 - b1) * g, b2 * *v + (1.0 - b2) * g * g);
        let root = (correct * square).sqrt();
        // √(x + d) is within √x·d/2x of √x, and within √d.
        let square_off_now = correct * square_off + U * correct * square + TINY;
        let root_off = (square_off_now.sqrt()).min(square_off_now / root) + SQUARE_ROOT * root;
        let below = root + epsilon;
        if below.is_infinite() {
            // Nothing is taken from w, unless its mean is infinite as well.
            (*w, *m, *v) = (U * w.abs() + TINY, mean_off, square_off);
            continue;
        }
        let relative = (root_off + U * below) / below + DIVISION + 3.0 * U;
        let off = rate.abs() * (mean_off + mean.abs() * relative) / below + TINY;
        *w = U * (w.abs() + (rate * mean / below).abs()) + off * (1.0 + 2.0 * U);
        (*m, *v) = (mean_off, square_off);
    }
}
