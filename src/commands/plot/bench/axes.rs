//! The axes of a chart, logarithmic both ways.

use std::ops::Range;

use plotters::prelude::*;

use super::{AXIS, MARGIN, PLOT, WIDTH};
use crate::commands::plot::labels::Area;
use crate::commands::plot::{Canvas, Drawn, Place, TEXT, font, number, ticks};

/// Two logarithmic axes.
pub(super) struct Axes {
    pub x: Range<f64>,
    pub y: Range<f64>,
    pub x_ticks: Vec<f64>,
    pub names: [&'static str; 2],
}

impl Axes {
    /// Draws them in the plot that begins at `top`. `series` is told where a point of the plot is, and the area between the axes.
    pub fn draw(self, canvas: &Canvas, top: i32, series: impl FnOnce(&dyn Fn((f64, f64)) -> Place, Area) -> Drawn) -> Drawn {
        let plot = canvas.clone().shrink((MARGIN, top), (WIDTH as i32 - 2 * MARGIN, PLOT));
        let y_ticks = ticks(&self.y, 10);
        let mut chart = ChartBuilder::on(&plot)
            .y_label_area_size(AXIS[0])
            .x_label_area_size(AXIS[1])
            .build_cartesian_2d(self.x.log_scale().with_key_points(self.x_ticks), self.y.log_scale().with_key_points(y_ticks))?;
        let mut mesh = chart.configure_mesh();
        mesh.light_line_style(TRANSPARENT).bold_line_style(BLACK.mix(0.12)).x_desc(self.names[0]).y_desc(self.names[1]);
        mesh.x_label_formatter(&|&x| number(x)).y_label_formatter(&|&y| number(y));
        mesh.label_style(font(TEXT)).axis_desc_style(font(TEXT)).draw()?;
        let (x, y) = chart.plotting_area().get_pixel_range();
        series(&|point| chart.backend_coord(&point), Area(x.start, y.start, x.end, y.end))
    }
}

/// The sizes that are written at an axis over `range`: as many as have room, the last in any case.
pub(super) fn apart(sizes: &[usize], range: &Range<f64>) -> Vec<f64> {
    const LEAST: f64 = 52.0;
    let length = f64::from(WIDTH - AXIS[0]) - 2.0 * f64::from(MARGIN);
    let place = |size: usize| (size as f64 / range.start).ln() / (range.end / range.start).ln() * length;
    let mut kept: Vec<usize> = Vec::new();
    for &size in sizes {
        if kept.last().is_none_or(|&last| place(size) - place(last) >= LEAST) {
            kept.push(size);
        }
    }
    if let (Some(&last), Some(kept)) = (sizes.last(), kept.last_mut()) {
        *kept = last;
    }
    kept.into_iter().map(|size| size as f64).collect()
}
