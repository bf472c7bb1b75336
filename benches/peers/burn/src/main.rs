//! Times one training step (forward, backward, SGD update) of an Elman network in burn, and prints one JSON document.
//!
//! The network is burn's own `nn::Rnn`, stacked, with a `Linear` decoder and the mean squared error, as a user of burn
//! would write it. The other programs in `benches/peers` time the same step.
//!
//! Each size is timed in a process of its own: where memory runs out burn panics, loses the device or is aborted, none of which
//! may end the sweep or spoil the next size.

use std::fs;
use std::panic;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use burn::module::Module;
use burn::nn::loss::{MseLoss, Reduction};
use burn::nn::{Linear, LinearConfig, Rnn, RnnConfig};
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Distribution, Tensor};
use clap::{Parser, ValueEnum};
use serde_json::{Value, json};

/// A run lasts at least this long, so that the clock's grain and one late wake-up do not count.
const RUN_SECONDS: f64 = 0.2;
const LEARNING_RATE: f64 = 0.01;
/// burn has no constant that says its version; the lock file does.
const LOCK: &str = include_str!("../Cargo.lock");

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Place {
    /// burn's wgpu backend, on the best adapter
    Gpu,
    /// burn's flex backend
    Cpu,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Place::Gpu => "gpu",
            Place::Cpu => "cpu",
        }
    }
}

/// Times one training step of an Elman network in burn. Lists are separated by commas; every combination is timed.
#[derive(Parser)]
#[command(name = "burn-peer")]
struct Options {
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "256", value_parser = positive)]
    hidden: Vec<usize>,
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "32", value_parser = positive)]
    batch: Vec<usize>,
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "64", value_parser = positive)]
    window: Vec<usize>,
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1", value_parser = positive)]
    layers: Vec<usize>,
    #[arg(long, value_name = "N", default_value = "64", value_parser = positive)]
    input: usize,
    #[arg(long, value_name = "N", default_value = "64", value_parser = positive)]
    output: usize,
    /// Runs of at least 0.2 s each, of which the median counts
    #[arg(long, value_name = "N", default_value = "5", value_parser = positive)]
    runs: usize,
    /// Threads of the CPU backend [default: all cores]
    #[arg(long, value_name = "N", value_parser = positive)]
    threads: Option<usize>,
    #[arg(long, value_enum, default_value = "gpu")]
    device: Place,
    /// Sides of square matrices whose product is timed as well
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = positive)]
    products: Vec<usize>,
    /// Time this task alone, in this process
    #[arg(long, hide = true)]
    task: Option<usize>,
}

/// Cannot run here, whatever the size.
const CANNOT_RUN: u8 = 3;

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_string()),
        Ok(n) => Ok(n),
        Err(_) => Err("not a whole number".to_string()),
    }
}

#[derive(Clone, Copy)]
struct Size {
    layers: usize,
    hidden: usize,
    batch: usize,
    window: usize,
    input: usize,
    output: usize,
}

impl Size {
    /// Floating-point operations of a step's products: forward, and twice that backward, less the gradient by the input of
    /// the first layer, which nothing asks for.
    fn flops(&self) -> f64 {
        let [l, h, i, o] = [self.layers, self.hidden, self.input, self.output].map(|n| n as f64);
        let twice_rows = 2.0 * self.window as f64 * self.batch as f64;
        let forward = twice_rows * (i * h + h * h + h * o + (l - 1.0) * 2.0 * h * h);
        3.0 * forward - twice_rows * i * h
    }
}

#[derive(Module, Debug)]
struct Network {
    layers: Vec<Rnn>,
    decoder: Linear,
}

impl Network {
    fn new(size: &Size, device: &Device) -> Self {
        let layers = (0..size.layers)
            .map(|k| {
                let below = if k == 0 { size.input } else { size.hidden };
                RnnConfig::new(below, size.hidden, true).init(device)
            })
            .collect();
        Self { layers, decoder: LinearConfig::new(size.hidden, size.output).init(device) }
    }

    fn forward(&self, inputs: Tensor<3>) -> Tensor<3> {
        let states = self.layers.iter().fold(inputs, |below, layer| layer.forward(below, None).0);
        self.decoder.forward(states)
    }
}

/// A network and what it is trained on, with nothing left on the host to do but steps.
struct Training {
    network: Option<Network>,
    optimizer: ModuleOptimizer,
    inputs: Tensor<3>,
    targets: Tensor<3>,
}

impl Training {
    fn new(size: &Size, device: &Device) -> Self {
        // The batch goes first, which is the order that burn's Rnn works in; the other would cost it two transpositions.
        let random = |features| Tensor::random([size.batch, size.window, features], Distribution::Normal(0.0, 1.0), device);
        Self {
            network: Some(Network::new(size, device)),
            optimizer: SgdConfig::new().init(),
            inputs: random(size.input),
            targets: random(size.output),
        }
    }

    /// Returns the loss, unread.
    fn step(&mut self) -> Tensor<1> {
        let network = self.network.take().expect("a network after every step");
        let outputs = network.forward(self.inputs.clone());
        let loss = MseLoss::new().forward(outputs, self.targets.clone(), Reduction::Mean);
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        self.network = Some(self.optimizer.step(LEARNING_RATE, network, gradients));
        loss
    }
}

/// Milliseconds a call: the median over the runs, the least and the most.
struct Times {
    median: f64,
    min: f64,
    max: f64,
}

/// Times `call` in `runs` runs of as many calls as last `RUN_SECONDS`.
fn time(runs: usize, device: &Device, mut call: impl FnMut()) -> Result<Times, String> {
    let mut seconds = |calls: usize| {
        let start = Instant::now();
        for _ in 0..calls {
            call();
        }
        // Calls only queue work; the clock stops when it is done.
        device.sync().map_err(|e| e.to_string())?;
        Ok::<_, String>(start.elapsed().as_secs_f64())
    };
    // The first calls compile kernels, try variants of them and take memory.
    let start = Instant::now();
    seconds(2)?;
    while start.elapsed().as_secs_f64() < RUN_SECONDS {
        seconds(1)?;
    }
    let mut calls = 1;
    loop {
        let took = seconds(calls)?;
        if took >= RUN_SECONDS {
            break;
        }
        calls = (2 * calls).max((1.1 * RUN_SECONDS / took * calls as f64).ceil() as usize);
    }
    let mut times = Vec::new();
    for _ in 0..runs {
        times.push(seconds(calls)? * 1e3 / calls as f64);
    }
    times.sort_by(f64::total_cmp);
    let middle = runs / 2;
    let median = if runs % 2 == 1 { times[middle] } else { (times[middle - 1] + times[middle]) / 2.0 };
    Ok(Times { median, min: times[0], max: times[runs - 1] })
}

#[derive(Clone, Copy)]
enum Task {
    Step(Size),
    /// The product of two square matrices of this side.
    Product(usize),
}

impl Options {
    fn tasks(&self) -> Vec<Task> {
        let mut tasks = Vec::new();
        for &layers in &self.layers {
            for &hidden in &self.hidden {
                for &batch in &self.batch {
                    for &window in &self.window {
                        let (input, output) = (self.input, self.output);
                        tasks.push(Task::Step(Size { layers, hidden, batch, window, input, output }));
                    }
                }
            }
        }
        tasks.extend(self.products.iter().map(|&n| Task::Product(n)));
        tasks
    }
}

impl Task {
    fn time(&self, runs: usize, device: &Device) -> Result<Times, String> {
        match self {
            Task::Step(size) => {
                let device = device.clone().autodiff();
                let mut training = Training::new(size, &device);
                let times = time(runs, &device, || {
                    training.step();
                })?;
                // An allocation that failed on the way shows only when a result is read.
                let loss: f32 = training.step().try_into_scalar().map_err(|e| e.to_string())?;
                if loss.is_finite() { Ok(times) } else { Err(format!("the loss became {loss}")) }
            }
            Task::Product(n) => {
                let random = || Tensor::<2>::random([*n, *n], Distribution::Normal(0.0, 1.0), device);
                let (a, b) = (random(), random());
                let times = time(runs, device, || {
                    let _ = a.clone().matmul(b.clone());
                })?;
                a.matmul(b).sum().try_into_scalar::<f32>().map_err(|e| e.to_string())?;
                Ok(times)
            }
        }
    }

    fn row(&self, options: &Options, times: Result<Times, String>) -> Value {
        let backend = options.device.name();
        let (mut row, flops) = match self {
            Task::Step(size) => {
                let Size { layers, hidden, batch, window, input, output } = size;
                let row = json!({
                    "backend": backend, "cell": "elman", "layers": layers, "hidden": hidden, "batch": batch, "window": window,
                    "input": input, "output": output, "precision": "f32",
                });
                (row, size.flops())
            }
            Task::Product(n) => {
                let row = json!({ "backend": backend, "form": "nn", "size": n, "precision": "f32" });
                (row, 2.0 * (*n as f64).powi(3))
            }
        };
        match times {
            Ok(times) => {
                let ms = if let Task::Step(_) = self { "ms_per_step" } else { "ms" };
                row[ms] = json!(times.median);
                row["ms_min"] = json!(times.min);
                row["ms_max"] = json!(times.max);
                row["runs"] = json!(options.runs);
                row["gflops"] = json!(flops / times.median / 1e6);
                if let Task::Step(size) = self {
                    row["tokens_per_s"] = json!((size.window * size.batch) as f64 / times.median * 1e3);
                }
            }
            // On one line, however many causes it lists.
            Err(error) => row["error"] = json!(error.split_whitespace().collect::<Vec<_>>().join(" ")),
        }
        row
    }
}

/// The device, and the names of its adapter and driver where it has any.
fn open(place: Place) -> Result<(Device, Option<String>, Option<String>), String> {
    match place {
        Place::Cpu => Ok((Device::flex(), None, None)),
        Place::Gpu => {
            let (device, setup) = Device::wgpu_options().init_with_setup().map_err(|e| e.to_string())?;
            let info = setup.adapter.get_info();
            let driver = format!("{} {}", info.driver, info.driver_info);
            Ok((device, Some(info.name), Some(driver.trim().to_string())))
        }
    }
}

fn burn_version() -> &'static str {
    let mut lines = LOCK.lines().skip_while(|line| *line != r#"name = "burn""#);
    lines.nth(1).and_then(|line| line.split('"').nth(1)).unwrap_or("unknown")
}

fn cpu_name() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

/// Times one task in this process: a document with one row.
fn time_here(task: Task, options: &Options) -> Result<Value, String> {
    if let Some(threads) = options.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().map_err(|e| e.to_string())?;
    }
    // Asking a machine without any adapter may panic, and not only fail.
    let (device, adapter, driver) = panic::catch_unwind(|| open(options.device)).unwrap_or(Err("no adapter".to_string()))?;
    let row = task.row(options, task.time(options.runs, &device));
    Ok(json!({
        "program": "burn",
        "version": burn_version(),
        "machine": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        "cpu": cpu_name(),
        "threads": rayon::current_num_threads(),
        "adapter": adapter,
        "driver": driver,
        "rows": [row],
    }))
}

/// Times the task of that number in a process of its own, which gets the same command line.
fn time_apart(number: usize) -> Result<Value, (Option<i32>, String)> {
    let failed = |e: std::io::Error| (None, e.to_string());
    let program = std::env::current_exe().map_err(failed)?;
    let child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .args(["--task", &number.to_string()])
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .output()
        .map_err(failed)?;
    if child.status.success() {
        return serde_json::from_slice(&child.stdout).map_err(|e| (None, e.to_string()));
    }
    // The last line says why, but for Rust's hint about backtraces.
    let text = String::from_utf8_lossy(&child.stderr);
    let line = text.lines().rfind(|line| !line.trim().is_empty() && !line.starts_with("note:"));
    Err((child.status.code(), line.map_or(child.status.to_string(), str::to_string)))
}

fn main() -> ExitCode {
    let options = Options::parse();
    let tasks = options.tasks();
    let cannot_run = |error: &str| {
        eprintln!("burn-peer: {}", error.trim_start_matches("burn-peer: "));
        ExitCode::from(CANNOT_RUN)
    };
    let mut whole = Value::Null;
    if let Some(number) = options.task {
        match time_here(tasks[number], &options) {
            Ok(document) => whole = document,
            Err(error) => return cannot_run(&error),
        }
    } else {
        let mut rows = Vec::new();
        for (number, task) in tasks.iter().enumerate() {
            match time_apart(number) {
                Ok(mut document) => {
                    rows.push(document["rows"][0].take());
                    whole = document;
                }
                Err((Some(code), error)) if code == i32::from(CANNOT_RUN) => return cannot_run(&error),
                Err((_, error)) => rows.push(task.row(&options, Err(error))),
            }
        }
        if whole.is_null() {
            whole = json!({ "program": "burn", "version": burn_version() });
        }
        let (products, rows): (Vec<Value>, Vec<Value>) = rows.into_iter().partition(|row| row.get("form").is_some());
        whole["rows"] = json!(rows);
        whole["products"] = json!(products);
    }
    println!("{}", serde_json::to_string_pretty(&whole).expect("numbers and strings"));
    ExitCode::SUCCESS
}
