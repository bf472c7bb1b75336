//! Names beside points, where they cover nothing.

use super::Place;

/// A part of a figure that is taken, or a place for a name: left, top, right, bottom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Area(pub i32, pub i32, pub i32, pub i32);

impl Area {
    /// A square around a place.
    pub fn around((x, y): Place, radius: i32) -> Area {
        Area(x - radius, y - radius, x + radius, y + radius)
    }

    fn overlaps(&self, other: &Area) -> bool {
        self.0 < other.2 && other.0 < self.2 && self.1 < other.3 && other.1 < self.3
    }

    fn is_in(&self, other: &Area) -> bool {
        self.0 >= other.0 && self.1 >= other.1 && self.2 <= other.2 && self.3 <= other.3
    }
}

/// Places names one after the other.
pub struct Labels {
    within: Area,
    /// Points, and the lines that lead to names.
    points: Vec<Area>,
    taken: Vec<Area>,
    names: Vec<Area>,
}

/// A name's place, and the line that leads there from its point, if it is not beside it.
#[derive(Debug, PartialEq)]
pub struct Label {
    pub area: Area,
    pub leader: Option<[Place; 2]>,
}

/// How far from its point a name may be, and how finely places are tried, in pixels.
const REACH: i32 = 160;
const STEP: [usize; 2] = [4, 2];
/// Up to here no line has to lead to a name.
const BESIDE: i32 = 6;
const APART: i32 = 8;
/// As much further away a name may be for a line that leads to it past no other point or such line.
const DETOUR: i32 = 60;

impl Labels {
    /// In an area where points are drawn.
    pub fn new(within: Area, points: Vec<Area>) -> Labels {
        Labels { within, taken: points.clone(), points, names: Vec::new() }
    }

    /// Also keeps clear of a line.
    pub fn avoid(&mut self, [from, to]: [Place; 2]) {
        self.taken.extend(pieces(from, to));
    }

    /// The nearest free place for a name of a size at a point, taken from now on; `None` where all around is taken. `radius` is that
    /// of what is drawn at the point.
    pub fn place(&mut self, (x, y): Place, radius: i32, [width, height]: [i32; 2]) -> Option<Label> {
        let lefts = (x - REACH - width..=x + REACH).step_by(STEP[0]);
        let tops = (y - REACH - height..=y + REACH).step_by(STEP[1]);
        let grid = lefts.flat_map(|left| tops.clone().map(move |top| (left, top)));
        // Beside it and in its middle, whatever the grid.
        let sides = [(x + radius + 4, y - height / 2), (x - radius - 4 - width, y - height / 2)];
        let mut tried: Vec<(i32, i32, Label)> = Vec::new();
        for (left, top) in sides.into_iter().chain(grid) {
            let area = Area(left, top, left + width, top + height);
            let end = (x.clamp(area.0, area.2), y.clamp(area.1, area.3));
            let distance = f64::from(end.0 - x).hypot(f64::from(end.1 - y)) as i32 - radius;
            if (2..=REACH).contains(&distance) {
                let leader = (distance > BESIDE).then_some([(x, y), end]);
                tried.push((distance.max(BESIDE), (top + height / 2 - y).abs(), Label { area, leader }));
            }
        }
        tried.sort_by_key(|&(distance, beside, _)| (distance, beside));
        let meets = |leader: Option<[Place; 2]>, areas: &[Area]| {
            leader.is_some_and(|[from, to]| pieces(from, to).any(|piece| areas.iter().any(|area| area.overlaps(&piece))))
        };
        let free = |label: &Label| {
            label.area.is_in(&self.within)
                && !self.taken.iter().any(|taken| label.area.overlaps(taken))
                && !meets(label.leader, &self.names)
        };
        let own = Area::around((x, y), radius);
        let others: Vec<Area> = self.points.iter().filter(|point| !point.overlaps(&own)).copied().collect();
        let mut free = tried.into_iter().filter(|(.., label)| free(label)).peekable();
        let nearest = free.peek()?.0;
        let near: Vec<Label> = free.take_while(|&(distance, ..)| distance <= nearest + DETOUR).map(|(.., label)| label).collect();
        let clear = near.iter().position(|label| !meets(label.leader, &others)).unwrap_or(0);
        let found = near.into_iter().nth(clear)?;
        let Area(left, top, right, bottom) = found.area;
        // Two names in a row are not to read as one.
        self.taken.push(Area(left - APART, top, right + APART, bottom));
        self.names.push(found.area);
        if let Some(leader) = found.leader {
            self.avoid(leader);
            self.points.extend(pieces(leader[0], leader[1]));
        }
        Some(found)
    }
}

/// A line as small squares.
fn pieces(from: Place, to: Place) -> impl Iterator<Item = Area> {
    let count = ((to.0 - from.0).abs().max((to.1 - from.1).abs()) / 3).max(1);
    let at = move |i: i32| (from.0 + (to.0 - from.0) * i / count, from.1 + (to.1 - from.1) * i / count);
    (0..=count).map(move |i| Area::around(at(i), 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cover_neither_each_other_nor_points_nor_lines() {
        let within = Area(0, 0, 400, 300);
        let points: Vec<Place> = (0..6).map(|i| (200 + i, 150 - i)).collect();
        let taken: Vec<Area> = points.iter().map(|&p| Area::around(p, 6)).collect();
        let mut labels = Labels::new(within, taken.clone());
        labels.avoid([(0, 100), (400, 140)]);
        let mut placed: Vec<Area> = Vec::new();
        for &point in &points {
            let Label { area, leader } = labels.place(point, 6, [90, 14]).unwrap();
            assert!(area.is_in(&within));
            assert!(!taken.iter().chain(&placed).any(|other| area.overlaps(other)), "{area:?}");
            let line = |x: i32| 100 + x / 10;
            assert!(area.3 < line(area.0) || area.1 > line(area.2), "{area:?}");
            let crosses = |[from, to]: [Place; 2]| pieces(from, to).any(|piece| placed.iter().any(|name| piece.overlaps(name)));
            assert!(!leader.is_some_and(crosses), "{leader:?}");
            placed.push(area);
        }
        assert_eq!(Labels::new(within, vec![within]).place((20, 20), 6, [90, 14]), None);
    }
}
