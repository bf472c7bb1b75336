//! A program: declared buffers, and a flat list of steps.
//!
//! A [`Step`] is a contract over windows of buffers ("this product", "this recurrence over t = 0..64"), not a dispatch.
//! A [`Kernel`] is one value that holds what a contract means (plain loops), how the CPU computes it, and how GPUs do
//! (its [`Variant`]s). A backend holds the buffers and runs any range of steps; it knows no kernel by name.

mod cuts;
mod plan;

use std::ops::Range;

use bytemuck::Pod;
pub(crate) use cuts::Along;
pub use cuts::Cuts;
pub use plan::Plan;

/// The type of a buffer's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 32-bit floats.
    F32,
    /// 32-bit unsigned integers: token ids, classes, positions.
    U32,
}

/// Rows start at multiples of this many elements, so that every window can be read four at a time.
pub const ROW_ALIGNMENT: u32 = 4;

/// A declared buffer: an index into a [`Program`]'s list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Buf(pub(crate) u32);

impl Buf {
    /// Memory that a step needs while it runs and that keeps nothing from one step to the next.
    /// Two, so that a piece can read one and write the other.
    pub(crate) const SCRATCH: [Buf; 2] = [Buf(u32::MAX), Buf(u32::MAX - 1)];
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

    /// One past the last element it touches, padding included, counted from the buffer's start.
    pub(crate) fn end(&self) -> u64 {
        let last = self.offset + u64::from(self.rows - 1) * u64::from(self.stride) + u64::from(self.cols);
        last.next_multiple_of(u64::from(ROW_ALIGNMENT))
    }
}

/// What a step does with a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only read.
    Read,
    /// Written without having been read: every element is overwritten.
    Write,
    /// Read and written.
    ReadWrite,
}

/// A window that a kernel's contract names.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    /// Its name, the same in the shaders.
    pub name: &'static str,
    /// The type of its elements.
    pub element: Element,
    /// What the kernel does with it.
    pub access: Access,
}

impl Binding {
    pub(crate) const fn read(name: &'static str) -> Binding {
        Binding { name, element: Element::F32, access: Access::Read }
    }
    pub(crate) const fn indices(name: &'static str) -> Binding {
        Binding { name, element: Element::U32, access: Access::Read }
    }
    pub(crate) const fn write(name: &'static str) -> Binding {
        Binding { name, element: Element::F32, access: Access::Write }
    }
    pub(crate) const fn update(name: &'static str) -> Binding {
        Binding { name, element: Element::F32, access: Access::ReadWrite }
    }
}

/// What a window of a kernel's sample holds, where not any number will do.
#[derive(Debug, Clone)]
pub enum Content {
    /// These indices.
    Indices(Vec<u32>),
    /// These numbers.
    Numbers(Vec<f32>),
    /// Numbers that are not negative.
    NotNegative,
    /// Numbers between -1 and 1, like the states of a network.
    State,
    /// A square matrix that keeps a state about as large as it was: numbers of about 1/√rows, or a permutation with signs.
    Recurrent,
}

/// The windows of a kernel's sample that do not hold any numbers.
pub type Contents = Vec<(Mat, Content)>;

/// One computation: its contract, its definition, its CPU function and its variants for GPUs.
pub struct Kernel {
    /// Its name.
    pub name: &'static str,
    /// The windows, in the order of a step's.
    pub bindings: &'static [Binding],
    /// The names of the scalars, each of 4 bytes, in order.
    pub scalars: &'static [&'static str],
    /// The definition: plain loops, evaluated in f64.
    pub definition: fn(&mut [View<'_, f64>], &[u8]),
    /// How far f32 may be from the definition, in any order of summation: from the same windows, each window that is written
    /// becomes the largest difference at each element.
    pub bound: fn(&mut [View<'_, f64>], &[u8]),
    /// The steps, one after the other, that a step is where it reads what it has itself written: there each is held to the
    /// definition on its own, from what the device left of the one before. Of others the step itself: [`whole`].
    pub parts: fn(&Step) -> Vec<Step>,
    /// Whether on small integers every result is an integer below 2²⁴ in any order of summation, so that all bits are known.
    pub is_exact: fn(&Step) -> bool,
    /// How the CPU computes it, in f32: the definition's loops again, or a fast function where speed matters.
    pub cpu: fn(&mut [View<'_, f32>], &[u8]),
    /// How GPUs compute it, those that are better where they can be used before those that can be used more often: at least one that
    /// can compute any step on any adapter.
    pub variants: &'static [Variant],
    /// Bytes that a step must move at least, for reports: [`all_windows`], where it does not use them all.
    pub bytes: fn(&Step) -> u64,
    /// Bytes that the CPU's function takes while it runs, besides its windows: [`little`], or what it lays out anew.
    pub working: fn(&Step) -> u64,
    /// Arithmetic operations of a step, for reports.
    pub flops: fn(&Step) -> u64,
    /// Records it at a size given by three numbers, for checks, and says what its windows hold where not any number will do.
    pub sample: fn(&mut Program, [u32; 3]) -> Contents,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kernel({})", self.name)
    }
}

/// The [`Kernel::parts`] of a step that does not read what it has itself written.
#[must_use]
pub fn whole(step: &Step) -> Vec<Step> {
    vec![step.clone()]
}

/// What kind of adapter a variant is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Right and fast enough on any adapter.
    Any,
    /// Tiles in workgroup memory, for GPUs.
    Gpu,
    /// No workgroup memory, vectors of four, lanes along the columns: for adapters that are really a CPU.
    Software,
}

/// What a variant needs of an adapter, besides what WebGPU promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Subgroups of exactly so many lanes; 0: none.
    pub subgroup: u32,
}

/// One way to compute a kernel's contract on a GPU.
#[derive(Debug)]
pub struct Variant {
    /// Its name, unique in its kernel.
    pub name: &'static str,
    /// What it is made for.
    pub class: Class,
    /// What it needs.
    pub needs: Needs,
    /// Whether it can compute a step on an adapter of these limits.
    pub can: fn(&Step, &Cuts) -> bool,
    /// Whether, of a step that it can compute, it is likely to be faster than those that come after it: what is taken where nothing was
    /// measured.
    pub likely: fn(&Step) -> bool,
    /// The shaders its pieces name by index.
    pub shaders: &'static [Shader],
    /// Cuts a step into dispatches.
    pub lower: fn(&Step, &Cuts) -> Lowered,
}

impl Variant {
    /// One that needs nothing and computes everything, to be filled in.
    pub const PLAIN: Variant = Variant {
        name: "",
        class: Class::Any,
        needs: Needs { subgroup: 0 },
        can: |_, _| true,
        likely: |_| true,
        shaders: &[],
        lower: |_, _| Lowered { phases: Vec::new() },
    };
}

/// One entry point and the text it is in.
#[derive(Debug)]
pub struct Shader {
    /// WGSL, joined in this order.
    pub source: &'static [&'static str],
    /// The entry point.
    pub entry: &'static str,
    /// Its bindings after the uniform at 0, in order.
    pub bindings: &'static [Binding],
    /// The scalars behind the windows in its uniform, each of 4 bytes.
    pub scalars: &'static [&'static str],
}

impl Shader {
    /// The whole text.
    #[must_use]
    pub fn wgsl(&self) -> String {
        self.source.concat()
    }
}

/// A step as dispatches: its phases one after another.
#[derive(Debug, Default)]
pub struct Lowered {
    /// In order.
    pub phases: Vec<Phase>,
}

impl Lowered {
    /// A step that is one dispatch after another, each once.
    pub(crate) fn once(pieces: Vec<Piece>) -> Lowered {
        Lowered { phases: vec![Phase { times: Times::once(), pieces }] }
    }

    /// The number of dispatches.
    #[must_use]
    pub fn dispatches(&self) -> u64 {
        self.phases.iter().map(|p| u64::from(p.times.count) * p.pieces.len() as u64).sum()
    }
}

/// Pieces that are dispatched in order for each time step: constant memory for any number of them.
#[derive(Debug)]
pub struct Phase {
    /// The time steps.
    pub times: Times,
    /// The dispatches of a time step.
    pub pieces: Vec<Piece>,
}

/// `count` time steps `first, first ± 1, …`, each handed to the shader as the immediate `time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The first.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// Whether they go down.
    pub backward: bool,
}

impl Times {
    pub(crate) fn once() -> Times {
        Times { first: 0, count: 1, backward: false }
    }

    /// The `i`-th.
    #[must_use]
    pub fn at(&self, i: u32) -> u32 {
        if self.backward { self.first - i } else { self.first + i }
    }
}

/// One dispatch.
#[derive(Debug)]
pub struct Piece {
    /// Which of the variant's shaders.
    pub shader: usize,
    /// The windows, in the order of the shader's bindings.
    pub windows: Vec<Mat>,
    /// The shader's scalars, 4 bytes each.
    pub scalars: Vec<u8>,
    /// Workgroups.
    pub grid: [u32; 3],
    /// An upper bound of the loop iterations of an invocation, asserted against [`Cuts::iterations`].
    pub iterations: u32,
}

/// A contract over windows of buffers.
#[derive(Debug, Clone)]
pub struct Step {
    /// The computation.
    pub kernel: &'static Kernel,
    /// Its windows, in the order of the kernel's bindings.
    pub windows: Vec<Mat>,
    /// Its scalars, 4 bytes each.
    pub scalars: Vec<u8>,
}

impl Step {
    /// The scalars as a kernel's own struct.
    ///
    /// # Panics
    /// When the sizes differ: a fault of the kernel's recording function.
    #[must_use]
    pub fn scalars<S: Pod>(&self) -> S {
        scalars(&self.scalars)
    }

    /// Its kernel and the shapes of its windows: what the choice of a variant depends on.
    #[must_use]
    pub fn shape(&self) -> String {
        let windows = self.windows.iter().map(|w| format!(" {}×{}", w.rows, w.cols));
        format!("{}{}", self.kernel.name, windows.collect::<String>())
    }

    /// [`Kernel::bytes`].
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (self.kernel.bytes)(self)
    }

    /// [`Kernel::working`].
    #[must_use]
    pub fn working(&self) -> u64 {
        (self.kernel.working)(self)
    }
}

/// No memory worth counting.
#[must_use]
pub fn little(_: &Step) -> u64 {
    0
}

/// Bytes of all windows of a step, padding included, those read and written counted once.
#[must_use]
pub fn all_windows(step: &Step) -> u64 {
    step.windows.iter().map(|w| u64::from(w.rows) * u64::from(w.stride) * 4).sum()
}

/// The bytes of a step's scalars as a kernel's own struct.
pub(crate) fn scalars<S: Pod>(bytes: &[u8]) -> S {
    bytemuck::pod_read_unaligned(bytes)
}

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

    /// Declares a matrix that is only needed from the first step that uses it, and writes it, to the last: others may have its memory
    /// for the rest ([`Plan`]), whatever ranges of the program run.
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

    /// Appends a step. Kernels' recording functions call this after they have checked the shapes.
    ///
    /// # Panics
    /// When the windows do not fit the kernel's bindings, or a window that is written shares its buffer with another:
    /// a fault of whoever records.
    pub(crate) fn push<S: Pod>(&mut self, kernel: &'static Kernel, windows: &[Mat], scalars: S) {
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
        self.steps.push(Step { kernel, windows: windows.to_vec(), scalars: bytemuck::bytes_of(&scalars).to_vec() });
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
        self.buffers.iter().map(|b| b.len * 4).sum()
    }

    /// Which buffers share memory.
    ///
    /// # Panics
    /// When the first step that uses a transient buffer only reads it: a fault of whoever recorded.
    #[must_use]
    pub fn plan(&self) -> Plan {
        Plan::of(self)
    }
}

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
