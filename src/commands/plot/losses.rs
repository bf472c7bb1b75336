//! `loss.svg`: the loss against the step, with what evaluations found.

use std::path::Path;

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use retrospect::Result;
use retrospect::train::Metrics;

use super::{BLUE, Canvas, DARK, Drawn, ORANGE, TEXT, TITLE, font, number, thinned};

const TRAINING: RGBColor = BLUE;
const SMOOTH: RGBColor = DARK;
const VALIDATION: RGBColor = ORANGE;
const SIZE: (u32, u32) = (900, 580);

/// Draws the metrics of a run into its folder; without any there is nothing to draw.
pub fn losses(folder: &Path, metrics: &[Metrics]) -> Result<()> {
    let mut training: Vec<(f64, f64)> = Vec::new();
    let mut validation: Vec<(f64, f64)> = Vec::new();
    for line in metrics {
        match line {
            Metrics::Step { step, loss, .. } => training.push((*step as f64, f64::from(*loss))),
            Metrics::Evaluation { step, validation_loss, .. } => validation.push((*step as f64, *validation_loss)),
            Metrics::Trace { .. } => {}
        }
    }
    if training.is_empty() {
        return Ok(());
    }
    let training = thinned(&training, 2000);
    super::write_in_run(&folder.join("loss.svg"), SIZE, |canvas| draw(canvas, &training, &validation))
}

fn draw(canvas: &Canvas, training: &[(f64, f64)], validation: &[(f64, f64)]) -> Drawn {
    let all = || training.iter().chain(validation);
    let (low, high) = all().fold((f64::INFINITY, 0.0_f64), |(low, high), p| (low.min(p.1), high.max(p.1)));
    // A logarithmic axis has its labels at powers of ten, and none for zero.
    if low > 0.0 && high / low > 20.0 {
        draw_with((low * 0.9..high * 1.1).log_scale(), canvas, training, validation)
    } else {
        let margin = ((high - low) * 0.05).max(1e-9);
        draw_with(low - margin..high + margin, canvas, training, validation)
    }
}

fn draw_with<Y>(y_axis: Y, canvas: &Canvas, training: &[(f64, f64)], validation: &[(f64, f64)]) -> Drawn
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let (head, body) = canvas.split_vertically(46);
    head.draw(&Text::new("Loss during training", (24, 16), font(TITLE)))?;
    let last = training.iter().chain(validation).fold(1.0_f64, |last, p| last.max(p.0));
    let mut chart = ChartBuilder::on(&body)
        .margin(18)
        .margin_right(40)
        .x_label_area_size(48)
        .y_label_area_size(76)
        .build_cartesian_2d(0.0..last, y_axis)?;
    super::mesh(&mut chart, ["training step", "loss"], [11, 11], [&|x| number(*x), &|y| number(*y)])?;
    let sample = |color: RGBAColor, width: u32| {
        move |(x, y): (i32, i32)| PathElement::new(vec![(x, y), (x + 22, y)], color.stroke_width(width))
    };
    chart
        .draw_series(LineSeries::new(training.iter().copied(), TRAINING.mix(0.35).stroke_width(1)))?
        .label("training")
        .legend(sample(TRAINING.mix(0.35), 1));
    chart
        .draw_series(LineSeries::new(smooth(training), SMOOTH.stroke_width(2)))?
        .label("training, smoothed")
        .legend(sample(SMOOTH.to_rgba(), 2));
    if !validation.is_empty() {
        chart
            .draw_series(validation.iter().map(|&p| Circle::new(p, 4, VALIDATION.filled())))?
            .label("validation")
            .legend(|(x, y)| Circle::new((x + 11, y), 4, VALIDATION.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE)
        .border_style(BLACK.mix(0.2))
        .label_font(font(TEXT))
        .margin(10)
        .draw()?;
    Ok(())
}

/// Means over the fiftieth of the points around each.
fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let around = (points.len() / 100).max(1);
    let mean = |i: usize| {
        let near = &points[i.saturating_sub(around)..(i + around + 1).min(points.len())];
        near.iter().map(|p| p.1).sum::<f64>() / near.len() as f64
    };
    points.iter().enumerate().map(|(i, p)| (p.0, mean(i))).collect()
}
