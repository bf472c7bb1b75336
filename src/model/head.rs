//! The head: the outputs O = H·Vᵀ + c of the last layer's states, and the loss. Backward: dH = dO·V, ∂L/∂V = Σ_t (dO_t)·h_tᵀ, ∂L/∂c = Σ_t dO_t.

use super::config::Config;
use super::parameters::{Parameters, Role};
use super::segment::Segment;
use crate::batch::{Loss, TargetKind};
use crate::kernels::gemm::{Epilogue, Form, gemm, linear};
use crate::kernels::value_loss::{Penalty, value_loss};
use crate::kernels::{column_sum, softmax_loss};
use crate::program::{Mat, Program};

/// The windows of the head; N is the length of a segment.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// The penalty of values; `None` of classes.
    penalty: Option<Penalty>,
    /// ε of the gradient by classes.
    smoothing: f64,
    /// V and c.
    weights: [Mat; 2],
    d_weights: [Mat; 2],
    /// Classes, a row for each segment, or values `[T·B, O]`.
    pub targets: Mat,
    /// The number that the penalty of values needs of each output, `[1, O]`.
    pub constants: Option<Mat>,
    /// The weight of each output in the loss, `[T·B, 1]`.
    pub counts: Mat,
    /// O, `[T·B, O]`.
    pub outputs: Mat,
    /// Of each output, `[T·B, 1]`.
    losses: Mat,
    /// `[N·B, O]`.
    pub d_outputs: Mat,
    /// Their sum.
    pub loss: Mat,
}

/// The penalty that the loss of values is made of: what else it is lies in the weights of the outputs.
pub(crate) fn penalty(loss: &Loss) -> Option<Penalty> {
    match loss {
        Loss::CrossEntropy => None,
        Loss::SquaredError | Loss::ErrorToSignal | Loss::NashSutcliffe => Some(Penalty::Squared),
        Loss::AbsoluteError => Some(Penalty::Absolute),
        Loss::Huber(_) => Some(Penalty::Huber),
        Loss::BinaryCrossEntropy => Some(Penalty::Binary),
        Loss::Quantile(_) => Some(Penalty::Pinball),
    }
}

/// The number that a penalty needs of each of so many outputs; `None` where it needs none.
pub(crate) fn constants(loss: &Loss, outputs: usize) -> Option<Vec<f32>> {
    match loss {
        Loss::Huber(threshold) => Some(vec![*threshold; outputs]),
        Loss::Quantile(levels) => Some(levels.iter().copied().cycle().take(outputs).collect()),
        _ => None,
    }
}

impl Head {
    pub fn new(program: &mut Program, config: &Config, parameters: &Parameters, gradients: &[Mat], length: u32) -> Head {
        let (rows, outputs) = ((config.window * config.batch) as u32, config.outputs as u32);
        let place = |role| parameters.place(None, role).expect("every network has a head");
        let kind = config.loss.target_kind();
        let places = [Role::Decoder, Role::DecoderBias].map(place);
        Head {
            penalty: penalty(&config.loss),
            smoothing: config.label_smoothing,
            weights: places.map(|place| parameters.windows[place]),
            d_weights: places.map(|place| gradients[place]),
            targets: match kind {
                TargetKind::Classes => program.indices("classes", config.segments().len() as u32, length),
                TargetKind::Values => program.matrix("values", rows, outputs),
            },
            constants: (kind == TargetKind::Values).then(|| program.matrix("constants of the loss", 1, outputs)),
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
        let (counts, losses) = (of(self.counts), of(self.losses));
        match self.penalty.zip(self.constants) {
            None => softmax_loss::softmax_loss(
                program,
                outputs,
                segment.indices(self.targets),
                counts,
                d_outputs,
                losses,
                self.smoothing,
            ),
            Some((penalty, constants)) => {
                value_loss(program, penalty, [outputs, of(self.targets), counts, constants], d_outputs, losses);
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
