//! An activation and its derivative over a range, by the functions that training uses.

use std::f64::consts::PI;

use serde::Serialize;

use crate::backend::Compute;
use crate::flow::SATURATED;
use crate::kernels::map;
use crate::program::Program;
use crate::{Activation, Result};

/// What is known of an activation.
#[derive(Debug, Clone, Serialize)]
pub struct Curve {
    /// The activation.
    pub activation: Activation,
    /// Where it was evaluated.
    pub inputs: Vec<f32>,
    /// φ there, as the backend computes it.
    pub values: Vec<f32>,
    /// φ′ there, from φ, as the backend computes it.
    pub derivatives: Vec<f32>,
    /// The least and the greatest value.
    pub value_range: [f32; 2],
    /// The least and the greatest derivative.
    pub derivative_range: [f32; 2],
    /// The mean of φ over a standard normal input: 0 where the outputs are centred.
    pub mean: f64,
    /// The share of standard normal inputs with a derivative below 0.01.
    pub saturated: f64,
    /// How far the backend's values are from f64, at most, in units of the last place of f32.
    pub error_ulp: f64,
    /// How far its derivatives are from f64, at most, in units of the last place of the largest derivative: each is computed from the value,
    /// so that in flat parts, where 1 − φ² cancels, more of its own places are lost.
    pub derivative_error_ulp: f64,
}

/// Evaluates an activation at `points` places from `range[0]` to `range[1]`.
///
/// # Errors
/// What the backend reports.
///
/// # Panics
/// With fewer than two points.
pub fn curve(compute: &Compute, activation: Activation, range: [f32; 2], points: usize) -> Result<Curve> {
    assert!(points >= 2, "{points} points");
    let step = f64::from(range[1] - range[0]) / (points - 1) as f64;
    let inputs: Vec<f32> = (0..points).map(|i| (f64::from(range[0]) + i as f64 * step) as f32).collect();
    let mut program = Program::new();
    let [x, value, derivative] = ["x", "value", "derivative"].map(|name| program.matrix(name, 1, points as u32));
    map::activate(&mut program, activation, x, value);
    map::activate_gradient(&mut program, activation, value, derivative);
    let mut backend = compute.load(&program)?;
    backend.write(x, &inputs)?;
    backend.write(derivative, &vec![1.0; points])?;
    backend.run(0..program.len())?;
    let (values, derivatives) = (backend.read(value)?, backend.read(derivative)?);

    let unit = |exact: f64| 2f64.powi((exact.abs().max(f64::from(f32::MIN_POSITIVE)).log2().floor() as i32) - 23);
    let error = |(&x, &got): (&f32, &f32)| {
        let exact: f64 = activation.value(f64::from(x));
        (f64::from(got) - exact).abs() / unit(exact)
    };
    let derivative_error = |(&x, &got): (&f32, &f32)| {
        let exact: f64 = activation.derivative(activation.value(f64::from(x)));
        (f64::from(got) - exact).abs() / unit(activation.steepest())
    };
    Ok(Curve {
        activation,
        value_range: extent(&values),
        derivative_range: extent(&derivatives),
        mean: over_normal(|x| activation.value(x)),
        saturated: over_normal(|x| f64::from(u8::from(activation.derivative(activation.value(x)) < SATURATED))),
        error_ulp: inputs.iter().zip(&values).map(error).fold(0.0, f64::max),
        derivative_error_ulp: inputs.iter().zip(&derivatives).map(derivative_error).fold(0.0, f64::max),
        inputs,
        values,
        derivatives,
    })
}

fn extent(values: &[f32]) -> [f32; 2] {
    values.iter().fold([f32::INFINITY, f32::NEG_INFINITY], |[low, high], &v| [low.min(v), high.max(v)])
}

/// The mean of a function of a standard normal number, by the midpoints of 20,000 strips from −10 to 10.
fn over_normal(of: impl Fn(f64) -> f64) -> f64 {
    const STRIPS: usize = 20_000;
    let width = 20.0 / STRIPS as f64;
    let at = |i: usize| -10.0 + (i as f64 + 0.5) * width;
    (0..STRIPS).map(|i| of(at(i)) * (-at(i) * at(i) / 2.0).exp()).sum::<f64>() * width / (2.0 * PI).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is known of them, from the equations: σ has mean ½ and a derivative of at most ¼, tanh is centred, ReLU's mean is 1/√(2π)
    /// and half of it is flat.
    #[test]
    fn the_facts_are_those_of_the_equations() {
        let of = |activation| curve(&Compute::Cpu(Some(1)), activation, [-8.0, 8.0], 1601).unwrap();
        let [tanh, sigmoid, relu, identity] =
            [Activation::Tanh, Activation::Sigmoid, Activation::Relu, Activation::Identity].map(of);
        assert!((sigmoid.mean - 0.5).abs() < 1e-9 && tanh.mean.abs() < 1e-9 && identity.mean.abs() < 1e-9);
        assert!((relu.mean - 1.0 / (2.0 * PI).sqrt()).abs() < 1e-6, "{}", relu.mean);
        assert_eq!((sigmoid.derivative_range[1], tanh.derivative_range[1]), (0.25, 1.0));
        assert_eq!((relu.derivative_range, identity.derivative_range), ([0.0, 1.0], [1.0, 1.0]));
        assert!((relu.saturated - 0.5).abs() < 1e-3 && identity.saturated == 0.0);
        // 1 − tanh² < 0.01 from |x| = atanh √0.99 = 2.9932 on, where 0.276 % of the normal numbers are; σ′ from 4.5849 on.
        assert!((tanh.saturated - 0.002_76).abs() < 1e-5, "{}", tanh.saturated);
        assert!((sigmoid.saturated - 4.54e-6).abs() < 2e-7, "{}", sigmoid.saturated);
        assert!(
            tanh.error_ulp < 8.0 && sigmoid.error_ulp < 8.0 && relu.error_ulp == 0.0,
            "{} {}",
            tanh.error_ulp,
            sigmoid.error_ulp
        );
    }
}
