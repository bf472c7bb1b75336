//! Signals to a training run: those that were ignored before it began, those that come twice, and one in the middle of an evaluation.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{command_after, finished, succeed, text};

const LINE: &str = "train --hidden 16 --window 20 --steps 4000000 --loss-every 1 --backend cpu --out run";

/// Starts a program from a shell that does something first.
fn start(folder: &Path, first: &str, line: &str) -> Child {
    command_after(folder, first, line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn send(signal: &str, child: &Child) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

fn lines(folder: &Path) -> usize {
    fs::read_to_string(folder.join("run/metrics.jsonl")).map_or(0, |text| text.lines().count())
}

/// Waits until so many lines of metrics are there.
fn wait_for(folder: &Path, count: usize) {
    let begun = Instant::now();
    while lines(folder) < count {
        assert!(begun.elapsed() < Duration::from_secs(60), "not {count} lines in a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn ignored_signals_stay_ignored() {
    for signal in ["HUP", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let child = start(folder.path(), &format!("trap '' {signal}"), LINE);
        wait_for(folder.path(), 5);
        send(&format!("-{signal}"), &child);
        // It goes on after the signal.
        std::thread::sleep(Duration::from_millis(300));
        wait_for(folder.path(), lines(folder.path()) + 20);
        send("-TERM", &child);
        let (code, _, err) = finished(signal, child.wait_with_output().unwrap());
        assert!(code == 130 && err.contains("interrupted at step"), "{signal}: {code}: {err}");
    }
}

/// A system that goes down sends signals to all, and again; without a terminal nobody presses Ctrl-C in impatience.
#[test]
fn signals_that_come_twice_save_all_the_same() {
    for signals in [["-TERM", "-TERM"], ["-HUP", "-HUP"], ["-INT", "-TERM"], ["-INT", "-INT"]] {
        let folder = tempfile::tempdir().unwrap();
        // A step takes long enough for both to come before it ends.
        let line = "train --hidden 512 --window 400 --batch 32 --steps 1000 --loss-every 1 --checkpoint-every 1000 --backend cpu --out run";
        let child = start(folder.path(), "true", line);
        wait_for(folder.path(), 1);
        signals.iter().for_each(|signal| send(signal, &child));
        let (code, _, err) = finished(line, child.wait_with_output().unwrap());
        assert!(code == 130 && err.contains("; the last checkpoint is run/checkpoint.safetensors"), "{signals:?}: {code}: {err}");
        let path = folder.path().join("run/checkpoint.safetensors");
        let step: u64 = retrospect::tensors::Tensors::read(path).unwrap().metadata("step").unwrap().parse().unwrap();
        assert!(step >= 1, "{signals:?}");
    }
}

#[test]
fn an_evaluation_can_be_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    // Nine tenths are held out: a minute and more.
    fs::write(folder.path().join("text"), text(4_000_000)).unwrap();
    let line = "train --text text --validation 0.9 --hidden 256 --batch 1 --window 8 --steps 3 --evaluate-every off --loss-every 1 --backend cpu \
         --out run";
    let child = start(folder.path(), "true", line);
    wait_for(folder.path(), 3);
    std::thread::sleep(Duration::from_millis(500));
    let sent = Instant::now();
    send("-INT", &child);
    let (code, out, err) = finished(line, child.wait_with_output().unwrap());
    assert!(sent.elapsed() < Duration::from_secs(2), "{:?}", sent.elapsed());
    assert!(code == 130 && err.contains("interrupted at step 3"), "{code}: {err}");
    assert!(out.is_empty() && lines(folder.path()) == 3, "{out}: no evaluation is told");
    // All steps were taken and are saved.
    fs::write(folder.path().join("short"), text(4000)).unwrap();
    succeed(folder.path(), "evaluate run --text short --backend cpu");
}
