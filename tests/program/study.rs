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
fn rates_and_tasks_are_trained_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let small = "--backend cpu --hidden 12 --batch 4 --window 12 --steps 30";
    let shown = succeed(
        folder.path(),
        &format!("study rates {small} --recurrent-init uniform --rates 4 --to 1e5 --plot r.svg --csv r.csv"),
    );
    assert!(shown.contains("Steepest: ") && shown.contains("diverged at step") && shown.contains("Largest safe: "), "{shown}");
    let report: Value = serde_json::from_str(&succeed(
        folder.path(),
        &format!("study rates {small} --recurrent-init uniform --rates 4 --to 1e5 --json"),
    ))
    .unwrap();
    let trained = report["trained"].as_array().unwrap();
    let diverged: Vec<bool> = trained.iter().map(|t| !t["diverged"].is_null()).collect();
    assert_eq!((trained.len(), diverged.first(), diverged.last()), (4, Some(&false), Some(&true)));
    let safe = report["advice"]["largest_safe"].as_f64().unwrap();
    assert!(trained.iter().zip(&diverged).all(|(t, diverged)| !(*diverged && t["rate"].as_f64().unwrap() <= safe)));

    let all: Value = serde_json::from_str(&succeed(
        folder.path(),
        &format!("study tasks {small} --task adding,temporal-order --json --plot t.svg"),
    ))
    .unwrap();
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), 2 * 4 * 3, "two tasks, four activations, three initial weights");
    assert!(all.iter().all(|t| t["score"].is_f64() && t["curve"].as_array().unwrap().last().unwrap()[0] == 30));
    let table = succeed(folder.path(), &format!("study tasks {small} --task adding"));
    assert!(table.contains("orthogonal") && table.lines().filter(|line| line.contains("0.1667")).count() == 4, "{table}");
    for figure in ["r.svg", "t.svg"] {
        assert!(fs::read_to_string(folder.path().join(figure)).unwrap().contains("guessing"), "{figure}");
    }
    for (line, message) in [
        ("study rates --from 1 --to 0.1", "16 rates from 1 to 0.1"),
        ("study tasks --task nothing", "there are adding, copy-memory, temporal-order"),
        ("study rates --task temporal-order --window 5", "its window is at least 10, not 5"),
    ] {
        let (code, _, err) = run(folder.path(), line);
        assert!(code == 2 && err.contains(message), "{line}: {code}: {err}");
    }
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
        ("study gradients --gain -1", 2, "-1 is not a positive number"),
        ("study gradients --run run --gain 2", 2, "cannot be used with"),
        ("study activations --range NaN", 2, "NaN is not a positive number"),
        ("study activations --points 1", 2, "1 is not in"),
        ("study activations --plot no/where.svg --backend cpu", 1, "no/where.svg"),
    ] {
        let (got, _, err) = run(folder.path(), line);
        assert!(got == code && err.contains(message), "{line}: {got}: {err}");
    }
}
