//! An opened adapter: with its limits, its errors, and waiting that ends.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wgpu::{ErrorFilter, Features, PollType, SubmissionIndex};

use super::Adapter;
use super::load::Compiled;
use crate::program::{Class, Cuts, Kernel, Variant};
use crate::{Error, Result};

/// How long a submission may take before the device counts as lost.
const PATIENCE: Duration = Duration::from_secs(120);

thread_local! {
    static POLLING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether this thread is inside a wait for a device. wgpu panics there when the device is lost; the panic is caught
/// and becomes an error, so a panic hook should not print it.
#[must_use]
pub fn is_polling() -> bool {
    POLLING.get()
}

/// An opened adapter.
#[derive(Debug, Clone)]
pub struct Device {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    /// The adapter it was opened on.
    pub adapter: Adapter,
    pub(super) cuts: Cuts,
    variants: HashMap<&'static str, &'static Variant>,
    lost: Arc<Mutex<Option<String>>>,
    /// By the shader's address: the same shader is compiled once for all programs.
    pub(super) compiled: Arc<Mutex<HashMap<usize, Compiled>>>,
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
            required_features: Features::IMMEDIATES | (adapter.features() & Features::TIMESTAMP_QUERY),
            required_limits: limits.clone(),
            ..Default::default()
        };
        let (device, queue) = adapter.adapter.request_device(&descriptor).await.map_err(|e| refused(e.to_string()))?;
        let lost = Arc::new(Mutex::new(None));
        let flag = Arc::clone(&lost);
        device.set_device_lost_callback(move |reason, message| {
            flag.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(format!("{reason:?}: {message}"));
        });
        // Windows are bound from the aligned element before their first on, which must fit as well.
        let alignment = u64::from(limits.min_storage_buffer_offset_alignment) / 4;
        let binding = (limits.max_storage_buffer_binding_size.min(limits.max_buffer_size) / 4 - alignment) / 4 * 4;
        let cuts = Cuts { binding, workgroups: limits.max_compute_workgroups_per_dimension, iterations: 30_000 };
        Ok(Device { device, queue, adapter: adapter.clone(), cuts, variants: HashMap::new(), lost, compiled: Arc::default() })
    }

    /// Prefers variants for kernels, by their names: what a run was computed with, for the same bits again. Kernels not
    /// named keep the choice by adapter.
    ///
    /// # Errors
    /// [`Error::BadInput`] with a name that this version does not know.
    pub fn prefer(&mut self, variants: &BTreeMap<String, String>) -> Result<()> {
        for (kernel, variant) in variants {
            let known = crate::kernels::all().into_iter().find(|k| k.name == kernel);
            let found = known.and_then(|k| Some((k.name, k.variants.iter().find(|v| v.name == variant)?)));
            let missing = || Error::input("variants", format!("this version has no variant {variant} of {kernel}"));
            let (kernel, variant) = found.ok_or_else(missing)?;
            self.variants.insert(kernel, variant);
        }
        Ok(())
    }

    /// The variant that runs of a kernel.
    #[must_use]
    pub fn variant(&self, kernel: &Kernel) -> &'static Variant {
        let wanted = if self.adapter.is_software() { Class::Software } else { Class::Gpu };
        let of = |class| kernel.variants.iter().find(move |v| v.class == class);
        let chosen = self.variants.get(kernel.name).copied();
        chosen.or_else(|| of(wanted)).or_else(|| of(Class::Any)).unwrap_or(&kernel.variants[0])
    }

    /// What lowered steps must keep to.
    #[must_use]
    pub fn cuts(&self) -> Cuts {
        self.cuts
    }

    /// Calls `f` and gives the first error that wgpu had inside it.
    pub(super) fn checked<T>(&self, what: &str, f: impl FnOnce() -> T) -> Result<T> {
        let scopes =
            [ErrorFilter::Internal, ErrorFilter::OutOfMemory, ErrorFilter::Validation].map(|f| self.device.push_error_scope(f));
        let result = f();
        let errors = scopes.into_iter().rev().map(|scope| pollster::block_on(scope.pop()));
        let errors: Vec<wgpu::Error> = errors.collect::<Vec<_>>().into_iter().flatten().collect();
        if !errors.is_empty() {
            // That the device is lost, and nothing else the matter, may come to light only in a poll.
            self.poll()?;
        }
        self.alive()?;
        match errors.into_iter().next() {
            None => Ok(result),
            Some(wgpu::Error::OutOfMemory { source }) => {
                let reason = source.to_string();
                Err(Error::DoesNotFit { what: what.into(), needed: 0, available: 0, advice: reason })
            }
            Some(error) => Err(Error::Device { what: what.into(), message: error.to_string() }),
        }
    }

    /// Sees to callbacks without waiting.
    pub(super) fn poll(&self) -> Result<()> {
        self.polled(PollType::Poll)
    }

    /// Waits for a submission, or for the last.
    pub(super) fn wait_for(&self, submission: Option<SubmissionIndex>) -> Result<()> {
        self.polled(PollType::Wait { submission_index: submission, timeout: Some(PATIENCE) })
    }

    /// The one place where the device is polled: it panics in there when the device is lost.
    fn polled(&self, poll: PollType) -> Result<()> {
        POLLING.set(true);
        let result = std::panic::catch_unwind(AssertUnwindSafe(|| self.device.poll(poll)));
        POLLING.set(false);
        self.alive()?;
        match result {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(lost(error.to_string())),
            Err(_) => Err(lost("the driver gave up".into())),
        }
    }

    pub(super) fn alive(&self) -> Result<()> {
        match &*self.lost.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(reason) => Err(lost(reason.clone())),
            None => Ok(()),
        }
    }
}

fn lost(reason: String) -> Error {
    Error::DeviceLost { reason, checkpoint: None }
}
