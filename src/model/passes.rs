//! The passes over a network, recorded once for all layers and segments. Everything is `[T·B, ·]`, row t·B + b.
//!
//! A long window is computed in segments of N steps (Chen, Xu, Zhang & Guestrin 2016, *Training Deep Nets with Sublinear Memory Cost*).
//! The states between them are kept, those inside only of the segment at hand: so a segment's forward pass is computed again
//! before its backward pass, and gradients add up over the segments. With one segment, which is the usual case, all states are kept.

use super::dropout::Dropout;
use super::head::Head;
use super::layer::{Layer, Reads, Segment, Shared};
use super::recurrent::InputWindows;
use crate::program::{Mat, Program};

/// What the passes over a window are recorded with.
pub(super) struct Recording<'a> {
    pub inputs: InputWindows,
    pub layers: &'a [Layer],
    pub dropout: &'a Dropout,
    pub head: &'a Head,
    pub segments: &'a [Segment],
    pub shared: &'a Shared,
    /// ∂L/∂h from above, of one layer after the other: `[N·B, H]`.
    pub d_hidden: Mat,
}

impl Recording<'_> {
    /// What a layer reads in a segment.
    fn reads(&self, layer: usize, segment: &Segment) -> Reads {
        match (layer, self.inputs) {
            (0, InputWindows::Tokens { tokens, order, starts }) => Reads::Tokens {
                tokens: segment.indices(tokens),
                order: segment.indices(order),
                starts: starts.slice_rows(segment.number..segment.number + 1),
            },
            (0, InputWindows::Vectors(x)) => Reads::Vectors { vectors: x.slice_rows(segment.rows.clone()), gradient: None },
            _ => Reads::Vectors { vectors: self.left(layer - 1, segment), gradient: Some(self.d_left(layer - 1, segment)) },
        }
    }

    /// What is read of a layer's outputs in a segment.
    fn left(&self, layer: usize, segment: &Segment) -> Mat {
        self.dropout.left(layer, self.layers[layer].outputs(segment), segment)
    }

    /// Where the gradient by it goes.
    fn d_left(&self, layer: usize, segment: &Segment) -> Mat {
        self.dropout.gradient(layer, segment.of(self.d_hidden), segment)
    }

    /// The last layer.
    fn top(&self) -> usize {
        self.layers.len() - 1
    }

    /// From the state before a segment to its losses and their gradient by the outputs.
    fn segment_forward(&self, program: &mut Program, segment: &Segment) {
        for (l, layer) in self.layers.iter().enumerate() {
            let outputs = layer.forward(program, self.reads(l, segment), segment);
            self.dropout.forward(program, l, outputs, segment);
        }
        self.head.forward(program, self.left(self.top(), segment), segment);
    }

    /// Records all segments to the loss.
    pub fn forward(&self, program: &mut Program) {
        self.segments.iter().for_each(|segment| self.segment_forward(program, segment));
        self.head.total(program);
    }

    /// Records all segments from the loss to the gradients by the weights.
    pub fn backward(&self, program: &mut Program) {
        self.back(program, |program, segment| {
            let d_hidden = segment.of(self.d_hidden);
            self.head.backward(program, self.left(self.top(), segment), segment);
            self.head.below(program, self.d_left(self.top(), segment), segment);
            for (l, layer) in self.layers.iter().enumerate().rev() {
                self.dropout.backward(program, l, d_hidden, segment);
                layer.backward(program, d_hidden, self.reads(l, segment), segment);
            }
        });
    }

    /// Records all segments from the loss to the gradients by the hidden states, which are kept.
    pub fn trace(&self, program: &mut Program) {
        self.back(program, |program, segment| {
            let d_hidden = segment.of(self.d_hidden);
            self.head.below(program, self.d_left(self.top(), segment), segment);
            for (l, layer) in self.layers.iter().enumerate().rev() {
                self.dropout.backward(program, l, d_hidden, segment);
                layer.trace(program, d_hidden, l.checked_sub(1).map(|below| self.d_left(below, segment)), segment);
            }
        });
    }

    /// From the last segment to the first, each by a pass.
    fn back(&self, program: &mut Program, pass: impl Fn(&mut Program, &Segment)) {
        self.shared.clear(program);
        for segment in self.segments.iter().rev() {
            // The states of the last one are still there.
            if !segment.is_last {
                self.segment_forward(program, segment);
            }
            pass(program, segment);
        }
    }
}
