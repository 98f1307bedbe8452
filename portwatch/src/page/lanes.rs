//! Coordinates of a timeline: who held the ports that somebody wanted in vain.

use super::chart::{Point, Rect, Stretch, round};
use super::scene::{ANY, Contested, Mark, Scene, Span};
use super::words::{counted, text, time};
use crate::export::holdings::End;

/// Contested ports that are drawn.
const DRAWN: usize = 24;
/// Height of the lane of one.
const LANE: f64 = 26.0;

/// The lane of a port that was wanted in vain.
pub(super) struct Lane {
    pub(super) label: String,
    pub(super) y: f64,
    pub(super) rects: Vec<Rect>,
    pub(super) points: Vec<Point>,
    pub(super) attempts: u64,
    pub(super) left_out: u64,
    /// The same as a table.
    pub(super) rows: Vec<Row>,
}

pub(super) struct Row {
    pub(super) what: &'static str,
    pub(super) program: String,
    pub(super) pid: Option<u32>,
    pub(super) from: String,
    pub(super) until: String,
}

/// The lanes of a scene's contested ports, those with most failures first, and what to know of those
/// that are not drawn.
pub(super) fn lanes(
    scene: &Scene,
    stretch: Stretch,
    class: &dyn Fn(&str) -> String,
) -> (Vec<Lane>, Option<String>) {
    let ranks = scene.ranks();
    let mut y = 0.0;
    let lanes = ranks.iter().take(DRAWN).filter_map(|(port, attempts)| {
        let contested = scene.contested.get(port)?;
        let label = match port {
            (ANY, transport) => format!("any port/{}", transport.word()),
            (port, transport) => format!("{port}/{}", transport.word()),
        };
        let lane = lane(label, y, (contested, *attempts), stretch, class);
        y += LANE;
        Some(lane)
    });
    let lanes: Vec<Lane> = lanes.collect();
    let rest = ranks.get(DRAWN..).unwrap_or_default();
    let left_out = rest.first().map(|(_, most)| {
        format!(
            "Not drawn: {}, of at most {} each.",
            counted(rest.len() as u64, "more port"),
            counted(*most, "failed call")
        )
    });
    (lanes, left_out)
}

fn lane(
    label: String,
    y: f64,
    (contested, attempts): (&Contested, u64),
    stretch: Stretch,
    class: &dyn Fn(&str) -> String,
) -> Lane {
    let mut spans: Vec<&Span> = contested.spans.iter().collect();
    spans.sort_by_key(|span| span.since);
    // In the middle of the lane's lower part.
    let bar = |(since, until): (i64, i64), height: f64, class: String, title: String| {
        let (left, right) = (stretch.x(since), stretch.x(until));
        Rect {
            x: left,
            y: y + 18.0 - height / 2.0,
            width: round((right - left).max(1.5)),
            height,
            class,
            opacity: 1.0,
            title,
        }
    };
    let rects = spans.iter().map(|span| {
        let title = format!(
            "{} held {label} from {}, {}",
            who(&span.program, span.pid),
            since(span),
            until(span)
        );
        bar((span.since, span.until), 10.0, class(&span.program), title)
    });
    // Others had it for some of that time, and the picture must not show it as free.
    let rest = contested.rest.map(|rest| {
        let title = format!(
            "{label} was held between {} and {} by more than can be told apart",
            time(rest.since),
            time(rest.until)
        );
        bar((rest.since, rest.until), 6.0, "cx".to_owned(), title)
    });
    let points = contested.marks.kept().iter().map(|mark| Point {
        x: stretch.x(mark.at),
        y: y + 7.0,
        title: format!(
            "{} did not get {label} at {}",
            who(&mark.program, mark.pid),
            time(mark.at)
        ),
    });
    let mut rows: Vec<(i64, Row)> = spans.iter().map(|span| (span.since, held(span))).collect();
    let marks = contested.marks.kept().iter();
    rows.extend(marks.map(|mark| (mark.at, wanted(mark))));
    rows.sort_by_key(|(at, _)| *at);
    let shown = contested.marks.kept().len() as u64;
    let rest_count = contested.rest.map_or(0, |rest| rest.count);
    Lane {
        rects: rest.into_iter().chain(rects).collect(),
        points: points.collect(),
        attempts,
        left_out: rest_count + attempts.saturating_sub(shown),
        rows: rows.into_iter().map(|(_, row)| row).collect(),
        label,
        y,
    }
}

fn since(span: &Span) -> String {
    match span.since_before {
        true => format!("{} or earlier", time(span.since)),
        false => time(span.since),
    }
}

fn until(span: &Span) -> String {
    let time = time(span.until);
    match span.end {
        End::LetGo => format!("until {time}"),
        End::Gone => format!("until {time} or earlier"),
        End::TimeWait => format!("until {time}, when TIME_WAIT was over"),
        End::Open => format!("still held at the end, {time}"),
        End::NotSeen => format!("end not seen, still held at {time}"),
    }
}

fn who(program: &str, pid: u32) -> String {
    match pid {
        0 => text(program),
        _ => format!("{} ({pid})", text(program)),
    }
}

fn held(span: &Span) -> Row {
    Row {
        what: "held",
        program: text(&span.program),
        pid: (span.pid > 0).then_some(span.pid),
        from: since(span),
        until: until(span),
    }
}

fn wanted(mark: &Mark) -> Row {
    Row {
        what: "not got",
        program: text(&mark.program),
        pid: Some(mark.pid),
        from: time(mark.at),
        until: String::new(),
    }
}

/// Height of all lanes.
#[expect(clippy::cast_precision_loss, reason = "a few dozen")]
pub(super) fn height(lanes: usize) -> f64 {
    lanes as f64 * LANE
}
