//! Recurrences of many time steps in one dispatch, whose workgroups wait for each other. Software drivers run few workgroups at the same time, and
//! those by chance. So there the two forms in which none waits are held to the definition: one workgroup and many time steps, and many workgroups
//! with a dispatch for each time step; and two workgroups where they meet. What happens where workgroups wait in vain is seen by having them wait
//! all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::device::{device, discrete_device};
use super::fixtures::with_text;
use naga::{BinaryOperator, Block, Expression, Function, Module, Statement};
use retrospect::Error;
use retrospect::backend::{Backend, Device, Gpu};
use retrospect::batch::{InitialState, Input, Loss, Reduction};
use retrospect::cells::{self, Cell as RecurrentCell};
use retrospect::check::kernels as checked;
use retrospect::check::networks::Case;
use retrospect::kernels::fill::copy;
use retrospect::model::{Config, Model};
use retrospect::network::Network;
use retrospect::program::{Kernel, Lowered, Phase, Program, Shader, Variant};
use retrospect::registry;
use retrospect::tune::{Mode, refuse_waiting, tune};

fn recurrences() -> impl Iterator<Item = &'static Kernel> {
    cells::ALL.iter().flat_map(|cell| [cell.forward, cell.backward])
}

fn persistent(kernel: &'static Kernel) -> impl Iterator<Item = &'static Variant> {
    kernel.variants.iter().filter(|v| v.waits && v.checked.is_none())
}

fn variant(kernel: &'static Kernel, name: &str) -> &'static Variant {
    kernel.variants.iter().find(|v| v.name == name).expect("a variant of that name")
}

fn failures(kernel: &'static Kernel, variant: &'static Variant, sizes: &[[u32; 3]], device: &Device) -> Vec<String> {
    let outcomes = checked::on_gpu(kernel, variant, sizes, device).unwrap();
    let failed = outcomes.iter().filter(|o| !o.passed);
    failed.map(|o| format!("{}: {}", o.shape, o.note.as_deref().unwrap_or_default())).collect()
}

/// B, H and T: one workgroup and several, parts of one, sequences that are no multiple of those at a time.
const SIZES: [[u32; 3]; 6] = [[1, 1, 9], [3, 8, 7], [5, 17, 5], [7, 19, 3], [2, 65, 3], [1, 300, 2]];

#[test]
fn where_nothing_waits_every_cell_is_as_defined() {
    for kernel in recurrences() {
        // The others have as many sums of a unit as one of these, and so the same text but for the cell.
        let is_whole = kernel.name.starts_with("elman") || kernel.name.starts_with("lstm");
        for variant in persistent(kernel).filter(|v| is_whole || v.name.starts_with("persistent_32")) {
            let failed = failures(kernel, variant, &SIZES, device());
            assert!(failed.is_empty(), "{kernel:?}/{}: {failed:#?}", variant.name);
        }
    }
}

/// Many time steps, in one dispatch and in one each.
#[test]
fn long_windows_are_as_defined() {
    for (kernel, name, size) in [
        ("elman_forward", "persistent_64", [3, 63, 200]),
        ("elman_backward", "persistent_16", [1, 16, 199]),
        ("gru_forward", "persistent_8", [1, 9, 200]),
        ("lstm_backward", "persistent_16", [2, 7, 197]),
    ] {
        let kernel = recurrences().find(|k| k.name == kernel).unwrap();
        let failed = failures(kernel, variant(kernel, name), &[size], device());
        assert!(failed.is_empty(), "{kernel:?}/{name}: {failed:#?}");
    }
}

/// Two workgroups that meet, which a driver with two threads lets them do most of the time: they take each other's states, in all that has to
/// go in turn.
#[test]
fn two_workgroups_that_meet_take_each_others_states() {
    for kernel in recurrences() {
        let variant = variant(kernel, "persistent_16_dense");
        let mut met = 0;
        for _ in 0..40 {
            let device = discrete_device();
            device.assume_resident(2);
            // They waited in vain where the second came too late.
            let Ok(outcomes) = checked::on_gpu(kernel, variant, &[[5, 29, 40]], &device) else { continue };
            let failed: Vec<_> = outcomes.iter().filter(|o| !o.passed).collect();
            assert!(failed.is_empty(), "{kernel:?}: {failed:#?}");
            met += 1;
            if met == 3 {
                break;
            }
        }
        assert!(met > 0 || std::thread::available_parallelism().unwrap().get() == 1, "{kernel:?}: they never met");
    }
}

/// A device on which more workgroups wait for each other than run at the same time.
fn forced() -> Device {
    let device = discrete_device();
    device.assume_resident(64);
    device
}

/// The definition, and the variant on a device where its workgroups wait in vain: an error, soon.
#[test]
fn workgroups_that_wait_in_vain_give_up() {
    for kernel in recurrences() {
        let variant = variant(kernel, "persistent_16");
        let device = forced();
        device.compile(&[(kernel.name, variant)], false).unwrap();
        let begun = Instant::now();
        // Twenty workgroups: more than the threads of most adapters, each of which runs one at a time. Two may meet by chance.
        let error =
            checked::on_gpu(kernel, variant, &[[2, 320, 20]], &device).expect_err("not all workgroups run at the same time");
        assert!(matches!(&error, Error::Device { message, .. } if message.contains("timed out")), "{kernel:?}: {error}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{kernel:?}: {:?}", begun.elapsed());
        // One workgroup waits for nobody, and what was given up before is forgotten.
        assert_eq!(failures(kernel, variant, &[[2, 16, 20]], &device), [""; 0]);
    }
}

fn case(cell: &'static RecurrentCell) -> Case {
    let config = Config { cell, layers: 2, ..Config::new(Input::Vectors(3), 37, 5, Loss::SquaredError, 3, 6) };
    Case { config, masked: true, reduction: Reduction::Mean }
}

/// A device that trusts the variant of a name for every recurrence of a program.
fn trusting(device: Device, program: &Program, name: &str) -> Device {
    let mut device = device;
    for step in program.steps().iter().filter(|step| recurrences().any(|kernel| std::ptr::eq(kernel, step.kernel))) {
        device.choose(&registry::kernels(), &[(step.shape(), name.to_owned())].into()).unwrap();
        device.trust(step, variant(step.kernel, name));
    }
    device
}

/// Losses, and the outputs and states at the end, of some training steps, of which one comes after what `at` does.
fn trained(case: &Case, model: Model, backend: Box<dyn Backend>, steps: u64, at: (u64, &dyn Fn())) -> (Vec<u32>, Vec<f32>) {
    let mut network = Network::on(model, backend);
    network.set_parameters(&case.weights()).unwrap();
    let mut losses = Vec::new();
    for step in 0..steps {
        if step == at.0 {
            (at.1)();
        }
        let mut batch = case.batch(step);
        if step > 0 {
            batch.initial_state = InitialState::Carried;
        }
        network.train_step(&batch, 0.05).unwrap();
        if step % 10 == 9 {
            network.fetch().unwrap();
            losses.extend(network.reports(step % 20 == 9).unwrap().iter().map(|report| report.loss.to_bits()));
        }
    }
    network.fetch().unwrap();
    losses.extend(network.reports(true).unwrap().iter().map(|report| report.loss.to_bits()));
    let gradient = network.gradient(&case.batch(99)).unwrap();
    let values = gradient.parameters.values().flat_map(|values| values.iter().copied().collect::<Vec<f32>>());
    (losses, values.chain(gradient.outputs.iter().copied()).collect())
}

/// Where workgroups wait in vain from the start, what is handed out is in every bit what the other variants compute, and none waits again.
#[test]
fn what_was_waited_for_in_vain_is_computed_without_waiting() {
    for cell in cells::ALL {
        let case = case(cell);
        let model = || Model::new(&case.config).unwrap();
        let expected =
            trained(&case, model(), Box::new(Gpu::new(&discrete_device(), model().program()).unwrap()), 25, (99, &|| ()));
        let device = trusting(forced(), model().program(), "persistent_16");
        let told = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&told);
        device.on_waiting_in_vain(move |_, said| {
            assert!(said.contains("persistent_16"), "{said}");
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let gpu = Gpu::new(&device, model().program()).unwrap();
        let waits = (0..model().program().len()).any(|step| gpu.variant(step) == Some("persistent_16"));
        assert!(waits, "{}: nothing waits", cell.name);
        let got = trained(&case, model(), Box::new(gpu), 25, (99, &|| ()));
        assert!(got == expected, "{}: {:?} and {:?}", cell.name, got.0, expected.0);
        assert_eq!(told.load(Ordering::Relaxed), 1, "{}", cell.name);
        assert!(device.has_waited_in_vain() && device.resident() == Some(0));
        let again = Gpu::new(&device, model().program()).unwrap();
        assert!((0..model().program().len()).all(|step| again.variant(step) != Some("persistent_16")), "{}", cell.name);
    }
}

/// Where workgroups wait in vain in the middle, training goes on from before as if nothing had been: no step is lost, and none is taken twice.
#[test]
fn what_was_waited_for_in_vain_later_is_repeated() {
    let case = case(RecurrentCell::usual());
    let model = || Model::new(&case.config).unwrap();
    let gpu = || {
        let device = trusting(device().clone(), model().program(), "persistent_16");
        Gpu::new(&device, model().program()).unwrap()
    };
    let (losses, values) = trained(&case, model(), Box::new(gpu()), 130, (999, &|| ()));
    for at in [63, 64, 65, 129] {
        let planted = gpu();
        let switch = planted.pretend_waiting_in_vain();
        let (got, at_end) = trained(&case, model(), Box::new(planted), 130, (at, &switch));
        assert_eq!(got.len(), losses.len(), "{at}");
        // In the same variants, since here they wait for nothing.
        assert!(got == losses && at_end == values, "{at}: {got:?}, not {losses:?}");
    }
}

/// Where workgroups wait in vain while variants are compared, they are left out; and so they are where a run goes on that was computed with them.
#[test]
fn what_waits_in_vain_is_never_chosen() {
    let right = RecurrentCell::usual().forward;
    let variants: Vec<Variant> = ["persistent_16", "tiled"].map(|name| Variant { ..*variant(right, name) }).into();
    let kernel: &'static Kernel = Box::leak(Box::new(Kernel { variants: variants.leak(), ..*right }));
    let mut program = Program::new();
    (kernel.sample)(&mut program, [2, 32, 5]);
    program.steps_mut()[0].kernel = kernel;
    let step = &program.steps()[0];
    let mut device = forced();
    let outcome = tune(&mut device, &program, Mode::Full, None).unwrap();
    let measured = &outcome.measured[0];
    assert_eq!((measured.chosen, measured.candidates.len()), ("tiled", 2));
    let problem = measured.candidates.iter().find(|c| c.variant == "persistent_16").unwrap().problem.as_deref();
    assert!(problem.is_some_and(|problem| problem.contains("timed out")), "{problem:?}");
    let mut again = forced();
    again.choose(&registry::kernels(), &[(step.shape(), "persistent_16".to_owned())].into()).unwrap();
    let notes = tune(&mut again, &program, Mode::Off, None).unwrap().notes;
    assert!(notes.len() == 1 && notes[0].contains("in another variant, since persistent_16 failed"), "{notes:?}");
    assert_eq!(again.variant(step, &again.cuts(&program)).name, "tiled");
}

const ALL_WAITING: [&str; 8] = [
    "persistent_64",
    "persistent_32",
    "persistent_16",
    "persistent_8",
    "persistent_64_dense",
    "persistent_32_dense",
    "persistent_16_dense",
    "persistent_8_dense",
];

/// What is kept of it counts in later runs, and for no workgroup alone.
#[test]
fn that_workgroups_waited_in_vain_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::new();
    (RecurrentCell::usual().forward.sample)(&mut program, [2, 32, 5]);
    let names = |device: &Device, units: u32| -> Vec<&str> {
        let mut program = Program::new();
        (RecurrentCell::usual().forward.sample)(&mut program, [2, units, 5]);
        let cuts = device.cuts(&program);
        let waiting = device.candidates(&program.steps()[0], &cuts).filter(|v| v.waits && v.checked.is_none());
        waiting.map(|v| v.name).collect()
    };
    let device = forced();
    assert_eq!(names(&device, 32), ALL_WAITING);
    refuse_waiting(&device, folder.path()).unwrap();
    let mut again = forced();
    tune(&mut again, &program, Mode::Off, Some(folder.path())).unwrap();
    for device in [device, again] {
        assert!(device.has_waited_in_vain() && device.resident() == Some(0));
        assert_eq!(
            (names(&device, 32), names(&device, 300)),
            (vec!["persistent_64", "persistent_32", "persistent_64_dense", "persistent_32_dense"], vec![])
        );
    }
}

/// A software adapter that passes for a GPU is found out: no more of its workgroups run at the same time than it has threads.
#[test]
fn workgroups_that_do_not_run_at_the_same_time_are_found_out() {
    if device().adapter.is_hardware() {
        assert!(device().resident().is_some_and(|most| most >= 1));
        return;
    }
    let threads = std::thread::available_parallelism().unwrap().get() as u32;
    let (resident, passing) = (device().resident(), discrete_device().resident());
    assert!(resident.is_none() && passing.is_some_and(|most| (1..=threads).contains(&most)), "{resident:?}, {passing:?}");
}

/// A variant with its text edited.
fn edited(right: &Variant, from: &[(&str, &str)]) -> &'static Variant {
    let shaders = right.shaders.iter().map(|shader| {
        let text = from.iter().fold(shader.wgsl(), |text, (from, to)| text.replace(from, to));
        with_text(shader, text.leak())
    });
    let shaders: Vec<Shader> = shaders.collect();
    for (text, _) in from {
        assert!(right.shaders.iter().any(|shader| shader.wgsl().contains(text)), "{text:?} is not there");
    }
    Box::leak(Box::new(Variant { shaders: shaders.leak(), ..*right }))
}

/// States that are taken before they are written are wrong, and not taken for right.
#[test]
fn states_that_are_read_too_early_are_seen() {
    let kernel = cells::ALL[0].forward;
    let hasty =
        edited(variant(kernel, "persistent_16"), &[("let most = patience;", "let most = 1u;"), ("atomicStore(&over, 1u);", "")]);
    assert_eq!(failures(kernel, hasty, &[[2, 16, 5]], &forced()), [""; 0], "of one workgroup nothing is read too early");
    assert!(!failures(kernel, hasty, &[[2, 32, 5]], &forced()).is_empty());
}

/// States of a launch before that are still there are wrong as well.
#[test]
fn states_of_the_launch_before_are_seen() {
    fn lower(step: &retrospect::program::Step, cuts: &retrospect::program::Cuts) -> Lowered {
        let right = (variant(cells::ALL[0].forward, "persistent_16").lower)(step, cuts);
        let is_right = |phase: &Phase| phase.pieces.iter().all(|piece| piece.shader == 0);
        Lowered { phases: right.phases.into_iter().filter(is_right).collect() }
    }
    let kernel = cells::ALL[0].forward;
    let stale: &'static Variant = Box::leak(Box::new(Variant { lower, ..*variant(kernel, "persistent_16") }));
    assert!(!failures(kernel, stale, &[[2, 32, 5]], &forced()).is_empty());
}

/// A state whose bits are those of what is not written yet would be waited for; so it becomes another NaN.
#[test]
fn no_state_has_the_bits_of_what_is_not_written() {
    let kernel = RecurrentCell::usual().forward;
    let right = variant(kernel, "persistent_64");
    let taken = edited(right, &[("select(bits, vec4<u32>(0x7fc00000u), bits == vec4<u32>(UNWRITTEN))", "bits")]);
    let forged = (
        "store(time, first + own, col, unit(inputs, total))",
        "store(time, first + own, col, After(bitcast<vec4<f32>>(vec4<u32>(0xffffffffu))))",
    );
    let mut program = Program::new();
    (kernel.sample)(&mut program, [2, 4, 5]);
    let read = |variant: &'static Variant| {
        let mut gpu = Gpu::with_variants(device(), &program, &|_| Some(variant)).unwrap();
        gpu.run(0..1).unwrap();
        gpu.read(program.steps()[0].windows[2])
    };
    let states = read(edited(right, &[forged])).unwrap();
    assert!(states[8..].iter().all(|h| h.is_nan()) && states[..8].iter().all(|h| *h == 0.0), "{states:?}");
    assert!(read(edited(taken, &[forged])).is_err());
    // The first states are another's, and may be anything.
    let mut gpu = Gpu::with_variants(device(), &program, &|_| Some(right)).unwrap();
    gpu.write(program.steps()[0].windows[2].slice_rows(0..1), &[f32::from_bits(u32::MAX); 4]).unwrap();
    gpu.run(0..1).unwrap();
    let states = gpu.read(program.steps()[0].windows[2]).unwrap();
    assert!(
        states.chunks(8).all(|step| step[..4].iter().all(|h| h.is_nan()) && step[4..].iter().all(|h| !h.is_nan())),
        "{states:?}"
    );
}

/// A thousand launches in a row with other work between them, of which all give the same bits.
#[test]
fn a_thousand_launches_give_the_same_bits() {
    let kernel = cells::ALL[cells::ALL.len() - 1].forward;
    let mut program = Program::new();
    (kernel.sample)(&mut program, [3, 19, 4]);
    let windows = program.steps()[0].windows.clone();
    let other = program.matrix("other", 64, 64);
    let further = program.matrix("further", 64, 64);
    copy(&mut program, other, further);
    let mut gpu =
        Gpu::with_variants(device(), &program, &|step| step.kernel.variants.iter().find(|v| v.name == "persistent_64")).unwrap();
    for (stream, window) in windows.iter().enumerate() {
        let values: Vec<f32> = (0..window.len()).map(|i| ((i * 7 + stream) % 23) as f32 / 23.0 - 0.5).collect();
        gpu.write(*window, &values).unwrap();
    }
    let mut first = None;
    for round in 0..1000 {
        gpu.run(0..2).unwrap();
        if round % 50 == 0 {
            let bits: Vec<u32> = gpu.read(windows[2]).unwrap().into_iter().map(f32::to_bits).collect();
            assert_eq!(first.get_or_insert_with(|| bits.clone()), &bits, "{round}");
        }
    }
}

/// Loops without a bound that can be seen: a counter that goes up by a constant and is compared with what does not change in the loop.
fn unbounded(module: &Module) -> Vec<String> {
    let mut found = Vec::new();
    let functions = module.functions.iter().map(|(_, f)| f).chain(module.entry_points.iter().map(|e| &e.function));
    functions.for_each(|function| loops(function, &function.body, &mut found));
    found
}

fn loops(function: &Function, block: &Block, found: &mut Vec<String>) {
    for statement in block.iter() {
        match statement {
            Statement::Block(inner) => loops(function, inner, found),
            Statement::If { accept, reject, .. } => {
                loops(function, accept, found);
                loops(function, reject, found);
            }
            Statement::Switch { cases, .. } => cases.iter().for_each(|case| loops(function, &case.body, found)),
            Statement::Loop { body, continuing, .. } => {
                if !is_bounded(function, body, continuing) {
                    found.push(format!("a loop in {} has no bound", function.name.as_deref().unwrap_or("main")));
                }
                loops(function, body, found);
                loops(function, continuing, found);
            }
            _ => {}
        }
    }
}

fn is_bounded(function: &Function, body: &Block, continuing: &Block) -> bool {
    let all = &function.expressions;
    let guard = body.iter().find_map(|statement| match statement {
        Statement::If { condition, accept, reject } if accept.is_empty() && matches!(reject.first(), Some(Statement::Break)) => {
            Some(*condition)
        }
        _ => None,
    });
    let counter = guard.and_then(|condition| match all[condition] {
        Expression::Binary { op: BinaryOperator::Less, left, .. } => match all[left] {
            Expression::Load { pointer } => Some(pointer),
            _ => None,
        },
        _ => None,
    });
    let Some(counter) = counter else { return false };
    let goes_up = continuing.iter().any(|statement| match statement {
        Statement::Store { pointer, value } if *pointer == counter => match all[*value] {
            Expression::Binary { op: BinaryOperator::Add, left, right } => {
                let is_constant = matches!(all[right], Expression::Literal(_) | Expression::Constant(_));
                matches!(all[left], Expression::Load { pointer } if pointer == counter) && is_constant
            }
            _ => false,
        },
        _ => false,
    });
    goes_up && !body.iter().any(|statement| matches!(statement, Statement::Store { pointer, .. } if *pointer == counter))
}

#[test]
fn every_loop_has_a_bound() {
    let parsed = |text: &str| naga::front::wgsl::parse_str(text).unwrap();
    for kernel in recurrences() {
        for shader in persistent(kernel).flat_map(|variant| variant.shaders) {
            let found = unbounded(&parsed(&shader.wgsl()));
            assert!(found.is_empty(), "{kernel:?}: {found:?}");
        }
    }
    let text = variant(cells::ALL[0].forward, "persistent_16").shaders[0].wgsl();
    for (from, to) in [
        ("for (var looks = 0u; looks < most; looks++) {", "var looks = 0u;\n    loop {"),
        ("for (var looks = 0u; looks < most; looks++) {", "for (var looks = 0u; looks < most; looks += most) {"),
        ("for (; round < end; round++) {", "for (; round != end; round++) {"),
    ] {
        assert!(text.contains(from));
        assert_eq!(unbounded(&parsed(&text.replace(from, to))).len(), 1, "{to}");
    }
}
