//! `retrospect train`.

mod resume;

use std::ffi::OsString;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use retrospect::data::{Choice, OpenedData, Task, guess};
use retrospect::model::Config;
use retrospect::trace::Trace;
use retrospect::train::{Best, BestBy, Checkpoint, Event, Folder, LayerFlow, Metrics, Settings, Summary, Training};
use retrospect::{Error, Result, WholeFile};

use super::compute::ComputeArgs;
use super::files::{expect_utf8, refuse_overwrite};
use super::interrupt::Interrupt;
use super::options::{DataCache, FIXED, RunArgs};
use super::plot;
use super::progress::Progress;
use super::ranks::RanksArgs;
use super::retry::{RetryArgs, arguments, go_on};
use super::sketch;
use super::spreadsheet::spreadsheet;
use super::tensorboard::Events;
use super::terminal::{note, pairs, print, print_json_line, significant, thousands};
use super::tune::TuneArgs;
use super::watch;

/// Trains a network; with no data named, on the adding problem
#[derive(Args)]
pub struct Train {
    #[command(flatten)]
    pub options: RunArgs,

    /// The run's folder [default: runs/<time>-<task>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Go on with the run in DIR, from its last checkpoint; steps, rate and its schedule, clipping, intervals and device may change, and --text, --data,
    /// --validation and --test name files at a new place
    #[arg(long, value_name = "DIR", conflicts_with_all = FIXED, conflicts_with = "out")]
    resume: Option<PathBuf>,

    /// Go on with other data, of the same vocabulary or the same shapes, from the next step; also with other files of
    /// --validation and --test
    #[arg(long, requires = "resume")]
    new_data: bool,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,

    /// Write when each step of every training step ran, for chrome://tracing or Perfetto: some 5 KB a training step
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,

    #[command(flatten)]
    pub tune: TuneArgs,

    #[command(flatten)]
    pub compute: ComputeArgs,

    #[command(flatten)]
    ranks: RanksArgs,

    #[command(flatten)]
    retry: RetryArgs,
}

impl Train {
    pub fn run(&self) -> Result<()> {
        let started = Instant::now();
        if let (true, Some(folder)) = (self.json, self.out.as_ref().or(self.resume.as_ref())) {
            expect_utf8(folder)?;
        }
        let asked = Arc::new(AtomicBool::new(false));
        let ranks = self.ranks.join(&asked)?;
        ranks.about().iter().for_each(note);
        if self.retry.tries() > 0 {
            ranks.expect_one("--retry-device")?;
        }
        let is_first = ranks.is_first();
        let mut trace = None;
        let mut training = match &self.resume {
            Some(run) => self.resumed(run, ranks, &mut trace)?,
            None => {
                let (settings, mut opened) = self.options.settings(&mut DataCache::default())?;
                note(about(&settings, &mut opened));
                let default = default_folder(SystemTime::now(), settings.data.name());
                let inputs: Vec<PathBuf> =
                    settings.data.path().into_iter().map(Path::to_owned).chain(settings.init.clone()).collect();
                let folder = || {
                    // What cannot be written is known before there is a folder.
                    trace = self.trace(&inputs)?;
                    match &self.out {
                        Some(out) => Folder::create(out),
                        None => Folder::create_beside(&default),
                    }
                };
                let mut compute = self.compute.choose_for(ranks.local)?;
                self.tune.prepare_network(&mut compute, &ranks.share_of(&settings.network))?;
                Training::new_together(settings, opened, &compute, ranks.collective, folder)?
            }
        };
        if let Some(trace) = trace {
            training.profile(trace)?;
        }
        let folder = training.folder().to_owned();
        if is_first {
            write_run_file(&training)?;
        }
        if self.resume.is_some() {
            watch::saved(&Checkpoint::path(&folder));
        }
        let (outcome, traced) = self.train(&mut training, Interrupt::listen_for(asked), is_first)?;
        let ended = self.end(&mut training, &outcome);
        let drawn = if is_first { draw(&folder) } else { Ok(Vec::new()) };
        match outcome {
            Ok(summary) => {
                let metrics = drawn.unwrap_or_else(|error| {
                    note(format_args!("There is no figure or table of the metrics: {error}"));
                    Vec::new()
                });
                self.report(&folder, &summary, started, &metrics, traced.as_ref())?;
                ended
            }
            Err(error) => {
                if matches!(error, Error::DeviceLost { .. } | Error::Device { .. } | Error::DoesNotFit { .. }) {
                    training.leave_ranks();
                    // A driver that has failed may crash, or wait for ever, where what it holds is freed.
                    std::mem::forget(training);
                }
                Err(error)
            }
        }
    }

    /// Ends in order with the other processes, where they have come to the same end.
    fn end(&self, training: &mut Training, outcome: &Result<Summary>) -> Result<()> {
        match outcome {
            Ok(_) => training.finish(),
            Err(Error::Interrupted { step, .. }) => {
                if *step < training.settings().steps {
                    note(format_args!("To go on: retrospect train --resume {}", training.folder().display()));
                }
                // The launcher may have ended some of them already.
                let _ = training.finish();
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }

    /// Trains to the last step, on a device that is opened again when it is lost, if that is asked for. Returns how the run ended, and what was
    /// traced last.
    fn train(
        &self,
        training: &mut Training,
        interrupt: Interrupt,
        is_first: bool,
    ) -> Result<(Result<Summary>, Option<LayerFlow>)> {
        let mut progress = Progress::new(training.settings());
        let mut traced = None;
        let wants_events = self.options.tensorboard && is_first;
        let mut events = Events::wanted(wants_events, training)?;
        let mut tries = self.retry.tries();
        let outcome = loop {
            watch::arm(self.again(training.folder(), tries));
            let ended = training.run(|event| {
                progress.hear(event);
                events.hear(event);
                match event {
                    Event::Saved(path) => watch::saved(path),
                    Event::Logged(Metrics::Trace { gradients, .. }) => traced = gradients.last().cloned(),
                    _ => {}
                }
                if interrupt.is_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            let Err(error) = ended else { break ended };
            if let Err(error) = go_on(training, error, &mut tries, &self.compute, &self.tune) {
                break Err(error);
            }
            events = Events::wanted(wants_events, training)?;
        };
        watch::arm(None);
        progress.finish();
        Ok((outcome, traced))
    }

    /// The arguments of a process that goes on with the run, where the device may be tried again. A profile would be written over.
    fn again(&self, folder: &Path, tries: u32) -> Option<Vec<OsString>> {
        let mut rest = [self.compute.again(), self.tune.again()].concat();
        rest.extend(self.json.then(|| "--json".into()));
        rest.extend(self.options.tensorboard.then(|| "--tensorboard".into()));
        if self.profile.is_some() { None } else { arguments(folder, self.resume.is_some(), tries, &rest) }
    }

    /// The profile, if one was asked for; it is none of the files that the run reads.
    fn trace(&self, inputs: &[PathBuf]) -> Result<Option<Trace>> {
        let Some(path) = &self.profile else { return Ok(None) };
        refuse_overwrite("--profile", path, inputs.iter().map(PathBuf::as_path))?;
        Trace::create(path).map(Some)
    }

    fn report(
        &self,
        folder: &Path,
        summary: &Summary,
        started: Instant,
        metrics: &[Metrics],
        traced: Option<&LayerFlow>,
    ) -> Result<()> {
        let Summary { steps, loss, validation_loss, best, stopped_early, ms_per_step, ref before_explosion, .. } = *summary;
        if self.json {
            // A struct and not json!, which would write the f32 with the digits of an f64.
            #[derive(serde::Serialize)]
            struct Result<'a> {
                run: &'a Path,
                steps: u64,
                loss: f32,
                validation_loss: Option<f64>,
                best: Option<Best>,
                stopped_early: bool,
                ms_per_step: f64,
                #[serde(skip_serializing_if = "Option::is_none")]
                before_explosion: Option<&'a Path>,
            }
            let before_explosion = before_explosion.as_deref();
            let result = Result { run: folder, steps, loss, validation_loss, best, stopped_early, ms_per_step, before_explosion };
            return print_json_line(&result);
        }
        let time = format!("{:.1} s", started.elapsed().as_secs_f64());
        let mut rows = vec![
            ("steps", if stopped_early { format!("{}, stopped early", thousands(steps)) } else { thousands(steps) }),
            // Nothing but an interrupted validation may have been left to do.
            ("time", if ms_per_step.is_nan() { time } else { format!("{time}, {ms_per_step:.2} ms a step") }),
            ("loss", if loss.is_nan() { "not measured".into() } else { significant(loss.into()) }),
        ];
        if sketch::is_wanted() {
            let loss = |line: &Metrics| match line {
                Metrics::Step { loss, .. } if *loss > 0.0 => Some(f64::from(*loss).ln()),
                _ => None,
            };
            let losses: Vec<f64> = metrics.iter().filter_map(loss).collect();
            rows.push(("", sketch::spread(&sketch::means(&losses))));
        }
        rows.extend(validation_loss.map(|loss| ("validation loss", significant(loss))));
        rows.extend(best.map(|best| {
            let name = if best.metric == BestBy::Loss { "best loss" } else { "best accuracy" };
            (name, format!("{} at step {}", significant(best.value), thousands(best.step)))
        }));
        rows.extend(traced.map(|flow| {
            let rate = match (flow.rate, &flow.norms[..]) {
                (Some(rate), _) => format!("× {rate:.4} a step back"),
                (None, [] | [_]) => "a single time step".into(),
                (None, [_, Some(_), ..]) => "nothing a step back".into(),
                (None, [_, None, ..]) => "beyond f32 a step back".into(),
            };
            let shares = flow
                .saturated
                .zip(flow.dead)
                .map(|(saturated, dead)| format!("{:.1} % saturated, {:.1} % dead; ", saturated * 100.0, dead * 100.0));
            let shares = shares.unwrap_or_default();
            ("gradient, top layer", format!("{rate}; {shares}{}", folder.join("gradients.svg").display()))
        }));
        if let Some(path) = before_explosion {
            rows.push((
                "exploded",
                format!("the loss was 100 times the first and has not come back; from before: {}", path.display()),
            ));
        }
        rows.push(("run", folder.display().to_string()));
        print(&pairs(&rows))
    }
}

/// The network, and what it must beat.
fn about(settings: &Settings, opened: &mut OpenedData) -> String {
    let Config { layers, hidden, .. } = settings.network;
    let directions = if settings.network.bidirectional { ", in both directions" } else { "" };
    let embedding = settings.network.embedding.map_or(String::new(), |size| format!(", tokens embedded as {size} numbers"));
    let layers = if layers == 1 { String::new() } else { format!("{layers} layers of ") };
    let parameters = thousands(settings.network.parameters() as u64);
    let network = format!("{}: {layers}{hidden} units{directions}{embedding}; {parameters} parameters", settings.network.cell);
    let guess = match &settings.data {
        Choice::Task(name) if settings.network.loss == settings.network.loss.target_kind().usual_loss() => {
            Task::named(name).ok().map(|task| (task.guess)(settings.window))
        }
        _ => guess(&mut *opened.source, &settings.network.loss),
    };
    let score = guess.map_or(String::new(), |loss| format!("; a guess scores a loss of {}", significant(loss)));
    format!("{network}{score}.")
}

/// Draws the figures of a run and writes its metrics as a table; returns them.
///
/// # Errors
/// [`Error::Io`]; [`Error::BadInput`] for metrics that cannot be read.
pub fn draw(folder: &Path) -> Result<Vec<Metrics>> {
    let metrics = Folder::metrics(folder)?;
    plot::losses(folder, &metrics)?;
    plot::tracing(folder, &metrics)?;
    spreadsheet(folder, &metrics)?;
    Ok(metrics)
}

/// `run.toml`: what the run follows from and where it runs, to be read by people.
pub fn write_run_file(training: &Training) -> Result<()> {
    #[derive(serde::Serialize)]
    struct Run<'a> {
        version: &'a str,
        settings: &'a Settings,
        device: &'a retrospect::train::DeviceRecord,
    }
    let run = Run { version: env!("CARGO_PKG_VERSION"), settings: training.settings(), device: training.device() };
    let path = training.folder().join("run.toml");
    let failed = |source: std::io::Error| Error::Io { path: path.clone(), source };
    let head = "# A record of the run. Resuming reads the checkpoint, not this file.\n";
    let text = toml::to_string(&run).map(|text| format!("{head}{text}")).map_err(|e| failed(std::io::Error::other(e)))?;
    let mut file = WholeFile::create_plain(&path)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.complete()
}

/// `runs/<time>-<task>`.
fn default_folder(now: SystemTime, task: &str) -> PathBuf {
    // A clock may say anything, and what is before 1970 or after 9999 cannot be written so.
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    let time = humantime::format_rfc3339_seconds(now.clamp(SystemTime::UNIX_EPOCH, last)).to_string().replace(':', "");
    Path::new("runs").join(format!("{time}-{task}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clock_names_a_folder() {
        let (epoch, day) = (SystemTime::UNIX_EPOCH, Duration::from_secs(86_400));
        for (now, expected) in [
            (epoch + day * 365, "runs/1971-01-01T000000Z-adding"),
            (epoch - day, "runs/1970-01-01T000000Z-adding"),
            (epoch + day * 365 * 9000, "runs/9999-12-31T235959Z-adding"),
        ] {
            assert_eq!(default_folder(now, "adding"), Path::new(expected));
        }
    }
}
