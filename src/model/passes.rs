//! The passes over a network, recorded once for all layers and segments.
//!
//! Forward, for each layer: P = X·Uᵀ + b for all time steps at once, then the recurrence h_t = φ(p_t + W·h_{t−1}); then
//! O = H·Vᵀ + c and the loss. Backward: dH = dO·V; for each layer, the last first, the recurrence
//! d_t = (∂L/∂h_t + Wᵀ·d_{t+1}) ⊙ φ′(h_t), where d_t = ∂L/∂(p_t), and
//! ∂L/∂W = Σ_t d_t·h_{t−1}ᵀ, ∂L/∂U = Σ_t d_t·x_tᵀ, ∂L/∂b = Σ_t d_t, each one product over all time steps;
//! ∂L/∂V = Σ_t (dO_t)·h_tᵀ. What reaches the layer below is dH = D·U.
//!
//! Everything is `[T·B, ·]`, row t·B + b. `Wᵀ` is kept beside `W` and refreshed after each update.
//!
//! A long window is computed in segments of N steps (Chen, Xu, Zhang & Guestrin 2016, *Training Deep Nets with Sublinear Memory Cost*).
//! The states between them are kept, those inside only of the segment at hand: so a segment's forward pass is computed again
//! before its backward pass, and gradients add up over the segments. With one segment, which is the usual case, all states are kept.

use std::ops::Range;

use super::config::Config;
use super::recurrent::InputWindows;
use crate::batch::Loss;
use crate::cells::elman::ELMAN;
use crate::kernels::gemm::{Epilogue, Form, gemm, linear};
use crate::kernels::{column_sum, embedding, fill, recurrence, softmax_loss, squared_loss};
use crate::program::{Mat, Program};

/// A layer's windows into the arenas and its buffers; N is the length of a segment.
pub(super) struct Layer {
    pub input_weight: Mat,
    pub recurrent_weight: Mat,
    pub bias: Mat,
    pub recurrent_weight_t: Mat,
    pub d_input_weight: Mat,
    pub d_recurrent_weight: Mat,
    pub d_bias: Mat,
    /// P, `[N·B, H]`.
    pub input: Mat,
    /// H, `[(N+1)·B, H]`.
    pub hidden: Mat,
    /// D, `[(N+1)·B, H]`: zero in its last B rows, or what comes from the segment behind.
    pub d_sum: Mat,
    /// What is kept of all time steps where gradients are traced.
    pub traced: Option<TracedWindows>,
    /// Of several segments: the states between them, and the first B rows of D of the segment behind.
    pub borders: Option<(Mat, Mat)>,
}

/// What is kept of a layer at all time steps, `[T·B, H]` each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TracedWindows {
    /// h_t.
    pub hidden: Mat,
    /// ∂L/∂h_t, the sum of both paths before φ′.
    pub d_hidden: Mat,
}

/// The windows that the passes over a segment are recorded with.
pub(super) struct Recording<'a> {
    pub config: &'a Config,
    pub layers: Vec<Layer>,
    pub decoder: [Mat; 2],
    pub d_decoder: [Mat; 2],
    pub inputs: InputWindows,
    pub targets: Mat,
    pub weights: Mat,
    pub logits: Mat,
    pub losses: Mat,
    pub d_logits: Mat,
    pub d_hidden: Mat,
}

/// Some time steps of a window.
pub(super) struct Segment {
    pub number: u32,
    /// Its rows of the window.
    pub rows: Range<u32>,
    pub is_last: bool,
}

impl Segment {
    /// The rows of a window of a segment's length.
    fn of(&self, window: Mat) -> Mat {
        window.slice_rows(0..self.rows.end - self.rows.start)
    }

    /// Its row of indices.
    fn indices(&self, window: Mat) -> Mat {
        window.slice_rows(self.number..self.number + 1).slice_cols(0..self.rows.end - self.rows.start)
    }
}

impl Recording<'_> {
    /// The states of a layer after each step of a segment, and before each.
    fn states(&self, layer: &Layer, segment: &Segment) -> [Mat; 2] {
        let (batch, count) = (self.config.batch as u32, segment.rows.end - segment.rows.start);
        [layer.hidden.slice_rows(batch..count + batch), layer.hidden.slice_rows(0..count)]
    }

    /// From the state before a segment to its losses and their gradient by the outputs.
    pub fn forward(&self, program: &mut Program, segment: &Segment) {
        let batch = self.config.batch as u32;
        let block = |mat: Mat, i: u32| mat.slice_rows(i * batch..(i + 1) * batch);
        let count = segment.rows.end - segment.rows.start;
        let mut below = None;
        for layer in &self.layers {
            let input = segment.of(layer.input);
            match (below, self.inputs) {
                (Some(below), _) => linear(program, below, layer.input_weight, layer.bias, input),
                (None, InputWindows::Vectors(x)) => {
                    linear(program, x.slice_rows(segment.rows.clone()), layer.input_weight, layer.bias, input);
                }
                (None, InputWindows::Tokens { tokens, .. }) => {
                    embedding::lookup(program, segment.indices(tokens), layer.input_weight, layer.bias, input);
                }
            }
            let hidden = layer.hidden.slice_rows(0..count + batch);
            if let Some((states, _)) = layer.borders {
                fill::copy(program, block(states, segment.number), block(hidden, 0));
            }
            let windows = [input, layer.recurrent_weight_t, hidden];
            recurrence::record(program, ELMAN.forward, self.config.activation, batch, &windows);
            if let Some((states, _)) = layer.borders {
                fill::copy(program, hidden.slice_rows(count..count + batch), block(states, segment.number + 1));
            }
            below = Some(self.states(layer, segment)[0]);
        }
        let of = |window: Mat| window.slice_rows(segment.rows.clone());
        let (logits, d_logits) = (of(self.logits), segment.of(self.d_logits));
        linear(program, below.expect("at least one layer"), self.decoder[0], self.decoder[1], logits);
        match self.config.loss {
            Loss::CrossEntropy => {
                let classes = segment.indices(self.targets);
                softmax_loss::softmax_loss(program, logits, classes, of(self.weights), d_logits, of(self.losses));
            }
            Loss::SquaredError => {
                squared_loss::squared_loss(program, logits, of(self.targets), of(self.weights), d_logits, of(self.losses));
            }
        }
    }

    /// From the gradient by a segment's outputs to those by the weights, to which it is added but for the last segment, which comes
    /// first.
    pub fn backward(&self, program: &mut Program, segment: &Segment) {
        let sum = if segment.is_last { Epilogue::Store } else { Epilogue::Add };
        let top = self.layers.last().expect("at least one layer");
        let (d_logits, d_hidden) = (segment.of(self.d_logits), segment.of(self.d_hidden));
        gemm(program, Form::TN, d_logits, self.states(top, segment)[0], self.d_decoder[0], sum);
        column_sum::column_sum(program, d_logits, self.d_decoder[1], sum);
        gemm(program, Form::NN, d_logits, self.decoder[0], d_hidden, Epilogue::Store);
        for (l, layer) in self.layers.iter().enumerate().rev() {
            let [d, _] = self.through_time(program, layer, segment);
            let [_, before] = self.states(layer, segment);
            gemm(program, Form::TN, d, before, layer.d_recurrent_weight, sum);
            column_sum::column_sum(program, d, layer.d_bias, sum);
            match (l, self.inputs) {
                (0, InputWindows::Tokens { order, starts, .. }) => {
                    let starts = starts.slice_rows(segment.number..segment.number + 1);
                    embedding::gradient(program, segment.indices(order), starts, d, layer.d_input_weight, sum);
                }
                (0, InputWindows::Vectors(x)) => {
                    gemm(program, Form::TN, d, x.slice_rows(segment.rows.clone()), layer.d_input_weight, sum);
                }
                _ => {
                    gemm(program, Form::TN, d, self.states(&self.layers[l - 1], segment)[0], layer.d_input_weight, sum);
                    gemm(program, Form::NN, d, layer.input_weight, d_hidden, Epilogue::Store);
                }
            }
        }
    }

    /// From the gradient by a segment's outputs to those by the hidden states, which are kept; the gradients by the weights stay as
    /// they are.
    pub fn trace(&self, program: &mut Program, segment: &Segment) {
        let (d_logits, d_hidden) = (segment.of(self.d_logits), segment.of(self.d_hidden));
        gemm(program, Form::NN, d_logits, self.decoder[0], d_hidden, Epilogue::Store);
        for (l, layer) in self.layers.iter().enumerate().rev() {
            let [d, behind] = self.through_time(program, layer, segment);
            if let Some(traced) = layer.traced {
                let of = |window: Mat| window.slice_rows(segment.rows.clone());
                fill::copy(program, self.states(layer, segment)[0], of(traced.hidden));
                fill::copy(program, d_hidden, of(traced.d_hidden));
                gemm(program, Form::NN, behind, layer.recurrent_weight, of(traced.d_hidden), Epilogue::Add);
            }
            if l > 0 {
                gemm(program, Form::NN, d, layer.input_weight, d_hidden, Epilogue::Store);
            }
        }
    }

    /// The recurrence of a layer back through a segment. Gives D of its steps, and of each the step behind.
    fn through_time(&self, program: &mut Program, layer: &Layer, segment: &Segment) -> [Mat; 2] {
        let (batch, count) = (self.config.batch as u32, segment.rows.end - segment.rows.start);
        let d_sum = layer.d_sum.slice_rows(0..count + batch);
        let (first, behind) = (d_sum.slice_rows(0..batch), d_sum.slice_rows(count..count + batch));
        match layer.borders {
            Some(_) if segment.is_last => fill::fill(program, behind, 0.0),
            Some((_, d_state)) => fill::copy(program, d_state, behind),
            None => {}
        }
        let windows = [segment.of(self.d_hidden), layer.recurrent_weight, self.states(layer, segment)[0], d_sum];
        recurrence::record(program, ELMAN.backward, self.config.activation, self.config.batch as u32, &windows);
        if let Some((_, d_state)) = layer.borders {
            fill::copy(program, first, d_state);
        }
        [d_sum.slice_rows(0..count), d_sum.slice_rows(batch..count + batch)]
    }
}
