//! What `retrospect study rates` and `tasks` have in common: many short trainings.

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use retrospect::Result;
use retrospect::data::Task;
use retrospect::study::{Budget, Trained};

use super::Output;
use crate::commands::options::{Clip, OptimizerChoice, clip, size};

#[derive(Args)]
pub struct BudgetArgs {
    /// Units [default: the task's]
    #[arg(long, value_name = "N", value_parser = size())]
    hidden: Option<usize>,

    /// Sequences in a batch
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = size())]
    batch: usize,

    /// Training steps of each [default: 200 for rates, 3000 for tasks]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,

    /// How gradients become updates [default: the task's]
    #[arg(long, value_name = "NAME")]
    optimizer: Option<OptimizerChoice>,

    /// Clip the gradient's norm to this, or none [default: the task's]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = clip)]
    clip: Option<Clip>,

    /// Random seed
    #[arg(long, value_name = "N", default_value_t = 57, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: u64,
}

impl BudgetArgs {
    /// How gradients become updates.
    pub fn optimizer(&self, task: &Task) -> OptimizerChoice {
        self.optimizer.unwrap_or_else(|| OptimizerChoice::usual_for(&task.defaults))
    }

    /// What is trained on a task: of so many steps if no other number was asked for.
    pub fn for_task(&self, task: &Task, window: Option<usize>, steps: u64) -> Budget {
        Budget {
            hidden: self.hidden.unwrap_or(task.defaults.hidden),
            batch: self.batch,
            window: window.unwrap_or(task.defaults.window),
            steps: self.steps.unwrap_or(steps),
            optimizer: self.optimizer(task).usual(),
            clip: self.clip.map_or(task.defaults.clip.map(|clip| clip as f32), |Clip(clip)| clip),
            seed: self.seed,
        }
    }
}

/// The curves as CSV, where that was asked for.
pub fn csv(output: &Output, all: &[Trained]) -> Result<()> {
    let rows = all.iter().flat_map(|t| {
        let head = format!("{},{},{},{},{:e}", t.task, t.window, t.name().replace(", ", " "), t.init.name(), t.rate);
        let said = |x: Option<f64>| x.map_or(String::new(), |x| format!("{x:e}"));
        let diverged = t.diverged.map_or(String::new(), |step| step.to_string());
        let end = format!("{},{:e},{},{diverged}", said(t.score), t.guess, said(t.dead));
        t.curve.iter().map(move |(step, loss)| format!("{head},{step},{loss:e},{end}"))
    });
    output.csv("task,window,activation,recurrent_init,rate,step,loss,score,guess,dead,diverged_at", rows)
}

/// A loss with so many decimals, unless it is out of all proportion.
pub fn loss(x: f64, decimals: usize) -> String {
    if x < 1e4 { format!("{x:.decimals$}") } else { format!("{x:.1e}") }
}

/// How many are done of `count`.
pub fn bar(count: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {eta} left").expect("a template without mistakes");
    let bar = ProgressBar::new(count as u64).with_style(style);
    bar.tick();
    bar
}

/// One more is done.
pub fn step<T>(bar: &ProgressBar, done: T) -> T {
    bar.inc(1);
    done
}
