//! What lies behind the end of a sequence, made zero in place.

use bytemuck::{Pod, Zeroable};
use num_traits::Float;

use super::fill::pieces_by_rows;
use super::{WINDOW, bytes, exactly};
use crate::program::{
    Binding, Content, Cuts, Element, Kernel, Lowered, Mat, Program, Shader, Step, Variant, View, little, scalars, whole,
};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct First {
    first: u32,
}

const BINDINGS: &[Binding] = &[Binding::indices("lengths"), Binding::update("out")];

/// out\[t·B + b, :\] = 0 for first/B + t ≥ lengths\[b\]: lengths `[1, B]`, out `[N·B, cols]`, whose first row is row `first`, a multiple of
/// B, of a window of all time steps. What is zeroed may hold anything.
pub static CLEAR_PADDING: Kernel = Kernel {
    name: "clear_padding",
    bindings: BINDINGS,
    scalars: &["first"],
    definition: run,
    bound: exactly,
    parts: whole,
    is_exact: |_| true,
    cpu: run,
    variants: &[Variant {
        name: "rows",
        shaders: &[Shader::new(&[WINDOW, include_str!("../../shaders/clear_padding.wgsl")], "main", BINDINGS, &["first"])],
        lower,
        ..Variant::PLAIN
    }],
    // How much of it is padding is known when it runs.
    bytes: |step| u64::from(step.windows[0].cols) * Element::SIZE,
    working: little,
    runs_beside: |_| true,
    flops: |_| 0,
    sample: |program, [m, n, k]| {
        let (sequences, steps) = (m.min(37), k.min(50));
        let (lengths, out) = (program.indices("lengths", 1, sequences), program.matrix("out", steps * sequences, n));
        let before = steps / 2;
        clear_padding(program, lengths, out, before * sequences);
        let length = |b: u32| 1 + b.wrapping_mul(b + 3) % (before + steps);
        vec![(lengths, Content::Indices((0..sequences).map(length).collect()))]
    },
};

/// Records that the padding of out becomes zero; its first row is row `first` of a window of all time steps.
///
/// # Panics
/// When the shapes do not fit.
pub fn clear_padding(program: &mut Program, lengths: Mat, out: Mat, first: u32) {
    let is_whole = |rows: u32| rows.is_multiple_of(lengths.cols);
    assert!(lengths.rows == 1 && is_whole(out.rows) && is_whole(first), "padding: {lengths:?}, {out:?} from row {first} on");
    program.push(&CLEAR_PADDING, &[lengths, out], First { first });
}

fn run<T: Float>(views: &mut [View<T>], bytes: &[u8]) {
    let [lengths, out] = views else { unreachable!("two windows") };
    let (first, sequences) = (scalars::<First>(bytes).first as usize, lengths.cols);
    for r in 0..out.rows {
        let row = first + r;
        if row / sequences >= lengths.index(row % sequences) {
            out.row_mut(r).fill(T::zero());
        }
    }
}

fn lower(step: &Step, cuts: &Cuts) -> Lowered {
    let [lengths, out] = step.windows[..] else { unreachable!("two windows") };
    let first = step.scalars::<First>().first;
    let part = |r: std::ops::Range<u32>| {
        let windows = vec![lengths, out.slice_rows(r.clone())];
        (windows, bytes(&First { first: first + r.start }))
    };
    Lowered::once(pieces_by_rows(&[out], 0, cuts, part))
}
