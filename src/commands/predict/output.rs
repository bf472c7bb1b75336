//! Where predictions go: a table on a terminal, CSV, or a file of tensors.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use ndarray::{Array1, Array2, Array3, ArrayView1, Axis, s};
use retrospect::batch::{Loss, States};
use retrospect::data::Vocabulary;
use retrospect::model::Config;
use retrospect::network::Prediction;
use retrospect::tensors::Tensors;
use retrospect::{Error, Result};

use super::class_name;
use crate::commands::terminal::{note, print, table, thousands};

/// The rows that a terminal shows.
const SHOWN: usize = 20;
/// The columns that a terminal shows.
const SHOWN_COLUMNS: usize = 8;

/// Some time steps of some sequences.
pub struct Part<'a> {
    /// The first sequence.
    pub first: usize,
    /// The first time step.
    pub start: usize,
    /// The time steps of each sequence that are here.
    pub lengths: Vec<usize>,
    /// Whether no time step of these sequences comes after.
    pub is_end: bool,
    pub prediction: &'a Prediction,
}

/// Takes predictions.
pub struct Output {
    kind: Kind,
    /// Whether the outputs are of classes, whose probabilities are written.
    is_classes: bool,
    names: Option<Vocabulary>,
    last: bool,
    /// The last outputs so far of each sequence of a group, and at which time step.
    ends: Vec<(usize, Vec<f32>)>,
    /// Whether the heading is written, as it is before the first row.
    is_headed: bool,
}

enum Kind {
    Table { rows: Vec<Vec<String>>, left: u64 },
    Csv(Box<csv::Writer<Box<dyn Write>>>, Place),
    Tensors { path: PathBuf, is_npz: bool, all: Vec<(usize, usize, Vec<f32>)>, states: Vec<States> },
}

/// Where CSV goes. A file is written beside its place until it is whole.
struct Place {
    path: PathBuf,
    beside: Option<PathBuf>,
}

impl Place {
    fn create(path: &Path) -> Result<(Place, Box<dyn Write>)> {
        let beside = (!path.exists() || path.is_file()).then(|| {
            let mut name = path.file_name().unwrap_or_default().to_os_string();
            name.push(format!(".{}.part", std::process::id()));
            path.with_file_name(name)
        });
        let file = File::create(beside.as_deref().unwrap_or(path)).map_err(|source| io_error(path, source))?;
        Ok((Place { path: path.into(), beside }, Box::new(BufWriter::new(file))))
    }

    fn complete(mut self) -> Result<()> {
        match self.beside.take() {
            Some(beside) => std::fs::rename(&beside, &self.path).map_err(|source| io_error(&self.path, source)),
            None => Ok(()),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            let _ = std::fs::remove_file(beside);
        }
    }
}

impl Output {
    /// Opens a file by its name, or stdout.
    pub fn open(path: Option<&Path>, config: &Config, vocabulary: Option<&Vocabulary>, last: bool) -> Result<Output> {
        let extension = path.and_then(Path::extension).map(|e| e.to_string_lossy().to_lowercase());
        let csv = |file, place| Kind::Csv(Box::new(csv::Writer::from_writer(file)), place);
        let kind = match (path, extension.as_deref()) {
            (None, _) if io::stdout().is_terminal() => Kind::Table { rows: Vec::new(), left: 0 },
            (None, _) => csv(Box::new(BufWriter::new(io::stdout())), Place { path: "stdout".into(), beside: None }),
            (Some(path), Some("csv")) => {
                let (place, file) = Place::create(path)?;
                csv(file, place)
            }
            (Some(path), Some(extension @ ("npz" | "safetensors"))) => {
                Kind::Tensors { path: path.into(), is_npz: extension == "npz", all: Vec::new(), states: Vec::new() }
            }
            (Some(path), _) => {
                let problem = format!("--out {}: expected a name that ends in .csv, .npz or .safetensors", path.display());
                return Err(Error::Usage(problem));
            }
        };
        let is_classes = config.loss == Loss::CrossEntropy;
        Ok(Output { kind, is_classes, names: vocabulary.cloned(), last, ends: Vec::new(), is_headed: false })
    }

    fn heading(&self, outputs: usize) -> Vec<String> {
        let names = self.names.as_ref();
        let columns = (0..outputs).map(|o| match self.is_classes {
            true => format!("p({})", class_name(names, o)),
            false if outputs == 1 => "output".into(),
            false => format!("output_{o}"),
        });
        let class = self.is_classes.then(|| "class".to_owned());
        ["sequence".to_owned(), "step".to_owned()].into_iter().chain(class).chain(columns).collect()
    }

    /// Takes a part. The parts of a group of sequences come one after the other.
    pub fn write(&mut self, part: Part) -> Result<()> {
        let outputs = &part.prediction.outputs;
        self.ends.resize(part.lengths.len(), (0, Vec::new()));
        for (place, &length) in part.lengths.iter().enumerate() {
            for t in 0..length {
                let values = self.values(outputs.slice(s![t, place, ..]))?;
                if self.last {
                    self.ends[place] = (part.start + t, values);
                } else {
                    self.take(part.first + place, part.start + t, values)?;
                }
            }
        }
        if part.is_end {
            let ends = std::mem::take(&mut self.ends);
            for (place, (step, values)) in (0..).zip(ends).filter(|(_, (_, values))| !values.is_empty()) {
                self.take(part.first + place, step, values)?;
            }
            if let Kind::Tensors { states, .. } = &mut self.kind {
                states.push(part.prediction.states.clone());
            }
        }
        Ok(())
    }

    /// What is written of outputs: the probabilities of classes.
    fn values(&self, outputs: ArrayView1<f32>) -> Result<Vec<f32>> {
        if outputs.iter().any(|v| !v.is_finite()) {
            return Err(Error::NotFinite { tensor: "an output".into() });
        }
        if !self.is_classes {
            return Ok(outputs.to_vec());
        }
        let most = outputs.iter().fold(f32::NEG_INFINITY, |most, &v| most.max(v));
        let powers: Vec<f64> = outputs.iter().map(|&v| f64::from(v - most).exp()).collect();
        let sum: f64 = powers.iter().sum();
        Ok(powers.into_iter().map(|power| (power / sum) as f32).collect())
    }

    fn take(&mut self, sequence: usize, step: usize, values: Vec<f32>) -> Result<()> {
        match &mut self.kind {
            Kind::Tensors { all, .. } => {
                all.push((sequence, step, values));
                return Ok(());
            }
            Kind::Table { rows, left } if rows.len() > SHOWN => {
                *left += 1;
                return Ok(());
            }
            _ => {}
        }
        if !self.is_headed {
            self.is_headed = true;
            self.row(self.heading(values.len()))?;
        }
        let class = self.is_classes.then(|| class_name(self.names.as_ref(), likeliest(&values)));
        let numbers = values.iter().map(|value| format!("{value:?}"));
        self.row([sequence.to_string(), step.to_string()].into_iter().chain(class).chain(numbers).collect())
    }

    fn row(&mut self, cells: Vec<String>) -> Result<()> {
        match &mut self.kind {
            Kind::Table { rows, .. } => rows.push(cells),
            Kind::Csv(writer, place) => writer.write_record(cells).map_err(|e| io_error(&place.path, io::Error::from(e)))?,
            Kind::Tensors { .. } => {}
        }
        Ok(())
    }

    /// Writes what is left.
    pub fn finish(self) -> Result<()> {
        let (is_classes, last) = (self.is_classes, self.last);
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
            Kind::Csv(mut writer, place) => {
                writer.flush().map_err(|source| io_error(&place.path, source))?;
                place.complete()
            }
            Kind::Tensors { path, is_npz, all, states } => {
                let tensors = tensors(all, states, is_classes, last);
                if is_npz { tensors.write_npz(&path) } else { tensors.write(&path) }
            }
        }
    }
}

fn io_error(path: &Path, source: io::Error) -> Error {
    Error::Io { path: path.into(), source }
}

fn likeliest(values: &[f32]) -> usize {
    (1..values.len()).fold(0, |best, k| if values[k] > values[best] { k } else { best })
}

/// `outputs` `[T, B, O]` and, of classes, `classes` `[T, B]`, or `[B, O]` and `[B]` of the last time steps; `h` and, of an LSTM, `c`
/// `[layers·directions, B, H]`. Behind a sequence's end outputs are NaN and classes −100.
fn tensors(all: Vec<(usize, usize, Vec<f32>)>, states: Vec<States>, is_classes: bool, last: bool) -> Tensors {
    let steps = if last { 1 } else { all.iter().map(|(_, step, _)| step + 1).max().unwrap_or(0) };
    let sequences = all.iter().map(|(sequence, ..)| sequence + 1).max().unwrap_or(0);
    let width = all.first().map_or(0, |(.., values)| values.len());
    let mut outputs = Array3::from_elem((steps, sequences, width), f32::NAN);
    let mut classes = Array2::from_elem((steps, sequences), -100_i64);
    for (sequence, step, values) in all {
        let step = if last { 0 } else { step };
        classes[[step, sequence]] = likeliest(&values) as i64;
        outputs.slice_mut(s![step, sequence, ..]).assign(&Array1::from(values));
    }
    let mut tensors = Tensors::new();
    if last {
        tensors.insert("outputs", outputs.index_axis_move(Axis(0), 0));
        if is_classes {
            tensors.insert("classes", classes.index_axis_move(Axis(0), 0));
        }
    } else {
        tensors.insert("outputs", outputs);
        if is_classes {
            tensors.insert("classes", classes);
        }
    }
    let names: Vec<String> = states.first().map(|states| states.keys().cloned().collect()).unwrap_or_default();
    for name in names {
        let groups: Vec<_> = states.iter().map(|states| states[&name].view()).collect();
        tensors.insert(name, ndarray::concatenate(Axis(1), &groups).expect("groups of the same network"));
    }
    tensors
}
