//! Runs: what they write, that they go on with the same bits, and that the backends agree.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use retrospect::tensors::{Tensor, Tensors};
use serde_json::Value;

use super::{command, finished, run, succeed, text};

fn metrics(run: &Path) -> Vec<Value> {
    fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn losses(run: &Path) -> Vec<(u64, f64)> {
    metrics(run).iter().filter_map(|m| Some((m["step"].as_u64()?, m["loss"].as_f64()?))).collect()
}

/// All tensors of a run's checkpoint.
fn checkpoint(run: &Path) -> Vec<(String, Tensor)> {
    let tensors = Tensors::read(run.join("checkpoint.safetensors")).unwrap();
    tensors.names().map(|name| (name.to_owned(), tensors.get(name).unwrap().clone())).collect()
}

const TEXT: &str = "train --text text --hidden 19 --layers 2 --batch 3 --window 11 --loss-every 1 --clip 1 --json";

#[test]
fn a_run_leaves_what_the_interface_says() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("text"), text(3000)).unwrap();
    let out = succeed(folder.path(), &format!("{TEXT} --backend cpu --steps 25 --evaluate-every 10 --out run"));
    let result: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&result["run"], &result["steps"]), (&Value::from("run"), &Value::from(25)));

    let run = folder.path().join("run");
    let metrics = metrics(&run);
    let steps: Vec<&Value> = metrics.iter().filter(|m| m.get("loss").is_some()).collect();
    assert_eq!(steps.iter().map(|m| m["step"].as_u64().unwrap()).collect::<Vec<_>>(), (1..=25).collect::<Vec<_>>());
    for key in ["grad_norm", "lr", "tokens_per_s", "ms_per_step"] {
        assert!(steps.iter().all(|m| m[key].as_f64().unwrap() > 0.0), "{key}");
    }
    let evaluations: Vec<u64> =
        metrics.iter().filter(|m| m["validation_loss"].is_f64()).map(|m| m["step"].as_u64().unwrap()).collect();
    assert_eq!(evaluations, [10, 20, 25]);
    assert_eq!(result["loss"], steps[24]["loss"]);

    let file = fs::read_to_string(run.join("run.toml")).unwrap();
    let file: toml::Table = file.parse().unwrap();
    assert_eq!(file["settings"]["network"]["hidden"].as_integer(), Some(19));
    assert_eq!(file["device"]["backend"].as_str(), Some("cpu"));
    assert!(fs::read_to_string(run.join("loss.svg")).unwrap().starts_with("<svg"));

    let saved = Tensors::read(run.join("checkpoint.safetensors")).unwrap();
    for name in ["rnn.weight_ih_l0", "rnn.weight_hh_l1", "rnn.bias_ih_l1", "rnn.bias_hh_l1", "decoder.weight", "decoder.bias"] {
        for prefix in ["", "optimizer.m.", "optimizer.v."] {
            assert!(saved.contains(&format!("{prefix}{name}")), "{prefix}{name}");
        }
    }
    assert_eq!(saved.get("state.h0").unwrap().shape(), [2, 3, 19]);
    for key in ["step", "generator", "position", "configuration", "vocabulary"] {
        assert!(saved.metadata(key).is_ok(), "{key}");
    }

    // What `evaluate` finds is what the run found.
    let out = succeed(folder.path(), "evaluate run --json");
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(found["loss"], result["validation_loss"]);
    let loss = found["loss"].as_f64().unwrap();
    assert!((found["perplexity"].as_f64().unwrap() - loss.exp()).abs() < 1e-9);
    assert!((0.0..=1.0).contains(&found["accuracy"].as_f64().unwrap()));
    // All held-out characters but the first of each stream are predicted: 300 characters, 3 streams of 99.
    assert_eq!(found["counted"], 297);

    // Sampling: the same seed, the same text; another, another; temperature 0 needs none.
    let sample = |line: &str| succeed(folder.path(), &format!("sample run --length 40 --prompt king {line}"));
    assert_eq!(sample("--seed 5"), sample("--seed 5"));
    assert_ne!(sample("--seed 5"), sample("--seed 6"));
    assert_eq!(sample("--seed 5 --temperature 0"), sample("--seed 6 --temperature 0"));
    let written = sample("--seed 5");
    assert!(written.starts_with("king") && written.chars().count() == 4 + 40 + 1, "{written:?}");
    assert_eq!(sample("--seed 5 --backend gpu --temperature 0"), sample("--temperature 0"));
}

#[test]
fn a_run_that_stopped_goes_on_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("text"), text(3000)).unwrap();
    // A pass has 81 windows: 90 steps cross its end.
    for (backend, optimizer, steps) in [
        ("cpu", "adam", 90),
        ("gpu", "momentum --recompute 7", 90),
        ("cpu", "sgd --recompute auto", 20),
        ("gpu", "adam --dropout 0.3 --output-dropout 0.2 --recompute 5", 30),
        ("cpu", "momentum --dropout 0.3 --output-dropout 0.2", 60),
    ] {
        let name = optimizer.split(' ').next().unwrap();
        let names = [format!("{backend}-{name}"), format!("{backend}-{name}-resumed")];
        let line = format!("{TEXT} --backend {backend} --optimizer {optimizer}");
        succeed(folder.path(), &format!("{line} --steps {steps} --out {}", names[0]));
        succeed(folder.path(), &format!("{line} --steps {} --out {}", steps / 3, names[1]));
        let (code, _, err) = run(folder.path(), &format!("train --resume {} --steps {steps}", names[1]));
        assert_eq!(code, 0, "{err}");
        assert!(err.contains("as before"), "it goes on where it ran: {err}");
        let [whole, resumed] = names.map(|name| folder.path().join(name));
        assert_eq!(losses(&whole), losses(&resumed), "{backend} {optimizer}");
        assert!(checkpoint(&whole) == checkpoint(&resumed), "{backend} {optimizer}: the checkpoints differ");
        // Another seed would not pass.
        assert_ne!(losses(&whole)[0], losses(&whole)[1]);
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_saves_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let line = "train --hidden 16 --window 20 --steps 4000000 --loss-every 1 --out run";
    let child = command(folder.path(), line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let run = folder.path().join("run");
    let begun = Instant::now();
    while fs::read_to_string(run.join("metrics.jsonl")).map_or(0, |text| text.lines().count()) < 5 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no step in a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Nobody else may go on with it meanwhile.
    let (code, _, err) = super::run(folder.path(), "train --resume run");
    assert!(code == 2 && err.contains("another process is training in run"), "{code}: {err}");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let (code, _, err) = finished(line, child.wait_with_output().unwrap());
    assert_eq!(code, 130, "{err}");
    assert!(err.contains("interrupted at step") && err.contains("train --resume run"), "{err}");

    let step: u64 = Tensors::read(run.join("checkpoint.safetensors")).unwrap().metadata("step").unwrap().parse().unwrap();
    assert_eq!(losses(&run).last().unwrap().0, step);
    let steps = step + 7;
    succeed(folder.path(), &format!("train --resume run --steps {steps}"));
    succeed(folder.path(), &line.replace("4000000", &steps.to_string()).replace("--out run", "--out whole"));
    assert_eq!(losses(&run), losses(&folder.path().join("whole")));
}

#[test]
fn a_killed_run_goes_on_from_its_first_moment() {
    let folder = tempfile::tempdir().unwrap();
    let line = "train --hidden 16 --window 20 --steps 4000000 --checkpoint-every 4000000 --out run";
    let mut child = command(folder.path(), line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let run = folder.path().join("run");
    let begun = Instant::now();
    while fs::read_to_string(run.join("metrics.jsonl")).map_or(0, |text| text.lines().count()) < 5 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no step in a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    succeed(folder.path(), "train --resume run --steps 30");
    succeed(folder.path(), &line.replace("4000000", "30").replace("--out run", "--out whole"));
    assert_eq!(losses(&run), losses(&folder.path().join("whole")));
    assert_eq!(losses(&run).len(), 3);
}

#[test]
fn runs_that_start_together_have_folders_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let line = "train --hidden 3 --window 5 --steps 2 --backend cpu";
    let children: Vec<_> =
        (0..6).map(|_| command(folder.path(), line).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()).collect();
    for child in children {
        let (code, _, err) = finished(line, child.wait_with_output().unwrap());
        assert_eq!(code, 0, "{err}");
    }
    assert_eq!(fs::read_dir(folder.path().join("runs")).unwrap().count(), 6);
}

#[test]
fn the_gpu_learns_what_the_cpu_learns_and_the_same_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("text"), text(3000)).unwrap();
    for (name, backend) in [("cpu", "cpu"), ("gpu", "gpu"), ("again", "gpu")] {
        succeed(folder.path(), &format!("{TEXT} --lr 4e-3 --steps 120 --backend {backend} --out {name}"));
    }
    let [cpu, gpu, again] = ["cpu", "gpu", "again"].map(|name| folder.path().join(name));
    let worst = losses(&cpu).iter().zip(losses(&gpu)).map(|(a, b)| (a.1 - b.1).abs() / a.1).fold(0.0, f64::max);
    // Seen: 3e-7. A run whose gradients explode on the way is chaotic, and two devices part there; this one does not.
    assert!(worst < 1e-5, "{worst}");
    assert_eq!(losses(&gpu), losses(&again));
    assert!(checkpoint(&gpu) == checkpoint(&again), "two runs on one adapter differ");
    let (first, last) = (losses(&cpu)[0].1, losses(&cpu)[119].1);
    assert!(last < 0.7 * first, "{first} {last}");
}

/// Every device drops the same units.
#[test]
fn with_dropout_the_gpu_learns_what_the_cpu_learns() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("text"), text(3000)).unwrap();
    let line = format!("{TEXT} --dropout 0.3 --output-dropout 0.2 --steps 100");
    for backend in ["cpu", "gpu"] {
        succeed(folder.path(), &format!("{line} --backend {backend} --out {backend}"));
    }
    succeed(folder.path(), &format!("{line} --backend cpu --seed 58 --init cpu --out other"));
    succeed(folder.path(), &format!("{line} --backend cpu --init cpu --out same"));
    let [cpu, gpu, other, same] = ["cpu", "gpu", "other", "same"].map(|name| losses(&folder.path().join(name)));
    let worst = cpu.iter().zip(&gpu).map(|(a, b)| (a.1 - b.1).abs() / a.1).fold(0.0, f64::max);
    // Seen: 4e-7.
    assert!(cpu.len() == 100 && worst < 1e-4, "{worst}");
    // Of the same weights another seed drops others.
    assert!((other[0].1 - same[0].1).abs() > 1e-3 * same[0].1, "{:?} {:?}", other[0], same[0]);
    let file = fs::read_to_string(folder.path().join("cpu/run.toml")).unwrap().parse::<toml::Table>().unwrap();
    let network = &file["settings"]["network"];
    assert_eq!((network["dropout"].as_float(), network["output_dropout"].as_float()), (Some(0.3), Some(0.2)));
    let (code, _, err) = run(folder.path(), "train --hidden 3 --window 5 --steps 1 --dropout 0.5 --backend cpu");
    assert!(code == 0 && err.contains("--dropout 0.5 has no effect: it acts between layers, and there is only one."), "{err}");
}

#[test]
fn ones_own_sequences_are_trained_on_and_weights_carried_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut data = Tensors::new();
    // The running parity of random bits, as classes.
    let bit = |t: usize, b: usize| (t * 7 + b * 13 + t * b) % 3 % 2;
    let sequences = ndarray::Array2::from_shape_fn((9, 57), |(t, b)| bit(t, b) as i64);
    let parity = ndarray::Array2::from_shape_fn((9, 57), |(t, b)| (0..=t).map(|s| bit(s, b)).sum::<usize>() as i64 % 2);
    data.insert("tokens", sequences);
    data.insert("classes", parity);
    data.write(folder.path().join("data")).unwrap();
    let line = "train --data data --hidden 17 --batch 8 --steps 300 --lr 0.01 --json";
    let out: Value = serde_json::from_str(&succeed(folder.path(), &format!("{line} --out run"))).unwrap();
    assert!(out["validation_loss"].as_f64().unwrap() < 0.35, "{out}");
    let found: Value = serde_json::from_str(&succeed(folder.path(), "evaluate run --data data --json")).unwrap();
    assert_eq!(found["counted"], 9 * 57);
    assert!(found["accuracy"].as_f64().unwrap() > 0.9, "{found}");

    // Its weights as another run's first ones: sizes come from the file, and the first loss is where this one ended.
    let out = succeed(folder.path(), "train --data data --batch 8 --init run/checkpoint.safetensors --steps 1 --json --out next");
    let next: Value = serde_json::from_str(&out).unwrap();
    assert!(next["loss"].as_f64().unwrap() < 0.35, "{next}");
    let (code, _, err) = run(folder.path(), "train --data data --batch 8 --init run/checkpoint.safetensors --hidden 5 --out x");
    assert!(code == 7 && err.contains("expected shape [5, 2], got [17, 2]"), "{err}");
}

/// Control characters, which a pipe gets as they are, and a text without the newline that prompts usually are.
#[test]
fn a_pipe_gets_exactly_what_was_sampled() {
    let folder = tempfile::tempdir().unwrap();
    let characters = ['\u{1b}', '[', '3', '1', 'm', '\u{7}', 'a', '\u{0}'];
    let logged: String = (0..2000).map(|k: usize| characters[(k * k + k / 3) % 8]).collect();
    std::fs::write(folder.path().join("log.txt"), logged).unwrap();
    succeed(folder.path(), "train --text log.txt --hidden 8 --batch 4 --window 8 --steps 2 --backend cpu --out run");
    let default = succeed(folder.path(), "sample run --length 300 --backend cpu");
    let prompted = succeed(folder.path(), "sample run --prompt a --length 300 --backend cpu");
    for (text, first) in [(default, '\u{0}'), (prompted, 'a')] {
        assert_eq!((text.chars().count(), text.chars().next()), (302, Some(first)));
        let drawn = text.strip_suffix('\n').unwrap();
        assert!(drawn.chars().all(|c| characters.contains(&c)) && drawn.contains('\u{1b}'));
    }
}

/// Each start of a run has an event file: its version, where it begins, and each line of metrics.
#[test]
fn tensorboard_is_told_of_every_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let line = "train --hidden 5 --batch 3 --window 6 --loss-every 2 --evaluate-every 5 --backend cpu --tensorboard";
    succeed(at, &format!("{line} --steps 10 --out run"));
    succeed(at, "train --resume run --steps 16 --tensorboard");
    let count = |bytes: &[u8], text: &str| bytes.windows(text.len()).filter(|part| *part == text.as_bytes()).count();
    let mut files: Vec<_> = fs::read_dir(at.join("run")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with("events.out.tfevents."));
    files.sort();
    // Steps 2 to 10 and validations at 5 and 10; then steps 12 to 16 and validations at 15 and 16.
    let found: Vec<[usize; 3]> = files
        .iter()
        .map(|path| {
            let bytes = fs::read(path).unwrap();
            ["brain.Event:2", "loss/training", "loss/validation"].map(|text| count(&bytes, text))
        })
        .collect();
    assert_eq!(found, [[1, 5, 2], [1, 3, 2]]);
    succeed(at, &format!("{line} --steps 4 --out without").replace(" --tensorboard", ""));
    let names = fs::read_dir(at.join("without")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().contains("tfevents")));
}
