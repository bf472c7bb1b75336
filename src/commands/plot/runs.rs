//! The figure of `plot`: a panel for each measure, with a line for each run.

use std::path::Path;

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use retrospect::Result;
use retrospect::train::Metrics;

use super::super::terminal::rounded;
use super::axis::Axis;
use super::lines::{SAMPLE, axes, legend, line, varied};
use super::{Canvas, Drawn, HEADING, TEXT, TITLE, cut_inside, font, spread, thinned, ticks};

type Points = Vec<(f64, f64)>;

const PANEL: (u32, u32) = (900, 300);
/// What the title takes, and each name of a run below it.
const TITLE_HEIGHT: u32 = 50;
const NAME_HEIGHT: u32 = 24;
/// What is free on both sides of the title and the names.
const MARGIN: i32 = 24;
/// What a name has beside the sample of its line.
const NAME_WIDTH: i32 = PANEL.0 as i32 - 2 * MARGIN - SAMPLE - 8;
/// Points of a line, at most: with more its dashes are not seen.
const POINTS: usize = 250;
/// Values that differ by more are drawn by their logarithms.
const WIDE: f64 = 20.0;

/// A measure, and how it is found in a line of metrics.
struct Measure {
    name: &'static str,
    of: fn(&Metrics) -> Option<(u64, f64)>,
}

const MEASURES: [Measure; 4] = [
    Measure {
        name: "training loss",
        of: |line| match line {
            Metrics::Step { step, loss, .. } => Some((*step, f64::from(*loss))),
            _ => None,
        },
    },
    Measure {
        name: "validation loss",
        of: |line| match line {
            Metrics::Evaluation { step, validation_loss, .. } => Some((*step, *validation_loss)),
            _ => None,
        },
    },
    Measure {
        name: "norm of the gradient",
        of: |line| match line {
            Metrics::Step { step, grad_norm, .. } => Some((*step, f64::from(*grad_norm))),
            _ => None,
        },
    },
    Measure {
        name: "learning rate",
        of: |line| match line {
            Metrics::Step { step, lr, .. } => Some((*step, *lr)),
            _ => None,
        },
    },
];

/// Draws the metrics of runs, each with its name.
pub fn runs(path: &Path, runs: &[(String, Vec<Metrics>)]) -> Result<()> {
    let points = |measure: &Measure| -> Vec<Points> {
        let of_run = |(_, metrics): &(String, Vec<Metrics>)| {
            let found = metrics.iter().filter_map(measure.of).map(|(step, value)| (step as f64, value));
            thinned(&found.filter(|(_, value)| value.is_finite()).collect::<Points>(), POINTS)
        };
        runs.iter().map(of_run).collect()
    };
    let panels: Vec<(&str, Vec<Points>)> = MEASURES.iter().map(|measure| (measure.name, points(measure))).collect();
    let panels: Vec<_> = panels.into_iter().filter(|(_, lines)| lines.iter().any(|line| !line.is_empty())).collect();
    let head_height = TITLE_HEIGHT + NAME_HEIGHT * runs.len() as u32;
    super::write(path, (PANEL.0, head_height + PANEL.1 * panels.len() as u32), |canvas| {
        let (head, body) = canvas.split_vertically(head_height);
        head.draw(&Text::new("Training runs", (MARGIN, 16), font(TITLE)))?;
        for (i, (name, _)) in runs.iter().enumerate() {
            let middle = (TITLE_HEIGHT + NAME_HEIGHT * i as u32) as i32 + 8;
            legend(&head, (MARGIN, middle), &[(varied(i), &cut_inside(name, TEXT, NAME_WIDTH))], "")?;
        }
        let last = panels.iter().flat_map(|(_, lines)| lines.iter().flatten()).fold(1.0_f64, |last, p| last.max(p.0));
        let places = body.split_evenly((panels.len(), 1));
        places.iter().zip(&panels).try_for_each(|(place, (name, lines))| draw(place, name, lines, last))
    })
}

fn draw(canvas: &Canvas, name: &str, lines: &[Points], last: f64) -> Drawn {
    let values = || lines.iter().flatten().map(|point| point.1);
    let (low, high) = values().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low > 0.0 && high / low > WIDE {
        let range = spread(values(), 2.0);
        let marks = ticks(&range, 7);
        let label = |y: &f64| if *y >= 1e-3 && *y < 1e4 { super::number(*y) } else { rounded(*y, 2, 1e-3..1e4) };
        draw_with(range.log_scale().with_key_points(marks), &label, canvas, (name, lines, last))
    } else {
        let axis = Axis::around([low, high], 7);
        draw_with(axis.clone(), &|y| axis.label(y), canvas, (name, lines, last))
    }
}

fn draw_with<Y>(y: Y, label: &dyn Fn(&f64) -> String, canvas: &Canvas, (name, lines, last): (&str, &[Points], f64)) -> Drawn
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut builder = axes(canvas);
    builder.caption(name, font(HEADING)).y_label_area_size(90);
    let steps = Axis::of_wholes([0.0, last], 11);
    let mut chart = builder.build_cartesian_2d(steps.clone(), y)?;
    super::mesh(&mut chart, ["training step", ""], [11, 7], [&|x| steps.label(x), &label])?;
    for (i, points) in lines.iter().enumerate().filter(|(_, points)| !points.is_empty()) {
        line(&mut chart, varied(i), points.clone())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{drawn, texts_of};
    use super::*;

    #[test]
    fn runs_have_panels_for_what_they_measured() {
        let step = |step: u64, loss: f32| Metrics::Step {
            step,
            loss,
            grad_norm: loss * 2.0,
            lr: 1e-3,
            tokens_per_s: 1.0,
            ms_per_step: 1.0,
        };
        let validation = |step: u64, validation_loss: f64| Metrics::Evaluation {
            step,
            validation_loss,
            perplexity: None,
            accuracy: None,
            columns: Vec::new(),
        };
        let first = (1..400).map(|k| step(k, 3.0 / k as f32)).collect::<Vec<_>>();
        let second = vec![step(10, 2.0), step(20, f32::NAN), validation(20, 1.0), validation(40, 0.5)];
        let one = drawn(|path| runs(path, &[("first".into(), first.clone())]));
        let names = ["training loss", "norm of the gradient", "learning rate"];
        let texts = texts_of(&one);
        assert!(names.iter().all(|name| texts.iter().any(|text| text == name)), "{texts:?}");
        assert!(!texts.iter().any(|text| text == "validation loss"), "{texts:?}");
        let long = "a run with a name that is much longer than the figure is wide ".repeat(4);
        let both = drawn(|path| runs(path, &[("first".into(), first.clone()), (long.clone(), second.clone())]));
        let texts = texts_of(&both);
        assert!(texts.iter().any(|text| text == "validation loss") && texts.iter().any(|text| text.contains('…')), "{texts:?}");
    }
}
