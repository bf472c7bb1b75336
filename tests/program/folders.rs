//! A run's folder under adversity: no room, a write that fails, another process, damaged metrics, and links that lead elsewhere.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use retrospect::backend::Compute;
use retrospect::data::Part;
use retrospect::train::{Checkpoint, Event, Folder, Summary, Training};
use retrospect::{Error, Result};

use super::{run, succeed};

const LINE: &str =
    "train --hidden 5 --window 6 --steps 6 --checkpoint-every 2 --loss-every 1 --evaluate-every off --backend cpu --out run";

/// Goes on with a run in this process up to step 12, with a checkpoint every two steps.
fn go_on(run: &Path, watch: impl FnMut(Event) -> ControlFlow<()>) -> Result<Summary> {
    let folder = Folder::of_run(run)?;
    let (mut checkpoint, _, _) = Checkpoint::of_run(run)?;
    checkpoint.origin.settings.steps = 12;
    let opened = checkpoint.origin.open(Part::Validation)?;
    Training::resume(&checkpoint, opened, &Compute::Cpu(Some(1)), || Ok(folder))?.run(watch)
}

/// Where its folder is away when a checkpoint is due.
fn without_folder(run: &Path, comes_back: bool) -> (Result<Summary>, usize) {
    let away: PathBuf = run.with_extension("away");
    let mut failures = 0;
    let outcome = go_on(run, |event| {
        match event {
            Event::Step(7) => fs::rename(run, &away).unwrap(),
            Event::NotSaved(error) => {
                assert!(matches!(error, Error::Io { .. }), "{error}");
                failures += 1;
                if comes_back {
                    fs::rename(&away, run).unwrap();
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
    (outcome, failures)
}

#[test]
fn a_failed_write_of_a_checkpoint_is_tried_once_more() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), LINE);
    let run = folder.path().join("run");
    let (outcome, failures) = without_folder(&run, true);
    assert_eq!((outcome.unwrap().steps, failures), (12, 1));
    assert_eq!(Checkpoint::read(&Checkpoint::path(&run)).unwrap().step, 12);
    assert_eq!(Checkpoint::read(&Checkpoint::previous_path(&run)).unwrap().step, 10);
}

#[test]
fn a_write_that_fails_twice_ends_the_run_and_names_the_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), LINE);
    let run = folder.path().join("run");
    let (outcome, failures) = without_folder(&run, false);
    let error = outcome.unwrap_err();
    let last = format!("; the last checkpoint is {}", run.join("checkpoint.safetensors").display());
    assert!(!run.exists(), "nothing takes the folder's place");
    assert!(error.exit_code() == 1 && failures == 1 && error.to_string().ends_with(&last), "{failures}: {error}");
    assert_eq!(Checkpoint::read(&Checkpoint::path(&run.with_extension("away"))).unwrap().step, 6);
}

/// The one before is there while the next one is written, and no third.
#[test]
fn there_are_two_checkpoints_and_nothing_unfinished() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), LINE);
    let run = folder.path().join("run");
    go_on(&run, |event| {
        if let Event::Saved(path) = event {
            let step = |path: &Path| Checkpoint::read(path).unwrap().step;
            assert_eq!(step(path), step(&Checkpoint::previous_path(&run)) + 2);
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    let mut names: Vec<String> =
        fs::read_dir(&run).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let expected = [
        "best.safetensors",
        "checkpoint.previous.safetensors",
        "checkpoint.safetensors",
        "loss.svg",
        "metrics.csv",
        "metrics.jsonl",
        "run.toml",
    ];
    assert_eq!(names, expected);
}

/// A limit on the size of files, as a full disk: neither the record nor the first checkpoint can be written.
#[cfg(unix)]
#[test]
fn a_run_that_could_not_begin_leaves_its_name_free() {
    for limit in ["0", "2"] {
        let folder = tempfile::tempdir().unwrap();
        let limited = format!("trap '' XFSZ; ulimit -f {limit}");
        let mut shell = super::command_after(folder.path(), &limited, &LINE.replace("--hidden 5", "--hidden 99"));
        let (code, _, err) = super::finished("with no room", shell.output().unwrap());
        assert!(code == 1 && err.contains("File too large"), "{limit}: {code}: {err}");
        let (code, _, err) = run(folder.path(), "train --resume run");
        assert!(code == 7 && err.contains("there is no checkpoint"), "{limit}: {code}: {err}");
        succeed(folder.path(), LINE);
        let (code, _, err) = run(folder.path(), LINE);
        assert!(code == 2 && err.contains("holds a run already"), "{limit}: {code}: {err}");
    }
}

#[test]
fn damaged_metrics_are_cut_off_and_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), LINE);
    let path = folder.path().join("run/metrics.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"step\":4,", "\"st")).unwrap();
    let (code, _, err) = run(folder.path(), "train --resume run --steps 8");
    assert!(code == 0 && err.contains("metrics.jsonl: line 4: ") && err.contains("cut off there"), "{code}: {err}");
    let steps: Vec<u64> = Folder::metrics(&folder.path().join("run")).unwrap().iter().map(|line| line.step()).collect();
    assert_eq!(steps, [1, 2, 3, 7, 8, 8]);
}

/// Two processes at a damaged run: the one that comes second moves nothing.
#[test]
fn nothing_is_moved_without_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), LINE);
    let run = folder.path().join("run");
    fs::write(Checkpoint::path(&run), "damaged").unwrap();
    fs::write(run.join("loss.svg.77.part"), "begun").unwrap();
    let lock = fs::OpenOptions::new().append(true).open(run.join("metrics.jsonl")).unwrap();
    lock.try_lock().unwrap();
    let (code, _, err) = super::run(folder.path(), "train --resume run --steps 9");
    assert!(code == 2 && err.contains("another process is training in run"), "{code}: {err}");
    assert_eq!(fs::read_to_string(Checkpoint::path(&run)).unwrap(), "damaged");
    assert!(Checkpoint::previous_path(&run).exists() && run.join("loss.svg.77.part").exists());

    drop(lock);
    succeed(folder.path(), "train --resume run --steps 9");
    assert!(!run.join("loss.svg.77.part").exists());
    let steps = [Checkpoint::path(&run), Checkpoint::previous_path(&run)].map(|path| Checkpoint::read(&path).unwrap().step);
    assert_eq!(steps, [9, 8]);
}

#[cfg(unix)]
#[test]
fn links_in_a_run_lead_nowhere() {
    let names =
        ["run.toml", "metrics.jsonl", "loss.svg", "gradients.svg", "checkpoint.new.safetensors", "checkpoint.safetensors"];
    for name in names.into_iter().chain(["checkpoint.previous.safetensors"]) {
        let folder = tempfile::tempdir().unwrap();
        succeed(folder.path(), LINE);
        let (path, mine) = (folder.path().join("run").join(name), folder.path().join("mine"));
        // A whole checkpoint behind the link, too.
        fs::rename(&path, &mine).or_else(|_| fs::write(&mine, "mine")).unwrap();
        std::os::unix::fs::symlink(&mine, &path).unwrap();
        let before = fs::read(&mine).unwrap();
        let (code, _, err) = run(folder.path(), "train --resume run --steps 8");
        assert!(code == 7 && err.contains(&format!("{name}: is a symbolic link")), "{code}: {err}");
        assert!(path.is_symlink() && fs::read(&mine).unwrap() == before, "{name}");
    }
}
