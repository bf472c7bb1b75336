//! How the flow of gradients is measured: the norms of each sequence, from where on f32 does not know them, and how far they may be off.

use ndarray::{Array3, s};

use super::{Flow, Size, Trend, is_saturated};
use crate::batch::Batch;
use crate::cells::Cell;
use crate::network::{Network, Traced};
use crate::{Activation, Result};

/// Norms below this have parts that f32 has fewer digits for, or none.
const LEAST: f64 = 1e-35;
/// No single step takes a gradient from here to nothing, but for units without any derivative.
const FAR_FROM_LEAST: f64 = 1e-30;
/// How far a norm may be off, relative to itself.
const PRECISE: f64 = 1e-4;
/// Of the most that φ and φ′ may be off, what they are.
const USUAL: f64 = 0.5;
/// How far a state is off after a step, as a change of the norms.
const STATE_ERROR: f64 = 1e-7;

/// Measures how gradients flow through the layers of networks, from batches and from networks.
#[derive(Debug)]
pub struct FlowMeter {
    /// φ, where h is φ of a sum: units of other cells are not saturated in this sense, and how far their norms may be off is not estimated.
    activation: Option<Activation>,
    /// The states of the cell whose gradients are traced, h first.
    states: Vec<State>,
}

/// What was measured of a state.
#[derive(Debug)]
struct State {
    name: &'static str,
    layers: Vec<Layer>,
}

/// How a gradient flows through a state of a layer.
#[derive(Debug)]
pub struct StateFlow {
    /// The layer, counted from 0.
    pub layer: usize,
    /// The state's name.
    pub state: &'static str,
    /// The flow.
    pub flow: Flow,
}

/// What was measured of a layer.
#[derive(Debug, Default)]
struct Layer {
    /// Of each sequence, what there is from its last step back.
    curves: Vec<Curve>,
    /// Of each step, the last first, saturated units, of all.
    saturated: Vec<[usize; 2]>,
    /// Units that were so throughout, of all.
    dead: [usize; 2],
}

/// What becomes of the gradient of a sequence, from its last step back.
#[derive(Debug, Default)]
struct Curve {
    norms: Vec<f64>,
    /// Estimates of their relative errors, and of those of ∂L/∂h ⊙ φ′, which the step before and the layer below receive.
    errors: Vec<f64>,
    passed_on: Vec<f64>,
}

impl FlowMeter {
    /// Nothing is measured yet.
    #[must_use]
    pub fn new(cell: &Cell, activation: Activation) -> FlowMeter {
        let names = cell.states.iter().take(if cell.through_h.is_some() { 2 } else { 1 });
        FlowMeter {
            activation: Some(activation).filter(|_| cell.saved == 0),
            states: names.map(|&name| State { name, layers: Vec::new() }).collect(),
        }
    }

    /// Traces a network on a batch, of which the last output of each sequence that counts counts alone. Nothing of a training step on that
    /// batch, if one follows, changes.
    ///
    /// # Errors
    /// As [`Network::trace`].
    ///
    /// # Panics
    /// When the network has not as many layers as the one before.
    pub fn measure(&mut self, network: &mut Network, batch: &Batch) -> Result<()> {
        let batch = batch.clone().of_last_step();
        let traced = network.trace(&batch)?;
        self.add(&traced, &batch);
        Ok(())
    }

    /// Adds what came of a batch in each layer, the first layer first.
    fn add(&mut self, traced: &[Traced], batch: &Batch) {
        let hidden: Vec<Values> = traced.iter().map(|layer| Values { state: &layer.hidden, gradient: &layer.d_hidden }).collect();
        let second = traced.iter().filter_map(|layer| layer.second.as_ref());
        let second: Vec<Values> = second.map(|state| Values { state: &state.values, gradient: &state.gradient }).collect();
        for (state, values) in self.states.iter_mut().zip([hidden, second]) {
            state.add(&values, batch, self.activation);
        }
    }

    /// What that comes to in each state of each layer, the first layer first, and h before the other state.
    #[must_use]
    pub fn flows(&self) -> Vec<StateFlow> {
        let layers = self.states[0].layers.len();
        let of = |layer: usize| {
            let flow =
                move |state: &State| StateFlow { layer, state: state.name, flow: state.layers[layer].flow(self.activation) };
            self.states.iter().map(flow)
        };
        (0..layers).flat_map(of).collect()
    }
}

/// A state of a layer at every time step, and the gradient by it, `[T, B, H]` each.
#[derive(Clone, Copy)]
struct Values<'a> {
    state: &'a Array3<f32>,
    gradient: &'a Array3<f32>,
}

impl State {
    fn add(&mut self, traced: &[Values], batch: &Batch, activation: Option<Activation>) {
        assert!(self.layers.is_empty() || self.layers.len() == traced.len(), "{} layers and {}", self.layers.len(), traced.len());
        self.layers.resize_with(traced.len(), Layer::default);
        let mut dead: Vec<Vec<bool>> = traced.iter().map(|traced| vec![true; traced.state.dim().2]).collect();
        for b in 0..batch.shape().1 {
            let Some(end) = batch.last_counted(b) else { continue };
            // The last layer first: what it passes on is where the one below begins.
            let mut curves: Vec<Curve> = Vec::new();
            for traced in traced.iter().rev() {
                curves.push(Curve::new(activation, traced, [end, b], curves.last()));
            }
            // Where the loss has no gradient, none is lost.
            let has_gradient = curves[0].norms[0] != 0.0;
            let drift = drift(activation, &curves);
            curves.iter_mut().for_each(|curve| curve.errors.iter_mut().for_each(|error| *error += drift));
            for (l, curve) in curves.into_iter().rev().enumerate() {
                let layer = &mut self.layers[l];
                if let Some(activation) = activation {
                    layer.count(activation, &traced[l], [end, b], &mut dead[l]);
                }
                layer.curves.extend(has_gradient.then_some(curve));
            }
        }
        for (layer, dead) in self.layers.iter_mut().zip(dead).filter(|_| activation.is_some()) {
            layer.dead[0] += dead.iter().filter(|dead| **dead).count();
            layer.dead[1] += dead.len();
        }
    }
}

impl Curve {
    /// Of a sequence and the layer above it, from the step `[t, b]` on.
    fn new(activation: Option<Activation>, traced: &Values, [end, b]: [usize; 2], above: Option<&Curve>) -> Curve {
        let mut curve = Curve::default();
        for back in 0..=end {
            let at = s![end - back, b, ..];
            // ‖∂L/∂h‖², ‖∂L/∂h ⊙ φ′‖² and that of its error: in f64, since squares of small numbers are nothing in f32.
            let (mut norm, mut passed_on, mut off) = (0.0, 0.0, 0.0);
            for (&d, &h) in traced.gradient.slice(at).iter().zip(traced.state.slice(at)) {
                let (d, h) = (f64::from(d), f64::from(h));
                let square = |x: f64| x * x;
                norm += square(d);
                let Some(activation) = activation else { continue };
                passed_on += square(d * activation.derivative(h));
                off += square(d * USUAL * (activation.bend(h).abs() * activation.error(h) + activation.derivative_error(h)));
            }
            let behind = curve.passed_on.last().copied().unwrap_or(0.0);
            let error = above.map_or(0.0, |above| above.passed_on[back]).max(behind);
            // They add up: a unit that is saturated is so at many steps, and off by about the same at each.
            let here = if off > 0.0 { (off / passed_on).sqrt() } else { 0.0 };
            curve.norms.push(norm.sqrt());
            curve.errors.push(error);
            curve.passed_on.push(error + here);
        }
        curve
    }

    /// From where on nothing is known.
    fn ran_out(&self, activation: Option<Activation>) -> Option<usize> {
        let mut before = f64::INFINITY;
        self.norms.iter().position(|&norm| {
            let is_nothing = norm == 0.0 && has_dead_side(activation) && (before == 0.0 || before > FAR_FROM_LEAST);
            before = norm;
            !(is_nothing || norm > LEAST && norm.is_finite())
        })
    }

    /// The slope of the least-squares line through the logarithms of the first norms that are not zero.
    fn slope(&self, known: usize) -> Option<f64> {
        let norms = self.norms.iter().take(known).enumerate().filter(|(_, n)| **n > 0.0);
        let points: Vec<(f64, f64)> = norms.map(|(k, n)| (k as f64, n.ln())).collect();
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / points.len() as f64;
        let (middle, level) = (mean(|p| p.0), mean(|p| p.1));
        let above: f64 = points.iter().map(|(k, y)| (k - middle) * (y - level)).sum();
        let below: f64 = points.iter().map(|(k, _)| (k - middle) * (k - middle)).sum();
        (points.len() > 1).then(|| above / below)
    }
}

/// How far the norms may be off because the states are: an error of a state at some step changes the loss by as much as the gradient
/// there says, relative to that at the last step. Where gradients explode, so do the roundings of the states. Where φ is straight, its
/// derivatives do not depend on them.
fn drift(activation: Option<Activation>, curves: &[Curve]) -> f64 {
    if activation.is_some_and(Activation::is_straight) {
        return 0.0;
    }
    let all: f64 = curves.iter().flat_map(|curve| &curve.norms).sum();
    STATE_ERROR * all / curves[0].norms[0]
}

/// Whether units may be dead, so that a gradient of zero is known to be zero.
fn has_dead_side(activation: Option<Activation>) -> bool {
    activation.is_some_and(Activation::has_dead_side)
}

impl Layer {
    fn count(&mut self, activation: Activation, traced: &Values, [end, b]: [usize; 2], dead: &mut [bool]) {
        if self.saturated.len() <= end {
            self.saturated.resize(end + 1, [0, 0]);
        }
        for t in 0..=end {
            let [some, all] = &mut self.saturated[end - t];
            for (dead, &h) in dead.iter_mut().zip(traced.state.slice(s![t, b, ..])) {
                let is_saturated = is_saturated(activation, h);
                *dead &= is_saturated;
                *some += usize::from(is_saturated);
            }
            *all += dead.len();
        }
    }

    fn flow(&self, activation: Option<Activation>) -> Flow {
        // Below units that are all dead nothing arrives.
        let curves: Vec<&Curve> =
            self.curves.iter().filter(|curve| curve.norms[0] != 0.0 || !has_dead_side(activation)).collect();
        let at = |back: usize| -> Vec<(f64, f64)> {
            curves.iter().filter_map(|curve| Some((*curve.norms.get(back)?, curve.norms[0]))).collect()
        };
        let longest = curves.iter().map(|curve| curve.norms.len()).max().unwrap_or(0);
        let begun = geometric_mean(&curves.iter().map(|curve| curve.norms[0]).collect::<Vec<_>>());
        let norms: Vec<Size> = (0..longest).map(|back| Size::new(&at(back), begun)).collect();
        let out_of_range = curves.iter().filter_map(|curve| curve.ran_out(activation)).min();
        let known = &norms[..out_of_range.unwrap_or(norms.len())];
        let slopes: Vec<f64> = curves.iter().filter_map(|curve| curve.slope(known.len())).collect();
        let rate = (!slopes.is_empty()).then(|| (slopes.iter().sum::<f64>() / slopes.len() as f64).exp());
        let first = known.first().map_or(0.0, |n| n.mean);
        let is_lost = |n: &Size| n.zero > 0.5 || n.mean <= first * 1e-3;
        let is_grown = |n: &Size| n.mean >= first * 1e3;
        let reached = |is: &dyn Fn(&Size) -> bool| if first > 0.0 { known.iter().position(is) } else { None };
        let trend = match known {
            _ if first == 0.0 => None,
            // Beyond f32 after a single step.
            [_] => out_of_range.map(|end| if norms[end].high.is_finite() { Trend::Vanishing } else { Trend::Exploding }),
            [.., last] if is_lost(last) => Some(Trend::Vanishing),
            [.., last] if is_grown(last) => Some(Trend::Exploding),
            _ => rate.map(|rate| match rate {
                rate if rate < 0.99 => Trend::Vanishing,
                rate if rate <= 1.01 => Trend::Stable,
                _ => Trend::Exploding,
            }),
        };
        let share = |[some, all]: [usize; 2]| some as f64 / all.max(1) as f64;
        Flow {
            rate,
            trend,
            vanished_after: reached(&is_lost),
            exploded_after: reached(&is_grown),
            out_of_range,
            imprecise_after: curves
                .iter()
                .filter_map(|curve| curve.errors.iter().position(|&error| error.is_nan() || error > PRECISE))
                .min(),
            saturated: self.saturated.iter().map(|&saturated| share(saturated)).collect(),
            dead: share(self.dead),
            norms,
        }
    }
}

impl Size {
    /// Of the norms of sequences, each with that of its last step; `begun` is the mean of all of those.
    fn new(all: &[(f64, f64)], begun: f64) -> Size {
        let left: Vec<f64> = all.iter().filter(|(n, _)| *n > 0.0).map(|(n, first)| n / first).collect();
        let is_finite = all.iter().all(|(n, _)| n.is_finite());
        let high = if is_finite { all.iter().map(|(n, _)| *n).fold(0.0, f64::max) } else { f64::INFINITY };
        Size {
            mean: match left[..] {
                [] if is_finite => 0.0,
                [] => f64::INFINITY,
                _ => begun * geometric_mean(&left),
            },
            low: all.iter().map(|(n, _)| *n).fold(high, f64::min),
            high,
            zero: all.iter().filter(|(n, _)| *n == 0.0).count() as f64 / all.len().max(1) as f64,
        }
    }
}

fn geometric_mean(all: &[f64]) -> f64 {
    (all.iter().map(|x| x.ln()).sum::<f64>() / all.len() as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, Array3};

    use crate::batch::{Inputs, Targets};

    /// A batch of `[T, B, 1]` with a mask, and the gradients and states `[T, B, 1]` that came of it.
    fn see(activation: Activation, mask: Option<Array2<f32>>, d_hidden: Array3<f32>, hidden: Array3<f32>) -> Flow {
        let zero = Array3::zeros(hidden.dim());
        let batch = Batch { mask, ..Batch::new(Inputs::Vectors(zero.clone()), Targets::Values(zero)) };
        let mut meter = FlowMeter::new(Cell::usual(), activation);
        meter.add(&[Traced { hidden, d_hidden, second: None }], &batch.of_last_step());
        meter.flows().remove(0).flow
    }

    /// Sequences of other lengths are counted from their own ends, and what is behind those counts for nothing.
    #[test]
    fn each_sequence_begins_where_it_ends() {
        let mask = ndarray::arr2(&[[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]);
        let values = [[5.0, 2.0, 9.0], [8.0, 4.0, 9.0], [9.0, 16.0, 9.0], [9.0, 9.0, 9.0]];
        let values = Array3::from_shape_fn((4, 3, 1), |(t, b, _)| values[t][b]);
        let flow = see(Activation::Relu, Some(mask), values.clone(), values.mapv(|v| if v > 8.5 && v < 10.0 { 0.0 } else { v }));
        assert!(flow.imprecise_after.is_none());
        let near = |got: f64, expected: f64| assert!((got / expected - 1.0).abs() < 1e-12, "{got} and {expected}");
        assert_eq!(flow.norms.len(), 3);
        near(flow.norms[0].mean, (8.0f64 * 16.0).sqrt());
        near(flow.norms[1].mean, (5.0f64 * 4.0).sqrt());
        // Of the only one that is so long an eighth is left: so it is of the mean at the end.
        near(flow.norms[2].mean, (8.0f64 * 16.0).sqrt() / 8.0);
        assert_eq!((flow.norms[0].low, flow.norms[0].high), (8.0, 16.0));
        assert_eq!((flow.saturated, flow.dead), (vec![0.0; 3], 0.0));
    }

    /// Zero is what dead ReLU units leave; elsewhere, and where the norms before were small, f32 ran out.
    #[test]
    fn nothing_is_told_from_too_little() {
        let of = |activation, norms: &[f32]| {
            let d_hidden = Array3::from_shape_fn((norms.len(), 1, 1), |(t, ..)| norms[norms.len() - 1 - t]);
            let hidden = Array3::from_elem((norms.len(), 1, 1), 0.5);
            see(activation, None, d_hidden, hidden)
        };
        let dead = of(Activation::Relu, &[1.0, 0.5, 0.0, 0.0]);
        assert_eq!((dead.out_of_range, dead.vanished_after, dead.rate.unwrap()), (None, Some(2), 0.5));
        assert_eq!((dead.trend, dead.norms[2].zero), (Some(Trend::Vanishing), 1.0));
        assert_eq!(of(Activation::Tanh, &[1.0, 0.5, 0.0, 0.0]).out_of_range, Some(2));
        assert_eq!(of(Activation::Relu, &[1.0, 1e-33, 0.0]).out_of_range, Some(2));
        assert_eq!(of(Activation::Relu, &[1.0, 1e-36, 0.0]).out_of_range, Some(1));
        let beyond = of(Activation::Identity, &[1.0, 1e20, f32::INFINITY]);
        assert_eq!((beyond.out_of_range, beyond.exploded_after, beyond.trend), (Some(2), Some(1), Some(Trend::Exploding)));
        // In a single step.
        assert_eq!(of(Activation::Tanh, &[1.0, 1e-38]).trend, Some(Trend::Vanishing));
        assert_eq!(of(Activation::Identity, &[1.0, f32::INFINITY]).trend, Some(Trend::Exploding));
        // However slowly: a thousandth is left, and what is left of a gradient that fell at once does not grow.
        let slow: Vec<f32> = (0..1000).map(|k| 0.992f32.powi(k)).collect();
        assert_eq!(
            (of(Activation::Tanh, &slow).trend, of(Activation::Tanh, &slow[..500]).trend),
            (Some(Trend::Vanishing), Some(Trend::Stable))
        );
        // No gradient to begin with, and a single step.
        assert_eq!((of(Activation::Tanh, &[0.0, 0.0]).rate, of(Activation::Tanh, &[1.0]).trend), (None, None));
    }

    /// What falls to nothing does not count for what the others do: the rate is that of each sequence, and no more than any step's.
    #[test]
    fn survivors_are_no_trend() {
        // One falls fast and then to nothing, so that the mean rises to that of the other, which stays.
        let d_hidden =
            Array3::from_shape_fn((4, 2, 1), |(t, b, _)| [[1.0, 1e-3, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]][b][3 - t] as f32);
        let flow = see(Activation::Relu, None, d_hidden, Array3::from_elem((4, 2, 1), 0.5));
        assert!(flow.rate.unwrap() < 1.0, "{flow:?}");
        assert_eq!(flow.norms.iter().map(|n| n.zero).collect::<Vec<_>>(), [0.0, 0.0, 0.5, 0.5]);
    }

    /// A layer whose gradient f32 has lost on its way through the one above, and one that gets none.
    #[test]
    fn nothing_arrives_or_too_little() {
        let of = |activation, above: f32| {
            let layer = |d: f32, h: f32| {
                let [hidden, d_hidden] = [h, d].map(|x| Array3::from_elem((3, 1, 1), x));
                Traced { hidden, d_hidden, second: None }
            };
            let zero = Array3::zeros((3, 1, 1));
            let batch = Batch::new(Inputs::Vectors(zero.clone()), Targets::Values(zero));
            let mut meter = FlowMeter::new(Cell::usual(), activation);
            meter.add(&[layer(0.0, 0.5), layer(above, 1.0)], &batch.of_last_step());
            meter.flows().remove(0).flow
        };
        assert_eq!(of(Activation::Tanh, 1.0).out_of_range, Some(0));
        assert_eq!((of(Activation::Relu, 1.0).out_of_range, of(Activation::Tanh, 0.0).out_of_range), (None, None));
    }
}
