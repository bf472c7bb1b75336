//! `--retry-device`: a lost device is opened again, and the run ends with the same bits.

use super::plan::Fault;
use super::tools::Tools;
use super::trial::{Place, Training};

/// A device that is lost while the run trains, validates or saves, at calls all over it.
#[test]
fn a_lost_device_is_opened_again() {
    let tools = Tools::build();
    let training = Training::undisturbed("gpu");
    let calls = training.calls(&tools);
    let submissions: usize = calls.lines().find_map(|line| line.strip_prefix("vkQueueSubmit ")).unwrap().parse().unwrap();
    let mut again = 0;
    for number in [submissions / 4, submissions / 2, submissions * 3 / 4, submissions - 1] {
        for (act, tries) in [("lost", 0), ("lost", 2), ("ignored", 1)] {
            let place = Place::new();
            let fault = Fault { kind: "retry".into(), backend: "gpu", call: "vkQueueSubmit".into(), number, act };
            let mut command = place.command("gpu", &format!("--device-timeout 2 --retry-device {tries}"));
            tools.plant(&mut command, &fault, "", &place.path("struck"));
            let (status, said) = place.finish(&mut command);
            let code = status.expect("it ends").code();
            let has_begun = said.contains("the last checkpoint is");
            match (tries, has_begun) {
                (0, _) => assert!(code == Some(5) && !said.contains("opened again"), "{fault}: {code:?}: {said}"),
                // Before there is a checkpoint there is nothing to go on from.
                (_, false) => assert_eq!(code, Some(5), "{fault}: {said}"),
                _ => {
                    let left = format!("The device is opened again; {} more tries are left after this one.", tries - 1);
                    assert!(said.contains(&left) && said.contains("Going on from step "), "{fault}: {said}");
                    assert!(code == Some(0) && training.has_same_bits(&place), "{fault}: {code:?}: {said}");
                    again += 1;
                }
            }
        }
    }
    assert!(again >= 4, "{again} runs went on");
}

/// A device that is lost again each time is given up after so many tries.
#[test]
fn it_is_tried_so_many_times_at_most() {
    let tools = Tools::build();
    let place = Place::new();
    let (status, _) = place.finish(&mut place.command("gpu", ""));
    assert!(status.is_some_and(|status| status.success()));
    // Every device that is opened after the first is refused.
    let fault = |call: &str, number, act| Fault { kind: "retry".into(), backend: "gpu", call: call.into(), number, act };
    let mut command = place.command("gpu", "--retry-device 2 --steps 8");
    tools.plant(&mut command, &fault("vkWaitSemaphores", 3, "memory"), "", &place.path("struck"));
    let (status, said) = place.finish(&mut command);
    let opened = said.matches("The device is opened again").count();
    assert!(matches!(status.unwrap().code(), Some(4 | 5)) && opened <= 2, "{said}");
    assert!(said.contains("the last checkpoint is"), "{said}");
}
