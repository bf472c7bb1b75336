//! `train` as a user runs it beside PyTorch's own run: from the same initial weights on the same text, with both biases.

use std::fs;
use std::path::Path;

use retrospect::tensors::Tensors;
use serde_json::Value;

use super::succeed;

#[test]
fn three_hundred_steps_follow_pytorch() {
    let folder = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/training");
    fs::copy(fixtures.join("words.txt"), folder.path().join("text")).unwrap();
    for cell in ["elman", "gru", "lstm"] {
        let file = Tensors::read(fixtures.join(format!("{cell}.safetensors"))).unwrap();
        file.write(folder.path().join("init")).unwrap();
        let losses = file.f64("losses").unwrap();
        let [batch, window, lr, clip] = ["batch", "window", "lr", "clip"].map(|key| file.metadata[key].clone());
        // The largest difference in a loss. The cell is that of the weights.
        let off = |biases: &str, backend: &str| {
            let line = format!(
                "train --text text --init init --biases {biases} --batch {batch} --window {window} --lr {lr} --clip {clip} \
                 --steps 300 --loss-every 1 --backend {backend} --out {cell}-{biases}-{backend}"
            );
            succeed(folder.path(), &line);
            let metrics = fs::read_to_string(folder.path().join(format!("{cell}-{biases}-{backend}/metrics.jsonl"))).unwrap();
            let lines = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let got: Vec<f64> = lines.filter_map(|line| line["loss"].as_f64()).collect();
            assert_eq!(got.len(), 300);
            got.iter().zip(&losses).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
        };
        for backend in ["cpu", "gpu"] {
            let off = off("two", backend);
            assert!(off < 1e-5, "{cell} on {backend}: {off:.1e} off");
        }
        let off = off("one", "cpu");
        assert!(off > 1e-3, "{cell} with one bias: only {off:.1e} off");
    }
}
