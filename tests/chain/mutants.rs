//! Mutants: faults in the shaders, in how steps are cut into dispatches and in recorded programs, each of which the check has to
//! catch by its own machinery. What it does not catch is listed with the reason why it is the same computation.

use std::collections::BTreeMap;

use super::device::{device, device_for, small};
use super::edits::{COPY, EDITS, EQUIVALENT, Edit, VALUE, edit};
use super::fixtures::with_text;
use retrospect::backend::{Backend, Device, Gpu};
use retrospect::check::{activations, kernels as checked};
use retrospect::program::{Cuts, Kernel, Lowered, Piece, Program, Step, Variant};
use retrospect::registry;
use retrospect::{Activation, Error};

fn kernel(name: &str) -> &'static Kernel {
    registry::kernels().into_iter().find(|k| k.name == name).unwrap_or_else(|| panic!("there is no kernel {name}"))
}

fn variant(kernel: &'static Kernel, name: &str) -> &'static Variant {
    kernel.variants.iter().find(|v| v.name == name).unwrap_or_else(|| panic!("{kernel:?} has no {name}"))
}

/// The variant with its text edited. Leaked, like the text of those that are right.
fn edited(of: &Edit) -> &'static Variant {
    let right = variant(kernel(of.kernel), of.variant);
    assert!(
        right.shaders.iter().any(|s| s.wgsl().contains(of.from)),
        "{}: {:?} is not in {}/{}",
        of.name,
        of.from,
        of.kernel,
        of.variant
    );
    let shaders = right.shaders.iter().map(|s| {
        let text: &'static str = s.wgsl().replace(of.from, of.to).leak();
        with_text(s, text)
    });
    Box::leak(Box::new(Variant { shaders: shaders.collect::<Vec<_>>().leak(), ..*right }))
}

/// Sizes at which a device of small bindings cuts every step.
fn cut_sizes(kernel: &Kernel, variant: &Variant) -> &'static [[u32; 3]] {
    if variant.waits {
        // More sequences than there are workgroups for at a time; one, which is waited for.
        &[[82, 12, 3], [3, 16, 30], [1, 12, 9]]
    } else if kernel.name.ends_with("ward") {
        &[[3, 65, 19], [5, 60, 30]]
    } else {
        &[[19, 37, 33], [9, 257, 128], [300, 70, 5], [600, 257, 2], [600, 1, 75]]
    }
}

/// What the check says of a variant: its failures on the sizes of `--quick`, or else where every step is cut, or on a long sum of a tree
/// or of many parts.
/// `None` where no adapter here can run it.
fn failures(kernel: &'static Kernel, variant: &'static Variant) -> Option<Vec<String>> {
    let device = device_for(variant)?;
    let failed_at = |device: &Device, size: [u32; 3]| -> Vec<String> {
        let outcomes = match checked::on_gpu(kernel, variant, &[size], device) {
            // Of workgroups that waited for what nobody writes.
            Err(Error::Device { what, message }) if variant.waits => {
                return vec![format!("{}/{what} was refused: {message}", kernel.name)];
            }
            outcomes => outcomes.unwrap_or_else(|e| panic!("{kernel:?}: {e}")),
        };
        outcomes
            .iter()
            .filter(|o| !o.passed)
            .map(|o| format!("{}: {}", o.shape, o.note.as_deref().unwrap_or("no note")))
            .collect()
    };
    // Those of the first size that has any.
    let failed = |device: &Device, sizes: &[[u32; 3]]| -> Vec<String> {
        sizes.iter().map(|&size| failed_at(device, size)).find(|found| !found.is_empty()).unwrap_or_default()
    };
    let mut found = failed(device, &checked::sizes_of(kernel, true));
    if kernel.name == "activate" {
        let means = activations::check(device, variant).unwrap();
        found.extend(means.iter().filter(|o| !o.passed).filter_map(|o| o.note.clone()));
    }
    if found.is_empty() {
        found = failed(&small(device, 8192, 12_288), cut_sizes(kernel, variant));
    }
    let long = if variant.name == "tree" { [70_001, 3, 2] } else { [3, 5, 9001] };
    Some(if found.is_empty() && matches!(variant.name, "tree" | "tall") { failed(device, &[long]) } else { found })
}

/// All that are not to be found are told at once, in a second.
#[test]
fn every_edit_is_of_a_text_that_there_is() {
    let is_there = |of: &&Edit| variant(kernel(of.kernel), of.variant).shaders.iter().any(|s| s.wgsl().contains(of.from));
    let all = EDITS.iter().chain(EQUIVALENT.iter().map(|(of, _)| of));
    let missing: Vec<String> =
        all.filter(|of| !is_there(of)).map(|of| format!("{} ({}/{})", of.name, of.kernel, of.variant)).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn edits_of_shaders_are_caught() {
    assert!(EDITS.len() >= 60);
    let mut missed = Vec::new();
    for of in EDITS {
        let Some(found) = failures(kernel(of.kernel), edited(of)) else { continue };
        // The failure names the kernel and the variant.
        if !found.iter().any(|note| note.contains(&format!("{}/{}", of.kernel, of.variant)) || note.contains("was")) {
            missed.push(format!("{} ({}/{}): {found:?}", of.name, of.kernel, of.variant));
        }
    }
    assert!(missed.is_empty(), "not caught:\n{}", missed.join("\n"));
}

#[test]
fn equivalent_edits_are_what_they_are_said_to_be() {
    for (of, why) in EQUIVALENT {
        let Some(found) = failures(kernel(of.kernel), edited(of)) else { continue };
        assert!(found.is_empty(), "{} is said to change nothing, since {why}: {found:?}", of.name);
    }
}

/// The numbers in a function's text.
fn numbers(text: &str, function: &str) -> Vec<String> {
    let body = text.split(&format!("fn {function}(")).nth(1).expect("the function").split("\n}").next().expect("its end");
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-' || c == '_';
    let mut found: Vec<String> = body
        .split(|c: char| !is_part(c))
        .map(|word| word.trim_start_matches('-'))
        .filter(|word| word.contains('.') && word.parse::<f64>().is_ok_and(|n| n != 0.0 && n != 0.5 && n != 1.0 && n != 87.0))
        .map(String::from)
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Every coefficient of the activations, off by 1e-4 of itself either way, is caught, unless that moves no value by as much as a unit
/// of the last place, which is seen on the adapter. (The bound of tanh's clamp moves only what is saturated, by up to 2 units, and to where a
/// device that fuses has it anyhow: that cannot be told apart.)
#[test]
fn coefficients_off_by_a_ten_thousandth_are_caught() {
    let right = variant(kernel("activate"), "rows");
    let text = right.shaders[0].wgsl();
    let mut tried = BTreeMap::new();
    for (function, activation) in [("rational_tanh", Activation::Tanh), ("exp_nonpositive", Activation::Sigmoid)] {
        let before = activations::shifts(device(), right, activation).unwrap();
        for number in numbers(&text, function) {
            for by in [1.0 + 1e-4, 1.0 - 1e-4] {
                let to: &'static str = format!("{:e}", number.parse::<f64>().unwrap() * by).leak();
                let from: &'static str = number.clone().leak();
                let mutant = edited(&edit("a coefficient", VALUE, from, to));
                let outcomes = checked::on_gpu(kernel("activate"), mutant, &checked::sizes(true), device()).unwrap();
                let means = activations::check(device(), mutant).unwrap();
                let caught = outcomes.iter().chain(&means).any(|o| !o.passed);
                let after = activations::shifts(device(), mutant, activation).unwrap();
                let moved = before.iter().zip(&after).map(|(b, a)| (a - b).abs()).fold(0.0, f64::max);
                println!("{function}: {from} → {to} moves a mean by {moved:.2} ULP; caught: {caught}");
                assert!(caught || moved < 1.0, "{function}: {from} → {to} moves a mean by {moved} ULP and is not caught");
                *tried.entry((function, caught)).or_insert(0) += 1;
            }
        }
    }
    assert!(tried[&("rational_tanh", true)] >= 20 && tried[&("exp_nonpositive", true)] >= 6, "{tried:?}");
}

/// A fault in how a step becomes dispatches: its name, the kernel and variant, and how that lowers a step now.
type Fault = (&'static str, &'static str, &'static str, fn(&Step, &Cuts) -> Lowered);

fn lowerings() -> Vec<Fault> {
    fn right(kernel_name: &str, name: &str, step: &Step, cuts: &Cuts) -> Lowered {
        (variant(kernel(kernel_name), name).lower)(step, cuts)
    }
    vec![
        ("the last piece is left out", "gemm_nn", "software", |step, cuts| {
            let mut lowered = right("gemm_nn", "software", step, cuts);
            lowered.phases[0].pieces.pop();
            lowered
        }),
        ("the pieces along k do not add", "gemm_tn", "tiled", |step, cuts| {
            let mut lowered = right("gemm_tn", "tiled", step, cuts);
            lowered.phases[0].pieces.iter_mut().for_each(|p| p.scalars[4..8].fill(0));
            lowered
        }),
        ("a workgroup too few", "gemm_nt", "tiled", |step, cuts| {
            let mut lowered = right("gemm_nt", "tiled", step, cuts);
            lowered.phases[0].pieces.iter_mut().for_each(|p| p.grid[1] = p.grid[1].max(2) - 1);
            lowered
        }),
        ("the second operand is the first", "gemm_nn", "tiled", |step, cuts| {
            let mut lowered = right("gemm_nn", "tiled", step, cuts);
            lowered.phases[0].pieces.iter_mut().for_each(|p| p.windows[1] = p.windows[0]);
            lowered
        }),
        ("a piece's window is that of the piece before", "column_sum", "software", |step, cuts| {
            let mut lowered = right("column_sum", "software", step, cuts);
            let pieces = &mut lowered.phases[0].pieces;
            if pieces.len() > 2 {
                pieces[1].windows[0] = pieces[0].windows[0];
            }
            lowered
        }),
        ("time runs forward on the way back", "elman_backward", "tiled", |step, cuts| {
            let mut lowered = right("elman_backward", "tiled", step, cuts);
            for phase in &mut lowered.phases {
                (phase.times.first, phase.times.backward) = (phase.times.first + 1 - phase.times.count, false);
            }
            lowered
        }),
        ("the last time step is lost", "elman_forward", "software", |step, cuts| {
            let mut lowered = right("elman_forward", "software", step, cuts);
            lowered.phases.iter_mut().for_each(|phase| phase.times.count -= 1);
            lowered
        }),
        ("the runs of time in the wrong order", "elman_backward", "software", |step, cuts| {
            let mut lowered = right("elman_backward", "software", step, cuts);
            lowered.phases.reverse();
            lowered
        }),
        ("rows of tokens counted from the piece", "embedding_gradient", "ordered", |step, cuts| {
            let mut lowered = right("embedding_gradient", "ordered", step, cuts);
            lowered.phases[0].pieces.iter_mut().for_each(|p| p.scalars[0..4].fill(0));
            lowered
        }),
        ("the sum of the parts is left out", "gemm_tn", "tall", |step, cuts| {
            let mut lowered = right("gemm_tn", "tall", step, cuts);
            lowered.phases[0].pieces.pop();
            lowered
        }),
        ("the parts of a time step in the wrong places", "elman_forward", "wide", |step, cuts| {
            let mut lowered = right("elman_forward", "wide", step, cuts);
            for phase in &mut lowered.phases {
                let is_part = |piece: &&mut Piece| piece.shader == 0;
                let first = phase.pieces.iter_mut().find(is_part).map(|piece| piece.windows[2]);
                phase.pieces.iter_mut().filter(is_part).for_each(|piece| piece.windows[2] = first.expect("a part"));
            }
            lowered
        }),
        ("the last chunk of time is lost", "elman_backward", "sequence_64", |step, cuts| {
            let mut lowered = right("elman_backward", "sequence_64", step, cuts);
            lowered.phases.iter_mut().for_each(|phase| phase.times.count = phase.times.count.max(2) - 1);
            lowered
        }),
        ("partial norms of the first level only", "norm", "software", |step, cuts| {
            let mut lowered = right("norm", "software", step, cuts);
            let pieces = &mut lowered.phases[0].pieces;
            if pieces.len() > 2 {
                pieces.remove(1);
            }
            lowered
        }),
        ("a part of the norm is lost", "norm", "tree", |step, cuts| {
            let mut lowered = right("norm", "tree", step, cuts);
            let partials = &mut lowered.phases[0].pieces.last_mut().expect("the total").windows[0];
            *partials = partials.slice_rows(0..partials.rows().max(2) - 1);
            lowered
        }),
        ("a part of the rows is lost", "column_sum", "tree", |step, cuts| {
            let mut lowered = right("column_sum", "tree", step, cuts);
            let pieces = &mut lowered.phases[0].pieces;
            if let [.., _, last] = &mut pieces[..] {
                last.windows[0] = last.windows[0].slice_rows(0..last.windows[0].rows().max(2) - 1);
            }
            lowered
        }),
    ]
}

#[test]
fn faults_of_lowering_are_caught() {
    let mut missed = Vec::new();
    for (name, of, on, lower) in lowerings() {
        let mutant = Box::leak(Box::new(Variant { lower, ..*variant(kernel(of), on) }));
        let Some(found) = failures(kernel(of), mutant) else { continue };
        if found.is_empty() {
            missed.push(format!("{name} ({of}/{on})"));
        }
    }
    assert!(missed.is_empty(), "not caught:\n{}", missed.join("\n"));
}

/// A shader that the adapter's compiler refuses is an error that names the kernel, and not a panic.
#[test]
fn a_shader_that_does_not_compile_is_an_error() {
    let broken = edited(&edit("no such variable", COPY, "id.y < params.x.rows", "id.y < rows"));
    let mut program = Program::new();
    (kernel("copy").sample)(&mut program, [3, 5, 1]);
    let error =
        Gpu::with_variants(device(), &program, &|_| Some(broken)).map(|gpu| gpu.description()).expect_err("it is refused");
    assert!(error.to_string().contains("copy/rows"), "{error}");
}
