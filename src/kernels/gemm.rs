//! Matrix products: out = a·b, out + a·b, or a·bᵀ + bias.
//!
//! | kernel | a | b | out |
//! |---|---|---|---|
//! | [`NN`] | `[m, k]` | `[k, n]` | Σₖ a\[m,k\]·b\[k,n\] |
//! | [`NT`], [`NT_BIAS`] | `[m, k]` | `[n, k]` | Σₖ a\[m,k\]·b\[n,k\] |
//! | [`TN`] | `[k, m]` | `[k, n]` | Σₖ a\[k,m\]·b\[k,n\] |

use bytemuck::{Pod, Zeroable};

use super::{Nothing, WINDOW, transpose};
use crate::program::{
    Binding, Class, Contents, Kernel, Mat, Needs, Program, Shader, Step, Variant, View, all_windows, scalars, whole,
};
use crate::rounding::Terms;

mod cpu;
mod lower;
mod pack;
mod panels;
mod prefetch;
mod scratch;
mod tile;
use cpu::product;
pub(crate) use cpu::{PARALLEL, split};
use lower::{
    BIAS_PARTS, BY_32, BY_64, BY_128_64, BY_COLUMNS, BY_LANES, BY_LANES_TN, BY_SUBGROUP, SKINNY_ROWS, SUM_PARTS, lower_lanes,
    lower_parts, lower_tiles,
};
pub(crate) use lower::{BUSY, BY_64_128, BY_128, PIECE_TERMS, SUMMED, Tile, share_out};
pub(crate) use pack::{pack_rows, transpose_into};
pub(crate) use panels::{Panels, Source};
pub(crate) use tile::{Base, Group};

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
    program.push(&NT_BIAS, &[x, weight, bias, out], Nothing);
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
const PIECE_SCALARS: &[&str] = &["k", "accumulate", "rows", "chunk"];

const SUM: &str = include_str!("../../shaders/shared/gemm_sum.wgsl");
const BIAS: &str = include_str!("../../shaders/shared/gemm_bias.wgsl");
const FOUR: &str = include_str!("../../shaders/shared/four.wgsl");
const NN_SOFTWARE: &str = include_str!("../../shaders/gemm_nn_software.wgsl");
const TN_SOFTWARE: &str = include_str!("../../shaders/gemm_tn_software.wgsl");
const NN_SUBGROUP: &str = include_str!("../../shaders/gemm_nn_subgroup.wgsl");
const TN_SUBGROUP: &str = include_str!("../../shaders/gemm_tn_subgroup.wgsl");
const TILED: &str = include_str!("../../shaders/gemm_tiled.wgsl");
pub(crate) const LARGE: &str = include_str!("../../shaders/gemm_large.wgsl");
const SKINNY: &str = include_str!("../../shaders/gemm_skinny.wgsl");
pub(crate) const SUM_PARTS_TEXT: &str = include_str!("../../shaders/sum_parts.wgsl");
const TILE_32: &str = include_str!("../../shaders/shared/tile_32.wgsl");
const TILE_64: &str = include_str!("../../shaders/shared/tile_64.wgsl");
pub(crate) const TILE_128: &str = include_str!("../../shaders/shared/tile_128.wgsl");
pub(crate) const TILE_64_128: &str = include_str!("../../shaders/shared/tile_64_128.wgsl");
const TILE_128_64: &str = include_str!("../../shaders/shared/tile_128_64.wgsl");
/// How the tiles of a plain product come to workgroup memory.
mod stage {
    pub const A_ROWS: &str = include_str!("../../shaders/shared/stage_a_rows.wgsl");
    pub const A_COLS: &str = include_str!("../../shaders/shared/stage_a_cols.wgsl");
    pub const B_ROWS: &str = include_str!("../../shaders/shared/stage_b_rows.wgsl");
    pub const B_COLS: &str = include_str!("../../shaders/shared/stage_b_cols.wgsl");
}
/// And those of a large one, by way of registers.
pub(crate) mod fetch {
    pub const A_ROWS: &str = include_str!("../../shaders/shared/fetch_a_rows.wgsl");
    pub const A_COLS: &str = include_str!("../../shaders/shared/fetch_a_cols.wgsl");
    pub const B_ROWS: &str = include_str!("../../shaders/shared/fetch_b_rows.wgsl");
    pub const B_COLS: &str = include_str!("../../shaders/shared/fetch_b_cols.wgsl");
}

const fn sum_shader(source: &'static [&'static str]) -> Shader {
    Shader { source, entry: "main", bindings: SUM_BINDINGS, scalars: PIECE_SCALARS }
}

const fn bias_shader(source: &'static [&'static str]) -> Shader {
    Shader { source, entry: "main", bindings: BIAS_BINDINGS, scalars: PIECE_SCALARS }
}

const SUM_PARTS_SHADER: Shader = Shader {
    source: &[WINDOW, include_str!("../../shaders/shared/parts_sum.wgsl"), SUM_PARTS_TEXT],
    entry: "main",
    bindings: &[Binding::read("parts"), Binding::update("out")],
    scalars: &["count", "accumulate"],
};
const BIAS_PARTS_SHADER: Shader = Shader {
    source: &[WINDOW, include_str!("../../shaders/shared/parts_bias.wgsl"), SUM_PARTS_TEXT],
    entry: "main",
    bindings: &[Binding::read("parts"), Binding::read("bias"), Binding::update("out")],
    scalars: &["count", "accumulate"],
};

/// Whether out has more rows, or columns, than a small tile.
fn is_long(form: Form, step: &Step) -> [bool; 2] {
    let (m, n, _) = extent(form, step.windows[0], step.windows[1]);
    [m, n].map(|side| side > 64)
}

/// Whether there are tiles of a size enough to keep a GPU busy, or terms enough to share out.
fn is_much(form: Form, step: &Step, tile: &Tile) -> bool {
    let (m, n, k) = extent(form, step.windows[0], step.windows[1]);
    m.div_ceil(tile.rows).saturating_mul(n.div_ceil(tile.cols)) >= BUSY / 2 || k >= 1024
}

fn is_small(form: Form, step: &Step) -> bool {
    let (m, n, _) = extent(form, step.windows[0], step.windows[1]);
    m.div_ceil(64).saturating_mul(n.div_ceil(64)) < BUSY / 4
}

fn is_skinny(form: Form, step: &Step) -> bool {
    extent(form, step.windows[0], step.windows[1]).0 <= SKINNY_ROWS
}

/// The shaders of large tiles: products whose sums are stored or added, and their parts.
macro_rules! sum_tiles {
    ($tile:expr, $a:ident, $b:ident) => {
        &[sum_shader(&[WINDOW, SUM, $tile, fetch::$a, fetch::$b, LARGE]), SUM_PARTS_SHADER]
    };
}

/// And of products with a bias, whose parts have none.
macro_rules! bias_tiles {
    ($tile:expr, $a:ident, $b:ident) => {
        &[
            bias_shader(&[WINDOW, BIAS, $tile, fetch::$a, fetch::$b, LARGE]),
            sum_shader(&[WINDOW, SUM, $tile, fetch::$a, fetch::$b, LARGE]),
            BIAS_PARTS_SHADER,
        ]
    };
}

/// The variants of a product in some form: `$shader` and `$head` say what becomes of its sums, `$large` makes the shaders of large tiles,
/// `$a` and `$b` say how its sides lie, and `$software` are the shaders for software adapters, with and without subgroups.
macro_rules! variants {
    ($form:expr, $shader:ident, $head:expr, $large:ident, $parts:expr, $a:ident, $b:ident, $software:expr $(, $skinny:expr)?) => {{
        const LARGE_TILES: Variant = Variant {
            name: "large",
            class: Class::Gpu,
            likely: |step| is_long($form, step) == [true, true] && is_much($form, step, &BY_128),
            shaders: $large!(TILE_128, $a, $b),
            lower: |step, cuts| lower_parts($form, step, &BY_128, $parts, cuts),
            ..Variant::PLAIN
        };
        const WIDE_TILES: Variant = Variant {
            name: "wide",
            class: Class::Gpu,
            likely: |step| is_long($form, step) == [false, true] && is_much($form, step, &BY_64_128),
            shaders: $large!(TILE_64_128, $a, $b),
            lower: |step, cuts| lower_parts($form, step, &BY_64_128, $parts, cuts),
            ..Variant::PLAIN
        };
        const TALL_TILES: Variant = Variant {
            name: "tall",
            class: Class::Gpu,
            likely: |step| is_long($form, step) == [true, false] && is_much($form, step, &BY_128_64),
            shaders: $large!(TILE_128_64, $a, $b),
            lower: |step, cuts| lower_parts($form, step, &BY_128_64, $parts, cuts),
            ..Variant::PLAIN
        };
        const SOFTWARE: [&[Shader]; 2] = $software;
        const VARIANTS: &[Variant] = &[
            Variant {
                name: "subgroup",
                class: Class::Software,
                needs: Needs { subgroup: 8 },
                shaders: SOFTWARE[0],
                lower: |step, cuts| lower_lanes($form, step, &BY_SUBGROUP, cuts),
                ..Variant::PLAIN
            },
            Variant {
                name: "software",
                class: Class::Software,
                shaders: SOFTWARE[1],
                lower: |step, cuts| lower_lanes($form, step, if $form == Form::TN { &BY_LANES_TN } else { &BY_LANES }, cuts),
                ..Variant::PLAIN
            },
            $(Variant {
                name: "skinny",
                class: Class::Gpu,
                can: |step, _| is_skinny($form, step),
                shaders: $skinny,
                lower: |step, cuts| lower_tiles($form, step, &BY_COLUMNS, cuts),
                ..Variant::PLAIN
            },)?
            LARGE_TILES.unchecked("large_unchecked"),
            LARGE_TILES,
            WIDE_TILES.unchecked("wide_unchecked"),
            WIDE_TILES,
            TALL_TILES.unchecked("tall_unchecked"),
            TALL_TILES,
            Variant {
                name: "small",
                class: Class::Gpu,
                likely: |step| is_small($form, step),
                shaders: &[$shader(&[WINDOW, $head, TILE_32, stage::$a, stage::$b, TILED])],
                lower: |step, cuts| lower_tiles($form, step, &BY_32, cuts),
                ..Variant::PLAIN
            },
            Variant {
                name: "tiled",
                class: Class::Gpu,
                shaders: &[$shader(&[WINDOW, $head, TILE_64, stage::$a, stage::$b, TILED])],
                lower: |step, cuts| lower_tiles($form, step, &BY_64, cuts),
                ..Variant::PLAIN
            },
        ];
        VARIANTS
    }};
}

macro_rules! sum_kernel {
    ($(#[$doc:meta])* $name:ident, $label:literal, $form:expr, $a:ident, $b:ident, $software:expr $(, $skinny:expr)?) => {
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
            variants: variants!($form, sum_shader, SUM, sum_tiles, SUM_PARTS, $a, $b, $software $(, $skinny)?),
            bytes: all_windows,
            working,
            flops: |step| flops($form, step),
            sample: |program, size| sample($form, program, size),
        };
    };
}

sum_kernel!(
    /// out = a·b (+ out).
    NN, "gemm_nn", Form::NN, A_ROWS, B_ROWS,
    [&[sum_shader(&[WINDOW, SUM, FOUR, NN_SUBGROUP])], &[sum_shader(&[WINDOW, SUM, NN_SOFTWARE])]]
);
sum_kernel!(
    /// out = a·bᵀ (+ out).
    NT, "gemm_nt", Form::NT, A_ROWS, B_COLS,
    [
        &[sum_shader(&[WINDOW, SUM, FOUR, NN_SUBGROUP]), transpose::SHADER],
        &[sum_shader(&[WINDOW, SUM, NN_SOFTWARE]), transpose::SHADER]
    ],
    &[sum_shader(&[WINDOW, SUM, SKINNY])]
);
sum_kernel!(
    /// out = aᵀ·b (+ out).
    TN, "gemm_tn", Form::TN, A_COLS, B_ROWS,
    [&[sum_shader(&[WINDOW, SUM, TN_SUBGROUP])], &[sum_shader(&[WINDOW, SUM, TN_SOFTWARE])]]
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
    variants: variants!(
        Form::NT,
        bias_shader,
        BIAS,
        bias_tiles,
        BIAS_PARTS,
        A_ROWS,
        B_COLS,
        [
            &[bias_shader(&[WINDOW, BIAS, FOUR, NN_SUBGROUP]), transpose::SHADER],
            &[bias_shader(&[WINDOW, BIAS, NN_SOFTWARE]), transpose::SHADER]
        ],
        &[bias_shader(&[WINDOW, BIAS, SKINNY])]
    ),
    bytes: all_windows,
    working,
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

/// A block of one side in panels.
fn working(step: &Step) -> u64 {
    let out = step.windows[step.windows.len() - 1];
    (cpu::DEPTH as u64).min(step.windows[0].len() as u64) * u64::from(out.stride) * 4
}
