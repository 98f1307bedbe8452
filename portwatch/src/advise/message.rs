//! The story of a failed call in one sentence.

use super::text::{
    ago, closed, endpoint, had, is_closed, is_own, is_shared, opener, owner, peer, process,
    requester, since, state, taker, wanted,
};
use super::{exhausted, gap, sharing};
use crate::correlate::cause::Gap;
use crate::correlate::verdict::Ground;
use crate::report::{
    Call, Cause, Certainty, Conflict, Holder, HolderKind, OriginName, StateName, TransportName,
};
use std::net::IpAddr;

/// Who could not do what, and who has the port. `gap` says what is missing to a cause `unknown`.
#[must_use]
pub fn conflict_message(conflict: &Conflict, gap: Option<Gap>, ground: &Ground) -> String {
    let who = requester(&conflict.requester);
    let what = match conflict.call {
        Call::Bind => format!("bind {}", wanted(&conflict.wanted)),
        Call::Listen => format!("listen on {}", wanted(&conflict.wanted)),
        Call::Connect => format!("connect from {}", wanted(&conflict.wanted)),
        Call::Autobind => format!("send from {}", wanted(&conflict.wanted)),
    };
    let what = match &conflict.wanted.destination {
        Some(to) => format!("{what} to {}", endpoint(to)),
        None => what,
    };
    let why = why(conflict, gap, ground);
    let itself = match conflict.holders.first() {
        Some(holder) if holder.blocking && is_own(holder, &conflict.requester) => {
            "; that is the same process"
        }
        Some(holder) if holder.blocking && is_shared(holder, &conflict.requester) => {
            "; the caller has that socket itself, too"
        }
        Some(_) | None => "",
    };
    let since = match conflict.holders.first() {
        Some(holder) if holder.blocking && is_closed(holder) => "; it was closed since",
        Some(_) | None => "",
    };
    let families = families(conflict);
    let serves: Vec<_> = conflict.serves.iter().map(endpoint).collect();
    let serves = if serves.is_empty() {
        String::new()
    } else {
        format!("; it serves on {} all the same", serves.join(" and "))
    };
    let others = others(conflict);
    format!("{who} could not {what}: {why}{families}{itself}{since}{others}{serves}")
}

/// Why a socket of the other family is in the way.
fn families(conflict: &Conflict) -> &'static str {
    let asks = matches!(conflict.call, Call::Bind | Call::Listen);
    let told = conflict.cause == Cause::DualStackListener;
    let first = conflict.holders.first();
    let Some(holder) = first.filter(|holder| holder.blocking && asks && !told) else {
        return "";
    };
    let address = |text: &str| text.parse::<IpAddr>().ok().map(|a| a.to_canonical());
    match (
        address(&conflict.wanted.address),
        address(&holder.local.address),
    ) {
        (Some(IpAddr::V6(any)), Some(IpAddr::V4(_))) if any.is_unspecified() => {
            "; a bind to [::] without IPV6_V6ONLY wants IPv4 as well"
        }
        // net/ipv4/inet_connection_sock.c:inet_rcv_saddr_equal
        (Some(IpAddr::V4(_)), Some(IpAddr::V6(_))) => {
            "; without IPV6_V6ONLY an IPv6 socket keeps IPv4 from its port as well"
        }
        (_, _) => "",
    }
}

fn why(conflict: &Conflict, gap: Option<Gap>, ground: &Ground) -> String {
    let first = conflict.holders.first().filter(|holder| holder.blocking);
    let Some(holder) = first else {
        return match (conflict.cause, gap) {
            (Cause::AlreadyFree, _) => {
                "whoever had the port let go of it before portwatch could look".to_owned()
            }
            (Cause::RangeExhausted, _) => exhausted::why(conflict),
            (_, Some(gap)) => gap::without_holder(gap, conflict),
            (_, None) => "why is not known".to_owned(),
        };
    };
    let remembered = conflict.certainty == Certainty::Remembered;
    match conflict.cause {
        Cause::OutboundConnection => outbound(conflict, holder, ground),
        Cause::OutboundTimeWait => format!(
            "TIME_WAIT still holds the port after the connection of {} to {}, {}{}{}",
            owner(holder),
            peer(holder),
            if holder.origin == Some(OriginName::ExplicitBind) {
                "which had bound it itself"
            } else {
                "for which the kernel had picked it"
            },
            ago(holder, ground),
            closed(holder),
        ),
        Cause::ServerTimeWait => format!(
            "TIME_WAIT still holds the port after a connection from {} to {}{}{}",
            peer(holder),
            owner(holder),
            closed(holder),
            if remembered {
                ", the last known listener of the port"
            } else {
                ""
            },
        ),
        Cause::Orphan => format!(
            "a connection with {} still holds the port in {} though no process has it any more; \
             it was that of {}{}",
            peer(holder),
            state(holder.state),
            owner(holder),
            closed(holder),
        ),
        Cause::AcceptedConnection => format!(
            "{} still has a connection from {} that was accepted on the port, though nothing \
             listens there any more{}",
            owner(holder),
            peer(holder),
            since(holder, ground),
        ),
        Cause::Listener => listener(conflict, holder, ground),
        Cause::DualStackListener => dual_stack(holder, ground),
        Cause::BoundNotListening => bound(holder, ground),
        Cause::EphemeralBind => ephemeral_bind(holder, ground),
        Cause::ReuseportOtherUser => sharing::other_user(holder, ground),
        Cause::ReuseportMissing => sharing::missing(holder, ground),
        Cause::InheritedDescriptor => sharing::inherited(conflict, holder, ground),
        Cause::DescriptorInFlight => sharing::in_flight(holder),
        Cause::KernelSocket => sharing::of_kernel(holder, ground),
        Cause::UdpSocket => udp(holder, ground),
        Cause::SameConnection => same_connection(holder, ground),
        Cause::RangeExhausted | Cause::AlreadyFree | Cause::Unknown => {
            gap::with_holder(gap, holder, ground)
        }
    }
}

fn outbound(conflict: &Conflict, holder: &Holder, ground: &Ground) -> String {
    let (who, now) = taker(holder);
    let ago = ago(holder, ground);
    if holder.peer.is_none() {
        return format!(
            "the kernel gave that port to {who} when it sent without binding one{ago}{now}"
        );
    }
    let peer = peer(holder);
    if holder.peer.as_ref() == Some(&holder.local) {
        return format!(
            "the kernel gave that port to {who} when it tried to connect to the very same, {peer}: \
             nobody listened there, and so it is connected to itself{ago}{now}"
        );
    }
    let to = match (conflict.wanted.transport, holder.state) {
        (TransportName::Tcp, StateName::SynSent) => {
            format!("its attempt to connect to {peer}, which has not answered yet")
        }
        (TransportName::Tcp, StateName::CloseWait) => {
            format!("its connection to {peer}, which the peer has closed and it has not")
        }
        (TransportName::Tcp | TransportName::Udp, _) => format!("its connection to {peer}"),
    };
    format!("the kernel gave that port to {who} for {to}{ago}{now}")
}

fn listener(conflict: &Conflict, holder: &Holder, ground: &Ground) -> String {
    let who = owner(holder);
    let at = endpoint(&holder.local);
    let had = had(holder, ground);
    let who = match opener(holder).filter(|_| holder.processes.iter().any(|p| p.has_socket)) {
        // `sleep listens` would be absurd.
        Some(opener) => format!(
            "{who} has the socket that {} opened, which",
            process(opener)
        ),
        None => who,
    };
    match conflict.call {
        // Only SO_REUSEADDR or SO_REUSEPORT on both lets the second one be bound at all.
        Call::Listen => format!(
            "{who} listens on {at}{had}; both could be bound to the port, but only one of them may \
             listen"
        ),
        Call::Bind | Call::Connect | Call::Autobind => format!("{who} listens on {at}{had}"),
    }
}

fn dual_stack(holder: &Holder, ground: &Ground) -> String {
    let (who, at, had) = (owner(holder), endpoint(&holder.local), had(holder, ground));
    if holder.local.address == "::" {
        let had = if had.is_empty() {
            had
        } else {
            format!(",{had}")
        };
        format!("{who} listens on {at} without IPV6_V6ONLY, which takes IPv4 as well{had}")
    } else {
        format!("{who} listens on {at}{had}; a bind to [::] without IPV6_V6ONLY wants IPv4 as well")
    }
}

fn bound(holder: &Holder, ground: &Ground) -> String {
    let (at, since) = (endpoint(&holder.local), since(holder, ground));
    match &holder.peer {
        Some(peer) => {
            let (who, now) = taker(holder);
            format!(
                "{who} bound {at} itself as the source of its connection to {}{since}{now}",
                endpoint(peer)
            )
        }
        None => format!(
            "{} has {at} bound without listening on it{since}",
            owner(holder)
        ),
    }
}

fn ephemeral_bind(holder: &Holder, ground: &Ground) -> String {
    let ((who, now), ago) = (taker(holder), ago(holder, ground));
    match &holder.peer {
        Some(peer) if holder.state == StateName::TimeWait => format!(
            "TIME_WAIT still holds the port, which the kernel had given to {who} for a bind to \
             port 0, after its connection to {}{ago}",
            endpoint(peer)
        ),
        Some(peer) => {
            let uses = if now.is_empty() { "uses" } else { "used" };
            format!(
                "the kernel gave that port to {who}, which had asked for any (bind to port 0) and \
                 {uses} it for its connection to {}{ago}{now}",
                endpoint(peer)
            )
        }
        None => format!(
            "the kernel gave that port to {who}, which had asked for any (bind to port 0){ago}{now}"
        ),
    }
}

fn udp(holder: &Holder, ground: &Ground) -> String {
    let (who, at, since) = (
        owner(holder),
        endpoint(&holder.local),
        since(holder, ground),
    );
    let peer = match &holder.peer {
        Some(peer) => format!(", connected to {}", endpoint(peer)),
        None => String::new(),
    };
    let how = match holder.origin {
        Some(OriginName::ExplicitBind) => "bound",
        Some(
            OriginName::EphemeralConnect
            | OriginName::EphemeralBind
            | OriginName::EphemeralAutobind
            | OriginName::Accepted
            | OriginName::Kernel,
        )
        | None => "open",
    };
    format!("{who} has a UDP socket {how} at {at}{peer}{since}")
}

fn same_connection(holder: &Holder, ground: &Ground) -> String {
    let ends = format!("{} -> {}", endpoint(&holder.local), peer(holder));
    match (holder.processes.is_empty(), holder.state) {
        (false, StateName::TimeWait) => format!(
            "that very connection exists: {ends} was that of {} and is in TIME_WAIT{}",
            owner(holder),
            closed(holder),
        ),
        (true, StateName::TimeWait) => {
            format!(
                "that very connection exists: {ends} is in TIME_WAIT; whose it was is not known"
            )
        }
        (false, state_now) => format!(
            "that very connection exists: {} has {ends} ({}){}",
            owner(holder),
            state(state_now),
            since(holder, ground),
        ),
        (true, state_now) => format!(
            "that very connection exists: {ends} ({}), whose it is is not known",
            state(state_now)
        ),
    }
}

/// How many more sockets must go before the port is free.
fn others(conflict: &Conflict) -> String {
    let mut others = conflict.holders.iter().filter(|holder| holder.blocking);
    let first = others.next();
    let others: Vec<_> = others.collect();
    let at_least = if conflict.truncated { "at least " } else { "" };
    let accepted = first.is_some_and(|first| first.kind == HolderKind::Listener)
        && others.iter().all(|one| one.kind == HolderKind::Accepted);
    match (others.len(), accepted) {
        (0, _) => String::new(),
        (1, false) => format!("; {at_least}1 more socket blocks it as well"),
        (more, false) => format!("; {at_least}{more} more sockets block it as well"),
        (1, true) => format!("; {at_least}1 connection accepted there blocks it as well"),
        (more, true) => {
            format!("; {at_least}{more} connections accepted there block it as well")
        }
    }
}

#[cfg(test)]
mod tests;
