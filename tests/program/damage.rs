//! Damaged checkpoints: none is read as if it were whole. The one before takes its place, and a run that goes on from that ends with the same
//! bits.

use std::fs;
use std::path::{Path, PathBuf};

use retrospect::tensors::Tensors;
use retrospect::train::Checkpoint;

use super::{run, succeed, text};

const LAST: &str = "checkpoint.safetensors";
const PREVIOUS: &str = "checkpoint.previous.safetensors";

/// A run on text, with checkpoints of its steps 4 and 6.
fn trained(folder: &Path) -> PathBuf {
    fs::write(folder.join("text"), text(400)).unwrap();
    succeed(
        folder,
        "train --text text --cell lstm --hidden 5 --batch 2 --window 7 --steps 6 --checkpoint-every 2 --backend cpu --out run",
    );
    folder.join("run")
}

/// Every damaged checkpoint is refused, and the one before is read.
fn expect_refused(run: &Path, damaged: &[u8], what: &str) {
    fs::write(run.join(LAST), damaged).unwrap();
    let (checkpoint, path, damage) = Checkpoint::of_run(run).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!((path, checkpoint.step), (run.join(PREVIOUS), 4), "{what}");
    assert_eq!(damage.expect("it says why").exit_code(), 7, "{what}");
}

#[test]
fn no_flipped_bit_and_no_cut_goes_unseen() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(folder.path());
    let whole = fs::read(run.join(LAST)).unwrap();
    let (read, path, damage) = Checkpoint::of_run(&run).unwrap();
    assert_eq!((read.step, path, read.has_checksum), (6, run.join(LAST), true));
    assert!(damage.is_none());

    let flip = |bit: usize| {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        expect_refused(&run, &damaged, &format!("bit {} of byte {}", bit % 8, bit / 8));
    };
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    // The first bytes, which say how long the header is; all bits of the checksum's entry; and places all over header and tensors.
    let entry = whole.windows(21).position(|bytes| bytes == b"\"retrospect.checksum\"").unwrap();
    (0..64).chain(entry * 8..(entry + 33) * 8).for_each(flip);
    (0..400).map(|k| k * header * 8 / 400 + k % 8).for_each(flip);
    let tensors = (whole.len() - header) * 8;
    (0..400).map(|k| header * 8 + (k * tensors / 400 + k % 8).min(tensors - 1)).for_each(flip);

    (0..300).map(|k| k * whole.len() / 300).for_each(|len| expect_refused(&run, &whole[..len], &format!("{len} bytes")));
    for more in [1, 8] {
        expect_refused(&run, &[&whole[..], &vec![0; more]].concat(), &format!("{more} more bytes"));
    }

    // Both damaged.
    let previous = fs::read(run.join(PREVIOUS)).unwrap();
    fs::write(run.join(PREVIOUS), &previous[..previous.len() - 1]).unwrap();
    let error = Checkpoint::of_run(&run).unwrap_err();
    assert!(error.exit_code() == 7 && error.to_string().contains("the checkpoint before it is no better"), "{error}");
}

#[test]
fn a_run_with_a_damaged_checkpoint_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let at = trained(folder.path());
    let [last, previous] = [LAST, PREVIOUS].map(|name| fs::read(at.join(name)).unwrap());
    let metrics = fs::read(at.join("metrics.jsonl")).unwrap();
    succeed(folder.path(), "train --resume run --steps 9 --backend cpu");
    let expected = fs::read(at.join(LAST)).unwrap();
    let half = last.len() / 2;
    for place in [9, 300, half, last.len() - 1] {
        let mut damaged = last.clone();
        damaged[place] ^= 0x10;
        for (name, bytes) in [(LAST, &damaged), (PREVIOUS, &previous), ("metrics.jsonl", &metrics)] {
            fs::write(at.join(name), bytes).unwrap();
        }
        let (code, _, err) = run(folder.path(), "train --resume run --steps 9 --backend cpu");
        assert!(code == 0 && err.contains("taking the checkpoint before it, of step 4"), "{place}: {code}: {err}");
        assert!(fs::read(at.join(LAST)).unwrap() == expected, "{place}: other bits");
    }

    fs::write(at.join(LAST), &last[..half]).unwrap();
    fs::write(at.join(PREVIOUS), &previous[..half]).unwrap();
    for line in ["train --resume run --steps 12", "evaluate run --checkpoint last", "sample run --checkpoint last"] {
        let (code, _, err) = run(folder.path(), line);
        assert!(code == 7 && err.contains("no better"), "{line}: {code}: {err}");
    }
}

/// A checkpoint whose metadata somebody edited.
#[test]
fn edited_metadata_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(folder.path());
    fs::remove_file(run.join(PREVIOUS)).unwrap();
    let path = run.join(LAST);
    let whole = fs::read(&path).unwrap();
    let read = Tensors::read(&path).unwrap();
    let sum = read.metadata("retrospect.checksum").unwrap();
    // Two letters of the vocabulary change places.
    let letters = serde_json::to_string(read.metadata("vocabulary").unwrap()).unwrap();
    let swapped: String = letters
        .chars()
        .map(|c| {
            if c == 'e' {
                'k'
            } else if c == 'k' {
                'e'
            } else {
                c
            }
        })
        .collect();
    assert_ne!(letters, swapped);
    let [letters, swapped] = [letters, swapped].map(|letters| format!("\"vocabulary\":{letters}"));
    let edit = |from: &str, to: &str| {
        let places: Vec<usize> = (0..whole.len() - from.len()).filter(|&at| whole[at..].starts_with(from.as_bytes())).collect();
        assert!(from.len() == to.len() && !places.is_empty(), "{from}");
        let mut edited = whole.clone();
        edited[places[0]..places[0] + to.len()].copy_from_slice(to.as_bytes());
        fs::write(&path, edited).unwrap();
        Checkpoint::read(&path).unwrap_err()
    };
    for (from, to) in [
        (letters.as_str(), swapped.as_str()),
        ("\\\"lr\\\":0.002", "\\\"lr\\\":0.003"),
        ("\"step\":\"6\"", "\"step\":\"5\""),
        ("\"position\":\"6\"", "\"position\":\"5\""),
        (sum, "00000000"),
    ] {
        let error = edit(from, to);
        assert!(error.exit_code() == 7 && error.to_string().contains("damaged, or was edited"), "{from}: {error}");
    }
    let error = edit("retrospect.checksum", "retrospect.checksun");
    assert!(error.to_string().contains("checksum: there is no such metadata"), "{error}");

    // Those of an early version have none. What can be seen without is seen.
    let mut early = read.clone();
    early.metadata.retain(|key, _| key != "retrospect.checksum" && key != "checkpoint");
    early.write(&path).unwrap();
    assert!(!Checkpoint::read(&path).unwrap().has_checksum);
    let (code, _, err) = super::run(folder.path(), "evaluate run");
    assert!(code == 0 && err.contains("of an early version and has no checksum"), "{code}: {err}");
    // One that is written again has the checksum of what it holds then.
    for mut edited in [early, read] {
        edited.metadata.insert("position".into(), "5".into());
        edited.write(&path).unwrap();
        let error = Checkpoint::read(&path).unwrap_err();
        assert!(error.to_string().contains("position: is 5, and the step is 6"), "{error}");
    }
}

/// Columns that are not those of the network, in a file whose checksum is right.
#[test]
fn columns_are_those_of_the_network() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..60).map(|k| format!("{},{},{}\n", k % 7, k % 5, (k % 7) * 2 + k % 5)).collect();
    fs::write(folder.path().join("t.csv"), format!("a,b,y\n{rows}")).unwrap();
    succeed(folder.path(), "train --data t.csv --target y --hidden 4 --window 5 --batch 2 --steps 2 --backend cpu --out run");
    let path = folder.path().join("run").join(LAST);
    let whole = Tensors::read(&path).unwrap();
    let columns: serde_json::Value = serde_json::from_str(whole.metadata("columns").unwrap()).unwrap();
    let edit = |change: fn(&mut serde_json::Value)| {
        let (mut edited, mut columns) = (whole.clone(), columns.clone());
        change(&mut columns);
        edited.metadata.insert("columns".into(), columns.to_string());
        edited.write(&path).unwrap();
        Checkpoint::read(&path)
    };
    assert!(edit(|_| ()).is_ok());
    for (change, message) in [
        (
            (|columns| drop(columns["inputs"].as_array_mut().unwrap().pop())) as fn(&mut serde_json::Value),
            "inputs: the columns have 1",
        ),
        (
            |columns| {
                let more = columns["inputs"][0].clone();
                columns["targets"].as_array_mut().unwrap().push(more);
            },
            "values: the columns have 2",
        ),
        (|columns| columns["inputs"][1]["kind"]["number"]["scale"] = 0.into(), "b: its scale is"),
    ] {
        let error = edit(change).unwrap_err();
        assert!(error.exit_code() == 7 && error.to_string().contains(message), "{error}");
    }
}

/// Weights that are taken from a checkpoint, too.
#[test]
fn weights_of_a_damaged_checkpoint_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = trained(folder.path()).join(LAST);
    let mut damaged = fs::read(&path).unwrap();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    fs::write(&path, damaged).unwrap();
    let mut batch = Tensors::new();
    batch.insert("tokens", ndarray::Array2::<i64>::zeros((3, 2)));
    batch.insert("classes", ndarray::Array2::<i64>::zeros((3, 2)));
    batch.write(folder.path().join("batch")).unwrap();
    for line in [
        "train --text text --batch 2 --window 7 --steps 1 --init run --out other --backend cpu",
        "gradient --weights run --batch batch --out g --backend cpu",
    ] {
        let (code, _, err) = run(folder.path(), line);
        assert!(code == 7 && err.contains("damaged, or was edited"), "{line}: {code}: {err}");
    }
    assert!(!folder.path().join("other").exists() && !folder.path().join("g").exists());
}
