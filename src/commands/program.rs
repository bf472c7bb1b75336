//! The flags of the commands that look at a model's program, and train nothing.

use std::path::PathBuf;

use clap::Args;
use retrospect::Result;
use retrospect::backend::Compute;
use retrospect::train::Settings;

use super::compute::ComputeArgs;
use super::options::{DataCache, FIXED, ModelArgs};
use super::trained::load_last;

#[derive(Args)]
pub struct ProgramArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// Use the model of the run in DIR, with the variants that it ran with
    #[arg(long, value_name = "DIR", conflicts_with_all = FIXED, conflicts_with_all = ["text", "data", "tokens", "validation", "test", "clip", "clip_value"])]
    resume: Option<PathBuf>,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    compute: ComputeArgs,
}

impl ProgramArgs {
    /// What a run of the model follows from.
    pub fn settings(&self) -> Result<Settings> {
        match &self.resume {
            None => Ok(self.model.settings(&["lr", "steps"], &mut DataCache::default())?.0),
            Some(run) => Ok(load_last(run)?.0.origin.settings),
        }
    }

    /// Where to run.
    pub fn compute(&self) -> Result<Compute> {
        match &self.resume {
            None => self.compute.choose(),
            Some(run) => self.compute.choose_again(&load_last(run)?.0.origin.device),
        }
    }

    /// A GPU to measure on, software ones included.
    pub fn choose_gpu(&self) -> Result<Compute> {
        self.compute.choose_gpu()
    }
}
