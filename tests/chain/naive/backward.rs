//! The gradient of a network of Elman's cells number by number, right or with one mistake.

use std::collections::BTreeMap;

use ndarray::{Array1, Array3, Array4, ArrayD};
use retrospect::batch::Targets;
use retrospect::reference::Activation;

use super::{Pass, Problem};

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
    /// The gradient under the names of [`Problem::differences`], of Elman's cell, by the chain rule number by number, with one mistake.
    pub fn gradient(&self, fault: Fault) -> BTreeMap<String, ArrayD<f64>> {
        assert_eq!(self.cell.name, "elman");
        let pass = self.forward();
        let (layers, steps, sequences, size) = self.nudge[0].dim();
        let mut d = self.weights.clone();
        d.tensors_mut().into_iter().for_each(|(_, mut t)| t.fill(0.0));
        let mut d_h0 = Array3::<f64>::zeros(self.start[0].dim());
        let mut d_hidden = Array4::<f64>::zeros(self.nudge[0].dim());
        for b in 0..sequences {
            for t in (0..steps).rev() {
                for (o, d_o) in self.d_output(&pass, t, b, fault).indexed_iter() {
                    d.decoder_bias[o] += d_o;
                    for i in 0..size {
                        d.decoder[[o, i]] += d_o * pass.states[0][[layers - 1, t + 1, b, i]];
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
                            let x = if k == 0 { self.inputs[[s, b, j]] } else { pass.states[0][[k - 1, s + 1, b, j]] };
                            d_layer.input[[i, j]] += d_a * x;
                            if k > 0 && fault != Fault::LayerPathLost {
                                d_hidden[[k - 1, t, b, j]] += d_a * layer.input[[i, j]];
                            }
                        }
                        for j in 0..size {
                            let s = if fault == Fault::StateShifted { t + 1 } else { t };
                            d_layer.recurrent[[i, j]] += d_a * pass.states[0][[k, s, b, j]];
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

    /// φ′ from the sum, where the reference has it from the value.
    fn phi_derivative(&self, a: f64) -> f64 {
        match self.activation {
            Activation::Tanh => a.cosh().powi(-2),
            Activation::Sigmoid => (a / 2.0).cosh().powi(-2) / 4.0,
            Activation::Relu => a.signum().max(0.0),
            other => other.derivative(other.value(a)),
        }
    }
}
