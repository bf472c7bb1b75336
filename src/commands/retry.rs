//! A device that is lost is opened again, as often as that is asked for.

use std::ffi::OsString;
use std::path::Path;
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
    /// When the device is lost or does not answer, open it again and go on from the last checkpoint, with the same bits, N times at most
    /// [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    retry_device: Option<u32>,
}

impl RetryArgs {
    pub fn tries(&self) -> u32 {
        self.retry_device.unwrap_or(0)
    }
}

/// The arguments that go on with a run, with one try less than are `left`; `None` where there is none. A run that went on before does so with
/// its own arguments, and a new one with those that are not in its checkpoint.
pub fn arguments(folder: &Path, goes_on: bool, left: u32, rest: &[OsString]) -> Option<Vec<OsString>> {
    let left = left.checked_sub(1)?;
    let mut arguments: Vec<OsString> = match goes_on {
        true => without_tries(std::env::args_os().skip(1)),
        false => ["train".into(), "--resume".into(), folder.into()].into_iter().chain(rest.iter().cloned()).collect(),
    };
    arguments.extend(["--retry-device".into(), left.to_string().into()]);
    Some(arguments)
}

/// Arguments without `--retry-device N`.
fn without_tries(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut is_value = false;
    for argument in arguments {
        let is_flag = argument == "--retry-device";
        if !(is_value || is_flag || argument.to_string_lossy().starts_with("--retry-device=")) {
            kept.push(argument);
        }
        is_value = is_flag;
    }
    kept
}

/// Goes on with a run that has ended with an error, where that is of the device and there are tries `left`.
///
/// # Errors
/// The error of the run where not. Why a try failed is said on stderr.
pub fn go_on(training: &mut Training, error: Error, left: &mut u32, compute: &ComputeArgs, tune: &TuneArgs) -> Result<()> {
    if *left == 0 || !training.has_checkpoint() || !matches!(error, Error::DeviceLost { .. } | Error::Device { .. }) {
        return Err(error);
    }
    note(&error);
    while *left > 0 {
        *left -= 1;
        note(format_args!("The device is opened again. Tries left after this one: {left}."));
        std::thread::sleep(PAUSE);
        match again(training, compute, tune) {
            Ok(step) => {
                note(format_args!("Going on from step {step}."));
                return Ok(());
            }
            Err(why) => note(format_args!("It cannot be used: {why}")),
        }
    }
    Err(error)
}

fn again(training: &mut Training, compute: &ComputeArgs, tune: &TuneArgs) -> Result<u64> {
    let mut compute = compute.choose_again(training.device())?;
    tune.prepare_network(&mut compute, &training.settings().network)?;
    training.go_on_with(&compute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tries_that_are_left_take_the_place_of_those_before() {
        let given = ["train", "--retry-device", "3", "--resume", "a", "--retry-device=4", "--json"].map(OsString::from);
        assert_eq!(without_tries(given.into_iter()), ["train", "--resume", "a", "--json"]);
        let of = |left| arguments(Path::new("runs/a b"), false, left, &["--json".into()]);
        let expected = ["train", "--resume", "runs/a b", "--json", "--retry-device", "1"].map(OsString::from);
        assert_eq!((of(0), of(2)), (None, Some(expected.to_vec())));
    }
}
