//! Constraints of a recurrent weight: connections that there are not, and the signs of the connections of a unit.

use bytemuck::{Pod, Zeroable};
use num_traits::Float;

use super::fill::over_rows;
use super::{NoScalars, WINDOW, exactly};
use crate::program::{Binding, Content, Kernel, Mat, Program, Shader, Variant, View, all_windows, little, scalars, whole};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Excitatory {
    excitatory: u32,
}

const CONNECTIONS_BINDINGS: &[Binding] = &[Binding::read("mask"), Binding::update("out")];
const SIGNS_BINDINGS: &[Binding] = &[Binding::update("weight")];

/// out = 0 where mask, of the same shape, is 0, and out elsewhere.
pub static CONNECTIONS: Kernel = Kernel {
    name: "connections",
    bindings: CONNECTIONS_BINDINGS,
    scalars: &[],
    definition: run_connections,
    bound: exactly,
    parts: whole,
    is_exact: |_| true,
    cpu: run_connections,
    variants: &[Variant {
        name: "rows",
        shaders: &[Shader::new(&[WINDOW, include_str!("../../shaders/connections.wgsl")], "main", CONNECTIONS_BINDINGS, &[])],
        lower: |step, cuts| over_rows(&step.windows, &step.scalars, cuts),
        ..Variant::PLAIN
    }],
    bytes: all_windows,
    working: little,
    runs_beside: |_| true,
    flops: |_| 0,
    sample: |program, [m, n, k]| {
        let (mask, out) = (program.matrix("mask", m, n), program.matrix("out", m, n));
        connections(program, mask, out);
        let is_connected = |i: u32| f32::from(u8::from(!i.wrapping_mul(2_654_435_761).wrapping_add(k).is_multiple_of(3)));
        vec![(mask, Content::Numbers((0..m * n).map(is_connected).collect()))]
    },
};

/// w\[:, j\] = 0 where its sign is wrong, and w elsewhere: negative for j < `excitatory`, positive for the others.
pub static SIGNS: Kernel = Kernel {
    name: "signs",
    bindings: SIGNS_BINDINGS,
    scalars: &["excitatory"],
    definition: run_signs,
    bound: exactly,
    parts: whole,
    is_exact: |_| true,
    cpu: run_signs,
    variants: &[Variant {
        name: "rows",
        shaders: &[Shader::new(&[WINDOW, include_str!("../../shaders/signs.wgsl")], "main", SIGNS_BINDINGS, &["excitatory"])],
        lower: |step, cuts| over_rows(&step.windows, &step.scalars, cuts),
        ..Variant::PLAIN
    }],
    bytes: |step| 2 * all_windows(step),
    working: little,
    runs_beside: |_| true,
    flops: |_| 0,
    sample: |program, [m, n, k]| {
        let weight = program.matrix("weight", m, n);
        // None, all, or some of them.
        signs(program, weight, [k % (n + 1), 0, n][k as usize % 3]);
        vec![]
    },
};

/// Records that out becomes zero where mask is.
///
/// # Panics
/// When the shapes differ.
pub fn connections(program: &mut Program, mask: Mat, out: Mat) {
    assert!((mask.rows, mask.cols) == (out.rows, out.cols), "connections: mask {mask:?}, out {out:?}");
    program.push(&CONNECTIONS, &[mask, out], NoScalars);
}

/// Records that a weight becomes zero where its sign is wrong: negative in its first `excitatory` columns, positive in the others.
///
/// # Panics
/// When there are fewer columns.
pub fn signs(program: &mut Program, weight: Mat, excitatory: u32) {
    assert!(excitatory <= weight.cols, "signs: {excitatory} columns of {weight:?}");
    program.push(&SIGNS, &[weight], Excitatory { excitatory });
}

fn run_connections<T: Float>(views: &mut [View<T>], _: &[u8]) {
    let [mask, out] = views else { unreachable!("two windows") };
    for r in 0..out.rows {
        out.row_mut(r).iter_mut().zip(mask.row(r)).filter(|(_, mask)| mask.is_zero()).for_each(|(out, _)| *out = T::zero());
    }
}

fn run_signs<T: Float>(views: &mut [View<T>], bytes: &[u8]) {
    let [weight] = views else { unreachable!("one window") };
    let excitatory = scalars::<Excitatory>(bytes).excitatory as usize;
    for r in 0..weight.rows {
        let wrong = |(j, value): &(usize, &mut T)| value.is_sign_negative() == (*j < excitatory);
        weight.row_mut(r).iter_mut().enumerate().filter(wrong).for_each(|(_, value)| *value = T::zero());
    }
}
