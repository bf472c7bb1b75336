//! Windows as kernels see them on the CPU.

use super::Mat;

/// A window as a kernel's definition and CPU function see it.
#[derive(Debug)]
pub struct View<'a, T> {
    data: Data<'a, T>,
    /// The number of rows.
    pub rows: usize,
    /// The number of columns.
    pub cols: usize,
    /// Elements from one row's start to the next.
    pub stride: usize,
}

/// The elements of a view, from its first on.
#[derive(Debug)]
pub(crate) enum Data<'a, T> {
    Read(&'a [T]),
    Write(&'a mut [T]),
    Indices(&'a [u32]),
}

impl<'a, T: Copy> View<'a, T> {
    pub(crate) fn new(mat: &Mat, data: Data<'a, T>) -> View<'a, T> {
        View { data, rows: mat.rows as usize, cols: mat.cols as usize, stride: mat.stride as usize }
    }

    /// All elements, padding included.
    ///
    /// # Panics
    /// When the window holds indices.
    #[must_use]
    pub fn data(&self) -> &[T] {
        match &self.data {
            Data::Read(data) => data,
            Data::Write(data) => data,
            Data::Indices(_) => panic!("a window of indices read as floats"),
        }
    }

    /// All elements, padding included, to be written.
    ///
    /// # Panics
    /// When the kernel's binding is not one that is written.
    pub fn data_mut(&mut self) -> &mut [T] {
        match &mut self.data {
            Data::Write(data) => data,
            Data::Read(_) | Data::Indices(_) => panic!("a window written that is bound to be read"),
        }
    }

    /// Whether the kernel's binding is one that is written.
    #[must_use]
    pub fn is_written(&self) -> bool {
        matches!(self.data, Data::Write(_))
    }

    /// The element at a row and a column.
    #[must_use]
    pub fn at(&self, row: usize, col: usize) -> T {
        self.row(row)[col]
    }

    /// Sets the element at a row and a column.
    pub fn set(&mut self, row: usize, col: usize, value: T) {
        self.row_mut(row)[col] = value;
    }

    /// A row without its padding.
    #[must_use]
    pub fn row(&self, row: usize) -> &[T] {
        &self.data()[row * self.stride..][..self.cols]
    }

    /// A row without its padding, to be written.
    pub fn row_mut(&mut self, row: usize) -> &mut [T] {
        let (start, cols) = (row * self.stride, self.cols);
        &mut self.data_mut()[start..][..cols]
    }

    /// The index at a column of a row of indices.
    ///
    /// # Panics
    /// When the window holds floats.
    #[must_use]
    pub fn index(&self, col: usize) -> usize {
        match &self.data {
            Data::Indices(data) => data[col] as usize,
            _ => panic!("a window of floats read as indices"),
        }
    }
}
