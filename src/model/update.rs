//! The update: the norm of the gradient, the journal of the training step, and the optimiser's step, which clips.

use super::config::{Config, Optimizer};
use crate::kernels::update::{Adam, Control};
use crate::kernels::{journal, norm, update};
use crate::program::{Mat, Program};

/// Rows of the journal: training steps that may be under way before the host has to fetch what they left.
pub(crate) const HISTORY: u32 = 1024;

/// What an update reads and writes.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    optimizer: Optimizer,
    clip: Option<f32>,
    /// The arenas of the parameters and of the gradients, and of each state of the optimiser.
    arenas: [Mat; 2],
    states: Vec<Mat>,
    norm: Mat,
    pub schedule: Mat,
    pub status: Mat,
    pub history: Mat,
}

impl Update {
    pub fn new(program: &mut Program, config: &Config, arenas: [Mat; 2], states: Vec<Mat>) -> Update {
        let [norm, schedule, status] = ["gradient norm", "schedule", "status"].map(|name| program.matrix(name, 1, 4));
        let history = program.matrix("history", HISTORY, 4);
        Update { optimizer: config.optimizer, clip: config.clip, arenas, states, norm, schedule, status, history }
    }

    pub fn record(&self, program: &mut Program, loss: Mat) {
        let Update { norm: total, schedule, status, clip, arenas: [weights, gradients], .. } = *self;
        norm::norm(program, gradients, total);
        journal::journal(program, loss, total, schedule, status, self.history);
        let control = Control { schedule, status, norm: total, clip };
        match self.optimizer {
            Optimizer::Sgd => update::sgd(program, weights, gradients, control),
            Optimizer::Momentum { momentum } => {
                update::momentum(program, weights, gradients, self.states[0], control, momentum);
            }
            Optimizer::Adam => {
                update::adam(program, weights, gradients, self.states[0], self.states[1], control, Adam::USUAL);
            }
        }
    }
}
