//! `retrospect study activations`.

use clap::Args;
use retrospect::study::{self, Curve};
use retrospect::{Activation, Result};

use super::{Output, moderate};
use crate::commands::compute::ComputeArgs;
use crate::commands::plot;
use crate::commands::sketch;
use crate::commands::terminal::table;

/// Each activation and its derivative over a range, computed as training does, and the facts beside them
#[derive(Args)]
pub struct Activations {
    /// From −X to X
    #[arg(long, value_name = "X", default_value_t = 6.0, allow_negative_numbers = true, value_parser = moderate)]
    range: f64,

    /// Places at which they are evaluated
    #[arg(long, value_name = "N", default_value_t = 1201, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    points: u32,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    compute: ComputeArgs,
}

impl Activations {
    pub fn run(&self) -> Result<()> {
        let compute = self.compute.choose()?;
        let range = [-self.range as f32, self.range as f32];
        let curves = Activation::ALL.map(|activation| study::curve(&compute, activation, range, self.points as usize));
        let curves: Vec<Curve> = curves.into_iter().collect::<Result<_>>()?;
        let rows = curves.iter().flat_map(|curve| {
            let all = curve.inputs.iter().zip(&curve.values).zip(&curve.derivatives);
            all.map(|((x, value), derivative)| format!("{},{x},{value},{derivative}", curve.activation.name()))
        });
        let csv = self.output.csv("activation,input,value,derivative", rows);
        let plot = self.output.plot(|path| plot::activations(path, &curves));
        self.output.print(&curves, || show(&curves, range), [csv, plot])
    }
}

fn show(curves: &[Curve], ends: [f32; 2]) -> String {
    let heading = ["φ", "values", "derivatives", "mean", "saturated", "error of φ", "of φ′"];
    let mut rows = vec![heading.map(String::from).to_vec()];
    for curve in curves {
        let range = |[low, high]: [f32; 2]| format!("{low:.4} to {high:.4}");
        rows.push(vec![
            curve.activation.name().into(),
            range(curve.value_range),
            range(curve.derivative_range),
            // Not −0.
            format!("{:.4}", (curve.mean * 1e4).round() / 1e4 + 0.0),
            format!("{:.2} %", curve.saturated * 100.0),
            format!("{:.2} ULP", curve.error_ulp),
            format!("{:.2} ULP", curve.derivative_error_ulp),
        ]);
    }
    let mut sketches = String::new();
    if sketch::is_wanted() {
        let of = |values: &[f32], most: f64| values.iter().map(|&v| Some(f64::from(v) / most)).collect::<Vec<_>>();
        for c in curves {
            // Values from the least to the greatest, derivatives from nothing.
            let (value, derivative) =
                (sketch::spread(&of(&c.values, 1.0)), sketch::bars(&of(&c.derivatives, c.activation.steepest())));
            sketches += &format!("{:9} φ {value}  φ′ {derivative}\n", c.activation.name());
        }
        sketches += "\n";
    }
    format!(
        "From {} to {}.\n\n{}\n{sketches}mean: of φ over standard normal inputs; an output that is not centred on 0 shifts the sums of the next step.\n\
         saturated: the share of such inputs with a derivative below 0.01, which pass on next to nothing.\n\
         errors: the largest differences of what was computed here from f64, of φ in units of its last place, and of φ′, which is computed\n\
         from φ, in units of the last place of its largest value.\n",
        ends[0],
        ends[1],
        table(&rows)
    )
}
