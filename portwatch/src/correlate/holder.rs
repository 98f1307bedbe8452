//! One holder of the port: judged by the rule, named, and told in the contract's words.

use super::cause::{self, Reading};
use super::circumstance;
use super::conflict_rule::{Binder, Outcome, Uncertain, judge};
use super::keeper::{Keeper, keeper};
use super::older;
use super::origin::{self, Proof, Taken};
use super::people::{self, Named, Who};
use super::same_connection;
use super::words;
use crate::decode::event::{self, Failure, Ktime, Origin, OwnerSource, Socket, State, Transport};
use crate::enrich::EventFacts;
use crate::enrich::kernel_user;
use crate::report::time::{millis, rfc3339};
use crate::report::{ClockAnchor, Holder, HolderKind, SinceSource};

/// A holder with everything that the verdict needs of it.
#[derive(Clone, Debug)]
pub struct Judged<'a> {
    /// As found.
    pub holder: &'a event::Holder,
    /// What the rule says.
    pub outcome: Outcome,
    /// How it came to the port.
    pub taken: Taken,
    /// What keeps it open.
    pub keeper: Keeper<'a>,
    /// Who has or had it.
    pub who: Who,
    /// Its cause, if it blocks.
    pub reading: Option<Reading>,
}

/// Judges and names every holder of a failure, in the order of the contract: blocking before not,
/// then listener, explicit bind, live connection, orphan, TIME_WAIT, then cookie.
#[must_use]
pub fn judge_all<'a>(
    failure: &'a Failure,
    facts: &'a EventFacts,
    anchor: ClockAnchor,
) -> Vec<Judged<'a>> {
    let binder = Binder::of(failure);
    let listeners: Vec<&Socket> = failure
        .holders
        .iter()
        .map(|holder| &holder.socket)
        .filter(|socket| socket.state == State::Listen)
        .collect();
    let mut all: Vec<_> = if same_connection::applies(failure) {
        let outcomes = same_connection::judge_all(failure);
        let judged = failure.holders.iter().zip(outcomes);
        judged
            .map(|(holder, outcome)| {
                let reading = (outcome == Outcome::Blocks).then_some(Reading::SAME_CONNECTION);
                known(holder, outcome, reading, &listeners, facts, anchor)
            })
            .collect()
    } else {
        let holders = failure.holders.iter();
        holders
            .map(|holder| judge_one(holder, failure, &binder, &listeners, facts, anchor))
            .collect()
    };
    name_queued(&mut all);
    all.sort_by_key(|judged| {
        let socket = &judged.holder.socket;
        (
            judged.outcome != Outcome::Blocks,
            rank(socket),
            socket.cookie.is_none(),
            socket.cookie,
        )
    });
    all
}

fn judge_one<'a>(
    holder: &'a event::Holder,
    failure: &Failure,
    binder: &Result<Binder, Uncertain>,
    listeners: &[&Socket],
    facts: &'a EventFacts,
    anchor: ClockAnchor,
) -> Judged<'a> {
    let (keeper, taken) = had(holder, listeners, facts);
    let outcome = match binder {
        Ok(binder) => judge(binder, holder, failure.walk.buckets),
        Err(doubt) => Outcome::Uncertain(*doubt),
    };
    let reading = match (outcome, binder) {
        (Outcome::Blocks, Ok(binder)) => {
            let alone = cause::cause(&holder.socket, taken, binder);
            Some(circumstance::refine(
                alone, holder, &keeper, binder, failure, facts,
            ))
        }
        (Outcome::Blocks | Outcome::Free(_) | Outcome::Uncertain(_), _) => None,
    };
    Judged {
        who: people::who(holder, taken, &keeper, facts, anchor),
        holder,
        outcome,
        taken,
        keeper,
        reading,
    }
}

/// A holder that was judged by another rule than that of bind().
fn known<'a>(
    holder: &'a event::Holder,
    outcome: Outcome,
    reading: Option<Reading>,
    listeners: &[&Socket],
    facts: &'a EventFacts,
    anchor: ClockAnchor,
) -> Judged<'a> {
    let (keeper, taken) = had(holder, listeners, facts);
    Judged {
        who: people::who(holder, taken, &keeper, facts, anchor),
        holder,
        outcome,
        taken,
        keeper,
        reading,
    }
}

/// What has a holder's socket, and how it came to its port.
pub(super) fn had<'a>(
    holder: &event::Holder,
    listeners: &[&Socket],
    facts: &'a EventFacts,
) -> (Keeper<'a>, Taken) {
    let mut keeper = keeper(&holder.socket, facts);
    // Its last descriptor is closed, in a call that still waits for the connection's end (SO_LINGER).
    let closed = holder.owner.as_ref().is_some_and(|owner| {
        owner.released_at.is_some() && owner.source != OwnerSource::LastListener
    });
    if keeper == Keeper::Message && closed {
        keeper = Keeper::Nobody;
    }
    let taken = match keeper {
        // Whatever process the kernel worked for when it opened the socket.
        Keeper::Kernel => Taken::proven(Origin::Kernel),
        Keeper::Processes(_) | Keeper::Message | Keeper::Nobody | Keeper::NotSeen => {
            origin::origin(holder, listeners)
        }
    };
    (keeper, taken)
}

/// A connection that waits in a listener's queue has no process: its listener's will have it.
fn name_queued(all: &mut [Judged<'_>]) {
    let listening: Vec<_> = all
        .iter()
        .filter(|judged| judged.holder.socket.state == State::Listen)
        .map(|judged| (judged.holder, judged.who.clone()))
        .collect();
    for judged in all {
        let (socket, older) = (&judged.holder.socket, judged.holder.older);
        let queued = !socket.has_socket
            && judged.taken.origin == Some(Origin::Accepted)
            && matches!(
                socket.state,
                State::Established | State::CloseWait | State::SynRecv
            );
        if !queued || !matches!(judged.who.named, Named::LastListener | Named::Nobody) {
            continue;
        }
        // Its listener lives, or it would be gone: who listened last says nothing. Of several that
        // share the port any may have it.
        let mut its = listening
            .iter()
            .filter(|(listener, _)| {
                // One that took its port while we looked has accepted nothing older.
                let in_time = !older || older::may_have_accepted(listener.owner.as_ref());
                let listener = &listener.socket;
                in_time && listener.device == socket.device && origin::accepts(listener, socket)
            })
            .map(|(_, who)| people::of_listener(who));
        if let Some(who) = its.next() {
            let shared = its.any(|other| other.processes != who.processes);
            judged.who = if shared { people::nobody() } else { who };
        }
    }
}

/// Place in the contract's order.
fn rank(socket: &Socket) -> u8 {
    match socket.state {
        State::Listen => 0,
        State::Close => 1,
        State::FinWait1 | State::FinWait2 | State::LastAck | State::Closing
            if !socket.has_socket =>
        {
            3
        }
        State::Established
        | State::SynSent
        | State::SynRecv
        | State::NewSynRecv
        | State::CloseWait
        | State::FinWait1
        | State::FinWait2
        | State::LastAck
        | State::Closing => 2,
        State::TimeWait => 4,
    }
}

impl Judged<'_> {
    /// The holder in the contract's words; `at` is the failure, `start` when the hooks were
    /// attached.
    #[must_use]
    pub fn told(&self, at: Ktime, start: Ktime, facts: &EventFacts, anchor: ClockAnchor) -> Holder {
        let socket = &self.holder.socket;
        let (since, least) = self.held_since(start);
        let closed = self.closed();
        Holder {
            blocking: self.outcome == Outcome::Blocks,
            kind: kind(socket, self.taken, &self.keeper),
            state: words::state(socket),
            // What is only deduced is in the cause, whose certainty says so.
            origin: (self.taken.proof != Proof::Deduced)
                .then_some(self.taken.origin)
                .flatten()
                .map(words::origin),
            local: words::local(socket),
            peer: words::peer(socket),
            device: words::device(socket.device, facts).filter(|_| socket.device != 0),
            options: words::options(socket),
            uid: socket.uid,
            inode: socket.inode,
            cookie: socket.cookie,
            since: since.map(|since| rfc3339(anchor, since)),
            since_source: match (since, least) {
                (Some(_), _) => Some(SinceSource::Assigned),
                (None, Some(_)) => Some(SinceSource::Snapshot),
                (None, None) => None,
            },
            held_ms: since.map(|since| millis(since, at)),
            held_at_least_ms: least.map(|least| millis(least, at)),
            closed: closed.map(|closed| rfc3339(anchor, closed)),
            closed_ms: closed.map(|closed| millis(closed, at)),
            time_wait_left_ms: facts.time_wait_left(socket).map(u64::from),
            kernel_user: self.kernel_user(facts),
            processes: self.who.processes.clone(),
        }
    }

    /// What in the kernel has it. One that is told with its address has that socket alone. Whoever
    /// tells nothing is known by the function that it has put into the socket.
    fn kernel_user(&self, facts: &EventFacts) -> Option<String> {
        if self.keeper != Keeper::Kernel {
            return None;
        }
        let socket = &self.holder.socket;
        let waits = socket.transport == Transport::Udp || socket.state == State::Listen;
        let function = self.holder.kernel_function.as_deref();
        let tells = facts.kernel_user.as_ref().filter(|user| {
            waits
                && user.address.is_none_or(|at| at == socket.local_addr())
                && kernel_user::agrees(user, function)
        });
        match tells {
            Some(user) => Some(format!("{} {}", user.kind, user.name)),
            None => kernel_user::by_function(function?),
        }
    }

    /// When its last descriptor was closed, by its own entry.
    fn closed(&self) -> Option<Ktime> {
        let owner = self.holder.owner.as_ref()?;
        owner
            .released_at
            .filter(|_| owner.source != OwnerSource::LastListener)
    }

    /// When it took the port, or else since when it has it at least. A socket that no hook and no
    /// scan has met may be of any age: neither.
    fn held_since(&self, start: Ktime) -> (Option<Ktime>, Option<Ktime>) {
        let own = self.holder.owner.as_ref().filter(|owner| {
            // Another socket's, which listened on the port.
            owner.source != OwnerSource::LastListener
        });
        let taken = own.and_then(|owner| owner.taken_at);
        // Its listener's port, which it has since it became a connection.
        if let Some(since) = taken.or(self.holder.accepted_at) {
            return (Some(since), None);
        }
        let Some(owner) = own else {
            return (None, self.holder.older.then_some(start));
        };
        match (owner.source, self.taken.origin, owner.seen_at) {
            // What the scan found and no hook had seen is older than the hooks, except a
            // connection accepted while the scan ran.
            (OwnerSource::Snapshot, Some(Origin::Accepted) | None, Some(seen)) => {
                (None, Some(seen))
            }
            (OwnerSource::Snapshot, _, _) => (None, Some(start)),
            (OwnerSource::Call | OwnerSource::Release | OwnerSource::LastListener, _, _) => {
                (None, None)
            }
        }
    }
}

fn kind(socket: &Socket, taken: Taken, keeper: &Keeper<'_>) -> HolderKind {
    match keeper {
        Keeper::Kernel => return HolderKind::Kernel,
        Keeper::Message => return HolderKind::InFlight,
        Keeper::Processes(_) | Keeper::Nobody | Keeper::NotSeen => {}
    }
    if socket.transport == Transport::Udp {
        return HolderKind::Udp;
    }
    match socket.state {
        State::Listen => HolderKind::Listener,
        State::Close => HolderKind::Bound,
        State::TimeWait => HolderKind::TimeWait,
        State::FinWait1 | State::FinWait2 | State::LastAck | State::Closing
            if !socket.has_socket =>
        {
            HolderKind::Orphan
        }
        State::Established
        | State::SynSent
        | State::SynRecv
        | State::NewSynRecv
        | State::CloseWait
        | State::FinWait1
        | State::FinWait2
        | State::LastAck
        | State::Closing => match taken.origin {
            Some(Origin::Accepted) => HolderKind::Accepted,
            Some(
                Origin::EphemeralConnect
                | Origin::EphemeralBind
                | Origin::EphemeralAutobind
                | Origin::ExplicitBind
                | Origin::Kernel,
            )
            | None => HolderKind::Connection,
        },
    }
}

#[cfg(test)]
mod tests;
