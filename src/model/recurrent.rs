//! The network as a program: the loop over layers, written once.
//!
//! Forward, for each layer: P = X·Uᵀ + b for all time steps at once, then the recurrence h_t = φ(p_t + W·h_{t−1}); then
//! O = H·Vᵀ + c and the loss. Backward: dH = dO·V; for each layer, the last first, the recurrence
//! d_t = (∂L/∂h_t + Wᵀ·d_{t+1}) ⊙ φ′(h_t), where d_t = ∂L/∂(p_t), and
//! ∂L/∂W = Σ_t d_t·h_{t−1}ᵀ, ∂L/∂U = Σ_t d_t·x_tᵀ, ∂L/∂b = Σ_t d_t, each one product over all time steps;
//! ∂L/∂V = Σ_t (dO_t)·h_tᵀ. What reaches the layer below is dH = D·U.
//!
//! Everything is `[T·B, ·]`, row t·B + b. `Wᵀ` is kept beside `W` and refreshed after each update.

use std::ops::Range;

use super::config::{Config, Optimizer};
use super::parameters::{Parameters, table};
use crate::Result;
use crate::batch::{Input, Loss};
use crate::cells::elman::ELMAN;
use crate::kernels::gemm::{Epilogue, Form, gemm, linear};
use crate::kernels::update::Adam;
use crate::kernels::{column_sum, embedding, fill, journal, norm, recurrence, softmax_loss, squared_loss, transpose, update};
use crate::program::{Mat, Program};

/// Rows of the journal: training steps that may be under way before the host has to fetch what they left.
pub(crate) const HISTORY: u32 = 1024;

/// A network's program and the windows through which it is fed and read.
#[derive(Debug, Clone)]
pub struct Model {
    pub(crate) config: Config,
    pub(crate) program: Program,
    pub(crate) parameters: Parameters,
    /// The windows in the gradients' arena.
    pub(crate) gradients: Vec<Mat>,
    /// For each state of the optimiser, its windows.
    pub(crate) states: Vec<Vec<Mat>>,
    pub(crate) inputs: InputWindows,
    pub(crate) targets: Mat,
    /// The weight of each output in the loss, `[T·B, 1]`.
    pub(crate) weights: Mat,
    pub(crate) outputs: Mat,
    /// `[(T+1)·B, H]` for each layer, the initial state first.
    pub(crate) hidden: Vec<Mat>,
    /// ∂L/∂h₀, `[B, H]` for each layer.
    pub(crate) d_initial: Vec<Mat>,
    pub(crate) loss: Mat,
    pub(crate) schedule: Mat,
    pub(crate) status: Mat,
    pub(crate) history: Mat,
    /// What follows from the parameters; to be run after they were written.
    pub prepare: Range<usize>,
    /// From the inputs to the loss.
    pub forward: Range<usize>,
    /// From the loss to the gradients.
    pub backward: Range<usize>,
    /// Norm, journal, clipping and the optimiser's step.
    pub update: Range<usize>,
    /// The last hidden states become the next window's initial ones.
    pub carry: Range<usize>,
    /// ∂L/∂h₀, which training does not need.
    pub initial_gradient: Range<usize>,
}

/// Where the inputs go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum InputWindows {
    /// Ids, and their rows by token, for the ordered sum.
    Tokens { tokens: Mat, order: Mat, starts: Mat },
    /// `[T·B, I]`.
    Vectors(Mat),
}

/// A layer's windows into the arenas and its buffers.
struct Layer {
    input_weight: Mat,
    recurrent_weight: Mat,
    bias: Mat,
    recurrent_weight_t: Mat,
    d_input_weight: Mat,
    d_recurrent_weight: Mat,
    d_bias: Mat,
    /// P, `[T·B, H]`.
    input: Mat,
    /// H, `[(T+1)·B, H]`.
    hidden: Mat,
    /// D, `[(T+1)·B, H]`, zero in its last B rows.
    d_sum: Mat,
}

impl Model {
    /// Records the program of a configuration.
    ///
    /// # Errors
    /// What [`Config::check`] finds.
    pub fn new(config: &Config) -> Result<Model> {
        config.check()?;
        let mut program = Program::new();
        let [batch, window, hidden, outputs] = [config.batch, config.window, config.hidden, config.outputs].map(|n| n as u32);
        let rows = window * batch;

        let table = table(config);
        let shapes: Vec<(u32, u32)> = table.iter().map(super::parameters::Parameter::window_shape).collect();
        let (arena, windows) = program.arena("parameters", &shapes);
        let (d_arena, gradients) = program.arena("gradients", &shapes);
        let (state_arenas, states): (Vec<Mat>, Vec<Vec<Mat>>) =
            config.optimizer.states().iter().map(|name| program.arena(format!("optimizer.{name}"), &shapes)).unzip();

        let inputs = match config.input {
            Input::Tokens(size) => InputWindows::Tokens {
                tokens: program.indices("tokens", rows),
                order: program.indices("order of tokens", rows),
                starts: program.indices("starts of tokens", size as u32 + 1),
            },
            Input::Vectors(size) => InputWindows::Vectors(program.matrix("inputs", rows, size as u32)),
        };
        let targets = match config.loss {
            Loss::CrossEntropy => program.indices("classes", rows),
            Loss::SquaredError => program.matrix("values", rows, outputs),
        };
        let weights = program.matrix("weights of outputs", rows, 1);
        let layers: Vec<Layer> = (0..config.layers)
            .map(|l| {
                let mut matrix = |name: &str, rows| program.matrix(format!("{name}, layer {l}"), rows, hidden);
                Layer {
                    input_weight: windows[3 * l],
                    recurrent_weight: windows[3 * l + 1],
                    bias: windows[3 * l + 2],
                    d_input_weight: gradients[3 * l],
                    d_recurrent_weight: gradients[3 * l + 1],
                    d_bias: gradients[3 * l + 2],
                    recurrent_weight_t: matrix("recurrent weight transposed", hidden),
                    input: matrix("input sums", rows),
                    hidden: matrix("hidden", rows + batch),
                    d_sum: matrix("gradient of sums", rows + batch),
                }
            })
            .collect();
        let (decoder, decoder_bias) = (windows[3 * config.layers], windows[3 * config.layers + 1]);
        let (d_decoder, d_decoder_bias) = (gradients[3 * config.layers], gradients[3 * config.layers + 1]);
        let d_hidden = program.matrix("gradient of hidden", rows, hidden);
        let d_initial: Vec<Mat> =
            (0..config.layers).map(|l| program.matrix(format!("gradient of initial state, layer {l}"), batch, hidden)).collect();
        let (logits, d_logits) = (program.matrix("outputs", rows, outputs), program.matrix("gradient of outputs", rows, outputs));
        let (losses, loss) = (program.matrix("losses", rows, 1), program.matrix("loss", 1, 1));
        let [total, schedule, status] = ["gradient norm", "schedule", "status"].map(|name| program.matrix(name, 1, 4));
        let history = program.matrix("history", HISTORY, 4);

        let after = |layer: &Layer| layer.hidden.slice_rows(batch..rows + batch);
        let before = |layer: &Layer| layer.hidden.slice_rows(0..rows);
        let refresh = |program: &mut Program| {
            layers.iter().for_each(|l| transpose::transpose(program, l.recurrent_weight, l.recurrent_weight_t));
        };

        let start = program.len();
        refresh(&mut program);
        let prepare = start..program.len();

        for (l, layer) in layers.iter().enumerate() {
            match (l, inputs) {
                (0, InputWindows::Tokens { tokens, .. }) => {
                    embedding::lookup(&mut program, tokens, layer.input_weight, layer.bias, layer.input);
                }
                (0, InputWindows::Vectors(x)) => linear(&mut program, x, layer.input_weight, layer.bias, layer.input),
                _ => linear(&mut program, after(&layers[l - 1]), layer.input_weight, layer.bias, layer.input),
            }
            let Layer { input, recurrent_weight_t, hidden, .. } = *layer;
            recurrence::forward(&mut program, ELMAN.forward, config.activation, batch, input, recurrent_weight_t, hidden);
        }
        let last = &layers[config.layers - 1];
        linear(&mut program, after(last), decoder, decoder_bias, logits);
        match config.loss {
            Loss::CrossEntropy => softmax_loss::softmax_loss(&mut program, logits, targets, weights, d_logits, losses),
            Loss::SquaredError => squared_loss::squared_loss(&mut program, logits, targets, weights, d_logits, losses),
        }
        column_sum::column_sum(&mut program, losses, loss);
        let forward = prepare.end..program.len();

        gemm(&mut program, Form::TN, d_logits, after(last), d_decoder, Epilogue::Store);
        column_sum::column_sum(&mut program, d_logits, d_decoder_bias);
        gemm(&mut program, Form::NN, d_logits, decoder, d_hidden, Epilogue::Store);
        for (l, layer) in layers.iter().enumerate().rev() {
            let Layer { recurrent_weight, d_sum, .. } = *layer;
            recurrence::backward(
                &mut program,
                ELMAN.backward,
                config.activation,
                batch,
                d_hidden,
                recurrent_weight,
                after(layer),
                d_sum,
            );
            let d = d_sum.slice_rows(0..rows);
            gemm(&mut program, Form::TN, d, before(layer), layer.d_recurrent_weight, Epilogue::Store);
            column_sum::column_sum(&mut program, d, layer.d_bias);
            match (l, inputs) {
                (0, InputWindows::Tokens { order, starts, .. }) => {
                    embedding::gradient(&mut program, order, starts, d, layer.d_input_weight);
                }
                (0, InputWindows::Vectors(x)) => gemm(&mut program, Form::TN, d, x, layer.d_input_weight, Epilogue::Store),
                _ => {
                    gemm(&mut program, Form::TN, d, after(&layers[l - 1]), layer.d_input_weight, Epilogue::Store);
                    gemm(&mut program, Form::NN, d, layer.input_weight, d_hidden, Epilogue::Store);
                }
            }
        }
        let backward = forward.end..program.len();

        norm::norm(&mut program, d_arena, total);
        journal::journal(&mut program, loss, total, schedule, status, history);
        if let Some(clip) = config.clip {
            norm::clip(&mut program, d_arena, total, clip);
        }
        match config.optimizer {
            Optimizer::Sgd => update::sgd(&mut program, arena, d_arena, schedule, status),
            Optimizer::Momentum { momentum } => {
                update::momentum(&mut program, arena, d_arena, state_arenas[0], schedule, status, momentum);
            }
            Optimizer::Adam => {
                update::adam(&mut program, arena, d_arena, state_arenas[0], state_arenas[1], schedule, status, Adam::USUAL);
            }
        }
        refresh(&mut program);
        let update = backward.end..program.len();

        layers.iter().for_each(|l| fill::carry(&mut program, l.hidden, batch));
        let carry = update.end..program.len();

        for (layer, d_initial) in layers.iter().zip(&d_initial) {
            gemm(&mut program, Form::NN, layer.d_sum.slice_rows(0..batch), layer.recurrent_weight, *d_initial, Epilogue::Store);
        }
        let initial_gradient = carry.end..program.len();

        Ok(Model {
            config: config.clone(),
            parameters: Parameters { table, windows },
            gradients,
            states,
            inputs,
            targets,
            weights,
            outputs: logits,
            hidden: layers.iter().map(|l| l.hidden).collect(),
            d_initial,
            loss,
            schedule,
            status,
            history,
            program,
            prepare,
            forward,
            backward,
            update,
            carry,
            initial_gradient,
        })
    }

    /// What changes each step, for the schedule: the rate, Adam's corrections 1 / (1 − β₁ᵗ) and 1 / (1 − β₂ᵗ) for step t from 1
    /// on, and the row of the history.
    pub(crate) fn schedule_of(&self, step: u64, rate: f64) -> [f32; 4] {
        // In f64 and on the host: 1 − 0.999ᵗ loses all digits in f32 for small t. Of the f32 constants that the update has: its
        // 1 − β₂ is 1.3e-5 less than 0.001, which the correction takes out again.
        let correction = |beta: f32| (1.0 / (1.0 - f64::from(beta).powf(step as f64))) as f32;
        let row = (step - 1) % u64::from(self.history.rows());
        [rate as f32, correction(Adam::USUAL.beta1), correction(Adam::USUAL.beta2), row as f32]
    }

    /// What it was recorded from.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    #[doc(hidden)]
    /// The program, to be changed before it is loaded: to plant a fault and see that it is caught. Steps keep their places,
    /// since the ranges count them.
    pub fn program_mut(&mut self) -> &mut Program {
        &mut self.program
    }
}
