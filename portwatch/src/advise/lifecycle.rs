//! The ends of incidents and the refusals of another kind, in one sentence each.

use super::text::{endpoint, requester, wanted, wanted_of};
use crate::report::time::human;
use crate::report::{Call, FreedBy, How, Refused, Resolved};

/// How an incident ended.
#[must_use]
pub fn resolved_message(resolved: &Resolved) -> String {
    let who = requester(&resolved.requester);
    let wanted = wanted_of(&resolved.wanted, resolved.port_range);
    let wanted = match (&resolved.wanted.destination, resolved.wanted.port) {
        (Some(to), None) => format!("a port for {}", endpoint(to)),
        (Some(to), Some(_)) => format!("{wanted} -> {}", endpoint(to)),
        (None, _) => wanted,
    };
    let after = human(resolved.after_ms);
    let tries = match resolved.attempts {
        1 => "1 failed try".to_owned(),
        tries => format!("{tries} failed tries"),
    };
    let told = match resolved.how {
        How::GotPort => {
            let freed = match resolved.freed_by {
                Some(FreedBy::HolderClosed) => ", when its holder had closed the socket",
                Some(FreedBy::HolderExited) => ", when its holder had ended",
                Some(FreedBy::TimeWaitOver) => ", when TIME_WAIT was over",
                Some(FreedBy::ConnectionOver) => ", when its holder's connection had ended",
                None => "",
            };
            format!("{who} got {wanted} after {tries} and {after}{freed}")
        }
        How::OtherPort => {
            let port = resolved
                .port
                .map_or_else(|| "another port".to_owned(), |port| format!("port {port}"));
            format!("{who} took {port} instead of {wanted} after {tries} and {after}")
        }
        How::GaveUp => format!("{who} has not tried {wanted} again after {tries}"),
        How::Exited => format!("{who} ended without {wanted} after {tries} and {after}"),
    };
    if resolved.serves.is_empty() || resolved.how == How::Exited {
        return told;
    }
    let serves: Vec<_> = resolved.serves.iter().map(endpoint).collect();
    format!("{told}; it serves on {} only", serves.join(" and "))
}

/// A call that failed for another reason than a taken port.
#[must_use]
pub fn refused_message(refused: &Refused) -> String {
    let call = match refused.call {
        Call::Bind => "bind",
        Call::Listen => "listen on",
        Call::Connect => "connect from",
        Call::Autobind => "send from",
    };
    let meaning = match refused.error.as_str() {
        "EACCES" => ": it may not (a privileged port, or a security policy)",
        "EPERM" => ": a policy forbids it (cgroup BPF, a security module)",
        "EADDRNOTAVAIL" => ": no interface of its network namespace has that address",
        _ => "",
    };
    let who = requester(&refused.requester);
    format!(
        "{who} could not {call} {}: {}{meaning}",
        wanted(&refused.wanted),
        refused.error
    )
}
