//! The figures of `study`.

use std::path::Path;

use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::series::DashedLineSeries;
use retrospect::model::RecurrentInit;
use retrospect::study::{Advice, Curve, Flow, Trained};
use retrospect::{Activation, Result};

use super::{BLUE, Canvas, DARK, Drawn, HEADING, ORANGE, TEXT, TITLE, font, number};

const GREY: RGBColor = RGBColor(0x77, 0x77, 0x77);
const SIZE: (u32, u32) = (1060, 520);
/// What the title and the names below it take.
const HEAD: u32 = 76;

/// A colour, the width of a line, and the dashes and gaps of one that is not whole.
type Line = (RGBColor, u32, Option<(u32, u32)>);
const LINES: [Line; 4] = [(DARK, 3, None), (ORANGE, 3, Some((12, 6))), (BLUE, 3, Some((4, 4))), (GREY, 2, None)];

/// How an activation is drawn.
fn look(activation: Activation) -> Line {
    LINES[activation.code() as usize % LINES.len()]
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
            super::mesh(&mut chart, ["x", name], [11, 11], [&|x| number(*x), &|y| number(*y)])?;
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
    super::mesh(
        &mut chart,
        ["steps back", "relative to the last step's"],
        [6, 8],
        [&|x| number(*x), &|y| if y.abs() < 0.5 { "1".into() } else { format!("1e{y:.0}") }],
    )?;
    for flow in flows {
        // The bound, thin, in the colour of what it bounds.
        let (color, ..) = look(flow.activation);
        let bound = (0..=steps).map(|k| (k as f64, k as f64 * flow.bound.log10())).filter(|(_, y)| (low..=high).contains(y));
        chart.draw_series(LineSeries::new(bound, color.mix(0.35).stroke_width(1)))?;
        line(&mut chart, flow.activation, relative(flow).into_iter().map(|(k, y)| (k, y.log10())).collect())?;
    }
    Ok(())
}

/// The loss at the end of a short training against its rate; crosses at the top: those that diverged.
pub fn rates(path: &Path, all: &[Trained], advice: &Advice) -> Result<()> {
    super::write(path, (760, 500), |canvas| {
        let Some(first) = all.first() else { return Ok(()) };
        let body = titled(canvas, &format!("{}: loss after a short training", first.task), &[first.activation], "×: diverged")?;
        let end = |t: &Trained| t.curve.last().filter(|_| t.diverged.is_none()).map(|(_, loss)| loss.max(1e-30).log10());
        let ends: Vec<f64> = all.iter().filter_map(end).collect();
        let guess = first.guess.log10();
        let low = ends.iter().copied().fold(guess, f64::min);
        let high = ends.iter().copied().fold(guess, f64::max);
        let room = ((high - low) * 0.1).max(0.2);
        let (low, high) = (low - room, high + 2.0 * room);
        let ends_of = [first.rate.log10(), all[all.len() - 1].rate.log10()];
        let mut chart = axes(&body).build_cartesian_2d(ends_of[0] - 0.15..ends_of[1] + 0.15, low..high)?;
        super::mesh(&mut chart, ["learning rate", "loss"], [11, 11], [&|x| power(*x), &|y| power(*y)])?;
        chart.draw_series(DashedLineSeries::new([(ends_of[0], guess), (ends_of[1], guess)], 3, 5, GREY.stroke_width(1)))?;
        chart.draw_series([Text::new("guessing", (ends_of[0], guess), font(TEXT).color(&GREY))])?;
        // A line for each stretch between those that diverged.
        for stretch in all.split(|t| end(t).is_none()) {
            let points: Vec<(f64, f64)> = stretch.iter().filter_map(|t| Some((t.rate.log10(), end(t)?))).collect();
            line(&mut chart, first.activation, points.clone())?;
            let (color, ..) = look(first.activation);
            chart.draw_series(points.into_iter().map(|point| Circle::new(point, 4, color.filled())))?;
        }
        let diverged = all.iter().filter(|t| end(t).is_none()).map(|t| (t.rate.log10(), high - room / 2.0));
        chart.draw_series(diverged.map(|point| Cross::new(point, 6, ORANGE.stroke_width(3))))?;
        for (rate, name, place) in [(advice.steepest, "steepest", 0.35), (advice.largest_safe, "largest safe", 0.95)] {
            let Some(rate) = rate else { continue };
            chart.draw_series(DashedLineSeries::new(
                [(rate.log10(), low), (rate.log10(), high)],
                2,
                4,
                BLACK.mix(0.5).stroke_width(1),
            ))?;
            chart.draw_series([Text::new(name, (rate.log10() + 0.03, low + room * place), font(TEXT))])?;
        }
        Ok(())
    })
}

/// The losses of every activation, a row of panels for each task and a column for each initial weight.
pub fn tasks(path: &Path, all: &[Trained]) -> Result<()> {
    let mut names: Vec<&str> = all.iter().map(|t| t.task).collect();
    names.dedup();
    super::write(path, (1200, HEAD + 340 * names.len() as u32), |canvas| {
        let body =
            titled(canvas, "Losses of short trainings, by initial recurrent weight", &Activation::ALL, "thin, dashed: guessing")?;
        for (row, task) in body.split_evenly((names.len(), 1)).iter().zip(&names) {
            for (panel, init) in row.split_evenly((1, RecurrentInit::ALL.len())).iter().zip(RecurrentInit::ALL) {
                let here: Vec<&Trained> = all.iter().filter(|t| t.task == *task && t.init == init).collect();
                losses(panel, &format!("{task}, {}", init.name()), &here)?;
            }
        }
        Ok(())
    })
}

fn losses(canvas: &Canvas, title: &str, all: &[&Trained]) -> Drawn {
    const LEAST: f64 = 1e-6;
    let Some(first) = all.first() else { return Ok(()) };
    let steps = all.iter().flat_map(|t| t.curve.last()).map(|(step, _)| *step).max().unwrap_or(1);
    let guess = first.guess.log10();
    let of =
        |t: &Trained| -> Vec<(f64, f64)> { t.curve.iter().map(|(step, loss)| (*step as f64, loss.max(LEAST).log10())).collect() };
    let values: Vec<f64> = all.iter().flat_map(|t| of(t)).map(|(_, y)| y).collect();
    let low = values.iter().copied().fold(guess - 0.5, f64::min);
    let high = values.iter().copied().fold(guess + 0.3, f64::max).min(guess + 2.0);
    let room = (high - low) * 0.05;
    let (low, high) = (low - room, high + room);
    let mut chart = axes(canvas).caption(title, font(HEADING)).build_cartesian_2d(0.0..steps as f64, low..high)?;
    super::mesh(&mut chart, ["training step", "loss"], [5, 6], [&|x| number(*x), &|y| power(*y)])?;
    chart.draw_series(DashedLineSeries::new([(0.0, guess), (steps as f64, guess)], 3, 5, BLACK.mix(0.5).stroke_width(1)))?;
    for trained in all {
        let inside = of(trained).into_iter().filter(|(_, y)| *y <= high).collect();
        line(&mut chart, trained.activation, inside)?;
    }
    Ok(())
}

/// A number by its logarithm.
fn power(logarithm: f64) -> String {
    let value = 10f64.powf(logarithm);
    if (0.01..1000.0).contains(&value) { format!("{}", (value * 1e3).round() / 1e3) } else { format!("{value:.0e}") }
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
