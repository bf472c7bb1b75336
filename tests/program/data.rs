//! One's own sequences as files: what does not count, one target a sequence, sequences first, and minibatches of similar length.

use std::fs;
use std::path::Path;

use ndarray::{Array1, Array2, Array3};
use retrospect::tensors::Tensors;
use serde_json::Value;

use super::errors::expect;
use super::{run, succeed};

const TRAIN: &str = "train --hidden 5 --batch 4 --steps 12 --loss-every 1 --backend cpu --json";

/// Seven steps of 40 sequences of 3 numbers.
fn inputs() -> Array3<f32> {
    Array3::from_shape_fn((7, 40, 3), |(t, b, i)| ((t * 31 + b * 17 + i * 7) % 23) as f32 / 11.0 - 1.0)
}

fn classes() -> Array2<i64> {
    Array2::from_shape_fn((7, 40), |(t, b)| ((t + b) % 3) as i64)
}

/// 1 where neither the step nor the sequence is a multiple of three.
fn mask() -> Array2<f32> {
    Array2::from_shape_fn((7, 40), |(t, b)| f32::from(u8::from(!(t + 2 * b).is_multiple_of(3))))
}

fn write(folder: &Path, name: &str, tensors: impl IntoIterator<Item = (&'static str, retrospect::tensors::Tensor)>) {
    let mut file = Tensors::new();
    tensors.into_iter().for_each(|(name, tensor)| file.insert(name, tensor));
    file.write(folder.join(name)).unwrap();
}

/// The losses of a run on a file, and what was said.
fn losses(folder: &Path, line: &str) -> (Vec<Value>, String) {
    let out = format!("run-{}", line.replace(' ', "-"));
    let (code, _, err) = run(folder, &format!("{TRAIN} --data {line} --out {out}"));
    assert_eq!(code, 0, "{line}: {err}");
    let metrics = fs::read_to_string(folder.join(out).join("metrics.jsonl")).unwrap();
    let losses = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    (losses.map(|line| [line["loss"].clone(), line["validation_loss"].clone()].into()).collect(), err)
}

#[test]
fn what_does_not_count_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let counts = mask();
    let elsewhere = |class: i64| Array2::from_shape_fn((7, 40), |at| if counts[at] == 0.0 { class } else { classes()[at] });
    let named = |classes: Array2<i64>| [("inputs", inputs().into()), ("classes", classes.into()), ("mask", mask().into())];
    write(folder, "zero", named(elsewhere(0)));
    write(folder, "255", named(elsewhere(255)));
    write(folder, "minus", named(elsewhere(-1)));
    write(folder, "hundred", [("inputs", inputs().into()), ("classes", elsewhere(-100).into())]);
    let expected = losses(folder, "zero").0;
    for name in ["255", "minus", "hundred"] {
        let (found, said) = losses(folder, name);
        assert_eq!(found, expected, "{name}");
        let ignored = counts.iter().filter(|&&m| m == 0.0).count();
        let told = said.matches(&format!("classes: {ignored} of 280 are -100 and do not count.")).count();
        assert_eq!(told, usize::from(name == "hundred"), "{said}");
    }

    let values =
        |elsewhere: f32| {
            Array3::from_shape_fn((7, 40, 2), |(t, b, o)| {
                if counts[[t, b]] == 0.0 { elsewhere } else { (t + o) as f32 / 9.0 - b as f32 / 40.0 }
            })
        };
    for (name, value) in [("small", 0.0), ("nan", f32::NAN), ("infinite", f32::INFINITY)] {
        write(folder, name, [("inputs", inputs().into()), ("values", values(value).into()), ("mask", mask().into())]);
    }
    let expected = losses(folder, "small").0;
    assert_eq!([losses(folder, "nan").0, losses(folder, "infinite").0], [expected.clone(), expected]);

    // The same through `gradient`, on every backend.
    let run = "run-small";
    for backend in ["reference", "cpu", "gpu"] {
        let gradient = |batch: &str| {
            succeed(folder, &format!("gradient --weights {run} --batch {batch} --out g --backend {backend}"));
            let file = Tensors::read(folder.join("g")).unwrap();
            ["loss", "rnn.weight_hh_l0", "decoder.bias"].map(|name| file.f64(name).unwrap())
        };
        assert_eq!(gradient("nan"), gradient("small"), "{backend}");
    }
}

#[test]
fn sequences_may_come_first_and_have_one_target() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let turned = || inputs().permuted_axes([1, 0, 2]).as_standard_layout().into_owned();
    let label = |b: usize| ((b * 5) % 3) as i64;
    let labels = || Array1::from_shape_fn(40, label);
    // The same, written out: the last step alone counts.
    let last = Array2::from_shape_fn((7, 40), |(t, _)| f32::from(u8::from(t == 6)));
    let spread = Array2::from_shape_fn((7, 40), |(_, b)| label(b));
    write(folder, "out", [("inputs", inputs().into()), ("classes", spread.into()), ("mask", last.into())]);
    write(folder, "time", [("inputs", inputs().into()), ("classes", labels().into())]);
    write(folder, "batch", [("inputs", turned().into()), ("classes", labels().into())]);
    let (expected, said) = losses(folder, "out");
    assert!(said.contains("out: 36 sequences to train and 4 held out, of 7 time steps."), "{said}");
    assert_eq!(losses(folder, "time").0, expected);
    assert_eq!(losses(folder, "batch --batch-first").0, expected);
    // A resumed run and an evaluation read it as before.
    let (code, _, err) = run(folder, "train --resume run-batch---batch-first --steps 13");
    assert_eq!(code, 0, "{err}");
    let found = |rest: &str| succeed(folder, &format!("evaluate run-batch---batch-first --json {rest}"));
    let all: [Value; 2] = ["--data time", "--data batch --batch-first"].map(|rest| serde_json::from_str(&found(rest)).unwrap());
    assert_eq!((&all[0]["loss"], &all[0]["counted"]), (&all[1]["loss"], &Value::from(40)));
    let own: Value = serde_json::from_str(&found("")).unwrap();
    assert_eq!(own["counted"], 4);

    let gradient = "gradient --weights run-time --out g --backend cpu --batch";
    let train = TRAIN.replace("--json", "");
    let refused = "classes: expected one for each of 7 sequences, got 40: `inputs` [T, B, …] is [40, 7, 3], 40 steps of 7 sequences; \
                   where the sequences come first, --batch-first reads them";
    expect(
        folder,
        &[
            (&format!("{train} --data batch --out a"), 7, refused),
            (&format!("{gradient} batch"), 7, refused),
            ("evaluate run-time --data batch", 7, refused),
            (&format!("{train} --data time --batch-first --out a"), 7, "where time comes first, leave --batch-first out"),
            ("train --batch-first", 2, "--data <FILE>"),
            ("train --bucket off --task adding", 2, "cannot be used with"),
            ("train --batch-first --task adding", 2, "cannot be used with"),
            ("train --data time --bucket maybe", 2, "possible values: on, off"),
        ],
    );
    assert!(!folder.join("a").exists());
}

/// Data in the order of its classes, of which each part has all; and data of which nothing is held out.
#[test]
fn what_is_held_out_is_chosen_at_random_and_may_be_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Which of two classes it is, all inputs say; the second half of the sequences is of the second class.
    let of_class = |count: usize| {
        let class = move |b: usize| usize::from(b >= count / 2);
        let inputs = Array3::from_shape_fn((4, count, 1), |(_, b, _)| class(b) as f32 - 0.5);
        [("inputs", inputs.into()), ("classes", Array1::from_shape_fn(count, |b| class(b) as i64).into())]
    };
    write(folder, "sorted", of_class(80));
    write(folder, "one", of_class(1));
    let train = "train --hidden 4 --steps 60 --lr 0.05 --backend cpu --json";
    for (share, held_out) in [("", 8), (" --validation 0.5", 40)] {
        let out = succeed(folder, &format!("{train} --batch 8 --data sorted{share} --out run{held_out}"));
        let trained: Value = serde_json::from_str(&out).unwrap();
        let found: Value = serde_json::from_str(&succeed(folder, &format!("evaluate run{held_out} --json"))).unwrap();
        assert_eq!((&found["loss"], &found["counted"]), (&trained["validation_loss"], &Value::from(held_out)));
        assert!(found["accuracy"] == 1.0, "both classes are learnt, and both are held out: {found}");
    }
    let out = succeed(folder, &format!("{train} --batch 1 --data one --validation 0 --out single"));
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["validation_loss"], Value::Null);
    succeed(folder, "train --resume single --steps 61");
    expect(
        folder,
        &[
            ("evaluate single", 7, "one: nothing is held out of it"),
            (&format!("{train} --batch 1 --data one --out x"), 7, "0 are left; --validation 0 holds none out"),
            (&format!("{train} --task adding --validation 0.2 --out x"), 2, "cannot be used with"),
            (&format!("{train} --data one --validation 1 --out x"), 2, "1 is not in [0, 1)"),
            (&format!("{train} --data one --validation nan --out x"), 2, "--validation"),
        ],
    );
    let all: Value = serde_json::from_str(&succeed(folder, "evaluate single --data one --json")).unwrap();
    assert_eq!(all["counted"], 1);
}

/// A weight for each class that there is, and not all 0.
#[test]
fn class_weights_of_a_file_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (name, weights) in [
        ("good", vec![1.0, 2.0, 0.5]),
        ("short", vec![1.0, 2.0]),
        ("zero", vec![0.0; 3]),
        ("below", vec![1.0, -1.0, 1.0]),
        ("wide", vec![1.0; 4]),
    ] {
        let weights: Array1<f32> = weights.into();
        write(folder, name, [("inputs", inputs().into()), ("classes", classes().into()), ("class_weights", weights.into())]);
    }
    write(folder, "plain", [("inputs", inputs().into()), ("classes", classes().into())]);
    assert_ne!(losses(folder, "good").0, losses(folder, "plain").0, "weights count");
    // A weight for a class that does not occur makes an output for it.
    losses(folder, "wide");
    let line = |name: &str| format!("{TRAIN} --data {name} --out x");
    let lines = ["short", "zero", "below"].map(line);
    expect(
        folder,
        &[
            (&lines[0], 7, "short: class_weights: expected one for each of at least 3 classes, got 2"),
            (&lines[1], 7, "zero: class weights: all 3 are 0, so there is no loss"),
            (&lines[2], 7, "below: class weights: [1] is -1; expected a finite number that is not negative"),
        ],
    );
}
