//! Ranks: processes or threads that train one network together, each on its share of every batch.
//!
//! A [`crate::network::Network`] that has a [`Collective`] computes its share of a batch and adds up gradients, losses and counts with the
//! others, in the order of the ranks: so the same number of ranks gives the same bits, whoever comes first. There are two engines: MPI
//! (feature `mpi`), and [`threads`] of one process, each with a device of its own. Both are [`Messages`] under the same sums.

mod messages;
#[cfg(feature = "mpi")]
mod mpi;
mod sum;
mod threads;
mod worker;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use messages::{Lost, Messages};
#[cfg(feature = "mpi")]
pub use mpi::mpi;
pub use threads::threads;
pub use worker::Worker;

use crate::Result;

/// What ranks do together. All of them call the same functions in the same order; each call returns when the others have called it too.
pub trait Collective: Send {
    /// The number of this rank, from 0.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn size(&self) -> usize;

    /// Begins to add up the values of all ranks, one by one, in the order of the ranks, and does not wait for the others.
    ///
    /// # Errors
    /// [`crate::Error::RankLost`].
    fn begin_sum(&mut self, values: Vec<f32>) -> Result<()>;

    /// The sums that were begun first of those that were not asked for yet.
    ///
    /// # Errors
    /// [`crate::Error::RankLost`].
    ///
    /// # Panics
    /// When none was begun.
    fn finish_sum(&mut self) -> Result<Vec<f32>>;

    /// The sums of the values of all ranks, one by one, in the order of the ranks.
    ///
    /// # Errors
    /// [`crate::Error::RankLost`].
    fn sum(&mut self, values: Vec<f32>) -> Result<Vec<f32>> {
        self.begin_sum(values)?;
        self.finish_sum()
    }

    /// What each rank gives, in the order of the ranks.
    ///
    /// # Errors
    /// [`crate::Error::RankLost`].
    fn gather(&mut self, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>>;

    /// What rank 0 gives; what the others give counts for nothing.
    ///
    /// # Errors
    /// [`crate::Error::RankLost`].
    fn broadcast(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>>;

    /// Waits until all ranks are here.
    ///
    /// # Errors
    /// [`crate::Error::RankLost`].
    fn barrier(&mut self) -> Result<()> {
        self.gather(Vec::new()).map(drop)
    }

    /// Ends in order, once all ranks have called it. A rank that is dropped before counts as lost for the others.
    ///
    /// # Errors
    /// [`crate::Error::RankLost`].
    fn finish(&mut self) -> Result<()> {
        self.barrier()
    }
}

/// The same ranks for several networks, one after the other.
impl Collective for Arc<Mutex<Box<dyn Collective>>> {
    fn rank(&self) -> usize {
        locked(self).rank()
    }

    fn size(&self) -> usize {
        locked(self).size()
    }

    fn begin_sum(&mut self, values: Vec<f32>) -> Result<()> {
        locked(self).begin_sum(values)
    }

    fn finish_sum(&mut self) -> Result<Vec<f32>> {
        locked(self).finish_sum()
    }

    fn gather(&mut self, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        locked(self).gather(bytes)
    }

    fn broadcast(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        locked(self).broadcast(bytes)
    }

    fn finish(&mut self) -> Result<()> {
        locked(self).finish()
    }
}

/// What a panic elsewhere has left is used as it is.
fn locked(shared: &Mutex<Box<dyn Collective>>) -> MutexGuard<'_, Box<dyn Collective>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A rank that is alone: it has nothing to wait for.
#[derive(Debug, Default)]
pub struct Alone {
    begun: VecDeque<Vec<f32>>,
}

impl Collective for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn begin_sum(&mut self, values: Vec<f32>) -> Result<()> {
        self.begun.push_back(values);
        Ok(())
    }

    fn finish_sum(&mut self) -> Result<Vec<f32>> {
        Ok(self.begun.pop_front().expect("a sum that was begun"))
    }

    fn gather(&mut self, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        Ok(vec![bytes])
    }

    fn broadcast(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        Ok(bytes)
    }
}

/// The part of `len` things that a rank has: they are shared out as evenly as they can be, in the order of the ranks, and the first ones have one
/// more where they cannot. So the share of a rank never shrinks when there are more things.
#[must_use]
pub fn share(len: usize, rank: usize, size: usize) -> Range<usize> {
    let start = |rank: usize| len / size * rank + rank.min(len % size);
    start(rank)..start(rank + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_all_of_it_in_order_and_even() {
        for len in [0, 1, 2, 7, 64, 1000] {
            for size in [1, 2, 3, 5, 64] {
                let mut next = 0;
                for rank in 0..size {
                    let part = share(len, rank, size);
                    assert_eq!(part.start, next);
                    assert!((len / size..=len.div_ceil(size)).contains(&part.len()));
                    assert!(part.len() <= share(len + 1, rank, size).len());
                    next = part.end;
                }
                assert_eq!(next, len);
            }
        }
    }
}
