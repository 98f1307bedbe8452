//! The processes of the contract: who wanted a port, who has or had a holder's socket.
//!
//! A process is its thread-group leader with its start time. Facts of /proc count only for the
//! very process that was asked about; what is not known is left out.

use super::about::{About, Place, text};
use super::keeper::Keeper;
use super::origin::Taken;
use crate::decode::event::{Comm, Holder, Ktime, Origin, Owner, OwnerSource, Task, Tgid};
use crate::enrich::container;
use crate::enrich::facts::{ProcessFacts, SocketUser};
use crate::enrich::{EventFacts, same_start};
use crate::report::time::rfc3339;
use crate::report::{ClockAnchor, HolderProcess, Process};

/// What the first process of a holder is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// It has the socket's descriptor now.
    Present,
    /// It was seen at the call that took the port or at the last close, by cookie.
    Seen,
    /// The start-up scan found the socket with it, by cookie.
    Scanned,
    /// It was the last listener of the port; no cookie ties it to this socket.
    LastListener,
    /// It listens on the port and has not accepted this connection yet.
    Listener,
    /// Nobody is known.
    Nobody,
}

/// Who has or had a holder's socket.
#[derive(Clone, Debug, PartialEq)]
pub struct Who {
    /// Those that have it first.
    pub processes: Vec<HolderProcess>,
    /// What `processes[0]` is known by.
    pub named: Named,
}

/// The process that made a call.
#[must_use]
pub fn requester(task: &Task, facts: &EventFacts, anchor: ClockAnchor) -> Process {
    let known = facts.process(task.tgid, task.start);
    let (comm, comm_bytes) = text(task.comm.bytes());
    let about = About::of(known);
    let place = Place::of(known, facts.cgroup(task.cgroup));
    Process {
        pid: task.tgid.0,
        tid: task.tid.0,
        ppid: task.ppid.0,
        comm,
        comm_bytes,
        exe: about.exe,
        exe_bytes: about.exe_bytes,
        cmdline: about.cmdline,
        cmdline_bytes: about.cmdline_bytes,
        cmdline_truncated: about.cmdline_truncated,
        uid: Some(task.uid),
        start_time: rfc3339(anchor, task.start),
        cgroup: place.cgroup,
        systemd_unit: place.systemd_unit,
        socket_unit: place.socket_unit,
        container: place.container,
        container_runtime: place.container_runtime,
        container_name: place.container_name,
        pod_uid: place.pod_uid,
    }
}

/// Who has or had the socket of `holder`, which came to its port as `taken` says and which `keeper`
/// has now.
#[must_use]
pub fn who(
    holder: &Holder,
    taken: Taken,
    keeper: &Keeper<'_>,
    facts: &EventFacts,
    anchor: ClockAnchor,
) -> Who {
    let owner = holder
        .owner
        .as_ref()
        .filter(|owner| is_its_own(owner, taken) && had_it(owner, holder, facts));
    if let Keeper::Processes(users) = keeper {
        let mut users = users.clone();
        users.sort_by_key(|user| {
            let taker = owner.is_some_and(|owner| is_user(owner, user));
            (!taker, user.start, user.tgid)
        });
        let mut processes: Vec<_> = users
            .iter()
            .map(|user| present(user, facts, anchor))
            .collect();
        // The unit that the socket was opened for, by a process of its cgroup.
        let unit = owner
            .and_then(|owner| container::systemd_unit(facts.cgroup(owner.cgroup)?))
            .filter(|unit| unit.ends_with(".socket"));
        for process in &mut processes {
            process.socket_unit = process.socket_unit.take().or_else(|| unit.clone());
        }
        let gone = owner.filter(|owner| {
            owner.source != OwnerSource::LastListener
                && !users.iter().any(|user| is_user(owner, user))
        });
        processes.extend(gone.map(|owner| past(owner, false, facts, anchor)));
        return Who {
            processes,
            named: Named::Present,
        };
    }
    // Whoever the kernel worked for when it opened the socket never had it.
    if *keeper == Keeper::Kernel {
        return nobody();
    }
    // What is left of a connection is of the process that took its port, whoever closed it: the last
    // close also runs in a process that throws away a message with the descriptor, and that never had
    // it.
    let taker = owner.filter(|owner| owner.source != OwnerSource::LastListener);
    if let Some(closer) = facts.closer(&holder.socket)
        && (holder.socket.has_socket || taker.is_none())
    {
        return closed(closer, owner, facts, anchor);
    }
    // A process had it when the call failed and has closed it since, and nobody saw who: whether the
    // listener had kept what it accepted is not known.
    let Some(owner) = owner.filter(|owner| {
        owner.source != OwnerSource::LastListener
            || !(holder.socket.has_socket && *keeper == Keeper::Nobody)
    }) else {
        return nobody();
    };
    let named = match owner.source {
        OwnerSource::Call | OwnerSource::Release => Named::Seen,
        OwnerSource::Snapshot => Named::Scanned,
        OwnerSource::LastListener => Named::LastListener,
    };
    // Nobody could look, but the only process known to have had it has not closed it and still runs.
    // Where that cannot be looked at either, another may have it by now: a child, or whoever was sent it.
    let has_socket = *keeper == Keeper::NotSeen
        && owner.released_at.is_none()
        && matches!(owner.source, OwnerSource::Call | OwnerSource::Snapshot)
        && facts.runs(owner.tgid, owner.start) == Some(true);
    Who {
        processes: vec![past(owner, has_socket, facts, anchor)],
        named,
    }
}

/// Somebody else had the socket last than the process that took its port: a child, or whoever got it
/// in a message. Both are told; where it cannot be said who closed it, nobody is.
fn closed(closer: &Owner, owner: Option<&Owner>, facts: &EventFacts, anchor: ClockAnchor) -> Who {
    if closer.tgid.0 == 0 {
        return nobody();
    }
    let same = |owner: &&Owner| owner.tgid == closer.tgid && same_start(owner.start, closer.start);
    let mut processes = vec![past(closer, false, facts, anchor)];
    let opener = owner.filter(|owner| owner.source != OwnerSource::LastListener && !same(owner));
    processes.extend(opener.map(|owner| past(owner, false, facts, anchor)));
    Who {
        processes,
        named: Named::Seen,
    }
}

/// Nobody is known.
#[must_use]
pub fn nobody() -> Who {
    Who {
        processes: Vec::new(),
        named: Named::Nobody,
    }
}

/// The processes of a listener, for a connection that waits in its queue: none has its socket.
#[must_use]
pub fn of_listener(listener: &Who) -> Who {
    let mut processes = listener.processes.clone();
    for process in &mut processes {
        process.has_socket = false;
    }
    let named = if processes.is_empty() {
        Named::Nobody
    } else {
        Named::Listener
    };
    Who { processes, named }
}

/// The remembered process belongs to this socket: by cookie, or as the last listener of its port
/// if the socket is the child of one. Another listener of the port is not named by it.
fn is_its_own(owner: &Owner, taken: Taken) -> bool {
    owner.tgid.0 != 0
        && match owner.source {
            OwnerSource::Call | OwnerSource::Release | OwnerSource::Snapshot => true,
            OwnerSource::LastListener => taken.origin == Some(Origin::Accepted),
        }
}

/// A listener that has ended by now may have ended before the connection came, which a child that
/// listened on accepted then. Unless the connection is older than our look, and so is the listener,
/// which lived then.
fn had_it(owner: &Owner, holder: &Holder, facts: &EventFacts) -> bool {
    owner.source != OwnerSource::LastListener
        || facts.runs(owner.tgid, owner.start) != Some(false)
        || (holder.accepted_at.is_none() && owner.taken_at.is_none())
}

fn is_user(owner: &Owner, user: &SocketUser) -> bool {
    owner.tgid == user.tgid && same_start(owner.start, user.start)
}

fn present(user: &SocketUser, facts: &EventFacts, anchor: ClockAnchor) -> HolderProcess {
    let known = facts.process(user.tgid, user.start);
    let mut process = holder_process(user.tgid, user.start, &user.comm, known, None, anchor);
    // It may have ended since, and its descriptors with it.
    process.alive = facts.runs(user.tgid, user.start);
    process.has_socket = process.alive != Some(false);
    process
}

fn past(owner: &Owner, has_socket: bool, facts: &EventFacts, anchor: ClockAnchor) -> HolderProcess {
    let known = facts.process(owner.tgid, owner.start);
    let mut process = holder_process(
        owner.tgid,
        owner.start,
        &owner.comm,
        known,
        facts.cgroup(owner.cgroup),
        anchor,
    );
    process.uid = process.uid.or(Some(owner.uid));
    process.has_socket = has_socket;
    process.alive = facts.runs(owner.tgid, owner.start);
    let seen = owner.released_at.or(owner.seen_at).or(owner.taken_at);
    process.seen = seen.filter(|_| !has_socket).map(|at| rfc3339(anchor, at));
    process
}

fn holder_process(
    tgid: Tgid,
    start: Ktime,
    comm: &Comm,
    known: Option<&ProcessFacts>,
    cgroup: Option<&str>,
    anchor: ClockAnchor,
) -> HolderProcess {
    let (comm, comm_bytes) = text(comm.bytes());
    let about = About::of(known);
    let place = Place::of(known, cgroup);
    HolderProcess {
        pid: tgid.0,
        comm,
        comm_bytes,
        exe: about.exe,
        exe_bytes: about.exe_bytes,
        cmdline: about.cmdline,
        cmdline_bytes: about.cmdline_bytes,
        cmdline_truncated: about.cmdline_truncated,
        uid: known.and_then(|p| p.uid),
        start_time: Some(rfc3339(anchor, start)),
        cgroup: place.cgroup,
        systemd_unit: place.systemd_unit,
        socket_unit: place.socket_unit,
        container: place.container,
        container_runtime: place.container_runtime,
        container_name: place.container_name,
        pod_uid: place.pod_uid,
        has_socket: false,
        alive: None,
        seen: None,
    }
}

#[cfg(test)]
mod tests;
