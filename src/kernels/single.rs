//! A single time step on the calling thread: products of one vector with matrices that were packed for it, and the cell. Nothing is
//! allocated here. Each sum has the same bits with all vector instructions.

use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};
use pulp::{Simd, WithSimd};

use super::recurrence::{After, Before, MOST, Numbers, Pointwise};
use crate::Activation;
use crate::activation::with_known;
use crate::numbers::Vector;
use crate::simd::InstructionSet;

/// The numbers of a line: a multiple of those of every vector.
pub(crate) const LANES: usize = 16;
/// The columns that are summed at a time: with vectors of 16 numbers, eight of them have registers.
const BLOCK: usize = 8 * LANES;

/// A cache line of numbers.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([f32; LANES]);

/// Numbers in whole lines, zero at first.
pub(crate) struct Lines(Vec<Line>);

impl Lines {
    /// At least so many numbers.
    pub fn new(len: usize) -> Lines {
        Lines(vec![Line::zeroed(); len.div_ceil(LANES)])
    }

    pub fn numbers(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }

    pub fn numbers_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// A matrix `[rows, cols]` that a vector of `rows` numbers is multiplied with: blocks of columns one behind the other, each row by row.
pub(crate) struct Packed {
    values: Lines,
    /// In whole lines.
    cols: usize,
}

impl Packed {
    /// Packs what `at` says of each row and column.
    pub fn new(rows: usize, cols: usize, at: impl Fn(usize, usize) -> f32) -> Packed {
        let cols = cols.next_multiple_of(LANES);
        let mut values = Lines::new(rows * cols);
        let mut place = values.numbers_mut().iter_mut();
        for first in (0..cols).step_by(BLOCK) {
            for row in 0..rows {
                (first..cols.min(first + BLOCK)).zip(&mut place).for_each(|(col, to)| *to = at(row, col));
            }
        }
        Packed { values, cols }
    }

    /// out += x·matrix.
    #[inline(always)]
    fn add_product<S: Simd>(&self, simd: S, x: &[f32], out: &mut [f32]) {
        let mut rest = self.values.numbers();
        for out in out[..self.cols].chunks_mut(BLOCK) {
            let (values, behind) = rest.split_at(x.len() * out.len());
            rest = behind;
            let ((values, _), (out, _)) = (S::as_simd_f32s(values), S::as_mut_simd_f32s(out));
            // A narrow block has several chains of sums for each column, since one alone would wait for each of its additions.
            let (stride, mut first) = (out.len(), 0);
            while first < stride {
                let left = (stride - first) * S::F32_LANES;
                first += match left / LANES {
                    8.. => columns::<S, 8, 1>(simd, x, values, first, 8 * LANES, out),
                    4.. => columns::<S, 4, 2>(simd, x, values, first, 4 * LANES, out),
                    2.. => columns::<S, 2, 4>(simd, x, values, first, 2 * LANES, out),
                    _ => columns::<S, 1, 8>(simd, x, values, first, LANES, out),
                };
            }
        }
    }
}

/// Adds the products with so many columns from a vector on, N vectors at a time; returns the vectors that they are.
#[inline(always)]
fn columns<S: Simd, const N: usize, const CHAINS: usize>(
    simd: S,
    x: &[f32],
    values: &[S::f32s],
    first: usize,
    columns: usize,
    out: &mut [S::f32s],
) -> usize {
    let (stride, vectors) = (out.len(), columns / S::F32_LANES);
    let (groups, rest) = x.as_chunks::<CHAINS>();
    for first in (first..first + vectors).step_by(N) {
        let mut sums = [[simd.splat_f32s(0.0); N]; CHAINS];
        let mut at = first;
        for group in groups {
            for chain in 0..CHAINS {
                add_row(simd, group[chain], &values[at..], &mut sums[chain]);
                at += stride;
            }
        }
        for &x in rest {
            add_row(simd, x, &values[at..], &mut sums[0]);
            at += stride;
        }
        for n in 0..N {
            let mut sum = sums[0][n];
            for chain in &sums[1..] {
                sum = simd.add_f32s(sum, chain[n]);
            }
            out[first + n] = simd.add_f32s(out[first + n], sum);
        }
    }
    vectors
}

#[inline(always)]
fn add_row<S: Simd, const N: usize>(simd: S, x: f32, row: &[S::f32s], sums: &mut [S::f32s; N]) {
    let (x, row) = (simd.splat_f32s(x), row.first_chunk::<N>().expect("all columns of a row"));
    for n in 0..N {
        sums[n] = simd.mul_add_f32s(x, row[n], sums[n]);
    }
}

/// A layer's weights, packed for single time steps. Each gate's columns and each state begin at a cache line.
pub(crate) struct PackedLayer {
    pub activation: Activation,
    /// Units in whole lines.
    pub units: usize,
    /// The input's weight `[I, G·units]`, of vectors, or of tokens a row for each, to which the bias is added already.
    pub input: PackedInput,
    /// `[H, G·units]`.
    pub recurrent: Packed,
    /// A row for each number of a unit that is the same at all time steps.
    pub constants: Lines,
}

/// What makes a layer's input of what it reads.
pub(crate) enum PackedInput {
    Vectors { weight: Packed, bias: Lines },
    Tokens(Lines),
}

/// What a layer reads at a time step.
#[derive(Clone, Copy)]
pub(crate) enum Read<'a> {
    Vector(&'a [f32]),
    Token(u32),
}

/// A time step of a layer for one sequence.
pub(crate) struct CellStep<'a> {
    pub layer: &'a PackedLayer,
    pub read: Read<'a>,
    /// The number of its units, without what fills the last line.
    pub hidden: usize,
    /// The states before the time step, and after it: each of so many units.
    pub states: &'a mut [f32],
    /// Room for the sums of the gates twice, the input's and the recurrent ones.
    pub sums: &'a mut [f32],
}

/// Makes a time step of a cell.
pub(crate) fn step<P: Pointwise>(instructions: InstructionSet, step: CellStep) {
    instructions.dispatch(StepOf::<P> { step, cell: PhantomData });
}

struct StepOf<'a, P> {
    step: CellStep<'a>,
    cell: PhantomData<P>,
}

impl<P: Pointwise> WithSimd for StepOf<'_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let CellStep { layer, read, hidden, states, sums } = self.step;
        let (input, recurrent) = sums.split_at_mut(P::DIMS.gates * layer.units);
        match (&layer.input, read) {
            (PackedInput::Vectors { weight, bias }, Read::Vector(x)) => {
                input.copy_from_slice(bias.numbers());
                weight.add_product(simd, x, input);
            }
            (PackedInput::Tokens(rows), Read::Token(id)) => {
                let cols = input.len();
                input.copy_from_slice(&rows.numbers()[id as usize * cols..][..cols]);
            }
            _ => unreachable!("what is read was checked"),
        }
        recurrent.fill(0.0);
        layer.recurrent.add_product(simd, &states[..hidden], recurrent);
        let (constants, units) = (layer.constants.numbers(), layer.units);
        if P::IS_ACTIVATED {
            with_known!(layer.activation, KNOWN => pointwise::<P, S>(simd, KNOWN, units, [input, recurrent, constants], states));
        } else {
            pointwise::<P, S>(simd, Activation::Tanh, units, [input, recurrent, constants], states);
        }
    }
}

/// The new states of so many units, from the input's sums, the recurrent ones and the constants.
#[inline(always)]
fn pointwise<P: Pointwise, S: Simd>(
    simd: S,
    activation: Activation,
    units: usize,
    [input, recurrent, constants]: [&[f32]; 3],
    states: &mut [f32],
) {
    let (dims, vectors) = (P::DIMS, units / S::F32_LANES);
    let zero = Vector { simd, values: simd.splat_f32s(0.0), fuses: P::FUSES };
    let (input, recurrent) = (S::as_simd_f32s(input).0, S::as_simd_f32s(recurrent).0);
    let (constants, states) = (S::as_simd_f32s(constants).0, S::as_mut_simd_f32s(states).0);
    for i in 0..vectors {
        let at = Before {
            input: load(zero, dims.gates, (i, vectors), input),
            recurrent: load(zero, dims.gates, (i, vectors), recurrent),
            constants: load(zero, dims.constants, (i, vectors), constants),
            states: load(zero, dims.states, (i, vectors), states),
        };
        let after: After<Vector<S>> = P::forward(activation, &at);
        for state in 0..dims.states {
            states[state * vectors + i] = after.states[state].values;
        }
    }
}

/// As many as a cell has of a kind, from a vector on, each so many vectors behind the one before.
#[inline(always)]
fn load<S: Simd>(zero: Vector<S>, count: usize, (first, apart): (usize, usize), from: &[S::f32s]) -> Numbers<Vector<S>> {
    let mut all = [zero; MOST];
    for n in 0..count {
        all[n].values = from[first + n * apart];
    }
    all
}

/// The outputs of a time step for one sequence: out = bias + h·weight.
pub(crate) struct HeadStep<'a> {
    pub weight: &'a Packed,
    pub bias: &'a Lines,
    pub hidden: &'a [f32],
    /// In whole lines.
    pub out: &'a mut [f32],
}

impl WithSimd for HeadStep<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.out.copy_from_slice(self.bias.numbers());
        self.weight.add_product(simd, self.hidden, self.out);
    }
}
