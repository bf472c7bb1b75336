//! The kernels: one file a family, with its contract, its definition, its CPU function, its variants and its recording
//! function. To add a variant: its shader and one entry in the kernel's file. To add a kernel: a file, and a line in
//! [`registry`](crate::registry), which tests and checks go through.

pub mod column_sum;
pub mod constraint;
pub mod dropout;
pub mod embedding;
pub mod fill;
pub mod gather;
pub mod gemm;
pub mod journal;
pub mod map;
pub mod noise;
pub mod norm;
pub mod padding;
pub mod recurrence;
pub mod rows;
pub(crate) mod single;
pub mod softmax_loss;
pub mod transpose;
pub mod update;
pub mod value_loss;

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::program::{Content, View};

/// Combines `of` each value in 16 lanes, each in order, and then the lanes: what a vector unit does, in a fixed order.
#[inline(always)]
fn in_lanes(values: &[f32], start: f32, of: impl Fn(f32) -> f32, combine: impl Fn(f32, f32) -> f32) -> f32 {
    let (chunks, rest) = values.as_chunks::<16>();
    let mut lanes = [start; 16];
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &v)| *lane = combine(*lane, of(v)));
    }
    lanes.iter_mut().zip(rest).for_each(|(lane, &v)| *lane = combine(*lane, of(v)));
    lanes.into_iter().fold(start, combine)
}

/// What the text of a shader begins with: `Window`, which the uniform has one of for each binding, and `at`, the place of four columns in one.
pub const WINDOW: &str = include_str!("../../shaders/shared/window.wgsl");
const PHILOX: &str = include_str!("../../shaders/shared/philox.wgsl");
/// For shaders with the scalars of [`rows::Rows`].
const ROWS: &str = include_str!("../../shaders/shared/rows.wgsl");
const EXP: &str = include_str!("../../shaders/shared/exp.wgsl");
const ACTIVATION: &str = include_str!("../../shaders/shared/activation.wgsl");

/// The most terms of a product's sum in one dispatch, and so in one running sum: longer ones are cut, which keeps them
/// below the loop limit of lavapipe and their rounding errors small.
const MAX_TERMS: u32 = 4096;

/// Workgroups that a reduction is shared out to, at most: about four for each multiprocessor of a large GPU.
const WORKGROUPS: u32 = 512;
/// Invocations of a workgroup of a reduction, and vectors that each reads at a time.
const THREADS: u32 = 256;
const UNROLLED: u32 = 4;

/// No scalars.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct NoScalars;

/// The ranges of at most `size` that make up `0..len`.
fn blocks(len: u32, size: u64) -> impl Iterator<Item = Range<u32>> + Clone {
    let size = size.clamp(1, u64::from(u32::MAX)) as u32;
    (0..len.div_ceil(size)).map(move |i| i * size..(i * size).saturating_add(size).min(len))
}

/// The bound of a kernel that only moves numbers: what it writes is exact.
fn exactly(views: &mut [View<f64>], _: &[u8]) {
    views.iter_mut().filter(|view| view.is_written()).for_each(|view| (0..view.rows).for_each(|r| view.row_mut(r).fill(0.0)));
}

/// The weights of a sample's rows: each third is zero, and what it holds must not matter.
fn sample_weights(rows: u32) -> Content {
    Content::Numbers((0..rows).map(|r| if r % 3 == 1 { 0.0 } else { 0.3 + (r % 7) as f32 / 8.0 }).collect())
}

/// The bytes of a shader's scalars.
fn bytes<S: Pod>(scalars: &S) -> Vec<u8> {
    bytemuck::bytes_of(scalars).to_vec()
}
