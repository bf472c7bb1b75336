//! The loss over held-out batches, through the same forward program as training.

use std::collections::BTreeMap;

use super::Measures;
use crate::Result;
use crate::batch::Batch;
use crate::data::Source;
use crate::network::Network;

/// What a network scores on some batches.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The mean over all outputs that counted, as the loss of the network weighs them.
    pub loss: f64,
    /// How many counted.
    pub counted: u64,
    /// What else is measured, where that was asked for.
    pub measures: Option<Measures>,
    /// The same of each sequence, by its place in its file, where that was asked for; of classes without their table.
    pub sequences: BTreeMap<usize, Measures>,
}

/// A batch, and which sequence each of its places has.
type BatchWithPlaces = (Batch, Vec<Option<usize>>);

/// Runs batches `0..count` through the network, from the initial state each says, and leaves the network's own state as
/// it was. To measure more than the loss means to read all outputs back.
///
/// # Errors
/// [`crate::Error::BadInput`] when a batch does not fit; what the backend reports.
pub fn evaluate(network: &mut Network, count: u64, batch: impl FnMut(u64) -> Batch, with_measures: bool) -> Result<Evaluation> {
    let found = evaluate_unless(network, count, None, batch, with_measures)?;
    Ok(found.expect("it is not asked whether to stop"))
}

/// The same for all that a source holds out, with all measures, and those of each sequence.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_sequences(network: &mut Network, source: &mut dyn Source) -> Result<Evaluation> {
    let count = source.held_out_batches();
    let found = evaluate_placed(network, count, None, |k| (source.held_out(k), source.held_out_sequences(k)), true)?;
    Ok(found.expect("it is not asked whether to stop"))
}

/// The same, but ends without a result where `is_asked_to_stop` says so before a batch, on any of the ranks that evaluate together.
///
/// # Errors
/// As [`evaluate`].
pub(super) fn evaluate_unless(
    network: &mut Network,
    count: u64,
    is_asked_to_stop: Option<&mut dyn FnMut(u64) -> bool>,
    mut batch: impl FnMut(u64) -> Batch,
    with_measures: bool,
) -> Result<Option<Evaluation>> {
    evaluate_placed(network, count, is_asked_to_stop, |k| (batch(k), Vec::new()), with_measures)
}

fn evaluate_placed(
    network: &mut Network,
    count: u64,
    mut is_asked_to_stop: Option<&mut dyn FnMut(u64) -> bool>,
    mut batch: impl FnMut(u64) -> BatchWithPlaces,
    with_measures: bool,
) -> Result<Option<Evaluation>> {
    let state = network.state()?;
    let measured_by = network.model().config().loss.clone();
    let (mut loss, mut total, mut counted, mut measures) = (0.0, 0.0, 0, None);
    let mut sequences: BTreeMap<usize, Measures> = BTreeMap::new();
    for index in 0..count {
        if let Some(is_asked) = &mut is_asked_to_stop
            && network.agree_to_stop(is_asked(index))
        {
            return network.set_state(&state).map(|()| None);
        }
        let (batch, places) = batch(index);
        if batch.counted() == 0 {
            // It is read for the state behind it.
            network.loss(&batch.with_zero_targets())?;
            continue;
        }
        let weight = batch.total_weight(&measured_by);
        loss += f64::from(network.loss(&batch)?) * weight;
        total += weight;
        counted += batch.counted() as u64;
        if with_measures {
            let outputs = network.outputs()?;
            let all = measures.get_or_insert_with(|| Measures::new(&batch.targets, outputs.dim().2));
            all.add(&batch, &outputs, &measured_by);
            for (b, sequence) in places.iter().enumerate() {
                let Some(sequence) = sequence else { continue };
                let of_one =
                    sequences.entry(*sequence).or_insert_with(|| Measures::without_table(&batch.targets, outputs.dim().2));
                of_one.add_sequence(&batch, &outputs, &measured_by, b);
            }
        }
    }
    network.set_state(&state)?;
    Ok(Some(Evaluation { loss: if total > 0.0 { loss / total } else { 0.0 }, counted, measures, sequences }))
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array3, array};

    use super::*;
    use crate::backend::Compute;
    use crate::batch::{InitialState, Input, Inputs, Loss, Targets};
    use crate::check::networks;
    use crate::model::{Config, RecurrentInit};
    use crate::reference;

    #[test]
    fn outputs_that_count_are_weighed_alike_and_the_state_comes_back() {
        let config = Config::new(Input::Tokens(3), 5, 3, Loss::CrossEntropy, 2, 4);
        let mut network = Network::new(&config, &Compute::Cpu(Some(1))).unwrap();
        network.initialise(3, RecurrentInit::Uniform).unwrap();
        let state = Array3::from_shape_fn((1, 2, 5), |(_, b, h)| (b as f32 - h as f32) / 9.0);
        network.set_state(&[("h".to_owned(), state.clone())].into()).unwrap();

        let tokens = |k: usize| Array2::from_shape_fn((4, 2), |(t, b)| ((t * 5 + b + k) % 3) as u32);
        let batch = |k: u64| Batch {
            mask: (k == 1).then(|| array![[1.0, 1.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]),
            initial_state: if k == 0 { InitialState::Zero } else { InitialState::Carried },
            ..Batch::new(Inputs::Tokens(tokens(k as usize)), Targets::Classes(tokens(k as usize + 1)))
        };
        let got = evaluate(&mut network, 2, batch, true).unwrap();
        assert_eq!(got.counted, 8 + 3);
        assert_eq!(network.state().unwrap()["h"], state);

        // The same from the reference: each window alone, the second from the first's last state.
        let (mut loss, mut right) = (0.0, 0);
        let cell = networks::cell(&config);
        let weights = networks::in_f64(&cell, &network.parameters().unwrap());
        let mut start = reference::initial(&weights, &cell, &batch(0));
        for k in 0..2 {
            let batch = batch(k);
            let forward = reference::forward_from(&weights, &cell, &batch, &start).unwrap();
            loss += forward.loss * batch.counted() as f64;
            start = reference::last(&forward.states);
            let Targets::Classes(classes) = &batch.targets else { unreachable!() };
            for ((t, b), &class) in classes.indexed_iter() {
                let logits = forward.outputs.slice(ndarray::s![t, b, ..]);
                let counts = batch.mask.as_ref().is_none_or(|m| m[[t, b]] != 0.0);
                right += u64::from(counts && logits.iter().all(|&l| l <= logits[class as usize]));
            }
        }
        approx::assert_relative_eq!(got.loss, loss / 11.0, max_relative = 1e-6);
        assert_eq!(got.measures.and_then(|measures| measures.accuracy()), Some(right as f64 / 11.0));
        // Windows weighed alike would give another mean.
        let windows_alike = (0..2).map(|k| f64::from(network.loss(&batch(k)).unwrap())).sum::<f64>() / 2.0;
        assert!((windows_alike - got.loss).abs() > 1e-4 * got.loss, "{windows_alike} {}", got.loss);
    }
}
