//! Describes in one line what sequences hold.

use std::collections::BTreeMap;

use crate::batch::{Batch, Inputs, Targets};
use crate::data::{Column, Columns, Kind};

/// The number of names or classes that the line shows.
const SHOWN: usize = 8;

/// What is read and predicted, with the share of each class.
pub(super) fn about(batch: &Batch, columns: Option<&Columns>) -> String {
    let inputs = match (&batch.inputs, columns.filter(|columns| !columns.inputs.is_empty())) {
        (_, Some(columns)) => list(columns.inputs.iter().map(name)),
        (Inputs::Tokens(_), None) => "tokens".into(),
        (Inputs::Vectors(x), None) => count(x.dim().2, "number"),
    };
    let targets = match (&batch.targets, columns.filter(|columns| !columns.targets.is_empty())) {
        (Targets::Classes(classes), columns) => {
            let named = columns.and_then(Columns::classes);
            let target = columns.map_or("classes", |columns| &columns.targets[0].name);
            let shares = shares(batch, classes).map(|(class, share)| {
                let name = named.and_then(|names| names.get(class).cloned()).unwrap_or_else(|| class.to_string());
                format!("{name} {:.0} %", share * 100.0)
            });
            format!("{target} ({})", list(shares))
        }
        (Targets::Values(_), Some(columns)) => list(columns.targets.iter().map(name)),
        (Targets::Values(y), None) => count(y.dim().2, "value"),
    };
    format!("reads {inputs}; predicts {targets}")
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn name(column: &Column) -> String {
    match &column.kind {
        Kind::Number(_) => column.name.clone(),
        Kind::Categories(words) => format!("{} ({} words)", column.name, words.len()),
    }
}

fn list(all: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = all.collect();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    names.join(", ")
}

/// The share of each class among the outputs that count.
fn shares(batch: &Batch, classes: &ndarray::Array2<u32>) -> impl Iterator<Item = (usize, f64)> + use<> {
    let mut counts = BTreeMap::<usize, u64>::new();
    batch.counted_places().for_each(|at| *counts.entry(classes[at] as usize).or_default() += 1);
    let all: u64 = counts.values().sum();
    counts.into_iter().map(move |(class, n)| (class, n as f64 / all as f64))
}
