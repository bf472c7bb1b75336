//! Runs whose data lie at another place, and runs that go on with other data.

use std::fs;
use std::path::Path;

use ndarray::{Array2, Array3};
use retrospect::tensors::Tensors;

use super::errors::expect;
use super::{run, succeed, text};

const TRAIN: &str = "train --hidden 5 --batch 2 --window 7 --loss-every 1 --backend cpu";

/// The losses that a run logged.
fn losses(run: &Path) -> Vec<String> {
    let lines = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let loss = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap().get("loss").map(ToString::to_string);
    lines.lines().filter_map(loss).collect()
}

/// The file that `run.toml` says the data are in, by its last two names.
fn recorded(run: &Path, kind: &str) -> String {
    let file: toml::Table = fs::read_to_string(run.join("run.toml")).unwrap().parse().unwrap();
    let path = Path::new(file["settings"]["data"][kind].as_str().unwrap()).to_owned();
    let names: Vec<_> = path.iter().rev().take(2).map(|name| name.to_string_lossy().into_owned()).collect();
    format!("{}/{}", names[1], names[0])
}

#[test]
fn a_run_and_its_text_may_move() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir(at.join("a")).unwrap();
    fs::write(at.join("a/t.txt"), text(400)).unwrap();
    fs::write(at.join("other.txt"), text(401)).unwrap();
    succeed(at, &format!("{TRAIN} --text a/t.txt --steps 8 --out whole"));
    succeed(at, &format!("{TRAIN} --text a/t.txt --steps 3 --out a/run"));
    fs::rename(at.join("a"), at.join("b")).unwrap();
    expect(
        at,
        &[
            ("evaluate b/run", 7, "; --text FILE measures on a file at another place"),
            ("train --resume b/run --steps 8", 7, "; if it has moved: train --resume b/run --text FILE"),
            ("train --resume b/run --steps 8 --text nowhere", 7, "nowhere: cannot be read"),
            (
                "train --resume b/run --steps 8 --text other.txt",
                7,
                "other.txt: is other data than the run's: its fingerprint is ",
            ),
            ("train --resume b/run --steps 8 --text other.txt", 7, "a/t.txt was "),
            ("train --resume b/run --steps 8 --data b/t.txt", 2, "--data: this run was trained on text"),
            ("train --resume b/run --text b/t.txt --validation 0.2 --steps 9", 2, "--validation: what trains stays as it was"),
            ("train --new-data", 2, "--resume"),
        ],
    );
    succeed(at, "evaluate b/run --text b/t.txt");
    let (code, _, err) = run(at, "train --resume b/run --steps 6 --text b/t.txt");
    assert!(code == 0 && err.contains("The same data at another place: ") && !err.contains("Other data"), "{err}");
    assert_eq!(recorded(&at.join("b/run"), "text"), "b/t.txt");
    // The place is kept, and the steps are those of a run that has not moved.
    let (code, _, err) = run(at, "train --resume b/run --steps 8");
    assert!(code == 0 && !err.contains("place"), "{err}");
    assert_eq!(losses(&at.join("b/run")), losses(&at.join("whole")));
    succeed(at, "evaluate b/run");
}

#[test]
fn a_run_may_go_on_with_another_text_of_its_characters() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let own = text(400);
    fs::write(at.join("t.txt"), &own).unwrap();
    // Fewer characters than the run knows, and one that it does not.
    fs::write(at.join("narrow.txt"), own.replace('k', "g")).unwrap();
    fs::write(at.join("foreign.txt"), own.replacen("king", "kinß", 1)).unwrap();
    fs::write(at.join("short.txt"), "the").unwrap();
    succeed(at, &format!("{TRAIN} --text t.txt --steps 3 --out run"));
    let resume = "train --resume run --backend cpu --steps";
    let message = "'ß' is none of the";
    expect(
        at,
        &[
            (&format!("{resume} 6 --text foreign.txt --new-data"), 7, message),
            (&format!("{resume} 6 --text short.txt --new-data"), 7, "batch 2 with window 7 needs"),
            (&format!("{resume} 6 --text narrow.txt"), 7, "; --new-data goes on with it all the same"),
        ],
    );
    let (code, _, err) = run(at, &format!("{resume} 6 --text narrow.txt --new-data"));
    assert!(code == 0 && err.contains("Other data from here on: ") && err.contains("; up to step 3 it was "), "{err}");
    // What follows knows the other text, and still the vocabulary of the first.
    succeed(at, &format!("{resume} 7"));
    succeed(at, "evaluate run --text t.txt");
    let characters = |name: &str| fs::read_to_string(at.join(name)).unwrap();
    let distinct = |text: String| text.chars().collect::<std::collections::BTreeSet<_>>().into_iter().collect::<String>();
    let saved = Tensors::read(at.join("run/checkpoint.safetensors")).unwrap();
    assert_eq!(saved.metadata["vocabulary"], distinct(characters("t.txt")));
    assert_ne!(saved.metadata["vocabulary"], distinct(characters("narrow.txt")));

    // A file that has changed where it is.
    fs::write(at.join("narrow.txt"), &own[1..]).unwrap();
    expect(at, &[(&format!("{resume} 9"), 7, "has changed since the run began")]);
    succeed(at, &format!("{resume} 9 --new-data"));
    succeed(at, &format!("{resume} 10"));
}

/// A file of sequences of so many time steps, inputs and classes.
fn sequences(folder: &Path, name: &str, [steps, inputs, classes]: [usize; 3]) {
    let mut file = Tensors::new();
    let number = |(t, b, i): (usize, usize, usize)| ((t * 31 + b * 17 + i * 7 + name.len()) % 23) as f32 / 11.0 - 1.0;
    file.insert("inputs", Array3::from_shape_fn((steps, 20, inputs), number));
    file.insert("classes", Array2::from_shape_fn((steps, 20), |(t, b)| ((t + b) % classes) as i64));
    file.write(folder.join(name)).unwrap();
}

/// A run knows the files again that it is measured on, also at another place.
#[test]
fn files_that_are_held_out_are_known_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    ["own", "held", "tested", "another one"].iter().for_each(|name| sequences(at, name, [6, 3, 4]));
    let train = "train --hidden 5 --batch 4 --data own --validation held --test tested --steps 4 --evaluate-every 2";
    succeed(at, &format!("{train} --backend cpu --out run"));
    let saved = Tensors::read(at.join("run/checkpoint.safetensors")).unwrap();
    let sums = ["fingerprint", "fingerprint.validation", "fingerprint.test"].map(|key| saved.metadata[key].clone());
    assert!(sums[0] != sums[1] && sums[1] != sums[2], "{sums:?}");

    let (resume, evaluate) = ("train --resume run --backend cpu --steps", "evaluate run --backend cpu --part");
    fs::rename(at.join("held"), at.join("moved")).unwrap();
    succeed(at, &format!("{resume} 5 --validation moved"));
    succeed(at, &format!("{evaluate} test"));

    // Each file with other bytes, in turn.
    fs::copy(at.join("another one"), at.join("moved")).unwrap();
    let changed = "moved: is not the file that the run was measured on: its fingerprint is ";
    let resumed = format!("{resume} 6");
    expect(at, &[(&resumed, 7, changed), (&format!("{evaluate} validation"), 7, changed)]);
    succeed(at, &format!("{evaluate} test"));
    let (code, _, err) = run(at, &format!("{resumed} --new-data"));
    assert!(code == 0 && err.contains("Another file for the validation part from step 5 on."), "{err}");
    assert!(at.join("run/best.previous.safetensors").exists(), "the best network of the validations before is set aside");
    succeed(at, &format!("{evaluate} validation"));
    fs::copy(at.join("another one"), at.join("tested")).unwrap();
    succeed(at, &format!("{resume} 7"));
    expect(at, &[(&format!("{evaluate} test"), 7, "tested: is not the file that the run was measured on")]);
    // Accepted with --new-data, also for the best network, which is of an earlier step.
    let (code, _, err) = run(at, &format!("{resume} 8 --new-data"));
    assert!(code == 0 && err.contains("Another file for the test part from step 7 on."), "{err}");
    succeed(at, &format!("{evaluate} test"));
}

#[test]
fn a_run_may_go_on_with_other_sequences_of_its_shapes() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (name, shape) in [
        ("own", [6, 3, 4]),
        ("other", [6, 3, 4]),
        ("fewer-classes", [6, 3, 2]),
        ("wide", [6, 2, 4]),
        ("classes", [6, 3, 5]),
        ("long", [7, 3, 4]),
    ] {
        sequences(at, name, shape);
    }
    let mut values = Tensors::read(at.join("own")).unwrap();
    values.insert("values", Array3::<f32>::zeros((6, 20, 4)));
    let mut file = Tensors::new();
    ["inputs", "values"].iter().for_each(|name| file.insert(*name, values.get(name).unwrap().clone()));
    file.write(at.join("values")).unwrap();

    succeed(at, "train --hidden 5 --batch 4 --data own --steps 3 --backend cpu --out run");
    fs::copy(at.join("own"), at.join("copy")).unwrap();
    let resume = "train --resume run --backend cpu --steps";
    let new = |file: &str| format!("{resume} 9 --data {file} --new-data");
    expect(
        at,
        &[
            (&format!("{resume} 9 --data other"), 7, "other: is other data than the run's: its fingerprint is "),
            (&new("wide"), 7, "wide: has vectors of 2 numbers; the network reads vectors of 3 numbers"),
            (&new("classes"), 7, "classes: has classes below 5; the network predicts classes below 4"),
            (&new("values"), 7, "values: has values of 4 numbers; the network predicts classes below 4"),
            (&new("long"), 7, "long: has sequences of 7 time steps; the run was trained on 6"),
        ],
    );
    let steps = [("4 --data copy", "The same data"), ("5 --data other --new-data", "Other data"), ("6", "step 5")];
    for (rest, said) in steps.into_iter().chain([("7 --data fewer-classes --new-data", "Other data")]) {
        let (code, _, err) = run(at, &format!("{resume} {rest}"));
        assert!(code == 0 && err.contains(said), "{rest}: {err}");
    }
    assert!(recorded(&at.join("run"), "data").ends_with("/fewer-classes"));

    // A task has no file.
    succeed(at, "train --steps 2 --hidden 4 --window 5 --backend cpu --out adding");
    expect(
        at,
        &[
            ("train --resume adding --steps 5 --new-data", 2, "the task adding has no other data"),
            ("train --resume adding --steps 5 --data own", 2, "--data: this run was trained on adding"),
        ],
    );
}

/// The vocabulary in a checkpoint is that of its network and of its text.
#[test]
fn a_vocabulary_that_was_edited_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("t.txt"), text(400)).unwrap();
    succeed(at, &format!("{TRAIN} --text t.txt --steps 3 --evaluate-every off --out run"));
    let path = at.join("run/checkpoint.safetensors");
    let saved = Tensors::read(&path).unwrap();
    let vocabulary = saved.metadata["vocabulary"].clone();
    fs::remove_file(at.join("run/checkpoint.previous.safetensors")).unwrap();
    let write = |edited: Option<String>| {
        let mut file = saved.clone();
        file.metadata.remove("vocabulary");
        file.metadata.extend(edited.map(|edited| ("vocabulary".to_owned(), edited)));
        file.write(&path).unwrap();
    };
    let resume = "train --resume run --steps 5 --backend cpu";
    write(Some(format!("{vocabulary}ß")));
    expect(at, &[("sample run", 7, "metadata vocabulary: characters: there are"), (resume, 7, "metadata vocabulary")]);
    write(None);
    expect(at, &[("sample run", 7, "metadata vocabulary: text: there is none, and the run was trained on a text")]);
    write(Some(vocabulary.replace('k', "j")));
    expect(at, &[("evaluate run", 7, "'k' is none of the"), (resume, 7, "'k' is none of the")]);
    write(Some(vocabulary));
    succeed(at, resume);
}
