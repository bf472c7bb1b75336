//! The parameters by name: where each lies in the arenas, how it starts, and PyTorch's names and shapes for it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use ndarray::{ArrayD, Dimension};

use super::config::{Biases, Config, RecurrentInit, USUAL_LEAK};
use crate::batch::Input;
use crate::blocks::blocks;
use crate::cells::Cell;
use crate::kernels::recurrence::{gate_cols, gate_stride};
use crate::memory::check_memory_or;
use crate::program::Mat;
use crate::random::{Random, stream};
use crate::tensors::TensorFile;
use crate::{Error, Result};

/// Parameters, gradients or an optimiser's state, by PyTorch's names.
pub type Named = BTreeMap<String, ArrayD<f32>>;

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
    Input,
    Recurrent,
    Bias,
    RecurrentBias,
    /// It is not trained: its gradient stays zero, which changes nothing in any optimiser.
    Leak,
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

    fn is_vector(&self) -> bool {
        matches!(self.role, Role::Bias | Role::RecurrentBias | Role::DecoderBias | Role::Leak)
    }

    /// Whether it is trained.
    pub fn is_trained(&self) -> bool {
        self.role != Role::Leak
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

    /// What it starts as; `index` is its place in the table.
    pub fn initial(&self, config: &Config, index: usize, seed: u64, init: RecurrentInit) -> Initial {
        let bound = (1.0 / (config.hidden as f64).sqrt()) as f32;
        let random = Random::new(seed, stream::INIT + index as u64);
        let start = match (self.role, init) {
            (Role::Leak, _) => Start::Constant(config.leak.unwrap_or(USUAL_LEAK)),
            (Role::Recurrent, RecurrentInit::Identity) => Start::Identity,
            (Role::Recurrent, RecurrentInit::Orthogonal) => Start::Orthogonal(random, None),
            (Role::Bias | Role::RecurrentBias | Role::DecoderBias, RecurrentInit::Identity) => Start::Constant(0.0),
            _ => Start::Uniform(random, bound),
        };
        let raised = match (self.role, config.cell.forget_gate) {
            (Role::Bias, Some(gate)) if config.forget_bias != 0.0 => Some((gate as usize, config.forget_bias)),
            _ => None,
        };
        Initial { start, cols: self.shape.1, gates: self.gates.clone(), is_vector: self.is_vector(), raised }
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

/// The initial values of a parameter, which are made from its first row on.
pub(crate) struct Initial {
    start: Start,
    cols: usize,
    gates: Gates,
    is_vector: bool,
    /// A gate of a bias, and what is added to it.
    raised: Option<(usize, f32)>,
}

enum Start {
    Constant(f32),
    Identity,
    /// Between minus and plus a bound.
    Uniform(Random, f32),
    /// The Q of a gate, which is made when the gate's first row is asked for.
    Orthogonal(Random, Option<(usize, faer::Mat<f64>)>),
}

impl Initial {
    /// The next rows of PyTorch's shape, all of one gate; each call begins where the one before ended.
    pub fn rows(&mut self, rows: Range<usize>) -> Vec<f32> {
        let (cols, units) = (self.cols, self.gates.units);
        let places = rows.clone().flat_map(|r| (0..cols).map(move |c| (r % units, c)));
        let mut values: Vec<f32> = match &mut self.start {
            Start::Constant(value) => vec![*value; rows.len() * cols],
            Start::Identity => places.map(|(r, c)| f32::from(u8::from(r == c))).collect(),
            Start::Uniform(random, bound) => (0..rows.len() * cols).map(|_| random.uniform_in(-*bound, *bound)).collect(),
            Start::Orthogonal(random, last) => {
                let gate = rows.start / units;
                if last.as_ref().is_none_or(|(of, _)| *of != gate) {
                    // The one before goes first: two would take twice the memory.
                    *last = None;
                    *last = Some((gate, orthogonal(units, random)));
                }
                let (_, q) = last.as_ref().expect("it was made");
                places.map(|at| q[at] as f32).collect()
            }
        };
        if self.is_vector {
            for (place, value) in values.iter_mut().enumerate() {
                let gate = place / units;
                if !self.gates.held.contains(&gate) {
                    *value = 0.0;
                }
                *value += self.raised.filter(|(raised, _)| *raised == gate).map_or(0.0, |(_, by)| by);
            }
        }
        values
    }
}

/// All parameters of a network, in the order of the arenas, with G gates and D directions: for each layer and then for its reverse direction,
/// whose names end with `_reverse`, `rnn.weight_ih_l{k}` `[G·H, I or D·H]`, `rnn.weight_hh_l{k}` `[G·H, H]`, `rnn.bias_ih_l{k}` `[G·H]`, where
/// it is trained `rnn.bias_hh_l{k}` `[G·H]`, of leaky cells `rnn.leak_l{k}` `[H]`; and `decoder.weight` `[O, D·H]`, `decoder.bias` `[O]`.
pub(crate) fn table(config: &Config) -> Vec<Parameter> {
    let (hidden, outputs, directions) = (config.hidden, config.outputs, config.directions());
    let mut parameters: Vec<Parameter> = (0..config.layers * directions).flat_map(|place| of_layer(config, place)).collect();
    let head = |name: &str, shape, role, halves| Parameter {
        name: format!("decoder.{name}"),
        shape,
        role,
        layer: None,
        transposed: false,
        gates: Gates::whole(1, outputs),
        halves,
    };
    parameters.push(head("weight", (outputs, directions * hidden), Role::Decoder, directions));
    parameters.push(head("bias", (1, outputs), Role::DecoderBias, 1));
    parameters
}

/// Those of one direction of a layer, by its place.
fn of_layer(config: &Config, place: usize) -> Vec<Parameter> {
    let (hidden, gates, directions) = (config.hidden, config.cell.gates as usize, config.directions());
    let layer = place / directions;
    let suffix = if place.is_multiple_of(directions) { "" } else { REVERSE };
    let (fan_in, halves) = if layer == 0 { (config.input.size(), 1) } else { (directions * hidden, directions) };
    let tokens = layer == 0 && matches!(config.input, Input::Tokens(_));
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

/// What the names of a reverse direction's parameters end with.
const REVERSE: &str = "_reverse";

/// Initial values: uniform in (−1/√H, 1/√H) as PyTorch's, with `W` as told. A seed gives the same bits everywhere, but
/// for orthogonal ones, which are the same on one machine.
///
/// # Errors
/// [`Error::Usage`] or [`Error::DoesNotFit`] when the configuration is not right, or when there is no memory for an orthogonal matrix.
pub fn initial(config: &Config, seed: u64, init: RecurrentInit) -> Result<Named> {
    config.check()?;
    check_initial(config, init)?;
    let values = |(index, parameter): (usize, &Parameter)| {
        let mut initial = parameter.initial(config, index, seed, init);
        let values = parameter.blocks().flat_map(|rows| initial.rows(rows)).collect();
        (parameter.name.clone(), ArrayD::from_shape_vec(parameter.extents(), values).expect("values of its shape"))
    };
    Ok(table(config).iter().enumerate().map(values).collect())
}

/// Bytes that an orthogonal matrix takes for each of its elements while it is made, in f64: normal numbers, the factorisation, Q.
const ORTHOGONAL: u64 = 24;

/// Checks that the layers of a cell can start so.
///
/// # Errors
/// [`Error::Usage`] for the identity where there are gates.
pub(crate) fn check_start(cell: &Cell, init: RecurrentInit) -> Result<()> {
    if init.suits(cell) {
        return Ok(());
    }
    let others = Cell::names_with(|cell| cell.gates == 1);
    Err(Error::Usage(format!("the identity is an initial recurrent weight for {others}; {cell} has gates")))
}

/// Checks that the cell can start so, and that there is memory to make the initial values: an orthogonal matrix is factorised whole, the others are made in blocks.
///
/// # Errors
/// [`Error::Usage`] for the identity where there are gates; [`Error::DoesNotFit`] with the largest hidden size that would fit.
pub(crate) fn check_initial(config: &Config, init: RecurrentInit) -> Result<()> {
    check_start(config.cell, init)?;
    if init != RecurrentInit::Orthogonal {
        return Ok(());
    }
    let needed = ORTHOGONAL.saturating_mul((config.hidden as u64).pow(2));
    check_memory_or("an orthogonal initial weight", needed, |available| {
        let largest = (available / ORTHOGONAL).isqrt();
        format!("hidden size {largest} would fit, and uniform or identity initial weights at any size")
    })
}

/// Q of the QR factorisation of a matrix of normal numbers, its columns' signs those of R's diagonal, which makes it
/// uniform among the orthogonal matrices (Mezzadri 2007).
fn orthogonal(size: usize, random: &mut Random) -> faer::Mat<f64> {
    let normal = faer::Mat::from_fn(size, size, |_, _| random.normal());
    // On one thread: how many take part would show in the last bits.
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let qr = alone.map_or_else(|_| normal.qr(), |pool| pool.install(|| normal.qr()));
    drop(normal);
    let (mut q, r) = (qr.compute_thin_Q(), qr.thin_R());
    for j in (0..size).filter(|&j| r[(j, j)] < 0.0) {
        q.col_mut(j).iter_mut().for_each(|x| *x = -*x);
    }
    q
}

/// Checks weights, or what belongs to each of those that are trained, against a configuration: every name, shape and value.
///
/// # Errors
/// [`Error::BadInput`] with the tensor and what was expected.
pub(crate) fn check(config: &Config, weights: &Named, untrained: bool) -> Result<()> {
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
pub fn from_file(config: &Config, prefix: &str, file: &TensorFile) -> Result<Named> {
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
/// of all were checked. Behind a prefix are an optimiser's states, of what is trained.
pub(crate) fn in_blocks(config: &Config, prefix: &str, file: &TensorFile, take: Take) -> Result<()> {
    let table = table(config);
    let wanted = || table.iter().enumerate().filter(|(_, parameter)| parameter.is_trained() || prefix.is_empty());
    let second_of = |parameter: &Parameter| {
        let second = parameter.second_bias().map(|second| format!("{prefix}{second}"));
        second.filter(|name| file.contains(name))
    };
    expect_cell(config.cell, prefix, file)?;
    expect_directions(config, prefix, file)?;
    for (_, parameter) in wanted().filter(|(_, parameter)| parameter.role != Role::Leak) {
        let name = format!("{prefix}{}", parameter.name);
        // A file may have one bias alone.
        let is_there = parameter.role != Role::RecurrentBias || file.contains(&name);
        let names = [is_there.then_some(name), second_of(parameter)];
        names.iter().flatten().try_for_each(|name| file.expect_shape(name, &parameter.extents()))?;
    }
    for (index, parameter) in wanted() {
        if parameter.role == Role::Leak {
            take(index, 0..1, &leaks(config, parameter, file)?)?;
            continue;
        }
        let (name, cols) = (format!("{prefix}{}", parameter.name), parameter.shape.1);
        let second = second_of(parameter).map(|second| (second, merged(config)));
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
fn expect_directions(config: &Config, prefix: &str, file: &TensorFile) -> Result<()> {
    let reverse = format!("{prefix}{}", reverse_weight());
    match (config.bidirectional, file.contains(&reverse)) {
        (false, true) => {
            Err(file.bad(&reverse, "these weights are of both directions; the network has one (see --bidirectional)"))
        }
        (true, false) => Err(file.bad(&reverse, "it is missing: these weights are of one direction; the network has both")),
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

/// The sizes that weights of a cell say: (inputs, hidden, layers, outputs).
///
/// # Errors
/// [`Error::BadInput`] when a tensor is missing or is no matrix, or when the weights are another cell's.
pub fn sizes(tensors: &TensorFile, cell: &Cell) -> Result<(usize, usize, usize, usize)> {
    let matrix = |name: &str| match tensors.shape(name)? {
        &[rows, cols] if rows > 0 && cols > 0 => Ok((rows, cols)),
        other => Err(tensors.bad(name, format!("expected a matrix, got shape {other:?}"))),
    };
    let (rows, inputs) = matrix("rnn.weight_ih_l0")?;
    let layers = (0..).take_while(|k| tensors.contains(&format!("rnn.weight_hh_l{k}"))).count();
    let (outputs, _) = matrix("decoder.weight")?;
    matrix("rnn.weight_hh_l0")?;
    expect_cell(cell, "", tensors)?;
    Ok((inputs, (rows / cell.gates as usize).max(1), layers, outputs))
}

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
