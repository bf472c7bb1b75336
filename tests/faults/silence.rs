//! A driver that refuses, fails or never answers: the exit code, and what the message names.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::plan::Fault;
use super::tools::Tools;
use super::trial::Place;

#[test]
fn each_failure_has_its_exit_code_and_names_its_cause() {
    let tools = Tools::build();
    for (call, number, act, code, cause) in [
        ("vkCreateInstance", 1, "lost", 3, "no GPU adapter was found"),
        ("vkCreateInstance", 1, "never", 5, "no answer in 0.5 s to the question which adapters there are"),
        ("vkCreateDevice", 1, "lost", 5, "the GPU refused to open "),
        ("vkCreateDevice", 1, "memory", 4, "the driver has no memory for opening "),
        ("vkCreateDevice", 1, "never", 5, "no answer in 0.5 s to the opening of "),
        ("vkCreateComputePipelines", 10, "lost", 5, "the device was lost"),
        ("vkCreateComputePipelines", 10, "memory", 4, "memory"),
        ("vkCreateComputePipelines", 10, "never", 5, "no answer in 0.5 s to the compilation of "),
        ("vkQueueSubmit", 2, "never", 5, "no answer in 0.5 s to "),
        ("vkWaitSemaphores", 2, "never", 5, "no answer in 0.5 s to a wait"),
        // At the end, when all is done and saved.
        ("vkQueueWaitIdle", 1, "never", 5, "no answer in 0.5 s to the end of its work; the last checkpoint is "),
    ] {
        let place = Place::new();
        let fault = Fault { kind: "silence".into(), backend: "gpu", call: call.into(), number, act };
        let mut command = place.command("gpu", "--device-timeout 0.5");
        tools.plant(&mut command, &fault, "", &place.path("struck"));
        let (status, said) = place.finish(&mut command);
        let last = said.lines().last().unwrap_or_default();
        assert!(place.path("struck").exists() && status.expect("it ends").code() == Some(code), "{fault}: {status:?}: {said}");
        assert!(last.starts_with("error: ") && last.contains(cause), "{fault}: {said}");
    }
}

/// What a driver refuses when all is done and saved is nobody's loss.
#[test]
fn a_refused_end_is_no_panic() {
    let (tools, place) = (Tools::build(), Place::new());
    let fault = Fault { kind: "silence".into(), backend: "gpu", call: "vkQueueWaitIdle".into(), number: 1, act: "memory" };
    let mut command = place.command("gpu", "");
    tools.plant(&mut command, &fault, "", &place.path("struck"));
    let (status, said) = place.finish(&mut command);
    assert!(
        place.path("struck").exists() && status.is_some_and(|status| status.success()) && !said.contains("panicked"),
        "{said}"
    );
}

/// A process that is stopped for longer than the device may take has not waited for it.
#[test]
fn a_stopped_process_has_not_waited() {
    let place = Place::new();
    let (status, said) = place.finish(&mut place.command("gpu", ""));
    assert!(status.is_some_and(|status| status.success()), "{said}");
    let mut command = place.command("gpu", "--device-timeout 1 --steps 10000000");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let send = |signal: &str| assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    // While it is at work on the device, at different points of it.
    for pause in [1000, 130] {
        std::thread::sleep(Duration::from_millis(pause));
        send("-STOP");
        std::thread::sleep(Duration::from_millis(2500));
        send("-CONT");
    }
    std::thread::sleep(Duration::from_secs(1));
    send("-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130), "it was still at work");
}
