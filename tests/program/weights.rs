//! Weights from files: what a network reads of them, and the vocabulary that comes with them.

use std::fs;
use std::path::Path;

use ndarray::{ArrayD, IxDyn};
use retrospect::tensors::Tensors;

use super::errors::expect;
use super::{run, succeed, text};

/// Writes tensors of these shapes, all of whose numbers are 0.5, and more that a change makes.
fn write(folder: &Path, name: &str, shapes: &[(&str, &[usize])], change: &dyn Fn(&mut Tensors)) {
    let mut file = Tensors::new();
    shapes.iter().for_each(|(name, shape)| file.insert(*name, ArrayD::<f32>::from_elem(IxDyn(shape), 0.5)));
    change(&mut file);
    file.write(folder.join(name)).unwrap();
}

/// An Elman network of one layer: 3 inputs, 5 units, 2 outputs.
const ONE: [(&str, &[usize]); 6] = [
    ("rnn.weight_ih_l0", &[5, 3]),
    ("rnn.weight_hh_l0", &[5, 5]),
    ("rnn.bias_ih_l0", &[5]),
    ("rnn.bias_hh_l0", &[5]),
    ("decoder.weight", &[2, 5]),
    ("decoder.bias", &[2]),
];

#[test]
fn no_tensor_of_a_network_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "batch", &[("inputs", &[6, 8, 3])], &|file| {
        file.insert("classes", ArrayD::<i64>::from_elem(IxDyn(&[6, 8]), 1));
    });
    let with = |name: &str, shapes: &[(&str, &[usize])]| {
        let all: Vec<_> = ONE.iter().chain(shapes).copied().collect();
        write(at, name, &all, &|_| ());
    };
    with("one", &[]);
    with("attention", &[("attention.weight", &[5, 5])]);
    with("reverse", &[("rnn.weight_ih_l0_reverse", &[5, 3])]);
    with("third", &[("rnn.weight_ih_l2", &[5, 5]), ("rnn.weight_hh_l2", &[5, 5]), ("rnn.bias_ih_l2", &[5])]);
    with("second", &[("rnn.weight_ih_l1", &[5, 5])]);
    with("embedding", &[("encoder.weight", &[7, 3])]);
    let reverse = ONE[..4].iter().map(|(name, shape)| (format!("{name}_reverse"), *shape)).collect::<Vec<_>>();
    let both: Vec<(&str, &[usize])> = reverse.iter().map(|(name, shape)| (name.as_str(), *shape)).collect();
    with("both", &both);

    let gradient =
        |weights: &str, backend: &str| format!("gradient --weights {weights} --batch batch --out g --backend {backend}");
    let train =
        |weights: &str, out: &str| format!("train --data batch --init {weights} --batch 2 --steps 1 --backend cpu --out {out}");
    for (weights, message) in [
        ("reverse", "reverse: rnn.weight_ih_l0_reverse: it is of a layer that is not whole: rnn.weight_hh_l0_reverse is missing"),
        ("third", "it is of a layer that is not whole: rnn.weight_hh_l1 is missing"),
        ("second", "second: rnn.weight_ih_l1: it is of a layer that is not whole: rnn.weight_hh_l1 is missing"),
        ("embedding", "inputs: expected tokens: these weights embed them (encoder.weight)"),
        ("both", "both: decoder.weight: expected shape [2, 10], got [2, 5]"),
    ] {
        expect(at, &[(&gradient(weights, "cpu"), 7, message), (&train(weights, "run"), 7, message)]);
        let message = if weights == "both" { "decoder.weight" } else { message };
        expect(at, &[(&gradient(weights, "reference"), 7, message)]);
    }
    assert!(!at.join("g").exists() && !at.join("run").exists());

    // What is nothing of a network is said.
    let said = "attention: left out attention.weight, which this network does not have.";
    for line in [gradient("attention", "cpu"), gradient("attention", "reference"), train("attention", "run")] {
        let (code, _, err) = run(at, &line);
        assert!(code == 0 && err.matches(said).count() == 1, "{line}: {err}");
    }
    let (code, _, err) = run(at, &gradient("one", "cpu"));
    assert!(code == 0 && !err.contains("left out"), "{err}");

    // The same of a run's checkpoint.
    let path = at.join("run/checkpoint.safetensors");
    let saved = Tensors::read(&path).unwrap();
    fs::remove_file(at.join("run/checkpoint.previous.safetensors")).unwrap();
    for (name, code, message) in [
        ("attention.weight", 0, "left out attention.weight"),
        ("rnn.weight_hh_l1", 7, "it is of layer 1, counted from 0; the network has 1"),
        ("encoder.weight", 7, "it is of an embedding"),
    ] {
        let mut file = saved.clone();
        file.insert(name, ArrayD::<f32>::zeros(IxDyn(&[2, 2])));
        file.write(&path).unwrap();
        for line in ["predict run --data batch --last", "evaluate run"] {
            let (got, _, err) = run(at, &format!("{line} --backend cpu"));
            assert!(got == code && err.contains(message), "{name}, {line}: {got}, {err}");
        }
    }
}

/// Text with fewer characters than the run whose weights it begins with.
#[test]
fn a_text_is_trained_on_with_the_vocabulary_of_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let train = "train --hidden 6 --batch 2 --window 7 --loss-every 1 --backend cpu";
    let own = text(600);
    fs::write(at.join("wide.txt"), &own).unwrap();
    fs::write(at.join("narrow.txt"), own.replace('k', "g")).unwrap();
    fs::write(at.join("foreign.txt"), own.replace('k', "g").replacen("queen", "quenß", 1)).unwrap();
    succeed(at, &format!("{train} --text wide.txt --steps 5 --out wide"));
    let (code, _, err) = run(at, &format!("{train} --text narrow.txt --init wide --steps 4 --out narrow"));
    assert!(code == 0 && err.contains("characters of the vocabulary are in it."), "{err}");
    let saved = |run: &str| Tensors::read(at.join(run).join("checkpoint.safetensors")).unwrap().metadata["vocabulary"].clone();
    assert_eq!(saved("narrow"), saved("wide"));

    // What follows reads it in the same way: a resume, an evaluation of what was held out, a prediction.
    succeed(at, &format!("{train} --text narrow.txt --init wide --steps 9 --out whole"));
    succeed(at, "train --resume narrow --steps 9 --backend cpu");
    assert_eq!(
        succeed(at, "evaluate narrow --json --backend cpu"),
        succeed(at, "evaluate whole --json --backend cpu").replace("whole", "narrow")
    );
    succeed(at, "evaluate narrow --text wide.txt --backend cpu");
    succeed(at, "predict narrow --text wide.txt --last --backend cpu");
    succeed(at, "sample narrow --prompt king --length 3 --backend cpu");

    let foreign = own.replace('k', "g").replacen("queen", "quenß", 1);
    let before: Vec<&str> = foreign.split('ß').next().unwrap().split('\n').collect();
    let position = format!("line {}, column {}: 'ß' is none of the", before.len(), before.last().unwrap().chars().count() + 1);
    // Bare weights say nothing of characters: there must be as many as the text has.
    let mut bare = Tensors::read(at.join("wide/checkpoint.safetensors")).unwrap();
    bare.metadata.clear();
    bare.write(at.join("bare")).unwrap();
    expect(
        at,
        &[
            (&format!("{train} --text foreign.txt --init wide --out x"), 7, &position),
            ("evaluate narrow --text foreign.txt", 7, &position),
            ("predict narrow --text foreign.txt", 7, &position),
            (&format!("{train} --text narrow.txt --init bare --out x"), 7, "bare: reads "),
        ],
    );
    succeed(at, &format!("{train} --text wide.txt --init bare --steps 1 --out bare-run"));
    assert!(!at.join("x").exists());
}

/// A loss whose exponential is beyond f64: JSON has no number for it.
#[test]
fn an_infinite_perplexity_is_said_in_json() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("t.txt"), "ab".repeat(100)).unwrap();
    let shapes: [(&str, &[usize]); 4] =
        [("rnn.weight_ih_l0", &[3, 2]), ("rnn.weight_hh_l0", &[3, 3]), ("rnn.bias_ih_l0", &[3]), ("decoder.weight", &[2, 3])];
    write(at, "sure", &shapes, &|file| file.insert("decoder.bias", ndarray::arr1(&[3000.0_f32, 0.0])));
    succeed(at, "train --text t.txt --init sure --batch 2 --window 5 --steps 1 --lr 0 --backend cpu --out run");
    let found: serde_json::Value = serde_json::from_str(&succeed(at, "evaluate run --json --backend cpu")).unwrap();
    assert_eq!(found["perplexity"], "infinity", "{found}");
    assert!(found["loss"].as_f64().unwrap() > 1000.0 && found["accuracy"].is_f64(), "{found}");
}
