//! What a network should compute, by the reference, and how far from it what was computed may be.

use std::collections::BTreeMap;

use ndarray::{ArrayD, Dimension, arr1, s};

use super::{EVALUATED, MASKS, Tensors};
use crate::Result;
use crate::batch::{Batch, Loss, Targets};
use crate::check::Outcome;
use crate::model::{Config, NamedArrays};
use crate::reference::{self, Cell, Regularization, States, Weights};
use crate::rounding::U;

/// What tensors should be, and against what they are measured.
#[derive(Debug, Clone)]
pub struct Expected {
    /// By name.
    pub tensors: Tensors,
    /// Of a gradient the largest Σ|terms| and more where the errors of the outputs cancel; of what is not here the largest value counts.
    sizes: BTreeMap<String, f64>,
}

impl From<Tensors> for Expected {
    fn from(tensors: Tensors) -> Expected {
        Expected { tensors, sizes: BTreeMap::new() }
    }
}

impl Expected {
    /// Other tensors, measured against the same.
    #[must_use]
    pub fn with(self, tensors: Tensors) -> Expected {
        Expected { tensors, ..self }
    }

    /// The tensors that differ by more than `bound` times the size of what was expected, and by how much: empty if all agree.
    ///
    /// The size of a tensor is its largest value, and not an element's own: a gradient off by 1e-4 of itself must not hide behind an
    /// absolute tolerance, and an element that cancels to nothing carries the rounding of the terms that cancelled. Where a whole
    /// gradient cancels, its size is that of the terms.
    #[must_use]
    pub fn mismatches(&self, got: &Tensors, bound: f64) -> Vec<String> {
        // NaN, which compares false with everything, is a mismatch.
        let wrong = |(error, _): &(f64, String)| !matches!(error, e if *e <= bound);
        let mut found: Vec<String> = self.errors(got).into_iter().filter(wrong).map(|(_, note)| note).collect();
        found.extend(got.keys().filter(|name| !self.tensors.contains_key(*name)).map(|name| format!("{name}: not expected")));
        found
    }

    fn errors(&self, got: &Tensors) -> Vec<(f64, String)> {
        self.tensors.iter().map(|(name, expected)| error(name, got.get(name), expected, self.sizes.get(name).copied())).collect()
    }
}

/// The cell of a network, as the reference has it.
#[must_use]
pub fn cell(config: &Config) -> Cell {
    Cell::named(config.cell.name, config.activation.name()).expect("the reference has every cell and activation")
}

/// What training does besides with [`MASKS`], as the reference has it.
fn regularization(config: &Config) -> Regularization {
    let Config { dropout, output_dropout, state_noise, activity_l2, label_smoothing, .. } = *config;
    Regularization { dropout, output_dropout, state_noise, activity_l2, label_smoothing, seed: MASKS.seed, step: MASKS.step }
}

/// What a network should compute for a batch, under the names of [`super::gradient`].
///
/// # Errors
/// As [`reference::gradient`].
pub fn expected(config: &Config, weights: &Weights, batch: &Batch) -> Result<Expected> {
    expected_from(config, weights, batch, &reference::initial(weights, &cell(config), batch))
}

/// [`expected`] from other initial states than the batch's.
///
/// # Errors
/// As [`reference::gradient`].
pub fn expected_from(config: &Config, weights: &Weights, batch: &Batch, start: &States) -> Result<Expected> {
    let regularization = regularization(config);
    let got = reference::gradient_with(weights, &cell(config), batch, start, &config.loss, &regularization)?;
    let mut all = parameters(config, &got.weights);
    for (name, derivative) in &got.initial_states {
        all.insert(format!("{name}0"), derivative.clone().into_dyn());
    }
    all.insert("loss".into(), arr1(&[got.loss]).into_dyn());
    all.insert("outputs".into(), got.outputs.clone().into_dyn());
    if config.segments().len() == 1 || config.bidirectional {
        let hidden = got.hidden.iter().enumerate();
        all.extend(hidden.map(|(layer, hidden)| (format!("hidden_l{layer}"), hidden.clone().into_dyn())));
    }
    // Tracing and evaluation do not regularise; traced are the gradients of smoothed labels.
    let plain = match config.is_regularized() {
        true => {
            let plain = Regularization { label_smoothing: config.label_smoothing, ..Regularization::NONE };
            &reference::gradient_with(weights, &cell(config), batch, start, &config.loss, &plain)?
        }
        false => &got,
    };
    if config.is_regularized() {
        all.insert(EVALUATED.into(), arr1(&[plain.loss]).into_dyn());
    }
    for (layer, (hidden, d_states)) in plain.hidden.iter().zip(&plain.d_states).enumerate().filter(|_| config.trace) {
        all.insert(format!("traced_l{layer}"), hidden.clone().into_dyn());
        all.insert(format!("d_hidden_l{layer}"), d_states["h"].clone().into_dyn());
        if let Some((name, d_state)) = d_states.iter().find(|(name, _)| *name != "h") {
            let mut states = plain.states[layer][name].slice(s![1.., .., ..]).to_owned();
            // Behind the end of a sequence the network keeps none.
            states.indexed_iter_mut().filter(|((t, b, _), _)| !batch.is_read(*t, *b)).for_each(|(_, state)| *state = 0.0);
            all.insert(format!("traced_{name}_l{layer}"), states.into_dyn());
            all.insert(format!("d_{name}_l{layer}"), d_state.clone().into_dyn());
        }
    }
    let largest = |tensor: ndarray::ArrayViewD<f64>| tensor.fold(0.0, |a: f64, b| a.max(b.abs()));
    let mut sizes: BTreeMap<String, f64> =
        parameters(config, &got.magnitudes).into_iter().map(|(name, t)| (name, largest(t.view()))).collect();
    let others =
        all.keys().filter(|name| ["h0", "c0", "loss", EVALUATED].contains(&name.as_str()) || name.starts_with("d_")).cloned();
    sizes.extend(
        others
            .map(|name| {
                let size = largest(all[&name].view());
                (name, size)
            })
            .collect::<Vec<_>>(),
    );
    let cancels = cancellation(&all["outputs"], batch, &config.loss);
    sizes.values_mut().for_each(|size| *size *= cancels);
    Ok(Expected { tensors: all, sizes })
}

/// How far tensors are from what they should be, the worst of them as an [`Outcome`].
pub(crate) fn compare(
    name: &str,
    variant: Option<&'static str>,
    shape: String,
    oracle: &'static str,
    got: &Tensors,
    expected: &Expected,
    bound: f64,
) -> Outcome {
    let errors = expected.errors(got);
    let worst = errors.iter().map(|(error, _)| *error).fold(0.0, |a: f64, b| if b > a || b.is_nan() { b } else { a });
    let failures = errors.into_iter().filter(|(error, _)| !matches!(error, e if *e <= bound)).map(|(_, note)| note).collect();
    Outcome::new(name, variant, shape, oracle, worst, bound, worst / bound, failures)
}

/// How much larger the rounding of the outputs is in their errors o − y, or p − 1, which all of a gradient is a multiple of: the largest
/// |o| + |y|, or 1, over the largest error, if that is less.
fn cancellation(outputs: &ArrayD<f64>, batch: &Batch, loss: &Loss) -> f64 {
    let (mut size, mut error) = (0.0f64, 0.0f64);
    for at in ndarray::indices(batch.shape()).into_iter().filter(|&(t, b)| batch.counts(t, b)) {
        let output = outputs.slice(ndarray::s![at.0, at.1, ..]);
        match &batch.targets {
            Targets::Classes(classes) => {
                let largest = output.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
                let sum = output.fold(0.0, |sum, &o| sum + (o - largest).exp());
                size = 1.0;
                error = error.max(1.0 - (output[classes[at] as usize] - largest).exp() / sum);
            }
            Targets::Values(values) => {
                for (place, &o) in output.iter().enumerate() {
                    let y = f64::from(values[[at.0, at.1, loss.target_of(place).0]]);
                    // Of a label p − y, whose p is at most 1.
                    let (o, least) = if *loss == Loss::BinaryCrossEntropy { (1.0 / (1.0 + (-o).exp()), 1.0) } else { (o, 0.0) };
                    size = size.max(o.abs() + y.abs()).max(least);
                    error = error.max((o - y).abs());
                }
            }
        }
    }
    if error > 0.0 { (size / error).max(1.0) } else { 1.0 }
}

/// [`Expected::mismatches`] where all sizes are those of the largest values.
#[must_use]
pub fn mismatches(got: &Tensors, expected: &Tensors, bound: f64) -> Vec<String> {
    Expected::from(expected.clone()).mismatches(got, bound)
}

/// The largest difference over the size of what was expected, and where it is, in words.
fn error(name: &str, got: Option<&ArrayD<f64>>, expected: &ArrayD<f64>, size: Option<f64>) -> (f64, String) {
    let Some(got) = got else { return (f64::INFINITY, format!("{name}: missing")) };
    if got.shape() != expected.shape() {
        return (f64::INFINITY, format!("{name}: shape {:?}, expected {:?}", got.shape(), expected.shape()));
    }
    let largest = expected.fold(0.0, |a: f64, b| a.max(b.abs()));
    let size = size.unwrap_or(largest);
    let differences = got.indexed_iter().zip(expected).map(|((at, g), e)| ((g - e).abs(), at, *g, *e));
    let worst = differences.max_by(|a, b| a.0.total_cmp(&b.0));
    let Some((difference, at, got, expected)) = worst else { return (0.0, String::new()) };
    let error = if difference == 0.0 { 0.0 } else { difference / size };
    (error, format!("{name}{:?}: {got:e}, expected {expected:e}, off by {error:.2e} of {size:e}", at.slice()))
}

/// The tensors that a network trains, of its weights or of their gradient: where a layer has one bias, it is under the name of the first of
/// PyTorch's two.
#[must_use]
pub fn parameters(config: &Config, weights: &Weights) -> Tensors {
    let trained: Vec<String> = crate::model::parameters::table(config).into_iter().map(|parameter| parameter.name).collect();
    let tensors = weights.tensors().into_iter().filter(|(name, _)| trained.contains(name));
    tensors.map(|(name, tensor)| (name, tensor.to_owned())).collect()
}

/// A network's parameters as the reference takes them.
///
/// # Panics
/// When one is missing.
#[must_use]
pub fn in_f64(cell: &Cell, named: &NamedArrays) -> Weights {
    let tensor = |name: &str| Ok(named.get(name).map(|tensor| tensor.mapv(f64::from)));
    Weights::new(cell, tensor).expect("all parameters of the network")
}

/// How far f32 may be from the reference, relative to a tensor's largest value. A running sum of K terms is off by about
/// 0.4·u·√K (a rounding by u/√3, partial sums that grow to the result), so a product by 2·√K·u at five times that, and by 8·u
/// for its inputs, φ and exponentials. A gradient is the end of a chain of products, whose errors add up and do not grow, since
/// W and φ contract and a recurrence forgets: on the way forward two a layer, the decoder's and the loss; as many on the way
/// back; and the sum over all rows, of which no running sum is longer than 4,096.
///
/// The worst seen over the table is 0.26 of it (1.7e-6, a gradient of a sigmoid network); 0.03 with 70,000 rows.
#[must_use]
pub fn bound(config: &Config) -> f64 {
    let Config { input, hidden, outputs, window, batch, layers, .. } = *config;
    let read = config.directions() * hidden;
    let product = |terms: usize| 2.0 * (terms as f64).sqrt() + 8.0;
    let below = product(input.size()) + (layers - 1) as f64 * 2.0 * product(read);
    let recurrences = 2.0 * layers as f64 * product(hidden);
    let head = product(read) + 2.0 * product(outputs);
    (below + recurrences + head + product((window * batch).min(4096))) * U
}
