//! Training by several ranks, held to the reference.

use std::sync::{Arc, Mutex};

use super::networks::{self, Case};
use super::part::{Part, run_all};
use super::{Progress, Report, Scope, chosen};
use crate::Result;
use crate::backend::Compute;
use crate::model::Config;
use crate::network::Network;
use crate::ranks::Collective;

/// Trains networks of every kind on several ranks, with batches of at least as many sequences, and holds their gradients to the reference, which
/// knows nothing of ranks. All ranks call this; each has a report of its own.
///
/// # Errors
/// [`crate::Error::Usage`] when nothing has the name that is asked for; [`crate::Error::RankLost`]; what keeps it from going on.
pub fn run_on_ranks(
    compute: &Compute,
    collective: Box<dyn Collective>,
    scope: Scope,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report> {
    let size = collective.size();
    let shared = Arc::new(Mutex::new(collective));
    let make = |config: &Config| Network::with_ranks(config, compute, Box::new(Arc::clone(&shared)));
    let cases = networks::cases().into_iter().step_by(if scope.quick { 7 } else { 1 });
    let parts = cases.map(|case| {
        let config = Config { batch: case.config.batch.max(size), trace: false, ..case.config };
        let case = Case { config, ..case };
        let about = case.name();
        let run = move || networks::on_ranks(&case, &mut |config| make(config));
        Part { about, ..Part::new("training steps", "ranks", run) }
    });
    let parts = chosen(parts.collect(), scope.only)?;
    // One after the other: the ranks do the same things in the same order.
    let report = Report::new(compute, run_all(parts, 1, progress)?);
    Arc::clone(&shared).finish().map(|()| report)
}
