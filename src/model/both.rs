//! What a network of two directions has besides its layers.
//!
//! The reverse direction of a layer is the same layer on rows that are turned around: time step t of a sequence of length n is its step
//! n − 1 − t, and padding stays behind. To turn twice is to do nothing, so that one index serves what it reads, what it puts out, and the
//! gradients of both. What a layer puts out, by time, is what the layer above and the head read: `[T·B, 2H]`, the states of the forward direction
//! and behind them those of the reverse one, in memory from the next multiple of four on. A layer needs it of all time steps before it can
//! begin, so it is kept whole, and each layer goes through all segments before the next. Its two directions need nothing of each other, so their
//! recurrences are pairs of steps, which run at the same time where that can be.

use super::config::Config;
use super::layer::Layer;
use super::segment::Segment;
use crate::batch::Input;
use crate::kernels::fill;
use crate::kernels::gather::gather;
use crate::kernels::recurrence::{gate_cols, gate_stride};
use crate::program::{Mat, Program};

/// The direction of a layer by its place among the layers.
pub(crate) fn is_reverse(place: usize) -> bool {
    place % 2 == 1
}

/// The buffers; N is the length of a segment.
#[derive(Debug, Clone)]
pub(crate) struct Both {
    /// For each segment the rows that [`super::segment::turned`] makes, `[segments, N·B]`.
    pub turned: Mat,
    hidden: u32,
    /// Of each layer what both directions put out, `[T·B, 2H]`.
    pub outputs: Vec<Mat>,
    /// And its gradient.
    pub d_outputs: Vec<Mat>,
    /// What the reverse direction of each layer reads in its own order, `[N·B, ·]`, where it is vectors.
    inputs: Vec<Option<Mat>>,
    /// And its gradient, `[T·B, ·]`, where a layer or an embedding is below.
    d_inputs: Vec<Option<Mat>>,
    /// h of the reverse direction in its own order, `[T·B, H]`, where a layer keeps those of a segment alone.
    whole: Option<Mat>,
}

impl Both {
    pub fn new(program: &mut Program, config: &Config, length: u32) -> Both {
        let [batch, window, hidden] = [config.batch, config.window, config.hidden].map(|n| n as u32);
        let (rows, segments, cols) = (window * batch, config.segments().len() as u32, gate_cols(hidden, 2));
        let layers = || 0..config.layers;
        let below = |layer: usize| match (layer, config.first_layer_input()) {
            (0, Input::Tokens(_)) => None,
            (0, Input::Vectors(size)) => Some(size as u32),
            _ => Some(cols),
        };
        Both {
            turned: program.indices("turned rows", segments, length),
            hidden,
            outputs: layers().map(|l| program.matrix(format!("outputs, layer {l}"), rows, cols)).collect(),
            d_outputs: layers().map(|l| program.transient(format!("gradient of outputs, layer {l}"), rows, cols)).collect(),
            inputs: layers()
                .map(|l| below(l).map(|cols| program.transient(format!("turned inputs, layer {l}"), length, cols)))
                .collect(),
            d_inputs: layers()
                .map(|l| {
                    below(l)
                        .filter(|_| l > 0 || config.embedding.is_some())
                        .map(|cols| program.transient(format!("gradient of turned inputs, layer {l}"), rows, cols))
                })
                .collect(),
            whole: (segments > 1).then(|| program.transient("hidden in reverse", rows, hidden)),
        }
    }

    /// The columns of a direction.
    fn half(&self, window: Mat, place: usize) -> Mat {
        let first = if is_reverse(place) { gate_stride(self.hidden) } else { 0 };
        window.slice_gate(first..first + self.hidden)
    }

    /// What a direction reads in a segment: rows of what lies below, by time, or these turned, which is recorded.
    pub fn turn_inputs(&self, program: &mut Program, place: usize, below: Mat, segment: &Segment) {
        if let (true, Some(inputs)) = (is_reverse(place), self.inputs[place / 2]) {
            gather(program, segment.indices(self.turned), below, segment.within(inputs));
        }
    }

    /// The rows that a direction reads in a segment once they were turned, if it has to.
    pub fn inputs(&self, place: usize, below: Mat, segment: &Segment) -> Mat {
        match self.inputs[place / 2] {
            Some(inputs) if is_reverse(place) => segment.within(inputs),
            _ => segment.rows_in(below),
        }
    }

    /// Where the gradient by what it reads goes, of which that by rows in the order of time goes to `below`.
    pub fn d_inputs(&self, place: usize, below: Option<Mat>, segment: &Segment) -> Option<Mat> {
        let turned = self.d_inputs[place / 2];
        Some(segment.rows_in(if is_reverse(place) { turned? } else { below? }))
    }

    /// Keeps what a direction put out in a segment.
    pub fn keep(&self, program: &mut Program, place: usize, layer: &Layer, segment: &Segment) {
        let outputs = layer.outputs(segment);
        match self.whole {
            _ if !is_reverse(place) => fill::copy(program, outputs, segment.rows_in(self.half(self.outputs[place / 2], place))),
            Some(whole) => fill::copy(program, outputs, segment.rows_in(whole)),
            None => {}
        }
    }

    /// Turns what the reverse direction put out in all segments.
    pub fn turn_outputs(&self, program: &mut Program, place: usize, layer: &Layer, segments: &[Segment]) {
        if is_reverse(place) {
            let outputs = self.half(self.outputs[place / 2], place);
            let whole = self.whole.unwrap_or_else(|| layer.outputs(&segments[0]));
            segments.iter().for_each(|segment| gather(program, segment.indices(self.turned), whole, segment.rows_in(outputs)));
        }
    }

    /// Brings the gradient by what a direction puts out in a segment to `d_hidden`, `[N·B, H]`, in the order of the direction.
    pub fn d_hidden(&self, program: &mut Program, place: usize, d_hidden: Mat, segment: &Segment) {
        let d_outputs = self.half(self.d_outputs[place / 2], place);
        match is_reverse(place) {
            true => gather(program, segment.indices(self.turned), d_outputs, d_hidden),
            false => fill::copy(program, segment.rows_in(d_outputs), d_hidden),
        }
    }

    /// Adds the gradient by what the reverse direction reads, of all segments, to that by what the forward one does. It is turned where what the
    /// reverse direction read was.
    pub fn turn_d_inputs(&self, program: &mut Program, place: usize, below: Option<Mat>, segments: &[Segment]) {
        let (inputs, d_inputs) = (self.inputs[place / 2], self.d_inputs[place / 2]);
        if let (true, Some(inputs), Some(d_inputs), Some(below)) = (is_reverse(place), inputs, d_inputs, below) {
            for segment in segments {
                let turned = segment.within(inputs);
                gather(program, segment.indices(self.turned), d_inputs, turned);
                fill::add(program, 1.0, turned, segment.rows_in(below));
            }
        }
    }
}
