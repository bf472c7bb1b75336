//! The network as plain loops over single numbers: its loss, and finite differences of that loss. For Elman's cell also its gradient.
//!
//! Nothing here knows a matrix product, so that it can share no mistake with `reference`. Of a cell that has no loops here, the new states are
//! the reference's, so that its gradient is still held to differences, though its equations are not.

mod backward;

use std::collections::BTreeMap;

use ndarray::{Array2, Array3, Array4, ArrayD, ArrayViewMutD};
use retrospect::batch::{Batch, InitialState, Inputs, Reduction, Targets};
use retrospect::reference::{Activation, Cell, Unit, Weights};

pub use backward::Fault;

/// Everything that the loss depends on, in f64, so that each number can be moved by 1e-5.
pub struct Problem {
    cell: Cell,
    activation: Activation,
    mistake: Mistake,
    weights: Weights,
    /// The names of the cell's states, `h` first.
    names: &'static [&'static str],
    /// Each state before the first step, `[layers, B, H]`.
    start: Vec<Array3<f64>>,
    /// Added to each state after each step, and zero: `∂L/∂h_t` is the derivative by it. `[layers, T, B, H]`.
    nudge: Vec<Array4<f64>>,
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
    /// The sum of each gate, `U·x_t + b_ih + W·h_{t-1} + b_hh`, `[layers, T, B, G·H]`.
    pub sums: Array4<f64>,
    /// Each state, `[layers, T+1, B, H]`.
    states: Vec<Array4<f64>>,
}

/// Equations that are another convention than PyTorch's, as a program could have them; their own gradient is right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mistake {
    None,
    /// The LSTM's gates in the order i, f, o, g.
    LstmGatesReordered,
    /// The GRU's in the order z, r, n.
    GruGatesReordered,
    /// The GRU's reset on `h_{t-1}` instead of the recurrent sum.
    ResetOnState,
    /// The GRU's reset on the recurrent sum without its bias.
    BiasOutsideReset,
    /// The GRU's z for 1 − z.
    UpdateReversed,
    /// 1 − α for α.
    LeakReversed,
}

impl Problem {
    pub fn new(weights: &Weights, cell: &Cell, batch: &Batch) -> Problem {
        let (steps, sequences) = batch.shape();
        let (layers, hidden) = (weights.layers.len(), weights.decoder.ncols());
        let inputs = match &batch.inputs {
            Inputs::Vectors(x) => x.mapv(f64::from),
            Inputs::Tokens(x) => {
                let size = weights.layers[0].input.ncols();
                Array3::from_shape_fn((steps, sequences, size), |(t, b, i)| match &weights.embedding {
                    Some(embedding) => embedding[[x[[t, b]] as usize, i]],
                    None => f64::from(u8::from(x[[t, b]] as usize == i)),
                })
            }
        };
        let start = |name: &&str| match &batch.initial_state {
            InitialState::Given(states) => states[*name].mapv(f64::from),
            _ => Array3::zeros((layers, sequences, hidden)),
        };
        Problem {
            cell: *cell,
            activation: cell.activation.unwrap_or(Activation::Identity),
            mistake: Mistake::None,
            weights: weights.clone(),
            names: cell.states,
            start: cell.states.iter().map(start).collect(),
            nudge: vec![Array4::zeros((layers, steps, sequences, hidden)); cell.states.len()],
            inputs,
            targets: batch.targets.clone(),
            mask: batch.mask.as_ref().map_or_else(|| Array2::ones((steps, sequences)), |m| m.mapv(f64::from)),
            reduction: batch.reduction,
        }
    }

    /// The same with another convention.
    pub fn with(self, mistake: Mistake) -> Problem {
        Problem { mistake, ..self }
    }

    /// The weight of an output that counts.
    fn scale(&self) -> f64 {
        if self.reduction == Reduction::Mean { 1.0 / self.mask.sum() } else { 1.0 }
    }

    pub fn forward(&self) -> Pass {
        let (steps, sequences, _) = self.inputs.dim();
        let (outputs, size) = self.weights.decoder.dim();
        let layers = self.weights.layers.len();
        let rows = self.weights.layers[0].recurrent.nrows();
        let mut pass = Pass {
            loss: 0.0,
            outputs: Array3::zeros((steps, sequences, outputs)),
            sums: Array4::zeros((layers, steps, sequences, rows)),
            states: vec![Array4::zeros((layers, steps + 1, sequences, size)); self.names.len()],
        };
        for b in 0..sequences {
            for k in 0..layers {
                for i in 0..size {
                    for (state, start) in pass.states.iter_mut().zip(&self.start) {
                        state[[k, 0, b, i]] = start[[k, b, i]];
                    }
                }
            }
            for t in 0..steps {
                for k in 0..layers {
                    for i in 0..size {
                        self.step(&mut pass, [k, t, b], i);
                    }
                }
                self.output(&mut pass, t, b);
            }
        }
        pass
    }

    /// The two sums of a gate of a unit: of the input, and of the state before.
    fn sums(&self, pass: &Pass, [k, t, b]: [usize; 3], gate: usize, i: usize) -> (f64, f64) {
        let layer = &self.weights.layers[k];
        let row = gate * self.weights.decoder.ncols() + i;
        let (mut u, mut w) = (layer.input_bias[row], layer.recurrent_bias[row]);
        for j in 0..layer.input.ncols() {
            let x = if k == 0 { self.inputs[[t, b, j]] } else { pass.states[0][[k - 1, t + 1, b, j]] };
            u += layer.input[[row, j]] * x;
        }
        for j in 0..layer.recurrent.ncols() {
            w += layer.recurrent[[row, j]] * pass.states[0][[k, t, b, j]];
        }
        (u, w)
    }

    /// The states of a unit after step `t`.
    fn step(&self, pass: &mut Pass, at: [usize; 3], i: usize) {
        let [k, t, b] = at;
        let size = self.weights.decoder.ncols();
        let gates = self.weights.layers[k].recurrent.nrows() / size;
        let pairs: Vec<(f64, f64)> = (0..gates).map(|gate| self.sums(pass, at, gate, i)).collect();
        let sum = |gate: usize| pairs[gate].0 + pairs[gate].1;
        let before: Vec<f64> = pass.states.iter().map(|state| state[[k, t, b, i]]).collect();
        let after = match self.cell.name {
            "elman" => vec![self.phi(sum(0))],
            "leaky" => {
                let alpha = self.leak(k, i);
                let alpha = if self.mistake == Mistake::LeakReversed { 1.0 - alpha } else { alpha };
                vec![before[0] + alpha * (self.phi(sum(0)) - before[0])]
            }
            "gru" => vec![self.gru(pass, at, i, &pairs, before[0])],
            "lstm" => {
                let [g, o] = if self.mistake == Mistake::LstmGatesReordered { [3, 2] } else { [2, 3] };
                let c = logistic(sum(1)) * before[1] + logistic(sum(0)) * sum(g).tanh() + self.nudge[1][[k, t, b, i]];
                vec![logistic(sum(o)) * c.tanh(), c]
            }
            _ => {
                // What is added to another state has to be seen by h.
                assert_eq!(self.names, ["h"], "{:?} needs loops of its own", self.cell);
                let (input, recurrent): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
                let leak = if self.cell.has_leak { self.leak(k, i) } else { 1.0 };
                let unit = Unit { input: &input, recurrent: &recurrent, before: &before, leak, activation: self.activation };
                let mut after = vec![0.0];
                (self.cell.forward)(&unit, &mut after);
                after
            }
        };
        for gate in 0..gates {
            pass.sums[[k, t, b, gate * size + i]] = sum(gate);
        }
        for (state, after) in pass.states.iter_mut().zip(&after) {
            state[[k, t + 1, b, i]] = *after;
        }
        pass.states[0][[k, t + 1, b, i]] += self.nudge[0][[k, t, b, i]];
    }

    /// α of a unit.
    fn leak(&self, k: usize, i: usize) -> f64 {
        let leak = &self.weights.layers[k].leak;
        if leak.len() == 1 { leak[0] } else { leak[i] }
    }

    /// The state of a gated recurrent unit.
    fn gru(&self, pass: &Pass, at: [usize; 3], i: usize, pairs: &[(f64, f64)], before: f64) -> f64 {
        let [k, t, b] = at;
        let layer = &self.weights.layers[k];
        let size = layer.recurrent.ncols();
        let [reset, update] = if self.mistake == Mistake::GruGatesReordered { [1, 0] } else { [0, 1] };
        let r = logistic(pairs[reset].0 + pairs[reset].1);
        let z = logistic(pairs[update].0 + pairs[update].1);
        let bias = layer.recurrent_bias[2 * size + i];
        let recurrent = match self.mistake {
            Mistake::ResetOnState => {
                let mut w = bias;
                for j in 0..size {
                    let (u_r, w_r) = self.sums(pass, at, 0, j);
                    w += layer.recurrent[[2 * size + i, j]] * logistic(u_r + w_r) * pass.states[0][[k, t, b, j]];
                }
                w
            }
            Mistake::BiasOutsideReset => bias + r * (pairs[2].1 - bias),
            _ => r * pairs[2].1,
        };
        let n = (pairs[2].0 + recurrent).tanh();
        if self.mistake == Mistake::UpdateReversed { n + (1.0 - z) * (before - n) } else { n + z * (before - n) }
    }

    /// The outputs of step `t`, and what they add to the loss.
    fn output(&self, pass: &mut Pass, t: usize, b: usize) {
        let (outputs, size) = self.weights.decoder.dim();
        let layers = self.weights.layers.len();
        for o in 0..outputs {
            pass.outputs[[t, b, o]] = self.weights.decoder_bias[o];
            for i in 0..size {
                pass.outputs[[t, b, o]] += self.weights.decoder[[o, i]] * pass.states[0][[layers - 1, t + 1, b, i]];
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

    /// `(L(θ + ε) − L(θ − ε)) / 2ε` for every number θ of every weight, of the initial states and of all states; ε = 1e-5.
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
        for ((name, start), nudge) in self.names.iter().zip(&mut self.start).zip(&mut self.nudge) {
            all.push((format!("{name}0"), start.view_mut().into_dyn()));
            all.push((format!("d_{name}"), nudge.view_mut().into_dyn()));
        }
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

    /// φ by other formulas than the reference's, where there are any.
    fn phi(&self, a: f64) -> f64 {
        match self.activation {
            Activation::Tanh => 1.0 - 2.0 / ((2.0 * a).exp() + 1.0),
            Activation::Sigmoid => logistic(a),
            Activation::Relu => a.max(0.0),
            other => other.value(a),
        }
    }
}

fn logistic(a: f64) -> f64 {
    (1.0 + (a / 2.0).tanh()) / 2.0
}
