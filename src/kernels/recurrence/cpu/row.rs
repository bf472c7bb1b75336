//! A cell's pointwise part over some units of a row, in vectors. There are no closures here, nor in the cells: one that is not inlined is not
//! compiled for the processor's instructions, and each of its operations becomes a call.

use pulp::Simd;

use super::super::pointwise::{After, Before, Behind, Gradients, MOST, Pointwise};
use crate::Activation;
use crate::numbers::Vector;

/// The slices of a kind, of which a cell has so many.
type Slices<'a> = [&'a [f32]; MOST];
type SlicesMut<'a> = [&'a mut [f32]; MOST];

/// Slices as vectors, and what is left.
#[inline(always)]
fn vectors<'a, S: Simd>(slices: &Slices<'a>) -> ([&'a [S::f32s]; MOST], Slices<'a>) {
    let [(a, x), (b, y), (c, z), (d, w)] =
        [S::as_simd_f32s(slices[0]), S::as_simd_f32s(slices[1]), S::as_simd_f32s(slices[2]), S::as_simd_f32s(slices[3])];
    ([a, b, c, d], [x, y, z, w])
}

#[inline(always)]
fn vectors_mut<'a, S: Simd>(slices: SlicesMut<'a>) -> ([&'a mut [S::f32s]; MOST], SlicesMut<'a>) {
    let [a, b, c, d] = slices;
    let [(a, x), (b, y), (c, z), (d, w)] =
        [S::as_mut_simd_f32s(a), S::as_mut_simd_f32s(b), S::as_mut_simd_f32s(c), S::as_mut_simd_f32s(d)];
    ([a, b, c, d], [x, y, z, w])
}

/// As many as a cell has of a kind, of vector i.
#[inline(always)]
fn load<S: Simd>(zero: Vector<S>, count: usize, vectors: &[&[S::f32s]; MOST], i: usize) -> [Vector<S>; MOST] {
    let mut all = [zero; MOST];
    for n in 0..count {
        all[n].values = vectors[n][i];
    }
    all
}

#[inline(always)]
fn load_rest<S: Simd>(zero: Vector<S>, count: usize, rest: &Slices) -> [Vector<S>; MOST] {
    let mut all = [zero; MOST];
    for n in 0..count {
        all[n].values = zero.simd.partial_load_f32s(rest[n]);
    }
    all
}

#[inline(always)]
fn store<S: Simd>(count: usize, vectors: &mut [&mut [S::f32s]; MOST], i: usize, values: [Vector<S>; MOST]) {
    for n in 0..count {
        vectors[n][i] = values[n].values;
    }
}

#[inline(always)]
fn store_rest<S: Simd>(simd: S, count: usize, rest: &mut SlicesMut, values: [Vector<S>; MOST]) {
    for n in 0..count {
        simd.partial_store_f32s(rest[n], values[n].values);
    }
}

/// What new states, and what is saved, are made of, and where they go.
pub(super) struct ForwardRow<'a> {
    pub input: Slices<'a>,
    pub recurrent: Slices<'a>,
    pub constants: Slices<'a>,
    pub before: Slices<'a>,
    pub states: SlicesMut<'a>,
    pub saved: SlicesMut<'a>,
}

#[inline(always)]
pub(super) fn forward_row<P: Pointwise, S: Simd>(simd: S, activation: Activation, row: ForwardRow) {
    let dims = P::DIMS;
    let zero = Vector { simd, values: simd.splat_f32s(0.0), fuses: P::FUSES };
    let (input, input_rest) = vectors::<S>(&row.input);
    let (recurrent, recurrent_rest) = vectors::<S>(&row.recurrent);
    let (constants, constants_rest) = vectors::<S>(&row.constants);
    let (before, before_rest) = vectors::<S>(&row.before);
    let (mut states, mut states_rest) = vectors_mut::<S>(row.states);
    let (mut saved, mut saved_rest) = vectors_mut::<S>(row.saved);
    for i in 0..recurrent[0].len() {
        let at = Before {
            input: load(zero, dims.gates, &input, i),
            recurrent: load(zero, dims.gates, &recurrent, i),
            constants: load(zero, dims.constants, &constants, i),
            states: load(zero, dims.states, &before, i),
        };
        let after: After<Vector<S>> = P::forward(activation, &at);
        store(dims.states, &mut states, i, after.states);
        store(dims.saved, &mut saved, i, after.saved);
    }
    if !recurrent_rest[0].is_empty() {
        let at = Before {
            input: load_rest(zero, dims.gates, &input_rest),
            recurrent: load_rest(zero, dims.gates, &recurrent_rest),
            constants: load_rest(zero, dims.constants, &constants_rest),
            states: load_rest(zero, dims.states, &before_rest),
        };
        let after: After<Vector<S>> = P::forward(activation, &at);
        store_rest(simd, dims.states, &mut states_rest, after.states);
        store_rest(simd, dims.saved, &mut saved_rest, after.saved);
    }
}

/// What the gradients of gates and states are made of, and where they go.
pub(super) struct BackwardRow<'a> {
    /// The gradient of h from above, and what comes back through the recurrent sums.
    pub d_hidden: Slices<'a>,
    pub direct: Slices<'a>,
    pub constants: Slices<'a>,
    pub kept: Slices<'a>,
    pub saved: Slices<'a>,
    /// The gradients of the recurrent sums, those of states, those of the input's parts.
    pub written: [SlicesMut<'a>; 3],
}

#[inline(always)]
pub(super) fn backward_row<P: Pointwise, S: Simd>(simd: S, activation: Activation, row: BackwardRow) {
    let dims = P::DIMS;
    let zero = Vector { simd, values: simd.splat_f32s(0.0), fuses: P::FUSES };
    let distinct = if dims.distinct { dims.gates } else { 0 };
    let (d_hidden, d_hidden_rest) = vectors::<S>(&row.d_hidden);
    let (direct, direct_rest) = vectors::<S>(&row.direct);
    let (constants, constants_rest) = vectors::<S>(&row.constants);
    let (kept, kept_rest) = vectors::<S>(&row.kept);
    let (saved, saved_rest) = vectors::<S>(&row.saved);
    let [to_sum, to_states, to_input] = row.written;
    let (mut d_sum, mut d_sum_rest) = vectors_mut::<S>(to_sum);
    let (mut d_states, mut d_states_rest) = vectors_mut::<S>(to_states);
    let (mut d_input, mut d_input_rest) = vectors_mut::<S>(to_input);
    for i in 0..d_hidden[0].len() {
        let [above, recurrent, ..] = load(zero, 2, &d_hidden, i);
        let at = Behind {
            d_hidden: above,
            recurrent,
            direct: load(zero, dims.direct, &direct, i),
            constants: load(zero, dims.constants, &constants, i),
            kept: load(zero, dims.kept, &kept, i),
            saved: load(zero, dims.saved, &saved, i),
        };
        let gradients: Gradients<Vector<S>> = P::backward(activation, &at);
        store(dims.gates, &mut d_sum, i, gradients.recurrent);
        store(dims.direct, &mut d_states, i, gradients.direct);
        store(distinct, &mut d_input, i, gradients.input);
    }
    if !d_hidden_rest[0].is_empty() {
        let [above, recurrent, ..] = load_rest(zero, 2, &d_hidden_rest);
        let at = Behind {
            d_hidden: above,
            recurrent,
            direct: load_rest(zero, dims.direct, &direct_rest),
            constants: load_rest(zero, dims.constants, &constants_rest),
            kept: load_rest(zero, dims.kept, &kept_rest),
            saved: load_rest(zero, dims.saved, &saved_rest),
        };
        let gradients: Gradients<Vector<S>> = P::backward(activation, &at);
        store_rest(simd, dims.gates, &mut d_sum_rest, gradients.recurrent);
        store_rest(simd, dims.direct, &mut d_states_rest, gradients.direct);
        store_rest(simd, distinct, &mut d_input_rest, gradients.input);
    }
}
