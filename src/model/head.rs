//! The head: the outputs O = H·Vᵀ + c of the last layer's states, and the loss. Backward: dH = dO·V, ∂L/∂V = Σ_t (dO_t)·h_tᵀ, ∂L/∂c = Σ_t dO_t.

use super::config::Config;
use super::parameters::{Parameters, Role};
use super::segment::Segment;
use crate::batch::Loss;
use crate::kernels::gemm::{Epilogue, Form, gemm, linear};
use crate::kernels::{column_sum, softmax_loss, squared_loss};
use crate::program::{Mat, Program};

/// The windows of the head; N is the length of a segment.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    kind: Loss,
    /// V and c.
    weights: [Mat; 2],
    d_weights: [Mat; 2],
    /// Classes, a row for each segment, or values `[T·B, O]`.
    pub targets: Mat,
    /// The weight of each output in the loss, `[T·B, 1]`.
    pub counts: Mat,
    /// O, `[T·B, O]`.
    pub outputs: Mat,
    /// Of each output, `[T·B, 1]`.
    losses: Mat,
    /// `[N·B, O]`.
    d_outputs: Mat,
    /// Their sum.
    pub loss: Mat,
}

impl Head {
    pub fn new(program: &mut Program, config: &Config, parameters: &Parameters, gradients: &[Mat], length: u32) -> Head {
        let (rows, outputs) = ((config.window * config.batch) as u32, config.outputs as u32);
        let place = |role| parameters.place(None, role).expect("every network has a head");
        let places = [Role::Decoder, Role::DecoderBias].map(place);
        Head {
            kind: config.loss,
            weights: places.map(|place| parameters.windows[place]),
            d_weights: places.map(|place| gradients[place]),
            targets: match config.loss {
                Loss::CrossEntropy => program.indices("classes", config.segments().len() as u32, length),
                Loss::SquaredError => program.matrix("values", rows, outputs),
            },
            counts: program.matrix("weights of outputs", rows, 1),
            outputs: program.matrix("outputs", rows, outputs),
            losses: program.transient("losses", rows, 1),
            d_outputs: program.transient("gradient of outputs", length, outputs),
            loss: program.matrix("loss", 1, 1),
        }
    }

    /// From the states of a segment to its losses and their gradient by the outputs.
    pub fn forward(&self, program: &mut Program, hidden: Mat, segment: &Segment) {
        let of = |window: Mat| window.slice_rows(segment.rows.clone());
        let (outputs, d_outputs) = (of(self.outputs), segment.within(self.d_outputs));
        linear(program, hidden, self.weights[0], self.weights[1], outputs);
        match self.kind {
            Loss::CrossEntropy => {
                let classes = segment.indices(self.targets);
                softmax_loss::softmax_loss(program, outputs, classes, of(self.counts), d_outputs, of(self.losses));
            }
            Loss::SquaredError => {
                squared_loss::squared_loss(program, outputs, of(self.targets), of(self.counts), d_outputs, of(self.losses));
            }
        }
    }

    /// The loss of all segments.
    pub fn total(&self, program: &mut Program) {
        column_sum::column_sum(program, self.losses, self.loss, Epilogue::Store);
    }

    /// From the gradient by a segment's outputs to those by the weights, to which it is added but for the last segment.
    pub fn backward(&self, program: &mut Program, hidden: Mat, segment: &Segment) {
        let sum = if segment.is_last { Epilogue::Store } else { Epilogue::Add };
        let d_outputs = segment.within(self.d_outputs);
        gemm(program, Form::TN, d_outputs, hidden, self.d_weights[0], sum);
        column_sum::column_sum(program, d_outputs, self.d_weights[1], sum);
    }

    /// And to that by the last layer's states.
    pub fn below(&self, program: &mut Program, d_hidden: Mat, segment: &Segment) {
        gemm(program, Form::NN, segment.within(self.d_outputs), self.weights[0], d_hidden, Epilogue::Store);
    }
}
