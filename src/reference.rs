//! The network and its gradient in f64, straight from the equations: the oracle that everything else is measured against.
//!
//! It shares nothing with the programs and kernels of this crate, on purpose: it has its own cells, its own activations and its own
//! order of work, and takes only the [`Batch`]. So a program that forgets a path of the gradient disagrees with it, even where CPU and
//! GPU agree with each other. It is itself held against central finite differences and against PyTorch.
//!
//! # The network
//!
//! Layer `k` of `K` reads `x⁰_t = x_t` (a token is a one-hot vector, or where there is an embedding its row `E_v`) or the states of the layer below, `x^k_t = h^{k-1}_t`. Its two
//! sums and its cell's states are, with `s = (h)` or `s = (h, c)`:
//!
//! ```text
//! u^k_t = U^k·x^k_t + b_ih^k        w^k_t = W^k·h^k_{t-1} + b_hh^k
//! s^k_t = cell(u^k_t, w^k_t, s^k_{t-1})                          t = 1 … T,  s^k_0 given
//! o_t   = V·h^{K-1}_t + c
//! L     = Σ_{t,b} m_{t,b}·ℓ(o_{t,b}, y_{t,b}),   m = mask (sum), or mask / number that count (mean)
//! ```
//!
//! With two directions a layer is two of these, with weights of their own. The reverse one goes from `t = T` to 1, `s_t` from `s_{t+1}`,
//! and what is read of the layer is `(h_t, h'_t)`, those of the forward direction before those of the reverse one. A sequence may end before
//! `T`: from there on, in either direction, its states stay what they are, what is read of them is zero, and nothing of its inputs is read.
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
//! ∂L/∂E_v = Σ_{t: x_t = v} (U⁰)ᵀ·∂L/∂u⁰_t
//! ∂L/∂V   = Σ_t ∂L/∂o_t·(h^{K-1}_t)ᵀ   ∂L/∂c   = Σ_t ∂L/∂o_t
//! ∂ℓ/∂o   = softmax(o) − onehot(y)   or   (2/O)·(o − y)
//! ```
//!
//! With dropout (Srivastava et al. 2014) what is read of a layer's outputs is `m ⊙ h_t`, and what comes back by `m ⊙ h_t` is multiplied by `m`.
//!
//! In training `ξ` may be added to `u^k_t`, and to the loss `λ·Σ_k mean((h^k)²)`, whose gradient `(2λ/(T·B·H))·h^k_t` comes to `h^k_t` from
//! above; and with label smoothing `∂ℓ/∂o = softmax(o) − (1−ε)·onehot(y) − ε/O`. Where a recurrent weight has a mask `M` of zeros and
//! ones, `W = M ⊙ W`, and its gradient is `M ⊙ ∂L/∂W`.
//!
//! In code a step of a batch is a row: `[T, B, ·]` is `[T·B, ·]`, all transposes are swapped, and every sum over the steps is one product.
//!
//! Sources: Werbos, *Backpropagation through time: what it does and how to do it* (1990); Pascanu, Mikolov and Bengio, *On the
//! difficulty of training recurrent neural networks* (2013); those of the cells are in their files.

mod activation;
mod cell;
pub mod elman;
pub mod gru;
mod input;
mod layer;
pub mod leaky;
mod loss;
pub mod lstm;
mod regularization;
mod weights;

use std::collections::BTreeMap;

use ndarray::{Array2, Array3, Axis, concatenate, s, stack};

pub use activation::Activation;
pub use cell::{Cell, Unit, UnitGradient};
pub use regularization::Regularization;
pub use weights::{LayerWeights, Weights};

use crate::batch::{Batch, InitialState, Input, Inputs, Loss};
use crate::{Error, Result};
use input::LayerInput;
use layer::{Order, Trajectory, in_steps, rows};
use loss::Measured;

/// All cells, with tanh where there is a φ.
pub const CELLS: [Cell; 4] = [elman::CELL, leaky::CELL, gru::CELL, lstm::CELL];

/// Named states of a network or of a layer: `h`, and for lstm `c`.
pub type States = BTreeMap<String, Array3<f64>>;

/// What a forward pass computes.
#[derive(Debug, Clone, PartialEq)]
pub struct Forward {
    /// `L`.
    pub loss: f64,
    /// What the gradient in training is of besides: by [`Regularization::activity_l2`] and [`Regularization::label_smoothing`].
    pub penalty: f64,
    /// `o`, `[T, B, O]`: the logits, or the predicted values.
    pub outputs: Array3<f64>,
    /// The states of each layer and direction, `[T+1, B, H]`, in the order of computation; slot 0 is the initial state.
    pub states: Vec<States>,
    /// What is read of each layer, `[T, B, H·directions]`: its `h_t` by time, zero behind a sequence's end.
    pub hidden: Vec<Array3<f64>>,
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
    /// The derivative by the states before the first step, `[layers·directions, B, H]`.
    pub initial_states: States,
    /// The states of each layer and direction, `[T+1, B, H]`, in the order of computation; slot 0 is the initial state.
    pub states: Vec<States>,
    /// The derivative by these, `[T, B, H]`, slot `t-1` for the `t`-th step: the whole sum over all paths. That by `c_t`
    /// has the path through `h_t` in it.
    pub d_states: Vec<States>,
    /// What is read of each layer, `[T, B, H·directions]`: its `h_t` by time, zero behind a sequence's end.
    pub hidden: Vec<Array3<f64>>,
}

/// The states after the last step, `[layers·directions, B, H]`: what the next window begins with. `states` is [`Forward::states`].
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

/// What a batch says the states are before its first step, `[layers·directions, B, H]`. [`InitialState::Carried`] counts as zero, since nothing
/// came before.
#[must_use]
pub fn initial(weights: &Weights, cell: &Cell, batch: &Batch) -> States {
    let zeros = || Array3::zeros((weights.layers.len(), batch.shape().1, weights.decoder.ncols() / weights.directions()));
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

/// [`forward`] from other initial states than the batch's, `[layers·directions, B, H]`, which may be any f64.
///
/// # Errors
/// As [`forward`].
pub fn forward_from(weights: &Weights, cell: &Cell, batch: &Batch, start: &States) -> Result<Forward> {
    forward_with(weights, cell, batch, start, &batch.targets.kind().usual_loss(), &Regularization::NONE)
}

/// [`forward_from`] with a loss of its own, as in training.
///
/// # Errors
/// As [`forward`].
pub fn forward_with(
    weights: &Weights,
    cell: &Cell,
    batch: &Batch,
    start: &States,
    loss: &Loss,
    regularization: &Regularization,
) -> Result<Forward> {
    check(weights, cell, batch, start, loss)?;
    let Propagated { layers, hidden, read } = propagate(weights, cell, batch, start, regularization);
    let outputs = decode(weights, &read);
    let Measured { loss, smoothing, .. } = loss::measure(&outputs, batch, loss, regularization.label_smoothing);
    let penalty = smoothing + layers.iter().map(|layer| regularization.penalty(&layer.outputs)).sum::<f64>();
    Ok(Forward { loss, penalty, outputs, states: layers.into_iter().map(|layer| named(cell, layer.states)).collect(), hidden })
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

/// [`gradient`] from other initial states than the batch's, `[layers·directions, B, H]`, which may be any f64.
///
/// # Errors
/// As [`forward`].
pub fn gradient_from(weights: &Weights, cell: &Cell, batch: &Batch, start: &States) -> Result<Gradient> {
    gradient_with(weights, cell, batch, start, &batch.targets.kind().usual_loss(), &Regularization::NONE)
}

/// [`gradient_from`] with a loss of its own, as in training: the gradient is of the loss and of the penalty.
///
/// # Errors
/// As [`forward`].
pub fn gradient_with(
    weights: &Weights,
    cell: &Cell,
    batch: &Batch,
    start: &States,
    loss: &Loss,
    regularization: &Regularization,
) -> Result<Gradient> {
    check(weights, cell, batch, start, loss)?;
    let Propagated { layers, hidden, read } = propagate(weights, cell, batch, start, regularization);
    let outputs = decode(weights, &read);
    let Measured { loss, d_outputs, .. } = loss::measure(&outputs, batch, loss, regularization.label_smoothing);
    let sequences = batch.shape().1;
    let top = rows(read[read.len() - 1].view());

    let sizes = d_outputs.mapv(f64::abs);
    let of = |decoder, decoder_bias| Weights {
        embedding: None,
        layers: Vec::new(),
        bidirectional: weights.bidirectional,
        decoder,
        decoder_bias,
    };
    let mut d_weights = of(d_outputs.t().dot(&top), d_outputs.sum_axis(Axis(0)));
    let mut magnitudes = of(sizes.t().dot(&top.mapv(f64::abs)), sizes.sum_axis(Axis(0)));
    let mut initial_states = initial(weights, cell, &Batch { initial_state: InitialState::Zero, ..batch.clone() });
    let mut d_states = Vec::new();
    let mut from_above = in_steps(d_outputs.dot(&weights.decoder), sequences);
    for k in (0..hidden.len()).rev() {
        if let Some(mask) = regularization.mask(k, hidden.len(), from_above.dim()) {
            from_above *= &mask;
        }
        let input = input_of(k, weights, batch, &read);
        let mut to_below = Array2::zeros((0, 0));
        for (place, order) in places(weights, k, batch).into_iter().rev() {
            let (layer, computed) = (&weights.layers[place], &layers[place]);
            let size = computed.outputs.dim().2;
            let first = if order.reverse { size } else { 0 };
            let d_outputs = &from_above.slice(s![.., .., first..first + size]) + &regularization.d_penalty(&computed.outputs);
            let d = layer::backward(cell, layer, computed, d_outputs.view(), order);
            for (name, d_initial) in cell.states.iter().zip(&d.initial_states) {
                initial_states.get_mut(*name).expect("a state of the cell").index_axis_mut(Axis(0), place).assign(d_initial);
            }
            let (d_layer, sizes) = layer::d_weights(layer, &input, computed, &d, order);
            d_weights.layers.insert(0, d_layer);
            magnitudes.layers.insert(0, sizes);
            let through_this = rows(d.input_sums.view()).dot(&layer.input);
            to_below = if to_below.is_empty() { through_this } else { to_below + through_this };
            d_states.insert(0, named(cell, d.states));
        }
        from_above = in_steps(to_below, sequences);
    }
    if let Some(embedding) = &weights.embedding {
        let d_vectors = rows(from_above.view()).to_owned();
        let sum = |d: &Array2<f64>| LayerInput::of_batch(batch).d_weight(d, embedding.nrows()).reversed_axes();
        magnitudes.embedding = Some(sum(&d_vectors.mapv(f64::abs)));
        d_weights.embedding = Some(sum(&d_vectors));
    }
    let states = layers.into_iter().map(|layer| named(cell, layer.states)).collect();
    Ok(Gradient { loss, outputs, weights: d_weights, magnitudes, initial_states, states, d_states, hidden })
}

/// How near a sum of the network comes to a point where φ is not smooth, at any unit and step; infinite where φ is smooth everywhere.
/// A finite difference must not cross such a point.
///
/// # Errors
/// As [`forward`].
pub fn distance_from_kink(
    weights: &Weights,
    cell: &Cell,
    batch: &Batch,
    loss: &Loss,
    regularization: &Regularization,
) -> Result<f64> {
    let start = initial(weights, cell, batch);
    check(weights, cell, batch, &start, loss)?;
    let kinks = cell.activation.map_or(&[][..], Activation::kinks);
    let Propagated { layers, .. } = propagate(weights, cell, batch, &start, regularization);
    let sums = layers.iter().flat_map(|layer| layer.input_sums.iter().zip(&layer.recurrent_sums).map(|(u, w)| u + w));
    Ok(sums.flat_map(|sum| kinks.iter().map(move |kink| (sum - kink).abs())).fold(f64::INFINITY, f64::min))
}

/// Checks that weights, batch and states fit the cell and each other.
fn check(weights: &Weights, cell: &Cell, batch: &Batch, start: &States, loss: &Loss) -> Result<()> {
    let (size, hidden, outputs) = weights.check(cell)?;
    let input = match batch.inputs {
        Inputs::Tokens(_) => Input::Tokens(size),
        Inputs::Vectors(_) => Input::Vectors(size),
    };
    if let (Input::Vectors(_), Some(_)) = (input, &weights.embedding) {
        return Err(Error::input("inputs", "expected tokens: these weights embed them (encoder.weight)"));
    }
    batch.check(input, outputs / loss.outputs_per_target(), weights.layers.len(), hidden, cell.states)?;
    let expected = [weights.layers.len(), batch.shape().1, hidden];
    for &name in cell.states {
        let state = start.get(name).ok_or_else(|| Error::input(format!("{name}0"), "it is missing"))?;
        if state.shape() != expected {
            return Err(Error::input(format!("{name}0"), format!("expected shape {expected:?}, got {:?}", state.shape())));
        }
    }
    Ok(())
}

/// The directions of layer `k`: the place of each among all, and its order.
fn places<'a>(weights: &Weights, k: usize, batch: &'a Batch) -> Vec<(usize, Order<'a>)> {
    let directions = weights.directions();
    (0..directions).map(|d| (directions * k + d, Order { reverse: d == 1, batch })).collect()
}

/// What all layers compute at all steps.
struct Propagated {
    /// Of each direction of each layer, the lowest first.
    layers: Vec<Trajectory>,
    /// The outputs of each layer, `[T, B, H·directions]`.
    hidden: Vec<Array3<f64>>,
    /// What is read of them: without dropout the same.
    read: Vec<Array3<f64>>,
}

/// All layers and directions at all steps.
fn propagate(weights: &Weights, cell: &Cell, batch: &Batch, start: &States, regularization: &Regularization) -> Propagated {
    let (mut layers, mut hidden, mut read) = (Vec::new(), Vec::new(), Vec::new());
    let count = weights.layers.len() / weights.directions();
    for k in 0..count {
        let input = input_of(k, weights, batch, &read);
        let mut outputs = Vec::new();
        for (place, order) in places(weights, k, batch) {
            let initial: Vec<_> = cell.states.iter().map(|&name| start[name].index_axis(Axis(0), place)).collect();
            let layer = &weights.layers[place];
            let noise = regularization.noise(place, (batch.shape().0, batch.shape().1, layer.input.nrows()));
            let computed = layer::forward(cell, layer, &input, &initial, noise, order);
            outputs.push(computed.outputs.clone());
            layers.push(computed);
        }
        let outputs: Vec<_> = outputs.iter().map(|outputs: &Array3<f64>| outputs.view()).collect();
        let outputs = concatenate(Axis(2), &outputs).expect("directions of one shape").as_standard_layout().into_owned();
        read.push(match regularization.mask(k, count, outputs.dim()) {
            Some(mask) => &outputs * mask,
            None => outputs.clone(),
        });
        hidden.push(outputs);
    }
    Propagated { layers, hidden, read }
}

/// `X` of layer `k`: the batch's inputs, or their embedding, or what is read of the layer below.
fn input_of<'a>(k: usize, weights: &Weights, batch: &'a Batch, read: &[Array3<f64>]) -> LayerInput<'a> {
    match (k.checked_sub(1), &weights.embedding) {
        (None, None) => LayerInput::of_batch(batch),
        (None, Some(embedding)) => LayerInput::Vectors(LayerInput::of_batch(batch).rows_of(embedding).into()),
        (Some(below), _) => LayerInput::Vectors(rows(read[below].view()).to_owned().into()),
    }
}

/// `o_t = V·h_t + c`, `[T, B, O]`.
fn decode(weights: &Weights, read: &[Array3<f64>]) -> Array3<f64> {
    let top = &read[read.len() - 1];
    let sequences = top.dim().1;
    in_steps(rows(top.view()).dot(&weights.decoder.t()) + &weights.decoder_bias, sequences)
}

/// The states of a layer by name.
fn named(cell: &Cell, states: Vec<Array3<f64>>) -> States {
    cell.states.iter().map(|&name| name.to_owned()).zip(states).collect()
}
