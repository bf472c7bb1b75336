//! Parts of sequences that are walked through side by side.

use std::ops::Range;

use super::{Cut, Windows};
use crate::{Error, Result};

/// The least number of windows of a held-out stream: half a window before each is computed for its state alone.
const STREAM: usize = 16;

/// Consecutive time steps of a sequence, of which those before `counts_from` are read and do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    pub sequence: usize,
    pub steps: Range<usize>,
    pub counts_from: usize,
}

/// A window of a group of stretches that are walked through side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub group: usize,
    /// Its first time step, counted from the start of each stretch.
    pub first: usize,
    /// Whether the state starts at zero.
    pub starts: bool,
}

/// The windows of a pass, and those held out.
#[derive(Debug, Clone, Default)]
pub(super) struct Walk {
    pub groups: Vec<Vec<Stretch>>,
    pub windows: Vec<Window>,
}

/// The first time steps of a single series as streams, one after the other; or whole, where windows lie anywhere in it.
pub(super) fn streams(what: &str, steps: usize, cut: Cut) -> Result<Vec<Stretch>> {
    let Cut { window, batch, windows, .. } = cut;
    let stretch = |steps: Range<usize>| Stretch { sequence: 0, counts_from: steps.start, steps };
    if steps == 0 {
        return Ok(Vec::new());
    }
    let count = if windows == Windows::Random { 1 } else { batch };
    let length = steps / count;
    if length < window {
        let fits = match steps / window {
            0 => format!("window {steps} with batch 1 would fit"),
            largest => format!("batch {largest} would fit, or --windows random"),
        };
        let problem =
            format!("{steps} time steps train, and batch {count} with window {window} needs {}; {fits}", count * window);
        return Err(Error::input(what, problem));
    }
    Ok((0..count).map(|b| stretch(b * length..(b + 1) * length)).collect())
}

/// What is measured of a single series: in one stream where it is short.
pub(super) fn later_streams(steps: &Range<usize>, cut: Cut) -> Vec<Stretch> {
    let count = (steps.len() / (STREAM * cut.window)).clamp(1, cut.batch);
    let length = steps.len().div_ceil(count).max(1);
    let stream = |start: usize| {
        let before = start.saturating_sub(cut.window / 2);
        Stretch { sequence: 0, steps: before..steps.end.min(start + length), counts_from: start }
    };
    steps.clone().step_by(length).map(stream).collect()
}
