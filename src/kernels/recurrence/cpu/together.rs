//! The loop over time where the weight is large: each thread has some units and their part of the weight, which stays in its core's caches if
//! it can, and the threads meet after each time step.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::{Mutex, PoisonError, RwLock};

use super::super::pointwise::Pointwise;
use super::barrier::Barrier;
use super::rows::{BackwardStep, Block, ForwardStep, Rows};
use super::{Size, constant_parts};
use crate::kernels::gemm::{Base, Group, Panels, Source, TileSize, pack_rows};
use crate::program::View;
use crate::simd::arch;

pub(super) fn forward<P: Pointwise>(size: &Size, threads: usize, inputs: &[View<f32>], written: &mut [View<f32>]) {
    let (input, constants) = (&inputs[0], &inputs[2..2 + P::DIMS.constants]);
    let activation = size.activation;
    Loop { size, weight: &inputs[1] }.run(written, threads, |units, rows| {
        let constants = constant_parts(constants, &units);
        arch().dispatch(ForwardStep::<P> { activation, input, constants, units, rows, cell: PhantomData });
    });
}

pub(super) fn backward<P: Pointwise>(size: &Size, threads: usize, inputs: &[View<f32>], written: &mut [View<f32>]) {
    let (d_hidden, saved) = (&inputs[0], inputs.last().expect("the windows that are read"));
    let (constants, reads) = inputs[2..].split_at(P::DIMS.constants);
    let kept = &reads[..P::DIMS.kept];
    let activation = size.activation;
    Loop { size, weight: &inputs[1] }.run(written, threads, |units, rows| {
        let constants = constant_parts(constants, &units);
        arch().dispatch(BackwardStep::<P> { activation, d_hidden, constants, kept, saved, units, rows, cell: PhantomData });
    });
}

/// What a thread writes, in the order of computation: of each state a block before the first time step and one for each, of each output one
/// for each.
#[derive(Default)]
struct Share<'a> {
    states: Vec<Vec<Block<'a>>>,
    outputs: Vec<Vec<Block<'a>>>,
}

/// Units in whole vectors, in at most so many ranges, all about as long.
fn in_vectors(units: usize, lanes: usize, most: usize) -> Vec<Range<usize>> {
    let vectors = units.div_ceil(lanes);
    let count = most.min(vectors);
    (0..count).map(|i| vectors * i / count * lanes..units.min(vectors * (i + 1) / count * lanes)).collect()
}

/// A loop over time.
struct Loop<'a> {
    size: &'a Size,
    weight: &'a View<'a, f32>,
}

impl Loop<'_> {
    /// Runs the time steps. `cell(units, rows)` makes of some units' sums what their states are.
    fn run(&self, written: &mut [View<f32>], threads: usize, cell: impl Fn(Range<usize>, Rows) + Sync) {
        let &Size { batch, steps, units, .. } = self.size;
        let [lefts, sides] = self.size.sides();
        let tile = TileSize::new();
        let groups = tile.groups(batch);
        let chunks = in_vectors(units, tile.lanes, threads);
        let width = |chunk: usize| chunks[chunk].len();
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
        let shares: Vec<Mutex<Share>> = self.share_out(written, &chunks).into_iter().map(Mutex::new).collect();
        let barrier = Barrier::new(chunks.len());
        rayon::broadcast(|thread| {
            let chunk = thread.index();
            let Some(share) = shares.get(chunk) else { return };
            let mut share = share.lock().unwrap_or_else(PoisonError::into_inner);
            let _guard = barrier.guard();
            let panels = self.pack(&chunks[chunk]);
            let mut sums = vec![0.0; sides * batch * width(chunk)];
            pack(&share.states[0][0], chunk, 0);
            barrier.wait();
            for n in 0..steps {
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
                    self.multiply(&panels, (&left, chunks.len()), width(chunk), &mut sums);
                }
                self.call(&mut share, n, chunks[chunk].clone(), &sums, &cell);
                pack(&share.states[0][n + 1], chunk, (n + 1) % 2);
                barrier.wait();
            }
        });
    }

    /// The blocks of each window in the order of computation, each divided among the threads.
    fn share_out<'v>(&self, written: &'v mut [View<f32>], chunks: &[Range<usize>]) -> Vec<Share<'v>> {
        let mut shares: Vec<Share> = chunks.iter().map(|_| Share::default()).collect();
        for (number, view) in written.iter_mut().enumerate() {
            let (parts, stride) = (self.size.parts_of(number), view.stride);
            let mut lists: Vec<Vec<Block>> = chunks.iter().map(|_| Vec::with_capacity(self.size.steps + 1)).collect();
            for block in self.size.blocks(view) {
                lists.iter_mut().zip(self.in_pieces(block, [stride, parts], chunks)).for_each(|(list, block)| list.push(block));
            }
            for (share, list) in shares.iter_mut().zip(lists) {
                let kind = if number < self.size.states { &mut share.states } else { &mut share.outputs };
                kind.push(list);
            }
        }
        shares
    }

    /// The weight of each gate, of some units.
    fn pack(&self, units: &Range<usize>) -> Vec<Panels> {
        let Loop { size, weight } = self;
        let gate = |gate: usize| {
            let first = gate * size.gate_stride() * if size.backward { weight.stride } else { 1 } + units.start;
            let mut panels = Panels::new(size.units, units.len());
            panels.fill(Source::Rows(&weight.data()[first..], weight.stride), 0..size.units, false);
            panels
        };
        (0..size.gates).map(gate).collect()
    }

    /// The product of a time step with the weight of each gate, of so many units. left holds packed rows, of each part of the state those of
    /// each group in so many pieces along k.
    fn multiply(&self, panels: &[Panels], (left, pieces): (&[&[f32]], usize), width: usize, sums: &mut [f32]) {
        let ([parts, _], rows) = (self.size.sides(), self.size.batch);
        let groups = left.len() / (parts * pieces);
        for (gate, panels) in panels.iter().enumerate() {
            let (part, side) = if self.size.backward { (gate, 0) } else { (0, gate) };
            let mut out = sums[side * rows * width..][..rows * width].chunks_mut(width);
            let each = panels.tile().groups(rows).zip(left[part * groups * pieces..].chunks(pieces));
            let mut tiles: Vec<Group> = each.map(|(group, a)| Group::new(a, out.by_ref().take(group.len()))).collect();
            let base = if part > 0 { Base::Out } else { Base::Nothing };
            panels.multiply(0..panels.count(), &mut tiles, base);
        }
    }

    /// Calls the cell for time step n of a share.
    fn call(&self, share: &mut Share, n: usize, units: Range<usize>, sums: &[f32], cell: &impl Fn(Range<usize>, Rows)) {
        let mut states = share.states.iter_mut().map(|blocks| {
            let (before, after) = blocks.split_at_mut(n + 1);
            (&before[n], &mut after[0])
        });
        let rows = Rows {
            first: states.next().expect("a state"),
            others: states.collect(),
            output: share.outputs.first_mut().map(|blocks| &mut blocks[n]),
            sums,
            sides: self.size.sides()[1],
            width: units.len(),
            stride: self.size.gate_stride(),
            count: self.size.batch,
            next: 0,
            place: self.size.first_row(n),
        };
        cell(units, rows);
    }

    /// A block's rows, each part of them cut by units.
    fn in_pieces<'v>(&self, block: &'v mut [f32], [stride, parts]: [usize; 2], chunks: &[Range<usize>]) -> Vec<Block<'v>> {
        let mut all: Vec<Vec<&mut [f32]>> = chunks.iter().map(|_| Vec::with_capacity(self.size.batch * parts)).collect();
        for row in block.chunks_mut(stride) {
            for part in row.chunks_mut(self.size.gate_stride()).take(parts) {
                let (mut rest, between) = part.split_at_mut(self.size.units);
                between.fill(0.0);
                for (pieces, chunk) in all.iter_mut().zip(chunks) {
                    let (piece, after) = std::mem::take(&mut rest).split_at_mut(chunk.len());
                    pieces.push(piece);
                    rest = after;
                }
            }
        }
        all.into_iter().map(|pieces| Block { pieces, parts }).collect()
    }
}
