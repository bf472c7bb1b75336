//! The comparison of two sets of named tensors, each against the size of the tensor.

use std::collections::BTreeMap;

use ndarray::{ArrayD, Dimension};

/// The tensors that differ by more than `bound` times the largest value of what was expected, and by how much: empty if all agree.
///
/// Against the tensor's largest value and not the element's own: a gradient off by 1e-4 of itself must not hide behind an absolute
/// tolerance, and an element that cancels to nothing carries the rounding of the terms that cancelled.
pub fn mismatches(got: &BTreeMap<String, ArrayD<f64>>, expected: &BTreeMap<String, ArrayD<f64>>, bound: f64) -> Vec<String> {
    let mut found = Vec::new();
    for (name, expected) in expected {
        let Some(got) = got.get(name) else {
            found.push(format!("{name}: missing"));
            continue;
        };
        if got.shape() != expected.shape() {
            found.push(format!("{name}: shape {:?}, expected {:?}", got.shape(), expected.shape()));
            continue;
        }
        let largest = expected.fold(0.0, |a: f64, b| a.max(b.abs()));
        for ((at, g), e) in got.indexed_iter().zip(expected) {
            // Written so that NaN, which compares false with everything, is a mismatch.
            let agrees = (g - e).abs() <= bound * largest;
            if !agrees {
                found.push(format!("{name}{:?}: {g:e}, expected {e:e} (largest {largest:e}, bound {bound:e})", at.slice()));
                break;
            }
        }
    }
    found.extend(got.keys().filter(|name| !expected.contains_key(*name)).map(|name| format!("{name}: not expected")));
    found
}
