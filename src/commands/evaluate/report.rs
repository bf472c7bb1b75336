//! What `evaluate` tells of what it measured.

use std::path::Path;

use retrospect::Result;
use retrospect::batch::Loss;
use retrospect::data::{Tokens, Vocabulary};
use retrospect::train::{Checkpoint, Confusion, Deviation, Evaluation, Measures};
use serde_json::{Map, Value, json};

use crate::commands::terminal::{json_number, pairs, print, print_json, significant, table, thousands};

/// Classes that a terminal of 80 columns shows.
const MOST_CLASSES: usize = 20;
/// Classes whose confusions it shows.
const MOST_CONFUSED: usize = 8;

pub struct Report<'a> {
    pub checkpoint: &'a Checkpoint,
    pub found: &'a Evaluation,
}

impl Report<'_> {
    fn loss(&self) -> &Loss {
        &self.checkpoint.origin.settings.network.loss
    }

    /// The measures of the whole, by their names in JSON.
    fn totals(&self) -> Vec<(&'static str, f64)> {
        let (found, origin) = (self.found, &self.checkpoint.origin);
        let mut totals = vec![("loss", found.loss)];
        match &found.measures {
            Some(Measures::Classes(confusion)) => {
                totals.push(("perplexity", found.loss.exp()));
                // A word's bits would tell of how long words are.
                let bits = match origin.vocabulary.as_ref().map(Vocabulary::tokens) {
                    Some(Tokens::Chars) => Some("bits_per_character"),
                    Some(Tokens::Bytes) => Some("bits_per_byte"),
                    Some(Tokens::Words) | None => None,
                };
                totals.extend(bits.map(|name| (name, found.loss / std::f64::consts::LN_2)));
                totals.push(("accuracy", confusion.accuracy()));
            }
            _ if *self.loss() == Loss::SquaredError && origin.columns.is_none() => {
                totals.push(("root_mean_squared_error", found.loss.sqrt()));
            }
            _ => {}
        }
        totals
    }

    /// The name of each column that is predicted, and how far it is off in its own unit.
    fn columns(&self) -> Vec<(String, Deviation)> {
        let columns = self.checkpoint.origin.columns.as_ref();
        self.found.measures.as_ref().map_or_else(Vec::new, |measures| measures.columns(columns, self.loss()))
    }

    /// The confusions of classes that are no tokens of a text, and their names.
    fn classes(&self) -> Option<(&Confusion, Vec<String>)> {
        let Some(Measures::Classes(confusion)) = &self.found.measures else { return None };
        let origin = &self.checkpoint.origin;
        if origin.vocabulary.is_some() || confusion.counts.is_none() {
            return None;
        }
        let known = origin.columns.as_ref().and_then(|columns| columns.classes());
        let names = known.map_or_else(|| (0..confusion.of_classes().len()).map(|k| k.to_string()).collect(), <[String]>::to_vec);
        Some((confusion, names))
    }

    pub fn print_json(&self, run: &Path, path: &Path) -> Result<()> {
        let totals = self.totals().into_iter();
        let mut all: Map<String, Value> = totals.map(|(name, v)| (name.to_owned(), json_number(v))).collect();
        all.insert("run".into(), json!(run));
        all.insert("checkpoint".into(), json!(path));
        all.insert("step".into(), json!(self.checkpoint.step));
        all.insert("counted".into(), json!(self.found.counted));
        if let Some((confusion, names)) = self.classes() {
            let of_class = |(name, [precision, recall, f1, counted]): (&String, [f64; 4])| json!({"name": name, "precision": precision, "recall": recall, "f1": f1, "counted": counted as u64});
            all.insert("classes".into(), names.iter().zip(confusion.of_classes()).map(of_class).collect());
            let rows = confusion.counts.iter().flat_map(|counts| counts.rows()).map(|row| json!(row.to_vec()));
            all.insert("confusion".into(), rows.collect());
        }
        let of_column = |(name, found): (String, Deviation)| {
            let [rmse, mae, r2] = [found.root_mean_squared(), found.mean_absolute(), found.explained()];
            let mut all = json!({"name": name, "root_mean_squared_error": rmse, "mean_absolute_error": mae, "r2": r2});
            if let Some((_, name, value)) = measure_of_the_loss(self.loss(), &found) {
                all[name] = json!(value);
            }
            all
        };
        let columns: Vec<Value> = self.columns().into_iter().map(of_column).collect();
        if !columns.is_empty() {
            all.insert("columns".into(), json!(columns));
        }
        print_json(&all)
    }

    pub fn print(&self) -> Result<()> {
        let named: Vec<(String, f64)> = self.totals().into_iter().map(|(name, v)| (name.replace('_', " "), v)).collect();
        let mut rows: Vec<(&str, String)> = named.iter().map(|(name, v)| (name.as_str(), significant(*v))).collect();
        rows.push(("outputs that counted", thousands(self.found.counted)));
        rows.push(("training steps", thousands(self.checkpoint.step)));
        let parts = [Some(pairs(&rows)), self.columns_table(), self.classes_table(), self.confusions_table()];
        print(&parts.into_iter().flatten().collect::<Vec<_>>().join("\n"))
    }

    fn columns_table(&self) -> Option<String> {
        let columns = self.columns();
        // Of a network without units the total says it all.
        let says_all = columns.len() == 1 && self.checkpoint.origin.columns.is_none() && *self.loss() == Loss::SquaredError;
        if columns.is_empty() || says_all {
            return None;
        }
        let measure = measure_of_the_loss(self.loss(), &columns[0].1).map(|(heading, ..)| heading);
        let heading = ["column", "RMSE", "MAE", "R²"].into_iter().chain(measure).map(String::from).collect();
        let row = |(name, found): (String, Deviation)| {
            let measure = measure_of_the_loss(self.loss(), &found).map(|(.., value)| value);
            let numbers = [found.root_mean_squared(), found.mean_absolute(), found.explained()].into_iter().chain(measure);
            [name].into_iter().chain(numbers.map(shown)).collect::<Vec<_>>()
        };
        let rows: Vec<_> = [heading].into_iter().chain(columns.into_iter().map(row)).collect();
        Some(table(&rows))
    }

    fn classes_table(&self) -> Option<String> {
        let (confusion, names) = self.classes()?;
        let all = confusion.of_classes();
        let heading = ["class", "precision", "recall", "F1", "outputs"].map(String::from).to_vec();
        let row = |(name, [precision, recall, f1, counted]): (&String, &[f64; 4])| {
            let numbers = [precision, recall, f1].map(|v| shown(*v));
            [name.clone()].into_iter().chain(numbers).chain([thousands(*counted as u64)]).collect::<Vec<_>>()
        };
        let rows: Vec<_> = [heading].into_iter().chain(names.iter().zip(&all).map(row).take(MOST_CLASSES)).collect();
        let more = all.len().saturating_sub(MOST_CLASSES);
        let rest = if more > 0 { format!("{more} more classes; --json has all.\n") } else { String::new() };
        Some(table(&rows) + &rest)
    }

    fn confusions_table(&self) -> Option<String> {
        let (confusion, names) = self.classes()?;
        let counts = confusion.counts.as_ref().filter(|counts| counts.nrows() <= MOST_CONFUSED)?;
        let heading = ["true \\ predicted".to_owned()].into_iter().chain(names.iter().cloned()).collect();
        let rows = counts.rows().into_iter().zip(&names);
        let row = |(row, name): (ndarray::ArrayView1<u64>, &String)| {
            [name.clone()].into_iter().chain(row.iter().map(|&n| thousands(n))).collect::<Vec<String>>()
        };
        let rows: Vec<Vec<String>> = [heading].into_iter().chain(rows.map(row)).collect();
        Some(table(&rows))
    }
}

/// What is measured of a column for a network's loss alone: its heading, its name in JSON, and the number.
pub fn measure_of_the_loss(loss: &Loss, found: &Deviation) -> Option<(&'static str, &'static str, f64)> {
    match loss {
        Loss::BinaryCrossEntropy => Some(("accuracy", "accuracy", found.accuracy())),
        Loss::Quantile(_) => Some(("coverage", "coverage", found.coverage())),
        Loss::ErrorToSignal => Some(("ESR", "error_to_signal", found.error_to_signal())),
        _ => None,
    }
}

/// A number, or a dash where there is nothing to measure.
pub fn shown(v: f64) -> String {
    if v.is_nan() { "–".into() } else { significant(v) }
}
