//! `retrospect bench` as a user and a script meet it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ndarray::Array3;
use retrospect::tensors::Tensors;
use serde_json::Value;

use super::{run, succeed};

const SIZES: &str = "--batch 2 --window 3 --input 4 --output 4 --runs 3";

/// The kernels of a training step of such a network, as `steps` prints them.
fn kernels_of_a_step(folder: &Path) -> BTreeSet<String> {
    let mut data = Tensors::new();
    data.insert("inputs", Array3::<f32>::zeros((3, 20, 4)));
    data.insert("values", Array3::<f32>::zeros((3, 20, 4)));
    data.write(folder.join("data")).unwrap();
    let line = "steps --data data --hidden 8 --batch 2 --optimizer sgd --clip none --backend cpu --json";
    let steps: Value = serde_json::from_str(&succeed(folder, line)).unwrap();
    let is_of_step = |step: &&Value| ["forward", "backward", "update", "carry"].contains(&step["range"].as_str().unwrap());
    let steps = steps["steps"].as_array().unwrap().iter().filter(is_of_step);
    steps.map(|step| step["kernel"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn json_figure_and_profile_are_what_the_interface_says() {
    let folder = tempfile::tempdir().unwrap();
    let kernels = kernels_of_a_step(folder.path());
    assert!(kernels.contains("elman_forward") && kernels.contains("sgd") && kernels.len() > 8, "{kernels:?}");

    let line = format!("bench --backend cpu --hidden 8,16 {SIZES} --json --plot figure.svg --profile trace.json");
    let report: Value = serde_json::from_str(&succeed(folder.path(), &line)).unwrap();
    for key in ["machine", "cpu", "version"] {
        assert!(report[key].as_str().is_some_and(|text| !text.is_empty()), "{key}");
    }
    assert!(report["threads"].as_u64().unwrap() > 0);
    assert!(report["adapter"].is_null() && report["driver"].is_null());
    assert_eq!(report["crossovers"], Value::Array(vec![]));
    let ceilings = report["ceilings"].as_array().unwrap();
    assert_eq!((ceilings.len(), &ceilings[0]["backend"]), (1, &Value::from("cpu")));
    assert!(["gflops", "gb_per_s"].iter().all(|key| ceilings[0][*key].as_f64().unwrap() > 0.0));
    assert!(ceilings[0]["dispatch_us"].is_null());

    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["hidden"].as_u64().unwrap()).collect::<Vec<_>>(), [8, 16]);
    for row in rows {
        assert_eq!(["backend", "cell", "precision"].map(|key| row[key].as_str().unwrap_or_default()), ["cpu", "elman", "f32"]);
        let numbers = ["layers", "batch", "window", "input", "output", "runs"].map(|key| row[key].as_u64().unwrap_or_default());
        assert_eq!(numbers, [1, 2, 3, 4, 4, 3]);
        let number = |key: &str| row[key].as_f64().unwrap_or_else(|| panic!("{key} of {row}"));
        for key in ["ms_per_step", "ms_min", "ms_max", "tokens_per_s", "gflops", "peak_fraction", "roofline_fraction"] {
            assert!(number(key) > 0.0, "{key} of {row}");
        }
        assert!(number("ms_min") <= number("ms_per_step") && number("ms_per_step") <= number("ms_max"), "{row}");
        // 3 time steps of 2 sequences.
        assert!((number("tokens_per_s") * number("ms_per_step") / 6000.0 - 1.0).abs() < 1e-9, "{row}");
        assert!(["gpu_ms", "host_ms", "dispatches"].iter().all(|key| row[*key].is_null()), "{row}");
        assert!(row.get("error").is_none(), "{row}");
        let timed = row["kernels"].as_array().unwrap();
        let names: BTreeSet<String> = timed.iter().map(|kernel| kernel["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!((names, timed.len()), (kernels.clone(), kernels.len()));
        for kernel in timed {
            assert_eq!(kernel["variant"], "cpu");
            assert!(["ms", "gflops", "gb_per_s"].iter().all(|key| kernel[*key].as_f64().unwrap() >= 0.0), "{kernel}");
        }
        let ms: Vec<f64> = timed.iter().map(|kernel| kernel["ms"].as_f64().unwrap()).collect();
        assert!(ms.is_sorted_by(|a, b| a >= b) && ms[0] > 0.0, "the longest first: {ms:?}");
    }

    let figure = fs::read_to_string(folder.path().join("figure.svg")).unwrap();
    assert!(figure.starts_with("<svg") && figure.trim_end().ends_with("</svg>"));
    for text in ["8", "16", "hidden size", "operations per byte", "Time of a training step"] {
        assert!(figure.contains(&format!(">\n{text}\n</text>")), "{text}");
    }

    let trace = fs::read_to_string(folder.path().join("trace.json")).unwrap();
    let events: Vec<Value> = serde_json::from_str(&trace).unwrap();
    let processes = events.iter().filter(|event| event["name"] == "process_name").map(|event| &event["args"]["name"]);
    assert_eq!(processes.collect::<Vec<_>>(), ["cpu, 1 × H=8, B=2, T=3", "cpu, 1 × H=16, B=2, T=3"]);
    let spans: Vec<&Value> = events.iter().filter(|event| event["ph"] == "X").collect();
    let names: BTreeSet<String> = spans.iter().map(|event| event["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, kernels);
    for span in spans {
        assert!(["ts", "dur"].iter().all(|key| span[*key].as_f64().unwrap() >= 0.0), "{span}");
        assert!(["pid", "tid"].iter().all(|key| span[*key].is_u64()) && span["args"]["step"].is_u64(), "{span}");
    }
}

/// Each form of each size is a row of its own, of JSON and of the table.
#[test]
fn products_are_timed_beside_the_steps() {
    let folder = tempfile::tempdir().unwrap();
    let line = format!("bench --hidden 8 {SIZES} --products 5,33");
    let report: Value = serde_json::from_str(&succeed(folder.path(), &format!("{line} --json"))).unwrap();
    assert_eq!(report["rows"].as_array().unwrap().len(), 2);
    let rows = report["products"].as_array().unwrap();
    assert_eq!(rows.len(), 2 * 3 * 2, "two sizes, three forms, the CPU and a GPU");
    for size in [5, 33] {
        for form in ["nn", "nt", "tn"] {
            for backend in ["cpu", "gpu"] {
                let is_it = |row: &&Value| row["size"] == size && row["form"] == form && row["backend"] == backend;
                let row = rows.iter().find(is_it).unwrap_or_else(|| panic!("{size}, {form}, {backend}"));
                let number = |key: &str| row[key].as_f64().unwrap();
                assert!(0.0 < number("ms_min") && number("ms_min") <= number("ms") && number("ms") <= number("ms_max"), "{row}");
                assert_eq!((&row["precision"], number("runs")), (&Value::from("f32"), 3.0));
                assert_eq!(row["variant"] == "cpu", backend == "cpu", "{row}");
                assert!(number("gflops") > 0.0 && number("peak_fraction") > 0.0 && row.get("error").is_none(), "{row}");
            }
        }
    }
    let table = succeed(folder.path(), &format!("{line} --backend cpu"));
    for text in ["a·b ", "a·bᵀ", "aᵀ·b"] {
        assert_eq!(table.lines().filter(|line| line.starts_with("CPU") && line.contains(text)).count(), 2, "{table}");
    }
}

#[test]
fn lists_are_of_sizes() {
    let folder = tempfile::tempdir().unwrap();
    for (list, message) in [
        ("--hidden 0", "0 is not in 1..=4294967295"),
        ("--hidden 8,0", "0 is not in"),
        ("--hidden 8,", "cannot parse integer from empty string"),
        ("--batch 2,many", "invalid digit"),
        ("--layers 1;2", "invalid digit"),
        ("--window 4294967296", "4294967296 is not in"),
        ("--runs 0", "0 is not in"),
        ("--products 0", "0 is not in"),
    ] {
        let (code, out, err) = run(folder.path(), &format!("bench --backend cpu {list} --plot figure.svg --profile trace.json"));
        assert!(code == 2 && err.contains(message) && out.is_empty(), "{list}: {code}, {err}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was left behind");
}

#[test]
fn what_does_not_fit_is_a_row_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let line = "bench --backend cpu --hidden 8,400000 --batch 1 --window 1 --input 4 --output 4 --runs 1";
    let report: Value = serde_json::from_str(&succeed(folder.path(), &format!("{line} --json --plot figure.svg"))).unwrap();
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert!(rows[0]["ms_per_step"].as_f64().unwrap() > 0.0 && rows[0].get("error").is_none(), "{}", rows[0]);
    assert!(rows[1]["error"].as_str().unwrap().contains("would fit") && rows[1].get("ms_per_step").is_none(), "{}", rows[1]);
    let figure = fs::read_to_string(folder.path().join("figure.svg")).unwrap();
    assert!(figure.contains("Not drawn: 1 of 2 rows, which did not fit."));
    assert!(succeed(folder.path(), line).contains("Does not fit: cpu, 1 × H=400000, B=1, T=1: "));

    // Nor does the batch itself, which is made only for a network that fits.
    let line = format!("bench --backend cpu --hidden 8 {SIZES} --products 8,1000000 --json");
    let report: Value = serde_json::from_str(&succeed(folder.path(), &line)).unwrap();
    let rows = report["products"].as_array().unwrap();
    let refused = |row: &&Value| row["error"].as_str().is_some_and(|error| error.contains("bytes and there are"));
    assert_eq!((rows.len(), rows.iter().filter(refused).count()), (6, 3), "{rows:?}");

    for line in ["--hidden 400000 --batch 1", "--hidden 400000,500000 --batch 1", "--hidden 8 --batch 3000000000"] {
        let (code, out, err) = run(folder.path(), &format!("bench --backend cpu {line} --window 1 --json --plot none.svg"));
        assert!(
            code == 4 && err.contains("bytes and there are") && err.trim_end().ends_with("would fit"),
            "{line}: {code}, {err}"
        );
        let report: Value = serde_json::from_str(&out).unwrap();
        assert!(report["rows"].as_array().unwrap().iter().all(|row| row["error"].is_string()), "{line}");
        assert!(!folder.path().join("none.svg").exists());
    }
}
