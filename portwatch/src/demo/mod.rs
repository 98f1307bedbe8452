//! The founding case, made for real in a network namespace of its own.
//!
//! Four processes: the scene makes the namespace and plays; a peer listens; a client connects while
//! the namespace's range holds one port only, so that the kernel must pick that port; a server
//! binds it and fails. All of them are this program started again in a hidden role, named
//! `demo-...`; the tracer knows nothing of them.

mod loopback;
pub mod roles;
pub mod scene;

use crate::report::{Body, Cause, Certainty, Conflict, Report};
use crate::sink::{Sink, SinkError};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};

/// The port of the story: inside the default range.
pub const PORT: u16 = 60001;
/// The client's end.
pub const CLIENT: &str = "10.10.10.1";
/// The peer's end.
pub const PEER: &str = "10.10.10.2";
/// The peer's port: a ceph-osd's.
pub const PEER_PORT: u16 = 6836;

/// What the scene made, told by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Process that has the port.
    pub client: u32,
    /// Process whose bind failed.
    pub server: u32,
    /// The server's own words.
    pub server_error: String,
    /// The command that looked for a listener, and what it showed.
    pub looked: Option<Looked>,
}

/// What the usual tool shows at that moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// As typed.
    pub command: String,
    /// What it printed.
    pub output: String,
}

/// Where the verdict differs from what was made; empty = it is right.
#[must_use]
pub fn differences(made: &Made, netns: u32, conflict: &Conflict) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expect = |what: &str, expected: String, found: String| {
        if expected != found {
            wrong.push(format!("{what}: made {expected}, told {found}"));
        }
    };
    expect(
        "cause",
        Cause::OutboundConnection.word(),
        conflict.cause.word(),
    );
    expect(
        "certainty",
        Certainty::Exact.word(),
        conflict.certainty.word(),
    );
    expect(
        "netns",
        netns.to_string(),
        conflict.wanted.netns.to_string(),
    );
    expect(
        "wanted port",
        format!("{:?}", Some(PORT)),
        format!("{:?}", conflict.wanted.port),
    );
    expect(
        "requester",
        made.server.to_string(),
        conflict.requester.pid.to_string(),
    );
    expect(
        "holders",
        "1".to_owned(),
        conflict.holders.len().to_string(),
    );
    if let Some(holder) = conflict.holders.first() {
        let end = |end: &crate::report::Endpoint| format!("{}:{}", end.address, end.port);
        expect("blocking", "true".to_owned(), holder.blocking.to_string());
        expect("local end", format!("{CLIENT}:{PORT}"), end(&holder.local));
        let peer = holder.peer.as_ref().map(end).unwrap_or_default();
        expect("peer", format!("{PEER}:{PEER_PORT}"), peer);
        let pids: Vec<u32> = holder.processes.iter().map(|process| process.pid).collect();
        expect(
            "process",
            format!("{:?}", [made.client]),
            format!("{pids:?}"),
        );
    }
    wrong
}

/// The first conflict that passed the filter, kept for the comparison.
pub type Seen = Arc<Mutex<Option<Conflict>>>;

/// Passes reports on and keeps the first conflict as it was told. Commands are left out: the case and
/// its namespace are gone before anyone can type them.
pub struct Watching {
    inner: Box<dyn Sink>,
    seen: Seen,
}

impl Watching {
    /// A sink over another, and where the conflict will be.
    #[must_use]
    pub fn new(inner: Box<dyn Sink>) -> (Self, Seen) {
        let seen = Seen::default();
        let watching = Self {
            inner,
            seen: Arc::clone(&seen),
        };
        (watching, seen)
    }
}

impl Sink for Watching {
    fn report(&mut self, report: &Report) -> Result<(), SinkError> {
        if let Body::Conflict(conflict) = &report.body {
            self.seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert_with(|| (**conflict).clone());
            let mut told = conflict.clone();
            for advice in &mut told.advice {
                advice.command = None;
            }
            return self.inner.report(&Report {
                at: report.at,
                body: Body::Conflict(told),
            });
        }
        self.inner.report(report)
    }

    fn anchor(&mut self, anchor: crate::report::ClockAnchor) {
        self.inner.anchor(anchor);
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.inner.flush()
    }

    fn reopen(&mut self) -> Result<(), SinkError> {
        self.inner.reopen()
    }
}
