//! The network as a program: the loop over layers and segments, written once.
//!
//! Forward, for each layer: P = X·Uᵀ + b for all time steps at once, then the recurrence h_t = φ(p_t + W·h_{t−1}); then
//! O = H·Vᵀ + c and the loss. Backward: dH = dO·V; for each layer, the last first, the recurrence
//! d_t = (∂L/∂h_t + Wᵀ·d_{t+1}) ⊙ φ′(h_t), where d_t = ∂L/∂(p_t), and
//! ∂L/∂W = Σ_t d_t·h_{t−1}ᵀ, ∂L/∂U = Σ_t d_t·x_tᵀ, ∂L/∂b = Σ_t d_t, each one product over all time steps;
//! ∂L/∂V = Σ_t (dO_t)·h_tᵀ. What reaches the layer below is dH = D·U.
//!
//! Everything is `[T·B, ·]`, row t·B + b. `Wᵀ` is kept beside `W` and refreshed after each update.
//!
//! A long window is computed in segments of N steps (Chen, Xu, Zhang & Guestrin 2016, *Training Deep Nets with Sublinear Memory Cost*).
//! The states between them are kept, those inside only of the segment at hand: so a segment's forward pass is computed again
//! before its backward pass, and gradients add up over the segments. With one segment, which is the usual case, all states are kept.

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
    /// Classes, a row for each segment, or values `[T·B, O]`.
    pub(crate) targets: Mat,
    /// The weight of each output in the loss, `[T·B, 1]`.
    pub(crate) weights: Mat,
    pub(crate) outputs: Mat,
    /// `[(T+1)·B, H]` for each layer, the initial state first; with several segments those of the last one computed.
    pub(crate) hidden: Vec<Mat>,
    /// ∂L/∂h_t, `[T·B, H]` for each layer, where it is traced.
    pub(crate) d_hidden: Vec<Mat>,
    /// The states before each segment and after the last, `[(segments+1)·B, H]` for each layer; with one segment `hidden`.
    pub(crate) kept: Vec<Mat>,
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
    /// Ids, and their rows by token, for the ordered sum: a row for each segment.
    Tokens { tokens: Mat, order: Mat, starts: Mat },
    /// `[T·B, I]`.
    Vectors(Mat),
}

/// A layer's windows into the arenas and its buffers; N is the length of a segment.
struct Layer {
    input_weight: Mat,
    recurrent_weight: Mat,
    bias: Mat,
    recurrent_weight_t: Mat,
    d_input_weight: Mat,
    d_recurrent_weight: Mat,
    d_bias: Mat,
    /// P, `[N·B, H]`.
    input: Mat,
    /// H, `[(N+1)·B, H]`.
    hidden: Mat,
    /// D, `[(N+1)·B, H]`: zero in its last B rows, or what comes from the segment behind.
    d_sum: Mat,
    /// ∂L/∂h_t, the sum of both paths before φ′, `[T·B, H]`, where it is traced.
    d_hidden: Option<Mat>,
    /// Of several segments: the states between them, and the first B rows of D of the segment behind.
    borders: Option<(Mat, Mat)>,
}

/// The windows that the passes over a segment are recorded with.
struct Recording<'a> {
    config: &'a Config,
    layers: Vec<Layer>,
    decoder: [Mat; 2],
    d_decoder: [Mat; 2],
    inputs: InputWindows,
    targets: Mat,
    weights: Mat,
    logits: Mat,
    losses: Mat,
    d_logits: Mat,
    d_hidden: Mat,
}

/// Some time steps of a window.
struct Segment {
    number: u32,
    /// Its rows of the window.
    rows: Range<u32>,
    is_last: bool,
}

impl Segment {
    /// The rows of a window of a segment's length.
    fn of(&self, window: Mat) -> Mat {
        window.slice_rows(0..self.rows.end - self.rows.start)
    }

    /// Its row of indices.
    fn indices(&self, window: Mat) -> Mat {
        window.slice_rows(self.number..self.number + 1).slice_cols(0..self.rows.end - self.rows.start)
    }
}

impl Recording<'_> {
    /// The states of a layer after each step of a segment, and before each.
    fn states(&self, layer: &Layer, segment: &Segment) -> [Mat; 2] {
        let (batch, count) = (self.config.batch as u32, segment.rows.end - segment.rows.start);
        [layer.hidden.slice_rows(batch..count + batch), layer.hidden.slice_rows(0..count)]
    }

    /// From the state before a segment to its losses and their gradient by the outputs.
    fn forward(&self, program: &mut Program, segment: &Segment) {
        let batch = self.config.batch as u32;
        let block = |mat: Mat, i: u32| mat.slice_rows(i * batch..(i + 1) * batch);
        let count = segment.rows.end - segment.rows.start;
        let mut below = None;
        for layer in &self.layers {
            let input = segment.of(layer.input);
            match (below, self.inputs) {
                (Some(below), _) => linear(program, below, layer.input_weight, layer.bias, input),
                (None, InputWindows::Vectors(x)) => {
                    linear(program, x.slice_rows(segment.rows.clone()), layer.input_weight, layer.bias, input);
                }
                (None, InputWindows::Tokens { tokens, .. }) => {
                    embedding::lookup(program, segment.indices(tokens), layer.input_weight, layer.bias, input);
                }
            }
            let hidden = layer.hidden.slice_rows(0..count + batch);
            if let Some((states, _)) = layer.borders {
                fill::copy(program, block(states, segment.number), block(hidden, 0));
            }
            recurrence::forward(program, ELMAN.forward, self.config.activation, batch, input, layer.recurrent_weight_t, hidden);
            if let Some((states, _)) = layer.borders {
                fill::copy(program, hidden.slice_rows(count..count + batch), block(states, segment.number + 1));
            }
            below = Some(self.states(layer, segment)[0]);
        }
        let of = |window: Mat| window.slice_rows(segment.rows.clone());
        let (logits, d_logits) = (of(self.logits), segment.of(self.d_logits));
        linear(program, below.expect("at least one layer"), self.decoder[0], self.decoder[1], logits);
        match self.config.loss {
            Loss::CrossEntropy => {
                let classes = segment.indices(self.targets);
                softmax_loss::softmax_loss(program, logits, classes, of(self.weights), d_logits, of(self.losses));
            }
            Loss::SquaredError => {
                squared_loss::squared_loss(program, logits, of(self.targets), of(self.weights), d_logits, of(self.losses));
            }
        }
    }

    /// From the gradient by a segment's outputs to those by the weights, to which it is added but for the last segment, which comes
    /// first.
    fn backward(&self, program: &mut Program, segment: &Segment) {
        let batch = self.config.batch as u32;
        let count = segment.rows.end - segment.rows.start;
        let sum = if segment.is_last { Epilogue::Store } else { Epilogue::Add };
        let top = self.layers.last().expect("at least one layer");
        let (d_logits, d_hidden) = (segment.of(self.d_logits), segment.of(self.d_hidden));
        gemm(program, Form::TN, d_logits, self.states(top, segment)[0], self.d_decoder[0], sum);
        column_sum::column_sum(program, d_logits, self.d_decoder[1], sum);
        gemm(program, Form::NN, d_logits, self.decoder[0], d_hidden, Epilogue::Store);
        for (l, layer) in self.layers.iter().enumerate().rev() {
            let d_sum = layer.d_sum.slice_rows(0..count + batch);
            let (first, later) = (d_sum.slice_rows(0..batch), d_sum.slice_rows(count..count + batch));
            match layer.borders {
                Some(_) if segment.is_last => fill::fill(program, later, 0.0),
                Some((_, d_state)) => fill::copy(program, d_state, later),
                None => {}
            }
            let [after, before] = self.states(layer, segment);
            recurrence::backward(
                program,
                ELMAN.backward,
                self.config.activation,
                batch,
                d_hidden,
                layer.recurrent_weight,
                after,
                d_sum,
            );
            if let Some((_, d_state)) = layer.borders {
                fill::copy(program, first, d_state);
            }
            if let Some(all) = layer.d_hidden {
                let all = all.slice_rows(segment.rows.clone());
                fill::copy(program, d_hidden, all);
                let behind = d_sum.slice_rows(batch..count + batch);
                gemm(program, Form::NN, behind, layer.recurrent_weight, all, Epilogue::Add);
            }
            let d = d_sum.slice_rows(0..count);
            gemm(program, Form::TN, d, before, layer.d_recurrent_weight, sum);
            column_sum::column_sum(program, d, layer.d_bias, sum);
            match (l, self.inputs) {
                (0, InputWindows::Tokens { order, starts, .. }) => {
                    let starts = starts.slice_rows(segment.number..segment.number + 1);
                    embedding::gradient(program, segment.indices(order), starts, d, layer.d_input_weight, sum);
                }
                (0, InputWindows::Vectors(x)) => {
                    gemm(program, Form::TN, d, x.slice_rows(segment.rows.clone()), layer.d_input_weight, sum);
                }
                _ => {
                    gemm(program, Form::TN, d, self.states(&self.layers[l - 1], segment)[0], layer.d_input_weight, sum);
                    gemm(program, Form::NN, d, layer.input_weight, d_hidden, Epilogue::Store);
                }
            }
        }
    }
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
        let times = config.segments();
        let (rows, count, depth) = (window * batch, times.len() as u32, config.layers as u32);
        let length = times[0].end * batch;

        let table = table(config);
        let shapes: Vec<(u32, u32)> = table.iter().map(super::parameters::Parameter::window_shape).collect();
        let (arena, windows) = program.arena("parameters", &shapes);
        let (d_arena, gradients) = program.arena("gradients", &shapes);
        let (state_arenas, states): (Vec<Mat>, Vec<Vec<Mat>>) =
            config.optimizer.states().iter().map(|name| program.arena(format!("optimizer.{name}"), &shapes)).unzip();

        let inputs = match config.input {
            Input::Tokens(size) => InputWindows::Tokens {
                tokens: program.indices("tokens", count, length),
                order: program.indices("order of tokens", count, length),
                starts: program.indices("starts of tokens", count, size as u32 + 1),
            },
            Input::Vectors(size) => InputWindows::Vectors(program.matrix("inputs", rows, size as u32)),
        };
        let targets = match config.loss {
            Loss::CrossEntropy => program.indices("classes", count, length),
            Loss::SquaredError => program.matrix("values", rows, outputs),
        };
        let weights = program.matrix("weights of outputs", rows, 1);
        // The gradients of the sums of all layers lie in one buffer, those of a layer a block behind those of the one above: so the
        // first block of each is left, for the gradient by the initial state. What is behind the last of them stays zero.
        let overlap = if count == 1 { depth - 1 } else { 0 };
        let d_sums = program.matrix("gradient of sums", length + (1 + overlap) * batch, hidden);
        let layers: Vec<Layer> = (0..config.layers)
            .map(|l| {
                let name = |what: &str| format!("{what}, layer {l}");
                let first = overlap.saturating_sub(l as u32) * batch;
                let borders = (count > 1).then(|| {
                    let states = program.matrix(name("states between segments"), (count + 1) * batch, hidden);
                    (states, program.matrix(name("gradient of sums behind a segment"), batch, hidden))
                });
                Layer {
                    input_weight: windows[3 * l],
                    recurrent_weight: windows[3 * l + 1],
                    bias: windows[3 * l + 2],
                    d_input_weight: gradients[3 * l],
                    d_recurrent_weight: gradients[3 * l + 1],
                    d_bias: gradients[3 * l + 2],
                    recurrent_weight_t: program.matrix(name("recurrent weight transposed"), hidden, hidden),
                    input: program.transient(name("input sums"), length, hidden),
                    hidden: program.matrix(name("hidden"), length + batch, hidden),
                    d_sum: d_sums.slice_rows(first..first + length + batch),
                    d_hidden: config.trace.then(|| program.matrix(name("gradient of hidden states"), rows, hidden)),
                    borders,
                }
            })
            .collect();
        let logits = program.matrix("outputs", rows, outputs);
        let losses = program.transient("losses", rows, 1);
        let recording = Recording {
            config,
            layers,
            decoder: [windows[3 * config.layers], windows[3 * config.layers + 1]],
            d_decoder: [gradients[3 * config.layers], gradients[3 * config.layers + 1]],
            inputs,
            targets,
            weights,
            logits,
            losses,
            d_logits: program.transient("gradient of outputs", length, outputs),
            d_hidden: program.transient("gradient of hidden", length, hidden),
        };
        let layers = &recording.layers;
        let d_initial: Vec<Mat> =
            (0..config.layers).map(|l| program.matrix(format!("gradient of initial state, layer {l}"), batch, hidden)).collect();
        let loss = program.matrix("loss", 1, 1);
        let [total, schedule, status] = ["gradient norm", "schedule", "status"].map(|name| program.matrix(name, 1, 4));
        let history = program.matrix("history", HISTORY, 4);

        let refresh = |program: &mut Program| {
            layers.iter().for_each(|l| transpose::transpose(program, l.recurrent_weight, l.recurrent_weight_t));
        };
        let segments: Vec<Segment> = (0..)
            .zip(&times)
            .map(|(number, t)| Segment { number, rows: t.start * batch..t.end * batch, is_last: number + 1 == count })
            .collect();

        let start = program.len();
        refresh(&mut program);
        let prepare = start..program.len();

        segments.iter().for_each(|segment| recording.forward(&mut program, segment));
        column_sum::column_sum(&mut program, losses, loss, Epilogue::Store);
        let forward = prepare.end..program.len();

        if overlap > 0 {
            fill::fill(&mut program, d_sums.slice_rows(length..length + overlap * batch), 0.0);
        }
        for segment in segments.iter().rev() {
            // The states of the last one are still there.
            if !segment.is_last {
                recording.forward(&mut program, segment);
            }
            recording.backward(&mut program, segment);
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

        let kept: Vec<Mat> = layers.iter().map(|l| l.borders.map_or(l.hidden, |(states, _)| states)).collect();
        kept.iter().for_each(|states| fill::carry(&mut program, *states, batch));
        let carry = update.end..program.len();

        for (layer, d_initial) in layers.iter().zip(&d_initial) {
            let d = layer.borders.map_or(layer.d_sum.slice_rows(0..batch), |(_, d_state)| d_state);
            gemm(&mut program, Form::NN, d, layer.recurrent_weight, *d_initial, Epilogue::Store);
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
            d_hidden: layers.iter().filter_map(|l| l.d_hidden).collect(),
            kept,
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
