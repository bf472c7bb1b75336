//! What a network keeps from step to step: its parameters, the optimiser's states and the carried state; written, read back, and as
//! the tensors of a checkpoint. Large ones pass through the host a block of rows at a time.

use std::ops::Range;

use ndarray::{Array3, ArrayD, s};

use super::Network;
use crate::blocks::{blocks, matrix};
use crate::model::{Config, Named, RecurrentInit, parameters};
use crate::program::Mat;
use crate::tensors::TensorFile;
use crate::{Error, Result};

/// The arena of the parameters; the optimiser's states have those behind it.
pub(crate) const PARAMETERS: usize = 0;

/// A tensor of a network, of PyTorch's shape.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stored {
    /// The carried state.
    State,
    /// PyTorch's second bias beside a parameter.
    Zero(usize),
    /// In the arena of the parameters, [`PARAMETERS`], or of one of the optimiser's states, the window of a parameter.
    Parameter(usize, usize),
    /// The gradient by a parameter.
    Gradient(usize),
    /// The gradient by the initial state.
    InitialGradient,
    /// The outputs of the last batch.
    Outputs,
    /// Its loss.
    Loss,
}

/// Names with their shapes, and where each of them is.
pub(crate) type Tensors = Vec<(String, Vec<usize>, Stored)>;

impl Network {
    /// Begins anew: initial parameters, the optimiser's states and the carried state zero, no step taken.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] when there is no memory for an orthogonal matrix; what the backend reports.
    pub fn initialise(&mut self, seed: u64, init: RecurrentInit) -> Result<()> {
        let config = self.model.config.clone();
        parameters::check_initial(&config, init)?;
        for index in 0..self.model.parameters.table.len() {
            let parameter = &self.model.parameters.table[index];
            let (mut initial, (rows, cols)) = (parameter.initial(&config, index, seed, init), parameter.shape);
            for rows in blocks(rows, cols) {
                let values = initial.rows(rows.clone());
                self.write_rows(Stored::Parameter(PARAMETERS, index), rows, &values)?;
            }
        }
        self.begin()?;
        for window in self.model.states.clone().into_iter().flatten().flat_map(Mat::blocks) {
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

    /// Sets one of the optimiser's states from a checkpoint's tensors.
    pub(crate) fn load_optimizer_state(&mut self, name: &str, file: &TensorFile) -> Result<()> {
        let arena = self.arena_of(name)?;
        self.load_arena(arena, &format!("optimizer.{name}."), file)
    }

    fn load_arena(&mut self, arena: usize, prefix: &str, file: &TensorFile) -> Result<()> {
        let table = self.model.parameters.table.clone();
        parameters::in_blocks(&table, prefix, file, &mut |index, rows, values| {
            self.write_rows(Stored::Parameter(arena, index), rows, values)
        })
    }

    /// What follows once the parameters were written.
    fn begin(&mut self) -> Result<()> {
        self.backend.write(self.model.status, &[0.0; 4])?;
        self.backend.run(self.model.prepare.clone())
    }

    /// Everything that a checkpoint keeps, by PyTorch's names, with its shape: the parameters, the optimiser's states of each behind
    /// `optimizer.<state>.`, and `state.h0`.
    pub(crate) fn tensors(&self) -> Tensors {
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

    /// What [`Network::write_gradient`] writes, with its shape.
    pub(super) fn gradient_tensors(&self) -> Tensors {
        let Config { layers, batch, hidden, window, outputs, .. } = self.model.config;
        let mut all = vec![
            ("loss".to_owned(), vec![1], Stored::Loss),
            ("outputs".to_owned(), vec![window, batch, outputs], Stored::Outputs),
            ("h0".to_owned(), vec![layers, batch, hidden], Stored::InitialGradient),
        ];
        for (index, parameter) in self.model.parameters.table.iter().enumerate() {
            let names = [Some(parameter.name.clone()), parameter.second_bias()];
            all.extend(names.into_iter().flatten().map(|name| (name, parameter.extents(), Stored::Gradient(index))));
        }
        all
    }

    /// The windows that hold a tensor, one above the other, and whether they do so transposed.
    fn windows_of(&self, stored: Stored) -> (Vec<Mat>, bool) {
        let model = &self.model;
        let of = |windows: &[Mat], index: usize| (vec![windows[index]], model.parameters.table[index].transposed);
        match stored {
            Stored::State => ((0..model.config.layers).map(|layer| self.initial_state(layer)).collect(), false),
            Stored::Zero(_) => (Vec::new(), false),
            Stored::Parameter(PARAMETERS, index) => of(&model.parameters.windows, index),
            Stored::Parameter(arena, index) => of(&model.states[arena - 1], index),
            Stored::Gradient(index) => of(&model.gradients, index),
            Stored::InitialGradient => (model.d_initial.clone(), false),
            Stored::Outputs => (vec![model.outputs], false),
            Stored::Loss => (vec![model.loss], false),
        }
    }

    /// The parts of the windows of a tensor that hold some of its rows, and whether they are columns there.
    fn parts_of(&self, stored: Stored, rows: Range<usize>) -> (Vec<Mat>, bool) {
        let (windows, transposed) = self.windows_of(stored);
        let (from, to) = (rows.start as u64, rows.end as u64);
        if transposed {
            return (windows.iter().map(|w| w.slice_cols(from as u32..to as u32)).collect(), true);
        }
        let (mut parts, mut first) = (Vec::new(), 0);
        for window in windows {
            let end = first + u64::from(window.rows());
            let (start, stop) = (from.clamp(first, end) - first, to.clamp(first, end) - first);
            if start < stop {
                parts.push(window.slice_rows(start as u32..stop as u32));
            }
            first = end;
        }
        (parts, false)
    }

    /// Some rows of one of [`Network::tensors`] or of a gradient.
    ///
    /// # Errors
    /// What the backend reports.
    pub(crate) fn read_rows(&mut self, stored: Stored, rows: Range<usize>) -> Result<Vec<f32>> {
        if let Stored::Zero(index) = stored {
            return Ok(vec![0.0; rows.len() * self.model.parameters.table[index].shape.1]);
        }
        let (parts, transposed) = self.parts_of(stored, rows);
        if let (true, [part]) = (transposed, &parts[..]) {
            return Ok(flipped(&self.backend.read(*part)?, part.cols() as usize));
        }
        let mut values = Vec::with_capacity(parts.iter().map(Mat::len).sum());
        for part in parts {
            values.extend(self.backend.read(part)?);
        }
        Ok(values)
    }

    /// Overwrites some rows of a tensor.
    fn write_rows(&mut self, stored: Stored, rows: Range<usize>, values: &[f32]) -> Result<()> {
        let (parts, transposed) = self.parts_of(stored, rows);
        let mut rest = values;
        for part in parts {
            let values;
            (values, rest) = rest.split_at(part.len());
            if transposed {
                self.backend.write(part, &flipped(values, part.rows() as usize))?;
            } else {
                self.backend.write(part, values)?;
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
    pub fn parameters(&mut self) -> Result<Named> {
        self.read_all(&|index| Stored::Parameter(PARAMETERS, index))
    }

    /// The optimiser's states by name, `m` and `v`.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn optimizer_states(&mut self) -> Result<Vec<(&'static str, Named)>> {
        let names = (PARAMETERS + 1..).zip(self.model.config.optimizer.states());
        names.map(|(arena, name)| Ok((*name, self.read_all(&|index| Stored::Parameter(arena, index))?))).collect()
    }

    /// Sets one of the optimiser's states.
    ///
    /// # Errors
    /// [`Error::BadInput`] when a tensor is missing or has another shape.
    pub fn set_optimizer_state(&mut self, name: &str, named: &Named) -> Result<()> {
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

    fn write_arena(&mut self, arena: usize, named: &Named) -> Result<()> {
        parameters::check(&self.model.config, named)?;
        for index in 0..self.model.parameters.table.len() {
            let parameter = &self.model.parameters.table[index];
            let (array, (rows, cols)) = (&named[&parameter.name], parameter.shape);
            let mut values = array.iter();
            for rows in blocks(rows, cols) {
                let values: Vec<f32> = values.by_ref().take(rows.len() * cols).copied().collect();
                self.write_rows(Stored::Parameter(arena, index), rows, &values)?;
            }
        }
        Ok(())
    }

    /// A tensor for each parameter, by the parameter's name.
    pub(super) fn read_all(&mut self, stored: &dyn Fn(usize) -> Stored) -> Result<Named> {
        let mut named = Named::new();
        for index in 0..self.model.parameters.table.len() {
            let parameter = &self.model.parameters.table[index];
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
