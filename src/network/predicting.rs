//! What a network predicts of sequences of any length and number.

use std::ops::Range;

use ndarray::{Array3, s};

use super::Network;
use crate::batch::{InitialState, Sequences, States};
use crate::{Error, Result};

/// What a network predicts.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The head's outputs `[T, B, O]`: logits where the loss is cross-entropy. NaN behind a sequence's end.
    pub outputs: Array3<f32>,
    /// The states after the last step of each sequence, `[layers·directions, B, H]` each.
    pub states: States,
}

impl Network {
    /// The outputs of sequences and the states after them, without dropout. They are computed as many at a time as a batch has at most, in
    /// windows of at most T time steps, each from the states that the one before left. The parameters stay as they are.
    ///
    /// For one time step after the other, as they come, let T be 1 and each state but the first be [`InitialState::Carried`].
    ///
    /// ```
    /// # use ndarray::Array3;
    /// # use retrospect::backend::Compute;
    /// # use retrospect::batch::{Input, InitialState, Inputs, Loss, Sequences};
    /// # use retrospect::model::{Config, RecurrentInit};
    /// # use retrospect::network::Network;
    /// let config = Config::new(Input::Vectors(1), 8, 2, Loss::SquaredError, 4, 16);
    /// let mut network = Network::new(&config, &Compute::Cpu(None))?;
    /// network.initialise(1, RecurrentInit::Uniform)?;
    /// // Of more and longer sequences than the network's batches have.
    /// let x = Array3::from_shape_fn((50, 9, 1), |(t, b, _)| (t * (b + 1)) as f32 / 450.0);
    /// let whole = network.predict(&Sequences::new(Inputs::Vectors(x.clone())))?;
    /// assert_eq!(whole.outputs.dim(), (50, 9, 2));
    ///
    /// // The first sequence again, a time step at a time.
    /// for t in 0..50 {
    ///     let inputs = Inputs::Vectors(Array3::from_elem((1, 1, 1), x[[t, 0, 0]]));
    ///     let initial_state = if t == 0 { InitialState::Zero } else { InitialState::Carried };
    ///     let step = network.predict(&Sequences { initial_state, ..Sequences::new(inputs) })?;
    ///     assert!((step.outputs[[0, 0, 1]] - whole.outputs[[t, 0, 1]]).abs() < 1e-6);
    /// }
    /// # Ok::<(), retrospect::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::BadInput`] when the sequences do not fit, or when both directions read more than T time steps; [`Error::Usage`] when they
    /// have lengths and [`crate::model::Config::lengths`] is not set; what the backend reports.
    pub fn predict(&mut self, sequences: &Sequences) -> Result<Prediction> {
        let (steps, count) = sequences.shape();
        let config = self.made_for.clone();
        if count > config.batch && sequences.initial_state == InitialState::Carried {
            let problem = format!("{count} sequences cannot carry on the states of at most {}", config.batch);
            return Err(Error::input("batch", problem));
        }
        let (layers, _, hidden) = config.state_shape();
        let state = |name: &&str| ((*name).to_owned(), Array3::zeros((layers, count, hidden)));
        let mut prediction = Prediction {
            outputs: Array3::from_elem((steps, count, config.outputs), f32::NAN),
            states: config.cell.states.iter().map(state).collect(),
        };
        sequences.check(config.input, layers, hidden, config.cell.states)?;
        // A reverse direction begins at the end.
        let window = if config.bidirectional { steps } else { config.window };
        for first in (0..count).step_by(config.batch) {
            let group = first..count.min(first + config.batch);
            let longest = group.clone().map(|b| sequences.length(b)).max().unwrap_or(0).min(steps);
            for start in (0..longest.max(1)).step_by(window.max(1)) {
                self.predict_part(sequences, group.clone(), start..longest.min(start + window), &mut prediction)?;
            }
        }
        Ok(prediction)
    }

    /// Predicts a part of sequences, from what came before.
    fn predict_part(
        &mut self,
        sequences: &Sequences,
        group: Range<usize>,
        times: Range<usize>,
        prediction: &mut Prediction,
    ) -> Result<()> {
        let mut part = sequences.part(group.clone(), times.clone());
        if times.start > 0 {
            part.initial_state = InitialState::Carried;
        }
        let (kind, targets) = (self.made_for.loss.target_kind(), self.made_for.targets());
        self.loss(&part.into_batch(kind, targets))?;
        let (found, after) = (self.outputs()?, self.state()?);
        for (place, b) in group.enumerate() {
            let end = sequences.length(b).min(times.end);
            if end <= times.start {
                continue;
            }
            let rows = found.slice(s![..end - times.start, place, ..]);
            prediction.outputs.slice_mut(s![times.start..end, b, ..]).assign(&rows);
            for (name, state) in &mut prediction.states {
                state.slice_mut(s![.., b, ..]).assign(&after[name].slice(s![.., place, ..]));
            }
        }
        Ok(())
    }
}
