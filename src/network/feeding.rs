//! How a batch comes to a network: the program of its shape, and what is written before that runs.

use super::{Network, lengths};
use crate::batch::{Batch, InitialState, Inputs, Loss, Targets};
use crate::model::{Config, InputWindows, Model, TokenWindows, token_order};
use crate::program::Mat;
use crate::{Error, Result};

/// About so many lengths of window are told apart where batches end early: each takes a program of its own.
const LENGTHS: usize = 16;

impl Network {
    /// [`Network::feed`] of no more time steps than the longest sequence has, rounded up to a sixteenth of the window: what is behind them
    /// counts nowhere, so it is not computed.
    pub(super) fn feed_short(&mut self, batch: &Batch) -> Result<()> {
        let (window, sequences) = batch.shape();
        let longest = (0..sequences).map(|b| batch.length(b)).max().unwrap_or(window);
        let steps = longest.max(2).next_multiple_of(window.div_ceil(LENGTHS)).min(window);
        if steps < window && self.backend.is_extensible() { self.feed(&batch.until(steps)) } else { self.feed(batch) }
    }

    /// Takes the model for batches of a shape, which is recorded and loaded over the same buffers where there is none. The parameters, the
    /// optimiser's states and the count of steps are those of all of them.
    fn take_shape(&mut self, (window, batch): (usize, usize), carries: bool) -> Result<()> {
        let now = (self.model.config.window, self.model.config.batch);
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
            return Err(Error::input(
                "batch",
                "a window of 1 time step has no segments, in which this network recomputes its states",
            ));
        }
        if carries && batch != now.1 {
            let problem = format!("{batch} sequences cannot carry on the states of the {} before them", now.1);
            return Err(Error::input("batch", problem));
        }
        let known = self.others.iter().position(|other| (other.config.window, other.config.batch) == (window, batch));
        let place = match known {
            Some(place) => place,
            None if !self.backend.is_extensible() => {
                let problem =
                    format!("[T, B] is [{window}, {batch}]; this network takes [{}, {}] alone on this backend", now.0, now.1);
                return Err(Error::input("batch", problem));
            }
            None => {
                let config = self.made_for.for_shape(window, batch);
                let model = Model::append_to(&mut self.model.program, &config)?;
                self.backend.extend(&self.model.program)?;
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
            self.backend.write_indices(indices(tokens, row, ids), ids)?;
            self.backend.write_indices(indices(order, row, &by_token), &by_token)?;
            self.backend.write_indices(indices(starts, row, &begins), &begins)?;
        }
        Ok(())
    }

    /// Checks a batch and writes it.
    pub(super) fn feed(&mut self, batch: &Batch) -> Result<()> {
        self.take_shape(batch.shape(), batch.initial_state == InitialState::Carried)?;
        let Config { input, outputs, bidirectional, .. } = self.model.config;
        let (layers, _, hidden) = self.model.config.state_shape();
        batch.check(input, outputs, layers, hidden, self.model.config.cell.states)?;
        if bidirectional && batch.initial_state == InitialState::Carried {
            let problem = "a network of both directions carries no state on: the reverse one begins at the end of a window";
            return Err(Error::Usage(problem.into()));
        }
        self.write_lengths(batch)?;

        match (&batch.inputs, self.model.inputs.clone()) {
            (Inputs::Tokens(ids), InputWindows::Tokens(directions)) => {
                for (place, windows) in directions.iter().enumerate() {
                    let ids = if place == 0 { lengths::ids(batch, ids) } else { lengths::turned_ids(batch, ids) };
                    self.write_tokens(windows, &ids)?;
                }
            }
            (Inputs::Vectors(x), InputWindows::Vectors(inputs)) => self.backend.write(inputs, &lengths::vectors(batch, x))?,
            _ => unreachable!("the batch was checked against the input"),
        }
        match (&batch.targets, self.model.config.loss) {
            (Targets::Classes(ids), Loss::CrossEntropy) => {
                let (targets, ids) = (self.model.head.targets, lengths::counted_ids(batch, ids));
                for (row, ids) in (0..).zip(ids.chunks(targets.cols() as usize)) {
                    self.backend.write_indices(indices(targets, row, ids), ids)?;
                }
            }
            (Targets::Values(values), Loss::SquaredError) => {
                self.backend.write(self.model.head.targets, &lengths::counted_vectors(batch, values))?;
            }
            (_, Loss::CrossEntropy) => return Err(Error::input("values", "this network is measured by classes")),
            (_, Loss::SquaredError) => return Err(Error::input("classes", "this network is measured by values")),
        }
        let weights = batch.weights();
        if weights != self.weights {
            self.backend.write(self.model.head.counts, &weights)?;
            self.weights = weights;
        }
        match &batch.initial_state {
            InitialState::Carried => Ok(()),
            InitialState::Zero => self.clear_state(),
            InitialState::Given(states) => self.set_state(states),
        }
    }
}

/// The first columns of a row, as many as there are values.
pub(super) fn indices(window: Mat, row: u32, values: &[u32]) -> Mat {
    window.slice_rows(row..row + 1).slice_cols(0..values.len() as u32)
}
