//! Whole training steps of networks of every kind, in lockstep with the definitions, and their gradients against the f64
//! reference, which shares nothing with the programs.

mod expected;

use std::collections::BTreeMap;

pub(crate) use expected::compare;
pub use expected::{Expected, bound, cell, expected, expected_from, in_f64, mismatches, parameters};
use ndarray::{Array, ArrayD, Dimension, ShapeBuilder, arr1};

use super::{Lockstep, Outcome};
use crate::backend::Backend;
use crate::batch::{Batch, InitialState, Input, Inputs, Loss, Reduction, Targets};
use crate::cells::Cell;
use crate::model::{Biases, Config, Model, Named, Optimizer, RecurrentInit, initial};
use crate::network::{Masks, Network, Traced};
use crate::program::Program;
use crate::random::Random;
use crate::reference;
use crate::{Activation, Result};

/// T, B, H, the size of the input or vocabulary, and the number of outputs.
const SIZES: [[usize; 5]; 11] = [
    [1, 1, 1, 1, 2],
    [7, 1, 19, 5, 3],
    [5, 7, 63, 19, 7],
    [3, 19, 65, 7, 64],
    [2, 3, 64, 65, 19],
    [12, 5, 7, 63, 5],
    [1, 65, 7, 64, 2],
    [19, 2, 1, 3, 7],
    [4, 63, 19, 1, 65],
    [9, 1, 65, 1, 1],
    [1, 7, 64, 19, 63],
];

/// The same of sequences that have more than one length.
const SEQUENCES: [[usize; 5]; 5] = [[7, 5, 19, 5, 3], [5, 7, 63, 19, 7], [12, 5, 7, 63, 5], [4, 19, 65, 7, 9], [19, 2, 1, 3, 7]];

/// A network and what its batches are like.
#[derive(Debug, Clone)]
pub struct Case {
    /// The network.
    pub config: Config,
    /// Whether some outputs do not count.
    pub masked: bool,
    /// Mean or sum.
    pub reduction: Reduction,
}

/// Of the first cell every activation, loss, kind of input and number of layers up to 3, with every mask and reduction, at sizes that are no
/// multiples of a tile. Sizes, optimisers, clipping and segments go round with periods that share no factor with the rest. No sum of a ReLU is nearer
/// to its kink than 1.8e-6, where f32 and f64 might take different sides. Then the other cells, fewer of each; then both directions and
/// sequences of different lengths.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for activation in Activation::ALL {
        for loss in [Loss::CrossEntropy, Loss::SquaredError] {
            for tokens in [true, false] {
                for layers in 1..=3 {
                    for (masked, reduction) in [false, true].into_iter().flat_map(|m| [(m, Reduction::Mean), (m, Reduction::Sum)])
                    {
                        let i = all.len();
                        let [window, batch, hidden, size, outputs] = SIZES[i % SIZES.len()];
                        let input = if tokens { Input::Tokens(size) } else { Input::Vectors(size) };
                        let optimizer = [Optimizer::Adam, Optimizer::Sgd, Optimizer::Momentum { momentum: 0.9 }][i / 7 % 3];
                        let clip = (i / 5 % 2 == 0).then_some(0.05);
                        let recompute = [None, Some(2), None, Some(5)][i / 3 % 4];
                        let shape = Config::new(input, hidden, outputs, loss, batch, window);
                        let trace = i % 5 == 0;
                        let config = Config { layers, activation, optimizer, clip, recompute, trace, ..shape };
                        all.push(Case { config, masked, reduction });
                    }
                }
            }
        }
    }
    let first = all.len();
    all.extend(of_other_cells(first));
    let first = all.len();
    all.extend(of_sequences(first));
    all.extend(with_dropout());
    all
}

/// Every cell in both directions, with sequences of different lengths, and with both, while all else goes round.
fn of_sequences(first: usize) -> Vec<Case> {
    let mut all = Vec::new();
    for &cell in crate::cells::ALL {
        for (bidirectional, lengths) in [(true, false), (false, true), (true, true), (true, true)] {
            let i = all.len();
            let [window, batch, hidden, size, outputs] = SEQUENCES[i % SEQUENCES.len()];
            let input = if (i + i / 4) % 2 == 0 { Input::Tokens(size) } else { Input::Vectors(size) };
            let loss = [Loss::SquaredError, Loss::CrossEntropy][i / 2 % 2];
            let activation = if cell.has_activation { Activation::ALL[i % Activation::ALL.len()] } else { Activation::Tanh };
            let biases = [Biases::One, Biases::Two][(first + i) / 3 % 2];
            let recompute = [None, None, Some(2)][i % 3];
            let shape = Config::new(input, hidden, outputs, loss, batch, window);
            let config = Config { cell, bidirectional, lengths, biases, layers: 1 + i % 3, activation, recompute, ..shape };
            let trace = !bidirectional && i % 2 == 0;
            let config = Config { trace, ..config };
            all.push(Case { config, masked: i % 3 == 1, reduction: [Reduction::Mean, Reduction::Sum][i / 3 % 2] });
        }
    }
    all
}

/// Networks of every cell and number of layers with dropout: between the layers, before the head, and both; in one direction and in two, some with sequences of different
/// lengths.
fn with_dropout() -> Vec<Case> {
    let mut all = Vec::new();
    for layers in 1..=3 {
        for &cell in crate::cells::ALL {
            let i = all.len();
            let [window, batch, hidden, size, outputs] = SIZES[1 + i % 5];
            let input = if i % 2 == 0 { Input::Tokens(size) } else { Input::Vectors(size) };
            let loss = [Loss::CrossEntropy, Loss::SquaredError][i / 4 % 2];
            let dropout = if layers == 1 { 0.0 } else { [0.3, 0.5][i % 2] };
            let output_dropout = if layers == 1 { 0.25 } else { [0.0, 0.6, 0.1][i % 3] };
            let shape = Config::new(input, hidden, outputs, loss, batch, window);
            let recompute = [None, Some(2), Some(3)][i % 3];
            let (bidirectional, lengths) = (i % 5 < 2, i % 3 == 0);
            let trace = i.is_multiple_of(4) && !bidirectional;
            let config = Config { cell, layers, bidirectional, lengths, dropout, output_dropout, recompute, trace, ..shape };
            all.push(Case { config, masked: i.is_multiple_of(3), reduction: Reduction::Mean });
        }
    }
    all
}

/// What dropout's masks follow from where gradients are held to the reference: each beyond 32 bits.
pub const MASKS: Masks = Masks { seed: 0x9876_5432_1000_0007, step: (5 << 32) + 3 };

/// The other cells. What is not a cell's own was seen with the first, so that these are every kind of input, number of layers and way to train
/// biases, while all else goes round.
fn of_other_cells(first: usize) -> Vec<Case> {
    let mut all = Vec::new();
    for &cell in crate::cells::ALL.iter().filter(|&&cell| cell != Cell::usual()) {
        for tokens in [true, false] {
            for layers in 1..=3 {
                for biases in [Biases::One, Biases::Two] {
                    let i = first + all.len();
                    let [window, batch, hidden, size, outputs] = SIZES[i % SIZES.len()];
                    let input = if tokens { Input::Tokens(size) } else { Input::Vectors(size) };
                    let loss = [Loss::CrossEntropy, Loss::SquaredError][i / 2 % 2];
                    let activation =
                        if cell.has_activation { Activation::ALL[i % Activation::ALL.len()] } else { Activation::Tanh };
                    let recompute = [None, Some(2), None, Some(5)][i / 3 % 4];
                    let shape = Config::new(input, hidden, outputs, loss, batch, window);
                    let clip = i.is_multiple_of(2).then_some(0.05);
                    let config =
                        Config { cell, biases, layers, activation, clip, recompute, trace: i.is_multiple_of(3), ..shape };
                    all.push(Case { config, masked: i % 5 < 2, reduction: [Reduction::Mean, Reduction::Sum][i / 5 % 2] });
                }
            }
        }
    }
    all
}

impl Case {
    /// Initial weights.
    ///
    /// # Panics
    /// When the configuration is not right.
    #[must_use]
    pub fn weights(&self) -> Named {
        let mut weights = initial(&self.config, 7, RecurrentInit::Uniform).expect("a good configuration");
        // Each unit has another leak.
        let leaks = weights.iter_mut().filter(|(name, _)| name.starts_with("rnn.leak"));
        leaks.for_each(|(_, leaks)| leaks.iter_mut().enumerate().for_each(|(unit, leak)| *leak = (1 + unit % 7) as f32 / 7.0));
        weights
    }

    /// A batch whose initial state is given and not zero. Where sequences have lengths, their padding holds what would show wherever it got:
    /// NaN, and ids out of any range.
    #[must_use]
    pub fn batch(&self, seed: u64) -> Batch {
        let Config { window, batch, outputs, .. } = self.config;
        let mut random = Random::new(seed, 99);
        let shape = (window, batch);
        let mut mask = ids(&mut random, shape, 2).mapv(|m| m as f32);
        // Something counts; and, where there is more than one output, something does not.
        mask[[0, 0]] = 0.0;
        mask[[window - 1, batch - 1]] = 1.0;
        let all = Batch {
            inputs: match self.config.input {
                Input::Tokens(size) => Inputs::Tokens(ids(&mut random, shape, size)),
                Input::Vectors(size) => Inputs::Vectors(reals(&mut random, (window, batch, size))),
            },
            targets: match self.config.loss {
                Loss::CrossEntropy => Targets::Classes(ids(&mut random, shape, outputs)),
                Loss::SquaredError => Targets::Values(reals(&mut random, (window, batch, outputs))),
            },
            mask: self.masked.then_some(mask),
            lengths: None,
            reduction: self.reduction,
            class_weights: self.weighs_classes().then(|| (0..outputs).map(|class| (1 + class % 3) as f32 / 2.0).collect()),
            initial_state: InitialState::Given(
                self.config
                    .cell
                    .states
                    .iter()
                    .map(|&name| (name.into(), reals(&mut random, self.config.state_shape())))
                    .collect(),
            ),
        };
        if self.config.lengths { with_lengths(all, &mut random) } else { all }
    }

    /// Whether classes have weights of their own.
    fn weighs_classes(&self) -> bool {
        self.config.loss == Loss::CrossEntropy && self.config.hidden % 2 == 1
    }

    /// In a few words.
    pub(super) fn name(&self) -> String {
        let Config { activation, layers, window, batch, hidden, .. } = self.config;
        let input = if matches!(self.config.input, Input::Tokens(_)) { "tokens" } else { "vectors" };
        let loss = if self.config.loss == Loss::CrossEntropy { "cross-entropy" } else { "squared error" };
        let masked = if self.masked { ", masked" } else { "" };
        let masked = if self.weighs_classes() { format!("{masked}, weighted classes") } else { masked.to_owned() };
        let both = if self.config.bidirectional { " both ways" } else { "" };
        let lengths = if self.config.lengths { " of lengths" } else { "" };
        let segments = match self.config.segments().len() {
            1 => String::new(),
            segments => format!(" in {segments} segments"),
        };
        let cell = match (self.config.cell, self.config.biases) {
            (cell, _) if cell == Cell::usual() => activation.to_string(),
            (cell, biases) => {
                let phi = if cell.has_activation { format!(", {activation}") } else { String::new() };
                format!("{cell}{phi}{}", if biases == Biases::Two { ", two biases" } else { "" })
            }
        };
        let dropout = if self.config.drops() { ", dropout" } else { "" };
        format!("{cell}, {input}, {loss}{masked}{dropout}, {layers} × H={hidden}{both}, T={window}{segments}, B={batch}{lengths}")
    }
}

/// A batch whose sequences end somewhere, the last one at the end of the window.
fn with_lengths(batch: Batch, random: &mut Random) -> Batch {
    let (window, sequences) = batch.shape();
    let mut lengths: Vec<usize> = (0..sequences).map(|_| 1 + random.below(window as u32) as usize).collect();
    lengths[sequences - 1] = window;
    let mut all = Batch { lengths: Some(lengths), ..batch };
    let ends: Vec<usize> = (0..sequences).map(|b| all.length(b)).collect();
    let padding = |(t, b): (usize, usize)| t >= ends[b];
    let spoil_ids = |ids: &mut ndarray::Array2<u32>| {
        ids.indexed_iter_mut().filter(|(at, _)| padding(*at)).for_each(|(_, id)| *id = u32::MAX);
    };
    let spoil = |x: &mut ndarray::Array3<f32>| {
        x.indexed_iter_mut().filter(|((t, b, _), _)| padding((*t, *b))).for_each(|(_, x)| *x = f32::NAN);
    };
    match &mut all.inputs {
        Inputs::Tokens(tokens) => spoil_ids(tokens),
        Inputs::Vectors(vectors) => spoil(vectors),
    }
    match &mut all.targets {
        Targets::Classes(classes) => spoil_ids(classes),
        Targets::Values(values) => spoil(values),
    }
    all
}

fn ids(random: &mut Random, shape: (usize, usize), below: usize) -> ndarray::Array2<u32> {
    Array::from_shape_simple_fn(shape, || random.below(below as u32))
}

/// Uniform in (-1, 1).
fn reals<D: Dimension>(random: &mut Random, shape: impl ShapeBuilder<Dim = D>) -> Array<f32, D> {
    Array::from_shape_simple_fn(shape, || random.uniform_in(-1.0, 1.0))
}

/// Makes a backend that has loaded a program.
pub type Load<'a> = &'a mut dyn FnMut(&Program) -> Result<Box<dyn Backend>>;

/// The gradient of a batch whose state is carried from another's end; then two training steps, the second from the carried state of
/// the first and from an optimiser's state. In both directions no state is carried.
fn train(network: &mut Network, case: &Case) -> Result<Tensors> {
    network.set_parameters(&case.weights())?;
    // Once before, for what should not be left from then.
    network.gradient(&case.batch(5))?;
    network.loss(&case.batch(3))?;
    let first = gradient(network, &following(case, 4))?;
    network.train_step(&case.batch(1), 0.01)?;
    network.train_step(&following(case, 2), 0.01)?;
    Ok(first)
}

/// A batch that goes on from the states of the one before, where they can be carried.
fn following(case: &Case, seed: u64) -> Batch {
    let batch = case.batch(seed);
    if case.config.bidirectional { batch } else { Batch { initial_state: InitialState::Carried, ..batch } }
}

/// What [`train`] should give: the reference's gradient from the reference's own last state.
fn after_training(case: &Case) -> Result<Expected> {
    let cell = cell(&case.config);
    let weights = in_f64(&cell, &case.weights());
    if case.config.bidirectional {
        return expected(&case.config, &weights, &case.batch(4));
    }
    let before = reference::forward(&weights, &cell, &case.batch(3))?;
    let last = reference::last(&before.states);
    expected_from(&case.config, &weights, &following(case, 4), &last)
}

/// Trains a network in lockstep and holds each step to its definition, and its gradients before and after to the reference. Then trains
/// it again as a run does, many steps a submission and nothing read in between: all that comes of it must be the same bits. The model is
/// that of the case's configuration.
///
/// # Errors
/// What the backend reports.
pub fn in_lockstep(case: &Case, model: Model, variant: Option<&'static str>, load: Load) -> Result<Vec<Outcome>> {
    let whole = load(model.program())?;
    let mut whole = Network::on(model.clone(), whole);
    let (lockstep, found) = Lockstep::new(model.program(), load(model.program())?);
    let mut network = Network::on(model, Box::new(lockstep));
    let before = train(&mut network, case)?;
    let weights = network.parameters()?;
    let after = gradient(&mut network, &case.batch(6))?;
    let steps = Outcome::from_deviations("training steps", variant, case.name(), "definition", found.take());

    let of = |got: &Tensors, expected: &Expected, bound: f64| {
        compare("gradient", variant, case.name(), "reference", got, expected, bound)
    };
    let bound = bound(&case.config);
    let expected = expected(&case.config, &in_f64(&cell(&case.config), &weights), &case.batch(6))?;
    // The first is that of two batches, one after the other.
    let gradients = [of(&before, &after_training(case)?, 2.0 * bound), of(&after, &expected, bound)];

    let differs = other_bits(&before, &train(&mut whole, case)?);
    let differs = differs.or(other_bits(&widened(&weights), &widened(&whole.parameters()?)));
    let again = Outcome::again("training steps", variant, case.name(), differs);
    Ok([vec![steps], gradients.into(), vec![again]].concat())
}

/// The same numbers in f64, which has one for each of f32's.
fn widened(named: &Named) -> Tensors {
    named.iter().map(|(name, array)| (name.clone(), array.mapv(f64::from))).collect()
}

/// The first value that is not the same in both, in words.
fn other_bits(first: &Tensors, second: &Tensors) -> Option<String> {
    first.iter().find_map(|(name, a)| {
        let differs = |(_, (a, b)): &(usize, (&f64, &f64))| a.to_bits() != b.to_bits();
        let (at, (a, b)) = a.iter().zip(&second[name]).enumerate().find(differs)?;
        Some(format!("element {at} of {name} was {a:e} and then {b:e}"))
    })
}

/// Holds the gradient of a network to the reference.
///
/// # Errors
/// What the backend reports.
pub fn gradients(case: &Case, model: Model, variant: Option<&'static str>, load: Load) -> Result<Outcome> {
    let backend = load(model.program())?;
    let mut network = Network::on(model, backend);
    network.set_parameters(&case.weights())?;
    // Once before, for what should not be left from then.
    gradient(&mut network, &case.batch(2))?;
    let batch = case.batch(1);
    let got = gradient(&mut network, &batch)?;
    let expected = expected(&case.config, &in_f64(&cell(&case.config), &case.weights()), &batch)?;
    Ok(compare("gradient", variant, case.name(), "reference", &got, &expected, bound(&case.config)))
}

/// The loss without dropout.
const EVALUATED: &str = "evaluated loss";

/// Tensors by name.
pub type Tensors = BTreeMap<String, ArrayD<f64>>;

/// What a network computes for a batch: with dropout the gradient with [`MASKS`], and the loss as an evaluation has it.
///
/// # Errors
/// What the backend reports.
pub fn gradient(network: &mut Network, batch: &Batch) -> Result<Tensors> {
    let got = network.gradient_with(batch, Some(MASKS))?;
    let in_f64 = |array: &ArrayD<f32>| array.mapv(f64::from);
    let mut all = widened(&got.parameters);
    all.extend(got.initial_states.into_iter().map(|(name, state)| (format!("{name}0"), in_f64(&state.into_dyn()))));
    all.insert("loss".into(), arr1(&[f64::from(got.loss)]).into_dyn());
    all.insert("outputs".into(), in_f64(&got.outputs.into_dyn()));
    // Of several segments not all states are kept, but where they are traced.
    let config = network.model().config().clone();
    let kept = if config.segments().len() == 1 || config.bidirectional { config.layers } else { 0 };
    for layer in 0..kept {
        all.insert(format!("hidden_l{layer}"), in_f64(&network.hidden(layer)?.into_dyn()));
    }
    let traced = if config.trace { network.trace(batch)? } else { Vec::new() };
    for (layer, Traced { hidden, d_hidden }) in traced.into_iter().enumerate() {
        all.insert(format!("traced_l{layer}"), in_f64(&hidden.into_dyn()));
        all.insert(format!("d_hidden_l{layer}"), in_f64(&d_hidden.into_dyn()));
    }
    // It carries the state on.
    if config.drops() {
        all.insert(EVALUATED.into(), arr1(&[f64::from(network.loss(batch)?)]).into_dyn());
    }
    Ok(all)
}
