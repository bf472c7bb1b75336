//! The data of a run that goes on: where they were, at another place, or other data of the same kind.

use super::{Checkpoint, Validations};
use crate::batch::{Input, TargetKind};
use crate::data::{Choice, OpenedData, Part};
use crate::model::Config;
use crate::{Error, Result};

impl Checkpoint {
    /// Checks that opened data are those that the run was trained on, and that a held-out part of them is the same.
    ///
    /// # Errors
    /// [`Error::BadInput`] with both fingerprints.
    pub fn expect_same(&self, data: &OpenedData, part: Part) -> Result<()> {
        match self.difference(&self.origin.settings.data, data).or_else(|| self.held_out_difference(data, part)) {
            Some((what, problem)) => Err(Error::input(what, problem)),
            None => Ok(()),
        }
    }

    /// Checks that a part is measured on what the run was measured on: the same file, or the same share of the data that trained.
    ///
    /// # Errors
    /// [`Error::BadInput`] with both fingerprints.
    pub fn expect_measured(&self, data: &OpenedData, part: Part) -> Result<()> {
        if self.origin.settings.reading.file_of(part).is_none() {
            return self.expect_same(data, part);
        }
        self.held_out_difference(data, part).map_or(Ok(()), |(what, problem)| Err(Error::input(what, problem)))
    }

    /// Opens the data that the run goes on with, and keeps where they are: those of the run, which may lie at another `place` now, or, with
    /// `other`, different data of the same vocabulary and shapes. On different data the states begin at zero, and a batch has as many sequences
    /// as they allow.
    ///
    /// # Errors
    /// [`Error::Usage`] for a place of another kind than the run's data, or when there is no file. [`Error::BadInput`] for data that are not
    /// the run's, with both fingerprints, and for other data that do not fit the network; what the source reports.
    pub fn reopen(&mut self, place: Option<Choice>, other: bool) -> Result<OpenedData> {
        let (place, was) = (place.unwrap_or_else(|| self.origin.settings.data.clone()), &self.origin.settings.data);
        if place.path().is_none() && other {
            return Err(Error::Usage(format!("the task {} has no other data; --new-data is for files", was.name())));
        }
        if std::mem::discriminant(&place) != std::mem::discriminant(was) {
            let (flag, name) = (place.name(), was.name());
            return Err(Error::Usage(format!("--{flag}: this run was trained on {name}, and goes on with nothing else")));
        }
        let settings = super::Settings { data: place.clone(), ..self.origin.settings.clone() };
        let mut data = settings.open(Part::Validation, self.origin.known())?;
        let difference = self.difference(&place, &data);
        let is_same = difference.is_none();
        match difference.or_else(|| self.held_out_difference(&data, Part::Validation)) {
            _ if other => expect_fit(&settings.network, &place, &data)?,
            Some((what, problem)) => {
                return Err(Error::input(what, format!("{problem}; --new-data goes on with it all the same")));
            }
            None => {}
        }
        self.origin.settings = settings;
        if !is_same {
            // The batch may be smaller, and the states are those of other sequences.
            let network = &mut self.origin.settings.network;
            network.batch = data.source.window().1;
            self.states = network.zero_states();
        }
        self.origin.settings.network.lengths |= data.source.has_lengths();
        if !self.origin.fingerprints.validate_alike(&data.fingerprints) {
            // Validations on other data tell nothing of these.
            self.validations = Validations::default();
        }
        // A test file is compared when it is measured.
        let (known, found) = (self.origin.fingerprints.test.take(), data.fingerprints.test.take());
        data.fingerprints.test = if other { found.or(known) } else { known.or(found) };
        self.origin.fingerprints.clone_from(&data.fingerprints);
        Ok(data)
    }

    /// In what way the data at a place are not those of the run, if they are not: what they are called, and the problem.
    fn difference(&self, place: &Choice, data: &OpenedData) -> Option<(String, String)> {
        let (was, is) = (&self.origin.fingerprints.data, &data.fingerprints.data);
        if was == is {
            return None;
        }
        let name = |sum: &Option<String>| sum.clone().unwrap_or_else(|| "none".into());
        let problem = if *place == self.origin.settings.data {
            format!("has changed since the run began: its fingerprint was {}, and is {}", name(was), name(is))
        } else {
            let run = self.origin.settings.data.what();
            format!("is other data than the run's: its fingerprint is {}, and that of {run} was {}", name(is), name(was))
        };
        Some((place.what(), problem))
    }

    /// The same of the file of a held-out part.
    fn held_out_difference(&self, data: &OpenedData, part: Part) -> Option<(String, String)> {
        let known = &self.origin.fingerprints;
        let path = self.origin.settings.reading.file_of(part)?;
        if !known.differ_in(&data.fingerprints, part) {
            return None;
        }
        let (was, is) = known.held_out(part).zip(data.fingerprints.held_out(part))?;
        let problem = format!("is not the file that the run was measured on: its fingerprint is {is}, and that was {was}");
        Some((path.display().to_string(), problem))
    }
}

/// Checks that a network that was trained on other data can be trained on these.
fn expect_fit(network: &Config, place: &Choice, data: &OpenedData) -> Result<()> {
    let (shape, (steps, _)) = (data.source.shape(), data.source.window());
    let bad = |problem: String| Err(Error::input(place.what(), problem));
    match (network.input, shape.input) {
        (Input::Tokens(most), Input::Tokens(found)) if found <= most => {}
        (Input::Vectors(wanted), Input::Vectors(found)) if found == wanted => {}
        (wanted, found) => return bad(format!("has {}; the network reads {}", inputs(found), inputs(wanted))),
    }
    match (network.loss.target_kind(), shape.kind) {
        (TargetKind::Classes, TargetKind::Classes) if shape.targets <= network.outputs => {}
        (TargetKind::Values, TargetKind::Values) if shape.targets == network.targets() => {}
        (wanted, found) => {
            let [found, wanted] = [targets(found, shape.targets), targets(wanted, network.targets())];
            return bad(format!("has {found}; the network predicts {wanted}"));
        }
    }
    if steps != network.window {
        return bad(format!("has sequences of {steps} time steps; the run was trained on {}", network.window));
    }
    Ok(())
}

fn inputs(input: Input) -> String {
    match input {
        Input::Tokens(size) => format!("tokens below {size}"),
        Input::Vectors(size) => format!("vectors of {size} numbers"),
    }
}

fn targets(kind: TargetKind, count: usize) -> String {
    match kind {
        TargetKind::Classes => format!("classes below {count}"),
        TargetKind::Values => format!("values of {count} numbers"),
    }
}
