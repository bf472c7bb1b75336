//! Data that are opened once for several runs.

use std::path::PathBuf;

use retrospect::Result;
use retrospect::data::{Choice, OpenedData, Options, Reading};
use retrospect::train::Settings;

/// What data are opened by.
#[derive(PartialEq)]
struct Key {
    choice: Choice,
    options: Options,
    reading: Reading,
    /// The run whose vocabulary or columns they are read with.
    init: Option<PathBuf>,
}

/// The data of the last run, for the next one if it reads the same. What is found on the way to the first run is told; of the others it
/// would be the same.
#[derive(Default)]
pub struct DataCache {
    kept: Option<(Key, OpenedData)>,
    is_quiet: bool,
}

impl DataCache {
    /// Without data; `is_quiet` where others have said what they are.
    pub fn new(is_quiet: bool) -> DataCache {
        DataCache { kept: None, is_quiet }
    }

    /// The data of the run before, if they are opened by the same, or else newly opened ones.
    ///
    /// # Errors
    /// What `open` reports.
    pub fn open(
        &mut self,
        (choice, options, reading, init): (&Choice, Options, &Reading, Option<PathBuf>),
        open: impl FnOnce() -> Result<OpenedData>,
    ) -> Result<OpenedData> {
        let key = Key { choice: choice.clone(), options, reading: reading.clone(), init };
        match self.kept.take() {
            Some((kept, opened)) if kept == key => Ok(opened),
            _ => open(),
        }
    }

    /// Keeps the data of a run that is done, and says no more of those that follow.
    pub fn keep(&mut self, settings: &Settings, opened: OpenedData) {
        let Settings { data, reading, init, .. } = settings;
        let key = Key { choice: data.clone(), options: settings.options(), reading: reading.clone(), init: init.clone() };
        (self.kept, self.is_quiet) = (Some((key, opened)), true);
    }

    /// Whether a run has been told of.
    pub fn is_quiet(&self) -> bool {
        self.is_quiet
    }
}
