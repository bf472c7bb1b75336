//! A short training, and what becomes of it under a fault.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use retrospect::train::Checkpoint;
use tempfile::TempDir;

use super::plan::Fault;
use super::tools::Tools;

const TRAIN: &str = "train --text text --hidden 4 --window 5 --batch 2 --loss-every 1";

/// The rest of the line of a training, and its steps. On the GPU a fault takes longer, so there are fewer calls.
fn training_on(backend: &str) -> (&'static str, u64) {
    match backend {
        "gpu" => ("--optimizer momentum --lr 0.1 --steps 2 --checkpoint-every 1 --evaluate-every 2", 2),
        _ => ("--steps 4 --checkpoint-every 2 --evaluate-every 4", 4),
    }
}
/// The folder of a run, by a name that nothing else has in it.
const RUN: &str = "faulty-run";
const TEXT: &str =
    "The quick brown fox jumps over the lazy dog. A journey of a thousand miles begins with a single step, they say.\n";

/// What `--device-timeout` is for calls that never come back.
const TIMEOUT: &str = "0.3";
/// The longest that a process may take.
const MOST: Duration = Duration::from_secs(90);

/// The training on a backend.
pub struct Training {
    pub backend: &'static str,
    /// The numbers of the last checkpoint of one that nothing happened to.
    expected: Vec<u8>,
}

/// What became of a training.
#[derive(Debug, Default)]
pub struct Outcome {
    pub is_struck: bool,
    /// Training steps that were logged and have to be taken again.
    pub lost_work: u64,
    pub panicked: bool,
    pub got_signal: bool,
    pub hung: bool,
    pub problems: Vec<String>,
}

/// A folder for a run.
pub struct Place(TempDir);

/// How a process ended, and its stderr; `None`: it did not.
pub type Ended = (Option<ExitStatus>, String);

impl Place {
    pub fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("text"), TEXT).unwrap();
        Place(folder)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self) -> PathBuf {
        self.path(RUN)
    }

    /// All numbers of the last checkpoint, bit by bit, if it is that of the last step. Its header names the folder.
    fn numbers(&self, backend: &str) -> Option<Vec<u8>> {
        let bytes = fs::read(Checkpoint::path(&self.run())).ok()?;
        let header = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?) as usize;
        let checkpoint = Checkpoint::read(&Checkpoint::path(&self.run())).ok()?;
        (checkpoint.step == training_on(backend).1).then(|| bytes[8 + header..].to_vec())
    }

    /// The program, to go on where there is something to go on from.
    pub fn command(&self, backend: &str, more: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_retrospect"));
        if Checkpoint::is_in(&self.run()) {
            command.args(["train", "--resume", RUN]);
        } else {
            command.args(TRAIN.split(' ')).args(training_on(backend).0.split(' ')).args(["--out", RUN]);
        }
        command.args(["--backend", backend]).args(more.split_whitespace());
        for variable in ["WGPU_BACKEND", "WGPU_ADAPTER_NAME", "WGPU_POWER_PREF", "RAYON_NUM_THREADS", "RUST_BACKTRACE"] {
            command.env_remove(variable);
        }
        // What drivers have compiled is kept for all.
        let cache = concat!(env!("CARGO_TARGET_TMPDIR"), "/faults");
        command.current_dir(self.0.path()).env("XDG_CACHE_HOME", cache).env("NODEVICE_SELECT", "1");
        command
    }

    /// Runs it to its end, or for as long as it may take.
    pub fn finish(&self, command: &mut Command) -> Ended {
        let said = self.path("said");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&said).unwrap())
            .spawn()
            .expect("the program starts");
        let begun = Instant::now();
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if begun.elapsed() > MOST => {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    break None;
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        (status, String::from_utf8_lossy(&fs::read(said).unwrap()).into_owned())
    }
}

impl Training {
    /// One that nothing happens to.
    pub fn undisturbed(backend: &'static str) -> Training {
        let place = Place::new();
        let (status, said) = place.finish(&mut place.command(backend, ""));
        assert!(status.is_some_and(|status| status.success()), "{backend}: {said}");
        Training { backend, expected: place.numbers(backend).expect("a checkpoint of the last step") }
    }

    pub fn has_same_bits(&self, place: &Place) -> bool {
        place.numbers(self.backend).as_ref() == Some(&self.expected)
    }

    /// What a tool counts in it.
    pub fn calls(&self, tools: &Tools) -> String {
        let place = Place::new();
        let mut command = place.command(self.backend, "");
        let calls = place.path("calls");
        tools.count(&mut command, self.backend, RUN, &calls);
        let (status, said) = place.finish(&mut command);
        assert!(status.is_some_and(|status| status.success()) && self.has_same_bits(&place), "{}: {said}", self.backend);
        fs::read_to_string(calls).expect("the tool is loaded and counts")
    }

    /// Trains under a fault, and goes on without it.
    pub fn suffer(&self, fault: &Fault, tools: &Tools) -> Outcome {
        let (place, mut outcome) = (Place::new(), Outcome::default());
        let timeout =
            if ["never", "ignored"].contains(&fault.act) { format!("--device-timeout {TIMEOUT}") } else { String::new() };
        let mut command = place.command(self.backend, &timeout);
        let struck = place.path("struck");
        tools.plant(&mut command, fault, RUN, &struck);
        let ended = place.finish(&mut command);
        outcome.is_struck = struck.exists();
        let is_killed = outcome.is_struck && ["before", "after"].contains(&fault.act);
        outcome.look(&ended, is_killed);
        outcome.expect_code(&ended, fault, &place);
        outcome.lost_work = lost_work(&place.run());
        if !outcome.hung && !ended.0.is_some_and(|status| status.success()) {
            self.go_on(&place, &mut outcome);
        }
        if !self.has_same_bits(&place) {
            outcome.problems.push("the last checkpoint has other bits".into());
        }
        outcome
    }

    /// Goes on without a fault, from the beginning where there is no checkpoint.
    fn go_on(&self, place: &Place, outcome: &mut Outcome) {
        let ended = place.finish(&mut place.command(self.backend, ""));
        outcome.look(&ended, false);
        // There may be nothing left to do.
        let (_, steps) = training_on(self.backend);
        let is_done = ended.1.contains(&format!("is at step {steps}, and the run ends at step {steps}"));
        if !(ended.0.is_some_and(|status| status.success()) || is_done) {
            outcome.problems.push(format!("it does not go on: {:?}: {}", ended.0, ended.1));
        }
    }
}

impl Outcome {
    /// Whether it ended, and yet not as it should.
    pub fn is_wrong(&self) -> bool {
        let has_ended = !(self.panicked || self.got_signal || self.hung);
        has_ended && !self.problems.is_empty()
    }

    /// Sees to it that a process has ended, by itself.
    fn look(&mut self, (status, said): &Ended, is_killed: bool) {
        let signal = status.and_then(|status| status.signal());
        self.hung |= status.is_none();
        self.panicked |= said.contains("panicked") || status.and_then(|status| status.code()) == Some(101);
        self.got_signal |= signal.is_some() && !is_killed;
        if self.hung || self.panicked || self.got_signal {
            self.problems.push(format!("{status:?}: {said}"));
        }
    }

    /// An error names its cause by its code, and the last checkpoint where the device failed under way.
    fn expect_code(&mut self, (status, said): &Ended, fault: &Fault, place: &Place) {
        let Some(code) = status.and_then(|status| status.code()) else { return };
        let codes: &[i32] = match (fault.backend, fault.act) {
            ("gpu", "memory") => &[0, 3, 4, 5],
            ("gpu", _) => &[0, 3, 5],
            _ => &[0, 1, 7],
        };
        if !codes.contains(&code) {
            self.problems.push(format!("exit code {code}: {said}"));
        }
        if fault.backend == "gpu" && code != 0 && Checkpoint::is_in(&place.run()) && !said.contains("the last checkpoint is") {
            self.problems.push(format!("exit code {code}, and the last checkpoint is not named: {said}"));
        }
    }
}

/// The training steps of a run that were logged after its last checkpoint.
fn lost_work(run: &Path) -> u64 {
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
    let lines = metrics.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let logged = lines.filter_map(|line| line["step"].as_u64()).max().unwrap_or(0);
    let saved = Checkpoint::of_run(run).map_or(0, |(checkpoint, _, _)| checkpoint.step);
    logged.saturating_sub(saved)
}
