//! The parameters by name: where each lies in the arenas, how it starts, and PyTorch's names and shapes for it.

mod file;
mod initial;
mod left_out;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use ndarray::ArrayD;

pub use file::{Sizes, cell, from_file, has_recurrent_masks, holds_masks_alone, is_bidirectional, sizes, sizes_of_masks};
pub(crate) use file::{check, expect_shapes, in_blocks, masks_in_blocks};
pub use initial::initial;
pub(crate) use initial::{check_initial, check_start};
pub use left_out::left_out;

use super::config::{Biases, Config};
use crate::batch::Input;
use crate::blocks::blocks;
use crate::kernels::recurrence::{gate_cols, gate_stride};
use crate::program::Mat;

/// Parameters, gradients or an optimiser's state, by PyTorch's names.
pub type NamedArrays = BTreeMap<String, ArrayD<f32>>;

/// One parameter.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    /// PyTorch's name.
    pub name: String,
    /// PyTorch's shape, a vector as one row.
    pub shape: (usize, usize),
    pub role: Role,
    /// Of a layer, its place among the layers: those of both directions lie one behind the other, forward before reverse.
    pub layer: Option<usize>,
    /// Kept transposed, so that a token's column of `U` is a row.
    pub transposed: bool,
    pub gates: Gates,
    /// The parts of its columns: one for each direction whose states it reads. In memory each begins at a multiple of four.
    pub halves: usize,
}

/// What a parameter is to its layer, or to the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Embedding,
    Input,
    Recurrent,
    Bias,
    RecurrentBias,
    /// It is not trained: its gradient stays zero, which changes nothing in any optimiser.
    Leak,
    /// Of the recurrent weight, 1 where there is a connection and 0 where there is none. It is not trained either.
    Mask,
    Decoder,
    DecoderBias,
}

/// The gates of a tensor of PyTorch's: along its rows, or those of a vector along its columns. In memory each begins at a multiple of four.
#[derive(Debug, Clone)]
pub(crate) struct Gates {
    /// Those of the tensor.
    pub all: usize,
    /// Those that the parameter holds. The others of a second bias are part of the first.
    pub held: Range<usize>,
    pub units: usize,
}

impl Gates {
    /// A tensor that is held whole.
    fn whole(all: usize, units: usize) -> Gates {
        Gates { all, held: 0..all, units }
    }

    /// The rows or columns of those that are held.
    fn window_len(&self) -> u32 {
        gate_cols(self.units as u32, self.held.len())
    }
}

/// Some rows of a parameter as a part of its window; `None`: what it does not hold.
pub(crate) struct Part {
    pub window: Option<Mat>,
    /// The numbers.
    pub len: usize,
    /// The gate.
    pub gate: usize,
}

impl Parameter {
    /// The shape of its window in an arena.
    pub fn window_shape(&self) -> (u32, u32) {
        match (self.is_vector(), self.transposed) {
            (true, _) => (1, self.gates.window_len()),
            (false, false) => (self.gates.window_len(), gate_cols((self.shape.1 / self.halves) as u32, self.halves)),
            (false, true) => (self.shape.1 as u32, self.gates.window_len()),
        }
    }

    /// Whether it decays where weights do: a trained matrix does, and no bias.
    pub fn decays(&self) -> bool {
        !self.is_vector() && self.is_trained()
    }

    fn is_vector(&self) -> bool {
        matches!(self.role, Role::Bias | Role::RecurrentBias | Role::DecoderBias | Role::Leak)
    }

    /// The numbers that it holds.
    fn len(&self) -> usize {
        if self.is_vector() { self.gates.held.len() * self.gates.units } else { self.shape.0 * self.shape.1 }
    }

    /// Whether it is trained.
    pub fn is_trained(&self) -> bool {
        !matches!(self.role, Role::Leak | Role::Mask)
    }

    /// Some rows of PyTorch's shape as parts of the window, in order: a part for each gate.
    pub fn parts(&self, window: Mat, rows: Range<usize>) -> Vec<Part> {
        let Gates { all, ref held, units } = self.gates;
        let stride = gate_stride(units as u32);
        let part = |gate: usize| {
            let own = if self.is_vector() {
                0..units
            } else {
                let within = |row: usize| row.clamp(gate * units, (gate + 1) * units) - gate * units;
                within(rows.start)..within(rows.end)
            };
            let place = held.contains(&gate).then(|| {
                let first = (gate - held.start) as u32 * stride;
                first + own.start as u32..first + own.end as u32
            });
            let slice = |place: Range<u32>| match (self.is_vector(), self.transposed) {
                (false, false) => window.slice_rows(place),
                _ => window.slice_gate(place),
            };
            let width = if self.is_vector() { 1 } else { self.shape.1 };
            Part { len: own.len() * width, window: place.filter(|_| !own.is_empty()).map(slice), gate }
        };
        (0..all).map(part).filter(|part| part.len > 0).collect()
    }

    /// Rows of PyTorch's shape as they lie in its window, zero between the parts of the columns.
    pub fn spread<'a>(&self, values: &'a [f32]) -> Cow<'a, [f32]> {
        if self.halves == 1 { values.into() } else { spread(values, self.shape.1 / self.halves, self.halves).into() }
    }

    /// Rows of its window as they are in PyTorch's shape.
    pub fn gathered(&self, values: Vec<f32>) -> Vec<f32> {
        if self.halves == 1 { values } else { gathered(&values, self.shape.1 / self.halves, self.halves) }
    }

    /// The rows in blocks, each of one gate.
    pub fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (gates, units) = if self.is_vector() { (1, 1) } else { (self.gates.all, self.gates.units) };
        let cols = self.shape.1;
        (0..gates).flat_map(move |gate| blocks(units, cols).map(move |rows| gate * units + rows.start..gate * units + rows.end))
    }

    /// The extents PyTorch gives it.
    pub fn extents(&self) -> Vec<usize> {
        if self.is_vector() { vec![self.shape.1] } else { vec![self.shape.0, self.shape.1] }
    }

    /// The name of the bias that PyTorch has beside this one.
    pub fn second_bias(&self) -> Option<String> {
        (self.role == Role::Bias).then(|| self.name.replace("bias_ih", "bias_hh"))
    }
}

/// Rows of so many parts of so many numbers, each as far from the next as in memory, with zeros between.
fn spread(values: &[f32], units: usize, parts: usize) -> Vec<f32> {
    let (stride, cols) = (gate_stride(units as u32) as usize, gate_cols(units as u32, parts) as usize);
    let mut all = vec![0.0; values.len() / (units * parts) * cols];
    for (row, values) in all.chunks_mut(cols).zip(values.chunks(units * parts)) {
        row.chunks_mut(stride).zip(values.chunks(units)).for_each(|(to, from)| to[..units].copy_from_slice(from));
    }
    all
}

/// The numbers of such rows without what lies between.
pub(crate) fn gathered(values: &[f32], units: usize, parts: usize) -> Vec<f32> {
    let (stride, cols) = (gate_stride(units as u32) as usize, gate_cols(units as u32, parts) as usize);
    values.chunks(cols).flat_map(|row| row.chunks(stride)).flat_map(|part| &part[..units]).copied().collect()
}

/// All parameters of a network, in the order of the arenas, with G gates and D directions: where there is an embedding of N numbers
/// `encoder.weight` `[I, N]`, which the first layer reads as its N inputs; for each layer and then for its reverse direction,
/// whose names end with `_reverse`, `rnn.weight_ih_l{k}` `[G·H, I or D·H]`, `rnn.weight_hh_l{k}` `[G·H, H]`, where it has a mask
/// `rnn.mask_hh_l{k}` `[G·H, H]`, `rnn.bias_ih_l{k}` `[G·H]`, where it is trained `rnn.bias_hh_l{k}` `[G·H]`, of leaky cells
/// `rnn.leak_l{k}` `[H]`; and `decoder.weight` `[O, D·H]`, `decoder.bias` `[O]`.
pub(crate) fn table(config: &Config) -> Vec<Parameter> {
    let (hidden, outputs, directions) = (config.hidden, config.outputs, config.directions());
    let outside = |name: &str, shape: (usize, usize), role, units, halves| Parameter {
        name: name.to_owned(),
        shape,
        role,
        layer: None,
        transposed: false,
        gates: Gates::whole(1, units),
        halves,
    };
    let tokens = config.input.size();
    let embedding = config.embedding.map(|size| outside(EMBEDDING, (tokens, size), Role::Embedding, tokens, 1)).into_iter();
    let layers = (0..config.layers * directions).flat_map(|place| of_layer(config, place));
    let head = [
        outside("decoder.weight", (outputs, directions * hidden), Role::Decoder, outputs, directions),
        outside("decoder.bias", (1, outputs), Role::DecoderBias, outputs, 1),
    ];
    embedding.chain(layers).chain(head).collect()
}

/// The numbers that training changes.
pub(super) fn trained(config: &Config) -> usize {
    table(config).iter().filter(|parameter| parameter.is_trained()).map(Parameter::len).sum()
}

/// Those of one direction of a layer, by its place.
fn of_layer(config: &Config, place: usize) -> Vec<Parameter> {
    let (hidden, gates, directions) = (config.hidden, config.cell.gates as usize, config.directions());
    let layer = place / directions;
    let suffix = if place.is_multiple_of(directions) { "" } else { REVERSE };
    let input = config.first_layer_input();
    let (fan_in, halves) = if layer == 0 { (input.size(), 1) } else { (directions * hidden, directions) };
    let tokens = layer == 0 && matches!(input, Input::Tokens(_));
    let mut parameters = Vec::new();
    let mut push = |name: &str, shape: (usize, usize), role: Role, held: Range<usize>| {
        let all = if role == Role::Leak { 1 } else { gates };
        parameters.push(Parameter {
            name: format!("rnn.{name}_l{layer}{suffix}"),
            shape,
            role,
            layer: Some(place),
            transposed: tokens && role == Role::Input,
            gates: Gates { all, held, units: hidden },
            halves: if role == Role::Input { halves } else { 1 },
        });
    };
    push("weight_ih", (gates * hidden, fan_in), Role::Input, 0..gates);
    push("weight_hh", (gates * hidden, hidden), Role::Recurrent, 0..gates);
    if config.recurrent_mask {
        push(MASK, (gates * hidden, hidden), Role::Mask, 0..gates);
    }
    push("bias_ih", (1, gates * hidden), Role::Bias, 0..gates);
    match (config.biases, config.cell.recurrent_bias) {
        (Biases::Two, _) => push("bias_hh", (1, gates * hidden), Role::RecurrentBias, 0..gates),
        (Biases::One, &[gate]) => {
            push("bias_hh", (1, gates * hidden), Role::RecurrentBias, gate as usize..gate as usize + 1);
        }
        (Biases::One, _) => {}
    }
    if config.cell.has_leak {
        push("leak", (1, hidden), Role::Leak, 0..1);
    }
    parameters
}

/// The name of an embedding's weight, as in PyTorch's example word_language_model.
const EMBEDDING: &str = "encoder.weight";

/// What the name of a recurrent weight's mask begins with.
const MASK: &str = "mask_hh";

/// What the names of a reverse direction's parameters end with.
const REVERSE: &str = "_reverse";

/// A table of parameters and their windows in each arena.
#[derive(Debug, Clone)]
pub(crate) struct Parameters {
    pub table: Vec<Parameter>,
    /// The windows in the arena of the parameters.
    pub windows: Vec<Mat>,
}

impl Parameters {
    /// The name of the tensor that holds element `at` of an arena.
    pub fn name_at(&self, at: u64) -> &str {
        let place = self.windows.iter().rposition(|w| w.offset <= at).unwrap_or(0);
        &self.table[place].name
    }

    /// The place of a parameter by the place of its layer, if it is one's, and its role.
    pub fn place(&self, layer: Option<usize>, role: Role) -> Option<usize> {
        self.table.iter().position(|parameter| parameter.layer == layer && parameter.role == role)
    }
}
