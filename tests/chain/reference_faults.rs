//! Faults in the equations of the cells that are known from elsewhere, each planted and seen: by finite differences, by PyTorch's numbers,
//! or by both.

use retrospect::batch::Reduction;
use retrospect::check::networks::mismatches;
use retrospect::reference::{Cell, Gradient, Unit, UnitGradient, gradient, gru, leaky, lstm};

use super::fixtures::{self, Fixture};
use super::naive::{Mistake, Problem};
use super::reference_cases::{Case, as_file, derivatives};

type Plant = fn(&mut Gradient);

/// A cell whose equations are wrong, or a gradient that is spoilt afterwards, and some of the tensors in which it has to be seen.
struct Fault {
    name: &'static str,
    cell: Cell,
    spoil: Plant,
    seen: &'static [&'static str],
}

const BIASES: &[&str] = &["rnn.bias_ih_l0", "rnn.bias_hh_l0", "rnn.bias_ih_l1", "rnn.bias_hh_l1"];
const WEIGHTS: &[&str] = &["rnn.weight_ih_l0", "rnn.weight_hh_l0", "rnn.bias_ih_l0", "rnn.weight_ih_l1", "rnn.weight_hh_l1"];

fn faults() -> Vec<Fault> {
    let keep: Plant = |_| ();
    let wrong = |name, cell, seen| Fault { name, cell, spoil: keep, seen };
    let mut all = vec![
        wrong(
            "lstm: the gradient of c is lost",
            Cell { backward: lstm_memory_lost, ..lstm::CELL },
            &["c0", "d_c", "rnn.weight_hh_l1"],
        ),
        wrong(
            "lstm: the gradient from h to c is lost",
            Cell { backward: lstm_output_path_lost, ..lstm::CELL },
            &["c0", "d_c", "rnn.weight_hh_l1"],
        ),
        wrong(
            "lstm: gates in the order i, f, o, g",
            Cell { forward: lstm_reordered, backward: lstm_reordered_back, ..lstm::CELL },
            WEIGHTS,
        ),
        wrong(
            "gru: n's recurrent sum without the reset",
            Cell { backward: gru_reset_lost, ..gru::CELL },
            &["rnn.weight_hh_l1", "rnn.bias_hh_l1", "h0"],
        ),
        wrong("gru: the straight path is lost", Cell { backward: gru_straight_lost, ..gru::CELL }, &["h0", "d_h"]),
        wrong(
            "gru: no gradient through the reset",
            Cell { backward: gru_reset_constant, ..gru::CELL },
            &["rnn.weight_ih_l1", "rnn.weight_hh_l1"],
        ),
        wrong("leaky: 1 − α for α", Cell { forward: leak_reversed, backward: leak_reversed_back, ..leaky::CELL }, WEIGHTS),
        wrong("leaky: 1 − α for α on the way back", Cell { backward: leak_reversed_back, ..leaky::CELL }, WEIGHTS),
        wrong("leaky: the straight path is lost", Cell { backward: leak_straight_lost, ..leaky::CELL }, &["h0", "d_h"]),
    ];
    for cell in [leaky::CELL, gru::CELL, lstm::CELL] {
        // The first as a library shipped it for years.
        all.push(Fault { name: "all gradients times 4", cell, spoil: times_four, seen: WEIGHTS });
        all.push(Fault { name: "biases that do not learn", cell, spoil: without_biases, seen: BIASES });
    }
    all
}

fn times_four(gradient: &mut Gradient) {
    gradient.weights.tensors_mut().into_iter().for_each(|(_, mut tensor)| tensor *= 4.0);
}

fn without_biases(gradient: &mut Gradient) {
    for layer in &mut gradient.weights.layers {
        layer.input_bias.fill(0.0);
        layer.recurrent_bias.fill(0.0);
    }
}

fn lstm_memory_lost(unit: &Unit, after: &[f64], d: &mut UnitGradient) {
    (lstm::CELL.backward)(unit, after, d);
    d.before[1] = 0.0;
}

/// Of `h_t = o·tanh(c_t)` the way to o is there, and the way to c is not.
fn lstm_output_path_lost(unit: &Unit, after: &[f64], d: &mut UnitGradient) {
    let [d_h, d_c] = [d.after[0], d.after[1]];
    (lstm::CELL.backward)(unit, after, d);
    let d_o = d.input[3];
    (d.after[0], d.after[1]) = (0.0, d_c);
    (lstm::CELL.backward)(unit, after, d);
    (d.after[0], d.input[3], d.recurrent[3]) = (d_h, d_o, d_o);
}

/// The sums of a unit of an LSTM with g and o exchanged.
fn exchanged(sums: &[f64]) -> [f64; 4] {
    [sums[0], sums[1], sums[3], sums[2]]
}

fn lstm_reordered(unit: &Unit, after: &mut [f64]) {
    let unit = Unit { input: &exchanged(unit.input), recurrent: &exchanged(unit.recurrent), ..*unit };
    (lstm::CELL.forward)(&unit, after);
}

fn lstm_reordered_back(unit: &Unit, after: &[f64], d: &mut UnitGradient) {
    let unit = Unit { input: &exchanged(unit.input), recurrent: &exchanged(unit.recurrent), ..*unit };
    (lstm::CELL.backward)(&unit, after, d);
    d.input.swap(2, 3);
    d.recurrent.swap(2, 3);
}

fn gru_reset_lost(unit: &Unit, after: &[f64], d: &mut UnitGradient) {
    (gru::CELL.backward)(unit, after, d);
    d.recurrent[2] = d.input[2];
}

fn gru_straight_lost(unit: &Unit, after: &[f64], d: &mut UnitGradient) {
    (gru::CELL.backward)(unit, after, d);
    d.before[0] = 0.0;
}

fn gru_reset_constant(unit: &Unit, after: &[f64], d: &mut UnitGradient) {
    (gru::CELL.backward)(unit, after, d);
    (d.input[0], d.recurrent[0]) = (0.0, 0.0);
}

fn leak_reversed(unit: &Unit, after: &mut [f64]) {
    (leaky::CELL.forward)(&Unit { leak: 1.0 - unit.leak, ..*unit }, after);
}

fn leak_reversed_back(unit: &Unit, after: &[f64], d: &mut UnitGradient) {
    (leaky::CELL.backward)(&Unit { leak: 1.0 - unit.leak, ..*unit }, after, d);
}

fn leak_straight_lost(unit: &Unit, after: &[f64], d: &mut UnitGradient) {
    (leaky::CELL.backward)(unit, after, d);
    d.before[0] = 0.0;
}

/// Networks of this cell with two layers and seven steps.
fn cases(cell: Cell) -> impl Iterator<Item = Case> {
    let keep = |case: &Case| (case.layers, case.steps, case.masked, case.reduction) == (2, 7, true, Reduction::Mean);
    Case::all(cell).into_iter().filter(keep)
}

fn fixtures_of(cell: &str) -> Vec<Fixture> {
    // The loops know one direction, and sequences that all have as many steps.
    let is_plain = |f: &Fixture| !f.weights.bidirectional && f.batch.lengths.is_none();
    let all = fixtures::load_all().into_iter().filter(|f| f.cell.name == cell && f.weights.layers.len() > 1);
    all.filter(is_plain).collect()
}

#[test]
fn faulty_equations_differ_from_finite_differences() {
    for right in [leaky::CELL, gru::CELL, lstm::CELL] {
        for case in cases(right) {
            let (weights, batch) = case.make();
            let expected = Problem::new(&weights, &right, &batch).differences();
            let mismatches = |got: &Gradient| mismatches(&derivatives(got), &expected, 1e-6);
            let found = mismatches(&gradient(&weights, &right, &batch).expect("a good batch"));
            assert!(found.is_empty(), "{case:?}: {found:?}");
            for Fault { name, cell, spoil, seen } in faults().into_iter().filter(|fault| fault.cell.name == right.name) {
                let mut got = gradient(&weights, &cell, &batch).expect("a good batch");
                spoil(&mut got);
                let found = mismatches(&got);
                let named = |tensor: &&str| found.iter().any(|f| f.starts_with(&format!("{tensor}[")));
                assert!(seen.iter().all(named), "{name}, {case:?}: {found:?}");
            }
        }
    }
}

#[test]
fn faulty_equations_differ_from_pytorch() {
    for Fault { name, cell, spoil, .. } in faults() {
        let fixtures = fixtures_of(cell.name);
        assert!(fixtures.len() >= 2);
        for f in fixtures {
            let cell = Cell { activation: f.cell.activation, ..cell };
            let mut got = gradient(&f.weights, &cell, &f.batch).expect("a good batch");
            spoil(&mut got);
            let found = mismatches(&as_file(&got), &f.gradient, 1e-4);
            assert!(found.len() >= 4, "{name}, {}: {found:?}", f.name);
        }
    }
}

/// What is another convention has a right gradient of its own, so that only another's numbers show it.
#[test]
fn other_conventions_differ_from_pytorch_and_from_the_reference() {
    for (cell, mistake) in [
        (lstm::CELL, Mistake::LstmGatesReordered),
        (gru::CELL, Mistake::GruGatesReordered),
        (gru::CELL, Mistake::ResetOnState),
        (gru::CELL, Mistake::BiasOutsideReset),
        (gru::CELL, Mistake::UpdateReversed),
        (leaky::CELL, Mistake::LeakReversed),
    ] {
        for f in fixtures_of(cell.name) {
            let off = |mistake| {
                let pass = Problem::new(&f.weights, &f.cell, &f.batch).with(mistake).forward();
                let outputs = pass.outputs.into_dyn() - &f.gradient["outputs"];
                (outputs.iter().fold(0.0, |a: f64, b| a.max(b.abs())), (pass.loss - f.gradient["loss"][[0]]).abs())
            };
            let (right, wrong) = (off(Mistake::None), off(mistake));
            assert!(right.0 < 1e-12 && right.1 < 1e-10, "{}: {right:?}", f.name);
            assert!(wrong.0 > 1e-3 && wrong.1 > 1e-4, "{mistake:?}, {}: {wrong:?}", f.name);
        }
        for case in cases(cell) {
            let (weights, batch) = case.make();
            let got = derivatives(&gradient(&weights, &cell, &batch).expect("a good batch"));
            let found = mismatches(&got, &Problem::new(&weights, &cell, &batch).with(mistake).differences(), 1e-6);
            assert!(found.len() >= 8, "{mistake:?}, {case:?}: {found:?}");
        }
    }
}
