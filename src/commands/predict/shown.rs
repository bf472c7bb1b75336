//! What a figure of predictions shows: some sequences of values with the truth, or a confusion matrix.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::Array2;
use retrospect::batch::TargetKind;
use retrospect::data::Truth;
use retrospect::model::Config;
use retrospect::{Error, Result};

use super::labels::Labels;
use super::output::Row;
use crate::commands::plot::{self, Panel};
use crate::commands::terminal::thousands;

/// The largest number of panels; a panel shows one column of one sequence.
const PANELS: usize = 4;
/// The largest number of time steps in a panel; the last ones are shown.
const STEPS: usize = 500;
/// The classes of a table of confusions.
const MOST_CLASSES: usize = 60;

pub struct Shown {
    truth: Option<Truth>,
    /// The given time steps of each sequence.
    lengths: Vec<usize>,
    kind: Kind,
}

enum Kind {
    /// Of each shown sequence the time steps and the values there of the outputs of the first of all targets, and how many rows there were.
    Values {
        sequences: usize,
        outputs: usize,
        shown: usize,
        targets: usize,
        rows: BTreeMap<usize, Vec<(usize, Vec<f64>)>>,
        taken: BTreeMap<usize, usize>,
    },
    /// How often each true class, a row, was predicted as each class, a column.
    Classes(Array2<u64>),
}

impl Shown {
    /// Of what a network predicts, `ahead` steps ahead, of sequences of some lengths.
    ///
    /// # Errors
    /// [`Error::Usage`] when there is no truth to hold classes against, or when there are too many.
    pub fn new(config: &Config, truth: Option<Truth>, lengths: Vec<usize>) -> Result<Shown> {
        let kind = match config.loss.target_kind() {
            TargetKind::Values => {
                let targets = config.targets();
                let shown = targets.min(PANELS);
                let (sequences, outputs) = ((PANELS / shown).max(1), shown * config.loss.outputs_per_target());
                Kind::Values { sequences, outputs, shown, targets, rows: BTreeMap::new(), taken: BTreeMap::new() }
            }
            TargetKind::Classes if truth.is_none() => {
                return Err(Error::Usage("--plot draws a confusion matrix, and the file has no classes".into()));
            }
            TargetKind::Classes if config.outputs > MOST_CLASSES => {
                let classes = config.outputs;
                return Err(Error::Usage(format!("--plot shows at most {MOST_CLASSES} classes, and there are {classes}")));
            }
            TargetKind::Classes => Kind::Classes(Array2::zeros((config.outputs, config.outputs))),
        };
        Ok(Shown { truth, lengths, kind })
    }

    /// Takes a row of predictions, which are so many time steps ahead of what they follow from.
    pub fn take(&mut self, (sequence, step, class, values): &Row, ahead: usize) {
        let step = step + ahead;
        match &mut self.kind {
            Kind::Values { sequences, outputs, rows, taken, .. } => {
                if sequence < sequences {
                    let all = rows.entry(*sequence).or_default();
                    *taken.entry(*sequence).or_default() += 1;
                    all.push((step, values[..*outputs].to_vec()));
                    if all.len() > 2 * STEPS {
                        all.drain(..all.len() - STEPS);
                    }
                }
            }
            Kind::Classes(counts) => {
                let truth = self.truth.as_ref().and_then(|truth| truth.class(*sequence, step));
                if let (Some(is), Some(taken)) = (truth, class)
                    && is < counts.nrows()
                {
                    counts[[is, *taken]] += 1;
                }
            }
        }
    }

    /// Draws it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn draw(self, path: &Path, labels: &Labels) -> Result<()> {
        match self.kind {
            Kind::Classes(counts) => {
                let names: Vec<String> = (0..counts.nrows()).map(|class| labels.class(class)).collect();
                plot::confusions(path, &counts, &names)
            }
            Kind::Values { outputs, shown, targets, rows, taken, .. } => {
                let several = rows.len() > 1 || !labels.sequence(0).chars().all(|c| c.is_ascii_digit());
                let panels = rows.iter().flat_map(|(&sequence, rows)| {
                    let rows = &rows[rows.len().saturating_sub(STEPS)..];
                    let (truth, lengths) = (self.truth.as_ref(), &self.lengths);
                    (0..shown).map(move |target| {
                        let (o, outer, column) = labels.of_target(target, outputs);
                        let known = |&(step, _): &(usize, Vec<f64>)| Some((step as f64, truth?.value(sequence, step, target)?));
                        // The last step that follows from what was given begins the line of those that do not.
                        let given = rows.partition_point(|(step, _)| *step < lengths[sequence] + labels.ahead);
                        let points =
                            |rows: &[(usize, Vec<f64>)]| rows.iter().map(|(step, values)| (*step as f64, values[o])).collect();
                        Panel {
                            name: if several { format!("{column}, sequence {}", labels.sequence(sequence)) } else { column },
                            predicted: points(&rows[..given]),
                            forecast: if given < rows.len() { points(&rows[given.saturating_sub(1)..]) } else { Vec::new() },
                            truth: rows.iter().filter_map(known).collect(),
                            band: outer.map_or(Vec::new(), |outer| {
                                let ends = |values: &[f64]| outer.map(|place| values[place]);
                                rows.iter().map(|(step, values)| (*step as f64, ends(values))).collect()
                            }),
                        }
                    })
                });
                let longest = taken.values().copied().max().unwrap_or(0);
                let steps = part(STEPS.min(longest), longest, "time steps").map(|part| format!("the last {part}"));
                let parts = [part(shown, targets, "columns"), part(rows.len(), self.lengths.len(), "sequences"), steps];
                let part = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
                plot::predictions(path, &panels.collect::<Vec<_>>(), &part)
            }
        }
    }
}

/// How many of all are shown, if not all.
fn part(shown: usize, all: usize, what: &str) -> Option<String> {
    (shown < all).then(|| format!("{} of {} {what}", thousands(shown as u64), thousands(all as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_but_a_part_is_said() {
        assert_eq!(part(4, 12, "columns").unwrap(), "4 of 12 columns");
        assert_eq!(part(4, 2000, "sequences").unwrap(), "4 of 2,000 sequences");
        assert_eq!(part(4, 4, "columns"), None);
    }
}
