//! Texts as characters, bytes and words: what a run keeps of them, and what each command makes of them.

use std::fs;
use std::path::Path;

use retrospect::tensors::Tensors;
use serde_json::Value;

use super::errors::expect;
use super::{command, json, run, succeed, text};

const TRAIN: &str = "train --hidden 8 --batch 2 --window 8 --steps 30 --lr 0.02 --backend cpu";

/// What a command writes, as bytes.
fn written(folder: &Path, line: &str) -> Vec<u8> {
    let output = command(folder, line).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn metadata(folder: &Path) -> std::collections::BTreeMap<String, String> {
    Tensors::read(folder.join("run/checkpoint.safetensors")).unwrap().metadata
}

/// Any file is bytes: they are drawn as they are, and nothing is added.
#[test]
fn bytes_need_not_be_a_text() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let content: Vec<u8> = (0..2000_usize).map(|k| [0xff, 0x00, b'a', 0xc3, b'\n'][(k * k + k / 3) % 5]).collect();
    fs::write(at.join("b.bin"), &content).unwrap();
    expect(at, &[(&format!("{TRAIN} --text b.bin --out x"), 7, "byte 0 (counted from 0), 0xff, is not UTF-8")]);
    succeed(at, &format!("{TRAIN} --text b.bin --tokens bytes --out run"));
    let kept = metadata(at);
    assert_eq!((kept.get("tokens").map(String::as_str), kept.get("vocabulary")), (Some("bytes"), None));
    // From a newline on.
    let drawn = written(at, "sample run --length 200 --temperature 0.5 --backend cpu");
    assert_eq!((drawn.len(), drawn[0]), (201, b'\n'));
    assert!(drawn.contains(&0xff) && drawn.contains(&0), "they are learnt");
    assert_eq!(written(at, "sample run --prompt aü --length 0 --backend cpu"), "aü".as_bytes());

    let found = json(at, "evaluate run --json");
    let loss = found["loss"].as_f64().unwrap();
    assert!((found["bits_per_byte"].as_f64().unwrap() - loss / 2_f64.ln()).abs() < 1e-9);
    assert!(found.get("bits_per_character").is_none());
    fs::write(at.join("other.bin"), &content[1..]).unwrap();
    assert_eq!(json(at, "evaluate run --text other.bin --json")["counted"], 1998);
    let csv = succeed(at, "predict run --text other.bin --backend cpu");
    assert!(csv.starts_with("sequence,step,class,p(\\x00),") && csv.contains(",p(a),") && csv.contains(",p(\\xff)"));
}

/// A text of fifteen words and marks that come often, and others.
fn with_rare_words() -> String {
    let rare = ["Alas", "poor", "Yorick", "knew", "him", "Horatio"];
    text(4000)
        .split_inclusive(' ')
        .enumerate()
        .map(|(i, word)| if i % 50 == 7 { format!("{} ", rare[i / 50 % 6]) } else { word.into() })
        .collect()
}

#[test]
fn words_that_are_not_kept_are_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let whole = with_rare_words();
    fs::write(at.join("t.txt"), &whole).unwrap();
    let (code, _, err) = run(at, &format!("{TRAIN} --text t.txt --tokens words --vocabulary 15 --out run"));
    assert!(code == 0 && err.contains("%) are not among the 15 of the vocabulary, and are <unk>."), "{err}");
    let words: Vec<String> = serde_json::from_str(&metadata(at)["vocabulary"]).unwrap();
    assert_eq!((words.len(), words[0].as_str(), words[15].as_str()), (16, " ", "<unk>"));
    assert!(["the", "king", ",", "!", "\n "].iter().all(|word| words.iter().any(|known| known == word)), "{words:?}");

    // Only what is known is drawn, and a prompt's other words are unknown.
    let (code, drawn, err) = run(at, "sample run --prompt king|Yorick --length 50 --backend cpu");
    assert!(code == 0 && err.contains("--prompt: 2 of 3 tokens (66.67 %)"), "{err}");
    let drawn = drawn.strip_prefix("king|Yorick").unwrap().strip_suffix('\n').unwrap();
    assert!(!drawn.is_empty() && !drawn.contains("Alas"));
    let stopped = succeed(at, "sample run --prompt king --stop king --length 500 --backend cpu");
    assert!(stopped.ends_with("king\n") && stopped.matches("king").count() == 2, "{stopped}");

    let found = json(at, "evaluate run --json");
    assert!(found["perplexity"].as_f64().unwrap() < 16.0);
    assert!(found.as_object().unwrap().keys().all(|key| !key.starts_with("bits")), "{found}");
    fs::write(at.join("new.txt"), "the king and Polonius").unwrap();
    let (code, csv, err) = run(at, "predict run --text new.txt --backend cpu");
    assert!(code == 0 && err.contains("new.txt: 1 of 7 tokens (14.29 %)"), "{err}");
    assert!(csv.starts_with("sequence,step,class,p( ),") && csv.contains(",p(<unk>)") && csv.lines().count() == 8, "{csv}");

    // It goes on as it was: the same steps as without a stop, and other texts with the same words.
    succeed(at, &format!("{TRAIN} --text t.txt --tokens words --vocabulary 15 --loss-every 1 --out whole"));
    succeed(at, &format!("{} --text t.txt --tokens words --vocabulary 15 --loss-every 1 --out part", TRAIN.replace("30", "12")));
    succeed(at, "train --resume part --steps 30");
    let losses = |run: &str| {
        let lines = fs::read_to_string(at.join(run).join("metrics.jsonl")).unwrap();
        let loss = |line: &str| serde_json::from_str::<Value>(line).unwrap().get("loss").map(ToString::to_string);
        lines.lines().filter_map(loss).collect::<Vec<_>>()
    };
    assert_eq!(losses("part"), losses("whole"));
    fs::write(at.join("other.txt"), whole.replace("king", "prince")).unwrap();
    let (code, _, err) = run(at, "train --resume part --text other.txt --new-data --steps 32");
    assert!(code == 0 && err.contains("other.txt: 15 of the 16 words of the vocabulary are in it."), "{err}");
    let (code, _, err) = run(at, &format!("{TRAIN} --init run --text other.txt --out next"));
    assert!(code == 0 && err.contains("are <unk>"), "{err}");
    assert_eq!(Tensors::read(at.join("next/checkpoint.safetensors")).unwrap().metadata["vocabulary"], metadata(at)["vocabulary"]);
}

/// Words as trained vectors: from a run to its continuation, its weights alone, and another run that begins with them.
#[test]
fn words_are_embedded() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("t.txt"), text(3000)).unwrap();
    let train = format!("{TRAIN} --text t.txt --tokens words --cell lstm --embedding 5 --loss-every 1");
    let (_, _, err) = run(at, &format!("{train} --out run"));
    let saved = || Tensors::read(at.join("run/checkpoint.safetensors")).unwrap();
    let words: Vec<String> = serde_json::from_str(&saved().metadata["vocabulary"]).unwrap();
    assert!(err.contains("8 units, tokens embedded as 5 numbers"), "{err}");
    assert_eq!(saved().f64("encoder.weight").unwrap().shape(), [words.len(), 5]);
    assert_eq!(saved().f64("rnn.weight_ih_l0").unwrap().shape(), [32, 5]);

    // It goes on with the same bits, draws and predicts; so do its weights alone.
    succeed(at, &format!("{} --out part", train.replace("--steps 30", "--steps 12")));
    succeed(at, "train --resume part --steps 30");
    let part = Tensors::read(at.join("part/checkpoint.safetensors")).unwrap();
    assert_eq!(part.f64("encoder.weight").unwrap(), saved().f64("encoder.weight").unwrap());
    assert!(succeed(at, "sample run --prompt king --length 5 --backend cpu").starts_with("king"));
    let predicted = succeed(at, "predict run --text t.txt --last --backend cpu");
    let mut weights = Tensors::new();
    for name in ["encoder.weight", "rnn.weight_ih_l0", "rnn.weight_hh_l0", "rnn.bias_ih_l0", "decoder.weight", "decoder.bias"] {
        weights.insert(name, saved().f64(name).unwrap());
    }
    weights.write(at.join("bare")).unwrap();
    let mut tokens = Tensors::new();
    tokens.insert("tokens", ndarray::Array2::<i64>::ones((4, 2)));
    tokens.insert("classes", ndarray::Array2::<i64>::zeros((4, 2)));
    tokens.write(at.join("batch")).unwrap();
    assert!(succeed(at, "predict bare --data batch --last --backend cpu").lines().count() == 3 && predicted.lines().count() == 2);
    let loss = |backend: &str| {
        let found = succeed(at, &format!("gradient --weights bare --batch batch --out g --backend {backend}"));
        let gradient = Tensors::read(at.join("g")).unwrap();
        assert_eq!(gradient.f64("encoder.weight").unwrap().shape(), [words.len(), 5]);
        found.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap()
    };
    let (cpu, reference) = (loss("cpu"), loss("reference"));
    assert!((cpu - reference).abs() < 1e-6, "{cpu} and {reference}");
    let (_, _, err) = run(at, &format!("{TRAIN} --text t.txt --init run --cell lstm --out next"));
    assert!(err.contains("tokens embedded as 5 numbers"), "{err}");
    expect(
        at,
        &[
            (&format!("{TRAIN} --text t.txt --init run --embedding 6 --out x"), 7, "encoder.weight: expected shape"),
            (
                "train --task adding --embedding 6 --backend cpu --out x",
                2,
                "an embedding is of tokens, and this network reads vectors",
            ),
        ],
    );
}

/// Where all words are kept nothing stands for others, which a network has never seen.
#[test]
fn a_vocabulary_of_all_words_knows_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("t.txt"), text(2000)).unwrap();
    let (code, _, err) = run(at, &format!("{TRAIN} --text t.txt --tokens words --out run"));
    assert!(code == 0 && !err.contains("<unk>"), "{err}");
    expect(at, &[("sample run --prompt Yorick", 7, "--prompt: line 1, column 1: \"Yorick\" is none of the")]);
}

#[test]
fn tokens_are_those_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("t.txt"), text(2000)).unwrap();
    succeed(at, &format!("{TRAIN} --text t.txt --tokens words --out words"));
    succeed(at, &format!("{TRAIN} --text t.txt --evaluate-every off --out run"));
    // As runs were written before there was a choice.
    let kept = metadata(at);
    assert!(!kept.contains_key("tokens") && !kept["configuration"].contains("reading"));
    assert_eq!(kept["vocabulary"].chars().next(), Some('\n'));
    expect(
        at,
        &[
            (
                &format!("{TRAIN} --text t.txt --tokens bytes --init words --out x"),
                7,
                "words: was trained on words, and --tokens asks for bytes",
            ),
            (&format!("{TRAIN} --text t.txt --tokens words --init run --out x"), 7, "run: was trained on chars"),
            (
                &format!("{TRAIN} --text t.txt --tokens words --vocabulary 9 --init words --out x"),
                2,
                "with --init the words are those of its run",
            ),
            (
                "train --resume words --text t.txt --tokens chars --steps 40",
                7,
                "words: was trained on words, and --tokens asks for chars",
            ),
            ("train --resume words --vocabulary 12 --steps 40", 2, "cannot be used with"),
            ("train --tokens words", 2, "--text <FILE>"),
            ("train --tokens words --task adding", 2, "cannot be used with"),
            ("train --tokens words --data t.txt", 2, "cannot be used with"),
            ("train --tokens syllables --text t.txt", 2, "possible values: chars, bytes, words"),
            ("train --text t.txt --vocabulary 9", 2, "--tokens"),
            ("train --text t.txt --tokens bytes --vocabulary 9", 2, "--vocabulary is for --tokens words"),
            ("train --text t.txt --tokens words --vocabulary 0", 2, "0 is not in 2.."),
            ("train --text t.txt --tokens words --vocabulary 1", 2, "1 is not in 2.."),
            (&format!("{TRAIN} --text t.txt --tokens words --bidirectional"), 2, "--bidirectional"),
            ("train --text t.txt --tokens words --batch 500 --backend cpu --out x", 7, "words; "),
        ],
    );
    succeed(at, "train --resume words --text t.txt --tokens words --steps 40");
    succeed(at, &format!("{TRAIN} --text t.txt --tokens words --init words --out again"));
    // The metadata are held to the network.
    let path = at.join("run/checkpoint.safetensors");
    fs::remove_file(at.join("run/checkpoint.previous.safetensors")).ok();
    let mut file = Tensors::read(&path).unwrap();
    file.metadata.insert("tokens".into(), "bytes".into());
    file.write(&path).unwrap();
    expect(at, &[("sample run", 7, "metadata vocabulary: bytes: there are 256; the network has")]);
}
