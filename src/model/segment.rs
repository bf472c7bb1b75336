//! The time steps of a window: in segments, and with the ends of its sequences.

use std::ops::Range;

use super::config::Config;
use crate::kernels::gather::NO_ROW;
use crate::program::{Mat, Program};

/// Some time steps of a window.
pub(crate) struct Segment {
    pub number: u32,
    /// Its rows of the window.
    pub rows: Range<u32>,
    pub is_last: bool,
}

impl Segment {
    /// Those of a window, in order.
    pub fn all(config: &Config) -> Vec<Segment> {
        let (times, batch) = (config.segments(), config.batch as u32);
        let last = times.len() as u32 - 1;
        let segment = |(number, time): (u32, &Range<u32>)| Segment {
            number,
            rows: time.start * batch..time.end * batch,
            is_last: number == last,
        };
        (0..).zip(&times).map(segment).collect()
    }

    pub fn len(&self) -> u32 {
        self.rows.end - self.rows.start
    }

    /// The rows of a window of a segment's length.
    pub fn within(&self, window: Mat) -> Mat {
        window.slice_rows(0..self.len())
    }

    /// Its rows of a window of all time steps.
    pub fn rows_in(&self, window: Mat) -> Mat {
        window.slice_rows(self.rows.clone())
    }

    /// Its row of indices.
    pub fn indices(&self, window: Mat) -> Mat {
        window.slice_rows(self.number..self.number + 1).slice_cols(0..self.len())
    }
}

/// Where the sequences of a batch end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    /// The length of each sequence, `[1, B]`.
    pub lengths: Mat,
    /// For each segment a row: of each sequence the row, of those of a layer's states, that is the last before its end, or the first where it
    /// has ended before.
    pub rows: Mat,
}

impl Ends {
    pub fn new(program: &mut Program, config: &Config) -> Ends {
        let (batch, segments) = (config.batch as u32, config.segments().len() as u32);
        Ends { lengths: program.indices("lengths", 1, batch), rows: program.indices("last rows of sequences", segments, batch) }
    }

    /// Those rows of a segment.
    pub fn for_segment(&self, segment: &Segment) -> Mat {
        self.rows.slice_rows(segment.number..segment.number + 1)
    }

    /// What [`Ends::rows`] holds for a segment.
    pub fn rows_of(lengths: &[usize], times: &Range<u32>) -> Vec<u32> {
        let before = |length: usize| (length as u32).clamp(times.start, times.end) - times.start;
        (0..).zip(lengths).map(|(b, &length)| before(length) * lengths.len() as u32 + b).collect()
    }
}

/// For each row of a window that of the same sequence which is as far from its end as the first is from its start, and [`NO_ROW`] in the
/// padding. Whoever turns twice has what was there before.
pub(crate) fn turned(lengths: &[usize], window: usize) -> Vec<u32> {
    let row = |t: usize, (b, &length): (usize, &usize)| {
        if t < length { ((length - 1 - t) * lengths.len() + b) as u32 } else { NO_ROW }
    };
    (0..window).flat_map(|t| lengths.iter().enumerate().map(move |sequence| row(t, sequence))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_turn_within_their_lengths() {
        let none = NO_ROW;
        assert_eq!(turned(&[3, 1, 2], 3), [6, 1, 5, 3, none, 2, 0, none, none]);
        let rows = turned(&[5, 2, 4, 5, 1], 5);
        for (row, &other) in (0..).zip(&rows).filter(|(_, other)| **other != none) {
            assert_eq!((rows[other as usize], other % 5), (row, row % 5));
        }
        assert_eq!(rows.iter().filter(|&&row| row == none).count(), 25 - 17);
    }

    #[test]
    fn a_sequence_ends_in_one_segment_and_stays_there() {
        let (lengths, segments) = ([1, 3, 4, 7], [0..3, 3..6, 6..7]);
        let rows = segments.map(|times| Ends::rows_of(&lengths, &times));
        assert_eq!(rows, [[4, 13, 14, 15], [0, 1, 6, 15], [0, 1, 2, 7]]);
    }
}
