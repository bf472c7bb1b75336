//! The network and its gradient in f64, straight from the equations: the oracle that everything else is measured against.
//!
//! It shares nothing with the programs and kernels of this crate, on purpose: it has its own cells, its own activations and its own
//! order of work, and takes only the [`Batch`]. So a program that forgets a path of the gradient disagrees with it, even where CPU and
//! GPU agree with each other. It is itself held against central finite differences and against PyTorch.
//!
//! # The network
//!
//! Layer `k` of `K` reads `x⁰_t = x_t` (a token is a one-hot vector) or the states of the layer below, `x^k_t = h^{k-1}_t`. Its two
//! sums and its cell's states are, with `s = (h)` or `s = (h, c)`:
//!
//! ```text
//! u^k_t = U^k·x^k_t + b_ih^k        w^k_t = W^k·h^k_{t-1} + b_hh^k
//! s^k_t = cell(u^k_t, w^k_t, s^k_{t-1})                          t = 1 … T,  s^k_0 given
//! o_t   = V·h^{K-1}_t + c
//! L     = Σ_{t,b} m_{t,b}·ℓ(o_{t,b}, y_{t,b}),   m = mask (sum), or mask / number that count (mean)
//! ```
//!
//! ℓ is the cross-entropy `−ln softmax(o)_y = ln Σ_j e^{o_j} − o_y`, or the squared error `(1/O)·Σ_j (o_j − y_j)²`.
//!
//! A cell is pointwise: unit `j` reads its own states before and its own rows of both sums, one row a gate. So its equations are those of
//! one unit, [`Cell::forward`] and [`Cell::backward`], and each cell's file derives them.
//!
//! # The gradient
//!
//! The loss sees `h^k_t` in up to three places: above it, as the input of layer `k+1` (or of the decoder) at the same step; after it,
//! through the recurrent weight of its own layer; and after it, straight in the equations of its own unit. From `t = T` down, with
//! nothing from after the last step, and from the top layer down:
//!
//! ```text
//! ∂L/∂h^k_t = (U^{k+1})ᵀ·∂L/∂u^{k+1}_t + (W^k)ᵀ·∂L/∂w^k_{t+1} + (straight, from the cell at t+1)
//!             (top layer: Vᵀ·∂L/∂o_t in the place of the first term)
//! (∂L/∂u^k_t, ∂L/∂w^k_t, straight to s^k_{t-1}) = the cell's backward of ∂L/∂s^k_t
//! ```
//!
//! and the same recursion's last result is the gradient by the initial states. A state other than `h` has the third term alone.
//!
//! The weights are the same at every step, so their gradients are sums over the steps:
//!
//! ```text
//! ∂L/∂U^k = Σ_t ∂L/∂u^k_t·(x^k_t)ᵀ    ∂L/∂W^k = Σ_t ∂L/∂w^k_t·(h^k_{t-1})ᵀ
//! ∂L/∂b_ih^k = Σ_t ∂L/∂u^k_t          ∂L/∂b_hh^k = Σ_t ∂L/∂w^k_t
//! ∂L/∂V   = Σ_t ∂L/∂o_t·(h^{K-1}_t)ᵀ   ∂L/∂c   = Σ_t ∂L/∂o_t
//! ∂ℓ/∂o   = softmax(o) − onehot(y)   or   (2/O)·(o − y)
//! ```
//!
//! With dropout (Srivastava et al. 2014) what is read of a layer's outputs is `m ⊙ h_t`, and what comes back by `m ⊙ h_t` is multiplied by `m`.
//!
//! In code a step of a batch is a row: `[T, B, ·]` is `[T·B, ·]`, all transposes are swapped, and every sum over the steps is one product.
//!
//! Sources: Werbos, *Backpropagation through time: what it does and how to do it* (1990); Pascanu, Mikolov and Bengio, *On the
//! difficulty of training recurrent neural networks* (2013); those of the cells are in their files.

mod activation;
mod cell;
mod dropout;
pub mod elman;
pub mod gru;
mod input;
mod layer;
pub mod leaky;
mod loss;
pub mod lstm;
mod weights;

use std::collections::BTreeMap;

use ndarray::{Array3, Axis, s, stack};

pub use activation::Activation;
pub use cell::{Cell, Unit, UnitGradient};
pub use dropout::Dropout;
pub use weights::{LayerWeights, Weights};

use crate::batch::{Batch, InitialState, Input, Inputs};
use crate::{Error, Result};
use input::LayerInput;
use layer::{Trajectory, in_steps, rows};

/// All cells, with tanh where there is a φ.
pub const CELLS: [Cell; 4] = [elman::CELL, leaky::CELL, gru::CELL, lstm::CELL];

/// Named states of a network or of a layer: `h`, and for lstm `c`.
pub type States = BTreeMap<String, Array3<f64>>;

/// What a forward pass computes.
#[derive(Debug, Clone, PartialEq)]
pub struct Forward {
    /// `L`.
    pub loss: f64,
    /// `o`, `[T, B, O]`: the logits, or the predicted values.
    pub outputs: Array3<f64>,
    /// The states of each layer, `[T+1, B, H]`; slot 0 is the initial state.
    pub states: Vec<States>,
}

/// The loss of a batch and its derivative by everything that it depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradient {
    /// `L`.
    pub loss: f64,
    /// `o`, `[T, B, O]`: the logits, or the predicted values.
    pub outputs: Array3<f64>,
    /// The derivative by each weight, of its shape.
    pub weights: Weights,
    /// The same sums over the steps with each term as its absolute value, `Σ_t |∂L/∂u_t|·|x_t|ᵀ` and so on: how large what was summed is,
    /// which is what roundings are measured against where a sum cancels.
    pub magnitudes: Weights,
    /// The derivative by the states before the first step, `[layers, B, H]`.
    pub initial_states: States,
    /// The states of each layer, `[T+1, B, H]`; slot 0 is the initial state.
    pub states: Vec<States>,
    /// The derivative by the states of each layer, `[T, B, H]`, slot `t-1` for step `t`: the whole sum over all paths. That by `c_t`
    /// has the path through `h_t` in it.
    pub d_states: Vec<States>,
}

/// The states after the last step, `[layers, B, H]`: what the next window begins with. `states` is [`Forward::states`].
///
/// # Panics
/// When there is no layer.
#[must_use]
pub fn last(states: &[States]) -> States {
    let of = |name: &String| {
        let all: Vec<_> = states.iter().map(|layer| layer[name].slice(s![-1, .., ..])).collect();
        (name.clone(), stack(Axis(0), &all).expect("layers of one shape"))
    };
    states[0].keys().map(of).collect()
}

/// What a batch says the states are before its first step, `[layers, B, H]`. [`InitialState::Carried`] counts as zero, since nothing
/// came before.
#[must_use]
pub fn initial(weights: &Weights, cell: &Cell, batch: &Batch) -> States {
    let zeros = || Array3::zeros((weights.layers.len(), batch.shape().1, weights.decoder.ncols()));
    match &batch.initial_state {
        InitialState::Given(given) => given.iter().map(|(name, state)| (name.clone(), state.mapv(f64::from))).collect(),
        InitialState::Zero | InitialState::Carried => cell.states.iter().map(|&name| (name.to_owned(), zeros())).collect(),
    }
}

/// The states, outputs and loss of one batch from its own initial states, which are those of [`initial`].
///
/// # Errors
/// [`Error::BadInput`] for a tensor of a wrong shape, a token or class out of range, an input that is not finite, an α out of range,
/// a state that is missing or that the cell does not have, or a mask with nothing in it.
pub fn forward(weights: &Weights, cell: &Cell, batch: &Batch) -> Result<Forward> {
    forward_from(weights, cell, batch, &initial(weights, cell, batch))
}

/// [`forward`] from other initial states than the batch's, `[layers, B, H]`, which may be any f64.
///
/// # Errors
/// As [`forward`].
pub fn forward_from(weights: &Weights, cell: &Cell, batch: &Batch, start: &States) -> Result<Forward> {
    forward_with(weights, cell, batch, start, &Dropout::NONE)
}

/// [`forward_from`] as in training, with dropout.
///
/// # Errors
/// As [`forward`].
pub fn forward_with(weights: &Weights, cell: &Cell, batch: &Batch, start: &States, dropout: &Dropout) -> Result<Forward> {
    check(weights, cell, batch, start)?;
    let (layers, read) = propagate(weights, cell, batch, start, dropout);
    let outputs = decode(weights, &read);
    let (loss, _) = loss::measure(&outputs, batch);
    Ok(Forward { loss, outputs, states: layers.into_iter().map(|layer| named(cell, layer.states)).collect() })
}

/// The loss of one batch and its derivative by every weight, every initial state and every state, by backpropagation through time,
/// from the batch's own initial states, which are those of [`initial`].
///
/// The recursion is in the [module's documentation](self).
///
/// # Errors
/// As [`forward`].
pub fn gradient(weights: &Weights, cell: &Cell, batch: &Batch) -> Result<Gradient> {
    gradient_from(weights, cell, batch, &initial(weights, cell, batch))
}

/// [`gradient`] from other initial states than the batch's, `[layers, B, H]`, which may be any f64.
///
/// # Errors
/// As [`forward`].
pub fn gradient_from(weights: &Weights, cell: &Cell, batch: &Batch, start: &States) -> Result<Gradient> {
    gradient_with(weights, cell, batch, start, &Dropout::NONE)
}

/// [`gradient_from`] as in training, with dropout.
///
/// # Errors
/// As [`forward`].
pub fn gradient_with(weights: &Weights, cell: &Cell, batch: &Batch, start: &States, dropout: &Dropout) -> Result<Gradient> {
    check(weights, cell, batch, start)?;
    let (layers, read) = propagate(weights, cell, batch, start, dropout);
    let outputs = decode(weights, &read);
    let (loss, d_outputs) = loss::measure(&outputs, batch);
    let sequences = batch.shape().1;
    let top = rows(read[read.len() - 1].view());

    let sizes = d_outputs.mapv(f64::abs);
    let mut d_weights =
        Weights { layers: Vec::new(), decoder: d_outputs.t().dot(&top), decoder_bias: d_outputs.sum_axis(Axis(0)) };
    let mut magnitudes =
        Weights { layers: Vec::new(), decoder: sizes.t().dot(&top.mapv(f64::abs)), decoder_bias: sizes.sum_axis(Axis(0)) };
    let mut initial_states = initial(weights, cell, &Batch { initial_state: InitialState::Zero, ..batch.clone() });
    let mut d_states = Vec::new();
    let mut from_above = in_steps(d_outputs.dot(&weights.decoder), sequences);
    for (k, layer) in weights.layers.iter().enumerate().rev() {
        if let Some(mask) = dropout.mask(k, weights.layers.len(), from_above.dim()) {
            from_above *= &mask;
        }
        let d = layer::backward(cell, layer, &layers[k], &from_above);
        for (name, d_initial) in cell.states.iter().zip(&d.initial_states) {
            initial_states.get_mut(*name).expect("a state of the cell").index_axis_mut(Axis(0), k).assign(d_initial);
        }
        let input = input_of(k, batch, &read);
        let (d_layer, sizes) = layer::d_weights(layer, &input, &layers[k], &d);
        d_weights.layers.insert(0, d_layer);
        magnitudes.layers.insert(0, sizes);
        from_above = in_steps(rows(d.input_sums.view()).dot(&layer.input), sequences);
        d_states.insert(0, named(cell, d.states));
    }
    let states = layers.into_iter().map(|layer| named(cell, layer.states)).collect();
    Ok(Gradient { loss, outputs, weights: d_weights, magnitudes, initial_states, states, d_states })
}

/// How near a sum of the network comes to a point where φ is not smooth, at any unit and step; infinite where φ is smooth everywhere.
/// A finite difference must not cross such a point.
///
/// # Errors
/// As [`forward`].
pub fn distance_from_kink(weights: &Weights, cell: &Cell, batch: &Batch, dropout: &Dropout) -> Result<f64> {
    let start = initial(weights, cell, batch);
    check(weights, cell, batch, &start)?;
    let kinks = cell.activation.map_or(&[][..], Activation::kinks);
    let (layers, _) = propagate(weights, cell, batch, &start, dropout);
    let sums = layers.iter().flat_map(|layer| layer.input_sums.iter().zip(&layer.recurrent_sums).map(|(u, w)| u + w));
    Ok(sums.flat_map(|sum| kinks.iter().map(move |kink| (sum - kink).abs())).fold(f64::INFINITY, f64::min))
}

/// Checks that weights, batch and states fit the cell and each other.
fn check(weights: &Weights, cell: &Cell, batch: &Batch, start: &States) -> Result<()> {
    let (size, hidden, outputs) = weights.check(cell)?;
    let input = match batch.inputs {
        Inputs::Tokens(_) => Input::Tokens(size),
        Inputs::Vectors(_) => Input::Vectors(size),
    };
    batch.check(input, outputs, weights.layers.len(), hidden, cell.states)?;
    let expected = [weights.layers.len(), batch.shape().1, hidden];
    for &name in cell.states {
        let state = start.get(name).ok_or_else(|| Error::input(format!("{name}0"), "it is missing"))?;
        if state.shape() != expected {
            return Err(Error::input(format!("{name}0"), format!("expected shape {expected:?}, got {:?}", state.shape())));
        }
    }
    Ok(())
}

/// All layers at all steps, the lowest first, and what is read of the outputs of each, `[T, B, H]`.
fn propagate(
    weights: &Weights,
    cell: &Cell,
    batch: &Batch,
    start: &States,
    dropout: &Dropout,
) -> (Vec<Trajectory>, Vec<Array3<f64>>) {
    let (mut layers, mut read) = (Vec::new(), Vec::new());
    for (k, layer) in weights.layers.iter().enumerate() {
        let initial: Vec<_> = cell.states.iter().map(|&name| start[name].index_axis(Axis(0), k)).collect();
        let computed = layer::forward(cell, layer, &input_of(k, batch, &read), &initial);
        let outputs = computed.states[0].slice(s![1.., .., ..]).to_owned();
        read.push(match dropout.mask(k, weights.layers.len(), outputs.dim()) {
            Some(mask) => outputs * mask,
            None => outputs,
        });
        layers.push(computed);
    }
    (layers, read)
}

/// `X` of layer `k`: the batch's inputs, or what is read of the outputs of the layer below.
fn input_of<'a>(k: usize, batch: &'a Batch, read: &'a [Array3<f64>]) -> LayerInput<'a> {
    match k.checked_sub(1) {
        None => LayerInput::of_batch(batch),
        Some(below) => LayerInput::Vectors(rows(read[below].view()).into()),
    }
}

/// `o_t = V·h_t + c`, `[T, B, O]`.
fn decode(weights: &Weights, read: &[Array3<f64>]) -> Array3<f64> {
    let top = read[read.len() - 1].view();
    let sequences = top.dim().1;
    in_steps(rows(top).dot(&weights.decoder.t()) + &weights.decoder_bias, sequences)
}

/// The states of a layer by name.
fn named(cell: &Cell, states: Vec<Array3<f64>>) -> States {
    cell.states.iter().map(|&name| name.to_owned()).zip(states).collect()
}
