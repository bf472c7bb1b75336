//! What the lowering of a step must keep to: the limits of an adapter, and where the buffers of a program are cut because they
//! are larger than the adapter's largest.

use std::ops::Range;
use std::sync::Arc;

use super::{Buf, Mat, Program, ROW_ALIGNMENT};

/// What the lowering of a step must keep to.
///
/// A buffer that is larger than the largest of an adapter is several there: its **sections**. They meet at rows of the windows that the
/// program's steps have into it, four rows from a window's start or a multiple of that where it can be, and not inside a window
/// of one row that fits a section whole. So steps can be cut where sections meet.
#[derive(Debug, Clone)]
pub struct Cuts {
    /// The largest binding, in elements of 4 bytes, less what its alignment may cost.
    pub binding: u64,
    /// The largest buffer, in elements of 4 bytes: a multiple of 4.
    pub buffer: u64,
    /// The most workgroups in a dimension of a dispatch.
    pub workgroups: u32,
    /// The most loop iterations of an invocation: lavapipe ends every loop, without an error, after 65,535 of them.
    pub iterations: u32,
    /// The workgroups that were seen to run at the same time, at least; `None`: nothing is known of that, and none may wait for another.
    pub resident: Option<u32>,
    /// Of each declared buffer, where its sections begin.
    sections: Arc<[Vec<u64>]>,
}

/// A window that a run is taken from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Along {
    /// Some of its rows.
    Rows(Mat),
    /// Some columns of its only row.
    Cols(Mat),
}

impl Cuts {
    /// The limits, for programs whose buffers are all in one piece: those of others follow from [`Cuts::for_program`].
    #[must_use]
    pub fn new(binding: u64, buffer: u64, workgroups: u32, iterations: u32) -> Cuts {
        Cuts { binding, buffer, workgroups, iterations, resident: None, sections: Arc::default() }
    }

    /// The limits, and where the buffers of a program are cut.
    #[must_use]
    pub fn for_program(&self, program: &Program) -> Cuts {
        let plan = program.plan();
        if plan.sizes().iter().all(|size| *size <= self.buffer) {
            return self.clone();
        }
        let mut windows: Vec<Vec<Mat>> = vec![Vec::new(); plan.sizes().len()];
        for window in program.steps().iter().flat_map(|step| &step.windows) {
            windows[plan.place(window.buf.0 as usize)].push(*window);
        }
        let of_place: Vec<_> =
            windows.iter().zip(plan.sizes()).map(|(windows, size)| sections(windows, *size, self.buffer)).collect();
        let sections = (0..program.buffers().len()).map(|buffer| of_place[plan.place(buffer)].clone()).collect();
        Cuts { sections, ..self.clone() }
    }

    /// Where the sections of a declared buffer begin.
    #[must_use]
    pub fn sections(&self, buf: Buf) -> &[u64] {
        self.sections.get(buf.0 as usize).map_or(&[0], Vec::as_slice)
    }

    /// The number of the section that a window begins in, and the section's elements. Scratch memory is cut like a buffer
    /// with one matrix of the window's stride.
    #[must_use]
    pub fn section(&self, window: &Mat) -> (usize, Range<u64>) {
        self.section_at(window, window.offset)
    }

    fn section_at(&self, window: &Mat, at: u64) -> (usize, Range<u64>) {
        if Buf::SCRATCH.contains(&window.buf) {
            let most = whole_rows(self.buffer, u64::from(window.stride));
            let number = at / most;
            return (number as usize, number * most..(number + 1) * most);
        }
        let starts = self.sections(window.buf);
        let number = starts.partition_point(|&start| start <= at) - 1;
        (number, starts[number]..starts.get(number + 1).copied().unwrap_or(u64::MAX))
    }

    /// Whether a window is one binding.
    #[must_use]
    pub fn fits(&self, window: &Mat) -> bool {
        window.end() - window.offset <= self.binding && window.end() <= self.section(window).1.end
    }

    /// The rows of scratch memory, so far apart, that are one binding of one section.
    pub(crate) fn scratch_rows(&self, stride: u32) -> u64 {
        let stride = u64::from(stride);
        (self.binding / stride).min(whole_rows(self.buffer, stride) / stride)
    }

    /// The rows of a window from one on that are one binding.
    pub(crate) fn rows(&self, window: &Mat, from: u32) -> u64 {
        let (fit, border) = self.reach(&Along::Rows(*window), from);
        fit.min(border)
    }

    /// The rows or columns of a window from one on that a binding holds, and those that come before the next section.
    fn reach(&self, window: &Along, from: u32) -> (u64, u64) {
        let (w, stride) = match window {
            Along::Rows(w) => (w, u64::from(w.stride)),
            Along::Cols(w) => (w, 1),
        };
        let at = w.offset + u64::from(from) * stride;
        let (_, section) = self.section_at(w, at);
        (self.binding / stride, (section.end - at).div_ceil(stride))
    }

    /// The parts of a window that lie in one section each, in order: by rows, and by columns where a row lies in several. (Sections meet at
    /// rows of the windows that steps have. The host has others: those of an optimiser's states by tensors, of which steps know the whole.)
    pub(crate) fn parts(&self, window: Mat) -> Vec<Mat> {
        let all = Cuts { binding: u64::MAX, ..self.clone() };
        let by_cols = |row: Mat| {
            let runs = all.runs(row.cols, &[Along::Cols(row)], [4, 4], u64::MAX);
            runs.map(move |c| row.slice_cols(c)).collect::<Vec<Mat>>()
        };
        let mut parts = Vec::new();
        let mut row = 0;
        while row < window.rows {
            let rest = window.slice_rows(row..window.rows);
            let count = self.whole_rows_within(&rest);
            match count {
                0 => parts.extend(by_cols(rest.slice_rows(0..1))),
                _ => parts.push(rest.slice_rows(0..count)),
            }
            row += count.max(1);
        }
        parts
    }

    /// The rows of a window, from its first on, that lie in the section that it begins in.
    fn whole_rows_within(&self, window: &Mat) -> u32 {
        let (_, section) = self.section(window);
        if window.end() <= section.end {
            return window.rows;
        }
        let width = u64::from(window.cols.next_multiple_of(ROW_ALIGNMENT));
        let room = section.end - window.offset;
        if room < width { 0 } else { ((room - width) / u64::from(window.stride) + 1).min(u64::from(window.rows)) as u32 }
    }

    /// The runs, of at most `most`, that make up `0..len`, such that the same run of each window is one binding: as long as can be,
    /// multiples of `step` where so many fit, else of `unit`, which is 4 where another window is cut by columns in the same runs.
    pub(crate) fn runs(&self, len: u32, windows: &[Along], [step, unit]: [u64; 2], most: u64) -> std::vec::IntoIter<Range<u32>> {
        let mut all = Vec::new();
        let mut start = 0;
        while start < len {
            let (mut fit, mut border) = (most, u64::from(len - start));
            for window in windows {
                let (by_binding, by_section) = self.reach(window, start);
                (fit, border) = (fit.min(by_binding), border.min(by_section));
            }
            let fit = if fit >= step { fit / step * step } else { (fit / unit * unit).max(unit) };
            let end = start + fit.min(border) as u32;
            all.push(start..end);
            start = end;
        }
        all.into_iter()
    }
}

/// The elements of the most rows that fit, a multiple of four rows where four do.
fn whole_rows(most: u64, stride: u64) -> u64 {
    let rows = most / stride;
    stride * if rows >= 4 { rows / 4 * 4 } else { rows.max(1) }
}

/// Where the sections of some memory begin, none larger than `most` where that can be: at rows of the windows into it.
fn sections(windows: &[Mat], len: u64, most: u64) -> Vec<u64> {
    let mut starts = vec![0];
    loop {
        let start = starts[starts.len() - 1];
        if len - start <= most {
            return starts;
        }
        // Four rows at a time for windows that others are cut beside by columns; where that cannot be, at any row.
        let next = [u64::from(ROW_ALIGNMENT), 1]
            .into_iter()
            .map(|rows| border(windows, start, start + most, rows))
            .find(|next| *next > start);
        match next {
            Some(next) => starts.push(next),
            // A row that is larger than a section stays whole, and does not fit.
            None => return starts,
        }
    }
}

/// The last place by `limit` that is behind so many rows of each window that it lies in, and in none of one row unless that begins before
/// `start`. Where a window has some columns of others' rows alone, it may lie between two of its rows.
fn border(windows: &[Mat], start: u64, limit: u64, rows: u64) -> u64 {
    let mut place = limit / u64::from(ROW_ALIGNMENT) * u64::from(ROW_ALIGNMENT);
    loop {
        let before = place;
        for window in windows.iter().filter(|w| w.offset > start || w.rows > 1) {
            if window.offset < place && place < window.end() {
                let stride = if window.rows == 1 { u64::MAX } else { u64::from(window.stride) };
                let gap = stride - u64::from(window.cols.next_multiple_of(ROW_ALIGNMENT)).min(stride);
                let behind = (place - window.offset).saturating_add(gap) / stride / rows * rows;
                place = place.min(window.offset + behind * stride);
            }
        }
        if place == before || place <= start {
            return place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuts(buffer: u64) -> Cuts {
        Cuts::new(u64::MAX, buffer, u32::MAX, 30_000)
    }

    /// Every section is small enough, begins with a row of a matrix, and matrices of one row are whole.
    #[test]
    fn sections_begin_with_rows() {
        let mut program = Program::new();
        let shapes = [(7, 19), (64, 64), (1, 64), (65, 3), (1, 3), (129, 63), (1, 1)];
        let (arena, windows) = program.arena("arena", &shapes);
        for window in windows.iter().chain([&arena]) {
            crate::kernels::fill::fill(&mut program, *window, 0.0);
        }
        for most in [256, 260, 300, 512, 1000, 4096, 1 << 20] {
            let cuts = cuts(most).for_program(&program);
            let starts = cuts.sections(arena.buf);
            assert_eq!(starts[0], 0);
            let ends = starts[1..].iter().copied().chain([program.buffers()[0].len]);
            for (start, end) in starts.iter().zip(ends) {
                assert!(*start < end && end - start <= most, "{start}..{end} of {most}");
                let matrix = windows.iter().rev().find(|w| w.offset <= *start).unwrap();
                let (from, stride) = (start - matrix.offset, u64::from(matrix.stride));
                assert!(from == 0 || (matrix.rows > 1 && from % (4 * stride) == 0), "{start} of {most}");
            }
            let rows: u32 = windows.iter().flat_map(|w| cuts.parts(*w)).map(|part| part.rows).sum();
            assert_eq!(rows, shapes.iter().map(|(rows, _)| rows).sum::<u32>());
            assert_eq!(cuts.parts(arena).iter().map(|part| u64::from(part.cols)).sum::<u64>(), program.buffers()[0].len);
            assert!(windows.iter().flat_map(|w| cuts.parts(*w)).chain(cuts.parts(arena)).all(|part| cuts.fits(&part)));
        }
    }

    /// Windows that only the host has lie across sections: their parts make up each of them, in order, and each is in one section.
    #[test]
    fn rows_that_lie_across_sections_are_cut_by_columns() {
        let mut program = Program::new();
        let shapes = [(7, 19), (64, 64), (1, 64), (65, 3), (129, 63), (1, 1)];
        let (arena, windows) = program.arena("arena", &shapes);
        // Steps know the whole alone, as those of an optimiser do.
        crate::kernels::fill::fill(&mut program, arena, 0.0);
        let mut across = 0;
        for most in [40, 100, 256, 1000, 5000, 1 << 20] {
            let cuts = cuts(most).for_program(&program);
            let columns = windows[1].slice_cols(8..40);
            for window in windows.iter().copied().chain([arena, columns]) {
                let parts = cuts.parts(window);
                assert!(parts.iter().all(|part| part.end() <= cuts.section(part).1.end), "{window:?} of {most}: {parts:?}");
                // Every element once, in the order in which the host has them.
                let places = |window: &Mat| -> Vec<u64> {
                    let row = |r: u32| window.offset + u64::from(r) * u64::from(window.stride);
                    (0..window.rows).flat_map(|r| (0..u64::from(window.cols)).map(move |c| row(r) + c)).collect()
                };
                assert_eq!(parts.iter().flat_map(places).collect::<Vec<u64>>(), places(&window), "{window:?} of {most}");
                across += parts.iter().filter(|part| part.cols < window.cols).count();
            }
        }
        assert!(across > 20, "only {across} parts of rows");
    }

    /// Windows of some columns, as those of one gate, keep no row from being the border of a section.
    #[test]
    fn windows_of_some_columns_are_cut_with_the_rows_that_they_are_part_of() {
        let mut program = Program::new();
        let whole = program.matrix("sums", 100, 36);
        let gates = [whole.slice_cols(0..12), whole.slice_cols(12..24), whole.slice_cols(24..36)];
        for window in gates.iter().chain([&whole]) {
            crate::kernels::fill::fill(&mut program, *window, 0.0);
        }
        for most in [40, 150, 1000] {
            let cuts = cuts(most).for_program(&program);
            let starts = cuts.sections(whole.buf);
            assert!(starts.windows(2).all(|ends| ends[1] - ends[0] <= most && ends[1] % 36 == 0), "{starts:?} of {most}");
            assert!(3600 - starts[starts.len() - 1] <= most, "{starts:?} of {most}");
            for window in gates.iter().chain([&whole]) {
                let parts = cuts.parts(*window);
                assert!(parts.iter().all(|p| p.cols == window.cols && p.end() <= cuts.section(p).1.end), "{window:?}: {parts:?}");
                assert_eq!(parts.iter().map(|part| part.rows).sum::<u32>(), 100);
            }
        }
    }

    /// Runs of several windows end where any of them must, and make up the whole.
    #[test]
    fn runs_fit_every_window() {
        let mut program = Program::new();
        let (a, b, c) = (program.matrix("a", 70, 9), program.matrix("b", 75, 33), program.matrix("c", 1, 70));
        let b = b.slice_rows(5..75);
        for window in [a, b] {
            crate::kernels::fill::fill(&mut program, window, 0.0);
        }
        for (most, binding, step) in [(200, 150, 8), (1000, 130, 4), (145, 1 << 20, 16), (1 << 20, 1 << 20, 8), (150, 40, 1)] {
            let cuts = Cuts { binding, ..cuts(most) }.for_program(&program);
            let windows = [Along::Rows(a), Along::Rows(b), Along::Cols(c)];
            let runs: Vec<_> = cuts.runs(70, &windows, [step, 1], 30).collect();
            assert_eq!(runs.first().map(|r| r.start), Some(0));
            assert_eq!(runs.last().map(|r| r.end), Some(70));
            assert!(runs.windows(2).all(|pair| pair[0].end == pair[1].start), "{runs:?}");
            for run in runs {
                let parts = [
                    a.slice_rows(run.clone()),
                    b.slice_rows(run.clone()),
                    Mat { offset: u64::from(run.start), cols: run.len() as u32, ..c },
                ];
                assert!(run.len() <= 30 && parts.iter().all(|p| p.end() <= cuts.section(p).1.end), "{run:?} of {most}");
                assert!(parts.iter().all(|p| u64::from(p.rows - 1) * u64::from(p.stride) < binding), "{run:?} of {most}");
            }
        }
    }
}
