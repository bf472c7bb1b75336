//! `retrospect bench --ranks`: how fast several processes train together.

use std::sync::Arc;

use retrospect::Result;
use retrospect::bench::{self, Scaling, Sweep};

use super::Bench;
use crate::commands::terminal::{note, print, print_json, table, thousands};

impl Bench {
    pub(super) fn run_on_ranks(&self, sweep: &Sweep) -> Result<()> {
        let ranks = self.processes.join(&Arc::default())?;
        let mut compute = self.compute.choose_for(ranks.local)?;
        for config in sweep.configurations() {
            self.tune.prepare_network(&mut compute, &ranks.share_of(&config))?;
        }
        let scaling = bench::run_on_ranks(sweep, &compute, ranks.collective, &mut |next| note(next))?;
        if self.json { print_json(&scaling) } else { print(&show_scaling(&scaling)) }
    }
}

fn show_scaling(scaling: &Scaling) -> String {
    let Scaling { ranks, sum_us, sum_bytes_per_s, rows, .. } = scaling;
    let mut table_rows =
        vec![["", "layers", "H", "B", "T", "parameters", "ms a step", "tokens/s", "waiting"].map(String::from).to_vec()];
    table_rows.extend(rows.iter().map(|row| {
        let numbers = [row.layers, row.hidden, row.batch, row.window].map(|n| n.to_string());
        let measured = [
            thousands(row.parameters as u64),
            format!("{:.2}", row.ms_per_step),
            thousands(row.tokens_per_s as u64),
            format!("{:.0} %", row.waiting * 100.0),
        ];
        let batch = if row.grows { "batch grows" } else { "same batch" };
        [vec![batch.to_owned()], numbers.into(), measured.into()].concat()
    }));
    let sums =
        format!("a sum of one number takes {sum_us:.0} µs, and {:.2} GB/s are added up in sums of 4 MiB", sum_bytes_per_s / 1e9);
    let processes = if *ranks == 1 { "1 process".to_owned() } else { format!("{ranks} processes") };
    format!("{processes}; {sums}\n\n{}", table(&table_rows))
}
