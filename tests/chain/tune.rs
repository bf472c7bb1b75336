//! The choice of variants by measurement: what disagrees is never chosen, and no file of choices does harm.

use std::collections::BTreeMap;
use std::path::Path;

use super::device::{device, discrete_device};
use super::fixtures::with_text;
use retrospect::backend::Compute;
use retrospect::batch::{Input, Loss};
use retrospect::model::{Config, Model, Optimizer};
use retrospect::network::Network;
use retrospect::program::{Class, Kernel, Program, Variant};
use retrospect::registry;
use retrospect::tune::{Mode, Outcome, tune};

fn model() -> Model {
    let config = Config::new(Input::Vectors(5), 19, 3, Loss::SquaredError, 7, 4);
    Model::new(&Config { layers: 2, optimizer: Optimizer::Sgd, ..config }).unwrap()
}

fn tuned(program: &Program, mode: Mode, folder: &Path) -> (retrospect::backend::Device, Outcome) {
    let mut device = device().clone();
    let outcome = tune(&mut device, program, mode, Some(folder)).unwrap();
    (device, outcome)
}

/// What is said besides that there was no time for some shapes, as there may not be on a slow machine.
fn notes(outcome: &Outcome) -> Vec<&String> {
    outcome.notes.iter().filter(|note| !note.contains("there was no time for")).collect()
}

/// The only file in a folder.
fn file(folder: &Path) -> std::path::PathBuf {
    let mut files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let file = files.next().expect("a file was written");
    assert!(files.next().is_none());
    file
}

#[test]
fn every_shape_is_measured_once_and_the_fastest_runs() {
    let folder = tempfile::tempdir().unwrap();
    let model = model();
    let (device, first) = tuned(model.program(), Mode::Full, folder.path());
    assert!(first.notes.is_empty() && first.known == 0, "{first:?}");
    for measured in &first.measured {
        let times: Vec<(f64, &str)> = measured.candidates.iter().map(|c| (c.ms.expect("all agree"), c.variant)).collect();
        assert!(times.len() > 1, "{measured:?}");
        let fastest = times.iter().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        assert!(fastest.0 > 0.0 && fastest.1 == measured.chosen, "{measured:?}");
        let steps: Vec<_> = model.program().steps().iter().filter(|step| step.shape() == measured.shape).collect();
        assert!(
            !steps.is_empty()
                && steps.iter().all(|step| device.variant(step, &device.cuts(model.program())).name == measured.chosen),
            "{measured:?}"
        );
    }
    let several = |step: &&retrospect::program::Step| device.candidates(step, &device.cuts(model.program())).count() > 1;
    let mut shapes: Vec<String> = model.program().steps().iter().filter(several).map(|step| step.shape()).collect();
    shapes.sort();
    shapes.dedup();
    assert_eq!(first.measured.len(), shapes.len(), "one for each shape");

    let (_, again) = tuned(model.program(), Mode::Auto, folder.path());
    assert!(again.measured.is_empty() && again.known == shapes.len() && again.notes.is_empty(), "{again:?}");
    let (_, anew) = tuned(model.program(), Mode::Full, folder.path());
    assert_eq!(anew.measured.len(), shapes.len());
    let (_, off) = tuned(model.program(), Mode::Off, folder.path());
    assert!(off.measured.is_empty() && off.known == 0);
}

/// What a file says is used, if it is of this adapter, driver and version, and names variants that there are.
#[test]
fn a_file_that_is_damaged_or_of_something_else_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let model = model();
    tuned(model.program(), Mode::Full, folder.path());
    let path = file(folder.path());
    let right = std::fs::read_to_string(&path).unwrap();

    // Other ones, so that the file and not a measurement is seen to count.
    let mut other: serde_json::Value = serde_json::from_str(&right).unwrap();
    let cuts = device().cuts(model.program());
    let mut expected = BTreeMap::new();
    for step in model.program().steps() {
        let Some(choice) = other["choices"].get_mut(step.shape()) else { continue };
        let last = device().candidates(step, &cuts).last().unwrap();
        *choice = last.name.into();
        expected.insert(step.shape(), last.name);
    }
    assert!(expected.len() > 3 && right != serde_json::to_string_pretty(&other).unwrap());
    std::fs::write(&path, other.to_string()).unwrap();
    let (device, outcome) = tuned(model.program(), Mode::Auto, folder.path());
    assert!(outcome.measured.is_empty() && outcome.notes.is_empty(), "{outcome:?}");
    for step in model.program().steps() {
        let chosen = device.variant(step, &cuts).name;
        assert!(expected.get(&step.shape()).is_none_or(|name| *name == chosen), "{}: {chosen}", step.shape());
    }

    let of = |key: &str| right.lines().find(|line| line.contains(key)).unwrap().to_owned();
    for (text, said) in [
        ("{".to_owned(), "damaged"),
        (String::new(), "damaged"),
        (right.replace(&of("\"driver\""), "  \"driver\": \"another 1.0\","), "another 1.0"),
        (right.replace(&of("\"adapter\""), "  \"adapter\": \"a card\","), "a card"),
        (right.replace(&of("\"version\""), "  \"version\": \"0.0.1\","), "version 0.0.1"),
    ] {
        std::fs::write(&path, text).unwrap();
        let (_, outcome) = tuned(model.program(), Mode::Auto, folder.path());
        assert!(notes(&outcome).len() == 1 && notes(&outcome)[0].contains(said), "{said}: {:?}", outcome.notes);
        assert!(outcome.known == 0 && !outcome.measured.is_empty());
        // And it was written anew.
        assert_eq!(notes(&tuned(model.program(), Mode::Auto, folder.path()).1), [""; 0]);
    }
    // A variant of another time: only that shape is measured.
    let choice = right.lines().find(|line| line.contains("×")).and_then(|line| line.split("\": \"").nth(1)).expect("a choice");
    let choice = format!("\": \"{}\"", choice.split('"').next().expect("its name"));
    std::fs::write(&path, right.replacen(&choice, "\": \"of_another_time\"", 1)).unwrap();
    let (_, outcome) = tuned(model.program(), Mode::Auto, folder.path());
    assert!(outcome.measured.len() == 1 && outcome.notes.is_empty(), "{outcome:?}");

    // A place that cannot be written is no failure.
    let (_, outcome) = tuned(model.program(), Mode::Auto, &path);
    assert!(!outcome.measured.is_empty() && outcome.not_kept.is_some_and(|problem| problem.contains("cannot be written")));
}

/// A variant that is wrong is left out however fast it is, and said so: one that fails its own check, and one that is only wrong at
/// the step's size.
#[test]
fn a_variant_that_disagrees_is_never_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let right = registry::kernels().into_iter().find(|k| k.name == "gemm_tn").unwrap();
    let usual = right.variants.iter().find(|v| v.name == "software").unwrap();
    for (edit, by) in [("for (var k = 1u;", "k from 1"), ("for (var k = select(0u, 1u, params.k > 100u);", "beyond 100 k from 1")]
    {
        let text: &'static str = usual.shaders[0].wgsl().replace("for (var k = 0u;", edit).leak();
        let shaders = vec![with_text(&usual.shaders[0], text)].leak();
        let wrong = Variant { name: "subgroup", class: Class::Any, shaders, ..*usual };
        let kernel: &'static Kernel =
            Box::leak(Box::new(Kernel { variants: vec![Variant { class: Class::Any, ..*usual }, wrong].leak(), ..*right }));
        let mut program = Program::new();
        (right.sample)(&mut program, [33, 17, 257]);
        program.steps_mut()[0].kernel = kernel;
        let (device, outcome) = tuned(&program, Mode::Full, folder.path());
        let measured = &outcome.measured[0];
        assert_eq!(
            (measured.chosen, device.variant(&program.steps()[0], &device.cuts(&program)).name),
            ("software", "software"),
            "{by}"
        );
        let left_out = measured.candidates.iter().find(|c| c.variant == "subgroup").unwrap();
        assert!(left_out.ms.is_none() && left_out.problem.is_some(), "{by}: {left_out:?}");
    }
}

/// Recording and synchronising cost time for each of them: few besides the loop over time, which has two for each step where the sums are
/// in parts.
#[test]
fn a_training_step_has_few_dispatches() {
    let discrete = discrete_device();
    for device in [device(), &discrete] {
        for (input, loss) in [(Input::Tokens(19), Loss::CrossEntropy), (Input::Vectors(5), Loss::SquaredError)] {
            let dispatches = |layers| {
                let config = Config { layers, clip: Some(1.0), ..Config::new(input, 64, 19, loss.clone(), 8, 10) };
                let mut network = Network::new(&config, &Compute::Gpu(device.clone())).unwrap();
                let program = network.model().program().clone();
                let steps = network.model().forward.start..network.model().carry.end;
                let besides = steps.filter(|&step| !program.steps()[step].kernel.name.starts_with("elman"));
                besides.map(|step| network.backend().dispatches(step)).sum::<u64>()
            };
            assert!(dispatches(1) <= 18 && dispatches(3) <= 19 + 2 * 8, "{} and {}", dispatches(1), dispatches(3));
        }
    }
}

/// Gates whose columns are no multiple of four have zeros between them, which kernels rely on: with any numbers there, right variants would
/// disagree.
#[test]
fn cells_of_several_gates_are_measured_at_odd_sizes() {
    for cell in retrospect::cells::ALL {
        for (hidden, bidirectional) in [(9, true), (18, false)] {
            let config = Config::new(Input::Vectors(5), hidden, 3, Loss::SquaredError, 4, 12);
            let model = Model::new(&Config { cell, bidirectional, ..config }).unwrap();
            let (_, outcome) = tuned(model.program(), Mode::Full, tempfile::tempdir().unwrap().path());
            let recurrences = outcome.measured.iter().filter(|measured| measured.shape.starts_with(cell.name));
            assert_eq!(recurrences.clone().count(), 2, "{}: {outcome:?}", cell.name);
            let agree = recurrences.flat_map(|measured| &measured.candidates).all(|candidate| candidate.problem.is_none());
            assert!(agree, "{} of {hidden} units: {outcome:?}", cell.name);
        }
    }
    // The variants that are made for GPUs.
    let gru = retrospect::cells::Cell::named("gru").expect("a GRU");
    let config = Config::new(Input::Vectors(5), 9, 3, Loss::SquaredError, 4, 12);
    let model = Model::new(&Config { cell: gru, ..config }).unwrap();
    let outcome = tune(&mut discrete_device(), model.program(), Mode::Auto, None).unwrap();
    let problems: Vec<_> =
        outcome.measured.iter().flat_map(|measured| &measured.candidates).filter(|c| c.problem.is_some()).collect();
    assert!(!outcome.measured.is_empty() && problems.is_empty(), "{problems:?}");
}
