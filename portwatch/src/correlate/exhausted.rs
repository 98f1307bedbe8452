//! A call that wanted any port and found none free: for what, and who holds the range.
//!
//! That the range had none for this call is the kernel's own word (the errno, and no port in the
//! socket). Who holds it was counted a moment later, and only sockets that the kernel's search would
//! pass over count. Nobody of them is to blame alone: there are no holders.

use super::cause::Gap;
use super::conflict_rule::{Binder, Outcome, judge_search};
use super::holder::had;
use super::keeper::Keeper;
use super::origin::Proof;
use super::people;
use super::same_connection::{connected, source};
use super::words;
use crate::advise::PortList;
use crate::decode::event::{Call, Failure, Socket, Transport};
use crate::enrich::EventFacts;
use crate::enrich::facts::{RangeFacts, RangeGroup};
use crate::report::time::rfc3339;
use crate::report::{Cause, Certainty, ClockAnchor, Counted, ExhaustedFor, OriginName, Tally};
use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

/// Lines of a tally.
const LINES: usize = 16;

/// What is known of an exhausted range.
#[derive(Clone, Debug, PartialEq)]
pub struct Exhausted {
    /// For what.
    pub what_for: ExhaustedFor,
    /// Who holds it; `None` = nobody could look.
    pub tally: Option<Vec<Tally>>,
    /// The count behind the tally.
    pub counted: Option<Counted>,
    /// Connections from several own addresses lead there, and which of them the kernel had picked
    /// cannot be told: not all that was counted is in the way.
    pub several_sources: bool,
}

impl Exhausted {
    /// The verdict on it.
    #[must_use]
    pub fn reading(&self) -> (Cause, Certainty, Option<Gap>) {
        let certainty = match &self.counted {
            Some(counted) if counted.available.is_some_and(|all| counted.ports >= all) => {
                match self.several_sources {
                    true => Certainty::Inferred,
                    false => Certainty::Exact,
                }
            }
            // The kernel had said that there was none, and there are free ones by now: whatever
            // was in the way has left, or it was something else.
            // So does a range of which next to nothing was taken: it was something else.
            Some(counted)
                if (counted.ports == 0 && counted.available != Some(0))
                    || counted
                        .available
                        .is_some_and(|all| counted.ports < all / 10) =>
            {
                return (
                    Cause::Unknown,
                    Certainty::Unknown,
                    Some(Gap::RangeExhausted),
                );
            }
            Some(_) | None => Certainty::Inferred,
        };
        (Cause::RangeExhausted, certainty, None)
    }

    /// For what, unless the cause is unknown.
    #[must_use]
    pub fn exhausted_for(&self) -> Option<ExhaustedFor> {
        (self.reading().0 == Cause::RangeExhausted).then_some(self.what_for)
    }
}

/// Why a socket is in the way of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It has the very destination of connect().
    SameDestination,
    /// Its port cannot be shared.
    Bound,
}

/// What is known of the range, if the call wanted any port of it.
#[must_use]
pub fn exhausted(failure: &Failure, facts: &EventFacts, anchor: ClockAnchor) -> Option<Exhausted> {
    // A bind() whose address could not be read may have wanted a port.
    let any = failure.wanted.port.is_none()
        && !(failure.call == Call::Bind && failure.wanted.addr.is_none());
    if !any {
        return None;
    }
    let connects = failure.call == Call::Connect && failure.socket.transport == Transport::Tcp;
    let default = if connects {
        ExhaustedFor::Destination
    } else {
        ExhaustedFor::Binds
    };
    let Some(range) = &facts.range else {
        return Some(Exhausted {
            what_for: default,
            tally: None,
            counted: None,
            several_sources: false,
        });
    };
    let available = available(failure, facts);
    let from = match connects {
        true => own_address(failure, range, available),
        false => Source::Any,
    };
    let counting = in_the_way(failure, range, connects, from);
    let ports = |of: Way| {
        let these = counting.iter().filter(|(way, _)| *way == of);
        ports_of(these.map(|(_, group)| *group))
    };
    let (same, bound) = (ports(Way::SameDestination), ports(Way::Bound));
    // Every port is bound: another destination finds none either.
    let what_for = if same == 0 && bound > 0 {
        ExhaustedFor::Binds
    } else {
        default
    };
    let counted = Counted {
        time: rfc3339(anchor, range.at),
        sockets: counting
            .iter()
            .map(|(_, group)| u64::from(group.sockets))
            .sum(),
        ports: ports_of(counting.iter().map(|(_, group)| *group)),
        available,
        missed: range.missed,
    };
    Some(Exhausted {
        what_for,
        tally: Some(tally(&counting, from == Source::Several, facts, anchor)),
        counted: Some(counted),
        several_sources: from == Source::Several,
    })
}

/// How many different ports groups have.
fn ports_of<'a>(groups: impl Iterator<Item = &'a RangeGroup>) -> u32 {
    let mut alone = 0;
    let mut shared = HashSet::new();
    for group in groups {
        alone += group.ports;
        shared.extend(group.shared.iter().flat_map(|&(low, high)| low..=high));
    }
    alone + u32::try_from(shared.len()).unwrap_or(u32::MAX)
}

/// Ports of the range that the kernel may pick.
fn available(failure: &Failure, facts: &EventFacts) -> Option<u32> {
    let reserved: PortList = facts.netns.as_ref()?.reserved.as_deref()?.parse().ok()?;
    let (low, high) = (failure.range.low, failure.range.high);
    let all = u32::from(high).checked_sub(u32::from(low))? + 1;
    Some(all - reserved.count_within(low, high))
}

/// The groups whose sockets the kernel's search passes over, and why.
fn in_the_way<'a>(
    failure: &Failure,
    range: &'a RangeFacts,
    connects: bool,
    from: Source,
) -> Vec<(Way, &'a RangeGroup)> {
    let groups = range.groups.iter();
    if connects {
        return groups
            .filter_map(|group| Some((keeps_connect(failure, from, group)?, group)))
            .collect();
    }
    let Ok(binder) = Binder::of_search(failure) else {
        return Vec::new();
    };
    groups
        .filter(|group| judge_search(&binder, &group.holder) == Outcome::Blocks)
        .map(|group| (Way::Bound, group))
        .collect()
}

/// 6.18 inet_hashtables.c:__inet_hash_connect: a bucket that some bind() has used is passed over,
/// in any other the connection must be a new one.
fn keeps_connect(failure: &Failure, from: Source, group: &RangeGroup) -> Option<Way> {
    let socket = &group.holder.socket;
    if group.holder.bound_bucket {
        let own_vrf = failure.socket.device != 0 || group.holder.l3mdev == 0;
        return own_vrf.then_some(Way::Bound);
    }
    let same_peer = leads_there(failure, socket);
    let device_fits = socket.device == 0 || socket.device == failure.socket.device;
    let same_source = match from {
        Source::Address(from) => from == socket.local_addr(),
        Source::Any | Source::Several => true,
    };
    (same_peer && device_fits && same_source).then_some(Way::SameDestination)
}

fn leads_there(failure: &Failure, socket: &Socket) -> bool {
    failure.wanted.destination.is_some_and(|to| {
        connected(socket) && socket.peer_addr() == Some(to.ip()) && socket.peer_port == to.port()
    })
}

/// The own address that the kernel had picked for connect(), which a failed one has forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// This one.
    Address(IpAddr),
    /// No connection leads there.
    Any,
    /// One of several.
    Several,
}

/// That address: the only one from which every port leads there, since only that one has none left.
/// Connections from another are not in its way.
fn own_address(failure: &Failure, range: &RangeFacts, available: Option<u32>) -> Source {
    if let Some(known) = source(failure) {
        return Source::Address(known);
    }
    let sockets = range.groups.iter().map(|group| &group.holder.socket);
    let there = sockets.filter(|socket| leads_there(failure, socket));
    let addresses: BTreeSet<IpAddr> = there.map(Socket::local_addr).collect();
    let full = |address: &IpAddr| {
        let from = Source::Address(*address);
        let groups = range.groups.iter();
        let counting = groups.filter(|group| keeps_connect(failure, from, group).is_some());
        available.is_some_and(|all| ports_of(counting) >= all)
    };
    let mut addresses = addresses.into_iter();
    match (addresses.next(), addresses.next()) {
        (None, _) => Source::Any,
        (Some(only), None) => Source::Address(only),
        (Some(one), Some(other)) => {
            let mut full = [one, other].into_iter().chain(addresses).filter(full);
            match (full.next(), full.next()) {
                (Some(only), None) => Source::Address(only),
                (Some(_), Some(_)) | (None, _) => Source::Several,
            }
        }
    }
}

/// The groups by process, state and peer, largest first.
fn tally(
    counting: &[(Way, &RangeGroup)],
    several_sources: bool,
    facts: &EventFacts,
    anchor: ClockAnchor,
) -> Vec<Tally> {
    let mut lines: Vec<Tally> = Vec::new();
    for (way, group) in counting {
        let mut line = line(group, facts, anchor);
        if several_sources && *way == Way::SameDestination {
            line.source = Some(group.holder.socket.local_addr().to_string());
        }
        match lines.iter_mut().find(|other| alike(other, &line)) {
            Some(other) => other.count += line.count,
            None => lines.push(line),
        }
    }
    lines.sort_by_key(|line| std::cmp::Reverse(line.count));
    lines.truncate(LINES);
    lines
}

fn alike(one: &Tally, other: &Tally) -> bool {
    let who = |line: &Tally| {
        let process = line.process.as_ref();
        process.map(|process| {
            let process = process.as_ref();
            process.map(|p| (p.pid, p.start_time.clone(), p.has_socket))
        })
    };
    one.state == other.state
        && one.peer == other.peer
        && one.peers == other.peers
        && one.source == other.source
        && one.origin == other.origin
        && one.stale_bucket == other.stale_bucket
        && who(one) == who(other)
}

fn line(group: &RangeGroup, facts: &EventFacts, anchor: ClockAnchor) -> Tally {
    let socket = &group.holder.socket;
    let (keeper, taken) = had(&group.holder, &[], facts);
    let who = people::who(&group.holder, taken, &keeper, facts, anchor);
    let process = who.processes.into_iter().next();
    let several = group.peers > 1;
    Tally {
        process: if process.is_none() && keeper != Keeper::Kernel {
            None
        } else {
            Some(process)
        },
        state: words::state(socket),
        peer: (!several).then(|| words::peer(socket)),
        source: None,
        peers: several.then_some(group.peers),
        origin: (taken.proof != Proof::Deduced)
            .then_some(taken.origin)
            .flatten()
            .map(words::origin),
        stale_bucket: group.holder.bound_bucket && group.stale_bucket,
        count: u64::from(group.count),
    }
}

/// How many of a tally's ports were got in a way.
#[must_use]
pub fn count_of(tally: &[Tally], origin: OriginName) -> u64 {
    let those = tally.iter().filter(|line| line.origin == Some(origin));
    those.map(|line| line.count).sum()
}

#[cfg(test)]
mod tests;
