//! The weights that a network starts from.

use std::path::{Path, PathBuf};

use retrospect::cells::Cell;
use retrospect::data::{Columns, Known, Tokens, Vocabulary};
use retrospect::model::{Config, Sizes, holds_masks_alone, left_out, sizes};
use retrospect::tensors::TensorFile;
use retrospect::train::Checkpoint;
use retrospect::{Error, Result};

use crate::commands::files::{expect_no_pipe, in_file};
use crate::commands::terminal::note_left_out;

/// The file of `--init`.
pub struct Init {
    path: PathBuf,
    pub file: TensorFile,
    /// The tokens of a run on a text.
    vocabulary: Option<Vocabulary>,
    /// Those of a run on a table, or on tensors that are scaled.
    columns: Option<Columns>,
}

impl Init {
    /// Opens a file of weights, a checkpoint or the checkpoint of a run's folder.
    pub fn open(path: &Path) -> Result<Init> {
        expect_no_pipe(path, "weights are read twice")?;
        let file = TensorFile::open(Checkpoint::path(path))?;
        let vocabulary = Vocabulary::from_metadata(&file.metadata).map_err(|error| in_file(path, error))?;
        Ok(Init { path: path.into(), vocabulary, columns: Columns::from_metadata(&file)?, file })
    }

    /// What a network of these weights knows of its data.
    pub fn known(&self) -> Known<'_> {
        Known { vocabulary: self.vocabulary.as_ref(), columns: self.columns.as_ref() }
    }

    /// What the tokens of a text are: those of the weights' run, or else what is asked for.
    ///
    /// # Errors
    /// [`Error::BadInput`] when other ones are asked for than the run's.
    pub fn tokens(&self, asked: Option<Tokens>) -> Result<Option<Tokens>> {
        match &self.vocabulary {
            Some(vocabulary) => expect_tokens(&self.path, vocabulary, asked).map(|()| Some(vocabulary.tokens())),
            None => Ok(asked),
        }
    }

    /// The sizes of the weights, if they are those of the layers that are asked for and of the vocabulary
    /// that a text is read with.
    pub fn sizes(&self, cell: &Cell, layers: Option<usize>, text: Option<&Vocabulary>) -> Result<Sizes> {
        let sizes = sizes(&self.file, cell)?;
        let Sizes { inputs, outputs, layers: found, .. } = sizes;
        let bad = |problem: String| Error::BadInput { what: self.path.display().to_string(), problem };
        if let Some(asked) = layers.filter(|&asked| asked != found) {
            return Err(bad(format!("has {found} layers, and --layers asks for {asked}")));
        }
        match text.map(Vocabulary::size) {
            Some(size) if (inputs, outputs) != (size, size) => {
                let whose = if self.vocabulary.is_some() { "its vocabulary" } else { "the text" };
                let noun = text.map_or("token", |text| text.tokens().noun());
                Err(bad(format!("reads {inputs} tokens and has {outputs} outputs; {whose} has {size} {noun}s")))
            }
            _ => Ok(sizes),
        }
    }

    /// Says which of the tensors the network does not read, and refuses those of another network.
    pub fn note_left_out(&self, network: &Config) -> Result<()> {
        if holds_masks_alone(&self.file) {
            return Ok(());
        }
        note_left_out(&self.path, &left_out(network, &self.file)?);
        Ok(())
    }
}

/// Checks that the tokens of a trained network are those that are asked for.
///
/// # Errors
/// [`Error::BadInput`] with both.
pub fn expect_tokens(path: &Path, vocabulary: &Vocabulary, asked: Option<Tokens>) -> Result<()> {
    match asked.filter(|asked| *asked != vocabulary.tokens()) {
        Some(asked) => Err(Error::BadInput {
            what: path.display().to_string(),
            problem: format!("was trained on {}, and --tokens asks for {}", vocabulary.tokens().name(), asked.name()),
        }),
        None => Ok(()),
    }
}
