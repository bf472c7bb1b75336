//! Tables of several long series, such as river basins, as their users train and measure on them: single basins, gaps, seeds, new data.

use std::fs;
use std::path::Path;

use ndarray::Array3;
use retrospect::tensors::Tensors;
use serde_json::Value;

use super::errors::expect;
use super::{json, run, succeed};

/// Rain, and a flow that follows from it and the flow before, of some basins in a file; the flow of some rows is missing.
fn basins(names: &[&str], days: usize, is_missing: impl Fn(usize) -> bool) -> String {
    let mut text = String::from("day,basin,rain,flow\n");
    for (b, name) in names.iter().enumerate() {
        let mut flow = 1.0;
        for day in 0..days {
            let rain = 2.0 + (day as f64 / (5.0 + b as f64)).sin() + (day as f64 / 2.3).cos();
            flow = 0.8 * flow + 0.3 * rain;
            let shown = if is_missing(day) { String::new() } else { format!("{flow:.4}") };
            text += &format!("{day},{name},{rain:.4},{shown}\n");
        }
    }
    text
}

fn write(at: &Path, name: &str, basins: String) {
    fs::write(at.join(name), basins).unwrap();
}

const TRAIN: &str = "train --target flow --input rain --sequence basin --cell lstm --hidden 6 --backend cpu";

/// A file of one basin is one sequence, whole: it trains so, and all of it is measured.
#[test]
fn a_single_sequence_is_a_sequence() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "four.csv", basins(&["a", "b", "c", "d"], 120, |_| false));
    write(at, "one.csv", basins(&["e"], 200, |day| day % 50 == 7));
    for (name, rest) in [("carried", ""), ("random", "--windows random")] {
        succeed(at, &format!("{TRAIN} --data four.csv --validation one.csv --window 30 {rest} --steps 4 --out {name}"));
        assert_eq!(json(at, &format!("evaluate {name} --data one.csv --json"))["counted"], 196, "{name}");
        assert_eq!(json(at, &format!("evaluate {name} --json"))["counted"], 196, "{name}");
        succeed(at, &format!("{TRAIN} --data one.csv --validation four.csv --window 30 {rest} --steps 4 --out {name}-1"));
        assert_eq!(json(at, &format!("evaluate {name}-1 --json"))["counted"], 480, "{name}");
    }
    // Random windows of a few basins make a batch of any size; those whose state is carried do not.
    let (code, _, err) =
        run(at, &format!("{TRAIN} --data four.csv --windows random --window 30 --batch 16 --steps 2 --out many"));
    assert!(code == 0 && err.contains("3 sequences to train and 1 held out"), "{err}");
    expect(
        at,
        &[
            (
                &format!("{TRAIN} --data four.csv --window 30 --batch 16 --out x"),
                7,
                "batch 16 carries on the states of as many sequences; 3 of 4 train. Batch 3 would fit, or --windows random",
            ),
            (
                &format!("{TRAIN} --data one.csv --window 30 --out x"),
                7,
                "the only sequence is held out by --validation, so nothing is left to train",
            ),
        ],
    );
}

/// Of arrays too nothing is trained on what is held out.
#[test]
fn what_is_held_out_does_not_train() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let mut file = Tensors::new();
    file.insert("inputs", Array3::<f32>::ones((40, 2, 1)));
    file.insert("values", Array3::<f32>::ones((40, 2, 1)));
    file.write(at.join("two")).unwrap();
    for rest in ["--window 10", "--windows random --window 10"] {
        let line = format!("train --data two --hidden 4 --test 0.1 {rest} --steps 2 --backend cpu --out x");
        expect(at, &[(&line, 7, "all 2 sequences are held out by --validation and --test, so nothing is left to train")]);
        succeed(
            at,
            &format!("train --data two --hidden 4 --validation 0 {rest} --steps 2 --backend cpu --out run{}", rest.len()),
        );
    }
}

/// Inputs whose target is missing are read all the same: what is measured is what is predicted.
#[test]
fn gaps_are_read_where_a_network_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "train.csv", basins(&["a", "b", "c"], 90, |_| false));
    // Longer than windows, at the start and in the middle.
    write(at, "gaps.csv", basins(&["d", "e"], 90, |day| day < 25 || (40..65).contains(&day)));
    succeed(at, &format!("{TRAIN} --data train.csv --window 10 --batch 2 --lr 0.02 --steps 60 --out run"));
    let measured = json(at, "evaluate run --data gaps.csv --json");
    succeed(at, "predict run --data gaps.csv --keep flow,day --out found.csv");
    let found = fs::read_to_string(at.join("found.csv")).unwrap();
    // The flow itself is beside what is predicted of it, under another name.
    assert!(found.starts_with("sequence,step,flow_observed,day,flow\n"), "{found}");
    let squares: Vec<f64> = found
        .lines()
        .skip(1)
        .map(|line| line.split(',').collect::<Vec<_>>())
        .filter(|row| !row[2].is_empty())
        .map(|row| (row[2].parse::<f64>().unwrap() - row[4].parse::<f64>().unwrap()).powi(2))
        .collect();
    assert_eq!((squares.len(), measured["counted"].as_u64()), (80, Some(80)));
    let expected = (squares.iter().sum::<f64>() / 80.0).sqrt();
    let error = measured["columns"][0]["root_mean_squared_error"].as_f64().unwrap();
    approx::assert_relative_eq!(error, expected, max_relative = 1e-5);
    // A single target at the end of a long sequence, and a first window without one.
    write(at, "last.csv", basins(&["d", "e"], 90, |day| day != 89));
    assert_eq!(json(at, "evaluate run --data last.csv --json")["counted"], 2);
    succeed(at, &format!("{TRAIN} --data train.csv --validation gaps.csv --window 10 --batch 2 --steps 3 --out gaps"));
    succeed(at, "study gradients --run gaps --backend cpu");
}

/// What is measured of each sequence is what a file of it alone would be measured as, whether sequences are cut or read whole.
#[test]
fn each_sequence_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let names = ["a", "b", "c", "d", "e"];
    write(at, "all.csv", basins(&names, 70, |day| day % 11 == 3));
    for (run, rest) in [("whole", ""), ("cut", "--window 20 --batch 2")] {
        succeed(at, &format!("{TRAIN} --data all.csv --lr 0.02 --steps 60 {rest} --out {run}"));
        let shown = succeed(at, &format!("evaluate {run} --data all.csv --sequences each.csv"));
        let each = fs::read_to_string(at.join("each.csv")).unwrap();
        assert!(each.starts_with("sequence,counted,rmse(flow),mae(flow),r2(flow)\n") && each.lines().count() == 6, "{each}");
        assert!(shown.contains("of 5 sequences") && shown.contains("r2(flow)"), "{shown}");
        for (name, line) in names.iter().zip(each.lines().skip(1)) {
            let text = basins(&names, 70, |day| day % 11 == 3);
            let of_one = |line: &&str| line.starts_with("day") || line.split(',').nth(1) == Some(name);
            write(at, "one.csv", text.lines().filter(of_one).collect::<Vec<_>>().join("\n"));
            let alone = json(at, &format!("evaluate {run} --data one.csv --json"));
            let cells: Vec<&str> = line.split(',').collect();
            assert_eq!((cells[0], cells[1].parse().ok()), (*name, alone["counted"].as_u64()));
            for (cell, key) in cells[2..].iter().zip(["root_mean_squared_error", "mean_absolute_error", "r2"]) {
                let expected = alone["columns"][0][key].as_f64().unwrap();
                approx::assert_relative_eq!(cell.parse::<f64>().unwrap(), expected, max_relative = 1e-5);
            }
        }
    }
    // Of what is held out of the run's own data, each has its own name.
    succeed(at, "evaluate cut --sequences each.csv");
    let each = fs::read_to_string(at.join("each.csv")).unwrap();
    let (code, _, said) = run(at, &format!("{TRAIN} --data all.csv --steps 1 --out again"));
    let held_out = each.lines().nth(1).unwrap().split(',').next().unwrap();
    assert!(code == 0 && each.lines().count() == 2 && said.contains(&format!("held out: {held_out}.")), "{each}{said}");
    succeed(at, "train --hidden 4 --window 5 --steps 2 --backend cpu --out adding");
    expect(
        at,
        &[
            ("evaluate adding --sequences x.csv", 2, "adding has no sequences to tell apart"),
            ("evaluate cut --sequences x.txt", 2, "expected the name of a .csv file"),
            ("evaluate cut --data all.csv --sequences all.csv", 2, "--sequences would overwrite all.csv"),
            ("evaluate cut --sequences all.csv", 2, "all.csv"),
        ],
    );
}

/// A trained network reads gaps in its inputs as it is told to, also where there were none in training.
#[test]
fn gaps_in_inputs_are_filled_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let whole = basins(&["a", "b", "c"], 40, |_| false);
    write(at, "train.csv", whole.clone());
    let without: Vec<String> = whole.lines().map(String::from).collect();
    let rain = without[20].split(',').nth(2).unwrap();
    write(at, "gap.csv", whole.replacen(&format!("19,a,{rain},"), "19,a,,", 1));
    succeed(at, &format!("{TRAIN} --data train.csv --steps 5 --out run"));
    succeed(at, "train --hidden 4 --window 5 --steps 2 --backend cpu --out adding");
    let missing = "row 20 (the header aside), column rain: is missing; --fill last, zero or mean says what to read instead";
    expect(
        at,
        &[
            ("predict run --data gap.csv", 7, missing),
            ("evaluate run --data gap.csv", 7, missing),
            ("evaluate adding --data gap.csv --fill last", 2, "--fill is for tables"),
        ],
    );
    let of_row = |fill: &str| {
        let rows = succeed(at, &format!("predict run --data gap.csv --fill {fill}"));
        rows.lines().nth(20).unwrap().to_owned()
    };
    assert!(of_row("last") != of_row("zero") && of_row("zero") != of_row("mean"));
    assert_eq!(json(at, "evaluate run --data gap.csv --fill mean --json")["counted"], 120);
}

/// Runs of a sweep over seeds hold out the same sequences, so that the best of them is the best.
#[test]
fn runs_of_other_seeds_are_measured_alike() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "data.csv", basins(&["a", "b", "c", "d", "e", "f"], 30, |_| false));
    let train = TRAIN.strip_prefix("train ").unwrap();
    let shown = succeed(at, &format!("sweep --vary seed=5,6,7 {train} --data data.csv --steps 3 --out sweep"));
    // What they come to together, as the table of the sweep has it.
    let table = fs::read_to_string(at.join("sweep/sweep.csv")).unwrap();
    let best: Vec<f64> = table.lines().skip(1).map(|line| line.split(',').nth(3).unwrap().parse().unwrap()).collect();
    let mean = best.iter().sum::<f64>() / 3.0;
    let deviation = (best.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 2.0).sqrt();
    let (_, line) = shown.split_once("over 3 seeds, mean ± standard deviation: ").unwrap_or_else(|| panic!("{shown}"));
    let numbers: Vec<f64> = line.lines().next().unwrap().split(" ± ").map(|v| v.parse().unwrap()).collect();
    approx::assert_relative_eq!(numbers[0], mean, max_relative = 1e-4);
    approx::assert_relative_eq!(numbers[1], deviation, max_relative = 1e-4);
    expect(at, &[("evaluate sweep", 7, "sweep: is the folder of a sweep; name one of the runs in it")]);
    let settings = |run: &str| -> Value {
        let file: toml::Table = fs::read_to_string(at.join("sweep").join(run).join("run.toml")).unwrap().parse().unwrap();
        serde_json::to_value(&file["settings"]).unwrap()
    };
    for seed in [5, 6, 7] {
        let found = settings(&format!("{}-seed={seed}", seed - 4));
        assert_eq!((&found["seed"], &found["reading"]["split_seed"]), (&seed.into(), &5.into()), "{found}");
    }
    // It is that flag which decides: another seed with it, and the seed without it, hold out the same.
    let held_out = |rest: &str| {
        let (code, _, err) = run(at, &format!("{TRAIN} --data data.csv --validation 0.3 --steps 1 {rest}"));
        assert_eq!(code, 0, "{err}");
        err.lines().find(|line| line.contains("held out: ")).unwrap().to_owned()
    };
    let other = (2..9).map(|seed| held_out(&format!("--seed {seed} --out s{seed}"))).collect::<Vec<_>>();
    let of_first = held_out("--seed 2 --split-seed 2 --out same");
    assert_eq!(of_first, other[0]);
    assert_eq!(held_out("--seed 3 --split-seed 2 --out also"), of_first);
    assert!(other.iter().any(|line| *line != of_first), "{other:?}");
}

/// A run that goes on with fewer sequences than a batch had writes checkpoints that it can go on from.
#[test]
fn a_run_goes_on_with_fewer_sequences() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let all = ["a", "b", "c", "d", "e", "f", "g", "h"];
    write(at, "many.csv", basins(&all, 40, |_| false));
    write(at, "few.csv", basins(&all[..4], 40, |_| false));
    write(at, "valid.csv", basins(&["v"], 40, |_| false));
    let rest = "--window 10 --validation valid.csv";
    succeed(at, &format!("{TRAIN} --data many.csv {rest} --steps 20 --evaluate-every 10 --out run"));
    let best = || json(at, "runs run --json")[0]["best"].clone();
    let before = best();
    // At a rate at which nothing gets better: the best stays, since it was measured on the same file.
    succeed(at, "train --resume run --data few.csv --new-data --lr 1e-9 --steps 30 --checkpoint-every 3");
    assert_eq!((best(), at.join("run/best.previous.safetensors").exists()), (before, false));
    succeed(at, "evaluate run --checkpoint last");
    succeed(at, "train --resume run --steps 40");
    succeed(at, "train --resume run --data many.csv --new-data --steps 50");
    // Rolled back to a checkpoint from before the other data: its states are of other sequences.
    let (code, _, said) =
        run(at, "train --resume run --data few.csv --new-data --lr 1e30 --on-divergence rollback --steps 60 --evaluate-every 60");
    assert!(said.contains("Going on from step") && said.contains("diverged") && [0, 6].contains(&code), "{code}: {said}");
    // The best network was trained on other data than are there now, and is measured on the same file.
    write(at, "many.csv", basins(&all[1..], 40, |_| false));
    succeed(at, "train --resume run --data many.csv --new-data --lr 1e-9 --steps 70");
    succeed(at, "evaluate run");
    // On another file they are other validations.
    write(at, "valid.csv", basins(&["w", "v"], 40, |_| false));
    succeed(at, "train --resume run --new-data --steps 80");
    assert!(at.join("run/best.previous.safetensors").exists());
}

/// Unscaled columns are told from scaled ones, whatever their mean.
#[test]
fn columns_that_are_not_scaled_are_known_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let mut text = String::from("x,label,y\n");
    (0..200).for_each(|t| text += &format!("{},{},{}\n", t % 7, u8::from(t % 7 > 4), 3 + t % 5));
    fs::write(at.join("data.csv"), text).unwrap();
    let train = "train --data data.csv --input x --hidden 4 --steps 3 --backend cpu";
    succeed(at, &format!("{train} --target label --loss bce --out labels"));
    succeed(at, &format!("{train} --target label --loss bce --init labels --out again"));
    succeed(at, &format!("{train} --target label --out values"));
    expect(
        at,
        &[(&format!("{train} --target label --loss bce --init values --out x"), 2, "the run of --init scales its targets")],
    );
    for (scale, is_said) in [("standard", true), ("none", false)] {
        let (code, _, err) = run(at, &format!("{train} --target y --loss esr --scale {scale} --out {scale}"));
        assert_eq!((code, err.contains("is of scaled values")), (0, is_said), "{scale}: {err}");
    }
}
