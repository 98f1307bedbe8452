//! How to end a connection that has a port.

use super::text::{is_closed, owner, peer, process};
use super::todo::plain;
use crate::report::{Advice, Conflict, Holder, HolderProcess, OptionName, TransportName};

/// When the port is free, by whose doing.
pub(super) fn end_connection(conflict: &Conflict, holder: &Holder) -> Advice {
    // It was not found with anyone when it was looked for: closed since, most likely.
    let gone = |p: &HolderProcess| !p.has_socket && p.alive == Some(false);
    if !holder.processes.is_empty() && holder.processes.iter().all(gone) {
        return plain(
            "try-again",
            "the process that had the connection has ended: try again; if the port is still taken \
             then, another process has inherited the descriptor",
        );
    }
    if is_closed(holder) {
        return plain(
            "try-again",
            "the connection was closed meanwhile: try again",
        );
    }
    let hidden = |p: &HolderProcess| !p.has_socket && p.alive.is_none();
    let who = match holder.processes.as_slice() {
        [] => "whoever has it".to_owned(),
        [first, ..] if hidden(first) => format!("{}, or whoever has it now,", process(first)),
        [_, ..] => owner(holder),
    };
    let theirs = |other: &&Holder| {
        let who = |holder: &Holder| holder.processes.first().map(|first| first.pid);
        other.blocking && other.peer.is_some() && who(other) == who(holder)
    };
    let several = conflict.holders.iter().filter(theirs).count();
    let what = match holder.peer {
        Some(_) if several > 1 && conflict.truncated => {
            "all its connections of this port".to_owned()
        }
        Some(_) if several > 1 => format!("its {several} connections of this port"),
        Some(_) => format!("its connection with {}", peer(holder)),
        None => "that socket".to_owned(),
    };
    let alone = conflict.wanted.transport == TransportName::Tcp
        && !holder.options.contains(&OptionName::Reuseaddr);
    let reuse = if alone {
        "; SO_REUSEADDR on your side does not help, that socket is without it"
    } else {
        ""
    };
    plain(
        "end-connection",
        &format!("the port is free when {who} closes {what}{reuse}"),
    )
}

/// A client that tries again and again to connect to a port of the range draws it as its own source
/// sooner or later (RFC 9293, simultaneous open).
pub(super) fn self_connect(holder: &Holder) -> Option<Advice> {
    (holder.peer.as_ref() == Some(&holder.local)).then(|| {
        plain(
            "self-connect",
            "in the client, close a connection whose own address is that of its peer \
             (getsockname() equals getpeername()) and try again; or bind its source port to one \
             outside the range",
        )
    })
}
