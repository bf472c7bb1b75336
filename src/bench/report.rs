//! What a benchmark found, as rows of a table.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::{Ceilings, Contender, Crossover, Product, median};
use crate::Error;
use crate::backend::{Compute, InstructionSet, Span, Work};
use crate::batch::Input;
use crate::model::{Config, Model};

/// All of a benchmark.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Operating system and architecture.
    pub machine: String,
    /// The processor's name.
    pub cpu: String,
    /// The vector instructions of the CPU backend, by [`InstructionSet::name`].
    pub instructions: Option<&'static str>,
    /// Threads of the CPU backend.
    pub threads: usize,
    /// The adapter's name, if there was one.
    pub adapter: Option<String>,
    /// Its driver.
    pub driver: Option<String>,
    /// Of this crate.
    pub version: &'static str,
    /// What was timed, and what each can do at most.
    pub ceilings: Vec<Contender>,
    /// A row for each size and contender.
    pub rows: Vec<Row>,
    /// A row for each product and contender.
    pub products: Vec<Product>,
    /// Where the GPU overtakes the CPU.
    pub crossovers: Vec<Crossover>,
}

/// A configuration on a contender.
#[derive(Debug, Serialize)]
pub struct Row {
    /// `cpu` or `gpu`.
    pub backend: &'static str,
    /// The cell's name.
    pub cell: &'static str,
    /// Layers.
    pub layers: usize,
    /// The directions of each, 1 or 2.
    pub directions: usize,
    /// H.
    pub hidden: usize,
    /// B.
    pub batch: usize,
    /// T.
    pub window: usize,
    /// The size of an input vector.
    pub input: usize,
    /// The number of outputs.
    pub output: usize,
    /// What numbers are computed in.
    pub precision: &'static str,
    /// The times, unless it does not fit.
    #[serde(flatten)]
    pub measured: Option<Measured>,
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "message")]
    pub error: Option<Error>,
}

fn message<S: Serializer>(error: &Option<Error>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    error.as_ref().map(ToString::to_string).serialize(serializer)
}

/// What was measured of a training step.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// The median over the runs, in milliseconds of wall time.
    pub ms_per_step: f64,
    /// The fastest run.
    pub ms_min: f64,
    /// The slowest run.
    pub ms_max: f64,
    /// The number of runs.
    pub runs: usize,
    /// Time steps of sequences a second.
    pub tokens_per_s: f64,
    /// 10⁹ operations a second.
    pub gflops: f64,
    /// Those over what the machine multiplies and adds at most.
    pub peak_fraction: f64,
    /// The least time that the step's operations and bytes allow, over the time it took.
    pub roofline_fraction: f64,
    /// The sum of the kernels' times, in milliseconds, of a GPU.
    pub gpu_ms: Option<f64>,
    /// The host's time for recording a step's dispatches, in milliseconds.
    pub host_ms: Option<f64>,
    /// Dispatches of a step, of a GPU.
    pub dispatches: Option<u64>,
    /// Where the time goes, the longest first.
    pub kernels: Vec<KernelTime>,
    /// Operations and bytes of each of the program's steps.
    #[serde(skip)]
    pub costs: Vec<(u64, u64)>,
}

/// What one kernel took of a training step, all its steps together.
#[derive(Debug, Clone, Serialize)]
pub struct KernelTime {
    /// The kernel.
    pub name: &'static str,
    /// The variant; `cpu` for the CPU's function.
    pub variant: &'static str,
    /// Milliseconds in a training step.
    pub ms: f64,
    /// 10⁹ operations a second.
    pub gflops: f64,
    /// 10⁹ bytes a second, of its windows, each read or written once.
    pub gb_per_s: f64,
}

impl Row {
    pub(super) fn new(contender: &Contender, config: &Config, measured: Measured) -> Row {
        Row { measured: Some(measured), ..Row::unmeasured(contender, config) }
    }

    pub(super) fn too_large(contender: &Contender, config: &Config, error: Error) -> Row {
        Row { error: Some(error), ..Row::unmeasured(contender, config) }
    }

    /// The row of a size, without times.
    fn unmeasured(contender: &Contender, config: &Config) -> Row {
        let input = match config.input {
            Input::Vectors(size) | Input::Tokens(size) => size,
        };
        Row {
            backend: contender.backend,
            cell: config.cell.name,
            layers: config.layers,
            directions: config.directions(),
            hidden: config.hidden,
            batch: config.batch,
            window: config.window,
            input,
            output: config.outputs,
            precision: "f32",
            measured: None,
            error: None,
        }
    }

    /// Whether both are of the same size.
    #[must_use]
    pub fn is_beside(&self, other: &Row) -> bool {
        self.is_in_line(other) && self.hidden == other.hidden
    }

    /// Whether both are of the same size but for the hidden one.
    #[must_use]
    pub fn is_in_line(&self, other: &Row) -> bool {
        let rest = |row: &Row| (row.layers, row.batch, row.window, row.input, row.output);
        rest(self) == rest(other)
    }
}

impl Measured {
    #[expect(clippy::too_many_arguments, reason = "each is something that was measured, or what it was measured of")]
    pub(super) fn new(
        seconds: Vec<f64>,
        recording: f64,
        spans: &[Span],
        recorded: usize,
        model: &Model,
        variants: &[Option<&'static str>],
        contender: &Contender,
        dispatches: u64,
    ) -> Measured {
        let steps = model.program().steps();
        let range = model.forward.start..model.carry.end;
        let of = |step: &crate::program::Step| ((step.kernel.flops)(step), step.bytes());
        let costs: Vec<(u64, u64)> = steps[range.clone()].iter().map(of).collect();
        let flops: u64 = costs.iter().map(|(flops, _)| flops).sum();

        // The seconds, operations and bytes of each kernel.
        let mut times: BTreeMap<(&str, &str), (f64, u64, u64)> = BTreeMap::new();
        for index in range {
            let step = &steps[index];
            let entry = times.entry((step.kernel.name, variants[index].unwrap_or("cpu"))).or_default();
            let mine = spans.iter().filter(|span| span.work == Work::Step(index)).map(|span| span.length.as_secs_f64());
            let (flops, bytes) = of(step);
            *entry = (entry.0 + mine.sum::<f64>() / recorded as f64, entry.1 + flops, entry.2 + bytes);
        }
        let per_second = |n: u64, seconds: f64| if seconds > 0.0 { n as f64 / seconds / 1e9 } else { 0.0 };
        let mut kernels: Vec<KernelTime> = times
            .into_iter()
            .map(|((name, variant), (seconds, flops, bytes))| KernelTime {
                name,
                variant,
                ms: seconds * 1e3,
                gflops: per_second(flops, seconds),
                gb_per_s: per_second(bytes, seconds),
            })
            .collect();
        kernels.sort_by(|a, b| b.ms.total_cmp(&a.ms));

        let is_gpu = contender.backend == "gpu";
        let middle = median(seconds.clone());
        let config = model.config();
        let gflops = per_second(flops, middle);
        let mut measured = Measured {
            ms_per_step: middle * 1e3,
            ms_min: seconds.iter().copied().fold(f64::INFINITY, f64::min) * 1e3,
            ms_max: seconds.iter().copied().fold(0.0, f64::max) * 1e3,
            runs: seconds.len(),
            tokens_per_s: (config.window * config.batch) as f64 / middle,
            gflops,
            peak_fraction: 0.0,
            roofline_fraction: 0.0,
            gpu_ms: is_gpu.then(|| kernels.iter().map(|kernel| kernel.ms).sum()),
            host_ms: is_gpu.then_some(recording * 1e3),
            dispatches: is_gpu.then_some(dispatches),
            kernels,
            costs,
        };
        measured.set_beside(&contender.ceilings);
        measured
    }

    /// Takes the fractions of what a machine can do at most.
    fn set_beside(&mut self, ceilings: &Ceilings) {
        let least: f64 = self.costs.iter().map(|&(flops, bytes)| ceilings.seconds(flops, bytes)).sum();
        self.peak_fraction = self.gflops / ceilings.gflops;
        self.roofline_fraction = least / (self.ms_per_step / 1e3);
    }
}

impl Report {
    pub(super) fn new(contenders: Vec<Contender>, mut rows: Vec<Row>, mut products: Vec<Product>) -> Report {
        // Their ceilings may have risen since.
        for contender in &contenders {
            let own = rows.iter_mut().filter(|row| row.backend == contender.backend);
            own.filter_map(|row| row.measured.as_mut()).for_each(|measured| measured.set_beside(&contender.ceilings));
            let own = products.iter_mut().filter(|product| product.backend == contender.backend);
            own.filter_map(|p| p.timed.as_mut()).for_each(|t| t.peak_fraction = t.gflops / contender.ceilings.gflops);
        }
        let device = contenders.iter().find_map(|contender| match contender.compute() {
            Compute::Gpu(device) => Some((device.adapter.name.clone(), device.adapter.driver.clone())),
            Compute::Cpu(_) => None,
        });
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = contenders.iter().find_map(|contender| match *contender.compute() {
            Compute::Cpu(threads) => Some(threads.unwrap_or_else(cores)),
            Compute::Gpu(_) => None,
        });
        let (adapter, driver) = device.unzip();
        Report {
            machine: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cpu: processor(),
            instructions: InstructionSet::from_environment().ok().map(InstructionSet::name),
            threads: threads.unwrap_or_else(cores),
            adapter,
            driver,
            version: env!("CARGO_PKG_VERSION"),
            crossovers: Crossover::all(&rows),
            ceilings: contenders,
            rows,
            products,
        }
    }
}

/// The processor's name, as the system tells it.
fn processor() -> String {
    let of_linux = || {
        let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let of_mac = || {
        let output = std::process::Command::new("sysctl").args(["-n", "machdep.cpu.brand_string"]).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()).filter(|name| !name.is_empty())
    };
    let of_windows = || std::env::var("PROCESSOR_IDENTIFIER").ok();
    of_linux().or_else(of_mac).or_else(of_windows).unwrap_or_else(|| "unknown".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(backend: &'static str, hidden: usize, ms_per_step: Option<f64>) -> Row {
        let measured = ms_per_step.map(|ms| Measured {
            ms_per_step: ms,
            ms_min: ms,
            ms_max: ms,
            runs: 1,
            tokens_per_s: 0.0,
            gflops: 0.0,
            peak_fraction: 0.0,
            roofline_fraction: 0.0,
            gpu_ms: None,
            host_ms: None,
            dispatches: None,
            kernels: Vec::new(),
            costs: Vec::new(),
        });
        let (cell, precision) = ("elman", "f32");
        Row {
            backend,
            cell,
            layers: 1,
            directions: 1,
            hidden,
            batch: 32,
            window: 64,
            input: 64,
            output: 64,
            precision,
            measured,
            error: None,
        }
    }

    /// A kernel that is faster than the ceiling raises it, for all rows of that backend, and none is above it.
    #[test]
    fn no_row_is_above_its_ceiling() {
        let ceilings = Ceilings { gflops: 1e-6, gb_per_s: 1e-6, dispatch_us: None };
        let mut contender = Contender::with_ceilings(Compute::Cpu(Some(1)), ceilings);
        let mut fast = row("cpu", 128, Some(1.0));
        let measured = fast.measured.as_mut().unwrap();
        (measured.gflops, measured.costs) = (4e9, vec![(3_000_000, 1_000_000), (1_000_000, 2_000_000)]);
        let kernel = |gflops| KernelTime { name: "gemm_nn", variant: "cpu", ms: 1.0, gflops, gb_per_s: 1.0 };
        measured.kernels = vec![kernel(8e9), kernel(2e9)];
        let other = Row { backend: "gpu", ..row("gpu", 128, Some(1.0)) };
        contender.raise(std::slice::from_ref(&other), &[]).unwrap();
        assert_eq!(contender.ceilings.gflops, 1e-6);
        contender.raise(std::slice::from_ref(&fast), &[]).unwrap();
        // It was measured again, and the kernel is beyond that too.
        assert!(contender.ceilings.gflops == 8e9 && contender.ceilings.gb_per_s > 1e-3, "{:?}", contender.ceilings);
        let report = Report::new(vec![contender], vec![fast], Vec::new());
        let measured = report.rows[0].measured.as_ref().unwrap();
        assert_eq!(measured.peak_fraction, 0.5);
        let least = 3e6 / report.ceilings[0].ceilings.gb_per_s / 1e9;
        assert!((measured.roofline_fraction * 1e-3 / least - 1.0).abs() < 1e-9, "{measured:?}");
    }

    /// The GPU is ahead from a size on only if it stays so; what does not fit counts for neither.
    #[test]
    fn the_gpu_overtakes_where_it_stays_ahead() {
        let both = |times: &[(usize, f64, Option<f64>)]| -> Vec<Row> {
            times.iter().flat_map(|&(h, cpu, gpu)| [row("cpu", h, Some(cpu)), row("gpu", h, gpu)]).collect()
        };
        for (times, at, from) in [
            (vec![(128, 1.0, Some(2.0)), (256, 3.0, Some(2.5)), (512, 9.0, Some(4.0))], Some(128), Some(256)),
            (vec![(128, 2.0, Some(1.0)), (256, 3.0, Some(4.0)), (512, 9.0, Some(4.0))], Some(256), Some(512)),
            (vec![(256, 3.0, Some(2.5)), (128, 2.0, Some(1.0))], None, Some(128)),
            (vec![(128, 1.0, Some(2.0)), (256, 3.0, None)], Some(128), None),
        ] {
            let found = Crossover::all(&both(&times));
            assert_eq!(found.len(), 1);
            assert_eq!((found[0].cpu_ahead_at, found[0].gpu_ahead_from), (at, from), "{times:?}");
        }
        assert!(Crossover::all(&[row("cpu", 128, Some(1.0))]).is_empty());
    }
}
