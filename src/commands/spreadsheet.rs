//! `metrics.csv`: the metrics of a run as a table, a row for each training step that has some.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use retrospect::train::Metrics;
use retrospect::{Error, Result, WholeFile};

const COLUMNS: [&str; 9] =
    ["step", "loss", "grad_norm", "lr", "tokens_per_s", "ms_per_step", "validation_loss", "perplexity", "accuracy"];

/// Writes the metrics into a run's folder; what a step was not measured by is empty.
pub fn spreadsheet(folder: &Path, metrics: &[Metrics]) -> Result<()> {
    let path = folder.join("metrics.csv");
    let mut file = WholeFile::create_plain(&path)?;
    file.write_all(&table(metrics)).map_err(|source| Error::Io { path, source })?;
    file.complete()
}

/// The table as CSV. Behind the usual columns there is one for the error of each column that is predicted.
fn table(metrics: &[Metrics]) -> Vec<u8> {
    let predicted = predicted(metrics);
    let mut rows: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for line in metrics {
        let row = rows.entry(line.step()).or_insert_with(|| vec![String::new(); COLUMNS.len() - 1 + predicted.len()]);
        let said = |x: &Option<f64>| x.map_or(String::new(), |x| x.to_string());
        match line {
            Metrics::Step { loss, grad_norm, lr, tokens_per_s, ms_per_step, .. } => {
                let [loss, grad_norm] = [loss, grad_norm].map(f32::to_string);
                let [lr, tokens_per_s, ms_per_step] = [lr, tokens_per_s, ms_per_step].map(f64::to_string);
                row[..5].clone_from_slice(&[loss, grad_norm, lr, tokens_per_s, ms_per_step]);
            }
            Metrics::Evaluation { validation_loss, perplexity, accuracy, columns, .. } => {
                row[5..8].clone_from_slice(&[validation_loss.to_string(), said(perplexity), said(accuracy)]);
                for column in columns {
                    let place = predicted.iter().position(|name| *name == column.name).expect("one of those that are predicted");
                    row[8 + place] = said(&column.root_mean_squared_error);
                }
            }
            Metrics::Trace { .. } => {}
        }
    }
    rows.retain(|_, row| row.iter().any(|field| !field.is_empty()));
    let heading = COLUMNS.iter().map(|name| (*name).to_owned()).chain(predicted.iter().map(|name| format!("rmse({name})")));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let written = writer.write_record(heading).and_then(|()| {
        rows.into_iter().try_for_each(|(step, row)| writer.write_record(std::iter::once(step.to_string()).chain(row)))
    });
    written.expect("rows of one length, into memory");
    writer.into_inner().expect("into memory")
}

/// The columns that are predicted, in the order in which they first come.
fn predicted(metrics: &[Metrics]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for line in metrics {
        let Metrics::Evaluation { columns, .. } = line else { continue };
        for column in columns {
            if !names.contains(&column.name.as_str()) {
                names.push(&column.name);
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use retrospect::train::ColumnError;

    use super::*;

    #[test]
    fn what_was_measured_at_a_step_is_one_row() {
        let step = |step| Metrics::Step { step, loss: 0.1, grad_norm: 2.5, lr: 2e-3, tokens_per_s: 1e6, ms_per_step: 0.25 };
        let evaluation =
            |step, accuracy| Metrics::Evaluation { step, validation_loss: 1.5, perplexity: None, accuracy, columns: Vec::new() };
        let text = |metrics: &[Metrics]| String::from_utf8(table(metrics)).unwrap();
        let trace = Metrics::Trace { step: 1, gradients: Vec::new(), update_to_weight: BTreeMap::new() };
        let found = text(&[trace, step(10), evaluation(10, Some(0.5)), evaluation(15, None), step(20)]);
        let rows = [
            COLUMNS.join(","),
            "10,0.1,2.5,0.002,1000000,0.25,1.5,,0.5".into(),
            "15,,,,,,1.5,,".into(),
            "20,0.1,2.5,0.002,1000000,0.25,,,".into(),
        ];
        assert_eq!(found, rows.map(|row| format!("{row}\n")).concat());
        assert_eq!(text(&[]), format!("{}\n", COLUMNS.join(",")));
        let columns = vec![
            ColumnError { name: "flow, m3".into(), root_mean_squared_error: Some(2.5) },
            ColumnError { name: "level".into(), root_mean_squared_error: None },
        ];
        let of_columns = Metrics::Evaluation { step: 7, validation_loss: 0.5, perplexity: None, accuracy: None, columns };
        let heading = format!("{},\"rmse(flow, m3)\",rmse(level)\n", COLUMNS.join(","));
        assert_eq!(text(&[step(3), of_columns]), heading + "3,0.1,2.5,0.002,1000000,0.25,,,,,\n7,,,,,,0.5,,,2.5,\n");
    }
}
