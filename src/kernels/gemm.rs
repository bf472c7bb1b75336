//! Matrix products: out = a·b, out + a·b, or a·bᵀ + bias.
//!
//! | kernel | a | b | out |
//! |---|---|---|---|
//! | [`NN`] | `[m, k]` | `[k, n]` | Σₖ a\[m,k\]·b\[k,n\] |
//! | [`NT`], [`NT_BIAS`] | `[m, k]` | `[n, k]` | Σₖ a\[m,k\]·b\[n,k\] |
//! | [`TN`] | `[k, m]` | `[k, n]` | Σₖ a\[k,m\]·b\[k,n\] |

use bytemuck::{Pod, Zeroable};

use super::NoScalars;
use crate::program::{Binding, Contents, Element, Kernel, Mat, Program, Step, View, all_windows, scalars, whole};
use crate::rounding::Terms;

mod cpu;
mod lower;
mod pack;
mod panels;
mod prefetch;
mod scratch;
mod thin;
mod tile;
mod variants;
use cpu::product;
pub(crate) use cpu::{PARALLEL, add_in_order};
pub(crate) use lower::{BY_64_128, BY_64_BY_16, BY_128, PIECE_TERMS, PieceScalars, Summing, Tile, share_out};
pub(crate) use pack::{pack_rows, transpose_into};
pub(crate) use panels::{Panels, Source};
pub(crate) use prefetch::prefetch;
pub(crate) use scratch::Scratch;
pub(crate) use tile::{Base, Group, TileSize};
pub(crate) use variants::{ADD_UP, LARGE, SUM, TILE_64_128, TILE_64_BY_16, TILE_128, fetch, sum_shader};

/// Which of the operands are transposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// a·b.
    NN,
    /// a·bᵀ.
    NT,
    /// aᵀ·b.
    TN,
}

/// What becomes of out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epilogue {
    /// Overwritten by the product.
    Store,
    /// The product is added to it.
    Add,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Accumulate {
    accumulate: u32,
}

/// Records out = a·b in the given form, or out + a·b.
///
/// # Panics
/// When the shapes do not fit.
pub fn gemm(program: &mut Program, form: Form, a: Mat, b: Mat, out: Mat, epilogue: Epilogue) {
    let (m, n, k) = extent(form, a, b);
    assert!(out.rows == m && out.cols == n && inner(form, b) == k, "{form:?} product: a {a:?}, b {b:?}, out {out:?}");
    let kernel = match form {
        Form::NN => &NN,
        Form::NT => &NT,
        Form::TN => &TN,
    };
    program.push(kernel, &[a, b, out], Accumulate { accumulate: u32::from(epilogue == Epilogue::Add) });
}

/// Records out = x·weightᵀ + bias: x `[m, k]`, weight `[n, k]`, bias `[1, n]`, out `[m, n]`.
///
/// # Panics
/// When the shapes do not fit.
pub fn linear(program: &mut Program, x: Mat, weight: Mat, bias: Mat, out: Mat) {
    assert!(
        x.cols == weight.cols && out.rows == x.rows && out.cols == weight.rows && (bias.rows, bias.cols) == (1, out.cols),
        "linear: x {x:?}, weight {weight:?}, bias {bias:?}, out {out:?}"
    );
    program.push(&NT_BIAS, &[x, weight, bias, out], NoScalars);
}

/// (m, n, k) of a product.
fn extent(form: Form, a: Mat, b: Mat) -> (u32, u32, u32) {
    match form {
        Form::NN => (a.rows, b.cols, a.cols),
        Form::NT => (a.rows, b.rows, a.cols),
        Form::TN => (a.cols, b.cols, a.rows),
    }
}

fn inner(form: Form, b: Mat) -> u32 {
    if form == Form::NT { b.cols } else { b.rows }
}

/// The factors of the k-th term of out\[m, n\].
fn factors(form: Form, a: &View<f64>, b: &View<f64>, m: usize, n: usize, k: usize) -> (f64, f64) {
    match form {
        Form::NN => (a.at(m, k), b.at(k, n)),
        Form::NT => (a.at(m, k), b.at(n, k)),
        Form::TN => (a.at(k, m), b.at(k, n)),
    }
}

/// The definition: out\[m, n\] = base\[m, n\] + Σₖ a·b, k ascending.
fn define(form: Form, a: &View<f64>, b: &View<f64>, out: &mut View<f64>, base: impl Fn(&View<f64>, usize, usize) -> f64) {
    let depth = if form == Form::TN { a.rows } else { a.cols };
    for m in 0..out.rows {
        for n in 0..out.cols {
            let terms = (0..depth).map(|k| factors(form, a, b, m, n, k));
            let sum = terms.fold(0.0, |sum, (x, w)| sum + x * w);
            out.set(m, n, base(out, m, n) + sum);
        }
    }
}

/// K products and the base: K roundings, one more with a base.
fn bound(form: Form, a: &View<f64>, b: &View<f64>, out: &mut View<f64>, base: impl Fn(&View<f64>, usize, usize) -> Option<f64>) {
    let depth = if form == Form::TN { a.rows } else { a.cols };
    for m in 0..out.rows {
        for n in 0..out.cols {
            let mut terms = Terms::default();
            for k in 0..depth {
                let (x, w) = factors(form, a, b, m, n, k);
                terms.product(x, w);
            }
            if let Some(base) = base(out, m, n) {
                terms.number(base);
            }
            out.set(m, n, terms.of_products());
        }
    }
}

fn define_sum(form: Form, views: &mut [View<f64>], bytes: &[u8]) {
    let [a, b, out] = views else { unreachable!("three windows") };
    let add = scalars::<Accumulate>(bytes).accumulate != 0;
    define(form, a, b, out, |out, m, n| if add { out.at(m, n) } else { 0.0 });
}

fn bound_sum(form: Form, views: &mut [View<f64>], bytes: &[u8]) {
    let [a, b, out] = views else { unreachable!("three windows") };
    let add = scalars::<Accumulate>(bytes).accumulate != 0;
    bound(form, a, b, out, |out, m, n| add.then(|| out.at(m, n)));
}

fn define_bias(views: &mut [View<f64>], _: &[u8]) {
    let [a, b, bias, out] = views else { unreachable!("four windows") };
    define(Form::NT, a, b, out, |_, _, n| bias.at(0, n));
}

fn bound_bias(views: &mut [View<f64>], _: &[u8]) {
    let [a, b, bias, out] = views else { unreachable!("four windows") };
    bound(Form::NT, a, b, out, |_, _, n| Some(bias.at(0, n)));
}

fn run_sum(form: Form, views: &mut [View<f32>], bytes: &[u8]) {
    let [a, b, out] = views else { unreachable!("three windows") };
    let base = if scalars::<Accumulate>(bytes).accumulate != 0 { Base::Out } else { Base::Nothing };
    product(form, a, b, out, base);
}

fn run_bias(views: &mut [View<f32>], _: &[u8]) {
    let [a, b, bias, out] = views else { unreachable!("four windows") };
    product(Form::NT, a, b, out, Base::Row(bias.row(0)));
}

const SUM_BINDINGS: &[Binding] = &[Binding::read("a"), Binding::read("b"), Binding::update("out")];
const BIAS_BINDINGS: &[Binding] = &[Binding::read("a"), Binding::read("b"), Binding::read("bias"), Binding::update("out")];
macro_rules! sum_kernel {
    ($(#[$doc:meta])* $name:ident, $label:literal, $form:expr) => {
        $(#[$doc])*
        pub static $name: Kernel = Kernel {
            name: $label,
            bindings: SUM_BINDINGS,
            scalars: &["accumulate"],
            definition: |views, bytes| define_sum($form, views, bytes),
            bound: |views, bytes| bound_sum($form, views, bytes),
            parts: whole,
            is_exact: |_| true,
            cpu: |views, bytes| run_sum($form, views, bytes),
            variants: variants::$name,
            bytes: all_windows,
            working,
            runs_beside: takes_one_thread,
            flops: |step| flops($form, step),
            sample: |program, size| sample($form, program, size),
        };
    };
}

sum_kernel!(
    /// out = a·b (+ out).
    NN, "gemm_nn", Form::NN
);
sum_kernel!(
    /// out = a·bᵀ (+ out).
    NT, "gemm_nt", Form::NT
);
sum_kernel!(
    /// out = aᵀ·b (+ out).
    TN, "gemm_tn", Form::TN
);

/// out = a·bᵀ + bias.
pub static NT_BIAS: Kernel = Kernel {
    name: "gemm_nt_bias",
    bindings: BIAS_BINDINGS,
    scalars: &[],
    definition: define_bias,
    bound: bound_bias,
    parts: whole,
    is_exact: |_| true,
    cpu: run_bias,
    variants: variants::NT_BIAS,
    bytes: all_windows,
    working,
    runs_beside: takes_one_thread,
    flops: |step| flops(Form::NT, step),
    sample: |program, [m, n, k]| {
        let (a, b) = (program.matrix("a", m, k), program.matrix("b", n, k));
        let (bias, out) = (program.matrix("bias", 1, n), program.matrix("out", m, n));
        linear(program, a, b, bias, out);
        vec![]
    },
};

fn sample(form: Form, program: &mut Program, [m, n, k]: [u32; 3]) -> Contents {
    let (a, b) = match form {
        Form::NN => ((m, k), (k, n)),
        Form::NT => ((m, k), (n, k)),
        Form::TN => ((k, m), (k, n)),
    };
    let (a, b, out) = (program.matrix("a", a.0, a.1), program.matrix("b", b.0, b.1), program.matrix("out", m, n));
    gemm(program, form, a, b, out, if k.is_multiple_of(2) { Epilogue::Add } else { Epilogue::Store });
    vec![]
}

fn flops(form: Form, step: &Step) -> u64 {
    let (m, n, k) = extent(form, step.windows[0], step.windows[1]);
    2 * u64::from(m) * u64::from(n) * u64::from(k)
}

/// Whether the CPU's function leaves the other threads idle.
fn takes_one_thread(step: &Step) -> bool {
    (step.kernel.flops)(step) < 2 * PARALLEL as u64
}

/// A block of one side in panels.
fn working(step: &Step) -> u64 {
    let out = step.windows[step.windows.len() - 1];
    (cpu::DEPTH as u64).min(step.windows[0].len() as u64) * u64::from(out.stride) * Element::SIZE
}
