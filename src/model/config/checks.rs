//! What a configuration must hold to, what its batches must, and what would fit in its place.

use super::{Biases, Config, MOST_SEGMENTS};
use crate::batch::{Batch, InitialState, Input, Loss, Targets};
use crate::cells::Cell;
use crate::kernels::dropout::OUTPUT_LAYER;
use crate::{Error, Result};

/// Bytes that a process can address at most.
const MOST_BYTES: u128 = 1 << 47;

/// The most layers, each with its own steps in every segment, and the most of both together.
const MOST_LAYERS: (usize, usize) = (4096, 1 << 16);

impl Config {
    /// Checks a batch against the network: [`Batch::check`], the kind of its targets, its state and its lengths.
    ///
    /// # Errors
    /// [`Error::BadInput`] with the tensor, the position and what was expected; [`Error::Usage`] when the network was made for no such batch.
    pub fn check_batch(&self, batch: &Batch) -> Result<()> {
        let (layers, _, hidden) = self.state_shape();
        let (found, expected) = (batch.targets.kind(), self.loss.target_kind());
        if found != expected {
            let problem = format!("this network is measured by {}: its loss is the {}", expected.name(), self.loss);
            return Err(Error::input(found.name(), problem));
        }
        batch.check(self.input, self.targets(), layers, hidden, self.cell.states)?;
        self.check_targets(batch)?;
        if self.bidirectional && batch.initial_state == InitialState::Carried {
            let problem =
                "a bidirectional network cannot carry its state on: the reverse direction begins at the end of the window";
            return Err(Error::Usage(problem.into()));
        }
        let (window, sequences) = batch.shape();
        match (0..sequences).find(|&b| batch.length(b) < window) {
            Some(b) if !self.lengths => Err(Error::Usage(format!(
                "sequence {b} has {} of {window} time steps, and this network was made without lengths; set Config::lengths",
                batch.length(b)
            ))),
            _ => Ok(()),
        }
    }

    /// Checks that targets are those of the loss.
    fn check_targets(&self, batch: &Batch) -> Result<()> {
        let Targets::Values(values) = &batch.targets else { return Ok(()) };
        match self.loss {
            Loss::BinaryCrossEntropy => {
                let wrong = batch.counted_places().find_map(|(t, b)| {
                    let row = values.slice(ndarray::s![t, b, ..]);
                    row.indexed_iter().find(|(_, v)| !(0.0..=1.0).contains(*v)).map(|(o, &v)| (t, b, o, v))
                });
                wrong.map_or(Ok(()), |(t, b, o, v)| {
                    let problem = format!("[{t}, {b}, {o}] is {v}; the binary cross-entropy is of labels from 0 to 1");
                    Err(Error::input("values", problem))
                })
            }
            _ => Ok(()),
        }
    }

    /// What `fits` where this configuration does not: the largest hidden size, the largest batch, or all of it with hidden states
    /// recomputed or gradients not traced.
    pub(crate) fn largest(&self, fits: impl Fn(&Config) -> bool) -> String {
        let search = |most: usize, of: &dyn Fn(usize) -> Config| {
            let (mut low, mut high) = (0, most);
            while low + 1 < high {
                let middle = low + (high - low) / 2;
                if fits(&of(middle)) { low = middle } else { high = middle }
            }
            (low > 0).then_some(low)
        };
        let hidden = search(self.hidden, &|hidden| Config { hidden, ..self.clone() });
        let batch = search(self.batch, &|batch| Config { batch, ..self.clone() });
        let segmented = Config { recompute: self.recompute.or(Some(Config::recompute_of(self.window))), ..self.clone() };
        let segmented = (self.window > 3 && self.recompute.is_none() && fits(&segmented))
            .then(|| "all of it with hidden states recomputed (--recompute auto)".to_owned());
        let untraced = (self.trace && fits(&Config { trace: false, ..self.clone() }))
            .then(|| "all of it without tracing gradients (--trace-gradients off)".to_owned());
        let found = [hidden.map(|h| format!("hidden size {h}")), batch.map(|b| format!("batch {b}")), segmented, untraced];
        match found.into_iter().flatten().collect::<Vec<_>>() {
            found if found.is_empty() => {
                "no smaller hidden size or batch would fit: make the window or the vocabulary smaller".into()
            }
            found => format!("{} would fit", found.join(", or ")),
        }
    }

    /// Checks that every size is at least 1, every constant in range, and every count of rows and elements addressable.
    ///
    /// # Errors
    /// [`Error::Usage`] with the name and the number; [`Error::DoesNotFit`] past what can be addressed.
    pub fn check(&self) -> Result<()> {
        let sizes = [
            ("input size", self.input.size()),
            ("embedding size", self.embedding.unwrap_or(1)),
            ("hidden size", self.hidden),
            ("layers", self.layers),
            ("output size", self.outputs),
            ("batch", self.batch),
            ("window", self.window),
            ("recompute", self.recompute.unwrap_or(1)),
            ("accumulate", self.accumulate),
        ];
        if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(Error::Usage(format!("{name} is 0; it must be at least 1")));
        }
        if let Some((name, size)) = sizes.iter().find(|(_, size)| u32::try_from(*size).is_err()) {
            return Err(Error::Usage(format!("{name} is {size}; it must be below {}", 1u64 << 32)));
        }
        let segments = self.window.div_ceil(self.recompute.unwrap_or(self.window).max(1));
        if segments > MOST_SEGMENTS {
            let (steps, least) = (self.recompute.unwrap_or_default(), self.window.div_ceil(MOST_SEGMENTS));
            return Err(Error::Usage(format!(
                "to keep every {steps} of {} hidden states makes {segments} segments; {MOST_SEGMENTS} are the most: every {least}",
                self.window
            )));
        }
        let (layers, together) = MOST_LAYERS;
        let places = self.layers * self.directions();
        if places > layers || places * segments > together {
            let both = if self.bidirectional { " in both directions" } else { "" };
            return Err(Error::Usage(format!(
                "{} layers{both} in {segments} segments; the most are {} layers, and {} of layers times segments",
                self.layers,
                layers / self.directions(),
                together / self.directions()
            )));
        }
        if let (Input::Vectors(_), Some(_)) = (self.input, self.embedding) {
            return Err(Error::Usage("an embedding is of tokens, and this network reads vectors".into()));
        }
        self.optimizer.check()?;
        for (what, clip) in [("norm", self.clip), ("value", self.clip_value)] {
            if let Some(clip) = clip.filter(|clip| !(*clip > 0.0 && clip.is_finite())) {
                return Err(Error::Usage(format!("the {what} to clip to is {clip}; it must be positive and finite")));
            }
        }
        for (name, rate) in [("dropout", self.dropout), ("output dropout", self.output_dropout)] {
            if !(0.0..1.0).contains(&rate) {
                return Err(Error::Usage(format!("{name} is {rate}; it must be at least 0 and below 1")));
            }
        }
        self.check_constraints()?;
        // The masks of layers and those before the head are told apart by number (see `dropout`).
        if self.dropout > 0.0 && self.output_dropout > 0.0 && self.layers > OUTPUT_LAYER as usize + 1 {
            let problem = format!("{} layers with dropout and output dropout; the most are {}", self.layers, OUTPUT_LAYER + 1);
            return Err(Error::Usage(problem));
        }
        if self.bidirectional && self.trace {
            let problem = "gradients cannot be traced in a bidirectional network: they flow back through time in two directions";
            return Err(Error::Usage(problem.into()));
        }
        self.check_loss()?;
        self.check_cell()?;
        self.addressable().map_err(|error| match error {
            Error::DoesNotFit { what, needed, available, .. } => {
                let advice = self.largest(|smaller| smaller.addressable().is_ok());
                Error::DoesNotFit { what, needed, available, advice }
            }
            other => other,
        })
    }

    /// Checks the numbers of the loss, and that the outputs are as many as it needs.
    fn check_loss(&self) -> Result<()> {
        if let Some(problem) = self.loss.problem() {
            return Err(Error::Usage(problem));
        }
        let smoothing = self.label_smoothing;
        if !(0.0..1.0).contains(&smoothing) {
            return Err(Error::Usage(format!("label smoothing is {smoothing}; it must be at least 0 and below 1")));
        }
        if smoothing > 0.0 && self.loss != Loss::CrossEntropy {
            return Err(Error::Usage(format!("label smoothing is for the cross-entropy of classes; the loss is {}", self.loss)));
        }
        let (outputs, each) = (self.outputs, self.loss.outputs_per_target());
        if !outputs.is_multiple_of(each) {
            return Err(Error::Usage(format!("{outputs} outputs are no multiple of the {each} quantiles of each target")));
        }
        if self.loss == Loss::NashSutcliffe && outputs > 1 {
            let problem = "the Nash-Sutcliffe loss is of one target, whose deviation a sequence is weighed by";
            return Err(Error::Usage(format!("{problem}; there are {outputs}")));
        }
        Ok(())
    }

    /// Checks what not every cell has.
    fn check_cell(&self) -> Result<()> {
        let Config { cell, leak, forget_bias, .. } = *self;
        if let Some(leak) = leak {
            if !cell.has_leak {
                return Err(Error::Usage(format!("{cell} has no leak; {} has", Cell::names_with(|cell| cell.has_leak))));
            }
            if !(leak > 0.0 && leak <= 1.0) {
                return Err(Error::Usage(format!("the leak is {leak}; it must be above 0 and at most 1")));
            }
        }
        if forget_bias != 0.0 && cell.forget_gate.is_none() {
            let others = Cell::names_with(|cell| cell.forget_gate.is_some());
            return Err(Error::Usage(format!("{cell} has no forget gate for a bias; {others} has")));
        }
        if !forget_bias.is_finite() {
            return Err(Error::Usage(format!("the forget bias is {forget_bias}; it must be finite")));
        }
        Ok(())
    }

    /// Checks noise, penalty and signs, of which some are for cells of one gate.
    fn check_constraints(&self) -> Result<()> {
        let Config { cell, state_noise, activity_l2, dale, hidden, .. } = *self;
        for (name, number) in [("the noise on the state", state_noise), ("the penalty of activity", activity_l2)] {
            if !(number >= 0.0 && number.is_finite()) {
                return Err(Error::Usage(format!("{name} is {number}; it must be at least 0 and finite")));
            }
        }
        for (name, is_asked) in [("noise on the state is", state_noise > 0.0), ("Dale's principle is", dale.is_some())] {
            if is_asked && cell.gates > 1 {
                let others = Cell::names_with(|cell| cell.gates == 1);
                return Err(Error::Usage(format!("{name} for {others}; {cell} has gates")));
            }
        }
        let (Some(share), Some(excitatory)) = (dale, self.excitatory()) else { return Ok(()) };
        if !(share > 0.0 && share < 1.0) || excitatory == 0 || excitatory == hidden {
            let problem = format!("of {hidden} units a share of {share} is excitatory; there must be units of both kinds");
            return Err(Error::Usage(problem));
        }
        Ok(())
    }

    /// Whether rows and elements can be counted in 32 bits, as shaders do, and bytes addressed.
    fn addressable(&self) -> Result<()> {
        let addressable = |what: &str, count: u128| match count < 1 << 32 {
            true => Ok(()),
            false => Err(Error::DoesNotFit {
                what: what.into(),
                needed: u64::try_from(count.saturating_mul(4)).unwrap_or(u64::MAX),
                available: (1 << 34) - 4,
                advice: String::new(),
            }),
        };
        let sizes = [self.input.size(), self.hidden, self.layers, self.outputs, self.batch, self.window, self.directions()];
        let [input, hidden, layers, outputs, batch, window, directions] = sizes.map(|size| size as u128);
        let padded = |cols: u128| cols.next_multiple_of(4);
        let gates = |count: u32| u128::from(count.max(1) - 1) * padded(hidden) + hidden;
        let places = layers * directions;
        addressable("one column of a window", directions * (window + places) * batch)?;
        // Tokens have U transposed: a row for each.
        let rows = gates(self.cell.gates);
        let (first, embedding) = match self.first_layer_input() {
            Input::Tokens(_) => (input * padded(rows), 0),
            Input::Vectors(size) => (rows * padded(size as u128), self.embedding.map_or(0, |size| padded(size as u128))),
        };
        let square = rows * padded(hidden);
        let biases = match self.biases {
            Biases::One => padded(rows) + self.cell.recurrent_bias.len() as u128 * padded(hidden),
            Biases::Two => 2 * padded(rows),
        };
        let squares = if self.recurrent_mask { 2 * square } else { square };
        let layer = squares + biases + if self.cell.has_leak { padded(hidden) } else { 0 };
        let above = directions * square;
        let weights = input * embedding
            + directions * first
            + (places - directions) * above
            + places * layer
            + outputs * directions * padded(hidden)
            + padded(outputs);
        addressable("the arena of the parameters", weights)?;
        // What no plan is without: counts of operations and bytes must not overflow either.
        let rows = window * batch;
        let length = self.recompute.map_or(window, |steps| window.min(steps as u128)) * batch;
        let vectors = if matches!(self.input, Input::Tokens(_)) { 1 } else { input };
        let states = self.cell.states.len() as u128 * padded(hidden)
            + if self.cell.saved > 0 { padded(gates(self.cell.saved)) } else { 0 };
        let between = if self.bidirectional { layers * rows * directions * padded(hidden) } else { 0 };
        let least = (length * places + batch) * states + between + rows * (padded(vectors) + embedding + padded(outputs));
        match (least + weights) * 4 {
            needed if needed > MOST_BYTES => Err(Error::DoesNotFit {
                what: "the program".into(),
                needed: u64::try_from(needed).unwrap_or(u64::MAX),
                available: MOST_BYTES as u64,
                advice: String::new(),
            }),
            _ => Ok(()),
        }
    }
}
