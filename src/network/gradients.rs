//! The gradient of a batch, and the hidden states with theirs.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::Array3;

use super::{Masks, Network, Stored};
use crate::batch::{Batch, States};
use crate::kernels::recurrence::gate_stride;
use crate::model::{Config, NamedArrays, TracedState as Second, TracedWindows};
use crate::program::Mat;
use crate::tensors::write_in_blocks;
use crate::whole_file::WholeFile;
use crate::{Error, Result};

/// A loss, the gradients of all parameters and of the initial state, and the outputs.
#[derive(Debug, Clone)]
pub struct Gradient {
    /// The loss.
    pub loss: f32,
    /// `[T, B, O]`.
    pub outputs: Array3<f32>,
    /// By PyTorch's names.
    pub parameters: NamedArrays,
    /// By each of the initial states, `[layers·directions, B, H]`.
    pub initial_states: States,
}

/// A layer at every time step of a batch.
#[derive(Debug, Clone)]
pub struct Traced {
    /// h_t, `[T, B, H]`.
    pub hidden: Array3<f32>,
    /// ∂L/∂h_t, `[T, B, H]`: the sum of what comes from the outputs and of what comes back through time.
    pub d_hidden: Array3<f32>,
    /// The second state of a cell whose h follows from it, the c of an LSTM.
    pub second: Option<TracedState>,
}

/// A second state of a layer at every time step of a batch.
#[derive(Debug, Clone)]
pub struct TracedState {
    /// Its name.
    pub name: &'static str,
    /// s_t, `[T, B, H]`.
    pub values: Array3<f32>,
    /// ∂L/∂s_t, `[T, B, H]`: of all paths, that through h_t too.
    pub gradient: Array3<f32>,
}

impl Network {
    /// The loss of a batch and its gradient by every parameter and by the initial state, without dropout. The parameters stay as they
    /// are; a batch that does not carry the state on replaces it.
    ///
    /// # Errors
    /// As [`Network::train_step`].
    pub fn gradient(&mut self, batch: &Batch) -> Result<Gradient> {
        self.gradient_with(batch, None)
    }

    /// [`Network::gradient`] with the units dropped that a training step drops.
    ///
    /// # Errors
    /// As [`Network::train_step`].
    pub fn gradient_with(&mut self, batch: &Batch, masks: Option<Masks>) -> Result<Gradient> {
        self.back_propagate(batch, masks)?;
        self.read_gradient()
    }

    /// The gradient that is on the device.
    pub(super) fn read_gradient(&mut self) -> Result<Gradient> {
        let initial_states = self.read_states(|layer, state| layer.d_initial[state])?;
        Ok(Gradient {
            loss: self.backend.read(self.model.head.loss)?[0],
            outputs: self.outputs()?,
            parameters: self.read_all(&Stored::Gradient)?,
            initial_states,
        })
    }

    /// What [`Network::gradient_with`] gives, as a file: the gradients by PyTorch's names, with that of each layer's second bias, which is that
    /// of the first, `loss` `[1]`, `outputs` `[T, B, O]` and by each initial state, `h0`, `[layers·directions, B, H]`. It passes through the
    /// host in blocks. Returns the loss.
    ///
    /// # Errors
    /// As [`Network::gradient`]; [`Error::NotFinite`] with the first of the tensors by name that is not finite, and then nothing is written;
    /// [`Error::Io`].
    pub fn write_gradient(&mut self, batch: &Batch, masks: Option<Masks>, path: impl AsRef<Path>) -> Result<f32> {
        self.expect_one_rank("write a gradient")?;
        self.back_propagate(batch, masks)?;
        let tensors = self.gradient_tensors();
        let shapes: Vec<(String, Vec<usize>)> = tensors.iter().map(|(name, shape, _)| (name.clone(), shape.clone())).collect();
        let mut file = WholeFile::create(path.as_ref())?;
        write_in_blocks(&mut file, &BTreeMap::new(), &shapes, &mut |i, rows| {
            let (name, _, stored) = &tensors[i];
            let values = self.read_rows(*stored, rows)?;
            if values.iter().all(|v| v.is_finite()) { Ok(values) } else { Err(Error::NotFinite { tensor: name.clone() }) }
        })?;
        file.complete()?;
        Ok(self.backend.read(self.model.head.loss)?[0])
    }

    /// Everything that a batch's gradient is made of, on the device.
    fn back_propagate(&mut self, batch: &Batch, masks: Option<Masks>) -> Result<()> {
        self.expect_shares(batch.shape().1)?;
        self.feed(batch)?;
        self.set_masks(masks)?;
        self.backend.run(self.model.forward.clone())?;
        self.back_propagate_together(false)?;
        self.backend.run(self.model.initial_gradient.clone())
    }

    /// The hidden states of a batch and ∂L/∂h_t, of each layer, without dropout. Parameters, gradients, the optimiser's states and the count of steps
    /// stay as they are; a batch that does not carry the state on replaces it. A training step that follows is the same as without.
    ///
    /// # Errors
    /// [`Error::Usage`] when [`Config::trace`] is not set; as [`Network::train_step`].
    pub fn trace(&mut self, batch: &Batch) -> Result<Vec<Traced>> {
        if !self.made_for.trace {
            return Err(Error::Usage("this network does not trace the gradient of its hidden states".into()));
        }
        self.feed(batch)?;
        self.set_masks(None)?;
        self.backend.run(self.model.forward.clone())?;
        self.backend.run(self.model.trace.clone())?;
        let Config { window, batch: size, hidden, .. } = self.model.config;
        let shape = (window, size, hidden);
        let mut read = |window: Mat| -> Result<Array3<f32>> {
            Ok(Array3::from_shape_vec(shape, self.backend.read(window)?).expect("a value for each unit of each row"))
        };
        let windows: Vec<TracedWindows> = self.model.layers.iter().filter_map(|layer| layer.traced.clone()).collect();
        let mut traced = Vec::new();
        for TracedWindows { hidden, d_hidden, second } in windows {
            let [hidden, d_hidden] = [read(hidden)?, read(d_hidden)?];
            traced.push((hidden, d_hidden, second));
        }
        let with_second = |(hidden, d_hidden, second): (Array3<f32>, Array3<f32>, Option<Second>)| {
            let second = second.map(|windows| self.second_state(windows, &d_hidden)).transpose()?;
            Ok(Traced { hidden, d_hidden, second })
        };
        traced.into_iter().map(with_second).collect()
    }

    /// A second state and its gradient: what comes on its own path, and through h_t.
    fn second_state(&mut self, windows: Second, d_hidden: &Array3<f32>) -> Result<TracedState> {
        let Config { cell, hidden, .. } = self.model.config;
        let through_h = cell.through_h.expect("a cell whose h follows from its second state");
        let read = [windows.values, windows.direct, windows.saved].map(|window| self.backend.read(window));
        let [values, direct, saved] = read;
        let (values, direct, saved) = (values?, direct?, saved?);
        let (cols, stride) = (windows.saved.cols() as usize, gate_stride(hidden as u32) as usize);
        let mut gradient = d_hidden.clone();
        let mut numbers = vec![0.0; cell.saved as usize];
        for (place, d) in gradient.iter_mut().enumerate() {
            let (row, unit) = (place / hidden, place % hidden);
            numbers.iter_mut().enumerate().for_each(|(k, number)| *number = f64::from(saved[row * cols + k * stride + unit]));
            let slope = through_h(&numbers, f64::from(values[place]));
            *d = (f64::from(direct[place]) + f64::from(*d) * slope) as f32;
        }
        let values = Array3::from_shape_vec(d_hidden.dim(), values).expect("a value for each unit of each row");
        Ok(TracedState { name: cell.states[1], values, gradient })
    }
}
