//! How what a network predicts becomes what it reads next.

use ndarray::{Array2, Array3, Axis};
use retrospect::batch::{Input, Inputs, Loss, TargetKind};
use retrospect::data::{Column, Columns, Kind};
use retrospect::model::Config;
use retrospect::train::Origin;
use retrospect::{Error, Result};

/// The inputs of the next time step.
#[derive(Default)]
pub enum Feedback {
    /// The outputs or the classes themselves.
    #[default]
    Same,
    /// Of a table or of scaled tensors: each input column, and the output that it is.
    Columns(Vec<(Column, usize)>, Vec<Column>),
}

impl Feedback {
    /// Of a run.
    ///
    /// # Errors
    /// [`Error::Usage`] when what it predicts is not what it reads, with what differs.
    pub fn new(origin: &Origin) -> Result<Feedback> {
        let config = &origin.settings.network;
        let wrong = |problem: String| Err(Error::Usage(format!("--steps reads what the network predicts: {problem}")));
        if config.bidirectional {
            return wrong("this network is bidirectional, and its reverse direction reads what comes after".into());
        }
        match &config.loss {
            Loss::BinaryCrossEntropy => return wrong("it predicts the probabilities of labels".into()),
            Loss::Quantile(levels) if levels.len() > 1 => {
                return wrong(format!("it predicts {} quantiles of each target", levels.len()));
            }
            _ => {}
        }
        let Some(columns) = origin.columns.as_ref().filter(|columns| !columns.inputs.is_empty()) else {
            return same(config).map_or(Ok(Feedback::Same), wrong);
        };
        let table = &origin.settings.reading.table;
        // Of tensors the columns have no names of their own.
        if table.targets.is_empty() {
            return match same(config) {
                Some(problem) => wrong(problem),
                None => Ok(Feedback::columns(columns, (0..columns.inputs.len()).collect())),
            };
        }
        match columns.feedback() {
            Err(input) => wrong(format!("it reads column {input}, which it does not predict")),
            Ok(_) if table.ahead != 1 => wrong(format!("it predicts {} rows ahead, and what comes next is 1 ahead", table.ahead)),
            Ok(places) => Ok(Feedback::columns(columns, places)),
        }
    }

    fn columns(columns: &Columns, places: Vec<usize>) -> Feedback {
        Feedback::Columns(columns.inputs.iter().cloned().zip(places).collect(), columns.targets.clone())
    }

    /// `[1, B]` or `[1, B, I]` from outputs `[B, O]` and the classes `[1, B]` that were chosen by them.
    pub fn inputs(&self, outputs: &Array2<f32>, classes: Option<&Array2<u32>>) -> Inputs {
        let (columns, targets) = match (self, classes) {
            (Feedback::Columns(columns, targets), _) => (columns, targets),
            (Feedback::Same, Some(classes)) => return Inputs::Tokens(classes.clone()),
            (Feedback::Same, None) => return Inputs::Vectors(outputs.clone().insert_axis(Axis(0))),
        };
        let width = columns.iter().map(|(column, _)| column.width()).sum();
        let mut inputs = Array3::zeros((1, outputs.nrows(), width));
        for b in 0..outputs.nrows() {
            let mut first = 0;
            for (column, place) in columns {
                match (&column.kind, classes) {
                    (Kind::Categories(_), Some(classes)) => inputs[[0, b, first + classes[[0, b]] as usize]] = 1.0,
                    _ => inputs[[0, b, first]] = column.scaling().apply(targets[*place].scaling().undo(outputs[[b, *place]])),
                }
                first += column.width();
            }
        }
        Inputs::Vectors(inputs)
    }
}

/// What keeps the outputs from being the inputs, if anything.
fn same(config: &Config) -> Option<String> {
    let (reads, predicts) = (config.input.size(), config.outputs);
    match (config.input, config.loss.target_kind()) {
        (Input::Tokens(_), TargetKind::Classes) | (Input::Vectors(_), TargetKind::Values) if reads == predicts => None,
        (Input::Tokens(_), TargetKind::Classes) => Some(format!("it reads {reads} tokens and predicts {predicts} classes")),
        (Input::Vectors(_), TargetKind::Values) => Some(format!("it reads {reads} numbers and predicts {predicts}")),
        (Input::Tokens(_), TargetKind::Values) => Some("it reads tokens and predicts values".into()),
        (Input::Vectors(_), TargetKind::Classes) => Some("it reads vectors and predicts classes".into()),
    }
}
