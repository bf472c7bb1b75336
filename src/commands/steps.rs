//! `retrospect steps`: the program of a model, step by step.

use clap::Args;
use retrospect::Result;
use retrospect::backend::Compute;
use retrospect::model::Model;
use retrospect::program::{Element, Mat, Program};
use serde_json::json;

use super::program::ProgramArgs;
use super::terminal::{print, print_json, table, thousands};

/// Prints a model's program: every step with its kernel, variant, windows, dispatches, bytes and operations
#[derive(Args)]
pub struct Steps {
    /// Print what memory it takes instead: every place, and the buffers that have it one after the other
    #[arg(long)]
    memory: bool,

    #[command(flatten)]
    program: ProgramArgs,
}

impl Steps {
    pub fn run(&self) -> Result<()> {
        let settings = self.program.settings()?;
        let compute = self.program.compute()?;
        let model = Model::new(&settings.config())?;
        let program = model.program();
        if self.memory {
            return print_memory(&compute, program, self.program.json);
        }
        let on_gpu = match &compute {
            Compute::Cpu(_) => None,
            Compute::Gpu(device) => Some((device, device.cuts(program), device.dispatches(program))),
        };
        let [keep, finish] = model.accumulating();
        let ranges = [
            ("prepare", &model.prepare),
            ("forward", &model.forward),
            ("backward", &model.backward),
            ("update", &model.update),
            ("carry", &model.carry),
            ("initial gradient", &model.initial_gradient),
            ("trace", &model.trace),
            ("keep", &keep),
            ("finish", &finish),
        ];
        let mut steps = Vec::new();
        let mut rows =
            vec![["", "range", "kernel", "variant", "dispatches", "bytes", "flops", "windows"].map(String::from).to_vec()];
        let mut in_a_step = [0; 3];
        for (index, step) in program.steps().iter().enumerate() {
            let range = ranges.iter().find(|(_, range)| range.contains(&index)).map_or("", |(name, _)| name);
            let (variant, dispatches) = match &on_gpu {
                None => ("cpu", 0),
                Some((device, cuts, dispatches)) => (device.variant(step, cuts).name, dispatches[index]),
            };
            let counts = [dispatches, step.bytes(), (step.kernel.flops)(step)];
            let times = times_in_a_step(range, settings.network.accumulate as u64);
            in_a_step
                .iter_mut()
                .zip(counts)
                .for_each(|(sum, n): (&mut u64, u64)| *sum = sum.saturating_add(n.saturating_mul(times)));
            let windows: Vec<String> = step
                .kernel
                .bindings
                .iter()
                .zip(&step.windows)
                .map(|(b, w)| format!("{}: {}", b.name, window(program, w)))
                .collect();
            steps.push(json!({
                "index": index, "range": range, "kernel": step.kernel.name, "variant": variant, "windows": windows,
                "dispatches": counts[0], "bytes": counts[1], "flops": counts[2], "beside_previous": step.is_second,
            }));
            let mut row = vec![index.to_string(), range.into(), step.kernel.name.into(), variant.into()];
            row.extend(counts.map(thousands));
            row.push(windows.join(", "));
            rows.push(row);
        }
        if self.program.json {
            return print_json(&json!({ "steps": steps, "buffer_bytes": program.plan().bytes() }));
        }
        let [dispatches, bytes, flops] = in_a_step.map(thousands);
        let buffers = thousands(program.plan().bytes());
        let seconds = program.steps().iter().enumerate().filter(|(_, step)| step.is_second).map(|(index, _)| index.to_string());
        let seconds = seconds.collect::<Vec<_>>().join(", ");
        let pairs = match &*seconds {
            "" => String::new(),
            seconds => format!("These steps may run at the same time as the step before them: {seconds}.\n"),
        };
        print(&format!(
            "{}\nA training step: {dispatches} dispatches, {flops} operations, at least {bytes} bytes moved. \
             Buffers: {buffers} bytes.\n{pairs}",
            table(&rows)
        ))
    }
}

/// How often a range of steps runs in a training step of so many batches.
fn times_in_a_step(range: &str, batches: u64) -> u64 {
    match range {
        "forward" | "backward" | "carry" => batches,
        "keep" => batches - 1,
        "update" | "finish" => 1,
        _ => 0,
    }
}

/// Prints the places of a program's plan, the largest first, and their sum.
fn print_memory(compute: &Compute, program: &Program, is_json: bool) -> Result<()> {
    let plan = program.plan();
    let [places, besides] = compute.memory(program);
    let besides_of = if matches!(compute, Compute::Cpu(_)) { "weights laid out anew while a step runs" } else { "scratch" };
    let life = |buffer: usize| plan.life(buffer).map(|life| [*life.start(), *life.end()]);
    if is_json {
        let buffer =
            |b: usize| json!({ "name": program.buffers()[b].name, "bytes": program.buffers()[b].bytes(), "life": life(b) });
        let place = |(place, size): (usize, &u64)| json!({ "bytes": size * Element::SIZE, "buffers": plan.buffers(place).map(buffer).collect::<Vec<_>>() });
        let all: Vec<_> = plan.sizes().iter().enumerate().map(place).collect();
        return print_json(&json!({ "places": all, "working_bytes": besides, "peak_bytes": places + besides }));
    }
    let mut rows = vec![["bytes", "buffers; of those that share, the steps in which they are needed"].map(String::from).to_vec()];
    for (place, size) in plan.sizes().iter().enumerate() {
        let name = |b: usize| {
            let name = program.buffers()[b].name.clone();
            life(b).map_or(name.clone(), |[first, last]| format!("{name} ({first} to {last})"))
        };
        rows.push(vec![thousands(size * Element::SIZE), plan.buffers(place).map(name).collect::<Vec<_>>().join(", ")]);
    }
    rows.push(vec![thousands(besides), besides_of.into()]);
    let (peak, alone) = (thousands(places + besides), thousands(program.bytes() + besides));
    print(&format!("{}\nPeak: {peak} bytes; {alone} if no buffers shared memory.\n", table(&rows)))
}

/// A window as buffer[rows × cols], with its offset where it has one.
fn window(program: &Program, window: &Mat) -> String {
    let offset = if window.offset() == 0 { String::new() } else { format!(" at {}", window.offset()) };
    format!("{}[{}×{}{offset}]", program.name(*window), window.rows(), window.cols())
}
