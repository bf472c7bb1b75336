//! ℓ and its derivative by the outputs.

use ndarray::{Array2, Array3, indices, s};

use super::layer::rows;
use crate::batch::{Batch, Loss, Reduction, Targets};

/// What outputs cost.
pub(super) struct Measured {
    /// `L`.
    pub loss: f64,
    /// What label smoothing adds to what the gradient is of.
    pub smoothing: f64,
    /// The gradient of both, `[T·B, O]`.
    pub d_outputs: Array2<f64>,
}

/// Measures outputs. One that does not count is not looked at, so that not even NaN gets out of it.
pub(super) fn measure(outputs: &Array3<f64>, batch: &Batch, criterion: &Loss, label_smoothing: f64) -> Measured {
    let (mut loss, mut smoothing) = (0.0, 0.0);
    let mut total = 0.0;
    let mut d_outputs = Array3::zeros(outputs.dim());
    for at in indices(batch.shape()) {
        if !batch.counts(at.0, at.1) {
            continue;
        }
        let output = outputs.slice(s![at.0, at.1, ..]);
        let mut d_output = d_outputs.slice_mut(s![at.0, at.1, ..]);
        let weight = weight(batch, at, criterion);
        total += match (criterion, &batch.targets) {
            (Loss::ErrorToSignal, Targets::Values(values)) => {
                let target = values.slice(s![at.0, at.1, ..]).mapv(f64::from);
                target.dot(&target) / target.len() as f64 + 1e-5
            }
            (Loss::NashSutcliffe, _) => 1.0,
            _ => weight,
        };
        match &batch.targets {
            Targets::Classes(classes) => {
                let class = classes[at] as usize;
                // Relative to the largest logit no exponential overflows, and their sum is at least 1.
                let largest = output.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
                let log_sum = output.fold(0.0, |sum, &o| sum + (o - largest).exp()).ln();
                let cost = log_sum - (output[class] - largest);
                loss += weight * cost;
                // The cross-entropy with the same probability for every class.
                let of_all = log_sum - (output.mean().expect("a class") - largest);
                smoothing += weight * label_smoothing * (of_all - cost);
                d_output.assign(&output.mapv(|o| (o - largest - log_sum).exp()));
                d_output -= label_smoothing / output.len() as f64;
                d_output[class] -= 1.0 - label_smoothing;
                d_output *= weight;
            }
            Targets::Values(values) => {
                let width = output.len() as f64;
                let per_target = output.len() / values.dim().2;
                for (place, (&o, d)) in output.iter().zip(&mut d_output).enumerate() {
                    let (cost, slope) = penalty(criterion, o, values[[at.0, at.1, place / per_target]].into(), place);
                    loss += weight * cost / width;
                    *d = weight * slope / width;
                }
            }
        }
    }
    let scale = match batch.reduction {
        Reduction::Mean if total == 0.0 => 0.0,
        Reduction::Mean => 1.0 / total,
        Reduction::Sum => 1.0,
    };
    Measured { loss: loss * scale, smoothing: smoothing * scale, d_outputs: rows((d_outputs * scale).view()).to_owned() }
}

/// What an output counts for: the weight of its class, that of its sequence, or 1.
fn weight(batch: &Batch, at: (usize, usize), criterion: &Loss) -> f64 {
    match (&batch.class_weights, &batch.targets) {
        (Some(weights), Targets::Classes(classes)) => weights.get(classes[at] as usize).copied().unwrap_or(1.0).into(),
        (_, Targets::Values(values)) if *criterion == Loss::NashSutcliffe => {
            let deviation = match &batch.deviations {
                Some(deviations) => deviations[at.1].into(),
                None => {
                    let steps: Vec<usize> = (0..batch.shape().0).filter(|&t| batch.counts(t, at.1)).collect();
                    let all: Vec<f64> = steps.iter().flat_map(|&t| values.slice(s![t, at.1, ..])).map(|&v| v.into()).collect();
                    let mean = all.iter().sum::<f64>() / all.len() as f64;
                    (all.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / all.len() as f64).sqrt()
                }
            };
            1.0 / ((deviation + 0.1) * (deviation + 0.1))
        }
        _ => 1.0,
    }
}

/// What an output o costs against a target v, and the derivative by o.
fn penalty(criterion: &Loss, o: f64, v: f64, place: usize) -> (f64, f64) {
    let e = o - v;
    match criterion {
        Loss::AbsoluteError => (e.abs(), if e == 0.0 { 0.0 } else { e.signum() }),
        Loss::Huber(threshold) => {
            let threshold = f64::from(*threshold);
            let clipped = e.clamp(-threshold, threshold);
            (clipped * (e - clipped / 2.0), clipped)
        }
        Loss::BinaryCrossEntropy => {
            // Either logarithm by the side on which it keeps its digits.
            let log_sigmoid = |x: f64| if x < 0.0 { x - x.exp().ln_1p() } else { -(-x).exp().ln_1p() };
            (-v * log_sigmoid(o) - (1.0 - v) * log_sigmoid(-o), log_sigmoid(o).exp() - v)
        }
        Loss::Quantile(levels) => {
            let level = f64::from(levels[place % levels.len()]);
            ((-level * e).max((1.0 - level) * e), if e == 0.0 { 0.0 } else { f64::from(u8::from(e > 0.0)) - level })
        }
        _ => (e * e, 2.0 * e),
    }
}
