//! The loop over time as dispatches. It is cut by time, so that each window is one binding, and each time step along k, adding in
//! ascending order with the cell on the last piece. Where a block of the states and the next are not one binding, since they are
//! too large or lie in two sections of their buffer, the step is computed in scratch memory, for some sequences at a time. Large steps
//! have their sums over k in parts, which lie in the second scratch memory until the cell is called with their sum.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::conditions::{runs, units};
use super::pointwise::{Dims, Windows};
use super::ways::{Tile, Way};
use super::{Shape, text};
use crate::kernels::fill::{COPY_SHADER, pieces_over_rows};
use crate::kernels::gemm::{self, Summing};
use crate::kernels::{MAX_TERMS, WINDOW, bytes};
use crate::program::{Binding, Buf, Cuts, Lowered, Mat, Phase, Piece, ROW_ALIGNMENT, Shader, Step, Times};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct PieceScalars {
    batch: u32,
    activation: u32,
    k: u32,
    more: u32,
    /// All time steps of the windows, and how many of them a dispatch does that does several.
    steps: u32,
    chunk: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ProductScalars {
    k: u32,
    rows: u32,
    chunk: u32,
    /// Whether the states lie in the block behind a time step, and not in the one before.
    later: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct PartsScalars {
    batch: u32,
    activation: u32,
    count: u32,
    lanes: u32,
}

pub(crate) const PIECE_SCALARS: &[&str] = &["batch", "activation", "k", "more", "steps", "chunk"];
/// The second shader of every variant: to bring states to scratch memory and back.
pub(crate) const COPY: Shader = COPY_SHADER;
/// The third of those in parts adds up the parts and calls the cell.
const SUM_AND_CELL: usize = 2;
pub(crate) const PARTS_SCALARS: &[&str] = &["batch", "activation", "count", "lanes"];

const fn product(source: &'static [&'static str]) -> Shader {
    const BINDINGS: &[Binding] = &[Binding::read("a"), Binding::read("b"), Binding::update("out")];
    Shader::new(source, "main", BINDINGS, &["k", "rows", "chunk", "later"]).in_bounds()
}

const STATES: &str = include_str!("../../../shaders/shared/gemm_states.wgsl");
/// The recurrent sums of a time step, for all cells: in tiles of 64 × 128, and of 128 × 128, and from states that are turned.
pub(crate) const WIDE_PRODUCT: Shader =
    product(&[WINDOW, text::TIME, STATES, gemm::TILE_64_128, gemm::fetch::A_ROWS, gemm::fetch::B_ROWS, gemm::LARGE]);
pub(crate) const LARGE_PRODUCT: Shader =
    product(&[WINDOW, text::TIME, STATES, gemm::TILE_128, gemm::fetch::A_ROWS, gemm::fetch::B_ROWS, gemm::LARGE]);

pub(crate) const TURNED_PRODUCT: Shader =
    gemm::sum_shader(&[WINDOW, gemm::SUM, gemm::TILE_64_BY_16, gemm::fetch::A_COLS, gemm::fetch::B_ROWS, gemm::LARGE])
        .in_bounds();
/// The fourth shader of a variant in parts: it turns the states of a time step.
pub(crate) const TURN: Shader = Shader::new(
    &[WINDOW, text::TIME, include_str!("../../../shaders/recurrence_turn.wgsl")],
    "main",
    &[Binding::read("states"), Binding::write("out")],
    &["batch", "later"],
)
.in_bounds();
const TURNING: usize = 3;

/// Cuts a recurrence of a cell in a direction into dispatches.
pub(crate) fn lower(step: &Step, cuts: &Cuts, dims: &Dims, backward: bool, way: Way) -> Lowered {
    let place = dims.windows()[usize::from(backward)];
    let units = units(step);
    let sums = if backward { 1 } else { dims.gates as u32 };
    Lowering { step, shape: step.scalars(), place, units, sums, backward, way, cuts }.lower()
}

/// A step on its way to dispatches.
pub(super) struct Lowering<'a> {
    step: &'a Step,
    pub shape: Shape,
    place: Windows,
    pub units: u32,
    /// The sums of a unit that the product makes.
    sums: u32,
    pub backward: bool,
    way: Way,
    pub cuts: &'a Cuts,
}

/// The windows of some time steps and sequences.
pub(super) struct Slices {
    /// With a block for each time step: the first window, those that are read, and those that are written.
    pub first: Mat,
    reads: Vec<Mat>,
    outputs: Vec<Mat>,
    /// With a block more.
    pub states: Vec<Mat>,
}

impl Lowering<'_> {
    pub fn weight(&self) -> Mat {
        self.step.windows[1]
    }

    fn constants(&self) -> &[Mat] {
        &self.step.windows[2..2 + self.place.constants]
    }

    /// The states, of which the product reads the first.
    fn states(&self) -> &[Mat] {
        &self.step.windows[self.place.first_state()..][..self.place.states]
    }

    /// The windows with a block for each time step.
    fn by_time(&self) -> impl Iterator<Item = &Mat> {
        let windows = &self.step.windows;
        let reads = &windows[self.place.first_read()..][..self.place.reads];
        windows[..1].iter().chain(reads).chain(&windows[self.place.first_output()..])
    }

    /// Some rows of the windows with a block for each time step, and these states.
    fn slices(&self, rows: Range<u32>, states: Vec<Mat>) -> Slices {
        let mut all = self.by_time().map(|w| w.slice_rows(rows.clone()));
        let first = all.next().expect("the first window");
        let reads = all.by_ref().take(self.place.reads).collect();
        Slices { first, reads, outputs: all.collect(), states }
    }

    fn lower(&self) -> Lowered {
        let steps = self.step.windows[0].rows / self.shape.batch;
        let mut runs = Vec::new();
        let mut t = 0;
        while t < steps {
            let count = self.fit(t, steps);
            runs.push(if count == 0 { vec![self.through_scratch(t)] } else { self.phases(t, count) });
            t += count.max(1);
        }
        if self.backward {
            runs.reverse();
        }
        Lowered { phases: runs.into_iter().flatten().collect() }
    }

    /// Time steps from t on that are one binding in every window.
    fn fit(&self, t: u32, steps: u32) -> u32 {
        let batch = self.shape.batch;
        let blocks = |w: &Mat| self.cuts.rows(w, t * batch) / u64::from(batch);
        let most = self.by_time().map(blocks).fold(u64::from(steps - t), u64::min);
        let most = self.states().iter().map(|w| blocks(w).saturating_sub(1)).fold(most, u64::min);
        if u64::from(batch) <= self.sequences() { most as u32 } else { 0 }
    }

    /// The most sequences at a time.
    fn sequences(&self) -> u64 {
        let by_grid = u64::from(self.cuts.workgroups) * u64::from(self.way.rows());
        match self.way {
            Way::Fused(_) | Way::Held(_) => by_grid,
            Way::Parts(_) | Way::Turned(_) => {
                by_grid.min(self.part_rows() / runs(self.weight(), self.cuts, gemm::PIECE_TERMS).count() as u64)
            }
        }
    }

    /// The rows of parts that there is room for.
    fn part_rows(&self) -> u64 {
        self.cuts.scratch_rows(self.weight().cols.next_multiple_of(ROW_ALIGNMENT))
    }

    /// `count` time steps from t on.
    fn phases(&self, t: u32, count: u32) -> Vec<Phase> {
        let batch = self.shape.batch;
        let rows = t * batch..(t + count) * batch;
        let states = self.states().iter().map(|w| w.slice_rows(rows.start..rows.end + batch)).collect();
        let slices = self.slices(rows, states);
        if let Way::Held(held) = &self.way {
            return self.held(&slices, batch, held);
        }
        // The shader of several steps counts them itself, in the order of the direction.
        let times = match self.way {
            Way::Fused(Tile { steps: chunk @ 2.., .. }) => Times { first: 0, count: count.div_ceil(chunk), backward: false },
            _ => Times { first: if self.backward { count - 1 } else { 0 }, count, backward: self.backward },
        };
        vec![Phase { times, pieces: self.pieces(&slices, batch) }]
    }

    /// Time step t: for some sequences after the other, the states before it are copied to scratch memory, and those after it back.
    fn through_scratch(&self, t: u32) -> Phase {
        let (batch, cuts) = (self.shape.batch, self.cuts);
        let stride = |state: &Mat| state.cols.next_multiple_of(ROW_ALIGNMENT);
        let room = self.states().iter().map(|state| cuts.scratch_rows(stride(state)) / 2).fold(u64::MAX, u64::min);
        let most = room.min(self.sequences());
        let (before, after) = if self.backward { (1, 0) } else { (0, 1) };
        let mut pieces = Vec::new();
        let mut first = 0;
        while first < batch {
            let row = t * batch + first;
            let fit = self.by_time().map(|w| cuts.rows(w, row)).fold(most, u64::min);
            let count = fit.clamp(1, u64::from(batch - first)) as u32;
            let scratch: Vec<Mat> = self
                .states()
                .iter()
                .zip(STATE_SCRATCH)
                .map(|(state, buf)| Mat { buf, offset: 0, rows: 2 * count, stride: stride(state), ..*state })
                .collect();
            let half = |scratch: &Mat, i: u32| scratch.slice_rows(i * count..(i + 1) * count);
            let block = |state: &Mat, i: u32| state.slice_rows(row + i * batch..row + i * batch + count);
            for (state, scratch) in self.states().iter().zip(&scratch) {
                pieces.extend(pieces_over_rows(&[block(state, before), half(scratch, before)], 1, &[], cuts));
            }
            pieces.extend(self.pieces(&self.slices(row..row + count, scratch.clone()), count));
            for (state, scratch) in self.states().iter().zip(&scratch) {
                pieces.extend(pieces_over_rows(&[half(scratch, after), block(state, after)], 1, &[], cuts));
            }
            first += count;
        }
        Phase { times: Times::once(), pieces }
    }

    /// The pieces of some time steps of `batch` sequences.
    fn pieces(&self, slices: &Slices, batch: u32) -> Vec<Piece> {
        match &self.way {
            Way::Fused(tile) => self.fused(slices, batch, tile),
            Way::Parts(tile) | Way::Turned(tile) => self.parts(slices, batch, tile),
            // Of one time step, each phase of which runs once.
            Way::Held(held) => self.held(slices, batch, held).into_iter().flat_map(|phase| phase.pieces).collect(),
        }
    }

    /// The windows of a shader that calls the cell, behind the first two.
    pub fn windows(&self, first: [Mat; 2], slices: &Slices) -> Vec<Mat> {
        [&first[..], self.constants(), &slices.reads, &slices.states, &slices.outputs].concat()
    }

    /// A piece for each run of k, adding to what the one before left.
    fn fused(&self, slices: &Slices, batch: u32, tile: &Tile) -> Vec<Piece> {
        let weight = self.weight();
        let steps = slices.first.rows / batch;
        let chunk = steps.min(tile.steps);
        let piece = |k: Range<u32>| Piece {
            shader: 0,
            windows: self.windows([slices.first, weight.slice_rows(k.clone())], slices),
            scalars: bytes(&PieceScalars {
                batch,
                activation: self.shape.activation,
                k: k.start,
                more: u32::from(k.end < weight.rows),
                steps,
                chunk,
            }),
            grid: [self.units.div_ceil(tile.cols), batch.div_ceil(tile.rows), 1],
            iterations: (tile.iterations)(k.end - k.start, self.sums) * chunk,
        };
        runs(weight, self.cuts, MAX_TERMS).map(piece).collect()
    }

    /// The parts of each run of k, and one piece that adds up all of them.
    fn parts(&self, slices: &Slices, batch: u32, tile: &gemm::Tile) -> Vec<Piece> {
        let (weight, state) = (self.weight(), slices.states[0]);
        let runs = runs(weight, self.cuts, gemm::PIECE_TERMS);
        let grid = [weight.cols.div_ceil(tile.cols), batch.div_ceil(tile.rows)];
        // For each run alike, by the shape alone where nothing has to be cut.
        let room = (self.part_rows() / u64::from(batch) / runs.len() as u64).min(u64::from(self.cuts.workgroups)) as u32;
        let sums = tile.sums(batch, weight.cols).saturating_mul(runs.len() as u32);
        let share = |k: Range<u32>| (k.clone(), gemm::share_out(sums, tile.busy, k.end - k.start, PART_TERMS, room));
        let shares: Vec<(Range<u32>, [u32; 2])> = runs.map(share).collect();
        let count: u32 = shares.iter().map(|(_, [_, count])| count).sum();
        let stride = weight.cols.next_multiple_of(ROW_ALIGNMENT);
        let all = Mat { buf: Buf::SCRATCH[1], offset: 0, rows: count * batch, cols: weight.cols, stride, ..state };
        let later = u32::from(self.backward);
        let turned = matches!(self.way, Way::Turned(_)).then(|| turned(state, batch));
        let mut pieces: Vec<Piece> = turned.iter().map(|&out| turn(state, out, batch, later)).collect();
        let mut first = 0;
        for (k, [chunk, count]) in shares {
            let rows = first * batch..(first + count) * batch;
            let terms = k.end - k.start;
            let (a, scalars) = match turned {
                Some(turned) => {
                    (turned.slice_rows(k.clone()), bytes(&gemm::PieceScalars { k: terms, accumulate: 0, rows: batch, chunk }))
                }
                None => (state.slice_cols(k.clone()), bytes(&ProductScalars { k: terms, rows: batch, chunk, later })),
            };
            pieces.push(Piece {
                shader: 0,
                windows: vec![a, weight.slice_rows(k), all.slice_rows(rows)],
                scalars,
                grid: [grid[0], grid[1], count],
                iterations: (tile.iterations)(chunk),
            });
            first += count;
        }
        let Summing { lanes, groups, iterations } = Summing::new(batch, self.units, count, self.cuts);
        pieces.push(Piece {
            shader: SUM_AND_CELL,
            windows: self.windows([all, slices.first], slices),
            scalars: bytes(&PartsScalars { batch, activation: self.shape.activation, count, lanes }),
            grid: [groups, 1, 1],
            iterations: iterations * self.sums,
        });
        pieces
    }
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct TurnScalars {
    batch: u32,
    later: u32,
}

/// Where the states of a time step lie turned: a row for each unit, or gate, and a column for each sequence.
fn turned(states: Mat, batch: u32) -> Mat {
    let stride = batch.next_multiple_of(ROW_ALIGNMENT);
    Mat { buf: Buf::SCRATCH[3], offset: 0, rows: states.cols, cols: batch, stride, ..states }
}

fn turn(states: Mat, out: Mat, batch: u32, later: u32) -> Piece {
    Piece {
        shader: TURNING,
        windows: vec![states, out],
        scalars: bytes(&TurnScalars { batch, later }),
        grid: [states.cols.div_ceil(4 * 64), batch.div_ceil(4), 1],
        iterations: 1,
    }
}

/// Where the states of a time step lie that is computed in scratch memory.
const STATE_SCRATCH: [Buf; 2] = [Buf::SCRATCH[0], Buf::SCRATCH[2]];

/// The terms of a part, at least: fewer than a product's, since the time steps follow each other.
const PART_TERMS: u32 = 64;
