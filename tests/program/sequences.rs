//! Both directions and sequences of different lengths, from files.

use std::path::Path;

use ndarray::{Array2, Array3, s};
use retrospect::tensors::Tensors;
use serde_json::Value;

use super::{run, succeed, text};

/// Sequences of up to nine tokens, each of whose steps is to say what the last token is: to be seen by looking back from the end alone.
/// Behind the end there are numbers that are no tokens.
fn data(folder: &Path) {
    let length = |b: usize| 2 + (b * 5 + b / 7) % 8;
    let token = |t: usize, b: usize| ((t * 7 + b * 13 + t * b) % 5) as i64;
    let mut data = Tensors::new();
    data.insert("tokens", Array2::from_shape_fn((9, 90), |(t, b)| if t < length(b) { token(t, b) } else { -3 - t as i64 }));
    data.insert(
        "classes",
        Array2::from_shape_fn((9, 90), |(t, b)| if t < length(b) { token(length(b) - 1, b) } else { 1 << 40 }),
    );
    data.insert("lengths", (0..90).map(|b| length(b) as i64).collect::<ndarray::Array1<i64>>());
    data.write(folder.join("data")).unwrap();
}

fn accuracy(folder: &Path, run: &str) -> f64 {
    let found: Value = serde_json::from_str(&succeed(folder, &format!("evaluate {run} --data data --json"))).unwrap();
    assert_eq!(found["counted"], (0..90).map(|b| 2 + (b * 5 + b / 7) % 8).sum::<usize>());
    found["accuracy"].as_f64().unwrap()
}

#[test]
fn what_comes_last_is_known_in_both_directions_alone() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let train = "train --data data --hidden 16 --batch 9 --steps 300 --lr 0.02 --backend cpu --json";
    succeed(folder.path(), &format!("{train} --cell gru --out one"));
    succeed(folder.path(), &format!("{train} --cell gru --bidirectional --layers 2 --out both"));
    let [one, both] = ["one", "both"].map(|run| accuracy(folder.path(), run));
    assert!(both > 0.95 && one < 0.8, "both directions {both}, one {one}");
}

#[test]
fn a_run_in_both_directions_goes_on_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    for (backend, recompute) in [("cpu", ""), ("gpu", "--recompute 4")] {
        let train = format!(
            "train --data data --cell lstm --bidirectional --layers 2 --hidden 7 --batch 9 --backend {backend} {recompute}"
        );
        succeed(folder.path(), &format!("{train} --steps 14 --out whole-{backend}"));
        succeed(folder.path(), &format!("{train} --steps 5 --out part-{backend}"));
        succeed(folder.path(), &format!("train --resume part-{backend} --steps 14 --backend {backend}"));
        let read = |run: &str| Tensors::read(folder.path().join(format!("{run}-{backend}/checkpoint.safetensors"))).unwrap();
        let (whole, part) = (read("whole"), read("part"));
        assert!(whole.names().all(|name| whole.get(name).unwrap() == part.get(name).unwrap()), "{backend}");
        whole.expect_shape("state.c0", &[4, 9, 7]).unwrap();
        whole.expect_shape("rnn.weight_ih_l1_reverse", &[28, 14]).unwrap();
        whole.expect_shape("decoder.weight", &[5, 14]).unwrap();

        // What it computes follows from the file alone, and another number of directions is refused.
        let weights = format!("whole-{backend}/checkpoint.safetensors");
        let out = succeed(folder.path(), &format!("train --data data --batch 9 --init {weights} --steps 1 --out next-{backend}"));
        assert!(out.contains("loss"), "{out}");
        let next = Tensors::read(folder.path().join(format!("next-{backend}/checkpoint.safetensors"))).unwrap();
        assert!(next.contains("rnn.weight_hh_l1_reverse"));
    }
}

#[test]
fn what_makes_no_sense_in_both_directions_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    std::fs::write(folder.path().join("t.txt"), text(3000)).unwrap();
    let small = "--hidden 5 --batch 3 --steps 2 --backend cpu";
    succeed(folder.path(), &format!("train --data data --bidirectional {small} --out both"));
    succeed(folder.path(), &format!("train --data data {small} --out one"));
    let expect = |line: &str, code: i32, message: &str| {
        let (got, _, err) = run(folder.path(), line);
        assert!(got == code && err.contains(message), "{line}: {got}, {err}");
    };
    expect(
        &format!("train --text t.txt --bidirectional --window 8 {small} --out x"),
        2,
        "--bidirectional cannot be used with a text",
    );
    expect("sample both", 2, "this run was trained on");
    expect(
        &format!("train --data data --bidirectional --trace-gradients 5 {small} --out x"),
        2,
        "gradients cannot be traced in a bidirectional network",
    );
    expect(
        &format!("train --data data --bidirectional --init one/checkpoint.safetensors {small} --out x"),
        7,
        "these weights are of one direction",
    );
    assert!(!folder.path().join("x").exists());

    // Both directions begin from states of the data where it has them.
    let mut begun = Tensors::read(folder.path().join("data")).unwrap();
    begun.insert("h0", Array3::from_shape_fn((2, 90, 5), |(layer, b, unit)| (layer + b * unit % 7) as f32 / 9.0));
    begun.write(folder.path().join("begun")).unwrap();
    succeed(folder.path(), &format!("train --data begun --bidirectional {small} --out begun-run"));

    // Weights of one direction beside a batch, and a file whose lengths are wrong.
    let mut batch = Tensors::new();
    batch.insert("inputs", Array3::<f32>::zeros((4, 2, 3)));
    batch.insert("classes", Array2::<i64>::zeros((4, 2)));
    for (lengths, message) in
        [(vec![5_i64, 1], "[0] is 5"), (vec![0, 1], "[0] is 0"), (vec![1, 2, 3], "expected shape [2], got [3]")]
    {
        batch.insert("lengths", ndarray::Array1::from(lengths));
        batch.write(folder.path().join("batch")).unwrap();
        expect("gradient --weights one/checkpoint.safetensors --batch batch --out g --backend cpu", 7, message);
    }
}

/// A gradient with lengths, of a file whose padding is NaN: that of the sequences cut off by hand.
#[test]
fn the_gradient_of_one_sequence_is_that_without_its_padding() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let values = Array3::from_shape_fn((6, 1, 3), |(t, _, i)| (t * 5 + i * 3) as f32 % 7.0 / 7.0 - 0.5);
    let classes = Array2::from_shape_fn((6, 1), |(t, _)| t as i64 % 2);
    let mut short = Tensors::new();
    short.insert("inputs", values.slice(s![..4, .., ..]).to_owned());
    short.insert("classes", classes.slice(s![..4, ..]).to_owned());
    short.write(folder.path().join("short")).unwrap();
    let mut long = Tensors::new();
    long.insert("inputs", Array3::from_shape_fn((6, 1, 3), |at| if at.0 < 4 { values[at] } else { f32::NAN }));
    long.insert("classes", classes);
    long.insert("lengths", ndarray::array![4_i64]);
    long.write(folder.path().join("long")).unwrap();
    let vectors =
        "train --data vectors --hidden 6 --batch 1 --steps 1 --cell lstm --bidirectional --layers 2 --backend cpu --out run";
    let mut sequences = Tensors::new();
    sequences.insert("inputs", Array3::from_shape_fn((6, 4, 3), |(t, b, i)| (t + b + i) as f32 / 9.0));
    sequences.insert("classes", Array2::from_shape_fn((6, 4), |(t, b)| ((t + b) % 2) as i64));
    sequences.write(folder.path().join("vectors")).unwrap();
    succeed(folder.path(), vectors);
    for backend in ["cpu", "gpu", "reference"] {
        for batch in ["short", "long"] {
            succeed(folder.path(), &format!("gradient --weights run --batch {batch} --out g-{batch} --backend {backend}"));
        }
        let [short, long] = ["short", "long"].map(|name| Tensors::read(folder.path().join(format!("g-{name}"))).unwrap());
        for name in short.names().filter(|name| *name != "outputs") {
            let (a, b) = (short.f64(name).unwrap(), long.f64(name).unwrap());
            let largest = a.fold(1e-30, |m: f64, v| m.max(v.abs()));
            let off = (&a - &b).fold(0.0, |m: f64, v| m.max(v.abs())) / largest;
            assert!(off < 2e-6, "{name} on {backend}: off by {off:e}");
        }
    }
}

#[test]
fn the_program_of_both_directions_is_shown_and_timed() {
    let folder = tempfile::tempdir().unwrap();
    let steps = succeed(folder.path(), "steps --task adding --bidirectional --cell gru --hidden 9 --window 12 --backend cpu");
    assert!(steps.contains("gather") && steps.contains("turned inputs, layer 0"), "{steps}");
    assert!(steps.contains("These steps may run at the same time as the step before them: "), "{steps}");
    let out = succeed(folder.path(), "bench --bidirectional --hidden 8 --batch 2 --window 4 --runs 1 --json --backend cpu");
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(found["rows"][0]["directions"], 2, "{found}");
}
