//! `retrospect steps`: the program of a model, step by step.

use clap::Args;
use retrospect::Result;
use retrospect::model::Model;
use retrospect::network::Compute;
use retrospect::program::{Mat, Program};
use serde_json::json;

use super::terminal::{print, table, thousands};
use super::train::Train;

/// Prints a model's program: every step with its kernel, variant, windows, dispatches, bytes and operations
#[derive(Args)]
pub struct Steps {
    #[command(flatten)]
    train: Train,
}

impl Steps {
    pub fn run(&self) -> Result<()> {
        let (settings, _) = self.train.settings()?;
        let compute = self.train.compute()?;
        let model = Model::new(&settings.network)?;
        let program = model.program();
        let ranges = [
            ("prepare", &model.prepare),
            ("forward", &model.forward),
            ("backward", &model.backward),
            ("update", &model.update),
            ("carry", &model.carry),
            ("initial gradient", &model.initial_gradient),
        ];
        let mut steps = Vec::new();
        let mut rows =
            vec![["", "range", "kernel", "variant", "dispatches", "bytes", "flops", "windows"].map(String::from).to_vec()];
        let mut in_a_step = [0, 0, 0];
        for (index, step) in program.steps().iter().enumerate() {
            let range = ranges.iter().find(|(_, range)| range.contains(&index)).map_or("", |(name, _)| name);
            let (variant, dispatches) = match &compute {
                Compute::Cpu(_) => ("cpu", 0),
                Compute::Gpu(device) => {
                    let cuts = device.cuts(program);
                    let variant = device.variant(step, &cuts);
                    (variant.name, (variant.lower)(step, &cuts).dispatches())
                }
            };
            let counts = [dispatches, step.bytes(), (step.kernel.flops)(step)];
            if ["forward", "backward", "update", "carry"].contains(&range) {
                in_a_step.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
            }
            let windows: Vec<String> = step
                .kernel
                .bindings
                .iter()
                .zip(&step.windows)
                .map(|(b, w)| format!("{}: {}", b.name, window(program, w)))
                .collect();
            steps.push(json!({
                "index": index, "range": range, "kernel": step.kernel.name, "variant": variant, "windows": windows,
                "dispatches": counts[0], "bytes": counts[1], "flops": counts[2],
            }));
            let mut row = vec![index.to_string(), range.into(), step.kernel.name.into(), variant.into()];
            row.extend(counts.map(thousands));
            row.push(windows.join(", "));
            rows.push(row);
        }
        if self.train.json {
            return print(&format!("{:#}\n", json!({ "steps": steps, "buffer_bytes": program.bytes() })));
        }
        let [dispatches, bytes, flops] = in_a_step.map(thousands);
        let buffers = thousands(program.bytes());
        print(&format!(
            "{}\nA training step (forward to carry): {dispatches} dispatches, {flops} operations, at least {bytes} bytes moved. \
             Buffers: {buffers} bytes.\n",
            table(&rows)
        ))
    }
}

/// A window as buffer[rows × cols], with its offset where it has one.
fn window(program: &Program, window: &Mat) -> String {
    let offset = if window.offset() == 0 { String::new() } else { format!(" at {}", window.offset()) };
    format!("{}[{}×{}{offset}]", program.name(*window), window.rows(), window.cols())
}
