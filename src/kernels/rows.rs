//! Where the rows of a window lie among those of the whole batch: what random numbers are a function of, so that they do not depend on how a
//! batch is shared out.

use bytemuck::{Pod, Zeroable};

/// The rows of a window, t·B + b, in the order of a layer's computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Rows {
    /// The number of the window's first row.
    pub first: u32,
    /// Sequences in the window's batch, B.
    pub batch: u32,
    /// Sequences that the whole batch has besides these.
    pub besides: u32,
    /// Those of them that come before these.
    pub before: u32,
}

/// Their names in shaders: `rows.wgsl` has the function.
pub(crate) const NAMES: [&str; 4] = ["first", "batch", "besides", "before"];

impl Rows {
    /// Those of a window whose batch is the whole one.
    #[must_use]
    pub const fn whole(first: u32) -> Rows {
        Rows { first, batch: 1, besides: 0, before: 0 }
    }

    /// The place in the whole batch of a row of the window, counted from its first.
    #[must_use]
    pub fn place(&self, row: usize) -> u64 {
        let row = u64::from(self.first) + row as u64;
        row + row / u64::from(self.batch) * u64::from(self.besides) + u64::from(self.before)
    }

    /// The same rows from another one on.
    pub(crate) fn from(self, row: u32) -> Rows {
        Rows { first: self.first + row, ..self }
    }

    /// How many rows may be taken together, at most so many, so that their places follow one another in each such block.
    pub(crate) fn together(&self, most: usize) -> usize {
        let batch = self.batch as usize;
        match self.besides {
            0 => most.max(1),
            _ if !self.first.is_multiple_of(self.batch) => 1,
            _ => (1..=most.clamp(1, batch)).rev().find(|count| batch.is_multiple_of(*count)).unwrap_or(1),
        }
    }
}

/// For some sizes of a sample a share of a batch, of which the window has three time steps, or begins and ends within one.
pub(super) fn sample(rows: u32) -> Option<Rows> {
    match (rows % 3, rows % 4) {
        (0, 1 | 2) => Some(Rows { first: rows, batch: rows / 3, besides: 3, before: 2 }),
        (1, 3) => Some(Rows { first: 7, batch: 3, besides: 1, before: 0 }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of the second and third of five sequences, from the second time step on.
    #[test]
    fn places_are_those_in_the_whole_batch() {
        let rows = Rows { first: 2, batch: 2, besides: 3, before: 1 };
        let places: Vec<u64> = (0..4).map(|row| rows.place(row)).collect();
        assert_eq!(places, [6, 7, 11, 12]);
        assert_eq!(Rows::whole(9).place(4), 13);
    }

    #[test]
    fn rows_that_are_taken_together_follow_one_another() {
        for batch in [1, 2, 6, 7, 12] {
            for first in [0, batch, 5] {
                for most in [1, 4, 100] {
                    let rows = Rows { first, batch, besides: 3, before: 2 };
                    let count = rows.together(most);
                    assert!(count <= most);
                    for start in (0..3 * batch as usize).step_by(count) {
                        assert!((0..count).all(|i| rows.place(start + i) == rows.place(start) + i as u64));
                    }
                }
            }
        }
        assert_eq!(Rows { first: 12, batch: 12, besides: 1, before: 0 }.together(5), 4);
        assert_eq!(Rows::whole(3).together(5), 5);
    }
}
