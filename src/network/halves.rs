//! A training step in two halves, between which anyone may change the gradients: add them up over machines by an engine of one's own, clip them
//! in another way, or look at them.

use super::{Masks, Network, check_rate};
use crate::batch::Batch;
use crate::program::Mat;
use crate::{Error, Result};

impl Network {
    /// The first half of a training step: the loss of a batch, with dropout as the training step has it, and its gradients, which stay on the
    /// device. Returns the loss. It waits for the device. [`Network::update`] is the other half, and both together are
    /// [`Network::train_step`].
    ///
    /// ```
    /// # use ndarray::Array3;
    /// # use retrospect::backend::Compute;
    /// # use retrospect::batch::{Batch, Input, Inputs, Loss, Targets};
    /// # use retrospect::model::{Config, RecurrentInit};
    /// # use retrospect::network::Network;
    /// # let config = Config::new(Input::Vectors(1), 8, 1, Loss::SquaredError, 4, 16);
    /// # let mut network = Network::new(&config, &Compute::Cpu(None))?;
    /// # network.initialise(1, RecurrentInit::Uniform)?;
    /// # let x = Array3::from_shape_fn((16, 4, 1), |(t, b, _)| (t as f32 / 3.0 + b as f32).sin());
    /// # let batch = Batch::new(Inputs::Vectors(x.clone()), Targets::Values(x));
    /// let loss = network.backward(&batch)?;
    /// let mut gradients = network.gradients()?;
    /// // Whatever makes better ones of them.
    /// gradients.iter_mut().for_each(|gradient| *gradient = gradient.clamp(-0.1, 0.1));
    /// network.set_gradients(&gradients)?;
    /// network.update(0.01)?;
    /// assert!(network.loss(&batch)? < loss);
    /// # Ok::<(), retrospect::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::BadInput`] when the batch does not fit; [`Error::Usage`] for a network of several batches a training step
    /// ([`crate::model::Config::accumulate`]), or of several ranks; what the backend reports.
    pub fn backward(&mut self, batch: &Batch) -> Result<f32> {
        self.expect_one_rank("take a training step in halves")?;
        if self.made_for.accumulate > 1 {
            return Err(Error::Usage("a training step in halves is on one batch".into()));
        }
        self.feed_short(batch)?;
        self.set_masks(Some(Masks { seed: self.seed, step: self.step + 1 }))?;
        self.backend.run(self.model.forward.start..self.model.backward.end)?;
        Ok(self.backend.read(self.model.head.loss)?[0])
    }

    /// The gradients that are on the device, of all parameters: those of a matrix row by row, each row filled up with zeros to a multiple of
    /// four. The order is the same for all networks of a configuration.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn gradients(&mut self) -> Result<Vec<f32>> {
        let [_, gradients] = self.model.update_windows.arenas();
        self.backend.read(gradients)
    }

    /// Overwrites the gradients on the device with others, in the order of [`Network::gradients`].
    ///
    /// # Errors
    /// [`Error::BadInput`] for another number of them; what the backend reports.
    pub fn set_gradients(&mut self, gradients: &[f32]) -> Result<()> {
        let [_, window] = self.model.update_windows.arenas();
        if gradients.len() != window.len() {
            return Err(Error::input("gradients", format!("there are {}; expected {}", gradients.len(), window.len())));
        }
        let mut rest = gradients;
        for block in Mat::blocks(window) {
            let values;
            (values, rest) = rest.split_at(block.len());
            self.backend.write(block, values)?;
        }
        Ok(())
    }

    /// The other half of a training step: norm, clipping and the optimiser's step by the gradients that are on the device, and the last state
    /// kept for a batch that carries on. It does not wait for the device.
    ///
    /// # Errors
    /// [`Error::Usage`] when the rate is not finite; what the backend reports.
    pub fn update(&mut self, rate: f64) -> Result<()> {
        check_rate(rate)?;
        self.begin_step(rate)?;
        self.backend.run(self.model.update.start..self.model.carry.end)
    }
}
