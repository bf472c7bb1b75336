//! Weights alone, by PyTorch's names, where a command reads a run: their shapes say the sizes, and flags what shapes cannot.

use std::path::Path;

use clap::Args;
use retrospect::batch::{Input, Loss};
use retrospect::data::Vocabulary;
use retrospect::model::{Config, Sizes, has_recurrent_masks, sizes};
use retrospect::tensors::TensorFile;
use retrospect::train::Checkpoint;
use retrospect::{Activation, Error, Result};

use super::cell::{CellArgs, about_activation};
use super::files::expect_no_pipe;
use super::terminal::note_left_out;

/// Sequences at a time, and their time steps.
const SHAPE: (usize, usize) = (32, 64);

/// What the shapes of weights cannot say of their network.
#[derive(Args)]
pub struct BareArgs {
    #[command(flatten)]
    cell: CellArgs,

    #[arg(long, value_name = "NAME", value_parser = super::options::activation, help = about_activation("tanh"), help_heading = "Network")]
    activation: Option<Activation>,
}

impl BareArgs {
    /// Opens a file of bare weights; `None` if `run` is the place of a run.
    ///
    /// # Errors
    /// [`Error::Usage`] for flags beside a run, which says all of it.
    pub fn open(&self, run: &Path) -> Result<Option<TensorFile>> {
        let is_bare = |file: &TensorFile| !file.metadata.contains_key("configuration") && file.contains("rnn.weight_hh_l0");
        expect_no_pipe(run, "a run is read twice")?;
        // What cannot be opened is told where runs are read.
        let bare = TensorFile::open(run).ok().filter(is_bare);
        // A checkpoint whose metadata are damaged looks like weights alone.
        bare.as_ref().map(TensorFile::verify_checksum).transpose()?;
        let CellArgs { cell, leak, bidirectional } = &self.cell;
        if bare.is_none() && (cell.is_some() || leak.is_some() || *bidirectional || self.activation.is_some()) {
            let problem = "--cell, --activation, --leak and --bidirectional are for weights alone; a run has its own";
            return Err(Error::Usage(format!("{}: {problem}", run.display())));
        }
        Ok(bare)
    }

    /// Makes a run of no training steps from the weights. `input` says what the network reads, by the number of its inputs.
    ///
    /// # Errors
    /// [`Error::BadInput`] when the weights are of no network, or of another number of tokens than the vocabulary; [`Error::Usage`] for
    /// flags that the cell does not have.
    pub fn checkpoint(
        &self,
        path: &Path,
        file: TensorFile,
        input: impl Fn(usize) -> Input,
        (loss, vocabulary): (Loss, Option<Vocabulary>),
    ) -> Result<Checkpoint> {
        let cell = self.cell.choose(Some(&file), self.activation)?;
        let sizes = sizes(&file, cell)?;
        let Sizes { inputs, embedding, hidden, layers, outputs } = sizes;
        let input = sizes.expect_input(input(inputs))?;
        let network = Config {
            cell,
            layers,
            embedding,
            bidirectional: self.cell.is_bidirectional(Some(&file)),
            recurrent_mask: has_recurrent_masks(&file),
            activation: self.activation.unwrap_or(Activation::Tanh),
            leak: self.cell.leak.map(|leak| leak as f32),
            ..Config::new(input, hidden, outputs, loss, SHAPE.0, SHAPE.1)
        };
        let checkpoint = Checkpoint::of_weights(path, file, network, vocabulary)?;
        note_left_out(path, &checkpoint.left_out()?);
        Ok(checkpoint)
    }
}
