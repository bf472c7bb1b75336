//! `retrospect study`: tables, numbers and pictures.

use std::fs;

use serde_json::Value;

use super::{run, succeed};

#[test]
fn gradients_are_a_table_numbers_and_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let line = "study gradients --backend cpu --hidden 16 --window 20 --batch 2 --seeds 1 --gain 1,2";
    let shown = succeed(folder.path(), line);
    assert!(
        shown.contains("identity, ‖W‖ = 1.000: stable") && shown.contains("exploding") && shown.contains("vanishing"),
        "{shown}"
    );
    let flows: Value = serde_json::from_str(&succeed(folder.path(), &format!("{line} --json --csv g.csv --plot g.svg"))).unwrap();
    let flows = flows.as_array().unwrap();
    assert_eq!(flows.len(), 8, "four activations, two gains");
    let identity = flows.iter().find(|f| f["activation"] == "identity" && f["gain"].as_f64().unwrap() > 1.5).unwrap();
    assert!((identity["rate"].as_f64().unwrap() - 2.0).abs() < 1e-2 && identity["norms"].as_array().unwrap().len() == 20);
    let csv = fs::read_to_string(folder.path().join("g.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 8 * 20);
    assert!(csv.lines().all(|line| line.split(',').count() == 7));
    let svg = fs::read_to_string(folder.path().join("g.svg")).unwrap();
    assert!(["sigmoid", "identity", "steps back", "‖W‖ = 2"].iter().all(|text| svg.contains(text)));
}

#[test]
fn activations_are_the_same_on_both_backends() {
    let folder = tempfile::tempdir().unwrap();
    let curves = |backend: &str| -> Value {
        let line = format!("study activations --backend {backend} --points 101 --json --plot {backend}.svg");
        serde_json::from_str(&succeed(folder.path(), &line)).unwrap()
    };
    let (cpu, gpu) = (curves("cpu"), curves("gpu"));
    for (a, b) in cpu.as_array().unwrap().iter().zip(gpu.as_array().unwrap()) {
        assert_eq!((&a["activation"], &a["saturated"]), (&b["activation"], &b["saturated"]));
        assert!(a["error_ulp"].as_f64().unwrap() < 8.0 && b["error_ulp"].as_f64().unwrap() < 8.0, "{a} {b}");
    }
    assert!(fs::read_to_string(folder.path().join("gpu.svg")).unwrap().contains("φ′(x)"));
}

#[test]
fn a_run_is_studied_on_its_own_data() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), "train --hidden 12 --window 15 --steps 3 --batch 4 --backend cpu --recompute 4 --out run");
    let flows: Value = serde_json::from_str(&succeed(folder.path(), "study gradients --run run --backend cpu --json")).unwrap();
    assert_eq!(flows[0]["norms"].as_array().unwrap().len(), 15);
    for (line, code, message) in [
        ("study gradients --run nowhere", 7, "nowhere"),
        ("study gradients --gain 0", 2, "0 is not a positive number"),
        ("study gradients --run run --gain 2", 2, "cannot be used with"),
        ("study activations --range NaN", 2, "NaN is not a positive number"),
        ("study activations --points 1", 2, "1 is not in"),
        ("study activations --plot no/where.svg --backend cpu", 1, "no/where.svg"),
    ] {
        let (got, _, err) = run(folder.path(), line);
        assert!(got == code && err.contains(message), "{line}: {got}: {err}");
    }
}
