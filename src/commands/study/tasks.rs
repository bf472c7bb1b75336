//! `retrospect study tasks`.

use std::collections::BTreeSet;

use clap::Args;
use retrospect::cells::Cell;
use retrospect::data::{self, Options, Task};
use retrospect::model::RecurrentInit;
use retrospect::study::{Trained, Trainer};
use retrospect::{Activation, Result};

use super::training::{BudgetArgs, bar, csv, loss, step};
use super::{Output, positive};
use crate::commands::cell;
use crate::commands::compute::ComputeArgs;
use crate::commands::options::size;
use crate::commands::plot;
use crate::commands::sketch;
use crate::commands::terminal::table;

/// Every activation, or the cells, with every initial recurrent weight on the tasks, with the same budget, against guessing
#[derive(Args)]
pub struct Tasks {
    /// Tasks [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    task: Vec<String>,

    /// Cells; those of one gate with every activation
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "elman", value_parser = cell::named)]
    cell: Vec<&'static Cell>,

    /// The learning rate [default: the task's]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = positive)]
    lr: Option<f64>,

    /// What the tasks make their time steps from; of several each is trained, and the figure shows the scores against them [default: the task's]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = size())]
    window: Vec<usize>,

    #[command(flatten)]
    budget: BudgetArgs,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    compute: ComputeArgs,
}

impl Tasks {
    pub fn run(&self) -> Result<()> {
        let names: Vec<&str> = match self.task.is_empty() {
            true => data::ALL.iter().map(|task| task.name).collect(),
            false => self.task.iter().map(String::as_str).collect(),
        };
        // Each once, and windows as they grow.
        let tasks = names.into_iter().map(Task::named).collect::<Result<Vec<&'static Task>>>()?;
        let tasks = data::ALL.iter().filter(|task| tasks.iter().any(|named| named.name == task.name));
        let tasks: Vec<&'static Task> = tasks.collect();
        let windows: BTreeSet<usize> = self.window.iter().copied().collect();
        let windows: Vec<Option<usize>> = match windows.is_empty() {
            true => vec![None],
            false => windows.into_iter().map(Some).collect(),
        };
        let budgets =
            tasks.iter().flat_map(|&task| windows.iter().map(move |&window| (task, self.budget.for_task(task, window, 3000))));
        let budgets: Vec<_> = budgets.collect();
        // A window that a task has not is known before any training.
        for (task, budget) in &budgets {
            (task.source)(&Options { seed: budget.seed, batch: budget.batch, window: budget.window })?;
        }
        let compute = self.compute.choose()?;
        let inits = |cell: &'static Cell| RecurrentInit::ALL.into_iter().filter(|init| init.suits(cell));
        let kinds = self.cell.iter().flat_map(|&cell| {
            let activations = if cell.has_activation { &Activation::ALL[..] } else { &[Activation::Tanh] };
            activations.iter().map(move |&activation| (cell, activation))
        });
        let kinds: Vec<(&'static Cell, Activation)> = kinds.collect();
        let bar = bar(budgets.len() * kinds.iter().map(|(cell, _)| inits(cell).count()).sum::<usize>());
        let mut all = Vec::new();
        for (task, budget) in &budgets {
            let rate = self.lr.or(task.defaults.lr).unwrap_or(1e-3);
            for &(cell, activation) in &kinds {
                let mut trainer = Trainer::new(&compute, task, (cell, activation), budget)?;
                for init in inits(cell) {
                    all.push(step(&bar, trainer.train(init, rate))?);
                }
            }
        }
        bar.finish_and_clear();
        let csv = csv(&self.output, &all);
        let plot = self.output.plot(|path| plot::tasks(path, &all));
        self.output.print(&all, || show(&all), [csv, plot])
    }
}

/// The trainings of each network, one for each initial weight.
fn each_network(all: &[Trained]) -> impl Iterator<Item = &[Trained]> {
    all.chunk_by(|a, b| (a.task, a.window, a.cell, a.activation) == (b.task, b.window, b.cell, b.activation))
}

fn show(all: &[Trained]) -> String {
    let mut rows = vec![["task", "window", "guessing", "φ", "uniform", "orthogonal", "identity"].map(String::from).to_vec()];
    for of_one in each_network(all) {
        let Trained { task, window, guess, .. } = of_one[0];
        let mut row = vec![task.into(), window.to_string(), format!("{guess:.4}"), of_one[0].name()];
        row.extend(of_one.iter().map(|trained| match (trained.score, trained.diverged) {
            (Some(score), _) => format!("{}{}", loss(score, 4), if trained.learned() { " learnt" } else { "" }),
            (None, Some(step)) => format!("diverged at {step}"),
            (None, None) => "not finite".into(),
        }));
        row.resize(4 + RecurrentInit::ALL.len(), String::new());
        rows.push(row);
    }
    let mut sketches = String::new();
    if sketch::is_wanted() {
        sketches += "The losses on the way, a full bar for guessing:\n";
        for of_one in each_network(all) {
            let (Trained { task, window, .. }, name) = (&of_one[0], of_one[0].name());
            // Of fifty points the half: three of them have room beside each other.
            let curve =
                |t: &Trained| sketch::bars(&t.curve.iter().step_by(2).map(|(_, at)| Some(at / t.guess)).collect::<Vec<_>>());
            let curves: Vec<String> = of_one.iter().map(curve).collect();
            sketches += &format!("{task:14} {window:5} {name:9} {}\n", curves.join("  "));
        }
        sketches += "\n";
    }
    format!("{}\n{sketches}The loss on held-out sequences; learnt: below half of what guessing scores.\n", table(&rows))
}
