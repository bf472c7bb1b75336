//! The f64 reference against three oracles that share nothing with it: central finite differences, plain loops, and PyTorch.

use std::collections::BTreeSet;

use ndarray::{Array1, Array2, Array3, ShapeBuilder, array};
use retrospect::Error;
use retrospect::batch::{Batch, InitialState, Inputs, Reduction, Targets};
use retrospect::check::networks::mismatches;
use retrospect::reference::{self, Activation, CELLS, Cell, LayerWeights, Weights, forward, gradient};

use super::fixtures;
use super::naive::{Fault, Problem};
use super::reference_cases::{Case, Random, Tensors, as_file, derivatives};

#[track_caller]
fn assert_agree(label: &str, got: &Tensors, expected: &Tensors, bound: f64) {
    let found = mismatches(got, expected, bound);
    assert!(found.is_empty(), "{label}:\n{}", found.join("\n"));
}

/// Every `nth` case of each activation that the cell has.
fn agrees_with_differences_and_loops(cell: &str, nth: usize) {
    for cell in with_activations(Cell::named(cell, "tanh").expect("a cell")) {
        for case in Case::all(cell).into_iter().step_by(nth) {
            agrees(case);
        }
    }
}

fn agrees(case: Case) {
    let (weights, batch) = case.make();
    let mut problem = Problem::new(&weights, &case.cell, &batch);
    let got = gradient(&weights, &case.cell, &batch).expect("a good batch");
    let label = format!("{case:?}");

    let pass = problem.forward();
    assert!((got.loss - pass.loss).abs() <= 1e-13 * pass.loss.abs(), "{label}: {} and {}", got.loss, pass.loss);
    assert!((&got.outputs - &pass.outputs).iter().all(|d| d.abs() < 1e-12), "{label}: outputs");
    let forward = forward(&weights, &case.cell, &batch).expect("a good batch");
    assert_eq!((forward.loss, &forward.outputs, &forward.states), (got.loss, &got.outputs, &got.states), "{label}");

    let got = derivatives(&got);
    if case.cell.name == "elman" {
        assert_agree(&label, &got, &problem.gradient(Fault::None), 1e-12);
    }
    assert_agree(&label, &got, &problem.differences(), 1e-6);
}

/// The cell with each φ, if it has one.
fn with_activations(cell: Cell) -> Vec<Cell> {
    match cell.activation {
        Some(_) => Activation::ALL.into_iter().map(|phi| Cell { activation: Some(phi), ..cell }).collect(),
        None => vec![cell],
    }
}

#[test]
fn elman_agrees_with_differences_and_loops() {
    agrees_with_differences_and_loops("elman", 1);
}

// Steps that share no factor with the lengths of the table's lists, so that every value of each is there.
#[test]
fn leaky_agrees_with_differences_and_loops() {
    agrees_with_differences_and_loops("leaky", 5);
}

#[test]
fn gru_agrees_with_differences_and_loops() {
    agrees_with_differences_and_loops("gru", 5);
}

#[test]
fn lstm_agrees_with_differences_and_loops() {
    agrees_with_differences_and_loops("lstm", 5);
}

/// Those that have no test above.
#[test]
fn other_cells_agree_with_differences() {
    for cell in CELLS.into_iter().filter(|cell| !["elman", "leaky", "gru", "lstm"].contains(&cell.name)) {
        agrees_with_differences_and_loops(cell.name, 5);
    }
}

#[test]
fn agrees_with_pytorch() {
    let fixtures = fixtures::load_all();
    let activated = fixtures.iter().filter(|f| f.cell.name == "elman").filter_map(|f| f.cell.activation);
    let activations: BTreeSet<_> = activated.map(Activation::name).collect();
    assert!(activations.len() >= 4, "fixtures of {activations:?} alone");
    let count = |cell: &Cell| fixtures.iter().filter(|f| f.cell.name == cell.name).count();
    let cells: Vec<_> = CELLS.iter().map(count).filter(|&count| count > 0).collect();
    assert!(cells.len() >= 4 && cells.iter().all(|&count| count >= 3), "{cells:?} fixtures of the cells");
    for f in fixtures {
        let got = as_file(&gradient(&f.weights, &f.cell, &f.batch).expect("a good batch"));
        assert!(got.values().all(|t| t.iter().any(|&v| v != 0.0)), "{}: a gradient of zero compares with nothing", f.name);
        assert_agree(&f.name, &got, &f.gradient, 1e-10);
        assert_caught_when_off_by_a_ten_thousandth(&f.name, &got, &f.gradient, 1e-10);
        let last = reference::last(&forward(&f.weights, &f.cell, &f.batch).expect("a good batch").states);
        for (name, expected) in &f.last {
            let off = (&last[name] - expected).fold(0.0, |a: f64, b| a.max(b.abs()));
            assert!(off < 1e-12, "{}: {name} after the last steps is off by {off:e}", f.name);
        }
    }
}

/// Plants the fault that a tolerance per element let through: one tensor, then one number, off by 1e-4 of its size.
#[track_caller]
fn assert_caught_when_off_by_a_ten_thousandth(label: &str, got: &Tensors, expected: &Tensors, bound: f64) {
    for name in got.keys() {
        let mut scaled = got.clone();
        *scaled.get_mut(name).expect("a tensor") *= 1.0 + 1e-4;
        let mut moved = got.clone();
        let tensor = moved.get_mut(name).expect("a tensor");
        let largest = tensor.fold(0.0, |a: f64, b| a.max(b.abs()));
        *tensor.iter_mut().last().expect("an element") += 1e-4 * largest;
        let mut missing = got.clone();
        missing.remove(name);
        let mut undefined = got.clone();
        *undefined.get_mut(name).expect("a tensor").first_mut().expect("an element") = f64::NAN;
        for faulty in [scaled, moved, missing, undefined] {
            let found = mismatches(&faulty, expected, bound);
            assert!(found.len() == 1 && found[0].starts_with(name), "{label}: a fault in {name} gives {found:?}");
        }
    }
}

#[test]
fn planted_faults_are_caught() {
    let faults: [(Fault, &[&str]); 8] = [
        (Fault::StateShifted, &["rnn.weight_hh_l0", "rnn.weight_hh_l1"]),
        (Fault::InputShifted, &["rnn.weight_ih_l0", "rnn.weight_ih_l1"]),
        (Fault::TimePathLost, &["rnn.weight_ih_l0", "rnn.weight_hh_l1", "rnn.bias_ih_l1", "d_h", "h0"]),
        (Fault::TimePathTransposed, &["rnn.weight_ih_l0", "rnn.weight_hh_l1", "rnn.bias_ih_l1", "d_h", "h0"]),
        (Fault::LayerPathLost, &["rnn.weight_ih_l0", "rnn.weight_hh_l0", "rnn.bias_ih_l0", "d_h", "h0"]),
        (Fault::InitialStateLost, &["h0"]),
        (Fault::MaskIgnored, &["decoder.weight", "decoder.bias", "rnn.weight_hh_l0", "d_h"]),
        (Fault::MeanOverAll, &["decoder.weight", "decoder.bias", "rnn.weight_hh_l0", "d_h"]),
    ];
    for cell in with_activations(Cell::named("elman", "tanh").expect("a cell")) {
        let keep = |c: &Case| (c.layers, c.steps, c.masked, c.reduction) == (2, 7, true, Reduction::Mean);
        for case in Case::all(cell).into_iter().filter(keep) {
            let (weights, batch) = case.make();
            let mut problem = Problem::new(&weights, &cell, &batch);
            let expected = problem.differences();
            let got = derivatives(&gradient(&weights, &cell, &batch).expect("a good batch"));
            assert_caught_when_off_by_a_ten_thousandth(&format!("{case:?}"), &got, &expected, 1e-6);
            for (fault, where_seen) in faults {
                let found = mismatches(&problem.gradient(fault), &expected, 1e-6);
                let seen = |name: &str| found.iter().any(|f| f.starts_with(&format!("{name}[")));
                assert!(where_seen.iter().all(|name| seen(name)), "{case:?}: {fault:?} gives {found:?}");
                let right = got.keys().filter(|name| !seen(name)).count();
                assert_eq!(right, got.len() - found.len(), "{case:?}: {fault:?}");
            }
        }
    }
}

fn elman(activation: &str) -> Cell {
    Cell::named("elman", activation).expect("a cell")
}

fn elman_layer(input: Array2<f64>, recurrent: Array2<f64>, input_bias: Array1<f64>) -> LayerWeights {
    let recurrent_bias = Array1::zeros(input_bias.len());
    LayerWeights { input, recurrent, input_bias, recurrent_bias, leak: Array1::zeros(0), mask: None }
}

/// One unit that passes its input on, and two logits.
fn one_unit(decoder: f64) -> Weights {
    let layer = elman_layer(array![[1.0]], array![[0.0]], Array1::zeros(1));
    Weights {
        embedding: None,
        layers: vec![layer],
        bidirectional: false,
        decoder: array![[decoder], [0.0]],
        decoder_bias: Array1::zeros(2),
    }
}

#[test]
fn an_output_that_does_not_count_adds_nothing_even_if_not_finite() {
    let mut batch = Batch::new(Inputs::Vectors(array![[[0.0]], [[10.0]]]), Targets::Classes(array![[0], [1]]));
    let weights = one_unit(f64::MAX);
    assert!(!gradient(&weights, &elman("identity"), &batch).expect("a good batch").loss.is_finite());
    batch.mask = Some(array![[1.0], [0.0]]);
    let got = gradient(&weights, &elman("identity"), &batch).expect("a good batch");
    assert!(got.outputs[[1, 0, 0]].is_infinite());
    assert!((got.loss - 2.0_f64.ln()).abs() < 1e-15);
    assert_eq!(got.d_states[0]["h"][[1, 0, 0]], 0.0);
    for (name, derivative) in derivatives(&got) {
        assert!(derivative.iter().all(|v| v.is_finite()), "{name}: {derivative}");
    }
}

#[test]
fn large_logits_do_not_overflow() {
    let batch = Batch::new(Inputs::Vectors(array![[[1.0]]]), Targets::Classes(array![[1]]));
    let got = gradient(&one_unit(1000.0), &elman("identity"), &batch).expect("a good batch");
    assert_eq!((got.loss, got.weights.decoder_bias), (1000.0, array![1.0, -1.0]));
}

#[test]
fn relu_has_slope_zero_at_zero_and_keeps_nan() {
    let batch = Batch::new(Inputs::Vectors(array![[[0.0]]]), Targets::Classes(array![[1]]));
    let got = gradient(&one_unit(1.0), &elman("relu"), &batch).expect("a good batch");
    assert_eq!((got.weights.layers[0].input_bias[0], got.d_states[0]["h"][[0, 0, 0]]), (0.0, 0.5));
    let mut weights = one_unit(1.0);
    weights.layers[0].input_bias[0] = f64::NAN;
    assert!(forward(&weights, &elman("relu"), &batch).expect("a good batch").loss.is_nan());
}

#[test]
fn a_carried_state_counts_as_zero() {
    let batch = Batch::new(Inputs::Vectors(array![[[0.5]]]), Targets::Classes(array![[1]]));
    let carried = Batch { initial_state: InitialState::Carried, ..batch.clone() };
    let zeros = Batch { initial_state: InitialState::Given([("h".into(), Array3::zeros((1, 1, 1)))].into()), ..batch.clone() };
    let [a, b, c] = [batch, carried, zeros].map(|batch| gradient(&one_unit(1.0), &elman("tanh"), &batch).expect("a good batch"));
    assert_eq!(a, b);
    assert_eq!(a, c);
}

#[test]
fn the_order_of_an_array_in_memory_does_not_matter() {
    let (mut random, shape) = (Random(9), (4, 3, 2));
    let (inputs, values) = (random.array(shape).mapv(|x| x as f32), random.array(shape).mapv(|x| x as f32));
    let column_major = |rows: &Array3<f32>| {
        let mut columns = Array3::zeros(shape.f());
        columns.assign(rows);
        columns
    };
    let layer = elman_layer(random.array((5, 2)), random.array((5, 5)), random.array(5));
    let weights = Weights {
        embedding: None,
        layers: vec![layer],
        bidirectional: false,
        decoder: random.array((2, 5)),
        decoder_bias: random.array(2),
    };
    let turned = Batch::new(Inputs::Vectors(column_major(&inputs)), Targets::Values(column_major(&values)));
    let straight = Batch::new(Inputs::Vectors(inputs), Targets::Values(values));
    assert_eq!(
        gradient(&weights, &elman("tanh"), &straight).expect("a good batch"),
        gradient(&weights, &elman("tanh"), &turned).expect("too")
    );
}

#[test]
fn what_does_not_fit_is_an_error_that_says_where() {
    let batch = Batch::new(Inputs::Vectors(array![[[0.5]]]), Targets::Classes(array![[1]]));
    let weights = one_unit(1.0);
    let fails = |weights: &Weights, batch: &Batch, expected: &str| {
        let error = forward(weights, &elman("tanh"), batch).expect_err(expected);
        assert!(matches!(&error, Error::BadInput { what, .. } if what == expected), "{error}");
        assert_eq!(gradient(weights, &elman("tanh"), batch).expect_err(expected).to_string(), error.to_string());
    };
    assert!(matches!(Cell::named("elman", "gelu"), Err(Error::Usage(_))));
    fails(&Weights { layers: Vec::new(), ..weights.clone() }, &batch, "weights");
    fails(&Weights { decoder: Array2::zeros((2, 3)), ..weights.clone() }, &batch, "decoder.weight");
    fails(&Weights { decoder_bias: Array1::zeros(3), ..weights.clone() }, &batch, "decoder.bias");
    let mut stacked = weights.clone();
    stacked.layers.push(LayerWeights { input: Array2::zeros((1, 2)), ..weights.layers[0].clone() });
    fails(&stacked, &batch, "rnn.weight_ih_l1");
    fails(&weights, &Batch { targets: Targets::Classes(array![[2]]), ..batch.clone() }, "classes");
    let given = |states: &[&str]| {
        let states = states.iter().map(|name| (name.to_string(), Array3::zeros((1, 1, 1)))).collect();
        Batch { initial_state: InitialState::Given(states), ..batch.clone() }
    };
    fails(&weights, &given(&["h", "c"]), "c0");
    fails(&weights, &given(&["c"]), "h0");
    fails(&weights, &Batch { inputs: Inputs::Tokens(array![[1]]), ..batch.clone() }, "tokens");
    fails(&weights, &Batch { mask: Some(array![[0.0]]), ..batch }, "mask");
}
