//! The flags that choose data, and how they are read and divided.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use retrospect::data::{self, Choice, ClassWeights, Fill, HeldOut, Reading, Scale, TableOptions, Tokens, Windows};
use retrospect::tensors::Layout;
use retrospect::{Error, Result};

use super::values::{probability, size, words};

/// The files that a run reads. Unlike the rest of what it follows from, they may be named again when it goes on.
#[derive(Args)]
#[group(id = "FileArgs", multiple = true)]
pub struct FileArgs {
    /// Train on a text, token by token
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "task"], help_heading = "Data")]
    text: Option<PathBuf>,

    /// Train on your own sequences or series: a table (.csv or .tsv with a header, or - for standard input), or tensors (.safetensors or .npz:
    /// `inputs` or `tokens`, `classes` or `values`, as for `gradient`)
    #[arg(long, value_name = "FILE", conflicts_with = "task", help_heading = "Data")]
    data: Option<PathBuf>,

    /// What the tokens of --text are [default: those of --init's run, or chars]
    #[arg(long, value_name = "KIND", requires = "text", conflicts_with_all = ["data", "task"], help_heading = "Data")]
    pub tokens: Option<Tokens>,

    /// Measure on this while training: a share of the data (sequences at random; of a text or a series the end) or another file; 0 holds
    /// nothing out [default: 0.1]
    #[arg(long, value_name = "SHARE|FILE", allow_negative_numbers = true, value_parser = held_out, conflicts_with = "task", help_heading = "Data")]
    validation: Option<HeldOut>,

    /// Hold this out too, for `evaluate` at the end: another share, or a file [default: 0]
    #[arg(long, value_name = "SHARE|FILE", allow_negative_numbers = true, value_parser = held_out, conflicts_with = "task", help_heading = "Data")]
    test: Option<HeldOut>,
}

/// How data are read and divided.
#[derive(Args)]
#[group(id = "DataArgs", multiple = true)]
pub struct DataArgs {
    #[arg(long, value_name = "NAME", help = tasks(), help_heading = "Data")]
    pub task: Option<String>,

    /// Keep the N most frequent of --tokens words; all others become <unk> [default: 10000]
    #[arg(long, value_name = "N", allow_negative_numbers = true, requires = "tokens", value_parser = words(), help_heading = "Data")]
    pub vocabulary: Option<usize>,

    /// How numbers of --data are scaled, by the training part: to a mean of 0 and a deviation of 1, or to 0 … 1. Predictions are in their own
    /// units again [default: standard for a table, none for tensors]
    #[arg(long, value_name = "NAME", requires = "data", conflicts_with_all = ["text", "task"], help_heading = "Data")]
    scale: Option<Scale>,

    /// Read tensors of --data as [B, T, …] instead of [T, B, …]
    #[arg(long, requires = "data", conflicts_with_all = ["text", "task"], help_heading = "Data")]
    batch_first: bool,

    /// Put sequences of --data of similar length into one batch, so that less padding is computed
    /// [default: on]
    #[arg(
        long,
        value_name = "on|off",
        requires = "data",
        conflicts_with_all = ["text", "task"],
        num_args = 0..=1,
        default_missing_value = "on",
        help_heading = "Data"
    )]
    bucket: Option<Bucket>,

    /// The seed that decides which sequences of --data are held out [default: that of --seed; in a sweep over seeds the first of them, for all
    /// runs]
    #[arg(long, value_name = "N", requires = "data", conflicts_with_all = ["text", "task"], help_heading = "Data")]
    pub split_seed: Option<u64>,

    /// What classes of --data count for in the loss of training: balanced (the rarer the more), or a table with the columns class and weight,
    /// where a class that is missing counts for 1 [default: 1 each]
    #[arg(long, value_name = "balanced|FILE", value_parser = class_weights, requires = "data", conflicts_with_all = ["text", "task"], help_heading = "Data")]
    class_weights: Option<ClassWeights>,

    /// Sequences or windows in a batch [default: 32, or as many as there are sequences; 32 with --windows random]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = size(), help_heading = "Data")]
    batch: Option<usize>,

    /// Time steps in a window, through which gradients flow; longer sequences are cut, and the state is carried on [default: the task's; 64
    /// for a text, a series or --windows random; else sequences are read whole]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = size(), help_heading = "Data")]
    pub window: Option<usize>,

    /// How sequences that are longer than --window are cut: in windows one after the other, the state carried on, or at random places, from a state of zero [default:
    /// carried]
    #[arg(long, value_name = "NAME", requires = "data", conflicts_with_all = ["text", "task"], help_heading = "Data")]
    windows: Option<Windows>,

    /// Time steps at the start of a random window that do not count [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true, requires = "data", conflicts_with_all = ["text", "task"], help_heading = "Data")]
    warmup_steps: Option<usize>,
}

/// Which columns of a table are read and predicted.
#[derive(Args)]
#[group(id = "TableArgs", multiple = true, conflicts_with_all = ["text", "task"], requires = "data")]
pub struct TableArgs {
    /// Columns of a table to predict: numbers, or one column of words, which are classes. A name with a comma in it goes in double quotes
    #[arg(long, value_name = "COLUMN,…", value_parser = names, help_heading = "Tables")]
    target: Vec<Names>,

    /// Columns to read [default: all others; with --ahead the targets too]. Words become a number of 0 or 1 each
    #[arg(long, value_name = "COLUMN,…", value_parser = names, help_heading = "Tables")]
    input: Vec<Names>,

    /// Columns to read as categories though they hold numbers, such as codes
    #[arg(long, value_name = "COLUMN,…", value_parser = names, help_heading = "Tables")]
    categories: Vec<Names>,

    /// The column whose value tells sequences apart [default: all rows are one series]
    #[arg(long, value_name = "COLUMN", help_heading = "Tables")]
    sequence: Option<String>,

    /// Predict the value so many rows later: 1 forecasts the next row [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Tables")]
    ahead: Option<usize>,

    /// The target's numbers are classes
    #[arg(long, help_heading = "Tables")]
    classes: bool,

    /// What a missing input becomes; without it one is an error. A missing target does not count
    #[arg(long, value_name = "NAME", help_heading = "Tables")]
    fill: Option<Fill>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bucket {
    On,
    Off,
}

impl FileArgs {
    /// The file, if one is named.
    pub fn choice(&self) -> Option<Choice> {
        let text = self.text.as_deref().map(|path| Choice::Text(absolute(path)));
        text.or(self.data.as_deref().map(|path| Choice::Data(absolute(path))))
    }

    /// Names the files anew that a run that goes on is measured on.
    ///
    /// # Errors
    /// [`Error::Usage`] for what would change which data train.
    pub fn rename_held_out(&self, reading: &mut Reading) -> Result<()> {
        let parts = [("validation", &self.validation, &mut reading.validation), ("test", &self.test, &mut reading.test)];
        for (flag, asked, kept) in parts {
            match (asked, &kept) {
                (None, _) => {}
                (Some(HeldOut::File(path)), HeldOut::File(_)) => *kept = HeldOut::File(absolute(path)),
                _ => {
                    let problem = "what trains stays as it was when a run goes on; only a file at another place can be named";
                    return Err(Error::Usage(format!("--{flag}: {problem}")));
                }
            }
        }
        Ok(())
    }
}

impl DataArgs {
    /// The sequences of a batch.
    pub fn batch(&self) -> usize {
        self.batch.unwrap_or(32)
    }

    /// How it is read; of a text that does not say what the tokens are.
    pub fn reading(&self, files: &FileArgs, table: &TableArgs) -> Reading {
        let usual = Reading::default();
        let held_out = |part: &Option<HeldOut>, usual: HeldOut| match part {
            Some(HeldOut::File(path)) => HeldOut::File(absolute(path)),
            Some(share) => share.clone(),
            None => usual,
        };
        let has_data = files.data.is_some();
        let TableArgs { target, input, categories, sequence, ahead, classes, fill } = table;
        let columns = |lists: &[Names]| lists.iter().flat_map(|names| names.0.clone()).collect();
        Reading {
            layout: layout(self.batch_first),
            bucket: self.bucket != Some(Bucket::Off),
            validation: held_out(&files.validation, usual.validation),
            test: held_out(&files.test, usual.test),
            split_seed: self.split_seed,
            table: TableOptions {
                targets: columns(target),
                inputs: columns(input),
                categories: columns(categories),
                sequence: sequence.clone(),
                ahead: ahead.unwrap_or(0),
                classes: *classes,
                fill: *fill,
            },
            scale: self.scale,
            windows: self.windows,
            warmup: self.warmup_steps.unwrap_or(0),
            class_weights: self.class_weights.as_ref().map(|weights| match weights {
                ClassWeights::File(path) => ClassWeights::File(absolute(path)),
                other => other.clone(),
            }),
            // A text has no other way.
            cut: self.window.is_some() && has_data,
            shrink: self.batch.is_none() && has_data,
            ..Reading::default()
        }
    }
}

/// What becomes of gaps in a table that a trained network reads.
#[derive(Args)]
pub struct FillArg {
    /// What a missing input of the table becomes [default: as in training]
    #[arg(long, value_name = "NAME", requires = "data")]
    fill: Option<Fill>,
}

impl FillArg {
    /// How a run reads its data, with gaps filled as is asked for.
    ///
    /// # Errors
    /// [`Error::Usage`] where the run was not trained on a table.
    pub fn change(&self, mut reading: Reading) -> Result<Reading> {
        match self.fill {
            Some(_) if reading.table.targets.is_empty() => {
                Err(Error::Usage("--fill is for tables, and this run was trained on something else".into()))
            }
            Some(fill) => {
                reading.table.fill = Some(fill);
                Ok(reading)
            }
            None => Ok(reading),
        }
    }
}

/// What --batch-first says.
pub fn layout(batch_first: bool) -> Layout {
    if batch_first { Layout::BatchFirst } else { Layout::TimeFirst }
}

/// Resuming may happen in another folder. Standard input has no place.
pub fn absolute(path: &Path) -> PathBuf {
    if path == Path::new("-") { path.into() } else { std::path::absolute(path).unwrap_or_else(|_| path.into()) }
}

/// Names of columns.
#[derive(Clone)]
pub struct Names(pub Vec<String>);

/// Names as a line of a table: one with a comma in it stands in double quotes.
pub fn names(text: &str) -> std::result::Result<Names, String> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    let names: Vec<String> = match reader.records().next() {
        Some(Ok(record)) => record.iter().map(|name| name.trim().to_owned()).collect(),
        _ => Vec::new(),
    };
    if names.is_empty() || names.iter().any(String::is_empty) {
        Err("expected names of columns".into())
    } else {
        Ok(Names(names))
    }
}

fn class_weights(text: &str) -> std::result::Result<ClassWeights, String> {
    match text {
        "" => Err("expected balanced or a file".into()),
        "balanced" => Ok(ClassWeights::Balanced),
        file => Ok(ClassWeights::File(file.into())),
    }
}

/// A share, or a file.
fn held_out(text: &str) -> std::result::Result<HeldOut, String> {
    match text.parse::<f64>() {
        Ok(_) => probability(text).map(HeldOut::Share),
        Err(_) if text.is_empty() => Err("expected a share or a file".into()),
        Err(_) => Ok(HeldOut::File(text.into())),
    }
}

/// What there is to be learnt.
fn tasks() -> String {
    let about: Vec<String> = data::ALL.iter().map(|task| format!("{} ({})", task.name, task.about)).collect();
    format!("Train on a task: {}", about.join("; "))
}
