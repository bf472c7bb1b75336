//! What training does besides: dropout, noise on the sums, a penalty of the states, and label smoothing.

use ndarray::Array3;

/// What a training step does besides, and what dropout and noise follow from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Regularization {
    /// P of the outputs of every layer but the last.
    pub dropout: f64,
    /// P of what the decoder reads.
    pub output_dropout: f64,
    /// The standard deviation of what is added to each sum.
    pub state_noise: f64,
    /// λ: to the loss is added λ times the mean square of the states of each layer and direction.
    pub activity_l2: f64,
    /// ε: the gradient of the cross-entropy leads to `(1−ε)·onehot(y) + ε/O`.
    pub label_smoothing: f64,
    /// The seed.
    pub seed: u64,
    /// The training step, counted from 1.
    pub step: u64,
}

/// The layer's number in the masks of what the decoder reads.
const OUTPUT: u128 = 1000;
/// The first layer's number in noise.
const NOISE: u128 = 1 << 31;

impl Regularization {
    /// None, as everywhere but in training.
    pub const NONE: Regularization = Regularization {
        dropout: 0.0,
        output_dropout: 0.0,
        state_noise: 0.0,
        activity_l2: 0.0,
        label_smoothing: 0.0,
        seed: 0,
        step: 1,
    };

    /// What the outputs `[T, B, cols]` of layer `k` of `layers` are multiplied by: 0 or `1/(1−P)`; `None` where nothing is dropped.
    ///
    /// Number `n` in row-major order uses the `n mod 4`-th 32-bit word of the Philox block of the counter `(⌊n/4⌋, layer, step)`, and is
    /// dropped where that is below `⌊P·2³²⌋`.
    #[must_use]
    pub fn mask(&self, k: usize, layers: usize, shape: (usize, usize, usize)) -> Option<Array3<f64>> {
        let is_top = k + 1 == layers;
        let (rate, layer) = if is_top { (self.output_dropout, OUTPUT) } else { (self.dropout, k as u128) };
        if rate == 0.0 {
            return None;
        }
        let threshold = (rate * 2f64.powi(32)).floor() as u128;
        let factor = |n: usize| {
            let word = (self.block(n / 4, layer) >> (32 * (n % 4))) % (1 << 32);
            if word < threshold { 0.0 } else { 1.0 / (1.0 - rate) }
        };
        let (_, sequences, cols) = shape;
        Some(Array3::from_shape_fn(shape, |(t, b, c)| factor((t * sequences + b) * cols + c)))
    }

    /// What is added to the sums `[T, B, H]` of a layer and direction, by its place among all, in the order of computation; `None` for nothing.
    ///
    /// Number `n` in row-major order is made of 64 bits of the Philox block of the counter `(⌊n/2⌋, 2³¹ + place, step)`, the lower ones for
    /// even `n`: the sum of their eight bytes, less its mean 1020, times σ/√43690 rounded to 13 significant bits.
    #[must_use]
    pub fn noise(&self, place: usize, shape: (usize, usize, usize)) -> Option<Array3<f64>> {
        if self.state_noise == 0.0 {
            return None;
        }
        let scale = self.state_noise / 43690f64.sqrt();
        let unit = 2f64.powf(scale.log2().floor() - 12.0);
        let scale = (scale / unit).round() * unit;
        let number = |n: usize| {
            let bits = self.block(n / 2, NOISE + place as u128) >> (64 * (n % 2));
            let sum: u128 = (0..8).map(|byte| (bits >> (8 * byte)) % 256).sum();
            scale * (sum as f64 - 1020.0)
        };
        let (_, sequences, cols) = shape;
        Some(Array3::from_shape_fn(shape, |(n, b, c)| number((n * sequences + b) * cols + c)))
    }

    /// λ times the mean square of a layer's states `[T, B, H]`.
    pub(super) fn penalty(&self, states: &Array3<f64>) -> f64 {
        self.activity_l2 * states.mapv(|h| h * h).sum() / states.len() as f64
    }

    /// The gradient of [`Regularization::penalty`] by the states.
    pub(super) fn d_penalty(&self, states: &Array3<f64>) -> Array3<f64> {
        states * (2.0 * self.activity_l2 / states.len() as f64)
    }

    /// A block of the numbers of a layer.
    fn block(&self, number: usize, layer: u128) -> u128 {
        philox((number as u128 % (1 << 32)) | (layer << 32) | (u128::from(self.step) << 64), self.seed)
    }
}

/// Philox4×32-10 of a counter and a key, each with its least word first (Salmon, Moraes, Dror & Shaw 2011, section 3.3).
fn philox(counter: u128, key: u64) -> u128 {
    const WORD: u128 = u32::MAX as u128;
    let word = |of: u128, i: u32| (of >> (32 * i)) & WORD;
    let (mut block, mut key) = (counter, u128::from(key));
    for _ in 0..10 {
        let (first, second) = (word(block, 0) * 0xD251_1F53, word(block, 2) * 0xCD9E_8D57);
        let words = [
            word(second, 1) ^ word(block, 1) ^ word(key, 0),
            word(second, 0),
            word(first, 1) ^ word(block, 3) ^ word(key, 1),
            word(first, 0),
        ];
        block = (0..).zip(words).map(|(i, word)| word << (32 * i)).sum();
        key = ((word(key, 0) + 0x9E37_79B9) & WORD) | (((word(key, 1) + 0xBB67_AE85) & WORD) << 32);
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `kat_vectors` of Random123 1.14, philox4x32 10: the words of each number last first.
    #[test]
    fn philox_gives_the_published_vectors() {
        for (counter, key, expected) in [
            (0, 0, 0x9b00dbd8_bc57ac4c_e169c58d_6627e8d5),
            (u128::MAX, u64::MAX, 0x6d5451fd_a20bc7c6_41c83b0e_408f276d),
            (0x03707344_13198a2e_85a308d3_243f6a88, 0x299f31d0_a4093822, 0x24126ea1_5001e420_94fdcceb_d16cfe09),
        ] {
            assert_eq!(philox(counter, key), expected, "{counter:x} {key:x}");
        }
    }
}
