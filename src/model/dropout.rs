//! Dropout between layers and before the head: what is read of a layer's outputs in training, and the gradient on its way back. A network
//! without dropout records nothing of it.

use super::config::Config;
use crate::kernels::dropout::{OUTPUT_LAYER, Place, dropout};
use crate::kernels::recurrence::{gate_cols, gate_stride};
use crate::kernels::rows::Rows;
use crate::program::{Mat, Program};

/// The masks of a network; R is the number of rows that go through a layer together: of a segment in one direction, of all time steps in two.
#[derive(Debug, Clone)]
pub(crate) struct Dropout {
    /// Seed and training step, `[1, 4]`.
    schedule: Option<Mat>,
    hidden: u32,
    directions: u32,
    /// Those of all time steps.
    rows: Rows,
    /// Of each layer's outputs.
    masks: Vec<Option<Mask>>,
    /// The gradient by what is left of a layer's outputs, `[R, H·directions]`.
    d_left: Option<Mat>,
}

/// A mask of a layer's outputs.
#[derive(Debug, Clone, Copy)]
struct Mask {
    layer: u32,
    rate: f64,
    /// What is left of the outputs, `[R, H·directions]`: what is above reads it, also for its gradient.
    left: Mat,
}

impl Dropout {
    /// Declares what the masks need where so many rows go through a layer together.
    pub fn new(program: &mut Program, config: &Config, rows: u32, schedule: Option<Mat>) -> Dropout {
        let cols = gate_cols(config.hidden as u32, config.directions());
        let mut mask = |layer: usize| {
            let is_last = layer + 1 == config.layers;
            let (rate, number) = if is_last { (config.output_dropout, OUTPUT_LAYER) } else { (config.dropout, layer as u32) };
            let left = |program: &mut Program| {
                let name = format!("kept outputs, layer {layer}");
                // Between directions no other buffer may leave anything.
                if config.bidirectional { program.matrix(name, rows, cols) } else { program.transient(name, rows, cols) }
            };
            (rate > 0.0).then(|| Mask { layer: number, rate, left: left(program) })
        };
        let masks: Vec<Option<Mask>> = (0..config.layers).map(&mut mask).collect();
        let is_any = config.drops();
        Dropout {
            schedule,
            hidden: config.hidden as u32,
            directions: config.directions() as u32,
            rows: config.rows(),
            masks,
            d_left: is_any.then(|| program.transient("gradient of kept outputs", rows, cols)),
        }
    }

    /// Records what is left of a layer's outputs, of which the first row is row `first` of all time steps.
    pub fn forward(&self, program: &mut Program, layer: usize, outputs: Mat, first: u32) {
        if let Some(mask) = self.masks[layer] {
            self.record(program, mask, outputs, self.left(layer, outputs), first);
        }
    }

    /// Records the gradient by a layer's outputs from that by what is left of them.
    pub fn backward(&self, program: &mut Program, layer: usize, d_outputs: Mat, first: u32) {
        if let Some(mask) = self.masks[layer] {
            self.record(program, mask, self.gradient(layer, d_outputs), d_outputs, first);
        }
    }

    /// What is left of a layer's outputs: themselves where nothing is dropped.
    pub fn left(&self, layer: usize, outputs: Mat) -> Mat {
        self.masks[layer].map_or(outputs, |mask| mask.left.slice_rows(0..outputs.rows()))
    }

    /// Where the gradient by what is left of a layer's outputs goes.
    pub fn gradient(&self, layer: usize, d_outputs: Mat) -> Mat {
        self.masks[layer].and(self.d_left).map_or(d_outputs, |window| window.slice_rows(0..d_outputs.rows()))
    }

    /// One step for each direction, since what lies between them is no output.
    fn record(&self, program: &mut Program, mask: Mask, from: Mat, to: Mat, first: u32) {
        let schedule = self.schedule.expect("where there is a mask");
        for direction in 0..self.directions {
            let start = direction * gate_stride(self.hidden);
            let half = |window: Mat| window.slice_gate(start..start + self.hidden);
            let (width, col) = (self.directions * self.hidden, direction * self.hidden);
            let place = Place { layer: mask.layer, rows: Rows { first, ..self.rows }, width, col, rate: mask.rate };
            dropout(program, half(from), schedule, half(to), place);
        }
    }
}
