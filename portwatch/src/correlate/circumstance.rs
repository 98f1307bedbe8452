//! What the people around a socket add to its cause: who inherited it, whose options do not go
//! together. `cause` reads the socket alone.

use super::cause::Reading;
use super::conflict_rule::Binder;
use super::keeper::Keeper;
use crate::decode::event::{Failure, Holder, Owner, OwnerSource, Socket, State, Tgid, Transport};
use crate::enrich::EventFacts;
use crate::enrich::facts::{ProcessFacts, SocketUser};
use crate::enrich::proc::ticks;
use crate::enrich::same_start;
use crate::report::Cause;

/// The reading of a blocking holder, with what has it and who wanted its port.
#[must_use]
pub fn refine(
    reading: Reading,
    holder: &Holder,
    keeper: &Keeper<'_>,
    binder: &Binder,
    failure: &Failure,
    facts: &EventFacts,
) -> Reading {
    match keeper {
        Keeper::Kernel => return Reading::proven(Cause::KernelSocket),
        // By elimination: a thread that still waits in a call, or a mapping, keeps it as well.
        Keeper::Message => return Reading::deduced(Cause::DescriptorInFlight),
        Keeper::Processes(_) | Keeper::Nobody | Keeper::NotSeen => {}
    }
    let settled = matches!(
        reading.cause,
        Cause::Listener | Cause::DualStackListener | Cause::BoundNotListening | Cause::UdpSocket
    );
    let socket = &holder.socket;
    if !settled || !(socket.transport == Transport::Udp || waits(socket)) {
        return reading;
    }
    if let Keeper::Processes(users) = keeper {
        if let Some(heirs) = inherited(holder, users, facts) {
            return match heirs {
                Heirs::Proven => Reading::proven(Cause::InheritedDescriptor),
                Heirs::Deduced => Reading::deduced(Cause::InheritedDescriptor),
            };
        }
        if let Some(cause) = sharing(socket, users, binder, failure) {
            return Reading { cause, ..reading };
        }
    }
    reading
}

/// Bound or listening: it serves, or means to.
fn waits(socket: &Socket) -> bool {
    matches!(socket.state, State::Listen | State::Close)
}

/// The listener's opener is dead, and those that have it now did not take over from it.
///
/// A server that makes itself a daemon also leaves its sockets to a child. That one is in a session of
/// its own (setsid(2)), which it leads unless it forked once more, and has its parent's name or runs its
/// parent's program under another; so does a new master after a change of binaries that has workers
/// of its own. A process older than the socket cannot have inherited it: it was sent.
fn inherited(holder: &Holder, users: &[&SocketUser], facts: &EventFacts) -> Option<Heirs> {
    if holder.socket.transport != Transport::Tcp || holder.socket.state != State::Listen {
        return None;
    }
    let owner = holder.owner.as_ref().filter(|owner| opened(owner))?;
    let is_owner =
        |user: &&SocketUser| owner.tgid == user.tgid && same_start(owner.start, user.start);
    if users.iter().any(is_owner) || facts.process(owner.tgid, owner.start).is_some() {
        return None;
    }
    let heirs: Vec<&ProcessFacts> = users
        .iter()
        .filter_map(|user| facts.process(user.tgid, user.start))
        .collect();
    // /proc shows the start in clock ticks, rounded down.
    let sent = |heir: &&ProcessFacts| {
        owner
            .taken_at
            .is_some_and(|taken| ticks(heir.start) < ticks(taken))
    };
    let leads = |heir: &&ProcessFacts| {
        let parent_of = |other: &&ProcessFacts| other.ppid == Some(heir.tgid);
        // A session has the number of whoever made it, and numbers are given out in order: it was
        // made after the opener was.
        let own_session = heir
            .session
            .is_some_and(|session| session == heir.tgid || session > owner.tgid);
        let same_name = heir.comm == owner.comm;
        (own_session && (same_name || heir.forked_only))
            || (same_name && heirs.iter().any(parent_of))
    };
    if heirs.is_empty() || heirs.iter().any(|heir| sent(heir) || leads(heir)) {
        return None;
    }
    // Sessions and process groups are left to children, and to nobody else.
    let of_owner = |number: Option<Tgid>| number == Some(owner.tgid);
    let child = |heir: &&ProcessFacts| {
        of_owner(heir.session)
            || of_owner(heir.group)
            || (heir.forked_only && heir.comm == owner.comm)
    };
    Some(match heirs.iter().all(child) {
        true => Heirs::Proven,
        false => Heirs::Deduced,
    })
}

/// Those that have a socket of the dead.
enum Heirs {
    /// They are its children, or theirs.
    Proven,
    /// They came after the socket; it may have been sent to them all the same.
    Deduced,
}

/// The entry tells of a process that had the descriptor before those that have it now.
fn opened(owner: &Owner) -> bool {
    owner.tgid.0 != 0
        && match owner.source {
            OwnerSource::Call | OwnerSource::Snapshot => true,
            OwnerSource::Release | OwnerSource::LastListener => false,
        }
}

/// SO_REUSEPORT on both sides of different users, or on one side of two that belong together: with it
/// on both and of one user the call would have succeeded.
fn sharing(
    socket: &Socket,
    users: &[&SocketUser],
    binder: &Binder,
    failure: &Failure,
) -> Option<Cause> {
    let of_one = socket.uid.is_some() && socket.uid == binder.uid;
    match (binder.reuseport, socket.reuseport) {
        (true, true) => (!of_one).then_some(Cause::ReuseportOtherUser),
        (false, false) => None,
        // Two different programs with one port were hardly meant to share it. By name: a caller that
        // failed has often ended by now, and its program with it.
        (true, false) | (false, true) => {
            let theirs = |user: &&SocketUser| user.comm == failure.task.comm;
            (of_one && users.iter().any(theirs)).then_some(Cause::ReuseportMissing)
        }
    }
}

#[cfg(test)]
mod tests;
