//! The network and its gradient in f64, straight from the equations: the oracle that everything else is measured against.
//!
//! It shares nothing with the programs and kernels of this crate, on purpose: it has its own activations and its own order of
//! work, and takes only the [`Batch`]. So a program that forgets a path of the gradient disagrees with it, even where CPU and GPU
//! agree with each other. It is itself held against central finite differences and against PyTorch.
//!
//! # The network
//!
//! Layer `k` of `K` reads `x⁰_t = x_t` (a token is a one-hot vector) or the states of the layer below, `x^k_t = h^{k-1}_t`:
//!
//! ```text
//! a^k_t = U^k·x^k_t + W^k·h^k_{t-1} + b^k        h^k_t = φ(a^k_t)        t = 1 … T,  h^k_0 given
//! o_t   = V·h^{K-1}_t + c
//! L     = Σ_{t,b} m_{t,b}·ℓ(o_{t,b}, y_{t,b}),   m = mask (sum), or mask / number that count (mean)
//! ```
//!
//! ℓ is the cross-entropy `−ln softmax(o)_y = ln Σ_j e^{o_j} − o_y`, or the squared error `(1/O)·Σ_j (o_j − y_j)²`.
//!
//! # The gradient
//!
//! The loss sees `h^k_t` in up to two places: above it, as the input of layer `k+1` (or of the decoder) at the same step, and after it,
//! as the previous state of its own layer. With `δ^k_t = ∂L/∂a^k_t`, the chain rule over both is the recursion, from `t = T` down
//! with `δ^k_{T+1} = 0`, and from the top layer down:
//!
//! ```text
//! ∂L/∂h^k_t = (U^{k+1})ᵀ·δ^{k+1}_t + (W^k)ᵀ·δ^k_{t+1}        (top layer: Vᵀ·∂L/∂o_t in the place of the first term)
//! δ^k_t     = ∂L/∂h^k_t ⊙ φ'(a^k_t)
//! ∂L/∂h^k_0 = (W^k)ᵀ·δ^k_1
//! ```
//!
//! `U^k`, `W^k` and `b^k` are the same at every step, so their gradients are sums over the steps:
//!
//! ```text
//! ∂L/∂U^k = Σ_t δ^k_t·(x^k_t)ᵀ    ∂L/∂W^k = Σ_t δ^k_t·(h^k_{t-1})ᵀ    ∂L/∂b^k = Σ_t δ^k_t
//! ∂L/∂V   = Σ_t ∂L/∂o_t·(h^{K-1}_t)ᵀ                                   ∂L/∂c   = Σ_t ∂L/∂o_t
//! ∂ℓ/∂o   = softmax(o) − onehot(y)   or   (2/O)·(o − y)
//! ```
//!
//! In code a step of a batch is a row: `[T, B, ·]` is `[T·B, ·]`, all transposes are swapped, and every sum over the steps is one product.
//!
//! Sources: Elman, *Finding structure in time* (1990); Werbos, *Backpropagation through time: what it does and how to do it* (1990);
//! Pascanu, Mikolov and Bengio, *On the difficulty of training recurrent neural networks* (2013).

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, Array3, ArrayView2, ArrayView3, ArrayViewD, ArrayViewMutD, Axis, CowArray, Ix2, Zip, indices, s};

use crate::batch::{Batch, InitialState, Input, Inputs, Reduction, Targets};
use crate::{Error, Result};

/// `U`, `W` and `b` of one layer, `h_t = φ(U·x_t + W·h_{t-1} + b)`.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerWeights {
    /// `U`, `[H, I]` in the first layer and `[H, H]` above.
    pub input: Array2<f64>,
    /// `W`, `[H, H]`.
    pub recurrent: Array2<f64>,
    /// `b`, `[H]`: the sum of PyTorch's two biases.
    pub bias: Array1<f64>,
}

/// All weights of a network, or the gradient by each of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// The layers, the one that reads the input first.
    pub layers: Vec<LayerWeights>,
    /// `V`, `[O, H]`.
    pub decoder: Array2<f64>,
    /// `c`, `[O]`.
    pub decoder_bias: Array1<f64>,
}

/// What a forward pass computes: `h_t = φ(U·x_t + W·h_{t-1} + b)`, `o_t = V·h_t + c` and the loss.
#[derive(Debug, Clone, PartialEq)]
pub struct Forward {
    /// `L`.
    pub loss: f64,
    /// `o`, `[T, B, O]`: the logits, or the predicted values.
    pub outputs: Array3<f64>,
    /// `h` of each layer, `[T+1, B, H]`; slot 0 is the initial state.
    pub hidden: Vec<Array3<f64>>,
}

/// The loss of a batch and its derivative by everything that it depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradient {
    /// `L`.
    pub loss: f64,
    /// `o`, `[T, B, O]`: the logits, or the predicted values.
    pub outputs: Array3<f64>,
    /// `∂L/∂U`, `∂L/∂W`, `∂L/∂b` of each layer, `∂L/∂V` and `∂L/∂c`, each of its weight's shape.
    pub weights: Weights,
    /// The same sums over the steps with each term as its absolute value, `Σ_t |δ_t|·|x_t|ᵀ` and so on: how large what was summed is,
    /// which is what roundings are measured against where a sum cancels.
    pub magnitudes: Weights,
    /// `∂L/∂h_0`, `[layers, B, H]`.
    pub initial_state: Array3<f64>,
    /// `h` of each layer, `[T+1, B, H]`; slot 0 is the initial state.
    pub hidden: Vec<Array3<f64>>,
    /// `∂L/∂h_t` of each layer, `[T, B, H]`, slot `t-1` for step `t`: the whole sum over both paths, before `φ'`.
    pub d_hidden: Vec<Array3<f64>>,
}

impl Weights {
    /// Every tensor under PyTorch's name for it, `rnn.weight_ih_l0` first and `decoder.bias` last; `b` is `rnn.bias_ih_l{k}`.
    #[must_use]
    pub fn tensors(&self) -> Vec<(String, ArrayViewD<'_, f64>)> {
        let mut all = Vec::new();
        for LayerWeights { input, recurrent, bias } in &self.layers {
            all.extend([input.view().into_dyn(), recurrent.view().into_dyn(), bias.view().into_dyn()]);
        }
        all.extend([self.decoder.view().into_dyn(), self.decoder_bias.view().into_dyn()]);
        names(self.layers.len()).zip(all).collect()
    }

    /// The same tensors in the same order, to be changed.
    pub fn tensors_mut(&mut self) -> Vec<(String, ArrayViewMutD<'_, f64>)> {
        let names = names(self.layers.len());
        let mut all = Vec::new();
        for LayerWeights { input, recurrent, bias } in &mut self.layers {
            all.extend([input.view_mut().into_dyn(), recurrent.view_mut().into_dyn(), bias.view_mut().into_dyn()]);
        }
        all.extend([self.decoder.view_mut().into_dyn(), self.decoder_bias.view_mut().into_dyn()]);
        names.zip(all).collect()
    }

    /// Checks that the shapes fit together: the hidden size is that of the first `W`, the input's that of the first `U`.
    fn check(&self, batch: &Batch) -> Result<()> {
        let first = self.layers.first().ok_or_else(|| Error::input("weights", "a network has at least one layer"))?;
        let (hidden, size, outputs) = (first.recurrent.nrows(), first.input.ncols(), self.decoder.nrows());
        for (k, (name, tensor)) in self.tensors().into_iter().enumerate() {
            let expected = match (k / 3 == self.layers.len(), k % 3) {
                (false, 0) => vec![hidden, if k == 0 { size } else { hidden }],
                (false, 1) => vec![hidden, hidden],
                (false, _) => vec![hidden],
                (true, 0) => vec![outputs, hidden],
                (true, _) => vec![outputs],
            };
            if tensor.shape() != expected {
                return Err(Error::input(name, format!("expected shape {expected:?}, got {:?}", tensor.shape())));
            }
        }
        let input = match batch.inputs {
            Inputs::Tokens(_) => Input::Tokens(size),
            Inputs::Vectors(_) => Input::Vectors(size),
        };
        batch.check(input, outputs, self.layers.len(), hidden)
    }
}

fn names(layers: usize) -> impl Iterator<Item = String> {
    let layer = |k| ["weight_ih", "weight_hh", "bias_ih"].map(|name| format!("rnn.{name}_l{k}"));
    (0..layers).flat_map(layer).chain(["decoder.weight".into(), "decoder.bias".into()])
}

/// φ, and φ' as a function of φ's value.
#[derive(Clone, Copy)]
enum Activation {
    Tanh,
    Sigmoid,
    Relu,
    Identity,
}

impl Activation {
    fn named(name: &str) -> Result<Activation> {
        match name {
            "tanh" => Ok(Activation::Tanh),
            "sigmoid" => Ok(Activation::Sigmoid),
            "relu" => Ok(Activation::Relu),
            "identity" => Ok(Activation::Identity),
            _ => Err(Error::Usage(format!("there is no activation \"{name}\"; there are tanh, sigmoid, relu and identity"))),
        }
    }

    fn value(self, a: f64) -> f64 {
        match self {
            Activation::Tanh => a.tanh(),
            Activation::Sigmoid => 1.0 / (1.0 + (-a).exp()),
            // Not `a.max(0.0)`, which would turn NaN into 0.
            Activation::Relu if a <= 0.0 => 0.0,
            Activation::Relu | Activation::Identity => a,
        }
    }

    fn derivative(self, h: f64) -> f64 {
        match self {
            Activation::Tanh => (1.0 - h) * (1.0 + h),
            Activation::Sigmoid => h * (1.0 - h),
            Activation::Relu => f64::from(h > 0.0),
            Activation::Identity => 1.0,
        }
    }
}

/// The hidden states, outputs and loss of one batch; [`InitialState::Carried`] counts as zero, since nothing came before.
///
/// # Errors
/// [`Error::Usage`] for an activation other than `tanh`, `sigmoid`, `relu` and `identity`; [`Error::BadInput`] for a tensor of a
/// wrong shape, a token or class out of range, an input that is not finite, or a mask with nothing in it.
pub fn forward(weights: &Weights, activation: &str, batch: &Batch) -> Result<Forward> {
    weights.check(batch)?;
    let (hidden, outputs) = propagate(weights, Activation::named(activation)?, batch);
    let (loss, _) = measure(&outputs, batch);
    Ok(Forward { loss, outputs, hidden })
}

/// The loss of one batch and `∂L/∂θ` for every weight, the initial state and every hidden state, by backpropagation through time.
///
/// The recursion is in the [module's documentation](self). [`InitialState::Carried`] counts as zero, since nothing came before.
///
/// # Errors
/// As [`forward`].
pub fn gradient(weights: &Weights, activation: &str, batch: &Batch) -> Result<Gradient> {
    weights.check(batch)?;
    let phi = Activation::named(activation)?;
    let (hidden, outputs) = propagate(weights, phi, batch);
    let (loss, d_outputs) = measure(&outputs, batch);
    let (steps, sequences) = batch.shape();
    let top = rows(hidden[hidden.len() - 1].slice(s![1.., .., ..]));

    let decoder = d_outputs.t().dot(&top);
    let decoder_bias = d_outputs.sum_axis(Axis(0));
    let sizes = d_outputs.mapv(f64::abs);
    let (decoder_size, decoder_bias_size) = (sizes.t().dot(&top.mapv(f64::abs)), sizes.sum_axis(Axis(0)));
    let mut initial_state = Array3::zeros((hidden.len(), sequences, top.ncols()));
    let mut d_hidden = Vec::new();
    let (mut layers, mut layer_sizes) = (Vec::new(), Vec::new());
    // ∂L/∂ of the sums above, and the matrix through which they read this layer's states: the decoder's at first.
    let mut above = (d_outputs, &weights.decoder);
    for (k, layer) in weights.layers.iter().enumerate().rev() {
        let mut d_states = states(above.0.dot(above.1), sequences);
        let mut d_sums = Array3::zeros(d_states.dim());
        let mut d_next = Array2::zeros((sequences, top.ncols()));
        for t in (0..steps).rev() {
            let mut d_state = d_states.index_axis_mut(Axis(0), t);
            general_mat_mul(1.0, &d_next, &layer.recurrent, 1.0, &mut d_state);
            let state = hidden[k].index_axis(Axis(0), t + 1);
            Zip::from(&mut d_next).and(d_state).and(state).for_each(|d, &mut d_h, &h| *d = d_h * phi.derivative(h));
            d_sums.index_axis_mut(Axis(0), t).assign(&d_next);
        }
        initial_state.index_axis_mut(Axis(0), k).assign(&d_next.dot(&layer.recurrent));

        let d_sums = rows(d_sums.view()).to_owned();
        let (input, before) = (LayerInput::of(k, batch, &hidden), rows(hidden[k].slice(s![..steps, .., ..])));
        let of = |d_sums: &Array2<f64>, input: &LayerInput, before: ArrayView2<f64>| LayerWeights {
            input: input.d_weight(d_sums, layer.input.ncols()),
            recurrent: d_sums.t().dot(&before),
            bias: d_sums.sum_axis(Axis(0)),
        };
        layers.push(of(&d_sums, &input, before));
        layer_sizes.push(of(&d_sums.mapv(f64::abs), &input.magnitudes(), before.mapv(f64::abs).view()));
        d_hidden.push(d_states);
        above = (d_sums, &layer.input);
    }
    layers.reverse();
    layer_sizes.reverse();
    d_hidden.reverse();
    let weights = Weights { layers, decoder, decoder_bias };
    let magnitudes = Weights { layers: layer_sizes, decoder: decoder_size, decoder_bias: decoder_bias_size };
    Ok(Gradient { loss, outputs, weights, magnitudes, initial_state, hidden, d_hidden })
}

/// `h^k_t = φ(U·x_t + W·h_{t-1} + b)` for all layers and steps, and `o_t = V·h_t + c`.
fn propagate(weights: &Weights, phi: Activation, batch: &Batch) -> (Vec<Array3<f64>>, Array3<f64>) {
    let (steps, sequences) = batch.shape();
    let mut hidden = Vec::new();
    for (k, layer) in weights.layers.iter().enumerate() {
        let mut all = Array3::zeros((steps + 1, sequences, layer.bias.len()));
        if let InitialState::Given(given) = &batch.initial_state {
            all.index_axis_mut(Axis(0), 0).assign(&given.index_axis(Axis(0), k).mapv(f64::from));
        }
        let sums = LayerInput::of(k, batch, &hidden).times(&layer.input) + &layer.bias;
        all.slice_mut(s![1.., .., ..]).assign(&states(sums, sequences));
        for t in 1..=steps {
            let (before, mut from) = all.view_mut().split_at(Axis(0), t);
            let mut state = from.index_axis_mut(Axis(0), 0);
            general_mat_mul(1.0, &before.index_axis(Axis(0), t - 1), &layer.recurrent.t(), 1.0, &mut state);
            state.mapv_inplace(|a| phi.value(a));
        }
        hidden.push(all);
    }
    let top = rows(hidden[hidden.len() - 1].slice(s![1.., .., ..]));
    let outputs = states(top.dot(&weights.decoder.t()) + &weights.decoder_bias, sequences);
    (hidden, outputs)
}

/// `L` and `∂L/∂o`, `[T·B, O]`. An output that does not count is not looked at, so that not even NaN gets out of it.
fn measure(outputs: &Array3<f64>, batch: &Batch) -> (f64, Array2<f64>) {
    let scale = match batch.reduction {
        Reduction::Mean => 1.0 / batch.counted() as f64,
        Reduction::Sum => 1.0,
    };
    let mut loss = 0.0;
    let mut d_outputs = Array3::zeros(outputs.dim());
    for at in indices(batch.shape()) {
        if batch.mask.as_ref().is_some_and(|mask| mask[at] == 0.0) {
            continue;
        }
        let output = outputs.slice(s![at.0, at.1, ..]);
        let mut d_output = d_outputs.slice_mut(s![at.0, at.1, ..]);
        match &batch.targets {
            Targets::Classes(classes) => {
                let class = classes[at] as usize;
                // Relative to the largest logit no exponential overflows, and their sum is at least 1.
                let largest = output.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
                let log_sum = output.fold(0.0, |sum, &o| sum + (o - largest).exp()).ln();
                loss += log_sum - (output[class] - largest);
                d_output.assign(&output.mapv(|o| (o - largest - log_sum).exp()));
                d_output[class] -= 1.0;
            }
            Targets::Values(values) => {
                let width = output.len() as f64;
                let error = &output - &values.slice(s![at.0, at.1, ..]).mapv(f64::from);
                loss += error.dot(&error) / width;
                d_output.assign(&(error * (2.0 / width)));
            }
        }
    }
    (loss * scale, rows((d_outputs * scale).view()).to_owned())
}

/// `X`, `[T·B, ·]`: what a layer reads at all steps.
enum LayerInput<'a> {
    Tokens(&'a Array2<u32>),
    Vectors(CowArray<'a, f64, Ix2>),
}

impl<'a> LayerInput<'a> {
    fn of(k: usize, batch: &'a Batch, hidden: &'a [Array3<f64>]) -> Self {
        match (&batch.inputs, k) {
            (Inputs::Tokens(tokens), 0) => Self::Tokens(tokens),
            (Inputs::Vectors(vectors), 0) => {
                Self::Vectors(rows(vectors.as_standard_layout().mapv(f64::from).view()).to_owned().into())
            }
            _ => Self::Vectors(rows(hidden[k - 1].slice(s![1.., .., ..])).into()),
        }
    }

    /// `|X|`.
    fn magnitudes(&self) -> LayerInput<'a> {
        match self {
            Self::Tokens(tokens) => Self::Tokens(tokens),
            Self::Vectors(vectors) => Self::Vectors(vectors.mapv(f64::abs).into()),
        }
    }

    /// `X·Uᵀ`; a token picks a column of `U`.
    fn times(&self, weight: &Array2<f64>) -> Array2<f64> {
        match self {
            Self::Tokens(tokens) => {
                let columns: Vec<usize> = tokens.iter().map(|&token| token as usize).collect();
                weight.t().select(Axis(0), &columns)
            }
            Self::Vectors(vectors) => vectors.dot(&weight.t()),
        }
    }

    /// `∂L/∂U = Σ_t δ_t·x_tᵀ = Dᵀ·X`, `[H, size]`; a token's column is the sum of `δ_t` over the steps at which it was read.
    fn d_weight(&self, d_sums: &Array2<f64>, size: usize) -> Array2<f64> {
        match self {
            Self::Tokens(tokens) => {
                let mut transposed = Array2::zeros((size, d_sums.ncols()));
                for (&token, d_sum) in tokens.iter().zip(d_sums.rows()) {
                    let mut row = transposed.row_mut(token as usize);
                    row += &d_sum;
                }
                transposed.t().as_standard_layout().into_owned()
            }
            Self::Vectors(vectors) => d_sums.t().dot(vectors),
        }
    }
}

/// `[T, B, ·]` as `[T·B, ·]`.
fn rows(states: ArrayView3<'_, f64>) -> ArrayView2<'_, f64> {
    let (steps, sequences, size) = states.dim();
    states.into_shape_with_order((steps * sequences, size)).expect("whole steps are contiguous")
}

/// `[T·B, ·]` as `[T, B, ·]`.
fn states(rows: Array2<f64>, sequences: usize) -> Array3<f64> {
    let shape = (rows.nrows() / sequences, sequences, rows.ncols());
    // A product of two matrices with one column or row may come out column-major.
    let rows = rows.as_standard_layout().into_owned();
    rows.into_shape_with_order(shape).expect("the rows are whole steps")
}
