//! The figure of `study activations`: values and derivatives over the inputs.

use std::path::Path;

use retrospect::study::Curve;
use retrospect::{Activation, Result};

use super::lines::{axes, line, look, titled};
use super::number;

const SIZE: (u32, u32) = (1060, 520);

/// Draws the curves, which have the same inputs.
pub fn activations(path: &Path, curves: &[Curve]) -> Result<()> {
    super::write(path, SIZE, |canvas| {
        let names: Vec<Activation> = curves.iter().map(|curve| curve.activation).collect();
        let body = titled(canvas, "Activations and their derivatives", &names, "")?;
        let parts = body.split_evenly((1, 2));
        for (part, name, of) in [
            (&parts[0], "φ(x)", (|c: &Curve| &c.values) as fn(&Curve) -> &Vec<f32>),
            (&parts[1], "φ′(x)", |c: &Curve| &c.derivatives),
        ] {
            let ends = |curve: &Curve| [curve.inputs[0], curve.inputs[curve.inputs.len() - 1]].map(f64::from);
            let [first, last] = ends(&curves[0]);
            let (low, high) = if name == "φ(x)" { (-1.6, 2.6) } else { (-0.08, 1.2) };
            let mut chart = axes(part).build_cartesian_2d(first..last, low..high)?;
            super::mesh(&mut chart, ["x", name], [11, 11], [&|x| number(*x), &|y| number(*y)])?;
            // Those that coincide with others are the first to be drawn.
            for curve in curves.iter().rev() {
                let points = curve.inputs.iter().zip(of(curve)).map(|(&x, &y)| (f64::from(x), f64::from(y)));
                let inside = points.filter(|(_, y)| (low..=high).contains(y)).collect();
                line(&mut chart, look(curve.activation), inside)?;
            }
        }
        Ok(())
    })
}
