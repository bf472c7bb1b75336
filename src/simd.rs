//! The vector instructions that the CPU's functions run with: the widest that the processor has, or fewer to test and to measure.
//!
//! Every function gives the same bits with all of them. Threads carry the choice, so that two backends in one process may differ.

use std::cell::Cell;

use pulp::Arch;

use crate::{Error, Result};

thread_local! {
    static CHOSEN: Cell<Option<Arch>> = const { Cell::new(None) };
}

/// The instructions that this thread runs with.
#[inline]
pub(crate) fn arch() -> Arch {
    CHOSEN.get().unwrap_or_default()
}

/// A set of vector instructions that this processor has.
#[derive(Debug, Clone, Copy)]
pub struct InstructionSet(Arch);

impl InstructionSet {
    /// The environment variable that names the set to use.
    pub const VARIABLE: &'static str = "RETROSPECT_SIMD";

    /// All that this processor has and that there is code for, the widest first.
    #[must_use]
    pub fn available() -> Vec<InstructionSet> {
        let widest = Arch::new();
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "there is one width elsewhere"))]
        let mut all = vec![widest];
        #[cfg(target_arch = "x86_64")]
        if let (Arch::V4(_), Some(avx2)) = (widest, pulp::x86::V3::try_new()) {
            all.push(Arch::V3(avx2));
        }
        if !matches!(widest, Arch::Scalar) {
            all.push(Arch::Scalar);
        }
        all.into_iter().map(InstructionSet).collect()
    }

    /// The one that the environment variable `RETROSPECT_SIMD` names; without it the widest.
    ///
    /// # Errors
    /// [`Error::Usage`] when this processor has none of that name; those that it has are listed.
    pub fn from_environment() -> Result<InstructionSet> {
        let available = InstructionSet::available();
        let Some(wanted) = std::env::var_os(Self::VARIABLE) else { return Ok(available[0]) };
        available.iter().copied().find(|set| wanted == set.name()).ok_or_else(|| {
            let names: Vec<&str> = available.iter().map(|set| set.name()).collect();
            let wanted = wanted.to_string_lossy();
            Error::Usage(format!("{}={wanted}: this processor has {}", Self::VARIABLE, names.join(", ")))
        })
    }

    /// `avx512`, `avx2`, `neon`, `simd128` or `scalar`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Arch::V4(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Arch::V3(_) => "avx2",
            #[cfg(target_arch = "aarch64")]
            Arch::Neon(_) => "neon",
            Arch::Scalar => "scalar",
            _ => "simd128",
        }
    }

    /// Runs something with these.
    #[inline]
    pub(crate) fn dispatch<W: pulp::WithSimd>(self, work: W) -> W::Output {
        self.0.dispatch(work)
    }

    /// Lets the calling thread run with these from now on.
    pub(crate) fn choose(self) {
        CHOSEN.set(Some(self.0));
    }
}
