//! The definitions of the kernels, run in f64: the slowest backend, and the one that says what a program means.

use std::collections::HashMap;
use std::ops::Range;

use crate::Result;
use crate::backend::{Backend, Ticket};
use crate::program::{Access, Data, Element, Mat, Program, Step, View};

enum Storage {
    F64(Vec<f64>),
    U32(Vec<u32>),
}

/// Runs a program by its kernels' definitions, in f64.
pub struct Exact {
    steps: Vec<Step>,
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
        Exact { steps: program.steps().to_vec(), buffers, answers: HashMap::new(), tickets: 0 }
    }

    /// The values of a window in f64, row by row.
    ///
    /// # Panics
    /// When the window holds indices.
    #[must_use]
    pub fn values(&self, window: Mat) -> Vec<f64> {
        let Storage::F64(data) = &self.buffers[window.buf.0 as usize] else { panic!("indices are not read back") };
        let view = View::new(&window, Data::Read(&data[window.offset as usize..window.end() as usize]));
        (0..view.rows).flat_map(|r| view.row(r)).copied().collect()
    }
}

fn run_step(step: &Step, buffers: &mut [Storage]) {
    // Copies in place of borrows: what is written is put back afterwards. Speed does not matter here.
    let mut copies: Vec<Storage> = step
        .windows
        .iter()
        .map(|w| match &buffers[w.buf.0 as usize] {
            Storage::F64(data) => Storage::F64(data[w.offset as usize..w.end() as usize].to_vec()),
            Storage::U32(data) => Storage::U32(data[w.offset as usize..w.end() as usize].to_vec()),
        })
        .collect();
    let mut views: Vec<View<f64>> = step
        .windows
        .iter()
        .zip(&mut copies)
        .zip(step.kernel.bindings)
        .map(|((window, copy), binding)| {
            let data = match (copy, binding.access) {
                (Storage::F64(data), Access::Read) => Data::Read(data),
                (Storage::F64(data), _) => Data::Write(data),
                (Storage::U32(data), _) => Data::Indices(data),
            };
            View::new(window, data)
        })
        .collect();
    (step.kernel.definition)(&mut views, &step.scalars);
    for ((window, copy), binding) in step.windows.iter().zip(copies).zip(step.kernel.bindings) {
        if let (Storage::F64(to), Storage::F64(from)) = (&mut buffers[window.buf.0 as usize], copy)
            && binding.access != Access::Read
        {
            to[window.offset as usize..window.end() as usize].copy_from_slice(&from);
        }
    }
}

impl Backend for Exact {
    fn write(&mut self, window: Mat, values: &[f32]) -> Result<()> {
        assert_eq!(values.len(), window.len(), "values for {window:?}");
        let Storage::F64(data) = &mut self.buffers[window.buf.0 as usize] else { panic!("floats written to indices") };
        let mut view = View::new(&window, Data::Write(&mut data[window.offset as usize..window.end() as usize]));
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

    fn run(&mut self, steps: Range<usize>) -> Result<()> {
        self.steps[steps].iter().for_each(|step| run_step(step, &mut self.buffers));
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
