//! `retrospect study`: tables, numbers and pictures.

use std::fs;

use serde_json::Value;

use super::{run, succeed};

#[test]
fn gradients_are_a_table_numbers_and_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let line = "study gradients --backend cpu --hidden 16 --window 20 --batch 2 --seeds 1 --gain 1,2";
    let shown = succeed(folder.path(), line);
    assert!(shown.contains("identity, ‖W‖ = 1: stable") && shown.contains("exploding") && shown.contains("vanishing"), "{shown}");
    let flows: Value = serde_json::from_str(&succeed(folder.path(), &format!("{line} --json --csv g.csv --plot g.svg"))).unwrap();
    let flows = flows.as_array().unwrap();
    assert_eq!(flows.len(), 8, "four activations, two gains");
    let identity = flows.iter().find(|f| f["activation"] == "identity" && f["gain"].as_f64().unwrap() > 1.5).unwrap();
    assert!((identity["rate"].as_f64().unwrap() - 2.0).abs() < 1e-2 && identity["norms"].as_array().unwrap().len() == 20);
    let csv = fs::read_to_string(folder.path().join("g.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 8 * 20);
    assert!(csv.lines().all(|line| line.split(',').count() == 12));
    let values = identity["singular_values"].as_array().unwrap();
    assert!(values.len() == 16 && values.iter().all(|v| (v.as_f64().unwrap() - 2.0).abs() < 1e-5), "{values:?}");
    let svg = fs::read_to_string(folder.path().join("g.svg")).unwrap();
    assert!(
        ["sigmoid", "identity", "steps back", "‖W‖ = 2", "saturated", "singular values"].iter().all(|text| svg.contains(text))
    );
    // The same as PNG, by its name; another name is told before anything is computed.
    succeed(folder.path(), &format!("{line} --plot g.png"));
    assert!(fs::read(folder.path().join("g.png")).unwrap().starts_with(b"\x89PNG\r\n"));
    for command in [line, "bench", "study tasks"] {
        let (code, _, err) = run(folder.path(), &format!("{command} --plot g.pdf"));
        assert!(code == 2 && err.contains("figures are .svg or .png"), "{command}: {err}");
    }
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
        for error in ["error_ulp", "derivative_error_ulp"] {
            assert!(a[error].as_f64().unwrap() < 8.0 && b[error].as_f64().unwrap() < 8.0, "{error}: {a} {b}");
        }
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
    // Each window is trained: the longest last, the same number of steps.
    let grown: Value = serde_json::from_str(&succeed(
        folder.path(),
        "study tasks --backend cpu --hidden 12 --batch 4 --steps 5 --task adding,copy-memory --window 14,10,14 --json --plot w.svg --csv w.csv",
    ))
    .unwrap();
    let windows: Vec<u64> = grown.as_array().unwrap().iter().map(|t| t["window"].as_u64().unwrap()).collect();
    assert_eq!(windows, [[10; 12], [14; 12], [10; 12], [14; 12]].concat());
    assert!(fs::read_to_string(folder.path().join("w.svg")).unwrap().contains("score ÷ guessing"));
    assert!(fs::read_to_string(folder.path().join("w.csv")).unwrap().contains("\ncopy-memory,14,relu,identity,"));
    for (line, message) in [
        ("study tasks --task temporal-order --window 20,5", "its window is at least 10, not 5"),
        ("study rates --from 1 --to 0.1", "16 rates from 1e0 to 1e-1"),
        ("study tasks --task nothing", "there are adding, copy-memory, temporal-order"),
        ("study rates --task temporal-order --window 5", "its window is at least 10, not 5"),
    ] {
        let (code, _, err) = run(folder.path(), line);
        assert!(code == 2 && err.contains(message), "{line}: {code}: {err}");
    }
}

#[test]
fn a_run_traces_its_gradients() {
    let folder = tempfile::tempdir().unwrap();
    let small = "train --hidden 12 --layers 2 --window 15 --batch 4 --backend cpu --loss-every 2";
    let shown = succeed(folder.path(), &format!("{small} --steps 6 --trace-gradients 4 --out run"));
    assert!(shown.contains("a step back") && shown.contains("dead") && shown.contains("run/gradients.svg"), "{shown}");
    let traced = |run: &str| -> Vec<Value> {
        let metrics = fs::read_to_string(folder.path().join(run).join("metrics.jsonl")).unwrap();
        let lines = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line.get("gradients").is_some()).collect()
    };
    let lines = traced("run");
    assert_eq!(lines.iter().map(|line| line["step"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 4]);
    let first = &lines[0];
    assert_eq!(first["gradients"].as_array().unwrap().len(), 2, "two layers");
    assert_eq!(first["gradients"][1]["norms"].as_array().unwrap().len(), 15);
    assert!(first["update_to_weight"]["rnn.weight_hh_l1"].as_f64().unwrap() > 0.0);
    assert!(first["gradients"][0]["saturated"].is_f64() && first["gradients"][0]["dead"].is_f64());
    // What a GRU does not have is not drawn, nor said to be 0.
    let shown = succeed(folder.path(), &format!("{small} --cell gru --steps 2 --trace-gradients 1 --out gru"));
    let flow = &traced("gru")[0]["gradients"][1];
    assert!(flow["saturated"].is_null() && flow["dead"].is_null() && flow["rate"].is_f64(), "{flow}");
    let figure = fs::read_to_string(folder.path().join("gru/gradients.svg")).unwrap();
    assert!(!shown.contains("saturated") && shown.contains("a step back") && !figure.contains("saturated"), "{shown}");
    // A bias that was zero has no ratio.
    assert!(first["update_to_weight"]["rnn.bias_ih_l0"].is_null());
    let svg = fs::read_to_string(folder.path().join("run/gradients.svg")).unwrap();
    assert!(
        ["training step", "time steps back", "layer 0", "layer 1", "dead", "weight_hh_l1"].iter().all(|text| svg.contains(text))
    );

    // A run that goes on goes on tracing, or begins.
    succeed(folder.path(), "train --resume run --steps 9");
    assert_eq!(traced("run").len(), 3);
    succeed(folder.path(), &format!("{small} --steps 2 --out plain"));
    assert!(!folder.path().join("plain/gradients.svg").exists() && traced("plain").is_empty());
    succeed(folder.path(), "train --resume plain --steps 5 --trace-gradients 2");
    assert_eq!(traced("plain").len(), 1);
    for command in ["evaluate run", "study gradients --run run --plot run.svg --backend cpu"] {
        succeed(folder.path(), command);
    }
    for value in ["0", "-1", "often"] {
        let (code, _, err) = run(folder.path(), &format!("train --trace-gradients {value}"));
        assert!(code == 2 && err.contains("--trace-gradients"), "{err}");
    }
    succeed(folder.path(), "train --resume run --steps 20 --trace-gradients off");
    assert_eq!(traced("run").len(), 3);

    // What diverges leaves what was traced until then.
    let (code, _, err) =
        run(folder.path(), &format!("{small} --clip none --optimizer sgd --lr 1e30 --steps 9 --trace-gradients 1 --out wild"));
    assert!(code == 6, "{code}: {err}");
    assert!(!traced("wild").is_empty() && folder.path().join("wild/gradients.svg").exists());
}

/// Cells beside each other, the states of each, and a trained LSTM.
#[test]
fn gradients_flow_through_every_cell() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let study =
        "study gradients --cell elman,leaky,gru,lstm --activation tanh --gain 1 --hidden 12 --window 20 --batch 2 --seeds 1";
    let flows: Value =
        serde_json::from_str(&succeed(at, &format!("{study} --backend cpu --json --plot c.svg --csv c.csv"))).unwrap();
    let names: Vec<String> = flows
        .as_array()
        .unwrap()
        .iter()
        .map(|f| format!("{} {}", f["cell"].as_str().unwrap(), f["state"].as_str().unwrap()))
        .collect();
    assert_eq!(names, ["elman h", "leaky h", "gru h", "lstm h", "lstm c"]);
    assert!(flows[4]["activation"].is_null() && flows[4]["bound"].is_null() && flows[1]["bound"].is_f64());
    let svg = fs::read_to_string(at.join("c.svg")).unwrap();
    assert!(["tanh", "leaky tanh", "gru h", "lstm h", "lstm c"].iter().all(|name| svg.contains(name)));
    assert!(fs::read_to_string(at.join("c.csv")).unwrap().lines().any(|line| line.starts_with("lstm,c,,0,1.0")));
    // What a forget gate keeps is seen in c.
    let last = |options: &str| -> f64 {
        let line = format!(
            "study gradients --cell lstm --gain 1 --hidden 12 --window 40 --batch 2 --seeds 1 --backend cpu --json {options}"
        );
        let flows: Value = serde_json::from_str(&succeed(at, &line)).unwrap();
        let norms = flows[1]["norms"].as_array().unwrap();
        norms[39]["mean"].as_f64().unwrap() / norms[0]["mean"].as_f64().unwrap()
    };
    assert!(last("") < 1e-6 && last("--forget-bias 5") > 1e-2);
    let shown = succeed(at, "study gradients --cell lstm --hidden 12 --window 20 --backend cpu");
    assert!(shown.contains("lstm c") && shown.contains("--forget-bias") && !shown.contains("saturated  "), "{shown}");

    succeed(
        at,
        "train --cell lstm --layers 2 --hidden 8 --window 12 --steps 3 --batch 4 --trace-gradients 1 --backend cpu --out run",
    );
    let flows: Value = serde_json::from_str(&succeed(at, "study gradients --run run --backend cpu --json --plot r.svg")).unwrap();
    let states: Vec<&str> = flows.as_array().unwrap().iter().map(|flow| flow["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["h", "c", "h", "c"]);
    for (options, message) in [
        ("--cell lstm --activation tanh", "--activation is for elman and leaky"),
        ("--leak 0.5", "--leak is for leaky"),
        ("--cell gru --forget-bias 1", "--forget-bias is for lstm"),
    ] {
        let (code, _, err) = run(at, &format!("study gradients {options}"));
        assert!(code == 2 && err.contains(message), "{err}");
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
        ("study gradients --run run --batch 3", 2, "cannot be used with"),
        ("study activations --range NaN", 2, "NaN is not a positive number"),
        ("study activations --range 3e38", 2, "is not from 1e-6 to 1e6"),
        ("study gradients --gain 1,1e30", 2, "is not from 1e-6 to 1e6"),
        ("study activations --points 1", 2, "1 is not in"),
    ] {
        let (got, _, err) = run(folder.path(), line);
        assert!(got == code && err.contains(message), "{line}: {got}: {err}");
    }
    // A file that cannot be written loses neither the other nor the table.
    for (line, message) in
        [("--plot no/where.svg --csv a.csv", "no/where.svg"), ("--csv no/where.csv --plot a.svg", "no/where.csv")]
    {
        let (code, out, err) = run(folder.path(), &format!("study activations --backend cpu {line}"));
        assert!(code == 1 && err.contains(message) && out.contains("sigmoid"), "{line}: {code}: {out}{err}");
    }
    assert!(["a.csv", "a.svg"].iter().all(|file| folder.path().join(file).exists()));
}
