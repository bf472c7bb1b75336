//! The parameters by name: where each lies in the arenas, how it starts, and PyTorch's names and shapes for it.

use std::collections::BTreeMap;
use std::ops::Range;

use ndarray::{ArrayD, Dimension};

use super::config::{Config, RecurrentInit};
use crate::batch::Input;
use crate::blocks::blocks;
use crate::memory::check_memory_or;
use crate::program::Mat;
use crate::random::{Random, stream};
use crate::tensors::TensorFile;
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

    /// What it starts as; `index` is its place in the table.
    pub fn initial(&self, config: &Config, index: usize, seed: u64, init: RecurrentInit) -> Initial {
        let bound = (1.0 / (config.hidden as f64).sqrt()) as f32;
        let random = Random::new(seed, stream::INIT + index as u64);
        let start = match (self.kind, init) {
            (Kind::Recurrent, RecurrentInit::Identity) => Start::Identity,
            (Kind::Recurrent, RecurrentInit::Orthogonal) => Start::Orthogonal(orthogonal(config.hidden, random)),
            (Kind::Bias, RecurrentInit::Identity) => Start::Zero,
            _ => Start::Uniform(random, bound),
        };
        Initial { start, cols: self.shape.1 }
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

/// The initial values of a parameter, which are made from its first row on.
pub(crate) struct Initial {
    start: Start,
    cols: usize,
}

enum Start {
    Zero,
    Identity,
    /// Between minus and plus a bound.
    Uniform(Random, f32),
    /// Q.
    Orthogonal(faer::Mat<f64>),
}

impl Initial {
    /// The next rows of PyTorch's shape; each call begins where the one before ended.
    pub fn rows(&mut self, rows: Range<usize>) -> Vec<f32> {
        let cols = self.cols;
        let places = rows.clone().flat_map(|r| (0..cols).map(move |c| (r, c)));
        match &mut self.start {
            Start::Zero => vec![0.0; rows.len() * cols],
            Start::Identity => places.map(|(r, c)| f32::from(u8::from(r == c))).collect(),
            Start::Uniform(random, bound) => (0..rows.len() * cols).map(|_| random.uniform_in(-*bound, *bound)).collect(),
            Start::Orthogonal(q) => places.map(|at| q[at] as f32).collect(),
        }
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
/// [`Error::Usage`] or [`Error::DoesNotFit`] when the configuration is not right, or when there is no memory for an orthogonal matrix.
pub fn initial(config: &Config, seed: u64, init: RecurrentInit) -> Result<Named> {
    config.check()?;
    check_initial(config, init)?;
    let values = |(index, parameter): (usize, &Parameter)| {
        let mut initial = parameter.initial(config, index, seed, init);
        let values = initial.rows(0..parameter.shape.0);
        (parameter.name.clone(), ArrayD::from_shape_vec(parameter.extents(), values).expect("values of its shape"))
    };
    Ok(table(config).iter().enumerate().map(values).collect())
}

/// Bytes that an orthogonal matrix takes for each of its elements while it is made, in f64: normal numbers, the factorisation, Q.
const ORTHOGONAL: u64 = 24;

/// Checks that there is memory to make the initial values: an orthogonal matrix is factorised whole, the others are made in blocks.
///
/// # Errors
/// [`Error::DoesNotFit`] with the largest hidden size that would fit.
pub(crate) fn check_initial(config: &Config, init: RecurrentInit) -> Result<()> {
    if init != RecurrentInit::Orthogonal {
        return Ok(());
    }
    let needed = ORTHOGONAL.saturating_mul((config.hidden as u64).pow(2));
    check_memory_or("an orthogonal initial weight", needed, |available| {
        let largest = (available / ORTHOGONAL).isqrt();
        format!("hidden size {largest} would fit, and uniform or identity initial weights at any size")
    })
}

/// Q of the QR factorisation of a matrix of normal numbers, its columns' signs those of R's diagonal, which makes it
/// uniform among the orthogonal matrices (Mezzadri 2007).
fn orthogonal(size: usize, mut random: Random) -> faer::Mat<f64> {
    let normal = faer::Mat::from_fn(size, size, |_, _| random.normal());
    // On one thread: how many take part would show in the last bits.
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let qr = alone.map_or_else(|_| normal.qr(), |pool| pool.install(|| normal.qr()));
    drop(normal);
    let (mut q, r) = (qr.compute_thin_Q(), qr.thin_R());
    for j in (0..size).filter(|&j| r[(j, j)] < 0.0) {
        q.col_mut(j).iter_mut().for_each(|x| *x = -*x);
    }
    q
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
pub fn from_file(config: &Config, prefix: &str, file: &TensorFile) -> Result<Named> {
    let table = table(config);
    let mut all: Vec<Vec<f32>> = table.iter().map(|p| Vec::with_capacity(p.shape.0 * p.shape.1)).collect();
    in_blocks(&table, prefix, file, &mut |index, _, values| {
        all[index].extend_from_slice(values);
        Ok(())
    })?;
    let array = |values, parameter: &Parameter| ArrayD::from_shape_vec(parameter.extents(), values).expect("all were read");
    Ok(all.into_iter().zip(&table).map(|(values, parameter)| (parameter.name.clone(), array(values, parameter))).collect())
}

/// Takes some rows of a parameter, by its place in the table.
type Take<'a> = &'a mut dyn FnMut(usize, Range<usize>, &[f32]) -> Result<()>;

/// [`from_file`], of which each block of rows of a parameter is handed to `take` with the parameter's place in the table, once the shapes
/// of all were checked.
pub(crate) fn in_blocks(table: &[Parameter], prefix: &str, file: &TensorFile, take: Take) -> Result<()> {
    let names = |parameter: &Parameter| {
        let second = parameter.second_bias().map(|second| format!("{prefix}{second}"));
        (format!("{prefix}{}", parameter.name), second.filter(|name| file.contains(name)))
    };
    for parameter in table {
        let (name, second) = names(parameter);
        [Some(name), second].iter().flatten().try_for_each(|name| file.expect_shape(name, &parameter.extents()))?;
    }
    for (index, parameter) in table.iter().enumerate() {
        let ((name, second), (rows, cols)) = (names(parameter), parameter.shape);
        for block in blocks(rows, cols) {
            let elements = block.start * cols..block.end * cols;
            let mut values = file.f64_range(&name, elements.clone())?;
            if let Some(second) = &second {
                values.iter_mut().zip(file.f64_range(second, elements)?).for_each(|(value, more)| *value += more);
            }
            let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
            if values.iter().any(|v| !v.is_finite()) {
                return Err(file.bad(&name, "a value is beyond f32's range"));
            }
            take(index, block, &values)?;
        }
    }
    Ok(())
}

/// The sizes that weights say: (inputs, hidden, layers, outputs).
///
/// # Errors
/// [`Error::BadInput`] when a tensor is missing or is no matrix.
pub fn sizes(tensors: &TensorFile) -> Result<(usize, usize, usize, usize)> {
    let matrix = |name: &str| match tensors.shape(name)? {
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
