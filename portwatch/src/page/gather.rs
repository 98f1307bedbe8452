//! What a page needs of the reports, gathered while they come.

use super::scene::Scene;
use super::stories::Stories;
use super::words::counted;
use crate::export::holdings::{Holding, Holdings};
use crate::export::wall_ns;
use crate::report::{Body, ClockAnchor, Report, Start, Summary};
use crate::sink::{Sink, SinkError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Namespaces that are followed at once.
const SCENES: usize = 32;
/// Namespaces that are counted.
const PLACES: usize = 65_536;
/// Programs that are told apart by name.
const PROGRAMS: usize = 10_000;

/// One run of a capture.
#[derive(Debug)]
pub(super) struct RunTold {
    pub(super) host: String,
    pub(super) began: i64,
    pub(super) start: Option<Start>,
    pub(super) summary: Option<Summary>,
    pub(super) redacted: Vec<String>,
    pub(super) filtered: bool,
}

/// What is counted of every namespace.
#[derive(Debug, Default)]
struct Place {
    incidents: u64,
    held: u64,
    /// In `Gathered::scenes`, while it is followed.
    scene: Option<usize>,
}

/// Everything that the page tells.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) runs: Vec<RunTold>,
    /// Captures that are not on the page, each with the reason.
    pub(super) skipped: Vec<String>,
    pub(super) began: Option<i64>,
    pub(super) ended: i64,
    /// Of the first and the last event.
    pub(super) events: Option<(i64, i64)>,
    pub(super) scenes: Vec<Scene>,
    places: HashMap<(String, u32), Place>,
    /// There were namespaces that are not even counted.
    more_places: bool,
    /// Holds in all namespaces.
    held: u64,
    pub(super) stories: Stories,
    pub(super) programs: Vec<String>,
    numbers: HashMap<String, u32>,
    pub(super) taken: u64,
    pub(super) let_go: u64,
    pub(super) refused: u64,
}

impl Gathered {
    /// The namespace of a run's host, with the range that its start line tells, where so many
    /// incidents and holds more were seen; `None` where others had more of them.
    fn scene(
        &mut self,
        run: usize,
        netns: u32,
        (incidents, held): (u64, u64),
        at: i64,
    ) -> Option<&mut Scene> {
        let told = self.runs.get(run)?;
        let key = (told.host.clone(), netns);
        let new = !self.places.contains_key(&key);
        if new && self.places.len() >= PLACES {
            self.more_places = true;
            return None;
        }
        let place = self.places.entry(key.clone()).or_default();
        place.incidents += incidents;
        place.held += held;
        let counts = (place.incidents, place.held);
        let number = match place.scene {
            Some(number) => number,
            None => {
                let number = self.room(counts)?;
                let told = self.runs.get(run)?;
                let mut scene = Scene::new(&told.host, netns, self.began.unwrap_or(0));
                let mut ranges = told.start.iter().flat_map(|start| &start.namespaces);
                if let Some(range) = ranges.find(|range| range.netns == netns) {
                    scene.range(range);
                }
                scene.only_since = (!new).then_some(at);
                match self.scenes.get_mut(number) {
                    Some(least) => *least = scene,
                    None => self.scenes.push(scene),
                }
                self.places.entry(key).or_default().scene = Some(number);
                number
            }
        };
        let scene = self.scenes.get_mut(number)?;
        (scene.incidents, scene.held) = counts;
        Some(scene)
    }

    /// Where one more namespace is followed: instead of the one with least, if that has less than
    /// half as much. Two that are alike must not take turns.
    fn room(&mut self, counts: (u64, u64)) -> Option<usize> {
        if self.scenes.len() < SCENES {
            return Some(self.scenes.len());
        }
        let scenes = self.scenes.iter().enumerate();
        let (number, least) =
            scenes.min_by_key(|(_, scene)| weight((scene.incidents, scene.held)))?;
        if weight(counts) <= weight((least.incidents, least.held)).saturating_mul(2) {
            return None;
        }
        let key = (least.host.clone(), least.netns);
        self.places.entry(key).or_default().scene = None;
        Some(number)
    }

    /// What to know of the namespaces that are not drawn.
    pub(super) fn not_drawn(&self, drawn: &[Scene]) -> Option<String> {
        let is_drawn = |(host, netns): &(String, u32)| {
            let mut drawn = drawn.iter();
            drawn.any(|scene| scene.host == *host && scene.netns == *netns)
        };
        let rest = self.places.iter().filter(|(key, _)| !is_drawn(key));
        let rest: Vec<&Place> = rest.map(|(_, place)| place).collect();
        let most = rest.iter().map(|place| place.incidents).max()?;
        let beyond = match self.more_places {
            true => " Later ones are not even counted.",
            false => "",
        };
        Some(format!(
            "Not drawn: {}, of at most {} each.{beyond}",
            counted(rest.len() as u64, "more network namespace"),
            counted(most, "incident")
        ))
    }

    /// Holds in namespaces that are not drawn.
    pub(super) fn elsewhere(&self, drawn: &[Scene]) -> u64 {
        let here = drawn.iter().map(|scene| scene.held);
        self.held.saturating_sub(here.sum())
    }

    fn number(&mut self, program: &str) -> u32 {
        if let Some(number) = self.numbers.get(program) {
            return *number;
        }
        let number = u32::try_from(self.programs.len()).unwrap_or(super::grid::OTHERS);
        if self.programs.len() >= PROGRAMS {
            return super::grid::OTHERS;
        }
        self.programs.push(program.to_owned());
        self.numbers.insert(program.to_owned(), number);
        number
    }

    fn held(&mut self, run: usize, holding: &Holding) {
        let number = self.number(&holding.who.comm);
        self.held += 1;
        if let Some(scene) = self.scene(run, holding.netns, (0, 1), holding.until) {
            scene.held(holding, number);
        }
    }
}

/// An incident weighs more than any number of holds.
fn weight((incidents, held): (u64, u64)) -> u128 {
    (u128::from(incidents) << 64) + u128::from(held)
}

/// A page in the making, which several runs write to.
#[derive(Clone, Debug, Default)]
pub struct Page(pub(super) Arc<Mutex<Gathered>>);

/// What the page says of where a run comes from.
#[derive(Clone, Debug)]
pub struct Source {
    /// Name of the machine.
    pub host: String,
    /// Id of the run.
    pub run: String,
    /// What was taken out when it was captured or is now.
    pub redacted: Vec<String>,
    /// The capture does not hold everything.
    pub filtered: bool,
}

impl Page {
    /// Captures that were not read, each with the reason.
    pub fn skipped(&self, skipped: Vec<String>) {
        let mut gathered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gathered.skipped = skipped;
    }

    /// The sink of one run.
    #[must_use]
    pub fn sink(&self, source: Source) -> PageSink {
        PageSink {
            page: self.clone(),
            source,
            anchor: ClockAnchor {
                boottime_ns: 0,
                realtime_ns: 0,
            },
            holdings: Holdings::default(),
            number: 0,
        }
    }
}

/// One run's way onto the page.
pub struct PageSink {
    page: Page,
    source: Source,
    anchor: ClockAnchor,
    holdings: Holdings,
    /// Of the run, in `Gathered::runs`.
    number: usize,
}

impl PageSink {
    fn start(&mut self, gathered: &mut Gathered, start: &Start, at: i64) {
        self.holdings = Holdings::new(at);
        self.number = gathered.runs.len();
        gathered.began = Some(gathered.began.map_or(at, |began| began.min(at)));
        gathered.runs.push(RunTold {
            host: self.source.host.clone(),
            began: at,
            start: Some(start.clone()),
            summary: None,
            redacted: self.source.redacted.clone(),
            filtered: self.source.filtered,
        });
    }

    fn finish(&mut self, gathered: &mut Gathered, summary: &Summary, at: i64) {
        let mut holdings = std::mem::take(&mut self.holdings);
        for holding in holdings.rest(at) {
            gathered.held(self.number, &holding);
        }
        if let Some(run) = gathered.runs.get_mut(self.number) {
            run.summary = Some(summary.clone());
        }
    }

    fn gather(&mut self, gathered: &mut Gathered, body: &Body, at: i64) {
        if !matches!(body, Body::Start(_) | Body::Lost(_) | Body::Summary(_)) {
            let (first, last) = gathered.events.unwrap_or((at, at));
            gathered.events = Some((first.min(at), last.max(at)));
        }
        match body {
            Body::Start(start) => self.start(gathered, start, at),
            Body::Conflict(conflict) => {
                let before = gathered.stories.incidents;
                let Source { run, host, .. } = &self.source;
                gathered.stories.conflict(conflict, run, host, at);
                let new = gathered.stories.incidents > before;
                let netns = conflict.wanted.netns;
                let counts = (u64::from(new), 0);
                if let Some(scene) = gathered.scene(self.number, netns, counts, at) {
                    scene.conflict(conflict, at, new);
                }
            }
            Body::Resolved(resolved) => gathered.stories.resolved(resolved, &self.source.run),
            Body::Refused(_) => gathered.refused += 1,
            Body::Assign(assign) => {
                gathered.taken += 1;
                if let Some(scene) = gathered.scene(self.number, assign.netns, (0, 0), at) {
                    let (port, transport) = (assign.local.port, assign.transport);
                    scene.taken(assign.origin, port, transport, &assign.process.comm);
                }
            }
            Body::Release(_) => gathered.let_go += 1,
            Body::Lost(_) => {}
            Body::Summary(summary) if summary.reason == "so-far" => {}
            Body::Summary(summary) => self.finish(gathered, summary, at),
        }
    }
}

impl Sink for PageSink {
    fn report(&mut self, report: &Report) -> Result<(), SinkError> {
        if let Body::Start(start) = &report.body {
            self.anchor = start.clock;
        }
        let at = wall_ns(self.anchor, report.at);
        let page = self.page.clone();
        let mut gathered = page.0.lock().unwrap_or_else(PoisonError::into_inner);
        gathered.ended = gathered.ended.max(at);
        for holding in self.holdings.report(&report.body, at) {
            gathered.held(self.number, &holding);
        }
        self.gather(&mut gathered, &report.body, at);
        Ok(())
    }

    fn anchor(&mut self, anchor: ClockAnchor) {
        self.anchor = anchor;
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}
