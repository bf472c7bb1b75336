//! Ranks that are processes of an MPI program, on one machine or several: `mpirun -n 4 …`.
//!
//! All calls of MPI are made by the worker's thread. While it waits for others it asks them whether they are still there: their threads answer
//! however long they compute, so that a rank that does not answer is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use ferrompi::{Communicator, Mpi, Request, Source, Tag, ThreadLevel};

use super::messages::{Lost, Messages};
use super::worker::{LostReport, Worker};
use crate::Result;

/// The tag of values, on the communicator of all.
const VALUES: i32 = 1;
/// The tags on the other one.
const ASK: i32 = 1;
const HERE: i32 = 2;
const LEAVE: i32 = 3;

/// How often ranks that are waited for are asked, and in a hurry.
const PATIENT: Duration = Duration::from_secs(1);
const HURRIED: Duration = Duration::from_millis(100);
/// How long they may take to answer in a hurry: a launcher ends those that are still there after a second.
const HURRIED_LIMIT: Duration = Duration::from_millis(700);
/// A waiting thread looks without a pause for this time, and then once every [`NAP`].
const EAGER: Duration = Duration::from_micros(200);
const NAP: Duration = Duration::from_micros(50);

/// Joins the other processes that `mpirun` or another launcher has started. `limit` is how long a rank may not answer before it counts as
/// lost; once `is_hurried` is set, which a signal to end does, it is less than a second. Until all have joined it waits without a limit.
///
/// # Errors
/// [`crate::Error::RankLost`] when MPI cannot start.
pub fn mpi(limit: Duration, is_hurried: Arc<AtomicBool>) -> Result<Worker> {
    let (sender, machine) = channel();
    let engine = move |report| {
        let engine = Engine::start(limit, is_hurried, report)?;
        let _ = sender.send(engine.values.processor_name().unwrap_or_default());
        Ok(engine)
    };
    let worker = Worker::start(engine)?;
    worker.exchange_names(machine.recv().unwrap_or_default())
}

/// MPI, in the one thread that calls it.
struct Engine {
    /// For questions, answers and farewells.
    asking: Communicator,
    values: Communicator,
    /// Closed last.
    _mpi: Mpi,
    rank: usize,
    size: usize,
    limit: Duration,
    is_hurried: Arc<AtomicBool>,
    /// When each rank has last answered, or sent values.
    heard: Vec<Instant>,
    /// Whether a question to each is open.
    is_asked: Vec<bool>,
    report: LostReport,
}

impl Engine {
    fn start(limit: Duration, is_hurried: Arc<AtomicBool>, report: LostReport) -> std::result::Result<Engine, Lost> {
        let mpi = Mpi::init_thread(ThreadLevel::Funneled).map_err(failed)?;
        let values = mpi.world();
        let asking = values.duplicate().map_err(failed)?;
        let (rank, size) = (values.rank() as usize, values.size() as usize);
        Ok(Engine {
            rank,
            size,
            limit,
            is_hurried,
            heard: vec![Instant::now(); size],
            is_asked: vec![false; size],
            report,
            asking,
            values,
            _mpi: mpi,
        })
    }

    /// Reads what others ask and answer.
    fn hear(&mut self) -> std::result::Result<(), Lost> {
        while let Some(status) = self.asking.iprobe::<u8>(Source::Any, Tag::Any).map_err(failed)? {
            self.asking.recv::<u8>(&mut [], status.source, status.tag).map_err(failed)?;
            let Source::Rank(rank) = status.source else { continue };
            match status.tag {
                Tag::Value(ASK) => self.asking.send::<u8>(&[], rank, HERE).map_err(failed)?,
                Tag::Value(LEAVE) => return Err(Lost { rank: Some(rank as usize), why: "it has failed".into() }),
                _ => self.is_asked[rank as usize] = false,
            }
            self.heard[rank as usize] = Instant::now();
        }
        Ok(())
    }

    /// Waits until some requests are done, each of a rank.
    fn wait(&mut self, mut open: Vec<(usize, Request<'_>)>) -> std::result::Result<(), Lost> {
        let begun = Instant::now();
        let (mut asked, mut looked, mut farewell) = (begun, begun, None);
        loop {
            let mut failure = None;
            open.retain_mut(|(rank, request)| match request.test() {
                Ok(None) => true,
                Ok(Some(_)) => {
                    self.heard[*rank] = Instant::now();
                    false
                }
                Err(error) => {
                    failure = Some(Lost { rank: Some(*rank), ..failed(error) });
                    false
                }
            });
            match failure {
                Some(lost) => return Err(lost),
                None if open.is_empty() => return Ok(()),
                None if begun.elapsed() < EAGER => {
                    thread::yield_now();
                    continue;
                }
                None => {}
            }
            // What a rank that leaves has sent before may still be on its way.
            match self.hear() {
                Err(lost) if lost.rank.is_some() => farewell = farewell.or(Some((lost, Instant::now()))),
                heard => heard?,
            }
            if let Some((lost, _)) = farewell.take_if(|(_, when)| when.elapsed() > HURRIED) {
                return Err(lost);
            }
            // Whoever was stopped itself cannot tell how long others have not answered.
            if looked.elapsed() > PATIENT {
                self.heard.fill(Instant::now());
            }
            looked = Instant::now();
            let is_hurried = self.is_hurried.load(Ordering::Relaxed);
            let (pause, limit) = if is_hurried { (HURRIED, HURRIED_LIMIT) } else { (PATIENT, self.limit) };
            if asked.elapsed() >= pause {
                asked = Instant::now();
                self.ask_for(&open, begun, limit)?;
            }
            thread::sleep(NAP);
        }
    }

    /// Asks the ranks that are waited for whether they are there. One that has not answered for longer than the limit is lost.
    fn ask_for(&mut self, open: &[(usize, Request<'_>)], begun: Instant, limit: Duration) -> std::result::Result<(), Lost> {
        for rank in open.iter().map(|(rank, _)| *rank) {
            let silent = self.heard[rank].max(begun).elapsed();
            if silent > limit {
                return Err(Lost { rank: Some(rank), why: format!("it has not answered for {:.1} s", silent.as_secs_f64()) });
            }
            // One question at a time: those that nobody reads take room.
            if !std::mem::replace(&mut self.is_asked[rank], true) {
                self.asking.send::<u8>(&[], rank as i32, ASK).map_err(failed)?;
            }
        }
        Ok(())
    }
}

impl Messages for Engine {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn exchange(&mut self, to: &[&[u8]], from: &mut [&mut [u8]]) -> std::result::Result<(), Lost> {
        let done = ferrompi::scope(|scope| {
            let mut open = Vec::new();
            for (rank, bytes) in from.iter_mut().enumerate().filter(|(_, bytes)| !bytes.is_empty()) {
                open.push((rank, self.values.irecv(scope, bytes, rank as i32, VALUES)?));
            }
            for (rank, bytes) in to.iter().enumerate().filter(|(_, bytes)| !bytes.is_empty()) {
                open.push((rank, self.values.isend(scope, bytes, rank as i32, VALUES)?));
            }
            // The scope would wait for a rank that is lost.
            self.wait(open).unwrap_or_else(|lost| self.report.report(lost));
            Ok(())
        });
        done.map_err(failed)
    }

    fn answer(&mut self) -> std::result::Result<(), Lost> {
        self.hear()
    }

    /// MPI would wait for the others before it closes.
    fn abandon(self) {
        std::mem::forget(self);
    }

    fn leave(&mut self) {
        for rank in (0..self.size).filter(|&rank| rank != self.rank) {
            // One that is gone needs no word.
            let _ = self.asking.send::<u8>(&[], rank as i32, LEAVE);
        }
    }
}

fn failed(error: impl std::fmt::Display) -> Lost {
    Lost { rank: None, why: format!("MPI has failed: {error}") }
}
