//! What was gathered, as the words and places of the page.

use super::chart::{Colours, LEFT, RangeChart, Stretch, Tick, WIDTH, range_chart};
use super::gather::{Gathered, Page, RunTold};
use super::grid::{Axis, OTHERS};
use super::lanes::{Lane, height, lanes};
use super::range_map::{RangeMap, range_map};
use super::scene::Scene;
use super::story_view::{StoryView, stories_told};
use super::words::{counted, machine_time, number, text, time};
use crate::decode::event::NetnsId;
use crate::report::time::human;
use crate::sink::{SinkError, outlet};
use askama::Template;
use std::io::Write;
use std::sync::PoisonError;

/// Rows of a tally.
const TALLY: usize = 15;
/// Namespaces that are drawn.
const DRAWN: usize = 4;
/// Captures that were skipped and are named.
const SKIPPED: usize = 10;
/// Runs that are listed.
const RUNS: usize = 100;

/// The page.
#[derive(Template)]
#[template(path = "report.html")]
struct Html {
    title: String,
    version: &'static str,
    began: String,
    ended: String,
    began_machine: String,
    ended_machine: String,
    length: String,
    figures: Vec<(String, String)>,
    warnings: Vec<String>,
    legend: Vec<(String, String)>,
    stories: Vec<StoryView>,
    stories_left_out: Option<String>,
    tallies: Vec<TallyView>,
    scenes: Vec<SceneView>,
    scenes_left_out: Option<String>,
    ticks: Vec<Tick>,
    runs: Vec<RunView>,
    runs_left_out: usize,
}

struct TallyView {
    title: &'static str,
    what: &'static str,
    rows: Vec<(String, String, f64)>,
    more: usize,
}

struct SceneView {
    number: usize,
    name: String,
    /// From when on it is followed, if not from the beginning.
    only_since: Option<String>,
    lanes: Vec<Lane>,
    lanes_height: f64,
    lanes_left_out: Option<String>,
    chart: Option<RangeChart>,
    map: Option<RangeMap>,
}

struct RunView {
    host: String,
    began: String,
    length: String,
    kernel: String,
    backend: String,
    version: String,
    lost: String,
    complete: &'static str,
}

impl Page {
    /// Writes the page.
    ///
    /// # Errors
    /// [`SinkError::Write`], with the output as `name`.
    pub fn write(&self, out: &mut dyn Write, name: &str) -> Result<(), SinkError> {
        let mut gathered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let html = Html::of(std::mem::take(&mut gathered));
        let written = html.write_into(&mut *out).and_then(|()| out.flush());
        written.map_err(|source| outlet::failed(name, source))
    }
}

impl Html {
    fn of(mut gathered: Gathered) -> Self {
        let began = gathered.began.unwrap_or(0);
        let ended = gathered.ended.max(began);
        let axis = Axis::of(began, ended);
        let (first, last) = gathered.events.unwrap_or((began, ended));
        let stretch = Stretch::new(first, last);
        let mut warnings = warnings(&gathered);
        let mut stories = std::mem::take(&mut gathered.stories);
        let hosts = hosts(&gathered.runs);
        let figure = |count: u64, noun: &str| {
            let plural = if count == 1 { "" } else { "s" };
            (number(count), format!("{noun}{plural}"))
        };
        let figures = vec![
            figure(stories.incidents, "incident"),
            figure(stories.attempts, "failed call"),
            (number(gathered.taken), "ports taken".to_owned()),
            (number(gathered.let_go), "ports let go".to_owned()),
            figure(hosts.len() as u64, "host"),
        ];
        let tallies = vec![
            tally(
                "By cause",
                "Cause",
                stories
                    .causes()
                    .into_iter()
                    .map(|(cause, count)| (cause.word(), count))
                    .collect(),
            ),
            tally(
                "Who did not get a port",
                "Program",
                stories.losers.clone().into_iter().collect(),
            ),
            tally(
                "Who held it",
                "Program",
                stories.holders.clone().into_iter().collect(),
            ),
        ];
        let (told, left_out) = stories_told(&mut stories);

        let mut scenes = std::mem::take(&mut gathered.scenes);
        scenes.sort_by(|one, other| {
            let rank = |scene: &Scene| std::cmp::Reverse((scene.incidents, scene.held));
            rank(one)
                .cmp(&rank(other))
                .then_with(|| one.host.cmp(&other.host))
                .then(one.netns.cmp(&other.netns))
        });
        scenes.truncate(DRAWN);
        let scenes_left_out = gathered.not_drawn(&scenes);
        let elsewhere = gathered.elsewhere(&scenes);
        if elsewhere > 0 {
            let holds = counted(elsewhere, "hold");
            warnings.push(format!(
                "In no chart: {holds} in network namespaces that are not drawn."
            ));
        }
        let mut largest: Vec<(u32, u64)> = Vec::new();
        for (program, amount) in scenes.iter().flat_map(|scene| scene.grid.programs()) {
            match largest.iter_mut().find(|(known, _)| *known == program) {
                Some((_, sum)) => *sum += amount,
                None => largest.push((program, amount)),
            }
        }
        largest.sort_by_key(|(program, amount)| (std::cmp::Reverse(*amount), *program));
        let colours = Colours::new(&largest);
        let names = std::mem::take(&mut gathered.programs);
        let scenes = scenes
            .into_iter()
            .enumerate()
            .map(|(at, scene)| SceneView::of(at + 1, scene, (axis, stretch), &colours, &names))
            .collect();
        let title = match &hosts[..] {
            [one] => format!("Port conflicts on {}", text(one)),
            many => format!("Port conflicts on {} hosts", many.len()),
        };
        let runs_left_out = gathered.runs.len().saturating_sub(RUNS);
        Self {
            title,
            version: env!("CARGO_PKG_VERSION"),
            began: time(began),
            ended: time(ended),
            began_machine: machine_time(began),
            ended_machine: machine_time(ended),
            length: human(u64::try_from((ended - began) / 1_000_000).unwrap_or(0)),
            figures,
            warnings,
            legend: colours.legend(&names),
            stories: told,
            stories_left_out: left_out,
            tallies,
            scenes,
            scenes_left_out,
            ticks: stretch.ticks(),
            runs: gathered.runs.iter().take(RUNS).map(RunView::of).collect(),
            runs_left_out,
        }
    }
}

fn hosts(runs: &[RunTold]) -> Vec<String> {
    let mut hosts: Vec<String> = runs.iter().map(|run| run.host.clone()).collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

/// What the reader must know before believing the rest.
fn warnings(gathered: &Gathered) -> Vec<String> {
    let mut warnings = Vec::new();
    let runs = &gathered.runs;
    let whole = |run: &&RunTold| run.summary.as_ref().is_some_and(|summary| summary.complete);
    let cut = runs.len() - runs.iter().filter(whole).count();
    if cut > 0 {
        let runs = counted(cut as u64, "run");
        warnings.push(format!(
            "{runs} not complete: events were lost or the capture was cut. What is told happened; \
             what is missing is not known."
        ));
    }
    let skipped = gathered.skipped.iter().take(SKIPPED);
    warnings.extend(skipped.map(|why| format!("Skipped: {}.", text(why))));
    if let Some(more @ 1..) = gathered.skipped.len().checked_sub(SKIPPED) {
        warnings.push(format!("Skipped: {}.", counted(more as u64, "more file")));
    }
    let mut redacted: Vec<&str> = runs
        .iter()
        .flat_map(|run| &run.redacted)
        .map(String::as_str)
        .collect();
    redacted.sort_unstable();
    redacted.dedup();
    if !redacted.is_empty() {
        warnings.push(format!(
            "Taken out or replaced by pseudonyms: {}.",
            redacted.join(", ")
        ));
    }
    if runs.iter().any(|run| run.filtered) {
        warnings.push("Captured with filters: other events are not in it.".to_owned());
    }
    if gathered.taken == 0 && gathered.let_go == 0 {
        warnings.push(
            "No port was seen taken or let go: the timelines rest on the conflicts alone."
                .to_owned(),
        );
    }
    warnings
}

#[expect(clippy::cast_precision_loss, reason = "a bar's length")]
fn tally(title: &'static str, what: &'static str, mut rows: Vec<(String, u64)>) -> TallyView {
    rows.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    let more = rows.len().saturating_sub(TALLY);
    let most = rows.first().map_or(1, |(_, count)| *count).max(1) as f64;
    rows.truncate(TALLY);
    let rows = rows.into_iter().map(|(name, count)| {
        let share = (count as f64 / most * 1000.0).round() / 10.0;
        (text(&name), number(count), share)
    });
    TallyView {
        title,
        what,
        rows: rows.collect(),
        more,
    }
}

impl SceneView {
    fn of(
        number: usize,
        mut scene: Scene,
        (axis, stretch): (Axis, Stretch),
        colours: &Colours,
        names: &[String],
    ) -> Self {
        let program = |name: &str| names.iter().position(|known| known == name);
        let by_name =
            |name: &str| colours.class(program(name).and_then(|number| u32::try_from(number).ok()));
        let (lanes, lanes_left_out) = lanes(&scene, stretch, &by_name);
        let grid = std::mem::replace(&mut scene.grid, super::grid::Grid::new(axis.began)).on(axis);
        let name = |program: u32| match names.get(program as usize) {
            Some(name) if program != OTHERS => text(name),
            Some(_) | None => "others".to_owned(),
        };
        let chart = (scene.held > 0).then(|| {
            range_chart(
                &scene,
                &grid,
                (axis, stretch),
                &|program| colours.class(Some(program)),
                &name,
            )
        });
        Self {
            number,
            name: match NetnsId(scene.netns) {
                NetnsId::UNKNOWN => format!(
                    "{}, network namespaces that are not known",
                    text(&scene.host)
                ),
                NetnsId(netns) => format!("{}, network namespace {netns}", text(&scene.host)),
            },
            only_since: scene.only_since.map(time),
            lanes_height: height(lanes.len()),
            lanes,
            lanes_left_out,
            chart,
            map: range_map(&scene, LEFT, WIDTH),
        }
    }
}

impl RunView {
    fn of(run: &RunTold) -> Self {
        let start = run.start.as_ref();
        let summary = run.summary.as_ref();
        let lost = summary.map(|summary| summary.lost.iter().map(|lost| lost.count).sum());
        Self {
            host: text(&run.host),
            began: time(run.began),
            length: summary.map_or_else(String::new, |summary| human(summary.duration_ms)),
            kernel: start.map_or_else(String::new, |start| text(&start.kernel)),
            backend: start.map_or_else(String::new, |start| start.backend.word().to_owned()),
            version: start.map_or_else(String::new, |start| text(&start.version)),
            lost: number(lost.unwrap_or(0)),
            complete: match summary {
                Some(summary) if summary.complete => "yes",
                Some(_) | None => "no",
            },
        }
    }
}
