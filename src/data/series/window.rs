//! A window of stretches as a batch.

use ndarray::{Array2, Array3};

use super::stretch::Stretch;
use super::{Cut, Series};
use crate::batch::{Batch, InitialState, Inputs, Targets};

impl Series {
    /// A window of stretches. Where a batch has more places than there are stretches, and behind their ends, all is 0 and does not count.
    pub(super) fn read(&self, group: &[Stretch], first: usize, starts: bool) -> Batch {
        let Cut { window, batch, .. } = self.cut;
        let place = |t: usize, b: usize| {
            let stretch = group.get(b)?;
            let step = stretch.steps.start + first + t;
            (step < stretch.steps.end).then_some((step, stretch))
        };
        let ids = |ids: &Array2<u32>| {
            Array2::from_shape_fn((window, batch), |(t, b)| {
                place(t, b).map_or(0, |(step, stretch)| ids[[step, stretch.sequence]])
            })
        };
        let vectors = |vectors: &Array3<f32>, is_target: bool| {
            let mut all = Array3::zeros((window, batch, vectors.dim().2));
            for (t, b) in (0..window).flat_map(|t| (0..batch).map(move |b| (t, b))) {
                let Some((step, stretch)) = place(t, b) else { continue };
                if !is_target || self.counts(stretch, step) {
                    let from = vectors.slice(ndarray::s![step, stretch.sequence, ..]);
                    all.slice_mut(ndarray::s![t, b, ..]).assign(&from);
                }
            }
            all
        };
        let counts = |(t, b)| place(t, b).is_some_and(|(step, stretch)| self.counts(stretch, step));
        let mask = Array2::from_shape_fn((window, batch), |at| if counts(at) { 1.0 } else { 0.0 });
        Batch {
            inputs: match &self.data.inputs {
                Inputs::Tokens(tokens) => Inputs::Tokens(ids(tokens)),
                Inputs::Vectors(x) => Inputs::Vectors(vectors(x, false)),
            },
            targets: match &self.data.targets {
                Targets::Classes(classes) => Targets::Classes(ids(classes)),
                Targets::Values(y) => Targets::Values(vectors(y, true)),
            },
            mask: mask.iter().any(|&m| m == 0.0).then_some(mask),
            lengths: None,
            reduction: self.data.reduction,
            class_weights: self.data.class_weights.clone(),
            deviations: Some((0..batch).map(|b| group.get(b).map_or(0.0, |stretch| self.deviations[stretch.sequence])).collect()),
            initial_state: self.initial_state(group, first, starts),
        }
    }

    fn initial_state(&self, group: &[Stretch], first: usize, starts: bool) -> InitialState {
        match &self.data.initial_state {
            _ if !starts => InitialState::Carried,
            InitialState::Given(states) if first == 0 => {
                // What fills the batch up does not count.
                let place = |b: usize| group.get(b).map_or(0, |stretch| stretch.sequence);
                let places: Vec<usize> = (0..self.cut.batch).map(place).collect();
                let select = |(name, state): (&String, &Array3<f32>)| (name.clone(), state.select(ndarray::Axis(1), &places));
                InitialState::Given(states.iter().map(select).collect())
            }
            _ => InitialState::Zero,
        }
    }
}
