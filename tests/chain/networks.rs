//! The table of networks: every activation, loss, kind of input and number of layers, with every mask and reduction, at sizes
//! that are no multiples of a tile.

use ndarray::{Array, Dimension, ShapeBuilder};
use retrospect::Activation;
use retrospect::backend::{Backend, Cpu, Device, Gpu};
use retrospect::batch::{Batch, InitialState, Input, Inputs, Loss, Reduction, Targets};
use retrospect::kernels;
use retrospect::model::{Config, Model, Named, Optimizer, RecurrentInit, initial};
use retrospect::program::Program;
use retrospect::random::Random;
use retrospect::reference::{LayerWeights, Weights};
use retrospect::train::Network;

/// u, what a rounding to f32 may change relative to the value.
pub const U: f64 = 1.0 / (1u64 << 24) as f64;

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

/// A network and what its batches are like.
#[derive(Debug, Clone)]
pub struct Case {
    pub config: Config,
    pub masked: bool,
    pub reduction: Reduction,
}

/// The table. Sizes, optimisers and clipping go round with periods that share no factor with the rest.
pub fn networks() -> Vec<Case> {
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
                        let shape = Config::new(input, hidden, outputs, loss, batch, window);
                        all.push(Case { config: Config { layers, activation, optimizer, clip, ..shape }, masked, reduction });
                    }
                }
            }
        }
    }
    all
}

impl Case {
    pub fn weights(&self) -> Named {
        initial(&self.config, 7, RecurrentInit::Uniform).expect("a good configuration")
    }

    /// A batch whose initial state is given and not zero.
    pub fn batch(&self, seed: u64) -> Batch {
        let Config { window, batch, outputs, layers, hidden, .. } = self.config;
        let mut random = Random::new(seed, 99);
        let shape = (window, batch);
        let mut mask = ids(&mut random, shape, 2).mapv(|m| m as f32);
        // Something counts; and, where there is more than one output, something does not.
        mask[[0, 0]] = 0.0;
        mask[[window - 1, batch - 1]] = 1.0;
        Batch {
            inputs: match self.config.input {
                Input::Tokens(size) => Inputs::Tokens(ids(&mut random, shape, size)),
                Input::Vectors(size) => Inputs::Vectors(reals(&mut random, (window, batch, size))),
            },
            targets: match self.config.loss {
                Loss::CrossEntropy => Targets::Classes(ids(&mut random, shape, outputs)),
                Loss::SquaredError => Targets::Values(reals(&mut random, (window, batch, outputs))),
            },
            mask: self.masked.then_some(mask),
            reduction: self.reduction,
            initial_state: InitialState::Given(reals(&mut random, (layers, batch, hidden))),
        }
    }
}

pub fn ids(random: &mut Random, shape: (usize, usize), below: usize) -> ndarray::Array2<u32> {
    Array::from_shape_simple_fn(shape, || random.below(below as u32))
}

/// Uniform in (-1, 1).
pub fn reals<D: Dimension>(random: &mut Random, shape: impl ShapeBuilder<Dim = D>) -> Array<f32, D> {
    Array::from_shape_simple_fn(shape, || random.uniform_in(-1.0, 1.0))
}

/// The parameters as the reference takes them.
pub fn in_f64(named: &Named, layers: usize) -> Weights {
    fn take<D: Dimension>(named: &Named, name: &str) -> Array<f64, D> {
        named[name].mapv(f64::from).into_dimensionality().unwrap_or_else(|e| panic!("{name}: {e}"))
    }
    let layer = |k| LayerWeights {
        input: take(named, &format!("rnn.weight_ih_l{k}")),
        recurrent: take(named, &format!("rnn.weight_hh_l{k}")),
        bias: take(named, &format!("rnn.bias_ih_l{k}")),
    };
    Weights {
        layers: (0..layers).map(layer).collect(),
        decoder: take(named, "decoder.weight"),
        decoder_bias: take(named, "decoder.bias"),
    }
}

/// A network on the CPU, or on the GPU in a variant.
pub fn load(model: Model, device: &Device, on: &str) -> Network {
    let backend = match on {
        "CPU" => Box::new(Cpu::new(model.program(), None).expect("the program fits")),
        variant => gpu(device, model.program(), variant),
    };
    Network::on(model, backend)
}

/// A GPU that runs the variants of this name, where a kernel has one.
pub fn gpu(device: &Device, program: &Program, variant: &str) -> Box<dyn Backend> {
    let choose = |name: &str| {
        let kernel = kernels::all().into_iter().find(|k| k.name == name).expect("a kernel of the table");
        kernel.variants.iter().find(|v| v.name == variant)
    };
    Box::new(Gpu::with_variants(device, program, &choose).expect("the program loads"))
}

/// How far f32 may be from the reference, relative to a tensor's largest value. A running sum of K terms is off by about
/// 0.4·u·√K (a rounding by u/√3, partial sums that grow to the result), so a product by 2·√K·u at five times that, and by 8·u
/// for its inputs, φ and exponentials. A gradient is the end of a chain of products, whose errors add up and do not grow, since
/// W and φ contract and a recurrence forgets: on the way forward two a layer, the decoder's and the loss; as many on the way
/// back; and the sum over all rows, of which no running sum is longer than 4,096.
///
/// The worst seen over the table is 0.26 of it (1.7e-6, a gradient of a sigmoid network); 0.03 with 70,000 rows.
pub fn bound(config: &Config) -> f64 {
    let Config { input, hidden, outputs, window, batch, layers, .. } = *config;
    let product = |terms: usize| 2.0 * (terms as f64).sqrt() + 8.0;
    let below = product(input.size()) + (layers - 1) as f64 * 2.0 * product(hidden);
    let recurrences = 2.0 * layers as f64 * product(hidden);
    let head = product(hidden) + 2.0 * product(outputs);
    (below + recurrences + head + product((window * batch).min(4096))) * U
}
