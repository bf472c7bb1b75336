//! How fast several ranks train together: with the same batch, of which each has a smaller share, and with one that grows with them.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{RUN, Sweep, random_batch};
use crate::Result;
use crate::backend::Compute;
use crate::model::{Config, RecurrentInit};
use crate::network::Network;
use crate::ranks::Collective;

/// What was measured by several ranks.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Scaling {
    /// How many there are.
    pub ranks: usize,
    /// A sum of one number over all ranks, in microseconds: the median.
    pub sum_us: f64,
    /// Bytes of values that are added up in a second, in sums of 4 MiB.
    pub sum_bytes_per_s: f64,
    /// For each configuration two rows.
    pub rows: Vec<ScalingRow>,
}

/// A network, and how fast it is trained.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ScalingRow {
    /// The cell of its layers.
    pub cell: &'static str,
    /// How many there are.
    pub layers: usize,
    /// Units of a layer.
    pub hidden: usize,
    /// Sequences in the whole batch.
    pub batch: usize,
    /// Time steps of a window.
    pub window: usize,
    /// Whether the batch has grown with the ranks.
    pub grows: bool,
    /// Numbers that are added up in a training step.
    pub parameters: usize,
    /// The sums that they are added up in, one after the other.
    pub sums: usize,
    /// The median of the runs.
    pub ms_per_step: f64,
    /// Time steps of all sequences in a second.
    pub tokens_per_s: f64,
    /// The share of the time that the first rank waited for sums, in the median run.
    pub waiting: f64,
}

/// Times training steps of every configuration on several ranks, which all call this. `next` is told what comes next.
///
/// # Errors
/// What the networks report; [`crate::Error::RankLost`].
pub fn run_on_ranks(
    sweep: &Sweep,
    compute: &Compute,
    mut collective: Box<dyn Collective>,
    next: &mut dyn FnMut(&str),
) -> Result<Scaling> {
    next("sums");
    let sum_us = sum_time(&mut *collective, 1, 300)?.as_secs_f64() * 1e6;
    let large = 1 << 20;
    let sum_bytes_per_s = 4.0 * f64::from(large) / sum_time(&mut *collective, large as usize, 15)?.as_secs_f64();
    let ranks = collective.size();
    let shared = Arc::new(Mutex::new(collective));
    let mut rows = Vec::new();
    for config in sweep.configurations() {
        for grows in [false, true] {
            let batch = if grows { config.batch * ranks } else { config.batch };
            let config = Config { batch, ..config.clone() };
            next(&format!("{} × H={}, B={batch}, T={}", config.layers, config.hidden, config.window));
            let network = Network::with_ranks(&config, compute, Box::new(Arc::clone(&shared)))?;
            rows.push(ScalingRow { grows, ..time(network, sweep.runs)? });
        }
    }
    Arc::clone(&shared).finish()?;
    Ok(Scaling { ranks, sum_us, sum_bytes_per_s, rows })
}

/// The median time of a sum of so many numbers.
fn sum_time(collective: &mut dyn Collective, len: usize, count: usize) -> Result<Duration> {
    collective.barrier()?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let values = vec![1.0; len];
        let begun = Instant::now();
        collective.sum(values)?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times[count / 2])
}

/// Times runs of training steps, as many each as the first rank finds to last long enough.
fn time(mut network: Network, runs: usize) -> Result<ScalingRow> {
    let config = network.config().clone();
    network.initialise(1, RecurrentInit::Uniform)?;
    network.train_step(&random_batch(&config), 1e-3)?;
    network.backend().wait()?;
    let begun = Instant::now();
    network.train_again(1e-3)?;
    network.backend().wait()?;
    let steps = (RUN / begun.elapsed().as_secs_f64().max(1e-6)).ceil().clamp(1.0, 1e5) as u64;
    let first = network.broadcast_to_ranks(steps.to_le_bytes().to_vec())?;
    let steps = u64::from_le_bytes(first.try_into().expect("eight bytes"));
    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs {
        network.broadcast_to_ranks(Vec::new())?;
        let (begun, waited) = (Instant::now(), network.waited_for_ranks());
        for _ in 0..steps {
            network.train_again(1e-3)?;
        }
        network.backend().wait()?;
        let seconds = begun.elapsed().as_secs_f64();
        times.push((seconds, (network.waited_for_ranks() - waited).as_secs_f64() / seconds));
    }
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (seconds, waiting) = times[times.len() / 2];
    let each = seconds / steps as f64;
    Ok(ScalingRow {
        cell: config.cell.name,
        layers: config.layers,
        hidden: config.hidden,
        batch: config.batch,
        window: config.window,
        grows: false,
        parameters: config.parameters(),
        sums: network.sums_over_ranks(),
        ms_per_step: each * 1e3,
        tokens_per_s: (config.batch * config.window) as f64 / each,
        waiting,
    })
}
