//! Tensors that are scaled column by column.

use crate::batch::{Batch, Inputs, Targets};
use crate::data::{Column, Columns, Kind, Scale, Scaling};

impl Columns {
    /// The columns of tensors, scaled by the time steps that train and count.
    pub(super) fn fit_tensors(batch: &Batch, scale: Scale, trains: impl Fn(usize, usize) -> bool) -> Columns {
        let (steps, sequences) = batch.shape();
        let training: Vec<(usize, usize)> =
            (0..sequences).flat_map(|b| (0..steps).map(move |t| (t, b))).filter(|&(t, b)| trains(t, b)).collect();
        let fit = |values: &ndarray::Array3<f32>, name: &str, matters: &dyn Fn(usize, usize) -> bool| {
            let column = |i: usize| {
                let numbers = training.iter().filter(|&&(t, b)| matters(t, b)).map(|&(t, b)| f64::from(values[[t, b, i]]));
                Column { name: format!("{name}_{i}"), kind: Kind::Number(Scaling::fit(scale, numbers)) }
            };
            (0..values.dim().2).map(column).collect::<Vec<_>>()
        };
        let mut columns = Columns::default();
        if let Inputs::Vectors(x) = &batch.inputs {
            columns.inputs = fit(x, "input", &|t, b| batch.is_read(t, b));
        }
        if let Targets::Values(y) = &batch.targets {
            columns.targets = fit(y, "output", &|t, b| batch.counts(t, b));
        }
        columns
    }

    pub(super) fn scale_inputs(&self, inputs: &mut Inputs) {
        if let Inputs::Vectors(x) = inputs {
            scale(x, &self.inputs);
        }
    }

    pub(super) fn scale_targets(&self, targets: &mut Targets) {
        if let Targets::Values(y) = targets {
            scale(y, &self.targets);
        }
    }
}

/// Scales each column, as far as there are as many as there should be; others are the network's to refuse.
fn scale(values: &mut ndarray::Array3<f32>, columns: &[Column]) {
    if values.dim().2 == columns.len() {
        let scalings: Vec<Scaling> = columns.iter().map(Column::scaling).collect();
        for mut row in values.rows_mut() {
            row.iter_mut().zip(&scalings).for_each(|(v, scaling)| *v = scaling.apply(f64::from(*v)));
        }
    }
}
