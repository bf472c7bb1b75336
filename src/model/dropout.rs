//! Dropout between layers and before the head: what is read of a layer's outputs in training, and the gradient on its way back. A network
//! without dropout records nothing of it.

use super::config::Config;
use super::layer::Segment;
use crate::kernels::dropout::{OUTPUT_LAYER, Place, dropout};
use crate::program::{Mat, Program};

/// The masks of a network; N is the length of a segment.
#[derive(Debug, Clone)]
pub(crate) struct Dropout {
    /// Seed and training step, `[1, 4]`, where anything is dropped.
    pub schedule: Option<Mat>,
    /// Of each layer's outputs.
    masks: Vec<Option<Mask>>,
    /// The gradient by what is left of a layer's outputs, `[N·B, cols]`.
    d_left: Option<Mat>,
}

/// A mask of a layer's outputs.
#[derive(Debug, Clone, Copy)]
struct Mask {
    layer: u32,
    rate: f64,
    /// What is left of the outputs of a segment, `[N·B, cols]`: what is above reads it, also for its gradient.
    left: Mat,
}

impl Dropout {
    /// Declares what the masks of layers with so many outputs, `[N·B, cols]`, need.
    pub fn new(program: &mut Program, config: &Config, [length, cols]: [u32; 2]) -> Dropout {
        let mut mask = |layer: usize| {
            let is_last = layer + 1 == config.layers;
            let (rate, number) = if is_last { (config.output_dropout, OUTPUT_LAYER) } else { (config.dropout, layer as u32) };
            let left = |program: &mut Program| program.transient(format!("kept outputs, layer {layer}"), length, cols);
            (rate > 0.0).then(|| Mask { layer: number, rate, left: left(program) })
        };
        let masks: Vec<Option<Mask>> = (0..config.layers).map(&mut mask).collect();
        let is_any = config.drops();
        Dropout {
            schedule: is_any.then(|| program.indices("seed and step of dropout", 1, 4)),
            masks,
            d_left: is_any.then(|| program.transient("gradient of kept outputs", length, cols)),
        }
    }

    /// Records what is left of a layer's outputs in a segment.
    pub fn forward(&self, program: &mut Program, layer: usize, outputs: Mat, segment: &Segment) {
        if let Some(mask) = self.masks[layer] {
            self.record(program, mask, outputs, segment.of(mask.left), segment);
        }
    }

    /// Records the gradient by a layer's outputs in a segment from that by what is left of them.
    pub fn backward(&self, program: &mut Program, layer: usize, d_outputs: Mat, segment: &Segment) {
        if let Some(mask) = self.masks[layer] {
            self.record(program, mask, self.gradient(layer, d_outputs, segment), d_outputs, segment);
        }
    }

    /// What is left of a layer's outputs: themselves where nothing is dropped.
    pub fn left(&self, layer: usize, outputs: Mat, segment: &Segment) -> Mat {
        self.masks[layer].map_or(outputs, |mask| segment.of(mask.left))
    }

    /// Where the gradient by what is left of a layer's outputs goes.
    pub fn gradient(&self, layer: usize, d_outputs: Mat, segment: &Segment) -> Mat {
        self.masks[layer].and(self.d_left).map_or(d_outputs, |window| segment.of(window))
    }

    fn record(&self, program: &mut Program, mask: Mask, from: Mat, to: Mat, segment: &Segment) {
        let schedule = self.schedule.expect("where there is a mask");
        dropout(program, from, schedule, to, Place { layer: mask.layer, row: segment.rows.start, rate: mask.rate });
    }
}
