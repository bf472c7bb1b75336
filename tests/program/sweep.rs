//! Many runs that differ in some flags: the same as the single ones, halved, killed and gone on with, several at once.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::errors::expect;
use super::{json, run, succeed, text};

const SAME: &str = "--text text --batch 4 --window 16 --steps 80 --evaluate-every 10 --loss-every 10 --backend cpu";

fn with_text(folder: &Path) {
    fs::write(folder.join("text"), text(3000)).unwrap();
}

/// The metrics of a run, without the time that it took.
fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let untimed = lines.map(|mut line| {
        let numbers = line.as_object_mut().unwrap();
        numbers.remove("ms_per_step");
        numbers.remove("tokens_per_s");
        line
    });
    untimed.collect()
}

/// The names of the runs, the best first, with their best validations.
fn ranked(found: &Value) -> Vec<(String, Option<f64>)> {
    let runs = found["runs"].as_array().unwrap().iter();
    runs.map(|run| (run["run"].as_str().unwrap().to_owned(), run["best"]["value"].as_f64())).collect()
}

#[test]
fn every_run_is_that_of_its_own_command_and_the_best_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    with_text(at);
    let found = json(at, &format!("sweep --vary lr=0.001,0.02 --vary hidden=8,16 {SAME} --jobs 1 --out sweep --json"));
    let ranked = ranked(&found);
    assert_eq!(found["best"], ranked[0].0.as_str());
    assert!(ranked.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{ranked:?}");
    for (number, lr, hidden) in [(1, "0.001", 8), (2, "0.001", 16), (3, "0.02", 8), (4, "0.02", 16)] {
        succeed(at, &format!("train --lr {lr} --hidden {hidden} {SAME} --out alone-{number}"));
        let name = format!("sweep/{number}-lr={lr},hidden={hidden}");
        assert_eq!(metrics(&at.join(&name)), metrics(&at.join(format!("alone-{number}"))), "{name}");
        assert!(ranked.iter().any(|(run, _)| *run == name), "{ranked:?}");
    }
    let csv = fs::read_to_string(at.join("sweep/sweep.csv")).unwrap();
    assert!(
        csv.starts_with("run,lr,hidden,step,best_value,best_step,training_loss,seconds,failed\n") && csv.lines().count() == 5,
        "{csv}"
    );
    assert!(fs::read_to_string(at.join("sweep/sweep.svg")).unwrap().contains("hidden=16"));
    // All runs of a sweep are drawn together, and what else lies there is left out.
    succeed(at, "plot sweep --out all.svg");
    assert!(fs::read_to_string(at.join("all.svg")).unwrap().contains("4-lr=0.02,hidden=16"));
    let (code, _, err) = run(at, "plot sweep/1-lr=0.001,hidden=8 sweep/sweep.csv --out some.svg");
    assert!(code == 0 && err.contains("sweep/sweep.csv is not the folder of a run and is left out"), "{err}");
    // Several at once are the same.
    succeed(at, &format!("sweep --vary lr=0.001,0.02 --vary hidden=8,16 {SAME} --jobs 3 --out at-once"));
    for number in 1..=4 {
        let of = |sweep: &str| {
            let mut runs = fs::read_dir(at.join(sweep)).unwrap().map(|entry| entry.unwrap().path());
            runs.find(|path| path.file_name().unwrap().to_string_lossy().starts_with(&format!("{number}-"))).unwrap()
        };
        assert_eq!(metrics(&of("at-once")), metrics(&of("sweep")));
    }
}

#[test]
fn halving_ends_the_worse_runs_early() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    with_text(at);
    let line = format!("sweep --vary lr=0,1e-5,1e-4,1e-3,2e-3,5e-3,0.01,0.02 --hidden 12 {SAME} --halving --out sweep --json");
    let found = json(at, &line);
    let mut steps: Vec<u64> = found["runs"].as_array().unwrap().iter().map(|run| run["step"].as_u64().unwrap()).collect();
    steps.sort_unstable();
    // An eighth of 80 steps is 10, a quarter 20, half 40.
    assert_eq!(steps, [10, 10, 10, 10, 20, 20, 40, 80]);
    let best = found["best"].as_str().unwrap();
    assert_eq!(found["runs"][0]["step"], 80);
    // The one that was paused again and again has the numbers of the one that was not.
    let lr = found["runs"][0]["values"]["lr"].as_str().unwrap();
    succeed(at, &format!("train --lr {lr} --hidden 12 {SAME} --out alone"));
    assert_eq!(metrics(&at.join(best)), metrics(&at.join("alone")));
}

#[cfg(unix)]
#[test]
fn killed_it_goes_on_with_the_same_numbers() {
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    with_text(at);
    let same = SAME.replace("--steps 80", "--steps 2000 --checkpoint-every 50");
    let line = |out: &str| format!("sweep --vary lr=1e-3,4e-3,0.01,0.02 --hidden 24 {same} --halving --out {out}");
    succeed(at, &line("whole"));
    for (place, signal) in ["-KILL", "-INT", "-KILL"].into_iter().enumerate() {
        let out = format!("part-{place}");
        let mut child = super::command(at, &line(&out)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // In the first rung, between the rungs, and later.
        let begun = Instant::now();
        let there = |name: &str| at.join(&out).join(name).exists();
        while !there(["1-lr=1e-3", "3-lr=0.01", "2-lr=4e-3/loss.svg"][place]) && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(3));
        }
        let _ = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status();
        child.wait().unwrap();
        assert!(!there("sweep.csv"), "the sweep had ended before it was stopped");
        succeed(at, &format!("sweep --resume {out}"));
        for name in ["1-lr=1e-3", "2-lr=4e-3", "3-lr=0.01", "4-lr=0.02"] {
            assert_eq!(metrics(&at.join("whole").join(name)), metrics(&at.join(&out).join(name)), "{out}, {name}");
        }
    }
}

/// A sweep goes on from another directory, with other threads and after a file was away; not beside another process.
#[test]
fn it_goes_on_from_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir(at.join("there")).unwrap();
    with_text(at);
    let line = format!("sweep --vary lr=1e-3,4e-3,0.01 --hidden 8 {SAME} --jobs 1 --out sweep");
    succeed(at, &line.replace("--out sweep", "--out whole"));
    fs::rename(at.join("text"), at.join("away")).unwrap();
    let (code, _, err) = run(at, &line);
    assert!(code == 7 && err.contains("text"), "{code}: {err}");
    assert!(!at.join("sweep/sweep.json").exists(), "nothing was trained, and the name is free");
    fs::rename(at.join("away"), at.join("text")).unwrap();
    succeed(at, &line);
    // As if it had been stopped before its last run began.
    fs::remove_dir_all(at.join("sweep/3-lr=0.01")).unwrap();
    let (code, _, err) = run(&at.join("there"), "sweep --resume ../sweep --threads 1");
    assert!(code == 0 && err.contains("CPU, 1 thread"), "{code}: {err}");
    for name in ["1-lr=1e-3", "2-lr=4e-3", "3-lr=0.01"] {
        assert_eq!(metrics(&at.join("whole").join(name)), metrics(&at.join("sweep").join(name)), "{name}");
    }
    let lock = fs::File::open(at.join("sweep/sweep.lock")).unwrap();
    lock.try_lock().unwrap();
    expect(at, &[("sweep --resume sweep", 2, "another process trains the runs of this sweep")]);
    drop(lock);
    fs::remove_file(at.join("sweep/sweep.json")).unwrap();
    expect(at, &[(&line, 2, "holds 1-lr=1e-3 already")]);
}

/// A run that is stopped in its last validation makes it when the sweep goes on.
#[cfg(unix)]
#[test]
fn a_validation_that_was_stopped_is_made() {
    use std::process::Stdio;
    use std::time::Duration;

    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("text"), text(400_000)).unwrap();
    // Nearly all of the time is that of the validations.
    let same =
        "--text text --validation 0.9 --hidden 96 --batch 2 --window 16 --steps 4 --evaluate-every 4 --backend cpu --jobs 1";
    let line = |out: &str| format!("sweep --vary lr=1e-3,0.02 {same} --out {out}");
    succeed(at, &line("whole"));
    let mut child = super::command(at, &line("part")).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !at.join("part/1-lr=1e-3/metrics.jsonl").exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    std::thread::sleep(Duration::from_millis(60));
    assert!(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    succeed(at, "sweep --resume part");
    for name in ["1-lr=1e-3", "2-lr=0.02"] {
        let found = metrics(&at.join("part").join(name));
        assert_eq!(metrics(&at.join("whole").join(name)), found, "{name}");
        assert!(found.iter().any(|line| line["validation_loss"].is_number()), "{found:?}");
    }
}

#[test]
fn what_fails_alone_ends_nothing_else_and_nonsense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    with_text(at);
    let (code, out, err) = run(at, &format!("sweep --vary cell=lstm,elman --activation relu --hidden 8 {SAME} --out sweep"));
    assert!(code == 0 && out.contains("failed") && out.contains("Best: sweep/2-cell=elman"), "{out} {err}");
    assert!(err.contains("1-cell=lstm: --activation relu is for elman and leaky"), "{err}");
    // Where none can train the last failure is that of the command.
    let (code, _, err) = run(at, &format!("sweep --vary cell=lstm,gru --activation relu --hidden 8 {SAME} --out none"));
    assert!(code == 2 && err.contains("--activation relu"), "{code}: {err}");
    let vary = "sweep --vary lr=0.1,0.2";
    expect(
        at,
        &[
            (&format!("{vary} {SAME} --out sweep"), 2, "sweep holds a sweep already; --resume goes on with a sweep"),
            ("sweep --resume sweep --hidden 3", 2, "--hidden: a sweep goes on with the flags that it began with"),
            ("sweep --resume text", 7, "sweep.json"),
            (&format!("{vary} --lr 3 {SAME} --out x"), 2, "cannot be used multiple times"),
            (&format!("sweep --vary lrs=1 {SAME} --out x"), 2, "unexpected argument '--lrs'"),
            (&format!("sweep --vary lr=1,x {SAME} --out x"), 2, "run 2-lr=x: invalid value 'x'"),
            (&format!("sweep --vary out=a,b {SAME} --out x"), 2, "--vary out: it is the same for all runs"),
            (&format!("sweep --vary lr=1..2 {SAME} --out x"), 2, "a range needs --random"),
            (&format!("sweep --vary lr {SAME} --out x"), 2, "expected FLAG=VALUE"),
            (
                &format!("{vary} --text text --evaluate-every off --halving --out x"),
                2,
                "--halving goes by validations, and --evaluate-every",
            ),
            (&format!("{vary} --vary loss=mse,mae {SAME} --halving --out x"), 2, "--vary loss: runs that differ in it"),
            (&format!("sweep --vary bidirectional=yes {SAME} --out x"), 2, "is neither on nor off"),
            (&format!("{vary} --data - --target y --out y"), 2, "standard input is read once"),
            (&format!("{vary} {SAME}"), 2, "--out"),
        ],
    );
}
