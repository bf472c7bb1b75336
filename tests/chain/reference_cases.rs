//! The table of small networks that the reference is held on, and what is compared of a gradient.

use std::collections::BTreeMap;

use ndarray::{Array, Array1, Array2, ArrayD, Dimension, ShapeBuilder, array, stack};
use retrospect::batch::{Batch, InitialState, Inputs, Reduction, TargetKind, Targets};
use retrospect::reference::{Activation, Cell, Gradient, LayerWeights, Weights, gradient};

use super::naive::Problem;

pub type Tensors = BTreeMap<String, ArrayD<f64>>;

/// Numbers that differ and repeat (SplitMix64).
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [-1, 1), in steps of 2^-23, so that it is exact in f32.
    pub fn array<D: Dimension>(&mut self, shape: impl ShapeBuilder<Dim = D>) -> Array<f64, D> {
        Array::from_shape_simple_fn(shape, || (self.next() >> 40) as f64 / f64::from(1 << 23) - 1.0)
    }

    fn ids(&mut self, shape: (usize, usize), below: usize) -> Array2<u32> {
        Array::from_shape_simple_fn(shape, || (self.next() % below as u64) as u32)
    }
}

/// One row of the table of networks.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub cell: Cell,
    pub targets: TargetKind,
    pub tokens: bool,
    pub layers: usize,
    pub masked: bool,
    pub reduction: Reduction,
    pub steps: usize,
    pub sequences: usize,
    pub hidden: usize,
}

impl Case {
    pub fn all(cell: Cell) -> Vec<Case> {
        let mut all = Vec::new();
        for targets in [TargetKind::Classes, TargetKind::Values] {
            for (tokens, layers) in [(true, 1), (true, 2), (true, 3), (false, 1), (false, 2), (false, 3)] {
                for (masked, reduction) in [false, true].into_iter().flat_map(|m| [(m, Reduction::Mean), (m, Reduction::Sum)]) {
                    for (steps, sequences, hidden) in [(1, 3, 5), (5, 1, 3), (7, 3, 5)] {
                        all.push(Case { cell, targets, tokens, layers, masked, reduction, steps, sequences, hidden });
                    }
                }
            }
        }
        all
    }

    /// Weights and a batch: the first in which every gradient has something in it (a ReLU layer may be dead) and no sum is near a
    /// kink of φ, where there is no derivative to compare.
    pub fn make(self) -> (Weights, Batch) {
        let kinks = self.cell.activation.map_or(&[][..], Activation::kinks);
        let suits = |(weights, batch): &(Weights, Batch)| {
            let sums = Problem::new(weights, &self.cell, batch).forward().sums;
            let smooth = sums.iter().all(|sum| kinks.iter().all(|kink| (sum - kink).abs() > 1e-3));
            let got = derivatives(&gradient(weights, &self.cell, batch).expect("a good batch"));
            smooth && got.values().all(|t| t.iter().any(|&v| v != 0.0))
        };
        (1..100).map(|seed| self.draw(&mut Random(seed))).find(suits).expect("one seed in a hundred suits")
    }

    fn draw(self, random: &mut Random) -> (Weights, Batch) {
        let Case { steps, sequences, hidden, .. } = self;
        let (size, outputs) = (4, 2);
        let rows = self.cell.gates * hidden;
        let state = |random: &mut Random| random.array((self.layers, sequences, hidden)).mapv(|x| x as f32);
        let weights = Weights {
            embedding: None,
            layers: (0..self.layers)
                .map(|k| LayerWeights {
                    input: random.array((rows, if k == 0 { size } else { hidden })),
                    recurrent: random.array((rows, hidden)) * 0.7,
                    mask: None,
                    input_bias: random.array(rows) * 0.5,
                    recurrent_bias: random.array(rows) * 0.5,
                    // One for all units of the first layer, and one for each unit above.
                    leak: match self.cell.has_leak {
                        true => random.array(if k == 0 { 1 } else { hidden }) * 0.45 + 0.5,
                        false => Array1::zeros(0),
                    },
                })
                .collect(),
            bidirectional: false,
            decoder: random.array((outputs, hidden)),
            decoder_bias: random.array(outputs),
        };
        let shape = (steps, sequences);
        let mut mask = random.ids(shape, 2).mapv(|m| m as f32);
        // Something counts; and, where there is more than one output, something does not.
        mask[[0, 0]] = 0.0;
        mask[[steps - 1, sequences - 1]] = 1.0;
        let batch = Batch {
            inputs: match self.tokens {
                true => Inputs::Tokens(random.ids(shape, size)),
                false => Inputs::Vectors(random.array((steps, sequences, size)).mapv(|x| x as f32)),
            },
            targets: match self.targets {
                TargetKind::Classes => Targets::Classes(random.ids(shape, outputs)),
                TargetKind::Values => Targets::Values(random.array((steps, sequences, outputs)).mapv(|x| x as f32)),
            },
            mask: self.masked.then_some(mask),
            lengths: None,
            reduction: self.reduction,
            class_weights: None,
            deviations: None,
            initial_state: InitialState::Given(self.cell.states.iter().map(|name| (name.to_string(), state(random))).collect()),
        };
        (weights, batch)
    }
}

/// What finite differences see: the gradients by the weights, by the initial states and, as `d_h` and `d_c`, by all states.
pub fn derivatives(gradient: &Gradient) -> Tensors {
    let mut all: Tensors = gradient.weights.tensors().into_iter().map(|(name, t)| (name, t.to_owned())).collect();
    for (name, initial) in &gradient.initial_states {
        all.insert(format!("{name}0"), initial.clone().into_dyn());
        let states: Vec<_> = gradient.d_states.iter().map(|layer| layer[name].view()).collect();
        all.insert(format!("d_{name}"), stack(ndarray::Axis(0), &states).expect("layers of one shape").into_dyn());
    }
    all
}

/// What PyTorch sees, under the names of a gradient file.
pub fn as_file(gradient: &Gradient) -> Tensors {
    let mut all = derivatives(gradient);
    all.retain(|name, _| !name.starts_with("d_"));
    all.insert("loss".into(), array![gradient.loss].into_dyn());
    all.insert("outputs".into(), gradient.outputs.clone().into_dyn());
    all
}
