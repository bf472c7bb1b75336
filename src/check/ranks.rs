//! Training by several ranks, held to the reference.

use std::sync::{Arc, Mutex};

use super::networks::{self, Case};
use super::part::Part;
use super::{Outcome, Progress, Report, Scope, chosen};
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
    let (of, mut outcomes) = (parts.len(), Vec::new());
    // One after the other, and no further after an error: the ranks do the same things in the same order.
    for (done, part) in parts.into_iter().enumerate() {
        progress(Progress { done, of, next: &part.name });
        outcomes.extend((part.run)()?);
    }
    outcomes.extend(failures_elsewhere(&mut Arc::clone(&shared), &outcomes)?);
    Arc::clone(&shared).finish()?;
    Ok(Report::new(compute, outcomes))
}

/// What has failed on other ranks, for the report of the first one.
fn failures_elsewhere(collective: &mut dyn Collective, own: &[Outcome]) -> Result<Vec<Outcome>> {
    let failed: Vec<&Outcome> = own.iter().filter(|outcome| !outcome.passed).collect();
    let note = failed.first().map(|first| {
        let note = first.note.as_deref().unwrap_or_default();
        format!("{} of {} checks failed there, the first one {} ({}): {note}", failed.len(), own.len(), first.name, first.shape)
    });
    let notes = collective.gather(note.unwrap_or_default().into_bytes())?;
    let elsewhere = notes.iter().enumerate().filter(|(rank, note)| collective.rank() == 0 && *rank > 0 && !note.is_empty());
    let outcome = |(rank, note): (usize, &Vec<u8>)| {
        let note = String::from_utf8_lossy(note).into_owned();
        Outcome::new("gradient", Some("ranks"), format!("rank {rank}"), "reference", 0.0, 0.0, f64::INFINITY, vec![note])
    };
    Ok(elsewhere.map(outcome).collect())
}
