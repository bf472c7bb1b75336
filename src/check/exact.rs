//! The definitions of the kernels, run in f64: the slowest backend, and the one that says what a program means. Beside each
//! value it knows how far f32 may be from it, and so it is what everything else is compared with.

use std::collections::HashMap;
use std::ops::Range;

use super::Deviation;
use crate::Result;
use crate::backend::{Backend, Ticket};
use crate::program::{Access, Data, Element, Mat, Program, ROW_ALIGNMENT, Step, View};

enum Storage {
    F64(Vec<f64>),
    U32(Vec<u32>),
}

/// Runs a program by its kernels' definitions, in f64.
pub struct Exact {
    program: Program,
    buffers: Vec<Storage>,
    answers: HashMap<Ticket, Vec<f32>>,
    tickets: u64,
}

impl Exact {
    /// Allocates a program's buffers, zero.
    #[must_use]
    pub fn new(program: &Program) -> Exact {
        let allocate = |len: u64, element| match element {
            Element::F32 => Storage::F64(vec![0.0; len as usize]),
            Element::U32 => Storage::U32(vec![0; len as usize]),
        };
        let buffers = program.buffers().iter().map(|b| allocate(b.len, b.element)).collect();
        Exact { program: program.clone(), buffers, answers: HashMap::new(), tickets: 0 }
    }

    /// The values of a window in f64, row by row.
    ///
    /// # Panics
    /// When the window holds indices.
    #[must_use]
    pub fn values(&self, window: Mat) -> Vec<f64> {
        let Storage::F64(data) = &self.buffers[window.buf.0 as usize] else { panic!("indices are not read back") };
        let view = View::new(&window, Data::Read(&data[span(&window)]));
        (0..view.rows).flat_map(|r| view.row(r)).copied().collect()
    }

    /// Whether a step of the program is the second of a pair.
    pub(super) fn is_second(&self, index: usize) -> bool {
        self.program.steps()[index].is_second
    }

    /// Holds what a step left on another backend, which `read` gives, to the definition: for each window that it writes, the
    /// place where it is furthest from it, in terms of how far it may be. Then what was left becomes what is here, so that
    /// the next step is held to what it really started from.
    ///
    /// With `bits` nothing may be off at all.
    ///
    /// # Errors
    /// What `read` reports.
    pub fn compare(
        &mut self,
        index: usize,
        bits: bool,
        variant: Option<&'static str>,
        mut read: impl FnMut(Mat) -> Result<Vec<f32>>,
    ) -> Result<Vec<Deviation>> {
        let step = self.program.steps()[index].clone();
        let mut found = Vec::new();
        let mut left: Vec<Vec<f32>> = Vec::new();
        let written = || (0..step.windows.len()).filter(|&i| step.kernel.bindings[i].access != Access::Read);
        for i in written() {
            let window = padded(step.windows[i]);
            left.push(read(window)?);
            found.push(Deviation::none(index, step.kernel.name, variant, self.program.name(window)));
        }
        for part in (step.kernel.parts)(&step) {
            let expected = self.evaluate(&part, part.kernel.definition);
            let bounds = if bits { Vec::new() } else { self.evaluate(&part, part.kernel.bound) };
            for (w, i) in written().enumerate() {
                let (window, whole) = (part.windows[i], padded(step.windows[i]));
                let (first, width) = (((window.offset - whole.offset) / u64::from(whole.stride)) as usize, whole.cols as usize);
                let Storage::F64(here) = &mut self.buffers[window.buf.0 as usize] else { unreachable!("floats are written") };
                for r in 0..window.rows as usize {
                    let row = r * window.stride as usize;
                    let got = &left[w][(first + r) * width..][..width];
                    for (c, &got) in got.iter().enumerate() {
                        let inside = c < window.cols as usize;
                        let expected = if inside { expected[i][row + c] } else { 0.0 };
                        let bound = if inside && !bits { bounds[i][row + c] } else { 0.0 };
                        found[w].see((first + r, c), expected, got, bound);
                        here[window.offset as usize + row + c] = f64::from(got);
                    }
                }
            }
        }
        Ok(found)
    }

    /// What a definition or a bound makes of copies of a step's windows; of those that are written, by their place.
    fn evaluate(&self, step: &Step, function: fn(&mut [View<'_, f64>], &[u8])) -> Vec<Vec<f64>> {
        // Copies in place of borrows. Speed does not matter here.
        let mut copies: Vec<Vec<f64>> = step
            .windows
            .iter()
            .zip(step.kernel.bindings)
            .map(|(w, binding)| match &self.buffers[w.buf.0 as usize] {
                Storage::F64(data) if binding.access != Access::Read => data[span(w)].to_vec(),
                _ => Vec::new(),
            })
            .collect();
        let mut views: Vec<View<f64>> = step
            .windows
            .iter()
            .zip(&mut copies)
            .zip(step.kernel.bindings)
            .map(|((window, copy), binding)| {
                let data = match (&self.buffers[window.buf.0 as usize], binding.access) {
                    (Storage::U32(data), _) => Data::Indices(&data[span(window)]),
                    (Storage::F64(data), Access::Read) => Data::Read(&data[span(window)]),
                    (Storage::F64(_), _) => Data::Write(copy),
                };
                View::new(window, data)
            })
            .collect();
        function(&mut views, &step.scalars);
        copies
    }

    fn run_step(&mut self, index: usize) {
        let step = self.program.steps()[index].clone();
        let results = self.evaluate(&step, step.kernel.definition);
        for ((window, result), binding) in step.windows.iter().zip(results).zip(step.kernel.bindings) {
            if let Storage::F64(to) = &mut self.buffers[window.buf.0 as usize]
                && binding.access != Access::Read
            {
                to[span(window)].copy_from_slice(&result);
            }
        }
    }
}

fn span(window: &Mat) -> Range<usize> {
    window.offset as usize..window.end() as usize
}

/// The window with its padding.
fn padded(window: Mat) -> Mat {
    Mat { cols: window.cols.next_multiple_of(ROW_ALIGNMENT), ..window }
}

impl Backend for Exact {
    fn write(&mut self, window: Mat, values: &[f32]) -> Result<()> {
        assert_eq!(values.len(), window.len(), "values for {window:?}");
        let Storage::F64(data) = &mut self.buffers[window.buf.0 as usize] else { panic!("floats written to indices") };
        let mut view = View::new(&window, Data::Write(&mut data[span(&window)]));
        for (r, row) in values.chunks(window.cols as usize).enumerate() {
            view.row_mut(r).iter_mut().zip(row).for_each(|(to, &from)| *to = f64::from(from));
        }
        Ok(())
    }

    fn write_indices(&mut self, window: Mat, values: &[u32]) -> Result<()> {
        assert_eq!(values.len(), window.len(), "values for {window:?}");
        let Storage::U32(data) = &mut self.buffers[window.buf.0 as usize] else { panic!("indices written to floats") };
        data[window.offset as usize..][..values.len()].copy_from_slice(values);
        Ok(())
    }

    fn is_extensible(&self) -> bool {
        true
    }

    fn extend(&mut self, program: &Program) -> Result<()> {
        self.program = program.clone();
        Ok(())
    }

    fn run(&mut self, steps: Range<usize>) -> Result<()> {
        steps.for_each(|index| self.run_step(index));
        Ok(())
    }

    fn request(&mut self, window: Mat) -> Result<Ticket> {
        self.tickets += 1;
        self.answers.insert(Ticket(self.tickets), self.values(window).into_iter().map(|v| v as f32).collect());
        Ok(Ticket(self.tickets))
    }

    fn take(&mut self, ticket: Ticket) -> Result<Option<Vec<f32>>> {
        Ok(self.answers.remove(&ticket))
    }

    fn wait(&mut self) -> Result<()> {
        Ok(())
    }

    fn description(&self) -> String {
        "the definitions, in f64".into()
    }
}
