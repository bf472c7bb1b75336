//! The figures of `predict --plot`: predictions beside the truth, and which classes are taken for which.

use std::path::Path;

use ndarray::Array2;
use plotters::prelude::*;
use retrospect::Result;

use super::lines::{HEAD, Line, axes, legend, line};
use super::{BLUE, Canvas, DARK, Drawn, HEADING, ORANGE, TEXT, TITLE, cut, font, whole, width};
use crate::commands::terminal::{rounded, thousands};

/// A column of a sequence.
pub struct Panel {
    /// What is above it.
    pub name: String,
    /// `(time step, value)`.
    pub predicted: Vec<(f64, f64)>,
    /// The same of time steps that read what was predicted of them.
    pub forecast: Vec<(f64, f64)>,
    /// The same, where it is known.
    pub truth: Vec<(f64, f64)>,
}

const PANEL: (u32, u32) = (900, 300);
const TRUTH: Line = (BLUE, 2, None);
const PREDICTED: Line = (ORANGE, 2, Some((7, 4)));
const FORECAST: Line = (DARK, 3, None);

/// Draws the panels, one below the other.
pub fn predictions(path: &Path, panels: &[Panel]) -> Result<()> {
    super::write(path, (PANEL.0, HEAD + PANEL.1 * panels.len() as u32), |canvas| {
        let (head, body) = canvas.split_vertically(HEAD);
        head.draw(&Text::new("Predictions", (24, 16), font(TITLE)))?;
        let any = |line: fn(&Panel) -> &Vec<(f64, f64)>| panels.iter().any(|panel| !line(panel).is_empty());
        let names = [
            (true, (PREDICTED, "predicted")),
            (any(|panel| &panel.forecast), (FORECAST, "from its own predictions")),
            (any(|panel| &panel.truth), (TRUTH, "truth")),
        ];
        let names: Vec<_> = names.into_iter().filter(|(is_there, _)| *is_there).map(|(_, name)| name).collect();
        legend(&head, (24, 56), &names, "")?;
        let places = body.split_evenly((panels.len(), 1));
        places.iter().zip(panels).try_for_each(|(place, panel)| draw(place, panel))
    })
}

fn draw(canvas: &Canvas, panel: &Panel) -> Drawn {
    let all = || panel.truth.iter().chain(&panel.predicted).chain(&panel.forecast);
    let extremes = |of: fn(&(f64, f64)) -> f64| {
        all().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
    };
    let ((first, last), (low, high)) = (extremes(|p| p.0), extremes(|p| p.1));
    let last = if last > first { last } else { first + 1.0 };
    // A constant is a line in the middle.
    let room = if high > low { (high - low) * 0.05 } else { high.abs().max(1.0) * 0.05 };
    let mut chart = axes(canvas).caption(&panel.name, font(HEADING)).build_cartesian_2d(first..last, low - room..high + room)?;
    let value = |y: &f64| if y.abs() < room * 1e-6 { "0".into() } else { signed(*y) };
    super::mesh(&mut chart, ["step", ""], [11, 6], [&whole, &value])?;
    if !panel.truth.is_empty() {
        line(&mut chart, TRUTH, panel.truth.clone())?;
    }
    if !panel.predicted.is_empty() {
        line(&mut chart, PREDICTED, panel.predicted.clone())?;
    }
    line(&mut chart, FORECAST, panel.forecast.clone())
}

/// A number of an axis, of any sign.
fn signed(y: f64) -> String {
    let size = rounded(y.abs(), 5, 1e-3..1e5);
    if y < 0.0 { format!("−{size}") } else { size }
}

/// Draws how often each class, a row, is taken for each, a column; the darker, the larger the share of its row.
pub fn confusions(path: &Path, counts: &Array2<u64>, names: &[String]) -> Result<()> {
    let classes = names.len() as i32;
    let side = (640 / classes).clamp(14, 64);
    let longest = names.iter().map(|name| width(name, TEXT)).max().unwrap_or(0).clamp(40, 200);
    let (left, top) = (longest + 64, 120);
    let size = ((left + side * classes + 40).max(480), top + side * classes + 40);
    super::write(path, (size.0 as u32, size.1 as u32), |canvas| {
        canvas.draw(&Text::new("Which classes are taken for which", (24, 16), font(TITLE)))?;
        canvas.draw(&Text::new("rows: what it is; columns: what it is taken for", (24, 48), font(TEXT)))?;
        for (row, name) in names.iter().enumerate() {
            let all: u64 = counts.row(row).sum();
            let y = top + side * row as i32;
            canvas.draw(&Text::new(cut(name, TEXT, longest), (24, y + side / 2 - 8), font(TEXT)))?;
            for column in 0..names.len() {
                let (x, count) = (left + side * column as i32, counts[[row, column]]);
                let share = count as f64 / all.max(1) as f64;
                let color = if row == column { BLUE } else { ORANGE };
                canvas.draw(&Rectangle::new([(x, y), (x + side, y + side)], color.mix(share).filled()))?;
                canvas.draw(&Rectangle::new([(x, y), (x + side, y + side)], BLACK.mix(0.15).stroke_width(1)))?;
                let text = thousands(count);
                if count > 0 && width(&text, TEXT) < side {
                    let color = if share > 0.6 { WHITE } else { BLACK };
                    let at = (x + (side - width(&text, TEXT)) / 2 + 2, y + side / 2 - 8);
                    canvas.draw(&Text::new(text, at, font(TEXT).color(&color)))?;
                }
            }
        }
        for (column, name) in names.iter().enumerate() {
            let name = cut(name, TEXT, side - 2);
            let at = (left + side * column as i32 + (side - width(&name, TEXT)) / 2, top - 24);
            canvas.draw(&Text::new(name, at, font(TEXT)))?;
        }
        Ok(())
    })
}
