//! The confusion matrix of `predict --plot`.

use std::path::Path;

use ndarray::Array2;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use retrospect::Result;

use super::{BLUE, ORANGE, TEXT, TITLE, cut_inside, font, width};
use crate::commands::terminal::thousands;

/// What the title and the remark below it take.
const HEAD: i32 = 76;
/// The most pixels of a turned name above its column, and of a name before its row.
const TURNED: i32 = 200;
const BEFORE: i32 = 320;
/// What is left free around names and the table.
const GAP: i32 = 8;
const MARGIN: i32 = 24;

/// What is above the columns.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Heading {
    Names,
    /// The names from below upwards.
    Turned,
    /// Numbers, which are before the names of the rows too.
    Numbers,
}

/// Where everything is.
struct Layout {
    heading: Heading,
    /// The width and the height of a cell.
    side: i32,
    left: i32,
    top: i32,
    /// What is before the rows.
    rows: Vec<String>,
    columns: Vec<String>,
}

impl Layout {
    fn new(names: &[String]) -> Layout {
        let widest = |texts: &[String]| texts.iter().map(|text| width(text, TEXT)).max().unwrap_or(0);
        let side = (640 / names.len().max(1) as i32).clamp(18, 64);
        let heading = match widest(names) {
            names if names + GAP <= side => Heading::Names,
            names if names <= TURNED => Heading::Turned,
            _ => Heading::Numbers,
        };
        let numbers = || (1..=names.len()).map(|number| number.to_string());
        let (rows, columns) = match heading {
            Heading::Numbers => {
                let rows = numbers().zip(names).map(|(number, name)| format!("{number} {name}"));
                (rows.collect(), numbers().collect())
            }
            _ => (names.to_vec(), names.to_vec()),
        };
        let rows: Vec<String> = rows.iter().map(|name| cut_inside(name, TEXT, BEFORE)).collect();
        let side = if heading == Heading::Numbers { side.max(widest(&columns) + GAP) } else { side };
        let above = if heading == Heading::Turned { widest(&columns) } else { 16 };
        let left = MARGIN + widest(&rows).max(40) + GAP;
        Layout { heading, side, left, top: HEAD + above + 2 * GAP, rows, columns }
    }

    fn size(&self) -> (u32, u32) {
        let table = self.side * self.rows.len() as i32;
        ((self.left + table + MARGIN).max(540) as u32, (self.top + table + MARGIN) as u32)
    }
}

/// Draws how often each true class, a row, was predicted as each class, a column; the darker, the larger the share of its row.
pub fn confusions(path: &Path, counts: &Array2<u64>, names: &[String]) -> Result<()> {
    let layout = Layout::new(names);
    let &Layout { heading, side, left, top, .. } = &layout;
    let at = |pos: HPos| font(TEXT).pos(Pos::new(pos, VPos::Center));
    super::write(path, layout.size(), |canvas| {
        canvas.draw(&Text::new("Confusion matrix", (MARGIN, 16), font(TITLE)))?;
        let by_number = if heading == Heading::Numbers { ", by number" } else { "" };
        let remark = format!("rows: true class; columns: predicted class{by_number}");
        canvas.draw(&Text::new(remark, (MARGIN, 48), font(TEXT)))?;
        for (row, name) in layout.rows.iter().enumerate() {
            let all: u64 = counts.row(row).sum();
            let y = top + side * row as i32;
            canvas.draw(&Text::new(name.as_str(), (MARGIN, y + side / 2), at(HPos::Left)))?;
            for column in 0..names.len() {
                let (x, count) = (left + side * column as i32, counts[[row, column]]);
                let share = count as f64 / all.max(1) as f64;
                let color = if row == column { BLUE } else { ORANGE };
                canvas.draw(&Rectangle::new([(x, y), (x + side, y + side)], color.mix(share).filled()))?;
                canvas.draw(&Rectangle::new([(x, y), (x + side, y + side)], BLACK.mix(0.15).stroke_width(1)))?;
                let text = thousands(count);
                if count > 0 && width(&text, TEXT) < side {
                    let color = if share > 0.9 { WHITE } else { BLACK };
                    canvas.draw(&Text::new(text, (x + side / 2, y + side / 2), at(HPos::Center).color(&color)))?;
                }
            }
        }
        for (column, name) in layout.columns.iter().enumerate() {
            let middle = left + side * column as i32 + side / 2;
            let (place, style) = match heading {
                Heading::Turned => ((middle, top - GAP), at(HPos::Left).transform(FontTransform::Rotate270)),
                _ => ((middle, top - 2 * GAP), at(HPos::Center)),
            };
            canvas.draw(&Text::new(name.as_str(), place, style))?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{drawn, texts_of};
    use super::*;

    /// The texts of a figure of classes, and how many of them are turned.
    fn texts(names: &[String]) -> (Vec<String>, usize) {
        let counts = Array2::from_diag_elem(names.len(), 1);
        let svg = drawn(|path| confusions(path, &counts, names));
        (texts_of(&svg), svg.matches("rotate(270").count())
    }

    #[test]
    fn every_class_has_its_whole_name_at_its_row_and_its_column() {
        for (count, name, turned) in [(3, "a", 0), (12, "kind of fish", 12), (60, "species of bird", 60), (60, "", 60)] {
            let names: Vec<String> = (0..count).map(|i| format!("{name}{i}")).collect();
            let (texts, found) = texts(&names);
            for name in &names {
                assert!(texts.iter().filter(|text| *text == name).count() >= 2, "{name}: {texts:?}");
            }
            assert_eq!(found, turned, "{name}");
        }
    }

    #[test]
    fn classes_of_long_names_have_numbers() {
        let names: Vec<String> =
            (0..60).map(|i| format!("{} of number {i} of {}", "a species".repeat(i % 9), "birds".repeat(9))).collect();
        let (texts, turned) = texts(&names);
        assert_eq!(turned, 0);
        let mut rows: Vec<&String> = (1..=60)
            .map(|number| {
                assert!(texts.contains(&number.to_string()), "{number}");
                texts.iter().find(|text| text.starts_with(&format!("{number} "))).unwrap()
            })
            .collect();
        rows.sort();
        rows.dedup();
        assert_eq!(rows.len(), 60);
        assert!(rows.iter().all(|row| width(row, TEXT) <= BEFORE));
    }

    #[test]
    fn names_keep_clear_of_each_other_and_of_the_title() {
        for (count, length) in [(1, 1), (2, 9), (3, 30), (10, 3), (30, 20), (60, 1), (60, 20), (60, 300)] {
            let names: Vec<String> = (0..count).map(|i| format!("{i:0length$}")).collect();
            let layout = Layout::new(&names);
            for column in &layout.columns {
                let [along, across] = match layout.heading {
                    Heading::Turned => [16, width(column, TEXT)],
                    _ => [width(column, TEXT), 16],
                };
                assert!(along < layout.side && HEAD + across < layout.top, "{count} of {length}");
            }
            for row in &layout.rows {
                assert!(MARGIN + width(row, TEXT) < layout.left && layout.side > 16, "{count} of {length}");
            }
        }
    }
}
