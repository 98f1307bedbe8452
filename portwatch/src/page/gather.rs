//! What a page needs of the reports, gathered while they come.

use super::scene::Scene;
use super::stories::Stories;
use crate::export::holdings::{Holding, Holdings};
use crate::export::wall_ns;
use crate::report::{Body, ClockAnchor, Report, Start, Summary};
use crate::sink::{Sink, SinkError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Namespaces that are told apart.
const SCENES: usize = 32;
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

/// Everything that the page tells.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) runs: Vec<RunTold>,
    pub(super) began: Option<i64>,
    pub(super) ended: i64,
    /// Of the first and the last event.
    pub(super) events: Option<(i64, i64)>,
    pub(super) scenes: Vec<Scene>,
    places: HashMap<(String, u32), usize>,
    /// Holds in namespaces that are not told apart.
    pub(super) elsewhere: u64,
    pub(super) stories: Stories,
    pub(super) programs: Vec<String>,
    numbers: HashMap<String, u32>,
    pub(super) taken: u64,
    pub(super) let_go: u64,
    pub(super) refused: u64,
}

impl Gathered {
    /// The namespace of a run's host, with the range that its start line tells.
    fn scene(&mut self, run: usize, netns: u32) -> Option<&mut Scene> {
        let told = self.runs.get(run)?;
        let key = (told.host.clone(), netns);
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None if self.scenes.len() < SCENES => {
                let mut scene = Scene::new(&told.host, netns, self.began.unwrap_or(0));
                let mut ranges = told.start.iter().flat_map(|start| &start.namespaces);
                if let Some(range) = ranges.find(|range| range.netns == netns) {
                    scene.range(range);
                }
                self.scenes.push(scene);
                self.places.insert(key, self.scenes.len() - 1);
                self.scenes.len() - 1
            }
            None => return None,
        };
        self.scenes.get_mut(place)
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
        match self.scene(run, holding.netns) {
            Some(scene) => scene.held(holding, number),
            None => self.elsewhere += 1,
        }
    }
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
                if let Some(scene) = gathered.scene(self.number, conflict.wanted.netns) {
                    scene.conflict(conflict, at, new);
                }
            }
            Body::Resolved(resolved) => gathered.stories.resolved(resolved, &self.source.run),
            Body::Refused(_) => gathered.refused += 1,
            Body::Assign(assign) => {
                gathered.taken += 1;
                if let Some(scene) = gathered.scene(self.number, assign.netns) {
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
        if let Some(holding) = self.holdings.report(&report.body, at) {
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
