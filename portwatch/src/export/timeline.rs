//! A Chrome trace (JSON), which <https://ui.perfetto.dev> and chrome://tracing open: a track for each
//! process, on it the ports that it held, the incidents that it had, and each failure as an instant.
//!
//! Written as it comes: memory is bounded by the ports that are held and the processes that have
//! some.

use super::holdings::{End, Holding, Holdings, Since, Who};
use super::lanes::Lanes;
use super::{Place, wall_ns};
use crate::report::time::human;
use crate::report::{Body, ClockAnchor, Conflict, Endpoint, Report, Resolved, TransportName};
use crate::sink::json::to_string;
use crate::sink::{Sink, SinkError, outlet};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// Processes that are remembered though they hold nothing; one that is forgotten gets another track.
const IDLE: usize = 1 << 16;

/// The lane of incidents and failures.
const STORIES: u32 = 0;

/// A trace that several runs write to.
#[derive(Clone)]
pub struct Timeline(Arc<Mutex<Trace>>);

struct Trace {
    out: Box<dyn Write + Send>,
    name: String,
    /// Nanoseconds since 1970 of the trace's zero.
    zero: Option<i64>,
    /// No event was written yet.
    first: bool,
    tracks: HashMap<(Place, Who), Track>,
    next: u32,
}

struct Track {
    id: u32,
    lanes: Lanes,
    stories: Lanes,
}

impl Timeline {
    /// An empty trace, to an output that errors call `name`.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>, name: &str) -> Self {
        Self(Arc::new(Mutex::new(Trace {
            out,
            name: name.to_owned(),
            zero: None,
            first: true,
            tracks: HashMap::new(),
            next: 1,
        })))
    }

    /// The sink of one run.
    #[must_use]
    pub fn sink(&self, place: Place) -> TimelineSink {
        TimelineSink {
            timeline: self.clone(),
            place,
            anchor: ClockAnchor {
                boottime_ns: 0,
                realtime_ns: 0,
            },
            holdings: Holdings::default(),
            tries: HashMap::new(),
        }
    }

    /// Writes the end.
    ///
    /// # Errors
    /// [`SinkError::Write`].
    pub fn finish(&self) -> Result<(), SinkError> {
        self.with(|trace| {
            trace.head(0)?;
            trace.out.write_all(b"\n]}\n")?;
            trace.out.flush()
        })
    }

    fn with(&self, write: impl FnOnce(&mut Trace) -> io::Result<()>) -> Result<(), SinkError> {
        let mut trace = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        write(&mut trace).map_err(|source| outlet::failed(&trace.name, source))
    }
}

impl Trace {
    /// The beginning of the file, once: time is told from `zero` on.
    fn head(&mut self, zero: i64) -> io::Result<()> {
        if self.zero.is_some() {
            return Ok(());
        }
        self.zero = Some(zero);
        let began = jiff::Timestamp::from_nanosecond(zero.into()).unwrap_or_default();
        let other = json!({"program": "portwatch", "zero": format!("{began:.9}")});
        write!(
            self.out,
            r#"{{"displayTimeUnit":"ms","otherData":{},"traceEvents":["#,
            to_string(&other)
        )
    }

    /// One event at `at`; `more` are its fields.
    fn event(&mut self, at: i64, more: &Value) -> io::Result<()> {
        self.head(at)?;
        let separator = if self.first { "\n" } else { ",\n" };
        self.first = false;
        let since = i128::from(at) - i128::from(self.zero.unwrap_or(at));
        let sign = if since < 0 { "-" } else { "" };
        let since = since.unsigned_abs();
        let fields = to_string(more);
        write!(
            self.out,
            r#"{separator}{{"ts":{sign}{}.{:03},{}"#,
            since / 1000,
            since % 1000,
            &fields[1..]
        )
    }

    /// The track of a process; named when it is new.
    fn track(&mut self, place: &Place, who: &Who, at: i64) -> io::Result<u32> {
        let key = (place.clone(), who.clone());
        if let Some(track) = self.tracks.get(&key) {
            return Ok(track.id);
        }
        if self.tracks.len() >= IDLE {
            self.tracks.clear();
        }
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        let name = format!("{} {} on {}", who.comm, who.pid, place.host);
        self.event(at, &json!({"ph": "M", "pid": id, "tid": STORIES, "name": "process_name", "args": {"name": name}}))?;
        let lanes = Lanes::default();
        let stories = Lanes::default();
        self.tracks.insert(key, Track { id, lanes, stories });
        Ok(id)
    }

    fn lane(
        &mut self,
        place: &Place,
        who: &Who,
        (since, until): (i64, i64),
        story: bool,
    ) -> io::Result<(u32, u32)> {
        let id = self.track(place, who, since)?;
        let Some(track) = self.tracks.get_mut(&(place.clone(), who.clone())) else {
            return Ok((id, STORIES));
        };
        let (lanes, name) = match story {
            true => (&mut track.stories, "conflicts"),
            false => (&mut track.lanes, "ports"),
        };
        let (lane, new) = lanes.place(since, until);
        // Incidents overlap seldom: even lanes are theirs, so that the two never meet.
        let tid = lane.saturating_mul(2).saturating_add(u32::from(!story));
        if new {
            self.event(since, &json!({"ph": "M", "pid": id, "tid": tid, "name": "thread_name", "args": {"name": name}}))?;
            let order = if story { 0 } else { i64::from(lane) + 1 };
            self.event(since, &json!({"ph": "M", "pid": id, "tid": tid, "name": "thread_sort_index", "args": {"sort_index": order}}))?;
        }
        Ok((id, tid))
    }

    fn slice(
        &mut self,
        place: &Place,
        who: &Who,
        span: (i64, i64),
        story: bool,
        name: &str,
        args: &Value,
    ) -> io::Result<()> {
        let (pid, tid) = self.lane(place, who, span, story)?;
        let length = span.1.saturating_sub(span.0).max(0);
        #[expect(clippy::cast_precision_loss, reason = "a length, in microseconds")]
        let length = length as f64 / 1000.0;
        let category = if story { "incident" } else { "port" };
        self.event(
            span.0,
            &json!({"ph": "X", "dur": length, "pid": pid, "tid": tid, "cat": category, "name": name, "args": args}),
        )
    }
}

/// One run's way into the trace.
pub struct TimelineSink {
    timeline: Timeline,
    place: Place,
    anchor: ClockAnchor,
    holdings: Holdings,
    /// Incidents that are open: when they began and who tries.
    tries: HashMap<String, (i64, Who, String)>,
}

impl TimelineSink {
    fn holding(&self, holding: &Holding) -> Result<(), SinkError> {
        let Holding {
            who,
            transport,
            netns,
            local,
            peer,
            origin,
            since,
            until,
            end: how,
        } = holding;
        let name = match peer {
            Some(peer) => format!("{} → {}", port(local.port, *transport), end(peer)),
            None => port(local.port, *transport),
        };
        let args = json!({
            "local": end(local), "peer": peer.as_ref().map(end), "netns": netns, "origin": origin,
            "since": match since {
                Since::Taken(_) => "taken",
                Since::Before(_) => "before portwatch looked",
                Since::Closed(_) => "its process closed it",
            },
            "until": match how {
                End::LetGo => "let go",
                End::Gone => "gone by then",
                End::TimeWait => "TIME_WAIT was over",
                End::Open => "still held at the end",
                End::NotSeen => "end not seen",
            },
        });
        let span = (since.ns(), *until);
        self.timeline
            .with(|trace| trace.slice(&self.place, who, span, false, &name, &args))
    }

    fn conflict(&mut self, conflict: &Conflict, at: i64) -> Result<(), SinkError> {
        let who = Who::of(&conflict.requester);
        let wanted = &conflict.wanted;
        let what = match wanted.port {
            Some(number) => port(number, wanted.transport),
            None => format!("a port ({})", wanted.transport.word()),
        };
        let name = format!("no {what}: {}", conflict.cause.word());
        let args = json!({"incident": conflict.incident, "attempt": conflict.attempt, "message": conflict.message});
        self.timeline.with(|trace| {
            let pid = trace.track(&self.place, &who, at)?;
            trace.event(
                at,
                &json!({"ph": "i", "s": "p", "pid": pid, "tid": STORIES, "cat": "conflict", "name": name, "args": args}),
            )
        })?;
        let tries = self.tries.entry(conflict.incident.clone());
        tries.or_insert_with(|| (at, who, what));
        Ok(())
    }

    fn resolved(&mut self, resolved: &Resolved, at: i64) -> Result<(), SinkError> {
        let Some((began, who, what)) = self.tries.remove(&resolved.incident) else {
            return Ok(());
        };
        let name = format!("wants {what}: {}", resolved.how.word());
        let args = json!({
            "incident": resolved.incident, "attempts": resolved.attempts, "message": resolved.message,
            "after": human(resolved.after_ms),
        });
        self.timeline
            .with(|trace| trace.slice(&self.place, &who, (began, at), true, &name, &args))
    }

    /// What has no end.
    fn finish(&mut self, at: i64) -> Result<(), SinkError> {
        let mut holdings = std::mem::take(&mut self.holdings);
        for holding in holdings.rest(at) {
            self.holding(&holding)?;
        }
        for (incident, (began, who, what)) in self.tries.drain() {
            let args = json!({"incident": incident});
            let name = format!("wants {what}: open at the end");
            self.timeline
                .with(|trace| trace.slice(&self.place, &who, (began, at), true, &name, &args))?;
        }
        Ok(())
    }
}

impl Sink for TimelineSink {
    fn report(&mut self, report: &Report) -> Result<(), SinkError> {
        if let Body::Start(start) = &report.body {
            self.anchor = start.clock;
            let began = wall_ns(self.anchor, report.at);
            self.holdings = Holdings::new(began);
            self.timeline.with(|trace| trace.head(began))?;
        }
        let at = wall_ns(self.anchor, report.at);
        for holding in self.holdings.report(&report.body, at) {
            self.holding(&holding)?;
        }
        match &report.body {
            Body::Conflict(conflict) => self.conflict(conflict, at),
            Body::Resolved(resolved) => self.resolved(resolved, at),
            Body::Summary(summary) if summary.reason != "so-far" => self.finish(at),
            Body::Start(_)
            | Body::Refused(_)
            | Body::Assign(_)
            | Body::Release(_)
            | Body::Lost(_)
            | Body::Summary(_) => Ok(()),
        }
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

fn port(port: u16, transport: TransportName) -> String {
    format!("{port}/{}", transport.word())
}

fn end(end: &Endpoint) -> String {
    match end.address.contains(':') {
        true => format!("[{}]:{}", end.address, end.port),
        false => format!("{}:{}", end.address, end.port),
    }
}
