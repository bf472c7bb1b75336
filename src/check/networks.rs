//! Whole training steps of networks of every kind, in lockstep with the definitions, and their gradients against the f64
//! reference, which shares nothing with the programs.

mod cases;
mod expected;

use std::collections::BTreeMap;

pub(super) use cases::other_losses;
pub use cases::{Case, cases};
pub(crate) use expected::compare;
pub use expected::{Expected, bound, cell, expected, expected_from, in_f64, mismatches, parameters};
use ndarray::{ArrayD, arr1};

use super::{Lockstep, Outcome};
use crate::Result;
use crate::backend::Backend;
use crate::batch::{Batch, InitialState};
use crate::model::{Config, Model, NamedArrays};
use crate::network::{Masks, Network, Traced};
use crate::program::Program;
use crate::reference::{self, Regularization};

/// What dropout's masks follow from where gradients are held to the reference: each beyond 32 bits.
pub const MASKS: Masks = Masks { seed: 0x9876_5432_1000_0007, step: (5 << 32) + 3 };

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
    let batch = case.batch(3);
    let start = reference::initial(&weights, &cell, &batch);
    let before = reference::forward_with(&weights, &cell, &batch, &start, &case.config.loss, &Regularization::NONE)?;
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
fn widened(named: &NamedArrays) -> Tensors {
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

/// Trains a network on several ranks, of which `make` makes this one's, and holds its gradients before and after to the reference. Then trains
/// it again: all that comes of it must be the same bits.
///
/// # Errors
/// What `make` and the backend report.
pub fn on_ranks(case: &Case, make: &mut dyn FnMut(&Config) -> Result<Network>) -> Result<Vec<Outcome>> {
    let mut network = make(&case.config)?;
    let before = train(&mut network, case)?;
    let weights = network.parameters()?;
    let batch = case.batch(6);
    let after = gradient(&mut network, &batch)?;
    let again = other_bits(&before, &train(&mut make(&case.config)?, case)?);
    let of = |got: &Tensors, expected: Expected, bound: f64| {
        // What is kept of hidden states is each rank's own.
        let tensors = expected.tensors.iter().filter(|(name, _)| got.contains_key(*name));
        let tensors = tensors.map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
        compare("gradient", Some("ranks"), case.name(), "reference", got, &expected.with(tensors), bound)
    };
    let bound = bound(&case.config);
    let expected = expected(&case.config, &in_f64(&cell(&case.config), &weights), &batch)?;
    let gradients = [of(&before, after_training(case)?, 2.0 * bound), of(&after, expected, bound)];
    let again = Outcome::again("training steps", Some("ranks"), case.name(), again);
    Ok([gradients.into(), vec![again]].concat())
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
    let keeps = (config.segments().len() == 1 || config.bidirectional) && network.rank().1 == 1;
    for layer in 0..if keeps { config.layers } else { 0 } {
        all.insert(format!("hidden_l{layer}"), in_f64(&network.hidden(layer)?.into_dyn()));
    }
    let traced = if config.trace { network.trace(batch)? } else { Vec::new() };
    for (layer, Traced { hidden, d_hidden, second }) in traced.into_iter().enumerate() {
        all.insert(format!("traced_l{layer}"), in_f64(&hidden.into_dyn()));
        all.insert(format!("d_hidden_l{layer}"), in_f64(&d_hidden.into_dyn()));
        if let Some(state) = second {
            all.insert(format!("traced_{}_l{layer}", state.name), in_f64(&state.values.into_dyn()));
            all.insert(format!("d_{}_l{layer}", state.name), in_f64(&state.gradient.into_dyn()));
        }
    }
    // It carries the state on.
    if config.is_regularized() {
        all.insert(EVALUATED.into(), arr1(&[f64::from(network.loss(batch)?)]).into_dyn());
    }
    Ok(all)
}
