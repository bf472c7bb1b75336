//! Buffers and windows into them.

use std::ops::Range;

use crate::blocks::{BLOCK, blocks};

/// The type of a buffer's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 32-bit floats.
    F32,
    /// 32-bit unsigned integers: token ids, classes, positions.
    U32,
}

impl Element {
    /// The bytes of an element, the same for both types.
    pub const SIZE: u64 = 4;
}

/// Rows start at multiples of this many elements, so that every window can be read four at a time.
pub const ROW_ALIGNMENT: u32 = 4;

/// A declared buffer: an index into a [`Program`](super::Program)'s list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Buf(pub(crate) u32);

impl Buf {
    /// Memory that a step needs while it runs and that keeps nothing from one step to the next.
    /// Four, so that a piece can read one and write the others.
    pub(crate) const SCRATCH: [Buf; 4] = [Buf(u32::MAX), Buf(u32::MAX - 1), Buf(u32::MAX - 2), Buf(u32::MAX - 3)];

    /// Four words of the backend's, of which the first is not zero once a workgroup has waited for another in vain.
    pub(crate) const GIVEN_UP: Buf = Buf(u32::MAX - 4);
}

/// A window into a buffer: `rows × cols` elements, row `r` starting at `offset + r·stride`.
///
/// Rows are padded to [`ROW_ALIGNMENT`] elements and the padding is always zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mat {
    pub(crate) buf: Buf,
    pub(crate) element: Element,
    pub(crate) offset: u64,
    pub(crate) rows: u32,
    pub(crate) cols: u32,
    pub(crate) stride: u32,
}

impl Mat {
    /// The buffer that it is in.
    #[must_use]
    pub fn buffer(&self) -> Buf {
        self.buf
    }

    /// The first columns of a row, as many as `len`.
    pub(crate) fn start_of_row(self, row: u32, len: usize) -> Mat {
        self.slice_rows(row..row + 1).slice_cols(0..len as u32)
    }

    /// The number of rows.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// The number of columns.
    #[must_use]
    pub fn cols(&self) -> u32 {
        self.cols
    }

    /// Where its first element is in its buffer.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The number of elements that count, `rows · cols`: what is written to and read from it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows as usize * self.cols as usize
    }

    /// Bytes of its rows, padding included.
    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.rows) * u64::from(self.stride) * Element::SIZE
    }

    /// Whether it has no elements; a program never declares such a window.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The window of some of its rows.
    ///
    /// # Panics
    /// When the rows are not within it.
    #[must_use]
    pub fn slice_rows(&self, rows: Range<u32>) -> Mat {
        assert!(rows.start <= rows.end && rows.end <= self.rows, "rows {rows:?} of {self:?}");
        Mat { offset: self.offset + u64::from(rows.start) * u64::from(self.stride), rows: rows.end - rows.start, ..*self }
    }

    /// The window of some of its columns; both ends multiples of [`ROW_ALIGNMENT`], or the last column's. Of indices they may be any.
    ///
    /// # Panics
    /// When the columns are not within it or not aligned: what lies in the padding of a window of floats must be zero.
    #[must_use]
    pub fn slice_cols(&self, cols: Range<u32>) -> Mat {
        assert!(cols.start <= cols.end && cols.end <= self.cols, "columns {cols:?} of {self:?}");
        let aligned = |c: u32| c.is_multiple_of(ROW_ALIGNMENT) || c == self.cols || self.element == Element::U32;
        assert!(aligned(cols.start) && aligned(cols.end), "columns {cols:?} of {self:?} are not aligned");
        Mat { offset: self.offset + u64::from(cols.start), cols: cols.end - cols.start, ..*self }
    }

    /// The window of some columns of a gate, for the host: behind them, up to the next multiple of four, it is zero.
    pub(crate) fn slice_gate(&self, cols: Range<u32>) -> Mat {
        assert!(cols.start <= cols.end && cols.end <= self.cols, "columns {cols:?} of {self:?}");
        Mat { offset: self.offset + u64::from(cols.start), cols: cols.end - cols.start, ..*self }
    }

    /// Its blocks, each small enough to be on the host at once: of some rows, or of some columns where it has one row.
    pub(crate) fn blocks(self) -> impl Iterator<Item = Mat> {
        let (rows, cols) = (self.rows as usize, self.cols as usize);
        let most = if rows == 1 { BLOCK } else { cols };
        blocks(rows, cols).flat_map(move |r| {
            let rows = self.slice_rows(r.start as u32..r.end as u32);
            (0..cols).step_by(most).map(move |c| rows.slice_cols(c as u32..cols.min(c + most) as u32))
        })
    }

    /// One past the last element it touches, padding included, counted from the buffer's start.
    pub(crate) fn end(&self) -> u64 {
        let last = self.offset + u64::from(self.rows - 1) * u64::from(self.stride) + u64::from(self.cols);
        last.next_multiple_of(u64::from(ROW_ALIGNMENT))
    }
}
