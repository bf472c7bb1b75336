//! What networks are measured by: labels, quantiles, ratios, and what does not fit them.

use std::fs;
use std::path::Path;

use ndarray::{Array1, Array2, Array3};
use retrospect::tensors::Tensors;

use super::errors::expect;
use super::{json, run, succeed};

/// A column that cannot be foreseen, uniform in 0 to 1000, and a column that says nothing of it.
fn noise(rows: usize) -> String {
    let mut state = 1_u64;
    let mut text = String::from("x,y\n");
    for t in 0..rows {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text += &format!("{},{}\n", t % 3, (state >> 33) % 1001);
    }
    text
}

/// The cells of a CSV file, its heading first.
fn cells(path: &Path) -> Vec<Vec<String>> {
    fs::read_to_string(path).unwrap().lines().map(|line| line.split(',').map(String::from).collect()).collect()
}

#[test]
fn quantiles_cover_what_they_should() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("noise.csv"), noise(3000)).unwrap();
    let line =
        "train --data noise.csv --target y --input x --quantile 0.1,0.5,0.9 --hidden 4 --lr 0.01 --steps 400 --backend cpu";
    let (code, _, said) = run(at, &format!("{line} --out run"));
    assert!(code == 0 && said.contains("a guess scores a loss of"), "{said}");
    let found = json(at, "evaluate run --json");
    for (column, level) in found["columns"].as_array().unwrap().iter().zip([0.1, 0.5, 0.9]) {
        assert_eq!(column["name"], format!("y q{level}"));
        let coverage = column["coverage"].as_f64().unwrap();
        assert!((coverage - level).abs() < 0.06, "{column}");
    }
    succeed(at, "predict run --data noise.csv --out told.csv");
    let told = cells(&at.join("told.csv"));
    assert_eq!(told[0], ["sequence", "step", "y q0.1", "y q0.5", "y q0.9"]);
    for (row, expected) in told[500][2..].iter().zip([100.0, 500.0, 900.0]) {
        let value: f64 = row.parse().unwrap();
        assert!((value - expected).abs() < 80.0, "in the data's own unit: {:?}", told[500]);
    }
    succeed(at, "predict run --data noise.csv --plot band.svg");
    let drawn = fs::read_to_string(at.join("band.svg")).unwrap();
    assert!(drawn.contains("between the outer quantiles") && drawn.contains("<polygon"), "one panel with the band");
    let table = succeed(at, "evaluate run");
    assert!(table.contains("coverage"), "{table}");
    expect(at, &[("predict run --data noise.csv --steps 5", 2, "it predicts 3 quantiles of each target")]);
}

#[test]
fn labels_become_probabilities() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    // One label follows from the input, and one is true in a quarter of the rows.
    let row = |t: usize| format!("{},{},{}\n", t * 7 % 10, usize::from(t * 7 % 10 > 4), usize::from(t % 4 == 1));
    let table = |rows: usize| String::from("level,high,often\n") + &(0..rows).map(row).collect::<String>();
    fs::write(at.join("labels.csv"), table(800)).unwrap();
    let line = "train --data labels.csv --target high,often --loss bce --hidden 8 --lr 0.02 --steps 400 --backend cpu";
    let (code, _, said) = run(at, &format!("{line} --out run"));
    // Half of the rows are high, and the entropies are ln 2 and that of a quarter: in the mean 0.628.
    assert!(code == 0 && said.contains("a guess scores a loss of 0.62"), "{said}");
    let found = json(at, "evaluate run --json");
    let accuracy = |column: usize| found["columns"][column]["accuracy"].as_f64().unwrap();
    assert!(accuracy(0) > 0.95 && accuracy(1) > 0.7, "{found}");
    succeed(at, "predict run --data labels.csv --out told.csv");
    for row in &cells(&at.join("told.csv"))[1..] {
        let told: Vec<f64> = row[2..].iter().map(|cell| cell.parse().unwrap()).collect();
        assert!(told.iter().all(|p| (0.0..=1.0).contains(p)), "{row:?}");
    }
    fs::write(at.join("wrong.csv"), table(800).replace("0,0,0\n", "0,2,0\n")).unwrap();
    expect(
        at,
        &[
            (&line.replace("labels.csv", "wrong.csv"), 7, "the binary cross-entropy is of labels from 0 to 1"),
            ("predict run --data labels.csv --steps 5", 2, "it predicts the probabilities of labels"),
            ("train --resume run --loss mse", 2, "--loss"),
        ],
    );
}

/// The error-to-signal ratio is that of the whole validation data, and for Nash and Sutcliffe each sequence weighs by its deviation.
#[test]
fn ratios_are_of_all_that_counts() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let mut tensors = Tensors::default();
    let wave = |t: usize, b: usize| (0.3 * t as f32 + b as f32).sin() * (1.0 + b as f32);
    tensors.insert("inputs", Array3::from_shape_fn((40, 20, 1), |(t, b, _)| wave(t, b)));
    tensors.insert("values", Array3::from_shape_fn((40, 20, 1), |(t, b, _)| (1.5 * wave(t, b)).tanh()));
    tensors.insert("lengths", Array1::from_shape_fn(20, |b| 20 + b as i64));
    tensors.write(at.join("waves.safetensors")).unwrap();
    let line = "train --data waves.safetensors --hidden 8 --batch 3 --lr 0.01 --steps 30 --backend cpu";
    succeed(at, &format!("{line} --loss esr --out esr"));
    let found = json(at, "evaluate esr --json");
    let [loss, ratio] = [&found["loss"], &found["columns"][0]["error_to_signal"]].map(|v| v.as_f64().unwrap());
    // But for what is added so that silence divides by more than 0.
    assert!((loss - ratio).abs() < 1e-4 * ratio, "{found}");
    succeed(at, &format!("{line} --loss nse --out nse"));
    // By the formula, from what the network predicts of all sequences.
    let found = json(at, "evaluate nse --data waves.safetensors --json")["loss"].as_f64().unwrap();
    succeed(at, "predict nse --data waves.safetensors --out told.csv");
    let rows = cells(&at.join("told.csv"));
    let told = |t: usize, b: usize| -> f64 {
        let row = rows.iter().find(|row| row[0] == b.to_string() && row[1] == t.to_string()).expect("a row of each time step");
        row[2].parse().unwrap()
    };
    let (mut sum, mut count) = (0.0, 0.0);
    for b in 0..20 {
        let truth: Vec<f64> = (0..20 + b).map(|t| f64::from((1.5 * wave(t, b)).tanh())).collect();
        let mean = truth.iter().sum::<f64>() / truth.len() as f64;
        let deviation = (truth.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / truth.len() as f64).sqrt();
        for (t, v) in truth.iter().enumerate() {
            sum += ((told(t, b) - v) / (deviation + 0.1)).powi(2);
            count += 1.0;
        }
    }
    assert!((found - sum / count).abs() < 1e-5 * found, "{found} and {}", sum / count);
    for name in ["mae", "huber:0.3"] {
        succeed(at, &format!("{line} --loss {name} --out {}", name.replace(':', "-")));
    }
    expect(
        at,
        &[
            (&format!("{line} --loss ce"), 2, "--loss: the cross-entropy is of classes, and the targets are values"),
            (&format!("{line} --loss huber:0"), 2, "must be positive and finite"),
            (
                &format!("{line} --loss squared"),
                2,
                "there is no loss of this name; there are cross-entropy (ce), squared-error (mse)",
            ),
            (&format!("{line} --loss mse --quantile 0.5"), 2, "cannot be used with"),
            (&format!("{line} --quantile 0.5,1"), 2, "a quantile is above 0 and below 1"),
            (&format!("{line} --quantile 0.5,0.1,0.5"), 2, "--quantile 0.5: it is there twice"),
            (
                "train --task copy-memory --steps 1 --loss mae",
                2,
                "--loss: the absolute error is of values, and the targets are classes",
            ),
        ],
    );
}

/// The reference, the CPU and the GPU have the same loss and gradient of each loss.
#[test]
fn gradients_of_every_loss_agree() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    succeed(at, "train --task adding --hidden 5 --batch 4 --window 6 --steps 1 --backend cpu --out run");
    let mut batch = Tensors::default();
    batch.insert("inputs", Array3::from_shape_fn((6, 3, 2), |(t, b, i)| (t as f32 + 2.0 * b as f32 + i as f32).sin()));
    batch.insert("values", Array3::from_shape_fn((6, 3, 1), |(t, b, _)| ((t + b) % 3) as f32 / 2.0));
    batch.insert("mask", Array2::from_shape_fn((6, 3), |(t, b)| f32::from(u8::from(t + b != 4))));
    batch.write(at.join("batch.safetensors")).unwrap();
    for loss in ["--loss mse", "--loss mae", "--loss huber:0.3", "--loss bce", "--loss esr", "--loss nse", "--quantile 0.2"] {
        let gradient = |backend: &str| {
            let line = format!(
                "gradient --weights run --batch batch.safetensors {loss} --backend {backend} --out {backend}.safetensors"
            );
            succeed(at, &line);
            Tensors::read(at.join(format!("{backend}.safetensors"))).unwrap()
        };
        let expected = gradient("reference");
        for backend in ["cpu", "gpu"] {
            let found = gradient(backend);
            for name in ["loss", "decoder.weight", "rnn.weight_hh_l0", "rnn.bias_ih_l0"] {
                let [found, expected] = [&found, &expected].map(|tensors| tensors.f64(name).unwrap());
                let size = expected.fold(0.0_f64, |a, b| a.max(b.abs()));
                let off = (&found - &expected).fold(0.0_f64, |a, b| a.max(b.abs()));
                assert!(size > 0.0 && off < 2e-5 * size, "{loss} on {backend}, {name}: off by {off} of {size}");
            }
        }
    }
}
