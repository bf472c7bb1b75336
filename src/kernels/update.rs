//! Optimiser steps over whole arenas: SGD, momentum, and Adam (Kingma & Ba 2015), as PyTorch computes them.
//!
//! `schedule` `[1, 4]` holds what changes each step: learning rate, Adam's corrections 1/(1−β₁ᵗ) and 1/(1−β₂ᵗ), both
//! computed on the host in f64, and the row of the journal. `status` `[1, 4]` is not zero once training has diverged:
//! then nothing changes any more, so that the weights stay those of the last good step.

use bytemuck::{Pod, Zeroable};
use num_traits::Float;
use rayon::prelude::*;

use super::{Nothing, WINDOW, norm::over_values};
use crate::program::{Binding, Class, Kernel, Mat, Program, Shader, Variant, View, scalars};

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
    ($(#[$doc:meta])* $name:ident, $label:literal, $file:literal, $bindings:expr, $scalars:expr, $run:ident, $flops:literal, $sample:expr) => {
        $(#[$doc])*
        pub static $name: Kernel = Kernel {
            name: $label,
            bindings: $bindings,
            scalars: $scalars,
            definition: $run,
            cpu: $run,
            variants: &[Variant {
                name: "vectors",
                class: Class::Any,
                shaders: &[Shader { source: &[WINDOW, SHARED, include_str!($file)], entry: "main", bindings: $bindings, scalars: $scalars }],
                lower: |step, cuts| over_values(&step.windows, &step.scalars, cuts),
            }],
            flops: |step| $flops * step.windows[0].len() as u64,
            sample: $sample,
        };
    };
}

kernel!(
    /// w ← w − rate·g: weight and gradient `[1, n]`.
    SGD, "sgd", "../../shaders/sgd.wgsl",
    &[Binding::update("weight"), Binding::read("gradient"), Binding::read("schedule"), Binding::read("status")],
    &[], run_sgd, 2,
    |program, size| {
        let [weight, gradient, _, _, schedule, status] = sample(program, size);
        sgd(program, weight, gradient, schedule, status);
        vec![]
    }
);
kernel!(
    /// m ← μ·m + g, w ← w − rate·m: weight, gradient and m `[1, n]`.
    MOMENTUM, "momentum", "../../shaders/momentum.wgsl",
    &[Binding::update("weight"), Binding::read("gradient"), Binding::update("m"), Binding::read("schedule"), Binding::read("status")],
    &["momentum"], run_momentum, 4,
    |program, size| {
        let [weight, gradient, m, _, schedule, status] = sample(program, size);
        momentum(program, weight, gradient, m, schedule, status, 0.875);
        vec![]
    }
);
kernel!(
    /// m ← β₁·m + (1−β₁)·g, v ← β₂·v + (1−β₂)·g², w ← w − rate·c₁·m / (√(c₂·v) + ε): weight, gradient, m and v `[1, n]`.
    ADAM, "adam", "../../shaders/adam.wgsl",
    &[
        Binding::update("weight"), Binding::read("gradient"), Binding::update("m"), Binding::update("v"), Binding::read("schedule"),
        Binding::read("status"),
    ],
    &["beta1", "beta2", "epsilon"], run_adam, 12,
    |program, size| {
        let [weight, gradient, m, v, schedule, status] = sample(program, size);
        adam(program, weight, gradient, m, v, schedule, status, Adam::USUAL);
        vec![]
    }
);

fn sample(program: &mut Program, [m, n, _]: [u32; 3]) -> [Mat; 6] {
    let mut row = |name: &str| program.matrix(name, 1, m * n);
    let [weight, gradient, mean, square] = ["weight", "gradient", "m", "v"].map(&mut row);
    [weight, gradient, mean, square, program.matrix("schedule", 1, 4), program.matrix("status", 1, 4)]
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
        pulp::Arch::new().dispatch(|| {
            for (((w, m), v), &g) in w.iter_mut().zip(&mut *m).zip(&mut *v).zip(g) {
                *m = b1 * *m + a1 * g;
                *v = b2 * *v + a2 * g * g;
                *w = *w - rate * *m / ((correct * *v).sqrt() + epsilon);
            }
        });
    });
}
