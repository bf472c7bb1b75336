//! The figures of `study`.

use std::path::Path;

use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::series::DashedLineSeries;
use retrospect::study::{Curve, Flow};
use retrospect::{Activation, Result};

use super::{BLUE, Canvas, DARK, Drawn, HEADING, ORANGE, TEXT, TITLE, font, number};

const GREY: RGBColor = RGBColor(0x77, 0x77, 0x77);
const SIZE: (u32, u32) = (1060, 520);
/// What the title and the names below it take.
const HEAD: u32 = 76;

/// How an activation is drawn: its colour, the width of its line, and the dashes and gaps of one that is not whole.
fn look(activation: Activation) -> (RGBColor, u32, Option<(u32, u32)>) {
    match activation {
        Activation::Tanh => (DARK, 3, None),
        Activation::Sigmoid => (ORANGE, 3, Some((12, 6))),
        Activation::Relu => (BLUE, 3, Some((4, 4))),
        Activation::Identity => (GREY, 2, None),
    }
}

type Chart<'a, 'b, X, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>;

/// A line in an activation's look.
fn line<'a, 'b, X, Y>(chart: &mut Chart<'a, 'b, X, Y>, activation: Activation, points: Vec<(f64, f64)>) -> Drawn
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    let (color, width, dashes) = look(activation);
    let style = color.stroke_width(width);
    match dashes {
        None => chart.draw_series(LineSeries::new(points, style))?,
        Some((dash, gap)) => chart.draw_series(DashedLineSeries::new(points, dash, gap, style))?,
    };
    Ok(())
}

/// Values and derivatives over the inputs.
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
            mesh(&mut chart, "x", name)?;
            for curve in curves {
                let points = curve.inputs.iter().zip(of(curve)).map(|(&x, &y)| (f64::from(x), f64::from(y)));
                line(&mut chart, curve.activation, points.filter(|(_, y)| (low..=high).contains(y)).collect())?;
            }
        }
        Ok(())
    })
}

/// The norms over the steps back, a part of the figure for each gain, each line beside the bound of its activation.
pub fn gradients(path: &Path, flows: &[Flow]) -> Result<()> {
    let mut gains: Vec<f64> = Vec::new();
    for flow in flows {
        if !gains.iter().any(|gain| is_near(*gain, flow.gain)) {
            gains.push(flow.gain);
        }
    }
    let columns = gains.len().clamp(1, 3);
    let rows = gains.len().div_ceil(columns).max(1);
    let width = if columns == 1 { 700 } else { 400 * columns as u32 };
    super::write(path, (width, HEAD + 430 * rows as u32), |canvas| {
        let mut names: Vec<Activation> = flows.iter().map(|flow| flow.activation).collect();
        names.sort_by_key(|activation| activation.code());
        names.dedup();
        let title = "‖∂L/∂h‖ on its way back through time, from a loss at the last step";
        let body = titled(canvas, title, &names, "thin: at most, (γ·‖W‖)ᵏ")?;
        for (part, gain) in body.split_evenly((rows, columns)).iter().zip(&gains) {
            let here: Vec<&Flow> = flows.iter().filter(|flow| is_near(*gain, flow.gain)).collect();
            panel(part, *gain, &here)?;
        }
        Ok(())
    })
}

fn is_near(a: f64, b: f64) -> bool {
    (a / b - 1.0).abs() < 1e-3
}

fn panel(canvas: &Canvas, gain: f64, flows: &[&Flow]) -> Drawn {
    let steps = flows.iter().map(|flow| flow.norms.len()).max().unwrap_or(1).max(2) - 1;
    // Relative to the last step's, so that only the way counts.
    let relative = |flow: &Flow| -> Vec<(f64, f64)> {
        let known = flow.out_of_range.unwrap_or(flow.norms.len());
        let first = flow.norms.first().map_or(1.0, |n| n.mean);
        (0..known).map(|back| (back as f64, flow.norms[back].mean / first)).filter(|(_, y)| *y > 0.0).collect()
    };
    let all: Vec<f64> = flows.iter().flat_map(|flow| relative(flow)).map(|(_, y)| y).collect();
    // Logarithms on an even axis: plotters has no labels for so many decades of a logarithmic one.
    let low = all.iter().copied().fold(0.1, f64::min).max(1e-40).log10();
    let high = all.iter().copied().fold(10.0, f64::max).min(1e40).log10();
    let room = (high - low) * 0.04;
    let (low, high) = (low - room, high + room);
    let mut chart = axes(canvas)
        .caption(format!("‖W‖ = {}", number(gain)), font(HEADING))
        .build_cartesian_2d(0.0..steps as f64, low..high)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.12))
        .x_desc("steps back")
        .y_desc("relative to the last step's")
        .x_labels(6)
        .y_labels(8)
        .x_label_formatter(&|x| number(*x))
        .y_label_formatter(&|y| if y.abs() < 0.5 { "1".into() } else { format!("1e{y:.0}") })
        .label_style(font(TEXT))
        .axis_desc_style(font(TEXT))
        .draw()?;
    for flow in flows {
        // The bound, thin, in the colour of what it bounds.
        let (color, ..) = look(flow.activation);
        let bound = (0..=steps).map(|k| (k as f64, k as f64 * flow.bound.log10())).filter(|(_, y)| (low..=high).contains(y));
        chart.draw_series(LineSeries::new(bound, color.mix(0.35).stroke_width(1)))?;
        line(&mut chart, flow.activation, relative(flow).into_iter().map(|(k, y)| (k, y.log10())).collect())?;
    }
    Ok(())
}

/// A title, and below it what each line is; gives what is left.
fn titled<'a>(
    canvas: &Canvas<'a>,
    title: &str,
    names: &[Activation],
    besides: &str,
) -> std::result::Result<Canvas<'a>, Box<dyn std::error::Error>> {
    const SAMPLE: i32 = 34;
    let (head, body) = canvas.split_vertically(HEAD);
    head.draw(&Text::new(title.to_owned(), (24, 16), font(TITLE)))?;
    let (mut x, y) = (24, 56);
    for &activation in names {
        let (color, width, dashes) = look(activation);
        let (dash, gap) = dashes.unwrap_or((SAMPLE as u32, 0));
        head.draw(&DashedPathElement::new(vec![(x, y), (x + SAMPLE, y)], dash, gap, color.stroke_width(width)))?;
        head.draw(&Text::new(activation.name(), (x + SAMPLE + 8, y - 8), font(TEXT)))?;
        x += SAMPLE + 30 + super::width(activation.name(), TEXT);
    }
    head.draw(&Text::new(besides.to_owned(), (x, y - 8), font(TEXT)))?;
    Ok(body)
}

fn axes<'a, 'b>(canvas: &'a Canvas<'b>) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut builder = ChartBuilder::on(canvas);
    builder.margin(14).x_label_area_size(46).y_label_area_size(76);
    builder
}

fn mesh<'a, 'b, X, Y>(chart: &mut Chart<'a, 'b, X, Y>, x: &str, y: &str) -> Drawn
where
    'b: 'a,
    X: Ranged<ValueType = f64> + plotters::coord::ranged1d::ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + plotters::coord::ranged1d::ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.12))
        .x_desc(x)
        .y_desc(y)
        .x_label_formatter(&|x| number(*x))
        .y_label_formatter(&|y| number(*y))
        .label_style(font(TEXT))
        .axis_desc_style(font(TEXT))
        .draw()?;
    Ok(())
}
