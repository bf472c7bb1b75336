//! Sequences without targets.

use std::ops::Range;

use ndarray::{Array2, Array3, s};

use super::{Batch, InitialState, Input, Inputs, TargetKind, Targets, check_inputs, check_lengths, check_states, length};
use crate::Result;

/// Sequences to predict from: a [`Batch`] without targets.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequences {
    /// What the network reads.
    pub inputs: Inputs,
    /// The time steps of each sequence, from 1 to T; what lies behind is not read. `None`: all have T.
    pub lengths: Option<Vec<usize>>,
    /// The states before the first step.
    pub initial_state: InitialState,
}

impl Sequences {
    /// Sequences of the same length, from a state of zero.
    #[must_use]
    pub fn new(inputs: Inputs) -> Sequences {
        Sequences { inputs, lengths: None, initial_state: InitialState::Zero }
    }

    /// `(T, B)` of the inputs.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        self.inputs.shape()
    }

    /// The time steps of a sequence.
    #[must_use]
    pub fn length(&self, sequence: usize) -> usize {
        length(self.lengths.as_deref(), sequence).unwrap_or(self.shape().0)
    }

    /// Some of the sequences in some of the time steps. One that ends before has one time step there, which means nothing. Given states are
    /// those of these sequences.
    #[must_use]
    pub fn part(&self, sequences: Range<usize>, times: Range<usize>) -> Sequences {
        let (first, steps) = (times.start, times.len());
        let length = |b: usize| self.length(b).saturating_sub(first).clamp(1, steps);
        Sequences {
            lengths: self.lengths.is_some().then(|| sequences.clone().map(length).collect()),
            initial_state: self.initial_state.sequences(sequences.clone()),
            inputs: match &self.inputs {
                Inputs::Tokens(x) => Inputs::Tokens(x.slice(s![times, sequences]).to_owned()),
                Inputs::Vectors(x) => {
                    let mut x = x.slice(s![times, sequences.clone(), ..]).to_owned();
                    // Of a sequence that has ended the first time step is read, whatever the padding is.
                    for (place, _) in sequences.enumerate().filter(|(_, b)| self.length(*b) <= first) {
                        x.slice_mut(s![0, place, ..]).fill(0.0);
                    }
                    Inputs::Vectors(x)
                }
            },
        }
    }

    /// A batch of these with targets that mean nothing, of this kind and number of components.
    #[must_use]
    pub fn into_batch(self, kind: TargetKind, targets: usize) -> Batch {
        let (steps, sequences) = self.shape();
        let targets = match kind {
            TargetKind::Classes => Targets::Classes(Array2::zeros((steps, sequences))),
            TargetKind::Values => Targets::Values(Array3::zeros((steps, sequences, targets))),
        };
        Batch { lengths: self.lengths, initial_state: self.initial_state, ..Batch::new(self.inputs, targets) }
    }

    /// Checks all that a network reads as [`Batch::check`] does: against its input, and the layers, hidden size and names of its states.
    ///
    /// # Errors
    /// [`crate::Error::BadInput`] with the tensor, the position and what was expected.
    pub fn check(&self, input: Input, layers: usize, hidden: usize, states: &[&str]) -> Result<()> {
        let shape = self.shape();
        check_lengths(self.lengths.as_deref(), shape)?;
        check_inputs(&self.inputs, input, |t, b| t < self.length(b))?;
        check_states(&self.initial_state, [layers, shape.1, hidden], states)
    }

    /// [`Sequences::check`] as far as it can be without a network, as [`Batch::check_alone`].
    ///
    /// # Errors
    /// As [`Sequences::check`].
    pub fn check_alone(&self) -> Result<()> {
        let input = match &self.inputs {
            Inputs::Tokens(_) => Input::Tokens(usize::MAX),
            Inputs::Vectors(x) => Input::Vectors(x.dim().2),
        };
        let (names, layers, hidden) = self.initial_state.sizes();
        self.check(input, layers, hidden, &names)
    }
}
