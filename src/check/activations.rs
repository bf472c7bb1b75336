//! The activations of an adapter against the host's twins of them: not only how far each value is off but whether, over a thousand
//! neighbouring ones, they are off to one side. Rounding goes either way; a coefficient that is wrong does not. There are two twins: one
//! that rounds each product and each sum, and one that fuses them, as compilers of shaders may.

use super::Outcome;
use super::traps::{quotient_bias, ulp};
use crate::backend::{Backend, Device, Gpu};
use crate::kernels::map::activate;
use crate::program::{Program, Variant};
use crate::{Activation, Result};

/// Ranges of the argument, and values in each.
const RANGES: u32 = 64;
const VALUES: u32 = 1024;

/// How far the mean over a range may be from the nearer twin's, in units of the last place, besides what the adapter's quotients are off
/// to one side. It is chosen: above the 0.39 of Mesa's sigmoid, whose compiler adds in another order, and so that a coefficient that
/// shifts a range by a whole unit is seen.
const SHIFT: f64 = 0.6;

/// Where an activation is neither zero nor constant in f32: a single value has no mean.
fn argument([low, high]: [f32; 2], range: u32, i: u32) -> f32 {
    low + (high - low) * (range * VALUES + i) as f32 / (RANGES * VALUES) as f32
}

/// Holds each activation that rounds, as a variant of the kernel `activate` computes it, to the host's twin.
///
/// # Errors
/// What the device reports.
pub fn check(device: &Device, variant: &'static Variant) -> Result<Vec<Outcome>> {
    let bias = quotient_bias(device)?.abs();
    let mut outcomes = Vec::new();
    for activation in Activation::ALL {
        let Some(ends) = activation.rounds() else { continue };
        let shifts = shifts(device, variant, activation)?;
        let (range, worst) = shifts.into_iter().enumerate().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())).expect("a range");
        let bound = SHIFT + bias;
        let ratio = if worst.is_nan() { f64::INFINITY } else { worst.abs() / bound };
        let from = argument(ends, range as u32, 0);
        let failure = || {
            format!(
                "activate/{}: {activation} from {from} on is off by {worst:.2} units of the last place in the mean",
                variant.name
            )
        };
        let failures = if ratio > 1.0 { vec![failure()] } else { vec![] };
        // In units of the last place, which are at least 2^-24 of a value.
        let (error, bound) = (worst.abs() / 16_777_216.0, bound / 16_777_216.0);
        let shape = format!("{activation}, mean over {VALUES} values");
        outcomes.push(Outcome::new("activate", Some(variant.name), shape, "the host's twin", error, bound, ratio, failures));
    }
    Ok(outcomes)
}

/// The mean difference to the nearer of the host's twins in each range, in units of the last place.
///
/// # Errors
/// What the device reports.
///
/// # Panics
/// When the activation rounds nothing.
pub fn shifts(device: &Device, variant: &'static Variant, activation: Activation) -> Result<Vec<f64>> {
    let ends = activation.rounds().expect("an activation that rounds");
    let mut program = Program::new();
    let (x, out) = (program.matrix("x", RANGES, VALUES), program.matrix("out", RANGES, VALUES));
    activate(&mut program, activation, x, out);
    let mut gpu = Gpu::with_variants(device, &program, &|_| Some(variant))?;
    let arguments: Vec<f32> = (0..RANGES).flat_map(|r| (0..VALUES).map(move |i| argument(ends, r, i))).collect();
    gpu.write(x, &arguments)?;
    gpu.run(0..1)?;
    let got = gpu.read(out)?;
    let mean = |(got, arguments): (&[f32], &[f32])| {
        let shift = |twin: usize| {
            let off = |(&got, &a): (&f32, &f32)| {
                let twin = f64::from(activation.twins(a)[twin]);
                (f64::from(got) - twin) / ulp(twin)
            };
            got.iter().zip(arguments).map(off).sum::<f64>() / f64::from(VALUES)
        };
        let (rounded, fused) = (shift(0), shift(1));
        if fused.abs() < rounded.abs() { fused } else { rounded }
    };
    Ok(got.chunks(VALUES as usize).zip(arguments.chunks(VALUES as usize)).map(mean).collect())
}
