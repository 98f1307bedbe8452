//! The whole flow, in one place: record -> decode -> enrich -> correlate -> filter -> sink.
//!
//! No stage reads a clock, /proc or the kernel: what they need comes in through [`Facts`] and
//! through the calls below, so live and replay are the same. A capture is what came in through them.

use crate::capture::{Recorder, RecordingFacts};
use crate::correlate::{Correlator, Unwatch};
use crate::decode::event::{Event, Ktime, Task};
use crate::decode::{self, DecodeError, Decoder, Traffic};
use crate::enrich::{self, enrich, facts::Facts};
use crate::report::{Body, ClockAnchor, LostCount, Report, Start};
use crate::sink::filter::{EventName, Filter};
use crate::sink::redact::Redact;
use crate::sink::tally::{EndReason, Tally};
use crate::sink::{Sink, SinkError};
use crate::source::RawRecord;
use portwatch_common::RecordKind;

/// Every stage behind the source.
pub struct Pipeline {
    /// Answers about the machine.
    pub facts: Box<dyn Facts + Send>,
    /// Events to verdicts.
    pub correlator: Correlator,
    /// Which verdicts are told.
    pub filter: Filter,
    /// Counts of those.
    pub tally: Tally,
    /// What is taken out of them.
    pub redact: Redact,
    /// Where they go.
    pub sink: Box<dyn Sink>,
    /// When the run began.
    pub started: Ktime,
    decoder: Decoder,
    reports: Vec<Report>,
    tap: Option<Recorder>,
}

impl Pipeline {
    /// A pipeline that has seen nothing.
    #[must_use]
    pub fn new(
        facts: Box<dyn Facts + Send>,
        correlator: Correlator,
        filter: Filter,
        redact: Redact,
        sink: Box<dyn Sink>,
        started: Ktime,
    ) -> Self {
        Self {
            facts,
            correlator,
            filter,
            tally: Tally::default(),
            redact,
            sink,
            started,
            decoder: Decoder::new(),
            reports: Vec::new(),
            tap: None,
        }
    }

    /// The same, and everything that it takes and is answered goes into a capture.
    #[must_use]
    pub fn tapped(mut self, recorder: Recorder) -> Self {
        self.facts = Box::new(RecordingFacts::new(self.facts, recorder.clone()));
        self.tap = Some(recorder);
        self
    }

    /// Such a record would only make a line that nobody asked for, and there is no capture that wants
    /// it: [`Self::record`] would do nothing.
    #[inline]
    #[must_use]
    pub fn ignores(&self, traffic: Traffic) -> bool {
        let name = match traffic {
            Traffic::Assign => EventName::Assign,
            Traffic::Release => EventName::Release,
        };
        self.tap.is_none() && !self.filter.asks(name)
    }

    /// Takes one record all the way.
    ///
    /// # Errors
    /// The output is closed or broken. A record that makes no sense is told as lost.
    pub fn record(&mut self, raw: &RawRecord) -> Result<(), SinkError> {
        self.held(|pipeline| pipeline.one(raw))
    }

    /// The same for many, which is cheaper where they go into a capture.
    ///
    /// # Errors
    /// As [`Self::record`], of the first.
    pub fn records(
        &mut self,
        records: impl IntoIterator<Item = RawRecord>,
    ) -> Result<(), SinkError> {
        self.held(|pipeline| records.into_iter().try_for_each(|raw| pipeline.one(&raw)))
    }

    fn one(&mut self, raw: &RawRecord) -> Result<(), SinkError> {
        let stranger = self.tap.as_ref().is_some_and(|tap| tap.record(raw));
        self.take(raw, stranger)
    }

    /// No block of the capture ends meanwhile.
    fn held<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        let tap = self.tap.clone();
        let _held = tap.as_ref().map(Recorder::hold);
        act(self)
    }

    /// `stranger`: the capture knows nothing of the record's process yet.
    fn take(&mut self, raw: &RawRecord, stranger: bool) -> Result<(), SinkError> {
        if decode::kind(raw) == Some(RecordKind::BLIND) {
            let failure = decode::blind::blind(raw)
                .and_then(|blind| enrich::blind::failure(blind, self.facts.as_mut()));
            return match failure {
                Ok(failure) => self.event(Event::Failure(Box::new(failure))),
                Err(error) => self.unreadable(&error),
            };
        }
        match self.decoder.record(raw) {
            Ok(Some(event)) => match unasked(&event, &self.filter) {
                Some(task) => {
                    if stranger && let Some(tap) = &self.tap {
                        let facts = &mut self.facts;
                        let ask = || facts.process(task.tgid, task.start);
                        tap.background(task.tgid, task.start, ask);
                    }
                    Ok(())
                }
                None => self.event(event),
            },
            Ok(None) => Ok(()),
            Err(error) => self.unreadable(&error),
        }
    }

    /// The source has nothing more for now: failures whose holders are missing are told without.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn drained(&mut self) -> Result<(), SinkError> {
        self.held(|pipeline| {
            if let Some(tap) = &pipeline.tap {
                tap.drained();
            }
            pipeline.give_up()
        })
    }

    fn give_up(&mut self) -> Result<(), SinkError> {
        for event in self.decoder.drained() {
            self.event(event)?;
        }
        Ok(())
    }

    fn event(&mut self, event: Event) -> Result<(), SinkError> {
        let enriched = enrich(event, self.facts.as_mut());
        self.correlator.event(enriched, &mut self.reports);
        self.tell()
    }

    fn unreadable(&mut self, error: &DecodeError) -> Result<(), SinkError> {
        log::warn!("a record of the kernel side was skipped: {error}");
        let meaning = format!("records that make no sense to this version: {error}");
        let count = LostCount::new("decode", 1, meaning);
        self.dropped(self.started, vec![count])
    }

    /// The first line.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn start(&mut self, start: Start) -> Result<(), SinkError> {
        let at = self.started;
        self.reports.push(Report {
            at,
            body: Body::Start(Box::new(start)),
        });
        self.tell()
    }

    /// Time has come to `now`: incidents may be over.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn tick(&mut self, now: Ktime) -> Result<(), SinkError> {
        if let Some(tap) = &self.tap {
            tap.tick(now);
        }
        self.correlator.tick(now, &mut self.reports);
        self.tell()
    }

    /// Something was dropped before it came here.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn lost(&mut self, at: Ktime, counts: Vec<LostCount>) -> Result<(), SinkError> {
        if let Some(tap) = &self.tap {
            tap.lost(at, &counts);
        }
        self.dropped(at, counts)
    }

    /// A part of a capture is missing here, as [`Self::cut`] says, and is told as lost.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn hole(&mut self, at: Ktime, count: LostCount) -> Result<(), SinkError> {
        self.cut();
        self.dropped(at, vec![count])
    }

    /// A capture ends here, or a part of it is missing: the summary says that it is not complete. A
    /// failure whose holders would stand there is not told: it was told with them, and without them
    /// it would be another verdict.
    pub fn cut(&mut self) {
        self.tally.cut();
        let waiting = self.decoder.drained().len();
        if waiting > 0 {
            log::warn!(
                "not told: {waiting} failed calls, since the sockets that were in their way are in \
                 the part of the capture that is missing"
            );
        }
    }

    fn dropped(&mut self, at: Ktime, counts: Vec<LostCount>) -> Result<(), SinkError> {
        self.correlator.lost(at, counts, &mut self.reports);
        self.tell()
    }

    /// The wall clock was set or the machine resumed.
    pub fn anchor(&mut self, anchor: ClockAnchor) {
        if let Some(tap) = &self.tap {
            tap.anchor(anchor);
        }
        self.correlator.set_anchor(anchor);
        self.sink.anchor(anchor);
    }

    /// A summary so far, or the last line with what it closes.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn summary(&mut self, now: Ktime, reason: EndReason) -> Result<(), SinkError> {
        self.held(|pipeline| {
            if let Some(tap) = &pipeline.tap {
                tap.summary(now, reason);
            }
            pipeline.sum_up(now, reason)
        })
    }

    fn sum_up(&mut self, now: Ktime, reason: EndReason) -> Result<(), SinkError> {
        if reason != EndReason::SoFar {
            self.give_up()?;
            self.correlator.finish(now, &mut self.reports);
            self.tell()?;
        }
        let summary = self
            .tally
            .summary(now.since(self.started) / 1_000_000, reason);
        self.reports.push(Report {
            at: now,
            body: Body::Summary(Box::new(summary)),
        });
        self.tell()
    }

    /// How much [`Self::take_unwatch`] has.
    #[must_use]
    pub fn unwatched(&self) -> usize {
        self.correlator.unwatched()
    }

    /// What the kernel side need not watch any more.
    pub fn take_unwatch(&mut self) -> Vec<Unwatch> {
        self.correlator.take_unwatch()
    }

    /// Reports on their way out.
    fn tell(&mut self) -> Result<(), SinkError> {
        for mut report in self.reports.drain(..) {
            if !self.filter.passes(&report) {
                continue;
            }
            self.tally.count(&report);
            self.redact.apply(&mut report);
            self.sink.report(&report)?;
        }
        Ok(())
    }
}

/// The process of an event that would only make a line that nobody asked for. No verdict rests on
/// such events, so that nothing is asked or made for them.
fn unasked<'a>(event: &'a Event, filter: &Filter) -> Option<&'a Task> {
    let (name, task) = match event {
        Event::Assign(assign) if !assign.watched => (EventName::Assign, &assign.task),
        Event::Release(release) if !release.watched => (EventName::Release, &release.task),
        Event::Refused(failure) => (EventName::Refused, &failure.task),
        Event::Failure(_) | Event::Assign(_) | Event::Release(_) | Event::Exit(_) => return None,
    };
    (!filter.asks(name)).then_some(task)
}
