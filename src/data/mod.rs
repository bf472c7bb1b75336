//! Where batches come from: one file a task. To add one: a file beside these and a line in [`ALL`].
//!
//! A task's `k`-th batch is a function of its seed and of `k` alone, so that a resumed run goes on where it stopped
//! and batches can be made ahead of the device on another thread.

mod about;
mod adding;
mod arrays;
mod choice;
mod class_weights;
mod columns;
mod copy_memory;
mod divided;
mod early_symbol;
mod guess;
mod known;
mod opened;
mod order;
mod own;
mod prefetch;
mod reading;
mod series;
mod split;
mod tables;
mod temporal_order;
mod text;
mod vocabulary;
mod words;

pub use adding::Adding;
pub use arrays::Arrays;
pub use choice::Choice;
pub use class_weights::ClassWeights;
pub use columns::{Column, Columns, Kind, Scale, Scaling};
pub use copy_memory::CopyMemory;
pub use early_symbol::EarlySymbol;
pub use guess::guess;
pub use known::Known;
pub use opened::{Fingerprints, OpenedData};
pub use own::{DataFile, Kept, ReadSequences, Truth, open_to_measure};
pub use prefetch::Prefetch;
pub use reading::Reading;
pub use series::{Cut, Series, Windows};
pub use split::{Division, HeldOut, Part};
pub use tables::{Fill, Grouped, TableOptions};
pub use temporal_order::TemporalOrder;
pub use text::{Text, note_unknown, read_content, read_text};
pub use vocabulary::{Tokens, Vocabulary};

use crate::batch::{Batch, Input, Inputs, TargetKind, Targets};
use crate::random::stream;
use crate::{Error, Result};

/// What a task feeds a network and how its outputs are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// What the network reads.
    pub input: Input,
    /// The number of classes, or of components of a target of values.
    pub targets: usize,
    /// What the targets are.
    pub kind: TargetKind,
}

impl Shape {
    /// The smallest shape that holds a batch: vocabulary and classes end with the largest id that is read or counts, and there is a class for
    /// each weight.
    #[must_use]
    pub fn from_batch(batch: &Batch) -> Shape {
        let beyond = |ids: &ndarray::Array2<u32>, matters: &dyn Fn(usize, usize) -> bool| {
            let ids = ids.indexed_iter().filter(|((t, b), _)| matters(*t, *b));
            ids.map(|(_, &id)| id as usize + 1).max().unwrap_or(0)
        };
        let input = match &batch.inputs {
            Inputs::Tokens(ids) => Input::Tokens(beyond(ids, &|t, b| batch.is_read(t, b))),
            Inputs::Vectors(x) => Input::Vectors(x.dim().2),
        };
        let (targets, kind) = match &batch.targets {
            Targets::Classes(ids) => {
                let weights = batch.class_weights.as_ref().map_or(0, Vec::len);
                (beyond(ids, &|t, b| batch.counts(t, b)).max(weights), TargetKind::Classes)
            }
            Targets::Values(y) => (y.dim().2, TargetKind::Values),
        };
        Shape { input, targets, kind }
    }

    /// The smallest shape that holds both, or what differs.
    fn with(self, other: Shape) -> std::result::Result<Shape, String> {
        let input = match (self.input, other.input) {
            (Input::Tokens(a), Input::Tokens(b)) => Input::Tokens(a.max(b)),
            (Input::Vectors(a), Input::Vectors(b)) if a == b => self.input,
            (Input::Vectors(a), Input::Vectors(b)) => return Err(format!("has {b} inputs; expected {a}, as what trains")),
            _ => return Err("expected tokens or vectors as what trains has".into()),
        };
        let targets = match (self.kind, other.kind) {
            (TargetKind::Classes, TargetKind::Classes) => self.targets.max(other.targets),
            (a, b) if a == b && self.targets == other.targets => self.targets,
            (a, b) if a == b => return Err(format!("has {} values; expected {}, as what trains", other.targets, self.targets)),
            _ => return Err("expected classes or values as what trains has".into()),
        };
        Ok(Shape { input, targets, kind: self.kind })
    }
}

/// A source of training batches and of held-out ones. Every batch of a source has the same `T` and `B`.
pub trait Source: Send {
    /// What it feeds a network.
    fn shape(&self) -> Shape;

    /// Whether its batches have [`Batch::lengths`].
    fn has_lengths(&self) -> bool {
        false
    }

    /// Whether its batches go on with the states that the ones before them left.
    fn carries(&self) -> bool {
        false
    }

    /// The training batches of a pass over the data, of the first one where passes differ. `None`: sequences are drawn without end.
    fn batches_in_pass(&self) -> Option<u64> {
        None
    }

    /// The batch of training step `step`, counted from 0. A function of the seed and `step` alone.
    fn batch(&mut self, step: u64) -> Batch;

    /// How many held-out batches there are.
    fn held_out_batches(&self) -> u64;

    /// Held-out batch `index` of [`Source::held_out_batches`].
    fn held_out(&mut self, index: u64) -> Batch;

    /// Which sequence of its file each place of a held-out batch has: none where a place is filled up, nor where the file is one series.
    fn held_out_sequences(&self, _index: u64) -> Vec<Option<usize>> {
        Vec::new()
    }

    /// `(T, B)` of every batch. `T` is the source's to say: copy memory's is its delay and 20 more, a file's is the file's.
    fn window(&self) -> (usize, usize);
}

/// A task whose sequences are drawn at random without end: what it has to say to be a source.
trait Drawn: Send {
    /// What it was made from.
    fn options(&self) -> &Options;

    /// [`Source::window`].
    fn window(&self) -> (usize, usize);

    /// [`Source::shape`].
    fn shape(&self) -> Shape;

    /// [`Source::has_lengths`].
    fn has_lengths(&self) -> bool {
        false
    }

    /// A batch from a stream of random numbers.
    fn draw(&self, stream: u64) -> Batch;
}

impl<T: Drawn> Source for T {
    fn shape(&self) -> Shape {
        Drawn::shape(self)
    }

    fn has_lengths(&self) -> bool {
        Drawn::has_lengths(self)
    }

    fn batch(&mut self, step: u64) -> Batch {
        self.draw(stream::TASK + step)
    }

    fn held_out_batches(&self) -> u64 {
        self.options().held_out_batches()
    }

    fn held_out(&mut self, index: u64) -> Batch {
        self.draw(stream::HELD_OUT + index)
    }

    fn window(&self) -> (usize, usize) {
        Drawn::window(self)
    }
}

/// What a named task is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What the random numbers follow from.
    pub seed: u64,
    /// `B`, the number of sequences in a batch.
    pub batch: usize,
    /// `--window`: the length `T` of a sequence, or what the task makes of it.
    pub window: usize,
}

impl Options {
    /// The number of rows `steps·B` of a window must be one that a program can address.
    fn check(&self, steps: Option<usize>) -> Result<()> {
        if self.batch == 0 || self.window == 0 {
            return Err(Error::Usage(format!("batch {} and window {}: neither can be 0", self.batch, self.window)));
        }
        match steps.and_then(|t| t.checked_mul(self.batch)).map(u32::try_from) {
            Some(Ok(_)) => Ok(()),
            _ => Err(Error::Usage(format!(
                "window {} with batch {} is more than {} steps in all",
                self.window,
                self.batch,
                u32::MAX
            ))),
        }
    }

    /// Enough batches for a thousand held-out sequences, but no more than 64: to measure small batches of a large network should not take
    /// longer than to train it.
    fn held_out_batches(&self) -> u64 {
        1000_usize.div_ceil(self.batch).min(64) as u64
    }
}

/// What a task is trained with unless told otherwise. `None`: the program's own default.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Defaults {
    /// `--window`.
    pub window: usize,
    /// `--hidden`.
    pub hidden: usize,
    /// `--activation`.
    pub activation: &'static str,
    /// `--recurrent-init`.
    pub recurrent_init: &'static str,
    /// `--optimizer`.
    pub optimizer: Option<&'static str>,
    /// `--lr`.
    pub lr: Option<f64>,
    /// `--clip`.
    pub clip: Option<f64>,
    /// `--steps`.
    pub steps: Option<u64>,
}

/// A task with a name, whose sequences are drawn at random without end.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    /// What `--task` calls it.
    pub name: &'static str,
    /// What is to be learnt, in a line.
    pub about: &'static str,
    /// What it is trained with.
    pub defaults: Defaults,
    /// What guessing scores, for a window.
    pub guess: fn(usize) -> f64,
    /// Makes its source; [`Error::Usage`] for sizes it has no sequences of.
    pub source: fn(&Options) -> Result<Box<dyn Source>>,
}

/// Every named task; the first is what is trained when nothing is named.
pub static ALL: &[Task] = &[adding::TASK, copy_memory::TASK, temporal_order::TASK, early_symbol::TASK, early_symbol::PADDED];

impl Task {
    /// The task of that name.
    ///
    /// # Errors
    /// [`Error::Usage`] with the names there are.
    pub fn named(name: &str) -> Result<&'static Task> {
        ALL.iter().find(|task| task.name == name).ok_or_else(|| {
            let names = ALL.iter().map(|task| task.name).collect::<Vec<_>>().join(", ");
            Error::Usage(format!("there is no task \"{name}\"; there are {names}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_gives_batches_of_its_shape_that_depend_on_seed_and_step_alone() {
        for task in ALL {
            for (batch, window) in [(1, 10), (7, 19), (3, 64)] {
                let options = Options { seed: 11, batch, window };
                let mut source = (task.source)(&options).unwrap();
                let shape = source.shape();
                let mut all = (0..4).map(|k| source.batch(k)).collect::<Vec<_>>();
                all.extend((0..2).map(|k| source.held_out(k)));
                for (i, b) in all.iter().enumerate() {
                    b.check_alone(shape.input, shape.targets).unwrap_or_else(|e| panic!("{}: {e}", task.name));
                    assert_eq!((b.shape(), b.shape().1), (source.window(), batch), "{}", task.name);
                    assert!(all[..i].iter().all(|other| other != b), "{}: batch {i} comes twice", task.name);
                }
                let mut again = (task.source)(&options).unwrap();
                assert_eq!((again.held_out(1), again.batch(3), again.batch(0)), (all[5].clone(), all[3].clone(), all[0].clone()));
                let mut other = (task.source)(&Options { seed: 12, ..options }).unwrap();
                assert_ne!(other.batch(0), all[0], "{}: the seed counts", task.name);
                assert_eq!(source.held_out_batches(), 1000_u64.div_ceil(batch as u64).min(64));
            }
        }
    }

    #[test]
    fn sizes_without_sequences_are_usage_errors() {
        for task in ALL {
            for (batch, window) in [(0, 5), (5, 0), (usize::MAX, 2), (1, usize::MAX), (1 << 16, 1 << 16)] {
                let error = (task.source)(&Options { seed: 0, batch, window }).err().unwrap();
                assert_eq!(error.exit_code(), 2, "{}: {error}", task.name);
            }
        }
        assert_eq!(Task::named("copy-memory").unwrap().name, "copy-memory");
        assert_eq!(
            Task::named("x").unwrap_err().to_string(),
            "there is no task \"x\"; there are adding, copy-memory, temporal-order, early-symbol, early-symbol-padded"
        );
    }
}
