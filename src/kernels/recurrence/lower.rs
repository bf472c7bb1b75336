//! The loop over time as dispatches. It is cut by time, so that each window is one binding, and each time step along k, adding in
//! ascending order with the cell on the last piece. Where a block of the states and the next are not one binding, since they are
//! too large or lie in two sections of their buffer, the step is computed in scratch memory, for some sequences at a time.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::Shape;
use crate::kernels::fill::{COPY_SHADER, pieces_over_rows};
use crate::kernels::{MAX_TERMS, bytes};
use crate::program::{Along, Buf, Cuts, Lowered, Mat, Phase, Piece, ROW_ALIGNMENT, Shader, Step, Times};

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

pub(crate) const PIECE_SCALARS: &[&str] = &["batch", "activation", "k", "more", "steps", "chunk"];
/// The second shader of every variant: to bring states to scratch memory and back.
pub(crate) const COPY: Shader = COPY_SHADER;

/// Whether a layer has at most so many units, its weight is in one piece, and there is a workgroup for each sequence.
pub(crate) fn has_units(step: &Step, cuts: &Cuts, most: u32) -> bool {
    let (weight, batch) = (step.windows[1], step.scalars::<Shape>().batch);
    weight.cols <= most && cuts.fits(&weight) && batch <= cuts.workgroups
}

/// Whether the sequences are so few that reading the weight is what takes the time.
pub(crate) fn is_skinny(step: &Step) -> bool {
    step.scalars::<Shape>().batch <= 16
}

/// How a variant lays its workgroups over sequences and units, its iterations for one k, and the time steps of a dispatch.
pub(crate) struct Tile {
    rows: u32,
    cols: u32,
    iterations: fn(u32) -> u32,
    /// 1, or the most of a dispatch that does several, and then the iterations are those of one.
    steps: u32,
}

pub(crate) const BY_LANES: Tile = Tile { rows: 8, cols: 32, iterations: |k| k.div_ceil(4) * 9 + 8, steps: 1 };
pub(crate) const BY_SUBGROUP: Tile = Tile { rows: 16, cols: 32, iterations: |k| k.div_ceil(4), steps: 1 };
pub(crate) const BY_SLICES: Tile = Tile { rows: 8, cols: 32, iterations: |k| k.div_ceil(64) + 16, steps: 1 };
pub(crate) const TILED: Tile = Tile { rows: 16, cols: 32, iterations: |k| k.div_ceil(32) * 11, steps: 1 };
/// As many steps as a submission may last where it is slow.
pub(crate) const BY_SEQUENCE: Tile = Tile { rows: 1, cols: 128, iterations: |_| 4, steps: 1024 };

pub(crate) fn lower_forward(step: &Step, cuts: &Cuts, tile: Tile) -> Lowered {
    let [input, weight, hidden] = step.windows[..] else { unreachable!("three windows") };
    Lowering::new(step, weight, &[input], hidden, false, &tile, cuts).lower()
}

pub(crate) fn lower_backward(step: &Step, cuts: &Cuts, tile: Tile) -> Lowered {
    let [d_hidden, weight, hidden, d_sum] = step.windows[..] else { unreachable!("four windows") };
    Lowering::new(step, weight, &[d_hidden, hidden], d_sum, true, &tile, cuts).lower()
}

/// A step on its way to dispatches.
struct Lowering<'a> {
    shape: Shape,
    weight: Mat,
    /// With a block for each time step; the first is bound before the weight, the others behind it.
    inputs: &'a [Mat],
    /// With a block more.
    states: Mat,
    backward: bool,
    tile: &'a Tile,
    cuts: &'a Cuts,
}

impl<'a> Lowering<'a> {
    fn new(step: &Step, weight: Mat, inputs: &'a [Mat], states: Mat, backward: bool, tile: &'a Tile, cuts: &'a Cuts) -> Self {
        Lowering { shape: step.scalars(), weight, inputs, states, backward, tile, cuts }
    }

    fn lower(&self) -> Lowered {
        let batch = self.shape.batch;
        let steps = self.inputs[0].rows / batch;
        let mut phases = Vec::new();
        let mut t = 0;
        while t < steps {
            let count = self.fit(t, steps);
            phases.push(if count == 0 { self.through_scratch(t) } else { self.phase(t, count) });
            t += count.max(1);
        }
        if self.backward {
            phases.reverse();
        }
        Lowered { phases }
    }

    /// Time steps from t on that are one binding in every window.
    fn fit(&self, t: u32, steps: u32) -> u32 {
        let batch = self.shape.batch;
        let blocks = |w: &Mat| self.cuts.rows(w, t * batch) / u64::from(batch);
        let most = self.inputs.iter().map(blocks).fold(u64::from(steps - t), u64::min);
        let most = most.min(blocks(&self.states).saturating_sub(1));
        if batch.div_ceil(self.tile.rows) <= self.cuts.workgroups { most as u32 } else { 0 }
    }

    /// `count` time steps from t on.
    fn phase(&self, t: u32, count: u32) -> Phase {
        let batch = self.shape.batch;
        let rows = t * batch..(t + count) * batch;
        let inputs: Vec<Mat> = self.inputs.iter().map(|w| w.slice_rows(rows.clone())).collect();
        // The shader of several steps counts them itself, in the order of the direction.
        let times = match self.tile.steps {
            1 => Times { first: if self.backward { count - 1 } else { 0 }, count, backward: self.backward },
            chunk => Times { first: 0, count: count.div_ceil(chunk), backward: false },
        };
        Phase { times, pieces: self.pieces(&inputs, self.states.slice_rows(rows.start..rows.end + batch), batch) }
    }

    /// Time step t: for some sequences after the other, the state before it is copied to scratch memory, and the one after it back.
    fn through_scratch(&self, t: u32) -> Phase {
        let (batch, states, cuts) = (self.shape.batch, self.states, self.cuts);
        let stride = states.cols.next_multiple_of(ROW_ALIGNMENT);
        let room = cuts.scratch_rows(stride) / 2;
        let most = room.min(u64::from(cuts.workgroups) * u64::from(self.tile.rows));
        let (before, after) = if self.backward { (1, 0) } else { (0, 1) };
        let mut pieces = Vec::new();
        let mut first = 0;
        while first < batch {
            let row = t * batch + first;
            let fit = self.inputs.iter().map(|w| cuts.rows(w, row)).fold(most, u64::min);
            let count = fit.clamp(1, u64::from(batch - first)) as u32;
            let scratch = Mat { buf: Buf::SCRATCH[0], offset: 0, rows: 2 * count, stride, ..states };
            let half = |i: u32| scratch.slice_rows(i * count..(i + 1) * count);
            let block = |i: u32| states.slice_rows(row + i * batch..row + i * batch + count);
            let inputs: Vec<Mat> = self.inputs.iter().map(|w| w.slice_rows(row..row + count)).collect();
            pieces.extend(pieces_over_rows(&[block(before), half(before)], 1, &[], cuts));
            pieces.extend(self.pieces(&inputs, scratch, count));
            pieces.extend(pieces_over_rows(&[half(after), block(after)], 1, &[], cuts));
            first += count;
        }
        Phase { times: Times::once(), pieces }
    }

    /// The pieces along k of some time steps of `batch` sequences.
    fn pieces(&self, inputs: &[Mat], states: Mat, batch: u32) -> Vec<Piece> {
        let Lowering { weight, tile, .. } = *self;
        let steps = inputs[0].rows / batch;
        let chunk = steps.min(tile.steps);
        let piece = |k: Range<u32>| Piece {
            shader: 0,
            windows: [&inputs[..1], &[weight.slice_rows(k.clone())], &inputs[1..], &[states]].concat(),
            scalars: bytes(&PieceScalars {
                batch,
                activation: self.shape.activation,
                k: k.start,
                more: u32::from(k.end < weight.rows),
                steps,
                chunk,
            }),
            grid: [weight.cols.div_ceil(tile.cols), batch.div_ceil(tile.rows), 1],
            iterations: (tile.iterations)(k.end - k.start) * chunk,
        };
        self.cuts.runs(weight.rows, &[Along::Rows(weight)], [4, 4], u64::from(MAX_TERMS)).map(piece).collect()
    }
}
