//! The loop over time on the CPU: the weight is packed once for all steps, each gate's by itself, and the threads share out sequences or
//! units.

use std::ops::Range;
use std::sync::{Mutex, PoisonError, RwLock};

use rayon::prelude::*;

use super::barrier::Barrier;
use super::pointwise::{MOST, Pointwise, gate_stride};
use super::row::{BackwardRow, ForwardRow};
use super::{Shape, windows_of};
use crate::Activation;
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
    let [input, weight] = [&inputs[0], &inputs[1]];
    let constants = &inputs[2..2 + dims.constants];
    let units = written[0].cols;
    let stride = gate_stride(units as u32) as usize;
    let activation = Activation::coded(activation);
    let shape = [batch as usize, units, dims.gates, place.states];
    Loop::new(shape, weight, [1, dims.saved], false).over_time(written, |row, unit, parts| {
        let Parts { sums, first_before, others_before, first, others, output } = parts;
        let [h_before, ..] = first_before;
        let [h, ..] = first;
        arch().dispatch(ForwardRow::<P>::new(
            activation,
            gate_parts(input.row(row), dims.gates, stride, &unit),
            sums,
            constant_parts(constants, &unit),
            in_front(h_before, others_before),
            in_front(h, others),
            output,
        ));
    });
}

pub(super) fn run_backward<P: Pointwise>(views: &mut [View<f32>], bytes: &[u8]) {
    let Shape { batch, activation } = scalars(bytes);
    let (dims, place) = (P::DIMS, windows_of::<P>(true));
    let (inputs, written) = views.split_at_mut(place.first_state());
    let [d_hidden, weight] = [&inputs[0], &inputs[1]];
    let constants = &inputs[2..2 + dims.constants];
    let kept = &inputs[place.first_read()..place.first_read() + dims.kept];
    let saved = inputs.last().expect("the windows that are read");
    let units = d_hidden.cols;
    let stride = gate_stride(units as u32) as usize;
    let activation = Activation::coded(activation);
    let shape = [batch as usize, units, dims.gates, place.states];
    Loop::new(shape, weight, [dims.gates; 2], true).over_time(written, |row, unit, parts| {
        let Parts { sums: [recurrent, ..], others_before, first, others, output, .. } = parts;
        let mut before: [&[f32]; MOST] = [&[]; MOST];
        before.iter_mut().zip(kept).for_each(|(part, view)| *part = &view.row(row)[unit.clone()]);
        arch().dispatch(BackwardRow::<P>::new(
            activation,
            [&d_hidden.row(row)[unit.clone()], recurrent],
            others_before,
            constant_parts(constants, &unit),
            before,
            gate_parts(saved.row(row), dims.saved, stride, &unit),
            [first, others, output],
        ));
    });
}

/// Some units of the parts of a row.
fn gate_parts<'a>(row: &'a [f32], count: usize, stride: usize, unit: &Range<usize>) -> [&'a [f32]; MOST] {
    std::array::from_fn(|part| if part < count { &row[part * stride..][unit.clone()] } else { &[][..] })
}

fn constant_parts<'a>(constants: &'a [View<f32>], unit: &Range<usize>) -> [&'a [f32]; MOST] {
    std::array::from_fn(|c| constants.get(c).map_or(&[][..], |view| &view.row(0)[unit.clone()]))
}

/// The first of some, and those behind it.
fn in_front<T: Default>(first: T, others: [T; MOST]) -> [T; MOST] {
    let mut all = std::iter::once(first).chain(others);
    std::array::from_fn(|_| all.next().expect("one more than there is room for"))
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

/// Some rows of a block of a window, of some units, in parts.
enum Block<'a> {
    /// Of all units.
    Rows { values: &'a mut [f32], stride: usize, units: usize, parts: usize },
    /// The parts of each row, one after the other.
    Pieces { pieces: Vec<&'a mut [f32]>, parts: usize },
}

impl Block<'_> {
    fn row(&self, r: usize) -> [&[f32]; MOST] {
        match self {
            Block::Rows { values, stride, units, parts } => {
                let row = &values[r * stride..];
                let step = gate_stride(*units as u32) as usize;
                std::array::from_fn(|part| if part < *parts { &row[part * step..][..*units] } else { &[][..] })
            }
            Block::Pieces { pieces, parts } => {
                std::array::from_fn(|part| if part < *parts { &*pieces[r * parts + part] } else { &[][..] })
            }
        }
    }

    fn row_mut(&mut self, r: usize) -> [&mut [f32]; MOST] {
        match self {
            Block::Rows { values, stride, units, parts } => {
                let step = gate_stride(*units as u32) as usize;
                let mut row = values[r * *stride..].chunks_mut(step).take(*parts);
                std::array::from_fn(|_| row.next().map(|part| &mut part[..*units]).unwrap_or_default())
            }
            Block::Pieces { pieces, parts } => {
                let mut row = pieces[r * *parts..].iter_mut().take(*parts);
                std::array::from_fn(|_| row.next().map(|part| &mut **part).unwrap_or_default())
            }
        }
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
}

impl<'a> Loop<'a> {
    fn new(
        [batch, units, gates, states]: [usize; 4],
        weight: &'a View<'a, f32>,
        parts: [usize; 2],
        backward: bool,
    ) -> Loop<'a> {
        Loop { batch, units, weight, gates, states, parts, backward }
    }

    /// Runs the time steps. `cell(row, units, parts)` makes of some units' sums what their states are; row counts over all time steps. The
    /// same bits however the work is shared: each sum is one chain over k, or one for each gate.
    fn over_time(&self, written: &mut [View<f32>], cell: impl Fn(usize, Range<usize>, Parts) + Sync) {
        let Loop { batch, units, gates, .. } = *self;
        let (count, step) = (written[0].rows / batch - 1, batch * units * units * gates);
        let threads = if count * step < PARALLEL { 1 } else { rayon::current_num_threads() };
        let panels = self.pack(threads > 1);
        let cell = |n: usize, r: usize, unit: Range<usize>, parts: Parts| {
            cell(if self.backward { count - 1 - n } else { n } * batch + r, unit, parts);
        };
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

    /// The product of a time step, of some rows and panels, left[part][group] being packed rows in pieces along k, into sums[part].
    fn multiply(&self, panels: &[Panels], chunk: &Range<usize>, left: &[Vec<Vec<&[f32]>>], rows: usize, sums: &mut [f32]) {
        let [parts, _] = self.sides();
        let width = panels[0].columns(chunk).len();
        for (gate, panels) in panels.iter().enumerate() {
            let (left, sums) = if self.backward {
                (&left[gate], &mut sums[..rows * width])
            } else {
                (&left[0], &mut sums[gate * rows * width..][..rows * width])
            };
            let mut out = sums.chunks_mut(width);
            let each = panels.groups(rows).zip(left);
            let mut tiles: Vec<Group> = each.map(|(group, a)| Group::new(a, out.by_ref().take(group.len()))).collect();
            let base = if parts > 1 && gate > 0 { Base::Out } else { Base::Nothing };
            panels.multiply(chunk.clone(), &mut tiles, base);
        }
    }

    /// Calls the cell for the rows of time step n of a share, the first of which is the `first`-th sequence.
    fn call(
        &self,
        share: &mut Share,
        [n, first, rows]: [usize; 3],
        unit: &Range<usize>,
        sums: &[f32],
        cell: &impl Fn(usize, usize, Range<usize>, Parts),
    ) {
        let (width, [_, sides]) = (unit.len(), self.sides());
        let mut states = share.states.iter_mut().map(|blocks| {
            let (before, after) = blocks.split_at_mut(n + 1);
            (&before[n], &mut after[0])
        });
        let (first_before, first_after) = states.next().expect("a state");
        let mut others: Vec<(&Block, &mut Block)> = states.collect();
        let mut output = share.outputs.first_mut().map(|blocks| &mut blocks[n]);
        for r in 0..rows {
            let sum = |side: usize| if side < sides { &sums[(side * rows + r) * width..][..width] } else { &[][..] };
            let mut others_before: [&[f32]; MOST] = [&[]; MOST];
            let mut others_after: [&mut [f32]; MOST] = Default::default();
            for (i, (before, after)) in others.iter_mut().enumerate() {
                others_before[i] = before.row(r)[0];
                [others_after[i], ..] = after.row_mut(r);
            }
            let parts = Parts {
                sums: std::array::from_fn(sum),
                first_before: first_before.row(r),
                others_before,
                first: first_after.row_mut(r),
                others: others_after,
                output: output.as_mut().map(|block| block.row_mut(r)).unwrap_or_default(),
            };
            cell(n, first + r, unit.clone(), parts);
        }
    }

    /// Each thread takes some sequences through all of time.
    fn by_rows(
        &self,
        written: &mut [View<f32>],
        panels: &[Panels],
        threads: usize,
        cell: impl Fn(usize, usize, Range<usize>, Parts) + Sync,
    ) {
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
                    pack_rows(|r| block.row(r)[part], groups.clone(), to);
                }
                let part = before.chunks(rows * units);
                let left: Vec<Vec<Vec<&[f32]>>> = part
                    .map(|all| groups.clone().map(|group| vec![&all[group.start * units..group.end * units]]).collect())
                    .collect();
                self.multiply(panels, &(0..panels[0].count()), &left, rows, &mut sums);
                self.call(&mut share, [n, first, rows], &(0..units), &sums, &cell);
            }
        });
    }

    /// Each thread takes all gates of some units, and they meet after each time step.
    fn by_units(
        &self,
        written: &mut [View<f32>],
        panels: &[Panels],
        threads: usize,
        cell: impl Fn(usize, usize, Range<usize>, Parts) + Sync,
    ) {
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
                pack_rows(|r| block.row(r)[part], groups.clone(), to);
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
                    let piece = |part: usize, rows: &Range<usize>, all: &'_ [f32]| {
                        let width = all.len() / (lefts * batch);
                        (part * batch + rows.start) * width..(part * batch + rows.end) * width
                    };
                    let group = |part: usize, rows: Range<usize>| -> Vec<&[f32]> {
                        before.iter().map(|all| &all[piece(part, &rows, all)]).collect()
                    };
                    let left: Vec<Vec<Vec<&[f32]>>> =
                        (0..lefts).map(|part| groups.clone().map(|rows| group(part, rows)).collect()).collect();
                    self.multiply(panels, &chunks[chunk], &left, batch, &mut sums);
                }
                self.call(&mut share, [n, 0, batch], &panels[0].columns(&chunks[chunk]), &sums, &cell);
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
                let mut rest = &mut part[..units];
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
