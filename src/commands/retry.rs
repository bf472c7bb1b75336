//! A device that is lost is opened again, as often as that is asked for.

use std::time::Duration;

use clap::Args;
use retrospect::train::Training;
use retrospect::{Error, Result};

use super::compute::ComputeArgs;
use super::terminal::note;
use super::tune::TuneArgs;

/// What a driver gets to recover in.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Args)]
#[command(next_help_heading = "Where to run")]
pub struct RetryArgs {
    /// When the device is lost, open it again and go on from the last checkpoint, with the same bits, N times at most. A call of the driver
    /// that never returns still ends the program [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    retry_device: Option<u32>,
}

impl RetryArgs {
    pub fn tries(&self) -> u32 {
        self.retry_device.unwrap_or(0)
    }
}

/// Goes on with a run that has ended with an error, where that is of the device and there are tries `left`.
///
/// # Errors
/// The error of the run where not; what the last try reports.
pub fn go_on(training: &mut Training, mut error: Error, left: &mut u32, compute: &ComputeArgs, tune: &TuneArgs) -> Result<()> {
    while *left > 0 && training.has_checkpoint() && matches!(error, Error::DeviceLost { .. } | Error::Device { .. }) {
        *left -= 1;
        note(format_args!("{error}. The device is opened again; {left} more tries are left after this one."));
        std::thread::sleep(PAUSE);
        match again(training, compute, tune) {
            Ok(step) => {
                note(format_args!("Going on from step {step}."));
                return Ok(());
            }
            Err(next) => error = training.with_checkpoint(next),
        }
    }
    Err(error)
}

fn again(training: &mut Training, compute: &ComputeArgs, tune: &TuneArgs) -> Result<u64> {
    let mut compute = compute.choose_again(training.device())?;
    tune.prepare_network(&mut compute, &training.settings().network)?;
    training.go_on_with(&compute)
}
