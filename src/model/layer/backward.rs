//! What a layer records backward: from the gradient by its outputs to those by its weights, its initial states and what it reads.

use super::{Layer, Reads};
use crate::cells::Side;
use crate::kernels::gemm::{Epilogue, Form, gemm};
use crate::kernels::{column_sum, constraint, embedding, fill, recurrence};
use crate::model::segment::Segment;
use crate::program::{Mat, Program};

impl Layer {
    /// Records a segment backward, from ∂L/∂h from above to the gradients by the weights, to which it is added but for the last segment, and to
    /// that by what the layer reads.
    pub fn backward(&self, program: &mut Program, d_hidden: Mat, reads: Reads, segment: &Segment) {
        let sum = if segment.is_last { Epilogue::Store } else { Epilogue::Add };
        if self.regularization.activity > 0.0 {
            fill::add(program, self.regularization.activity, self.outputs(segment), d_hidden);
        }
        let [d_sums, d_input] = self.through_time(program, d_hidden, segment);
        let (d_weights, before) = (&self.d_weights, self.side(Side::Before, 0, segment));
        gemm(program, Form::TN, d_sums, before, d_weights.recurrent, sum);
        column_sum::column_sum(program, d_input, d_weights.bias, sum);
        if let Some(d_bias) = d_weights.recurrent_bias {
            let of_gates = if d_bias.cols < d_sums.cols { self.apart(d_sums) } else { d_sums };
            column_sum::column_sum(program, of_gates, d_bias, sum);
        }
        match reads {
            Reads::Tokens { order, starts, .. } => embedding::gradient(program, order, starts, d_input, d_weights.input, sum),
            Reads::Vectors { vectors, gradient } => {
                gemm(program, Form::TN, d_input, vectors, d_weights.input, sum);
                if let Some(gradient) = gradient {
                    gemm(program, Form::NN, d_input, self.weights.input, gradient, Epilogue::Store);
                }
            }
        }
    }

    /// Records that the gradient of connections that there are not is zero, once it is complete.
    pub fn finish_backward(&self, program: &mut Program) {
        if let Some(mask) = self.weights.mask {
            constraint::connections(program, mask, self.d_weights.recurrent);
        }
    }

    /// Records a segment backward from ∂L/∂h from above to ∂L/∂h_t of all paths, which is kept, and to the gradient by what the layer reads; the
    /// gradients by the weights stay as they are.
    pub fn trace(&self, program: &mut Program, d_hidden: Mat, below: Option<Mat>, segment: &Segment) {
        let [_, d_input] = self.through_time(program, d_hidden, segment);
        if let Some(traced) = &self.traced {
            let of = |window: Mat| window.slice_rows(segment.rows.clone());
            let behind = |window: &Mat| window.slice_rows(self.batch..self.batch + segment.len());
            fill::copy(program, self.outputs(segment), of(traced.hidden));
            fill::copy(program, d_hidden, of(traced.d_hidden));
            gemm(program, Form::NN, behind(&self.gradients[0]), self.weights.recurrent, of(traced.d_hidden), Epilogue::Add);
            if let Some(direct) = self.own_path(0) {
                fill::add(program, 1.0, behind(&direct), of(traced.d_hidden));
            }
            if let (Some(second), Some(direct), Some(saved)) = (traced.second, self.own_path(1), self.saved) {
                fill::copy(program, self.side(Side::After, 1, segment), of(second.values));
                fill::copy(program, behind(&direct), of(second.direct));
                fill::copy(program, segment.within(saved), of(second.saved));
            }
        }
        if let Some(below) = below {
            gemm(program, Form::NN, d_input, self.weights.input, below, Epilogue::Store);
        }
    }

    /// The gradient of a state on a path of its own, if it has one.
    fn own_path(&self, state: usize) -> Option<Mat> {
        self.cell.direct.iter().position(|&direct| direct == state).map(|place| self.gradients[1 + place])
    }

    /// The recurrence back through a segment. Returns D of its steps, and D'.
    fn through_time(&self, program: &mut Program, d_hidden: Mat, segment: &Segment) -> [Mat; 2] {
        let (batch, count) = (self.batch, segment.len());
        let gradients: Vec<Mat> = self.gradients.iter().map(|window| window.slice_rows(0..count + batch)).collect();
        for (window, kept) in gradients.iter().zip(self.borders.iter().flat_map(|borders| &borders.gradients)) {
            let behind = window.slice_rows(count..count + batch);
            if segment.is_last { fill::fill(program, behind, 0.0) } else { fill::copy(program, *kept, behind) }
        }
        let kept = self.cell.kept.iter().map(|&(side, state)| self.side(side, state, segment));
        let saved = self.saved.map(|saved| segment.within(saved));
        let d_input = self.d_input.map(|window| segment.within(window));
        let windows = [d_hidden, self.weights.recurrent].into_iter().chain(self.constants()).chain(kept).chain(saved);
        let windows: Vec<Mat> = windows.chain(gradients.iter().copied()).chain(d_input).collect();
        recurrence::record(program, self.cell.backward, self.activation, batch, &windows);
        for (window, kept) in gradients.iter().zip(self.borders.iter().flat_map(|borders| &borders.gradients)) {
            fill::copy(program, window.slice_rows(0..batch), *kept);
        }
        let d_sums = gradients[0].slice_rows(0..count);
        [d_sums, d_input.unwrap_or(d_sums)]
    }

    /// Records the gradients by the initial states, which training does not need.
    pub fn initial_gradient(&self, program: &mut Program) {
        let first = |window: &Mat| window.slice_rows(0..self.batch);
        let kept = self.borders.as_ref().map_or(&self.gradients, |borders| &borders.gradients);
        let own_path =
            |state: usize| self.cell.direct.iter().position(|&direct| direct == state).map(|place| first(&kept[1 + place]));
        for (state, &d_initial) in self.d_initial.iter().enumerate() {
            let direct = own_path(state);
            if let Some(direct) = direct {
                fill::copy(program, direct, d_initial);
            }
            if state == 0 {
                let epilogue = if direct.is_some() { Epilogue::Add } else { Epilogue::Store };
                gemm(program, Form::NN, first(&kept[0]), self.weights.recurrent, d_initial, epilogue);
            }
        }
    }
}
