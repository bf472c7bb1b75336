//! The program under `mpirun`: several processes that train one network. These tests need an MPI and its launcher, as feature `mpi` does.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use retrospect::tensors::Tensors;
use retrospect::train::{Folder, Metrics};

/// A small run of all that depends on the place in a batch: dropout, and a batch that two and three do not both divide.
const RUN: &str = "train --task adding --cell lstm --layers 2 --dropout 0.2 --clip 1 --hidden 12 --batch 10 --window 20 --steps 60 --loss-every 1";

/// `mpirun` in `folder` with the program on so many processes, behind one another with other flags where there are several lines.
fn mpirun(folder: &Path, lines: &[(usize, String)]) -> Command {
    let mut command = Command::new("mpirun");
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for variable in ["WGPU_BACKEND", "WGPU_ADAPTER_NAME", "WGPU_POWER_PREF", "RAYON_NUM_THREADS", "RETROSPECT_SIMD"] {
        command.env_remove(variable);
    }
    // Open MPI's: more processes than cores, and as root in a container. MPICH does both without being asked.
    command.env("OMPI_MCA_rmaps_base_oversubscribe", "1");
    command.envs([("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")]);
    for (place, (count, line)) in lines.iter().enumerate() {
        if place > 0 {
            command.arg(":");
        }
        command.args(["-n", &count.to_string(), env!("CARGO_BIN_EXE_retrospect")]).args(line.split_whitespace());
    }
    command
}

/// The exit code, stdout and stderr.
fn finished(output: Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn run(folder: &Path, lines: &[(usize, String)]) -> (i32, String, String) {
    finished(mpirun(folder, lines).output().expect("mpirun, which these tests need"))
}

fn succeed(folder: &Path, lines: &[(usize, String)]) -> (String, String) {
    let (code, out, err) = run(folder, lines);
    assert!(code == 0 && !err.contains("panicked"), "{lines:?}: {code}: {err}");
    (out, err)
}

fn losses(run: &Path) -> Vec<f32> {
    let losses = Folder::metrics(run).unwrap().into_iter();
    losses.filter_map(|line| if let Metrics::Step { loss, .. } = line { Some(loss) } else { None }).collect()
}

fn assert_close(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (step, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!((got - expected).abs() <= 1e-4 * expected.abs(), "{what}: step {step}: {got} and {expected}");
    }
}

/// Two and three processes on the CPU, two on an adapter, and one of each have the losses of one process; the same ones have the same bits; and a
/// run goes on with another number of them.
#[test]
fn processes_train_as_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let line = |backend: &str, out: &str| format!("{RUN} --backend {backend} --out {out}");
    let one = Command::new(env!("CARGO_BIN_EXE_retrospect"))
        .current_dir(folder.path())
        .args(line("cpu", "one").split_whitespace())
        .output()
        .unwrap();
    assert!(one.status.success());
    let expected = losses(&at("one"));
    let kinds: [(&str, Vec<(usize, String)>); 4] = [
        ("two", vec![(2, line("cpu", "two"))]),
        ("three", vec![(3, line("cpu", "three"))]),
        ("gpus", vec![(2, line("gpu", "gpus"))]),
        ("mixed", vec![(1, line("cpu", "mixed")), (1, line("gpu", "mixed"))]),
    ];
    for (name, lines) in &kinds {
        let (out, err) = succeed(folder.path(), lines);
        assert_close(&losses(&at(name)), &expected, name);
        // One of them talks.
        assert_eq!(out.matches("validation loss").count(), 1, "{name}: {out}");
        assert_eq!(err.matches("processes on one machine").count(), 1, "{name}: {err}");
        let again = lines.iter().map(|(count, line)| (*count, line.replace(&format!("--out {name}"), "--out again")));
        succeed(folder.path(), &again.collect::<Vec<_>>());
        let [first, second] = [name, "again"].map(|run| fs::read(at(run).join("checkpoint.safetensors")).unwrap());
        assert!(first == second, "{name}: other bits");
        fs::remove_dir_all(at("again")).unwrap();
    }
    // The states of all ranks are in the checkpoint, and it goes on with more of them, or with fewer.
    let longer = |from: &str, count: usize| {
        let run = format!("train --resume {from} --steps 90 --backend cpu");
        succeed(folder.path(), &[(count, run)]);
        losses(&at(from))
    };
    let three = longer("two", 3);
    assert_close(&longer("three", 2), &three, "resumed");
    assert_close(&longer("one", 3), &three, "resumed from one process");
    assert_eq!(three.len(), 90);
}

/// A text is read in windows whose state is carried on, by all ranks; and sequences of several lengths are evaluated by all.
#[test]
fn states_and_lengths_are_shared_out() {
    let folder = tempfile::tempdir().unwrap();
    let text: String = (0..6000).map(|i| char::from(b'a' + ((i * i / 7 + i) % 11) as u8)).collect();
    fs::write(folder.path().join("text"), text).unwrap();
    let lines = [
        "train --text text --cell gru --hidden 10 --batch 5 --window 16 --steps 40 --loss-every 1 --evaluate-every 15",
        "train --task early-symbol-padded --cell lstm --bidirectional --hidden 8 --batch 6 --window 24 --steps 30 --loss-every 1 --evaluate-every 10",
    ];
    for (place, line) in lines.iter().enumerate() {
        let name = |count: usize| format!("{place}-{count}");
        for count in 1..=3 {
            succeed(folder.path(), &[(count, format!("{line} --backend cpu --out {}", name(count)))]);
        }
        let metrics = |count: usize| Folder::metrics(&folder.path().join(name(count))).unwrap();
        for count in [2, 3] {
            assert_close(&losses(&folder.path().join(name(count))), &losses(&folder.path().join(name(1))), line);
            for (got, expected) in metrics(count).iter().zip(metrics(1)) {
                if let (
                    Metrics::Evaluation { validation_loss: got, accuracy: right, .. },
                    Metrics::Evaluation { validation_loss, accuracy, .. },
                ) = (got, &expected)
                {
                    assert!((got - validation_loss).abs() < 1e-4 * validation_loss, "{line}: {got} and {validation_loss}");
                    assert!(right.zip(*accuracy).is_none_or(|(a, b)| (a - b).abs() < 0.02), "{line}: {right:?} and {accuracy:?}");
                }
            }
        }
    }
}

#[test]
fn check_passes_on_ranks() {
    let folder = tempfile::tempdir().unwrap();
    for (count, backend) in [(3, "cpu"), (2, "gpu")] {
        let (out, _) = succeed(folder.path(), &[(count, format!("check --ranks --quick --backend {backend}"))]);
        assert!(out.contains("checks passed on") && out.contains("ranks"), "{out}");
    }
}

#[test]
fn bench_tells_how_it_scales() {
    let folder = tempfile::tempdir().unwrap();
    let line = "bench --ranks --hidden 16 --batch 8 --window 8 --runs 1 --backend cpu --json";
    let (out, _) = succeed(folder.path(), &[(2, line.to_owned())]);
    let report: serde_json::Value = serde_json::from_str(&out).expect("JSON of the first rank alone");
    assert_eq!(report["ranks"], 2);
    let batches: Vec<u64> = report["rows"].as_array().unwrap().iter().map(|row| row["batch"].as_u64().unwrap()).collect();
    assert_eq!(batches, [8, 16]);
    assert!(report["sum_us"].as_f64().unwrap() > 0.0 && report["rows"][0]["waiting"].as_f64().unwrap() <= 1.0);
}

/// What cannot be shared out, or is not the same everywhere, ends all of them, without a folder.
#[test]
fn what_ranks_cannot_do_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let small = "train --hidden 4 --steps 3 --backend cpu --out run";
    fs::write(folder.path().join("text"), "hello world ".repeat(50)).unwrap();
    let of_text = |name: &str| format!("{small} --text {name} --batch 2 --window 4");
    let cases = [
        (vec![(3, format!("{small} --batch 2"))], 2, "a batch of 2 sequences cannot be shared out among 3 ranks"),
        (vec![(1, small.into()), (1, small.replace("--steps 3", "--steps 4"))], 2, "rank 1 has other settings than rank 0"),
        (vec![(1, of_text("text")), (1, of_text("nothing"))], 7, "rank 1 on"),
        (vec![(2, format!("{small} --trace-gradients 1"))], 2, "only one rank alone can trace gradients"),
        (vec![(2, format!("{small} --retry-device 1"))], 2, "--retry-device works only with one process, and there are 2"),
        // What the second one alone cannot do it says itself.
        (vec![(1, of_text("text")), (1, of_text("text") + " --patience 2 --evaluate-every off")], 2, "error: rank 1: "),
        (vec![(2, "runs".into())], 2, "2 processes were started together"),
    ];
    for (lines, code, expected) in cases {
        let begun = Instant::now();
        let (got, _, err) = run(folder.path(), &lines);
        // A launcher may report the code of any of them: that of the one at fault, or that of those that have lost it.
        assert!([code, 5].contains(&got) && err.contains(expected), "{lines:?}: {got}: {err}");
        assert!(!folder.path().join("run").exists() && begun.elapsed() < Duration::from_secs(30), "{lines:?}");
    }
}

/// A run that diverges goes on from its best checkpoint with half the rate, in all processes: those that have no folder get it from the first.
#[test]
fn a_run_that_diverges_is_rolled_back_by_all() {
    let folder = tempfile::tempdir().unwrap();
    let line = "train --task adding --activation relu --window 30 --hidden 16 --batch 6 --optimizer sgd --lr 1e30 --steps 60 --loss-every 1 \
                --checkpoint-every 5 --evaluate-every 5 --on-divergence rollback --backend cpu --out";
    let end = |count: usize| {
        let name = format!("run{count}");
        let (code, _, err) = run(folder.path(), &[(count, format!("{line} {name}"))]);
        let rolled =
            err.lines().filter(|line| line.starts_with("The run diverged at step")).map(str::to_owned).collect::<Vec<_>>();
        assert!(!rolled.is_empty() && !err.contains("is lost"), "{count}: {code}: {err}");
        (code, rolled)
    };
    assert_eq!(end(3), end(1));
}

/// The processes of a run in `folder`: those that write there.
fn processes(folder: &Path) -> Vec<String> {
    let is_one = |id: &String| {
        let at = |name: &str| Path::new("/proc").join(id).join(name);
        let is_program = fs::read_to_string(at("comm")).is_ok_and(|name| name.trim() == "retrospect");
        is_program && fs::read_link(at("cwd")).is_ok_and(|cwd| cwd == folder.canonicalize().unwrap())
    };
    let all = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    all.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).filter(is_one).collect()
}

/// Starts a long run of three processes, and waits until it has taken some steps.
fn start(folder: &Path, flags: &str) -> std::process::Child {
    let long = RUN.replace("--steps 60", "--steps 1000000");
    let line = format!("{long} --backend cpu --checkpoint-every 50 --evaluate-every 100000 --out run {flags}");
    let child = mpirun(folder, &[(3, line)]).spawn().expect("mpirun");
    let begun = Instant::now();
    while fs::read_to_string(folder.join("run/metrics.jsonl")).map_or(0, |text| text.lines().count()) < 60 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no steps in a minute");
        sleep(Duration::from_millis(20));
    }
    child
}

fn send(signal: &str, process: &str) {
    assert!(Command::new("kill").args([signal, process]).status().unwrap().success());
}

/// A rank that is killed ends the others soon, one that is stopped within the limit; what they leave goes on.
#[test]
fn a_rank_that_dies_ends_all() {
    for (signal, flags, limit) in [("-KILL", "", 10), ("-KILL", "", 10), ("-STOP", "--rank-timeout 2", 20)] {
        let folder = tempfile::tempdir().unwrap();
        let child = start(folder.path(), flags);
        let ids = processes(folder.path());
        assert_eq!(ids.len(), 3, "{ids:?}");
        let begun = Instant::now();
        send(signal, &ids[1]);
        let output = child.wait_with_output();
        if signal == "-STOP" {
            // The launcher has ended it.
            assert!(begun.elapsed() > Duration::from_secs(2));
        }
        let (code, _, err) = finished(output.unwrap());
        assert!(code != 0 && begun.elapsed() < Duration::from_secs(limit), "{signal}: {code} after {:?}: {err}", begun.elapsed());
        if signal == "-STOP" {
            // It is asked once a second.
            let silences = ["2.", "3."].map(|seconds| format!("is lost: it has not answered for {seconds}"));
            assert!(silences.iter().any(|silence| err.contains(silence)), "{err}");
            assert!(err.contains("; the last checkpoint is run/checkpoint.safetensors"), "{err}");
        }
        assert!(processes(folder.path()).is_empty());
        let before = losses(&folder.path().join("run"));
        let path = folder.path().join("run/checkpoint.safetensors");
        let step: usize = Tensors::read(path).unwrap().metadata("step").unwrap().parse().unwrap();
        assert!(step >= 50);
        // What was trained after the checkpoint is trained again, with the same losses.
        let (out, err) = succeed(folder.path(), &[(3, format!("train --resume run --steps {} --backend cpu", step + 40))]);
        let after = losses(&folder.path().join("run"));
        assert_eq!(after.len(), step + 40, "{out} {err}");
        let both = before.len().min(after.len());
        assert!(before[..both] == after[..both], "{signal}: other bits");
    }
}

/// A signal to one rank stops all at the same step, with a checkpoint.
#[test]
fn a_signal_to_one_rank_stops_all() {
    for signal in ["-TERM", "-INT"] {
        let folder = tempfile::tempdir().unwrap();
        let child = start(folder.path(), "");
        let ids = processes(folder.path());
        send(signal, ids.last().unwrap());
        let (code, _, err) = finished(child.wait_with_output().unwrap());
        assert!(code == 130, "{signal}: {code}: {err}");
        assert!(
            err.matches("interrupted at step").count() == 1 && err.contains("To go on: retrospect train --resume run"),
            "{err}"
        );
        let path = folder.path().join("run/checkpoint.safetensors");
        let step: usize = Tensors::read(path).unwrap().metadata("step").unwrap().parse().unwrap();
        assert_eq!(losses(&folder.path().join("run")).len(), step);
    }
}
