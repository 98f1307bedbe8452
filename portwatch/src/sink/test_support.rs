//! Reports, as `correlate` would make them, and writers to look into, for the tests of this room.

mod conflicts;

pub(crate) use conflicts::*;

use super::line::{Channel, Content, Line};
use super::printer::Compose;
use crate::decode::event::Ktime;
use crate::report::*;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

/// 2026-11-22T10:15:00Z at kernel time 0.
pub(crate) const ANCHOR: ClockAnchor = ClockAnchor {
    boottime_ns: 0,
    realtime_ns: 1_795_342_500_000_000_000,
};

/// A writer that several can look into.
#[derive(Clone, Default)]
pub(super) struct Pages(Arc<Mutex<Vec<u8>>>);

impl Pages {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Pages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The data and the talk of `reports`, as one written line after the other.
pub(super) fn told(compose: &mut dyn Compose, reports: &[Report]) -> (String, String) {
    compose.anchor(ANCHOR);
    let (data, talk) = (Pages::default(), Pages::default());
    let mut writer =
        super::writer::LineWriter::new(Box::new(data.clone()), Box::new(talk.clone()), false);
    for line in reports.iter().flat_map(|report| compose.lines(report)) {
        writer.write(&line).unwrap();
    }
    writer.flush().unwrap();
    (data.text(), talk.text())
}

pub(super) fn line(class: super::line::Class, text: &str) -> Line {
    Line {
        class,
        channel: Channel::Data,
        content: Content::Plain(text.to_owned()),
    }
}

/// Anything that is a body.
pub(crate) trait IntoBody {
    fn into_body(self) -> Body;
}

macro_rules! bodies {
    ($($name:ident)*) => { $(impl IntoBody for $name {
        fn into_body(self) -> Body { Body::$name(self.into()) }
    })* };
}
bodies! { Start Conflict Resolved Refused Assign Release Lost Summary }

/// 123.456789 ms after the anchor.
pub(crate) fn report(body: impl IntoBody) -> Report {
    report_at(123_456_789, body)
}

pub(crate) fn report_at(at: u64, body: impl IntoBody) -> Report {
    Report {
        at: Ktime(at),
        body: body.into_body(),
    }
}

pub(crate) fn resolved() -> Resolved {
    let Conflict {
        incident,
        wanted,
        requester,
        ..
    } = conflict();
    Resolved {
        incident,
        attempts: 3,
        after_ms: 30_123,
        how: How::GotPort,
        cause: Cause::OutboundConnection,
        wanted,
        requester,
        port: None,
        port_range: None,
        serves: Vec::new(),
        freed_by: Some(FreedBy::HolderClosed),
        freed_certainty: Some(Certainty::Exact),
        message: "python3 (pid 812) got 0.0.0.0:60001/tcp after 3 failed tries and 30s, when its \
                  holder had closed the socket"
            .into(),
    }
}

pub(crate) fn refused() -> Refused {
    let Conflict {
        call,
        mut wanted,
        requester,
        ..
    } = conflict();
    wanted.port = Some(80);
    Refused {
        call,
        error: "EACCES".into(),
        errno: 13,
        wanted,
        requester,
        message: "python3 (pid 812) could not bind 0.0.0.0:80/tcp: EACCES: it may not".into(),
    }
}

pub(crate) fn assign() -> Assign {
    let mut process = flask();
    (process.pid, process.comm) = (4711, "curl".into());
    process.exe = Some("/usr/bin/curl".into());
    Assign {
        call: Call::Connect,
        transport: TransportName::Tcp,
        origin: Some(OriginName::EphemeralConnect),
        local: endpoint("10.10.10.1", 40002),
        peer: Some(endpoint("10.10.10.2", 443)),
        netns: 4_026_531_840,
        cookie: Some(9),
        process,
    }
}

pub(crate) fn release() -> Release {
    let Assign {
        transport,
        origin,
        local,
        peer,
        netns,
        cookie,
        process,
        ..
    } = assign();
    Release {
        transport,
        local,
        peer,
        origin,
        held_ms: Some(187),
        port_free: Some(false),
        ended: None,
        left: Some(Left::TimeWait),
        netns,
        cookie,
        process,
    }
}

pub(crate) fn lost(count: u64) -> Lost {
    let meaning = "verdicts of that time may miss a holder";
    Lost {
        since_last: vec![LostCount {
            ring: Some("failures".into()),
            hooks: [("syscalls:sys_exit_bind".into(), count)].into(),
            ..LostCount::new("failures", count, meaning)
        }],
        total: count,
    }
}

pub(crate) fn start() -> Start {
    Start {
        version: "0.1.0".into(),
        kernel: "6.18.1".into(),
        backend: BackendName::Tracepoint,
        hooks: vec![Hook {
            kind: "tracepoint".into(),
            target: "syscalls/sys_exit_bind".into(),
        }],
        hooks_refused: vec![RefusedHook {
            kind: "cgroup".into(),
            target: "sock_release".into(),
            reason: "EBUSY".into(),
            lost: "names of sockets that are older than portwatch".into(),
        }],
        blind_spots: vec!["io_uring".into()],
        warnings: vec!["no cgroup2 at /sys/fs/cgroup".into()],
        namespaces: vec![NetnsRange {
            netns: 4_026_531_840,
            low: 32768,
            high: 60999,
            reserved: "8080".into(),
        }],
        clock: ANCHOR,
        filters: BTreeMap::from([
            ("events".into(), "conflict".into()),
            ("port".into(), "60001".into()),
        ]),
        sizes: Sizes {
            failures_ring: 262_144,
            traffic_ring: 1 << 20,
            owners: 65_536,
            past: 16_384,
            listeners: 4096,
            watched: 1024,
        },
        history: History {
            closed_connections: 16_384,
            listeners: 4096,
            closes_per_second: 273,
        },
        snapshot_sockets: 214,
    }
}

pub(crate) fn summary() -> Summary {
    let mut tally = super::tally::Tally::default();
    tally.count(&report(conflict()));
    tally.count(&report(lost(12)));
    tally.summary(312_000, super::tally::EndReason::Interrupted)
}
