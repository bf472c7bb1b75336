//! The examples, run and compared with what they should come to. `forecast` is in `step.rs`, `amplifier` in the chain of tests.

#[path = "../examples/arrays.rs"]
#[expect(dead_code, reason = "its main")]
mod arrays;
#[path = "../examples/gradient_flow.rs"]
#[expect(dead_code, reason = "its main")]
mod gradient_flow;
#[path = "../examples/own_kernel.rs"]
#[expect(dead_code, reason = "its main")]
mod own_kernel;
#[path = "../examples/own_program.rs"]
#[expect(dead_code, reason = "its main")]
mod own_program;
#[path = "../examples/pytorch_weights.rs"]
#[expect(dead_code, reason = "its main")]
mod pytorch_weights;

use retrospect::Activation;

#[test]
fn an_lstm_learns_from_arrays() {
    let [before, after] = arrays::learn().unwrap();
    assert!(before > 0.6 && after < 0.25, "{before} and {after}");
}

#[test]
fn weights_of_pytorch_give_its_outputs() {
    let difference = pytorch_weights::difference().unwrap();
    assert!(difference < 1e-6, "{difference}");
}

#[test]
fn a_program_gives_the_same_on_both_devices() {
    let [gpu, cpu] = own_program::compute().unwrap();
    let expected = [0.1, 0.2, 0.15, -0.1, 0.3, 0.4, 0.35, -0.3, 0.5, 0.6, 0.55, -0.5].map(f32::tanh);
    let is_near = |found: &[f32]| found.len() == 12 && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(is_near(&gpu) && is_near(&cpu), "{gpu:?}, {cpu:?}, expected {expected:?}");
}

#[test]
fn a_sigmoid_forgets_first() {
    let [tanh, sigmoid, relu] =
        [Activation::Tanh, Activation::Sigmoid, Activation::Relu].map(|activation| gradient_flow::reach(activation).unwrap());
    // A quarter a time step at most.
    assert!(sigmoid < 0.25f64.powi(58) && tanh > 1e-6 && relu > sigmoid, "{tanh:e}, {sigmoid:e}, {relu:e}");
}

#[test]
fn a_kernel_of_ones_own_passes_the_check() {
    let outcomes = own_kernel::check().unwrap();
    let failed: Vec<_> = outcomes.iter().filter(|o| !o.passed).collect();
    let on_gpu = outcomes.iter().filter(|o| o.variant == "rows").count();
    assert!(
        failed.is_empty() && on_gpu > 20 && outcomes.len() > 2 * on_gpu - 10,
        "{} of {}: {failed:?}",
        failed.len(),
        outcomes.len()
    );
}
