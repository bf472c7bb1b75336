//! How products are cut into dispatches.

use bytemuck::{Pod, Zeroable};

use super::{Accumulate, Form, extent};
use crate::kernels::{MAX_TERMS, bytes, transpose};
use crate::program::{Along, Buf, Cuts, Lowered, Mat, Piece, ROW_ALIGNMENT, Step, scalars};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct PieceScalars {
    pub k: u32,
    pub accumulate: u32,
    pub rows: u32,
    /// Of the sum over k, what one workgroup along z has.
    pub chunk: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct PartsScalars {
    count: u32,
    lanes: u32,
    accumulate: u32,
}

/// How a variant lays its workgroups over out: rows and columns of each, iterations for so many k, and the sums at a time that keep a large
/// GPU busy.
pub(crate) struct Tile {
    pub rows: u32,
    pub cols: u32,
    pub iterations: fn(u32) -> u32,
    pub busy: u32,
}

impl Tile {
    /// The sums of all tiles of `rows` × `cols` results, those of ragged edges counted whole.
    pub fn sums(&self, rows: u32, cols: u32) -> u32 {
        let [down, across] = [rows.div_ceil(self.rows), cols.div_ceil(self.cols)];
        down.saturating_mul(across).saturating_mul(self.rows * self.cols)
    }
}

pub(super) const BY_LANES: Tile = Tile { rows: 8, cols: 32, iterations: |k| k.div_ceil(4) * 9 + 8, busy: BUSY };
pub(super) const BY_LANES_TN: Tile = Tile { rows: 8, cols: 32, iterations: |k| k + 8, busy: BUSY };
pub(super) const BY_SUBGROUP: Tile = Tile { rows: 16, cols: 32, iterations: |k| k.div_ceil(2), busy: BUSY };
pub(super) const BY_32: Tile = Tile { rows: 32, cols: 32, iterations: |k| k.div_ceil(32) * 42, busy: BUSY };
pub(super) const BY_64: Tile = Tile { rows: 64, cols: 64, iterations: |k| k.div_ceil(16) * 20, busy: BUSY };
pub(crate) const BY_64_128: Tile = Tile { rows: 64, cols: 128, iterations: |k| k.div_ceil(16), busy: BUSY_IN_THREES };
pub(crate) const BY_128_64: Tile = Tile { rows: 128, cols: 64, iterations: |k| k.div_ceil(16), busy: BUSY_IN_THREES };
pub(crate) const BY_128: Tile = Tile { rows: 128, cols: 128, iterations: |k| k.div_ceil(16), busy: BUSY };
pub(super) const BY_128_BY_16: Tile = Tile { rows: 128, cols: 128, iterations: |k| k.div_ceil(16), busy: BUSY };
/// Of 64 threads four workgroups fit a multiprocessor.
pub(crate) const BY_64_BY_16: Tile = Tile { rows: 64, cols: 128, iterations: |k| k.div_ceil(16), busy: BUSY };
pub(super) const BY_COLUMNS: Tile = Tile { rows: SKINNY_ROWS, cols: 4, iterations: |k| k.div_ceil(256) + 16, busy: BUSY };

/// Rows of a product that reads its second side once.
pub(super) const SKINNY_ROWS: u32 = 8;
/// Two workgroups of 128 × 128 sums on each of 128 multiprocessors: with 64 sums a thread, or 128, no more of them fit the registers.
pub(crate) const BUSY: u32 = 2 * 128 * 128 * 128;
/// Three workgroups of 64 × 128 sums on each: of 128 threads with 64 sums a fourth does not fit, and would run when the others have ended.
const BUSY_IN_THREES: u32 = 3 * 128 * 64 * 128;

/// A product is cut by rows of out, by columns where b's rows are, and along k in ascending order, adding.
struct Cutting<'a> {
    form: Form,
    windows: &'a [Mat],
    accumulate: bool,
    tile: &'a Tile,
    cuts: &'a Cuts,
    /// The most terms of a piece.
    terms: u64,
    /// The most rows and columns of out in a piece.
    most: [u64; 2],
}

impl<'a> Cutting<'a> {
    fn new(form: Form, windows: &'a [Mat], accumulate: bool, tile: &'a Tile, cuts: &'a Cuts) -> Cutting<'a> {
        let most = [tile.rows, tile.cols].map(|n| u64::from(cuts.workgroups) * u64::from(n));
        Cutting { form, windows, accumulate, tile, cuts, terms: u64::from(MAX_TERMS), most }
    }

    fn pieces(&self) -> Vec<Piece> {
        let Cutting { form, windows, tile, cuts, .. } = *self;
        let (a, b, out) = (windows[0], windows[1], windows[windows.len() - 1]);
        let (_, _, depth) = extent(form, a, b);
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
        for m in runs(out.rows, by_m, [u64::from(tile.rows), unit_m], self.most[0]) {
            for n in runs(out.cols, by_n, [4, 4], self.most[1]) {
                for k in runs(depth, by_k, [4, unit_k], self.terms) {
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
                            accumulate: u32::from(self.accumulate || k.start > 0),
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
}

fn accumulates(step: &Step) -> bool {
    !step.scalars.is_empty() && step.scalars::<Accumulate>().accumulate != 0
}

pub(super) fn lower_tiles(form: Form, step: &Step, tile: &Tile, cuts: &Cuts) -> Lowered {
    Lowered::once(Cutting::new(form, &step.windows, accumulates(step), tile, cuts).pieces())
}

/// The terms of a part, at least.
const PART_TERMS: u32 = 256;
/// The terms of all parts of a piece, at most: one alone, where there is no room for more, stays below the most iterations of a loop.
pub(crate) const PIECE_TERMS: u32 = 64 * MAX_TERMS;

/// Parts along k for a product of so many sums and terms: as many as keep a GPU busy, by the shape alone. So the bits are the same on every
/// adapter where nothing has to be cut.
fn parts(sums: u32, busy: u32, terms: u32, least: u32) -> u32 {
    (busy / sums.max(1)).min(terms.div_ceil(least)).max(1)
}

/// The terms of each part of a piece of so many sums and terms, and the number of parts: no part has more terms than a running sum may,
/// or fewer than `least`, unless there is only room for so many.
pub(crate) fn share_out(sums: u32, busy: u32, terms: u32, least: u32, room: u32) -> [u32; 2] {
    let parts = parts(sums, busy, terms, least).max(terms.div_ceil(MAX_TERMS)).min(room.max(1));
    let chunk = terms.div_ceil(parts).next_multiple_of(16);
    [chunk, terms.div_ceil(chunk)]
}

/// How the parts of a result are added up.
pub(crate) struct Summing {
    /// Lanes that share the parts of a result.
    pub lanes: u32,
    /// Workgroups along x.
    pub groups: u32,
    /// Iterations of a thread.
    pub iterations: u32,
}

impl Summing {
    /// Of `count` parts of `rows` × `cols` results each, four of a row a thread, by the shape alone but for the number of workgroups.
    pub fn new(rows: u32, cols: u32, count: u32, cuts: &Cuts) -> Summing {
        const THREADS: u32 = 256;
        /// Threads enough for a large GPU.
        const ENOUGH: u32 = 1 << 14;
        let vectors = rows.saturating_mul(cols.div_ceil(4));
        let lanes = if count > 4 && vectors < ENOUGH { 8 } else { 1 };
        let all = vectors.div_ceil(THREADS / lanes);
        let groups = all.min(cuts.workgroups);
        Summing { lanes, groups, iterations: all.div_ceil(groups) * (count.div_ceil(4 * lanes) + 4) }
    }
}

/// The shaders of a variant in parts: that of a product, the one of its parts, and the one that adds them up.
pub(super) type Parts = [usize; 3];
/// Of a product without a bias, whose parts are products as well.
pub(super) const SUM_PARTS: Parts = [0, 0, 1];
/// Of a product with a bias, which counts once.
pub(super) const BIAS_PARTS: Parts = [0, 1, 2];

/// As [`lower_tiles`] where the tiles of out are enough to keep a GPU busy; else in parts along k at the same time, and then their sum.
pub(super) fn lower_parts(form: Form, step: &Step, tile: &Tile, shaders: Parts, cuts: &Cuts) -> Lowered {
    Lowered::once(pieces_in_parts(form, &step.windows, accumulates(step), tile, shaders, cuts))
}

fn pieces_in_parts(form: Form, windows: &[Mat], accumulate: bool, tile: &Tile, shaders: Parts, cuts: &Cuts) -> Vec<Piece> {
    let (m, n, k) = extent(form, windows[0], windows[1]);
    let mut cutting = Cutting::new(form, windows, accumulate, tile, cuts);
    if parts(tile.sums(m, n), tile.busy, k, PART_TERMS) == 1 {
        return cutting.pieces();
    }
    cutting.terms = u64::from(PIECE_TERMS);
    // A part of a piece has to fit scratch memory.
    let stride = windows[windows.len() - 1].cols.next_multiple_of(ROW_ALIGNMENT);
    cutting.most[0] = cutting.most[0].min(cuts.scratch_rows(stride)).max(1);
    cutting.pieces().into_iter().flat_map(|piece| in_parts(piece, tile, shaders, cuts)).collect()
}

/// The sides of a product that do not lie as those of aᵀ·b do, one behind the other in scratch memory, each turned.
fn turned(form: Form, a: Mat, b: Mat) -> [Option<Mat>; 2] {
    let turn = |side: Mat, offset: u64| {
        let stride = side.rows.next_multiple_of(ROW_ALIGNMENT);
        Mat { buf: Buf::SCRATCH[1], offset, rows: side.cols, cols: side.rows, stride, ..side }
    };
    let turned_a = (form != Form::TN).then(|| turn(a, 0));
    let turned_b =
        (form == Form::NT).then(|| turn(b, turned_a.map_or(0, |a| a.end().next_multiple_of(u64::from(ROW_ALIGNMENT)))));
    [turned_a, turned_b]
}

/// Whether the sides that have to be turned have room in scratch memory.
pub(super) fn has_room(form: Form, step: &Step, cuts: &Cuts) -> bool {
    turned(form, step.windows[0], step.windows[1]).iter().flatten().all(|side| cuts.fits(side))
}

/// As [`lower_parts`] of aᵀ·b, where the sides that do not lie so are turned first: a large thread tile has no registers left to turn them on
/// their way in. The last shader turns them.
pub(super) fn lower_turned(form: Form, step: &Step, tile: &Tile, shaders: Parts, cuts: &Cuts) -> Lowered {
    let mut windows = step.windows.clone();
    let mut pieces = Vec::new();
    for (side, to) in turned(form, windows[0], windows[1]).into_iter().enumerate() {
        let Some(to) = to else { continue };
        pieces.extend(transpose::pieces(windows[side], to, shaders[2] + 1, cuts));
        windows[side] = to;
    }
    pieces.extend(pieces_in_parts(Form::TN, &windows, accumulates(step), tile, shaders, cuts));
    Lowered::once(pieces)
}

/// A piece in parts along k, in scratch memory, and their sum; as it is where there is room for one alone.
fn in_parts(mut piece: Piece, tile: &Tile, shaders: Parts, cuts: &Cuts) -> Vec<Piece> {
    let PieceScalars { k, accumulate, rows, .. } = scalars(&piece.scalars);
    let out = piece.windows[piece.windows.len() - 1];
    let stride = out.cols.next_multiple_of(ROW_ALIGNMENT);
    // The parts must fit a binding together.
    let most = (cuts.scratch_rows(stride) / u64::from(rows)).clamp(1, u64::from(cuts.workgroups)) as u32;
    let [chunk, count] = share_out(tile.sums(rows, out.cols), tile.busy, k, PART_TERMS, most);
    let sums = Mat { buf: Buf::SCRATCH[0], offset: 0, rows: count * rows, stride, ..out };
    let mut total = vec![sums];
    total.extend_from_slice(&piece.windows[2..]);
    piece.shader = shaders[1];
    piece.grid[2] = count;
    piece.iterations = (tile.iterations)(chunk);
    piece.scalars = bytes(&PieceScalars { k, accumulate: 0, rows, chunk });
    piece.windows.truncate(2);
    piece.windows.push(sums);
    let Summing { lanes, groups, iterations } = Summing::new(rows, out.cols, count, cuts);
    let sum = Piece {
        shader: shaders[2],
        windows: total,
        scalars: bytes(&PartsScalars { count, lanes, accumulate }),
        grid: [groups, 1, 1],
        iterations,
    };
    vec![piece, sum]
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
    all.extend(Cutting::new(Form::NN, &windows, accumulates(step), tile, cuts).pieces());
    Lowered::once(all)
}
