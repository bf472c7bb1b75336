//! The windows of a layer: of its parameters, of what is traced, and of what lies between segments or is shared with other layers.

use std::ops::Range;

use crate::kernels::fill;
use crate::kernels::recurrence::gate_cols;
use crate::model::config::Config;
use crate::model::parameters::{Parameters, Role};
use crate::model::segment::Ends;
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

/// The rows of one of the directions in a buffer that has those of all of them, one behind the other. So the recurrences of both can be
/// computed in the same dispatches.
pub(crate) fn of_direction(window: Mat, directions: u32, direction: u32) -> Mat {
    let rows = window.rows / directions;
    window.slice_rows(direction * rows..(direction + 1) * rows)
}

/// The buffers that a layer's recurrence forward goes over; N is the length of a segment.
#[derive(Debug, Clone)]
pub(crate) struct Buffers {
    /// Wᵀ.
    pub(super) recurrent_t: Mat,
    /// P, `[N·B, G·H]`.
    pub(super) input: Mat,
    /// The states, `[(N+1)·B, H]` each, the initial one first: of the last segment computed.
    pub(super) states: Vec<Mat>,
    /// What the cell saves, `[N·B, ·]`.
    pub(super) saved: Option<Mat>,
}

impl Buffers {
    /// Declares those of a layer, for all directions.
    pub fn new(program: &mut Program, config: &Config, layer: usize, length: u32) -> Buffers {
        let (cell, [batch, hidden]) = (config.cell, [config.batch, config.hidden].map(|n| n as u32));
        let (directions, gates) = (config.directions() as u32, gate_cols(hidden, cell.gates as usize));
        let name = |what: &str| format!("{what}, layer {layer}");
        let name_of_state = |state: &str| if state == "h" { name("hidden") } else { name(&format!("hidden {state}")) };
        let saved = gate_cols(hidden, cell.saved as usize);
        Buffers {
            recurrent_t: program.matrix(name("recurrent weight transposed"), directions * hidden, gates),
            input: program.transient(name("input sums"), directions * length, gates),
            states: (cell.states.iter())
                .map(|state| program.matrix(name_of_state(state), directions * (length + batch), hidden))
                .collect(),
            saved: (cell.saved > 0).then(|| program.transient(name("saved for the way back"), directions * length, saved)),
        }
    }

    /// Those of a direction.
    pub fn of_direction(&self, directions: u32, direction: u32) -> Buffers {
        let part = |window: Mat| of_direction(window, directions, direction);
        Buffers {
            recurrent_t: part(self.recurrent_t),
            input: part(self.input),
            states: self.states.iter().map(|&state| part(state)).collect(),
            saved: self.saved.map(part),
        }
    }
}

/// What all layers share, above all the buffers that they write one after the other on the way back, with rows for each direction; N is the
/// length of a segment.
///
/// The gradients of a layer lie a block behind those of the one above: so the first block of each is left, for the gradient by the
/// initial states. What is behind the last of them stays zero.
pub(crate) struct Shared {
    /// The gradient of the recurrent sums, and those of states that have paths of their own.
    gradients: Vec<Mat>,
    /// The gradient of the input's parts, of a cell where it is another.
    d_input: Option<Mat>,
    /// ∂L/∂h from above.
    d_hidden: Mat,
    /// Where sequences end, if they may before the window does.
    pub ends: Option<Ends>,
    /// What dropout and noise follow from, `[1, 4]`, if there is any.
    pub seed_and_step: Option<Mat>,
    length: u32,
    batch: u32,
    directions: u32,
    /// The layers above the last one, whose gradients are left; of several segments none.
    overlap: u32,
}

impl Shared {
    pub fn new(program: &mut Program, config: &Config, length: u32, overlap: u32) -> Shared {
        let (cell, [batch, hidden]) = (config.cell, [config.batch, config.hidden].map(|n| n as u32));
        let (directions, gates) = (config.directions() as u32, gate_cols(hidden, cell.gates as usize));
        let rows = directions * (length + (1 + overlap) * batch);
        let sums = program.matrix("gradient of sums", rows, gates);
        let state = |&state: &usize| program.matrix(format!("gradient of {} on its own path", cell.states[state]), rows, hidden);
        let gradients = std::iter::once(sums).chain(cell.direct.iter().map(state)).collect();
        let d_input = cell.distinct.then(|| program.transient("gradient of input sums", directions * length, gates));
        let d_hidden = program.transient("gradient of hidden", directions * length, hidden);
        let ends = config.lengths.then(|| Ends::new(program, config));
        let seed_and_step = config.is_random().then(|| program.indices("seed and training step", 1, 4));
        Shared { gradients, d_input, d_hidden, ends, seed_and_step, length, batch, directions, overlap }
    }

    fn direction(&self, place: u32) -> impl Fn(Mat) -> Mat + use<> {
        let (directions, direction) = (self.directions, place % self.directions);
        move |window| of_direction(window, directions, direction)
    }

    /// The gradients of a layer in a direction, which begin so many blocks down.
    pub(super) fn gradients(&self, place: u32) -> Vec<Mat> {
        let first = self.overlap.saturating_sub(place / self.directions) * self.batch;
        let rows = first..first + self.length + self.batch;
        self.gradients.iter().copied().map(self.direction(place)).map(|window| window.slice_rows(rows.clone())).collect()
    }

    pub(super) fn d_input(&self, place: u32) -> Option<Mat> {
        self.d_input.map(self.direction(place))
    }

    /// ∂L/∂h of a layer in a direction, `[N·B, H]`.
    pub fn d_hidden(&self, place: usize) -> Mat {
        self.direction(place as u32)(self.d_hidden)
    }

    /// Some rows of each direction.
    fn rows(&self, rows: Range<u32>) -> Vec<Mat> {
        let directions = (0..self.directions).flat_map(|direction| self.gradients.iter().copied().map(self.direction(direction)));
        directions.map(|window| window.slice_rows(rows.clone())).collect()
    }

    /// What is behind the last block of the first layer: zero, and nothing that is recorded writes it.
    pub fn behind(&self) -> Vec<Mat> {
        let first = self.length + self.overlap * self.batch;
        self.rows(first..first + self.batch)
    }

    /// Makes zero what was left of the time before, and lies behind the last block of a layer.
    pub fn clear(&self, program: &mut Program) {
        if self.overlap > 0 {
            let left = self.rows(self.length..self.length + self.overlap * self.batch);
            left.into_iter().for_each(|window| fill::fill(program, window, 0.0));
        }
    }
}
