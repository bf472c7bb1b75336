//! What a machine and its files may be: pipes, names that are no text, numbers that make huge networks, little memory, no such adapter.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use ndarray::Array2;
use retrospect::tensors::Tensors;

use super::errors::expect;
use super::{command, command_after, finished, run, succeed, text};

const SIZES: &str = "--hidden 7 --batch 4 --window 8 --steps 3 --backend cpu";

/// The line behind what a shell does first.
fn after(folder: &Path, first: &str, line: &str) -> (i32, String, String) {
    finished(line, command_after(folder, first, line).output().unwrap())
}

fn pipe(folder: &Path, name: &str) {
    assert!(Command::new("mkfifo").arg(folder.join(name)).status().unwrap().success());
}

#[test]
fn a_pipe_is_read_once_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("text"), text(4000)).unwrap();
    pipe(folder.path(), "pipe");
    let (code, _, err) = after(folder.path(), "cat text >pipe &", &format!("train --text pipe {SIZES} --out run"));
    assert!(code == 0 && err.contains("/pipe, which is not a plain file, until it ends"), "{code}: {err}");
    expect(
        folder.path(),
        &[
            ("train --text text --init pipe --steps 1", 7, "pipe: is not a plain file, and weights are read twice"),
            ("sample pipe", 7, "pipe: is not a plain file, and a run is read twice"),
            ("predict pipe --text text", 7, "pipe: is not a plain file, and a run is read twice"),
        ],
    );
}

/// What a checkpoint or JSON would have to hold is refused before there is a folder; all else works.
#[test]
fn names_that_are_no_text() {
    let folder = tempfile::tempdir().unwrap();
    let name = |bytes: &'static [u8]| OsStr::from_bytes(bytes);
    fs::write(folder.path().join(name(b"caf\xe9.txt")), text(4000)).unwrap();
    let with = |line: &str, name: &OsStr| {
        let output = command(folder.path(), line).arg(name).output().unwrap();
        finished(line, output)
    };
    let (code, _, err) = with(&format!("train {SIZES} --out run --text"), name(b"caf\xe9.txt"));
    assert!(code == 2 && err.contains("as UTF-8"), "{code}: {err}");
    let (code, _, err) = with(&format!("train {SIZES} --json --out"), name(b"q\xe9"));
    assert!(code == 2 && err.contains("names in JSON are UTF-8"), "{code}: {err}");
    let (code, _, err) = with(&format!("train {SIZES} --init"), name(b"w\xe9.safetensors"));
    assert!(code == 7 && err.contains("cannot be read"), "{code}: {err}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was made");

    let (code, _, err) = with(&format!("train {SIZES} --out"), name(b"q\xe9"));
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = with("evaluate", name(b"q\xe9"));
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = with("evaluate --json", name(b"q\xe9"));
    assert!(code == 2 && err.contains("names in JSON are UTF-8"), "{code}: {err}");
    let (code, _, err) = with(&format!("train {SIZES} --out other --init"), name(b"q\xe9"));
    assert!(code == 2 && err.contains("as UTF-8") && !folder.path().join("other").exists(), "{code}: {err}");
}

#[test]
fn an_index_is_no_part_of_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let adapters = super::json(folder.path(), "adapters --json");
    let beyond = adapters.as_array().unwrap().len();
    let first = adapters[0]["name"].as_str().unwrap();
    for index in [beyond, 256, 15] {
        let (code, _, err) = run(folder.path(), &format!("train --steps 1 --adapter {index}"));
        let (wanted, found) = (format!("no adapter matches \"{index}\""), format!("0: {first}"));
        assert!(code == 3 && err.contains(&wanted) && err.contains(&found), "{code}: {err}");
    }
    assert!(!folder.path().join("runs").exists());
}

#[test]
fn a_run_whose_adapter_is_gone_can_go_on_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), "train --hidden 7 --window 8 --steps 3 --backend gpu --out run");
    let elsewhere = |line: &str| {
        let mut command = command(folder.path(), line);
        let none = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];
        finished(line, command.envs(none.map(|name| (name, "/none.json"))).env("WGPU_BACKEND", "vulkan").output().unwrap())
    };
    let (code, _, err) = elsewhere("train --resume run --steps 5");
    assert!(code == 3 && err.contains("which is not here. --backend cpu or --adapter goes on"), "{code}: {err}");
    let (code, _, err) = elsewhere("train --resume run --steps 5 --backend cpu");
    assert!(code == 0 && err.contains("its numbers will differ"), "{code}: {err}");
}

#[test]
fn an_id_that_makes_a_huge_network_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut data = Tensors::new();
    data.insert("tokens", Array2::from_shape_fn((4, 20), |(t, b)| if (t, b) == (1, 2) { 20_000_000 } else { 3_i64 }));
    data.insert("classes", Array2::<i64>::zeros((4, 20)));
    data.write(folder.path().join("tokens")).unwrap();
    let mut data = Tensors::new();
    data.insert("tokens", Array2::<i64>::zeros((4, 20)));
    data.insert("classes", Array2::from_shape_fn((4, 20), |(t, b)| if (t, b) == (1, 2) { 20_000_000 } else { 3_i64 }));
    data.write(folder.path().join("classes")).unwrap();
    expect(
        folder.path(),
        &[
            (
                "train --data tokens --hidden 8 --out run",
                7,
                "tokens: tokens: the largest of 80 ids is 20000000; weights for 20000001",
            ),
            ("train --data classes --hidden 8 --out run", 7, "classes: classes: the largest of 80 ids is 20000000"),
            ("train --layers 1000000 --hidden 16 --out run", 2, "the most are 4096 layers"),
        ],
    );
    assert!(!folder.path().join("run").exists());
}

/// Under a limit of the process: what does not fit is refused with the numbers, and what fits runs.
#[cfg(target_os = "linux")]
#[test]
fn a_limit_of_memory_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("text"), text(4000)).unwrap();
    fs::write(folder.path().join("long"), text(16_000_000)).unwrap();
    fs::File::create(folder.path().join("huge")).unwrap().set_len(1 << 30).unwrap();
    for (limit, line) in [
        (250_000, "train --text text --hidden 2048 --batch 2 --window 8 --steps 1 --backend cpu --out run"),
        (130_000, "train --text long --hidden 8 --batch 2 --window 8 --steps 1 --backend cpu --out run"),
        (600_000, "train --text huge --tokens bytes --hidden 8 --batch 2 --window 8 --steps 1 --backend cpu --out run"),
    ] {
        let (code, _, err) = after(folder.path(), &format!("ulimit -v {limit}"), line);
        assert!(code == 4 && err.contains("bytes and there are"), "{line}: {code}: {err}");
        assert!(!folder.path().join("run").exists());
    }
    let (code, _, err) = after(folder.path(), "ulimit -v 200000", &format!("train --text text {SIZES} --out run"));
    assert_eq!(code, 0, "{err}");
}

/// Where there is no display, drivers do not complain about it; a file in place of a folder for pages is named.
#[test]
fn what_is_missing_is_not_complained_about_by_drivers() {
    let folder = tempfile::tempdir().unwrap();
    let mut adapters = command(folder.path(), "adapters");
    for variable in ["XDG_RUNTIME_DIR", "DISPLAY", "DRI_PRIME", "MESA_VK_DEVICE_SELECT", "NODEVICE_SELECT"] {
        adapters.env_remove(variable);
    }
    let (code, out, said) = finished("adapters", adapters.output().unwrap());
    assert!(code == 0 && out.contains("driver") && !said.contains("XDG_RUNTIME_DIR"), "{said}");
    fs::write(folder.path().join("file"), "").unwrap();
    expect(folder.path(), &[("man file", 2, "file is not a folder; expected one for the pages")]);
}
