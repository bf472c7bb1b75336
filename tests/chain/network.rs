//! The network, on the CPU and on the GPU, against the f64 reference and against PyTorch: loss, outputs, hidden states, and
//! the gradient by every parameter and by the initial state. The program is shared by both backends, so only here is it seen
//! that it computes the right thing.

use super::device::{backend, device, load};
use super::fixtures::{self, Fixture};
use ndarray::ArrayD;
use retrospect::Activation;
use retrospect::batch::{Batch, Input, Inputs, Loss, Reduction, Targets};
use retrospect::cells::Cell;
use retrospect::check::networks::{self, Case, Expected, Tensors, bound, gradient, in_f64, mismatches, parameters};
use retrospect::kernels::{fill, gemm};
use retrospect::model::{Biases, Config, Model, NamedArrays};
use retrospect::network::Network;
use retrospect::program::{Mat, Program, Step};

/// What a network computes.
pub fn computed(network: &mut Network, weights: &NamedArrays, batch: &Batch) -> Tensors {
    network.set_parameters(weights).unwrap();
    gradient(network, batch).unwrap()
}

/// What it should.
pub fn expected(config: &Config, weights: &NamedArrays, batch: &Batch) -> Expected {
    networks::expected(config, &in_f64(&networks::cell(config), weights), batch).unwrap()
}

/// The one comparison of this file: what a network computes against the reference.
pub fn wrong(network: &mut Network, weights: &NamedArrays, batch: &Batch) -> Vec<String> {
    let config = network.model().config().clone();
    expected(&config, weights, batch).mismatches(&computed(network, weights, batch), bound(&config))
}

pub fn network(config: &Config, on: &'static str) -> Network {
    load(Model::new(config).unwrap(), device(), on)
}

/// More rows than the 65,535 workgroups of a dimension, or than the loop iterations that lavapipe grants; and one of them
/// too few is seen.
#[test]
fn with_seventy_thousand_rows_it_is_the_reference() {
    for (input, loss) in [(Input::Tokens(5), Loss::CrossEntropy), (Input::Vectors(2), Loss::SquaredError)] {
        let case = Case { config: Config::new(input, 3, 4, loss, 1000, 70), masked: true, reduction: Reduction::Sum };
        let (weights, batch) = (case.weights(), case.batch(1));
        for on in ["CPU", "tiled", "software"] {
            let mut network = network(&case.config, on);
            let found = wrong(&mut network, &weights, &batch);
            assert!(found.is_empty(), "{on}, {case:?}:\n{}", found.join("\n"));
            let got = computed(&mut network, &weights, &batch);
            let mut more = batch.clone();
            let mask = more.mask.as_mut().expect("a mask");
            *mask.iter_mut().find(|m| **m == 0.0).expect("an output that does not count") = 1.0;
            let found = expected(&case.config, &weights, &more).mismatches(&got, bound(&case.config));
            assert!(found.iter().any(|f| f.starts_with("loss")) && found.len() >= 5, "{on}, {case:?}: {found:?}");
        }
    }
}

/// A fixture's network, which trains so many biases, and its parameters.
pub fn of_fixture(f: &Fixture, biases: Biases) -> (Config, NamedArrays) {
    let (window, size) = f.batch.shape();
    let (outputs, directions) = (f.weights.decoder.nrows(), f.weights.directions());
    let (hidden, layers) = (f.weights.decoder.ncols() / directions, f.weights.layers.len() / directions);
    let embedding = f.weights.embedding.as_ref();
    let inputs = embedding.unwrap_or(&f.weights.layers[0].input.t().to_owned()).nrows();
    let input = if matches!(f.batch.inputs, Inputs::Tokens(_)) { Input::Tokens(inputs) } else { Input::Vectors(inputs) };
    let loss = if matches!(f.batch.targets, Targets::Classes(_)) { Loss::CrossEntropy } else { Loss::SquaredError };
    let activation = f.cell.activation.and_then(|phi| Activation::named(phi.name())).unwrap_or(Activation::Tanh);
    let cell = Cell::named(f.cell.name).unwrap();
    let (bidirectional, lengths) = (f.weights.bidirectional, f.batch.lengths.is_some());
    let shape = Config::new(input, hidden, outputs, loss, size, window);
    let embedding = embedding.map(ndarray::Array2::ncols);
    let config = Config { embedding, cell, activation, layers, bidirectional, lengths, biases, ..shape };
    let mut weights = f.weights.clone();
    if biases == Biases::One {
        // The network has the sum of the two where it trains one.
        for layer in &mut weights.layers {
            let apart = |gate: usize| cell.recurrent_bias.contains(&(gate as u32));
            for (place, (first, second)) in layer.input_bias.iter_mut().zip(&mut layer.recurrent_bias).enumerate() {
                if !apart(place / hidden) {
                    *first += std::mem::take(second);
                }
            }
        }
    }
    let in_f32 = |t: ArrayD<f64>| t.mapv(|v| v as f32);
    let mut named: NamedArrays = parameters(&config, &weights).into_iter().map(|(name, t)| (name, in_f32(t))).collect();
    for (place, layer) in weights.layers.iter().enumerate().filter(|_| cell.has_leak) {
        let leak = layer.leak.broadcast(hidden).expect("one for each unit, or for all").to_owned();
        let reverse = if place % directions == 1 { "_reverse" } else { "" };
        named.insert(format!("rnn.leak_l{}{reverse}", place / directions), in_f32(leak.into_dyn()));
    }
    (config, named)
}

#[test]
fn it_is_pytorch_s_network() {
    let fixtures = fixtures::load_all();
    assert!(fixtures.len() >= 8, "only {} fixtures", fixtures.len());
    for f in fixtures {
        for biases in [Biases::One, Biases::Two] {
            let (config, named) = of_fixture(&f, biases);
            let mut expected = f.gradient.clone();
            expected.retain(|name, _| named.contains_key(name) || !name.contains("bias_hh"));
            for on in ["CPU", "tiled", "software"] {
                let mut got = computed(&mut network(&config, on), &named, &f.batch);
                got.retain(|name, _| !name.starts_with("hidden"));
                let found = mismatches(&got, &expected, bound(&config));
                assert!(found.is_empty(), "{}, biases {biases:?}, on {on}:\n{}", f.name, found.join("\n"));
                assert_caught_when_off_by_a_ten_thousandth(&f.name, &got, &expected, bound(&config));
            }
        }
    }
}

/// One tensor off by 1e-4 of itself: what a tolerance per element let through.
#[track_caller]
fn assert_caught_when_off_by_a_ten_thousandth(label: &str, got: &Tensors, expected: &Tensors, bound: f64) {
    for name in got.keys() {
        let mut scaled = got.clone();
        *scaled.get_mut(name).expect("a tensor") *= 1.0 + 1e-4;
        let found = mismatches(&scaled, expected, bound);
        assert!(found.len() == 1 && found[0].starts_with(name), "{label}: a fault in {name} gives {found:?}");
    }
}

/// A mistake in a recorded program: what is changed, and where it has to be seen. The loss is right with all of them and
/// falls with most, and CPU and GPU agree.
struct Fault {
    name: &'static str,
    plant: fn(&mut Program),
    /// A buffer that the fault brings in, and what it holds.
    buffer: Option<(&'static str, f32)>,
    seen: &'static [&'static str],
}

/// The first step of a kernel that has a window of a buffer.
pub fn step<'a>(program: &'a mut Program, kernel: &str, writes: &str) -> &'a mut Step {
    let at = |s: &Step, program: &Program| s.kernel.name == kernel && s.windows.iter().any(|w| program.name(*w) == writes);
    let index = program.steps().iter().position(|s| at(s, program)).unwrap_or_else(|| panic!("no {kernel} of {writes}"));
    &mut program.steps_mut()[index]
}

/// The `nth` product of two buffers that writes the gradients' arena.
fn gradient_of<'a>(program: &'a mut Program, reads: [&str; 2], nth: usize) -> &'a mut Step {
    let is = |s: &Step, program: &Program| {
        let names: Vec<&str> = s.windows.iter().map(|w| program.name(*w)).collect();
        names.len() == 3 && [names[0], names[1]] == reads && names[2] == "gradients"
    };
    let mut found = (0..program.len()).filter(|&i| is(&program.steps()[i], program));
    let index = found.nth(nth).unwrap_or_else(|| panic!("no product of {reads:?}"));
    &mut program.steps_mut()[index]
}

fn states(program: &mut Program, layer: usize) -> Mat {
    step(program, "elman_forward", &format!("hidden, layer {layer}")).windows[2]
}

fn faults() -> Vec<Fault> {
    vec![
        Fault {
            name: "no gradient from h_t to h_{t-1} in the upper layer",
            plant: |program| {
                let zero = program.matrix("planted", 63, 63);
                step(program, "elman_backward", "hidden, layer 1").windows[1] = zero;
            },
            buffer: Some(("planted", 0.0)),
            seen: &["rnn.weight_hh_l1", "rnn.weight_ih_l1", "rnn.bias_ih_l1", "rnn.weight_hh_l0", "h0"],
        },
        Fault {
            name: "W where Wᵀ belongs on the way back",
            plant: |program| {
                let transposed = step(program, "elman_forward", "hidden, layer 0").windows[1];
                step(program, "elman_backward", "hidden, layer 0").windows[1] = transposed;
            },
            buffer: None,
            seen: &["rnn.weight_hh_l0", "rnn.weight_ih_l0", "rnn.bias_ih_l0", "h0"],
        },
        Fault {
            name: "∂L/∂W from h_t instead of h_{t-1}",
            plant: |program| {
                let states = states(program, 0);
                let step = gradient_of(program, ["gradient of sums", "hidden, layer 0"], 1);
                step.windows[1] = states.slice_rows(states.rows() - step.windows[1].rows()..states.rows());
            },
            buffer: None,
            seen: &["rnn.weight_hh_l0"],
        },
        Fault {
            name: "∂L/∂U from the states of the step before",
            plant: |program| {
                let step = gradient_of(program, ["gradient of sums", "hidden, layer 0"], 0);
                let rows = step.windows[1].rows();
                let states = states(program, 0);
                gradient_of(program, ["gradient of sums", "hidden, layer 0"], 0).windows[1] = states.slice_rows(0..rows);
            },
            buffer: None,
            seen: &["rnn.weight_ih_l1"],
        },
        Fault {
            name: "outputs that do not count count in the gradient, and not in the loss",
            plant: |program| {
                let mask = step(program, "softmax_loss", "losses").windows[2];
                let ones = program.matrix("planted", mask.rows(), 1);
                step(program, "softmax_loss", "losses").windows[2] = ones;
                let total = step(program, "column_sum", "loss");
                let [losses, loss] = total.windows[..] else { unreachable!("two windows") };
                *total = Step { kernel: &gemm::TN, windows: vec![mask, losses, loss], scalars: vec![0; 4], is_second: false };
            },
            buffer: Some(("planted", 1.0)),
            seen: &["decoder.weight", "decoder.bias", "rnn.weight_hh_l0", "rnn.weight_ih_l1", "h0"],
        },
        Fault {
            name: "∂L/∂c off by 1e-4 of itself",
            plant: |program| {
                let rows = step(program, "softmax_loss", "losses").windows[2].rows();
                let ones = program.matrix("planted", rows, 1);
                let step = step(program, "column_sum", "gradient of outputs");
                let [d_outputs, d_bias] = step.windows[..] else { unreachable!("two windows") };
                *step = Step { kernel: &gemm::TN, windows: vec![ones, d_outputs, d_bias], scalars: vec![0; 4], is_second: false };
            },
            buffer: Some(("planted", 1.0 + 1e-4)),
            seen: &["decoder.bias"],
        },
        Fault {
            name: "∂L/∂V added to that of the step before",
            plant: |program| gradient_of(program, ["gradient of outputs", "hidden, layer 1"], 0).scalars = vec![1, 0, 0, 0],
            buffer: None,
            seen: &["decoder.weight"],
        },
        Fault {
            name: "the traced gradient is only what comes back through time",
            plant: |program| step(program, "gemm_nn", "gradient of traced hidden, layer 1").scalars = vec![0; 4],
            buffer: None,
            seen: &["d_hidden_l1"],
        },
        Fault {
            name: "the traced states are those before each step",
            plant: |program| {
                let states = states(program, 0);
                let copy = step(program, "copy", "traced hidden, layer 0");
                copy.windows[0] = states.slice_rows(0..copy.windows[1].rows());
            },
            buffer: None,
            seen: &["traced_l0"],
        },
    ]
}

/// What can go wrong with a cell's own windows, by the cell.
fn cell_faults() -> Vec<(&'static str, Fault)> {
    /// The step of the recurrence back through the first layer.
    fn back<'a>(program: &'a mut Program, kernel: &str) -> &'a mut Step {
        // That of the upper layer comes before it.
        let mut all = program.steps_mut().iter_mut().filter(|s| s.kernel.name == kernel);
        all.nth(1).expect("the recurrence of the first layer")
    }
    let lstm = |name, plant, buffer, seen| ("lstm", Fault { name, plant, buffer, seen });
    let gru = |name, plant, seen| ("gru", Fault { name, plant, buffer: None, seen });
    vec![
        lstm(
            "a bias that does not learn",
            |program| {
                let zero = program.matrix("planted", 35, 4 * 64 - 1);
                step(program, "column_sum", "gradient of sums").windows[0] = zero;
            },
            Some(("planted", 0.0)),
            &["rnn.bias_ih_l1"],
        ),
        lstm(
            "c after each step for c before it",
            |program| {
                let step = back(program, "lstm_backward");
                step.windows[2] = step.windows[3];
            },
            None,
            &["rnn.weight_hh_l0", "rnn.weight_ih_l0", "rnn.bias_ih_l0"],
        ),
        lstm(
            "the gradient by c_0 is that by c_1",
            |program| {
                let d_cell = back(program, "lstm_backward").windows[6];
                step(program, "copy", "gradient of initial state c, layer 0").windows[0] = d_cell.slice_rows(7..14);
            },
            None,
            &["c0"],
        ),
        gru(
            "∂L/∂W from the gradient of the input's parts",
            |program| {
                let d_input = back(program, "gru_backward").windows[7];
                gradient_of(program, ["gradient of sums", "hidden, layer 1"], 0).windows[0] = d_input;
            },
            &["rnn.weight_hh_l1"],
        ),
        gru(
            "the gradient by h_0 without what stays of it",
            |program| step(program, "gemm_nn", "gradient of initial state, layer 0").scalars = vec![0; 4],
            &["h0"],
        ),
        (
            "leaky",
            Fault {
                name: "the traced gradient without what stays of the state",
                plant: |program| {
                    let add = step(program, "add", "gradient of traced hidden, layer 1");
                    *add = Step { kernel: &fill::FILL, windows: vec![add.windows[0]], scalars: vec![0; 4], is_second: false };
                },
                buffer: None,
                seen: &["d_hidden_l1"],
            },
        ),
    ]
}

/// Five steps of seven sequences, 63 units in two layers.
fn faulty_case(cell: &str) -> Case {
    let shape = Config::new(Input::Tokens(19), 63, 7, Loss::CrossEntropy, 7, 5);
    let cell = Cell::named(cell).expect("a cell");
    Case { config: Config { cell, layers: 2, trace: true, ..shape }, masked: true, reduction: Reduction::Sum }
}

#[test]
fn planted_faults_of_a_program_are_caught() {
    for on in ["CPU", "tiled"] {
        let all = faults().into_iter().map(|fault| ("elman", fault)).chain(cell_faults());
        for (cell, Fault { name, plant, buffer, seen }) in all {
            let case = faulty_case(cell);
            let (weights, batch) = (case.weights(), case.batch(1));
            let mut model = Model::new(&case.config).unwrap();
            plant(model.program_mut());
            let planted = buffer.map(|(name, value)| {
                let window = |s: &Step| s.windows.iter().copied().find(|w| model.program().name(*w) == name);
                (model.program().steps().iter().find_map(window).expect("the planted buffer is used"), value)
            });
            let mut network = load(model, device(), on);
            if let Some((window, value)) = planted {
                network.backend().write(window, &vec![value; window.len()]).unwrap();
            }
            // Once before, for faults in what is left from then.
            computed(&mut network, &weights, &case.batch(2));
            let found = wrong(&mut network, &weights, &batch);
            let named = |tensor: &str| found.iter().any(|f| f.starts_with(&format!("{tensor}[")));
            assert!(seen.iter().all(|tensor| named(tensor)), "{name} on {on} gives {found:?}");
            let forward = ["loss", "outputs", "hidden_l0", "hidden_l1"];
            assert!(!forward.into_iter().any(named), "{name} on {on} is seen without its gradient: {found:?}");
            assert!(seen.len() > 1 || found.len() == 1, "{name} on {on} is seen elsewhere too: {found:?}");
        }
    }
}

/// The same by the check as a user runs it: every step is what it is defined to be, and only the reference sees that they are the wrong
/// ones.
#[test]
fn the_check_sees_programs_that_compute_something_else() {
    let case = faulty_case("elman");
    let carried = |program: &mut Program, steps: u32| {
        let carry = step(program, "carry", "hidden, layer 1");
        carry.windows[0] = carry.windows[0].slice_rows(0..7 * (steps + 1));
    };
    type Plant<'a> = Box<dyn Fn(&mut Program) + 'a>;
    // Seen in the gradient after the steps.
    let stale: &[&str] = &["W's transpose is that of before the update"];
    let mut plants: Vec<(&str, Plant, Vec<&str>)> = vec![
        (
            "W's transpose is that of before the update",
            Box::new(|program| {
                let transposed = program.matrix("elsewhere", 63, 63);
                let all = program.steps_mut().iter_mut().filter(|s| s.kernel.name == "transpose");
                all.skip(2).for_each(|refresh| refresh.windows[1] = transposed);
            }),
            vec!["loss", "hidden_l0"],
        ),
        ("the state before the last is carried on", Box::new(|program| carried(program, 4)), vec!["loss", "hidden_l1"]),
        ("the first state is carried on", Box::new(|program| carried(program, 1)), vec!["loss", "hidden_l1"]),
    ];
    for fault in faults().into_iter().filter(|fault| fault.buffer.is_none()) {
        plants.push((fault.name, Box::new(fault.plant), fault.seen.to_vec()));
    }
    assert!(plants.len() >= 6);
    for on in ["CPU", "tiled"] {
        let check = |model| networks::in_lockstep(&case, model, Some(on), &mut |program| Ok(backend(program, device(), on)));
        let right = check(Model::new(&case.config).unwrap()).unwrap();
        assert!(right.iter().all(|outcome| outcome.passed), "{on}: {right:?}");
        for (name, plant, seen) in &plants {
            let mut model = Model::new(&case.config).unwrap();
            plant(model.program_mut());
            let outcomes = check(model).unwrap();
            let (steps, gradient) = (&outcomes[0], &outcomes[if stale.contains(name) { 2 } else { 1 }]);
            assert!(steps.passed, "{name} on {on}: {steps:?}");
            let note = gradient.note.as_deref().unwrap_or_default();
            assert!(!gradient.passed && seen.iter().all(|tensor| note.contains(tensor)), "{name} on {on} gives {note}");
        }
    }
}

/// With α = 1 a leaky network is the Elman network.
#[test]
fn without_a_leak_a_leaky_network_is_elman_s() {
    for activation in Activation::ALL {
        let shape = Config::new(Input::Vectors(5), 37, 4, Loss::SquaredError, 9, 12);
        let config = |cell, leak| {
            let cell = Cell::named(cell).expect("a cell");
            Config { cell, leak, activation, layers: 2, trace: true, ..shape.clone() }
        };
        let case = |config| Case { config, masked: false, reduction: Reduction::Mean };
        let (elman, leaky) = (case(config("elman", None)), case(config("leaky", Some(1.0))));
        let mut weights = elman.weights();
        let expected = computed(&mut network(&elman.config, "CPU"), &weights, &elman.batch(1));
        for layer in 0..2 {
            weights.insert(format!("rnn.leak_l{layer}"), ArrayD::ones(vec![37]));
        }
        let got = computed(&mut network(&leaky.config, "CPU"), &weights, &elman.batch(1));
        assert!(got == expected, "{activation}: {:?}", mismatches(&got, &expected, 0.0));
    }
}

/// The gradient of the outputs has as many columns as that of a GRU's input sums, and its memory: what lies between the gates is zero all
/// the same.
#[test]
fn what_lies_between_gates_is_zero_in_shared_memory() {
    let cell = Cell::named("gru").expect("a cell");
    let config = Config { cell, ..Config::new(Input::Vectors(3), 63, 2 * 64 + 63, Loss::SquaredError, 5, 6) };
    let model = Model::new(&config).unwrap();
    let plan = model.program().plan();
    let place = |name: &str| plan.place(model.program().buffers().iter().position(|b| b.name == name).expect("a buffer"));
    assert_eq!(place("gradient of outputs"), place("gradient of input sums"));
    let case = Case { config, masked: false, reduction: Reduction::Mean };
    for on in ["CPU", "tiled", "software"] {
        let mut network = network(&case.config, on);
        let found = wrong(&mut network, &case.weights(), &case.batch(1));
        assert!(found.is_empty(), "{on}: {found:?}");
        let reported = |network: &mut Network| {
            network.train_step(&case.batch(1), 0.01).unwrap();
            network.fetch().unwrap();
            f64::from(network.reports(true).unwrap().last().expect("a step").gradient_norm)
        };
        let mut gradient = network.gradient(&case.batch(1)).unwrap().parameters;
        // Of the second bias that of n alone is trained.
        gradient.get_mut("rnn.bias_hh_l0").expect("n's").as_slice_mut().expect("a vector")[..2 * 63].fill(0.0);
        let norm = gradient.values().flatten().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        assert!((reported(&mut network) / norm - 1.0).abs() < 1e-5, "{on}: the norm has more in it than the gradient");
    }
}
