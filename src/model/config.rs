//! What a network is and how it is trained, checked.

mod checks;

use std::ops::Range;

use ndarray::Array3;
use serde::{Deserialize, Serialize};

use super::optimizer::Optimizer;
use super::parameters;
use crate::Activation;
use crate::batch::{Input, Loss, States};
use crate::cells::Cell;
use crate::kernels::rows::Rows;
use crate::ranks::share;

/// What the recurrent weight `W` starts as. The other weights and the biases are uniform in (−1/√H, 1/√H), an embedding standard normal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum RecurrentInit {
    /// Uniform in (−1/√H, 1/√H), as PyTorch's.
    #[default]
    Uniform,
    /// A random orthogonal matrix.
    Orthogonal,
    /// The identity, and the biases zero (Le, Jaitly & Hinton 2015).
    Identity,
}

impl RecurrentInit {
    /// All of them.
    pub const ALL: [RecurrentInit; 3] = [RecurrentInit::Uniform, RecurrentInit::Orthogonal, RecurrentInit::Identity];

    /// Whether the layers of a cell can start so: with the identity those of one gate.
    #[must_use]
    pub fn suits(self, cell: &Cell) -> bool {
        self != RecurrentInit::Identity || cell.gates == 1
    }

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            RecurrentInit::Uniform => "uniform",
            RecurrentInit::Orthogonal => "orthogonal",
            RecurrentInit::Identity => "identity",
        }
    }
}

/// How many bias vectors a layer trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Biases {
    /// One, which stands for the sum of PyTorch's two, but for gates whose recurrent bias cannot be added to the input's: the GRU's n.
    #[default]
    One,
    /// PyTorch's two.
    Two,
}

/// The leak of the units of a leaky network, where nothing else is said.
pub const USUAL_LEAK: f32 = 0.2;

/// A part of a batch that several networks compute together: [`Config::batch`] sequences from `first` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The place of the first of them in the whole batch.
    pub first: usize,
    /// The sequences of the whole batch.
    pub whole: usize,
}

/// The shape of a stacked recurrent network, of the batches it reads, and of its training step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// What it reads.
    pub input: Input,
    /// The size of the vectors that tokens are embedded as, which are trained. `None`: the first layer reads tokens as one-hot vectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding: Option<usize>,
    /// The number of units of each layer, H.
    pub hidden: usize,
    /// The number of layers.
    pub layers: usize,
    /// The number of outputs, O.
    pub outputs: usize,
    /// Whether each layer also runs backward in time: a second direction with weights of its own, whose states the layer above and the head
    /// read behind those of the first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bidirectional: bool,
    /// Whether batches may have [`crate::batch::Batch::lengths`]; those that have none take a little longer then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lengths: bool,
    /// The cell of all layers.
    #[serde(default = "Cell::usual")]
    pub cell: &'static Cell,
    /// φ, of a cell that has one.
    pub activation: Activation,
    /// α of all units, of a cell that has one: in (0, 1]. `None`: that of the weights, or [`USUAL_LEAK`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leak: Option<f32>,
    /// How many bias vectors a layer trains.
    #[serde(default)]
    pub biases: Biases,
    /// Added to the initial bias of the LSTM's forget gate.
    #[serde(default)]
    pub forget_bias: f32,
    /// How outputs are measured.
    pub loss: Loss,
    /// ε, at least 0 and below 1: the gradient of the cross-entropy leads to (1 − ε)·onehot(class) + ε/O. The loss is without it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub label_smoothing: f64,
    /// Sequences in a batch, B.
    pub batch: usize,
    /// Steps in a window, T.
    pub window: usize,
    /// How gradients become updates.
    pub optimizer: Optimizer,
    /// The number of batches whose gradients make a training step, which is that of their mean.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub accumulate: usize,
    /// The norm that gradients are clipped to.
    pub clip: Option<f32>,
    /// The bound that each element of a gradient is clipped to, from below and above, after its norm was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_value: Option<f32>,
    /// The probability of each of a layer's outputs to be dropped in training, of all layers but the last: at least 0 and below 1.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropout: f64,
    /// The same of what the head reads.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub output_dropout: f64,
    /// The standard deviation of the noise that is added to each sum of a layer of one gate in training, inside of φ.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub state_noise: f64,
    /// In training the gradient is that of the loss and of so many times the mean square of each layer's h, over all sequences, time steps and
    /// units; the loss that is reported is without it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub activity_l2: f64,
    /// Whether recurrent weights have masks, `rnn.mask_hh_l{k}`: where a mask is 0 there is no connection, and the weight stays 0.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recurrent_mask: bool,
    /// The share of a layer's units that are excitatory, the first ones: no weight from them to a unit of the layer is negative, and none from
    /// the others, which are inhibitory, positive (Dale's principle). For layers of one gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dale: Option<f64>,
    /// Hidden states are kept at every so many time steps only, and the others computed again for the backward pass; `None`: all are
    /// kept. The gradients are the same but for the order of their sums.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recompute: Option<usize>,
    /// Whether it can be asked for ∂L/∂h_t: [`crate::network::Network::trace`], which takes memory for all states and their gradients.
    /// Training steps are the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trace: bool,
    /// Of a network that computes a share of each batch, together with others: which one. It is no part of what is kept of a configuration.
    #[serde(skip)]
    pub share: Option<Share>,
}

fn one() -> usize {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_one(count: &usize) -> bool {
    *count == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(rate: &f64) -> bool {
    *rate == 0.0
}

/// The most segments of a window: a program has some twenty steps for each.
pub const MOST_SEGMENTS: usize = 4096;

impl Config {
    /// A tanh network of one layer that Adam trains, for batches of `batch` sequences of `window` steps.
    #[must_use]
    pub fn new(input: Input, hidden: usize, outputs: usize, loss: Loss, batch: usize, window: usize) -> Config {
        Config {
            input,
            embedding: None,
            hidden,
            layers: 1,
            outputs,
            bidirectional: false,
            lengths: false,
            cell: Cell::usual(),
            activation: Activation::Tanh,
            leak: None,
            biases: Biases::One,
            forget_bias: 0.0,
            loss,
            label_smoothing: 0.0,
            batch,
            window,
            optimizer: Optimizer::ADAM,
            accumulate: 1,
            clip: None,
            clip_value: None,
            dropout: 0.0,
            output_dropout: 0.0,
            state_noise: 0.0,
            activity_l2: 0.0,
            recurrent_mask: false,
            dale: None,
            recompute: None,
            trace: false,
            share: None,
        }
    }

    /// The number of components of a target of values, or of classes: that of the outputs, but where a loss has several for each.
    #[must_use]
    pub fn targets(&self) -> usize {
        self.outputs / self.loss.outputs_per_target()
    }

    /// The directions of each layer: 1 or 2.
    #[must_use]
    pub fn directions(&self) -> usize {
        1 + usize::from(self.bidirectional)
    }

    /// What the first layer reads: the network's input, or its embedding.
    pub(crate) fn first_layer_input(&self) -> Input {
        self.embedding.map_or(self.input, Input::Vectors)
    }

    /// The shape of each of the cell's states, `[layers·directions, B, H]`: layer by layer, forward before reverse.
    #[must_use]
    pub fn state_shape(&self) -> (usize, usize, usize) {
        (self.layers * self.directions(), self.batch, self.hidden)
    }

    /// The states that sequences start with where nothing else is said.
    #[must_use]
    pub fn zero_states(&self) -> States {
        self.cell.states.iter().map(|&name| (name.to_owned(), Array3::zeros(self.state_shape()))).collect()
    }

    /// About √T: the [`Config::recompute`] with which a window of so many steps takes the least memory.
    #[must_use]
    pub fn recompute_of(window: usize) -> usize {
        window.isqrt().max(window.div_ceil(MOST_SEGMENTS)).max(1)
    }

    /// Whether anything is dropped in training.
    pub(crate) fn drops(&self) -> bool {
        (self.layers > 1 && self.dropout > 0.0) || self.output_dropout > 0.0
    }

    /// Whether anything is random in training.
    pub(crate) fn is_random(&self) -> bool {
        self.drops() || self.state_noise > 0.0
    }

    /// Whether a training step computes something that an evaluation of the same batch does not.
    pub(crate) fn is_regularized(&self) -> bool {
        self.is_random() || self.activity_l2 > 0.0
    }

    /// Whether the recurrent weights can start so: with the identity those of cells of one gate without fixed signs, since an inhibitory unit
    /// would begin by inhibiting itself.
    #[must_use]
    pub fn can_start(&self, init: RecurrentInit) -> bool {
        init.suits(self.cell) && (init != RecurrentInit::Identity || self.dale.is_none())
    }

    /// The number of excitatory units of a layer, where signs are fixed.
    pub(crate) fn excitatory(&self) -> Option<usize> {
        self.dale.map(|share| (share * self.hidden as f64).round() as usize)
    }

    /// The segments that a window is computed in: where states are recomputed, the steps between two that are kept; else all.
    pub(crate) fn segments(&self) -> Vec<Range<u32>> {
        let most = self.recompute.unwrap_or(self.window).clamp(1, self.window.max(1));
        (0..self.window).step_by(most).map(|start| start as u32..self.window.min(start + most) as u32).collect()
    }

    /// The same for batches of other sizes that are no larger, over the same buffers: where there are several segments, two at least.
    pub(crate) fn for_shape(&self, window: usize, batch: usize) -> Config {
        let recompute = self.recompute.filter(|_| self.segments().len() > 1).map(|steps| steps.min(window.div_ceil(2)));
        Config { window, batch, recompute, ..self.clone() }
    }

    /// Sequences in the whole batch, of which this one may be a share.
    #[must_use]
    pub fn whole_batch(&self) -> usize {
        self.share.map_or(self.batch, |share| share.whole)
    }

    /// The rows of all time steps, with their places in the whole batch.
    pub(crate) fn rows(&self) -> Rows {
        self.share.map_or(Rows::whole(0), |Share { first, whole }| Rows {
            first: 0,
            batch: self.batch as u32,
            besides: (whole - self.batch) as u32,
            before: first as u32,
        })
    }

    /// The same for a rank's share of each batch; `None` where it has none.
    #[must_use]
    pub fn for_rank(&self, rank: usize, size: usize) -> Option<Config> {
        let own = share(self.batch, rank, size);
        let config = Config { batch: own.len(), share: Some(Share { first: own.start, whole: self.batch }), ..self.clone() };
        (!own.is_empty()).then_some(config)
    }

    /// The number of parameters that are trained.
    #[must_use]
    pub fn parameters(&self) -> usize {
        parameters::trained(self)
    }
}
