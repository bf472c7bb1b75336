//! Filling, copying and adding, and carrying the last hidden state to the front of the next window.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use num_traits::Float;

use super::{NoScalars, WINDOW, blocks, bytes, exactly};
use crate::program::{
    Along, Binding, Buf, Cuts, Kernel, Lowered, Mat, Piece, Program, ROW_ALIGNMENT, Shader, Step, Variant, View, all_windows,
    little, scalars, whole,
};
use crate::rounding::Terms;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Value {
    value: f32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Factor {
    factor: f32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Rows {
    rows: u32,
}

const FILL_BINDINGS: &[Binding] = &[Binding::write("out")];

/// out = value.
pub static FILL: Kernel = Kernel {
    name: "fill",
    bindings: FILL_BINDINGS,
    scalars: &["value"],
    definition: run_fill,
    bound: exactly,
    parts: whole,
    is_exact: |_| true,
    cpu: run_fill,
    variants: &[Variant {
        name: "rows",
        shaders: &[Shader::new(&[WINDOW, include_str!("../../shaders/fill.wgsl")], "main", FILL_BINDINGS, &["value"])],
        lower: |step, cuts| over_rows(&step.windows, &bytes(&step.scalars::<Value>()), cuts),
        ..Variant::PLAIN
    }],
    bytes: all_windows,
    working: little,
    runs_beside: |_| true,
    flops: |_| 0,
    sample: |program, [m, n, k]| {
        let out = program.matrix("out", m, n);
        fill(program, out, k as f32);
        vec![]
    },
};

const COPY_BINDINGS: &[Binding] = &[Binding::read("x"), Binding::write("out")];
pub(super) const COPY_SHADER: Shader =
    Shader::new(&[WINDOW, include_str!("../../shaders/copy.wgsl")], "main", COPY_BINDINGS, &[]).in_bounds();

/// out = x, of the same shape.
pub static COPY: Kernel = Kernel {
    name: "copy",
    bindings: COPY_BINDINGS,
    scalars: &[],
    definition: run_copy,
    bound: exactly,
    parts: whole,
    is_exact: |_| true,
    cpu: run_copy,
    variants: &[Variant {
        name: "rows",
        shaders: &[COPY_SHADER],
        lower: |step, cuts| over_rows(&step.windows, &[], cuts),
        ..Variant::PLAIN
    }],
    bytes: all_windows,
    working: little,
    runs_beside: |_| true,
    flops: |_| 0,
    sample: |program, [m, n, _]| {
        let (x, out) = (program.matrix("x", m, n), program.matrix("out", m, n));
        copy(program, x, out);
        vec![]
    },
};

const ADD_BINDINGS: &[Binding] = &[Binding::read("x"), Binding::update("out")];

/// out = out + factor·x, of the same shape.
pub static ADD: Kernel = Kernel {
    name: "add",
    bindings: ADD_BINDINGS,
    scalars: &["factor"],
    definition: run_add,
    bound: bound_add,
    parts: whole,
    is_exact: |step| step.scalars::<Factor>().factor.fract() == 0.0,
    cpu: run_add,
    variants: &[Variant {
        name: "rows",
        shaders: &[Shader::new(&[WINDOW, include_str!("../../shaders/add.wgsl")], "main", ADD_BINDINGS, &["factor"])],
        lower: |step, cuts| over_rows(&step.windows, &step.scalars, cuts),
        ..Variant::PLAIN
    }],
    bytes: |step| all_windows(step) + step.windows[1].bytes(),
    working: little,
    runs_beside: |_| true,
    flops: |step| 2 * step.windows[0].len() as u64,
    sample: |program, [m, n, k]| {
        let (x, out) = (program.matrix("x", m, n), program.matrix("out", m, n));
        add(program, [1.0, 0.3, -2.0][k as usize % 3], x, out);
        vec![]
    },
};

const CARRY_BINDINGS: &[Binding] = &[Binding::update("hidden")];
const CARRY_SHADER: Shader = Shader::new(&[WINDOW, include_str!("../../shaders/carry.wgsl")], "main", CARRY_BINDINGS, &["rows"]);

/// The last `rows` rows of hidden become its first.
pub static CARRY: Kernel = Kernel {
    name: "carry",
    bindings: CARRY_BINDINGS,
    scalars: &["rows"],
    definition: run_carry,
    bound: exactly,
    parts: whole,
    is_exact: |_| true,
    cpu: run_carry,
    variants: &[
        Variant {
            name: "in place",
            can: |step, cuts| cuts.fits(&step.windows[0]),
            shaders: &[CARRY_SHADER],
            lower: lower_in_place,
            ..Variant::PLAIN
        },
        Variant { name: "through scratch", shaders: &[COPY_SHADER], lower: lower_through_scratch, ..Variant::PLAIN },
    ],
    bytes: |step| 2 * step.windows[0].slice_rows(0..step.scalars::<Rows>().rows).bytes(),
    working: little,
    runs_beside: |_| true,
    flops: |_| 0,
    sample: |program, [m, n, k]| {
        let hidden = program.matrix("hidden", (k + 1) * m, n);
        carry(program, hidden, m);
        vec![]
    },
};

/// Records out = value.
pub fn fill(program: &mut Program, out: Mat, value: f32) {
    program.push(&FILL, &[out], Value { value });
}

/// Records out = x.
///
/// # Panics
/// When the shapes differ.
pub fn copy(program: &mut Program, x: Mat, out: Mat) {
    assert!((x.rows, x.cols) == (out.rows, out.cols), "copy: x {x:?}, out {out:?}");
    program.push(&COPY, &[x, out], NoScalars);
}

/// Records out = out + factor·x.
///
/// # Panics
/// When the shapes differ.
pub fn add(program: &mut Program, factor: f32, x: Mat, out: Mat) {
    assert!((x.rows, x.cols) == (out.rows, out.cols), "add: x {x:?}, out {out:?}");
    program.push(&ADD, &[x, out], Factor { factor });
}

/// Records that the last `rows` rows of hidden become its first.
///
/// # Panics
/// When it has fewer than twice as many.
pub fn carry(program: &mut Program, hidden: Mat, rows: u32) {
    assert!(rows > 0 && rows <= hidden.rows / 2, "carry: {rows} rows of {hidden:?}");
    program.push(&CARRY, &[hidden], Rows { rows });
}

fn run_fill<T: Float>(views: &mut [View<T>], bytes: &[u8]) {
    let [out] = views else { unreachable!("one window") };
    let value = T::from(scalars::<Value>(bytes).value).expect("a float");
    (0..out.rows).for_each(|r| out.row_mut(r).fill(value));
}

fn run_copy<T: Float>(views: &mut [View<T>], _: &[u8]) {
    let [x, out] = views else { unreachable!("two windows") };
    (0..out.rows).for_each(|r| out.row_mut(r).copy_from_slice(x.row(r)));
}

fn run_add<T: Float>(views: &mut [View<T>], bytes: &[u8]) {
    let [x, out] = views else { unreachable!("two windows") };
    let factor = T::from(scalars::<Factor>(bytes).factor).expect("a float");
    (0..out.rows).for_each(|r| out.row_mut(r).iter_mut().zip(x.row(r)).for_each(|(to, &x)| *to = *to + factor * x));
}

/// One rounding, and one of the product where the factor is not 1.
fn bound_add(views: &mut [View<f64>], bytes: &[u8]) {
    let [x, out] = views else { unreachable!("two windows") };
    let factor = f64::from(scalars::<Factor>(bytes).factor);
    for r in 0..out.rows {
        for (to, &x) in out.row_mut(r).iter_mut().zip(x.row(r)) {
            let mut terms = Terms::default();
            terms.number(*to);
            if factor == 1.0 {
                terms.number(x);
                *to = terms.of_numbers();
            } else {
                terms.product(factor, x);
                *to = terms.of_products();
            }
        }
    }
}

fn run_carry<T: Float>(views: &mut [View<T>], bytes: &[u8]) {
    let [hidden] = views else { unreachable!("one window") };
    let rows = scalars::<Rows>(bytes).rows as usize;
    let (last, stride, cols) = (hidden.rows - rows, hidden.stride, hidden.cols);
    for r in 0..rows {
        let from = (last + r) * stride;
        hidden.data_mut().copy_within(from..from + cols, r * stride);
    }
}

/// Where all rows fit a binding. Rows beyond a grid go on in the next dispatch.
fn lower_in_place(step: &Step, cuts: &Cuts) -> Lowered {
    let hidden = step.windows[0];
    let rows = step.scalars::<Rows>().rows;
    let piece = |r: std::ops::Range<u32>| Piece {
        shader: 0,
        // From the first row to be written to the last to be read.
        windows: vec![hidden.slice_rows(r.start..hidden.rows - rows + r.end)],
        scalars: bytes(&Rows { rows: r.end - r.start }),
        grid: [hidden.cols.div_ceil(32), (r.end - r.start).div_ceil(8), 1],
        iterations: 1,
    };
    Lowered::once(blocks(rows, u64::from(cuts.workgroups) * 8).map(piece).collect())
}

/// The last rows into scratch memory and from there to the first: a dispatch cannot bind two ranges of a buffer to read
/// one and write the other, and one range of both may be too large.
fn lower_through_scratch(step: &Step, cuts: &Cuts) -> Lowered {
    let hidden = step.windows[0];
    let rows = step.scalars::<Rows>().rows;
    let stride = hidden.cols.next_multiple_of(ROW_ALIGNMENT);
    let kept = Mat { buf: Buf::SCRATCH[0], offset: 0, rows, stride, ..hidden };
    let mut pieces = Vec::new();
    for windows in [[hidden.slice_rows(hidden.rows - rows..hidden.rows), kept], [kept, hidden.slice_rows(0..rows)]] {
        pieces.extend(pieces_over_rows(&windows, 0, &[], cuts));
    }
    Lowered::once(pieces)
}

/// A dispatch for each block of rows that fits, the same of every window; a workgroup covers 8 rows of 32 columns.
pub(super) fn over_rows(windows: &[Mat], scalars: &[u8], cuts: &Cuts) -> Lowered {
    Lowered::once(pieces_over_rows(windows, 0, scalars, cuts))
}

/// [`over_rows`], by a variant's shader number `shader`.
pub(super) fn pieces_over_rows(windows: &[Mat], shader: usize, scalars: &[u8], cuts: &Cuts) -> Vec<Piece> {
    let part = |r: Range<u32>| (windows.iter().map(|w| w.slice_rows(r.clone())).collect(), scalars.to_vec());
    pieces_by_rows(windows, shader, cuts, part)
}

/// A piece for each block of rows that fits in all of some windows of one shape, with the windows and scalars that `part` makes for it.
pub(super) fn pieces_by_rows(
    windows: &[Mat],
    shader: usize,
    cuts: &Cuts,
    part: impl Fn(Range<u32>) -> (Vec<Mat>, Vec<u8>),
) -> Vec<Piece> {
    let first = windows[0];
    let along: Vec<Along> = windows.iter().copied().map(Along::Rows).collect();
    let piece = |r: Range<u32>| {
        let (windows, scalars) = part(r.clone());
        let grid = [first.cols.div_ceil(32), (r.end - r.start).div_ceil(8), 1];
        Piece { shader, windows, scalars, grid, iterations: 1 }
    };
    cuts.runs(first.rows, &along, [1, 1], u64::from(cuts.workgroups) * 8).map(piece).collect()
}
