//! Coordinates of a timeline: who held the ports of a range.

use super::grid::{Axis, COLUMNS, Grid, OTHERS, PORTS, ROWS};
use super::scene::{ANY, Scene};
use super::words::{number, short_time, text, time};

/// Colours that are told apart; the last one stands for everything else.
pub(super) const COLOURS: usize = 7;
/// Width of a chart's plane, in its own units.
pub(super) const WIDTH: f64 = 960.0;
/// Left of the plane: labels.
pub(super) const LEFT: f64 = 120.0;
/// Rows of the range's chart: at most so many, of several rows of the grid each.
const BANDS: usize = 56;
const BAND: f64 = 7.0;
/// Where failures are marked that wanted any port.
const TOP: f64 = 6.0;

/// Programs and their colours: the largest have one of their own.
pub(super) struct Colours(Vec<u32>);

impl Colours {
    pub(super) fn new(largest: &[(u32, u64)]) -> Self {
        let own = largest.iter().map(|(program, _)| *program);
        Self(
            own.filter(|program| *program != OTHERS)
                .take(COLOURS)
                .collect(),
        )
    }

    /// The class of a program: `c0`, ... or `cx`.
    pub(super) fn class(&self, program: Option<u32>) -> String {
        let own = self.0.iter().position(|known| Some(*known) == program);
        own.map_or_else(|| "cx".to_owned(), |number| format!("c{number}"))
    }

    pub(super) fn legend(&self, names: &[String]) -> Vec<(String, String)> {
        let name = |program: &u32| names.get(*program as usize).map(|name| text(name));
        let own = self.0.iter().enumerate();
        own.filter_map(|(number, program)| Some((format!("c{number}"), name(program)?)))
            .collect()
    }
}

/// The stretch of time that the charts show: from the first event to the last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    began: i64,
    ended: i64,
}

/// A label at the foot of a chart.
pub(super) struct Tick {
    pub(super) x: f64,
    pub(super) label: String,
    pub(super) anchor: &'static str,
}

impl Stretch {
    /// With a little room at both ends.
    pub(super) fn new(began: i64, ended: i64) -> Self {
        let room = (ended.saturating_sub(began) / 50).max(1_000_000);
        Self {
            began: began.saturating_sub(room),
            ended: ended.saturating_add(room),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a place on a page")]
    pub(super) fn x(self, at: i64) -> f64 {
        let whole = self.ended.saturating_sub(self.began).max(1) as f64;
        let since = at.clamp(self.began, self.ended) - self.began;
        round(LEFT + since as f64 / whole * WIDTH)
    }

    pub(super) fn ticks(self) -> Vec<Tick> {
        const TICKS: i64 = 6;
        let whole = self.ended.saturating_sub(self.began);
        (0..=TICKS)
            .map(|n| {
                let at = self.began.saturating_add(whole / TICKS * n);
                Tick {
                    x: self.x(at),
                    label: short_time(at, whole),
                    anchor: match n {
                        0 => "start",
                        TICKS => "end",
                        _ => "middle",
                    },
                }
            })
            .collect()
    }
}

pub(super) fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// A rectangle of colour.
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) class: String,
    pub(super) opacity: f64,
    pub(super) title: String,
}

/// A failure.
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) title: String,
}

/// Failures that are marked in the chart of a range.
const MARKS: usize = 400;

/// A range over time.
pub(super) struct RangeChart {
    pub(super) rects: Vec<Rect>,
    pub(super) points: Vec<Point>,
    /// What to know of the marks.
    pub(super) caption: Option<String>,
    /// Ports at the left edge of some bands.
    pub(super) labels: Vec<(f64, String)>,
    pub(super) height: f64,
    /// Ports held on average in each of some stretches of time, and by whom most.
    pub(super) rows: Vec<(String, String, String)>,
}

/// Draws the part of the grid that holds the range.
#[expect(clippy::cast_precision_loss, reason = "places on a page")]
pub(super) fn range_chart(
    scene: &Scene,
    grid: &Grid,
    (axis, stretch): (Axis, Stretch),
    class: &dyn Fn(u32) -> String,
    name: &dyn Fn(u32) -> String,
) -> RangeChart {
    let (low, high) = scene.range.unwrap_or((0, u16::MAX));
    let row = |port: u16| (u32::from(port) / PORTS) as usize;
    let (first, last) = (row(low), row(high).min(ROWS - 1));
    let each = (last - first + 1).div_ceil(BANDS);
    let bands = (last - first + 1).div_ceil(each);
    let mut rects: Vec<Rect> = Vec::new();
    for band in 0..bands {
        let rows = first + band * each..(first + (band + 1) * each).min(last + 1);
        let ports = rows.len() as f64 * f64::from(PORTS);
        for at in 0..COLUMNS {
            let cells: Vec<(u32, f64)> =
                rows.clone().filter_map(|row| grid.cell(at, row)).collect();
            let held: f64 = cells.iter().map(|(_, held)| held).sum();
            let Some((most, _)) = cells.iter().max_by(|one, other| one.1.total_cmp(&other.1))
            else {
                continue;
            };
            let (class, opacity) = (class(*most), shade(held / ports));
            let (left, right) = (stretch.x(axis.left(at)), stretch.x(axis.left(at + 1)));
            let y = band as f64 * BAND;
            // Equal neighbours are one rectangle: a page of a quiet host stays small.
            if let Some(before) = rects.last_mut()
                && before.y == y
                && before.class == class
                && before.opacity == opacity
                && (before.x + before.width - left).abs() < 0.2
            {
                before.width = round(right - before.x);
                continue;
            }
            rects.push(Rect {
                x: left,
                y,
                width: round((right - left).max(0.5)),
                height: BAND,
                class,
                opacity,
                title: String::new(),
            });
        }
    }
    let y = |port: u16| round((row(port) - first) as f64 / each as f64 * BAND + BAND / 2.0);
    let inside = |port: u16| port == ANY || (low..=high).contains(&port);
    let mut points: Vec<Point> = Vec::new();
    let mut failures = 0;
    let ranks = scene.ranks().into_iter();
    for (key, failed) in ranks.filter(|((port, _), _)| inside(*port)) {
        let (port, _) = key;
        failures += failed;
        let contested = scene.contested.get(&key).into_iter();
        for mark in contested.flat_map(|contested| contested.marks.kept()) {
            let (x, y) = (stretch.x(mark.at), if port == ANY { TOP } else { y(port) });
            if points.len() < MARKS && points.iter().all(|point| (point.x, point.y) != (x, y)) {
                let what = match port {
                    ANY => "any port".to_owned(),
                    port => port.to_string(),
                };
                let title = format!(
                    "{} did not get {what} at {}",
                    text(&mark.program),
                    time(mark.at)
                );
                points.push(Point { x, y, title });
            }
        }
    }
    let step = (bands / 6).max(1);
    let labels = (0..bands).step_by(step).map(|band| {
        let port = ((first + band * each) * PORTS as usize).max(usize::from(low));
        (round(band as f64 * BAND + 8.0), port.to_string())
    });
    let marks = points.len() as u64;
    RangeChart {
        caption: caption(scene, failures, marks),
        rects,
        points,
        labels: labels.collect(),
        height: bands as f64 * BAND,
        rows: averages(grid, axis, (first, last), name),
    }
}

fn caption(scene: &Scene, failures: u64, marks: u64) -> Option<String> {
    let mut said = Vec::new();
    if scene.failed.keys().any(|(port, _)| *port == ANY) {
        said.push("Marks at the upper edge: calls that found no port of the range.".to_owned());
    }
    if failures > marks {
        said.push(format!(
            "Not every failed call has a mark of its own: {} calls failed to get a port of the \
             range, {} are marked, those of the ports with most failures first.",
            number(failures),
            number(marks)
        ));
    }
    (!said.is_empty()).then(|| said.join(" "))
}

/// Five steps, so that neighbours can be joined; the lightest is still seen.
fn shade(share: f64) -> f64 {
    match share {
        ..0.005 => 0.25,
        ..0.05 => 0.4,
        ..0.25 => 0.6,
        ..0.5 => 0.8,
        _ => 1.0,
    }
}

#[expect(clippy::cast_precision_loss, reason = "an average")]
fn averages(
    grid: &Grid,
    axis: Axis,
    (first, last): (usize, usize),
    name: &dyn Fn(u32) -> String,
) -> Vec<(String, String, String)> {
    const PARTS: usize = 12;
    let size = COLUMNS / PARTS;
    let parts = (0..PARTS).filter_map(|part| {
        let mut programs = std::collections::HashMap::new();
        for at in part * size..(part + 1) * size {
            for row in first..=last {
                if let Some((most, held)) = grid.cell(at, row) {
                    *programs.entry(most).or_insert(0.0) += held / size as f64;
                }
            }
        }
        let all: f64 = programs.values().sum();
        let most = programs
            .into_iter()
            .max_by(|one, other| one.1.total_cmp(&other.1).then(other.0.cmp(&one.0)))?;
        Some((
            time(axis.left(part * size)),
            format!("{all:.1}"),
            name(most.0),
        ))
    });
    parts.collect()
}
