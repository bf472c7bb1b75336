//! A run's folder: metrics, a line each, and the last two checkpoints.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Checkpoint, ColumnError, LayerFlow, Origin, Validations};
use crate::network::Network;
use crate::{Error, Result};

/// A line of `metrics.jsonl`: of a training step, of what was traced in it, or of an evaluation after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Metrics {
    /// Of a training step.
    Step {
        /// The step, from 1.
        step: u64,
        /// Its loss, before its update.
        loss: f32,
        /// The norm of its gradient, before clipping.
        grad_norm: f32,
        /// The learning rate.
        lr: f64,
        /// Time steps of all sequences in a second, since the line before.
        tokens_per_s: f64,
        /// Milliseconds, the mean since the line before.
        ms_per_step: f64,
    },
    /// Of an evaluation.
    Evaluation {
        /// The steps taken.
        step: u64,
        /// The mean over the held-out data.
        validation_loss: f64,
        /// e to the power of the loss, of classes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        perplexity: Option<f64>,
        /// The share of right classes, of classes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        accuracy: Option<f64>,
        /// Of each column that is predicted, in its own unit.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        columns: Vec<ColumnError>,
    },
    /// Of what was traced in a training step.
    Trace {
        /// The step, from 1.
        step: u64,
        /// Of each layer, the first one first, before the step's update.
        gradients: Vec<LayerFlow>,
        /// ‖Δw‖/‖w‖ of each tensor in the step's update, by PyTorch's names. `None`: it was zero before.
        update_to_weight: BTreeMap<String, Option<f64>>,
    },
}

impl Metrics {
    /// The step.
    #[must_use]
    pub fn step(&self) -> u64 {
        match self {
            Metrics::Step { step, .. } | Metrics::Evaluation { step, .. } | Metrics::Trace { step, .. } => *step,
        }
    }
}

/// An opened folder of a run.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    metrics: File,
}

const METRICS: &str = "metrics.jsonl";

impl Folder {
    /// Makes a folder for a new run, and those above it.
    ///
    /// # Errors
    /// [`Error::Usage`] when a run is there already; [`Error::Io`].
    pub fn create(path: &Path) -> Result<Folder> {
        let run = [Path::new(METRICS), Path::new("run.toml"), Path::new("checkpoint.safetensors")];
        if run.iter().any(|file| path.join(file).exists()) {
            let path = path.display();
            return Err(Error::Usage(format!("{path} holds a run already: resume it, or name another folder")));
        }
        fs::create_dir_all(path).map_err(|e| Error::io(path, e))?;
        Folder::open(path)
    }

    /// Makes the first folder of `path`, `path-2`, `path-3`, … that is not there yet, whoever else is making some.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create_beside(path: &Path) -> Result<Folder> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|e| Error::io(parent, e))?;
        }
        let mut number = 1;
        loop {
            let mut name = path.as_os_str().to_owned();
            if number > 1 {
                name.push(format!("-{number}"));
            }
            match fs::create_dir(&name) {
                Ok(()) => return Folder::open(Path::new(&name)),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(e) => return Err(Error::io(name, e)),
            }
        }
    }

    /// Opens the folder of a run to go on after `step`: metrics of later steps, which a run that was cut off may have left
    /// behind, are dropped.
    ///
    /// # Errors
    /// [`Error::Usage`] when another process is at it; [`Error::BadInput`] when the metrics cannot be read; [`Error::Io`].
    pub fn resume(path: &Path, step: u64) -> Result<Folder> {
        let folder = Folder::open(path)?;
        folder.cut_metrics(step)?;
        Ok(folder)
    }

    /// Drops the metrics of later steps.
    ///
    /// # Errors
    /// [`Error::BadInput`] when the metrics cannot be read; [`Error::Io`].
    pub fn cut_metrics(&self, step: u64) -> Result<()> {
        let lines = lines(&self.path)?;
        let kept = lines.iter().take_while(|(_, line)| line.step() <= step).last().map_or(0, |(end, _)| *end);
        self.metrics.set_len(kept as u64).map_err(|e| Error::io(self.path.join(METRICS), e))
    }

    /// Opens the metrics and locks them, for as long as the folder is open.
    fn open(path: &Path) -> Result<Folder> {
        let metrics = path.join(METRICS);
        let file = OpenOptions::new().create(true).append(true).open(&metrics).map_err(|e| Error::io(&metrics, e))?;
        match file.try_lock() {
            Ok(()) => {}
            // Not every file system has locks.
            Err(TryLockError::Error(_)) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Usage(format!("another process is training in {}", path.display())));
            }
        }
        Ok(Folder { path: path.into(), metrics: file })
    }

    /// All metrics of the run in `path`. A last line that was cut off is left out.
    ///
    /// # Errors
    /// [`Error::BadInput`] with the line.
    pub fn metrics(path: &Path) -> Result<Vec<Metrics>> {
        Ok(lines(path)?.into_iter().map(|(_, line)| line).collect())
    }

    /// Its place.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line of metrics.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn log(&mut self, metrics: &Metrics) -> Result<()> {
        self.metrics.write_all(line_of(metrics).as_bytes()).map_err(|e| Error::io(self.path.join(METRICS), e))
    }

    /// Writes a checkpoint, keeps the one before, and gives its place. At every moment one of the two is there, whole.
    ///
    /// # Errors
    /// As [`Checkpoint::write`].
    pub fn save(&self, origin: &Origin, validations: &Validations, network: &mut Network) -> Result<PathBuf> {
        let path = Checkpoint::path(&self.path);
        let new = self.path.join("checkpoint.new.safetensors");
        Checkpoint::write(origin, validations, network, &new)?;
        let moved = |from: &Path, to: &Path| fs::rename(from, to).map_err(|e| Error::io(to, e));
        if path.exists() {
            moved(&path, &Checkpoint::previous_path(&self.path))?;
        }
        moved(&new, &path)?;
        Ok(path)
    }

    /// Writes the checkpoint with the best validation so far in the place of the one before.
    ///
    /// # Errors
    /// As [`Checkpoint::write`].
    pub fn save_best(&self, origin: &Origin, validations: &Validations, network: &mut Network) -> Result<()> {
        Checkpoint::write(origin, validations, network, &Checkpoint::best_path(&self.path))
    }
}

/// The metrics of the run in a folder, each with where its line ends in the file. A last line that was cut off is left out.
fn lines(folder: &Path) -> Result<Vec<(usize, Metrics)>> {
    let path = folder.join(METRICS);
    let text = fs::read_to_string(&path).map_err(|e| Error::input(path.display(), format!("cannot be read: {e}")))?;
    let mut end = 0;
    let parse = |(number, line): (usize, &str)| {
        end += line.len();
        let bad = |e| Error::input(path.display(), format!("line {}: {e}", number + 1));
        Ok((end, serde_json::from_str(line).map_err(bad)?))
    };
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).enumerate().map(parse).collect()
}

fn line_of(metrics: &Metrics) -> String {
    let mut line = serde_json::to_string(metrics).expect("numbers");
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64) -> Metrics {
        Metrics::Step { step, loss: 0.1, grad_norm: 2.5, lr: 2e-3, tokens_per_s: 1e6, ms_per_step: 0.25 }
    }

    #[test]
    fn metrics_are_lines_and_those_past_the_checkpoint_are_dropped() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let mut folder = Folder::create(&path).unwrap();
        let evaluation = Metrics::Evaluation {
            step: 20,
            validation_loss: 1.5,
            perplexity: Some(4.5),
            accuracy: Some(0.5),
            columns: vec![ColumnError { name: "flow".into(), root_mean_squared_error: Some(2.5) }],
        };
        [step(10), step(20), evaluation.clone(), step(30)].iter().for_each(|m| folder.log(m).unwrap());
        assert_eq!(Folder::metrics(&path).unwrap(), [step(10), step(20), evaluation.clone(), step(30)]);
        assert_eq!(Folder::create(&path).unwrap_err().exit_code(), 2);

        // Cut off in the middle of a line.
        let text = fs::read_to_string(path.join(METRICS)).unwrap();
        assert!(text.starts_with(r#"{"step":10,"loss":0.1,"grad_norm":2.5,"lr":0.002,"#), "{text}");
        fs::write(path.join(METRICS), &text[..text.len() - 9]).unwrap();
        assert_eq!(Folder::resume(&path, 20).unwrap_err().exit_code(), 2, "it is in use");
        drop(folder);
        let mut folder = Folder::resume(&path, 20).unwrap();
        folder.log(&step(21)).unwrap();
        assert_eq!(Folder::metrics(&path).unwrap(), [step(10), step(20), evaluation, step(21)]);

        let beside = [(); 3].map(|()| Folder::create_beside(&path).unwrap().path().to_owned());
        assert_eq!(beside, ["a/b-2", "a/b-3", "a/b-4"].map(|name| parent.path().join(name)));

        fs::write(path.join(METRICS), "{\"step\":1}\n{}\n").unwrap();
        let error = Folder::metrics(&path).unwrap_err();
        assert!(error.exit_code() == 7 && error.to_string().contains("line 1"), "{error}");
    }
}
