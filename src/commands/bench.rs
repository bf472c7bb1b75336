//! `retrospect bench`: CPU against GPU.

mod ranks;

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use retrospect::bench::{self, Crossover, Measured, Product, Products, Report, Row, Sweep};
use retrospect::trace::Trace;
use retrospect::{Error, Result};

use super::compute::ComputeArgs;
use super::options::size;
use super::plot;
use super::ranks::RanksArgs;
use super::terminal::{note, print, print_json, table, thousands};
use super::tune::TuneArgs;

/// Times training steps on the CPU and on a GPU, next to what the machine can do at most
#[derive(Args)]
pub struct Bench {
    /// The cell of the layers
    #[arg(long, value_name = "NAME", default_value = "elman", value_parser = super::cell::named)]
    cell: &'static retrospect::cells::Cell,

    /// Run each layer in both directions
    #[arg(long)]
    bidirectional: bool,

    /// Hidden sizes
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "128,256,512,1024", value_parser = size())]
    hidden: Vec<usize>,

    /// Batch sizes
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "32", value_parser = size())]
    batch: Vec<usize>,

    /// Steps of a window
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "64", value_parser = size())]
    window: Vec<usize>,

    /// Stacked layers
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1", value_parser = size())]
    layers: Vec<usize>,

    /// The size of an input vector
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = size())]
    input: usize,

    /// The number of outputs
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = size())]
    output: usize,

    /// Time products of N × N matrices too, a·b, a·bᵀ and aᵀ·b
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = size())]
    products: Vec<usize>,

    /// Drop each output of every layer but the last with this probability [default: 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = super::options::probability, default_value_t = 0.0, hide_default_value = true)]
    dropout: f64,

    /// Drop each input of the output layer with this probability [default: 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = super::options::probability, default_value_t = 0.0, hide_default_value = true)]
    output_dropout: f64,

    /// Keep the hidden states of every N-th time step only, and compute the others again [default: off]
    #[arg(long, value_name = "auto|off|N", value_parser = super::options::recompute)]
    recompute: Option<super::options::Recompute>,

    /// Runs of each size, of which the median counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = size())]
    runs: usize,

    /// Under mpirun: time training steps that several processes take together, with the same batch and with one that grows with them
    #[arg(long, conflicts_with_all = ["products", "plot", "profile"])]
    pub ranks: bool,

    /// Print JSON, with the times of all kernels
    #[arg(long)]
    json: bool,

    /// Draw the times against the hidden size, and the roofline, as SVG or PNG
    #[arg(long, value_name = "FILE.svg|png", value_parser = plot::file)]
    plot: Option<PathBuf>,

    /// Write when each step of three training steps ran, for chrome://tracing or Perfetto
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,

    #[command(flatten)]
    tune: TuneArgs,

    #[command(flatten)]
    compute: ComputeArgs,

    #[command(flatten)]
    processes: RanksArgs,
}

impl Bench {
    pub fn run(&self) -> Result<()> {
        let sweep = Sweep {
            cell: self.cell,
            bidirectional: self.bidirectional,
            hidden: self.hidden.clone(),
            batch: self.batch.clone(),
            window: self.window.clone(),
            layers: self.layers.clone(),
            input: self.input,
            output: self.output,
            dropout: self.dropout,
            output_dropout: self.output_dropout,
            recompute: &|window| self.recompute.and_then(|choice| choice.for_window(window)),
            runs: self.runs,
        };
        let products = Products { sizes: self.products.clone(), runs: self.runs };
        // What is too large becomes a row that says so.
        for config in sweep.configurations() {
            config.check().or_else(|error| if let Error::DoesNotFit { .. } = error { Ok(()) } else { Err(error) })?;
        }
        if self.ranks {
            return self.run_on_ranks(&sweep);
        }
        let contenders = self.compute.choose_both()?;
        let mut trace = self.profile.as_deref().map(Trace::create).transpose()?;
        let count = sweep.configurations().len() + 3 * products.sizes.len() + 1;
        let bar = ProgressBar::new(count as u64)
            .with_style(ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}").expect("a template without mistakes"));
        let mut done = 0;
        let report = bench::run(
            &sweep,
            &products,
            &contenders,
            &mut |compute, program| self.tune.prepare(compute, program),
            &mut |next| {
                bar.set_position(done);
                bar.set_message(next.to_owned());
                done += 1;
            },
            &mut |recorded| {
                let Some(trace) = &mut trace else { return Ok(()) };
                let Row { backend, layers, hidden, batch, window, .. } = recorded.row;
                trace.process(&format!("{backend}, {layers} × H={hidden}, B={batch}, T={window}"))?;
                trace.write(recorded.spans, recorded.model.program(), &|step| recorded.variants[step])
            },
        );
        bar.finish_and_clear();
        let mut report = report?;
        // The files first: whoever reads the output may close it early. What goes wrong with them does not lose what was measured.
        let measured = report.rows.iter().any(|row| row.measured.is_some());
        let profiled = self.profile.as_deref().map_or(Ok(()), |path| {
            trace.map_or(Ok(()), Trace::finish)?;
            note(format_args!("Profile: {}", path.display()));
            Ok(())
        });
        let plotted = self.plot.as_deref().filter(|_| measured).map_or(Ok(()), |path| {
            plot::bench(path, &report)?;
            note(format_args!("Plot: {}", path.display()));
            Ok(())
        });
        if self.json {
            print_json(&report)?;
        } else {
            print(&show(&report))?;
        }
        profiled.and(plotted)?;
        // What was asked for and is nowhere to be seen is a failure.
        if let (false, Some(first)) = (measured, report.rows.iter_mut().find_map(|row| row.error.take())) {
            return Err(first);
        }
        Ok(())
    }
}

fn show(report: &Report) -> String {
    let mut text = processor(report);
    if let Some(adapter) = &report.adapter {
        text += &format!("; {adapter} ({})", report.driver.as_deref().unwrap_or_default());
    }
    text += "\n\n";
    let mut rows = vec![["at most", "GFLOP/s", "copied, GB/s", "a dispatch, µs"].map(String::from).to_vec()];
    for contender in &report.ceilings {
        let ceilings = &contender.ceilings;
        let dispatch = ceilings.dispatch_us.map_or(String::new(), |us| format!("{us:.1}"));
        rows.push(vec![
            contender.backend.to_uppercase(),
            format!("{:.1}", ceilings.gflops),
            format!("{:.1}", ceilings.gb_per_s),
            dispatch,
        ]);
    }
    text += &table(&rows);
    text += "\n";

    let heading = [
        "",
        "layers",
        "H",
        "B",
        "T",
        "ms a step",
        "from",
        "to",
        "tokens/s",
        "GFLOP/s",
        "of peak",
        "of roofline",
        "kernels, ms",
        "host, ms",
    ];
    let mut rows = vec![heading.map(String::from).to_vec()];
    for row in &report.rows {
        let mut cells = vec![row.backend.to_uppercase()];
        cells.extend([row.layers, row.hidden, row.batch, row.window].map(|n| n.to_string()));
        match &row.measured {
            Some(m) => {
                let ms = |ms: f64| if ms < 10.0 { format!("{ms:.2}") } else { format!("{ms:.1}") };
                cells.extend([m.ms_per_step, m.ms_min, m.ms_max].map(ms));
                cells.push(thousands(m.tokens_per_s as u64));
                cells.push(format!("{:.1}", m.gflops));
                cells.extend([m.peak_fraction, m.roofline_fraction].map(|share| format!("{:.0} %", share * 100.0)));
                cells.extend([m.gpu_ms, m.host_ms].map(|time| time.map_or(String::new(), ms)));
            }
            None => cells.resize(heading.len(), String::new()),
        }
        rows.push(cells);
    }
    text += &table(&rows);
    for row in &report.rows {
        if let Some(error) = &row.error {
            let Row { backend, layers, hidden, batch, window, .. } = row;
            text += &format!("Does not fit: {backend}, {layers} × H={hidden}, B={batch}, T={window}: {error}\n");
        }
    }

    text += &products(&report.products);
    for row in report.rows.iter().filter(|row| row.measured.is_some()) {
        // The largest size of each contender shows where the time goes.
        let larger = |other: &Row| other.backend == row.backend && other.measured.is_some() && flops(other) > flops(row);
        if report.rows.iter().any(larger) {
            continue;
        }
        if let Some(m) = &row.measured {
            let Row { backend, layers, hidden, batch, window, .. } = row;
            let backend = backend.to_uppercase();
            text += &format!("\nWhere the time goes, {backend}, {layers} × H={hidden}, B={batch}, T={window}\n");
            text += &kernels(m);
        }
    }
    for found in &report.crossovers {
        text += &format!("\n{}\n", crossover(found));
    }
    text
}

fn products(all: &[Product]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let heading = ["", "product", "N × N", "variant", "ms", "from", "to", "GFLOP/s", "of peak"];
    let mut rows = vec![heading.map(String::from).to_vec()];
    for product in all {
        let form = match product.form {
            "nn" => "a·b",
            "nt" => "a·bᵀ",
            _ => "aᵀ·b",
        };
        let mut cells = vec![product.backend.to_uppercase(), form.into(), product.size.to_string()];
        if let Some(timed) = &product.timed {
            cells.push(timed.variant.into());
            cells.extend([timed.ms, timed.ms_min, timed.ms_max].map(|ms| format!("{ms:.3}")));
            cells.extend([format!("{:.1}", timed.gflops), format!("{:.0} %", timed.peak_fraction * 100.0)]);
        }
        cells.resize(heading.len(), String::new());
        rows.push(cells);
    }
    let mut text = format!("\n{}", table(&rows));
    for Product { backend, size, error, .. } in all {
        if let Some(error) = error {
            text += &format!("Does not fit: {backend}, the product of {size} × {size}: {error}\n");
        }
    }
    text
}

/// The processor's name, and how much of it was used.
pub fn processor(report: &Report) -> String {
    format!("{}, {} thread{}", report.cpu, report.threads, if report.threads == 1 { "" } else { "s" })
}

fn flops(row: &Row) -> f64 {
    row.measured.as_ref().map_or(0.0, |m| m.gflops * m.ms_per_step)
}

fn kernels(measured: &Measured) -> String {
    let mut rows = vec![["kernel", "variant", "ms", "share", "GFLOP/s", "GB/s"].map(String::from).to_vec()];
    let all: f64 = measured.kernels.iter().map(|kernel| kernel.ms).sum();
    for kernel in &measured.kernels {
        rows.push(vec![
            kernel.name.into(),
            kernel.variant.into(),
            format!("{:.3}", kernel.ms),
            format!("{:.1} %", kernel.ms / all * 100.0),
            format!("{:.1}", kernel.gflops),
            format!("{:.1}", kernel.gb_per_s),
        ]);
    }
    table(&rows)
}

/// Who is ahead where, in a sentence.
pub fn crossover(found: &Crossover) -> String {
    let Crossover { layers, batch, window, cpu_ahead_at, gpu_ahead_from } = found;
    let of = format!("With {layers} layer{}, B={batch}, T={window}", if *layers == 1 { "" } else { "s" });
    match (cpu_ahead_at, gpu_ahead_from) {
        (None, Some(_)) => format!("{of} the GPU is ahead at every size timed."),
        (Some(at), Some(from)) => format!("{of} the GPU overtakes the CPU between H={at} and H={from}."),
        (_, None) => format!("{of} the CPU is ahead at the largest size timed."),
    }
}
