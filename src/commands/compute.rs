//! Where to run: the flags, the choice, and the line that says what was chosen and why.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, ValueEnum};
use pollster::block_on;
use retrospect::backend::Compute;
use retrospect::backend::gpu::DEVICE_TIMEOUT;
use retrospect::backend::{Adapter, Device};
use retrospect::train::DeviceRecord;
use retrospect::{Error, Result, registry};
use sysinfo::{CpuRefreshKind, System};

use super::options::seconds;
use super::terminal::note;
use super::watch;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// A hardware GPU if there is one, else the CPU
    Auto,
    /// The best adapter, software ones included
    Gpu,
    /// The CPU backend
    Cpu,
}

#[derive(Args)]
#[command(next_help_heading = "Where to run")]
pub struct ComputeArgs {
    /// Where to run [default: auto; bench: both; check: gpu]
    #[arg(long)]
    pub backend: Option<Choice>,

    #[command(flatten)]
    pub device: DeviceArgs,
}

#[derive(Args)]
#[command(next_help_heading = "Where to run")]
pub struct DeviceArgs {
    /// The adapter whose name contains TEXT; digits are its index in `retrospect adapters`; implies --backend gpu
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub adapter: Option<String>,

    /// Threads of the CPU backend [default: all]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..=1024))]
    threads: Option<u64>,

    /// Seconds that the driver may take to answer a call or to end a piece of work; then the exit code is 5. On a software adapter, which
    /// computes in this process, time in which the process uses the processor counts a tenth [default: 120]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = seconds)]
    device_timeout: Option<Duration>,
}

impl ComputeArgs {
    /// The same flags for another process.
    pub fn again(&self) -> Vec<OsString> {
        let DeviceArgs { adapter, threads, device_timeout } = &self.device;
        let backend = self.backend.and_then(|backend| backend.to_possible_value()).map(|value| value.get_name().to_owned());
        let all = [
            ("--backend", backend),
            ("--adapter", adapter.clone()),
            ("--threads", threads.map(|threads| threads.to_string())),
            ("--device-timeout", device_timeout.map(|time| time.as_secs_f64().to_string())),
        ];
        let given = all.into_iter().filter_map(|(flag, value)| Some([flag.into(), value?.into()]));
        given.flatten().collect()
    }

    /// Chooses, and says so on stderr.
    pub fn choose(&self) -> Result<Compute> {
        self.device.choose(self.backend)
    }

    /// The same for one of several processes of a machine: threads are shared out among them, and so are GPUs, one after the other.
    pub fn choose_for(&self, local: (usize, usize)) -> Result<Compute> {
        self.device.choose_for(self.backend, local)
    }

    /// The same, but without a word an adapter, software ones included.
    pub fn choose_gpu(&self) -> Result<Compute> {
        match (self.backend, &self.device.adapter) {
            (None, None) => {
                self.device.watch();
                Ok(Compute::Gpu(open(None, "the best adapter here")?))
            }
            _ => self.choose(),
        }
    }

    /// The CPU and a GPU; with a backend named that one alone. Without an adapter the CPU alone, with a note.
    pub fn choose_both(&self) -> Result<Vec<Compute>> {
        if self.backend.is_some() {
            return Ok(vec![self.choose()?]);
        }
        self.device.watch();
        let cpu = self.device.cpu("to compare", 1);
        match open(self.device.adapter.as_deref(), "to compare") {
            Ok(device) => Ok(vec![cpu, Compute::Gpu(device)]),
            Err(error @ Error::NoAdapter { .. }) if self.device.adapter.is_none() => {
                note(format_args!("The CPU alone: {error}"));
                Ok(vec![cpu])
            }
            Err(error) => Err(error),
        }
    }

    /// The same for one of several processes of a run that goes on: without flags on what the first one ran on before, the CPU or a GPU.
    pub fn choose_again_for(&self, record: &DeviceRecord, local: (usize, usize)) -> Result<Compute> {
        let before = if record.backend == "cpu" { Choice::Cpu } else { Choice::Gpu };
        match (self.backend, &self.device.adapter) {
            (None, None) => self.device.choose_for(Some(before), local),
            _ => self.choose_for(local),
        }
    }

    /// The same, but what is not said is as it was before: a run goes on where it ran.
    pub fn choose_again(&self, record: &DeviceRecord) -> Result<Compute> {
        let mut device = match (self.backend, &self.device.adapter) {
            (None, None) if record.backend == "cpu" => return Ok(self.device.cpu("as before", 1)),
            (None, None) => {
                self.device.watch();
                open_again(record)?
            }
            _ => match self.choose()? {
                Compute::Gpu(device) => device,
                cpu if record.backend == "cpu" => return Ok(cpu),
                cpu => {
                    note("The run was on a GPU: its numbers will differ in rounding from here on.");
                    return Ok(cpu);
                }
            },
        };
        if device.adapter.name == record.adapter && device.adapter.driver == record.driver {
            device.choose(&registry::kernels(), &record.variants)?;
        } else {
            note(format_args!(
                "The run was on {} ({}): its numbers will differ in rounding from here on.",
                record.adapter, record.driver
            ));
        }
        Ok(Compute::Gpu(device))
    }
}

impl DeviceArgs {
    /// Watches the driver from here on.
    fn watch(&self) {
        watch::begin(self.device_timeout.unwrap_or(DEVICE_TIMEOUT));
    }

    pub fn choose(&self, backend: Option<Choice>) -> Result<Compute> {
        self.choose_for(backend, (0, 1))
    }

    fn choose_for(&self, backend: Option<Choice>, local: (usize, usize)) -> Result<Compute> {
        if backend != Some(Choice::Cpu) {
            self.watch();
        }
        let named = self.adapter.is_some() || std::env::var_os("WGPU_ADAPTER_NAME").is_some_and(|name| !name.is_empty());
        match (backend.unwrap_or(Choice::Auto), &self.adapter) {
            (Choice::Cpu, Some(_)) => Err(Error::Usage("--adapter names a GPU, and --backend cpu asks for none".into())),
            (Choice::Cpu, None) => Ok(self.cpu("asked for", local.1)),
            (Choice::Gpu, None) if !named => self.next_gpu(local).unwrap_or_else(|| Ok(Compute::Gpu(open(None, "asked for")?))),
            (Choice::Gpu, _) => Ok(Compute::Gpu(open(self.adapter.as_deref(), "asked for")?)),
            (Choice::Auto, _) if named => Ok(Compute::Gpu(open(self.adapter.as_deref(), "asked for by name")?)),
            (Choice::Auto, _) => self.next_gpu(local).unwrap_or_else(|| self.automatic(local.1)),
        }
    }

    /// For one of several processes of a machine that has several GPUs the next one.
    fn next_gpu(&self, (place, processes): (usize, usize)) -> Option<Result<Compute>> {
        if processes == 1 {
            return None;
        }
        let mut gpus: Vec<Adapter> = block_on(Adapter::all()).into_iter().filter(Adapter::is_hardware).collect();
        if gpus.len() < 2 {
            return None;
        }
        let gpu = gpus.swap_remove(place % gpus.len());
        Some(open_adapter(&gpu, "the next GPU for each process").map(Compute::Gpu))
    }

    fn automatic(&self, processes: usize) -> Result<Compute> {
        let adapters = block_on(Adapter::all());
        if adapters.iter().any(Adapter::is_hardware) {
            return Ok(Compute::Gpu(open(None, "the best GPU here")?));
        }
        Ok(match adapters.first() {
            None => self.cpu("no GPU was found", processes),
            Some(adapter) if !adapter.is_software() => {
                self.cpu(&format!("{} does not say that it is a GPU; --backend gpu uses it", adapter.name), processes)
            }
            Some(adapter) => {
                self.cpu(&format!("{} is a software adapter, and slower; --backend gpu uses it", adapter.name), processes)
            }
        })
    }

    fn cpu(&self, why: &str, processes: usize) -> Compute {
        let cores = share_of_cores(processes);
        let environment = || std::env::var("RAYON_NUM_THREADS").ok()?.parse().ok().filter(|&n| n > 0);
        let asked = self.threads.map(|n| n as usize).or_else(environment);
        // Threads of a product wait for each other in a loop: with more of them than cores they wait for ever longer.
        let threads = asked.unwrap_or(cores).min(cores);
        let plural = |n: usize| format!("{n} thread{}", if n == 1 { "" } else { "s" });
        let more = asked.filter(|&n| n > cores).map_or(String::new(), |n| format!(", not {n}: there are no more cores"));
        note(format_args!("Running on the CPU, {}{more} ({why}).", plural(threads)));
        Compute::Cpu(Some(threads))
    }
}

/// The cores for each of several processes of a machine. A launcher may have given each its own already.
fn share_of_cores(processes: usize) -> usize {
    let own = std::thread::available_parallelism().map_or(1, usize::from);
    let mut system = System::new();
    system.refresh_cpu_list(CpuRefreshKind::nothing());
    match system.cpus().len() {
        all if own * processes > all.max(own) => (own.max(all) / processes).max(1),
        _ => own,
    }
}

fn open(wanted: Option<&str>, why: &str) -> Result<Device> {
    open_adapter(&block_on(Adapter::find(wanted))?, why)
}

/// Opens the adapter of a run that goes on.
fn open_again(record: &DeviceRecord) -> Result<Device> {
    let found = block_on(Adapter::find_again(&record.adapter, &record.driver));
    let (adapter, count) = found.inspect_err(|_| {
        note(format_args!(
            "The run was on {}, which is not here. --backend cpu or --adapter goes on with it elsewhere, with other bits from here on.",
            record.adapter
        ));
    })?;
    if count > 1 {
        note(format_args!(
            "There are {count} of {}, and the run does not tell which it was on; the first is taken.",
            record.adapter
        ));
    }
    open_adapter(&adapter, "as before")
}

fn open_adapter(adapter: &Adapter, why: &str) -> Result<Device> {
    let kind = if adapter.is_software() { "software adapter: slow, for tests".into() } else { format!("{} GPU", adapter.kind) };
    note(format_args!("Running on {} ({kind}; {}, {}; {why}).", adapter.name, adapter.api, adapter.driver));
    block_on(Device::open(adapter))
}
