//! Tables from the file to the prediction: series, sequences of classes, scaling, and what is refused.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use ndarray::{Array2, Array3};
use retrospect::tensors::Tensors;
use serde_json::Value;

use super::errors::expect;
use super::{command, finished, json, run, succeed};

/// Two waves around 1000 and something that depends on the first of them, every hundredth row without it.
fn series(rows: usize) -> String {
    let mut text = String::from("time,flow,rain\n");
    for t in 0..rows {
        let x = t as f64;
        let flow = 1000.0 + 25.0 * (x / 7.0).sin() + 12.0 * (x / 3.0).cos();
        let rain = if t % 100 == 50 { String::new() } else { format!("{:.3}", 0.01 * (x / 7.0).cos()) };
        text += &format!("2001-{t},{flow:.4},{rain}\n");
    }
    text
}

/// Sequences that rise or fall, in a unit of thousands.
fn sequences(count: usize) -> String {
    let mut text = String::from("label;id;level;device\n");
    for s in 0..count {
        let (rises, length) = ((s * 7 + s / 3) % 2 == 0, 3 + s % 9);
        for t in 0..length {
            let level = 5000.0 + 20.0 * ((s * 13) % 17) as f64 + if rises { 100.0 } else { -100.0 } * t as f64;
            let label = if rises { "rises" } else { "falls" };
            text += &format!("{label};s{s};{level};{}\n", ["north", "south"][s % 2]);
        }
    }
    text
}

/// The rows of a CSV, without its heading.
fn rows(text: &str) -> Vec<Vec<String>> {
    text.lines().skip(1).map(|line| line.split(',').map(String::from).collect()).collect()
}

const FORECAST: &str =
    "train --data flow.csv --target flow --input flow --ahead 1 --cell lstm --hidden 12 --lr 0.01 --backend cpu";

/// A forecast beats the last value by far, is in its own unit, and goes on as if it were fed by hand.
#[test]
fn a_series_is_forecast() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("flow.csv"), series(700)).unwrap();
    let (code, _, said) = run(at, &format!("{FORECAST} --steps 400 --evaluate-every 200 --out run"));
    assert_eq!(code, 0, "{said}");
    for expected in [
        "one series of 700 time steps: 628 train as 2 streams of 314; 70 at its end are held out.\nWindows of 64 time steps, the state carried on.",
        "reads flow; predicts flow",
        "lstm: 12 units; 685 parameters; a guess scores a loss of",
        "RMSE of flow",
    ] {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    let found = json(at, "evaluate run --json --backend cpu");
    let error = found["columns"][0]["root_mean_squared_error"].as_f64().unwrap();
    let values: Vec<f64> = rows(&series(700)).iter().map(|row| row[1].parse().unwrap()).collect();
    let naive = (630..700).map(|t| (values[t] - values[t - 1]).powi(2)).sum::<f64>() / 70.0;
    assert!(error < 0.4 * naive.sqrt() && found["columns"][0]["r2"].as_f64().unwrap() > 0.95, "{error} against {}", naive.sqrt());
    let metrics = fs::read_to_string(at.join("run/metrics.jsonl")).unwrap();
    let last: Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
    let logged = last["columns"][0]["root_mean_squared_error"].as_f64().unwrap();
    assert!((logged - error).abs() < 1e-3 * error, "{logged} {error}");

    // Each row is what the row before said of it; then three more.
    succeed(at, "predict run --data flow.csv --steps 3 --out a.csv --plot a.svg --backend cpu");
    let text = fs::read_to_string(at.join("a.csv")).unwrap();
    assert!(text.starts_with("sequence,step,flow\n0,1,"), "{text}");
    let found = rows(&text);
    let value = |row: &Vec<String>| row[2].parse::<f64>().unwrap();
    assert_eq!((found.len(), found[702][1].as_str()), (703, "703"));
    // With the date of the row that is predicted, as it is written, and a number; neither is there behind the file's end.
    succeed(at, "predict run --data flow.csv --steps 3 --keep time,rain --out dates.csv --backend cpu");
    let text = fs::read_to_string(at.join("dates.csv")).unwrap();
    assert!(text.starts_with("sequence,step,time,rain,flow\n0,1,2001-1,0.010,"), "{text}");
    let dated = rows(&text);
    assert_eq!(dated.iter().map(|row| &row[4]).collect::<Vec<_>>(), found.iter().map(|row| &row[2]).collect::<Vec<_>>());
    assert_eq!(
        (&dated[49][2..4], &dated[698][2], &dated[699][2..4]),
        (&["2001-50".into(), String::new()][..], &"2001-699".into(), &[String::new(), String::new()][..])
    );
    expect(
        at,
        &[
            ("predict run --data flow.csv --keep date --backend cpu", 7, "there is no column date; there are time, flow, rain"),
            ("predict run --data flow.csv --keep time --out b.npz --backend cpu", 2, "--out FILE.csv can"),
            ("predict run --data flow.csv --keep , --backend cpu", 2, "expected names of columns"),
        ],
    );
    let off = (630..700).map(|t| (value(&found[t - 1]) - values[t]).powi(2)).sum::<f64>() / 70.0;
    assert!((off.sqrt() - error).abs() < 0.05 * error, "{} {error}", off.sqrt());
    let longer = [&found[699], &found[700], &found[701]].map(|row| format!("x,{},\n", row[2])).concat();
    fs::write(at.join("longer.csv"), series(700) + &longer).unwrap();
    let by_hand = rows(&succeed(at, "predict run --data longer.csv --backend cpu"));
    for t in 700..703 {
        assert!((value(&by_hand[t]) - value(&found[t])).abs() < 1e-3, "{t}: {:?} {:?}", by_hand[t], found[t]);
    }
    let figure = fs::read_to_string(at.join("a.svg")).unwrap();
    assert!(figure.contains("truth") && figure.contains("predicted") && figure.contains("flow"));
}

/// The same numbers as tensors that are scaled by hand, through the equations in f64.
#[test]
fn predictions_of_a_table_are_what_the_equations_give() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("flow.csv"), series(260)).unwrap();
    for cell in ["elman", "leaky", "gru", "lstm"] {
        let line = format!("--data flow.csv --target rain --input flow --cell {cell} --hidden 6 --lr 0.02 --window 20 --batch 2");
        succeed(at, &format!("train {line} --steps 30 --backend cpu --out {cell}"));
        let values: Vec<f64> = rows(&series(260)).iter().map(|row| row[1].parse().unwrap()).collect();
        let rain: Vec<f64> = rows(&series(260)).iter().filter_map(|row| row[2].parse().ok()).collect();
        // 234 train; two of their rains, those of rows 50 and 150, are missing.
        let moments = |values: &[f64]| {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt())
        };
        let ((shift, scale), (mean, deviation)) = (moments(&values[..234]), moments(&rain[..232]));
        let mut batch = Tensors::new();
        batch.insert("inputs", Array3::from_shape_fn((260, 1, 1), |(t, ..)| ((values[t] - shift) / scale) as f32));
        batch.insert("values", Array3::<f32>::zeros((260, 1, 1)));
        batch.write(at.join("batch")).unwrap();
        succeed(at, &format!("gradient --weights {cell} --batch batch --out expected --backend reference"));
        let expected = Tensors::read(at.join("expected")).unwrap().f64("outputs").unwrap();
        for backend in ["cpu", "gpu"] {
            let found = rows(&succeed(at, &format!("predict {cell} --checkpoint last --data flow.csv --backend {backend}")));
            assert_eq!(found.len(), 260);
            for (t, row) in found.iter().enumerate() {
                let off = row[2].parse::<f64>().unwrap() - (expected[[t, 0, 0]] * deviation + mean);
                assert!(off.abs() < 1e-5 * deviation, "{cell} on {backend}: row {t} is off by {off:e} of {deviation:e}");
            }
        }
    }
}

#[test]
fn sequences_of_a_table_are_classified() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("all.txt"), sequences(240)).unwrap();
    fs::write(at.join("more.csv"), sequences(60).replace(";s", ";m").replace("mouth", "south")).unwrap();
    let line = "train --data all.txt --target label --sequence id --cell gru --hidden 8 --lr 0.03 --steps 300 --backend cpu";
    let (code, _, said) = run(at, &format!("{line} --validation more.csv --test 0.25 --out run"));
    assert_eq!(code, 0, "{said}");
    for expected in [
        "180 sequences to train, 0 held out and 60 for a test, of 3 to 11 time steps",
        "reads level, device (2 words); predicts label (falls",
        "accuracy",
    ] {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    let test = json(at, "evaluate run --json --backend cpu");
    let validation = json(at, "evaluate run --json --part validation --backend cpu");
    let more = json(at, "evaluate run --json --data more.csv --backend cpu");
    assert!(test["accuracy"].as_f64().unwrap() > 0.85, "{test}");
    assert_eq!((&validation["loss"], &validation["counted"]), (&more["loss"], &more["counted"]), "of the other file");
    assert_ne!(test["loss"], validation["loss"]);
    let confusion: u64 =
        test["confusion"].as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap()).map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(confusion, test["counted"].as_u64().unwrap());
    assert_eq!(test["classes"][1]["name"], "rises");

    // The other file may move, too; what trains stays as it was.
    fs::rename(at.join("more.csv"), at.join("moved.csv")).unwrap();
    let (code, _, err) = run(at, "train --resume run --steps 302 --backend cpu");
    assert!(code == 7 && err.contains("more.csv: cannot be read"), "{err}");
    succeed(at, "train --resume run --steps 302 --validation moved.csv --backend cpu");
    expect(
        at,
        &[("train --resume run --steps 304 --validation 0.2", 2, "--validation: what trains stays as it was when a run goes on")],
    );
    fs::rename(at.join("moved.csv"), at.join("more.csv")).unwrap();

    // Without labels, in another order of columns; names of sequences and classes are those of the files.
    let unknown = "device,level,id\nsouth,5100,q 1\nsouth,5200,q 1\nnorth,5200,z\nsouth,5300,q 1\nnorth,5100,z\nnorth,5000,z\n";
    fs::write(at.join("unknown.csv"), unknown).unwrap();
    let found = succeed(at, "predict run --data unknown.csv --last --backend cpu");
    assert!(found.starts_with("sequence,step,class,p(falls),p(rises)\n"), "{found}");
    let firsts: Vec<Vec<String>> = rows(&found).into_iter().map(|row| row[..3].to_vec()).collect();
    assert_eq!(firsts, [["q 1", "2", "rises"], ["z", "2", "falls"]]);
    succeed(at, "predict run --data more.csv --last --plot confusion.svg --out more.npz --backend cpu");
    assert!(fs::read_to_string(at.join("confusion.svg")).unwrap().contains("rises"));

    // From a pipe, and on.
    let train = format!("{} --out piped", line.replace("all.txt", "-"));
    let mut child = command(at, &train).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(sequences(240).as_bytes()).unwrap();
    let (code, _, err) = finished(&train, child.wait_with_output().unwrap());
    assert!(code == 0 && err.contains("216 sequences to train and 24 held out"), "{err}");
    expect(
        at,
        &[
            (
                "predict run --data unknown.csv --last --plot x.svg",
                2,
                "--plot draws a confusion matrix, and the file has no classes",
            ),
            ("predict run --data unknown.csv --steps 2", 2, "it reads column level, which it does not predict"),
            ("evaluate run --data unknown.csv", 7, "unknown.csv: there is no column label; there are device, level, id"),
            (
                "predict run --data run/checkpoint.safetensors",
                7,
                "run/checkpoint.safetensors: holds tensors, and this network was trained on a table",
            ),
        ],
    );
}

/// Long sequences in windows: carried on, at random places, and resumed with the same bits.
#[test]
fn windows_resume_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("flow.csv"), series(500)).unwrap();
    let mut tensors = Tensors::new();
    tensors.insert("inputs", Array3::<f32>::from_shape_fn((50, 12, 2), |(t, b, i)| ((t * 7 + b * 3 + i) % 13) as f32 * 100.0));
    tensors.insert("values", Array3::<f32>::from_shape_fn((50, 12, 1), |(t, b, _)| ((t * 7 + b * 3) % 13) as f32 * 1e6));
    tensors.write(at.join("long.safetensors")).unwrap();
    for (name, line) in [
        ("carried", "--data flow.csv --target flow --ahead 2 --input flow --window 16 --batch 3"),
        ("random", "--data flow.csv --target flow --ahead 2 --input flow --windows random --warmup-steps 10 --window 24"),
        ("cut", "--data long.safetensors --window 20 --batch 4 --scale standard"),
    ] {
        let train = format!("train {line} --cell gru --hidden 5 --loss-every 1 --backend cpu");
        succeed(at, &format!("{train} --steps 12 --out {name}-whole"));
        succeed(at, &format!("{train} --steps 7 --out {name}"));
        succeed(at, &format!("train --resume {name} --steps 12 --backend cpu"));
        let losses = |run: &str| -> Vec<Value> {
            let metrics = fs::read_to_string(at.join(run).join("metrics.jsonl")).unwrap();
            let lines = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            lines.filter(|line| line["loss"].is_number()).map(|line| line["loss"].clone()).collect()
        };
        assert_eq!(losses(name), losses(&format!("{name}-whole")), "{name}");
        let [a, b] =
            [name.to_owned(), format!("{name}-whole")].map(|run| json(at, &format!("evaluate {run} --json --backend cpu")));
        assert_eq!(a["loss"], b["loss"], "{name}");
    }
    // Values near 1e6 come back in their own unit.
    let found = rows(&succeed(at, "predict cut --data long.safetensors --backend cpu"));
    let mean = found.iter().map(|row| row[2].parse::<f64>().unwrap()).sum::<f64>() / found.len() as f64;
    assert!((3e6..9e6).contains(&mean), "{mean}");
}

/// Numbers whose differences f32 does not have, in and out; and what a small or odd file does.
#[test]
fn numbers_far_from_zero_keep_their_digits() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let value = |t: usize, b: usize| 1e9 + ((t * 7 + b * 3) % 13) as f64;
    let mut tensors = Tensors::new();
    tensors.insert("inputs", Array3::<f64>::from_shape_fn((40, 12, 1), |(t, b, _)| value(t, b)));
    tensors.insert("values", Array3::<f64>::from_shape_fn((40, 12, 1), |(t, b, _)| value(t + 1, b)));
    tensors.write_npz(at.join("far.npz")).unwrap();
    let line = "train --data far.npz --scale standard --cell gru --hidden 6 --backend cpu";
    let (code, _, said) = run(at, &format!("{line} --steps 1 --lr 0 --out start"));
    // Twelve sequences with the usual batch, which is as large as they allow. A guess is off by a deviation.
    assert!(code == 0 && said.contains("11 sequences to train and 1 held out"), "{said}");
    let guess = said.split("a guess scores a loss of ").nth(1).unwrap().split('.').next().unwrap();
    assert!(["0", "1"].contains(&guess), "{said}");
    succeed(at, &format!("{line} --steps 200 --lr 0.02 --out run"));
    let error = json(at, "evaluate run --json --backend cpu")["columns"][0]["root_mean_squared_error"].as_f64().unwrap();
    succeed(at, "predict run --data far.npz --out found.npz --backend cpu");
    let found = Tensors::read(at.join("found.npz")).unwrap().f64("outputs").unwrap();
    let csv = rows(&succeed(at, "predict run --data far.npz --backend cpu"));
    let mut squares = 0.0;
    for ((t, b), row) in (0..12).flat_map(|b| (0..40).map(move |t| (t, b))).zip(&csv) {
        let off = found[[t, b, 0]] - value(t + 1, b);
        assert!((row[2].parse::<f64>().unwrap() - found[[t, b, 0]]).abs() < 1e-5);
        squares += off * off;
    }
    let all = (squares / 480.0).sqrt();
    assert!(all > 0.01 && all < 2.0 && (0.2..5.0).contains(&(error / all)), "{error} {all}");

    // Warm-up steps count where every sequence is shorter than the usual window, too.
    let (_, _, said) = run(at, &format!("{line} --windows random --warmup-steps 30 --steps 2 --out warm"));
    assert!(said.contains("Windows of 40 time steps at random places, whose first 30 do not count"), "{said}");
    let (code, _, err) = run(at, &format!("{line} --windows random --warmup-steps 40 --steps 2 --out warmer"));
    assert!(code == 2 && err.contains("40 warm-up steps leave nothing that counts of a window of 40"), "{err}");

    // Ids are not scaled, and what follows them goes on.
    let mut ids = Tensors::new();
    ids.insert("tokens", Array2::<i64>::from_shape_fn((30, 8), |(t, b)| ((t + b) % 5) as i64));
    ids.insert("classes", Array2::<i64>::from_shape_fn((30, 8), |(t, b)| ((t + b + 1) % 5) as i64));
    ids.write_npz(at.join("ids.npz")).unwrap();
    succeed(at, "train --data ids.npz --scale standard --batch 2 --steps 3 --hidden 4 --backend cpu --out ids");
    assert_eq!(rows(&succeed(at, "predict ids --data ids.npz --steps 2 --backend cpu")).len(), 8 * 32);

    // A target that is not known yet may be anything.
    fs::write(at.join("flow.csv"), series(300)).unwrap();
    succeed(at, &format!("{FORECAST} --steps 2 --out flow"));
    succeed(at, "train --data flow.csv --target flow --input time --steps 2 --hidden 4 --backend cpu --out words");
    let unknown: String = (0..300).map(|t| format!("2001-{t},?\n")).collect();
    fs::write(at.join("unknown.csv"), format!("time,flow\n{unknown}")).unwrap();
    assert_eq!(rows(&succeed(at, "predict words --data unknown.csv --backend cpu")).len(), 300);
}

#[test]
fn what_cannot_be_read_or_divided_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("flow.csv"), series(300)).unwrap();
    fs::copy(at.join("flow.csv"), at.join("flow")).unwrap();
    fs::write(at.join("slip.csv"), series(300).replace("1005.", "1OO5.")).unwrap();
    fs::write(at.join("short.csv"), "a,b\n1,2\n3,4\n").unwrap();
    fs::write(at.join("text.txt"), super::text(400)).unwrap();
    fs::write(at.join("comma.csv"), "id;x;y\n1;1,5;2\n1;2,5;3\n").unwrap();
    let named: String = (0..40).map(|t| format!("{t},{}\n", t % 5)).collect();
    fs::write(at.join("named.csv"), format!("x,\"y,z\"\n{named}")).unwrap();
    let mut tensors = Tensors::new();
    tensors.insert("inputs", Array3::<f32>::zeros((5, 40, 1)));
    tensors.insert("values", Array3::<f32>::zeros((5, 40, 1)));
    tensors.write(at.join("t.safetensors")).unwrap();
    succeed(at, &format!("{FORECAST} --steps 2 --out run"));
    let train = "train --steps 2 --hidden 4 --backend cpu --out x";
    let line = |rest: &str| format!("{train} {rest}");
    let cases: Vec<(String, i32, &str)> = vec![
        (line("--data flow.csv"), 2, "flow.csv needs --target COLUMN, which is predicted; there are time, flow, rain"),
        (line("--data flow.csv --target rain"), 0, "3 of 300 rows have no target and do not count"),
        (
            line("--data flow.csv --target rain --ahead 290 --fill mean"),
            7,
            "has 300 rows; nothing is left to train of targets 290 rows later",
        ),
        (line("--data flow.csv --target rain --ahead 400 --fill mean"), 7, "no row has a target (column rain 400 rows later)"),
        (line("--data flow.csv --target rain,rain"), 2, "column rain is named twice"),
        (line("--data flow.csv --target rain --batch-first"), 2, "--batch-first is for tensors, and"),
        (line("--data comma.csv --target y --sequence id"), 7, "numbers with a decimal comma"),
        (line("--data named.csv --target \"y,z\""), 0, "reads x; predicts y,z."),
        ("evaluate run --part test".into(), 2, "this run has no test part"),
        (line("--data flow.csv --target rain --init run"), 2, "this network predicts flow, and --target names rain"),
        (
            line("--data flow.csv --target flow --ahead 1 --input rain --init run"),
            2,
            "this network reads flow, and --input names rain",
        ),
        (line("--data flow.csv --target flow --ahead 1 --scale minmax --init run"), 2, "scaled as the run of --init scales them"),
        ("predict run --data flow --out x.csv --plot flow".into(), 2, "--plot would overwrite flow"),
        (
            line("--data flow.csv --target flow"),
            7,
            "row 51 (the header aside), column rain: is missing; --fill last, zero or mean",
        ),
        (line("--data slip.csv --target flow --fill mean"), 7, "is no finite number"),
        (line("--target x"), 2, "--data"),
        (line("--data t.safetensors --target x"), 2, "t.safetensors holds tensors; --target and other columns are of tables"),
        (line("--text text.txt --target x"), 2, "cannot be used with"),
        (line("--data short.csv --target b --validation 0.5"), 0, ""),
        (
            line("--data flow.csv --target rain --validation 0.6 --test 0.4"),
            2,
            "validation 0.6 and test 0.4 leave nothing to train",
        ),
        (line("--data flow.csv --target rain --validation none.csv"), 7, "none.csv: cannot be read"),
        (line("--data flow.csv --target rain --validation short.csv"), 7, "short.csv: there is no column flow; there are a, b"),
        (
            line("--data flow.csv --target rain --window 50 --batch 6"),
            7,
            "270 time steps train, and batch 6 with window 50 needs 300; batch 5 would fit",
        ),
        (line("--data flow.csv --target rain --warmup-steps 3"), 2, "warm-up steps are for windows at random places"),
        (
            line("--data flow.csv --target rain --bidirectional"),
            2,
            "--bidirectional reads whole sequences, and these are cut into windows of 64",
        ),
        ("predict run --data t.safetensors".into(), 7, "t.safetensors: holds tensors, and this network was trained on a table"),
        ("evaluate run --data short.csv".into(), 7, "short.csv: there is no column flow"),
    ];
    for (line, code, message) in &cases {
        let (got, _, err) = run(at, line);
        assert_eq!(got, *code, "{line}: {err}");
        assert!(err.contains(message), "{line}: expected {message:?} in {err}");
        let _ = fs::remove_dir_all(at.join("x"));
    }
    // A run on tensors is not asked to read a table.
    succeed(at, &format!("{train} --data t.safetensors --batch 4"));
    expect(at, &[("predict x --data flow.csv", 7, "is a table, and this network was not trained on one")]);
}

/// Few sequences train in a small batch, and a file that is measured may have more, longer or shorter ones.
#[test]
fn a_validation_file_of_other_sequences_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("twelve.csv"), sequences(12)).unwrap();
    let (code, _, said) =
        run(at, "train --data twelve.csv --target level --sequence id --hidden 4 --steps 4 --backend cpu --out twelve");
    assert!(code == 0 && said.contains("11 sequences to train and 1 held out") && said.contains("held out: s"), "{said}");
    fs::write(at.join("train.csv"), sequences(6)).unwrap();
    for (name, count) in [("one", 1), ("many", 70)] {
        fs::write(at.join(format!("{name}.csv")), sequences(count)).unwrap();
        let line = format!(
            "train --data train.csv --validation {name}.csv --target level --sequence id --hidden 4 --steps 4 --backend cpu"
        );
        let found = json(at, &format!("{line} --out {name} --json"));
        assert!(found["validation_loss"].is_number(), "{found}");
        let again = json(at, &format!("evaluate {name} --json"))["loss"].as_f64().unwrap();
        let last = json(at, &format!("evaluate {name} --checkpoint last --json"))["loss"].as_f64().unwrap();
        let best = found["best"]["value"].as_f64().unwrap();
        assert!((again - best).abs() < 1e-6 * best && last >= again, "{found}, {again}, {last}");
    }
}
