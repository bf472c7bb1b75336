//! The order of the sequences of a pass.

use crate::random::{Random, stream};

/// Minibatches of a pool.
const POOL: usize = 16;

/// `places` in the order in which the minibatches of a pass take them; those that do not fill a last one may be missing. It follows from
/// the seed and the pass. With a length for each place, minibatches are of similar length: the order is cut into pools, each is sorted
/// by length and cut into minibatches, and these are shuffled.
pub(super) fn of_pass(
    mut places: Vec<u32>,
    batch: usize,
    (seed, pass): (u64, u64),
    length: Option<&impl Fn(u32) -> usize>,
) -> Vec<u32> {
    let mut random = Random::new(seed, stream::SHUFFLE + pass);
    random.shuffle(&mut places);
    let Some(length) = length else { return places };
    let batches = places.len() / batch;
    places.truncate(batches * batch);
    for pool in places.chunks_mut(POOL * batch) {
        pool.sort_by_key(|&place| length(place));
    }
    let order = random.permutation(batches as u32);
    order.into_iter().flat_map(|k| places[k as usize * batch..][..batch].to_vec()).collect()
}
