//! How products are cut into dispatches.

use bytemuck::{Pod, Zeroable};

use super::{Accumulate, Form, extent};
use crate::kernels::{MAX_TERMS, bytes, transpose};
use crate::program::{Along, Buf, Cuts, Lowered, Mat, Piece, ROW_ALIGNMENT, Step, scalars};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct PieceScalars {
    k: u32,
    accumulate: u32,
    rows: u32,
    /// Of the sum over k, what one workgroup along z has.
    chunk: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct PartsScalars {
    parts: u32,
    accumulate: u32,
}

/// How a variant lays its workgroups over out: rows and columns of each, and iterations for one k.
pub(super) struct Tile {
    rows: u32,
    cols: u32,
    iterations: fn(u32) -> u32,
}

pub(super) const BY_LANES: Tile = Tile { rows: 8, cols: 32, iterations: |k| k.div_ceil(4) * 9 + 8 };
pub(super) const BY_LANES_TN: Tile = Tile { rows: 8, cols: 32, iterations: |k| k + 8 };
pub(super) const BY_SUBGROUP: Tile = Tile { rows: 16, cols: 32, iterations: |k| k.div_ceil(2) };
pub(super) const BY_32: Tile = Tile { rows: 32, cols: 32, iterations: |k| k.div_ceil(32) * 42 };
pub(super) const BY_64: Tile = Tile { rows: 64, cols: 64, iterations: |k| k.div_ceil(16) * 20 };
pub(super) const BY_128: Tile = Tile { rows: 128, cols: 128, iterations: |k| k.div_ceil(16) * 22 };
pub(super) const BY_COLUMNS: Tile = Tile { rows: SKINNY_ROWS, cols: 4, iterations: |k| k.div_ceil(256) + 16 };

/// Rows of a product that reads its second side once.
pub(super) const SKINNY_ROWS: u32 = 8;
/// Workgroups that keep a large GPU busy.
pub(super) const BUSY: u32 = 256;

/// Cuts a product by rows of out, by columns where b's rows are, and along k in ascending order, adding.
fn pieces(form: Form, windows: &[Mat], accumulate: bool, tile: &Tile, cuts: &Cuts) -> Vec<Piece> {
    let (a, b, out) = (windows[0], windows[1], windows[windows.len() - 1]);
    let (_, _, depth) = extent(form, a, b);
    let grid = u64::from(cuts.workgroups);
    let (tile_rows, terms) = (u64::from(tile.rows), u64::from(MAX_TERMS));
    // Whose rows are out's rows, out's columns and the terms; the others have those as columns, which need not be cut.
    let (by_m, by_n, by_k): (&[Mat], &[Mat], &[Mat]) = match form {
        Form::NN => (&[out, a], &[], &[b]),
        Form::NT => (&[out, a], &[b], &[]),
        Form::TN => (&[out], &[], &[a, b]),
    };
    let runs = |len: u32, windows: &[Mat], step: [u64; 2], most: u64| {
        let windows: Vec<Along> = windows.iter().copied().map(Along::Rows).collect();
        cuts.runs(len, &windows, step, most)
    };
    // Of aᵀ the rows of out are columns, and of the others the terms.
    let (unit_m, unit_k) = if form == Form::TN { (4, 1) } else { (1, 4) };
    let mut pieces = Vec::new();
    for m in runs(out.rows, by_m, [tile_rows, unit_m], grid * tile_rows) {
        for n in runs(out.cols, by_n, [4, 4], grid * u64::from(tile.cols)) {
            for k in runs(depth, by_k, [4, unit_k], terms) {
                let a = match form {
                    Form::TN => a.slice_cols(m.clone()).slice_rows(k.clone()),
                    _ => a.slice_rows(m.clone()).slice_cols(k.clone()),
                };
                let b = match form {
                    Form::NT => b.slice_rows(n.clone()).slice_cols(k.clone()),
                    _ => b.slice_rows(k.clone()).slice_cols(n.clone()),
                };
                let piece = out.slice_rows(m.clone()).slice_cols(n.clone());
                let mut slices = vec![a, b];
                slices.extend(windows[2..windows.len() - 1].iter().map(|bias| bias.slice_cols(n.clone())));
                slices.push(piece);
                let terms = k.end - k.start;
                pieces.push(Piece {
                    shader: 0,
                    windows: slices,
                    scalars: bytes(&PieceScalars {
                        k: terms,
                        accumulate: u32::from(accumulate || k.start > 0),
                        rows: piece.rows,
                        chunk: terms,
                    }),
                    grid: [piece.cols.div_ceil(tile.cols), piece.rows.div_ceil(tile.rows), 1],
                    iterations: (tile.iterations)(terms),
                });
            }
        }
    }
    pieces
}

fn accumulates(step: &Step) -> bool {
    !step.scalars.is_empty() && step.scalars::<Accumulate>().accumulate != 0
}

pub(super) fn lower_tiles(form: Form, step: &Step, tile: &Tile, cuts: &Cuts) -> Lowered {
    Lowered::once(pieces(form, &step.windows, accumulates(step), tile, cuts))
}

/// The terms of a part, at least.
const PART_TERMS: u32 = 256;

/// Each piece in parts along k at the same time, as many as keep a GPU busy, and then their sum: by the shape alone, so that the
/// bits are the same on every adapter.
pub(super) fn lower_split(form: Form, step: &Step, cuts: &Cuts) -> Lowered {
    let mut all = Vec::new();
    // By halves of what fits, for which there is room in scratch memory wherever its sections meet.
    for mut piece in pieces(form, &step.windows, accumulates(step), &BY_64, &cuts.halves()) {
        let PieceScalars { k, accumulate, rows, .. } = scalars(&piece.scalars);
        let window = piece.windows[2];
        let stride = window.cols.next_multiple_of(ROW_ALIGNMENT);
        // The parts must fit a binding together.
        let most = (cuts.scratch_rows(stride) / u64::from(rows)).clamp(1, u64::from(cuts.workgroups)) as u32;
        let wanted = BUSY.div_ceil(piece.grid[0] * piece.grid[1]).min(k.div_ceil(PART_TERMS)).min(most);
        let chunk = k.div_ceil(wanted).next_multiple_of(16);
        let parts = k.div_ceil(chunk);
        let sums = Mat { buf: Buf::SCRATCH[0], offset: 0, rows: parts * rows, stride, ..window };
        piece.grid[2] = parts;
        piece.iterations = (BY_64.iterations)(chunk);
        piece.scalars = bytes(&PieceScalars { k, accumulate: 0, rows, chunk });
        piece.windows[2] = sums;
        all.push(piece);
        all.push(Piece {
            shader: 1,
            windows: vec![sums, window],
            scalars: bytes(&PartsScalars { parts, accumulate }),
            grid: [window.cols.div_ceil(32), rows.div_ceil(64), 1],
            iterations: 8 * (parts + 1),
        });
    }
    Lowered::once(all)
}

/// Lanes want to lie along b's columns: bᵀ is laid out in scratch memory first where it is not so.
pub(super) fn lower_lanes(form: Form, step: &Step, tile: &Tile, cuts: &Cuts) -> Lowered {
    if form != Form::NT {
        return lower_tiles(form, step, tile, cuts);
    }
    let b = step.windows[1];
    let stride = b.rows.next_multiple_of(ROW_ALIGNMENT);
    let flipped = Mat { buf: Buf::SCRATCH[0], offset: 0, rows: b.cols, cols: b.rows, stride, ..b };
    let mut windows = step.windows.clone();
    windows[1] = flipped;
    let mut all = transpose::pieces(b, flipped, 1, cuts);
    all.extend(pieces(Form::NN, &windows, accumulates(step), tile, cuts));
    Lowered::once(all)
}
