//! Sums of columns: the gradient of a bias, and the loss of a window from those of its outputs.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::gemm::Epilogue;
use super::{THREADS, UNROLLED, WINDOW, WORKGROUPS, blocks, bytes};
use crate::program::{
    Along, Binding, Buf, Class, Cuts, Kernel, Lowered, Mat, Piece, Program, ROW_ALIGNMENT, Shader, Step, Variant, View,
    all_windows, little, scalars, whole,
};
use crate::rounding::Terms;

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
const SOFTWARE: Shader = Shader {
    source: &[WINDOW, include_str!("../../shaders/column_sum_software.wgsl")],
    entry: "main",
    bindings: BINDINGS,
    scalars: SCALARS,
};

const TREE: Shader = Shader {
    source: &[WINDOW, include_str!("../../shaders/column_sum_tree.wgsl")],
    entry: "main",
    bindings: BINDINGS,
    scalars: &["rows", "lanes", "accumulate"],
};

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
    let accumulates = scalars::<Accumulate>(bytes).accumulate != 0;
    let arch = pulp::Arch::new();
    let add = |sums: &mut [f32], values: &[f32]| arch.dispatch(|| sums.iter_mut().zip(values).for_each(|(sum, v)| *sum += v));
    // Columns that a thread takes: all of what is small.
    let share = if x.rows * x.cols < 1 << 16 { x.cols } else { 64 };
    out.row_mut(0).par_chunks_mut(share).enumerate().for_each(|(i, out)| {
        let cols = i * share..i * share + out.len();
        let mut block = vec![0.0; out.len()];
        if !accumulates {
            out.fill(0.0);
        }
        for rows in blocks(x.rows as u32, block_size(x.rows as u32)) {
            block.fill(0.0);
            rows.for_each(|r| add(&mut block, &x.row(r as usize)[cols.clone()]));
            add(out, &block);
        }
    });
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

/// Columns that are added up together, and the rows and lanes of a part, by the shape alone.
struct Tree {
    rows: u32,
    lanes: u32,
}

/// As few lanes as a workgroup's threads need to read so many rows at once.
fn narrow(rows: u32, vectors: u32) -> u32 {
    let lanes = (THREADS * UNROLLED / rows).clamp(1, THREADS);
    (1 << lanes.ilog2()).min(vectors.next_power_of_two())
}

impl Tree {
    fn of(rows: u32, cols: u32) -> Tree {
        let vectors = cols.div_ceil(4);
        let lanes = narrow(rows, vectors);
        // Lanes that read less than 64 bytes of longer rows waste what a GPU fetches.
        if u64::from(rows) * u64::from(lanes) <= u64::from(2 * THREADS * UNROLLED) && lanes >= vectors.min(4) {
            return Tree { rows, lanes };
        }
        let lanes = vectors.next_power_of_two().min(32);
        let parts = WORKGROUPS.div_ceil(vectors.div_ceil(lanes));
        Tree { rows: rows.div_ceil(parts).next_multiple_of(THREADS / lanes * UNROLLED), lanes }
    }

    fn piece(&self, x: Mat, out: Mat, accumulate: u32) -> Piece {
        let Tree { rows, lanes } = *self;
        Piece {
            shader: 0,
            windows: vec![x, out],
            scalars: bytes(&Part { rows, lanes, accumulate }),
            grid: [x.cols.div_ceil(4 * lanes), x.rows.div_ceil(rows), 1],
            iterations: rows.div_ceil(THREADS / lanes * UNROLLED) + 32,
        }
    }
}

/// Parts of the rows in scratch memory, and their sum; where a workgroup can add up all rows, only that. Where x is cut, or there is not
/// enough scratch memory, more of each.
fn lower_tree(step: &Step, cuts: &Cuts) -> Lowered {
    let (x, out) = (step.windows[0], step.windows[1]);
    let accumulate = step.scalars::<Accumulate>().accumulate;
    let tree = Tree::of(x.rows, x.cols);
    let most = (u64::from(cuts.workgroups) * u64::from(4 * tree.lanes)).min(cuts.binding / 4 * 4);
    let mut pieces = Vec::new();
    for c in blocks(x.cols, most) {
        let (x, out) = (x.slice_cols(c.clone()), out.slice_cols(c));
        let sums = Mat { buf: Buf::SCRATCH[0], offset: 0, stride: x.cols.next_multiple_of(ROW_ALIGNMENT), ..x };
        let room = cuts.scratch_rows(sums.stride).clamp(1, u64::from(cuts.workgroups)) as u32;
        let mut runs: Vec<Mat> = cuts
            .runs(x.rows, &[Along::Rows(x)], [u64::from(tree.rows), 1], u64::from(room) * u64::from(tree.rows))
            .map(|r| x.slice_rows(r))
            .collect();
        if let [all] = runs[..]
            && all.rows <= tree.rows
        {
            pieces.push(tree.piece(all, out, accumulate));
            continue;
        }
        let mut added = accumulate;
        while !runs.is_empty() {
            let mut filled = 0;
            while let Some(run) = runs.first().filter(|run| filled + run.rows.div_ceil(tree.rows) <= room) {
                let parts = run.rows.div_ceil(tree.rows);
                pieces.push(tree.piece(*run, Mat { rows: filled + parts, ..sums }.slice_rows(filled..filled + parts), 0));
                filled += parts;
                runs.remove(0);
            }
            let last = Tree { rows: filled, lanes: narrow(filled, x.cols.div_ceil(4)) };
            pieces.push(last.piece(Mat { rows: filled, ..sums }, out, added));
            added = 1;
        }
    }
    Lowered::once(pieces)
}
