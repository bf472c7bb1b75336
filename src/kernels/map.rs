//! An activation over a whole matrix, and its gradient: for programs of one's own; a recurrence has its own inside.

use bytemuck::{Pod, Zeroable};
use num_traits::Float;

use super::{ACTIVATION, EXP, WINDOW, fill::over_rows};
use crate::Activation;
use crate::program::{Binding, Content, Kernel, Mat, Program, Shader, Step, Variant, View, all_windows, little, scalars, whole};
use crate::rounding::{TINY, U, flushed};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Code {
    activation: u32,
}

const SOURCE: &[&str] = &[WINDOW, EXP, ACTIVATION, include_str!("../../shaders/map.wgsl")];
const SHADER_BINDINGS: &[Binding] = &[Binding::read("x"), Binding::update("out")];

macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident, $label:literal, $entry:literal, $bindings:expr, $define:expr, $bound:expr, $cpu:expr, $sample:expr) => {
        $(#[$doc])*
        pub static $name: Kernel = Kernel {
            name: $label,
            bindings: $bindings,
            scalars: &["activation"],
            definition: $define,
            bound: $bound,
            parts: whole,
            is_exact: keeps_integers,
            cpu: $cpu,
            variants: &[Variant {
                name: "rows",
                shaders: &[Shader::new(SOURCE, $entry, SHADER_BINDINGS, &["activation"])],
                lower: |step, cuts| over_rows(&step.windows, &step.scalars, cuts), ..Variant::PLAIN }],
            bytes: all_windows,
            working: little,
            runs_beside: |_| true,
            flops: |step| step.windows[0].len() as u64,
            sample: $sample,
        };
    };
}

kernel!(
    /// out = φ(x), of the same shape.
    ACTIVATE, "activate", "value", &[Binding::read("x"), Binding::write("out")], define, bound, run,
    |program, [m, n, k]| {
        let (x, out) = (program.matrix("x", m, n), program.matrix("out", m, n));
        activate(program, Activation::ALL[k as usize % Activation::ALL.len()], x, out);
        vec![]
    }
);
kernel!(
    /// d ← d ⊙ φ′ from h = φ, of the same shape.
    ACTIVATE_GRADIENT, "activate_gradient", "gradient", &[Binding::read("h"), Binding::update("d")], define_gradient, bound_gradient, define_gradient,
    |program, [m, n, k]| {
        let (h, d) = (program.matrix("h", m, n), program.matrix("d", m, n));
        activate_gradient(program, Activation::ALL[k as usize % Activation::ALL.len()], h, d);
        vec![(h, Content::State)]
    }
);

/// Records out = φ(x).
///
/// # Panics
/// When the shapes differ.
pub fn activate(program: &mut Program, activation: Activation, x: Mat, out: Mat) {
    assert!((x.rows, x.cols) == (out.rows, out.cols), "activate: x {x:?}, out {out:?}");
    program.push(&ACTIVATE, &[x, out], Code { activation: activation.code() });
}

/// Records d ← d ⊙ φ′, from h = φ(a).
///
/// # Panics
/// When the shapes differ.
pub fn activate_gradient(program: &mut Program, activation: Activation, h: Mat, d: Mat) {
    assert!((h.rows, h.cols) == (d.rows, d.cols), "activation's gradient: h {h:?}, d {d:?}");
    program.push(&ACTIVATE_GRADIENT, &[h, d], Code { activation: activation.code() });
}

fn define<T: Float>(views: &mut [View<T>], bytes: &[u8]) {
    let [x, out] = views else { unreachable!("two windows") };
    let activation = Activation::coded(scalars::<Code>(bytes).activation);
    for r in 0..x.rows {
        out.row_mut(r).iter_mut().zip(x.row(r)).for_each(|(out, &x)| *out = activation.value(x));
    }
}

fn bound(views: &mut [View<f64>], bytes: &[u8]) {
    let [x, out] = views else { unreachable!("two windows") };
    let activation = Activation::coded(scalars::<Code>(bytes).activation);
    for r in 0..x.rows {
        out.row_mut(r).iter_mut().zip(x.row(r)).for_each(|(out, &x)| *out = activation.error(activation.value(x)));
    }
}

fn keeps_integers(step: &Step) -> bool {
    Activation::coded(step.scalars::<Code>().activation).keeps_integers()
}

fn run(views: &mut [View<f32>], bytes: &[u8]) {
    let [x, out] = views else { unreachable!("two windows") };
    let activation = Activation::coded(scalars::<Code>(bytes).activation);
    for r in 0..x.rows {
        out.row_mut(r).copy_from_slice(x.row(r));
        activation.apply(out.row_mut(r));
    }
}

fn define_gradient<T: Float>(views: &mut [View<T>], bytes: &[u8]) {
    let [h, d] = views else { unreachable!("two windows") };
    let activation = Activation::coded(scalars::<Code>(bytes).activation);
    for r in 0..h.rows {
        d.row_mut(r).iter_mut().zip(h.row(r)).for_each(|(d, &h)| *d = *d * activation.derivative(h));
    }
}

/// The derivative's error times d, and the product's rounding.
fn bound_gradient(views: &mut [View<f64>], bytes: &[u8]) {
    let [h, d] = views else { unreachable!("two windows") };
    let activation = Activation::coded(scalars::<Code>(bytes).activation);
    for r in 0..h.rows {
        for (d, &h) in d.row_mut(r).iter_mut().zip(h.row(r)) {
            let (slope, off) = (activation.derivative(h), activation.derivative_error(h));
            // A factor of 0 or 1 rounds nothing.
            let rounding = if off > 0.0 { U * (*d * slope).abs() + TINY } else { 0.0 };
            *d = d.abs() * off + flushed(*d) * slope.abs() + rounding;
        }
    }
}
