//! A program: declared buffers, and a flat list of steps.
//!
//! A [`Step`] is a contract over windows of buffers ("this product", "this recurrence over t = 0..64"), not a dispatch.
//! A [`Kernel`] is one value that holds what a contract means (plain loops), how the CPU computes it, and how GPUs do
//! (its [`Variant`]s). A backend holds the buffers and runs any range of steps; it knows no kernel by name.

mod cuts;
mod kernel;
mod lowered;
mod plan;
mod unroll;
mod view;
mod window;

use std::ops::{Range, RangeInclusive};

use bytemuck::Pod;
pub(crate) use cuts::Along;
pub use cuts::Cuts;
pub use kernel::{
    Access, Binding, Class, Content, Contents, Kernel, Needs, Shader, Step, Variant, all_windows, little, scalars, whole,
};
pub use lowered::{Lowered, Phase, Piece, Times};
pub use plan::Plan;
pub(crate) use unroll::unroll;
pub(crate) use view::Data;
pub use view::View;
pub use window::{Buf, Element, Mat, ROW_ALIGNMENT};

/// A declared buffer.
#[derive(Debug, Clone)]
pub struct Declaration {
    /// Its name, for people.
    pub name: String,
    /// The type of its elements.
    pub element: Element,
    /// Elements, padding included.
    pub len: u64,
    /// Whether what it holds may be lost before the first step that uses it and after the last.
    pub transient: bool,
    /// Numbers in its rows, of all of which it is made up; an arena has one row.
    pub(crate) cols: u32,
}

impl Declaration {
    /// Bytes, padding included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.len * Element::SIZE
    }
}

/// Declared buffers and a flat list of steps. It knows no limits and no backend.
#[derive(Debug, Clone, Default)]
pub struct Program {
    pub(crate) buffers: Vec<Declaration>,
    pub(crate) steps: Vec<Step>,
}

impl Program {
    /// An empty program.
    #[must_use]
    pub fn new() -> Program {
        Program::default()
    }

    /// Declares a matrix of `rows × cols` floats, zero until written.
    ///
    /// # Panics
    /// When it has no elements.
    pub fn matrix(&mut self, name: impl Into<String>, rows: u32, cols: u32) -> Mat {
        self.declare(name, Element::F32, rows, cols)
    }

    /// Declares a matrix that is only needed from the first step that uses it, and writes it, to the last, or to the other step of a pair: others
    /// may have its memory for the rest ([`Plan`]), whatever ranges of the program run.
    ///
    /// # Panics
    /// When it has no elements.
    pub fn transient(&mut self, name: impl Into<String>, rows: u32, cols: u32) -> Mat {
        let matrix = self.declare(name, Element::F32, rows, cols);
        self.buffers[matrix.buf.0 as usize].transient = true;
        matrix
    }

    /// Declares rows of `cols` unsigned integers, zero until written.
    ///
    /// # Panics
    /// When it has no elements.
    pub fn indices(&mut self, name: impl Into<String>, rows: u32, cols: u32) -> Mat {
        self.declare(name, Element::U32, rows, cols)
    }

    /// Declares a buffer that holds one matrix for each shape, one after the other: an arena. Gives the window of the
    /// whole (one row) and that of each.
    ///
    /// # Panics
    /// When a shape has no elements, or the whole 2³² elements or more.
    pub fn arena(&mut self, name: impl Into<String>, shapes: &[(u32, u32)]) -> (Mat, Vec<Mat>) {
        let name = name.into();
        let lens: Vec<u64> =
            shapes.iter().map(|&(rows, cols)| u64::from(rows) * u64::from(cols.next_multiple_of(ROW_ALIGNMENT))).collect();
        let total: u64 = lens.iter().sum();
        let whole = self.declare(&name, Element::F32, 1, u32::try_from(total).expect("an arena below 2³² elements"));
        let mut offset = 0;
        let windows = shapes.iter().zip(lens).map(|(&(rows, cols), len)| {
            assert!(rows > 0 && cols > 0, "a window of {rows} × {cols} in {name}");
            let window = Mat { offset, rows, cols, stride: cols.next_multiple_of(ROW_ALIGNMENT), ..whole };
            offset += len;
            window
        });
        (whole, windows.collect())
    }

    fn declare(&mut self, name: impl Into<String>, element: Element, rows: u32, cols: u32) -> Mat {
        let name = name.into();
        assert!(rows > 0 && cols > 0, "{name} of {rows} × {cols}");
        let stride = cols.next_multiple_of(ROW_ALIGNMENT);
        let buf = Buf(u32::try_from(self.buffers.len()).expect("fewer than 2³² buffers"));
        self.buffers.push(Declaration { name, element, len: u64::from(rows) * u64::from(stride), transient: false, cols });
        Mat { buf, element, offset: 0, rows, cols, stride }
    }

    /// Appends a step: a kernel, its windows in the order of its bindings, and its scalars, in a struct of `u32` and `f32`. Kernels' recording
    /// functions call this after they have checked the shapes.
    ///
    /// # Panics
    /// When the windows do not fit the kernel's bindings, or a window that is written shares its buffer with another:
    /// a fault of whoever records.
    pub fn push<S: Pod>(&mut self, kernel: &'static Kernel, windows: &[Mat], scalars: S) {
        let named = || windows.iter().map(|w| self.name(*w)).collect::<Vec<_>>();
        assert_eq!(windows.len(), kernel.bindings.len(), "{kernel:?} of {:?}", named());
        assert_eq!(size_of::<S>(), 4 * kernel.scalars.len(), "scalars of {kernel:?}");
        for (window, binding) in windows.iter().zip(kernel.bindings) {
            assert_eq!(window.element, binding.element, "{kernel:?}: {} is {}", binding.name, self.name(*window));
            assert!(window.end() <= self.buffers[window.buf.0 as usize].len, "{kernel:?}: {window:?} is beyond its buffer");
            let shared = windows.iter().filter(|w| w.buf == window.buf).count();
            assert!(
                binding.access == Access::Read || shared == 1,
                "{kernel:?} writes {} and has another window into it: {:?}",
                self.name(*window),
                named()
            );
        }
        let scalars = bytemuck::bytes_of(&scalars).to_vec();
        self.steps.push(Step { kernel, windows: windows.to_vec(), scalars, is_second: false });
    }

    /// Interleaves two lists of steps: those from number `first` on, and those from number `second` on to the end. The lists have the same length,
    /// and no step of one needs a step of the other. Two steps in the same place of their lists that may run at the same time become a pair.
    ///
    /// # Panics
    /// When the lists have different lengths, or a step of one writes what a step of the other uses: a fault of whoever records.
    pub(crate) fn interleave(&mut self, first: usize, second: usize) {
        let others = self.steps.split_off(second);
        let ones = self.steps.split_off(first);
        assert_eq!(ones.len(), others.len(), "steps side by side");
        for (a, b) in ones.iter().flat_map(|a| others.iter().map(move |b| (a, b))) {
            assert!(!a.meets(b) && !b.meets(a), "{} and {} are of the same numbers", a.shape(), b.shape());
        }
        for (one, other) in ones.into_iter().zip(others) {
            let is_second = one.pairs_with(&other);
            self.steps.extend([one, Step { is_second, ..other }]);
        }
    }

    /// Appends the steps of another program, over the buffers of this one: its buffers must be as many, each of the same numbers in its rows,
    /// or of indices, and no larger. Returns the number of the first of them.
    ///
    /// # Panics
    /// When the buffers are others: a fault of whoever recorded.
    pub(crate) fn append(&mut self, other: Program) -> usize {
        assert_eq!(self.buffers.len(), other.buffers.len(), "the programs have other buffers");
        for (here, there) in self.buffers.iter().zip(&other.buffers) {
            let alike = here.element == there.element && (here.cols == there.cols || here.element == Element::U32);
            let transient = here.transient == there.transient;
            assert!(alike && transient && there.len <= here.len, "{there:?} is not part of {here:?}");
        }
        let first = self.steps.len();
        self.steps.extend(other.steps);
        first
    }

    /// Appends steps over the same buffers.
    pub(crate) fn extend_from(&mut self, steps: &[Step]) {
        self.steps.extend_from_slice(steps);
    }

    /// Takes back the steps behind the first ones.
    pub(crate) fn truncate(&mut self, steps: usize) {
        self.steps.truncate(steps);
    }

    /// Makes the program a number of the same step.
    pub(crate) fn repeat(&mut self, step: &Step, times: usize) {
        self.steps = vec![Step { is_second: false, ..step.clone() }; times];
    }

    /// The number of steps recorded so far: the start of the next range.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether nothing is recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The steps.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    #[doc(hidden)]
    /// The steps, to be changed in place, unchecked: to plant a fault and see that it is caught.
    pub fn steps_mut(&mut self) -> &mut [Step] {
        &mut self.steps
    }

    /// The declared buffers.
    #[must_use]
    pub fn buffers(&self) -> &[Declaration] {
        &self.buffers
    }

    /// The name of a window's buffer.
    #[must_use]
    pub fn name(&self, window: Mat) -> &str {
        self.buffers.get(window.buf.0 as usize).map_or("scratch", |b| &b.name)
    }

    /// Bytes of all buffers, as if none shared memory.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.buffers.iter().map(Declaration::bytes).sum()
    }

    /// Of each transient buffer the first and the last of some steps that use it.
    pub(crate) fn lives(&self, steps: Range<usize>) -> Vec<Option<RangeInclusive<usize>>> {
        plan::lives(self, steps)
    }

    /// Which buffers share memory.
    ///
    /// # Panics
    /// When the first step that uses a transient buffer only reads it: a fault of whoever recorded.
    #[must_use]
    pub fn plan(&self) -> Plan {
        Plan::new(self)
    }
}
