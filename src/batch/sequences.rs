//! Sequences without targets.

use std::ops::Range;

use ndarray::{Array2, Array3, s};

use super::{Batch, InitialState, Input, Inputs, Loss, Targets, finite, in_range};
use crate::data::Shape;
use crate::{Error, Result};

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
        match &self.inputs {
            Inputs::Tokens(x) => x.dim(),
            Inputs::Vectors(x) => (x.dim().0, x.dim().1),
        }
    }

    /// The time steps of a sequence.
    #[must_use]
    pub fn length(&self, sequence: usize) -> usize {
        self.lengths.as_ref().and_then(|lengths| lengths.get(sequence)).copied().unwrap_or(self.shape().0)
    }

    /// Some of the sequences in some of the time steps. One that ends before has one time step there, which means nothing. Given states are
    /// those of these sequences.
    #[must_use]
    pub fn part(&self, sequences: Range<usize>, times: Range<usize>) -> Sequences {
        let (first, steps) = (times.start, times.len());
        let length = |b: usize| self.length(b).saturating_sub(first).clamp(1, steps);
        Sequences {
            lengths: self.lengths.is_some().then(|| sequences.clone().map(length).collect()),
            initial_state: match &self.initial_state {
                InitialState::Given(states) => {
                    let some = |state: &Array3<f32>| state.slice(s![.., sequences.clone(), ..]).to_owned();
                    InitialState::Given(states.iter().map(|(name, state)| (name.clone(), some(state))).collect())
                }
                other => other.clone(),
            },
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

    /// A batch of these with targets that mean nothing, for a network of this loss and number of outputs.
    #[must_use]
    pub fn into_batch(self, loss: Loss, outputs: usize) -> Batch {
        let (steps, sequences) = self.shape();
        let targets = match loss {
            Loss::CrossEntropy => Targets::Classes(Array2::zeros((steps, sequences))),
            Loss::SquaredError => Targets::Values(Array3::zeros((steps, sequences, outputs))),
        };
        Batch { lengths: self.lengths, initial_state: self.initial_state, ..Batch::new(self.inputs, targets) }
    }

    /// Checks all that a network reads: its input, and the shape `[layers·directions, B, H]` of its states.
    ///
    /// # Errors
    /// [`Error::BadInput`] with the tensor, the position and what was expected.
    pub fn check(&self, input: Input, state: [usize; 3]) -> Result<()> {
        let (steps, sequences) = self.shape();
        let lengths = self.lengths.as_deref().unwrap_or_default();
        if self.lengths.is_some() && lengths.len() != sequences {
            return Err(Error::input("lengths", format!("expected shape [{sequences}], got [{}]", lengths.len())));
        }
        if let Some((b, length)) = lengths.iter().enumerate().find(|(_, length)| !(1..=steps).contains(*length)) {
            return Err(Error::input("lengths", format!("[{b}] is {length}; expected a number from 1 to {steps}")));
        }
        let is_read = |t: usize, b: usize| t < self.length(b);
        match (&self.inputs, input) {
            (Inputs::Tokens(x), Input::Tokens(n)) => in_range("tokens", x, n, "the vocabulary has", is_read)?,
            (Inputs::Vectors(x), Input::Vectors(n)) if x.dim().2 == n => finite("inputs", x, is_read)?,
            (Inputs::Vectors(x), Input::Vectors(n)) => {
                let problem = format!("expected shape {:?}, got {:?}", [steps, sequences, n], x.shape());
                return Err(Error::input("inputs", problem));
            }
            (Inputs::Vectors(_), Input::Tokens(_)) => {
                return Err(Error::input("inputs", "this network reads tokens, not vectors"));
            }
            (Inputs::Tokens(_), Input::Vectors(_)) => {
                return Err(Error::input("tokens", "this network reads vectors, not tokens"));
            }
        }
        let InitialState::Given(states) = &self.initial_state else { return Ok(()) };
        match states.iter().find(|(_, given)| given.shape() != state) {
            Some((name, given)) => {
                Err(Error::input(format!("{name}0"), format!("expected shape {state:?}, got {:?}", given.shape())))
            }
            None => Ok(()),
        }
    }

    /// These, checked as far as they can be without a network.
    ///
    /// # Errors
    /// [`crate::Error::BadInput`] with the tensor, the position and what was expected.
    pub fn checked(self) -> Result<Sequences> {
        let batch = self.into_batch(Loss::CrossEntropy, 1);
        let shape = Shape::from_batch(&batch);
        batch.check_alone(shape.input, shape.outputs)?;
        Ok(Sequences { inputs: batch.inputs, lengths: batch.lengths, initial_state: batch.initial_state })
    }
}
