//! `retrospect train --resume`.

use std::path::{Path, PathBuf};

use retrospect::data::{OpenedData, Part};
use retrospect::trace::Trace;
use retrospect::train::{Checkpoint, Folder, Training, share_checkpoint};
use retrospect::{Error, Result};

use super::Train;
use crate::commands::missing::advise;
use crate::commands::options::expect_tokens;
use crate::commands::ranks::Ranks;
use crate::commands::terminal::note;
use crate::commands::trained::load_last;

impl Train {
    /// The run in a folder, at its last checkpoint.
    pub(super) fn resumed(&self, run: &Path, mut ranks: Ranks, trace: &mut Option<Trace>) -> Result<Training> {
        let (folder, first) = match ranks.is_first() {
            true => (Some(Folder::of_run(run)?), Some(load_last(run)?)),
            false => (None, None),
        };
        // The other processes may be on machines where the run is not.
        let path = first.as_ref().map_or_else(|| run.to_owned(), |(_, path)| path.clone());
        let size = ranks.collective.size();
        let (mut checkpoint, _file) = share_checkpoint(first, size, |bytes| ranks.collective.broadcast(bytes))?;
        checkpoint.origin.settings = self.options.changed(checkpoint.origin.settings)?;
        let opened = self.reopen(&mut checkpoint, run)?;
        let (step, steps) = (checkpoint.step, self.options.steps_of(&checkpoint.origin.settings, &*opened.source)?);
        checkpoint.origin.settings.steps = steps;
        // A run that was stopped in its last validation has only that to do.
        let is_owed = step == steps && checkpoint.validations.owe(&checkpoint.origin.settings, step);
        if step >= steps && !(is_owed && opened.source.held_out_batches() > 0) {
            return Err(Error::Usage(format!(
                "{} is at step {step}, and the run ends at step {steps}; give --steps above {step}",
                path.display()
            )));
        }
        let mut compute = match ranks.collective.size() {
            1 => self.compute.choose_again(&checkpoint.origin.device)?,
            _ => self.compute.choose_again_for(&checkpoint.origin.device, ranks.local)?,
        };
        self.tune.prepare_network(&mut compute, &ranks.share_of(&checkpoint.origin.settings.network))?;
        note(format_args!("Going on from step {step} of {}.", path.display()));
        let of_run = Checkpoint::files(run);
        let data = checkpoint.origin.settings.data.path().map(Path::to_owned);
        let inputs: Vec<PathBuf> = of_run.into_iter().chain(data).collect();
        Training::resume_together(&checkpoint, opened, &compute, ranks.collective, || {
            let folder = folder.expect("the first process has opened it");
            *trace = self.trace(&inputs)?;
            if path == Checkpoint::previous_path(run) {
                folder.restore_previous()?;
            }
            if let Some(damage) = folder.drop_metrics_after(step)? {
                note(format_args!("{damage}; the metrics are cut off there."));
            }
            Ok(folder)
        })
    }

    /// Opens the data of a run that goes on, or other data, and says which.
    fn reopen(&self, checkpoint: &mut Checkpoint, run: &Path) -> Result<OpenedData> {
        let (was, sums) = (checkpoint.origin.settings.data.clone(), checkpoint.origin.fingerprints.clone());
        let file = self.options.file();
        let advice = format!("if it has moved: train --resume {} {{flag}} FILE", run.display());
        let wanted = file.clone().unwrap_or_else(|| was.clone());
        if let Some(vocabulary) = &checkpoint.origin.vocabulary {
            expect_tokens(run, vocabulary, self.options.tokens())?;
        }
        self.options.files().rename_held_out(&mut checkpoint.origin.settings.reading)?;
        let advised = |error| if file.is_none() { advise(error, &was, &advice) } else { error };
        let opened = checkpoint.reopen(file.clone(), self.new_data).map_err(advised)?;
        opened.notes.iter().for_each(note);
        for (part, name) in [(Part::Validation, "validation"), (Part::Test, "test")] {
            if opened.fingerprints.differ_in(&sums, part) {
                note(format_args!("Another file for the {name} part from step {} on.", checkpoint.step));
            }
        }
        if opened.fingerprints.data != sums.data {
            note(format_args!(
                "Other data from here on: {}; up to step {} it was {}.",
                wanted.what(),
                checkpoint.step,
                was.what()
            ));
        } else if wanted != was {
            note(format_args!("The same data at another place: {}.", wanted.what()));
        }
        Ok(opened)
    }
}
