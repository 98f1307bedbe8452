//! What is missing to a verdict that stays `unknown`, told plainly.

use super::text::{endpoint, owner, since, state, transport};
use crate::correlate::cause::Gap;
use crate::correlate::conflict_rule::Uncertain;
use crate::correlate::verdict::Ground;
use crate::report::{Call, Conflict, Holder, HolderKind, StateName};

/// No holder is proven to block.
pub(super) fn without_holder(gap: Gap, conflict: &Conflict) -> String {
    let total = conflict.holders_total;
    let sockets = match total {
        1 => "1 socket has the port number".to_owned(),
        total => format!("{total} sockets have the port number"),
    };
    match gap {
        Gap::RangeExhausted => exhausted(conflict),
        Gap::SameConnection => {
            "a connection between the same two ends existed at that moment; none is left among the \
             sockets of the port, so it has ended, or it was not complete yet (half open)"
                .to_owned()
        }
        Gap::NotWalked => {
            "who has the port is not known: the kernel's table of ports was not read".to_owned()
        }
        Gap::NamespaceUnknown => {
            "who has the port is not known: the socket belongs to another network namespace than its \
             process, and lockdown=confidentiality hides which"
                .to_owned()
        }
        Gap::HalfWalked => {
            format!("who has the port is not known: {sockets}, but not all of them could be read")
        }
        Gap::NoneBlocks => format!(
            "who had the port is not known: {sockets} and none of them blocks this call, so what \
             did has left, or the caller's socket was changed meanwhile"
        ),
        Gap::Uncertain(doubt) => {
            format!(
                "who blocks the port is not certain: {sockets}, but {}",
                uncertain(doubt)
            )
        }
        Gap::OriginUnproven => "why is not known".to_owned(),
    }
}

fn exhausted(conflict: &Conflict) -> String {
    let range = format!("{}-{}", conflict.range.low, conflict.range.high);
    let transport = transport(conflict.wanted.transport);
    match conflict.call {
        Call::Bind | Call::Listen => {
            format!(
                "no {transport} port of the range {range} was free for it; by the time portwatch \
                 looked {} in its way",
                left(conflict)
            )
        }
        // EADDRNOTAVAIL is also what ip6_route_get_saddr gives (net/ipv6/route.c), before any port.
        Call::Connect if conflict.error == "EADDRNOTAVAIL" => format!(
            "no {transport} port of the range {range} is free for this destination, or there is no \
             address here to reach it from"
        ),
        Call::Connect | Call::Autobind => {
            format!("no {transport} port of the range {range} is free for this call")
        }
    }
}

/// How many ports were still in the way.
fn left(conflict: &Conflict) -> String {
    let ports = conflict.counted.as_ref().map_or(0, |counted| counted.ports);
    match ports {
        0 => "none was".to_owned(),
        1 => "1 was".to_owned(),
        ports => format!("{ports} were"),
    }
}

fn uncertain(doubt: Uncertain) -> &'static str {
    match doubt {
        Uncertain::OtherCall => "this call is not refused by the rule of bind",
        Uncertain::NoAddress => "the address that was wanted could not be read",
        Uncertain::SeveralBuckets => {
            "they belong to several VRFs and that of the caller is not known"
        }
        Uncertain::ReuseportGroup => "the caller is in a SO_REUSEPORT group already",
        Uncertain::Uid => "SO_REUSEPORT depends on users that are not known",
        Uncertain::Destination => "where it wanted to connect to could not be read",
        Uncertain::Source => {
            "connections from several own addresses lead there, and which address the kernel had \
             picked for this call is not known"
        }
        Uncertain::Blind => {
            "lockdown=confidentiality hides what decides between them: the options of the sockets"
        }
        Uncertain::Loopback4 => "kernels differ on 127.0.0.6 against native IPv6",
    }
}

/// A holder is proven to block, its cause is not.
pub(super) fn with_holder(gap: Option<Gap>, holder: &Holder, ground: &Ground) -> String {
    let since = since(holder, ground);
    let peer = match &holder.peer {
        Some(peer) => format!(" with {}", endpoint(peer)),
        None => String::new(),
    };
    match gap {
        Some(Gap::HalfWalked) => {
            let has = match holder.kind {
                HolderKind::TimeWait => format!(
                    "TIME_WAIT still holds the port after a connection{peer} that was accepted there"
                ),
                HolderKind::Orphan => format!(
                    "a closing connection{peer} that no process has any more still has the port"
                ),
                HolderKind::Listener
                | HolderKind::Connection
                | HolderKind::Accepted
                | HolderKind::Bound
                | HolderKind::Udp
                | HolderKind::Kernel
                | HolderKind::InFlight => format!(
                    "{} has a connection{peer} that was accepted there{since}",
                    owner(holder)
                ),
            };
            format!(
                "{has}; whether something still listens there is not known, since not all sockets of \
                 the port could be read"
            )
        }
        Some(
            Gap::OriginUnproven
            | Gap::RangeExhausted
            | Gap::SameConnection
            | Gap::NotWalked
            | Gap::NamespaceUnknown
            | Gap::NoneBlocks
            | Gap::Uncertain(_),
        )
        | None => unproven(holder, &peer, &since),
    }
}

fn unproven(holder: &Holder, peer: &str, since: &str) -> String {
    if holder.state == StateName::TimeWait && holder.processes.is_empty() {
        return format!(
            "TIME_WAIT still holds the port after a connection{peer} that nobody saw: whose it \
             was, and whether it was made from there or accepted there, is not known"
        );
    }
    format!(
        "{} has a socket at {} ({}{peer}){since}; whether it connected from there or was accepted \
         there is not proven",
        owner(holder),
        endpoint(&holder.local),
        state(holder.state),
    )
}
