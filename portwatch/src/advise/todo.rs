//! What to do about a conflict: per cause, the thing that helps most first.

use super::connection::{end_connection, self_connect};
use super::stop::{in_flight, inherited, others, stop};
use super::text::{endpoint, owner};
use super::{commands, exhausted};
use crate::correlate::verdict::Ground;
use crate::enrich::facts::NetnsFacts;
use crate::report::{
    Advice, Cause, Conflict, Holder, HolderKind, OptionName, OriginName, StateName, TransportName,
};

/// The advice for a verdict whose cause and holders are set; `netns` is what is known of the
/// conflict's namespace.
#[must_use]
pub fn advice(conflict: &Conflict, netns: Option<&NetnsFacts>, ground: &Ground) -> Vec<Advice> {
    let Some(holder) = conflict.holders.first().filter(|holder| holder.blocking) else {
        return without_holder(conflict, netns, ground);
    };
    let mut list: Vec<Advice> = Vec::new();
    let mut reserve = || list.extend(reserve_port(conflict, netns, ground));
    match conflict.cause {
        Cause::OutboundConnection => {
            reserve();
            list.extend(self_connect(holder));
            list.push(end_connection(conflict, holder));
            list.extend(move_port(conflict));
        }
        Cause::OutboundTimeWait => {
            if holder.origin != Some(OriginName::ExplicitBind) {
                reserve();
            }
            list.push(wait(&format!(
                "{}: try again then",
                time_wait_ends(conflict)
            )));
            list.extend(move_port(conflict));
        }
        Cause::ServerTimeWait => {
            list.extend(reuseaddr_of_server(conflict, holder));
            list.push(wait(&format!("or wait: {}", time_wait_ends(conflict))));
        }
        Cause::Orphan => {
            if holder.origin == Some(OriginName::Accepted) {
                list.extend(reuseaddr_of_server(conflict, holder));
            }
            list.push(wait(orphan_ends(holder.state)));
            if holder.origin == Some(OriginName::EphemeralConnect) {
                list.extend(reserve_port(conflict, netns, ground));
            }
        }
        Cause::AcceptedConnection => {
            list.push(end_connection(conflict, holder));
            list.extend(reuseaddr_of_server(conflict, holder));
        }
        Cause::Listener | Cause::UdpSocket => {
            list.extend(stop(conflict, holder));
            list.extend(picked(conflict, holder, netns, ground));
        }
        Cause::DualStackListener => {
            list.push(v6only(holder));
            list.extend(stop(conflict, holder));
            list.extend(picked(conflict, holder, netns, ground));
        }
        Cause::BoundNotListening => {
            list.extend(stop(conflict, holder));
            if holder.state == StateName::Bound {
                list.push(plain(
                    "look-with-ss",
                    "netstat, lsof and ss -l do not show such a socket; its process has to close it",
                ));
            }
        }
        Cause::EphemeralBind => {
            reserve();
            list.extend(stop(conflict, holder));
            list.extend(move_port(conflict));
        }
        Cause::SameConnection => list.extend(same_connection(conflict, holder)),
        Cause::ReuseportOtherUser => {
            list.push(plain(
                "one-user",
                "run both as one user: SO_REUSEPORT compares the users that opened the sockets; or \
                 let one process open the port for both",
            ));
            list.extend(stop(conflict, holder));
        }
        Cause::ReuseportMissing => {
            list.push(plain(
                "set-reuseport",
                "set SO_REUSEPORT before bind() on both sockets, if they are meant to share the port",
            ));
            list.extend(stop(conflict, holder));
        }
        Cause::InheritedDescriptor => list.extend(inherited(conflict, holder)),
        Cause::DescriptorInFlight => list.extend(in_flight(holder)),
        Cause::KernelSocket => list.push(Advice {
            id: "kernel-socket".to_owned(),
            text:
                "no process can be stopped: take the port from what uses it in the kernel (VXLAN, \
             Geneve or WireGuard interfaces, NFS and its lock manager, MPTCP endpoints), or use \
             another port"
                    .to_owned(),
            command: commands::take_down(conflict, holder, netns, ground),
        }),
        Cause::AlreadyFree => list.push(retry()),
        Cause::RangeExhausted | Cause::Unknown => {
            if conflict.cause == Cause::Unknown {
                list.push(unproven(conflict, holder));
            }
            if holder.origin.is_none() {
                list.extend(reserve_port(conflict, netns, ground));
            }
            list.extend(move_port(conflict));
        }
    }
    if conflict.cause != Cause::SameConnection {
        list.extend(others(conflict, holder));
        list.extend(set_reuseaddr(conflict));
    }
    list
}

/// A server whose port the kernel picked, at a bind() to port 0: it could have been any other.
fn picked(
    conflict: &Conflict,
    holder: &Holder,
    netns: Option<&NetnsFacts>,
    ground: &Ground,
) -> Vec<Advice> {
    if holder.origin != Some(OriginName::EphemeralBind) {
        return Vec::new();
    }
    let reserve = reserve_port(conflict, netns, ground).into_iter();
    reserve.chain(move_port(conflict)).collect()
}

/// Two ends make one connection: another source port or address is another connection.
fn same_connection(conflict: &Conflict, holder: &Holder) -> Vec<Advice> {
    let other = plain(
        "other-source",
        "connect from another port or address: without bind(), or with bind() to port 0 and \
         IP_BIND_ADDRESS_NO_PORT, the kernel picks a port that is free for this destination",
    );
    let end = match holder.state {
        StateName::TimeWait => wait(&format!(
            "or wait: {} (with TCP timestamps on both sides, net.ipv4.tcp_timestamps, the new \
             connection would take it over)",
            time_wait_ends(conflict)
        )),
        StateName::Established
        | StateName::SynSent
        | StateName::SynRecv
        | StateName::FinWait1
        | StateName::FinWait2
        | StateName::CloseWait
        | StateName::LastAck
        | StateName::Closing
        | StateName::Listen
        | StateName::Bound
        | StateName::Unconnected => plain(
            "end-connection",
            &format!(
                "or end it: the port is free for this destination when {} closes that connection",
                owner(holder)
            ),
        ),
    };
    vec![other, end]
}

fn without_holder(conflict: &Conflict, netns: Option<&NetnsFacts>, ground: &Ground) -> Vec<Advice> {
    match (conflict.cause, conflict.wanted.port) {
        (Cause::AlreadyFree, _) => vec![retry()],
        (Cause::RangeExhausted, _) => exhausted::advice(conflict, netns, ground),
        (_, _) => Vec::new(),
    }
}

/// Keeps the kernel from handing the port out again; only where it can.
fn reserve_port(
    conflict: &Conflict,
    netns: Option<&NetnsFacts>,
    ground: &Ground,
) -> Option<Advice> {
    let port = conflict
        .wanted
        .port
        .filter(|_| conflict.range.contains_port)?;
    if conflict.range.reserved == Some(true) {
        return Some(plain(
            "reserve-port",
            &format!(
                "{port} is reserved by now: once it is free the kernel does not hand it out again"
            ),
        ));
    }
    Some(Advice {
        id: "reserve-port".to_owned(),
        text: format!(
            "{port} lies in the range the kernel picks from ({}-{}): reserve it, so that it is not \
             handed out again (a line in /etc/sysctl.d keeps that over a reboot)",
            conflict.range.low, conflict.range.high
        ),
        command: commands::reserve(conflict, netns, ground),
    })
}

fn move_port(conflict: &Conflict) -> Option<Advice> {
    conflict
        .wanted
        .port
        .filter(|_| conflict.range.contains_port)?;
    Some(plain(
        "move-port",
        &format!(
            "or give the service a port outside {}-{}",
            conflict.range.low, conflict.range.high
        ),
    ))
}

/// SO_REUSEADDR helps beside TIME_WAIT and accepted connections if both servers have it.
fn reuseaddr_of_server(conflict: &Conflict, holder: &Holder) -> Option<Advice> {
    let had = holder.options.contains(&OptionName::Reuseaddr);
    let has = conflict.wanted.options.contains(&OptionName::Reuseaddr);
    (!had && conflict.wanted.transport == TransportName::Tcp).then(|| {
        let also = if has {
            ", so that it does not help the new one"
        } else {
            ""
        };
        plain(
            "server-reuseaddr",
            &format!(
                "the server that had the port ran without SO_REUSEADDR{also}: when every server of \
                 this port sets it before bind(), a restart gets the port at once"
            ),
        )
    })
}

/// SO_REUSEADDR lets the caller in at once when every blocker has it and none listens.
fn set_reuseaddr(conflict: &Conflict) -> Option<Advice> {
    let mut blocking = conflict.holders.iter().filter(|holder| holder.blocking);
    let would_help = conflict.wanted.transport == TransportName::Tcp
        && !conflict.truncated
        && !conflict.wanted.options.contains(&OptionName::Reuseaddr)
        && blocking.all(|holder| {
            holder.state != StateName::Listen && holder.options.contains(&OptionName::Reuseaddr)
        });
    would_help.then(|| {
        plain(
            "set-reuseaddr",
            "every socket that has the port has SO_REUSEADDR: with it, this call would succeed",
        )
    })
}

fn v6only(holder: &Holder) -> Advice {
    let text = if holder.local.address == "::" {
        format!(
            "set IPV6_V6ONLY on the socket at {}: then IPv4 is free for others",
            endpoint(&holder.local)
        )
    } else {
        "set IPV6_V6ONLY before bind(): then [::] takes IPv6 only".to_owned()
    };
    plain("v6only", &text)
}

/// What is true of a connection however it came to the port.
fn unproven(conflict: &Conflict, holder: &Holder) -> Advice {
    match holder.state {
        StateName::TimeWait => wait(&format!("{}: try again then", time_wait_ends(conflict))),
        StateName::FinWait1 | StateName::FinWait2 | StateName::LastAck | StateName::Closing
            if holder.kind == HolderKind::Orphan =>
        {
            wait(orphan_ends(holder.state))
        }
        StateName::Established
        | StateName::SynSent
        | StateName::SynRecv
        | StateName::FinWait1
        | StateName::FinWait2
        | StateName::CloseWait
        | StateName::LastAck
        | StateName::Closing
        | StateName::Listen
        | StateName::Bound
        | StateName::Unconnected => end_connection(conflict, holder),
    }
}

/// When the last TIME_WAIT that blocks is over, if each was told.
fn time_wait_ends(conflict: &Conflict) -> String {
    let waiting = conflict
        .holders
        .iter()
        .filter(|holder| holder.blocking && holder.state == StateName::TimeWait);
    let left = waiting.map(|holder| holder.time_wait_left_ms);
    let longest = left.collect::<Option<Vec<_>>>().unwrap_or_default();
    match longest.into_iter().max() {
        Some(left) => format!(
            "TIME_WAIT ends by itself in {} s",
            left.div_ceil(1000).max(1)
        ),
        None => "TIME_WAIT ends by itself, 60 s after the close".to_owned(),
    }
}

fn orphan_ends(state: StateName) -> &'static str {
    if state == StateName::FinWait2 {
        "the kernel ends it by itself (net.ipv4.tcp_fin_timeout, 60 s unless set): try again then"
    } else {
        "the kernel ends it by itself when the peer answers or its retries are used up"
    }
}

fn wait(text: &str) -> Advice {
    plain("wait", text)
}

fn retry() -> Advice {
    plain(
        "retry",
        "try again: the port was free when portwatch looked",
    )
}

pub(super) fn plain(id: &str, text: &str) -> Advice {
    Advice {
        id: id.to_owned(),
        text: text.to_owned(),
        command: None,
    }
}

#[cfg(test)]
mod tests;
