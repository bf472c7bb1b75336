//! What a run must hold to before it begins.

use crate::data::Source;
use crate::train::{BestBy, Schedule, Settings};
use crate::{Error, Result};

/// Checkpoints name the files of a run in JSON.
pub(super) fn check_names(settings: &Settings) -> Result<()> {
    let problem = |e| Error::Usage(format!("a checkpoint names the files that its run reads, with their folders, as UTF-8: {e}"));
    serde_json::to_string(settings).map(|_| ()).map_err(problem)
}

/// Both directions read whole sequences.
pub(super) fn check_direction(settings: &Settings, source: &dyn Source) -> Result<()> {
    if !settings.network.bidirectional || !source.carries() {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "--bidirectional reads whole sequences, and these are cut into windows of {} time steps; --sequence tells the sequences of a table \
         apart, and --window of the longest one reads them whole (a single one with --validation 0)",
        source.window().0
    )))
}

/// What follows from validations needs some.
pub(super) fn check_validation(settings: &Settings, source: &dyn Source) -> Result<()> {
    let is_validated = source.held_out_batches() > 0;
    let needs = match (settings.patience, settings.schedule, settings.best_by) {
        (Some(_), _, _) => "--patience",
        (None, Schedule::Plateau { .. }, _) => "--schedule plateau",
        // One at the end is enough.
        (None, _, BestBy::Accuracy) if !is_validated => "--best accuracy",
        _ => return Ok(()),
    };
    if is_validated && settings.evaluate_every.is_some() {
        return Ok(());
    }
    let problem = if is_validated { "--evaluate-every is off" } else { "nothing is held out of the data (--validation)" };
    Err(Error::Usage(format!("{needs} needs validations, and {problem}")))
}
