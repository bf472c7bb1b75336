//! The check of kernels, itself checked: that it holds every kernel in every variant to its definition, also where a step is cut
//! into many pieces, and that it sees what is planted in a CPU function or behind it. Faults in shaders are in `mutants`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use super::device::{device, device_for, small};
use super::faulty::{Fault, Faulty, written};
use retrospect::backend::Compute;
use retrospect::backend::{Backend, Cpu, Device};
use retrospect::cells;
use retrospect::check::{self, Outcome, Scope, kernels as checked, networks};
use retrospect::program::{Kernel, Program, Variant};
use retrospect::registry;

#[track_caller]
fn assert_passed(outcomes: &[Outcome]) {
    let failed: Vec<_> = outcomes.iter().filter(|o| !o.passed).map(|o| (&o.name, &o.variant, &o.shape, &o.note)).collect();
    assert!(!outcomes.is_empty() && failed.is_empty(), "{failed:#?}");
}

/// The whole of `retrospect check`, and that nothing is left out of it.
#[test]
fn the_check_passes_on_the_adapter_and_on_the_cpu() {
    // Those whose workgroups wait for each other are part of it where they can run at the same time.
    let usable = |v: &&Variant| device().has(v.needs) && (!v.waits || device().suits(v));
    let variants = || registry::kernels().into_iter().flat_map(|k| k.variants.iter().filter(usable).map(|v| (k.name, v.name)));
    let on_cpu = || registry::kernels().into_iter().map(|k| (k.name, "cpu"));
    let tables: [(Compute, Vec<_>, &[&str]); 2] = [
        (Compute::Gpu(device().clone()), variants().collect(), &["tiled", "software"]),
        (Compute::Cpu(None), on_cpu().collect(), &["cpu"]),
    ];
    for (compute, expected, sets) in tables {
        let report = check::run(&compute, Scope { all_variants: true, ..Scope::default() }, &mut |_| {}).unwrap();
        assert_passed(&report.results);
        assert!(report.passed);
        let named = |oracle: &str| -> BTreeSet<(&str, &str)> {
            report.results.iter().filter(|o| o.oracle == oracle).map(|o| (&*o.name, &*o.variant)).collect()
        };
        for kernel in expected {
            assert!(["definition", "second run"].iter().all(|oracle| named(oracle).contains(&kernel)), "{kernel:?} is left out");
        }
        for set in sets {
            assert!(
                named("definition").contains(&("training steps", set)) && named("second run").contains(&("training steps", set))
            );
            assert!(named("reference").contains(&("gradient", set)), "{set}");
        }
        assert!(named("reference").contains(&("gradient", "cpu")) && named("finite differences").len() == 1);
        let trained = report.results.iter().filter(|o| o.name == "training steps" && o.oracle == "definition");
        assert_eq!(trained.count(), networks::cases().len());
    }
    // What this adapter has not got the means for runs on another of this machine.
    let missing = |v: &&Variant| !device().has(v.needs);
    for kernel in registry::kernels() {
        for variant in kernel.variants.iter().filter(missing) {
            let Some(other) = device_for(variant) else { continue };
            assert_passed(&checked::on_gpu(kernel, variant, &checked::sizes(false), other).unwrap());
        }
    }
}

/// For sums of up to 32 terms the bounds are not so wide that something could hide: within a factor of 50 of the worst error seen.
#[test]
fn the_bounds_of_short_sums_are_tight() {
    let sums = ["gemm", "column_sum", "embedding_gradient", "norm", "value_loss", "softmax_loss"];
    let recurrences = cells::ALL.iter().map(|cell| cell.name);
    let sums: Vec<&str> = sums.into_iter().chain(recurrences).collect();
    for kernel in registry::kernels().into_iter().filter(|k| sums.iter().any(|sum| k.name.starts_with(sum))) {
        // The norm's terms are the product of the three.
        let sizes = if kernel.name == "norm" {
            [[31, 1, 1], [2, 3, 5], [1, 7, 4], [1, 1, 9]]
        } else {
            [[31, 32, 32], [32, 29, 31], [17, 32, 9], [9, 7, 3]]
        };
        let outcomes = checked::on_cpu(kernel, &sizes, None).unwrap();
        assert_passed(&outcomes);
        let reals = outcomes.iter().filter(|o| o.oracle == "definition" && o.shape.contains("(-1, 1)"));
        let worst = reals.map(|o| o.ratio).fold(0.0, f64::max);
        assert!(worst > 1.0 / 50.0, "{kernel:?}: the worst error is {worst:.4} of its bound");
    }
}

/// Whether a variant is held here. Those whose workgroups wait for each other have tests of their own, and take long to compile: of them one in
/// two cells.
fn is_held(kernel: &Kernel, variant: &Variant) -> bool {
    let waits = variant.name == "persistent_16" && (kernel.name.starts_with("elman") || kernel.name.starts_with("lstm"));
    // Those without run-time checks are the same texts, cut alike.
    variant.checked.is_none() && (!variant.waits || waits)
}

/// With bindings of a few KiB and few workgroups, every step that can be cut is cut into many pieces, and all the same holds.
#[test]
fn cut_into_many_pieces_every_variant_passes() {
    let mut all = BTreeMap::new();
    for kernel in registry::kernels() {
        let recurrence = kernel.name.ends_with("ward");
        for variant in kernel.variants.iter().filter(|v| is_held(kernel, v)) {
            let Some(large) = device_for(variant) else { continue };
            let small = all.entry(&large.adapter.name).or_insert_with(|| small(large, 8192, 12_288));
            let sizes = match variant.name {
                name if name.starts_with("sequence") => [[5, 3, 2], [3, 15, 19], [5, 16, 60]],
                // In the second there are more sequences than workgroups for them.
                _ if variant.waits => [[5, 3, 2], [82, 12, 3], [5, 16, 60]],
                "in place" => [[5, 3, 2], [3, 15, 19], [7, 16, 9]],
                "skinny" if !recurrence => [[5, 37, 65], [8, 257, 128], [3, 300, 70]],
                // In the second the states before and after a time step are not one binding.
                _ if recurrence => [[5, 3, 2], [40, 65, 9], [5, 60, 40]],
                "one" => [[19, 1, 1], [600, 1, 2], [900, 1, 75]],
                _ => [[19, 37, 65], [9, 257, 128], [300, 70, 5]],
            };
            let mut program = Program::new();
            (kernel.sample)(&mut program, sizes[2]);
            let pieces = |device: &Device| (variant.lower)(&program.steps()[0], &device.cuts(&program)).dispatches();
            if kernel.name != "carry" {
                assert!(pieces(small) > pieces(large), "{kernel:?} is not cut");
            }
            assert_passed(&checked::on_gpu(kernel, variant, &sizes, small).unwrap());
        }
    }
}

/// Where a buffer is no larger than a binding, as on Metal and DX12, and holds rows that are no multiple of four: scratch memory, which is
/// cut at multiples of four, has room for what goes through it.
#[test]
fn where_buffers_are_no_larger_than_bindings_everything_fits() {
    let mut all = BTreeMap::new();
    for kernel in registry::kernels().into_iter().filter(|k| k.name.ends_with("ward") || k.name.starts_with("gemm")) {
        for variant in kernel.variants.iter().filter(|v| is_held(kernel, v)) {
            let Some(large) = device_for(variant) else { continue };
            let small = all.entry(&large.adapter.name).or_insert_with(|| small(large, 8192, 8192));
            let sizes = if kernel.name.ends_with("ward") {
                // What waits holds the weight, which must be one binding.
                [[40, 76, 5], [27, 99, 3], if variant.waits { [5, 15, 3] } else { [5, 16, 3] }]
            } else {
                // In the last both sides have room in scratch memory, turned.
                [[26, 76, 300], [75, 27, 259], [5, 11, 65]]
            };
            assert_passed(&checked::on_gpu(kernel, variant, &sizes, small).unwrap());
        }
    }
}

/// A step that does not run, and a value that is off by a ten-thousandth: seen in every kernel and each window that it writes.
#[test]
fn planted_faults_are_seen() {
    for kernel in registry::kernels() {
        let mut program = Program::new();
        (kernel.sample)(&mut program, [19, 37, 5]);
        for place in 0..written(&program.steps()[0]).count() {
            for perturbed in [false, true] {
                let mut load = |program: &Program| -> retrospect::Result<Box<dyn Backend>> {
                    let window = written(&program.steps()[0]).nth(place).expect("a window");
                    let fault = if perturbed { Fault::Perturbed(0, window, 1e-4) } else { Fault::Dropped(0) };
                    let inner = Box::new(Cpu::new(program, Some(1))?);
                    Ok(Box::new(Faulty { inner, fault: Arc::new(Mutex::new(Some(fault))) }))
                };
                let outcomes = checked::check(kernel, None, &[[19, 37, 5]], &mut load).unwrap();
                let seen: Vec<&str> = outcomes.iter().filter(|o| !o.passed).filter_map(|o| o.note.as_deref()).collect();
                let named =
                    seen.iter().any(|note| note.contains(kernel.name) && note.contains(" is ") && note.contains("expected"));
                assert!(named, "{kernel:?}, window {place}, perturbed {perturbed}: {seen:?}");
            }
        }
    }
}
