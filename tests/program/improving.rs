//! Training towards the best network: what is kept of it, when a run ends early, how its rate changes, and that it all goes on with the same
//! bits.

use std::f64::consts::PI;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use retrospect::Error;
use retrospect::backend::Compute;
use retrospect::data::Choice;
use retrospect::tensors::Tensors;
use retrospect::train::{Checkpoint, Event, Folder, Metrics, Training};
use serde_json::Value;

use super::errors::expect;
use super::{json, run, succeed, text};

fn lines(run: &Path) -> Vec<Value> {
    fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A number of each line that has it, with the line's step.
fn numbers(run: &Path, name: &str) -> Vec<(u64, f64)> {
    lines(run).iter().filter_map(|line| Some((line["step"].as_u64()?, line[name].as_f64()?))).collect()
}

fn bytes(run: &Path, file: &str) -> Vec<(String, Vec<u8>)> {
    let tensors = Tensors::read(run.join(file)).unwrap();
    tensors.names().map(|name| (name.to_owned(), format!("{:?}", tensors.get(name)).into_bytes())).collect()
}

/// A text that is learnt by heart soon, so that the validation gets worse again.
const TRAIN: &str =
    "train --text text --hidden 48 --lr 0.02 --batch 2 --window 16 --steps 300 --evaluate-every 20 --loss-every 1 --backend cpu";

fn with_text(folder: &Path) {
    fs::write(folder.join("text"), text(1200)).unwrap();
}

#[test]
fn the_best_network_stays_and_the_run_ends_when_none_is_better() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    with_text(at);
    let summary = json(at, &format!("{TRAIN} --patience 3 --out run --json"));
    let validations = numbers(&at.join("run"), "validation_loss");
    let best = *validations.iter().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    let end = best.0 + 60;
    assert!(end < 300, "the text is not learnt by heart: {validations:?}");
    assert_eq!((&summary["steps"], &summary["stopped_early"]), (&Value::from(end), &Value::from(true)));
    assert_eq!((&summary["best"]["step"], &summary["best"]["value"]), (&Value::from(best.0), &Value::from(best.1)));

    let table = fs::read_to_string(at.join("run/metrics.csv")).unwrap();
    let row = table.lines().find(|line| line.starts_with(&format!("{},", best.0))).unwrap();
    assert_eq!(row.split(',').nth(6), Some(best.1.to_string().as_str()));

    // What is asked of the run is answered by the best, or by the last one.
    let (_, _, err) = run(at, "evaluate run");
    assert!(err.contains(&format!("Taking step {}, with the best validation loss (", best.0)), "{err}");
    let loss = |which: &str| json(at, &format!("evaluate run --json {which}"))["loss"].as_f64().unwrap();
    assert_eq!((loss(""), loss("--checkpoint best")), (best.1, best.1));
    assert_eq!(loss("--checkpoint last"), validations.last().unwrap().1);
    let drawn = |which: &str| succeed(at, &format!("sample run --length 200 --backend cpu {which}"));
    assert_eq!(drawn(""), drawn("--checkpoint best"));
    assert_ne!(drawn(""), drawn("--checkpoint last"));

    // A damaged one is not the end.
    fs::write(at.join("run/best.safetensors"), "damaged").unwrap();
    let (code, _, err) = run(at, "evaluate run");
    assert!(code == 0 && err.contains("taking the last checkpoint instead"), "{err}");
    fs::remove_file(at.join("run/best.safetensors")).unwrap();
    expect(
        at,
        &[
            ("evaluate run --checkpoint best", 7, "has no best checkpoint"),
            ("evaluate run/checkpoint.safetensors --checkpoint last", 2, "--checkpoint is for the folder of a run"),
        ],
    );
}

/// Stopped at any step and resumed, everything is as if it had not been: validations, the best network, plateaus, early end.
#[test]
fn what_a_run_remembers_goes_on_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    with_text(at);
    for (name, options) in [
        ("plateau", "--schedule plateau:1:0.5 --warmup 5 --optimizer rmsprop --lr 0.005"),
        ("onecycle", "--schedule onecycle --optimizer adamw --weight-decay 0.1 --patience 4 --min-delta 0.01"),
        ("accuracy", "--schedule step:90:0.3 --optimizer nesterov --lr 0.3 --best accuracy --clip-value 0.05 --patience 5"),
    ] {
        let train =
            format!("{} {options}", TRAIN.replace(" --lr 0.02", if options.contains("--lr") { "" } else { " --lr 0.02" }));
        let (whole, part) = (at.join(name), at.join(format!("{name}-part")));
        succeed(at, &format!("{train} --out {name}"));
        let steps = lines(&whole).last().unwrap()["step"].as_u64().unwrap();
        // The number of steps is a part of a schedule, so the run is interrupted by what it has left behind: an older checkpoint.
        succeed(at, &format!("{train} --checkpoint-every 70 --out {name}-part"));
        let saved = Tensors::read(part.join("checkpoint.previous.safetensors")).unwrap().metadata["step"].parse::<u64>().unwrap();
        assert!(saved < steps && saved % 70 == 0, "{name}: {saved} of {steps}");
        fs::rename(part.join("checkpoint.previous.safetensors"), part.join("checkpoint.safetensors")).unwrap();
        // What came after it is made again.
        let best = Tensors::read(part.join("best.safetensors")).unwrap().metadata["step"].parse::<u64>().unwrap();
        if best > saved {
            fs::remove_file(part.join("best.safetensors")).unwrap();
        }
        succeed(at, &format!("train --resume {name}-part"));
        for number in ["loss", "lr", "grad_norm", "validation_loss"] {
            assert_eq!(numbers(&part, number), numbers(&whole, number), "{name}, {number}");
        }
        for file in ["checkpoint.safetensors", "best.safetensors"] {
            assert!(bytes(&part, file) == bytes(&whole, file), "{name}, {file}");
        }
        let metadata = |run: &Path, file: &str| Tensors::read(run.join(file)).unwrap().metadata["validations"].clone();
        for file in ["checkpoint.safetensors", "best.safetensors"] {
            assert_eq!(metadata(&part, file), metadata(&whole, file), "{name}, {file}");
        }
    }
    let rates = numbers(&at.join("plateau"), "lr");
    assert!(rates[..5].iter().zip(1..).all(|((_, rate), step)| (rate - 0.001 * f64::from(step)).abs() < 1e-12), "{rates:?}");
    assert!(rates.last().unwrap().1 <= 0.0025, "no plateau was found: {rates:?}");
}

#[test]
fn the_rate_follows_its_schedule_and_may_change_when_a_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    with_text(at);
    let train = TRAIN.replace("--steps 300", "--steps 40");
    succeed(at, &format!("{train} --schedule cosine --warmup 8 --out run"));
    for (step, rate) in numbers(&at.join("run"), "lr") {
        let expected = match step {
            ..=8 => 0.02 * step as f64 / 8.0,
            _ => 0.01 * (1.0 + (PI * (step - 9) as f64 / 32.0).cos()),
        };
        assert!((rate - expected).abs() < 1e-12, "step {step}: {rate}, expected {expected}");
    }
    succeed(at, "train --resume run --steps 50 --schedule constant --lr 0.003 --clip 0.01 --evaluate-every off");
    let rates = numbers(&at.join("run"), "lr");
    assert!(rates.len() == 50 && rates[40..].iter().all(|(_, rate)| *rate == 0.003), "{rates:?}");
    let toml: toml::Table = fs::read_to_string(at.join("run/run.toml")).unwrap().parse().unwrap();
    assert_eq!(toml["settings"]["network"]["clip"].as_float().map(|clip| clip as f32), Some(0.01));
}

#[test]
fn a_run_is_as_many_steps_as_its_passes_take_and_is_validated_ten_times() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    with_text(at);
    // 1,080 characters train, in two streams of 539: 33 windows of 16.
    let train = TRAIN.replace("--steps 300 --evaluate-every 20", "--epochs 2");
    let summary = json(at, &format!("{train} --out run --json"));
    assert_eq!(summary["steps"], 66);
    let steps: Vec<u64> = numbers(&at.join("run"), "validation_loss").into_iter().map(|(step, _)| step).collect();
    assert_eq!(steps, [6, 12, 18, 24, 30, 36, 42, 48, 54, 60, 66]);
    assert_eq!(json(at, "train --resume run --epochs 3 --json")["steps"], 99);
}

/// Three batches make a training step: a pass has a third of the steps, and an interrupted run goes on with the same bits.
#[test]
fn several_batches_make_a_training_step() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    with_text(at);
    let train = format!("{TRAIN} --accumulate 3 --layers 2 --dropout 0.2");
    let train = train.replace("--steps 300 --evaluate-every 20", "--evaluate-every 4");
    assert_eq!(json(at, &format!("{train} --epochs 2 --out whole --json"))["steps"], 22);
    succeed(at, &format!("{train} --steps 9 --out part"));
    succeed(at, "train --resume part --epochs 2");
    assert_eq!(bytes(&at.join("whole"), "checkpoint.safetensors"), bytes(&at.join("part"), "checkpoint.safetensors"));
    assert_eq!(numbers(&at.join("whole"), "loss"), numbers(&at.join("part"), "loss"));
    succeed(at, "evaluate whole");
    succeed(at, "sample whole --length 5");
    let (code, _, err) = run(at, "train --resume part --accumulate 2 --steps 30");
    assert!(code == 2 && err.contains("--accumulate <N>"), "{err}");
    expect(at, &[("train --text text --accumulate 0 --steps 1 --backend cpu --out x", 2, "--accumulate")]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    with_text(at);
    succeed(at, &format!("{} --out run", TRAIN.replace("300", "20")));
    let train = "train --text text --hidden 4 --batch 2 --steps 3 --backend cpu --out x";
    let (code, _, err) = run(at, "train --resume run --hidden 4");
    assert!(code == 2 && err.contains("--hidden <N>") && !err.contains("--layers"), "{err}");
    expect(
        at,
        &[
            (&format!("{train} --beta1 0.5 --optimizer sgd"), 2, "--beta1 needs --optimizer adam or adamw; this run has sgd"),
            (&format!("{train} --weight-decay 0.5"), 2, "--weight-decay needs --optimizer adamw; this run has adam"),
            (&format!("{train} --epsilon 0"), 2, "0 is not positive and finite in f32"),
            (&format!("{train} --schedule cosines"), 2, "expected constant, linear, cosine, step:N:γ"),
            (&format!("{train} --schedule step:0:0.5"), 2, "the steps of schedule step:0:0.5 must be at least 1"),
            (&format!("{train} --patience 3 --validation 0"), 2, "--patience needs validations, and nothing is held out"),
            (&format!("{train} --schedule plateau:1:0.5 --evaluate-every off"), 2, "--evaluate-every is off"),
            ("train --epochs 3 --backend cpu --out x", 2, "--epochs needs data of a fixed size, and the sequences of adding are"),
            (&format!("{train} --schedule onecycle --warmup 2"), 2, "schedule onecycle has a warm-up of its own"),
            (&format!("{train} --warmup 4"), 2, "--warmup 4: it does not end, since the run has 3 training steps"),
            (&format!("{train} --min-delta 0.1"), 2, "--min-delta is for runs with --patience"),
            ("study gradients --checkpoint last", 2, "--checkpoint is for --run"),
            ("predict run --text text --out run/best.safetensors", 2, "--out would overwrite"),
            ("train --best accuracy --backend cpu --out x", 2, "--best accuracy: it is of classes"),
            (&format!("{train} --best accuracy --validation 0"), 2, "--best accuracy needs validations, and nothing is held out"),
            (&format!("{train} --patience x"), 2, "expected off or a whole number"),
            ("train --resume run --steps 10", 2, "is at step 20, and the run ends at step 10; give --steps above 20"),
        ],
    );
    assert!(!at.join("x").exists());
}

/// A rate that is too large at first is halved until the run gets on, from checkpoints that were finite.
#[test]
fn a_run_that_diverges_goes_on_with_a_smaller_rate() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    with_text(at);
    // Units without bounds and plain descent.
    let train = "train --text text --hidden 32 --activation identity --optimizer sgd --batch 2 --window 16 --steps 60 \
                 --checkpoint-every 10 --evaluate-every 3 --loss-every 1 --backend cpu";
    let (code, _, err) = run(at, &format!("{train} --lr 1 --out stopped"));
    assert!(code == 6 && !err.contains("It goes on"), "{code}: {err}");
    let (code, _, err) = run(at, &format!("{train} --lr 1 --on-divergence rollback --out run"));
    assert!(code == 0 && (1..=3).contains(&err.matches("The run diverged at step").count()), "{code}: {err}");
    let (losses, rates) = (numbers(&at.join("run"), "loss"), numbers(&at.join("run"), "lr"));
    assert_eq!(losses.iter().map(|(step, _)| *step).collect::<Vec<_>>(), (1..=60).collect::<Vec<_>>());
    let count = err.matches("The run diverged at step").count() as i32;
    let is_halved = |rate: f64| (0..=count).any(|halved| rate == 0.5_f64.powi(halved));
    assert!(losses.iter().all(|(_, loss)| loss.is_finite()) && rates.iter().all(|(_, rate)| is_halved(*rate)), "{rates:?}");
    assert_eq!(rates.last().unwrap().1, 0.5_f64.powi(count));
    // It is remembered.
    succeed(at, "train --resume run --steps 62");
    assert_eq!(numbers(&at.join("run"), "lr")[61].1, rates.last().unwrap().1);
    // Not for ever.
    let (code, _, err) = run(at, &format!("{train} --lr 1e30 --on-divergence rollback --out wild"));
    assert!(code == 6 && err.matches("It goes on from step").count() == 3, "{code}: {err}");
}

/// A validation that was interrupted is owed: it is made before the next step, once, and what follows from it follows.
#[test]
fn an_interrupted_validation_is_made_when_the_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    with_text(at);
    let end = json(at, &format!("{TRAIN} --patience 3 --out whole --json"))["steps"].as_u64().unwrap();
    let short = TRAIN.replace("--steps 300", "--steps 10");
    succeed(at, &format!("{short} --patience 3 --out run"));
    // Interrupted in the validation at which the run would have ended, and at once again.
    let run_path = at.join("run");
    for _ in 0..2 {
        let (mut checkpoint, _, _) = Checkpoint::of_run(&run_path).unwrap();
        checkpoint.origin.settings.steps = 300;
        checkpoint.origin.settings.data = Choice::Text(at.join("text"));
        let opened = checkpoint.reopen(None, false).unwrap();
        let mut last = checkpoint.step;
        let open = || Folder::of_run(&run_path);
        let stopped = Training::resume(&checkpoint, opened, &Compute::Cpu(Some(1)), open).unwrap().run(|event| match event {
            Event::Logged(Metrics::Step { step, .. }) => {
                last = *step;
                ControlFlow::Continue(())
            }
            Event::Evaluating(_) if last == end => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        assert!(matches!(stopped, Err(Error::Interrupted { step, .. }) if step == end), "{stopped:?}, expected the end at {end}");
    }
    let more = json(at, "train --resume run --json");
    assert_eq!((&more["steps"], &more["stopped_early"]), (&Value::from(end), &Value::from(true)));
    let of = |run: &str| numbers(&at.join(run), "validation_loss");
    // The run of ten steps was measured at its end.
    assert_eq!(of("run").into_iter().filter(|(step, _)| *step != 10).collect::<Vec<_>>(), of("whole"));
    assert!(bytes(&run_path, "best.safetensors") == bytes(&at.join("whole"), "best.safetensors"));
}

/// A better network that was kept after the checkpoint is not lost to a worse one, and goes with the data and the measure that it was
/// chosen by.
#[test]
fn the_best_is_that_of_the_whole_run() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    with_text(at);
    let train = TRAIN.replace("--steps 300", "--steps 100");
    succeed(at, &format!("{train} --checkpoint-every 100 --out run"));
    let metadata = |file: &str| Tensors::read(at.join("run").join(file)).unwrap().metadata;
    let best_loss = || json(at, "runs run --json")[0]["best"]["value"].as_f64().unwrap();
    let best: u64 = metadata("best.safetensors")["step"].parse().unwrap();
    let (before, kept) = (best_loss(), fs::read(at.join("run/best.safetensors")).unwrap());
    // From an older checkpoint with a rate at which nothing gets better.
    fs::rename(at.join("run/checkpoint.previous.safetensors"), at.join("run/checkpoint.safetensors")).unwrap();
    let saved: u64 = metadata("checkpoint.safetensors")["step"].parse().unwrap();
    assert!(best > saved, "{best} {saved}");
    succeed(at, "train --resume run --lr 1e-7 --steps 140");
    assert_eq!(best_loss(), before);
    assert!(fs::read(at.join("run/best.safetensors")).unwrap() == kept);

    // Its data are where they are now.
    fs::create_dir(at.join("there")).unwrap();
    fs::rename(at.join("text"), at.join("there/text")).unwrap();
    succeed(at, "train --resume run --text there/text --steps 150");
    assert_eq!(json(at, "evaluate run --json")["loss"].as_f64().unwrap(), before);
    // Accuracies are not compared with losses.
    succeed(at, "train --resume run --best accuracy --steps 160");
    assert!(best_loss() < 1.0 && metadata("best.safetensors")["step"] == "160");
    // The best on other data is kept apart.
    fs::write(at.join("other"), text(1300)).unwrap();
    succeed(at, "train --resume run --text other --new-data --steps 170 --evaluate-every 50");
    assert!(at.join("run/best.previous.safetensors").exists() && metadata("best.safetensors")["step"] == "170");
}

#[test]
fn a_run_that_ended_early_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    with_text(at);
    let train = TRAIN.replace("--loss-every 1", "--loss-every 300");
    let ended = json(at, &format!("{train} --patience 2 --min-delta 1e-6 --out run --json"));
    let end = ended["steps"].as_u64().unwrap();
    assert!(ended["stopped_early"] == true && end < 240);
    // The step that it ended after is logged, as a last one is.
    let losses = numbers(&at.join("run"), "loss");
    assert_eq!(losses, [(end, ended["loss"].as_f64().unwrap())]);
    assert!(ended["ms_per_step"].as_f64().unwrap() > 0.0);
    assert!(succeed(at, "runs run").contains(&format!("{end} of 300, stopped early")));
    // As patient as at the start, or without an end.
    let more = json(at, "train --resume run --json");
    let next = more["steps"].as_u64().unwrap();
    assert!(next >= end + 40 && more["stopped_early"] == true, "{more}");
    let more = json(at, &format!("train --resume run --patience off --steps {} --json", next + 70));
    assert_eq!((more["steps"].as_u64().unwrap(), &more["stopped_early"]), (next + 70, &Value::from(false)));
}

#[test]
fn runs_are_listed_and_drawn_together() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    with_text(at);
    let train = TRAIN.replace("--steps 300", "--steps 40");
    succeed(at, &format!("{train} --out runs/first"));
    succeed(at, &format!("{train} --cell gru --layers 2 --best accuracy --out runs/second"));
    fs::create_dir(at.join("runs/empty")).unwrap();
    let listed = succeed(at, "runs");
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines.len() == 3 && lines[1].starts_with("first") && lines[2].contains("gru 2 × 48"), "{listed}");
    let all = json(at, "runs --json");
    let best = numbers(&at.join("runs/first"), "validation_loss").into_iter().map(|(_, loss)| loss).fold(f64::INFINITY, f64::min);
    assert_eq!((&all[0]["data"], &all[0]["step"], &all[0]["best"]["value"]), (&"text".into(), &40.into(), &best.into()));
    assert!(all[1]["best"]["value"].as_f64().unwrap() < 1.0 && lines[2].contains("accuracy 0."), "{listed}");
    assert_eq!(succeed(at, "runs runs/second").lines().count(), 2);

    succeed(at, "plot runs/first runs/second --out both.svg");
    let drawn = fs::read_to_string(at.join("both.svg")).unwrap();
    for text in ["first", "second", "training loss", "validation loss", "norm of the gradient", "learning rate"] {
        assert!(drawn.contains(text), "{text}");
    }
    // A run that has no metrics is left out, unless there are no others.
    fs::create_dir(at.join("runs/new")).unwrap();
    fs::copy(at.join("runs/first/checkpoint.safetensors"), at.join("runs/new/checkpoint.safetensors")).unwrap();
    fs::write(at.join("runs/new/metrics.jsonl"), "").unwrap();
    let (code, _, err) = run(at, "plot runs/new runs/first --out some.svg");
    assert!(code == 0 && err.contains("runs/new has no metrics and is left out.") && at.join("some.svg").exists(), "{err}");
    expect(at, &[("plot runs/new --out x.svg", 7, "has no metrics to draw")]);
    fs::remove_dir_all(at.join("runs/new")).unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("runs/first/best.safetensors", at.join("link.svg")).unwrap();
        expect(at, &[("plot runs/first --out link.svg", 2, "--out would overwrite")]);
    }
    // One that cannot be read is left out of the list, and an error of the figure.
    fs::create_dir(at.join("runs/broken")).unwrap();
    fs::write(at.join("runs/broken/checkpoint.safetensors"), "broken").unwrap();
    let (code, out, err) = run(at, "runs");
    assert!(code == 0 && out.lines().count() == 3 && err.contains("left out"), "{out}{err}");
    expect(
        at,
        &[
            ("plot runs/first runs/broken --out x.svg", 7, "broken"),
            ("plot runs/first --out x.pdf", 2, "figures are .svg or .png"),
            ("plot --out x.svg", 2, "<RUN>"),
            ("runs nowhere", 7, "nowhere: cannot be read"),
            ("evaluate nowhere --checkpoint best", 7, "nowhere"),
        ],
    );
    assert!(!at.join("x.svg").exists());
    // Where no folder is named, none is needed.
    let (code, out, err) = run(&at.join("runs/empty"), "runs");
    assert!(code == 0 && out.is_empty() && err.contains("There are no runs in runs."), "{out}{err}");
    let (code, out, err) = run(at, "runs runs/empty");
    assert!(code == 0 && out.is_empty() && err.contains("There are no runs in runs/empty."), "{out}{err}");
}

/// A loss that explodes and stays finite is said, and the checkpoint from before it stays, until the run ends with a loss as it should be.
#[test]
fn the_checkpoint_from_before_an_explosion_stays() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("run");
    let before = at.join("checkpoint.before.safetensors");
    let line = "train --task adding --window 4 --activation tanh --recurrent-init uniform --hidden 4 --batch 4 --optimizer rmsprop --lr 3 \
                --schedule step:3:0.3 --steps 4 --loss-every 1 --checkpoint-every 1 --evaluate-every off --backend cpu --out run";
    let (code, out, err) = run(folder.path(), line);
    assert!(
        code == 0 && err.contains("was 1.7") && err.contains("stays until the run ends well: run/checkpoint.before.safetensors"),
        "{err}"
    );
    assert!(out.contains("the loss was 100 times the first and has not come back"), "{out}");
    let losses = numbers(&at, "loss");
    let (first_exploded, _) = losses.iter().find(|(_, loss)| *loss > 100.0 * losses[0].1).unwrap();
    let step = |path: &Path| Tensors::read(path).unwrap().metadata("step").unwrap().parse::<u64>().unwrap();
    assert!(step(&before) < *first_exploded && step(&at.join("checkpoint.safetensors")) == 4);

    // The loss comes down again: nothing is left of it. The first loss is known from the metrics.
    let (code, out, err) = run(folder.path(), "train --resume run --steps 60 --backend cpu");
    assert!(code == 0 && !out.contains("100 times") && !before.exists(), "{out} {err}");
}
