//! One error type for the crate, with the numbers a person needs to act on it.

use std::path::PathBuf;

/// What can go wrong, and with which numbers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value asked for is out of range: a size of zero, a rate that is not a number.
    #[error("{0}")]
    Usage(String),

    /// No adapter, or none of the name asked for, or more than one.
    #[error("{}", no_adapter(.wanted.as_deref(), .found))]
    NoAdapter {
        /// The name or index that was asked for; `None`: any adapter.
        wanted: Option<String>,
        /// The adapters that are there, each with its index.
        found: Vec<String>,
    },

    /// The program needs more than the device or the machine has.
    #[error("{}", does_not_fit(.what, *.needed, *.available, .advice))]
    DoesNotFit {
        /// What is too large.
        what: String,
        /// Bytes needed; 0: a driver that refused does not tell.
        needed: u64,
        /// Bytes there.
        available: u64,
        /// The largest that would fit.
        advice: String,
    },

    /// The device went away or did not answer in time.
    #[error("the device was lost or did not answer in time: {reason}{}", saved(.checkpoint.as_ref()))]
    DeviceLost {
        /// What the driver said.
        reason: String,
        /// The last checkpoint written, if there is one.
        checkpoint: Option<PathBuf>,
    },

    /// Another rank of the same training is gone, or has failed.
    #[error("{who} is lost: {why}{}", saved(.checkpoint.as_ref()))]
    RankLost {
        /// Which one, and where.
        who: String,
        /// What is known of it.
        why: String,
        /// The last checkpoint written, if there is one.
        checkpoint: Option<PathBuf>,
    },

    /// Training produced a value that is not finite.
    #[error("training diverged at step {step}: {tensor} is not finite; {}{}", last_loss(*.last_finite), saved(.checkpoint.as_ref()))]
    Diverged {
        /// The step, counted from 1.
        step: u64,
        /// The loss, or the name of the first tensor whose gradient is not finite.
        tensor: String,
        /// The last finite loss and its step.
        last_finite: Option<(u64, f32)>,
        /// The last checkpoint written, if there is one.
        checkpoint: Option<PathBuf>,
    },

    /// A result is beyond what f32 holds.
    #[error("{tensor} is not finite in f32; nothing was written")]
    NotFinite {
        /// The loss, an output or a gradient by its name.
        tensor: String,
    },

    /// A file, or a value given from outside, is not what was expected.
    #[error("{what}: {problem}")]
    BadInput {
        /// The file, or the tensor.
        what: String,
        /// Position, and what was expected.
        problem: String,
    },

    /// Ctrl-C.
    #[error("interrupted at step {step}{}", saved(.checkpoint.as_ref()))]
    Interrupted {
        /// The last finished step.
        step: u64,
        /// The checkpoint that was written.
        checkpoint: Option<PathBuf>,
    },

    /// A check found something that is not right.
    #[error("{failed} of {of} checks failed")]
    CheckFailed {
        /// How many.
        failed: usize,
        /// Of how many.
        of: usize,
    },

    /// Reading or writing a file failed.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// A run could not write one of its files.
    #[error("{}: {source}{}", .path.display(), saved(.checkpoint.as_ref()))]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
        /// The last checkpoint written, if there is one.
        checkpoint: Option<PathBuf>,
    },

    /// wgpu refused something; a fault of ours or of the driver.
    #[error("the GPU refused {what}: {message}")]
    Device {
        /// What was being done.
        what: String,
        /// wgpu's message.
        message: String,
    },
}

/// `Result` with this crate's [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The program's exit code for this error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Io { .. } | Error::NotWritten { .. } | Error::CheckFailed { .. } => 1,
            Error::Usage(_) => 2,
            Error::NoAdapter { .. } => 3,
            Error::DoesNotFit { .. } => 4,
            Error::DeviceLost { .. } | Error::Device { .. } | Error::RankLost { .. } => 5,
            Error::Diverged { .. } | Error::NotFinite { .. } => 6,
            Error::BadInput { .. } => 7,
            Error::Interrupted { .. } => 130,
        }
    }

    pub(crate) fn input(what: impl ToString, problem: impl Into<String>) -> Error {
        Error::BadInput { what: what.to_string(), problem: problem.into() }
    }

    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Error {
        Error::Io { path: path.into(), source }
    }
}

fn does_not_fit(what: &str, needed: u64, available: u64, advice: &str) -> String {
    match needed {
        0 => format!("the driver has no memory for {what}: {advice}"),
        _ => format!("{what} needs {needed} bytes and there are {available}; {advice}"),
    }
}

fn no_adapter(wanted: Option<&str>, found: &[String]) -> String {
    let install = "On Debian or Ubuntu a software adapter is installed by `apt-get install mesa-vulkan-drivers`; \
                   `--backend cpu` needs none.";
    match (wanted, found) {
        (None, _) => format!("no GPU adapter was found. {install}"),
        (Some(name), []) => format!("no adapter matches \"{name}\": none was found at all. {install}"),
        (Some(name), found) if found.iter().filter(|other| fits(name, other)).count() > 1 => {
            format!("more than one adapter matches \"{name}\"; --adapter with the index of one names it: {}", found.join(", "))
        }
        (Some(name), found) => format!("no adapter matches \"{name}\"; found: {}", found.join(", ")),
    }
}

/// Whether a name is a part of that of an adapter, which has its index before it.
fn fits(name: &str, found: &str) -> bool {
    let is_index = name.bytes().all(|byte| byte.is_ascii_digit());
    let found = found.split_once(": ").map_or(found, |(_, found)| found);
    !is_index && found.to_lowercase().contains(&name.to_lowercase())
}

pub(crate) fn saved(path: Option<&PathBuf>) -> String {
    path.map_or(String::new(), |p| format!("; the last checkpoint is {}", p.display()))
}

fn last_loss(last: Option<(u64, f32)>) -> String {
    match last {
        Some((step, loss)) => format!("the last finite loss was {loss} at step {step}"),
        None => "no loss before it was finite".into(),
    }
}
