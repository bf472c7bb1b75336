//! `retrospect sweep`: many runs that differ in some flags.

mod arguments;
mod record;
mod report;
mod vary;

mod worker;

use std::fs;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ScopedJoinHandle;

use clap::Args;
use retrospect::backend::Compute;
use retrospect::data::Choice;
use retrospect::train::{Overview, Settings};
use retrospect::{Error, Result};

use self::arguments::{changed, parse, same_for_all};
pub use self::record::Record;
use self::record::validation_up_to;
use self::report::Report;
use self::vary::Vary;
use self::worker::Worker;
use super::compute::ComputeArgs;
use super::interrupt::Interrupt;
use super::options::RunArgs;
use super::terminal::note;
use super::train::Train;
use super::tune::TuneArgs;

/// Flags of `train` that are no choice of a run's own.
const NOT_VARIED: [&str; 10] =
    ["out", "resume", "new-data", "tensorboard", "json", "profile", "backend", "adapter", "threads", "tune"];

/// Flags by which runs are measured by different things, so that none of them is the best.
const MEASURES: [&str; 17] = [
    "loss",
    "quantile",
    "best",
    "task",
    "text",
    "data",
    "tokens",
    "vocabulary",
    "target",
    "classes",
    "ahead",
    "scale",
    "sequence",
    "validation",
    "test",
    "split-seed",
    "warmup-steps",
];

/// Trains many networks that differ in some flags, and tells which is the best
#[derive(Args)]
pub struct Sweep {
    /// A flag of `train` and its values (lr=1e-3,3e-3; on and off for one that has none), or with --random a range (lr=1e-4..1e-1; of whole
    /// numbers if both ends are whole, hidden=16..256); of several flags every combination is a run
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
        let (folder, mut record) = match &self.resume {
            Some(folder) => self.resumed(folder)?,
            None => self.begun()?,
        };
        let arguments = changed(&record.arguments, if self.resume.is_some() { same_for_all()? } else { Vec::new() })?;
        let all = record.runs.iter().map(|run| parse(&arguments, &record.flags, run)).collect::<Result<Vec<Train>>>()?;
        let computes = self.share(all[0].compute.choose()?, all.len())?;
        let _lock = record::lock(&folder)?;
        record.forget_passing_failures();
        note(format_args!(
            "A sweep of {} in {}.",
            if all.len() == 1 { "1 run".into() } else { format!("{} runs", all.len()) },
            folder.display()
        ));
        let under_way = UnderWay {
            folder: &folder,
            record: Mutex::new(record),
            all: &all,
            interrupt: Interrupt::listen(),
            last_failure: Mutex::new(None),
            jobs: computes.len(),
        };
        let outcome = under_way.run(computes);
        outcome.inspect_err(|_| note(format_args!("To go on: retrospect sweep --resume {}", folder.display())))?;
        let record = under_way.record().clone();
        if record.runs.iter().all(|run| run.failed.is_some()) {
            return Err(under_way.failure(&record));
        }
        let report = Report::new(&folder, &record)?;
        report.write()?;
        if self.json { report.print_json() } else { report.print() }
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
        if let Some(vary) = self.vary.iter().find(|vary| NOT_VARIED.contains(&&*vary.flag)) {
            return Err(Error::Usage(format!("--vary {}: it is the same for all runs", vary.flag)));
        }
        if let (true, Some(flag)) = (self.halving, self.vary.iter().find(|vary| MEASURES.contains(&&*vary.flag))) {
            let problem = "runs that differ in it are measured by different things, and --halving compares them";
            return Err(Error::Usage(format!("--vary {}: {problem}", flag.flag)));
        }
        let mut record = Record::new(&self.vary, self.random, same_for_all()?, self.halving)?;
        self.hold_out_alike(&mut record)?;
        for run in &record.runs {
            let options = parse(&record.arguments, &record.flags, run)?.options;
            if self.halving && !options.is_validated() {
                return Err(Error::Usage("--halving goes by validations, and --evaluate-every is off".into()));
            }
            if options.file().is_some_and(|data| data.path() == Some(Path::new("-"))) {
                return Err(Error::Usage("a sweep may read its data more than once, and standard input is read once".into()));
            }
        }
        let problem =
            |name: &str| Error::Usage(format!("{} holds {name} already; --resume goes on with a sweep", folder.display()));
        if Record::path(&folder).exists() {
            return Err(problem("a sweep"));
        }
        if let Some(run) = record.runs.iter().find(|run| folder.join(&run.name).exists()) {
            return Err(problem(&run.name));
        }
        fs::create_dir_all(&folder).map_err(|source| Error::Io { path: folder.clone(), source })?;
        record.write(&folder)?;
        Ok((folder, record))
    }

    /// Lets runs of different seeds hold out the same sequences, so that their validations can be compared.
    fn hold_out_alike(&self, record: &mut Record) -> Result<()> {
        let is_varied = |name: &str| record.flags.iter().any(|flag| flag == name);
        let first = parse(&record.arguments, &record.flags, &record.runs[0])?.options;
        if let ((seed, None), Some(Choice::Data(_))) = (first.seeds(), first.file())
            && is_varied("seed")
            && !is_varied("split-seed")
        {
            record.arguments.push(format!("--split-seed={seed}"));
        }
        Ok(())
    }

    /// A sweep that goes on, from where it began: its flags may name files from there.
    fn resumed(&self, folder: &Path) -> Result<(PathBuf, Record)> {
        let folder = super::options::absolute(folder);
        let record = Record::read(&folder)?;
        std::env::set_current_dir(&record.directory).map_err(|e| Error::BadInput {
            what: record.directory.clone(),
            problem: format!("is where the sweep began, and cannot be entered: {e}"),
        })?;
        Ok((folder, record))
    }
}

/// A sweep under way.
struct UnderWay<'a> {
    folder: &'a Path,
    record: Mutex<Record>,
    /// The flags of each run.
    all: &'a [Train],
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
        for (done, rung) in (0..=rungs).rev().enumerate() {
            // A rung that ended before stays as it ended, whatever has failed since.
            let survivors = self.record().survivors.get(done).cloned();
            alive = match survivors {
                Some(survivors) => survivors,
                None => {
                    advance_all(&mut workers, &alive, rung)?;
                    if rung == 0 {
                        return Ok(());
                    }
                    let better = self.better_half(&alive, rung)?;
                    let mut record = self.record();
                    record.survivors.push(better.clone());
                    record.write(self.folder)?;
                    better
                }
            };
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

    /// The better half, by the best validation of each up to its goal. Those that failed are in neither.
    fn better_half(&self, alive: &[usize], rung: u32) -> Result<Vec<usize>> {
        let mut scores = Vec::new();
        for &place in alive {
            if self.record().runs[place].failed.is_some() {
                continue;
            }
            let Overview { header, metrics } = Overview::read(&self.path(place))?;
            let goal = UnderWay::goal(&header.settings, rung)?;
            let best = validation_up_to(&metrics?, header.settings.best_by, goal);
            let problem = "--halving goes by validations, and nothing is held out of the data (--validation)";
            scores.push((place, best.ok_or_else(|| Error::Usage(problem.into()))?));
        }
        // Of equal ones the first stays: sorting is stable.
        scores.sort_by(|(_, a), (_, b)| a.total_cmp(b));
        scores.truncate(scores.len().div_ceil(2));
        let mut better: Vec<usize> = scores.into_iter().map(|(place, _)| place).collect();
        better.sort_unstable();
        Ok(better)
    }

    /// What the command ends with where no run could be trained. A sweep that never began leaves its name free.
    fn failure(&self, record: &Record) -> Error {
        if record.runs.iter().all(|run| !self.folder.join(&run.name).exists()) {
            let _ = fs::remove_file(Record::path(self.folder));
        }
        let first = record.runs.iter().find_map(|run| run.failed.as_ref()).map_or("", |failed| &failed.why);
        let known =
            Error::BadInput { what: self.folder.display().to_string(), problem: format!("no run could be trained: {first}") };
        locked(&self.last_failure).take().unwrap_or(known)
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        locked(&self.record)
    }

    fn path(&self, place: usize) -> PathBuf {
        self.folder.join(&self.record().runs[place].name)
    }
}

/// Trains each of some runs to its goal, on all workers.
fn advance_all(workers: &mut [Worker], runs: &[usize], rung: u32) -> Result<()> {
    let next = AtomicUsize::new(0);
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
        // A panic of one is that of all.
        let join = |thread: ScopedJoinHandle<Result<()>>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        others.into_iter().map(join).fold(outcome, Result::and)
    })
}
