//! Lockstep, itself checked: cut into many pieces a network's steps still are what they are defined to be, and a fault in any step is
//! found at that step. That they are on an adapter as it is, `retrospect check` shows and `kernels` runs.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::device::{backend, device, small_device};
use super::faulty::{Fault, Faulty, written};
use retrospect::backend::Device;
use retrospect::batch::{Batch, InitialState, Input};
use retrospect::check::networks::{Case, cases, in_lockstep};
use retrospect::check::{Deviation, Lockstep};
use retrospect::model::{Config, Model, Optimizer};
use retrospect::network::Network;
use retrospect::program::Step;

const VARIANTS: [&str; 6] = ["subgroup", "software", "wide", "skinny", "tiled", "tree"];

/// With bindings of 6 KiB, buffers of 9 KiB and few workgroups tensors are several buffers and the same steps are cut into many pieces: in
/// some networks not even the states of two time steps are one binding.
#[test]
fn cut_into_many_pieces_every_step_is_the_same() {
    let small = small_device(6 << 10, 9 << 10);
    // The order of the tokens is not cut. Long windows, so that little else is in one piece.
    let fits =
        |case: &&Case| case.config.batch * (case.config.window + 60) <= 1400 || matches!(case.config.input, Input::Vectors(_));
    let (mut cut, mut used) = (BTreeSet::new(), BTreeSet::new());
    let all = cases();
    // One of the larger networks of a cell that is rare in the table, besides.
    let gru = all.iter().filter(fits).filter(|case| case.config.cell.name == "gru").max_by_key(|case| case.config.hidden);
    for (number, case) in all.iter().filter(fits).step_by(11).chain(gru).enumerate() {
        // A wide layer of several gates is cut with fewer time steps, and takes longer for each.
        let more = if case.config.hidden > 40 && case.config.cell.gates > 1 { 20 } else { 60 };
        let (window, recompute) = (case.config.window + more, case.config.recompute.map(|steps| steps + 20));
        let case = &Case { config: Config { window, recompute, ..case.config.clone() }, ..case.clone() };
        // Two variants each: every one meets many networks.
        for variant in VARIANTS.into_iter().cycle().skip(2 * number).take(2) {
            let model = Model::new(&case.config).unwrap();
            let lowered = |step: &Step, on: &Device| {
                let cuts = on.cuts(model.program());
                let named = step.kernel.variants.iter().find(|v| v.name == variant && on.is_able(v, step, &cuts));
                (named.unwrap_or_else(|| on.variant(step, &cuts)).lower)(step, &cuts).dispatches()
            };
            let steps = model.program().steps().iter().filter(|step| lowered(step, &small) > lowered(step, device()));
            cut.extend(steps.map(|step| step.kernel.name));
            used.extend(model.program().steps().iter().map(|step| step.kernel.name));
            for outcome in in_lockstep(case, Model::new(&case.config).unwrap(), Some(variant), &mut |program| {
                Ok(backend(program, &small, variant))
            })
            .unwrap()
            {
                assert!(outcome.passed, "{variant}, {case:?}: {outcome:?}");
            }
        }
    }
    // Every kernel that a network records, but for two that have a few rows to move.
    used.retain(|kernel| !["carry", "fill"].contains(kernel));
    cut.retain(|kernel| used.contains(kernel));
    assert_eq!(cut, used);
}

/// A network in which every kind of step is there and does something.
fn sample(optimizer: Optimizer) -> Case {
    let case = cases().into_iter().find(|c| c.masked && c.config.layers == 2 && c.config.window == 5).unwrap();
    Case { config: Config { optimizer, clip: Some(0.01), ..case.config.clone() }, ..case }
}

/// Each step in turn does not run, then each window that it writes is off by 1e-4 at one place, then it writes somewhere else: the
/// comparison names that step, kernel, variant and buffer, or the next step that reads what was changed, and nothing else.
#[test]
fn a_fault_in_any_step_is_found_at_that_step() {
    for (optimizer, on) in
        [(Optimizer::ADAM, "tiled"), (Optimizer::Momentum { momentum: 0.9 }, "software"), (Optimizer::Sgd, "CPU")]
    {
        let case = sample(optimizer);
        let model = Model::new(&case.config).unwrap();
        let (program, training) = (model.program().clone(), model.forward.start..model.carry.end);
        let fault = Arc::new(Mutex::new(None));
        let faulty = Faulty { inner: backend(&program, device(), on), fault: Arc::clone(&fault) };
        let (lockstep, found) = Lockstep::new(&program, Box::new(faulty));
        let mut network = Network::on(model, Box::new(lockstep));
        let wrong = || found.take().into_iter().filter(|d| !d.is_within()).collect::<Vec<Deviation>>();
        network.set_parameters(&case.weights()).unwrap();
        network.train_step(&case.batch(1), 0.01).unwrap();
        network.train_step(&Batch { initial_state: InitialState::Carried, ..case.batch(2) }, 0.01).unwrap();
        assert_eq!(wrong(), []);

        let mut seed = 3;
        let mut planted = 0;
        for index in training.clone() {
            let step = &program.steps()[index];
            let perturbed = written(step).map(|w| (Fault::Perturbed(index, w, 1e-4), program.name(w)));
            for (plant, buffer) in [(Fault::Dropped(index), "")].into_iter().chain(perturbed) {
                // The flag that training diverged is zero, and stays so when scaled.
                if buffer == "status" {
                    continue;
                }
                *fault.lock().unwrap() = Some(plant);
                seed += 1;
                network.train_step(&case.batch(seed), 0.01).unwrap();
                *fault.lock().unwrap() = None;
                let found = wrong();
                let variant = |d: &Deviation| d.variant.is_some() == (on != "CPU");
                let at_it = |d: &Deviation| (d.step, d.kernel) == (index, step.kernel.name) && variant(d);
                assert!(!found.is_empty() && found.iter().all(at_it), "{plant:?} of {step:?} gives {found:?}");
                assert!(found.iter().any(|d| d.buffer.contains(buffer)), "{plant:?} in {buffer} gives {found:?}");
                planted += 1;
            }
        }
        assert!(planted > 40, "only {planted} faults");

        // The first layer's recurrence changes the decoder's weights, which the product of the outputs reads next.
        let product =
            training.clone().find(|&i| program.steps()[i].windows.iter().any(|w| program.name(*w) == "outputs")).unwrap();
        let before = training.clone().find(|&i| program.steps()[i].kernel.name == "elman_forward").unwrap();
        *fault.lock().unwrap() = Some(Fault::Stray(before, program.steps()[product].windows[1]));
        network.train_step(&case.batch(seed + 1), 0.01).unwrap();
        let found = wrong();
        assert!(found.first().is_some_and(|d| d.step == product), "{found:?}");
    }
}
