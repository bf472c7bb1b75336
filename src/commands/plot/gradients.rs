//! The figure of `study gradients`: the norms over the steps back with their spread and their bounds, the share of saturated units
//! below, and the singular values of the recurrent weights.

use std::path::Path;

use plotters::prelude::*;
use retrospect::Result;
use retrospect::cells::Cell;
use retrospect::flow::Size;
use retrospect::study::Gradients;

use super::lines::{GREY, HEAD, Line, axes, legend, line, look, power, titled_lines, varied};
use super::{Canvas, Drawn, HEADING, font, number, whole};

/// A part of the figure: its name and what it shows.
type Part<'a> = (String, &'a [Gradients]);

const CELL: (u32, u32) = (520, 500);
/// What the share of saturated units takes of it.
const SHARES: u32 = 150;

/// Draws the cells, two in a row, and behind them the singular values.
pub fn gradients(path: &Path, cells: &[Part]) -> Result<()> {
    let rows = (cells.len() + 1).div_ceil(2);
    super::write(path, (2 * CELL.0, HEAD + CELL.1 * rows as u32), |canvas| {
        let lines = Lines::new(cells.iter().flat_map(|(_, cell)| cell.iter()));
        let has_bound = cells.iter().flat_map(|(_, cell)| cell.iter()).any(|gradients| gradients.bound.is_some());
        let besides = if has_bound { "shaded: the spread; thin: at most" } else { "shaded: the spread" };
        let title = "The gradient of each state back through time, for a loss at the last step";
        let body = titled_lines(canvas, title, &lines.entries(), besides)?;
        let places = body.split_evenly((rows, 2));
        for (place, (name, cell)) in places.iter().zip(cells) {
            if cell.iter().all(|gradients| gradients.flow.saturated.is_empty()) {
                norms(place, name, cell, &lines)?;
                continue;
            }
            let (above, below) = place.split_vertically(CELL.1 - SHARES);
            norms(&above, name, cell, &lines)?;
            shares(&below, cell, &lines)?;
        }
        singular(&places[cells.len()], cells)
    })
}

/// What a line is called: the activation of an Elman network, or the cell with what else tells it apart.
pub fn network_name(gradients: &Gradients) -> String {
    match (gradients.activation, gradients.state) {
        (Some(activation), _) if gradients.cell == Cell::usual() => activation.name().into(),
        (Some(activation), _) => format!("{} {activation}", gradients.cell),
        (None, state) => format!("{} {state}", gradients.cell),
    }
}

/// How the networks of a figure are drawn, by their names.
struct Lines(Vec<(String, Line)>);

impl Lines {
    fn new<'a>(all: impl Iterator<Item = &'a Gradients> + Clone) -> Lines {
        // Alone, Elman networks look as in every other figure.
        let is_plain = all.clone().all(|gradients| gradients.cell == Cell::usual());
        let mut names: Vec<(String, Line)> = Vec::new();
        for gradients in all {
            let name = network_name(gradients);
            if !names.iter().any(|(known, _)| *known == name) {
                let place = names.len();
                let plain = gradients.activation.filter(|_| is_plain).map(look);
                names.push((name, plain.unwrap_or_else(|| varied(place))));
            }
        }
        Lines(names)
    }

    fn entries(&self) -> Vec<(Line, &str)> {
        self.0.iter().map(|(name, line)| (*line, name.as_str())).collect()
    }

    fn look(&self, gradients: &Gradients) -> Line {
        let name = network_name(gradients);
        self.0.iter().find(|(known, _)| *known == name).map_or(varied(0), |(_, line)| *line)
    }
}

fn steps(cell: &[Gradients]) -> f64 {
    (cell.iter().map(|gradients| gradients.flow.norms.len()).max().unwrap_or(1).max(2) - 1) as f64
}

fn norms(canvas: &Canvas, name: &str, cell: &[Gradients], lines: &Lines) -> Drawn {
    let steps = steps(cell);
    // Relative to the last step's, so that only the way counts: (back, [mean, low, high]) in logarithms.
    let relative = |gradients: &Gradients| -> Vec<(f64, [f64; 3])> {
        let first = gradients.flow.norms.first().map_or(1.0, |n| n.mean);
        let of = |(back, n): (u32, &Size)| (f64::from(back), [n.mean, n.low, n.high].map(|n| (n / first).log10()));
        (0..).zip(gradients.flow.known()).map(of).filter(|(_, [mean, ..])| mean.is_finite()).collect()
    };
    let curves: Vec<_> = cell.iter().map(|gradients| (gradients, relative(gradients))).collect();
    let all = || curves.iter().flat_map(|(_, points)| points);
    // Logarithms on an even axis: plotters has no labels for so many decades of a logarithmic one.
    let low = all().map(|(_, [mean, ..])| *mean).fold(-1.0, f64::min).max(-40.0);
    let high = all().map(|(_, [.., high])| *high).fold(1.0, f64::max).min(40.0);
    let room = (high - low) * 0.04;
    let (low, high) = (low - room, high + room);
    let mut chart = axes(canvas).caption(name, font(HEADING)).build_cartesian_2d(0.0..steps, low..high)?;
    super::mesh(&mut chart, ["steps back", "relative to the last step's"], [6, 8], [&|x| number(*x), &|y| power(*y)])?;
    for (gradients, points) in &curves {
        let (color, ..) = lines.look(gradients);
        let edge = |which: usize| points.iter().map(move |(k, sizes)| (*k, sizes[which].clamp(low, high)));
        chart.draw_series([Polygon::new(edge(1).chain(edge(2).rev()).collect::<Vec<_>>(), color.mix(0.15))])?;
    }
    for (gradients, points) in curves.iter().rev() {
        // The bound, thin, in the colour of what it bounds.
        let (color, ..) = lines.look(gradients);
        if let Some(bound) = gradients.bound {
            let bound = (0..=steps as u32).map(|k| (f64::from(k), f64::from(k) * bound.log10()));
            chart
                .draw_series(LineSeries::new(bound.filter(|(_, y)| (low..=high).contains(y)), color.mix(0.6).stroke_width(1)))?;
        }
        let means = points.iter().map(|(k, [mean, ..])| (*k, *mean)).filter(|(_, y)| (low..=high).contains(y));
        line(&mut chart, lines.look(gradients), means.collect())?;
    }
    Ok(())
}

fn shares(canvas: &Canvas, cell: &[Gradients], lines: &Lines) -> Drawn {
    let mut chart = axes(canvas).build_cartesian_2d(0.0..steps(cell), 0.0..1.0)?;
    super::mesh(&mut chart, ["steps back", "saturated"], [6, 3], [&|x| number(*x), &|y| format!("{:.0} %", y * 100.0)])?;
    for gradients in cell.iter().rev() {
        let shares = gradients.flow.saturated.iter().enumerate().map(|(back, share)| (back as f64, *share));
        line(&mut chart, lines.look(gradients), shares.collect())?;
    }
    Ok(())
}

fn singular(canvas: &Canvas, panels: &[Part]) -> Drawn {
    const LINE: u32 = 26;
    /// As many names as there is room for.
    const NAMED: usize = 12;
    // In a panel the networks of a cell have the same weights, and their states too.
    let mut all: Vec<(String, &[f64])> = Vec::new();
    for (name, panel) in panels {
        let is_alone = panel.iter().all(|gradients| gradients.cell == panel[0].cell);
        for gradients in panel.iter() {
            let name = if is_alone { name.clone() } else { format!("{}, {name}", gradients.cell) };
            if !all.iter().any(|(known, _)| *known == name) {
                all.push((name, &gradients.singular_values));
            }
        }
    }
    let rows = all.len().min(NAMED).div_ceil(2) as u32;
    let (above, below) = canvas.split_vertically(CELL.1 - rows * LINE - 10);
    let count = all.len();
    let most = all.iter().map(|(_, values)| values.len()).max().unwrap_or(1).max(2);
    let high = all.iter().filter_map(|(_, values)| values.first().copied()).fold(1e-6, f64::max) * 1.1;
    let title = "singular values of W, the largest first";
    let mut chart = axes(&above).caption(title, font(HEADING)).build_cartesian_2d(1.0..most as f64, 0.0..high)?;
    super::mesh(&mut chart, ["", ""], [6, 8], [&whole, &|y| if *y > 0.0 { power(y.log10()) } else { "0".into() }])?;
    // One is where nothing is lost and nothing gained.
    if high > 1.0 {
        chart.draw_series(LineSeries::new([(1.0, 1.0), (most as f64, 1.0)], GREY.mix(0.5).stroke_width(1)))?;
    }
    for (i, (name, values)) in all.into_iter().enumerate() {
        let look = varied(i);
        line(&mut chart, look, (1..).zip(values).map(|(place, value)| (f64::from(place), *value)).collect())?;
        if i < NAMED {
            let at = (90 + (i % 2) as i32 * 210, 12 + (i / 2) as i32 * LINE as i32);
            let more = if i + 1 == NAMED && count > NAMED { "and more" } else { "" };
            legend(&below, at, &[(look, name.as_str())], more)?;
        }
    }
    Ok(())
}
