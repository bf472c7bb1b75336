//! A checkpoint: all that a run needs to go on as if it had never stopped, as a file that PyTorch reads too.

mod checks;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::Ix3;

use self::checks::{expect_columns, expect_size, vocabulary_of};
use super::{DeviceRecord, Header, Settings, Validations};
use crate::backend::Compute;
use crate::batch::States;
use crate::data::{Choice, Columns, Fingerprints, Known, OpenedData, Part, Vocabulary};
use crate::model::{Config, NamedArrays, Optimizer, from_file, left_out, parameters};
use crate::network::Network;
use crate::tensors::{TensorFile, checksum, write_in_blocks};
use crate::whole_file::WholeFile;
use crate::{Error, Result};

/// What a run follows from, besides the numbers of its network.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// What was asked for.
    pub settings: Settings,
    /// The tokens of a text.
    pub vocabulary: Option<Vocabulary>,
    /// The columns of a table, or of tensors that are scaled.
    pub columns: Option<Columns>,
    /// Of the files that it was trained and measured on.
    pub fingerprints: Fingerprints,
    /// The device that it ran on.
    pub device: DeviceRecord,
}

/// A run after some of its steps. What grows with the network stays in the file.
#[derive(Debug)]
pub struct Checkpoint {
    /// What it follows from.
    pub origin: Origin,
    /// The steps taken. Batch `step` comes next.
    pub step: u64,
    /// What it remembers of its validations.
    pub validations: Validations,
    /// The states before the next window's first step, `[layers, B, H]` each.
    pub states: States,
    /// Whether the file was held against a checksum. Those of early versions have none.
    pub has_checksum: bool,
    /// The weights and the optimiser's states.
    file: TensorFile,
}

impl Origin {
    /// What the network knows of its data.
    #[must_use]
    pub fn known(&self) -> Known<'_> {
        Known { vocabulary: self.vocabulary.as_ref(), columns: self.columns.as_ref() }
    }

    /// Opens the data to train or to measure a part, as the network was trained on them.
    ///
    /// # Errors
    /// What the source reports.
    pub fn open(&self, part: Part) -> Result<OpenedData> {
        self.settings.open(part, self.known())
    }
}

/// The generator that seeds refer to.
const GENERATOR: &str = "philox4x32-10";

/// The key of what the metadata are made of, beside the numbers of a network: there since there is a checksum, so that a damaged key of that is
/// not taken for an early version.
const FORMAT: (&str, &str) = ("checkpoint", "2");

impl Checkpoint {
    /// Where the checkpoint of a run lies: `run` is its folder, or the file itself.
    #[must_use]
    pub fn path(run: &Path) -> PathBuf {
        if run.is_dir() { run.join("checkpoint.safetensors") } else { run.into() }
    }

    /// The place of the checkpoint before the last.
    #[must_use]
    pub fn previous_path(run: &Path) -> PathBuf {
        run.join("checkpoint.previous.safetensors")
    }

    /// The place of the checkpoint with the best validation of a run.
    #[must_use]
    pub fn best_path(run: &Path) -> PathBuf {
        run.join("best.safetensors")
    }

    /// The place of the best network on other data that the run was trained on before.
    #[must_use]
    pub fn previous_best_path(run: &Path) -> PathBuf {
        run.join("best.previous.safetensors")
    }

    /// Whether a folder has a checkpoint, or the one before the last.
    #[must_use]
    pub fn is_in(folder: &Path) -> bool {
        folder.join("checkpoint.safetensors").exists() || Checkpoint::previous_path(folder).exists()
    }

    /// All files that a run has in its folder and that are not made anew from others.
    #[must_use]
    pub fn files(run: &Path) -> Vec<PathBuf> {
        let checkpoints = [run.join("checkpoint.safetensors"), Checkpoint::previous_path(run)];
        let best = [Checkpoint::best_path(run), Checkpoint::previous_best_path(run)];
        checkpoints
            .into_iter()
            .chain(best)
            .chain(["checkpoint.before.safetensors", "metrics.jsonl", "run.toml"].map(|name| run.join(name)))
            .collect()
    }

    /// Reads the last checkpoint of a run, and gives its place; where that is damaged or gone the one before, and why.
    ///
    /// # Errors
    /// As [`Checkpoint::read`], of the last one, and of the one before if that is there.
    pub fn of_run(run: &Path) -> Result<(Checkpoint, PathBuf, Option<Error>)> {
        let path = Checkpoint::path(run);
        match Checkpoint::read(&path) {
            Ok(checkpoint) => Ok((checkpoint, path, None)),
            Err(error) => {
                let previous = Checkpoint::previous_path(run);
                match Checkpoint::read(&previous) {
                    Ok(checkpoint) => Ok((checkpoint, previous, Some(error))),
                    Err(_) if !previous.exists() => Err(error),
                    Err(before) => Err(Error::input(error, format!("and the checkpoint before it is no better: {before}"))),
                }
            }
        }
    }

    /// Reads a checkpoint file, all of it once: what is damaged is known here.
    ///
    /// # Errors
    /// [`Error::BadInput`] when it cannot be read, is damaged or is not a checkpoint of this crate, with what is missing.
    pub fn read(path: &Path) -> Result<Checkpoint> {
        let tensors = TensorFile::open(path)?;
        let bad = |key: &str, e: &dyn std::fmt::Display| Error::input(path.display(), format!("metadata {key}: {e}"));
        let has_checksum = tensors.verify_checksum()?;
        if !has_checksum && tensors.metadata.contains_key(FORMAT.0) {
            tensors.metadata(checksum::KEY)?;
        }
        let Header { settings, step, validations, fingerprints, device } = Header::read(&tensors)?;
        let position: u64 = tensors.metadata("position")?.parse().map_err(|e| bad("position", &e))?;
        if position != step {
            return Err(bad("position", &format!("is {position}, and the step is {step}; expected the same")));
        }
        let generator = tensors.metadata("generator")?;
        if generator != GENERATOR {
            return Err(bad("generator", &format!("is {generator}; expected {GENERATOR}")));
        }
        let vocabulary = vocabulary_of(&tensors, &settings).map_err(|e| bad("vocabulary", &e))?;
        let columns = Columns::from_metadata(&tensors)?;
        columns.iter().try_for_each(|columns| expect_columns(columns, &settings.network)).map_err(|e| bad("columns", &e))?;
        let network = &settings.network;
        let (layers, batch, hidden) = network.state_shape();
        let mut states = States::new();
        for &name in network.cell.states {
            let tensor = format!("state.{name}0");
            tensors.expect_shape(&tensor, &[layers, batch, hidden])?;
            let state = tensors.f64(&tensor)?.mapv(|v| v as f32);
            states.insert(name.to_owned(), state.into_dimensionality::<Ix3>().expect("three extents were expected"));
        }
        let prefixes = network.optimizer.states().iter().map(|name| format!("optimizer.{name}."));
        for prefix in prefixes.chain([String::new()]) {
            // Where the checksum is right the numbers are those that were written, which were finite.
            match has_checksum {
                true => parameters::expect_shapes(network, &prefix, &tensors)?,
                false => parameters::in_blocks(network, &prefix, &tensors, &mut |_, _, _| Ok(()))?,
            }
        }
        Ok(Checkpoint {
            step,
            validations,
            states,
            has_checksum,
            origin: Origin { vocabulary, columns, fingerprints, device, settings },
            file: tensors,
        })
    }

    /// Weights alone, as a run of no training steps.
    ///
    /// # Errors
    /// [`Error::BadInput`] when the network has another number of tokens than the vocabulary.
    pub fn of_weights(path: &Path, file: TensorFile, network: Config, vocabulary: Option<Vocabulary>) -> Result<Checkpoint> {
        vocabulary
            .iter()
            .try_for_each(|vocabulary| expect_size(vocabulary, &network))
            .map_err(|e| file.bad("vocabulary", e.to_string()))?;
        let data = Choice::Data(path.into());
        let settings = Settings { steps: 0, lr: 0.0, init: Some(path.into()), ..Settings::new(data, network) };
        let (fingerprints, device) = (Fingerprints::default(), DeviceRecord::default());
        let origin = Origin { settings, vocabulary, columns: None, fingerprints, device };
        let (states, validations) = (States::new(), Validations::default());
        Ok(Checkpoint { origin, step: 0, validations, states, has_checksum: false, file })
    }

    /// The weights, in memory.
    ///
    /// # Errors
    /// [`Error::BadInput`] when the file has changed since it was read.
    pub fn parameters(&self) -> Result<NamedArrays> {
        from_file(&self.origin.settings.network, "", &self.file)
    }

    /// The tensors of the file that the network does not read: [`left_out`].
    ///
    /// # Errors
    /// None after [`Checkpoint::read`], which has refused those of another network.
    pub fn left_out(&self) -> Result<Vec<&str>> {
        left_out(&self.origin.settings.network, &self.file)
    }

    /// Sets the weights of a network: [`Network::load_parameters`].
    ///
    /// # Errors
    /// [`Error::BadInput`] when they are of another shape; what the backend reports.
    pub fn load_parameters(&self, network: &mut Network) -> Result<()> {
        network.load_parameters(&self.file)
    }

    /// A network of the run's weights that is not trained further: `config` is that of the run but for its batches, and needs no optimiser.
    ///
    /// # Errors
    /// As [`Network::new`] and [`Checkpoint::load_parameters`].
    pub fn network(&self, config: Config, compute: &Compute) -> Result<Network> {
        let mut network = Network::new(&Config { optimizer: Optimizer::Sgd, accumulate: 1, ..config }, compute)?;
        self.load_parameters(&mut network)?;
        Ok(network)
    }

    /// Writes the checkpoint of a network, whole or not at all, in blocks: not even one tensor is copied as a whole.
    ///
    /// # Errors
    /// [`Error::Diverged`] when a value is not finite, and then nothing is written; [`Error::Io`]; what the backend reports.
    pub fn write(origin: &Origin, validations: &Validations, network: &mut Network, path: &Path) -> Result<()> {
        network.expect_one_rank("write a checkpoint")?;
        let mut file = WholeFile::create(path)?;
        Checkpoint::write_to(origin, validations, network, &mut file)?;
        file.complete()
    }

    /// Writes the checkpoint of a network to a file that is not complete yet.
    pub(super) fn write_to(
        origin: &Origin,
        validations: &Validations,
        network: &mut Network,
        file: &mut WholeFile,
    ) -> Result<()> {
        let step = network.steps();
        let json = |value: std::result::Result<String, serde_json::Error>| value.expect("strings, numbers and maps of them");
        let mut metadata = BTreeMap::from([
            (FORMAT.0.into(), FORMAT.1.into()),
            (checksum::KEY.into(), checksum::UNKNOWN.into()),
            ("configuration".into(), json(serde_json::to_string(&origin.settings))),
            ("device".into(), json(serde_json::to_string(&origin.device))),
            ("generator".into(), GENERATOR.into()),
            // Batches are numbered from 0: a step's batch follows from the seed and this number alone.
            ("position".into(), step.to_string()),
            ("step".into(), step.to_string()),
            ("version".into(), env!("CARGO_PKG_VERSION").into()),
        ]);
        metadata.extend(origin.vocabulary.iter().flat_map(Vocabulary::to_metadata));
        metadata.extend(origin.columns.as_ref().map(|c| ("columns".into(), json(serde_json::to_string(c)))));
        if *validations != Validations::default() {
            metadata.insert("validations".into(), json(serde_json::to_string(validations)));
        }
        metadata.extend(origin.fingerprints.to_metadata());
        let tensors = network.tensors();
        let shapes: Vec<(String, Vec<usize>)> = tensors.iter().map(|(name, shape, _)| (name.clone(), shape.clone())).collect();
        write_in_blocks(file, &metadata, &shapes, &mut |i, rows| {
            let (name, _, stored) = &tensors[i];
            let values = network.read_rows(*stored, rows)?;
            if values.iter().all(|v| v.is_finite()) {
                return Ok(values);
            }
            let tensor = name.trim_start_matches("optimizer.m.").trim_start_matches("optimizer.v.");
            let tensor = format!("{tensor} or its optimiser's state");
            Err(Error::Diverged { step, tensor, last_finite: None, checkpoint: None })
        })
    }

    /// Puts a network where the run was.
    ///
    /// # Errors
    /// What the backend reports.
    pub fn restore(&self, network: &mut Network) -> Result<()> {
        self.restore_in(network, &self.origin)
    }

    /// The same for the network of a run that may have gone on with other data since.
    pub(super) fn restore_in(&self, network: &mut Network, run: &Origin) -> Result<()> {
        network.load_parameters(&self.file)?;
        let states = self.origin.settings.network.optimizer.states();
        states.iter().try_for_each(|name| network.load_optimizer_state(name, &self.file))?;
        // Those of other data are of other sequences, and may be of more or fewer.
        let is_of_run = self.origin.fingerprints.data == run.fingerprints.data;
        let states = if is_of_run { self.states.clone() } else { run.settings.network.zero_states() };
        network.set_state(&states)?;
        network.set_steps(self.step);
        Ok(())
    }
}
