//! What a run follows from: the flags, the defaults of a task, and the sizes that files say.

mod data;
mod data_cache;
mod init;
mod network;
mod optimizer;
mod run;
mod values;

use clap::{Args, ValueEnum};
use retrospect::batch::{Input, Loss, TargetKind};
use retrospect::data::{ALL, Choice, ClassWeights, Columns, Defaults, OpenedData, Options, Part, Reading, Task, Tokens};
use retrospect::model::{Config, RecurrentInit, has_recurrent_masks, holds_masks_alone, sizes_of_masks};
use retrospect::train::{Checkpoint, Settings};
use retrospect::{Activation, Error, Result};

use self::data::{DataArgs, FileArgs, TableArgs};
pub use self::data::{FillArg, Names, absolute, layout, names};
pub use self::data_cache::DataCache;
use self::init::Init;
pub use self::init::expect_tokens;
pub use self::network::LossArgs;
use self::network::NetworkArgs;
pub use self::optimizer::OptimizerChoice;
use self::optimizer::{ClipArgs, OptimizerArgs};
pub use self::run::RunArgs;
pub use self::values::{Clip, Recompute, activation, clip, count, not_negative, probability, recompute, seconds, share, size};
use super::cell::{BiasArgs, CellArgs, trained};
use super::files::note_pipe;
use super::terminal::note;

/// The flags of a model that do not change when a run goes on. Each by its own name: of a group an error would list all.
pub const FIXED: [&str; 46] = [
    // Which data, and how they are read.
    "task",
    "vocabulary",
    "scale",
    "batch_first",
    "bucket",
    "categories",
    "class_weights",
    "batch",
    "window",
    "windows",
    "warmup_steps",
    "split_seed",
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
    "loss",
    "quantile",
    "dropout",
    "output_dropout",
    "label_smoothing",
    "state_noise",
    "activity_l2",
    "dale",
    "cell",
    "leak",
    "bidirectional",
    "biases",
    "forget_bias",
    // The optimiser.
    "optimizer",
    "accumulate",
    "momentum",
    "beta1",
    "beta2",
    "epsilon",
    "weight_decay",
    "seed",
];

/// Where all random numbers of a run begin.
#[derive(Args)]
struct SeedArgs {
    /// Random seed
    // Training on text is chaotic with most seeds: a last bit changed at the start changes the loss by a hundredth after a few
    // hundred steps, in PyTorch too. With this one it does not, so that runs on different devices can be compared.
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 57, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: u64,
}

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
    network: NetworkArgs,

    #[command(flatten)]
    loss: LossArgs,

    #[command(flatten)]
    optimizer: OptimizerArgs,

    #[command(flatten)]
    seed: SeedArgs,

    #[command(flatten)]
    clip: ClipArgs,

    #[command(flatten)]
    cell: CellArgs,

    #[command(flatten)]
    biases: BiasArgs,
}

/// What a task's recurrent weights start as.
pub fn init_of(defaults: &Defaults) -> RecurrentInit {
    RecurrentInit::from_str(defaults.recurrent_init, true).unwrap_or_default()
}

impl ModelArgs {
    /// The settings of a run of this model where nothing else is said, and its data; says which of a task's defaults count, but for these.
    pub fn settings(&self, given: &[&str], data: &mut DataCache) -> Result<(Settings, OpenedData)> {
        let choice = self.choice()?;
        let task = match &choice {
            Choice::Task(name) => Some(Task::named(name)?),
            _ => None,
        };
        let of_task = task.map(|task| task.defaults);
        let init = self.network.init.as_deref().map(Init::open).transpose()?;
        let window = self.data.window.or(of_task.map(|d| d.window)).unwrap_or(64);
        let reading = {
            let reading = self.data.reading(&self.files, &self.table);
            self.with_tokens(Reading { labels: self.loss.is_of_labels(), ..reading }, init.as_ref())?
        };
        let options = Options { seed: self.seed.seed, batch: self.data.batch(), window };
        let known = init.as_ref().map(Init::known).unwrap_or_default();
        if known.columns.is_some() && reading.scale.is_some() {
            return Err(Error::Usage("--scale: numbers are scaled as the run of --init scales them".into()));
        }
        let is_scaled = |columns: &Columns| columns.targets.iter().any(|column| column.scaling().changes_values());
        if self.loss.is_of_labels() && known.columns.is_some_and(is_scaled) {
            return Err(Error::Usage("--loss bce: labels are not scaled, and the run of --init scales its targets".into()));
        }
        let init_path = self.network.init.as_deref().map(|path| absolute(&Checkpoint::path(path)));
        let opened = data.open((&choice, options, &reading, init_path.clone()), || {
            choice.path().into_iter().for_each(note_pipe);
            choice.open(&options, &reading, Part::Validation, known)
        })?;
        if !data.is_quiet() {
            opened.notes.iter().for_each(note);
        }
        let network = self.configure(&opened, init.as_ref(), of_task.as_ref())?;
        if !data.is_quiet() {
            init.as_ref().map(|init| init.note_left_out(&network)).transpose()?;
            note_dropout(network.dropout, network.layers);
            if network.loss == Loss::ErrorToSignal && opened.columns.as_ref().is_some_and(is_scaled) {
                note("The error-to-signal ratio is of scaled values; --scale none makes it that of the file's own numbers.");
            }
            if let Some(task) = task {
                self.say_defaults(task.name, &task.defaults, init.is_some(), &network, given);
            }
        }
        // A task's own choice is for cells that can start so.
        let usual_init = of_task.map_or(RecurrentInit::Uniform, |d| init_of(&d));
        let usual_init = if network.can_start(usual_init) { usual_init } else { RecurrentInit::Uniform };
        let usual = Settings::new(choice, network);
        let settings = Settings {
            steps: of_task.and_then(|d| d.steps).unwrap_or(usual.steps),
            lr: of_task.and_then(|d| d.lr).unwrap_or(usual.lr),
            seed: self.seed.seed,
            recurrent_init: self.network.recurrent_init.unwrap_or(usual_init),
            window,
            init: init_path,
            reading: Reading { class_weights: kept(reading.class_weights, &opened), ..reading },
            ..usual
        };
        Ok((settings, opened))
    }

    /// The network for the data that are opened: by the flags, or else the weights that it starts from, or else the defaults of a task.
    fn configure(&self, opened: &OpenedData, init: Option<&Init>, task: Option<&Defaults>) -> Result<Config> {
        let asked = &self.network;
        let masks = init.map(|init| &init.file).filter(|file| holds_masks_alone(file));
        let init = init.filter(|_| masks.is_none());
        let weights = init.map(|init| &init.file);
        let [masked_units, masked_layers] = masks.map(sizes_of_masks).transpose()?.map_or([None; 2], |sizes| sizes.map(Some));
        let cell = self.cell.choose(weights, asked.activation)?;
        let sizes = init.map(|init| init.sizes(cell, asked.layers, opened.vocabulary.as_ref())).transpose()?;
        let optimizer = self.optimizer.choose(task.map_or(OptimizerChoice::Adam, OptimizerChoice::usual_for))?;
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
        let loss = self.loss.choose(shape.kind, weights.and_then(trained).map(|network| network.loss))?;
        let outputs = match shape.kind {
            TargetKind::Classes => at_least(shape.targets, sizes.map(|sizes| sizes.outputs)),
            TargetKind::Values => shape.targets * loss.outputs_per_target(),
        };
        let hidden = asked.hidden.or(sizes.map(|sizes| sizes.hidden)).or(masked_units).or(task.map(|d| d.hidden)).unwrap_or(256);
        let of_weights = weights.and_then(trained).map(|network| network.activation);
        let usual = of_weights.or(task.and_then(|d| Activation::named(d.activation))).filter(|_| cell.has_activation);
        let network = Config {
            layers: asked.layers.or(sizes.map(|sizes| sizes.layers)).or(masked_layers).unwrap_or(1),
            embedding: asked.embedding.or(sizes.and_then(|sizes| sizes.embedding)),
            cell,
            bidirectional: self.cell.is_bidirectional(weights),
            lengths: opened.source.has_lengths(),
            activation: asked.activation.or(usual).unwrap_or(Activation::Tanh),
            leak: self.cell.leak.map(|leak| leak as f32),
            biases: self.biases.biases.unwrap_or_default(),
            forget_bias: self.biases.forget_bias.unwrap_or_default(),
            optimizer,
            accumulate: self.optimizer.accumulate.unwrap_or(1),
            clip: task.and_then(|d| d.clip).map(|c| c as f32),
            dropout: asked.dropout.unwrap_or_default(),
            output_dropout: asked.output_dropout.unwrap_or_default(),
            label_smoothing: asked.label_smoothing.unwrap_or_default(),
            state_noise: asked.state_noise.unwrap_or_default(),
            activity_l2: asked.activity_l2.unwrap_or_default(),
            recurrent_mask: masks.or(weights).is_some_and(has_recurrent_masks),
            dale: asked.dale,
            recompute: asked.recompute.and_then(|choice| choice.for_window(steps)),
            ..Config::new(input, hidden, outputs, loss, batch, steps)
        };
        Ok(self.clip.change(network))
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
        let asked = &self.network;
        let mut said = Vec::new();
        let mut say = |is_given: bool, flag: &str, value: Option<String>| {
            said.extend(value.filter(|_| !is_given && !given.contains(&flag)).map(|value| format!("--{flag} {value}")));
        };
        say(self.data.window.is_some(), "window", Some(defaults.window.to_string()));
        say(asked.hidden.is_some() || has_init, "hidden", Some(defaults.hidden.to_string()));
        say(asked.activation.is_some() || !network.cell.has_activation, "activation", Some(defaults.activation.into()));
        let starts_otherwise = asked.recurrent_init.is_some() || has_init || !network.can_start(init_of(defaults));
        say(starts_otherwise, "recurrent-init", Some(defaults.recurrent_init.into()));
        say(self.optimizer.optimizer.is_some(), "optimizer", defaults.optimizer.map(String::from));
        say(false, "lr", defaults.lr.map(|x| x.to_string()));
        say(self.clip.clip.is_some(), "clip", defaults.clip.map(|x| x.to_string()));
        say(false, "steps", defaults.steps.map(|n| n.to_string()));
        if !said.is_empty() {
            note(format_args!("Defaults of {task}: {}", said.join(" ")));
        }
    }
}

/// The weights of classes as a run keeps them: with the numbers of the file, which may change.
fn kept(weights: Option<ClassWeights>, opened: &OpenedData) -> Option<ClassWeights> {
    match (weights, &opened.class_weights) {
        (Some(ClassWeights::File(_)), Some(numbers)) => Some(ClassWeights::Given(numbers.clone())),
        (weights, _) => weights,
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
