//! A thread that does what ranks do together, in the order in which it was asked for, while the rank computes.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::Collective;
use super::messages::{Lost, Messages};
use super::sum::{broadcast, gather, sum};
use crate::{Error, Result};

/// How often the others are answered while there is nothing to do.
const IDLE: Duration = Duration::from_millis(20);

/// What the thread is asked for.
enum Job {
    Sum(Vec<f32>),
    Gather(Vec<u8>),
    Broadcast(Vec<u8>),
    Leave,
}

/// What it answers; after [`Answer::Lost`] nothing else.
enum Answer {
    Ready { rank: usize, size: usize },
    Sum(Vec<f32>),
    Gather(Vec<Vec<u8>>),
    Broadcast(Vec<u8>),
    Lost(Lost),
}

/// For an engine that cannot return when a rank is lost, since the other side may still write what it was lent.
pub struct LostReport(Sender<Answer>);

impl LostReport {
    /// Reports it, and keeps the thread from doing anything else.
    pub fn report(&self, lost: Lost) -> ! {
        let _ = self.0.send(Answer::Lost(lost));
        loop {
            thread::park();
        }
    }
}

/// Ranks on an engine: a [`Collective`] whose messages go through a thread of their own.
pub struct Worker {
    rank: usize,
    size: usize,
    /// `None` once it is told to end.
    jobs: Option<Sender<Job>>,
    answers: Receiver<Answer>,
    thread: Option<thread::JoinHandle<()>>,
    /// Sums that came before they were asked for.
    sums: VecDeque<Vec<f32>>,
    /// The machine of each rank; empty for threads of one process.
    machines: Vec<String>,
    lost: Option<Lost>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Worker").field("rank", &self.rank).field("size", &self.size).finish_non_exhaustive()
    }
}

impl Worker {
    /// Starts the thread, in which `engine` makes the engine.
    ///
    /// # Errors
    /// [`Error::RankLost`] with what `engine` reports; [`Error::Device`] when there can be no more threads.
    pub fn start<M: Messages>(
        engine: impl FnOnce(LostReport) -> std::result::Result<M, Lost> + Send + 'static,
    ) -> Result<Worker> {
        let (jobs, asked) = channel();
        let (answer, answers) = channel();
        let work = move || work(engine, &asked, &answer);
        let thread = thread::Builder::new()
            .name("ranks".into())
            .spawn(work)
            .map_err(|error| Error::Device { what: "a thread for the ranks".into(), message: error.to_string() })?;
        let (sums, machines) = (VecDeque::new(), Vec::new());
        let mut worker = Worker { rank: 0, size: 1, jobs: Some(jobs), answers, thread: Some(thread), sums, machines, lost: None };
        let Answer::Ready { rank, size } = worker.answer()? else { unreachable!("{ORDER}") };
        (worker.rank, worker.size, worker.machines) = (rank, size, vec![String::new(); size]);
        Ok(worker)
    }

    /// Tells the others the name of this rank's machine, and hears theirs.
    #[cfg(feature = "mpi")]
    pub(super) fn exchange_names(mut self, machine: String) -> Result<Worker> {
        let machines = self.gather(machine.into_bytes())?;
        self.machines = machines.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        Ok(self)
    }

    /// The machine of each rank, which is empty where ranks are threads.
    #[must_use]
    pub fn machines(&self) -> &[String] {
        &self.machines
    }

    /// The place of this rank among those of its machine, and how many those are.
    #[must_use]
    pub fn local(&self) -> (usize, usize) {
        let is_here = |other: &&String| **other == self.machines[self.rank];
        let before = self.machines[..self.rank].iter().filter(is_here).count();
        (before, self.machines.iter().filter(is_here).count())
    }

    /// Asks the thread for something. Where it has ended, its last answer says why.
    fn ask(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(job);
        }
    }

    /// The next answer.
    fn next(&mut self) -> Result<Answer> {
        if self.lost.is_none() {
            match self.answers.recv() {
                Ok(Answer::Lost(lost)) => self.lost = Some(lost),
                Ok(answer) => return Ok(answer),
                Err(_) => self.lost = Some(Lost { rank: None, why: "the thread for the ranks has ended".into() }),
            }
        }
        Err(self.error())
    }

    /// The answer to what was asked last; sums that were begun before and come before it are kept.
    fn answer(&mut self) -> Result<Answer> {
        loop {
            match self.next()? {
                Answer::Sum(values) => self.sums.push_back(values),
                answer => return Ok(answer),
            }
        }
    }

    fn error(&self) -> Error {
        let lost = self.lost.clone().unwrap_or(Lost { rank: None, why: String::new() });
        let who = match lost.rank {
            None => "the connection to the other ranks".into(),
            Some(rank) => match self.machines.get(rank).filter(|machine| !machine.is_empty()) {
                Some(machine) => format!("rank {rank} on {machine}"),
                None => format!("rank {rank}"),
            },
        };
        Error::RankLost { who, why: lost.why, checkpoint: None }
    }
}

impl Collective for Worker {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn begin_sum(&mut self, values: Vec<f32>) -> Result<()> {
        self.ask(Job::Sum(values));
        Ok(())
    }

    fn finish_sum(&mut self) -> Result<Vec<f32>> {
        match self.sums.pop_front() {
            Some(values) => Ok(values),
            None => match self.next()? {
                Answer::Sum(values) => Ok(values),
                _ => unreachable!("{ORDER}"),
            },
        }
    }

    fn gather(&mut self, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        self.ask(Job::Gather(bytes));
        let Answer::Gather(all) = self.answer()? else { unreachable!("{ORDER}") };
        Ok(all)
    }

    fn broadcast(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        self.ask(Job::Broadcast(bytes));
        let Answer::Broadcast(bytes) = self.answer()? else { unreachable!("{ORDER}") };
        Ok(bytes)
    }

    /// Waits for the others, and until the engine is closed.
    fn finish(&mut self) -> Result<()> {
        self.barrier()?;
        self.jobs = None;
        let ended = self.thread.take().is_none_or(|thread| thread.join().is_ok());
        self.lost.get_or_insert(Lost { rank: Some(self.rank), why: "it has ended".into() });
        if ended { Ok(()) } else { Err(self.error()) }
    }
}

impl Drop for Worker {
    /// Tells the others that this rank has ended, where the end was not in order. The thread may be waiting for one that is lost, and is not
    /// waited for then.
    fn drop(&mut self) {
        if self.size == 1 {
            // Nobody else is there to wait for.
            let _ = self.finish();
        } else if self.thread.is_some() && self.lost.is_none() {
            self.ask(Job::Leave);
            // Until they were told; sums that were begun before come first.
            while self.next().is_ok() {}
        }
    }
}

/// Why an answer is the expected one.
const ORDER: &str = "answers come in the order of the questions";

/// What the thread does.
fn work<M: Messages>(
    engine: impl FnOnce(LostReport) -> std::result::Result<M, Lost>,
    jobs: &Receiver<Job>,
    answers: &Sender<Answer>,
) {
    let outcome = engine(LostReport(answers.clone())).and_then(|mut messages| {
        let _ = answers.send(Answer::Ready { rank: messages.rank(), size: messages.size() });
        work_on(&mut messages, jobs, answers).inspect_err(|_| messages.abandon())
    });
    if let Err(lost) = outcome {
        let _ = answers.send(Answer::Lost(lost));
    }
}

/// Does one job after the other until there will be no more.
fn work_on(messages: &mut dyn Messages, jobs: &Receiver<Job>, answers: &Sender<Answer>) -> std::result::Result<(), Lost> {
    loop {
        let answer = match jobs.recv_timeout(IDLE) {
            Ok(Job::Sum(mut values)) => {
                sum(messages, &mut values)?;
                Answer::Sum(values)
            }
            Ok(Job::Gather(bytes)) => Answer::Gather(gather(messages, bytes)?),
            Ok(Job::Broadcast(bytes)) => Answer::Broadcast(broadcast(messages, bytes)?),
            Ok(Job::Leave) => {
                messages.leave();
                return Err(Lost { rank: Some(messages.rank()), why: "it has ended".into() });
            }
            Err(RecvTimeoutError::Timeout) => {
                messages.answer()?;
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        let _ = answers.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use crate::ranks::{Collective, Worker, threads};

    /// What each of so many ranks returns.
    fn together<T: Send>(count: usize, work: impl Fn(Worker) -> T + Sync) -> Vec<T> {
        let work = &work;
        std::thread::scope(|scope| {
            let ranks: Vec<_> = threads(count).unwrap().into_iter().map(|rank| scope.spawn(move || work(rank))).collect();
            ranks.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    /// Values whose sum has other bits in another order, and as many as cannot be shared out evenly, or fewer than ranks.
    #[test]
    fn sums_are_in_the_order_of_the_ranks() {
        let value = |rank: usize, i: usize| (rank * 7919 + i * 104_729) as f32 * 0.1 - (i % 5) as f32 * 1e5;
        for count in 1..=5 {
            for len in [0, 1, 2, 7, 1001] {
                let expected: Vec<u32> =
                    (0..len).map(|i| (1..count).fold(value(0, i), |sum, rank| sum + value(rank, i)).to_bits()).collect();
                let sums = together(count, |mut rank| {
                    let values = (0..len).map(|i| value(rank.rank(), i)).collect();
                    rank.sum(values).unwrap().into_iter().map(f32::to_bits).collect::<Vec<u32>>()
                });
                assert!(sums.iter().all(|sum| *sum == expected), "{len} values of {count} ranks");
            }
        }
    }

    #[test]
    fn several_sums_are_under_way_and_other_things_come_between() {
        let found = together(3, |mut rank| {
            let own = rank.rank();
            (1..=3).for_each(|i| rank.begin_sum(vec![(own * i) as f32]).unwrap());
            let all = rank.gather(vec![own as u8; own]).unwrap();
            let first = rank.broadcast(vec![own as u8 + 40; 5]).unwrap();
            let sums: Vec<f32> = (0..3).flat_map(|_| rank.finish_sum().unwrap()).collect();
            rank.barrier().unwrap();
            (all, first, sums)
        });
        for (all, first, sums) in found {
            assert_eq!(all, [vec![], vec![1], vec![2, 2]]);
            assert_eq!(first, [40; 5]);
            assert_eq!(sums, [3.0, 6.0, 9.0]);
        }
    }

    #[test]
    fn a_rank_that_ends_is_named() {
        let found = together(3, |mut rank| {
            if rank.rank() == 1 {
                return String::new();
            }
            let error = rank.sum(vec![1.0; 10]).unwrap_err();
            assert_eq!(error.exit_code(), 5);
            // It stays so.
            assert_eq!(rank.gather(Vec::new()).unwrap_err().to_string(), error.to_string());
            error.to_string()
        });
        assert!(found[0].contains("rank 1"), "{}", found[0]);
    }
}
