//! `metrics.csv`: the metrics of a run as a table, a row for each training step that has some.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use retrospect::train::Metrics;
use retrospect::{Error, Result, WholeFile};

const COLUMNS: [&str; 9] =
    ["step", "loss", "grad_norm", "lr", "tokens_per_s", "ms_per_step", "validation_loss", "perplexity", "accuracy"];

/// Writes the metrics into a run's folder; what a step was not measured by is empty. Columns that are predicted have their errors in
/// `metrics.jsonl` alone.
pub fn spreadsheet(folder: &Path, metrics: &[Metrics]) -> Result<()> {
    let path = folder.join("metrics.csv");
    let mut file = WholeFile::create_plain(&path)?;
    file.write_all(table(metrics).as_bytes()).map_err(|source| Error::Io { path, source })?;
    file.complete()
}

fn table(metrics: &[Metrics]) -> String {
    let mut rows: BTreeMap<u64, [String; COLUMNS.len() - 1]> = BTreeMap::new();
    for line in metrics {
        let row = rows.entry(line.step()).or_default();
        match line {
            Metrics::Step { loss, grad_norm, lr, tokens_per_s, ms_per_step, .. } => {
                let [loss, grad_norm] = [loss, grad_norm].map(f32::to_string);
                let [lr, tokens_per_s, ms_per_step] = [lr, tokens_per_s, ms_per_step].map(f64::to_string);
                row[..5].clone_from_slice(&[loss, grad_norm, lr, tokens_per_s, ms_per_step]);
            }
            Metrics::Evaluation { validation_loss, perplexity, accuracy, .. } => {
                let said = |x: &Option<f64>| x.map_or(String::new(), |x| x.to_string());
                row[5..].clone_from_slice(&[validation_loss.to_string(), said(perplexity), said(accuracy)]);
            }
            Metrics::Trace { .. } => {}
        }
    }
    rows.retain(|_, row| row.iter().any(|field| !field.is_empty()));
    let lines = rows.into_iter().map(|(step, row)| format!("{step},{}\n", row.join(",")));
    std::iter::once(format!("{}\n", COLUMNS.join(","))).chain(lines).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_at_a_step_is_one_row() {
        let step = |step| Metrics::Step { step, loss: 0.1, grad_norm: 2.5, lr: 2e-3, tokens_per_s: 1e6, ms_per_step: 0.25 };
        let evaluation =
            |step, accuracy| Metrics::Evaluation { step, validation_loss: 1.5, perplexity: None, accuracy, columns: Vec::new() };
        let trace = Metrics::Trace { step: 1, gradients: Vec::new(), update_to_weight: BTreeMap::new() };
        let found = table(&[trace, step(10), evaluation(10, Some(0.5)), evaluation(15, None), step(20)]);
        let rows = [
            COLUMNS.join(","),
            "10,0.1,2.5,0.002,1000000,0.25,1.5,,0.5".into(),
            "15,,,,,,1.5,,".into(),
            "20,0.1,2.5,0.002,1000000,0.25,,,".into(),
        ];
        assert_eq!(found, rows.map(|row| format!("{row}\n")).concat());
        assert_eq!(table(&[]), format!("{}\n", COLUMNS.join(",")));
    }
}
