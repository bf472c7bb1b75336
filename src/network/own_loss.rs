//! Training by a loss of one's own: the outputs come to the host, and their gradient goes back.

use ndarray::{Array3, s};

use super::{Gradient, Masks, Network, check_rate};
use crate::batch::{Batch, Sequences};
use crate::{Error, Result};

impl Network {
    /// One training step by a loss of one's own: `loss` takes the outputs `[T, B, O]`, with dropout as in training, and returns L and
    /// ∂L/∂outputs `[T, B, O]`. Behind the end of a sequence the gradient counts as zero, whatever it is. Returns L. The loss of the
    /// configuration is not measured, and its kind of targets makes no difference. Unlike [`Network::train_step`] it waits for the device.
    ///
    /// ```
    /// use ndarray::Array3;
    /// use retrospect::backend::Compute;
    /// use retrospect::batch::{Input, Inputs, Loss, Sequences};
    /// use retrospect::model::{Config, RecurrentInit};
    /// use retrospect::network::Network;
    ///
    /// let config = Config::new(Input::Vectors(1), 8, 1, Loss::SquaredError, 4, 16);
    /// let mut network = Network::new(&config, &Compute::Cpu(None))?;
    /// network.initialise(1, RecurrentInit::Uniform)?;
    /// let inputs = Array3::from_shape_fn((16, 4, 1), |(t, b, _)| (t as f32 / 3.0 + b as f32).sin());
    /// // The outputs should be large: L is minus their mean.
    /// for _ in 0..10 {
    ///     network.train_step_by(Sequences::new(Inputs::Vectors(inputs.clone())), 0.01, |outputs| {
    ///         let count = outputs.len() as f32;
    ///         (-outputs.sum() / count, Array3::from_elem(outputs.dim(), -1.0 / count))
    ///     })?;
    /// }
    /// # Ok::<(), retrospect::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::BadInput`] when the sequences or the shape of the gradient do not fit; [`Error::Usage`] when the rate is not finite, and for a
    /// network of [`crate::model::Config::accumulate`], or that recomputes hidden states ([`crate::model::Config::recompute`]), whose outputs are not all there at once; what the backend
    /// reports.
    pub fn train_step_by(
        &mut self,
        sequences: Sequences,
        rate: f64,
        loss: impl FnOnce(&Array3<f32>) -> (f32, Array3<f32>),
    ) -> Result<f32> {
        check_rate(rate)?;
        if self.made_for.accumulate > 1 {
            return Err(Error::Usage("a training step by a loss of one's own is on one batch".into()));
        }
        let masks = Masks { seed: self.seed, step: self.step + 1 };
        let loss = self.forward_by(sequences, Some(masks), loss)?;
        self.begin_step(rate)?;
        self.back_propagate_together(false)?;
        self.backend.run(self.model.update.start..self.model.carry.end)?;
        Ok(loss)
    }

    /// The gradient of a loss of one's own by every parameter and by the initial state, without dropout; `loss` is that of
    /// [`Network::train_step_by`].
    ///
    /// # Errors
    /// As [`Network::train_step_by`].
    pub fn gradient_by(
        &mut self,
        sequences: Sequences,
        loss: impl FnOnce(&Array3<f32>) -> (f32, Array3<f32>),
    ) -> Result<Gradient> {
        self.forward_by(sequences, None, loss)?;
        self.back_propagate_together(false)?;
        self.backend.run(self.model.initial_gradient.clone())?;
        self.read_gradient()
    }

    /// The forward pass, and on the device the loss and the gradient by the outputs as `loss` says.
    fn forward_by(
        &mut self,
        sequences: Sequences,
        masks: Option<Masks>,
        loss: impl FnOnce(&Array3<f32>) -> (f32, Array3<f32>),
    ) -> Result<f32> {
        if self.made_for.segments().len() > 1 {
            let problem = "a loss of one's own needs all outputs at once, and this network recomputes hidden states in segments";
            return Err(Error::Usage(problem.into()));
        }
        let batch = sequences.into_batch(self.made_for.loss.target_kind(), self.made_for.targets());
        self.expect_shares(batch.shape().1)?;
        self.feed(&batch)?;
        self.set_masks(masks)?;
        self.backend.run(self.model.forward.clone())?;
        let outputs = self.outputs()?;
        let (loss, mut d_outputs) = loss(&outputs);
        if d_outputs.dim() != outputs.dim() {
            let (got, expected) = (d_outputs.shape(), outputs.shape());
            return Err(Error::input("∂L/∂outputs", format!("expected shape {expected:?}, got {got:?}")));
        }
        clear_padding(&mut d_outputs, &batch);
        let d_outputs = self.own_part(d_outputs);
        let d_outputs = d_outputs.as_standard_layout();
        self.backend.write(self.model.head.d_outputs, d_outputs.as_slice().expect("in standard layout"))?;
        // It is added up over the ranks.
        self.backend.write(self.model.head.loss, &[if self.rank().0 == 0 { loss } else { 0.0 }])?;
        Ok(loss)
    }
}

/// Makes zero what lies behind the end of each sequence.
fn clear_padding(d_outputs: &mut Array3<f32>, batch: &Batch) {
    for b in 0..batch.shape().1 {
        d_outputs.slice_mut(s![batch.length(b).., b, ..]).fill(0.0);
    }
}
