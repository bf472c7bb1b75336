//! The windows that are written, divided among the threads by sequences.

use super::super::pointwise::MOST;
use super::Size;
use crate::program::View;

/// A window, of a thread's sequences: its blocks in the order of computation.
struct Window<'v> {
    blocks: Vec<&'v mut [f32]>,
    stride: usize,
}

/// What a thread writes.
#[derive(Default)]
pub(super) struct Share<'v> {
    /// The first of its sequences, and how many they are.
    pub first: usize,
    pub rows: usize,
    /// Of each state a block before the first time step and one for each.
    states: Vec<Window<'v>>,
    output: Option<Window<'v>>,
}

/// At most so many sequences for each thread.
pub(super) fn shares<'v>(size: &Size, written: &'v mut [View<f32>], rows: usize) -> Vec<Share<'v>> {
    let firsts = (0..size.batch).step_by(rows);
    let mut shares: Vec<Share> =
        firsts.map(|first| Share { first, rows: rows.min(size.batch - first), ..Share::default() }).collect();
    for (number, view) in written.iter_mut().enumerate() {
        let stride = view.stride;
        let window = |_: &Share| Window { blocks: Vec::with_capacity(size.steps + 1), stride };
        let mut windows: Vec<Window> = shares.iter().map(window).collect();
        for block in size.blocks(view) {
            windows.iter_mut().zip(block.chunks_mut(rows * stride)).for_each(|(window, some)| window.blocks.push(some));
        }
        for (share, window) in shares.iter_mut().zip(windows) {
            if number < size.states { share.states.push(window) } else { share.output = Some(window) }
        }
    }
    shares
}

/// Numbers from one row to the next, of each state and of the output.
pub(super) struct Strides {
    pub states: [usize; MOST],
    pub output: usize,
}

impl Share<'_> {
    pub fn strides(&self) -> Strides {
        let mut states = [0; MOST];
        self.states.iter().zip(&mut states).for_each(|(state, stride)| *stride = state.stride);
        Strides { states, output: self.output.as_ref().map_or(0, |output| output.stride) }
    }

    /// The blocks of the n-th time step in the order of computation.
    #[inline(always)]
    pub fn at(&mut self, n: usize) -> Blocks<'_> {
        let mut blocks = Blocks { before: [&[]; MOST], after: Default::default(), output: &mut [] };
        for ((state, before), after) in self.states.iter_mut().zip(&mut blocks.before).zip(&mut blocks.after) {
            let (first, rest) = state.blocks.split_at_mut(n + 1);
            *before = &*first[n];
            *after = &mut *rest[0];
        }
        if let Some(output) = &mut self.output {
            blocks.output = &mut *output.blocks[n];
        }
        blocks
    }
}

/// Of each state the block before a time step and the one after it, and the block of the output.
pub(super) struct Blocks<'a> {
    pub before: [&'a [f32]; MOST],
    pub after: [&'a mut [f32]; MOST],
    pub output: &'a mut [f32],
}

/// A row of them, and what follows it.
pub(super) struct Row<'a> {
    pub before: [&'a [f32]; MOST],
    pub after: [&'a mut [f32]; MOST],
    pub output: &'a mut [f32],
}

impl Blocks<'_> {
    #[inline(always)]
    pub fn row(&mut self, strides: &Strides, r: usize) -> Row<'_> {
        let mut row = Row { before: [&[]; MOST], after: Default::default(), output: &mut [] };
        for s in 0..MOST {
            row.before[s] = &self.before[s][r * strides.states[s]..];
        }
        for ((to, from), stride) in row.after.iter_mut().zip(&mut self.after).zip(strides.states) {
            *to = &mut from[r * stride..];
        }
        row.output = &mut self.output[r * strides.output..];
        row
    }
}
