//! One's own data: a table or a file of tensors, as a source of batches.

mod file;
mod kept;
mod scaled;

pub use file::{DataFile, ReadSequences, Truth};
pub use kept::Kept;

use std::path::Path;

use self::file::not_of_table;
use super::about::about;
use super::arrays::check_enough;
use super::columns::{Columns, Scale};
use super::divided::Divided;
use super::opened::{Fingerprints, OpenedData, fingerprint, fingerprint_of};
use super::series::Cut;
use super::split::{Division, HeldOut, Part, in_order, places};
use super::tables::Grouped;
use super::{Arrays, Options, Reading, Series, Shape, Source, Windows};
use crate::batch::{Batch, Input, TargetKind};
use crate::table::{Table, name_of};
use crate::tensors::{Layout, Tensors};
use crate::{Error, Result};

/// The least number of windows of a training stream where the batch is chosen.
const STREAM: usize = 4;

/// Sequences with their targets, and what was found out in reading them.
struct Loaded {
    batch: Batch,
    columns: Option<Columns>,
    notes: Vec<String>,
    fingerprint: Option<String>,
    /// What a table's column calls the sequences.
    ids: Vec<String>,
    plan: Plan,
}

/// What trains and what is held out.
struct Plan {
    /// The sequences in the order in which the first train; a single series is divided by its time steps.
    places: Vec<u32>,
    division: Division,
    is_series: bool,
    /// What is measured. `None`: all of it, and nothing trains.
    part: Option<Part>,
}

/// How a file is to be opened.
struct Purpose<'a> {
    seed: u64,
    reading: &'a Reading,
    /// `None`: all of it is measured.
    part: Option<Part>,
    /// The columns of a network that was trained already.
    columns: Option<&'a Columns>,
}

/// Opens a file to train on; `columns` are those of a network that goes on.
pub(super) fn open(
    path: &Path,
    options: &Options,
    reading: &Reading,
    part: Part,
    columns: Option<&Columns>,
) -> Result<OpenedData> {
    let what = name_of(path);
    let purpose = Purpose { seed: options.seed, reading, part: Some(part), columns };
    let Loaded { mut batch, columns, mut notes, fingerprint, ids, plan } = purpose.load(path)?;
    if let Some(weights) = &reading.class_weights {
        let outputs = Shape::from_batch(&batch).targets;
        batch.class_weights = Some(weights.weights(&batch, outputs, columns.as_ref(), plan.training())?);
    }
    let class_weights = batch.class_weights.clone();
    let about = about(&batch, columns.as_ref());
    let (source, note) = source(&what, batch, plan, options, reading)?;
    notes.insert(0, note);
    notes.insert(1, about);
    notes.iter_mut().for_each(|note| *note = format!("{what}: {note}."));
    let fingerprints = Fingerprints::default();
    let mut opened = OpenedData { source, vocabulary: None, columns, class_weights, notes, measured_ids: ids, fingerprints };
    let mut held_out = None;
    if let HeldOut::File(path) = reading.held_out(part) {
        // The network takes no larger batches than those that train.
        let options = Options { batch: opened.source.window().1, ..*options };
        let measured = open_to_measure(path, &options, reading, opened.columns.as_ref())?;
        opened.notes.push(format!("{}: measured while training and by `evaluate`.", name_of(path)));
        opened.notes.extend(measured.notes);
        opened.source = Box::new(Divided::new(&name_of(path), opened.source, measured.source)?);
        opened.measured_ids = measured.measured_ids;
        held_out = measured.fingerprints.data;
    }
    opened.fingerprints = Fingerprints::new(fingerprint, held_out, reading, part);
    Ok(opened)
}

/// Opens a file all of which is measured, for a network that was trained on `columns`.
///
/// # Errors
/// What the file's reading reports.
pub fn open_to_measure(path: &Path, options: &Options, reading: &Reading, columns: Option<&Columns>) -> Result<OpenedData> {
    let what = name_of(path);
    let purpose = Purpose { seed: options.seed, reading, part: None, columns };
    let Loaded { batch, columns, mut notes, fingerprint, ids, plan } = purpose.load(path)?;
    notes.iter_mut().for_each(|note| *note = format!("{what}: {note}."));
    let (source, _) = source(&what, batch, plan, options, reading)?;
    let fingerprints = Fingerprints { data: fingerprint, ..Fingerprints::default() };
    Ok(OpenedData { source, vocabulary: None, columns, class_weights: None, notes, measured_ids: ids, fingerprints })
}

/// Sequences that are held out are named, if they are no more than these.
const MOST_NAMED: usize = 8;

/// More tokens or classes than any vocabulary in use has.
const MANY: usize = 1 << 20;

/// Refuses ids that are far beyond what so few of them can be of: a network has weights for every id up to the largest.
fn check_ids(what: &str, batch: &Batch) -> Result<()> {
    let (shape, (steps, count)) = (Shape::from_batch(batch), batch.shape());
    let tokens = if let Input::Tokens(size) = shape.input { size } else { 0 };
    let classes = if shape.kind == TargetKind::Classes { shape.targets } else { 0 };
    for (name, size) in [("tokens", tokens), ("classes", classes)] {
        if size > MANY && size / 100 > steps * count {
            let problem = format!(
                "{name}: the largest of {} ids is {}; weights for {size} of them take {} bytes a unit, and for training more; expected ids \
                 below {MANY}, or at least one for a hundred",
                steps * count,
                size - 1,
                size as u64 * 4
            );
            return Err(Error::input(what, problem));
        }
    }
    Ok(())
}

impl Purpose<'_> {
    fn load(&self, path: &Path) -> Result<Loaded> {
        match DataFile::read(path)? {
            DataFile::Table(bytes) => self.table(path, bytes),
            DataFile::Tensors(tensors, fingerprint) => self.tensors(path, tensors, fingerprint),
        }
    }

    fn table(&self, path: &Path, bytes: Vec<u8>) -> Result<Loaded> {
        let (what, options) = (name_of(path), &self.reading.table);
        if self.part.is_none() && (self.columns.is_none() || options.targets.is_empty()) {
            return Err(not_of_table(&what));
        }
        if self.reading.layout == Layout::BatchFirst {
            return Err(Error::Usage(format!("--batch-first is for tensors, and {what} is a table")));
        }
        if let Some(columns) = self.columns {
            options.check_same(columns)?;
        }
        let table = Table::read(&what, &bytes, |names| match self.columns {
            Some(columns) => options.wanted_again(&what, names, columns, true),
            None => options.wanted(&what, names),
        })?;
        let fingerprint = fingerprint(&bytes[..]).ok();
        drop(bytes);
        let all = options.group(&table)?;
        let there = all.rows.len();
        let grouped = all.with_targets(&table, options);
        let mut notes = Vec::new();
        if grouped.rows.len() < there {
            let without = match there - grouped.rows.len() {
                1 => "1 sequence has no target and is left out".to_owned(),
                more => format!("{more} sequences have no target and are left out"),
            };
            notes.push(without);
        }
        if grouped.rows.is_empty() {
            return Err(Error::input(what, format!("none of {there} sequences has a target")));
        }
        let plan = self.plan(grouped.rows.len(), table.rows, options.sequence.is_none());
        notes.extend(self.part.and_then(|_| plan.held_out_names(&grouped.ids)));
        let columns = match self.columns {
            Some(columns) => columns.clone(),
            None => {
                let (columns, said) = self.fit(&table, &grouped, &plan)?;
                notes.extend(said);
                columns
            }
        };
        let batch = grouped.batch(&table, &columns, options)?;
        notes.extend(options.missing(&batch, &grouped).map_err(|problem| Error::input(&what, problem))?);
        let plan = plan.ahead(options.ahead);
        if self.part.is_some() && plan.division.training == 0 {
            return Err(Error::input(what, nothing_trains(&plan, table.rows, self.reading)));
        }
        Ok(Loaded { batch, columns: Some(columns), notes, fingerprint, ids: grouped.ids, plan })
    }

    fn fit(&self, table: &Table, grouped: &Grouped, plan: &Plan) -> Result<(Columns, Vec<String>)> {
        let options = &self.reading.table;
        let scales = self.reading.scales(self.reading.scale.unwrap_or(Scale::Standard));
        let training = plan.division.training;
        if plan.is_series {
            return options.fit(table, scales, grouped.rows[0][..training].iter());
        }
        options.fit(table, scales, plan.places[..training].iter().flat_map(|&place| &grouped.rows[place as usize]))
    }

    fn tensors(&self, path: &Path, tensors: Tensors, of_pipe: Option<String>) -> Result<Loaded> {
        let what = name_of(path);
        if self.part.is_some() && self.reading.table != Default::default() {
            return Err(Error::Usage(format!("{what} holds tensors; --target and other columns are of tables")));
        }
        if self.part.is_none() && self.columns.is_some() && self.reading.table != Default::default() {
            return Err(Error::input(what, "holds tensors, and this network was trained on a table"));
        }
        let layout = self.reading.layout;
        let tensors = tensors.with_all_axes(layout);
        let tensors = match self.columns {
            Some(columns) => columns.scaled(tensors)?,
            None => tensors,
        };
        let read = tensors.batch(layout)?;
        let mut notes: Vec<String> = read.note().into_iter().collect();
        let (steps, count) = read.batch.shape();
        if tensors.get("values").is_ok_and(|values| matches!(values.shape(), &[_, outputs] if outputs == steps && steps > 1)) {
            let each = layout.axes(", 1");
            notes.push(format!("values: one target of {steps} numbers for each sequence; numbers for each time step are {each}"));
        }
        let plan = self.plan(count, steps, count == 1);
        let (mut columns, mut batch) = (self.columns.cloned(), read.batch);
        if let (None, Some(scale)) = (self.columns, self.reading.scale.filter(|&scale| scale != Scale::None)) {
            let (fitted, said) = Columns::fit_tensors(&tensors, layout, &batch, self.reading.scales(scale), plan.training())?;
            notes.extend(said);
            if let Some(fitted) = &fitted {
                batch = fitted.scaled(tensors)?.batch(layout)?.batch;
            }
            columns = fitted;
        }
        if self.part.is_some() {
            check_ids(&what, &batch)?;
        }
        let fingerprint = of_pipe.map_or_else(|| fingerprint_of(path), Ok)?;
        Ok(Loaded { batch, columns, notes, fingerprint: Some(fingerprint), ids: Vec::new(), plan })
    }

    fn plan(&self, count: usize, steps: usize, is_series: bool) -> Plan {
        let divided = if is_series { steps } else { count };
        let division = match self.part {
            Some(part) => Division::new(divided, self.reading.shares(), part),
            None => Division::all_held_out(divided),
        };
        let places = match self.part {
            Some(_) => places(self.reading.split_seed.unwrap_or(self.seed), count),
            None => in_order(count),
        };
        Plan { places, division, is_series, part: self.part }
    }
}

/// Why nothing trains of data with so many time steps.
fn nothing_trains(plan: &Plan, steps: usize, reading: &Reading) -> String {
    let ahead = reading.table.ahead;
    if plan.is_series && ahead > 0 {
        return format!("has {steps} rows; nothing is left to train of targets {ahead} rows later");
    }
    let shares = [("--validation", &reading.validation), ("--test", &reading.test)];
    let flags = shares.iter().filter(|(_, held_out)| matches!(held_out, HeldOut::Share(share) if *share > 0.0));
    let flags: Vec<&str> = flags.map(|(flag, _)| *flag).collect();
    let what = match (plan.is_series, plan.places.len()) {
        (true, _) => format!("all {steps} time steps are"),
        (false, 1) => "the only sequence is".into(),
        (false, count) => format!("all {count} sequences are"),
    };
    format!(
        "{what} held out by {}, so nothing is left to train; 0 holds nothing out, and a file can be named instead",
        flags.join(" and ")
    )
}

impl Plan {
    /// Whether a time step `t` of sequence `b` is of those that train.
    fn training(&self) -> impl Fn(usize, usize) -> bool + use<> {
        let (is_series, training) = (self.is_series, self.division.training);
        let mut trains = vec![false; self.places.len()];
        if !is_series {
            self.places[..training].iter().for_each(|&place| trains[place as usize] = true);
        }
        move |t, b| if is_series { t < training } else { trains[b] }
    }

    /// Which sequences are held out, where they are few.
    fn held_out_names(&self, ids: &[String]) -> Option<String> {
        let places = self.places.get(self.division.held_out.clone()).filter(|_| !self.is_series)?;
        let names: Vec<&str> = places.iter().filter_map(|&place| ids.get(place as usize)).map(String::as_str).collect();
        (1..=MOST_NAMED).contains(&names.len()).then(|| format!("held out: {}", names.join(", ")))
    }

    /// Moves the division of a series from rows to outputs: the target of an output is `ahead` time steps later.
    fn ahead(mut self, ahead: usize) -> Plan {
        if self.is_series {
            let Division { training, held_out } = &mut self.division;
            *training = training.saturating_sub(ahead);
            *held_out = held_out.start.saturating_sub(ahead)..held_out.end.saturating_sub(ahead);
        }
        self
    }
}

/// Makes the source of loaded sequences, and a note that describes it.
fn source(what: &str, batch: Batch, plan: Plan, options: &Options, reading: &Reading) -> Result<(Box<dyn Source>, String)> {
    let steps = batch.shape().0;
    let is_random = reading.windows == Some(Windows::Random) && plan.part.is_some();
    // A short series is divided by time too, unless it is to be read whole, or has one target.
    let is_long = steps > options.window || plan.is_series && !reading.cut && batch.counted() > 1;
    let is_cut = reading.cut || reading.windows.is_some() || plan.is_series;
    if !(is_random || is_cut && is_long) {
        let Some(part) = plan.part else {
            return Ok((Box::new(Arrays::held_out_only(what, batch, options.batch)?), String::new()));
        };
        // A series that is read whole is one sequence, which trains or is measured.
        let division = if plan.is_series { Division::new(1, reading.shares(), part) } else { plan.division };
        let size = if reading.shrink { options.batch.min(division.training.max(1)) } else { options.batch };
        check_enough(what, plan.places.len(), &division, size)?;
        let arrays = Arrays::divided(what, batch, size, options.seed, (plan.places, division))?.with_bucket(reading.bucket);
        let note = arrays.note();
        return Ok((Box::new(arrays), note));
    }
    if plan.part.is_some() && plan.division.training == 0 {
        return Err(Error::input(what, nothing_trains(&plan, steps, reading)));
    }
    let windows = reading.windows.unwrap_or_default();
    let Options { window, batch: size, seed } = *options;
    let mut cut = Cut { window, batch: size, windows, warmup: reading.warmup, bucket: reading.bucket, by_time: plan.is_series };
    if plan.is_series {
        let there = if plan.division.training > 0 { plan.division.training } else { steps };
        if !reading.cut {
            cut.window = cut.window.min(there).max(1);
        }
        if reading.shrink && windows == Windows::Carried {
            // Streams of a few windows each: the state that they carry on is what makes them more than windows alone.
            cut.batch = cut.batch.min(there / (STREAM * cut.window)).max(1);
        }
    } else {
        cut.window = cut.window.min(steps);
        // A batch may have more random windows than there are sequences. Windows that carry a state on need a sequence each.
        if reading.shrink && windows == Windows::Carried && plan.part.is_some() {
            cut.batch = cut.batch.min(plan.division.training.max(1));
        }
    }
    let series = Series::new(what, batch, cut, seed, &plan.places, &plan.division)?;
    let note = series.note();
    Ok((Box::new(series), note))
}
