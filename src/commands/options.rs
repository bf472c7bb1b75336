//! What a run follows from: the flags, the defaults of a task, and the sizes that files say.

mod data;
mod init;
mod values;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use retrospect::batch::{Input, Loss};
use retrospect::data::{ALL, Choice, ClassWeights, Defaults, Opened, Options, Part, Reading, Source, Task, Tokens};
use retrospect::model::{Config, RecurrentInit};
use retrospect::train::{BestBy, Checkpoint, OnDivergence, Schedule, Settings};
use retrospect::{Activation, Error, Result};

use self::data::{DataArgs, FileArgs, TableArgs};
pub use self::data::{absolute, layout};
pub use self::init::expect_tokens;
pub use values::{
    Clip, Constants, OptimizerChoice, Recompute, activation, clip, count, not_negative, probability, recompute, share, size,
};
use values::{Every, bound, decay, every, schedule, small};

use self::init::Init;
use super::cell::{BiasArgs, CellArgs, about_activation, trained};
use super::files::note_pipe;
use super::terminal::note;

/// The flags of a model that do not change when a run goes on. Each by its own name: of a group an error would list all.
pub const FIXED: [&str; 37] = [
    // Which data, and how they are read.
    "task",
    "vocabulary",
    "scale",
    "batch_first",
    "bucket",
    "class_weights",
    "batch",
    "window",
    "windows",
    "warmup_steps",
    "target",
    "input",
    "sequence",
    "ahead",
    "classes",
    "fill",
    // The network.
    "recompute",
    "embedding",
    "hidden",
    "layers",
    "activation",
    "recurrent_init",
    "init",
    "dropout",
    "output_dropout",
    "cell",
    "leak",
    "bidirectional",
    "biases",
    "forget_bias",
    // The optimiser.
    "optimizer",
    "momentum",
    "beta1",
    "beta2",
    "epsilon",
    "weight_decay",
    "seed",
];

/// What a model follows from: its data, its network and its optimiser.
#[derive(Args)]
pub struct ModelArgs {
    #[command(flatten)]
    files: FileArgs,

    #[command(flatten)]
    table: TableArgs,

    #[command(flatten)]
    data: DataArgs,

    #[command(flatten)]
    what: WhatArgs,

    #[command(flatten)]
    clip: ClipArgs,

    #[command(flatten)]
    cell: CellArgs,

    #[command(flatten)]
    biases: BiasArgs,
}

/// What a run follows from: a model, and how it is trained.
#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// Training steps of the whole run [default: the task's, or 3000]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count())]
    steps: Option<u64>,

    /// Train for as many steps as N passes over the training data take
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count(), conflicts_with_all = ["steps", "task"])]
    epochs: Option<u64>,

    /// Learning rate [default: the task's, or 2e-3]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = not_negative)]
    lr: Option<f64>,

    /// Log the loss every N steps [default: 10]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count())]
    loss_every: Option<u64>,

    /// How the learning rate changes after the warm-up: constant, linear, cosine, step:N:γ, exponential:γ, plateau:N:γ (times γ after
    /// more than N validations that do not lower the best loss by 0.01 %) or onecycle; PyTorch's formulas, with training steps for its epochs [default: constant]
    #[arg(long, value_name = "SCHEDULE", value_parser = schedule)]
    schedule: Option<Schedule>,

    /// Raise the learning rate in equal steps to --lr over the first N training steps [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    warmup: Option<u64>,

    /// Measure on the held-out data every N steps, besides at the end, or at the end alone [default: a tenth of the steps]
    #[arg(long, value_name = "N|off", allow_negative_numbers = true, value_parser = every)]
    evaluate_every: Option<Every>,

    /// Which measure decides the best network, kept as best.safetensors: the lowest loss or the highest accuracy [default: loss]
    #[arg(long, value_name = "METRIC")]
    best: Option<BestBy>,

    /// End the run after N validations in a row without an improvement [default: off]
    #[arg(long, value_name = "N|off", allow_negative_numbers = true, value_parser = every)]
    patience: Option<Every>,

    /// By how much more a validation must be better to count as an improvement [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = not_negative)]
    min_delta: Option<f64>,

    /// When the loss is no longer finite: stop, or go on from the best checkpoint (or the last one) with half the learning rate, three times at
    /// most [default: stop]
    #[arg(long, value_name = "WHAT")]
    on_divergence: Option<OnDivergence>,

    /// Write a checkpoint every N steps, besides at the end [default: 500]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count())]
    checkpoint_every: Option<u64>,

    /// Measure ‖∂L/∂h_t‖ at every time step, the shares of saturated and dead units and the size of updates at the first step and every N:
    /// lines of metrics.jsonl and, at the end, gradients.svg. Takes memory for all states and their gradients [default: off]
    #[arg(long, value_name = "N|off", allow_negative_numbers = true, value_parser = every)]
    trace_gradients: Option<Every>,
}

#[derive(Args)]
#[group(id = "WhatArgs", multiple = true)]
struct WhatArgs {
    /// Keep the hidden states of every N-th time step only and compute the others again for the backward pass: the memory of 4·√T steps
    /// with `auto`, where N is about √T, for a third more time; `off` keeps all [default: off]
    #[arg(long, value_name = "auto|off|N", value_parser = recompute, help_heading = "Network")]
    recompute: Option<Recompute>,

    /// Embed tokens as vectors of N numbers, which are trained too (`encoder.weight`) [default: those of --init, or none]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = size(), help_heading = "Network")]
    embedding: Option<usize>,

    /// Units of a layer [default: the task's or those of --init, or 256]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = size(), help_heading = "Network")]
    hidden: Option<usize>,

    /// Stacked layers [default: those of --init, or 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = size(), help_heading = "Network")]
    layers: Option<usize>,

    #[arg(long, value_name = "NAME", value_parser = activation, help = about_activation("the task's, or tanh"), help_heading = "Network")]
    activation: Option<Activation>,

    /// What the recurrent weights start as [default: the task's, or uniform]
    #[arg(long, value_name = "NAME", help_heading = "Network")]
    recurrent_init: Option<RecurrentInit>,

    /// Start from these weights (safetensors, PyTorch's names), a checkpoint or a run's folder; a text is read with the vocabulary of the run
    #[arg(long, value_name = "FILE", conflicts_with = "recurrent_init", help_heading = "Network")]
    init: Option<PathBuf>,

    /// Drop each output of every layer but the last with this probability while training, as PyTorch's `dropout` [default: 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = probability, help_heading = "Network")]
    dropout: Option<f64>,

    /// Drop each input of the output layer with this probability while training [default: 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = probability, help_heading = "Network")]
    output_dropout: Option<f64>,

    /// How gradients become updates [default: adam]
    #[arg(long, value_name = "NAME", help_heading = "Optimiser")]
    optimizer: Option<OptimizerChoice>,

    /// μ of --optimizer momentum or nesterov [default: 0.9]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = decay, help_heading = "Optimiser")]
    momentum: Option<f32>,

    /// β₁ of --optimizer adam or adamw [default: 0.9]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = decay, help_heading = "Optimiser")]
    beta1: Option<f32>,

    /// β₂ of --optimizer adam or adamw [default: 0.999], or the β of rmsprop, which PyTorch calls
    /// alpha [default: 0.95, as char-rnn; PyTorch's is 0.99]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = decay, help_heading = "Optimiser")]
    beta2: Option<f32>,

    /// ε of --optimizer adam, adamw or rmsprop [default: 1e-8], or adagrad [default: 1e-10]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = bound, help_heading = "Optimiser")]
    epsilon: Option<f32>,

    /// Weight decay of --optimizer adamw: w ← w − rate·X·w before each update, biases excepted [default: 0.01]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = small, help_heading = "Optimiser")]
    weight_decay: Option<f32>,

    /// Random seed
    // Training on text is chaotic with most seeds: a last bit changed at the start changes the loss by a hundredth after a few
    // hundred steps, in PyTorch too. With this one it does not, so that runs on different devices can be compared.
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 57, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: u64,
}

/// How gradients are clipped. Unlike the rest of a model it may change when a run goes on.
#[derive(Args)]
#[group(id = "ClipArgs", multiple = true)]
struct ClipArgs {
    /// Clip the gradient's norm to this, or none [default: the task's, or none]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = clip, help_heading = "Optimiser")]
    clip: Option<Clip>,

    /// Clip each element of the gradient to ±X, after its norm, or none [default: none]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = clip, help_heading = "Optimiser")]
    clip_value: Option<Clip>,
}

impl ClipArgs {
    /// A network that is clipped as was asked for, and otherwise as before.
    fn change(&self, network: Config) -> Config {
        let changed = |asked: Option<Clip>, before: Option<f32>| asked.map_or(before, |Clip(clip)| clip);
        let (clip, clip_value) = (changed(self.clip, network.clip), changed(self.clip_value, network.clip_value));
        Config { clip, clip_value, ..network }
    }
}

impl WhatArgs {
    /// The constants of the optimiser.
    fn constants(&self) -> Constants {
        let WhatArgs { momentum, beta1, beta2, epsilon, weight_decay, .. } = *self;
        Constants { momentum, beta1, beta2, epsilon, weight_decay }
    }
}

/// What a task's recurrent weights start as.
pub fn init_of(defaults: &Defaults) -> RecurrentInit {
    RecurrentInit::from_str(defaults.recurrent_init, true).unwrap_or_default()
}

impl ModelArgs {
    /// What a run of this model follows from where nothing else is said, and its data; says which of a task's defaults count, but for
    /// these.
    pub fn settings(&self, given: &[&str]) -> Result<(Settings, Opened)> {
        let what = &self.what;
        let choice = self.choice()?;
        let task = match &choice {
            Choice::Task(name) => Some(Task::named(name)?),
            _ => None,
        };
        let of_task = task.map(|task| task.defaults);
        let init = what.init.as_deref().map(Init::open).transpose()?;
        let window = self.data.window.or(of_task.map(|d| d.window)).unwrap_or(64);
        let reading = self.with_tokens(self.data.reading(&self.files, &self.table), init.as_ref())?;
        let options = Options { seed: what.seed, batch: self.data.batch(), window };
        let known = init.as_ref().map(Init::known).unwrap_or_default();
        if known.columns.is_some() && reading.scale.is_some() {
            return Err(Error::Usage("--scale: numbers are scaled as the run of --init scales them".into()));
        }
        choice.path().into_iter().for_each(note_pipe);
        let opened = choice.open(&options, &reading, Part::Validation, known)?;
        opened.notes.iter().for_each(note);
        let weights = init.as_ref().map(|init| &init.file);
        let cell = self.cell.choose(weights, what.activation)?;
        let trained = weights.and_then(trained);
        let bidirectional = self.cell.is_bidirectional(weights);
        let sizes = init.as_ref().map(|init| init.sizes(cell, what.layers, opened.vocabulary.as_ref())).transpose()?;

        let optimizer = what.optimizer.or(of_task.map(|d| OptimizerChoice::usual_for(&d))).unwrap_or(OptimizerChoice::Adam);
        let optimizer = optimizer.with(what.constants())?;
        let shape = opened.source.shape();
        let (steps, batch) = opened.source.window();
        // A file's largest id may be less than what the weights were made for.
        let at_least = |size: usize, of_file: Option<usize>| of_file.map_or(size, |n| n.max(size));
        let input = match shape.input {
            Input::Tokens(size) => Input::Tokens(at_least(size, sizes.map(|sizes| sizes.inputs))),
            vectors => vectors,
        };
        if let Some(sizes) = &sizes {
            sizes.expect_input(input)?;
        }
        let outputs = match shape.loss {
            Loss::CrossEntropy => at_least(shape.outputs, sizes.map(|sizes| sizes.outputs)),
            Loss::SquaredError => shape.outputs,
        };
        let trained = trained.map(|network| network.activation);
        let hidden = what.hidden.or(sizes.map(|sizes| sizes.hidden)).or(of_task.map(|d| d.hidden)).unwrap_or(256);
        let of_task_or_file = trained.or(of_task.and_then(|d| Activation::named(d.activation)));
        let activation = what.activation.or(of_task_or_file.filter(|_| cell.has_activation));
        // A task's own choice is for cells that can start so.
        let usual_init = of_task.map_or(RecurrentInit::Uniform, |d| init_of(&d));
        let usual_init = if usual_init.suits(cell) { usual_init } else { RecurrentInit::Uniform };
        let network = Config {
            layers: what.layers.or(sizes.map(|sizes| sizes.layers)).unwrap_or(1),
            embedding: what.embedding.or(sizes.and_then(|sizes| sizes.embedding)),
            cell,
            bidirectional,
            lengths: opened.source.has_lengths(),
            activation: activation.unwrap_or(Activation::Tanh),
            leak: self.cell.leak.map(|leak| leak as f32),
            biases: self.biases.biases.unwrap_or_default(),
            forget_bias: self.biases.forget_bias.unwrap_or_default(),
            optimizer,
            clip: of_task.and_then(|d| d.clip).map(|c| c as f32),
            dropout: what.dropout.unwrap_or_default(),
            output_dropout: what.output_dropout.unwrap_or_default(),
            recompute: what.recompute.and_then(|choice| choice.for_window(steps)),
            ..Config::new(input, hidden, outputs, shape.loss, batch, steps)
        };
        let network = self.clip.change(network);
        init.as_ref().map(|init| init.note_left_out(&network)).transpose()?;
        note_dropout(network.dropout, network.layers);
        let usual = Settings::new(choice, network);
        let settings = Settings {
            steps: of_task.and_then(|d| d.steps).unwrap_or(usual.steps),
            lr: of_task.and_then(|d| d.lr).unwrap_or(usual.lr),
            seed: what.seed,
            recurrent_init: what.recurrent_init.unwrap_or(usual_init),
            window,
            init: what.init.as_deref().map(|path| absolute(&Checkpoint::path(path))),
            reading: Reading { class_weights: kept(reading.class_weights, &opened), ..reading },
            ..usual
        };
        if let Some(task) = task {
            self.say_defaults(task.name, &task.defaults, init.is_some(), &settings.network, given);
        }
        Ok((settings, opened))
    }

    /// With what the tokens of a text are.
    fn with_tokens(&self, reading: Reading, init: Option<&Init>) -> Result<Reading> {
        let (asked, words) = (self.files.tokens, self.data.vocabulary);
        if words.is_some() && asked != Some(Tokens::Words) {
            return Err(Error::Usage("--vocabulary is for --tokens words".into()));
        }
        if words.is_some() && init.is_some_and(|init| init.known().vocabulary.is_some()) {
            return Err(Error::Usage("--vocabulary: with --init the words are those of its run".into()));
        }
        let tokens = init.map_or(Ok(asked), |init| init.tokens(asked))?;
        Ok(Reading { tokens: tokens.unwrap_or_default(), most_words: words.unwrap_or(reading.most_words), ..reading })
    }

    /// The data: a file, a task, or the first one where nothing is named.
    fn choice(&self) -> Result<Choice> {
        match (self.files.choice(), &self.data.task) {
            (Some(file), _) => Ok(file),
            (None, Some(name)) => Ok(Choice::Task(Task::named(name)?.name.into())),
            (None, None) => Ok(Choice::Task(ALL[0].name.into())),
        }
    }

    fn say_defaults(&self, task: &str, defaults: &Defaults, has_init: bool, network: &Config, given: &[&str]) {
        let what = &self.what;
        let mut said = Vec::new();
        let mut say = |is_given: bool, flag: &str, value: Option<String>| {
            said.extend(value.filter(|_| !is_given && !given.contains(&flag)).map(|value| format!("--{flag} {value}")));
        };
        say(self.data.window.is_some(), "window", Some(defaults.window.to_string()));
        say(what.hidden.is_some() || has_init, "hidden", Some(defaults.hidden.to_string()));
        say(what.activation.is_some() || !network.cell.has_activation, "activation", Some(defaults.activation.into()));
        let starts_otherwise = what.recurrent_init.is_some() || has_init || !init_of(defaults).suits(network.cell);
        say(starts_otherwise, "recurrent-init", Some(defaults.recurrent_init.into()));
        say(what.optimizer.is_some(), "optimizer", defaults.optimizer.map(String::from));
        say(false, "lr", defaults.lr.map(|x| x.to_string()));
        say(self.clip.clip.is_some(), "clip", defaults.clip.map(|x| x.to_string()));
        say(false, "steps", defaults.steps.map(|n| n.to_string()));
        if !said.is_empty() {
            note(format_args!("Defaults of {task}: {}", said.join(" ")));
        }
    }
}

/// The weights of classes as a run keeps them: with the numbers of the file, which may change.
fn kept(weights: Option<ClassWeights>, opened: &Opened) -> Option<ClassWeights> {
    match (weights, &opened.class_weights) {
        (Some(ClassWeights::File(_)), Some(numbers)) => Some(ClassWeights::Given(numbers.clone())),
        (weights, _) => weights,
    }
}

impl RunArgs {
    /// What a new run follows from, and its data; says which of a task's defaults count.
    pub fn settings(&self) -> Result<(Settings, Opened)> {
        let given: Vec<&str> = [("lr", self.lr.is_some()), ("steps", self.steps.is_some() || self.epochs.is_some())]
            .into_iter()
            .filter(|(_, given)| *given)
            .map(|(flag, _)| flag)
            .collect();
        let (settings, opened) = self.model.settings(&given)?;
        let settings = self.changed(Settings { steps: self.steps_of(&settings, &*opened.source)?, ..settings })?;
        // By default a run is validated ten times.
        let evaluate_every = self.evaluate_every.map_or(Some((settings.steps / 10).max(1)), |Every(every)| every);
        Ok((Settings { evaluate_every, ..settings }, opened))
    }

    /// The training steps of the run: those of so many passes over the data, if that is asked for.
    ///
    /// # Errors
    /// [`Error::Usage`] of data that are drawn without end.
    pub fn steps_of(&self, settings: &Settings, source: &dyn Source) -> Result<u64> {
        match (self.epochs, source.batches_in_pass()) {
            (None, _) => Ok(settings.steps),
            (Some(epochs), Some(batches)) => Ok(epochs.saturating_mul(batches).max(1)),
            (Some(_), None) => {
                let name = settings.data.name();
                Err(Error::Usage(format!(
                    "--epochs needs data of a fixed size, and the sequences of {name} are drawn without end; use --steps"
                )))
            }
        }
    }

    /// The file that is named, if one is.
    pub fn file(&self) -> Option<Choice> {
        self.model.files.choice()
    }

    /// The files that are named anew.
    pub fn files(&self) -> &FileArgs {
        &self.model.files
    }

    /// What the tokens of a text are, if that is said.
    pub fn tokens(&self) -> Option<Tokens> {
        self.model.files.tokens
    }

    /// With the options that may also change when a run goes on.
    pub fn changed(&self, settings: Settings) -> Result<Settings> {
        let settings = Settings {
            steps: self.steps.unwrap_or(settings.steps),
            lr: self.lr.unwrap_or(settings.lr),
            loss_every: self.loss_every.unwrap_or(settings.loss_every),
            schedule: self.schedule.unwrap_or(settings.schedule),
            warmup: self.warmup.unwrap_or(settings.warmup),
            evaluate_every: self.evaluate_every.map_or(settings.evaluate_every, |Every(every)| every),
            best_by: self.best.unwrap_or(settings.best_by),
            patience: self.patience.map_or(settings.patience, |Every(most)| most),
            min_delta: self.min_delta.unwrap_or(settings.min_delta),
            on_divergence: self.on_divergence.unwrap_or(settings.on_divergence),
            checkpoint_every: self.checkpoint_every.unwrap_or(settings.checkpoint_every),
            trace_gradients: self.trace_gradients.map_or(settings.trace_gradients, |Every(every)| every),
            network: self.model.clip.change(settings.network),
            ..settings
        };
        settings.check()?;
        Ok(settings)
    }
}

/// Says where dropout between layers has nothing to act on, as PyTorch warns.
pub fn note_dropout(rate: f64, layers: usize) {
    if rate > 0.0 && layers == 1 {
        note(format_args!(
            "--dropout {rate} has no effect: it acts between layers, and there is only one. --output-dropout acts before the head."
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_every_task_are_names_that_there_are() {
        for task in retrospect::data::ALL {
            let Defaults { activation, recurrent_init, optimizer, .. } = task.defaults;
            assert!(Activation::named(activation).is_some(), "{}: {activation}", task.name);
            assert!(RecurrentInit::from_str(recurrent_init, false).is_ok(), "{}: {recurrent_init}", task.name);
            assert!(optimizer.is_none_or(|name| OptimizerChoice::from_str(name, false).is_ok()), "{}: {optimizer:?}", task.name);
        }
    }
}
