//! What `trace_gradients` adds to the metrics of a training step: how gradients flow through each layer, and how far the step moves each
//! tensor.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::batch::Batch;
use crate::flow::{Flow, Seen};
use crate::network::{Network, PARAMETERS, Stored};

/// The flow through a layer, as a line of metrics has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerFlow {
    /// ‖∂L/∂h‖ at the last step, one before, and so on back to the first, of the loss at the last step alone: [`crate::flow::Size::mean`] over
    /// the sequences of the batch. `None`: f32 ran out.
    pub norms: Vec<Option<f32>>,
    /// The share of sequences of which nothing is left at the first step. `None`: f32 ran out.
    pub lost: Option<f64>,
    /// The factor of a step back, fitted.
    pub rate: Option<f64>,
    /// [`Flow::imprecise_after`].
    pub imprecise_after: Option<usize>,
    /// The share of units with a derivative below 0.01, over all steps and sequences.
    pub saturated: f64,
    /// The share of units that have it at every step of every sequence.
    pub dead: f64,
}

impl From<Flow> for LayerFlow {
    fn from(flow: Flow) -> LayerFlow {
        let known = flow.known().len();
        let norm = |(back, size): (usize, &crate::flow::Size)| Some(size.mean as f32).filter(|n| back < known && n.is_finite());
        LayerFlow {
            norms: flow.norms.iter().enumerate().map(norm).collect(),
            lost: flow.norms.last().filter(|_| flow.out_of_range.is_none()).map(|n| n.zero),
            rate: flow.rate,
            imprecise_after: flow.imprecise_after,
            saturated: flow.mean_saturated(),
            dead: flow.dead,
        }
    }
}

/// The flow through each layer, the first layer first, on the batch of the training step that comes next. Nothing of that step changes.
pub(super) fn flows(network: &mut Network, batch: &Batch) -> Result<Vec<LayerFlow>> {
    let mut seen = Seen::new(network.model().config().activation);
    seen.see(network, batch)?;
    Ok(seen.flows().into_iter().map(LayerFlow::from).collect())
}

/// The parameters before a step, on the host.
pub(super) struct Before(Vec<(String, Stored, Vec<f32>)>);

impl Before {
    pub fn of(network: &mut Network) -> Result<Before> {
        let mut all = Vec::new();
        for (name, _, stored) in network.tensors() {
            if let Stored::Parameter(PARAMETERS, _) = stored {
                let values = network.read_stored(stored)?;
                all.push((name, stored, values));
            }
        }
        Ok(Before(all))
    }

    /// ‖Δw‖/‖w‖ of each tensor. `None`: it was zero.
    pub fn ratios(self, network: &mut Network) -> Result<BTreeMap<String, Option<f64>>> {
        // A tensor at a time: they are not all needed twice at once.
        let ratio = |(name, stored, before): (String, Stored, Vec<f32>)| {
            let after = network.read_stored(stored)?;
            let square = |x: f64| x * x;
            let change: f64 = before.iter().zip(&after).map(|(&a, &b)| square(f64::from(b) - f64::from(a))).sum();
            let size: f64 = before.iter().map(|&a| square(f64::from(a))).sum();
            Ok((name, Some((change / size).sqrt()).filter(|ratio| ratio.is_finite())))
        };
        self.0.into_iter().map(ratio).collect()
    }
}
