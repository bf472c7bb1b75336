//! The parameters by name: where each lies in the arenas, how it starts, and PyTorch's names and shapes for it.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayD, Dimension, IxDyn};

use super::config::{Config, RecurrentInit};
use crate::batch::Input;
use crate::program::Mat;
use crate::random::{Random, stream};
use crate::tensors::Tensors;
use crate::{Error, Result};

/// Parameters, gradients or an optimiser's state, by PyTorch's names.
pub type Named = BTreeMap<String, ArrayD<f32>>;

/// One parameter.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    /// PyTorch's name.
    pub name: String,
    /// PyTorch's shape, a vector as one row.
    pub shape: (usize, usize),
    pub kind: Kind,
    /// Kept transposed, so that a token's column of `U` is a row.
    pub transposed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Matrix,
    Recurrent,
    Bias,
}

impl Parameter {
    /// The shape of its window in an arena.
    pub fn window_shape(&self) -> (u32, u32) {
        let (rows, cols) = if self.transposed { (self.shape.1, self.shape.0) } else { self.shape };
        (rows as u32, cols as u32)
    }

    /// An array of PyTorch's shape from its window's values.
    pub fn to_array(&self, values: Vec<f32>) -> ArrayD<f32> {
        let (rows, cols) = self.window_shape();
        let array = Array2::from_shape_vec((rows as usize, cols as usize), values).expect("a window's values");
        let array = if self.transposed { array.reversed_axes().as_standard_layout().into_owned() } else { array };
        match self.kind {
            Kind::Bias => ArrayD::from_shape_vec(IxDyn(&[self.shape.1]), array.into_raw_vec_and_offset().0).expect("a bias"),
            _ => array.into_dyn(),
        }
    }

    /// Its window's values from an array of PyTorch's shape.
    pub fn to_values(&self, array: &ArrayD<f32>) -> Vec<f32> {
        match self.transposed {
            true => array.t().iter().copied().collect(),
            false => array.iter().copied().collect(),
        }
    }

    /// What it starts as; `index` is its place in the table.
    pub fn initial(&self, config: &Config, index: usize, seed: u64, init: RecurrentInit) -> ArrayD<f32> {
        let bound = (1.0 / (config.hidden as f64).sqrt()) as f32;
        let mut random = Random::new(seed, stream::INIT + index as u64);
        let extents = IxDyn(&self.extents());
        match (self.kind, init) {
            (Kind::Recurrent, RecurrentInit::Identity) => Array2::eye(config.hidden).into_dyn(),
            (Kind::Recurrent, RecurrentInit::Orthogonal) => orthogonal(config.hidden, &mut random).into_dyn(),
            (Kind::Bias, RecurrentInit::Identity) => ArrayD::zeros(extents),
            _ => ArrayD::from_shape_simple_fn(extents, || random.uniform_in(-bound, bound)),
        }
    }

    /// The extents PyTorch gives it.
    pub fn extents(&self) -> Vec<usize> {
        match self.kind {
            Kind::Bias => vec![self.shape.1],
            _ => vec![self.shape.0, self.shape.1],
        }
    }

    /// The name of the bias that PyTorch has beside this one.
    pub fn second_bias(&self) -> Option<String> {
        self.name.contains("bias_ih").then(|| self.name.replace("bias_ih", "bias_hh"))
    }
}

/// All parameters of a network, in the order of the arenas: `rnn.weight_ih_l{k}` `[H, I or H]`, `rnn.weight_hh_l{k}`
/// `[H, H]`, `rnn.bias_ih_l{k}` `[H]` for each layer, `decoder.weight` `[O, H]`, `decoder.bias` `[O]`.
pub(crate) fn table(config: &Config) -> Vec<Parameter> {
    let matrix = |name: String, rows, cols, kind| Parameter { name, shape: (rows, cols), kind, transposed: false };
    let hidden = config.hidden;
    let mut parameters = Vec::new();
    for layer in 0..config.layers {
        let fan_in = if layer == 0 { config.input.size() } else { hidden };
        let tokens = layer == 0 && matches!(config.input, Input::Tokens(_));
        parameters
            .push(Parameter { transposed: tokens, ..matrix(format!("rnn.weight_ih_l{layer}"), hidden, fan_in, Kind::Matrix) });
        parameters.push(matrix(format!("rnn.weight_hh_l{layer}"), hidden, hidden, Kind::Recurrent));
        parameters.push(matrix(format!("rnn.bias_ih_l{layer}"), 1, hidden, Kind::Bias));
    }
    parameters.push(matrix("decoder.weight".into(), config.outputs, hidden, Kind::Matrix));
    parameters.push(matrix("decoder.bias".into(), 1, config.outputs, Kind::Bias));
    parameters
}

/// Initial values: uniform in (−1/√H, 1/√H) as PyTorch's, with `W` as told. A seed gives the same bits everywhere, but
/// for orthogonal ones, which are the same on one machine.
///
/// # Errors
/// [`Error::Usage`] or [`Error::DoesNotFit`] when the configuration is not right.
pub fn initial(config: &Config, seed: u64, init: RecurrentInit) -> Result<Named> {
    config.check()?;
    let values = |(index, parameter): (usize, &Parameter)| (parameter.name.clone(), parameter.initial(config, index, seed, init));
    Ok(table(config).iter().enumerate().map(values).collect())
}

/// Q of the QR factorisation of a matrix of normal numbers, its columns' signs those of R's diagonal, which makes it
/// uniform among the orthogonal matrices (Mezzadri 2007).
fn orthogonal(size: usize, random: &mut Random) -> Array2<f32> {
    let normal = faer::Mat::from_fn(size, size, |_, _| random.normal());
    // On one thread: how many take part would show in the last bits.
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let qr = alone.map_or_else(|_| normal.qr(), |pool| pool.install(|| normal.qr()));
    let (q, r) = (qr.compute_thin_Q(), qr.thin_R());
    Array2::from_shape_fn((size, size), |(i, j)| (if r[(j, j)] < 0.0 { -q[(i, j)] } else { q[(i, j)] }) as f32)
}

/// Checks weights against a configuration: every name, shape and value.
///
/// # Errors
/// [`Error::BadInput`] with the tensor and what was expected.
pub(crate) fn check(config: &Config, weights: &Named) -> Result<()> {
    for parameter in table(config) {
        let array = weights.get(&parameter.name).ok_or_else(|| Error::input(&parameter.name, "it is missing"))?;
        if array.shape() != parameter.extents() {
            let problem = format!("expected shape {:?}, got {:?}", parameter.extents(), array.shape());
            return Err(Error::input(&parameter.name, problem));
        }
        if let Some((at, value)) = array.indexed_iter().find(|(_, v)| !v.is_finite()) {
            return Err(Error::input(&parameter.name, format!("{:?} is {value}; expected a finite number", at.slice())));
        }
    }
    Ok(())
}

/// Reads weights from tensors of PyTorch's names behind a prefix; the second bias of a layer, if there is one, is added to
/// the first.
///
/// # Errors
/// [`Error::BadInput`] with the tensor and what was expected.
pub fn from_tensors(config: &Config, prefix: &str, tensors: &Tensors) -> Result<Named> {
    let mut named = Named::new();
    for parameter in table(config) {
        let name = format!("{prefix}{}", parameter.name);
        tensors.expect_shape(&name, &parameter.extents())?;
        let mut array = tensors.f64(&name)?;
        let second = parameter.second_bias().map(|second| format!("{prefix}{second}"));
        if let Some(second) = second.filter(|name| tensors.contains(name)) {
            tensors.expect_shape(&second, &parameter.extents())?;
            array += &tensors.f64(&second)?;
        }
        let array = array.mapv(|v| v as f32);
        if array.iter().any(|v| !v.is_finite()) {
            return Err(tensors.bad(&name, "a value is beyond f32's range"));
        }
        named.insert(parameter.name, array);
    }
    Ok(named)
}

/// Puts tensors under PyTorch's names, with a prefix; the second bias of each layer is zero, or, in a gradient, equal to
/// the first.
pub fn to_tensors(named: &Named, prefix: &str, gradient: bool, tensors: &mut Tensors) {
    for (name, array) in named {
        if name.contains("bias_ih") {
            let second = if gradient { array.clone() } else { ArrayD::zeros(array.raw_dim()) };
            tensors.insert(format!("{prefix}{}", name.replace("bias_ih", "bias_hh")), second);
        }
        tensors.insert(format!("{prefix}{name}"), array.clone());
    }
}

/// The sizes that weights say: (inputs, hidden, layers, outputs).
///
/// # Errors
/// [`Error::BadInput`] when a tensor is missing or is no matrix.
pub fn sizes(tensors: &Tensors) -> Result<(usize, usize, usize, usize)> {
    let matrix = |name: &str| match tensors.get(name)?.shape() {
        &[rows, cols] if rows > 0 && cols > 0 => Ok((rows, cols)),
        other => Err(tensors.bad(name, format!("expected a matrix, got shape {other:?}"))),
    };
    let (hidden, inputs) = matrix("rnn.weight_ih_l0")?;
    let layers = (0..).take_while(|k| tensors.contains(&format!("rnn.weight_hh_l{k}"))).count();
    let (outputs, _) = matrix("decoder.weight")?;
    matrix("rnn.weight_hh_l0")?;
    Ok((inputs, hidden, layers, outputs))
}

/// A table of parameters and their windows in each arena.
#[derive(Debug, Clone)]
pub(crate) struct Parameters {
    pub table: Vec<Parameter>,
    /// The windows in the arena of the parameters.
    pub windows: Vec<Mat>,
}

impl Parameters {
    /// The name of the tensor that holds element `at` of an arena.
    pub fn name_at(&self, at: u64) -> &str {
        let place = self.windows.iter().rposition(|w| w.offset <= at).unwrap_or(0);
        &self.table[place].name
    }
}
