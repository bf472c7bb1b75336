//! Where the GPU overtakes the CPU.

use serde::Serialize;

use super::Row;

/// Where, along growing hidden sizes, the GPU's step becomes shorter than the CPU's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Crossover {
    /// Layers.
    pub layers: usize,
    /// B.
    pub batch: usize,
    /// T.
    pub window: usize,
    /// The largest hidden size timed at which the CPU is ahead, if there is one.
    pub cpu_ahead_at: Option<usize>,
    /// The smallest hidden size timed from which on the GPU is ahead, if there is one.
    pub gpu_ahead_from: Option<usize>,
}

impl Crossover {
    /// Of the rows of two contenders.
    pub(super) fn all(rows: &[Row]) -> Vec<Crossover> {
        let mut found: Vec<Crossover> = Vec::new();
        for (i, first) in rows.iter().enumerate() {
            if rows[..i].iter().any(|row| row.is_in_line(first)) {
                continue;
            }
            // Hidden size, and whether the GPU is ahead there.
            let mut line: Vec<(usize, bool)> = Vec::new();
            for row in rows.iter().filter(|row| row.is_in_line(first) && row.backend == "cpu") {
                let gpu = rows.iter().find(|other| other.is_beside(row) && other.backend == "gpu");
                if let (Some(cpu), Some(gpu)) = (&row.measured, gpu.and_then(|gpu| gpu.measured.as_ref())) {
                    line.push((row.hidden, gpu.ms_per_step < cpu.ms_per_step));
                }
            }
            if line.is_empty() {
                continue;
            }
            line.sort_unstable();
            let cpu_ahead_at = line.iter().rev().find(|(_, gpu)| !gpu).map(|(hidden, _)| *hidden);
            let gpu_ahead_from = line.iter().find(|(hidden, _)| Some(*hidden) > cpu_ahead_at).map(|(hidden, _)| *hidden);
            let Row { layers, batch, window, .. } = *first;
            found.push(Crossover { layers, batch, window, cpu_ahead_at, gpu_ahead_from });
        }
        found
    }
}
