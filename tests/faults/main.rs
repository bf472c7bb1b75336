//! Faults at every point of a short training: the process is killed, the disk is full or broken, the driver of the GPU fails or never answers.
//! Whatever happens, the program ends in time with an exit code that fits, and a run that goes on ends with the bits of one that nothing
//! happened to.
//!
//! `cargo test` plants a sample. `scripts/faults` plants all of them, with `RETROSPECT_FAULTS=all`, and keeps the table. The tools that make the
//! faults need Linux and a C compiler, which Rust needs there too.

#![cfg(target_os = "linux")]

mod plan;
mod retry;
mod silence;
mod table;
mod tools;
mod trial;

use std::sync::Mutex;

use plan::Fault;
use retrospect::backend::Adapter;
use table::Table;
use tools::Tools;
use trial::{Outcome, Training};

/// Trials at the same time.
const WORKERS: usize = 2;

/// Of each kind, the faults of a sample.
const SAMPLE: usize = 6;

/// So many of a list, from all over it.
fn spread(faults: Vec<Fault>, most: usize) -> Vec<Fault> {
    let count = faults.len();
    let is_chosen = |place: usize| count <= most || place * most / count != (place + 1) * most / count;
    faults.into_iter().enumerate().filter(|(place, _)| is_chosen(*place)).map(|(_, fault)| fault).collect()
}

/// Plants faults, each in a training of its own, some at the same time.
fn plant(faults: &[Fault], trainings: &[Training; 2], tools: &Tools) -> Table {
    let queue = Mutex::new(faults.iter().enumerate());
    let table = Mutex::new(Table::default());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let Some((number, fault)) = queue.lock().unwrap().next() else { return };
                    let training = trainings.iter().find(|training| training.backend == fault.backend).unwrap();
                    let outcome: Outcome = training.suffer(fault, tools);
                    for problem in &outcome.problems {
                        eprintln!("{fault}: {problem}");
                    }
                    table.lock().unwrap().add(fault, &outcome);
                    if (number + 1) % 100 == 0 {
                        eprintln!("{} of {} faults", number + 1, faults.len());
                    }
                }
            });
        }
    });
    table.into_inner().unwrap()
}

#[test]
fn nothing_is_lost_and_nothing_is_wrong() {
    let tools = Tools::build();
    let trainings = ["cpu", "gpu"].map(Training::undisturbed);
    let plans: Vec<Vec<Fault>> = trainings.iter().flat_map(|training| plan::faults(training, &tools)).collect();
    assert!(plans.len() > 15 && plans.iter().all(|faults| !faults.is_empty()), "of each kind there are some");
    let is_all = std::env::var("RETROSPECT_FAULTS").is_ok_and(|which| which == "all");
    let most = if is_all { usize::MAX } else { SAMPLE };
    let faults: Vec<Fault> = plans.into_iter().flat_map(|faults| spread(faults, most)).collect();
    let table = plant(&faults, &trainings, &tools);
    eprintln!("{table}");
    if let Some(path) = std::env::var_os("RETROSPECT_FAULTS_RESULT") {
        let adapter = pollster::block_on(Adapter::find(None)).expect("the tests need an adapter");
        std::fs::write(path, table.json(&format!("{} ({})", adapter.name, adapter.driver))).unwrap();
    }
    assert!(table.is_clean(), "see above");
    // The tools do something: nearly all calls that were counted came again.
    assert!(table.struck() * 10 >= faults.len() * 9, "{} of {} faults were met", table.struck(), faults.len());
}

#[test]
fn a_sample_is_from_all_over_a_list() {
    let fault = |number| Fault { kind: "x".into(), backend: "cpu", call: String::new(), number, act: "EIO" };
    let numbers =
        |count, most| -> Vec<usize> { spread((1..=count).map(fault).collect(), most).iter().map(|f| f.number).collect() };
    assert_eq!(numbers(10, 5), [2, 4, 6, 8, 10]);
    assert_eq!(numbers(3, 5), [1, 2, 3]);
    assert_eq!(numbers(7, 3).len(), 3);
}
