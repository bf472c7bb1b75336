//! Where predictions go: a table on a terminal, CSV, or a file of tensors.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::path::{Path, PathBuf};

use ndarray::{Array1, Array2, Array3, ArrayView1, Axis, s};
use retrospect::batch::States;
use retrospect::data::Kept;
use retrospect::memory::check_memory_or;
use retrospect::model::Config;
use retrospect::tensors::Tensors;
use retrospect::train::likeliest;
use retrospect::{Error, Result, WholeFile};

use super::labels::Labels;
use super::shown::Shown;
use crate::commands::terminal::{note, print, significant, table, thousands};

/// The rows that a terminal shows.
const SHOWN: usize = 20;
/// The columns that a terminal of 80 characters shows: numbers of 5 digits have 11 at most, and two between columns.
const SHOWN_COLUMNS: usize = 7;

/// What follows the name of a kept column that the predictions have too.
const OBSERVED: &str = "_observed";

/// Some time steps of some sequences.
pub struct Part<'a> {
    /// The first sequence.
    pub first: usize,
    /// The first time step of each sequence.
    pub starts: Vec<usize>,
    /// `[T, B, O]`.
    pub outputs: &'a Array3<f32>,
    /// The time steps of each sequence that are here.
    pub lengths: Vec<usize>,
    /// The classes that were chosen by the outputs of each sequence's last time steps here, `[N, B]`; of others the most probable counts.
    pub chosen: Option<&'a Array2<u32>>,
}

impl Part<'_> {
    /// As many time steps of each sequence as there are outputs.
    pub fn new(first: usize, starts: Vec<usize>, outputs: &Array3<f32>) -> Part<'_> {
        let (steps, count, _) = outputs.dim();
        Part { first, starts, outputs, lengths: vec![steps; count], chosen: None }
    }

    /// The class of a time step.
    fn class(&self, t: usize, place: usize, values: &[f64]) -> usize {
        let row = self.chosen.and_then(|chosen| (t + chosen.nrows()).checked_sub(self.lengths[place]));
        self.chosen.zip(row).map_or_else(|| likeliest(values), |(chosen, row)| chosen[[row, place]] as usize)
    }
}

/// A sequence, a time step, the class there and the numbers.
pub type Row = (usize, usize, Option<usize>, Vec<f64>);

/// Takes predictions.
pub struct Output {
    kind: Kind,
    labels: Labels,
    shown: Option<Shown>,
    /// The columns of the table that are written beside the predictions.
    kept: Option<Kept>,
    /// The time steps of a file of tensors.
    steps: usize,
    /// Whether the last time step of each sequence is written alone.
    last: bool,
    /// The last rows so far of a group of sequences.
    ends: Vec<Option<Row>>,
    /// Whether the heading is written, as it is before the first row.
    is_headed: bool,
}

enum Kind {
    Table {
        rows: Vec<Vec<String>>,
        left: u64,
    },
    /// And its name, for messages.
    Csv(Box<csv::Writer<Destination>>, PathBuf),
    Tensors {
        path: PathBuf,
        is_npz: bool,
        all: Vec<Row>,
        states: Vec<States>,
    },
}

/// Where CSV goes.
enum Destination {
    Stdout(BufWriter<Stdout>),
    File(WholeFile),
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Destination::Stdout(stdout) => stdout.write(bytes),
            Destination::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Destination::Stdout(stdout) => stdout.flush(),
            Destination::File(file) => file.flush(),
        }
    }
}

impl Output {
    /// Opens a file by its name, or stdout.
    pub fn open(path: Option<&Path>, config: &Config, labels: Labels, [steps, count]: [usize; 2], last: bool) -> Result<Output> {
        let extension = path.and_then(Path::extension).map(|e| e.to_string_lossy().to_lowercase());
        let csv = |to, path: &Path| Kind::Csv(Box::new(csv::Writer::from_writer(to)), path.into());
        let kind = match (path, extension.as_deref()) {
            (None, _) if io::stdout().is_terminal() => Kind::Table { rows: Vec::new(), left: 0 },
            (None, _) => csv(Destination::Stdout(BufWriter::new(io::stdout())), Path::new("stdout")),
            (Some(path), Some("csv")) => csv(Destination::File(WholeFile::create(path)?), path),
            (Some(path), Some(extension @ ("npz" | "safetensors"))) => {
                // A row while it is collected, and in its tensor.
                let row = size_of::<Row>() + (size_of::<f64>() + size_of::<f32>()) * config.outputs;
                let needed = [steps, count, row].into_iter().fold(1, |product: u64, n| product.saturating_mul(n as u64));
                check_memory_or("the predictions", needed, |_| "--out FILE.csv takes no memory for them".into())?;
                Kind::Tensors { path: path.into(), is_npz: extension == "npz", all: Vec::new(), states: Vec::new() }
            }
            (Some(path), _) => {
                let problem = format!("--out {}: expected a name that ends in .csv, .npz or .safetensors", path.display());
                return Err(Error::Usage(problem));
            }
        };
        Ok(Output { kind, labels, shown: None, kept: None, steps, last, ends: Vec::new(), is_headed: false })
    }

    fn heading(&self, outputs: usize) -> Vec<String> {
        let columns = (0..outputs).map(|o| self.labels.output(o, outputs));
        let class = self.labels.is_classes.then(|| "class".to_owned());
        let own: Vec<String> = ["sequence", "step"].map(String::from).into_iter().collect();
        let found: Vec<String> = class.into_iter().chain(columns).collect();
        // A target's own values, beside what is predicted of it.
        let is_taken = |name: &String| own.contains(name) || found.contains(name);
        let beside = |name: &String| if is_taken(name) { format!("{name}{OBSERVED}") } else { name.clone() };
        let kept: Vec<String> = self.kept.iter().flat_map(|kept| kept.names()).map(beside).collect();
        own.into_iter().chain(kept).chain(found).collect()
    }

    /// Takes a part. The parts of a group of sequences come one after the other, then its end.
    pub fn write(&mut self, part: &Part) -> Result<()> {
        self.ends.resize(part.lengths.len(), None);
        for (place, &length) in part.lengths.iter().enumerate() {
            for t in 0..length {
                let values = self.values(part.outputs.slice(s![t, place, ..]))?;
                let class = self.labels.is_classes.then(|| part.class(t, place, &values));
                let row = (part.first + place, part.starts[place] + t, class, values);
                if self.last {
                    self.ends[place] = Some(row);
                } else {
                    self.take(row)?;
                }
            }
        }
        Ok(())
    }

    /// Takes the states after a group of sequences.
    pub fn end(&mut self, after: States) -> Result<()> {
        std::mem::take(&mut self.ends).into_iter().flatten().try_for_each(|row| self.take(row))?;
        if let Kind::Tensors { states, .. } = &mut self.kind {
            states.push(after);
        }
        Ok(())
    }

    /// What is written of outputs: the probabilities of classes or labels, or values in their own units.
    fn values(&self, outputs: ArrayView1<f32>) -> Result<Vec<f64>> {
        if outputs.iter().any(|v| !v.is_finite()) {
            return Err(Error::NotFinite { tensor: "an output".into() });
        }
        if !self.labels.is_classes {
            return Ok(outputs.iter().enumerate().map(|(o, &v)| self.labels.value(o, v)).collect());
        }
        let most = outputs.iter().fold(f32::NEG_INFINITY, |most, &v| most.max(v));
        let powers: Vec<f64> = outputs.iter().map(|&v| f64::from(v - most).exp()).collect();
        let sum: f64 = powers.iter().sum();
        Ok(powers.into_iter().map(|power| power / sum).collect())
    }

    fn take(&mut self, row: Row) -> Result<()> {
        if let Some(shown) = &mut self.shown {
            shown.take(&row, self.labels.ahead);
        }
        match &mut self.kind {
            Kind::Tensors { all, .. } => {
                all.push(row);
                return Ok(());
            }
            Kind::Table { rows, left } if rows.len() > SHOWN => {
                *left += 1;
                return Ok(());
            }
            _ => {}
        }
        let (sequence, step, class, values) = row;
        if !self.is_headed {
            self.is_headed = true;
            self.row(self.heading(values.len()))?;
        }
        let class = class.map(|class| self.labels.class(class));
        let is_table = matches!(self.kind, Kind::Table { .. });
        let number = |(o, value): (usize, &f64)| if is_table { significant(*value) } else { self.labels.number(o, *value) };
        let numbers = values.iter().enumerate().map(number);
        let predicted = step + self.labels.ahead;
        let kept = self.kept.iter().flat_map(|kept| kept.fields(sequence, predicted));
        let place = [self.labels.sequence(sequence), predicted.to_string()];
        self.row(place.into_iter().chain(kept).chain(class).chain(numbers).collect())
    }

    fn row(&mut self, cells: Vec<String>) -> Result<()> {
        match &mut self.kind {
            Kind::Table { rows, .. } => rows.push(cells),
            Kind::Csv(writer, path) => writer.write_record(cells).map_err(|e| io_error(path, cause(e)))?,
            Kind::Tensors { .. } => {}
        }
        Ok(())
    }

    /// Writes columns of the table beside the predictions.
    ///
    /// # Errors
    /// [`Error::Usage`] where a file of tensors is written.
    pub fn keep(&mut self, kept: Option<Kept>) -> Result<()> {
        if kept.is_some() && matches!(self.kind, Kind::Tensors { .. }) {
            return Err(Error::Usage("--keep writes columns of words, which tensors cannot hold; --out FILE.csv can".into()));
        }
        self.kept = kept;
        Ok(())
    }

    /// Keeps what a figure shows.
    pub fn show(&mut self, shown: Option<Shown>) {
        self.shown = shown;
    }

    /// What a figure shows, and the names in it.
    pub fn shown(&mut self) -> Option<(Shown, &Labels)> {
        Some((self.shown.take()?, &self.labels))
    }

    /// Writes what is left.
    pub fn finish(self) -> Result<()> {
        let steps = if self.last { None } else { Some(self.steps) };
        match self.kind {
            Kind::Table { mut rows, left } => {
                let columns = rows[0].len();
                rows.iter_mut().for_each(|row| row.truncate(SHOWN_COLUMNS));
                print(&table(&rows))?;
                let columns = columns.saturating_sub(SHOWN_COLUMNS) as u64;
                let more: Vec<String> = [(left, "rows"), (columns, "columns")]
                    .into_iter()
                    .filter(|(count, _)| *count > 0)
                    .map(|(count, what)| format!("{} more {what}", thousands(count)))
                    .collect();
                if !more.is_empty() {
                    note(format_args!("{}; --out FILE.csv writes all.", more.join(", ")));
                }
                Ok(())
            }
            Kind::Csv(writer, path) => match writer.into_inner().map_err(|e| io_error(&path, e.into_error()))? {
                Destination::Stdout(mut stdout) => stdout.flush().map_err(|e| io_error(&path, e)),
                Destination::File(file) => file.complete(),
            },
            Kind::Tensors { path, is_npz, all, states } => {
                let tensors = tensors(all, states, steps, self.labels.has_units());
                if is_npz { tensors.write_npz(&path) } else { tensors.write(&path) }
            }
        }
    }
}

fn io_error(path: &Path, source: io::Error) -> Error {
    Error::Io { path: path.into(), source }
}

/// What failed in writing CSV.
fn cause(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// `outputs` `[T, B, O]` and, of classes, `classes` `[T, B]`, or `[B, O]` and `[B]` of the last time steps; `h` and, of an LSTM, `c`
/// `[layers·directions, B, H]`. Outputs in units of their own are F64, others F32. Behind a sequence's end outputs are NaN and classes −100.
fn tensors(all: Vec<Row>, states: Vec<States>, steps: Option<usize>, in_f64: bool) -> Tensors {
    let sequences = all.iter().map(|(sequence, ..)| sequence + 1).max().unwrap_or(0);
    let width = all.first().map_or(0, |(.., values)| values.len());
    let is_classes = all.first().is_some_and(|(_, _, class, _)| class.is_some());
    let mut outputs = Array3::from_elem((steps.unwrap_or(1), sequences, width), f64::NAN);
    let mut classes = Array2::from_elem((steps.unwrap_or(1), sequences), -100_i64);
    for (sequence, step, class, values) in all {
        let step = if steps.is_some() { step } else { 0 };
        classes[[step, sequence]] = class.map_or(-100, |class| class as i64);
        outputs.slice_mut(s![step, sequence, ..]).assign(&Array1::from(values));
    }
    let mut tensors = Tensors::new();
    let outputs = if steps.is_some() { outputs.into_dyn() } else { outputs.index_axis_move(Axis(0), 0).into_dyn() };
    if in_f64 {
        tensors.insert("outputs", outputs);
    } else {
        tensors.insert("outputs", outputs.mapv(|v| v as f32));
    }
    match steps {
        Some(_) if is_classes => tensors.insert("classes", classes),
        None if is_classes => tensors.insert("classes", classes.index_axis_move(Axis(0), 0)),
        _ => {}
    }
    let names: Vec<String> = states.first().map(|states| states.keys().cloned().collect()).unwrap_or_default();
    for name in names {
        let groups: Vec<_> = states.iter().map(|states| states[&name].view()).collect();
        tensors.insert(name, ndarray::concatenate(Axis(1), &groups).expect("groups of the same network"));
    }
    tensors
}
