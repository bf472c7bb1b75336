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
        let file = Tensors::read(&path).unwrap();
        part(&file, "weights.").write(folder.path().join("w")).unwrap();
        part(&file, "batch.").write(folder.path().join("b")).unwrap();
        let expected = named(&part(&file, "gradient."));
        // PyTorch computed these in f64; the largest error seen on cpu and gpu is 1.3e-6.
        for (backend, bound) in [("reference", 1e-12), ("cpu", 2e-5), ("gpu", 2e-5)] {
            if file.metadata["cell"] != "elman" && backend != "reference" {
                continue;
            }
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
