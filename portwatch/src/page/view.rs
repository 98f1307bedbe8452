//! What was gathered, as the words and places of the page.

use super::chart::{Colours, Lane, LEFT, RangeChart, Tick, WIDTH, height, lanes, range_chart, ticks};
use super::gather::{Gathered, Page, RunTold};
use super::grid::{Axis, OTHERS};
use super::range_map::{RangeMap, range_map};
use super::scene::Scene;
use super::stories::{LISTED, Story};
use super::words::{counted, machine_time, number, text, time};
use crate::report::time::human;
use crate::sink::SinkError;
use askama::Template;
use std::io::{self, Write};
use std::sync::PoisonError;

/// Stories that are told.
const TOLD: usize = 120;
/// Rows of a tally.
const TALLY: usize = 15;
/// Namespaces that are drawn.
const DRAWN: usize = 4;
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
    scenes_left_out: usize,
    ticks: Vec<Tick>,
    runs: Vec<RunView>,
    runs_left_out: usize,
}

struct StoryView {
    anchor: String,
    port: String,
    loser: String,
    holder: String,
    cause: String,
    certainty: String,
    incidents: String,
    attempts: String,
    first: String,
    last: String,
    hosts: String,
    ends: String,
    message: String,
    advice: Vec<(String, Option<String>)>,
    holders: Vec<String>,
    rows: Vec<IncidentView>,
    more: u64,
}

struct IncidentView {
    id: String,
    host: String,
    at: String,
    at_machine: String,
    loser: u32,
    holder: String,
    attempts: String,
    end: String,
    message: String,
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
    lanes: Vec<Lane>,
    lanes_height: f64,
    lanes_left_out: usize,
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
        written.map_err(|source| match source.kind() {
            io::ErrorKind::BrokenPipe => SinkError::Closed,
            _ => SinkError::Write {
                output: name.to_owned(),
                source,
            },
        })
    }
}

impl Html {
    fn of(mut gathered: Gathered) -> Self {
        let began = gathered.began.unwrap_or(0);
        let ended = gathered.ended.max(began);
        let axis = Axis::of(began, ended);
        let warnings = warnings(&gathered);
        let stories = std::mem::take(&mut gathered.stories);
        let figures = vec![
            (number(stories.incidents), "incidents".to_owned()),
            (number(stories.attempts), "failed calls".to_owned()),
            (number(gathered.taken), "ports taken".to_owned()),
            (number(gathered.let_go), "ports let go".to_owned()),
            (number(hosts(&gathered.runs).len() as u64), "hosts".to_owned()),
        ];
        let tallies = vec![
            tally("By cause", "Cause", stories.causes.iter().map(|(cause, count)| (cause.word(), *count)).collect()),
            tally("Who did not get a port", "Program", stories.losers.clone().into_iter().collect()),
            tally("Who held it", "Program", stories.holders.clone().into_iter().collect()),
        ];
        let (told, left_out) = stories_told(stories.all, stories.untold);

        let mut scenes = std::mem::take(&mut gathered.scenes);
        scenes.sort_by(|one, other| {
            let rank = |scene: &Scene| std::cmp::Reverse((scene.incidents, scene.held));
            rank(one).cmp(&rank(other)).then_with(|| one.host.cmp(&other.host)).then(one.netns.cmp(&other.netns))
        });
        let scenes_left_out = scenes.len().saturating_sub(DRAWN);
        scenes.truncate(DRAWN);
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
            .map(|(at, scene)| SceneView::of(at + 1, scene, axis, &colours, &names))
            .collect();
        let hosts = hosts(&gathered.runs);
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
            ticks: ticks(axis),
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
    let mut redacted: Vec<&str> = runs
        .iter()
        .flat_map(|run| &run.redacted)
        .map(String::as_str)
        .collect();
    redacted.sort_unstable();
    redacted.dedup();
    if !redacted.is_empty() {
        warnings.push(format!("Taken out or replaced by pseudonyms: {}.", redacted.join(", ")));
    }
    if runs.iter().any(|run| run.filtered) {
        warnings.push("Captured with filters: other events are not in it.".to_owned());
    }
    if gathered.taken == 0 && gathered.let_go == 0 {
        warnings.push("No port was seen taken or let go: the timelines rest on the conflicts alone.".to_owned());
    }
    if gathered.elsewhere > 0 {
        let holds = counted(gathered.elsewhere, "hold");
        warnings.push(format!("{holds} in further namespaces are in no chart."));
    }
    warnings
}

fn stories_told(mut all: Vec<Story>, untold: u64) -> (Vec<StoryView>, Option<String>) {
    all.sort_by(|one, other| {
        other.incidents.cmp(&one.incidents).then(other.attempts.cmp(&one.attempts)).then(one.first.cmp(&other.first))
    });
    let rest = all.get(TOLD..).unwrap_or_default();
    let incidents = untold + rest.iter().map(|story| story.incidents).sum::<u64>();
    let left_out = (incidents > 0).then(|| {
        format!("{} of smaller stories are counted above and not told here.", counted(incidents, "incident"))
    });
    all.truncate(TOLD);
    let told = all.iter().enumerate().map(|(at, story)| StoryView::of(at + 1, story));
    (told.collect(), left_out)
}

impl StoryView {
    fn of(number_of: usize, story: &Story) -> Self {
        let conflict = &story.conflict;
        let port = match story.port {
            Some(port) => format!("{port}/{}", story.transport),
            None => format!("any port/{}", story.transport),
        };
        let mut hosts: Vec<String> = story.hosts.iter().map(|host| text(host)).collect();
        if story.more_hosts {
            hosts.push("...".to_owned());
        }
        let ends = story.ends.iter().map(|(how, count)| format!("{how}: {}", number(*count)));
        let open = story.incidents.saturating_sub(story.ends.values().sum());
        let open = (open > 0).then(|| format!("open or not seen to end: {}", number(open)));
        let advice = conflict.advice.iter();
        let holders = conflict.holders.iter().take(10).map(|holder| {
            let processes: Vec<String> = holder
                .processes
                .iter()
                .take(4)
                .map(|process| format!("{} (pid {})", text(&process.comm), process.pid))
                .collect();
            let who = match processes.is_empty() {
                true => "no process known".to_owned(),
                false => processes.join(", "),
            };
            let peer = holder.peer.as_ref();
            let peer = peer.map(|peer| format!(" to {} port {}", text(&peer.address), peer.port));
            format!(
                "{}: {} {}, {} port {}{}{}",
                who,
                holder.kind.word(),
                holder.state.word(),
                text(&holder.local.address),
                holder.local.port,
                peer.unwrap_or_default(),
                if holder.blocking { "" } else { " (does not block)" },
            )
        });
        Self {
            anchor: format!("story-{number_of}"),
            port,
            loser: text(&story.loser),
            holder: story.holder.as_deref().map_or_else(|| "nobody known".to_owned(), text),
            cause: story.cause.word(),
            certainty: story.certainty.word(),
            incidents: counted(story.incidents, "incident"),
            attempts: counted(story.attempts, "failed call"),
            first: time(story.first),
            last: time(story.last),
            hosts: hosts.join(", "),
            ends: ends.chain(open).collect::<Vec<_>>().join(", "),
            message: text(&conflict.message),
            advice: advice
                .map(|advice| (text(&advice.text), advice.command.as_deref().map(text)))
                .collect(),
            holders: holders.collect(),
            rows: story.listed.iter().map(IncidentView::of).collect(),
            more: story.incidents.saturating_sub(LISTED as u64),
        }
    }
}

impl IncidentView {
    fn of(incident: &super::stories::Incident) -> Self {
        Self {
            id: text(&incident.id),
            host: text(&incident.host),
            at: time(incident.at),
            at_machine: machine_time(incident.at),
            loser: incident.loser,
            holder: incident.holder.map_or_else(String::new, |pid| pid.to_string()),
            attempts: number(incident.attempts),
            end: match &incident.end {
                Some((how, ms)) => format!("{how} after {}", human(*ms)),
                None => "not seen to end".to_owned(),
            },
            message: text(&incident.message),
        }
    }
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
    fn of(number: usize, mut scene: Scene, axis: Axis, colours: &Colours, names: &[String]) -> Self {
        let program = |name: &str| names.iter().position(|known| known == name);
        let by_name = |name: &str| {
            colours.class(program(name).and_then(|number| u32::try_from(number).ok()))
        };
        let (lanes, lanes_left_out) = lanes(&scene, axis, &by_name);
        let grid = std::mem::replace(&mut scene.grid, super::grid::Grid::new(axis.began)).on(axis);
        let name = |program: u32| match names.get(program as usize) {
            Some(name) if program != OTHERS => text(name),
            Some(_) | None => "others".to_owned(),
        };
        let chart = (scene.held > 0)
            .then(|| range_chart(&scene, &grid, axis, &|program| colours.class(Some(program)), &name));
        Self {
            number,
            name: format!("{}, network namespace {}", text(&scene.host), scene.netns),
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
