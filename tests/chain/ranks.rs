//! Networks that several ranks train, held to one process and to the reference.

use std::thread;

use ndarray::Array3;
use retrospect::backend::Compute;
use retrospect::batch::{Batch, InitialState, Input, Inputs, Loss, Targets};
use retrospect::cells::Cell;
use retrospect::check::{Report, Scope, run_on_ranks};
use retrospect::model::{Config, Optimizer, RecurrentInit};
use retrospect::network::{Masks, Network};
use retrospect::ranks::{Collective, Worker, threads};
use retrospect::{Error, Result};

use crate::device::device;

/// What each of so many ranks returns, on the devices in turn.
fn together<T: Send>(computes: &[Compute], count: usize, work: impl Fn(Worker, &Compute) -> T + Sync) -> Vec<T> {
    let work = &work;
    thread::scope(|scope| {
        let ranks = threads(count).unwrap().into_iter().zip(computes.iter().cycle());
        let threads: Vec<_> = ranks.map(|(rank, compute)| scope.spawn(move || work(rank, compute))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn cpu() -> Compute {
    Compute::Cpu(Some(1))
}

fn gpu() -> Compute {
    Compute::Gpu(device().clone())
}

fn check(computes: &[Compute], count: usize, quick: bool, wrap: impl Fn(Worker) -> Box<dyn Collective> + Sync) -> Vec<Report> {
    let scope = Scope { quick, ..Scope::default() };
    together(computes, count, |rank, compute| run_on_ranks(compute, wrap(rank), scope, &mut |_| {}).unwrap())
}

/// The gradients of networks of every kind, before and after training steps, from the states that were carried, are the reference's; and a second
/// training has the same bits.
#[test]
fn gradients_of_all_ranks_are_the_references() {
    for (computes, count, quick) in
        [(vec![cpu()], 2, false), (vec![cpu()], 3, true), (vec![gpu()], 2, true), (vec![cpu(), gpu()], 4, true)]
    {
        for report in check(&computes, count, quick, |rank| Box::new(rank)) {
            let failures = report.failures();
            assert!(failures.is_empty(), "{count} ranks: {} of {}: {:?}", failures.len(), report.results.len(), failures[0]);
            assert!(report.results.len() > 60);
        }
    }
}

/// A way to add up that is wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The last rank's values count twice.
    Twice,
    /// Those of the last rank are lost.
    Lost,
    /// The sums of the time before.
    Stale,
    /// The states and outputs of the ranks change places.
    Exchanged,
    /// Each rank has its own sums.
    NotSummed,
}

/// Ranks with a fault.
struct Faulty {
    rank: Worker,
    fault: Fault,
    before: Vec<f32>,
}

impl Collective for Faulty {
    fn rank(&self) -> usize {
        self.rank.rank()
    }

    fn size(&self) -> usize {
        self.rank.size()
    }

    fn begin_sum(&mut self, mut values: Vec<f32>) -> Result<()> {
        let is_last = self.rank() + 1 == self.size();
        match self.fault {
            Fault::Twice if is_last => values.iter_mut().for_each(|value| *value *= 2.0),
            Fault::Lost if is_last => values.fill(0.0),
            Fault::NotSummed => self.before.clone_from(&values),
            _ => {}
        }
        self.rank.begin_sum(values)
    }

    fn finish_sum(&mut self) -> Result<Vec<f32>> {
        let sums = self.rank.finish_sum()?;
        match self.fault {
            Fault::Stale if self.before.len() == sums.len() => Ok(std::mem::replace(&mut self.before, sums)),
            Fault::Stale => {
                self.before.clone_from(&sums);
                Ok(sums)
            }
            Fault::NotSummed if self.before.len() == sums.len() => Ok(self.before.clone()),
            _ => Ok(sums),
        }
    }

    fn gather(&mut self, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        let mut all = self.rank.gather(bytes)?;
        if matches!(self.fault, Fault::Exchanged) {
            all.reverse();
        }
        Ok(all)
    }

    fn broadcast(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        self.rank.broadcast(bytes)
    }

    fn finish(&mut self) -> Result<()> {
        self.rank.finish()
    }
}

#[test]
fn faults_of_ranks_are_caught() {
    for fault in [Fault::Twice, Fault::Lost, Fault::Stale, Fault::Exchanged, Fault::NotSummed] {
        let reports = check(&[cpu()], 2, true, |rank| Box::new(Faulty { rank, fault, before: Vec::new() }));
        assert!(reports.iter().any(|report| !report.failures().is_empty()), "{fault:?}");
    }
}

/// A network with all that depends on the place in a batch: dropout, noise or lengths, masks and carried states.
fn configuration(cell: &'static Cell, batch: usize) -> Config {
    let config = Config::new(Input::Vectors(3), 12, 2, Loss::SquaredError, batch, 9);
    let noise = if cell.gates == 1 { 0.05 } else { 0.0 };
    Config {
        cell,
        layers: 2,
        lengths: true,
        dropout: 0.3,
        output_dropout: 0.2,
        state_noise: noise,
        activity_l2: 0.1,
        optimizer: Optimizer::ADAM,
        clip: Some(0.5),
        ..config
    }
}

/// A batch of sequences of several lengths, of which some outputs do not count.
fn batch(config: &Config, number: usize) -> Batch {
    let value = |t: usize, b: usize, i: usize| ((t * 31 + b * 17 + i * 7 + number * 13) as f32 * 0.7).sin();
    let (window, batch) = (config.window, config.batch);
    let x = Array3::from_shape_fn((window, batch, 3), |(t, b, i)| value(t, b, i));
    let y = Array3::from_shape_fn((window, batch, 2), |(t, b, o)| value(t + 5, b, o + 3) * 0.5);
    let mask = ndarray::Array2::from_shape_fn((window, batch), |(t, b)| f32::from(u8::from(!(t + b + number).is_multiple_of(4))));
    Batch {
        lengths: Some((0..batch).map(|b| 2 + (b * 5 + number) % (window - 1)).collect()),
        mask: Some(mask),
        initial_state: if number == 0 { InitialState::Zero } else { InitialState::Carried },
        ..Batch::new(Inputs::Vectors(x), Targets::Values(y))
    }
}

/// The losses of training steps, and what came of them: the bits of the weights, and the states and outputs of the last batch.
type Trained = (Vec<f32>, Vec<u32>, Array3<f32>, Array3<f32>);

fn train(network: &mut Network, steps: usize) -> Result<Trained> {
    network.initialise(3, RecurrentInit::Uniform)?;
    let mut losses = Vec::new();
    for number in 0..steps {
        let batch = batch(network.config(), number);
        network.train_step(&batch, 0.01)?;
        network.fetch()?;
        losses.extend(network.reports(true)?.iter().map(|report| report.loss));
    }
    let bits = network.parameters()?.values().flat_map(|tensor| tensor.iter().map(|v| v.to_bits()).collect::<Vec<_>>()).collect();
    let states = network.state()?["h"].clone();
    let last = batch(network.config(), steps);
    network.loss(&last)?;
    Ok((losses, bits, states, network.outputs()?))
}

fn assert_close(got: &[f32], expected: &[f32], bound: f32, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let size = expected.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    let worst = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= bound * size, "{what}: off by {worst:e} of {size:e}");
}

/// 200 training steps of elman and lstm, with all that depends on the place in a batch, and a batch that no number of ranks divides: the losses of
/// any number of ranks are those of one process to 1e-4, and the same ranks have the same bits, all of them.
#[test]
fn losses_do_not_depend_on_the_ranks() {
    for cell in [Cell::named("elman").unwrap(), Cell::named("lstm").unwrap()] {
        let config = configuration(cell, 7);
        let (losses, _, states, outputs) = train(&mut Network::new(&config, &cpu()).unwrap(), 200).unwrap();
        assert!(losses[199] < 0.9 * losses[0], "{} {}", losses[0], losses[199]);
        let several = [(vec![cpu()], 2), (vec![cpu()], 3), (vec![cpu()], 4), (vec![gpu()], 2), (vec![cpu(), gpu()], 2)];
        for (computes, count) in several {
            let what = format!("{}, {count} ranks on {} devices", cell.name, computes.len());
            let run = || {
                together(&computes, count, |rank, compute| {
                    train(&mut Network::with_ranks(&config, compute, Box::new(rank)).unwrap(), 200).unwrap()
                })
            };
            let found = run();
            for (own, bits, own_states, own_outputs) in &found {
                for (step, (own, one)) in own.iter().zip(&losses).enumerate() {
                    assert!((own - one).abs() <= 1e-4 * one.abs(), "{what}: step {step}: {own} and {one}");
                }
                assert_close(own_states.as_slice().unwrap(), states.as_slice().unwrap(), 1e-2, &what);
                assert_close(own_outputs.as_slice().unwrap(), outputs.as_slice().unwrap(), 1e-2, &what);
                assert!(computes.len() > 1 || *bits == found[0].1, "{what}");
            }
            let again = run();
            assert!(
                again.iter().zip(&found).all(|(again, first)| again.0 == first.0 && again.1 == first.1),
                "{what}: other bits"
            );
        }
    }
}

/// Batches with fewer sequences than ranks are evaluated, by those that have a share, and not trained on. Afterwards all goes on as before.
#[test]
fn a_rank_without_a_share_sits_out() {
    let config = configuration(Cell::named("lstm").unwrap(), 5);
    let small = Config { batch: 2, ..config.clone() };
    let one = {
        let mut network = Network::new(&config, &cpu()).unwrap();
        network.initialise(3, RecurrentInit::Uniform).unwrap();
        let loss = network.loss(&batch(&small, 0)).unwrap();
        (loss, network.outputs().unwrap(), network.state().unwrap()["c"].clone())
    };
    for found in together(&[cpu()], 4, |rank, compute| {
        let mut network = Network::with_ranks(&config, compute, Box::new(rank)).unwrap();
        network.initialise(3, RecurrentInit::Uniform).unwrap();
        let loss = network.loss(&batch(&small, 0)).unwrap();
        let (outputs, state) = (network.outputs().unwrap(), network.state().unwrap()["c"].clone());
        let error = network.train_step(&batch(&small, 0), 0.1).unwrap_err();
        assert!(
            error.exit_code() == 2 && error.to_string().contains("2 sequences cannot be shared out among 4 ranks"),
            "{error}"
        );
        network.train_step(&batch(&config, 0), 0.1).unwrap();
        (loss, outputs, state)
    }) {
        assert!((found.0 - one.0).abs() < 1e-6 * one.0.abs());
        assert_close(found.1.as_slice().unwrap(), one.1.as_slice().unwrap(), 1e-6, "outputs");
        assert_close(found.2.as_slice().unwrap(), one.2.as_slice().unwrap(), 1e-6, "states");
    }
}

/// A loss of one's own is of the outputs of all ranks, and states that are set are those of all.
#[test]
fn own_losses_and_states_are_of_the_whole_batch() {
    let config = Config { dropout: 0.0, output_dropout: 0.0, activity_l2: 0.0, ..configuration(Cell::named("gru").unwrap(), 5) };
    let sequences = || {
        let Batch { inputs, lengths, .. } = batch(&config, 0);
        let start = Array3::from_shape_fn((2, 5, 12), |(l, b, h)| ((l + 3 * b + h) as f32).cos() * 0.5);
        let initial_state = InitialState::Given([("h".to_owned(), start)].into());
        retrospect::batch::Sequences { inputs, lengths, initial_state }
    };
    let loss = |outputs: &Array3<f32>| (outputs.mapv(|v| v * v * v).sum(), outputs.mapv(|v| 3.0 * v * v));
    let gradient = |network: &mut Network| {
        network.initialise(3, RecurrentInit::Uniform).unwrap();
        network.gradient_by(sequences(), loss).unwrap()
    };
    let one = gradient(&mut Network::new(&config, &cpu()).unwrap());
    let found =
        together(&[cpu()], 3, |rank, compute| gradient(&mut Network::with_ranks(&config, compute, Box::new(rank)).unwrap()));
    for own in found {
        assert!((own.loss - one.loss).abs() < 1e-5 * one.loss.abs());
        for (name, tensor) in &one.parameters {
            assert_close(own.parameters[name].as_slice().unwrap(), tensor.as_slice().unwrap(), 1e-5, name);
        }
        assert_close(own.initial_states["h"].as_slice().unwrap(), one.initial_states["h"].as_slice().unwrap(), 1e-5, "h0");
    }
}

/// Several batches make one training step, of all ranks.
#[test]
fn accumulated_gradients_are_those_of_all_ranks() {
    let config = Config { accumulate: 3, ..configuration(Cell::named("leaky").unwrap(), 6) };
    let train = |network: &mut Network| {
        network.initialise(3, RecurrentInit::Uniform).unwrap();
        let batches: Vec<Batch> = (0..3).map(|number| batch(&config, number)).collect();
        network.train_step_on(&batches, 0.01).unwrap();
        network.fetch().unwrap();
        network.reports(true).unwrap()[0]
    };
    let one = train(&mut Network::new(&config, &cpu()).unwrap());
    let found = together(&[cpu()], 4, |rank, compute| train(&mut Network::with_ranks(&config, compute, Box::new(rank)).unwrap()));
    for own in found {
        assert!((own.loss - one.loss).abs() < 1e-5 * one.loss);
        assert!((own.gradient_norm - one.gradient_norm).abs() < 1e-5 * one.gradient_norm);
    }
}

/// All ranks have the first one's weights once they are synchronised, whatever they had.
#[test]
fn weights_are_those_of_the_first_rank() {
    let config = configuration(Cell::named("lstm").unwrap(), 4);
    let found = together(&[cpu()], 3, |rank, compute| {
        let seed = rank.rank() as u64 + 1;
        let mut network = Network::with_ranks(&config, compute, Box::new(rank)).unwrap();
        network.initialise(seed, RecurrentInit::Uniform).unwrap();
        let before = network.parameters().unwrap();
        network.synchronise().unwrap();
        let masks = Some(Masks { seed: 1, step: 1 });
        (before, network.parameters().unwrap(), network.gradient_with(&batch(&config, 0), masks).unwrap().loss)
    });
    assert!(found[1].0 != found[0].0);
    assert!(found.iter().all(|(_, after, loss)| *after == found[0].0 && *loss == found[0].2));
}

/// A rank that fails ends the others, with its number.
#[test]
fn a_lost_rank_ends_the_others() {
    let config = configuration(Cell::named("lstm").unwrap(), 4);
    let found = together(&[cpu()], 2, |rank, compute| {
        let is_last = rank.rank() == 1;
        let mut network = Network::with_ranks(&config, compute, Box::new(rank)).unwrap();
        network.initialise(3, RecurrentInit::Uniform).unwrap();
        (0..if is_last { 3 } else { 9 }).try_for_each(|number| network.train_step(&batch(&config, number), 0.01))
    });
    let error = found[0].as_ref().unwrap_err();
    assert!(matches!(error, Error::RankLost { .. }) && error.to_string().starts_with("rank 1 is lost"), "{error}");
    assert!(found[1].is_ok());
}

/// A training step in halves has the bits of a whole one, and what is done to the gradients in between counts.
#[test]
fn halves_make_a_training_step() {
    for compute in [cpu(), gpu()] {
        let config = configuration(Cell::named("gru").unwrap(), 5);
        let start = || {
            let mut network = Network::new(&config, &compute).unwrap();
            network.initialise(3, RecurrentInit::Uniform).unwrap();
            network
        };
        let (mut whole, mut halves) = (start(), start());
        for number in 0..4 {
            let batch = batch(&config, number);
            whole.train_step(&batch, 0.01).unwrap();
            whole.fetch().unwrap();
            let report = whole.reports(true).unwrap()[0];
            let loss = halves.backward(&batch).unwrap();
            let gradients = halves.gradients().unwrap();
            let norm = gradients.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            assert!(loss == report.loss && (norm - f64::from(report.gradient_norm)).abs() < 1e-5 * norm);
            halves.set_gradients(&gradients).unwrap();
            halves.update(0.01).unwrap();
        }
        assert!(whole.parameters().unwrap() == halves.parameters().unwrap());
        assert_eq!(halves.steps(), 4);

        // Without a gradient gradient descent changes nothing.
        let mut network = Network::new(&Config { optimizer: Optimizer::Sgd, ..config.clone() }, &compute).unwrap();
        network.initialise(3, RecurrentInit::Uniform).unwrap();
        let before = network.parameters().unwrap();
        network.backward(&batch(&config, 0)).unwrap();
        let count = network.gradients().unwrap().len();
        network.set_gradients(&vec![0.0; count]).unwrap();
        network.update(0.5).unwrap();
        assert!(network.parameters().unwrap() == before);
        assert_eq!(network.set_gradients(&[0.0]).unwrap_err().exit_code(), 7);
    }
}
