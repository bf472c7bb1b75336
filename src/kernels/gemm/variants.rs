//! The variants of products on GPUs: what their shaders are made of, and how each is lowered.

use super::lower::{
    BIAS_PARTS, BUSY, BY_32, BY_64, BY_64_128, BY_128, BY_128_64, BY_128_BY_16, BY_COLUMNS, BY_LANES, BY_LANES_TN, BY_SUBGROUP,
    SKINNY_ROWS, SUM_PARTS, Tile, has_room, lower_lanes, lower_parts, lower_tiles, lower_turned,
};
use super::{BIAS_BINDINGS, Form, SUM_BINDINGS, extent};
use crate::kernels::{WINDOW, transpose};
use crate::program::{Binding, Class, Needs, Shader, Step, Variant};

const PIECE_SCALARS: &[&str] = &["k", "accumulate", "rows", "chunk"];

pub(crate) const SUM: &str = include_str!("../../../shaders/shared/gemm_sum.wgsl");
const BIAS: &str = include_str!("../../../shaders/shared/gemm_bias.wgsl");
const FOUR: &str = include_str!("../../../shaders/shared/four.wgsl");
const NN_SOFTWARE: &str = include_str!("../../../shaders/gemm_nn_software.wgsl");
const TN_SOFTWARE: &str = include_str!("../../../shaders/gemm_tn_software.wgsl");
const NN_SUBGROUP: &str = include_str!("../../../shaders/gemm_nn_subgroup.wgsl");
const TN_SUBGROUP: &str = include_str!("../../../shaders/gemm_tn_subgroup.wgsl");
const TILED: &str = include_str!("../../../shaders/gemm_tiled.wgsl");
pub(crate) const LARGE: &str = include_str!("../../../shaders/gemm_large.wgsl");
const SKINNY: &str = include_str!("../../../shaders/gemm_skinny.wgsl");
pub(crate) const ADD_UP: &str = include_str!("../../../shaders/shared/add_up.wgsl");
const SUM_PARTS_TEXT: &str = include_str!("../../../shaders/sum_parts.wgsl");
const TILE_32: &str = include_str!("../../../shaders/shared/tile_32.wgsl");
const TILE_64: &str = include_str!("../../../shaders/shared/tile_64.wgsl");
pub(crate) const TILE_128: &str = include_str!("../../../shaders/shared/tile_128.wgsl");
pub(crate) const TILE_64_BY_16: &str = include_str!("../../../shaders/shared/tile_64_by_16.wgsl");
const TILE_128_BY_16: &str = include_str!("../../../shaders/shared/tile_128_by_16.wgsl");
pub(crate) const TILE_64_128: &str = include_str!("../../../shaders/shared/tile_64_128.wgsl");
const TILE_128_64: &str = include_str!("../../../shaders/shared/tile_128_64.wgsl");
/// How the tiles of a plain product come to workgroup memory.
mod stage {
    pub const A_ROWS: &str = include_str!("../../../shaders/shared/stage_a_rows.wgsl");
    pub const A_COLS: &str = include_str!("../../../shaders/shared/stage_a_cols.wgsl");
    pub const B_ROWS: &str = include_str!("../../../shaders/shared/stage_b_rows.wgsl");
    pub const B_COLS: &str = include_str!("../../../shaders/shared/stage_b_cols.wgsl");
}
/// And those of a large one, by way of registers.
pub(crate) mod fetch {
    pub const A_ROWS: &str = include_str!("../../../shaders/shared/fetch_a_rows.wgsl");
    pub const A_COLS: &str = include_str!("../../../shaders/shared/fetch_a_cols.wgsl");
    pub const B_ROWS: &str = include_str!("../../../shaders/shared/fetch_b_rows.wgsl");
    pub const B_COLS: &str = include_str!("../../../shaders/shared/fetch_b_cols.wgsl");
}

/// A product whose sums are stored, or those of its parts.
pub(crate) const fn sum_shader(source: &'static [&'static str]) -> Shader {
    Shader::new(source, "main", SUM_BINDINGS, PIECE_SCALARS)
}

const fn bias_shader(source: &'static [&'static str]) -> Shader {
    Shader::new(source, "main", BIAS_BINDINGS, PIECE_SCALARS)
}

const SUM_PARTS_SHADER: Shader = Shader::new(
    &[WINDOW, include_str!("../../../shaders/shared/parts_sum.wgsl"), ADD_UP, SUM_PARTS_TEXT],
    "main",
    &[Binding::read("parts"), Binding::update("out")],
    &["count", "lanes", "accumulate"],
)
.in_bounds();
const BIAS_PARTS_SHADER: Shader = Shader::new(
    &[WINDOW, include_str!("../../../shaders/shared/parts_bias.wgsl"), ADD_UP, SUM_PARTS_TEXT],
    "main",
    &[Binding::read("parts"), Binding::read("bias"), Binding::update("out")],
    &["count", "lanes", "accumulate"],
)
.in_bounds();

/// Whether out has more rows, or columns, than a small tile.
fn is_long(form: Form, step: &Step) -> [bool; 2] {
    let (m, n, _) = extent(form, step.windows[0], step.windows[1]);
    [m, n].map(|side| side > 64)
}

/// Whether there are tiles of a size enough to keep a GPU busy, or terms enough to share out.
fn is_much(form: Form, step: &Step, tile: &Tile) -> bool {
    let (m, n, k) = extent(form, step.windows[0], step.windows[1]);
    tile.sums(m, n) >= tile.busy / 2 || k >= 1024
}

fn is_small(form: Form, step: &Step) -> bool {
    let (m, n, _) = extent(form, step.windows[0], step.windows[1]);
    BY_64.sums(m, n) < BUSY / 16
}

fn is_skinny(form: Form, step: &Step) -> bool {
    extent(form, step.windows[0], step.windows[1]).0 <= SKINNY_ROWS
}

/// Whether turning a side takes little of a product's time, and its large tiles are a GPU's load.
fn is_worth_turning(form: Form, step: &Step) -> bool {
    let (m, n, k) = extent(form, step.windows[0], step.windows[1]);
    m.min(n) >= 512 && (form == Form::TN || m.min(n).min(k) >= 1024) && is_much(form, step, &BY_128_BY_16)
}

/// The shaders of large tiles: products whose sums are stored or added, and their parts.
macro_rules! sum_tiles {
    ($tile:expr, $a:ident, $b:ident $(, $more:expr)?) => {
        &[sum_shader(&[WINDOW, SUM, $tile, fetch::$a, fetch::$b, LARGE]).in_bounds(), SUM_PARTS_SHADER $(, $more)?]
    };
}

/// And of products with a bias, whose parts have none.
macro_rules! bias_tiles {
    ($tile:expr, $a:ident, $b:ident $(, $more:expr)?) => {
        &[
            bias_shader(&[WINDOW, BIAS, $tile, fetch::$a, fetch::$b, LARGE]).in_bounds(),
            sum_shader(&[WINDOW, SUM, $tile, fetch::$a, fetch::$b, LARGE]).in_bounds(),
            BIAS_PARTS_SHADER,
            $($more,)?
        ]
    };
}

/// The variants of a product in some form: `$shader` and `$head` say what becomes of its sums, `$large` makes the shaders of large tiles,
/// `$a` and `$b` say how its sides lie, `$turn` turns one that does not lie as in aᵀ·b, and `$software` are the shaders for software adapters, with and without subgroups.
macro_rules! variants {
    ($form:expr, $shader:ident, $head:expr, $large:ident, $parts:expr, $a:ident, $b:ident, [$($turn:expr)?], $software:expr $(, $skinny:expr)?) => {{
        const LARGE_TILES: Variant = Variant {
            name: "large",
            class: Class::Gpu,
            likely: |step| is_long($form, step) == [true, true] && is_much($form, step, &BY_128),
            shaders: $large!(TILE_128, $a, $b),
            lower: |step, cuts| lower_parts($form, step, &BY_128, $parts, cuts),
            ..Variant::PLAIN
        };
        const LARGE_16: Variant = Variant {
            name: "large_16",
            class: Class::Gpu,
            can: |step, cuts| has_room($form, step, cuts),
            likely: |step| is_worth_turning($form, step),
            shaders: $large!(TILE_128_BY_16, A_COLS, B_ROWS $(, $turn)?),
            lower: |step, cuts| lower_turned($form, step, &BY_128_BY_16, $parts, cuts),
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
                needs: Needs { subgroup: 8, ..Needs::NOTHING },
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
            LARGE_16.unchecked("large_16_unchecked"),
            LARGE_16,
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

/// Of a·b.
pub(super) const NN: &[Variant] = variants!(
    Form::NN,
    sum_shader,
    SUM,
    sum_tiles,
    SUM_PARTS,
    A_ROWS,
    B_ROWS,
    [transpose::SHADER],
    [&[sum_shader(&[WINDOW, SUM, FOUR, NN_SUBGROUP])], &[sum_shader(&[WINDOW, SUM, NN_SOFTWARE])]]
);

/// Of a·bᵀ.
pub(super) const NT: &[Variant] = variants!(
    Form::NT,
    sum_shader,
    SUM,
    sum_tiles,
    SUM_PARTS,
    A_ROWS,
    B_COLS,
    [transpose::SHADER],
    [
        &[sum_shader(&[WINDOW, SUM, FOUR, NN_SUBGROUP]), transpose::SHADER],
        &[sum_shader(&[WINDOW, SUM, NN_SOFTWARE]), transpose::SHADER]
    ],
    &[sum_shader(&[WINDOW, SUM, SKINNY])]
);

/// Of aᵀ·b.
pub(super) const TN: &[Variant] = variants!(
    Form::TN,
    sum_shader,
    SUM,
    sum_tiles,
    SUM_PARTS,
    A_COLS,
    B_ROWS,
    [],
    [&[sum_shader(&[WINDOW, SUM, TN_SUBGROUP])], &[sum_shader(&[WINDOW, SUM, TN_SOFTWARE])]]
);

/// Of a·bᵀ + bias.
pub(super) const NT_BIAS: &[Variant] = variants!(
    Form::NT,
    bias_shader,
    BIAS,
    bias_tiles,
    BIAS_PARTS,
    A_ROWS,
    B_COLS,
    [transpose::SHADER],
    [
        &[bias_shader(&[WINDOW, BIAS, FOUR, NN_SUBGROUP]), transpose::SHADER],
        &[bias_shader(&[WINDOW, BIAS, NN_SOFTWARE]), transpose::SHADER]
    ],
    &[bias_shader(&[WINDOW, BIAS, SKINNY])]
);
