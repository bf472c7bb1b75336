//! Calls of wgpu: watched, with errors and panics as errors of ours, and waits that end.

use std::panic::AssertUnwindSafe;
use std::sync::PoisonError;
use std::sync::mpsc::channel;

use wgpu::{ErrorFilter, PollError, PollType, SubmissionIndex};

use super::Device;
use super::watchdog::{self, Patience, Watched};
use crate::{Error, Result};

thread_local! {
    static IN_WGPU: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether this thread is inside a call of wgpu whose panic is caught. wgpu panics in some places when a driver refuses something or the
/// device is lost; that becomes an error, so a panic hook should not print it.
#[must_use]
pub fn catches_panics() -> bool {
    IN_WGPU.get()
}

/// Calls wgpu, under the eyes of the watchdog; of a panic, its message.
pub(super) fn guarded<T>(what: &str, is_software: bool, f: impl FnOnce() -> T) -> std::result::Result<T, String> {
    let _watched = Watched::begin(what, is_software);
    let outer = IN_WGPU.replace(true);
    let result = std::panic::catch_unwind(AssertUnwindSafe(f));
    IN_WGPU.set(outer);
    result.map_err(|panic| {
        let said = panic.downcast_ref::<String>().cloned().or(panic.downcast_ref::<&str>().map(ToString::to_string));
        said.unwrap_or_else(|| "the driver gave up".into())
    })
}

impl Device {
    /// The four words of a buffer that can be mapped, after waiting for them.
    pub(super) fn words(&self, staging: &wgpu::Buffer) -> Result<[u32; 4]> {
        let failed = |message: String| Error::Device { what: "a read".into(), message };
        let (sender, mapped) = channel();
        self.checked("a read", || staging.map_async(wgpu::MapMode::Read, .., move |result| drop(sender.send(result))))?;
        self.wait_for(None)?;
        mapped.try_recv().map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))?;
        self.checked("a read", || staging.get_mapped_range(..).map(|view| bytemuck::pod_read_unaligned(&view[..16])))?
            .map_err(|e| failed(e.to_string()))
    }

    /// Calls `f` and gives the first error that wgpu had inside it, or its panic.
    pub(super) fn checked<T>(&self, what: &str, f: impl FnOnce() -> T) -> Result<T> {
        let found = self.checked_once(what, f);
        if found.is_err() {
            // wgpu panics, or a driver crashes, while a device is dropped in which a call has failed: so it never is.
            std::mem::forget((self.device.clone(), self.queue.clone()));
        }
        found
    }

    fn checked_once<T>(&self, what: &str, f: impl FnOnce() -> T) -> Result<T> {
        let scopes =
            [ErrorFilter::Internal, ErrorFilter::OutOfMemory, ErrorFilter::Validation].map(|f| self.device.push_error_scope(f));
        let result = guarded(what, self.adapter.is_software(), f);
        let errors = scopes.into_iter().rev().map(|scope| pollster::block_on(scope.pop()));
        let errors: Vec<wgpu::Error> = errors.collect::<Vec<_>>().into_iter().flatten().collect();
        if !errors.is_empty() {
            // That the device is lost, and nothing else the matter, may come to light only in a poll.
            self.poll()?;
        }
        self.alive()?;
        let result = result.map_err(lost)?;
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
        self.polled(PollType::Poll)?.map_err(|error| lost(error.to_string()))
    }

    /// Waits for a submission, or for the last.
    pub(super) fn wait_for(&self, submission: Option<SubmissionIndex>) -> Result<()> {
        let mut patience = Patience::new(self.adapter.is_software());
        loop {
            let timeout = Some(Patience::slice());
            match self.polled(PollType::Wait { submission_index: submission.clone(), timeout })? {
                Ok(()) => return Ok(()),
                Err(PollError::Timeout) if patience.is_at_end() => {
                    return Err(lost(unanswered("the work that it was given")));
                }
                Err(PollError::Timeout) => {}
                Err(error) => return Err(lost(error.to_string())),
            }
        }
    }

    /// The one place where the device is polled: it panics in there when the device is lost.
    fn polled(&self, poll: PollType) -> Result<std::result::Result<(), PollError>> {
        let result = guarded("a wait", self.adapter.is_software(), || self.device.poll(poll));
        self.alive()?;
        Ok(result.map_err(lost)?.map(drop))
    }

    pub(super) fn alive(&self) -> Result<()> {
        match &*self.lost.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(reason) => Err(given_up(reason.clone())),
            None => Ok(()),
        }
    }
}

/// Why wgpu has given up a device. It does so too where the driver has no memory.
fn given_up(reason: String) -> Error {
    if reason.contains("Out of memory") || reason.contains("Not enough memory") {
        return Error::DoesNotFit { what: "the work that it was given".into(), needed: 0, available: 0, advice: reason };
    }
    lost(reason)
}

fn lost(reason: String) -> Error {
    Error::DeviceLost { reason, checkpoint: None }
}

/// That the driver has not answered in time to what was asked of it.
#[must_use]
pub fn unanswered(what: &str) -> String {
    format!("no answer in {} s to {what}", watchdog::limit().as_secs_f64())
}

/// Why an adapter cannot be opened.
pub(super) fn not_opened(what: String, error: &wgpu::RequestDeviceError) -> Error {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let message = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    // The kinds of this error cannot be told otherwise.
    if message.contains("Not enough memory") {
        return Error::DoesNotFit { what: what.replacen("to open", "opening", 1), needed: 0, available: 0, advice: message };
    }
    Error::Device { what, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_was_given_up_for_lack_of_memory_is_not_lost() {
        for (reason, code) in
            [("Unknown: Out of memory", 4), ("Unknown: Not enough memory left.", 4), ("Unknown: Device is lost", 5)]
        {
            assert_eq!(given_up(reason.into()).exit_code(), code, "{reason}");
        }
    }

    #[test]
    fn a_panic_in_wgpu_is_a_message() {
        let number = 7;
        assert_eq!(guarded("x", false, || number), Ok(7));
        assert_eq!(guarded("x", false, || assert!(number < 5, "{number} is too large")), Err("7 is too large".into()));
        assert_eq!(
            guarded("x", false, || guarded("y", false, || panic!("inside")).map_or_else(|said| said, |()| String::new())),
            Ok("inside".into())
        );
        assert!(!catches_panics() && guarded("x", false, catches_panics) == Ok(true));
    }
}
