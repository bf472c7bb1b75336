//! Short trainings side by side: the activations and initial weights on the tasks, and a network at many learning rates.

use serde::Serialize;

use crate::backend::Compute;
use crate::cells::Cell;
use crate::data::{Options, Source, Task};
use crate::flow::is_saturated;
use crate::model::{Config, Optimizer, RecurrentInit};
use crate::network::Network;
use crate::train::evaluate;
use crate::{Activation, Error, Result};

/// What is the same for all networks that are trained side by side.
#[derive(Debug, Clone)]
pub struct Budget {
    /// Units of the only layer.
    pub hidden: usize,
    /// Sequences in a batch.
    pub batch: usize,
    /// What the task makes its time steps from.
    pub window: usize,
    /// Training steps of each.
    pub steps: u64,
    /// How gradients become updates.
    pub optimizer: Optimizer,
    /// The norm that gradients are clipped to.
    pub clip: Option<f32>,
    /// What the weights and the data follow from.
    pub seed: u64,
}

/// What came of a training.
#[derive(Debug, Clone, Serialize)]
pub struct Trained {
    /// The task.
    pub task: &'static str,
    /// What it made its time steps from.
    pub window: usize,
    /// The cell's name.
    pub cell: &'static str,
    /// φ, where the cell has one.
    pub activation: Activation,
    /// What the recurrent weight started as.
    pub init: RecurrentInit,
    /// The learning rate.
    pub rate: f64,
    /// (step, loss) on the way: of the first step, and then the mean over the steps since the point before.
    pub curve: Vec<(u64, f64)>,
    /// The loss on held-out sequences before.
    pub before: f64,
    /// The loss on held-out sequences at the end; `None`: training diverged.
    pub score: Option<f64>,
    /// What guessing scores.
    pub guess: f64,
    /// The step at which training diverged.
    pub diverged: Option<u64>,
    /// The share of units with a derivative below 0.01 at every step of a batch, at the end: dead. `None`: training diverged.
    pub dead: Option<f64>,
}

impl Trained {
    /// φ, or the cell where it has none, or another than the usual one.
    #[must_use]
    pub fn name(&self) -> String {
        match Cell::named(self.cell) {
            Some(cell) if cell == Cell::usual() => self.activation.name().into(),
            Some(cell) if cell.has_activation => format!("{cell}, {}", self.activation),
            _ => self.cell.into(),
        }
    }

    /// Whether it is better than half of what guessing scores.
    #[must_use]
    pub fn learned(&self) -> bool {
        self.score.is_some_and(|score| score < 0.5 * self.guess)
    }
}

/// Points of a curve.
const POINTS: u64 = 50;

/// Networks of a task, a cell, an activation and a budget, trained one after the other on the same device and program.
pub struct Trainer {
    task: &'static Task,
    budget: Budget,
    network: Network,
    source: Box<dyn Source>,
}

impl Trainer {
    /// Loads the program.
    ///
    /// # Errors
    /// [`Error::Usage`] for sizes that the task or the network has not; what the backend reports.
    pub fn new(
        compute: &Compute,
        task: &'static Task,
        (cell, activation): (&'static Cell, Activation),
        budget: &Budget,
    ) -> Result<Trainer> {
        let Budget { hidden, batch, window, optimizer, clip, seed, .. } = *budget;
        let source = (task.source)(&Options { seed, batch, window })?;
        let (shape, (steps, batch)) = (source.shape(), source.window());
        let base = Config::new(shape.input, hidden, shape.targets, shape.kind.usual_loss(), batch, steps);
        let network =
            Network::new(&Config { cell, activation, optimizer, clip, lengths: source.has_lengths(), ..base }, compute)?;
        Ok(Trainer { task, budget: budget.clone(), network, source })
    }

    /// Trains from the beginning at a rate.
    ///
    /// # Errors
    /// What the backend reports; that training diverged is no error.
    pub fn train(&mut self, init: RecurrentInit, rate: f64) -> Result<Trained> {
        let Budget { steps, seed, window, .. } = self.budget;
        self.network.initialise(seed, init)?;
        let before = self.held_out()?;
        let every = steps.div_ceil(POINTS);
        let (mut curve, mut sum, mut count, mut diverged) = (Vec::new(), 0.0, 0, None);
        for step in 1..=steps {
            self.network.train_step(&self.source.batch(step - 1), rate)?;
            if !step.is_multiple_of(every) && step != steps {
                continue;
            }
            self.network.fetch()?;
            for report in self.network.reports(true)? {
                if self.network.diverged(&report).is_some() {
                    diverged = diverged.or(Some(report.step));
                } else {
                    let loss = f64::from(report.loss);
                    // The first is of no training yet: what the others are compared with.
                    if report.step == 1 {
                        curve.push((1, loss));
                    }
                    (sum, count) = (sum + loss, count + 1);
                }
            }
            if diverged.is_some() {
                break;
            }
            if step > 1 {
                curve.push((step, sum / f64::from(count)));
            }
            (sum, count) = (0.0, 0);
        }
        let score = if diverged.is_none() { Some(self.held_out()?) } else { None };
        Ok(Trained {
            task: self.task.name,
            window,
            cell: self.network.model().config().cell.name,
            activation: self.network.model().config().activation,
            init,
            rate,
            curve,
            before,
            score: score.filter(|score| score.is_finite()),
            guess: (self.task.guess)(window),
            diverged,
            dead: if diverged.is_none() { Some(dead(&mut self.network)?) } else { None },
        })
    }

    /// The loss on the held-out sequences.
    fn held_out(&mut self) -> Result<f64> {
        let (source, network) = (&mut self.source, &mut self.network);
        Ok(evaluate(network, source.held_out_batches(), |k| source.held_out(k), false)?.loss)
    }
}

/// The share of units that were saturated at every step of every sequence of the last batch.
fn dead(network: &mut Network) -> Result<f64> {
    let activation = network.model().config().activation;
    let hidden = network.hidden(0)?;
    let is_dead = |unit: &ndarray::ArrayView2<f32>| unit.iter().all(|&h| is_saturated(activation, h));
    Ok(hidden.axis_iter(ndarray::Axis(2)).filter(is_dead).count() as f64 / hidden.dim().2 as f64)
}

/// What a sweep over learning rates says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Advice {
    /// The rate that left the least loss on the held-out sequences, less than there was before.
    pub steepest: Option<f64>,
    /// The largest rate below the first at which training diverged, ended worse than it began (by more than a twentieth), left more than
    /// twice the loss of a smaller rate and half of what guessing scores, or killed a fifth of the units that the smallest rate did not.
    pub largest_safe: Option<f64>,
}

/// Reads trainings at ascending rates.
#[must_use]
pub fn advice(trained: &[Trained]) -> Advice {
    let fell = trained.iter().filter_map(|t| Some((t.rate, t.score.filter(|score| *score <= t.before)?)));
    let steepest = fell.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(rate, _)| rate);
    let mut least = f64::INFINITY;
    let is_safe = |t: &&Trained| {
        // At a rate that does next to nothing chance decides whether it is a little better or worse.
        let score = t.score.filter(|score| *score <= 1.05 * t.before);
        least = least.min(score.unwrap_or(f64::INFINITY));
        let more_dead = t.dead.unwrap_or(1.0) - trained[0].dead.unwrap_or(0.0);
        score.is_some_and(|score| score <= (2.0 * least).max(0.5 * t.guess) && more_dead <= 0.2)
    };
    Advice { steepest, largest_safe: trained.iter().take_while(is_safe).last().map(|t| t.rate) }
}

/// `count` rates from `low` to `high`, evenly apart in their logarithms.
///
/// # Errors
/// [`Error::Usage`] when they are not positive and ascending, beyond f32, or fewer than two.
pub fn rates(low: f64, high: f64, count: usize) -> Result<Vec<f64>> {
    if !(low as f32 > 0.0 && high > low && (high as f32).is_finite() && count >= 2) {
        let message =
            format!("{count} rates from {low:e} to {high:e}: at least two, from a positive one to a larger, both within f32");
        return Err(Error::Usage(message));
    }
    let step = (high.ln() - low.ln()) / (count - 1) as f64;
    Ok((0..count).map(|i| low * (step * i as f64).exp()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(steps: u64) -> Budget {
        Budget { hidden: 16, batch: 8, window: 12, steps, optimizer: Optimizer::Sgd, clip: None, seed: 1 }
    }

    /// A kept network starts each training anew: the same again is the same, whatever came between, a divergence too.
    #[test]
    fn trainings_do_not_see_each_other() {
        let task = Task::named("adding").unwrap();
        let mut trainer = Trainer::new(&Compute::Cpu(Some(1)), task, (Cell::usual(), Activation::Relu), &budget(40)).unwrap();
        let first = trainer.train(RecurrentInit::Identity, 0.01).unwrap();
        let wild = trainer.train(RecurrentInit::Identity, 1e4).unwrap();
        assert!(wild.diverged.is_some() && wild.score.is_none(), "{wild:?}");
        let again = trainer.train(RecurrentInit::Identity, 0.01).unwrap();
        assert_eq!((&first.curve, first.score, first.dead), (&again.curve, again.score, again.dead));
        assert!(first.score.is_some() && (first.guess - 1.0 / 6.0).abs() < 1e-12);
        // Rates that ascend: what is safe ends before what diverged.
        let found = advice(&[first, wild]);
        assert_eq!((found.largest_safe, found.steepest), (Some(0.01), Some(0.01)));
    }

    /// Too large a step pushes every sum below zero, where ReLU's derivative is: the units are dead from then on.
    #[test]
    fn a_large_step_kills_relu_units() {
        let task = Task::named("adding").unwrap();
        let mut trainer = Trainer::new(&Compute::Cpu(Some(1)), task, (Cell::usual(), Activation::Relu), &budget(60)).unwrap();
        let dead = |trainer: &mut Trainer, rate| trainer.train(RecurrentInit::Uniform, rate).unwrap().dead.unwrap();
        let (small, large) = (dead(&mut trainer, 0.001), dead(&mut trainer, 0.5));
        assert!(small < 0.3 && large > small + 0.3, "{small} and {large}");
    }

    #[test]
    fn rates_are_evenly_apart() {
        let found = rates(1e-4, 1.0, 5).unwrap();
        found.iter().zip([1e-4, 1e-3, 1e-2, 1e-1, 1.0]).for_each(|(a, b): (&f64, f64)| assert!((a / b - 1.0).abs() < 1e-12));
        for (low, high, count) in [
            (0.0, 1.0, 3),
            (1.0, 1.0, 3),
            (1.0, f64::INFINITY, 3),
            (0.1, 1.0, 1),
            (f64::NAN, 1.0, 3),
            (1e-60, 1.0, 3),
            (1.0, 1e39, 3),
        ] {
            assert_eq!(rates(low, high, count).unwrap_err().exit_code(), 2);
        }
    }
}
