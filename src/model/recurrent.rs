//! The network as a program: its buffers and the ranges of its steps, each pass recorded for all segments.

use std::ops::Range;

use super::config::{Config, Optimizer};
use super::parameters::{Parameters, table};
use super::passes::{Layer, Recording, Segment, TracedWindows};
use crate::Result;
use crate::batch::{Input, Loss};
use crate::kernels::gemm::{Epilogue, Form, gemm};
use crate::kernels::update::{Adam, Control};
use crate::kernels::{column_sum, fill, journal, norm, transpose, update};
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
    /// What [`Model::trace`] leaves of each layer.
    pub(crate) traced: Vec<TracedWindows>,
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
    /// Norm, journal and the optimiser's step, which clips.
    pub update: Range<usize>,
    /// The last hidden states become the next window's initial ones.
    pub carry: Range<usize>,
    /// ∂L/∂h₀, which training does not need.
    pub initial_gradient: Range<usize>,
    /// From the loss to ∂L/∂h_t at every step, which are kept; empty where that is not asked for.
    pub trace: Range<usize>,
}

/// Where the inputs go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum InputWindows {
    /// Ids, and their rows by token, for the ordered sum: a row for each segment.
    Tokens { tokens: Mat, order: Mat, starts: Mat },
    /// `[T·B, I]`.
    Vectors(Mat),
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
                    traced: config.trace.then(|| TracedWindows {
                        hidden: program.matrix(name("traced hidden"), rows, hidden),
                        d_hidden: program.matrix(name("gradient of traced hidden"), rows, hidden),
                    }),
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

        // From the last segment to the first, each by a pass.
        let back = |program: &mut Program, pass: &dyn Fn(&mut Program, &Segment)| {
            if overlap > 0 {
                fill::fill(program, d_sums.slice_rows(length..length + overlap * batch), 0.0);
            }
            for segment in segments.iter().rev() {
                // The states of the last one are still there.
                if !segment.is_last {
                    recording.forward(program, segment);
                }
                pass(program, segment);
            }
        };
        back(&mut program, &|program, segment| recording.backward(program, segment));
        let backward = forward.end..program.len();

        norm::norm(&mut program, d_arena, total);
        journal::journal(&mut program, loss, total, schedule, status, history);
        let control = Control { schedule, status, norm: total, clip: config.clip };
        match config.optimizer {
            Optimizer::Sgd => update::sgd(&mut program, arena, d_arena, control),
            Optimizer::Momentum { momentum } => {
                update::momentum(&mut program, arena, d_arena, state_arenas[0], control, momentum);
            }
            Optimizer::Adam => {
                update::adam(&mut program, arena, d_arena, state_arenas[0], state_arenas[1], control, Adam::USUAL);
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

        if config.trace {
            back(&mut program, &|program, segment| recording.trace(program, segment));
        }
        let trace = initial_gradient.end..program.len();

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
            traced: layers.iter().filter_map(|l| l.traced).collect(),
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
            trace,
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
