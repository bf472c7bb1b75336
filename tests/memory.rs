//! Training takes the same memory after 10,000 steps as after a few. A test of its own process: the memory of a process is that
//! of all its threads.
#![cfg(target_os = "linux")]

use retrospect::batch::{Batch, InitialState};
use retrospect::data::{Options, Task};
use retrospect::model::{Config, RecurrentInit};
use retrospect::network::{Compute, Network};

/// The process's resident memory in KiB.
fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a process has memory");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}

/// What it grows by while `step` runs so many times, after a tenth as many to warm up.
fn growth(steps: u64, mut step: impl FnMut(u64)) -> i64 {
    (0..steps / 10).for_each(&mut step);
    let before = resident();
    (0..steps).for_each(&mut step);
    resident() - before
}

#[test]
fn ten_thousand_steps_take_no_memory() {
    const LIMIT: i64 = 1024;
    let mut source = (Task::named("copy-memory").unwrap().source)(&Options { seed: 1, batch: 3, window: 1 }).unwrap();
    let (shape, (window, batch)) = (source.shape(), source.window());
    let config = Config::new(shape.input, 19, shape.outputs, shape.loss, batch, window);
    let config = Config { layers: 2, clip: Some(1.0), ..config };
    let mut network = Network::new(&config, &Compute::Cpu(Some(2))).unwrap();
    network.initialise(1, RecurrentInit::Uniform).unwrap();
    let batches: Vec<Batch> = (0..8).map(|k| Batch { initial_state: InitialState::Carried, ..source.batch(k) }).collect();
    let mut reported = 0;
    // As a training loop does: fetch every few steps, take what is there.
    let train = |step: u64| {
        network.train_step(&batches[step as usize % 8], 0.01).unwrap();
        if step.is_multiple_of(16) {
            network.fetch().unwrap();
        }
        reported += network.reports(false).unwrap().len();
    };
    let grown = growth(10_000, train);
    assert!(grown < LIMIT, "training grew by {grown} KiB");
    assert!(reported > 10_000, "only {reported} reports");

    // Planted: 256 bytes a step that nobody gives back are seen by the same measurement.
    let mut kept: Vec<Box<[u8]>> = Vec::new();
    let grown = growth(10_000, |step| kept.push(vec![step as u8 | 1; 256].into_boxed_slice()));
    assert!(grown >= LIMIT, "a leak of 2.4 MiB grew by {grown} KiB");
    assert_eq!(kept.len(), 11_000);
}
