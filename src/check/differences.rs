//! The f64 reference against central finite differences of its own loss: (L(θ + ε) − L(θ − ε)) / 2ε, which is off by about
//! ε²·L‴/6 and by the rounding of L over ε.

use ndarray::ArrayD;

use super::Outcome;
use super::networks::{Case, Tensors, cell, compare, in_f64};
use crate::batch::{Batch, Input, Loss, Reduction};
use crate::cells;
use crate::model::Config;
use crate::reference::{self, Cell, Weights};
use crate::{Activation, Result};

/// With ε = 1e-5 they agree to about 2e-8 of a tensor's largest value, in f64.
const EPSILON: f64 = 1e-5;
const BOUND: f64 = 1e-6;
/// A step of ε moves no sum of these small networks as far.
const FROM_KINK: f64 = 100.0 * EPSILON;

/// Small networks of every activation, loss, kind of input and up to three layers, each held to its differences.
///
/// # Errors
/// As [`reference::gradient`].
pub(crate) fn check(quick: bool) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for activation in Activation::ALL {
        for (i, (loss, tokens)) in
            [(Loss::CrossEntropy, true), (Loss::SquaredError, false), (Loss::CrossEntropy, false), (Loss::SquaredError, true)]
                .into_iter()
                .enumerate()
        {
            if quick && i > 1 {
                continue;
            }
            let input = if tokens { Input::Tokens(4) } else { Input::Vectors(3) };
            let layers = 1 + (i + activation.code() as usize) % 3;
            let config = Config { layers, activation, ..Config::new(input, 5, 3, loss, 3, 7) };
            let reduction = if i % 2 == 0 { Reduction::Mean } else { Reduction::Sum };
            outcomes.push(of(&Case { config, masked: i > 0, reduction })?);
        }
    }
    for (i, &cell) in cells::ALL.iter().filter(|&&cell| cell != cells::Cell::usual()).enumerate() {
        for layers in 1..=if quick { 1 } else { 3 } {
            let (input, loss) = if layers == 2 { (Input::Tokens(4), Loss::SquaredError) } else { (Input::Vectors(3), Loss::CrossEntropy) };
            let config = Config { cell, layers, activation: Activation::ALL[i % 2], ..Config::new(input, 5, 3, loss, 3, 7) };
            outcomes.push(of(&Case { config, masked: layers == 1, reduction: Reduction::Mean })?);
        }
    }
    Ok(outcomes)
}

fn of(case: &Case) -> Result<Outcome> {
    let cell = cell(&case.config);
    let weights = in_f64(&cell, &case.weights());
    let batch = smooth_batch(case, &weights, &cell)?;
    let got = reference::gradient(&weights, &cell, &batch)?;
    let mut all: Tensors = got.weights.tensors().into_iter().map(|(name, t)| (name, t.to_owned())).collect();
    all.extend(got.initial_states.into_iter().map(|(name, t)| (format!("{name}0"), t.into_dyn())));
    let expected = differences(&weights, &cell, &batch)?.into();
    Ok(compare("reference", None, case.name(), "finite differences", &all, &expected, BOUND))
}

/// The first batch on which no sum of the network is so near to a kink of φ that a step of ε could cross it.
fn smooth_batch(case: &Case, weights: &Weights, cell: &Cell) -> Result<Batch> {
    let mut batch = case.batch(5);
    for seed in 6..100 {
        if reference::distance_from_kink(weights, cell, &batch)? > FROM_KINK {
            break;
        }
        batch = case.batch(seed);
    }
    Ok(batch)
}

/// The derivative of the loss by each weight and by the initial states.
fn differences(weights: &Weights, cell: &Cell, batch: &Batch) -> Result<Tensors> {
    let start = reference::initial(weights, cell, batch);
    let mut all = Tensors::new();
    for (place, (name, tensor)) in weights.tensors().into_iter().enumerate() {
        let loss = |at: usize, by: f64| {
            let mut weights = weights.clone();
            *weights.tensors_mut().swap_remove(place).1.into_iter().nth(at).expect("an element") += by;
            Ok(reference::forward_from(&weights, cell, batch, &start)?.loss)
        };
        all.insert(name, slopes(tensor.shape(), loss)?);
    }
    for (name, state) in &start {
        let loss = |at: usize, by: f64| {
            let mut start = start.clone();
            *start.get_mut(name).expect("a state").iter_mut().nth(at).expect("an element") += by;
            Ok(reference::forward_from(weights, cell, batch, &start)?.loss)
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
