//! The passes over a network, recorded once for all layers and segments. Everything is `[T·B, ·]`, row t·B + b.
//!
//! A long window is computed in segments of N steps (Chen, Xu, Zhang & Guestrin 2016, *Training Deep Nets with Sublinear Memory Cost*).
//! The states between them are kept, those inside only of the segment at hand: so a segment's forward pass is computed again
//! before its backward pass, and gradients add up over the segments. With one segment, which is the usual case, all states are kept.
//!
//! What goes through the segments together is a [`Stage`]. In one direction the whole network is one, and nothing but the states between
//! segments is kept. A layer of two directions can only begin when all time steps of the layer below are there, so each is a stage of its own,
//! and so is the head.

use std::ops::Range;

use super::both::{Both, is_reverse};
use super::dropout::Dropout;
use super::embedding::Embedding;
use super::head::Head;
use super::layer::{Layer, Reads, Shared};
use super::recurrent::{InputWindows, TokenWindows};
use super::segment::Segment;
use crate::program::{Mat, Program};

/// What the passes over a window are recorded with.
pub(super) struct Recording<'a> {
    pub inputs: &'a InputWindows,
    pub embedding: Option<&'a Embedding>,
    pub layers: &'a [Layer],
    /// Of a network of two directions.
    pub both: Option<&'a Both>,
    pub dropout: &'a Dropout,
    pub head: &'a Head,
    pub segments: &'a [Segment],
    pub shared: &'a Shared,
}

/// Layers, and maybe the head, that are computed together, segment by segment.
struct Stage {
    /// Their places.
    layers: Range<usize>,
    has_head: bool,
}

impl Recording<'_> {
    /// In the order of the forward pass.
    fn stages(&self) -> Vec<Stage> {
        let all = self.layers.len();
        match self.both {
            None => vec![Stage { layers: 0..all, has_head: true }],
            Some(_) => {
                let layers = (0..all).step_by(2).map(|place| Stage { layers: place..place + 2, has_head: false });
                layers.chain([Stage { layers: all..all, has_head: true }]).collect()
            }
        }
    }

    /// The places of a stage's layers, those of a layer's directions together.
    fn by_layer(&self, stage: &Stage) -> impl DoubleEndedIterator<Item = Range<usize>> + use<> {
        let directions = if self.both.is_some() { 2 } else { 1 };
        stage.layers.clone().step_by(directions).map(move |place| place..place + directions)
    }

    /// What a layer reads in a segment.
    fn reads(&self, place: usize, segment: &Segment) -> Reads {
        match (self.tokens_of(place), self.both) {
            (Some(windows), _) => {
                let TokenWindows { tokens, order, starts } = windows.in_segment(segment);
                Reads::Tokens { tokens, order, starts }
            }
            (None, Some(both)) => {
                let gradient = both.d_inputs(place, self.d_below(both, place), segment);
                Reads::Vectors { vectors: both.inputs(place, self.below(both, place), segment), gradient }
            }
            (None, None) => {
                let (vectors, gradient) = match place.checked_sub(1) {
                    Some(below) => (self.left(below, segment), Some(self.d_left(below, segment))),
                    None => {
                        let d_inputs = self.embedding.map(|embedding| segment.rows_in(embedding.d_vectors));
                        (segment.rows_in(self.input_vectors()), d_inputs)
                    }
                };
                Reads::Vectors { vectors, gradient }
            }
        }
    }

    /// The tokens that a layer reads as they are, in the order of its direction.
    fn tokens_of(&self, place: usize) -> Option<&TokenWindows> {
        match self.inputs {
            InputWindows::Tokens(directions) if self.embedding.is_none() => directions.get(place),
            _ => None,
        }
    }

    /// The vectors that the first layer reads at all time steps.
    fn input_vectors(&self) -> Mat {
        match (self.embedding, self.inputs) {
            (Some(embedding), _) => embedding.vectors,
            (None, InputWindows::Vectors(x)) => *x,
            (None, InputWindows::Tokens(_)) => unreachable!("tokens are fed in the order of each direction"),
        }
    }

    /// What a layer of two directions reads at all time steps.
    fn below(&self, both: &Both, place: usize) -> Mat {
        match (place / 2).checked_sub(1) {
            None => self.input_vectors(),
            Some(layer) => self.dropout.left(layer, both.outputs[layer]),
        }
    }

    /// Where the gradient by it goes, if it is a layer's or an embedding's.
    fn d_below(&self, both: &Both, place: usize) -> Option<Mat> {
        match (place / 2).checked_sub(1) {
            None => self.embedding.map(|embedding| embedding.d_vectors),
            Some(layer) => Some(self.dropout.gradient(layer, both.d_outputs[layer])),
        }
    }

    /// What is read of the outputs of a layer of one direction in a segment.
    fn left(&self, layer: usize, segment: &Segment) -> Mat {
        self.dropout.left(layer, self.layers[layer].outputs(segment))
    }

    /// Where the gradient by it goes.
    fn d_left(&self, layer: usize, segment: &Segment) -> Mat {
        self.dropout.gradient(layer, segment.within(self.shared.d_hidden(layer)))
    }

    /// What the head reads in a segment.
    fn top(&self, segment: &Segment) -> Mat {
        match self.both {
            None => self.left(self.layers.len() - 1, segment),
            Some(both) => segment.rows_in(self.below(both, self.layers.len())),
        }
    }

    /// Where the gradient by it goes.
    fn d_top(&self, segment: &Segment) -> Mat {
        match self.both {
            None => self.d_left(self.layers.len() - 1, segment),
            Some(both) => segment.rows_in(self.d_below(both, self.layers.len()).expect("at least one layer")),
        }
    }

    /// From the states before a segment, and what lies below the stage, to those behind it, and to its losses and their gradient by the outputs.
    fn segment_forward(&self, program: &mut Program, stage: &Stage, segment: &Segment) {
        for places in self.by_layer(stage) {
            for place in places.clone() {
                if let (Some(both), None) = (self.both, self.tokens_of(place)) {
                    both.turn_inputs(program, place, self.below(both, place), segment);
                }
            }
            let forward = |program: &mut Program, place: usize| {
                self.layers[place].forward(program, self.reads(place, segment), segment);
            };
            side_by_side(program, places.clone(), forward);
            if self.both.is_none() {
                places.for_each(|place| {
                    self.dropout.forward(program, place, self.layers[place].outputs(segment), segment.rows.start)
                });
            }
        }
        if stage.has_head {
            self.head.forward(program, self.top(segment), segment);
        }
    }

    /// Records all segments to the loss.
    pub fn forward(&self, program: &mut Program) {
        if let Some(embedding) = self.embedding {
            embedding.forward(program, self.segments);
        }
        for stage in self.stages() {
            for segment in self.segments {
                self.segment_forward(program, &stage, segment);
                if let Some(both) = self.both {
                    stage.layers.clone().for_each(|place| both.keep(program, place, &self.layers[place], segment));
                }
            }
            if let Some(both) = self.both {
                for place in stage.layers.clone() {
                    both.turn_outputs(program, place, &self.layers[place], self.segments);
                    if is_reverse(place) {
                        self.dropout.forward(program, place / 2, both.outputs[place / 2], 0);
                    }
                }
            }
        }
        self.head.total(program);
    }

    /// Records all segments from the loss to the gradients by the weights; `done` hears when those of the head, which is `None`, or of a layer
    /// are complete.
    pub fn backward(&self, program: &mut Program, mut done: impl FnMut(Option<usize>, &Program)) {
        self.back(program, |program, stage, segment| {
            // From the last segment to the first.
            let is_complete = segment.number == 0;
            if stage.has_head {
                self.head.backward(program, self.top(segment), segment);
                if is_complete {
                    done(None, program);
                }
                self.head.below(program, self.d_top(segment), segment);
            }
            for places in self.by_layer(stage).rev() {
                let d_hidden = |place: usize| segment.within(self.shared.d_hidden(place));
                for place in places.clone() {
                    match self.both {
                        None => self.dropout.backward(program, place, d_hidden(place), segment.rows.start),
                        Some(both) => both.d_hidden(program, place, d_hidden(place), segment),
                    }
                }
                let backward = |program: &mut Program, place: usize| {
                    self.layers[place].backward(program, d_hidden(place), self.reads(place, segment), segment);
                };
                side_by_side(program, places.clone(), backward);
                if is_complete {
                    for place in places.rev() {
                        self.layers[place].finish_backward(program);
                        done(Some(place), program);
                    }
                }
            }
        });
        if let Some(embedding) = self.embedding {
            embedding.backward(program, self.segments);
        }
    }

    /// Records all segments from the loss to the gradients by the hidden states, which are kept. It is for one direction.
    pub fn trace(&self, program: &mut Program) {
        self.back(program, |program, _, segment| {
            self.head.below(program, self.d_top(segment), segment);
            for (l, layer) in self.layers.iter().enumerate().rev() {
                let d_hidden = segment.within(self.shared.d_hidden(l));
                self.dropout.backward(program, l, d_hidden, segment.rows.start);
                layer.trace(program, d_hidden, l.checked_sub(1).map(|below| self.d_left(below, segment)), segment);
            }
        });
    }

    /// From the last stage to the first, and in each from the last segment to the first, each by a pass.
    fn back(&self, program: &mut Program, mut pass: impl FnMut(&mut Program, &Stage, &Segment)) {
        self.shared.clear(program);
        for stage in self.stages().iter().rev() {
            if let Some(both) = self.both {
                let reverse = stage.layers.clone().filter(|&place| is_reverse(place));
                reverse.for_each(|place| self.dropout.backward(program, place / 2, both.d_outputs[place / 2], 0));
            }
            for segment in self.segments.iter().rev() {
                // The states of the last one are still there.
                if !segment.is_last {
                    self.segment_forward(program, stage, segment);
                }
                pass(program, stage, segment);
            }
            if let Some(both) = self.both {
                stage
                    .layers
                    .clone()
                    .for_each(|place| both.turn_d_inputs(program, place, self.d_below(both, place), self.segments));
            }
        }
    }
}

/// Records steps for each direction of a layer. Those of two directions need nothing of each other, and go side by side.
fn side_by_side(program: &mut Program, places: Range<usize>, mut record: impl FnMut(&mut Program, usize)) {
    let starts: Vec<usize> = places
        .map(|place| {
            let start = program.len();
            record(program, place);
            start
        })
        .collect();
    if let [first, second] = starts[..] {
        program.interleave(first, second);
    }
}
