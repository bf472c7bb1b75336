//! Kernels: what a contract means, and how it is computed on the CPU and on GPUs; and steps, which are kernels over windows.

use bytemuck::Pod;

use super::unroll::unroll;
use super::{Cuts, Element, Lowered, Mat, Program, View};

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
    /// Floats that are only read.
    #[must_use]
    pub const fn read(name: &'static str) -> Binding {
        Binding { name, element: Element::F32, access: Access::Read }
    }

    /// Indices, which are only read.
    #[must_use]
    pub const fn indices(name: &'static str) -> Binding {
        Binding { name, element: Element::U32, access: Access::Read }
    }

    /// Floats that are overwritten.
    #[must_use]
    pub const fn write(name: &'static str) -> Binding {
        Binding { name, element: Element::F32, access: Access::Write }
    }

    /// Floats that are read and written.
    #[must_use]
    pub const fn update(name: &'static str) -> Binding {
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
    /// Any numbers, in parts of so many columns; from one part to the next the columns up to a multiple of four are zero.
    Gates(u32),
    /// Numbers between -1 and 1 in such parts.
    GateStates(u32),
    /// Square matrices of so many rows, side by side or one below the other, in such parts, that keep a state about as large as it was: numbers
    /// of about 1/√rows, or permutations with signs.
    Recurrent(u32),
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
    /// Whether the CPU's function for a step may run at the same time as for the other step of a pair: none of its threads waits for another
    /// of them, and that is worth it.
    pub runs_beside: fn(&Step) -> bool,
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
    /// Bytes of workgroup memory, where it is more than 16 KiB.
    pub memory: u32,
    /// Invocations of a workgroup, where they are more than 256.
    pub invocations: u32,
    /// Storage buffers of a shader, where they are more than 8.
    pub buffers: u32,
}

impl Needs {
    /// Nothing.
    pub const NOTHING: Needs = Needs { subgroup: 0, memory: 0, invocations: 0, buffers: 0 };
}

/// One way to compute a kernel's contract on a GPU.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    /// Its name, unique in its kernel.
    pub name: &'static str,
    /// What it is made for.
    pub class: Class,
    /// What it needs.
    pub needs: Needs,
    /// Of a variant that is compiled without the checks of bounds and loops that wgpu adds: the one that is the same with them. It runs only
    /// where that one has passed its check. Shaders from outside of this crate are compiled with the checks even so.
    pub checked: Option<&'static str>,
    /// Whether it can compute a step on an adapter of these limits.
    pub can: fn(&Step, &Cuts) -> bool,
    /// Whether, of a step that it can compute, it is likely to be faster than those that come after it: what is taken where nothing was
    /// measured.
    pub likely: fn(&Step) -> bool,
    /// Whether its workgroups wait for each other: it runs only where that was seen to end well, at the step's own size, and is chosen by
    /// measurement alone.
    pub waits: bool,
    /// Whether its first shader can compute a pair of steps in one dispatch ([`Shader::wgsl_for_pair`]). None whose workgroups wait for each
    /// other does: they would be twice as many as were seen to run at the same time.
    pub pairs: bool,
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
        needs: Needs::NOTHING,
        checked: None,
        can: |_, _| true,
        likely: |_| true,
        waits: false,
        pairs: false,
        shaders: &[],
        lower: |_, _| Lowered { phases: Vec::new() },
    };

    /// The same variant, compiled without the checks of bounds and loops that wgpu adds: its shaders must be [in bounds](Shader::in_bounds).
    pub(crate) const fn unchecked(self, name: &'static str) -> Variant {
        Variant { name, checked: Some(self.name), ..self }
    }
}

/// One entry point and the text it is in.
#[derive(Debug)]
pub struct Shader {
    /// WGSL, joined in this order; lines `#for r in 0..4` and `#end` enclose what is written out for each number `$r`.
    pub source: &'static [&'static str],
    /// The entry point.
    pub entry: &'static str,
    /// Its bindings after the uniform at 0, in order.
    pub bindings: &'static [Binding],
    /// The scalars behind the windows in its uniform, each of 4 bytes.
    pub scalars: &'static [&'static str],
    /// Whether it may be compiled without run-time checks.
    pub(crate) stays_in_bounds: bool,
}

impl Shader {
    /// A shader of these texts, this entry point, these bindings and scalars.
    #[must_use]
    pub const fn new(
        source: &'static [&'static str],
        entry: &'static str,
        bindings: &'static [Binding],
        scalars: &'static [&'static str],
    ) -> Shader {
        Shader { source, entry, bindings, scalars, stays_in_bounds: false }
    }

    /// The same shader, which stays in its windows where this crate's own variants cut a step whose windows fit its kernel, and whose loops
    /// end: such a variant may have it compiled without run-time checks.
    pub(crate) const fn in_bounds(self) -> Shader {
        Shader { stays_in_bounds: true, ..self }
    }

    /// The whole text, its loops written out.
    ///
    /// # Panics
    /// When a loop has no end or no range: a fault of the text.
    #[must_use]
    pub fn wgsl(&self) -> String {
        unroll(&self.source.concat())
    }

    /// The same text for a pair of steps in one dispatch: the uniform holds the windows and scalars of both, and the third number of a
    /// workgroup says which of the two it computes.
    ///
    /// # Panics
    /// When the text has no uniform `params`, or no `main` whose workgroup is called `group`.
    #[must_use]
    pub fn wgsl_for_pair(&self) -> String {
        const UNIFORM: &str = "var<uniform> params: Params;";
        let text = self.wgsl();
        assert!(text.contains(UNIFORM) && text.contains("@builtin(workgroup_id) group: vec3<u32>"), "{text}");
        let text = text.replace("params.", "params[second].");
        let text = text.replace(UNIFORM, "var<uniform> params: array<Params, 2>;\nvar<private> second: u32;");
        let (head, main) = text.split_once("fn main(").expect("an entry point");
        let (arguments, body) = main.split_once(") {\n").expect("a body");
        format!("{head}fn main({arguments}) {{\n    second = group.z;\n{body}")
    }
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
    /// Whether it and the step before it are a pair: the same kernel with the same shapes and scalars, where neither writes what the other
    /// uses. So they may run at the same time.
    pub is_second: bool,
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

    /// The windows that it writes, with the numbers of their bindings.
    pub(crate) fn written(&self) -> impl Iterator<Item = (usize, &Mat)> {
        let is_written = |(number, _): &(usize, &Mat)| self.kernel.bindings[*number].access != Access::Read;
        self.windows.iter().enumerate().filter(is_written)
    }

    /// Whether it writes what another step uses.
    pub(super) fn meets(&self, other: &Step) -> bool {
        let uses = |window: &Mat| {
            other.windows.iter().any(|w| w.buf == window.buf && w.offset < window.end() && window.offset < w.end())
        };
        self.written().any(|(_, window)| uses(window))
    }

    /// Whether it and a step that it does not meet are a pair: alike, and of each buffer that one writes the other only writes another part, in
    /// the same place of its windows.
    pub(super) fn pairs_with(&self, other: &Step) -> bool {
        let is_apart = |a: &Step, b: &Step| {
            let is_alone = |(number, window): (usize, &Mat)| {
                b.windows.iter().enumerate().all(|(place, w)| w.buf != window.buf || place == number)
            };
            a.written().all(is_alone)
        };
        let is_alike = std::ptr::eq(self.kernel, other.kernel) && self.shape() == other.shape() && self.scalars == other.scalars;
        is_alike && is_apart(self, other) && is_apart(other, self)
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
    step.windows.iter().map(Mat::bytes).sum()
}

/// The bytes of a step's scalars as a kernel's own struct.
///
/// # Panics
/// When the sizes differ: a fault of the kernel's recording function.
#[must_use]
pub fn scalars<S: Pod>(bytes: &[u8]) -> S {
    bytemuck::pod_read_unaligned(bytes)
}
