//! The figure of `bench`: the time of a step against the hidden size, and below it the roofline of the kernels.

mod axes;
mod legend;

use std::path::Path;

use axes::{Axes, apart};
use legend::{Entry, legend, legend_height, ring, sample};
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use retrospect::Result;
use retrospect::bench::{Contender, KernelTime, Measured, Report, Row};

use super::labels::{Area, Label, Labels};
use super::{Canvas, DARK, Drawn, HEADING, Look, ORANGE, Place, TEXT, TITLE, cut, font, number, spread, ticks, width};
use crate::commands::bench::{crossover, processor};

const WIDTH: u32 = 900;
const MARGIN: i32 = 20;
/// What axes and their names take, left and below.
const AXIS: [u32; 2] = [72, 52];
const PLOT: i32 = 400;
const LINE: i32 = 20;
const GAP: i32 = 10;
const HEADING_HEIGHT: i32 = 44;
/// The length of a line in the legend.
const SAMPLE: i32 = 36;
/// A kernel that takes less of its step is left out.
const SHARE: f64 = 0.03;
/// The most kernels of a contender that are named.
const NAMED: usize = 5;

/// Draws a report.
///
/// # Errors
/// [`Error::Io`](retrospect::Error::Io), also when nothing was measured.
pub fn bench(path: &Path, report: &Report) -> Result<()> {
    let figure = Figure::new(report);
    if figure.rows.is_empty() {
        return Err(super::failed(path, std::io::Error::other("there is nothing to draw: no size was timed")));
    }
    super::write(path, (WIDTH, figure.height() as u32), |canvas| figure.draw(canvas))
}

/// What is drawn, gathered.
struct Figure<'a> {
    report: &'a Report,
    rows: Vec<Timed<'a>>,
    /// A row of each (layers, batch, window).
    groups: Vec<&'a Row>,
    /// What is the same in all groups, and what makes each of them.
    common: String,
    names: Vec<String>,
}

/// A row that was measured, and what was.
type Timed<'a> = (&'a Row, &'a Measured);

/// How the rows of a contender in a group are drawn.
fn look(backend: &str, group: usize) -> Look {
    let shapes = match backend {
        "cpu" => [(0, 0.0), (4, 45.0), (4, 0.0), (6, 0.0)],
        _ => [(3, -90.0), (3, 90.0), (3, 180.0), (3, 0.0)],
    };
    let is_cpu = backend == "cpu";
    let color = if is_cpu { DARK } else { ORANGE };
    // Where the shapes are used up, paler.
    let pale = (group / shapes.len()).min(2) as f64 * 0.3;
    let RGBColor(r, g, b) = color;
    let [r, g, b] = [r, g, b].map(|part| (f64::from(part) + (255.0 - f64::from(part)) * pale).round() as u8);
    Look { color: RGBColor(r, g, b), light: !is_cpu, shape: shapes[group % shapes.len()] }
}

impl<'a> Figure<'a> {
    fn new(report: &'a Report) -> Figure<'a> {
        let rows: Vec<_> = report.rows.iter().filter_map(|row| Some((row, row.measured.as_ref()?))).collect();
        let mut groups: Vec<&Row> = Vec::new();
        for (row, _) in &rows {
            if !groups.iter().any(|group| group.is_in_line(row)) {
                groups.push(row);
            }
        }
        let parts = |row: &Row| {
            let layers = format!("{} layer{}", row.layers, if row.layers == 1 { "" } else { "s" });
            [layers, format!("B={}", row.batch), format!("T={}", row.window)]
        };
        let is_common = |i: usize| groups.iter().all(|group| parts(group)[i] == parts(groups[0])[i]);
        let some = |row: &Row, common: bool| {
            let parts = parts(row).into_iter().enumerate().filter(|&(i, _)| is_common(i) == common);
            parts.map(|(_, part)| part).collect::<Vec<_>>().join(", ")
        };
        let common = groups.first().map_or(String::new(), |row| some(row, true));
        let names = groups.iter().map(|group| some(group, false)).collect();
        Figure { report, rows, groups, common, names }
    }

    /// The rows of a contender in a group, by size.
    fn line(&self, backend: &str, group: usize) -> Vec<Timed<'a>> {
        let is_in = |row: &Row| row.backend == backend && row.is_in_line(self.groups[group]);
        let mut line: Vec<_> = self.rows.iter().copied().filter(|(row, _)| is_in(row)).collect();
        line.sort_by_key(|(row, _)| row.hidden);
        line
    }

    /// All lines: contender, group and rows.
    fn lines(&self) -> Vec<(&'static str, usize, Vec<Timed<'a>>)> {
        let all = ["cpu", "gpu"].into_iter().flat_map(|backend| (0..self.groups.len()).map(move |group| (backend, group)));
        let all = all.map(|(backend, group)| (backend, group, self.line(backend, group)));
        all.filter(|(.., line)| !line.is_empty()).collect()
    }

    fn label(&self, backend: &str, group: usize) -> String {
        let parts = [&backend.to_uppercase(), &self.names[group]];
        parts.into_iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(", ")
    }

    /// What ran where.
    fn head(&self) -> Vec<String> {
        let report = self.report;
        let mut head = vec![processor(report)];
        if let Some(adapter) = &report.adapter {
            head.push(match report.driver.as_deref() {
                Some(driver) if !driver.is_empty() => format!("{adapter} ({driver})"),
                _ => adapter.clone(),
            });
        }
        let Row { cell, precision, input, output, .. } = self.rows[0].0;
        let common = if self.common.is_empty() { String::new() } else { format!(", {}", self.common) };
        head.push(format!("{cell}, {precision}, {input} inputs, {output} outputs{common}; retrospect {}", report.version));
        head
    }

    fn times_legend(&self) -> Vec<Entry<'a>> {
        let mut entries: Vec<Entry> = Vec::new();
        for (backend, group, _) in self.lines() {
            entries
                .push((Box::new(move |canvas, at| sample(canvas, at, &look(backend, group), true)), self.label(backend, group)));
        }
        if !self.crossings().is_empty() {
            entries.push((Box::new(|canvas, (x, y)| ring(canvas, (x + SAMPLE / 2, y))), "GPU overtakes CPU".into()));
        }
        entries
    }

    fn roofline_legend(&self) -> Vec<Entry<'a>> {
        let several = self.groups.len() > 1;
        let entry = |Contender { backend, ceilings, .. }: &'a Contender| -> Entry<'a> {
            let round = |x: f64| number(if x < 10.0 { (x * 10.0).round() / 10.0 } else { x.round() });
            let [gflops, gb_per_s] = [ceilings.gflops, ceilings.gb_per_s].map(round);
            let text = format!("{}: at most {gflops} GFLOP/s, {gb_per_s} GB/s", backend.to_uppercase());
            (Box::new(move |canvas, at| sample(canvas, at, &look(backend, 0), !several)), text)
        };
        self.report.ceilings.iter().map(entry).collect()
    }

    fn times_notes(&self) -> Vec<String> {
        let (crossed, others): (Vec<_>, Vec<_>) = self.report.crossovers.iter().partition(|found| found.gpu_ahead_from.is_some());
        let mut notes: Vec<String> = crossed.into_iter().map(crossover).collect();
        match others[..] {
            [] => {}
            [one] => notes.push(crossover(one)),
            _ => notes.push(format!(
                "In {} of {} pairs of lines the CPU is ahead at the largest size timed.",
                others.len(),
                self.report.crossovers.len()
            )),
        }
        let left_out = self.report.rows.len() - self.rows.len();
        if left_out > 0 {
            notes.push(format!("Not drawn: {left_out} of {} rows, which did not fit.", self.report.rows.len()));
        }
        notes
    }

    fn roofline_notes(&self) -> Vec<String> {
        let mut note = "Kernels that take 3 % of their step or more, ".to_owned();
        note += if self.groups.len() > 1 { "marked as above. " } else { "from size to size. " };
        note += "Bytes count each window once, and";
        vec![note, "the slope is that of memory beyond the caches: what stays in a cache may lie above it.".into()]
    }

    fn height(&self) -> i32 {
        let head = 46 + LINE * self.head().len() as i32;
        let panel = |entries: &[Entry], notes: &[String]| {
            HEADING_HEIGHT + legend_height(entries) + PLOT + GAP + LINE * notes.len() as i32 + MARGIN
        };
        head + panel(&self.times_legend(), &self.times_notes()) + panel(&self.roofline_legend(), &self.roofline_notes())
    }

    fn draw(&self, canvas: &Canvas) -> Drawn {
        let mut y = MARGIN;
        canvas.draw_text("Training steps beside what the machine can do", &font(TITLE), (MARGIN, y))?;
        y += 26;
        for line in self.head() {
            canvas.draw_text(&cut(&line, TEXT, WIDTH as i32 - 2 * MARGIN), &font(TEXT), (MARGIN, y + 4))?;
            y += LINE;
        }
        type Draw<'a, 'b> = &'b dyn Fn(&Canvas, i32) -> Drawn;
        let panels: [(&str, Vec<Entry>, Draw, Vec<String>); 2] = [
            ("Time of a training step", self.times_legend(), &|canvas, y| self.times(canvas, y), self.times_notes()),
            ("Roofline of its kernels", self.roofline_legend(), &|canvas, y| self.roofline(canvas, y), self.roofline_notes()),
        ];
        for (heading, entries, plot, notes) in panels {
            canvas.draw_text(heading, &font(HEADING).color(&BLACK), (MARGIN, y + 16))?;
            y += HEADING_HEIGHT;
            legend(canvas, y, &entries)?;
            y += legend_height(&entries);
            plot(canvas, y)?;
            y += PLOT + GAP;
            for note in notes {
                canvas.draw_text(&note, &font(TEXT).color(&BLACK.mix(0.7)), (MARGIN, y))?;
                y += LINE;
            }
            y += MARGIN;
        }
        Ok(())
    }

    /// Where lines of CPU and GPU cross for good, between the two sizes timed there.
    fn crossings(&self) -> Vec<(f64, f64)> {
        let of = |backend, group, size| self.line(backend, group).into_iter().find(|(row, _)| row.hidden == size);
        let mut found = Vec::new();
        for crossover in &self.report.crossovers {
            let is_its =
                |row: &&Row| (row.layers, row.batch, row.window) == (crossover.layers, crossover.batch, crossover.window);
            let group = self.groups.iter().position(is_its);
            let (Some(group), Some(before), Some(after)) = (group, crossover.cpu_ahead_at, crossover.gpu_ahead_from) else {
                continue;
            };
            let [cpu, gpu] = ["cpu", "gpu"].map(|backend| [before, after].map(|size| of(backend, group, size)));
            let ([Some(a), Some(b)], [Some(c), Some(d)]) = (cpu, gpu) else { continue };
            // How far the GPU is behind, in logarithms, at either size.
            let behind = [(a, c), (b, d)].map(|(cpu, gpu)| (gpu.1.ms_per_step / cpu.1.ms_per_step).ln());
            let part = behind[0] / (behind[0] - behind[1]);
            let between = |a: f64, b: f64| a * (b / a).powf(part);
            found.push((between(before as f64, after as f64), between(a.1.ms_per_step, b.1.ms_per_step)));
        }
        found
    }

    /// Milliseconds against the hidden size.
    fn times(&self, canvas: &Canvas, top: i32) -> Drawn {
        let mut sizes: Vec<usize> = self.rows.iter().map(|(row, _)| row.hidden).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let x = spread(sizes.iter().map(|&size| size as f64), 2.0);
        let y = spread(self.rows.iter().flat_map(|(_, m)| [m.ms_min, m.ms_max]), 4.0);
        let x_ticks = apart(&sizes, &x);
        let axes = Axes { x, y, x_ticks, names: ["hidden size", "ms per training step"] };
        axes.draw(canvas, top, |place, area| {
            for (x, y) in self.crossings().into_iter().map(place) {
                canvas.draw(&DashedPathElement::new([(x, y + 10), (x, area.3)], 2, 4, BLACK.mix(0.6)))?;
            }
            for (backend, group, line) in self.lines() {
                let look = look(backend, group);
                let at = |row: &Row, ms: f64| place((row.hidden as f64, ms));
                let points: Vec<Place> = line.iter().map(|(row, m)| at(row, m.ms_per_step)).collect();
                look.line(canvas, &points, 2)?;
                for (row, m) in &line {
                    let [(x, high), (_, low)] = [m.ms_max, m.ms_min].map(|ms| at(row, ms));
                    for whisker in [[(x, high), (x, low)], [(x - 5, high), (x + 5, high)], [(x - 5, low), (x + 5, low)]] {
                        canvas.draw(&PathElement::new(whisker, look.color.stroke_width(1)))?;
                    }
                }
                points.into_iter().try_for_each(|point| look.point(canvas, point))?;
            }
            self.crossings().into_iter().try_for_each(|crossing| ring(canvas, place(crossing)))
        })
    }

    /// Operations a second against operations per byte.
    fn roofline(&self, canvas: &Canvas, top: i32) -> Drawn {
        let trails = self.trails();
        let points = || trails.iter().flat_map(|trail| &trail.points).map(|point| point.at);
        let peaks = || self.report.ceilings.iter().map(|contender| contender.ceilings.gflops);
        let ridges = self.report.ceilings.iter().map(|Contender { ceilings, .. }| ceilings.gflops / ceilings.gb_per_s);
        // Names have room to the right of the last points.
        let reaches = points().flat_map(|(x, _)| [x, x * 2.0]);
        let x = spread(reaches.chain(ridges.flat_map(|ridge| [ridge / 8.0, ridge * 4.0])), 10.0);
        let y = spread(points().map(|(_, y)| y).chain(peaks().flat_map(|peak| [peak / 8.0, peak])), 10.0);
        let x_ticks = ticks(&x, 12);
        let axes = Axes { x: x.clone(), y: y.clone(), x_ticks, names: ["operations per byte", "GFLOP/s"] };
        axes.draw(canvas, top, |place, area| {
            let around = points().map(|point| Area::around(place(point), Look::RADIUS)).collect();
            let mut labels = Labels::new(area, around);
            for Contender { backend, ceilings, .. } in &self.report.ceilings {
                let from = (y.start / ceilings.gb_per_s).max(x.start);
                let ridge = ceilings.gflops / ceilings.gb_per_s;
                let roof = [(from, from * ceilings.gb_per_s), (ridge, ceilings.gflops), (x.end, ceilings.gflops)].map(place);
                look(backend, 0).line(canvas, &roof, 2)?;
                [[roof[0], roof[1]], [roof[1], roof[2]]].into_iter().for_each(|piece| labels.avoid(piece));
            }
            for trail in &trails {
                let path: Vec<Place> = trail.points.iter().map(|point| place(point.at)).collect();
                path.windows(2).for_each(|piece| labels.avoid([piece[0], piece[1]]));
                canvas.draw(&PathElement::new(path, trail.look.color.mix(0.25)))?;
            }
            for trail in &trails {
                trail.points.iter().try_for_each(|point| trail.look.point(canvas, place(point.at)))?;
            }
            named(&trails)
                .into_iter()
                .try_for_each(|(name, backend, at)| label(canvas, &mut labels, name, look(backend, 0).color, place(at)))
        })
    }

    /// Every kernel that weighs, through the sizes of each line.
    fn trails(&self) -> Vec<Trail<'a>> {
        let mut trails: Vec<Trail> = Vec::new();
        for (backend, group, line) in self.lines() {
            let first = trails.len();
            for (_, measured) in line {
                let weighs = |kernel: &&KernelTime| kernel.ms >= SHARE * measured.ms_per_step;
                let is_drawn = |kernel: &&KernelTime| kernel.gflops > 0.0 && kernel.gb_per_s > 0.0;
                for kernel in measured.kernels.iter().filter(weighs).filter(is_drawn) {
                    let point = Point { at: (kernel.gflops / kernel.gb_per_s, kernel.gflops), ms: kernel.ms };
                    match trails[first..].iter_mut().find(|trail| trail.name == kernel.name) {
                        Some(trail) => trail.points.push(point),
                        None => {
                            trails.push(Trail { name: kernel.name, backend, look: look(backend, group), points: vec![point] })
                        }
                    }
                }
            }
        }
        trails
    }
}

/// A kernel through the sizes of a line.
struct Trail<'a> {
    name: &'a str,
    backend: &'a str,
    look: Look,
    points: Vec<Point>,
}

struct Point {
    /// Operations per byte, and 10⁹ operations a second.
    at: (f64, f64),
    ms: f64,
}

/// The heaviest kernels of each contender, the heaviest first, each at the point where it takes longest.
fn named<'a>(trails: &[Trail<'a>]) -> Vec<(&'a str, &'a str, (f64, f64))> {
    let mut heaviest: Vec<(&Trail, &Point)> = Vec::new();
    for trail in trails {
        let Some(point) = trail.points.iter().max_by(|a, b| a.ms.total_cmp(&b.ms)) else { continue };
        match heaviest.iter_mut().find(|(other, _)| (other.name, other.backend) == (trail.name, trail.backend)) {
            Some((_, longest)) if longest.ms >= point.ms => {}
            Some(shorter) => *shorter = (trail, point),
            None => heaviest.push((trail, point)),
        }
    }
    heaviest.sort_by(|a, b| b.1.ms.total_cmp(&a.1.ms));
    let of = |backend: &str| heaviest.iter().filter(move |(trail, _)| trail.backend == backend).take(NAMED).copied().collect();
    let all: [Vec<_>; 2] = [of("cpu"), of("gpu")];
    all.concat().into_iter().map(|(trail, point): (&Trail<'a>, &Point)| (trail.name, trail.backend, point.at)).collect()
}

/// Writes a name beside a point; leaves it out where there is no room.
fn label(canvas: &Canvas, labels: &mut Labels, name: &str, color: RGBColor, at: Place) -> Drawn {
    let Some(Label { area, leader }) = labels.place(at, Look::RADIUS, [width(name, TEXT), 16]) else { return Ok(()) };
    if let Some(leader) = leader {
        canvas.draw(&PathElement::new(leader, color.mix(0.6)))?;
    }
    // At the end of its area that is nearer the point: how wide it is in the viewer's font is not known.
    let (side, x) = match area {
        Area(left, ..) if left >= at.0 => (HPos::Left, left),
        Area(_, _, right, _) if right <= at.0 => (HPos::Right, right),
        Area(left, _, right, _) => (HPos::Center, (left + right) / 2),
    };
    let style = font(TEXT).color(&color).pos(Pos::new(side, VPos::Center));
    canvas.draw_text(name, &style, (x, (area.1 + area.3) / 2))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use retrospect::backend::Compute;
    use retrospect::bench::{Ceilings, Crossover};

    use super::*;

    /// A row as a machine would have it whose kernels are at half of what the machine can do.
    fn row(backend: &'static str, layers: usize, hidden: usize, batch: usize, ms: f64) -> Row {
        let kernel = |name, share: f64, intensity: f64, gflops: f64| KernelTime {
            name,
            variant: "cpu",
            ms: ms * share,
            gflops,
            gb_per_s: gflops / intensity,
        };
        let scale = hidden as f64 / 8.0;
        let speed = if backend == "cpu" { 60.0 } else { 900.0 };
        let kernels = vec![
            kernel("gemm_tn", 0.4, scale, speed),
            kernel("elman_backward", 0.22, scale * 1.02, speed * 0.97),
            kernel("elman_forward", 0.2, scale * 1.5, speed * 1.1),
            kernel("gemm_nt_bias", 0.1, scale * 0.98, speed * 1.02),
            kernel("value_loss", 0.04, 0.4, speed / 20.0),
            kernel("sgd", 0.02, 0.2, speed / 30.0),
            KernelTime { gflops: 0.0, ..kernel("copy", 0.1, 1.0, 1.0) },
        ];
        let measured = Measured {
            ms_per_step: ms,
            ms_min: ms * 0.9,
            ms_max: ms * 1.2,
            runs: 5,
            tokens_per_s: 1.0,
            gflops: speed,
            peak_fraction: 0.5,
            roofline_fraction: 0.5,
            gpu_ms: None,
            host_ms: None,
            dispatches: None,
            kernels,
            costs: Vec::new(),
        };
        let (cell, precision, window) = ("elman", "f32", 64);
        Row {
            backend,
            cell,
            layers,
            directions: 1,
            hidden,
            batch,
            window,
            input: 64,
            output: 64,
            precision,
            measured: Some(measured),
            error: None,
        }
    }

    fn contender(backend: &'static str, gflops: f64, gb_per_s: f64) -> Contender {
        let mut contender = Contender::with_ceilings(Compute::Cpu(None), Ceilings { gflops, gb_per_s, dispatch_us: None });
        contender.backend = backend;
        contender
    }

    fn report(ceilings: Vec<Contender>, rows: Vec<Row>, crossovers: Vec<Crossover>) -> Report {
        Report {
            machine: "linux x86_64".into(),
            cpu: "A processor <8 cores>".into(),
            instructions: None,
            threads: 8,
            adapter: (ceilings.len() > 1).then(|| "An adapter".into()),
            driver: (ceilings.len() > 1).then(|| "its driver 1.2".into()),
            version: "0.1.0",
            ceilings,
            rows,
            products: Vec::new(),
            crossovers,
        }
    }

    /// The texts of the SVG that a report becomes.
    fn texts(report: &Report) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bench.svg");
        bench(&path, report).unwrap();
        let svg = fs::read_to_string(path).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        let text = |part: &str| Some(part.split_once('>')?.1.split_once("</text>")?.0.trim().to_owned());
        svg.split("<text").skip(1).filter_map(text).collect()
    }

    #[test]
    fn eight_sizes_of_two_batches_on_two_contenders() {
        let sizes = [32, 64, 96, 128, 256, 512, 768, 1024];
        let mut rows = Vec::new();
        for batch in [8, 32] {
            for hidden in sizes {
                let work = (hidden as f64 / 100.0).powi(2) * (batch as f64).sqrt();
                rows.push(row("cpu", 1, hidden, batch, 0.1 + work));
                rows.push(row("gpu", 1, hidden, batch, 4.0 + work / 10.0));
            }
        }
        let last = rows.last_mut().unwrap();
        (last.measured, last.error) = (None, Some(retrospect::Error::Usage("too large".into())));
        let crossovers = [(8, 96, 128), (32, 64, 96)].map(|(batch, at, from)| Crossover {
            layers: 1,
            batch,
            window: 64,
            cpu_ahead_at: Some(at),
            gpu_ahead_from: Some(from),
        });
        let report = report(vec![contender("cpu", 120.0, 20.0), contender("gpu", 2000.0, 400.0)], rows, crossovers.into());
        let texts = texts(&report);
        for text in [
            "A processor &lt;8 cores&gt;, 8 threads",
            "An adapter (its driver 1.2)",
            "elman, f32, 64 inputs, 64 outputs, 1 layer, T=64; retrospect 0.1.0",
            "Time of a training step",
            "CPU, B=8",
            "GPU, B=32",
            "GPU overtakes CPU",
            "hidden size",
            "ms per training step",
            "32",
            "64",
            "1,024",
            "With 1 layer, B=8, T=64 the GPU overtakes the CPU between H=96 and H=128.",
            "Not drawn: 1 of 32 rows, which did not fit.",
            "CPU: at most 120 GFLOP/s, 20 GB/s",
            "GPU: at most 2,000 GFLOP/s, 400 GB/s",
            "operations per byte",
            "GFLOP/s",
        ] {
            assert!(texts.iter().any(|t| t == text), "{text} is not in {texts:?}");
        }
        // Of either contender; what takes little, and what computes nothing, is not there.
        for (name, times) in
            [("gemm_tn", 2), ("elman_forward", 2), ("gemm_nt_bias", 2), ("value_loss", 2), ("sgd", 0), ("copy", 0)]
        {
            assert_eq!(texts.iter().filter(|t| *t == name).count(), times, "{name} in {texts:?}");
        }
    }

    #[test]
    fn one_contender_and_one_size_are_enough() {
        let texts = texts(&report(vec![contender("cpu", 120.0, 20.0)], vec![row("cpu", 2, 256, 32, 3.0)], vec![]));
        let has = |text: &str| texts.iter().any(|t| t == text);
        assert!(has("256") && has("CPU") && has("gemm_tn"), "{texts:?}");
        assert!(!texts.iter().any(|t| t.contains("GPU") || t.contains("Not drawn")), "{texts:?}");
    }

    #[test]
    fn nothing_timed_is_nothing_to_draw() {
        let mut too_large = row("cpu", 1, 256, 32, 3.0);
        too_large.measured = None;
        for rows in [vec![], vec![too_large]] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("bench.svg");
            let error = bench(&path, &report(vec![contender("cpu", 120.0, 20.0)], rows, vec![])).unwrap_err();
            assert!(error.to_string().contains("there is nothing to draw"), "{error}");
            assert!(!path.exists());
        }
    }

    #[test]
    fn sizes_at_the_axis_do_not_overlap() {
        let sizes: Vec<usize> = (1..=40).map(|i| i * 64).collect();
        let kept = apart(&sizes, &(50.0..3000.0));
        assert_eq!((kept[0], kept[kept.len() - 1]), (64.0, 2560.0));
        assert!((5..=14).contains(&kept.len()), "{kept:?}");
    }
}
