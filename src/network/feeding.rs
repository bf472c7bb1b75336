//! How a batch comes to a network: the program of its shape, and what is written before that runs.

use std::iter::repeat_n;

use super::{Network, lengths};
use crate::batch::{Batch, InitialState, Inputs, Targets};
use crate::model::{InputWindows, Model, TokenWindows, loss_constants, token_order};
use crate::{Error, Result};

impl Network {
    /// Checks a batch and writes all of its time steps.
    pub(super) fn feed(&mut self, batch: &Batch) -> Result<()> {
        self.feed_own(batch, 1.0, Batch::window)
    }

    /// The same of no more time steps than have to be computed: no output behind them counts.
    pub(super) fn feed_short(&mut self, batch: &Batch) -> Result<()> {
        self.feed_share(batch, 1.0)
    }

    /// The same of a batch whose loss counts for a share of the whole.
    pub(super) fn feed_share(&mut self, batch: &Batch, share: f32) -> Result<()> {
        self.feed_own(batch, share, if self.backend.is_extensible() { Batch::computed_steps } else { Batch::window })
    }

    /// Checks a batch, and writes what this rank computes of it.
    fn feed_own(&mut self, batch: &Batch, share: f32, steps: fn(&Batch) -> usize) -> Result<()> {
        self.made_for.check_batch(batch)?;
        let (sequences, carries) = (batch.shape().1, batch.initial_state == InitialState::Carried);
        if carries && sequences != self.sequences() {
            let problem = format!("{sequences} sequences cannot carry on the states of the {} before them", self.sequences());
            return Err(Error::input("batch", problem));
        }
        // All ranks compute as many time steps: a mean may be over all of them.
        let shape = (steps(batch), sequences);
        if self.team.is_none() {
            return self.feed_steps(batch, batch.weights(&self.made_for.loss), shape, share);
        }
        match self.take_share(batch) {
            Some((own, weights)) => self.feed_steps(&own, weights, shape, share),
            None => Ok(()),
        }
    }

    /// The sequences of the batch that came last, of all ranks.
    fn sequences(&self) -> usize {
        self.team.as_ref().map_or(self.model.config.batch, |team| team.batch)
    }

    /// Takes the model for batches of a shape, which is recorded and loaded over the same buffers where there is none. The parameters, the
    /// optimiser's states and the count of steps are those of all of them. The shape is `[T, B]`, of the whole batch.
    pub(super) fn take_shape(&mut self, (window, batch): (usize, usize)) -> Result<()> {
        let now = (self.model.config.window, self.model.config.whole_batch());
        if (window, batch) == now {
            return Ok(());
        }
        let (most, largest) = (self.made_for.window, self.made_for.batch);
        if window > most || batch > largest {
            return Err(Error::input(
                "batch",
                format!("[T, B] is [{window}, {batch}]; this network takes at most [{most}, {largest}]"),
            ));
        }
        if window == 1 && self.made_for.segments().len() > 1 {
            return Err(Error::input("batch", "a window of 1 time step is too short for recomputation, which needs at least 2"));
        }
        let known = self.others.iter().position(|other| (other.config.window, other.config.whole_batch()) == (window, batch));
        let place = match known {
            Some(place) => place,
            None if !self.backend.is_extensible() => {
                let problem =
                    format!("[T, B] is [{window}, {batch}]; on this backend this network takes only [{}, {}]", now.0, now.1);
                return Err(Error::input("batch", problem));
            }
            None => {
                let (config, (rank, ranks)) = (self.made_for.for_shape(window, batch), self.rank());
                let config = if ranks == 1 { Some(config) } else { config.for_rank(rank, ranks) };
                let config = config.expect("a rank takes the shape of a batch of which it has a share");
                let loaded = self.model.program.len();
                let model = Model::append_to(&mut self.model.program, &config)?;
                if let Err(error) = self.backend.extend(&self.model.program) {
                    self.model.program.truncate(loaded);
                    return Err(error);
                }
                self.others.push(model);
                self.others.len() - 1
            }
        };
        let other = &mut self.others[place];
        std::mem::swap(&mut self.model, other);
        std::mem::swap(&mut self.model.program, &mut other.program);
        // Those that were written for another shape lie elsewhere.
        self.weights.clear();
        self.model.zero.iter().try_for_each(|window| self.backend.write(*window, &vec![0.0; window.len()]))
    }

    /// Writes ids, in the order of a direction, and their rows by token.
    fn write_tokens(&mut self, windows: &TokenWindows, ids: &[u32]) -> Result<()> {
        let TokenWindows { tokens, order, starts } = *windows;
        for (row, ids) in (0..).zip(ids.chunks(tokens.cols() as usize)) {
            let (by_token, begins) = token_order(ids, starts.cols() - 1);
            self.backend.write_indices(tokens.start_of_row(row, ids.len()), ids)?;
            self.backend.write_indices(order.start_of_row(row, by_token.len()), &by_token)?;
            self.backend.write_indices(starts.start_of_row(row, begins.len()), &begins)?;
        }
        Ok(())
    }

    /// Writes this rank's part of a batch: of the whole one so many time steps of so many sequences are computed. Its outputs have these weights.
    fn feed_steps(&mut self, batch: &Batch, mut weights: Vec<f32>, (steps, sequences): (usize, usize), share: f32) -> Result<()> {
        self.take_shape((steps, sequences))?;
        self.write_lengths(batch, steps)?;
        match (&batch.inputs, self.model.inputs.clone()) {
            (Inputs::Tokens(ids), InputWindows::Tokens(directions)) => {
                for (place, windows) in directions.iter().enumerate() {
                    let ids = if place == 0 { lengths::ids(batch, steps, ids) } else { lengths::turned_ids(batch, steps, ids) };
                    self.write_tokens(windows, &ids)?;
                }
            }
            (Inputs::Vectors(x), InputWindows::Vectors(inputs)) => {
                self.backend.write(inputs, &lengths::vectors(batch, steps, x))?
            }
            _ => unreachable!("the batch was checked against the input"),
        }
        match &batch.targets {
            Targets::Classes(ids) => {
                let (targets, ids) = (self.model.head.targets, lengths::counted_ids(batch, steps, ids));
                for (row, ids) in (0..).zip(ids.chunks(targets.cols() as usize)) {
                    self.backend.write_indices(targets.start_of_row(row, ids.len()), ids)?;
                }
            }
            Targets::Values(values) => {
                let values = lengths::counted_vectors(batch, steps, values);
                match self.made_for.loss.outputs_per_target() {
                    1 => self.backend.write(self.model.head.targets, &values)?,
                    // Each target is measured against several outputs.
                    each => {
                        let repeated: Vec<f32> = values.iter().flat_map(|&v| repeat_n(v, each)).collect();
                        self.backend.write(self.model.head.targets, &repeated)?;
                    }
                }
            }
        }
        weights.truncate(steps * batch.shape().1);
        weights.iter_mut().for_each(|weight| *weight *= share);
        if weights != self.weights {
            self.backend.write(self.model.head.counts, &weights)?;
            // These never change, and go with what is written whenever a program of another shape begins.
            let constants = loss_constants(&self.made_for.loss, self.made_for.outputs);
            if let Some((window, constants)) = self.model.head.constants.zip(constants) {
                self.backend.write(window, &constants)?;
            }
            self.weights = weights;
        }
        match &batch.initial_state {
            InitialState::Carried => Ok(()),
            InitialState::Zero => self.clear_state(),
            InitialState::Given(states) => self.write_state(states, sequences),
        }
    }
}
