//! `retrospect sweep`: many runs that differ in some flags, one after the other.

mod record;
mod report;
mod vary;

mod worker;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use clap::{Args, FromArgMatches};
use retrospect::backend::Compute;
use retrospect::train::{Overview, Settings};
use retrospect::{Error, Result};

use self::record::{Record, Run, score};
use self::report::Report;
use self::vary::{Vary, combinations};
use self::worker::Worker;
use super::compute::ComputeArgs;
use super::files::expect_utf8;
use super::interrupt::Interrupt;
use super::options::RunArgs;
use super::terminal::note;
use super::train::Train;
use super::tune::TuneArgs;

/// Flags of `train` that are no choice of a run's own.
const NOT_VARIED: [&str; 9] = ["out", "resume", "new-data", "json", "profile", "backend", "adapter", "threads", "tune"];

/// Flags of this command that `train` does not have, and whether each has a value.
const OWN: [(&str, bool); 7] = [
    ("--vary", true),
    ("--random", true),
    ("--halving", false),
    ("--jobs", true),
    ("--out", true),
    ("--resume", true),
    ("--json", false),
];

/// Flags that may be given again when a sweep goes on.
const AGAIN: [&str; 5] = ["--backend", "--adapter", "--threads", "--tune", "--color"];

/// Trains many networks that differ in some flags, and tells which is the best
#[derive(Args)]
pub struct Sweep {
    /// A flag of `train` and its values (lr=1e-3,3e-3), or with --random a range (lr=1e-4..1e-1); of several flags every combination is a run
    #[arg(long, value_name = "FLAG=VALUES", required_unless_present = "resume")]
    vary: Vec<Vary>,

    /// Make N runs of random values in place of every combination; the same ones each time
    #[arg(long, value_name = "N", value_parser = super::options::size())]
    random: Option<usize>,

    /// End the worse half of the runs early: all train for a small part of the steps, the better half of them for twice as many, and so on to
    /// the last one
    #[arg(long)]
    halving: bool,

    /// Train N runs at once on the CPU, which share its threads [default: one for each thread; 1 on a GPU]
    #[arg(long, value_name = "N", value_parser = super::options::size())]
    jobs: Option<usize>,

    /// The folder of the sweep, with a folder for each run
    #[arg(long, value_name = "DIR", required_unless_present = "resume", conflicts_with = "resume")]
    out: Option<PathBuf>,

    /// Go on with the sweep in DIR
    #[arg(long, value_name = "DIR", conflicts_with_all = ["vary", "random", "halving"])]
    resume: Option<PathBuf>,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    options: RunArgs,

    #[command(flatten)]
    tune: TuneArgs,

    #[command(flatten)]
    compute: ComputeArgs,
}

impl Sweep {
    pub fn run(&self) -> Result<()> {
        let (folder, record) = match &self.resume {
            Some(folder) => (folder.clone(), self.resumed(folder)?),
            None => self.begun()?,
        };
        let all = record.runs.iter().map(|run| parse(&record, run)).collect::<Result<Vec<Train>>>()?;
        let is_given = self.compute.backend.is_some() || self.compute.device.adapter.is_some();
        let compute = if is_given { &self.compute } else { &all[0].compute };
        let computes = self.share(compute.choose()?, all.len())?;
        note(format_args!("A sweep of {} runs in {}.", all.len(), folder.display()));
        let under_way = UnderWay {
            tune: if self.resume.is_some() { &all[0].tune } else { &self.tune },
            folder: &folder,
            record: Mutex::new(record),
            all: &all,
            interrupt: Interrupt::listen(),
            last_failure: Mutex::new(None),
            jobs: computes.len(),
        };
        let outcome = under_way.run(computes);
        outcome.inspect_err(|_| note(format_args!("To go on: retrospect sweep --resume {}", folder.display())))?;
        let (record, last_failure) = (under_way.record().clone(), locked(&under_way.last_failure).take());
        let report = Report::new(&folder, &record)?;
        report.write()?;
        if self.json {
            report.print_json()?
        } else {
            report.print()?
        }
        match last_failure {
            Some(error) if report.best().is_none() => Err(error),
            _ => Ok(()),
        }
    }

    /// A place to compute for each of the runs that train at once.
    fn share(&self, compute: Compute, runs: usize) -> Result<Vec<Compute>> {
        match (compute, self.jobs) {
            (Compute::Cpu(threads), jobs) => {
                let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
                let jobs = jobs.unwrap_or(threads).min(runs);
                Ok(vec![Compute::Cpu(Some((threads / jobs).max(1))); jobs])
            }
            (compute, None | Some(1)) => Ok(vec![compute]),
            (Compute::Gpu(_), Some(jobs)) => {
                Err(Error::Usage(format!("--jobs {jobs}: a GPU trains one run at a time; --backend cpu")))
            }
        }
    }

    /// A new sweep: its folder with the record, which is the first thing there.
    fn begun(&self) -> Result<(PathBuf, Record)> {
        let folder = self.out.clone().expect("required without --resume");
        expect_utf8(&folder)?;
        if let Some(vary) = self.vary.iter().find(|vary| NOT_VARIED.contains(&&*vary.flag)) {
            return Err(Error::Usage(format!("--vary {}: it is the same for all runs", vary.flag)));
        }
        if self.options.file().and_then(|file| file.path().map(|path| path == Path::new("-"))) == Some(true) {
            return Err(Error::Usage("a sweep may read its data more than once, and standard input is read once".into()));
        }
        let flags: Vec<String> = self.vary.iter().map(|vary| vary.flag.clone()).collect();
        let values = combinations(&self.vary, self.random)?;
        let count = values.len();
        let runs = (1..).zip(values).map(|(number, values)| Run::new(number, count, &flags, values)).collect();
        let arguments = same_for_all(std::env::args_os().skip(1).map(|text| text.to_string_lossy().into_owned()));
        let record = Record { version: env!("CARGO_PKG_VERSION").into(), arguments, flags, halving: self.halving, runs };
        record.runs.iter().try_for_each(|run| parse(&record, run).map(|_| ()))?;
        if Record::path(&folder).exists() {
            let problem = format!("{} holds a sweep already; --resume goes on with it", folder.display());
            return Err(Error::Usage(problem));
        }
        fs::create_dir_all(&folder).map_err(|source| Error::Io { path: folder.clone(), source })?;
        record.write(&folder)?;
        Ok((folder, record))
    }

    /// The record of a sweep that goes on, whose flags stay as they were.
    fn resumed(&self, folder: &Path) -> Result<Record> {
        let given = same_for_all(std::env::args_os().skip(1).map(|text| text.to_string_lossy().into_owned()));
        let is_again = |flag: &str| AGAIN.contains(&flag.split('=').next().unwrap_or(flag));
        if let Some(flag) = given.iter().find(|text| text.starts_with("--") && !is_again(text)) {
            return Err(Error::Usage(format!("{flag}: a sweep goes on with the flags that it began with")));
        }
        Record::read(folder)
    }
}

/// The arguments of the command line that are those of every run: what `train` takes.
fn same_for_all(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let mut arguments = arguments.skip_while(|text| text != "sweep").skip(1);
    let mut same = Vec::new();
    while let Some(text) = arguments.next() {
        let flag = text.split('=').next().unwrap_or_default();
        match OWN.iter().find(|(own, _)| *own == flag) {
            Some((_, has_value)) => {
                if *has_value && !text.contains('=') {
                    arguments.next();
                }
            }
            None => same.push(text),
        }
    }
    same
}

/// The flags of a run as `train` reads them.
fn parse(record: &Record, run: &Run) -> Result<Train> {
    let own = record.flags.iter().zip(&run.values).map(|(flag, value)| format!("--{flag}={value}"));
    let line = std::iter::once("train".to_owned()).chain(record.arguments.clone()).chain(own);
    let command = Train::augment_args(clap::Command::new("train").no_binary_name(false).disable_help_flag(true));
    let parsed = command.try_get_matches_from(line).and_then(|matches| Train::from_arg_matches(&matches));
    parsed.map_err(|error| {
        // The first paragraph says what is wrong, and the others are about `train`.
        let text = error.to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        Error::Usage(format!("run {}: {}", run.name, text.split("\n\n").next().unwrap_or(text).trim_end()))
    })
}

/// A sweep under way.
struct UnderWay<'a> {
    folder: &'a Path,
    record: Mutex<Record>,
    /// The flags of each run.
    all: &'a [Train],
    tune: &'a TuneArgs,
    interrupt: Interrupt,
    last_failure: Mutex<Option<Error>>,
    /// How many runs train at once.
    jobs: usize,
}

/// What a thread that panicked has locked is as it left it.
fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl UnderWay<'_> {
    /// Trains every run, or with halving rung by rung those that are still in; as many at once as there are places to compute.
    fn run(&self, computes: Vec<Compute>) -> Result<()> {
        let mut workers: Vec<Worker> =
            computes.into_iter().enumerate().map(|(place, compute)| Worker::new(self, compute, place > 0)).collect();
        let mut alive: Vec<usize> = (0..self.all.len()).collect();
        let rungs = if self.record().halving { alive.len().ilog2() } else { 0 };
        for rung in (0..=rungs).rev() {
            let next = AtomicUsize::new(0);
            let (runs, next) = (&alive, &next);
            let work = |worker: &mut Worker| {
                while let Some(&place) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // Where one cannot go on, the others begin no more runs.
                    worker.advance(place, rung).inspect_err(|_| next.store(runs.len(), Ordering::Relaxed))?;
                }
                Ok(())
            };
            let (first, others) = workers.split_first_mut().expect("one place to compute at least");
            std::thread::scope(|scope| {
                let others: Vec<_> = others.iter_mut().map(|worker| scope.spawn(|| work(worker))).collect();
                let outcome = work(first);
                let join = |thread: std::thread::ScopedJoinHandle<Result<()>>| {
                    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                };
                others.into_iter().map(join).fold(outcome, Result::and)
            })?;
            alive = self.better_half(alive, rung);
        }
        Ok(())
    }

    /// The step up to which a run trains, of so many halvings before the end: one that is validated.
    fn goal(settings: &Settings, rung: u32) -> Result<u64> {
        match settings.evaluate_every {
            _ if rung == 0 => Ok(settings.steps),
            Some(every) => Ok((settings.steps >> rung).max(1).next_multiple_of(every).min(settings.steps)),
            None => Err(Error::Usage("--halving goes by validations, and --evaluate-every is off".into())),
        }
    }

    /// The better half, by what each has come to up to its goal. Those that failed are in neither.
    fn better_half(&self, alive: Vec<usize>, rung: u32) -> Vec<usize> {
        let score_of = |place: usize| {
            let run = Overview::read(&self.path(place)).ok()?;
            let goal = UnderWay::goal(&run.header.settings, rung).ok()?;
            score(&run, goal)
        };
        let going = alive.into_iter().filter(|&place| self.record().runs[place].failed.is_none());
        let mut scores: Vec<(usize, f64)> = going.map(|place| (place, score_of(place).unwrap_or(f64::INFINITY))).collect();
        // Of equal ones the first stays: sorting is stable.
        scores.sort_by(|(_, a), (_, b)| a.total_cmp(b));
        scores.truncate(scores.len().div_ceil(2));
        let mut better: Vec<usize> = scores.into_iter().map(|(place, _)| place).collect();
        better.sort_unstable();
        better
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        locked(&self.record)
    }

    fn path(&self, place: usize) -> PathBuf {
        self.folder.join(&self.record().runs[place].name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_for_all_is_what_train_takes() {
        let line = "retrospect --color never sweep --vary lr=1,2 --hidden 4 --vary=seed=1,2 --out x --json --clip=1 --halving --random 3";
        assert_eq!(same_for_all(line.split(' ').map(String::from)), ["--hidden", "4", "--clip=1"]);
    }
}
