//! Ranks that are threads of one process: each with a device of its own, or for tests.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::messages::{Lost, Messages};
use super::worker::Worker;
use crate::Result;

/// Ranks for as many threads, of which each takes one.
///
/// ```
/// use retrospect::ranks::{Collective, threads};
///
/// let ranks = threads(3)?;
/// let sums: Vec<f32> = std::thread::scope(|scope| {
///     let work = ranks.into_iter().map(|mut rank| scope.spawn(move || rank.sum(vec![rank.rank() as f32])));
///     let work: Vec<_> = work.collect();
///     work.into_iter().flat_map(|thread| thread.join().expect("no panic").expect("no rank is lost")).collect()
/// });
/// assert_eq!(sums, [3.0, 3.0, 3.0]);
/// # Ok::<(), retrospect::Error>(())
/// ```
///
/// # Errors
/// [`crate::Error::Device`] when there can be no more threads.
pub fn threads(count: usize) -> Result<Vec<Worker>> {
    let mut ends: Vec<Channels> = (0..count).map(|rank| Channels { rank, to: Vec::new(), from: Vec::new() }).collect();
    for sender in 0..count {
        for receiver in 0..count {
            let (to, from) = channel();
            ends[sender].to.push(to);
            ends[receiver].from.push(from);
        }
    }
    ends.into_iter().map(|ends| Worker::start(move |_| Ok(ends))).collect()
}

/// What a rank sends with and receives from, in the order of the ranks.
struct Channels {
    rank: usize,
    to: Vec<Sender<Vec<u8>>>,
    from: Vec<Receiver<Vec<u8>>>,
}

impl Messages for Channels {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.to.len()
    }

    fn exchange(&mut self, to: &[&[u8]], from: &mut [&mut [u8]]) -> std::result::Result<(), Lost> {
        let gone = |rank: usize| Lost { rank: Some(rank), why: "it has failed".into() };
        for (other, bytes) in to.iter().enumerate().filter(|(_, bytes)| !bytes.is_empty()) {
            self.to[other].send(bytes.to_vec()).map_err(|_| gone(other))?;
        }
        for (other, bytes) in from.iter_mut().enumerate().filter(|(_, bytes)| !bytes.is_empty()) {
            bytes.copy_from_slice(&self.from[other].recv().map_err(|_| gone(other))?);
        }
        Ok(())
    }
}
