//! What must not matter: a second run, the number of threads, that training diverged before parameters were set, and, for the size of
//! a program, the number of time steps. For what must not matter of a batch see `properties`.

use super::device::{device, load};
use ndarray::ArrayD;
use retrospect::backend::Cpu;
use retrospect::batch::{Batch, InitialState, Input, Loss, Reduction};
use retrospect::cells::Cell;
use retrospect::check::networks::Case;
use retrospect::model::{Config, Model, NamedArrays, RecurrentInit, initial};
use retrospect::network::Network;
use retrospect::program::{Cuts, Mat, Program};

const SEED: u64 = 3;

fn case(input: Input, loss: Loss, [hidden, batch, window]: [usize; 3], layers: usize) -> Case {
    let shape = Config::new(input, hidden, 7, loss, batch, window);
    Case { config: Config { layers, clip: Some(0.5), ..shape }, masked: true, reduction: Reduction::Mean }
}

/// Trains from the same seed on the same batches: the parameters, and the bits of what was reported.
fn train(mut network: Network, case: &Case, steps: u64) -> NamedArrays {
    network.initialise(SEED, RecurrentInit::Uniform).unwrap();
    for step in 0..steps {
        let batch = case.batch(step);
        let initial_state = if step % 3 == 0 { batch.initial_state.clone() } else { InitialState::Carried };
        network.train_step(&Batch { initial_state, ..batch }, 0.01).unwrap();
    }
    network.fetch().unwrap();
    let reports = network.reports(true).unwrap();
    let mut all = network.parameters().unwrap();
    let losses: Vec<f32> = reports.iter().flat_map(|r| [r.loss, r.gradient_norm]).collect();
    assert_eq!(losses.len(), 2 * steps as usize);
    all.insert("reports".into(), ndarray::arr1(&losses).into_dyn());
    all
}

/// Writes NaN to all that a program says it does not need from one run of it to the next.
fn poison_transients(network: &mut Network) -> usize {
    let program = network.model().program().clone();
    let is_transient = |w: &Mat| program.buffers().iter().any(|b| b.transient && b.name == program.name(*w));
    let windows: Vec<Mat> = program.steps().iter().flat_map(|s| &s.windows).filter(|w| is_transient(w)).copied().collect();
    for window in &windows {
        network.backend().write(*window, &vec![f32::NAN; window.len()]).unwrap();
    }
    windows.len()
}

/// What shares memory is written before it is read, and nothing else is in that memory: poisoned before each step it makes no
/// difference.
#[test]
fn what_transient_buffers_hold_between_steps_does_not_matter() {
    for recompute in [None, Some(3)] {
        for input in [Input::Tokens(19), Input::Vectors(7)] {
            let mut case = case(input, Loss::CrossEntropy, [33, 5, 7], 3);
            case.config.recompute = recompute;
            for on in ["CPU", "tiled"] {
                let network = || load(Model::new(&case.config).unwrap(), device(), on);
                let clean = train(network(), &case, 4);
                let mut poisoned = network();
                poisoned.initialise(SEED, RecurrentInit::Uniform).unwrap();
                for step in 0..4 {
                    assert!(poison_transients(&mut poisoned) > 8);
                    let batch = case.batch(step);
                    let initial_state = if step % 3 == 0 { batch.initial_state.clone() } else { InitialState::Carried };
                    poisoned.train_step(&Batch { initial_state, ..batch }, 0.01).unwrap();
                }
                let mut clean = clean;
                clean.remove("reports");
                assert_eq!(other_bits(&poisoned.parameters().unwrap(), &clean), [""; 0], "{on}, {case:?}");
            }
        }
    }
}

/// The tensors of which any bit differs.
fn other_bits(a: &NamedArrays, b: &NamedArrays) -> Vec<String> {
    let same =
        |a: &ArrayD<f32>, b: &ArrayD<f32>| a.shape() == b.shape() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
    assert_eq!(a.len(), b.len());
    a.iter().filter(|(name, a)| !same(a, &b[*name])).map(|(name, _)| name.clone()).collect()
}

#[test]
fn a_second_run_on_the_gpu_gives_the_same_bits() {
    for case in
        [case(Input::Tokens(19), Loss::CrossEntropy, [65, 19, 7], 2), case(Input::Vectors(7), Loss::SquaredError, [63, 1, 5], 1)]
    {
        for on in ["tiled", "software"] {
            let run = || train(load(Model::new(&case.config).unwrap(), device(), on), &case, 20);
            let (first, second) = (run(), run());
            assert_eq!(other_bits(&first, &second), [""; 0], "{on}, {case:?}");
        }
    }
}

/// Sizes on both sides of those from which the threads share each time step of a recurrence, several slices of a batch, a batch of one,
/// products large enough to be shared, and few sums over many rows.
#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let of = |cell: &str, mut case: Case| {
        case.config.cell = Cell::named(cell).unwrap();
        case
    };
    for (case, steps) in [
        (of("lstm", case(Input::Vectors(1), Loss::SquaredError, [16, 7, 400], 1)), 4),
        (of("gru", case(Input::Vectors(3), Loss::SquaredError, [19, 2, 1100], 2)), 4),
        (of("lstm", case(Input::Tokens(19), Loss::CrossEntropy, [330, 9, 3], 1)), 4),
        (case(Input::Tokens(65), Loss::CrossEntropy, [64, 50, 7], 2), 20),
        (case(Input::Vectors(19), Loss::SquaredError, [768, 37, 3], 1), 4),
        (case(Input::Tokens(19), Loss::CrossEntropy, [769, 37, 3], 1), 4),
        (case(Input::Vectors(7), Loss::CrossEntropy, [1025, 1, 3], 1), 4),
        (case(Input::Tokens(2000), Loss::CrossEntropy, [1, 65, 19], 3), 4),
    ] {
        let run = |threads| {
            let model = Model::new(&case.config).unwrap();
            let backend = Box::new(Cpu::new(model.program(), Some(threads)).unwrap());
            train(Network::on(model, backend), &case, steps)
        };
        let orthogonal = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| initial(&case.config, SEED, RecurrentInit::Orthogonal).unwrap())
        };
        let one = orthogonal(1);
        assert_eq!(other_bits(&one, &orthogonal(3)), [""; 0], "orthogonal, {case:?}");
        let one = run(1);
        for threads in [2, 5] {
            assert_eq!(other_bits(&one, &run(threads)), [""; 0], "{threads} threads, {case:?}");
        }
    }
}

#[test]
fn one_bit_is_seen() {
    let case = case(Input::Tokens(5), Loss::CrossEntropy, [7, 3, 5], 1);
    let run = || train(load(Model::new(&case.config).unwrap(), device(), "CPU"), &case, 2);
    let right = run();
    for name in right.keys() {
        let mut wrong = right.clone();
        let value = wrong.get_mut(name).unwrap().iter_mut().last().unwrap();
        *value = f32::from_bits(value.to_bits() ^ 1);
        assert_eq!(other_bits(&right, &wrong), [name.as_str()]);
    }
}

/// How many steps, windows and bytes of scalars a program has, whatever its buffers' sizes are.
fn size(program: &Program) -> Vec<(&'static str, usize, usize)> {
    program.steps().iter().map(|s| (s.kernel.name, s.windows.len(), s.scalars.len())).collect()
}

/// A window of 100,000 steps is the same program as one of 10. Lowered, a recurrence is one phase that runs for each time step,
/// as long as its windows fit a binding, and only sums over all rows have a piece for each 4,096 (or 16,384) of them.
#[test]
fn a_program_takes_the_same_memory_for_any_number_of_time_steps() {
    let cuts = Cuts::new(1 << 25, 1 << 28, 65_535, 30_000);
    for (input, loss) in [(Input::Tokens(19), Loss::CrossEntropy), (Input::Vectors(5), Loss::SquaredError)] {
        let model = |window| Model::new(&case(input, loss.clone(), [19, 1, window], 2).config).unwrap();
        let (short, long) = (model(10), model(100_000));
        assert_eq!(size(short.program()), size(long.program()));
        for (short, long) in short.program().steps().iter().zip(long.program().steps()) {
            for variant in short.kernel.variants {
                let [few, many] = [short, long].map(|step| (variant.lower)(step, &cuts));
                let pieces =
                    |lowered: &retrospect::program::Lowered| lowered.phases.iter().map(|p| p.pieces.len()).sum::<usize>();
                let label = format!("{:?}/{}: {} and {} pieces", short.kernel, variant.name, pieces(&few), pieces(&many));
                if short.kernel.name.starts_with("elman") {
                    assert_eq!((few.phases.len(), pieces(&few)), (many.phases.len(), pieces(&many)), "{label}");
                    // Many in a dispatch where a workgroup has a whole sequence.
                    let expected = match variant.name {
                        name if name.starts_with("sequence") => 100_000u64.div_ceil(1024),
                        // The product of a time step in parts, and their sum.
                        name if name.starts_with("wide") || name.starts_with("large") => 200_000,
                        // And before it the states are turned.
                        name if name.starts_with("turned") => 300_000,
                        // One workgroup has many in a dispatch, and several that may not wait for each other one; the states are filled
                        // before and looked at behind.
                        name if name.starts_with("persistent_64") || name.starts_with("persistent_32") => {
                            100_000u64.div_ceil(4096) + 2
                        }
                        name if name.starts_with("persistent") => 100_000 + 2,
                        _ => 100_000,
                    };
                    assert_eq!(many.dispatches(), expected, "{label}");
                } else {
                    // One more for what adds the partial sums of a piece.
                    assert!(pieces(&many) <= pieces(&few) + 2 * 100_000usize.div_ceil(4096), "{label}");
                }
            }
        }
    }
}

/// A step whose loss is not finite changes nothing, nor does any after it, until parameters are set.
#[test]
fn a_network_that_diverged_trains_again_from_new_parameters() {
    let case = case(Input::Vectors(7), Loss::SquaredError, [19, 7, 5], 1);
    let weights = case.weights();
    for on in ["CPU", "tiled"] {
        let mut network = load(Model::new(&case.config).unwrap(), device(), on);
        network.set_parameters(&weights).unwrap();
        network.train_step(&case.batch(1), 1e30).unwrap();
        let diverged = network.parameters().unwrap();
        for _ in 0..2 {
            network.train_step(&case.batch(1), 0.01).unwrap();
            assert_eq!(network.parameters().unwrap(), diverged, "{on}");
        }
        network.fetch().unwrap();
        let reports = network.reports(true).unwrap();
        let named: Vec<_> = reports.iter().map(|r| network.diverged(r).is_some()).collect();
        assert_eq!(named, [false, true, true], "{on}: {reports:?}");
        network.set_parameters(&weights).unwrap();
        network.train_step(&case.batch(1), 0.01).unwrap();
        assert_ne!(network.parameters().unwrap(), weights, "{on}");
    }
}
