//! Figures as SVG and PNG, and what they have in common. Lines and points that have to be told apart differ in lightness as well as in
//! hue, and have a dash or a marker of their own besides: for readers who see no colours, and for paper that has none.

mod activations;
mod axis;
mod bench;
mod confusions;
mod gradients;
mod labels;
mod lines;
mod losses;
mod predictions;
mod rates;
mod runs;
mod tasks;
mod tracing;

use std::f64::consts::TAU;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use plotters::coord::Shift;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use retrospect::{Error, Result, WholeFile};

pub use activations::activations;
pub use bench::bench;
pub use confusions::confusions;
pub use gradients::{gradients, network_name};
pub use losses::losses;
pub use predictions::{Panel, predictions};
pub use rates::rates;
pub use runs::runs;
pub use tasks::tasks;
pub use tracing::tracing;

use super::terminal::thousands;

const BLUE: RGBColor = RGBColor(0x1f, 0x77, 0xb4);
const DARK: RGBColor = RGBColor(0x0b, 0x3c, 0x5d);
const ORANGE: RGBColor = RGBColor(0xd6, 0x4b, 0x0c);

const FONT: &str = "sans-serif";
/// Sizes as plotters counts them: 1.24 to a pixel of the SVG's `font-size`.
const TITLE: u32 = 23;
const HEADING: u32 = 19;
const TEXT: u32 = 17;

/// A place in a figure, in pixels.
type Place = (i32, i32);
/// A figure that is being drawn.
type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

/// The name of a figure's file, which says what it is to be.
pub fn file(text: &str) -> std::result::Result<PathBuf, String> {
    match Path::new(text).extension().map(|extension| extension.to_ascii_lowercase()) {
        None => Ok(text.into()),
        Some(extension) if extension == "svg" || extension == "png" => Ok(text.into()),
        Some(_) => Err("figures are .svg or .png".into()),
    }
}

/// Draws a figure of `size` pixels and writes it where the user said, as PNG where the name ends so, else as SVG: the whole file or nothing.
///
/// # Errors
/// [`Error::Io`].
fn write(path: &Path, size: (u32, u32), figure: impl FnOnce(&Canvas) -> Drawn) -> Result<()> {
    write_to(WholeFile::create(path)?, path, size, figure)
}

/// The same in the folder of a run, where no link is followed.
///
/// # Errors
/// [`Error::BadInput`] when there is a link; [`Error::Io`].
fn write_in_run(path: &Path, size: (u32, u32), figure: impl FnOnce(&Canvas) -> Drawn) -> Result<()> {
    write_to(WholeFile::create_plain(path)?, path, size, figure)
}

fn write_to(mut file: WholeFile, path: &Path, size: (u32, u32), figure: impl FnOnce(&Canvas) -> Drawn) -> Result<()> {
    let mut text = String::new();
    let draw = |text| -> Drawn {
        let canvas = SVGBackend::with_string(text, size).into_drawing_area();
        canvas.fill(&WHITE)?;
        figure(&canvas)?;
        Ok(canvas.present()?)
    };
    draw(&mut text).map_err(|error| failed(path, std::io::Error::other(error.to_string())))?;
    let is_png = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    let bytes = if is_png { png(&text).map_err(|error| failed(path, std::io::Error::other(error)))? } else { text.into_bytes() };
    file.write_all(&bytes).map_err(|error| failed(path, error))?;
    file.complete()
}

/// An SVG as PNG, with two pixels for one. The font is built in: a machine may have none, and pictures are the same everywhere.
fn png(svg: &str) -> std::result::Result<Vec<u8>, String> {
    const SCALE: u32 = 2;
    let mut options = resvg::usvg::Options::default();
    let fonts = Arc::make_mut(&mut options.fontdb);
    fonts.load_font_data(dejavu::sans::regular().to_vec());
    fonts.set_sans_serif_family("DejaVu Sans");
    let tree = resvg::usvg::Tree::from_str(svg, &options).map_err(|error| error.to_string())?;
    let size = tree.size().to_int_size();
    let pixels = resvg::tiny_skia::Pixmap::new(SCALE * size.width(), SCALE * size.height());
    let mut pixels = pixels.ok_or_else(|| format!("no picture can be {} × {} pixels", size.width(), size.height()))?;
    let scale = resvg::tiny_skia::Transform::from_scale(SCALE as f32, SCALE as f32);
    resvg::render(&tree, scale, &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| error.to_string())
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::Io { path: path.into(), source }
}

/// Axes with their names, at most so many labels and how those are written, and a faint grid.
fn mesh<'a, 'b: 'a, X, Y>(
    chart: &mut ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>,
    names: [&str; 2],
    labels: [usize; 2],
    written: [&dyn Fn(&f64) -> String; 2],
) -> Drawn
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.12))
        .x_desc(names[0])
        .y_desc(names[1])
        .x_labels(labels[0])
        .y_labels(labels[1])
        .x_label_formatter(&written[0])
        .y_label_formatter(&written[1])
        .label_style(font(TEXT))
        .axis_desc_style(font(TEXT))
        .draw()?;
    Ok(())
}

fn font(size: u32) -> TextStyle<'static> {
    (FONT, size).into_font().into()
}

/// About how many pixels a text is wide: the font is the viewer's, and most are narrower than this.
fn width(text: &str, size: u32) -> i32 {
    (text.chars().count() as f64 * f64::from(size) / 1.24 * 0.6).ceil() as i32
}

/// A text cut to what so many pixels hold.
fn cut(text: &str, size: u32, most: i32) -> String {
    let mut cut = text.to_owned();
    while width(&cut, size) > most && cut.pop().is_some() {}
    if cut.len() < text.len() {
        cut.pop();
        cut.push('…');
    }
    cut
}

/// A text of which the middle is cut out where so many pixels do not hold it: names often differ at their ends.
fn cut_inside(text: &str, size: u32, most: i32) -> String {
    if width(text, size) <= most {
        return text.to_owned();
    }
    let all: Vec<char> = text.chars().collect();
    let of = |kept: usize| -> String {
        let (start, end) = (&all[..kept.div_ceil(2)], &all[all.len() - kept / 2..]);
        start.iter().chain(['…'].iter()).chain(end).collect()
    };
    (0..all.len()).rev().map(of).find(|cut| width(cut, size) <= most).unwrap_or_default()
}

/// A number of an axis.
fn number(x: f64) -> String {
    if x >= 1000.0 { thousands(x.round() as u64) } else { format!("{}", (x * 1e6).round() / 1e6) }
}

/// A number of an axis of things of which there are no halves.
fn whole(x: &f64) -> String {
    // Ticks are off by rounding.
    if (x - x.round()).abs() < 1e-3 { number(x.round()) } else { String::new() }
}

/// At most so many points: the means of as many neighbours each as that takes.
fn thinned(points: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    let mean = |points: &[(f64, f64)], of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / points.len() as f64;
    points.chunks(points.len().div_ceil(most).max(1)).map(|near| (mean(near, |p| p.0), mean(near, |p| p.1))).collect()
}

/// What a logarithmic axis shows of `values`: at least a factor `least` from end to end, and some room around.
fn spread(values: impl Iterator<Item = f64>, least: f64) -> Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
    let more = (least / (high / low)).max(1.0).sqrt();
    let room = (high / low * more * more).powf(0.06);
    low / more / room..high * more * room
}

/// The ticks of a logarithmic axis, at most `most`: 1, 2 and 5 of each decade, or powers of ten alone, or some of them.
fn ticks(range: &Range<f64>, most: usize) -> Vec<f64> {
    let decades = range.start.log10().floor() as i32..=range.end.log10().ceil() as i32;
    let of = |multiples: &[f64], every: i32| -> Vec<f64> {
        let chosen = decades.clone().filter(|decade| decade.rem_euclid(every) == 0);
        let all = chosen.flat_map(|decade| multiples.iter().map(move |m| m * 10_f64.powi(decade)));
        all.filter(|tick| range.contains(tick)).collect()
    };
    let mut found = of(&[1.0, 2.0, 5.0], 1);
    let mut every = 1;
    while found.len() > most {
        found = of(&[1.0], every);
        every += 1;
    }
    found
}

/// How a line and its points are drawn.
#[derive(Clone, Copy)]
struct Look {
    color: RGBColor,
    /// The line dashed, the points hollow.
    light: bool,
    /// The corners of a point, 0 for a circle, and the direction of the first in degrees.
    shape: (u32, f64),
}

impl Look {
    /// The radius of a point, at most, in pixels.
    const RADIUS: i32 = 7;

    fn line(&self, canvas: &Canvas, points: &[Place], width: u32) -> Drawn {
        let style = self.color.stroke_width(width);
        if self.light {
            canvas.draw(&DashedPathElement::new(points.to_vec(), 12, 7, style))?;
        } else {
            canvas.draw(&PathElement::new(points.to_vec(), style))?;
        }
        Ok(())
    }

    fn point(&self, canvas: &Canvas, at: Place) -> Drawn {
        let fill = if self.light { WHITE } else { self.color }.filled();
        let edge = self.color.stroke_width(2);
        let (corners, turn) = self.shape;
        if corners == 0 {
            canvas.draw(&Circle::new(at, 5, fill))?;
            canvas.draw(&Circle::new(at, 5, edge))?;
            return Ok(());
        }
        let radius = if corners == 6 { 6.0 } else { f64::from(Look::RADIUS) };
        let corner = |i: u32| {
            let (sin, cos) = (turn.to_radians() + TAU * f64::from(i) / f64::from(corners)).sin_cos();
            (at.0 + (radius * cos).round() as i32, at.1 + (radius * sin).round() as i32)
        };
        let outline: Vec<Place> = (0..=corners).map(corner).collect();
        canvas.draw(&Polygon::new(outline.clone(), fill))?;
        canvas.draw(&PathElement::new(outline, edge))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The SVG that something draws.
    pub fn drawn(draw: impl FnOnce(&Path) -> Result<()>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("figure.svg");
        draw(&path).unwrap();
        std::fs::read_to_string(path).unwrap()
    }

    /// The texts of an SVG, in their order.
    pub fn texts_of(svg: &str) -> Vec<String> {
        let text = |text: &str| Some(text.split_once('>')?.1.split_once('<')?.0.trim().to_owned());
        svg.split("<text").skip(1).filter_map(text).collect()
    }

    #[test]
    fn an_axis_has_some_ticks_and_not_too_many() {
        for (low, high) in [(0.003, 0.0031), (1.0, 1.0), (2.1, 7.9), (0.4, 900.0), (1e-3, 1e9)] {
            let range = spread([low, high].into_iter(), 4.0);
            assert!(range.start < low && range.end > high && range.end / range.start > 4.0, "{range:?}");
            let ticks = ticks(&range, 8);
            assert!((2..=8).contains(&ticks.len()), "{range:?}: {ticks:?}");
        }
        assert_eq!(ticks(&(0.8..30.0), 8), [1.0, 2.0, 5.0, 10.0, 20.0]);
        assert_eq!([0.0, 2.0000000000000004, 0.5, 1999.9999999].map(|x| whole(&x)), ["0", "2", "", "2,000"]);
        assert_eq!([0.05, 0.5, 20.0, 1024.0, 1e6].map(number), ["0.05", "0.5", "20", "1,024", "1,000,000"]);
    }

    #[test]
    fn the_name_of_a_figure_says_what_it_is() {
        for (name, ok) in
            [("a.svg", true), ("a.PNG", true), ("a", true), ("/dev/stdout", true), ("a.pdf", false), ("a.svg.gz", false)]
        {
            assert_eq!(file(name).is_ok(), ok, "{name}");
        }
        let folder = tempfile::tempdir().unwrap();
        let drawn = |name: &str, text: &str| {
            let path = folder.path().join(name);
            let text = text.to_owned();
            write(&path, (60, 40), |canvas| Ok(canvas.draw(&Text::new(text, (5, 5), font(TEXT)))?)).unwrap();
            std::fs::read(path).unwrap()
        };
        assert!(drawn("a.svg", "∂").starts_with(b"<svg"));
        let picture = |text| resvg::tiny_skia::Pixmap::decode_png(&drawn("a.png", text)).unwrap();
        let (with, without) = (picture("‖∂L/∂h‖"), picture(""));
        assert_eq!((with.width(), with.height()), (120, 80));
        let dark = |of: &resvg::tiny_skia::Pixmap| of.pixels().iter().filter(|p| p.red() < 128).count();
        assert!(dark(&with) > 100 && dark(&without) == 0, "{} dark pixels", dark(&with));
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(cut("Processor", TEXT, 1000), "Processor");
        let long = cut(&"Processor ".repeat(40), TEXT, 500);
        assert!(long.ends_with('…') && width(&long, TEXT) <= 500, "{long}");
        assert_eq!(cut_inside("Processor", TEXT, 1000), "Processor");
        let long = cut_inside(&format!("first{}last", " Processor".repeat(40)), TEXT, 200);
        assert!(long.starts_with("first Pro") && long.ends_with("essorlast") && width(&long, TEXT) <= 200, "{long}");
        assert_eq!(cut_inside("Processor", TEXT, 9), "…");
    }
}
