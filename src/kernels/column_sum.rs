//! Sums of columns: the gradient of a bias, and the loss of a window from those of its outputs.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use pulp::{Simd, WithSimd};

use super::gemm::{Epilogue, add_in_order};
use super::{THREADS, UNROLLED, WINDOW, WORKGROUPS, blocks, bytes};
use crate::program::{
    Along, Binding, Buf, Class, Cuts, Kernel, Lowered, Mat, Piece, Program, ROW_ALIGNMENT, Shader, Step, Variant, View,
    all_windows, little, scalars, whole,
};
use crate::rounding::Terms;
use crate::simd::arch;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Accumulate {
    accumulate: u32,
}

/// How the threads of a workgroup lie over a part of x.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Part {
    rows: u32,
    lanes: u32,
    accumulate: u32,
}

const BINDINGS: &[Binding] = &[Binding::read("x"), Binding::update("out")];
const SCALARS: &[&str] = &["accumulate"];
const SOFTWARE: Shader =
    Shader::new(&[WINDOW, include_str!("../../shaders/column_sum_software.wgsl")], "main", BINDINGS, SCALARS);

const TREE: Shader = Shader::new(
    &[WINDOW, include_str!("../../shaders/column_sum_tree.wgsl")],
    "main",
    BINDINGS,
    &["rows", "lanes", "accumulate"],
);

/// out\[c\] = Σᵣ x\[r, c\], or that and out: x `[rows, cols]`, out `[1, cols]`.
pub static COLUMN_SUM: Kernel = Kernel {
    name: "column_sum",
    bindings: BINDINGS,
    scalars: SCALARS,
    definition: define,
    bound,
    parts: whole,
    is_exact: |_| true,
    cpu: run,
    variants: &[
        Variant { name: "tree", class: Class::Gpu, shaders: &[TREE], lower: lower_tree, ..Variant::PLAIN },
        Variant { name: "software", class: Class::Software, shaders: &[SOFTWARE], lower: lower_software, ..Variant::PLAIN },
    ],
    bytes: all_windows,
    working: little,
    runs_beside: |_| true,
    flops: |step| step.windows[0].len() as u64,
    sample: |program, [m, n, k]| {
        // In the longest an invocation reads more than once.
        let more = if m > 65_535 { 8 } else { 1 };
        let (x, out) = (program.matrix("x", more * m, n), program.matrix("out", 1, n));
        column_sum(program, x, out, if k.is_multiple_of(2) { Epilogue::Add } else { Epilogue::Store });
        vec![]
    },
};

/// Records out = the sum of x's rows, or out + that.
///
/// # Panics
/// When the shapes do not fit.
pub fn column_sum(program: &mut Program, x: Mat, out: Mat, epilogue: Epilogue) {
    assert!(out.rows == 1 && x.cols == out.cols, "column sum: x {x:?}, out {out:?}");
    program.push(&COLUMN_SUM, &[x, out], Accumulate { accumulate: u32::from(epilogue == Epilogue::Add) });
}

fn define(views: &mut [View<f64>], bytes: &[u8]) {
    let [x, out] = views else { unreachable!("two windows") };
    let add = scalars::<Accumulate>(bytes).accumulate != 0;
    for c in 0..x.cols {
        let base = if add { out.at(0, c) } else { 0.0 };
        out.set(0, c, (0..x.rows).fold(base, |sum, r| sum + x.at(r, c)));
    }
}

fn bound(views: &mut [View<f64>], bytes: &[u8]) {
    let [x, out] = views else { unreachable!("two windows") };
    let add = scalars::<Accumulate>(bytes).accumulate != 0;
    for c in 0..x.cols {
        let mut terms = Terms::default();
        (0..x.rows).for_each(|r| terms.number(x.at(r, c)));
        if add {
            terms.number(out.at(0, c));
        }
        out.set(0, c, terms.of_numbers());
    }
}

/// Rows summed in blocks of about √rows, and the sums of the blocks, so that rounding errors stay small.
fn run(views: &mut [View<f32>], bytes: &[u8]) {
    let [x, out] = views else { unreachable!("two windows") };
    let (x, out) = (&*x, out.row_mut(0));
    if scalars::<Accumulate>(bytes).accumulate == 0 {
        out.fill(0.0);
    }
    let size = block_size(x.rows as u32) as usize;
    let at_once = if x.rows * x.cols < 1 << 16 { 1 } else { 16 * rayon::current_num_threads() };
    let part = |i: usize, sums: &mut [f32]| arch().dispatch(Block { x, rows: i * size..x.rows.min((i + 1) * size), sums });
    add_in_order(x.rows.div_ceil(size), x.cols, at_once, part, |_, block| {
        out.iter_mut().zip(block).for_each(|(sum, block)| *sum += block);
    });
}

/// The sums of some rows.
struct Block<'a> {
    x: &'a View<'a, f32>,
    rows: Range<usize>,
    sums: &'a mut [f32],
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.sums.fill(0.0);
        for row in self.rows {
            self.sums.iter_mut().zip(self.x.row(row)).for_each(|(sum, x)| *sum += x);
        }
    }
}

fn block_size(rows: u32) -> u64 {
    u64::from(rows).isqrt().max(64)
}

/// Rows of threads in a workgroup of `software`.
const ROWS: u32 = 32;

/// Cut by rows that fit, adding.
fn lower_software(step: &Step, cuts: &Cuts) -> Lowered {
    let (x, out) = (step.windows[0], step.windows[1]);
    let most = u64::from(cuts.iterations / 2 * ROWS);
    let accumulate = step.scalars::<Accumulate>().accumulate;
    let pieces = cuts.runs(x.rows, &[Along::Rows(x)], [1, 1], most).flat_map(|r| {
        let x = x.slice_rows(r.clone());
        blocks(x.cols, u64::from(cuts.workgroups) * 32).map(move |c| Piece {
            shader: 0,
            windows: vec![x.slice_cols(c.clone()), out.slice_cols(c.clone())],
            scalars: bytes(&Accumulate { accumulate: u32::from(r.start > 0) | accumulate }),
            grid: [(c.end - c.start).div_ceil(32), 1, 1],
            iterations: (r.end - r.start).div_ceil(ROWS) + ROWS,
        })
    });
    Lowered::once(pieces.collect())
}

/// The most turns of a thread's loop in `tree`: below the limit of lavapipe, with short running sums.
const LONGEST: u32 = 1 << 13;

/// How a sum is shared out, by the shape alone: rows of a part, and lanes, each with a vector of columns, of a workgroup.
#[derive(Clone, Copy)]
struct Tree {
    rows: u32,
    lanes: u32,
}

impl Tree {
    /// One part of all rows: as few lanes as the threads need to read all rows at once, or, of many rows, most of them.
    fn whole(rows: u32, cols: u32) -> Tree {
        let lanes = (THREADS * UNROLLED / rows).clamp(1, THREADS);
        Tree { rows, lanes: (1 << lanes.ilog2()).min(cols.div_ceil(4).next_power_of_two()) }
    }

    /// One part of a few rows, or as many as keep a GPU busy.
    fn new(rows: u32, cols: u32) -> Tree {
        let (vectors, whole) = (cols.div_ceil(4), Tree::whole(rows, cols));
        // Lanes that read less than 64 bytes of longer rows waste what a GPU fetches.
        let is_short = u64::from(rows) * u64::from(whole.lanes) <= u64::from(2 * THREADS * UNROLLED);
        if is_short && whole.lanes >= vectors.min(4) {
            return whole;
        }
        let lanes = vectors.next_power_of_two().min(32);
        let parts = WORKGROUPS.div_ceil(vectors.div_ceil(lanes));
        let at_once = THREADS / lanes * UNROLLED;
        Tree { rows: rows.div_ceil(parts).next_multiple_of(at_once).min(at_once * LONGEST), lanes }
    }

    fn parts(&self, x: Mat) -> u32 {
        x.rows.div_ceil(self.rows)
    }

    fn piece(&self, x: Mat, out: Mat, accumulate: u32) -> Piece {
        let Tree { rows, lanes } = *self;
        Piece {
            shader: 0,
            windows: vec![x, out],
            scalars: bytes(&Part { rows, lanes, accumulate }),
            grid: [x.cols.div_ceil(4 * lanes), self.parts(x), 1],
            iterations: rows.div_ceil(THREADS / lanes * UNROLLED) + 32,
        }
    }
}

/// Sums of parts of the rows in scratch memory, and the sum of those; of one part that alone. Where x is cut its pieces' parts are added up
/// together, as many as scratch memory has room for.
fn lower_tree(step: &Step, cuts: &Cuts) -> Lowered {
    let (x, out) = (step.windows[0], step.windows[1]);
    let accumulate = step.scalars::<Accumulate>().accumulate;
    let tree = Tree::new(x.rows, x.cols);
    let most = (u64::from(cuts.workgroups) * u64::from(4 * tree.lanes)).min(cuts.binding / 4 * 4);
    let mut pieces = Vec::new();
    for c in blocks(x.cols, most) {
        let (x, out) = (x.slice_cols(c.clone()), out.slice_cols(c));
        let sums = Mat { buf: Buf::SCRATCH[0], offset: 0, stride: x.cols.next_multiple_of(ROW_ALIGNMENT), ..x };
        let room = cuts.scratch_rows(sums.stride).clamp(1, u64::from(cuts.workgroups)) as u32;
        let fit = u64::from(room) * u64::from(tree.rows);
        let mut runs = cuts.runs(x.rows, &[Along::Rows(x)], [u64::from(tree.rows), 1], fit).map(|r| x.slice_rows(r)).peekable();
        if let Some(all) = runs.next_if(|run| run.rows == x.rows && tree.parts(*run) == 1) {
            pieces.push(tree.piece(all, out, accumulate));
        }
        let mut added = accumulate;
        while runs.peek().is_some() {
            let mut filled = 0;
            while let Some(run) = runs.next_if(|run| filled + tree.parts(*run) <= room) {
                let rows = filled..filled + tree.parts(run);
                filled = rows.end;
                pieces.push(tree.piece(run, Mat { rows: filled, ..sums }.slice_rows(rows), 0));
            }
            let mut last = Tree::whole(filled, x.cols);
            last.lanes = last.lanes.max(x.cols.div_ceil(4).div_ceil(cuts.workgroups).next_power_of_two());
            pieces.push(last.piece(Mat { rows: filled, ..sums }, out, added));
            added = 1;
        }
    }
    Lowered::once(pieces)
}
