//! `gradients.svg` of a traced run: for each layer how far the gradient of the last step reaches back, over the training steps, and the
//! shares of saturated and dead units; below, how far a step moves the weights.

use std::collections::BTreeMap;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::colors::colormaps::ViridisRGB;
use retrospect::Result;
use retrospect::train::{LayerFlow, Metrics};

use super::lines::{HEAD, LINES, Line, axes, legend, line, power};
use super::{Canvas, Drawn, HEADING, TEXT, TITLE, font, number, thinned, whole};

const WIDTH: u32 = 1000;
/// What the colours' meaning takes on the right.
const SCALE: u32 = 110;
const MAP: u32 = 330;
const SHARES: u32 = 210;
const UPDATES: u32 = 300;
/// At most so many cells across and from bottom to top.
const CELLS: [usize; 2] = [160, 60];
/// Points of a line, at most: with more its dashes are not seen.
const POINTS: usize = 250;
/// Colours that are told apart; cells of one colour above each other are drawn as one.
const SHADES: f64 = 32.0;

/// Beside [`LINES`].
const FIFTH: Line = (BLACK, 1, Some((2, 3)));

/// Where nothing is left of a gradient.
const NOTHING: RGBColor = RGBColor(0xb8, 0xb8, 0xb8);

/// A traced step.
struct Step<'a> {
    step: f64,
    layers: &'a [LayerFlow],
    updates: &'a BTreeMap<String, Option<f64>>,
}

/// Draws what was traced in a run into its folder; without anything there is nothing to draw.
pub fn tracing(folder: &Path, metrics: &[Metrics]) -> Result<()> {
    let of = |line| match line {
        &Metrics::Trace { step, ref gradients, ref update_to_weight } => {
            Some(Step { step: step as f64, layers: gradients, updates: update_to_weight })
        }
        _ => None,
    };
    let steps: Vec<Step> = metrics.iter().filter_map(of).collect();
    let layers = steps.iter().map(|step| step.layers.len()).min().unwrap_or(0);
    if layers == 0 {
        return Ok(());
    }
    // Cells whose h is not φ of a sum have no share of saturated units.
    let shares = if steps.iter().flat_map(|step| step.layers).any(|layer| layer.saturated.is_some()) { SHARES } else { 0 };
    let height = HEAD + layers as u32 * (MAP + shares) + UPDATES;
    super::write_in_run(&folder.join("gradients.svg"), (WIDTH, height), |canvas| {
        let (head, mut rest) = canvas.split_vertically(HEAD);
        head.draw(&Text::new("Gradients through time, during training".to_owned(), (24, 16), font(TITLE)))?;
        let mut what = "‖∂L/∂h‖ of a loss at the last step, relative to that step's".to_owned();
        let all = || steps.iter().flat_map(|step| step.layers).flat_map(|layer| &layer.norms);
        if all().any(|norm| *norm == Some(0.0)) {
            what += "; grey: nothing";
        }
        if all().any(Option::is_none) {
            what += "; white: f32 ran out";
        }
        head.draw(&Text::new(what, (24, 48), font(TEXT)))?;
        for layer in (0..layers).rev() {
            let (map, below) = rest.split_vertically(MAP);
            let name = if layers > 1 { format!("layer {layer}") } else { String::new() };
            heat_map(&map, &name, &steps, layer)?;
            rest = below;
            if shares > 0 {
                let (here, below) = rest.split_vertically(shares);
                self::shares(&here, &steps, layer)?;
                rest = below;
            }
        }
        updates(&rest, &steps, layers)
    })
}

/// From the first step on; the last has the room that the one before it has.
fn across(steps: &[Step]) -> std::ops::Range<f64> {
    let width = steps.last_chunk().map_or(1.0, |[before, last]| last.step - before.step);
    steps[0].step..steps[steps.len() - 1].step + width.max(1.0)
}

/// The norms of a step relative to the last time step's, as logarithms, as far as they are known; −∞ for nothing.
fn relative(layer: &LayerFlow) -> Vec<f64> {
    let norms: Vec<f64> = layer.norms.iter().map_while(|norm| norm.map(f64::from)).collect();
    let first = norms.first().copied().filter(|first| *first > 0.0);
    first.map_or(vec![f64::NEG_INFINITY; norms.len()], |first| norms.iter().map(|norm| (norm / first).log10()).collect())
}

fn heat_map(canvas: &Canvas, name: &str, steps: &[Step], layer: usize) -> Drawn {
    let every = steps.len().div_ceil(CELLS[0]);
    let columns: Vec<(f64, Vec<f64>)> =
        steps.iter().step_by(every).map(|step| (step.step, relative(&step.layers[layer]))).collect();
    let window = steps.iter().map(|step| step.layers[layer].norms.len()).max().unwrap_or(1).max(1);
    let something = columns.iter().flat_map(|(_, column)| column).filter(|x| x.is_finite());
    let (low, high) = something.fold((-1.0, 0.0), |(low, high): (f64, f64), x| (low.min(*x), high.max(*x)));
    let shade = |x: f64| ((x - low) / (high - low) * SHADES).round() / SHADES;
    let (left, right) = canvas.split_horizontally(WIDTH - SCALE);
    let mut chart = axes(&left).caption(name, font(HEADING)).build_cartesian_2d(across(steps), 0.0..window as f64)?;
    super::mesh(&mut chart, ["training step", "time steps back"], [9, 6], [&whole, &|y| number(*y)])?;

    // What lies between two traced steps is like the first of them.
    let end = across(steps).end;
    let tall = window.div_ceil(CELLS[1]);
    for (i, (from, column)) in columns.iter().enumerate() {
        let to = columns.get(i + 1).map_or(end, |(next, _)| *next);
        let shades: Vec<f64> = column.chunks(tall).map(|near| shade(near.iter().sum::<f64>() / near.len() as f64)).collect();
        let mut bottom = 0;
        for run in shades.chunk_by(|a, b| a == b) {
            let top = (bottom + run.len() * tall).min(column.len());
            let cell = [(*from, bottom as f64), (to, top as f64)];
            let color = if run[0].is_finite() { ViridisRGB.get_color(run[0] as f32) } else { NOTHING };
            chart.draw_series([Rectangle::new(cell, color.filled())])?;
            bottom = top;
        }
    }
    scale(&right, low..high, shade)
}

/// What the colours mean.
fn scale(canvas: &Canvas, range: std::ops::Range<f64>, shade: impl Fn(f64) -> f64) -> Drawn {
    let mut builder = ChartBuilder::on(canvas);
    builder.margin_top(40).margin_bottom(60).margin_right(14).y_label_area_size(64);
    let mut chart = builder.build_cartesian_2d(0.0..1.0, range.clone())?;
    super::mesh(&mut chart, ["", ""], [0, 6], [&|_| String::new(), &|y| power(*y)])?;
    let height = (range.end - range.start) / SHADES;
    let cell = |i: u32| {
        let from = range.start + f64::from(i) * height;
        Rectangle::new([(0.0, from), (1.0, from + height)], ViridisRGB.get_color(shade(from + height / 2.0) as f32).filled())
    };
    chart.draw_series((0..SHADES as u32).map(cell))?;
    Ok(())
}

fn shares(canvas: &Canvas, steps: &[Step], layer: usize) -> Drawn {
    let (head, body) = canvas.split_vertically(26);
    legend(&head, (90, 12), &[(LINES[0], "saturated, φ′ < 0.01"), (LINES[1], "dead: so at every step of every sequence")], "")?;
    let (left, _) = body.split_horizontally(WIDTH - SCALE);
    let mut chart = axes(&left).build_cartesian_2d(across(steps), 0.0..1.0)?;
    super::mesh(&mut chart, ["training step", "share of units"], [9, 3], [&whole, &|y| format!("{:.0} %", y * 100.0)])?;
    let of = |share: fn(&LayerFlow) -> Option<f64>| {
        let known = |step: &Step| Some((step.step, share(&step.layers[layer])?));
        thinned(&steps.iter().filter_map(known).collect::<Vec<_>>(), POINTS)
    };
    line(&mut chart, LINES[0], of(|flow| flow.saturated))?;
    line(&mut chart, LINES[1], of(|flow| flow.dead))
}

/// The weights of the first layer and of the last, and those of the outputs; what else there is, the metrics have.
fn updates(canvas: &Canvas, steps: &[Step], layers: usize) -> Drawn {
    let mut layers = vec![0, layers - 1];
    layers.dedup();
    let mut names: Vec<String> =
        layers.iter().flat_map(|l| [format!("rnn.weight_ih_l{l}"), format!("rnn.weight_hh_l{l}")]).collect();
    names.push("decoder.weight".into());
    let looks: Vec<Line> = LINES.into_iter().chain([FIFTH]).collect();
    let entries: Vec<(Line, &str)> =
        looks.iter().copied().zip(names.iter().map(|name| name.trim_start_matches("rnn."))).collect();
    let (head, body) = canvas.split_vertically(26);
    legend(&head, (90, 12), &entries, "")?;
    let (left, _) = body.split_horizontally(WIDTH - SCALE);
    let of = |name: &str| -> Vec<(f64, f64)> {
        let ratio = |step: &Step| Some((step.step, step.updates.get(name).copied()??)).filter(|(_, ratio)| *ratio > 0.0);
        thinned(&steps.iter().filter_map(ratio).map(|(step, ratio)| (step, ratio.log10())).collect::<Vec<_>>(), POINTS)
    };
    let curves: Vec<Vec<(f64, f64)>> = names.iter().map(|name| of(name)).collect();
    let all = || curves.iter().flatten().map(|(_, ratio)| *ratio);
    let low = all().fold(-3.5, f64::min).max(-12.0);
    let high = all().fold(-2.5, f64::max);
    let mut chart = axes(&left).build_cartesian_2d(across(steps), low - 0.1..high + 0.1)?;
    super::mesh(&mut chart, ["training step", "‖Δw‖ ÷ ‖w‖ of a step"], [9, 6], [&whole, &|y| power(*y)])?;
    for (look, curve) in looks.into_iter().zip(curves) {
        line(&mut chart, look, curve.into_iter().filter(|(_, y)| *y >= low).collect())?;
    }
    Ok(())
}
