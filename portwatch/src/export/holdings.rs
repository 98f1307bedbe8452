//! Who held which port from when to when, as far as it was seen: taken and let go joined.
//!
//! Memory is bounded by the ports that are held. A holder that only a failure tells counts as well,
//! until it lets go or the run ends. What was taken before portwatch looked has a
//! beginning that is not known, and says so; connections that a listener accepted take no port and
//! are none.

use super::told::ToldHolders;
use crate::report::{Assign, Body, Endpoint, Holder, OriginName, Process, Release, TransportName};
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

impl Who {
    /// The process of a holder, or what is known instead.
    #[must_use]
    pub fn of_holder(holder: &Holder) -> Self {
        if let Some(process) = holder.processes.first() {
            return Self {
                pid: process.pid,
                start: process.start_time.clone().unwrap_or_default(),
                comm: process.comm.clone(),
            };
        }
        let user = holder.kernel_user.clone();
        Self {
            pid: 0,
            start: String::new(),
            comm: user.unwrap_or_else(|| "(none known)".to_owned()),
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
    /// Its process closed it then, and something was left of it.
    Closed(i64),
}

/// How a hold ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was let go.
    LetGo,
    /// It was gone then or earlier.
    Gone,
    /// TIME_WAIT was over, as the kernel had said.
    TimeWait,
    /// Nobody had let go of it when the run ended.
    Open,
    /// It was there then; what came later was not seen.
    NotSeen,
}

impl Since {
    /// The first moment at which it was surely held.
    #[must_use]
    pub fn ns(self) -> i64 {
        match self {
            Self::Taken(ns) | Self::Before(ns) | Self::Closed(ns) => ns,
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
    /// How it ended.
    pub end: End,
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
    told: ToldHolders,
}

impl Holdings {
    /// Of a run that began then.
    #[must_use]
    pub fn new(began: i64) -> Self {
        Self {
            began,
            live: HashMap::new(),
            told: ToldHolders::default(),
        }
    }

    /// Ports that are held now.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.len()
    }

    /// Takes a report of that time; gives the holdings that have ended.
    pub fn report(&mut self, body: &Body, at: i64) -> Vec<Holding> {
        match body {
            Body::Assign(assign) => self.taken(assign, at).into_iter().collect(),
            Body::Release(release) => self.let_go(release, at).into_iter().collect(),
            Body::Conflict(conflict) => {
                let (netns, transport) = (conflict.wanted.netns, conflict.wanted.transport);
                let key = |holder: &Holder| key(holder.cookie, netns, transport, &holder.local);
                let live = &self.live;
                let known = |holder: &Holder| live.contains_key(&key(holder));
                self.told.conflict(conflict, at, known)
            }
            Body::Resolved(resolved) => self.told.resolved(resolved, at),
            Body::Start(_) | Body::Refused(_) | Body::Lost(_) | Body::Summary(_) => Vec::new(),
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
        if let Some(cookie) = assign.cookie {
            let port = (assign.netns, assign.transport, assign.local.port);
            self.told.forget_socket(port, cookie);
        }
        let assign = assign.clone();
        let before = self.live.insert(key, Live { assign, at })?;
        Some(before.until(at, End::LetGo))
    }

    fn let_go(&mut self, release: &Release, at: i64) -> Option<Holding> {
        let key = key(
            release.cookie,
            release.netns,
            release.transport,
            &release.local,
        );
        if let Some(live) = self.live.remove(&key) {
            let mut holding = live.until(at, End::LetGo);
            // bind() tells no peer, the close does.
            holding.peer = release.peer.clone().or(holding.peer);
            return Some(holding);
        }
        if let Some(holding) = self.told.release(release, at) {
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
            end: End::LetGo,
        })
    }

    /// What is still held at the end.
    pub fn rest(&mut self, at: i64) -> impl Iterator<Item = Holding> + use<'_> {
        let live = self.live.drain();
        let live = live.map(move |(_, live)| live.until(at, End::Open));
        live.chain(self.told.rest(at))
    }
}

impl Live {
    fn until(self, until: i64, end: End) -> Holding {
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
            end,
        }
    }
}

fn key(cookie: Option<u64>, netns: u32, transport: TransportName, local: &Endpoint) -> Key {
    match cookie {
        Some(cookie) => Key::Cookie(cookie),
        None => Key::Ends(netns, transport, local.address.clone(), local.port),
    }
}
