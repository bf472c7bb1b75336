//! An event file for TensorBoard: each line of metrics as it is written.
//!
//! The file is a sequence of records, each a length and a message of protocol buffers with their checksums: TensorFlow's `TFRecord` and
//! `Event`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use retrospect::train::{Event, Metrics, Training};
use retrospect::{Error, Result};

use super::terminal::note;

/// What a run tells TensorBoard, if it is asked for.
pub struct Events {
    folder: PathBuf,
    file: Option<EventFile>,
}

impl Events {
    /// Begins a file in the folder of a run, where that is `wanted`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn wanted(wanted: bool, training: &Training) -> Result<Events> {
        let folder = training.folder().to_owned();
        let file = wanted.then(|| EventFile::create(&folder, training.step())).transpose()?;
        Ok(Events { folder, file })
    }

    /// Writes what a run logs. A file that cannot be written ends, and the run goes on.
    pub fn hear(&mut self, event: Event) {
        let Some(file) = &mut self.file else { return };
        let outcome = match event {
            Event::Logged(metrics) => file.add(metrics),
            Event::RolledBack { to, .. } => EventFile::create(&self.folder, to).map(|begun| *file = begun),
            _ => Ok(()),
        };
        if let Err(error) = outcome {
            note(format_args!("{error}; TensorBoard is told no more."));
            self.file = None;
        }
    }
}

/// An event file.
struct EventFile {
    file: File,
    path: PathBuf,
}

impl EventFile {
    /// Begins a file for the training steps behind `step`; what other files of the run have of them does not count any more.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn create(folder: &Path, step: u64) -> Result<EventFile> {
        let now = seconds();
        // A run that goes on within the same second needs another name.
        let name = |place: u32| folder.join(format!("events.out.tfevents.{}.{place}.retrospect", now as u64));
        let open = |path: &PathBuf| OpenOptions::new().create_new(true).write(true).open(path);
        let mut place = 0;
        let (file, path) = loop {
            let path = name(place);
            match open(&path) {
                Ok(file) => break (file, path),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => place += 1,
                Err(source) => return Err(Error::Io { path, source }),
            }
        };
        let mut events = EventFile { file, path };
        events.write(&version(now))?;
        events.write(&start(now, step + 1))?;
        Ok(events)
    }

    /// Adds what a line of metrics has that is a number of the whole run.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn add(&mut self, metrics: &Metrics) -> Result<()> {
        let numbers: Vec<(&str, f32)> = match metrics {
            Metrics::Step { loss, grad_norm, lr, tokens_per_s, .. } => vec![
                ("loss/training", *loss),
                ("gradient norm", *grad_norm),
                ("learning rate", *lr as f32),
                ("tokens per second", *tokens_per_s as f32),
            ],
            Metrics::Evaluation { validation_loss, perplexity, accuracy, .. } => {
                let all = [("loss/validation", Some(*validation_loss)), ("perplexity", *perplexity), ("accuracy", *accuracy)];
                all.into_iter().filter_map(|(name, number)| Some((name, number? as f32))).collect()
            }
            Metrics::Trace { .. } => return Ok(()),
        };
        self.write(&summary(seconds(), metrics.step(), &numbers))
    }

    fn write(&mut self, event: &[u8]) -> Result<()> {
        self.file.write_all(&record(event)).map_err(|source| Error::Io { path: self.path.clone(), source })
    }
}

/// Seconds since 1970.
fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// A record: the length, its checksum, the bytes, and theirs.
fn record(bytes: &[u8]) -> Vec<u8> {
    // So that a checksum of checksums is no special case, as TensorFlow has it.
    let masked = |bytes: &[u8]| crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes();
    let length = (bytes.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), bytes, &masked(bytes)].concat()
}

/// The kinds of fields of protocol buffers.
const VARINT: u8 = 0;
const EIGHT_BYTES: u8 = 1;
const BYTES: u8 = 2;
const FOUR_BYTES: u8 = 5;

/// What comes before the value of a field.
fn key(number: u8, kind: u8) -> u8 {
    number << 3 | kind
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn bytes(number: u8, value: &[u8]) -> Vec<u8> {
    [&[key(number, BYTES)][..], &varint(value.len() as u64), value].concat()
}

/// The time of an event: `Event.wall_time`.
fn time(now: f64) -> Vec<u8> {
    [&[key(1, EIGHT_BYTES)][..], &now.to_le_bytes()].concat()
}

/// `Event.step`.
fn at_step(step: u64) -> Vec<u8> {
    [vec![key(2, VARINT)], varint(step)].concat()
}

/// The first event of a file: `Event.file_version`.
fn version(now: f64) -> Vec<u8> {
    [time(now), bytes(3, b"brain.Event:2")].concat()
}

/// A run begins or goes on: `Event.session_log`. What was logged of this step and later ones does not count any more.
fn start(now: f64, step: u64) -> Vec<u8> {
    [time(now), at_step(step), bytes(7, &[key(1, VARINT), 1])].concat()
}

/// Numbers of a step: `Event.summary`.
fn summary(now: f64, step: u64, numbers: &[(&str, f32)]) -> Vec<u8> {
    let value = |(tag, number): &(&str, f32)| {
        let value = [bytes(1, tag.as_bytes()), vec![key(2, FOUR_BYTES)], number.to_le_bytes().to_vec()].concat();
        bytes(1, &value)
    };
    [time(now), at_step(step), bytes(5, &numbers.iter().flat_map(value).collect::<Vec<u8>>())].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that TensorBoard 2's own `RecordWriter` makes of the same events.
    #[test]
    fn events_are_tensorboard_s() {
        let now = 1_700_000_000.25;
        let numbers = [("loss/training", 0.75), ("learning rate", 0.002)];
        let all = [record(&version(1.5)), record(&start(now, 301)), record(&summary(now, 300, &numbers))].concat();
        let hex: String = all.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c\
             100000000000000095fbfe180900001040fc54d94110ad023a020801cb79b93b\
             3a000000000000001295eae20900001040fc54d94110ac022a2c\
             0a140a0d6c6f73732f747261696e696e67150000403f0a140a0d6c6561726e696e672072617465156f12033b6873155b"
        );
    }

    #[test]
    fn files_of_the_same_second_have_names_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        for step in 0..3 {
            EventFile::create(folder.path(), step).unwrap();
        }
        assert_eq!(folder.path().read_dir().unwrap().count(), 3);
    }
}
