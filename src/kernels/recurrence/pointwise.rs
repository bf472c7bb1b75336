//! What a cell is to the recurrence: how many numbers of each kind its units have, and its pointwise part.

use crate::Activation;
use crate::numbers::Number;
use crate::program::{Binding, Content, Kernel, ROW_ALIGNMENT};

/// The most gates, states, saved numbers or constants of a unit.
pub(crate) const MOST: usize = 4;

/// As many numbers as a cell has of a kind; the others are not used.
pub(crate) type Numbers<N> = [N; MOST];

/// How many numbers a unit has of each kind. A shader of the cell has the same constants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dims {
    /// Sums of an input's part and a recurrent one.
    pub gates: usize,
    /// States that go from time step to time step, h first.
    pub states: usize,
    /// Numbers that the forward pass keeps of a time step for the backward pass, besides the states.
    pub saved: usize,
    /// Numbers that are the same at all time steps, a row each: a leak, a recurrent bias.
    pub constants: usize,
    /// States that the backward pass reads, before or after a time step.
    pub kept: usize,
    /// States whose gradient goes to the time step before on its own path, besides the recurrent sums.
    pub direct: usize,
    /// Whether the gradient of the inputs' parts is another than that of the recurrent sums.
    pub distinct: bool,
}

impl Dims {
    /// Of a cell of one gate that is its state.
    pub const ONE: Dims = Dims { gates: 1, states: 1, saved: 0, constants: 0, kept: 0, direct: 0, distinct: false };

    const fn has_saved(&self) -> usize {
        if self.saved > 0 { 1 } else { 0 }
    }

    /// The windows of the forward recurrence and of the backward one.
    pub(crate) const fn windows(&self) -> [Windows; 2] {
        let forward = Windows { constants: self.constants, reads: 0, states: self.states, outputs: self.has_saved() };
        let reads = self.kept + self.has_saved();
        let outputs = if self.distinct { 1 } else { 0 };
        [forward, Windows { constants: self.constants, reads, states: 1 + self.direct, outputs }]
    }

    /// The bindings of the forward recurrence.
    pub(crate) const fn forward_bindings<const N: usize>(&self) -> [Binding; N] {
        let mut all = [Binding::read("input"); N];
        all[1] = Binding::read("weight");
        self.forward_behind(all, 2)
    }

    /// Of the dispatch that adds up parts and calls the cell: the parts first, and no weight.
    pub(crate) const fn forward_parts<const N: usize>(&self) -> [Binding; N] {
        let mut all = [Binding::read("parts"); N];
        all[1] = Binding::read("input");
        self.forward_behind(all, 2)
    }

    const fn forward_behind<const N: usize>(&self, mut all: [Binding; N], mut at: usize) -> [Binding; N] {
        at = self.constants_behind(&mut all, at);
        let mut s = 0;
        while s < self.states {
            all[at] = Binding::update(["hidden", "state1", "state2", "state3"][s]);
            (at, s) = (at + 1, s + 1);
        }
        if self.saved > 0 {
            all[at] = Binding::update("saved");
            at += 1;
        }
        assert!(at == N);
        all
    }

    /// The bindings of the backward recurrence.
    pub(crate) const fn backward_bindings<const N: usize>(&self) -> [Binding; N] {
        let mut all = [Binding::read("d_hidden"); N];
        all[1] = Binding::read("weight");
        self.backward_behind(all, 2)
    }

    pub(crate) const fn backward_parts<const N: usize>(&self) -> [Binding; N] {
        let mut all = [Binding::read("parts"); N];
        all[1] = Binding::read("d_hidden");
        self.backward_behind(all, 2)
    }

    const fn backward_behind<const N: usize>(&self, mut all: [Binding; N], mut at: usize) -> [Binding; N] {
        at = self.constants_behind(&mut all, at);
        let mut k = 0;
        while k < self.kept {
            all[at] = Binding::read(["kept0", "kept1", "kept2", "kept3"][k]);
            (at, k) = (at + 1, k + 1);
        }
        if self.saved > 0 {
            all[at] = Binding::read("saved");
            at += 1;
        }
        all[at] = Binding::update("d_sum");
        at += 1;
        let mut d = 0;
        while d < self.direct {
            all[at] = Binding::update(["d_state0", "d_state1", "d_state2", "d_state3"][d]);
            (at, d) = (at + 1, d + 1);
        }
        if self.distinct {
            all[at] = Binding::update("d_input");
            at += 1;
        }
        assert!(at == N);
        all
    }

    const fn constants_behind(&self, all: &mut [Binding], mut at: usize) -> usize {
        let mut c = 0;
        while c < self.constants {
            all[at] = Binding::read(["constant0", "constant1", "constant2", "constant3"][c]);
            (at, c) = (at + 1, c + 1);
        }
        at
    }
}

/// How many windows a recurrence in a direction has of each kind. They come in this order, behind the inputs' part (or the gradient of h) and
/// the weight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Windows {
    /// Of one row.
    pub constants: usize,
    /// Of a block for each time step, as the first window.
    pub reads: usize,
    /// Of a block more: each time step makes a block of the one before it in the order of the direction. The product reads the first of them.
    pub states: usize,
    /// Of a block for each time step.
    pub outputs: usize,
}

impl Windows {
    /// All of them.
    pub const fn count(&self) -> usize {
        2 + self.constants + self.reads + self.states + self.outputs
    }

    pub fn first_read(&self) -> usize {
        2 + self.constants
    }

    pub fn first_state(&self) -> usize {
        self.first_read() + self.reads
    }

    pub fn first_output(&self) -> usize {
        self.first_state() + self.states
    }
}

/// The columns from one gate of some units to the next: what lies between is zero, so that each begins at a multiple of four.
pub(crate) const fn gate_stride(units: u32) -> u32 {
    units.next_multiple_of(ROW_ALIGNMENT)
}

/// The columns of so many gates of some units.
pub(crate) const fn gate_cols(units: u32, gates: usize) -> u32 {
    (gates as u32 - 1) * gate_stride(units) + units
}

/// What a unit's new states are made of.
#[derive(Clone, Copy)]
pub(crate) struct Before<N> {
    /// The input's parts of the gates.
    pub input: Numbers<N>,
    /// The recurrent sums of the gates.
    pub recurrent: Numbers<N>,
    pub constants: Numbers<N>,
    /// The states before the time step.
    pub states: Numbers<N>,
}

/// A unit's new states, and what is saved for the backward pass.
#[derive(Clone, Copy)]
pub(crate) struct After<N> {
    pub states: Numbers<N>,
    pub saved: Numbers<N>,
}

/// What the gradients of a unit's gates are made of.
#[derive(Clone, Copy)]
pub(crate) struct Behind<N> {
    /// The gradient of h from above.
    pub d_hidden: N,
    /// What comes back to h through the recurrent sums of the next time step.
    pub recurrent: N,
    /// What comes back to states on paths of their own.
    pub direct: Numbers<N>,
    pub constants: Numbers<N>,
    pub kept: Numbers<N>,
    pub saved: Numbers<N>,
}

/// The gradients of a unit's gates, and what goes to states on paths of their own.
#[derive(Clone, Copy)]
pub(crate) struct Gradients<N> {
    pub recurrent: Numbers<N>,
    /// Of the input's parts, where that is [distinct](Dims::distinct).
    pub input: Numbers<N>,
    pub direct: Numbers<N>,
}

/// A cell's pointwise part. What it does not have of a kind it may leave as anything.
pub(crate) trait Pointwise {
    const DIMS: Dims;
    /// Whether it has an activation that can be chosen.
    const IS_ACTIVATED: bool = false;
    /// Whether the CPU's function computes activations with fused multiplications and additions: with several of them in a cell that halves
    /// its latency. It gives other bits.
    const FUSES: bool = false;
    /// The kernels it makes, forward and backward.
    const KERNELS: [&'static Kernel; 2];

    fn forward<N: Number>(activation: Activation, at: &Before<N>) -> After<N>;
    fn backward<N: Number>(activation: Activation, at: &Behind<N>) -> Gradients<N>;

    /// Whether on small integers the results are small integers.
    fn keeps_integers(_: Activation) -> bool {
        false
    }

    /// What the constants of a sample may hold; `None`: any numbers.
    fn constants(_units: u32) -> Option<Content> {
        None
    }
}
