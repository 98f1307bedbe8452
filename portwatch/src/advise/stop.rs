//! How to end what has a port, where that is a process to be stopped.

use super::commands;
use super::text::{is_closed, is_own, is_shared, owner, process};
use super::todo::plain;
use crate::report::{Advice, Certainty, Conflict, Holder, Process};

/// Ends the holder, or its socket unit.
pub(super) fn stop(conflict: &Conflict, holder: &Holder) -> Vec<Advice> {
    if is_own(holder, &conflict.requester) {
        return vec![plain(
            "close-own",
            "it is the same process that has the port: it opens it twice, or did not close the \
             first socket",
        )];
    }
    if is_shared(holder, &conflict.requester) {
        let others = holder.processes.iter();
        let others = others.filter(|p| p.has_socket && p.pid != conflict.requester.pid);
        let others: Vec<_> = others.map(process).collect();
        return vec![plain(
            "close-own",
            &format!(
                "the caller has that socket itself, inherited or handed over: it can serve on that \
                 one instead of a second; for a new one it has to close it, and so has {}",
                others.join(" and ")
            ),
        )];
    }
    if let Some(unit) = holder.processes.iter().find_map(|p| p.socket_unit.as_ref()) {
        return vec![Advice {
            id: "socket-unit".to_owned(),
            text: format!(
                "systemd opened the socket for {unit}: stop that unit, and the service that it \
                 starts; the service alone would be started again"
            ),
            command: commands::stop_socket(holder, unit),
        }];
    }
    if let Some(advice) = managed(holder) {
        return vec![advice];
    }
    if holder.processes.is_empty() {
        return vec![plain(
            "try-again",
            "nobody was found with that socket: it was closed meanwhile, or its process does not let \
             its descriptors be seen; try again, and if the port is still taken then, `ss -anp` in \
             this network namespace, on the host, shows whom it can be seen of",
        )];
    }
    if holder.processes.iter().all(|p| p.alive == Some(false)) {
        return vec![plain(
            "try-again",
            "the process that had the port has ended meanwhile: try again",
        )];
    }
    if is_closed(holder) {
        return vec![plain(
            "try-again",
            "the socket was closed meanwhile: try again",
        )];
    }
    // Nobody could look: its number is that of the host.
    let hidden = holder.processes.iter().any(|p| p.alive.is_none());
    let text = if hidden {
        format!(
            "on the host, stop {} if it still has the socket, or use another port or address",
            owner(holder)
        )
    } else if let Some(container) = container(holder, &conflict.requester) {
        format!(
            "stop container {container}, in which {} has it, or use another port or address",
            owner(holder)
        )
    } else {
        format!("stop {}, or use another port or address", owner(holder))
    };
    vec![Advice {
        id: "stop-holder".to_owned(),
        text,
        command: commands::stop_service(conflict, holder),
    }]
}

/// The container of all who have the socket, unless the caller is in it as well: the engine may start
/// again what is stopped inside.
fn container(holder: &Holder, requester: &Process) -> Option<String> {
    let mut having = holder.processes.iter().filter(|p| p.has_socket);
    let first = having.next()?;
    let id = first.container.as_ref()?.as_ref()?;
    let same = |other: &Option<Option<String>>| other.as_ref().and_then(Option::as_ref) == Some(id);
    if same(&requester.container) || !having.all(|process| same(&process.container)) {
        return None;
    }
    let short = id.get(..12).unwrap_or(id);
    let engine = first.container_runtime.as_ref();
    let known = engine.map_or_else(|| short.to_owned(), |engine| format!("{engine} {short}"));
    Some(match &first.container_name {
        Some(name) => format!("{name} ({known})"),
        None => known,
    })
}

/// A manager of services is not to be stopped for what it has on behalf of a unit.
fn managed(holder: &Holder) -> Option<Advice> {
    let having = || holder.processes.iter().filter(|process| process.has_socket);
    if let Some(manager) = having().find(|process| commands::is_manager(process)) {
        let whose = match manager.pid {
            1 => "itself".to_owned(),
            pid => format!("(pid {pid})"),
        };
        return Some(Advice {
            id: "socket-unit".to_owned(),
            text: format!(
                "systemd {whose} has the socket, for a socket unit that it manages: stop that unit"
            ),
            command: commands::list_sockets(manager),
        });
    }
    let init = having().find(|process| process.pid == 1)?;
    Some(plain(
        "stop-holder",
        &format!(
            "{} is the first process of the system: do not stop it, but change what it serves, or \
             use another port or address",
            process(init)
        ),
    ))
}

/// Ends the process that has the descriptor by inheritance, and how it comes to that.
pub(super) fn inherited(conflict: &Conflict, holder: &Holder) -> Vec<Advice> {
    let heir = holder.processes.first();
    let opener = holder.processes.iter().find(|process| !process.has_socket);
    // A worker, or a new generation of the server: it may well serve on it.
    if let (Some(heir), Some(opener)) = (heir, opener)
        && heir.comm == opener.comm
    {
        return vec![plain(
            "end-heir",
            &format!(
                "end {} if it should not serve any more: it has the socket from {}, which is gone",
                owner(holder),
                process(opener)
            ),
        )];
    }
    vec![
        Advice {
            id: "kill-child".to_owned(),
            text: format!(
                "end {}, unless it is meant to serve there: it has the socket from a process that is \
                 gone, and may not even know",
                owner(holder)
            ),
            // Whoever was sent it serves on it.
            command: commands::kill(holder).filter(|_| conflict.certainty == Certainty::Exact),
        },
        plain(
            "close-on-exec",
            "open the socket with SOCK_CLOEXEC in the server: then programs that it starts do not \
             inherit it",
        ),
    ]
}

/// What ends a socket that no process has.
pub(super) fn in_flight(holder: &Holder) -> [Advice; 2] {
    let sender = match holder.processes.first() {
        Some(first) if first.alive != Some(false) => {
            format!(" ({} may have sent it)", process(first))
        }
        Some(_) | None => String::new(),
    };
    [
        plain(
            "try-again",
            "try again: the process that had the socket may just have been ending",
        ),
        plain(
            "read-message",
            &format!(
                "if the port is still taken: read or end the other end of the Unix socket that the \
                 socket was sent over{sender}, or end the io_uring or thread that uses it"
            ),
        ),
    ]
}

/// Who else has the port: what is advised for the first holder does not free it alone. What has no
/// descriptor any more ends by itself.
pub(super) fn others(conflict: &Conflict, first: &Holder) -> Option<Advice> {
    /// Named at most.
    const MAX: usize = 3;
    let is_of_first = |pid| first.processes.iter().any(|process| process.pid == pid);
    let mut names: Vec<String> = Vec::new();
    let blocking = conflict.holders.iter().filter(|holder| holder.blocking);
    for holder in blocking {
        let mut having = holder.processes.iter().filter(|process| process.has_socket);
        let is_of_others = having.clone().next().is_some();
        if !is_of_others || having.any(|process| is_of_first(process.pid)) {
            continue;
        }
        let name = owner(holder);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let more = names.len().saturating_sub(MAX);
    names.truncate(MAX);
    let listed = names.join(", ");
    let text = match (names.is_empty(), more) {
        (true, _) => return None,
        (false, 0) => listed,
        (false, more) => format!("{listed} and {more} more"),
    };
    Some(plain(
        "other-holders",
        &format!("that alone is not enough: {text} must let go of the port as well"),
    ))
}
