//! The verdict on one failed call: cause, certainty, holders, and the words around them.
//!
//! It rests only on what the failure carries and on the facts asked for it: no other event changes
//! a culprit.

use super::blind;
use super::cause::Gap;
use super::conflict_rule::Outcome;
use super::exhausted;
use super::holder::{Judged, judge_all};
use super::keeper::Keeper;
use super::origin::Proof;
use super::people::{self, Named};
use super::words;
use crate::advise;
use crate::decode::event::{Call, Failure, Ktime, NetnsId, Origin, State, Transport, Walk};
use crate::enrich::{EventFacts, same_start};
use crate::report::{Cause, Certainty, ClockAnchor, Conflict, Endpoint};

/// What a verdict depends on beside its event.
#[derive(Clone, Copy, Debug)]
pub struct Ground {
    /// When the hooks were attached.
    pub start: Ktime,
    /// Wall time.
    pub anchor: ClockAnchor,
    /// The start-up scan was complete before the failure.
    pub seeded: bool,
    /// Entries of the owner maps were lost: the last listener may be another.
    pub owners_lost: bool,
    /// List holders that do not block as well.
    pub neighbours: bool,
    /// The caller's network namespace.
    pub own_netns: Option<NetnsId>,
    /// Closes are seen, and by whom.
    pub closes_seen: bool,
}

/// A verdict, and what the incident keeps of it.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// For the output; `incident` and `attempt` are still to be filled in.
    pub conflict: Conflict,
    /// The blocking holders.
    pub blockers: Vec<Blocker>,
}

/// What ends a blocking holder can be recognised by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// Its cookie.
    pub cookie: Option<u64>,
    /// It was in TIME_WAIT.
    pub time_wait: bool,
    /// It had a peer: its port may outlive its close.
    pub connected: bool,
}

/// The verdict on `failure`. A holder of which it cannot be told whether it blocks is no blocker: it
/// is listed among the neighbours only, and `truncated` says that a blocker may be missing.
#[must_use]
pub fn verdict(failure: &Failure, facts: &EventFacts, ground: &Ground) -> Verdict {
    let mut judged = judge_all(failure, facts, ground.anchor);
    if !failure.walk.made {
        blind::doubt(&mut judged, failure);
    }
    let blockers: Vec<_> = judged
        .iter()
        .filter(|j| j.outcome == Outcome::Blocks)
        .collect();
    let uncertain = judged
        .iter()
        .any(|j| matches!(j.outcome, Outcome::Uncertain(_)));
    let exhausted = exhausted::exhausted(failure, facts, ground.anchor);
    let (cause, certainty, gap) = match (blockers.first(), &exhausted) {
        (Some(first), _) => of_holder(first, &failure.walk, ground),
        (None, Some(exhausted)) => exhausted.reading(),
        (None, None) => of_nobody(failure, &judged),
    };
    let listed = judged
        .iter()
        .filter(|j| j.outcome == Outcome::Blocks || ground.neighbours);
    let mut conflict = Conflict {
        incident: String::new(),
        attempt: 0,
        call: words::call(failure.call),
        error: words::errno(failure.errno),
        errno: failure.errno,
        wanted: words::wanted(failure, facts),
        requester: people::requester(&failure.task, facts, ground.anchor),
        cause,
        certainty,
        holders: listed
            .map(|j| j.told(failure.time, ground.start, facts, ground.anchor))
            .collect(),
        holders_total: failure.walk.total,
        truncated: failure.wanted.port.is_some() && (!failure.walk.complete() || uncertain),
        range: words::range(failure),
        port_range: None,
        serves: serves(&judged, failure),
        exhausted_for: exhausted
            .as_ref()
            .and_then(exhausted::Exhausted::exhausted_for),
        counted: exhausted.as_ref().and_then(|e| e.counted.clone()),
        tally: exhausted.and_then(|e| e.tally),
        message: String::new(),
        advice: Vec::new(),
    };
    conflict.message = advise::conflict_message(&conflict, gap, ground);
    conflict.advice = advise::advice(&conflict, facts.netns.as_ref(), ground);
    let blockers = blockers
        .iter()
        .map(|j| Blocker {
            cookie: j.holder.socket.cookie,
            time_wait: j.holder.socket.state == State::TimeWait,
            connected: j.holder.socket.transport == Transport::Tcp
                && j.holder.socket.peer_port != 0,
        })
        .collect();
    Verdict { conflict, blockers }
}

/// Where the requester itself serves the port on another address: as servers do that open one socket
/// an address and go on without those that fail.
fn serves(judged: &[Judged<'_>], failure: &Failure) -> Vec<Endpoint> {
    if !matches!(failure.call, Call::Bind | Call::Listen) {
        return Vec::new();
    }
    let mut found: Vec<_> = judged
        .iter()
        .filter(|one| {
            let Keeper::Processes(users) = &one.keeper else {
                return false;
            };
            let socket = &one.holder.socket;
            let serving = socket.transport == Transport::Udp || socket.state == State::Listen;
            let own = users.iter().any(|user| {
                user.tgid == failure.task.tgid && same_start(user.start, failure.task.start)
            });
            serving && own && matches!(one.outcome, Outcome::Free(_))
        })
        .map(|one| words::local(&one.holder.socket))
        .collect();
    found.sort_by(|one, other| one.address.cmp(&other.address));
    found.dedup();
    found
}

/// The verdict when a holder certainly blocks.
fn of_holder(first: &Judged<'_>, walk: &Walk, ground: &Ground) -> (Cause, Certainty, Option<Gap>) {
    let Some(reading) = first.reading else {
        return (
            Cause::Unknown,
            Certainty::Unknown,
            Some(Gap::OriginUnproven),
        );
    };
    // A half-read table may hide a holder that comes before this one; one that was read to the
    // end and only listed in part (`skipped`) does not: what comes first is always sent.
    let half = walk.made && (walk.truncated || walk.lost > 0);
    if half && listener_may_be_left(first, reading.cause) {
        return (Cause::Unknown, Certainty::Unknown, Some(Gap::HalfWalked));
    }
    let read = if half || !walk.made {
        Certainty::Inferred
    } else {
        Certainty::Exact
    };
    let whole = ground.seeded && !ground.owners_lost;
    let named = match first.who.named {
        Named::Present | Named::Seen => Certainty::Exact,
        Named::LastListener if whole => Certainty::Remembered,
        Named::LastListener | Named::Scanned | Named::Listener | Named::Nobody => {
            Certainty::Inferred
        }
    };
    // Where nobody could look who has it now, it may have been handed on.
    let seen = match first.keeper {
        Keeper::NotSeen if first.holder.socket.has_socket => Certainty::Remembered,
        // It was closed since, and whoever did it may be another than the one that is named.
        Keeper::Nobody if first.holder.socket.has_socket && !ground.closes_seen => {
            Certainty::Inferred
        }
        Keeper::NotSeen
        | Keeper::Processes(_)
        | Keeper::Kernel
        | Keeper::Message
        | Keeper::Nobody => Certainty::Exact,
    };
    let proof = match reading.proof {
        Proof::Proven => Certainty::Exact,
        Proof::Eliminated if whole => Certainty::Exact,
        Proof::Eliminated | Proof::Deduced => Certainty::Inferred,
    };
    (
        reading.cause,
        read.max(named).max(seen).max(proof),
        reading.gap,
    )
}

/// A listener accepted this holder, or may have; it is the last of the owners, so it may be what was
/// not read.
fn listener_may_be_left(first: &Judged<'_>, cause: Cause) -> bool {
    match (cause, first.taken.origin) {
        // A connect() is refused by that connection, whatever listens; and this is one.
        (Cause::SameConnection | Cause::Listener | Cause::DualStackListener, _) => false,
        (_, Some(Origin::Accepted)) | (Cause::Orphan, None) => true,
        _ => false,
    }
}

/// The verdict when no holder certainly blocks.
fn of_nobody(failure: &Failure, judged: &[Judged<'_>]) -> (Cause, Certainty, Option<Gap>) {
    let walk = &failure.walk;
    let doubt = judged.iter().find_map(|j| match j.outcome {
        Outcome::Uncertain(doubt) => Some(doubt),
        Outcome::Blocks | Outcome::Free(_) => None,
    });
    let gap = match (failure.wanted.port, failure.call) {
        _ if failure.netns == NetnsId::UNKNOWN => Gap::NamespaceUnknown,
        (None, _) => Gap::RangeExhausted,
        (Some(_), Call::Connect | Call::Autobind) => match doubt {
            Some(doubt) => Gap::Uncertain(doubt),
            None if !walk.complete() => Gap::HalfWalked,
            None => Gap::SameConnection,
        },
        (Some(_), Call::Bind | Call::Listen) if !walk.made => {
            doubt.map_or(Gap::NotWalked, Gap::Uncertain)
        }
        (Some(_), Call::Bind | Call::Listen) => match doubt {
            Some(doubt) => Gap::Uncertain(doubt),
            None if !walk.complete() => Gap::HalfWalked,
            // The kernel refused the port and its table has nobody: whoever had it has left.
            // That is concluded, not seen.
            None if walk.total == 0 && judged.is_empty() => {
                return (Cause::AlreadyFree, Certainty::Inferred, None);
            }
            None => Gap::NoneBlocks,
        },
    };
    (Cause::Unknown, Certainty::Unknown, Some(gap))
}

#[cfg(test)]
mod tests;
