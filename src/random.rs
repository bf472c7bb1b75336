//! Random numbers that are the same for a seed on every machine, for ever.
//!
//! Philox4×32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011) turns a counter into
//! four random words. It has no state but its position, so a training step's numbers are found from the step alone, streams never
//! overlap, and a shader can draw the same numbers: everything here is `u32` arithmetic. The conversions to floats are
//! as fixed as the generator; changing one would change what every published seed means.

/// Streams by use: the top byte names the use, the rest numbers within it (a step, a pass, a parameter).
pub(crate) mod stream {
    /// Initial parameters; plus the parameter's index.
    pub(crate) const INIT: u64 = 1 << 56;
    /// The order of the sequences; plus the pass.
    pub(crate) const SHUFFLE: u64 = 2 << 56;
    /// A task's training batches; plus the step.
    pub(crate) const TASK: u64 = 3 << 56;
    /// A task's held-out batches; plus the index.
    pub(crate) const HELD_OUT: u64 = 4 << 56;
    /// Sampling from a trained network; plus the index of the sample.
    pub(crate) const SAMPLE: u64 = 5 << 56;
    /// Which sequences are held out.
    pub(crate) const SPLIT: u64 = 6 << 56;
}

/// Philox4×32-10: four random words from a 128-bit counter and a 64-bit key (Salmon et al. 2011, section 3.3).
#[must_use]
pub fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let (high0, low0) = multiply(0xD251_1F53, counter[0]);
        let (high1, low1) = multiply(0xCD9E_8D57, counter[2]);
        counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0];
        // Weyl sequences of the golden ratio and of √3 − 1.
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

/// The 64-bit product of two words as (high, low).
fn multiply(a: u32, b: u32) -> (u32, u32) {
    let product = u64::from(a) * u64::from(b);
    ((product >> 32) as u32, product as u32)
}

/// A sequence of random numbers: one stream of a seed.
///
/// The seed is the key; the counter is the stream (upper two words) and the block within it (lower two), so streams of a seed
/// do not overlap before 2⁶⁶ numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Random {
    key: [u32; 2],
    /// The counter of the next block.
    counter: [u32; 4],
    block: [u32; 4],
    /// How many words of `block` are used up.
    used: usize,
}

impl Random {
    /// The beginning of stream `stream` of `seed`.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Random {
        let counter = [0, 0, stream as u32, (stream >> 32) as u32];
        Random { key: [seed as u32, (seed >> 32) as u32], counter, block: [0; 4], used: 4 }
    }

    /// What sampling from a trained network draws from.
    #[must_use]
    pub fn for_sampling(seed: u64) -> Random {
        Random::new(seed, stream::SAMPLE)
    }

    /// Uniform over all 2³² words.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            self.block = philox(self.counter, self.key);
            let (low, carry) = self.counter[0].overflowing_add(1);
            self.counter[0] = low;
            self.counter[1] = self.counter[1].wrapping_add(u32::from(carry));
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// Uniform in [0, 1): the upper 24 bits of one word, times 2⁻²⁴.
    pub fn uniform(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / (1 << 24) as f32)
    }

    /// `low + (high − low)·uniform`; `high` itself is reached by rounding only.
    pub fn uniform_in(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.uniform()
    }

    /// Standard normal, `√(−2 ln u)·cos 2πv` with u in (0, 1] and v in [0, 1) of 32 bits each (Box and Muller 1958). Takes two words.
    pub fn normal(&mut self) -> f64 {
        const SCALE: f64 = 1.0 / (1_u64 << 32) as f64;
        let u = (f64::from(self.next_u32()) + 1.0) * SCALE;
        let v = f64::from(self.next_u32()) * SCALE;
        // libm and not the platform's functions, whose last bits differ from one system to the next.
        libm::sqrt(-2.0 * libm::log(u)) * libm::cos(std::f64::consts::TAU * v)
    }

    /// Uniform over 0 … n−1 without bias (Lemire 2019, "Fast random integer generation in an interval").
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn below(&mut self, n: u32) -> u32 {
        assert!(n > 0, "there is no number below 0");
        // The low halves under 2³² mod n are those that would come once too often.
        let reject = n.wrapping_neg() % n;
        loop {
            let (high, low) = multiply(self.next_u32(), n);
            if low >= reject {
                return high;
            }
        }
    }

    /// Puts `values` in an order drawn uniformly from all (Fisher and Yates).
    ///
    /// # Panics
    /// If there are more than 2³² − 1 values.
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        let n = u32::try_from(values.len()).expect("at most 2³² − 1 values to shuffle");
        for i in (1..n).rev() {
            values.swap(i as usize, self.below(i + 1) as usize);
        }
    }

    /// The numbers 0 … n−1 in a random order.
    #[must_use]
    pub fn permutation(&mut self, n: u32) -> Vec<u32> {
        let mut order = (0..n).collect::<Vec<_>>();
        self.shuffle(&mut order);
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_vectors() {
        // kat_vectors of Random123 1.14, philox4x32 10.
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        for (counter, key, expected) in [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (pi, [0xa409_3822, 0x299f_31d0], [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]),
        ] {
            assert_eq!(philox(counter, key), expected, "{counter:x?} {key:x?}");
        }
    }

    #[test]
    fn counter_counts_blocks_and_carries() {
        let mut random = Random::new(0, 0);
        let words = [0; 8].map(|_| random.next_u32());
        assert_eq!(words[..4], philox([0; 4], [0; 2]));
        assert_eq!(words[4..], philox([1, 0, 0, 0], [0; 2]));

        let mut random = Random { counter: [u32::MAX, 0, 7, 8], ..Random::new(0, 0) };
        let words = [0; 8].map(|_| random.next_u32());
        assert_eq!(words[..4], philox([u32::MAX, 0, 7, 8], [0; 2]));
        assert_eq!(words[4..], philox([0, 1, 7, 8], [0; 2]));

        let seed = 0x0123_4567_89ab_cdef;
        assert_eq!(
            Random::new(seed, seed + 1).next_u32(),
            philox([0, 0, 0x89ab_cdf0, 0x0123_4567], [0x89ab_cdef, 0x0123_4567])[0]
        );
    }

    #[test]
    fn a_seed_means_the_same_for_ever() {
        let mut random = Random::new(42, stream::TASK + 3);
        assert_eq!([0.0; 3].map(|_: f32| random.uniform()), [0.098_806_68, 0.981_070_2, 0.105_637_13]);
        assert_eq!([0.0; 2].map(|_: f32| random.uniform_in(-0.5, 2.5)), [0.687_657_36, 1.708_347_3]);
        assert_eq!([0.0; 3].map(|_: f64| random.normal()), [1.7149346477940253, 0.04313685830057636, 0.8830729032970208]);
        assert_eq!([0; 6].map(|_: u32| random.below(10)), [0, 3, 2, 6, 9, 4]);
        assert_eq!(random.permutation(9), [1, 5, 7, 3, 2, 8, 0, 4, 6]);
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let n = 100_000;
        let moments = |mut draw: Box<dyn FnMut() -> f64>| {
            let (sum, squares) = (0..n).map(|_| draw()).fold((0.0, 0.0), |(s, q), x| (s + x, q + x * x));
            let mean = sum / f64::from(n);
            (mean, squares / f64::from(n) - mean * mean)
        };
        let [mut a, mut b, mut c] = [1, 2, 3].map(|s| Random::new(7, s));
        // Bounds: five standard errors of the mean and of the variance.
        for (name, (mean, variance), (m, v), (dm, dv)) in [
            ("uniform", moments(Box::new(move || f64::from(a.uniform()))), (0.5, 1.0 / 12.0), (0.0046, 0.0012)),
            ("normal", moments(Box::new(move || b.normal())), (0.0, 1.0), (0.0159, 0.0224)),
            ("below 7", moments(Box::new(move || f64::from(c.below(7)))), (3.0, 4.0), (0.0317, 0.0549)),
        ] {
            assert!((mean - m).abs() < dm, "{name}: mean {mean}");
            assert!((variance - v).abs() < dv, "{name}: variance {variance}");
        }
    }

    #[test]
    fn below_is_unbiased_and_permutations_are_equally_likely() {
        // With n = 3·2³⁰ a plain product or remainder would give a third of the numbers twice as often as the others.
        let mut random = Random::new(5, 0);
        let mut counts = [0_u32; 3];
        (0..30_000).for_each(|_| counts[(random.below(3 << 30) % 3) as usize] += 1);
        assert!(counts.iter().all(|c| c.abs_diff(10_000) < 410), "{counts:?}");
        assert_eq!(random.below(1), 0);

        let mut seen = std::collections::BTreeMap::new();
        (0..24_000).for_each(|_| *seen.entry(random.permutation(4)).or_insert(0_u32) += 1);
        assert_eq!(seen.len(), 24);
        assert!(seen.values().all(|c| c.abs_diff(1000) < 160), "{seen:?}");
        assert!(random.permutation(0).is_empty());
    }
}
