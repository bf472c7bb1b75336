//! What a network keeps from step to step: its parameters, the optimiser's states and the carried state; written, read back, and as
//! the tensors of a checkpoint.

use ndarray::{Array3, ArrayD, s};

use super::Network;
use crate::model::{Config, Named, Parameters, RecurrentInit, parameters};
use crate::program::Mat;
use crate::{Error, Result};

/// The arena of the parameters; the optimiser's states have those behind it.
pub(crate) const PARAMETERS: usize = 0;

/// Where a tensor of a checkpoint is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stored {
    /// The carried state.
    State,
    /// PyTorch's second bias beside a parameter.
    Zero(usize),
    /// In the arena of the parameters, [`PARAMETERS`], or of one of the optimiser's states, the window of a parameter.
    Parameter(usize, usize),
}

impl Network {
    /// Begins anew: initial parameters, the optimiser's states and the carried state zero, no step taken.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn initialise(&mut self, seed: u64, init: RecurrentInit) -> Result<()> {
        // One after the other: they are not all needed at once.
        for index in 0..self.model.parameters.table.len() {
            let parameter = &self.model.parameters.table[index];
            let values = parameter.to_values(&parameter.initial(&self.model.config, index, seed, init));
            self.backend.write(self.model.parameters.windows[index], &values)?;
        }
        self.begin()?;
        for window in self.model.states.clone().into_iter().flatten() {
            self.backend.write(window, &vec![0.0; window.len()])?;
        }
        let Config { layers, batch, hidden, .. } = self.model.config;
        self.set_state(&Array3::zeros((layers, batch, hidden)))?;
        self.set_steps(0);
        Ok(())
    }

    /// Sets all parameters, and leaves the optimiser's states, the carried state and the count of steps as they are. A network
    /// that had diverged, and so no longer changed, trains again.
    ///
    /// # Errors
    /// [`Error::BadInput`] when one is missing, has another shape or a value that is not finite.
    pub fn set_parameters(&mut self, named: &Named) -> Result<()> {
        parameters::check(&self.model.config, named)?;
        let windows = self.model.parameters.windows.clone();
        self.write_arena(&windows, named)?;
        self.begin()
    }

    /// What follows once the parameters were written.
    fn begin(&mut self) -> Result<()> {
        self.backend.write(self.model.status, &[0.0; 4])?;
        self.backend.run(self.model.prepare.clone())
    }

    /// Everything that a checkpoint keeps, by PyTorch's names, with its shape: the parameters, the optimiser's states of each behind
    /// `optimizer.<state>.`, and `state.h0`.
    pub(crate) fn tensors(&self) -> Vec<(String, Vec<usize>, Stored)> {
        let Config { layers, batch, hidden, optimizer, .. } = self.model.config;
        let mut all = vec![("state.h0".to_owned(), vec![layers, batch, hidden], Stored::State)];
        let states = optimizer.states().iter().map(|name| format!("optimizer.{name}."));
        let prefixes: Vec<String> = std::iter::once(String::new()).chain(states).collect();
        for (arena, prefix) in prefixes.iter().enumerate() {
            for (index, parameter) in self.model.parameters.table.iter().enumerate() {
                let extents = parameter.extents();
                all.extend(parameter.second_bias().map(|name| (format!("{prefix}{name}"), extents.clone(), Stored::Zero(index))));
                all.push((format!("{prefix}{}", parameter.name), extents, Stored::Parameter(arena, index)));
            }
        }
        all
    }

    /// The values of one of [`Network::tensors`], row by row.
    ///
    /// # Errors
    /// What the backend reports.
    pub(crate) fn read_stored(&mut self, stored: Stored) -> Result<Vec<f32>> {
        let Parameters { table, windows } = &self.model.parameters;
        match stored {
            Stored::State => Ok(self.state()?.into_raw_vec_and_offset().0),
            Stored::Zero(index) => Ok(vec![0.0; table[index].extents().iter().product()]),
            Stored::Parameter(arena, index) => {
                let window = if arena == PARAMETERS { windows[index] } else { self.model.states[arena - 1][index] };
                Ok(table[index].to_array(self.backend.read(window)?).into_raw_vec_and_offset().0)
            }
        }
    }

    /// All parameters.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn parameters(&mut self) -> Result<Named> {
        let windows = self.model.parameters.windows.clone();
        self.read_arena(&windows)
    }

    /// The optimiser's states by name, `m` and `v`.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn optimizer_states(&mut self) -> Result<Vec<(&'static str, Named)>> {
        let states = self.model.states.clone();
        let names = self.model.config.optimizer.states();
        names.iter().zip(states).map(|(name, windows)| Ok((*name, self.read_arena(&windows)?))).collect()
    }

    /// Sets one of the optimiser's states.
    ///
    /// # Errors
    /// [`Error::BadInput`] when a tensor is missing or has another shape.
    pub fn set_optimizer_state(&mut self, name: &str, named: &Named) -> Result<()> {
        parameters::check(&self.model.config, named)?;
        match self.model.config.optimizer.states().iter().position(|state| *state == name) {
            Some(index) => {
                let windows = self.model.states[index].clone();
                self.write_arena(&windows, named)
            }
            None => Err(Error::input(format!("optimizer.{name}"), "this optimiser has no such state")),
        }
    }

    /// The state before the next window's first step, `[layers, B, H]`.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn state(&mut self) -> Result<Array3<f32>> {
        let Config { layers, batch, hidden, .. } = self.model.config;
        let mut state = Array3::zeros((layers, batch, hidden));
        for layer in 0..layers {
            let values = self.backend.read(self.initial_state(layer))?;
            state.slice_mut(s![layer, .., ..]).iter_mut().zip(values).for_each(|(to, from)| *to = from);
        }
        Ok(state)
    }

    /// Sets the state before the next window's first step.
    ///
    /// # Errors
    /// [`Error::BadInput`] when the shape is another.
    pub fn set_state(&mut self, state: &Array3<f32>) -> Result<()> {
        let Config { layers, batch, hidden, .. } = self.model.config;
        if state.dim() != (layers, batch, hidden) {
            let problem = format!("expected shape {:?}, got {:?}", [layers, batch, hidden], state.shape());
            return Err(Error::input("h0", problem));
        }
        for layer in 0..layers {
            let values: Vec<f32> = state.slice(s![layer, .., ..]).iter().copied().collect();
            self.backend.write(self.initial_state(layer), &values)?;
        }
        Ok(())
    }

    pub(super) fn initial_state(&self, layer: usize) -> Mat {
        self.model.kept[layer].slice_rows(0..self.model.config.batch as u32)
    }

    fn write_arena(&mut self, windows: &[Mat], named: &Named) -> Result<()> {
        for (parameter, window) in self.model.parameters.table.iter().zip(windows) {
            self.backend.write(*window, &parameter.to_values(&named[&parameter.name]))?;
        }
        Ok(())
    }

    pub(super) fn read_arena(&mut self, windows: &[Mat]) -> Result<Named> {
        let mut named = Named::new();
        for (parameter, window) in self.model.parameters.table.iter().zip(windows) {
            let array: ArrayD<f32> = parameter.to_array(self.backend.read(*window)?);
            named.insert(parameter.name.clone(), array);
        }
        Ok(named)
    }
}
