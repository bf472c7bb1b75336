//! Whole training steps, as a network records them, in lockstep: the CPU against the definitions in f64, and the GPU, in
//! every variant, against the CPU. Two steps each, so that the second starts from an optimiser's states and a carried state.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use super::device::device;
use super::networks::{Case, U, gpu, networks};
use super::pair::{Bound, Fault, Faulty, Pair, written};
use retrospect::backend::{Backend, Cpu, Device};
use retrospect::batch::{Batch, InitialState};
use retrospect::check::{Exact, Mismatch};
use retrospect::model::{Config, Model, Optimizer};
use retrospect::program::{Mat, Program, Step};
use retrospect::train::Network;

const VARIANTS: [&str; 2] = ["software", "tiled"];

/// How far a step in f32 may be from the definition, relative to the largest value of what it writes. A sum of K terms
/// rounds K times, each time by at most u of a partial sum; errors point either way, so they grow with √K, and 4 is for four
/// times their spread. Partial sums are no larger than the largest result or, where sums cancel, than a random walk of the
/// terms, Σ|x·w|/√K: so 4·u·max(√K, Σ|x·w| / largest), with K at most the longest side of a window. Activations, exponentials,
/// logarithms, divisions and the inputs' own rounding add some units of the last place: 16. A recurrence makes such an error
/// at each time step and carries the earlier ones along, at most once each, since φ and W contract here, and no more than a
/// dozen of them: W's spectral radius is about 0.58, and 0.58¹² is 0.001.
///
/// The worst seen over the table is 0.57 of it (a gradient of a weight on the CPU, 2.7e-6; 8e-7 between GPU and CPU).
fn rounding(step: &Step, cancellation: f64) -> f64 {
    let terms = |windows: &[Mat]| f64::from(windows.iter().map(|w| w.rows().max(w.cols())).max().unwrap_or(1));
    match step.kernel.name {
        // What is only moved is the same bits.
        "transpose" | "carry" | "journal" | "copy" | "fill" => 0.0,
        "sgd" | "momentum" | "adam" | "clip" | "embedding_lookup" => 16.0 * U,
        "elman_forward" | "elman_backward" => {
            let steps = f64::from(step.windows[0].rows()) / f64::from(step.scalars::<[u32; 2]>()[0]);
            steps.min(12.0) * (4.0 * terms(&step.windows[1..2]).sqrt() + 16.0) * U
        }
        _ => (4.0 * terms(&step.windows).sqrt().max(cancellation) + 16.0) * U,
    }
}

/// Both sides round.
fn twice(step: &Step, cancellation: f64) -> f64 {
    2.0 * rounding(step, cancellation)
}

fn network(
    model: Model,
    expected: Box<dyn Backend>,
    actual: Box<dyn Backend>,
    bound: Bound,
) -> (Network, Rc<RefCell<Vec<Mismatch>>>) {
    let (pair, found) = Pair::new(model.program(), expected, actual, bound);
    (Network::on(model, Box::new(pair)), found)
}

/// Two training steps, the second from the carried state of the first, and a gradient with that of the initial state.
fn train(network: &mut Network, case: &Case) {
    network.set_parameters(&case.weights()).unwrap();
    network.train_step(&case.batch(1), 0.01).unwrap();
    network.train_step(&Batch { initial_state: InitialState::Carried, ..case.batch(2) }, 0.01).unwrap();
    network.gradient(&case.batch(3)).unwrap();
}

#[track_caller]
fn agree(case: &Case, label: &str, make: impl Fn(&Program) -> [Box<dyn Backend>; 2], bound: Bound) {
    let model = Model::new(&case.config).unwrap();
    let [expected, actual] = make(model.program());
    let (mut network, found) = network(model, expected, actual, bound);
    train(&mut network, case);
    let found: Vec<String> = found.borrow().iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{label}, {case:?}:\n{}", found.join("\n"));
}

fn cpu(program: &Program) -> Box<dyn Backend> {
    Box::new(Cpu::new(program, Some(2)).unwrap())
}

#[test]
fn the_cpu_runs_every_step_as_defined() {
    for case in networks() {
        agree(&case, "CPU", |program| [Box::new(Exact::new(program)), cpu(program)], rounding);
    }
}

#[test]
fn the_gpu_runs_every_step_as_the_cpu_does() {
    for (i, case) in networks().iter().enumerate() {
        // One variant a network: each has the whole table's sizes, activations, losses and depths.
        let variant = VARIANTS[i / 11 % 2];
        agree(case, variant, |program| [cpu(program), gpu(device(), program, variant)], twice);
    }
}

/// With bindings of 17 KiB, which the journal's 1,024 rows just fit, and few workgroups the same steps are cut into many pieces.
#[test]
fn cut_into_many_pieces_every_step_is_the_same() {
    let adapter = &device().adapter;
    let limits = wgpu::Limits {
        max_storage_buffer_binding_size: 17 << 10,
        max_compute_workgroups_per_dimension: 40,
        min_storage_buffer_offset_alignment: 256,
        ..adapter.limits()
    };
    let small = pollster::block_on(Device::open_with_limits(adapter, limits)).unwrap();
    // The state of a batch before and after a time step must fit a binding, and so must the tokens' order. Long windows, so that
    // little else does.
    let fits = |case: &&Case| case.config.batch * case.config.hidden.next_multiple_of(4) <= 1024;
    let (mut cut, mut used) = (BTreeSet::new(), BTreeSet::new());
    for case in networks().iter().filter(fits).step_by(5) {
        let case = &Case { config: Config { window: case.config.window + 60, ..case.config.clone() }, ..case.clone() };
        for variant in VARIANTS {
            let model = Model::new(&case.config).unwrap();
            let lowered = |step: &Step, on: &Device| {
                let variants = step.kernel.variants;
                let chosen = variants.iter().find(|v| v.name == variant).unwrap_or(&variants[0]);
                (chosen.lower)(step, &on.cuts()).dispatches()
            };
            let steps = model.program().steps().iter().filter(|step| lowered(step, &small) > lowered(step, device()));
            cut.extend(steps.map(|step| step.kernel.name));
            used.extend(model.program().steps().iter().map(|step| step.kernel.name));
            agree(case, variant, |program| [cpu(program), gpu(&small, program, variant)], twice);
        }
    }
    // Every kernel that a network records, but for two that have a few rows to move.
    used.retain(|kernel| !["carry", "journal"].contains(kernel));
    assert_eq!(cut, used);
}

/// A network in which every kind of step is there and does something.
fn sample(optimizer: Optimizer) -> Case {
    let case = networks().into_iter().find(|c| c.masked && c.config.layers == 2 && c.config.window == 5).unwrap();
    Case { config: Config { optimizer, clip: Some(0.01), ..case.config.clone() }, ..case }
}

/// Each step in turn does not run, then each window that it writes is off by 1e-4 at one place: the comparison names that
/// step, kernel, variant and buffer, and nothing else.
#[test]
fn a_fault_in_any_step_is_found_at_that_step() {
    for (optimizer, variant) in [(Optimizer::Adam, "tiled"), (Optimizer::Momentum { momentum: 0.9 }, "software")] {
        let case = sample(optimizer);
        let model = Model::new(&case.config).unwrap();
        let (program, training) = (model.program().clone(), model.forward.start..model.carry.end);
        let fault = Rc::new(Cell::new(None));
        let faulty = Faulty { inner: gpu(device(), &program, variant), fault: Rc::clone(&fault) };
        let expected = cpu(&program);
        let (mut network, found) = network(model, expected, Box::new(faulty), twice);
        train(&mut network, &case);
        assert!(found.borrow().is_empty(), "{:?}", found.borrow());

        let mut seed = 3;
        let mut planted = 0;
        for index in training {
            let step = &program.steps()[index];
            let perturbed = written(step).map(|w| (Fault::Perturbed(index, w, 1e-4), program.name(w)));
            for (plant, buffer) in [(Fault::Dropped(index), "")].into_iter().chain(perturbed) {
                // The flag that training diverged is zero, and stays so when scaled.
                if buffer == "status" {
                    continue;
                }
                fault.set(Some(plant));
                seed += 1;
                network.train_step(&case.batch(seed), 0.01).unwrap();
                let found = std::mem::take(&mut *found.borrow_mut());
                let at_it = |m: &Mismatch| (m.step, m.kernel) == (index, step.kernel.name) && m.variant.is_some();
                assert!(!found.is_empty() && found.iter().all(at_it), "{plant:?} of {step:?} gives {found:?}");
                assert!(found.iter().any(|m| m.buffer.contains(buffer)), "{plant:?} in {buffer} gives {found:?}");
                planted += 1;
            }
        }
        assert!(planted > 40, "only {planted} faults");
    }
}

/// The definitions find a fault of the CPU by the same comparison.
#[test]
fn a_fault_of_the_cpu_is_found_by_the_definitions() {
    let case = sample(Optimizer::Sgd);
    let model = Model::new(&case.config).unwrap();
    let program = model.program().clone();
    let at = |kernel: &str| program.steps().iter().position(|s| s.kernel.name == kernel).unwrap();
    let (fault, index) = (Rc::new(Cell::new(None)), at("elman_backward"));
    let faulty = Faulty { inner: cpu(&program), fault: Rc::clone(&fault) };
    let (mut network, found) = network(model, Box::new(Exact::new(&program)), Box::new(faulty), rounding);
    train(&mut network, &case);
    assert!(found.borrow().is_empty(), "{:?}", found.borrow());
    let window = written(&program.steps()[index]).next().unwrap();
    for plant in [Fault::Dropped(index), Fault::Perturbed(index, window, 1e-4)] {
        fault.set(Some(plant));
        network.train_step(&case.batch(9), 0.01).unwrap();
        let found = std::mem::take(&mut *found.borrow_mut());
        let named =
            |m: &Mismatch| (m.step, m.kernel, m.buffer.starts_with("gradient of sums")) == (index, "elman_backward", true);
        assert!(found.len() == 1 && found.iter().all(named), "{plant:?} gives {found:?}");
    }
}
