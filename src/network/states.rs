//! The carried states of a network: read, set and cleared.

use ndarray::{Array3, s};

use super::Network;
use crate::batch::States;
use crate::model::Layer;
use crate::program::Mat;
use crate::{Error, Result};

impl Network {
    /// The states before the next window's first step, `[layers·directions, B, H]` each.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn state(&mut self) -> Result<States> {
        let batch = self.model.config.batch as u32;
        self.read_states(|layer, state| layer.kept()[state].slice_rows(0..batch))
    }

    /// Of each of the cell's states a window of each layer, `[B, H]`.
    pub(super) fn read_states(&mut self, window: impl Fn(&Layer, usize) -> Mat) -> Result<States> {
        let shape = self.model.config.state_shape();
        let mut states = States::new();
        for (number, &name) in self.model.config.cell.states.iter().enumerate() {
            let mut all = Array3::zeros(shape);
            for layer in 0..shape.0 {
                let values = self.backend.read(window(&self.model.layers[layer], number))?;
                all.slice_mut(s![layer, .., ..]).iter_mut().zip(values).for_each(|(to, from)| *to = from);
            }
            states.insert(name.to_owned(), self.join_ranks(all)?);
        }
        Ok(states)
    }

    /// Sets the states before the next window's first step.
    ///
    /// # Errors
    /// [`Error::BadInput`] when one is missing, or of another shape.
    pub fn set_state(&mut self, states: &States) -> Result<()> {
        let sequences = states.values().next().map_or(0, |state| state.dim().1);
        let Some(team) = &mut self.team else { return self.write_state(states, sequences) };
        team.batch = sequences;
        let own = team.share(sequences);
        if own.is_empty() {
            return Ok(());
        }
        if let Some((name, state)) = states.iter().find(|(_, state)| state.dim().1 != sequences) {
            return Err(Error::input(format!("{name}0"), format!("expected {sequences} sequences, got {:?}", state.dim())));
        }
        let part = |state: &Array3<f32>| state.slice(s![.., own.clone(), ..]).to_owned();
        self.write_state(&states.iter().map(|(name, state)| (name.clone(), part(state))).collect(), sequences)
    }

    /// Writes the states of this rank's part of a batch of so many sequences.
    pub(super) fn write_state(&mut self, states: &States, sequences: usize) -> Result<()> {
        // Those of a shape that was there before are set for batches of that shape.
        if sequences != self.model.config.whole_batch()
            && let Some(other) = self.others.iter().find(|other| other.config.whole_batch() == sequences)
        {
            self.take_shape((other.config.window, sequences))?;
        }
        let shape = self.model.config.state_shape();
        for (number, &name) in self.model.config.cell.states.iter().enumerate() {
            let state = states.get(name).ok_or_else(|| Error::input(format!("{name}0"), "it is missing"))?;
            if state.dim() != shape {
                let problem = format!("expected shape {shape:?}, got {:?}", state.dim());
                return Err(Error::input(format!("{name}0"), problem));
            }
            for layer in 0..shape.0 {
                let values: Vec<f32> = state.slice(s![layer, .., ..]).iter().copied().collect();
                self.backend.write(self.initial_state(&self.model.layers[layer], number), &values)?;
            }
        }
        Ok(())
    }

    /// Makes the states before the next window's first step zero.
    pub(super) fn clear_state(&mut self) -> Result<()> {
        for layer in 0..self.model.layers.len() {
            for state in 0..self.model.config.cell.states.len() {
                let window = self.initial_state(&self.model.layers[layer], state);
                match self.backend.host_memory(window) {
                    Some(memory) => memory.fill(0.0),
                    None => self.backend.write(window, &vec![0.0; window.len()])?,
                }
            }
        }
        Ok(())
    }

    pub(super) fn initial_state(&self, layer: &Layer, state: usize) -> Mat {
        layer.kept()[state].slice_rows(0..self.model.config.batch as u32)
    }
}
