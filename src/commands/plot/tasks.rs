//! The figure of `study tasks`: the losses on the way, or, where a task was trained at several windows, the scores against those.

use std::path::Path;

use plotters::prelude::*;
use plotters::series::DashedLineSeries;
use retrospect::model::RecurrentInit;
use retrospect::study::Trained;
use retrospect::{Activation, Result};

use super::lines::{HEAD, axes, line, look, power, titled};
use super::{Canvas, Drawn, HEADING, number};

/// Draws a row of panels for each task and a column for each initial weight.
pub fn tasks(path: &Path, all: &[Trained]) -> Result<()> {
    let mut names: Vec<&str> = all.iter().map(|t| t.task).collect();
    names.dedup();
    super::write(path, (1200, HEAD + 340 * names.len() as u32), |canvas| {
        let besides = "thin, dashed: guessing; ×: lost, or not finite";
        let body = titled(canvas, "Short trainings, by initial recurrent weight", &Activation::ALL, besides)?;
        for (row, task) in body.split_evenly((names.len(), 1)).iter().zip(&names) {
            let of_task: Vec<&Trained> = all.iter().filter(|t| t.task == *task).collect();
            let mut windows: Vec<usize> = of_task.iter().map(|t| t.window).collect();
            windows.sort_unstable();
            windows.dedup();
            for (panel, init) in row.split_evenly((1, RecurrentInit::ALL.len())).iter().zip(RecurrentInit::ALL) {
                let here: Vec<&Trained> = of_task.iter().copied().filter(|t| t.init == init).collect();
                let title = format!("{task}, {}", init.name());
                if windows.len() > 1 { scores(panel, &title, &windows, &here)? } else { losses(panel, &title, &here)? }
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
    let mut chart = axes(canvas).caption(title, super::font(HEADING)).build_cartesian_2d(0.0..steps as f64, low..high)?;
    super::mesh(&mut chart, ["training step", "loss"], [5, 6], [&|x| number(*x), &|y| power(*y)])?;
    chart.draw_series(DashedLineSeries::new([(0.0, guess), (steps as f64, guess)], 3, 5, BLACK.mix(0.5).stroke_width(1)))?;
    for trained in all {
        let inside = of(trained).into_iter().filter(|(_, y)| *y <= high).collect();
        line(&mut chart, look(trained.activation), inside)?;
        if trained.score.is_none() {
            let (color, ..) = look(trained.activation);
            let at = (trained.diverged.unwrap_or(steps).min(steps) as f64, high - room);
            chart.draw_series([Cross::new(at, 5, color.stroke_width(2))])?;
        }
    }
    Ok(())
}

fn scores(canvas: &Canvas, title: &str, windows: &[usize], all: &[&Trained]) -> Drawn {
    /// Scores beyond this many times that of guessing are as good as lost.
    const MOST: f64 = 2.5;
    let last = (windows.len() - 1) as f64;
    let place = |t: &Trained| windows.iter().position(|w| *w == t.window).map_or(0.0, |place| place as f64);
    let ratio = |t: &Trained| t.score.map(|score| score / t.guess).filter(|ratio| *ratio <= MOST);
    let high = all.iter().filter_map(|t| ratio(t)).fold(1.2, f64::max) + 0.2;
    let mut chart = axes(canvas).caption(title, super::font(HEADING)).build_cartesian_2d(-0.2..last + 0.2, 0.0..high)?;
    // Windows stand evenly apart, whatever they are.
    let label = |x: &f64| match windows.get(x.round() as usize) {
        Some(window) if (x - x.round()).abs() < 0.01 => number(*window as f64),
        _ => String::new(),
    };
    super::mesh(&mut chart, ["window", "score ÷ guessing"], [windows.len() + 1, 7], [&label, &|y| number(*y)])?;
    chart.draw_series(DashedLineSeries::new([(-0.2, 1.0), (last + 0.2, 1.0)], 3, 5, BLACK.mix(0.5).stroke_width(1)))?;
    for activation in Activation::ALL.into_iter().rev() {
        let here = || all.iter().filter(move |t| t.activation == activation);
        let (color, ..) = look(activation);
        let points: Vec<(f64, f64)> = here().filter_map(|t| Some((place(t), ratio(t)?))).collect();
        line(&mut chart, look(activation), points.clone())?;
        chart.draw_series(points.into_iter().map(|point| Circle::new(point, 3, color.filled())))?;
        // Beside each other.
        let middle = (Activation::ALL.len() - 1) as f64 / 2.0;
        let aside = (f64::from(activation.code()) - middle) * 0.04 * (last + 0.4);
        let lost = here().filter(|t| ratio(t).is_none()).map(|t| (place(t) + aside, high - 0.07));
        chart.draw_series(lost.map(|point| Cross::new(point, 5, color.stroke_width(2))))?;
    }
    Ok(())
}
