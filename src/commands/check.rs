//! `retrospect check`: the proof on the user's own adapter.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use retrospect::check::{self, Outcome, Progress, Report, Scope};
use retrospect::{Error, Result};

use super::compute::ComputeArgs;
use super::ranks::RanksArgs;
use super::terminal::{is_quiet, print, print_json, table, thousands};

/// Proves the kernels right on this adapter: every kernel and variant, then whole training steps
#[derive(Args)]
pub struct Check {
    /// A part of it, in seconds
    #[arg(long)]
    quick: bool,

    /// Check also the variants for other kinds of adapter, except those whose workgroups wait for each other
    #[arg(long)]
    all_variants: bool,

    /// Only what has this in its name: a kernel, a variant, an activation or cell of a network
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,

    /// Under mpirun: check that several processes together compute the gradients of the reference
    #[arg(long, conflicts_with = "all_variants")]
    pub ranks: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    processes: RanksArgs,

    #[command(flatten)]
    compute: ComputeArgs,
}

impl Check {
    pub fn run(&self) -> Result<()> {
        let ranks = if self.ranks { Some(self.processes.join(&Arc::default())?) } else { None };
        let compute = match &ranks {
            Some(ranks) if ranks.collective.size() == 1 => {
                return Err(Error::Usage("--ranks is for several processes: mpirun -n 2 retrospect check --ranks".into()));
            }
            Some(ranks) => self.compute.choose_for(ranks.local)?,
            None => self.compute.choose_gpu()?,
        };
        let scope = Scope { quick: self.quick, all_variants: self.all_variants, only: self.only.as_deref() };
        let bar = if is_quiet() { ProgressBar::hidden() } else { ProgressBar::new(0) };
        let bar =
            bar.with_style(ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}").expect("a template without mistakes"));
        let mut show_progress = |Progress { done, of, next }: Progress| {
            bar.set_length(of as u64);
            bar.set_position(done as u64);
            bar.set_message(next.to_owned());
        };
        let report = match ranks {
            Some(ranks) => check::run_on_ranks(&compute, ranks.collective, scope, &mut show_progress),
            None => check::run(&compute, scope, &mut show_progress),
        };
        bar.finish_and_clear();
        let report = report?;
        if self.json {
            print_json(&report)?;
        } else {
            print(&show(&report))?;
        }
        let failed = report.failures().len();
        if failed > 0 { Err(Error::CheckFailed { failed, of: report.results.len() }) } else { Ok(()) }
    }
}

/// A row for each thing that was checked, with the worst of its cases, and the worst row first.
fn show(report: &Report) -> String {
    let (traps, checks): (Vec<&Outcome>, Vec<&Outcome>) = report.results.iter().partition(|o| o.name.starts_with("trap: "));
    let mut groups: BTreeMap<(&str, &str), Vec<&Outcome>> = BTreeMap::new();
    checks.iter().for_each(|o| groups.entry((&o.name, &o.variant)).or_default().push(o));
    let worst_of = |group: &Vec<&Outcome>| group.iter().map(|o| o.ratio).fold(0.0, f64::max);
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by(|a, b| worst_of(&b.1).total_cmp(&worst_of(&a.1)));
    let mut rows =
        vec![["", "name", "variant", "cases", "error", "bound", "of bound", "held to", "worst at"].map(String::from).to_vec()];
    for ((name, variant), group) in groups {
        let worst = group.iter().max_by(|a, b| a.ratio.total_cmp(&b.ratio)).expect("a case");
        let failed = group.iter().filter(|o| !o.passed).count();
        let exact = worst.ratio == 0.0;
        let number = |x: Option<f64>| if exact { "0".into() } else { x.map_or("not finite".into(), |x| format!("{x:.1e}")) };
        rows.push(vec![
            if failed == 0 { "ok".into() } else { format!("{failed} FAILED") },
            name.into(),
            variant.into(),
            group.len().to_string(),
            number(worst.error),
            number(worst.bound),
            format!("{:.2}", worst.ratio),
            if exact { "definition".into() } else { worst.oracle.into() },
            if exact { "everywhere".into() } else { worst.shape.clone() },
        ]);
    }
    let mut text = table(&rows);
    if !traps.is_empty() {
        text += "\nWhat this adapter makes of what gives wrong numbers on some:\n";
        let row = |o: &&Outcome| {
            let verdict = match (o.passed, o.oracle) {
                (false, _) => "FAILED",
                (true, "not relied on") => "",
                (true, _) => "ok",
            };
            let name = o.name.trim_start_matches("trap: ").to_owned();
            vec![verdict.to_owned(), name, o.note.clone().unwrap_or_default()]
        };
        let head = ["", "trap", "here"].map(String::from).to_vec();
        text += &table(&std::iter::once(head).chain(traps.iter().map(row)).collect::<Vec<_>>());
    }
    let failures = report.failures();
    for failure in failures.iter().take(20) {
        let note = failure.note.as_deref().unwrap_or_default();
        text += &format!("\n{} ({}): {note}\n", failure.name, failure.shape);
    }
    if failures.len() > 20 {
        text += &format!("\nand {} more; --json lists all\n", failures.len() - 20);
    }
    let cases = thousands(report.results.len() as u64);
    let on = if report.driver.is_empty() { report.adapter.clone() } else { format!("{} ({})", report.adapter, report.driver) };
    text + &match failures.len() {
        0 => format!("\n{cases} checks passed on {on}.\n"),
        n => format!("\n{n} of {cases} checks FAILED on {on}.\n"),
    }
}
