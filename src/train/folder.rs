//! A run's folder: metrics, a line each, and the last two checkpoints.
//!
//! Another may have filled it, so no link in it is followed on writing. Whoever writes in it or removes something holds its lock.

mod files;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(super) use self::files::SPILLED;
use self::files::{BEFORE_EXPLOSION, CHECKPOINT, FILES, METRICS, keep, remove_unfinished};
use super::{Best, Checkpoint, ColumnError, Header, LayerFlow, Origin, Validations};
use crate::data::Fingerprints;
use crate::network::Network;
use crate::whole_file::{WholeFile, expect_plain, sync_folder_of};
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
    /// `None` of a rank that leaves it to the first one to write.
    metrics: Option<File>,
}

impl Folder {
    /// Makes a folder for a new run, and those above it. A folder without a checkpoint and without metrics is no run: something ended
    /// one before it began.
    ///
    /// # Errors
    /// [`Error::Usage`] when a run is there already, or another process trains in it; [`Error::BadInput`] when one of its files is a link;
    /// [`Error::Io`].
    pub fn create(path: &Path) -> Result<Folder> {
        expect_no_run(path)?;
        fs::create_dir_all(path).and_then(|()| sync_folder_of(path)).map_err(|e| Error::io(path, e))?;
        let folder = Folder::open(path)?;
        // Another process may have been faster.
        expect_no_run(path).map(|()| folder)
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

    /// Opens the folder of a run that goes on. Its checkpoint is read after this, when no other process can replace it any more.
    ///
    /// # Errors
    /// [`Error::BadInput`] when it is not the folder of a run, or one of its files is a link; [`Error::Usage`] when another process trains
    /// in it; [`Error::Io`].
    pub fn of_run(path: &Path) -> Result<Folder> {
        if !path.is_dir() {
            return Err(Error::input(path.display(), "is not the folder of a run"));
        }
        if !Checkpoint::is_in(path) {
            return Err(Error::input(path.join(CHECKPOINT).display(), "cannot be read: there is no checkpoint"));
        }
        Folder::open(path)
    }

    /// Drops the metrics of steps after `step`, which a run that was cut off may have left behind, and all from a damaged line on. Returns
    /// what is wrong with that line, if there is one.
    ///
    /// # Errors
    /// [`Error::BadInput`] when the metrics cannot be read; [`Error::Io`].
    pub fn drop_metrics_after(&self, step: u64) -> Result<Option<Error>> {
        let Some(metrics) = &self.metrics else { return Ok(None) };
        let (lines, damage) = lines(&self.path)?;
        let kept = lines.iter().take_while(|(_, line)| line.step() <= step).last().map_or(0, |(end, _)| *end);
        metrics.set_len(kept as u64).map_err(|e| Error::io(self.path.join(METRICS), e))?;
        Ok(damage)
    }

    /// Opens the metrics and locks them, for as long as the folder is open; then removes what dead processes did not finish.
    fn open(path: &Path) -> Result<Folder> {
        FILES.iter().try_for_each(|name| expect_plain(&path.join(name)))?;
        let metrics = path.join(METRICS);
        let mut options = OpenOptions::new();
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NOFOLLOW.bits() as i32);
        let file = options.create(true).append(true).open(&metrics).map_err(|e| Error::io(&metrics, e))?;
        match file.try_lock() {
            Ok(()) => {}
            // Not every file system has locks.
            Err(TryLockError::Error(_)) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Usage(format!("another process is training in {}", path.display())));
            }
        }
        remove_unfinished(path).map_err(|e| Error::io(path, e))?;
        Ok(Folder { path: path.into(), metrics: Some(file) })
    }

    /// The folder of a run that another rank writes: nothing is written here.
    pub(super) fn elsewhere(path: PathBuf) -> Folder {
        Folder { path, metrics: None }
    }

    /// All metrics of the run in `path`. A last line that was cut off is left out.
    ///
    /// # Errors
    /// [`Error::BadInput`] with the line.
    pub fn metrics(path: &Path) -> Result<Vec<Metrics>> {
        match lines(path)? {
            (_, Some(damage)) => Err(damage),
            (lines, None) => Ok(lines.into_iter().map(|(_, line)| line).collect()),
        }
    }

    /// Its place.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line of metrics. A write that fails is tried once more, without what the first has left.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn log(&mut self, metrics: &Metrics) -> Result<()> {
        let line = line_of(metrics);
        let Some(file) = &mut self.metrics else { return Ok(()) };
        let mut write = || {
            let end = file.metadata()?.len();
            let written = file.write_all(line.as_bytes());
            written.or_else(|_| file.set_len(end).and_then(|()| file.write_all(line.as_bytes())))
        };
        write().map_err(|e| Error::io(self.path.join(METRICS), e))
    }

    /// Where its last checkpoint is.
    #[must_use]
    pub fn checkpoint(&self) -> PathBuf {
        // Not by what is there now: where the folder is gone its own name would be free.
        self.path.join(CHECKPOINT)
    }

    /// Writes a checkpoint and keeps the one before. At every moment one of the two is there, whole.
    ///
    /// # Errors
    /// As [`Checkpoint::write`]; [`Error::BadInput`] when one of the two is a link.
    pub fn save(&self, origin: &Origin, validations: &Validations, network: &mut Network) -> Result<()> {
        let Some(metrics) = &self.metrics else { return Ok(()) };
        let path = self.checkpoint();
        let mut file = WholeFile::create_plain(&path)?;
        Checkpoint::write_to(origin, validations, network, &mut file)?;
        // What led to a checkpoint is on the disk before it.
        metrics.sync_data().map_err(|e| Error::io(self.path.join(METRICS), e))?;
        file.complete_after(|| keep(&path, &Checkpoint::previous_path(&self.path)))
    }

    /// Writes the checkpoint with the best validation so far in the place of the one before.
    ///
    /// # Errors
    /// As [`Folder::save`].
    pub fn save_best(&self, origin: &Origin, validations: &Validations, network: &mut Network) -> Result<()> {
        if self.metrics.is_none() {
            return Ok(());
        }
        let mut file = WholeFile::create_plain(&Checkpoint::best_path(&self.path))?;
        Checkpoint::write_to(origin, validations, network, &mut file)?;
        file.complete()
    }

    /// The best validation of the network that is kept as the best, if that was trained and validated on these data.
    pub(super) fn best(&self, fingerprints: &Fingerprints) -> Option<Best> {
        self.metrics.as_ref()?;
        let header = Header::open(&Checkpoint::best_path(&self.path)).ok()?;
        header.validations.best.filter(|_| header.fingerprints.validate_alike(fingerprints))
    }

    /// Renames the best network to `best.previous.safetensors`, if it was trained or validated on other data.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn set_other_best_aside(&self, fingerprints: &Fingerprints) -> Result<()> {
        if self.metrics.is_none() {
            return Ok(());
        }
        let (best, aside) = (Checkpoint::best_path(&self.path), Checkpoint::previous_best_path(&self.path));
        match Header::open(&best) {
            Ok(header) if !header.fingerprints.validate_alike(fingerprints) => {
                fs::rename(best, &aside).map_err(|e| Error::io(aside, e))
            }
            _ => Ok(()),
        }
    }

    /// Where the last checkpoint from before an exploded loss is kept.
    pub(super) fn before_explosion(&self) -> PathBuf {
        self.path.join(BEFORE_EXPLOSION)
    }

    /// Keeps the last checkpoint, whatever is written after it.
    ///
    /// # Errors
    /// As [`Folder::save`].
    pub(super) fn keep_before_explosion(&self) -> Result<()> {
        match self.metrics {
            Some(_) => keep(&self.path.join(CHECKPOINT), &self.before_explosion()),
            None => Ok(()),
        }
    }

    /// Removes what was kept, if anything was.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn remove_before_explosion(&self) -> Result<()> {
        let path = self.before_explosion();
        match self.metrics.as_ref().map(|_| fs::remove_file(&path)) {
            Some(Err(e)) if e.kind() != ErrorKind::NotFound => Err(Error::io(path, e)),
            _ => Ok(()),
        }
    }

    /// The first loss in the metrics.
    pub(super) fn first_loss(&self) -> Option<f32> {
        self.metrics.as_ref()?;
        let lines = BufReader::new(File::open(self.path.join(METRICS)).ok()?).lines();
        let loss = |line: String| match serde_json::from_str(&line).ok()? {
            Metrics::Step { loss, .. } => Some(loss),
            _ => None,
        };
        lines.map_while(std::io::Result::ok).find_map(loss)
    }

    /// Puts the checkpoint before the last in the place of the last one, which is damaged: the next would push it out.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn restore_previous(&self) -> Result<()> {
        let path = self.path.join(CHECKPOINT);
        let moved = fs::rename(Checkpoint::previous_path(&self.path), &path).and_then(|()| sync_folder_of(&path));
        moved.map_err(|e| Error::io(path, e))
    }
}

/// Refuses a folder that holds a run.
fn expect_no_run(path: &Path) -> Result<()> {
    let has_metrics = fs::metadata(path.join(METRICS)).is_ok_and(|about| about.len() > 0);
    if !Checkpoint::is_in(path) && !has_metrics {
        return Ok(());
    }
    Err(Error::Usage(format!("{} holds a run already: resume it, or name another folder", path.display())))
}

/// Metrics, each with where its line ends in the file.
type Lines = Vec<(usize, Metrics)>;

/// The metrics of the run in a folder up to a line that is damaged, and what is wrong with that. A last line that was cut off is left out.
fn lines(folder: &Path) -> Result<(Lines, Option<Error>)> {
    let path = folder.join(METRICS);
    let text = fs::read(&path).map_err(|e| Error::input(path.display(), format!("cannot be read: {e}")))?;
    let (mut lines, mut end) = (Vec::new(), 0);
    for line in text.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n")) {
        end += line.len();
        match serde_json::from_slice(line) {
            Ok(metrics) => lines.push((end, metrics)),
            Err(e) => {
                let damage = Error::input(path.display(), format!("line {}: {e}", lines.len() + 1));
                return Ok((lines, Some(damage)));
            }
        }
    }
    Ok((lines, None))
}

fn line_of(metrics: &Metrics) -> String {
    let mut line = serde_json::to_string(metrics).expect("numbers");
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::files::UNFINISHED;
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
        let error = Folder::of_run(&path).unwrap_err();
        assert!(error.exit_code() == 7 && error.to_string().contains("there is no checkpoint"), "{error}");
        fs::write(Checkpoint::path(&path), "").unwrap();
        assert_eq!(Folder::of_run(&path).unwrap_err().exit_code(), 2, "it is in use");
        drop(folder);
        let mut folder = Folder::of_run(&path).unwrap();
        assert!(folder.drop_metrics_after(20).unwrap().is_none());
        folder.log(&step(21)).unwrap();
        assert_eq!(Folder::metrics(&path).unwrap(), [step(10), step(20), evaluation, step(21)]);

        let beside = [(); 3].map(|()| Folder::create_beside(&path).unwrap().path().to_owned());
        assert_eq!(beside, ["a/b-2", "a/b-3", "a/b-4"].map(|name| parent.path().join(name)));

        fs::write(path.join(METRICS), "{\"step\":1}\n{}\n").unwrap();
        let error = Folder::metrics(&path).unwrap_err();
        assert!(error.exit_code() == 7 && error.to_string().contains("line 1"), "{error}");
    }

    #[test]
    fn metrics_are_cut_at_a_damaged_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut opened = Folder::create(folder.path()).unwrap();
        (1..=4).for_each(|k| opened.log(&step(k)).unwrap());
        let path = folder.path().join(METRICS);
        let whole = fs::read(&path).unwrap();
        let second = whole.len() / 4 + 5;
        // No number any more, and no text any more.
        for byte in [b'x', 0xff] {
            let mut damaged = whole.clone();
            damaged[second] = byte;
            fs::write(&path, damaged).unwrap();
            let damage = opened.drop_metrics_after(4).unwrap().unwrap();
            assert!(damage.to_string().contains("line 2: "), "{damage}");
            assert_eq!(Folder::metrics(folder.path()).unwrap(), [step(1)]);
        }
    }

    /// What was begun and not finished blocks no name, and goes; what a run holds, and others' files, stay.
    #[test]
    fn a_folder_without_a_checkpoint_is_no_run() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let [unfinished, others] =
            [["run.toml.71.part", "loss.svg.8.part", UNFINISHED, SPILLED], ["x.71.part", "run.toml.part", "run.toml", "notes"]];
        unfinished.iter().chain(&others).for_each(|name| fs::write(at(name), "").unwrap());
        for _ in 0..2 {
            drop(Folder::create(folder.path()).unwrap());
        }
        assert!(!unfinished.iter().any(|name| at(name).exists()));
        assert!(others.iter().all(|name| at(name).exists()));
        for name in ["checkpoint.safetensors", "checkpoint.previous.safetensors", METRICS] {
            fs::write(at(name), "{}\n").unwrap();
            assert_eq!(Folder::create(folder.path()).unwrap_err().exit_code(), 2, "{name}");
            fs::remove_file(at(name)).unwrap();
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_in_a_folder_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mine = folder.path().join("mine");
        fs::write(&mine, "mine").unwrap();
        for name in FILES {
            let run = folder.path().join(format!("of {name}"));
            fs::create_dir(&run).unwrap();
            std::os::unix::fs::symlink(&mine, run.join(name)).unwrap();
            let error = Folder::open(&run).unwrap_err();
            assert!(error.exit_code() == 7 && error.to_string().contains(&format!("{name}: is a symbolic link")), "{error}");
            assert_eq!(fs::read_dir(&run).unwrap().count(), 1);
        }
        assert_eq!(fs::read_to_string(mine).unwrap(), "mine");
    }
}
