//! A network on a backend: fed with batches, trained, and read back as arrays.

mod feeding;
mod gradients;
mod halves;
mod lengths;
mod own_loss;
mod predicting;
mod ranks;
mod states;
mod stepping;
mod stored;

use std::collections::{BTreeMap, VecDeque};

use ndarray::Array3;

use crate::backend::{Backend, Compute, PROGRAM, Ticket};
use crate::batch::Batch;
use crate::model::{Accumulation, Config, Model, dropout_schedule, parameters};
use crate::program::Program;
use crate::{Error, Result};
pub use gradients::{Gradient, Traced, TracedState};
pub use predicting::Prediction;
use ranks::Team;
pub use stepping::StepInputs;
use stepping::Stepper;
pub(crate) use stored::{PARAMETERS, Stored};

/// What a training step left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    /// The step, counted from 1.
    pub step: u64,
    /// Its loss, before the update.
    pub loss: f32,
    /// The norm of its gradient, before clipping.
    pub gradient_norm: f32,
    /// The position in the arena of the first value of the gradient that is not finite.
    bad: Option<u64>,
}

/// The seed and the training step, counted from 1, that dropout's masks follow from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Masks {
    /// The seed.
    pub seed: u64,
    /// The training step.
    pub step: u64,
}

/// A network on a backend.
///
/// It takes batches of any shape that is no larger than that of its configuration. Each shape has a program of its own over the same
/// buffers, which is made when it first comes, and stays.
///
/// ```
/// use ndarray::{Array2, Array3};
/// use retrospect::batch::{Batch, Input, Inputs, Loss, Targets};
/// use retrospect::model::{Config, RecurrentInit};
/// use retrospect::backend::Compute;
/// use retrospect::network::Network;
///
/// // Two sequences of five steps; to say at each step whether the input is positive.
/// let x = Array3::from_shape_fn((5, 2, 1), |(t, b, _)| if (t * 3 + b) % 2 == 0 { 1.0 } else { -1.0 });
/// let y = Array2::from_shape_fn((5, 2), |(t, b)| u32::from(x[[t, b, 0]] > 0.0));
/// let batch = Batch::new(Inputs::Vectors(x), Targets::Classes(y));
///
/// let config = Config::new(Input::Vectors(1), 8, 2, Loss::CrossEntropy, 2, 5);
/// let mut network = Network::new(&config, &Compute::Cpu(None))?;
/// network.initialise(1, RecurrentInit::Uniform)?;
/// let before = network.loss(&batch)?;
/// for _ in 0..50 {
///     network.train_step(&batch, 0.02)?;
/// }
/// assert!(network.loss(&batch)? < 0.2 * before);
///
/// let gradient = network.gradient(&batch)?;
/// assert_eq!(gradient.parameters["rnn.weight_hh_l0"].shape(), [8, 8]);
/// assert_eq!(network.hidden(0)?.dim(), (5, 2, 8));
/// # Ok::<(), retrospect::Error>(())
/// ```
pub struct Network {
    /// The model for batches of the shape of the last one; its program has the steps of all.
    model: Model,
    /// Those for batches of other shapes, over the same buffers, without a program.
    others: Vec<Model>,
    /// What it was made for: the largest batches.
    made_for: Config,
    backend: Box<dyn Backend>,
    step: u64,
    /// What dropout's masks of training steps follow from, and those that the device has now.
    seed: u64,
    masks: Option<Masks>,
    weights: Vec<f32>,
    /// The window and the lengths of its sequences that were written last.
    lengths: (usize, Vec<usize>),
    fetching: VecDeque<(u64, u64, Ticket)>,
    fetched: u64,
    /// The weights as single time steps read them, until they change.
    stepper: Option<Box<Stepper>>,
    /// What it is trained together with.
    team: Option<Team>,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let (backend, config) = (self.backend.description(), &self.made_for);
        f.debug_struct("Network")
            .field("backend", &backend)
            .field("steps", &self.step)
            .field("config", config)
            .finish_non_exhaustive()
    }
}

impl Network {
    /// Records the program of a configuration and loads it. The parameters are zero until initialised or set.
    ///
    /// # Errors
    /// What the configuration's check and the backend report.
    pub fn new(config: &Config, compute: &Compute) -> Result<Network> {
        Network::from_model(Model::new(config)?, compute).map_err(|error| match error {
            Error::DoesNotFit { what, needed, available, .. } if what == PROGRAM => {
                let fits = |program: &Program| {
                    // What a program takes besides is known once it is lowered, which takes long where it is much too large.
                    program.plan().bytes() <= available && compute.memory(program).iter().sum::<u64>() <= available
                };
                let advice = config.largest(|smaller| Model::new(smaller).is_ok_and(|model| fits(&model.program)));
                Error::DoesNotFit { what, needed, available, advice }
            }
            other => other,
        })
    }

    /// Loads a recorded model.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn from_model(model: Model, compute: &Compute) -> Result<Network> {
        let backend = compute.load(&model.program)?;
        Ok(Network::on(model, backend))
    }

    /// A recorded model on a backend that is already loaded with its program: one of one's own, the definitions in f64, or
    /// a GPU with its variants chosen.
    #[must_use]
    pub fn on(model: Model, backend: Box<dyn Backend>) -> Network {
        Network {
            made_for: model.config.clone(),
            model,
            others: Vec::new(),
            backend,
            step: 0,
            seed: 0,
            masks: None,
            weights: Vec::new(),
            lengths: (0, Vec::new()),
            fetching: VecDeque::new(),
            fetched: 0,
            stepper: None,
            team: None,
        }
    }

    /// What it was made for: batches are at most of this shape, which is that of the whole batch where several ranks share it.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.made_for
    }

    /// The model, as recorded for batches of the shape of the last one.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The backend.
    #[must_use]
    pub fn backend(&mut self) -> &mut dyn Backend {
        // Whoever has it may change the weights.
        self.stepper = None;
        &mut *self.backend
    }

    /// The variant that runs of a step, by its index.
    pub fn variant_of(&self) -> impl Fn(usize) -> Option<&'static str> {
        |step| self.backend.variant(step)
    }

    /// The variant that runs of each step, by [`crate::program::Step::shape`]; empty on the CPU.
    #[must_use]
    pub fn variants(&self) -> BTreeMap<String, String> {
        let steps = self.model.program.steps().iter().enumerate();
        steps.filter_map(|(i, step)| Some((step.shape(), self.backend.variant(i)?.into()))).collect()
    }

    /// The number of training steps taken.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Sets the seed that dropout's masks follow from in training, as [`Network::initialise`] does.
    pub fn set_seed(&mut self, seed: u64) {
        self.seed = seed;
    }

    /// Sets the number of training steps taken: what Adam's corrections and dropout's masks depend on.
    pub fn set_steps(&mut self, step: u64) {
        (self.step, self.fetched) = (step, step);
        self.fetching.clear();
    }

    /// One training step: forward, backward, update, and the last state kept for a batch that carries on. It does not
    /// wait for the device; [`Network::reports`] tells what came of it.
    ///
    /// # Errors
    /// [`Error::BadInput`] when the batch does not fit; [`Error::Usage`] when the rate is not finite, and for a network of several batches a
    /// training step ([`Config::accumulate`]); what the backend reports.
    pub fn train_step(&mut self, batch: &Batch, rate: f64) -> Result<()> {
        self.train_step_on(std::slice::from_ref(batch), rate)
    }

    /// [`Network::train_step`] on as many batches as [`Config::accumulate`] says, by the mean of their losses and gradients, as if they were
    /// one. A batch that carries the state on goes on from the one before. Each drops other units.
    ///
    /// # Errors
    /// As [`Network::train_step`]; [`Error::Usage`] for another number of batches.
    pub fn train_step_on(&mut self, batches: &[Batch], rate: f64) -> Result<()> {
        check_rate(rate)?;
        let count = self.made_for.accumulate;
        if batches.len() != count {
            let problem = format!("a training step of this network is on {count} batches; got {}", batches.len());
            return Err(Error::Usage(problem));
        }
        let Some((last, before)) = batches.split_last() else { return Ok(()) };
        // One that does not fit must not leave the gradients of those before it behind. A single batch is checked when it is fed.
        if !before.is_empty() {
            batches.iter().try_for_each(|batch| self.made_for.check_batch(batch))?;
        }
        batches.iter().try_for_each(|batch| self.expect_shares(batch.shape().1))?;
        let first = self.step * count as u64 + 1;
        for (place, batch) in (first..).zip(before) {
            self.feed_share(batch, 1.0 / count as f32)?;
            self.set_masks(Some(Masks { seed: self.seed, step: place }))?;
            self.backend.run(self.model.forward.start..self.model.backward.end)?;
            self.backend.run(self.accumulation()?.keep)?;
            self.backend.run(self.model.carry.clone())?;
        }
        self.feed_share(last, 1.0 / count as f32)?;
        self.finish_step(rate)
    }

    fn accumulation(&self) -> Result<Accumulation> {
        let problem = "this network was made for training steps of one batch";
        self.model.accumulation.clone().ok_or_else(|| Error::Usage(problem.into()))
    }

    /// One more training step on the batch that came last, which is on the device already, from the state that was carried on: what
    /// a benchmark repeats.
    ///
    /// # Errors
    /// [`Error::Usage`] when the rate is not finite, and for a network of several batches a training step ([`Config::accumulate`]); what the
    /// backend reports.
    pub fn train_again(&mut self, rate: f64) -> Result<()> {
        check_rate(rate)?;
        if self.made_for.accumulate > 1 {
            return Err(Error::Usage("a training step of this network is on several batches, and one is on the device".into()));
        }
        self.team.iter().try_for_each(|team| self.expect_shares(team.batch))?;
        self.finish_step(rate)
    }

    /// A training step with the batch that is on the device as its last or only one.
    fn finish_step(&mut self, rate: f64) -> Result<()> {
        self.begin_step(rate)?;
        let batches = self.step * self.made_for.accumulate as u64;
        self.set_masks(Some(Masks { seed: self.seed, step: batches }))?;
        match (&self.model.accumulation, &self.team) {
            (None, None) => return self.backend.run(self.model.forward.start..self.model.carry.end),
            (None, Some(_)) => {
                self.backend.run(self.model.forward.clone())?;
                self.back_propagate_together(false)?;
            }
            (Some(_), _) => {
                self.backend.run(self.model.forward.start..self.model.backward.end)?;
                self.backend.run(self.accumulation()?.finish)?;
                self.back_propagate_together(true)?;
            }
        }
        self.backend.run(self.model.update.start..self.model.carry.end)
    }

    /// Counts a training step and writes what changes with each.
    fn begin_step(&mut self, rate: f64) -> Result<()> {
        self.step += 1;
        self.stepper = None;
        self.backend.write(self.model.update_windows.schedule, &self.model.schedule_of(self.step, rate))
    }

    /// Lets units be dropped by these masks from now on, or none. Training does, and nothing else that is not told to.
    fn set_masks(&mut self, masks: Option<Masks>) -> Result<()> {
        let Some(schedule) = self.model.seed_and_step.filter(|_| self.masks != masks) else { return Ok(()) };
        let Masks { seed, step } = masks.unwrap_or(Masks { seed: 0, step: 0 });
        self.backend.write_indices(schedule, &dropout_schedule(seed, step))?;
        self.masks = masks;
        Ok(())
    }

    /// Asks for what the steps since the last time left, without waiting.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn fetch(&mut self) -> Result<()> {
        let rows = u64::from(self.model.update_windows.history.rows());
        let first = self.fetched.max(self.step.saturating_sub(rows));
        self.fetched = self.step;
        // The ring may wrap around in between: then there are two ranges.
        let mut from = first;
        while from < self.step {
            let row = from % rows;
            let count = (self.step - from).min(rows - row);
            let ticket = self.backend.request(self.model.update_windows.history.slice_rows(row as u32..(row + count) as u32))?;
            self.fetching.push_back((from + 1, count, ticket));
            from += count;
        }
        Ok(())
    }

    /// What fetched steps left, in order; those that the device has not finished come another time. With `wait` all.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn reports(&mut self, wait: bool) -> Result<Vec<Report>> {
        let mut reports = Vec::new();
        while let Some(&(first, count, ticket)) = self.fetching.front() {
            match self.backend.take(ticket)? {
                Some(values) => {
                    let steps = (first..first + count).zip(values.chunks(4));
                    reports.extend(steps.map(|(step, row)| Report {
                        step,
                        loss: row[0],
                        gradient_norm: row[1],
                        bad: (row[2] >= 0.0).then(|| row[2] as u64 * 4096 + row[3] as u64),
                    }));
                    self.fetching.pop_front();
                }
                None if wait => self.backend.wait()?,
                None => break,
            }
        }
        Ok(reports)
    }

    /// The name of what is not finite in a step, if anything is.
    #[must_use]
    pub fn diverged(&self, report: &Report) -> Option<String> {
        if !report.loss.is_finite() {
            return Some("the loss".into());
        }
        let bad = report.bad.map(|at| format!("the gradient of {}", self.model.parameters.name_at(at)));
        bad.or_else(|| (!report.gradient_norm.is_finite()).then(|| "the gradient's norm".into()))
    }

    /// The loss of a batch, without dropout. The state is carried on, as by a training step: between windows of training, save it with
    /// [`Network::state`] and set it again, as [`crate::train::evaluate`] does.
    ///
    /// # Errors
    /// As [`Network::train_step`].
    pub fn loss(&mut self, batch: &Batch) -> Result<f32> {
        self.feed_short(batch)?;
        if self.is_idle() {
            return self.total_loss(0.0);
        }
        self.set_masks(None)?;
        self.backend.run(self.model.forward.clone())?;
        let loss = self.backend.read(self.model.head.loss)?[0];
        self.backend.run(self.model.carry.clone())?;
        self.total_loss(loss)
    }

    /// The outputs of the last batch, `[T, B, O]`; after a training step or a loss those of the time steps that were computed, at least as many
    /// as the longest sequence has.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn outputs(&mut self) -> Result<Array3<f32>> {
        let Config { window, batch, outputs, .. } = self.model.config;
        let values = self.backend.read(self.model.head.outputs)?;
        let own = Array3::from_shape_vec((window, batch, outputs), values).expect("an output for each row");
        self.join_ranks(own)
    }

    /// A layer's hidden states of the last batch, `[T, B, H]`, or `[T, B, 2H]` of both directions; zero behind a sequence's end. T is that of
    /// [`Network::outputs`]. Of several ranks, those of this one.
    ///
    /// # Errors
    /// [`Error::Usage`] when there is no such layer, or when not all states are kept; what the backend reports.
    pub fn hidden(&mut self, layer: usize) -> Result<Array3<f32>> {
        let Config { window, batch, hidden, layers, .. } = self.model.config;
        if layer >= layers {
            return Err(Error::Usage(format!("layer {layer} of {layers}")));
        }
        if let Some(both) = &self.model.both {
            let values = parameters::gathered(&self.backend.read(both.outputs[layer])?, hidden, 2);
            return Ok(Array3::from_shape_vec((window, batch, 2 * hidden), values).expect("both states for each row"));
        }
        if self.model.config.segments().len() > 1 {
            return Err(Error::Usage("hidden states are recomputed in segments, and not kept".into()));
        }
        let states = self.model.layers[layer].states[0];
        let values = self.backend.read(states.slice_rows(batch as u32..states.rows()))?;
        Ok(Array3::from_shape_vec((window, batch, hidden), values).expect("a state for each row"))
    }
}

fn check_rate(rate: f64) -> Result<()> {
    let usable = rate.is_finite() && rate >= 0.0;
    let message = || format!("the learning rate is {rate}; it must be finite and not negative");
    if usable { Ok(()) } else { Err(Error::Usage(message())) }
}
