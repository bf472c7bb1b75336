//! The gradient of a batch, and the hidden states with theirs.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::Array3;

use super::{Masks, Network, Stored};
use crate::batch::{Batch, States};
use crate::model::{Config, Named};
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
    pub parameters: Named,
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
        self.feed(batch)?;
        self.set_masks(masks)?;
        self.backend.run(self.model.forward.start..self.model.backward.end)?;
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
        let windows = self.model.layers.iter().filter_map(|layer| layer.traced);
        windows.map(|of| Ok(Traced { hidden: read(of.hidden)?, d_hidden: read(of.d_hidden)? })).collect()
    }
}
