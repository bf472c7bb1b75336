//! What a network is fed and what it is measured against: one window of `T` steps of `B` sequences, time first.

mod loss;
mod sequences;

use std::collections::BTreeMap;
use std::ops::Range;

use ndarray::{Array2, Array3, s};

pub use loss::{Loss, TargetKind};
pub use sequences::Sequences;

use crate::{Error, Result};

/// What the network reads at each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Input {
    /// Tokens of a vocabulary of this size; the same as one-hot vectors, computed as a row lookup.
    Tokens(usize),
    /// Real vectors of this size.
    Vectors(usize),
}

impl Input {
    /// The number of columns of the first layer's `U`.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Input::Tokens(n) | Input::Vectors(n) => n,
        }
    }
}

/// How the outputs that count make up the loss of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reduction {
    /// Their mean.
    #[default]
    Mean,
    /// Their sum.
    Sum,
}

/// The inputs of a window.
#[derive(Debug, Clone, PartialEq)]
pub enum Inputs {
    /// Token ids `[T, B]`.
    Tokens(Array2<u32>),
    /// Vectors `[T, B, I]`.
    Vectors(Array3<f32>),
}

impl Inputs {
    /// `(T, B)`.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        match self {
            Inputs::Tokens(x) => x.dim(),
            Inputs::Vectors(x) => (x.dim().0, x.dim().1),
        }
    }
}

/// The targets of a window.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// Class ids `[T, B]`.
    Classes(Array2<u32>),
    /// Vectors `[T, B, O]`.
    Values(Array3<f32>),
}

/// The states of a network by name, `[layers·directions, B, H]` each, layer by layer, forward before reverse: `h`, and `c` of an LSTM. In files their names end with 0.
pub type States = BTreeMap<String, Array3<f32>>;

/// The states before a window's first step.
#[derive(Debug, Clone, PartialEq)]
pub enum InitialState {
    /// Zero.
    Zero,
    /// The last states of the window before; gradients stop there.
    Carried,
    /// These, all that the cell has.
    Given(States),
}

impl InitialState {
    /// The names, the layers and the hidden size of given states.
    fn sizes(&self) -> (Vec<&str>, usize, usize) {
        let InitialState::Given(given) = self else { return (Vec::new(), 0, 0) };
        let (layers, _, hidden) = given.values().next().map_or((0, 0, 0), |state| state.dim());
        (given.keys().map(String::as_str).collect(), layers, hidden)
    }

    /// The same for some of the sequences alone.
    fn sequences(&self, range: Range<usize>) -> InitialState {
        let InitialState::Given(states) = self else { return self.clone() };
        let some = |state: &Array3<f32>| state.slice(s![.., range.clone(), ..]).to_owned();
        InitialState::Given(states.iter().map(|(name, state)| (name.clone(), some(state))).collect())
    }
}

/// One window of `T` steps of `B` sequences.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// What the network reads.
    pub inputs: Inputs,
    /// What its outputs are measured against.
    pub targets: Targets,
    /// `[T, B]` of 0 and 1: with 0 an output does not count. `None`: all count.
    pub mask: Option<Array2<f32>>,
    /// The time steps of each sequence, from 1 to T. What lies behind is padding: it is not read, and no output there counts.
    /// `None`: all have T.
    pub lengths: Option<Vec<usize>>,
    /// Mean or sum over the outputs that count.
    pub reduction: Reduction,
    /// The weight of each class in the loss, as PyTorch's `CrossEntropyLoss(weight=…)`: a mean divides by the sum of the weights of what
    /// counts. Classes beyond the end have the weight 1. `None`: all have.
    pub class_weights: Option<Vec<f32>>,
    /// The standard deviation of the targets of each whole sequence, of which this is a part: what [`Loss::NashSutcliffe`] divides by.
    /// `None`: that of the targets in this batch that count.
    pub deviations: Option<Vec<f32>>,
    /// The states before the first step.
    pub initial_state: InitialState,
}

impl Batch {
    /// A batch in which every output counts, the loss is their mean and the state starts at zero.
    #[must_use]
    pub fn new(inputs: Inputs, targets: Targets) -> Batch {
        Batch {
            inputs,
            targets,
            mask: None,
            lengths: None,
            reduction: Reduction::Mean,
            class_weights: None,
            deviations: None,
            initial_state: InitialState::Zero,
        }
    }

    /// The same, of which the last output of each sequence that counts counts alone.
    #[must_use]
    pub fn of_last_step(self) -> Batch {
        let (steps, sequences) = self.shape();
        let mut mask = Array2::zeros((steps, sequences));
        for b in 0..sequences {
            if let Some(t) = self.last_counted(b) {
                mask[[t, b]] = 1.0;
            }
        }
        Batch { mask: Some(mask), ..self }
    }

    /// Some of its sequences, alone. Given states are those of these.
    #[must_use]
    pub fn sequences(&self, range: Range<usize>) -> Batch {
        Batch {
            inputs: match &self.inputs {
                Inputs::Tokens(x) => Inputs::Tokens(x.slice(s![.., range.clone()]).to_owned()),
                Inputs::Vectors(x) => Inputs::Vectors(x.slice(s![.., range.clone(), ..]).to_owned()),
            },
            targets: match &self.targets {
                Targets::Classes(y) => Targets::Classes(y.slice(s![.., range.clone()]).to_owned()),
                Targets::Values(y) => Targets::Values(y.slice(s![.., range.clone(), ..]).to_owned()),
            },
            mask: self.mask.as_ref().map(|mask| mask.slice(s![.., range.clone()]).to_owned()),
            lengths: self.lengths.as_ref().map(|all| all[range.clone()].to_vec()),
            reduction: self.reduction,
            class_weights: self.class_weights.clone(),
            deviations: self.deviations.as_ref().map(|all| all[range.clone()].to_vec()),
            initial_state: self.initial_state.sequences(range),
        }
    }

    /// The last step of a sequence whose output counts.
    #[must_use]
    pub fn last_counted(&self, sequence: usize) -> Option<usize> {
        (0..self.shape().0).rev().find(|&t| self.counts(t, sequence))
    }

    /// The time steps of a sequence.
    #[must_use]
    pub fn length(&self, sequence: usize) -> usize {
        length(self.lengths.as_deref(), sequence).unwrap_or(self.shape().0)
    }

    /// Whether a time step of a sequence lies before its end, and is not padding.
    #[must_use]
    pub fn is_read(&self, t: usize, sequence: usize) -> bool {
        t < self.length(sequence)
    }

    /// Whether an output counts. The target of one that does not may be anything.
    #[must_use]
    pub fn counts(&self, t: usize, sequence: usize) -> bool {
        self.is_read(t, sequence) && self.mask.as_ref().and_then(|mask| mask.get([t, sequence])).is_none_or(|&m| m != 0.0)
    }

    /// The time steps that have to be computed: those of the longest sequence, rounded up ([`rounded_up`]).
    pub(crate) fn computed_steps(&self) -> usize {
        let (window, sequences) = self.shape();
        rounded_up((0..sequences).map(|b| self.length(b)).max().unwrap_or(window), window)
    }

    /// `(T, B)` of the inputs.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        self.inputs.shape()
    }

    /// The time steps of the longest sequence that there may be, T.
    pub(crate) fn window(&self) -> usize {
        self.shape().0
    }

    /// How many outputs count.
    #[must_use]
    pub fn counted(&self) -> usize {
        self.counted_places().count()
    }

    /// The same inputs and initial states, with targets of 0 that all count: for a pass whose states matter and whose loss does not.
    pub(crate) fn with_zero_targets(&self) -> Batch {
        let targets = match &self.targets {
            Targets::Classes(classes) => Targets::Classes(Array2::zeros(classes.dim())),
            Targets::Values(values) => Targets::Values(Array3::zeros(values.dim())),
        };
        Batch { mask: None, targets, class_weights: None, ..self.clone() }
    }

    /// Every output that counts, `(t, b)`, in the order of rows.
    pub(crate) fn counted_places(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.places().filter(|&(t, b)| self.counts(t, b))
    }

    /// Every time step of every sequence, `(t, b)`, in the order of rows.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (steps, batch) = self.shape();
        (0..steps).flat_map(move |t| (0..batch).map(move |b| (t, b)))
    }

    /// The weight of the class of an output that counts.
    fn class_weight(&self, t: usize, b: usize) -> f64 {
        match (&self.class_weights, &self.targets) {
            (Some(weights), Targets::Classes(classes)) => weights.get(classes[[t, b]] as usize).map_or(1.0, |&w| f64::from(w)),
            _ => 1.0,
        }
    }

    /// [`Batch::check`] as far as it can be without a network: layers, hidden size and names are those of the given states themselves.
    ///
    /// # Errors
    /// As [`Batch::check`].
    pub fn check_alone(&self, input: Input, outputs: usize) -> Result<()> {
        let (names, layers, hidden) = self.initial_state.sizes();
        self.check(input, outputs, layers, hidden, &names)
    }

    /// Checks shapes, ranges and finiteness against what a network expects: its input, number of outputs, layers, hidden size and
    /// the names of its cell's states. A layer of two directions counts twice. What lies in the padding may be anything, and so may the
    /// targets of outputs that do not count.
    ///
    /// # Errors
    /// [`Error::BadInput`] with the tensor, the position and what was expected.
    pub fn check(&self, input: Input, outputs: usize, layers: usize, hidden: usize, states: &[&str]) -> Result<()> {
        let (steps, batch) = self.shape();
        check_lengths(self.lengths.as_deref(), (steps, batch))?;
        if let Some(mask) = &self.mask {
            if mask.dim() != (steps, batch) {
                return Err(wrong("mask", mask.shape(), &[steps, batch]));
            }
            if let Some(((t, b), v)) = mask.indexed_iter().find(|&(_, &v)| v != 0.0 && v != 1.0) {
                return Err(Error::input("mask", format!("[{t}, {b}] is {v}; expected 0 or 1")));
            }
            if self.counted() == 0 {
                let entries = self.places().filter(|&(t, b)| self.is_read(t, b)).count();
                return Err(Error::input("mask", format!("all {entries} entries are 0, so there is no loss")));
            }
        }
        let (is_read, counts) = (|t, b| self.is_read(t, b), |t, b| self.counts(t, b));
        check_inputs(&self.inputs, input, is_read)?;
        match &self.targets {
            Targets::Classes(y) if y.dim() != (steps, batch) => return Err(wrong("classes", y.shape(), &[steps, batch])),
            Targets::Classes(y) => in_range("classes", y, outputs, "the number of classes is", counts)?,
            Targets::Values(y) if y.dim() != (steps, batch, outputs) => {
                return Err(wrong("values", y.shape(), &[steps, batch, outputs]));
            }
            Targets::Values(y) => finite("values", y, counts)?,
        }
        self.check_class_weights(outputs)?;
        self.check_deviations()?;
        check_states(&self.initial_state, [layers, batch, hidden], states)
    }

    /// Checks that each sequence has a deviation, if there are any.
    fn check_deviations(&self) -> Result<()> {
        let Some(deviations) = &self.deviations else { return Ok(()) };
        let sequences = self.shape().1;
        if deviations.len() != sequences {
            return Err(wrong("deviations", &[deviations.len()], &[sequences]));
        }
        match deviations.iter().enumerate().find(|(_, s)| !(s.is_finite() && **s >= 0.0)) {
            Some((b, s)) => {
                Err(Error::input("deviations", format!("[{b}] is {s}; expected a finite number that is not negative")))
            }
            None => Ok(()),
        }
    }

    /// Checks that there is no weight without a class, that none is negative and that not all are 0.
    fn check_class_weights(&self, outputs: usize) -> Result<()> {
        let Some(weights) = &self.class_weights else { return Ok(()) };
        if !matches!(self.targets, Targets::Classes(_)) {
            return Err(Error::input("class weights", "there are no classes"));
        }
        if weights.len() > outputs {
            return Err(wrong("class weights", &[weights.len()], &[outputs]));
        }
        if !weights.is_empty() && weights.iter().all(|&w| w == 0.0) {
            return Err(Error::input("class weights", format!("all {} are 0, so there is no loss", weights.len())));
        }
        if let Some((class, w)) = weights.iter().enumerate().find(|(_, w)| !(w.is_finite() && **w >= 0.0)) {
            return Err(Error::input(
                "class weights",
                format!("[{class}] is {w}; expected a finite number that is not negative"),
            ));
        }
        Ok(())
    }
}

/// The error of a tensor of another shape.
fn wrong(name: &str, got: &[usize], expected: &[usize]) -> Error {
    Error::input(name, format!("expected shape {expected:?}, got {got:?}"))
}

/// The time steps of a sequence, where there are lengths.
fn length(lengths: Option<&[usize]>, sequence: usize) -> Option<usize> {
    lengths?.get(sequence).copied()
}

/// Checks that there are sequences of `(T, B)`, and lengths within T.
fn check_lengths(lengths: Option<&[usize]>, (steps, batch): (usize, usize)) -> Result<()> {
    if steps == 0 || batch == 0 {
        return Err(Error::input("inputs", format!("[{steps}, {batch}, …] has no element")));
    }
    let Some(lengths) = lengths else { return Ok(()) };
    if lengths.len() != batch {
        return Err(wrong("lengths", &[lengths.len()], &[batch]));
    }
    match lengths.iter().enumerate().find(|(_, length)| !(1..=steps).contains(*length)) {
        Some((b, length)) => Err(Error::input("lengths", format!("[{b}] is {length}; expected a number from 1 to {steps}"))),
        None => Ok(()),
    }
}

/// Checks the kind, the width and the values of inputs at those `(t, b)` that are read.
fn check_inputs(inputs: &Inputs, input: Input, is_read: impl Fn(usize, usize) -> bool) -> Result<()> {
    let (steps, batch) = inputs.shape();
    match (inputs, input) {
        (Inputs::Tokens(x), Input::Tokens(n)) => in_range("tokens", x, n, "the vocabulary has", is_read),
        (Inputs::Vectors(x), Input::Vectors(n)) if x.dim().2 != n => Err(wrong("inputs", x.shape(), &[steps, batch, n])),
        (Inputs::Vectors(x), Input::Vectors(_)) => finite("inputs", x, is_read),
        (Inputs::Vectors(_), Input::Tokens(_)) => Err(Error::input("inputs", "this network reads tokens, not vectors")),
        (Inputs::Tokens(_), Input::Vectors(_)) => Err(Error::input("tokens", "this network reads vectors, not tokens")),
    }
}

/// Checks given states against a shape and the names of a cell's states.
fn check_states(initial: &InitialState, shape: [usize; 3], states: &[&str]) -> Result<()> {
    let InitialState::Given(given) = initial else { return Ok(()) };
    if let Some(missing) = states.iter().find(|&&name| !given.contains_key(name)) {
        return Err(Error::input(format!("{missing}0"), "it is missing, and the cell's other states are given"));
    }
    for (name, state) in given {
        let file = format!("{name}0");
        if !states.contains(&name.as_str()) {
            return Err(Error::input(file, format!("this cell has no such state; it has {}", states.join(" and "))));
        }
        if state.shape() != shape {
            return Err(wrong(&file, state.shape(), &shape));
        }
        finite(&file, state, |_, _| true)?;
    }
    Ok(())
}

/// A number of time steps, rounded up so that no more than sixteen or so of a window are told apart: each takes a program of its own.
pub(crate) fn rounded_up(steps: usize, window: usize) -> usize {
    // One time step alone cannot be recomputed in segments.
    steps.max(2).next_multiple_of(window.div_ceil(16).max(1)).min(window)
}

/// Checks ids at those `(t, b)` that matter.
fn in_range(name: &str, ids: &Array2<u32>, size: usize, holds: &str, matters: impl Fn(usize, usize) -> bool) -> Result<()> {
    match ids.indexed_iter().find(|&((t, b), &v)| v as usize >= size && matters(t, b)) {
        Some(((t, b), v)) => Err(Error::input(name, format!("[{t}, {b}] is {v}, but {holds} {size}"))),
        None => Ok(()),
    }
}

/// Checks the numbers of those rows that matter.
fn finite(name: &str, values: &Array3<f32>, matters: impl Fn(usize, usize) -> bool) -> Result<()> {
    let (steps, rows, _) = values.dim();
    let places = (0..steps).flat_map(|t| (0..rows).map(move |b| (t, b)));
    for ((t, b), row) in places.zip(values.rows()) {
        if matters(t, b)
            && let Some((i, v)) = row.iter().enumerate().find(|(_, v)| !v.is_finite())
        {
            return Err(Error::input(name, format!("[{t}, {b}, {i}] is {v}; expected a finite number")));
        }
    }
    Ok(())
}
