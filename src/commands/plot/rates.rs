//! The figure of `study rates`: the loss at the end of a short training against its rate, and the share of dead units.

use std::path::Path;

use plotters::prelude::*;
use plotters::series::DashedLineSeries;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use retrospect::Result;
use retrospect::study::{Advice, Trained};

use super::lines::{Chart, GREY, axes, line, look, power, titled};
use super::{Canvas, Drawn, ORANGE, TEXT, font};

/// Draws trainings at ascending rates; crosses at the top: those that diverged.
pub fn rates(path: &Path, all: &[Trained], advice: &Advice) -> Result<()> {
    super::write(path, (760, 660), |canvas| {
        let Some(first) = all.first() else { return Ok(()) };
        let title = format!("{}: loss after a short training", first.task);
        let body = titled(canvas, &title, &[first.activation], "×: diverged; thin, dashed: guessing")?;
        let (above, below) = body.split_vertically(400);
        losses(&above, all, advice)?;
        dead(&below, all)
    })
}

fn ends(all: &[Trained]) -> std::ops::Range<f64> {
    all[0].rate.log10() - 0.15..all[all.len() - 1].rate.log10() + 0.15
}

fn losses(canvas: &Canvas, all: &[Trained], advice: &Advice) -> Drawn {
    let end = |t: &Trained| t.score.map(|loss| loss.max(1e-30).log10());
    let known: Vec<f64> = all.iter().filter_map(end).collect();
    let guess = all[0].guess.log10();
    let low = known.iter().copied().fold(guess, f64::min);
    let high = known.iter().copied().fold(guess, f64::max);
    let room = ((high - low) * 0.1).max(0.2);
    // Below all of it there is room for two names.
    let (low, high) = (low - 2.2 * room, high + 2.0 * room);
    let across = ends(all);
    let mut chart = axes(canvas).build_cartesian_2d(across.clone(), low..high)?;
    super::mesh(&mut chart, ["learning rate", "loss on held-out sequences"], [11, 11], [&|x| power(*x), &|y| power(*y)])?;
    chart.draw_series(DashedLineSeries::new([(across.start, guess), (across.end, guess)], 3, 5, GREY.stroke_width(1)))?;
    stretches(&mut chart, all, end)?;
    let diverged = all.iter().filter(|t| end(t).is_none()).map(|t| (t.rate.log10(), high - room / 2.0));
    chart.draw_series(diverged.map(|point| Cross::new(point, 6, ORANGE.stroke_width(3))))?;
    let named = match (advice.steepest, advice.largest_safe) {
        (Some(a), Some(b)) if a == b => vec![(a, "steepest, and the largest safe")],
        (a, b) => a.map(|a| (a, "steepest")).into_iter().chain(b.map(|b| (b, "largest safe"))).collect(),
    };
    for ((rate, name), row) in named.into_iter().zip([1.9, 1.0]) {
        let rate = rate.log10();
        chart.draw_series(DashedLineSeries::new([(rate, low), (rate, high)], 2, 4, BLACK.mix(0.5).stroke_width(1)))?;
        let is_left = rate < (across.start + across.end) / 2.0;
        let (side, beside) = if is_left { (HPos::Left, 0.03) } else { (HPos::Right, -0.03) };
        let style = font(TEXT).pos(Pos::new(side, VPos::Top));
        chart.draw_series([Text::new(name, (rate + beside, low + room * row), style)])?;
    }
    Ok(())
}

fn dead(canvas: &Canvas, all: &[Trained]) -> Drawn {
    let mut chart = axes(canvas).build_cartesian_2d(ends(all), 0.0..1.0)?;
    super::mesh(&mut chart, ["learning rate", "dead units"], [11, 5], [&|x| power(*x), &|y| format!("{:.0} %", y * 100.0)])?;
    stretches(&mut chart, all, |t| t.dead)
}

/// A line with its points for each stretch between trainings that have no such number.
fn stretches<X, Y>(chart: &mut Chart<X, Y>, all: &[Trained], of: impl Fn(&Trained) -> Option<f64>) -> Drawn
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    let look = look(all[0].activation);
    for stretch in all.split(|t| of(t).is_none()) {
        let points: Vec<(f64, f64)> = stretch.iter().filter_map(|t| Some((t.rate.log10(), of(t)?))).collect();
        line(chart, look, points.clone())?;
        chart.draw_series(points.into_iter().map(|point| Circle::new(point, 4, look.0.filled())))?;
    }
    Ok(())
}
