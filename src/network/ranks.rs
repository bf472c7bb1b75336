//! A network that several ranks train together: each computes its share of every batch, and what all of it makes is added up.
//!
//! All ranks call the same functions with the same whole batches, and get the same losses, outputs, states and gradients back.

mod gradient_sums;

use std::ops::Range;
use std::time::{Duration, Instant};

use ndarray::{Array3, s};

use super::Network;
use crate::backend::Compute;
use crate::batch::{Batch, States};
use crate::model::Config;
use crate::program::Mat;
use crate::ranks::{Collective, share};
use crate::{Error, Result};

/// What connects a network to the other ranks that train it.
pub(super) struct Team {
    collective: Box<dyn Collective>,
    /// The sequences of the whole batch that came last.
    pub batch: usize,
    /// Whether this rank wants to stop, and whether any did when all last added something up.
    wants_to_stop: bool,
    is_stopping: bool,
    /// The time that was spent waiting for sums.
    waited: Duration,
    /// The sums of the last training step.
    sums: usize,
    /// The states of all ranks, for a checkpoint.
    states: Option<States>,
}

impl Team {
    /// The sequences of a whole batch that this rank computes.
    pub fn share(&self, batch: usize) -> Range<usize> {
        share(batch, self.collective.rank(), self.collective.size())
    }

    /// Whether there is nothing for this rank to do in the last batch.
    pub fn is_idle(&self) -> bool {
        self.share(self.batch).is_empty()
    }

    /// The sum of a loss over all ranks. With it goes whether each wants to stop, so that all know it at the same time.
    fn total(&mut self, loss: f32) -> Result<f32> {
        let begun = Instant::now();
        self.collective.begin_sum(vec![loss, self.vote()])?;
        let sums = self.collective.finish_sum()?;
        self.waited += begun.elapsed();
        self.count_votes(sums[1]);
        Ok(sums[0])
    }

    /// 1 where this rank wants to stop.
    fn vote(&self) -> f32 {
        f32::from(u8::from(self.wants_to_stop))
    }

    fn count_votes(&mut self, sum: f32) {
        self.is_stopping = sum > 0.0;
    }

    /// Numbers of all ranks, in their order.
    fn gather(&mut self, own: &[f32]) -> Result<Vec<Vec<f32>>> {
        let all = self.collective.gather(bytemuck::cast_slice(own).to_vec())?;
        Ok(all.iter().map(|bytes| bytemuck::pod_collect_to_vec(bytes)).collect())
    }
}

impl Network {
    /// [`Network::new`] for a rank of several that train it together. Each computes its share of every batch, and calls the same functions with
    /// the same, whole batches; losses, outputs, gradients and states are those of all of it. The parameters have to be the same everywhere:
    /// [`Network::synchronise`] sees to that. What is random in training depends on the place in the whole batch, and not on the ranks.
    ///
    /// ```
    /// use ndarray::{Array2, Array3};
    /// use retrospect::backend::Compute;
    /// use retrospect::batch::{Batch, Input, Inputs, Loss, Targets};
    /// use retrospect::model::{Config, RecurrentInit};
    /// use retrospect::network::Network;
    /// use retrospect::ranks::threads;
    ///
    /// let x = Array3::from_shape_fn((5, 4, 1), |(t, b, _)| if (t * 3 + b) % 2 == 0 { 1.0 } else { -1.0 });
    /// let y = Array2::from_shape_fn((5, 4), |(t, b)| u32::from(x[[t, b, 0]] > 0.0));
    /// let batch = Batch::new(Inputs::Vectors(x), Targets::Classes(y));
    /// let config = Config::new(Input::Vectors(1), 8, 2, Loss::CrossEntropy, 4, 5);
    ///
    /// // Three ranks in threads of this process; with MPI each is a process.
    /// std::thread::scope(|scope| {
    ///     let train = |rank| -> retrospect::Result<f32> {
    ///         let mut network = Network::with_ranks(&config, &Compute::Cpu(Some(1)), Box::new(rank))?;
    ///         network.initialise(1, RecurrentInit::Uniform)?;
    ///         for _ in 0..20 {
    ///             network.train_step(&batch, 0.02)?;
    ///         }
    ///         let loss = network.loss(&batch)?;
    ///         network.finish().map(|()| loss)
    ///     };
    ///     let threads: Vec<_> = threads(3)?.into_iter().map(|rank| scope.spawn(move || train(rank))).collect();
    ///     let losses: Vec<f32> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Result<_, _>>()?;
    ///     assert!(losses[0] < 0.3 && losses[0] == losses[1] && losses[1] == losses[2]);
    ///     Ok::<(), retrospect::Error>(())
    /// })?;
    /// # Ok::<(), retrospect::Error>(())
    /// ```
    ///
    /// A rank that cannot go on drops its network, and the others get an error: they wait for one that keeps it.
    ///
    /// # Errors
    /// As [`Network::new`]; [`Error::Usage`] for fewer sequences in a batch than ranks, and for [`Config::trace`].
    pub fn with_ranks(config: &Config, compute: &Compute, collective: Box<dyn Collective>) -> Result<Network> {
        let (rank, size) = (collective.rank(), collective.size());
        if size == 1 {
            return Network::new(config, compute);
        }
        config.check()?;
        let own = config.for_rank(rank, size).filter(|_| config.batch >= size).ok_or_else(|| too_few(config.batch, size))?;
        if config.trace {
            return Err(Error::Usage(format!("only one rank alone can trace gradients, and there are {size}")));
        }
        let team = Team {
            collective,
            batch: config.batch,
            wants_to_stop: false,
            is_stopping: false,
            waited: Duration::ZERO,
            sums: 0,
            states: None,
        };
        let network = Network::new(&own, compute).map_err(|error| match error {
            Error::DoesNotFit { what, needed, available, advice } => {
                let advice =
                    format!("{advice}; that is for one of {size} ranks, with {} of {} sequences", own.batch, config.batch);
                Error::DoesNotFit { what, needed, available, advice }
            }
            other => other,
        })?;
        Ok(Network { made_for: config.clone(), team: Some(team), ..network })
    }

    /// The number of this rank, from 0, and how many there are.
    #[must_use]
    pub fn rank(&self) -> (usize, usize) {
        self.team.as_ref().map_or((0, 1), |team| (team.collective.rank(), team.collective.size()))
    }

    /// The time that this rank has spent waiting for the others' sums, so far.
    #[must_use]
    pub fn waited_for_ranks(&self) -> Duration {
        self.team.as_ref().map_or(Duration::ZERO, |team| team.waited)
    }

    /// The sums over all ranks that the last training step was added up in.
    #[must_use]
    pub fn sums_over_ranks(&self) -> usize {
        self.team.as_ref().map_or(0, |team| team.sums)
    }

    /// Whether to stop now, since this rank or another wants to: what each wants is known to all after the next loss or training step, at the same
    /// one.
    pub fn agree_to_stop(&mut self, wants_to: bool) -> bool {
        let Some(team) = &mut self.team else { return wants_to };
        team.wants_to_stop |= wants_to;
        let is_stopping = std::mem::take(&mut team.is_stopping);
        // Whoever goes on after it has not asked yet.
        team.wants_to_stop &= !is_stopping;
        is_stopping
    }

    /// Gives all ranks the parameters and the optimiser's states of rank 0.
    ///
    /// # Errors
    /// [`Error::RankLost`]; what the backend reports.
    pub fn synchronise(&mut self) -> Result<()> {
        let Some(team) = &mut self.team else { return Ok(()) };
        let is_first = team.collective.rank() == 0;
        let [parameters, _] = self.model.update_windows.arenas();
        let arenas = [parameters].into_iter().chain(self.model.update_windows.states().iter().copied());
        for window in arenas.flat_map(Mat::blocks) {
            let own = if is_first { self.backend.read(window)? } else { Vec::new() };
            let first = team.collective.broadcast(bytemuck::cast_slice(&own).to_vec())?;
            if !is_first {
                self.backend.write(window, &bytemuck::pod_collect_to_vec::<u8, f32>(&first))?;
            }
        }
        self.begin()
    }

    /// What each rank gives, in the order of the ranks.
    ///
    /// # Errors
    /// [`Error::RankLost`].
    pub fn gather_from_ranks(&mut self, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        match &mut self.team {
            Some(team) => team.collective.gather(bytes),
            None => Ok(vec![bytes]),
        }
    }

    /// What rank 0 gives.
    ///
    /// # Errors
    /// [`Error::RankLost`].
    pub fn broadcast_to_ranks(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        match &mut self.team {
            Some(team) => team.collective.broadcast(bytes),
            None => Ok(bytes),
        }
    }

    /// Ends the work together, once all ranks have called it; a rank that is dropped before counts as lost for the others.
    ///
    /// # Errors
    /// [`Error::RankLost`].
    pub fn finish(&mut self) -> Result<()> {
        self.team.as_mut().map_or(Ok(()), |team| team.collective.finish())
    }

    /// Tells the others that this rank ends without them, as dropping the network does. It is good for nothing after that.
    pub fn leave_ranks(&mut self) {
        self.team = None;
    }

    /// Refuses a batch of which not every rank has a share.
    pub(super) fn expect_shares(&self, sequences: usize) -> Result<()> {
        match self.rank() {
            (_, ranks) if sequences < ranks => Err(too_few(sequences, ranks)),
            _ => Ok(()),
        }
    }

    /// Refuses what several ranks do not do together.
    pub(crate) fn expect_one_rank(&self, what: &str) -> Result<()> {
        match self.rank() {
            (_, 1) => Ok(()),
            (_, ranks) => Err(Error::Usage(format!("only one rank alone can {what}, and there are {ranks}"))),
        }
    }

    /// This rank's part of an array `[T, B, ·]`.
    pub(super) fn own_part(&self, whole: Array3<f32>) -> Array3<f32> {
        match &self.team {
            Some(team) => whole.slice(s![.., team.share(team.batch), ..]).to_owned(),
            None => whole,
        }
    }

    /// Whether this rank has nothing to do in the batch that came last.
    pub(super) fn is_idle(&self) -> bool {
        self.team.as_ref().is_some_and(Team::is_idle)
    }

    /// The part of a whole batch that this rank computes, and the weights of its outputs; `None` where it has no part.
    pub(super) fn take_share(&mut self, batch: &Batch) -> Option<(Batch, Vec<f32>)> {
        let team = self.team.as_mut()?;
        let sequences = batch.shape().1;
        team.batch = sequences;
        let own = team.share(sequences);
        // Of the whole batch, since a mean is over all that counts.
        let weights = batch.weights(&self.made_for.loss);
        let weights = weights.chunks(sequences).flat_map(|row| row[own.clone()].iter().copied()).collect();
        (!own.is_empty()).then(|| (batch.sequences(own), weights))
    }

    /// The sum of this rank's loss and those of the others.
    pub(super) fn total_loss(&mut self, own: f32) -> Result<f32> {
        self.team.as_mut().map_or(Ok(own), |team| team.total(own))
    }

    /// An array of all sequences, from those of each rank along the middle.
    pub(super) fn join_ranks(&mut self, own: Array3<f32>) -> Result<Array3<f32>> {
        let Some(team) = &mut self.team else { return Ok(own) };
        let (batch, size, cols) = (team.batch, team.collective.size(), own.dim().2);
        let own = if team.is_idle() { Vec::new() } else { own.iter().copied().collect() };
        let all = team.gather(&own)?;
        let share = |rank: usize| share(batch, rank, size);
        let rows = all.first().map_or(0, |first| first.len() / (share(0).len() * cols).max(1));
        let mut joined = Array3::zeros((rows, batch, cols));
        for (rank, values) in all.iter().enumerate() {
            let mut part = joined.slice_mut(s![.., share(rank), ..]);
            part.iter_mut().zip(values).for_each(|(to, from)| *to = *from);
        }
        Ok(joined)
    }

    /// Forgets the states that were gathered.
    pub(crate) fn forget_states(&mut self) {
        if let Some(team) = &mut self.team {
            team.states = None;
        }
    }

    /// Reads the states of all ranks, for a checkpoint that one of them writes.
    pub(crate) fn gather_states(&mut self) -> Result<()> {
        let states = self.team.is_some().then(|| self.state()).transpose()?;
        if let Some(team) = &mut self.team {
            team.states = states;
        }
        Ok(())
    }

    /// Some rows of a state that was gathered.
    pub(super) fn gathered_state(&self, number: usize, rows: Range<usize>) -> Option<Vec<f32>> {
        let state = self.team.as_ref()?.states.as_ref()?.get(self.made_for.cell.states[number])?;
        let hidden = state.dim().2;
        Some(state.iter().skip(rows.start * hidden).take(rows.len() * hidden).copied().collect())
    }
}

/// A batch of which not every rank has a share.
fn too_few(sequences: usize, ranks: usize) -> Error {
    let problem = format!("a batch of {sequences} sequences cannot be shared out among {ranks} ranks");
    Error::Usage(format!("{problem}; there must be at least as many sequences as ranks"))
}
