//! The windows of a layer: of its parameters, of what is traced, and of what lies between segments or is shared with other layers.

use crate::kernels::fill;
use crate::kernels::recurrence::gate_cols;
use crate::model::config::Config;
use crate::model::parameters::{Parameters, Role};
use crate::program::{Mat, Program};

/// The windows of a layer's parameters in an arena.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weights {
    /// U.
    pub(super) input: Mat,
    /// W.
    pub recurrent: Mat,
    /// The bias of the input's part, or both in one.
    pub(super) bias: Mat,
    /// What is trained of the recurrent bias.
    pub(super) recurrent_bias: Option<Mat>,
    pub(super) leak: Option<Mat>,
    pub(super) mask: Option<Mat>,
}

impl Weights {
    /// Those of a layer, of the windows of an arena.
    pub fn new(parameters: &Parameters, windows: &[Mat], layer: usize) -> Weights {
        let window = |role| parameters.place(Some(layer), role).map(|place| windows[place]);
        let needed = |role| window(role).expect("every layer has it");
        Weights {
            input: needed(Role::Input),
            recurrent: needed(Role::Recurrent),
            bias: needed(Role::Bias),
            recurrent_bias: window(Role::RecurrentBias),
            leak: window(Role::Leak),
            mask: window(Role::Mask),
        }
    }
}

/// What is kept of a layer at all time steps, `[T·B, H]` each.
#[derive(Debug, Clone)]
pub(crate) struct TracedWindows {
    /// h_t.
    pub hidden: Mat,
    /// ∂L/∂h_t, the sum of all paths.
    pub d_hidden: Mat,
    /// Of a cell whose h follows from its second state.
    pub second: Option<TracedState>,
}

/// What is kept of a second state at all time steps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TracedState {
    /// s_t, `[T·B, H]`.
    pub values: Mat,
    /// What the time step behind sends to ∂L/∂s_t, `[T·B, H]`: the path through h_t is not in it.
    pub direct: Mat,
    /// What the cell saves, `[T·B, ·]`.
    pub saved: Mat,
}

/// What lies between segments, where there are several.
#[derive(Debug, Clone)]
pub(super) struct Borders {
    /// Of each state those before each segment and behind the last, `[(segments+1)·B, H]`.
    pub states: Vec<Mat>,
    /// The first B rows of [`Layer::gradients`](super::Layer::gradients) of the segment behind.
    pub gradients: Vec<Mat>,
}

/// Buffers that all layers write one after the other on the way back; N is the length of a segment.
///
/// The gradients of a layer lie a block behind those of the one above: so the first block of each is left, for the gradient by the
/// initial states. What is behind the last of them stays zero.
pub(crate) struct Shared {
    /// The gradient of the recurrent sums, and those of states that have paths of their own.
    gradients: Vec<Mat>,
    /// The gradient of the input's parts, of a cell where it is another.
    pub(super) d_input: Option<Mat>,
    pub(super) length: u32,
    batch: u32,
    /// The layers above the last one, whose gradients are left; of several segments none.
    overlap: u32,
}

impl Shared {
    pub fn new(program: &mut Program, config: &Config, length: u32, overlap: u32) -> Shared {
        let (cell, [batch, hidden]) = (config.cell, [config.batch, config.hidden].map(|n| n as u32));
        let (rows, gates) = (length + (1 + overlap) * batch, gate_cols(hidden, cell.gates as usize));
        let sums = program.matrix("gradient of sums", rows, gates);
        let state = |&state: &usize| program.matrix(format!("gradient of {} on its own path", cell.states[state]), rows, hidden);
        let gradients = std::iter::once(sums).chain(cell.direct.iter().map(state)).collect();
        let d_input = cell.distinct.then(|| program.transient("gradient of input sums", length, gates));
        Shared { gradients, d_input, length, batch, overlap }
    }

    /// Those of a layer, which begin so many blocks down.
    pub(super) fn gradients(&self, layer: u32) -> Vec<Mat> {
        let first = self.overlap.saturating_sub(layer) * self.batch;
        self.gradients.iter().map(|window| window.slice_rows(first..first + self.length + self.batch)).collect()
    }

    /// What is behind the last block of the first layer: zero, and nothing that is recorded writes it.
    pub fn behind(&self) -> Vec<Mat> {
        let first = self.length + self.overlap * self.batch;
        self.gradients.iter().map(|window| window.slice_rows(first..first + self.batch)).collect()
    }

    /// Makes zero what was left of the time before, and lies behind the last block of a layer.
    pub fn clear(&self, program: &mut Program) {
        if self.overlap > 0 {
            let left = self.length..self.length + self.overlap * self.batch;
            self.gradients.iter().for_each(|window| fill::fill(program, window.slice_rows(left.clone()), 0.0));
        }
    }
}
