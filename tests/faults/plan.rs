//! Which faults there are: one of each kind at each call of an undisturbed training.

use std::fmt;

use super::tools::Tools;
use super::trial::Training;

/// A fault: what happens, and at which call.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The line of the table that it counts in.
    pub kind: String,
    pub backend: &'static str,
    /// The function of Vulkan; empty for files.
    pub call: String,
    /// Which call of it, counted from 1.
    pub number: usize,
    pub act: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} at call {} {}", self.kind, self.act, self.number, self.call)
    }
}

/// What happens to files, and to which calls.
type FileAct = (&'static str, &'static str, fn(&str) -> bool);

const FILES: [FileAct; 5] = [
    ("files: killed before a call", "before", |_| true),
    ("files: killed after a call", "after", |_| true),
    ("files: the disk is full (ENOSPC)", "ENOSPC", |call| !["open", "read", "unlink"].contains(&call)),
    ("files: the disk is broken (EIO)", "EIO", |_| true),
    ("files: no more files can be opened (EMFILE)", "EMFILE", |call| ["open", "create"].contains(&call)),
];

const GPU: [(&str, &str); 3] = [("the device is lost", "lost"), ("there is no memory", "memory"), ("no answer", "never")];

/// The group of a function of Vulkan.
fn group(function: &str) -> &'static str {
    let is_one_of = |parts: &[&str]| parts.iter().any(|part| function.contains(part));
    if is_one_of(&["QueueSubmit"]) {
        "submit"
    } else if is_one_of(&["Wait", "GetSemaphore", "GetFence"]) {
        "wait"
    } else if is_one_of(&["Mapped", "MapMemory"]) {
        "map"
    } else {
        "creating calls"
    }
}

/// All faults that an undisturbed training shows to be possible, a list for each kind.
pub fn faults(training: &Training, tools: &Tools) -> Vec<Vec<Fault>> {
    let calls = training.calls(tools);
    if training.backend == "gpu" { of_gpu(&calls) } else { of_files(&calls) }
}

fn of_files(calls: &str) -> Vec<Vec<Fault>> {
    let of = |(kind, act, is_struck): &FileAct| {
        let struck = calls.lines().enumerate().filter(|(_, call)| is_struck(call));
        let fault = |(place, _)| Fault { kind: (*kind).into(), backend: "cpu", call: String::new(), number: place + 1, act };
        struck.map(fault).collect()
    };
    FILES.iter().map(of).collect()
}

fn of_gpu(calls: &str) -> Vec<Vec<Fault>> {
    let counts: Vec<(&str, usize)> =
        calls.lines().filter_map(|line| line.split_once(' ')).map(|(name, count)| (name, count.parse().unwrap())).collect();
    let mut all = Vec::new();
    let ignored = ("is never done", "ignored");
    for name in ["creating calls", "submit", "wait", "map"] {
        for (what, act) in GPU.into_iter().chain((name == "submit").then_some(ignored)) {
            let of_group = counts.iter().filter(|(function, _)| group(function) == name);
            let fault = |function: &str, number| Fault {
                kind: format!("GPU, {name}: {what}"),
                backend: "gpu",
                call: function.into(),
                number,
                act,
            };
            all.push(of_group.flat_map(|(function, count)| (1..=*count).map(|number| fault(function, number))).collect());
        }
    }
    all
}

#[test]
fn every_call_is_of_a_group() {
    let calls = "vkCreateBuffer 2\nvkQueueSubmit 1\nvkQueueWaitIdle 1\nvkWaitSemaphores 3\nvkMapMemory 1\nvkCreateInstance 1\n";
    let counts: Vec<usize> = of_gpu(calls).iter().map(Vec::len).collect();
    assert_eq!(counts, [3, 3, 3, 1, 1, 1, 1, 4, 4, 4, 1, 1, 1]);
    let counts: Vec<usize> = of_files("create\nwrite\nopen\nunlink\n").iter().map(Vec::len).collect();
    assert_eq!(counts, [4, 4, 2, 4, 2]);
}
