//! Noise on the sums of a recurrence, in training.
//!
//! It is a function of (seed, training step, layer, element) alone, by Philox4×32-10, as dropout is: so every device adds the same bits. Element n
//! of a layer's sums, in row-major order over the whole window, uses two words of the block with key (seed) and counter (⌊n/2⌋, layer, step):
//! those of number 2·(n mod 2) on. A logarithm or a cosine has other bits on every device. So ξ is no exact normal number but the sum of the words'
//! eight bytes, less its mean and over its deviation, √(8·(256² − 1)/12): of mean 0, variance 1 and kurtosis 2.85 (3), at most 4.9, in steps of
//! 0.005.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::dropout::{draw, now, schedule_of};
use super::fill::pieces_by_rows;
use super::rows::{self, Rows};
use super::{PHILOX, ROWS, WINDOW, bytes, exactly};
use crate::program::{
    Binding, Content, Cuts, Kernel, Lowered, Mat, Program, Shader, Step, Variant, View, all_windows, little, scalars, whole,
};
use crate::random::philox;
use crate::rounding::Terms;
use crate::simd::arch;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Scalars {
    layer: u32,
    rows: Rows,
    /// The sum of bytes less its mean is multiplied by it.
    scale: f32,
}

const SCALARS: &[&str] = &["layer", rows::NAMES[0], rows::NAMES[1], rows::NAMES[2], rows::NAMES[3], "scale"];
const BINDINGS: &[Binding] = &[Binding::indices("schedule"), Binding::update("out")];

/// out = out + σ·ξ. `schedule` `[1, 4]` is dropout's; at step 0 nothing is added.
pub static NOISE: Kernel = Kernel {
    name: "noise",
    bindings: BINDINGS,
    scalars: SCALARS,
    definition: define,
    bound,
    parts: whole,
    is_exact: |step| step.scalars::<Scalars>().scale.fract() == 0.0,
    cpu: run,
    variants: &[Variant {
        name: "rows",
        shaders: &[Shader::new(&[WINDOW, PHILOX, ROWS, include_str!("../../shaders/noise.wgsl")], "main", BINDINGS, SCALARS)],
        lower,
        ..Variant::PLAIN
    }],
    bytes: |step| 2 * all_windows(step),
    working: little,
    runs_beside: |_| true,
    flops: |step| 2 * step.windows[1].len() as u64,
    sample: |program, [m, n, k]| {
        let (schedule, out) = (program.indices("schedule", 1, 4), program.matrix("out", m, n));
        let rows = rows::sample(m).unwrap_or(Rows::whole([0, 12_345, u32::MAX / n - m][k as usize % 3]));
        // The last is so large that the result is an integer.
        noise(program, schedule, out, [0, 3][k as usize % 2], rows, [0.25, 0.01, DEVIATION][k as usize / 2 % 3]);
        let step = [0x1_2345_6789, 7, 1, 0][k as usize / 2 % 4];
        vec![(schedule, Content::Indices(schedule_of(0xfedc_ba98_7654_3210 ^ u64::from(k), step).to_vec()))]
    },
};

/// The numbers of layers in noise begin here, behind those in dropout.
const FIRST_LAYER: u32 = 1 << 31;

/// Eight bytes add up to this on average.
const MEAN: i32 = 8 * 255 / 2;
/// The standard deviation of their sum, √43690.
const DEVIATION: f64 = 209.021_529_990_1;

/// Records out = out + σ·ξ. `layer` is the place of the layer and direction among all, `rows` those of `out` among the layer's at all
/// time steps, in the order of computation.
///
/// # Panics
/// When the schedule has another shape, or σ is no positive number.
pub fn noise(program: &mut Program, schedule: Mat, out: Mat, layer: u32, rows: Rows, deviation: f64) {
    assert!((schedule.rows, schedule.cols) == (1, 4) && deviation > 0.0, "noise of {deviation}: schedule {schedule:?}");
    let scalars = Scalars { layer: FIRST_LAYER + layer, rows, scale: scale_of(deviation) };
    program.push(&NOISE, &[schedule, out], scalars);
}

/// σ over the deviation of the sum of bytes, in 13 significant bits: so its product with a sum of bytes is exact, and whether it is fused with the
/// addition behind it does not show.
fn scale_of(deviation: f64) -> f32 {
    const DROPPED: u32 = 11;
    let bits = ((deviation / DEVIATION) as f32).to_bits();
    f32::from_bits((bits + (1 << (DROPPED - 1))) >> DROPPED << DROPPED)
}

/// The sum of the bytes of two words, less its mean.
#[inline(always)]
fn sum_of_bytes(words: [u32; 2]) -> i32 {
    let halves = words.map(|word| (word & 0x00ff_00ff) + ((word >> 8) & 0x00ff_00ff));
    let pairs = halves[0] + halves[1];
    ((pairs & 0xffff) + (pairs >> 16)) as i32 - MEAN
}

/// What is added to each element, row by row; nothing at step 0.
fn noises(out: &View<f64>, schedule: &View<f64>, bytes: &[u8]) -> Option<Vec<f64>> {
    let Scalars { layer, rows, scale } = scalars(bytes);
    let ([key, step], is_on) = now(schedule);
    let noise = |place: usize| {
        let n = rows.place(place / out.cols) * out.cols as u64 + (place % out.cols) as u64;
        let words = philox([(n / 2) as u32, layer, step[0], step[1]], key);
        let at = 2 * (n % 2) as usize;
        f64::from(scale) * f64::from(sum_of_bytes([words[at], words[at + 1]]))
    };
    is_on.then(|| (0..out.rows * out.cols).map(noise).collect())
}

fn define(views: &mut [View<f64>], bytes: &[u8]) {
    let [schedule, out] = views else { unreachable!("two windows") };
    let Some(all) = noises(out, schedule, bytes) else { return };
    for (r, noise) in all.chunks(out.cols).enumerate() {
        out.row_mut(r).iter_mut().zip(noise).for_each(|(out, noise)| *out += noise);
    }
}

/// One addition, or none.
fn bound(views: &mut [View<f64>], bytes: &[u8]) {
    let [schedule, out] = views else { unreachable!("two windows") };
    let Some(all) = noises(out, schedule, bytes) else { return exactly(views, bytes) };
    for (r, noise) in all.chunks(out.cols).enumerate() {
        for (out, &noise) in out.row_mut(r).iter_mut().zip(noise) {
            let mut terms = Terms::default();
            terms.number(*out);
            terms.number(noise);
            *out = terms.of_numbers();
        }
    }
}

/// Numbers drawn at a time.
const NUMBERS: usize = 2048;

fn run(views: &mut [View<f32>], bytes: &[u8]) {
    let [schedule, out] = views else { unreachable!("two windows") };
    let Scalars { layer, rows, scale } = scalars(bytes);
    let ([key, step], is_on) = now(schedule);
    if !is_on {
        return;
    }
    let (cols, stride) = (out.cols, out.stride);
    let together = rows.together(NUMBERS / cols);
    out.data_mut().par_chunks_mut(together * stride).enumerate().for_each_init(Vec::new, |words, (i, out)| {
        let n = rows.place(i * together) * cols as u64;
        let count = out.chunks(stride).len() * cols;
        arch().dispatch(|| draw(words, 2 * n, 2 * count, [layer, step[0], step[1]], key));
        let (pairs, _) = words[(2 * n % 4) as usize..].as_chunks::<2>();
        for (out, pairs) in out.chunks_mut(stride).zip(pairs.chunks(cols)) {
            arch().dispatch(|| {
                for (out, &pair) in out[..cols].iter_mut().zip(pairs) {
                    *out += scale * sum_of_bytes(pair) as f32;
                }
            });
        }
    });
}

/// A dispatch for each block of rows that fits, which knows the place of its first in the whole window.
fn lower(step: &Step, cuts: &Cuts) -> Lowered {
    let [schedule, out] = step.windows[..] else { unreachable!("two windows") };
    let scalars: Scalars = step.scalars();
    let part = |r: std::ops::Range<u32>| {
        (vec![schedule, out.slice_rows(r.clone())], bytes(&Scalars { rows: scalars.rows.from(r.start), ..scalars }))
    };
    Lowered::once(pieces_by_rows(&[out], 0, cuts, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean, variance and kurtosis are those of the sum of eight bytes within six standard errors, and no two noises are alike.
    #[test]
    fn the_noise_has_its_moments() {
        let count = 1 << 20;
        let mut all: Vec<Vec<i32>> = Vec::new();
        for (seed, step, layer) in [(57, 1, 0), (57, 2, 0), (57, 1, 1), (58, 1, 0)] {
            let [low, high, step_low, step_high] = schedule_of(seed, step);
            let mut words = Vec::new();
            draw(&mut words, 2, 2 * count, [FIRST_LAYER + layer, step_low, step_high], [low, high]);
            let sums: Vec<i32> = words[2..].as_chunks().0[..count].iter().map(|&pair| sum_of_bytes(pair)).collect();
            let moment = |power: i32| sums.iter().map(|&x| (f64::from(x) / DEVIATION).powi(power)).sum::<f64>() / count as f64;
            let near = |value: f64, expected: f64, spread: f64| (value - expected).abs() < 6.0 * spread / (count as f64).sqrt();
            assert!(
                near(moment(1), 0.0, 1.0) && near(moment(2), 1.0, 1.4) && near(moment(4), 2.85, 9.0),
                "{seed} {step} {layer}"
            );
            assert!(all.iter().all(|other| *other != sums));
            all.push(sums);
        }
    }

    /// However the deviation is, the product with any sum of bytes rounds nothing.
    #[test]
    fn products_with_the_scale_are_exact() {
        for deviation in [1e-3, 0.1, 1.0 / 3.0, 0.7, 1.0, 12.34] {
            let scale = scale_of(deviation);
            assert!((f64::from(scale) * DEVIATION / deviation - 1.0).abs() < 1.3e-4, "{deviation}");
            for sum in -MEAN..=MEAN {
                assert_eq!(f64::from(scale * sum as f32), f64::from(scale) * f64::from(sum));
            }
        }
    }
}
