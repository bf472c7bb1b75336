//! Training on text in f64 by the reference's gradients and the textbook's Adam: what any program's losses are held against. It is itself
//! held against PyTorch's run of `tests/fixtures/training`, which `scripts/pytorch_training.py` wrote.

use std::path::Path;

use ndarray::{Array2, ArrayD, Zip, s};
use retrospect::batch::{Batch, InitialState, Inputs, Targets};
use retrospect::reference::{Cell, Gradient, Weights, gradient_from, initial, last, lstm};

use super::fixtures;

/// Which biases of a layer are trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Biases {
    /// One vector, the sum of PyTorch's two; where they cannot be added, in the GRU's n, both.
    One,
    /// Both.
    Two,
}

/// A run of training: where it starts, on what, how, and what PyTorch's losses were with both biases.
pub struct Run {
    pub cell: Cell,
    /// Multiples of 2^-12.
    pub weights: Weights,
    pub batch: usize,
    pub window: usize,
    pub rate: f64,
    pub clip: f64,
    text: String,
    /// Of each step before its update.
    pub losses: Vec<f64>,
    /// The norm of the gradient before clipping.
    pub grad_norms: Vec<f64>,
}

/// The cells of which there is a run.
pub const CELLS: [&str; 3] = ["elman", "gru", "lstm"];

/// The run of this cell.
pub fn load(cell: &str) -> Run {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/training");
    let (mut tensors, metadata) = fixtures::read(&folder.join(format!("{cell}.safetensors")));
    let cell = Cell::named(&metadata["cell"], "tanh").expect("a cell");
    let losses = tensors["losses"].iter().copied().collect();
    let grad_norms = tensors["grad_norms"].iter().copied().collect();
    Run {
        cell,
        weights: Weights::new(&cell, |name| Ok(tensors.remove(name))).expect("weights of the cell"),
        batch: metadata["batch"].parse().expect("a number"),
        window: metadata["window"].parse().expect("a number"),
        rate: metadata["lr"].parse().expect("a number"),
        clip: metadata["clip"].parse().expect("a number"),
        text: std::fs::read_to_string(folder.join("words.txt")).expect("the text"),
        losses,
        grad_norms,
    }
}

/// A mistake of a program that trains.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// The state is zero at each window's start.
    StateNotCarried,
    /// Only `h` is carried.
    MemoryNotCarried,
    /// The state is carried over the end of a pass.
    NeverReset,
    /// The gradients of the recurrent layers are four times too large.
    TimesFour,
    BiasesDoNotLearn,
    NotClipped,
    /// Adam without its correction of the first steps.
    NotCorrected,
}

/// The loss and the norm of the gradient before clipping, of each step before its update.
#[derive(Debug)]
pub struct Losses {
    pub losses: Vec<f64>,
    pub grad_norms: Vec<f64>,
}

impl Run {
    /// The windows of the text without end, as docs/training.md describes: streams of the first nine tenths, the first of a pass from a zero state.
    pub fn batches(&self) -> impl Iterator<Item = Batch> + '_ {
        let characters: Vec<char> = self.text.chars().collect();
        let mut symbols = characters.clone();
        symbols.sort_unstable();
        symbols.dedup();
        let training = characters.len() * 9 / 10;
        let ids: Vec<u32> =
            characters[..training].iter().map(|c| symbols.binary_search(c).expect("a symbol of the text") as u32).collect();
        let stream = (ids.len() - 1) / self.batch;
        (0..stream / self.window).cycle().map(move |k| {
            let window = |ahead: usize| {
                Array2::from_shape_fn((self.window, self.batch), |(t, b)| ids[b * stream + k * self.window + t + ahead])
            };
            let initial_state = if k == 0 { InitialState::Zero } else { InitialState::Carried };
            Batch { initial_state, ..Batch::new(Inputs::Tokens(window(0)), Targets::Classes(window(1))) }
        })
    }

    /// The weights that `biases` begin with: the same network.
    pub fn start(&self, biases: Biases) -> Weights {
        let mut weights = self.weights.clone();
        if biases == Biases::One {
            for layer in &mut weights.layers {
                let merged = 0..merged_rows(&self.cell, layer.recurrent_bias.len());
                let mut second = layer.recurrent_bias.slice_mut(s![merged.clone()]);
                let mut first = layer.input_bias.slice_mut(s![merged]);
                first += &second;
                second.fill(0.0);
            }
        }
        weights
    }

    /// As many training steps in f64.
    pub fn simulate(&self, biases: Biases, steps: usize) -> Losses {
        self.simulate_with(biases, steps, Fault::None)
    }

    fn simulate_with(&self, biases: Biases, steps: usize, fault: Fault) -> Losses {
        let mut weights = self.start(biases);
        let mut adam = Adam::new(&weights, fault);
        let mut carried = None;
        let (mut losses, mut grad_norms) = (Vec::new(), Vec::new());
        for batch in self.batches().take(steps) {
            let zero = initial(&weights, &self.cell, &batch);
            let begins = batch.initial_state == InitialState::Zero && fault != Fault::NeverReset;
            let mut start = if begins { zero.clone() } else { carried.take().unwrap_or_else(|| zero.clone()) };
            match fault {
                Fault::StateNotCarried => start = zero,
                Fault::MemoryNotCarried => *start.get_mut("c").expect("an LSTM") = zero["c"].clone(),
                _ => {}
            }
            let mut got = gradient_from(&weights, &self.cell, &batch, &start).expect("a good batch");
            carried = Some(last(&got.states));
            self.spoil(&mut got, fault);
            if biases == Biases::One {
                // What is not trained has no gradient.
                for layer in &mut got.weights.layers {
                    let merged = merged_rows(&self.cell, layer.recurrent_bias.len());
                    layer.recurrent_bias.slice_mut(s![..merged]).fill(0.0);
                }
            }
            let norm = got.weights.tensors().iter().flat_map(|(_, t)| t.iter()).map(|g| g * g).sum::<f64>().sqrt();
            losses.push(got.loss);
            grad_norms.push(norm);
            let scale = if fault == Fault::NotClipped { 1.0 } else { (self.clip / (norm + 1e-6)).min(1.0) };
            adam.step(&mut weights, &got.weights, scale, self.rate);
        }
        Losses { losses, grad_norms }
    }

    fn spoil(&self, got: &mut Gradient, fault: Fault) {
        for layer in &mut got.weights.layers {
            match fault {
                Fault::TimesFour => {
                    layer.input *= 4.0;
                    layer.recurrent *= 4.0;
                    layer.input_bias *= 4.0;
                    layer.recurrent_bias *= 4.0;
                }
                Fault::BiasesDoNotLearn => {
                    layer.input_bias.fill(0.0);
                    layer.recurrent_bias.fill(0.0);
                }
                _ => {}
            }
        }
    }
}

/// The rows of both biases that only their sum matters of: all, but for the GRU's n, the last gate.
fn merged_rows(cell: &Cell, rows: usize) -> usize {
    if cell.name == "gru" { rows / 3 * 2 } else { rows }
}

/// Adam's two states of each tensor (Kingma and Ba, 2015).
struct Adam {
    steps: i32,
    mean: Vec<ArrayD<f64>>,
    square: Vec<ArrayD<f64>>,
    fault: Fault,
}

impl Adam {
    fn new(weights: &Weights, fault: Fault) -> Adam {
        let zeros: Vec<_> = weights.tensors().iter().map(|(_, t)| ArrayD::zeros(t.raw_dim())).collect();
        Adam { steps: 0, mean: zeros.clone(), square: zeros, fault }
    }

    fn step(&mut self, weights: &mut Weights, gradient: &Weights, scale: f64, rate: f64) {
        self.steps += 1;
        let corrected = |decay: f64| if self.fault == Fault::NotCorrected { 1.0 } else { 1.0 - decay.powi(self.steps) };
        let (of_mean, of_square) = (corrected(0.9), corrected(0.999));
        for (n, ((_, weight), (_, gradient))) in weights.tensors_mut().into_iter().zip(gradient.tensors()).enumerate() {
            Zip::from(weight).and(gradient).and(&mut self.mean[n]).and(&mut self.square[n]).for_each(|w, &g, m, v| {
                let g = scale * g;
                *m = 0.9 * *m + 0.1 * g;
                *v = 0.999 * *v + 0.001 * g * g;
                *w -= rate * (*m / of_mean) / ((*v / of_square).sqrt() + 1e-8);
            });
        }
    }
}

/// The largest difference of two lists.
pub fn off(got: &[f64], expected: &[f64]) -> f64 {
    got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn the_simulation_is_pytorch_s_run() {
    for cell in CELLS {
        let run = load(cell);
        let got = run.simulate(Biases::Two, run.losses.len());
        assert_eq!((got.losses.len(), run.weights.layers.len()), (300, 2));
        let (loss, norm) = (off(&got.losses, &run.losses), off(&got.grad_norms, &run.grad_norms));
        assert!(loss < 1e-11 && norm < 1e-10, "{cell}: off by {loss:.1e} in the loss, {norm:.1e} in the norm");
        let clipped = got.grad_norms[..100].iter().filter(|norm| **norm > run.clip).count();
        assert!(clipped > 20 && clipped < 80, "{cell}: {clipped} of the first 100 steps are clipped");
    }
}

/// What each mistake changes in a hundred steps is far more than 1e-4, which is how far a program in f32 may be.
#[test]
fn faults_of_training_are_seen_within_a_hundred_steps() {
    let faults = [
        Fault::StateNotCarried,
        Fault::MemoryNotCarried,
        Fault::NeverReset,
        Fault::TimesFour,
        Fault::BiasesDoNotLearn,
        Fault::NotClipped,
        Fault::NotCorrected,
    ];
    for cell in CELLS {
        let run = load(cell);
        for fault in faults.into_iter().filter(|&fault| fault != Fault::MemoryNotCarried || cell == lstm::CELL.name) {
            let got = run.simulate_with(Biases::Two, 100, fault);
            let off = off(&got.losses, &run.losses[..100]);
            assert!(off > 2e-4, "{cell}, {fault:?}: only {off:.1e} off");
        }
    }
}

/// One bias follows the same network from the same start, and learns it at half the rate of two.
#[test]
fn one_bias_begins_as_two_and_goes_another_way() {
    for cell in CELLS {
        let run = load(cell);
        let got = run.simulate(Biases::One, 100);
        assert!((got.losses[0] - run.losses[0]).abs() < 1e-13, "{cell}");
        let off = off(&got.losses, &run.losses[..100]);
        assert!(off > 2e-4, "{cell}: only {off:.1e} off");
        assert!(got.grad_norms[0] < run.grad_norms[0], "{cell}");
    }
}
