//! The network as plain loops over single numbers: its loss, finite differences of that loss, and its gradient, right or with a fault.
//!
//! Nothing here knows a matrix product, so that it can share no mistake with `reference`.

use std::collections::BTreeMap;

use ndarray::{Array1, Array2, Array3, Array4, ArrayD, ArrayViewMutD};
use retrospect::batch::{Batch, InitialState, Inputs, Reduction, Targets};
use retrospect::reference::Weights;

/// Everything that the loss depends on, in f64, so that each number can be moved by 1e-5.
pub struct Problem {
    activation: &'static str,
    weights: Weights,
    h0: Array3<f64>,
    /// Added to each `h_t`, and zero: `∂L/∂h_t` is the derivative by it. `[layers, T, B, H]`.
    nudge: Array4<f64>,
    /// A token is its one-hot vector.
    inputs: Array3<f64>,
    targets: Targets,
    mask: Array2<f64>,
    reduction: Reduction,
}

/// What the loops computed on the way to the loss.
pub struct Pass {
    pub loss: f64,
    pub outputs: Array3<f64>,
    /// `a = U·x_t + W·h_{t-1} + b`, `[layers, T, B, H]`.
    pub sums: Array4<f64>,
    /// `[layers, T+1, B, H]`.
    hidden: Array4<f64>,
}

/// A mistake that a program could make without its loss looking wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    None,
    /// `∂L/∂W` from `h_t` instead of `h_{t-1}`.
    StateShifted,
    /// `∂L/∂U` from the input of the step before.
    InputShifted,
    /// No gradient from `h_t` to `h_{t-1}`.
    TimePathLost,
    /// `W` where `Wᵀ` belongs, on the way from `h_t` to `h_{t-1}`.
    TimePathTransposed,
    /// No gradient from a layer to the one below.
    LayerPathLost,
    /// No gradient to the initial state.
    InitialStateLost,
    /// Outputs that do not count count in the gradient.
    MaskIgnored,
    /// A mean over all outputs instead of those that count.
    MeanOverAll,
}

impl Problem {
    pub fn new(weights: &Weights, activation: &'static str, batch: &Batch) -> Problem {
        let (steps, sequences) = batch.shape();
        let (layers, hidden) = (weights.layers.len(), weights.decoder.ncols());
        let inputs = match &batch.inputs {
            Inputs::Vectors(x) => x.mapv(f64::from),
            Inputs::Tokens(x) => {
                let size = weights.layers[0].input.ncols();
                Array3::from_shape_fn((steps, sequences, size), |(t, b, i)| f64::from(u8::from(x[[t, b]] as usize == i)))
            }
        };
        Problem {
            activation,
            weights: weights.clone(),
            h0: match &batch.initial_state {
                InitialState::Given(states) => states["h"].mapv(f64::from),
                _ => Array3::zeros((layers, sequences, hidden)),
            },
            nudge: Array4::zeros((layers, steps, sequences, hidden)),
            inputs,
            targets: batch.targets.clone(),
            mask: batch.mask.as_ref().map_or_else(|| Array2::ones((steps, sequences)), |m| m.mapv(f64::from)),
            reduction: batch.reduction,
        }
    }

    /// The weight of an output that counts.
    fn scale(&self) -> f64 {
        if self.reduction == Reduction::Mean { 1.0 / self.mask.sum() } else { 1.0 }
    }

    pub fn forward(&self) -> Pass {
        let (steps, sequences, _) = self.inputs.dim();
        let (outputs, size) = self.weights.decoder.dim();
        let layers = self.weights.layers.len();
        let mut pass = Pass {
            loss: 0.0,
            outputs: Array3::zeros((steps, sequences, outputs)),
            sums: Array4::zeros((layers, steps, sequences, size)),
            hidden: Array4::zeros((layers, steps + 1, sequences, size)),
        };
        for b in 0..sequences {
            for t in 0..=steps {
                for k in 0..layers {
                    for i in 0..size {
                        if t == 0 {
                            pass.hidden[[k, 0, b, i]] = self.h0[[k, b, i]];
                            continue;
                        }
                        let layer = &self.weights.layers[k];
                        let mut a = layer.input_bias[i] + layer.recurrent_bias[i];
                        for j in 0..layer.input.ncols() {
                            let x = if k == 0 { self.inputs[[t - 1, b, j]] } else { pass.hidden[[k - 1, t, b, j]] };
                            a += layer.input[[i, j]] * x;
                        }
                        for j in 0..size {
                            a += layer.recurrent[[i, j]] * pass.hidden[[k, t - 1, b, j]];
                        }
                        pass.sums[[k, t - 1, b, i]] = a;
                        pass.hidden[[k, t, b, i]] = self.phi(a) + self.nudge[[k, t - 1, b, i]];
                    }
                }
            }
            for t in 0..steps {
                for o in 0..outputs {
                    pass.outputs[[t, b, o]] = self.weights.decoder_bias[o];
                    for i in 0..size {
                        pass.outputs[[t, b, o]] += self.weights.decoder[[o, i]] * pass.hidden[[layers - 1, t + 1, b, i]];
                    }
                }
                let mut loss = 0.0;
                match &self.targets {
                    Targets::Classes(y) => {
                        let sum: f64 = (0..outputs).map(|o| pass.outputs[[t, b, o]].exp()).sum();
                        loss -= (pass.outputs[[t, b, y[[t, b]] as usize]].exp() / sum).ln();
                    }
                    Targets::Values(y) => {
                        for o in 0..outputs {
                            loss += (pass.outputs[[t, b, o]] - f64::from(y[[t, b, o]])).powi(2) / outputs as f64;
                        }
                    }
                }
                pass.loss += self.mask[[t, b]] * self.scale() * loss;
            }
        }
        pass
    }

    /// `(L(θ + ε) − L(θ − ε)) / 2ε` for every number θ of every weight, of `h0` and of every hidden state; ε = 1e-5.
    pub fn differences(&mut self) -> BTreeMap<String, ArrayD<f64>> {
        const STEP: f64 = 1e-5;
        let empty: Vec<_> = self.tensors_mut().into_iter().map(|(name, t)| (name, ArrayD::zeros(t.shape()))).collect();
        let mut found = BTreeMap::new();
        for (n, (name, mut derivative)) in empty.into_iter().enumerate() {
            for (i, d) in derivative.iter_mut().enumerate() {
                let before = self.number(n, i, None);
                self.number(n, i, Some(before + STEP));
                let above = self.forward().loss;
                self.number(n, i, Some(before - STEP));
                let below = self.forward().loss;
                self.number(n, i, Some(before));
                *d = (above - below) / (2.0 * STEP);
            }
            found.insert(name, derivative);
        }
        found
    }

    fn tensors_mut(&mut self) -> Vec<(String, ArrayViewMutD<'_, f64>)> {
        let mut all = self.weights.tensors_mut();
        all.push(("h0".into(), self.h0.view_mut().into_dyn()));
        all.push(("d_h".into(), self.nudge.view_mut().into_dyn()));
        all
    }

    /// The `i`-th number of the `n`-th tensor, and what it becomes.
    fn number(&mut self, n: usize, i: usize, becomes: Option<f64>) -> f64 {
        let (_, mut tensor) = self.tensors_mut().swap_remove(n);
        let value = tensor.iter_mut().nth(i).expect("an element");
        let before = *value;
        *value = becomes.unwrap_or(before);
        before
    }

    /// The gradient under the names of [`Problem::differences`], by the chain rule number by number, with one mistake.
    pub fn gradient(&self, fault: Fault) -> BTreeMap<String, ArrayD<f64>> {
        let pass = self.forward();
        let (layers, steps, sequences, size) = self.nudge.dim();
        let mut d = self.weights.clone();
        d.tensors_mut().into_iter().for_each(|(_, mut t)| t.fill(0.0));
        let mut d_h0 = Array3::<f64>::zeros(self.h0.dim());
        let mut d_hidden = Array4::<f64>::zeros(self.nudge.dim());
        for b in 0..sequences {
            for t in (0..steps).rev() {
                for (o, d_o) in self.d_output(&pass, t, b, fault).indexed_iter() {
                    d.decoder_bias[o] += d_o;
                    for i in 0..size {
                        d.decoder[[o, i]] += d_o * pass.hidden[[layers - 1, t + 1, b, i]];
                        d_hidden[[layers - 1, t, b, i]] += d_o * self.weights.decoder[[o, i]];
                    }
                }
                for k in (0..layers).rev() {
                    let (layer, d_layer) = (&self.weights.layers[k], &mut d.layers[k]);
                    for i in 0..size {
                        let d_a = d_hidden[[k, t, b, i]] * self.phi_derivative(pass.sums[[k, t, b, i]]);
                        d_layer.input_bias[i] += d_a;
                        d_layer.recurrent_bias[i] += d_a;
                        for j in 0..layer.input.ncols() {
                            let s = if fault == Fault::InputShifted { t.saturating_sub(1) } else { t };
                            let x = if k == 0 { self.inputs[[s, b, j]] } else { pass.hidden[[k - 1, s + 1, b, j]] };
                            d_layer.input[[i, j]] += d_a * x;
                            if k > 0 && fault != Fault::LayerPathLost {
                                d_hidden[[k - 1, t, b, j]] += d_a * layer.input[[i, j]];
                            }
                        }
                        for j in 0..size {
                            let s = if fault == Fault::StateShifted { t + 1 } else { t };
                            d_layer.recurrent[[i, j]] += d_a * pass.hidden[[k, s, b, j]];
                            let w = layer.recurrent[if fault == Fault::TimePathTransposed { [j, i] } else { [i, j] }];
                            if t > 0 && fault != Fault::TimePathLost {
                                d_hidden[[k, t - 1, b, j]] += d_a * w;
                            } else if t == 0 && fault != Fault::InitialStateLost {
                                d_h0[[k, b, j]] += d_a * w;
                            }
                        }
                    }
                }
            }
        }
        let mut all: BTreeMap<_, _> = d.tensors().into_iter().map(|(name, t)| (name, t.to_owned())).collect();
        all.insert("h0".into(), d_h0.into_dyn());
        all.insert("d_h".into(), d_hidden.into_dyn());
        all
    }

    fn d_output(&self, pass: &Pass, t: usize, b: usize, fault: Fault) -> Array1<f64> {
        let counts = if fault == Fault::MaskIgnored { 1.0 } else { self.mask[[t, b]] };
        let scale = if fault == Fault::MeanOverAll { 1.0 / self.mask.len() as f64 } else { self.scale() };
        let width = pass.outputs.dim().2;
        let sum: f64 = (0..width).map(|o| pass.outputs[[t, b, o]].exp()).sum();
        Array1::from_shape_fn(width, |o| {
            let output = pass.outputs[[t, b, o]];
            counts
                * scale
                * match &self.targets {
                    Targets::Classes(y) => output.exp() / sum - f64::from(u8::from(y[[t, b]] as usize == o)),
                    Targets::Values(y) => 2.0 * (output - f64::from(y[[t, b, o]])) / width as f64,
                }
        })
    }

    fn phi(&self, a: f64) -> f64 {
        match self.activation {
            "tanh" => 1.0 - 2.0 / ((2.0 * a).exp() + 1.0),
            "sigmoid" => (1.0 + (a / 2.0).tanh()) / 2.0,
            "relu" => a.max(0.0),
            "identity" => a,
            other => panic!("{other}"),
        }
    }

    fn phi_derivative(&self, a: f64) -> f64 {
        match self.activation {
            "tanh" => a.cosh().powi(-2),
            "sigmoid" => (a / 2.0).cosh().powi(-2) / 4.0,
            "relu" => a.signum().max(0.0),
            "identity" => 1.0,
            other => panic!("{other}"),
        }
    }
}
