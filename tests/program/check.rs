//! `retrospect check` as a user and a script meet it. What it finds is tested in `tests/chain`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{command, finished, run, succeed};

#[test]
fn json_is_what_the_interface_says() {
    let folder = tempfile::tempdir().unwrap();
    let report: Value = serde_json::from_str(&succeed(folder.path(), "check --quick --json --backend cpu")).unwrap();
    assert_eq!(report["passed"], true);
    assert_eq!((report["adapter"].as_str(), report["device_type"].as_str()), (Some("CPU"), Some("cpu")));
    assert!(report["driver"].is_string());
    let results = report["results"].as_array().unwrap();
    let mut oracles = BTreeSet::new();
    for result in results {
        let is = |key: &str, test: fn(&Value) -> bool| assert!(test(&result[key]), "{key} of {result}");
        ["name", "variant", "shape", "oracle"].iter().for_each(|key| is(key, Value::is_string));
        ["error", "bound"].iter().for_each(|key| is(key, Value::is_number));
        assert_eq!(result["passed"], true);
        assert!(result["error"].as_f64() <= result["bound"].as_f64(), "{result}");
        oracles.insert(result["oracle"].as_str().unwrap());
    }
    assert!(oracles.is_superset(&BTreeSet::from([
        "definition",
        "definition, bits",
        "second run",
        "reference",
        "finite differences"
    ])));
    assert!(results.len() > 1000, "only {} results", results.len());
}

/// A row for each kernel, the worst first, and a last line that says how it went.
#[test]
fn the_table_has_the_worst_first() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, err) = run(folder.path(), "check --quick --backend cpu");
    assert_eq!(code, 0, "{err}");
    let rows: Vec<&str> = out.lines().take_while(|line| !line.is_empty()).collect();
    let share = |row: &str| -> f64 { row.split_whitespace().nth(6).unwrap().parse().unwrap() };
    let shares: Vec<f64> =
        rows[1..].iter().filter(|row| !row.contains("training") && !row.contains("gradient ")).map(|r| share(r)).collect();
    assert!(shares.len() >= 20 && shares.is_sorted_by(|a, b| a >= b), "{shares:?}");
    assert!(out.trim_end().ends_with("checks passed on CPU."), "{out}");
}

#[test]
fn no_such_adapter_is_exit_3_and_names_those_that_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, err) = run(folder.path(), "check --adapter no-such-adapter");
    assert_eq!((code, &*out), (3, ""), "{err}");
    assert!(err.contains("no adapter matches \"no-such-adapter\"; found: "), "{err}");
    let line = "check --quick";
    let none = command(folder.path(), line).env("WGPU_BACKEND", "dx12").output().unwrap();
    let (code, _, err) = finished(line, none);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("no GPU adapter was found") && err.contains("--backend cpu"), "{err}");
}
