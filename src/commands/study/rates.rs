//! `retrospect study rates`.

use clap::Args;
use retrospect::data::{self, Task};
use retrospect::model::RecurrentInit;
use retrospect::study::{self, Advice, Trained, Trainer};
use retrospect::{Activation, Result};
use serde_json::json;

use super::training::{BudgetArgs, bar, csv, loss, step};
use super::{Output, positive};
use crate::commands::cell::about_activation;
use crate::commands::compute::ComputeArgs;
use crate::commands::options::{activation, init_of, size};
use crate::commands::plot;
use crate::commands::sketch;
use crate::commands::terminal::table;

/// A short training at each of many learning rates: the steepest, the largest safe one, and what they leave of the units
#[derive(Args)]
pub struct Rates {
    /// The task
    #[arg(long, value_name = "NAME", default_value = data::ALL[0].name)]
    task: String,

    #[arg(long, value_name = "NAME", value_parser = activation, help = about_activation("the task's"))]
    activation: Option<Activation>,

    /// What the recurrent weight starts as [default: the task's]
    #[arg(long, value_name = "NAME")]
    recurrent_init: Option<RecurrentInit>,

    /// The smallest rate [default: 1e-5 with adam, else 1e-4]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = positive)]
    from: Option<f64>,

    /// The largest [default: 1 with adam, else 10]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = positive)]
    to: Option<f64>,

    /// How many, evenly apart in their logarithms
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = size())]
    rates: usize,

    /// What the task makes its time steps from [default: the task's]
    #[arg(long, value_name = "N", value_parser = size())]
    window: Option<usize>,

    #[command(flatten)]
    budget: BudgetArgs,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    compute: ComputeArgs,
}

impl Rates {
    pub fn run(&self) -> Result<()> {
        let task = Task::named(&self.task)?;
        let [from, to] = if self.budget.optimizer(task).scales() { [1e-5, 1.0] } else { [1e-4, 10.0] };
        let rates = study::rates(self.from.unwrap_or(from), self.to.unwrap_or(to), self.rates)?;
        let budget = self.budget.for_task(task, self.window, 200);
        let activation = self.activation.or_else(|| Activation::named(task.defaults.activation)).unwrap_or(Activation::Tanh);
        let init = self.recurrent_init.unwrap_or_else(|| init_of(&task.defaults));
        let compute = self.compute.choose()?;
        let mut trainer = Trainer::new(&compute, task, (retrospect::cells::Cell::usual(), activation), &budget)?;
        let bar = bar(rates.len());
        let all: Vec<Trained> = rates.into_iter().map(|rate| step(&bar, trainer.train(init, rate))).collect::<Result<_>>()?;
        bar.finish_and_clear();
        let advice = study::advice(&all);
        let csv = csv(&self.output, &all);
        let plot = self.output.plot(|path| plot::rates(path, &all, &advice));
        let head = format!(
            "{}, {} with {} weights, {} steps; guessing scores {:.4}.",
            task.name,
            activation.name(),
            init.name(),
            budget.steps,
            (task.guess)(budget.window)
        );
        let report = json!({ "trained": all, "advice": advice });
        self.output.print(&report, || format!("{head}\n\n{}", show(&all, &advice)), [csv, plot])
    }
}

fn show(all: &[Trained], advice: &Advice) -> String {
    let mut rows = vec![["rate", "loss", "held out", "dead units", ""].map(String::from).to_vec()];
    for trained in all {
        rows.push(vec![
            format!("{:.2e}", trained.rate),
            trained.curve.last().map_or(String::new(), |(_, end)| loss(*end, 5)),
            trained.score.map_or(String::new(), |score| loss(score, 5)),
            trained.dead.map_or(String::new(), |dead| format!("{:.0} %", dead * 100.0)),
            trained.diverged.map_or(String::new(), |step| format!("diverged at step {step}")),
        ]);
    }
    let mut sketches = String::new();
    if sketch::is_wanted() {
        let dead: Vec<_> = all.iter().map(|t| t.dead).collect();
        let losses: Vec<_> = all.iter().map(|t| t.score.map(f64::ln)).collect();
        sketches = format!("loss  {}  (a dot: diverged)\ndead  {}\n\n", sketch::spread(&losses), sketch::bars(&dead));
    }
    let said = |rate: Option<f64>| rate.map_or("none".into(), |rate| format!("{rate:.2e}"));
    format!(
        "{}\n{sketches}Steepest: {}. Largest safe: {}.\n\
         Steepest: the least loss on held-out sequences. Safe: below the first rate that diverged, ended worse than it began, killed\n\
         a fifth of the units, or learnt nothing and left more than twice the loss of a smaller one.\n",
        table(&rows),
        said(advice.steepest),
        said(advice.largest_safe)
    )
}
