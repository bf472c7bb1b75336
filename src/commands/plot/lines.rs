//! What the figures of `study` have in common: a line for each activation, and a head that says which is which.

use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::series::DashedLineSeries;
use retrospect::Activation;

use super::{BLUE, Canvas, DARK, Drawn, ORANGE, Place, TEXT, TITLE, font};
use crate::commands::terminal::rounded;

pub const GREY: RGBColor = RGBColor(0x77, 0x77, 0x77);
/// What the title and the names below it take.
pub const HEAD: u32 = 76;

/// A colour, the width of a line, and the dashes and gaps of one that is not whole.
pub type Line = (RGBColor, u32, Option<(u32, u32)>);
pub const LINES: [Line; 4] = [(DARK, 3, None), (ORANGE, 3, Some((12, 6))), (BLUE, 3, Some((4, 4))), (GREY, 2, None)];

/// How an activation is drawn.
pub fn look(activation: Activation) -> Line {
    let i = activation.code() as usize;
    LINES.get(i).copied().unwrap_or_else(|| varied(i))
}

pub type Chart<'a, 'b, X, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>;

/// How the i-th of any number of things is drawn: first in other colours, and then with other dashes too.
pub fn varied(i: usize) -> Line {
    const DASHES: [Option<(u32, u32)>; 5] = [None, Some((12, 6)), Some((4, 4)), Some((16, 3)), Some((2, 6))];
    let (color, ..) = LINES[i % LINES.len()];
    (color, 2, DASHES[(i % LINES.len() + i / LINES.len()) % DASHES.len()])
}

/// A line through points; a single one is a dot.
pub fn line<'b, X, Y>(chart: &mut Chart<'_, 'b, X, Y>, (color, width, dashes): Line, points: Vec<(f64, f64)>) -> Drawn
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    let style = color.stroke_width(width);
    if let [point] = points[..] {
        chart.draw_series([Circle::new(point, width + 1, color.filled())])?;
        return Ok(());
    }
    match dashes {
        None => chart.draw_series(LineSeries::new(points, style))?,
        Some((dash, gap)) => chart.draw_series(DashedLineSeries::new(points, dash, gap, style))?,
    };
    Ok(())
}

/// How long the sample of a line in a legend is.
pub const SAMPLE: i32 = 34;

/// Names of lines beside samples of them from a place on, and a remark behind; gives the middles of the samples.
pub fn legend(
    canvas: &Canvas,
    (mut x, y): Place,
    entries: &[(Line, &str)],
    besides: &str,
) -> std::result::Result<Vec<Place>, Box<dyn std::error::Error>> {
    let mut middles = Vec::new();
    for &((color, width, dashes), name) in entries {
        let (dash, gap) = dashes.unwrap_or((SAMPLE as u32, 0));
        canvas.draw(&DashedPathElement::new(vec![(x, y), (x + SAMPLE, y)], dash, gap, color.stroke_width(width)))?;
        canvas.draw(&Text::new(name.to_owned(), (x + SAMPLE + 8, y - 8), font(TEXT)))?;
        middles.push((x + SAMPLE / 2, y));
        x += SAMPLE + 30 + super::width(name, TEXT);
    }
    canvas.draw(&Text::new(besides.to_owned(), (x, y - 8), font(TEXT)))?;
    Ok(middles)
}

/// A title, and below it what each line is; gives what is left.
pub fn titled<'a>(
    canvas: &Canvas<'a>,
    title: &str,
    names: &[Activation],
    besides: &str,
) -> std::result::Result<Canvas<'a>, Box<dyn std::error::Error>> {
    let entries: Vec<_> = names.iter().map(|&activation| (look(activation), activation.name())).collect();
    titled_lines(canvas, title, &entries, besides)
}

/// The same of lines of any kind.
pub fn titled_lines<'a>(
    canvas: &Canvas<'a>,
    title: &str,
    entries: &[(Line, &str)],
    besides: &str,
) -> std::result::Result<Canvas<'a>, Box<dyn std::error::Error>> {
    let (head, body) = canvas.split_vertically(HEAD);
    head.draw(&Text::new(title.to_owned(), (24, 16), font(TITLE)))?;
    legend(&head, (24, 56), entries, besides)?;
    Ok(body)
}

pub fn axes<'a, 'b>(canvas: &'a Canvas<'b>) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut builder = ChartBuilder::on(canvas);
    builder.margin(14).margin_right(28).x_label_area_size(46).y_label_area_size(76);
    builder
}

/// A number by its logarithm.
pub fn power(logarithm: f64) -> String {
    rounded(10f64.powf(logarithm), 2, 0.01..1000.0)
}
