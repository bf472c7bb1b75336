//! What a training step leaves for the host to fetch later, and the flag that stops updates once something diverged:
//! so that nothing waits for the device inside a step.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use num_traits::Float;

use super::{NoScalars, WINDOW, bytes, exactly};
use crate::program::{
    Along, Binding, Content, Cuts, Kernel, Lowered, Mat, Piece, Program, Shader, Step, Variant, View, all_windows, little, whole,
};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Part {
    first: u32,
    rows: u32,
}

const BINDINGS: &[Binding] = &[
    Binding::read("loss"),
    Binding::read("norm"),
    Binding::read("schedule"),
    Binding::update("status"),
    Binding::update("history"),
];

/// history\[row\] = (loss, norm, high, low), with row = schedule\[3\]; status\[0\] ← 1 where the loss or the norm is not
/// finite, and once it is 1 the norm in history is NaN: loss `[1, 1]`, norm `[1, 4]`, schedule `[1, 4]`, status `[1, 4]`, history `[rows, 4]`.
pub static JOURNAL: Kernel = Kernel {
    name: "journal",
    bindings: BINDINGS,
    scalars: &[],
    definition: run,
    bound: exactly,
    parts: whole,
    is_exact: |_| true,
    cpu: run,
    variants: &[Variant {
        name: "one",
        shaders: &[Shader::new(&[WINDOW, include_str!("../../shaders/journal.wgsl")], "main", BINDINGS, &["first", "rows"])],
        lower,
        ..Variant::PLAIN
    }],
    bytes: all_windows,
    working: little,
    runs_beside: |_| true,
    flops: |_| 0,
    sample: |program, [m, _, k]| {
        let [loss, norm, schedule] =
            [("loss", 1), ("norm", 4), ("schedule", 4)].map(|(name, cols)| program.matrix(name, 1, cols));
        let (status, history) = (program.matrix("status", 1, 4), program.matrix("history", m, 4));
        journal(program, loss, norm, schedule, status, history);
        let row = (k * 7 % m) as f32;
        vec![(schedule, Content::Numbers(vec![0.01, 1.0, 1.0, row])), (status, super::update::sample_status(k))]
    },
};

/// Records the entry of a step.
///
/// # Panics
/// When the shapes do not fit.
pub fn journal(program: &mut Program, loss: Mat, norm: Mat, schedule: Mat, status: Mat, history: Mat) {
    assert!(
        loss.len() == 1 && [norm, schedule, status].iter().all(|m| (m.rows, m.cols) == (1, 4)) && history.cols == 4,
        "journal: loss {loss:?}, norm {norm:?}, schedule {schedule:?}, status {status:?}, history {history:?}"
    );
    program.push(&JOURNAL, &[loss, norm, schedule, status, history], NoScalars);
}

/// A piece for each part of the history, of which one has the row.
fn lower(step: &Step, cuts: &Cuts) -> Lowered {
    let history = step.windows[4];
    let piece = |r: Range<u32>| {
        let mut windows = step.windows.clone();
        windows[4] = history.slice_rows(r.clone());
        let scalars = bytes(&Part { first: r.start, rows: history.rows });
        Piece { shader: 0, windows, scalars, grid: [1, 1, 1], iterations: 0 }
    };
    Lowered::once(cuts.runs(history.rows, &[Along::Rows(history)], [1, 1], u64::MAX).map(piece).collect())
}

fn run<T: Float>(views: &mut [View<T>], _: &[u8]) {
    let [loss, norm, schedule, status, history] = views else { unreachable!("five windows") };
    let (loss, norm) = (loss.at(0, 0), norm.row(0));
    if !loss.is_finite() || !norm[0].is_finite() {
        status.row_mut(0).copy_from_slice(&[T::one(), T::zero(), T::zero(), T::zero()]);
    }
    // Once halted, every later entry says so: none can pass for a step that changed anything.
    let reported = if status.at(0, 0) == T::zero() { norm[0] } else { T::nan() };
    let row = schedule.at(0, 3).to_usize().unwrap_or(0).min(history.rows - 1);
    history.row_mut(row).copy_from_slice(&[loss, reported, norm[1], norm[2]]);
}
