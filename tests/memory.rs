//! Training takes the memory that its plan says, and the same after 10,000 steps as after a few. A test of its own process: the memory of a process is that
//! of all its threads.
#![cfg(target_os = "linux")]

use ndarray::Array3;
use retrospect::backend::Compute;
use retrospect::batch::{Batch, InitialState, Input, Inputs, Loss, Targets};
use retrospect::data::{Choice, Options, Task};
use retrospect::model::{Config, Model, RecurrentInit};
use retrospect::network::Network;
use retrospect::train::{Checkpoint, DeviceRecord, Origin, Settings, Validations};

/// The process's resident memory in KiB.
fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a process has memory");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}

/// The most that the process has had so far, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a process has memory");
    1024 * line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number")
}

/// What it grows by while `step` runs so many times, after a tenth as many to warm up.
fn growth(steps: u64, mut step: impl FnMut(u64)) -> i64 {
    (0..steps / 10).for_each(&mut step);
    let before = resident();
    (0..steps).for_each(&mut step);
    resident() - before
}

/// One test, since the memory is that of all threads.
#[test]
fn memory_is_what_was_planned_and_does_not_grow() {
    ten_thousand_steps_take_no_memory();
    the_plan_is_what_it_takes();
    whatever_reads_or_writes_weights_takes_no_copy_of_them();
}

fn ten_thousand_steps_take_no_memory() {
    const LIMIT: i64 = 1024;
    let mut source = (Task::named("copy-memory").unwrap().source)(&Options { seed: 1, batch: 3, window: 1 }).unwrap();
    let (shape, (window, batch)) = (source.shape(), source.window());
    let config = Config::new(shape.input, 19, shape.targets, shape.kind.usual_loss(), batch, window);
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

/// Buffers that share memory, and states that are recomputed: by the plan, which `steps --memory` prints and the process keeps to.
fn the_plan_is_what_it_takes() {
    let config = Config::new(Input::Vectors(2), 512, 1, Loss::SquaredError, 16, 4096);
    let bytes = |config: &Config| Model::new(config).unwrap().program().plan().bytes();
    let all = Model::new(&config).unwrap().program().bytes();
    let states = 4096 * 16 * 512 * 4;
    // Of the input's sums, the states, the gradients of both: three and not four.
    assert!(all > 4 * states && bytes(&config) < 13 * states / 4, "{} of {all}", bytes(&config));
    let segments = Config { recompute: Some(64), ..config.clone() };
    assert!(bytes(&segments) * 5 < bytes(&config), "{} and {}", bytes(&segments), bytes(&config));
    // A further layer adds its states alone, and its weights.
    let deep = Config { layers: 3, ..config.clone() };
    assert!(bytes(&deep) < bytes(&config) + 9 * states / 4, "{} and {}", bytes(&deep), bytes(&config));

    // What the process takes, while it trains.
    let small = Config { window: 512, hidden: 256, ..config };
    let before = resident();
    let mut network = Network::new(&small, &Compute::Cpu(Some(2))).unwrap();
    network.initialise(1, RecurrentInit::Uniform).unwrap();
    let (x, y) = (Array3::zeros((512, 16, 2)), Array3::zeros((512, 16, 1)));
    let batch = Batch::new(Inputs::Vectors(x), Targets::Values(y));
    (0..3).for_each(|_| network.train_step(&batch, 0.01).unwrap());
    let (taken, planned) = ((resident() - before) * 1024, bytes(&small) as i64);
    assert!(taken * 4 < planned * 5 + (4 << 22), "{taken} bytes for a plan of {planned}");
    assert!(taken * 5 > planned * 4, "{taken} bytes for a plan of {planned}: this measures nothing");
}

/// Initial weights, a checkpoint, the way back from it, a gradient's file: none of it takes half of a weight beside the network. The last
/// of this process, whose peak counts.
fn whatever_reads_or_writes_weights_takes_no_copy_of_them() {
    const HIDDEN: usize = 4096;
    let weight = 4 * (HIDDEN * HIDDEN) as u64;
    let options = Options { seed: 1, batch: 1, window: 4 };
    let mut source = (Task::named("adding").unwrap().source)(&options).unwrap();
    let shape = source.shape();
    let config = Config::new(shape.input, HIDDEN, shape.targets, shape.kind.usual_loss(), 1, 4);
    let settings = Settings { steps: 1, lr: 0.01, ..Settings::new(Choice::Task("adding".into()), config.clone()) };
    let origin =
        Origin { settings, vocabulary: None, columns: None, fingerprints: Default::default(), device: DeviceRecord::default() };
    let compute = Compute::Cpu(Some(2));
    let [places, working] = compute.memory(Model::new(&config).unwrap().program());
    assert!(places > 5 * weight && working >= weight, "the weight, its transpose, its gradient, two states");
    let before = resident() as u64 * 1024;
    let check = |what: &str, planned: u64| {
        let taken = peak() - before;
        assert!(taken < planned + weight / 2, "{what} took {taken} bytes for a plan of {planned}");
        assert!(taken + weight > planned, "{what} took {taken} bytes for a plan of {planned}: this measures nothing");
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let mut network = Network::new(&config, &compute).unwrap();
    network.initialise(1, RecurrentInit::Identity).unwrap();
    network.initialise(1, RecurrentInit::Uniform).unwrap();
    check("initialising", places);
    Checkpoint::write(&origin, &Validations::default(), &mut network, &path).unwrap();
    check("saving", places);
    let checkpoint = Checkpoint::read(&path).unwrap();
    checkpoint.restore(&mut network).unwrap();
    checkpoint.load_parameters(&mut network).unwrap();
    check("going on", places);

    // Planted: a copy of a weight beside the network is seen by the same measurement.
    let copy = std::hint::black_box(vec![1.0f32; HIDDEN * HIDDEN]);
    checkpoint.restore(&mut network).unwrap();
    let taken = peak() - before;
    assert!(taken >= places + weight, "{taken} bytes with a copy of {} for a plan of {places}", 4 * copy.len());
    drop(copy);

    // The steps lay the weight out anew.
    network.write_gradient(&source.batch(0), None, folder.path().join("gradient")).unwrap();
    check("a gradient", places + working);
}
