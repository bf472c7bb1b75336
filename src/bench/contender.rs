//! What is timed: a backend with what it can reach.

use serde::Serialize;

use super::{Ceilings, Product, Row};
use crate::Result;
use crate::backend::Compute;
use crate::backend::gpu::warm;

/// What a network is timed on, and what that can do at most.
#[derive(Debug, Clone, Serialize)]
pub struct Contender {
    /// `cpu` or `gpu`.
    pub backend: &'static str,
    /// What was measured of it.
    #[serde(flatten)]
    pub ceilings: Ceilings,
    #[serde(skip)]
    compute: Compute,
}

impl Contender {
    pub(super) fn new(compute: &Compute) -> Result<Contender> {
        Ok(Contender::with_ceilings(compute.clone(), Ceilings::measure(compute)?))
    }

    /// One whose ceilings are known.
    #[must_use]
    pub fn with_ceilings(compute: Compute, ceilings: Ceilings) -> Contender {
        let backend = if matches!(compute, Compute::Cpu(_)) { "cpu" } else { "gpu" };
        Contender { backend, ceilings, compute }
    }

    pub(super) fn compute(&self) -> &Compute {
        &self.compute
    }

    /// Repeats some work until a hardware GPU runs at its full clock.
    pub(super) fn warm(&self, work: impl FnMut() -> Result<()>) -> Result<()> {
        match &self.compute {
            Compute::Gpu(device) => warm(&device.adapter, work),
            Compute::Cpu(_) => Ok(()),
        }
    }

    /// Measures the ceilings once more if a kernel or a product was faster than they allow. What a kernel did the machine can do, so the
    /// operations of one that is still faster count as its ceiling; bytes may have come from a cache.
    pub(super) fn raise(&mut self, rows: &[Row], products: &[Product]) -> Result<()> {
        let own = || rows.iter().filter(|row| row.backend == self.backend).filter_map(|row| row.measured.as_ref());
        let kernels = || own().flat_map(|measured| &measured.kernels);
        let products = products.iter().filter(|product| product.backend == self.backend);
        let products = products.filter_map(|product| Some(product.timed.as_ref()?.gflops));
        let speeds = own().map(|measured| measured.gflops).chain(kernels().map(|kernel| kernel.gflops));
        let best = speeds.chain(products).fold(0.0, f64::max);
        if best > self.ceilings.gflops || kernels().any(|kernel| kernel.gb_per_s > self.ceilings.gb_per_s) {
            let again = Ceilings::measure(&self.compute)?;
            self.ceilings.gflops = self.ceilings.gflops.max(again.gflops).max(best);
            self.ceilings.gb_per_s = self.ceilings.gb_per_s.max(again.gb_per_s);
        }
        Ok(())
    }
}
