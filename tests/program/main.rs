//! The built program as its users meet it: run in a folder of its own.

mod bare;
mod basins;
mod bench;
mod check;
mod constraints;
mod damage;
mod data;
mod errors;
mod folders;
mod following;
mod gradient;
mod improving;
mod losses;
#[cfg(unix)]
mod machine;
mod moved;
mod predict;
mod runs;
mod sample;
mod sequences;
mod sessions;
#[cfg(unix)]
mod signals;
mod study;
mod sweep;
mod tables;
mod tokens;
mod tune;
mod weights;

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The program in `folder`, with none of the caller's choices of adapter.
pub fn command(folder: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_retrospect"));
    command.current_dir(folder).args(line.split_whitespace()).stdin(Stdio::null());
    for variable in ["WGPU_BACKEND", "WGPU_ADAPTER_NAME", "WGPU_POWER_PREF", "RAYON_NUM_THREADS", "RETROSPECT_SIMD", "NO_COLOR"] {
        command.env_remove(variable);
    }
    // What it keeps for the user, on Linux: not the user's own.
    command.env("XDG_CACHE_HOME", folder.join("cache"));
    command
}

/// A shell in `folder` that runs `script`, in which `retrospect` is the program.
pub fn script(folder: &Path, script: &str) -> Command {
    let program = command(folder, "");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("retrospect() {{ \"$PROGRAM\" \"$@\"; }}\n{script}")]);
    shell.env("PROGRAM", program.get_program()).current_dir(folder).stdin(Stdio::null());
    // What it writes into `~` stays in the folder.
    shell.env("HOME", folder);
    set_variables(&mut shell, &program);
    shell
}

/// The program behind what a shell does first, such as `ulimit -n 4`.
#[cfg(unix)]
pub fn command_after(folder: &Path, first: &str, line: &str) -> Command {
    let program = command(folder, line);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{first}\nexec \"$@\""), "sh"]).arg(program.get_program()).args(program.get_args());
    shell.current_dir(folder).stdin(Stdio::null());
    set_variables(&mut shell, &program);
    shell
}

/// Gives a shell the environment that `program` would have.
fn set_variables(shell: &mut Command, program: &Command) {
    for (variable, value) in program.get_envs() {
        match value {
            Some(value) => shell.env(variable, value),
            None => shell.env_remove(variable),
        };
    }
}

/// Its exit code, stdout and stderr. A panic is a failure whatever the code.
pub fn run(folder: &Path, line: &str) -> (i32, String, String) {
    finished(line, command(folder, line).output().expect("the program starts"))
}

/// The same of a finished process.
pub fn finished(line: &str, output: Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(!err.contains("panicked"), "{line}: {err}");
    (output.status.code().unwrap_or(-1), out, err)
}

/// What it writes to stdout when all goes well.
pub fn succeed(folder: &Path, line: &str) -> String {
    let (code, out, err) = run(folder, line);
    assert_eq!(code, 0, "{line}: {err}");
    out
}

/// The same as JSON.
pub fn json(folder: &Path, line: &str) -> serde_json::Value {
    serde_json::from_str(&succeed(folder, line)).unwrap()
}

/// A text of some length with a few words in an order that does not repeat soon.
pub fn text(characters: usize) -> String {
    let words = ["the", "king", "and", "queen", "shall", "speak,", "no", "more.\n", "O", "night!"];
    let mut state = 1_u32;
    let mut text = String::new();
    while text.len() < characters {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text += words[(state >> 24) as usize % words.len()];
        text.push(' ');
    }
    text.truncate(characters);
    text
}
