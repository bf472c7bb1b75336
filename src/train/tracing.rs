//! What `trace_gradients` adds to the metrics of a training step: how gradients flow through each layer, and how far the step moves each
//! tensor.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::folder::SPILLED;
use crate::batch::Batch;
use crate::blocks::BLOCK;
use crate::flow::{Flow, FlowMeter};
use crate::network::{Network, PARAMETERS, Stored};
use crate::{Error, Result};

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
    /// The share of units with a derivative below 0.01, over all steps and sequences. `None` for cells whose h is not φ of a sum.
    pub saturated: Option<f64>,
    /// The share of units that have it at every step of every sequence. `None` for the same cells.
    pub dead: Option<f64>,
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
            dead: flow.mean_saturated().map(|_| flow.dead),
        }
    }
}

/// The flow through each layer, the first layer first, on the batch of the training step that comes next. Nothing of that step changes.
pub(super) fn flows(network: &mut Network, batch: &Batch) -> Result<Vec<LayerFlow>> {
    let config = network.model().config();
    let mut meter = FlowMeter::new(config.cell, config.activation);
    meter.measure(network, batch)?;
    Ok(meter.flows().into_iter().filter(|flow| flow.state == "h").map(|flow| LayerFlow::from(flow.flow)).collect())
}

/// A tensor's name, shape and place, and its values unless they are in the file.
type Kept = (String, Vec<usize>, Stored, Option<Vec<f32>>);

/// The parameters before a step: those of a block or less on the host, larger ones in a file of the run's folder, which is gone after it.
pub(super) struct Before {
    kept: Vec<Kept>,
    file: Option<Spilled>,
}

impl Before {
    pub fn new(network: &mut Network, folder: &Path) -> Result<Before> {
        let mut before = Before { kept: Vec::new(), file: None };
        for (name, shape, stored) in network.tensors() {
            let Stored::Parameter(PARAMETERS, _) = stored else { continue };
            let is_small = shape.iter().product::<usize>() <= BLOCK;
            let mut values = is_small.then(Vec::new);
            network.each_block(stored, &shape, |block| match &mut values {
                Some(values) => {
                    values.extend_from_slice(block);
                    Ok(())
                }
                None => before.spilled(folder)?.write(block),
            })?;
            before.kept.push((name, shape, stored, values));
        }
        Ok(before)
    }

    fn spilled(&mut self, folder: &Path) -> Result<&mut Spilled> {
        if self.file.is_none() {
            self.file = Some(Spilled::create(folder.join(SPILLED))?);
        }
        Ok(self.file.as_mut().expect("it was made"))
    }

    /// ‖Δw‖/‖w‖ of each tensor. `None`: it was zero.
    pub fn ratios(self, network: &mut Network) -> Result<BTreeMap<String, Option<f64>>> {
        let mut file = self.file;
        if let Some(file) = &mut file {
            file.rewind()?;
        }
        let square = |x: f64| x * x;
        let mut ratio = |(name, shape, stored, values): Kept| {
            let (mut change, mut size, mut at) = (0.0, 0.0, 0);
            network.each_block(stored, &shape, |after| {
                let before = match (&values, &mut file) {
                    (Some(values), _) => values[at..at + after.len()].to_vec(),
                    (None, Some(file)) => file.read(after.len())?,
                    (None, None) => unreachable!("what is not kept here is in the file"),
                };
                at += after.len();
                for (&a, &b) in before.iter().zip(after) {
                    change += square(f64::from(b) - f64::from(a));
                    size += square(f64::from(a));
                }
                Ok(())
            })?;
            Ok((name, Some((change / size).sqrt()).filter(|ratio| ratio.is_finite())))
        };
        self.kept.into_iter().map(&mut ratio).collect()
    }
}

/// Numbers in a file that is removed when they are dropped.
struct Spilled {
    path: PathBuf,
    file: File,
}

impl Spilled {
    fn create(path: PathBuf) -> Result<Spilled> {
        let create = || File::options().read(true).write(true).create_new(true).open(&path);
        // One that was left behind goes, be it a link; a new one follows none.
        let file = match create() {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => std::fs::remove_file(&path).and_then(|()| create()),
            created => created,
        };
        let file = file.map_err(|e| Error::io(&path, e))?;
        Ok(Spilled { path, file })
    }

    fn write(&mut self, values: &[f32]) -> Result<()> {
        self.file.write_all(bytemuck::cast_slice(values)).map_err(|e| Error::io(&self.path, e))
    }

    fn rewind(&mut self) -> Result<()> {
        self.file.rewind().map_err(|e| Error::io(&self.path, e))
    }

    fn read(&mut self, count: usize) -> Result<Vec<f32>> {
        let mut values = vec![0.0; count];
        self.file.read_exact(bytemuck::cast_slice_mut(&mut values)).map_err(|e| Error::io(&self.path, e))?;
        Ok(values)
    }
}

impl Drop for Spilled {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Compute;
    use crate::batch::{Input, Loss};
    use crate::model::{Config, RecurrentInit};

    /// A weight of more than a block, and small ones beside it: by the numbers themselves, all at once.
    #[test]
    fn how_far_a_step_moves_large_tensors() {
        let config = Config::new(Input::Tokens(3), 2051, 2, Loss::CrossEntropy, 1, 1);
        let mut network = Network::new(&config, &Compute::Cpu(Some(1))).unwrap();
        network.initialise(1, RecurrentInit::Uniform).unwrap();
        let all = network.parameters().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let files = || std::fs::read_dir(folder.path()).unwrap().count();
        let before = Before::new(&mut network, folder.path()).unwrap();
        assert_eq!(files(), 1);
        network.initialise(2, RecurrentInit::Identity).unwrap();
        let after = network.parameters().unwrap();
        let ratios = before.ratios(&mut network).unwrap();
        assert_eq!((files(), ratios.len()), (0, all.len()));
        for (name, ratio) in ratios {
            let norm = |of: ndarray::ArrayD<f64>| of.mapv(|x| x * x).sum().sqrt();
            let (a, b) = (all[&name].mapv(f64::from), after[&name].mapv(f64::from));
            approx::assert_relative_eq!(ratio.unwrap(), norm(&b - &a) / norm(a), max_relative = 1e-12);
        }
    }
}
