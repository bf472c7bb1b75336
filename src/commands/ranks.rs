//! The processes of a run: under `mpirun` each is a rank, and the first one alone writes and talks.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use retrospect::model::Config;
use retrospect::ranks::{Alone, Collective};
use retrospect::{Error, Result};

#[derive(Args)]
#[command(next_help_heading = "Several processes (mpirun)")]
pub struct RanksArgs {
    /// Seconds without an answer after which a process counts as lost, and the others end
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    rank_timeout: u64,
}

/// This process among those of a run.
pub struct Ranks {
    pub collective: Box<dyn Collective>,
    /// Its place among those of its machine, and how many those are.
    pub local: (usize, usize),
    /// How many machines there are.
    pub machines: usize,
}

impl Ranks {
    pub fn is_first(&self) -> bool {
        self.collective.rank() == 0
    }

    /// Refuses what several processes do not do together.
    pub fn expect_one(&self, what: &str) -> Result<()> {
        match self.collective.size() {
            1 => Ok(()),
            count => Err(Error::Usage(format!("{what} works only with one process, and there are {count}"))),
        }
    }

    /// A network for this process's share of each batch.
    pub fn share_of(&self, whole: &Config) -> Config {
        let (rank, size) = (self.collective.rank(), self.collective.size());
        whole.for_rank(rank, size).filter(|_| size > 1).unwrap_or_else(|| whole.clone())
    }

    /// What is said of them, where there are several.
    pub fn about(&self) -> Option<String> {
        let size = self.collective.size();
        let machines = if self.machines == 1 { "one machine".into() } else { format!("{} machines", self.machines) };
        (size > 1).then(|| format!("{size} processes on {machines}, each with its share of every batch."))
    }
}

impl RanksArgs {
    /// Joins the other processes, if this one was started as one of several; from then on all but the first are quiet. Once `is_asked_to_end`
    /// is set, a process that does not answer is not waited for.
    pub fn join(&self, is_asked_to_end: &Arc<AtomicBool>) -> Result<Ranks> {
        if launched().is_none() {
            return Ok(Ranks { collective: Box::<Alone>::default(), local: (0, 1), machines: 1 });
        }
        self.join_launched(is_asked_to_end)
    }

    #[cfg(feature = "mpi")]
    fn join_launched(&self, is_asked_to_end: &Arc<AtomicBool>) -> Result<Ranks> {
        let limit = std::time::Duration::from_secs(self.rank_timeout);
        let worker = retrospect::ranks::mpi(limit, Arc::clone(is_asked_to_end))?;
        if worker.size() == 1 {
            expect_alone("the MPI that this program was built with is not that of mpirun, and each would do all of the work")?;
        }
        super::terminal::speak_as(worker.rank(), worker.size());
        let (local, machines) = (worker.local(), worker.machines().iter().collect::<std::collections::BTreeSet<_>>().len());
        Ok(Ranks { collective: Box::new(worker), local, machines })
    }

    #[cfg(not(feature = "mpi"))]
    fn join_launched(&self, _: &Arc<AtomicBool>) -> Result<Ranks> {
        expect_alone("this program was built without MPI, and each would do all of the work: cargo build --features mpi")?;
        Ok(Ranks { collective: Box::<Alone>::default(), local: (0, 1), machines: 1 })
    }
}

/// How many processes a launcher has started, of which this is one, as far as it says; `None` where there was none.
pub fn launched() -> Option<usize> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap_or(1));
    // Of Open MPI, of MPICH and those made of it, of launchers that have PMIx, and of Slurm's.
    ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_SIZE"].into_iter().find_map(number).or_else(|| {
        let is_there = ["PMIX_RANK", "PMI_RANK"].iter().any(|name| std::env::var_os(name).is_some());
        is_there.then(|| number("SLURM_STEP_NUM_TASKS").unwrap_or(1))
    })
}

/// Refuses to run as one of several processes.
pub fn expect_alone(why: &str) -> Result<()> {
    match launched() {
        Some(count) if count > 1 => Err(Error::Usage(format!("{count} processes were started together; {why}"))),
        _ => Ok(()),
    }
}
