//! Both directions, and sequences of different lengths: against PyTorch's packed sequences, where states grow without bounds in the padding,
//! and with faults that are known from elsewhere.

use ndarray::{Array2, Array3, ArrayD, s};
use retrospect::Activation;
use retrospect::batch::{Batch, InitialState, Input, Inputs, Loss, Reduction, Targets};
use retrospect::cells::Cell;
use retrospect::check::networks::{Case, bound, gradient};
use retrospect::kernels::gather::NO_ROW;
use retrospect::model::{Biases, Config, Model};
use retrospect::network::Network;
use retrospect::program::{Mat, Program, Step};

use super::device::{device, load};
use super::fixtures;
use super::network::{computed, expected, network, of_fixture, step, wrong};

const ON: [&str; 3] = ["CPU", "tiled", "software"];

/// A network of two layers, of which a batch has lengths.
fn case(cell: &str, bidirectional: bool, recompute: Option<usize>) -> Case {
    let shape = Config::new(Input::Vectors(5), 19, 4, Loss::CrossEntropy, 7, 9);
    let cell = Cell::named(cell).expect("a cell");
    let config = Config { cell, layers: 2, bidirectional, lengths: true, recompute, ..shape };
    Case { config, masked: false, reduction: Reduction::Mean }
}

/// What PyTorch 2.15 computes in f64 for `lstm_2_vectors_entropy_both_packed`, two layers of both directions with packed sequences of 4, 9, 1, 7
/// and 2 steps: scripts/pytorch_fixtures.py made it.
#[test]
fn a_packed_lstm_of_both_directions_has_pytorch_s_numbers() {
    let f = fixtures::load_all().into_iter().find(|f| f.name == "lstm_2_vectors_entropy_both_packed").expect("the fixture");
    let (config, weights) = of_fixture(&f, Biases::One);
    for on in ON {
        let mut network = network(&config, on);
        network.set_parameters(&weights).unwrap();
        let got = network.gradient(&f.batch).unwrap();
        network.loss(&f.batch).unwrap();
        let last = network.state().unwrap();
        let (d_h, d_w) = (&got.initial_states["h"], &got.parameters["rnn.weight_hh_l1_reverse"]);
        let d_w: Vec<f32> = d_w.slice(s![5, ..]).iter().copied().collect();
        let rows: [(&str, Vec<f32>, &[f32]); 7] = [
            ("loss", vec![got.loss], &[1.1282738]),
            (
                "outputs of the last step of the first sequence",
                got.outputs.slice(s![3, 0, ..]).to_vec(),
                &[-0.17559668, 0.36242056, 0.38196602],
            ),
            ("outputs in its padding", got.outputs.slice(s![4, 0, ..]).to_vec(), &[-0.08959961, 0.42333984, 0.34692383]),
            (
                "last h of the upper layer in reverse",
                last["h"].slice(s![3, 0, ..]).to_vec(),
                &[-0.041932553, -0.052922573, -0.045623377, -0.01512844, -0.16231117, -0.01744355, -0.04248158],
            ),
            (
                "last c of the lower layer in reverse",
                last["c"].slice(s![1, 2, ..]).to_vec(),
                &[0.6509094, -0.29928857, -0.14567003, -0.24539213, -0.033072453, -0.57348055, 0.5175939],
            ),
            (
                "gradient of h0 of the upper layer",
                d_h.slice(s![2, 1, ..]).to_vec(),
                &[-0.0015535691, -0.0018250571, -9.760232e-04, 9.538765e-04, -1.9358734e-04, 4.2659263e-04, 6.748471e-04],
            ),
            (
                "gradient of its recurrent weight in reverse",
                d_w,
                &[-5.6862547e-05, -6.9395255e-06, -8.752719e-05, -2.9733116e-04, -6.487269e-04, -7.4870426e-05, -4.3048244e-04],
            ),
        ];
        for (what, got, expected) in rows {
            let largest = expected.iter().fold(0.0f32, |a, b| a.max(b.abs()));
            let off = got.iter().zip(expected).map(|(a, b)| (a - b).abs() / largest).fold(0.0, f32::max);
            assert!(got.len() == expected.len() && off < 2e-5, "{what} on {on}: {got:?}, off by {off:e}");
        }
    }
}

/// The states after the last step of each sequence, in one segment and in several.
#[test]
fn the_last_states_are_pytorch_s() {
    let all = fixtures::load_all().into_iter().filter(|f| !f.last.is_empty());
    for f in all {
        for (on, recompute) in ON.into_iter().flat_map(|on| [(on, None), (on, Some(2)), (on, Some(5))]) {
            let (config, weights) = of_fixture(&f, Biases::Two);
            let config = Config { recompute, ..config };
            let mut network = network(&config, on);
            network.set_parameters(&weights).unwrap();
            network.loss(&f.batch).unwrap();
            for (name, got) in network.state().unwrap() {
                let off = (got.mapv(f64::from) - &f.last[&name]).fold(0.0, |a: f64, b| a.max(b.abs()));
                assert!(off <= bound(&config), "{name} of {} on {on}, {recompute:?}: off by {off:e}", f.name);
            }
        }
    }
}

/// A state that grows threefold a step is no number long before the window ends: it must not get out of the padding.
#[test]
fn what_overflows_in_the_padding_stays_there() {
    for (cell, activation, bidirectional) in
        [("elman", Activation::Relu, false), ("elman", Activation::Identity, true), ("leaky", Activation::Relu, true)]
    {
        for recompute in [None, Some(100)] {
            let shape = Config::new(Input::Vectors(3), 7, 2, Loss::SquaredError, 5, 200);
            let cell = Cell::named(cell).expect("a cell");
            let config = Config { cell, activation, layers: 2, bidirectional, lengths: true, recompute, ..shape };
            let case = Case { config, masked: false, reduction: Reduction::Mean };
            let mut weights = case.weights();
            for (_, weight) in weights.iter_mut().filter(|(name, _)| name.starts_with("rnn.weight_hh")) {
                *weight = ArrayD::from_shape_fn(weight.raw_dim(), |at| if at[0] == at[1] { 5.0 } else { 0.1 });
            }
            let lengths = vec![2, 1, 3, 2, 3];
            let batch = Batch { lengths: Some(lengths), ..case.batch(1) };
            for on in ON {
                let mut right = network(&case.config, on);
                let found = wrong(&mut right, &weights, &batch);
                assert!(found.is_empty(), "{cell}, {activation} on {on}: {found:?}");
                // And without what makes it zero.
                let mut model = Model::new(&case.config).unwrap();
                model.program_mut().steps_mut().iter_mut().filter(|s| s.kernel.name == "clear_padding").for_each(|s| {
                    s.windows[1] = s.windows[1].slice_rows(0..5);
                    s.scalars = 0u32.to_le_bytes().to_vec();
                });
                let found = wrong(&mut load(model, device(), on), &weights, &batch);
                assert!(found.iter().any(|f| f.contains("NaN") || f.contains("inf")), "{cell}, {activation} on {on}: {found:?}");
            }
        }
    }
}

/// Whatever lies in the padding, and however much of it there is, the bits are the same.
#[test]
fn the_padding_does_not_matter() {
    for (cell, bidirectional) in [("lstm", true), ("elman", false)] {
        let case = case(cell, bidirectional, None);
        let spoilt = case.batch(3);
        let ends: Vec<usize> = (0..7).map(|b| spoilt.length(b)).collect();
        let mut clean = spoilt.clone();
        if let (Inputs::Vectors(x), Targets::Classes(y)) = (&mut clean.inputs, &mut clean.targets) {
            x.indexed_iter_mut().filter(|((t, b, _), _)| *t >= ends[*b]).for_each(|(_, x)| *x = 0.25);
            y.indexed_iter_mut().filter(|((t, b), _)| *t >= ends[*b]).for_each(|(_, y)| *y = 1);
        }
        for on in ON {
            let mut network = network(&case.config, on);
            let (first, second) =
                (computed(&mut network, &case.weights(), &spoilt), computed(&mut network, &case.weights(), &clean));
            assert_eq!(first, second, "{cell} on {on}");
            let outputs = &first["outputs"];
            let bias = &case.weights()["decoder.bias"];
            let padded = |(t, b): (usize, usize)| t >= ends[b];
            for at in ndarray::indices((9, 7)).into_iter().filter(|at| padded(*at)) {
                let got: Vec<f32> = outputs.slice(s![at.0, at.1, ..]).iter().map(|&o| o as f32).collect();
                assert_eq!(got, bias.iter().copied().collect::<Vec<_>>(), "the head reads zeros");
            }
        }
    }
}

/// A network that was made for lengths computes the same for a batch that has none.
#[test]
fn without_lengths_all_is_read() {
    for bidirectional in [false, true] {
        let with = case("gru", bidirectional, None);
        let without = Case { config: Config { lengths: false, ..with.config.clone() }, ..with.clone() };
        let batch = without.batch(2);
        let all = Batch { lengths: Some(vec![9; 7]), ..batch.clone() };
        for on in ON {
            let weights = with.weights();
            let expected = computed(&mut network(&without.config, on), &weights, &batch);
            let mut network = network(&with.config, on);
            // Other lengths before.
            computed(&mut network, &weights, &with.batch(3));
            for batch in [&batch, &all] {
                assert_eq!(computed(&mut network, &weights, batch), expected, "{bidirectional} on {on}");
            }
        }
    }
}

type Plant = fn(&mut Program) -> Option<(Mat, Vec<u32>)>;

/// A mistake, and some of the tensors in which it has to be seen. It may bring indices of its own.
struct Fault {
    name: &'static str,
    plant: Plant,
    seen: &'static [&'static str],
}

/// Rows of whole windows turned around, whatever the lengths are.
fn turned_wholly(program: &mut Program) -> (Mat, Vec<u32>) {
    let rows = program.indices("planted", 1, 63);
    (rows, (0..63).map(|row| (8 - row / 7) * 7 + row % 7).collect())
}

fn gather_of<'a>(program: &'a mut Program, writes: &str) -> &'a mut Step {
    step(program, "gather", writes)
}

fn faults() -> Vec<Fault> {
    vec![
        Fault {
            name: "the reverse direction begins in the padding",
            plant: |program| {
                let planted = turned_wholly(program);
                for writes in ["turned inputs, layer 0", "turned inputs, layer 1"] {
                    gather_of(program, writes).windows[0] = planted.0;
                }
                Some(planted)
            },
            seen: &["loss", "outputs", "hidden_l0", "rnn.weight_ih_l0_reverse"],
        },
        Fault {
            name: "what the reverse direction puts out is turned with its padding",
            plant: |program| {
                let planted = turned_wholly(program);
                gather_of(program, "outputs, layer 1").windows[0] = planted.0;
                Some(planted)
            },
            seen: &["loss", "outputs", "hidden_l1", "decoder.weight"],
        },
        Fault {
            name: "the states of the two directions are exchanged",
            plant: |program| {
                let copied = step(program, "copy", "outputs, layer 0").windows[1];
                let gathered = std::mem::replace(&mut gather_of(program, "outputs, layer 0").windows[2], copied);
                step(program, "copy", "outputs, layer 0").windows[1] = gathered;
                None
            },
            seen: &["hidden_l0", "outputs", "rnn.weight_ih_l1"],
        },
        Fault {
            name: "the gradients of the two directions are exchanged",
            plant: |program| {
                let read = step(program, "copy", "gradient of hidden").windows[0];
                let turned = std::mem::replace(&mut gather_of(program, "gradient of hidden").windows[1], read);
                step(program, "copy", "gradient of hidden").windows[0] = turned;
                None
            },
            seen: &["rnn.weight_hh_l1", "rnn.weight_hh_l1_reverse", "rnn.weight_hh_l0", "h0", "c0"],
        },
        Fault {
            name: "the gradient of the reverse direction does not reach the layer below",
            plant: |program| {
                step(program, "add", "gradient of outputs, layer 0").scalars = vec![0; 4];
                None
            },
            seen: &["rnn.weight_ih_l0", "rnn.weight_hh_l0_reverse", "rnn.bias_ih_l0"],
        },
        Fault {
            name: "the gradient of what the reverse direction reads is not turned back",
            plant: |program| {
                let rows = program.indices("planted", 1, 63);
                step(program, "gather", "gradient of turned inputs, layer 1").windows[0] = rows;
                Some((rows, (0..63).collect()))
            },
            seen: &["rnn.weight_ih_l0", "rnn.weight_hh_l0_reverse", "h0"],
        },
        Fault {
            name: "padding reaches the reverse direction on the way back",
            plant: |program| {
                let planted = turned_wholly(program);
                gather_of(program, "gradient of hidden").windows[0] = planted.0;
                Some(planted)
            },
            seen: &["rnn.weight_hh_l1_reverse", "h0"],
        },
        Fault {
            name: "sequences end one step too early",
            plant: |program| {
                for step in program.steps_mut().iter_mut().filter(|s| s.kernel.name == "clear_padding") {
                    step.scalars = 7u32.to_le_bytes().to_vec();
                }
                None
            },
            seen: &["loss", "outputs", "hidden_l0", "hidden_l1", "rnn.weight_hh_l0", "rnn.weight_hh_l1_reverse"],
        },
    ]
}

#[test]
fn planted_faults_of_directions_and_lengths_are_caught() {
    for on in ["CPU", "tiled"] {
        for Fault { name, plant, seen } in faults() {
            let case = case("lstm", true, None);
            let mut model = Model::new(&case.config).unwrap();
            let planted = plant(model.program_mut());
            let mut network = load(model, device(), on);
            if let Some((window, rows)) = planted {
                network.backend().write_indices(window, &rows).unwrap();
            }
            let found = wrong(&mut network, &case.weights(), &case.batch(1));
            let named = |tensor: &&str| found.iter().any(|f| f.starts_with(&format!("{tensor}[")));
            assert!(seen.iter().all(named), "{name} on {on} gives {found:?}");
            let is_forward = seen.iter().any(|tensor| ["loss", "outputs"].contains(tensor) || tensor.starts_with("hidden"));
            let forward = ["loss", "outputs", "hidden_l0", "hidden_l1"];
            assert!(is_forward || !forward.iter().any(named), "{name} on {on} is seen without its gradient: {found:?}");
        }
    }
}

/// What is read back after each sequence, with the rows of the end of the window for those of its own.
#[test]
fn the_states_of_the_end_of_the_window_are_not_the_last_ones() {
    for (bidirectional, recompute) in [(true, None), (false, None), (false, Some(4))] {
        let case = case("lstm", bidirectional, recompute);
        let (batch, weights) = (case.batch(1), case.weights());
        let run = |planted: bool| {
            let mut network = network(&case.config, "CPU");
            network.set_parameters(&weights).unwrap();
            if planted {
                // The last row of each segment, of every sequence.
                let program = network.model().program();
                let at = |s: &&Step| s.kernel.name == "gather" && program.name(s.windows[0]) == "last rows of sequences";
                let all: Vec<(Mat, u32)> =
                    program.steps().iter().filter(at).map(|s| (s.windows[0], s.windows[1].rows())).collect();
                // Once, for the lengths to be written, and are not again.
                network.loss(&batch).unwrap();
                for (rows, count) in all {
                    network.backend().write_indices(rows, &(count - 7..count).collect::<Vec<u32>>()).unwrap();
                }
            }
            network.loss(&batch).unwrap();
            network.state().unwrap()
        };
        let (right, faulty) = (run(false), run(true));
        for (name, state) in &right {
            assert!(*state != faulty[name], "{name}, {bidirectional}, {recompute:?}");
        }
    }
}

#[test]
fn what_a_network_cannot_do_is_said() {
    let both = case("elman", true, None);
    let uses = |config: &Config, batch: &Batch| -> (u8, String) {
        let mut network = network(config, "CPU");
        network.set_parameters(&Case { config: config.clone(), ..both.clone() }.weights()).unwrap();
        let error = network.loss(batch).unwrap_err();
        (error.exit_code(), error.to_string())
    };
    let carried = Batch { initial_state: InitialState::Carried, ..both.batch(1) };
    let (code, message) = uses(&both.config, &carried);
    assert!(code == 2 && message.contains("cannot carry its state on"), "{message}");
    let (code, message) = uses(&Config { lengths: false, ..both.config.clone() }, &both.batch(1));
    assert!(code == 2 && message.contains("2 of 9 time steps"), "{message}");
    let one = Batch { initial_state: InitialState::Given([("h".into(), Array3::zeros((2, 7, 19)))].into()), ..both.batch(1) };
    let (code, message) = uses(&both.config, &one);
    assert_eq!((code, message.as_str()), (7, "h0: expected shape [4, 7, 19], got [2, 7, 19]"));
    let error = Model::new(&Config { trace: true, ..both.config.clone() }).unwrap_err();
    assert!(error.exit_code() == 2 && error.to_string().contains("cannot be traced in a bidirectional network"), "{error}");
    let error = Model::new(&Config { layers: 2049, ..both.config }).unwrap_err();
    assert!(error.to_string().contains("2049 layers in both directions"), "{error}");
}

/// Tokens, too, are read from the end of their sequence.
#[test]
fn one_step_of_tokens_is_read_in_both_directions() {
    let shape = Config::new(Input::Tokens(6), 3, 2, Loss::CrossEntropy, 2, 4);
    let config = Config { bidirectional: true, lengths: true, ..shape };
    let case = Case { config, masked: false, reduction: Reduction::Mean };
    let tokens = Array2::from_shape_fn((4, 2), |(t, b)| if t < [1, 3][b] { (3 * b + t) as u32 } else { NO_ROW });
    let batch =
        Batch { lengths: Some(vec![1, 3]), ..Batch::new(Inputs::Tokens(tokens), Targets::Classes(Array2::zeros((4, 2)))) };
    for on in ON {
        let mut network: Network = network(&case.config, on);
        let found = wrong(&mut network, &case.weights(), &batch);
        assert!(found.is_empty(), "{on}: {found:?}");
        let got = gradient(&mut network, &batch).unwrap();
        let mut other = batch.clone();
        other.lengths = Some(vec![1, 2]);
        let found = expected(&case.config, &case.weights(), &other).mismatches(&got, bound(&case.config));
        assert!(found.len() > 5, "{on}: {found:?}");
    }
}

/// Shorter and smaller batches over the same buffers, whose lengths are those of the batch before or others.
#[test]
fn batches_of_other_shapes_have_their_own_ends() {
    for (bidirectional, recompute) in [(true, None), (true, Some(3)), (false, None), (false, Some(3))] {
        let case = case("gru", bidirectional, recompute);
        let weights = case.weights();
        for on in ["CPU", "tiled"] {
            let mut network = network(&case.config, on);
            for (window, batch) in [(9, 7), (5, 7), (9, 7), (9, 4), (4, 7), (5, 7)] {
                let smaller = Case { config: Config { window, batch, ..case.config.clone() }, ..case.clone() };
                let lengths = (0..batch).map(|b| 1 + b % 4).collect();
                let whole = Case { config: Config { lengths: false, ..smaller.config.clone() }, ..smaller.clone() };
                for batch in [smaller.batch(1), Batch { lengths: Some(lengths), ..whole.batch(2) }] {
                    let got = computed(&mut network, &weights, &batch);
                    let config = network.model().config().clone();
                    let found = expected(&config, &weights, &batch).mismatches(&got, bound(&config));
                    assert!(found.is_empty(), "[{window}, {}] on {on}: {found:?}", config.batch);
                }
            }
        }
    }
}
