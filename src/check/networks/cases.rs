//! The networks that are checked: every kind, at odd sizes.

use ndarray::{Array, Dimension, ShapeBuilder};

use crate::Activation;
use crate::batch::{Batch, InitialState, Input, Inputs, Loss, Reduction, Targets};
use crate::cells::Cell;
use crate::kernels::update::Adam;
use crate::model::{Biases, Config, NamedArrays, Optimizer, RecurrentInit, initial};
use crate::random::Random;

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

const OPTIMIZERS: [Optimizer; 7] = [
    Optimizer::ADAM,
    Optimizer::Sgd,
    Optimizer::Momentum { momentum: 0.9 },
    Optimizer::AdamW { adam: Adam { beta1: 0.8, beta2: 0.99, epsilon: 1e-6 }, decay: 0.1 },
    Optimizer::RmsProp { beta: 0.95, epsilon: 1e-8 },
    Optimizer::Nesterov { momentum: 0.9 },
    Optimizer::AdaGrad { epsilon: 1e-10 },
];

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
/// to its kink than 1.8e-6, where f32 and f64 might take different sides. Then the other cells, fewer of each; both directions and
/// sequences of different lengths; dropout; constraints; embeddings; and the other losses.
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
                        let optimizer = OPTIMIZERS[i / 7 % OPTIMIZERS.len()];
                        let clip = (i / 5 % 2 == 0).then_some(0.05);
                        let recompute = [None, Some(2), None, Some(5)][i / 3 % 4];
                        let shape = Config::new(input, hidden, outputs, loss.clone(), batch, window);
                        let trace = i % 5 == 0;
                        let clip_value = (i % 13 == 4).then_some(0.002);
                        let config = Config { layers, activation, optimizer, clip, clip_value, recompute, trace, ..shape };
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
    all.extend(with_constraints());
    all.extend(with_embedding());
    all.extend(of_other_losses());
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
            let loss = usual(1 - i / 2 % 2);
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

/// Networks with every other loss, at sizes that are no multiples of anything, with masks, lengths and sums.
fn of_other_losses() -> Vec<Case> {
    let all = other_losses().into_iter().enumerate().flat_map(|(i, loss)| {
        [false, true].map(|masked| {
            let [window, batch, hidden, size, outputs] = SEQUENCES[(2 * i + usize::from(masked)) % SEQUENCES.len()];
            let outputs = if loss == Loss::NashSutcliffe { 1 } else { outputs * loss.outputs_per_target() };
            let cell = crate::cells::ALL[i % crate::cells::ALL.len()];
            let recompute = (i % 2 == 1).then_some(2);
            let shape = Config::new(Input::Vectors(size), hidden, outputs, loss.clone(), batch, window);
            let config = Config { cell, recompute, lengths: masked && i % 2 == 0, ..shape };
            Case { config, masked, reduction: if i % 3 == 2 && masked { Reduction::Sum } else { Reduction::Mean } }
        })
    });
    all.collect()
}

/// The usual loss of classes, or that of values.
fn usual(place: usize) -> Loss {
    if place == 0 { Loss::CrossEntropy } else { Loss::SquaredError }
}

/// The losses that are not the usual ones of classes or values.
pub(in crate::check) fn other_losses() -> Vec<Loss> {
    vec![
        Loss::AbsoluteError,
        Loss::Huber(0.4),
        Loss::BinaryCrossEntropy,
        Loss::Quantile(vec![0.1, 0.5, 0.95]),
        Loss::ErrorToSignal,
        Loss::NashSutcliffe,
    ]
}

/// Networks of every cell that embed their tokens, in one direction and in two, in one segment and in several.
fn with_embedding() -> Vec<Case> {
    let mut all = Vec::new();
    for &cell in crate::cells::ALL {
        for bidirectional in [false, true] {
            let i = all.len();
            let [window, batch, hidden, tokens, outputs] = SEQUENCES[i % SEQUENCES.len()];
            let loss = usual(i / 2 % 2);
            let shape = Config::new(Input::Tokens(tokens), hidden, outputs, loss, batch, window);
            let config = Config {
                embedding: Some([5, 8, 1, 33][i / 2]),
                cell,
                bidirectional,
                lengths: i % 3 == 0,
                layers: 1 + i / 3 % 2,
                dropout: if i % 4 == 3 { 0.3 } else { 0.0 },
                recompute: [None, Some(2), Some(3)][i % 3],
                trace: !bidirectional && i % 4 == 0,
                ..shape
            };
            all.push(Case { config, masked: i.is_multiple_of(3), reduction: [Reduction::Mean, Reduction::Sum][i / 2 % 2] });
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
            let loss = usual(i / 4 % 2);
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

/// Networks of every cell with what neuroscience constrains them by: connections that there are not and a penalty of activity, and of one gate also
/// noise and fixed signs; in one direction and in two, some with sequences of different lengths, some in segments.
fn with_constraints() -> Vec<Case> {
    let mut all = Vec::new();
    for round in 0..2 {
        for &cell in crate::cells::ALL {
            let i = all.len();
            let [window, batch, hidden, size, outputs] = SIZES[1 + i % 5];
            let input = if i % 3 == 0 { Input::Tokens(size) } else { Input::Vectors(size) };
            let (bidirectional, lengths) = (i % 5 == 2, i % 3 == 1);
            let has_one_gate = cell.gates == 1;
            let shape = Config::new(input, hidden, outputs, usual(i % 2), batch, window);
            let config = Config {
                cell,
                bidirectional,
                lengths,
                layers: 1 + (i + round) % 2,
                state_noise: if has_one_gate { [0.3, 1.0][round] } else { 0.0 },
                activity_l2: [0.5, 0.0, 3.0][i % 3],
                recurrent_mask: round == 0 || !has_one_gate,
                dale: has_one_gate.then_some([0.7, 0.5][i % 2]),
                output_dropout: if i % 4 == 1 { 0.2 } else { 0.0 },
                label_smoothing: if i % 2 == 0 { 0.3 } else { 0.0 },
                recompute: [None, Some(2), Some(3)][i % 3],
                trace: !bidirectional && i % 2 == 0,
                ..shape
            };
            all.push(Case { config, masked: i.is_multiple_of(3), reduction: [Reduction::Mean, Reduction::Sum][i / 2 % 2] });
        }
    }
    all
}

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
                    let loss = usual(i / 2 % 2);
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
    pub fn weights(&self) -> NamedArrays {
        let mut weights = initial(&self.config, 7, RecurrentInit::Uniform).expect("a good configuration");
        // Each unit has another leak.
        let leaks = weights.iter_mut().filter(|(name, _)| name.starts_with("rnn.leak"));
        leaks.for_each(|(_, leaks)| leaks.iter_mut().enumerate().for_each(|(unit, leak)| *leak = (1 + unit % 7) as f32 / 7.0));
        // A third of the connections are not there.
        let masks = weights.iter_mut().filter(|(name, _)| name.starts_with("rnn.mask"));
        masks.for_each(|(_, mask)| mask.iter_mut().skip(1).step_by(3).for_each(|connection| *connection = 0.0));
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
                // Labels between 0 and 1.
                Loss::BinaryCrossEntropy => Targets::Values(reals(&mut random, (window, batch, outputs)).mapv(|v| v / 2.0 + 0.5)),
                _ => Targets::Values(reals(&mut random, (window, batch, self.config.targets()))),
            },
            mask: self.masked.then_some(mask),
            lengths: None,
            reduction: self.reduction,
            deviations: None,
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
    pub(in crate::check) fn name(&self) -> String {
        let Config { activation, layers, window, batch, hidden, .. } = self.config;
        let input = match (self.config.input, self.config.embedding) {
            (Input::Vectors(_), _) => "vectors".to_owned(),
            (Input::Tokens(_), None) => "tokens".to_owned(),
            (Input::Tokens(_), Some(size)) => format!("tokens embedded as {size}"),
        };
        let loss = &self.config.loss;
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
        let also = [
            (self.config.drops(), ", dropout"),
            (self.config.state_noise > 0.0, ", noise"),
            (self.config.activity_l2 > 0.0, ", activity"),
            (self.config.label_smoothing > 0.0, ", smoothed"),
            (self.config.recurrent_mask, ", sparse"),
            (self.config.dale.is_some(), ", signs"),
        ];
        let also: String = also.into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect();
        format!("{cell}, {input}, {loss}{masked}{also}, {layers} × H={hidden}{both}, T={window}{segments}, B={batch}{lengths}")
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
