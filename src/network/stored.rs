//! What a network keeps from step to step: its parameters, the optimiser's states and the carried state; written, read back, and as
//! the tensors of a checkpoint. Large ones pass through the host a block of rows at a time.

use std::ops::Range;

use ndarray::ArrayD;

use super::Network;
use crate::blocks::{blocks, matrix};
use crate::model::parameters::{Parameter, Role};
use crate::model::{Config, Layer, NamedArrays, RecurrentInit, parameters};
use crate::program::Mat;
use crate::tensors::TensorFile;
use crate::{Error, Result};

/// The arena of the parameters; the optimiser's states have those behind it.
pub(crate) const PARAMETERS: usize = 0;

/// A tensor of a network, of PyTorch's shape.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stored {
    /// One of the cell's carried states.
    State(usize),
    /// PyTorch's second bias beside a parameter, where it is not trained.
    Zero(usize),
    /// In the arena of the parameters, [`PARAMETERS`], or of one of the optimiser's states, the window of a parameter.
    Parameter(usize, usize),
    /// The gradient by a parameter.
    Gradient(usize),
    /// The gradient by one of the initial states.
    InitialGradient(usize),
    /// The outputs of the last batch.
    Outputs,
    /// Its loss.
    Loss,
}

/// Names with their shapes, and where each of them is.
pub(crate) type Tensors = Vec<(String, Vec<usize>, Stored)>;

impl Network {
    /// Begins anew: initial parameters, the optimiser's states and the carried state zero, no step taken. Dropout follows from the same
    /// seed.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] when there is no memory for an orthogonal matrix; what the backend reports.
    pub fn initialise(&mut self, seed: u64, init: RecurrentInit) -> Result<()> {
        let config = self.model.config.clone();
        parameters::check_initial(&config, init)?;
        self.set_seed(seed);
        for index in 0..self.model.parameters.table.len() {
            let parameter = &self.model.parameters.table[index];
            let (mut initial, blocks) = (parameter.initial(&config, index, seed, init), parameter.blocks());
            for rows in blocks {
                let values = initial.rows(rows.clone());
                self.write_rows(Stored::Parameter(PARAMETERS, index), rows, &values)?;
            }
        }
        self.begin()?;
        for window in self.model.optimizer_states.clone().into_iter().flatten().flat_map(Mat::blocks) {
            self.backend.write(window, &vec![0.0; window.len()])?;
        }
        self.clear_state()?;
        self.set_steps(0);
        Ok(())
    }

    /// Sets all parameters, and leaves the optimiser's states, the carried state and the count of steps as they are. A network
    /// that had diverged, and so no longer changed, trains again.
    ///
    /// # Errors
    /// [`Error::BadInput`] when one is missing, has another shape or a value that is not finite.
    pub fn set_parameters(&mut self, named: &NamedArrays) -> Result<()> {
        self.write_arena(PARAMETERS, named)?;
        self.begin()
    }

    /// Sets all parameters as [`Network::set_parameters`] does, from a file: a block at a time, so that however large they are the host
    /// holds no more than that. Where the file turns out to be wrong in the middle, some are those of the file and some as they were.
    ///
    /// # Errors
    /// [`Error::BadInput`] with the tensor and what was expected; what the backend reports.
    pub fn load_parameters(&mut self, file: &TensorFile) -> Result<()> {
        self.load_arena(PARAMETERS, "", file)?;
        self.begin()
    }

    /// Sets the masks of the recurrent weights, from a file that has nothing else: where a mask is 0 there is no connection, and the weight becomes
    /// 0 and stays so.
    ///
    /// # Errors
    /// [`Error::BadInput`] with the tensor and what was expected; what the backend reports.
    pub fn load_masks(&mut self, file: &TensorFile) -> Result<()> {
        let config = self.model.config.clone();
        parameters::masks_in_blocks(&config, file, &mut |index, rows, values| {
            self.write_rows(Stored::Parameter(PARAMETERS, index), rows, values)
        })?;
        self.begin()
    }

    /// Sets one of the optimiser's states from a checkpoint's tensors.
    pub(crate) fn load_optimizer_state(&mut self, name: &str, file: &TensorFile) -> Result<()> {
        let arena = self.arena_of(name)?;
        self.load_arena(arena, &format!("optimizer.{name}."), file)
    }

    fn load_arena(&mut self, arena: usize, prefix: &str, file: &TensorFile) -> Result<()> {
        let config = self.model.config.clone();
        parameters::in_blocks(&config, prefix, file, &mut |index, rows, values| {
            self.write_rows(Stored::Parameter(arena, index), rows, values)
        })
    }

    /// What follows once the parameters were written.
    pub(super) fn begin(&mut self) -> Result<()> {
        self.stepper = None;
        self.backend.write(self.model.update_windows.status, &[0.0; 4])?;
        self.backend.run(self.model.prepare.clone())
    }

    /// Everything that a checkpoint keeps, by PyTorch's names, with its shape: the parameters, the optimiser's states of each behind
    /// `optimizer.<state>.`, and each of the cell's states, `state.h0`.
    pub(crate) fn tensors(&self) -> Tensors {
        let Config { optimizer, cell, .. } = self.model.config;
        let (layers, _, hidden) = self.model.config.state_shape();
        let batch = self.model.config.whole_batch();
        let state = |(number, name)| (format!("state.{name}0"), vec![layers, batch, hidden], Stored::State(number));
        let mut all: Tensors = cell.states.iter().enumerate().map(state).collect();
        let states = optimizer.states().iter().map(|name| format!("optimizer.{name}."));
        let prefixes: Vec<String> = std::iter::once(String::new()).chain(states).collect();
        for (arena, prefix) in prefixes.iter().enumerate() {
            let wanted = |parameter: &Parameter| arena == PARAMETERS || parameter.is_trained();
            for (index, parameter) in self.model.parameters.table.iter().enumerate().filter(|(_, p)| wanted(p)) {
                let extents = parameter.extents();
                let second = self.untrained_bias(parameter);
                all.extend(second.map(|name| (format!("{prefix}{name}"), extents.clone(), Stored::Zero(index))));
                all.push((format!("{prefix}{}", parameter.name), extents, Stored::Parameter(arena, index)));
            }
        }
        all
    }

    /// The second bias beside a first one, where it is not trained.
    fn untrained_bias(&self, parameter: &Parameter) -> Option<String> {
        let second = self.model.parameters.place(parameter.layer, Role::RecurrentBias);
        parameter.second_bias().filter(|_| second.is_none())
    }

    /// What [`Network::write_gradient`] writes, with its shape.
    pub(super) fn gradient_tensors(&self) -> Tensors {
        let Config { window, outputs, cell, .. } = self.model.config;
        let (layers, batch, hidden) = self.model.config.state_shape();
        let mut all = vec![
            ("loss".to_owned(), vec![1], Stored::Loss),
            ("outputs".to_owned(), vec![window, batch, outputs], Stored::Outputs),
        ];
        let state = |(number, name)| (format!("{name}0"), vec![layers, batch, hidden], Stored::InitialGradient(number));
        all.extend(cell.states.iter().enumerate().map(state));
        for (index, parameter) in self.model.parameters.table.iter().enumerate().filter(|(_, p)| p.is_trained()) {
            let names = [Some(parameter.name.clone()), self.untrained_bias(parameter)];
            all.extend(names.into_iter().flatten().map(|name| (name, parameter.extents(), Stored::Gradient(index))));
        }
        all
    }

    /// The window of a parameter, in the arena of the parameters, of one of the optimiser's states, or of the gradients.
    fn window_of(&self, stored: Stored) -> Option<(usize, Mat)> {
        let model = &self.model;
        match stored {
            Stored::Parameter(PARAMETERS, index) => Some((index, model.parameters.windows[index])),
            Stored::Parameter(arena, index) => Some((index, model.optimizer_states[arena - 1][index])),
            Stored::Gradient(index) => Some((index, model.gradients[index])),
            _ => None,
        }
    }

    /// The windows of what is no parameter, one above the other.
    fn windows_of(&self, stored: Stored) -> Vec<Mat> {
        let model = &self.model;
        let of_layers = |window: &dyn Fn(&Layer) -> Mat| model.layers.iter().map(window).collect();
        match stored {
            Stored::State(state) => of_layers(&|layer| self.initial_state(layer, state)),
            Stored::InitialGradient(state) => of_layers(&|layer| layer.d_initial[state]),
            Stored::Outputs => vec![model.head.outputs],
            Stored::Loss => vec![model.head.loss],
            Stored::Zero(_) | Stored::Parameter(..) | Stored::Gradient(_) => Vec::new(),
        }
    }

    /// The parts of the windows that hold some rows of a tensor, in order, each with its numbers: `None` is zero.
    fn parts_of(&self, stored: Stored, rows: Range<usize>) -> Vec<(Option<Mat>, usize)> {
        if let Some((index, window)) = self.window_of(stored) {
            let parameter = &self.model.parameters.table[index];
            let first = self.model.parameters.place(parameter.layer, Role::Bias);
            let part = |part: parameters::Part| match (stored, part.window, first) {
                // What a second bias does not hold has the gradient of the first, in which it is.
                (Stored::Gradient(_), None, Some(first)) => {
                    let all = self.model.parameters.table[first].parts(self.model.gradients[first], 0..1);
                    (all[part.gate].window, part.len)
                }
                (_, window, _) => (window, part.len),
            };
            return parameter.parts(window, rows).into_iter().map(part).collect();
        }
        let (from, to) = (rows.start as u64, rows.end as u64);
        let (mut parts, mut first) = (Vec::new(), 0);
        for window in self.windows_of(stored) {
            let end = first + u64::from(window.rows());
            let (start, stop) = (from.clamp(first, end) - first, to.clamp(first, end) - first);
            if start < stop {
                let part = window.slice_rows(start as u32..stop as u32);
                parts.push((Some(part), part.len()));
            }
            first = end;
        }
        parts
    }

    /// The parameter that a tensor is of, if it is of one.
    fn parameter_of(&self, stored: Stored) -> Option<&Parameter> {
        self.window_of(stored).map(|(index, _)| &self.model.parameters.table[index])
    }

    /// Some rows of one of [`Network::tensors`] or of a gradient.
    ///
    /// # Errors
    /// What the backend reports.
    pub(crate) fn read_rows(&mut self, stored: Stored, rows: Range<usize>) -> Result<Vec<f32>> {
        if let Stored::Zero(index) = stored {
            return Ok(vec![0.0; rows.len() * self.model.parameters.table[index].shape.1]);
        }
        if let Stored::State(number) = stored
            && let Some(values) = self.gathered_state(number, rows.clone())
        {
            return Ok(values);
        }
        let (parts, parameter) = (self.parts_of(stored, rows), self.parameter_of(stored).cloned());
        let mut values = Vec::with_capacity(parts.iter().map(|(_, len)| len).sum());
        for (part, len) in parts {
            let Some(part) = part else {
                values.resize(values.len() + len, 0.0);
                continue;
            };
            let read = self.backend.read(part)?;
            values.extend(match &parameter {
                Some(parameter) if parameter.transposed => flipped(&read, part.cols() as usize),
                Some(parameter) => parameter.gathered(read),
                None => read,
            });
        }
        Ok(values)
    }

    /// Overwrites some rows of a tensor, of a parameter those of one gate.
    fn write_rows(&mut self, stored: Stored, rows: Range<usize>, values: &[f32]) -> Result<()> {
        let (parts, parameter) = (self.parts_of(stored, rows), self.parameter_of(stored).cloned());
        let mut rest = values;
        for (part, len) in parts {
            let values;
            (values, rest) = rest.split_at(len);
            let Some(part) = part else { continue };
            match &parameter {
                Some(parameter) if parameter.transposed => self.backend.write(part, &flipped(values, part.rows() as usize))?,
                Some(parameter) => self.backend.write(part, &parameter.spread(values))?,
                None => self.backend.write(part, values)?,
            }
        }
        Ok(())
    }

    /// Reads a tensor of a shape, a block of its rows at a time.
    ///
    /// # Errors
    /// What the backend reports, and what `take` does.
    pub(crate) fn each_block(
        &mut self,
        stored: Stored,
        shape: &[usize],
        mut take: impl FnMut(&[f32]) -> Result<()>,
    ) -> Result<()> {
        let (rows, cols) = matrix(shape);
        blocks(rows, cols).try_for_each(|rows| take(&self.read_rows(stored, rows)?))
    }

    /// All parameters.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn parameters(&mut self) -> Result<NamedArrays> {
        self.read_all(&|index| Stored::Parameter(PARAMETERS, index))
    }

    /// The optimiser's states by name, `m` and `v`.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn optimizer_states(&mut self) -> Result<Vec<(&'static str, NamedArrays)>> {
        let names = (PARAMETERS + 1..).zip(self.model.config.optimizer.states());
        names.map(|(arena, name)| Ok((*name, self.read_all(&|index| Stored::Parameter(arena, index))?))).collect()
    }

    /// Sets one of the optimiser's states.
    ///
    /// # Errors
    /// [`Error::BadInput`] when a tensor is missing or has another shape.
    pub fn set_optimizer_state(&mut self, name: &str, named: &NamedArrays) -> Result<()> {
        let arena = self.arena_of(name)?;
        self.write_arena(arena, named)
    }

    /// The arena of an optimiser's state.
    fn arena_of(&self, name: &str) -> Result<usize> {
        let place = self.model.config.optimizer.states().iter().position(|state| *state == name);
        place
            .map(|index| PARAMETERS + 1 + index)
            .ok_or_else(|| Error::input(format!("optimizer.{name}"), "this optimiser has no such state"))
    }

    fn write_arena(&mut self, arena: usize, named: &NamedArrays) -> Result<()> {
        parameters::check(&self.model.config, named, arena == PARAMETERS)?;
        for index in 0..self.model.parameters.table.len() {
            let parameter = &self.model.parameters.table[index];
            if arena != PARAMETERS && !parameter.is_trained() {
                continue;
            }
            let (array, cols, blocks) = (&named[&parameter.name], parameter.shape.1, parameter.blocks());
            let mut values = array.iter();
            for rows in blocks {
                let values: Vec<f32> = values.by_ref().take(rows.len() * cols).copied().collect();
                self.write_rows(Stored::Parameter(arena, index), rows, &values)?;
            }
        }
        Ok(())
    }

    /// A tensor for each parameter, by the parameter's name.
    pub(super) fn read_all(&mut self, stored: &dyn Fn(usize) -> Stored) -> Result<NamedArrays> {
        let mut named = NamedArrays::new();
        for index in 0..self.model.parameters.table.len() {
            let parameter = &self.model.parameters.table[index];
            if !parameter.is_trained() && !matches!(stored(index), Stored::Parameter(PARAMETERS, _)) {
                continue;
            }
            let (name, extents) = (parameter.name.clone(), parameter.extents());
            let mut values = Vec::with_capacity(extents.iter().product());
            self.each_block(stored(index), &extents, |block| {
                values.extend_from_slice(block);
                Ok(())
            })?;
            named.insert(name, ArrayD::from_shape_vec(extents, values).expect("all of its values"));
        }
        Ok(named)
    }
}

/// The transpose of a matrix of so many columns.
fn flipped(values: &[f32], cols: usize) -> Vec<f32> {
    (0..cols).flat_map(|c| values.iter().skip(c).step_by(cols)).copied().collect()
}
