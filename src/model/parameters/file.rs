//! The parameters that a file holds: which network they are of, and their values.

use std::ops::Range;

use ndarray::{ArrayD, Dimension};

use super::left_out::left_out;
use super::{EMBEDDING, MASK, NamedArrays, Parameter, REVERSE, Role, table};
use crate::batch::Input;
use crate::cells::Cell;
use crate::model::config::{Biases, Config, USUAL_LEAK};
use crate::tensors::TensorFile;
use crate::{Error, Result};

/// Checks weights, or what belongs to each of those that are trained, against a configuration: every name, shape and value.
///
/// # Errors
/// [`Error::BadInput`] with the tensor and what was expected.
pub(crate) fn check(config: &Config, weights: &NamedArrays, untrained: bool) -> Result<()> {
    for parameter in table(config).into_iter().filter(|parameter| untrained || parameter.is_trained()) {
        let array = weights.get(&parameter.name).ok_or_else(|| Error::input(&parameter.name, "it is missing"))?;
        if array.shape() != parameter.extents() {
            let problem = format!("expected shape {:?}, got {:?}", parameter.extents(), array.shape());
            return Err(Error::input(&parameter.name, problem));
        }
        if let Some((at, value)) = array.indexed_iter().find(|(_, v)| !v.is_finite()) {
            return Err(Error::input(&parameter.name, format!("{:?} is {value}; expected a finite number", at.slice())));
        }
    }
    Ok(())
}

/// Reads weights from tensors of PyTorch's names behind a prefix; what a network does not train of the second bias of a layer, if there is
/// one, is added to the first.
///
/// # Errors
/// [`Error::BadInput`] with the tensor and what was expected.
pub fn from_file(config: &Config, prefix: &str, file: &TensorFile) -> Result<NamedArrays> {
    let table = table(config);
    let mut all: Vec<Vec<f32>> = table.iter().map(|p| Vec::with_capacity(p.shape.0 * p.shape.1)).collect();
    in_blocks(config, prefix, file, &mut |index, _, values| {
        all[index].extend_from_slice(values);
        Ok(())
    })?;
    let array = |values, parameter: &Parameter| ArrayD::from_shape_vec(parameter.extents(), values).expect("all were read");
    Ok(all.into_iter().zip(&table).map(|(values, parameter)| (parameter.name.clone(), array(values, parameter))).collect())
}

/// Takes some rows of a parameter, by its place in the table.
type Take<'a> = &'a mut dyn FnMut(usize, Range<usize>, &[f32]) -> Result<()>;

/// [`from_file`], of which each block of rows of a parameter is handed to `take` with the parameter's place in the table, once the shapes
/// of all were checked. Behind a prefix are an optimiser's states, of what is trained. Without one, tensors of another network are refused:
/// [`left_out`].
pub(crate) fn in_blocks(config: &Config, prefix: &str, file: &TensorFile, take: Take) -> Result<()> {
    expect_shapes(config, prefix, file)?;
    let table = table(config);
    for (index, parameter) in table.iter().enumerate().filter(|(_, parameter)| is_wanted(parameter, prefix)) {
        if matches!(parameter.role, Role::Leak | Role::Mask) {
            take_untrained(config, index, parameter, file, take)?;
            continue;
        }
        let (name, cols) = (format!("{prefix}{}", parameter.name), parameter.shape.1);
        let second = second_of(parameter, prefix, file).map(|second| (second, merged(config)));
        for block in parameter.blocks() {
            let elements = block.start * cols..block.end * cols;
            let mut values =
                if file.contains(&name) { file.f64_range(&name, elements.clone())? } else { vec![0.0; elements.len()] };
            if let Some((second, merged)) = &second {
                let more = file.f64_range(second, elements)?;
                let adds = |place: usize| merged.contains(&(place / parameter.gates.units));
                values.iter_mut().zip(more).enumerate().filter(|(i, _)| adds(*i)).for_each(|(_, (value, more))| *value += more);
            }
            if parameter.role == Role::RecurrentBias {
                let is_held = |place: usize| parameter.gates.held.contains(&(place / parameter.gates.units));
                values.iter_mut().enumerate().filter(|(i, _)| !is_held(*i)).for_each(|(_, value)| *value = 0.0);
            }
            let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
            if values.iter().any(|v| !v.is_finite()) {
                return Err(file.bad(&name, "a value is beyond f32's range"));
            }
            take(index, block, &values)?;
        }
    }
    Ok(())
}

/// Takes what is not trained of a layer: leaks, or a mask.
fn take_untrained(config: &Config, index: usize, parameter: &Parameter, file: &TensorFile, take: Take) -> Result<()> {
    if parameter.role == Role::Leak {
        return take(index, 0..1, &leaks(config, parameter, file)?);
    }
    let (name, cols) = (&parameter.name, parameter.shape.1);
    for rows in parameter.blocks() {
        let values = file.f64_range(name, rows.start * cols..rows.end * cols)?;
        if let Some((at, value)) = values.iter().enumerate().find(|(_, value)| **value != 0.0 && **value != 1.0) {
            let (row, col) = (rows.start + at / cols, at % cols);
            return Err(file.bad(name, format!("[{row}, {col}] is {value}; expected 0 where there is no connection, and else 1")));
        }
        take(index, rows, &values.into_iter().map(|value| value as f32).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Reads the masks of a file that [holds nothing else](holds_masks_alone), as [`in_blocks`] reads parameters.
pub(crate) fn masks_in_blocks(config: &Config, file: &TensorFile, take: Take) -> Result<()> {
    let table = table(config);
    let masks: Vec<(usize, &Parameter)> =
        table.iter().enumerate().filter(|(_, parameter)| parameter.role == Role::Mask).collect();
    masks.iter().try_for_each(|(_, mask)| file.expect_shape(&mask.name, &mask.extents()))?;
    if let Some(other) = file.all_names().find(|name| masks.iter().all(|(_, mask)| mask.name != **name)) {
        return Err(file.bad(other, "it is no mask of this network, and without weights there may be masks alone"));
    }
    masks.into_iter().try_for_each(|(index, mask)| take_untrained(config, index, mask, file, take))
}

/// Checks that all that [`in_blocks`] reads is there, in its shape, by the file's header alone.
pub(crate) fn expect_shapes(config: &Config, prefix: &str, file: &TensorFile) -> Result<()> {
    expect_cell(config.cell, prefix, file)?;
    if prefix.is_empty() {
        left_out(config, file)?;
    } else {
        expect_directions(config, prefix, file)?;
    }
    for parameter in table(config).iter().filter(|parameter| is_wanted(parameter, prefix) && parameter.role != Role::Leak) {
        let name = format!("{prefix}{}", parameter.name);
        // A file may have one bias alone.
        let is_there = parameter.role != Role::RecurrentBias || file.contains(&name);
        let names = [is_there.then_some(name), second_of(parameter, prefix, file)];
        names.iter().flatten().try_for_each(|name| file.expect_shape(name, &parameter.extents()))?;
    }
    Ok(())
}

/// Whether something of a parameter is behind a prefix.
fn is_wanted(parameter: &Parameter, prefix: &str) -> bool {
    parameter.is_trained() || prefix.is_empty()
}

/// The tensor of a layer's second bias, where the file has one.
fn second_of(parameter: &Parameter, prefix: &str, file: &TensorFile) -> Option<String> {
    let second = parameter.second_bias().map(|second| format!("{prefix}{second}"));
    second.filter(|name| file.contains(name))
}

/// The gates whose recurrent bias is part of the first bias.
fn merged(config: &Config) -> Vec<usize> {
    let apart = |gate: &usize| config.cell.recurrent_bias.contains(&(*gate as u32));
    match config.biases {
        Biases::One => (0..config.cell.gates as usize).filter(|gate| !apart(gate)).collect(),
        Biases::Two => Vec::new(),
    }
}

/// The leaks of a layer: those that were asked for, those of the file, one for each unit or one for all, or the usual ones.
fn leaks(config: &Config, parameter: &Parameter, file: &TensorFile) -> Result<Vec<f32>> {
    let (name, units) = (&parameter.name, parameter.gates.units);
    let leaks = match config.leak {
        Some(leak) => return Ok(vec![leak; units]),
        None if !file.contains(name) => return Ok(vec![USUAL_LEAK; units]),
        None if file.shape(name)? == [1] => vec![file.f64_range(name, 0..1)?[0]; units],
        None => {
            file.expect_shape(name, &parameter.extents())?;
            file.f64_range(name, 0..units)?
        }
    };
    if let Some((unit, leak)) = leaks.iter().enumerate().find(|(_, leak)| !(**leak > 0.0 && **leak <= 1.0)) {
        return Err(file.bad(name, format!("[{unit}] is {leak}; expected a number above 0 and up to 1")));
    }
    Ok(leaks.into_iter().map(|leak| leak as f32).collect())
}

/// Checks that weights are those of a cell, as far as the shape of their first recurrent weight tells.
fn expect_cell(cell: &Cell, prefix: &str, file: &TensorFile) -> Result<()> {
    let name = format!("{prefix}rnn.weight_hh_l0");
    let &[rows, cols] = file.shape(&name)? else { return Ok(()) };
    match cell_of(rows, cols) {
        Some(other) if other.gates != cell.gates => {
            let problem = format!("this is {}'s: [{rows}, {cols}]; the cell is {cell}", article(other.name));
            Err(file.bad(&name, problem))
        }
        _ => Ok(()),
    }
}

/// Checks that weights are of as many directions as a network has.
pub(super) fn expect_directions(config: &Config, prefix: &str, file: &TensorFile) -> Result<()> {
    let reverse = format!("{prefix}{}", reverse_weight());
    match (config.bidirectional, file.contains(&reverse)) {
        (false, true) => {
            Err(file.bad(&reverse, "these weights are bidirectional, and the network has one direction (see --bidirectional)"))
        }
        (true, false) => {
            Err(file.bad(&reverse, "it is missing: these weights are of one direction, and the network is bidirectional"))
        }
        _ => Ok(()),
    }
}

/// The tensor that tells that there is a reverse direction.
fn reverse_weight() -> String {
    format!("rnn.weight_hh_l0{REVERSE}")
}

/// Whether weights are of both directions.
#[must_use]
pub fn is_bidirectional(tensors: &TensorFile) -> bool {
    tensors.contains(&reverse_weight())
}

/// Whether recurrent weights have masks.
#[must_use]
pub fn has_recurrent_masks(tensors: &TensorFile) -> bool {
    tensors.contains(&format!("rnn.{MASK}_l0"))
}

/// Whether a file has masks of recurrent weights and no weights.
#[must_use]
pub fn holds_masks_alone(tensors: &TensorFile) -> bool {
    has_recurrent_masks(tensors) && !tensors.contains("rnn.weight_hh_l0")
}

/// The units and the layers that a file of masks is of.
///
/// # Errors
/// [`Error::BadInput`] when the first mask is no matrix.
pub fn sizes_of_masks(tensors: &TensorFile) -> Result<[usize; 2]> {
    let name = format!("rnn.{MASK}_l0");
    let &[_, hidden] = tensors.shape(&name)? else {
        return Err(tensors.bad(&name, format!("expected a matrix, got shape {:?}", tensors.shape(&name)?)));
    };
    Ok([hidden, (0..).take_while(|k| tensors.contains(&format!("rnn.{MASK}_l{k}"))).count()])
}

/// A cell's name in a sentence.
fn article(name: &str) -> String {
    match name {
        "lstm" => "an LSTM".into(),
        "gru" => "a GRU".into(),
        "elman" => "an Elman network".into(),
        other => format!("a {other} network"),
    }
}

/// The first cell whose recurrent weight has this shape.
fn cell_of(rows: usize, cols: usize) -> Option<&'static Cell> {
    crate::cells::ALL.iter().copied().find(|cell| cols > 0 && cell.gates as usize * cols == rows)
}

/// The cell that weights say: by the rows of the recurrent weight over its columns, and of one gate the leaky one where there are leaks. A
/// shape that no cell has is for the check of shapes.
///
/// # Errors
/// [`Error::BadInput`] when the recurrent weight is missing.
pub fn cell(tensors: &TensorFile) -> Result<&'static Cell> {
    let found = match tensors.shape("rnn.weight_hh_l0")? {
        &[rows, cols] => cell_of(rows, cols),
        _ => None,
    };
    let found = found.unwrap_or(Cell::usual());
    let leaks = tensors.contains("rnn.leak_l0");
    Ok(crate::cells::ALL.iter().copied().find(|cell| leaks && cell.has_leak && cell.gates == found.gates).unwrap_or(found))
}

/// The sizes of a network that its weights say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// The tokens, or the numbers of an input vector.
    pub inputs: usize,
    /// The size of the vectors that tokens are embedded as, where there is an `encoder.weight`.
    pub embedding: Option<usize>,
    /// Units of a layer.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// Outputs.
    pub outputs: usize,
}

impl Sizes {
    /// Checks that a network of these sizes can read an input, which it returns.
    ///
    /// # Errors
    /// [`Error::BadInput`] for vectors where tokens are embedded.
    pub fn expect_input(&self, input: Input) -> Result<Input> {
        match (input, self.embedding) {
            (Input::Vectors(_), Some(_)) => {
                Err(Error::input("inputs", format!("expected tokens: these weights embed them ({EMBEDDING})")))
            }
            _ => Ok(input),
        }
    }
}

/// The sizes that weights of a cell say.
///
/// # Errors
/// [`Error::BadInput`] when a tensor is missing or is no matrix, or when the weights are another cell's.
pub fn sizes(tensors: &TensorFile, cell: &Cell) -> Result<Sizes> {
    let matrix = |name: &str| match tensors.shape(name)? {
        &[rows, cols] if rows > 0 && cols > 0 => Ok((rows, cols)),
        other => Err(tensors.bad(name, format!("expected a matrix, got shape {other:?}"))),
    };
    let (rows, read) = matrix("rnn.weight_ih_l0")?;
    let embedding = if tensors.contains(EMBEDDING) { Some(matrix(EMBEDDING)?) } else { None };
    let layers = (0..).take_while(|k| tensors.contains(&format!("rnn.weight_hh_l{k}"))).count();
    let (outputs, _) = matrix("decoder.weight")?;
    matrix("rnn.weight_hh_l0")?;
    expect_cell(cell, "", tensors)?;
    Ok(Sizes {
        inputs: embedding.map_or(read, |(tokens, _)| tokens),
        embedding: embedding.map(|(_, size)| size),
        hidden: (rows / cell.gates as usize).max(1),
        layers,
        outputs,
    })
}
