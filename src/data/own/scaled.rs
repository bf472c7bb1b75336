//! Tensors that are scaled column by column: in f64, before they become f32.

use ndarray::ArrayD;

use crate::Result;
use crate::batch::{Batch, Inputs, Targets};
use crate::data::columns::constant_note;
use crate::data::{Column, Columns, Kind, Scale, Scaling};
use crate::tensors::{Layout, Tensors};

/// The tensors of columns, and what their columns are called.
const SCALED: [(&str, &str); 2] = [("inputs", "input"), ("values", "output")];

impl Columns {
    /// The columns of the tensors of a batch, scaled by the time steps that train and count; `None` where all are ids. And what should be
    /// told of constant ones.
    pub(super) fn fit_tensors(
        tensors: &Tensors,
        layout: Layout,
        batch: &Batch,
        [of_inputs, of_targets]: [Scale; 2],
        trains: impl Fn(usize, usize) -> bool,
    ) -> Result<(Option<Columns>, Vec<String>)> {
        let (steps, sequences) = batch.shape();
        let training: Vec<(usize, usize)> =
            (0..sequences).flat_map(|b| (0..steps).map(move |t| (t, b))).filter(|&(t, b)| trains(t, b)).collect();
        let mut notes = Vec::new();
        let mut fit = |(tensor, name): (&str, &str), scale, matters: &dyn Fn(usize, usize) -> bool| -> Result<Vec<Column>> {
            let values = tensors.any_f64(tensor)?;
            let width = values.shape().last().copied().unwrap_or(0);
            let column = |i: usize| {
                let at = training.iter().filter(|&&(t, b)| matters(t, b));
                let numbers = at.map(|&(t, b)| value(&values, layout, [t, b, i]));
                let name = format!("{name}_{i}");
                if scale != Scale::None {
                    notes.extend(constant_note(&name, numbers.clone()));
                }
                Column { name, kind: Kind::Number(Scaling::fit(scale, numbers)) }
            };
            Ok((0..width).map(column).collect())
        };
        let mut columns = Columns::default();
        if let Inputs::Vectors(_) = &batch.inputs {
            columns.inputs = fit(SCALED[0], of_inputs, &|t, b| batch.is_read(t, b))?;
        }
        if let Targets::Values(_) = &batch.targets {
            columns.targets = fit(SCALED[1], of_targets, &|t, b| batch.counts(t, b))?;
        }
        let is_empty = columns.inputs.is_empty() && columns.targets.is_empty();
        Ok(((!is_empty).then_some(columns), notes))
    }

    /// The tensors with these columns scaled, as far as there are as many as there should be; others are the network's to refuse.
    pub(super) fn scaled(&self, mut tensors: Tensors) -> Result<Tensors> {
        for ((name, _), columns) in SCALED.into_iter().zip([&self.inputs, &self.targets]) {
            if columns.is_empty() || !tensors.contains(name) {
                continue;
            }
            let values = tensors.any_f64(name)?;
            if values.shape().last() == Some(&columns.len()) {
                let scalings: Vec<Scaling> = columns.iter().map(Column::scaling).collect();
                let shape = values.raw_dim();
                let numbers = values.iter().zip(scalings.iter().cycle()).map(|(&v, scaling)| scaling.apply(v)).collect();
                tensors.insert(name, ArrayD::from_shape_vec(shape, numbers).expect("as many as before"));
            }
        }
        Ok(tensors)
    }
}

/// The element of a column at a time step of a sequence; of one target a sequence, it is that of all time steps.
fn value(values: &ArrayD<f64>, layout: Layout, [t, b, i]: [usize; 3]) -> f64 {
    match (values.ndim(), layout) {
        (2, _) => values[[b, i]],
        (_, Layout::TimeFirst) => values[[t, b, i]],
        (_, Layout::BatchFirst) => values[[b, t, i]],
    }
}
