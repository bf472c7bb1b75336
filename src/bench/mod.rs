//! How fast training steps are, CPU and GPU in turn in one run, next to what the machine can do at most.

mod ceilings;
mod contender;
mod crossover;
mod products;
mod ranks;
mod report;

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::time::Instant;

pub use ceilings::Ceilings;
pub use contender::Contender;
pub use crossover::Crossover;
pub use products::{Product, Products, Timed};
pub use ranks::{Scaling, ScalingRow, run_on_ranks};
pub use report::{KernelTime, Measured, Report, Row};

use crate::backend::Compute;
use crate::backend::Span;
use crate::batch::{Batch, Input, Inputs, Loss, Targets};
use crate::cells::Cell;
use crate::model::{Config, Model, Optimizer, RecurrentInit};
use crate::network::Network;
use crate::program::Program;
use crate::random::Random;
use crate::tune::median;
use crate::{Error, Result};

/// The sizes of a benchmark: every one of `hidden` with every one of `batch` and so on.
pub struct Sweep<'a> {
    /// The cell of the layers.
    pub cell: &'static Cell,
    /// Whether they run in both directions.
    pub bidirectional: bool,
    /// Hidden sizes, H.
    pub hidden: Vec<usize>,
    /// Batch sizes, B.
    pub batch: Vec<usize>,
    /// Steps of a window, T.
    pub window: Vec<usize>,
    /// Layers.
    pub layers: Vec<usize>,
    /// The size of an input vector.
    pub input: usize,
    /// The number of outputs.
    pub output: usize,
    /// [`Config::dropout`].
    pub dropout: f64,
    /// [`Config::output_dropout`].
    pub output_dropout: f64,
    /// [`Config::recompute`] of a window of so many steps.
    pub recompute: &'a dyn Fn(usize) -> Option<usize>,
    /// Runs of each, of which the median counts.
    pub runs: usize,
}

/// What a run lasts at least, in seconds, so that a clock and a submission weigh little.
const RUN: f64 = 0.1;
/// Steps that are recorded for the times of kernels.
const RECORDED: usize = 3;

impl Sweep<'_> {
    /// The configurations: a network of vectors, with tanh where there is a φ, squared error, gradient descent.
    #[must_use]
    pub fn configurations(&self) -> Vec<Config> {
        let mut all = Vec::new();
        for &layers in &self.layers {
            for &window in &self.window {
                for &batch in &self.batch {
                    for &hidden in &self.hidden {
                        let input = Input::Vectors(self.input);
                        let base = Config::new(input, hidden, self.output, Loss::SquaredError, batch, window);
                        all.push(Config {
                            cell: self.cell,
                            bidirectional: self.bidirectional,
                            layers,
                            optimizer: Optimizer::Sgd,
                            dropout: self.dropout,
                            output_dropout: self.output_dropout,
                            recompute: (self.recompute)(window),
                            ..base
                        });
                    }
                }
            }
        }
        all
    }
}

/// The spans of a recorded configuration.
#[derive(Debug)]
pub struct Recorded<'a> {
    /// What ran.
    pub row: &'a Row,
    /// Its program.
    pub model: &'a Model,
    /// The variant of each step.
    pub variants: Vec<Option<&'static str>>,
    /// When each step ran.
    pub spans: &'a [Span],
}

/// Times every configuration and every product on every contender. What does not fit is a row that says so. `prepare` may choose
/// variants for a program before it is loaded, `hear` is told what comes next, and `record` what was recorded.
///
/// # Errors
/// What the backends report, besides that something does not fit.
pub fn run(
    sweep: &Sweep,
    products: &Products,
    contenders: &[Compute],
    prepare: &mut dyn FnMut(&mut Compute, &Program) -> Result<()>,
    hear: &mut dyn FnMut(&str),
    record: &mut dyn FnMut(Recorded) -> Result<()>,
) -> Result<Report> {
    hear("the machine's ceilings");
    let mut contenders: Vec<Contender> = contenders.iter().map(Contender::new).collect::<Result<_>>()?;
    let mut rows = Vec::new();
    for config in sweep.configurations() {
        let Config { layers, hidden, batch, window, .. } = config;
        hear(&format!("{layers} × {hidden}, B={batch}, T={window}"));
        rows.extend(configuration(&config, sweep.runs, &contenders, prepare, record)?);
    }
    let products = products::run(products, &contenders, prepare, hear)?;
    for contender in &mut contenders {
        contender.raise(&rows, &products)?;
    }
    Ok(Report::new(contenders, rows, products))
}

/// A network that is being timed.
struct Runner<'a> {
    contender: &'a Contender,
    network: Network,
    /// Steps of a run.
    steps: usize,
    /// Seconds of a step, for each run.
    seconds: Vec<f64>,
    /// Seconds for recording a step's dispatches, for each run.
    recording: Vec<f64>,
    /// What is timed.
    variants: BTreeMap<String, String>,
}

impl<'a> Runner<'a> {
    /// Warmed up: shaders are compiled at their first dispatch, and memory is there from its first use on.
    /// `batch` is asked for once the network fits.
    fn new(
        contender: &'a Contender,
        config: &Config,
        batch: &impl Deref<Target = Batch>,
        prepare: &mut dyn FnMut(&mut Compute, &Program) -> Result<()>,
    ) -> Result<Runner<'a>> {
        let mut compute = contender.compute().clone();
        prepare(&mut compute, Model::new(config)?.program())?;
        let mut network = Network::new(config, &compute)?;
        network.initialise(1, RecurrentInit::Uniform)?;
        network.train_step(batch, RATE)?;
        network.backend().wait()?;
        let variants = network.variants();
        let mut runner = Runner { contender, network, steps: 1, seconds: Vec::new(), recording: Vec::new(), variants };
        runner.go()?;
        let once = runner.go()?;
        runner.steps = (RUN / once).clamp(1.0, 1000.0) as usize;
        Ok(runner)
    }

    /// The seconds of a step of a run.
    fn go(&mut self) -> Result<f64> {
        let start = Instant::now();
        (0..self.steps).try_for_each(|_| self.network.train_again(RATE))?;
        self.network.backend().wait()?;
        Ok(start.elapsed().as_secs_f64() / self.steps as f64)
    }

    /// A run that counts.
    fn measure(&mut self) -> Result<()> {
        // While the others ran it was idle.
        self.contender.warm(|| self.network.train_again(RATE).and_then(|()| self.network.backend().wait()))?;
        let before = self.network.backend().recording_time();
        let seconds = self.go()?;
        self.seconds.push(seconds);
        let recording = self.network.backend().recording_time() - before;
        self.recording.push(recording.as_secs_f64() / self.steps as f64);
        Ok(())
    }

    fn row(mut self, config: &Config, record: &mut dyn FnMut(Recorded) -> Result<()>) -> Result<Row> {
        self.contender.warm(|| self.network.train_again(RATE).and_then(|()| self.network.backend().wait()))?;
        self.network.backend().record(true)?;
        (0..RECORDED).try_for_each(|_| self.network.train_again(RATE))?;
        let spans = self.network.backend().spans()?;
        let indices = 0..self.network.model().program().len();
        if self.network.variants() != self.variants {
            // Of the device, whose workgroups have waited for each other in vain: what was timed before is worth nothing.
            let message = "workgroups timed out waiting for each other, so other variants ran".into();
            return Err(Error::Device { what: "a measurement".into(), message });
        }
        let variants: Vec<Option<&'static str>> = indices.map(|i| self.network.backend().variant(i)).collect();
        let steps = self.network.model().forward.start..self.network.model().carry.end;
        let dispatches = steps.map(|i| self.network.backend().dispatches(i)).sum();
        let measured = Measured::new(
            self.seconds,
            median(self.recording),
            &spans,
            RECORDED,
            self.network.model(),
            &variants,
            self.contender,
            dispatches,
        );
        let row = Row::new(self.contender, config, measured);
        record(Recorded { row: &row, model: self.network.model(), variants, spans: &spans })?;
        Ok(row)
    }
}

/// Small enough that repeated steps on one batch change little.
const RATE: f64 = 1e-5;

fn configuration(
    config: &Config,
    runs: usize,
    contenders: &[Contender],
    prepare: &mut dyn FnMut(&mut Compute, &Program) -> Result<()>,
    record: &mut dyn FnMut(Recorded) -> Result<()>,
) -> Result<Vec<Row>> {
    let batch = LazyCell::new(|| random_batch(config));
    let mut rows = Vec::new();
    let mut runners = Vec::new();
    for contender in contenders {
        match Runner::new(contender, config, &batch, prepare) {
            Ok(runner) => runners.push(runner),
            Err(error @ Error::DoesNotFit { .. }) => rows.push(Row::too_large(contender, config, error)),
            Err(error) => return Err(error),
        }
    }
    // In turn, so that what else the machine does hits all of them.
    for _ in 0..runs {
        for runner in &mut runners {
            runner.measure()?;
        }
    }
    for runner in runners {
        rows.push(runner.row(config, record)?);
    }
    Ok(rows)
}

fn random_batch(config: &Config) -> Batch {
    let mut random = Random::new(1, 2);
    let mut array =
        |cols: usize| ndarray::Array3::from_shape_simple_fn((config.window, config.batch, cols), || random.uniform_in(-1.0, 1.0));
    let Input::Vectors(inputs) = config.input else { unreachable!("a sweep is over vectors") };
    Batch::new(Inputs::Vectors(array(inputs)), Targets::Values(array(config.outputs)))
}
