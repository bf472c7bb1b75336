//! `Network::step`: the same numbers as whole sequences, and no allocation. A test binary of its own, since the allocator is the process's;
//! each thread counts for itself.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ndarray::{Array2, Array3, s};
use retrospect::Activation;
use retrospect::backend::{Adapter, Compute, Cpu, Device, InstructionSet};
use retrospect::batch::{Batch, InitialState, Input, Inputs, Loss, Sequences, Targets};
use retrospect::cells;
use retrospect::model::{Biases, Config, Model, RecurrentInit};
use retrospect::network::{Network, StepInputs};
use retrospect::train::Training;

/// The example.
#[expect(dead_code, reason = "its `main` is not called here")]
#[path = "../examples/forecast.rs"]
mod forecast;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    // A thread that ends may free and allocate when its own variables are gone.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: all of it is the system's allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(pointer, layout, size) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The allocations of this thread while something runs.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

const STEPS: usize = 23;

/// Networks of every cell, of one and three layers, for one and five sequences of vectors and of tokens.
fn configs() -> Vec<Config> {
    let mut all = Vec::new();
    for cell in cells::ALL {
        for (layers, batch, hidden) in [(1, 1, 16), (3, 1, 40), (1, 5, 7), (3, 5, 19)] {
            for (input, loss, outputs) in
                [(Input::Vectors(3), Loss::SquaredError, 2), (Input::Tokens(11), Loss::CrossEntropy, 11)]
            {
                let config = Config::new(input, hidden, outputs, loss, batch, STEPS);
                let biases = if layers == 1 { Biases::One } else { Biases::Two };
                let activation = if cell.has_activation && batch == 5 { Activation::Sigmoid } else { Activation::Tanh };
                all.push(Config { cell, layers, biases, activation, ..config });
            }
        }
    }
    all
}

/// Sequences that a network reads.
fn inputs(config: &Config, steps: usize) -> Inputs {
    match config.input {
        Input::Vectors(size) => Inputs::Vectors(Array3::from_shape_fn((steps, config.batch, size), |(t, b, i)| {
            ((t * 31 + b * 17 + i * 7) % 23) as f32 / 11.0 - 1.0
        })),
        Input::Tokens(size) => {
            Inputs::Tokens(Array2::from_shape_fn((steps, config.batch), |(t, b)| ((t * 7 + b * 5) % size) as u32))
        }
    }
}

/// One of their time steps.
fn at(inputs: &Inputs, t: usize) -> StepInputs<'_> {
    match inputs {
        Inputs::Vectors(x) => StepInputs::Vectors(x.slice(s![t, .., ..]).to_slice().unwrap()),
        Inputs::Tokens(x) => StepInputs::Tokens(x.slice(s![t, ..]).to_slice().unwrap()),
    }
}

fn network(config: &Config) -> Network {
    let mut network = Network::new(config, &Compute::Cpu(Some(1))).unwrap();
    network.initialise(3, RecurrentInit::Uniform).unwrap();
    network
}

/// How far numbers are from each other at most.
fn difference<'a>(a: impl IntoIterator<Item = &'a f32>, b: impl IntoIterator<Item = &'a f32>) -> f32 {
    a.into_iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn steps_are_what_whole_sequences_are() {
    for config in configs() {
        let (mut whole, mut single) = (network(&config), network(&config));
        let inputs = inputs(&config, STEPS);
        let expected = whole.predict(&Sequences::new(inputs.clone())).unwrap();
        let mut outputs = vec![0.0; config.batch * config.outputs];
        for t in 0..STEPS {
            single.step(at(&inputs, t), &mut outputs).unwrap();
            let off = difference(&outputs, expected.outputs.slice(s![t, .., ..]));
            assert!(off < 2e-6, "step {t} is off by {off:e}: {config:?}");
        }
        // The states are the network's: whatever comes next goes on from there, and a step from what came before.
        for (name, state) in single.state().unwrap() {
            assert!(difference(&state, &expected.states[&name]) < 2e-6, "{name}: {config:?}");
        }
        let carried = |network: &mut Network, t: usize| {
            let Inputs::Vectors(x) = &inputs else { return None };
            let x = Inputs::Vectors(x.slice(s![t..=t, .., ..]).to_owned());
            let found = network.predict(&Sequences { initial_state: InitialState::Carried, ..Sequences::new(x) }).unwrap();
            Some(found.outputs)
        };
        let pairs = (carried(&mut whole, 0), carried(&mut single, 0));
        if let (Some(expected), Some(found)) = pairs {
            assert!(difference(&found, &expected) < 2e-6, "{config:?}");
            single.step(at(&inputs, 1), &mut outputs).unwrap();
            assert!(difference(&outputs, &carried(&mut whole, 1).unwrap()) < 2e-6, "{config:?}");
        }
    }
}

#[test]
fn steps_allocate_nothing() {
    for config in configs() {
        let mut network = network(&config);
        let inputs = inputs(&config, STEPS);
        let mut outputs = vec![0.0; config.batch * config.outputs];
        let first = allocations(|| network.step(at(&inputs, 0), &mut outputs).unwrap());
        let count = allocations(|| {
            (1..STEPS).for_each(|t| network.step(at(&inputs, t), &mut outputs).unwrap());
            network.reset_state(config.batch).unwrap();
            network.step(at(&inputs, 0), &mut outputs).unwrap();
        });
        assert!(first > 0, "allocations are counted");
        assert_eq!(count, 0, "{config:?}");
    }
}

/// New weights are those of the next step.
#[test]
fn steps_follow_the_weights() {
    let config =
        Config { cell: cells::Cell::named("gru").unwrap(), ..Config::new(Input::Vectors(3), 9, 2, Loss::SquaredError, 2, 4) };
    let (mut whole, mut single) = (network(&config), network(&config));
    let inputs = inputs(&config, 4);
    let targets = Targets::Values(Array3::from_shape_fn((4, 2, 2), |(t, b, o)| (t + b + o) as f32 / 4.0));
    let batch = Batch::new(inputs.clone(), targets);
    let check = |whole: &mut Network, single: &mut Network| {
        let expected = whole.predict(&Sequences::new(inputs.clone())).unwrap().outputs;
        let mut outputs = [0.0; 4];
        single.reset_state(2).unwrap();
        single.step(at(&inputs, 0), &mut outputs).unwrap();
        assert!(difference(&outputs, expected.slice(s![0, .., ..])) < 1e-6);
        outputs
    };
    let before = check(&mut whole, &mut single);
    for network in [&mut whole, &mut single] {
        network.train_step(&batch, 0.1).unwrap();
    }
    let trained = check(&mut whole, &mut single);
    let parameters = whole.parameters().unwrap().into_iter().map(|(name, values)| (name, values * 0.5)).collect();
    for network in [&mut whole, &mut single] {
        network.set_parameters(&parameters).unwrap();
    }
    let set = check(&mut whole, &mut single);
    assert!(before != trained && trained != set);
}

/// Each sum has the same bits with all vector instructions.
#[test]
fn steps_have_the_same_bits_with_all_instructions() {
    for config in configs() {
        let inputs = inputs(&config, 5);
        let found = InstructionSet::available().into_iter().map(|set| {
            let model = Model::new(&config).unwrap();
            let cpu = Cpu::with_instructions(model.program(), Some(1), set).unwrap();
            let mut network = Network::on(model, Box::new(cpu));
            network.initialise(3, RecurrentInit::Uniform).unwrap();
            let mut outputs = vec![0.0; config.batch * config.outputs];
            (0..5).for_each(|t| network.step(at(&inputs, t), &mut outputs).unwrap());
            outputs
        });
        let found: Vec<Vec<f32>> = found.collect();
        assert!(found.iter().all(|outputs| *outputs == found[0]), "{config:?}");
    }
}

#[test]
fn another_backend_takes_its_program() {
    let config = Config { window: 1, ..Config::new(Input::Vectors(3), 9, 2, Loss::SquaredError, 2, 4) };
    let adapter = pollster::block_on(Adapter::find(None)).unwrap();
    let device = pollster::block_on(Device::open(&adapter)).unwrap();
    let mut gpu = Network::new(&config, &Compute::Gpu(device)).unwrap();
    gpu.initialise(3, RecurrentInit::Uniform).unwrap();
    let mut cpu = network(&config);
    let inputs = inputs(&config, 4);
    for t in 0..4 {
        let (mut expected, mut found) = ([0.0; 4], [0.0; 4]);
        cpu.step(at(&inputs, t), &mut expected).unwrap();
        gpu.step(at(&inputs, t), &mut found).unwrap();
        assert!(difference(&found, &expected) < 2e-6, "{found:?}, {expected:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let config = Config::new(Input::Vectors(2), 4, 3, Loss::SquaredError, 2, 5);
    let mut steps = network(&config);
    let mut refused = |inputs: StepInputs, outputs: usize, said: &str| {
        let error = steps.step(inputs, &mut vec![0.0; outputs]).unwrap_err();
        assert!(error.exit_code() == 7 && error.to_string().contains(said), "{error}");
    };
    refused((&[0.0; 3]).into(), 6, "expected 4 numbers, 2 of each of the 2 sequences that there are states of, got 3");
    refused((&[0.0; 4]).into(), 5, "expected room for 6 numbers, got 5");
    refused((&[0.0, 0.0, f32::NAN, 0.0]).into(), 6, "[2] is NaN");
    refused((&[0_u32; 2]).into(), 6, "this network reads vectors");
    assert_eq!([0, 3].map(|n| steps.reset_state(n).unwrap_err().exit_code()), [7; 2]);
    // One sequence in place of two, and two again.
    for sequences in [1, 2] {
        steps.reset_state(sequences).unwrap();
        steps.step(&vec![0.5; 2 * sequences], &mut vec![0.0; 3 * sequences]).unwrap();
    }

    let tokens = Config::new(Input::Tokens(4), 4, 4, Loss::CrossEntropy, 1, 1);
    let error = network(&tokens).step(&[4_u32], &mut [0.0; 4]).unwrap_err();
    assert!(error.to_string().contains("[0] is 4; there are 4"), "{error}");

    let both = Config { bidirectional: true, ..config };
    let error = network(&both).step(&[0.0; 4], &mut [0.0; 6]).unwrap_err();
    assert!(error.exit_code() == 2 && error.to_string().contains("two directions"), "{error}");
}

/// A network can be made in one thread and used in another, and shown.
#[test]
fn networks_and_trainings_can_be_sent() {
    fn sent<T: Send>() {}
    sent::<Network>();
    sent::<Training>();
    let shown = format!("{:?}", network(&Config::new(Input::Vectors(2), 4, 3, Loss::SquaredError, 2, 5)));
    assert!(shown.starts_with("Network {") && shown.contains("hidden: 4"), "{shown}");
}

#[test]
fn the_example_forecasts_better_than_the_wave_before() {
    let [network, naive] = forecast::forecast().unwrap();
    assert!(network < 0.5 * naive, "{network} against {naive}");
}
