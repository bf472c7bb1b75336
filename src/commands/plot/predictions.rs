//! The figure of `predict --plot` of values: predictions beside the truth.

use std::path::Path;

use plotters::prelude::*;
use retrospect::Result;

use super::axis::Axis;
use super::lines::{Chart, HEAD, Line, axes, legend, line};
use super::{BLUE, Canvas, DARK, Drawn, HEADING, Look, ORANGE, TITLE, cut, font};

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
    /// The lowest and the highest of several quantiles that are predicted; none where there is one prediction alone.
    pub band: Vec<(f64, [f64; 2])>,
}

/// What a band of quantiles is called, and how it is drawn.
const BAND: (Line, &str) = ((RGBColor(0xf8, 0xd9, 0xc6), 10, None), "between the outer quantiles");

const PANEL: (u32, u32) = (900, 300);
/// Up to so many time steps have points on their lines.
const FEW: f64 = 20.0;
const FORECAST: &str = "from its own predictions";

/// How a line is drawn, what its points are and what it is called.
struct Kind {
    line: Line,
    point: Look,
    name: &'static str,
    of: fn(&Panel) -> &Vec<(f64, f64)>,
}

/// From the lowest to the topmost; each leaves the points below it to be seen.
const KINDS: [Kind; 3] = [
    Kind {
        line: (BLUE, 2, None),
        point: Look { color: BLUE, light: true, shape: (4, 45.0) },
        name: "truth",
        of: |panel| &panel.truth,
    },
    Kind {
        line: (ORANGE, 2, Some((7, 4))),
        point: Look { color: ORANGE, light: false, shape: (3, -90.0) },
        name: "predicted",
        of: |panel| &panel.predicted,
    },
    Kind {
        line: (DARK, 3, None),
        point: Look { color: DARK, light: false, shape: (0, 0.0) },
        name: FORECAST,
        of: |panel| &panel.forecast,
    },
];

/// Draws the panels, one below the other; `part` says of what they are but a part.
pub fn predictions(path: &Path, panels: &[Panel], part: &str) -> Result<()> {
    super::write(path, (PANEL.0, HEAD + PANEL.1 * panels.len() as u32), |canvas| {
        let (head, body) = canvas.split_vertically(HEAD);
        let colon = if part.is_empty() { "" } else { ": " };
        head.draw(&Text::new(format!("Predictions{colon}{part}"), (24, 16), font(TITLE)))?;
        let kinds: Vec<&Kind> = KINDS.iter().filter(|kind| panels.iter().any(|panel| !(kind.of)(panel).is_empty())).collect();
        let mut names: Vec<_> = kinds.iter().map(|kind| (kind.line, kind.name)).collect();
        names.extend(panels.iter().any(|panel| !panel.band.is_empty()).then_some(BAND));
        let middles = legend(&head, (24, 56), &names, "")?;
        let all: Vec<[Axis; 2]> = panels.iter().map(axes_of).collect();
        if panels.iter().any(has_few) {
            kinds.iter().zip(middles).try_for_each(|(kind, middle)| kind.point.point(&head, middle))?;
        }
        // One below the other, they begin at the same place.
        let left = all.iter().map(|[_, y]| y.width() + 24).fold(76, i32::max);
        let places = body.split_evenly((panels.len(), 1));
        places.iter().zip(panels).zip(all).try_for_each(|((place, panel), axes)| draw(place, panel, axes, left))
    })
}

/// The points of a panel that can be drawn.
fn points(panel: &Panel) -> impl Iterator<Item = (f64, f64)> {
    let band = panel.band.iter().flat_map(|&(step, ends)| ends.map(|end| (step, end)));
    KINDS.iter().flat_map(|kind| (kind.of)(panel)).copied().chain(band).filter(|point| point.1.is_finite())
}

fn extremes(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let [low, high] = values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], v| [low.min(v), high.max(v)]);
    if low <= high { [low, high] } else { [0.0, 1.0] }
}

fn has_few(panel: &Panel) -> bool {
    let [first, last] = extremes(points(panel).map(|point| point.0));
    last - first < FEW
}

fn axes_of(panel: &Panel) -> [Axis; 2] {
    let steps = extremes(points(panel).map(|point| point.0));
    let most = if steps[1] < 1e6 { 11 } else { 6 };
    [Axis::of_wholes(steps, most), Axis::around(extremes(points(panel).map(|point| point.1)), 6)]
}

fn draw(canvas: &Canvas, panel: &Panel, [x, y]: [Axis; 2], left: i32) -> Drawn {
    let name = cut(&panel.name, HEADING, PANEL.0 as i32 - 60);
    let mut builder = axes(canvas);
    builder.caption(name, font(HEADING)).y_label_area_size(left);
    let mut chart: Chart<Axis, Axis> = builder.build_cartesian_2d(x.clone(), y.clone())?;
    super::mesh(&mut chart, ["step", ""], [11, 6], [&|at| x.label(at), &|at| y.label(at)])?;
    for part in panel.band.split(|(_, ends)| !ends.iter().all(|end| end.is_finite())).filter(|part| !part.is_empty()) {
        let side = |end: usize| part.iter().map(move |(step, ends)| (*step, ends[end]));
        let around = side(0).chain(side(1).collect::<Vec<_>>().into_iter().rev()).collect::<Vec<_>>();
        chart.draw_series([Polygon::new(around, BAND.0.0)])?;
    }
    for kind in &KINDS {
        for part in (kind.of)(panel).split(|point| !point.1.is_finite()).filter(|part| !part.is_empty()) {
            line(&mut chart, kind.line, part.to_vec())?;
        }
    }
    if has_few(panel) {
        for kind in &KINDS {
            // The line of a forecast begins at a prediction, which has its point.
            let others = usize::from(kind.name == FORECAST && !panel.predicted.is_empty());
            for point in (kind.of)(panel).iter().skip(others).filter(|point| point.1.is_finite()) {
                let (x, y) = chart.plotting_area().map_coordinate(point);
                let (left, top) = canvas.get_base_pixel();
                kind.point.point(canvas, (x - left, y - top))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{drawn, texts_of};
    use super::*;

    fn panel(truth: &[f64], predicted: &[f64]) -> Panel {
        let points = |values: &[f64]| values.iter().enumerate().map(|(step, value)| (step as f64, *value)).collect();
        Panel { name: "flow".into(), predicted: points(predicted), forecast: Vec::new(), truth: points(truth), band: Vec::new() }
    }

    /// The texts of a figure of a panel after its head and legend, and how many triangles it has, those of predictions.
    fn texts(panel: Panel) -> (Vec<String>, usize) {
        let svg = drawn(|path| predictions(path, &[panel], "1 of 3 columns"));
        let texts = texts_of(&svg);
        assert_eq!(texts[..3], ["Predictions: 1 of 3 columns", "truth", "predicted"]);
        (texts[3..].to_vec(), svg.matches("<polygon").count())
    }

    #[test]
    fn every_one_of_a_few_steps_has_a_label_and_points() {
        for steps in 1..=10 {
            let values: Vec<f64> = (0..steps).map(|step| f64::from(step) + 0.25).collect();
            let (texts, points) = texts(panel(&values, &values));
            for step in 0..steps {
                assert!(texts.contains(&step.to_string()), "{steps}: {texts:?}");
            }
            // One of the truth and one that is predicted, and one of each in the legend.
            assert_eq!(points, 2 * (steps as usize + 1));
        }
        assert_eq!(texts(panel(&[1.0; 200], &[2.0; 200])).1, 0);
    }

    /// A polygon around the band, and its name in the legend.
    #[test]
    fn a_band_lies_between_the_outer_quantiles() {
        let values: Vec<f64> = (0..30).map(f64::from).collect();
        let band = (0..30).map(|step| (f64::from(step), [f64::from(step) - 7.0, f64::from(step) + 11.0])).collect();
        let svg = drawn(|path| predictions(path, &[Panel { band, ..panel(&values, &values) }], ""));
        assert!(texts_of(&svg).iter().any(|text| text == "between the outer quantiles"));
        assert_eq!(svg.matches("<polygon").count(), 1);
        // The axis holds all of it.
        assert!(texts_of(&svg).iter().any(|text| text == "40"), "{:?}", texts_of(&svg));
    }

    #[test]
    fn values_far_from_zero_have_labels_that_tell_them_apart() {
        let (texts, _) = texts(panel(&[1e9, 1e9 + 2.0], &[1e9 + 1.0; 2]));
        for label in ["1,000,000,000", "1,000,000,001", "1,000,000,002"] {
            assert_eq!(texts.iter().filter(|text| *text == label).count(), 1, "{texts:?}");
        }
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        let values = [1.0, f64::NAN, f64::INFINITY, 4.0];
        assert!(texts(panel(&values, &values)).0.contains(&"4".to_owned()));
        texts(panel(&[f64::NAN; 3], &[f64::INFINITY; 3]));
        drawn(|path| predictions(path, &[], ""));
    }
}
