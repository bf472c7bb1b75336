//! Large tensors pass between files and devices in blocks of rows, so that what the host holds does not grow with them.

use std::ops::Range;

/// The numbers of a block, 4 MiB of them, unless four rows are more.
pub(crate) const BLOCK: usize = 1 << 20;

/// The rows of each block of `rows × cols` numbers. All but the last are multiples of four, where windows may be cut along columns.
pub(crate) fn blocks(rows: usize, cols: usize) -> impl Iterator<Item = Range<usize>> {
    let most = (BLOCK / cols.max(1) / 4 * 4).max(4);
    (0..rows).step_by(most).map(move |start| start..rows.min(start.saturating_add(most)))
}

/// A tensor's extents as rows of its last one; a vector is one row.
pub(crate) fn matrix(shape: &[usize]) -> (usize, usize) {
    match shape {
        [] => (1, 1),
        [rows @ .., cols] => (rows.iter().product(), *cols),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_make_up_the_whole() {
        for (rows, cols) in [(0, 5), (1, BLOCK * 3), (7, BLOCK / 2), (2050, 2049), (9, 0), (BLOCK + 1, 1), (33, BLOCK / 8)] {
            let all: Vec<_> = blocks(rows, cols).collect();
            assert_eq!(all.iter().map(ExactSizeIterator::len).sum::<usize>(), rows);
            assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start && pair[0].len().is_multiple_of(4)));
            assert!(all.iter().all(|block| block.len() * cols <= BLOCK.max(4 * cols)), "{rows} × {cols}");
        }
        assert_eq!(blocks(2050, 2049).count(), 5);
        assert_eq!([matrix(&[]), matrix(&[3]), matrix(&[2, 3, 4])], [(1, 1), (1, 3), (6, 4)]);
    }
}
