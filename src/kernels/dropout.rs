//! Dropout (Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov 2014): units are left out at random while a network is trained, and the
//! others scaled so that their mean stays.
//!
//! Which ones is a function of (seed, training step, layer, element) alone, by Philox4×32-10: so every device drops the same, a run that
//! was resumed goes on with the same, and the way back computes the mask again instead of reading it. Element n of a layer's outputs, in
//! row-major order over the whole window of the whole batch, uses word n mod 4 of the block with key (seed mod 2³², ⌊seed/2³²⌋) and counter (⌊n/4⌋, layer, step
//! mod 2³², ⌊step/2³²⌋), and is dropped where the word is less than ⌊P·2³²⌋.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::fill::pieces_by_rows;
use super::rows::{self, Rows};
use super::{PHILOX, ROWS, WINDOW, bytes};
use crate::program::{
    Binding, Content, Cuts, Kernel, Lowered, Mat, Program, Shader, Step, Variant, View, all_windows, little, scalars, whole,
};
use crate::random::philox;
use crate::rounding::{TINY, U, flushed};
use crate::simd::arch;

/// What is the same at every training step.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Scalars {
    layer: u32,
    rows: Rows,
    /// The columns of the layer's outputs, and the place of the first one among them.
    width: u32,
    col: u32,
    /// Words below it are dropped.
    threshold: u32,
    /// What is kept is multiplied by it.
    scale: f32,
}

const SCALARS: &[&str] =
    &["layer", rows::NAMES[0], rows::NAMES[1], rows::NAMES[2], rows::NAMES[3], "width", "col", "threshold", "scale"];
const BINDINGS: &[Binding] = &[Binding::read("x"), Binding::indices("schedule"), Binding::write("out")];

/// out = x ⊙ mask, of the same shape: 0 where a unit is dropped, and 1 / (1 − P). `schedule` `[1, 4]` holds the seed and the training step,
/// the low word of each before the high one; at step 0, which is none, nothing is dropped and out = x.
pub static DROPOUT: Kernel = Kernel {
    name: "dropout",
    bindings: BINDINGS,
    scalars: SCALARS,
    definition: define,
    bound,
    parts: whole,
    is_exact: |step| step.scalars::<Scalars>().scale.fract() == 0.0,
    cpu: run,
    variants: &[Variant {
        name: "rows",
        shaders: &[Shader::new(&[WINDOW, PHILOX, ROWS, include_str!("../../shaders/dropout.wgsl")], "main", BINDINGS, SCALARS)],
        lower,
        ..Variant::PLAIN
    }],
    bytes: all_windows,
    working: little,
    runs_beside: |_| true,
    flops: |step| step.windows[0].len() as u64,
    sample: |program, [m, n, k]| {
        let (x, out) = (program.matrix("x", m, n), program.matrix("out", m, n));
        let schedule = program.indices("schedule", 1, 4);
        let rate = [0.5, 0.75, 0.3, 0.999][k as usize % 4];
        // The first row, one in which the number of an element passes 2³², and one after which it is beyond 2³⁴.
        let first = [0, u32::MAX / n, u32::MAX - m][k as usize / 4 % 3];
        let rows = rows::sample(m).unwrap_or(Rows::whole(first));
        // All columns, or the second of two directions.
        let (width, col) = if k.is_multiple_of(2) { (n, 0) } else { (2 * n, n) };
        dropout(program, x, schedule, out, Place { layer: [0, 2, OUTPUT_LAYER][k as usize % 3], rows, width, col, rate });
        let step = [0x1_2345_6789, 7, 0, 1][k as usize / 2 % 4];
        vec![(schedule, Content::Indices(schedule_of(0xfedc_ba98_7654_3210 ^ u64::from(k), step).to_vec()))]
    },
};

/// The number of the layer whose outputs the head reads, in the masks of `--output-dropout`.
pub(crate) const OUTPUT_LAYER: u32 = 1000;

/// What a mask is a function of, besides the seed and the training step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// The layer whose outputs are masked.
    pub layer: u32,
    /// The rows among the layer's outputs at all time steps.
    pub rows: Rows,
    /// The number of the layer's outputs at a time step.
    pub width: u32,
    /// The place of the first column among them.
    pub col: u32,
    /// The probability of each unit to be dropped, P: at least 0 and below 1.
    pub rate: f64,
}

/// What `schedule` holds for a seed and a training step, counted from 1; with step 0 nothing is dropped.
#[must_use]
pub fn schedule_of(seed: u64, step: u64) -> [u32; 4] {
    [seed as u32, (seed >> 32) as u32, step as u32, (step >> 32) as u32]
}

/// Records out = x ⊙ mask.
///
/// # Panics
/// When the shapes do not fit, or the rate is out of range.
pub fn dropout(program: &mut Program, x: Mat, schedule: Mat, out: Mat, place: Place) {
    assert!(
        (x.rows, x.cols) == (out.rows, out.cols) && (schedule.rows, schedule.cols) == (1, 4),
        "dropout: x {x:?}, schedule {schedule:?}, out {out:?}"
    );
    let Place { layer, rows, width, col, rate } = place;
    assert!((0.0..1.0).contains(&rate) && col + x.cols <= width, "dropout: {place:?} of {x:?}");
    let (threshold, scale) = ((rate * TWO_TO_32) as u32, (1.0 / (1.0 - rate)) as f32);
    program.push(&DROPOUT, &[x, schedule, out], Scalars { layer, rows, width, col, threshold, scale });
}

const TWO_TO_32: f64 = (1_u64 << 32) as f64;

/// The scalars, and key and training step; where nothing is dropped, a threshold of 0 and a scale of 1.
fn masked<T: Copy>(schedule: &View<T>, bytes: &[u8]) -> (Scalars, [u32; 2], [u32; 2]) {
    let scalars: Scalars = scalars(bytes);
    let ([key, step], is_on) = now(schedule);
    let scalars = if is_on { scalars } else { Scalars { threshold: 0, scale: 1.0, ..scalars } };
    (scalars, key, step)
}

/// The key and the training step of a schedule, and whether there is one.
pub(super) fn now<T: Copy>(schedule: &View<T>) -> ([[u32; 2]; 2], bool) {
    let [low, high, step_low, step_high] = [0, 1, 2, 3].map(|i| schedule.index(i) as u32);
    ([[low, high], [step_low, step_high]], (step_low | step_high) != 0)
}

/// Calls `each` with every element's row, column and factor.
fn each_factor(x: &View<f64>, schedule: &View<f64>, bytes: &[u8], mut each: impl FnMut(usize, usize, f64)) {
    let (Scalars { layer, rows, width, col, threshold, scale }, key, [step_low, step_high]) = masked(schedule, bytes);
    for r in 0..x.rows {
        for c in 0..x.cols {
            let n = rows.place(r) * u64::from(width) + u64::from(col) + c as u64;
            let words = philox([(n / 4) as u32, layer, step_low, step_high], key);
            each(r, c, if words[(n % 4) as usize] < threshold { 0.0 } else { f64::from(scale) });
        }
    }
}

fn define(views: &mut [View<f64>], bytes: &[u8]) {
    let [x, schedule, out] = views else { unreachable!("three windows") };
    each_factor(x, schedule, bytes, |r, c, factor| out.set(r, c, x.at(r, c) * factor));
}

/// One product; one with 0 or 1 rounds nothing.
fn bound(views: &mut [View<f64>], bytes: &[u8]) {
    let [x, schedule, out] = views else { unreachable!("three windows") };
    each_factor(x, schedule, bytes, |r, c, factor| {
        let x = x.at(r, c);
        let off = if factor > 1.0 { U * (x * factor).abs() + flushed(x) * factor + TINY } else { flushed(x) * factor };
        out.set(r, c, off);
    });
}

/// Words drawn at a time, and blocks of four that are drawn side by side.
const WORDS: usize = 4096;
const LANES: usize = 16;

fn run(views: &mut [View<f32>], bytes: &[u8]) {
    let [x, schedule, out] = views else { unreachable!("three windows") };
    let (scalars, key, step) = masked(schedule, bytes);
    let (cols, width, from, to) = (x.cols, scalars.width as usize, x.stride, out.stride);
    let rows = scalars.rows.together(WORDS / width);
    let each = out.data_mut().par_chunks_mut(rows * to).zip(x.data().par_chunks(rows * from));
    each.enumerate().for_each_init(Vec::new, |words, (i, (out, x))| {
        let n = scalars.rows.place(i * rows) * width as u64 + u64::from(scalars.col);
        let count = (out.chunks(to).len() - 1) * width + cols;
        arch().dispatch(|| draw(words, n, count, [scalars.layer, step[0], step[1]], key));
        let words = words[(n % 4) as usize..].chunks(width);
        for ((out, x), words) in out.chunks_mut(to).zip(x.chunks(from)).zip(words) {
            arch().dispatch(|| {
                for ((out, &x), &word) in out[..cols].iter_mut().zip(&x[..cols]).zip(&words[..cols]) {
                    *out = x * if word < scalars.threshold { 0.0 } else { scalars.scale };
                }
            });
        }
    });
}

/// The words from the block of number n on, as many as `count` numbers from n on need, or more.
#[inline(always)]
pub(super) fn draw(words: &mut Vec<u32>, n: u64, count: usize, rest: [u32; 3], key: [u32; 2]) {
    let blocks = ((n % 4) as usize + count).div_ceil(4 * LANES);
    words.resize(blocks * 4 * LANES, 0);
    let first = (n / 4) as u32;
    for (i, words) in words.chunks_exact_mut(4 * LANES).enumerate() {
        let counter = |lane: usize| first.wrapping_add((i * LANES + lane) as u32);
        for (lane, words) in words.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            *words = philox([counter(lane), rest[0], rest[1], rest[2]], key);
        }
    }
}

/// A dispatch for each block of rows that fits, which knows the place of its first in the whole window.
fn lower(step: &Step, cuts: &Cuts) -> Lowered {
    let [x, schedule, out] = step.windows[..] else { unreachable!("three windows") };
    let scalars: Scalars = step.scalars();
    let part = |r: std::ops::Range<u32>| {
        let windows = vec![x.slice_rows(r.clone()), schedule, out.slice_rows(r.clone())];
        (windows, bytes(&Scalars { rows: scalars.rows.from(r.start), ..scalars }))
    };
    Lowered::once(pieces_by_rows(&[x, out], 0, cuts, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share that is dropped is within four standard deviations of P, in each layer and at each training step; and no two masks are
    /// alike.
    #[test]
    fn the_share_that_is_dropped_is_the_probability() {
        let count = 1 << 20;
        let mut all: Vec<Vec<bool>> = Vec::new();
        for (rate, seed, step, layer) in [
            (0.1, 57, 1, 0),
            (0.1, 57, 2, 0),
            (0.1, 57, 1, 1),
            (0.1, 58, 1, 0),
            (0.5, 1 << 40, 1 << 33, OUTPUT_LAYER),
            (0.9, 3, 9, 4),
        ] {
            let threshold = (rate * TWO_TO_32) as u32;
            let [low, high, step_low, step_high] = schedule_of(seed, step);
            let mut words = Vec::new();
            draw(&mut words, 3, count, [layer, step_low, step_high], [low, high]);
            let dropped: Vec<bool> = words[3..][..count].iter().map(|&word| word < threshold).collect();
            let share = dropped.iter().filter(|&&d| d).count() as f64 / count as f64;
            let deviation = (rate * (1.0 - rate) / count as f64).sqrt();
            assert!((share - rate).abs() < 4.0 * deviation, "{share} of {rate}");
            assert!(all.iter().all(|other| *other != dropped));
            all.push(dropped);
        }
        // Neighbours are independent: both are dropped as often as P², here ¼. The pairs overlap, whose variance is 5/16 a pair.
        let pairs = all[4].windows(2).filter(|pair| pair[0] && pair[1]).count() as f64 / count as f64;
        assert!((pairs - 0.25).abs() < 4.0 * (0.3125 / count as f64).sqrt(), "{pairs}");
    }
}
