//! The update: the norm of the gradient, the journal of the training step, and the optimiser's step, which clips.

use std::ops::Range;

use super::config::Config;
use super::optimizer::Optimizer;
use super::parameters::Parameters;
use crate::kernels::update::Control;
use crate::kernels::{journal, norm, update};
use crate::program::{Mat, Program};

/// Rows of the journal: training steps that may be under way before the host has to fetch what they left.
pub(crate) const HISTORY: u32 = 1024;

/// What an update reads and writes.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    optimizer: Optimizer,
    clip: Option<f32>,
    clip_value: Option<f32>,
    /// The arenas of the parameters and of the gradients, and of each state of the optimiser.
    arenas: [Mat; 2],
    states: Vec<Mat>,
    /// The columns of an arena whose weights decay, and of those whose weights do not.
    runs: Vec<(Range<u32>, bool)>,
    norm: Mat,
    pub schedule: Mat,
    pub status: Mat,
    pub history: Mat,
}

impl Update {
    pub fn new(program: &mut Program, config: &Config, parameters: &Parameters, arenas: [Mat; 2], states: Vec<Mat>) -> Update {
        let [norm, schedule, status] = ["gradient norm", "schedule", "status"].map(|name| program.matrix(name, 1, 4));
        let history = program.matrix("history", HISTORY, 4);
        let Config { optimizer, clip, clip_value, .. } = *config;
        let runs = runs(parameters, arenas[0].cols());
        Update { optimizer, clip, clip_value, arenas, states, runs, norm, schedule, status, history }
    }

    /// The arenas of the parameters and of the gradients.
    pub fn arenas(&self) -> [Mat; 2] {
        self.arenas
    }

    /// That of each state of the optimiser.
    pub fn states(&self) -> &[Mat] {
        &self.states
    }

    pub fn record(&self, program: &mut Program, loss: Mat) {
        let Update { norm: total, schedule, status, clip, clip_value, arenas: [weights, gradients], .. } = *self;
        norm::norm(program, gradients, total);
        journal::journal(program, loss, total, schedule, status, self.history);
        let control = Control { schedule, status, norm: total, clip, clip_value };
        match self.optimizer {
            Optimizer::Sgd => update::sgd(program, weights, gradients, control),
            Optimizer::Momentum { momentum } => {
                update::momentum(program, weights, gradients, self.states[0], control, momentum, false);
            }
            Optimizer::Nesterov { momentum } => {
                update::momentum(program, weights, gradients, self.states[0], control, momentum, true);
            }
            Optimizer::Adam(adam) => {
                update::adam(program, weights, gradients, self.states[0], self.states[1], control, adam, 0.0);
            }
            Optimizer::AdamW { adam, decay } => {
                for (cols, decays) in &self.runs {
                    let [w, g, m, v] =
                        [weights, gradients, self.states[0], self.states[1]].map(|arena| arena.slice_cols(cols.clone()));
                    update::adam(program, w, g, m, v, control, adam, if *decays { decay } else { 0.0 });
                }
            }
            Optimizer::RmsProp { beta, epsilon } => {
                update::rmsprop(program, weights, gradients, self.states[0], control, [beta, 1.0 - beta], epsilon);
            }
            Optimizer::AdaGrad { epsilon } => {
                update::rmsprop(program, weights, gradients, self.states[0], control, [1.0, 1.0], epsilon);
            }
        }
    }
}

/// The columns of an arena in runs of parameters one behind the other: those that decay, which are matrices, and the others.
fn runs(parameters: &Parameters, cols: u32) -> Vec<(Range<u32>, bool)> {
    let mut runs: Vec<(Range<u32>, bool)> = Vec::new();
    for (parameter, window) in parameters.table.iter().zip(&parameters.windows) {
        let (start, decays) = (window.offset as u32, parameter.decays());
        match runs.last_mut() {
            Some((_, before)) if *before == decays => {}
            Some((run, _)) => {
                run.end = start;
                runs.push((start..cols, decays));
            }
            None => runs.push((start..cols, decays)),
        }
    }
    runs
}
