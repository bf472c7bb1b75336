//! `retrospect study`: what activations do, as tables and pictures.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use retrospect::data::{self, Task};
use retrospect::model::RecurrentInit;
use retrospect::study::{self, Budget, Curve, Flow, Setup, Trained, Trainer, Trend};
use retrospect::{Activation, Error, Result};

use super::compute::ComputeArgs;
use super::evaluate::load;
use super::options::{OptimizerChoice, activation, size};
use super::plot;
use super::terminal::{note, print, table};

/// Shows what activations are, and what they do to gradients on their way back through time
#[derive(Args)]
pub struct Study {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Activations(Activations),
    Gradients(Gradients),
    Rates(Rates),
    Tasks(Tasks),
}

impl Study {
    pub fn run(&self) -> Result<()> {
        match &self.what {
            What::Activations(study) => study.run(),
            What::Gradients(study) => study.run(),
            What::Rates(study) => study.run(),
            What::Tasks(study) => study.run(),
        }
    }
}

/// Each activation and its derivative over a range, computed as training does, and the facts beside them
#[derive(Args)]
struct Activations {
    /// From −X to X
    #[arg(long, value_name = "X", default_value_t = 6.0, allow_negative_numbers = true, value_parser = positive)]
    range: f64,

    /// Places at which they are evaluated
    #[arg(long, value_name = "N", default_value_t = 1201, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    points: u32,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    compute: ComputeArgs,
}

/// The norm of ∂L/∂h_t at every time step of a network, for a loss at the last step alone
#[derive(Args)]
struct Gradients {
    /// The network and the data of a run, in place of untrained networks
    #[arg(long, value_name = "RUN", conflicts_with_all = ["hidden", "input", "window", "seeds", "activation", "gain", "recurrent_init"])]
    run: Option<PathBuf>,

    /// Activations [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = activation)]
    activation: Vec<Activation>,

    /// Largest singular values that the recurrent weight is scaled to
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "0.5,1,1.5", allow_negative_numbers = true, value_parser = positive)]
    gain: Vec<f64>,

    /// Units
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = size())]
    hidden: usize,

    /// The size of an input vector
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = size())]
    input: usize,

    /// Time steps
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = size())]
    window: usize,

    /// Sequences
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = size())]
    batch: usize,

    /// Networks with weights of their own
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = size())]
    seeds: usize,

    /// What the recurrent weight is made from
    #[arg(long, value_name = "NAME", default_value = "orthogonal")]
    recurrent_init: RecurrentInit,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    compute: ComputeArgs,
}

/// A short training at each of many learning rates: the steepest, the largest safe one, and what they leave of the units
#[derive(Args)]
struct Rates {
    /// The task
    #[arg(long, value_name = "NAME", default_value = data::ALL[0].name)]
    task: String,

    /// φ [default: the task's]
    #[arg(long, value_name = "NAME", value_parser = activation)]
    activation: Option<Activation>,

    /// What the recurrent weight starts as [default: the task's]
    #[arg(long, value_name = "NAME")]
    recurrent_init: Option<RecurrentInit>,

    /// The smallest rate
    #[arg(long, value_name = "X", default_value_t = 1e-4, allow_negative_numbers = true, value_parser = positive)]
    from: f64,

    /// The largest
    #[arg(long, value_name = "X", default_value_t = 10.0, allow_negative_numbers = true, value_parser = positive)]
    to: f64,

    /// How many, evenly apart in their logarithms
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = size())]
    rates: usize,

    #[command(flatten)]
    budget: BudgetArgs,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    compute: ComputeArgs,
}

/// Every activation with every initial recurrent weight on the tasks, with the same budget, against guessing
#[derive(Args)]
struct Tasks {
    /// Tasks [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    task: Vec<String>,

    /// The learning rate [default: the task's]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = positive)]
    lr: Option<f64>,

    #[command(flatten)]
    budget: BudgetArgs,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    compute: ComputeArgs,
}

#[derive(Args)]
struct BudgetArgs {
    /// Units [default: the task's]
    #[arg(long, value_name = "N", value_parser = size())]
    hidden: Option<usize>,

    /// Sequences in a batch
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = size())]
    batch: usize,

    /// What the task makes its time steps from [default: the task's]
    #[arg(long, value_name = "N", value_parser = size())]
    window: Option<usize>,

    /// Training steps of each [default: 200 for rates, 3000 for tasks]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,

    /// How gradients become updates [default: sgd for rates, adam for tasks]
    #[arg(long, value_name = "NAME")]
    optimizer: Option<OptimizerChoice>,

    /// What all random numbers follow from
    #[arg(long, value_name = "N", default_value_t = 57, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: u64,
}

#[derive(Args)]
struct Output {
    /// Draw it as SVG
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,

    /// Write all numbers as CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,

    /// Print all numbers as JSON
    #[arg(long)]
    json: bool,
}

impl Activations {
    fn run(&self) -> Result<()> {
        let compute = self.compute.choose()?;
        let range = [-self.range as f32, self.range as f32];
        let curves = Activation::ALL.map(|activation| study::curve(&compute, activation, range, self.points as usize));
        let curves: Vec<Curve> = curves.into_iter().collect::<Result<_>>()?;
        if let Some(path) = &self.output.csv {
            let rows = curves.iter().flat_map(|curve| {
                let all = curve.inputs.iter().zip(&curve.values).zip(&curve.derivatives);
                all.map(|((x, value), derivative)| format!("{},{x},{value},{derivative}", curve.activation.name()))
            });
            csv(path, "activation,input,value,derivative", rows)?;
        }
        if let Some(path) = &self.output.plot {
            plot::activations(path, &curves)?;
            note(format_args!("Plot: {}", path.display()));
        }
        if self.output.json {
            return print(&format!("{}\n", serde_json::to_string_pretty(&curves).expect("numbers")));
        }
        let heading = ["φ", "values", "derivatives", "mean", "flat", "error, ULP"];
        let mut rows = vec![heading.map(String::from).to_vec()];
        for curve in &curves {
            let range = |[low, high]: [f32; 2]| format!("{low:.4} to {high:.4}");
            rows.push(vec![
                curve.activation.name().into(),
                range(curve.value_range),
                range(curve.derivative_range),
                // Not −0.
                format!("{:.4}", (curve.mean * 1e4).round() / 1e4 + 0.0),
                format!("{:.2} %", curve.saturated * 100.0),
                format!("{:.2}", curve.error_ulp),
            ]);
        }
        print(&format!(
            "From {} to {}.\n\n{}\nmean: of φ over standard normal inputs; an output that is not centred on 0 shifts the sums of the next step.\n\
             flat: the share of such inputs with a derivative below 0.01, which pass on next to nothing.\n\
             error: the largest difference of the computed values from f64.\n",
            range[0],
            range[1],
            table(&rows)
        ))
    }
}

impl Gradients {
    fn run(&self) -> Result<()> {
        let flows = match &self.run {
            Some(run) => vec![self.of_run(run)?],
            None => self.untrained()?,
        };
        if let Some(path) = &self.output.csv {
            let rows = flows.iter().flat_map(|flow| {
                flow.norms.iter().zip(&flow.saturated).enumerate().map(|(back, (norm, flat))| {
                    let name = flow.activation.name();
                    format!("{name},{:.6},{back},{:e},{:e},{:e},{flat}", flow.gain, norm.mean, norm.low, norm.high)
                })
            });
            csv(path, "activation,gain,steps_back,norm_mean,norm_low,norm_high,flat_share", rows)?;
        }
        if let Some(path) = &self.output.plot {
            plot::gradients(path, &flows)?;
            note(format_args!("Plot: {}", path.display()));
        }
        if self.output.json {
            return print(&format!("{}\n", serde_json::to_string_pretty(&flows).expect("numbers")));
        }
        print(&show(&flows))
    }

    fn untrained(&self) -> Result<Vec<Flow>> {
        let compute = self.compute.choose()?;
        let setup = Setup {
            hidden: self.hidden,
            input: self.input,
            window: self.window,
            batch: self.batch,
            seeds: self.seeds as u64,
            init: self.recurrent_init,
        };
        let activations = if self.activation.is_empty() { Activation::ALL.to_vec() } else { self.activation.clone() };
        let all = self.gain.iter().flat_map(|&gain| activations.iter().map(move |&activation| (gain, activation)));
        all.map(|(gain, activation)| study::flow(&compute, &setup, activation, gain)).collect()
    }

    /// The network of a run, on its first held-out batch, or else its first batch.
    fn of_run(&self, run: &Path) -> Result<Flow> {
        let (checkpoint, _) = load(run)?;
        let compute = self.compute.choose()?;
        let mut source = checkpoint.origin.settings.open()?.source;
        let batch = if source.held_out_batches() > 0 { source.held_out(0) } else { source.batch(0) };
        study::flow_of(&compute, &checkpoint.origin.settings.network, &checkpoint.parameters, &batch)
    }
}

impl BudgetArgs {
    fn of(&self, task: &Task, steps: u64, optimizer: OptimizerChoice, clip: Option<f32>) -> Budget {
        Budget {
            hidden: self.hidden.unwrap_or(task.defaults.hidden),
            batch: self.batch,
            window: self.window.unwrap_or(task.defaults.window),
            steps: self.steps.unwrap_or(steps),
            optimizer: self.optimizer.unwrap_or(optimizer).with(0.9),
            clip,
            seed: self.seed,
        }
    }
}

impl Rates {
    fn run(&self) -> Result<()> {
        let task = Task::named(&self.task)?;
        let rates = study::rates(self.from, self.to, self.rates)?;
        let budget = self.budget.of(task, 200, OptimizerChoice::Sgd, None);
        let activation = self.activation.or_else(|| Activation::named(task.defaults.activation)).unwrap_or(Activation::Tanh);
        let init = self.recurrent_init.unwrap_or_else(|| init_of(task));
        let compute = self.compute.choose()?;
        let mut trainer = Trainer::new(&compute, task, activation, &budget)?;
        let bar = bar(rates.len());
        let all: Vec<Trained> = rates.into_iter().map(|rate| step(&bar, trainer.train(init, rate))).collect::<Result<_>>()?;
        bar.finish_and_clear();
        let advice = study::advice(&all);
        self.output.trained(&all)?;
        if let Some(path) = &self.output.plot {
            plot::rates(path, &all, &advice)?;
            note(format_args!("Plot: {}", path.display()));
        }
        if self.output.json {
            let report = serde_json::json!({ "trained": all, "advice": advice });
            return print(&format!("{report:#}\n"));
        }
        let mut rows = vec![["rate", "loss", "held out", "dead units", ""].map(String::from).to_vec()];
        for trained in &all {
            rows.push(vec![
                format!("{:.2e}", trained.rate),
                trained.curve.last().map_or(String::new(), |(_, loss)| format!("{loss:.5}")),
                trained.score.map_or(String::new(), |score| format!("{score:.5}")),
                format!("{:.0} %", trained.dead * 100.0),
                trained.diverged.map_or(String::new(), |step| format!("diverged at step {step}")),
            ]);
        }
        let said = |rate: Option<f64>| rate.map_or("none".into(), |rate| format!("{rate:.2e}"));
        print(&format!(
            "{}, {} with {} weights, {} steps; guessing scores {:.4}.\n\n{}\nSteepest: {}. Largest safe: {}, below the first that diverged or ended worse than it began.\n",
            task.name,
            activation.name(),
            init.name(),
            budget.steps,
            (task.guess)(budget.window),
            table(&rows),
            said(advice.steepest),
            said(advice.largest_safe)
        ))
    }
}

impl Tasks {
    fn run(&self) -> Result<()> {
        let names: Vec<&str> = match self.task.is_empty() {
            true => data::ALL.iter().map(|task| task.name).collect(),
            false => self.task.iter().map(String::as_str).collect(),
        };
        let tasks: Vec<&'static Task> = names.into_iter().map(Task::named).collect::<Result<_>>()?;
        let compute = self.compute.choose()?;
        let bar = bar(tasks.len() * Activation::ALL.len() * RecurrentInit::ALL.len());
        let mut all = Vec::new();
        for &task in &tasks {
            let budget = self.budget.of(task, 3000, OptimizerChoice::Adam, task.defaults.clip.map(|clip| clip as f32));
            let rate = self.lr.or(task.defaults.lr).unwrap_or(1e-3);
            for activation in Activation::ALL {
                let mut trainer = Trainer::new(&compute, task, activation, &budget)?;
                for init in RecurrentInit::ALL {
                    all.push(step(&bar, trainer.train(init, rate))?);
                }
            }
        }
        bar.finish_and_clear();
        self.output.trained(&all)?;
        if let Some(path) = &self.output.plot {
            plot::tasks(path, &all)?;
            note(format_args!("Plot: {}", path.display()));
        }
        if self.output.json {
            return print(&format!("{}\n", serde_json::to_string_pretty(&all).expect("numbers")));
        }
        let mut rows = vec![["task", "guessing", "φ", "uniform", "orthogonal", "identity"].map(String::from).to_vec()];
        for of_one in all.chunks(RecurrentInit::ALL.len()) {
            let mut row = vec![of_one[0].task.into(), format!("{:.4}", of_one[0].guess), of_one[0].activation.name().into()];
            row.extend(of_one.iter().map(|trained| match (trained.score, trained.diverged) {
                (Some(score), _) => format!("{score:.4}{}", if trained.learned() { " learnt" } else { "" }),
                (None, Some(step)) => format!("diverged at {step}"),
                (None, None) => "not finite".into(),
            }));
            rows.push(row);
        }
        print(&format!("{}\nThe loss on held-out sequences; learnt: below half of what guessing scores.\n", table(&rows)))
    }
}

fn init_of(task: &Task) -> RecurrentInit {
    RecurrentInit::ALL.into_iter().find(|init| init.name() == task.defaults.recurrent_init).unwrap_or_default()
}

fn bar(count: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {eta} left").expect("a template without mistakes");
    let bar = ProgressBar::new(count as u64).with_style(style);
    bar.tick();
    bar
}

fn step<T>(bar: &ProgressBar, done: T) -> T {
    bar.inc(1);
    done
}

impl Output {
    /// The curves of trainings as CSV, where that was asked for.
    fn trained(&self, all: &[Trained]) -> Result<()> {
        let Some(path) = &self.csv else { return Ok(()) };
        let rows = all.iter().flat_map(|t| {
            let head = format!("{},{},{},{:e}", t.task, t.activation.name(), t.init.name(), t.rate);
            t.curve.iter().map(move |(step, loss)| format!("{head},{step},{loss:e}"))
        });
        csv(path, "task,activation,recurrent_init,rate,step,loss", rows)
    }
}

fn show(flows: &[Flow]) -> String {
    let heading =
        ["φ", "‖W‖", "least", "a step", "at most", "÷ 1000 after", "× 1000 after", "flat", "dead", "", "f32 ran out after"];
    let mut rows = vec![heading.map(String::from).to_vec()];
    for flow in flows {
        let steps = |steps: Option<usize>| steps.map_or(String::new(), |n| n.to_string());
        let flat = flow.saturated.iter().sum::<f64>() / flow.saturated.len().max(1) as f64;
        let trend = match flow.trend {
            Trend::Vanishing => "vanishing",
            Trend::Stable => "stable",
            Trend::Exploding => "exploding",
        };
        rows.push(vec![
            flow.activation.name().into(),
            format!("{:.3}", flow.gain),
            format!("{:.3}", flow.smallest),
            format!("× {:.4}", flow.rate),
            format!("× {:.4}", flow.bound),
            steps(flow.vanished_after),
            steps(flow.exploded_after),
            format!("{:.1} %", flow.saturated.first().map_or(0.0, |_| flat * 100.0)),
            format!("{:.1} %", flow.dead * 100.0),
            trend.into(),
            steps(flow.out_of_range),
        ]);
    }
    let mut text = table(&rows);
    text += "\n‖W‖ and least: the recurrent weight's largest and smallest singular values. a step: the factor by which ‖∂L/∂h‖ changes with each\n\
             step back, fitted; at most: γ·‖W‖. flat: units with a derivative below 0.01; dead: those that are so at every step of every sequence.\n\n";
    if std::io::stdout().is_terminal() {
        text += "From the last step (left) back to the first; a bar is a factor of a thousand, a dot beyond f32:\n";
        for flow in flows {
            text += &format!("{:9}{:7.3}  {}\n", flow.activation.name(), flow.gain, sketch(flow, 21.0));
        }
        text += "\n";
    }
    for flow in flows {
        text += &format!("{}\n", verdict(flow));
    }
    text
}

/// The logarithms of the norms as a line of bars, the last step's on the left; the highest and the lowest bar are `decades` apart.
fn sketch(flow: &Flow, decades: f64) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const COLUMNS: usize = 40;
    let known = &flow.norms[..flow.out_of_range.unwrap_or(flow.norms.len())];
    let columns = COLUMNS.min(flow.norms.len());
    let at = |column: usize| flow.norms.len() * column / columns;
    let highest = known.iter().map(|n| n.mean).fold(0.0, f64::max);
    let bar = |norm: f64| {
        let share = 1.0 + (norm / highest).log10() / decades;
        BARS[(share.clamp(0.0, 1.0) * (BARS.len() - 1) as f64).round() as usize]
    };
    (0..columns).map(|column| known.get(at(column)).map_or('·', |norm| bar(norm.mean))).collect()
}

/// What a flow means, and what to change.
fn verdict(flow: &Flow) -> String {
    let name = format!("{}, ‖W‖ = {:.3}", flow.activation.name(), flow.gain);
    let after = |steps: Option<usize>, what: &str| steps.map_or(String::new(), |n| format!(" ({what} after {n} steps)"));
    match flow.trend {
        Trend::Vanishing => {
            let change = match flow.activation {
                Activation::Sigmoid => {
                    "tanh, or ReLU with an identity weight: σ′ is at most a quarter, so that ‖W‖ would have to be above 4"
                }
                Activation::Relu if flow.dead > 0.2 => "a smaller rate or smaller weights: many units are dead",
                _ => "a larger recurrent weight (orthogonal, ‖W‖ = 1 or a little above)",
            };
            format!(
                "{name}: vanishing{}; what is further back is not learnt. To change: {change}.",
                after(flow.vanished_after, "a thousandth is left")
            )
        }
        Trend::Stable => format!("{name}: stable; what is {} steps back still counts.", flow.norms.len().saturating_sub(1)),
        Trend::Exploding => format!(
            "{name}: exploding{}. To change: --clip, or a smaller recurrent weight (orthogonal, or ‖W‖ nearer to {:.2}).",
            after(flow.exploded_after, "a thousand times as large"),
            flow.gain / flow.rate
        ),
    }
}

fn csv(path: &Path, heading: &str, rows: impl Iterator<Item = String>) -> Result<()> {
    let text = std::iter::once(heading.to_owned()).chain(rows).collect::<Vec<_>>().join("\n") + "\n";
    std::fs::write(path, text).map_err(|source| Error::Io { path: path.into(), source })?;
    note(format_args!("Numbers: {}", path.display()));
    Ok(())
}

fn positive(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x.is_finite() && x > 0.0 => Ok(x),
        Ok(x) => Err(format!("{x} is not a positive number")),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use retrospect::network::Compute;

    #[test]
    fn a_sketch_falls_and_ends_where_f32_does() {
        let setup = Setup { hidden: 8, input: 2, window: 120, batch: 1, seeds: 1, init: RecurrentInit::Orthogonal };
        let of =
            |activation, gain| sketch(&study::flow(&Compute::Cpu(Some(1)), &setup, activation, gain).expect("it runs"), 21.0);
        assert_eq!(of(Activation::Identity, 1.0), "█".repeat(40));
        let sigmoid: Vec<char> = of(Activation::Sigmoid, 1.0).chars().collect();
        assert!(sigmoid[0] == '█' && sigmoid[39] == '·' && sigmoid.len() == 40, "{sigmoid:?}");
        assert!(sigmoid.windows(2).all(|pair| pair[0] >= pair[1] || pair[1] == '·'), "{sigmoid:?}");
    }
}
