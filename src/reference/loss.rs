//! ℓ and its derivative by the outputs.

use ndarray::{Array2, Array3, indices, s};

use super::layer::rows;
use crate::batch::{Batch, Reduction, Targets};

/// `L` and `∂L/∂o`, `[T·B, O]`. An output that does not count is not looked at, so that not even NaN gets out of it.
pub(super) fn measure(outputs: &Array3<f64>, batch: &Batch) -> (f64, Array2<f64>) {
    let mut loss = 0.0;
    let mut total = 0.0;
    let mut d_outputs = Array3::zeros(outputs.dim());
    for at in indices(batch.shape()) {
        if !batch.counts(at.0, at.1) {
            continue;
        }
        let output = outputs.slice(s![at.0, at.1, ..]);
        let mut d_output = d_outputs.slice_mut(s![at.0, at.1, ..]);
        let weight = weight(batch, at);
        total += weight;
        match &batch.targets {
            Targets::Classes(classes) => {
                let class = classes[at] as usize;
                // Relative to the largest logit no exponential overflows, and their sum is at least 1.
                let largest = output.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
                let log_sum = output.fold(0.0, |sum, &o| sum + (o - largest).exp()).ln();
                loss += weight * (log_sum - (output[class] - largest));
                d_output.assign(&output.mapv(|o| (o - largest - log_sum).exp()));
                d_output[class] -= 1.0;
                d_output *= weight;
            }
            Targets::Values(values) => {
                let width = output.len() as f64;
                let error = &output - &values.slice(s![at.0, at.1, ..]).mapv(f64::from);
                loss += error.dot(&error) / width;
                d_output.assign(&(error * (2.0 / width)));
            }
        }
    }
    let scale = match batch.reduction {
        Reduction::Mean if total == 0.0 => 0.0,
        Reduction::Mean => 1.0 / total,
        Reduction::Sum => 1.0,
    };
    (loss * scale, rows((d_outputs * scale).view()).to_owned())
}

/// What an output counts for: the weight of its class, or 1.
fn weight(batch: &Batch, at: (usize, usize)) -> f64 {
    match (&batch.class_weights, &batch.targets) {
        (Some(weights), Targets::Classes(classes)) => weights.get(classes[at] as usize).copied().unwrap_or(1.0).into(),
        _ => 1.0,
    }
}
