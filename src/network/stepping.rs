//! One time step at a time, for audio and control: nothing is allocated, and on the CPU nobody is waited for.

use ndarray::{Array2, Array3};

use super::Network;
use crate::backend::InstructionSet;
use crate::batch::{InitialState, Input, Inputs, Sequences};
use crate::kernels::recurrence::gate_stride;
use crate::kernels::single::{CellStep, HeadStep, LANES, Lines, Packed, PackedInput, PackedLayer, Read};
use crate::model::parameters::Role;
use crate::program::Mat;
use crate::{Error, Result};

/// What a network reads at one time step, of B sequences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StepInputs<'a> {
    /// Vectors `[B, I]`, row by row.
    Vectors(&'a [f32]),
    /// Token ids `[B]`.
    Tokens(&'a [u32]),
}

macro_rules! step_inputs {
    ($number:ty, $kind:ident) => {
        impl<'a> From<&'a [$number]> for StepInputs<'a> {
            fn from(inputs: &'a [$number]) -> Self {
                StepInputs::$kind(inputs)
            }
        }
        impl<'a, const N: usize> From<&'a [$number; N]> for StepInputs<'a> {
            fn from(inputs: &'a [$number; N]) -> Self {
                StepInputs::$kind(inputs)
            }
        }
        impl<'a> From<&'a Vec<$number>> for StepInputs<'a> {
            fn from(inputs: &'a Vec<$number>) -> Self {
                StepInputs::$kind(inputs)
            }
        }
    };
}
step_inputs!(f32, Vectors);
step_inputs!(u32, Tokens);

/// The weights as single time steps read them, and room for the numbers of one sequence. It is made anew after the weights have changed.
pub(super) struct Stepper {
    instructions: InstructionSet,
    /// The vectors of tokens `[V, N]`, where there is an embedding.
    embedding: Option<Vec<f32>>,
    layers: Vec<Layer>,
    decoder: Packed,
    decoder_bias: Lines,
    sums: Lines,
    outputs: Lines,
}

/// A layer, and its states of one sequence.
struct Layer {
    packed: PackedLayer,
    states: Lines,
}

impl Network {
    /// One time step of B sequences, without dropout: from the states that the last call left, whatever it was, to those that the next one
    /// goes on from. `outputs` `[B, O]` becomes the head's outputs, row by row: logits where the loss is cross-entropy.
    ///
    /// On the CPU the calling thread does it alone, and allocates nothing but at the first call and at the first after a change of the
    /// weights. On another backend it is [`Network::predict`] of one time step, for which the network must have been made (`T = 1`).
    ///
    /// ```
    /// # use retrospect::backend::Compute;
    /// # use retrospect::batch::{Input, Loss};
    /// # use retrospect::model::{Config, RecurrentInit};
    /// # use retrospect::network::Network;
    /// let config = Config::new(Input::Vectors(1), 16, 1, Loss::SquaredError, 1, 1);
    /// let mut network = Network::new(&config, &Compute::Cpu(Some(1)))?;
    /// network.initialise(1, RecurrentInit::Uniform)?;
    /// let mut output = [0.0];
    /// for sample in [0.1, 0.2, 0.3] {
    ///     network.step(&[sample], &mut output)?;
    /// }
    /// // From the start again.
    /// network.reset_state(1)?;
    /// network.step(&[0.1], &mut output)?;
    /// # Ok::<(), retrospect::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Usage`] of a network of two directions, whose reverse one begins at a sequence's end; [`Error::BadInput`] when the inputs or
    /// the outputs do not fit, when an input is not finite, or when B is not that of the states; what the backend reports.
    pub fn step<'a>(&mut self, inputs: impl Into<StepInputs<'a>>, outputs: &mut [f32]) -> Result<()> {
        let inputs = inputs.into();
        self.check_step(inputs, outputs.len())?;
        let Some(instructions) = self.backend.instructions() else { return self.step_by_program(inputs, outputs) };
        let mut stepper = match self.stepper.take() {
            Some(stepper) => stepper,
            None => Box::new(self.pack(instructions)?),
        };
        for (b, outputs) in outputs.chunks_mut(self.model.config.outputs).enumerate() {
            self.step_sequence(&mut stepper, inputs, b);
            outputs.copy_from_slice(&stepper.outputs.numbers()[..outputs.len()]);
        }
        self.stepper = Some(stepper);
        Ok(())
    }

    /// Makes the states zero, of so many sequences from now on.
    ///
    /// # Errors
    /// [`Error::BadInput`] when there are none, or more than the network was made for; what the backend reports.
    pub fn reset_state(&mut self, sequences: usize) -> Result<()> {
        if sequences == 0 {
            return Err(Error::input("batch", "there are no sequences"));
        }
        self.expect_one_rank("go step by step")?;
        self.take_shape((self.model.config.window, sequences))?;
        self.clear_state()
    }

    fn check_step(&self, inputs: StepInputs, outputs: usize) -> Result<()> {
        self.expect_one_rank("go step by step")?;
        let config = &self.model.config;
        if config.bidirectional {
            let problem = "a network of two directions cannot go step by step: the reverse one begins at the end of a sequence";
            return Err(Error::Usage(problem.into()));
        }
        let (given, width) = match (inputs, config.input) {
            (StepInputs::Vectors(x), Input::Vectors(width)) => (x.len(), width),
            (StepInputs::Tokens(ids), Input::Tokens(_)) => (ids.len(), 1),
            (StepInputs::Vectors(_), Input::Tokens(_)) => {
                return Err(Error::input("inputs", "this network reads tokens, not vectors"));
            }
            (StepInputs::Tokens(_), Input::Vectors(_)) => {
                return Err(Error::input("tokens", "this network reads vectors, not tokens"));
            }
        };
        if given != config.batch * width {
            let (batch, wanted) = (config.batch, config.batch * width);
            let problem = format!(
                "expected {wanted} numbers, {width} of each of the {batch} sequences that there are states of, got {given}; reset_state \
                 begins with another number of sequences"
            );
            return Err(Error::input("inputs", problem));
        }
        if outputs != config.batch * config.outputs {
            let problem = format!("expected room for {} numbers, got {outputs}", config.batch * config.outputs);
            return Err(Error::input("outputs", problem));
        }
        match inputs {
            StepInputs::Vectors(x) => match x.iter().position(|x| !x.is_finite()) {
                Some(at) => Err(Error::input("inputs", format!("[{at}] is {}; expected a finite number", x[at]))),
                None => Ok(()),
            },
            StepInputs::Tokens(ids) => match ids.iter().position(|&id| id as usize >= config.input.size()) {
                Some(at) => Err(Error::input("tokens", format!("[{at}] is {}; there are {}", ids[at], config.input.size()))),
                None => Ok(()),
            },
        }
    }

    /// A time step as a window of one, by the program.
    fn step_by_program(&mut self, inputs: StepInputs, outputs: &mut [f32]) -> Result<()> {
        let (batch, width) = (self.model.config.batch, self.model.config.input.size());
        let inputs = match inputs {
            StepInputs::Vectors(x) => Inputs::Vectors(Array3::from_shape_fn((1, batch, width), |(_, b, i)| x[b * width + i])),
            StepInputs::Tokens(ids) => Inputs::Tokens(Array2::from_shape_fn((1, batch), |(_, b)| ids[b])),
        };
        let sequences = Sequences { initial_state: InitialState::Carried, ..Sequences::new(inputs) };
        let found = self.predict(&sequences)?.outputs;
        outputs.iter_mut().zip(&found).for_each(|(to, from)| *to = *from);
        Ok(())
    }

    /// A time step of sequence b; the stepper has its outputs then.
    fn step_sequence(&mut self, stepper: &mut Stepper, inputs: StepInputs, b: usize) {
        let (hidden, cell, width) = (self.model.config.hidden, self.model.config.cell, self.model.config.input.size());
        for place in 0..stepper.layers.len() {
            let (below, here) = stepper.layers.split_at_mut(place);
            let Layer { packed, states } = &mut here[0];
            let read = match (below.last(), inputs) {
                (Some(below), _) => Read::Vector(&below.states.numbers()[..hidden]),
                (None, StepInputs::Vectors(x)) => Read::Vector(&x[b * width..][..width]),
                (None, StepInputs::Tokens(ids)) => match (&stepper.embedding, self.model.config.embedding) {
                    (Some(vectors), Some(size)) => Read::Vector(&vectors[ids[b] as usize * size..][..size]),
                    _ => Read::Token(ids[b]),
                },
            };
            for (number, state) in states.numbers_mut().chunks_mut(packed.units).enumerate() {
                state[..hidden].copy_from_slice(self.state_of(place, number, b));
            }
            let (states, sums) = (states.numbers_mut(), stepper.sums.numbers_mut());
            (cell.step)(stepper.instructions, CellStep { layer: packed, read, hidden, states, sums });
            for (number, state) in states.chunks(packed.units).enumerate() {
                self.state_of(place, number, b).copy_from_slice(&state[..hidden]);
            }
        }
        let top = stepper.layers.last().expect("at least one layer");
        stepper.instructions.dispatch(HeadStep {
            weight: &stepper.decoder,
            bias: &stepper.decoder_bias,
            hidden: &top.states.numbers()[..hidden],
            out: stepper.outputs.numbers_mut(),
        });
    }

    /// A state of a sequence in a layer, where it lies.
    fn state_of(&mut self, layer: usize, state: usize, sequence: usize) -> &mut [f32] {
        let row = self.initial_state(&self.model.layers[layer], state).slice_rows(sequence as u32..sequence as u32 + 1);
        let memory = self.backend.host_memory(row).expect("it was there before");
        &mut memory[..row.cols() as usize]
    }

    /// Packs the weights.
    fn pack(&mut self, instructions: InstructionSet) -> Result<Stepper> {
        let config = self.model.config.clone();
        let (hidden, gates) = (config.hidden, config.cell.gates as usize);
        let units = hidden.next_multiple_of(LANES);
        let layers = (0..config.layers).map(|place| self.pack_layer(place)).collect::<Result<_>>()?;
        let window = |role| self.model.parameters.place(None, role).map(|place| self.model.parameters.windows[place]);
        let embedding = window(Role::Embedding);
        let [decoder, bias] = [Role::Decoder, Role::DecoderBias].map(|role| window(role).expect("every network has a head"));
        let (weight, bias) = (self.backend.read(decoder)?, self.backend.read(bias)?);
        let number = |h: usize, o: usize| if o < config.outputs { weight[o * hidden + h] } else { 0.0 };
        Ok(Stepper {
            instructions,
            embedding: embedding.map(|window| self.backend.read(window)).transpose()?,
            layers,
            decoder: Packed::new(hidden, config.outputs, number),
            decoder_bias: in_lines(1, config.outputs, |_, o| bias.get(o).copied()),
            sums: Lines::new(2 * gates * units),
            outputs: Lines::new(config.outputs),
        })
    }

    fn pack_layer(&mut self, place: usize) -> Result<Layer> {
        let config = self.model.config.clone();
        let windows = self.model.layers[place].single();
        let (hidden, gates) = (config.hidden, config.cell.gates as usize);
        let (units, stride) = (hidden.next_multiple_of(LANES), gate_stride(hidden as u32) as usize);
        // Where a column of all gates lies in a row of a window; between the units and the end of a line there is none.
        let place_of = |col: usize| (col % units < hidden).then_some(col / units * stride + col % units);
        let bias = self.backend.read(windows.bias)?;
        let bias = |col: usize| place_of(col).map(|at| bias[at]);
        let (weight, inputs) = (self.backend.read(windows.input)?, windows.input);
        let input = match config.first_layer_input() {
            Input::Tokens(size) if place == 0 => {
                let cols = inputs.cols() as usize;
                let row = |id: usize, col: usize| Some(weight[id * cols + place_of(col)?] + bias(col)?);
                PackedInput::Tokens(in_lines(size, gates * units, row))
            }
            _ => {
                let width = inputs.cols() as usize;
                let number = |i: usize, col: usize| place_of(col).map_or(0.0, |at| weight[at * width + i]);
                PackedInput::Vectors {
                    weight: Packed::new(width, gates * units, number),
                    bias: in_lines(1, gates * units, |_, col| bias(col)),
                }
            }
        };
        let (weight, cols) = (self.backend.read(windows.recurrent_t)?, windows.recurrent_t.cols() as usize);
        let number = |h: usize, col: usize| place_of(col).map_or(0.0, |at| weight[h * cols + at]);
        let constants = windows.constants.iter().map(|&window: &Mat| self.backend.read(window)).collect::<Result<Vec<_>>>()?;
        let packed = PackedLayer {
            activation: config.activation,
            units,
            input,
            recurrent: Packed::new(hidden, gates * units, number),
            constants: in_lines(constants.len(), units, |row, unit| constants[row].get(unit).copied()),
        };
        Ok(Layer { packed, states: Lines::new(config.cell.states.len() * units) })
    }
}

/// Rows of whole lines, zero where there is no number.
fn in_lines(rows: usize, cols: usize, at: impl Fn(usize, usize) -> Option<f32>) -> Lines {
    let cols = cols.next_multiple_of(LANES);
    let mut lines = Lines::new(rows * cols);
    for (place, to) in lines.numbers_mut().iter_mut().enumerate() {
        *to = at(place / cols, place % cols).unwrap_or(0.0);
    }
    lines
}
