//! Small phrases: endpoints, processes, ages.

use crate::correlate::verdict::Ground;
use crate::report::time::{human, time_of_day};
use crate::report::{
    Endpoint, Holder, HolderKind, HolderProcess, Ports, Process, StateName, TransportName, Wanted,
};
use std::net::IpAddr;

/// `10.0.0.1:80`, `[::1]:80`.
pub(super) fn endpoint(end: &Endpoint) -> String {
    format!("{}:{}", host(&end.address), end.port)
}

/// An address as it stands before a port.
fn host(address: &str) -> String {
    match address.parse() {
        Ok(IpAddr::V6(v6)) => format!("[{v6}]"),
        Ok(IpAddr::V4(_)) | Err(_) => address.to_owned(),
    }
}

/// `0.0.0.0:60001/tcp`.
pub(super) fn wanted(wanted: &Wanted) -> String {
    wanted_of(wanted, None)
}

/// `0.0.0.0:6800-6804/tcp` where several ports were tried; `0.0.0.0:60001/tcp on eth0` of a socket that
/// is bound to a device.
pub(super) fn wanted_of(wanted: &Wanted, ports: Option<Ports>) -> String {
    let port = match (ports, wanted.port) {
        (Some(Ports { low, high }), _) => format!("{low}-{high}"),
        (None, Some(port)) => port.to_string(),
        (None, None) => "*".to_owned(),
    };
    let device = wanted.device.as_ref().and_then(Option::as_ref);
    let device = device.map_or_else(String::new, |device| format!(" on {device}"));
    format!(
        "{}:{port}/{}{device}",
        host(&wanted.address),
        transport(wanted.transport)
    )
}

/// `tcp`.
pub(super) fn transport(transport: TransportName) -> &'static str {
    match transport {
        TransportName::Tcp => "tcp",
        TransportName::Udp => "udp",
    }
}

/// `python3 (pid 812)`.
pub(super) fn requester(process: &Process) -> String {
    format!("{} (pid {})", process.comm, process.pid)
}

/// The process to name for a holder, with the other one that has the socket, or how many more have.
pub(super) fn owner(holder: &Holder) -> String {
    let Some(first) = holder.processes.first() else {
        return "a process that is not known".to_owned();
    };
    let rest = holder.processes.iter().skip(1);
    let more: Vec<_> = rest.filter(|process| process.has_socket).collect();
    match more.as_slice() {
        [] => process(first),
        [other] => format!("{} with {}", process(first), process(other)),
        more => format!("{} with {} more processes", process(first), more.len()),
    }
}

/// The caller itself has the socket, and nobody else.
pub(super) fn is_own(holder: &Holder, requester: &Process) -> bool {
    let mut having = holder.processes.iter().filter(|p| p.has_socket).peekable();
    having.peek().is_some() && having.all(|p| p.pid == requester.pid)
}

/// The caller has the socket, and others have it too: it inherited it, or was given it.
pub(super) fn is_shared(holder: &Holder, requester: &Process) -> bool {
    let mut having = holder.processes.iter().filter(|p| p.has_socket);
    having.any(|p| p.pid == requester.pid) && !is_own(holder, requester)
}

/// `ceph-osd (pid 3013825)`; one that is gone is called so, and one that nobody could look at.
pub(super) fn process(process: &HolderProcess) -> String {
    let gone = match process.alive {
        Some(false) => ", no longer running",
        None if !process.has_socket => ", the last known to have it",
        Some(true) | None => "",
    };
    format!("{} (pid {}{gone})", process.comm, process.pid)
}

/// `10.10.10.2:6836`, or that there is none.
pub(super) fn peer(holder: &Holder) -> String {
    holder
        .peer
        .as_ref()
        .map_or_else(|| "an unknown peer".to_owned(), endpoint)
}

/// `, 2d 4h ago`; empty when the age is not known.
pub(super) fn ago(holder: &Holder, ground: &Ground) -> String {
    age(holder, ground).map_or_else(String::new, |age| format!(", {age}"))
}

/// `, for 2d 4h`, `, since before portwatch started (at 10:12:03 UTC)`; empty when the age is not known.
pub(super) fn since(holder: &Holder, ground: &Ground) -> String {
    match (holder.held_ms, age(holder, ground)) {
        (Some(held), _) => format!(", for {}", human(held)),
        (None, Some(age)) => format!(", since {age}"),
        (None, None) => String::new(),
    }
}

/// `, closed 12s ago`; empty where that was not seen.
pub(super) fn closed(holder: &Holder) -> String {
    holder.closed_ms.map_or_else(String::new, |closed| {
        format!(", closed {} ago", human(closed))
    })
}

/// ` and has had the port for 2d 4h`, ` and has had the port since before portwatch started (at
/// 10:12:03 UTC)`; empty when the age is not known. A listener listens for less: it counts from its bind().
pub(super) fn had(holder: &Holder, ground: &Ground) -> String {
    had_by(" and", holder, ground)
}

/// As [`had`], said of what `subject` ends with.
pub(super) fn had_by(subject: &str, holder: &Holder, ground: &Ground) -> String {
    let since = since(holder, ground);
    since.strip_prefix(',').map_or_else(String::new, |since| {
        format!("{subject} has had the port{since}")
    })
}

/// A process had its descriptor at the failure, and none has it now.
pub(super) fn is_closed(holder: &Holder) -> bool {
    let known = |process: &HolderProcess| !process.has_socket && process.alive.is_some();
    let on_its_way = holder.kind == HolderKind::InFlight;
    holder.inode.is_some()
        && !on_its_way
        && !holder.processes.is_empty()
        && holder.processes.iter().all(known)
}

/// Who opened the socket and has it no more.
pub(super) fn opener(holder: &Holder) -> Option<&HolderProcess> {
    // One without a stamp had it a moment ago and has ended since.
    let had = |process: &&HolderProcess| !process.has_socket && process.seen.is_some();
    holder.processes.iter().find(had)
}

/// Who got the port for the socket, and who has that socket now if these are others (a program that
/// the taker started, or that got the descriptor in a message): `; sleep (pid 7) has that socket now`.
pub(super) fn taker(holder: &Holder) -> (String, String) {
    // Both were seen, and neither has it any more: whoever closed it stands first.
    if let [last, taker] = holder.processes.as_slice()
        && [last, taker]
            .iter()
            .all(|p| !p.has_socket && p.seen.is_some())
    {
        let had = format!("; {} had that socket last", process(last));
        return (process(taker), had);
    }
    match (opener(holder), holder.processes.first()) {
        (Some(taker), Some(first)) if first.has_socket => (
            process(taker),
            format!("; {} has that socket now", owner(holder)),
        ),
        (_, _) => (owner(holder), String::new()),
    }
}

fn age(holder: &Holder, ground: &Ground) -> Option<String> {
    match (holder.held_ms, holder.held_at_least_ms) {
        (Some(held), _) => Some(format!("{} ago", human(held))),
        (None, Some(_)) => {
            let start = time_of_day(ground.anchor, ground.start);
            Some(format!("before portwatch started (at {start} UTC)"))
        }
        (None, None) => None,
    }
}

/// A state as `ss` and the kernel's own documents write it.
pub(super) fn state(state: StateName) -> &'static str {
    match state {
        StateName::Established => "ESTABLISHED",
        StateName::SynSent => "SYN_SENT",
        StateName::SynRecv => "SYN_RECV",
        StateName::FinWait1 => "FIN_WAIT1",
        StateName::FinWait2 => "FIN_WAIT2",
        StateName::TimeWait => "TIME_WAIT",
        StateName::CloseWait => "CLOSE_WAIT",
        StateName::LastAck => "LAST_ACK",
        StateName::Closing => "CLOSING",
        StateName::Listen => "LISTEN",
        StateName::Bound => "bound, not listening",
        StateName::Unconnected => "unconnected",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_is_bracketed_before_a_port() {
        let end = |address: &str| {
            endpoint(&Endpoint {
                address: address.to_owned(),
                port: 80,
            })
        };
        assert_eq!(end("::"), "[::]:80");
        assert_eq!(end("10.0.0.1"), "10.0.0.1:80");
    }
}
