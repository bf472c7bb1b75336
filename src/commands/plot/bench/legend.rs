//! The legend of a figure: a sample of each line with its name, in columns.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{LINE, MARGIN, SAMPLE, WIDTH};
use crate::commands::plot::{Canvas, Drawn, Look, Place, TEXT, font, width};

/// A line of the legend: what draws its sample, from its left end on, and its text.
pub(super) type Entry<'a> = (Box<dyn Fn(&Canvas, Place) -> Drawn + 'a>, String);

/// A line of the legend's length, with a point in its middle if there are any.
pub(super) fn sample(canvas: &Canvas, (x, y): Place, look: &Look, has_points: bool) -> Drawn {
    look.line(canvas, &[(x, y), (x + SAMPLE, y)], 2)?;
    if has_points { look.point(canvas, (x + SAMPLE / 2, y)) } else { Ok(()) }
}

/// What marks a crossing.
pub(super) fn ring(canvas: &Canvas, at: Place) -> Drawn {
    canvas.draw(&Circle::new(at, 9, BLACK.stroke_width(2)))?;
    Ok(())
}

/// The columns of a legend and how wide they are, in pixels.
fn columns(entries: &[Entry]) -> (usize, i32) {
    let widest = entries.iter().map(|(_, text)| width(text, TEXT)).max().unwrap_or(0) + SAMPLE + 28;
    let inside = WIDTH as i32 - 2 * MARGIN;
    (usize::try_from(inside / widest).unwrap_or(1).max(1), widest)
}

pub(super) fn legend_height(entries: &[Entry]) -> i32 {
    entries.len().div_ceil(columns(entries).0) as i32 * LINE + 10
}

pub(super) fn legend(canvas: &Canvas, top: i32, entries: &[Entry]) -> Drawn {
    let (columns, wide) = columns(entries);
    let style = font(TEXT).pos(Pos::new(HPos::Left, VPos::Center));
    for (i, (draw, text)) in entries.iter().enumerate() {
        let (x, y) = (MARGIN + (i % columns) as i32 * wide, top + (i / columns) as i32 * LINE + LINE / 2);
        draw(canvas, (x, y))?;
        canvas.draw_text(text, &style, (x + SAMPLE + 8, y))?;
    }
    Ok(())
}
