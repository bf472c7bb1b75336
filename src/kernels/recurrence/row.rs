//! A cell's pointwise part over some units of a row, in vectors.

use std::marker::PhantomData;

use pulp::{Simd, WithSimd};

use super::pointwise::{After, Before, Behind, Gradients, MOST, Pointwise};
use crate::Activation;
use crate::activation::with_known;
use crate::numbers::Vector;

/// The slices of a kind, of which a cell has so many.
type Slices<'a> = [&'a [f32]; MOST];
type SlicesMut<'a> = [&'a mut [f32]; MOST];

/// Slices as vectors, and what is left.
#[inline(always)]
fn vectors<'a, S: Simd>(slices: &Slices<'a>) -> ([&'a [S::f32s]; MOST], Slices<'a>) {
    let split = slices.map(|slice| S::as_simd_f32s(slice));
    (split.map(|(vectors, _)| vectors), split.map(|(_, rest)| rest))
}

#[inline(always)]
fn vectors_mut<'a, S: Simd>(slices: SlicesMut<'a>) -> ([&'a mut [S::f32s]; MOST], SlicesMut<'a>) {
    let mut rest: SlicesMut = Default::default();
    let mut rests = rest.iter_mut();
    let vectors = slices.map(|slice| {
        let (vectors, left) = S::as_mut_simd_f32s(slice);
        *rests.next().expect("as many") = left;
        vectors
    });
    (vectors, rest)
}

/// As many as a cell has of a kind, of vector i.
#[inline(always)]
fn load<S: Simd>(simd: S, count: usize, vectors: &[&[S::f32s]; MOST], i: usize) -> [Vector<S>; MOST] {
    std::array::from_fn(|n| Vector { simd, values: if n < count { vectors[n][i] } else { simd.splat_f32s(0.0) } })
}

#[inline(always)]
fn load_rest<S: Simd>(simd: S, count: usize, rest: &Slices) -> [Vector<S>; MOST] {
    std::array::from_fn(|n| Vector {
        simd,
        values: if n < count { simd.partial_load_f32s(rest[n]) } else { simd.splat_f32s(0.0) },
    })
}

#[inline(always)]
fn store<S: Simd>(count: usize, vectors: &mut [&mut [S::f32s]; MOST], i: usize, values: [Vector<S>; MOST]) {
    vectors.iter_mut().zip(values).take(count).for_each(|(to, value)| to[i] = value.values);
}

#[inline(always)]
fn store_rest<S: Simd>(simd: S, count: usize, rest: &mut SlicesMut, values: [Vector<S>; MOST]) {
    rest.iter_mut().zip(values).take(count).for_each(|(to, value)| simd.partial_store_f32s(to, value.values));
}

/// New states, and what is saved.
pub(super) struct ForwardRow<'a, P> {
    activation: Activation,
    input: Slices<'a>,
    recurrent: Slices<'a>,
    constants: Slices<'a>,
    before: Slices<'a>,
    states: SlicesMut<'a>,
    saved: SlicesMut<'a>,
    cell: PhantomData<P>,
}

impl<'a, P> ForwardRow<'a, P> {
    #[inline(always)]
    pub fn new(
        activation: Activation,
        input: Slices<'a>,
        recurrent: Slices<'a>,
        constants: Slices<'a>,
        before: Slices<'a>,
        states: SlicesMut<'a>,
        saved: SlicesMut<'a>,
    ) -> Self {
        ForwardRow { activation, input, recurrent, constants, before, states, saved, cell: PhantomData }
    }
}

impl<P: Pointwise> WithSimd for ForwardRow<'_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let activation = if P::IS_ACTIVATED { self.activation } else { Activation::Tanh };
        with_known!(activation, KNOWN => forward::<P, S>(simd, KNOWN, self));
    }
}

#[inline(always)]
fn forward<P: Pointwise, S: Simd>(simd: S, activation: Activation, row: ForwardRow<P>) {
    let dims = P::DIMS;
    let (input, input_rest) = vectors::<S>(&row.input);
    let (recurrent, recurrent_rest) = vectors::<S>(&row.recurrent);
    let (constants, constants_rest) = vectors::<S>(&row.constants);
    let (before, before_rest) = vectors::<S>(&row.before);
    let (mut states, mut states_rest) = vectors_mut::<S>(row.states);
    let (mut saved, mut saved_rest) = vectors_mut::<S>(row.saved);
    for i in 0..recurrent[0].len() {
        let at = Before {
            input: load(simd, dims.gates, &input, i),
            recurrent: load(simd, dims.gates, &recurrent, i),
            constants: load(simd, dims.constants, &constants, i),
            states: load(simd, dims.states, &before, i),
        };
        let after: After<Vector<S>> = P::forward(activation, &at);
        store(dims.states, &mut states, i, after.states);
        store(dims.saved, &mut saved, i, after.saved);
    }
    if !recurrent_rest[0].is_empty() {
        let at = Before {
            input: load_rest(simd, dims.gates, &input_rest),
            recurrent: load_rest(simd, dims.gates, &recurrent_rest),
            constants: load_rest(simd, dims.constants, &constants_rest),
            states: load_rest(simd, dims.states, &before_rest),
        };
        let after: After<Vector<S>> = P::forward(activation, &at);
        store_rest(simd, dims.states, &mut states_rest, after.states);
        store_rest(simd, dims.saved, &mut saved_rest, after.saved);
    }
}

/// The gradients of the gates, and what goes to states on paths of their own.
pub(super) struct BackwardRow<'a, P> {
    activation: Activation,
    /// The gradient of h from above, and what comes back through the recurrent sums.
    d_hidden: Slices<'a>,
    direct: Slices<'a>,
    constants: Slices<'a>,
    kept: Slices<'a>,
    saved: Slices<'a>,
    /// The gradients of the recurrent sums, those of states, those of the input's parts.
    written: [SlicesMut<'a>; 3],
    cell: PhantomData<P>,
}

impl<'a, P> BackwardRow<'a, P> {
    #[inline(always)]
    pub fn new(
        activation: Activation,
        [above, recurrent]: [&'a [f32]; 2],
        direct: Slices<'a>,
        constants: Slices<'a>,
        kept: Slices<'a>,
        saved: Slices<'a>,
        written: [SlicesMut<'a>; 3],
    ) -> Self {
        let mut d_hidden: Slices = [&[]; MOST];
        (d_hidden[0], d_hidden[1]) = (above, recurrent);
        BackwardRow { activation, d_hidden, direct, constants, kept, saved, written, cell: PhantomData }
    }
}

impl<P: Pointwise> WithSimd for BackwardRow<'_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let activation = if P::IS_ACTIVATED { self.activation } else { Activation::Tanh };
        with_known!(activation, KNOWN => backward::<P, S>(simd, KNOWN, self));
    }
}

#[inline(always)]
fn backward<P: Pointwise, S: Simd>(simd: S, activation: Activation, row: BackwardRow<P>) {
    let dims = P::DIMS;
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
        let [above, recurrent, ..] = load(simd, 2, &d_hidden, i);
        let at = Behind {
            d_hidden: above,
            recurrent,
            direct: load(simd, dims.direct, &direct, i),
            constants: load(simd, dims.constants, &constants, i),
            kept: load(simd, dims.kept, &kept, i),
            saved: load(simd, dims.saved, &saved, i),
        };
        let gradients: Gradients<Vector<S>> = P::backward(activation, &at);
        store(dims.gates, &mut d_sum, i, gradients.recurrent);
        store(dims.direct, &mut d_states, i, gradients.direct);
        store(distinct, &mut d_input, i, gradients.input);
    }
    if !d_hidden_rest[0].is_empty() {
        let [above, recurrent, ..] = load_rest(simd, 2, &d_hidden_rest);
        let at = Behind {
            d_hidden: above,
            recurrent,
            direct: load_rest(simd, dims.direct, &direct_rest),
            constants: load_rest(simd, dims.constants, &constants_rest),
            kept: load_rest(simd, dims.kept, &kept_rest),
            saved: load_rest(simd, dims.saved, &saved_rest),
        };
        let gradients: Gradients<Vector<S>> = P::backward(activation, &at);
        store_rest(simd, dims.gates, &mut d_sum_rest, gradients.recurrent);
        store_rest(simd, dims.direct, &mut d_states_rest, gradients.direct);
        store_rest(simd, distinct, &mut d_input_rest, gradients.input);
    }
}
