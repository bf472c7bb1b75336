//! Tuning as users meet it: the table, what a run keeps of it, and profiles.

use std::fs;

use serde_json::Value;

use super::{run, succeed};

const MODEL: &str = "--hidden 8 --batch 2 --window 5";

#[test]
fn the_table_has_every_candidate_and_a_run_keeps_its_choice() {
    let folder = tempfile::tempdir().unwrap();
    let table: Value = serde_json::from_str(&succeed(folder.path(), &format!("tune {MODEL} --json"))).unwrap();
    assert!(table["adapter"].is_string() && table["driver"].is_string());
    let measured = table["measured"].as_array().unwrap();
    assert!(!measured.is_empty());
    for shape in measured {
        let candidates = shape["candidates"].as_array().unwrap();
        let times: Vec<f64> = candidates.iter().map(|c| c["ms"].as_f64().expect("all agree")).collect();
        let chosen = candidates.iter().position(|c| c["variant"] == shape["chosen"]).unwrap();
        assert!(times.len() > 1 && times.iter().all(|ms| times[chosen] <= *ms && *ms > 0.0), "{shape}");
    }
    let text = succeed(folder.path(), &format!("tune {MODEL}"));
    assert!(text.contains("chosen") && measured.iter().all(|m| text.contains(m["shape"].as_str().unwrap())), "{text}");

    // A run that measures writes what it runs with, and one that goes on takes that and measures nothing.
    let line = format!("train {MODEL} --steps 3 --backend gpu --tune full --out run --profile trace.json");
    let (code, _, err) = run(folder.path(), &line);
    assert!(code == 0 && err.contains("Measured which variants"), "{err}");
    let file = fs::read_to_string(folder.path().join("run/run.toml")).unwrap();
    assert!(measured.iter().all(|m| file.contains(&format!("\"{}\" = ", m["shape"].as_str().unwrap()))), "{file}");
    let variants = |file: &str| file[file.find("[device.variants]").unwrap()..].to_owned();
    let (code, _, err) = run(folder.path(), "train --resume run --steps 5 --tune full");
    assert!(code == 0 && !err.contains("Measured"), "{err}");
    assert_eq!(variants(&fs::read_to_string(folder.path().join("run/run.toml")).unwrap()), variants(&file));

    // A trace of all three steps, in the order in which things ran on each row.
    let events: Value = serde_json::from_str(&fs::read_to_string(folder.path().join("trace.json")).unwrap()).unwrap();
    let spans: Vec<&Value> = events.as_array().unwrap().iter().filter(|event| event["ph"] == "X").collect();
    let of = |kernel: &str| spans.iter().filter(|e| e["name"].as_str().unwrap().starts_with(kernel)).count();
    assert_eq!([of("elman_backward/"), of("adam/")], [3, 3]);
    assert!(spans.iter().all(|e| e["ts"].as_f64().unwrap() >= 0.0 && e["dur"].as_f64().unwrap() >= 0.0));
    for row in [1, 2] {
        let starts: Vec<f64> = spans.iter().filter(|e| e["tid"] == row).map(|e| e["ts"].as_f64().unwrap()).collect();
        assert!(!starts.is_empty() && starts.is_sorted(), "row {row}: {starts:?}");
    }
}

/// Nothing is measured on a software adapter unless asked, and the CPU has nothing to choose from.
#[test]
fn what_is_not_tuned() {
    let folder = tempfile::tempdir().unwrap();
    for flags in ["", "--tune auto", "--tune off"] {
        let (code, _, err) = run(folder.path(), &format!("train {MODEL} --steps 1 --backend gpu {flags}"));
        assert!(code == 0 && (!err.contains("software adapter") || !err.contains("Measured")), "{flags}: {err}");
    }
    let (code, _, err) = run(folder.path(), &format!("tune {MODEL} --backend cpu"));
    assert!(code == 2 && err.contains("no variants to choose from"), "{err}");
    assert_eq!(run(folder.path(), &format!("train {MODEL} --tune sometimes")).0, 2);
    let (code, _, err) = run(folder.path(), &format!("train {MODEL} --steps 1 --backend cpu --profile no/where.json --out last"));
    assert!(code == 1 && err.contains("no/where.json"), "{err}");
}
