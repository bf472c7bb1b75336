//! Long sequences in windows: one after the other with the state carried on, as of a text, or cut at random places.
//!
//! A single series is divided by time: its first part trains, in as many streams side by side as a batch has, and the end is held out.
//! What is measured of the end begins half a window before it, so that the state has seen what came before. Of several sequences some are
//! held out whole; the others are walked through a batch of them at a time. A window without an output that counts does not train. In
//! measuring it is read for its state.

mod stretch;
mod window;

use std::ops::Range;

use self::stretch::{Stretch, Walk, Window, later_streams, streams};
use super::arrays::counts;
use super::split::Division;
use super::{Options, Shape, Source, order};
use crate::batch::{Batch, InitialState};
use crate::random::{Random, stream};
use crate::{Error, Result};

/// How long sequences become windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Windows {
    /// One after the other; each goes on with the state of the one before.
    #[default]
    Carried,
    /// Each at a random place, from a state of zero.
    Random,
}

/// The sizes of windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// `T`.
    pub window: usize,
    /// `B`.
    pub batch: usize,
    /// How they are cut.
    pub windows: Windows,
    /// The time steps at the start of a random window that do not count; below `T`.
    pub warmup: usize,
    /// Whether sequences that are walked through side by side are of similar length.
    pub bucket: bool,
    /// Whether the one sequence that there is is divided by its time steps; sequences are divided as wholes, also where they are one.
    pub by_time: bool,
}

/// Sequences in memory, in windows.
#[derive(Debug, Clone)]
pub struct Series {
    data: Batch,
    shape: Shape,
    cut: Cut,
    seed: u64,
    /// The deviation of the targets of each sequence; of a single series of the time steps that train.
    deviations: Vec<f32>,
    /// The training data: streams of a single series, or whole sequences.
    training: Vec<Stretch>,
    held_out: Walk,
    /// The counted outputs that random windows are drawn around: the place in `training`, and the time step.
    counted: Vec<(u32, u32)>,
    /// The training step at which the pass begins whose windows are `walk`, and its number.
    first_step: u64,
    pass: u64,
    walk: Walk,
}

impl Series {
    /// Cuts `data` into windows. `division` divides the time steps of the one sequence, or the sequences in the order `places`. `what` names
    /// the data in messages.
    ///
    /// # Errors
    /// [`Error::BadInput`] when there are too few time steps for a window of each stream, too few sequences for a batch of those whose state
    /// is carried, when nothing counts, and for given states that a window cannot begin with; [`Error::Usage`] for sizes of 0.
    ///
    /// # Panics
    /// When several sequences are to be divided by their time steps.
    pub fn new(what: impl ToString, data: Batch, cut: Cut, seed: u64, places: &[u32], division: &Division) -> Result<Series> {
        let what = what.to_string();
        let Cut { window, batch, warmup, windows, by_time, .. } = cut;
        Options { seed, batch, window }.check(Some(window))?;
        if warmup >= window {
            return Err(Error::Usage(format!("{warmup} warm-up steps leave nothing that counts of a window of {window}")));
        }
        let shape = Shape::from_batch(&data);
        data.check_alone(shape.input, shape.targets)?;
        let sequences = data.shape().1;
        assert!(!by_time || sequences == 1, "{sequences} sequences cannot be divided by time");
        if matches!(data.initial_state, InitialState::Given(_)) && (by_time || windows == Windows::Random) {
            return Err(Error::input(what, "gives initial states, and windows begin in the middle of a sequence"));
        }
        let whole = |&place: &u32| {
            let sequence = place as usize;
            Stretch { sequence, steps: 0..data.length(sequence), counts_from: 0 }
        };
        let training = division.training;
        if !by_time && windows == Windows::Carried && (1..batch).contains(&training) {
            let problem = format!(
                "batch {batch} carries on the states of as many sequences; {training} of {sequences} train. Batch {training} would fit, or \
                 --windows random"
            );
            return Err(Error::input(what, problem));
        }
        let (training, held_out) = if by_time {
            let training = streams(&what, division.training, cut)?;
            (training, vec![later_streams(&division.held_out, cut)])
        } else {
            let training: Vec<Stretch> = places[..division.training].iter().map(whole).collect();
            let held_out: Vec<Stretch> = places[division.held_out.clone()].iter().map(whole).collect();
            (training, held_out.chunks(batch).map(<[Stretch]>::to_vec).collect())
        };
        // What is measured without training has no time steps that train.
        let steps = if by_time && division.training > 0 { division.training } else { data.shape().0 };
        let deviations = (0..sequences).map(|b| data.deviation(b, 0..steps) as f32).collect();
        let mut series = Series {
            data,
            deviations,
            shape,
            cut,
            seed,
            training,
            held_out: Walk::default(),
            counted: Vec::new(),
            first_step: 0,
            pass: 0,
            walk: Walk::default(),
        };
        series.held_out = series.walk_to_measure(held_out);
        series.check(&what)?;
        if cut.windows == Windows::Random {
            series.counted = series.outputs_after_warmup();
            if series.counted.is_empty() && division.training > 0 {
                return Err(Error::input(what, format!("no output that trains counts after {warmup} warm-up steps")));
            }
        }
        series.walk = series.pass_of(0);
        if series.walk.windows.is_empty() && cut.windows == Windows::Carried && !series.training.is_empty() {
            return Err(Error::input(what, "no output that trains counts"));
        }
        Ok(series)
    }

    /// Describes how the data are divided, and in a second line how they are cut.
    #[must_use]
    pub fn note(&self) -> String {
        let Cut { window, batch, windows, warmup, .. } = self.cut;
        let (steps, sequences) = self.data.shape();
        let how = match (windows, warmup) {
            (Windows::Carried, _) => format!("Windows of {window} time steps, the state carried on"),
            (Windows::Random, 0) => format!("Windows of {window} time steps at random places"),
            (Windows::Random, _) => {
                format!("Windows of {window} time steps at random places, whose first {warmup} do not count")
            }
        };
        if !self.cut.by_time {
            let held_out = self.held_out.groups.iter().map(Vec::len).sum();
            let divided = counts(self.training.len(), held_out, sequences);
            return format!("{divided}, of up to {steps} time steps.\n{how}");
        }
        let counted = |stretch: &Stretch| stretch.steps.clone().filter(|&t| self.counts(stretch, t)).count();
        let held_out: usize = self.held_out.groups.iter().flatten().map(counted).sum();
        let trained: usize = self.training.iter().map(|stretch| stretch.steps.len()).sum();
        let streams = match windows {
            Windows::Carried if batch == 1 => " as one stream".into(),
            Windows::Carried => format!(" as {batch} streams of {}", self.training.first().map_or(0, |s| s.steps.len())),
            Windows::Random => String::new(),
        };
        format!("one series of {steps} time steps: {trained} train{streams}; {held_out} at its end are held out.\n{how}")
    }

    /// Refuses windows that would silently leave out most of a sequence.
    fn check(&self, what: &str) -> Result<()> {
        if self.cut.by_time {
            return match self.held_out.windows.is_empty() && self.training.is_empty() {
                true => Err(Error::input(what, "no output counts")),
                false => Ok(()),
            };
        }
        let training = self.training.iter().map(|stretch| (stretch, true));
        let held_out = self.held_out.groups.iter().flatten().map(|stretch| (stretch, false));
        for (stretch, trains) in training.chain(held_out) {
            let counted = stretch.steps.clone().filter(|&t| self.data.counts(t, stretch.sequence)).take(2).count();
            let (b, length, window) = (stretch.sequence, stretch.steps.len(), self.cut.window);
            if counted == 0 {
                return Err(Error::input(what, format!("no output of sequence {b} counts; leave it out")));
            }
            if trains && counted == 1 && length > window {
                let problem = format!(
                    "one output of sequence {b} counts, of {length} time steps; windows of {window} would not reach from its start to \
                     there. Leave --window out to read sequences whole"
                );
                return Err(Error::input(what, problem));
            }
        }
        Ok(())
    }

    /// Whether an output of a stretch counts.
    fn counts(&self, stretch: &Stretch, t: usize) -> bool {
        t >= stretch.counts_from && t < stretch.steps.end && self.data.counts(t, stretch.sequence)
    }

    /// The windows of groups that train: those in which some output counts. After one that is left out the state starts at zero again.
    fn walk_to_train(&self, groups: Vec<Vec<Stretch>>) -> Walk {
        let mut windows = Vec::new();
        for (place, group) in groups.iter().enumerate() {
            let mut starts = true;
            for first in self.firsts(group) {
                let any = self.any_counts(group, first);
                if any {
                    windows.push(Window { group: place, first, starts });
                }
                starts = !any;
            }
        }
        Walk { groups, windows }
    }

    /// The windows of groups that are measured: all up to the last in which some output counts, so that the state has seen what came before it.
    fn walk_to_measure(&self, groups: Vec<Vec<Stretch>>) -> Walk {
        let mut windows = Vec::new();
        for (place, group) in groups.iter().enumerate() {
            let last = self.firsts(group).rev().find(|&first| self.any_counts(group, first));
            let firsts = last.map(|last| self.firsts(group).take_while(move |&first| first <= last));
            windows.extend(firsts.into_iter().flatten().map(|first| Window { group: place, first, starts: first == 0 }));
        }
        Walk { groups, windows }
    }

    /// The first time step of each window of a group.
    fn firsts(&self, group: &[Stretch]) -> impl DoubleEndedIterator<Item = usize> + use<> {
        let longest = group.iter().map(|stretch| stretch.steps.len()).max().unwrap_or(0);
        (0..longest).step_by(self.cut.window)
    }

    /// Whether some output counts in the window of a group from a time step on.
    fn any_counts(&self, group: &[Stretch], first: usize) -> bool {
        group.iter().any(|stretch| {
            let from = stretch.steps.start + first;
            (from..from + self.cut.window).any(|t| self.counts(stretch, t))
        })
    }

    /// The windows of a training pass.
    fn pass_of(&self, pass: u64) -> Walk {
        if self.cut.windows == Windows::Random || self.training.is_empty() {
            return Walk::default();
        }
        if self.cut.by_time {
            return self.walk_to_train(vec![self.training.clone()]);
        }
        let places = (0..self.training.len() as u32).collect();
        let length = |place: u32| self.training[place as usize].steps.len();
        let order = order::of_pass(places, self.cut.batch, (self.seed, pass), self.cut.bucket.then_some(&length));
        let group = |places: &[u32]| places.iter().map(|&place| self.training[place as usize].clone()).collect();
        self.walk_to_train(order.chunks_exact(self.cut.batch).map(group).collect())
    }

    /// Moves to the pass that contains a training step.
    fn take_pass(&mut self, step: u64) {
        if self.cut.by_time {
            self.first_step = step - step % self.walk.windows.len() as u64;
            return;
        }
        if step < self.first_step {
            (self.first_step, self.pass) = (0, 0);
            self.walk = self.pass_of(0);
        }
        while step - self.first_step >= self.walk.windows.len() as u64 {
            self.first_step += self.walk.windows.len() as u64;
            self.pass += 1;
            self.walk = self.pass_of(self.pass);
        }
    }

    /// The outputs that train and that a window can be laid around so that they count.
    fn outputs_after_warmup(&self) -> Vec<(u32, u32)> {
        let of_stretch = |(place, stretch): (usize, &Stretch)| {
            let from = stretch.steps.start + self.cut.warmup;
            let counted = (from..stretch.steps.end).filter(|&t| self.counts(stretch, t));
            counted.map(|t| (place as u32, t as u32)).collect::<Vec<_>>()
        };
        self.training.iter().enumerate().flat_map(of_stretch).collect()
    }

    /// Windows at random places, each around an output that counts.
    fn random_windows(&self, step: u64) -> Vec<Stretch> {
        let Cut { window, batch, warmup, .. } = self.cut;
        let mut random = Random::new(self.seed, stream::SHUFFLE + step);
        let mut below = |n: usize| random.below(u32::try_from(n).unwrap_or(u32::MAX)) as usize;
        let mut draw = || {
            let (place, output) = self.counted[below(self.counted.len())];
            let (stretch, output) = (&self.training[place as usize], output as usize);
            let Range { start, end } = stretch.steps;
            let earliest = start.max((output + 1).saturating_sub(window));
            let latest = (output - warmup).min(end.saturating_sub(window).max(start));
            let first = earliest + below(latest - earliest + 1);
            Stretch { sequence: stretch.sequence, steps: first..end.min(first + window), counts_from: first + warmup }
        };
        (0..batch).map(|_| draw()).collect()
    }
}

impl Source for Series {
    fn window(&self) -> (usize, usize) {
        (self.cut.window, self.cut.batch)
    }

    fn shape(&self) -> Shape {
        self.shape
    }

    fn carries(&self) -> bool {
        true
    }

    /// Random windows make a pass when they have as many time steps as there are.
    fn batches_in_pass(&self) -> Option<u64> {
        let Cut { window, batch, windows, .. } = self.cut;
        let steps = || self.training.iter().map(|stretch| stretch.steps.len()).sum::<usize>();
        Some(if windows == Windows::Random { steps().div_ceil(window * batch) } else { self.pass_of(0).windows.len() } as u64)
    }

    fn batch(&mut self, step: u64) -> Batch {
        if self.cut.windows == Windows::Random && !self.counted.is_empty() {
            return self.read(&self.random_windows(step), 0, true);
        }
        if self.walk.windows.is_empty() {
            return self.held_out(step % self.held_out_batches());
        }
        self.take_pass(step);
        let Window { group, first, starts } = self.walk.windows[(step - self.first_step) as usize];
        self.read(&self.walk.groups[group], first, starts)
    }

    fn held_out_batches(&self) -> u64 {
        self.held_out.windows.len() as u64
    }

    fn held_out(&mut self, index: u64) -> Batch {
        let Window { group, first, starts } = self.held_out.windows[index as usize];
        // Weights are for training alone.
        Batch { class_weights: None, ..self.read(&self.held_out.groups[group], first, starts) }
    }

    fn held_out_sequences(&self, index: u64) -> Vec<Option<usize>> {
        if self.cut.by_time {
            return Vec::new();
        }
        let group = &self.held_out.groups[self.held_out.windows[index as usize].group];
        (0..self.cut.batch).map(|b| group.get(b).map(|stretch| stretch.sequence)).collect()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array3};

    use super::*;
    use crate::batch::{Inputs, Targets};
    use crate::data::split::Part;

    /// `b` sequences of `n` time steps whose every number tells the sequence and the step, and whose outputs at multiples of 5 do not count.
    fn data(n: usize, b: usize) -> Batch {
        let number = |t: usize, b: usize| (1000 * b + t) as f32;
        Batch {
            mask: Some(Array2::from_shape_fn((n, b), |(t, _)| f32::from(u8::from(t % 5 != 0)))),
            ..Batch::new(
                Inputs::Vectors(Array3::from_shape_fn((n, b, 1), |(t, b, _)| number(t, b))),
                Targets::Values(Array3::from_shape_fn((n, b, 1), |(t, b, _)| -number(t, b))),
            )
        }
    }

    /// Of a single series.
    fn cut(window: usize, batch: usize) -> Cut {
        Cut { by_time: true, ..whole(window, batch) }
    }

    /// Of sequences.
    fn whole(window: usize, batch: usize) -> Cut {
        Cut { window, batch, windows: Windows::Carried, warmup: 0, bucket: true, by_time: false }
    }

    /// The numbers that each sequence of a batch reads, and those whose output counts, after checking that these are their targets.
    fn numbers(batch: &Batch) -> Vec<(Vec<usize>, Vec<usize>)> {
        let (Inputs::Vectors(x), Targets::Values(y)) = (&batch.inputs, &batch.targets) else { panic!("{batch:?}") };
        let (steps, sequences) = batch.shape();
        let of_sequence = |b: usize| {
            let counted: Vec<usize> = (0..steps).filter(|&t| batch.counts(t, b)).collect();
            assert!(counted.iter().all(|&t| y[[t, b, 0]] == -x[[t, b, 0]]));
            let number = |t: usize| x[[t, b, 0]] as usize;
            ((0..steps).map(number).collect(), counted.into_iter().map(number).collect())
        };
        (0..sequences).map(of_sequence).collect()
    }

    fn counted(batch: &Batch) -> Vec<usize> {
        numbers(batch).into_iter().flat_map(|(_, counted)| counted).collect()
    }

    #[test]
    fn a_series_is_streams_that_carry_their_state_and_its_end_is_held_out() {
        let division = Division::new(100, [0.1, 0.05], Part::Validation);
        let mut series = Series::new("s", data(100, 1), cut(4, 3), 1, &[0], &division).unwrap();
        assert_eq!((series.window(), series.carries()), ((4, 3), true));
        // 85 train: three streams of 28, seven windows each.
        for step in [0, 1, 6, 7, 8, 700] {
            let (batch, first) = (series.batch(step), 4 * (step as usize % 7));
            let state = if step % 7 == 0 { InitialState::Zero } else { InitialState::Carried };
            assert_eq!(batch.initial_state, state, "step {step}");
            for (b, (read, _)) in numbers(&batch).into_iter().enumerate() {
                assert_eq!(read, (0..4).map(|t| 28 * b + first + t).collect::<Vec<_>>());
            }
        }
        let pass: Vec<usize> = (0..7).flat_map(|k| counted(&series.batch(k))).collect();
        assert_eq!(pass.len(), (0..84).filter(|t| t % 5 != 0).count());

        // One stream is measured, which begins half a window before.
        let first = series.held_out(0);
        assert_eq!((numbers(&first)[0].0.clone(), first.initial_state.clone()), (vec![83, 84, 85, 86], InitialState::Zero));
        let all: Vec<usize> = (0..series.held_out_batches()).flat_map(|k| counted(&series.held_out(k))).collect();
        assert_eq!(all, (85..95).filter(|t| t % 5 != 0).collect::<Vec<_>>());
        let division = Division::new(100, [0.1, 0.05], Part::Test);
        let mut series = Series::new("s", data(100, 1), cut(4, 3), 1, &[0], &division).unwrap();
        let all: Vec<usize> = (0..series.held_out_batches()).flat_map(|k| counted(&series.held_out(k))).collect();
        assert_eq!(all, [96, 97, 98, 99]);
        assert_eq!(
            series.note(),
            "one series of 100 time steps: 84 train as 3 streams of 28; 4 at its end are held out.\nWindows of 4 time steps, the state carried on"
        );

        // A long end is measured in several streams, every output once.
        let mut series = Series::new("s", data(1000, 1), cut(4, 3), 1, &[0], &Division::all_held_out(1000)).unwrap();
        let mut all: Vec<usize> = (0..series.held_out_batches()).flat_map(|k| counted(&series.held_out(k))).collect();
        all.sort_unstable();
        assert_eq!(all, (0..1000).filter(|t| t % 5 != 0).collect::<Vec<_>>());
        assert!(series.held_out_batches() < 90, "three at a time");
        assert_eq!(series.batch(1), series.held_out(1));
    }

    /// What a sequence is weighed by is the deviation of all of it, and of a single series that of the part that trains.
    #[test]
    fn windows_know_the_deviation_of_their_sequence() {
        let deviation = |numbers: &[f64]| {
            let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
            (numbers.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / numbers.len() as f64).sqrt() as f32
        };
        let counted = |steps: Range<usize>| steps.filter(|t| t % 5 != 0).map(|t| t as f64).collect::<Vec<_>>();
        let division = Division::new(100, [0.1, 0.05], Part::Validation);
        let mut series = Series::new("s", data(100, 1), cut(4, 3), 1, &[0], &division).unwrap();
        let expected = deviation(&counted(0..85));
        for batch in [series.batch(3), series.held_out(0)] {
            let found = batch.deviations.unwrap();
            found.iter().take(1).for_each(|found| approx::assert_relative_eq!(*found, expected, max_relative = 1e-6));
        }
        let lengths: Vec<usize> = (0..4).map(|b| 10 + 5 * b).collect();
        let varied = Batch { lengths: Some(lengths.clone()), ..data(25, 4) };
        let division = Division::new(4, [0.0, 0.0], Part::Validation);
        let mut series = Series::new("s", varied, whole(4, 2), 1, &[0, 1, 2, 3], &division).unwrap();
        let batch = series.batch(0);
        let (found, read) = (batch.deviations.clone().unwrap(), numbers(&batch));
        for (found, (read, _)) in found.into_iter().zip(read) {
            let sequence = read[1] / 1000;
            approx::assert_relative_eq!(found, deviation(&counted(0..lengths[sequence])), max_relative = 1e-6);
        }
    }

    #[test]
    fn several_sequences_are_walked_through_whole_and_a_step_tells_its_window() {
        let lengths: Vec<usize> = (0..11).map(|b| 3 + 2 * b).collect();
        let varied = Batch { lengths: Some(lengths.clone()), ..data(25, 11) };
        let (places, division) = ((0..11).rev().collect::<Vec<_>>(), Division::new(11, [0.2, 0.0], Part::Validation));
        let new = || Series::new("s", varied.clone(), whole(4, 3), 5, &places, &division).unwrap();
        let mut series = new();
        // Nine train, in groups of three.
        let mut expected: Vec<usize> = (2..11).flat_map(|b| (0..lengths[b]).map(move |t| 1000 * b + t)).collect();
        expected.retain(|n| n % 5 != 0);
        let (mut step, mut orders) = (0, Vec::new());
        for _ in 0..6 {
            let (mut pass, mut starts) = (Vec::new(), 0);
            while pass.len() < expected.len() {
                let batch = series.batch(step);
                starts += usize::from(batch.initial_state == InitialState::Zero);
                pass.extend(counted(&batch));
                step += 1;
            }
            assert_eq!(starts, 3);
            orders.push(pass.clone());
            pass.sort_unstable();
            assert_eq!(pass, expected);
        }
        // There are six orders of three groups.
        assert!(orders.windows(2).any(|pair| pair[0] != pair[1]));
        let mut again = new();
        for k in [step - 1, 0, step / 2, 1] {
            assert_eq!(again.batch(k), series.batch(k), "step {k}");
        }
        let held_out: Vec<usize> = (0..series.held_out_batches()).flat_map(|k| counted(&series.held_out(k))).collect();
        assert_eq!(held_out, [1001, 1002, 1003, 1, 2, 1004]);
        assert_eq!([0, 1].map(|k| series.held_out_sequences(k)), [[Some(1), Some(0), None], [Some(1), Some(0), None]]);
        let mut random = Series::new("s", varied.clone(), Cut { bucket: false, ..whole(4, 3) }, 5, &places, &division).unwrap();
        assert_ne!(counted(&random.batch(0)), orders[0][..counted(&random.batch(0)).len()]);
    }

    #[test]
    fn random_windows_lie_in_what_trains_and_count_after_the_warm_up() {
        let cut = Cut { windows: Windows::Random, warmup: 3, ..cut(10, 8) };
        let division = Division::new(200, [0.25, 0.0], Part::Validation);
        let mut series = Series::new("s", data(200, 1), cut, 9, &[0], &division).unwrap();
        let mut seen = vec![0; 200];
        for step in 0..400 {
            let batch = series.batch(step);
            assert_eq!(batch.initial_state, InitialState::Zero);
            for (read, counted) in numbers(&batch) {
                assert!(read.windows(2).all(|pair| pair[1] == pair[0] + 1) && read[9] < 150, "{read:?}");
                assert!(!counted.is_empty() && counted.iter().all(|&t| t >= read[0] + 3 && t % 5 != 0));
                counted.into_iter().for_each(|t| seen[t] += 1);
            }
        }
        // Each about as often as another, but near the ends.
        assert!((20..140).filter(|t| t % 5 != 0).all(|t| (80..250).contains(&seen[t])), "{seen:?}");
        assert!(seen[..3].iter().chain(&seen[150..]).all(|&n| n == 0) && seen[149] > 0);
        assert_eq!(series.batch(7), Series::new("s", data(200, 1), cut, 9, &[0], &division).unwrap().batch(7));
        assert_ne!(series.batch(7), Series::new("s", data(200, 1), cut, 8, &[0], &division).unwrap().batch(7));

        // Sequences shorter than a window are read whole.
        let varied = Batch { lengths: Some(vec![4, 30, 5]), ..data(30, 3) };
        let division = Division::new(3, [0.0, 0.0], Part::Validation);
        let mut series = Series::new("s", varied, Cut { batch: 2, by_time: false, ..cut }, 9, &[0, 1, 2], &division).unwrap();
        for (read, counted) in (0..50).flat_map(|step| numbers(&series.batch(step))) {
            assert!(counted.iter().all(|n| read.contains(n)) && !counted.is_empty());
        }
    }

    #[test]
    fn a_gap_starts_the_state_again_and_what_cannot_be_cut_is_refused() {
        let counts = |t: usize| !((8..20).contains(&t) || t >= 34);
        let gap = Batch { mask: Some(Array2::from_shape_fn((40, 1), |(t, _)| f32::from(u8::from(counts(t))))), ..data(40, 1) };
        // What is measured is read through the gap, up to the last output that counts.
        for cut in [whole(4, 1), cut(4, 1)] {
            let count = if cut.by_time { 40 } else { 1 };
            let mut series = Series::new("s", gap.clone(), cut, 1, &[0], &Division::all_held_out(count)).unwrap();
            assert_eq!(series.held_out_batches(), 9);
            let read = (0..9).map(|k| series.held_out(k)).map(|b| (numbers(&b)[0].0[0], b.initial_state == InitialState::Zero));
            assert_eq!(read.collect::<Vec<_>>(), (0..9).map(|k| (4 * k, k == 0)).collect::<Vec<_>>());
            let all: Vec<usize> = (0..9).flat_map(|k| counted(&series.held_out(k))).collect();
            assert_eq!(all, (0..40).filter(|&t| counts(t)).collect::<Vec<_>>());
        }
        let all = Division::new(40, [0.0, 0.0], Part::Validation);
        let mut series = Series::new("s", gap, cut(4, 1), 1, &[0], &all).unwrap();
        let firsts: Vec<(usize, bool)> =
            (0..6).map(|k| series.batch(k)).map(|b| (numbers(&b)[0].0[0], b.initial_state == InitialState::Zero)).collect();
        assert_eq!(firsts, [(0, true), (4, false), (20, true), (24, false), (28, false), (32, false)]);

        let last = |n: usize| data(n, 3).of_last_step();
        let given = Batch { initial_state: InitialState::Given([("h".into(), Array3::zeros((1, 1, 2)))].into()), ..data(40, 1) };
        let three = Division::new(3, [0.0, 0.0], Part::Validation);
        let places = [0, 1, 2];
        for (result, expected) in [
            (
                Series::new("s", data(40, 1), cut(9, 5), 1, &[0], &all),
                "s: 40 time steps train, and batch 5 with window 9 needs 45; batch 4 would fit, or --windows random",
            ),
            (
                Series::new("s", data(40, 1), cut(50, 5), 1, &[0], &all),
                "s: 40 time steps train, and batch 5 with window 50 needs 250; window 40 with batch 1 would fit",
            ),
            (
                Series::new("s", last(12), whole(5, 2), 1, &places, &three),
                "s: one output of sequence 0 counts, of 12 time steps; windows of 5 would not reach from its start to there. Leave --window out to read sequences whole",
            ),
            (
                Series::new("s", given, cut(5, 2), 1, &[0], &all),
                "s: gives initial states, and windows begin in the middle of a sequence",
            ),
            (
                Series::new("s", data(9, 3), whole(5, 4), 1, &places, &three),
                "s: batch 4 carries on the states of as many sequences; 3 of 3 train. Batch 3 would fit, or --windows random",
            ),
        ] {
            let error = result.err().unwrap();
            assert_eq!((error.to_string().as_str(), error.exit_code()), (expected, 7));
        }
        for cut in [cut(0, 1), cut(1, 0), Cut { windows: Windows::Random, warmup: 4, ..cut(4, 1) }] {
            assert_eq!(Series::new("s", data(40, 1), cut, 1, &[0], &all).err().unwrap().exit_code(), 2);
        }
    }
}
