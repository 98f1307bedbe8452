//! One open incident: what it has seen, when it ends, what ends it.

use super::freed::{self, Closing, Freed};
use crate::correlate::verdict::{Blocker, Verdict};
use crate::correlate::words;
use crate::decode::event::{
    Assign, Call, Failure, Ktime, NetnsId, Origin, Socket, Tgid, Transport,
};
use crate::report::{self, Cause, Endpoint, Ports, Process};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// Addresses that are remembered of one incident's tries.
const MAX_ADDRESSES: usize = 8;

/// Ended processes that are remembered of one incident, to tell a close from an exit.
pub(super) const MAX_EXITED: usize = 64;

/// The next port of a range is tried at once.
const NEXT: u64 = 1_000_000_000;

/// The process serves there: it listens, or for UDP has bound the port by its number. A socket
/// bound to any port may be a client's.
fn serves(assign: &Assign) -> bool {
    match assign.socket.transport {
        Transport::Tcp => assign.call == Call::Listen,
        Transport::Udp => assign.origin == Some(Origin::ExplicitBind),
    }
}

/// One process that wants one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) netns: NetnsId,
    pub(super) transport: Transport,
    /// UDP-Lite has ports of its own.
    pub(super) protocol: u16,
    pub(super) port: Option<u16>,
    /// Where TCP's connect() wanted to go.
    pub(super) destination: Option<SocketAddr>,
    pub(super) tgid: Tgid,
    pub(super) start: Ktime,
}

impl Key {
    pub(super) fn of(failure: &Failure) -> Self {
        let tcp = failure.socket.transport == Transport::Tcp;
        Self {
            netns: failure.netns,
            transport: failure.socket.transport,
            protocol: failure.socket.protocol,
            port: failure.wanted.port,
            destination: failure.wanted.destination.filter(|_| tcp),
            tgid: failure.task.tgid,
            start: failure.task.start,
        }
    }
}

/// One open incident.
#[derive(Debug)]
pub(super) struct Incident {
    pub(super) key: Key,
    pub(super) id: String,
    pub(super) attempts: u64,
    pub(super) first: Ktime,
    pub(super) last: Ktime,
    /// The last failed call.
    pub(super) call: Call,
    /// The address that it named.
    address: Option<IpAddr>,
    /// Lowest and highest port that were tried, `key.port` among them.
    span: Option<(u16, u16)>,
    /// Where the requester serves the wanted port all the same.
    pub(super) serves: Vec<Endpoint>,
    pub(super) cause: Cause,
    pub(super) wanted: report::Wanted,
    pub(super) requester: Process,
    /// Addresses of the tries, and whether IPV6_V6ONLY was set; empty where the calls named none.
    pub(super) addresses: Vec<(IpAddr, bool)>,
    /// Blockers of the last try.
    pub(super) blockers: Vec<Blocker>,
    /// Not every blocker of the last try is in `blockers`.
    pub(super) truncated: bool,
    /// Sockets that the kernel watches for this incident.
    pub(super) cookies: BTreeSet<u64>,
    /// Sockets of `cookies` that were closed.
    pub(super) closed: Vec<Closing>,
    /// Processes that ended while the incident was open.
    pub(super) exited: Vec<(Tgid, Ktime)>,
    /// The first other port that the process took after its last try.
    pub(super) other: Option<(Ktime, u16)>,
}

impl Incident {
    pub(super) fn new(key: Key, id: String, failure: &Failure, verdict: &Verdict) -> Self {
        Self {
            key,
            id,
            attempts: 0,
            first: failure.time,
            last: failure.time,
            call: failure.call,
            address: failure.wanted.addr,
            span: key.port.map(|port| (port, port)),
            serves: Vec::new(),
            cause: verdict.conflict.cause,
            wanted: verdict.conflict.wanted.clone(),
            requester: verdict.conflict.requester.clone(),
            addresses: Vec::new(),
            blockers: Vec::new(),
            truncated: false,
            cookies: BTreeSet::new(),
            closed: Vec::new(),
            exited: Vec::new(),
            other: None,
        }
    }

    /// One more try. Returns the sockets that have left the port since the last one.
    pub(super) fn tried(&mut self, failure: &Failure, verdict: &Verdict) -> BTreeSet<u64> {
        self.attempts += 1;
        self.last = self.last.max(failure.time);
        self.call = failure.call;
        self.address = failure.wanted.addr;
        if let (Some((low, high)), Some(port)) = (self.span, failure.wanted.port) {
            self.span = Some((low.min(port), high.max(port)));
        }
        self.serves.clone_from(&verdict.conflict.serves);
        self.cause = verdict.conflict.cause;
        self.wanted = verdict.conflict.wanted.clone();
        self.requester = verdict.conflict.requester.clone();
        let address = failure
            .wanted
            .addr
            .map(|addr| (addr, failure.socket.v6only));
        if let Some(address) = address
            && !self.addresses.contains(&address)
            && self.addresses.len() < MAX_ADDRESSES
        {
            self.addresses.push(address);
        }
        self.blockers.clone_from(&verdict.blockers);
        self.truncated = verdict.conflict.truncated;
        self.closed.retain(|closing| closing.at >= failure.time);
        self.exited.clear();
        // A process that comes back to the port has not settled on another.
        self.other = self.other.filter(|(at, _)| *at > failure.time);
        let now: BTreeSet<_> = failure
            .holders
            .iter()
            .filter_map(|h| h.socket.cookie)
            .collect();
        let left = self.cookies.difference(&now).copied().collect();
        self.cookies = now;
        left
    }

    /// The ports that were tried, if they are several.
    pub(super) fn port_range(&self) -> Option<Ports> {
        let (low, high) = self.span?;
        (low < high).then_some(Ports { low, high })
    }

    /// `failure` goes on where this incident's last try ended: the same call for the same address,
    /// with the next port, or with one that was tried before. So do programs that look for the
    /// first free port of a range.
    pub(super) fn goes_on_with(&self, key: &Key, failure: &Failure) -> bool {
        let (Some((low, high)), Some(port)) = (self.span, key.port) else {
            return false;
        };
        let next = high.checked_add(1) == Some(port) && failure.time.since(self.last) <= NEXT;
        let again = low < high && (low..=high).contains(&port);
        if !(next || again) {
            return false;
        }
        let same = Key {
            port: self.key.port,
            ..*key
        } == self.key;
        same && matches!(self.call, Call::Bind | Call::Listen)
            && self.call == failure.call
            && self.address == failure.wanted.addr
    }

    /// The moment at which the incident closes if nothing more comes.
    pub(super) fn deadline(&self, timeout: u64, settle: u64) -> Ktime {
        match self.other {
            Some((at, _)) => Ktime(at.0.saturating_add(settle)),
            None => Ktime(self.last.0.saturating_add(timeout)),
        }
    }

    /// The same process got a port of the same kind after the last try.
    fn concerns(&self, assign: &Assign) -> bool {
        let key = &self.key;
        (key.tgid, key.start) == (assign.task.tgid, assign.task.start)
            && key.netns == assign.netns
            && key.protocol == assign.socket.protocol
            && assign.time >= self.last
    }

    /// The wanted port was got: by a call that can have succeeded where the failed one did not.
    pub(super) fn is_satisfied_by(&self, assign: &Assign) -> bool {
        if !self.concerns(assign) {
            return false;
        }
        let call = match self.call {
            Call::Bind => matches!(assign.call, Call::Bind | Call::Listen),
            Call::Listen => assign.call == Call::Listen,
            Call::Connect if self.key.transport == Transport::Tcp => assign.call == Call::Connect,
            Call::Connect | Call::Autobind => {
                matches!(assign.call, Call::Autobind | Call::Connect)
            }
        };
        let port = match self.span {
            Some((low, high)) => (low..=high).contains(&assign.socket.port),
            None => assign.origin != Some(Origin::ExplicitBind),
        };
        let socket = &assign.socket;
        let there = self
            .key
            .destination
            .is_none_or(|to| socket.peer_addr() == Some(to.ip()) && socket.peer_port == to.port());
        // connect() fills in the own address that bind() left open.
        let here = self.call == Call::Connect || self.wants_address(&assign.socket);
        call && there && port && here
    }

    /// The socket's address is one that was tried for, or a wildcard that takes it in. A narrower one
    /// is not what was wanted.
    fn wants_address(&self, socket: &Socket) -> bool {
        let got = socket.local_addr();
        self.addresses.is_empty()
            || self.addresses.iter().any(|(wanted, v6only)| {
                let any = got.is_unspecified();
                match (wanted, got) {
                    (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
                        *wanted == got || any
                    }
                    (IpAddr::V4(_), IpAddr::V6(_)) => any && !socket.v6only,
                    // The IPv4 half of `[::]`, as a program takes it that goes on from there.
                    (IpAddr::V6(_), IpAddr::V4(_)) => any && wanted.is_unspecified() && !v6only,
                }
            })
    }

    /// Keeps the first other port that the process serves on.
    pub(super) fn note_other(&mut self, assign: &Assign) {
        let other = self
            .span
            .is_some_and(|(low, high)| !(low..=high).contains(&assign.socket.port));
        if serves(assign) && other && self.other.is_none() && self.concerns(assign) {
            self.other = Some((assign.time, assign.socket.port));
        }
    }

    /// Keeps where the process serves the wanted port although its call for it failed: on an
    /// address that is not the wanted one.
    pub(super) fn note_half(&mut self, assign: &Assign) {
        let half = self.key.port == Some(assign.socket.port)
            && serves(assign)
            && self.concerns(assign)
            && !self.is_satisfied_by(assign);
        let end = words::local(&assign.socket);
        if half && !self.serves.contains(&end) && self.serves.len() < MAX_ADDRESSES {
            self.serves.push(end);
        }
    }

    /// What made room for the port that was got at last.
    pub(super) fn freed(&self, assign: &Assign) -> Option<Freed> {
        // Of a range, what had the other ports says nothing of this one.
        if self.wanted.port? != assign.socket.port {
            return None;
        }
        let same_options = words::options(&assign.socket) == self.wanted.options;
        freed::freed(
            &self.blockers,
            self.truncated,
            self.closed.iter().filter(|closing| closing.at >= self.last),
            &self.exited,
            same_options,
            assign.time,
        )
    }
}
