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
        for (act, tries) in [("lost", 0), ("lost", 2), ("ignored", 1), ("never", 1)] {
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
                // A call that does not come back ends with its process, in whose place the program is started again.
                _ if said.contains("The program is started again") => {
                    assert!(
                        act != "lost" && said.contains("error: the device was lost or did not answer in time: no answer"),
                        "{said}"
                    );
                    assert!(code == Some(0) && training.has_same_bits(&place), "{fault}: {code:?}: {said}");
                    again += 1;
                }
                _ => {
                    let left = format!("The device is opened again. Tries left after this one: {}.", tries - 1);
                    assert!(said.contains(&left) && said.contains("Going on from step "), "{fault}: {said}");
                    assert!(code == Some(0) && training.has_same_bits(&place), "{fault}: {code:?}: {said}");
                    again += 1;
                }
            }
        }
    }
    assert!(again >= 6, "{again} runs went on");
}

/// A device that cannot be opened again is given up after so many tries, and the error is that of the run.
#[test]
fn it_is_tried_so_many_times_at_most() {
    let tools = Tools::build();
    let place = Place::new();
    let (status, said) = place.finish(&mut place.command("gpu", ""));
    assert!(status.is_some_and(|status| status.success()), "{said}");
    // The run goes on to more steps.
    let mut command = place.command("gpu", "--retry-device 2 --steps 9");
    let fault = Fault { kind: "retry".into(), backend: "gpu", call: "vkQueueSubmit".into(), number: 30, act: "gone" };
    tools.plant(&mut command, &fault, "", &place.path("struck"));
    let (status, said) = place.finish(&mut command);
    assert_eq!(status.expect("it ends").code(), Some(5), "{said}");
    let counts = ["The device is opened again.", "It cannot be used: "].map(|text| said.matches(text).count());
    assert_eq!(counts, [2, 2], "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: the device was lost") && last.contains("the last checkpoint is "), "{said}");
}
