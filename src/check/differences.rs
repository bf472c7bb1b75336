//! The f64 reference against central finite differences of its own loss: (L(θ + ε) − L(θ − ε)) / 2ε, which is off by about
//! ε²·L‴/6 and by the rounding of L over ε.

use ndarray::ArrayD;

use super::Outcome;
use super::networks::{Case, Tensors, compare, in_f64};
use crate::batch::{Batch, InitialState, Input, Loss, Reduction};
use crate::model::Config;
use crate::reference::{self, Weights};
use crate::{Activation, Result};

/// With ε = 1e-5 they agree to about 2e-8 of a tensor's largest value, in f64.
const EPSILON: f64 = 1e-5;
const BOUND: f64 = 1e-6;

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
    Ok(outcomes)
}

fn of(case: &Case) -> Result<Outcome> {
    let (weights, mut batch) = (in_f64(&case.weights(), case.config.layers), case.batch(5));
    if let InitialState::Given(state) = &mut batch.initial_state {
        // So that adding and subtracting a power of two is exact.
        state.mapv_inplace(|h| (h * 256.0).round() / 256.0);
    }
    let phi = case.config.activation.name();
    let gradient = reference::gradient(&weights, phi, &batch)?;
    let mut got: Tensors = gradient.weights.tensors().into_iter().map(|(name, t)| (name, t.to_owned())).collect();
    got.insert("h0".into(), gradient.initial_state.into_dyn());
    let expected = differences(&weights, phi, &batch)?.into();
    Ok(compare("reference", None, case.name(), "finite differences", &got, &expected, BOUND))
}

/// The derivative of the loss by each weight and by the initial state.
fn differences(weights: &Weights, phi: &str, batch: &Batch) -> Result<Tensors> {
    let loss = |weights: &Weights, batch: &Batch| Ok::<f64, crate::Error>(reference::forward(weights, phi, batch)?.loss);
    let mut all = Tensors::new();
    for (place, (name, tensor)) in weights.tensors().into_iter().enumerate() {
        let mut derivative = ArrayD::zeros(tensor.raw_dim());
        for (at, d) in derivative.iter_mut().enumerate() {
            let moved = |by: f64| {
                let mut weights = weights.clone();
                let tensor = weights.tensors_mut().swap_remove(place).1;
                *tensor.into_iter().nth(at).expect("an element") += by;
                loss(&weights, batch)
            };
            *d = (moved(EPSILON)? - moved(-EPSILON)?) / (2.0 * EPSILON);
        }
        all.insert(name, derivative);
    }
    let InitialState::Given(state) = &batch.initial_state else { return Ok(all) };
    let mut derivative = ndarray::Array3::zeros(state.raw_dim()).into_dyn();
    for (at, d) in derivative.iter_mut().enumerate() {
        // The state is f32, and cannot move by 1e-5: larger steps, and two of them, for an error of ε⁴.
        let slope = |by: f32| {
            let moved = |by: f32| {
                let mut state = state.clone();
                *state.iter_mut().nth(at).expect("an element") += by;
                loss(weights, &Batch { initial_state: InitialState::Given(state), ..batch.clone() })
            };
            Ok::<f64, crate::Error>((moved(by)? - moved(-by)?) / (2.0 * f64::from(by)))
        };
        let step = 1.0 / 1024.0;
        *d = (4.0 * slope(step / 2.0)? - slope(step)?) / 3.0;
    }
    all.insert("h0".into(), derivative);
    Ok(all)
}
