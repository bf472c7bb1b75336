//! The CPU backend: the same program through the kernels' CPU functions, in f32, on the threads of a pool of its own.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use super::{Backend, Span, Ticket, Work};
use crate::program::{Access, Data, Element, Mat, Plan, Program, Step, View};
use crate::simd::InstructionSet;
use crate::{Error, Result};

enum Storage {
    F32(Vec<f32>),
    U32(Vec<u32>),
}

/// Runs programs on the CPU. The same bits for any number of threads.
pub struct Cpu {
    steps: Vec<Step>,
    plan: Plan,
    places: Vec<Storage>,
    pool: rayon::ThreadPool,
    instructions: InstructionSet,
    answers: HashMap<Ticket, Vec<f32>>,
    tickets: u64,
    /// When recording began, and what was noted.
    record: Option<(Instant, Vec<Span>)>,
}

impl Cpu {
    /// Allocates the places of a program's plan, zero, and a pool of `threads` threads; `None`: as many as there are cores, or as
    /// `RAYON_NUM_THREADS` says. They run with [`InstructionSet::from_environment`].
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] when the memory available is too small; [`Error::Usage`] when no pool could be made, or when this
    /// processor does not have the instructions that the environment asks for.
    pub fn new(program: &Program, threads: Option<usize>) -> Result<Cpu> {
        Cpu::with_instructions(program, threads, InstructionSet::from_environment()?)
    }

    /// [`Cpu::new`] with given vector instructions: the same bits, in another time.
    ///
    /// # Errors
    /// As [`Cpu::new`].
    pub fn with_instructions(program: &Program, threads: Option<usize>, instructions: InstructionSet) -> Result<Cpu> {
        let plan = program.plan();
        super::check_memory(super::PROGRAM, plan.bytes() + working(program))?;
        let allocate = |len: u64, element| -> Option<Storage> {
            let len = usize::try_from(len).ok()?;
            Some(match element {
                Element::F32 => Storage::F32(zeros(len)?),
                Element::U32 => Storage::U32(zeros(len)?),
            })
        };
        let places = plan.sizes().iter().enumerate().map(|(place, &len)| {
            let first = &program.buffers()[plan.buffers(place).next().expect("a place is some buffer's")];
            allocate(len, first.element).ok_or_else(|| Error::DoesNotFit {
                what: first.name.clone(),
                needed: len * Element::SIZE,
                available: 0,
                advice: "the system refused the allocation".into(),
            })
        });
        let places = places.collect::<Result<_>>()?;
        let pool = start_threads(threads, instructions)?;
        Ok(Cpu {
            steps: program.steps().to_vec(),
            plan,
            places,
            pool,
            instructions,
            answers: HashMap::new(),
            tickets: 0,
            record: None,
        })
    }

    fn values(&self, window: Mat) -> Vec<f32> {
        let Storage::F32(data) = &self.places[place(&self.plan, &window)] else { panic!("indices are not read back") };
        let view = View::new(&window, Data::Read(&data[span(&window)]));
        let mut values = Vec::with_capacity(window.len());
        (0..view.rows).for_each(|r| values.extend_from_slice(view.row(r)));
        values
    }
}

/// Starts so many threads, or as many as the cores; where the system refuses, half as many, and so on: the bits are the same.
fn start_threads(threads: Option<usize>, instructions: InstructionSet) -> Result<rayon::ThreadPool> {
    // 0: rayon's own choice, which the environment can name.
    let mut count = threads.unwrap_or(0);
    loop {
        let builder = rayon::ThreadPoolBuilder::new().num_threads(count).start_handler(move |_| instructions.choose());
        match builder.build() {
            Err(_) if count == 0 => count = std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2),
            Err(_) if count > 1 => count /= 2,
            Err(e) => return Err(Error::io("the threads of the CPU backend", std::io::Error::other(e))),
            Ok(pool) => return Ok(pool),
        }
    }
}

/// Bytes that the steps of a program take at most while they run, besides its buffers.
pub(super) fn working(program: &Program) -> u64 {
    // Those of a pair may run at the same time.
    let at_once = |step: &Step| if step.is_second && (step.kernel.runs_beside)(step) { 2 } else { 1 };
    program.steps().iter().map(|step| at_once(step) * step.working()).max().unwrap_or(0)
}

fn zeros<T: Clone + Default>(len: usize) -> Option<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(len).ok()?;
    values.resize(len, T::default());
    Some(values)
}

fn span(window: &Mat) -> Range<usize> {
    window.offset as usize..window.end() as usize
}

fn place(plan: &Plan, window: &Mat) -> usize {
    plan.place(window.buf.0 as usize)
}

/// Runs a step, or both of a pair at the same time: the memory that they write is taken out of its place for the time, and the rest read.
fn run_steps(steps: &[Step], plan: &Plan, places: &mut [Storage]) {
    let kernel = steps[0].kernel;
    // Of each binding that is written the places of the steps' windows, which may be the same.
    let mut taken: Vec<Vec<(usize, Vec<f32>)>> = kernel.bindings.iter().map(|_| Vec::new()).collect();
    for step in steps {
        for ((window, binding), taken) in step.windows.iter().zip(kernel.bindings).zip(&mut taken) {
            let place = place(plan, window);
            match &mut places[place] {
                Storage::F32(data) if binding.access != Access::Read && taken.iter().all(|(known, _)| *known != place) => {
                    taken.push((place, std::mem::take(data)));
                }
                _ => {}
            }
        }
    }
    let mut views: Vec<Vec<View<f32>>> = steps.iter().map(|_| Vec::new()).collect();
    for (number, taken) in taken.iter_mut().enumerate() {
        let windows: Vec<&Mat> = steps.iter().map(|step| &step.windows[number]).collect();
        let parts: Vec<Data<f32>> = match (&mut taken[..], &windows[..]) {
            ([], windows) => windows.iter().map(|window| read(&places[place(plan, window)], window)).collect(),
            ([(_, data)], [first, second]) => {
                let (low, high) = if first.offset < second.offset { (first, second) } else { (second, first) };
                let (below, above) = data.split_at_mut(span(high).start);
                let parts = [&mut below[span(low)], &mut above[..span(high).len()]];
                let mut parts = parts.map(Data::Write);
                if low != first {
                    parts.reverse();
                }
                parts.into()
            }
            (taken, windows) => {
                taken.iter_mut().zip(windows).map(|((_, data), window)| Data::Write(&mut data[span(window)])).collect()
            }
        };
        for ((views, window), data) in views.iter_mut().zip(windows).zip(parts) {
            views.push(View::new(window, data));
        }
    }
    match &mut views[..] {
        [views] => (kernel.cpu)(views, &steps[0].scalars),
        [first, second] => {
            rayon::join(|| (kernel.cpu)(first, &steps[0].scalars), || (kernel.cpu)(second, &steps[1].scalars));
        }
        _ => unreachable!("a step or a pair"),
    }
    for (place, data) in taken.into_iter().flatten() {
        places[place] = Storage::F32(data);
    }
}

fn read<'a>(storage: &'a Storage, window: &Mat) -> Data<'a, f32> {
    match storage {
        Storage::F32(data) => Data::Read(&data[span(window)]),
        Storage::U32(data) => Data::Indices(&data[span(window)]),
    }
}

/// Operations, or numbers moved, from which on a step is worth waking another thread for: some microseconds of them.
const WORTH_SHARING: u64 = 1 << 14;

/// How many of the steps from one on run at the same time: two of a pair, where that is worth it.
fn at_once(steps: &[Step]) -> usize {
    match steps {
        [first, second, ..] if second.is_second && std::ptr::eq(first.kernel, second.kernel) => {
            let is_long = (first.kernel.flops)(first).max(first.bytes() / Element::SIZE) >= WORTH_SHARING;
            let is_worth_it = is_long && rayon::current_num_threads() > 1 && (first.kernel.runs_beside)(first);
            if is_worth_it { 2 } else { 1 }
        }
        _ => 1,
    }
}

/// Operations for which the pool's threads are kept awake: about a millisecond of them.
const WORTH_WAKING: u64 = 50_000_000;

/// Runs something while the other threads of the pool look for work without going to sleep. A training step shares out a dozen
/// products, and to wake a thread takes as long as a small one of them.
fn awake(work: impl FnOnce() + Send) {
    /// Looks for work before a thread lets others have its core, a few microseconds each time.
    const SPINS: usize = 1000;
    let leader = rayon::current_thread_index();
    let (over, here) = (AtomicBool::new(false), AtomicUsize::new(0));
    rayon::scope(|scope| {
        scope.spawn_broadcast(|_, thread| {
            let mut idle = 0;
            here.fetch_add(1, Ordering::Release);
            while Some(thread.index()) != leader && !over.load(Ordering::Acquire) {
                match rayon::yield_now() {
                    Some(rayon::Yield::Executed) => idle = 0,
                    _ if idle < SPINS => {
                        idle += 1;
                        std::hint::spin_loop();
                    }
                    _ => std::thread::yield_now(),
                }
            }
        });
        let _over = SetOnDrop(&over);
        // All others must be here before there is work. One that took some first would come here while it waits for a part of that, and
        // never go back to it.
        while here.load(Ordering::Acquire) + 1 < rayon::current_num_threads() {
            std::thread::yield_now();
        }
        work();
    });
}

/// Set also when what is waited for panics.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Backend for Cpu {
    fn write(&mut self, window: Mat, values: &[f32]) -> Result<()> {
        assert_eq!(values.len(), window.len(), "values for {window:?}");
        let Storage::F32(data) = &mut self.places[place(&self.plan, &window)] else { panic!("floats written to indices") };
        let mut view = View::new(&window, Data::Write(&mut data[span(&window)]));
        for (r, row) in values.chunks(window.cols as usize).enumerate() {
            view.row_mut(r).copy_from_slice(row);
        }
        Ok(())
    }

    fn write_indices(&mut self, window: Mat, values: &[u32]) -> Result<()> {
        assert_eq!(values.len(), window.len(), "values for {window:?}");
        let Storage::U32(data) = &mut self.places[place(&self.plan, &window)] else { panic!("indices written to floats") };
        data[window.offset as usize..][..values.len()].copy_from_slice(values);
        Ok(())
    }

    fn is_extensible(&self) -> bool {
        true
    }

    fn extend(&mut self, program: &Program) -> Result<()> {
        let loaded = self.steps.len();
        assert!(self.plan.suits(program, loaded..program.len()), "the new steps need other places");
        self.steps.extend_from_slice(&program.steps()[loaded..]);
        Ok(())
    }

    fn run(&mut self, steps: Range<usize>) -> Result<()> {
        let (all, plan, places, record) = (&self.steps, &self.plan, &mut self.places, &mut self.record);
        let mut run = || {
            let mut index = steps.start;
            while index < steps.end {
                let begun = Instant::now();
                let count = at_once(&all[index..steps.end]);
                run_steps(&all[index..index + count], plan, places);
                if let Some((since, spans)) = record {
                    spans.push(Span { work: Work::Step(index), start: begun - *since, length: begun.elapsed() });
                }
                index += count;
            }
        };
        let flops: u64 = all[steps.clone()].iter().map(|step| (step.kernel.flops)(step)).sum();
        self.pool.install(|| if flops < WORTH_WAKING { run() } else { awake(run) });
        Ok(())
    }

    fn request(&mut self, window: Mat) -> Result<Ticket> {
        self.tickets += 1;
        self.answers.insert(Ticket(self.tickets), self.values(window));
        Ok(Ticket(self.tickets))
    }

    fn take(&mut self, ticket: Ticket) -> Result<Option<Vec<f32>>> {
        Ok(self.answers.remove(&ticket))
    }

    fn wait(&mut self) -> Result<()> {
        Ok(())
    }

    fn instructions(&self) -> Option<InstructionSet> {
        Some(self.instructions)
    }

    fn host_memory(&mut self, window: Mat) -> Option<&mut [f32]> {
        match &mut self.places[place(&self.plan, &window)] {
            Storage::F32(data) => Some(&mut data[span(&window)]),
            Storage::U32(_) => None,
        }
    }

    fn record(&mut self, on: bool) -> Result<()> {
        self.record = on.then(|| (Instant::now(), Vec::new()));
        Ok(())
    }

    fn spans(&mut self) -> Result<Vec<Span>> {
        Ok(self.record.as_mut().map(|(_, spans)| std::mem::take(spans)).unwrap_or_default())
    }

    fn description(&self) -> String {
        let threads = self.pool.current_num_threads();
        format!("CPU, {threads} thread{}", if threads == 1 { "" } else { "s" })
    }
}
