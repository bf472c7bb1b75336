//! An opened adapter: with its limits, its errors, and waiting that ends.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use wgpu::Features;

use super::Adapter;
use super::calls::{guarded, not_opened};
use super::load::{self, Compiled, Key};
use crate::program::{Class, Cuts, Element, Kernel, Needs, Program, ROW_ALIGNMENT, Step, Variant};
use crate::{Error, Result};

/// What is used where it is there.
const WANTED: Features = Features::TIMESTAMP_QUERY.union(Features::SUBGROUP);

/// Which variants run where it is not the usual ones.
#[derive(Debug, Clone, Default)]
struct Choices {
    /// Of steps of a shape, the variant.
    chosen: HashMap<String, &'static Variant>,
    /// Shapes of steps, each with the name of a variant without run-time checks that may run there.
    trusted: HashSet<(String, &'static str)>,
}

/// Whether workgroups may wait for each other.
#[derive(Default)]
struct Waiting {
    /// The workgroups that were seen to run at the same time, once that is known.
    resident: OnceLock<u32>,
    /// Whether none may wait any more.
    is_refused: AtomicBool,
    /// Whether that is since one waited in vain, now or when the file of choices was written.
    was_in_vain: AtomicBool,
    /// Who is told that one did.
    listener: Mutex<Option<Listener>>,
}

/// Is told what happened, and what is done about it.
type Listener = Box<dyn Fn(&Device, &str) + Send>;

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Waiting({:?}, refused {})", self.resident, self.is_refused.load(Ordering::Relaxed))
    }
}

/// The environment's word for whether workgroups may wait for each other: `off` where not.
const WAITING: &str = "RETROSPECT_PERSISTENT";

/// An opened adapter.
#[derive(Debug, Clone)]
pub struct Device {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    /// The adapter it was opened on.
    pub adapter: Adapter,
    limits: Arc<Cuts>,
    /// The lanes of every subgroup; 0 where there are none, or of several sizes.
    subgroup: u32,
    choices: Box<Choices>,
    waiting: Arc<Waiting>,
    pub(super) lost: Arc<Mutex<Option<String>>>,
    /// The same shader is compiled once for all programs.
    pub(super) compiled: Arc<Mutex<HashMap<Key, Compiled>>>,
    /// Dropped last, since it stands below the others.
    _end: Arc<End>,
}

/// Drops what wgpu opened, once nothing else holds it: wgpu waits for the queue then, and panics when the driver refuses.
#[derive(Debug)]
struct End {
    opened: Option<(wgpu::Device, wgpu::Queue)>,
    is_software: bool,
}

impl Drop for End {
    fn drop(&mut self) {
        let opened = self.opened.take();
        // Nothing is asked of the device any more.
        let _ = guarded("the end of its work", self.is_software, || drop(opened));
    }
}

impl Device {
    /// Opens an adapter with all of its limits.
    ///
    /// # Errors
    /// [`Error::Device`] when the adapter has no immediates or refuses.
    pub async fn open(adapter: &Adapter) -> Result<Device> {
        Device::open_with_limits(adapter, adapter.limits()).await
    }

    /// Opens an adapter with limits of one's own, at most its own: what tests do to see that steps are cut right.
    ///
    /// # Errors
    /// [`Error::Device`] when the adapter has no immediates or refuses.
    pub async fn open_with_limits(adapter: &Adapter, limits: wgpu::Limits) -> Result<Device> {
        let refused = |message: String| Error::Device { what: format!("to open {}", adapter.name), message };
        if !adapter.features().contains(Features::IMMEDIATES) {
            return Err(refused("it has no immediates".into()));
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("retrospect"),
            required_features: Features::IMMEDIATES | (adapter.features() & WANTED),
            required_limits: limits.clone(),
            ..Default::default()
        };
        // It is ready at once, and blocking is the only way to catch a panic in it.
        let what = format!("to open {}", adapter.name);
        let open = || pollster::block_on(adapter.adapter.request_device(&descriptor));
        let opened = guarded(&format!("the opening of {}", adapter.name), adapter.is_software(), open).map_err(refused)?;
        let (device, queue) = opened.map_err(|error| not_opened(what, &error))?;
        let lost = Arc::new(Mutex::new(None));
        let flag = Arc::clone(&lost);
        device.set_device_lost_callback(move |reason, message| {
            flag.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(format!("{reason:?}: {message}"));
        });
        // Windows are bound from the aligned element before their first on, which must fit as well.
        let alignment = u64::from(limits.min_storage_buffer_offset_alignment) / Element::SIZE;
        let aligned = |elements: u64| elements / u64::from(ROW_ALIGNMENT) * u64::from(ROW_ALIGNMENT);
        let most = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size) / Element::SIZE;
        let [binding, buffer] = [most - alignment, limits.max_buffer_size / Element::SIZE].map(aligned);
        let cuts = Cuts::new(binding, buffer, limits.max_compute_workgroups_per_dimension, 30_000);
        let info = adapter.adapter.get_info();
        let is_fixed = adapter.features().contains(Features::SUBGROUP) && info.subgroup_min_size == info.subgroup_max_size;
        let subgroup = if is_fixed { info.subgroup_min_size } else { 0 };
        let is_refused = std::env::var(WAITING).is_ok_and(|word| word == "off");
        let end = End { opened: Some((device.clone(), queue.clone())), is_software: adapter.is_software() };
        Ok(Device {
            device,
            queue,
            adapter: adapter.clone(),
            limits: Arc::new(cuts),
            subgroup,
            choices: Box::default(),
            waiting: Arc::new(Waiting { is_refused: AtomicBool::new(is_refused), ..Waiting::default() }),
            lost,
            compiled: Arc::default(),
            _end: Arc::new(end),
        })
    }

    /// Chooses variants for steps of some shapes, by [`Step::shape`] and the variant's name: what a run was computed with, for the same
    /// bits again, or what was measured to be fast. `kernels` are those that may be named: [`kernels`](crate::registry::kernels), or one's own.
    /// Steps of other shapes keep the usual choice.
    ///
    /// # Errors
    /// [`Error::BadInput`] with a name that none of them has.
    pub fn choose(&mut self, kernels: &[&'static Kernel], variants: &BTreeMap<String, String>) -> Result<()> {
        for (shape, variant) in variants {
            let kernel = shape.split(' ').next().unwrap_or_default();
            let known = kernels.iter().find(|k| k.name == kernel);
            let found = known.and_then(|k| k.variants.iter().find(|v| v.name == variant));
            let missing = || Error::input("variants", format!("this version has no variant {variant} of {kernel}"));
            self.choices.chosen.insert(shape.clone(), found.ok_or_else(missing)?);
        }
        Ok(())
    }

    /// The variant that was chosen for steps of this one's shape, if one was.
    #[must_use]
    pub fn chosen(&self, step: &Step) -> Option<&'static Variant> {
        self.choices.chosen.get(&step.shape()).copied()
    }

    /// Lets a variant without run-time checks, or whose workgroups wait for each other, run for steps of this one's shape. To be called where the
    /// variant with checks has passed its check on this device, and both agree on a step of that shape with one that does not wait.
    #[doc(hidden)]
    pub fn trust(&mut self, step: &Step, variant: &'static Variant) {
        self.choices.trusted.insert((step.shape(), variant.name));
    }

    /// Whether a variant may run for a step: it has run-time checks and its workgroups do not wait for each other, or it was trusted.
    #[must_use]
    pub fn is_trusted(&self, step: &Step, variant: &Variant) -> bool {
        (variant.checked.is_none() && !variant.waits) || self.choices.trusted.contains(&(step.shape(), variant.name))
    }

    /// Compiles the shaders of some variants, each with the name of its kernel, at the same time on all threads, so that none is
    /// compiled when it is first run; those for pairs of steps too, where a program has such.
    ///
    /// # Errors
    /// [`Error::Device`] with the first that the adapter refuses.
    pub fn compile(&self, variants: &[(&'static str, &'static Variant)], has_pairs: bool) -> Result<()> {
        load::compile_all(self, variants, has_pairs)
    }

    /// Whether the adapter has what a variant needs.
    #[must_use]
    pub fn has(&self, needs: Needs) -> bool {
        let limits = self.device.limits();
        (needs.subgroup == 0 || needs.subgroup == self.subgroup)
            && needs.memory <= limits.max_compute_workgroup_storage_size
            && needs.invocations <= limits.max_compute_invocations_per_workgroup
            && needs.invocations <= limits.max_compute_workgroup_size_x
            && needs.buffers <= limits.max_storage_buffers_per_shader_stage
    }

    /// Whether a variant is made for this kind of adapter.
    #[must_use]
    pub fn suits(&self, variant: &Variant) -> bool {
        let kind = if self.adapter.is_software() { Class::Software } else { Class::Gpu };
        variant.class == kind || variant.class == Class::Any
    }

    /// What the lowering of a program's steps must keep to.
    #[must_use]
    pub fn cuts(&self, program: &Program) -> Cuts {
        let mut cuts = self.limits.for_program(program);
        cuts.resident = self.resident();
        cuts
    }

    /// The workgroups that were seen to run at the same time; none where one has waited for another in vain. `None` of an adapter that is no
    /// GPU, where they never do.
    #[must_use]
    pub fn resident(&self) -> Option<u32> {
        if self.waiting.is_refused.load(Ordering::Relaxed) {
            return self.adapter.is_hardware().then_some(0);
        }
        let find = || super::resident::find(self).unwrap_or(0);
        let known = self.waiting.resident.get().copied();
        known.or_else(|| self.adapter.is_hardware().then(|| *self.waiting.resident.get_or_init(find)))
    }

    #[doc(hidden)]
    /// Takes it that so many workgroups run at the same time, whether they do or not: to see what happens where they do not.
    pub fn assume_resident(&self, workgroups: u32) {
        let _ = self.waiting.resident.set(workgroups);
    }

    /// From now on no workgroup waits for another.
    pub(super) fn forbid_waiting(&self) {
        self.waiting.is_refused.store(true, Ordering::Relaxed);
    }

    /// The same, since one waited in vain.
    pub(crate) fn refuse_waiting(&self) {
        self.forbid_waiting();
        self.waiting.was_in_vain.store(true, Ordering::Relaxed);
    }

    /// Whether a workgroup has waited for another in vain, on this device or, by the file of choices, before.
    #[must_use]
    pub fn has_waited_in_vain(&self) -> bool {
        self.waiting.was_in_vain.load(Ordering::Relaxed)
    }

    /// Calls a function with what happened, once a workgroup has waited for another in vain.
    pub fn on_waiting_in_vain(&self, listener: impl Fn(&Device, &str) + Send + 'static) {
        *self.waiting.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(listener));
    }

    /// Notes that a workgroup has waited in vain.
    pub(super) fn waited_in_vain(&self, said: &str) {
        self.refuse_waiting();
        if let Some(listener) = &*self.waiting.listener.lock().unwrap_or_else(PoisonError::into_inner) {
            listener(self, said);
        }
    }

    /// Bytes that a program takes besides those of its plan: scratch memory of the variants that are chosen.
    #[must_use]
    pub fn scratch(&self, program: &Program) -> u64 {
        super::memory::scratch_bytes(self, program)
    }

    /// The dispatches of each step of a program. Of two steps that run in the same ones, the second has none.
    #[must_use]
    pub fn dispatches(&self, program: &Program) -> Vec<u64> {
        load::dispatches(self, program)
    }

    /// Whether a variant can compute a step of a program of these [`Device::cuts`] here.
    #[must_use]
    pub fn is_able(&self, variant: &Variant, step: &Step, cuts: &Cuts) -> bool {
        self.has(variant.needs) && (variant.can)(step, cuts)
    }

    /// The variants that come into question for a step: made for this kind of adapter, with what they need, and able to. Those without
    /// run-time checks are among them, trusted or not.
    pub fn candidates(&self, step: &Step, cuts: &Cuts) -> impl Iterator<Item = &'static Variant> {
        step.kernel.variants.iter().filter(move |v| self.suits(v) && self.is_able(v, step, cuts))
    }

    /// What runs where a variant is asked for: itself where it is trusted at the step's size, else the same with run-time checks; `None` where
    /// that is not trusted either, or not able.
    pub(super) fn usable(&self, step: &Step, wanted: &'static Variant, cuts: &Cuts) -> Option<&'static Variant> {
        let with_checks = || wanted.checked.and_then(|name| step.kernel.variants.iter().find(|v| v.name == name));
        let variant = if self.is_trusted(step, wanted) { Some(wanted) } else { with_checks() };
        variant.filter(|v| self.is_trusted(step, v) && self.is_able(v, step, cuts))
    }

    /// The variant in which a step runs: the one chosen for its shape, or the first that is likely to be fast. In place of one without run-time
    /// checks that is not trusted it is the one with them. One whose workgroups wait for each other runs only where it is trusted.
    ///
    /// # Panics
    /// When a kernel has none that computes any step on any adapter.
    #[must_use]
    pub fn variant(&self, step: &Step, cuts: &Cuts) -> &'static Variant {
        let chosen = if self.choices.chosen.is_empty() { None } else { self.chosen(step) };
        let chosen = chosen.and_then(|wanted| self.usable(step, wanted, cuts));
        let likely = || self.candidates(step, cuts).find(|v| v.checked.is_none() && !v.waits && (v.likely)(step));
        chosen.or_else(likely).expect("a variant for any step on any adapter")
    }
}
