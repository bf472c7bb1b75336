//! `predict` and `sample` from weights alone, as a file of PyTorch's has them.

use std::fs;

use ndarray::{Array2, Array3};
use retrospect::tensors::Tensors;

use super::errors::expect;
use super::{succeed, text};

/// A run's weights without all else.
fn strip(at: &std::path::Path, run: &str, name: &str) {
    let saved = Tensors::read(at.join(run).join("checkpoint.safetensors")).unwrap();
    let mut bare = Tensors::new();
    for tensor in saved.names().filter(|name| name.starts_with("rnn.") || name.starts_with("decoder.")) {
        bare.insert(tensor, saved.f64(tensor).unwrap().mapv(|v| v as f32));
    }
    bare.write(at.join(name)).unwrap();
}

#[test]
fn weights_alone_predict_what_their_run_does() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let number = |(t, b, i): (usize, usize, usize)| ((t * 31 + b * 17 + i * 7) % 23) as f32 / 11.0 - 1.0;
    let mut data = Tensors::new();
    data.insert("inputs", Array3::from_shape_fn((6, 20, 3), number));
    data.insert("values", Array3::from_shape_fn((6, 20, 2), number));
    data.write(at.join("data")).unwrap();
    let train = "train --data data --hidden 5 --batch 4 --steps 5 --backend cpu";
    for (name, flags, again) in [
        ("gru", "--cell gru --layers 2", ""),
        ("relu", "--activation relu", "--activation relu"),
        ("leaky", "--cell leaky --leak 0.4", ""),
        ("both", "--cell lstm --bidirectional", ""),
    ] {
        succeed(at, &format!("{train} {flags} --out {name}"));
        strip(at, name, &format!("{name}.safetensors"));
        let of_run = succeed(at, &format!("predict {name} --data data --backend cpu"));
        assert_eq!(succeed(at, &format!("predict {name}.safetensors --data data --backend cpu {again}")), of_run, "{name}");
    }
    assert_ne!(
        succeed(at, "predict relu.safetensors --data data"),
        succeed(at, "predict relu --data data"),
        "φ is not in the shapes"
    );
    let mut tokens = Tensors::new();
    tokens.insert("tokens", Array2::from_shape_fn((6, 2), |(t, _)| (t % 3) as i64));
    tokens.write(at.join("tokens")).unwrap();
    assert_eq!(succeed(at, "predict gru.safetensors --data tokens --backend cpu").lines().count(), 13);
    expect(
        at,
        &[
            ("predict gru --data data --cell gru", 2, "are for weights alone; a run has its own"),
            ("predict gru.safetensors --data data --cell lstm", 7, "rnn.weight_hh_l0"),
            ("predict gru.safetensors --data data --activation relu", 2, "--activation relu is for"),
            ("predict gru.safetensors --text data", 2, "these are weights alone"),
            ("evaluate gru.safetensors", 7, "there is no such metadata"),
        ],
    );
}

#[test]
fn weights_alone_write_text_with_its_characters() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("t.txt"), text(2000)).unwrap();
    fs::write(at.join("more.txt"), text(2000) + "ß").unwrap();
    succeed(at, "train --text t.txt --cell lstm --hidden 8 --batch 4 --window 16 --steps 20 --backend cpu --out run");
    strip(at, "run", "w.safetensors");
    let of_run = succeed(at, "sample run --length 60 --backend cpu");
    assert_eq!(succeed(at, "sample w.safetensors --vocabulary t.txt --length 60 --backend cpu"), of_run);
    expect(
        at,
        &[
            ("sample w.safetensors", 2, "w.safetensors are weights alone: --vocabulary FILE names a text"),
            ("sample run --vocabulary t.txt", 2, "--vocabulary is for weights alone; run has its own"),
            ("sample w.safetensors --vocabulary more.txt", 7, "the network has"),
            ("sample w.safetensors --vocabulary nowhere", 7, "nowhere: cannot be read"),
        ],
    );
}
