//! Who held which port from when to when, as far as it was seen: taken and let go joined.
//!
//! Memory is bounded by the ports that are held. What was taken before portwatch looked has a
//! beginning that is not known, and says so; connections that a listener accepted take no port and
//! are none.

use crate::report::{Assign, Body, Endpoint, OriginName, Process, Release, TransportName};
use std::collections::HashMap;

/// A process of a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Who {
    /// Process id.
    pub pid: u32,
    /// Its start, which tells it from another one with the same id.
    pub start: String,
    /// Its name.
    pub comm: String,
}

impl Who {
    /// The process of a report.
    #[must_use]
    pub fn of(process: &Process) -> Self {
        Self {
            pid: process.pid,
            start: process.start_time.clone(),
            comm: process.comm.clone(),
        }
    }
}

/// When a port was taken, nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// Then.
    Taken(i64),
    /// At this moment or earlier: portwatch did not look before.
    Before(i64),
}

impl Since {
    /// The first moment at which it was surely held.
    #[must_use]
    pub fn ns(self) -> i64 {
        match self {
            Self::Taken(ns) | Self::Before(ns) => ns,
        }
    }
}

/// One socket's hold on a port.
#[derive(Clone, Debug, PartialEq)]
pub struct Holding {
    /// Who took it, or closed it where the taking was not seen.
    pub who: Who,
    /// TCP or UDP.
    pub transport: TransportName,
    /// Network namespace.
    pub netns: u32,
    /// Its own end.
    pub local: Endpoint,
    /// The other end.
    pub peer: Option<Endpoint>,
    /// How it took the port.
    pub origin: Option<OriginName>,
    /// From when.
    pub since: Since,
    /// Until when; at the end of the run if nobody let go of it.
    pub until: i64,
    /// Nobody had let go of it when the run ended.
    pub open: bool,
}

/// What tells one socket from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Cookie(u64),
    Ends(u32, TransportName, String, u16),
}

#[derive(Debug)]
struct Live {
    assign: Assign,
    at: i64,
}

/// The holdings of one run.
#[derive(Debug, Default)]
pub struct Holdings {
    began: i64,
    live: HashMap<Key, Live>,
}

impl Holdings {
    /// Of a run that began then.
    #[must_use]
    pub fn new(began: i64) -> Self {
        Self {
            began,
            live: HashMap::new(),
        }
    }

    /// Ports that are held now.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.len()
    }

    /// Takes a report of that time; gives a holding that has ended.
    pub fn report(&mut self, body: &Body, at: i64) -> Option<Holding> {
        match body {
            Body::Assign(assign) => self.taken(assign, at),
            Body::Release(release) => self.let_go(release, at),
            Body::Start(_)
            | Body::Conflict(_)
            | Body::Resolved(_)
            | Body::Refused(_)
            | Body::Lost(_)
            | Body::Summary(_) => None,
        }
    }

    /// A socket that takes a port twice let go of it in between, unseen: the first ends there.
    fn taken(&mut self, assign: &Assign, at: i64) -> Option<Holding> {
        let key = key(assign.cookie, assign.netns, assign.transport, &assign.local);
        // bind() and then listen() or connect() on the same socket: it has held it all along.
        if let (Key::Cookie(_), Some(live)) = (&key, self.live.get_mut(&key))
            && live.assign.local.port == assign.local.port
        {
            live.assign = assign.clone();
            return None;
        }
        let assign = assign.clone();
        let before = self.live.insert(key, Live { assign, at })?;
        Some(before.until(at, false))
    }

    fn let_go(&mut self, release: &Release, at: i64) -> Option<Holding> {
        let key = key(
            release.cookie,
            release.netns,
            release.transport,
            &release.local,
        );
        if let Some(live) = self.live.remove(&key) {
            let mut holding = live.until(at, false);
            // bind() tells no peer, the close does.
            holding.peer = release.peer.clone().or(holding.peer);
            return Some(holding);
        }
        // Without an origin it may be a connection that a listener accepted.
        let origin = release
            .origin
            .filter(|origin| *origin != OriginName::Accepted)?;
        let since = match release.held_ms.and_then(|ms| i64::try_from(ms).ok()) {
            Some(ms) => Since::Taken(at.saturating_sub(ms.saturating_mul(1_000_000))),
            None => Since::Before(self.began),
        };
        Some(Holding {
            who: Who::of(&release.process),
            transport: release.transport,
            netns: release.netns,
            local: release.local.clone(),
            peer: release.peer.clone(),
            origin: Some(origin),
            since,
            until: at,
            open: false,
        })
    }

    /// What is still held at the end.
    pub fn rest(&mut self, at: i64) -> impl Iterator<Item = Holding> + use<'_> {
        self.live.drain().map(move |(_, live)| live.until(at, true))
    }
}

impl Live {
    fn until(self, until: i64, open: bool) -> Holding {
        let Assign {
            call: _,
            transport,
            origin,
            local,
            peer,
            netns,
            cookie: _,
            process,
        } = self.assign;
        Holding {
            who: Who::of(&process),
            transport,
            netns,
            local,
            peer,
            origin,
            since: Since::Taken(self.at),
            until: until.max(self.at),
            open,
        }
    }
}

fn key(cookie: Option<u64>, netns: u32, transport: TransportName, local: &Endpoint) -> Key {
    match cookie {
        Some(cookie) => Key::Cookie(cookie),
        None => Key::Ends(netns, transport, local.address.clone(), local.port),
    }
}
