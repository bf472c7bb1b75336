//! What a checkpoint says of its data, held against its network.

use crate::batch::{Input, TargetKind};
use crate::data::{Choice, Column, Columns, Scaling, Vocabulary};
use crate::model::Config;
use crate::tensors::TensorFile;
use crate::train::Settings;
use crate::{Error, Result};

/// The vocabulary of a checkpoint: as many tokens as the network reads and predicts. A run on a text has one.
pub(super) fn vocabulary_of(tensors: &TensorFile, settings: &Settings) -> Result<Option<Vocabulary>> {
    let Some(vocabulary) = Vocabulary::from_metadata(&tensors.metadata)? else {
        return match settings.data {
            Choice::Text(_) => Err(Error::input("text", "there is none, and the run was trained on a text")),
            Choice::Task(_) | Choice::Data(_) => Ok(None),
        };
    };
    expect_size(&vocabulary, &settings.network).map(|()| Some(vocabulary))
}

/// Checks that a network reads and predicts the tokens of a vocabulary.
pub(super) fn expect_size(vocabulary: &Vocabulary, network: &Config) -> Result<()> {
    let size = vocabulary.size();
    if (network.input, network.outputs) == (Input::Tokens(size), size) {
        return Ok(());
    }
    let (reads, outputs) = (network.input.size(), network.outputs);
    Err(Error::input(
        format!("{}s", vocabulary.tokens().noun()),
        format!("there are {size}; the network has {reads} inputs and {outputs} outputs"),
    ))
}

/// Checks that a network reads and predicts as many numbers as columns have, and that their scales are numbers to divide by. Tokens and
/// classes are no columns.
pub(super) fn expect_columns(columns: &Columns, network: &Config) -> Result<()> {
    let is_wrong = |column: &&Column| {
        let Scaling { shift, scale, mean } = column.scaling();
        !(shift.is_finite() && scale.is_finite() && mean.is_finite()) || scale == 0.0
    };
    if let Some(column) = columns.inputs.iter().chain(&columns.targets).find(is_wrong) {
        return Err(Error::input(&column.name, format!("its scale is {:?}", column.scaling())));
    }
    let reads = if let Input::Vectors(size) = network.input { size } else { 0 };
    let predicts = if network.loss.target_kind() == TargetKind::Values { network.targets() } else { 0 };
    for (what, there, expected, is_empty) in [
        ("inputs", columns.input_width(), reads, columns.inputs.is_empty()),
        ("values", columns.targets.len(), predicts, columns.targets.is_empty() || columns.classes().is_some()),
    ] {
        if there != expected && !is_empty {
            return Err(Error::input(what, format!("the columns have {there}, and the network {expected}")));
        }
    }
    Ok(())
}
