//! A record of when each step ran, as a file that Perfetto and chrome://tracing open: the Trace Event Format's complete events,
//! a process for each network and two rows in each, the host's and the device's.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::backend::{Span, Work};
use crate::program::Program;
use crate::{Error, Result};

/// A trace that is being written. What is not closed is still read by both programs.
#[derive(Debug)]
pub struct Trace {
    out: BufWriter<File>,
    path: PathBuf,
    processes: usize,
    is_empty: bool,
}

const HOST: u32 = 1;
const DEVICE: u32 = 2;

impl Trace {
    /// Begins a file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(path: &Path) -> Result<Trace> {
        let failed = |source| Error::Io { path: path.into(), source };
        let mut out = BufWriter::new(File::create(path).map_err(failed)?);
        out.write_all(b"[").map_err(failed)?;
        Ok(Trace { out, path: path.into(), processes: 0, is_empty: true })
    }

    /// Begins a process: what is written from here on belongs to it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn process(&mut self, name: &str) -> Result<()> {
        self.processes += 1;
        self.event(&json!({ "ph": "M", "name": "process_name", "pid": self.processes, "args": { "name": name } }))?;
        for (thread, name) in [(HOST, "host"), (DEVICE, "steps")] {
            let args = json!({ "name": name });
            self.event(&json!({ "ph": "M", "name": "thread_name", "pid": self.processes, "tid": thread, "args": args }))?;
        }
        Ok(())
    }

    /// Writes spans of a program's steps; `variant` gives the variant of each. Two steps that ran at the same time are one span.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&mut self, spans: &[Span], program: &Program, variant: &dyn Fn(usize) -> Option<&'static str>) -> Result<()> {
        let timed: HashSet<usize> =
            spans.iter().filter_map(|span| if let Work::Step(step) = span.work { Some(step) } else { None }).collect();
        let is_second = |index: usize| program.steps().get(index).is_some_and(|step| step.is_second);
        for span in spans {
            let (thread, name, args) = match span.work {
                Work::Recording => (HOST, "record".to_owned(), json!({})),
                Work::Submitting => (HOST, "submit".to_owned(), json!({})),
                Work::Step(index) => {
                    let step = &program.steps()[index];
                    let name = variant(index).map_or(step.kernel.name.into(), |v| format!("{}/{v}", step.kernel.name));
                    let bindings = step.kernel.bindings.iter().zip(&step.windows);
                    let windows = bindings.map(|(b, w)| format!("{}: {}[{}×{}]", b.name, program.name(*w), w.rows(), w.cols()));
                    let windows = windows.collect::<Vec<_>>().join(", ");
                    let flops = (step.kernel.flops)(step);
                    if is_second(index + 1) && !timed.contains(&(index + 1)) {
                        let args = json!({ "step": index, "with_step": index + 1, "windows": windows, "flops": 2 * flops });
                        (DEVICE, format!("{name}, two at a time"), args)
                    } else {
                        (DEVICE, name, json!({ "step": index, "windows": windows, "flops": flops }))
                    }
                }
            };
            let [ts, dur] = [span.start, span.length].map(|time| time.as_nanos() as f64 / 1e3);
            self.event(&json!({
                "ph": "X", "name": name, "pid": self.processes, "tid": thread, "ts": ts, "dur": dur, "args": args,
            }))?;
        }
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(mut self) -> Result<()> {
        let written = self.out.write_all(b"\n]\n").and_then(|()| self.out.flush());
        written.map_err(|source| Error::Io { path: self.path, source })
    }

    fn event(&mut self, event: &serde_json::Value) -> Result<()> {
        let separator = if std::mem::take(&mut self.is_empty) { "\n" } else { ",\n" };
        write!(self.out, "{separator}{event}").map_err(|source| Error::Io { path: self.path.clone(), source })
    }
}
