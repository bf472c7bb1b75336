//! `sample`: from which characters it draws, and where it stops.

use std::fs;

use super::errors::expect;
use super::{succeed, text};

#[test]
fn what_is_kept_of_the_characters_is_what_is_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("t.txt"), text(2000)).unwrap();
    succeed(at, "train --text t.txt --hidden 16 --batch 4 --window 16 --steps 100 --lr 0.01 --backend cpu --out run");
    let sample = |line: &str| succeed(at, &format!("sample run --prompt the --length 80 --backend cpu {line}"));
    let (free, best) = (sample(""), sample("--temperature 0"));
    assert_ne!(free, best);
    for line in ["--top-k 1", "--top-p 1e-9", "--top-k 1 --top-p 0.5 --temperature 3", "--temperature 0 --top-k 5 --top-p 0.9"] {
        assert_eq!(sample(line), best, "{line}");
    }
    for line in ["--top-k 1000", "--top-p 1", "--top-k 1000 --top-p 1"] {
        assert_eq!(sample(line), free, "{line}");
    }
    let hot = "--temperature 3 --seed 2";
    let some = sample(&format!("{hot} --top-k 2"));
    assert!(some != sample(hot) && some != best && some == sample(&format!("{hot} --top-k 2")));
    assert_ne!(sample(&format!("{hot} --top-p 0.6")), sample(hot));

    // It stops behind the first such text that was drawn, which the prompt is not.
    let drawn = free.strip_prefix("the").unwrap();
    let end = drawn.find("an").expect("some word has it") + 2;
    assert_eq!(sample("--stop an"), format!("the{}\n", &drawn[..end]));
    assert_eq!(sample("--stop ngth"), free, "what never comes stops nothing");
    assert!(sample("--stop e").len() > 4);
    expect(
        at,
        &[
            ("sample run --top-k 0", 2, "0 is not in 1..=4294967295"),
            ("sample run --top-p 0", 2, "0 is not in (0, 1]"),
            ("sample run --top-p 1.5", 2, "1.5 is not in (0, 1]"),
            ("sample run --top-p NaN", 2, "NaN is not a finite number"),
            ("sample run --stop=", 2, "--stop"),
            ("sample run --stop ß", 7, "--stop: line 1, column 1: 'ß' is none of the"),
        ],
    );
}
