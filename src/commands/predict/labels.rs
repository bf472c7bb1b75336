//! What the numbers of predictions are called, and which units they have.

use std::cmp::Ordering;

use retrospect::batch::{Loss, TargetKind};
use retrospect::data::{Columns, Scaling, Vocabulary};
use retrospect::train::Origin;

/// The names of what a run predicts.
pub struct Labels {
    /// Of classes, as far as they have names.
    classes: Vec<String>,
    /// Of the columns that values are predicted of, with their units.
    columns: Vec<(String, Scaling)>,
    /// What a table calls each sequence.
    sequences: Vec<String>,
    /// By how many time steps a prediction is ahead of what it follows from.
    pub ahead: usize,
    /// Whether the outputs are of classes, whose probabilities are written.
    pub is_classes: bool,
    loss: Loss,
}

impl Labels {
    pub fn new(origin: &Origin, sequences: Vec<String>) -> Labels {
        let network = &origin.settings.network;
        let is_classes = network.loss.target_kind() == TargetKind::Classes;
        let of_text = |vocabulary: &Vocabulary| (0..vocabulary.size() as u32).map(|id| vocabulary.label(id)).collect();
        let of_table = |columns: &Columns| columns.classes().map(<[String]>::to_vec);
        let classes = origin.vocabulary.as_ref().map(of_text).or_else(|| origin.columns.as_ref().and_then(of_table));
        let columns = match &origin.columns {
            Some(columns) if !is_classes => columns.targets.iter().map(|c| (c.name.clone(), c.scaling())).collect(),
            _ => Vec::new(),
        };
        Labels {
            classes: classes.unwrap_or_default(),
            columns,
            sequences,
            ahead: origin.settings.reading.table.ahead,
            is_classes,
            loss: network.loss.clone(),
        }
    }

    /// The name of a class.
    pub fn class(&self, class: usize) -> String {
        self.classes.get(class).cloned().unwrap_or_else(|| class.to_string())
    }

    /// The name of a sequence.
    pub fn sequence(&self, sequence: usize) -> String {
        self.sequences.get(sequence).cloned().unwrap_or_else(|| sequence.to_string())
    }

    /// What a column of outputs is called, of so many.
    pub fn output(&self, output: usize, outputs: usize) -> String {
        if self.is_classes {
            return format!("p({})", self.class(output));
        }
        self.loss.output_name(&self.target(self.loss.target_of(output).0, outputs), output)
    }

    /// What a component of the target is called, of so many outputs.
    fn target(&self, target: usize, outputs: usize) -> String {
        match self.columns.get(target) {
            Some((name, _)) => name.clone(),
            None if outputs == self.loss.outputs_per_target() => "output".into(),
            None => format!("output_{target}"),
        }
    }

    /// What an output predicts, in its own unit.
    pub fn value(&self, output: usize, value: f32) -> f64 {
        let value = self.loss.prediction(value);
        self.scaling(output).map_or(f64::from(value), |scaling| scaling.undo(value))
    }

    /// The columns of outputs that are of a component of the target: the one to draw, which of several quantiles is that in the middle, and of
    /// several the lowest and the highest. And what the component is called, of so many outputs.
    pub fn of_target(&self, target: usize, outputs: usize) -> (usize, Option<[usize; 2]>, String) {
        let each = self.loss.outputs_per_target();
        let mut places: Vec<usize> = (target * each..(target + 1) * each).collect();
        places.sort_by(|&a, &b| self.loss.target_of(a).1.partial_cmp(&self.loss.target_of(b).1).unwrap_or(Ordering::Equal));
        let outer = (each > 1).then(|| [places[0], places[each - 1]]);
        (places[each / 2], outer, self.target(target, outputs))
    }

    /// How a column of outputs is scaled; `None` where it never was.
    fn scaling(&self, output: usize) -> Option<Scaling> {
        self.columns.get(self.loss.target_of(output).0).map(|(_, scaling)| *scaling)
    }

    /// Whether outputs are in units of their own, and may need more digits than f32 has.
    pub fn has_units(&self) -> bool {
        self.columns.iter().any(|(_, scaling)| scaling.changes_values())
    }

    /// A number of a column of outputs with the digits that f32 has of it: what is left of a large shift is rounding.
    pub fn number(&self, output: usize, value: f64) -> String {
        let Some(Scaling { scale, .. }) = self.scaling(output).filter(Scaling::changes_values) else {
            return format!("{:?}", value as f32);
        };
        let decimals = (-(scale * f64::from(f32::EPSILON) / 2.0).log10().floor()).max(0.0);
        if decimals > 20.0 || value.abs() >= 1e15 {
            return format!("{value:?}");
        }
        let text = format!("{value:.*}", decimals as usize);
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    }
}
