//! The variants of recurrences on GPUs, for every cell and both directions: what their shaders are made of, and how each is lowered.

/// What the shaders of all recurrences are made of.
pub(crate) mod text {
    pub const WINDOW: &str = include_str!("../../../shaders/shared/window.wgsl");
    pub const TIME: &str = include_str!("../../../shaders/shared/time.wgsl");
    pub const EXP: &str = include_str!("../../../shaders/shared/exp.wgsl");
    pub const ACTIVATION: &str = include_str!("../../../shaders/shared/activation.wgsl");
    pub const BIND_FORWARD: &str = include_str!("../../../shaders/shared/bind_forward.wgsl");
    pub const BIND_BACKWARD: &str = include_str!("../../../shaders/shared/bind_backward.wgsl");
    pub const STEP_FORWARD: &str = include_str!("../../../shaders/shared/step_forward.wgsl");
    pub const STEP_BACKWARD: &str = include_str!("../../../shaders/shared/step_backward.wgsl");
    pub const PARTS_FORWARD: &str = include_str!("../../../shaders/shared/parts_forward.wgsl");
    pub const PARTS_BACKWARD: &str = include_str!("../../../shaders/shared/parts_backward.wgsl");
    pub const FINISH: &str = include_str!("../../../shaders/shared/finish.wgsl");
    pub const FOUR: &str = include_str!("../../../shaders/shared/four.wgsl");
    pub const UNITS_64: &str = include_str!("../../../shaders/shared/units_64.wgsl");
    pub const UNITS_128: &str = include_str!("../../../shaders/shared/units_128.wgsl");
    pub const SUBGROUP: &str = include_str!("../../../shaders/recurrence_subgroup.wgsl");
    pub const SOFTWARE: &str = include_str!("../../../shaders/recurrence_software.wgsl");
    pub const SEQUENCE: &str = include_str!("../../../shaders/recurrence_sequence.wgsl");
    pub const SKINNY: &str = include_str!("../../../shaders/recurrence_skinny.wgsl");
    pub const NARROW: &str = include_str!("../../../shaders/recurrence_narrow.wgsl");
    pub const TILED: &str = include_str!("../../../shaders/recurrence_tiled.wgsl");
}

/// The shaders of a variant that multiplies and calls the cell in one dispatch.
macro_rules! fused {
    ([$unit:expr, $bind:expr, $step:expr], $bindings:expr, [$($text:expr),*]) => {{
        use $crate::kernels::recurrence::{self, text};
        const SHADERS: &[$crate::program::Shader] = &[
            $crate::program::Shader {
                source: &[text::WINDOW, text::TIME, text::EXP, text::ACTIVATION, $unit, $bind, $step, text::FINISH, $($text),*],
                entry: "main",
                bindings: $bindings,
                scalars: recurrence::PIECE_SCALARS,
            },
            recurrence::COPY,
        ];
        SHADERS
    }};
}

/// The shaders of a variant that leaves the sums over parts of k in scratch memory, and then adds them up and calls the cell.
macro_rules! in_parts {
    ([$unit:expr, $bind:expr, $step:expr], $bindings:expr, $product:expr) => {{
        use $crate::kernels::{gemm, recurrence, recurrence::text};
        const SHADERS: &[$crate::program::Shader] = &[
            $product,
            recurrence::COPY,
            $crate::program::Shader {
                source: &[text::WINDOW, text::TIME, text::EXP, text::ACTIVATION, $unit, $bind, $step, gemm::SUM_PARTS_TEXT],
                entry: "main",
                bindings: $bindings,
                scalars: recurrence::PARTS_SCALARS,
            },
        ];
        SHADERS
    }};
}

/// The variants of a cell's recurrence in a direction, from the texts of its cell and of the direction: `$fused` binds shaders that do it in
/// one dispatch, and `$parts` those that add up parts.
macro_rules! variants {
    ($unit:expr, [$bind:expr, $step:expr, $bind_parts:expr], $bindings:expr, $parts:expr, $lower:path) => {{
        use $crate::kernels::gemm;
        use $crate::kernels::recurrence::{self, Way, fused, in_parts};
        use $crate::program::{Class, Needs, Variant};
        const NARROW: Variant = Variant {
            name: "narrow",
            class: Class::Gpu,
            likely: recurrence::is_middling,
            shaders: fused!([$unit, $bind, $step], $bindings, [text::FOUR, text::NARROW]),
            lower: |step, cuts| $lower(step, cuts, Way::Fused(recurrence::NARROW)),
            ..Variant::PLAIN
        };
        const WIDE: Variant = Variant {
            name: "wide",
            class: Class::Gpu,
            can: |step, cuts| recurrence::has_room(step, cuts),
            likely: |step| recurrence::is_large(step, 64),
            shaders: in_parts!([$unit, $bind_parts, $step], $parts, recurrence::WIDE_PRODUCT),
            lower: |step, cuts| $lower(step, cuts, Way::Parts(gemm::BY_64_128)),
            ..Variant::PLAIN
        };
        const LARGE: Variant = Variant {
            name: "large",
            class: Class::Gpu,
            can: |step, cuts| recurrence::has_room(step, cuts),
            likely: |step| recurrence::is_large(step, u32::MAX),
            shaders: in_parts!([$unit, $bind_parts, $step], $parts, recurrence::LARGE_PRODUCT),
            lower: |step, cuts| $lower(step, cuts, Way::Parts(gemm::BY_128)),
            ..Variant::PLAIN
        };
        const VARIANTS: &[Variant] = &[
            Variant {
                name: "subgroup",
                class: Class::Software,
                needs: Needs { subgroup: 8 },
                shaders: fused!([$unit, $bind, $step], $bindings, [text::FOUR, text::SUBGROUP]),
                lower: |step, cuts| $lower(step, cuts, Way::Fused(recurrence::BY_SUBGROUP)),
                ..Variant::PLAIN
            },
            Variant {
                name: "software",
                class: Class::Software,
                shaders: fused!([$unit, $bind, $step], $bindings, [text::SOFTWARE]),
                lower: |step, cuts| $lower(step, cuts, Way::Fused(recurrence::BY_LANES)),
                ..Variant::PLAIN
            },
            Variant {
                name: "sequence_64",
                class: Class::Gpu,
                can: |step, cuts| recurrence::has_units(step, cuts, 64),
                shaders: fused!([$unit, $bind, $step], $bindings, [text::UNITS_64, text::SEQUENCE]),
                lower: |step, cuts| $lower(step, cuts, Way::Fused(recurrence::BY_SEQUENCE)),
                ..Variant::PLAIN
            },
            Variant {
                name: "sequence_128",
                class: Class::Gpu,
                can: |step, cuts| recurrence::has_units(step, cuts, 128),
                shaders: fused!([$unit, $bind, $step], $bindings, [text::UNITS_128, text::SEQUENCE]),
                lower: |step, cuts| $lower(step, cuts, Way::Fused(recurrence::BY_SEQUENCE)),
                ..Variant::PLAIN
            },
            NARROW.unchecked("narrow_unchecked"),
            NARROW,
            WIDE.unchecked("wide_unchecked"),
            WIDE,
            LARGE.unchecked("large_unchecked"),
            LARGE,
            Variant {
                name: "skinny",
                class: Class::Gpu,
                likely: recurrence::is_skinny,
                shaders: fused!([$unit, $bind, $step], $bindings, [text::FOUR, text::SKINNY]),
                lower: |step, cuts| $lower(step, cuts, Way::Fused(recurrence::BY_SLICES)),
                ..Variant::PLAIN
            },
            Variant {
                name: "tiled",
                class: Class::Gpu,
                shaders: fused!([$unit, $bind, $step], $bindings, [text::TILED]),
                lower: |step, cuts| $lower(step, cuts, Way::Fused(recurrence::TILED)),
                ..Variant::PLAIN
            },
        ];
        VARIANTS
    }};
}

macro_rules! forward_variants {
    ($unit:expr) => {{
        use $crate::kernels::recurrence;
        recurrence::variants!(
            $unit,
            [text::BIND_FORWARD, text::STEP_FORWARD, text::PARTS_FORWARD],
            recurrence::FORWARD_BINDINGS,
            recurrence::FORWARD_PARTS,
            recurrence::lower_forward
        )
    }};
}

macro_rules! backward_variants {
    ($unit:expr) => {{
        use $crate::kernels::recurrence;
        recurrence::variants!(
            $unit,
            [text::BIND_BACKWARD, text::STEP_BACKWARD, text::PARTS_BACKWARD],
            recurrence::BACKWARD_BINDINGS,
            recurrence::BACKWARD_PARTS,
            recurrence::lower_backward
        )
    }};
}

pub(crate) use {backward_variants, forward_variants, fused, in_parts, variants};
