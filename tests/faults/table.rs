//! What became of the faults, a line for each kind.

use std::fmt;

use super::plan::Fault;
use super::trial::Outcome;

/// Sums over all faults of a kind.
#[derive(Debug, Default, serde::Serialize)]
struct Row {
    kind: String,
    /// Faults that were met.
    count: usize,
    /// Those whose call did not come.
    not_met: usize,
    /// The most training steps that had to be taken again.
    lost_work: u64,
    panics: usize,
    signals: usize,
    hangs: usize,
    wrong: usize,
}

#[derive(Debug, Default)]
pub struct Table(Vec<Row>);

impl Table {
    pub fn add(&mut self, fault: &Fault, outcome: &Outcome) {
        if !self.0.iter().any(|row| row.kind == fault.kind) {
            self.0.push(Row { kind: fault.kind.clone(), ..Row::default() });
        }
        let row = self.0.iter_mut().find(|row| row.kind == fault.kind).expect("it is there now");
        *(if outcome.is_struck { &mut row.count } else { &mut row.not_met }) += 1;
        row.lost_work = row.lost_work.max(outcome.lost_work);
        row.panics += usize::from(outcome.panicked);
        row.signals += usize::from(outcome.got_signal);
        row.hangs += usize::from(outcome.hung);
        row.wrong += usize::from(outcome.is_wrong());
    }

    /// Faults that were met.
    pub fn struck(&self) -> usize {
        self.0.iter().map(|row| row.count).sum()
    }

    pub fn is_clean(&self) -> bool {
        self.0.iter().all(|row| row.panics + row.signals + row.hangs + row.wrong == 0)
    }

    /// With the adapter that the faults of the GPU were on.
    pub fn json(&self, adapter: &str) -> String {
        serde_json::json!({ "adapter": adapter, "kinds": self.0 }).to_string()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| kind | faults | lost work, steps | panics | signals | hangs | wrong |")?;
        writeln!(f, "|---|---|---|---|---|---|---|")?;
        for row in &self.0 {
            let Row { kind, count, not_met: _, lost_work, panics, signals, hangs, wrong } = row;
            writeln!(f, "| {kind} | {count} | {lost_work} | {panics} | {signals} | {hangs} | {wrong} |")?;
        }
        let not_met: usize = self.0.iter().map(|row| row.not_met).sum();
        write!(f, "{} faults; {not_met} more were not met, since their call did not come.", self.struck())
    }
}
