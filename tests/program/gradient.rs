//! `gradient` against PyTorch's numbers, through files.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::ArrayD;
use retrospect::tensors::Tensors;

use super::succeed;
use retrospect::check::networks::mismatches;

/// The tensors of `file` behind `prefix`, under the names behind it.
fn part(file: &Tensors, prefix: &str) -> Tensors {
    let mut part = Tensors::new();
    for name in file.names() {
        if let Some(rest) = name.strip_prefix(prefix) {
            part.insert(rest, file.get(name).unwrap().clone());
        }
    }
    part
}

fn named(tensors: &Tensors) -> BTreeMap<String, ArrayD<f64>> {
    tensors.names().map(|name| (name.to_owned(), tensors.f64(name).unwrap())).collect()
}

#[test]
fn all_backends_give_pytorchs_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut seen = 0;
    for entry in fixtures.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let file = Tensors::read(&path).unwrap();
        part(&file, "weights.").write(folder.path().join("w")).unwrap();
        part(&file, "batch.").write(folder.path().join("b")).unwrap();
        let expected = named(&part(&file, "gradient."));
        // PyTorch computed these in f64; the largest error seen on cpu and gpu is 1.3e-6.
        for (backend, bound) in [("reference", 1e-12), ("cpu", 2e-5), ("gpu", 2e-5)] {
            let reduction = &file.metadata["reduction"];
            let activation = file.metadata.get("activation").map_or(String::new(), |name| format!("--activation {name}"));
            succeed(
                folder.path(),
                &format!("gradient --weights w --batch b --out g --backend {backend} {activation} --reduction {reduction}"),
            );
            let written = Tensors::read(folder.path().join("g")).unwrap();
            let got = named(&written);
            let found = mismatches(&got, &expected, bound);
            assert!(found.is_empty(), "{} on {backend}: {found:?}", path.display());
            // A fault of 1e-4 in any tensor is seen.
            for name in expected.keys() {
                let mut wrong = got.clone();
                *wrong.get_mut(name).unwrap() *= 1.0 + 1e-4;
                assert_eq!(mismatches(&wrong, &expected, bound).len(), 1, "a fault in {name} of {}", path.display());
            }
        }
        seen += 1;
    }
    assert!(seen >= 10, "{seen} fixtures");
}

#[test]
fn states_and_activations_must_be_those_of_the_cell() {
    let folder = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for name in ["lstm_2_vectors_squared_mask", "tanh_2_vectors_squared_mask", "leaky_2_tokens_entropy_mask"] {
        let file = Tensors::read(fixtures.join(format!("{name}.safetensors"))).unwrap();
        let batch = part(&file, "batch.");
        part(&file, "weights.").write(folder.path().join(&name[..4])).unwrap();
        batch.write(folder.path().join(format!("{}.batch", &name[..4]))).unwrap();
        if name.starts_with("lstm") {
            let mut without = Tensors::new();
            batch.names().filter(|name| *name != "c0").for_each(|name| without.insert(name, batch.get(name).unwrap().clone()));
            without.write(folder.path().join("h0")).unwrap();
        }
    }
    let mut weights = Tensors::read(folder.path().join("leak")).unwrap();
    weights.insert("rnn.leak_l1", ndarray::Array1::<f32>::from_elem(10, 1.5));
    weights.write(folder.path().join("leak")).unwrap();
    let line = |rest: &str| format!("gradient --out g --backend reference {rest}");
    super::errors::expect(
        folder.path(),
        &[
            (&line("--weights lstm --batch lstm.batch --activation relu"), 2, "--activation relu is for elman and leaky"),
            (&line("--weights lstm --batch h0"), 7, "h0: c0: it is missing"),
            (&line("--weights tanh --batch lstm.batch"), 7, "lstm.batch: c0: this cell has no such state; it has h"),
            (
                &line("--weights leak --batch leak.batch"),
                7,
                "leak: rnn.leak_l1: [0] is 1.5; expected a number above 0 and up to 1",
            ),
        ],
    );
    assert!(!folder.path().join("g").exists());
}
