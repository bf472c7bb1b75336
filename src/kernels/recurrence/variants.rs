//! The variants of recurrences on GPUs, for every cell and both directions: what their shaders are made of, and how each is lowered.

use crate::program::Variant;

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
    pub const CELL: &str = include_str!("../../../shaders/shared/cell.wgsl");
    pub const HALVES_1: &str = include_str!("../../../shaders/shared/halves_1.wgsl");
    pub const HALVES_2: &str = include_str!("../../../shaders/shared/halves_2.wgsl");
    pub const PARTS: &str = include_str!("../../../shaders/recurrence_parts.wgsl");
    pub const FINISH: &str = include_str!("../../../shaders/shared/finish.wgsl");
    pub const FOUR: &str = include_str!("../../../shaders/shared/four.wgsl");
    pub const SUBGROUP: &str = include_str!("../../../shaders/recurrence_subgroup.wgsl");
    pub const SOFTWARE: &str = include_str!("../../../shaders/recurrence_software.wgsl");
    pub const SKINNY: &str = include_str!("../../../shaders/recurrence_skinny.wgsl");
    pub const NARROW: &str = include_str!("../../../shaders/recurrence_narrow.wgsl");
    pub const STATES: &str = include_str!("../../../shaders/shared/states.wgsl");
    pub const FLAGS: &str = include_str!("../../../shaders/shared/flags.wgsl");
    pub const HELD: &str = include_str!("../../../shaders/recurrence_held.wgsl");
    pub const TILED: &str = include_str!("../../../shaders/recurrence_tiled.wgsl");
}

/// The text of a recurrence around a cell: `$states` says how states are read and written, and `$text` is the variant's own.
macro_rules! source {
    ([$unit:expr, $bind:expr, $step:expr], $states:expr, [$($text:expr),* $(,)?]) => {
        &[
            text::WINDOW,
            text::TIME,
            text::EXP,
            text::ACTIVATION,
            $unit,
            text::CELL,
            $states,
            $bind,
            $step,
            $($text),*
        ]
    };
}

/// The shaders of a variant that multiplies and calls the cell in one dispatch.
macro_rules! fused {
    ([$unit:expr, $bind:expr, $step:expr], $bindings:expr, [$($text:expr),*]) => {{
        const SOURCE: &[&str] = recurrence::source!([$unit, $bind, $step], text::STATES, [text::FINISH, $($text),*]);
        const SHADERS: &[$crate::program::Shader] = &[
            $crate::program::Shader::new(SOURCE, "main", $bindings, recurrence::PIECE_SCALARS).in_bounds(),
            recurrence::COPY,
        ];
        SHADERS
    }};
}

/// The shaders of a variant that leaves the sums over parts of k in scratch memory, and then adds them up and calls the cell.
macro_rules! in_parts {
    ([$unit:expr, $bind:expr, $step:expr], $bindings:expr, $product:expr $(, $turn:expr)?) => {{
        const SOURCE: &[&str] = recurrence::source!([$unit, $bind, $step], text::STATES, [gemm::ADD_UP, text::PARTS]);
        const SHADERS: &[$crate::program::Shader] = &[
            $product,
            recurrence::COPY,
            $crate::program::Shader::new(SOURCE, "main", $bindings, recurrence::PARTS_SCALARS).in_bounds(),
            $($turn,)?
        ];
        SHADERS
    }};
}

/// The variants of a cell's recurrence in a direction, from the texts of its cell and of the direction: `$bindings` are those of shaders that
/// do it in one dispatch, `$parts` of those that add up parts, and `$waiting` of those whose workgroups wait for each other. Of several gates the
/// weight does not fit the registers of one workgroup beyond 64 units, so `sequence_128` and `sequences_128` are for cells of one gate.
macro_rules! variants {
    (
        $dims:expr,
        $backward:literal,
        $unit:expr,
        [$bind:expr, $step:expr, $bind_parts:expr],
        $bindings:expr,
        $parts:expr,
        $waiting:expr
    ) => {{
        use $crate::kernels::gemm;
        use $crate::kernels::recurrence::{self, Held, Way, fused, in_parts, text, waiting};
        use $crate::program::{Class, Needs, Variant};
        const SUMS: usize = if $backward { 1 } else { $dims.gates };
        const NARROW: Variant = Variant {
            name: "narrow",
            class: Class::Gpu,
            likely: recurrence::is_middling,
            pairs: true,
            shaders: fused!([$unit, $bind, $step], $bindings, [text::FOUR, text::NARROW]),
            lower: |step, cuts| recurrence::lower(step, cuts, &$dims, $backward, Way::Fused(recurrence::NARROW)),
            ..Variant::PLAIN
        };
        const WIDE: Variant = Variant {
            name: "wide",
            class: Class::Gpu,
            can: |step, cuts| recurrence::has_room(step, cuts),
            likely: |step| recurrence::is_large(step, 64),
            shaders: in_parts!([$unit, $bind_parts, $step], $parts, recurrence::WIDE_PRODUCT),
            lower: |step, cuts| recurrence::lower(step, cuts, &$dims, $backward, Way::Parts(gemm::BY_64_128)),
            ..Variant::PLAIN
        };
        const LARGE: Variant = Variant {
            name: "large",
            class: Class::Gpu,
            can: |step, cuts| recurrence::has_room(step, cuts),
            likely: |step| recurrence::is_large(step, u32::MAX),
            shaders: in_parts!([$unit, $bind_parts, $step], $parts, recurrence::LARGE_PRODUCT),
            lower: |step, cuts| recurrence::lower(step, cuts, &$dims, $backward, Way::Parts(gemm::BY_128)),
            ..Variant::PLAIN
        };
        const TURNED: Variant = Variant {
            name: "turned",
            class: Class::Gpu,
            can: |step, cuts| recurrence::has_room_turned(step, cuts),
            likely: |step| recurrence::is_large(step, 64) && recurrence::is_worth_turning(step),
            shaders: in_parts!([$unit, $bind_parts, $step], $parts, recurrence::TURNED_PRODUCT, recurrence::TURN),
            lower: |step, cuts| recurrence::lower(step, cuts, &$dims, $backward, Way::Turned(gemm::BY_64_BY_16)),
            ..Variant::PLAIN
        };
        const SUBGROUP: Variant = Variant {
            name: "subgroup",
            class: Class::Software,
            needs: Needs { subgroup: 8, ..Needs::NOTHING },
            pairs: true,
            shaders: fused!(
                [$unit, $bind, $step],
                $bindings,
                [text::FOUR, if SUMS > 1 { text::HALVES_1 } else { text::HALVES_2 }, text::SUBGROUP]
            ),
            lower: |step, cuts| recurrence::lower(step, cuts, &$dims, $backward, Way::Fused(recurrence::by_subgroup(SUMS))),
            ..Variant::PLAIN
        };
        const SOFTWARE: Variant = Variant {
            name: "software",
            class: Class::Software,
            pairs: true,
            shaders: fused!([$unit, $bind, $step], $bindings, [text::SOFTWARE]),
            lower: |step, cuts| recurrence::lower(step, cuts, &$dims, $backward, Way::Fused(recurrence::BY_LANES)),
            ..Variant::PLAIN
        };
        const ALONE: [Held; 4] = recurrence::alone($dims.gates, SUMS);
        macro_rules! sequence {
            ($i:literal, $name:literal, $likely:expr) => {
                recurrence::with_unchecked(
                    concat!($name, "_unchecked"),
                    Variant {
                        name: $name,
                        class: Class::Gpu,
                        needs: recurrence::needs(&ALONE[$i], SUMS, &[]),
                        can: |step, cuts| recurrence::can_hold_alone(step, cuts, &ALONE[$i]),
                        likely: $likely,
                        pairs: true,
                        shaders: fused!([$unit, $bind, $step], $bindings, [ALONE[$i].text, text::HELD]),
                        lower: |step, cuts| {
                            let way = Way::Fused(recurrence::by_sequence(&ALONE[$i]));
                            recurrence::lower(step, cuts, &$dims, $backward, way)
                        },
                        ..Variant::PLAIN
                    },
                )
            };
        }
        const SEQUENCE: [[Variant; 2]; 4] = [
            sequence!(0, "sequence_64", recurrence::has_few),
            sequence!(1, "sequences_64", recurrence::has_many),
            sequence!(2, "sequence_128", recurrence::has_few),
            sequence!(3, "sequences_128", recurrence::has_many),
        ];
        const SKINNY: Variant = Variant {
            name: "skinny",
            class: Class::Gpu,
            likely: recurrence::is_skinny,
            pairs: true,
            shaders: fused!([$unit, $bind, $step], $bindings, [text::FOUR, text::SKINNY]),
            lower: |step, cuts| recurrence::lower(step, cuts, &$dims, $backward, Way::Fused(recurrence::BY_SLICES)),
            ..Variant::PLAIN
        };
        const TILED: Variant = Variant {
            name: "tiled",
            class: Class::Gpu,
            pairs: true,
            shaders: fused!([$unit, $bind, $step], $bindings, [text::TILED]),
            lower: |step, cuts| recurrence::lower(step, cuts, &$dims, $backward, Way::Fused(recurrence::TILED)),
            ..Variant::PLAIN
        };
        const HELD: [Held; 8] = recurrence::shared(SUMS);
        macro_rules! persistent {
            ($i:literal, $name:literal, $is_likely:path) => {
                recurrence::with_unchecked(
                    concat!($name, "_unchecked"),
                    Variant {
                        name: $name,
                        class: Class::Gpu,
                        needs: recurrence::needs(&HELD[$i], SUMS, $waiting),
                        can: |step, cuts| recurrence::can_hold(step, cuts, &HELD[$i]),
                        likely: |step| $is_likely(step, &HELD[$i]),
                        waits: true,
                        shaders: waiting!([$unit, $bind, $step], $waiting, HELD[$i]),
                        lower: |step, cuts| recurrence::lower(step, cuts, &$dims, $backward, Way::Held(&HELD[$i])),
                        ..Variant::PLAIN
                    },
                )
            };
        }
        const PERSISTENT: [[Variant; 2]; 8] = [
            persistent!(0, "persistent_64", recurrence::is_filled),
            persistent!(1, "persistent_32", recurrence::is_filled),
            persistent!(2, "persistent_16", recurrence::is_filled),
            persistent!(3, "persistent_8", recurrence::is_filled),
            persistent!(4, "persistent_64_dense", recurrence::is_busy),
            persistent!(5, "persistent_32_dense", recurrence::is_busy),
            persistent!(6, "persistent_16_dense", recurrence::is_busy),
            persistent!(7, "persistent_8_dense", recurrence::is_busy),
        ];
        const OTHERS: [Variant; 12] = [
            SUBGROUP,
            SOFTWARE,
            NARROW.unchecked("narrow_unchecked"),
            NARROW,
            WIDE.unchecked("wide_unchecked"),
            WIDE,
            LARGE.unchecked("large_unchecked"),
            LARGE,
            TURNED.unchecked("turned_unchecked"),
            TURNED,
            SKINNY,
            TILED,
        ];
        const OF_ONE_GATE: &[Variant] = &recurrence::all::<4, 36>(&SEQUENCE, &PERSISTENT, &OTHERS);
        const OF_SEVERAL: &[Variant] = &recurrence::all::<2, 32>(&SEQUENCE, &PERSISTENT, &OTHERS);
        if $dims.gates == 1 { OF_ONE_GATE } else { OF_SEVERAL }
    }};
}

/// A variant behind the same without run-time checks.
pub(crate) const fn with_unchecked(name: &'static str, variant: Variant) -> [Variant; 2] {
    [variant.unchecked(name), variant]
}

/// All variants in one list: of those that hold a whole layer the first so many.
pub(crate) const fn all<const ALONE: usize, const N: usize>(
    alone: &[[Variant; 2]; 4],
    waiting: &[[Variant; 2]; 8],
    others: &[Variant; 12],
) -> [Variant; N] {
    let mut all = [others[0]; N];
    let mut i = 0;
    while i < N {
        all[i] = if i < 2 * ALONE {
            alone[i / 2][i % 2]
        } else if i < 2 * ALONE + 16 {
            waiting[i / 2 - ALONE][i % 2]
        } else {
            others[i - 2 * ALONE - 16]
        };
        i += 1;
    }
    all
}

/// The two kernels of a cell, from the text of its pointwise part: `FORWARD` and `BACKWARD`.
macro_rules! kernels {
    ($cell:ty, $unit:expr, [$forward:literal, $backward:literal]) => {
        const DIMS: $crate::kernels::recurrence::Dims = <$cell as $crate::kernels::recurrence::Pointwise>::DIMS;
        const COUNTS: [usize; 2] = [DIMS.windows()[0].count(), DIMS.windows()[1].count()];

        /// The recurrence forward in time.
        pub static FORWARD: Kernel = {
            use $crate::kernels::recurrence;
            const BINDINGS: &[$crate::program::Binding] = &DIMS.forward_bindings::<{ COUNTS[0] }>();
            const PARTS: &[$crate::program::Binding] = &DIMS.forward_parts::<{ COUNTS[0] }>();
            const WAITING: &[$crate::program::Binding] = &recurrence::with_word::<{ COUNTS[0] + 1 }>(BINDINGS);
            recurrence::kernel::<$cell>(
                $forward,
                false,
                BINDINGS,
                recurrence::variants!(
                    DIMS,
                    false,
                    $unit,
                    [text::BIND_FORWARD, text::STEP_FORWARD, text::PARTS_FORWARD],
                    BINDINGS,
                    PARTS,
                    WAITING
                ),
            )
        };

        /// The recurrence backward in time.
        pub static BACKWARD: Kernel = {
            use $crate::kernels::recurrence;
            const BINDINGS: &[$crate::program::Binding] = &DIMS.backward_bindings::<{ COUNTS[1] }>();
            const PARTS: &[$crate::program::Binding] = &DIMS.backward_parts::<{ COUNTS[1] }>();
            const WAITING: &[$crate::program::Binding] = &recurrence::with_word::<{ COUNTS[1] + 1 }>(BINDINGS);
            recurrence::kernel::<$cell>(
                $backward,
                true,
                BINDINGS,
                recurrence::variants!(
                    DIMS,
                    true,
                    $unit,
                    [text::BIND_BACKWARD, text::STEP_BACKWARD, text::PARTS_BACKWARD],
                    BINDINGS,
                    PARTS,
                    WAITING
                ),
            )
        };
    };
}

pub(crate) use {fused, in_parts, kernels, source, variants};
