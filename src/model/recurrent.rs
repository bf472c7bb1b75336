//! The network as a program: its parts, and the ranges of its steps.

use std::cell::RefCell;
use std::ops::Range;

use super::accumulation::Accumulation;
use super::both::Both;
use super::config::Config;
use super::dropout::Dropout;
use super::embedding::Embedding;
use super::gradient_parts::{GradientPart, gradient_parts};
use super::head::Head;
use super::layer::{Buffers, Layer, Shared, Weights};
use super::parameters::{Parameter, Parameters, table};
use super::passes::Recording;
use super::segment::{Ends, Segment};
use super::update::Update;
use crate::Result;
use crate::batch::Input;
use crate::kernels::update::Adam;
use crate::program::{Mat, Program};

/// A network's program and the windows through which it is fed and read.
#[derive(Debug, Clone)]
pub struct Model {
    pub(crate) config: Config,
    pub(crate) program: Program,
    pub(crate) parameters: Parameters,
    /// The windows in the gradients' arena.
    pub(crate) gradients: Vec<Mat>,
    /// The same in the order in which the backward pass completes them.
    pub(crate) gradient_parts: Vec<GradientPart>,
    /// For each state of the optimiser, its windows.
    pub(crate) optimizer_states: Vec<Vec<Mat>>,
    pub(crate) inputs: InputWindows,
    /// The layers, of two directions one behind the other.
    pub(crate) layers: Vec<Layer>,
    /// Where sequences end, if they may before the window does.
    pub(crate) ends: Option<Ends>,
    /// What a network of two directions has besides.
    pub(crate) both: Option<Both>,
    /// What dropout and noise follow from, `[1, 4]`, if there is any.
    pub(crate) seed_and_step: Option<Mat>,
    pub(crate) head: Head,
    pub(crate) update_windows: Update,
    /// What a network has whose training steps are of several batches.
    pub(crate) accumulation: Option<Accumulation>,
    /// What must be zero where a program for batches of another shape ran before, over the same buffers.
    pub(crate) zero: Vec<Mat>,
    /// What follows from the parameters; to be run after they were written.
    pub prepare: Range<usize>,
    /// From the inputs to the loss.
    pub forward: Range<usize>,
    /// From the loss to the gradients.
    pub backward: Range<usize>,
    /// Norm, journal and the optimiser's step, which clips.
    pub update: Range<usize>,
    /// The last states become the next window's initial ones.
    pub carry: Range<usize>,
    /// The gradients by the initial states, which training does not need.
    pub initial_gradient: Range<usize>,
    /// From the loss to ∂L/∂h_t at every step, which are kept; empty where that is not asked for.
    pub trace: Range<usize>,
}

/// Where the inputs go.
#[derive(Debug, Clone)]
pub(crate) enum InputWindows {
    /// For each direction, or once where both read an embedding.
    Tokens(Vec<TokenWindows>),
    /// `[T·B, I]`.
    Vectors(Mat),
}

/// Ids in the order of a direction, and their rows by token, for the ordered sum: a row for each segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenWindows {
    pub tokens: Mat,
    pub order: Mat,
    pub starts: Mat,
}

impl TokenWindows {
    /// Those of a segment.
    pub fn in_segment(&self, segment: &Segment) -> TokenWindows {
        TokenWindows {
            tokens: segment.indices(self.tokens),
            order: segment.indices(self.order),
            starts: self.starts.slice_rows(segment.number..segment.number + 1),
        }
    }
}

impl InputWindows {
    fn new(program: &mut Program, config: &Config, length: u32) -> InputWindows {
        let segments = config.segments().len() as u32;
        let mut tokens = |size: usize, suffix: &str| TokenWindows {
            tokens: program.indices(format!("tokens{suffix}"), segments, length),
            order: program.indices(format!("order of tokens{suffix}"), segments, length),
            starts: program.indices(format!("starts of tokens{suffix}"), segments, size as u32 + 1),
        };
        match config.input {
            Input::Tokens(size) => {
                let orders = if config.embedding.is_some() { 1 } else { config.directions() };
                InputWindows::Tokens(["", " in reverse"][..orders].iter().map(|suffix| tokens(size, suffix)).collect())
            }
            Input::Vectors(size) => {
                InputWindows::Vectors(program.matrix("inputs", (config.window * config.batch) as u32, size as u32))
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
        let segments = Segment::all(config);
        let length = segments[0].len();

        let table = table(config);
        let shapes: Vec<(u32, u32)> = table.iter().map(Parameter::window_shape).collect();
        let (arena, windows) = program.arena("parameters", &shapes);
        let (d_arena, gradients) = program.arena("gradients", &shapes);
        let states = config.optimizer.states().iter().map(|name| program.arena(format!("optimizer.{name}"), &shapes));
        let (state_arenas, optimizer_states): (Vec<Mat>, Vec<Vec<Mat>>) = states.unzip();
        let parameters = Parameters { table, windows };

        let inputs = InputWindows::new(&mut program, config, length);
        let embedding = Embedding::new(&mut program, config, &parameters, &gradients, &inputs);
        // Of several segments the first blocks are kept between them.
        let overlap = if segments.len() == 1 { config.layers as u32 - 1 } else { 0 };
        let shared = Shared::new(&mut program, config, length, overlap);
        let directions = config.directions();
        let buffers: Vec<Buffers> = (0..config.layers).map(|layer| Buffers::new(&mut program, config, layer, length)).collect();
        let layers: Vec<Layer> = (0..config.layers * directions)
            .map(|place| {
                let weights = [&parameters.windows, &gradients].map(|windows| Weights::new(&parameters, windows, place));
                let buffers = buffers[place / directions].of_direction(directions as u32, (place % directions) as u32);
                Layer::new(&mut program, config, place, weights, buffers, &shared)
            })
            .collect();
        let both = config.bidirectional.then(|| Both::new(&mut program, config, length));
        let through = if config.bidirectional { (config.window * config.batch) as u32 } else { length };
        let dropout = Dropout::new(&mut program, config, through, shared.seed_and_step);
        let head = Head::new(&mut program, config, &parameters, &gradients, length);
        let mut accumulation = (config.accumulate > 1).then(|| Accumulation::new(&mut program, d_arena, head.loss));
        let update_windows = Update::new(&mut program, config, &parameters, [arena, d_arena], state_arenas);

        let recording = Recording {
            inputs: &inputs,
            embedding: embedding.as_ref(),
            layers: &layers,
            both: both.as_ref(),
            dropout: &dropout,
            head: &head,
            segments: &segments,
            shared: &shared,
        };
        let mut record = |part: &dyn Fn(&mut Program)| {
            let start = program.len();
            part(&mut program);
            start..program.len()
        };
        let refresh = |program: &mut Program| layers.iter().for_each(|layer| layer.prepare(program));
        let prepare = record(&|program| {
            layers.iter().for_each(|layer| layer.remove_connections(program));
            refresh(program);
        });
        let forward = record(&|program| recording.forward(program));
        let complete = RefCell::new(Vec::new());
        let backward = record(&|program| {
            recording.backward(program, |layer, program| complete.borrow_mut().push((program.len(), layer)));
        });
        let update = record(&|program| {
            update_windows.record(program, head.loss);
            refresh(program);
        });
        let carry = record(&|program| layers.iter().for_each(|layer| layer.carry(program)));
        let initial_gradient = record(&|program| layers.iter().for_each(|layer| layer.initial_gradient(program)));
        let trace = record(&|program| {
            if config.trace {
                recording.trace(program);
            }
        });
        accumulation.iter_mut().for_each(|accumulation| accumulation.record(&mut program));
        let gradient_parts = gradient_parts(d_arena, &parameters, &complete.into_inner(), &backward);
        Ok(Model {
            config: config.clone(),
            program,
            parameters,
            gradients,
            gradient_parts,
            optimizer_states,
            inputs,
            layers,
            ends: shared.ends,
            both,
            seed_and_step: shared.seed_and_step,
            head,
            update_windows,
            accumulation,
            zero: shared.behind(),
            prepare,
            forward,
            backward,
            update,
            carry,
            initial_gradient,
            trace,
        })
    }

    /// Records the same network for smaller batches, over the buffers of a program, to which its steps are appended; a program of its own is not
    /// left.
    ///
    /// # Errors
    /// What [`Config::check`] finds.
    ///
    /// # Panics
    /// When the program is not that of the same network for larger batches.
    pub(crate) fn append_to(program: &mut Program, config: &Config) -> Result<Model> {
        let mut model = Model::new(config)?;
        let first = program.append(std::mem::take(&mut model.program));
        let Model { prepare, forward, backward, update, carry, initial_gradient, trace, .. } = &mut model;
        for range in [prepare, forward, backward, update, carry, initial_gradient, trace] {
            *range = first + range.start..first + range.end;
        }
        let parts = model.gradient_parts.iter_mut().map(|part| &mut part.steps);
        parts.for_each(|range| *range = first + range.start..first + range.end);
        model.accumulation.iter_mut().for_each(|accumulation| accumulation.shift(first));
        Ok(model)
    }

    /// What changes each step, for the schedule: the rate, Adam's corrections 1 / (1 − β₁ᵗ) and 1 / (1 − β₂ᵗ) for step t from 1
    /// on, and the row of the history.
    pub(crate) fn schedule_of(&self, step: u64, rate: f64) -> [f32; 4] {
        // In f64 and on the host: 1 − 0.999ᵗ loses all digits in f32 for small t. Of the f32 constants that the update has: its
        // 1 − β₂ is 1.3e-5 less than 0.001, which the correction takes out again.
        let correction = |beta: f32| (1.0 / (1.0 - f64::from(beta).powf(step as f64))) as f32;
        let row = (step - 1) % u64::from(self.update_windows.history.rows());
        let Adam { beta1, beta2, .. } = self.config.optimizer.adam().unwrap_or(Adam::USUAL);
        [rate as f32, correction(beta1), correction(beta2), row as f32]
    }

    /// The steps after each batch of a training step but the last, which keep its gradients, and those after the last, which take them up:
    /// both empty where a training step is of one batch.
    #[must_use]
    pub fn accumulating(&self) -> [Range<usize>; 2] {
        self.accumulation.as_ref().map_or([0..0, 0..0], |accumulation| [accumulation.keep.clone(), accumulation.finish.clone()])
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
