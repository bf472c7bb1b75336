//! Bad input: the exit code, the numbers in the message, and nothing half-written.

use std::fs;
use std::process::Stdio;

use ndarray::{ArrayD, IxDyn};
use retrospect::tensors::Tensors;
use serde_json::Value;

use super::{command, finished, run, succeed, text};

/// Runs each line and compares exit code and message.
pub fn expect(folder: &std::path::Path, cases: &[(&str, i32, &str)]) {
    for (line, code, message) in cases {
        let (got, out, err) = run(folder, line);
        assert_eq!(got, *code, "{line}: {err}");
        assert!(err.contains(message), "{line}: expected {message:?} in {err}");
        assert_eq!(out, "", "{line}");
    }
}

/// The vector instructions that the environment asks for: those of no processor are refused, and plain ones train alike.
#[test]
fn instructions_from_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let train = |set: &str, run: &str| {
        let line = format!("train --backend cpu --steps 3 --hidden 7 --window 5 --out {run}");
        finished(&line, command(folder.path(), &line).env("RETROSPECT_SIMD", set).output().unwrap())
    };
    let (code, _, err) = train("sse9", "none");
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("RETROSPECT_SIMD=sse9: this processor has") && err.contains("scalar"), "{err}");
    assert_eq!(train("scalar", "scalar").0, 0);
    succeed(folder.path(), "train --backend cpu --steps 3 --hidden 7 --window 5 --out widest");
    let [narrow, wide] =
        ["scalar", "widest"].map(|run| Tensors::read(folder.path().join(run).join("checkpoint.safetensors")).unwrap());
    for name in ["rnn.weight_hh_l0", "rnn.weight_ih_l0", "decoder.weight"] {
        assert_eq!(narrow.f32(name).unwrap(), wide.f32(name).unwrap(), "{name}");
    }
}

#[test]
fn the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    expect(
        folder.path(),
        &[
            ("", 2, "Usage"),
            ("fly", 2, "unrecognized subcommand 'fly'"),
            ("train --hidden 0", 2, "0 is not in 1..=4294967295"),
            ("train --hidden -3", 2, "invalid value '-3' for '--hidden <N>'"),
            ("train --hidden 4294967296", 2, "4294967296 is not in"),
            ("train --hidden 1e3", 2, "invalid digit"),
            ("train --layers 0", 2, "--layers"),
            ("train --batch 0", 2, "--batch"),
            ("train --window 0", 2, "--window"),
            ("train --steps 0", 2, "--steps"),
            ("train --loss-every 0", 2, "--loss-every"),
            ("train --lr NaN", 2, "NaN is not a finite number"),
            ("train --lr inf", 2, "inf is not a finite number"),
            ("train --lr -1", 2, "-1 is negative"),
            ("train --lr 1e39", 2, "beyond f32"),
            ("train --clip 1e39", 2, "beyond f32"),
            ("train --momentum 0.5", 2, "--momentum needs --optimizer momentum"),
            ("train --clip 0", 2, "not positive"),
            ("train --dropout 1", 2, "1 is not in [0, 1)"),
            ("train --dropout -0.1", 2, "-0.1 is not in [0, 1)"),
            ("train --output-dropout NaN", 2, "NaN is not a finite number"),
            ("gradient --weights a --batch b --out c --dropout 1", 2, "1 is not in [0, 1)"),
            ("gradient --weights a --batch b --out c --step 0", 2, "0 is not in 1.."),
            ("train --clip NaN", 2, "NaN is not a finite number"),
            ("train --momentum 1", 2, "1 is not in [0, 1)"),
            ("train --seed -1", 2, "-1"),
            ("train --activation swish", 2, "there are tanh, "),
            ("train --cell rnn", 2, "there are elman, "),
            ("train --cell gru --activation relu", 2, "--activation relu is for elman and leaky"),
            ("train --cell lstm --recurrent-init identity", 2, "lstm has gates"),
            ("train --leak 0.5", 2, "--leak 0.5 is for leaky, and the cell is elman"),
            ("train --cell leaky --leak 0", 2, "0 is not in (0, 1]"),
            ("train --cell leaky --leak NaN", 2, "NaN is not in (0, 1]"),
            ("train --cell gru --forget-bias 1", 2, "gru has no forget gate"),
            ("train --cell lstm --forget-bias inf", 2, "inf is not a finite number"),
            ("train --biases three", 2, "--biases"),
            ("train --resume a --cell gru", 2, "cannot be used with"),
            ("train --resume a --biases two", 2, "cannot be used with"),
            ("bench --cell rnn", 2, "there are elman, "),
            ("train --task nothing", 2, "there are adding, copy-memory, temporal-order"),
            ("train --text a --task adding", 2, "cannot be used with"),
            ("train --resume a --hidden 5", 2, "cannot be used with"),
            ("train --window 4294967295 --batch 4294967295", 2, "more than 4294967295 steps in all"),
            ("train --window 1", 2, "its window is at least 2"),
            ("train --recompute 0", 2, "0 is not in 1..=4294967295"),
            ("train --recompute 1 --window 5000", 2, "5000 segments; 4096 are the most: every 2"),
            ("train --recompute some", 2, "expected auto, off or a number"),
            ("train --adapter= --steps 1", 2, "a value is required"),
            ("train --threads 0 --steps 1", 2, "0 is not in 1..=1024"),
            ("train --backend cpu --adapter x", 2, "--backend cpu asks for none"),
            ("tune --tune off", 2, "--tune"),
            ("tune --out x", 2, "--out"),
            ("steps --out x", 2, "--out"),
            ("steps --steps 5", 2, "--steps"),
            ("sample . --temperature NaN", 2, "NaN is not a finite number"),
        ],
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was left behind");
}

#[test]
fn adapters_that_are_not_there() {
    let folder = tempfile::tempdir().unwrap();
    expect(folder.path(), &[("train --adapter nosuch", 3, "no adapter matches \"nosuch\"; found: ")]);

    // A machine without any driver.
    let bare = |line: &str| {
        let mut command = command(folder.path(), line);
        let none = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];
        finished(line, command.envs(none.map(|name| (name, "/none.json"))).env("WGPU_BACKEND", "vulkan").output().unwrap())
    };
    for line in ["adapters", "train --backend gpu", "train --adapter x", "steps --backend gpu"] {
        let (code, _, err) = bare(line);
        assert_eq!(code, 3, "{line}: {err}");
        assert!(err.contains("mesa-vulkan-drivers"), "{line}: {err}");
    }
    let (code, out, err) = bare("train --steps 3 --json --out run");
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("Running on the CPU, ") && err.contains("(no GPU was found)."), "{err}");
    assert!(out.contains("\"steps\":3"), "{out}");
}

const LARGE: &str = "--window 100000 --batch 100";

// Elsewhere the system does not say how much memory there is.
#[cfg(target_os = "linux")]
#[test]
fn what_does_not_fit_says_how_much_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    for backend in ["cpu", "gpu"] {
        // 800 GB for each buffer of hidden states: more than any machine has.
        let line = format!("train {LARGE} --hidden 20000 --backend {backend} --out run");
        let (code, _, err) = run(folder.path(), &line);
        assert_eq!(code, 4, "{err}");
        assert!(err.contains("bytes and there are"), "{err}");
        assert!(!folder.path().join("run").exists());
    }
    expect(folder.path(), &[("train --hidden 4294967295 --out run", 4, "the arena of the parameters needs")]);
    // All states of three million steps take 300 GB; some of them fit.
    let line = "train --task copy-memory --hidden 8192 --batch 1 --window 3000000 --steps 1 --backend cpu --out run";
    expect(folder.path(), &[(line, 4, "all of it with hidden states recomputed (--recompute auto) would fit")]);

    // What is said to fit is counted as one that does, and one more as one that does not.
    let needed = |hidden: u64| {
        let steps: Value =
            serde_json::from_str(&succeed(folder.path(), &format!("steps --json --backend cpu {LARGE} --hidden {hidden}")))
                .unwrap();
        steps["buffer_bytes"].as_u64().unwrap()
    };
    let (_, _, err) = run(folder.path(), &format!("train {LARGE} --hidden 20000 --backend cpu --out run"));
    let number = |after: &str| -> u64 {
        let text = &err[err.find(after).unwrap_or_else(|| panic!("{after:?} in {err}")) + after.len()..];
        text.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    let (available, largest) = (number("there are "), number("hidden size "));
    assert!(needed(largest) <= available && needed(largest + 1) > available, "{err}");
}

#[test]
fn texts() {
    let folder = tempfile::tempdir().unwrap();
    let files: [(&str, &[u8]); 5] =
        [("empty", b""), ("one", b"a"), ("short", b"abcdefghij"), ("bytes", b"abc\nd\xffef"), ("held", b"abcdefghij")];
    files.iter().for_each(|(name, bytes)| fs::write(folder.path().join(name), bytes).unwrap());
    expect(
        folder.path(),
        &[
            ("train --text empty --out run", 7, "empty: is empty; 0 train, and batch 32 with window 64 needs"),
            ("train --text one --out run", 7, "one: has 1 character; "),
            ("train --text short --batch 2 --window 5 --out run", 7, "window 4 would fit, or batch 1"),
            ("train --text bytes --out run", 7, "bytes: byte 5 (counted from 0), 0xff, is not UTF-8"),
            ("train --text missing --out run", 7, "missing: cannot be read"),
            ("train --text . --out run", 7, "cannot be read"),
        ],
    );
    assert!(!folder.path().join("run").exists());

    // A held-out part of one character: training goes without it, and to evaluate it is an error.
    let out = succeed(folder.path(), "train --text held --batch 1 --window 4 --hidden 3 --steps 2 --json --out run");
    assert!(out.contains("\"validation_loss\":null"), "{out}");
    expect(folder.path(), &[("evaluate run", 7, "held: nothing is held out of it, or too little for one prediction")]);
}

#[test]
fn runs_and_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("text"), text(400)).unwrap();
    fs::write(at("other"), "the king ß").unwrap();
    fs::write(at("letter"), "t").unwrap();
    succeed(folder.path(), "train --text text --hidden 5 --batch 2 --window 7 --steps 3 --out run");
    succeed(folder.path(), "train --steps 2 --hidden 4 --window 5 --out adding");
    fs::write(at("file"), "").unwrap();
    fs::create_dir(at("no-run")).unwrap();
    expect(
        folder.path(),
        &[
            ("train --out run", 2, "run holds a run already"),
            ("train --steps 1 --out file/run", 1, "file/run"),
            ("train --resume run", 2, "is at step 3, and the run ends at step 3; give --steps above 3"),
            ("train --resume missing", 7, "missing: is not the folder of a run"),
            ("train --resume no-run", 7, "checkpoint.safetensors: cannot be read"),
            ("evaluate run --text other", 7, "other: line 1, column 10: 'ß' is none of the"),
            ("evaluate run --text letter", 7, "expected at least 2"),
            ("evaluate adding --text text", 2, "this one was trained on adding"),
            ("evaluate missing", 7, "cannot be read"),
            ("train --text other --batch 1 --window 2 --init run --out next", 7, "other: line 1, column 10: 'ß' is none of the"),
            (
                "train --text text --batch 2 --window 7 --init run --layers 2 --out next",
                7,
                "has 1 layers, and --layers asks for 2",
            ),
            ("train --text text --init run --recurrent-init uniform", 2, "cannot be used with"),
            ("sample adding", 2, "this run was trained on adding"),
            ("sample run --prompt ß", 7, "--prompt: line 1, column 1: 'ß' is none of the"),
            ("sample file", 7, "file: is empty"),
        ],
    );

    // Other data than before.
    fs::write(at("text"), text(401)).unwrap();
    expect(
        folder.path(),
        &[
            ("evaluate run", 7, "has changed since the run began"),
            ("train --resume run --steps 9", 7, "has changed since the run began"),
        ],
    );
    fs::write(at("text"), text(400)).unwrap();

    // A damaged checkpoint: the one before takes its place, and a note says so.
    succeed(folder.path(), "train --resume run --steps 9");
    let path = at("run").join("checkpoint.safetensors");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let (code, _, err) = run(folder.path(), "evaluate run --checkpoint last");
    assert!(code == 0 && err.contains("taking the checkpoint before it, of step 3"), "{code}: {err}");
}

#[test]
fn weights_and_batches() {
    let folder = tempfile::tempdir().unwrap();
    let save = |name: &str, change: &dyn Fn(&mut Tensors)| {
        let mut tensors = Tensors::new();
        let zeros = |shape: &[usize]| ArrayD::<f32>::from_elem(IxDyn(shape), 0.5);
        for (name, shape) in [
            ("rnn.weight_ih_l0", &[3, 2][..]),
            ("rnn.weight_hh_l0", &[3, 3]),
            ("rnn.bias_ih_l0", &[3]),
            ("decoder.weight", &[4, 3]),
            ("decoder.bias", &[4]),
        ] {
            tensors.insert(name, zeros(shape));
        }
        tensors.insert("tokens", ArrayD::<i64>::from_elem(IxDyn(&[5, 2]), 1));
        tensors.insert("classes", ArrayD::<i64>::from_elem(IxDyn(&[5, 2]), 3));
        change(&mut tensors);
        tensors.write(folder.path().join(name)).unwrap();
    };
    let ids = |shape: &[usize], id: i64| ArrayD::<i64>::from_elem(IxDyn(shape), id);
    let floats = |shape: &[usize], value: f32| ArrayD::<f32>::from_elem(IxDyn(shape), value);
    save("good", &|_| ());
    save("shape", &|t| t.insert("rnn.weight_hh_l0", floats(&[3, 4], 0.5)));
    save("nan", &|t| t.insert("decoder.bias", floats(&[4], f32::NAN)));
    save("token", &|t| t.insert("tokens", ids(&[5, 2], 2)));
    save("class", &|t| t.insert("classes", ids(&[5, 2], 4)));
    save("mask", &|t| t.insert("mask", floats(&[5, 2], 0.0)));
    save("half", &|t| t.insert("mask", floats(&[5, 2], 0.5)));
    save("h0", &|t| t.insert("h0", floats(&[1, 3, 3], 0.0)));
    let gates = |t: &mut Tensors, gates: usize| {
        t.insert("rnn.weight_ih_l0", floats(&[3 * gates, 2], 0.5));
        t.insert("rnn.weight_hh_l0", floats(&[3 * gates, 3], 0.5));
        t.insert("rnn.bias_ih_l0", floats(&[3 * gates], 0.5));
    };
    save("lstm", &|t| gates(t, 4));
    save("gru", &|t| gates(t, 3));
    save("huge", &|t| t.insert("decoder.weight", floats(&[4, 3], 3e38)));
    Tensors::new().write(folder.path().join("empty")).unwrap();
    for backend in ["cpu", "gpu", "reference"] {
        let line =
            |weights: &str, batch: &str| format!("gradient --weights {weights} --batch {batch} --out out --backend {backend}");
        for (line, code, message) in [
            (line("empty", "good"), 7, "there is no such tensor"),
            (line("good", "empty"), 7, "expected one of `inputs` and `tokens`"),
            (line("shape", "good"), 7, "rnn.weight_hh_l0: expected shape [3, 3], got [3, 4]"),
            (line("nan", "good"), 7, "decoder.bias: [0] is NaN; expected a finite number"),
            (line("good", "token"), 7, "tokens: [0, 0] is 2, but the vocabulary has 2"),
            (line("good", "class"), 7, "classes: [0, 0] is 4, but the number of classes is 4"),
            (line("good", "mask"), 7, "mask: all 10 entries are 0"),
            (line("good", "half"), 7, "mask: [0, 0] is 0.5; expected 0 or 1"),
            (line("good", "h0"), 7, "h0: expected shape [1, 2, 3], got [1, 3, 3]"),
            (line("missing", "good"), 7, "missing: cannot be read"),
        ] {
            expect(folder.path(), &[(&line, code, message)]);
        }
        assert!(!folder.path().join("out").exists(), "{backend}");
        let (code, _, err) = run(folder.path(), &line("good", "good").replace("--out out", "--out none/out"));
        assert!(code == 1 && err.contains("none/out"), "{err}");
    }
    for (cell, file, message) in [
        ("gru", "lstm", "rnn.weight_hh_l0: this is an LSTM's: [12, 3]; the cell is gru"),
        ("elman", "gru", "rnn.weight_hh_l0: this is a GRU's: [9, 3]; the cell is elman"),
        ("lstm", "good", "rnn.weight_hh_l0: this is an Elman network's: [3, 3]; the cell is lstm"),
    ] {
        let gradient = format!("gradient --weights {file} --cell {cell} --batch good --out out --backend cpu");
        let train = format!("train --init {file} --cell {cell} --data good --batch 1 --steps 1 --out run");
        expect(folder.path(), &[(&gradient, 7, message), (&train, 7, message)]);
    }
    for backend in ["cpu", "gpu"] {
        let line = format!("gradient --weights huge --batch good --out out --backend {backend}");
        expect(folder.path(), &[(&line, 6, "is not finite in f32; nothing was written")]);
    }
    assert!(!folder.path().join("out").exists());
    expect(
        folder.path(),
        &[
            ("train --init shape --task copy-memory --steps 1 --out run", 7, "rnn.weight_ih_l0"),
            ("train --init nan --data good --batch 1 --steps 1 --out run", 7, "decoder.bias: [0] is NaN"),
            ("train --data good --batch 2 --steps 1 --out run", 7, "of 2 there, 1 held out, 1 are left"),
        ],
    );
    assert!(!folder.path().join("run").exists());
    expect(folder.path(), &[("gradient --weights good --batch mask --out good", 2, "--out would overwrite good")]);
}

#[test]
fn a_diverging_run_names_the_step_and_saves_nothing_that_is_not_finite() {
    let folder = tempfile::tempdir().unwrap();
    for backend in ["cpu", "gpu"] {
        let line = format!(
            "train --task adding --window 20 --hidden 9 --activation identity --clip none --optimizer sgd --lr 10 --steps 400 \
             --checkpoint-every 1 --backend {backend} --out {backend}"
        );
        let (code, _, err) = run(folder.path(), &line);
        assert_eq!(code, 6, "{err}");
        assert!(err.contains("training diverged at step ") && err.contains("is not finite; the last finite loss was"), "{err}");
        assert!(err.contains("the last checkpoint is"), "{err}");
        let saved = Tensors::read(folder.path().join(backend).join("checkpoint.safetensors")).unwrap();
        assert_eq!(saved.not_finite(), None);
    }
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let folder = tempfile::tempdir().unwrap();
    for line in ["steps --backend cpu --layers 3", "completions bash", "adapters --json"] {
        let mut child = command(folder.path(), line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let (code, _, err) = finished(line, child.wait_with_output().unwrap());
        assert!(code == 0 && !err.contains("error: stdout"), "{line}: {code}: {err}");
    }
}
