//! The f64 reference against central finite differences of its own loss: (L(θ + ε) − L(θ − ε)) / 2ε, which is off by about
//! ε²·L‴/6 and by the rounding of L over ε.

use ndarray::{Array1, Array2, Array3, ArrayD, Axis};

use super::Outcome;
use super::networks::{Case, Tensors, compare, other_losses};
use crate::Result;
use crate::batch::{Batch, InitialState, Input, Loss, Reduction};
use crate::model::Config;
use crate::random::Random;
use crate::reference::{self, Activation, Cell, LayerWeights, Regularization, States, Weights};

/// With ε = 1e-5 they agree to about 2e-8 of a tensor's largest value, in f64.
const EPSILON: f64 = 1e-5;
const BOUND: f64 = 1e-6;
/// A step of ε moves no sum of these small networks as far.
const FROM_KINK: f64 = 100.0 * EPSILON;

const HIDDEN: usize = 5;
const SIZE: usize = 4;
const EMBEDDING: usize = 2;
const OUTPUTS: usize = 3;
const STEPS: usize = 7;
const SEQUENCES: usize = 3;

/// A small network of a cell of the reference, and what its batches are like.
struct Small {
    cell: Cell,
    layers: usize,
    bidirectional: bool,
    lengths: bool,
    tokens: bool,
    /// The size of the embedding of tokens.
    embedding: Option<usize>,
    loss: Loss,
    masked: bool,
    reduction: Reduction,
    regularization: Regularization,
    /// Whether some recurrent connections are not there.
    sparse: bool,
}

/// Small networks of every cell and activation, with every loss, kind of input and up to three layers, some in both directions and some with
/// sequences of different lengths, each held to its differences.
///
/// # Errors
/// As [`reference::gradient`].
pub(crate) fn check(quick: bool) -> Result<Vec<Outcome>> {
    let all = [(Loss::CrossEntropy, true), (Loss::SquaredError, false), (Loss::CrossEntropy, false), (Loss::SquaredError, true)];
    let others = other_losses();
    let mut outcomes = Vec::new();
    for (place, cell) in reference::CELLS.into_iter().flat_map(with_activations).enumerate() {
        let usual = all.iter().take(if quick { 2 } else { all.len() });
        let losses = usual.chain([(others[place % others.len()].clone(), place % 2 == 0)].iter()).cloned().collect::<Vec<_>>();
        for (i, (loss, tokens)) in losses.into_iter().enumerate() {
            let layers = 1 + (i + place) % 3;
            let reduction = if i % 2 == 0 { Reduction::Mean } else { Reduction::Sum };
            let (bidirectional, lengths) = ((i + place) % 2 == 1, (i / 2 + place) % 2 == 1);
            let (dropout, output_dropout) = [(0.0, 0.0), (0.4, 0.3)][(i + place / 2) % 2];
            let state_noise = if cell.gates == 1 && (i + place / 3) % 2 == 1 { 0.3 } else { 0.0 };
            let activity_l2 = [0.0, 0.0, 0.7][(i + place) % 3];
            let label_smoothing = [0.0, 0.2][(i + place) % 2];
            let regularization =
                Regularization { dropout, output_dropout, state_noise, activity_l2, label_smoothing, seed: 11, step: 3 };
            let (masked, sparse) = (i > 0, (i + place / 2) % 3 == 1);
            let embedding = (tokens && (i + place) % 2 == 1).then_some(EMBEDDING);
            let small = Small {
                cell,
                layers,
                bidirectional,
                lengths,
                tokens,
                embedding,
                loss,
                masked,
                reduction,
                regularization,
                sparse,
            };
            outcomes.push(small.check()?);
        }
    }
    Ok(outcomes)
}

/// The cell with each φ, if it has one.
fn with_activations(cell: Cell) -> Vec<Cell> {
    match cell.activation {
        Some(_) => Activation::ALL.into_iter().map(|phi| Cell { activation: Some(phi), ..cell }).collect(),
        None => vec![cell],
    }
}

impl Small {
    fn check(&self) -> Result<Outcome> {
        let Small { cell, layers, .. } = self;
        let weights = self.weights();
        let batch = self.smooth_batch(&weights)?;
        let start = reference::initial(&weights, cell, &batch);
        let got = reference::gradient_with(&weights, cell, &batch, &start, &self.loss, &self.regularization)?;
        let mut all: Tensors = got.weights.tensors().into_iter().map(|(name, t)| (name, t.to_owned())).collect();
        all.extend(got.initial_states.into_iter().map(|(name, t)| (format!("{name}0"), t.into_dyn())));
        let expected = differences(&weights, cell, &batch, &self.loss, &self.regularization)?.into();
        let input = match (self.tokens, self.embedding) {
            (false, _) => "vectors",
            (true, None) => "tokens",
            (true, Some(_)) => "embedded tokens",
        };
        let loss = &self.loss;
        let Regularization { dropout, state_noise, activity_l2, .. } = self.regularization;
        let also = [
            (dropout > 0.0, ", dropout"),
            (state_noise > 0.0, ", noise"),
            (activity_l2 > 0.0, ", activity"),
            (self.sparse, ", sparse"),
        ];
        let also: String = also.into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect();
        let both = if self.bidirectional { " both ways" } else { "" };
        let lengths = if self.lengths { " of lengths" } else { "" };
        let shape = format!("{cell:?}, {input}, {loss}{also}, {layers} × H={HIDDEN}{both}, T={STEPS}, B={SEQUENCES}{lengths}");
        Ok(compare("reference", None, shape, "finite differences", &all, &expected, BOUND))
    }

    /// Weights of the usual size.
    fn weights(&self) -> Weights {
        let random = &mut Random::new(7, 98);
        let (rows, directions) = (self.cell.gates * HIDDEN, 1 + usize::from(self.bidirectional));
        let bound = 1.0 / (HIDDEN as f32).sqrt();
        let mut draw =
            |shape: (usize, usize)| Array2::from_shape_simple_fn(shape, || f64::from(random.uniform_in(-bound, bound)));
        let mut layer = |k: usize| LayerWeights {
            input: draw((rows, if k < directions { self.embedding.unwrap_or(SIZE) } else { directions * HIDDEN })),
            recurrent: draw((rows, HIDDEN)),
            mask: self
                .sparse
                .then(|| Array2::from_shape_fn((rows, HIDDEN), |(i, j)| f64::from(u8::from(!(i + 2 * j + k).is_multiple_of(3))))),
            input_bias: draw((1, rows)).remove_axis(Axis(0)),
            recurrent_bias: draw((1, rows)).remove_axis(Axis(0)),
            leak: if self.cell.has_leak { draw((1, HIDDEN)).remove_axis(Axis(0)) + 0.5 } else { Array1::zeros(0) },
        };
        let mut layers: Vec<LayerWeights> = (0..self.layers * directions).map(&mut layer).collect();
        layers.iter_mut().for_each(LayerWeights::apply_mask);
        let decoder = draw((OUTPUTS, directions * HIDDEN));
        let decoder_bias = draw((1, OUTPUTS)).remove_axis(Axis(0));
        let embedding = self.embedding.map(|size| draw((SIZE, size)));
        Weights { embedding, layers, bidirectional: self.bidirectional, decoder, decoder_bias }
    }

    /// The first batch on which no sum of the network is so near to a kink of φ that a step of ε could cross it.
    fn smooth_batch(&self, weights: &Weights) -> Result<Batch> {
        let mut batch = self.batch(5);
        for seed in 6..100 {
            if reference::distance_from_kink(weights, &self.cell, &batch, &self.loss, &self.regularization)? > FROM_KINK {
                break;
            }
            batch = self.batch(seed);
        }
        Ok(batch)
    }

    fn batch(&self, seed: u64) -> Batch {
        let input = if self.tokens { Input::Tokens(SIZE) } else { Input::Vectors(SIZE) };
        let shape = Config::new(input, HIDDEN, OUTPUTS, self.loss.clone(), SEQUENCES, STEPS);
        let Small { layers, bidirectional, lengths, .. } = *self;
        let config = Config { layers, bidirectional, lengths, ..shape };
        let states = config.state_shape();
        let batch = Case { config, masked: self.masked, reduction: self.reduction }.batch(seed);
        let random = &mut Random::new(seed, 97);
        let mut state = || Array3::from_shape_simple_fn(states, || random.uniform_in(-1.0, 1.0));
        let states = self.cell.states.iter().map(|name| (name.to_string(), state())).collect();
        Batch { initial_state: InitialState::Given(states), ..batch }
    }
}

/// The derivative of the loss and the penalty by each weight and by the initial states.
fn differences(
    weights: &Weights,
    cell: &Cell,
    batch: &Batch,
    criterion: &Loss,
    regularization: &Regularization,
) -> Result<Tensors> {
    let start = reference::initial(weights, cell, batch);
    let objective = |weights: &Weights, start: &States| {
        reference::forward_with(weights, cell, batch, start, criterion, regularization).map(|got| got.loss + got.penalty)
    };
    let mut all = Tensors::new();
    for (place, (name, tensor)) in weights.tensors().into_iter().enumerate() {
        let loss = |at: usize, by: f64| {
            let mut weights = weights.clone();
            *weights.tensors_mut().swap_remove(place).1.into_iter().nth(at).expect("an element") += by;
            weights.layers.iter_mut().for_each(LayerWeights::apply_mask);
            objective(&weights, &start)
        };
        all.insert(name, slopes(tensor.shape(), loss)?);
    }
    for (name, state) in &start {
        let loss = |at: usize, by: f64| {
            let mut start = start.clone();
            *start.get_mut(name).expect("a state").iter_mut().nth(at).expect("an element") += by;
            objective(weights, &start)
        };
        all.insert(format!("{name}0"), slopes(state.shape(), loss)?);
    }
    Ok(all)
}

/// The central differences of a loss with one element moved, for each element of a tensor.
fn slopes(shape: &[usize], loss: impl Fn(usize, f64) -> Result<f64>) -> Result<ArrayD<f64>> {
    let slope = |at| Ok((loss(at, EPSILON)? - loss(at, -EPSILON)?) / (2.0 * EPSILON));
    let values = (0..shape.iter().product()).map(slope).collect::<Result<Vec<f64>>>()?;
    Ok(ArrayD::from_shape_vec(shape, values).expect("a value for each element"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_cells_agree_with_their_differences() {
        let outcomes = check(false).unwrap();
        assert!(reference::CELLS.iter().all(|cell| outcomes.iter().any(|o| o.shape.starts_with(cell.name))));
        let wrong: Vec<_> = outcomes.iter().filter(|outcome| !outcome.passed).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
