//! The loop over time on the CPU: the weight is packed once for all steps, each gate's by itself, and the threads share out sequences or
//! units.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::{Mutex, PoisonError, RwLock};

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::barrier::Barrier;
use super::pointwise::{Dims, MOST, Pointwise, gate_stride};
use super::row::{BackwardRow, ForwardRow, backward_row, forward_row};
use super::{Shape, windows_of};
use crate::Activation;
use crate::activation::with_known;
use crate::kernels::gemm::{Base, Group, PARALLEL, Panels, Source, pack_rows};
use crate::program::{View, scalars};
use crate::simd::arch;

/// Weights of at most so many numbers stay in a core's own cache: then each thread takes some sequences through all of time.
/// Larger ones are shared out by units, each thread keeping its own, and the threads meet after each time step.
const CACHED: usize = 3 << 17;

pub(super) fn run_forward<P: Pointwise>(views: &mut [View<f32>], bytes: &[u8]) {
    let Shape { batch, activation } = scalars(bytes);
    let (dims, place) = (P::DIMS, windows_of::<P>(false));
    let (inputs, written) = views.split_at_mut(place.first_state());
    let (input, weight) = (&inputs[0], &inputs[1]);
    let constants = &inputs[2..2 + dims.constants];
    let activation = Activation::coded(activation);
    let shape = [batch as usize, written[0].cols, dims.gates, place.states];
    let is_dense = is_dense(&dims, inputs, written);
    Loop::new(shape, weight, [1, dims.saved], false, is_dense).over_time(written, |units, rows| {
        let constants = constant_parts(constants, &units);
        arch().dispatch(ForwardStep::<P> { activation, input, constants, units, rows, cell: PhantomData });
    });
}

/// The pointwise part of a time step, in one function for the processor's instructions.
struct ForwardStep<'a, 'v, P> {
    activation: Activation,
    input: &'a View<'a, f32>,
    constants: [&'a [f32]; MOST],
    units: Range<usize>,
    rows: Rows<'a, 'v>,
    cell: PhantomData<P>,
}

impl<P: Pointwise> WithSimd for ForwardStep<'_, '_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let ForwardStep { input, constants, units, mut rows, .. } = self;
        let activation = if P::IS_ACTIVATED { self.activation } else { Activation::Tanh };
        let stride = rows.stride;
        with_known!(activation, KNOWN => {
            while let Some((row, parts)) = rows.next() {
                let Parts { sums, first_before, others_before, first, others, output } = parts;
                let [h_before, ..] = first_before;
                let [h, ..] = first;
                let input = gate_parts(input, row, P::DIMS.gates, stride, (units.start, sums[0].len()));
                let before = in_front(h_before, others_before);
                let row = ForwardRow { input, recurrent: sums, constants, before, states: in_front(h, others), saved: output };
                forward_row::<P, S>(simd, KNOWN, row);
            }
        });
    }
}

pub(super) fn run_backward<P: Pointwise>(views: &mut [View<f32>], bytes: &[u8]) {
    let Shape { batch, activation } = scalars(bytes);
    let (dims, place) = (P::DIMS, windows_of::<P>(true));
    let (inputs, written) = views.split_at_mut(place.first_state());
    let (d_hidden, weight) = (&inputs[0], &inputs[1]);
    let constants = &inputs[2..2 + dims.constants];
    let kept = &inputs[place.first_read()..place.first_read() + dims.kept];
    let saved = inputs.last().expect("the windows that are read");
    let activation = Activation::coded(activation);
    let shape = [batch as usize, d_hidden.cols, dims.gates, place.states];
    let is_dense = is_dense(&dims, inputs, written);
    Loop::new(shape, weight, [dims.gates; 2], true, is_dense).over_time(written, |units, rows| {
        let constants = constant_parts(constants, &units);
        arch().dispatch(BackwardStep::<P> { activation, d_hidden, constants, kept, saved, units, rows, cell: PhantomData });
    });
}

/// The same back in time.
struct BackwardStep<'a, 'v, P> {
    activation: Activation,
    d_hidden: &'a View<'a, f32>,
    constants: [&'a [f32]; MOST],
    kept: &'a [View<'a, f32>],
    saved: &'a View<'a, f32>,
    units: Range<usize>,
    rows: Rows<'a, 'v>,
    cell: PhantomData<P>,
}

impl<P: Pointwise> WithSimd for BackwardStep<'_, '_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let BackwardStep { d_hidden, constants, kept, saved, units, mut rows, .. } = self;
        let activation = if P::IS_ACTIVATED { self.activation } else { Activation::Tanh };
        let stride = rows.stride;
        with_known!(activation, KNOWN => {
            while let Some((row, parts)) = rows.next() {
                let Parts { sums: [recurrent, ..], others_before, first, others, output, .. } = parts;
                let range = (units.start, recurrent.len());
                let [above, ..] = gate_parts(d_hidden, row, 1, stride, range);
                let row = BackwardRow {
                    d_hidden: [above, recurrent, &[], &[]],
                    direct: others_before,
                    constants,
                    kept: rows_of(kept, row, range),
                    saved: gate_parts(saved, row, P::DIMS.saved, stride, range),
                    written: [first, others, output],
                };
                backward_row::<P, S>(simd, KNOWN, row);
            }
        });
    }
}

/// Whether rows of one number a unit follow each other without gaps in all windows but the weight's.
fn is_dense(dims: &Dims, inputs: &[View<f32>], written: &[View<f32>]) -> bool {
    let units = written[0].cols;
    let is_dense = |view: &View<f32>| (view.cols, view.stride) == (units, units);
    dims.constants == 0 && dims.saved <= 1 && is_dense(&inputs[0]) && inputs[2..].iter().chain(written).all(is_dense)
}

/// The numbers of some parts of a row, so many from the first unit on.
fn gate_parts<'a>(view: &'a View<f32>, row: usize, count: usize, step: usize, units: (usize, usize)) -> [&'a [f32]; MOST] {
    let (first, len) = units;
    let mut parts: [&[f32]; MOST] = [&[]; MOST];
    for (part, to) in parts.iter_mut().enumerate().take(count) {
        *to = &view.data()[row * view.stride + part * step + first..][..len];
    }
    parts
}

fn constant_parts<'a>(constants: &'a [View<f32>], units: &Range<usize>) -> [&'a [f32]; MOST] {
    rows_of(constants, 0, (units.start, units.len()))
}

/// The numbers of a row of each window, so many from the first unit on.
fn rows_of<'a>(windows: &'a [View<f32>], row: usize, (first, len): (usize, usize)) -> [&'a [f32]; MOST] {
    let mut parts: [&[f32]; MOST] = [&[]; MOST];
    parts.iter_mut().zip(windows).for_each(|(part, view)| *part = &view.data()[row * view.stride + first..][..len]);
    parts
}

/// The first of some, and those behind it.
fn in_front<T>(first: T, others: [T; MOST]) -> [T; MOST] {
    let [a, b, c, _] = others;
    [first, a, b, c]
}

/// Some units of a row of a time step.
struct Parts<'a> {
    /// The recurrent sums of each gate forward; backward the one that comes back to h.
    sums: [&'a [f32]; MOST],
    /// The state that the product reads, before the time step.
    first_before: [&'a [f32]; MOST],
    /// The other states before it, each in a part.
    others_before: [&'a [f32]; MOST],
    first: [&'a mut [f32]; MOST],
    others: [&'a mut [f32]; MOST],
    output: [&'a mut [f32]; MOST],
}

/// The rows of a time step that a thread has, one after the other.
struct Rows<'a, 'v> {
    /// Of each state, the block before the time step and the one after it; the product reads the first.
    first: (&'a Block<'v>, &'a mut Block<'v>),
    others: Vec<(&'a Block<'v>, &'a mut Block<'v>)>,
    output: Option<&'a mut Block<'v>>,
    /// The sums of each gate, or the one of h, one below the other.
    sums: &'a [f32],
    sides: usize,
    width: usize,
    /// Columns from one gate to the next.
    stride: usize,
    /// How many, the next, and the first's place among the rows of all time steps.
    count: usize,
    next: usize,
    place: usize,
}

impl Rows<'_, '_> {
    /// The next row's place among those of all time steps, and its parts.
    fn next(&mut self) -> Option<(usize, Parts<'_>)> {
        let (r, width) = (self.next, self.width);
        if r == self.count {
            return None;
        }
        self.next += 1;
        let mut sums: [&[f32]; MOST] = [&[]; MOST];
        for (side, to) in sums.iter_mut().enumerate().take(self.sides) {
            *to = &self.sums[(side * self.count + r) * width..][..width];
        }
        let mut others_before: [&[f32]; MOST] = [&[]; MOST];
        let mut others: [&mut [f32]; MOST] = Default::default();
        for (i, (before, after)) in self.others.iter_mut().enumerate() {
            [others_before[i], ..] = before.row(r, width);
            [others[i], ..] = after.row_mut(r, width);
        }
        let parts = Parts {
            sums,
            first_before: self.first.0.row(r, width),
            others_before,
            first: self.first.1.row_mut(r, width),
            others,
            output: self.output.as_mut().map(|block| block.row_mut(r, width)).unwrap_or_default(),
        };
        Some((self.place + r, parts))
    }
}

/// Some rows of a block of a window, of some units, in parts.
enum Block<'a> {
    /// Of all units. What lies between the parts of a row becomes zero as they are asked for.
    Rows { values: &'a mut [f32], stride: usize, units: usize, parts: usize },
    /// The parts of each row, one after the other. What lies between them was made zero.
    Pieces { pieces: Vec<&'a mut [f32]>, parts: usize },
}

impl Block<'_> {
    /// The parts of a row, of so many numbers: those of the units, or of all rows at once where there are no gaps between them.
    fn row(&self, r: usize, width: usize) -> [&[f32]; MOST] {
        let mut row: [&[f32]; MOST] = [&[]; MOST];
        match self {
            Block::Rows { values, stride, units, parts } => {
                let values = &values[r * stride..];
                let step = gate_stride(*units as u32) as usize;
                for (part, to) in row.iter_mut().enumerate().take(*parts) {
                    *to = &values[part * step..][..width];
                }
            }
            Block::Pieces { pieces, parts } => {
                row.iter_mut().zip(&pieces[r * parts..][..*parts]).for_each(|(to, piece)| *to = piece);
            }
        }
        row
    }

    fn row_mut(&mut self, r: usize, width: usize) -> [&mut [f32]; MOST] {
        let mut row: [&mut [f32]; MOST] = Default::default();
        match self {
            Block::Rows { values, stride, units, parts } => {
                let step = gate_stride(*units as u32) as usize;
                let mut rest = &mut values[r * *stride..];
                for (part, to) in row.iter_mut().enumerate().take(*parts) {
                    let (own, behind) = rest.split_at_mut(if part + 1 < *parts { step } else { width });
                    let between;
                    (*to, between) = own.split_at_mut(width);
                    between.fill(0.0);
                    rest = behind;
                }
            }
            Block::Pieces { pieces, parts } => {
                row.iter_mut().zip(&mut pieces[r * *parts..][..*parts]).for_each(|(to, piece)| *to = piece);
            }
        }
        row
    }
}

/// What a thread writes, in the order of computation: of each state a block before the first time step and one for each, of each output one
/// for each.
#[derive(Default)]
struct Share<'a> {
    states: Vec<Vec<Block<'a>>>,
    outputs: Vec<Vec<Block<'a>>>,
}

/// Divides a block of a window, of a stride and so many parts, among the threads.
type Divide<'f> = &'f dyn for<'v> Fn(&'v mut [f32], usize, usize) -> Vec<Block<'v>>;

/// A loop over time: how many sequences and units, and the weight of each gate.
struct Loop<'a> {
    batch: usize,
    units: usize,
    weight: &'a View<'a, f32>,
    gates: usize,
    /// The windows that are states, the first of those that are written.
    states: usize,
    /// The parts of the first state and of the output.
    parts: [usize; 2],
    backward: bool,
    /// Whether there are no gaps between the rows of all windows, nor parts in them, nor anything of a unit's own: then the rows of a time step
    /// are as one long one.
    is_dense: bool,
}

impl<'a> Loop<'a> {
    fn new(
        [batch, units, gates, states]: [usize; 4],
        weight: &'a View<'a, f32>,
        parts: [usize; 2],
        backward: bool,
        is_dense: bool,
    ) -> Loop<'a> {
        Loop { batch, units, weight, gates, states, parts, backward, is_dense }
    }

    /// Runs the time steps. `cell(units, rows)` makes of some units' sums what their states are. The same bits however the work is shared:
    /// each sum is one chain over k, or one for each gate.
    fn over_time(&self, written: &mut [View<f32>], cell: impl Fn(Range<usize>, Rows) + Sync) {
        let Loop { batch, units, gates, .. } = *self;
        let (count, step) = (written[0].rows / batch - 1, batch * units * units * gates);
        let threads = if count * step < PARALLEL { 1 } else { rayon::current_num_threads() };
        let panels = self.pack(threads > 1);
        // Sharing out the units takes a meeting for each step, which must be worth it.
        let is_enough = batch.div_ceil(panels[0].tile_rows()) >= threads && units * units * gates <= CACHED;
        if threads == 1 || is_enough || step < PARALLEL {
            self.by_rows(written, &panels, threads, cell);
        } else {
            self.by_units(written, &panels, threads, cell);
        }
    }

    /// The weight of each gate.
    fn pack(&self, threads: bool) -> Vec<Panels> {
        let stride = gate_stride(self.units as u32) as usize;
        let gate = |gate: usize| {
            let first = gate * stride * if self.backward { self.weight.stride } else { 1 };
            let mut panels = Panels::new(self.units, self.units);
            panels.fill(Source::Rows(&self.weight.data()[first..], self.weight.stride), 0..self.units, threads);
            panels
        };
        (0..self.gates).map(gate).collect()
    }

    /// The parts of the state that the product reads, and its sums.
    fn sides(&self) -> [usize; 2] {
        if self.backward { [self.gates, 1] } else { [1, self.gates] }
    }

    /// The parts of a window: of the first state, of another one, of an output.
    fn parts_of(&self, number: usize) -> usize {
        match number {
            0 => self.parts[0],
            number if number < self.states => 1,
            _ => self.parts[1],
        }
    }

    /// The blocks of each window in the order of computation, each divided among the threads.
    fn share_out<'v>(&self, written: &'v mut [View<f32>], threads: usize, divide: Divide) -> Vec<Share<'v>> {
        let mut shares: Vec<Share> = (0..threads).map(|_| Share::default()).collect();
        for (number, view) in written.iter_mut().enumerate() {
            let (parts, stride) = (self.parts_of(number), view.stride);
            let mut blocks: Vec<&mut [f32]> = view.data_mut().chunks_mut(self.batch * stride).collect();
            if self.backward {
                blocks.reverse();
            }
            let mut lists: Vec<Vec<Block>> = (0..threads).map(|_| Vec::with_capacity(blocks.len())).collect();
            for block in blocks {
                lists.iter_mut().zip(divide(block, stride, parts)).for_each(|(list, block)| list.push(block));
            }
            for (share, list) in shares.iter_mut().zip(lists) {
                let kind = if number < self.states { &mut share.states } else { &mut share.outputs };
                kind.push(list);
            }
        }
        shares
    }

    /// The product of a time step, of some rows and panels. left holds packed rows, of each part of the state those of each group in so many
    /// pieces along k.
    fn multiply(
        &self,
        panels: &[Panels],
        chunk: &Range<usize>,
        (left, pieces): (&[&[f32]], usize),
        rows: usize,
        sums: &mut [f32],
    ) {
        let [parts, _] = self.sides();
        let width = panels[0].columns(chunk).len();
        let groups = left.len() / (parts * pieces);
        for (gate, panels) in panels.iter().enumerate() {
            let (part, side) = if self.backward { (gate, 0) } else { (0, gate) };
            let mut out = sums[side * rows * width..][..rows * width].chunks_mut(width);
            let each = panels.groups(rows).zip(left[part * groups * pieces..].chunks(pieces));
            let mut tiles: Vec<Group> = each.map(|(group, a)| Group::new(a, out.by_ref().take(group.len()))).collect();
            let base = if part > 0 { Base::Out } else { Base::Nothing };
            panels.multiply(chunk.clone(), &mut tiles, base);
        }
    }

    /// Calls the cell for the rows of time step n of a share, of which the first is the `first`-th sequence.
    fn call(
        &self,
        share: &mut Share,
        [n, first, rows]: [usize; 3],
        units: Range<usize>,
        sums: &[f32],
        cell: &impl Fn(Range<usize>, Rows),
    ) {
        let steps = share.states[0].len() - 1;
        let is_one = self.is_dense && matches!(share.states[0][n], Block::Rows { .. });
        let mut states = share.states.iter_mut().map(|blocks| {
            let (before, after) = blocks.split_at_mut(n + 1);
            (&before[n], &mut after[0])
        });
        let rows = Rows {
            first: states.next().expect("a state"),
            others: states.collect(),
            output: share.outputs.first_mut().map(|blocks| &mut blocks[n]),
            sums,
            sides: self.sides()[1],
            width: if is_one { rows * units.len() } else { units.len() },
            stride: gate_stride(self.units as u32) as usize,
            count: if is_one { 1 } else { rows },
            next: 0,
            place: if self.backward { steps - 1 - n } else { n } * self.batch + first,
        };
        cell(units, rows);
    }

    /// Each thread takes some sequences through all of time.
    fn by_rows(&self, written: &mut [View<f32>], panels: &[Panels], threads: usize, cell: impl Fn(Range<usize>, Rows) + Sync) {
        let Loop { batch, units, .. } = *self;
        let [lefts, sides] = self.sides();
        let rows = batch.div_ceil(threads);
        let shares = self.share_out(written, batch.div_ceil(rows), &|block, stride, parts| {
            block.chunks_mut(rows * stride).map(|values| Block::Rows { values, stride, units, parts }).collect()
        });
        shares.into_par_iter().enumerate().for_each(|(i, mut share)| {
            let first = i * rows;
            let rows = rows.min(batch - first);
            let groups = panels[0].groups(rows);
            let (mut sums, mut before) = (vec![0.0; sides * rows * units], vec![0.0; lefts * rows * units]);
            for n in 0..share.states[0].len() - 1 {
                let block = &share.states[0][n];
                for (part, to) in before.chunks_mut(rows * units).enumerate() {
                    pack_rows(|r| block.row(r, units)[part], groups.clone(), to);
                }
                let mut left: Vec<&[f32]> = Vec::with_capacity(lefts * rows);
                for all in before.chunks(rows * units) {
                    left.extend(groups.clone().map(|group| &all[group.start * units..group.end * units]));
                }
                self.multiply(panels, &(0..panels[0].count()), (&left, 1), rows, &mut sums);
                self.call(&mut share, [n, first, rows], 0..units, &sums, &cell);
            }
        });
    }

    /// Each thread takes all gates of some units, and they meet after each time step.
    fn by_units(&self, written: &mut [View<f32>], panels: &[Panels], threads: usize, cell: impl Fn(Range<usize>, Rows) + Sync) {
        let Loop { batch, units, .. } = *self;
        let [lefts, sides] = self.sides();
        let groups = panels[0].groups(batch);
        let chunks = panels[0].shares(threads);
        let width = |chunk: usize| panels[0].columns(&chunks[chunk]).len();
        // The state that the product reads, packed, each chunk of its units by itself; and the one that is being written.
        let packed = [0, 1].map(|_| -> Vec<RwLock<Vec<f32>>> {
            (0..chunks.len()).map(|chunk| RwLock::new(vec![0.0; lefts * batch * width(chunk)])).collect()
        });
        let pack = |block: &Block, chunk: usize, parity: usize| {
            let mut to = packed[parity][chunk].write().unwrap_or_else(PoisonError::into_inner);
            for (part, to) in to.chunks_mut(batch * width(chunk)).enumerate() {
                pack_rows(|r| block.row(r, units)[part], groups.clone(), to);
            }
        };
        let shares = self.share_out(written, chunks.len(), &|block, stride, parts| {
            self.in_pieces(block, [stride, parts, units], panels, &chunks)
        });
        let shares: Vec<Mutex<Share>> = shares.into_iter().map(Mutex::new).collect();
        let barrier = Barrier::new(chunks.len());
        rayon::broadcast(|thread| {
            let chunk = thread.index();
            let Some(share) = shares.get(chunk) else { return };
            let mut share = share.lock().unwrap_or_else(PoisonError::into_inner);
            let _guard = barrier.guard();
            let mut sums = vec![0.0; sides * batch * width(chunk)];
            pack(&share.states[0][0], chunk, 0);
            barrier.wait();
            for n in 0..share.states[0].len() - 1 {
                {
                    let before: Vec<_> =
                        packed[n % 2].iter().map(|chunk| chunk.read().unwrap_or_else(PoisonError::into_inner)).collect();
                    let mut left: Vec<&[f32]> = Vec::with_capacity(lefts * batch * chunks.len());
                    for part in 0..lefts {
                        for rows in groups.clone() {
                            left.extend(before.iter().map(|all| {
                                let width = all.len() / (lefts * batch);
                                &all[(part * batch + rows.start) * width..(part * batch + rows.end) * width]
                            }));
                        }
                    }
                    self.multiply(panels, &chunks[chunk], (&left, chunks.len()), batch, &mut sums);
                }
                self.call(&mut share, [n, 0, batch], panels[0].columns(&chunks[chunk]), &sums, &cell);
                pack(&share.states[0][n + 1], chunk, (n + 1) % 2);
                barrier.wait();
            }
        });
    }

    /// A block's rows, each part of them cut by units.
    fn in_pieces<'v>(
        &self,
        block: &'v mut [f32],
        [stride, parts, units]: [usize; 3],
        panels: &[Panels],
        chunks: &[Range<usize>],
    ) -> Vec<Block<'v>> {
        let mut all: Vec<Vec<&mut [f32]>> = chunks.iter().map(|_| Vec::with_capacity(self.batch * parts)).collect();
        for row in block.chunks_mut(stride) {
            for part in row.chunks_mut(gate_stride(units as u32) as usize).take(parts) {
                let (mut rest, between) = part.split_at_mut(units);
                between.fill(0.0);
                for (pieces, chunk) in all.iter_mut().zip(chunks) {
                    let (piece, after) = std::mem::take(&mut rest).split_at_mut(panels[0].columns(chunk).len());
                    pieces.push(piece);
                    rest = after;
                }
            }
        }
        all.into_iter().map(|pieces| Block::Pieces { pieces, parts }).collect()
    }
}
