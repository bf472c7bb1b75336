//! What follows sequences: each time step reads what was predicted of it.

use ndarray::{Array2, Array3, Axis, concatenate};
use retrospect::Result;
use retrospect::batch::{InitialState, Sequences, States, TargetKind};
use retrospect::network::{Network, Prediction};
use retrospect::random::Random;

use super::feedback::Feedback;
use crate::commands::drawing::Drawing;

/// How a class is chosen by its logit among those of all classes.
pub struct Choice {
    /// 0 takes the most probable.
    pub temperature: f64,
    pub random: Random,
}

impl Choice {
    /// A class for each row of logits, `[1, B]`.
    fn classes(&mut self, logits: &Array2<f32>) -> Array2<u32> {
        let drawing = Drawing::from_all(self.temperature);
        let mut chosen = |b: usize| drawing.draw(&logits.row(b).to_vec(), self.random.uniform());
        Array2::from_shape_fn((1, logits.nrows()), |(_, b)| chosen(b))
    }
}

/// A group of sequences that goes on.
pub struct Forecast<'a> {
    network: &'a mut Network,
    choice: &'a mut Choice,
    feedback: &'a Feedback,
    /// The outputs of the last time step, `[B, O]`.
    outputs: Array2<f32>,
    /// The classes that were chosen by them, `[1, B]`; `None` where values are predicted.
    pub classes: Option<Array2<u32>>,
    /// The states after the last time step.
    pub states: States,
}

impl<'a> Forecast<'a> {
    /// Begins at the end of each sequence, of which so many time steps were predicted.
    pub fn new(
        network: &'a mut Network,
        choice: &'a mut Choice,
        feedback: &'a Feedback,
        found: Prediction,
        lengths: &[usize],
    ) -> Forecast<'a> {
        let (_, count, width) = found.outputs.dim();
        let outputs = Array2::from_shape_fn((count, width), |(b, o)| found.outputs[[lengths[b] - 1, b, o]]);
        let is_classes = network.model().config().loss.target_kind() == TargetKind::Classes;
        let classes = is_classes.then(|| choice.classes(&outputs));
        Forecast { network, choice, feedback, outputs, classes, states: found.states }
    }

    /// Goes on by so many time steps, at least one: their outputs `[N, B, O]` and the classes chosen by them `[N, B]`.
    pub fn advance(&mut self, steps: usize) -> Result<(Array3<f32>, Option<Array2<u32>>)> {
        let (count, width) = self.outputs.dim();
        let mut outputs = Array3::zeros((steps, count, width));
        let mut classes = Vec::new();
        for t in 0..steps {
            let inputs = self.feedback.inputs(&self.outputs, self.classes.as_ref());
            let initial_state = InitialState::Given(std::mem::take(&mut self.states));
            let step = self.network.predict(&Sequences { initial_state, ..Sequences::new(inputs) })?;
            self.states = step.states;
            self.outputs = step.outputs.index_axis_move(Axis(0), 0);
            outputs.index_axis_mut(Axis(0), t).assign(&self.outputs);
            if self.classes.is_some() {
                self.classes = Some(self.choice.classes(&self.outputs));
            }
            classes.extend(self.classes.clone());
        }
        let rows: Vec<_> = classes.iter().map(|row| row.view()).collect();
        let classes = self.classes.as_ref().map(|_| concatenate(Axis(0), &rows).expect("a row of each time step"));
        Ok((outputs, classes))
    }
}
