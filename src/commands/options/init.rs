//! The weights that a network starts from.

use std::path::{Path, PathBuf};

use retrospect::cells::Cell;
use retrospect::data::{Columns, Known, Vocabulary};
use retrospect::model::{Config, left_out, sizes};
use retrospect::tensors::TensorFile;
use retrospect::train::Checkpoint;
use retrospect::{Error, Result};

use crate::commands::gradient::in_file;
use crate::commands::terminal::note_left_out;

/// The file of `--init`.
pub struct Init {
    path: PathBuf,
    pub file: TensorFile,
    /// The characters that the tokens are, of a run on a text.
    vocabulary: Option<Vocabulary>,
    /// Those of a run on a table, or on tensors that are scaled.
    columns: Option<Columns>,
}

impl Init {
    /// Opens a file of weights, a checkpoint or the checkpoint of a run's folder.
    pub fn open(path: &Path) -> Result<Init> {
        let file = TensorFile::open(Checkpoint::path(path))?;
        let vocabulary = file.metadata.get("vocabulary").map(|characters| characters.parse()).transpose();
        let vocabulary = vocabulary.map_err(|error| in_file(path, error))?;
        Ok(Init { path: path.into(), vocabulary, columns: Columns::from_metadata(&file)?, file })
    }

    /// What a network of these weights knows of its data.
    pub fn known(&self) -> Known<'_> {
        Known { vocabulary: self.vocabulary.as_ref(), columns: self.columns.as_ref() }
    }

    /// The sizes of the weights (inputs, hidden, layers, outputs), if they are those of the layers that are asked for and of the vocabulary
    /// that a text is read with.
    pub fn sizes(&self, cell: &Cell, layers: Option<usize>, text: Option<&Vocabulary>) -> Result<(usize, usize, usize, usize)> {
        let sizes = sizes(&self.file, cell)?;
        let (inputs, _, found, outputs) = sizes;
        let bad = |problem: String| Error::BadInput { what: self.path.display().to_string(), problem };
        if let Some(asked) = layers.filter(|&asked| asked != found) {
            return Err(bad(format!("has {found} layers, and --layers asks for {asked}")));
        }
        match text.map(Vocabulary::size) {
            Some(size) if (inputs, outputs) != (size, size) => {
                let whose = if self.vocabulary.is_some() { "its vocabulary" } else { "the text" };
                Err(bad(format!("reads {inputs} tokens and has {outputs} outputs; {whose} has {size} characters")))
            }
            _ => Ok(sizes),
        }
    }

    /// Says which of the tensors the network does not read, and refuses those of another network.
    pub fn note_left_out(&self, network: &Config) -> Result<()> {
        note_left_out(&self.path, &left_out(network, &self.file)?);
        Ok(())
    }
}
